//! What was made last and is given to others who ask at the same time, or soon after.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use hyper::body::Bytes;
use tokio::sync::Mutex;

use crate::metrics::exposition::Shape;
use crate::plan::Moment;
use crate::report::ReportRequest;

/// Pages by shape, each with the moment at which it was begun. Whoever asked before that moment is given the page: many
/// scrapes at once are one reading of the host.
#[derive(Default)]
pub struct Pages(pub(super) Mutex<Vec<(Shape, Instant, Bytes)>>);

/// Makes the status page and its twins.
pub struct StatusPages {
    /// The host's name, for people.
    pub host: String,
    /// The time; a simulated host has its own.
    pub clock: Box<dyn Fn() -> Moment + Send + Sync>,
    pub(super) made: Mutex<Option<(Instant, Arc<Made>)>>,
}

impl StatusPages {
    /// Of a host.
    pub fn new(host: impl Into<String>, clock: impl Fn() -> Moment + Send + Sync + 'static) -> StatusPages {
        StatusPages { host: host.into(), clock: Box::new(clock), made: Mutex::default() }
    }
}

/// All parts of one moment.
pub(super) struct Made {
    pub(super) page: Bytes,
    pub(super) inventory: Bytes,
    pub(super) targets: Bytes,
    pub(super) operations: Bytes,
}

/// The reports that were made last.
#[derive(Debug, Default)]
pub struct KeptReports {
    pub(super) made: VecDeque<(tokio::time::Instant, ReportRequest, Bytes)>,
    /// When the next one may be made.
    pub(super) next: Option<tokio::time::Instant>,
}
