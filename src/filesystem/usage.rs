//! What `statvfs` says, counted as `df` counts it.

use serde::{Deserialize, Serialize};

use crate::units::{Bytes, Percent};

/// The numbers of one `statvfs` call, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// All blocks.
    pub size: Bytes,
    /// Free, the blocks reserved for root counted as free.
    pub free: Bytes,
    /// Free for everybody.
    pub avail: Bytes,
    /// All inodes; 0 where the file system has no fixed number.
    pub files: u64,
    /// Free inodes.
    pub files_free: u64,
    /// Mounted read-only.
    pub read_only: bool,
}

impl Usage {
    /// What is in use.
    pub fn used(&self) -> Bytes {
        self.size.saturating_sub(self.free)
    }

    /// `df`'s `Use%` before it rounds up: used / (used + available). Blocks reserved for root count neither way.
    pub fn percent(&self) -> Percent {
        let used = self.used().0;
        Percent::of(used, used.saturating_add(self.avail.0))
    }

    /// The share of the inodes that is used; `None` where there is no fixed number of them.
    pub fn inode_percent(&self) -> Option<Percent> {
        (self.files > 0).then(|| Percent::of(self.files.saturating_sub(self.files_free), self.files))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_blocks_count_neither_way() {
        let usage =
            Usage { size: Bytes(1000), free: Bytes(200), avail: Bytes(150), files: 0, files_free: 0, read_only: false };
        assert_eq!(usage.used(), Bytes(800));
        assert!((usage.percent().value() - 84.21).abs() < 0.01);
    }

    #[test]
    fn an_empty_file_system_is_not_full() {
        let usage =
            Usage { size: Bytes(0), free: Bytes(0), avail: Bytes(0), files: 0, files_free: 0, read_only: false };
        assert_eq!(usage.percent().value(), 0.0);
    }
}
