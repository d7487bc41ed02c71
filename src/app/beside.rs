//! The half of a daemon that is reached, as the one that acts knows it.

use std::sync::{Arc, OnceLock};

use super::confined::Folders;
use crate::config::Config;
use crate::metrics::web::WebMetrics;
use crate::server::Access;
use crate::wire;

/// Where the half is that is reached.
pub(super) enum Beside {
    /// In this process.
    Here { access: Arc<Access>, metrics: Arc<WebMetrics> },
    /// In another one.
    There(Parted),
}

/// What this process has of the other one, and less than both in one would have.
#[derive(Default)]
pub(super) struct Parted {
    pub(super) engine: OnceLock<Arc<wire::Engine>>,
    /// Where alone it may write, if the kernel holds it to that.
    pub(super) writes: Option<Folders>,
}

impl Beside {
    /// This process' end of the way to the other one.
    pub(super) fn engine(&self) -> Option<&Arc<wire::Engine>> {
        match self {
            Beside::Here { .. } => None,
            Beside::There(parted) => parted.engine.get(),
        }
    }

    /// Why a config cannot be in force without a new start.
    pub(super) fn objection(&self, config: &Config) -> Option<String> {
        match self {
            Beside::Here { .. } => None,
            Beside::There(parted) => parted.writes.as_ref()?.objection(config),
        }
    }
}
