//! The half that is reached, as a process of its own: it has the network, and no rights.

use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use super::confined;
use super::hosts::told_as;
use super::life::{TELL_AT_END, open_sockets, reached, runtime};
use super::options::{Options, config_of};
use crate::alert::instance::OwnNames;
use crate::config::{Config, InForce, Text};
use crate::files;
use crate::host::process;
use crate::inventory::{Inventory, Latest};
use crate::metrics::exposition::Exposition;
use crate::metrics::web::WebMetrics;
use crate::notify::{self, Notifier};
use crate::plan::{Moment, applied};
use crate::routes::{Context, Pages, StatusPages};
use crate::server::{Access, Limits};
use crate::wire::{Configured, Files, Link, RecordsOverLink};

/// How long to wait before an engine is looked for again.
const AGAIN: Duration = Duration::from_millis(200);

/// Runs until a signal; the other half is behind that socket.
pub fn web(options: &Options, socket: &Path) -> anyhow::Result<()> {
    // Before there is a second thread: those that are there would stay as they are.
    if options.confined {
        confined::web(&options.listen);
    }
    let latest = Arc::new(Latest::default());
    let link = Link::new(socket, Arc::clone(&latest));
    let in_force = InForce::new(Config::default());
    let parts = Arc::new(Reached {
        in_force: Arc::clone(&in_force),
        latest: Arc::clone(&latest),
        access: OnceLock::new(),
        accepted: Mutex::default(),
        notifier: OnceLock::new(),
    });
    files::read_through(Box::new(Files(Arc::clone(&link))));
    link.configures(Arc::clone(&parts) as Arc<dyn Configured>);
    meet(&link);
    let listeners = open_sockets(options)?;
    let access = Access::load(options.web_config_file.as_deref(), listeners.addresses(), &in_force.get())?;
    let access = Arc::new(access);
    let _ = parts.access.set(Arc::clone(&access));
    let metrics = Arc::new(WebMetrics::default());
    let host = link.names().into_iter().next().unwrap_or_default();
    let records = Arc::new(RecordsOverLink::new(Arc::clone(&link)));
    let now = moment(&link);
    let told = Arc::clone(&records) as Arc<dyn notify::Records>;
    let teller = told_as(&link.names(), options.simulate.is_some());
    let notifier = Notifier::start(Arc::clone(&in_force), teller, Arc::clone(&metrics), told, &now)?;
    let _ = parts.notifier.set(Arc::clone(&notifier));
    let heard = Arc::clone(&notifier);
    records.follow(move |record| heard.hear(record));
    link.follow();
    let (runtime, signals) = runtime()?;
    let (named, clock, report) = (Arc::clone(&link), Arc::clone(&link), Arc::clone(&link));
    let context = Arc::new(Context {
        report: Arc::new(move |wish| report.report(wish)),
        reporting: tokio::sync::Mutex::default(),
        telemetry_path: options.telemetry_path.clone(),
        in_force,
        own_names: Box::new(move || OwnNames::new(named.names())),
        front: Arc::clone(&link) as _,
        exposition: Exposition::new(options.selection.clone(), Arc::clone(&latest), process::read),
        pages: Pages::default(),
        status: StatusPages::new(host, move || moment(&clock)),
        latest,
        metrics,
        limits: Limits::default(),
        access,
        draining: Default::default(),
    });
    let reload = Arc::new(|| tracing::info!("the config is reloaded by the engine: systemctl reload lvm-autoscaler"));
    runtime.block_on(reached(listeners, context, signals, reload))?;
    notifier.drain(TELL_AT_END);
    crate::log::summarise();
    tracing::info!("stopped");
    Ok(())
}

/// Without an engine nothing is known, not even who may connect.
fn meet(link: &Link) {
    let mut waiting = false;
    while let Err(error) = link.meet() {
        if !waiting {
            tracing::warn!("waiting for the engine: {}", crate::chain(&error));
        }
        waiting = true;
        std::thread::sleep(AGAIN);
    }
}

fn moment(link: &Link) -> Moment {
    link.moment().unwrap_or_else(|| jiff::Timestamp::UNIX_EPOCH.into())
}

/// What a config reaches.
struct Reached {
    in_force: Arc<InForce>,
    latest: Arc<Latest>,
    access: OnceLock<Arc<Access>>,
    /// What the engine proposed last, if there was no objection.
    accepted: Mutex<Vec<Text>>,
    notifier: OnceLock<Arc<Notifier>>,
}

impl Reached {
    /// Whether this process can use a config; one that it can is remembered.
    fn checked(&self, texts: &[Text], config: &Config) -> Result<(), String> {
        let admitted = self.access.get().map_or(Ok(()), |access| access.admits(config));
        admitted.map_err(|error| crate::chain(&error))?;
        notify::verify(config).map_err(|error| crate::chain(&error))?;
        texts.clone_into(&mut crate::locked(&self.accepted));
        Ok(())
    }
}

impl Configured for Reached {
    fn objection(&self, texts: &[Text], is_simulated: bool) -> Option<String> {
        match config_of(texts, is_simulated) {
            Ok((config, _)) => self.checked(texts, &config).err(),
            Err(error) => Some(format!("{error:#}")),
        }
    }

    fn put_in_force(&self, texts: &[Text], is_simulated: bool) {
        let config = match config_of(texts, is_simulated) {
            Ok((config, _)) => Arc::new(config),
            // The engine has it in force, and both read the same.
            Err(error) => return tracing::error!("the engine's config cannot be used: {error:#}"),
        };
        // An engine that was started anew, or had not heard of this process for a while, asked nobody: its config may
        // be one that opens the webhook to everybody on these listeners.
        let was_asked = crate::locked(&self.accepted).as_slice() == texts;
        if self.access.get().is_some()
            && !was_asked
            && let Err(objection) = self.checked(texts, &config)
        {
            return tracing::error!("the engine's config cannot be used here, the one before stays: {objection}");
        }
        self.in_force.replace(applied(&config, &self.latest.get().inventory));
        if let Some(Err(error)) = self.notifier.get().map(|notifier| notifier.reconfigure(&config)) {
            tracing::error!("new notify settings rejected; previous ones stay: {error}");
        }
        tracing::info!(config = config.counted(), "the engine's config is in force");
    }

    fn looked(&self, inventory: &Inventory) {
        self.in_force.change(|config| applied(config, inventory));
    }
}
