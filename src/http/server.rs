//! Accepting, and the limits every connection is under.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_rustls::TlsAcceptor;

use super::access::Peer;
use super::listen::{AsyncListener, Listeners, Stream};
use super::{Context, route};

/// Connections at a time on one listener. Prometheus and Alertmanager need one or two each. Listeners don't share their
/// places: a flood on one leaves the others as they are.
const MOST_CONNECTIONS: usize = 256;
/// Bounds the time for the header of a request, and so also how long a kept connection may idle.
const HEADER_DEADLINE: Duration = Duration::from_secs(75);
/// A handshake is two round trips.
const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(10);
/// How long running answers may take when the daemon stops.
const GRACE: Duration = Duration::from_secs(5);

/// Serves until `stop` changes, then lets running answers end.
pub async fn serve(listeners: Listeners, context: Arc<Context>, stop: watch::Receiver<bool>) {
    let graceful = Arc::new(GracefulShutdown::new());
    let mut loops = Vec::new();
    for listener in listeners.into_inner() {
        match listener.into_async() {
            Ok(listener) => {
                loops.push(tokio::spawn(accept(listener, Arc::clone(&context), Arc::clone(&graceful), stop.clone())));
            }
            Err(error) => tracing::error!("a listener cannot be used: {error}"),
        }
    }
    for accepting in loops {
        if let Err(error) = accepting.await {
            tracing::error!("a listener ended: {error}");
        }
    }
    context.draining.store(true, Ordering::Relaxed);
    if let Some(graceful) = Arc::into_inner(graceful)
        && tokio::time::timeout(GRACE, graceful.shutdown()).await.is_err()
    {
        tracing::warn!("some connections did not end in time");
    }
}

async fn accept(
    listener: AsyncListener,
    context: Arc<Context>,
    graceful: Arc<GracefulShutdown>,
    mut stop: watch::Receiver<bool>,
) {
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    loop {
        let accepted = tokio::select! {
            _ = stop.changed() => return,
            accepted = take(&listener, &places) => accepted,
        };
        match accepted {
            Ok((stream, place)) => {
                let (context, watcher, is_file) = (Arc::clone(&context), graceful.watcher(), listener.is_file());
                tokio::spawn(async move {
                    // What a client does wrong is its own concern: it got an answer, or went away.
                    if let Err(error) = connection(stream, is_file, context, watcher).await {
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

async fn connection(stream: Box<dyn Stream>, is_file: bool, context: Arc<Context>, watcher: Watcher) -> Ended {
    match context.access.tls().await {
        Some(config) if !is_file => {
            let handshake = TlsAcceptor::from(config).accept(stream);
            let stream = tokio::time::timeout(HANDSHAKE_DEADLINE, handshake).await??;
            let peer = Peer::of(stream.get_ref().1);
            requests(Box::new(stream), peer, context, watcher).await
        }
        _ => requests(stream, Peer::default(), context, watcher).await,
    }
}

async fn requests(stream: Box<dyn Stream>, peer: Peer, context: Arc<Context>, watcher: Watcher) -> Ended {
    let peer = Arc::new(peer);
    let service = service_fn(move |request| {
        let (context, peer) = (Arc::clone(&context), Arc::clone(&peer));
        async move { Ok::<_, Infallible>(route::answer(&context, &peer, request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_DEADLINE)
        .max_buf_size(64 << 10)
        .serve_connection(TokioIo::new(stream), service);
    Ok(watcher.watch(connection).await?)
}
