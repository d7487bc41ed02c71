//! What the autoscaler itself does: counters that live as long as the process.

use std::sync::atomic::{AtomicI64, AtomicU64};
use std::time::Duration;

use jiff::Timestamp;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Metric, Registry};

use crate::name::LvRef;
use crate::plan::{Code, Outcome, Step};
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
struct KindOutcome {
    kind: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Build {
    version: &'static str,
}

/// A family, for the reference.
pub struct Documented {
    /// The name without `lvm_autoscaler_` and, for a counter, without `_total`.
    pub name: &'static str,
    /// `counter`, `gauge` or `histogram`.
    pub kind: &'static str,
    /// Its labels.
    pub labels: &'static str,
    /// A sentence that stands alone, without its full stop.
    pub help: &'static str,
}

const fn documented(name: &'static str, kind: &'static str, labels: &'static str, help: &'static str) -> Documented {
    Documented { name, kind, labels, help }
}

/// All families of this module.
pub const FAMILIES: &[Documented] = &[
    documented("build_info", "gauge", "version", "The program's version, always 1"),
    documented(
        "operations",
        "counter",
        "vg, lv, outcome",
        "Operations that ended, by outcome: grown, failed, needs_attention, dry_run",
    ),
    documented(
        "refusals",
        "counter",
        "vg, lv, code",
        "Requests that were refused, by code; without vg and lv if no target was named",
    ),
    documented("grown_bytes", "counter", "vg, lv", "Bytes by which logical volumes were extended"),
    documented(
        "last_operation_timestamp_seconds",
        "gauge",
        "vg, lv, outcome",
        "When the last operation with that outcome ended",
    ),
    documented(
        "step_duration_seconds",
        "histogram",
        "step",
        "How long a step took, the look that verifies it included",
    ),
    documented("operation_in_progress", "gauge", "vg, lv, step", "1 while that step runs"),
    documented(
        "command_overdue",
        "gauge",
        "command",
        "Commands that change something, run now and take longer than expected",
    ),
    documented("webhook_requests", "counter", "code", "Requests to the webhook, by the status that was answered"),
    documented(
        "alerts",
        "counter",
        "verdict",
        "Alerts received, by what became of them at the door: accepted, coalesced, not_accepted, refused, ignored, resolved",
    ),
    documented("queue_length", "gauge", "", "Requests that wait for a worker"),
    documented("journal_writable", "gauge", "", "Whether the journal could be written to the last time"),
    documented(
        "config_last_reload_successful",
        "gauge",
        "",
        "Whether the config was accepted the last time it was read; if not, the one before stays in force",
    ),
    documented(
        "web_config_last_reload_successful",
        "gauge",
        "",
        "Whether the web config and the certificates in it were accepted the last time they were read; if not, those before stay in force",
    ),
    documented("config_last_reload_success_timestamp_seconds", "gauge", "", "When the config in force was read"),
    documented(
        "report_last_success_timestamp_seconds",
        "gauge",
        "",
        "When the last report was kept in report.directory; 0: none yet",
    ),
    documented(
        "notifications",
        "counter",
        "kind, outcome",
        "Attempts to notify, by kind (webhook, email): sent, retried (failed and will be tried again), failed (given up), dropped (too many waited)",
    ),
    documented("audit_writable", "gauge", "", "Whether the audit log could be written to the last time"),
    documented(
        "audit_lost_records",
        "counter",
        "",
        "Records that the journal had overwritten before the audit log could take them",
    ),
];

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
    /// Whether the web config was accepted the last time.
    pub web_config_accepted: Gauge<i64, AtomicI64>,
    reload_successful: Gauge<i64, AtomicI64>,
    reload_success: Gauge<f64, AtomicU64>,
    /// When the last report was kept; [`Metrics::report_kept`].
    pub report_success: Gauge<f64, AtomicU64>,
    notifications: Family<KindOutcome, Counter>,
    /// Whether the audit log could be written to the last time.
    pub audit_writable: Gauge<i64, AtomicI64>,
    /// Records that never came into the audit log.
    pub audit_lost_records: Counter,
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
            web_config_accepted: Gauge::default(),
            reload_successful: Gauge::default(),
            reload_success: Gauge::default(),
            report_success: Gauge::default(),
            notifications: Family::default(),
            audit_writable: Gauge::default(),
            audit_lost_records: Counter::default(),
        };
        // An exporter has no journal, and what is not there does not fail.
        metrics.journal_writable.set(1);
        metrics.web_config_accepted.set(1);
        metrics.audit_writable.set(1);
        let build = Family::<Build, Gauge>::default();
        build.get_or_create(&Build { version: env!("CARGO_PKG_VERSION") }).set(1);
        let mut families = Families(&mut registry);
        families.add("build_info", build);
        families.add("operations", metrics.operations.clone());
        families.add("refusals", metrics.refusals.clone());
        families.add("grown_bytes", metrics.grown.clone());
        families.add("last_operation_timestamp_seconds", metrics.last_operation.clone());
        families.add("step_duration_seconds", metrics.step_duration.clone());
        families.add("operation_in_progress", metrics.in_progress.clone());
        families.add("command_overdue", metrics.overdue.clone());
        families.add("webhook_requests", metrics.webhook_requests.clone());
        families.add("alerts", metrics.alerts.clone());
        families.add("queue_length", metrics.queue_length.clone());
        families.add("journal_writable", metrics.journal_writable.clone());
        families.add("config_last_reload_successful", metrics.reload_successful.clone());
        families.add("web_config_last_reload_successful", metrics.web_config_accepted.clone());
        families.add("config_last_reload_success_timestamp_seconds", metrics.reload_success.clone());
        families.add("report_last_success_timestamp_seconds", metrics.report_success.clone());
        families.add("notifications", metrics.notifications.clone());
        families.add("audit_writable", metrics.audit_writable.clone());
        families.add("audit_lost_records", metrics.audit_lost_records.clone());
        Metrics { registry, ..metrics }
    }
}

struct Families<'a>(&'a mut Registry);

impl Families<'_> {
    fn add(&mut self, name: &'static str, metric: impl Metric) {
        let help = FAMILIES.iter().find(|family| family.name == name).map_or("", |family| family.help);
        self.0.register(name, help, metric);
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

    /// Removes the series of a target that is none any more.
    pub fn forget_target(&self, lv: &LvRef) {
        self.step_ended(lv);
        let Volume { vg, lv } = volume(lv);
        for outcome in Outcome::ALL {
            let labels = VolumeOutcome { vg: vg.clone(), lv: lv.clone(), outcome: outcome.as_str() };
            self.operations.remove(&labels);
            self.last_operation.remove(&labels);
        }
        for code in Code::ALL {
            self.refusals.remove(&VolumeCode { vg: vg.clone(), lv: lv.clone(), code: code.as_str() });
        }
        self.grown.remove(&Volume { vg, lv });
    }

    /// The config was read: at the start, or again. `None`: it was not accepted.
    pub fn config_read(&self, at: Option<Timestamp>) {
        self.reload_successful.set(i64::from(at.is_some()));
        if let Some(at) = at {
            self.reload_success.set(at.as_millisecond() as f64 / 1000.0);
        }
    }

    /// A report was kept at that time.
    pub fn report_kept(&self, at: Timestamp) {
        self.report_success.set(at.as_millisecond() as f64 / 1000.0);
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
        for step in Step::LABELS {
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
        // Counted, for the groups run side by side and each may have one.
        let gauge = self.overdue.get_or_create_owned(&CommandLabel { command: command.to_owned() });
        if overdue {
            gauge.inc()
        } else {
            gauge.dec()
        };
    }

    /// How an attempt to notify ended.
    pub fn notified(&self, kind: &'static str, outcome: &'static str) {
        self.notifications.get_or_create(&KindOutcome { kind, outcome }).inc();
    }

    /// Shows a kind of notification before the first of it, so that a rate over it has a beginning.
    pub fn expect_notifications(&self, kind: &'static str) {
        for outcome in ["sent", "retried", "failed", "dropped"] {
            drop(self.notifications.get_or_create(&KindOutcome { kind, outcome }));
        }
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
