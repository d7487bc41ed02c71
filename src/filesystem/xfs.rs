//! XFS. The superblock: XFS Algorithms & Data Structures, "Superblocks".

use serde::{Deserialize, Serialize};

use super::kind::{Capability, Copies, Facts, Kind, LENGTH, Most};
use crate::command::{Command, Tool};
use crate::name::MountPoint;
use crate::units::Bytes;

pub(super) const KIND: Kind = Kind {
    names: &["xfs"],
    grower: Tool::XfsGrowfs,
    // Without a size it grows to the end of the volume.
    grow: |place| Command::mutating(Tool::XfsGrowfs, ["-d", place.mount_point.as_str()]),
    is_given_device: false,
    check: None,
    needs: Capability::CapSysAdmin,
    has_fixed_inodes: false,
    error_counter: None,
    unfit_option: None,
    operations: None,
    has_own_numbers: false,
    copies: Some(Copies {
        rewrite: set_label,
        warning: "the copies of its superblock still have the old size; xfs_repair would use them and delete files, \
            so do not run it before they are rewritten (docs/lvm/troubleshooting.md, 18; any further growth rewrites \
            them too)",
    }),
    after_replay: Some(remount_once),
};

/// `xfs_io` splits its commands at blanks, so that it cannot be given every label.
fn set_label(label: &str, point: &MountPoint) -> Option<Command> {
    if !label.chars().all(|c| c.is_ascii_graphic()) {
        return None;
    }
    let set = if label.is_empty() { "label -c".to_owned() } else { format!("label -s {label}") };
    Some(Command::mutating(Tool::XfsIo, ["-c", &set, point.as_str()]))
}

/// Before commit 4a201dcfa1ff ("xfs: update the pag for the last AG at recovery time", Linux 6.12) the kernel sets up
/// its allocation groups from the superblock that it finds on disk, then replays the log, and does not correct the size
/// of the last group. A record of free space behind that size is corruption to it, and it shuts down. Only a mount
/// without anything to replay reads the right size; `mount -o remount` does not.
fn remount_once(point: &MountPoint) -> String {
    let remount = match point.as_str() {
        "/" => "reboot once more before / grows again".to_owned(),
        point => format!("unmount {point} and mount it once before it grows again"),
    };
    format!(
        "the host restarted during the growth: {remount}, because a kernel without a fix of Linux 6.12 may keep the \
         old size of its last allocation group and shut it down when the new space is used (nothing is lost then; \
         docs/lvm/troubleshooting.md, 20)"
    )
}

/// With so many allocation groups an XFS is warned about, and with so many it is not grown any more. mkfs.xfs makes
/// four, on stripes 16 or 32, and one per processor on large machines; its makers advise not to grow a file system to
/// more than ten times its first size (Dave Chinner, linux-xfs, 14 April 2022, "Limits to growth"). The cost is one per
/// group. Measured in the virtual machine, emulated, with 128, 1,000 and 4,000 groups: a mount 1.6, 4.6 and 11.9 s, and
/// to find out that none of them has space left 4, 28 and 87 s.
const MANY_GROUPS: u64 = 1_000;
const MOST_GROUPS: u64 = 4_000;

/// Of an XFS superblock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the fields are those of the XFS disk format, without the prefix sb_")]
pub struct Xfs {
    pub block_size: u64,
    /// The smallest I/O it was made for.
    pub sector_size: u64,
    /// Which in the first superblock on disk may be half a minute old, while it is mounted.
    pub dblocks: u64,
    pub ag_blocks: u64,
    pub ag_count: u64,
    /// The label, `sb_fname`.
    pub label: String,
    /// 0 where the log is on a device of its own.
    pub internal_log_blocks: u64,
}

pub(super) fn parse(head: &[u8]) -> Option<Xfs> {
    let sb = head.get(..512)?;
    let be32 = |at: usize| u64::from(u32::from_be_bytes([sb[at], sb[at + 1], sb[at + 2], sb[at + 3]]));
    if &sb[..4] != b"XFSB" {
        return None;
    }
    let log_is_internal = be32(48) != 0 || be32(52) != 0;
    let xfs = Xfs {
        block_size: be32(4),
        sector_size: u64::from(u16::from_be_bytes([sb[102], sb[103]])),
        dblocks: be32(8) << 32 | be32(12),
        ag_blocks: be32(84),
        ag_count: be32(88),
        label: String::from_utf8_lossy(sb[108..120].split(|byte| *byte == 0).next().unwrap_or_default()).into_owned(),
        internal_log_blocks: if log_is_internal { be32(96) } else { 0 },
    };
    ((512..=65536).contains(&xfs.block_size) && xfs.ag_blocks > 0).then_some(xfs)
}

/// As many copies as one write of the kernel holds (`xfs_update_secondary_sbs`), which it does in order.
const COPIES: u64 = 16;

impl Xfs {
    /// The size of an allocation group; it never changes.
    fn group_size(&self) -> Bytes {
        Bytes(self.ag_blocks.saturating_mul(self.block_size))
    }

    /// As large as this superblock says.
    fn on_disk(&self) -> Bytes {
        Bytes(self.dblocks.saturating_mul(self.block_size))
    }
}

impl Facts for Xfs {
    /// The first superblock on disk may be half a minute old; but `statvfs` counts all blocks save the internal log
    /// (`xfs_fs_statfs`), and the log never changes size.
    fn size(&self, shown: Option<Bytes>) -> Option<Bytes> {
        Some(Bytes(shown?.0.saturating_add(self.internal_log_blocks.saturating_mul(self.block_size))))
    }

    /// `XFS_MIN_AG_BLOCKS`: a last allocation group of fewer than 64 blocks is not made.
    fn slack(&self) -> Bytes {
        Bytes(64 * self.block_size)
    }

    /// On larger ones it cannot be mounted any more.
    fn bears(&self) -> Bytes {
        Bytes(self.sector_size)
    }

    fn most(&self) -> Option<Most> {
        let group = self.group_size();
        let why = format!(
            "which is {MOST_GROUPS} allocation groups of {group} (it has {}), and more groups would make it slow",
            self.ag_count
        );
        let advice = "move the data to a new one, or set allow_large_xfs_growth";
        Some(Most { size: Bytes(group.0.saturating_mul(MOST_GROUPS)), why, advice, is_soft: true })
    }

    /// It keeps the size of the allocation groups it was made with.
    fn slow_at(&self, size: Bytes, point: &MountPoint) -> Option<String> {
        let group = self.group_size();
        let groups = size.0.div_ceil(group.0.max(1));
        (groups > MANY_GROUPS).then(|| {
            format!(
                "the XFS at {point} will have {groups} allocation groups of {group} (it has {}), and more than {MANY_GROUPS} \
                 make it slow",
                self.ag_count
            )
        })
    }

    /// A project quota, or a realtime section where that is inherited from the mount point (`xfs_fs_statfs`). What is
    /// on disk may be old, but no XFS was larger then.
    fn hidden_size(&self, shown: Bytes, volume: Bytes) -> Option<Bytes> {
        let (size, own, slack) = (self.size(Some(shown))?, self.on_disk(), self.slack());
        let is_own = size.0.saturating_add(slack.0) >= own.0 && size.0 <= volume.0.saturating_add(slack.0);
        (!is_own).then_some(own)
    }

    /// At the beginning of each allocation group but the first; of many some, the last among them.
    fn copies(&self) -> Vec<u64> {
        let (last, step) = (self.ag_count.saturating_sub(1), self.ag_count.div_ceil(COPIES).max(1));
        let groups = (0..COPIES).map_while(|n| last.checked_sub(n * step)).filter(|group| *group > 0);
        groups.map(|group| group.saturating_mul(self.ag_blocks).saturating_mul(self.block_size)).collect()
    }

    fn says(&self) -> Option<(Bytes, &str)> {
        Some((self.on_disk(), &self.label))
    }

    fn render(&self) -> Vec<u8> {
        let mut head = vec![0; LENGTH];
        let mut put = |at: usize, value: u64| head[at..at + 4].copy_from_slice(&(value as u32).to_be_bytes());
        put(4, self.block_size);
        put(8, self.dblocks >> 32);
        put(12, self.dblocks & 0xFFFF_FFFF);
        put(52, u64::from(self.internal_log_blocks > 0));
        put(84, self.ag_blocks);
        put(88, self.ag_count);
        put(96, self.internal_log_blocks);
        let label = &self.label.as_bytes()[..self.label.len().min(12)];
        head[108..108 + label.len()].copy_from_slice(label);
        head[102..104].copy_from_slice(&(self.sector_size as u16).to_be_bytes());
        head[..4].copy_from_slice(b"XFSB");
        head
    }
}
