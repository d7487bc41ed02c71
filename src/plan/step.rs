//! What can be done to a host: few steps, each with an absolute goal, and the commands they run as data.
//!
//! A step can be run twice without harm, because its goal is a state ("1536 extents"), not a change ("+512"), and
//! whether it is reached is seen on the host, never concluded from an exit code.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::command::{Command, Tool};
use crate::filesystem::{AtRest, Copies, FsKind, Place};
use crate::inventory::mapping::path_of;
use crate::inventory::{DiskKind, FileSystem, Inventory, Pv};
use crate::name::{LvRef, MountPoint, PvUuid, VgName};
use crate::units::{Bytes, Extents};

/// How extents are laid out side by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Striping {
    /// Over so many devices.
    pub stripes: u64,
    /// So much on each before the next; of no meaning for one.
    pub size: Bytes,
}

/// One step of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum Step {
    /// Write the metadata of the volume group to a file, so that a person can restore it.
    BackupMetadata {
        /// The group.
        vg: VgName,
        /// The file.
        file: PathBuf,
    },
    /// Make a partition at least this large.
    GrowPartition {
        /// Its PV.
        pv: String,
        /// The disk, `/dev/sda`.
        disk: String,
        /// Its number on that.
        number: u32,
        /// Where it begins, by which it is known to be the one that was meant.
        start: Bytes,
        /// Its size afterwards.
        size: Bytes,
    },
    /// Make a PV at least this many extents large.
    ResizePv {
        /// Its group.
        vg: VgName,
        /// Its device.
        pv: String,
        /// Its UUID.
        uuid: String,
        /// Its size afterwards.
        extents: Extents,
        /// How large its device must be for that.
        device: Bytes,
    },
    /// Add a PV that belongs to no group to this one.
    ExtendGroup {
        /// The group.
        vg: VgName,
        /// The PV's device.
        pv: String,
        /// Its UUID.
        uuid: PvUuid,
    },
    /// Make the volume this many extents large.
    ExtendLv {
        /// The volume.
        lv: LvRef,
        /// Its size afterwards.
        extents: Extents,
        /// The group's extent size, to compare with the volume's size.
        extent_size: Bytes,
        /// How the new part is striped, where LVM does not conclude that from what is there.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        striping: Option<Striping>,
        /// The PVs that it may take; all if empty.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pvs: Vec<String>,
    },
    /// Make the metadata of a thin pool this large.
    ExtendPoolMetadata {
        /// The pool.
        lv: LvRef,
        /// Their size afterwards, whole extents.
        size: Bytes,
    },
    /// Make the mapping of dm-crypt as large as its volume, at least so large.
    ResizeMapping {
        /// The volume.
        lv: LvRef,
        /// Its name in `/dev/mapper`.
        mapping: String,
        /// Its size afterwards.
        size: Bytes,
        /// What opens the volume, where the kernel has the volume key in its keyring.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key_file: Option<PathBuf>,
    },
    /// The kernel has counted no error on the file system.
    CheckFilesystem {
        /// Of which kind; XFS shuts itself down on an error and has no counter.
        kind: FsKind,
        /// Where it is mounted.
        mount_point: MountPoint,
    },
    /// Make the file system as large as its volume.
    GrowFilesystem {
        /// Of which kind.
        kind: FsKind,
        /// The volume.
        lv: LvRef,
        /// Where it is mounted.
        mount_point: MountPoint,
        /// The mapping on the volume that it is on, if it is on one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        mapping: Option<String>,
        /// Of a btrfs, the number it has given its device.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        device_id: Option<u64>,
    },
    /// A file system that is mounted nowhere was checked after it was mounted the last time.
    CheckUnmounted {
        /// Of which kind; version 0.1 knew one and did not write it down.
        #[serde(default = "ext", skip_serializing_if = "is_ext")]
        kind: FsKind,
        /// The volume.
        lv: LvRef,
        /// Where it would be mounted.
        mount_point: MountPoint,
        /// Check it whatever its superblock says.
        always: bool,
    },
}

impl Step {
    /// All labels that [`Step::as_str`] gives.
    pub const LABELS: [&str; 10] = [
        "backup_metadata",
        "grow_partition",
        "resize_pv",
        "extend_group",
        "extend_lv",
        "extend_pool_metadata",
        "resize_mapping",
        "check_filesystem",
        "check_unmounted",
        "grow_filesystem",
    ];

    /// The label `step` in metrics, journal and answers.
    pub fn as_str(&self) -> &'static str {
        match self {
            Step::BackupMetadata { .. } => "backup_metadata",
            Step::GrowPartition { .. } => "grow_partition",
            Step::ResizePv { .. } => "resize_pv",
            Step::ExtendGroup { .. } => "extend_group",
            Step::ExtendLv { .. } => "extend_lv",
            Step::ExtendPoolMetadata { .. } => "extend_pool_metadata",
            Step::ResizeMapping { .. } => "resize_mapping",
            Step::CheckFilesystem { .. } => "check_filesystem",
            Step::CheckUnmounted { .. } => "check_unmounted",
            Step::GrowFilesystem { .. } => "grow_filesystem",
        }
    }

    /// The command that reaches the goal; a check has none.
    pub fn command(&self) -> Option<Command> {
        match self {
            Step::BackupMetadata { vg, file } => {
                let file = file.to_string_lossy();
                Some(Command::mutating(Tool::Lvm, ["vgcfgbackup", "--config", WAIT, "-f", &file, "--", vg.as_str()]))
            }
            Step::GrowPartition { disk, number, .. } => {
                Some(Command::mutating(Tool::Growpart, [disk.clone(), number.to_string()]))
            }
            // To the end of its device, whatever that is: a size of its own would be asked about.
            Step::ResizePv { pv, .. } => {
                Some(Command::mutating(Tool::Lvm, ["pvresize", "--config", UNARCHIVED, "--", pv]))
            }
            Step::ExtendGroup { vg, uuid, .. } => {
                let path = uuid.path();
                let names = [vg.as_str(), &path.to_string_lossy()];
                let always = ["vgextend", "-A", "n", "--config", WAIT, "--"];
                Some(Command::mutating(Tool::Lvm, always.into_iter().chain(names)))
            }
            Step::ExtendLv { lv, extents, striping, pvs, .. } => {
                let mut goal = striping.map_or(vec![], |striping| {
                    let size = ["-I".to_owned(), format!("{}b", striping.size.0)];
                    let size = (striping.stripes > 1).then_some(size);
                    ["-i".to_owned(), striping.stripes.to_string()]
                        .into_iter()
                        .chain(size.into_iter().flatten())
                        .collect()
                });
                goal.extend(["-l".to_owned(), extents.0.to_string()]);
                Some(lvextend(goal, lv, pvs))
            }
            Step::ExtendPoolMetadata { lv, size } => {
                Some(lvextend(vec!["--poolmetadatasize".to_owned(), format!("{}b", size.0)], lv, &[]))
            }
            Step::ResizeMapping { mapping, key_file, .. } => {
                let key_file = key_file.as_ref().map(|file| file.to_string_lossy().into_owned());
                let key = key_file.map(|file| ["--key-file".to_owned(), file]).into_iter().flatten();
                let name = ["--".to_owned(), mapping.clone()];
                Some(Command::mutating(Tool::Cryptsetup, ["resize".to_owned()].into_iter().chain(key).chain(name)))
            }
            Step::CheckFilesystem { .. } => None,
            Step::CheckUnmounted { kind, lv, .. } => {
                kind.about().check.as_ref().map(|check| (check.command)(&lv.dm_path().to_string_lossy()))
            }
            // None is given a size: each then grows to the end of the volume.
            Step::GrowFilesystem { kind, lv, mount_point, mapping, device_id } => {
                let device = mapping.as_deref().map_or_else(|| lv.dm_path(), path_of);
                let place = Place { device: &device.to_string_lossy(), mount_point, device_id: *device_id };
                Some((kind.about().grow)(place))
            }
        }
    }

    /// The command that reaches what this look shows to be missing of the goal. It is another one than
    /// [`Step::command`] only where a file system is as large as its volume and has outdated copies of its superblock:
    /// what grows it would find nothing to do. `None` where that command cannot be given the label.
    pub fn command_for(&self, inventory: &Inventory) -> Option<Command> {
        let Some((copies, lv, mount_point)) = self.copies() else { return self.command() };
        let fs = inventory.filesystem_at(mount_point);
        let fills = fs.zip(inventory.room_for_file_system(lv)).and_then(|(fs, room)| fs.fills(room));
        match fs.and_then(|fs| fs.outdated_copies.as_deref()).filter(|_| fills == Some(true)) {
            None => self.command(),
            Some(label) => (copies.rewrite)(label, mount_point),
        }
    }

    /// Of a growth that may leave outdated copies of the superblock: what is known of them, on which volume, and where
    /// it is mounted.
    fn copies(&self) -> Option<(&'static Copies, &LvRef, &MountPoint)> {
        let Step::GrowFilesystem { kind, lv, mount_point, .. } = self else { return None };
        Some((kind.about().copies.as_ref()?, lv, mount_point))
    }

    /// Where a file system is mounted that this grows, if that may leave outdated copies of its superblock.
    pub fn leaves_copies(&self) -> Option<&MountPoint> {
        self.copies().map(|(_, _, mount_point)| mount_point)
    }

    /// It gives the group more room, and changes no volume.
    pub fn is_supply(&self) -> bool {
        matches!(self, Step::GrowPartition { .. } | Step::ResizePv { .. } | Step::ExtendGroup { .. })
    }

    /// Why its command must not be run on what this look shows, although that was planned: a disk that is smaller again
    /// would take its PV with it, a partition may be another one, and what has lost its PV would be made one.
    pub fn obstacle(&self, inventory: &Inventory) -> Option<String> {
        match self {
            Step::GrowPartition { pv, disk, number, start, size } => {
                let kind = pv_named(inventory, pv).and_then(|pv| pv.disk.as_ref()).map(|disk| &disk.kind);
                let Some(DiskKind::Partition(now)) = kind else {
                    return Some(format!("{pv} is no partition any more"));
                };
                if (&now.disk, &now.number, &now.start, now.followed_until) != (disk, number, start, None) {
                    return Some(format!("{pv} is another partition now, or is followed by one"));
                }
                let end = start.0.saturating_add(size.0);
                (now.disk_size.0 < end).then(|| format!("{disk} has {} now", now.disk_size))
            }
            Step::ResizePv { pv, uuid, device, .. } => {
                let found = inventory.pvs.iter().find(|now| &now.name == pv && &now.uuid == uuid);
                let Some(disk) = found.and_then(|pv| pv.disk.as_ref()) else {
                    return Some(format!("the PV {uuid} is not on {pv} any more"));
                };
                (disk.size < *device).then(|| format!("{pv} has {} now where {device} were planned for", disk.size))
            }
            Step::ExtendGroup { pv, uuid, .. } => {
                let found = inventory.pvs.iter().find(|now| &now.name == pv && now.uuid == uuid.as_str());
                let is_spare = found.is_some_and(|pv| pv.vg.is_none() && pv.is_linked && pv.has_only_its_label());
                (!is_spare).then(|| format!("the PV {uuid} is not on {pv} any more, or not alone there, or in a group"))
            }
            _ => None,
        }
    }

    /// Whether the host already is as the step would make it. A backup is not visible in an inventory: it is simply
    /// made again.
    pub fn is_done(&self, inventory: &Inventory) -> bool {
        match self {
            Step::BackupMetadata { .. } => false,
            Step::GrowPartition { pv, size, .. } => {
                let disk = pv_named(inventory, pv).and_then(|pv| pv.disk.as_ref());
                disk.is_some_and(|disk| disk.size >= *size)
            }
            Step::ResizePv { uuid, extents, .. } => {
                let pv = inventory.pvs.iter().find(|pv| &pv.uuid == uuid && pv.duplicate != Some(true));
                pv.and_then(|pv| pv.extent_count).is_some_and(|count| count >= *extents)
            }
            Step::ExtendGroup { vg, uuid, .. } => {
                inventory.pvs.iter().any(|pv| pv.uuid == uuid.as_str() && pv.vg.as_ref() == Some(vg))
            }
            Step::ExtendLv { lv, extents, extent_size, .. } => {
                let goal = extents.bytes(*extent_size);
                // LVM commits a new size before the kernel takes it, and the kernel may refuse it.
                let mapped = inventory.mapped.as_ref().is_none_or(|mapped| mapped.size >= goal);
                inventory.lv(lv).and_then(|lv| lv.size).is_some_and(|size| size >= goal) && mapped
            }
            Step::ExtendPoolMetadata { lv, size } => {
                inventory.lv(lv).and_then(|lv| lv.metadata_size).is_some_and(|now| now >= *size)
            }
            // Of whatever name the mapping is now: one that was opened anew has the whole size.
            Step::ResizeMapping { lv, size, .. } => {
                let goal = inventory.room_for_file_system(lv).map(|room| room.max(*size));
                let now = inventory.mapping_on(lv).map(|mapping| mapping.size);
                now.zip(goal).is_some_and(|(now, goal)| now >= goal)
            }
            Step::CheckFilesystem { kind, mount_point } => {
                let errors = inventory.filesystem_at(mount_point).map(|fs| fs.errors);
                errors.is_some_and(|errors| kind.about().error_counter.is_none() || errors == Some(0))
            }
            Step::CheckUnmounted { always: true, .. } => false,
            Step::CheckUnmounted { lv, mount_point, .. } => {
                at_rest(inventory, lv, mount_point).is_some_and(|at_rest| at_rest.checked_since)
            }
            Step::GrowFilesystem { lv, mount_point, .. } => {
                let room = inventory.room_for_file_system(lv);
                let fs = inventory.filesystem_of(lv, mount_point).filter(|fs| fs.outdated_copies.is_none());
                matches!((room, fs.as_ref().and_then(FileSystem::size)), (Some(room), Some(fs)) if fs >= room)
            }
        }
    }

    /// Whether the goal is reached after the command ran. Weaker than [`Step::is_done`] for file systems alone: they
    /// may leave a rest of the volume unused that is too small for them.
    pub fn is_verified(&self, inventory: &Inventory) -> bool {
        match self {
            Step::GrowFilesystem { lv, mount_point, .. } => {
                let room = inventory.room_for_file_system(lv);
                let fs = inventory.filesystem_of(lv, mount_point).filter(|fs| fs.outdated_copies.is_none());
                matches!((room, fs), (Some(room), Some(fs)) if fs.fills(room) == Some(true))
            }
            Step::CheckUnmounted { lv, mount_point, .. } => {
                at_rest(inventory, lv, mount_point).is_some_and(|at_rest| at_rest.checked)
            }
            other => other.is_done(inventory),
        }
    }
}

fn pv_named<'a>(inventory: &'a Inventory, name: &str) -> Option<&'a Pv> {
    inventory.pvs.iter().find(|pv| pv.name == name && pv.duplicate != Some(true))
}

fn ext() -> FsKind {
    FsKind::Ext
}

fn is_ext(kind: &FsKind) -> bool {
    *kind == ext()
}

fn at_rest(inventory: &Inventory, lv: &LvRef, mount_point: &MountPoint) -> Option<AtRest> {
    inventory.unmounted_at(lv, mount_point)?.superblock?.facts().at_rest()
}

/// While another command works on the group LVM waits for it, whatever lvm.conf says.
pub(crate) const WAIT: &str = "global/wait_for_locks=1";

/// What `-A n` says to other commands, `pvresize` does not know that option.
const UNARCHIVED: &str = "global/wait_for_locks=1 backup/archive=0 backup/backup=0";

/// `-A n`: without it `lvextend` first writes the old metadata to /etc/lvm/archive, and fails when that is full or
/// read-only, which it is when `/` is what should grow. We have made our own backup one step before; /etc/lvm/backup is
/// brought up to date by the next report, if there is room.
fn lvextend(goal: Vec<String>, lv: &LvRef, pvs: &[String]) -> Command {
    let always = ["lvextend", "-A", "n", "--config", WAIT].map(str::to_owned);
    let names = ["--".to_owned(), lv.to_string()].into_iter().chain(pvs.iter().cloned());
    Command::mutating(Tool::Lvm, always.into_iter().chain(goal).chain(names))
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::BackupMetadata { vg, file } => write!(f, "back up the metadata of {vg} to {}", file.display()),
            Step::GrowPartition { disk, number, size, .. } => write!(f, "grow partition {number} of {disk} to {size}"),
            Step::ResizePv { pv, extents, .. } => write!(f, "make the PV {pv} as large as its device ({extents})"),
            Step::ExtendGroup { vg, pv, uuid } => write!(f, "add the spare PV {pv} ({uuid}) to {vg}"),
            Step::ExtendLv { lv, extents, extent_size, pvs, .. } => {
                write!(f, "extend {lv} to {extents} ({})", extents.bytes(*extent_size))?;
                if pvs.is_empty() { Ok(()) } else { write!(f, " on {}", pvs.join(", ")) }
            }
            Step::ExtendPoolMetadata { lv, size } => write!(f, "extend the metadata of {lv} to {size}"),
            Step::ResizeMapping { lv, mapping, size, .. } => {
                write!(f, "resize the mapping {mapping} on {lv} to at least {size}")
            }
            Step::CheckFilesystem { kind, mount_point } => {
                write!(f, "check that the kernel counts no error on the {} at {mount_point}", kind.as_str())
            }
            Step::CheckUnmounted { lv, .. } => write!(f, "check the file system on {lv}, which is mounted nowhere"),
            Step::GrowFilesystem { kind, mount_point, .. } => {
                write!(f, "grow the {} at {mount_point} to the size of its volume", kind.as_str())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_name_absolute_goals_and_end_their_options() {
        let lv: LvRef = "my-vg/data_lv".parse().expect("a name");
        let mount_point: MountPoint = "/it's data".parse().expect("a path");
        let shown = |step: Step| step.command().map(|command| command.to_string());
        let extend = Step::ExtendLv {
            lv: lv.clone(),
            extents: Extents(1536),
            extent_size: Bytes(4 << 20),
            striping: None,
            pvs: vec![],
        };
        assert_eq!(
            shown(extend).as_deref(),
            Some("lvm lvextend -A n --config global/wait_for_locks=1 -l 1536 -- my-vg/data_lv")
        );
        let striped = |stripes| Step::ExtendLv {
            lv: lv.clone(),
            extents: Extents(7),
            extent_size: Bytes(4 << 20),
            striping: Some(Striping { stripes, size: Bytes(65536) }),
            pvs: vec!["/dev/sdb".to_owned(), "/dev/sdc".to_owned()],
        };
        let of = |goal: &str| {
            format!("lvm lvextend -A n --config global/wait_for_locks=1 {goal} -l 7 -- my-vg/data_lv /dev/sdb /dev/sdc")
        };
        assert_eq!(shown(striped(2)), Some(of("-i 2 -I 65536b")));
        assert_eq!(shown(striped(1)), Some(of("-i 1")));
        let metadata = Step::ExtendPoolMetadata { lv: lv.clone(), size: Bytes(16 << 20) };
        let of_metadata =
            "lvm lvextend -A n --config global/wait_for_locks=1 --poolmetadatasize 16777216b -- my-vg/data_lv";
        assert_eq!(shown(metadata).as_deref(), Some(of_metadata));
        let backup = Step::BackupMetadata { vg: lv.vg.clone(), file: "/s/a b.vg".into() };
        assert_eq!(
            shown(backup).as_deref(),
            Some("lvm vgcfgbackup --config global/wait_for_locks=1 -f '/s/a b.vg' -- my-vg")
        );
        let grow_on = |kind, mapping| Step::GrowFilesystem {
            kind,
            lv: lv.clone(),
            mount_point: mount_point.clone(),
            mapping,
            device_id: Some(2),
        };
        let grow = |kind| grow_on(kind, None);
        let crypt = "data crypt".to_owned();
        let on_crypt = grow_on(FsKind::Ext, Some(crypt.clone()));
        assert_eq!(shown(on_crypt).as_deref(), Some("resize2fs '/dev/mapper/data crypt'"));
        let resize =
            |key_file| Step::ResizeMapping { lv: lv.clone(), mapping: crypt.clone(), size: Bytes(1), key_file };
        assert_eq!(shown(resize(None)).as_deref(), Some("cryptsetup resize -- 'data crypt'"));
        let with_key = Some("cryptsetup resize --key-file /k/data.key -- 'data crypt'");
        assert_eq!(shown(resize(Some("/k/data.key".into()))).as_deref(), with_key);
        let ext4 = grow(FsKind::Ext);
        assert_eq!(shown(ext4).as_deref(), Some("resize2fs /dev/mapper/my--vg-data_lv"));
        let xfs = grow(FsKind::Xfs);
        assert_eq!(shown(xfs).as_deref(), Some("xfs_growfs -d '/it'\\''s data'"));
        let btrfs = shown(grow(FsKind::Btrfs));
        assert_eq!(btrfs.as_deref(), Some("btrfs filesystem resize --enqueue 2:max '/it'\\''s data'"));
        let check =
            Step::CheckUnmounted { kind: FsKind::Ext, lv: lv.clone(), mount_point: mount_point.clone(), always: true };
        assert_eq!(shown(check).as_deref(), Some("e2fsck -f -p /dev/mapper/my--vg-data_lv"));
    }
}
