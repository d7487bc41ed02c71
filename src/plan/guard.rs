//! The guards: one function each, one ordered table. Each says yes, or no with a sentence that has the numbers in it and
//! says what a person can do.
//!
//! A guard that lacks a value refuses: what is not known is not safe. Guards never look at anything but their
//! [`Subject`], so a decision can be repeated from recorded data.

use jiff::{SignedDuration, Timestamp};

use super::history::History;
use super::refusal::{Code, Refusal};
use super::step::FsKind;
use crate::config::{Config, Target};
use crate::inventory::{FileSystem, Inventory, Lv, Superblock, Vg};

/// Everything a guard may look at: one target on one host at one moment.
pub struct Subject<'a> {
    /// What is to grow.
    pub target: &'a Target,
    /// All settings.
    pub config: &'a Config,
    /// The host, freshly looked at.
    pub inventory: &'a Inventory,
    /// The target's volume group.
    pub vg: &'a Vg,
    /// The target's volume.
    pub lv: &'a Lv,
    /// What is mounted at the target's mount point, if that is on a volume.
    pub fs: Option<&'a FileSystem>,
    /// What was done before.
    pub history: &'a History,
    /// The time of the decision.
    pub now: Timestamp,
}

/// A guard's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing in the way.
    Pass,
    /// No, and why.
    Refuse(String),
    /// Cannot be asked, because another guard already refused what this one needs.
    NotAsked,
}

type Guard = fn(&Subject<'_>) -> Verdict;

/// The guards in the order in which they are asked. The first three codes (`unknown_target`, `other_host`,
/// `ambiguous_alert`) are decided before there is a [`Subject`], the last three by `size`.
pub const GUARDS: &[(Code, Guard)] = &[
    (Code::OperationInProgress, operation_in_progress),
    (Code::Cooldown, cooldown),
    (Code::VgPartial, vg_partial),
    (Code::VgExported, vg_exported),
    (Code::VgShared, vg_shared),
    (Code::VgReadOnly, vg_read_only),
    (Code::LvInactive, lv_inactive),
    (Code::LvSuspended, lv_suspended),
    (Code::LvReadOnly, lv_read_only),
    (Code::LvBusy, lv_busy),
    (Code::LvUnhealthy, lv_unhealthy),
    (Code::SnapshotOrigin, snapshot_origin),
    (Code::LayeredDevice, layered_device),
    (Code::NotMounted, not_mounted),
    (Code::DeviceMismatch, device_mismatch),
    (Code::FsUnsupported, fs_unsupported),
    (Code::FsReadOnly, fs_read_only),
    (Code::FsErrors, fs_errors),
    (Code::BelowThreshold, below_threshold),
];

/// Asks all guards.
pub fn ask_all(subject: &Subject<'_>) -> Vec<(Code, Verdict)> {
    GUARDS.iter().map(|(code, guard)| (*code, guard(subject))).collect()
}

/// The first refusal among answers.
pub fn first_refusal(verdicts: &[(Code, Verdict)]) -> Option<Refusal> {
    verdicts.iter().find_map(|(code, verdict)| match verdict {
        Verdict::Refuse(sentence) => Some(Refusal::new(*code, sentence.clone())),
        Verdict::Pass | Verdict::NotAsked => None,
    })
}

/// Passes if the value is known and as it should be.
fn require(value: Option<bool>, wanted: bool, what: &str, otherwise: impl FnOnce() -> String) -> Verdict {
    match value {
        Some(value) if value == wanted => Verdict::Pass,
        Some(_) => Verdict::Refuse(otherwise()),
        None => Verdict::Refuse(format!("LVM did not say whether {what}: look at it with lvs and vgs")),
    }
}

fn refuse_if(refuse: bool, otherwise: impl FnOnce() -> String) -> Verdict {
    if refuse { Verdict::Refuse(otherwise()) } else { Verdict::Pass }
}

fn operation_in_progress(s: &Subject<'_>) -> Verdict {
    let name = &s.lv.name;
    match s.history.open.get(name) {
        None => Verdict::Pass,
        Some(open) => Verdict::Refuse(match &open.attention {
            None => format!("{} on {name} has been running since {}: wait until it ends", open.id, open.since),
            Some(what) => format!("{} on {name} needs attention since {}: {what}", open.id, open.since),
        }),
    }
}

fn cooldown(s: &Subject<'_>) -> Verdict {
    let Some(last) = s.history.last.get(&s.lv.name) else { return Verdict::Pass };
    let cooldown = SignedDuration::try_from(s.target.cooldown).unwrap_or(SignedDuration::MAX);
    let elapsed = s.now.duration_since(last.at);
    // A clock that was set back makes `elapsed` negative; that must not end the wait.
    refuse_if(elapsed < cooldown, || {
        let left = std::time::Duration::from_secs(cooldown.saturating_sub(elapsed).as_secs().max(1).unsigned_abs());
        format!(
            "{} ended at {} and the cooldown is {}: wait {}, or lower cooldown",
            last.id,
            last.at,
            humantime::format_duration(s.target.cooldown),
            humantime::format_duration(left),
        )
    })
}

fn vg_partial(s: &Subject<'_>) -> Verdict {
    let missing = s.vg.missing_pv_count.map_or("some".to_owned(), |count| count.to_string());
    require(s.vg.partial, false, "the volume group is partial", || {
        format!("{} misses {missing} of its PVs: bring them back, see pvs and vgextend --restoremissing", s.vg.name)
    })
}

fn vg_exported(s: &Subject<'_>) -> Verdict {
    require(s.vg.exported, false, "the volume group is exported", || {
        format!("{} is exported: vgimport it if it belongs to this host", s.vg.name)
    })
}

fn vg_shared(s: &Subject<'_>) -> Verdict {
    require(s.vg.shared, false, "the volume group is shared", || {
        format!("{} is shared between hosts (lvmlockd): this tool grows only local volume groups", s.vg.name)
    })
}

fn vg_read_only(s: &Subject<'_>) -> Verdict {
    require(s.vg.read_only, false, "the volume group is read-only", || {
        format!("{} is read-only: vgchange --permission rw if it should grow", s.vg.name)
    })
}

fn lv_inactive(s: &Subject<'_>) -> Verdict {
    require(s.lv.active, true, "the volume is active", || {
        format!("{0} is not active on this host: lvchange -ay {0} and mount it", s.lv.name)
    })
}

fn lv_suspended(s: &Subject<'_>) -> Verdict {
    require(s.lv.suspended, false, "the volume is suspended", || {
        format!("{} is suspended: find out who did it, then dmsetup resume {}", s.lv.name, s.lv.dm_path)
    })
}

fn lv_read_only(s: &Subject<'_>) -> Verdict {
    require(s.lv.read_only, false, "the volume is read-only", || {
        format!("{0} is read-only: lvchange --permission rw {0} if it should grow", s.lv.name)
    })
}

fn lv_busy(s: &Subject<'_>) -> Verdict {
    let moved = s.lv.move_pv.is_some()
        || s.inventory.lvs.iter().any(|other| other.name.vg == s.lv.name.vg && other.is_role("pvmove"));
    if moved {
        return Verdict::Refuse(format!("a pvmove is under way in {}: wait until it ends", s.vg.name));
    }
    let changing = match (s.lv.converting, s.lv.merging) {
        (Some(converting), Some(merging)) => Some(converting || merging),
        _ => None,
    };
    require(changing, false, "the volume is being converted or merged", || {
        format!("{} is being converted or merged: wait until it ends, see lvs -a", s.lv.name)
    })
}

fn lv_unhealthy(s: &Subject<'_>) -> Verdict {
    refuse_if(!s.lv.health.is_empty(), || {
        format!("LVM says that {} is {:?}: mend it first, see lvs -o+lv_health_status", s.lv.name, s.lv.health)
    })
}

fn snapshot_origin(s: &Subject<'_>) -> Verdict {
    let snapshots: Vec<_> = s.inventory.snapshots_of(s.lv).map(|lv| lv.name.to_string()).collect();
    refuse_if(!snapshots.is_empty() || s.lv.is_role("thickorigin"), || {
        format!(
            "{} is the origin of {}: LVM extends an origin only while it is inactive, lvremove the snapshot when it is no longer needed",
            s.lv.name,
            if snapshots.is_empty() { "a snapshot".to_owned() } else { snapshots.join(", ") }
        )
    })
}

/// Only volumes that are plain runs of extents: what lies between another kind and its file system needs more care.
fn layered_device(s: &Subject<'_>) -> Verdict {
    let plain = s.lv.segments.iter().all(|segment| ["linear", "striped"].contains(&segment.kind.as_str()));
    let known = !s.lv.segments.is_empty() && !s.lv.layout.is_empty();
    refuse_if(!plain || !known || s.lv.is_role("snapshot") || s.lv.is_role("private"), || {
        let layout = if s.lv.layout.is_empty() { "of an unknown kind".to_owned() } else { s.lv.layout.join(",") };
        format!("{} is {layout}: only linear and striped volumes are grown, extend it by hand", s.lv.name)
    })
}

fn not_mounted(s: &Subject<'_>) -> Verdict {
    let mounted = s.inventory.mounts.iter().any(|mount| mount.mount_point == s.target.mount_point);
    refuse_if(!mounted, || {
        format!("nothing is mounted at {}: mount {} there, or correct mount_point", s.target.mount_point, s.lv.name)
    })
}

fn device_mismatch(s: &Subject<'_>) -> Verdict {
    let point = &s.target.mount_point;
    let Some(mount) = s.inventory.mount_at(point) else { return Verdict::NotAsked };
    let Some(device) = s.lv.device else {
        return Verdict::Refuse(format!("LVM did not say which device {} is: look at it with lvs", s.lv.name));
    };
    if mount.device != device {
        return Verdict::Refuse(format!(
            "{} ({}) is mounted at {point}, not {} ({device}): correct mount_point or lv_path",
            mount.source, mount.device, s.lv.name
        ));
    }
    // What statvfs measured must be the very file system that mountinfo names: a mount further up may hide it.
    match s.fs.and_then(|fs| fs.usage_device) {
        Some(seen) if seen == device => Verdict::Pass,
        Some(seen) => Verdict::Refuse(format!(
            "the path {point} leads to device {seen}, not to {} ({device}): another mount hides it",
            s.lv.name
        )),
        None => Verdict::Refuse(format!("{point} does not answer: see whether `df {point}` does")),
    }
}

fn fs_unsupported(s: &Subject<'_>) -> Verdict {
    let Some(fs) = s.fs else { return Verdict::NotAsked };
    let mounted = fs.mount.fs_type.as_str();
    let Some(kind) = FsKind::from_name(mounted) else {
        return Verdict::Refuse(format!(
            "{mounted} at {} cannot be grown by this tool: only ext4 and xfs can",
            fs.mount.mount_point
        ));
    };
    match fs.signature.as_deref() {
        Some(signature) if signature == mounted => {}
        Some(other) => {
            return Verdict::Refuse(format!(
                "blkid finds {other:?} on {} where {mounted} is mounted: find out why first",
                s.lv.name
            ));
        }
        None => {
            return Verdict::Refuse(format!(
                "blkid finds no file system on {}: see blkid -p {}",
                s.lv.name, s.lv.dm_path
            ));
        }
    }
    let agrees = matches!(
        (kind, &fs.superblock),
        (FsKind::Ext4, Some(Superblock::Ext(_))) | (FsKind::Xfs, Some(Superblock::Xfs(_)))
    );
    if !agrees {
        return Verdict::Refuse(format!(
            "the superblock of {} cannot be read as {mounted}: see blkid -p {}",
            s.lv.name, s.lv.dm_path
        ));
    }
    let tool = kind.tool();
    refuse_if(s.inventory.missing_tools.iter().any(|missing| missing == tool.as_str()), || {
        format!(
            "{} is not installed and {mounted} cannot be grown without it: install it, or set tools.{0}",
            tool.as_str()
        )
    })
}

fn fs_read_only(s: &Subject<'_>) -> Verdict {
    let Some(fs) = s.fs else { return Verdict::NotAsked };
    refuse_if(fs.mount.read_only || fs.usage.is_some_and(|usage| usage.read_only), || {
        format!("{} is mounted read-only: look into the kernel's log why, then remount it", fs.mount.mount_point)
    })
}

fn fs_errors(s: &Subject<'_>) -> Verdict {
    let Some(fs) = s.fs else { return Verdict::NotAsked };
    if fs.mount.fs_type != FsKind::Ext4.as_str() {
        return Verdict::Pass;
    }
    match fs.errors {
        Some(0) => Verdict::Pass,
        Some(count) => Verdict::Refuse(format!(
            "the kernel counted {count} errors on {}: unmount it and run e2fsck before it grows",
            fs.mount.mount_point
        )),
        None => Verdict::Refuse(format!(
            "the kernel's error counter of {} cannot be read: see /sys/fs/ext4/*/errors_count",
            fs.mount.mount_point
        )),
    }
}

fn below_threshold(s: &Subject<'_>) -> Verdict {
    let Some(usage) = s.fs.and_then(|fs| fs.usage) else { return Verdict::NotAsked };
    let (percent, threshold) = (usage.percent(), s.target.threshold);
    refuse_if(percent.value() <= threshold.value(), || {
        format!("{} is {percent} full, it grows above {threshold}", s.target.mount_point)
    })
}
