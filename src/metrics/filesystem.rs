//! File systems on logical volumes. Their usage is read when they are scraped, not when LVM was last asked.

use std::collections::BTreeSet;
use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::selection::Selection;
use super::{Column, Labels, column, family, flag};
use crate::inventory::{FileSystem, Inventory, Usage};
use crate::units::Bytes;

/// A file system with what it needs of its volume.
#[derive(Debug)]
pub struct Mounted {
    fs: FileSystem,
    vg: String,
    lv: String,
    volume: Option<Bytes>,
}

fn usage(mounted: &Mounted, value: fn(&Usage) -> u64) -> Option<f64> {
    mounted.fs.usage.as_ref().map(|usage| value(usage) as f64)
}

/// Of file systems.
pub const FILESYSTEM: &[Column<Mounted>] = &[
    column("lvm_filesystem_size_bytes", "Size of the file system as df shows it.", |m| usage(m, |u| u.size.0)),
    column("lvm_filesystem_free_bytes", "Free space of the file system, what is reserved for root included.", |m| {
        usage(m, |u| u.free.0)
    }),
    column("lvm_filesystem_avail_bytes", "Free space of the file system for everybody.", |m| usage(m, |u| u.avail.0)),
    column("lvm_filesystem_files", "Inodes of the file system.", |m| usage(m, |u| u.files)),
    column("lvm_filesystem_files_free", "Free inodes of the file system.", |m| usage(m, |u| u.files_free)),
    column("lvm_filesystem_readonly", "Whether the file system is mounted read-only.", |m| {
        // After an error the kernel makes it so without a change of the mount.
        flag(Some(m.fs.mount.read_only || m.fs.usage.is_some_and(|usage| usage.read_only)))
    }),
    column("lvm_filesystem_device_error", "Whether statvfs failed or did not answer in time.", |m| {
        flag(Some(m.fs.usage.is_none()))
    }),
    column(
        "lvm_filesystem_errors",
        "Errors the kernel has counted on the file system since its last check (ext4).",
        |m| m.fs.errors.map(|errors| errors as f64),
    ),
    column("lvm_filesystem_growable_bytes", "How much larger the logical volume is than its file system.", growable),
];

fn growable(mounted: &Mounted) -> Option<f64> {
    Some(mounted.fs.unused_of(mounted.volume?)?.0 as f64)
}

/// The file systems as series.
#[derive(Debug)]
pub struct FileSystems(Vec<Mounted>);

impl FileSystems {
    /// The file systems of an inventory that are shown, as it has them.
    pub fn of(inventory: &Inventory, selection: &Selection) -> FileSystems {
        // What is mounted twice at one place is seen once, and so are two places that look alike where they are not
        // UTF-8.
        let mut places = BTreeSet::new();
        let above = inventory.above.iter().map(|(_, fs)| fs);
        let seen = inventory.filesystems.iter().chain(above).rev().filter(|fs| {
            let place = &fs.mount.mount_point;
            selection.mount_points.shows(place.as_str())
                && inventory.mount_at(place) == Some(&fs.mount)
                && places.insert((fs.mount.device, place.to_string()))
        });
        let seen: Vec<&FileSystem> = seen.collect();
        let volumes = inventory.lvs_by_device();
        let mounted = seen.into_iter().rev().filter_map(|fs| {
            // What lies between takes a part of the volume, so that of its size nothing follows.
            let below = inventory.above.iter().find(|(_, above)| above.mount == fs.mount).map(|(lv, _)| (lv, None));
            let own = || volumes.get(&fs.mount.device).copied().flatten().map(|lv| (&lv.name, inventory.room_on(lv)));
            let (name, volume) = below.or_else(own)?;
            let shown = selection.vgs.shows(name.vg.as_str()) && selection.lvs.shows(&name.to_string());
            let (vg, lv) = (name.vg.to_string(), name.lv.to_string());
            shown.then(|| Mounted { fs: fs.clone(), vg, lv, volume })
        });
        FileSystems(mounted.collect())
    }

    /// The same, `usage` having read all of them again, in their order.
    pub fn read_again(&self, usage: impl FnOnce(Vec<FileSystem>) -> Vec<FileSystem>) -> FileSystems {
        let now = usage(self.0.iter().map(|mounted| mounted.fs.clone()).collect());
        let with =
            |(mounted, fs): (&Mounted, _)| Mounted { fs, vg: mounted.vg.clone(), lv: mounted.lv.clone(), ..*mounted };
        FileSystems(self.0.iter().zip(now).map(with).collect())
    }

    /// Whether every file system answered.
    pub fn all_answered(&self) -> bool {
        self.0.iter().all(|mounted| mounted.fs.usage.is_some())
    }
}

impl Collector for FileSystems {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let items: Vec<(&Mounted, Labels<'_>)> = self.0.iter().map(|mounted| (mounted, labels(mounted))).collect();
        FILESYSTEM.iter().try_for_each(|column| family(&mut encoder, column, &items))
    }
}

fn labels(mounted: &Mounted) -> Labels<'_> {
    let mount = &mounted.fs.mount;
    vec![
        ("vg", (&*mounted.vg).into()),
        ("lv", (&*mounted.lv).into()),
        ("mountpoint", mount.mount_point.as_str().into()),
        ("fstype", (&*mount.fs_type).into()),
        ("device", (&*mount.source).into()),
    ]
}
