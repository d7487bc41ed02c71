//! The other end of the control socket: what the commands say to a running daemon.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

use crate::duration::Shown;

/// All that the daemon does before it answers is to write to its journal.
const DEADLINE: Duration = Duration::from_secs(60);

/// The daemon could not be asked, or said no.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Not this user.
    #[error("{} cannot be used: run this as root", .0.display())]
    Forbidden(PathBuf),
    /// The connection failed.
    #[error("the daemon at {} cannot be reached", socket.display())]
    Io {
        /// The socket.
        socket: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It went away before it answered.
    #[error("the daemon ended the connection: see its log, and `lvm-autoscaler history`")]
    HungUp(#[source] hyper::Error),
    /// It did not answer.
    #[error("the daemon at {} did not answer within {}", .0.display(), Shown(DEADLINE))]
    TimedOut(PathBuf),
    /// It refused, and this is what it said.
    #[error("{sentence}")]
    Refused {
        /// In HTTP's terms.
        status: StatusCode,
        /// In words.
        sentence: String,
    },
}

/// Says something to the daemon behind a socket, and hands over its answer line by line; `None` if no daemon is there.
pub fn call(socket: &Path, path: &str, body: String, line: &mut dyn FnMut(&str)) -> Result<Option<()>, ClientError> {
    let io = |source| ClientError::Io { socket: socket.to_owned(), source };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(io)?;
    runtime.block_on(async {
        let stream = match UnixStream::connect(socket).await {
            Ok(stream) => stream,
            // Nobody listens: no daemon, one that was killed and left its socket behind, or no folder where a socket
            // could be.
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::ConnectionRefused
                ) =>
            {
                return Ok(None);
            }
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                return Err(ClientError::Forbidden(socket.to_owned()));
            }
            Err(error) => return Err(io(error)),
        };
        converse(socket, stream, path, body, line).await.map(Some)
    })
}

async fn converse(
    socket: &Path,
    stream: UnixStream,
    path: &str,
    body: String,
    line: &mut dyn FnMut(&str),
) -> Result<(), ClientError> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(ClientError::HungUp)?;
    tokio::spawn(connection);
    let mut request = Request::new(Full::new(Bytes::from(body)));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = hyper::Uri::try_from(path).unwrap_or_default();
    request.headers_mut().insert(hyper::header::HOST, hyper::header::HeaderValue::from_static("control"));
    let answered = tokio::time::timeout(DEADLINE, sender.send_request(request)).await;
    let mut answer = answered.map_err(|_| ClientError::TimedOut(socket.to_owned()))?.map_err(ClientError::HungUp)?;
    let (mut buffer, mut all) = (Vec::new(), String::new());
    let status = answer.status();
    while let Some(frame) = answer.frame().await {
        buffer.extend_from_slice(frame.map_err(ClientError::HungUp)?.data_ref().map_or(&[][..], |data| data));
        while let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
            let whole: Vec<u8> = buffer.drain(..=end).collect();
            let text = String::from_utf8_lossy(&whole);
            match status.is_success() {
                true => line(text.trim_end()),
                false => all.push_str(&text),
            }
        }
    }
    if status.is_success() {
        return Ok(());
    }
    Err(ClientError::Refused { status, sentence: all.trim_end().to_owned() })
}
