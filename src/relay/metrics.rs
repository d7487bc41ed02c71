//! What a relay counts.

use std::sync::atomic::AtomicI64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::metrics::edge::Edge;
use crate::metrics::words::{Delivered, Passed};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Build {
    version: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Code {
    code: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Delivery {
    host: String,
    outcome: Delivered,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VerdictLabel {
    verdict: Passed,
}

/// The counters and gauges.
pub(super) struct Metrics {
    registry: Registry,
    requests: Family<Code, Counter>,
    deliveries: Family<Delivery, Counter>,
    alerts: Family<VerdictLabel, Counter>,
    pub(super) hosts: Gauge<i64, AtomicI64>,
    pub(super) hosts_good: Gauge<i64, AtomicI64>,
    pub(super) web_good: Gauge<i64, AtomicI64>,
    pub(super) edge: Edge,
}

impl Metrics {
    pub(super) fn new() -> Metrics {
        let mut registry = Registry::with_prefix("lvm_autoscaler_relay");
        let metrics = Metrics {
            registry: Registry::default(),
            requests: Family::default(),
            deliveries: Family::default(),
            alerts: Family::default(),
            hosts: Gauge::default(),
            hosts_good: Gauge::default(),
            web_good: Gauge::default(),
            edge: Edge::default(),
        };
        let build = Family::<Build, Gauge>::default();
        build.get_or_create(&Build { version: env!("CARGO_PKG_VERSION") }).set(1);
        registry.register("build_info", "The program's version, always 1", build);
        let requests = "Requests to the webhook, by the status that was answered";
        registry.register("webhook_requests", requests, metrics.requests.clone());
        let deliveries = "Deliveries to hosts: accepted, rejected by the host, or unreachable";
        registry.register("deliveries", deliveries, metrics.deliveries.clone());
        let alerts = "Alerts received: forwarded, unknown_instance, or resolved and so not forwarded";
        registry.register("alerts", alerts, metrics.alerts.clone());
        registry.register("hosts", "Hosts in the list", metrics.hosts.clone());
        let good = "Whether the list of hosts could be read the last time";
        registry.register("hosts_last_reload_successful", good, metrics.hosts_good.clone());
        let good = "Whether the web config in force is the one on disk";
        registry.register("web_config_last_reload_successful", good, metrics.web_good.clone());
        metrics.edge.register(&mut registry);
        for verdict in Passed::ALL {
            metrics.alerts(*verdict, 0);
        }
        Metrics { registry, ..metrics }
    }

    pub(super) fn answered(&self, code: u16) {
        self.requests.get_or_create(&Code { code }).inc();
    }

    pub(super) fn delivered(&self, host: &str, outcome: Delivered) {
        self.deliveries.get_or_create(&Delivery { host: host.to_owned(), outcome }).inc();
    }

    pub(super) fn alerts(&self, verdict: Passed, count: usize) {
        self.alerts.get_or_create(&VerdictLabel { verdict }).inc_by(count as u64);
    }

    /// OpenMetrics 1.0.
    pub(super) fn page(&self) -> Result<String, std::fmt::Error> {
        let mut page = String::new();
        prometheus_client::encoding::text::encode(&mut page, &self.registry)?;
        Ok(page)
    }
}
