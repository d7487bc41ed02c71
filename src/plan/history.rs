//! What was done before, as far as a decision needs it. The journal makes it; nothing else writes it.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::moment::Moment;
use crate::config::{Budget, Config, LONGEST_BUDGET, MOST_EXTENSIONS, Target};
use crate::name::{LvRef, MountPoint, OperationId, VgName};
use crate::units::Bytes;

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
    /// The same because the target's mode is `recommend`: a person would have to do it.
    Recommended,
}

impl Outcome {
    /// All of them.
    pub const ALL: [Outcome; 5] =
        [Outcome::Grown, Outcome::Failed, Outcome::NeedsAttention, Outcome::DryRun, Outcome::Recommended];

    /// As it stands in metrics, journal and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Grown => "grown",
            Outcome::Failed => "failed",
            Outcome::NeedsAttention => "needs_attention",
            Outcome::DryRun => "dry_run",
            Outcome::Recommended => "recommended",
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
    /// The volume, whatever it is called by now.
    #[serde(default)]
    pub lv_uuid: String,
    /// Where its file system was mounted when it was planned.
    #[serde(default)]
    pub mount_point: Option<MountPoint>,
}

/// The last operation on a volume that ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Last {
    /// Which.
    pub id: OperationId,
    /// When it ended.
    pub at: Moment,
    /// How.
    pub outcome: Outcome,
}

/// One extension, for the budgets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extension {
    /// When it ended.
    pub at: Moment,
    /// By how much.
    pub bytes: Bytes,
}

/// What a person stopped.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paused {
    /// All targets, since when.
    pub all: Option<Timestamp>,
    /// These targets, since when.
    pub targets: BTreeMap<LvRef, Timestamp>,
}

/// The past of all targets.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// Operations under way or parked, by volume.
    pub open: BTreeMap<LvRef, Open>,
    /// The last ended operation, by volume.
    pub last: BTreeMap<LvRef, Last>,
    /// The last recommendation, by volume: it holds back only the next one.
    pub recommended: BTreeMap<LvRef, Last>,
    /// The extensions that budgets still count, by volume, the oldest first.
    pub extensions: BTreeMap<LvRef, Vec<Extension>>,
    /// Failures in a row, by volume.
    pub failures: BTreeMap<LvRef, u32>,
    /// What a person stopped.
    pub paused: Paused,
}

/// What of a budget is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spent {
    /// So many extensions.
    pub extensions: u32,
    /// So many bytes.
    pub bytes: Bytes,
    /// The time until the oldest of them no longer counts.
    pub free_again: Duration,
}

impl Spent {
    /// How many bytes are left of a budget, `None`: any number.
    pub fn bytes_left(&self, budget: &Budget) -> Option<Bytes> {
        budget.bytes.map(|bytes| bytes.saturating_sub(self.bytes))
    }

    /// How many extensions are left of a budget.
    pub fn extensions_left(&self, budget: &Budget) -> u32 {
        budget.extensions.saturating_sub(self.extensions)
    }
}

impl Paused {
    /// Whether nothing is stopped.
    pub fn is_none(&self) -> bool {
        self.all.is_none() && self.targets.is_empty()
    }

    /// Since when the target is stopped, and whether with all others.
    pub fn since(&self, lv: &LvRef) -> Option<(Timestamp, bool)> {
        let own = self.targets.get(lv).map(|since| (*since, false));
        own.or(self.all.map(|since| (since, true)))
    }
}

impl History {
    /// The operation whose cooldown holds the target back; a recommendation does as long as there may be another.
    pub fn last_of(&self, target: &Target, recommends: bool) -> Option<&Last> {
        let recommended = self.recommended.get(&target.lv).filter(|_| recommends);
        self.last.get(&target.lv).into_iter().chain(recommended).max_by_key(|last| last.id)
    }

    /// What a volume has used of a budget.
    pub fn spent(&self, lv: &LvRef, budget: &Budget, now: &Moment) -> Spent {
        count(self.extensions.get(lv).into_iter().flatten(), budget, now)
    }

    /// What all volumes of a group together have used of a budget.
    pub fn spent_in(&self, vg: &VgName, budget: &Budget, now: &Moment) -> Spent {
        count(self.extensions.iter().filter(|(lv, _)| &lv.vg == vg).flat_map(|(_, all)| all), budget, now)
    }

    /// How many extensions a target has left, of its own budget and its group's.
    pub fn extensions_left(&self, target: &Target, config: &Config, now: &Moment) -> u32 {
        let own = self.spent(&target.lv, &target.budget, now).extensions_left(&target.budget);
        let group = config.volume_group(&target.lv.vg).and_then(|group| group.budget);
        group.map_or(own, |budget| own.min(self.spent_in(&target.lv.vg, &budget, now).extensions_left(&budget)))
    }

    /// Whether the target failed so often in a row that only a person opens it again.
    pub fn breaker_is_open(&self, target: &Target) -> bool {
        self.failures.get(&target.lv).is_some_and(|failures| *failures >= target.breaker_failures)
    }
}

fn count<'a>(extensions: impl Iterator<Item = &'a Extension>, budget: &Budget, now: &Moment) -> Spent {
    let mut spent = Spent { extensions: 0, bytes: Bytes::ZERO, free_again: Duration::ZERO };
    for extension in extensions {
        let ago = now.since(&extension.at);
        if ago < budget.per {
            spent.extensions += 1;
            spent.bytes.0 = spent.bytes.0.saturating_add(extension.bytes.0);
            let left = budget.per - ago;
            spent.free_again = if spent.extensions == 1 { left } else { spent.free_again.min(left) };
        }
    }
    spent
}

/// Adds an extension and drops those that no budget can count any more.
pub fn remember(extensions: &mut Vec<Extension>, new: Extension) {
    extensions.retain(|old| new.at.since(&old.at) < LONGEST_BUDGET);
    extensions.push(new);
    let too_many = extensions.len().saturating_sub(MOST_EXTENSIONS as usize);
    extensions.drain(..too_many);
}
