//! What a person asks for by hand, and what is told about it while it is done.
//!
//! It goes through the same queue, guards and pipeline as an alert, and ends with or without its listener: only a wish
//! that nobody waits for any more before it was begun is dropped. It is not kept over a restart, for the person would
//! not expect it to be done then; what was begun is, like everything.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::asked::Asked;
use super::{Ended, Handle, Shared};
use crate::name::{LvRef, OperationId};
use crate::plan::{Code, Outcome, Plan};
use crate::units::Bytes;

/// How often to see how far it is. People see no difference below this, and the journal is only read.
const GLANCE: Duration = Duration::from_millis(100);

/// What is told, in this order; `Waiting` and `Step` any number of times.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Progress {
    /// Another operation in the same volume group comes first.
    Waiting {
        /// Which.
        id: OperationId,
        /// On which volume.
        lv: LvRef,
    },
    /// It was decided and written down: from now on it is done whoever goes away.
    Planned {
        /// The operation.
        id: OperationId,
        /// What is to be done.
        plan: Box<Plan>,
    },
    /// A step begins.
    Step {
        /// From 1.
        number: usize,
        /// Of so many.
        of: usize,
        /// What it does.
        does: String,
    },
    /// It is over.
    Ended(Reply),
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reply {
    /// The volume.
    pub lv: LvRef,
    /// In a word.
    pub result: Answered,
    /// Why it was refused.
    #[serde(default)]
    pub code: Option<Code>,
    /// The operation, if there was one.
    #[serde(default)]
    pub id: Option<OperationId>,
    /// In a sentence.
    pub sentence: String,
    /// What a person runs now, in this order.
    #[serde(default)]
    pub commands: Vec<String>,
}

/// How a wish ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Answered {
    /// It became an operation.
    Ended(Outcome),
    /// It did not, or nobody knows yet.
    Not(Unanswered),
}

/// What a wish can end with beside an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unanswered {
    /// A guard refused it.
    Refused,
    /// The daemon stopped on the way.
    Interrupted,
    /// The journal, or the daemon, failed.
    Error,
}

impl Answered {
    /// In a word.
    pub fn as_str(self) -> &'static str {
        match self {
            Answered::Ended(outcome) => outcome.as_str(),
            Answered::Not(Unanswered::Refused) => "refused",
            Answered::Not(Unanswered::Interrupted) => "interrupted",
            Answered::Not(Unanswered::Error) => "error",
        }
    }
}

impl Handle {
    /// Asks for a target to grow now, and tells how that goes until it ended or `tell` says that nobody listens any
    /// more; with nothing to tell it is called to ask just that.
    pub fn ask(&self, lv: &LvRef, by: Option<Bytes>, tell: &mut dyn FnMut(Option<Progress>) -> bool) {
        let (answer, ended) = mpsc::channel();
        let begun = Arc::new(AtomicBool::new(false));
        let asked = Asked { by, begun: Arc::downgrade(&begun), answer };
        let shared = Arc::clone(self.shared());
        if !self.push_asked(lv, asked) {
            let _ = tell(Some(Progress::Ended(interrupted(lv))));
            return;
        }
        let mut told = Told::default();
        loop {
            let ended = ended.recv_timeout(GLANCE);
            let news =
                if begun.load(Ordering::Acquire) { told.of_own(&shared, lv) } else { told.of_others(&shared, lv) };
            if !news.into_iter().map(Some).chain([None]).all(&mut *tell) {
                return;
            }
            let answer = match ended {
                Ok(Ok(ended)) => answer_of(&shared, lv, ended),
                Ok(Err(why)) => answer_without(lv, Unanswered::Error, why),
                Err(RecvTimeoutError::Disconnected) => {
                    answer_without(lv, Unanswered::Error, "it ended unexpectedly, see the log".to_owned())
                }
                // A daemon that stops leaves what waits where it is.
                Err(RecvTimeoutError::Timeout) if shared.is_stopping() && !begun.load(Ordering::Acquire) => {
                    interrupted(lv)
                }
                Err(RecvTimeoutError::Timeout) => continue,
            };
            let _ = tell(Some(Progress::Ended(answer)));
            return;
        }
    }
}

/// What was told already.
#[derive(Default)]
struct Told {
    waiting: Option<OperationId>,
    planned: Option<OperationId>,
    steps: usize,
}

impl Told {
    /// While it waits: what it waits for.
    fn of_others(&mut self, shared: &Shared, lv: &LvRef) -> Vec<Progress> {
        let state = shared.state();
        let under_way = state.running.iter().find(|(_, running)| running.plan.lv.vg == lv.vg);
        match under_way {
            Some((id, running)) if self.waiting != Some(*id) => {
                self.waiting = Some(*id);
                vec![Progress::Waiting { id: *id, lv: running.plan.lv.clone() }]
            }
            _ => vec![],
        }
    }

    /// Once it is its turn the operation on the volume is its own, for there is one worker per group.
    fn of_own(&mut self, shared: &Shared, lv: &LvRef) -> Vec<Progress> {
        let state = shared.state();
        let Some((id, running)) = state.running.iter().find(|(_, running)| &running.plan.lv == lv) else {
            return vec![];
        };
        let mut news = Vec::new();
        if self.planned != Some(*id) {
            (self.planned, self.steps) = (Some(*id), 0);
            news.push(Progress::Planned { id: *id, plan: Box::new(running.plan.clone()) });
        }
        let (steps, begun) = (&running.plan.steps, running.started.len().max(running.done.len()));
        for (index, step) in steps.iter().enumerate().take(begun).skip(self.steps) {
            news.push(Progress::Step { number: index + 1, of: steps.len(), does: step.to_string() });
        }
        self.steps = self.steps.max(begun);
        news
    }
}

fn answer_of(shared: &Shared, lv: &LvRef, ended: Ended) -> Reply {
    match ended {
        Ended::Refused(refusal) => {
            let state = shared.state();
            let parked = state.parked.get(lv).filter(|_| refusal.code == Code::OperationInProgress);
            let commands = parked.map_or_else(Vec::new, |parked| parked.account.commands.clone());
            let (code, sentence) = (Some(refusal.code), refusal.sentence);
            Reply { code, commands, ..answer_without(lv, Unanswered::Refused, sentence) }
        }
        Ended::Operation(id, outcome) => {
            let state = shared.state();
            let past = state.past.iter().rev().find(|past| past.lv.as_ref() == Some(lv));
            let (sentence, commands) =
                past.map(|past| (past.sentence.clone(), past.commands.clone())).unwrap_or_default();
            Reply { lv: lv.clone(), result: Answered::Ended(outcome), code: None, id: Some(id), sentence, commands }
        }
        Ended::Interrupted => interrupted(lv),
    }
}

fn interrupted(lv: &LvRef) -> Reply {
    let sentence = "stopped on the way; what was begun is finished at the next start, see `lvm-autoscaler history`";
    answer_without(lv, Unanswered::Interrupted, sentence.to_owned())
}

fn answer_without(lv: &LvRef, result: Unanswered, sentence: String) -> Reply {
    Reply { lv: lv.clone(), result: Answered::Not(result), code: None, id: None, sentence, commands: vec![] }
}
