//! The expected no: a stable code, a sentence with the numbers, and what a person can do.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::table::Code;

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
        Refusal { code, sentence }
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
