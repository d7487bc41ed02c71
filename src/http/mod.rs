//! The network edge: listeners, limits, routes. It never touches the host; what it needs comes through plain values and
//! [`crate::engine::Handle`].

mod access;
mod basic;
pub mod client;
mod control;
mod gate;
mod health;
mod listen;
mod metrics;
mod pages;
mod places;
mod report;
mod route;
mod server;
mod signature;
mod status;
mod stream;
mod tls;
mod turns;
mod verdict;
mod webhook;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use hyper::Request;
use hyper::body::Incoming;

use crate::alert::instance::OwnNames;
use crate::config::{Config, InForce};
use crate::engine::Handle;
use crate::inventory::Latest;
use crate::metrics::autoscaler::Metrics;
use crate::metrics::edge::Edge;
use crate::metrics::exposition::Exposition;
use crate::report::Make;
pub use access::{Access, AccessError};
pub use control::{Control, ControlSocket, Extend, bind_control, serve_control};
use gate::ANSWERED_WITHIN;
pub use gate::{Place, Posted, read as read_body};
pub use listen::{ListenAddress, Listeners};
pub use metrics::Pages;
pub use pages::StatusPages;
pub use report::Reports;
pub use route::{Answer, text, with_type};
pub use server::{Limits, serve};

/// Why something was not written to the journal in time, as far as the journal knows: a disk that hangs, or a host that
/// is too busy.
fn not_written(engine: &Handle) -> String {
    let within = ANSWERED_WITHIN.as_secs();
    let why = match engine.shared().journal().answers() {
        Err(error) => error.to_string(),
        Ok(()) => format!("the journal was not written within {within} s"),
    };
    format!("{why}; this may still be written later")
}

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
    /// What is counted of those who connect.
    fn edge(&self) -> &Edge;
    /// The names this host goes by, for the header `Host`.
    fn names(&self) -> OwnNames;
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
    /// Those that were made last.
    pub reporting: tokio::sync::Mutex<Reports>,
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
    fn names_for(&self, config: &Config) -> OwnNames {
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

    fn edge(&self) -> &Edge {
        &self.metrics.edge
    }

    fn names(&self) -> OwnNames {
        let own = (self.own_names)();
        own.and(self.config().instances.iter().flatten())
    }

    fn limits(&self) -> Limits {
        self.limits
    }
}
