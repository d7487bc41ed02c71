//! The half of a daemon that is reached, as the one that acts knows it.

use std::sync::{Arc, OnceLock};

use crate::metrics::web::WebMetrics;
use crate::server::Access;
use crate::wire;

/// Where the half is that is reached.
pub(super) enum Beside {
    /// In this process.
    Here { access: Arc<Access>, metrics: Arc<WebMetrics> },
    /// In another one.
    There(OnceLock<Arc<wire::Engine>>),
}

impl Beside {
    /// This process' end of the way to the other one.
    pub(super) fn engine(&self) -> Option<&Arc<wire::Engine>> {
        match self {
            Beside::Here { .. } => None,
            Beside::There(engine) => engine.get(),
        }
    }
}
