//! `metrics`: the exposition once, for node_exporter's textfile collector.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use clap::Args;

use super::exit::Exit;
use super::selection::Collectors;
use crate::app;
use crate::host::{Focus, look, process};
use crate::inventory::Latest;
use crate::journal::Journal;
use crate::metrics::exposition::{Exposition, Shape};
use crate::metrics::target::{Knowledge, Targets};
use crate::metrics::text::Format;
use crate::plan::applied;

#[derive(Debug, Args)]
#[command(
    after_help = "Example: lvm-autoscaler metrics > /var/lib/node_exporter/lvm.prom.new && mv /var/lib/node_exporter/lvm.prom.new \
    /var/lib/node_exporter/lvm.prom"
)]
pub(super) struct Metrics {
    /// Config file.
    #[arg(long = "config.file", value_name = "FILE")]
    config_file: Option<PathBuf>,
    /// Show the simulated host described in this file.
    #[arg(long, value_name = "FILE")]
    simulate: Option<PathBuf>,
    #[command(flatten)]
    collectors: Collectors,
}

impl Metrics {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let config = app::load_config(self.config_file.as_deref(), self.simulate.as_deref())?;
        let host = app::open_host(&config, self.simulate.as_deref())?;
        let latest = Arc::new(Latest::default());
        let started = Instant::now();
        let looked = look(host.as_ref(), Focus::Everything);
        let failed = looked.as_ref().err().map(|error| crate::chain(error));
        latest.set(looked.ok(), started.elapsed());
        let targets = match config.grows_nothing() {
            true => None,
            false => {
                let history = Journal::peek(&config.state_directory)?.history(false);
                // What a daemon was refused lately is in its memory alone.
                let known = Knowledge { history: &history, dry_run: false, refused: &|_| None, now: host.moment() };
                let sample = latest.get();
                Some(Targets::new(&applied(&Arc::new(config), &sample.inventory), &sample, &known))
            }
        };
        let exposition = Exposition::new(self.collectors.selection(), latest, process::read);
        let usage = app::read_usage(host);
        let page = exposition.page(Shape { format: Format::Text, gzip: false }, |seen| usage(seen), targets, "")?;
        std::io::stdout().lock().write_all(&page)?;
        // What could be read was printed, with lvm_up 0; the exit code says that it was not everything.
        Ok(match failed {
            None => Exit::Done,
            Some(why) => {
                tracing::error!("no inventory: {why}");
                Exit::Unexpected
            }
        })
    }
}
