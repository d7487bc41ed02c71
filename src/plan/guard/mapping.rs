//! Whether a mapping of dm-crypt between the volume and its file system can grow too.

use super::subject::{Subject, Verdict, missing, refuse_if};
use crate::command::{Tool, shell_word};
use crate::inventory::KeyFile;
use crate::inventory::mapping::test_command;

pub(super) fn luks_unsupported(s: &Subject<'_>) -> Verdict {
    let Some(mapping) = s.inventory.mapping_on(&s.lv.name) else { return Verdict::NotAsked };
    if let Some(tool) = missing(s, [Tool::Dmsetup, Tool::Cryptsetup]) {
        let name = tool.as_str();
        return Verdict::Refuse(format!(
            "{name} is not installed and {}: install it, or set tools.{name}",
            tool.disables()
        ));
    }
    let (name, lv) = (&mapping.name, &s.lv.name);
    mapping.objection().map_or(Verdict::Pass, |why| {
        let shown = shell_word(name);
        Verdict::Refuse(format!("the mapping {name} on {lv} {why}: grow it by hand, see cryptsetup status {shown}"))
    })
}

pub(super) fn luks_key(s: &Subject<'_>) -> Verdict {
    let mapping = s.inventory.mapping_on(&s.lv.name).filter(|mapping| mapping.objection().is_none());
    let Some((mapping, target)) = mapping.zip(s.target.file_system()) else { return Verdict::NotAsked };
    if !mapping.needs_key() {
        return Verdict::Pass;
    }
    let (name, device) = (&mapping.name, shell_word(&s.lv.name.dm_path().to_string_lossy()));
    let Some(file) = &target.luks_key_file else {
        return Verdict::Refuse(format!(
            "the kernel has the volume key of {name} in its keyring, so cryptsetup resizes it only with a key: add a key slot, \
             cryptsetup luksAddKey --pbkdf pbkdf2 {device} KEYFILE, and set luks_key_file"
        ));
    };
    let shown = file.display();
    let test = test_command(&s.lv.name.dm_path(), file);
    match &s.inventory.key_file {
        Some(KeyFile::Opens) => Verdict::Pass,
        // Who decides on it tries it, and decides again.
        Some(KeyFile::Presumed) => Verdict::NotAsked,
        Some(KeyFile::Unreadable(why)) => Verdict::Refuse(format!(
            "luks_key_file {shown} cannot be read ({why}): put the key there, readable by root only"
        )),
        Some(KeyFile::Exposed(why)) => Verdict::Refuse(format!("luks_key_file is not safe: {why}")),
        Some(KeyFile::OnTarget(point)) => Verdict::Refuse(format!(
            "luks_key_file {shown} is on the file system at {point}, which is a target itself: keep the key on a file system that is not a target"
        )),
        Some(KeyFile::Wrong(said)) => Verdict::Refuse(format!(
            "luks_key_file {shown} does not open {}, cryptsetup {}: add it with cryptsetup luksAddKey {device} {}",
            s.lv.name,
            said.trim_end_matches('.'),
            shell_word(&file.to_string_lossy())
        )),
        Some(KeyFile::Untested(why)) => Verdict::Refuse(format!(
            "whether luks_key_file {shown} opens {} is not known, {why}: see {test}",
            s.lv.name
        )),
        None => {
            Verdict::Refuse(format!("luks_key_file {shown} was not tried on {}: this should not happen", s.lv.name))
        }
    }
}

/// Whoever writes to a suspended mapping waits, as after `cryptsetup luksSuspend`.
pub(super) fn suspended(s: &Subject<'_>) -> Verdict {
    let mapping = s.inventory.mapping_on(&s.lv.name).filter(|mapping| mapping.suspended);
    let name = mapping.map(|mapping| mapping.name.as_str()).unwrap_or_default();
    refuse_if(mapping.is_some(), || {
        format!("the mapping {name} on {} is suspended: cryptsetup luksResume {}", s.lv.name, shell_word(name))
    })
}
