//! A [`Node`] is what serde reads values from; what is wrong gets the node as its place.

use serde::de::value::StrDeserializer;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::node::{Entry, Error, Item, Kind, Map, Node, Typed};
use crate::config::near::listed;

/// So many keys of a mapping show what is meant.
const SHOWN: usize = 3;

const LISTED: &str = "a list, with `- ` before each of its items";

impl Node {
    fn is_empty(&self) -> bool {
        matches!(&self.kind, Kind::Scalar { value: Typed::Null, text } if text.is_empty())
    }

    /// An error that says what was found where something else was expected.
    fn wrong(&self, expected: impl Into<String>) -> Error {
        let found = match &self.kind {
            Kind::List(_) => "is a list",
            Kind::Map(_) => "is a mapping",
            Kind::Tagged(tag) => return tagged(tag),
            Kind::Scalar { value: Typed::Null, .. } => "has no value",
            Kind::Scalar { value: Typed::Bool(true), .. } => "is true",
            Kind::Scalar { value: Typed::Bool(false), .. } => "is false",
            Kind::Scalar { value: Typed::Text, .. } => "is text",
            Kind::Scalar { .. } => "is a number",
        };
        Error::wrong_type(found, expected)
    }

    fn map<'de, V: Visitor<'de>>(&'de self, visitor: V, expected: impl FnOnce() -> String) -> Result<V::Value, Error> {
        const EMPTY: &Map = &Map { entries: Vec::new(), cut: Vec::new() };
        let map = match &self.kind {
            Kind::Map(map) => map,
            _ if self.is_empty() => EMPTY,
            _ => return Err(self.wrong(expected()).at(self)),
        };
        visitor.visit_map(Entries { rest: map.entries.iter(), value: None }).map_err(|error| error.at(self))
    }
}

fn tagged(tag: &str) -> Error {
    Error::other(format!("has the tag !{tag}, which means nothing here: write the value itself"))
}

impl<'de> Deserializer<'de> for &'de Node {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let read = match &self.kind {
            Kind::Map(_) => return self.map(visitor, String::new),
            Kind::List(items) => visitor.visit_seq(Items(items.iter())),
            Kind::Tagged(tag) => Err(tagged(tag)),
            Kind::Scalar { value, text } => match *value {
                Typed::Null => visitor.visit_unit(),
                Typed::Bool(value) => visitor.visit_bool(value),
                Typed::Unsigned(value) => visitor.visit_u64(value),
                Typed::Signed(value) => visitor.visit_i64(value),
                Typed::Float(value) => visitor.visit_f64(value),
                Typed::Text => visitor.visit_str(text),
            },
        };
        read.map_err(|error| error.at(self))
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.kind {
            Kind::Scalar { value: Typed::Bool(_), .. } => self.deserialize_any(visitor),
            Kind::Scalar { text, .. } => {
                let meant = match text.to_ascii_lowercase().as_str() {
                    "yes" | "on" | "1" => "true",
                    "no" | "off" | "0" => "false",
                    _ => return Err(self.wrong("true or false").at(self)),
                };
                Err(Error::other(format!("{text:?} is not true or false, write {meant}")).at(self))
            }
            _ => Err(self.wrong("true or false").at(self)),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let read = match &self.kind {
            Kind::Scalar { text, .. } => visitor.visit_str(text),
            _ => Err(self.wrong("text")),
        };
        read.map_err(|error| error.at(self))
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.kind {
            Kind::Scalar { value: Typed::Null, .. } => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
        .map_err(|error: Error| error.at(self))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self).map_err(|error: Error| error.at(self))
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let read = match &self.kind {
            Kind::List(items) => visitor.visit_seq(Items(items.iter())),
            Kind::Map(_) => Err(self.wrong(LISTED)),
            _ if self.is_empty() => visitor.visit_seq(Items([].iter())),
            _ => Err(self.wrong(LISTED)),
        };
        read.map_err(|error| error.at(self))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        // What a visitor of our own expects, it says better than this could.
        match self.kind {
            Kind::Map(_) => self.map(visitor, String::new),
            _ if self.is_empty() => self.map(visitor, String::new),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        keys: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.map(visitor, || {
            let (shown, more) = (&keys[..keys.len().min(SHOWN)], keys.len() > SHOWN);
            format!("a mapping with keys such as {}", if more { listed(shown) } else { listed(keys) })
        })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        words: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let read = match &self.kind {
            Kind::Scalar { value: Typed::Null, .. } | Kind::List(_) | Kind::Map(_) | Kind::Tagged(_) => {
                Err(self.wrong(listed(words)))
            }
            Kind::Scalar { text, .. } => visitor.visit_enum(StrDeserializer::new(text)),
        };
        read.map_err(|error| error.at(self))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf unit unit_struct tuple tuple_struct
        identifier
    }
}

struct Items<'de>(std::slice::Iter<'de, Item>);

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        self.0.next().map(|item| seed.deserialize(&item.node)).transpose()
    }
}

struct Entries<'de> {
    rest: std::slice::Iter<'de, Entry>,
    value: Option<&'de Node>,
}

impl<'de> MapAccess<'de> for Entries<'de> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        let Some(entry) = self.rest.next() else { return Ok(None) };
        self.value = Some(&entry.node);
        seed.deserialize(StrDeserializer::new(&entry.key)).map(Some).map_err(|error: Error| error.at_key(&entry.node))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        match self.value.take() {
            Some(node) => seed.deserialize(node),
            None => Err(Error::other("has no value")),
        }
    }
}
