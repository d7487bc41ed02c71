//! The composition root of the daemon: builds everything once, runs until a signal, drains in order.
//!
//! A daemon has two halves: the one that acts, and the one that is reached. [`serve()`] is both in one process;
//! [`engine()`] and [`web()`] are one each, and `wire` is between them.

mod acting;
mod beside;
mod confined;
mod control;
mod engine;
mod hosts;
mod life;
mod names;
mod options;
mod relay;
mod reload;
pub mod reports;
mod serve;
mod usage;
mod web;

pub use engine::engine;
pub(crate) use hosts::{host_name, wall_clock};
pub use hosts::{missing, open_host, open_host_of_daemon};
pub use options::{DEFAULT_CONFIG, Options, UsageError, load_config, load_config_with_places};
pub use relay::relay;
pub use serve::serve;
pub use usage::read_usage;
pub use web::web;
