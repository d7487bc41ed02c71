//! `GET /metrics`.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, HeaderName, HeaderValue, VARY};
use hyper::{Request, StatusCode};

use super::context::Context;
use crate::engine::{Scrape, View};
use crate::metrics::exposition::Shape;
use crate::metrics::target::{Knowledge, Targets};
use crate::metrics::text::{Format, accepts_gzip};
use crate::name::LvRef;
use crate::server::{Answer, text, with_type};

/// So long a refusal says what would become of the next request. The alerts that ask for a growth come again every 5
/// minutes, so it is renewed as long as it stands.
const REFUSED_LATELY: Duration = Duration::from_secs(10 * 60);

/// Answers a scrape. What could not be read is missing and says so.
pub(super) async fn metrics(context: &Arc<Context>, request: &Request<Incoming>) -> Answer {
    let header = |name: HeaderName| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or("");
    // A compressed page is several members of gzip, of which browsers show only the first.
    let for_people = header(ACCEPT).contains("text/html");
    let gzip = accepts_gzip(header(ACCEPT_ENCODING)) && !for_people;
    let shape = Shape { format: Format::accepted(header(ACCEPT)), gzip };
    let Some(page) = page(context, shape).await else {
        return text(StatusCode::INTERNAL_SERVER_ERROR, "the metrics cannot be written\n");
    };
    let mut answer = with_type(StatusCode::OK, shape.format.content_type(), page);
    answer.headers_mut().insert(VARY, HeaderValue::from_static("Accept, Accept-Encoding"));
    if shape.gzip {
        answer.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    answer
}

async fn page(context: &Arc<Context>, shape: Shape) -> Option<Bytes> {
    let asked = Instant::now();
    let mut pages = context.pages.0.lock().await;
    if let Some((_, _, page)) = pages.iter().find(|(of, begun, _)| *of == shape && *begun >= asked) {
        return Some(page.clone());
    }
    let begun = Instant::now();
    let making = Arc::clone(context);
    // statvfs blocks, if only for a moment.
    let made = tokio::task::spawn_blocking(move || make(&making, shape)).await.ok()?.ok()?;
    let page = Bytes::from(made);
    pages.retain(|(of, ..)| *of != shape);
    pages.push((shape, begun, page.clone()));
    Some(page)
}

fn make(context: &Context, shape: Shape) -> Result<Vec<u8>, std::fmt::Error> {
    context.metrics.web_config_accepted.set(i64::from(context.access.is_current()));
    context.metrics.log_lines_left_out.inner().store(crate::log::left_out(), Ordering::Relaxed);
    let Scrape { view, counters, usage } = context.front.scrape(context.exposition.has_usage());
    let targets = view.map(|view| {
        let View { state, standing, dry_run, now, .. } = view;
        let refused = |lv: &LvRef| Some(standing.get(lv)?.trouble(&now, REFUSED_LATELY)?.code);
        let known = Knowledge { history: &state.history(dry_run), dry_run, refused: &refused, now };
        Targets::new(&context.config(), &context.latest.get(), &known)
    });
    let counters = [counters, context.metrics.text()].concat();
    context.exposition.page(shape, |seen| usage(seen), targets, &counters)
}
