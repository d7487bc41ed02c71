//! What limits a growth: budgets, `max_size`, the file system's own limits, the group's reserve, what LVM can allocate,
//! what a pool can carry. Each limit is a number of extents and the sentence for when that is too little.

use super::allocation::{self, Place, Room};
use super::guard::{Code, Refusal};
use super::history::History;
use super::moment::Moment;
use super::step::Striping;
use crate::config::{Budget, Config, GrownDisks, Target};
use crate::filesystem::Most;
use crate::inventory::{FileSystem, Inventory, Lv, Vg};
use crate::units::{Bytes, Extents, GIB};

/// What a limit is computed from.
#[derive(Clone, Copy)]
pub(super) struct LimitFacts<'a> {
    pub target: &'a Target,
    pub config: &'a Config,
    pub inventory: &'a Inventory,
    pub vg: &'a Vg,
    pub lv: &'a Lv,
    pub fs: Option<&'a FileSystem>,
    pub extent_size: Bytes,
    pub before: Extents,
}

/// One limit.
pub(super) struct Limit {
    pub code: Code,
    /// What it is, with its numbers.
    pub what: String,
    /// By how much the volume may grow.
    pub room: Extents,
    /// What a person can do.
    pub advice: String,
}

impl Limit {
    pub(super) fn refusal(&self, extent_size: Bytes, least: Extents) -> Refusal {
        let room = self.room.bytes(extent_size);
        let least = least.max(Extents(1)).bytes(extent_size);
        let sentence = format!("{}: {room} left, and a step needs at least {least}: {}", self.what, self.advice);
        Refusal::new(self.code, sentence)
    }
}

const ANY: Extents = Extents(u64::MAX);

/// What bounds a growth.
pub(super) struct Limits {
    /// All of them but the budgets, in the order of their codes.
    pub all: Vec<Limit>,
    /// The volume grows in multiples of so many extents.
    pub multiple: u64,
    /// For each multiple LVM takes so many extents of the group.
    pub cost: u64,
    /// Where the new part comes to lie.
    pub place: Place,
    /// How it must be said to be striped.
    pub striping: Option<Striping>,
}

/// All limits of a volume that is to grow by so much; `None` where LVM did not give a number that is needed.
pub(super) fn limits(facts: &LimitFacts<'_>, wanted: Extents) -> Option<Limits> {
    let mut all = vec![to_max_size(facts)];
    all.extend(facts.fs.and_then(|fs| Some(to_end_of_file_system(facts, fs)?.1)));
    // A thin volume takes nothing from the group, only promises from its pool.
    if facts.lv.is_layout("thin") {
        all.push(to_pool(facts));
        return Some(Limits { all, multiple: 1, cost: 1, place: Place::default(), striping: None });
    }
    let room = match allocation::room(facts.inventory, facts.vg, facts.lv, facts.inventory.bears(facts.lv)) {
        Ok(room) => room,
        Err(why) => {
            // The guard `layered_device` has refused this. Only what is merely shown comes here.
            let (code, advice) = (Code::LayeredDevice, "see lvs -a -o+devices".to_owned());
            all.push(Limit { code, what: why, room: Extents(0), advice });
            return Some(Limits { all, multiple: 1, cost: 1, place: Place::default(), striping: None });
        }
    };
    let place = room.place(Extents(wanted.0.checked_next_multiple_of(room.multiple).unwrap_or(wanted.0)));
    all.push(to_reserve(facts, room.multiple, room.cost)?);
    all.extend(to_fine_disks(facts, &room, &place));
    all.push(to_allocatable(facts, &place));
    Some(Limits { all, multiple: room.multiple, cost: room.cost, place, striping: room.striping })
}

/// What the budgets in bytes leave, of the target and of its group.
pub(super) fn budgets(
    target: &Target,
    config: &Config,
    history: &History,
    now: &Moment,
    extent_size: Bytes,
) -> Vec<Limit> {
    let own = history.spent(&target.lv, &target.budget, now).bytes_left(&target.budget);
    let group = config.volume_group(&target.lv.vg).and_then(|group| group.budget);
    let of_group =
        group.and_then(|budget| Some((history.spent_in(&target.lv.vg, &budget, now).bytes_left(&budget)?, budget)));
    let limit = |left: Bytes, budget: &Budget, whose: String| Limit {
        code: Code::BudgetExhausted,
        what: format!("{whose} may take {budget}"),
        room: left.to_extents_down(extent_size),
        advice: "wait until the oldest extension no longer counts, or raise budget.bytes".to_owned(),
    };
    let own = own.map(|left| limit(left, &target.budget, target.lv.to_string()));
    own.into_iter().chain(of_group.map(|(left, budget)| limit(left, &budget, target.lv.vg.to_string()))).collect()
}

fn to_max_size(facts: &LimitFacts<'_>) -> Limit {
    let LimitFacts { target, before, extent_size, .. } = facts;
    let room = match target.max_size {
        Some(max) => Extents(max.to_extents_down(*extent_size).0.saturating_sub(before.0)),
        None => ANY,
    };
    let (size, max) = (before.bytes(*extent_size), target.max_size.unwrap_or(Bytes(u64::MAX)));
    Limit {
        code: Code::AtMaxSize,
        what: format!("{} is {} and max_size is {}", target.lv, size.exact(), max.exact()),
        room,
        advice: "raise max_size if it should grow further".to_owned(),
    }
}

/// Of a file system that would have to be larger than it can be to fill its volume as that is already.
pub(super) fn past_end_of_file_system(facts: &LimitFacts<'_>, fs: &FileSystem) -> Option<Refusal> {
    let (most, limit) = to_end_of_file_system(facts, fs)?;
    let volume = facts.before.bytes(facts.extent_size);
    // What is less than it could use it leaves alone.
    (volume.0 > most.0.saturating_add(fs.slack().0)).then(|| {
        Refusal::new(limit.code, format!("{}, and the volume has {volume} already: {}", limit.what, limit.advice))
    })
}

/// The most it can be, and what that leaves.
fn to_end_of_file_system(facts: &LimitFacts<'_>, fs: &FileSystem) -> Option<(Bytes, Limit)> {
    let Most { size: most, why, advice, is_soft } = fs.superblock.as_ref()?.facts().most()?;
    if is_soft && facts.target.file_system().is_some_and(|fs| fs.allow_large_xfs_growth) {
        return None;
    }
    let LimitFacts { before, extent_size, .. } = facts;
    let limit = Limit {
        code: Code::FsLimit,
        what: format!("the {} at {} can have at most {most}, {why}", fs.mount.fs_type, fs.mount.mount_point),
        room: Extents(most.to_extents_down(*extent_size).0.saturating_sub(before.0)),
        advice: advice.to_owned(),
    };
    Some((most, limit))
}

fn to_reserve(facts: &LimitFacts<'_>, multiple: u64, cost: u64) -> Option<Limit> {
    let vg = &facts.vg.name;
    let free = facts.vg.free_extents?;
    let reserve = facts.config.reserve(vg, facts.vg.size?);
    let above = free.0.saturating_sub(reserve.to_extents_up(facts.extent_size).0);
    // Without a reserve this is no limit of its own, what is free is asked next.
    let room = if reserve == Bytes::ZERO { ANY } else { Extents((above / cost).saturating_mul(multiple)) };
    let copies =
        if cost > multiple { format!(" ({cost} extents for each {multiple} of the volume)") } else { String::new() };
    Some(Limit {
        code: Code::VgReserve,
        what: format!("{vg} has {} free, {reserve} are reserved{copies}", free.bytes(facts.extent_size)),
        room,
        advice: format!("add a PV with vgextend, or lower volume_groups[{vg}].reserve"),
    })
}

/// Free extents are there, and all of them or too many on disks with a block size that what is on the volume does not
/// bear.
fn to_fine_disks(facts: &LimitFacts<'_>, room: &Room, place: &Place) -> Option<Limit> {
    let (first, bears) = (room.too_coarse.first()?, facts.inventory.bears(facts.lv)?);
    let what = match facts.fs {
        Some(fs) => format!("the {} at {}", fs.mount.fs_type, fs.mount.mount_point),
        None => format!("what is on the volumes of {}", facts.target.lv),
    };
    let free: u64 = room.too_coarse.iter().map(|pv| pv.free.0).sum();
    let (have, so) = match room.too_coarse.len() - 1 {
        0 => (" has".to_owned(), "it does"),
        more => (format!(" and {more} more have"), "they do"),
    };
    Some(Limit {
        code: Code::BlockSize,
        what: format!(
            "{}{have} {} free and a logical block size of {}, but {what} supports at most {bears}, so {so} not count",
            first.pv,
            Extents(free).bytes(facts.extent_size),
            first.block_size,
        ),
        room: place.extents,
        advice: format!("add a PV with a logical block size of at most {bears} with vgextend"),
    })
}

fn to_allocatable(facts: &LimitFacts<'_>, place: &Place) -> Limit {
    let vg = &facts.vg.name;
    // What LVM does not know of yet is nearer than a new disk. If the config lets such disks supply the group, it was
    // tried, and the refusal names the disk that could not be used and why.
    let supplies = facts.config.volume_group(vg).is_some_and(|group| group.grown_disks != GrownDisks::Off);
    let mut of_group = facts.inventory.pvs.iter().filter(|pv| !supplies && pv.vg.as_ref() == Some(vg));
    let grown = of_group.find_map(|pv| {
        let room = pv.exceeded_by();
        (room >= facts.extent_size)
            .then(|| format!("{} is {room} larger than its PV: pvresize {}, or ", pv.name, pv.name))
    });
    let extents = if place.extents.0 == 0 { "no extents".to_owned() } else { format!("only {}", place.extents) };
    Limit {
        code: Code::InsufficientSpace,
        what: format!("{extents}{} can be allocated in {vg}", place.how),
        room: place.extents,
        advice: format!("{}add a PV with vgextend, or free some space", grown.unwrap_or_default()),
    }
}

/// A pool that runs full takes all its volumes down, so a volume may only be promised what the pool can carry.
fn to_pool(facts: &LimitFacts<'_>) -> Limit {
    let LimitFacts { target, inventory, lv, extent_size, .. } = facts;
    let limit = |what: String, room: Bytes, advice: &str| Limit {
        code: Code::PoolSpace,
        what,
        room: room.to_extents_down(*extent_size),
        advice: advice.to_owned(),
    };
    let Some(limits) = target.file_system().map(|fs| fs.pool) else {
        return limit(format!("{} is no file system", target.lv), Bytes::ZERO, "correct the target");
    };
    let pool = inventory.pool_of(lv);
    let Some((pool, size, data, metadata)) =
        pool.and_then(|pool| Some((pool, pool.size?, pool.data_percent?, pool.metadata_percent?)))
    else {
        let what = format!("LVM did not say how full the pool of {} is", lv.name);
        return limit(what, Bytes::ZERO, "see lvs -a -o+data_percent,metadata_percent");
    };
    let name = &pool.name;
    let least = limits.min_free_metadata.value();
    if 100.0 - metadata.value() < least {
        let what = format!("the metadata of {name} is {metadata} full, {} are to stay free", limits.min_free_metadata);
        return limit(
            what,
            Bytes::ZERO,
            "extend the pool with lvextend --poolmetadatasize, or lower min_pool_free_metadata",
        );
    }
    let free = size.saturating_sub(data.share_of(size));
    let spare = free.saturating_sub(limits.min_free_data.share_of(size));
    let promised = Bytes(inventory.volumes_of(pool).filter_map(|lv| lv.size).map(|size| size.0).sum());
    let most = Bytes((size.0 as f64 * limits.max_overprovision) as u64);
    let unpromised = most.saturating_sub(promised);
    if unpromised < spare {
        let what = format!(
            "{name} is {size}, its volumes are {promised} together and max_overprovision {} allows {most}",
            limits.max_overprovision
        );
        return limit(what, unpromised, "extend the pool with lvextend, or raise max_overprovision");
    }
    let what = format!("{name} is {size} and {data} full, {} are to stay free", limits.min_free_data);
    limit(what, spare, "extend the pool with lvextend, or lower min_pool_free_data")
}

/// LVM's largest metadata volume is 15.81 GiB; this is what certainly fits.
pub(super) const MOST_POOL_METADATA: Bytes = Bytes(15 * GIB);
