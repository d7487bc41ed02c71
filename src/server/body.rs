//! Reads the body of a request within its size, its time and its turn at the [gate](super::gate).

use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use hyper::http::request::Parts;
use hyper::{Request, StatusCode};
use tokio::time::{Instant, timeout, timeout_at};

use super::access::Peer;
use super::answer::{Answer, text};
use super::gate::{ANSWERED_WITHIN, LEAST_KIB, Seat, WORKED_ON_KIB};
use super::places::Doing;
use crate::metrics::edge::Limit;

/// A group of a thousand alerts is about this large.
const MAX_BODY: usize = 1 << 20;
/// Up to this size a body needs no place: a group of a hundred alerts. 256 connections have 16 MiB of them at the most.
const SMALL_BODY: usize = 64 << 10;

/// A request that was read whole and has its turn.
pub struct Posted {
    /// The header.
    pub head: Parts,
    /// The body.
    pub body: Vec<u8>,
    /// To be kept until the answer is made.
    pub place: Seat,
    /// Who sent it.
    pub(crate) peer: Arc<Peer>,
    /// When it is to be answered.
    pub until: Instant,
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
    Ok(Posted { head, body, place: Seat { large, worked_on }, peer, until })
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
