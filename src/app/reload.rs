//! What a reload reaches, and the reload itself: SIGHUP, or `POST /-/reload` on the control socket.
//!
//! A config is in force whole or not at all. One that is wrong, or that changes what only a start can change, leaves
//! the one before in force; the reason is logged, answered, and seen in `lvm_autoscaler_config_last_reload_successful`.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use anyhow::bail;

use super::beside::Beside;
use super::hosts::told_as;
use super::options::{DEFAULT_CONFIG, Options, UsageError, config_of, load_texts};
use crate::audit::{self, Audit};
use crate::config::{Config, InForce};
use crate::engine::{self, Handle, Shared};
use crate::host::{Host, Sampler};
use crate::inventory::Latest;
use crate::journal::Journal;
use crate::metrics::autoscaler::Metrics;
use crate::name::LvRef;
use crate::notify::{self, InFolder, Notifier};
use crate::plan::applied;

/// Who is told of each record of the journal.
pub(super) struct Tellers {
    /// If people are told by this process.
    pub(super) notifier: Option<Arc<Notifier>>,
    pub(super) audit: Audit,
}

/// The parts of a daemon that a config reaches.
pub(super) struct Daemon {
    pub(super) options: Options,
    pub(super) beside: Beside,
    pub(super) in_force: Arc<InForce>,
    pub(super) latest: Arc<Latest>,
    pub(super) host: Arc<dyn Host>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) sampler: Sampler,
    /// Empty as long as nothing may grow.
    pub(super) engine: Arc<OnceLock<Handle>>,
    /// As long as there is an engine.
    pub(super) tellers: OnceLock<Tellers>,
    /// Whether the config came from a file. One that vanished is an error, not an empty config.
    pub(super) from_file: AtomicBool,
    /// Makes two reloads come one after the other.
    pub(super) one: Mutex<()>,
}

impl Daemon {
    /// Reads the config again and puts it in force; what changed, in a sentence.
    pub(super) fn reload(&self) -> anyhow::Result<String> {
        let _one = crate::locked(&self.one);
        match self.replace() {
            Ok(said) => {
                self.metrics.config_read(Some(self.host.now()));
                tracing::info!("{said}");
                Ok(said)
            }
            Err(error) => {
                self.metrics.config_read(None);
                // Whoever moved the audit log away wants a new one, whatever the config.
                if let Some(tellers) = self.tellers.get() {
                    tellers.audit.reopen(&self.in_force.get());
                }
                // A message for each of the errors of the file.
                for line in format!("{error:#}").lines() {
                    tracing::error!("the config was not accepted, the one before stays in force: {line}");
                }
                Err(error)
            }
        }
    }

    fn replace(&self) -> anyhow::Result<String> {
        let is_there = self.options.config_file.is_some() || Path::new(DEFAULT_CONFIG).exists();
        if !is_there && self.from_file.load(Ordering::Relaxed) {
            bail!(UsageError(format!("{DEFAULT_CONFIG} is gone: put it back, or restart to have only metrics")));
        }
        let texts = load_texts(self.options.config_file.as_deref(), self.options.simulate.as_deref())?;
        let (new, _) = config_of(&texts, self.options.simulate.is_some())?;
        let old = self.in_force.get();
        if let Some(keys) = only_at_start(&old, &new) {
            bail!(UsageError(format!("{keys} changed, which only a start can do: put it back, or restart the daemon")));
        }
        // All that can fail comes before anything is in force.
        if let Some(objection) = self.beside.objection(&new) {
            bail!(UsageError(objection));
        }
        if let Beside::Here { access, .. } = &self.beside {
            access.admits(&new)?;
            notify::verify(&new)?;
        }
        audit::verify(&new)?;
        let journal = match new.grows_nothing() || self.engine.get().is_some() {
            true => None,
            false => Some(Journal::own(&new.state_directory, &new.witness)?),
        };
        // The other half has the last word: both accept it or neither.
        if let Some(engine) = self.beside.engine()
            && let Err(objection) = engine.propose(texts, new.files_of_web().into_iter().map(Path::to_owned).collect())
        {
            bail!(UsageError(objection));
        }
        // What its policies select is known at once, or an alert that comes now would be refused.
        let new = applied(&Arc::new(new), &self.latest.get().inventory);
        self.in_force.replace(Arc::clone(&new));
        self.beside.engine().into_iter().for_each(|engine| engine.is_in_force());
        self.from_file.store(is_there, Ordering::Relaxed);
        if let Some(journal) = journal {
            self.start_engine(journal)?;
        } else if let Some(tellers) = self.tellers.get() {
            tellers.notifier.iter().try_for_each(|notifier| notifier.reconfigure(&new))?;
        }
        if let Some(tellers) = self.tellers.get() {
            tellers.audit.reopen(&new);
        }
        let (added, removed) = (without(&new, &old), without(&old, &new));
        removed.iter().for_each(|lv| self.metrics.forget_target(lv));
        if let Some(engine) = self.engine.get() {
            engine.watch();
        }
        self.sampler.refresh();
        Ok(said(&new, &added, &removed))
    }

    /// From here on things may grow.
    pub(super) fn start(&self) -> anyhow::Result<()> {
        let config = self.in_force.get();
        self.start_engine(Journal::own(&config.state_directory, &config.witness)?)
    }

    fn start_engine(&self, journal: Journal) -> anyhow::Result<()> {
        if let Some(trouble) = journal.trouble() {
            tracing::error!("until the journal can be used nothing is acted upon and no alert accepted: {trouble}");
        }
        if self.tellers.get().is_none() {
            let tellers = self.start_tellers()?;
            let (notifier, audit) = (tellers.notifier.clone(), tellers.audit.clone());
            let engine = self.beside.engine().cloned();
            journal.subscribe(Box::new(move |record| {
                notifier.iter().for_each(|notifier| notifier.hear(record));
                audit.hear(record);
                engine.iter().for_each(|engine| engine.hear(record));
            }));
            let _ = self.tellers.set(tellers);
        }
        let shared = Shared {
            host: Arc::clone(&self.host),
            in_force: Arc::clone(&self.in_force),
            journal,
            metrics: Arc::clone(&self.metrics),
            dry_run: self.options.dry_run,
            stopping: AtomicBool::new(false),
            sampler: Some(self.sampler.clone()),
            standing: Default::default(),
        };
        self.engine.get_or_init(|| engine::start(Arc::new(shared)));
        Ok(())
    }

    /// Those who are told of each record. What the journal has and they missed they read first.
    fn start_tellers(&self) -> anyhow::Result<Tellers> {
        let host = told_as(&self.host.own_names(), self.options.simulate.is_some());
        let (in_force, metrics) = (Arc::clone(&self.in_force), Arc::clone(&self.metrics));
        let audit = Audit::start(&in_force.get(), host.clone(), metrics);
        let records = Arc::new(InFolder::new(&in_force.get().state_directory));
        let notifier = match &self.beside {
            Beside::Here { metrics, .. } => {
                let metrics = Arc::clone(metrics);
                Some(Notifier::start(in_force, host, metrics, records, &self.host.moment())?)
            }
            Beside::There(_) => {
                self.beside.engine().into_iter().for_each(|engine| engine.keeps(Arc::clone(&records) as _));
                None
            }
        };
        Ok(Tellers { notifier, audit })
    }
}

/// The keys that changed and that are read at the start only.
fn only_at_start(old: &Config, new: &Config) -> Option<String> {
    let changed = [
        ("state.directory", old.state_directory != new.state_directory),
        ("inventory.timeout", old.inventory_timeout != new.inventory_timeout),
        ("tools", old.tools != new.tools),
    ];
    let keys: Vec<&str> = changed.iter().filter(|(_, changed)| *changed).map(|(key, _)| *key).collect();
    (!keys.is_empty()).then(|| keys.join(", "))
}

/// The targets of one config that another does not have.
fn without(config: &Config, other: &Config) -> Vec<LvRef> {
    let lvs = config.targets.iter().map(|target| &target.lv);
    lvs.filter(|lv| other.target(lv).is_none()).cloned().collect()
}

fn said(config: &Config, added: &[LvRef], removed: &[LvRef]) -> String {
    let names = |lvs: &[LvRef]| lvs.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let mut said = format!("the config was read again and is in force: {}", config.counted());
    if !added.is_empty() {
        said.push_str(&format!(", new: {}", names(added)));
    }
    if !removed.is_empty() {
        said.push_str(&format!(", no longer: {}", names(removed)));
    }
    said
}
