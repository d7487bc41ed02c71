//! `report`: what there is, how fast it fills, what was done and what to do about it; from the running daemon, or
//! without one from a fresh look and its journal.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Args;

use super::daemon::tell;
use super::exit::Exit;
use crate::app::{self, reports};
use crate::config::ReportFormat;
use crate::duration::Since;
use crate::files;
use crate::report::ReportRequest;

#[derive(Debug, Args)]
#[command(after_help = "Example: lvm-autoscaler report --since=7d --format=html --output=/var/www/storage.html\n\n\
    Growth is computed since an earlier report in report.directory: the newest that is at least an hour old, or with --since \
    the newest that is at least that old. With report.interval in the config the daemon writes reports by itself.")]
pub(super) struct ReportCommand {
    /// html, markdown or json.
    #[arg(long, id = "output_format", value_name = "FORMAT", default_value = "markdown")]
    format: ReportFormat,
    /// Write the report to this file, completely or not at all [default: standard output].
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Compare with the newest report that is at least this old: a time span such as 7d, or a time such as
    /// 2026-01-31T08:00:00Z.
    #[arg(long, value_name = "TIME")]
    since: Option<Since>,
    /// Config file.
    #[arg(long = "config.file", value_name = "FILE")]
    config_file: Option<PathBuf>,
    /// Report on the simulated host described in this file.
    #[arg(long, value_name = "FILE")]
    simulate: Option<PathBuf>,
}

impl ReportCommand {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let config = app::load_config(self.config_file.as_deref(), self.simulate.as_deref())?;
        let wish = ReportRequest { format: self.format, since: self.since };
        let mut report = String::new();
        let mut line = |line: &str| report.extend([line, "\n"]);
        if !tell(&config, "/-/report", serde_json::to_string(&wish)?, &mut line)? {
            let host = app::open_host(&config, self.simulate.as_deref())?;
            report = reports::alone(host.as_ref(), &Arc::new(config), &wish)?;
        }
        match self.output {
            None => std::io::stdout().lock().write_all(report.as_bytes())?,
            Some(file) => files::replace(&file, report.as_bytes())
                .with_context(|| format!("{} cannot be written", file.display()))?,
        }
        Ok(Exit::Done)
    }
}
