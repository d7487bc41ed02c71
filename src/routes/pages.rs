//! `GET /`, `/api/v1/` and `/-/ready`.
//!
//! Page and API are written from one [`Status`], at most once a second however many ask: they cost a bounded share of a
//! processor and never wait for LVM. The page brings all it needs; its Content-Security-Policy lets nothing else run,
//! by the hashes of its own style and script.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hyper::StatusCode;
use hyper::body::Bytes;
use hyper::header::{CONTENT_SECURITY_POLICY, HeaderValue, REFERRER_POLICY};
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, Value, context};
use serde::Serialize;

use super::context::Context;
use super::kept::Made;
use super::status::{Head, Status};
use crate::server::{Answer, text, with_type};
use crate::{report, units};

/// How long what was made is given to others who ask. People do not look more often.
const FRESH: Duration = Duration::from_secs(1);

const TEMPLATE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// What can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Page,
    Inventory,
    Targets,
    Operations,
}

/// Every answer of the API has the head beside its own part.
#[derive(Serialize)]
struct Twin<'a, T> {
    #[serde(flatten)]
    head: &'a Head,
    #[serde(flatten)]
    part: T,
}

#[derive(Serialize)]
struct Targets<T> {
    targets: T,
}

/// Answers with one part.
pub(super) async fn status(context: &Arc<Context>, part: Part) -> Answer {
    let Some(made) = made(context).await else {
        return text(StatusCode::INTERNAL_SERVER_ERROR, "the status cannot be shown, see the log\n");
    };
    let (kind, body) = match part {
        Part::Page => ("text/html; charset=utf-8", &made.page),
        Part::Inventory => ("application/json", &made.inventory),
        Part::Targets => ("application/json", &made.targets),
        Part::Operations => ("application/json", &made.operations),
    };
    let mut answer = with_type(StatusCode::OK, kind, body.clone());
    let headers = answer.headers_mut();
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    if let Ok(policy) = HeaderValue::from_str(&policy()) {
        headers.insert(CONTENT_SECURITY_POLICY, policy);
    }
    answer
}

fn policy() -> String {
    let hash = |text: &str| BASE64_STANDARD.encode(ring::digest::digest(&ring::digest::SHA256, text.as_bytes()));
    format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; connect-src 'self'; img-src data:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        hash(STYLE),
        hash(SCRIPT)
    )
}

async fn made(context: &Arc<Context>) -> Option<Arc<Made>> {
    let mut cached = context.status.made.lock().await;
    if let Some((at, made)) = &*cached
        && at.elapsed() < FRESH
    {
        return Some(Arc::clone(made));
    }
    let making = Arc::clone(context);
    // The journal may be waiting for the disk.
    match tokio::task::spawn_blocking(move || make(&making)).await {
        Ok(Ok(made)) => {
            let made = Arc::new(made);
            *cached = Some((Instant::now(), Arc::clone(&made)));
            Some(made)
        }
        Ok(Err(error)) => {
            tracing::error!("the status page cannot be written: {error:#}");
            None
        }
        Err(_) => None,
    }
}

fn make(context: &Context) -> Result<Made, minijinja::Error> {
    let status = Status::of(context);
    let head = &status.head;
    let page = render(context, &status)?;
    Ok(Made {
        page: page.into(),
        inventory: json(&Twin { head, part: &status.inventory }),
        targets: json(&Twin { head, part: Targets { targets: &status.targets } }),
        operations: json(&Twin { head, part: &status.operations }),
    })
}

fn json(value: &impl Serialize) -> Bytes {
    let mut text = crate::visible_json(serde_json::to_string_pretty(value).unwrap_or_default());
    text.push('\n');
    text.into()
}

fn render(context: &Context, status: &Status) -> Result<String, minijinja::Error> {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment.set_formatter(report::escaped);
    environment.add_filter("size", |bytes: u64| units::Bytes(bytes).to_string().replace(' ', "\u{a0}"));
    environment.add_filter("percent", percent);
    environment.add_filter("span", |seconds: i64| span(seconds));
    environment.add_filter("clock", |at: String| at.get(..19).map_or(at.clone(), |at| at.replace('T', " ")));
    environment.add_filter("words", |text: String| text.replace('_', " "));
    let template = environment.template_from_named_str("page.html", TEMPLATE)?;
    template.render(context! {
        status => Value::from(Serde(status)), telemetry_path => context.telemetry_path.as_str(), style => STYLE, script => SCRIPT,
    })
}

/// `85.3 %`, `80 %`, held together by a space that does not break.
fn percent(value: f64) -> String {
    let shown = format!("{value:.1}");
    format!("{}\u{a0}%", shown.strip_suffix(".0").unwrap_or(&shown))
}

/// `2 h`, `3 min`, `12 s`: the largest unit is enough for people.
fn span(seconds: i64) -> String {
    match seconds {
        0..120 => format!("{seconds}\u{a0}s"),
        120..7200 => format!("{}\u{a0}min", seconds / 60),
        7200..172_800 => format!("{}\u{a0}h", seconds / 3600),
        _ => format!("{}\u{a0}d", seconds / 86_400),
    }
}

/// `GET /-/ready`: the host was looked at, and what is accepted can be written down.
pub(super) async fn ready(context: &Arc<Context>) -> Answer {
    let unready = |why: &str| text(StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {why}\n"));
    if context.draining.load(Ordering::Relaxed) {
        return unready("stopping");
    }
    if !context.latest.get().taken {
        return unready("no inventory yet, see whether `lvm fullreport` answers");
    }
    let asking = Arc::clone(context);
    // The engine may be another process, which takes its time to answer.
    match tokio::task::spawn_blocking(move || asking.front.view()).await {
        Ok(view) => match view.and_then(|view| view.trouble) {
            Some(trouble) => unready(&trouble.to_string()),
            None => text(StatusCode::OK, "ready\n"),
        },
        Err(_) => unready("it cannot be told whether it is"),
    }
}
