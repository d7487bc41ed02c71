//! How much a thin pool grows: its metadata first, because a pool whose metadata are full cannot be mended by more
//! data.

use super::decided::Metadata;
use super::guard::{Code, Refusal, Subject};
use super::limit::{self, Limit, LimitFacts, MOST_POOL_METADATA};
use super::size::{Size, Taken, TooLittle, ground, missing_to, step, unknown};
use super::wish::Wish;
use crate::config::Target;
use crate::inventory::Lv;
use crate::name::LvRef;
use crate::units::{Bytes, Extents, Percent};

/// Metadata fill in leaps, when many blocks are written for the first time: a step adds at least this share of them.
const METADATA_STEP: f64 = 20.0;

/// By how much the data of its pool must grow for a thin volume that lacks so much there, at the least; `None` where
/// more data would not help.
pub(super) fn lacks(s: &Subject<'_>, short: Bytes) -> Option<(LvRef, Bytes)> {
    let (pool, limits) = (s.inventory.pool_of(s.lv)?, s.target.file_system()?.pool);
    if 100.0 - pool.metadata_percent?.value() < limits.min_free_metadata.value() {
        return None;
    }
    // Of each byte that it grows a part is to stay free, and so much may be promised.
    let kept = 1.0 - limits.min_free_data.value() / 100.0;
    let bytes = (short.0 as f64 / kept.min(limits.max_overprovision)).ceil();
    (bytes.is_finite() && bytes > 0.0).then(|| (pool.name.clone(), Bytes(bytes as u64)))
}

/// So full metadata, in percent, are near their end: the data do not grow before them.
const METADATA_FULL: f64 = 90.0;

/// Computes the size of the next step of a pool, or says which limit leaves no room for it.
pub(super) fn size(s: &Subject<'_>, metadata_threshold: Percent) -> Result<Size, TooLittle> {
    let (Some(data_used), Some(metadata_used)) = (s.lv.data_percent, s.lv.metadata_percent) else {
        return Err(unknown("how full the pool is").into());
    };
    let ground = LimitFacts { lv: hidden(s, s.inventory.pool_data(s.lv), "data")?, ..ground(s)? };
    let LimitFacts { extent_size, before, .. } = ground;
    let volume = before.bytes(extent_size);
    let mut lines = vec![format!("{} is {volume}, {before} of {extent_size}", s.lv.name)];
    let (mut metadata, mut taken, mut warnings) = (None, Extents(0), vec![]);
    let (mut after, mut pvs, mut striping, mut limited_by) = (before, vec![], None, None);
    if metadata_used.value() > metadata_threshold.value() {
        let are_wanted = s.wish.is_for_more() || data_used.value() > s.target.threshold.value();
        match self::metadata(s, &ground, metadata_used, metadata_threshold, &mut lines) {
            Ok((grown, cost)) => (metadata, taken) = (Some(grown), cost),
            // More data fill the metadata further; but a pool without data stops at once.
            Err(no) if are_wanted && metadata_used.value() < METADATA_FULL => {
                limited_by = Some(no.refusal.code);
                warnings.push(format!("only the data grows, the metadata cannot: {}", no.refusal.sentence));
            }
            Err(no) => return Err(no),
        }
    }
    let mut take = |taken: Taken| {
        (after, pvs, striping) = (taken.after, taken.pvs, taken.striping);
        limited_by = limited_by.or(taken.limited_by);
    };
    if let Wish::Person { by: Some(by) } = s.wish {
        lines.push(format!("{by} more were asked for"));
        take(step(s, &ground, by, taken, &mut lines)?);
    } else if let Wish::Volume { by } = s.wish {
        lines.push(format!("a volume of it needs {by} more"));
        take(step(s, &ground, by, taken, &mut lines)?);
    } else if s.wish.is_a_persons() || data_used.value() > s.target.threshold.value() {
        let used = data_used.share_of(volume);
        let missing = missing_to(used, volume.saturating_sub(used), s.target.threshold);
        let threshold = s.target.threshold;
        lines.push(format!("{data_used} of the data used, {missing} more are needed to come down to {threshold}"));
        match step(s, &ground, missing, taken, &mut lines) {
            Ok(taken) => take(taken),
            // The metadata are the more urgent of the two.
            Err(no) if metadata.is_some() => {
                limited_by = Some(no.refusal.code);
                lines.push(format!("the data cannot grow, {}", no.refusal));
            }
            Err(refusal) => return Err(refusal),
        }
    }
    Ok(Size { before, after, metadata, extent_size, pvs, striping, lines, warnings, limited_by })
}

fn hidden<'a>(s: &Subject<'_>, lv: Option<&'a Lv>, what: &str) -> Result<&'a Lv, Refusal> {
    lv.ok_or_else(|| unknown(&format!("which volume holds the {what} of {}", s.lv.name)))
}

/// The metadata afterwards, and what that takes from the group.
fn metadata(
    s: &Subject<'_>,
    ground: &LimitFacts<'_>,
    used: Percent,
    threshold: Percent,
    lines: &mut Vec<String>,
) -> Result<(Metadata, Extents), TooLittle> {
    let lv = hidden(s, s.inventory.pool_metadata(s.lv), "metadata")?;
    let (size, extent_size) = (lv.size.ok_or_else(|| unknown("the size of the metadata"))?, ground.extent_size);
    let filled = used.share_of(size);
    let missing = missing_to(filled, size.saturating_sub(filled), threshold);
    let least = Bytes((size.0 as f64 * METADATA_STEP / 100.0) as u64);
    let wanted = missing.max(least).to_extents_up(extent_size).max(Extents(1));
    lines.push(format!(
        "its metadata is {size} and {used} full, {missing} more are needed to come down to {threshold}: {wanted} ({})",
        wanted.bytes(extent_size)
    ));
    let before = size.to_extents_down(extent_size);
    // LVM keeps a spare of the same size for repairs, and extends it too.
    let copies =
        if s.inventory.lvs.iter().any(|other| other.name.vg == lv.name.vg && other.is_role("spare")) { 2 } else { 1 };
    // `max_size` is about the data.
    let target = Target { max_size: None, ..s.target.clone() };
    let ground = LimitFacts { target: &target, lv, before, ..*ground };
    let mut limits = limit::limits(&ground, wanted).ok_or_else(|| unknown("how much is free"))?.all;
    // All I/O to the metadata is of 4 KiB, so they may lie on any disk.
    limits.retain(|limit| limit.code != Code::BlockSize);
    for limit in limits.iter_mut().filter(|limit| limit.room.0 < u64::MAX) {
        limit.room.0 /= copies;
    }
    limits.splice(0..0, limit::budgets(s.target, s.config, s.history, &s.now, extent_size));
    limits.insert(
        0,
        Limit {
            code: Code::AtMaxSize,
            what: format!("the metadata of {} is {size} and LVM allows no more than {MOST_POOL_METADATA}", s.lv.name),
            room: Extents(MOST_POOL_METADATA.to_extents_down(extent_size).0.saturating_sub(before.0)),
            advice: "use a larger chunk size in a new pool".to_owned(),
        },
    );
    if let Some(limit) = limits.iter().find(|limit| limit.room < wanted) {
        let short = Extents(wanted.0.saturating_sub(limit.room.0).saturating_mul(copies)).bytes(extent_size);
        return Err(TooLittle { refusal: limit.refusal(extent_size, wanted), short_by: short });
    }
    let after = Extents(before.0 + wanted.0).bytes(extent_size);
    lines.push(format!("metadata {size} + {} = {after}", wanted.bytes(extent_size)));
    Ok((Metadata { before: size, after }, Extents(wanted.0 * copies)))
}
