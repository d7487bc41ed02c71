//! The commands that give a simulated volume group more room.

use std::path::Path;

use super::model::{FIRST_EXTENT, Model, ORPHANS_EXTENT};
use super::output::{fails, succeeds};
use crate::host::Output;
use crate::inventory::DiskKind;
use crate::units::{Bytes, Extents, MIB};

/// As large as its device, larger or smaller.
pub(super) fn pvresize(model: &mut Model, name: &str) -> Output {
    for vg in &mut model.vgs {
        let (extent_size, lacks_pvs) = (vg.extent_size, vg.missing_pvs() > 0);
        let Some(pv) = vg.pvs.iter_mut().find(|pv| pv.name == name && !pv.missing) else { continue };
        if lacks_pvs {
            return fails(5, format!("  Cannot change VG {} while PVs are missing.", vg.name));
        }
        let device = Bytes(pv.device_size(extent_size));
        let extents = device.saturating_sub(FIRST_EXTENT).to_extents_down(extent_size);
        if extents < pv.allocated {
            return fails(5, format!("  {name}: cannot resize to {} extents as later ones are allocated.", extents.0));
        }
        let taken = extents.bytes(extent_size).0 as i64 - pv.extents.bytes(extent_size).0 as i64;
        (pv.extents, pv.device_exceeds) = (extents, pv.device_exceeds - taken);
        let changed = format!("  Physical volume \"{name}\" changed\n  1 physical volume(s) resized or updated\n");
        return succeeds(changed);
    }
    fails(5, format!("  Failed to find physical volume \"{name}\"."))
}

pub(super) fn vgextend(model: &mut Model, name: &str, path: &str) -> Output {
    let found = model.orphans.iter().position(|pv| pv.uuid.as_ref().is_some_and(|uuid| uuid.path() == Path::new(path)));
    let Some(found) = found else { return fails(5, format!("  No device found for {path}.")) };
    let Some((extent_size, missing)) = model.vg(name).map(|vg| (vg.extent_size, vg.missing_pvs())) else {
        return fails(5, format!("  Volume group \"{name}\" not found"));
    };
    if missing > 0 {
        return fails(5, format!("  Cannot change VG {name} while PVs are missing."));
    }
    let mut pv = model.orphans.remove(found);
    let device = Bytes(pv.device_size(ORPHANS_EXTENT));
    pv.extents = device.saturating_sub(FIRST_EXTENT).to_extents_down(extent_size);
    pv.device_exceeds = device.0 as i64 - (FIRST_EXTENT.0 + pv.extents.bytes(extent_size).0) as i64;
    model.vg(name).into_iter().for_each(|vg| vg.pvs.push(pv.clone()));
    succeeds(format!("  Volume group \"{name}\" successfully extended\n"))
}

pub(super) fn vgreduce(model: &mut Model, name: &str, pv: &str) -> Output {
    let Some(vg) = model.vg(name) else { return fails(5, format!("  Volume group \"{name}\" not found")) };
    let Some(found) = vg.pvs.iter().position(|other| other.name == pv) else {
        return fails(5, format!("  Failed to find physical volume \"{pv}\"."));
    };
    if vg.pvs[found].allocated > Extents(0) {
        return fails(5, format!("  Physical volume \"{pv}\" still in use"));
    }
    let removed = vg.pvs.remove(found);
    model.orphans.push(removed);
    succeeds(format!("  Removed \"{pv}\" from volume group \"{name}\"\n"))
}

/// It grows to what the disk has, and LVM is told.
pub(super) fn growpart(model: &mut Model, disk: &str, number: &str) -> Output {
    let all = model.vgs.iter_mut().flat_map(|vg| vg.pvs.iter_mut().map(|pv| (vg.extent_size, pv)));
    for (extent_size, pv) in all.filter(|(_, pv)| !pv.missing) {
        let own = Bytes(pv.device_size(extent_size));
        let DiskKind::Partition(partition) = &pv.disk else { continue };
        if partition.disk != disk || partition.number.to_string() != number {
            continue;
        }
        let end =
            partition.followed_until.map_or(partition.disk_size.0.saturating_sub(MIB), |_| partition.start.0 + own.0);
        let more = end.saturating_sub(partition.start.0 + own.0);
        if more < MIB {
            return fails(1, format!("NOCHANGE: partition {number} is size {}. it cannot be grown", own.0 / 512));
        }
        pv.device_exceeds += more as i64;
        let name = pv.name.clone();
        pvresize(model, &name);
        return succeeds(format!("CHANGED: partition={number} start={} old: size={}\n", MIB / 512, own.0 / 512));
    }
    fails(2, format!("FAILED: failed to get start and end for {disk}{number}"))
}
