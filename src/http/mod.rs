//! The network edge: listeners, limits, routes. It never touches the host; what it needs comes through plain values and
//! [`crate::engine::Handle`].

mod control;
mod metrics;
mod pages;
mod route;
mod server;
mod webhook;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::alert::target::OwnNames;
use crate::config::Config;
use crate::engine::Handle;
use crate::inventory::Latest;
use crate::metrics::autoscaler::Metrics;
use crate::metrics::exposition::Exposition;
pub use control::{bind_control, serve_control};
pub use metrics::Pages;
pub use server::{ListenAddress, Listeners, bind, serve};

/// Alertmanager sends the body at once.
pub const BODY_DEADLINE: Duration = Duration::from_secs(10);

/// Everything the routes need.
pub struct Context {
    /// Where the metrics are.
    pub telemetry_path: String,
    /// What is wanted.
    pub config: Arc<Config>,
    /// The names of this host.
    pub own_names: OwnNames,
    /// The engine; `None` when nothing may grow.
    pub engine: Option<Handle>,
    /// The last inventory.
    pub latest: Arc<Latest>,
    /// Makes the pages of metrics.
    pub exposition: Exposition,
    /// Pages that are being made, for scrapes that come at the same time.
    pub pages: Pages,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// How long the body of a request may take.
    pub body_deadline: Duration,
    /// Set when the daemon is stopping.
    pub draining: AtomicBool,
}
