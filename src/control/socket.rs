//! The control socket: what a person says to a running daemon. A Unix socket in a folder only root can enter, and who
//! connects must be root or the daemon's own user; there is no other door to these paths.
//!
//! `POST /-/pause`, `/-/resume` and `/-/reset`, with the target `VG/LV` as the body, or an empty one for all targets;
//! `POST /-/reload`; `POST /-/extend` with `{"lv": "VG/LV", "by": BYTES or null}`, answered with one line of JSON for
//! each [`Progress`], whoever hangs up stops nothing that was begun; `POST /-/report` with a [`ReportRequest`],
//! answered with the report; `POST /-/config`, answered with the fingerprint of the config in force;
//! `POST /-/simulation`, answered with the host if it is a simulated one.

use std::convert::Infallible;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Poll, ready};
use std::time::Duration;

use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Limited};
use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::{Deserialize, Serialize};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::config::InForce;
use crate::engine::{Handle, Progress};
use crate::files::Folder;
use crate::journal::Event;
use crate::name::LvRef;
use crate::report::{Make, ReportRequest};
use crate::server::{ANSWERED_WITHIN, text};
use crate::units;

/// The name of a volume and a number, and no more.
const MAX_BODY: usize = 512;
/// Whoever connects has something to say at once.
const DEADLINE: Duration = Duration::from_secs(10);

type Answer = Response<BoxBody<Bytes, Infallible>>;

/// The body of `POST /-/extend`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Extend {
    /// The target.
    pub lv: LvRef,
    /// By so many bytes, or as the config says.
    pub by: Option<u64>,
}

/// The socket, and the file by which it is reached.
pub struct ControlSocket {
    listener: UnixListener,
    path: PathBuf,
    /// Device and inode.
    file: (u64, u64),
}

impl ControlSocket {
    /// Whether its name still leads to it: its folder may have been removed or replaced.
    pub fn is_there(&self) -> bool {
        file(&self.path).is_ok_and(|file| file == self.file)
    }
}

fn file(path: &Path) -> std::io::Result<(u64, u64)> {
    std::fs::symlink_metadata(path).map(|file| (file.dev(), file.ino()))
}

/// Binds the socket. One that is there already was left behind: the caller holds the daemon's lock.
pub fn bind(path: &Path) -> std::io::Result<ControlSocket> {
    let (folder, name) = Folder::of(path)?;
    // Whatever the umask and whoever made the folder: only root connects.
    let listener = folder.bind_anew(&name, 0o600, None)?;
    listener.set_nonblocking(true)?;
    Ok(ControlSocket { listener: UnixListener::from_std(listener)?, path: path.to_owned(), file: file(path)? })
}

/// What a person reaches through the socket.
pub struct Control {
    /// Empty as long as nothing may grow.
    pub engine: Arc<OnceLock<Handle>>,
    /// Reads the config again; what changed, or why not.
    pub reload: Box<dyn Fn() -> Result<String, String> + Send + Sync>,
    /// The host, if it is only a simulated one.
    pub simulation: Box<dyn Fn() -> Option<String> + Send + Sync>,
    /// Makes reports.
    pub report: Make,
    /// The config.
    pub in_force: Arc<InForce>,
}

/// Serves until it is dropped; who is connected by then is answered all the same.
pub async fn serve(socket: &ControlSocket, control: &Arc<Control>) {
    loop {
        match socket.listener.accept().await {
            Ok((stream, _)) if is_own_or_root(&stream) => drop(tokio::spawn(connection(stream, Arc::clone(control)))),
            Ok(_) => tracing::warn!("a control connection of another user was refused"),
            Err(error) => {
                tracing::warn!("the control socket cannot accept: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// The folder and the mode of the socket keep others out; should somebody change those, this still does.
fn is_own_or_root(stream: &UnixStream) -> bool {
    let own = nix::unistd::geteuid().as_raw();
    stream.peer_cred().is_ok_and(|peer| peer.uid() == 0 || peer.uid() == own)
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
    let path = request.uri().path().to_owned();
    let known =
        ["/-/pause", "/-/resume", "/-/reset", "/-/extend", "/-/reload", "/-/report", "/-/config", "/-/simulation"];
    if request.method() != Method::POST || !known.contains(&path.as_str()) {
        return answer_with(StatusCode::NOT_FOUND, format!("expected POST and one of {}", known.join(", ")));
    }
    let body = tokio::time::timeout(DEADLINE, Limited::new(request.into_body(), MAX_BODY).collect()).await;
    let Ok(Ok(body)) = body else { return answer_with(StatusCode::BAD_REQUEST, "the body cannot be read".to_owned()) };
    let body = String::from_utf8_lossy(&body.to_bytes()).trim().to_owned();
    if path == "/-/reload" {
        return reload(control).await;
    }
    if path == "/-/config" {
        return answer_with(StatusCode::OK, control.in_force.get().fingerprint());
    }
    if path == "/-/simulation" {
        return match (control.simulation)() {
            Some(host) => answer_with(StatusCode::OK, host),
            None => answer_with(StatusCode::NOT_FOUND, "this host is a real one".to_owned()),
        };
    }
    if path == "/-/report" {
        return report(control, &body).await;
    }
    let Some(engine) = control.engine.get().cloned() else {
        let sentence = "the running daemon has no targets: add some to monitor.targets, then `lvm-autoscaler reload`";
        return answer_with(StatusCode::NOT_FOUND, sentence.to_owned());
    };
    if path == "/-/extend" {
        return extend(engine, &body);
    }
    remember(engine, &path, &body).await
}

/// The target of that name, if the daemon has it.
fn target(engine: &Handle, lv: LvRef) -> Result<LvRef, String> {
    if engine.shared().config().target(&lv).is_some() {
        return Ok(lv);
    }
    Err(format!("{lv} is not among the targets of the running daemon: if it was added, `lvm-autoscaler reload` first"))
}

/// Pause, resume, reset: a line in the journal.
async fn remember(engine: Handle, path: &str, body: &str) -> Answer {
    let event: fn(Option<LvRef>) -> Event = match path {
        "/-/pause" => |lv| Event::Paused { lv },
        "/-/resume" => |lv| Event::Resumed { lv },
        _ => |lv| Event::Reset { lv },
    };
    let lv = match body {
        "" => None,
        name => match name.parse::<LvRef>().map(|lv| target(&engine, lv)) {
            Ok(Ok(lv)) => Some(lv),
            Ok(Err(sentence)) => return answer_with(StatusCode::NOT_FOUND, sentence),
            Err(error) => return answer_with(StatusCode::BAD_REQUEST, error.to_string()),
        },
    };
    let whom = lv.as_ref().map_or("all targets".to_owned(), ToString::to_string);
    tracing::info!(whom, "{} requested on the control socket", path.trim_start_matches("/-/"));
    // Writing to the journal waits for the disk.
    let writing = engine.clone();
    let written = tokio::task::spawn_blocking(move || {
        let shared = writing.shared();
        shared.journal().writer_soon()?.append(shared.host.moment(), vec![event(lv)])
    });
    match tokio::time::timeout(ANSWERED_WITHIN, written).await {
        Ok(Ok(Ok(()))) => answer_with(StatusCode::OK, "done".to_owned()),
        Ok(Ok(Err(error))) => answer_with(StatusCode::SERVICE_UNAVAILABLE, crate::chain(&error)),
        Ok(Err(_)) => answer_with(StatusCode::INTERNAL_SERVER_ERROR, "it cannot be recorded".to_owned()),
        // It may be written down later, so that the person must look.
        Err(_) => answer_with(StatusCode::SERVICE_UNAVAILABLE, engine.not_written(ANSWERED_WITHIN)),
    }
}

async fn report(control: Arc<Control>, body: &str) -> Answer {
    let wish: ReportRequest = match serde_json::from_str(body) {
        Ok(wish) => wish,
        Err(error) => {
            return answer_with(
                StatusCode::BAD_REQUEST,
                format!("expected {{\"format\": .., \"since\": ..}}: {error}"),
            );
        }
    };
    match tokio::task::spawn_blocking(move || (control.report)(&wish)).await {
        Ok(Ok(report)) => text(StatusCode::OK, report).map(BodyExt::boxed),
        Ok(Err(why)) => answer_with(StatusCode::BAD_REQUEST, why),
        Err(_) => answer_with(StatusCode::INTERNAL_SERVER_ERROR, "the report cannot be made".to_owned()),
    }
}

async fn reload(control: Arc<Control>) -> Answer {
    tracing::info!("reload requested on the control socket");
    match tokio::task::spawn_blocking(move || (control.reload)()).await {
        Ok(Ok(said)) => answer_with(StatusCode::OK, said),
        Ok(Err(why)) => answer_with(StatusCode::UNPROCESSABLE_ENTITY, why),
        Err(_) => answer_with(StatusCode::INTERNAL_SERVER_ERROR, "the config cannot be read".to_owned()),
    }
}

fn extend(engine: Handle, body: &str) -> Answer {
    let Extend { lv, by } = match serde_json::from_str(body) {
        Ok(wish) => wish,
        Err(error) => {
            return answer_with(StatusCode::BAD_REQUEST, format!("expected {{\"lv\": .., \"by\": ..}}: {error}"));
        }
    };
    let lv = match target(&engine, lv) {
        Ok(lv) => lv,
        Err(sentence) => return answer_with(StatusCode::NOT_FOUND, sentence),
    };
    tracing::info!(%lv, by, "extend requested on the control socket");
    let (sender, receiver) = unbounded_channel();
    tokio::task::spawn_blocking(move || {
        engine.ask(&lv, by.map(units::Bytes), &mut |progress: Option<Progress>| {
            let Some(progress) = progress else { return !sender.is_closed() };
            let mut line = serde_json::to_vec(&progress).unwrap_or_default();
            line.push(b'\n');
            sender.send(Bytes::from(line)).is_ok()
        });
    });
    let mut answer = Response::new(Lines(receiver).boxed());
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/jsonl"));
    answer
}

fn answer_with(status: StatusCode, sentence: String) -> Answer {
    text(status, format!("{sentence}\n")).map(BodyExt::boxed)
}

/// A body that grows line by line.
struct Lines(UnboundedReceiver<Bytes>);

impl Body for Lines {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let line = ready!(self.0.poll_recv(context));
        Poll::Ready(line.map(|line| Ok(Frame::data(line))))
    }
}
