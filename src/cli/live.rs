//! `check-config --live`: a config beside the host that it is for.

use std::sync::Arc;

use crate::config::{Config, Places, Problem, Target, VolumeGroup, What};
use crate::host::{Focus, Host, LookError, look};
use crate::inventory::{Inventory, Lv};
use crate::name::{MountPoint, VgName};
use crate::plan::{Entry, Unmatched, applied};
use crate::units::Percent;

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Live {
    /// What cannot be meant.
    pub(super) wrong: Vec<Problem>,
    /// What may be meant, and what is so now; what is left out is "on this host".
    pub(super) notes: Vec<String>,
}

impl Live {
    pub(super) fn compare(config: &Arc<Config>, places: &Places, host: &dyn Host) -> Result<Live, LookError> {
        let inventory = look(host, Focus::Everything)?;
        let config = &*applied(config, &inventory);
        let mut live = Live::default();
        let unmatched = Unmatched::of(config, &inventory);
        for (index, group) in config.volume_groups.iter().enumerate() {
            match unmatched.suspects.iter().find(|(named, _)| group.name.one() == Some(named)) {
                Some((_, meant)) => {
                    let message = format!(
                        "{} is not on this host and looks like {meant}, which has no entry: correct the name, or give {meant} \
                         an entry of its own, such as {{ name: {meant}, reserve: 0 }}",
                        group.name
                    );
                    live.wrong.push(places.group(index, "name", message));
                }
                None => live.group(index, group, config, places, &inventory),
            }
        }
        // A policy is for many hosts, so what its limits mean for one volume of this one is no error of it.
        for (index, target) in config.named().enumerate() {
            let lv = inventory.lv(&target.lv);
            let meant = if lv.is_none() { Unmatched::meant(&target.lv, config, &inventory) } else { None };
            match (lv, meant) {
                (Some(lv), _) => live.target(index, target, lv, config, places, &inventory),
                (None, Some(meant)) => {
                    let key = if target.file_system().is_some() { "lv_path" } else { "thin_pool" };
                    let message = format!("{} is not on this host, did you mean {meant}?", target.lv);
                    live.wrong.push(places.target(index, key, message));
                }
                (None, None) => {}
            }
        }
        live.policies(config, &inventory);
        live.wrong.extend(unmatched.misspelt.iter().map(|doubt| match doubt.entry {
            Entry::Policy(index) => places.policy(index, "match", doubt.sentence.clone()),
            Entry::Target(index) => {
                let is_pool = config.named().nth(index).is_some_and(|target| target.file_system().is_none());
                places.target(index, if is_pool { "thin_pool" } else { "lv_path" }, doubt.sentence.clone())
            }
        }));
        live.notes.extend(unmatched.sentences(config, &inventory));
        live.wrong.sort_by_key(|problem| problem.place);
        Ok(live)
    }

    /// What each policy selects, and what of that can never grow.
    fn policies(&mut self, config: &Config, inventory: &Inventory) {
        let selected = config.targets.iter().filter_map(|target| Some((target.origin.policy.as_ref()?, target)));
        for (policy, target) in selected {
            let size = inventory.lv(&target.lv).and_then(|lv| lv.size);
            let place = target.mount_point().map_or(String::new(), |point| format!(" at {point}"));
            let too_large = target.max_size.zip(size).filter(|(max, size)| max < size);
            let more = too_large
                .map_or(String::new(), |(max, size)| format!(", and cannot grow: it has {size}, max_size is {max}"));
            self.notes.push(format!(
                "the policy {policy} selects {}{place} ({}){more}",
                target.lv,
                target.mode.as_str()
            ));
        }
        // A policy behind one that takes all it matches, as one of config.d behind those of config.yaml, never decides.
        let selects = |name: &String| config.targets.iter().any(|of| of.origin.policy.as_ref() == Some(name));
        for (index, policy) in config.policies.iter().enumerate().filter(|(_, policy)| !selects(&policy.name)) {
            let alone = Config {
                targets: config.named().cloned().collect(),
                policies: config.policies.iter().skip(index).take(1).cloned().collect(),
                ..config.clone()
            };
            let alone = applied(&Arc::new(alone), inventory);
            let taken = alone.targets.iter().filter(|of| of.origin.policy.is_some()).find_map(|of| {
                let earlier = config.target(&of.lv)?.origin.policy.as_ref()?;
                Some((&of.lv, earlier))
            });
            if let Some((lv, earlier)) = taken {
                self.notes.push(format!(
                    "the policy {} decides about nothing here: {earlier}, which stands before it, selects {lv} and all else that \
                     it would select",
                    policy.name
                ));
            }
        }
    }

    fn group(&mut self, index: usize, group: &VolumeGroup, config: &Config, places: &Places, inventory: &Inventory) {
        // Those that another entry names better are checked there.
        let is_its = |name: &VgName| config.volume_group(name).is_some_and(|settings| std::ptr::eq(settings, group));
        for vg in inventory.vgs.iter().filter(|vg| is_its(&vg.name)) {
            let (name, Some(size)) = (&vg.name, vg.size) else { continue };
            let reserve = config.reserve(name, size);
            if reserve >= size {
                let message = format!("{reserve} is all of {name} ({size}): nothing in it could ever grow");
                self.wrong.push(places.group(index, "reserve", message));
            }
            if let Some(bytes) = group.budget.and_then(|budget| budget.bytes).filter(|bytes| *bytes > size) {
                self.notes.push(format!("the budget of {bytes} for {name} cannot bind: {name} has {size}"));
            }
        }
    }

    fn target(
        &mut self,
        index: usize,
        target: &Target,
        lv: &Lv,
        config: &Config,
        places: &Places,
        inventory: &Inventory,
    ) {
        let name = &target.lv;
        let vg = inventory.vg(&name.vg);
        if let (Some(max), Some(size)) = (target.max_size, lv.size) {
            let free = vg.and_then(|vg| vg.free.zip(vg.size));
            let room = free.map(|(free, size)| free.saturating_sub(config.reserve(&name.vg, size)));
            if max < size {
                let message = format!("{max} is less than {name} has now, {size}: it could never grow");
                self.wrong.push(places.target(index, "max_size", message));
            } else if let Some(room) = room.filter(|room| size.0.saturating_add(room.0) < max.0) {
                let (vg, more) = (&name.vg, max.saturating_sub(size));
                self.notes.push(format!(
                    "max_size {max} of {name} cannot bind: that is {more} more than it has, and {vg} has {room} to give"
                ));
            }
        }
        let usage = match &target.what {
            What::FileSystem(fs) => match inventory.filesystem_at(&fs.mount_point) {
                Some(seen) if inventory.lv_by_device(seen.mount.device).map(|lv| &lv.name) == Some(name) => {
                    let kind = seen.kind().is_some_and(|kind| kind.about().has_fixed_inodes);
                    let inodes = seen.usage.and_then(|usage| usage.inode_percent()).filter(|_| kind);
                    let space = (fs.mount_point.to_string(), seen.usage.map(|usage| usage.percent()), target.threshold);
                    vec![space, (format!("the inodes of {}", fs.mount_point), inodes, fs.inode_threshold)]
                }
                other => {
                    let elsewhere: Vec<&MountPoint> =
                        inventory.filesystems_on(lv).map(|fs| &fs.mount.mount_point).collect();
                    let message = match (other, elsewhere.first()) {
                        (_, Some(point)) => format!("{name} is mounted at {point}, not at {}", fs.mount_point),
                        (Some(_), None) => format!("another file system is mounted at {}", fs.mount_point),
                        (None, None) => {
                            self.notes.push(format!("{name} is not mounted, so nothing is at {}", fs.mount_point));
                            return;
                        }
                    };
                    self.wrong.push(places.target(index, "mount_point", message));
                    return;
                }
            },
            What::ThinPool { metadata_threshold } => vec![
                (target.usage_name(), lv.data_percent, target.threshold),
                (format!("the metadata of {name}"), lv.metadata_percent, *metadata_threshold),
            ],
        };
        let over = |(what, used, threshold): (String, Option<Percent>, Percent)| {
            let used = used.filter(|used| used.value() > threshold.value())?;
            Some(format!("{what}: {used} full now, above {threshold}: {}", mode(target)))
        };
        self.notes.extend(usage.into_iter().filter_map(over));
    }
}

fn mode(target: &Target) -> &'static str {
    use crate::config::Mode;
    match target.mode {
        Mode::Act => "it would grow at once, see plan",
        Mode::Recommend => "a growth would be recommended at once, see plan",
        Mode::Off => "its mode is off",
    }
}
