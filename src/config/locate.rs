//! Finds line and column of a place in a YAML text, given its path.
//!
//! Errors between two values (a minimum above its maximum, a volume named twice) are found after the text was read,
//! when the places are gone. So the text is read again by a deserializer that walks the path and fails where it ends:
//! the error it gets knows the place.

use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// One step of a path: `monitor`, then `targets`, then item 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PathPart {
    /// A key of a mapping.
    Key(&'static str),
    /// An item of a list.
    Item(usize),
}

/// Line and column, both from 1.
pub(super) fn locate(yaml: &str, path: &[PathPart]) -> Option<(usize, usize)> {
    let error = Walk(path).deserialize(serde_yaml::Deserializer::from_str(yaml)).err()?;
    error.location().map(|at| (at.line(), at.column()))
}

/// The path as people write it: `monitor.targets[1].increment`.
pub(super) fn show(path: &[PathPart]) -> String {
    let mut text = String::new();
    for step in path {
        match step {
            PathPart::Key(key) if text.is_empty() => text.push_str(key),
            PathPart::Key(key) => text.push_str(&format!(".{key}")),
            PathPart::Item(index) => text.push_str(&format!("[{index}]")),
        }
    }
    text
}

struct Walk<'a>(&'a [PathPart]);

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Walk<'_> {
    /// The place is reached, or the path leads no further than this: both are reported here.
    fn here<E: de::Error>(&self) -> E {
        E::custom("here")
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the path")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        if let Some((PathPart::Key(wanted), rest)) = self.0.split_first() {
            while let Some(key) = map.next_key::<String>()? {
                if &key == wanted {
                    return map.next_value_seed(Walk(rest));
                }
                map.next_value::<IgnoredAny>()?;
            }
        }
        Err(self.here())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        if let Some((PathPart::Item(wanted), rest)) = self.0.split_first() {
            for _ in 0..*wanted {
                seq.next_element::<IgnoredAny>()?;
            }
            seq.next_element_seed(Walk(rest))?;
        }
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
