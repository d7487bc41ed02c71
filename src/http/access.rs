//! Who may ask for what. Every request passes through [`Access::check`], whatever its path and listener.

use std::sync::Arc;

use hyper::Request;
use hyper::body::Incoming;
use hyper::header::HeaderMap;
use tokio_rustls::rustls::{ServerConfig, ServerConnection};

use super::route::Answer;

/// Who is at the other end of a connection.
#[derive(Debug, Default)]
pub(super) struct Peer {}

impl Peer {
    pub(super) fn of(_tls: &ServerConnection) -> Peer {
        Peer {}
    }
}

/// What is asked of those who connect; by default nothing.
#[derive(Debug, Default)]
pub struct Access {}

impl Access {
    /// How to speak TLS; `None`: in plain text.
    pub(super) async fn tls(&self) -> Option<Arc<ServerConfig>> {
        None
    }

    /// Whether this request may be looked at, or what it is answered instead.
    pub(super) async fn check(&self, _peer: &Peer, _request: &Request<Incoming>) -> Result<(), Answer> {
        Ok(())
    }

    /// Adds the headers that every answer has.
    pub(super) fn dress(&self, _headers: &mut HeaderMap) {}
}
