//! Whether the right file system is there, sound, and full enough.

use std::path::Path;

use super::subject::{Subject, Verdict, missing, refuse_if, require};
use crate::command::{Tool, shell_word};
use crate::config::{FilesystemCheck, Offline, What};
use crate::filesystem::{FsKind, Unfit, UnfitOption};
use crate::inventory::FileSystem;
use crate::name::MountPoint;

pub(super) fn not_mounted(s: &Subject<'_>) -> Verdict {
    let Some(point) = s.target.mount_point() else { return Verdict::NotAsked };
    let mounted = s.inventory.mounts.iter().any(|mount| &mount.mount_point == point);
    let allowed = s.target.file_system().is_some_and(|fs| fs.offline == Offline::Allow);
    if !mounted && allowed {
        return unmounted(s, point);
    }
    let what =
        s.inventory.mapping_on(&s.lv.name).map_or_else(|| s.lv.name.to_string(), |mapping| shown(&mapping.path()));
    refuse_if(!mounted, || format!("nothing is mounted at {point}: mount {what} there, or correct mount_point"))
}

fn shown(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// What is mounted nowhere may grow if nobody at all has it open, in no other mount namespace either.
fn unmounted(s: &Subject<'_>, point: &MountPoint) -> Verdict {
    let (name, device) = (&s.lv.name, &s.lv.dm_path);
    let of_file_system = s.inventory.device_of_file_system(s.lv);
    if let Some(elsewhere) = s.inventory.mounts.iter().find(|mount| Some(mount.device) == of_file_system) {
        let elsewhere = &elsewhere.mount_point;
        return Verdict::Refuse(format!("{name} is mounted at {elsewhere}, not at {point}: correct mount_point"));
    }
    if let Some(mapping) = s.inventory.mapping_on(name) {
        let path = shown(&mapping.path());
        return Verdict::Refuse(format!("what is in LUKS grows only while it is mounted: mount {path} at {point}"));
    }
    let Some(fs) = s.fs else {
        return Verdict::Refuse(format!(
            "what is on {name} cannot be read: mount it at {point}, see blkid -p {device}"
        ));
    };
    match fs.kind() {
        Some(kind) if kind.about().check.is_some() => {}
        Some(kind) => {
            let (kind, tool) = (kind.as_str(), kind.about().grower.as_str());
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
    let Some(device) = s.inventory.device_of_file_system(s.lv) else {
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
        None => Verdict::Refuse(format!("{point} does not answer: see whether `df {point} &` returns")),
    }
}

/// The program that grows it would look at another device.
fn stray_name(s: &Subject<'_>) -> Option<Verdict> {
    let (fs, point) = (s.fs?, s.target.mount_point()?);
    let (stray, name) = (fs.stray_name.as_ref()?, &s.lv.name);
    let tool = fs.kind().map_or("what grows it", |kind| kind.about().grower.as_str());
    Some(Verdict::Refuse(format!(
        "{tool} would use the name {stray}, which does not lead to {name}: unmount all that is mounted at {point} and \
         mount {name} there again, as is needed after lvrename"
    )))
}

pub(super) fn fs_unsupported(s: &Subject<'_>) -> Verdict {
    let Some(fs) = s.fs else { return Verdict::NotAsked };
    let mounted = fs.mount.fs_type.as_str();
    let Some(kind) = FsKind::from_name(mounted) else {
        return Verdict::Refuse(format!(
            "{mounted} at {} cannot be grown by this tool: only {} can",
            fs.mount.mount_point,
            FsKind::names()
        ));
    };
    let checker = kind.about().check.as_ref().filter(|_| s.is_offline()).map(|check| check.tool);
    if let Some(tool) = missing(s, [Tool::Blkid, kind.about().grower].into_iter().chain(checker)) {
        let name = tool.as_str();
        return Verdict::Refuse(format!(
            "{name} is not installed and {}: install it, or set tools.{name}",
            tool.disables()
        ));
    }
    match fs.signature.as_deref() {
        Some(signature) if FsKind::from_name(signature) == Some(kind) => {}
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
    let agrees = fs.superblock.as_ref().is_some_and(|superblock| superblock.kind() == kind);
    if let Some(why) = fs.superblock.as_ref().and_then(|superblock| superblock.facts().unsupported()) {
        return Verdict::Refuse(format!("the {mounted} at {} {why}", fs.mount.mount_point));
    }
    if let Some(why) = shows_something_else(s, fs) {
        return Verdict::Refuse(why);
    }
    refuse_if(!agrees, || {
        let name = &s.lv.name;
        let what = match &fs.superblock {
            Some(_) => format!("the superblock of {name} is of another kind than {mounted}"),
            None => format!("the superblock of {name} cannot be read as {mounted}, or not in time"),
        };
        format!("{what}: see blkid -p {}", s.lv.dm_path)
    })
}

/// `statvfs` tells of the limit of a project quota on the mount point, or of another device, and not of what lies on
/// the volume.
fn shows_something_else(s: &Subject<'_>, fs: &FileSystem) -> Option<String> {
    let (shown, volume) = (fs.usage?.size, s.inventory.room_on(s.lv)?);
    let own = fs.superblock.as_ref()?.facts().hidden_size(shown, volume)?;
    Some(format!(
        "df shows {shown} at {} where the {} has {own} on a volume of {volume}: a project quota or a realtime device counts \
         there, and neither grows with the volume, see repquota -P, xfs_quota and xfs_info",
        fs.mount.mount_point, fs.mount.fs_type
    ))
}

pub(super) fn fs_read_only(s: &Subject<'_>) -> Verdict {
    let Some(fs) = s.fs else { return Verdict::NotAsked };
    refuse_if(fs.mount.read_only || fs.usage.is_some_and(|usage| usage.read_only), || {
        format!("{} is mounted read-only: find the reason in the kernel's log, then remount it", fs.mount.mount_point)
    })
}

pub(super) fn fs_errors(s: &Subject<'_>) -> Verdict {
    let Some(fs) = s.fs else { return Verdict::NotAsked };
    let Some((kind, counter)) = fs.kind().and_then(|kind| Some((kind, kind.about().error_counter?))) else {
        return Verdict::Pass;
    };
    if s.is_offline() {
        return errors_at_rest(s, fs);
    }
    let point = &fs.mount.mount_point;
    match fs.errors {
        Some(0) => Verdict::Pass,
        Some(count) => {
            let check = kind.about().check.as_ref().map_or("a check", |check| check.tool.as_str());
            let errors = if count == 1 { "error" } else { "errors" };
            Verdict::Refuse(format!(
                "the kernel counted {count} {errors} on {point}: unmount it and run {check} before it grows"
            ))
        }
        None => Verdict::Refuse(format!(
            "the kernel's error counter of {point} cannot be read, perhaps because another driver than {} mounted it, which \
             cannot grow it: see {counter}",
            kind.as_str()
        )),
    }
}

/// Of what is mounted nowhere. What the check would find is for it to say; what is known already is enough to refuse.
fn errors_at_rest(s: &Subject<'_>, fs: &FileSystem) -> Verdict {
    let device = s.lv.dm_path.as_str();
    let at_rest =
        fs.superblock.as_ref().and_then(|superblock| Some((superblock.facts().at_rest()?, superblock.kind())));
    let Some((at_rest, kind)) = at_rest else { return Verdict::NotAsked };
    let check = kind.about().check.as_ref().map(|check| (check.command)(device));
    let (never, check) = (FilesystemCheck::Never, check.map_or(String::new(), |check| check.to_string()));
    let is_never = s.target.file_system().is_some_and(|fs| fs.check == never);
    if !at_rest.is_sound {
        return Verdict::Refuse(format!(
            "the superblock of {} says that it was not unmounted in order or has errors ({} counted): run {}",
            s.lv.name,
            at_rest.errors,
            kind.about().check.as_ref().map_or(String::new(), |check| (check.by_hand)(device).to_string())
        ));
    }
    refuse_if(is_never && !at_rest.checked_since, || {
        format!(
            "{} was mounted after its last check and filesystem_check is never: run {check}, or set it to auto",
            s.lv.name
        )
    })
}

/// What the kernel would refuse until a check has mended it.
pub(super) fn fs_needs_check(s: &Subject<'_>) -> Verdict {
    let Some(fs) = s.fs.filter(|_| !s.is_offline()) else { return Verdict::NotAsked };
    let unfit = fs.superblock.as_ref().and_then(|superblock| Some((superblock.facts().unfit()?, superblock.kind())));
    let Some((Unfit::NeedsCheck(why), kind)) = unfit else { return Verdict::Pass };
    let (point, device) = (&fs.mount.mount_point, s.inventory.path_of_file_system(&s.lv.name));
    let check = kind.about().check.as_ref().map(|check| (check.command)(&device.to_string_lossy()));
    let (point, device) = (shell_word(point.as_str()), shell_word(&device.to_string_lossy()));
    let how = match (point.as_str(), check) {
        ("/", _) | (_, None) => "boot with fsck.mode=force on the kernel's command line".to_owned(),
        (_, Some(check)) => format!("umount {point}; {check}; mount {device} {point}"),
    };
    Verdict::Refuse(format!("the kernel would not grow the {} at {point}, because {why}: {how}", fs.mount.fs_type))
}

/// What the kernel would refuse, or wait for without an end, when the volume has been extended already.
pub(super) fn fs_no_online_growth(s: &Subject<'_>) -> Verdict {
    let Some(fs) = s.fs.filter(|_| !s.is_offline()) else { return Verdict::NotAsked };
    let (kind, point) = (&fs.mount.fs_type, &fs.mount.mount_point);
    let refuse = |why: String| Verdict::Refuse(format!("the {kind} at {point} would not grow now: {why}"));
    match fs.superblock.as_ref().and_then(|superblock| superblock.facts().unfit()) {
        Some(Unfit::OnlyUnmounted(why) | Unfit::Never(why)) => return refuse(why.to_owned()),
        // That is for the guard before this.
        Some(Unfit::NeedsCheck(_)) | None => {}
    }
    let about = fs.kind().map(FsKind::about);
    let has = |unfit: &&UnfitOption| fs.mount.options.split(',').any(|option| option.starts_with(unfit.prefix));
    if let Some(unfit) = about.and_then(|about| about.unfit_option.as_ref()).filter(has) {
        return refuse(unfit.why.to_owned());
    }
    if let Some(lacking) =
        about.map(|about| about.needs).filter(|needed| s.inventory.missing_capabilities.contains(needed))
    {
        let name = lacking.as_str();
        return refuse(format!(
            "this process lacks {name}, or runs in a user namespace: run it as root of the host, with {name} in CapabilityBoundingSet"
        ));
    }
    match fs.frozen {
        _ if fs.mount.read_only => {}
        Some(false) => {}
        Some(true) => {
            return refuse(format!(
                "it takes no writes: it is frozen, as backup programs do, or very busy: wait until that ends, or run fsfreeze -u {}",
                shell_word(point.as_str())
            ));
        }
        None => {
            let advice = match missing(s, [Tool::Rmdir]) {
                Some(_) => "install rmdir (coreutils), or set tools.rmdir",
                None => "check that rmdir of a name of 300 characters in it fails with \"File name too long\"",
            };
            return refuse(format!("cannot find out whether it is frozen: {advice}"));
        }
    }
    let Some(operations) = about.and_then(|about| about.operations.as_ref()) else { return Verdict::Pass };
    match fs.exclusive_operation.as_deref() {
        Some("none") => Verdict::Pass,
        Some(operation) => {
            let status = (operations.status)(point);
            refuse(format!("it does something that excludes a resize ({operation}): wait until it ends, see {status}"))
        }
        None if fs.superblock.as_ref().is_some_and(|superblock| superblock.facts().shows_operations_as().is_some()) => {
            refuse(format!("what it does cannot be read: see {}", operations.shown_in))
        }
        None => Verdict::Pass,
    }
}

pub(super) fn below_threshold(s: &Subject<'_>) -> Verdict {
    // A person knows what is coming; usage does not.
    if s.wish.is_for_more() {
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
                    "the data of {} is {data} full (threshold {threshold}) and its metadata {metadata} (threshold {metadata_threshold})",
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
            let fixed = fs.kind().is_some_and(|kind| kind.about().has_fixed_inodes);
            let point = &target.mount_point;
            let Some(inodes) = usage.inode_percent().filter(|_| fixed) else {
                let note = match fs.mount.fs_type.as_str() {
                    _ if fixed => String::new(),
                    kind => format!("; {kind} makes inodes as it needs them, so only space counts"),
                };
                return Verdict::Refuse(format!("{point} is {percent} full, it grows above {threshold}{note}"));
            };
            refuse_if(inodes.value() <= target.inode_threshold.value(), || {
                format!(
                    "{point} is {percent} full and {inodes} of its inodes are used, it grows above {threshold} of \
                     space or {} of inodes",
                    target.inode_threshold
                )
            })
        }
    }
}
