//! How much: from the usage and the limits to an absolute number of extents, with every line of the computation kept
//! for people to read.

use super::decided::{Metadata, PlannedFs};
use super::guard::{Code, Refusal, Subject};
use super::limit::{self, Limit, LimitFacts};
use super::step::Striping;
use super::wish::Wish;
use crate::config::{Config, Target};
use crate::inventory::{FileSystem, Inventory, Usage};
use crate::units::{Bytes, Extents, Percent};

/// A size that was computed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Size {
    /// The volume now.
    pub before: Extents,
    /// The volume afterwards; the same if only the file system, or the metadata of a pool, have to catch up.
    pub after: Extents,
    /// The metadata of a pool, if they grow.
    pub metadata: Option<Metadata>,
    /// The group's extent size.
    pub extent_size: Bytes,
    /// Where the new part comes to lie; empty: LVM may choose.
    pub pvs: Vec<String>,
    /// How it must be said to be striped.
    pub striping: Option<Striping>,
    /// The computation, a line each.
    pub lines: Vec<String>,
    /// What a person should know although it is done.
    pub warnings: Vec<String>,
    /// What keeps it smaller than it should be.
    pub limited_by: Option<Code>,
}

/// A step that does not fit.
#[derive(Debug)]
pub struct TooLittle {
    /// Which limit leaves too little, and how much.
    pub refusal: Refusal,
    /// By how much the group would have to have more free; zero where that would not help.
    pub short_by: Bytes,
}

/// A size with the file system that it is for, or which limit leaves too little.
pub(super) type Sized = Result<(Size, Option<PlannedFs>), TooLittle>;

impl From<Refusal> for TooLittle {
    fn from(refusal: Refusal) -> TooLittle {
        TooLittle { refusal, short_by: Bytes::ZERO }
    }
}

pub(super) fn unknown(what: &str) -> Refusal {
    Refusal::new(Code::InsufficientSpace, format!("LVM did not say {what}: look at it with lvs and vgs"))
}

/// Where the computation stands: limits known, nothing taken yet.
pub(super) fn ground<'a>(s: &Subject<'a>) -> Result<LimitFacts<'a>, Refusal> {
    let extent_size = s.vg.extent_size.filter(|size| size.0 > 0).ok_or_else(|| unknown("the extent size"))?;
    let before = s.lv.size.ok_or_else(|| unknown("the size of the volume"))?.to_extents_down(extent_size);
    let Subject { target, config, inventory, vg, lv, fs, .. } = *s;
    Ok(LimitFacts { target, config, inventory, vg, lv, fs, extent_size, before })
}

/// Computes the size of the next step of a file system, or says which limit leaves no room for it.
pub fn size(s: &Subject<'_>, fs: &FileSystem, usage: Usage) -> Result<Size, TooLittle> {
    let ground = ground(s)?;
    let LimitFacts { extent_size, before, .. } = ground;
    let volume = before.bytes(extent_size);
    let mut lines = vec![format!("{} is {volume}, {before} of {extent_size}", s.lv.name)];
    let missing = match s.wish {
        Wish::Person { by: Some(by) } => {
            lines.push(format!("{by} more were asked for"));
            by
        }
        Wish::Person { by: None } | Wish::Usage | Wish::Volume { .. } => missing(s.target, fs, usage, &mut lines),
    };

    // Somebody extended the volume and not the file system: what is there already may be enough.
    let room = s.inventory.room_on(s.lv).unwrap_or(volume);
    if let Some(mapping) = s.inventory.mapping_on(&s.lv.name) {
        lines.push(format!("{room} of it for the mapping {}, which is {}", mapping.name, mapping.size));
    }
    let growable = fs.size().map_or(Bytes::ZERO, |size| room.saturating_sub(size));
    if growable > fs.slack() && growable >= missing {
        if let Some(refusal) = limit::past_end_of_file_system(&ground, fs) {
            return Err(refusal.into());
        }
        lines.push(format!("the volume is {growable} larger than its file system: growing that is enough"));
        let warnings = slow_at(fs, volume).into_iter().collect();
        let (pvs, striping) = (vec![], None);
        too_small(s, fs, volume)?;
        let (metadata, limited_by) = (None, None);
        return Ok(Size { before, after: before, metadata, extent_size, pvs, striping, lines, warnings, limited_by });
    }

    let Taken { after, pvs, striping, limited_by } = step(s, &ground, missing, Extents(0), &mut lines)?;
    too_small(s, fs, after.bytes(extent_size))?;
    let warnings = slow_at(fs, after.bytes(extent_size)).into_iter().collect::<Vec<_>>();
    lines.extend(warnings.iter().map(|warning| format!("warning: {warning}")));
    Ok(Size { before, after, metadata: None, extent_size, pvs, striping, lines, warnings, limited_by })
}

/// The kernel would not resize it to so little.
fn too_small(s: &Subject<'_>, fs: &FileSystem, after: Bytes) -> Result<(), Refusal> {
    let least = fs.superblock.as_ref().map_or(Bytes::ZERO, |superblock| superblock.facts().least());
    let room = s.inventory.mapping_on(&s.lv.name).map_or(after, |mapping| mapping.room_on(after));
    if room >= least {
        return Ok(());
    }
    let volume = s.lv.size.unwrap_or(Bytes::ZERO);
    let sentence = format!(
        "the kernel resizes no {} to less than {least} and {} would be {after}: grow it once by at least {}, with \
         lvm-autoscaler extend {} --by=SIZE or a larger increment",
        fs.mount.fs_type,
        s.lv.name,
        least.saturating_sub(volume),
        s.lv.name
    );
    Err(Refusal::new(Code::FsNoOnlineGrowth, sentence))
}

/// The outcome of [`step`].
pub(super) struct Taken {
    /// The volume afterwards.
    pub after: Extents,
    /// The PVs that LVM is told to take; empty: it may choose.
    pub pvs: Vec<String>,
    pub striping: Option<Striping>,
    /// What keeps it smaller than it should be.
    pub limited_by: Option<Code>,
}

/// As many increments as cover what is missing, within all limits; `taken` extents of the group are spoken for.
pub(super) fn step(
    s: &Subject<'_>,
    ground: &LimitFacts<'_>,
    missing: Bytes,
    taken: Extents,
    lines: &mut Vec<String>,
) -> Result<Taken, TooLittle> {
    let LimitFacts { extent_size, before, .. } = *ground;
    let volume = before.bytes(extent_size);
    let (step, least) = (s.target.step(volume), s.target.least_step(volume).to_extents_up(extent_size));
    let times = missing.0.div_ceil(step.0.max(1)).max(1);
    let wanted = Bytes(step.0.saturating_mul(times)).to_extents_up(extent_size);
    let found = limit::limits(ground, wanted).ok_or_else(|| unknown("how much is free"))?;
    let (mut limits, multiple, cost) = (found.all, found.multiple, found.cost);
    limits.splice(0..0, limit::budgets(s.target, s.config, s.history, &s.now, extent_size));
    // Taken from whichever PV has least, it costs every stripe one.
    for limit in limits.iter_mut().filter(|limit| limit.code != Code::AtMaxSize && limit.room.0 < u64::MAX) {
        limit.room.0 = limit.room.0.saturating_sub(taken.0.saturating_mul(multiple));
    }
    let wanted = Extents(wanted.0.next_multiple_of(multiple));
    lines.push(format!("{times} x {step}: {wanted} ({})", wanted.bytes(extent_size)));
    let (taken, limited_by) = fit(&limits, wanted, least, multiple, extent_size, lines).map_err(|refusal| {
        let room = limits.iter().map(|limit| limit.room).min().unwrap_or(Extents(0));
        let short = wanted.0.saturating_sub(room.0).div_ceil(multiple).saturating_mul(cost);
        TooLittle { refusal, short_by: Extents(short).bytes(extent_size) }
    })?;
    let after = Extents(before.0 + taken.0);
    if !found.place.pvs.is_empty() {
        lines.push(format!("on {}", found.place.pvs.join(", ")));
    }
    lines.push(format!("{before} + {taken} = {after} ({})", after.bytes(extent_size)));
    Ok(Taken { after, pvs: found.place.pvs, striping: found.striping, limited_by })
}

/// What of the wanted fits into all limits, if it is not too little.
fn fit(
    limits: &[Limit],
    wanted: Extents,
    least: Extents,
    multiple: u64,
    extent_size: Bytes,
    lines: &mut Vec<String>,
) -> Result<(Extents, Option<Code>), Refusal> {
    let whole = |extents: Extents| Extents(extents.0 / multiple * multiple);
    let (mut taken, mut limited_by) = (wanted, None);
    for limit in limits.iter() {
        if limit.room < taken {
            lines.push(format!("{}: {} ({}) left", limit.what, limit.room, limit.room.bytes(extent_size)));
            (taken, limited_by) = (limit.room, Some(limit.code));
        }
    }
    let taken = whole(taken);
    // The first limit that leaves too little names the refusal, as in the order of the codes.
    if taken < least || taken == Extents(0) {
        let limit = limits.iter().find(|limit| whole(limit.room) < least.max(Extents(1)));
        let nothing = || Refusal::new(Code::InsufficientSpace, "no step of the configured size fits");
        return Err(limit.map_or_else(nothing, |limit| limit.refusal(extent_size, least)));
    }
    if taken < wanted {
        lines.push(format!("takes what fits: {taken} ({})", taken.bytes(extent_size)));
    }
    Ok((taken, limited_by))
}

/// By how much a target may still grow, whatever its usage; `None` if the host does not show enough to tell. With what
/// may supply its group if that is in the look ([`super::supplied`]).
pub fn headroom(target: &Target, inventory: &Inventory, config: &Config) -> Option<Bytes> {
    let (vg, lv) = (inventory.vg(&target.lv.vg)?, inventory.lv(&target.lv)?);
    let extent_size = vg.extent_size.filter(|size| size.0 > 0)?;
    let before = lv.size?.to_extents_down(extent_size);
    let fs = target.mount_point().and_then(|point| inventory.filesystem_at(point));
    let lv = if target.file_system().is_some() { lv } else { inventory.pool_data(lv)? };
    let ground = LimitFacts { target, config, inventory, vg, lv, fs, extent_size, before };
    let limits = limit::limits(&ground, Extents(u64::MAX))?;
    let room = limits.all.iter().map(|limit| limit.room).min()?;
    Some(Extents(room.0 / limits.multiple * limits.multiple).bytes(extent_size))
}

/// How many bytes must be added so that neither space nor inodes are above their thresholds.
fn missing(target: &Target, fs: &FileSystem, usage: Usage, lines: &mut Vec<String>) -> Bytes {
    let space = missing_to(usage.used(), usage.avail, target.threshold);
    lines.push(format!(
        "{} of {} used ({}), {space} more are needed to come down to {}",
        usage.used(),
        Bytes(usage.used().0.saturating_add(usage.avail.0)),
        usage.percent(),
        target.threshold
    ));
    let inodes = missing_for_inodes(target, fs, usage, lines).unwrap_or(Bytes::ZERO);
    space.max(inodes)
}

/// used / (used + avail + missing) = threshold.
pub(super) fn missing_to(used: Bytes, avail: Bytes, threshold: Percent) -> Bytes {
    let (used, avail) = (used.0 as f64, avail.0 as f64);
    Bytes((used * 100.0 / threshold.value() - used - avail).max(0.0).ceil() as u64)
}

fn missing_for_inodes(target: &Target, fs: &FileSystem, usage: Usage, lines: &mut Vec<String>) -> Option<Bytes> {
    let threshold = target.file_system()?.inode_threshold;
    let percent = usage.inode_percent()?;
    if percent.value() <= threshold.value() {
        return None;
    }
    let used = usage.files.saturating_sub(usage.files_free);
    let missing = (used as f64 * 100.0 / threshold.value() - usage.files as f64).max(0.0).ceil() as u64;
    let bytes = fs.superblock.as_ref()?.facts().bytes_for_inodes(missing)?;
    lines.push(format!(
        "{used} of {} inodes used ({percent}), {missing} more are needed to come down to {threshold}: {bytes}",
        usage.files
    ));
    Some(bytes)
}

fn slow_at(fs: &FileSystem, after: Bytes) -> Option<String> {
    fs.superblock.as_ref()?.facts().slow_at(after, &fs.mount.mount_point)
}
