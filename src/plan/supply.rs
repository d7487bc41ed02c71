//! What can give a volume group more room, and what of that a growth needs: disks that became larger than their PVs,
//! then spare PVs. All that could fail later is known from the look and refused here, before anything is changed.

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::allocation::is_plain_name;
use super::guard::{Code, Lack, Refusal, Subject, Unusable};
use super::size::{Sized, TooLittle};
use super::step::Step;
use crate::command::{Tool, shell_word};
use crate::config::{Config, GrownDisks, Partitions, VolumeGroup};
use crate::inventory::{Disk, DiskKind, Inventory, PV_SIGNATURE, Partition, PartitionTable, Pv, Vg};
use crate::name::PvUuid;
use crate::units::{Bytes, Extents, MIB};

/// Where the first extent of a PV begins unless it was made otherwise.
const USUAL_START: Bytes = Bytes(MIB);

/// The refusals for which more room in the group can help.
pub(super) const FOR_SPACE: [Code; 3] = [Code::VgReserve, Code::BlockSize, Code::InsufficientSpace];

/// One thing that gives the group more room.
struct Offer {
    /// Of its PV.
    uuid: String,
    gain: Extents,
    what: String,
    steps: Vec<Step>,
}

/// A size with what it takes to have the room for it.
pub(super) struct Supplied {
    pub sized: Sized,
    pub steps: Vec<Step>,
}

/// Computes the size as long as free extents are enough, and else with as many of the disks as it takes, in their
/// order.
pub(super) fn with_supply(s: &Subject<'_>, size: impl Fn(&Subject<'_>) -> Sized) -> Supplied {
    let mut sized = size(s);
    if !is_short(&sized) {
        return Supplied { sized, steps: vec![] };
    }
    let (offers, unusable) = of_group(s.config, s.inventory, s.vg);
    let with = |used: &[&Offer]| {
        let mut inventory = s.inventory.clone();
        apply(&mut inventory, s.vg, used);
        let (Some(vg), Some(lv)) = (inventory.vg(&s.vg.name), inventory.lv(&s.lv.name)) else { return size(s) };
        size(&Subject { inventory: &inventory, vg, lv, ..*s })
    };
    let mut used: Vec<&Offer> = vec![];
    for offer in &offers {
        if is_short(&sized) {
            used.push(offer);
            sized = with(&used);
        }
    }
    // One of them may not be what helped, as where the allocation policy keeps to other disks.
    for offer in used.clone() {
        let without: Vec<&Offer> = used.iter().copied().filter(|other| !std::ptr::eq(*other, offer)).collect();
        let fewer = with(&without);
        if gives(&fewer) >= gives(&sized) {
            (used, sized) = (without, fewer);
        }
    }
    match &mut sized {
        Ok((size, _)) => {
            size.lines.extend(used.iter().map(|offer| format!("{} has not enough free: {}", s.vg.name, offer.what)));
            if size.limited_by.is_some_and(|code| FOR_SPACE.contains(&code)) {
                size.warnings.extend(unusable.iter().map(ToString::to_string));
            }
        }
        Err(no) if FOR_SPACE.contains(&no.refusal.code) => {
            if let Some(disk) = unusable.first() {
                let more =
                    if unusable.len() > 1 { format!(" (and {} more)", unusable.len() - 1) } else { String::new() };
                no.refusal = Refusal::new(Code::SupplyRefused, format!("{}; {disk}{more}", no.refusal.sentence));
            }
            no.refusal.lack = Some(Box::new(Lack { vg: s.vg.name.clone(), bytes: no.short_by, disks: unusable }));
        }
        Err(_) => {}
    }
    let steps = if sized.is_ok() { used.into_iter().flat_map(|offer| offer.steps.clone()).collect() } else { vec![] };
    Supplied { sized, steps }
}

/// The look as it would be if every disk that may supply its group had done so. What only a look at one volume shows of
/// a disk is taken to be in order.
pub fn supplied<'a>(config: &Config, inventory: &'a Inventory) -> Cow<'a, Inventory> {
    let has_supply = |vg: &&Vg| config.volume_group(&vg.name).is_some_and(VolumeGroup::has_supply);
    if !inventory.vgs.iter().any(|vg| has_supply(&vg)) {
        return Cow::Borrowed(inventory);
    }
    let mut supplied = inventory.clone();
    supplied.presume_disks();
    for vg in inventory.vgs.iter().filter(has_supply) {
        let (offers, _) = of_group(config, &supplied, vg);
        apply(&mut supplied, vg, &offers.iter().collect::<Vec<_>>());
    }
    Cow::Owned(supplied)
}

fn is_short(sized: &Sized) -> bool {
    let code = match sized {
        Ok((size, _)) => size.limited_by,
        Err(TooLittle { refusal, .. }) => Some(refusal.code),
    };
    code.is_some_and(|code| FOR_SPACE.contains(&code))
}

fn gives(sized: &Sized) -> Extents {
    sized.as_ref().map_or(Extents(0), |(size, _)| size.after)
}

/// As the look would be if these had given their room.
fn apply(inventory: &mut Inventory, vg: &Vg, used: &[&Offer]) {
    let Some(extent_size) = vg.extent_size else { return };
    let (name, uuid) = (vg.name.clone(), vg.uuid.clone());
    for offer in used {
        let gain = offer.gain.bytes(extent_size);
        for pv in inventory.pvs.iter_mut().filter(|pv| pv.uuid == offer.uuid) {
            if pv.vg.is_none() {
                (pv.extent_count, pv.allocated_extents, pv.size) =
                    (Some(Extents(0)), Some(Extents(0)), Some(Bytes::ZERO));
                (pv.allocatable, pv.missing) = (Some(true), Some(false));
                (pv.vg, pv.vg_uuid) = (Some(name.clone()), uuid.clone());
            }
            pv.extent_count = pv.extent_count.map(|count| Extents(count.0 + offer.gain.0));
            pv.size = pv.size.map(|size| Bytes(size.0.saturating_add(gain.0)));
        }
        for vg in inventory.vgs.iter_mut().filter(|vg| vg.name == name) {
            let more = |extents: Option<Extents>| extents.map(|extents| Extents(extents.0 + offer.gain.0));
            let more_bytes = |bytes: Option<Bytes>| bytes.map(|bytes| Bytes(bytes.0.saturating_add(gain.0)));
            (vg.free_extents, vg.extent_count) = (more(vg.free_extents), more(vg.extent_count));
            (vg.free, vg.size) = (more_bytes(vg.free), more_bytes(vg.size));
        }
    }
}

/// What may supply the group, in order, and what should and cannot.
fn of_group(config: &Config, inventory: &Inventory, vg: &Vg) -> (Vec<Offer>, Vec<Unusable>) {
    let (mut offers, mut unusable) = (vec![], vec![]);
    let settings = config.volume_group(&vg.name);
    let Some((config, extent_size)) = settings.zip(vg.extent_size.filter(|size| size.0 > 0)) else {
        return (offers, unusable);
    };
    if config.grown_disks != GrownDisks::Off {
        let own = inventory.pvs.iter().filter(|pv| pv.vg.as_ref() == Some(&vg.name));
        for pv in own.filter(|pv| pv.growable(extent_size) > Bytes::ZERO) {
            match grown(config, inventory, vg, extent_size, pv) {
                Ok(offer) => offers.push(offer),
                Err(why) => unusable.push(Unusable { disk: pv.name.clone(), why }),
            }
        }
    }
    for uuid in &config.spares {
        match spare(inventory, vg, extent_size, uuid) {
            Ok(Some(offer)) => offers.push(offer),
            // It is in the group already.
            Ok(None) => {}
            Err(why) => unusable.push(Unusable { disk: format!("the spare {uuid}"), why }),
        }
    }
    (offers, unusable)
}

/// A disk that became larger than its PV.
fn grown(config: &VolumeGroup, inventory: &Inventory, vg: &Vg, extent_size: Bytes, pv: &Pv) -> Result<Offer, String> {
    let larger = format!("is {} larger than its PV and cannot be used", pv.growable(extent_size));
    let no = |why: String| Err(format!("{larger}: {why}"));
    let name = shell_word(&pv.name);
    let (Some(disk), Some(first), Some(count)) = (&pv.disk, pv.first_extent_at, pv.extent_count) else {
        return no(format!("its size cannot be read, see pvs -o+dev_size,pe_start {name}"));
    };
    if !is_plain_name(&pv.name) {
        return no("its name has characters that LVM might read otherwise: pvresize it by hand".to_owned());
    }
    match pv.metadata_areas {
        Some(0 | 1) => {}
        Some(_) => {
            return no(format!(
                "LVM keeps a second copy of its metadata at the end of it, which pvresize would have to move: vgcfgbackup {}, \
                 then pvresize {name} by hand",
                vg.name
            ));
        }
        None => {
            return no(format!(
                "LVM did not say how many copies of its metadata it has, see pvs -o+pv_mda_count {name}"
            ));
        }
    }
    let (mut steps, mut device) = (vec![], disk.size);
    match &disk.kind {
        DiskKind::Layered(what) => return no(format!("it is {what}: grow that by hand, then pvresize {name}")),
        DiskKind::Multipath { agree: false } => {
            return no(format!("its paths differ in size: rescan all of them, then multipathd resize map {name}"));
        }
        DiskKind::Whole { has_partitions } if *has_partitions || pv.table.is_some() => {
            return no(format!(
                "there is a partition table on it although the PV is on the whole disk: find out which is true, see lsblk {name} \
                 and wipefs {name}"
            ));
        }
        DiskKind::Whole { .. } | DiskKind::Multipath { agree: true } => {}
        DiskKind::Partition(partition) => {
            let grown = partition_grown(config, inventory, extent_size, (pv, disk), partition)
                .map_err(|why| format!("{larger}: {why}"))?;
            device = grown.as_ref().map_or(device, |(size, _)| *size);
            steps.extend(grown.map(|(_, step)| step));
        }
    }
    let extents = device.saturating_sub(first).to_extents_down(extent_size);
    let gain = Extents(extents.0.saturating_sub(count.0));
    if gain == Extents(0) {
        return no("no whole extent fits into that".to_owned());
    }
    let device = Bytes(first.0.saturating_add(extents.bytes(extent_size).0));
    let (vg, uuid) = (vg.name.clone(), pv.uuid.clone());
    steps.push(Step::ResizePv { vg, pv: pv.name.clone(), uuid: uuid.clone(), extents, device });
    let what = format!("{} is larger than its PV and gives {gain} ({})", pv.name, gain.bytes(extent_size));
    Ok(Offer { uuid, gain, what, steps })
}

/// The partition's size afterwards and the step to it, where it has to grow first.
fn partition_grown(
    config: &VolumeGroup,
    inventory: &Inventory,
    extent_size: Bytes,
    (pv, disk): (&Pv, &Disk),
    partition: &Partition,
) -> Result<Option<(Bytes, Step)>, String> {
    let Partition { disk: parent, number, start, followed_until, .. } = partition;
    let behind = disk.unused_behind();
    // What the partition already has is taken alone, should the rest not be allowed.
    let is_enough = pv.exceeded_by() >= extent_size;
    let no = |why: String| if is_enough { Ok(None) } else { Err(why) };
    if behind < extent_size {
        return Ok(None);
    }
    let shown = shell_word(parent);
    if followed_until.is_some() {
        return no(format!(
            "partition {number} is not the last of {parent}: make a new partition in what is free, pvcreate it and vgextend the group"
        ));
    }
    if config.partitions == Partitions::Off {
        return no(format!(
            "it is partition {number} of {parent}: set volume_groups[].partitions to growpart, or run growpart {shown} {number}"
        ));
    }
    let end = start.0.saturating_add(disk.size.0).saturating_add(behind.0);
    let most = (1u64 << 32).saturating_mul(disk.block_size.0);
    match pv.table {
        None => return no(format!("the partition table of {parent} cannot be read, see fdisk -l {shown}")),
        Some(PartitionTable::Mbr) if *number > 4 => {
            return no(format!(
                "partition {number} is a logical one of an MBR: grow it and the extended one by hand, see fdisk {shown}"
            ));
        }
        Some(PartitionTable::Mbr) if end > most => {
            return no(format!("the MBR of {parent} ends at {}: the disk needs a GPT for more", Bytes(most)));
        }
        Some(PartitionTable::Gpt | PartitionTable::Mbr) => {}
    }
    if inventory.missing_tools.contains(&Tool::Growpart) {
        return no(format!(
            "growpart is not installed: install {}, or run parted {shown} resizepart {number} by hand",
            Tool::Growpart.package()
        ));
    }
    let size = Bytes(disk.size.0.saturating_add(behind.0));
    let (pv, disk, number, start) = (pv.name.clone(), parent.clone(), *number, *start);
    Ok(Some((size, Step::GrowPartition { pv, disk, number, start, size })))
}

/// A PV that belongs to no group; `None` if it is in this one already.
fn spare(inventory: &Inventory, vg: &Vg, extent_size: Bytes, uuid: &PvUuid) -> Result<Option<Offer>, String> {
    let mut found = inventory.pvs.iter().filter(|pv| pv.uuid == uuid.as_str());
    let Some(pv) = found.next() else {
        return Err("is not on this host: see pvs -a -o+pv_uuid, or take it out of volume_groups[].spares".to_owned());
    };
    if pv.vg.as_ref() == Some(&vg.name) {
        return Ok(None);
    }
    let (name, shown) = (&pv.name, shell_word(&pv.name));
    if let Some(other) = found.next() {
        return Err(format!("is on {name} and on {}: hide one of them from LVM, or set up multipath", other.name));
    }
    if let Some(other) = &pv.vg {
        return Err(format!("({name}) belongs to the group {other}: take it out of volume_groups[].spares"));
    }
    if pv.in_use != Some(false) {
        return Err(format!(
            "({name}) is marked as part of a group of which LVM finds no metadata: find out which, see pvck --dump headers {shown}"
        ));
    }
    let Some(disk) = pv.disk.as_ref().filter(|_| pv.missing != Some(true)) else {
        return Err(format!("({name}) cannot be read: see dmesg and lsblk {shown}"));
    };
    if disk.read_only || disk.suspended {
        return Err(format!("({name}) takes no writes: see lsblk -o+RO {shown} and dmsetup info"));
    }
    if let Some(volume) = &disk.volume {
        return Err(format!("({name}) is the logical volume {volume} of this host: no group is put on volumes"));
    }
    let size = pv.size.unwrap_or(Bytes::ZERO);
    let own = pv.device_size.map_or(disk.size, |size| size.min(disk.size));
    if own < size {
        let lacks = size.saturating_sub(own);
        return Err(format!("({name}) has {own}, {lacks} less than its PV needs: pvresize {shown}"));
    }
    if !pv.has_only_its_label() {
        let found = match (&pv.signature, pv.table) {
            (_, Some(_)) => "a partition table is on it".to_owned(),
            (Some(other), _) if other != PV_SIGNATURE => format!("blkid finds {other} on it"),
            _ => "there are partitions on it beside the PV, or it cannot be read".to_owned(),
        };
        return Err(format!(
            "({name}) is not a PV alone, {found}: see wipefs {shown}, which shows it and changes nothing"
        ));
    }
    if !pv.is_linked {
        return Err(format!("({name}) is not what {} leads to: see udevadm info {shown}", uuid.path().display()));
    }
    let in_group = inventory.pvs.iter().filter(|other| other.vg.as_ref() == Some(&vg.name));
    let sizes: BTreeSet<Bytes> = in_group.filter_map(|pv| Some(pv.disk.as_ref()?.block_size)).collect();
    if sizes.iter().any(|size| *size != disk.block_size) {
        let sizes = sizes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        return Err(format!(
            "({name}) has a logical block size of {} and the disks of {} have {sizes}: use a disk like these",
            disk.block_size, vg.name
        ));
    }
    let first = pv.first_extent_at.filter(|first| first.0 > 0).unwrap_or(USUAL_START).max(USUAL_START);
    let gain = own.saturating_sub(first).to_extents_down(extent_size);
    if gain == Extents(0) {
        return Err(format!("({name}) is smaller than an extent of {} ({extent_size}): use a larger disk", vg.name));
    }
    let step = Step::ExtendGroup { vg: vg.name.clone(), pv: name.clone(), uuid: uuid.clone() };
    let what = format!("the spare {name} gives {gain} ({})", gain.bytes(extent_size));
    Ok(Some(Offer { uuid: pv.uuid.clone(), gain, what, steps: vec![step] }))
}
