//! What stands behind the listeners, as they see it.

use std::sync::Arc;

use hyper::Request;
use hyper::body::Incoming;

use super::access::Access;
use super::answer::Answer;
use super::limits::Limits;
use crate::alert::instance::OwnNames;
use crate::config::Config;
use crate::metrics::edge::Edge;

/// What stands behind the listeners: the daemon, or a relay.
pub trait Site: Send + Sync + 'static {
    /// The access rules.
    fn access(&self) -> &Arc<Access>;
    /// What is wanted now.
    fn config(&self) -> Arc<Config>;
    /// Answers a request from those who may ask.
    fn answer(self: Arc<Self>, request: Request<Incoming>) -> impl Future<Output = Answer> + Send;
    /// Counts a request to a webhook, refused or not.
    fn webhook_answered(&self, status: u16);
    /// No new connections are taken any more.
    fn drain(&self);
    /// What is counted of those who connect.
    fn edge(&self) -> &Edge;
    /// The names this host goes by, for the header `Host`.
    fn names(&self) -> OwnNames;
    /// What connections are under.
    fn limits(&self) -> Limits {
        Limits::default()
    }
}
