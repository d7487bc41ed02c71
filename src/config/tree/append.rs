//! Several files as one tree: lists are appended, mappings are joined, and a value that two files set is reported.

use super::node::{Kind, Node, Problem, Tree, Typed, joined};

impl Tree {
    /// Adds a file that was read after this one.
    pub(in crate::config) fn append(&mut self, mut other: Tree, problems: &mut Vec<Problem>) {
        let (origins, sources) = (self.origins.len(), self.sources.len());
        let ids = self.root.largest_id() + 1;
        other.root.shift(ids, origins);
        self.origins.extend(other.origins.into_iter().map(|mut origin| {
            origin.above = origin.above.map(|(above, step)| (above + origins, step));
            origin.source += sources;
            origin
        }));
        self.sources.extend(other.sources);
        let mut root = std::mem::replace(&mut self.root, Node::nothing());
        self.join(&mut root, other.root, "", None, problems);
        self.root = root;
    }

    fn join(&self, one: &mut Node, other: Node, path: &str, key: Option<usize>, problems: &mut Vec<Problem>) {
        // `monitor:` with nothing below it sets nothing.
        if other.is_null() {
            return;
        }
        if one.is_null() {
            *one = other;
            return;
        }
        match (&mut one.kind, other.kind) {
            (Kind::Map(map), Kind::Map(more)) => {
                for entry in more.entries {
                    match map.entries.iter_mut().find(|known| known.key == entry.key) {
                        None => map.entries.push(entry),
                        Some(known) => {
                            let path = joined(path, &entry.key);
                            self.join(&mut known.node, entry.node, &path, Some(entry.key_origin), problems);
                        }
                    }
                }
            }
            (Kind::List(items), Kind::List(more)) => items.extend(more),
            _ => {
                let first = self.sources[self.origins[one.origin].source].file.display().to_string();
                let line = self.place(one.origin).map_or(0, |(line, _)| line);
                let message = format!("is set in {first}:{line} too, and only lists add up: keep one of them");
                problems.push(self.problem(key.unwrap_or(other.origin), path, &message));
            }
        }
    }
}

impl Node {
    fn nothing() -> Node {
        Node { id: 0, origin: 0, kind: Kind::Scalar { value: Typed::Null, text: String::new() } }
    }

    fn is_null(&self) -> bool {
        matches!(self.kind, Kind::Scalar { value: Typed::Null, .. })
    }

    fn largest_id(&self) -> usize {
        let below = match &self.kind {
            Kind::Map(map) => map.entries.iter().map(|entry| entry.node.largest_id()).max(),
            Kind::List(items) => items.iter().map(|item| item.node.largest_id()).max(),
            Kind::Scalar { .. } | Kind::Tagged(_) => None,
        };
        below.unwrap_or_default().max(self.id)
    }

    fn shift(&mut self, ids: usize, origins: usize) {
        self.id += ids;
        self.origin += origins;
        match &mut self.kind {
            Kind::Map(map) => map.entries.iter_mut().for_each(|entry| {
                entry.key_origin += origins;
                entry.node.shift(ids, origins);
            }),
            Kind::List(items) => items.iter_mut().for_each(|item| item.node.shift(ids, origins)),
            Kind::Scalar { .. } | Kind::Tagged(_) => {}
        }
    }
}
