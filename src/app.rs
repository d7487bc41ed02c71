//! The composition root of `serve`: builds everything once, runs until a signal, drains in order.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use anyhow::{Context as _, bail};
use jiff::Timestamp;
use nix::fcntl::{Flock, FlockArg};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::alert::target::OwnNames;
use crate::config::{self, Config};
use crate::engine::{self, Handle, Shared};
use crate::host::linux::Linux;
use crate::host::sim::{self, Sim};
use crate::host::{self, Host, Sampler, uevent};
use crate::http::{self, Context, ListenAddress};
use crate::inventory::{FileSystem, Latest};
use crate::journal::Journal;
use crate::metrics::autoscaler::Metrics;
use crate::metrics::exposition::Exposition;
use crate::metrics::selection::Selection;
use crate::plan::BACKUP_FOLDER;

/// Where the config is looked for when nobody says otherwise.
pub const DEFAULT_CONFIG: &str = "/etc/lvm-autoscaler/config.yaml";

/// What `serve` was asked for.
#[derive(Debug, Clone)]
pub struct Options {
    /// The config file, if one was named.
    pub config_file: Option<PathBuf>,
    /// Where to listen.
    pub listen: Vec<ListenAddress>,
    /// Where the metrics are.
    pub telemetry_path: String,
    /// Which metrics to show.
    pub selection: Selection,
    /// Leave out what changes something.
    pub dry_run: bool,
    /// Run on a simulated host.
    pub simulate: Option<PathBuf>,
}

/// It was called in a way that cannot work; the exit code is that of wrong usage.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(pub String);

/// Reads the config; without one nothing may grow.
pub fn load_config(named: Option<&Path>, simulate: Option<&Path>) -> anyhow::Result<Config> {
    let mut config = match named {
        Some(file) => config::load(file)?,
        None if Path::new(DEFAULT_CONFIG).exists() => config::load(Path::new(DEFAULT_CONFIG))?,
        None => {
            tracing::info!("there is no {DEFAULT_CONFIG}: metrics only, nothing may grow");
            Config::default()
        }
    };
    if simulate.is_some() {
        // In the real journal a simulated growth would hold back the real one, and one that was interrupted be gone on with.
        config.state_directory.push("simulated");
    }
    Ok(config)
}

/// The machine to work on: this one, or a simulated one.
pub fn open_host(config: &Config, simulate: Option<&Path>) -> anyhow::Result<Arc<dyn Host>> {
    Ok(match simulate {
        Some(file) => Arc::new(Sim::running(sim::load(file)?, wall_clock())),
        None => Arc::new(Linux::new(&config.tools, config.inventory_timeout)),
    })
}

#[expect(clippy::disallowed_methods, reason = "a simulated host needs a time to begin at")]
fn wall_clock() -> Timestamp {
    Timestamp::now()
}

/// The daemon's life.
pub fn serve(options: &Options) -> anyhow::Result<()> {
    let config = Arc::new(load_config(options.config_file.as_deref(), options.simulate.as_deref())?);
    check_listeners(&config, &options.listen)?;
    let host = open_host(&config, options.simulate.as_deref())?;
    for tool in host.missing_tools() {
        tracing::warn!(
            tool = tool.as_str(),
            "not installed: what needs it is refused, set tools.{} if it is elsewhere",
            tool.as_str()
        );
    }
    let latest = Arc::new(Latest::default());
    let sampler = Sampler::start(Arc::clone(&host), Arc::clone(&latest), config.inventory_interval);
    if options.simulate.is_none()
        && let Err(error) = uevent::watch(sampler.clone())
    {
        tracing::warn!("no uevents, LVM is looked at once per interval: {error}");
    }
    let metrics = Arc::new(Metrics::default());
    config.targets.iter().for_each(|target| metrics.expect_target(&target.lv));
    let own_names = config.instances.clone().unwrap_or_else(|| host.own_names());
    tracing::info!(names = own_names.join(","), targets = config.targets.len(), dry_run = options.dry_run, "starting");

    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    // Bound before anything is recovered: a second daemon or a wrong address must not start an operation.
    let listeners = runtime
        .block_on(http::bind(&options.listen))
        .map_err(|(address, error)| anyhow::Error::new(error).context(format!("cannot listen on {address}")))?;
    // Caught before anything is recovered too: the default of SIGTERM would end the daemon between two steps.
    let signals = {
        let _inside = runtime.enter();
        Signals::catch()?
    };
    let (engine, _lock) = match config.targets.is_empty() {
        true => (None, None),
        false => {
            let (engine, lock) = start_engine(&config, &host, &metrics, &sampler, options)?;
            (Some(engine), Some(lock))
        }
    };
    if let Some(engine) = &engine {
        let _inside = runtime.enter();
        let path = config.control_socket();
        path.parent().map_or(Ok(()), make_folder)?;
        let socket = http::bind_control(&path).with_context(|| format!("{} cannot be made", path.display()))?;
        runtime.spawn(http::serve_control(socket, engine.clone()));
    }
    let context = Arc::new(Context {
        telemetry_path: options.telemetry_path.clone(),
        config: Arc::clone(&config),
        own_names: OwnNames::new(&own_names),
        engine: engine.clone(),
        exposition: exposition(options.selection.clone(), &latest, host),
        pages: http::Pages::default(),
        latest,
        metrics,
        body_deadline: http::BODY_DEADLINE,
        draining: AtomicBool::new(false),
    });
    runtime.block_on(run(listeners, context, signals))?;
    if let Some(engine) = engine {
        tracing::info!("waiting for steps that run");
        engine.drain();
    }
    tracing::info!("stopped");
    Ok(())
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn catch() -> std::io::Result<Signals> {
        let (terminate, interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        Ok(Signals { terminate, interrupt, hangup: signal(SignalKind::hangup())? })
    }
}

async fn run(listeners: http::Listeners, context: Arc<Context>, mut signals: Signals) -> anyhow::Result<()> {
    let (stop, stopped) = watch::channel(false);
    for address in listeners.addresses() {
        tracing::info!(%address, "listening");
    }
    let serving = tokio::spawn(http::serve(listeners, context, stopped));
    // Only systemd listens; elsewhere there is nobody to tell.
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    loop {
        tokio::select! {
            _ = signals.terminate.recv() => break,
            _ = signals.interrupt.recv() => break,
            _ = signals.hangup.recv() => tracing::warn!("SIGHUP: the config is read at start only, restart to have it read again"),
        }
    }
    tracing::info!("stopping");
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
    let _ = stop.send(true);
    serving.await?;
    Ok(())
}

/// Who can reach the webhook can make volumes grow, so without credentials only this host may.
fn check_listeners(config: &Config, listen: &[ListenAddress]) -> anyhow::Result<()> {
    if config.targets.is_empty() {
        return Ok(());
    }
    if let Some(open) = listen.iter().find(|address| !address.is_loopback()) {
        bail!(UsageError(format!(
            "{} can be reached from the network and the webhook asks for no credentials: listen on 127.0.0.1, or remove \
             monitor.targets to have only metrics",
            open.0
        )));
    }
    Ok(())
}

fn start_engine(
    config: &Arc<Config>,
    host: &Arc<dyn Host>,
    metrics: &Arc<Metrics>,
    sampler: &Sampler,
    options: &Options,
) -> anyhow::Result<(Handle, Flock<std::fs::File>)> {
    let (journal, lock) = own_journal(&config.state_directory)?;
    let sampler = sampler.clone();
    let shared = Shared {
        host: Arc::clone(host),
        config: Arc::clone(config),
        journal: Mutex::new(journal),
        metrics: Arc::clone(metrics),
        dry_run: options.dry_run,
        stopping: AtomicBool::new(false),
        refresh: Box::new(move || sampler.refresh()),
    };
    Ok((engine::start(Arc::new(shared)), lock))
}

/// The journal, for this process alone as long as the lock is held.
pub fn own_journal(folder: &Path) -> anyhow::Result<(Journal, Flock<std::fs::File>)> {
    make_folder(folder)?;
    make_folder(&folder.join(BACKUP_FOLDER))?;
    let lock = lock(&folder.join("lock"))?;
    Ok((Journal::open(folder)?, lock))
}

fn make_folder(folder: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .with_context(|| format!("{} cannot be made: run as root, or set state.directory", folder.display()))
}

/// One daemon per host: the lock goes when the process goes, however that happens.
#[expect(clippy::disallowed_methods, reason = "the lock file is made once, before the journal is there")]
fn lock(path: &Path) -> anyhow::Result<Flock<std::fs::File>> {
    let file = std::fs::OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .with_context(|| format!("{} cannot be opened", path.display()))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, error)| {
        anyhow::Error::new(error)
            .context(format!("{} is locked: another lvm-autoscaler runs on this state directory", path.display()))
    })
}

/// The pages of metrics; usage is read at the moment of a scrape.
pub fn exposition(selection: Selection, latest: &Arc<Latest>, host: Arc<dyn Host>) -> Exposition {
    let read_usage = move |filesystems: Vec<FileSystem>| {
        let places: Vec<_> = filesystems.iter().map(|fs| fs.mount.mount_point.clone()).collect();
        let usages = host.usages(&places);
        let with_usage = |(fs, usage): (FileSystem, std::io::Result<_>)| {
            // A mount that hides the volume's by now has another device.
            let usage = usage.ok().filter(|(_, device)| *device == fs.mount.device).map(|(usage, _)| usage);
            FileSystem { usage, ..fs }
        };
        filesystems.into_iter().zip(usages).map(with_usage).collect()
    };
    Exposition::new(selection, Arc::clone(latest), Box::new(read_usage), host::process::read)
}
