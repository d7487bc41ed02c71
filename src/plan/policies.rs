//! What policies select on a host: a function of a config and a look, done again with each look, so that a volume that
//! was made a minute ago is a target, and one that is gone or was renamed is none.

use std::path::Path;
use std::sync::Arc;

use crate::config::near::slips;
use crate::config::{Config, Policy, Selected, Target};
use crate::inventory::{FileSystem, FsKind, Inventory, Lv, Mount};
use crate::name::{LvRef, MountPoint};

/// What a policy makes of a volume that it selects.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Choice {
    /// A target.
    Target(Box<Target>),
    /// Nothing: its file system is mounted in several places with different options, and the policy does not say which
    /// of them counts.
    Unclear {
        /// The volume.
        lv: LvRef,
        /// The policy's name.
        policy: String,
        /// The places.
        points: Vec<MountPoint>,
    },
}

impl Choice {
    fn target(self) -> Option<Target> {
        match self {
            Choice::Target(target) => Some(*target),
            Choice::Unclear { .. } => None,
        }
    }
}

/// The config with the targets that its policies select on a host, from a look at everything.
pub fn applied(config: &Arc<Config>, inventory: &Inventory) -> Arc<Config> {
    if config.policies.is_empty() {
        return Arc::clone(config);
    }
    let selected = choices(config, inventory).into_iter().filter_map(Choice::target);
    let targets: Vec<Target> = config.named().cloned().chain(selected).collect();
    with(config, targets)
}

/// The same for one volume and the thin pools of its group, from a look at it; all other targets stay as they are.
pub fn applied_to(config: &Arc<Config>, inventory: &Inventory, lv: &LvRef) -> Arc<Config> {
    if config.policies.is_empty() {
        return Arc::clone(config);
    }
    let is_seen = |other: &Lv| &other.name == lv || other.name.vg == lv.vg && is_thin_pool(other);
    let seen: Vec<&Lv> = inventory.lvs.iter().filter(|other| is_seen(other)).collect();
    let is_old = |target: &&Target| {
        let is_seen = &target.lv == lv || seen.iter().any(|lv| lv.name == target.lv);
        target.origin.policy.is_none() || !is_seen
    };
    let selected = seen.iter().filter_map(|lv| choice(config, inventory, lv)?.target());
    let targets: Vec<Target> = config.targets.iter().filter(is_old).cloned().chain(selected).collect();
    with(config, targets)
}

/// Another one only where that makes a difference: who compares sees at once whether it does.
fn with(config: &Arc<Config>, targets: Vec<Target>) -> Arc<Config> {
    match targets == config.targets {
        true => Arc::clone(config),
        false => Arc::new(Config { targets, ..Config::clone(config) }),
    }
}

/// What policies make of all volumes.
pub(super) fn choices(config: &Config, inventory: &Inventory) -> Vec<Choice> {
    inventory.lvs.iter().filter_map(|lv| choice(config, inventory, lv)).collect()
}

fn choice(config: &Config, inventory: &Inventory, lv: &Lv) -> Option<Choice> {
    if config.policies.is_empty() || lv.hidden || lv.is_role("snapshot") {
        return None;
    }
    // Neither one of two with the same name, nor what belongs to nobody or to another host.
    let vg = inventory.lv(&lv.name).and_then(|lv| inventory.vg(&lv.name.vg))?;
    let is_foreign = inventory.system_id.as_ref().is_some_and(|own| !vg.system_id.is_empty() && own != &vg.system_id);
    if is_foreign || vg.exported == Some(true) || config.named().any(|target| target.lv == lv.name) {
        return None;
    }
    let mounts = mounts(config, inventory, lv);
    config.policies.iter().find_map(|policy| selected(policy, lv, &mounts))
}

fn is_thin_pool(lv: &Lv) -> bool {
    lv.is_layout("thin") && lv.is_layout("pool")
}

/// Where the file system of a volume is mounted and seen; nowhere if an entry of `monitor.targets` expects another at
/// one of these places, for it may be this one with its name misspelt.
fn mounts<'a>(config: &Config, inventory: &'a Inventory, lv: &'a Lv) -> Vec<&'a FileSystem> {
    let mounts: Vec<&FileSystem> = inventory.filesystems_on(lv).collect();
    let is_anothers = |fs: &&FileSystem| config.named().any(|of| of.mount_point() == Some(&fs.mount.mount_point));
    if mounts.iter().any(is_anothers) {
        return vec![];
    }
    let is_seen = |fs: &&FileSystem| {
        let point = &fs.mount.mount_point;
        let is_text = point.as_path() == Path::new(point.as_str());
        is_text && inventory.mount_at(point) == Some(&fs.mount)
    };
    let mounts: Vec<&FileSystem> = mounts.into_iter().filter(is_seen).collect();
    // A bind mount of a folder is no place of its own, unless there is no other.
    let whole: Vec<&FileSystem> = mounts.iter().filter(|fs| is_whole(&fs.mount)).copied().collect();
    if whole.is_empty() { mounts } else { whole }
}

/// Whether all of a file system is seen there, or of a btrfs all of a subvolume, which is one for whoever mounted it.
fn is_whole(mount: &Mount) -> bool {
    let is_its = |option: &str| option.strip_prefix("subvol=") == Some(&mount.root);
    mount.root == "/" || mount.options.split(',').any(is_its)
}

fn selected(policy: &Policy, lv: &Lv, mounts: &[&FileSystem]) -> Option<Choice> {
    let (name, selects) = (lv.name.lv.as_str(), &policy.selects);
    let has_tag = |tag: &String| lv.tags.split(',').any(|own| own == tag);
    if !selects.vg.matches(&lv.name.vg) || !selects.tag.iter().all(has_tag) {
        return None;
    }
    let (by_name, mount_point, fs) = match &selects.what {
        Selected::ThinPools(pool) => {
            let is_meant = is_thin_pool(lv) && pool.matches(name);
            return is_meant.then(|| Choice::Target(Box::new(policy.target(&lv.name, None))));
        }
        Selected::FileSystems { lv, mount_point, fs } => (lv, mount_point, fs),
    };
    if is_thin_pool(lv) || !by_name.iter().all(|glob| glob.matches(name)) {
        return None;
    }
    let is_meant = |seen: &&&FileSystem| {
        let mount = &seen.mount;
        let at_place = mount_point.iter().all(|glob| glob.matches(mount.mount_point.as_str()));
        let can_grow =
            if fs.is_empty() { FsKind::from_name(&mount.fs_type).is_some() } else { fs.contains(&mount.fs_type) };
        at_place && can_grow
    };
    let meant: Vec<&FileSystem> = mounts.iter().filter(is_meant).copied().collect();
    let (first, others) = meant.split_first()?;
    let how = |fs: &FileSystem| (fs.mount.read_only, fs.mount.root.clone(), fs.mount.options.clone());
    if others.iter().any(|other| how(other) != how(first)) {
        let points = meant.iter().map(|fs| fs.mount.mount_point.clone()).collect();
        return Some(Choice::Unclear { lv: lv.name.clone(), policy: policy.name.clone(), points });
    }
    Some(Choice::Target(Box::new(policy.target(&lv.name, Some(&first.mount.mount_point)))))
}

/// A name in the config that was perhaps not meant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Misspelt {
    /// Where it stands.
    pub(crate) entry: Entry,
    /// What is odd and what to do.
    pub(crate) sentence: String,
}

/// An entry of the config, by its place in the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Entry {
    /// Of `monitor.targets`.
    Target(usize),
    /// Of `policies`.
    Policy(usize),
}

/// A name in a policy that differs by a slip from what a later policy selects: perhaps the earlier one was meant to
/// decide about that. Names that are on the host, and patterns, mean what they say; so do those that tell two things
/// apart which the policies both name. The same holds for an entry of `monitor.targets`, which comes before all
/// policies.
pub(crate) fn misspelt(target: &Target, config: &Config, inventory: &Inventory) -> Option<Misspelt> {
    let of = target.origin.policy.as_ref()?;
    let at = config.policies.iter().position(|policy| &policy.name == of)?;
    let literals = |policy: &Policy| {
        let (lv, point) = match &policy.selects.what {
            Selected::FileSystems { lv, mount_point, .. } => (lv.as_ref(), mount_point.as_ref()),
            Selected::ThinPools(pool) => (Some(pool), None),
        };
        let vg = policy.selects.vg.one().map(ToString::to_string);
        let text = |glob: Option<&crate::config::Glob>| glob.and_then(|glob| glob.literal()).map(str::to_owned);
        [("vg", vg), ("lv", text(lv)), ("mount_point", text(point))]
    };
    let point = target.mount_point().map(ToString::to_string);
    let has = [Some(target.lv.vg.to_string()), Some(target.lv.lv.to_string()), point];
    let is_named = |key: usize, name: &str| {
        config.policies.iter().any(|policy| literals(policy).get(key).and_then(|(_, own)| own.as_deref()) == Some(name))
    };
    let is_here = |key: usize, name: &str| match key {
        0 => inventory.vgs.iter().any(|vg| vg.name.as_str() == name),
        1 => inventory.lvs.iter().any(|lv| lv.name.vg == target.lv.vg && lv.name.lv.as_str() == name),
        _ => inventory.mounts.iter().any(|mount| mount.mount_point.as_str() == name),
    };
    for (index, policy) in config.policies.iter().take(at).enumerate() {
        let named = literals(policy);
        // The other names must be its own, or it was not meant in any case.
        let others_fit = |except: usize| {
            let mut keys = named.iter().enumerate().filter(|(key, _)| *key != except);
            keys.all(|(key, (_, name))| name.is_none() || name.as_ref() == has[key].as_ref())
                && (except == 0 || policy.selects.vg.matches(&target.lv.vg))
        };
        for (key, (word, name)) in named.iter().enumerate() {
            let (Some(name), Some(has)) = (name, &has[key]) else { continue };
            let is_slip = !slips(name, [has.as_str()].into_iter()).is_empty();
            if is_slip && !is_here(key, name) && !is_named(key, has) && others_fit(key) {
                let sentence = format!(
                    "`{word}: {name}` of the policy {} is not on this host and looks like {has}, which {of} selects: correct the \
                     name, or name {has} in a policy of its own",
                    policy.name
                );
                return Some(Misspelt { entry: Entry::Policy(index), sentence });
            }
        }
    }
    if is_named(1, target.lv.lv.as_str()) {
        return None;
    }
    let is_meant = |(_, other): &(usize, &Target)| {
        let slip = |name: &str, of: &str| !slips(name, [of].into_iter()).is_empty();
        let (own, named) = (&target.lv, &other.lv);
        let is_slip = named.vg == own.vg && slip(named.lv.as_str(), own.lv.as_str())
            || named.lv == own.lv && slip(named.vg.as_str(), own.vg.as_str());
        let is_of_its_kind = other.file_system().is_some() == target.file_system().is_some();
        is_slip && is_of_its_kind && !inventory.lvs.iter().any(|lv| &lv.name == named)
    };
    let (index, named) = config.named().enumerate().find(is_meant)?;
    let sentence = format!(
        "{} of monitor.targets is not on this host and looks like {}, which {of} selects: correct the name, or name {} in a policy \
         of its own",
        named.lv, target.lv, target.lv.lv
    );
    Some(Misspelt { entry: Entry::Target(index), sentence })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::{lvm, mounts};
    use jiff::Timestamp;

    /// A volume `vg/a` with an ext4 that is mounted so: path, the folder of it that is seen there, `rw` or `ro`.
    fn host(places: &[(&str, &str, &str)], tags: &str) -> Inventory {
        let report = format!(
            r#"{{"report":[{{"vg":[{{"vg_name":"vg"}}],"lv":[{{"lv_name":"a","lv_kernel_major":"253","lv_kernel_minor":"0",
                "lv_layout":"linear","lv_role":"public","lv_tags":"{tags}"}}]}}]}}"#
        );
        let mut inventory = lvm::parse(report.as_bytes(), Timestamp::UNIX_EPOCH).expect("a report");
        let line = |(number, (point, root, how)): (usize, &(&str, &str, &str))| {
            format!("{number} 1 253:0 {root} {point} {how} - ext4 /dev/mapper/vg-a rw\n")
        };
        let table: String = places.iter().enumerate().map(line).collect();
        inventory.mounts = mounts::parse(table.as_bytes()).0;
        inventory.filesystems = inventory.mounts.iter().cloned().map(only_mounted).collect();
        inventory
    }

    fn only_mounted(mount: crate::inventory::Mount) -> FileSystem {
        FileSystem {
            mount,
            usage: None,
            usage_device: None,
            superblock: None,
            errors: None,
            signature: None,
            outdated_copies: None,
            frozen: None,
            exclusive_operation: None,
            stray_name: None,
        }
    }

    /// The mount points of the target that these policies make of the volume, or why it is none.
    fn made(policies: &str, inventory: &Inventory) -> String {
        let yaml = format!("defaults: {{ max_size: 1TiB }}\n{policies}");
        let config = crate::config::parse(&yaml, "c.yaml".as_ref()).expect("valid");
        match choices(&config, inventory).as_slice() {
            [] => "nothing".to_owned(),
            [Choice::Target(target)] => {
                let policy = target.origin.policy.as_deref().unwrap_or("?");
                format!("{} at {}", policy, target.mount_point().expect("a file system"))
            }
            [Choice::Unclear { points, .. }] => format!("unclear: {}", points.len()),
            more => panic!("{more:?}"),
        }
    }

    #[test]
    fn where_a_file_system_is_mounted_in_several_places_the_policy_says_which_counts() {
        let any = "policies: [{ name: p, match: { vg: vg } }]";
        let below_srv = "policies: [{ name: p, match: { vg: vg, mount_point: /srv/** } }]";
        let never = "policies: [{ name: never, match: { vg: vg, mount_point: /ro }, mode: 'off' }, { name: p, match: { vg: vg } }]";
        for (places, policies, expected) in [
            (&[("/srv", "/", "rw")][..], any, "p at /srv"),
            (&[("/srv", "/", "rw"), ("/two", "/", "rw")], any, "p at /srv"),
            (&[("/srv", "/", "rw"), ("/ro", "/", "ro")], any, "unclear: 2"),
            (&[("/ro", "/", "ro"), ("/srv", "/", "rw")], below_srv, "p at /srv"),
            (&[("/srv", "/", "rw"), ("/ro", "/", "ro")], never, "never at /ro"),
            // A bind mount of a folder is no place of its own, but where there is no other.
            (&[("/srv", "/", "rw"), ("/chroot", "/lib", "ro")], any, "p at /srv"),
            (&[("/chroot", "/lib", "rw")], any, "p at /chroot"),
            (&[("/chroot", "/lib", "rw"), ("/home", "/home", "rw")], any, "unclear: 2"),
            (&[], any, "nothing"),
        ] {
            assert_eq!(made(policies, &host(places, "")), expected, "{places:?} {policies}");
        }
        // What is mounted over is not seen.
        let mut inventory = host(&[("/srv", "/", "rw")], "");
        inventory.mounts.push(mounts::parse(b"9 1 8:1 / /srv rw - ext4 /dev/sda1 rw\n").0.remove(0));
        assert_eq!(made(any, &inventory), "nothing");
    }

    /// The same with a btrfs: path, subvolume, and the folder of the file system that is seen there.
    fn btrfs(places: &[(&str, &str, &str)]) -> Inventory {
        let mut inventory = host(&[], "");
        let line = |(number, (point, subvolume, root)): (usize, &(&str, &str, &str))| {
            format!("{number} 1 253:0 {root} {point} rw - btrfs /dev/mapper/vg-a rw,subvolid=5,subvol={subvolume}\n")
        };
        let table: String = places.iter().enumerate().map(line).collect();
        inventory.mounts = mounts::parse(table.as_bytes()).0;
        inventory.filesystems = inventory.mounts.iter().cloned().map(only_mounted).collect();
        inventory
    }

    /// A tool that makes snapshots mounts the whole for a while: that must not take the subvolumes away from the policy
    /// that names their places.
    #[test]
    fn a_subvolume_is_a_place_of_its_own_and_a_folder_of_one_is_not() {
        let homes = "policies: [{ name: homes, match: { vg: vg, mount_point: /home }, mode: 'off' }, { name: p, match: { vg: vg } }]";
        let any = "policies: [{ name: p, match: { vg: vg } }]";
        let (home, whole) = (("/home", "/@home", "/@home"), ("/mnt/whole", "/", "/"));
        let folder = ("/var/lib/x", "/@home", "/@home/x");
        for (places, policies, expected) in [
            (&[home][..], homes, "homes at /home"),
            (&[home, whole], homes, "homes at /home"),
            (&[whole, home], homes, "homes at /home"),
            (&[home, folder], homes, "homes at /home"),
            (&[home, folder], any, "p at /home"),
            (&[home, ("/", "/@", "/@")], any, "unclear: 2"),
            (&[home, whole], any, "unclear: 2"),
            (&[whole, ("/var/lib/x", "/", "/x")], any, "p at /mnt/whole"),
        ] {
            assert_eq!(made(policies, &btrfs(places)), expected, "{places:?} {policies}");
        }
    }

    #[test]
    fn a_target_that_is_named_comes_before_policies_and_so_does_its_place() {
        let any = "policies: [{ name: p, match: { vg: vg } }]\n";
        let named = |lv: &str, point: &str| {
            format!("{any}monitor: {{ targets: [{{ lv_path: vg/{lv}, mount_point: {point} }}] }}")
        };
        let host = host(&[("/srv", "/", "rw")], "");
        assert_eq!(made(&named("a", "/srv"), &host), "nothing");
        assert_eq!(made(&named("a", "/elsewhere"), &host), "nothing");
        // Another volume is expected there.
        assert_eq!(made(&named("b", "/srv"), &host), "nothing");
        assert_eq!(made(&named("b", "/b"), &host), "p at /srv");
        // The same volume at a second place: what is said about the first may be about it.
        assert_eq!(made(&named("b", "/srv"), &self::host(&[("/srv", "/", "rw"), ("/mnt", "/", "rw")], "")), "nothing");
    }

    #[test]
    fn a_tag_is_whole_and_of_the_volume() {
        let tagged = "policies: [{ name: p, match: { vg: vg, tag: grow } }]";
        for (tags, expected) in [
            ("grow", "p at /srv"),
            ("a,grow,b", "p at /srv"),
            ("", "nothing"),
            ("grows", "nothing"),
            ("no_grow", "nothing"),
        ] {
            assert_eq!(made(tagged, &host(&[("/srv", "/", "rw")], tags)), expected, "{tags}");
        }
    }
}
