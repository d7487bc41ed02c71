//! A relay: one webhook for Alertmanager, in front of many daemons. It hands each alert to the host that its label
//! `instance` names.
//!
//! It keeps nothing. It answers 2xx only when every host that was addressed has accepted, else 5xx: so delivery is
//! Alertmanager's, with its own retries, and a host that accepted twice coalesces or refuses. All hosts are called at
//! the same time and each has a deadline, so that one that hangs delays none. Several relays may stand behind one name.

pub mod hosts;
mod metrics;
mod split;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::{Method, Request, StatusCode};
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::sync::Semaphore;

use crate::alert::instance::OwnNames;
use crate::alert::{self, Sender};
use crate::client::Client;
use crate::config::{Config, HttpClient};
use crate::files::{self, Doubt, Trust};
use crate::host;
use crate::metrics::edge::{Edge, Limit};
use crate::metrics::words::{Delivered, Passed};
use crate::server::{Access, Answer, Posted, Site, read_body, text, with_type};
use hosts::{Defaults, Hosts, HostsError, RelayedHost, Watched};
use metrics::Metrics;

/// What is being passed on at a time, in KiB: more would be memory for hosts that do not answer.
const PASSING_KIB: usize = 32 << 10;

/// What a relay needs to know.
#[derive(Debug, Clone)]
pub struct RelayOptions {
    /// The list of hosts.
    pub targets_file: PathBuf,
    /// How daemons are reached.
    pub defaults: Defaults,
    /// With which credentials.
    pub client: HttpClient,
    /// The label that names the host.
    pub label: String,
    /// How long a daemon may take.
    pub timeout: Duration,
}

/// Why a relay cannot start.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// The list of hosts.
    #[error(transparent)]
    Hosts(#[from] HostsError),
    /// Others could change whom it calls, or with what.
    #[error("a file is not used")]
    Untrusted(#[from] Doubt),
    /// The credentials for the daemons.
    #[error("the daemons cannot be called: {0}")]
    Client(String),
}

/// A relay.
pub struct Relay {
    list: Mutex<Watched>,
    client: Client,
    label: String,
    passing: Semaphore,
    metrics: Metrics,
    access: Arc<Access>,
    /// A relay has no targets; what it is asked for is the web config's.
    config: Arc<Config>,
    draining: AtomicBool,
}

/// The answer.
#[derive(Debug, Serialize)]
struct RelayAnswer {
    hosts: Vec<Delivery>,
    /// What the label said of the first hundred alerts that fire for no host of the list.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unknown_instances: Vec<String>,
    /// Alerts that are over and so were not forwarded.
    resolved: usize,
}

/// What became of one host's part.
#[derive(Debug, Serialize)]
struct Delivery {
    host: String,
    alerts: usize,
    outcome: Delivered,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl Relay {
    /// Reads the list; what is wrong with it or the credentials is found now.
    pub fn new(options: &RelayOptions, access: Access) -> Result<Relay, RelayError> {
        let files = [options.targets_file.as_path()].into_iter().chain(options.client.files());
        files.into_iter().try_for_each(|file| Trust::Required.judge(files::doubt(file)))?;
        let list = Watched::open(&options.targets_file, options.defaults.clone())?;
        let agent = concat!("lvm-autoscaler-relay/", env!("CARGO_PKG_VERSION"));
        let client = Client::new(options.client.clone(), agent, options.timeout);
        client.verify().map_err(RelayError::Client)?;
        Ok(Relay {
            list: Mutex::new(list),
            client,
            label: options.label.clone(),
            passing: Semaphore::new(PASSING_KIB),
            metrics: Metrics::new(),
            access: Arc::new(access),
            config: Arc::default(),
            draining: AtomicBool::new(false),
        })
    }

    /// The list as it is now.
    pub fn hosts(&self) -> Arc<Hosts> {
        let mut list = crate::locked(&self.list);
        let hosts = list.hosts();
        self.metrics.hosts.set(hosts.len() as i64);
        self.metrics.hosts_good.set(i64::from(list.good));
        hosts
    }

    async fn forward(self: Arc<Self>, request: Request<Incoming>) -> Answer {
        let Posted { body, place, .. } = match read_body(request, self.limits().body).await {
            Ok(posted) => posted,
            Err(answer) => return answer,
        };
        let relay = Arc::clone(&self);
        let split = tokio::task::spawn_blocking(move || {
            let _place = place;
            // What a daemon would not take is refused here already; what is passed on is the whole payload.
            alert::parse(Sender::Alertmanager, &body).map_err(|error| (StatusCode::BAD_REQUEST, error.to_string()))?;
            split::split(&body, &relay.hosts(), &relay.label).map_err(|error| {
                let too_large = matches!(error, split::SplitError::TooLarge(_));
                let status = if too_large { StatusCode::PAYLOAD_TOO_LARGE } else { StatusCode::BAD_REQUEST };
                (status, error.to_string())
            })
        });
        let parts = match split.await {
            Ok(Ok(parts)) => parts,
            Ok(Err((status, why))) => return text(status, format!("{why}\n")),
            Err(_) => return text(StatusCode::INTERNAL_SERVER_ERROR, "the request cannot be answered\n"),
        };
        let kib = u32::try_from(parts.size().div_ceil(1024)).unwrap_or(u32::MAX);
        let Ok(_passing) = self.passing.try_acquire_many(kib) else {
            self.metrics.edge.hit(Limit::Payloads);
            return text(StatusCode::SERVICE_UNAVAILABLE, "too many requests at the same time, send this again\n");
        };
        let calls: Vec<_> = parts.to.into_iter().map(|part| tokio::spawn(Arc::clone(&self).deliver(part))).collect();
        let mut report = RelayAnswer { hosts: vec![], unknown_instances: parts.unknown, resolved: parts.resolved };
        for call in calls {
            // A task ends by a panic only where there is a bug; its host has then not accepted.
            report.hosts.extend(call.await);
        }
        self.count(&report, parts.unknown_count);
        let all = report.hosts.iter().all(|delivery| delivery.outcome == Delivered::Accepted);
        let status = if all { StatusCode::ACCEPTED } else { StatusCode::BAD_GATEWAY };
        with_type(status, "application/json", crate::json(&report))
    }

    async fn deliver(self: Arc<Self>, (host, body, alerts): (Arc<RelayedHost>, Vec<u8>, usize)) -> Delivery {
        let called = match host.url().parse() {
            Ok(url) => self.client.post(url, body).await,
            Err(error) => Err(format!("{error}")),
        };
        let (outcome, status, said, error) = match called {
            Ok((status, said)) if status.is_success() => (Delivered::Accepted, Some(status), said, None),
            Ok((status, said)) => (Delivered::Rejected, Some(status), said, None),
            Err(error) => (Delivered::Unreachable, None, "".into(), Some(error)),
        };
        if outcome != Delivered::Accepted {
            let status = status.map(|status| status.as_u16());
            let said = String::from_utf8_lossy(&said).chars().take(200).collect::<String>();
            tracing::warn!(
                host = host.name,
                status,
                error,
                said,
                "alerts were not accepted, their sender must send them again"
            );
        }
        self.metrics.delivered(&host.name, outcome);
        let answer = serde_json::from_slice(&said).ok();
        let status = status.map(|status| status.as_u16());
        Delivery { host: host.name.clone(), alerts, outcome, status, answer, error }
    }

    fn count(&self, report: &RelayAnswer, unknown: usize) {
        self.metrics.alerts(Passed::Forwarded, report.hosts.iter().map(|delivery| delivery.alerts).sum());
        self.metrics.alerts(Passed::UnknownInstance, unknown);
        self.metrics.alerts(Passed::Resolved, report.resolved);
        if let Some(first) = report.unknown_instances.first() {
            tracing::warn!(unknown, first, "alerts for hosts that are not in the list were passed over");
        }
    }
}

impl Site for Relay {
    fn access(&self) -> &Arc<Access> {
        &self.access
    }

    fn config(&self) -> Arc<Config> {
        Arc::clone(&self.config)
    }

    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Answer {
        let (path, method) = (request.uri().path(), request.method());
        let reads = matches!(*method, Method::GET | Method::HEAD);
        let expected = if path == "/webhook/alertmanager" { *method == Method::POST } else { reads };
        match path {
            "/webhook/alertmanager" | "/metrics" | "/-/healthy" | "/-/ready" | "/" if !expected => {
                text(StatusCode::METHOD_NOT_ALLOWED, "expected GET, or POST for the webhook\n")
            }
            "/webhook/alertmanager" => self.forward(request).await,
            "/metrics" => {
                self.hosts();
                self.metrics.web_good.set(i64::from(self.access.is_current()));
                let page = self.metrics.page().unwrap_or_default();
                with_type(StatusCode::OK, "application/openmetrics-text; version=1.0.0; charset=utf-8", page)
            }
            "/-/healthy" => text(StatusCode::OK, "healthy\n"),
            "/-/ready" if self.draining.load(Ordering::Relaxed) => {
                text(StatusCode::SERVICE_UNAVAILABLE, "not ready: stopping\n")
            }
            "/-/ready" => text(StatusCode::OK, "ready\n"),
            "/" => text(StatusCode::OK, format!("lvm-autoscaler relay, {} hosts\n", self.hosts().len())),
            _ => text(StatusCode::NOT_FOUND, "there is nothing here\n"),
        }
    }

    fn webhook_answered(&self, status: u16) {
        self.metrics.answered(status);
    }

    fn edge(&self) -> &Edge {
        &self.metrics.edge
    }

    fn names(&self) -> OwnNames {
        OwnNames::new(host::own_names())
    }

    fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }
}
