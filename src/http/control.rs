//! The control socket: what a person says to a running daemon. A Unix socket in a folder only root can enter; there is
//! no other door to these paths.
//!
//! `POST /-/pause`, `/-/resume` and `/-/reset`, with the target `VG/LV` as the body, or an empty one for all targets;
//! `POST /-/reload`.

use std::convert::Infallible;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{UnixListener, UnixStream};

use super::route::{Answer, text};
use crate::engine::Handle;
use crate::journal::Event;
use crate::name::LvRef;

/// The name of a volume, and no more.
const MAX_BODY: usize = 512;
/// Whoever connects has something to say at once.
const DEADLINE: Duration = Duration::from_secs(10);

/// Binds the socket. One that is there already was left behind: the caller holds the daemon's lock.
#[expect(clippy::disallowed_methods, reason = "a socket that a killed daemon left behind cannot be bound again")]
pub fn bind_control(path: &Path) -> std::io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    // Whatever the umask and whoever made the folder: only root connects.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// What a person reaches through the socket.
pub struct Control {
    /// Empty as long as nothing may grow.
    pub engine: Arc<OnceLock<Handle>>,
    /// Reads the config again; what changed, or why not.
    pub reload: Box<dyn Fn() -> Result<String, String> + Send + Sync>,
}

/// Serves until the runtime ends.
pub async fn serve_control(listener: UnixListener, control: Control) {
    let control = Arc::new(control);
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(connection(stream, Arc::clone(&control)))),
            Err(error) => {
                tracing::warn!("the control socket cannot accept: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn connection(stream: UnixStream, control: Arc<Control>) {
    let service = service_fn(move |request| {
        let control = Arc::clone(&control);
        async move { Ok::<_, Infallible>(answer(control, request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(DEADLINE)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.await {
        tracing::debug!("a control connection ended: {error}");
    }
}

async fn answer(control: Arc<Control>, request: Request<Incoming>) -> Answer {
    if (request.method(), request.uri().path()) == (&Method::POST, "/-/reload") {
        return reload(control).await;
    }
    let event: fn(Option<LvRef>) -> Event = match (request.method(), request.uri().path()) {
        (&Method::POST, "/-/pause") => |lv| Event::Paused { lv },
        (&Method::POST, "/-/resume") => |lv| Event::Resumed { lv },
        (&Method::POST, "/-/reset") => |lv| Event::Reset { lv },
        _ => return text(StatusCode::NOT_FOUND, "expected POST /-/pause, /-/resume, /-/reset or /-/reload\n"),
    };
    let Some(engine) = control.engine.get().cloned() else {
        return text(StatusCode::NOT_FOUND, "the daemon has no targets: add some to monitor.targets and reload it\n");
    };
    let path = request.uri().path().to_owned();
    let body = tokio::time::timeout(DEADLINE, Limited::new(request.into_body(), MAX_BODY).collect()).await;
    let Ok(Ok(body)) = body else {
        return text(StatusCode::BAD_REQUEST, "the body cannot be read, expected VG/LV or nothing\n");
    };
    let body = String::from_utf8_lossy(&body.to_bytes()).trim().to_owned();
    let lv = match body.as_str() {
        "" => None,
        name => match name.parse::<LvRef>() {
            Ok(lv) if engine.shared().config().target(&lv).is_some() => Some(lv),
            Ok(lv) => return text(StatusCode::NOT_FOUND, format!("{lv} is not among the targets of the daemon\n")),
            Err(error) => return text(StatusCode::BAD_REQUEST, format!("{error}\n")),
        },
    };
    // Writing to the journal waits for the disk.
    let written = tokio::task::spawn_blocking(move || {
        let shared = engine.shared();
        let whom = lv.as_ref().map_or("all targets".to_owned(), ToString::to_string);
        tracing::info!(whom, "a person said {path}");
        shared.journal().append(shared.host.moment(), vec![event(lv)])
    });
    match written.await {
        Ok(Ok(())) => text(StatusCode::OK, "done\n"),
        Ok(Err(error)) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{}\n", crate::chain(&error))),
        Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "it cannot be written down\n"),
    }
}

async fn reload(control: Arc<Control>) -> Answer {
    match tokio::task::spawn_blocking(move || (control.reload)()).await {
        Ok(Ok(said)) => text(StatusCode::OK, format!("{said}\n")),
        Ok(Err(why)) => text(StatusCode::UNPROCESSABLE_ENTITY, format!("{why}\n")),
        Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "the config cannot be read\n"),
    }
}
