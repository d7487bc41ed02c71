//! The key file of a mapping: whether it is safe to use, and whether it opens the volume.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::Host;
use crate::config::{Config, Target};
use crate::files;
use crate::inventory::mapping::{self, KeyFile};
use crate::inventory::{DeviceNumber, Inventory};
use crate::plan::Evaluation;

/// What a key file is like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyFileFacts {
    /// Who else could have changed it or can read it, and what to do; `None`: nobody.
    pub exposed: Option<String>,
    /// The number of the mount that it is on.
    pub mount: DeviceNumber,
}

/// Decides about a target. Where that depends on a key file it is tried, and the decision is made again with the
/// outcome: only for what would grow, because opening a key slot may take seconds and 1 GiB of memory (argon2id).
pub fn decide(
    host: &dyn Host,
    target: &Target,
    config: &Config,
    inventory: &Inventory,
    decide: impl Fn(&Inventory) -> Evaluation,
) -> Evaluation {
    let file = target.file_system().and_then(|fs| fs.luks_key_file.as_deref());
    let Some(file) = file.filter(|_| inventory.mapping_on(&target.lv).is_some_and(|mapping| mapping.needs_key()))
    else {
        return decide(inventory);
    };
    let with = |key_file| decide(&Inventory { key_file: Some(key_file), ..inventory.clone() });
    let presumed = with(KeyFile::Presumed);
    // Nor may a pool grow for a volume that then cannot.
    if presumed.decision.is_err() && presumed.pool.is_none() {
        return presumed;
    }
    with(tried(host, target, config, inventory, file))
}

/// A file that may be looked at by others, or be gone with what it opens, is not tried at all.
fn tried(host: &dyn Host, target: &Target, config: &Config, inventory: &Inventory, file: &Path) -> KeyFile {
    let facts = match host.key_file(file) {
        Ok(facts) => facts,
        Err(error) => return KeyFile::Unreadable(error.to_string()),
    };
    if let Some(why) = facts.exposed {
        return KeyFile::Exposed(why);
    }
    // Each subvolume of a btrfs has a number of its own, and all of them have one device.
    let device = inventory.mounts.iter().find(|mount| mount.number == facts.mount).map(|mount| mount.device);
    let is_there = |target: &&Target| {
        let mount = target.mount_point().and_then(|point| inventory.mount_at(point));
        mount.is_some_and(|mount| Some(mount.device) == device)
    };
    if let Some(point) = config.targets.iter().find(is_there).and_then(Target::mount_point) {
        return KeyFile::OnTarget(point.clone());
    }
    match host.run(&mapping::test_command(&target.lv.dm_path(), file), &|| ()) {
        Ok(output) if output.succeeded() => KeyFile::Opens,
        Ok(output) => KeyFile::Wrong(output.complaint()),
        Err(error) => KeyFile::Untested(crate::chain(&error)),
    }
}

/// Who else could have changed a key file or can read it, and what to do.
pub(super) fn exposed(path: &Path) -> io::Result<Option<String>> {
    let (file, doubt) = files::open(path)?;
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(io::Error::other("is no regular file"));
    }
    let shown = path.display();
    let doubt = doubt.map(|doubt| doubt.to_string());
    let foreign = (found.uid() != 0).then(|| format!("{shown} does not belong to root: chown root {shown}"));
    let mode = found.mode() & 0o7777;
    let readable =
        (mode & 0o077 != 0).then(|| format!("{shown} is open to others (mode {mode:04o}): chmod 600 {shown}"));
    Ok(doubt.or(foreign).or(readable))
}
