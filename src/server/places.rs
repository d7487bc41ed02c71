//! The connections of one listener: how many there are, from where, and which one goes when there are too many.
//!
//! A newcomer always gets in if there is a connection that can go. That is, of the address that has the most, the one
//! that asked nothing for the longest time; then one that is asking (a body that does not come, a password that waits
//! its turn); then one that got its answer. A connection whose request is worked on is never dropped: that ends by
//! itself, in seconds.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::turns::Source;
use crate::metrics::edge::{Edge, Limit};

/// What a flood does is logged this often at most; the metrics have the numbers.
const TELL_AGAIN: Duration = Duration::from_secs(60);

/// A connection that was just accepted has this long to begin its request: a client that has the processor to share
/// with whoever attacks needs some milliseconds between connecting and sending. It bounds newcomers to 256 in this
/// time, 5,000 a second.
const NEWBORN: Duration = Duration::from_millis(50);

/// What a connection is at. In this order they go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Doing {
    /// It has sent no whole header yet.
    Nothing,
    /// Its request is not complete, or waits for its turn.
    Asking,
    /// It has its answer, or is taking it.
    Answered,
    /// Its request is worked on.
    Working,
}

pub(super) struct Places {
    listener: String,
    limit: usize,
    per_address: usize,
    table: Mutex<Table>,
    changed: Notify,
    edge: Edge,
    seldom: Seldom,
}

#[derive(Default)]
struct Table {
    /// Counts what happens, so that of two things it is known which was first.
    now: u64,
    taken: BTreeMap<u64, Taken>,
}

struct Taken {
    source: Source,
    doing: Doing,
    since: u64,
    begun: Instant,
    end: Option<AbortHandle>,
}

impl Taken {
    fn may_go(&self) -> bool {
        match self.doing {
            Doing::Nothing => self.begun.elapsed() >= NEWBORN,
            Doing::Asking | Doing::Answered => true,
            Doing::Working => false,
        }
    }
}

impl Table {
    /// Which one goes; `None` if all are worked on, or too young.
    fn expendable(&self, of: Option<Source>) -> Option<u64> {
        let mut counts: HashMap<Source, usize> = HashMap::new();
        self.taken.values().for_each(|taken| *counts.entry(taken.source).or_default() += 1);
        let may_go = |(_, taken): &(&u64, &Taken)| taken.may_go() && of.is_none_or(|source| taken.source == source);
        let first =
            |(_, taken): &(&u64, &Taken)| (Reverse(counts.get(&taken.source).copied()), taken.doing, taken.since);
        self.taken.iter().filter(may_go).min_by_key(first).map(|(id, _)| *id)
    }
}

impl Places {
    pub(super) fn new(listener: String, limit: usize, per_address: usize, edge: Edge) -> Arc<Places> {
        edge.expect_listener(&listener);
        let (table, changed, seldom) = (Mutex::default(), Notify::new(), Seldom::default());
        Arc::new(Places { listener, limit, per_address, table, changed, edge, seldom })
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        crate::locked(&self.table)
    }

    /// A place for a connection that was accepted. It waits only while all places are worked on or just taken; `None`
    /// if those of its own address are.
    pub(super) async fn enter(self: &Arc<Self>, source: Source) -> Option<Arc<Seat>> {
        loop {
            let changed = self.changed.notified();
            {
                let mut table = self.table();
                let of_source = table.taken.values().filter(|taken| taken.source == source).count();
                let mut has_room = true;
                if !source.is_local() && of_source >= self.per_address {
                    let Some(oldest) = table.expendable(Some(source)) else {
                        drop(table);
                        self.tell(Limit::Address, source);
                        return None;
                    };
                    self.end(&mut table, oldest, Limit::Address);
                } else if table.taken.len() >= self.limit {
                    match table.expendable(None) {
                        Some(oldest) => self.end(&mut table, oldest, Limit::Connections),
                        None => has_room = false,
                    }
                }
                if has_room {
                    table.now += 1;
                    let id = table.now;
                    let taken = Taken { source, doing: Doing::Nothing, since: id, begun: Instant::now(), end: None };
                    table.taken.insert(id, taken);
                    self.edge.connected(&self.listener, table.taken.len());
                    return Some(Arc::new(Seat { places: Arc::clone(self), id }));
                }
            }
            let _ = tokio::time::timeout(NEWBORN / 5, changed).await;
        }
    }

    fn end(&self, table: &mut Table, id: u64, limit: Limit) {
        let Some(taken) = table.taken.remove(&id) else { return };
        if let Some(end) = taken.end {
            end.abort();
        }
        self.tell(limit, taken.source);
    }

    fn tell(&self, limit: Limit, source: Source) {
        self.edge.hit(limit);
        if let Some(count) = self.seldom.due() {
            let listener = &self.listener;
            tracing::warn!(
                listener,
                connections = self.limit,
                dropped = count,
                %source,
                "there are too many connections, those that asked nothing for the longest time are dropped"
            );
        }
    }

    /// Whether connections should not be kept.
    pub(super) fn are_few(&self) -> bool {
        self.table().taken.len() > self.limit - self.limit / 4
    }
}

/// A place that is taken, until it is dropped.
pub(super) struct Seat {
    places: Arc<Places>,
    id: u64,
}

impl Seat {
    /// How the connection can be ended.
    pub(super) fn ends_by(&self, end: AbortHandle) {
        if let Some(taken) = self.places.table().taken.get_mut(&self.id) {
            taken.end = Some(end);
        }
    }

    /// From now on it does this.
    pub(super) fn does(&self, doing: Doing) {
        let mut table = self.places.table();
        table.now += 1;
        let now = table.now;
        if let Some(taken) = table.taken.get_mut(&self.id) {
            (taken.doing, taken.since) = (doing, now);
        }
        drop(table);
        if doing != Doing::Working {
            self.places.changed.notify_waiters();
        }
    }

    pub(super) fn has_asked(&self) -> bool {
        self.places.table().taken.get(&self.id).is_some_and(|taken| taken.doing != Doing::Nothing)
    }

    pub(super) fn listener(&self) -> &str {
        &self.places.listener
    }

    pub(super) fn are_few(&self) -> bool {
        self.places.are_few()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut table = self.places.table();
        if table.taken.remove(&self.id).is_some() {
            self.places.edge.connected(&self.places.listener, table.taken.len());
        }
        drop(table);
        self.places.changed.notify_waiters();
    }
}

/// Something that would be logged too often.
#[derive(Default)]
pub(super) struct Seldom(Mutex<(Option<Instant>, u64)>);

impl Seldom {
    /// Counts it; how many there were since the last line, if it is time for another one.
    pub(super) fn due(&self) -> Option<u64> {
        let mut state = crate::locked(&self.0);
        state.1 += 1;
        if state.0.is_some_and(|last| last.elapsed() < TELL_AGAIN) {
            return None;
        }
        let count = state.1;
        *state = (Some(Instant::now()), 0);
        Some(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(address: &str) -> Source {
        Source::of(Some(address.parse().expect("an address")))
    }

    fn left(places: &Places) -> Vec<(String, Doing)> {
        places.table().taken.values().map(|taken| (taken.source.to_string(), taken.doing)).collect()
    }

    #[tokio::test]
    async fn the_oldest_that_asked_nothing_goes_first_of_the_address_that_has_the_most() {
        let places = Places::new("x".to_owned(), 4, 3, Edge::default());
        let seat = async |address: &str, doing: Doing| {
            let seat = places.enter(from(address)).await.expect("a place");
            seat.does(doing);
            seat
        };
        let (one, two) = ("192.0.2.1", "192.0.2.2");
        let _kept = [seat(one, Doing::Working).await, seat(two, Doing::Nothing).await];
        let _kept = [_kept, [seat(one, Doing::Answered).await, seat(one, Doing::Asking).await]];
        tokio::time::sleep(NEWBORN).await;
        // Full: of the address with three the one that is asking, though the other address asked nothing.
        let newcomer = seat(two, Doing::Answered).await;
        let named = |address: &str, doing| (address.to_owned(), doing);
        let expected = [
            named(one, Doing::Working),
            named(two, Doing::Nothing),
            named(one, Doing::Answered),
            named(two, Doing::Answered),
        ];
        assert_eq!(left(&places), expected);
        // An address has three places at the most, and gives up its own.
        drop(newcomer);
        let _more = [seat(one, Doing::Working).await, seat(one, Doing::Working).await];
        let expected = [
            named(one, Doing::Working),
            named(two, Doing::Nothing),
            named(one, Doing::Working),
            named(one, Doing::Working),
        ];
        assert_eq!(left(&places), expected);
        assert!(places.enter(from(one)).await.is_none(), "all of its own are worked on");
        // Full, and the only one that can go is another address's.
        let _last = seat("192.0.2.3", Doing::Working).await;
        assert_eq!(left(&places).iter().filter(|(_, doing)| *doing == Doing::Working).count(), 4);
        // Now nobody can go: it waits until one ends.
        let waits = tokio::time::timeout(Duration::from_millis(50), places.enter(from("192.0.2.4"))).await;
        assert!(waits.is_err());
        let waits = tokio::spawn({
            let places = Arc::clone(&places);
            async move { places.enter(from("192.0.2.4")).await.is_some() }
        });
        tokio::task::yield_now().await;
        drop(_last);
        assert!(waits.await.expect("it ends"));
    }

    #[test]
    fn what_comes_often_is_told_seldom() {
        let seldom = Seldom::default();
        assert_eq!(seldom.due(), Some(1));
        assert_eq!((seldom.due(), seldom.due()), (None, None));
    }
}
