//! Requests wait here: bounded, one per volume, one worker thread per volume group.
//!
//! What is in here was accepted (`receive.rs`) and so is in the journal. The queue itself is memory only; after a
//! crash it is made again from the journal.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::asked::Asked;
use super::door::Door;
use super::{Ended, Pipeline, Shared};
use crate::journal::{JournalError, Source};
use crate::name::{LvRef, OperationId, VgName};
use crate::rate::{Rate, RateLimit};
use crate::units::Bytes;

/// So often an alert may have a volume looked at in vain: as often as a few rules on several Alertmanagers do, and then
/// once a minute. What comes meanwhile adds nothing to the one that waits, so that an alert that is sent without end
/// neither fills journal and audit log with its refusals nor keeps LVM busy.
const IN_VAIN: RateLimit = RateLimit { burst: 20, each: Duration::from_secs(60) };

/// Something for a worker.
pub(super) enum Work {
    Request { number: Option<u64>, lv: LvRef, source: Source },
    Asked { lv: LvRef, asked: Asked },
    Resume { id: OperationId, lv: LvRef },
}

#[derive(Default)]
pub(super) struct Waiting {
    by_group: BTreeMap<VgName, VecDeque<Work>>,
    /// One request each.
    pub(super) volumes: BTreeSet<LvRef>,
    /// Those of them that only our own look asks for, which is not in the journal: an alert adds to it, and takes its
    /// place.
    pub(super) only_looks: BTreeSet<LvRef>,
    /// How often alerts for a volume were refused lately.
    in_vain: BTreeMap<LvRef, Rate>,
    pub(super) draining: bool,
    pub(super) door: Door,
}

pub(super) struct Inner {
    pub(super) shared: Arc<Shared>,
    pub(super) waiting: Mutex<Waiting>,
    pub(super) changed: Condvar,
    /// Something at the door is on disk, or is not.
    pub(super) written: Condvar,
    pub(super) workers: Mutex<BTreeMap<VgName, JoinHandle<()>>>,
    /// A thread looks at the targets by itself.
    pub(super) watching: Mutex<bool>,
    /// How much each group had at the last look, free or to be supplied.
    pub(super) rooms: Mutex<BTreeMap<VgName, Bytes>>,
}

/// The engine, as the rest of the program sees it.
#[derive(Clone)]
pub struct Handle(pub(super) Arc<Inner>);

impl Handle {
    /// Why something was not written to the journal within this time, as far as the journal knows: a disk that hangs,
    /// or a host that is too busy.
    pub fn not_written(&self, within: Duration) -> String {
        let why = match self.shared().journal().answers() {
            Err(error) => error.to_string(),
            Ok(()) => format!("the journal was not written within {} s", within.as_secs()),
        };
        format!("{why}; this may still be written later")
    }

    /// Queues the operations that the journal has open. One that is worked on already may be queued a second time: who
    /// takes it up then sees in the journal that it is over. The same is true of requests.
    pub(super) fn take_up_operations(&self) {
        let mut waiting = self.waiting();
        for (id, running) in &self.0.shared.state().running {
            self.enqueue(&mut waiting, Work::Resume { id: *id, lv: running.plan.lv.clone() });
        }
    }

    pub(super) fn take_up_requests(&self) {
        let mut waiting = self.waiting();
        for (number, pending) in &self.0.shared.state().pending {
            // Two for one volume can wait only if the first was already being decided about when the second came.
            waiting.volumes.insert(pending.lv.clone());
            let (lv, source) = (pending.lv.clone(), pending.source);
            self.enqueue(&mut waiting, Work::Request { number: Some(*number), lv, source });
        }
    }

    /// Queues a person's wish; false if the daemon is stopping.
    pub(super) fn push_asked(&self, lv: &LvRef, asked: Asked) -> bool {
        let mut waiting = self.waiting();
        if waiting.draining {
            return false;
        }
        self.enqueue(&mut waiting, Work::Asked { lv: lv.clone(), asked });
        true
    }

    /// How many requests wait.
    pub fn waiting_count(&self) -> usize {
        self.waiting().volumes.len()
    }

    /// What everybody may know: config, journal, metrics.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.0.shared
    }

    /// Whether the thread that looks should go on; if not, the next [`Handle::watch`] starts another.
    pub(super) fn goes_on_watching(&self) -> bool {
        let mut watching = crate::locked(&self.0.watching);
        *watching = self.shared().config().interval.is_some() && !self.shared().is_stopping();
        *watching
    }

    pub(super) fn waiting(&self) -> MutexGuard<'_, Waiting> {
        crate::locked(&self.0.waiting)
    }

    /// Gives work to the worker of its group, who is there from the first work on.
    pub(super) fn enqueue(&self, waiting: &mut Waiting, work: Work) {
        let vg = match &work {
            Work::Request { lv, .. } | Work::Asked { lv, .. } | Work::Resume { lv, .. } => lv.vg.clone(),
        };
        waiting.by_group.entry(vg.clone()).or_default().push_back(work);
        let mut workers = crate::locked(&self.0.workers);
        workers.entry(vg.clone()).or_insert_with(|| {
            let handle = self.clone();
            std::thread::spawn(move || handle.work(&vg))
        });
        drop(workers);
        self.0.changed.notify_all();
    }

    /// The life of a worker.
    fn work(&self, vg: &VgName) {
        let pipeline = Pipeline(Arc::clone(&self.0.shared));
        while let Some(work) = self.next(vg) {
            // One bug in one operation must not leave the group without a worker while alerts are still accepted.
            let alert = if let Work::Request { number: Some(_), lv, .. } = &work { Some(lv.clone()) } else { None };
            let ended = panic::catch_unwind(AssertUnwindSafe(|| run(&pipeline, work)));
            match (ended, alert) {
                (Ok(Ok(Some(Ended::Refused(_)))), Some(lv)) => self.waiting().was_in_vain(lv),
                (Ok(Ok(_)), _) => {}
                // It is taken up again when the journal can be written.
                (Ok(Err(error)), _) => tracing::error!(%vg, "operation interrupted: {}", crate::chain(&error)),
                (Err(_), _) => {
                    tracing::error!(%vg, "an operation ended by a panic, it stays open until the next start")
                }
            }
        }
    }

    fn next(&self, vg: &VgName) -> Option<Work> {
        let mut waiting = self.waiting();
        loop {
            if waiting.draining {
                return None;
            }
            let (due, later) = waiting.due(vg);
            if let Some(work) = due {
                // From here on an alert for this volume is a new request: it may have come after our look.
                if let Work::Request { number, lv, .. } = &work {
                    // An alert took the place of our own look.
                    if !waiting.only_looks.remove(lv) && number.is_none() {
                        continue;
                    }
                    waiting.volumes.remove(lv);
                }
                return Some(work);
            }
            waiting = match later {
                None => self.0.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner),
                Some(later) => self.0.changed.wait_timeout(waiting, later).unwrap_or_else(PoisonError::into_inner).0,
            };
        }
    }
}

impl Waiting {
    /// The first work of a group whose turn it is; if there is none and some waits for its turn, how long that is.
    fn due(&mut self, vg: &VgName) -> (Option<Work>, Option<Duration>) {
        let Some(queue) = self.by_group.get_mut(vg) else { return (None, None) };
        let now = Instant::now();
        let mut soonest = None;
        for (place, work) in queue.iter().enumerate() {
            let wait = match work {
                Work::Request { number: Some(_), lv, .. } => self.in_vain.get_mut(lv).map(|rate| rate.wait(now)),
                _ => None,
            };
            match wait.filter(|wait| !wait.is_zero()) {
                None => return (queue.remove(place), None),
                Some(wait) => soonest = Some(soonest.map_or(wait, |other: Duration| other.min(wait))),
            }
        }
        (None, soonest)
    }

    fn was_in_vain(&mut self, lv: LvRef) {
        let now = Instant::now();
        let _ = self.in_vain.entry(lv).or_insert_with(|| Rate::new(IN_VAIN, now)).take(now);
        self.in_vain.retain(|_, rate| !rate.is_unused(now));
    }
}

/// What came of it, if it was a request.
fn run(pipeline: &Pipeline, work: Work) -> Result<Option<Ended>, JournalError> {
    match work {
        Work::Resume { id, .. } => pipeline.resume(id).map(|()| None),
        // Queued twice, and decided about meanwhile.
        Work::Request { number: Some(number), .. } if !pipeline.0.state().pending.contains_key(&number) => Ok(None),
        Work::Request { number, lv, source } => pipeline.request(number, &lv, source).map(Some),
        Work::Asked { lv, asked } if !asked.begin() => {
            tracing::info!(%lv, "the client that asked for it disconnected before it began: nothing is done");
            Ok(None)
        }
        Work::Asked { lv, asked } => {
            let ended = pipeline.ask(&lv, asked.by);
            asked.answer(ended.as_ref().map(Clone::clone).map_err(|error| crate::chain(error)));
            ended.map(Some)
        }
    }
}
