//! How much memory the bodies of all requests may cost together, whoever sends them and however many there are.
//!
//! A body costs its size while it is read, and a multiple of that while it is parsed and answered. The first is bounded
//! by places for large bodies, for which addresses take turns; small ones need none, so that what Alertmanager usually
//! sends is never refused for want of one. The second is bounded by the size of all bodies that are worked on at a
//! time. Whoever waits too long is answered 503, after which Alertmanager and Grafana send again.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::turns::{Turn, Turns};
use crate::metrics::edge::Edge;

/// Larger ones at a time: 8 MiB.
const LARGE_BODIES: usize = 8;
/// What is parsed and answered at a time, in KiB: one body of the largest size, or many small ones. Parsed, the
/// costliest body takes about 25 times its size.
pub(super) const WORKED_ON_KIB: u32 = 1024;
/// A payload that was parsed and judged counts as this part of its size until it is answered: what is left of it is a
/// verdict for each alert, and a disk that hangs must not keep others from being parsed.
const JUDGED: u32 = 4;
/// A smaller body counts as this much, for a request costs something as well, and a thread with memory of its own: 16
/// at a time.
pub(super) const LEAST_KIB: u32 = 64;

/// Requests for a report that wait for one to be made, or for its turn; the next one is answered 503.
const REPORTS: usize = 8;

/// A payload is answered within this time of its turn, even if the journal's disk hangs or other processes take the
/// processor. It is a little longer than requests wait for another one's write, and shorter than Alertmanager's
/// shortest `group_interval`, 10 s.
pub(crate) const ANSWERED_WITHIN: Duration = Duration::from_secs(8);

/// What all requests of a process share.
pub(crate) struct Gate {
    pub(super) large: Turns,
    pub(super) worked_on: Arc<Semaphore>,
    pub(crate) reports: Semaphore,
    pub(crate) edge: Edge,
}

impl Gate {
    pub(super) fn new(edge: Edge) -> Gate {
        let worked_on = Arc::new(Semaphore::new(WORKED_ON_KIB as usize));
        Gate { large: Turns::new(LARGE_BODIES), worked_on, reports: Semaphore::new(REPORTS), edge }
    }
}

/// Keeps others waiting until it is dropped.
pub struct Seat {
    pub(super) large: Option<Turn>,
    pub(super) worked_on: OwnedSemaphorePermit,
}

impl Seat {
    /// The body and what was parsed of it are dropped: others can have most of the place.
    pub(crate) fn is_judged(&mut self) {
        self.large = None;
        let kept = (self.worked_on.num_permits() / JUDGED as usize).max(LEAST_KIB as usize);
        drop(self.worked_on.split(self.worked_on.num_permits().saturating_sub(kept)));
    }
}
