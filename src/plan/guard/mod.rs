//! The guards: one function each, one ordered table. Each says yes, or no with a sentence that has the numbers in it
//! and says what a person can do.
//!
//! A guard that lacks a value refuses: what is not known is not safe. Guards never look at anything but their
//! [`Subject`], so a decision can be repeated from recorded data.

mod filesystem;
mod group;
pub mod reference;
mod refusal;
mod request;
mod subject;
mod table;
mod volume;

use serde::{Deserialize, Serialize};

pub use refusal::{Lack, Refusal, Unusable};
pub use subject::{Guard, Subject, Verdict};
pub use table::Code;

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
