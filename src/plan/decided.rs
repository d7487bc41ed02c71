//! A plan: what was decided about one volume, as the journal keeps it.

use serde::{Deserialize, Serialize};

use super::step::Step;
use crate::config::{Config, Mode, Target};
use crate::filesystem::FsKind;
use crate::inventory::Inventory;
use crate::name::{LvRef, MountPoint};
use crate::units::{Bytes, Extents};

/// What was decided: one volume, its size before and after, and the steps that lead there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The volume.
    pub lv: LvRef,
    /// Its UUID, so that a volume of the same name made later is never taken for it.
    pub lv_uuid: String,
    /// The file system on it; none for a thin pool.
    #[serde(flatten)]
    pub fs: Option<PlannedFs>,
    /// Why, in a sentence.
    pub reason: String,
    /// The volume before.
    pub before: Extents,
    /// The volume afterwards.
    pub after: Extents,
    /// The group's extent size.
    pub extent_size: Bytes,
    /// The metadata of a pool, if they grow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Metadata>,
    /// What a person should know although it is done.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// What to do, in this order.
    pub steps: Vec<Step>,
}

/// The file system of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedFs {
    /// Where it is mounted.
    pub mount_point: MountPoint,
    /// Of which kind it is.
    pub kind: FsKind,
    /// How large it was before, as `df` shows it.
    pub usable_before: Bytes,
    /// It is mounted nowhere, and must not be until this is over.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub offline: bool,
    /// The mapping of dm-crypt that it is on, by its name in `/dev/mapper`. The step that resizes it is not known to
    /// versions that would ignore this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mapping: Option<String>,
    /// Of a btrfs, the number it has given its device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_id: Option<u64>,
}

/// The metadata of a thin pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    /// Before.
    pub before: Bytes,
    /// Afterwards.
    pub after: Bytes,
}

impl Plan {
    /// By how much the volume grows, the metadata of a pool included.
    pub fn growth(&self) -> Bytes {
        let data = Extents(self.after.0.saturating_sub(self.before.0)).bytes(self.extent_size);
        let metadata = self.metadata.map_or(Bytes::ZERO, |metadata| metadata.after.saturating_sub(metadata.before));
        Bytes(data.0.saturating_add(metadata.0))
    }

    /// The steps that give the group more room.
    pub fn supply(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().filter(|step| step.is_supply())
    }

    /// Whether it is for a person to carry out, unless a person asked for it.
    pub fn is_recommended(&self, target: &Target, config: &Config) -> bool {
        let grows_disk = |step: &Step| matches!(step, Step::GrowPartition { .. } | Step::ResizePv { .. });
        let needs_disk = self.steps.iter().any(grows_disk);
        target.mode == Mode::Recommend || needs_disk && config.recommends_disks(&self.lv.vg)
    }

    /// Whether it is seen that nothing was extended, so that the operation can still be left without a trace.
    pub fn has_not_begun(&self, inventory: &Inventory) -> bool {
        let Some(lv) = inventory.lv(&self.lv) else { return false };
        let data = self.after > self.before;
        let data_is_small = lv.size.is_some_and(|size| size < self.after.bytes(self.extent_size));
        let metadata_are_small =
            self.metadata.is_none_or(|metadata| lv.metadata_size.is_some_and(|size| size < metadata.after));
        (data || self.metadata.is_some()) && (!data || data_is_small) && metadata_are_small
    }
}
