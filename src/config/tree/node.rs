//! The tree, what is wrong in it, and cutting that out.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::config::locate::{PathPart, PathStep, locate};
use crate::config::near::{listed, near};

/// Line and column, both from 1.
pub(in crate::config) type Place = (usize, usize);

/// One thing that is wrong: where, and what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Which file.
    pub file: PathBuf,
    /// Line and column, from 1; `None`: the file as a whole.
    pub place: Option<Place>,
    /// `path: what is wrong, what was expected`, on one line.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = crate::plain(&self.file.display().to_string());
        match self.place {
            Some((line, column)) => write!(f, "{file}:{line}:{column}: {}", self.message),
            None => write!(f, "{file}: {}", self.message),
        }
    }
}

/// A text, read.
#[derive(Debug)]
pub(in crate::config) struct Tree {
    pub(super) root: Node,
    pub(super) origins: Vec<Origin>,
    pub(super) sources: Vec<Source>,
    /// Whether keys that begin with `x-` are the writer's own.
    pub(super) has_extensions: bool,
}

#[derive(Debug)]
pub(super) struct Source {
    pub(super) file: PathBuf,
    pub(super) yaml: String,
}

/// Where a value was written: a step below another. A value that was merged has the place that it was merged from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Origin {
    /// `None`: the root of the source.
    pub(super) above: Option<(usize, PathStep)>,
    pub(super) source: usize,
}

#[derive(Debug, Clone)]
pub(in crate::config) struct Node {
    /// Different for every node of the tree.
    pub(super) id: usize,
    pub(super) origin: usize,
    pub(super) kind: Kind,
}

#[derive(Debug, Clone)]
pub(super) enum Kind {
    Scalar {
        value: Typed,
        text: String,
    },
    List(Vec<Item>),
    Map(Map),
    /// `!name`, which means nothing to us.
    Tagged(String),
}

/// What YAML takes a scalar for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Typed {
    Null,
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Text,
}

#[derive(Debug, Clone)]
pub(super) struct Item {
    /// As it was written; what stood before it may have been cut out.
    pub(super) index: usize,
    pub(super) node: Node,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Map {
    pub(super) entries: Vec<Entry>,
    pub(super) cut: Vec<Cut>,
}

#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) key_origin: usize,
    pub(super) node: Node,
}

/// A key that was wrong, and is no longer there.
#[derive(Debug, Clone)]
pub(super) struct Cut {
    key: String,
    /// The keys that were perhaps meant; `None`: it was a key that exists.
    meant: Option<Vec<&'static str>>,
}

/// What serde, or a check of ours, found wrong in a tree.
#[derive(Debug)]
pub(in crate::config) struct Fault {
    /// The node; whether its key is what is wrong.
    at: Option<(usize, bool)>,
    /// The rest of its path, such as `.lv`, if that is not written there.
    below: String,
    what: What,
}

#[derive(Debug)]
enum What {
    UnknownKey {
        name: String,
        expected: &'static [&'static str],
    },
    UnknownWord {
        word: String,
        expected: &'static [&'static str],
    },
    MissingKey(&'static str),
    WrongType {
        found: String,
        expected: String,
    },
    /// One of these keys should be there.
    Missing {
        keys: &'static [&'static str],
        message: String,
    },
    Other(String),
}

/// The same, as serde wants it.
pub(in crate::config) type Error = Fault;

impl std::error::Error for Fault {}

/// For serde only; what people read is made by [`Tree::report`], which knows the place.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what.message(&[]))
    }
}

impl serde::de::Error for Fault {
    fn custom<T: fmt::Display>(message: T) -> Fault {
        Fault { at: None, below: String::new(), what: What::Other(message.to_string()) }
    }

    fn invalid_type(found: serde::de::Unexpected<'_>, expected: &dyn serde::de::Expected) -> Fault {
        use serde::de::Unexpected as Found;
        // Never the text itself: it may be a secret.
        let found = match found {
            Found::Unit | Found::Option => "has no value",
            Found::Bool(true) => "is true",
            Found::Bool(false) => "is false",
            Found::Unsigned(_) | Found::Signed(_) | Found::Float(_) => "is a number",
            Found::Seq => "is a list",
            Found::Map => "is a mapping",
            Found::Other(what) => return Fault::wrong_type(format!("is {what}"), expected.to_string()),
            _ => "is text",
        };
        Fault::wrong_type(found, expected.to_string())
    }

    fn invalid_value(found: serde::de::Unexpected<'_>, expected: &dyn serde::de::Expected) -> Fault {
        Fault::invalid_type(found, expected)
    }

    fn invalid_length(length: usize, expected: &dyn serde::de::Expected) -> Fault {
        Fault::wrong_type(format!("has {length} items"), expected.to_string())
    }

    fn unknown_field(name: &str, expected: &'static [&'static str]) -> Fault {
        Fault { at: None, below: String::new(), what: What::UnknownKey { name: name.to_owned(), expected } }
    }

    fn unknown_variant(word: &str, expected: &'static [&'static str]) -> Fault {
        Fault { at: None, below: String::new(), what: What::UnknownWord { word: word.to_owned(), expected } }
    }

    fn missing_field(name: &'static str) -> Fault {
        Fault { at: None, below: String::new(), what: What::MissingKey(name) }
    }
}

impl Fault {
    pub(super) fn wrong_type(found: impl Into<String>, expected: impl Into<String>) -> Fault {
        Fault {
            at: None,
            below: String::new(),
            what: What::WrongType { found: found.into(), expected: expected.into() },
        }
    }

    pub(super) fn other(message: impl Into<String>) -> Fault {
        Fault { at: None, below: String::new(), what: What::Other(message.into()) }
    }

    /// At that node, unless the place is known more exactly.
    pub(super) fn at(self, node: &Node) -> Fault {
        Fault { at: self.at.or(Some((node.id, false))), ..self }
    }

    /// At the key of that node.
    pub(super) fn at_key(self, node: &Node) -> Fault {
        Fault { at: self.at.or(Some((node.id, true))), ..self }
    }

    /// The keys of which one would mend it, if it is about what is not there.
    fn missing(&self) -> &[&'static str] {
        match &self.what {
            What::MissingKey(key) => std::slice::from_ref(key),
            What::Missing { keys, .. } => keys,
            _ => &[],
        }
    }
}

impl What {
    /// `elsewhere`: the mappings that have such a key.
    fn message(&self, elsewhere: &[String]) -> String {
        match self {
            What::UnknownKey { name, expected } => {
                let meant = near(name, expected.iter().copied());
                if !meant.is_empty() {
                    return format!("unknown key, did you mean {}?", listed(&meant));
                }
                match elsewhere {
                    [] => format!("unknown key, expected {}", listed(expected)),
                    [above] => format!("unknown key here, it belongs in `{above}`: correct the indentation"),
                    more => format!("unknown key here, it belongs in {}", listed(more)),
                }
            }
            What::UnknownWord { word, expected } => {
                let meant = near(word, expected.iter().copied());
                match meant.is_empty() {
                    true => format!("{word:?} is unknown, expected {}", listed(expected)),
                    false => format!("{word:?} is unknown, did you mean {}?", listed(&meant)),
                }
            }
            What::MissingKey(key) => format!("{key} is missing"),
            What::WrongType { found, expected } => format!("{found}, expected {expected}"),
            What::Missing { message, .. } | What::Other(message) => message.clone(),
        }
    }
}

/// A way through the tree, as it was written.
struct Found<'a> {
    path: String,
    /// The mapping that it is an entry of.
    holder: Option<&'a Map>,
    node: &'a Node,
    key_origin: Option<usize>,
}

impl Tree {
    /// What serde reads.
    pub(in crate::config) fn root(&self) -> &Node {
        &self.root
    }

    /// What a check found wrong at a path, as a fault of this tree. `first` is the path of what it says a second time.
    pub(in crate::config) fn fault(
        &self,
        path: &[PathPart],
        missing: &'static [&'static str],
        first: Option<&[PathPart]>,
        message: String,
    ) -> Fault {
        let (node, rest) = self.reach(path);
        let place = |origin| self.place(origin).map(|place| (self.origins[origin].source, place));
        let first = first.and_then(|first| place(self.reach(first).0.origin));
        let source = self.origins[node.origin].source;
        let message = match first {
            // Two nodes of one place are one, repeated.
            Some(_) if first == place(node.origin) => format!("{message}, by an alias: leave it out"),
            Some((of, (line, _))) if of == source => {
                format!("{message}, the first is on line {line}: remove one of them")
            }
            Some((of, (line, _))) => {
                let file = self.sources[of].file.display();
                format!("{message}, the first is on line {line} of {file}: remove one of them")
            }
            None => message,
        };
        let what = if missing.is_empty() { What::Other(message) } else { What::Missing { keys: missing, message } };
        Fault { at: Some((node.id, false)), below: rest.iter().map(PathPart::to_string).collect(), what }
    }

    /// The node at a path, or the last one before it, and the rest of the path then.
    pub(super) fn reach<'a>(&self, path: &'a [PathPart]) -> (&Node, &'a [PathPart]) {
        let mut node = &self.root;
        for (index, part) in path.iter().enumerate() {
            let next = match (part, &node.kind) {
                (PathPart::Key(key), Kind::Map(map)) => {
                    map.entries.iter().find(|entry| entry.key == *key).map(|entry| &entry.node)
                }
                (PathPart::Item(index), Kind::List(items)) => items.get(*index).map(|item| &item.node),
                _ => None,
            };
            let Some(next) = next else { return (node, &path[index..]) };
            node = next;
        }
        (node, &[])
    }

    /// The message for a person; `None` if the fault is only a consequence of an earlier one. `known` are the paths of
    /// all keys, such as `monitor.targets[].mode`.
    pub(in crate::config) fn report(&self, fault: &Fault, known: &[String]) -> Option<Problem> {
        let (id, is_key) = fault.at.unwrap_or((self.root.id, false));
        let found = self.find(id)?;
        let missing = fault.missing();
        // A fault of a whole mapping may only follow from the faults that were cut out of it before.
        if let (What::Other(_), Kind::Map(map), false) = (&fault.what, &found.node.kind, is_key)
            && !map.cut.is_empty()
        {
            return None;
        }
        if let (false, Kind::Map(map)) = (missing.is_empty(), &found.node.kind) {
            let follows = |cut: &Cut| match &cut.meant {
                None => missing.contains(&cut.key.as_str()),
                Some(meant) => missing.len() > 1 || meant.iter().any(|key| missing.contains(key)),
            };
            if map.cut.iter().any(follows) {
                return None;
            }
        }
        let mut message = match &fault.what {
            What::UnknownKey { name, .. } => fault.what.message(&elsewhere(name, known)),
            what => what.message(&[]),
        };
        if let (What::UnknownKey { name, expected }, true) = (&fault.what, self.has_extensions)
            && found.holder.is_some_and(|holder| std::ptr::eq(holder, self.root_map()))
            && near(name, expected.iter().copied()).is_empty()
            && elsewhere(name, known).is_empty()
        {
            message.push_str("; keys of your own, such as for anchors, begin with `x-`");
        }
        let origin = if is_key { found.key_origin.unwrap_or(found.node.origin) } else { found.node.origin };
        let path = format!("{}{}", found.path, fault.below);
        Some(self.problem(origin, path.trim_start_matches('.'), &message))
    }

    /// A problem at that place of a file.
    pub(super) fn problem(&self, origin: usize, path: &str, message: &str) -> Problem {
        let separator = if path.is_empty() { "" } else { ": " };
        let file = self.sources[self.origins[origin].source].file.clone();
        Problem { file, place: self.place(origin), message: crate::plain(&format!("{path}{separator}{message}")) }
    }

    /// Where it was written.
    pub(super) fn place(&self, origin: usize) -> Option<Place> {
        self.place_of(self.origins[origin], None)
    }

    /// Where something was written, or what is one step below it.
    pub(super) fn place_of(&self, mut at: Origin, below: Option<PathStep>) -> Option<Place> {
        let mut steps: Vec<PathStep> = below.into_iter().collect();
        while let Some((above, step)) = at.above {
            steps.push(step);
            at = self.origins[above];
        }
        steps.reverse();
        locate(&self.sources[at.source].yaml, &steps)
    }

    /// Takes what is wrong out of the tree: a key with its value, or an item. `false` if nothing would be left.
    pub(in crate::config) fn cut(&mut self, fault: &Fault) -> bool {
        let (id, is_key) = fault.at.unwrap_or((self.root.id, false));
        let meant = match (&fault.what, is_key) {
            (What::UnknownKey { name, expected }, true) => Some(near(name, expected.iter().copied())),
            _ => None,
        };
        self.root.id != id && self.root.cut(id, &meant)
    }

    /// The files, in the order in which they were read.
    pub(in crate::config) fn files(&self) -> impl Iterator<Item = &Path> {
        self.sources.iter().map(|source| source.file.as_path())
    }

    fn root_map(&self) -> *const Map {
        match &self.root.kind {
            Kind::Map(map) => map,
            _ => std::ptr::null(),
        }
    }

    fn find(&self, id: usize) -> Option<Found<'_>> {
        let start = Found { path: String::new(), holder: None, node: &self.root, key_origin: None };
        start.find(id)
    }
}

/// The mappings that have a key of that name: `monitor` for `targets`.
fn elsewhere(name: &str, known: &[String]) -> Vec<String> {
    let above = known.iter().filter_map(|path| {
        let (above, last) = path.rsplit_once('.')?;
        (last == name).then(|| above.replace("[]", ""))
    });
    let mut above: Vec<String> = above.collect();
    above.dedup();
    // A key that stands in many places, such as `interval`, says nothing about the one that was meant.
    if above.len() > 2 { vec![] } else { above }
}

impl<'a> Found<'a> {
    fn find(self, id: usize) -> Option<Found<'a>> {
        if self.node.id == id {
            return Some(self);
        }
        match &self.node.kind {
            Kind::Map(map) => map.entries.iter().find_map(|entry| {
                let path = joined(&self.path, &entry.key);
                let key_origin = Some(entry.key_origin);
                Found { path, holder: Some(map), node: &entry.node, key_origin }.find(id)
            }),
            Kind::List(items) => items.iter().find_map(|item| {
                let path = format!("{}[{}]", self.path, item.index);
                Found { path, holder: None, node: &item.node, key_origin: None }.find(id)
            }),
            _ => None,
        }
    }
}

/// The path of a key of that mapping.
pub(super) fn joined(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

impl Node {
    fn cut(&mut self, id: usize, meant: &Option<Vec<&'static str>>) -> bool {
        match &mut self.kind {
            Kind::Map(map) => match map.entries.iter().position(|entry| entry.node.id == id) {
                Some(at) => {
                    let key = map.entries.remove(at).key;
                    map.cut.push(Cut { key, meant: meant.clone() });
                    true
                }
                None => map.entries.iter_mut().any(|entry| entry.node.cut(id, meant)),
            },
            Kind::List(items) => match items.iter().position(|item| item.node.id == id) {
                Some(at) => {
                    items.remove(at);
                    true
                }
                None => items.iter_mut().any(|item| item.node.cut(id, meant)),
            },
            _ => false,
        }
    }
}
