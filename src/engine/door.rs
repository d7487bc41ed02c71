//! What is known of deliveries: the batch that gathers, the volumes whose requests are not on disk yet, the refusals
//! that were only counted, and the deliveries that were accepted in part.
//!
//! What does not fit is not accepted, and its sender sends all of it again. That ends even where a delivery is larger
//! than the queue: what was accepted of it is remembered for a while, and adds nothing when it comes again; and where
//! there is not room for all, those who were taken in longest ago are first.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::journal::{Event, JournalError, Source};
use crate::name::LvRef;
use crate::plan::{Code, Moment};
use crate::rate::{Rate, RateLimit};

/// Refusals that are written down in one go; the others are only counted. More are not remembered anyway, and strangers
/// must not be able to fill the journal.
const MOST_REFUSALS: usize = 100;

/// Of refusals that name no target so many with one code are written down: all of what one wrong rule causes, and then
/// one a minute, so that in days of a flood neither the journal nor the audit log goes round. The others are counted.
const UNNAMED: RateLimit = RateLimit { burst: 20, each: Duration::from_secs(60) };

/// For how long a delivery that was accepted in part is remembered. Alertmanager sends it again for `group_interval`,
/// five minutes unless it is told otherwise.
const REMEMBERED_FOR: Duration = Duration::from_secs(600);
/// How many of them. There are as many as there are senders at a time.
const REMEMBERED: usize = 64;

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

/// What is handed over at once.
#[derive(Debug, Default)]
pub struct Delivery {
    /// What is asked for.
    pub requests: Vec<Request>,
    /// What was refused before it got here, to be written down.
    pub refusals: Vec<Event>,
    /// How many were refused before they got here, by code: these, and those that are only counted.
    pub refused: BTreeMap<Code, u64>,
    /// By this the same delivery is known when it comes again.
    pub digest: Option<[u8; 32]>,
}

/// What became of a request at the door.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Accepted {
    /// It waits.
    Queued,
    /// One for the same volume waits already, or it was accepted when this delivery came before: it adds nothing.
    Coalesced,
    /// It was not accepted: too many wait.
    NoRoom,
}

/// Nothing was accepted; the sender should try again.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// The daemon is stopping.
    #[error("the daemon is stopping")]
    Draining,
    /// What cannot be written down is not accepted.
    #[error(transparent)]
    Journal(#[from] Arc<JournalError>),
    /// The engine is another process, and said this, or nothing.
    #[error("{0}")]
    Elsewhere(String),
}

/// Settled when the batch it stands for is on disk, or is not.
pub(super) type Ticket = Arc<OnceLock<Result<(), Arc<JournalError>>>>;

/// What is written together.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) requests: Vec<Request>,
    pub(super) refusals: Vec<Event>,
    /// Somebody is told that something is accepted, if only that it was so before.
    pub(super) promises: bool,
    pub(super) ticket: Ticket,
}

/// What the door knows; a part of what is behind the lock on what waits.
#[derive(Default)]
pub(super) struct Door {
    pub(super) gathering: Batch,
    pub(super) writing: bool,
    /// Volumes whose request is not on disk yet: who adds nothing to it must wait for it too.
    pub(super) unwritten: BTreeMap<LvRef, Ticket>,
    /// When a volume was last taken in, counted in such events.
    pub(super) turns: BTreeMap<LvRef, u64>,
    pub(super) turn: u64,
    /// By code how many refusals may be written down, and the last that was not.
    unnamed: BTreeMap<Code, (Rate, Option<Event>)>,
    in_part: VecDeque<InPart>,
}

/// A delivery of which not all was accepted.
struct InPart {
    digest: [u8; 32],
    at: Moment,
    accepted: BTreeSet<LvRef>,
}

impl Door {
    /// Has a refusal written down with the next batch; false: it is only counted.
    pub(super) fn note(&mut self, event: Event) -> bool {
        let Event::Refused { request, lv, source, refusal, .. } = event else { return false };
        let now = Instant::now();
        let (rate, last) = self.unnamed.entry(refusal.code).or_insert_with(|| (Rate::new(UNNAMED, now), None));
        let has_room = self.gathering.refusals.len() < MOST_REFUSALS;
        if has_room && rate.take(now) {
            *last = None;
            let more = rate.settle();
            self.gathering.refusals.push(Event::Refused { request, lv, source, refusal, more });
            return true;
        }
        if !has_room {
            rate.hold_back();
        }
        *last = Some(Event::Refused { request, lv, source, refusal, more: 0 });
        false
    }

    /// The last of each kind that was only counted, with the number of those before it.
    pub(super) fn counted(&mut self, all: bool) -> Vec<Event> {
        let now = Instant::now();
        let mut counted = Vec::new();
        for (rate, last) in self.unnamed.values_mut() {
            if (all || rate.wait(now).is_zero())
                && let Some(Event::Refused { request, lv, source, refusal, .. }) = last.take()
            {
                let more = rate.settle().saturating_sub(1);
                let _ = rate.take(now);
                counted.push(Event::Refused { request, lv, source, refusal, more });
            }
        }
        counted
    }

    pub(super) fn accepted_before(&self, digest: &[u8; 32], now: Moment) -> BTreeSet<LvRef> {
        let known = self.in_part.iter().find(|known| &known.digest == digest);
        let lately = known.filter(|known| now.since(&known.at) < REMEMBERED_FOR);
        lately.map(|known| known.accepted.clone()).unwrap_or_default()
    }

    /// `None`: all of it was accepted, so when it comes again it is something new.
    pub(super) fn remember(&mut self, digest: [u8; 32], at: Moment, accepted: Option<BTreeSet<LvRef>>) {
        self.in_part.retain(|known| known.digest != digest);
        if let Some(accepted) = accepted {
            self.in_part.push_back(InPart { digest, at, accepted });
        }
        while self.in_part.len() > REMEMBERED {
            self.in_part.pop_front();
        }
    }
}
