//! Text of a config that may be a secret: what is wrong with it is said without it.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, Visitor};

use super::secret::Secret;

/// Of a visitor for something that may be a secret: a number is an error that does not repeat it, as serde's own would.
macro_rules! hides_numbers {
    ($value:ty) => {
        fn visit_u64<E: de::Error>(self, _: u64) -> Result<$value, E> {
            Err(E::invalid_type(de::Unexpected::Other("a number"), &self))
        }

        fn visit_i64<E: de::Error>(self, _: i64) -> Result<$value, E> {
            Err(E::invalid_type(de::Unexpected::Other("a number"), &self))
        }

        fn visit_f64<E: de::Error>(self, _: f64) -> Result<$value, E> {
            Err(E::invalid_type(de::Unexpected::Other("a number"), &self))
        }
    };
}

pub(super) use hides_numbers;

/// A text that is not repeated in errors.
#[derive(Debug)]
pub(super) struct Hidden(pub Secret);

impl<'de> Deserialize<'de> for Hidden {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Hidden, D::Error> {
        deserializer.deserialize_any(HiddenText(|text| Ok(Hidden(Secret::new(text)))))
    }
}

/// Reads such a text.
pub(super) struct HiddenText<T>(pub fn(&str) -> Result<T, String>);

impl<T> Visitor<'_> for HiddenText<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        (self.0)(text).map_err(E::custom)
    }

    hides_numbers!(T);
}
