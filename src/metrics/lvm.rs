//! Volume groups, logical volumes and physical volumes.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::selection::Selection;
use super::{Column, Labels, column, family, flag};
use crate::inventory::{Inventory, Lv, Pv, Vg};
use crate::units::{Bytes, Extents, Percent};

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
    column("lvm_vg_info", "A volume group, always 1.", |_| Some(1.0)),
    column("lvm_vg_size_bytes", "Size of the volume group.", |vg| bytes(vg.size)),
    column("lvm_vg_free_bytes", "Space of the volume group that no logical volume has.", |vg| bytes(vg.free)),
    column("lvm_vg_extent_size_bytes", "Size of an extent of the volume group.", |vg| bytes(vg.extent_size)),
    column("lvm_vg_extent_count", "Extents of the volume group.", |vg| extents(vg.extent_count)),
    column("lvm_vg_free_count", "Extents of the volume group that no logical volume has.", |vg| {
        extents(vg.free_extents)
    }),
    column("lvm_vg_lv_count", "Logical volumes in the volume group.", |vg| count(vg.lv_count)),
    column("lvm_vg_pv_count", "Physical volumes of the volume group.", |vg| count(vg.pv_count)),
    column("lvm_vg_missing_pv_count", "Physical volumes of the volume group that are missing.", |vg| {
        count(vg.missing_pv_count)
    }),
    column("lvm_vg_snapshot_count", "Snapshots in the volume group.", |vg| count(vg.snapshot_count)),
    column("lvm_vg_metadata_size_bytes", "Size of the smallest metadata area of the volume group.", |vg| {
        bytes(vg.metadata_size)
    }),
    column(
        "lvm_vg_metadata_free_bytes",
        "Free space in the metadata area of the volume group that has the least.",
        |vg| bytes(vg.metadata_free),
    ),
    column("lvm_vg_partial", "Whether the volume group misses physical volumes.", |vg| flag(vg.partial)),
    column("lvm_vg_exported", "Whether the volume group is exported.", |vg| flag(vg.exported)),
    column("lvm_vg_read_only", "Whether the volume group is read-only.", |vg| flag(vg.read_only)),
    column("lvm_vg_shared", "Whether the volume group is shared between hosts.", |vg| flag(vg.shared)),
    column("lvm_vg_extendable", "Whether physical volumes can be added to the volume group.", |vg| flag(vg.extendable)),
    column("lvm_vg_seqno", "Revision of the volume group's metadata; each change adds one.", |vg| count(vg.seqno)),
];

/// Of logical volumes.
pub const LV: &[Column<Lv>] = &[
    column("lvm_lv_info", "A logical volume, always 1.", |_| Some(1.0)),
    column("lvm_lv_size_bytes", "Size of the logical volume.", |lv| bytes(lv.size)),
    column("lvm_lv_active", "Whether the logical volume is active on this host.", |lv| flag(lv.active)),
    column("lvm_lv_suspended", "Whether the logical volume is suspended.", |lv| flag(lv.suspended)),
    column("lvm_lv_read_only", "Whether the logical volume is read-only.", |lv| flag(lv.read_only)),
    column("lvm_lv_healthy", "Whether LVM reports no health problem of the logical volume.", |lv| {
        flag(Some(lv.health.is_empty()))
    }),
    column("lvm_lv_data_percent", "Use of the data space of a pool, thin volume, snapshot or cache, 0 to 100.", |lv| {
        percent(lv.data_percent)
    }),
    column("lvm_lv_metadata_percent", "Use of the metadata space of a pool or cache, 0 to 100.", |lv| {
        percent(lv.metadata_percent)
    }),
    // Of a cache LVM reports in this field how much of it is not yet on the slow device: see lvm_lv_cache_dirty_blocks.
    column("lvm_lv_sync_percent", "How far a RAID or mirror is in sync, 0 to 100.", |lv| {
        percent(lv.sync_percent.filter(|_| !lv.is_layout("cache")))
    }),
    column("lvm_lv_snapshot_invalid", "Whether a snapshot overflowed and its content is lost.", |lv| {
        flag(lv.snapshot_invalid)
    }),
    column("lvm_lv_check_needed", "Whether the metadata of a thin pool or cache needs a check.", |lv| {
        flag(lv.check_needed)
    }),
    column("lvm_lv_raid_mismatch_count", "Mismatches that the last scrub of a RAID found.", |lv| {
        count(lv.raid_mismatches)
    }),
    column(
        "lvm_lv_raid_syncing",
        "Whether a RAID is doing anything but idle: resync, recover, check, repair, reshape.",
        |lv| (!lv.raid_sync_action.is_empty()).then(|| f64::from(u8::from(lv.raid_sync_action != "idle"))),
    ),
    column("lvm_lv_cache_total_blocks", "Blocks of the cache of a cached volume.", |lv| count(lv.cache.total_blocks)),
    column("lvm_lv_cache_used_blocks", "Blocks of the cache that are used.", |lv| count(lv.cache.used_blocks)),
    column("lvm_lv_cache_dirty_blocks", "Blocks of the cache that are not yet on the slow device.", |lv| {
        count(lv.cache.dirty_blocks)
    }),
    column("lvm_lv_cache_read_hits", "Reads that the cache answered, since activation.", |lv| {
        count(lv.cache.read_hits)
    }),
    column("lvm_lv_cache_read_misses", "Reads that the cache did not answer, since activation.", |lv| {
        count(lv.cache.read_misses)
    }),
    column("lvm_lv_cache_write_hits", "Writes that the cache took, since activation.", |lv| count(lv.cache.write_hits)),
    column("lvm_lv_cache_write_misses", "Writes that the cache did not take, since activation.", |lv| {
        count(lv.cache.write_misses)
    }),
    column("lvm_lv_vdo_used_size_bytes", "Physical space that a VDO pool uses.", |lv| bytes(lv.vdo.used_size)),
    column(
        "lvm_lv_vdo_saving_percent",
        "Space that a VDO pool saves by deduplication and compression, 0 to 100.",
        |lv| percent(lv.vdo.saving_percent),
    ),
    column("lvm_lv_origin_size_bytes", "Size of the origin of a snapshot.", |lv: &Lv| bytes(lv.origin_size)).detail(),
    column("lvm_lv_metadata_size_bytes", "Size of the metadata volume of a pool or cache.", |lv: &Lv| {
        bytes(lv.metadata_size)
    })
    .detail(),
    column("lvm_lv_device_open", "Whether something has the device of the logical volume open.", |lv: &Lv| {
        flag(lv.open)
    })
    .detail(),
    column("lvm_lv_converting", "Whether the logical volume is being converted.", |lv: &Lv| flag(lv.converting))
        .detail(),
    column("lvm_lv_merging", "Whether the snapshot is being merged into its origin.", |lv: &Lv| flag(lv.merging))
        .detail(),
    column("lvm_lv_seg_count", "Segments of the logical volume.", |lv: &Lv| Some(lv.segments.len() as f64)).detail(),
    column("lvm_lv_stripes", "Stripes of the last segment of the logical volume.", |lv: &Lv| {
        count(lv.segments.last().and_then(|s| s.stripes))
    })
    .detail(),
];

/// Of logical volumes that are not healthy.
pub const HEALTH_PROBLEM: &[Column<Lv>] = &[column(
    "lvm_lv_health_problem",
    "What health problem LVM reports of the logical volume, always 1; lvmraid(7) and lvmthin(7) have the words.",
    |_| Some(1.0),
)];

/// Of physical volumes.
pub const PV: &[Column<Pv>] = &[
    column("lvm_pv_info", "A physical volume, always 1.", |_| Some(1.0)),
    column("lvm_pv_size_bytes", "Size of the physical volume.", |pv| bytes(pv.size)),
    column("lvm_pv_free_bytes", "Space of the physical volume that is not allocated.", |pv| bytes(pv.free)),
    column("lvm_pv_used_bytes", "Space of the physical volume that is allocated.", |pv| bytes(pv.used)),
    column("lvm_pv_dev_size_bytes", "Size of the device that the physical volume is on.", |pv| bytes(pv.device_size)),
    column(
        "lvm_pv_growable_bytes",
        "How much larger the device, and the free end of the disk that it is the last partition of, is than the physical volume.",
        |pv| bytes(pv.growable_bytes()),
    ),
    column(
        "lvm_pv_logical_block_size_bytes",
        "Logical block size of the device that the physical volume is on.",
        |pv| bytes(pv.disk.as_ref().map(|disk| disk.block_size)),
    ),
    column("lvm_pv_pe_count", "Extents of the physical volume.", |pv| extents(pv.extent_count)),
    column("lvm_pv_pe_alloc_count", "Extents of the physical volume that are allocated.", |pv| {
        extents(pv.allocated_extents)
    }),
    column("lvm_pv_allocatable", "Whether LVM may allocate from the physical volume.", |pv| flag(pv.allocatable)),
    column("lvm_pv_missing", "Whether the physical volume is missing.", |pv| flag(pv.missing)),
    column("lvm_pv_exported", "Whether the physical volume belongs to an exported volume group.", |pv| {
        flag(pv.exported)
    }),
    column("lvm_pv_duplicate", "Whether the physical volume is an unchosen duplicate of another device.", |pv| {
        flag(pv.duplicate)
    }),
];

/// An inventory as series.
#[derive(Debug)]
pub struct Lvm {
    /// What is shown.
    pub inventory: Arc<Inventory>,
    /// Which of it.
    pub selection: Arc<Selection>,
}

impl Collector for Lvm {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (inventory, selection, encoder) = (&*self.inventory, &*self.selection, &mut encoder);
        let names = Names::new(inventory);
        let vgs = inventory.vgs.iter().filter(|vg| selection.vgs.shows(vg.name.as_str()));
        let lvs = inventory.lvs.iter().filter(|lv| shows(selection, lv));
        let pvs = inventory.pvs.iter().filter(|pv| pv.vg.as_ref().is_none_or(|vg| selection.vgs.shows(vg.as_str())));
        table(encoder, selection, VG, vgs, |vg| names.vg(vg), |vg| vec![("vg_uuid", (&*vg.uuid).into())], vg_info)?;
        table(encoder, selection, LV, lvs, |lv| names.lv(lv), |lv| vec![("lv_uuid", (&*lv.uuid).into())], lv_info)?;
        let ill = inventory.lvs.iter().filter(|lv| shows(selection, lv) && !lv.health.is_empty());
        let ill: Vec<(&Lv, Labels<'_>)> =
            ill.map(|lv| (lv, [names.lv(lv), vec![("problem", (&*lv.health).into())]].concat())).collect();
        HEALTH_PROBLEM.iter().try_for_each(|column| family(encoder, column, &ill))?;
        table(encoder, selection, PV, pvs, |pv| names.pv(pv), |pv| vec![("pv_uuid", (&*pv.uuid).into())], pv_info)
    }
}

/// Whether a volume is shown: hidden ones (`[pool0_tdata]`) are a detail, unless they are a RAID. Nothing else has its
/// health.
fn shows(selection: &Selection, lv: &Lv) -> bool {
    (selection.lv_details || !lv.hidden || lv.is_layout("raid"))
        && selection.vgs.shows(lv.name.vg.as_str())
        && selection.lvs.shows(&lv.name.to_string())
}

/// A whole table. Its first row is the `_info` metric, which has further labels.
fn table<'a, T: 'a>(
    encoder: &mut DescriptorEncoder<'_>,
    selection: &Selection,
    columns: &[Column<T>],
    items: impl Iterator<Item = &'a T>,
    names: impl Fn(&'a T) -> Labels<'a>,
    uuid: impl Fn(&'a T) -> Labels<'a>,
    info: impl Fn(&'a T) -> Labels<'a>,
) -> fmt::Result {
    let items: Vec<&T> = items.collect();
    let labels = |item: &&'a T| [names(item), if selection.uuid_labels { uuid(item) } else { vec![] }].concat();
    let plain: Vec<(&T, Labels<'_>)> = items.iter().map(|item| (*item, labels(item))).collect();
    let Some((first, rest)) = columns.split_first() else { return Ok(()) };
    let full: Vec<(&T, Labels<'_>)> =
        items.iter().map(|item| (*item, [names(item), uuid(item), info(item)].concat())).collect();
    family(encoder, first, &full)?;
    rest.iter()
        .filter(|column| selection.lv_details || !column.detail)
        .try_for_each(|column| family(encoder, column, &plain))
}

/// How groups and volumes are called in labels. Names are unique on a healthy host; after a disk was moved between
/// hosts two groups can have the same one, and are then told apart by their UUIDs.
struct Names<'a> {
    ambiguous: BTreeSet<&'a str>,
}

impl<'a> Names<'a> {
    fn new(inventory: &'a Inventory) -> Names<'a> {
        let mut seen = BTreeSet::new();
        let ambiguous = inventory.vgs.iter().map(|vg| vg.name.as_str()).filter(|name| !seen.insert(*name)).collect();
        Names { ambiguous }
    }

    fn group<'b>(&self, name: &'b str, uuid: &str) -> Cow<'b, str> {
        if self.ambiguous.contains(name) { format!("{name} {uuid}").into() } else { name.into() }
    }

    fn vg<'b>(&self, vg: &'b Vg) -> Labels<'b> {
        vec![("vg", self.group(vg.name.as_str(), &vg.uuid))]
    }

    fn lv<'b>(&self, lv: &'b Lv) -> Labels<'b> {
        vec![("vg", self.group(lv.name.vg.as_str(), &lv.vg_uuid)), ("lv", lv.name.lv.as_str().into())]
    }

    fn pv<'b>(&self, pv: &'b Pv) -> Labels<'b> {
        let vg = pv.vg.as_ref().map_or("".into(), |vg| self.group(vg.as_str(), &pv.vg_uuid));
        // All missing devices are called `[unknown]`.
        let name =
            if pv.name.starts_with('[') { format!("{} {}", pv.name, pv.uuid).into() } else { (&*pv.name).into() };
        vec![("vg", vg), ("pv", name)]
    }
}

fn vg_info(vg: &Vg) -> Labels<'_> {
    vec![
        ("vg_name", vg.name.as_str().into()),
        ("allocation_policy", (&*vg.allocation_policy).into()),
        ("system_id", (&*vg.system_id).into()),
        ("tags", (&*vg.tags).into()),
    ]
}

fn lv_info(lv: &Lv) -> Labels<'_> {
    vec![
        ("lv_name", lv.name.lv.as_str().into()),
        ("lv_path", (&*lv.path).into()),
        ("dm_path", (&*lv.dm_path).into()),
        ("device", lv.device.map_or(String::new(), |device| device.to_string()).into()),
        ("layout", lv.layout.join(",").into()),
        ("role", lv.role.join(",").into()),
        ("pool", lv.pool.as_deref().unwrap_or("").into()),
        ("origin", lv.origin.as_deref().unwrap_or("").into()),
        ("tags", (&*lv.tags).into()),
    ]
}

fn pv_info(pv: &Pv) -> Labels<'_> {
    vec![("pv_name", (&*pv.name).into()), ("device", (&*pv.name).into()), ("tags", (&*pv.tags).into())]
}
