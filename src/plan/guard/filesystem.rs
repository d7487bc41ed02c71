//! Whether the right file system is there, sound, and full enough.

use super::{Subject, Verdict, refuse_if, require};
use crate::config::{FilesystemCheck, Offline, What};
use crate::inventory::{FileSystem, Superblock};
use crate::name::MountPoint;
use crate::plan::{FsKind, Tool};
use crate::units::Bytes;

pub(super) fn not_mounted(s: &Subject<'_>) -> Verdict {
    let Some(point) = s.target.mount_point() else { return Verdict::NotAsked };
    let mounted = s.inventory.mounts.iter().any(|mount| &mount.mount_point == point);
    let allowed = s.target.file_system().is_some_and(|fs| fs.offline == Offline::Allow);
    if !mounted && allowed {
        return unmounted(s, point);
    }
    refuse_if(!mounted, || format!("nothing is mounted at {point}: mount {} there, or correct mount_point", s.lv.name))
}

/// What is mounted nowhere may grow if nobody at all has it open, in no other mount namespace either.
fn unmounted(s: &Subject<'_>, point: &MountPoint) -> Verdict {
    let (name, device) = (&s.lv.name, &s.lv.dm_path);
    if let Some(elsewhere) = s.inventory.mounts.iter().find(|mount| Some(mount.device) == s.lv.device) {
        let elsewhere = &elsewhere.mount_point;
        return Verdict::Refuse(format!("{name} is mounted at {elsewhere}, not at {point}: correct mount_point"));
    }
    let Some(fs) = s.fs else {
        return Verdict::Refuse(format!(
            "what is on {name} cannot be read: mount it at {point}, see blkid -p {device}"
        ));
    };
    match FsKind::from_name(&fs.mount.fs_type) {
        Some(FsKind::Ext4) => {}
        Some(kind) => {
            let (kind, tool) = (kind.as_str(), kind.tool().as_str());
            return Verdict::Refuse(format!("{tool} grows only an {kind} that is mounted: mount {name} at {point}"));
        }
        None => return Verdict::Pass,
    }
    if fs.usage.is_none() && fs.errors == Some(0) {
        return Verdict::Refuse(format!(
            "the superblock of {name} does not say how full it is, perhaps it was not unmounted in order: mount it at {point} once"
        ));
    }
    require(s.lv.open, false, "the volume is open", || {
        format!("{name} is not mounted and yet open: somebody works on it, see fuser -v {device}")
    })
}

pub(super) fn device_mismatch(s: &Subject<'_>) -> Verdict {
    let Some(point) = s.target.mount_point() else { return Verdict::NotAsked };
    let Some(mount) = s.inventory.mount_at(point) else { return stray_name(s).unwrap_or(Verdict::NotAsked) };
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
        Some(seen) if seen == mount.number => stray_name(s).unwrap_or(Verdict::Pass),
        Some(seen) => Verdict::Refuse(format!(
            "the path {point} leads to device {seen}, not to {} ({device}): another mount hides it",
            s.lv.name
        )),
        None => Verdict::Refuse(format!("{point} does not answer: see whether `df {point}` does")),
    }
}

/// The program that grows it would look at another device.
fn stray_name(s: &Subject<'_>) -> Option<Verdict> {
    let (fs, point) = (s.fs?, s.target.mount_point()?);
    let (stray, name) = (fs.stray_name.as_ref()?, &s.lv.name);
    let tool = FsKind::from_name(&fs.mount.fs_type).map_or("what grows it", |kind| kind.tool().as_str());
    Some(Verdict::Refuse(format!(
        "{tool} would go by the name {stray}, which does not lead to {name}: unmount all that is mounted at {point} and mount \
         {name} there again, as is needed after lvrename"
    )))
}

pub(super) fn fs_unsupported(s: &Subject<'_>) -> Verdict {
    let Some(fs) = s.fs else { return Verdict::NotAsked };
    let mounted = fs.mount.fs_type.as_str();
    let Some(kind) = FsKind::from_name(mounted) else {
        return Verdict::Refuse(format!(
            "{mounted} at {} cannot be grown by this tool: only ext4, xfs and btrfs can",
            fs.mount.mount_point
        ));
    };
    let checker = if s.is_offline() { Tool::E2fsck } else { Tool::Blkid };
    if let Some(tool) = missing(s, [Tool::Blkid, kind.tool(), checker]) {
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
        (FsKind::Ext4, Some(Superblock::Ext(_)))
            | (FsKind::Xfs, Some(Superblock::Xfs(_)))
            | (FsKind::Btrfs, Some(Superblock::Btrfs(_)))
    );
    if let Some(Superblock::Btrfs(btrfs)) = &fs.superblock
        && btrfs.num_devices > 1
    {
        return Verdict::Refuse(format!(
            "the btrfs at {} is on {} devices: only one that is on one volume is grown, see btrfs filesystem usage",
            fs.mount.mount_point, btrfs.num_devices
        ));
    }
    if let Some(why) = shows_something_else(s, fs) {
        return Verdict::Refuse(why);
    }
    refuse_if(!agrees, || {
        format!("the superblock of {} cannot be read as {mounted}: see blkid -p {}", s.lv.name, s.lv.dm_path)
    })
}

/// `statvfs` tells of the limit of a project quota on the mount point, or of an XFS's realtime section where that is inherited from
/// there, and not of what lies on the volume (`ext4_statfs_project`, `xfs_fs_statfs`).
fn shows_something_else(s: &Subject<'_>, fs: &FileSystem) -> Option<String> {
    let (shown, size, volume) = (fs.usage?.size, fs.size()?, s.lv.size?);
    let own = match &fs.superblock {
        // On disk it may be old, but no XFS was larger then.
        Some(Superblock::Xfs(xfs)) => {
            let is_own =
                size.0.saturating_add(fs.slack().0) >= xfs.size().0 && size.0 <= volume.0.saturating_add(fs.slack().0);
            (!is_own).then(|| xfs.size())
        }
        // A quarter: kernels before 5.18 do not write the overhead down that grows with it, mostly tables of inodes.
        Some(Superblock::Ext(ext)) if ext.at_rest.overhead > 0 => {
            let own = Bytes(ext.blocks.saturating_sub(ext.at_rest.overhead).saturating_mul(ext.block_size));
            (shown.0 < own.0 / 4 * 3).then_some(own)
        }
        _ => None,
    }?;
    Some(format!(
        "df shows {shown} at {} where the {} has {own} on a volume of {volume}: a project quota or a realtime device counts \
         there, and neither grows with the volume, see repquota -P, xfs_quota and xfs_info",
        fs.mount.mount_point, fs.mount.fs_type
    ))
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
    if s.is_offline() {
        return errors_at_rest(s, fs);
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

/// Of an ext4 that is mounted nowhere. What `e2fsck` would find is for it to say; what is known already is enough to refuse.
fn errors_at_rest(s: &Subject<'_>, fs: &FileSystem) -> Verdict {
    let (Some(Superblock::Ext(ext)), device) = (&fs.superblock, &s.lv.dm_path) else { return Verdict::NotAsked };
    let (rest, never) = (&ext.at_rest, FilesystemCheck::Never);
    let is_never = s.target.file_system().is_some_and(|fs| fs.check == never);
    if !rest.clean || rest.needs_recovery || rest.errors > 0 {
        return Verdict::Refuse(format!(
            "the superblock of {} says that it was not unmounted in order or has errors ({} counted): run e2fsck -f {device}",
            s.lv.name, rest.errors
        ));
    }
    refuse_if(is_never && !rest.checked_since, || {
        format!(
            "{} was mounted after its last check and filesystem_check is never: run e2fsck -f -p {device}, or set it to auto",
            s.lv.name
        )
    })
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
                let note = match fs.mount.fs_type.as_str() {
                    "ext4" => String::new(),
                    kind => format!("; {kind} makes inodes as it needs them, so only space counts"),
                };
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
