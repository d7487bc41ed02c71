//! One request from the queue to its end: look, decide, write down, do.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::{Shared, execute};
use crate::command::Tool;
use crate::config::{Config, Mode, Rescan, Target};
use crate::host::{Focus, key, look};
use crate::inventory::{FileSystem, Inventory, Mount};
use crate::journal::{Event, JournalError, Parked, Source};
use crate::name::{LvRef, OperationId, VgName};
use crate::plan::guard::Verdicts;
use crate::plan::{Code, Evaluation, Outcome, Plan, Refusal, Step, Wish, applied_to, plan_for};
use crate::units::Bytes;

/// How long to wait after LVM gave no report.
const LOOK_AGAIN: Duration = Duration::from_secs(15);

/// How often to look again, and after how long, while a file system does not say how large it is, or is frozen: on a
/// busy disk it may take longer once, and an alert that was accepted and is refused then does not come again for hours.
const USAGE_LOOKS: usize = 3;
const USAGE_AGAIN: Duration = Duration::from_secs(2);

/// The pipeline. Everything it does to the host or the journal happens on the caller's thread.
pub struct Pipeline(pub Arc<Shared>);

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// It was refused.
    Refused(Refusal),
    /// It was carried out, with this outcome.
    Operation(OperationId, Outcome),
    /// The daemon stopped first; the next start goes on.
    Interrupted,
}

impl Pipeline {
    /// Decides about a request, and carries the decision out. `request` is its number if the journal has it as
    /// received.
    pub fn request(&self, request: Option<u64>, lv: &LvRef, source: Source) -> Result<Ended, JournalError> {
        self.decide_and_do(request, lv, source, Wish::Usage)
    }

    /// The same for a person, who may say by how much.
    pub fn ask(&self, lv: &LvRef, by: Option<Bytes>) -> Result<Ended, JournalError> {
        self.decide_and_do(None, lv, Source::Person, Wish::Person { by })
    }

    fn decide_and_do(
        &self,
        request: Option<u64>,
        lv: &LvRef,
        source: Source,
        wish: Wish,
    ) -> Result<Ended, JournalError> {
        let shared = &self.0;
        let _hold = shared.hold();
        let config = shared.config();
        // The config changed while the request waited.
        let gone = |config: &Config| {
            let sentence = format!("{} any more", config.not_a_target(lv));
            self.refuse(request, lv, source, None, Refusal::new(Code::UnknownTarget, sentence))
        };
        if config.target(lv).is_none() && config.policies.is_empty() {
            return gone(&config);
        }
        // Only a restart finds it, so there is nothing to wait for.
        if shared.host.missing_tools().contains(&Tool::Lvm) {
            let sentence = format!("lvm is not installed, {}: install it, or set tools.lvm", Tool::Lvm.disables());
            return self.refuse(request, lv, source, None, Refusal::new(Code::FsUnsupported, sentence));
        }
        let parked = shared.state().parked.get(lv).map(|parked| parked.id);
        let group = config.volume_group(&lv.vg);
        let focus = Focus::to_decide(lv, &config);
        let Some(mut inventory) = self.look(focus) else { return Ok(Ended::Interrupted) };
        // What policies select is read off this very look.
        let mut config = applied_to(&config, &inventory, lv);
        let Some(mut target) = config.target(lv).cloned() else { return gone(&config) };
        if let Some(id) = parked {
            self.clear_if_mended(lv, id, &inventory)?;
        }
        let mut evaluation = self.decide(wish, &target, &inventory, &config);
        let look_again = |config: &Arc<Config>| {
            let inventory = self.look(focus)?;
            Some((applied_to(config, &inventory, lv), inventory))
        };
        if lacks(&evaluation) && group.is_some_and(|group| group.rescan == Rescan::On) {
            self.rescan(&inventory, &lv.vg);
            let Some(again) = look_again(&config) else { return Ok(Ended::Interrupted) };
            (config, inventory) = again;
            let Some(still) = config.target(lv).cloned() else { return gone(&config) };
            target = still;
            evaluation = self.decide(wish, &target, &inventory, &config);
        }
        if let Some((pool, by)) = evaluation.pool.clone().filter(|(pool, _)| pool_may_grow(&config, pool)) {
            tracing::info!(%lv, %pool, %by, "its pool is to grow first");
            let ended = self.decide_and_do(None, &pool, source, Wish::Volume { by })?;
            if ended == Ended::Interrupted {
                return Ok(Ended::Interrupted);
            }
            let Some(again) = look_again(&config) else { return Ok(Ended::Interrupted) };
            (config, inventory) = again;
            let Some(still) = config.target(lv).cloned() else { return gone(&config) };
            target = still;
            evaluation = self.decide(wish, &target, &inventory, &config);
            if let (Err(refusal), Ended::Refused(of_pool)) = (&mut evaluation.decision, ended) {
                let sentence = format!("{}; {pool} is a target too, and refused: {of_pool}", refusal.sentence);
                let lack = of_pool.lack.or(refusal.lack.take());
                *refusal = Refusal { lack, ..Refusal::new(refusal.code, sentence) };
            }
        }
        let Evaluation { verdicts, decision, .. } = evaluation;
        let checked = Event::Checked { request, lv: lv.clone(), source, guards: Verdicts::of(&verdicts) };
        match decision {
            Err(refusal) => self.refuse(request, lv, source, Some(checked), refusal),
            Ok(plan) => {
                let recommend = plan.is_recommended(&target, &config) && !wish.is_a_persons();
                self.carry_out(request, checked, plan, recommend, inventory)
            }
        }
    }

    /// Goes on with an operation that a crash or a stop interrupted. That may have been days ago and under another
    /// config: as long as the volume was not extended, the guards are asked again.
    pub fn resume(&self, id: OperationId) -> Result<(), JournalError> {
        let shared = &self.0;
        let _hold = shared.hold();
        let Some(running) = shared.journal().state().running.get(&id).cloned() else { return Ok(()) };
        if shared.dry_run && !running.dry_run && !running.recommend {
            tracing::warn!(operation = %id, "a real operation was interrupted; a dry run leaves it to the next real start");
            return Ok(());
        }
        if running.recommend {
            return execute::execute(shared, id, None).map(drop);
        }
        if !execute::wait_for_left_behind(shared, id, &running) {
            return Ok(());
        }
        let done = running.all_done();
        let plan = running.plan;
        let config = shared.config();
        let focus = match Focus::of(&plan) {
            // The guards may be asked again.
            Focus::Volume(lv) => Focus::to_decide(lv, &config),
            all => all,
        };
        let Some(inventory) = self.look(focus) else { return Ok(()) };
        if !done
            && plan.has_not_begun(&inventory)
            && let Err(why) = self.still_wanted(&plan, &inventory)
        {
            return execute::abandon(shared, id, &plan, &why);
        }
        tracing::warn!(operation = %id, "resuming an operation that was interrupted");
        execute::execute(shared, id, Some(inventory)).map(drop)
    }

    /// Whether the same would be decided now, or more; if not, why.
    fn still_wanted(&self, plan: &Plan, inventory: &Inventory) -> Result<(), String> {
        let shared = &self.0;
        let config = applied_to(&shared.config(), inventory, &plan.lv);
        let Some(target) = config.target(&plan.lv) else {
            return Err(format!("{} any more", config.not_a_target(&plan.lv)));
        };
        if target.mode != Mode::Act {
            return Err(format!("the mode of {} is {} now", plan.lv, target.mode.as_str()));
        }
        let mut history = shared.journal().state().history(shared.dry_run);
        history.open.remove(&plan.lv);
        let point = |plan: &Plan| plan.fs.as_ref().map(|fs| fs.mount_point.clone());
        let metadata = |plan: &Plan| plan.metadata.map_or(Bytes::ZERO, |metadata| metadata.after);
        let decided = key::decide(shared.host.as_ref(), target, &config, inventory, |inventory| {
            crate::plan::plan(target, inventory, &config, &history, shared.host.moment())
        });
        match decided.decision {
            Err(refusal) => Err(format!("now it is refused, {refusal}")),
            Ok(now) if point(&now) != point(plan) || now.after < plan.after || metadata(&now) < metadata(plan) => {
                let place = point(&now).map_or(String::new(), |point| format!(" at {point}"));
                Err(format!("{}{place} would be decided now", now.after))
            }
            Ok(now) if now.is_recommended(target, &config) => Err("it would only be recommended now".to_owned()),
            Ok(now) if takes(&now) != takes(plan) => Err("other disks would be taken now".to_owned()),
            Ok(_) => Ok(()),
        }
    }

    fn decide(&self, wish: Wish, target: &Target, inventory: &Inventory, config: &Config) -> Evaluation {
        let shared = &self.0;
        let history = shared.journal().state().history(shared.dry_run);
        key::decide(shared.host.as_ref(), target, config, inventory, |inventory| {
            plan_for(wish, target, inventory, config, &history, shared.host.moment())
        })
    }

    fn carry_out(
        &self,
        request: Option<u64>,
        checked: Event,
        plan: Plan,
        recommend: bool,
        seen: Inventory,
    ) -> Result<Ended, JournalError> {
        let shared = &self.0;
        let (lv, before, after, reason) = (plan.lv.clone(), plan.before, plan.after, plan.reason.clone());
        let warnings = plan.warnings.clone();
        shared.standing.ends(&plan.lv);
        let id = {
            let mut journal = shared.journal().writer();
            let id = OperationId(journal.next_number());
            let planned = Event::Planned { id, request, plan: Box::new(plan), dry_run: shared.dry_run, recommend };
            journal.append(shared.host.moment(), vec![checked, planned])?;
            id
        };
        tracing::info!(operation = %id, %lv, %before, %after, reason, "planned");
        warnings.iter().for_each(|warning| tracing::warn!(operation = %id, %lv, "{warning}"));
        Ok(execute::execute(shared, id, Some(seen))?
            .map_or(Ended::Interrupted, |outcome| Ended::Operation(id, outcome)))
    }

    /// Writes a refusal down, unless it is only the daemon's own look seeing what it saw before; that is logged again
    /// once in a while.
    fn refuse(
        &self,
        request: Option<u64>,
        lv: &LvRef,
        source: Source,
        checked: Option<Event>,
        refusal: Refusal,
    ) -> Result<Ended, JournalError> {
        let shared = &self.0;
        // A volume that is no target any more has no series.
        shared.metrics.refused(shared.config().target(lv).map(|target| &target.lv), refusal.code);
        let now = shared.host.moment();
        shared.standing.refused(lv, &refusal, now);
        let seen_before = shared.journal().state().last_refusal.get(lv).is_some_and(|last| last.code == refusal.code);
        let only_again = source == Source::Monitor && seen_before;
        // Asked in any case, for it also notes that it is logged.
        if shared.standing.is_to_be_logged(lv, now) || !only_again {
            tracing::warn!(%lv, code = refusal.code.as_str(), ?source, "refused: {}", refusal.sentence);
        }
        if only_again {
            return Ok(Ended::Refused(refusal));
        }
        let refused = Event::Refused { request, lv: Some(lv.clone()), source, refusal: refusal.clone(), more: 0 };
        shared.journal().append(now, checked.into_iter().chain([refused]).collect())?;
        Ok(Ended::Refused(refusal))
    }

    /// Looks at the volume, however often it takes: a request that was accepted is not lost because LVM did not answer
    /// once.
    fn look(&self, focus: Focus<'_>) -> Option<Inventory> {
        let shared = &self.0;
        let lv = focus.volume().map_or(String::new(), ToString::to_string);
        let mut silent = 0;
        while !shared.is_stopping() {
            match look(shared.host.as_ref(), focus) {
                Ok(inventory) if silent < USAGE_LOOKS && inventory.filesystems.iter().any(is_not_itself) => {
                    silent += 1;
                    tracing::warn!(%lv, "its file system does not answer or is frozen, looking again");
                    shared.pause(USAGE_AGAIN);
                    continue;
                }
                Ok(inventory) => return Some(inventory),
                Err(error) => {
                    tracing::error!(%lv, "the state of this host cannot be read, trying again: {}", crate::chain(&error))
                }
            }
            shared.pause(LOOK_AGAIN);
        }
        None
    }

    /// Has the SCSI disks of a group asked how large they are: that a hypervisor or an array has enlarged one it does
    /// not say by itself.
    fn rescan(&self, inventory: &Inventory, vg: &VgName) {
        let host = &self.0.host;
        for pv in inventory.pvs.iter().filter(|pv| pv.vg.as_ref() == Some(vg)) {
            let asked = host.block_device(Path::new(&pv.name)).map(|device| host.rescan(device));
            if let Some(Err(error)) = asked {
                tracing::warn!(%vg, pv = pv.name, "cannot rescan the size of this disk: {error}");
            }
        }
    }

    /// Looks at all that needs attention, so that what a person finished by hand does not need another alert to be
    /// noticed.
    pub fn clear_what_is_mended(&self) -> Result<(), JournalError> {
        let shared = &self.0;
        for (lv, parked) in &shared.state().parked {
            if let Ok(inventory) = look(shared.host.as_ref(), Focus::Volume(lv)) {
                self.clear_if_mended(lv, parked.id, &inventory)?;
            }
        }
        Ok(())
    }

    /// A person finished by hand what needed attention: the target is open again. `id` was parked before the look: what
    /// was since then it says nothing about, and a clock that is set must not decide which came first.
    fn clear_if_mended(&self, lv: &LvRef, id: OperationId, inventory: &Inventory) -> Result<(), JournalError> {
        let shared = &self.0;
        // Nothing else may be parked in between.
        let mut journal = shared.journal().writer();
        let state = shared.state();
        let parked = state.parked.get(lv).filter(|parked| parked.id == id);
        if !parked.is_some_and(|parked| is_mended(parked, inventory)) {
            return Ok(());
        }
        journal.append(shared.host.moment(), vec![Event::Cleared { lv: lv.clone() }])?;
        drop(journal);
        tracing::info!(operation = %id, %lv, "operation completed by hand");
        shared.refresh();
        Ok(())
    }
}

/// It is a target, and what is decided about it is carried out.
fn pool_may_grow(config: &Config, pool: &LvRef) -> bool {
    config.target(pool).is_some_and(|target| target.file_system().is_none() && target.mode == Mode::Act)
}

fn lacks(evaluation: &Evaluation) -> bool {
    evaluation.decision.as_ref().is_err_and(|refusal| refusal.lack.is_some())
}

/// A busy disk and a backup program that freezes a file system for a snapshot are over in a moment.
fn is_not_itself(fs: &FileSystem) -> bool {
    fs.usage.is_none() || fs.frozen == Some(true)
}

/// The PVs that a plan names: after a boot another disk may have the name of one.
fn takes(plan: &Plan) -> Option<&[String]> {
    plan.steps.iter().find_map(|step| match step {
        Step::ExtendLv { pvs, .. } => Some(pvs.as_slice()),
        _ => None,
    })
}

/// The file system is sound and fills its volume. How large that is does not matter: a person may have decided
/// otherwise, and if the volume was never extended nothing is half-done. Neither is a pool: its data and metadata do
/// not depend on one another. Nor is anything left of a volume in whose place there is another one now, or of a file
/// system.
fn is_mended(parked: &Parked, inventory: &Inventory) -> bool {
    let plan = &parked.plan;
    if inventory.lv(&plan.lv).is_some_and(|lv| lv.uuid != plan.lv_uuid) || plan.is_overwritten(inventory) {
        return true;
    }
    // A file system that was to grow unmounted may be mounted by now, and then it was found sound.
    let mounted = inventory.unmounted.is_none();
    // Who mounted it elsewhere may have done so for good, and finished it there.
    let mut plan = elsewhere(plan, inventory).unwrap_or_else(|| plan.clone());
    plan.fs.iter_mut().for_each(|fs| fs.offline &= !mounted);
    let goals = |step: &&Step| match step {
        Step::CheckFilesystem { .. } | Step::GrowFilesystem { .. } => true,
        Step::CheckUnmounted { .. } => !mounted,
        _ => false,
    };
    execute::still_applies(&plan, inventory).is_ok()
        && plan.steps.iter().filter(goals).all(|step| step.is_verified(inventory))
}

/// The plan as it would be where its volume is mounted now, if that is not where it was planned for.
fn elsewhere(plan: &Plan, inventory: &Inventory) -> Option<Plan> {
    let device = inventory.device_of_file_system(inventory.lv(&plan.lv)?);
    let planned = &plan.fs.as_ref()?.mount_point;
    if inventory.mount_at(planned).is_some_and(|mount| Some(mount.device) == device) {
        return None;
    }
    let is_whole = |mount: &&Mount| Some(mount.device) == device && mount.root == "/";
    let point = &inventory.mounts.iter().find(is_whole)?.mount_point;
    let mut plan = plan.clone();
    plan.fs.iter_mut().for_each(|fs| fs.mount_point.clone_from(point));
    for step in &mut plan.steps {
        if let Step::CheckFilesystem { mount_point, .. } | Step::GrowFilesystem { mount_point, .. } = step {
            mount_point.clone_from(point);
        }
    }
    Some(plan)
}
