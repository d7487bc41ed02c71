//! Doing it: requests in, one worker thread per volume group, the pipeline on each.
//!
//! Synchronous code on plain threads. `routes` and `control` reach it only through [`Handle`]; what it needs of the
//! machine it gets from a [`Host`].

mod ask;
mod asked;
mod door;
mod ending;
mod execute;
mod front;
mod monitor;
mod pipeline;
mod queue;
mod receive;
mod start;
mod waiting;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::{Config, InForce};
use crate::host::{Hold, Host, Sampler};
use crate::journal::{Journal, State};
use crate::metrics::autoscaler::Metrics;
use crate::name::LvRef;
use crate::plan::{Code, Moment, Refusal};
pub use ask::{Answered, Progress, Reply, Unanswered};
pub use door::{Accepted, Delivery, Request, SubmitError};
pub use front::{Front, Inside, ReadUsage, Scrape, Trouble, View};
pub use pipeline::{Ended, Pipeline};
pub use queue::Handle;
pub use start::{start, start_for_one};

/// What all parts of the engine share.
pub struct Shared {
    /// The machine.
    pub host: Arc<dyn Host>,
    /// What is wanted; [`Shared::config`] is how it is now.
    pub in_force: Arc<InForce>,
    /// What was done.
    pub journal: Journal,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Leave out what changes something.
    pub dry_run: bool,
    /// Finish the step that runs and begin no other.
    pub stopping: AtomicBool,
    /// Looks in the background, if anybody does: not during an operation, but after it, so that the next scrape shows
    /// its effect.
    pub sampler: Option<Sampler>,
    /// The refusals that stand.
    pub standing: Standing,
}

/// What goes on is logged again after this long: the first line is soon lost among others, or rotated away.
const LOG_AGAIN: Duration = Duration::from_secs(3600);

/// By volume, what this process refused last, if it carried nothing out since then. Memory only: the journal has a
/// refusal that comes again with each look of our own only once.
#[derive(Debug, Default)]
pub struct Standing(Mutex<BTreeMap<LvRef, Stands>>);

/// A refusal that stands.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Stands {
    /// The last one.
    pub refusal: Refusal,
    /// How often it came with this code, one after the other.
    pub times: u64,
    /// The first of these.
    pub since: Moment,
    /// The last of these.
    pub last: Moment,
    #[serde(skip)]
    logged: Option<Moment>,
}

impl Stands {
    /// What it is for a person to see to, if it is that, and as long as it came within this time.
    pub fn trouble(&self, now: &Moment, within: Duration) -> Option<&Refusal> {
        let stands = now.since(&self.last) < within && !Code::EVERYDAY.contains(&self.refusal.code);
        stands.then_some(&self.refusal)
    }
}

impl Standing {
    /// Of all volumes.
    pub fn all(&self) -> BTreeMap<LvRef, Stands> {
        crate::locked(&self.0).clone()
    }

    /// It was refused (again).
    fn refused(&self, lv: &LvRef, refusal: &Refusal, now: Moment) {
        let mut all = crate::locked(&self.0);
        let before = all.remove(lv).filter(|before| before.refusal.code == refusal.code);
        let stands = Stands {
            refusal: refusal.clone(),
            times: before.as_ref().map_or(1, |before| before.times.saturating_add(1)),
            since: before.as_ref().map_or(now, |before| before.since),
            last: now,
            logged: before.and_then(|before| before.logged),
        };
        all.insert(lv.clone(), stands);
    }

    /// Whether it is time to log the refusal that stands; then it is taken to be logged.
    fn is_to_be_logged(&self, lv: &LvRef, now: Moment) -> bool {
        let mut all = crate::locked(&self.0);
        let Some(stands) = all.get_mut(lv) else { return true };
        let is_due = is_due(stands.logged, now);
        if is_due {
            stands.logged = Some(now);
        }
        is_due
    }

    fn ends(&self, lv: &LvRef) {
        crate::locked(&self.0).remove(lv);
    }
}

/// Whether what goes on is to be logged again.
fn is_due(logged: Option<Moment>, now: Moment) -> bool {
    logged.is_none_or(|logged| now.since(&logged) >= LOG_AGAIN)
}

impl Shared {
    /// What is wanted now. One request is decided about and carried out with one of them.
    pub fn config(&self) -> Arc<Config> {
        self.in_force.get()
    }

    /// The journal.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Whether the daemon is stopping.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// Waits, but not when the daemon is stopping.
    fn pause(&self, duration: Duration) {
        let slice = Duration::from_millis(200);
        let mut left = duration;
        while !left.is_zero() && !self.is_stopping() {
            self.host.sleep(left.min(slice));
            left = left.saturating_sub(slice);
        }
    }

    fn refresh(&self) {
        self.sampler.iter().for_each(Sampler::refresh);
    }

    /// Until it is dropped nobody looks in the background.
    fn hold(&self) -> Option<Hold> {
        self.sampler.as_ref().map(Sampler::hold)
    }

    /// What the journal says now.
    pub fn state(&self) -> Arc<State> {
        self.journal.state()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_that_stands_is_logged_again_each_hour_whatever_the_clock_shows() {
        let at = |minutes: u64, wall: &str| Moment {
            at: wall.parse().expect("a time"),
            boot: Some((1, Duration::from_secs(60 * minutes))),
        };
        let (early, late) = ("2026-01-01T00:00:00Z", "2031-01-01T00:00:00Z");
        let standing = Standing::default();
        let lv: LvRef = "vg/data".parse().expect("a name");
        let refused = |code, now| {
            standing.refused(&lv, &Refusal::new(code, "because"), now);
            standing.is_to_be_logged(&lv, now)
        };
        let minutes = [(0, late), (1, early), (59, late), (60, early), (61, late), (119, early), (121, early)];
        let logged = minutes.map(|(minute, wall)| refused(Code::DeviceMismatch, at(minute, wall)));
        assert_eq!(logged, [true, false, false, true, false, false, true]);
        assert_eq!(standing.all()[&lv].times, 7);
        assert!(refused(Code::VgPartial, at(122, early)), "another reason is news");
        assert_eq!(standing.all()[&lv].times, 1);
        standing.ends(&lv);
        assert!(standing.all().is_empty());
        assert!(refused(Code::VgPartial, at(123, early)));
    }
}
