//! Reports of this host: made when somebody asks, and kept by themselves every `report.interval`.
//!
//! The schedule is a thread of its own that waits for nobody and for which nobody waits. It ends with the process: a
//! report is written whole or not at all.

use crate::plan::applied;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use jiff::Timestamp;

use super::usage::with_usage;
use crate::config::{Config, InForce};
use crate::engine::Handle;
use crate::host::{Focus, Host, look};
use crate::inventory::{Inventory, Latest, Sample};
use crate::journal::{Journal, State};
use crate::metrics::autoscaler::Metrics;
use crate::report::store::{Store, StoreError};
use crate::report::{Make, Material, Report, ReportRequest, Snapshot, render};

/// How often the schedule looks whether it is time; an interval is at least a minute.
const LOOK: Duration = Duration::from_secs(10);
/// How long it waits after a report could not be kept.
const AGAIN: Duration = Duration::from_secs(600);

/// Makes the reports of a running daemon.
pub struct Reporter {
    /// What is wanted.
    pub in_force: Arc<InForce>,
    /// For the time and for the usage of file systems.
    pub host: Arc<dyn Host>,
    /// The last inventory.
    pub latest: Arc<Latest>,
    /// Whose journal it is; empty as long as nothing may grow.
    pub engine: Arc<OnceLock<Handle>>,
    /// Where the last success is shown.
    pub metrics: Arc<Metrics>,
}

impl Reporter {
    /// For `GET /report` and the control socket.
    pub fn maker(self: &Arc<Reporter>) -> Make {
        let reporter = Arc::clone(self);
        Arc::new(move |wish: &ReportRequest| {
            let config = reporter.in_force.get();
            let since = wish.since.map(|since| since.from(reporter.host.now()));
            let (report, _) = reporter.make(&config, &store(&config), since);
            render(&report, wish.format).map_err(|error| crate::chain(&error))
        })
    }

    fn make(&self, config: &Config, store: &Store, since: Option<Timestamp>) -> (Report, Snapshot) {
        let Sample { inventory, succeeded, .. } = self.latest.get();
        let filesystems = with_usage(self.host.as_ref(), inventory.filesystems.clone());
        let inventory = Inventory { filesystems, ..(*inventory).clone() };
        let (state, writable) = match self.engine.get() {
            None => (Arc::default(), None),
            Some(engine) => {
                let journal = engine.shared().journal();
                (journal.state(), Some(journal.is_writable()))
            }
        };
        report(self.host.as_ref(), config, (&inventory, succeeded), (&*state, writable), store, since)
    }

    /// Starts the schedule. Without an interval it waits for a reload that brings one.
    pub fn schedule(self: Arc<Reporter>) {
        std::thread::spawn(move || {
            let mut failed_at = None;
            loop {
                if failed_at.is_none_or(|at| self.host.moment().since(&at) >= AGAIN) {
                    failed_at = self.look().is_err().then(|| self.host.moment());
                }
                self.host.sleep(LOOK);
            }
        });
    }

    /// Keeps a report if it is time. That is read off the last one that was kept, so that a restart changes nothing.
    pub fn look(&self) -> Result<(), StoreError> {
        let config = self.in_force.get();
        // A report of nothing would be taken for the state of things by the next one.
        let Some(interval) = config.report.interval.filter(|_| self.latest.get().taken) else { return Ok(()) };
        let store = store(&config);
        let now = self.host.moment();
        if let Some(last) = store.last() {
            self.metrics.report_kept(last.at);
            if now.since(&last) < interval {
                return Ok(());
            }
        }
        let (report, snapshot) = self.make(&config, &store, None);
        let kept = store.keep(&report, &snapshot, &config.report.formats, config.report.keep);
        match &kept {
            Ok(()) => {
                self.metrics.report_kept(now.at);
                tracing::info!(folder = %config.report_directory().display(), "a report was written");
            }
            Err(error) => tracing::error!("no report could be kept, trying again: {}", crate::chain(error)),
        }
        kept
    }
}

/// The report of this host without a daemon, from a fresh look and a journal that is only read.
pub fn alone(host: &dyn Host, config: &Arc<Config>, wish: &ReportRequest) -> anyhow::Result<String> {
    let since = wish.since.map(|since| since.from(host.now()));
    let inventory = look(host, Focus::Everything)?;
    let config = &*applied(config, &inventory);
    let state = match config.grows_nothing() {
        true => State::default(),
        false => Journal::peek(&config.state_directory)?,
    };
    let (report, _) = report(host, config, (&inventory, true), (&state, None), &store(config), since);
    Ok(render(&report, wish.format)?)
}

fn store(config: &Config) -> Store {
    Store::new(config.report_directory())
}

fn report(
    host: &dyn Host,
    config: &Config,
    (inventory, looked): (&Inventory, bool),
    (state, journal_writable): (&State, Option<bool>),
    store: &Store,
    since: Option<Timestamp>,
) -> (Report, Snapshot) {
    let name = host.own_names().into_iter().next().unwrap_or_else(|| "this host".to_owned());
    let earlier = store.snapshots();
    let now = host.moment();
    let facts =
        Material { host: &name, now, config, inventory, looked, state, journal_writable, earlier: &earlier, since };
    (Report::new(&facts), Snapshot::new(inventory, now))
}
