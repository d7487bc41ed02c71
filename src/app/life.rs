//! From its start to its end: sockets, what systemd and signals have to say, whichever of the halves a process is.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use super::options::Options;
use crate::routes::Context;
use crate::server::{self, Listeners};

/// What SIGHUP does.
pub(super) type Reload = Arc<dyn Fn() + Send + Sync>;

pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn catch() -> std::io::Result<Signals> {
        let (terminate, interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        Ok(Signals { terminate, interrupt, hangup: signal(SignalKind::hangup())? })
    }

    /// Tells systemd that this process is ready, and reloads when it is asked to, until it is asked to stop.
    pub(super) async fn until_stop(mut self, reload: Reload) {
        // Only systemd listens; elsewhere there is nobody to tell.
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
        let mut watchdog = Watchdog::of_systemd();
        loop {
            tokio::select! {
                () = watchdog.tick() => {}
                _ = self.terminate.recv() => break,
                _ = self.interrupt.recv() => break,
                _ = self.hangup.recv() => {
                    let reload = Arc::clone(&reload);
                    let _ = tokio::task::spawn_blocking(move || reload()).await;
                }
            }
        }
        tracing::info!("stopping");
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
    }
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

/// So long a daemon that stops waits for what is still to be told; what is not told then is told after the next start.
pub(super) const TELL_AT_END: Duration = Duration::from_secs(3);

/// Signals are caught before anything is recovered: the default of SIGTERM would end the daemon between two steps.
pub(super) fn runtime() -> std::io::Result<(Runtime, Signals)> {
    crate::log::summarise_by_and_by();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let signals = {
        let _inside = runtime.enter();
        Signals::catch()?
    };
    Ok((runtime, signals))
}

/// Answers who connects until a signal.
pub(super) async fn reached(
    listeners: Listeners,
    context: Arc<Context>,
    signals: Signals,
    reload: Reload,
) -> anyhow::Result<()> {
    let (stop, stopped) = watch::channel(false);
    for address in listeners.addresses() {
        tracing::info!(%address, "listening");
    }
    let serving = tokio::spawn(server::serve(listeners, context, stopped));
    signals.until_stop(reload).await;
    let _ = stop.send(true);
    serving.await?;
    Ok(())
}

pub(super) fn open_sockets(options: &Options) -> anyhow::Result<Listeners> {
    if options.systemd_socket {
        return Listeners::from_systemd().context("the sockets of systemd cannot be used");
    }
    Listeners::bind(&options.listen)
        .map_err(|(address, error)| anyhow::Error::new(error).context(format!("cannot listen on {address}")))
}
