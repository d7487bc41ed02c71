//! What do we decide? One pure function: no clock, no file, no program. The daemon, `plan`, `--dry-run`, the status
//! page and the simulator all ask the same one, so what is shown is what would be done.

mod allocation;
pub mod backup;
mod decided;
pub mod guard;
pub mod history;
mod limit;
pub mod moment;
mod policies;
mod pool;
mod rest;
pub mod size;
pub mod step;
mod supply;
mod unmatched;
mod wish;

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use crate::config::{Config, FilesystemCheck, Offline, Target, What};
pub use crate::filesystem::FsKind;
use crate::inventory::{FileSystem, Inventory, Lv};
use crate::name::LvRef;
use crate::units::Bytes;
pub use decided::{Metadata, Plan, PlannedFs};
pub use guard::{Code, Lack, Refusal, Unusable};
use guard::{Subject, Verdict};
pub use history::{History, Outcome};
pub use moment::Moment;
pub(crate) use policies::Entry;
pub use policies::{applied, applied_to};
pub use size::headroom;
use size::{Size, Sized};
pub(crate) use step::WAIT;
pub use step::{Step, Striping};
pub use supply::supplied;
pub use unmatched::Unmatched;
pub(crate) use unmatched::suspicion;
pub use wish::Wish;

/// A decision with everything that led to it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Evaluation {
    /// Each guard's answer, in order.
    pub verdicts: Vec<(Code, Verdict)>,
    /// The computation of the size, a line each; empty if a guard refused.
    pub size: Vec<String>,
    /// Where only its pool keeps a thin volume from growing: the pool, and by how much its data must grow first.
    pub pool: Option<(LvRef, Bytes)>,
    /// What is to be done, or why not.
    pub decision: Result<Plan, Refusal>,
}

/// The codes that the computation of the size decides, in order.
const OF_SIZE: [Code; 7] = [
    Code::AtMaxSize,
    Code::FsLimit,
    Code::VgReserve,
    Code::BlockSize,
    Code::InsufficientSpace,
    Code::SupplyRefused,
    Code::PoolSpace,
];

/// Decides about one target because of its usage.
pub fn plan(
    target: &Target,
    inventory: &Inventory,
    config: &Config,
    history: &History,
    now: impl Into<Moment>,
) -> Evaluation {
    plan_for(Wish::Usage, target, inventory, config, history, now)
}

/// What would be decided about a target if it were over its threshold and its cooldown were over.
pub fn if_over(
    target: &Target,
    inventory: &Inventory,
    config: &Config,
    history: &History,
    now: impl Into<Moment>,
) -> Result<Plan, Refusal> {
    let target = Target { cooldown: Duration::ZERO, ..target.clone() };
    // Like a person's, this question does not depend on how full the target is.
    let wish = Wish::Person { by: None };
    plan_for(wish, &target, inventory, config, history, now).decision
}

/// What the group of a target lacks, if the target is over its threshold and that alone keeps it from growing: whatever
/// was done before, and at any time of day.
pub fn lack(target: &Target, inventory: &Inventory, config: &Config, now: Moment) -> Option<Box<Lack>> {
    // Most are below it, and then there is no more to be asked.
    if is_over(target, inventory, config, now) != Some(true) {
        return None;
    }
    let target = Target { window: None, ..target.clone() };
    plan(&target, inventory, config, &History::default(), now).decision.err()?.lack
}

/// Whether a target is over its threshold, of space, inodes, data or metadata; `None` if the look does not show it.
pub fn is_over(target: &Target, inventory: &Inventory, config: &Config, now: Moment) -> Option<bool> {
    let (vg, lv) = (inventory.vg(&target.lv.vg)?, inventory.lv(&target.lv)?);
    let fs = target.mount_point().and_then(|point| inventory.filesystem_at(point));
    let history = &History::default();
    let subject = Subject { target, wish: Wish::Usage, config, inventory, vg, lv, fs, history, now };
    match Code::BelowThreshold.guard()?(&subject) {
        Verdict::Pass => Some(true),
        Verdict::Refuse(_) => Some(false),
        Verdict::NotAsked => None,
    }
}

/// Decides about one target.
pub fn plan_for(
    wish: Wish,
    target: &Target,
    inventory: &Inventory,
    config: &Config,
    history: &History,
    now: impl Into<Moment>,
) -> Evaluation {
    let now = now.into();
    let target = &*wish.on(target);
    let refused = |verdicts, refusal| Evaluation { verdicts, size: vec![], pool: None, decision: Err(refusal) };
    let (Some(vg), Some(lv)) = (inventory.vg(&target.lv.vg), inventory.lv(&target.lv)) else {
        let sentence =
            format!("there is no volume {} on this host, or more than one: correct lv_path, see lvs", target.lv);
        let verdicts = vec![(Code::UnknownTarget, Verdict::Refuse(sentence.clone()))];
        return refused(verdicts, Refusal::new(Code::UnknownTarget, sentence));
    };
    let unmounted = target.file_system().filter(|fs| fs.offline == Offline::Allow);
    let unmounted = unmounted.and_then(|fs| inventory.unmounted_at(&target.lv, &fs.mount_point));
    let fs = target.mount_point().and_then(|point| inventory.filesystem_at(point)).or(unmounted.as_ref());
    let subject = Subject { target, wish, config, inventory, vg, lv, fs, history, now };
    let mut verdicts = vec![(Code::UnknownTarget, Verdict::Pass)];
    verdicts.extend(guard::ask_all(&subject));
    if let Some(refusal) = guard::first_refusal(&verdicts) {
        return refused(verdicts, refusal);
    }
    let supply::Supplied { sized, steps: supply } = supply::with_supply(&subject, sized);
    let of_pool = sized.as_ref().err().filter(|no| no.refusal.code == Code::PoolSpace);
    let pool = of_pool.and_then(|no| pool::lacks(&subject, no.short_by));
    let sized = sized.map_err(|no| speaking_of_inodes(&subject, no.refusal));
    let refusal = sized.as_ref().err();
    for code in OF_SIZE {
        verdicts.push((code, if refusal.is_some_and(|no| no.code < code) { Verdict::NotAsked } else { Verdict::Pass }));
    }
    // A budget is asked about by a guard, and again when the size is known.
    if let Some(no) = refusal
        && let Some((_, verdict)) = verdicts.iter_mut().find(|(code, _)| *code == no.code)
    {
        *verdict = Verdict::Refuse(no.sentence.clone());
    }
    let (size, planned_fs) = match sized {
        Ok(sized) => sized,
        Err(refusal) => return Evaluation { pool, ..refused(verdicts, refusal) },
    };
    let (file, no_room) = backup::place(config, inventory, &target.lv.vg, &now);
    let steps = steps(&subject, file, planned_fs.as_ref(), &size, supply);
    let is_backed_up = steps.iter().any(|step| matches!(step, Step::BackupMetadata { .. }));
    let plan = Plan {
        lv: target.lv.clone(),
        lv_uuid: lv.uuid.clone(),
        reason: reason(&subject),
        before: size.before,
        after: size.after,
        extent_size: size.extent_size,
        metadata: size.metadata,
        warnings: size.warnings.iter().cloned().chain(no_room.filter(|_| is_backed_up)).collect(),
        steps,
        fs: planned_fs,
    };
    Evaluation { verdicts, size: size.lines, pool: None, decision: Ok(plan) }
}

/// Where only the inodes are over their threshold a limit of the size reads as if it were about space.
fn speaking_of_inodes(s: &Subject<'_>, refusal: Refusal) -> Refusal {
    let Some((usage, fs)) = s.fs.and_then(|fs| fs.usage).zip(s.target.file_system()) else { return refusal };
    let inodes = usage.inode_percent().filter(|inodes| inodes.value() > fs.inode_threshold.value());
    match inodes.filter(|_| usage.percent().value() <= s.target.threshold.value()) {
        Some(inodes) => {
            let sentence = format!(
                "{}; {inodes} of the inodes of {} are used, remove files or let it grow",
                refusal.sentence, fs.mount_point
            );
            Refusal { lack: refusal.lack, ..Refusal::new(refusal.code, sentence) }
        }
        None => refusal,
    }
}

fn sized(s: &Subject<'_>) -> Sized {
    let point = match &s.target.what {
        What::ThinPool { metadata_threshold } => return Ok((pool::size(s, *metadata_threshold)?, None)),
        What::FileSystem(fs) => &fs.mount_point,
    };
    let Some((fs, usage, kind)) = s.fs.and_then(|fs| Some((fs, fs.usage?, fs.kind()?))) else {
        // The guards let nothing through that lacks these; should one be changed so that it does, nothing is done.
        return Err(Refusal::new(Code::NotMounted, format!("the file system at {point} cannot be read")).into());
    };
    let (mount_point, offline, device_id) = (point.clone(), s.is_offline(), fs.device_id());
    let mapping = s.inventory.mapping_on(&s.lv.name).map(|mapping| mapping.name.clone());
    let planned = PlannedFs { mount_point, kind, usable_before: usage.size, offline, mapping, device_id };
    Ok((size::size(s, fs, usage)?, Some(planned)))
}

fn reason(s: &Subject<'_>) -> String {
    let (target, threshold) = (s.target, s.target.threshold);
    if let Wish::Volume { by } = s.wish {
        return format!("a volume of {} needs {by} more of it", target.lv);
    }
    if s.wish.is_a_persons() {
        let usage = s.fs.and_then(|fs| fs.usage).map(|usage| usage.percent()).or(s.lv.data_percent);
        let full = usage.map_or(String::new(), |usage| format!(", {} is {usage} full", target.usage_name()));
        return format!("a person asked for it{full}");
    }
    match &target.what {
        What::ThinPool { metadata_threshold } => {
            let shown =
                |percent: Option<crate::units::Percent>| percent.map_or("?".to_owned(), |percent| percent.to_string());
            format!(
                "the data of {} is {} full (threshold {threshold}) and its metadata {} (threshold {metadata_threshold})",
                target.lv,
                shown(s.lv.data_percent),
                shown(s.lv.metadata_percent)
            )
        }
        What::FileSystem(fs) => {
            let Some(usage) = s.fs.and_then(|fs| fs.usage) else { return String::new() };
            match usage.inode_percent() {
                Some(inodes) if usage.percent().value() <= threshold.value() => {
                    format!("{inodes} of the inodes at {} are used, above {}", fs.mount_point, fs.inode_threshold)
                }
                _ => format!("{} is {} full, above {threshold}", fs.mount_point, usage.percent()),
            }
        }
    }
}

fn steps(s: &Subject<'_>, backup: PathBuf, fs: Option<&PlannedFs>, size: &Size, supply: Vec<Step>) -> Vec<Step> {
    let (target, lv) = (s.target, s.target.lv.clone());
    let mut steps = Vec::new();
    if size.after > size.before || size.metadata.is_some() {
        steps.push(Step::BackupMetadata { vg: lv.vg.clone(), file: backup });
    }
    // What cannot be checked is found out before anything is extended.
    if let (Some(PlannedFs { offline: true, kind, mount_point, .. }), Some(settings)) = (fs, target.file_system()) {
        let (kind, mount_point, always) = (*kind, mount_point.clone(), settings.check == FilesystemCheck::Always);
        steps.push(Step::CheckUnmounted { kind, lv: lv.clone(), mount_point, always });
    }
    steps.extend(supply);
    if let Some(metadata) = size.metadata {
        steps.push(Step::ExtendPoolMetadata { lv: lv.clone(), size: metadata.after });
    }
    if size.after > size.before {
        let (extents, extent_size) = (size.after, size.extent_size);
        let (striping, pvs) = (size.striping, size.pvs.clone());
        steps.push(Step::ExtendLv { lv: lv.clone(), extents, extent_size, striping, pvs });
    }
    if target.file_system().is_some() {
        steps.extend(resize_mapping(s.inventory, &lv, Some(target), size.after.bytes(size.extent_size)));
    }
    if let Some(PlannedFs { kind, mount_point, offline, mapping, device_id, .. }) = fs {
        let (kind, mount_point, mapping, device_id) = (*kind, mount_point.clone(), mapping.clone(), *device_id);
        if !offline {
            steps.push(Step::CheckFilesystem { kind, mount_point: mount_point.clone() });
        }
        steps.push(Step::GrowFilesystem { kind, lv, mount_point, mapping, device_id });
    }
    steps
}

/// The step that makes the mapping on a volume as large as that will be. It is planned wherever there is a mapping,
/// also where it is large enough: a version that does not know the step must not carry out the rest.
fn resize_mapping(inventory: &Inventory, lv: &LvRef, target: Option<&Target>, volume: Bytes) -> Option<Step> {
    let mapping = inventory.mapping_on(lv)?;
    let key_file = target.and_then(Target::file_system).and_then(|fs| fs.luks_key_file.clone());
    let key_file = key_file.filter(|_| mapping.needs_key());
    let (name, size) = (mapping.name.clone(), mapping.room_on(volume));
    Some(Step::ResizeMapping { lv: lv.clone(), mapping: name, size, key_file })
}

/// The commands that make what lies on a volume as large as it is: the mapping, if that is smaller, and its file
/// system.
pub fn fill(inventory: &Inventory, lv: &Lv, fs: &FileSystem, target: Option<&Target>) -> Option<Vec<String>> {
    let (name, mount_point, device_id) = (lv.name.clone(), fs.mount.mount_point.clone(), fs.device_id());
    let resize = resize_mapping(inventory, &name, target, lv.size?).filter(|step| !step.is_done(inventory));
    let mapping = inventory.mapping_on(&name).map(|mapping| mapping.name.clone());
    let grow = Step::GrowFilesystem { kind: fs.kind()?, lv: name, mount_point, mapping, device_id };
    Some(
        resize.into_iter().chain([grow]).filter_map(|step| step.command()).map(|command| command.to_string()).collect(),
    )
}
