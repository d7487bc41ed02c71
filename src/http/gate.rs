//! How much memory the bodies of all requests may cost together, whoever sends them and however many there are.
//!
//! A body costs its size while it is read, and a multiple of that while it is parsed and answered. The first is bounded
//! by places for large bodies, for which addresses take turns; small ones need none, so that what Alertmanager usually
//! sends is never refused for want of one. The second is bounded by the size of all bodies that are worked on at a
//! time. Whoever waits too long is answered 503, after which Alertmanager and Grafana send again.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use hyper::http::request::Parts;
use hyper::{Request, StatusCode};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};

use super::access::Peer;
use super::places::Doing;
use super::route::{Answer, text};
use super::turns::{Turn, Turns};
use crate::metrics::edge::{Edge, Limit};

/// A group of a thousand alerts is about this large.
const MAX_BODY: usize = 1 << 20;
/// Up to this size a body needs no place: a group of a hundred alerts. 256 connections have 16 MiB of them at the most.
const SMALL_BODY: usize = 64 << 10;
/// Larger ones at a time: 8 MiB.
const LARGE_BODIES: usize = 8;
/// What is parsed and answered at a time, in KiB: one body of the largest size, or many small ones. Parsed, the
/// costliest body takes about 25 times its size.
const WORKED_ON_KIB: u32 = 1024;
/// A payload that was parsed and judged counts as this part of its size until it is answered: what is left of it is a
/// verdict for each alert, and a disk that hangs must not keep others from being parsed.
const JUDGED: u32 = 4;
/// A smaller body counts as this much, for a request costs something as well, and a thread with memory of its own: 16
/// at a time.
const LEAST_KIB: u32 = 64;

/// Requests for a report that wait for one to be made, or for its turn; the next one is answered 503.
const REPORTS: usize = 8;

/// A payload is answered within this time of its turn, even if the journal's disk hangs or other processes take the
/// processor. It is a little longer than requests wait for another one's write, and shorter than Alertmanager's
/// shortest `group_interval`, 10 s.
pub(super) const ANSWERED_WITHIN: Duration = Duration::from_secs(8);

/// What all requests of a process share.
pub(super) struct Gate {
    large: Turns,
    worked_on: Arc<Semaphore>,
    pub(super) reports: Semaphore,
    pub(super) edge: Edge,
}

impl Gate {
    pub(super) fn new(edge: Edge) -> Gate {
        let worked_on = Arc::new(Semaphore::new(WORKED_ON_KIB as usize));
        Gate { large: Turns::new(LARGE_BODIES), worked_on, reports: Semaphore::new(REPORTS), edge }
    }
}

/// A request that was read whole and has its turn.
pub struct Posted {
    /// The header.
    pub head: Parts,
    /// The body.
    pub body: Vec<u8>,
    /// To be kept until the answer is made.
    pub place: Place,
    /// Who sent it.
    pub(super) peer: Arc<Peer>,
    /// When it is to be answered.
    pub until: Instant,
}

/// Keeps others waiting until it is dropped.
pub struct Place {
    large: Option<Turn>,
    worked_on: OwnedSemaphorePermit,
}

impl Place {
    /// The body and what was parsed of it are dropped: others can have most of the place.
    pub(super) fn is_judged(&mut self) {
        self.large = None;
        let kept = (self.worked_on.num_permits() / JUDGED as usize).max(LEAST_KIB as usize);
        drop(self.worked_on.split(self.worked_on.num_permits().saturating_sub(kept)));
    }
}

/// Reads the whole body and waits for its turn, or says what is answered instead. `deadline` is for the sender, and
/// begins again when a large body was given its place.
pub async fn read(request: Request<Incoming>, deadline: Duration) -> Result<Posted, Answer> {
    let (head, body) = request.into_parts();
    let Some(peer) = head.extensions.get::<Arc<Peer>>().map(Arc::clone) else {
        return Err(text(StatusCode::INTERNAL_SERVER_ERROR, "the request came from nowhere\n"));
    };
    // What says so itself need not be read.
    let announced = body.size_hint().lower();
    if announced > MAX_BODY as u64 {
        return Err(too_large());
    }
    let mut reading = Reading { body, bytes: Vec::new(), next: None };
    in_time(deadline, reading.up_to(SMALL_BODY)).await??;
    let mut large = None;
    if reading.next.is_some() {
        let Ok(turn) = timeout(ANSWERED_WITHIN, peer.gate.large.take(peer.source)).await else {
            return Err(busy(&peer, Limit::LargeBodies));
        };
        large = Some(turn);
        reading.bytes.reserve_exact((announced as usize).saturating_sub(reading.bytes.len()));
        in_time(deadline, reading.up_to(MAX_BODY)).await??;
        if reading.next.is_some() {
            return Err(too_large());
        }
    }
    let body = reading.bytes;
    let until = Instant::now() + ANSWERED_WITHIN;
    let kib = u32::try_from(body.len().div_ceil(1024)).unwrap_or(WORKED_ON_KIB).clamp(LEAST_KIB, WORKED_ON_KIB);
    let worked_on = Arc::clone(&peer.gate.worked_on).acquire_many_owned(kib);
    let Ok(Ok(worked_on)) = timeout_at(until, worked_on).await else { return Err(busy(&peer, Limit::Payloads)) };
    peer.seat.does(Doing::Working);
    Ok(Posted { head, body, place: Place { large, worked_on }, peer, until })
}

/// A body of which a part was read.
struct Reading {
    body: Incoming,
    bytes: Vec<u8>,
    /// What came and would have made it larger than was asked for.
    next: Option<hyper::body::Bytes>,
}

impl Reading {
    /// Reads to the end, or until it would be larger.
    async fn up_to(&mut self, most: usize) -> Result<(), Answer> {
        loop {
            let data = match self.next.take() {
                Some(data) => data,
                None => match self.body.frame().await {
                    None => return Ok(()),
                    Some(Ok(frame)) => match frame.into_data() {
                        Ok(data) => data,
                        Err(_) => continue,
                    },
                    Some(Err(error)) => {
                        let said = format!("the body cannot be read: {error}\n");
                        return Err(text(StatusCode::BAD_REQUEST, said));
                    }
                },
            };
            if self.bytes.len() + data.len() > most {
                self.next = Some(data);
                return Ok(());
            }
            self.bytes.extend_from_slice(&data);
        }
    }
}

async fn in_time<T>(deadline: Duration, reading: impl Future<Output = T>) -> Result<T, Answer> {
    let late = |_| text(StatusCode::REQUEST_TIMEOUT, "the body did not come in time\n");
    timeout(deadline, reading).await.map_err(late)
}

fn too_large() -> Answer {
    text(StatusCode::PAYLOAD_TOO_LARGE, format!("the body is larger than {MAX_BODY} bytes\n"))
}

fn busy(peer: &Peer, limit: Limit) -> Answer {
    peer.gate.edge.hit(limit);
    text(StatusCode::SERVICE_UNAVAILABLE, "too many requests at the same time, send this again\n")
}
