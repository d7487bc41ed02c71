//! Of what may be large one is made and sent at a time, so that many connections cost no more memory than one.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

#[derive(Default)]
pub(super) struct Turns {
    taken: Mutex<bool>,
    left: Condvar,
}

/// Until it is dropped nobody else has a turn.
pub(super) struct Turn<'a>(&'a Turns);

impl Turns {
    /// `None`: others took longer than that.
    pub(super) fn take(&self, within: Duration) -> Option<Turn<'_>> {
        let waited = self.left.wait_timeout_while(crate::locked(&self.taken), within, |taken| *taken);
        let (mut taken, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        if waited.timed_out() {
            return None;
        }
        *taken = true;
        Some(Turn(self))
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        *crate::locked(&self.0.taken) = false;
        self.0.left.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_has_a_turn_and_the_next_waits_for_no_longer_than_it_wants() {
        let turns = Turns::default();
        let one = turns.take(Duration::ZERO).expect("nobody has it");
        assert!(turns.take(Duration::from_millis(20)).is_none());
        std::thread::scope(|scope| {
            let next = scope.spawn(|| turns.take(Duration::from_secs(60)).is_some());
            drop(one);
            assert!(next.join().expect("it waits"));
        });
    }
}
