//! `docs/guards.md`, written from the table of the guards: what each asks, and what a person can do when it refuses.

use crate::plan::Code;

/// The whole page.
pub fn page() -> String {
    let mut page = String::from(INTRODUCTION);
    for (title, first) in SECTIONS {
        page.push_str(&format!("\n## {title}\n\n| code | passes if | when it refuses |\n|---|---|---|\n"));
        let next = SECTIONS.iter().map(|(_, code)| *code).find(|code| *code > first);
        for code in Code::ALL.iter().filter(|code| **code >= first && next.is_none_or(|next| **code < next)) {
            let (passes, advice) = meaning(*code);
            page.push_str(&format!("| `{code}` | {passes} | {advice} |\n"));
        }
    }
    page.push_str(SIZE);
    page
}

/// A section begins with this code.
const SECTIONS: [(&str, Code); 6] = [
    ("The request", Code::UnknownTarget),
    ("The time", Code::ModeOff),
    ("The volume group", Code::VgPartial),
    ("The logical volume", Code::LvInactive),
    ("The file system", Code::NotMounted),
    ("The size", Code::AtMaxSize),
];

/// What a guard passes, and what a person can do when it does not. A `match`, so that no code is without.
fn meaning(code: Code) -> (&'static str, &'static str) {
    match code {
        Code::UnknownTarget => (
            "the labels name one of `monitor.targets`, and there is one such volume",
            "add it to the config if it should grow, or correct the rule's labels",
        ),
        Code::OtherHost => (
            "the label `instance` is one of this host's names",
            "list the name in `webhook.instances`; keep `instance` when the rule aggregates",
        ),
        Code::AmbiguousAlert => ("all labels that name a volume name the same one", "correct the rule"),
        Code::ModeOff => ("`mode` is `act` or `recommend`", "set `mode`"),
        Code::Paused => ("nobody paused the target, or all", "`lvm-autoscaler resume [TARGET]`"),
        Code::OutsideWindow => (
            "local time is in `window`; one that ends before it begins ends on the next day",
            "wait, or change `window`",
        ),
        Code::OperationInProgress => {
            ("no operation on the volume runs or needs attention", "wait, or do what the sentence names")
        }
        Code::BreakerOpen => (
            "fewer than `breaker_failures` operations failed in a row",
            "find out why, then `lvm-autoscaler reset TARGET`",
        ),
        Code::Cooldown => ("`cooldown` has passed since the last operation", "wait, or lower `cooldown`"),
        Code::BudgetExhausted => (
            "`budget` and `volume_groups[].budget` leave an extension and the smallest step",
            "wait until the oldest extension no longer counts, or raise the budget",
        ),
        Code::VgPartial => ("no PV is missing", "bring it back: `pvs`, `vgextend --restoremissing`"),
        Code::VgExported => ("it is not exported", "`vgimport`"),
        Code::VgForeign => ("its system ID is empty or this host's", "grow it on its own host, lvmsystemid(7)"),
        Code::VgShared => ("it is not shared through lvmlockd", "grow it by hand"),
        Code::VgReadOnly => ("it is writeable", "no command lifts that: `vgcfgrestore` an edited `vgcfgbackup`"),
        Code::LvInactive => ("it is active on this host", "`lvchange -ay`, mount it"),
        Code::LvSuspended => ("it is not suspended", "find out who did it, then `lvchange --refresh`"),
        Code::LvReadOnly => ("it is writeable", "`lvchange --permission rw`"),
        Code::LvBusy => (
            "no pvmove in the group, no conversion or merge of the volume, its legs in sync; for a pool the same of what it is made of, and dmeventd does not extend it by itself",
            "wait until it ends; switch off `thin_pool_autoextend_threshold` or remove the target",
        ),
        Code::LvUnhealthy => (
            "LVM reports no trouble with it, with its thin pool, or with the RAIDs that is made of",
            "mend it first: `lvs -o+lv_health_status`",
        ),
        Code::SnapshotOrigin => {
            ("no old-style snapshot has it as origin", "`lvremove` the snapshot when it is no longer needed")
        }
        Code::LayeredDevice => (
            "it is linear, striped, RAID or thin and nothing lies between it and its file system; nobody else has it open",
            "grow the layers by hand: `lsblk`, `fuser -v`",
        ),
        Code::NotMounted => (
            "something is mounted at `mount_point`; or `offline: allow` is set, the volume has an ext4, and nobody at all has it open",
            "mount it, or correct `mount_point`",
        ),
        Code::DeviceMismatch => (
            "that is the target's volume, seen in the mount table, through the path, and by the name it was mounted by",
            "correct `mount_point` or `lv_path`; after `lvrename` or a second mount over it, unmount it and mount it again",
        ),
        Code::FsUnsupported => (
            "it is ext4, XFS, or btrfs on one device, by the mount table, `blkid` and its superblock, it shows its own size, and the programs for it are there",
            "install the program, or grow it by hand; with a project quota on the mount point raise that",
        ),
        Code::FsReadOnly => ("it is mounted read-write", "look into the kernel's log, remount it"),
        Code::FsErrors => (
            "the kernel counted no error on an ext4; one that is not mounted was unmounted in order, and checked where `filesystem_check` is `never`",
            "unmount it and run `e2fsck`",
        ),
        Code::BelowThreshold => (
            "usage as `df` shows it is above `threshold_percent`, or of an ext4 that of its inodes above `inode_threshold_percent`; for a pool: its data above `data_threshold_percent` or its metadata above `metadata_threshold_percent`",
            "nothing to do",
        ),
        Code::AtMaxSize => ("a step fits below `max_size`; the metadata of a pool end at 15 GiB", "raise `max_size`"),
        Code::FsLimit => (
            "the file system can be that large: ext4 without `64bit` ends at 2^32 blocks, with `resize_inode` where its descriptor blocks end; XFS at 100 times its first size unless `allow_large_xfs_growth` is set",
            "move the data to a new file system",
        ),
        Code::VgReserve => ("a step leaves `volume_groups[].reserve` free", "`vgextend`, or lower the reserve"),
        Code::InsufficientSpace => (
            "LVM can certainly allocate a step: PVs present and allocatable, stripes and legs on different PVs, `contiguous` and `cling` as they say",
            "`vgextend`, or free some space",
        ),
        Code::PoolSpace => (
            "the thin pool can carry a step: `max_overprovision`, `min_pool_free_data`, `min_pool_free_metadata`",
            "extend the pool, or make it a target",
        ),
    }
}

const INTRODUCTION: &str = "# Guards

<!-- Written from src/plan/guard/reference.rs by `UPDATE_DOCS=1 cargo test --test docs`; edit that. -->

Before anything is done these questions are asked, in this order; the first that is answered with no ends it. A refusal has the
code, a sentence with the numbers in it and what a person can do about it; it is in the log, in the journal and in
`lvm_autoscaler_refusals_total{code=...}`. A guard that lacks a value refuses: what is not known is not safe.
`lvm-autoscaler plan` shows every guard with its answer, `--format=json` for programs. tests/golden/refusals.txt has a sentence of each.
";

const SIZE: &str = "
A step is `increment`; where usage would still be above the threshold as many as needed, and where not all of it fits but at
least `min_increment` does, what fits. Sizes are rounded up to extents, and to stripes or RAID rows where the volume has them.

## What time is

Cooldowns and budgets count the time that certainly passed: within one boot by the kernel's own clock, which nobody can set, between
boots by the wall clock, never less than the host has been up. They survive a restart, because they are computed from the journal.
Only `window` goes by the wall clock.
";
