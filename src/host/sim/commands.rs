//! The commands the simulated host understands, with the exit codes and messages that LVM 2.03.16, e2fsprogs 1.47 and
//! xfsprogs 6.1 give.

use super::luks;
use super::model::{Model, SimFs, SimLv, SimVg};
use super::output::{fails, succeeds};
use super::report::{duplicates, fullreport};
use super::supply;
use crate::command::{Command, Tool};
use crate::host::Output;
use crate::inventory::{DeviceNumber, PV_SIGNATURE};
use crate::units::{Bytes, Extents};

/// Runs a command on the model.
pub(super) fn run(model: &mut Model, command: &Command) -> Output {
    let arguments: Vec<&str> = command.arguments.iter().map(String::as_str).collect();
    match (command.tool, arguments.as_slice()) {
        (Tool::Lvm, ["fullreport", rest @ ..]) => fullreport(model, rest),
        (Tool::Lvm, ["vgcfgbackup", "--config", _, "-f", file, "--", vg]) => vgcfgbackup(model, file, vg),
        (Tool::Lvm, ["pvs", .., "-S", "pv_duplicate=1", "--config", _, "-o", _]) => duplicates(model),
        (Tool::Lvm, ["lvextend", "-A", "n", "--config", _, "--poolmetadatasize", size, "--", pool]) => {
            extend_metadata(model, size, pool)
        }
        (Tool::Lvm, ["lvextend", "-A", "n", "--config", _, rest @ ..]) => {
            let (options, names) = rest.split_at(rest.iter().position(|word| *word == "--").unwrap_or(rest.len()));
            match (options, names) {
                ([.., "-l", extents], ["--", lv, pvs @ ..]) => lvextend(model, extents, lv, pvs),
                _ => fails(3, "  Invalid command line"),
            }
        }
        (Tool::Lvm, ["pvresize", "--config", _, "--", pv]) => supply::pvresize(model, pv),
        (Tool::Lvm, ["vgextend", "-A", "n", "--config", _, "--", vg, path]) => supply::vgextend(model, vg, path),
        (Tool::Lvm, ["vgreduce", vg, pv]) => supply::vgreduce(model, vg, pv),
        (Tool::Growpart, [disk, number]) => supply::growpart(model, disk, number),
        (Tool::Lvm, ["lvreduce", "-y", "-l", extents, "--", lv]) => lvreduce(model, extents, lv),
        (Tool::Lvm, ["lvchange", "--refresh", lv]) => refresh(model, lv),
        (Tool::Lvm, ["lvchange", "-ay", lv]) => on_volume(model, lv, |lv| lv.active = true),
        (Tool::Lvm, ["vgimport", vg]) => match model.vg(vg) {
            Some(vg) => {
                vg.exported = false;
                succeeds("")
            }
            None => fails(5, format!("  Volume group \"{vg}\" not found")),
        },
        (Tool::Lvm, ["lvmconfig", .., "allocation/cling_tag_list"]) => {
            let tags: Vec<String> = model.cling_tag_list.iter().map(|tag| format!("\"@{tag}\"")).collect();
            succeeds(format!("cling_tag_list=[{}]\n", tags.join(",")))
        }
        (Tool::Dmsetup, ["table", "--target", "crypt"]) => luks::tables(model),
        (Tool::Cryptsetup, ["open", "--test-passphrase", "--key-file", file, "--", device]) => {
            luks::test_key(model, file, device)
        }
        (Tool::Cryptsetup, ["resize", "--key-file", file, "--", name]) => luks::resize(model, name, Some(file), false),
        (Tool::Cryptsetup, ["resize", "--", name]) => luks::resize(model, name, None, false),
        (Tool::Rmdir, ["--", path]) => fails(1, format!("rmdir: failed to remove '{path}': File name too long")),
        (Tool::Lvm, ["systemid", ..]) => succeeds(format!("  system ID: {}\n", model.system_id)),
        (Tool::Lvm, ["lvmconfig", .., "activation/thin_pool_autoextend_threshold"]) => {
            succeeds(format!("thin_pool_autoextend_threshold={}\n", model.autoextend_threshold))
        }
        (Tool::Lvm, ["lvs", .., "-o", "seg_monitor", "--", _]) => succeeds("  monitored\n"),
        (Tool::Blkid, ["-p", "-n", _, .., device]) => others_than_pv(model, device),
        (Tool::Blkid, [.., device]) => blkid(model, device),
        (Tool::Resize2fs, [device]) => resize2fs(model, device),
        (Tool::XfsGrowfs, ["-d", mount_point]) => xfs_growfs(model, mount_point),
        (Tool::XfsIo, ["-c", label, mount_point]) => xfs_label(model, label, mount_point),
        (Tool::E2fsck, ["-f", "-p", device]) => e2fsck(model, device),
        (Tool::Btrfs, ["filesystem", "resize", "--enqueue", "1:max", point]) => btrfs_resize(model, point),
        _ => fails(3, format!("  the simulated host does not know: {command}")),
    }
}

/// Whether a command waits because the file system that it writes to is frozen.
pub(super) fn waits(model: &Model, command: &Command) -> bool {
    let path = command.arguments.last().map_or("", String::as_str);
    let is_below = |fs: &SimFs| path.strip_prefix(fs.mount_point.as_str()).is_some_and(|rest| rest.starts_with('/'));
    model.mounted().any(|(_, fs)| fs.frozen && is_below(fs))
}

pub(super) fn on_volume(model: &mut Model, name: &str, change: impl FnOnce(&mut SimLv)) -> Output {
    match model.lv(name) {
        Some(lv) => {
            change(lv);
            succeeds("")
        }
        None => fails(5, format!("  Failed to find logical volume \"{name}\"")),
    }
}

/// The kernel takes the table that LVM's metadata say, unless a disk is too short for it.
fn refresh(model: &mut Model, name: &str) -> Output {
    let short = model.lv(name).map(|lv| lv.name.vg.clone()).is_some_and(|vg| is_short(model, vg.as_str()));
    let refused = short && model.lv(name).is_some_and(|lv| lv.mapped.is_some());
    if refused {
        return fails(5, "  device-mapper: reload ioctl on  (253:0) failed: Invalid argument");
    }
    on_volume(model, name, |lv| (lv.suspended, lv.mapped) = (false, None))
}

fn is_short(model: &mut Model, vg: &str) -> bool {
    model.vg(vg).is_some_and(|vg| vg.pvs.iter().any(|pv| pv.device_exceeds < 0))
}

fn lvreduce(model: &mut Model, extents: &str, name: &str) -> Output {
    let Ok(wanted) = extents.parse::<u64>() else { return fails(3, "  Invalid argument for --extents") };
    let Some(found) = model.lv(name).map(|lv| lv.clone()) else {
        return fails(5, format!("  Failed to find logical volume \"{name}\""));
    };
    if wanted >= found.extents.0 {
        return fails(5, "  New size given is not less than existing size");
    }
    // Somebody who makes a volume smaller than its file system loses data.
    if found.fs.as_ref().is_some_and(|fs| fs.size > Extents(wanted).bytes(found.extent_size)) {
        return fails(5, "  the simulated host makes no volume smaller than its file system");
    }
    let each = (found.extents.0 - wanted) / found.data_legs().max(1);
    if let Some(vg) = model.vg(found.name.vg.as_str()) {
        let homes: Vec<String> = found.home.clone();
        let mut left = if homes.is_empty() { each } else { 0 };
        for pv in vg.pvs.iter_mut().rev() {
            let back = if homes.contains(&pv.name) { each } else { left.min(pv.allocated.0) };
            pv.allocated.0 = pv.allocated.0.saturating_sub(back);
            left = left.saturating_sub(back);
        }
    }
    on_volume(model, name, |lv| {
        (lv.extents, lv.mapped, lv.suspended, lv.block_size) = (Extents(wanted), None, false, Bytes(512))
    })
}

fn vgcfgbackup(model: &mut Model, file: &str, vg: &str) -> Output {
    if model.vg(vg).is_none() {
        return fails(5, format!("  Volume group \"{vg}\" not found"));
    }
    model.files.insert(file.into(), 2048);
    succeeds(format!("  Volume group \"{vg}\" successfully backed up.\n"))
}

fn lvextend(model: &mut Model, extents: &str, lv: &str, pvs: &[&str]) -> Output {
    let Ok(wanted) = extents.parse::<u64>() else { return fails(3, "  Invalid argument for --extents") };
    let Some(found) = model.lv(lv).map(|lv| lv.clone()) else {
        return fails(5, format!("  Failed to find logical volume \"{lv}\""));
    };
    let is_origin = model.lvs.iter().any(|other| other.origin.as_deref() == Some(found.name.lv.as_str()));
    let short = is_short(model, found.name.vg.as_str());
    let Some(vg) = model.vg(found.name.vg.as_str()) else { return fails(5, "  Volume group not found") };
    if vg.pvs.iter().any(|pv| pv.duplicate.is_some()) {
        return fails(5, format!("  Cannot update volume group {} with duplicate PV devices.", vg.name));
    }
    if vg.exported {
        return fails(5, format!("  Volume group \"{}\" is exported", vg.name));
    }
    if vg.missing_pvs() > 0 {
        return fails(5, format!("  Cannot change VG {} while PVs are missing.", vg.name));
    }
    if vg.read_only {
        return fails(5, format!("  Cannot process volume group {}: it is read-only", vg.name));
    }
    if is_origin && found.active {
        return fails(5, "  Snapshot origin volumes can be resized only while inactive: try lvchange -an.");
    }
    let before = found.extents.0;
    if wanted == before {
        return fails(5, format!("  New size ({before} extents) matches existing size ({before} extents)."));
    }
    if wanted < before {
        return fails(
            5,
            format!("  New size given ({wanted} extents) not larger than existing size ({before} extents)"),
        );
    }
    let data = found.data_legs().max(1);
    let wanted = before + (wanted - before).next_multiple_of(data);
    let mut home = found.home.clone();
    // Only what is named may be taken.
    let hidden: Vec<bool> =
        vg.pvs.iter().map(|pv| pv.allocatable && !pvs.is_empty() && !pvs.contains(&&*pv.name)).collect();
    let before_it: Vec<Extents> = vg.pvs.iter().map(|pv| pv.allocated).collect();
    let hide = |vg: &mut SimVg, allocatable: bool| {
        vg.pvs.iter_mut().zip(&hidden).filter(|(_, hidden)| **hidden).for_each(|(pv, _)| pv.allocatable = allocatable);
    };
    hide(vg, false);
    if found.kind == "thin" {
        // Only a promise.
    } else if found.stripes > 1 {
        let rows = (wanted - before) / data;
        let Some(ends) = vg.allocate_legs(&home, found.stripes as usize, rows) else {
            hide(vg, true);
            let more = wanted - before;
            return fails(
                5,
                format!("  Insufficient suitable allocatable extents for logical volume {lv}: {more} more required"),
            );
        };
        home = ends;
    } else {
        let available: u64 = vg.pvs.iter().filter(|pv| pv.allocatable).map(|pv| pv.extents.0 - pv.allocated.0).sum();
        if wanted - before > available {
            let needed = wanted - before;
            hide(vg, true);
            return fails(
                5,
                format!("  Insufficient free space: {needed} extents needed, but only {available} available"),
            );
        }
        vg.allocate(wanted - before);
    }
    hide(vg, true);
    let taken = vg.pvs.iter().zip(&before_it).filter(|(pv, before)| pv.allocated > **before);
    let coarsest = taken.map(|(pv, _)| pv.block_size).max();
    if let Some(found) = model.lv(lv) {
        (found.extents, found.home) = (Extents(wanted), home);
        found.block_size = found.block_size.max(coarsest.unwrap_or(found.block_size));
        let is_too_coarse =
            found.fs.as_ref().is_some_and(|fs| fs.mounted && fs.is_ext() && fs.bears < found.block_size);
        // The journal is aborted at once.
        found.fs.iter_mut().filter(|_| is_too_coarse).for_each(|fs| (fs.read_only, fs.error_flag) = (true, true));
        if short && found.kind != "thin" {
            // LVM has committed the new size, and the kernel does not take it.
            found.mapped = Some(Extents(before).bytes(found.extent_size));
            found.suspended = true;
            let refused = "  device-mapper: resume ioctl on  (253:0) failed: Invalid argument\n  Unable to resume";
            return fails(5, format!("{refused} {lv}."));
        }
    }
    succeeds(format!("  Logical volume {lv} successfully resized.\n"))
}

/// The spare for repairs grows with the metadata.
fn extend_metadata(model: &mut Model, size: &str, pool: &str) -> Output {
    let Ok(wanted) = size.trim_end_matches('b').parse::<u64>() else {
        return fails(3, "  Invalid argument for --poolmetadatasize");
    };
    let Some(found) = model.lv(pool).map(|lv| lv.clone()) else {
        return fails(5, format!("  Failed to find logical volume \"{pool}\""));
    };
    let Some(before) = found.thin_pool.as_ref().map(|pool| pool.metadata.0) else {
        return fails(5, "  --poolmetadatasize can be used only with cache or thin pools.");
    };
    let Some(vg) = model.vg(found.name.vg.as_str()) else { return fails(5, "  Volume group not found") };
    if vg.missing_pvs() > 0 {
        return fails(5, format!("  Cannot change VG {} while PVs are missing.", vg.name));
    }
    let wanted = wanted.div_ceil(vg.extent_size.0);
    if wanted <= before {
        return fails(5, format!("  New size ({wanted} extents) matches existing size ({before} extents)."));
    }
    if vg.free().0 < (wanted - before) * 2 {
        return fails(5, "  Insufficient free space for metadata and their spare");
    }
    vg.allocate((wanted - before) * 2);
    if let Some(pool) = model.lv(pool).and_then(|lv| lv.thin_pool.as_mut()) {
        pool.metadata = Extents(wanted);
    }
    succeeds(format!("  Logical volume {pool} successfully resized.\n"))
}

/// Anything else on the device of a PV.
fn others_than_pv(model: &Model, device: &str) -> Output {
    let disk = device.strip_prefix("/dev/block/").and_then(|number| number.parse().ok());
    let other = disk.and_then(|disk| model.pv_on(disk)).and_then(|(_, pv)| pv.signature.clone());
    other.map_or_else(|| fails(2, ""), |other| succeeds(format!("{other}\n")))
}

fn blkid(model: &Model, device: &str) -> Output {
    let disk = device.strip_prefix("/dev/block/").and_then(|number| number.parse().ok());
    if disk.and_then(|disk| model.pv_on(disk)).is_some() {
        return succeeds(format!("{PV_SIGNATURE}\n"));
    }
    let is = |number: DeviceNumber| device.strip_prefix("/dev/block/") == Some(number.to_string().as_str());
    if model.lvs.iter().any(|lv| lv.luks.as_ref().is_some_and(|luks| !luks.detached) && is(lv.device())) {
        return succeeds("crypto_LUKS\n");
    }
    let fs = model.lvs.iter().find(|lv| is(lv.upper_device())).and_then(|lv| lv.fs.as_ref());
    match fs.map(|fs| fs.signature.as_ref().unwrap_or(&fs.kind)).filter(|signature| !signature.is_empty()) {
        Some(signature) => succeeds(format!("{signature}\n")),
        None => fails(2, ""),
    }
}

fn resize2fs(model: &mut Model, device: &str) -> Output {
    let found = model.lvs.iter_mut().find(|lv| lv.upper_path().to_string_lossy() == device);
    let Some(lv) = found else { return fails(1, format!("open: No such file or directory while opening {device}")) };
    let size = lv.room();
    let Some(fs) = lv.fs.as_mut() else { return fails(1, "resize2fs: Bad magic number in super-block") };
    if !fs.is_ext() {
        return fails(1, "resize2fs: Bad magic number in super-block while trying to open the device");
    }
    if fs.size >= size {
        return succeeds(format!("The filesystem is already {} (4k) blocks long.  Nothing to do!\n", fs.size.0 / 4096));
    }
    if !fs.mounted && (!fs.checked || fs.broken || fs.errors > 0) {
        return fails(1, format!("Please run 'e2fsck -f {device}' first."));
    }
    if fs.mounted && fs.mounted_as.is_some() {
        return fails(1, format!("resize2fs: Device or resource busy while trying to open {device}"));
    }
    if let Err(why) = fs.grows_online()
        && fs.mounted
    {
        return fails(1, format!("resize2fs: {why} While checking for on-line resizing support"));
    }
    fs.size = size;
    succeeds(format!("The filesystem on {device} is now {} (4k) blocks long.\n", size.0 / 4096))
}

pub(super) fn e2fsck(model: &mut Model, device: &str) -> Output {
    let found = model.lvs.iter_mut().find(|lv| lv.upper_path().to_string_lossy() == device);
    let Some(lv) = found else {
        return fails(8, format!("e2fsck: No such file or directory while trying to open {device}"));
    };
    let is_open = lv.is_open;
    match lv.fs.as_mut().filter(|fs| fs.is_ext()) {
        None => fails(8, "e2fsck: Bad magic number in super-block"),
        Some(fs) if fs.mounted || is_open => {
            fails(8, format!("{device} is in use.\ne2fsck: Cannot continue, aborting."))
        }
        Some(fs) if fs.broken => fails(4, format!("{device}: UNEXPECTED INCONSISTENCY; RUN fsck MANUALLY.")),
        Some(fs) => {
            fs.checked = true;
            let mended = std::mem::take(&mut fs.errors) > 0 || std::mem::take(&mut fs.error_flag);
            (fs.error_flag, fs.read_only) = (false, false);
            Output { code: Some(i32::from(mended)), ..succeeds(format!("{device}: 11/65536 files\n")) }
        }
    }
}

fn btrfs_resize(model: &mut Model, mount_point: &str) -> Output {
    let mounted =
        |lv: &&mut SimLv| lv.fs.as_ref().is_some_and(|fs| fs.mounted && fs.mount_point.as_str() == mount_point);
    let found = model.lvs.iter_mut().find(mounted);
    let Some((size, fs)) = found.and_then(|lv| Some((lv.room(), lv.fs.as_mut().filter(|fs| fs.kind == "btrfs")?)))
    else {
        return fails(1, format!("ERROR: not a btrfs filesystem: {mount_point}"));
    };
    if fs.read_only {
        return fails(1, format!("ERROR: unable to resize '{mount_point}': Read-only file system"));
    }
    fs.size = size;
    succeeds(format!("Resize device id 1 from {} to max\n", fs.size))
}

fn xfs_growfs(model: &mut Model, mount_point: &str) -> Output {
    let not_mounted = || fails(1, format!("xfs_growfs: {mount_point} is not a mounted XFS filesystem"));
    let is_mounted = |fs: &SimFs| fs.mounted && fs.mount_point.as_str() == mount_point;
    // The last one mounted there grows to the size of whatever has the name now by which the first was mounted.
    let found = model.lvs.iter().find_map(|lv| Some((lv, lv.fs.as_ref().filter(|fs| is_mounted(fs))?)));
    let source = found.map(|(lv, fs)| fs.mounted_as.as_ref().unwrap_or(&lv.name));
    let size = source.and_then(|source| Some(model.lvs.iter().find(|lv| lv.name == *source)?.room()));
    let Some(size) = size else { return not_mounted() };
    match model.lvs.iter_mut().filter_map(|lv| lv.fs.as_mut()).rfind(|fs| is_mounted(fs)) {
        Some(fs) if fs.kind == "xfs" && fs.read_only => {
            fails(1, "xfs_growfs: XFS_IOC_FSGROWFSDATA xfsctl failed: Read-only file system")
        }
        Some(fs) if fs.kind == "xfs" => {
            let before = std::mem::replace(&mut fs.size, size);
            // With nothing to grow the kernel is not asked at all.
            fs.size_in_copies = fs.size_in_copies.filter(|_| before >= size);
            let changed = format!("data blocks changed from {} to {}\n", before.0 / 4096, size.0 / 4096);
            succeeds(if before < size { changed } else { String::new() })
        }
        _ => not_mounted(),
    }
}

/// The label, and with it all copies of the superblock.
fn xfs_label(model: &mut Model, set: &str, mount_point: &str) -> Output {
    let mounted = |fs: &&mut SimFs| fs.mounted && fs.mount_point.as_str() == mount_point && fs.kind == "xfs";
    let Some(fs) = model.lvs.iter_mut().filter_map(|lv| lv.fs.as_mut()).find(mounted) else {
        return fails(1, format!("{mount_point}: No such file or directory"));
    };
    match set.split(' ').collect::<Vec<_>>().as_slice() {
        _ if fs.read_only => return fails(1, "label: Read-only file system"),
        ["label", "-c"] => fs.label.clear(),
        ["label", "-s", label] => fs.label = (*label).to_owned(),
        _ => return fails(1, format!("bad command: {set}")),
    }
    fs.size_in_copies = None;
    succeeds(format!("label = \"{}\"\n", fs.label))
}
