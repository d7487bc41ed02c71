//! Reports that are written by themselves: when, how many, and what becomes of them when the disk says no.

use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::common::*;
use lvm_autoscaler::app::reports::Reporter;
use lvm_autoscaler::config::InForce;
use lvm_autoscaler::engine;
use lvm_autoscaler::host::{Focus, Host, look};
use lvm_autoscaler::inventory::Latest;
use lvm_autoscaler::metrics::autoscaler::Metrics;

/// A world with the schedule of a daemon on it.
struct Scheduled {
    world: World,
    latest: Arc<Latest>,
    metrics: Arc<Metrics>,
}

impl Scheduled {
    fn start(config: &str) -> Scheduled {
        Scheduled {
            world: World::new(HOST, &format!("{CONFIG}{config}")),
            latest: Arc::default(),
            metrics: Arc::default(),
        }
    }

    fn reporter(&self) -> Arc<Reporter> {
        let inventory = look(self.world.sim.as_ref(), Focus::Everything).expect("LVM answers");
        self.latest.set(Some(inventory), Duration::ZERO);
        Arc::new(Reporter {
            in_force: InForce::new(Arc::clone(&self.world.config)),
            host: Arc::clone(&self.world.sim) as Arc<dyn Host>,
            latest: Arc::clone(&self.latest),
            engine: Arc::new(OnceLock::from(engine::start(self.world.shared(false)))),
            metrics: Arc::clone(&self.metrics),
        })
    }

    fn folder(&self) -> std::path::PathBuf {
        self.world.folder.path().join("reports")
    }

    fn last_success(&self) -> f64 {
        self.metrics.report_success.get()
    }
}

fn kept(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).map(|entries| entries.flatten().collect::<Vec<_>>()).unwrap_or_default();
    let mut names: Vec<String> = entries.iter().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn one_is_kept_each_interval_and_a_restart_changes_nothing() {
    let scheduled = Scheduled::start("report: { interval: 24h, formats: [html, json], keep: 2 }");
    let reporter = scheduled.reporter();
    let mut written = Vec::new();
    // Five days, hour by hour; after each the daemon is another one.
    for hour in 0..=5 * 24 {
        let reporter = if hour % 7 == 0 { scheduled.reporter() } else { Arc::clone(&reporter) };
        reporter.look().expect("it can be kept");
        let last = kept(&scheduled.folder()).last().cloned().expect("one is there");
        if written.last() != Some(&last) {
            written.push(last);
        }
        scheduled.world.minutes(60);
    }
    assert_eq!(written.len(), 6, "{written:?}");
    let names = kept(&scheduled.folder());
    assert_eq!(names.len(), 2 * 3, "{names:?}");
    assert!(
        names[0].starts_with("report-000005-20260105T000000Z")
            && names[5].starts_with("report-000006-20260106T000000Z")
    );
    assert_eq!(scheduled.last_success(), scheduled.world.sim.now().as_second() as f64 - 3600.0);
    let html = std::fs::read_to_string(scheduled.folder().join(&names[3])).expect("readable");
    assert!(html.contains("Compared with 2026-01-05 00:00 UTC, 24 hours before."), "{html}");
}

#[test]
fn without_an_interval_or_an_inventory_nothing_is_written() {
    let scheduled = Scheduled::start("");
    scheduled.reporter().look().expect("nothing to do");
    assert!(kept(&scheduled.folder()).is_empty());
    let scheduled = Scheduled::start("report: { interval: 1h }");
    let reporter = scheduled.reporter();
    let blind = Reporter {
        in_force: Arc::clone(&reporter.in_force),
        host: Arc::clone(&reporter.host),
        latest: Arc::default(),
        engine: Arc::clone(&reporter.engine),
        metrics: Arc::clone(&reporter.metrics),
    };
    blind.look().expect("nothing to do");
    assert!(kept(&scheduled.folder()).is_empty());
    assert_eq!(scheduled.last_success(), 0.0);
}

/// A folder that cannot be written is an error that is seen, and what was kept before stays as it was.
#[test]
#[expect(clippy::disallowed_methods, reason = "a test stands in the way")]
fn a_report_that_cannot_be_written_is_an_error_and_leaves_nothing_behind() {
    let scheduled = Scheduled::start("report: { interval: 1h }");
    std::fs::write(scheduled.folder(), "not a folder").expect("writable");
    scheduled.reporter().look().expect_err("there is no folder");
    assert_eq!(scheduled.last_success(), 0.0);
    std::fs::remove_file(scheduled.folder()).expect("writable");
    scheduled.reporter().look().expect("it can be kept");
    assert_eq!(kept(&scheduled.folder()).len(), 3);
}
