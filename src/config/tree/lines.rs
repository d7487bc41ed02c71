//! The lines of all items of a list at once.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::node::{Item, Kind, Node, Tree};
use crate::config::locate::{PathPart, PathStep};

impl Tree {
    /// File and line of each item of a list. To find one place the whole text is read again; so of a list that has a
    /// hyphen at the beginning of a line for each item, as nearly all have, only both ends are looked up.
    pub(in crate::config) fn lines_of(&self, list: &[PathPart]) -> Vec<Option<(PathBuf, usize)>> {
        let (Node { kind: Kind::List(items), .. }, []) = self.reach(list) else { return vec![] };
        let mut last: BTreeMap<usize, usize> = BTreeMap::new();
        let written = |origin: usize| match self.origins[origin].above {
            Some((list, PathStep::Item(number))) => Some((list, number)),
            _ => None,
        };
        for (list, number) in items.iter().filter_map(|item| written(item.node.origin)) {
            let last = last.entry(list).or_default();
            *last = number.max(*last);
        }
        let hyphens: BTreeMap<usize, Vec<usize>> =
            last.into_iter().filter_map(|(list, last)| Some((list, self.hyphens(list, last)?))).collect();
        let line = |item: &Item| {
            let origin = item.node.origin;
            let known = written(origin).and_then(|(list, number)| hyphens.get(&list)?.get(number).copied());
            let line = known.or_else(|| self.place(origin).map(|(line, _)| line))?;
            Some((self.sources[self.origins[origin].source].file.clone(), line))
        };
        items.iter().map(line).collect()
    }

    /// The lines of the items of a list, up to that one, if each begins with a hyphen below the first. Nothing within
    /// an item can: YAML has it further to the right.
    fn hyphens(&self, list: usize, last: usize) -> Option<Vec<usize>> {
        let line = |number| self.place_of(self.origins[list], Some(PathStep::Item(number))).map(|(line, _)| line);
        let (first, end) = (line(0)?, line(last)?);
        let text = &self.sources[self.origins[list].source].yaml;
        let begin = text.lines().nth(first.checked_sub(1)?)?;
        let indent = begin.len() - begin.trim_start_matches(' ').len();
        let is_item = |line: &str| {
            line.get(indent..).is_some_and(|rest| rest.starts_with("- ") && line[..indent].trim().is_empty())
        };
        let numbered = text.lines().enumerate().map(|(index, line)| (index + 1, line));
        let lines: Vec<usize> = numbered
            .filter(|(number, line)| (first..=end).contains(number) && is_item(line))
            .map(|(number, _)| number)
            .collect();
        (lines.len() == last + 1 && lines.first() == Some(&first) && lines.last() == Some(&end)).then_some(lines)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    fn lines(yaml: &str) -> Vec<usize> {
        let read = crate::config::load_from(yaml.as_bytes(), "c.yaml".as_ref(), crate::files::Trust::default());
        let (config, _) = read.expect(yaml);
        let line = |target: &crate::config::Target| target.origin.place.as_ref().expect("a place").1;
        config.targets.iter().map(line).collect()
    }

    #[test]
    fn each_item_has_its_line_however_the_list_is_written() {
        let target = |name: &str| format!("{{ lv_path: vg/{name}, mount_point: /{name} }}");
        let (a, b, c) = (target("a"), target("b"), target("c"));
        for (targets, expected) in [
            (format!("[{a}, {b},\n{c}]"), vec![2, 2, 3]),
            (format!("\n    - {a}\n    # - {b}\n\n    - {b}\n    - {c}\n"), vec![3, 6, 7]),
            (format!("\n  - {a}\n  -\n    lv_path: vg/b\n    mount_point: /b\n  - {c}\n"), vec![3, 5, 7]),
            (
                format!(
                    "\n  - lv_path: vg/a\n    mount_point: \"/a\n      - {{ \"\n  - {b}\n  - {{ lv_path: vg/c, mount_point: '/c\n     - x' }}\n"
                ),
                vec![3, 6, 7],
            ),
            (
                format!(
                    "\n  - {b}\n  - &c {{ lv_path: vg/c, mount_point: /c }}\n  - {{ <<: *c, lv_path: vg/a, mount_point: /a }}\n"
                ),
                vec![3, 4, 5],
            ),
        ] {
            let yaml = format!("monitor:\n  targets: {targets}");
            assert_eq!(lines(&yaml), expected, "{yaml}");
        }
    }

    /// It was read again for each of them, which took a minute for as many as a file can hold.
    #[test]
    fn a_thousand_targets_are_read_in_one_go() {
        let target = |n| format!("  - {{ lv_path: vg/lv{n}, mount_point: /srv/{n} }}\n");
        let yaml = format!("monitor:\n  targets:\n{}", (0..2000).map(target).collect::<String>());
        let begun = Instant::now();
        assert_eq!(lines(&yaml), (3..2003).collect::<Vec<_>>());
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    }
}
