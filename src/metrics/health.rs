//! How well the exporter itself sees.

use std::fmt;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::{Column, Labels, column, family, flag};
use crate::inventory::Sample;

/// How one collector did the last time.
#[derive(Debug)]
pub struct Run {
    /// `lvm` or `filesystem`.
    pub collector: &'static str,
    /// Whether it succeeded.
    pub succeeded: bool,
    /// How long it took.
    pub took: Duration,
}

/// Of the exporter.
pub const HEALTH: &[Column<Sample>] = &[
    column("lvm_up", "Whether the last look at LVM succeeded.", |s: &Sample| flag(Some(s.succeeded))),
    column(
        "lvm_inventory_timestamp_seconds",
        "When the inventory shown was taken; an old one means that LVM does not answer.",
        |s| s.taken.then(|| s.inventory.taken_at.as_millisecond() as f64 / 1000.0),
    ),
    column(
        "lvm_inventory_age_seconds",
        "How long ago the inventory shown was taken, whatever the clock was set to since.",
        |s| s.since.map(|since| since.elapsed().as_secs_f64()),
    ),
    column("lvm_unknown_report_fields", "Fields of LVM's report that are not known.", |s| {
        Some(s.inventory.unknown_fields.len() as f64)
    }),
    column(
        "lvm_odd_report_values",
        "Values of LVM's report that were dropped because they were not understood.",
        |s| Some(s.inventory.oddities.len() as f64),
    ),
];

/// Of each collector.
pub const COLLECTOR: &[Column<Run>] = &[
    column("lvm_collector_success", "Whether the collector succeeded the last time.", |run: &Run| {
        flag(Some(run.succeeded))
    }),
    column("lvm_collector_duration_seconds", "How long the collector took the last time.", |run| {
        Some(run.took.as_secs_f64())
    }),
];

/// The exporter's health as series.
#[derive(Debug)]
pub struct Health {
    /// The last look at LVM.
    pub sample: Sample,
    /// The collectors that are switched on.
    pub runs: Vec<Run>,
}

impl Collector for Health {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let runs: Vec<(&Run, Labels<'_>)> =
            self.runs.iter().map(|run| (run, vec![("collector", run.collector.into())])).collect();
        HEALTH.iter().try_for_each(|column| family(&mut encoder, column, &[(&self.sample, vec![])]))?;
        COLLECTOR.iter().try_for_each(|column| family(&mut encoder, column, &runs))
    }
}
