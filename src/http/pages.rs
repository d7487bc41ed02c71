//! Small pages: the landing page and readiness.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use hyper::StatusCode;

use super::Context;
use super::route::{Answer, text, with_type};

/// `GET /`
pub(super) fn landing(context: &Arc<Context>) -> Answer {
    let path = &context.telemetry_path;
    let body = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>lvm-autoscaler</title></head><body>\n\
         <h1>lvm-autoscaler {}</h1>\n<p>{} targets may grow on this host.</p>\n\
         <ul><li><a href=\"{path}\">Metrics</a></li><li><a href=\"/-/ready\">Ready</a></li><li><a href=\"/-/healthy\">Healthy</a></li></ul>\n\
         </body></html>\n",
        env!("CARGO_PKG_VERSION"),
        context.config().targets.len(),
    );
    with_type(StatusCode::OK, "text/html; charset=utf-8", body)
}

/// `GET /-/ready`: the host was looked at, and what is accepted can be written down.
pub(super) fn ready(context: &Arc<Context>) -> Answer {
    let unready = |why: &str| text(StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {why}\n"));
    if context.draining.load(Ordering::Relaxed) {
        return unready("stopping");
    }
    if !context.latest.get().taken {
        return unready("no inventory yet, see whether `lvm fullreport` answers");
    }
    if context.engine().is_some_and(|engine| !engine.shared().journal().is_writable()) {
        return unready("the journal cannot be written");
    }
    text(StatusCode::OK, "ready\n")
}
