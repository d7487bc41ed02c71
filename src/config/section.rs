//! How a section is read that stands close to a secret.

use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};

/// A mapping where somebody may write a secret by mistake: the error does not repeat it.
#[derive(Debug)]
pub(super) struct Section<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Section<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Section<T>, D::Error> {
        struct Keys<T>(std::marker::PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Keys<T> {
            type Value = T;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a mapping; secrets stand in files of their own")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
                T::deserialize(de::value::MapAccessDeserializer::new(map))
            }

            fn visit_str<E: de::Error>(self, _: &str) -> Result<T, E> {
                Err(E::invalid_type(de::Unexpected::Other("text"), &self))
            }

            fn visit_u64<E: de::Error>(self, _: u64) -> Result<T, E> {
                Err(E::invalid_type(de::Unexpected::Other("a number"), &self))
            }

            fn visit_i64<E: de::Error>(self, _: i64) -> Result<T, E> {
                Err(E::invalid_type(de::Unexpected::Other("a number"), &self))
            }

            fn visit_f64<E: de::Error>(self, _: f64) -> Result<T, E> {
                Err(E::invalid_type(de::Unexpected::Other("a number"), &self))
            }
        }

        deserializer.deserialize_any(Keys(std::marker::PhantomData)).map(Section)
    }
}
