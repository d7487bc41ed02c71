//! Whether the volume is in a state in which it can be extended, and what lies on it.

use std::collections::BTreeSet;

use super::subject::{Subject, Verdict, refuse_if, require};
use crate::inventory::Lv;
use crate::plan::allocation::room;

pub(super) fn lv_inactive(s: &Subject<'_>) -> Verdict {
    require(s.lv.active, true, "the volume is active", || {
        format!("{0} is not active on this host: lvchange -ay {0} and mount it", s.lv.name)
    })
}

pub(super) fn lv_suspended(s: &Subject<'_>) -> Verdict {
    let own = require(s.lv.suspended, false, "the volume is suspended", || {
        format!("{} is suspended: find out who did it, then lvchange --refresh {}", s.lv.name, s.lv.name)
    });
    if own == Verdict::Pass { super::mapping::suspended(s) } else { own }
}

pub(super) fn lv_read_only(s: &Subject<'_>) -> Verdict {
    require(s.lv.read_only, false, "the volume is read-only", || {
        format!("{0} is read-only: lvchange --permission rw {0} if it should grow", s.lv.name)
    })
}

pub(super) fn lv_busy(s: &Subject<'_>) -> Verdict {
    let moved = s.lv.move_pv.is_some()
        || s.inventory.lvs.iter().any(|other| other.name.vg == s.lv.name.vg && other.is_role("pvmove"));
    if moved {
        return Verdict::Refuse(format!("a pvmove is under way in {}: wait until it ends", s.vg.name));
    }
    let changing = extended(s).map(changing).find(|verdict| *verdict != Verdict::Pass);
    match (changing, s.inventory.autoextends) {
        (Some(changing), _) => changing,
        (None, Some(threshold)) if s.target.file_system().is_none() => Verdict::Refuse(format!(
            "dmeventd extends {0} by itself above {threshold} %, two must not do it: set \
             activation/thin_pool_autoextend_threshold to 100 in lvm.conf, or remove the target {0}",
            s.lv.name
        )),
        _ => Verdict::Pass,
    }
}

/// What LVM extends: the volume, or with a pool the hidden volumes that hold its data and metadata.
fn extended<'a>(s: &Subject<'a>) -> impl Iterator<Item = &'a Lv> {
    let pool = s.target.file_system().is_none().then_some(s.lv);
    [s.lv].into_iter().chain(pool.into_iter().flat_map(|pool| parts(s, pool)))
}

/// The hidden volumes of a pool. If they are a RAID the pool's own row shows nothing of that.
fn parts<'a>(s: &Subject<'a>, pool: &'a Lv) -> impl Iterator<Item = &'a Lv> {
    [s.inventory.pool_data(pool), s.inventory.pool_metadata(pool)].into_iter().flatten()
}

fn changing(lv: &Lv) -> Verdict {
    let changing = match (lv.converting, lv.merging) {
        (Some(converting), Some(merging)) => Some(converting || merging),
        _ => None,
    };
    let changing = require(changing, false, "the volume is being converted or merged", || {
        format!("{} is being converted or merged: wait until it ends, see lvs -a", lv.name)
    });
    // A raid0 has nothing to synchronise, nor has a raid0_meta.
    // The layout of a raid0_meta says no more than that it is a RAID.
    let is_raid0 = lv.segments.iter().any(|segment| segment.kind.starts_with("raid0"));
    let has_legs = (lv.is_layout("raid") && !is_raid0) || lv.is_layout("mirror");
    match lv.sync_percent {
        _ if changing != Verdict::Pass || !has_legs => changing,
        Some(copied) => refuse_if(copied.value() < 100.0, || {
            format!(
                "the legs of {} are being synchronised, {copied} are done: wait until it ends, see lvs -o+sync_percent",
                lv.name
            )
        }),
        None => Verdict::Refuse(format!(
            "LVM did not say whether the legs of {} are in sync: look at it with lvs -a -o+sync_percent",
            lv.name
        )),
    }
}

pub(super) fn lv_unhealthy(s: &Subject<'_>) -> Verdict {
    let pool = s.inventory.pool_of(s.lv);
    // A pool that ran out of data is mended by what a pool target does.
    let mends = |lv: &Lv| s.target.file_system().is_none() && lv.health == "out_of_data";
    let parts = pool.or(Some(s.lv)).into_iter().flat_map(|pool| parts(s, pool));
    for lv in [s.lv].into_iter().chain(pool).chain(parts) {
        if !lv.health.is_empty() && !mends(lv) {
            return Verdict::Refuse(format!(
                "LVM reports {} as {:?}: repair it first, see lvs -o+lv_health_status",
                lv.name, lv.health
            ));
        }
        if lv.is_layout("pool") && lv.check_needed == Some(true) {
            return Verdict::Refuse(format!(
                "the metadata of {0} needs a check: lvconvert --repair {0} first",
                lv.name
            ));
        }
    }
    Verdict::Pass
}

pub(super) fn snapshot_origin(s: &Subject<'_>) -> Verdict {
    let snapshots: Vec<_> = s.inventory.snapshots_of(s.lv).map(|lv| lv.name.to_string()).collect();
    refuse_if(!snapshots.is_empty() || s.lv.is_role("thickorigin"), || {
        let (of, advice) = match &snapshots[..] {
            [] => (
                "a snapshot".to_owned(),
                format!("find it with lvs -a {}, and remove it if it is no longer needed", s.vg.name),
            ),
            [one] => (one.clone(), format!("if the snapshot is no longer needed, lvremove {one}")),
            more => (more.join(", "), format!("if the snapshots are no longer needed, lvremove {}", more.join(" "))),
        };
        format!("{} is the origin of {of}, and LVM extends an origin only while it is inactive: {advice}", s.lv.name)
    })
}

/// A volume of a kind that LVM does not extend by itself, or of a layout in which it is not certain what it would do.
fn not_extended(s: &Subject<'_>) -> Option<String> {
    let (name, lv) = (&s.lv.name, s.lv);
    if lv.is_role("thicksnapshot") {
        let origin = lv.origin.as_ref().map_or("another volume".to_owned(), |origin| format!("{}/{origin}", name.vg));
        return Some(format!(
            "{name} is a snapshot of {origin}, and its size is that of its store: grow {origin} instead"
        ));
    }
    if let Some(cache) = ["cache", "writecache"].into_iter().find(|layout| lv.is_layout(layout)) {
        return Some(format!(
            "{name} is cached ({cache}), which this tool does not extend, nor does LVM before 2.03.16: lvconvert --splitcache {name}, grow it, \
             and attach the cache again"
        ));
    }
    let known = ["linear", "striped", "raid0", "raid1", "raid4", "raid5", "raid6", "raid10", "mirror", "thin"];
    let grown = |kind: &str| known.contains(&kind.split('_').next().unwrap_or(kind));
    let all_grown = !lv.segments.is_empty() && lv.segments.iter().all(|segment| grown(&segment.kind));
    if !all_grown || lv.layout.is_empty() || lv.is_role("private") {
        let kinds: BTreeSet<&str> = lv.segments.iter().map(|segment| segment.kind.as_str()).collect();
        let kinds = kinds.into_iter().collect::<Vec<_>>().join(", ");
        let kinds = match kinds.as_str() {
            "" => "of an unknown kind",
            "vdo" => "a VDO volume",
            other => other,
        };
        return Some(format!(
            "{name} is {kinds}, which this tool does not extend: extend it by hand, see lvs -a -o+segtype {name}"
        ));
    }
    if lv.is_layout("thin") {
        return None;
    }
    room(s.inventory, s.vg, lv, None).err()
}

/// Volumes whose extension LVM carries through by itself, and nothing but a mapping between them and their file system.
pub(super) fn layered_device(s: &Subject<'_>) -> Verdict {
    let name = &s.lv.name;
    let layout = if s.lv.layout.is_empty() { "of an unknown kind".to_owned() } else { s.lv.layout.join(",") };
    if s.target.file_system().is_none() {
        let is_pool = s.lv.is_layout("thin") && s.lv.is_layout("pool");
        if !is_pool {
            return Verdict::Refuse(format!("{name} is {layout}, not a thin pool: correct thin_pool"));
        }
        let data = s.inventory.pool_data(s.lv);
        let unclear = data.and_then(|data| room(s.inventory, s.vg, data, None).err());
        return unclear.map_or(Verdict::Pass, Verdict::Refuse);
    }
    if let Some(why) = not_extended(s) {
        return Verdict::Refuse(why);
    }
    let Some(users) = &s.inventory.users else {
        return Verdict::Refuse(format!(
            "cannot read from /sys and /proc/swaps what uses {name}: see lsblk {}",
            s.lv.dm_path
        ));
    };
    if users.is_swap {
        return Verdict::Refuse(format!(
            "{name} is swap space: swapoff, lvextend, mkswap (with -U to keep its UUID) and swapon by hand"
        ));
    }
    if let Some(holder) = users.holders.first() {
        return Verdict::Refuse(format!(
            "{holder} lies on {name} and would have to grow too: grow both by hand, see lsblk {}",
            s.lv.dm_path
        ));
    }
    // It is the mapping that has the volume open; what is on it is asked about by the next guard.
    if s.inventory.mapping_on(name).is_some() {
        return Verdict::Pass;
    }
    // A btrfs is mounted under a number of its own; its source still says where it is from.
    let mounted = s
        .inventory
        .mounts
        .iter()
        .any(|mount| Some(mount.device) == s.lv.device || [&s.lv.dm_path, &s.lv.path].contains(&&mount.source));
    refuse_if(s.lv.open == Some(true) && !mounted, || {
        format!(
            "{name} is open and no file system on it is mounted here: a virtual machine, a database or another mount \
             namespace uses it, see fuser -v {}",
            s.lv.dm_path
        )
    })
}
