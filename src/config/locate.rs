//! Finds line and column of a place in a YAML text, given the way to it.
//!
//! The library has the places only in its errors. So the text is read again by a deserializer that walks the way and
//! fails where it ends: the error it gets knows the place.

use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, EnumAccess, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// One step of a path by its names: `monitor`, then `targets`, then item 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PathPart {
    /// A key of a mapping.
    Key(&'static str),
    /// An item of a list.
    Item(usize),
}

impl fmt::Display for PathPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PathPart::Key(key) => write!(f, ".{key}"),
            PathPart::Item(index) => write!(f, "[{index}]"),
        }
    }
}

/// One step of a way through a text, by numbers: keys may stand there twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PathStep {
    /// The key of that entry of a mapping.
    Key(usize),
    /// Its value.
    Value(usize),
    /// That item of a list.
    Item(usize),
}

/// Line and column, both from 1.
pub(super) fn locate(yaml: &str, way: &[PathStep]) -> Option<(usize, usize)> {
    let error = Walk(way).deserialize(serde_yaml::Deserializer::from_str(yaml)).err()?;
    error.location().map(|at| (at.line(), at.column()))
}

struct Walk<'a>(&'a [PathStep]);

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Walk<'_> {
    /// The place is reached, or the way leads no further than this: both are reported here.
    fn here<E: de::Error>(&self) -> E {
        E::custom("here")
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the way")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        if let Some((PathStep::Key(wanted) | PathStep::Value(wanted), rest)) = self.0.split_first() {
            for _ in 0..*wanted {
                map.next_entry::<IgnoredAny, IgnoredAny>()?;
            }
            if matches!(self.0[0], PathStep::Key(_)) {
                map.next_key_seed(Walk(rest))?;
            } else {
                map.next_key::<IgnoredAny>()?;
                map.next_value_seed(Walk(rest))?;
            }
        }
        Err(self.here())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        if let Some((PathStep::Item(wanted), rest)) = self.0.split_first() {
            for _ in 0..*wanted {
                seq.next_element::<IgnoredAny>()?;
            }
            seq.next_element_seed(Walk(rest))?;
        }
        Err(self.here())
    }

    fn visit_enum<A: EnumAccess<'de>>(self, _: A) -> Result<(), A::Error> {
        Err(self.here())
    }

    fn visit_str<E: de::Error>(self, _: &str) -> Result<(), E> {
        Err(self.here())
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<(), E> {
        Err(self.here())
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<(), E> {
        Err(self.here())
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<(), E> {
        Err(self.here())
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<(), E> {
        Err(self.here())
    }

    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        Err(self.here())
    }
}
