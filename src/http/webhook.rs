//! `POST /webhook/alertmanager`: read within limits, find the targets, have them written down, answer.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body, Bytes, Incoming};
use hyper::{Request, StatusCode};
use serde::Serialize;

use super::Context;
use super::route::{Answer, text, with_type};
use crate::alert::target::{self, OwnNames};
use crate::alert::{self, Alert, Status};
use crate::config::Config;
use crate::engine::{Accepted, Handle, Request as Wish, SubmitError};
use crate::inventory::Inventory;
use crate::journal::{Event, Source};
use crate::name::LvRef;
use crate::plan::{Code, Refusal};

/// A group of a thousand alerts is about this large.
const MAX_BODY: usize = 1 << 20;

/// Refusals of one request that are written down and logged; the others are counted. More are not remembered anyway, and
/// a request can hold so many alerts that they would not fit into the journal.
const MOST_WRITTEN_DOWN: usize = 100;

/// What became of one alert, for the sender's log.
#[derive(Debug, Serialize)]
struct Verdict {
    fingerprint: String,
    target: Option<LvRef>,
    verdict: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<Code>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sentence: Option<String>,
}

#[derive(Debug, Serialize)]
struct Verdicts {
    alerts: Vec<Verdict>,
}

/// Answers Alertmanager. 202 means that what was accepted is on disk.
pub(super) async fn alertmanager(context: &Arc<Context>, request: Request<Incoming>) -> Answer {
    let body = match read(request, context.body_deadline).await {
        Ok(body) => body,
        Err(answer) => return answer,
    };
    let payload = match alert::parse(&body) {
        Ok(payload) => payload,
        Err(error) => return text(StatusCode::BAD_REQUEST, format!("{error}\n")),
    };
    let context = Arc::clone(context);
    // Writing to the journal waits for the disk.
    match tokio::task::spawn_blocking(move || receive(&context, payload.alerts)).await {
        Ok(Ok(verdicts)) => json(&verdicts),
        Ok(Err(NotAccepted::NotLooked)) => {
            text(StatusCode::SERVICE_UNAVAILABLE, "this host was not looked at yet, try again\n")
        }
        Ok(Err(NotAccepted::Submit(error))) => {
            tracing::error!("alerts were not accepted: {}", crate::chain(&error));
            text(StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n"))
        }
        Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "the request cannot be answered\n"),
    }
}

async fn read(request: Request<Incoming>, deadline: Duration) -> Result<Bytes, Answer> {
    let too_large = || text(StatusCode::PAYLOAD_TOO_LARGE, format!("the body is larger than {MAX_BODY} bytes\n"));
    // What says so itself need not be read.
    if request.body().size_hint().lower() > MAX_BODY as u64 {
        return Err(too_large());
    }
    let body = Limited::new(request.into_body(), MAX_BODY).collect();
    match tokio::time::timeout(deadline, body).await {
        Err(_) => Err(text(StatusCode::REQUEST_TIMEOUT, "the body did not come in time\n")),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(error)) => Err(text(StatusCode::BAD_REQUEST, format!("the body cannot be read: {error}\n"))),
        Ok(Ok(body)) => Ok(body.to_bytes()),
    }
}

fn json(verdicts: &Verdicts) -> Answer {
    let body = serde_json::to_vec(verdicts).unwrap_or_default();
    with_type(StatusCode::ACCEPTED, "application/json", body)
}

/// Why a payload must come again.
enum NotAccepted {
    /// What its labels mean cannot be known yet, and a refusal now would be final.
    NotLooked,
    /// The engine cannot take it.
    Submit(SubmitError),
}

impl From<SubmitError> for NotAccepted {
    fn from(error: SubmitError) -> NotAccepted {
        NotAccepted::Submit(error)
    }
}

/// Finds the targets and hands them over; all are accepted, or none.
fn receive(context: &Context, alerts: Vec<Alert>) -> Result<Verdicts, NotAccepted> {
    let sample = context.latest.get();
    let config = context.config();
    let names = context.names(&config);
    let about = |alert: &Alert| named(alert, &config, &names, &sample.inventory);
    let named: Vec<_> = alerts.into_iter().map(|alert| (about(&alert), alert)).collect();
    // `/dev/dm-3` or a second mount point says something only to who has seen the host.
    let unclear = |code: Code| matches!(code, Code::UnknownTarget | Code::AmbiguousAlert);
    let is_unclear = |(named, _): &(Option<Result<LvRef, Refusal>>, Alert)| {
        named.as_ref().is_some_and(|named| named.as_ref().is_err_and(|refusal| unclear(refusal.code)))
    };
    if context.engine().is_some() && !sample.taken && named.iter().any(is_unclear) {
        return Err(NotAccepted::NotLooked);
    }
    let wishes = named.iter().filter_map(|(named, alert)| match named {
        Some(Ok(lv)) => {
            let (lv, fingerprint) = (lv.clone(), shortened(&alert.fingerprint));
            Some(Wish { lv, source: Source::Alertmanager, fingerprint })
        }
        _ => None,
    });
    let refused = named.iter().filter_map(|(named, _)| named.as_ref()?.as_ref().err());
    let accepted = match context.engine() {
        Some(engine) => hand_over(engine, wishes.collect(), refused)?,
        None => vec![],
    };
    let mut accepted = accepted.into_iter();
    let alerts = named.into_iter().map(|(named, alert)| verdict(named, &alert, &mut accepted)).collect::<Vec<_>>();
    for verdict in &alerts {
        context.metrics.alert(verdict.verdict);
        if let (Some(lv), "accepted") = (&verdict.target, verdict.verdict) {
            tracing::info!(%lv, fingerprint = verdict.fingerprint, "an alert was accepted");
        }
        if let Some(code) = verdict.code {
            context.metrics.refused(None, code);
        }
    }
    Ok(Verdicts { alerts })
}

/// Which target a firing alert names; `None` for one that is resolved, which never starts or stops anything.
fn named(alert: &Alert, config: &Config, names: &OwnNames, inventory: &Inventory) -> Option<Result<LvRef, Refusal>> {
    match alert.status {
        Status::Resolved => None,
        Status::Firing => Some(target::resolve(&alert.labels, config, names, inventory)),
    }
}

fn hand_over<'a>(
    engine: &Handle,
    wishes: Vec<Wish>,
    refused: impl Iterator<Item = &'a Refusal>,
) -> Result<Vec<Accepted>, SubmitError> {
    let mut refused = refused.peekable();
    let refusals = refused.by_ref().take(MOST_WRITTEN_DOWN).map(|refusal| {
        tracing::warn!(code = refusal.code.as_str(), "an alert was refused: {}", refusal.sentence);
        Event::Refused { request: None, lv: None, source: Source::Alertmanager, refusal: refusal.clone() }
    });
    let refusals = refusals.collect();
    if refused.peek().is_some() {
        tracing::warn!(more = refused.count(), "alerts were refused that are only counted");
    }
    let accepted = engine.submit(wishes)?;
    engine.refuse(refusals)?;
    Ok(accepted)
}

fn verdict(
    named: Option<Result<LvRef, Refusal>>,
    alert: &Alert,
    accepted: &mut impl Iterator<Item = Accepted>,
) -> Verdict {
    let fingerprint = shortened(&alert.fingerprint);
    let (target, verdict, refusal) = match named {
        None => (None, "resolved", None),
        Some(Err(refusal)) => (None, "refused", Some(refusal)),
        Some(Ok(lv)) => match accepted.next() {
            Some(Accepted::Coalesced) => (Some(lv), "coalesced", None),
            Some(Accepted::Queued) | None => (Some(lv), "accepted", None),
        },
    };
    let (code, sentence) = refusal.map(|refusal| (refusal.code, refusal.sentence)).unzip();
    Verdict { fingerprint, target, verdict, code, sentence }
}

/// Alertmanager's are 16 characters; a longer one is somebody else's and is not written down whole.
fn shortened(fingerprint: &str) -> String {
    fingerprint.chars().take(32).collect()
}
