//! What was done before, as far as a decision needs it. The journal makes it; nothing else writes it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::name::{LvRef, OperationId};

/// How an operation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Volume and file system are as large as planned.
    Grown,
    /// It stopped before anything was changed.
    Failed,
    /// It stopped after something was changed; a person must look.
    NeedsAttention,
    /// Dry run: everything but the commands that change something.
    DryRun,
}

impl Outcome {
    /// All of them.
    pub const ALL: [Outcome; 4] = [Outcome::Grown, Outcome::Failed, Outcome::NeedsAttention, Outcome::DryRun];

    /// As it stands in metrics, journal and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Grown => "grown",
            Outcome::Failed => "failed",
            Outcome::NeedsAttention => "needs_attention",
            Outcome::DryRun => "dry_run",
        }
    }
}

/// An operation that stands in the way of the next on its volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Open {
    /// Which.
    pub id: OperationId,
    /// Since when.
    pub since: Timestamp,
    /// What a person must look at, if it stopped half-way.
    pub attention: Option<String>,
}

/// The last operation on a volume that ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Last {
    /// Which.
    pub id: OperationId,
    /// When it ended.
    pub at: Timestamp,
    /// How.
    pub outcome: Outcome,
}

/// The past of all targets.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// Operations under way or parked, by volume.
    pub open: BTreeMap<LvRef, Open>,
    /// The last ended operation, by volume.
    pub last: BTreeMap<LvRef, Last>,
}
