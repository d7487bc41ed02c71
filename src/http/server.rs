//! Accepting, and the limits every connection is under.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::header::{CONNECTION, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_rustls::TlsAcceptor;

use super::access::Peer;
use super::listen::{AsyncListener, Listeners, Stream};
use super::stream::Bounded;
use super::{Site, route};

/// How long running answers may take when the daemon stops.
const GRACE: Duration = Duration::from_secs(5);

/// What connections are under. Nobody sets them: tests do, which cannot wait as long as a client may.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections at a time on one listener. Prometheus and Alertmanager need one or two each. Listeners don't share their
    /// places: a flood on one leaves the others as they are.
    pub connections: usize,
    /// A handshake is two round trips.
    pub handshake: Duration,
    /// Who connects has something to ask at once; places are not for those who only hold them.
    pub first: Duration,
    /// Bounds the time for the header of a request, and so also how long a kept connection may idle.
    pub header: Duration,
    /// For the body of a request: Alertmanager sends it at once.
    pub body: Duration,
    /// For taking an answer: the largest page takes a second over a bad line.
    pub taking: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections: 256,
            handshake: Duration::from_secs(10),
            first: Duration::from_secs(10),
            header: Duration::from_secs(75),
            body: Duration::from_secs(10),
            taking: Duration::from_secs(30),
        }
    }
}

/// Serves until `stop` changes, then lets running answers end.
pub async fn serve<S: Site>(listeners: Listeners, site: Arc<S>, stop: watch::Receiver<bool>) {
    let graceful = Arc::new(GracefulShutdown::new());
    let mut loops = Vec::new();
    for listener in listeners.into_inner() {
        match listener.into_async() {
            Ok(listener) => {
                loops.push(tokio::spawn(accept(listener, Arc::clone(&site), Arc::clone(&graceful), stop.clone())));
            }
            Err(error) => tracing::error!("a listener cannot be used: {error}"),
        }
    }
    for accepting in loops {
        if let Err(error) = accepting.await {
            tracing::error!("a listener ended: {error}");
        }
    }
    site.drain();
    if let Some(graceful) = Arc::into_inner(graceful)
        && tokio::time::timeout(GRACE, graceful.shutdown()).await.is_err()
    {
        tracing::warn!("some connections did not end in time");
    }
}

async fn accept<S: Site>(
    listener: AsyncListener,
    site: Arc<S>,
    graceful: Arc<GracefulShutdown>,
    mut stop: watch::Receiver<bool>,
) {
    let places = Arc::new(Semaphore::new(site.limits().connections));
    loop {
        let accepted = tokio::select! {
            _ = stop.changed() => return,
            accepted = take(&listener, &places) => accepted,
        };
        match accepted {
            Ok((stream, place)) => {
                let (site, places) = (Arc::clone(&site), Arc::clone(&places));
                let at = Place { site, places, watcher: graceful.watcher(), is_file: listener.is_file() };
                tokio::spawn(async move {
                    // What a client does wrong is its own concern: it got an answer, or went away.
                    if let Err(error) = connection(stream, at).await {
                        tracing::debug!("a connection ended: {}", crate::chain(error.as_ref()));
                    }
                    drop(place);
                });
            }
            // Out of descriptors or memory: it passes, and a listener that gave up would not come back.
            Err(error) => {
                tracing::warn!("a connection cannot be accepted: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn take(
    listener: &AsyncListener,
    places: &Arc<Semaphore>,
) -> std::io::Result<(Box<dyn Stream>, OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.map_err(std::io::Error::other)?;
    Ok((listener.accept().await?, place))
}

type Ended = Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// Where a connection is served.
struct Place<S> {
    site: Arc<S>,
    /// Of the same listener.
    places: Arc<Semaphore>,
    watcher: Watcher,
    /// A Unix socket: who may open it is decided already, and nobody listens in between.
    is_file: bool,
}

async fn connection<S: Site>(stream: Box<dyn Stream>, place: Place<S>) -> Ended {
    let limits = place.site.limits();
    let stream = Bounded::new(stream, limits.taking);
    let web = place.site.access().web(&place.site.config()).await;
    match &web.tls {
        Some(config) if !place.is_file => {
            let handshake = TlsAcceptor::from(Arc::clone(config)).accept(stream);
            let stream = tokio::time::timeout(limits.handshake, handshake).await??;
            let peer = Peer::of(stream.get_ref().1, web.client_auth.verifies());
            requests(stream, peer, place).await
        }
        _ => requests(stream, Peer::default(), place).await,
    }
}

async fn requests<S: Site>(stream: impl Stream + 'static, peer: Peer, place: Place<S>) -> Ended {
    let Place { site, places, watcher, .. } = place;
    let limits = site.limits();
    let peer = Arc::new(peer);
    let asked = Arc::new(AtomicBool::new(false));
    let was_asked = Arc::clone(&asked);
    let service = service_fn(move |request| {
        was_asked.store(true, Ordering::Relaxed);
        let (site, peer, places) = (Arc::clone(&site), Arc::clone(&peer), Arc::clone(&places));
        async move {
            let mut answer = route::answer(&site, &peer, request).await;
            // With few places left connections are not kept.
            if places.available_permits() < limits.connections / 4 {
                answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(answer)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header)
        .max_buf_size(64 << 10)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(watcher.watch(connection));
    tokio::select! {
        ended = &mut connection => return Ok(ended?),
        () = tokio::time::sleep(limits.first) => {}
    }
    if !asked.load(Ordering::Relaxed) {
        return Err("nothing was asked in time".into());
    }
    Ok(connection.await?)
}
