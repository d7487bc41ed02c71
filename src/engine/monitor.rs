//! The daemon's own look at its targets: with `monitor.interval_seconds`, what is over its threshold enters the same
//! pipeline that alerts enter.

use std::sync::Arc;
use std::time::Duration;

use super::{Handle, Request, Shared};
use crate::config::Target;
use crate::journal::Source;

/// Looks at all targets once per interval until the daemon stops.
pub(super) fn watch(handle: &Handle, interval: Duration) {
    let shared = Arc::clone(handle.shared());
    while !shared.is_stopping() {
        let over: Vec<Request> =
            shared.config.targets.iter().filter(|target| is_over(&shared, target)).map(request).collect();
        if !over.is_empty()
            && let Err(error) = handle.submit(over)
        {
            tracing::warn!("targets over their threshold are not looked at now: {}", crate::chain(&error));
        }
        shared.pause(interval);
    }
}

/// A cheap first look, one `statvfs`. Whether it is the right file system is for the guards to see.
fn is_over(shared: &Shared, target: &Target) -> bool {
    match shared.host.usage(&target.mount_point) {
        Ok((usage, _)) => usage.percent().value() > target.threshold.value(),
        Err(error) => {
            tracing::debug!(lv = %target.lv, mount_point = %target.mount_point, "usage cannot be read: {error}");
            false
        }
    }
}

fn request(target: &Target) -> Request {
    Request { lv: target.lv.clone(), source: Source::Monitor, fingerprint: String::new() }
}
