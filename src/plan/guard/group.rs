//! Whether the volume group may be changed at all, by this host.

use super::subject::{Subject, Verdict, refuse_if, require};
use crate::inventory::{Disk, Pv};
use crate::plan::policies::misspelt;
use crate::plan::suspicion;

/// A misspelt limit is not a missing limit.
pub(super) fn config_suspect(s: &Subject<'_>) -> Verdict {
    let near = s.config.near_misses(&s.vg.name);
    match near.into_iter().find(|name| !s.inventory.has_group(name)) {
        Some(named) => Verdict::Refuse(suspicion(named, &s.vg.name)),
        None => {
            misspelt(s.target, s.config, s.inventory).map_or(Verdict::Pass, |doubt| Verdict::Refuse(doubt.sentence))
        }
    }
}

pub(super) fn vg_partial(s: &Subject<'_>) -> Verdict {
    let missing = s.vg.missing_pv_count.map_or("some".to_owned(), |count| count.to_string());
    require(s.vg.partial, false, "the volume group is partial", || {
        format!("{} lacks {missing} of its PVs: bring them back, see pvs and vgextend --restoremissing", s.vg.name)
    })
}

pub(super) fn vg_exported(s: &Subject<'_>) -> Verdict {
    require(s.vg.exported, false, "the volume group is exported", || {
        format!("{} is exported: vgimport it if it belongs to this host", s.vg.name)
    })
}

/// A group that another host owns, by its system ID (lvmsystemid(7)).
pub(super) fn vg_foreign(s: &Subject<'_>) -> Verdict {
    let (owner, own) = (s.vg.system_id.as_str(), s.inventory.system_id.as_deref());
    if owner.is_empty() || own == Some(owner) {
        return Verdict::Pass;
    }
    let own = own.filter(|own| !own.is_empty()).map_or("none".to_owned(), |own| format!("{own:?}"));
    Verdict::Refuse(format!(
        "{} belongs to the host with the system ID {owner:?} and this one has {own}: grow it there, see lvmsystemid(7)",
        s.vg.name
    ))
}

pub(super) fn vg_shared(s: &Subject<'_>) -> Verdict {
    require(s.vg.shared, false, "the volume group is shared", || {
        format!("{} is shared between hosts (lvmlockd): this tool grows only local volume groups", s.vg.name)
    })
}

pub(super) fn vg_read_only(s: &Subject<'_>) -> Verdict {
    require(s.vg.read_only, false, "the volume group is read-only", || {
        format!(
            "{} is read-only in its metadata and no command lifts that: vgcfgrestore an edited vgcfgbackup if it should grow",
            s.vg.name
        )
    })
}

fn pvs<'a>(s: &Subject<'a>) -> impl Iterator<Item = &'a Pv> {
    let name = &s.vg.name;
    s.inventory.pvs.iter().filter(move |pv| pv.vg.as_ref() == Some(name))
}

/// LVM uses one of the devices, and refuses to change the group.
pub(super) fn duplicate_pv(s: &Subject<'_>) -> Verdict {
    let unused = s.inventory.pvs.iter().filter(|pv| pv.duplicate == Some(true));
    let pair =
        unused.filter_map(|other| Some((pvs(s).find(|pv| pv.uuid == other.uuid && pv.name != other.name)?, other)));
    let pairs: Vec<_> = pair.collect();
    let Some((used, other)) = pairs.first() else { return Verdict::Pass };
    Verdict::Refuse(format!(
        "LVM finds the PV {} on {} and on {}, and changes no group with such a PV: if both are paths to one disk, set up \
         multipath or hide one of them with devices/filter in lvm.conf; if one is a copy, detach it or give it another UUID with \
         vgimportclone",
        used.uuid, used.name, other.name
    ))
}

/// LVM would commit a volume that lies behind the end of a disk, the kernel would refuse it, and the volume would stay
/// suspended.
pub(super) fn disk_shrunk(s: &Subject<'_>) -> Verdict {
    let shrunk = pvs(s).find_map(|pv| Some((pv, pv.lacks()?, pv.end()?)));
    if let Some((pv, lacks, end)) = shrunk {
        let size = end.saturating_sub(lacks);
        return Verdict::Refuse(format!(
            "{} has {size}, {lacks} less than its PV needs: make the disk as large as it was, see pvs -o+dev_size and \
             dmesg; if nothing lies behind its end, pvresize {} makes the PV smaller",
            pv.name, pv.name
        ));
    }
    let unknown = pvs(s).find(|pv| pv.missing != Some(true) && (pv.end().is_none() || pv.disk.is_none()));
    match unknown {
        None => Verdict::Pass,
        Some(pv) => Verdict::Refuse(format!(
            "the size of {} cannot be read, by LVM or in /sys: see pvs -o+dev_size,pe_start {}",
            pv.name, pv.name
        )),
    }
}

/// LVM writes its metadata to all PVs of a group, and waits for one that is suspended.
pub(super) fn pv_unusable(s: &Subject<'_>) -> Verdict {
    let found = pvs(s).find_map(|pv| Some((&pv.name, unusable(pv.disk.as_ref()?)?)));
    refuse_if(found.is_some(), || found.map_or(String::new(), |(pv, why)| format!("{pv} {why}")))
}

fn unusable(disk: &Disk) -> Option<String> {
    if disk.suspended {
        return Some(
            "is suspended, and LVM would wait for it: find out who did it, see dmsetup info, then resume it".to_owned(),
        );
    }
    if disk.read_only {
        return Some(
            "takes no writes, so LVM cannot change its group: see lsblk -o+RO and blockdev --getro".to_owned(),
        );
    }
    let volume = disk.volume.as_ref()?;
    Some(format!(
        "is the logical volume {volume} of this host, perhaps the disk of a virtual machine: a group on volumes is not grown, \
         hide it with devices/filter or devices/scan_lvs in lvm.conf, or grow it by hand"
    ))
}
