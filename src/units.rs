//! Quantities that must not be confused with one another.
//!
//! Sizes are written as LVM's users think of them: binary units, spelled out (`2GiB`). `2G` is refused with a hint,
//! because LVM reads it as 2 GiB and most other programs as 2,000,000,000 bytes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, de};

/// A size in bytes. Shown as `1.5 GiB`, read as `512MiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize)]
#[serde(transparent)]
pub struct Bytes(pub u64);

/// A count of LVM extents; meaningless without the extent size of its volume group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Extents(pub u64);

/// A percentage between 0 and 100, as `df` would show it, but with its fraction.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct Percent(f64);

/// How much: a size, or a share of something the user of the value names.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Amount {
    /// An absolute size.
    Size(Bytes),
    /// A share in percent.
    Share(Percent),
}

/// One kibibyte; the other units follow.
pub const KIB: u64 = 1 << 10;
/// One mebibyte.
pub const MIB: u64 = 1 << 20;
/// One gibibyte.
pub const GIB: u64 = 1 << 30;
/// One tebibyte.
pub const TIB: u64 = 1 << 40;

impl Bytes {
    /// Nothing.
    pub const ZERO: Bytes = Bytes(0);

    /// The difference, or nothing if `other` is larger.
    #[must_use]
    pub fn saturating_sub(self, other: Bytes) -> Bytes {
        Bytes(self.0.saturating_sub(other.0))
    }

    /// The extents that hold this many bytes, rounded up as `lvextend` does.
    pub fn to_extents_up(self, extent_size: Bytes) -> Extents {
        Extents(self.0.div_ceil(extent_size.0.max(1)))
    }

    /// The whole extents that fit into this many bytes.
    pub fn to_extents_down(self, extent_size: Bytes) -> Extents {
        Extents(self.0 / extent_size.0.max(1))
    }
}

impl Extents {
    /// The size of this many extents, at most `u64::MAX`.
    pub fn bytes(self, extent_size: Bytes) -> Bytes {
        Bytes(self.0.saturating_mul(extent_size.0))
    }
}

impl Percent {
    /// `None` unless the value is a number from 0 to 100.
    pub fn new(value: f64) -> Option<Percent> {
        (0.0..=100.0).contains(&value).then_some(Percent(value))
    }

    /// The share `part` has in `whole`; 0 of 0 is 0 %.
    pub fn of(part: u64, whole: u64) -> Percent {
        if whole == 0 { Percent(0.0) } else { Percent((part as f64 * 100.0 / whole as f64).clamp(0.0, 100.0)) }
    }

    /// The number, 0 to 100.
    pub fn value(self) -> f64 {
        self.0
    }

    /// This share of `whole`, rounded up to a byte.
    pub fn share_of(self, whole: Bytes) -> Bytes {
        Bytes((whole.0 as f64 * self.0 / 100.0).ceil() as u64)
    }
}

impl Amount {
    /// The size this amount means when the whole is `whole`.
    pub fn resolve(self, whole: Bytes) -> Bytes {
        match self {
            Amount::Size(size) => size,
            Amount::Share(percent) => percent.share_of(whole),
        }
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, name) in [(TIB, "TiB"), (GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")] {
            if self.0 >= unit {
                // Exact multiples lose nothing; the rest is rounded to two digits, trailing zeros cut.
                let text = format!("{:.2}", self.0 as f64 / unit as f64);
                return write!(f, "{} {name}", text.trim_end_matches('0').trim_end_matches('.'));
            }
        }
        write!(f, "{} B", self.0)
    }
}

impl Bytes {
    /// As it is written in a config: exact, in the largest unit that it is a whole number of.
    pub fn in_config(self) -> String {
        let (number, unit) = self.whole();
        format!("{number}{unit}")
    }

    /// For a sentence in which a rounded size would contradict the other numbers: as usual if that is exact, otherwise
    /// in the largest unit that it is a whole number of.
    pub fn exact(self) -> String {
        let usual = self.to_string();
        if usual.parse::<Bytes>() == Ok(self) {
            return usual;
        }
        let (number, unit) = self.whole();
        format!("{number} {unit}")
    }

    /// In the largest unit that it is a whole number of.
    fn whole(self) -> (u64, &'static str) {
        let units = [(TIB, "TiB"), (GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")];
        let whole = units.into_iter().find(|(unit, _)| self.0 > 0 && self.0.is_multiple_of(*unit));
        whole.map_or((self.0, "B"), |(unit, name)| (self.0 / unit, name))
    }
}

impl Percent {
    /// As it is written in a config.
    pub fn in_config(self) -> String {
        format!("{}%", self.0)
    }
}

impl Amount {
    /// As it is written in a config.
    pub fn in_config(self) -> String {
        match self {
            Amount::Size(size) => size.in_config(),
            Amount::Share(share) => share.in_config(),
        }
    }
}

impl fmt::Display for Extents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.0, if self.0 == 1 { "extent" } else { "extents" })
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{:.1}", self.0);
        write!(f, "{} %", text.trim_end_matches('0').trim_end_matches('.'))
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Amount::Size(size) => size.fmt(f),
            Amount::Share(share) => share.fmt(f),
        }
    }
}

const SIZE_EXPECTED: &str = "a size such as 512MiB, 2GiB or 1TiB";

impl FromStr for Bytes {
    type Err = String;

    fn from_str(text: &str) -> Result<Bytes, String> {
        let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, unit) = (&text[..split], text[split..].trim());
        let factor = match unit {
            "KiB" => KIB,
            "MiB" => MIB,
            "GiB" => GIB,
            "TiB" => TIB,
            "B" => 1,
            "" => return Err(format!("{text:?} has no unit, expected {SIZE_EXPECTED}")),
            _ => return Err(unknown_unit(text, number, unit)),
        };
        let value: f64 = number.parse().map_err(|_| format!("{text:?} is not a size, expected {SIZE_EXPECTED}"))?;
        let bytes = value * factor as f64;
        // 2^63 bytes is LVM's own limit for a volume; beyond it the f64 would also lose whole extents.
        if !(0.0..9.2e18).contains(&bytes) {
            return Err(format!("{text:?} is too large, expected less than 8 EiB"));
        }
        if bytes.fract() != 0.0 {
            return Err(format!("{text:?} is not a whole number of bytes, expected {SIZE_EXPECTED}"));
        }
        Ok(Bytes(bytes as u64))
    }
}

fn unknown_unit(text: &str, number: &str, unit: &str) -> String {
    let lower = unit.to_ascii_lowercase();
    let meant = match lower.trim_end_matches('b').trim_end_matches('i') {
        "k" => "KiB",
        "m" => "MiB",
        "g" => "GiB",
        "t" => "TiB",
        _ if unit.starts_with(',') => {
            return format!("{text:?} has a decimal comma, write {}", text.replacen(',', ".", 1));
        }
        _ => return format!("{text:?} is not a size, expected {SIZE_EXPECTED}"),
    };
    if lower.ends_with("ib") {
        return format!("{text:?} has its unit in the wrong case, write {number}{meant}");
    }
    format!("{text:?} could mean powers of 1000 or of 1024, write {number}{meant}")
}

impl FromStr for Percent {
    type Err = String;

    fn from_str(text: &str) -> Result<Percent, String> {
        let number = text.strip_suffix('%').unwrap_or(text).trim();
        let value: f64 = number.parse().map_err(|_| format!("{text:?} is not a percentage, expected 0% to 100%"))?;
        Percent::new(value).ok_or_else(|| format!("{text:?} is out of range, expected 0% to 100%"))
    }
}

impl FromStr for Amount {
    type Err = String;

    fn from_str(text: &str) -> Result<Amount, String> {
        if text.ends_with('%') {
            return text.parse().map(Amount::Share);
        }
        // What is wrong with the unit says what to write instead.
        let or_share = |error: String| match error.contains("expected") {
            true => format!("{error}, or a percentage such as 10%"),
            false => error,
        };
        text.parse().map(Amount::Size).map_err(or_share)
    }
}

/// Reads strings through `FromStr`, so that an error carries the place of the value in the file.
macro_rules! deserialize_from_str {
    ($type:ty, $expected:expr, $($extra:tt)*) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<$type, D::Error> {
                struct Visitor;
                impl de::Visitor<'_> for Visitor {
                    type Value = $type;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($expected)
                    }
                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$type, E> {
                        text.parse().map_err(E::custom)
                    }
                    $($extra)*
                }
                deserializer.deserialize_any(Visitor)
            }
        }
    };
}

// A number is accepted as bytes: that is how sizes are written into the journal and the JSON answers. The config
// refuses it (`config::raw`), where a unit-less number would be a guess.
deserialize_from_str! { Bytes, SIZE_EXPECTED,
    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Bytes, E> {
        Ok(Bytes(value))
    }
}
deserialize_from_str! { Percent, "a number from 0 to 100",
    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Percent, E> {
        self.visit_f64(value as f64)
    }
    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Percent, E> {
        Percent::new(value).ok_or_else(|| E::invalid_value(de::Unexpected::Float(value), &self))
    }
}
deserialize_from_str! { Amount, "a size such as 2GiB or a percentage such as 10%",
    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Amount, E> {
        Ok(Amount::Size(Bytes(value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_binary_and_spelled_out() {
        assert_eq!("2GiB".parse(), Ok(Bytes(2 * GIB)));
        assert_eq!("1.5 GiB".parse(), Ok(Bytes(3 * GIB / 2)));
        assert_eq!("0B".parse(), Ok(Bytes(0)));
        for (text, wants) in [
            ("2G", "write 2GiB"),
            ("2GB", "write 2GiB"),
            ("10m", "write 10MiB"),
            ("2", "has no unit"),
            ("", "has no unit"),
            ("-1GiB", "not a size"),
            ("1e3GiB", "not a size"),
            ("1.2.3GiB", "not a size"),
            ("99999999TiB", "too large"),
            ("0.3B", "whole number"),
            ("lots", "not a size"),
        ] {
            let error = text.parse::<Bytes>().expect_err(text);
            assert!(error.contains(wants), "{text}: {error}");
        }
    }

    #[test]
    fn amounts_are_sizes_or_shares() {
        assert_eq!("10%".parse::<Amount>().map(|a| a.resolve(Bytes(GIB))), Ok(Bytes(107_374_183)));
        assert_eq!("1GiB".parse::<Amount>().map(|a| a.resolve(Bytes(7))), Ok(Bytes(GIB)));
        assert!("101%".parse::<Amount>().is_err());
        assert!("NaN%".parse::<Amount>().is_err());
    }

    #[test]
    fn extents_round_up_like_lvextend() {
        let extent = Bytes(4 * MIB);
        assert_eq!(Bytes(MIB).to_extents_up(extent), Extents(1));
        assert_eq!(Bytes(8 * MIB).to_extents_up(extent), Extents(2));
        assert_eq!(Bytes(8 * MIB - 1).to_extents_down(extent), Extents(1));
        assert_eq!(Extents(512).bytes(extent), Bytes(2 * GIB));
    }

    #[test]
    fn shown_as_people_read_it() {
        for (bytes, shown) in
            [(0, "0 B"), (1023, "1023 B"), (3 * GIB / 2, "1.5 GiB"), (100 * GIB, "100 GiB"), (TIB, "1 TiB")]
        {
            assert_eq!(Bytes(bytes).to_string(), shown);
            assert_eq!(Bytes(bytes).exact(), shown);
        }
        assert_eq!(Bytes(4100 * MIB).to_string(), "4 GiB");
        assert_eq!(Bytes(4100 * MIB).exact(), "4100 MiB");
        assert_eq!(Bytes(5 * GIB - 1).exact(), "5368709119 B");
        assert_eq!(Bytes(u64::MAX).exact(), "18446744073709551615 B");
        assert_eq!(Percent::of(1, 3).to_string(), "33.3 %");
        assert_eq!(Percent::of(8, 10).to_string(), "80 %");
    }
}
