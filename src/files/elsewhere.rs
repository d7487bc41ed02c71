//! Files that this process may not open itself: who has the right opens them, judges them, and hands over what they
//! hold. Without such a one all files are read here.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

/// Certificates, keys, passwords, templates: what is larger was named by mistake.
pub const MOST_READ: u64 = 1 << 20;

/// Whoever opens files for this process.
pub trait Elsewhere: Send + Sync {
    /// What a file holds.
    fn read(&self, file: &Path) -> io::Result<Vec<u8>>;

    /// What it is like; `None`: it cannot be looked at.
    fn mark(&self, file: &Path) -> Option<FileMark>;
}

static ELSEWHERE: OnceLock<Box<dyn Elsewhere>> = OnceLock::new();

/// From now on this process reads files only through that one. The first counts.
pub fn read_through(elsewhere: Box<dyn Elsewhere>) {
    let _ = ELSEWHERE.set(elsewhere);
}

/// Who opens the files of this process, if it does not do so itself.
pub fn elsewhere() -> Option<&'static dyn Elsewhere> {
    ELSEWHERE.get().map(AsRef::as_ref)
}

/// What a file holds, at most [`MOST_READ`] bytes and one more.
pub fn read(file: &Path) -> io::Result<Vec<u8>> {
    match elsewhere() {
        Some(other) => other.read(file),
        None => read_here(file),
    }
}

/// The same for who reads for others.
pub fn read_here(file: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(file)?.take(MOST_READ + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// What tells a file from what it was before: another file, or other content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileMark {
    device: u64,
    inode: u64,
    size: u64,
    mode: u32,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl FileMark {
    /// `None`: it cannot be looked at.
    pub fn of(file: &Path) -> Option<FileMark> {
        elsewhere().map_or_else(|| FileMark::here(file), |other| other.mark(file))
    }

    /// The same for who looks for others.
    pub fn here(file: &Path) -> Option<FileMark> {
        let found = std::fs::metadata(file).ok()?;
        Some(FileMark {
            device: found.dev(),
            inode: found.ino(),
            size: found.size(),
            mode: found.mode(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        })
    }

    /// Whether all users of the host can read it.
    pub fn is_world_readable(&self) -> bool {
        self.mode & 0o004 != 0
    }
}
