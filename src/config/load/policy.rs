//! `policies`: what each selects, and that a person can tell which of them decides.

use super::target::{For, target};
use crate::config::file::{Wrong, missing, twice, wrong};
use crate::config::locate::PathPart;
use crate::config::{Policy, Selected, Selector, raw};
use crate::filesystem::FsKind;

fn at(index: usize, keys: &[&'static str]) -> Vec<PathPart> {
    let policy = [PathPart::Key("policies"), PathPart::Item(index)];
    policy.into_iter().chain(keys.iter().map(|key| PathPart::Key(key))).collect()
}

pub(super) fn policies(raw: Vec<raw::Policy>, defaults: &raw::Target) -> Result<Vec<Policy>, Wrong> {
    let mut policies: Vec<Policy> = Vec::new();
    for (index, raw::Policy { name, selects, target: keys }) in raw.into_iter().enumerate() {
        let Some(name) = name else {
            return missing(at(index, &[]), &["name"], "name is missing, expected one such as databases");
        };
        let Some(selects) = selects else {
            let expected = "match is missing, expected what the policy selects, such as { vg: data }";
            return missing(at(index, &[]), &["match"], expected);
        };
        if let Some(first) = policies.iter().position(|other| other.name == name) {
            return twice(at(index, &["name"]), at(first, &["name"]), format!("{name} is named twice"));
        }
        let selects = selector(selects, index)?;
        if let Some(first) = policies.iter().find(|other| other.selects == selects) {
            let message = format!("is the same as that of {}, which comes first and decides", first.name);
            return wrong(at(index, &["match"]), message);
        }
        let pools = matches!(selects.what, Selected::ThinPools(_));
        let keys = target(keys, defaults, &at(index, &[]), &For::Policy { name: name.clone(), pools })?;
        policies.push(Policy { name, selects, keys });
    }
    Ok(policies)
}

fn selector(raw: raw::Selects, index: usize) -> Result<Selector, Wrong> {
    let raw::Selects { vg, lv, thin_pool, mount_point, fs, tag } = raw;
    let at = |key| at(index, &["match", key]);
    // A restored or attached image brings its tags along.
    if tag.is_some() && vg.is_any() {
        let message =
            "matches any group, and with `tag` it must name groups: a disk that is attached brings its tags along";
        return wrong(at("vg"), message);
    }
    let what = match thin_pool {
        Some(pool) => {
            let others = [("lv", lv.is_some()), ("mount_point", mount_point.is_some()), ("fs", fs.is_some())];
            if let Some((key, _)) = others.into_iter().find(|(_, given)| *given) {
                return wrong(at(key), "is for file systems, and thin_pool selects thin pools");
            }
            Selected::ThinPools(pool)
        }
        None => {
            let mut unknown = fs.iter().flatten().filter(|name| FsKind::from_name(name).is_none());
            if let Some(name) = unknown.next() {
                let message =
                    format!("{name:?} is not a file system that can grow, expected some of {}", FsKind::names());
                return wrong(at("fs"), message);
            }
            if fs.as_ref().is_some_and(Vec::is_empty) {
                return wrong(at("fs"), "is empty, so nothing would match: leave it out to select any file system");
            }
            Selected::FileSystems { lv, mount_point, fs: fs.unwrap_or_default() }
        }
    };
    Ok(Selector { vg, what, tag })
}

#[cfg(test)]
mod tests {
    /// What is found wrong with a policy that matches so.
    fn wrong(selects: &str) -> String {
        let yaml = format!("policies: [{{ name: p, match: {{ {selects} }}, max_size: 1GiB }}]");
        let read = crate::config::parse(&yaml, "c.yaml".as_ref());
        read.map_or_else(|error| error.to_string(), |_| "nothing".to_owned())
    }

    /// A policy that forbids something must not look as if it did.
    #[test]
    fn what_can_never_match_is_an_error() {
        for (selects, says) in [
            ("vg: vg, lv: \"pg\\u202e*\"", "is not the name of a volume"),
            ("vg: vg, lv: 'pg *'", "is not the name of a volume"),
            ("vg: vg, mount_point: /srv/../etc", "has . or .. in it"),
            ("vg: vg, mount_point: /srv/./*", "has . or .. in it"),
            ("vg: vg, mount_point: \"/srv\\t*\"", "has a control character in it"),
            ("vg: '?*', tag: x", "it must name groups"),
        ] {
            assert!(wrong(selects).contains(says), "{selects}: {}", wrong(selects));
        }
        for selects in ["vg: vg, lv: 'pg_[0-9]{,-old}'", "vg: vg, mount_point: '/srv/a b/.x/*'", "vg: 'vg?', tag: x"] {
            assert_eq!(wrong(selects), "nothing", "{selects}");
        }
    }
}
