//! Whether the right file system is there, sound, and full enough.

use super::{Subject, Verdict, refuse_if};
use crate::config::What;
use crate::inventory::Superblock;
use crate::plan::{FsKind, Tool};

pub(super) fn not_mounted(s: &Subject<'_>) -> Verdict {
    let Some(point) = s.target.mount_point() else { return Verdict::NotAsked };
    let mounted = s.inventory.mounts.iter().any(|mount| &mount.mount_point == point);
    refuse_if(!mounted, || format!("nothing is mounted at {point}: mount {} there, or correct mount_point", s.lv.name))
}

pub(super) fn device_mismatch(s: &Subject<'_>) -> Verdict {
    let Some(point) = s.target.mount_point() else { return Verdict::NotAsked };
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

pub(super) fn fs_unsupported(s: &Subject<'_>) -> Verdict {
    let Some(fs) = s.fs else { return Verdict::NotAsked };
    let mounted = fs.mount.fs_type.as_str();
    let Some(kind) = FsKind::from_name(mounted) else {
        return Verdict::Refuse(format!(
            "{mounted} at {} cannot be grown by this tool: only ext4 and xfs can",
            fs.mount.mount_point
        ));
    };
    if let Some(tool) = missing(s, [Tool::Blkid, kind.tool()]) {
        let name = tool.as_str();
        return Verdict::Refuse(format!(
            "{name} is not installed and {}: install it, or set tools.{name}",
            tool.disables()
        ));
    }
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
    refuse_if(!agrees, || {
        format!("the superblock of {} cannot be read as {mounted}: see blkid -p {}", s.lv.name, s.lv.dm_path)
    })
}

/// The first of the programs that was not found.
fn missing<const N: usize>(s: &Subject<'_>, needed: [Tool; N]) -> Option<Tool> {
    needed.into_iter().find(|tool| s.inventory.missing_tools.iter().any(|missing| missing == tool.as_str()))
}

pub(super) fn fs_read_only(s: &Subject<'_>) -> Verdict {
    let Some(fs) = s.fs else { return Verdict::NotAsked };
    refuse_if(fs.mount.read_only || fs.usage.is_some_and(|usage| usage.read_only), || {
        format!("{} is mounted read-only: look into the kernel's log why, then remount it", fs.mount.mount_point)
    })
}

pub(super) fn fs_errors(s: &Subject<'_>) -> Verdict {
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

pub(super) fn below_threshold(s: &Subject<'_>) -> Verdict {
    // A person knows what is coming; usage does not.
    if s.wish.is_a_persons() {
        return Verdict::NotAsked;
    }
    let threshold = s.target.threshold;
    match &s.target.what {
        What::ThinPool { metadata_threshold } => {
            let (Some(data), Some(metadata)) = (s.lv.data_percent, s.lv.metadata_percent) else {
                return Verdict::Refuse(format!("LVM did not say how full {} is: see lvs -o+data_percent", s.lv.name));
            };
            let below = data.value() <= threshold.value() && metadata.value() <= metadata_threshold.value();
            refuse_if(below, || {
                format!(
                    "the data of {} are {data} full and its metadata {metadata}, they grow above {threshold} and {metadata_threshold}",
                    s.lv.name
                )
            })
        }
        What::FileSystem(target) => {
            let Some((fs, usage)) = s.fs.and_then(|fs| Some((fs, fs.usage?))) else { return Verdict::NotAsked };
            let percent = usage.percent();
            if percent.value() > threshold.value() {
                return Verdict::Pass;
            }
            let (point, fixed) = (&target.mount_point, fs.mount.fs_type == FsKind::Ext4.as_str());
            let Some(inodes) = usage.inode_percent().filter(|_| fixed) else {
                let note = if fixed { "" } else { "; XFS makes inodes as it needs them, so only space counts" };
                return Verdict::Refuse(format!("{point} is {percent} full, it grows above {threshold}{note}"));
            };
            refuse_if(inodes.value() <= target.inode_threshold.value(), || {
                format!(
                    "{point} is {percent} full and {inodes} of its inodes are used, it grows above {threshold} and {} of inodes",
                    target.inode_threshold
                )
            })
        }
    }
}
