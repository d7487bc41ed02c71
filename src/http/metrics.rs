//! `GET /metrics`.

use std::sync::Arc;
use std::time::Instant;

use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, HeaderName, HeaderValue, VARY};
use hyper::{Request, StatusCode};
use tokio::sync::Mutex;

use super::Context;
use super::route::{Answer, text, with_type};
use crate::metrics::exposition::Shape;
use crate::metrics::target::Targets;
use crate::metrics::text::{Format, accepts_gzip};

/// Pages by shape, each with the moment at which it was begun. Whoever asked before that moment is given the page: many
/// scrapes at once are one reading of the host.
#[derive(Default)]
pub struct Pages(Mutex<Vec<(Shape, Instant, Bytes)>>);

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
    let targets = context.engine().map(|engine| {
        let history = {
            let journal = engine.shared().journal();
            context.metrics.journal_writable.set(i64::from(journal.is_writable()));
            journal.state().history(engine.shared().dry_run)
        };
        context.metrics.queue_length.set(engine.waiting_count() as i64);
        Targets::new(&context.config(), &context.latest.get().inventory, &history, &engine.shared().host.moment())
    });
    context.exposition.page(shape, targets, Some(&context.metrics.registry))
}
