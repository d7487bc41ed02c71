//! The control socket of a daemon: made at its start, and again when its name is lost.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};

use super::reload::Daemon;
use super::reports::Reporter;
use crate::control::{self, Control, ControlSocket};
use crate::files::{Doubt, Folder};
use crate::journal::{Journal, why_not_made};

/// How often to try again if the control socket cannot be made; as often as the journal is tried, with which it comes
/// and goes.
const CONTROL_AGAIN: Duration = Duration::from_secs(10);

/// The socket for what a person says. Without one a daemon that grows nothing is still an exporter, and so is one whose
/// state directory cannot be written: it is made when that is over. It is made again when its name is lost.
pub(super) fn open_control(daemon: &Arc<Daemon>, reporter: &Arc<Reporter>) -> anyhow::Result<()> {
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
                tracing::info!(again = was_there, "control socket ready");
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

pub(super) fn make_folder(folder: &Path) -> anyhow::Result<()> {
    Folder::own(folder).map(drop).map_err(|error| {
        let doubted = error.get_ref().is_some_and(|cause| cause.is::<Doubt>());
        let why =
            if doubted { "cannot be used".to_owned() } else { format!("cannot be made, {}", why_not_made(&error)) };
        anyhow::Error::new(error).context(format!("{} {why}", folder.display()))
    })
}
