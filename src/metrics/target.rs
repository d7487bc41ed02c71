//! What may grow, how far, and what a person must do before it grows again.

use std::fmt;

use jiff::SignedDuration;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::{Column, Labels, column, family, flag};
use crate::config::{Config, Mode, Target, What};
use crate::inventory::{FileSystem, Inventory, Sample, Vg};
use crate::name::LvRef;
use crate::plan::history::Open;
use crate::plan::{self, Code, History, Moment, Outcome, Unmatched, headroom};
use crate::units::{Amount, Bytes};

/// One target.
#[derive(Debug)]
pub struct TargetView {
    vg: String,
    lv: String,
    mount_point: String,
    threshold: f64,
    inode_threshold: Option<f64>,
    metadata_threshold: Option<f64>,
    /// By what it is held back, as the label `code` has it.
    held_back: Option<&'static str>,
    headroom: Option<f64>,
    cooldown_until: Option<f64>,
    breaker_open: bool,
    paused: bool,
    acts: bool,
    extensions_left: u32,
    needs_attention: bool,
    /// False: it only needs attention, and no policy selects it at the moment, as while it is unmounted to be repaired.
    is_target: bool,
}

impl TargetView {
    fn of_target<T>(&self, value: T) -> Option<T> {
        self.is_target.then_some(value)
    }

    /// Of a volume that only needs attention.
    fn parked(lv: &LvRef, open: &Open) -> TargetView {
        TargetView {
            vg: lv.vg.to_string(),
            lv: lv.lv.to_string(),
            mount_point: open.mount_point.as_ref().map_or(String::new(), ToString::to_string),
            threshold: 0.0,
            inode_threshold: None,
            metadata_threshold: None,
            held_back: None,
            headroom: None,
            cooldown_until: None,
            breaker_open: false,
            paused: false,
            acts: false,
            extensions_left: 0,
            needs_attention: true,
            is_target: false,
        }
    }
}

/// A volume group, as the config sees it.
#[derive(Debug)]
pub struct Group {
    vg: String,
    reserve: Option<f64>,
    stranded: Option<f64>,
    needed: Option<f64>,
}

/// Of targets.
pub const TARGET: &[Column<TargetView>] = &[
    column(
        "lvm_autoscaler_target_threshold_ratio",
        "Usage, as df counts it, above which the target grows, 0 to 1.",
        |t: &TargetView| t.of_target(t.threshold),
    ),
    column(
        "lvm_autoscaler_target_inode_threshold_ratio",
        "Share of the inodes above which the target grows, 0 to 1; only of file systems whose inodes can run out.",
        |t| t.inode_threshold,
    ),
    column(
        "lvm_autoscaler_target_data_threshold_ratio",
        "Use of its data space above which the target, a thin pool, grows, 0 to 1; the same as its threshold_ratio.",
        |t| t.metadata_threshold.map(|_| t.threshold),
    ),
    column(
        "lvm_autoscaler_target_metadata_threshold_ratio",
        "Use of its metadata above which the target, a thin pool, grows, 0 to 1.",
        |t| t.metadata_threshold,
    ),
    column(
        "lvm_autoscaler_target_can_act",
        "Whether the target would grow if it were over its threshold, now or once its cooldown is over.",
        |t| flag(t.of_target(t.held_back.is_none())),
    ),
    column(
        "lvm_autoscaler_target_headroom_bytes",
        "By how much the target may still grow: what max_size, the group's reserve and its free space leave.",
        |t| t.headroom,
    ),
    column(
        "lvm_autoscaler_target_cooldown_until_timestamp_seconds",
        "Until when the target is not grown again after its last operation.",
        |t| t.cooldown_until,
    ),
    column(
        "lvm_autoscaler_target_breaker_open",
        "Whether the target failed so often in a row that only a reset opens it again.",
        |t| flag(t.of_target(t.breaker_open)),
    ),
    column("lvm_autoscaler_target_paused", "Whether a person paused the target, or all of them.", |t| {
        flag(t.of_target(t.paused))
    }),
    column(
        "lvm_autoscaler_target_acts",
        "Whether the mode of the target is act: what is decided is carried out.",
        |t| flag(t.of_target(t.acts)),
    ),
    column(
        "lvm_autoscaler_target_budget_remaining_extensions",
        "How many extensions are left of the target's budget and its group's.",
        |t| t.of_target(f64::from(t.extensions_left)),
    ),
    column(
        "lvm_autoscaler_target_needs_attention",
        "Whether an operation stopped half-way and the target is blocked until a person has finished it.",
        |t| flag(Some(t.needs_attention)),
    ),
];

/// Of targets that would not grow.
pub const HELD_BACK: &[Column<TargetView>] = &[column(
    "lvm_autoscaler_target_held_back",
    "By what the target would be kept from growing if it were over its threshold, always 1: the code of the refusal, \
     needs_attention, recommended or dry_run.",
    |_| Some(1.0),
)];

/// Of the whole config.
pub const UNMATCHED: &[Column<u64>] = &[column(
    "lvm_autoscaler_config_unmatched",
    "Entries of the config of which there is no volume or group on this host, or more than one of that name, and policies that select nothing.",
    |count| Some(*count as f64),
)];

/// Of volume groups beside the config.
pub const GROUP: &[Column<Group>] = &[
    column(
        "lvm_autoscaler_vg_reserve_bytes",
        "Free space of the volume group that is never handed out, as the config has it.",
        |g| g.reserve,
    ),
    column(
        "lvm_vg_stranded_bytes",
        "Free space of the volume group that no target may take: nothing of the config is on it that acts.",
        |g| g.stranded,
    ),
    column(
        "lvm_autoscaler_supply_needed_bytes",
        "How much more the volume group would have to have free for its targets that are over their thresholds.",
        |g| g.needed,
    ),
];

/// The targets and reserves as series.
#[derive(Debug)]
pub struct Targets {
    views: Vec<TargetView>,
    groups: Vec<Group>,
    /// By the label `kind`.
    unmatched: [(&'static str, u64); 3],
}

/// What the daemon knows of its targets.
pub struct Knowledge<'a> {
    /// What was done before.
    pub history: &'a History,
    /// Nothing is carried out.
    pub dry_run: bool,
    /// By which code a target was refused lately by a look at it alone, which sees more than a look at everything.
    pub refused: &'a dyn Fn(&LvRef) -> Option<Code>,
    /// The time.
    pub now: Moment,
}

impl Targets {
    /// All targets of a config that are on the host that the sample shows.
    pub fn new(config: &Config, sample: &Sample, known: &Knowledge<'_>) -> Targets {
        let (inventory, Knowledge { history, now, .. }) = (&*sample.inventory, known);
        let is_there = |target: &&Target| inventory.lv(&target.lv).is_some();
        let supplied = plan::supplied(config, inventory);
        let views = config.targets.iter().filter(is_there).map(|target| TargetView {
            vg: target.lv.vg.to_string(),
            lv: target.lv.lv.to_string(),
            mount_point: target.mount_point().map_or(String::new(), ToString::to_string),
            threshold: target.threshold.value() / 100.0,
            inode_threshold: inode_threshold(target, inventory),
            metadata_threshold: match &target.what {
                What::ThinPool { metadata_threshold } => Some(metadata_threshold.value() / 100.0),
                What::FileSystem(_) => None,
            },
            held_back: held(target, config, sample.presumed(), known),
            headroom: headroom(target, &supplied, config).map(|bytes| bytes.0 as f64),
            cooldown_until: history.last_of(target, config.recommends(target)).and_then(|last| {
                let until = last.at.at.saturating_add(SignedDuration::try_from(target.cooldown).ok()?).ok()?;
                Some(until.as_millisecond() as f64 / 1000.0)
            }),
            breaker_open: history.breaker_is_open(target),
            paused: history.paused.since(&target.lv).is_some(),
            acts: target.mode == Mode::Act,
            extensions_left: history.extensions_left(target, config, now),
            needs_attention: history.open.get(&target.lv).is_some_and(|open| open.attention.is_some()),
            is_target: true,
        });
        // Nobody took it out of the config: what is unmounted to be repaired is no target of a policy meanwhile.
        let is_parked = |(lv, open): &(&LvRef, &Open)| {
            let is_here = inventory.lvs.iter().any(|of| of.uuid == open.lv_uuid);
            open.attention.is_some() && is_here && !config.target(lv).is_some_and(|of| is_there(&of))
        };
        let parked = history.open.iter().filter(|_| !config.policies.is_empty()).filter(is_parked);
        let views = views.chain(parked.map(|(lv, open)| TargetView::parked(lv, open)));
        let count = |unmatched: usize| if sample.taken { unmatched as u64 } else { 0 };
        let unmatched = Unmatched::of(config, inventory);
        let (targets, unknown) = (unmatched.targets.len(), unmatched.groups.len() + unmatched.suspects.len());
        let groups = inventory.vgs.iter().map(|vg| group(vg, config, sample.presumed(), now));
        Targets {
            views: views.collect(),
            groups: groups.collect(),
            unmatched: [
                ("target", count(targets)),
                ("volume_group", count(unknown)),
                ("policy", count(unmatched.policies.len())),
            ],
        }
    }
}

fn group(vg: &Vg, config: &Config, presumed: &Inventory, now: &Moment) -> Group {
    let targets: Vec<&Target> = config.targets.iter().filter(|target| target.lv.vg == vg.name).collect();
    let has_reserve = config.volume_group(&vg.name).is_some() || config.default_reserve != Amount::Size(Bytes::ZERO);
    let is_taken = targets.iter().any(|target| target.mode == Mode::Act);
    let lacks = targets.iter().filter_map(|target| plan::lack(target, presumed, config, *now));
    let needed: u64 = lacks.map(|lack| lack.bytes.0).sum();
    let bytes = |bytes: Bytes| bytes.0 as f64;
    Group {
        vg: vg.name.to_string(),
        reserve: vg.size.filter(|_| has_reserve).map(|size| bytes(config.reserve(&vg.name, size))),
        stranded: vg.free.map(|free| if is_taken { 0.0 } else { bytes(free) }),
        needed: (!targets.is_empty()).then_some(needed as f64),
    }
}

fn held(target: &Target, config: &Config, presumed: &Inventory, known: &Knowledge<'_>) -> Option<&'static str> {
    let history = known.history;
    if history.open.get(&target.lv).is_some_and(|open| open.attention.is_some()) {
        return Some(Outcome::NeedsAttention.as_str());
    }
    let inventory = presumed.presumed_owner(&target.lv.vg);
    let plan = match plan::if_over(target, &inventory, config, history, known.now) {
        Err(refusal) => return Some(refusal.code.as_str()),
        Ok(plan) => plan,
    };
    let outcome = match plan.is_recommended(target, config) {
        _ if known.dry_run => Some(Outcome::DryRun),
        recommended => recommended.then_some(Outcome::Recommended),
    };
    (known.refused)(&target.lv).map(Code::as_str).or(outcome.map(Outcome::as_str))
}

/// Nothing where the inodes cannot run out before the space does.
fn inode_threshold(target: &Target, inventory: &Inventory) -> Option<f64> {
    let fs = target.file_system()?;
    let kind = inventory.filesystem_at(&fs.mount_point).and_then(FileSystem::kind)?;
    kind.about().has_fixed_inodes.then(|| fs.inode_threshold.value() / 100.0)
}

impl Collector for Targets {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let items: Vec<(&TargetView, Labels<'_>)> = self.views.iter().map(|target| (target, labels(target))).collect();
        let held = self
            .views
            .iter()
            .filter_map(|target| Some((target, [labels(target), vec![("code", target.held_back?.into())]].concat())));
        HELD_BACK.iter().try_for_each(|column| family(&mut encoder, column, &held.clone().collect::<Vec<_>>()))?;
        let unmatched: Vec<(&u64, Labels<'_>)> =
            self.unmatched.iter().map(|(kind, count)| (count, vec![("kind", (*kind).into())])).collect();
        UNMATCHED.iter().try_for_each(|column| family(&mut encoder, column, &unmatched))?;
        TARGET.iter().try_for_each(|column| family(&mut encoder, column, &items))?;
        let groups: Vec<(&Group, Labels<'_>)> =
            self.groups.iter().map(|group| (group, vec![("vg", (&*group.vg).into())])).collect();
        GROUP.iter().try_for_each(|column| family(&mut encoder, column, &groups))
    }
}

fn labels(target: &TargetView) -> Labels<'_> {
    vec![("vg", (&*target.vg).into()), ("lv", (&*target.lv).into()), ("mountpoint", (&*target.mount_point).into())]
}
