//! The daemon's own look at its targets: with `monitor.interval_seconds`, what is over its threshold enters the same
//! pipeline that alerts enter.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::{Handle, Pipeline, Request, Shared, is_due};
use crate::config::{Mode, Offline, Target, What};
use crate::host::{Focus, look};
use crate::inventory::mounts;
use crate::journal::Source;
use crate::name::{LvRef, MountPoint};
use crate::plan::Moment;
use crate::units::Percent;

/// Looks at all targets once per interval until the daemon stops, or the config no longer asks for it.
pub(super) fn watch(handle: &Handle) {
    let shared = Arc::clone(handle.shared());
    let mut silent = Silent::default();
    while handle.goes_on_watching() {
        let config = shared.config();
        let over = config.targets.iter().filter(|target| is_over(&shared, target, &mut silent));
        let over: Vec<Request> = over.map(request).collect();
        if !over.is_empty()
            && let Err(error) = handle.submit(over)
        {
            tracing::warn!("targets over their threshold are not looked at now: {}", crate::chain(&error));
        }
        wait(&shared);
    }
}

/// One interval, as long as it is at the moment: a reload may change it.
fn wait(shared: &Shared) {
    const SLICE: Duration = Duration::from_secs(1);
    let mut waited = Duration::ZERO;
    while let Some(left) = shared.config().interval.and_then(|interval| interval.checked_sub(waited))
        && !left.is_zero()
        && !shared.is_stopping()
    {
        shared.pause(left.min(SLICE));
        waited += left.min(SLICE);
    }
}

/// How often to look at what needs attention: soon enough that who mended it sees the metric go. Nothing is read where
/// nothing needs attention.
const ATTEND: Duration = Duration::from_secs(30);
const SLICE: Duration = Duration::from_millis(200);

/// Notices what a person finished by hand, until the daemon stops. Counts real time, also on a simulated host: a second
/// clock that moves the simulated one would be in everybody's way.
pub(super) fn attend(shared: &Arc<Shared>) {
    let pipeline = Pipeline(Arc::clone(shared));
    let mut waited = Duration::ZERO;
    while !shared.is_stopping() {
        std::thread::sleep(SLICE);
        waited += SLICE;
        if waited < ATTEND {
            continue;
        }
        waited = Duration::ZERO;
        if let Err(error) = pipeline.clear_what_is_mended() {
            tracing::error!("cannot record what was finished by hand: {}", crate::chain(&error));
        }
    }
}

/// When it was last logged that a target does not say how full it is.
type Silent = BTreeMap<LvRef, Moment>;

/// A cheap first look: one `statvfs`, or one report about a pool. Whether it is the right thing is for the guards to
/// see.
fn is_over(shared: &Shared, target: &Target, silent: &mut Silent) -> bool {
    if target.mode == Mode::Off {
        return false;
    }
    let over = |percent: Option<Percent>, threshold: Percent| percent.is_some_and(|p| p.value() > threshold.value());
    match &target.what {
        What::FileSystem(fs) if fs.offline == Offline::Allow && is_unmounted(shared, &fs.mount_point) => {
            let inventory = look(shared.host.as_ref(), Focus::Volume(&target.lv));
            let found = inventory.ok().and_then(|inventory| inventory.unmounted_at(&target.lv, &fs.mount_point));
            found.and_then(|found| found.usage).is_some_and(|usage| {
                over(Some(usage.percent()), target.threshold) || over(usage.inode_percent(), fs.inode_threshold)
            })
        }
        What::FileSystem(fs) => match shared.host.usage(&fs.mount_point) {
            Ok((usage, _)) => {
                silent.remove(&target.lv);
                over(Some(usage.percent()), target.threshold) || over(usage.inode_percent(), fs.inode_threshold)
            }
            Err(error) => {
                let now = shared.host.moment();
                if is_due(silent.get(&target.lv).copied(), now) {
                    silent.insert(target.lv.clone(), now);
                    tracing::warn!(
                        lv = %target.lv,
                        mount_point = %fs.mount_point,
                        "its usage cannot be read, so whether it should grow is not known: {error}"
                    );
                }
                false
            }
        },
        What::ThinPool { metadata_threshold } => {
            let inventory = look(shared.host.as_ref(), Focus::Volume(&target.lv));
            let pool = inventory.as_ref().ok().and_then(|inventory| inventory.lv(&target.lv));
            pool.is_some_and(|pool| {
                over(pool.data_percent, target.threshold) || over(pool.metadata_percent, *metadata_threshold)
            })
        }
    }
}

/// Without this the path would lead to whatever is above it.
fn is_unmounted(shared: &Shared, mount_point: &MountPoint) -> bool {
    let mounts = shared.host.mountinfo().map(|text| mounts::parse(&text).0);
    mounts.is_ok_and(|mounts| !mounts.iter().any(|mount| &mount.mount_point == mount_point))
}

fn request(target: &Target) -> Request {
    Request { lv: target.lv.clone(), source: Source::Monitor, fingerprint: String::new() }
}
