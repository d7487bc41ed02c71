//! `tools`: a key for each program.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};

use crate::command::Tool;

/// The section as it is written.
#[derive(Debug, Default)]
pub(super) struct Tools(pub BTreeMap<Tool, PathBuf>);

impl<'de> Deserialize<'de> for Tools {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Tools, D::Error> {
        deserializer.deserialize_map(Programs)
    }
}

struct Programs;

impl<'de> Visitor<'de> for Programs {
    type Value = Tools;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a mapping of programs to paths")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tools, A::Error> {
        let (mut named, mut paths) = (Vec::new(), BTreeMap::new());
        while let Some(Program(tool)) = map.next_key()? {
            if named.contains(&tool) {
                return Err(de::Error::duplicate_field(tool.as_str()));
            }
            named.push(tool);
            if let Some(path) = map.next_value::<Option<PathBuf>>()? {
                paths.insert(tool, path);
            }
        }
        Ok(Tools(paths))
    }

    /// Nothing behind the key.
    fn visit_unit<E: de::Error>(self) -> Result<Tools, E> {
        Ok(Tools::default())
    }
}

struct Program(Tool);

impl<'de> Deserialize<'de> for Program {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Program, D::Error> {
        struct Name;

        impl Visitor<'_> for Name {
            type Value = Program;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a program")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<Program, E> {
                let tool = Tool::ALL.iter().find(|tool| tool.as_str() == name);
                tool.map(|tool| Program(*tool)).ok_or_else(|| E::unknown_field(name, Tool::NAMES))
            }
        }

        deserializer.deserialize_identifier(Name)
    }
}
