//! What happens where the daemon is reached and where it tells: counters that live as long as that part of it.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use std::sync::atomic::AtomicI64;

use super::edge::Edge;
use super::families::{families, written};
use super::words::{AlertVerdict, Notified};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CodeLabel {
    code: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VerdictLabel {
    verdict: AlertVerdict,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindOutcome {
    kind: &'static str,
    outcome: Notified,
}

families! {
    /// The counters and gauges of the web side.
    pub struct WebMetrics {
        webhook_requests: Family<CodeLabel, Counter>,
            "webhook_requests" ["code"]
            "Requests to the webhook, by the status of the answer";
        alerts: Family<VerdictLabel, Counter>,
            "alerts" ["verdict"]
            "Alerts received, by verdict: accepted, coalesced, not_accepted, refused, ignored, resolved";
        /// Lines that the log left out.
        pub log_lines_left_out: Counter,
            "log_lines_left_out" []
            "Log lines that were left out, because many of the same kind came before them";
        /// Whether the web config was accepted the last time.
        pub web_config_accepted: Gauge<i64, AtomicI64>,
            "web_config_last_reload_successful" []
            "Whether the web config and the certificates in it were accepted the last time they were read; if not, \
             those before stay in force";
        notifications: Family<KindOutcome, Counter>,
            "notifications" ["kind", "outcome"]
            "Attempts to notify, by kind (webhook, email): sent, retried (failed and will be tried again), failed \
             (given up), dropped (too many waited)";
    }
    also {
        registry: Registry,
        /// Of those who connect.
        pub edge: Edge,
    }
}

impl Default for WebMetrics {
    fn default() -> WebMetrics {
        let metrics = WebMetrics::new();
        metrics.web_config_accepted.set(1);
        for verdict in AlertVerdict::ALL {
            drop(metrics.alerts.get_or_create(&VerdictLabel { verdict: *verdict }));
        }
        for code in [200, 202, 400, 401, 403, 404, 413, 421, 429, 500, 503] {
            drop(metrics.webhook_requests.get_or_create(&CodeLabel { code }));
        }
        let mut registry = Registry::with_prefix("lvm_autoscaler");
        metrics.add_to(&mut registry);
        metrics.edge.register(&mut registry);
        WebMetrics { registry, ..metrics }
    }
}

impl WebMetrics {
    /// All of it, as it stands on a page of metrics, without the mark at its end.
    pub fn text(&self) -> String {
        written(&self.registry)
    }

    /// How an attempt to notify ended.
    pub fn notified(&self, kind: &'static str, outcome: Notified) {
        self.notifications.get_or_create(&KindOutcome { kind, outcome }).inc();
    }

    /// Shows a kind of notification before the first of it, so that a rate over it has a beginning.
    pub fn expect_notifications(&self, kind: &'static str) {
        for outcome in Notified::ALL {
            drop(self.notifications.get_or_create(&KindOutcome { kind, outcome: *outcome }));
        }
    }

    /// A request to the webhook was answered.
    pub fn webhook_answered(&self, code: u16) {
        self.webhook_requests.get_or_create(&CodeLabel { code }).inc();
    }

    /// An alert was looked at.
    pub fn alert(&self, verdict: AlertVerdict) {
        self.alerts.get_or_create(&VerdictLabel { verdict }).inc();
    }
}
