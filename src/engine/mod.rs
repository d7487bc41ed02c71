//! Doing it: requests in, one worker thread per volume group, the pipeline on each.
//!
//! Synchronous code on plain threads. `http` reaches it only through [`Handle`]; what it needs of the machine it gets from
//! a [`Host`].

mod ask;
mod door;
mod ending;
mod execute;
mod monitor;
mod pipeline;
mod queue;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::config::{Config, InForce};
use crate::host::{Hold, Host, Sampler};
use crate::journal::{Journal, State};
use crate::metrics::autoscaler::Metrics;
pub use ask::{Answer, Progress};
pub use door::{Accepted, Delivery, Request, SubmitError};
pub use pipeline::{Ended, Pipeline};
pub use queue::{Handle, start, start_for_one};

/// What all parts of the engine share.
pub struct Shared {
    /// The machine.
    pub host: Arc<dyn Host>,
    /// What is wanted; [`Shared::config`] is how it is now.
    pub in_force: Arc<InForce>,
    /// What was done.
    pub journal: Journal,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Leave out what changes something.
    pub dry_run: bool,
    /// Finish the step that runs and begin no other.
    pub stopping: AtomicBool,
    /// Looks in the background, if anybody does: not during an operation, but after it, so that the next scrape shows its
    /// effect.
    pub sampler: Option<Sampler>,
}

impl Shared {
    /// What is wanted now. One request is decided about and carried out with one of them.
    pub fn config(&self) -> Arc<Config> {
        self.in_force.get()
    }

    /// The journal.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Whether the daemon is stopping.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// Waits, but not when the daemon is stopping.
    fn pause(&self, duration: Duration) {
        let slice = Duration::from_millis(200);
        let mut left = duration;
        while !left.is_zero() && !self.is_stopping() {
            self.host.sleep(left.min(slice));
            left = left.saturating_sub(slice);
        }
    }

    fn refresh(&self) {
        self.sampler.iter().for_each(Sampler::refresh);
    }

    /// Until it is dropped nobody looks in the background.
    fn hold(&self) -> Option<Hold> {
        self.sampler.as_ref().map(Sampler::hold)
    }

    /// What the journal says now.
    pub fn state(&self) -> Arc<State> {
        self.journal.state()
    }
}
