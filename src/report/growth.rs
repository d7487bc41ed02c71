//! How fast something fills and how long it lasts at that rate: a straight line through two points, and nothing where
//! two points would lie.
//!
//! The points are used bytes, not percentages and not free bytes, so that growing a file system in between does not
//! look as if somebody had deleted files.

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use super::snapshot::Snapshot;
use crate::inventory::{Inventory, Lv};
use crate::plan::Moment;
use crate::units::Bytes;

/// A shorter time says more about what somebody just copied than about a trend.
pub const SHORTEST: Duration = Duration::from_secs(3600);
/// Beyond this a straight line is a joke.
const LONGEST_DAYS: f64 = 5.0 * 365.0;
const DAY: f64 = 86400.0;

/// What is compared with, and over which time.
#[derive(Debug, Clone)]
pub struct Comparison<'a> {
    /// What was then.
    pub then: &'a Snapshot,
    /// The time that has certainly passed.
    pub elapsed: Duration,
    /// Why no rate can be told.
    pub doubt: Option<String>,
}

/// How long something lasts.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Until {
    /// In days, where that can be told.
    pub days: Option<f64>,
    /// The same in words, or why it cannot be told.
    pub text: String,
}

impl Until {
    /// It cannot be told.
    pub fn unknown(why: &str) -> Until {
        Until { days: None, text: why.to_owned() }
    }

    /// That much room at that rate per day.
    pub fn at_rate(room: Option<Bytes>, per_day: &Result<f64, String>) -> Until {
        match (room, per_day) {
            (Some(Bytes::ZERO), _) => Until { days: Some(0.0), text: "full".to_owned() },
            (None, _) => Until::unknown("size not known"),
            (_, Err(why)) => Until::unknown(why),
            (_, Ok(rate)) if *rate <= 0.0 => Until::unknown("not filling"),
            (Some(room), Ok(rate)) => {
                let days = room.0 as f64 / rate;
                if days > LONGEST_DAYS {
                    Until::unknown("over 5 years")
                } else {
                    Until { days: Some(days), text: in_words(days) }
                }
            }
        }
    }

    /// For sorting: what is full first comes first, what cannot be told last.
    pub fn order(&self) -> f64 {
        self.days.unwrap_or(f64::INFINITY)
    }
}

/// Rounded down: who is told 3 days has them.
fn in_words(days: f64) -> String {
    let plural = |count: f64, unit: &str| format!("{count} {unit}{}", if count == 1.0 { "" } else { "s" });
    match days {
        days if days < 1.0 / 24.0 => "within an hour".to_owned(),
        days if days < 2.0 => plural((days * 24.0).floor(), "hour"),
        days if days < 90.0 => plural(days.floor(), "day"),
        days if days < 730.0 => plural((days / 30.44).floor(), "month"),
        days => plural((days / 365.0).floor(), "year"),
    }
}

impl<'a> Comparison<'a> {
    /// The earlier report to compare with: the last that is not younger than `since`, or the last that is old enough to
    /// tell a rate; if there is none, the oldest.
    pub fn choose(earlier: &'a [Snapshot], now: &Moment, since: Option<Timestamp>) -> Option<Comparison<'a>> {
        let fits = |then: &&Snapshot| match since {
            Some(since) => then.at.at <= since,
            None => now.since(&then.at) >= SHORTEST,
        };
        let then = earlier.iter().rev().find(fits).or(earlier.first())?;
        let elapsed = now.since(&then.at);
        Some(Comparison { then, elapsed, doubt: doubt(&then.at, now, elapsed) })
    }

    /// How much that is in a day.
    pub fn per_day(&self, change: i64) -> Result<f64, String> {
        match &self.doubt {
            Some(why) => Err(why.clone()),
            None => Ok(change as f64 * DAY / self.elapsed.as_secs_f64()),
        }
    }
}

fn doubt(then: &Moment, now: &Moment, elapsed: Duration) -> Option<String> {
    let same_boot = matches!((then.boot, now.boot), (Some((then, _)), Some((now, _))) if then == now);
    if !same_boot && now.at <= then.at {
        return Some("the clock was set back".to_owned());
    }
    (elapsed < SHORTEST).then(|| "too soon to tell".to_owned())
}

/// The difference, which may be negative.
pub fn change(now: Bytes, then: Bytes) -> i64 {
    let difference = i128::from(now.0) - i128::from(then.0);
    i64::try_from(difference).unwrap_or(if difference < 0 { i64::MIN } else { i64::MAX })
}

/// How many bytes of its group a volume takes for each byte of its own: a RAID takes what all its legs take, a pool
/// what its data do.
pub fn cost(inventory: &Inventory, lv: &Lv) -> f64 {
    let lv = inventory.pool_data(lv).unwrap_or(lv);
    let size = lv.size.filter(|size| size.0 > 0);
    let legs = ["rimage", "mimage"].map(|kind| format!("{}_{kind}_", lv.name.lv));
    let is_leg = |leg: &&Lv| {
        // What lies below a leg has more behind the number.
        let number = legs.iter().find_map(|name| leg.name.lv.as_str().strip_prefix(name.as_str()));
        leg.hidden && leg.name.vg == lv.name.vg && number.is_some_and(|number| number.parse::<u32>().is_ok())
    };
    let legs: u64 = inventory.lvs.iter().filter(is_leg).filter_map(|leg| leg.size).map(|size| size.0).sum();
    size.filter(|_| legs > 0).map_or(1.0, |size| (legs as f64 / size.0 as f64).max(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(text: &str) -> Moment {
        text.parse().expect("a moment")
    }

    fn snapshot(at: &str) -> Snapshot {
        let nothing = Inventory::empty(Timestamp::UNIX_EPOCH);
        Snapshot::new(&nothing, moment(at))
    }

    #[test]
    fn a_rate_is_a_straight_line_rounded_down() {
        let gib = |gib: u64| Some(Bytes(gib << 30));
        let rate = Ok((1u64 << 30) as f64);
        for (room, text) in
            [(0, "full"), (1, "24 hours"), (3, "3 days"), (100, "3 months"), (1000, "2 years"), (2000, "over 5 years")]
        {
            assert_eq!(Until::at_rate(gib(room), &rate).text, text);
        }
        assert_eq!(Until::at_rate(gib(10), &Ok(4.0 * (1u64 << 30) as f64)).text, "2 days");
        assert_eq!(Until::at_rate(gib(1), &Ok(100.0 * (1u64 << 30) as f64)).text, "within an hour");
    }

    #[test]
    fn there_is_no_rate_where_nothing_fills_or_nothing_is_known() {
        let room = Some(Bytes(1 << 30));
        assert_eq!(Until::at_rate(room, &Ok(0.0)).text, "not filling");
        assert_eq!(Until::at_rate(room, &Ok(-5.0)).text, "not filling");
        assert_eq!(Until::at_rate(room, &Ok(-5.0)).days, None);
        assert_eq!(Until::at_rate(None, &Ok(5.0)).text, "size not known");
        assert_eq!(Until::at_rate(room, &Err("too soon to tell".to_owned())).text, "too soon to tell");
    }

    #[test]
    fn a_report_of_a_minute_ago_is_passed_over() {
        let earlier = ["2026-01-01T00:00:00Z 1@100", "2026-01-02T00:00:00Z 1@86500", "2026-01-02T23:59:00Z 1@172840"]
            .map(snapshot);
        let now = moment("2026-01-03T00:00:00Z 1@172900");
        let chosen = Comparison::choose(&earlier, &now, None).expect("one");
        assert_eq!(
            (chosen.then.at.at.to_string(), chosen.elapsed.as_secs()),
            ("2026-01-02T00:00:00Z".to_owned(), 86400)
        );
        assert_eq!(chosen.per_day(500), Ok(500.0));
        let asked =
            Comparison::choose(&earlier, &now, Some("2026-01-01T12:00:00Z".parse().expect("a time"))).expect("one");
        assert_eq!(asked.then.at.at.to_string(), "2026-01-01T00:00:00Z");
        let only = Comparison::choose(&earlier[2..], &now, None).expect("one");
        assert_eq!(only.per_day(500), Err("too soon to tell".to_owned()));
        assert!(Comparison::choose(&[], &now, None).is_none());
    }

    #[test]
    fn a_clock_that_was_set_makes_no_rate() {
        // Forward by a year within one boot: a day has passed.
        let then = [snapshot("2026-01-01T00:00:00Z 1@100")];
        let now = moment("2027-01-02T00:00:00Z 1@86500");
        assert_eq!(Comparison::choose(&then, &now, None).expect("one").per_day(500), Ok(500.0));
        // Back, and booted: nothing says how long it was.
        let now = moment("2025-12-31T00:00:00Z 2@7200");
        assert_eq!(
            Comparison::choose(&then, &now, None).expect("one").per_day(500),
            Err("the clock was set back".to_owned())
        );
    }

    #[test]
    fn a_pool_on_a_raid_takes_what_the_legs_of_its_data_take() {
        let lv = |name: &str, role: &str, size: u64| serde_json::json!({ "lv_name": name, "lv_uuid": name, "lv_size": size.to_string(), "lv_role": role });
        let report = serde_json::json!({ "report": [{ "vg": [{ "vg_name": "vg" }], "lv": [
            lv("pool", "private", 100), lv("[pool_tdata]", "private,thin,pool,data", 100),
            lv("[pool_tdata_rimage_0]", "private,raid,image", 100), lv("[pool_tdata_rimage_1]", "private,raid,image", 100),
            // With checksums there is a volume below each leg, and one for them.
            lv("[pool_tdata_rimage_0_iorig]", "private", 100), lv("[pool_tdata_rimage_0_imeta]", "private", 8),
            lv("plain", "public", 100),
        ] }] });
        let parsed = crate::inventory::lvm::parse(report.to_string().as_bytes(), Timestamp::UNIX_EPOCH);
        let inventory = parsed.expect("a report");
        let cost_of = |name: &str| {
            let lv = inventory.lv(&format!("vg/{name}").parse().expect("a name")).expect("there");
            cost(&inventory, lv)
        };
        assert_eq!(["pool", "pool_tdata", "plain"].map(cost_of), [2.0, 2.0, 1.0]);
    }

    #[test]
    fn differences_do_not_overflow() {
        assert_eq!(change(Bytes(5), Bytes(7)), -2);
        assert_eq!(change(Bytes(u64::MAX), Bytes(0)), i64::MAX);
        assert_eq!(change(Bytes(0), Bytes(u64::MAX)), i64::MIN);
    }
}
