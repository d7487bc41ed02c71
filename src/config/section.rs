//! How a section is read that stands close to a secret.

use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};

use super::hidden::hides_numbers;

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

            hides_numbers!(T);
        }

        deserializer.deserialize_any(Keys(std::marker::PhantomData)).map(Section)
    }
}
