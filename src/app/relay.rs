//! The life of a relay: built once, runs until a signal.

use std::path::Path;
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::relay::{Relay, RelayOptions};
use crate::server::{self, Access, ListenAddress, Listeners};

/// Runs a relay; what it asks those for who connect stands in the web config.
pub fn relay(options: &RelayOptions, listen: &[ListenAddress], web_config_file: Option<&Path>) -> anyhow::Result<()> {
    let listeners = Listeners::bind(listen)
        .map_err(|(address, error)| anyhow::Error::new(error).context(format!("cannot listen on {address}")))?;
    let access = Access::of_relay(web_config_file, listeners.addresses())?;
    let relay = Arc::new(Relay::new(options, access)?);
    crate::log::summarise_by_and_by();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let mut hangup = signal(SignalKind::hangup())?;
        let (stop, stopped) = watch::channel(false);
        tracing::info!(hosts = relay.hosts().len(), list = %options.targets_file.display(), "relaying");
        for address in listeners.addresses() {
            tracing::info!(%address, "listening");
        }
        let listing = Arc::clone(&relay);
        let serving = tokio::spawn(server::serve(listeners, relay, stopped));
        // Only systemd listens; elsewhere there is nobody to tell.
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
        loop {
            tokio::select! {
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                // It has the daemon's meaning, and must not end what reads its files again by itself.
                _ = hangup.recv() => drop(listing.hosts()),
            }
        }
        tracing::info!("stopping");
        let _ = stop.send(true);
        serving.await?;
        Ok(())
    })
}
