//! What is counted where strangers connect, by a daemon and by a relay alike.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::families::families;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Listener {
    listener: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LimitLabel {
    limit: &'static str,
}

/// A bound that protects the process from those who connect; docs/security.md has the numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// Connections of one listener.
    Connections,
    /// Connections of one address at one listener.
    Address,
    /// Passwords that wait to be checked.
    Passwords,
    /// Large bodies that are read at a time.
    LargeBodies,
    /// Payloads that are parsed and answered at a time.
    Payloads,
    /// Alerts of one payload that its answer lists.
    Alerts,
    /// Reports that wait to be made.
    Reports,
}

impl Limit {
    const ALL: [Limit; 7] = [
        Limit::Connections,
        Limit::Address,
        Limit::Passwords,
        Limit::LargeBodies,
        Limit::Payloads,
        Limit::Alerts,
        Limit::Reports,
    ];

    fn as_str(self) -> &'static str {
        match self {
            Limit::Connections => "connections",
            Limit::Address => "connections_per_address",
            Limit::Passwords => "passwords",
            Limit::LargeBodies => "large_bodies",
            Limit::Payloads => "payloads",
            Limit::Alerts => "alerts_per_payload",
            Limit::Reports => "reports",
        }
    }
}

families! {
    /// The series; a clone counts into the same.
    #[derive(Debug, Clone)]
    pub struct Edge {
        connections: Family<Listener, Gauge>,
            "connections" ["listener"]
            "Open connections of a listener, at most 256";
        login_failures: Family<Listener, Counter>,
            "login_failures" ["listener"]
            "Requests that were refused because of wrong credentials";
        limit_hits: Family<LimitLabel, Counter>,
            "limit_hits" ["limit"]
            "Times that a limit was reached and a connection or request was dropped or has to be repeated, by limit: \
             connections, connections_per_address, passwords, large_bodies, payloads, alerts_per_payload, reports";
    }
    also {}
}

impl Default for Edge {
    fn default() -> Edge {
        Edge::new()
    }
}

impl Edge {
    /// Shows them, each limit with 0 before it is hit, so that a rate has a beginning.
    pub fn register(&self, registry: &mut Registry) {
        self.add_to(registry);
        for limit in Limit::ALL {
            drop(self.limit_hits.get_or_create(&LimitLabel { limit: limit.as_str() }));
        }
    }

    /// Open connections of a listener.
    pub fn connected(&self, listener: &str, count: usize) {
        self.connections.get_or_create(&Listener { listener: listener.to_owned() }).set(count as i64);
    }

    /// Shows the failures of a listener before the first of them.
    pub fn expect_listener(&self, listener: &str) {
        self.connected(listener, 0);
        drop(self.login_failures.get_or_create(&Listener { listener: listener.to_owned() }));
    }

    /// A request brought wrong credentials.
    pub fn login_failed(&self, listener: &str) {
        self.login_failures.get_or_create(&Listener { listener: listener.to_owned() }).inc();
    }

    /// A limit was reached, and something was refused or dropped for it.
    pub fn hit(&self, limit: Limit) {
        self.limit_hits.get_or_create(&LimitLabel { limit: limit.as_str() }).inc();
    }
}
