//! What an operation came to, as the journal keeps it, with the commands that are left for a person.

use super::Shared;
use crate::command::shell_word;
use crate::host::{Focus, look};
use crate::inventory::{FileSystem, Inventory, Lv};
use crate::journal::{Account, Next, Replayed};
use crate::name::OperationId;
use crate::plan::{Outcome, Plan, Step};
use crate::units::Bytes;

pub(super) fn recommendation(plan: &Plan) -> Account {
    Account::of(format!(
        "would grow by {}, because {}; the mode is recommend, so a person has to run: {}",
        plan.growth(),
        plan.reason,
        commands(plan).join("; ")
    ))
}

fn commands(plan: &Plan) -> Vec<String> {
    plan.steps.iter().filter_map(Step::command).map(|command| command.to_string()).collect()
}

pub(super) fn dry_run(id: OperationId, plan: &Plan) -> Account {
    let commands = commands(plan);
    for command in &commands {
        tracing::info!(operation = %id, lv = %plan.lv, command, "would run");
    }
    Account::of(format!("dry run, nothing was changed; would have run: {}", commands.join("; ")))
}

/// If the volume was extended already, what is left is a person's; if not, nothing was changed.
pub(super) fn after_obstacle(shared: &Shared, id: OperationId, plan: &Plan, sentence: &str) -> (Outcome, Account) {
    let seen = look(shared.host.as_ref(), Focus::of(plan)).ok();
    let volume = seen.as_ref().and_then(|inventory| inventory.lv(&plan.lv)).and_then(|lv| Some((lv, lv.size?)));
    let before = plan.before.bytes(plan.extent_size);
    let same_metadata = |lv: &Lv| plan.metadata.is_none_or(|metadata| lv.metadata_size == Some(metadata.before));
    let extends = plan.growth() > Bytes::ZERO;
    let failed = |what: &str| (Outcome::Failed, Account::of(format!("{sentence}; {what}")));
    let unknown = match volume {
        Some((lv, _)) if lv.uuid != plan.lv_uuid => return failed("nothing was changed on it"),
        Some((lv, size)) if size <= before && extends && same_metadata(lv) && !is_half_checked(shared, id) => {
            return failed(&unchanged(shared, id, plan));
        }
        Some(_) => String::new(),
        None if !may_have_changed(shared, id) => return failed("nothing was changed"),
        None if seen.as_ref().is_some_and(|inventory| inventory.vg(&plan.lv.vg).is_none()) => {
            // Its disks may be back in a moment, and nobody knows what was written to them last.
            let account = Account::of(format!("{sentence}{}", gone(shared, id)));
            let account = account.with(Next::WhenBack, plan.left_for_a_person(None));
            return (Outcome::NeedsAttention, account.noting(backup_in_memory(shared, plan)));
        }
        None if seen.is_some() => gone(shared, id),
        None => format!("; whether {} was extended is not known, see lvs", plan.lv),
    };
    let unknown = unknown + &outdated_copies(plan, seen.as_ref()) + cause(plan, seen.as_ref());
    let left = plan.left_for_a_person(seen.as_ref());
    // The plan's own commands failed once; others come first because they mend what is in the way.
    let next = if plan.are_its_own(&left) { Next::WhenMended } else { Next::Now };
    let then = seen.as_ref().filter(|_| left.is_empty()).and_then(|inventory| plan.after_it_is_back(inventory));
    let account = Account::of(format!("{sentence}{unknown}")).with(next, left);
    let account = account.noting(then).noting(backup_in_memory(shared, plan));
    (Outcome::NeedsAttention, account.after_replay(seen.and_then(|seen| replayed(shared, id, plan, &seen))))
}

/// Of an operation that extended nothing. Disks that gave their room to the group keep it there: that harms nothing,
/// and the next growth finds it.
pub(super) fn unchanged(shared: &Shared, id: OperationId, plan: &Plan) -> String {
    let state = shared.state();
    let done = state.running.get(&id).map_or(&[][..], |running| &running.done);
    let done = done.iter().filter_map(|number| plan.steps.get(*number)).filter(|step| step.is_supply());
    let done: Vec<String> = done.map(|step| format!("{step}{}", undo(step))).collect();
    if done.is_empty() {
        return "nothing was changed".to_owned();
    }
    format!("no volume was changed, and {} keeps the room that it was given: {}", plan.lv.vg, done.join("; "))
}

/// How a person takes a spare back.
fn undo(step: &Step) -> String {
    match step {
        Step::ExtendGroup { vg, pv, .. } => {
            format!(" (while nothing lies on it, it is taken back with: vgreduce {vg} {})", shell_word(pv))
        }
        _ => String::new(),
    }
}

/// The state in which a step left the volume, where that tells why its commands differ from what was planned.
fn cause(plan: &Plan, seen: Option<&Inventory>) -> &'static str {
    match seen {
        Some(seen) if plan.is_refused_by_kernel(seen) => {
            "; LVM has recorded the new size, the kernel did not take it and keeps the old one, so nothing is in the new extents"
        }
        Some(seen) if plan.is_too_coarse(seen) => "; nothing is in the new extents, so they can be given back",
        _ => "",
    }
}

/// What somebody must know who is about to repair something.
fn outdated_copies(plan: &Plan, seen: Option<&Inventory>) -> String {
    let fs = seen.zip(plan.fs.as_ref()).and_then(|(seen, fs)| seen.filesystem_at(&fs.mount_point));
    let copies = fs.filter(|fs| fs.outdated_copies.is_some()).and_then(|fs| fs.kind()?.about().copies.as_ref());
    copies.map_or(String::new(), |copies| format!("; {}", copies.warning))
}

/// What to do about a volume that is gone half-way.
fn gone(shared: &Shared, id: OperationId) -> String {
    let state = shared.state();
    let extends = |step: &Step| matches!(step, Step::ExtendLv { .. } | Step::ExtendPoolMetadata { .. });
    let extended = state
        .running
        .get(&id)
        .is_some_and(|running| running.done.iter().filter_map(|number| running.plan.steps.get(*number)).any(extends));
    let had = if extended { "had" } else { "may have" };
    let renamed = "if it was renamed, mount it again, grow its file system by hand and correct lv_path";
    format!("; it {had} been extended before: {renamed}; if it was removed, take it out of monitor.targets")
}

/// `e2fsck` was started and did not end well: it may have mended a part.
fn is_half_checked(shared: &Shared, id: OperationId) -> bool {
    let state = shared.state();
    let Some(running) = state.running.get(&id) else { return false };
    let is_check = |number: &&usize| matches!(running.plan.steps.get(**number), Some(Step::CheckUnmounted { .. }));
    running.started.iter().filter(is_check).any(|number| !running.done.contains(number))
}

/// Whether a command was started that changes more than a backup file.
fn may_have_changed(shared: &Shared, id: OperationId) -> bool {
    let state = shared.state();
    let Some(running) = state.running.get(&id) else { return true };
    let changes_none =
        |number: &usize| running.plan.steps.get(*number).is_some_and(|step| step.is_supply() || is_backup(step));
    !running.started.iter().all(changes_none)
}

fn is_backup(step: &Step) -> bool {
    matches!(step, Step::BackupMetadata { .. })
}

/// What a person must know of a backup that could not be where it should be.
fn backup_in_memory(shared: &Shared, plan: &Plan) -> Option<String> {
    let [_, in_memory] = shared.config().backup_folders();
    let file = plan.backup().filter(|file| file.starts_with(in_memory))?;
    Some(format!("the metadata backup {} is gone after a reboot, copy it", file.display()))
}

/// The growth that was started before the host booted, if its file system is mounted and of a kind of which somebody
/// must then know something. Whether it was in the log, and the log had to be replayed, nobody can know any more.
fn replayed(shared: &Shared, id: OperationId, plan: &Plan, seen: &Inventory) -> Option<Replayed> {
    let fs = plan.fs.as_ref().filter(|fs| fs.kind.about().after_replay.is_some())?;
    let device = seen.device_of_file_system(seen.lv(&plan.lv).filter(|lv| lv.uuid == plan.lv_uuid)?)?;
    let is_mounted = seen.mount_at(&fs.mount_point).is_some_and(|mount| mount.device == device);
    let started = shared.state().running.get(&id)?.growth_started?;
    let has_booted = shared.host.moment().is_in_another_boot(&started);
    (is_mounted && has_booted).then(|| Replayed { kind: fs.kind, mount_point: fs.mount_point.clone() })
}

pub(super) fn grown(shared: &Shared, id: OperationId, plan: &Plan, inventory: &Inventory) -> Account {
    let lv = inventory.lv(&plan.lv).filter(|lv| lv.uuid == plan.lv_uuid);
    let now = lv.and_then(|lv| lv.size).unwrap_or(plan.after.bytes(plan.extent_size));
    let before = plan.before.bytes(plan.extent_size);
    // Where only the file system had to catch up it is the file system that grew.
    let mut sentence = match plan.growth() {
        Bytes::ZERO => format!("the file system on {} ({now}) grew", plan.lv),
        _ => format!("{} grew from {before} to {now}", plan.lv),
    };
    if let Some(metadata) = plan.metadata {
        let now = lv.and_then(|lv| lv.metadata_size).unwrap_or(metadata.after);
        sentence.push_str(&format!(", its metadata from {} to {now}", metadata.before));
    }
    for step in plan.supply() {
        sentence.push_str(&match step {
            Step::ExtendGroup { vg, pv, .. } => format!(", with the spare {pv}, which is part of {vg} now"),
            Step::ResizePv { pv, .. } => format!(", with the room by which the disk under {pv} had become larger"),
            _ => String::new(),
        });
    }
    if let Some(fs) = &plan.fs {
        let seen = inventory.filesystem_of(&plan.lv, &fs.mount_point);
        let its_own =
            |seen: &FileSystem| lv.is_some_and(|lv| inventory.device_of_file_system(lv) == Some(seen.mount.device));
        let usage = seen.filter(its_own).and_then(|fs| fs.usage);
        let (point, before) = (&fs.mount_point, fs.usable_before);
        sentence.push_str(&match usage {
            Some(usage) => format!(", {point} from {before} to {}, now {} full", usage.size, usage.percent()),
            None => format!(", and so did the file system for {point}; how full it is shows when it is mounted"),
        });
    }
    Account::of(sentence).noting(backup_in_memory(shared, plan)).after_replay(replayed(shared, id, plan, inventory))
}
