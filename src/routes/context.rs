//! What the routes work with.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::kept::{KeptReports, Pages, StatusPages};
use crate::alert::instance::OwnNames;
use crate::config::{Config, InForce};
use crate::engine::Front;
use crate::inventory::Latest;
use crate::metrics::exposition::Exposition;
use crate::metrics::web::WebMetrics;
use crate::report::Make;
use crate::server::{Access, Limits};

/// Everything the routes need.
pub struct Context {
    /// Where the metrics are.
    pub telemetry_path: String,
    /// What is wanted; [`Context::config`] is how it is now.
    pub in_force: Arc<InForce>,
    /// The names that the host itself has now: an address may come after the start, and move to another host.
    pub own_names: Box<dyn Fn() -> OwnNames + Send + Sync>,
    /// The engine.
    pub front: Arc<dyn Front>,
    /// The last inventory.
    pub latest: Arc<Latest>,
    /// Makes the pages of metrics.
    pub exposition: Exposition,
    /// Pages that are being made, for scrapes that come at the same time.
    pub pages: Pages,
    /// The status page and its twins under `/api/v1/`.
    pub status: StatusPages,
    /// Makes reports.
    pub report: Make,
    /// Those that were made last.
    pub reporting: tokio::sync::Mutex<KeptReports>,
    /// What is counted.
    pub metrics: Arc<WebMetrics>,
    /// What connections are under.
    pub limits: Limits,
    /// The access rules.
    pub access: Arc<Access>,
    /// Set when the daemon is stopping.
    pub draining: AtomicBool,
}

impl Context {
    /// What is wanted now. One request is answered with one of them.
    pub fn config(&self) -> Arc<Config> {
        self.in_force.get()
    }

    /// What counts as this host.
    pub(super) fn names_for(&self, config: &Config) -> OwnNames {
        config.instances.as_ref().map_or_else(|| (self.own_names)(), OwnNames::new)
    }
}
