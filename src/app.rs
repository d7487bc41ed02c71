//! The composition root of `serve`: builds everything once, runs until a signal, drains in order.

mod options;
mod relay;
mod reload;
pub mod reports;
mod usage;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use anyhow::{Context as _, bail};
use jiff::Timestamp;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

pub use self::options::{DEFAULT_CONFIG, Options, UsageError, load_config, load_config_with_places};
pub use self::relay::relay;
use crate::alert::instance::OwnNames;
use crate::audit;
use crate::command::Tool;
use crate::config::{Config, InForce, Target};
use crate::control::{self, Control, ControlSocket};
use crate::engine::{Handle, Inside};
use crate::files::{Doubt, Folder};
use crate::host::linux::Linux;
use crate::host::sim::{self, Sim};
use crate::host::{self, Host, Sampler, uevent};
use crate::inventory::{Inventory, Latest};
use crate::journal::{Journal, why_not_made};
use crate::metrics::autoscaler::Metrics;
use crate::metrics::exposition::Exposition;
use crate::metrics::selection::Selection;
use crate::metrics::web::WebMetrics;
use crate::name::LvRef;
use crate::plan::{Code, Unmatched, applied};
use crate::routes::{Context, Pages, StatusPages};
use crate::server::{self, Access, Limits, Listeners};
use reload::Daemon;
use reports::Reporter;
use usage::with_usage;

/// So long a daemon that stops waits for what is still to be told; what is not told then is told after the next start.
const TELL_AT_END: Duration = Duration::from_secs(3);

/// The machine to work on: this one, or a simulated one.
pub fn open_host(config: &Config, simulate: Option<&Path>) -> anyhow::Result<Arc<dyn Host>> {
    Ok(match simulate {
        Some(file) => Arc::new(Sim::running(sim::load(file)?, wall_clock())),
        None => Arc::new(Linux::new(&config.tools, config.inventory_timeout, &config.state_directory)),
    })
}

/// The same for a command that only looks: beside a daemon that simulates a host, that one.
pub fn open_host_of_daemon(config: &Config, simulate: Option<&Path>) -> anyhow::Result<Arc<dyn Host>> {
    if simulate.is_some() {
        let mut answer = String::new();
        let asked = control::client::call(&config.control_socket(), "/-/simulation", String::new(), &mut |line| {
            answer.push_str(line);
        });
        if let (Ok(Some(())), Ok(sim)) = (asked, Sim::of_daemon(&answer)) {
            return Ok(Arc::new(sim));
        }
    }
    open_host(config, simulate)
}

/// What a missing program means, and what to do about it.
pub fn missing(tool: Tool) -> String {
    let (name, without) = (tool.as_str(), tool.disables());
    format!("{name} is not installed, {without}: install it, or set tools.{name} if it is elsewhere")
}

/// What people call this host.
pub(crate) fn host_name() -> String {
    let name = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    name.unwrap_or_else(|| "this host".to_owned())
}

/// The time, where there is no host to ask.
#[expect(clippy::disallowed_methods, reason = "a simulated host needs a time to begin at")]
pub(crate) fn wall_clock() -> Timestamp {
    Timestamp::now()
}

/// The daemon's life.
pub fn serve(options: &Options) -> anyhow::Result<()> {
    let config = load_config(options.config_file.as_deref(), options.simulate.as_deref())?;
    audit::verify(&config)?;
    // Bound before anything is started: a second daemon or a wrong address must not start an operation.
    let listeners = open_sockets(options)?;
    let access = Arc::new(Access::load(options.web_config_file.as_deref(), listeners.addresses(), &config)?);
    let host = open_host(&config, options.simulate.as_deref())?;
    for tool in host.missing_tools().into_iter().filter(|tool| config.may_need(*tool)) {
        tracing::warn!(tool = tool.as_str(), "{}", missing(tool));
    }
    let in_force = InForce::new(config);
    let config = in_force.get();
    let latest = Arc::new(Latest::default());
    let interval = Arc::clone(&in_force);
    let interval = move || interval.get().inventory_interval;
    let (metrics, web_metrics) = (Arc::new(Metrics::default()), Arc::new(WebMetrics::default()));
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

    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    // Caught before anything is recovered: the default of SIGTERM would end the daemon between two steps.
    let signals = {
        let _inside = runtime.enter();
        Signals::catch()?
    };
    let daemon = Arc::new(Daemon {
        options: options.clone(),
        access: Arc::clone(&access),
        in_force: Arc::clone(&in_force),
        latest: Arc::clone(&latest),
        host: Arc::clone(&host),
        metrics: Arc::clone(&metrics),
        web_metrics: Arc::clone(&web_metrics),
        sampler,
        engine,
        tellers: OnceLock::new(),
        from_file: (options.config_file.is_some() || Path::new(DEFAULT_CONFIG).exists()).into(),
        one: Mutex::default(),
    });
    if !config.grows_nothing() {
        daemon.start()?;
    }
    let (clock, named) = (Arc::clone(&host), Arc::clone(&host));
    let reporter = Arc::new(Reporter {
        in_force: Arc::clone(&in_force),
        host: Arc::clone(&host),
        latest: Arc::clone(&latest),
        engine: Arc::clone(&daemon.engine),
        metrics: Arc::clone(&metrics),
    });
    Arc::clone(&reporter).schedule();
    {
        let _inside = runtime.enter();
        open_control(&daemon, &reporter)?;
    }
    let context = Arc::new(Context {
        report: reporter.maker(),
        reporting: tokio::sync::Mutex::default(),
        telemetry_path: options.telemetry_path.clone(),
        in_force,
        own_names: Box::new(move || OwnNames::new(named.own_names())),
        front: Arc::new(Inside { engine: Arc::clone(&daemon.engine), metrics }),
        exposition: exposition(options.selection.clone(), &latest, host),
        pages: Pages::default(),
        status: StatusPages::new(own_names.first().cloned().unwrap_or_default(), move || clock.moment()),
        latest,
        metrics: web_metrics,
        limits: Limits::default(),
        access,
        draining: AtomicBool::new(false),
    });
    runtime.block_on(run(listeners, context, signals, &daemon))?;
    if let Some(engine) = daemon.engine.get() {
        tracing::info!("waiting for steps that run");
        engine.drain();
    }
    if let Some(tellers) = daemon.tellers.get() {
        tellers.audit.drain(TELL_AT_END);
        tellers.notifier.drain(TELL_AT_END);
    }
    crate::log::summarise();
    tracing::info!("stopped");
    Ok(())
}

/// How often to try again if the control socket cannot be made; as often as the journal is tried, with which it comes
/// and goes.
const CONTROL_AGAIN: Duration = Duration::from_secs(10);

/// The socket for what a person says. Without one a daemon that grows nothing is still an exporter, and so is one whose
/// state directory cannot be written: it is made when that is over. It is made again when its name is lost.
fn open_control(daemon: &Arc<Daemon>, reporter: &Arc<Reporter>) -> anyhow::Result<()> {
    let socket = match (bind_control(daemon), daemon.engine.get()) {
        (Ok(socket), _) => Some(socket),
        (Err(error), Some(engine)) if engine.shared().journal().is_writable() => return Err(error),
        (Err(error), Some(_)) => {
            tracing::error!("control socket unavailable, retrying every {} s: {error:#}", CONTROL_AGAIN.as_secs());
            None
        }
        (Err(error), None) => {
            tracing::info!("no control socket, SIGHUP reloads: {error:#}");
            return Ok(());
        }
    };
    let (reloading, make, simulated) = (Arc::clone(daemon), reporter.maker(), Arc::clone(&daemon.host));
    let control = Control {
        engine: Arc::clone(&daemon.engine),
        in_force: Arc::clone(&daemon.in_force),
        simulation: Box::new(move || simulated.simulation()),
        reload: Box::new(move || reloading.reload().map_err(|error| format!("{error:#}"))),
        report: make,
    };
    tokio::spawn(keep_control(Arc::clone(daemon), socket, Arc::new(control)));
    Ok(())
}

async fn keep_control(daemon: Arc<Daemon>, mut socket: Option<ControlSocket>, control: Arc<Control>) {
    let mut was_there = socket.is_some();
    loop {
        if let Some(bound) = &socket {
            tokio::select! {
                () = control::serve(bound, &control) => {}
                () = is_lost(bound) => {}
            }
        }
        match bind_control(&daemon) {
            Ok(bound) => {
                tracing::info!("the control socket {}", if was_there { "was made again" } else { "is there" });
                (socket, was_there) = (Some(bound), true);
            }
            Err(error) => {
                if socket.take().is_some() {
                    let every = CONTROL_AGAIN.as_secs();
                    tracing::error!("control socket lost, trying to make it again every {every} s: {error:#}");
                }
                tokio::time::sleep(CONTROL_AGAIN).await;
            }
        }
    }
}

async fn is_lost(socket: &ControlSocket) {
    while socket.is_there() {
        tokio::time::sleep(CONTROL_AGAIN).await;
    }
}

fn bind_control(daemon: &Daemon) -> anyhow::Result<ControlSocket> {
    let config = daemon.in_force.get();
    let path = config.control_socket();
    let journal = daemon.engine.get().map(|engine| engine.shared().journal());
    let holds_lock = journal.is_some_and(Journal::is_writable);
    // A daemon that holds the lock knows that whoever listened there is gone; one without may stand beside another.
    if !holds_lock && std::os::unix::net::UnixStream::connect(&path).is_ok() {
        bail!("another daemon listens on {}", path.display());
    }
    if let Some(folder) = path.parent() {
        // Made where the journal was, it would be in the way of whoever puts that back.
        if journal.is_some() && !holds_lock && folder == config.state_directory && !folder.exists() {
            bail!("{} is gone", folder.display());
        }
        make_folder(folder)?;
    }
    control::bind(&path).with_context(|| format!("{} cannot be made", path.display()))
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

async fn run(
    listeners: Listeners,
    context: Arc<Context>,
    mut signals: Signals,
    daemon: &Arc<Daemon>,
) -> anyhow::Result<()> {
    let (stop, stopped) = watch::channel(false);
    for address in listeners.addresses() {
        tracing::info!(%address, "listening");
    }
    let serving = tokio::spawn(server::serve(listeners, context, stopped));
    // Only systemd listens; elsewhere there is nobody to tell.
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    let mut watchdog = Watchdog::of_systemd();
    loop {
        tokio::select! {
            () = watchdog.tick() => {}
            _ = signals.terminate.recv() => break,
            _ = signals.interrupt.recv() => break,
            _ = signals.hangup.recv() => {
                let daemon = Arc::clone(daemon);
                // The outcome is in the log and in the metrics.
                let _ = tokio::task::spawn_blocking(move || daemon.reload()).await;
            }
        }
    }
    tracing::info!("stopping");
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
    let _ = stop.send(true);
    serving.await?;
    Ok(())
}

/// systemd's watchdog: told twice per deadline by the loop that also hears signals, so that a daemon that hears nothing
/// any more is started again. Recovery makes that safe at any moment.
struct Watchdog(Option<tokio::time::Interval>);

impl Watchdog {
    fn of_systemd() -> Watchdog {
        Watchdog(sd_notify::watchdog_enabled().map(|deadline| tokio::time::interval(deadline / 2)))
    }

    async fn tick(&mut self) {
        match &mut self.0 {
            Some(interval) => {
                interval.tick().await;
                let _ = sd_notify::notify(&[sd_notify::NotifyState::Watchdog]);
            }
            None => std::future::pending().await,
        }
    }
}

/// What policies selected at the last look.
#[derive(Default)]
struct ByPolicies(BTreeMap<LvRef, String>);

impl ByPolicies {
    /// What is selected now and was not by the same policy before, and what is selected no more, without a policy.
    fn news(&mut self, config: &Config) -> Vec<(LvRef, Option<String>)> {
        let of = |target: &Target| Some((target.lv.clone(), target.origin.policy.clone()?));
        let now: BTreeMap<LvRef, String> = config.targets.iter().filter_map(of).collect();
        let is_new = |(lv, policy): &(&LvRef, &String)| self.0.get(*lv) != Some(*policy);
        let new = now.iter().filter(is_new).map(|(lv, policy)| (lv.clone(), Some(policy.clone())));
        let gone = self.0.keys().filter(|lv| !now.contains_key(*lv)).map(|lv| (lv.clone(), None));
        let news = new.chain(gone).collect();
        self.0 = now;
        news
    }
}

/// What is done after each look at everything: the log has what the config names and the host does not have, once for
/// each config and whenever it changes, and only targets that are there have counters.
fn watch_names(in_force: Arc<InForce>, metrics: Arc<Metrics>) -> impl FnMut(&Inventory) + Send + 'static {
    let (mut told, mut counted): (Option<(Arc<Config>, Unmatched)>, BTreeSet<LvRef>) = Default::default();
    let mut selected = ByPolicies::default();
    move |inventory| {
        let config = in_force.get();
        for (lv, policy) in selected.news(&config) {
            match policy {
                Some(policy) => tracing::info!(%lv, policy, "a policy selects it, so it is a target"),
                None => {
                    tracing::info!(%lv, "no policy selects it any more, so it is no longer a target; its history is kept")
                }
            }
        }
        let unmatched = Unmatched::of(&config, inventory);
        let absent: BTreeSet<&LvRef> = unmatched.targets.iter().collect();
        let there = config.targets.iter().map(|target| &target.lv).filter(|lv| !absent.contains(lv));
        let there: BTreeSet<LvRef> = there.cloned().collect();
        there.difference(&counted).for_each(|lv| metrics.expect_target(lv));
        counted.difference(&there).for_each(|lv| metrics.forget_target(lv));
        counted = there;
        let before = told.as_ref().filter(|(of, _)| Arc::ptr_eq(of, &config)).map(|(_, unmatched)| unmatched);
        if before == Some(&unmatched) {
            return;
        }
        for sentence in unmatched.suspicions() {
            tracing::error!(code = Code::ConfigSuspect.as_str(), "{sentence}");
        }
        let sentences = unmatched.sentences(&config, inventory);
        sentences.iter().for_each(|sentence| tracing::warn!("{sentence}"));
        if before.is_some_and(|before| !before.is_empty()) && unmatched.is_empty() {
            tracing::info!("all that the config names is on this host");
        }
        told = Some((config, unmatched));
    }
}

fn open_sockets(options: &Options) -> anyhow::Result<Listeners> {
    if options.systemd_socket {
        return Listeners::from_systemd().context("the sockets of systemd cannot be used");
    }
    Listeners::bind(&options.listen)
        .map_err(|(address, error)| anyhow::Error::new(error).context(format!("cannot listen on {address}")))
}

fn make_folder(folder: &Path) -> anyhow::Result<()> {
    Folder::own(folder).map(drop).map_err(|error| {
        let doubted = error.get_ref().is_some_and(|cause| cause.is::<Doubt>());
        let why =
            if doubted { "cannot be used".to_owned() } else { format!("cannot be made, {}", why_not_made(&error)) };
        anyhow::Error::new(error).context(format!("{} {why}", folder.display()))
    })
}

/// The pages of metrics; usage is read at the moment of a scrape.
pub fn exposition(selection: Selection, latest: &Arc<Latest>, host: Arc<dyn Host>) -> Exposition {
    let read_usage = move |filesystems| with_usage(host.as_ref(), filesystems);
    Exposition::new(selection, Arc::clone(latest), Box::new(read_usage), host::process::read)
}
