//! The table of the guards: one row for each, in the order in which they are asked.

use serde::{Deserialize, Serialize};

use super::filesystem::{
    below_threshold, device_mismatch, fs_errors, fs_needs_check, fs_no_online_growth, fs_read_only, fs_unsupported,
    not_mounted,
};
use super::group::{
    config_suspect, disk_shrunk, duplicate_pv, pv_unusable, vg_exported, vg_foreign, vg_partial, vg_read_only,
    vg_shared,
};
use super::mapping::{luks_key, luks_unsupported};
use super::request::{
    breaker_open, budget_exhausted, cooldown, mode_off, operation_in_progress, outside_window, paused,
};
use super::subject::Guard;
use super::volume::{layered_device, lv_busy, lv_inactive, lv_read_only, lv_suspended, lv_unhealthy, snapshot_origin};

/// A row: the code, its name, what asks, when it passes, and what a person can do when it refuses; the last two in the
/// Markdown of docs/guards.md.
macro_rules! guards {
    ($($variant:ident $code:literal $ask:expr, $passes:literal $advice:literal;)+) => {
        /// Why nothing is done. The codes are the label `code` of `lvm_autoscaler_refusals_total` and never change.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[allow(missing_docs, reason = "docs/guards.md explains each")]
        pub enum Code {
            $(#[serde(rename = $code)] $variant),+
        }

        impl Code {
            /// All of them, in the order in which they are asked.
            pub const ALL: &[Code] = &[$(Code::$variant),+];

            /// As it stands in metrics, journal and answers.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Code::$variant => $code),+
                }
            }

            /// When it passes, and what a person can do when it refuses.
            pub(super) fn meaning(self) -> (&'static str, &'static str) {
                match self {
                    $(Code::$variant => ($passes, $advice)),+
                }
            }

            /// The guard; `None` where the code is decided before there is a [`super::Subject`], or by `size`.
            pub fn guard(self) -> Option<Guard> {
                match self {
                    $(Code::$variant => $ask),+
                }
            }
        }
    };
}

guards! {
    UnknownTarget "unknown_target" None,
        "the labels name a target, of `monitor.targets` or of a policy, and the host has exactly one such volume"
        "add it to the config if it should grow, or correct the rule's labels";
    OtherHost "other_host" None,
        "the label `instance` is one of this host's names"
        "list the name in `webhook.instances`; if the rule aggregates, keep `instance`";
    AmbiguousAlert "ambiguous_alert" None,
        "all labels that name a volume name the same one"
        "correct the rule";
    ModeOff "mode_off" Some(mode_off),
        "`mode` is `act` or `recommend`"
        "set `mode`";
    Paused "paused" Some(paused),
        "neither the target nor all targets are paused"
        "`lvm-autoscaler resume [TARGET]`";
    OutsideWindow "outside_window" Some(outside_window),
        "local time is within `window`; a window that ends before it begins ends on the next day"
        "wait, or change `window`";
    OperationInProgress "operation_in_progress" Some(operation_in_progress),
        "no operation on the volume runs or needs attention"
        "wait, or run the commands that the sentence names";
    BreakerOpen "breaker_open" Some(breaker_open),
        "fewer than `breaker_failures` operations failed in a row"
        "find out why, then `lvm-autoscaler reset TARGET`";
    Cooldown "cooldown" Some(cooldown),
        "`cooldown` has passed since the last operation"
        "wait, or lower `cooldown`";
    BudgetExhausted "budget_exhausted" Some(budget_exhausted),
        "`budget` and `volume_groups[].budget` allow another extension by at least the smallest step"
        "wait until the oldest extension no longer counts, or raise the budget";
    ConfigSuspect "config_suspect" Some(config_suspect),
        "no entry of `volume_groups` that is not on this host has nearly the group's name, or the group has an entry of its own"
        "correct the name, or give the group an entry";
    VgPartial "vg_partial" Some(vg_partial),
        "no PV is missing"
        "bring it back: `pvs`, `vgextend --restoremissing`";
    VgExported "vg_exported" Some(vg_exported),
        "it is not exported"
        "`vgimport`";
    VgForeign "vg_foreign" Some(vg_foreign),
        "its system ID is empty or this host's"
        "grow it on its own host, lvmsystemid(7)";
    VgShared "vg_shared" Some(vg_shared),
        "it is not shared through lvmlockd"
        "grow it by hand";
    VgReadOnly "vg_read_only" Some(vg_read_only),
        "its metadata is writable"
        "no command changes that: `vgcfgrestore` an edited `vgcfgbackup`";
    DuplicatePv "duplicate_pv" Some(duplicate_pv),
        "LVM finds each PV of the group on one device only"
        "set up multipath, hide one device with `devices/filter`, or give a copy another UUID: `vgimportclone`";
    DiskShrunk "disk_shrunk" Some(disk_shrunk),
        "no PV of the group is larger than its device, or than the shortest path of a multipath device"
        "restore the size of the disk: `pvs -o+dev_size`";
    PvUnusable "pv_unusable" Some(pv_unusable),
        "each PV's device takes writes, is not suspended, and is not a logical volume of this host"
        "`lsblk -o+RO`, `dmsetup info`; hide the disks of virtual machines with `devices/filter`";
    LvInactive "lv_inactive" Some(lv_inactive),
        "it is active on this host"
        "`lvchange -ay`, then mount it";
    LvSuspended "lv_suspended" Some(lv_suspended),
        "it is not suspended"
        "find out which command did it, then `lvchange --refresh`";
    LvReadOnly "lv_read_only" Some(lv_read_only),
        "it is writable"
        "`lvchange --permission rw`";
    LvBusy "lv_busy" Some(lv_busy),
        "no pvmove runs in the group, no conversion or merge of the volume, and its legs are in sync; for a pool also \
         those of its hidden volumes, and dmeventd does not extend it by itself"
        "wait until it ends; switch off `thin_pool_autoextend_threshold` or remove the target";
    LvUnhealthy "lv_unhealthy" Some(lv_unhealthy),
        "LVM reports no problem with it, with its thin pool, or with the RAIDs below that pool"
        "repair it first: `lvs -o+lv_health_status`";
    SnapshotOrigin "snapshot_origin" Some(snapshot_origin),
        "it is not the origin of a snapshot (thin snapshots do not count)"
        "`lvremove` the snapshot when it is no longer needed";
    LuksUnsupported "luks_unsupported" Some(luks_unsupported),
        "if dm-crypt lies on it: it is LUKS1 or LUKS2 with its header on the volume and one segment, without \
         integrity tags, not of a fixed size and not being re-encrypted; and cryptsetup and dmsetup are installed"
        "grow it by hand: `cryptsetup status`, `cryptsetup luksDump`";
    LayeredDevice "layered_device" Some(layered_device),
        "it is linear, striped, RAID or thin, it is certain where LVM would extend it, nothing but LUKS lies between \
         it and its file system, and no other program has it open"
        "grow the layers by hand: `lsblk`, `fuser -v`";
    NotMounted "not_mounted" Some(not_mounted),
        "something is mounted at `mount_point`; or `offline: allow` is set, the volume has an ext4, and no program \
         has it open"
        "mount it, or correct `mount_point`";
    DeviceMismatch "device_mismatch" Some(device_mismatch),
        "the mount table, the path of the mount point and the mounted device name all lead to the target's volume"
        "correct `mount_point` or `lv_path`; after `lvrename` or a second mount over it, unmount it and mount it \
         again";
    FsUnsupported "fs_unsupported" Some(fs_unsupported),
        "it is ext2, ext3, ext4, XFS, or btrfs on one device, according to the mount table, `blkid` and its \
         superblock; its own size can be read; and the programs for it are installed"
        "install the program, or grow it by hand; if a project quota limits the mount point, raise the quota";
    FsReadOnly "fs_read_only" Some(fs_read_only),
        "it is mounted read-write"
        "find the reason in the kernel's log, then remount it";
    FsErrors "fs_errors" Some(fs_errors),
        "ext only: the kernel counted no errors; if it is not mounted, it was unmounted cleanly, and with \
         `filesystem_check: never` also checked since"
        "unmount it and run `e2fsck`";
    FsNeedsCheck "fs_needs_check" Some(fs_needs_check),
        "ext only: the superblock has no error flag, and its features do not contradict one another"
        "unmount it, run `e2fsck -f -p`, mount it";
    FsNoOnlineGrowth "fs_no_online_growth" Some(fs_no_online_growth),
        "the kernel can grow it while it is mounted: it has no `sparse_super2`, was not mounted with a backup \
         superblock, and is not frozen; a btrfs runs no exclusive operation and will have at least 256 MiB; and the \
         daemon has the capability for it"
        "wait until the freeze or the operation ends; otherwise grow it unmounted (`offline: allow`)";
    LuksKey "luks_key" Some(luks_key),
        "if LUKS lies between volume and file system and the kernel has the volume key in its keyring: \
         `luks_key_file` is set, only root can read it, it is not on the file system of a target, and it opens the volume"
        "`cryptsetup luksAddKey --pbkdf pbkdf2 DEVICE KEYFILE`, and set `luks_key_file`";
    BelowThreshold "below_threshold" Some(below_threshold),
        "usage as `df` shows it is above `threshold_percent`, or the used inodes of an ext4 are above \
         `inode_threshold_percent`; for a pool: its data is above `data_threshold_percent` or its metadata above \
         `metadata_threshold_percent`"
        "nothing to do";
    AtMaxSize "at_max_size" None,
        "a step fits below `max_size`; for the metadata of a pool below 15 GiB"
        "raise `max_size`";
    FsLimit "fs_limit" None,
        "the file system can be that large. The limits: ext4 without `64bit` has at most 2^32 blocks, with \
         `resize_inode` as many as its descriptor blocks allow; XFS has at most 4,000 allocation groups, unless \
         `allow_large_xfs_growth` is set"
        "move the data to a new file system";
    VgReserve "vg_reserve" None,
        "a step leaves `volume_groups[].reserve` free"
        "`vgextend`, or lower the reserve";
    BlockSize "block_size" None,
        "a step fits on PVs whose logical block size the file system can use: at most the block size of an ext, the \
         sector size of an XFS or btrfs; for a pool the smallest of those on its volumes"
        "`vgextend` a disk with that block size";
    InsufficientSpace "insufficient_space" None,
        "LVM can certainly allocate a step: on PVs that are present and allocatable, with stripes and legs on \
         different PVs, and as the policy (`contiguous`, `cling`) requires"
        "`vgextend`, or free some space";
    SupplyRefused "supply_refused" None,
        "where the free space is not enough, a disk that became larger or a spare supplies it, if `grown_disks` or `spares` of \
         the group allow that"
        "what the sentence says; otherwise `vgextend`";
    PoolSpace "pool_space" None,
        "the thin pool has room for a step: `max_overprovision`, `min_pool_free_data`, `min_pool_free_metadata`"
        "extend the pool, or make it a target";
}
