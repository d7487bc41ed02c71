//! Requests wait here: bounded, one per volume, one worker thread per volume group.
//!
//! An alert is in the journal before [`Handle::submit`] returns. The queue itself is memory only; after a crash it is
//! made again from the journal.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::ask::Asked;
use super::{Pipeline, Shared};
use crate::journal::{Event, JournalError, Source};
use crate::name::{LvRef, OperationId, VgName};

/// As many requests as may wait. There is at most one per target, so only a very large config reaches it.
const MOST_WAITING: usize = 1000;

/// How long to wait before what a journal that could not be written left open is tried again.
const JOURNAL_AGAIN: Duration = Duration::from_secs(10);

/// Something asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The target.
    pub lv: LvRef,
    /// Who asks.
    pub source: Source,
    /// Of the alert, if it is one.
    pub fingerprint: String,
}

/// What became of a request at the door.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepted {
    /// It waits.
    Queued,
    /// One for the same volume waits already, this one adds nothing.
    Coalesced,
}

/// Nothing was accepted; the sender should try again.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// Too many requests wait.
    #[error("{MOST_WAITING} requests wait already")]
    Full,
    /// The daemon is stopping.
    #[error("the daemon is stopping")]
    Draining,
    /// What cannot be written down is not accepted.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// Something for a worker.
enum Work {
    Request { number: Option<u64>, lv: LvRef, source: Source },
    Asked { lv: LvRef, asked: Asked },
    Resume { id: OperationId },
}

#[derive(Default)]
struct Waiting {
    by_group: BTreeMap<VgName, VecDeque<Work>>,
    volumes: BTreeSet<LvRef>,
    draining: bool,
}

struct Inner {
    shared: Arc<Shared>,
    waiting: Mutex<Waiting>,
    changed: Condvar,
    workers: Mutex<BTreeMap<VgName, JoinHandle<()>>>,
    /// A thread looks at the targets by itself.
    watching: Mutex<bool>,
}

/// The engine, as the rest of the program sees it.
#[derive(Clone)]
pub struct Handle(Arc<Inner>);

/// Starts the engine: first what the journal has open, then whatever is submitted.
pub fn start(shared: Arc<Shared>) -> Handle {
    let handle = start_for_one(shared);
    for (number, pending) in handle.shared().state().pending {
        // Two for one volume can wait only if the first was already being decided about when the second came.
        handle.waiting().volumes.insert(pending.lv.clone());
        handle.push(
            pending.lv.vg.clone(),
            Work::Request { number: Some(number), lv: pending.lv, source: pending.source },
        );
    }
    let attended = Arc::clone(handle.shared());
    std::thread::spawn(move || super::monitor::attend(&attended));
    handle.watch();
    handle
}

/// Starts the engine for one wish of a person: what a crash interrupted is finished first, what else waits is left to the
/// daemon.
pub fn start_for_one(shared: Arc<Shared>) -> Handle {
    let running = shared.state().running;
    let (waiting, workers, watching) = (Mutex::default(), Mutex::default(), Mutex::default());
    let handle = Handle(Arc::new(Inner { shared, waiting, changed: Condvar::new(), workers, watching }));
    for (id, running) in running {
        handle.push(running.plan.lv.vg, Work::Resume { id });
    }
    handle
}

impl Handle {
    /// Accepts requests, all or none. When it returns `Ok`, the alerts among those that were queued are on disk.
    pub fn submit(&self, requests: Vec<Request>) -> Result<Vec<Accepted>, SubmitError> {
        let shared = &self.0.shared;
        let mut waiting = self.waiting();
        if waiting.draining {
            return Err(SubmitError::Draining);
        }
        let mut journal = shared.journal();
        let (mut accepted, mut events, mut queued) = (vec![], vec![], vec![]);
        let mut next = journal.next_number();
        let mut taken: BTreeSet<LvRef> = BTreeSet::new();
        for request in requests {
            if waiting.volumes.contains(&request.lv) || !taken.insert(request.lv.clone()) {
                accepted.push(Accepted::Coalesced);
                continue;
            }
            let Request { lv, source, fingerprint } = request;
            accepted.push(Accepted::Queued);
            // Our own look comes again by itself; only what somebody was told is accepted must outlive a crash.
            let number = (source != Source::Monitor).then_some(next);
            if let Some(request) = number {
                events.push(Event::Received { request, lv: lv.clone(), source, fingerprint });
                next += 1;
            }
            queued.push(Work::Request { number, lv, source });
        }
        if waiting.volumes.len() + queued.len() > MOST_WAITING {
            return Err(SubmitError::Full);
        }
        if !events.is_empty() {
            journal.append(shared.host.moment(), events)?;
        }
        drop(journal);
        waiting.volumes.extend(taken);
        drop(waiting);
        for work in queued {
            if let Work::Request { lv, .. } = &work {
                self.push(lv.vg.clone(), work);
            }
        }
        Ok(accepted)
    }

    /// Queues a person's wish; false if the daemon is stopping.
    pub(super) fn push_asked(&self, lv: &LvRef, asked: Asked) -> bool {
        if self.waiting().draining {
            return false;
        }
        self.push(lv.vg.clone(), Work::Asked { lv: lv.clone(), asked });
        true
    }

    /// Writes down a refusal that was decided at the door.
    pub fn refuse(&self, events: Vec<Event>) -> Result<(), SubmitError> {
        let shared = &self.0.shared;
        if !events.is_empty() {
            shared.journal().append(shared.host.moment(), events)?;
        }
        Ok(())
    }

    /// How many requests wait.
    pub fn waiting_count(&self) -> usize {
        self.waiting().volumes.len()
    }

    /// What everybody may know: config, journal, metrics.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.0.shared
    }

    /// Has the targets looked at by ourselves if the config asks for it; to be called again when that was replaced.
    pub fn watch(&self) {
        let mut watching = self.0.watching.lock().unwrap_or_else(PoisonError::into_inner);
        if !*watching && self.shared().config().interval.is_some() {
            *watching = true;
            let watched = self.clone();
            std::thread::spawn(move || super::monitor::watch(&watched));
        }
    }

    /// Whether the thread that looks should go on; if not, the next [`Handle::watch`] starts another.
    pub(super) fn goes_on_watching(&self) -> bool {
        let mut watching = self.0.watching.lock().unwrap_or_else(PoisonError::into_inner);
        *watching = self.shared().config().interval.is_some() && !self.shared().is_stopping();
        *watching
    }

    /// Accepts nothing more and waits for the steps that run. What waits stays in the journal for the next start.
    pub fn drain(&self) {
        self.0.shared.stopping.store(true, Ordering::Relaxed);
        self.waiting().draining = true;
        self.0.changed.notify_all();
        let workers = std::mem::take(&mut *self.0.workers.lock().unwrap_or_else(PoisonError::into_inner));
        for (vg, worker) in workers {
            if worker.join().is_err() {
                tracing::error!(%vg, "the worker of this volume group ended by a panic");
            }
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, vg: VgName, work: Work) {
        self.waiting().by_group.entry(vg.clone()).or_default().push_back(work);
        let mut workers = self.0.workers.lock().unwrap_or_else(PoisonError::into_inner);
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
            let ended = panic::catch_unwind(AssertUnwindSafe(|| run(&pipeline, work)));
            match ended {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    tracing::error!(%vg, "stopped in the middle: {}", crate::chain(&error));
                    self.catch_up(&pipeline, vg);
                }
                Err(_) => tracing::error!(%vg, "an operation ended by a panic, it stays open until the next start"),
            }
        }
    }

    /// After the journal could not be written: what it has open in this group is taken up again until it can.
    fn catch_up(&self, pipeline: &Pipeline, vg: &VgName) {
        let shared = &self.0.shared;
        while !shared.is_stopping() {
            shared.pause(JOURNAL_AGAIN);
            let state = shared.state();
            let running = state.running.iter().filter(|(_, running)| &running.plan.lv.vg == vg);
            let pending = state.pending.iter().filter(|(_, pending)| &pending.lv.vg == vg);
            let resumes = running.map(|(id, _)| Work::Resume { id: *id });
            let requests = pending.map(|(number, pending)| {
                let (lv, source) = (pending.lv.clone(), pending.source);
                Work::Request { number: Some(*number), lv, source }
            });
            match resumes.chain(requests).try_for_each(|work| run(pipeline, work)) {
                Ok(()) => return,
                Err(error) => tracing::error!(%vg, "still not: {}", crate::chain(&error)),
            }
        }
    }

    fn next(&self, vg: &VgName) -> Option<Work> {
        let mut waiting = self.waiting();
        loop {
            if waiting.draining {
                return None;
            }
            if let Some(work) = waiting.by_group.get_mut(vg).and_then(VecDeque::pop_front) {
                // From here on an alert for this volume is a new request: it may have come after our look.
                if let Work::Request { lv, .. } = &work {
                    waiting.volumes.remove(lv);
                }
                return Some(work);
            }
            waiting = self.0.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

fn run(pipeline: &Pipeline, work: Work) -> Result<(), JournalError> {
    match work {
        Work::Resume { id } => pipeline.resume(id),
        Work::Request { number, lv, source } => pipeline.request(number, &lv, source).map(drop),
        Work::Asked { lv, asked } if !asked.begin() => {
            tracing::info!(%lv, "who asked for it went away before it was begun: nothing is done");
            Ok(())
        }
        Work::Asked { lv, asked } => {
            let ended = pipeline.ask(&lv, asked.by);
            asked.answer(ended.as_ref().map(Clone::clone).map_err(|error| crate::chain(error)));
            ended.map(drop)
        }
    }
}
