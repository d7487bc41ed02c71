//! So many at a time; addresses that wait take turns, so that one that asks a thousand times delays another by one turn
//! each. Of the requests of one address any may be next: in the order in which they came, whoever keeps enough of them
//! waiting would keep all others behind that address out for good.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex};

use tokio::sync::oneshot;

/// Where a connection comes from. Whoever has one IPv6 address has its /64, so that counts as one; a Unix socket has
/// none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) struct Source(Option<IpAddr>);

impl Source {
    pub(super) fn of(address: Option<IpAddr>) -> Source {
        Source(address.map(|address| match address.to_canonical() {
            IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64))),
            v4 => v4,
        }))
    }

    /// Whether it may be many: behind a loopback address or a Unix socket stands whatever proxy the host has.
    pub(super) fn is_local(self) -> bool {
        self.0.is_none_or(|address| match address {
            IpAddr::V4(v4) => v4.is_loopback(),
            // `::1`, of which only the /64 is left.
            IpAddr::V6(v6) => v6.is_unspecified(),
        })
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(IpAddr::V6(v6)) => write!(f, "{v6}/64"),
            Some(v4) => write!(f, "{v4}"),
            None => f.write_str("unix"),
        }
    }
}

/// The places, and who waits for one.
pub(super) struct Turns(Arc<Mutex<State>>);

struct State {
    free: usize,
    waiting: VecDeque<(Source, Vec<oneshot::Sender<Turn>>)>,
}

/// One place; it is free again when this is dropped.
pub(super) struct Turn(Option<Arc<Mutex<State>>>);

impl Turns {
    pub(super) fn new(places: usize) -> Turns {
        Turns(Arc::new(Mutex::new(State { free: places, waiting: VecDeque::new() })))
    }

    /// Waits for a place. Whoever gives up waiting leaves the queue.
    pub(super) async fn take(&self, source: Source) -> Turn {
        let turn = {
            let mut state = crate::locked(&self.0);
            if state.free > 0 {
                state.free -= 1;
                return Turn(Some(Arc::clone(&self.0)));
            }
            let (give, turn) = oneshot::channel();
            match state.waiting.iter_mut().find(|(of, _)| *of == source) {
                Some((_, queue)) => {
                    // Those who gave up take no memory until it is their turn.
                    queue.retain(|waiting| !waiting.is_closed());
                    queue.push(give);
                }
                None => state.waiting.push_back((source, vec![give])),
            }
            turn
        };
        // The sender is only dropped together with the places.
        turn.await.unwrap_or(Turn(None))
    }

    /// Whether anybody waits.
    pub(super) fn is_wanted(&self) -> bool {
        crate::locked(&self.0).waiting.iter().any(|(_, queue)| queue.iter().any(|waiting| !waiting.is_closed()))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let Some(places) = self.0.take() else { return };
        let mut state = crate::locked(&places);
        while let Some((source, mut queue)) = state.waiting.pop_front() {
            queue.retain(|waiting| !waiting.is_closed());
            if queue.is_empty() {
                continue;
            }
            let next = queue.swap_remove(any(queue.len()));
            if !queue.is_empty() {
                state.waiting.push_back((source, queue));
            }
            match next.send(Turn(Some(Arc::clone(&places)))) {
                Ok(()) => return,
                // Gone: the next one. This turn must not come back to the lock that is held here.
                Err(mut turn) => drop(turn.0.take()),
            }
        }
        state.free += 1;
    }
}

/// A number below this that nobody can foresee: each of these states has random keys.
fn any(below: usize) -> usize {
    (RandomState::new().hash_one(0) % below as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(address: &str) -> Source {
        Source::of(Some(address.parse().expect("an address")))
    }

    #[test]
    fn a_network_of_ipv6_is_one_source_and_an_address_of_ipv4_another_each() {
        assert_eq!(from("2001:db8::1"), from("2001:db8::ffff:2"));
        assert_ne!(from("2001:db8::1"), from("2001:db8:0:1::1"));
        assert_eq!(from("::ffff:192.0.2.7"), from("192.0.2.7"));
        assert_ne!(from("192.0.2.8"), from("192.0.2.7"));
        assert!(from("::1").is_local() && from("127.0.0.9").is_local() && Source::default().is_local());
        assert!(!from("192.0.2.8").is_local() && !from("2001:db8::1").is_local());
    }

    #[tokio::test]
    async fn addresses_take_turns_and_who_gave_up_is_passed_over() {
        let turns = Arc::new(Turns::new(1));
        let first = turns.take(from("192.0.2.1")).await;
        assert!(!turns.is_wanted());
        let order = Arc::new(Mutex::new(vec![]));
        let wait = |address: &'static str| {
            let (turns, order) = (Arc::clone(&turns), Arc::clone(&order));
            tokio::spawn(async move {
                let turn = turns.take(from(address)).await;
                order.lock().expect("not poisoned").push(address);
                tokio::task::yield_now().await;
                drop(turn);
            })
        };
        let mut waiting = vec![];
        for _ in 0..3 {
            waiting.push(wait("192.0.2.1"));
            tokio::task::yield_now().await;
        }
        let gone = wait("192.0.2.2");
        tokio::task::yield_now().await;
        waiting.push(wait("192.0.2.3"));
        tokio::task::yield_now().await;
        gone.abort();
        assert!(gone.await.is_err() && turns.is_wanted());
        drop(first);
        for waiting in waiting {
            waiting.await.expect("it ends");
        }
        let order = order.lock().expect("not poisoned").clone();
        assert_eq!(order, ["192.0.2.1", "192.0.2.3", "192.0.2.1", "192.0.2.1"]);
        assert!(!turns.is_wanted());
        drop(turns.take(from("192.0.2.1")).await);
    }

    /// Those who come again as soon as they gave up are always before the newcomer, if the order is that of their
    /// coming.
    #[tokio::test]
    async fn of_one_address_the_last_to_come_need_not_be_the_last_to_be_served() {
        let (turns, source) = (Arc::new(Turns::new(1)), from("192.0.2.1"));
        let mut before = vec![];
        for _ in 0..40 {
            let first = turns.take(source).await;
            let served = Arc::new(Mutex::new(vec![]));
            let mut waiting = tokio::task::JoinSet::new();
            for number in 0..=50 {
                let (turns, served) = (Arc::clone(&turns), Arc::clone(&served));
                waiting.spawn(async move {
                    let _turn = turns.take(source).await;
                    served.lock().expect("not poisoned").push(number);
                });
                tokio::task::yield_now().await;
            }
            drop(first);
            waiting.join_all().await;
            before.push(served.lock().expect("not poisoned").iter().position(|number| *number == 50).expect("served"));
        }
        assert!(before.iter().any(|before| *before < 25), "{before:?}");
    }
}
