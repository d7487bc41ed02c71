//! The half that acts, as a process of its own: root, and without a network.

use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use anyhow::{Context as _, bail};
use nix::unistd::User;

use super::acting::Acting;
use super::beside::{Beside, Parted};
use super::confined;
use super::control;
use super::life::runtime;
use super::options::{Options, UsageError, config_of, load_texts};
use crate::audit;
use crate::config::InForce;
use crate::config::web::files_of;
use crate::files::FileMark;
use crate::host::process;
use crate::wire::{self, Parts};

/// Runs until a signal. The other half connects to the socket; it may belong to that user.
pub fn engine(options: &Options, socket: &Path, user: Option<&str>) -> anyhow::Result<()> {
    let user = user.map(user_of).transpose()?;
    let texts = load_texts(options.config_file.as_deref(), options.simulate.as_deref())?;
    let (config, _) = config_of(&texts, options.simulate.is_some())?;
    audit::verify(&config)?;
    let listener = open_socket(socket, user.as_ref())?;
    // Before there is a second thread: those that are there would stay as they are.
    let writes = if options.confined { confined::engine(&config, socket) } else { None };
    let acting = Acting::prepare(options, config, Beside::There(Parted { writes, ..Default::default() }))?;
    let (runtime, signals) = runtime()?;
    let daemon = &acting.daemon;
    let (named, clock) = (Arc::clone(&daemon.host), Arc::clone(&daemon.host));
    let (in_force, web_config) = (Arc::clone(&daemon.in_force), options.web_config_file.clone());
    let parts = Parts {
        front: acting.front(),
        in_force: Arc::clone(&daemon.in_force),
        latest: Arc::clone(&daemon.latest),
        names: Box::new(move || named.own_names()),
        clock: Box::new(move || clock.moment()),
        is_simulated: options.simulate.is_some(),
        process: process::read,
        report: acting.reporter.maker(),
        files: files_of_web(in_force, web_config),
    };
    let engine = wire::Engine::new(parts, texts);
    if let Beside::There(there) = &daemon.beside {
        let _ = there.engine.set(Arc::clone(&engine));
    }
    acting.start()?;
    {
        let _inside = runtime.enter();
        control::open_control(daemon, &acting.reporter)?;
    }
    engine.serve(listener, user);
    tracing::info!(socket = %socket.display(), "the web process may connect");
    runtime.block_on(signals.until_stop(acting.reload()));
    acting.stop();
    // Who comes later is refused at once.
    let _ = wire::unbind(socket);
    Ok(())
}

/// All that the web side reads: what the config names for it, and its own config with what that names, which is read
/// only if it changed: it is asked for each second.
fn files_of_web(in_force: Arc<InForce>, web_config: Option<PathBuf>) -> Box<dyn Fn() -> Vec<PathBuf> + Send + Sync> {
    let named: Mutex<Option<(FileMark, Vec<PathBuf>)>> = Mutex::default();
    Box::new(move || {
        let config = in_force.get();
        let mut files: Vec<PathBuf> = config.files_of_web().into_iter().map(Path::to_owned).collect();
        if let Some(file) = &web_config {
            files.push(file.clone());
            let (mark, mut named) = (FileMark::here(file), crate::locked(&named));
            if named.as_ref().map(|(of, _)| of) != mark.as_ref() {
                *named = mark.map(|mark| (mark, files_of(file, config.trust)));
            }
            files.extend(named.iter().flat_map(|(_, files)| files.iter().cloned()));
        }
        files
    })
}

fn user_of(name: &str) -> anyhow::Result<User> {
    match User::from_name(name) {
        Ok(Some(user)) => Ok(user),
        Ok(None) => bail!(UsageError(format!("--web.user: there is no user {name} on this host"))),
        Err(error) => Err(error).with_context(|| format!("the user {name} cannot be looked up")),
    }
}

fn open_socket(path: &Path, user: Option<&User>) -> anyhow::Result<UnixListener> {
    if let Some(listener) = listenfd::ListenFd::from_env().take_unix_listener(0).context("the socket of systemd")? {
        return Ok(listener);
    }
    if UnixStream::connect(path).is_ok() {
        bail!("another engine listens on {}", path.display());
    }
    if let Some(folder) = path.parent().filter(|folder| !folder.exists()) {
        control::make_folder(folder)?;
    }
    wire::bind(path, user).with_context(|| format!("{} cannot be made", path.display()))
}
