//! Volume groups, logical volumes and physical volumes.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::{Column, Labels, flag, gauges};
use crate::inventory::{Inventory, Lv, Pv, Vg};
use crate::units::{Bytes, Extents, Percent};

/// An inventory as series.
#[derive(Debug)]
pub struct Lvm(pub Arc<Inventory>);

fn bytes(value: Option<Bytes>) -> Option<f64> {
    value.map(|bytes| bytes.0 as f64)
}

fn extents(value: Option<Extents>) -> Option<f64> {
    value.map(|extents| extents.0 as f64)
}

fn count(value: Option<u64>) -> Option<f64> {
    value.map(|count| count as f64)
}

fn percent(value: Option<Percent>) -> Option<f64> {
    value.map(Percent::value)
}

/// Of volume groups.
pub const VG: &[Column<Vg>] = &[
    Column { name: "lvm_vg_size_bytes", help: "Size of the volume group", value: |vg| bytes(vg.size) },
    Column {
        name: "lvm_vg_free_bytes",
        help: "Space of the volume group that no logical volume has",
        value: |vg| bytes(vg.free),
    },
    Column {
        name: "lvm_vg_extent_size_bytes",
        help: "Size of an extent of the volume group",
        value: |vg| bytes(vg.extent_size),
    },
    Column { name: "lvm_vg_extent_count", help: "Extents of the volume group", value: |vg| extents(vg.extent_count) },
    Column {
        name: "lvm_vg_free_extent_count",
        help: "Extents of the volume group that no logical volume has",
        value: |vg| extents(vg.free_extents),
    },
    Column { name: "lvm_vg_lv_count", help: "Logical volumes in the volume group", value: |vg| count(vg.lv_count) },
    Column { name: "lvm_vg_pv_count", help: "Physical volumes of the volume group", value: |vg| count(vg.pv_count) },
    Column {
        name: "lvm_vg_missing_pv_count",
        help: "Physical volumes of the volume group that are missing",
        value: |vg| count(vg.missing_pv_count),
    },
    Column {
        name: "lvm_vg_snapshot_count",
        help: "Snapshots in the volume group",
        value: |vg| count(vg.snapshot_count),
    },
    Column {
        name: "lvm_vg_metadata_size_bytes",
        help: "Size of the smallest metadata area of the volume group",
        value: |vg| bytes(vg.metadata_size),
    },
    Column {
        name: "lvm_vg_metadata_free_bytes",
        help: "Free space of the metadata area with the least of it",
        value: |vg| bytes(vg.metadata_free),
    },
    Column {
        name: "lvm_vg_partial",
        help: "Whether the volume group misses physical volumes",
        value: |vg| flag(vg.partial),
    },
    Column { name: "lvm_vg_exported", help: "Whether the volume group is exported", value: |vg| flag(vg.exported) },
    Column { name: "lvm_vg_read_only", help: "Whether the volume group is read-only", value: |vg| flag(vg.read_only) },
];

/// Of logical volumes.
pub const LV: &[Column<Lv>] = &[
    Column { name: "lvm_lv_size_bytes", help: "Size of the logical volume", value: |lv| bytes(lv.size) },
    Column {
        name: "lvm_lv_active",
        help: "Whether the logical volume is active on this host",
        value: |lv| flag(lv.active),
    },
    Column {
        name: "lvm_lv_suspended",
        help: "Whether the logical volume is suspended",
        value: |lv| flag(lv.suspended),
    },
    Column {
        name: "lvm_lv_healthy",
        help: "Whether LVM reports no health problem of the logical volume",
        value: |lv| flag(Some(lv.health.is_empty())),
    },
    Column {
        name: "lvm_lv_data_percent",
        help: "Use of the data space of a pool, thin volume, snapshot or cache, 0 to 100",
        value: |lv| percent(lv.data_percent),
    },
    Column {
        name: "lvm_lv_metadata_percent",
        help: "Use of the metadata space of a pool or cache, 0 to 100",
        value: |lv| percent(lv.metadata_percent),
    },
    Column {
        name: "lvm_lv_sync_percent",
        help: "How far a RAID, mirror or cache is in sync, 0 to 100",
        value: |lv| percent(lv.sync_percent),
    },
];

/// Of physical volumes.
pub const PV: &[Column<Pv>] = &[
    Column { name: "lvm_pv_size_bytes", help: "Size of the physical volume", value: |pv| bytes(pv.size) },
    Column {
        name: "lvm_pv_free_bytes",
        help: "Space of the physical volume that is not allocated",
        value: |pv| bytes(pv.free),
    },
    Column {
        name: "lvm_pv_allocatable",
        help: "Whether LVM may allocate from the physical volume",
        value: |pv| flag(pv.allocatable),
    },
    Column { name: "lvm_pv_missing", help: "Whether the physical volume is missing", value: |pv| flag(pv.missing) },
];

impl Collector for Lvm {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let inventory = &*self.0;
        let vgs = || inventory.vgs.iter().map(|vg| (vg, vec![("vg", vg.name.as_str())]));
        let lvs = || inventory.lvs.iter().filter(|lv| !lv.hidden).map(|lv| (lv, lv_labels(lv)));
        let pvs = || inventory.pvs.iter().map(|pv| (pv, pv_labels(pv)));
        let encoder = &mut encoder;
        info(encoder, inventory)?;
        VG.iter().try_for_each(|column| gauges(encoder, column, vgs()))?;
        LV.iter().try_for_each(|column| gauges(encoder, column, lvs()))?;
        PV.iter().try_for_each(|column| gauges(encoder, column, pvs()))
    }
}

fn lv_labels(lv: &Lv) -> Labels<'_> {
    vec![("vg", lv.name.vg.as_str()), ("lv", lv.name.lv.as_str())]
}

fn pv_labels(pv: &Pv) -> Labels<'_> {
    vec![("vg", pv.vg.as_ref().map_or("", |vg| vg.as_str())), ("pv", &pv.name)]
}

/// The `_info` families: always 1, what identifies an item in the labels.
fn info(encoder: &mut DescriptorEncoder<'_>, inventory: &Inventory) -> fmt::Result {
    let vg = Column { name: "lvm_vg_info", help: "A volume group, always 1", value: |_: &Vg| Some(1.0) };
    let vgs = inventory.vgs.iter().map(|vg| {
        let labels = vec![
            ("vg", vg.name.as_str()),
            ("vg_uuid", &*vg.uuid),
            ("allocation_policy", &*vg.allocation_policy),
            ("system_id", &*vg.system_id),
        ];
        (vg, labels)
    });
    gauges(encoder, &vg, vgs)?;
    let texts: Vec<_> = inventory
        .lvs
        .iter()
        .map(|lv| (lv, lv.layout.join(","), lv.role.join(","), lv.device.map(|d| d.to_string())))
        .collect();
    let lvs = texts.iter().filter(|(lv, ..)| !lv.hidden).map(|(lv, layout, role, device)| {
        let mut labels = lv_labels(lv);
        labels.extend([
            ("lv_uuid", &*lv.uuid),
            ("lv_path", &*lv.path),
            ("dm_path", &*lv.dm_path),
            ("device", device.as_deref().unwrap_or("")),
            ("layout", layout),
            ("role", role),
            ("pool", lv.pool.as_deref().unwrap_or("")),
            ("origin", lv.origin.as_deref().unwrap_or("")),
        ]);
        (*lv, labels)
    });
    gauges(
        encoder,
        &Column { name: "lvm_lv_info", help: "A logical volume, always 1", value: |_: &Lv| Some(1.0) },
        lvs,
    )?;
    let pvs = inventory.pvs.iter().map(|pv| {
        let mut labels = pv_labels(pv);
        labels.push(("pv_uuid", &*pv.uuid));
        (pv, labels)
    });
    gauges(
        encoder,
        &Column { name: "lvm_pv_info", help: "A physical volume, always 1", value: |_: &Pv| Some(1.0) },
        pvs,
    )
}
