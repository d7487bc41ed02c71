//! `GET /report`: the report of now, in the form that the address or the `Accept` header asks for.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT, CONTENT_SECURITY_POLICY, HeaderValue, VARY};
use hyper::{Request, StatusCode};
use tokio::time::Instant;

use super::context::Context;
use crate::config::ReportFormat;
use crate::metrics::edge::Limit;
use crate::report::{ReportRequest, STYLE};
use crate::server::{Answer, Peer, text, with_type};

/// A report is this old at the most. Inventory and usage change no faster than people look.
const FRESH: Duration = Duration::from_secs(10);
/// Reports that are kept: each form, with and without something to compare with.
const KEPT: usize = 6;
/// After a report was made no other one is for so many times as long: a tenth of a processor is what all reports may
/// cost.
const REST: u32 = 9;

/// Answers with a report.
pub(super) async fn report(context: &Arc<Context>, request: &Request<Incoming>) -> Answer {
    let accept = request.headers().get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("");
    let wish = match wish(request.uri().query().unwrap_or(""), accept) {
        Ok(wish) => wish,
        Err(why) => return text(StatusCode::BAD_REQUEST, format!("{why}\n")),
    };
    let gate = request.extensions().get::<Arc<Peer>>().map(|peer| Arc::clone(&peer.gate));
    let Some(_waiting) = gate.as_ref().and_then(|gate| gate.reports.try_acquire().ok()) else {
        context.metrics.edge.hit(Limit::Reports);
        return text(StatusCode::SERVICE_UNAVAILABLE, "too many reports are asked for, try again\n");
    };
    let format = wish.format;
    let mut answer = match made(context, wish).await {
        Ok(report) => with_type(StatusCode::OK, format.content_type(), report),
        Err(answer) => return answer,
    };
    answer.headers_mut().insert(VARY, HeaderValue::from_static("Accept"));
    if let Ok(policy) = HeaderValue::try_from(policy()) {
        answer.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
    }
    answer
}

async fn made(context: &Arc<Context>, wish: ReportRequest) -> Result<Bytes, Answer> {
    let mut reports = context.reporting.lock().await;
    reports.made.retain(|(at, ..)| at.elapsed() < FRESH);
    if let Some((_, _, report)) = reports.made.iter().find(|(_, of, _)| *of == wish) {
        return Ok(report.clone());
    }
    if let Some(next) = reports.next {
        tokio::time::sleep_until(next).await;
    }
    let (make, of, begun) = (Arc::clone(&context.report), wish.clone(), Instant::now());
    let made = tokio::task::spawn_blocking(move || make(&wish)).await;
    reports.next = Some(Instant::now() + begun.elapsed() * REST);
    let report = match made {
        Ok(Ok(report)) => Bytes::from(report),
        Ok(Err(why)) => return Err(text(StatusCode::BAD_REQUEST, format!("{why}\n"))),
        Err(_) => return Err(text(StatusCode::INTERNAL_SERVER_ERROR, "the report cannot be made\n")),
    };
    reports.made.push_back((Instant::now(), of, report.clone()));
    if reports.made.len() > KEPT {
        reports.made.pop_front();
    }
    Ok(report)
}

/// Nothing may be loaded or run, and only the style that is in the page counts.
fn policy() -> String {
    let style = STANDARD.encode(ring::digest::digest(&ring::digest::SHA256, STYLE.as_bytes()));
    format!(
        "default-src 'none'; style-src 'sha256-{style}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
}

/// `?format=` decides, else `Accept`; `?since=` is what to compare with.
fn wish(query: &str, accept: &str) -> Result<ReportRequest, String> {
    let mut keys: BTreeMap<&str, String> = BTreeMap::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        if !["format", "since"].contains(&key) || keys.insert(key, decoded(value)).is_some() {
            return Err("expected format=html, markdown or json, and since=7d or a time, each once".to_owned());
        }
    }
    let format = keys.get("format").map_or_else(|| Ok(accepted(accept)), |format| format.parse())?;
    let since = keys.remove("since").map(|text| text.parse()).transpose()?;
    Ok(ReportRequest { format, since })
}

/// `%3A` is a colon; what is not well-formed stays as it is, and is then no time.
fn decoded(value: &str) -> String {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        let hex = after.get(..2).filter(|_| *byte == b'%').and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(decoded) => {
                bytes.push(decoded);
                rest = &after[2..];
            }
            None => {
                bytes.push(*byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The form with the highest weight; HTML where none is named, or several weigh the same.
fn accepted(accept: &str) -> ReportFormat {
    let mut best = (0.0, ReportFormat::Html);
    for format in ReportFormat::ALL {
        let kind = format.content_type().split(';').next().unwrap_or_default();
        let weight = accept.split(',').filter_map(|item| {
            let mut parts = item.split(';').map(str::trim);
            let named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case(kind));
            let weight = parts.find_map(|part| part.strip_prefix("q=")?.parse::<f64>().ok());
            named.then(|| weight.unwrap_or(1.0))
        });
        let weight = weight.fold(0.0, f64::max);
        if weight > best.0 {
            best = (weight, format);
        }
    }
    best.1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_decides_and_then_the_header() {
        let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
        for (query, accept, format) in [
            ("", "", ReportFormat::Html),
            ("", browser, ReportFormat::Html),
            ("", "*/*", ReportFormat::Html),
            ("", "application/json", ReportFormat::Json),
            ("", "text/html;q=0.2, text/markdown;q=0.9, application/json;q=0.5", ReportFormat::Markdown),
            ("format=json", browser, ReportFormat::Json),
        ] {
            assert_eq!(wish(query, accept).map(|wish| wish.format), Ok(format), "{query} {accept}");
        }
        assert_eq!(
            wish("since=2026-01-05T00%3A00%3a00Z", "").expect("a wish").since.map(String::from).as_deref(),
            Some("2026-01-05T00:00:00Z")
        );
        for query in ["format=pdf", "format=html&format=json", "x=1", "format", "since=7d&since=7d", "since=monday"] {
            assert!(wish(query, "").is_err(), "{query}");
        }
        assert_eq!(decoded("%zz%4"), "%zz%4");
    }
}
