//! Block devices as sysfs shows them. Nothing is read from a device itself, so this never hangs.

use std::io;
use std::path::{Path, PathBuf};

use crate::inventory::{DeviceNumber, Disk, DiskKind, Partition};
use crate::units::Bytes;

/// So many devices on top of one another are looked through; more than a few nobody has.
const DEEPEST: usize = 8;

/// What the kernel shows of a block device.
pub(super) fn disk(device: DeviceNumber) -> io::Result<Disk> {
    let folder = PathBuf::from(format!("/sys/dev/block/{device}"));
    let read = |file: &str| std::fs::read_to_string(folder.join(file)).map(|text| text.trim().to_owned());
    let uuid = read("dm/uuid").unwrap_or_default();
    let is_multipath = uuid.starts_with("mpath-");
    let own = sectors(&folder)?;
    let kind = match partition(&folder)? {
        Some(_) if folder.join("../md").exists() => DiskKind::Layered("a partition of an MD array".to_owned()),
        Some(partition) => DiskKind::Partition(partition),
        None if is_multipath => DiskKind::Multipath { agree: paths(&folder)?.iter().all(|size| *size == own) },
        None if folder.join("md").exists() => DiskKind::Layered("an MD array".to_owned()),
        None if uuid.starts_with("CRYPT-") => DiskKind::Layered("encrypted (dm-crypt)".to_owned()),
        None if !uuid.is_empty() => DiskKind::Layered("a device of device-mapper".to_owned()),
        None => DiskKind::Whole { has_partitions: !partitions_of(&folder)?.is_empty() },
    };
    Ok(Disk {
        kind,
        size: carried(&folder, DEEPEST)?,
        block_size: logical_block_size(device)?,
        read_only: read("ro")? != "0",
        suspended: read("dm/suspended").is_ok_and(|text| text != "0"),
        volume: uuid.starts_with("LVM-").then(|| read("dm/name")).transpose()?,
    })
}

/// How much of a device something is below. A partition, a mapping or a multipath device keeps its size when what it
/// lies on becomes smaller, and whoever writes behind that gets errors.
fn carried(folder: &Path, depth: usize) -> io::Result<Bytes> {
    let own = sectors(folder)?;
    let Some(depth) = depth.checked_sub(1) else { return Ok(own) };
    if folder.join("partition").exists() {
        return Ok(own.min(carried(&folder.join(".."), depth)?.saturating_sub(start(folder)?)));
    }
    let Ok(uuid) = std::fs::read_to_string(folder.join("dm/uuid")) else { return Ok(own) };
    // An I/O may take any of its paths.
    if uuid.starts_with("mpath-") {
        return Ok(paths(folder)?.into_iter().fold(own, Bytes::min));
    }
    // From where to where it goes sysfs does not tell. More than there is it cannot use.
    let below = slaves(folder)?;
    let all = below.iter().map(|one| carried(one, depth)).collect::<io::Result<Vec<Bytes>>>()?;
    let all = all.into_iter().reduce(|one, other| Bytes(one.0.saturating_add(other.0)));
    Ok(all.map_or(own, |all| own.min(all)))
}

/// The sizes of the paths of a multipath device. One whose array does not answer on it now shows no size, and takes no
/// I/O either.
fn paths(folder: &Path) -> io::Result<Vec<Bytes>> {
    let sizes: Vec<Bytes> = slaves(folder)?.iter().map(|path| sectors(path)).collect::<io::Result<_>>()?;
    Ok(sizes.into_iter().filter(|size| *size > Bytes::ZERO).collect())
}

/// Where a partition begins on its disk.
fn start(folder: &Path) -> io::Result<Bytes> {
    let sectors: u64 = std::fs::read_to_string(folder.join("start"))?.trim().parse().map_err(io::Error::other)?;
    Ok(Bytes(sectors.saturating_mul(512)))
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
    neighbours(device, "slaves")
}

/// The devices that lie on a device.
pub(super) fn holders(device: DeviceNumber) -> Vec<DeviceNumber> {
    neighbours(device, "holders")
}

/// The numbers of the devices in one of the two folders, of a device that is there.
fn neighbours(device: DeviceNumber, folder: &str) -> Vec<DeviceNumber> {
    let found = std::fs::read_dir(format!("/sys/dev/block/{device}/{folder}")).into_iter().flatten();
    let number = |entry: std::fs::DirEntry| std::fs::read_to_string(entry.path().join("dev")).ok()?.trim().parse().ok();
    found.flatten().filter_map(number).collect()
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
    let start = start(folder)?;
    let mut followed_until = None;
    for other in partitions_of(&disk)? {
        let begins = self::start(&other)?;
        if begins > start {
            followed_until = followed_until.max(Some(Bytes(begins.0.saturating_add(sectors(&other)?.0))));
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
        start,
        followed_until,
    }))
}

/// The folders of a disk's partitions.
fn partitions_of(disk: &Path) -> io::Result<Vec<PathBuf>> {
    let entries: Vec<PathBuf> = std::fs::read_dir(disk)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
    Ok(entries.into_iter().filter(|entry| entry.join("partition").exists()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// A folder of sysfs, with what these functions read.
    #[expect(clippy::disallowed_methods, reason = "a folder of the test's own")]
    fn device(folder: &Path, mib: u64, files: &[(&str, &str)], below: &[&Path]) {
        std::fs::create_dir_all(folder.join("slaves")).expect("a folder");
        std::fs::create_dir_all(folder.join("dm")).expect("a folder");
        std::fs::write(folder.join("size"), format!("{}\n", mib * 2048)).expect("a file");
        for (name, text) in files {
            std::fs::write(folder.join(name), format!("{text}\n")).expect("a file");
        }
        for (number, one) in below.iter().enumerate() {
            symlink(one, folder.join(format!("slaves/{number}"))).expect("a link");
        }
    }

    #[test]
    fn a_device_is_no_larger_than_what_is_below_it() {
        let sysfs = tempfile::tempdir().expect("a folder");
        let at = |name: &str| sysfs.path().join(name);
        let carries = |name: &str| carried(&at(name), DEEPEST).expect("it is there").0 >> 20;
        device(&at("sda"), 1000, &[], &[]);
        assert_eq!(carries("sda"), 1000);
        // A partition of 900 MiB that begins at 10 MiB fits; after the disk became smaller it does not.
        device(&at("sda/sda1"), 900, &[("partition", "1"), ("start", "20480")], &[]);
        assert_eq!(carries("sda/sda1"), 900);
        device(&at("sdb"), 500, &[], &[]);
        device(&at("sdb/sdb1"), 900, &[("partition", "1"), ("start", "20480")], &[]);
        assert_eq!(carries("sdb/sdb1"), 490);
        // Encryption on it, and a mapping over two devices.
        device(&at("dm-0"), 884, &[("dm/uuid", "CRYPT-LUKS2-x")], &[&at("sdb/sdb1")]);
        assert_eq!(carries("dm-0"), 490);
        device(&at("dm-1"), 1400, &[("dm/uuid", "x")], &[&at("sda"), &at("dm-0")]);
        assert_eq!(carries("dm-1"), 1400);
        device(&at("dm-2"), 1500, &[("dm/uuid", "x")], &[&at("sda"), &at("dm-0")]);
        assert_eq!(carries("dm-2"), 1490);
        // The shortest path that answers, and a partition that kpartx made of that.
        device(&at("sdc"), 0, &[], &[]);
        device(&at("dm-3"), 1000, &[("dm/uuid", "mpath-x")], &[&at("sda"), &at("sdb"), &at("sdc")]);
        assert_eq!(carries("dm-3"), 500);
        device(&at("dm-4"), 700, &[("dm/uuid", "part1-mpath-x")], &[&at("dm-3")]);
        assert_eq!(carries("dm-4"), 500);
        // A mapping of zeros lies on nothing.
        device(&at("dm-5"), 700, &[("dm/uuid", "x")], &[]);
        assert_eq!(carries("dm-5"), 700);
    }
}
