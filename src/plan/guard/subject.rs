//! What a guard looks at and what it answers.

use serde::Serialize;

use crate::command::Tool;
use crate::config::{Config, Target};
use crate::inventory::{FileSystem, Inventory, Lv, Vg};
use crate::plan::history::History;
use crate::plan::moment::Moment;
use crate::plan::wish::Wish;

/// Everything a guard may look at: one target on one host at one moment.
#[derive(Clone, Copy)]
pub struct Subject<'a> {
    /// What is to grow.
    pub target: &'a Target,
    /// Whether usage or a person asks for it.
    pub wish: Wish,
    /// All settings.
    pub config: &'a Config,
    /// The host, freshly looked at.
    pub inventory: &'a Inventory,
    /// The target's volume group.
    pub vg: &'a Vg,
    /// The target's volume.
    pub lv: &'a Lv,
    /// What is mounted at the target's mount point, if that is on a volume.
    pub fs: Option<&'a FileSystem>,
    /// What was done before.
    pub history: &'a History,
    /// The time of the decision.
    pub now: Moment,
}

impl Subject<'_> {
    /// It is about a file system that is mounted nowhere, and `offline` allows that.
    pub fn is_offline(&self) -> bool {
        self.fs.is_some_and(|fs| self.inventory.mount_at(&fs.mount.mount_point).is_none())
    }
}

/// A guard's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", content = "sentence", rename_all = "snake_case")]
pub enum Verdict {
    /// Nothing in the way.
    Pass,
    /// No, and why.
    Refuse(String),
    /// Cannot be asked: another guard already refused what this one needs, or it is not for this kind of target.
    NotAsked,
}

/// What a guard is.
pub type Guard = fn(&Subject<'_>) -> Verdict;

/// Passes if the value is known and as it should be.
pub(super) fn require(value: Option<bool>, wanted: bool, what: &str, otherwise: impl FnOnce() -> String) -> Verdict {
    match value {
        Some(value) if value == wanted => Verdict::Pass,
        Some(_) => Verdict::Refuse(otherwise()),
        None => Verdict::Refuse(format!("LVM did not say whether {what}: look at it with lvs and vgs")),
    }
}

/// The first of the programs that was not found.
pub(super) fn missing(s: &Subject<'_>, needed: impl IntoIterator<Item = Tool>) -> Option<Tool> {
    needed.into_iter().find(|tool| s.inventory.missing_tools.contains(tool))
}

pub(super) fn refuse_if(refuse: bool, otherwise: impl FnOnce() -> String) -> Verdict {
    if refuse { Verdict::Refuse(otherwise()) } else { Verdict::Pass }
}
