//! How often something may happen in full: a burst of it, then one each time a while has passed; what comes beside that
//! is only counted. So whoever makes it happen a thousand times cannot push out what happened once.

use std::time::{Duration, Instant};

/// How much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// So many at once.
    pub burst: u32,
    /// And one more after each such while, until it is a burst again.
    pub each: Duration,
}

/// How much is left of a limit, for one kind of thing.
#[derive(Debug, Clone)]
pub struct Rate {
    limit: RateLimit,
    left: u32,
    /// Since when `left` is what it is.
    since: Instant,
    held_back: u64,
}

impl Rate {
    /// With all of it left.
    pub fn new(limit: RateLimit, now: Instant) -> Rate {
        Rate { limit, left: limit.burst, since: now, held_back: 0 }
    }

    /// Whether one is let through; if not it is counted as held back.
    pub fn take(&mut self, now: Instant) -> bool {
        self.refill(now);
        let left = self.left.checked_sub(1);
        match left {
            Some(left) => self.left = left,
            None => self.hold_back(),
        }
        left.is_some()
    }

    /// One more is held back, whatever is left.
    pub fn hold_back(&mut self) {
        self.held_back = self.held_back.saturating_add(1);
    }

    /// How many were held back since this was asked the last time.
    pub fn settle(&mut self) -> u64 {
        std::mem::take(&mut self.held_back)
    }

    /// How long until one is let through.
    pub fn wait(&mut self, now: Instant) -> Duration {
        self.refill(now);
        match self.left {
            0 => self.limit.each.saturating_sub(now.saturating_duration_since(self.since)),
            _ => Duration::ZERO,
        }
    }

    /// Whether it is as if it had never been used.
    pub fn is_unused(&mut self, now: Instant) -> bool {
        self.refill(now);
        self.left == self.limit.burst && self.held_back == 0
    }

    fn refill(&mut self, now: Instant) {
        while self.left < self.limit.burst && now.saturating_duration_since(self.since) >= self.limit.each {
            self.left += 1;
            self.since += self.limit.each;
        }
        if self.left == self.limit.burst {
            self.since = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: RateLimit = RateLimit { burst: 3, each: Duration::from_secs(10) };

    #[test]
    fn a_burst_then_one_each_and_the_rest_is_counted() {
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let mut rate = Rate::new(LIMIT, begin);
        assert!(rate.is_unused(begin));
        assert_eq!([0, 1, 1, 2, 9].map(|second| rate.take(at(second))), [true, true, true, false, false]);
        assert_eq!((rate.settle(), rate.settle(), rate.wait(at(9))), (2, 0, Duration::from_secs(1)));
        assert_eq!([10, 11, 20].map(|second| rate.take(at(second))), [true, false, true]);
        assert_eq!(rate.settle(), 1);
        assert_eq!(rate.wait(at(39)), Duration::ZERO);
        assert!(!rate.is_unused(at(49)) && rate.is_unused(at(50)));
        // What was not used does not add up.
        assert_eq!([1000, 1000, 1000, 1000].map(|second| rate.take(at(second))), [true, true, true, false]);
        assert_eq!(rate.settle(), 1);
    }
}
