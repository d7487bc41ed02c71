//! The mappings of dm-crypt between volumes and file systems, as the kernel shows them.

use std::collections::BTreeMap;
use std::path::Path;

use super::Host;
use crate::inventory::mapping::{self, Mapping};
use crate::inventory::{DeviceNumber, Inventory, Lv, Mount, luks};
use crate::name::LvRef;

/// The mapping on one volume. Where several devices lie on a volume, none of them is between it and its file system.
pub(super) fn on_volume(host: &dyn Host, inventory: &Inventory, name: &LvRef) -> Vec<Mapping> {
    let Some((lv, device)) = inventory.lv(name).and_then(|lv| Some((lv, lv.device?))) else { return vec![] };
    let Ok([holder]) = <[DeviceNumber; 1]>::try_from(host.holders(device)) else { return vec![] };
    completed(host, inventory, found(host, holder, lv).into_iter().collect())
}

/// The mappings on volumes from which something is mounted.
pub(super) fn below_mounts(host: &dyn Host, inventory: &Inventory, mounts: &[Mount]) -> Vec<Mapping> {
    let volumes = inventory.lvs_by_device();
    let mut known = BTreeMap::new();
    for mount in mounts.iter().filter(|mount| !volumes.contains_key(&mount.device)) {
        // A btrfs has a number of its own.
        let device = host.block_device(Path::new(&mount.source)).unwrap_or(mount.device);
        let on = || host.below(device).iter().find_map(|below| *volumes.get(below)?);
        known.entry(device).or_insert_with(|| on().and_then(|lv| found(host, device, lv)));
    }
    completed(host, inventory, known.into_values().flatten().collect())
}

/// The device, if it is one of libcryptsetup.
fn found(host: &dyn Host, device: DeviceNumber, lv: &Lv) -> Option<Mapping> {
    let mapped = host.mapped(device).ok().filter(|mapped| Mapping::is_its_uuid(&mapped.uuid))?;
    Some(Mapping {
        lv: lv.name.clone(),
        name: mapped.name,
        uuid: mapped.uuid,
        device,
        size: mapped.size,
        suspended: mapped.suspended,
        alone: host.below(device).as_slice() == lv.device.as_slice(),
        table: None,
        header: None,
    })
}

/// With their tables, which are asked for once, and the headers of their volumes.
fn completed(host: &dyn Host, inventory: &Inventory, mut found: Vec<Mapping>) -> Vec<Mapping> {
    if found.is_empty() {
        return found;
    }
    let said = host.run(&mapping::tables_command(), &|| ()).ok().filter(|output| output.succeeded());
    let tables = said.map(|output| mapping::parse_tables(&String::from_utf8_lossy(&output.stdout))).unwrap_or_default();
    for mapping in &mut found {
        mapping.table = tables.get(&mapping.name).cloned();
        // Whoever reads from a suspended device waits.
        let volume = inventory.lv(&mapping.lv).filter(|lv| lv.suspended != Some(true)).and_then(|lv| lv.device);
        mapping.header = volume.and_then(|device| luks::parse(&host.superblock(device).ok()?));
    }
    found
}
