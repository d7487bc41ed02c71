//! A server for HTTP/1.1: listeners, TLS, credentials, limits. It does not know what it serves: that is a [`Site`], the
//! daemon's or the relay's. It never touches the host.

mod access;
mod answer;
mod basic;
mod body;
mod gate;
mod limits;
mod listen;
mod places;
mod request;
mod serve;
mod site;
mod stream;
mod tls;
mod turns;

pub(crate) use access::Peer;
pub use access::{Access, AccessError};
pub use answer::{Answer, text, with_type};
pub use body::{Posted, read as read_body};
pub(crate) use gate::ANSWERED_WITHIN;
pub use gate::Seat;
pub use limits::Limits;
pub use listen::{ListenAddress, Listeners};
pub use serve::serve;
pub use site::Site;
