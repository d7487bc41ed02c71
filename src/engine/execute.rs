//! Carries a plan out, step by step. The same code runs a new plan and one that a crash interrupted: for each step it
//! looks whether the goal is reached already, and only if not does it run the command.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::{Shared, ending};
use crate::command::Command;
use crate::host::{Focus, glance, look};
use crate::inventory::{Inventory, Lv, Pv, Superblock};
use crate::journal::{Account, Event, JournalError, Running};
use crate::name::{OperationId, VgName};
use crate::plan::backup::outdated;
use crate::plan::{FsKind, Outcome, Plan, PlannedFs, Step};
use crate::units::Bytes;

/// How often to look again when LVM gives no report between two steps, and how long to wait in between.
const LOOKS: usize = 5;
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// How often, and after how long, to look again while the file system does not say how large it is. On a disk that is
/// busy, as with what the growth itself writes, one `statvfs` may take seconds; a minute without an answer is for a
/// person.
const USAGE_LOOKS: usize = 30;
const USAGE_AGAIN: Duration = Duration::from_secs(2);

/// How often, and after how long, to look again when a command ended and its goal is not reached.
const SETTLE_LOOKS: usize = 3;
const SETTLE: Duration = Duration::from_secs(2);

/// Why an operation stops before its end.
pub(super) enum Stop {
    /// Something is not as it should be; in a sentence.
    Obstacle(String),
    /// The daemon is stopping; the rest is for its next start.
    Interrupted,
    /// The journal cannot be written, so nothing more may be done.
    Journal(JournalError),
}

impl From<JournalError> for Stop {
    fn from(error: JournalError) -> Stop {
        Stop::Journal(error)
    }
}

/// Runs what is left of an operation that the journal has as planned; `seen` is what was just looked at, if it was.
/// `None`: the daemon is stopping and the operation stays open in the journal.
pub(super) fn execute(
    shared: &Arc<Shared>,
    id: OperationId,
    seen: Option<Inventory>,
) -> Result<Option<Outcome>, JournalError> {
    let Some(running) = shared.journal().state().running.get(&id).cloned() else {
        tracing::error!(operation = %id, "there is no such operation");
        return Ok(None);
    };
    let done = running.all_done();
    let plan = running.plan;
    let (outcome, account) = if running.recommend {
        (Outcome::Recommended, ending::recommendation(&plan))
    } else if running.dry_run {
        (Outcome::DryRun, ending::dry_run(id, &plan))
    } else if let Some(seen) = seen.as_ref().filter(|seen| done && still_applies(&plan, seen).is_err()) {
        // Only the last record is missing. What somebody did since then is no failure of this.
        (Outcome::Grown, ending::grown(shared, id, &plan, seen))
    } else {
        let result = steps(shared, id, &plan, seen);
        shared.metrics.step_ended(&plan.lv);
        match result {
            Ok(inventory) => (Outcome::Grown, ending::grown(shared, id, &plan, &inventory)),
            Err(Stop::Obstacle(sentence)) => ending::after_obstacle(shared, id, &plan, &sentence),
            Err(Stop::Interrupted) => return Ok(None),
            Err(Stop::Journal(error)) => return Err(error),
        }
    };
    finish(shared, id, &plan, outcome, account)?;
    Ok(Some(outcome))
}

/// Ends an operation that was interrupted before it changed anything and is not wanted any more.
pub(super) fn abandon(shared: &Shared, id: OperationId, plan: &Plan, why: &str) -> Result<(), JournalError> {
    let unchanged = ending::unchanged(shared, id, plan);
    let sentence = format!("interrupted, and not resumed: {why}; {unchanged}");
    finish(shared, id, plan, Outcome::Failed, Account::of(sentence))
}

fn finish(
    shared: &Shared,
    id: OperationId,
    plan: &Plan,
    outcome: Outcome,
    account: Account,
) -> Result<(), JournalError> {
    let now = shared.host.moment();
    let sentence = account.to_string();
    shared.journal().append(now, vec![Event::Finished { id, outcome, account }])?;
    let grown = if outcome == Outcome::Grown { plan.growth() } else { Bytes::ZERO };
    shared.metrics.finished(&plan.lv, outcome, grown, now.at);
    if shared.config().target(&plan.lv).is_none() {
        shared.metrics.forget_target(&plan.lv);
    }
    let (lv, outcome_name) = (plan.lv.to_string(), outcome.as_str());
    match outcome {
        Outcome::Grown | Outcome::DryRun => tracing::info!(operation = %id, lv, outcome = outcome_name, "{sentence}"),
        Outcome::Recommended => tracing::warn!(operation = %id, lv, outcome = outcome_name, "{sentence}"),
        Outcome::Failed | Outcome::NeedsAttention => {
            tracing::error!(operation = %id, lv, outcome = outcome_name, "{sentence}")
        }
    }
    shared.refresh();
    Ok(())
}

/// All steps in order; the last look at the host if they all reached their goals. A command that failed although its
/// goal was reached may well be the cause of what stops the operation after it, so its words are kept.
fn steps(shared: &Arc<Shared>, id: OperationId, plan: &Plan, seen: Option<Inventory>) -> Result<Inventory, Stop> {
    let mut failed = Vec::new();
    each_step(shared, id, plan, seen, &mut failed).map_err(|stop| match stop {
        Stop::Obstacle(sentence) if !failed.is_empty() => {
            Stop::Obstacle(format!("{sentence}; before that, {}", failed.join("; ")))
        }
        other => other,
    })
}

fn each_step(
    shared: &Arc<Shared>,
    id: OperationId,
    plan: &Plan,
    seen: Option<Inventory>,
    failed: &mut Vec<String>,
) -> Result<Inventory, Stop> {
    let mut inventory = seen.map_or_else(|| fresh(shared, plan), Ok)?;
    let mut is_whole = true;
    for (number, step) in plan.steps.iter().enumerate() {
        if shared.is_stopping() {
            return Err(Stop::Interrupted);
        }
        if plan.fs.as_ref().is_some_and(|fs| fs.offline) {
            (inventory, is_whole) = (at_rest(shared, plan)?, true);
        }
        // A glance may confirm what our own command said it did, but nobody else's work. A check is no work: what it
        // looks at is the kernel's, and a glance reads it anew.
        // Nor does it show what became of a disk.
        if !is_whole && (step.is_supply() || step.command().is_some() && step.is_done(&inventory)) {
            (inventory, is_whole) = (fresh(shared, plan)?, true);
        }
        still_applies(plan, &inventory)?;
        // A backup made after the extension would overwrite the one from before it.
        let has_begun = !plan.has_not_begun(&inventory) || plan.supply().any(|step| step.is_done(&inventory));
        let too_late = matches!(step, Step::BackupMetadata { .. }) && has_begun;
        if too_late || step.is_done(&inventory) {
            flush_copies(shared, step, &inventory);
            shared.journal().append(shared.host.moment(), vec![Event::Done { id, step: number }])?;
            tracing::info!(operation = %id, step = step.as_str(), "already done: {step}");
            continue;
        }
        if let Some(why) = step.obstacle(&inventory) {
            return Err(Stop::Obstacle(format!("the step to {step} is not begun, {why}")));
        }
        if matches!(step, Step::GrowFilesystem { .. }) {
            flush_metadata(shared, plan, &inventory)?;
        }
        shared.metrics.step_started(&plan.lv, step.as_str());
        shared.journal().append(shared.host.moment(), vec![Event::Started { id, step: number }])?;
        let started = Instant::now();
        if let Step::BackupMetadata { file, .. } = step {
            make_folder_of(shared, file)?;
        }
        let said = run(shared, id, number, step, step.command_for(&inventory))?;
        (inventory, is_whole) = settled(shared, plan, step, &said, &inventory)?;
        // Here the exit code counts as well: 0 is clean, 1 mended, all else is for a person.
        let unsound = matches!(step, Step::CheckUnmounted { .. }) && !matches!(said.code, Some(0 | 1));
        if unsound || !reached(shared, plan, step, &inventory) {
            return Err(Stop::Obstacle(format!("the step to {step} did not reach its goal: {}", said.sentence)));
        }
        if said.code.is_some_and(|code| code != 0) {
            failed.push(said.sentence);
        }
        flush_copies(shared, step, &inventory);
        shared.metrics.step_done(step.as_str(), started.elapsed());
        shared.journal().append(shared.host.moment(), vec![Event::Done { id, step: number }])?;
        tracing::info!(operation = %id, step = step.as_str(), "done: {step}");
        if let Step::BackupMetadata { vg, .. } = step {
            delete_outdated(shared, vg);
        }
    }
    if plan.fs.is_none() {
        flush_metadata(shared, plan, &inventory)?;
    }
    Ok(inventory)
}

/// LVM writes its metadata with O_DIRECT and flushes nothing (2.03.16, seen with dm-log-writes from `pvcreate` to
/// `lvextend`). What a file system flushes afterwards goes to the disks it is on, which are not always those with the
/// metadata (`pvcreate --metadatacopies 0`): a power cut could leave a file system that has grown on a volume that has
/// not. So the extension is on disk before a file system may rely on it, and before a pool counts as grown.
fn flush_metadata(shared: &Shared, plan: &Plan, inventory: &Inventory) -> Result<(), Stop> {
    let in_group = |pv: &&Pv| pv.vg.as_ref() == Some(&plan.lv.vg) && pv.missing != Some(true);
    for pv in inventory.pvs.iter().filter(in_group) {
        let flush = || {
            let device = shared.host.block_device(Path::new(&pv.name));
            device.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound)).and_then(|device| shared.host.flush(device))
        };
        let mut tries = 1;
        // A disk under load may take long.
        while let Err(error) = flush() {
            if tries >= LOOKS {
                return Err(Stop::Obstacle(format!(
                    "the cache of {} cannot be flushed, so that a power cut could undo the extension: {error}",
                    pv.name
                )));
            }
            tracing::warn!(lv = %plan.lv, "the cache of {} cannot be flushed, trying again: {error}", pv.name);
            shared.pause(LOOK_AGAIN);
            if shared.is_stopping() {
                return Err(Stop::Interrupted);
            }
            tries += 1;
        }
    }
    Ok(())
}

/// All else that a growth writes is flushed by the file systems themselves; copies of a superblock are not
/// (`xfs_update_secondary_sbs`), and after the last record nobody looks at them again.
fn flush_copies(shared: &Shared, step: &Step, inventory: &Inventory) {
    let Some(mount_point) = step.leaves_copies() else { return };
    let Some(fs) = inventory.filesystem_at(mount_point) else { return };
    if let Err(error) = shared.host.flush(fs.mount.device) {
        tracing::warn!("the cache of the device under {mount_point} could not be flushed: {error}");
    }
}

/// A daemon that was killed leaves the command behind that it waited for. It is waited for here, before anybody looks:
/// what it does is not done yet, and the same must not run beside it. `false`: the daemon is stopping.
pub(super) fn wait_for_left_behind(shared: &Shared, id: OperationId, running: &Running) -> bool {
    let open = running.started.iter().filter(|number| !running.done.contains(number));
    let open: Vec<&Step> = open.filter_map(|number| running.plan.steps.get(*number)).collect();
    let mut commands: Vec<Command> = open.iter().filter_map(|step| step.command()).collect();
    // Only a look tells which of two it may have been.
    if open.iter().any(|step| step.leaves_copies().is_some())
        && let Ok(seen) = look(shared.host.as_ref(), Focus::Volume(&running.plan.lv))
    {
        let others: Vec<Command> = open.iter().filter_map(|step| step.command_for(&seen)).collect();
        commands.extend(others.into_iter().filter(|command| !commands.contains(command)).collect::<Vec<_>>());
    }
    for command in commands {
        if shared.host.is_running(&command) {
            tracing::warn!(operation = %id, command = %command, "a command from before the restart still runs: waiting for it to end");
            shared.metrics.overdue(command.name(), true);
            while shared.host.is_running(&command) && !shared.is_stopping() {
                shared.pause(SETTLE);
            }
            shared.metrics.overdue(command.name(), false);
        }
    }
    !shared.is_stopping()
}

/// A look at a file system that must not be in use. When a device was written to, udev opens it for a moment.
fn at_rest(shared: &Shared, plan: &Plan) -> Result<Inventory, Stop> {
    let mut inventory = fresh(shared, plan)?;
    for _ in 0..SETTLE_LOOKS {
        if inventory.lv(&plan.lv).is_none_or(|lv| lv.open != Some(true)) {
            break;
        }
        settle(shared)?;
        inventory = fresh(shared, plan)?;
    }
    Ok(inventory)
}

fn make_folder_of(shared: &Shared, file: &Path) -> Result<(), Stop> {
    let Some(folder) = file.parent() else { return Ok(()) };
    let made = shared.host.make_private_folder(folder);
    made.map_err(|error| Stop::Obstacle(format!("{} cannot be made: {error}", folder.display())))
}

/// After a new backup was made: of the old ones of its group only so many are kept. A file that cannot be deleted is no
/// reason to stop.
fn delete_outdated(shared: &Shared, vg: &VgName) {
    let config = shared.config();
    let needed: BTreeSet<PathBuf> = {
        let journal = shared.journal();
        let state = journal.state();
        let plans = state.running.values().map(|running| &running.plan);
        plans.chain(state.parked.values().map(|parked| &parked.plan)).filter_map(Plan::backup).cloned().collect()
    };
    for folder in config.backup_folders() {
        for file in outdated(&shared.host.files_in(&folder), vg, config.backups_kept, &needed, shared.host.now()) {
            match shared.host.remove_file(&file) {
                Ok(()) => tracing::debug!(file = %file.display(), "deleted an old metadata backup"),
                Err(error) => {
                    tracing::warn!(file = %file.display(), "an old metadata backup cannot be deleted: {error}")
                }
            }
        }
    }
}

/// A look after a command. If a glance does not show that its goal is reached, whole looks decide, and a few of them: a
/// command that a killed daemon left behind may be at work on the same thing, and make ours fail. Also whether it was a
/// whole one.
///
/// Can a glance show a new size that LVM's metadata on disk do not have? `lvextend` writes them beside the old ones,
/// loads the new table into the kernel's second slot, suspends the device, commits, and resumes it, which puts the
/// table in force (`lv_update_and_reload` in lib/metadata/lv_manip.c, the same from 2.02 to 2.03.39). So a device that
/// is not suspended and has the new size was resumed after the commit, in all cases but two: LVM resumes as well after
/// a commit that failed, and who resumes by hand (`dmsetup resume`) what an `lvextend` killed before its commit left
/// suspended puts that table in force too. In both `lvextend` does not exit with 0, for which a commit must have
/// reached one metadata area at least. Therefore only a command that says it succeeded is believed after a glance;
/// after any other LVM is asked, which reads from disk. A volume that is not active has no device and a pool's has
/// another UUID: `None`, and LVM is asked. One thing neither shows: whether a disk with a volatile cache has it on its
/// platters.
fn settled(
    shared: &Shared,
    plan: &Plan,
    step: &Step,
    said: &Said,
    last: &Inventory,
) -> Result<(Inventory, bool), Stop> {
    if said.code == Some(0)
        && let Some(seen) = glance(shared.host.as_ref(), last, &plan.lv)
        && reached(shared, plan, step, &seen)
    {
        return Ok((seen, false));
    }
    let mut inventory = fresh(shared, plan)?;
    for _ in 0..SETTLE_LOOKS {
        if reached(shared, plan, step, &inventory) {
            break;
        }
        settle(shared)?;
        inventory = fresh(shared, plan)?;
    }
    Ok((inventory, true))
}

/// A while until the next look. A daemon that is stopping does not wait that long, and so has not seen enough to say
/// that a goal was not reached: the next start sees it.
fn settle(shared: &Shared) -> Result<(), Stop> {
    shared.pause(SETTLE);
    if shared.is_stopping() { Err(Stop::Interrupted) } else { Ok(()) }
}

/// A whole look. What hangs for a moment is asked again before anybody judges: how large an XFS or a btrfs is only
/// `statvfs` tells.
fn fresh(shared: &Shared, plan: &Plan) -> Result<Inventory, Stop> {
    let (mut tries, mut silent) = (1, 0);
    loop {
        match look(shared.host.as_ref(), Focus::of(plan)) {
            Ok(inventory) if silent < USAGE_LOOKS && is_silent(plan, &inventory) => {
                if shared.is_stopping() {
                    return Err(Stop::Interrupted);
                }
                silent += 1;
                tracing::warn!(lv = %plan.lv, "its file system does not answer, looking again");
                shared.pause(USAGE_AGAIN);
                continue;
            }
            Ok(inventory) => return Ok(inventory),
            Err(_) if shared.is_stopping() => return Err(Stop::Interrupted),
            Err(error) if tries >= LOOKS => {
                return Err(Stop::Obstacle(format!("the state of this host cannot be read: {}", crate::chain(&error))));
            }
            Err(error) => {
                tracing::warn!(lv = %plan.lv, "the state of this host cannot be read, trying again: {}", crate::chain(&error))
            }
        }
        tries += 1;
        shared.pause(LOOK_AGAIN);
    }
}

/// The file system of the plan is mounted where it should be and does not say how large it is.
fn is_silent(plan: &Plan, inventory: &Inventory) -> bool {
    let point = plan.fs.as_ref().map(|fs| &fs.mount_point);
    point.and_then(|point| inventory.filesystem_at(point)).is_some_and(|fs| fs.usage.is_none())
}

/// The goal of a backup is a file; of all others something that an inventory shows. A file system must also be larger
/// than before for whoever uses it.
fn reached(shared: &Shared, plan: &Plan, step: &Step, inventory: &Inventory) -> bool {
    let usable = |fs: &PlannedFs| {
        inventory.filesystem_of(&plan.lv, &fs.mount_point).and_then(|fs| fs.usage).map(|usage| usage.size)
    };
    match step {
        Step::BackupMetadata { file, .. } => shared.host.file_size(file).is_some_and(|size| size > 0),
        Step::GrowFilesystem { .. } => {
            // resize2fs leaves it to the kernel to count the tables again at the next mount: no usage can be told then.
            let unknown = |fs: &PlannedFs| fs.offline && usable(fs).is_none();
            let grew = plan.fs.as_ref().is_some_and(|fs| unknown(fs) || usable(fs) > Some(fs.usable_before));
            grew && step.is_verified(inventory)
        }
        other => other.is_verified(inventory),
    }
}

/// How a command ended.
struct Said {
    sentence: String,
    code: Option<i32>,
}

/// Runs a step's command; what it said, for the sentence if the goal is then not reached.
fn run(
    shared: &Arc<Shared>,
    id: OperationId,
    number: usize,
    step: &Step,
    command: Option<Command>,
) -> Result<Said, Stop> {
    let Some(command) = command else { return Ok(Said { sentence: "nothing was run".to_owned(), code: None }) };
    let command = shared.host.resolved(&command);
    tracing::info!(operation = %id, step = step.as_str(), command = %command, "running");
    let told = AtomicBool::new(false);
    let overdue = || {
        told.store(true, Ordering::Relaxed);
        shared.metrics.overdue(command.name(), true);
        tracing::warn!(operation = %id, command = %command, "takes longer than expected; it is left to run");
        let late = vec![Event::Overdue { id, step: number }];
        if let Err(error) = shared.journal().append(shared.host.moment(), late) {
            tracing::error!(operation = %id, "cannot record that a command is overdue: {}", crate::chain(&error));
        }
    };
    let ran = shared.host.run(&command, &overdue);
    if told.into_inner() {
        shared.metrics.overdue(command.name(), false);
    }
    match ran {
        // The exit code is no verdict: `lvextend` to the size that is there already exits with 5.
        Ok(output) if output.succeeded() => {
            Ok(Said { sentence: format!("{} said it succeeded", command.name()), code: output.code })
        }
        Ok(output) => Ok(Said { sentence: format!("{} {}", command.name(), output.complaint()), code: output.code }),
        Err(error) => Err(Stop::Obstacle(crate::chain(&error))),
    }
}

/// The volume is the one that was planned for, and what is mounted at the target's place is still on it.
pub(super) fn still_applies(plan: &Plan, inventory: &Inventory) -> Result<(), Stop> {
    let stop = |sentence: String| Err(Stop::Obstacle(sentence));
    let (name, group) = (&plan.lv, inventory.vg(&plan.lv.vg));
    let Some(lv) = inventory.lv(name) else {
        return stop(match group {
            Some(_) => format!("{name} is gone"),
            None => format!("the volume group {} is gone, and {name} with it", name.vg),
        });
    };
    if lv.uuid != plan.lv_uuid {
        return stop(format!("{name} is another volume now than the one planned for, its UUID is {}", lv.uuid));
    }
    let Some(fs) = &plan.fs else {
        let is_pool = lv.is_layout("pool") && lv.active == Some(true);
        return if is_pool { Ok(()) } else { stop(format!("{name} is no active thin pool any more")) };
    };
    if group.is_some_and(|vg| vg.exported == Some(true)) {
        return stop(format!("the volume group {} is exported", name.vg));
    }
    if lv.active == Some(false) {
        return stop(format!("{name} is not active any more"));
    }
    // A suspended device, a stray name and a read-only mount matter only where something is left to be written.
    let is_left = !plan.is_reached(inventory);
    // Whoever writes to it waits until it is resumed, and nothing may be ended that waits.
    if lv.suspended == Some(true) && is_left {
        return stop(format!("{name} is suspended, as by an LVM command that failed or was killed"));
    }
    let mapping = inventory.mapping_on(name);
    if let Some(mapping) = mapping.filter(|mapping| mapping.suspended && is_left) {
        return stop(format!("the mapping {} on {name} is suspended", mapping.name));
    }
    if fs.mapping.as_deref() != mapping.map(|mapping| mapping.name.as_str()) && is_left {
        return stop(match &fs.mapping {
            Some(planned) => format!("the mapping {planned} is not on {name} any more, or under another name"),
            None => format!("a mapping is on {name} now"),
        });
    }
    if plan.is_too_coarse(inventory) {
        return stop(format!(
            "the logical block size of {name} is larger now than the {} on it bears, so it must not stay on these disks",
            fs.kind.as_str()
        ));
    }
    let point = &fs.mount_point;
    if let Some(stray) = inventory.filesystem_of(name, point).and_then(|fs| fs.stray_name)
        && is_left
    {
        let tool = fs.kind.about().grower.as_str();
        return stop(format!(
            "{stray}, by which {tool} would go, does not lead to {name}: unmount all that is at {point}"
        ));
    }
    if fs.offline {
        return still_unmounted(plan, fs.kind, lv, inventory).map_err(Stop::Obstacle);
    }
    let device = inventory.device_of_file_system(lv);
    match inventory.mount_at(point) {
        None => match inventory.mounts.iter().find(|mount| Some(mount.device) == device) {
            Some(mount) => stop(format!("{name} is mounted at {} now, not at {point}", mount.mount_point)),
            None => stop(format!("nothing is mounted at {point} any more")),
        },
        Some(mount) if Some(mount.device) != device => {
            stop(format!("{} is mounted at {point} now, not {name}", mount.source))
        }
        Some(mount) if FsKind::from_name(&mount.fs_type) != Some(fs.kind) => {
            stop(format!("at {point} there is a new {}, not the {} planned for", mount.fs_type, fs.kind.as_str()))
        }
        Some(mount) if mount.read_only && is_left => stop(format!("{point} is mounted read-only now")),
        Some(_) => Ok(()),
    }
}

/// Whoever mounts it, opens it, or uses it as swap space meanwhile has it for himself.
fn still_unmounted(plan: &Plan, kind: FsKind, lv: &Lv, inventory: &Inventory) -> Result<(), String> {
    let name = &plan.lv;
    if let Some(mount) = inventory.mounts.iter().find(|mount| Some(mount.device) == lv.device) {
        return Err(format!("{name} is mounted at {} now", mount.mount_point));
    }
    if lv.open != Some(false) {
        return Err(format!("{name} is open: somebody works on it, see fuser -v {}", lv.dm_path));
    }
    match &inventory.users {
        Some(users) if users.holders.is_empty() && !users.is_swap => {}
        _ => return Err(format!("{name} is used by another device, or as swap space, or that cannot be read")),
    }
    match &inventory.unmounted {
        Some(found) if found.superblock.as_ref().map(Superblock::kind) == Some(kind) => Ok(()),
        _ => Err(format!("the superblock of {name} cannot be read as that of an {} any more", kind.as_str())),
    }
}
