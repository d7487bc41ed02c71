//! The life of a relay: built once, runs until a signal.

use std::sync::Arc;

use anyhow::bail;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::UsageError;
use crate::http::{self, Access, ListenAddress, Listeners};
use crate::relay::{Options, Relay};

/// Runs a relay.
pub fn relay(options: &Options, listen: &[ListenAddress]) -> anyhow::Result<()> {
    let relay = Arc::new(Relay::new(options, Access::default())?);
    let listeners = Listeners::bind(listen)
        .map_err(|(address, error)| anyhow::Error::new(error).context(format!("cannot listen on {address}")))?;
    // What it passes on it vouches for with its own credentials.
    if let Some(open) = listeners.addresses().iter().find(|address| !address.is_local()) {
        bail!(UsageError(format!(
            "{open} can be reached from the network and the webhook asks for no credentials: listen on 127.0.0.1 or a Unix \
             socket, beside the Alertmanager"
        )));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let (stop, stopped) = watch::channel(false);
        tracing::info!(hosts = relay.hosts().len(), list = %options.targets_file.display(), "relaying");
        for address in listeners.addresses() {
            tracing::info!(%address, "listening");
        }
        let serving = tokio::spawn(http::serve(listeners, relay, stopped));
        // Only systemd listens; elsewhere there is nobody to tell.
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping");
        let _ = stop.send(true);
        serving.await?;
        Ok(())
    })
}
