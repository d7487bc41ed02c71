//! Both halves of a daemon in one process.

use std::sync::Arc;

use super::acting::Acting;
use super::beside::Beside;
use super::control;
use super::life::{open_sockets, reached, runtime};
use super::options::{Options, load_config};
use crate::alert::instance::OwnNames;
use crate::audit;
use crate::host;
use crate::metrics::exposition::Exposition;
use crate::metrics::web::WebMetrics;
use crate::routes::{Context, Pages, StatusPages};
use crate::server::{Access, Limits};

/// Runs until a signal.
pub fn serve(options: &Options) -> anyhow::Result<()> {
    let config = load_config(options.config_file.as_deref(), options.simulate.as_deref())?;
    audit::verify(&config)?;
    // Bound before anything is started: a second daemon or a wrong address must not start an operation.
    let listeners = open_sockets(options)?;
    let access = Arc::new(Access::load(options.web_config_file.as_deref(), listeners.addresses(), &config)?);
    let metrics = Arc::new(WebMetrics::default());
    let beside = Beside::Here { access: Arc::clone(&access), metrics: Arc::clone(&metrics) };
    let acting = Acting::prepare(options, config, beside)?;
    let (runtime, signals) = runtime()?;
    acting.start()?;
    {
        let _inside = runtime.enter();
        control::open_control(&acting.daemon, &acting.reporter)?;
    }
    let (clock, named) = (Arc::clone(&acting.daemon.host), Arc::clone(&acting.daemon.host));
    let latest = Arc::clone(&acting.daemon.latest);
    let context = Arc::new(Context {
        report: acting.reporter.maker(),
        reporting: tokio::sync::Mutex::default(),
        telemetry_path: options.telemetry_path.clone(),
        in_force: Arc::clone(&acting.daemon.in_force),
        own_names: Box::new(move || OwnNames::new(named.own_names())),
        front: acting.front(),
        exposition: Exposition::new(options.selection.clone(), Arc::clone(&latest), host::process::read),
        pages: Pages::default(),
        status: StatusPages::new(acting.name(), move || clock.moment()),
        latest,
        metrics,
        limits: Limits::default(),
        access,
        draining: Default::default(),
    });
    runtime.block_on(reached(listeners, context, signals, acting.reload()))?;
    acting.stop();
    Ok(())
}
