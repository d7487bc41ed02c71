//! `GET /metrics`: the last inventory, usage read now, and what the autoscaler counts.

use std::sync::Arc;

use hyper::body::Incoming;
use hyper::header::ACCEPT;
use hyper::{Request, StatusCode};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::Context;
use super::route::{Answer, text, with_type};
use crate::inventory::Sample;
use crate::metrics::filesystem::FileSystems;
use crate::metrics::lvm::Lvm;
use crate::metrics::text::{Format, encode};

/// Answers a scrape. What could not be read is missing and says so.
pub(super) async fn metrics(context: &Arc<Context>, request: &Request<Incoming>) -> Answer {
    let accept = request.headers().get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("");
    let format = Format::accepted(accept);
    let context = Arc::clone(context);
    // statvfs blocks, if only for a moment.
    match tokio::task::spawn_blocking(move || exposition(&context, format)).await {
        Ok(Ok(body)) => with_type(StatusCode::OK, format.content_type(), body),
        Ok(Err(_)) | Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "the metrics cannot be written\n"),
    }
}

fn exposition(context: &Context, format: Format) -> Result<String, std::fmt::Error> {
    let sample = context.latest.get();
    if let Some(engine) = &context.engine {
        context.metrics.queue_length.set(engine.waiting_count() as i64);
        context.metrics.journal_writable.set(i64::from(engine.shared().journal().is_writable()));
    }
    let mut host = Registry::default();
    register_health(&mut host, &sample);
    host.register_collector(Box::new(Lvm(Arc::clone(&sample.inventory))));
    host.register_collector(Box::new(FileSystems::new(&sample.inventory, &context.usage)));
    encode(&[&host, &context.metrics.registry], format)
}

/// How the last look went.
fn register_health(registry: &mut Registry, sample: &Sample) {
    let gauge = |value: f64| {
        let gauge = Gauge::<f64, std::sync::atomic::AtomicU64>::default();
        gauge.set(value);
        gauge
    };
    let up = f64::from(u8::from(sample.succeeded));
    registry.register("lvm_up", "Whether the last look at LVM succeeded", gauge(up));
    let success = Family::<[(&str, &str); 1], Gauge<f64, std::sync::atomic::AtomicU64>>::default();
    success.get_or_create(&[("collector", "lvm")]).set(up);
    registry.register("lvm_collector_success", "Whether the collector succeeded the last time", success);
    let duration = Family::<[(&str, &str); 1], Gauge<f64, std::sync::atomic::AtomicU64>>::default();
    duration.get_or_create(&[("collector", "lvm")]).set(sample.took.as_secs_f64());
    registry.register("lvm_collector_duration_seconds", "How long the collector took the last time", duration);
    if sample.taken {
        let taken = sample.inventory.taken_at.as_millisecond() as f64 / 1000.0;
        registry.register("lvm_inventory_timestamp_seconds", "When the inventory shown was taken", gauge(taken));
    }
    let odd = sample.inventory.oddities.len() as f64;
    registry.register("lvm_unknown_report_fields", "Values of LVM's report that were not understood", gauge(odd));
}
