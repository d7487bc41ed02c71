//! What the status page shows and `/api/v1/` says: one model, made from the last sample, the journal and the config.
//! Both are written from it, so they cannot differ.
//!
//! It never asks the machine anything. What would happen now is decided by the same function that decides for real, on
//! the sample; the few things that only a look at one volume tells are taken to be as they should.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::context::Context;
use super::health;
use super::origin::OriginView;
use super::stack::{self, Layer};
use super::usage::{UsageView, pool_view, usage_view};
use crate::config::{Config, Mode, Target, What};
use crate::engine::View;
use crate::inventory::{FileSystem, Inventory, Lv, Pv, Sample, Vg};
use crate::journal::{Conclusion, Past, Running, State};
use crate::name::{LvName, LvRef, MountPoint, OperationId, VgName};
use crate::plan::{Code, History, Moment, Plan, Refusal, Step, Unmatched, headroom, plan, supplied};
use crate::units::{Bytes, Percent};

/// So many operations are shown, refusals of targets, and refusals that name no target: none pushes out another kind.
/// The journal has more.
const MOST_RECENT: usize = 50;

/// Everything.
#[derive(Debug, Serialize)]
pub(super) struct Status {
    pub(super) head: Head,
    pub(super) inventory: Shown,
    pub(super) targets: Vec<TargetView>,
    pub(super) operations: Operations,
}

/// What every answer begins with.
#[derive(Debug, Serialize)]
pub(super) struct Head {
    pub(super) host: String,
    pub(super) version: &'static str,
    /// `exporter`, `act`, or `dry_run`.
    pub(super) mode: &'static str,
    pub(super) generated_at: Timestamp,
    pub(super) health: Health,
}

#[derive(Debug, Serialize)]
pub(super) struct Health {
    /// In sentences what is not as it should be; empty if all is.
    pub(super) problems: Vec<String>,
    /// In sentences what the config names and this host does not have.
    pub(super) unmatched: Vec<String>,
    pub(super) inventory_taken_at: Option<Timestamp>,
    pub(super) inventory_age_seconds: Option<i64>,
    pub(super) inventory_succeeded: bool,
    pub(super) inventory_took_seconds: f64,
    pub(super) journal_writable: Option<bool>,
    pub(super) paused_since: Option<Timestamp>,
    pub(super) waiting: usize,
}

#[derive(Debug, Serialize)]
pub(super) struct Shown {
    pub(super) volume_groups: Vec<GroupView>,
    pub(super) logical_volumes: Vec<VolumeView>,
    pub(super) physical_volumes: Vec<DiskView>,
    pub(super) file_systems: Vec<MountView>,
}

#[derive(Debug, Serialize)]
pub(super) struct GroupView {
    name: VgName,
    size_bytes: Option<Bytes>,
    used_bytes: Option<Bytes>,
    free_bytes: Option<Bytes>,
    /// Of what is free: never handed out.
    reserve_bytes: Bytes,
    used_percent: Option<Percent>,
    reserve_percent: Option<Percent>,
    extent_size_bytes: Option<Bytes>,
    physical_volumes: Option<u64>,
    missing_physical_volumes: Option<u64>,
    logical_volumes: Option<u64>,
    budget: Option<BudgetView>,
    problems: Vec<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct VolumeView {
    vg: VgName,
    lv: LvName,
    size_bytes: Option<Bytes>,
    layout: Vec<String>,
    hidden: bool,
    active: Option<bool>,
    health: String,
    pool: Option<String>,
    origin: Option<String>,
    data_percent: Option<Percent>,
    metadata_percent: Option<Percent>,
    sync_percent: Option<Percent>,
}

#[derive(Debug, Serialize)]
pub(super) struct DiskView {
    name: String,
    vg: Option<VgName>,
    size_bytes: Option<Bytes>,
    free_bytes: Option<Bytes>,
    allocatable: Option<bool>,
    missing: Option<bool>,
}

#[derive(Debug, Serialize)]
pub(super) struct MountView {
    mount_point: MountPoint,
    vg: VgName,
    lv: LvName,
    #[serde(rename = "type")]
    kind: String,
    is_target: bool,
    read_only: bool,
    /// What the kernel counted on an ext4.
    errors: Option<u64>,
    #[serde(flatten)]
    usage: UsageView,
}

#[derive(Debug, Serialize)]
pub(super) struct TargetView {
    vg: VgName,
    lv: LvName,
    /// `None` for a thin pool.
    mount_point: Option<MountPoint>,
    #[serde(rename = "type")]
    kind: Option<String>,
    mode: Mode,
    origin: OriginView,
    /// Of all that can be said the most urgent: `attention`, `running`, `would_grow`, `held`, `unknown`, `quiet`.
    state: &'static str,
    volume_bytes: Option<Bytes>,
    #[serde(flatten)]
    usage: UsageView,
    threshold_percent: Percent,
    inode_threshold_percent: Option<Percent>,
    metadata_percent: Option<Percent>,
    metadata_threshold_percent: Option<Percent>,
    headroom_bytes: Option<Bytes>,
    max_size_bytes: Option<Bytes>,
    stack: Vec<Layer>,
    now: Now,
    paused_since: Option<Timestamp>,
    cooldown_until: Option<Timestamp>,
    failures: u32,
    breaker_failures: u32,
    breaker_open: bool,
    budget: BudgetView,
    attention: Option<Attention>,
}

/// What would happen if somebody asked now.
#[derive(Debug, Serialize)]
pub(super) struct Now {
    /// `grow`, `recommend`, `refuse` or `unknown`.
    verdict: &'static str,
    #[serde(rename = "code")]
    pub(super) refused: Option<Code>,
    pub(super) sentence: String,
    after_bytes: Option<Bytes>,
    steps: Vec<String>,
}

#[derive(Debug, Serialize)]
struct BudgetView {
    extensions: u32,
    extensions_left: u32,
    bytes: Option<Bytes>,
    bytes_left: Option<Bytes>,
    per_seconds: u64,
}

/// What a person has to do before the target is open again.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Attention {
    operation: OperationId,
    vg: VgName,
    lv: LvName,
    since: Timestamp,
    sentence: String,
    commands: Vec<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct Operations {
    running: Vec<RunningView>,
    waiting: Vec<WaitingView>,
    attention: Vec<Attention>,
    recent: Vec<RecentView>,
}

#[derive(Debug, Serialize)]
struct RunningView {
    operation: OperationId,
    vg: VgName,
    lv: LvName,
    since: Timestamp,
    running_seconds: i64,
    dry_run: bool,
    reason: String,
    before_bytes: Bytes,
    after_bytes: Bytes,
    steps: Vec<StepView>,
}

/// A request that is accepted and not decided about.
#[derive(Debug, Serialize)]
struct WaitingView {
    vg: VgName,
    lv: LvName,
    /// The operation that runs in its group, after which it is its turn.
    after: Option<OperationId>,
}

#[derive(Debug, Serialize)]
struct StepView {
    step: &'static str,
    does: String,
    /// `done`, `running` or `waiting`.
    state: &'static str,
}

#[derive(Debug, Serialize)]
struct RecentView {
    at: Timestamp,
    vg: Option<VgName>,
    lv: Option<LvName>,
    /// `operation` or `refusal`.
    kind: &'static str,
    result: Conclusion,
    sentence: String,
    commands: Vec<String>,
    /// A refusal: so many more like it were only counted.
    more: u64,
}

impl Status {
    /// How things stand.
    pub(super) fn of(context: &Context) -> Status {
        let (config, sample) = (context.config(), context.latest.get());
        let now = (context.status.clock)();
        let engine = context.front.view();
        let state = engine.as_ref().map(|engine| Arc::clone(&engine.state)).unwrap_or_default();
        let history = state.history(engine.as_ref().is_some_and(|engine| engine.dry_run));
        let supplied = supplied(&config, &sample.inventory);
        let view = |target: &Target| target_view(target, &config, (&sample, &supplied), &state, &history, &now);
        // What is not here is one line, unless something of it is under way or needs a person.
        let unmatched = if sample.taken { Unmatched::of(&config, &sample.inventory) } else { Unmatched::default() };
        let absent: BTreeSet<&LvRef> = unmatched.targets.iter().collect();
        let is_shown = |target: &&Target| {
            let running = state.running.values().any(|running| running.plan.lv == target.lv);
            !absent.contains(&target.lv) || running || state.parked.contains_key(&target.lv)
        };
        let here: Vec<&Target> = config.targets.iter().filter(is_shown).collect();
        let targets: Vec<TargetView> = here.iter().map(|target| view(target)).collect();
        let standing = engine.as_ref().map(|engine| engine.standing.clone()).unwrap_or_default();
        let of_target = |(target, view): (&&Target, &TargetView)| {
            health::target_problem(
                target,
                (view.now.refused, &view.now.sentence),
                &sample,
                standing.get(&target.lv),
                &now,
            )
        };
        let of_targets = here.iter().zip(&targets).filter_map(of_target);
        let problems = unmatched.suspicions().into_iter().chain(of_targets).collect();
        Status {
            head: head(
                context,
                engine.as_ref(),
                (&sample, unmatched.sentences(&config, &sample.inventory)),
                &state,
                &now,
                problems,
            ),
            inventory: shown(&sample.inventory, &config, &history, &now),
            targets,
            operations: operations(&state, now.at),
        }
    }
}

fn head(
    context: &Context,
    engine: Option<&View>,
    (sample, unmatched): (&Sample, Vec<String>),
    state: &State,
    now: &Moment,
    of_targets: Vec<String>,
) -> Head {
    let dry_run = engine.is_some_and(|engine| engine.dry_run);
    let mode = match engine {
        Some(_) if dry_run => "dry_run",
        Some(_) if !context.config().grows_nothing() => "act",
        _ => "exporter",
    };
    let taken_at = sample.taken.then_some(sample.inventory.taken_at);
    let trouble = engine.and_then(|engine| engine.trouble.clone());
    let journal_writable = engine.map(|_| trouble.is_none());
    let problems = health::general_problems(sample, trouble.as_ref()).into_iter().chain(of_targets).collect();
    Head {
        host: context.status.host.clone(),
        version: env!("CARGO_PKG_VERSION"),
        mode,
        generated_at: now.at,
        health: Health {
            problems,
            unmatched,
            inventory_taken_at: taken_at,
            inventory_age_seconds: taken_at.map(|at| now.at.duration_since(at).as_secs().max(0)),
            inventory_succeeded: sample.succeeded,
            inventory_took_seconds: sample.took.as_secs_f64(),
            journal_writable,
            paused_since: state.paused.all,
            waiting: engine.map_or(0, |engine| engine.waiting),
        },
    }
}

fn target_view(
    target: &Target,
    config: &Config,
    (sample, supplied): (&Sample, &Inventory),
    state: &State,
    history: &History,
    now: &Moment,
) -> TargetView {
    let presumed = sample.presumed();
    let lv = presumed.lv(&target.lv);
    let fs = target.mount_point().and_then(|point| presumed.filesystem_at(point));
    let decided =
        sample.taken.then(|| plan(target, &presumed.presumed_owner(&target.lv.vg), config, history, *now).decision);
    let parked = state.parked.get(&target.lv);
    let attention = parked.map(|parked| Attention {
        operation: parked.id,
        vg: target.lv.vg.clone(),
        lv: target.lv.lv.clone(),
        since: parked.since,
        sentence: parked.account.to_string(),
        commands: parked.account.commands.clone(),
    });
    let now_view = now_view(target, config, decided);
    let running = state.running.values().any(|running| running.plan.lv == target.lv);
    let metadata_threshold = match &target.what {
        What::ThinPool { metadata_threshold } => Some(*metadata_threshold),
        What::FileSystem(_) => None,
    };
    let usage = match (&target.what, lv) {
        (What::FileSystem(_), _) => fs.map(usage_view).unwrap_or_default(),
        (What::ThinPool { .. }, Some(pool)) => pool_view(pool),
        (What::ThinPool { .. }, None) => UsageView::default(),
    };
    TargetView {
        vg: target.lv.vg.clone(),
        lv: target.lv.lv.clone(),
        mount_point: target.mount_point().cloned(),
        kind: match metadata_threshold {
            Some(_) => Some("thin pool".to_owned()),
            None => fs.map(|fs| fs.mount.fs_type.clone()),
        },
        mode: target.mode,
        origin: OriginView::of(target),
        state: match (now_view.verdict, now_view.refused) {
            _ if attention.is_some() => "attention",
            _ if running => "running",
            ("unknown", _) => "unknown",
            ("refuse", Some(Code::BelowThreshold)) => "quiet",
            ("refuse", _) => "held",
            _ => "would_grow",
        },
        volume_bytes: lv.and_then(|lv| lv.size),
        inode_threshold_percent: target
            .file_system()
            .filter(|_| usage.inodes_percent.is_some())
            .map(|fs| fs.inode_threshold),
        usage,
        threshold_percent: target.threshold,
        metadata_percent: lv.filter(|_| metadata_threshold.is_some()).and_then(|lv| lv.metadata_percent),
        metadata_threshold_percent: metadata_threshold,
        headroom_bytes: headroom(target, supplied, config),
        max_size_bytes: target.max_size,
        stack: stack::below(target, config, &sample.inventory),
        now: now_view,
        paused_since: history.paused.since(&target.lv).map(|(since, _)| since),
        cooldown_until: history.last_of(target, config.recommends(target)).and_then(|last| {
            let left = target.cooldown.checked_sub(now.since(&last.at)).filter(|left| !left.is_zero())?;
            now.at.checked_add(SignedDuration::try_from(left).ok()?).ok()
        }),
        failures: history.failures.get(&target.lv).copied().unwrap_or(0),
        breaker_failures: target.breaker_failures,
        breaker_open: history.breaker_is_open(target),
        budget: {
            let spent = history.spent(&target.lv, &target.budget, now);
            BudgetView {
                extensions: target.budget.extensions,
                extensions_left: spent.extensions_left(&target.budget),
                bytes: target.budget.bytes,
                bytes_left: spent.bytes_left(&target.budget),
                per_seconds: target.budget.per.as_secs(),
            }
        },
        attention,
    }
}

fn now_view(target: &Target, config: &Config, decided: Option<Result<Plan, Refusal>>) -> Now {
    let sentence =
        |verdict, code, sentence: String| Now { verdict, refused: code, sentence, after_bytes: None, steps: vec![] };
    match decided {
        None => sentence("unknown", None, "LVM was not read yet".to_owned()),
        Some(Err(refusal)) => sentence("refuse", Some(refusal.code), refusal.sentence),
        Some(Ok(plan)) => {
            let verdict = if plan.is_recommended(target, config) { "recommend" } else { "grow" };
            let shown = |step: &Step| step.command().map_or_else(|| format!("({step})"), |command| command.to_string());
            let (after, steps) = (plan.after.bytes(plan.extent_size), plan.steps.iter().map(shown).collect());
            Now { after_bytes: Some(after), steps, ..sentence(verdict, None, plan.reason) }
        }
    }
}

fn shown(inventory: &Inventory, config: &Config, history: &History, now: &Moment) -> Shown {
    let volumes = inventory.lvs_by_device();
    let mount_view = |fs: &FileSystem| {
        let lv = (*volumes.get(&fs.mount.device)?)?;
        let seen = inventory.mount_at(&fs.mount.mount_point) == Some(&fs.mount);
        seen.then(|| MountView {
            mount_point: fs.mount.mount_point.clone(),
            vg: lv.name.vg.clone(),
            lv: lv.name.lv.clone(),
            kind: fs.mount.fs_type.clone(),
            is_target: config
                .target(&lv.name)
                .is_some_and(|target| target.mount_point() == Some(&fs.mount.mount_point)),
            read_only: fs.mount.read_only,
            errors: fs.errors,
            usage: usage_view(fs),
        })
    };
    Shown {
        volume_groups: inventory.vgs.iter().map(|vg| group_view(vg, config, history, now)).collect(),
        logical_volumes: inventory.lvs.iter().map(volume_view).collect(),
        physical_volumes: inventory.pvs.iter().map(disk_view).collect(),
        file_systems: inventory.filesystems.iter().filter_map(mount_view).collect(),
    }
}

fn group_view(vg: &Vg, config: &Config, history: &History, now: &Moment) -> GroupView {
    let reserve = vg.size.map_or(Bytes::ZERO, |size| config.reserve(&vg.name, size));
    let share = |part: Bytes| vg.size.map(|size| Percent::of(part.0, size.0));
    let used = vg.size.zip(vg.free).map(|(size, free)| size.saturating_sub(free));
    let mut problems = Vec::new();
    if let Some(missing) = vg.missing_pv_count.filter(|missing| *missing > 0) {
        problems.push(format!("{missing} PV missing"));
    }
    let flags =
        [("exported", vg.exported), ("partial", vg.partial), ("read-only", vg.read_only), ("shared", vg.shared)];
    problems.extend(flags.iter().filter(|(_, is)| *is == Some(true)).map(|(what, _)| (*what).to_owned()));
    if vg.free.is_some_and(|free| free < reserve) {
        problems.push("less is free than reserved".to_owned());
    }
    let budget = config.volume_group(&vg.name).and_then(|group| group.budget);
    GroupView {
        name: vg.name.clone(),
        size_bytes: vg.size,
        used_bytes: used,
        free_bytes: vg.free,
        reserve_bytes: reserve,
        used_percent: used.and_then(share),
        reserve_percent: share(reserve.min(vg.free.unwrap_or(reserve))),
        extent_size_bytes: vg.extent_size,
        physical_volumes: vg.pv_count,
        missing_physical_volumes: vg.missing_pv_count,
        logical_volumes: vg.lv_count,
        budget: budget.map(|budget| {
            let spent = history.spent_in(&vg.name, &budget, now);
            BudgetView {
                extensions: budget.extensions,
                extensions_left: spent.extensions_left(&budget),
                bytes: budget.bytes,
                bytes_left: spent.bytes_left(&budget),
                per_seconds: budget.per.as_secs(),
            }
        }),
        problems,
    }
}

fn volume_view(lv: &Lv) -> VolumeView {
    VolumeView {
        vg: lv.name.vg.clone(),
        lv: lv.name.lv.clone(),
        size_bytes: lv.size,
        layout: lv.layout.clone(),
        hidden: lv.hidden,
        active: lv.active,
        health: lv.health.clone(),
        pool: lv.pool.clone(),
        origin: lv.origin.clone(),
        data_percent: lv.data_percent,
        metadata_percent: lv.metadata_percent,
        sync_percent: lv.sync_percent,
    }
}

fn disk_view(pv: &Pv) -> DiskView {
    DiskView {
        name: pv.name.clone(),
        vg: pv.vg.clone(),
        size_bytes: pv.size,
        free_bytes: pv.free,
        allocatable: pv.allocatable,
        missing: pv.missing,
    }
}

fn operations(state: &State, now: Timestamp) -> Operations {
    let attention = state.parked.iter().map(|(lv, parked)| Attention {
        operation: parked.id,
        vg: lv.vg.clone(),
        lv: lv.lv.clone(),
        since: parked.since,
        sentence: parked.account.to_string(),
        commands: parked.account.commands.clone(),
    });
    let done = state.past.iter().rev().take(MOST_RECENT).map(|past| recent("operation", past));
    let refused = [true, false].into_iter().flat_map(|names_one| {
        state.refused.iter().rev().filter(move |past| past.lv.is_some() == names_one).take(MOST_RECENT)
    });
    let mut all: Vec<RecentView> = done.chain(refused.map(|past| recent("refusal", past))).collect();
    all.sort_by_key(|view| std::cmp::Reverse(view.at));
    Operations {
        running: state.running.iter().map(|(id, running)| running_view(*id, running, now)).collect(),
        waiting: state.pending.values().map(|pending| waiting_view(&pending.lv, state)).collect(),
        attention: attention.collect(),
        recent: all,
    }
}

fn recent(kind: &'static str, past: &Past) -> RecentView {
    let (vg, lv) = past.lv.clone().map(|LvRef { vg, lv }| (vg, lv)).unzip();
    let (result, sentence, commands) = (past.result, past.sentence.clone(), past.commands.clone());
    RecentView { at: past.at, vg, lv, kind, result, sentence, commands, more: past.more }
}

fn waiting_view(lv: &LvRef, state: &State) -> WaitingView {
    let under_way = state.running.iter().find(|(_, running)| running.plan.lv.vg == lv.vg);
    WaitingView { vg: lv.vg.clone(), lv: lv.lv.clone(), after: under_way.map(|(id, _)| *id) }
}

fn running_view(id: OperationId, running: &Running, now: Timestamp) -> RunningView {
    let plan = &running.plan;
    let steps = plan.steps.iter().enumerate().map(|(index, step)| StepView {
        step: step.as_str(),
        does: step.to_string(),
        state: match (running.done.contains(&index), running.started.contains(&index)) {
            (true, _) => "done",
            (false, true) => "running",
            (false, false) => "waiting",
        },
    });
    RunningView {
        operation: id,
        vg: plan.lv.vg.clone(),
        lv: plan.lv.lv.clone(),
        since: running.since,
        running_seconds: now.duration_since(running.since).as_secs().max(0),
        dry_run: running.dry_run,
        reason: plan.reason.clone(),
        before_bytes: plan.before.bytes(plan.extent_size),
        after_bytes: plan.after.bytes(plan.extent_size),
        steps: steps.collect(),
    }
}
