//! Accepting, and the limits every connection is under.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::{Body, Incoming};
use hyper::header::{CONNECTION, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use super::access::Peer;
use super::gate::Gate;
use super::listen::{AsyncListener, ListenAddress, Listeners, Stream};
use super::places::{Doing, Places, Seat};
use super::request::answer;
use super::site::Site;
use super::stream::Bounded;
use super::turns::Source;

/// How long running answers may take when the daemon stops.
const GRACE: Duration = Duration::from_secs(5);

/// Serves until `stop` changes, then lets running answers end.
pub async fn serve<S: Site>(listeners: Listeners, site: Arc<S>, stop: watch::Receiver<bool>) {
    let graceful = Arc::new(GracefulShutdown::new());
    let gate = Arc::new(Gate::new(site.edge().clone()));
    let mut loops = Vec::new();
    for (address, listener) in listeners.addresses().into_iter().zip(listeners.into_inner()) {
        match listener.into_async() {
            Ok(listener) => {
                let limits = site.limits();
                let named = address.to_string();
                let places = Places::new(named, limits.connections, limits.per_address, site.edge().clone());
                let (site, gate, graceful) = (Arc::clone(&site), Arc::clone(&gate), Arc::clone(&graceful));
                let at = At { address, listener, site, gate, places };
                loops.push(tokio::spawn(accept(at, graceful, stop.clone())));
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

/// A listener, and what stands behind it.
struct At<S> {
    address: ListenAddress,
    listener: AsyncListener,
    site: Arc<S>,
    gate: Arc<Gate>,
    places: Arc<Places>,
}

async fn accept<S: Site>(at: At<S>, graceful: Arc<GracefulShutdown>, mut stop: watch::Receiver<bool>) {
    let is_loopback = at.address.tcp().is_some() && at.address.is_local();
    loop {
        let accepted = tokio::select! {
            _ = stop.changed() => return,
            accepted = take(&at) => accepted,
        };
        match accepted {
            Ok(Some((stream, source, seat))) => {
                let peer = Peer::new(source, is_loopback, Arc::clone(&seat), Arc::clone(&at.gate));
                let (site, watcher, is_file) = (Arc::clone(&at.site), graceful.watcher(), at.listener.is_file());
                let task = tokio::spawn(async move {
                    // What a client does wrong is its own concern: it got an answer, or went away.
                    if let Err(error) = connection(stream, peer, site, watcher, is_file).await {
                        tracing::debug!("a connection ended: {}", crate::chain(error.as_ref()));
                    }
                });
                seat.ends_by(task.abort_handle());
                // What it sent already is read before others are accepted, which may be many.
                tokio::task::yield_now().await;
            }
            // Its address has all the places it may have: it is closed.
            Ok(None) => {}
            // Out of descriptors or memory: it passes, and a listener that gave up would not come back.
            Err(error) => {
                tracing::warn!("a connection cannot be accepted: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

type Accepted = (Box<dyn Stream>, Source, Arc<Seat>);

async fn take<S>(at: &At<S>) -> std::io::Result<Option<Accepted>> {
    let (stream, address) = at.listener.accept().await?;
    let source = Source::of(address);
    Ok(at.places.enter(source).await.map(|seat| (stream, source, seat)))
}

type Served = Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// `is_file`: a Unix socket. Who may open it is decided already, and nobody listens in between.
async fn connection<S: Site>(
    stream: Box<dyn Stream>,
    mut peer: Peer,
    site: Arc<S>,
    watcher: Watcher,
    is_file: bool,
) -> Served {
    let limits = site.limits();
    let stream = Bounded::new(stream, limits.taking);
    let web = site.access().web(&site.config()).await;
    match &web.tls {
        Some(tls) if !is_file => {
            let handshake = TlsAcceptor::from(Arc::clone(&tls.config)).accept(stream);
            let stream = tokio::time::timeout(limits.handshake, handshake).await??;
            peer.has_shown(stream.get_ref().1);
            requests(stream, peer, site, watcher).await
        }
        _ => requests(stream, peer, site, watcher).await,
    }
}

async fn requests<S: Site>(stream: impl Stream + 'static, peer: Peer, site: Arc<S>, watcher: Watcher) -> Served {
    let limits = site.limits();
    let peer = Arc::new(peer);
    let seat = Arc::clone(&peer.seat);
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        let (site, peer) = (Arc::clone(&site), Arc::clone(&peer));
        peer.seat.does(if request.body().is_end_stream() { Doing::Working } else { Doing::Asking });
        request.extensions_mut().insert(Arc::clone(&peer));
        async move {
            let mut answer = answer(&site, &peer, request).await;
            // With few places left connections are not kept.
            if peer.seat.are_few() {
                answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            peer.seat.does(Doing::Answered);
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
    if !seat.has_asked() {
        return Err("nothing was asked in time".into());
    }
    Ok(connection.await?)
}
