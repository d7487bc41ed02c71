//! The life of the engine: started with what the journal has open, watched over, drained.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use super::queue::{Handle, Inner};
use super::{Shared, monitor};

/// How long to wait before a journal that cannot be written is tried again.
const JOURNAL_AGAIN: Duration = Duration::from_secs(10);

/// Starts the engine: first what the journal has open, then whatever is submitted.
pub fn start(shared: Arc<Shared>) -> Handle {
    let handle = start_for_one(shared);
    handle.take_up_requests();
    let kept = Arc::downgrade(&handle.0);
    std::thread::spawn(move || while kept.upgrade().is_some_and(|inner| Handle(inner).keep_journal()) {});
    let attended = Arc::clone(handle.shared());
    std::thread::spawn(move || monitor::attend(&attended));
    handle.watch();
    handle
}

/// Starts the engine for one wish of a person: what a crash interrupted is finished first, what else waits is left to
/// the daemon.
pub fn start_for_one(shared: Arc<Shared>) -> Handle {
    let (waiting, workers, watching) = (Mutex::default(), Mutex::default(), Mutex::default());
    let (changed, written) = (Condvar::new(), Condvar::new());
    let rooms = Mutex::default();
    let handle = Handle(Arc::new(Inner { shared, waiting, changed, written, workers, watching, rooms }));
    handle.take_up_operations();
    handle
}

impl Handle {
    /// Waits a while for trouble with the journal; when there is some, tries again until it is over, and takes up what
    /// was interrupted. `false` when the daemon is stopping.
    fn keep_journal(&self) -> bool {
        let shared = &self.0.shared;
        // Also while nothing is written, so that what became of the journal is seen before the next alert comes. What
        // is wrong is a trouble of the journal from then on.
        let _ = shared.journal().attest();
        self.write_what_was_counted(false);
        if shared.journal().wait_for_trouble(Duration::from_secs(1)) {
            shared.pause(JOURNAL_AGAIN);
            match shared.journal().retry() {
                _ if shared.is_stopping() => {}
                Ok(()) => {
                    tracing::info!("the journal can be written again");
                    self.take_up_operations();
                    self.take_up_requests();
                }
                Err(error) => tracing::error!("journal unusable; nothing grows: {}", crate::chain(&error)),
            }
        }
        !shared.is_stopping()
    }

    /// Has the targets looked at by ourselves if the config asks for it; to be called again when that was replaced.
    pub fn watch(&self) {
        let mut watching = crate::locked(&self.0.watching);
        if !*watching && self.shared().config().interval.is_some() {
            *watching = true;
            let watched = self.clone();
            std::thread::spawn(move || monitor::watch(&watched));
        }
    }

    /// Accepts nothing more and waits for the steps that run. What waits stays in the journal for the next start.
    pub fn drain(&self) {
        self.0.shared.stopping.store(true, Ordering::Relaxed);
        self.waiting().draining = true;
        self.0.changed.notify_all();
        let workers = std::mem::take(&mut *crate::locked(&self.0.workers));
        self.write_what_was_counted(true);
        for (vg, worker) in workers {
            if worker.join().is_err() {
                tracing::error!(%vg, "the worker of this volume group ended by a panic");
            }
        }
    }
}
