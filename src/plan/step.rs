//! What can be done to a host: few steps, each with an absolute goal, and the commands they run as data.
//!
//! A step can be run twice without harm, because its goal is a state ("1536 extents"), not a change ("+512"), and
//! whether it is reached is seen on the host, never concluded from an exit code.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::inventory::{FileSystem, Inventory, Superblock};
use crate::name::{LvRef, MountPoint, VgName};
use crate::units::{Bytes, Extents};

/// The programs this tool runs. There is no other way to start one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tool {
    /// lvm(8); its first argument is the command.
    Lvm,
    /// blkid(8).
    Blkid,
    /// resize2fs(8).
    Resize2fs,
    /// xfs_growfs(8).
    XfsGrowfs,
    /// e2fsck(8).
    E2fsck,
    /// btrfs(8).
    Btrfs,
    /// xfs_io(8).
    XfsIo,
}

impl Tool {
    /// All of them.
    pub const ALL: [Tool; 7] =
        [Tool::Lvm, Tool::Blkid, Tool::Resize2fs, Tool::XfsGrowfs, Tool::E2fsck, Tool::Btrfs, Tool::XfsIo];

    /// What cannot be done without it.
    pub fn disables(self) -> &'static str {
        match self {
            Tool::Lvm => "nothing can be shown and nothing can grow",
            Tool::Blkid => "no file system can grow",
            Tool::Resize2fs => "no ext4 can grow",
            Tool::XfsGrowfs => "no XFS can grow",
            Tool::E2fsck => "no ext4 can grow while it is mounted nowhere",
            Tool::Btrfs => "no btrfs can grow",
            Tool::XfsIo => "no XFS can be put right that lost power while it grew",
        }
    }

    /// The program's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Tool::Lvm => "lvm",
            Tool::Blkid => "blkid",
            Tool::Resize2fs => "resize2fs",
            Tool::XfsGrowfs => "xfs_growfs",
            Tool::E2fsck => "e2fsck",
            Tool::Btrfs => "btrfs",
            Tool::XfsIo => "xfs_io",
        }
    }
}

/// A program and its arguments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// The program.
    pub tool: Tool,
    /// Its arguments, never seen by a shell.
    pub arguments: Vec<String>,
    /// It changes the host: it is then never killed, and a dry run leaves it out.
    pub mutates: bool,
}

impl Command {
    /// A command that only reads. It may be killed at its deadline.
    pub fn report(tool: Tool, arguments: impl IntoIterator<Item = impl Into<String>>) -> Command {
        Command { tool, arguments: arguments.into_iter().map(Into::into).collect(), mutates: false }
    }

    /// A command that changes the host. Nothing ever kills it.
    pub fn mutating(tool: Tool, arguments: impl IntoIterator<Item = impl Into<String>>) -> Command {
        Command { tool, arguments: arguments.into_iter().map(Into::into).collect(), mutates: true }
    }

    /// What people call it: `lvextend` for `lvm lvextend`.
    pub fn name(&self) -> &str {
        match (self.tool, self.arguments.first()) {
            (Tool::Lvm, Some(command)) => command,
            (tool, _) => tool.as_str(),
        }
    }
}

/// As it could be pasted into a shell.
impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.tool.as_str())?;
        self.arguments.iter().try_for_each(|argument| write!(f, " {}", shell_word(argument)))
    }
}

/// One argument as a shell must be given it.
pub fn shell_word(argument: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "+_.-/:=,@%".contains(c);
    if !argument.is_empty() && argument.chars().all(plain) {
        return argument.to_owned();
    }
    format!("'{}'", argument.replace('\'', "'\\''"))
}

/// The file systems that can be grown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FsKind {
    /// Grown by `resize2fs`, mounted or not.
    Ext4,
    /// Grown by `xfs_growfs`, only mounted.
    Xfs,
    /// Grown by `btrfs filesystem resize`, only mounted.
    Btrfs,
}

impl FsKind {
    /// The kernel's and blkid's name of it.
    pub fn as_str(self) -> &'static str {
        match self {
            FsKind::Ext4 => "ext4",
            FsKind::Xfs => "xfs",
            FsKind::Btrfs => "btrfs",
        }
    }

    /// The kind of that name, if it is one that can be grown.
    pub fn from_name(name: &str) -> Option<FsKind> {
        [FsKind::Ext4, FsKind::Xfs, FsKind::Btrfs].into_iter().find(|kind| kind.as_str() == name)
    }

    /// The program that grows it.
    pub fn tool(self) -> Tool {
        match self {
            FsKind::Ext4 => Tool::Resize2fs,
            FsKind::Xfs => Tool::XfsGrowfs,
            FsKind::Btrfs => Tool::Btrfs,
        }
    }
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
    /// Make the volume this many extents large.
    ExtendLv {
        /// The volume.
        lv: LvRef,
        /// Its size afterwards.
        extents: Extents,
        /// The group's extent size, to compare with the volume's size.
        extent_size: Bytes,
    },
    /// Make the metadata of a thin pool this large.
    ExtendPoolMetadata {
        /// The pool.
        lv: LvRef,
        /// Their size afterwards, whole extents.
        size: Bytes,
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
        /// Of a btrfs, the number it has given its device.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        device_id: Option<u64>,
    },
    /// A file system that is mounted nowhere was checked after it was mounted the last time.
    CheckUnmounted {
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
    pub const LABELS: [&str; 6] = [
        "backup_metadata",
        "extend_lv",
        "extend_pool_metadata",
        "check_filesystem",
        "check_unmounted",
        "grow_filesystem",
    ];

    /// The label `step` in metrics, journal and answers.
    pub fn as_str(&self) -> &'static str {
        match self {
            Step::BackupMetadata { .. } => "backup_metadata",
            Step::ExtendLv { .. } => "extend_lv",
            Step::ExtendPoolMetadata { .. } => "extend_pool_metadata",
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
            Step::ExtendLv { lv, extents, .. } => {
                let extents = extents.0.to_string();
                Some(lvextend("-l", &extents, lv))
            }
            Step::ExtendPoolMetadata { lv, size } => {
                let size = format!("{}b", size.0);
                Some(lvextend("--poolmetadatasize", &size, lv))
            }
            Step::CheckFilesystem { .. } => None,
            // -p mends only what cannot be mended wrongly, and asks nothing.
            Step::CheckUnmounted { lv, .. } => {
                Some(Command::mutating(Tool::E2fsck, ["-f", "-p", &lv.dm_path().to_string_lossy()]))
            }
            // Neither is given a size: both then grow to the end of the volume, and neither shrinks a mounted file system.
            Step::GrowFilesystem { kind: FsKind::Ext4, lv, .. } => {
                Some(Command::mutating(Tool::Resize2fs, [lv.dm_path().to_string_lossy()]))
            }
            Step::GrowFilesystem { kind: FsKind::Xfs, mount_point, .. } => {
                Some(Command::mutating(Tool::XfsGrowfs, ["-d", mount_point.as_str()]))
            }
            // `max` is no size either. It waits while a balance runs, with which it would fail.
            Step::GrowFilesystem { kind: FsKind::Btrfs, mount_point, device_id, .. } => {
                let size = format!("{}:max", device_id.unwrap_or(1));
                let arguments = ["filesystem", "resize", "--enqueue", &size, mount_point.as_str()];
                Some(Command::mutating(Tool::Btrfs, arguments))
            }
        }
    }

    /// The command that reaches what this look shows to be missing of the goal. It is another one than [`Step::command`] only for
    /// an XFS that is as large as its volume and has outdated copies of its superblock: `xfs_growfs` would find nothing to do.
    /// `None` for one whose label `xfs_io` cannot be given, because it splits its commands at blanks.
    pub fn command_for(&self, inventory: &Inventory) -> Option<Command> {
        let Step::GrowFilesystem { kind: FsKind::Xfs, lv, mount_point, .. } = self else { return self.command() };
        let volume = inventory.lv(lv).and_then(|lv| lv.size);
        let fs = inventory.filesystem_at(mount_point);
        let fills = fs.zip(volume).and_then(|(fs, volume)| fs.fills(volume));
        match fs.and_then(|fs| fs.outdated_copies.as_deref()).filter(|_| fills == Some(true)) {
            None => self.command(),
            Some(label) if !label.chars().all(|c| c.is_ascii_graphic()) => None,
            Some(label) => {
                let set = if label.is_empty() { "label -c".to_owned() } else { format!("label -s {label}") };
                Some(Command::mutating(Tool::XfsIo, ["-c", &set, mount_point.as_str()]))
            }
        }
    }

    /// Whether the host already is as the step would make it. A backup is not visible in an inventory: it is simply
    /// made again.
    pub fn is_done(&self, inventory: &Inventory) -> bool {
        match self {
            Step::BackupMetadata { .. } => false,
            Step::ExtendLv { lv, extents, extent_size } => {
                inventory.lv(lv).and_then(|lv| lv.size).is_some_and(|size| size >= extents.bytes(*extent_size))
            }
            Step::ExtendPoolMetadata { lv, size } => {
                inventory.lv(lv).and_then(|lv| lv.metadata_size).is_some_and(|now| now >= *size)
            }
            Step::CheckFilesystem { kind, mount_point } => {
                let errors = inventory.filesystem_at(mount_point).map(|fs| fs.errors);
                matches!((kind, errors), (FsKind::Xfs | FsKind::Btrfs, Some(_)) | (FsKind::Ext4, Some(Some(0))))
            }
            Step::CheckUnmounted { always: true, .. } => false,
            Step::CheckUnmounted { lv, mount_point, .. } => {
                let fs = inventory.unmounted_at(lv, mount_point);
                matches!(fs.and_then(|fs| fs.superblock), Some(Superblock::Ext(ext)) if ext.at_rest.checked_since)
            }
            Step::GrowFilesystem { lv, mount_point, .. } => {
                let volume = inventory.lv(lv).and_then(|lv| lv.size);
                let fs = inventory.filesystem_of(lv, mount_point).filter(|fs| fs.outdated_copies.is_none());
                matches!((volume, fs.as_ref().and_then(FileSystem::size)), (Some(volume), Some(fs)) if fs >= volume)
            }
        }
    }

    /// Whether the goal is reached after the command ran. Weaker than [`Step::is_done`] for file systems alone: they may
    /// leave a rest of the volume unused that is too small for them.
    pub fn is_verified(&self, inventory: &Inventory) -> bool {
        match self {
            Step::GrowFilesystem { lv, mount_point, .. } => {
                let volume = inventory.lv(lv).and_then(|lv| lv.size);
                let fs = inventory.filesystem_of(lv, mount_point).filter(|fs| fs.outdated_copies.is_none());
                matches!((volume, fs), (Some(volume), Some(fs)) if fs.fills(volume) == Some(true))
            }
            Step::CheckUnmounted { lv, mount_point, .. } => {
                let fs = inventory.unmounted_at(lv, mount_point);
                matches!(fs.and_then(|fs| fs.superblock), Some(Superblock::Ext(ext)) if ext.at_rest.checked)
            }
            other => other.is_done(inventory),
        }
    }
}

/// While another command works on the group LVM waits for it, whatever lvm.conf says.
pub(crate) const WAIT: &str = "global/wait_for_locks=1";

/// `-A n`: without it `lvextend` first writes the old metadata to /etc/lvm/archive, and fails when that is full or read-only,
/// which it is when `/` is what should grow. We have made our own backup one step before; /etc/lvm/backup is brought up
/// to date by the next report, if there is room.
fn lvextend(option: &str, goal: &str, lv: &LvRef) -> Command {
    Command::mutating(Tool::Lvm, ["lvextend", "-A", "n", "--config", WAIT, option, goal, "--", &lv.to_string()])
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::BackupMetadata { vg, file } => write!(f, "back up the metadata of {vg} to {}", file.display()),
            Step::ExtendLv { lv, extents, extent_size } => {
                write!(f, "extend {lv} to {extents} ({})", extents.bytes(*extent_size))
            }
            Step::ExtendPoolMetadata { lv, size } => write!(f, "extend the metadata of {lv} to {size}"),
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
        let extend = Step::ExtendLv { lv: lv.clone(), extents: Extents(1536), extent_size: Bytes(4 << 20) };
        assert_eq!(
            shown(extend).as_deref(),
            Some("lvm lvextend -A n --config global/wait_for_locks=1 -l 1536 -- my-vg/data_lv")
        );
        let metadata = Step::ExtendPoolMetadata { lv: lv.clone(), size: Bytes(16 << 20) };
        let of_metadata =
            "lvm lvextend -A n --config global/wait_for_locks=1 --poolmetadatasize 16777216b -- my-vg/data_lv";
        assert_eq!(shown(metadata).as_deref(), Some(of_metadata));
        let backup = Step::BackupMetadata { vg: lv.vg.clone(), file: "/s/a b.vg".into() };
        assert_eq!(
            shown(backup).as_deref(),
            Some("lvm vgcfgbackup --config global/wait_for_locks=1 -f '/s/a b.vg' -- my-vg")
        );
        let grow =
            |kind| Step::GrowFilesystem { kind, lv: lv.clone(), mount_point: mount_point.clone(), device_id: Some(2) };
        let ext4 = grow(FsKind::Ext4);
        assert_eq!(shown(ext4).as_deref(), Some("resize2fs /dev/mapper/my--vg-data_lv"));
        let xfs = grow(FsKind::Xfs);
        assert_eq!(shown(xfs).as_deref(), Some("xfs_growfs -d '/it'\\''s data'"));
        let btrfs = shown(grow(FsKind::Btrfs));
        assert_eq!(btrfs.as_deref(), Some("btrfs filesystem resize --enqueue 2:max '/it'\\''s data'"));
        let check = Step::CheckUnmounted { lv: lv.clone(), mount_point: mount_point.clone(), always: true };
        assert_eq!(shown(check).as_deref(), Some("e2fsck -f -p /dev/mapper/my--vg-data_lv"));
    }
}
