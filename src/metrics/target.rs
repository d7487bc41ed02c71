//! What may grow, how far, and what a person must do before it grows again.

use std::fmt;

use jiff::SignedDuration;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::{Column, Labels, column, family, flag};
use crate::config::{Config, Mode};
use crate::inventory::Inventory;
use crate::plan::{History, Moment, headroom};

/// One target.
#[derive(Debug)]
pub struct TargetView {
    vg: String,
    lv: String,
    mount_point: String,
    threshold: f64,
    headroom: Option<f64>,
    cooldown_until: Option<f64>,
    breaker_open: bool,
    paused: bool,
    acts: bool,
    extensions_left: u32,
    needs_attention: bool,
}

/// What a volume group keeps for people.
#[derive(Debug)]
pub struct Reserve {
    vg: String,
    reserve: Option<f64>,
}

/// Of targets.
pub const TARGET: &[Column<TargetView>] = &[
    column(
        "lvm_autoscaler_target_threshold_ratio",
        "Usage, as df counts it, above which the target grows, 0 to 1.",
        |t: &TargetView| Some(t.threshold),
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
        |t| flag(Some(t.breaker_open)),
    ),
    column("lvm_autoscaler_target_paused", "Whether a person paused the target, or all of them.", |t| {
        flag(Some(t.paused))
    }),
    column(
        "lvm_autoscaler_target_acts",
        "Whether the mode of the target is act: what is decided is carried out.",
        |t| flag(Some(t.acts)),
    ),
    column(
        "lvm_autoscaler_target_budget_remaining_extensions",
        "How many extensions are left of the target's budget and its group's.",
        |t| Some(f64::from(t.extensions_left)),
    ),
    column(
        "lvm_autoscaler_target_needs_attention",
        "Whether an operation stopped half-way and the target is closed until a person has finished it.",
        |t| flag(Some(t.needs_attention)),
    ),
];

/// Of volume groups in the config.
pub const RESERVE: &[Column<Reserve>] = &[column(
    "lvm_autoscaler_vg_reserve_bytes",
    "Free space of the volume group that is never handed out, as the config has it.",
    |r| r.reserve,
)];

/// The targets and reserves as series.
#[derive(Debug)]
pub struct Targets(Vec<TargetView>, Vec<Reserve>);

impl Targets {
    /// All targets of a config, on the host that the inventory shows.
    pub fn new(config: &Config, inventory: &Inventory, history: &History, now: &Moment) -> Targets {
        let views = config.targets.iter().map(|target| TargetView {
            vg: target.lv.vg.to_string(),
            lv: target.lv.lv.to_string(),
            mount_point: target.mount_point().map_or(String::new(), ToString::to_string),
            threshold: target.threshold.value() / 100.0,
            headroom: headroom(target, inventory, config).map(|bytes| bytes.0 as f64),
            cooldown_until: history.last_of(target).and_then(|last| {
                let until = last.at.at.saturating_add(SignedDuration::try_from(target.cooldown).ok()?).ok()?;
                Some(until.as_millisecond() as f64 / 1000.0)
            }),
            breaker_open: history.breaker_is_open(target),
            paused: history.paused.since(&target.lv).is_some(),
            acts: target.mode == Mode::Act,
            extensions_left: history.extensions_left(target, config, now),
            needs_attention: history.open.get(&target.lv).is_some_and(|open| open.attention.is_some()),
        });
        let reserves = config.volume_groups.iter().map(|group| Reserve {
            vg: group.name.to_string(),
            reserve: inventory.vg(&group.name).and_then(|vg| Some(config.reserve(&group.name, vg.size?).0 as f64)),
        });
        Targets(views.collect(), reserves.collect())
    }
}

impl Collector for Targets {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let items: Vec<(&TargetView, Labels<'_>)> = self.0.iter().map(|target| (target, labels(target))).collect();
        TARGET.iter().try_for_each(|column| family(&mut encoder, column, &items))?;
        let reserves: Vec<(&Reserve, Labels<'_>)> =
            self.1.iter().map(|reserve| (reserve, vec![("vg", (&*reserve.vg).into())])).collect();
        RESERVE.iter().try_for_each(|column| family(&mut encoder, column, &reserves))
    }
}

fn labels(target: &TargetView) -> Labels<'_> {
    vec![("vg", (&*target.vg).into()), ("lv", (&*target.lv).into()), ("mountpoint", (&*target.mount_point).into())]
}
