//! Mappings that have the keys of a target and a few of their own: `defaults` and a policy. The keys of a target stand
//! once, in its form; what is wrong with one is reported at its place, which `#[serde(flatten)]` cannot do.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::value::{Error as Unread, MapAccessDeserializer, StrDeserializer};
use serde::de::{self, DeserializeOwned, DeserializeSeed, Deserializer, MapAccess, Visitor};

/// The keys that name a target: they stand in `monitor.targets` only.
pub(super) const NAMES: [&str; 3] = ["lv_path", "mount_point", "thin_pool"];

/// The other keys of such a mapping.
pub(super) trait Aside: Default {
    /// What the mapping is, for errors.
    const WHAT: &'static str;
    /// The keys.
    const KEYS: &'static [&'static str];
    /// All keys of the mapping, for errors.
    fn all() -> &'static [&'static str];

    /// Reads the value of one of the keys.
    fn read<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error>;
}

/// The keys of a target, which has the form `T`, with others before them.
pub(super) fn with_keys_of<T: DeserializeOwned>(others: &'static [&'static str]) -> Vec<&'static str> {
    let mut keys: &'static [&'static str] = &[];
    let _ = T::deserialize(Keys(&mut keys));
    others.iter().chain(keys.iter().filter(|key| !NAMES.contains(key))).copied().collect()
}

/// Reads such a mapping.
pub(super) fn read<'de, T: Deserialize<'de>, D: Deserializer<'de>, O: Aside>(
    deserializer: D,
) -> Result<(T, O), D::Error> {
    deserializer.deserialize_map(Whole(PhantomData))
}

struct Whole<T, O>(PhantomData<(T, O)>);

impl<'de, T: Deserialize<'de>, O: Aside> Visitor<'de> for Whole<T, O> {
    type Value = (T, O);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(O::WHAT)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        let mut others = O::default();
        let rest = Rest { map, others: &mut others };
        let target = T::deserialize(MapAccessDeserializer::new(rest))?;
        Ok((target, others))
    }
}

/// The keys of a target; the others are put aside.
struct Rest<'a, A, O> {
    map: A,
    others: &'a mut O,
}

impl<'de, A: MapAccess<'de>, O: Aside> MapAccess<'de> for Rest<'_, A, O> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, mut seed: K) -> Result<Option<K::Value>, A::Error> {
        loop {
            match self.map.next_key_seed(KeyOf(seed, PhantomData::<O>))? {
                None => return Ok(None),
                Some(Ok(key)) => return Ok(Some(key)),
                Some(Err((unused, key))) => {
                    self.others.read(key, &mut self.map)?;
                    seed = unused;
                }
            }
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        self.map.next_value_seed(seed)
    }
}

/// Reads a key of a target, or gives itself back with the other one.
struct KeyOf<K, O>(K, PhantomData<O>);

impl<'de, K: DeserializeSeed<'de>, O: Aside> DeserializeSeed<'de> for KeyOf<K, O> {
    type Value = Result<K::Value, (K, &'static str)>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de, K: DeserializeSeed<'de>, O: Aside> Visitor<'de> for KeyOf<K, O> {
    type Value = Result<K::Value, (K, &'static str)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: de::Error>(self, key: &str) -> Result<Self::Value, E> {
        if let Some(own) = O::KEYS.iter().find(|own| **own == key) {
            return Ok(Err((self.0, own)));
        }
        // Names are refused by who knows where they belong.
        if !O::all().contains(&key) && !NAMES.contains(&key) {
            return Err(E::unknown_field(key, O::all()));
        }
        self.0.deserialize(StrDeserializer::new(key)).map(Ok)
    }
}

/// Reads nothing, and is told the keys of a structure when that asks for its fields.
struct Keys<'a>(&'a mut &'static [&'static str]);

impl<'de> Deserializer<'de> for Keys<'_> {
    type Error = Unread;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Unread> {
        Err(de::Error::custom("no structure"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Unread> {
        *self.0 = fields;
        self.deserialize_any(visitor)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}
