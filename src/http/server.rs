//! Listening, accepting, and the limits every connection is under.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::{Context, route};

/// Connections at a time. Prometheus and Alertmanager need one or two each.
const MOST_CONNECTIONS: usize = 256;
/// Bounds the time for the header of a request, and so also how long a kept connection may idle.
const HEADER_DEADLINE: Duration = Duration::from_secs(75);
/// How long running answers may take when the daemon stops.
const GRACE: Duration = Duration::from_secs(5);

/// `HOST:PORT`, or `:PORT` for all addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListenAddress(pub SocketAddr);

impl FromStr for ListenAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<ListenAddress, String> {
        let wrong = || format!("{text:?} is not a listen address, expected IP:PORT such as 127.0.0.1:19845, or :PORT");
        if let Some(port) = text.strip_prefix(':') {
            let port = port.parse().map_err(|_| wrong())?;
            return Ok(ListenAddress(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))));
        }
        let named = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
        named.as_deref().unwrap_or(text).parse().map(ListenAddress).map_err(|_| wrong())
    }
}

impl ListenAddress {
    /// Whether only this host can connect.
    pub fn is_loopback(&self) -> bool {
        match self.0.ip() {
            IpAddr::V4(ip) => ip.is_loopback(),
            IpAddr::V6(ip) => ip.is_loopback() || ip.to_ipv4_mapped().is_some_and(|ip| ip.is_loopback()),
        }
    }
}

/// Sockets that are bound and not yet served.
pub struct Listeners(Vec<TcpListener>);

impl Listeners {
    /// The addresses, with the ports the system chose where 0 was asked for.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.0.iter().filter_map(|listener| listener.local_addr().ok()).collect()
    }
}

/// Binds all addresses.
pub async fn bind(addresses: &[ListenAddress]) -> Result<Listeners, (SocketAddr, std::io::Error)> {
    let mut listeners = Vec::new();
    for ListenAddress(address) in addresses {
        let bound = match TcpListener::bind(address).await {
            // `:PORT` means all addresses, and a kernel without IPv6 has only the older ones.
            Err(error) if address.ip() == Ipv6Addr::UNSPECIFIED && lacks_ipv6(&error) => {
                TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())).await
            }
            bound => bound,
        };
        listeners.push(bound.map_err(|error| (*address, error))?);
    }
    Ok(Listeners(listeners))
}

fn lacks_ipv6(error: &std::io::Error) -> bool {
    use nix::errno::Errno;
    let errno = error.raw_os_error().map(Errno::from_raw);
    matches!(errno, Some(Errno::EAFNOSUPPORT | Errno::EADDRNOTAVAIL))
}

/// Serves until `stop` changes, then lets running answers end.
pub async fn serve(listeners: Listeners, context: Arc<Context>, stop: watch::Receiver<bool>) {
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let graceful = Arc::new(GracefulShutdown::new());
    let loops = listeners.0.into_iter().map(|listener| {
        tokio::spawn(accept(listener, Arc::clone(&context), Arc::clone(&places), Arc::clone(&graceful), stop.clone()))
    });
    for accepting in loops.collect::<Vec<_>>() {
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
    listener: TcpListener,
    context: Arc<Context>,
    places: Arc<Semaphore>,
    graceful: Arc<GracefulShutdown>,
    mut stop: watch::Receiver<bool>,
) {
    loop {
        let accepted = tokio::select! {
            _ = stop.changed() => return,
            accepted = take(&listener, &places) => accepted,
        };
        match accepted {
            Ok((stream, place)) => connection(stream, place, &context, &graceful),
            // Out of descriptors or memory: it passes, and a listener that gave up would not come back.
            Err(error) => {
                tracing::warn!("a connection cannot be accepted: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn take(listener: &TcpListener, places: &Arc<Semaphore>) -> std::io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.map_err(std::io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    Ok((stream, place))
}

fn connection(stream: TcpStream, place: OwnedSemaphorePermit, context: &Arc<Context>, graceful: &GracefulShutdown) {
    let context = Arc::clone(context);
    let service = service_fn(move |request| {
        let context = Arc::clone(&context);
        async move { Ok::<_, Infallible>(route::answer(&context, request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_DEADLINE)
        .max_buf_size(64 << 10)
        .serve_connection(TokioIo::new(stream), service);
    let watched = graceful.watch(connection);
    tokio::spawn(async move {
        // What a client does wrong is its own concern: it got an answer, or went away.
        if let Err(error) = watched.await {
            tracing::debug!("a connection ended: {error}");
        }
        drop(place);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listen_addresses() {
        let loopback = |text: &str| text.parse::<ListenAddress>().map(|address| address.is_loopback());
        assert_eq!(loopback("127.0.0.1:19845"), Ok(true));
        assert_eq!(loopback("localhost:1"), Ok(true));
        assert_eq!(loopback("[::1]:1"), Ok(true));
        assert_eq!(loopback(":19845"), Ok(false));
        assert_eq!(loopback("0.0.0.0:1"), Ok(false));
        assert!(loopback("19845").is_err());
        assert!(loopback("example.com:1").is_err());
    }
}
