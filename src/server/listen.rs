//! Where the daemon listens: TCP, Unix sockets, and sockets that systemd hands over.
//!
//! Everything is bound before anything else is started, so that a wrong address or a second daemon changes nothing.
//! What can be reached from the network is known here, from the sockets themselves and not from what was asked for.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use listenfd::ListenFd;
use nix::sys::socket::{Backlog, getsockopt, listen, sockopt};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::files::Folder;

/// `HOST:PORT`, `:PORT` for all addresses, or `unix:/PATH`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenAddress {
    /// An address and port.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

impl ListenAddress {
    /// The name of a Unix socket.
    pub fn path(&self) -> Option<&Path> {
        match self {
            ListenAddress::Tcp(_) => None,
            ListenAddress::Unix(path) => Some(path),
        }
    }
}

impl FromStr for ListenAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<ListenAddress, String> {
        let wrong = || {
            format!(
                "{text:?} is not a listen address, expected IP:PORT such as 127.0.0.1:19845, :PORT, or unix:/PATH such as \
                 unix:/run/lvm-autoscaler-web/http.sock"
            )
        };
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.starts_with('/') { Ok(ListenAddress::Unix(path.into())) } else { Err(wrong()) };
        }
        if let Some(port) = text.strip_prefix(':') {
            let port = port.parse().map_err(|_| wrong())?;
            return Ok(ListenAddress::Tcp(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))));
        }
        let named = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
        named.as_deref().unwrap_or(text).parse().map(ListenAddress::Tcp).map_err(|_| wrong())
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListenAddress::Tcp(address) => write!(f, "{address}"),
            ListenAddress::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl ListenAddress {
    /// The address and port; a Unix socket has none.
    pub fn tcp(&self) -> Option<SocketAddr> {
        match self {
            ListenAddress::Tcp(address) => Some(*address),
            ListenAddress::Unix(_) => None,
        }
    }

    /// Whether only this host can connect. Who may use a Unix socket is said by its file.
    pub fn is_local(&self) -> bool {
        match self {
            ListenAddress::Unix(_) => true,
            ListenAddress::Tcp(address) => match address.ip() {
                IpAddr::V4(ip) => ip.is_loopback(),
                IpAddr::V6(ip) => ip.is_loopback() || ip.to_ipv4_mapped().is_some_and(|ip| ip.is_loopback()),
            },
        }
    }
}

/// Sockets that are bound and not yet served.
pub struct Listeners(Vec<Listener>);

/// One of them.
pub(super) enum Listener {
    Tcp(TcpListener),
    /// And its path: the one that the kernel has begins at the folder that was open when it was bound.
    Unix(UnixListener, PathBuf),
}

impl Listeners {
    /// Binds all addresses.
    pub fn bind(addresses: &[ListenAddress]) -> Result<Listeners, (ListenAddress, io::Error)> {
        let bound = addresses.iter().map(|address| {
            let listener = match address {
                ListenAddress::Tcp(address) => bind_tcp(*address).map(Listener::Tcp),
                ListenAddress::Unix(path) => bind_unix(path).map(|unix| Listener::Unix(unix, path.clone())),
            };
            listener.map_err(|error| (address.clone(), error))
        });
        Ok(Listeners(bound.collect::<Result<_, _>>()?))
    }

    /// Takes the sockets that systemd opened. Must be called before there are threads: it changes the environment.
    pub fn from_systemd() -> io::Result<Listeners> {
        let mut passed = ListenFd::from_env();
        let mut listeners = Vec::new();
        for index in 0..passed.len() {
            let listener = match passed.take_tcp_listener(index) {
                Ok(tcp) => tcp.map(Listener::Tcp),
                Err(_) => passed.take_unix_listener(index)?.map(|unix| {
                    let path = unix.local_addr().ok().and_then(|address| Some(address.as_pathname()?.to_owned()));
                    Listener::Unix(unix, path.unwrap_or_else(|| PathBuf::from("(unnamed)")))
                }),
            };
            let Some(listener) = listener else { continue };
            if !listener.listens()? {
                return Err(io::Error::other("a socket that was passed does not listen, expected ListenStream="));
            }
            listeners.push(listener);
        }
        if listeners.is_empty() {
            return Err(io::Error::other("no socket was passed, expected a .socket unit with ListenStream="));
        }
        Ok(Listeners(listeners))
    }

    /// The addresses, with the ports the system chose where 0 was asked for.
    pub fn addresses(&self) -> Vec<ListenAddress> {
        self.0.iter().map(Listener::address).collect()
    }

    pub(super) fn into_inner(self) -> Vec<Listener> {
        self.0
    }
}

impl Listener {
    fn address(&self) -> ListenAddress {
        match self {
            // What cannot be asked is taken for open to the network.
            Listener::Tcp(tcp) => {
                ListenAddress::Tcp(tcp.local_addr().unwrap_or(SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0))))
            }
            Listener::Unix(_, path) => ListenAddress::Unix(path.clone()),
        }
    }

    fn listens(&self) -> io::Result<bool> {
        let listens = match self {
            Listener::Tcp(tcp) => getsockopt(tcp, sockopt::AcceptConn),
            Listener::Unix(unix, _) => getsockopt(unix, sockopt::AcceptConn),
        };
        Ok(listens?)
    }

    pub(super) fn into_async(self) -> io::Result<AsyncListener> {
        Ok(match self {
            Listener::Tcp(tcp) => {
                // As many as the kernel allows may wait to be accepted, usually 4096 and not 128: those who find no
                // room try again a second later.
                listen(&tcp, Backlog::MAXCONN)?;
                tcp.set_nonblocking(true)?;
                AsyncListener::Tcp(tokio::net::TcpListener::from_std(tcp)?)
            }
            Listener::Unix(unix, _) => {
                unix.set_nonblocking(true)?;
                AsyncListener::Unix(tokio::net::UnixListener::from_std(unix)?)
            }
        })
    }
}

/// What a connection is read from and written to.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A listener that the runtime knows.
pub(super) enum AsyncListener {
    Tcp(tokio::net::TcpListener),
    Unix(tokio::net::UnixListener),
}

impl AsyncListener {
    /// A connection, and the address it comes from, if it has one.
    pub(super) async fn accept(&self) -> io::Result<(Box<dyn Stream>, Option<IpAddr>)> {
        Ok(match self {
            AsyncListener::Tcp(tcp) => {
                let (stream, address) = tcp.accept().await?;
                (Box::new(stream), Some(address.ip()))
            }
            AsyncListener::Unix(unix) => (Box::new(unix.accept().await?.0), None),
        })
    }

    /// A Unix socket is a file: who may open it is decided already, and nobody listens in between.
    pub(super) fn is_file(&self) -> bool {
        matches!(self, AsyncListener::Unix(_))
    }
}

fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    match TcpListener::bind(address) {
        // `:PORT` means all addresses, and a kernel without IPv6 has only the older ones.
        Err(error) if address.ip() == Ipv6Addr::UNSPECIFIED && lacks_ipv6(&error) => {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port()))
        }
        bound => bound,
    }
}

fn lacks_ipv6(error: &io::Error) -> bool {
    use nix::errno::Errno;
    let errno = error.raw_os_error().map(Errno::from_raw);
    matches!(errno, Some(Errno::EAFNOSUPPORT | Errno::EADDRNOTAVAIL))
}

fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    // Somebody may still listen on it; what is no socket is not ours to remove either.
    let (folder, name) = Folder::of(path)?;
    if is_socket && UnixStream::connect(path).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused) {
        folder.remove(&name)?;
    }
    // Whatever the umask: root, and the group that the folder or a person gives it.
    folder.bind(&name, 0o660, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listen_addresses() {
        let local = |text: &str| text.parse::<ListenAddress>().map(|address| address.is_local());
        assert_eq!(local("127.0.0.1:19845"), Ok(true));
        assert_eq!(local("localhost:1"), Ok(true));
        assert_eq!(local("[::1]:1"), Ok(true));
        assert_eq!(local("unix:/run/web.sock"), Ok(true));
        assert_eq!(local(":19845"), Ok(false));
        assert_eq!(local("0.0.0.0:1"), Ok(false));
        for wrong in ["19845", "example.com:1", "unix:web.sock", "unix:"] {
            assert!(local(wrong).is_err(), "{wrong}");
        }
    }
}
