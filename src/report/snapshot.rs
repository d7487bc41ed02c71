//! What a report remembers for the next one: small, versioned, and read with suspicion, for a person may have edited
//! it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::inventory::{FileSystem, Inventory, Lv};
use crate::plan::Moment;
use crate::units::Bytes;

/// The form that is written, and the only one that is read.
pub const VERSION: u32 = 1;

/// Sizes and usage at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Of this form.
    pub version: u32,
    /// When, with what a clock that is set cannot falsify.
    pub at: Moment,
    /// Volume groups.
    pub volume_groups: Vec<VgThen>,
    /// Logical volumes, without hidden ones.
    pub logical_volumes: Vec<LvThen>,
    /// File systems.
    pub filesystems: Vec<FsThen>,
}

/// A volume group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct VgThen {
    pub uuid: String,
    pub free: Option<Bytes>,
}

/// A logical volume.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct LvThen {
    pub uuid: String,
    pub size: Option<Bytes>,
    /// Of pools and snapshots.
    pub used: Option<Bytes>,
}

/// A file system, known by the volume it is on: its mount point may have changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct FsThen {
    pub lv_uuid: String,
    pub fs_type: String,
    pub size: Bytes,
    pub used: Bytes,
    pub read_only: bool,
}

impl Snapshot {
    /// What to remember of one look.
    pub fn new(inventory: &Inventory, at: Moment) -> Snapshot {
        let vgs = inventory.vgs.iter().map(|vg| VgThen { uuid: vg.uuid.clone(), free: vg.free });
        let lvs = inventory.lvs.iter().filter(|lv| !lv.hidden);
        let lvs = lvs.map(|lv| LvThen { uuid: lv.uuid.clone(), size: lv.size, used: data_used(lv) });
        let filesystems = one_per_volume(inventory).into_iter().filter_map(|(lv, fs)| {
            let usage = fs.usage?;
            let (lv_uuid, fs_type, read_only) = (lv.uuid.clone(), fs.mount.fs_type.clone(), fs.mount.read_only);
            Some(FsThen { lv_uuid, fs_type, size: usage.size, used: usage.used(), read_only })
        });
        Snapshot {
            version: VERSION,
            at,
            volume_groups: vgs.collect(),
            logical_volumes: lvs.collect(),
            filesystems: filesystems.collect(),
        }
    }

    /// The volume group of that UUID.
    pub fn vg(&self, uuid: &str) -> Option<&VgThen> {
        self.volume_groups.iter().find(|vg| vg.uuid == uuid)
    }

    /// The logical volume of that UUID.
    pub fn lv(&self, uuid: &str) -> Option<&LvThen> {
        self.logical_volumes.iter().find(|lv| lv.uuid == uuid)
    }

    /// The file system on the volume of that UUID; one of another type was made since.
    pub fn filesystem(&self, lv_uuid: &str, fs_type: &str) -> Option<&FsThen> {
        self.filesystems.iter().find(|fs| fs.lv_uuid == lv_uuid && fs.fs_type == fs_type)
    }
}

/// What of a pool or a snapshot is used; LVM says it in percent of its size.
pub fn data_used(lv: &Lv) -> Option<Bytes> {
    let counts = lv.is_layout("pool") || lv.is_role("thicksnapshot");
    lv.data_percent.filter(|_| counts).and_then(|percent| Some(percent.share_of(lv.size?)))
}

/// Each file system once with its volume, although it may be mounted at several places: where its root is seen first.
pub fn one_per_volume(inventory: &Inventory) -> Vec<(&Lv, &FileSystem)> {
    let volumes = inventory.lvs_by_device();
    let mut found: BTreeMap<_, (&Lv, &FileSystem)> = BTreeMap::new();
    for fs in &inventory.filesystems {
        let Some(Some(lv)) = volumes.get(&fs.mount.device) else { continue };
        let seen = inventory.mount_at(&fs.mount.mount_point) == Some(&fs.mount);
        let better = |other: &FileSystem| {
            let rank = |fs: &FileSystem, seen: bool| (seen, fs.mount.root == "/");
            let other_seen = inventory.mount_at(&other.mount.mount_point) == Some(&other.mount);
            rank(fs, seen) > rank(other, other_seen)
        };
        if found.get(&fs.mount.device).is_none_or(|(_, other)| better(other)) {
            found.insert(fs.mount.device, (lv, fs));
        }
    }
    found.into_values().collect()
}
