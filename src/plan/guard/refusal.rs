//! The expected no: a stable code, a sentence with the numbers, and what a person can do.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::table::Code;
use crate::name::VgName;
use crate::units::Bytes;

impl Code {
    /// The everyday no: what a healthy daemon says (below its threshold, cooldown), what a person wanted, alerts that
    /// are another host's, and the breaker, which is told when it opens. Nobody has to do anything about it, so it is
    /// neither notified nor a finding of the report, and the alert `LvmAutoscalerRefusing` leaves it out.
    pub const EVERYDAY: [Code; 8] = [
        Code::BelowThreshold,
        Code::Cooldown,
        Code::OperationInProgress,
        Code::ModeOff,
        Code::Paused,
        Code::OutsideWindow,
        Code::BreakerOpen,
        Code::OtherHost,
    ];

    /// What is said of alerts that name no target of this host.
    pub const OF_NO_TARGET: [Code; 2] = [Code::OtherHost, Code::AmbiguousAlert];
}

/// A refusal: what stood in the way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The stable code.
    pub code: Code,
    /// One sentence with the numbers and what a person can do about it.
    pub sentence: String,
    /// What the group lacks, if it is refused for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lack: Option<Box<Lack>>,
}

/// What a group lacks for a growth, and why nothing supplies it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lack {
    /// The group.
    pub vg: VgName,
    /// By how much more it would have to have free.
    pub bytes: Bytes,
    /// Disks that the config lets supply it, each with the reason why it cannot.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub disks: Vec<Unusable>,
}

/// A disk that cannot give the group more room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unusable {
    /// Its name, or the UUID of its PV.
    pub disk: String,
    /// Why, and what a person can do.
    pub why: String,
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.disk, self.why)
    }
}

/// Sentences may quote labels, and labels come from strangers. Control characters are escaped, and what is longer is
/// cut, for the last hundred sentences must fit into the journal's checkpoint.
const LONGEST_SENTENCE: usize = 600;

impl Refusal {
    /// A refusal.
    pub fn new(code: Code, sentence: impl Into<String>) -> Refusal {
        let mut sentence = crate::plain(&sentence.into());
        if let Some((end, _)) = sentence.char_indices().nth(LONGEST_SENTENCE) {
            sentence.truncate(end);
            sentence.push('…');
        }
        Refusal { code, sentence, lack: None }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.sentence)
    }
}
