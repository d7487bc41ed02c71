//! Block devices as sysfs shows them. Nothing is read from a device itself, so this never hangs.

use std::io;
use std::path::{Path, PathBuf};

use crate::inventory::{DeviceNumber, Disk, DiskKind, Partition};
use crate::units::Bytes;

/// What the kernel shows of a block device.
pub(super) fn disk(device: DeviceNumber) -> io::Result<Disk> {
    let folder = PathBuf::from(format!("/sys/dev/block/{device}"));
    let read = |file: &str| std::fs::read_to_string(folder.join(file)).map(|text| text.trim().to_owned());
    let uuid = read("dm/uuid").unwrap_or_default();
    let is_multipath = uuid.starts_with("mpath-");
    let paths = if is_multipath { slaves(&folder)? } else { vec![] };
    // A path whose array does not answer on it now shows no size, and takes no I/O either.
    let sizes: Vec<Bytes> = paths.iter().map(|path| sectors(path)).collect::<io::Result<_>>()?;
    let sizes: Vec<Bytes> = sizes.into_iter().filter(|size| *size > Bytes::ZERO).collect();
    let shortest = sizes.iter().copied().min();
    let own = sectors(&folder)?;
    let kind = match partition(&folder)? {
        Some(_) if folder.join("../md").exists() => DiskKind::Layered("a partition of an MD array".to_owned()),
        Some(partition) => DiskKind::Partition(partition),
        None if is_multipath => DiskKind::Multipath { agree: sizes.iter().all(|size| *size == own) },
        None if folder.join("md").exists() => DiskKind::Layered("an MD array".to_owned()),
        None if uuid.starts_with("CRYPT-") => DiskKind::Layered("encrypted (dm-crypt)".to_owned()),
        None if !uuid.is_empty() => DiskKind::Layered("a device of device-mapper".to_owned()),
        None => DiskKind::Whole { has_partitions: !partitions_of(&folder)?.is_empty() },
    };
    Ok(Disk {
        kind,
        size: shortest.map_or(own, |path| path.min(own)),
        block_size: logical_block_size(device)?,
        read_only: read("ro")? != "0",
        suspended: read("dm/suspended").is_ok_and(|text| text != "0"),
        volume: uuid.starts_with("LVM-").then(|| read("dm/name")).transpose()?,
    })
}

/// The files that have a SCSI disk, or all paths to one, read again how large it is; none for any other device.
pub(super) fn rescans(device: DeviceNumber) -> Vec<PathBuf> {
    let folder = PathBuf::from(format!("/sys/dev/block/{device}"));
    let disk = if folder.join("partition").exists() { folder.join("..") } else { folder };
    let paths = slaves(&disk).unwrap_or_default();
    let disks = if paths.is_empty() { vec![disk] } else { paths };
    disks.into_iter().map(|disk| disk.join("device/rescan")).filter(|file| file.exists()).collect()
}

/// Documentation/ABI/testing/sysfs-block-device: writing to it makes the kernel read the disk's size again.
#[expect(clippy::disallowed_methods, reason = "a file of sysfs, which is no file of ours")]
pub(super) fn rescan(file: &Path) -> io::Result<()> {
    std::fs::write(file, "1")
}

/// The devices that a device-mapper device lies on.
pub(super) fn below(device: DeviceNumber) -> Vec<DeviceNumber> {
    let slaves = slaves(&PathBuf::from(format!("/sys/dev/block/{device}"))).unwrap_or_default();
    let number = |slave: PathBuf| std::fs::read_to_string(slave.join("dev")).ok()?.trim().parse().ok();
    slaves.into_iter().filter_map(number).collect()
}

/// In sectors of 512 bytes whatever the device's own are.
pub(super) fn sectors(folder: &Path) -> io::Result<Bytes> {
    let text = std::fs::read_to_string(folder.join("size"))?;
    let sectors: u64 = text.trim().parse().map_err(io::Error::other)?;
    Ok(Bytes(sectors.saturating_mul(512)))
}

/// A partition has the queue of its disk, whose folder it lies in.
pub(super) fn logical_block_size(device: DeviceNumber) -> io::Result<Bytes> {
    let read = |queue: &str| std::fs::read_to_string(format!("/sys/dev/block/{device}/{queue}/logical_block_size"));
    let text = read("queue").or_else(|_| read("../queue"))?;
    text.trim().parse().map(Bytes).map_err(io::Error::other)
}

/// The folders of the devices that one is made of.
fn slaves(folder: &Path) -> io::Result<Vec<PathBuf>> {
    std::fs::read_dir(folder.join("slaves"))?.map(|entry| Ok(entry?.path())).collect()
}

/// The partition that a device is. Its number and its disk are the kernel's: names of disks may end in a digit.
fn partition(folder: &Path) -> io::Result<Option<Partition>> {
    let number =
        |file: PathBuf| -> io::Result<u64> { std::fs::read_to_string(file)?.trim().parse().map_err(io::Error::other) };
    if !folder.join("partition").exists() {
        return Ok(None);
    }
    let disk = folder.join("..");
    let start = number(folder.join("start"))?;
    let mut followed_until = None;
    for other in partitions_of(&disk)? {
        let begins = number(other.join("start"))?;
        if begins > start {
            followed_until = followed_until.max(Some(Bytes(begins.saturating_mul(512) + sectors(&other)?.0)));
        }
    }
    // `../../devices/.../sda/sda1`
    let link = std::fs::read_link(folder)?;
    let name = link.parent().and_then(Path::file_name).ok_or(io::ErrorKind::NotFound)?;
    let name = name.to_string_lossy().replace('!', "/");
    Ok(Some(Partition {
        disk: format!("/dev/{name}"),
        disk_size: sectors(&disk)?,
        number: u32::try_from(number(folder.join("partition"))?).map_err(io::Error::other)?,
        start: Bytes(start.saturating_mul(512)),
        followed_until,
    }))
}

/// The folders of a disk's partitions.
fn partitions_of(disk: &Path) -> io::Result<Vec<PathBuf>> {
    let entries: Vec<PathBuf> = std::fs::read_dir(disk)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
    Ok(entries.into_iter().filter(|entry| entry.join("partition").exists()).collect())
}
