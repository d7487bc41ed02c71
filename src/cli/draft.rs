//! A config for a host as `init` finds it: what can grow as targets that recommend, what cannot as comments.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use anyhow::Context as _;

use crate::config::{self, Config};
use crate::host::{Focus, Host, look};
use crate::inventory::{FileSystem, Inventory, Lv, Vg};
use crate::name::{LvRef, MountPoint, VgName};
use crate::plan::{Code, Evaluation, History, Wish, plan_for};
use crate::units::{Bytes, GIB, MIB, Percent};

/// Comments are broken there.
const WIDTH: usize = 110;
/// The share of a group that is proposed as its reserve, in percent.
const RESERVE: u64 = 10;
/// Where no volume is mounted: a target needs a mount point, also one that is only asked about.
const NOWHERE: &str = "/mounted/nowhere/by/lvm-autoscaler";

/// What is to be written.
#[derive(Debug, Default)]
pub(super) struct Draft {
    /// The host's name.
    host: String,
    /// Policies are written, not targets.
    by_policy: bool,
    groups: Vec<Group>,
    proposals: Vec<Proposal>,
    /// Volumes that cannot grow, each with the reason.
    left_out: Vec<(String, String)>,
}

/// An entry of `volume_groups`.
#[derive(Debug, Clone)]
struct Group {
    name: VgName,
    size: Bytes,
    free: Bytes,
    /// As it is written.
    reserve: String,
    why: String,
    /// What is left for growth.
    room: Bytes,
}

/// A target.
#[derive(Debug, Clone)]
struct Proposal {
    lv: LvRef,
    /// `None`: a thin pool.
    mount_point: Option<MountPoint>,
    /// Sentences of the comment above it.
    facts: Vec<String>,
    max_size: Bytes,
    /// Why this `max_size`.
    why: String,
}

impl Draft {
    /// Looks at a host.
    pub(super) fn of(host: &dyn Host, name: String, by_policy: bool) -> anyhow::Result<Draft> {
        let everything = look(host, Focus::Everything)?;
        let mut draft = Draft { host: name, by_policy, ..Draft::default() };
        draft.groups = everything.vgs.iter().filter_map(Group::of).collect();
        for lv in everything.lvs.iter().filter(|lv| !lv.hidden) {
            let group = draft.groups.iter().find(|group| group.name == lv.name.vg).cloned();
            match Proposal::of(lv, group.as_ref(), host, &everything)? {
                Ok(proposal) => draft.proposals.push(proposal),
                Err(why) => draft.left_out.push((lv.name.to_string(), why)),
            }
        }
        let has_target = |group: &Group| draft.proposals.iter().any(|proposal| proposal.lv.vg == group.name);
        draft.groups.retain(has_target);
        // Whatever names the host has: what is written is a config, and one in which nothing acts.
        config::parse(&draft.render(), Path::new("the proposal")).context("no config can be written for this host")?;
        Ok(draft)
    }

    /// How many targets it has.
    pub(super) fn targets(&self) -> usize {
        self.proposals.len()
    }

    /// The config.
    pub(super) fn render(&self) -> String {
        let mut text =
            format!("# lvm-autoscaler on {}, proposed by `lvm-autoscaler init`.\n#\n", crate::plain(&self.host));
        text.push_str(match self.proposals.is_empty() {
            true if self.left_out.is_empty() => {
                "# There are no logical volumes on this host, so nothing can grow. This config only exports metrics.\n"
            }
            true => "# Nothing on this host can grow; the reasons are below. This config only exports metrics.\n",
            false => {
                "# Nothing grows yet: with `mode: recommend` the daemon decides, records and counts what it would do, and changes
# nothing. max_size and reserve are proposals, with their reasons beside them. Once you have read them:
#
#   lvm-autoscaler check-config --live         compares this file with the host
#   lvm-autoscaler targets                     shows what may grow, with all keys, and what would be done now
#   systemctl reload lvm-autoscaler            puts it in force
#   lvm-autoscaler history                     shows what was recommended
#
# When the decisions convince you, write `mode: act` instead and reload again.
"
            }
        });
        text.push_str("# lvm-autoscaler-config(5) describes every key.\n\n");
        if !self.proposals.is_empty() {
            text.push_str(
                "defaults:
  threshold_percent: 80 # grow when usage, as df shows it, is above this
  increment: 10%        # by so much of the volume, at least 1GiB and at most 100GiB
\nvolume_groups:\n",
            );
        }
        for group in &self.groups {
            comment(&mut text, "  ", &format!("{} has {}, {} of it free.", group.name, group.size, group.free));
            let _ = writeln!(text, "  - name: {}", scalar(group.name.as_str()));
            comment(&mut text, "    ", &group.why);
            let _ = writeln!(text, "    reserve: {}", group.reserve);
        }
        if self.by_policy && !self.proposals.is_empty() {
            text.push_str("\npolicies: # the first that matches a volume decides about it, whenever that was made\n");
            let mut names: BTreeSet<String> = self.groups.iter().map(|group| group.name.to_string()).collect();
            self.groups.iter().for_each(|group| self.policies(&mut text, group, &mut names));
        }
        let blank = if self.groups.is_empty() { "" } else { "\n" };
        let _ = writeln!(text, "{blank}monitor:");
        match self.proposals.is_empty() {
            true => text.push_str("  targets: []\n"),
            false => {
                text.push_str(
                    "  # interval_seconds: 60 # also look without an alert; without it only alerts are acted upon\n",
                );
                text.push_str(if self.by_policy { "  targets: []\n" } else { "  targets:\n" });
            }
        }
        for proposal in self.proposals.iter().filter(|_| !self.by_policy) {
            comment(&mut text, "    ", &proposal.facts.join(" "));
            match &proposal.mount_point {
                Some(point) => {
                    let _ = writeln!(text, "    - lv_path: {}", scalar(&format!("/dev/{}", proposal.lv)));
                    let _ = writeln!(text, "      mount_point: {}", scalar(point.as_str()));
                }
                None => {
                    let _ = writeln!(text, "    - thin_pool: {}", scalar(&proposal.lv.to_string()));
                }
            }
            let _ = writeln!(text, "      max_size: {} # {}", proposal.max_size.in_config(), proposal.why);
            text.push_str("      mode: recommend\n");
        }
        if !self.left_out.is_empty() {
            text.push_str(match self.by_policy {
                true => "\n# What cannot grow now:\n#\n",
                false => "\n# Not among the targets, because it cannot grow:\n#\n",
            });
        }
        for (lv, why) in &self.left_out {
            let why = if why.starts_with(lv) { why.clone() } else { format!("{lv}: {why}") };
            comment(&mut text, "", &format!("- {why}"));
        }
        text
    }

    /// One for the file systems of a group, and one for its thin pools, as far as there are any. `names` are taken.
    fn policies(&self, text: &mut String, group: &Group, names: &mut BTreeSet<String>) {
        for pools in [false, true] {
            let of = self.proposals.iter().filter(|of| of.lv.vg == group.name && of.mount_point.is_none() == pools);
            let of: Vec<&Proposal> = of.collect();
            let Some(largest) = of.iter().max_by_key(|of| of.max_size) else { continue };
            let what = if pools { "thin pool" } else { "file system" };
            let plural = if of.len() == 1 { "" } else { "s" };
            comment(text, "  ", &format!("{} {what}{plural} of {} now:", of.len(), group.name));
            for proposal in &of {
                let place = proposal.mount_point.as_ref().map_or(String::new(), |point| format!(" at {point}"));
                comment(text, "  ", &format!("- {}{place}: {}", proposal.lv.lv, proposal.facts.join(" ")));
            }
            let name = group.name.as_str();
            let own = if pools { name_for_pools(name, names) } else { name.to_owned() };
            let _ = writeln!(text, "  - name: {}", scalar(&own));
            let selects = if pools { ", thin_pool: \"*\"" } else { "" };
            let _ = writeln!(text, "    match: {{ vg: {}{selects} }}", scalar(name));
            let (max, lv) = (largest.max_size.in_config(), &largest.lv.lv);
            let _ = writeln!(text, "    max_size: {max} # of each; for {lv} {}", largest.why);
            text.push_str("    mode: recommend\n");
        }
    }
}

impl Group {
    fn of(vg: &Vg) -> Option<Group> {
        let (size, free) = (vg.size?, vg.free?);
        let share = Percent::of(RESERVE, 100).share_of(size);
        let purpose = "stay free for snapshots, repairs and emergencies";
        let (reserve, kept, why) = if free.0 < GIB {
            let why =
                format!("Too little is free for one step: extend the group first. Of what is added {share} {purpose}.");
            (format!("{RESERVE}%"), share, why)
        } else if free.0 >= share.0.saturating_mul(2) {
            (format!("{RESERVE}%"), share, format!("{share} {purpose}; growth never takes them."))
        } else {
            // The usual reserve would be most of the free space.
            let half = Bytes(free.0 / 2 / MIB * MIB);
            let why = format!("{half}, half of the free space, {purpose}: {RESERVE} % of the group would be {share}.");
            (half.in_config(), half, why)
        };
        Some(Group { name: vg.name.clone(), size, free, reserve, why, room: free.saturating_sub(kept) })
    }
}

impl Proposal {
    /// A target, or why the volume cannot be one.
    fn of(
        lv: &Lv,
        group: Option<&Group>,
        host: &dyn Host,
        everything: &Inventory,
    ) -> anyhow::Result<Result<Proposal, String>> {
        let Some((group, size)) = group.zip(lv.size) else {
            return Ok(Err("LVM did not report its size, or that of its group".to_owned()));
        };
        if lv.is_role("snapshot") {
            return Ok(Err("is a snapshot".to_owned()));
        }
        let is_pool = lv.is_layout("thin") && lv.is_layout("pool");
        let mounts: Vec<&FileSystem> = everything.filesystems_on(lv).filter(|fs| is_seen(fs, everything)).collect();
        // A bind mount shows a part of it.
        let fs = mounts.iter().find(|fs| fs.mount.root == "/").or(mounts.first()).copied();
        let nowhere: MountPoint = NOWHERE.parse()?;
        let point = fs.map_or(&nowhere, |fs| &fs.mount.mount_point);
        let mount_point = (!is_pool).then(|| point.clone());
        let mut proposal =
            Proposal { lv: lv.name.clone(), mount_point, facts: vec![], max_size: size, why: String::new() };
        proposal.limit(lv, size, group);
        let evaluation = proposal.evaluate(group, host)?;
        let refusal = evaluation.decision.as_ref().err();
        match refusal {
            Some(no) if no.code == Code::NotMounted && fs.is_none() => {
                return Ok(Err("no file system on it is mounted".to_owned()));
            }
            Some(no) if lasts(no.code) => return Ok(Err(no.sentence.clone())),
            _ => {}
        }
        proposal.facts = match fs.filter(|_| !is_pool) {
            Some(fs) => facts(lv, size, fs, mounts.iter().filter(|other| !std::ptr::eq(**other, fs))),
            None => facts_of_pool(lv, size, everything),
        };
        proposal.facts.extend(refusal.map(|no| format!("It could not grow now: {}.", no.sentence)));
        let pool = evaluation.pool.as_ref().map(|(pool, _)| pool);
        proposal.facts.extend(pool.map(|pool| format!("With `mode: act` {pool} would grow first.")));
        Ok(Ok(proposal))
    }

    fn limit(&mut self, lv: &Lv, size: Bytes, group: &Group) {
        // Whole extents of any size that is usual, and a number that a person would write.
        let unit = if size.0 >= GIB { GIB } else { MIB };
        let step = Bytes((size.0 / 10).clamp(GIB, 100 * GIB));
        let twice = Bytes(size.0.saturating_add(size.0.max(step.0)).div_ceil(unit) * unit);
        let all = Bytes(size.0.saturating_add(group.room.0) / unit * unit);
        let is_thin = lv.is_layout("thin") && !lv.is_layout("pool");
        (self.max_size, self.why) = if is_thin || twice <= all || all.0 < size.0.saturating_add(GIB) {
            let times = if twice.0 == size.0 * 2 { "twice" } else { "about twice" };
            let times = if twice.0 > size.0.saturating_mul(3) { "one step more than" } else { times };
            (twice, format!("{times} its size now: a person should look before it becomes larger"))
        } else {
            (all, format!("all that {} can give now", group.name))
        };
    }

    /// What would be decided if a person asked for it to grow.
    fn evaluate(&self, group: &Group, host: &dyn Host) -> anyhow::Result<Evaluation> {
        let draft = Draft { groups: vec![group.clone()], proposals: vec![self.clone()], ..Draft::default() };
        let config: Config = config::parse(&draft.render(), Path::new("the proposal"))
            .with_context(|| format!("no target can be written for {}", self.lv))?;
        let target = config.targets.first().context("no target")?;
        let inventory = look(host, Focus::Volume(&self.lv))?;
        let wish = Wish::Person { by: None };
        Ok(plan_for(wish, target, &inventory, &config, &History::default(), host.moment()))
    }
}

/// Whether the mount is what is seen at its path, and that can be written in a config.
fn is_seen(fs: &FileSystem, everything: &Inventory) -> bool {
    let point = &fs.mount.mount_point;
    let is_text = point.as_path() == Path::new(point.as_str()) && crate::plain(point.as_str()) == point.as_str();
    is_text && everything.mount_at(point) == Some(&fs.mount)
}

/// Whether a person would have to make it another volume: everything else is over when it is repaired, or has room.
fn lasts(code: Code) -> bool {
    matches!(
        code,
        Code::UnknownTarget
            | Code::VgExported
            | Code::VgForeign
            | Code::VgShared
            | Code::VgReadOnly
            | Code::LvInactive
            | Code::LvReadOnly
            | Code::LayeredDevice
            | Code::NotMounted
            | Code::DeviceMismatch
            | Code::FsUnsupported
            | Code::FsReadOnly
    )
}

fn facts<'a>(lv: &Lv, size: Bytes, fs: &FileSystem, others: impl Iterator<Item = &'a &'a FileSystem>) -> Vec<String> {
    let thin = lv.pool.as_ref().map_or(String::new(), |pool| format!(" in the thin pool {pool}"));
    let used = fs.usage.map_or("its usage cannot be read".to_owned(), |usage| format!("{} full", usage.percent()));
    let mut facts = vec![format!("{}, {size}{thin}, {used}.", fs.mount.fs_type)];
    let fixed = fs.kind().is_some_and(|kind| kind.about().has_fixed_inodes);
    let inodes = fs.usage.and_then(|usage| usage.inode_percent()).filter(|inodes| fixed && inodes.value() > 50.0);
    facts.extend(inodes.map(|inodes| format!("{inodes} of its inodes are used.")));
    let others: Vec<&str> = others.map(|other| other.mount.mount_point.as_str()).collect();
    if !others.is_empty() {
        facts.push(format!("Also mounted at {}.", others.join(", ")));
    }
    facts
}

fn facts_of_pool(pool: &Lv, size: Bytes, everything: &Inventory) -> Vec<String> {
    let shown = |percent: Option<Percent>| percent.map_or("unknown".to_owned(), |percent| percent.to_string());
    let sizes: Vec<u64> = everything.volumes_of(pool).filter_map(|lv| Some(lv.size?.0)).collect();
    let (count, promised) = (sizes.len(), Bytes(sizes.iter().sum()));
    let volumes = if count == 1 { "volume" } else { "volumes" };
    let (data, metadata) = (shown(pool.data_percent), shown(pool.metadata_percent));
    vec![format!("Thin pool, {size}, data {data} full, metadata {metadata} full; {count} {volumes} of {promised}.")]
}

/// A name for the policy of a group's pools that no other has; a group may have the longest name that there is.
fn name_for_pools(group: &str, names: &mut BTreeSet<String>) -> String {
    let begin: String = group.chars().take(100).collect();
    let mut name = format!("{begin}-pools");
    let mut number = 2;
    while !names.insert(name.clone()) {
        name = format!("{begin}-pools-{number}");
        number += 1;
    }
    name
}

/// A comment, broken between words.
fn comment(text: &mut String, indent: &str, sentences: &str) {
    let mut line = String::new();
    for word in crate::plain(sentences).split(' ') {
        // A number and its percent sign stay together.
        if !line.is_empty() && word != "%" && indent.len() + line.chars().count() + word.chars().count() > WIDTH {
            let _ = writeln!(text, "{indent}#{line}");
            line.clear();
        }
        let _ = write!(line, " {word}");
    }
    let _ = writeln!(text, "{indent}#{line}");
}

/// Text as YAML, in quotes where it would be something else without them.
fn scalar(text: &str) -> String {
    serde_yaml::to_string(text).map_or_else(|_| format!("{text:?}"), |yaml| yaml.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_name_is_read_as_it_is() {
        for name in
            ["/data", "/a b", "/a: b", "/a #b", "/ä", "/it's", "/\"x\"", "/a,b", "/{x}", "/x:", "/- x", "null", "007"]
        {
            let yaml = format!("key: {}\n", scalar(name));
            let read: std::collections::BTreeMap<String, String> = serde_yaml::from_str(&yaml).expect(&yaml);
            assert_eq!(read["key"], name, "{yaml}");
        }
    }
}
