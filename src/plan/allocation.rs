//! What LVM can certainly allocate for an extension, and in which multiples.
//!
//! Free space alone does not say: PVs may be missing or not allocatable, the legs of a stripe or a RAID must lie on
//! different PVs, and policies such as `contiguous` want certain places. What LVM's allocator finds for a difficult layout
//! differs by version, so this gives a lower bound that holds for any of them, and says why where there is none.

use std::collections::BTreeMap;

use crate::inventory::{Inventory, Lv, Pv, Segment, Vg};
use crate::units::Extents;

/// Room for an extension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Room {
    /// So many extents of the volume can be added.
    pub extents: Extents,
    /// In multiples of this.
    pub multiple: u64,
    /// For each multiple LVM takes so many extents of the group: more than the multiple where there are copies or parity.
    pub cost: u64,
    /// On what, for people: empty for a volume that can lie anywhere.
    pub how: String,
}

/// How many extents LVM can certainly add to a volume; in a sentence why that is not known.
pub(super) fn room(inventory: &Inventory, vg: &Vg, lv: &Lv) -> Result<Room, String> {
    let legs = Legs::of(inventory, vg, lv)?;
    let free = free_extents(inventory, vg);
    let policy = match lv.allocation_policy.as_str() {
        "inherit" => vg.allocation_policy.as_str(),
        own => own,
    };
    let n = legs.last.len() as u64;
    let rows = match policy {
        "normal" | "anywhere" if legs.are_devices => beside_themselves(&legs, &free),
        "normal" | "anywhere" => rows(free.values().copied(), n),
        "cling" | "cling_by_tags" => legs.smallest(|place| free.get(&place.pv).copied().unwrap_or(0)),
        "contiguous" => {
            let used = used_ranges(inventory, vg)?;
            legs.smallest(|place| free.get(&place.pv).map_or(0, |_| free_behind(inventory, vg, &used, place)))
        }
        other => return Err(format!("the allocation policy {other:?} of {} is not known here", lv.name)),
    };
    let place = match policy {
        "cling" | "cling_by_tags" => format!(" on {} (allocation policy {policy})", legs.places()),
        "contiguous" => format!(" directly behind its end on {} (allocation policy contiguous)", legs.places()),
        _ if legs.are_devices => format!(" for {n} legs on different PVs"),
        _ if n > 1 => format!(" over {n} stripes"),
        _ => String::new(),
    };
    Ok(Room { extents: Extents(rows.saturating_mul(legs.data)), multiple: legs.data, cost: n, how: place })
}

/// What is extended side by side.
struct Legs {
    /// Where each ends.
    last: Vec<Place>,
    /// So many extents of the volume come of one of each.
    data: u64,
    /// They are devices of a RAID: two of them on one PV would fail together.
    are_devices: bool,
}

/// The end of a run of extents.
struct Place {
    pv: String,
    /// The first extent behind it.
    next: u64,
}

impl Legs {
    fn of(inventory: &Inventory, vg: &Vg, lv: &Lv) -> Result<Legs, String> {
        let last = last_segment(lv)
            .ok_or_else(|| format!("LVM did not say what {} consists of: see lvs --segments", lv.name))?;
        let unclear = || format!("the places of {} are not clear, see lvs -a -o+seg_pe_ranges", lv.name);
        if is_plain(last) {
            let places = places(last).ok_or_else(unclear)?;
            let stripes = last.stripes.unwrap_or(1).max(1);
            if places.len() as u64 != stripes {
                return Err(unclear());
            }
            return Legs { last: places, data: stripes, are_devices: false }.checked(lv);
        }
        // A RAID or a mirror: its legs are hidden volumes, and their sizes say how much of each is data.
        let images = last.pe_ranges.split_whitespace().map(|range| {
            let name = range.rsplit_once(':')?.0.trim_matches(['[', ']']);
            inventory.lvs.iter().find(|other| other.name.vg == vg.name && other.name.lv.as_str() == name)
        });
        let images: Vec<&Lv> =
            images.collect::<Option<_>>().filter(|images: &Vec<_>| images.len() > 1).ok_or_else(unclear)?;
        let sizes = (lv.size.map_or(0, |size| size.0), images[0].size.map_or(0, |size| size.0));
        let even =
            images.iter().all(|image| image.size == images[0].size) && sizes.1 > 0 && sizes.0.is_multiple_of(sizes.1);
        let data = if even { sizes.0 / sizes.1 } else { 0 };
        if lv.segments.len() != 1 || data == 0 || data > images.len() as u64 {
            return Err(format!("the legs of {} do not have the sizes expected: extend it by hand", lv.name));
        }
        // With integrity a leg lies on two hidden volumes, and LVM extends both of them.
        let layer = images.iter().find_map(|image| Some((image, last_segment(image).filter(|last| !is_plain(last))?)));
        if let Some((image, segment)) = layer {
            return Err(format!("{} is {}: extend {} by hand", image.name.lv, segment.kind, lv.name));
        }
        let ends: Option<Vec<Place>> = images.iter().map(|image| places(last_segment(image)?)?.pop()).collect();
        Legs { last: ends.ok_or_else(unclear)?, data, are_devices: true }.checked(lv)
    }

    fn checked(self, lv: &Lv) -> Result<Legs, String> {
        let mut pvs: Vec<&str> = self.last.iter().map(|place| place.pv.as_str()).collect();
        pvs.sort_unstable();
        match pvs.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => {
                Err(format!("{} has two legs on {}: move one with pvmove, or extend it by hand", lv.name, pair[0]))
            }
            None => Ok(self),
        }
    }

    fn smallest(&self, room: impl Fn(&Place) -> u64) -> u64 {
        self.last.iter().map(room).min().unwrap_or(0)
    }

    fn places(&self) -> String {
        self.last.iter().map(|place| place.pv.as_str()).collect::<Vec<_>>().join(", ")
    }
}

fn last_segment(lv: &Lv) -> Option<&Segment> {
    lv.segments.iter().max_by_key(|segment| segment.start)
}

/// It lies on PVs, with nothing between.
fn is_plain(segment: &Segment) -> bool {
    ["linear", "striped"].contains(&segment.kind.as_str())
}

/// `/dev/sdb:0-99 /dev/sdc:0-99`
fn places(segment: &Segment) -> Option<Vec<Place>> {
    ranges(segment).map(|range| range.map(|(pv, _, last)| Place { pv: pv.to_owned(), next: last + 1 })).collect()
}

fn ranges(segment: &Segment) -> impl Iterator<Item = Option<(&str, u64, u64)>> {
    segment.pe_ranges.split_whitespace().map(|range| {
        let (pv, extents) = range.rsplit_once(':')?;
        let (first, last) = extents.split_once('-')?;
        Some((pv, first.parse().ok()?, last.parse().ok()?))
    })
}

fn usable<'a>(inventory: &'a Inventory, vg: &'a Vg) -> impl Iterator<Item = &'a Pv> {
    let usable =
        |pv: &&Pv| pv.vg.as_ref() == Some(&vg.name) && pv.allocatable == Some(true) && pv.missing == Some(false);
    inventory.pvs.iter().filter(usable)
}

/// By PV, of those that LVM may use.
fn free_extents(inventory: &Inventory, vg: &Vg) -> BTreeMap<String, u64> {
    let free = |pv: &Pv| Some((pv.name.clone(), pv.extent_count?.0.saturating_sub(pv.allocated_extents?.0)));
    usable(inventory, vg).filter_map(free).collect()
}

/// How many rows of `legs` extents, no two of a row on one PV, LVM can certainly lay out: as many as the PV with the
/// `legs`-th most free extents has. However LVM chooses, it stops only when fewer than `legs` PVs have anything left, so
/// one of those with as many was used up, and each row took one extent of it at the most.
fn rows(free: impl Iterator<Item = u64>, legs: u64) -> u64 {
    let mut free: Vec<u64> = free.collect();
    if legs == 1 {
        return free.iter().sum();
    }
    free.sort_unstable_by(|a, b| b.cmp(a));
    usize::try_from(legs).ok().and_then(|legs| free.get(legs.checked_sub(1)?)).copied().unwrap_or(0)
}

/// For legs that must not come to lie on one another's PV. LVM first tries where each leg ends; only if all of those PVs
/// are used up it certainly takes others.
fn beside_themselves(legs: &Legs, free: &BTreeMap<String, u64>) -> u64 {
    let own = |pv: &str| legs.last.iter().any(|place| place.pv == pv);
    let at_their_ends = legs.smallest(|place| free.get(&place.pv).copied().unwrap_or(0));
    let used_up = legs.last.iter().all(|place| free.get(&place.pv).copied().unwrap_or(0) == 0);
    if used_up {
        rows(free.iter().filter(|(pv, _)| !own(pv)).map(|(_, free)| *free), legs.last.len() as u64)
    } else {
        at_their_ends
    }
}

type Used = BTreeMap<String, Vec<(u64, u64)>>;

/// Which extents of the PVs are in use, from the segments of all volumes; only if that is everything LVM counts as used.
fn used_ranges(inventory: &Inventory, vg: &Vg) -> Result<Used, String> {
    let mut used = Used::new();
    let segments = inventory.lvs.iter().filter(|lv| lv.name.vg == vg.name).flat_map(|lv| &lv.segments);
    for (pv, first, last) in segments.flat_map(ranges).flatten() {
        used.entry(pv.to_owned()).or_default().push((first, last));
    }
    for pv in usable(inventory, vg) {
        let seen: u64 =
            used.get(&pv.name).into_iter().flatten().map(|(first, last)| last.saturating_sub(*first) + 1).sum();
        if Some(Extents(seen)) != pv.allocated_extents {
            return Err(format!("it is not clear which extents of {} are in use, see pvs --segments", pv.name));
        }
    }
    Ok(used)
}

fn free_behind(inventory: &Inventory, vg: &Vg, used: &Used, place: &Place) -> u64 {
    let end =
        usable(inventory, vg).find(|pv| pv.name == place.pv).and_then(|pv| pv.extent_count).map_or(0, |count| count.0);
    let next =
        used.get(&place.pv).into_iter().flatten().map(|(first, _)| *first).filter(|first| *first >= place.next).min();
    next.unwrap_or(end).min(end).saturating_sub(place.next)
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;

    /// PVs of these sizes; volumes with their policy and segments: kind, stripes, `seg_pe_ranges`. Volumes whose name has an
    /// underscore are hidden parts.
    fn room_for(pvs: &[(&str, u64)], lvs: &[(&str, &str, &str, u64, &str)]) -> Result<Room, String> {
        let size = |ranges: &str, kind: &str| -> u64 {
            let runs = ranges.split_whitespace().filter_map(|range| range.rsplit_once(':')?.1.split_once('-'));
            let legs: Vec<u64> =
                runs.map(|(a, b)| b.parse::<u64>().expect("n") - a.parse::<u64>().expect("n") + 1).collect();
            match kind {
                "raid1" => legs[0],
                "raid5" => legs[0] * (legs.len() as u64 - 1),
                _ => legs.iter().sum(),
            }
        };
        let used = |pv: &str| -> u64 {
            let own =
                lvs.iter().flat_map(|lv| lv.4.split_whitespace()).filter(|range| range.starts_with(&format!("{pv}:")));
            own.map(|range| size(range, "linear")).sum()
        };
        let pv_rows: Vec<_> = pvs
            .iter()
            .map(|(name, count)| {
                serde_json::json!({
                    "pv_name": name, "pv_pe_count": count.to_string(), "pv_pe_alloc_count": used(name).to_string(),
                    "pv_allocatable": "1", "pv_missing": "0",
                })
            })
            .collect();
        let lv_rows: Vec<_> = lvs.iter().map(|(name, policy, kind, _, ranges)| serde_json::json!({
            "lv_name": name, "lv_uuid": name, "lv_size": (size(ranges, kind) << 22).to_string(), "lv_allocation_policy": policy,
        })).collect();
        let seg_rows: Vec<_> = lvs.iter().map(|(name, _, kind, stripes, ranges)| serde_json::json!({
            "lv_uuid": name, "segtype": kind, "stripes": stripes.to_string(), "seg_start_pe": "0", "seg_pe_ranges": ranges,
        })).collect();
        let report = serde_json::json!({ "report": [{
            "vg": [{ "vg_name": "vg", "vg_allocation_policy": "normal", "vg_extent_size": "4194304" }],
            "pv": pv_rows, "lv": lv_rows, "seg": seg_rows,
        }]});
        let inventory =
            crate::inventory::lvm::parse(report.to_string().as_bytes(), Timestamp::UNIX_EPOCH).expect("a report");
        let lv = inventory.lv(&"vg/lv".parse().expect("a name")).expect("there");
        room(&inventory, &inventory.vgs[0], lv)
    }

    fn extents(pvs: &[(&str, u64)], lvs: &[(&str, &str, &str, u64, &str)]) -> u64 {
        room_for(pvs, lvs).expect("certain").extents.0
    }

    #[test]
    fn a_linear_volume_lies_anywhere_unless_its_policy_says_otherwise() {
        let pvs = [("/dev/a", 100), ("/dev/b", 50)];
        let behind = ("x", "inherit", "linear", 1, "/dev/a:30-39");
        for (policy, wanted) in
            [("inherit", 120), ("normal", 120), ("anywhere", 120), ("cling", 70), ("contiguous", 10)]
        {
            assert_eq!(extents(&pvs, &[("lv", policy, "linear", 1, "/dev/a:0-19"), behind]), wanted, "{policy}");
        }
        assert_eq!(extents(&pvs, &[("lv", "contiguous", "linear", 1, "/dev/a:90-99"), behind]), 0);
        assert!(room_for(&pvs, &[("lv", "new-policy", "linear", 1, "/dev/a:0-19")]).is_err());
    }

    #[test]
    fn stripes_get_what_the_last_of_their_disks_has() {
        let lv = ("lv", "inherit", "striped", 2, "/dev/a:0-9 /dev/b:0-9");
        assert_eq!(extents(&[("/dev/a", 10), ("/dev/b", 40), ("/dev/c", 100), ("/dev/d", 20)], &[lv]), 60);
        assert_eq!(extents(&[("/dev/a", 10), ("/dev/b", 10), ("/dev/c", 100)], &[lv]), 0);
        let cling = ("lv", "cling", "striped", 2, "/dev/a:0-9 /dev/b:0-9");
        assert_eq!(extents(&[("/dev/a", 15), ("/dev/b", 40), ("/dev/c", 100)], &[cling]), 10);
        // Two stripes on one disk, as `anywhere` allows: which of them grows where is not certain.
        assert!(room_for(&[("/dev/a", 50)], &[("lv", "anywhere", "striped", 2, "/dev/a:0-9 /dev/a:10-19")]).is_err());
    }

    #[test]
    fn legs_of_a_raid_grow_where_they_end_or_all_of_them_elsewhere() {
        let legs = [
            ("lv", "inherit", "raid5", 3, "lv_rimage_0:0-9 lv_rimage_1:0-9 lv_rimage_2:0-9"),
            ("[lv_rimage_0]", "inherit", "linear", 1, "/dev/a:0-9"),
            ("[lv_rimage_1]", "inherit", "linear", 1, "/dev/b:0-9"),
            ("[lv_rimage_2]", "inherit", "linear", 1, "/dev/c:0-9"),
        ];
        let room = room_for(&[("/dev/a", 30), ("/dev/b", 20), ("/dev/c", 15), ("/dev/d", 99)], &legs).expect("certain");
        assert_eq!((room.extents.0, room.multiple, room.cost), (10, 2, 3));
        // One disk is full: LVM might put its leg beside another one.
        assert_eq!(extents(&[("/dev/a", 30), ("/dev/b", 20), ("/dev/c", 10), ("/dev/d", 99)], &legs), 0);
        let others = [("/dev/a", 10), ("/dev/b", 10), ("/dev/c", 10), ("/dev/d", 30), ("/dev/e", 20), ("/dev/f", 25)];
        assert_eq!(extents(&others, &legs), 40);
        // With checksums each leg is a layer over hidden volumes, which need space of their own when it grows.
        let layered = [
            ("lv", "inherit", "raid1", 2, "lv_rimage_0:0-9 lv_rimage_1:0-9"),
            ("[lv_rimage_0]", "inherit", "integrity", 1, "lv_rimage_0_iorig:0-9"),
            ("[lv_rimage_1]", "inherit", "integrity", 1, "lv_rimage_1_iorig:0-9"),
            ("[lv_rimage_0_iorig]", "inherit", "linear", 1, "/dev/a:0-9"),
            ("[lv_rimage_1_iorig]", "inherit", "linear", 1, "/dev/b:0-9"),
        ];
        let pvs = [("/dev/a", 30), ("/dev/b", 10), ("/dev/c", 20)];
        assert_eq!(room_for(&pvs, &layered), Err("lv_rimage_0 is integrity: extend vg/lv by hand".to_owned()));
        // Legs that are no longer of one size, as in the middle of a reshape.
        let mut odd = legs;
        odd[2].4 = "/dev/b:0-11";
        assert!(room_for(&[("/dev/a", 30), ("/dev/b", 30), ("/dev/c", 30)], &odd).is_err());
    }
}
