//! Which path leads where: one screen.

use std::sync::Arc;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};

use super::access::Peer;
use super::pages::Part;
use super::{Context, Site, metrics, pages, report, webhook};
use crate::alert::Sender;

/// What a request is answered.
pub type Answer = Response<Full<Bytes>>;

/// Answers a request, whatever its path, from those who may ask.
pub(super) async fn answer<S: Site>(site: &Arc<S>, peer: &Peer, request: Request<Incoming>) -> Answer {
    let is_webhook = request.uri().path().starts_with("/webhook/");
    let mut answer = match site.access().check(&site.config(), peer, &request).await {
        Ok(()) => Arc::clone(site).inside(request).await,
        Err(refused) => refused,
    };
    if is_webhook {
        site.webhook_answered(answer.status().as_u16());
    }
    site.access().dress(answer.headers_mut());
    answer
}

pub(super) async fn inside(context: &Arc<Context>, request: Request<Incoming>) -> Answer {
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
        "/-/ready" => get(&request).unwrap_or_else(|| pages::ready(context)),
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

/// A line for people.
pub fn text(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    with_type(status, "text/plain; charset=utf-8", body)
}

/// An answer of that type.
pub fn with_type(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}
