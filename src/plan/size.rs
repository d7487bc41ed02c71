//! How much: from the usage and the limits to an absolute number of extents, with every line of the computation kept for
//! people to read.

use super::guard::Subject;
use super::refusal::{Code, Refusal};
use crate::config::{Config, Target};
use crate::inventory::{FileSystem, Inventory, Lv, Pv, Usage, Vg};
use crate::units::{Bytes, Extents};

/// A size that was computed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Size {
    /// The volume now.
    pub before: Extents,
    /// The volume afterwards; the same if only the file system has to catch up.
    pub after: Extents,
    /// The group's extent size.
    pub extent_size: Bytes,
    /// The computation, a line each.
    pub lines: Vec<String>,
}

/// Computes the size of the next step, or says which limit leaves no room for it.
pub fn size(s: &Subject<'_>, fs: &FileSystem, usage: Usage) -> Result<Size, Refusal> {
    let unknown = |what: &str| {
        Refusal::new(Code::InsufficientSpace, format!("LVM did not say {what}: look at it with lvs and vgs"))
    };
    let extent_size = s.vg.extent_size.filter(|size| size.0 > 0).ok_or_else(|| unknown("the extent size"))?;
    let volume = s.lv.size.ok_or_else(|| unknown("the size of the volume"))?;
    let before = volume.to_extents_down(extent_size);
    let mut lines = vec![format!("{} is {volume}, {before} of {extent_size}", s.lv.name)];

    let missing = missing_to_threshold(s, usage);
    lines.push(format!(
        "{} of {} used ({}), {missing} more are needed to come down to {}",
        usage.used(),
        Bytes(usage.used().0.saturating_add(usage.avail.0)),
        usage.percent(),
        s.target.threshold
    ));

    // Somebody extended the volume and not the file system: what is there already may be enough.
    let growable = fs.size().map_or(Bytes::ZERO, |size| volume.saturating_sub(size));
    if growable > fs.slack() && growable >= missing {
        lines.push(format!("the volume is {growable} larger than its file system: growing that is enough"));
        return Ok(Size { before, after: before, extent_size, lines });
    }

    let stripes = stripes(s.lv);
    let step = s.target.step(volume);
    let least = s.target.least_step(volume).to_extents_up(extent_size);
    let times = missing.0.div_ceil(step.0.max(1)).max(1);
    let wanted = Bytes(step.0.saturating_mul(times)).to_extents_up(extent_size);
    let wanted = Extents(wanted.0.next_multiple_of(stripes));
    lines.push(format!("{times} x {step}: {wanted} ({})", wanted.bytes(extent_size)));

    let limits = limits(s.target, s.config, s.inventory, s.vg, s.lv, before, extent_size)
        .ok_or_else(|| unknown("how much is free"))?;
    let mut taken = wanted;
    for limit in &limits {
        if limit.room < taken {
            lines.push(format!("{}: {} ({}) left", limit.what, limit.room, limit.room.bytes(extent_size)));
            taken = limit.room;
        }
    }
    let taken = Extents(taken.0 / stripes * stripes);
    // The first limit that leaves too little names the refusal, as in the order of the codes.
    if taken < least || taken == Extents(0) {
        let limit = limits.iter().find(|limit| Extents(limit.room.0 / stripes * stripes) < least.max(Extents(1)));
        return Err(match limit {
            Some(limit) => limit.refusal(extent_size, least),
            None => Refusal::new(Code::InsufficientSpace, "no step of the configured size fits"),
        });
    }
    if taken < wanted {
        lines.push(format!("takes what fits: {taken} ({})", taken.bytes(extent_size)));
    }
    let after = Extents(before.0 + taken.0);
    lines.push(format!("{before} + {taken} = {after} ({})", after.bytes(extent_size)));
    Ok(Size { before, after, extent_size, lines })
}

/// By how much a target may still grow, whatever its usage; `None` if the host does not show enough to tell.
pub fn headroom(target: &Target, inventory: &Inventory, config: &Config) -> Option<Bytes> {
    let (vg, lv) = (inventory.vg(&target.lv.vg)?, inventory.lv(&target.lv)?);
    let extent_size = vg.extent_size.filter(|size| size.0 > 0)?;
    let before = lv.size?.to_extents_down(extent_size);
    let limits = limits(target, config, inventory, vg, lv, before, extent_size)?;
    let room = limits.iter().map(|limit| limit.room).min()?;
    Some(room.bytes(extent_size))
}

/// How many bytes must be added so that usage is at the threshold: used / (used + avail + missing) = threshold.
fn missing_to_threshold(s: &Subject<'_>, usage: Usage) -> Bytes {
    let (used, avail) = (usage.used().0 as f64, usage.avail.0 as f64);
    let total = used * 100.0 / s.target.threshold.value();
    Bytes((total - used - avail).max(0.0).ceil() as u64)
}

/// The number of stripes of the last segment, which `lvextend` keeps; extents are added in multiples of it.
fn stripes(lv: &Lv) -> u64 {
    let last = lv.segments.iter().max_by_key(|segment| segment.start);
    last.and_then(|segment| segment.stripes).unwrap_or(1).max(1)
}

struct Limit {
    code: Code,
    what: String,
    room: Extents,
    advice: String,
}

impl Limit {
    fn refusal(&self, extent_size: Bytes, least: Extents) -> Refusal {
        let room = self.room.bytes(extent_size);
        let least = least.bytes(extent_size);
        Refusal::new(
            self.code,
            format!("{}: {room} left where a step needs at least {least}: {}", self.what, self.advice),
        )
    }
}

/// What limits the growth, in the order of the codes.
fn limits(
    target: &Target,
    config: &Config,
    inventory: &Inventory,
    vg: &Vg,
    lv: &Lv,
    before: Extents,
    extent_size: Bytes,
) -> Option<[Limit; 3]> {
    Some([
        to_max_size(target, before, extent_size),
        to_reserve(config, vg, extent_size)?,
        to_allocatable(inventory, vg, stripes(lv)),
    ])
}

fn to_max_size(target: &Target, before: Extents, extent_size: Bytes) -> Limit {
    let room = match target.max_size {
        Some(max) => Extents(max.to_extents_down(extent_size).0.saturating_sub(before.0)),
        None => Extents(u64::MAX),
    };
    let (size, max) = (before.bytes(extent_size), target.max_size.unwrap_or(Bytes(u64::MAX)));
    Limit {
        code: Code::AtMaxSize,
        what: format!("{} is {size} and max_size is {max}", target.lv),
        room,
        advice: "raise max_size if it should grow further".to_owned(),
    }
}

fn to_reserve(config: &Config, group: &Vg, extent_size: Bytes) -> Option<Limit> {
    let vg = &group.name;
    let free = group.free_extents?;
    let reserve = config.reserve(vg, group.size?);
    let reserved = reserve.to_extents_up(extent_size);
    // Without a reserve this is no limit of its own, what is free is asked next.
    let room = if reserve == Bytes::ZERO { Extents(u64::MAX) } else { Extents(free.0.saturating_sub(reserved.0)) };
    Some(Limit {
        code: Code::VgReserve,
        what: format!("{vg} has {} free, {reserve} are reserved", free.bytes(extent_size)),
        room,
        advice: format!("add a PV with vgextend, or lower volume_groups[{vg}].reserve"),
    })
}

fn to_allocatable(inventory: &Inventory, vg: &Vg, stripes: u64) -> Limit {
    let room = allocatable(inventory, vg, stripes);
    let over = if stripes > 1 { format!(" over {stripes} stripes") } else { String::new() };
    Limit {
        code: Code::InsufficientSpace,
        what: format!("LVM can allocate {room}{over} in {}", vg.name),
        room,
        advice: "add a PV with vgextend, or free some space".to_owned(),
    }
}

/// How many extents LVM can give: those on PVs that are present and allocatable, and for stripes as many as can be laid
/// out with no two stripes of a row on one PV.
fn allocatable(inventory: &Inventory, vg: &Vg, stripes: u64) -> Extents {
    let free_of = |pv: &Pv| Some(pv.extent_count?.0.saturating_sub(pv.allocated_extents?.0));
    let usable =
        |pv: &&Pv| pv.vg.as_ref() == Some(&vg.name) && pv.allocatable == Some(true) && pv.missing == Some(false);
    let mut free: Vec<u64> = inventory.pvs.iter().filter(usable).filter_map(free_of).collect();
    let total = free.iter().sum::<u64>().min(vg.free_extents.map_or(0, |extents| extents.0));
    if stripes <= 1 {
        return Extents(total);
    }
    // `rows` stripes rows are possible if the PVs together give `stripes` extents to each row and none more than one.
    free.sort_unstable();
    let fits = |rows: u64| free.iter().map(|&on_pv| on_pv.min(rows)).sum::<u64>() >= rows.saturating_mul(stripes);
    let (mut low, mut high) = (0, total / stripes);
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        if fits(middle) { low = middle } else { high = middle - 1 }
    }
    Extents(low * stripes)
}
