//! Why something is a target: where the config says so.

use std::path::PathBuf;

use serde::Serialize;

use crate::config::{Origin, Target};

/// The same for the API and the page.
#[derive(Debug, Serialize)]
pub(super) struct OriginView {
    /// The policy that selects it; `None`: an entry of `monitor.targets`.
    policy: Option<String>,
    file: Option<PathBuf>,
    line: Option<usize>,
}

impl OriginView {
    pub(super) fn of(target: &Target) -> OriginView {
        let Origin { policy, place } = target.origin.clone();
        let (file, line) = place.unzip();
        OriginView { policy, file, line }
    }
}
