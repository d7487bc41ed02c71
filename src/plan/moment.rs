//! When something happened, in a way that a clock which is set forward or back cannot falsify.
//!
//! Within one boot the kernel counts the time that passed, suspend included, whatever anybody does to the wall clock.
//! Only between two boots there is nothing but the wall clock; then at least the time since the last boot has passed.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A moment on a host: the wall clock for people, boot and uptime for computing. Written as
/// `2026-01-01T00:00:00Z 1f3a@86400.5`; without boot where only the wall clock is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Moment {
    /// What the wall clock showed.
    pub at: Timestamp,
    /// The boot it was in, and how long that had been up.
    pub boot: Option<(u64, Duration)>,
}

impl Moment {
    /// How much time has certainly passed since an earlier moment; nothing if the clock says that this one is earlier.
    pub fn since(&self, earlier: &Moment) -> Duration {
        let wall = Duration::try_from(self.at.duration_since(earlier.at)).unwrap_or(Duration::ZERO);
        match (self.boot, earlier.boot) {
            (Some((boot, up)), Some((then, up_then))) if boot == then => up.saturating_sub(up_then),
            // It was in another boot, so this boot is what has passed since at the least.
            (Some((_, up)), Some(_)) => wall.max(up),
            _ => wall,
        }
    }

    /// Whether the host has certainly booted since an earlier moment.
    pub fn is_in_another_boot(&self, earlier: &Moment) -> bool {
        self.boot.zip(earlier.boot).is_some_and(|((boot, _), (then, _))| boot != then)
    }
}

impl From<Timestamp> for Moment {
    fn from(at: Timestamp) -> Moment {
        Moment { at, boot: None }
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.boot {
            None => self.at.fmt(f),
            Some((boot, up)) => write!(f, "{} {boot:x}@{}.{:03}", self.at, up.as_secs(), up.subsec_millis()),
        }
    }
}

impl From<Moment> for String {
    fn from(moment: Moment) -> String {
        moment.to_string()
    }
}

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Moment, String> {
        let wrong = || format!("{text:?} is no moment");
        let (at, boot) = text.split_once(' ').map_or((text, None), |(at, boot)| (at, Some(boot)));
        let boot = match boot {
            None => None,
            Some(boot) => {
                let (boot, up) = boot.split_once('@').ok_or_else(wrong)?;
                let up = up.parse().ok().and_then(|up| Duration::try_from_secs_f64(up).ok()).ok_or_else(wrong)?;
                Some((u64::from_str_radix(boot, 16).map_err(|_| wrong())?, up))
            }
        };
        Ok(Moment { at: at.parse().map_err(|_| wrong())?, boot })
    }
}

impl TryFrom<String> for Moment {
    type Error = String;
    fn try_from(text: String) -> Result<Moment, String> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(text: &str) -> Moment {
        text.parse().expect("a moment")
    }

    #[test]
    fn what_is_written_is_read_back_and_old_journals_are_read() {
        for text in ["2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z 1f3a@86400.500"] {
            assert_eq!(moment(text).to_string(), text);
        }
        for text in ["", "now", "2026-01-01T00:00:00Z x", "2026-01-01T00:00:00Z zz@1", "2026-01-01T00:00:00Z 1@-1"] {
            assert!(text.parse::<Moment>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn no_jump_of_the_clock_makes_time_pass() {
        for (earlier, later, seconds) in [
            ("2026-01-01T00:00:00Z 1@100.0", "2026-01-01T00:10:00Z 1@700.0", 600),
            // Set forward by a year, and back by one.
            ("2026-01-01T00:00:00Z 1@100.0", "2027-01-01T00:00:10Z 1@110.0", 10),
            ("2026-01-01T00:00:00Z 1@100.0", "2025-01-01T00:00:10Z 1@110.0", 10),
            // Another boot: the wall clock, but never less than that boot is up.
            ("2026-01-01T00:00:00Z 1@100.0", "2026-01-01T01:00:00Z 2@60.0", 3600),
            ("2026-01-01T00:00:00Z 1@100.0", "2025-01-01T00:00:00Z 2@60.0", 60),
            // A journal of before there were moments.
            ("2026-01-01T00:00:00Z", "2026-01-01T00:00:07Z 2@60.0", 7),
            ("2026-01-01T00:00:00Z", "2025-01-01T00:00:00Z 2@60.0", 0),
        ] {
            assert_eq!(moment(later).since(&moment(earlier)).as_secs(), seconds, "{earlier} -> {later}");
        }
    }

    #[test]
    fn a_boot_that_is_not_known_is_no_other() {
        for (earlier, later, is_another) in [
            ("2026-01-01T00:00:00Z 1@100.0", "2026-01-01T00:10:00Z 1@700.0", false),
            ("2026-01-01T00:00:00Z 1@100.0", "2026-01-01T00:10:00Z 2@60.0", true),
            ("2026-01-01T00:00:00Z", "2026-01-01T00:10:00Z 2@60.0", false),
            ("2026-01-01T00:00:00Z 1@100.0", "2026-01-01T00:10:00Z", false),
        ] {
            assert_eq!(moment(later).is_in_another_boot(&moment(earlier)), is_another, "{earlier} -> {later}");
        }
    }
}
