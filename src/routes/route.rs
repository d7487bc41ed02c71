//! Which path leads where: one screen.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use hyper::body::Incoming;
use hyper::header::{ALLOW, HeaderValue};
use hyper::{Method, Request, StatusCode};

use super::context::Context;
use super::pages::{self, Part};
use super::{metrics, report, webhook};
use crate::alert::Sender;
use crate::alert::instance::OwnNames;
use crate::config::Config;
use crate::metrics::edge::Edge;
use crate::server::{Access, Answer, Limits, Site, text};

impl Site for Context {
    fn access(&self) -> &Arc<Access> {
        &self.access
    }

    fn config(&self) -> Arc<Config> {
        self.in_force.get()
    }

    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Answer {
        answer(&self, request).await
    }

    fn webhook_answered(&self, status: u16) {
        self.metrics.webhook_answered(status);
    }

    fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    fn edge(&self) -> &Edge {
        &self.metrics.edge
    }

    fn names(&self) -> OwnNames {
        let own = (self.own_names)();
        own.and(self.config().instances.iter().flatten())
    }

    fn limits(&self) -> Limits {
        self.limits
    }
}

async fn answer(context: &Arc<Context>, request: Request<Incoming>) -> Answer {
    let path = request.uri().path();
    if path == context.telemetry_path {
        return match get(&request) {
            Some(refused) => refused,
            None => metrics::metrics(context, &request).await,
        };
    }
    match path {
        "/" => shown(context, &request, Part::Page).await,
        "/api/v1/inventory" => shown(context, &request, Part::Inventory).await,
        "/api/v1/targets" => shown(context, &request, Part::Targets).await,
        "/api/v1/operations" => shown(context, &request, Part::Operations).await,
        "/report" => match get(&request) {
            Some(refused) => refused,
            None => report::report(context, &request).await,
        },
        "/-/healthy" => get(&request).unwrap_or_else(|| text(StatusCode::OK, "healthy\n")),
        "/-/ready" => match get(&request) {
            Some(refused) => refused,
            None => pages::ready(context).await,
        },
        "/webhook/alertmanager" => alerts(context, Sender::Alertmanager, request).await,
        "/webhook/grafana" => alerts(context, Sender::Grafana, request).await,
        _ => text(StatusCode::NOT_FOUND, "there is nothing here\n"),
    }
}

async fn alerts(context: &Arc<Context>, sender: Sender, request: Request<Incoming>) -> Answer {
    match only(&request, &Method::POST, "POST") {
        Some(refused) => refused,
        None => webhook::alerts(context, sender, request).await,
    }
}

async fn shown(context: &Arc<Context>, request: &Request<Incoming>, part: Part) -> Answer {
    match get(request) {
        Some(refused) => refused,
        None => pages::status(context, part).await,
    }
}

/// The answer to a request that is not a GET where only that is known.
fn get(request: &Request<Incoming>) -> Option<Answer> {
    if request.method() == Method::HEAD { None } else { only(request, &Method::GET, "GET, HEAD") }
}

fn only(request: &Request<Incoming>, method: &Method, allowed: &'static str) -> Option<Answer> {
    if request.method() == method {
        return None;
    }
    let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, format!("expected {allowed}\n"));
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    Some(answer)
}
