//! The daemon's own site: metrics, status, report, health and the webhooks. It never touches the host; what it needs
//! comes through plain values and [`crate::engine::Handle`].

mod context;
mod health;
mod kept;
mod metrics;
mod origin;
mod pages;
mod report;
mod route;
mod signature;
mod stack;
mod status;
mod usage;
mod verdict;
mod webhook;

pub use context::Context;
pub use kept::{KeptReports, Pages, StatusPages};
