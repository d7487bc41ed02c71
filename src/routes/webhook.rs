//! `POST /webhook/alertmanager` and `/webhook/grafana`: read within limits, have the alerts judged, answer.

use std::sync::Arc;

use hyper::body::Incoming;
use hyper::{Request, StatusCode};
use ring::digest::{SHA256, digest};

use super::context::Context;
use super::signature;
use super::verdict::{self, Judged};

use crate::alert::{self, Sender};
use crate::metrics::edge::Limit;
use crate::server::{ANSWERED_WITHIN, Answer, Posted, Seat, read_body, text, with_type};

const NOT_JUDGED: &str = "this host is too busy, the payload was not parsed in time; send this again";

/// Answers Alertmanager or Grafana. 202 means that what was accepted is on disk.
pub(super) async fn alerts(context: &Arc<Context>, sender: Sender, request: Request<Incoming>) -> Answer {
    let Posted { head, body, mut place, peer, until } = match read_body(request, context.limits.body).await {
        Ok(posted) => posted,
        Err(answer) => return answer,
    };
    let judging = Arc::clone(context);
    // Reading the key waits for the disk, and parsing takes the processor.
    let mut judged = tokio::task::spawn_blocking(move || -> Result<(Judged, Seat), Box<Answer>> {
        if sender == Sender::Grafana
            && let Some(answer) = signature::refused(&judging.config().webhook, &head.headers, &body)
        {
            return Err(Box::new(answer));
        }
        let payload = alert::parse(sender, &body)
            .map_err(|error| Box::new(text(StatusCode::BAD_REQUEST, format!("{error}\n"))))?;
        let sha256 = digest(&SHA256, &body).as_ref().try_into().ok();
        // What it says was copied out of it.
        drop(body);
        let judged = verdict::judge(&judging, sender, payload, sha256);
        place.is_judged();
        Ok((judged, place))
    });
    let (judged, place) = match tokio::time::timeout_at(until, &mut judged).await {
        Ok(Ok(Ok(judged))) => judged,
        Ok(Ok(Err(answer))) => return *answer,
        Ok(Err(_)) => return text(StatusCode::INTERNAL_SERVER_ERROR, "the request cannot be answered\n"),
        // Nobody waits for it any more: if it has not begun it never does, and nothing of it is accepted.
        Err(_) => {
            judged.abort();
            peer.gate.edge.hit(Limit::Payloads);
            tracing::error!("alerts were not accepted: {NOT_JUDGED}");
            return text(StatusCode::SERVICE_UNAVAILABLE, format!("{NOT_JUDGED}\n"));
        }
    };
    let writing = Arc::clone(context);
    let written = tokio::task::spawn_blocking(move || {
        // Until then, also where nobody waits any more.
        let _place = place;
        written(&writing, judged)
    });
    match tokio::time::timeout_at(until, written).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) => text(StatusCode::INTERNAL_SERVER_ERROR, "the request cannot be answered\n"),
        // The writer waits for a disk that hangs. If it gets there after all, what comes again adds nothing.
        Err(_) => {
            let why = context.front.not_written(ANSWERED_WITHIN);
            tracing::error!("alerts were not accepted: {why}");
            text(StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n"))
        }
    }
}

fn written(context: &Context, judged: Judged) -> Answer {
    match judged.receive(context) {
        Ok(verdicts) => {
            // Only what is 5xx comes again.
            let all = verdicts.all_accepted();
            let status = if all { StatusCode::ACCEPTED } else { StatusCode::SERVICE_UNAVAILABLE };
            with_type(status, "application/json", crate::json(&verdicts))
        }
        Err(error) => {
            tracing::error!("alerts were not accepted: {}", crate::chain(&error));
            text(StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n"))
        }
    }
}
