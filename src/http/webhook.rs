//! `POST /webhook/alertmanager` and `/webhook/grafana`: read within limits, have the alerts judged, answer.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body, Bytes, Incoming};
use hyper::{Request, StatusCode};
use ring::digest::{SHA256, digest};

use super::route::{Answer, text, with_type};
use super::{Context, signature, verdict};
use crate::alert::{self, Sender};

/// A group of a thousand alerts is about this large.
const MAX_BODY: usize = 1 << 20;

/// Answers Alertmanager or Grafana. 202 means that what was accepted is on disk.
pub(super) async fn alerts(context: &Arc<Context>, sender: Sender, request: Request<Incoming>) -> Answer {
    let (head, body) = request.into_parts();
    let body = match read(body, context.limits.body).await {
        Ok(body) => body,
        Err(answer) => return answer,
    };
    let context = Arc::clone(context);
    // Reading the key and writing to the journal wait for the disk.
    let answered = tokio::task::spawn_blocking(move || {
        if sender == Sender::Grafana
            && let Some(answer) = signature::refused(&context.config().webhook, &head.headers, &body)
        {
            return answer;
        }
        match alert::parse(sender, &body) {
            Ok(payload) => receive(&context, sender, payload, &body),
            Err(error) => text(StatusCode::BAD_REQUEST, format!("{error}\n")),
        }
    });
    match tokio::time::timeout(super::ANSWERED_WITHIN, answered).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) => text(StatusCode::INTERNAL_SERVER_ERROR, "the request cannot be answered\n"),
        // Whoever writes to a disk that hangs waits for it. If it gets there after all, what comes again adds nothing.
        Err(_) => {
            tracing::error!("alerts were not accepted: {}", super::NOT_WRITTEN);
            text(StatusCode::SERVICE_UNAVAILABLE, format!("{}\n", super::NOT_WRITTEN))
        }
    }
}

fn receive(context: &Context, sender: Sender, payload: alert::Payload, body: &[u8]) -> Answer {
    let digest = digest(&SHA256, body).as_ref().try_into().ok();
    match verdict::receive(context, sender, payload, digest) {
        Ok(verdicts) => {
            // Only what is 5xx comes again.
            let all = verdicts.all_accepted();
            let status = if all { StatusCode::ACCEPTED } else { StatusCode::SERVICE_UNAVAILABLE };
            with_type(status, "application/json", serde_json::to_vec(&verdicts).unwrap_or_default())
        }
        Err(error) => {
            tracing::error!("alerts were not accepted: {}", crate::chain(&error));
            text(StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n"))
        }
    }
}

/// The whole body, or what is answered instead.
pub async fn read(body: Incoming, deadline: Duration) -> Result<Bytes, Answer> {
    let too_large = || text(StatusCode::PAYLOAD_TOO_LARGE, format!("the body is larger than {MAX_BODY} bytes\n"));
    // What says so itself need not be read.
    if body.size_hint().lower() > MAX_BODY as u64 {
        return Err(too_large());
    }
    match tokio::time::timeout(deadline, Limited::new(body, MAX_BODY).collect()).await {
        Err(_) => Err(text(StatusCode::REQUEST_TIMEOUT, "the body did not come in time\n")),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(error)) => Err(text(StatusCode::BAD_REQUEST, format!("the body cannot be read: {error}\n"))),
        Ok(Ok(body)) => Ok(body.to_bytes()),
    }
}
