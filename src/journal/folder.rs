//! The folder of the journal: made, kept from copy-on-write, and locked for one process.

#![expect(clippy::disallowed_methods, reason = "the journal is one of the two places that write files")]

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use nix::fcntl::{Flock, FlockArg};
use rustix::fs::{IFlags, fstatfs, ioctl_getflags, ioctl_setflags};

use super::JournalError;

/// `BTRFS_SUPER_MAGIC` of statfs(2).
const BTRFS: u64 = 0x9123_683E;

/// Makes the folder, for root alone.
pub(super) fn make(folder: &Path) -> Result<(), JournalError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|source| JournalError::Folder { folder: folder.to_owned(), source })
}

/// On a btrfs every write goes to a new place, so that a full one cannot be written even where it was written before. Files
/// that are made in the folder after this stay where they are. (`chattr +C`; it has no effect on files that have content.)
pub(super) fn keep_in_place(folder: &Path) -> io::Result<()> {
    let folder = File::open(folder)?;
    if fstatfs(&folder)?.f_type as u64 != BTRFS {
        return Ok(());
    }
    let flags = ioctl_getflags(&folder)?;
    if !flags.contains(IFlags::NOCOW) {
        ioctl_setflags(&folder, flags | IFlags::NOCOW)?;
    }
    Ok(())
}

/// One process per state directory: the lock goes when the process goes, however that happens.
pub(super) fn lock(folder: &Path) -> Result<Flock<File>, JournalError> {
    let path = folder.join("lock");
    let open = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
    // On a file system that became read-only it can still be locked.
    let file = open.or_else(|error| File::open(&path).map_err(|_| error));
    let file = file.map_err(|source| JournalError::Folder { folder: path, source })?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|_| JournalError::Locked { lock: folder.join("lock") })
}
