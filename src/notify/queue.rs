//! What one receiver is still to be told: bounded, tried again with growing pauses, given up when it is too old.
//!
//! One thread for each receiver, so that one that hangs delays neither the others nor, least of all, an operation.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::message::Message;
use super::progress::Untold;
use super::send::SendError;
use crate::metrics::web::WebMetrics;
use crate::metrics::words::Notified;

/// What is older is not told any more: by then somebody looked, or nobody will.
pub(super) const MAX_AGE: Duration = Duration::from_secs(24 * 3600);

/// So many wait; of more the oldest are dropped, for the newest say how things are now.
const MOST_WAITING: usize = 1000;

/// How long to try.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// The pause after the first failure; it doubles with each further one.
    pub(super) first: Duration,
    /// But is never longer than this.
    pub(super) longest: Duration,
    /// What is older is given up: it says nothing new.
    pub(super) age: Duration,
    /// So is what was tried this often.
    pub(super) attempts: u32,
}

/// A mail server that is down for a night is waited for; a receiver that hiccups hears of it a second later.
pub(super) const PATIENCE: Patience =
    Patience { first: Duration::from_secs(1), longest: Duration::from_secs(300), age: MAX_AGE, attempts: 300 };

/// Tries once to tell a message.
pub(super) type Send = Arc<dyn Fn(&Message) -> Result<(), SendError> + std::marker::Send + Sync>;

/// The queue of one receiver.
pub(super) struct Queue {
    kind: &'static str,
    send: Mutex<Send>,
    patience: Patience,
    metrics: Arc<WebMetrics>,
    progress: Arc<Untold>,
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    messages: VecDeque<Job>,
    sending: bool,
    closed: bool,
    /// Who goes on with what a closed queue had not told.
    successor: Option<Arc<Queue>>,
}

#[derive(Clone)]
pub(super) struct Job {
    pub(super) record: u64,
    message: Arc<Message>,
    since: Instant,
    attempts: u32,
}

impl Job {
    pub(super) fn new(record: u64, message: Arc<Message>) -> Job {
        Job { record, message, since: Instant::now(), attempts: 0 }
    }
}

impl Queue {
    /// Starts the thread.
    pub(super) fn start(
        kind: &'static str,
        send: Send,
        patience: Patience,
        metrics: Arc<WebMetrics>,
        progress: Arc<Untold>,
    ) -> Arc<Queue> {
        metrics.expect_notifications(kind);
        let (waiting, changed) = Default::default();
        let send = Mutex::new(send);
        let queue = Arc::new(Queue { kind, send, patience, metrics, progress, waiting, changed });
        let thread = Arc::clone(&queue);
        std::thread::spawn(move || thread.run());
        queue
    }

    /// From the next attempt on it is told in this way: the same receiver, whose files may say something else.
    pub(super) fn send_with(&self, send: Send) {
        *crate::locked(&self.send) = send;
    }

    /// One more; never waits.
    pub(super) fn push(&self, job: Job) {
        let mut waiting = self.waiting();
        if waiting.closed {
            let successor = waiting.successor.clone();
            drop(waiting);
            return match successor {
                Some(successor) => successor.push(job),
                None => drop(self.progress.forget(job.record)),
            };
        }
        waiting.messages.push_back(job);
        let dropped = (waiting.messages.len() > MOST_WAITING).then(|| waiting.messages.pop_front()).flatten();
        drop(waiting);
        if let Some(dropped) = dropped {
            self.metrics.notified(self.kind, Notified::Dropped);
            self.progress.forget(dropped.record);
        }
        self.changed.notify_all();
    }

    /// Ends the thread, when it has ended what it is at. What waits goes to the successor, and so does what it is at,
    /// should that fail: an attempt at a receiver that hangs is as long as the reload that mends it. Without one it is
    /// not told.
    pub(super) fn close(&self, successor: Option<&Arc<Queue>>) {
        let mut waiting = self.waiting();
        waiting.closed = true;
        waiting.successor = successor.cloned();
        let rest = std::mem::take(&mut waiting.messages);
        drop(waiting);
        self.changed.notify_all();
        rest.into_iter().for_each(|job| self.push(job));
    }

    /// Waits until nothing waits, but no longer than until then.
    pub(super) fn drain(&self, until: Instant) {
        let left = until.saturating_duration_since(Instant::now());
        let busy = |waiting: &mut Waiting| waiting.sending || !waiting.messages.is_empty();
        drop(self.changed.wait_timeout_while(self.waiting(), left, busy));
    }

    fn run(&self) {
        // Failures in a row, of whatever message: it is the receiver that is down.
        let mut failures = 0;
        while let Some(job) = self.next(failures) {
            let send = Arc::clone(&crate::locked(&self.send));
            let result = send(&job.message);
            let outcome = self.ended(job, result);
            failures = if outcome == Notified::Sent { 0 } else { failures + 1 };
            self.waiting().sending = false;
            self.changed.notify_all();
        }
    }

    /// The next message, after a pause if the last attempt failed.
    fn next(&self, failures: u32) -> Option<Job> {
        let mut waiting = self.waiting();
        if failures > 0 {
            let pause = self.patience.first.saturating_mul(1 << (failures - 1).min(20)).min(self.patience.longest);
            let open = |waiting: &mut Waiting| !waiting.closed;
            let paused = self.changed.wait_timeout_while(waiting, pause, open);
            waiting = paused.unwrap_or_else(PoisonError::into_inner).0;
        }
        let idle = |waiting: &mut Waiting| waiting.messages.is_empty() && !waiting.closed;
        let mut waiting = self.changed.wait_while(waiting, idle).unwrap_or_else(PoisonError::into_inner);
        if waiting.closed {
            return None;
        }
        waiting.sending = true;
        waiting.messages.pop_front()
    }

    fn ended(&self, mut job: Job, result: Result<(), SendError>) -> Notified {
        job.attempts += 1;
        let (kind, id, event) = (self.kind, job.message.id.as_str(), job.message.event.as_str());
        let too_late = job.attempts >= self.patience.attempts || job.since.elapsed() >= self.patience.age;
        let outcome = match &result {
            Ok(()) => Notified::Sent,
            Err(SendError::Later(_)) if !too_late => Notified::Retried,
            Err(_) => Notified::Failed,
        };
        match &result {
            Ok(()) => tracing::info!(kind, id, event, "notified"),
            // Once is worth a warning, the rest of a night is not.
            Err(error) if outcome == Notified::Retried && job.attempts == 1 => {
                tracing::warn!(kind, id, event, "not notified, trying again: {error}")
            }
            Err(error) if outcome == Notified::Retried => {
                tracing::debug!(kind, id, event, "still not notified: {error}")
            }
            Err(error) => tracing::error!(kind, id, event, attempts = job.attempts, "not notified, given up: {error}"),
        }
        self.metrics.notified(self.kind, outcome);
        if outcome != Notified::Retried {
            self.progress.done(job.record);
            return outcome;
        }
        // Behind the others: what one message makes fail must not keep them back.
        self.push(job);
        outcome
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        crate::locked(&self.waiting)
    }
}
