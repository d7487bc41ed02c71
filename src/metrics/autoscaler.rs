//! What the engine does: counters that live as long as it.

use std::sync::atomic::{AtomicI64, AtomicU64};
use std::time::Duration;

use jiff::Timestamp;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::families::{families, written};
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
struct Build {
    version: &'static str,
}

families! {
    /// The counters and gauges, and the registry that shows them.
    pub struct Metrics {
        build: Family<Build, Gauge>,
            "build_info" ["version"]
            "The program's version, always 1";
        operations: Family<VolumeOutcome, Counter>,
            "operations" ["vg", "lv", "outcome"]
            "Operations that ended, by outcome: grown, recommended, failed, needs_attention, dry_run";
        refusals: Family<VolumeCode, Counter>,
            "refusals" ["vg", "lv", "code"]
            "Requests that were refused, by code; without vg and lv if no target was named";
        grown: Family<Volume, Counter>,
            "grown_bytes" ["vg", "lv"]
            "Bytes by which logical volumes were extended";
        last_operation: Family<VolumeOutcome, Gauge<f64, AtomicU64>>,
            "last_operation_timestamp_seconds" ["vg", "lv", "outcome"]
            "When the last operation with that outcome ended";
        step_duration: Family<StepLabel, Histogram, fn() -> Histogram> = Family::new_with_constructor(step_histogram),
            "step_duration_seconds" ["step"]
            "Duration of a step, including its verification";
        in_progress: Family<VolumeStep, Gauge>,
            "operation_in_progress" ["vg", "lv", "step"]
            "1 while that step runs";
        overdue: Family<CommandLabel, Gauge>,
            "command_overdue" ["command"]
            "Commands that change something, are running, and take longer than expected";
        /// Refusals that were not written down one by one.
        pub refusals_only_counted: Counter,
            "refusals_only_counted" []
            "Refusals that named no target and were only counted in the journal, because many of the same kind came \
             before them";
        /// Requests that wait.
        pub queue_length: Gauge<i64, AtomicI64>,
            "queue_length" []
            "Requests that wait for a worker";
        /// Whether the journal could be written to the last time.
        pub journal_writable: Gauge<i64, AtomicI64>,
            "journal_writable" []
            "Whether the journal could be written to the last time";
        reload_successful: Gauge<i64, AtomicI64>,
            "config_last_reload_successful" []
            "Whether the config was accepted the last time it was read; if not, the one before stays in force";
        reload_success: Gauge<f64, AtomicU64>,
            "config_last_reload_success_timestamp_seconds" []
            "When the config in force was read";
        /// When the last report was kept; [`Metrics::report_kept`].
        pub report_success: Gauge<f64, AtomicU64>,
            "report_last_success_timestamp_seconds" []
            "When the last report was kept in report.directory; 0: none yet";
        /// Whether the audit log could be written to the last time.
        pub audit_writable: Gauge<i64, AtomicI64>,
            "audit_writable" []
            "Whether the audit log could be written to the last time";
        /// Records that never came into the audit log.
        pub audit_lost_records: Counter,
            "audit_lost_records" []
            "Records that the journal had overwritten before the audit log could take them";
    }
    also {
        registry: Registry,
    }
}

/// From a tenth of a second, an `lvextend`, to the minutes of a large `resize2fs`.
fn step_histogram() -> Histogram {
    Histogram::new([0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0])
}

impl Default for Metrics {
    fn default() -> Metrics {
        let metrics = Metrics::new();
        // An exporter has no journal, and what is not there does not fail.
        metrics.journal_writable.set(1);
        metrics.audit_writable.set(1);
        metrics.build.get_or_create(&Build { version: env!("CARGO_PKG_VERSION") }).set(1);
        metrics.expect_all();
        let mut registry = Registry::with_prefix("lvm_autoscaler");
        metrics.add_to(&mut registry);
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
        for code in Code::ALL.iter().filter(|code| !Code::OF_NO_TARGET.contains(code)) {
            drop(self.refusals.get_or_create(&VolumeCode { vg: vg.clone(), lv: lv.clone(), code: code.as_str() }));
        }
        drop(self.grown.get_or_create(&Volume { vg, lv }));
    }

    /// Makes the counters that belong to no target exist.
    fn expect_all(&self) {
        for code in [Code::UnknownTarget].iter().chain(&Code::OF_NO_TARGET) {
            let labels = VolumeCode { vg: String::new(), lv: String::new(), code: code.as_str() };
            drop(self.refusals.get_or_create(&labels));
        }
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
        self.refused_so_often(lv, code, 1);
    }

    /// So many were.
    pub fn refused_so_often(&self, lv: Option<&LvRef>, code: Code, count: u64) {
        let Volume { vg, lv } = lv.map_or(Volume { vg: String::new(), lv: String::new() }, volume);
        self.refusals.get_or_create(&VolumeCode { vg, lv, code: code.as_str() }).inc_by(count);
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

    /// All of it, as it stands on a page of metrics, without the mark at its end.
    pub fn text(&self) -> String {
        written(&self.registry)
    }
}
