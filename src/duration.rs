//! Lengths of time and points in time, as people write and read them: `30s`, `10m`, `1h 30m`, `7d`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::{SignedDuration, Span, SpanRelativeTo, SpanRound, Timestamp, Unit};
use serde::{Deserialize, Serialize};

/// Reads a length of time. A day has 24 hours, a month 30.44 days, and a year twelve months.
///
/// # Errors
///
/// What is wrong with it, without the text itself.
pub fn parse(text: &str) -> Result<Duration, String> {
    if text.trim() == "0" {
        return Ok(Duration::ZERO);
    }
    let span: Span = text.parse().map_err(|_| "is not a length of time".to_owned())?;
    // A month has no length of its own, and configs may have one all the same.
    let months = i64::from(span.get_years()) * 12 + i64::from(span.get_months());
    let rest = span.years(0).months(0).to_duration(SpanRelativeTo::days_are_24_hours());
    let total = rest.ok().and_then(|rest| rest.checked_add(SignedDuration::from_secs(months * 2_630_016)));
    match total.map(Duration::try_from) {
        Some(Ok(total)) => Ok(total),
        Some(Err(_)) => Err("is negative".to_owned()),
        None => Err("is too long".to_owned()),
    }
}

/// Shows a length of time as [`parse`] reads it: `1d 2h`.
#[derive(Debug, Clone, Copy)]
pub struct Shown(pub Duration);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let in_days = SpanRound::new().largest(Unit::Day).days_are_24_hours();
        let span = SignedDuration::try_from(self.0).ok().and_then(|length| Span::try_from(length).ok());
        match span.and_then(|span| span.round(in_days).ok()) {
            Some(span) => write!(f, "{span:#}"),
            // Longer than a calendar reaches.
            None => write!(f, "{}s", self.0.as_secs()),
        }
    }
}

/// A point in time: itself, or so long before now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Since {
    /// So long before now.
    Ago(Duration),
    /// That one.
    At(Timestamp),
}

impl Since {
    /// The point; what is before all time is its beginning.
    pub fn from(self, now: Timestamp) -> Timestamp {
        match self {
            Since::At(at) => at,
            Since::Ago(ago) => now.checked_sub(ago).unwrap_or(Timestamp::MIN),
        }
    }
}

impl From<Since> for String {
    fn from(since: Since) -> String {
        match since {
            Since::At(at) => at.to_string(),
            Since::Ago(ago) => Shown(ago).to_string(),
        }
    }
}

impl TryFrom<String> for Since {
    type Error = String;

    fn try_from(text: String) -> Result<Since, String> {
        text.parse()
    }
}

impl FromStr for Since {
    type Err = String;

    fn from_str(text: &str) -> Result<Since, String> {
        if let Ok(at) = text.parse() {
            return Ok(Since::At(at));
        }
        let ago = parse(text).map(Since::Ago);
        ago.map_err(|_| format!("{text:?} is not a time, expected 24h, 7d or 2026-01-31T08:00:00Z"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 24 * 3600;

    #[test]
    fn lengths_are_read_as_people_write_them() {
        for (text, seconds) in [
            ("0", 0),
            ("0s", 0),
            ("30s", 30),
            ("10m", 600),
            ("5min", 300),
            ("1 hour 30 minutes", 5400),
            ("1h30m", 5400),
            ("24h", DAY),
            ("1day", DAY),
            ("7d", 7 * DAY),
            ("2weeks", 14 * DAY),
            ("1month", 2_630_016),
            ("1y 1d", 12 * 2_630_016 + DAY),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!(parse("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse("10us 3ns"), Ok(Duration::from_nanos(10_003)));
        for text in ["", "5", "soon", "-5m", "5m ago", "10000000000y", "1M", "1.5.2s", "m5"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn lengths_are_shown_as_they_are_read() {
        for (milliseconds, shown) in [
            (0, "0s"),
            (1000, "1s"),
            (1500, "1s 500ms"),
            (90_000, "1m 30s"),
            (DAY * 1000, "1d"),
            (DAY * 31_000 + 7_200_000, "31d 2h"),
        ] {
            let length = Duration::from_millis(milliseconds);
            assert_eq!(Shown(length).to_string(), shown);
            assert_eq!(parse(shown), Ok(length));
        }
        assert_eq!(Shown(Duration::MAX).to_string(), format!("{}s", u64::MAX));
    }

    #[test]
    fn a_point_is_a_time_or_a_length_before_now() {
        let now: Timestamp = "2026-01-31T08:00:00Z".parse().expect("a time");
        let from = |text: &str| text.parse::<Since>().map(|since| since.from(now).to_string());
        assert_eq!(from("24h").as_deref(), Ok("2026-01-30T08:00:00Z"));
        assert_eq!(from("2026-01-01T00:00:00Z").as_deref(), Ok("2026-01-01T00:00:00Z"));
        assert_eq!(from("19000y").as_deref(), Ok(Timestamp::MIN.to_string().as_str()));
        assert!(from("yesterday").is_err());
        for text in ["1d 2h", "2026-01-01T00:00:00Z"] {
            let since: Since = text.parse().expect("a point in time");
            assert_eq!(String::from(since), text);
        }
    }
}
