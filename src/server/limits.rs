//! How many connections there may be, and how long each part of a request may take.

use std::time::Duration;

/// What connections are under. Nobody sets them: tests do, which cannot wait as long as a client may.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections at a time on one listener. Prometheus and Alertmanager need one or two each. Listeners don't share
    /// their places: a flood on one leaves the others as they are.
    pub connections: usize,
    /// Of these from one address: half, so that one address alone cannot fill a listener. Addresses of this host are
    /// exempt, because a proxy or a relay stands there for many.
    pub per_address: usize,
    /// A handshake is two round trips.
    pub handshake: Duration,
    /// Who connects has something to ask at once; places are not for those who only hold them.
    pub first: Duration,
    /// Bounds the time for the header of a request, and so also how long a kept connection may idle: longer than
    /// Prometheus keeps one, five minutes, so that with any interval up to that it is Prometheus that closes it. An
    /// idle connection makes room for others when the places run out.
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
            per_address: 128,
            handshake: Duration::from_secs(10),
            first: Duration::from_secs(10),
            header: Duration::from_secs(330),
            body: Duration::from_secs(10),
            taking: Duration::from_secs(30),
        }
    }
}
