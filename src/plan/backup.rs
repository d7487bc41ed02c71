//! Where the metadata backup of an operation goes, and which old ones are deleted. Decides only; the engine does it.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::decided::Plan;
use super::moment::Moment;
use super::step::Step;
use crate::config::Config;
use crate::inventory::Inventory;
use crate::name::VgName;
use crate::units::{Bytes, MIB};

/// With less left a file system counts as full. Ext4 keeps up to 16 MiB for itself that it shows as free; the backup of
/// a thousand volumes is 1 MB.
const LEAST_ROOM: Bytes = Bytes(32 * MIB);
/// The same for inodes.
const LEAST_INODES: u64 = 16;

/// The file, and a warning if it cannot be where it should be.
pub(super) fn place(config: &Config, inventory: &Inventory, vg: &VgName, now: &Moment) -> (PathBuf, Option<String>) {
    let file = name(vg, now.at);
    let [usual, in_memory] = config.backup_folders();
    let why = match inventory.state_usage {
        Some(usage) if usage.free < LEAST_ROOM => format!("has only {} left", usage.free),
        Some(usage) if usage.files > 0 && usage.files_free < LEAST_INODES => {
            format!("has only {} inodes left", usage.files_free)
        }
        Some(_) => return (usual.join(file), None),
        // It is slow to answer where it is full and busy; a backup that fails would be the end of the operation.
        None => "does not say how much room it has".to_owned(),
    };
    let warning = format!(
        "{} {why}, so the metadata backup goes to {}: it is gone after a reboot, copy it",
        config.state_directory.display(),
        in_memory.display()
    );
    (in_memory.join(file), Some(warning))
}

/// Of the files in a folder those that are too many: the oldest of this group, never one that an operation which has
/// not ended refers to, and nothing that is not named as `place` names it.
pub fn outdated(
    files: &[PathBuf],
    vg: &VgName,
    keep: u32,
    needed: &BTreeSet<PathBuf>,
    now: jiff::Timestamp,
) -> Vec<PathBuf> {
    let mut own: Vec<&PathBuf> = files.iter().filter(|file| is_of(file, vg)).collect();
    // The time in the name orders them. What was made in the future was made before somebody set the clock back.
    let now = name(vg, now);
    own.sort_by_key(|file| (file.file_name() <= Some(now.as_ref()), *file));
    let too_many = own.len().saturating_sub(keep as usize);
    own.into_iter().take(too_many).filter(|file| !needed.contains(*file)).cloned().collect()
}

/// `VG-20260101T000000.000Z.vg`; the name of a group may have hyphens itself.
fn name(vg: &VgName, at: jiff::Timestamp) -> String {
    format!("{vg}-{}.vg", at.strftime("%Y%m%dT%H%M%S%.3fZ"))
}

fn is_of(file: &std::path::Path, vg: &VgName) -> bool {
    let name = file.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix("Z.vg"));
    let time = name.and_then(|name| name.strip_prefix(vg.as_str())?.strip_prefix('-'));
    time.is_some_and(|time| {
        let shape: String = time.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
        shape == "00000000T000000.000"
    })
}

impl Plan {
    /// The file that `vgcfgbackup` writes, if something is extended.
    pub fn backup(&self) -> Option<&PathBuf> {
        self.steps.iter().find_map(|step| match step {
            Step::BackupMetadata { file, .. } => Some(file),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_oldest_of_the_group_are_outdated() {
        let names = [
            "vg-20260103T000000.000Z.vg",
            "vg-20260101T000000.000Z.vg",
            "vg-20260102T000000.001Z.vg",
            "vg-20260102T000000.000Z.vg",
            "vg-a-20250101T000000.000Z.vg",
            "vg-20250101T000000.000Z.vg.bak",
            "vg-by-hand.vg",
            "notes",
        ];
        let files: Vec<PathBuf> = names.iter().map(|name| PathBuf::from("/b").join(name)).collect();
        let needed = BTreeSet::from([files[3].clone()]);
        let vg: VgName = "vg".parse().expect("a name");
        let at = |now: &str| now.parse::<jiff::Timestamp>().expect("a time");
        let outdated = |keep| outdated(&files, &vg, keep, &needed, at("2026-02-01T00:00:00Z"));
        assert_eq!(outdated(4), [""; 0].map(PathBuf::from));
        assert_eq!(outdated(3), [files[1].clone()]);
        assert_eq!(outdated(2), [files[1].clone()], "one that is needed stays and counts");
        assert_eq!(outdated(1), [files[1].clone(), files[2].clone()]);
        let other: VgName = "vg-a".parse().expect("a name");
        let all = |vg, now: &str| super::outdated(&files, vg, 0, &BTreeSet::new(), at(now));
        assert_eq!(all(&other, "2026-02-01T00:00:00Z"), [files[4].clone()]);
        // The clock was set back between the first and the third.
        assert_eq!(all(&vg, "2026-01-02T00:00:00.001Z"), [0, 1, 3, 2].map(|number| files[number].clone()));
    }
}
