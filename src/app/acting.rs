//! The half of a daemon that acts: the host, the engine, what is written down.

use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};

use super::beside::Beside;
use super::hosts::{missing, open_host};
use super::life::{Reload, TELL_AT_END};
use super::names::watch_names;
use super::options::{DEFAULT_CONFIG, Options};
use super::reload::Daemon;
use super::reports::Reporter;
use super::usage::read_usage;
use crate::config::{Config, InForce};
use crate::engine::{Front, Handle, Inside};
use crate::host::{Sampler, uevent};
use crate::inventory::{Inventory, Latest};
use crate::metrics::autoscaler::Metrics;
use crate::plan::applied;

/// The half that acts.
pub(super) struct Acting {
    pub(super) daemon: Arc<Daemon>,
    pub(super) reporter: Arc<Reporter>,
    own_names: Vec<String>,
}

impl Acting {
    /// Looks at the host, and does nothing yet.
    pub(super) fn prepare(options: &Options, config: Config, beside: Beside) -> anyhow::Result<Acting> {
        let host = open_host(&config, options.simulate.as_deref())?;
        for tool in host.missing_tools().into_iter().filter(|tool| config.may_need(*tool)) {
            tracing::warn!(tool = tool.as_str(), "{}", missing(tool));
        }
        let in_force = InForce::new(config);
        let config = in_force.get();
        let latest = Arc::new(Latest::default());
        let interval = Arc::clone(&in_force);
        let interval = move || interval.get().inventory_interval;
        let metrics = Arc::new(Metrics::default());
        let mut names = watch_names(Arc::clone(&in_force), Arc::clone(&metrics));
        let engine: Arc<OnceLock<Handle>> = Arc::default();
        let (woken, selecting) = (Arc::clone(&engine), Arc::clone(&in_force));
        let seen = move |inventory: &Inventory| {
            selecting.change(|config| applied(config, inventory));
            names(inventory);
            woken.get().into_iter().for_each(|engine| engine.seen(inventory));
        };
        let sampler = Sampler::start(Arc::clone(&host), Arc::clone(&latest), interval, seen);
        if options.simulate.is_none()
            && let Err(error) = uevent::watch(sampler.clone())
        {
            tracing::warn!("no uevents, so LVM is read only once per interval: {error}");
        }
        metrics.config_read(Some(host.now()));
        let own_names = host.own_names();
        let names = config.instances.as_ref().unwrap_or(&own_names).join(",");
        tracing::info!(names, config = config.counted(), dry_run = options.dry_run, "starting");
        if config.grows_nothing() {
            tracing::info!("no targets, nothing may grow: `lvm-autoscaler init` proposes a config for this host");
        }
        let reporter = Arc::new(Reporter {
            in_force: Arc::clone(&in_force),
            host: Arc::clone(&host),
            latest: Arc::clone(&latest),
            engine: Arc::clone(&engine),
            metrics: Arc::clone(&metrics),
        });
        let daemon = Arc::new(Daemon {
            options: options.clone(),
            beside,
            in_force,
            latest,
            host,
            metrics,
            sampler,
            engine,
            tellers: OnceLock::new(),
            from_file: (options.config_file.is_some() || Path::new(DEFAULT_CONFIG).exists()).into(),
            one: Mutex::default(),
        });
        Ok(Acting { daemon, reporter, own_names })
    }

    /// From here on things may grow, and reports are kept.
    pub(super) fn start(&self) -> anyhow::Result<()> {
        if !self.daemon.in_force.get().grows_nothing() {
            self.daemon.start()?;
        }
        Arc::clone(&self.reporter).schedule();
        Ok(())
    }

    /// What the other half may know of this one.
    pub(super) fn front(&self) -> Arc<dyn Front> {
        let (engine, metrics) = (Arc::clone(&self.daemon.engine), Arc::clone(&self.daemon.metrics));
        Arc::new(Inside { engine, metrics, usage: read_usage(Arc::clone(&self.daemon.host)) })
    }

    /// What people call this host.
    pub(super) fn name(&self) -> String {
        self.own_names.first().cloned().unwrap_or_default()
    }

    pub(super) fn reload(&self) -> Reload {
        let daemon = Arc::clone(&self.daemon);
        // The outcome is in the log and in the metrics.
        Arc::new(move || drop(daemon.reload()))
    }

    /// Ends the steps that run, and what is still to be told.
    pub(super) fn stop(&self) {
        if let Some(engine) = self.daemon.engine.get() {
            tracing::info!("waiting for steps that run");
            engine.drain();
        }
        if let Some(tellers) = self.daemon.tellers.get() {
            tellers.audit.drain(TELL_AT_END);
            tellers.notifier.iter().for_each(|notifier| notifier.drain(TELL_AT_END));
        }
        crate::log::summarise();
        tracing::info!("stopped");
    }
}
