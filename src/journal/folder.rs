//! The folder of the journal: made, kept from copy-on-write, and locked for one process.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use rustix::fs::{IFlags, OFlags, fstatfs, ioctl_getflags, ioctl_setflags};

use super::error::JournalError;
use crate::files::{self, Doubt, Folder};

/// `BTRFS_SUPER_MAGIC` of statfs(2).
const BTRFS: u64 = 0x9123_683E;

/// Makes the folder, for root alone. One that others could change is not used: the journal in it would be theirs.
pub(super) fn make(folder: &Path) -> Result<(), JournalError> {
    Folder::own(folder).map(drop).map_err(|source| failed(folder, source))
}

fn failed(path: &Path, source: io::Error) -> JournalError {
    match source.downcast::<Doubt>() {
        Ok(doubt) => JournalError::Untrusted(doubt),
        Err(source) => JournalError::Folder { folder: path.to_owned(), source },
    }
}

/// On a btrfs every write goes to a new place, so that a full one cannot be written even where it was written before.
/// Files that are made in the folder after this stay where they are. (`chattr +C`; it has no effect on files that have
/// content.)
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

/// Where the lock is.
pub(super) fn lock_file(folder: &Path) -> PathBuf {
    folder.join("lock")
}

/// One process per state directory: the lock goes when the process goes, however that happens.
pub(super) fn lock(folder: &Path) -> Result<Flock<File>, JournalError> {
    let path = lock_file(folder);
    let open = files::open_own(&path, OFlags::WRONLY | OFlags::CREATE, 0o600);
    // On a file system that became read-only it can still be locked.
    let file = open.or_else(|error| files::open_own(&path, OFlags::RDONLY, 0).map_err(|_| error));
    let file = file.map_err(|source| failed(&path, source))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|_| JournalError::Locked { lock: path })
}
