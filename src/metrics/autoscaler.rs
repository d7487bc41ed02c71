//! What the autoscaler itself does: counters that live as long as the process.

use std::sync::atomic::{AtomicI64, AtomicU64};
use std::time::Duration;

use jiff::Timestamp;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::name::LvRef;
use crate::plan::{Code, Outcome};
use crate::units::Bytes;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Volume {
    vg: String,
    lv: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VolumeOutcome {
    vg: String,
    lv: String,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VolumeCode {
    vg: String,
    lv: String,
    code: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VolumeStep {
    vg: String,
    lv: String,
    step: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StepLabel {
    step: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CommandLabel {
    command: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CodeLabel {
    code: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VerdictLabel {
    verdict: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Build {
    version: &'static str,
}

/// The counters and gauges, and the registry that shows them.
pub struct Metrics {
    /// For `metrics::text`.
    pub registry: Registry,
    operations: Family<VolumeOutcome, Counter>,
    refusals: Family<VolumeCode, Counter>,
    grown: Family<Volume, Counter>,
    last_operation: Family<VolumeOutcome, Gauge<f64, AtomicU64>>,
    step_duration: Family<StepLabel, Histogram, fn() -> Histogram>,
    in_progress: Family<VolumeStep, Gauge>,
    overdue: Family<CommandLabel, Gauge>,
    webhook_requests: Family<CodeLabel, Counter>,
    alerts: Family<VerdictLabel, Counter>,
    /// Requests that wait.
    pub queue_length: Gauge<i64, AtomicI64>,
    /// Whether the journal could be written to the last time.
    pub journal_writable: Gauge<i64, AtomicI64>,
}

/// From a tenth of a second, an `lvextend`, to the minutes of a large `resize2fs`.
fn step_histogram() -> Histogram {
    Histogram::new([0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0])
}

impl Default for Metrics {
    fn default() -> Metrics {
        let mut registry = Registry::with_prefix("lvm_autoscaler");
        let metrics = Metrics {
            registry: Registry::default(),
            operations: Family::default(),
            refusals: Family::default(),
            grown: Family::default(),
            last_operation: Family::default(),
            step_duration: Family::new_with_constructor(step_histogram),
            in_progress: Family::default(),
            overdue: Family::default(),
            webhook_requests: Family::default(),
            alerts: Family::default(),
            queue_length: Gauge::default(),
            journal_writable: Gauge::default(),
        };
        let build = Family::<Build, Gauge>::default();
        build.get_or_create(&Build { version: env!("CARGO_PKG_VERSION") }).set(1);
        registry.register("build_info", "The program's version, always 1", build);
        registry.register("operations", "Operations that ended, by outcome", metrics.operations.clone());
        registry.register("refusals", "Requests that were refused, by code", metrics.refusals.clone());
        registry.register("grown_bytes", "Bytes by which logical volumes were extended", metrics.grown.clone());
        registry.register(
            "last_operation_timestamp_seconds",
            "When the last operation with that outcome ended",
            metrics.last_operation.clone(),
        );
        registry.register(
            "step_duration_seconds",
            "How long a step took, the look that verifies it included",
            metrics.step_duration.clone(),
        );
        registry.register("operation_in_progress", "1 while that step runs", metrics.in_progress.clone());
        registry.register(
            "command_overdue",
            "1 while a command that changes something takes longer than expected",
            metrics.overdue.clone(),
        );
        registry.register(
            "webhook_requests",
            "Requests to the webhook, by the status that was answered",
            metrics.webhook_requests.clone(),
        );
        registry.register("alerts", "Alerts received, by what became of them at the door", metrics.alerts.clone());
        registry.register("queue_length", "Requests that wait for a worker", metrics.queue_length.clone());
        registry.register(
            "journal_writable",
            "Whether the journal could be written to the last time",
            metrics.journal_writable.clone(),
        );
        Metrics { registry, ..metrics }
    }
}

fn volume(lv: &LvRef) -> Volume {
    Volume { vg: lv.vg.to_string(), lv: lv.lv.to_string() }
}

impl Metrics {
    /// Makes the counters of a target exist, so that their first increase is seen by `rate()`.
    pub fn expect_target(&self, lv: &LvRef) {
        let Volume { vg, lv } = volume(lv);
        for outcome in Outcome::ALL {
            let labels = VolumeOutcome { vg: vg.clone(), lv: lv.clone(), outcome: outcome.as_str() };
            drop(self.operations.get_or_create(&labels));
        }
        drop(self.grown.get_or_create(&Volume { vg, lv }));
    }

    /// A request was refused; `None` if its labels named no target.
    pub fn refused(&self, lv: Option<&LvRef>, code: Code) {
        let Volume { vg, lv } = lv.map_or(Volume { vg: String::new(), lv: String::new() }, volume);
        self.refusals.get_or_create(&VolumeCode { vg, lv, code: code.as_str() }).inc();
    }

    /// An operation ended.
    pub fn finished(&self, lv: &LvRef, outcome: Outcome, grown: Bytes, at: Timestamp) {
        let Volume { vg, lv } = volume(lv);
        let labels = VolumeOutcome { vg: vg.clone(), lv: lv.clone(), outcome: outcome.as_str() };
        self.operations.get_or_create(&labels).inc();
        self.last_operation.get_or_create(&labels).set(at.as_millisecond() as f64 / 1000.0);
        self.grown.get_or_create(&Volume { vg, lv }).inc_by(grown.0);
    }

    /// A step's command is about to run.
    pub fn step_started(&self, lv: &LvRef, step: &'static str) {
        self.step_ended(lv);
        let Volume { vg, lv } = volume(lv);
        self.in_progress.get_or_create(&VolumeStep { vg, lv, step }).set(1);
    }

    /// No step of this volume runs any more.
    pub fn step_ended(&self, lv: &LvRef) {
        for step in ["backup_metadata", "extend_lv", "check_filesystem", "grow_filesystem"] {
            let Volume { vg, lv } = volume(lv);
            self.in_progress.remove(&VolumeStep { vg, lv, step });
        }
    }

    /// A step reached its goal.
    pub fn step_done(&self, step: &'static str, took: Duration) {
        self.step_duration.get_or_create(&StepLabel { step }).observe(took.as_secs_f64());
    }

    /// A command takes longer than expected, or ended after all.
    pub fn overdue(&self, command: &str, overdue: bool) {
        self.overdue.get_or_create(&CommandLabel { command: command.to_owned() }).set(i64::from(overdue));
    }

    /// A request to the webhook was answered.
    pub fn webhook_answered(&self, code: u16) {
        self.webhook_requests.get_or_create(&CodeLabel { code }).inc();
    }

    /// An alert was looked at.
    pub fn alert(&self, verdict: &'static str) {
        self.alerts.get_or_create(&VerdictLabel { verdict }).inc();
    }
}
