//! How full the file system is that a path leads to, and which one that is.

use std::collections::HashMap;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::Mutex;

use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use nix::sys::statvfs::{FsFlags, statvfs};
use rustix::fs::{AtFlags, CWD, StatxFlags, statx};

use crate::inventory::{DeviceNumber, Usage, mounts};
use crate::units::Bytes;

/// The numbers of all mounts by their IDs. Read when the first is asked for, because most hosts need none of them, and
/// again for one that is not there, because it may be new. Made for each row of questions: the kernel gives the ID of
/// what is unmounted to what is mounted next.
#[derive(Default)]
pub(super) struct Numbers(Mutex<HashMap<u64, DeviceNumber>>);

impl Numbers {
    fn of(&self, id: u64) -> Option<DeviceNumber> {
        let mut known = crate::locked(&self.0);
        if !known.contains_key(&id) {
            *known = mounts::numbers(&std::fs::read("/proc/self/mountinfo").ok()?);
        }
        known.get(&id).copied()
    }
}

/// statvfs(3), and the number that mountinfo shows for the mount.
pub(super) fn usage(path: &Path, numbers: &Numbers) -> io::Result<(Usage, DeviceNumber)> {
    let vfs = statvfs(path)?;
    let seen = statx(CWD, path, AtFlags::empty(), StatxFlags::MNT_ID)?;
    let own = DeviceNumber { major: seen.stx_dev_major, minor: seen.stx_dev_minor };
    // Each subvolume of a btrfs has an anonymous number of its own; only its mount says which file system it is.
    let device = if own.major == 0 {
        let has_id = seen.stx_mask & StatxFlags::MNT_ID.bits() != 0;
        let id = if has_id { Some(seen.stx_mnt_id) } else { id_of(path) };
        id.and_then(|id| numbers.of(id)).unwrap_or(own)
    } else {
        own
    };
    // `f_bsize` is only a hint; counts are in fragments, statvfs(3).
    let bytes = |blocks: u64| Bytes(blocks.saturating_mul(vfs.fragment_size()));
    let usage = Usage {
        size: bytes(vfs.blocks()),
        free: bytes(vfs.blocks_free()),
        avail: bytes(vfs.blocks_available()),
        files: vfs.files(),
        files_free: vfs.files_free(),
        read_only: vfs.flags().contains(FsFlags::ST_RDONLY),
    };
    Ok((usage, device))
}

/// The ID of the mount, from kernels before 5.8, whose statx(2) does not tell it.
fn id_of(path: &Path) -> Option<u64> {
    let opened = open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()).ok()?;
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", opened.as_raw_fd())).ok()?;
    info.lines().find_map(|line| line.strip_prefix("mnt_id:"))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever is mounted on this machine: each has the number that mountinfo shows, or its device's.
    #[test]
    fn every_mount_has_the_number_that_mountinfo_shows() {
        let mountinfo = std::fs::read("/proc/self/mountinfo").expect("Linux");
        let (all, _) = mounts::parse(&mountinfo);
        let numbers = Numbers::default();
        let mut compared = 0;
        // What was mounted over is not seen by its path.
        for (index, mount) in all.iter().enumerate() {
            let place = mount.mount_point.as_path();
            let is_covered = all[index + 1..].iter().any(|later| place.starts_with(later.mount_point.as_path()));
            let Ok((_, number)) = usage(place, &numbers) else { continue };
            if !is_covered {
                assert_eq!(number, mount.number, "{}", place.display());
                compared += 1;
            }
        }
        assert!(compared > 3, "of {} mounts only {compared} could be compared", all.len());
    }

    /// A kernel that tells the ID with statx and one that does not lead to the same mount.
    #[test]
    fn both_ways_to_a_mount_id_lead_to_the_same() {
        // Of these three the file system's own number is the mount's.
        for place in ["/proc", "/sys", "/dev"].map(Path::new) {
            let seen = statx(CWD, place, AtFlags::empty(), StatxFlags::MNT_ID).expect("it is there");
            if seen.stx_mask & StatxFlags::MNT_ID.bits() != 0 {
                assert_eq!(id_of(place), Some(seen.stx_mnt_id), "{}", place.display());
            }
            let own = DeviceNumber { major: seen.stx_dev_major, minor: seen.stx_dev_minor };
            assert_eq!(Numbers::default().of(id_of(place).expect("Linux")), Some(own), "{}", place.display());
        }
        assert_eq!(Numbers::default().of(u64::MAX), None);
    }
}
