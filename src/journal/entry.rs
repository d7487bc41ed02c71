//! What is written down, and the pure state machine that reads it back.
//!
//! [`State`] is what a list of entries means. It never asks the host and never fails: an entry that does not fit (for
//! an operation that is not open) changes nothing.

use std::collections::{BTreeMap, VecDeque};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::account::{Account, Conclusion};
use crate::name::{LvRef, OperationId};
use crate::plan::guard::Verdicts;
use crate::plan::history::{Extension, Last, Open, Paused, remember};
use crate::plan::{History, Moment, Outcome, Plan, Refusal, Step};
use crate::units::Bytes;

/// One record: when, and what happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// When it was written.
    pub at: Moment,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// Who asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// Alertmanager's webhook.
    Alertmanager,
    /// Grafana's.
    Grafana,
    /// The daemon's own look at its targets.
    Monitor,
    /// Somebody who called `lvm-autoscaler extend`.
    Person,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A request for a target was accepted. It is on disk before the sender is told so.
    Received {
        /// Its number.
        request: u64,
        /// The target.
        lv: LvRef,
        /// Who asked.
        source: Source,
        /// Of the alert, if it was one.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        fingerprint: String,
    },
    /// All guards were asked about a target. It is written together with what was decided, as the record before that.
    Checked {
        /// The request, if it was written down as received.
        request: Option<u64>,
        /// The target.
        lv: LvRef,
        /// Who asked.
        source: Source,
        /// What each guard said.
        #[serde(flatten)]
        guards: Verdicts,
    },
    /// A request was refused; one that was refused at the door has no number.
    Refused {
        /// Its number.
        request: Option<u64>,
        /// The target, as far as it is known.
        lv: Option<LvRef>,
        /// Who asked.
        source: Source,
        /// Why not.
        refusal: Refusal,
        /// So many more of its kind came since the last that was written down, and were only counted.
        #[serde(default, skip_serializing_if = "is_none")]
        more: u64,
    },
    /// A request became an operation.
    Planned {
        /// The operation.
        id: OperationId,
        /// The request, if it was written down as received.
        request: Option<u64>,
        /// What is to be done.
        plan: Box<Plan>,
        /// The commands that change something are left out.
        dry_run: bool,
        /// The same because the target's mode is `recommend`.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        recommend: bool,
    },
    /// A step's command is about to run.
    Started {
        /// The operation.
        id: OperationId,
        /// The number of the step, from 0.
        step: usize,
    },
    /// A step's goal was seen to be reached.
    Done {
        /// The operation.
        id: OperationId,
        /// The number of the step, from 0.
        step: usize,
    },
    /// The operation ended.
    Finished {
        /// The operation.
        id: OperationId,
        /// How.
        outcome: Outcome,
        /// What came of it.
        #[serde(flatten)]
        account: Account,
    },
    /// A step's command takes longer than it should. It is left to run.
    Overdue {
        /// The operation.
        id: OperationId,
        /// The number of the step, from 0.
        step: usize,
    },
    /// A person finished what needed attention.
    Cleared {
        /// The target.
        lv: LvRef,
    },
    /// A person stopped a target.
    Paused {
        /// The target; none: all of them.
        lv: Option<LvRef>,
    },
    /// A person let a target go on.
    Resumed {
        /// The target; none: all of them.
        lv: Option<LvRef>,
    },
    /// A person closed the breaker of a target.
    Reset {
        /// The target; none: all of them.
        lv: Option<LvRef>,
    },
}

/// A request that waits to be decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// The target.
    pub lv: LvRef,
    /// Who asked.
    pub source: Source,
}

/// An operation that has not ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// Since when.
    pub since: Timestamp,
    /// What is done.
    pub plan: Plan,
    /// Commands that change something are left out.
    pub dry_run: bool,
    /// The same because the target's mode is `recommend`.
    #[serde(default)]
    pub recommend: bool,
    /// The steps whose command was started.
    pub started: Vec<usize>,
    /// The steps whose goal was reached.
    pub done: Vec<usize>,
    /// When the growth of the file system was started for the first time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub growth_started: Option<Moment>,
}

impl Running {
    /// Every step reached its goal; only the end is not written down.
    pub fn all_done(&self) -> bool {
        (0..self.plan.steps.len()).all(|step| self.done.contains(&step))
    }
}

/// An operation that stopped half-way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parked {
    /// Which.
    pub id: OperationId,
    /// Since when.
    pub since: Timestamp,
    /// What was to be done.
    pub plan: Plan,
    /// What a person must look at.
    #[serde(flatten)]
    pub account: Account,
}

/// An operation or refusal of the past, for people to read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Past {
    /// When it ended.
    pub at: Timestamp,
    /// The target, as far as it was known.
    pub lv: Option<LvRef>,
    /// What came of it.
    pub result: Conclusion,
    /// In a sentence.
    pub sentence: String,
    /// What a person had to run next, if that was left.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub commands: Vec<String>,
    /// A refusal: so many more of its kind were only counted.
    #[serde(default, skip_serializing_if = "is_none")]
    pub more: u64,
}

fn is_none(count: &u64) -> bool {
    *count == 0
}

/// How many are remembered beside the entries themselves: so many past operations, refusals of targets, and refusals
/// that name no target.
pub const REMEMBERED: usize = 100;

/// One more; each kind pushes out its own only. Anybody can have an alert refused that names no target.
fn push_bounded(list: &mut VecDeque<Past>, past: Past) {
    let names_one = past.lv.is_some();
    list.push_back(past);
    if list.iter().filter(|past| past.lv.is_some() == names_one).count() > REMEMBERED
        && let Some(oldest) = list.iter().position(|past| past.lv.is_some() == names_one)
    {
        list.remove(oldest);
    }
}

/// What all entries together mean.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// How many records there were since the journal began; each has its place in this count as its number.
    #[serde(default)]
    pub records: u64,
    /// The last record, if it was a check: then the next is what was decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_check: Option<u64>,
    /// The last number given to a request or an operation.
    pub last_number: u64,
    /// Requests that wait, by number.
    pub pending: BTreeMap<u64, Pending>,
    /// Operations under way, or interrupted by a crash.
    pub running: BTreeMap<OperationId, Running>,
    /// Operations that need attention, by target.
    pub parked: BTreeMap<LvRef, Parked>,
    /// The last ended operation that was no dry run, by target.
    pub last: BTreeMap<LvRef, Last>,
    /// The last dry run, by target.
    pub last_dry_run: BTreeMap<LvRef, Last>,
    /// The latest refusal, by target; the daemon's own look writes it down only when it changes.
    pub last_refusal: BTreeMap<LvRef, Refusal>,
    /// Operations that ended lately, the oldest first.
    pub past: VecDeque<Past>,
    /// Refusals of late, the oldest first. By themselves, or a storm of alerts would push out what was done.
    #[serde(default, skip_serializing_if = "VecDeque::is_empty")]
    pub refused: VecDeque<Past>,
    /// The last recommendation, by target.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub last_recommended: BTreeMap<LvRef, Last>,
    /// The extensions that budgets count, by target.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub extensions: BTreeMap<LvRef, Vec<Extension>>,
    /// Failures in a row, by target.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub failures: BTreeMap<LvRef, u32>,
    /// What a person stopped.
    #[serde(default, skip_serializing_if = "Paused::is_none")]
    pub paused: Paused,
}

impl State {
    /// Takes one entry in.
    pub fn apply(&mut self, entry: &Entry) {
        let at = entry.at.at;
        self.records = self.records.saturating_add(1);
        self.last_check = matches!(entry.event, Event::Checked { .. }).then_some(self.records);
        match &entry.event {
            Event::Checked { .. } => {}
            Event::Received { request, lv, source, .. } => {
                self.last_number = self.last_number.max(*request);
                self.pending.insert(*request, Pending { lv: lv.clone(), source: *source });
            }
            Event::Refused { request, lv, refusal, more, .. } => {
                if let Some(request) = request {
                    self.pending.remove(request);
                }
                if let Some(lv) = lv {
                    self.last_refusal.insert(lv.clone(), refusal.clone());
                }
                let (result, sentence) = (Conclusion::Refused(refusal.code), refusal.sentence.clone());
                let past = Past { at, lv: lv.clone(), result, sentence, commands: vec![], more: *more };
                push_bounded(&mut self.refused, past);
            }
            Event::Planned { id, request, plan, dry_run, recommend } => {
                self.last_number = self.last_number.max(id.0);
                if let Some(request) = request {
                    self.pending.remove(request);
                }
                self.last_refusal.remove(&plan.lv);
                let (plan, dry_run, recommend) = ((**plan).clone(), *dry_run, *recommend);
                let (started, done, growth_started) = (vec![], vec![], None);
                self.running
                    .insert(*id, Running { since: at, plan, dry_run, recommend, started, done, growth_started });
            }
            Event::Started { id, step } => {
                if let Some(running) = self.running.get_mut(id) {
                    running.started.push(*step);
                    if matches!(running.plan.steps.get(*step), Some(Step::GrowFilesystem { .. })) {
                        running.growth_started.get_or_insert(entry.at);
                    }
                }
            }
            Event::Done { id, step } => {
                if let Some(running) = self.running.get_mut(id) {
                    running.done.push(*step);
                }
            }
            Event::Finished { id, outcome, account } => {
                self.finish(entry.at, *id, *outcome, account);
            }
            // For those who are told; what is done next does not depend on it.
            Event::Overdue { .. } => {}
            Event::Cleared { lv } => {
                self.parked.remove(lv);
            }
            Event::Paused { lv: None } => self.paused.all = Some(at),
            Event::Paused { lv: Some(lv) } => {
                self.paused.targets.insert(lv.clone(), at);
            }
            Event::Resumed { lv: None } => self.paused = Paused::default(),
            Event::Resumed { lv: Some(lv) } => {
                self.paused.targets.remove(lv);
            }
            Event::Reset { lv: None } => self.failures.clear(),
            Event::Reset { lv: Some(lv) } => {
                self.failures.remove(lv);
            }
        }
    }

    fn finish(&mut self, at: Moment, id: OperationId, outcome: Outcome, account: &Account) {
        let Some(running) = self.running.remove(&id) else { return };
        let lv = running.plan.lv.clone();
        let last = match outcome {
            Outcome::DryRun => &mut self.last_dry_run,
            Outcome::Recommended => &mut self.last_recommended,
            Outcome::Grown | Outcome::Failed | Outcome::NeedsAttention if running.dry_run => &mut self.last_dry_run,
            Outcome::Grown | Outcome::Failed | Outcome::NeedsAttention => &mut self.last,
        };
        last.insert(lv.clone(), Last { id, at, outcome });
        let past = Past {
            at: at.at,
            lv: Some(lv.clone()),
            result: Conclusion::Ended(outcome),
            sentence: account.to_string(),
            commands: account.commands.clone(),
            more: 0,
        };
        push_bounded(&mut self.past, past);
        match outcome {
            Outcome::Grown => {
                self.failures.remove(&lv);
            }
            Outcome::Failed | Outcome::NeedsAttention if running.dry_run => {}
            Outcome::Failed | Outcome::NeedsAttention => {
                let failures = self.failures.entry(lv.clone()).or_default();
                *failures = failures.saturating_add(1);
            }
            Outcome::DryRun | Outcome::Recommended => {}
        }
        // What needs attention was extended, or may have been: it counts.
        if matches!(outcome, Outcome::Grown | Outcome::NeedsAttention) && running.plan.growth() > Bytes::ZERO {
            let new = Extension { at, bytes: running.plan.growth() };
            remember(self.extensions.entry(lv.clone()).or_default(), new);
        }
        if outcome == Outcome::NeedsAttention {
            let account = account.clone();
            self.parked.insert(lv, Parked { id, since: at.at, plan: running.plan, account });
        }
    }

    /// Operations and refusals of late together, the oldest first.
    pub fn lately(&self) -> Vec<&Past> {
        let mut all: Vec<&Past> = self.past.iter().chain(&self.refused).collect();
        all.sort_by_key(|past| past.at);
        all
    }

    /// The past as decisions need it. What a dry run did never holds back a real one.
    pub fn history(&self, dry_run: bool) -> History {
        let running = self
            .running
            .iter()
            .map(|(id, running)| (running.plan.lv.clone(), open(&running.plan, *id, running.since, None)));
        let parked = self.parked.iter().map(|(lv, parked)| {
            (lv.clone(), open(&parked.plan, parked.id, parked.since, Some(parked.account.to_string())))
        });
        let mut last = self.last.clone();
        if dry_run {
            last.extend(self.last_dry_run.iter().map(|(lv, dry)| (lv.clone(), *dry)));
        }
        History {
            open: parked.chain(running).collect(),
            last,
            recommended: self.last_recommended.clone(),
            extensions: self.extensions.clone(),
            failures: self.failures.clone(),
            paused: self.paused.clone(),
        }
    }
}

fn open(plan: &Plan, id: OperationId, since: Timestamp, attention: Option<String>) -> Open {
    let mount_point = plan.fs.as_ref().map(|fs| fs.mount_point.clone());
    Open { id, since, attention, lv_uuid: plan.lv_uuid.clone(), mount_point }
}
