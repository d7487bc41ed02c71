//! `reload`: has the running daemon read its config again.

use std::io::Write;
use std::path::PathBuf;

use anyhow::bail;
use clap::Args;

use super::daemon::tell;
use super::exit::Exit;
use crate::app;

#[derive(Debug, Args)]
#[command(after_help = "Example: lvm-autoscaler reload\n\n\
    The daemon reads the file it was started with. If it has an error, the previous config stays in force and the exit code is 2.")]
pub(super) struct Reload {
    /// Config file, to find the daemon by its state directory.
    #[arg(long = "config.file", value_name = "FILE")]
    config_file: Option<PathBuf>,
    /// Reload the daemon that simulates the host described in this file.
    #[arg(long, value_name = "FILE")]
    simulate: Option<PathBuf>,
}

impl Reload {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let config = app::load_config(self.config_file.as_deref(), self.simulate.as_deref())?;
        let mut said = String::new();
        if !tell(&config, "/-/reload", String::new(), &mut |line| said.push_str(line))? {
            let socket = config.control_socket();
            bail!("no daemon listens on {}: a start reads the config anyway", socket.display());
        }
        writeln!(std::io::stdout().lock(), "{said}")?;
        Ok(Exit::Done)
    }
}
