//! The guards: one function each, one ordered table. Each says yes, or no with a sentence that has the numbers in it
//! and says what a person can do.
//!
//! A guard that lacks a value refuses: what is not known is not safe. Guards never look at anything but their
//! [`Subject`], so a decision can be repeated from recorded data.

mod filesystem;
mod group;
pub mod reference;
mod request;
mod table;
mod volume;

use serde::{Deserialize, Serialize};

use super::Wish;
use super::history::History;
use super::moment::Moment;
use super::refusal::Refusal;
use crate::config::{Config, Target};
use crate::inventory::{FileSystem, Inventory, Lv, Vg};
pub use table::Code;

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
    pub(super) fn is_offline(&self) -> bool {
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

/// The answers of all guards, in a form that takes little room in the journal: most of them pass.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdicts {
    /// Nothing in the way.
    pub passed: Vec<Code>,
    /// No, and why; the first of them decides.
    pub refused: Vec<Refusal>,
    /// Could not be asked.
    pub not_asked: Vec<Code>,
}

impl Verdicts {
    /// Of the answers of an evaluation.
    pub fn of(answers: &[(Code, Verdict)]) -> Verdicts {
        let mut verdicts = Verdicts::default();
        for (code, verdict) in answers {
            match verdict {
                Verdict::Pass => verdicts.passed.push(*code),
                Verdict::Refuse(sentence) => verdicts.refused.push(Refusal::new(*code, sentence.clone())),
                Verdict::NotAsked => verdicts.not_asked.push(*code),
            }
        }
        verdicts
    }
}

/// What a guard is.
pub type Guard = fn(&Subject<'_>) -> Verdict;

/// Asks all guards.
pub fn ask_all(subject: &Subject<'_>) -> Vec<(Code, Verdict)> {
    Code::ALL.iter().filter_map(|code| Some((*code, code.guard()?(subject)))).collect()
}

/// The first refusal among answers.
pub fn first_refusal(verdicts: &[(Code, Verdict)]) -> Option<Refusal> {
    verdicts.iter().find_map(|(code, verdict)| match verdict {
        Verdict::Refuse(sentence) => Some(Refusal::new(*code, sentence.clone())),
        Verdict::Pass | Verdict::NotAsked => None,
    })
}

/// Passes if the value is known and as it should be.
fn require(value: Option<bool>, wanted: bool, what: &str, otherwise: impl FnOnce() -> String) -> Verdict {
    match value {
        Some(value) if value == wanted => Verdict::Pass,
        Some(_) => Verdict::Refuse(otherwise()),
        None => Verdict::Refuse(format!("LVM did not say whether {what}: look at it with lvs and vgs")),
    }
}

fn refuse_if(refuse: bool, otherwise: impl FnOnce() -> String) -> Verdict {
    if refuse { Verdict::Refuse(otherwise()) } else { Verdict::Pass }
}
