//! When a target may grow and how often: windows, budgets, and what a pool must keep.

use std::fmt;
use std::time::Duration;

use jiff::civil::{DateTime, Time, Weekday};
use serde::Serialize;

use crate::duration::Shown;
use crate::units::{Bytes, GIB, Percent};

/// What is done with a decision to grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// It is carried out.
    #[default]
    Act,
    /// It is written down and counted, and a person carries it out.
    Recommend,
    /// There is none.
    Off,
}

/// What is done with a disk that became larger than its PV.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GrownDisks {
    /// Nothing.
    #[default]
    Off,
    /// A growth that needs its room is written down and counted, and a person carries it out.
    Recommend,
    /// A growth that needs its room makes the PV as large as the disk.
    Resize,
}

/// What is done with the partition that such a PV is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Partitions {
    /// Nothing: only PVs on whole disks can grow.
    #[default]
    Off,
    /// `growpart` makes it larger first.
    Growpart,
}

/// Whether SCSI disks are asked for their size before a growth is refused for lack of space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rescan {
    /// They are not.
    #[default]
    Off,
    /// They are.
    On,
}

/// What is done about a file system that is mounted nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Offline {
    /// It is refused.
    #[default]
    Refuse,
    /// An ext4 is checked and grown.
    Allow,
}

/// Whether `e2fsck` runs before an ext4 grows that is mounted nowhere. On one that is mounted it never runs: what it
/// says there means little.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FilesystemCheck {
    /// Unless its superblock says that it was checked since it was last mounted, which is what `resize2fs` asks for.
    #[default]
    Auto,
    /// Also then.
    Always,
    /// Not by this tool: what is not checked is refused.
    Never,
}

/// The hours in which a target may grow, in local time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Window {
    /// The days on which it opens; none named means every day.
    #[serde(serialize_with = "day_names")]
    pub days: Vec<Weekday>,
    /// When it opens.
    pub from: Time,
    /// When it closes; earlier than `from` it is on the next day.
    pub to: Time,
}

/// How much may be handed out in a rolling span of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Budget {
    /// So many extensions.
    pub extensions: u32,
    /// So many bytes, `None`: any.
    pub bytes: Option<Bytes>,
    /// Within this time.
    pub per: Duration,
}

/// What the pool of a thin volume must be able to carry.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct PoolLimits {
    /// The virtual sizes of all volumes of the pool together, as a multiple of the pool's size.
    pub max_overprovision: f64,
    /// How much of the pool's data must stay free.
    pub min_free_data: Percent,
    /// How much of the pool's metadata must be free.
    pub min_free_metadata: Percent,
}

/// The journal remembers this many extensions of a volume, and for this long: a budget cannot count more.
pub const MOST_EXTENSIONS: u32 = 100;
/// See [`MOST_EXTENSIONS`].
pub const LONGEST_BUDGET: Duration = Duration::from_secs(31 * 86400);

impl Mode {
    /// As it stands in the config.
    pub fn as_str(self) -> &'static str {
        match self {
            Mode::Act => "act",
            Mode::Recommend => "recommend",
            Mode::Off => "off",
        }
    }
}

impl Budget {
    /// Of a target that says nothing: an alert every four hours, and never a whole disk shelf in a day.
    pub const TARGET: Budget =
        Budget { extensions: 6, bytes: Some(Bytes(200 * GIB)), per: Duration::from_secs(24 * 3600) };
}

impl Default for PoolLimits {
    /// Nothing is promised that the pool does not have, and a fifth of it stays free: a pool that runs full takes all
    /// its volumes down.
    fn default() -> PoolLimits {
        PoolLimits {
            max_overprovision: 1.0,
            min_free_data: Percent::of(20, 100),
            min_free_metadata: Percent::of(20, 100),
        }
    }
}

impl Window {
    /// Whether it is open at that local time. Hours that a change to summer time leaves out never come; those that come
    /// twice count twice.
    pub fn is_open(&self, local: DateTime) -> bool {
        let opens_on = |day: Weekday| self.days.is_empty() || self.days.contains(&day);
        let (day, time) = (local.weekday(), local.time());
        if self.from < self.to {
            return opens_on(day) && self.from <= time && time < self.to;
        }
        (opens_on(day) && self.from <= time) || (opens_on(day.previous()) && time < self.to)
    }
}

const DAYS: [(&str, Weekday); 7] = [
    ("mon", Weekday::Monday),
    ("tue", Weekday::Tuesday),
    ("wed", Weekday::Wednesday),
    ("thu", Weekday::Thursday),
    ("fri", Weekday::Friday),
    ("sat", Weekday::Saturday),
    ("sun", Weekday::Sunday),
];

/// `mon` to `sun`.
pub(super) fn day(text: &str) -> Option<Weekday> {
    DAYS.iter().find(|(name, _)| *name == text).map(|(_, day)| *day)
}

fn day_name(day: Weekday) -> &'static str {
    DAYS.iter().find(|(_, known)| *known == day).map_or("", |(name, _)| name)
}

fn day_names<S: serde::Serializer>(days: &[Weekday], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(days.iter().map(|day| day_name(*day)))
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let days: Vec<&str> = self.days.iter().map(|day| day_name(*day)).collect();
        let days = if days.is_empty() { "every day".to_owned() } else { days.join(", ") };
        write!(f, "{days} from {} to {}", self.from.strftime("%H:%M"), self.to.strftime("%H:%M"))
    }
}

impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} extensions", self.extensions)?;
        if let Some(bytes) = self.bytes {
            write!(f, " and {}", bytes.exact())?;
        }
        write!(f, " in {}", Shown(self.per))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;
    use jiff::tz::TimeZone;

    fn window(days: &[Weekday], from: &str, to: &str) -> Window {
        Window { days: days.to_vec(), from: from.parse().expect("a time"), to: to.parse().expect("a time") }
    }

    /// What the window says at an hour of that day, for each of its 48 half hours.
    fn hours(window: &Window, day: &str) -> String {
        let open = |half: i8| {
            let time = Time::constant(half / 2, half % 2 * 30, 0, 0);
            window.is_open(day.parse::<jiff::civil::Date>().expect("a date").to_datetime(time))
        };
        (0..48).map(|half| if open(half) { '#' } else { '.' }).collect()
    }

    #[test]
    fn office_hours_on_weekdays() {
        let office = window(&[Weekday::Monday, Weekday::Friday], "08:00", "20:00");
        assert_eq!(hours(&office, "2026-01-05"), "................########################........");
        assert_eq!(hours(&office, "2026-01-06"), ".".repeat(48));
    }

    #[test]
    fn a_night_that_begins_on_friday_ends_on_saturday() {
        let night = window(&[Weekday::Friday], "22:30", "04:00");
        assert_eq!(hours(&night, "2026-01-09"), format!("{}###", ".".repeat(45)));
        assert_eq!(hours(&night, "2026-01-10"), format!("########{}", ".".repeat(40)));
        assert_eq!(hours(&night, "2026-01-11"), ".".repeat(48));
        let every = window(&[], "22:30", "04:00");
        assert_eq!(hours(&every, "2026-01-11"), format!("########{}###", ".".repeat(37)));
    }

    /// Berlin 2026: on 29 March 02:00 becomes 03:00, on 25 October 03:00 becomes 02:00.
    #[test]
    fn days_of_23_and_25_hours() {
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").expect("a zone");
        let open = |window: &Window, from: &str| {
            let from: Timestamp = from.parse().expect("a time");
            (0..48)
                .filter(|half| {
                    window
                        .is_open((from + jiff::SignedDuration::from_mins(30 * half)).to_zoned(zone.clone()).datetime())
                })
                .count()
        };
        let (spring, autumn) = ("2026-03-28T23:00:00Z", "2026-10-24T22:00:00Z");
        // In half hours: the hour that does not come is not there, the one that comes twice is there twice.
        for (from, to, in_spring, in_autumn) in
            [("02:00", "03:00", 0, 4), ("01:00", "05:00", 6, 10), ("12:00", "13:00", 2, 2)]
        {
            let window = window(&[Weekday::Sunday], from, to);
            assert_eq!((open(&window, spring), open(&window, autumn)), (in_spring, in_autumn), "{window}");
        }
        let night = window(&[Weekday::Saturday], "22:00", "03:00");
        assert_eq!((open(&night, "2026-03-28T12:00:00Z"), open(&night, "2026-10-24T12:00:00Z")), (8, 12));
    }
}
