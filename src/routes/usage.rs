//! How full something is, as the status shows it.

use serde::Serialize;

use crate::inventory::{FileSystem, Lv};
use crate::units::{Bytes, Percent};

/// All `None` if it does not answer.
#[derive(Debug, Default, Serialize)]
pub(super) struct UsageView {
    pub(super) size_bytes: Option<Bytes>,
    pub(super) used_bytes: Option<Bytes>,
    pub(super) available_bytes: Option<Bytes>,
    pub(super) used_percent: Option<Percent>,
    pub(super) inodes_percent: Option<Percent>,
}

/// Of a file system.
pub(super) fn usage_view(fs: &FileSystem) -> UsageView {
    let Some(usage) = fs.usage else { return UsageView::default() };
    UsageView {
        size_bytes: Some(usage.size),
        used_bytes: Some(usage.used()),
        available_bytes: Some(usage.avail),
        used_percent: Some(usage.percent()),
        // XFS makes inodes as it needs them.
        inodes_percent: usage.inode_percent().filter(|_| fs.kind().is_some_and(|kind| kind.about().has_fixed_inodes)),
    }
}

/// Of the data of a pool.
pub(super) fn pool_view(pool: &Lv) -> UsageView {
    let used = pool.data_percent.zip(pool.size).map(|(percent, size)| percent.share_of(size));
    UsageView {
        size_bytes: pool.size,
        used_bytes: used,
        available_bytes: pool.size.zip(used).map(|(size, used)| size.saturating_sub(used)),
        used_percent: pool.data_percent,
        inodes_percent: None,
    }
}
