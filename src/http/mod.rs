//! The network edge: listeners, limits, routes. It never touches the host; what it needs comes through plain values and
//! [`crate::engine::Handle`].

mod access;
mod basic;
pub mod client;
mod control;
mod listen;
mod metrics;
mod pages;
mod report;
mod route;
mod server;
mod signature;
mod status;
mod stream;
mod tls;
mod verdict;
mod webhook;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;

use crate::alert::instance::OwnNames;
use crate::config::{Config, InForce};
use crate::engine::Handle;
use crate::inventory::Latest;
use crate::metrics::autoscaler::Metrics;
use crate::metrics::exposition::Exposition;
use crate::report::Make;
pub use access::{Access, AccessError};
pub use control::{Control, Extend, bind_control, serve_control};
pub use listen::{ListenAddress, Listeners};
pub use metrics::Pages;
pub use pages::StatusPages;
pub use route::{Answer, text, with_type};
pub use server::{Limits, serve};
pub use webhook::read as read_body;

/// Who waits for the journal's disk is answered by then, also where it hangs: a little later than those are who wait for
/// somebody else's write, and before Alertmanager's shortest `group_interval`, 10 s, is over.
const ANSWERED_WITHIN: Duration = Duration::from_secs(8);
const NOT_WRITTEN: &str = "the journal's disk does not answer; whether it has this shows when it does";

/// What stands behind the listeners: the daemon, or a relay.
pub trait Site: Send + Sync + 'static {
    /// Who may ask for what.
    fn access(&self) -> &Arc<Access>;
    /// What is wanted now.
    fn config(&self) -> Arc<Config>;
    /// Answers a request from those who may ask.
    fn inside(self: Arc<Self>, request: Request<Incoming>) -> impl Future<Output = Answer> + Send;
    /// Counts a request to a webhook, refused or not.
    fn webhook_answered(&self, status: u16);
    /// No new connections are taken any more.
    fn drain(&self);
    /// What connections are under.
    fn limits(&self) -> Limits {
        Limits::default()
    }
}

/// Everything the routes need.
pub struct Context {
    /// Where the metrics are.
    pub telemetry_path: String,
    /// What is wanted; [`Context::config`] is how it is now.
    pub in_force: Arc<InForce>,
    /// The names that the host itself has now: an address may come after the start, and move to another host.
    pub own_names: Box<dyn Fn() -> OwnNames + Send + Sync>,
    /// The engine; empty as long as nothing may grow. A reload that brings the first target starts it.
    pub engine: Arc<OnceLock<Handle>>,
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
    /// Held while one is made.
    pub reporting: tokio::sync::Mutex<()>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// What connections are under.
    pub limits: Limits,
    /// Who may ask for what.
    pub access: Arc<Access>,
    /// Set when the daemon is stopping.
    pub draining: AtomicBool,
}

impl Context {
    /// What is wanted now. One request is answered with one of them.
    pub fn config(&self) -> Arc<Config> {
        self.in_force.get()
    }

    /// The engine, if anything may grow.
    pub fn engine(&self) -> Option<&Handle> {
        self.engine.get()
    }

    /// What counts as this host.
    fn names(&self, config: &Config) -> OwnNames {
        config.instances.as_ref().map_or_else(|| (self.own_names)(), OwnNames::new)
    }
}

impl Site for Context {
    fn access(&self) -> &Arc<Access> {
        &self.access
    }

    fn config(&self) -> Arc<Config> {
        self.in_force.get()
    }

    async fn inside(self: Arc<Self>, request: Request<Incoming>) -> Answer {
        route::inside(&self, request).await
    }

    fn webhook_answered(&self, status: u16) {
        self.metrics.webhook_answered(status);
    }

    fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    fn limits(&self) -> Limits {
        self.limits
    }
}
