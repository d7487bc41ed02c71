//! What LVM can certainly allocate for an extension, in which multiples, and how it must be asked for that.
//!
//! Free space alone does not say: PVs may be missing, not allocatable, or have a larger block size than the file system
//! bears; the legs of a stripe or a RAID must lie on different PVs, and policies such as `contiguous` want certain
//! places. What LVM's allocator finds for a difficult layout differs by version, so this gives a lower bound that holds
//! for any of them, and says why where there is none.

use std::collections::{BTreeMap, BTreeSet};

use super::step::Striping;
use crate::inventory::{Inventory, Lv, Pv, Segment, Vg};
use crate::units::{Bytes, Extents};

/// Room for an extension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Room {
    /// The volume grows in multiples of so many extents.
    pub multiple: u64,
    /// For each multiple LVM takes so many extents of the group: more than the multiple where there are copies or
    /// parity.
    pub cost: u64,
    /// How the new part must be said to be striped.
    pub striping: Option<Striping>,
    /// Where it may come to lie, the place to be preferred first.
    pub places: Vec<Place>,
    /// PVs with free extents that do not count because of their block size.
    pub too_coarse: Vec<TooCoarse>,
}

/// One way to lay an extension out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Place {
    /// So many extents of the volume can be added.
    pub extents: Extents,
    /// On what, for people: empty for a volume that can lie anywhere.
    pub how: String,
    /// The PVs that LVM must be told to take; empty: it may choose.
    pub pvs: Vec<String>,
}

/// A PV whose block size is larger than what is on the volume bears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TooCoarse {
    pub pv: String,
    pub block_size: Bytes,
    pub free: Extents,
}

impl Room {
    /// The first place with room for all of the wanted extents, else the one with the most room.
    pub(super) fn place(&self, wanted: Extents) -> Place {
        let enough = self.places.iter().find(|place| place.extents >= wanted);
        // Of equal ones the first.
        let most = || self.places.iter().rev().max_by_key(|place| place.extents);
        enough.or_else(most).cloned().unwrap_or_default()
    }
}

/// How many extents LVM can certainly add to a volume on which is what bears no larger block size than that; in a
/// sentence why that is not known.
pub(super) fn room(inventory: &Inventory, vg: &Vg, lv: &Lv, bears: Option<Bytes>) -> Result<Room, String> {
    let legs = Legs::of(inventory, vg, lv)?;
    let is_fine = |pv: &Pv| match (&pv.disk, bears) {
        (Some(disk), Some(bears)) => disk.block_size <= bears,
        _ => true,
    };
    let (fine, coarse): (Vec<&Pv>, Vec<&Pv>) = usable(inventory, vg).partition(|pv| is_fine(pv));
    let free: BTreeMap<String, u64> = fine.iter().filter_map(|pv| Some((pv.name.clone(), free_on(pv)?))).collect();
    let too_coarse = coarse.iter().filter_map(|pv| {
        let free = free_on(pv).filter(|free| *free > 0)?;
        Some(TooCoarse { pv: pv.name.clone(), block_size: pv.disk.as_ref()?.block_size, free: Extents(free) })
    });
    let n = legs.last.len() as u64;
    let policy = vg.policy_of(lv);
    let places = match policy {
        "normal" | "anywhere" if legs.are_devices => beside_themselves(inventory, vg, &legs, &free),
        "normal" | "anywhere" => {
            let how = if n > 1 { format!(" over {n} stripes") } else { String::new() };
            vec![Ways { rows: rows(free.values().copied(), n), how, only: None }]
        }
        "cling" | "cling_by_tags" => cling(inventory, &legs, &free, policy),
        "contiguous" => {
            let used = used_ranges(inventory, vg)?;
            let rows = legs.smallest(|end| free.get(&end.pv).map_or(0, |_| free_behind(inventory, vg, &used, end)));
            let how = format!(" directly behind its end on {} (allocation policy contiguous)", legs.places());
            vec![Ways { rows, how, only: None }]
        }
        other => {
            return Err(format!(
                "this tool does not know the allocation policy {other:?} of {}: extend it by hand",
                lv.name
            ));
        }
    };
    let places = places.into_iter().map(|ways| {
        // Everything that may be taken is named only where something may not.
        let all = (!coarse.is_empty()).then(|| free.keys().cloned().collect());
        let pvs: Vec<String> = ways.only.or(all).unwrap_or_default();
        let can_be_named = pvs.iter().all(|pv| is_plain_name(pv));
        let rows = if can_be_named { ways.rows } else { 0 };
        Place { extents: Extents(rows.saturating_mul(legs.data)), how: ways.how, pvs }
    });
    Ok(Room {
        multiple: legs.data,
        cost: n,
        striping: striping(lv),
        places: places.collect(),
        too_coarse: too_coarse.collect(),
    })
}

/// One way to lay rows of extents out, and the PVs that it needs to be told.
struct Ways {
    rows: u64,
    how: String,
    only: Option<Vec<String>>,
}

/// LVM reads what is behind a colon in the name of a PV as extents.
pub(super) fn is_plain_name(pv: &str) -> bool {
    pv.starts_with('/') && pv.chars().all(|c| c.is_ascii_alphanumeric() || "/_.+-".contains(c))
}

/// `lvextend` continues the last segment only if all segments are striped alike; otherwise it wants to be told
/// (`VaryingStripes`, lv_manip.c).
fn striping(lv: &Lv) -> Option<Striping> {
    let of = |segment: &Segment| {
        let stripes = segment.stripes.unwrap_or(1).max(1);
        let size = segment.stripe_size.filter(|_| stripes > 1).unwrap_or(Bytes::ZERO);
        Striping { stripes, size }
    };
    let last = last_segment(lv).filter(|last| is_plain(last)).map(of)?;
    lv.segments.iter().any(|segment| of(segment) != last).then_some(last)
}

/// What is extended side by side.
struct Legs {
    /// Where each ends.
    last: Vec<End>,
    /// Of a RAID all PVs that its legs are on.
    on: BTreeSet<String>,
    /// So many extents of the volume come of one of each.
    data: u64,
    /// They are devices of a RAID with redundancy: two of them on one PV would fail together.
    are_devices: bool,
}

/// The end of a run of extents.
struct End {
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
            return Legs { last: places, on: BTreeSet::new(), data: stripes, are_devices: false }.checked(lv);
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
        let ends: Option<Vec<End>> = images.iter().map(|image| places(last_segment(image)?)?.pop()).collect();
        let all = images.iter().flat_map(|image| &image.segments).flat_map(ranges);
        let on: Option<BTreeSet<String>> = all.map(|range| range.map(|(pv, _, _)| pv.to_owned())).collect();
        let are_devices = data < images.len() as u64;
        Legs { last: ends.ok_or_else(unclear)?, on: on.ok_or_else(unclear)?, data, are_devices }.checked(lv)
    }

    fn checked(self, lv: &Lv) -> Result<Legs, String> {
        let mut pvs: Vec<&str> = self.last.iter().map(|end| end.pv.as_str()).collect();
        pvs.sort_unstable();
        match pvs.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => {
                Err(format!("{} has two legs on {}: move one with pvmove, or extend it by hand", lv.name, pair[0]))
            }
            None => Ok(self),
        }
    }

    fn smallest(&self, room: impl Fn(&End) -> u64) -> u64 {
        self.last.iter().map(room).min().unwrap_or(0)
    }

    fn places(&self) -> String {
        self.last.iter().map(|end| end.pv.as_str()).collect::<Vec<_>>().join(", ")
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
fn places(segment: &Segment) -> Option<Vec<End>> {
    ranges(segment).map(|range| range.map(|(pv, _, last)| End { pv: pv.to_owned(), next: last + 1 })).collect()
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

fn free_on(pv: &Pv) -> Option<u64> {
    Some(pv.extent_count?.0.saturating_sub(pv.allocated_extents?.0))
}

/// How many rows of `legs` extents, no two of a row on one PV, LVM can certainly lay out: as many as the PV with the
/// `legs`-th most free extents has. However LVM chooses, it stops only when fewer than `legs` PVs have anything left,
/// so one of those with as many was used up, and each row took one extent of it at the most.
fn rows(free: impl Iterator<Item = u64>, legs: u64) -> u64 {
    let mut free: Vec<u64> = free.collect();
    if legs == 1 {
        return free.iter().sum();
    }
    free.sort_unstable_by(|a, b| b.cmp(a));
    usize::try_from(legs).ok().and_then(|legs| free.get(legs.checked_sub(1)?)).copied().unwrap_or(0)
}

/// For legs that must not come to lie on one another's PV. LVM first tries where each leg ends. When one of those PVs
/// is full it may take another leg's, and does (measured: `lvextend` without names then put both legs of a RAID1 on one
/// disk). So it is given as many PVs as there are legs, that no leg is on, and on each of them one piece that is large
/// enough.
fn beside_themselves(inventory: &Inventory, vg: &Vg, legs: &Legs, free: &BTreeMap<String, u64>) -> Vec<Ways> {
    let n = legs.last.len();
    let at_their_ends = legs.smallest(|end| free.get(&end.pv).copied().unwrap_or(0));
    let how = format!(" for {n} legs on different PVs");
    let used = used_ranges(inventory, vg).ok();
    let mut others: Vec<(u64, &String)> = free
        .keys()
        .filter(|pv| !legs.on.contains(*pv))
        .filter_map(|pv| {
            let piece = largest_piece(inventory, vg, used.as_ref()?, pv).min(free[pv]);
            (piece > 0).then_some((piece, pv))
        })
        .collect();
    // Of equal ones the first by name.
    others.sort_by_key(|(piece, pv)| (std::cmp::Reverse(*piece), *pv));
    others.truncate(n);
    let rows = if others.len() == n { others.last().map_or(0, |(piece, _)| *piece) } else { 0 };
    let names = others.into_iter().map(|(_, pv)| pv.clone()).collect();
    let elsewhere = Ways { rows, how: format!("{how} that hold none of them"), only: Some(names) };
    vec![Ways { rows: at_their_ends, how, only: None }, elsewhere]
}

/// The policy `cling` stays on the PV where a volume ends, and then goes on to those that have a tag of
/// `cling_tag_list` in common with it. How LVM chooses among those for several stripes or legs is not certain.
fn cling(inventory: &Inventory, legs: &Legs, free: &BTreeMap<String, u64>, policy: &str) -> Vec<Ways> {
    let at_their_ends = legs.smallest(|end| free.get(&end.pv).copied().unwrap_or(0));
    let how = |and: &str| format!(" on {}{and} (allocation policy {policy})", legs.places());
    let tags = &inventory.cling_tags;
    if tags.is_empty() {
        return vec![Ways { rows: at_their_ends, how: how(""), only: None }];
    }
    let [end] = legs.last.as_slice() else {
        let how = how("; tags of cling_tag_list are considered for linear volumes only");
        return vec![Ways { rows: at_their_ends, how, only: None }];
    };
    let tags_of = |name: &str| {
        let pv = inventory.pvs.iter().find(|pv| pv.name == name && pv.vg.is_some());
        pv.map_or("", |pv| pv.tags.as_str()).split(',').filter(|tag| !tag.is_empty())
    };
    let listed = |tag: &str| tags.iter().any(|listed| listed == "*" || listed == tag);
    let own: BTreeSet<&str> = tags_of(&end.pv).filter(|tag| listed(tag)).collect();
    let has_it = |pv: &str| pv == end.pv || tags_of(pv).any(|tag| own.contains(tag));
    let rows = free.iter().filter(|(pv, _)| has_it(pv)).map(|(_, free)| *free).sum();
    vec![Ways { rows, how: how(" and PVs that share a tag of cling_tag_list"), only: None }]
}

type Used = BTreeMap<String, Vec<(u64, u64)>>;

/// Which extents of the PVs are in use, from the segments of all volumes; only if that is everything LVM counts as
/// used.
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

/// The most extents in a row that are free on a PV.
fn largest_piece(inventory: &Inventory, vg: &Vg, used: &Used, name: &str) -> u64 {
    let end =
        usable(inventory, vg).find(|pv| pv.name == name).and_then(|pv| pv.extent_count).map_or(0, |count| count.0);
    let mut ranges = used.get(name).cloned().unwrap_or_default();
    ranges.sort_unstable();
    let (mut largest, mut next) = (0, 0);
    for (first, last) in ranges.into_iter().chain([(end, end)]) {
        largest = largest.max(first.saturating_sub(next));
        next = next.max(last.saturating_add(1));
    }
    largest
}

fn free_behind(inventory: &Inventory, vg: &Vg, used: &Used, place: &End) -> u64 {
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

    /// PVs of these sizes; volumes with their policy and segments: kind, stripes, `seg_pe_ranges`. Volumes whose name
    /// has an underscore are hidden parts.
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
        room(&inventory, &inventory.vgs[0], lv, None)
    }

    /// The most that can be added.
    fn extents(pvs: &[(&str, u64)], lvs: &[(&str, &str, &str, u64, &str)]) -> u64 {
        room_for(pvs, lvs).expect("certain").place(Extents(u64::MAX)).extents.0
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

    fn report(pvs: &serde_json::Value, lvs: &serde_json::Value, segments: &serde_json::Value) -> Inventory {
        let vg =
            serde_json::json!([{ "vg_name": "vg", "vg_allocation_policy": "normal", "vg_extent_size": "4194304" }]);
        let report = serde_json::json!({ "report": [{ "vg": vg, "pv": pvs, "lv": lvs, "seg": segments }] });
        crate::inventory::lvm::parse(report.to_string().as_bytes(), Timestamp::UNIX_EPOCH).expect("a report")
    }

    fn pv(name: &str, free: u64, tags: &str) -> serde_json::Value {
        let count = (20 + free).to_string();
        serde_json::json!({
            "pv_name": name, "pv_uuid": name, "pv_pe_count": count, "pv_pe_alloc_count": "20", "pv_allocatable": "1",
            "pv_missing": "0", "pv_tags": tags,
        })
    }

    fn linear_on_a(policy: &str) -> (serde_json::Value, serde_json::Value) {
        let lv = serde_json::json!([{ "lv_name": "lv", "lv_uuid": "u", "lv_size": "83886080", "lv_allocation_policy": policy }]);
        let segment = serde_json::json!([{ "lv_uuid": "u", "segtype": "linear", "stripes": "1", "seg_start_pe": "0", "seg_pe_ranges": "/dev/a:0-19" }]);
        (lv, segment)
    }

    #[test]
    fn disks_with_too_large_blocks_are_left_out_and_the_others_named() {
        let (lv, segment) = linear_on_a("inherit");
        let mut inventory = report(
            &serde_json::json!([pv("/dev/a", 10, ""), pv("/dev/b", 40, ""), pv("/dev/c", 5, "")]),
            &lv,
            &segment,
        );
        for (pv, block_size) in inventory.pvs.iter_mut().zip([512, 4096, 512]) {
            let (size, block_size, read_only, suspended, volume) = (Bytes(0), Bytes(block_size), false, false, None);
            let kind = crate::inventory::DiskKind::Whole { has_partitions: false };
            pv.disk = Some(crate::inventory::Disk { size, block_size, read_only, suspended, volume, kind });
        }
        let room = |bears| room(&inventory, &inventory.vgs[0], &inventory.lvs[0], bears).expect("certain");
        let fine = room(Some(Bytes(4096)));
        assert_eq!(
            (fine.place(Extents(1)), fine.too_coarse.len()),
            (Place { extents: Extents(55), ..Place::default() }, 0)
        );
        let some = room(Some(Bytes(1024)));
        let place = some.place(Extents(1));
        assert_eq!((place.extents, place.pvs), (Extents(15), vec!["/dev/a".to_owned(), "/dev/c".to_owned()]));
        let coarse = TooCoarse { pv: "/dev/b".to_owned(), block_size: Bytes(4096), free: Extents(40) };
        assert_eq!(some.too_coarse, [coarse]);
        // A name that LVM would read as a range of extents is not given to it.
        let mut odd = inventory.clone();
        odd.pvs[2].name = "/dev/disk/by-path/pci-0000:00".to_owned();
        let odd = super::room(&odd, &odd.vgs[0], &odd.lvs[0], Some(Bytes(1024))).expect("certain");
        assert_eq!(odd.place(Extents(1)).extents, Extents(0));
    }

    #[test]
    fn cling_goes_on_where_a_listed_tag_is_shared() {
        let (lv, segment) = linear_on_a("cling");
        let pvs = [
            pv("/dev/a", 10, "fast,eu"),
            pv("/dev/b", 40, "fast"),
            pv("/dev/c", 5, "eu"),
            pv("/dev/d", 99, "slow"),
            pv("/dev/e", 7, ""),
        ];
        let inventory = report(&serde_json::json!(pvs), &lv, &segment);
        let extents = |tags: &[&str]| {
            let cling_tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
            let inventory = Inventory { cling_tags, ..inventory.clone() };
            let room = room(&inventory, &inventory.vgs[0], &inventory.lvs[0], None).expect("certain");
            room.place(Extents(u64::MAX)).extents.0
        };
        assert_eq!(extents(&[]), 10);
        assert_eq!(extents(&["fast"]), 50);
        assert_eq!(extents(&["slow"]), 10);
        assert_eq!(extents(&["fast", "eu"]), 55);
        assert_eq!(extents(&["*"]), 55);
    }

    #[test]
    fn segments_that_differ_are_continued_as_the_last_one() {
        let of = |segments: &[(&str, u64, u64)]| {
            let rows: Vec<_> = segments.iter().enumerate().map(|(n, (kind, stripes, size))| serde_json::json!({
                "lv_uuid": "u", "segtype": kind, "stripes": stripes.to_string(), "stripe_size": size.to_string(),
                "seg_start_pe": (n * 10).to_string(), "seg_pe_ranges": "",
            })).collect();
            let lv = serde_json::json!([{ "lv_name": "lv", "lv_uuid": "u" }]);
            let inventory = report(&serde_json::json!([]), &lv, &serde_json::json!(rows));
            striping(&inventory.lvs[0]).map(|striping| (striping.stripes, striping.size.0))
        };
        assert_eq!(of(&[("linear", 1, 0)]), None);
        assert_eq!(of(&[("linear", 1, 0), ("linear", 1, 0)]), None);
        assert_eq!(of(&[("striped", 2, 65536), ("striped", 2, 65536)]), None);
        assert_eq!(of(&[("linear", 1, 0), ("striped", 2, 65536)]), Some((2, 65536)));
        assert_eq!(of(&[("striped", 2, 65536), ("linear", 1, 0)]), Some((1, 0)));
        assert_eq!(of(&[("striped", 2, 65536), ("striped", 2, 131_072)]), Some((2, 131_072)));
        assert_eq!(of(&[("striped", 2, 65536), ("striped", 3, 65536)]), Some((3, 65536)));
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
        let pvs = [("/dev/a", 30), ("/dev/b", 20), ("/dev/c", 15), ("/dev/d", 99)];
        let room = room_for(&pvs, &legs).expect("certain");
        assert_eq!((extents(&pvs, &legs), room.multiple, room.cost), (10, 2, 3));
        assert_eq!(room.place(Extents(4)).pvs, [""; 0]);
        // One disk is full: LVM might put its leg beside another one, and there is one disk that holds none.
        assert_eq!(extents(&[("/dev/a", 30), ("/dev/b", 20), ("/dev/c", 10), ("/dev/d", 99)], &legs), 0);
        let others = [("/dev/a", 10), ("/dev/b", 40), ("/dev/c", 10), ("/dev/d", 30), ("/dev/e", 20), ("/dev/f", 25)];
        let place = room_for(&others, &legs).expect("certain").place(Extents(10));
        assert_eq!((place.extents.0, place.pvs), (40, ["/dev/d", "/dev/f", "/dev/e"].map(str::to_owned).to_vec()));
        // As many as there are legs, of those with the largest free piece.
        let more = [&others[..], &[("/dev/g", 22)]].concat();
        let place = room_for(&more, &legs).expect("certain").place(Extents(10));
        assert_eq!((place.extents.0, place.pvs), (44, ["/dev/d", "/dev/f", "/dev/g"].map(str::to_owned).to_vec()));
        let in_pieces = ("other", "inherit", "linear", 1, "/dev/d:5-12");
        let place = room_for(&others, &[&legs[..], &[in_pieces]].concat()).expect("certain").place(Extents(10));
        assert_eq!(place.extents.0, 34, "17 extents behind the 8 that are used, with 20 and 25 on the others");
        // Where they end is preferred as long as there is enough.
        let both = [("/dev/a", 15), ("/dev/b", 15), ("/dev/c", 15), ("/dev/d", 30), ("/dev/e", 20), ("/dev/f", 25)];
        let room = room_for(&both, &legs).expect("certain");
        assert_eq!((room.place(Extents(10)).pvs.len(), room.place(Extents(12)).pvs.len()), (0, 3));
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
