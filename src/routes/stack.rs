//! What lies below a target, from the disk to its file system, and what is free at each layer, as the status shows it.

use std::cmp::Reverse;

use serde::Serialize;

use super::usage::{pool_view, usage_view};
use crate::config::{Config, Target, What};
use crate::inventory::{Disk, DiskKind, Inventory, Lv, Pv, Vg};
use crate::units::{Bytes, Percent};

/// So many PVs of a group are shown each; the others are added up.
const MOST_PVS: usize = 8;

/// One layer.
#[derive(Debug, Serialize)]
pub(super) struct Layer {
    /// `disk`, `partition`, `pv`, `more_pvs`, `group`, `pool`, `volume`, `luks` or `file_system`.
    layer: &'static str,
    name: String,
    size_bytes: Option<Bytes>,
    /// What the layer above could take of it; of a file system, what `df` calls available.
    free_bytes: Option<Bytes>,
    used_percent: Option<Percent>,
    /// What else a person should know of it.
    note: Option<String>,
}

impl Layer {
    fn new(layer: &'static str, name: impl ToString, size: Option<Bytes>, free: Option<Bytes>) -> Layer {
        let used = size.zip(free).map(|(size, free)| Percent::of(size.saturating_sub(free).0, size.0));
        Layer {
            layer,
            name: name.to_string(),
            size_bytes: size,
            free_bytes: free,
            used_percent: used.filter(|_| size != Some(Bytes::ZERO)),
            note: None,
        }
    }

    fn noting(self, note: Option<String>) -> Layer {
        Layer { note, ..self }
    }
}

/// The lowest layer first. Empty for a volume that is not on this host.
pub(super) fn below(target: &Target, config: &Config, inventory: &Inventory) -> Vec<Layer> {
    let Some((vg, lv)) = inventory.vg(&target.lv.vg).zip(inventory.lv(&target.lv)) else { return vec![] };
    let mut layers = disks(vg, inventory);
    layers.push(group(vg, config));
    if let What::ThinPool { .. } = target.what {
        layers.push(pool(lv));
        return layers;
    }
    layers.extend(inventory.pool_of(lv).map(pool));
    let fs = target.mount_point().and_then(|point| inventory.filesystem_at(point));
    let mapping = inventory.mapping_on(&lv.name);
    let unused = match mapping {
        Some(mapping) => lv.size.map(|size| mapping.room_on(size).saturating_sub(mapping.size)),
        None => lv.size.zip(fs).and_then(|(size, fs)| fs.unused_of(size)),
    };
    layers.push(Layer::new("volume", &lv.name, lv.size, unused));
    if let Some(mapping) = mapping {
        let unused = fs.and_then(|fs| fs.unused_of(mapping.size));
        let suspended = mapping.suspended.then(|| "suspended".to_owned());
        layers.push(Layer::new("luks", mapping.path().display(), Some(mapping.size), unused).noting(suspended));
    }
    if let Some(fs) = fs {
        let usage = usage_view(fs);
        let silent = usage.size_bytes.is_none().then(|| "does not answer".to_owned());
        let place = &fs.mount.mount_point;
        layers.push(Layer::new("file_system", place, usage.size_bytes, usage.available_bytes).noting(silent));
    }
    layers
}

/// Of each PV its disk, its partition and itself. Those that could grow come first, should there be many.
fn disks(vg: &Vg, inventory: &Inventory) -> Vec<Layer> {
    let extent_size = vg.extent_size.unwrap_or(Bytes::ZERO);
    let mut pvs: Vec<&Pv> = inventory.pvs.iter().filter(|pv| pv.vg.as_ref() == Some(&vg.name)).collect();
    if pvs.len() > MOST_PVS {
        pvs.sort_by_key(|pv| Reverse(pv.growable(extent_size)));
    }
    let (shown, rest) = pvs.split_at(pvs.len().min(MOST_PVS));
    let mut layers: Vec<Layer> = shown.iter().flat_map(|pv| disk(pv, extent_size)).collect();
    if !rest.is_empty() {
        let sum = |of: fn(&Pv) -> Option<Bytes>| {
            rest.iter().map(|pv| of(pv)).try_fold(Bytes::ZERO, |sum, one| Some(Bytes(sum.0.saturating_add(one?.0))))
        };
        layers.push(Layer::new("more_pvs", rest.len(), sum(|pv| pv.size), sum(|pv| pv.free)));
    }
    layers
}

fn disk(pv: &Pv, extent_size: Bytes) -> Vec<Layer> {
    // Less than an extent is of no use to LVM.
    let usable = |bytes: Bytes| if bytes < extent_size { Bytes::ZERO } else { bytes };
    let own = Layer::new("pv", &pv.name, pv.size, pv.free);
    let Some(disk) = &pv.disk else {
        let note = if pv.missing == Some(true) { "missing" } else { "its size cannot be read" };
        return vec![Layer::new("disk", &pv.name, pv.device_size, None).noting(Some(note.to_owned())), own];
    };
    let exceeded = usable(pv.exceeded_by());
    let lacks = pv.lacks().map(|lacks| format!("{lacks} smaller than its PV"));
    match &disk.kind {
        DiskKind::Partition(partition) => {
            let is_followed = partition.followed_until.is_some();
            let followed = (is_followed && usable(disk.unused_behind()) > Bytes::ZERO)
                .then(|| format!("another partition is before the {} at its end", disk.unused_behind()));
            let free = usable(disk.grows_into());
            vec![
                Layer::new("disk", &partition.disk, Some(partition.disk_size), Some(free)).noting(followed),
                Layer::new("partition", &pv.name, Some(disk.size), Some(exceeded)).noting(lacks),
                own,
            ]
        }
        kind => {
            let note = lacks.or_else(|| note_on(kind, disk));
            vec![Layer::new("disk", &pv.name, Some(disk.size), Some(exceeded)).noting(note), own]
        }
    }
}

fn note_on(kind: &DiskKind, disk: &Disk) -> Option<String> {
    match kind {
        DiskKind::Layered(what) => Some(what.clone()),
        DiskKind::Multipath { agree: false } => Some("its paths differ in size".to_owned()),
        _ if disk.read_only => Some("takes no writes".to_owned()),
        _ => None,
    }
}

fn group(vg: &Vg, config: &Config) -> Layer {
    let reserve = vg.size.map_or(Bytes::ZERO, |size| config.reserve(&vg.name, size));
    let note = (reserve > Bytes::ZERO).then(|| format!("{reserve} of it stay free"));
    Layer::new("group", &vg.name, vg.size, vg.free).noting(note)
}

fn pool(pool: &Lv) -> Layer {
    let usage = pool_view(pool);
    Layer::new("pool", &pool.name, usage.size_bytes, usage.available_bytes)
}
