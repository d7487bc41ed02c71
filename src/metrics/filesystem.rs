//! File systems on logical volumes. Their usage is read when they are scraped, not when LVM was last asked.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::{Column, flag, gauges};
use crate::inventory::{FileSystem, Inventory};
use crate::units::Bytes;

/// A file system with what it needs of its volume.
#[derive(Debug)]
pub struct Mounted {
    fs: FileSystem,
    vg: String,
    lv: String,
    volume: Option<Bytes>,
}

/// The file systems as series.
#[derive(Debug)]
pub struct FileSystems(Vec<Mounted>);

impl FileSystems {
    /// The file systems of an inventory; `usage` reads each again, or keeps what the inventory has.
    pub fn new(inventory: &Arc<Inventory>, usage: impl Fn(&FileSystem) -> FileSystem) -> FileSystems {
        let seen =
            inventory.filesystems.iter().filter(|fs| inventory.mount_at(&fs.mount.mount_point) == Some(&fs.mount));
        let mounted = seen.filter_map(|fs| {
            let lv = inventory.lv_by_device(fs.mount.device)?;
            Some(Mounted { fs: usage(fs), vg: lv.name.vg.to_string(), lv: lv.name.lv.to_string(), volume: lv.size })
        });
        FileSystems(mounted.collect())
    }
}

fn usage(mounted: &Mounted, value: fn(&crate::inventory::Usage) -> u64) -> Option<f64> {
    mounted.fs.usage.as_ref().map(|usage| value(usage) as f64)
}

/// Of file systems.
pub const FILESYSTEM: &[Column<Mounted>] = &[
    Column {
        name: "lvm_filesystem_size_bytes",
        help: "Size of the file system as df shows it",
        value: |m| usage(m, |u| u.size.0),
    },
    Column {
        name: "lvm_filesystem_free_bytes",
        help: "Free space of the file system, what is reserved for root included",
        value: |m| usage(m, |u| u.free.0),
    },
    Column {
        name: "lvm_filesystem_avail_bytes",
        help: "Free space of the file system for everybody",
        value: |m| usage(m, |u| u.avail.0),
    },
    Column { name: "lvm_filesystem_files", help: "Inodes of the file system", value: |m| usage(m, |u| u.files) },
    Column {
        name: "lvm_filesystem_files_free",
        help: "Free inodes of the file system",
        value: |m| usage(m, |u| u.files_free),
    },
    Column {
        name: "lvm_filesystem_readonly",
        help: "Whether the file system is mounted read-only",
        value: |m| flag(Some(m.fs.mount.read_only)),
    },
    Column {
        name: "lvm_filesystem_device_error",
        help: "Whether statvfs failed or did not answer in time",
        value: |m| flag(Some(m.fs.usage.is_none())),
    },
    Column {
        name: "lvm_filesystem_errors",
        help: "Errors the kernel has counted on the file system since its last check (ext4)",
        value: |m| m.fs.errors.map(|errors| errors as f64),
    },
    Column {
        name: "lvm_filesystem_growable_bytes",
        help: "How much larger the logical volume is than its file system",
        value: growable,
    },
];

/// 0 if what is left is too small for the file system to use.
fn growable(mounted: &Mounted) -> Option<f64> {
    let rest = mounted.volume?.saturating_sub(mounted.fs.size()?);
    Some(if rest <= mounted.fs.slack() { 0.0 } else { rest.0 as f64 })
}

impl Collector for FileSystems {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let items = || {
            self.0.iter().map(|m| {
                let mount = &m.fs.mount;
                let labels = vec![
                    ("vg", &*m.vg),
                    ("lv", &*m.lv),
                    ("mountpoint", mount.mount_point.as_str()),
                    ("fstype", &*mount.fs_type),
                    ("device", &*mount.source),
                ];
                (m, labels)
            })
        };
        FILESYSTEM.iter().try_for_each(|column| gauges(&mut encoder, column, items()))
    }
}
