//! Accepts requests: which of them find room, and what makes "accepted" true.
//!
//! A request is accepted when it is in the journal on disk, and not before anybody is told so. Deliveries that come at
//! the same time are written together and share one `fsync`: whoever comes while one is under way waits for the next.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use super::door::{Accepted, Batch, Delivery, Request, SubmitError, Ticket};
use super::queue::{Handle, Waiting, Work};
use crate::journal::{Event, JournalError, Source};
use crate::name::LvRef;
use crate::plan::Moment;

/// How often to see whether the disk that somebody else writes to answers.
const GLANCE: Duration = Duration::from_secs(1);

impl Handle {
    /// Accepts requests. When it returns `Ok`, the alerts among those that were not without room are on disk.
    pub fn submit(&self, requests: Vec<Request>) -> Result<Vec<Accepted>, SubmitError> {
        self.receive(Delivery { requests, ..Delivery::default() })
    }

    /// The same for all of a delivery.
    pub fn receive(&self, delivery: Delivery) -> Result<Vec<Accepted>, SubmitError> {
        let Delivery { requests, refusals, digest, .. } = delivery;
        let shared = self.shared();
        let (now, room) = (shared.host.moment(), shared.config().webhook.queue);
        let mut waiting = self.waiting();
        if waiting.draining {
            return Err(SubmitError::Draining);
        }
        let before = digest.map(|digest| waiting.door.accepted_before(&digest, now)).unwrap_or_default();
        let fates = waiting.admit(&requests, &before, room);
        let mut tickets: Vec<Ticket> = Vec::new();
        let (mut answers, mut admitted) = (vec![], BTreeSet::new());
        for request in requests {
            let fate = fates.get(&request.lv).copied().unwrap_or(Accepted::NoRoom);
            let is_first = fate == Accepted::Queued && admitted.insert(request.lv.clone());
            answers.push(if fate == Accepted::Queued && !is_first { Accepted::Coalesced } else { fate });
            if is_first {
                waiting.take_in(request);
            } else if let Some(ticket) = waiting.door.unwritten.get(&request.lv) {
                tickets.push(Arc::clone(ticket));
            }
        }
        for refusal in refusals {
            if !waiting.door.note(refusal) {
                shared.metrics.refusals_only_counted.inc();
            }
        }
        waiting.door.gathering.promises |= answers.iter().any(|answer| *answer != Accepted::NoRoom);
        tickets.push(Arc::clone(&waiting.door.gathering.ticket));
        let mut waiting = self.settled(waiting, &tickets, now)?;
        if let Some(digest) = digest {
            let in_part = answers.contains(&Accepted::NoRoom);
            waiting.door.remember(digest, now, in_part.then(|| before.into_iter().chain(admitted).collect()));
        }
        Ok(answers)
    }

    /// Writes down how many refusals were only counted, as far as it is their turn, or at the end all.
    pub(super) fn write_what_was_counted(&self, all: bool) {
        let events = self.waiting().door.counted(all);
        let shared = self.shared();
        if !events.is_empty()
            && let Err(error) =
                shared.journal().writer_soon().and_then(|mut journal| journal.append(shared.host.moment(), events))
        {
            tracing::warn!("cannot record how many alerts were refused: {}", crate::chain(&error));
        }
    }

    /// Waits until all tickets are settled, and writes where nobody else does.
    fn settled<'a>(
        &'a self,
        mut waiting: MutexGuard<'a, Waiting>,
        tickets: &[Ticket],
        now: Moment,
    ) -> Result<MutexGuard<'a, Waiting>, SubmitError> {
        loop {
            let results: Vec<_> = tickets.iter().map(|ticket| ticket.get()).collect();
            if let Some(error) = results.iter().flatten().find_map(|result| result.as_ref().err()) {
                return Err(Arc::clone(error).into());
            }
            if results.iter().all(Option::is_some) {
                return Ok(waiting);
            }
            if waiting.door.writing {
                // The thread that writes has to wait for the disk. The others need not, if the disk hangs.
                if let Err(error) = self.shared().journal().answers() {
                    return Err(Arc::new(error).into());
                }
                let waited = self.0.written.wait_timeout(waiting, GLANCE);
                waiting = waited.unwrap_or_else(PoisonError::into_inner).0;
                continue;
            }
            // One ticket is open and nobody writes, so it is that of the batch that gathers.
            waiting.door.writing = true;
            let Batch { requests, refusals, promises, ticket } = std::mem::take(&mut waiting.door.gathering);
            drop(waiting);
            let result = self.write(&requests, refusals, promises, now);
            waiting = self.waiting();
            waiting.door.writing = false;
            waiting.door.unwritten.retain(|_, other| !Arc::ptr_eq(other, &ticket));
            let settled = match result {
                Ok(works) => {
                    works.into_iter().for_each(|work| self.enqueue(&mut waiting, work));
                    Ok(())
                }
                Err(error) => {
                    for request in &requests {
                        waiting.volumes.remove(&request.lv);
                        waiting.only_looks.remove(&request.lv);
                    }
                    Err(Arc::new(error))
                }
            };
            // Nobody else has this batch, so it is not settled yet.
            let _ = ticket.set(settled);
            self.0.written.notify_all();
        }
    }

    /// Writes a batch down; its requests as work, with the numbers that the journal gave them.
    fn write(
        &self,
        requests: &[Request],
        refusals: Vec<Event>,
        promises: bool,
        now: Moment,
    ) -> Result<Vec<Work>, JournalError> {
        let mut journal = self.shared().journal().writer_soon()?;
        let (mut works, mut events) = (vec![], vec![]);
        let mut next = journal.next_number();
        for Request { lv, source, fingerprint } in requests.iter().cloned() {
            // Our own look comes again by itself; only what somebody was told is accepted must outlive a crash.
            let number = (source != Source::Monitor).then_some(next);
            if let Some(request) = number {
                events.push(Event::Received { request, lv: lv.clone(), source, fingerprint });
                next += 1;
            }
            works.push(Work::Request { number, lv, source });
        }
        events.extend(refusals);
        if !events.is_empty() {
            journal.append(now, events)?;
        } else if promises {
            journal.attest()?;
        }
        Ok(works)
    }
}

impl Waiting {
    /// What becomes of each volume that is asked for.
    fn admit(&self, requests: &[Request], before: &BTreeSet<LvRef>, room: usize) -> BTreeMap<LvRef, Accepted> {
        let mut fates = BTreeMap::new();
        let mut new: Vec<&LvRef> = Vec::new();
        for Request { lv, source, .. } in requests {
            if !fates.contains_key(lv) {
                let known = before.contains(lv) || self.volumes.contains(lv);
                // It takes the place of our own look, which nobody was told is accepted.
                let replaces = !before.contains(lv) && *source != Source::Monitor && self.only_looks.contains(lv);
                let fate = match (known, replaces) {
                    (_, true) => Accepted::Queued,
                    (true, false) => Accepted::Coalesced,
                    (false, false) => Accepted::NoRoom,
                };
                fates.insert(lv.clone(), fate);
                if fate == Accepted::NoRoom {
                    new.push(lv);
                }
            }
        }
        new.sort_by_key(|lv| self.door.turns.get(*lv).copied().unwrap_or(0));
        for lv in new.into_iter().take(room.saturating_sub(self.volumes.len())) {
            fates.insert(lv.clone(), Accepted::Queued);
        }
        fates
    }

    fn take_in(&mut self, request: Request) {
        let door = &mut self.door;
        door.turn += 1;
        door.turns.insert(request.lv.clone(), door.turn);
        door.unwritten.insert(request.lv.clone(), Arc::clone(&door.gathering.ticket));
        self.volumes.insert(request.lv.clone());
        if request.source == Source::Monitor {
            self.only_looks.insert(request.lv.clone());
        } else {
            self.only_looks.remove(&request.lv);
        }
        door.gathering.requests.push(request);
    }
}
