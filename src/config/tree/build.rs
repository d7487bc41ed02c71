//! A YAML text -> [`Tree`]: aliases are followed, `<<` merged, keys that stand there twice reported, and those that
//! begin with `x-` left out.

use std::fmt;
use std::path::Path;

use serde::de::{
    self, DeserializeSeed, Deserializer, EnumAccess, IgnoredAny, MapAccess, SeqAccess, VariantAccess, Visitor,
};

use super::node::{Entry, Item, Kind, Map, Node, Origin, Problem, Source, Tree, Typed, joined};
use crate::config::locate::PathStep;

/// A config has hundreds of values. More come of aliases of aliases, which a few lines can make without end.
const MOST_NODES: usize = 100_000;

/// Reads a text; what is wrong with it as YAML is the error, and what is wrong with its keys is reported beside the
/// tree. `has_extensions`: keys that begin with `x-` are the writer's own.
pub(in crate::config) fn build(
    yaml: &str,
    file: &Path,
    has_extensions: bool,
) -> Result<(Tree, Vec<Problem>), serde_yaml::Error> {
    let mut origins = vec![Origin { above: None, source: 0 }];
    let mut count = 0;
    // A file with nothing but comments is an empty config, not a null that is no mapping.
    let is_blank = |line: &str| line.trim().is_empty() || line.trim_start().starts_with('#') || line.trim() == "---";
    let mut root = match yaml.trim_start_matches('\u{feff}').lines().all(is_blank) {
        true => Node { id: 0, origin: 0, kind: Kind::Map(Map::default()) },
        false => {
            let read = Read { origin: 0, origins: &mut origins, count: &mut count };
            read.deserialize(serde_yaml::Deserializer::from_str(yaml))?
        }
    };
    if count > 0 {
        Fill(&mut root).deserialize(serde_yaml::Deserializer::from_str(yaml))?;
    }
    let source = Source { file: file.to_owned(), yaml: yaml.to_owned() };
    let blank = Node { id: 0, origin: 0, kind: Kind::Map(Map::default()) };
    let mut tree = Tree { root: blank, origins, sources: vec![source], has_extensions };
    let mut problems = Vec::new();
    tree.settle(&mut root, "", &mut problems);
    tree.root = root;
    Ok((tree, problems))
}

impl Tree {
    /// Merges and drops what is to be, and reports keys that stand there twice.
    fn settle(&mut self, node: &mut Node, path: &str, problems: &mut Vec<Problem>) {
        match &mut node.kind {
            Kind::List(items) => {
                for item in items {
                    self.settle(&mut item.node, &format!("{path}[{}]", item.index), problems);
                }
            }
            Kind::Map(map) => {
                let (mut entries, mut merged) = (Vec::<Entry>::new(), Vec::new());
                for mut entry in std::mem::take(&mut map.entries) {
                    let path = joined(path, &entry.key);
                    if self.has_extensions && entry.key.starts_with("x-") {
                        continue;
                    }
                    if let Some(first) = entries.iter().find(|first| first.key == entry.key) {
                        let line = self.place(first.key_origin).map_or(0, |(line, _)| line);
                        let message = format!("duplicate key, it is already on line {line}: keep one of them");
                        problems.push(self.problem(entry.key_origin, &path, &message));
                        continue;
                    }
                    self.settle(&mut entry.node, &path, problems);
                    match (entry.key.as_str(), entry.node.kind) {
                        ("<<", kind) => match mappings(kind) {
                            Some(mappings) => merged.extend(mappings.into_iter().flat_map(|map| map.entries)),
                            None => {
                                let message = "`<<` merges a mapping, or a list of mappings, such as *name";
                                problems.push(self.problem(entry.node.origin, &path, message));
                            }
                        },
                        (_, kind) => entries.push(Entry { node: Node { kind, ..entry.node }, ..entry }),
                    }
                }
                for entry in merged {
                    if entries.iter().all(|own| own.key != entry.key) {
                        entries.push(entry);
                    }
                }
                map.entries = entries;
            }
            Kind::Scalar { .. } | Kind::Tagged(_) => {}
        }
    }
}

fn mappings(kind: Kind) -> Option<Vec<Map>> {
    match kind {
        Kind::Map(map) => Some(vec![map]),
        Kind::List(items) => items
            .into_iter()
            .map(|item| match item.node.kind {
                Kind::Map(map) => Some(map),
                _ => None,
            })
            .collect(),
        _ => None,
    }
}

/// Reads a value. The source text of numbers, booleans and nulls is added later, see [`Fill`].
struct Read<'a> {
    origin: usize,
    origins: &'a mut Vec<Origin>,
    count: &'a mut usize,
}

impl Read<'_> {
    fn below(&mut self, step: PathStep) -> Read<'_> {
        let source = self.origins[self.origin].source;
        self.origins.push(Origin { above: Some((self.origin, step)), source });
        Read { origin: self.origins.len() - 1, origins: self.origins, count: self.count }
    }

    fn node<E: de::Error>(&mut self, kind: Kind) -> Result<Node, E> {
        *self.count += 1;
        if *self.count > MOST_NODES {
            return Err(E::custom(format!("has more than {MOST_NODES} values, with those that aliases repeat")));
        }
        Ok(Node { id: *self.count, origin: self.origin, kind })
    }

    fn scalar<E: de::Error>(&mut self, value: Typed) -> Result<Node, E> {
        self.node(Kind::Scalar { value, text: String::new() })
    }
}

impl<'de> DeserializeSeed<'de> for Read<'_> {
    type Value = Node;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Read<'_> {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: de::Error>(mut self) -> Result<Node, E> {
        self.scalar(Typed::Null)
    }

    fn visit_bool<E: de::Error>(mut self, value: bool) -> Result<Node, E> {
        self.scalar(Typed::Bool(value))
    }

    fn visit_u64<E: de::Error>(mut self, value: u64) -> Result<Node, E> {
        self.scalar(Typed::Unsigned(value))
    }

    fn visit_i64<E: de::Error>(mut self, value: i64) -> Result<Node, E> {
        self.scalar(Typed::Signed(value))
    }

    fn visit_u128<E: de::Error>(mut self, value: u128) -> Result<Node, E> {
        self.scalar(Typed::Float(value as f64))
    }

    fn visit_i128<E: de::Error>(mut self, value: i128) -> Result<Node, E> {
        self.scalar(Typed::Float(value as f64))
    }

    fn visit_f64<E: de::Error>(mut self, value: f64) -> Result<Node, E> {
        self.scalar(Typed::Float(value))
    }

    fn visit_str<E: de::Error>(mut self, text: &str) -> Result<Node, E> {
        self.node(Kind::Scalar { value: Typed::Text, text: text.to_owned() })
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(node) = seq.next_element_seed(self.below(PathStep::Item(items.len())))? {
            items.push(Item { index: items.len(), node });
        }
        self.node(Kind::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Node, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key_seed(Key)? {
            let key_origin = self.below(PathStep::Key(entries.len())).origin;
            let node = map.next_value_seed(self.below(PathStep::Value(entries.len())))?;
            entries.push(Entry { key, key_origin, node });
        }
        self.node(Kind::Map(Map { entries, ..Map::default() }))
    }

    fn visit_enum<A: EnumAccess<'de>>(mut self, tagged: A) -> Result<Node, A::Error> {
        let (tag, value) = tagged.variant::<String>()?;
        value.newtype_variant::<IgnoredAny>()?;
        self.node(Kind::Tagged(tag))
    }
}

/// A key as it is written, also where it is a number.
struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key that is a word")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }
}

/// Adds the source text of numbers, booleans and nulls: where text is expected, `007` must not become 7.
struct Fill<'a>(&'a mut Node);

impl<'de> DeserializeSeed<'de> for Fill<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        match &self.0.kind {
            Kind::Map(_) | Kind::List(_) => deserializer.deserialize_any(self),
            Kind::Scalar { value: Typed::Text, .. } | Kind::Tagged(_) => {
                deserializer.deserialize_ignored_any(IgnoredAny).map(drop)
            }
            Kind::Scalar { .. } => deserializer.deserialize_str(self),
        }
    }
}

impl<'de> Visitor<'de> for Fill<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the same again")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        if let Kind::Map(Map { entries, .. }) = &mut self.0.kind {
            for entry in entries {
                map.next_key::<IgnoredAny>()?;
                map.next_value_seed(Fill(&mut entry.node))?;
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        if let Kind::List(items) = &mut self.0.kind {
            for item in items {
                seq.next_element_seed(Fill(&mut item.node))?;
            }
        }
        Ok(())
    }

    fn visit_str<E: de::Error>(self, read: &str) -> Result<(), E> {
        if let Kind::Scalar { text, .. } = &mut self.0.kind {
            *text = read.to_owned();
        }
        Ok(())
    }
}
