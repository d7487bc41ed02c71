//! What a command was asked for, and the config that it works with.

use std::path::{Path, PathBuf};

use crate::config::{self, Config};
use crate::files::{self, Trust};
use crate::metrics::selection::Selection;
use crate::server::ListenAddress;

/// Where the config is looked for when nobody says otherwise.
pub const DEFAULT_CONFIG: &str = "/etc/lvm-autoscaler/config.yaml";

/// What `serve` was asked for.
#[derive(Debug, Clone)]
pub struct Options {
    /// The config file, if one was named.
    pub config_file: Option<PathBuf>,
    /// Where to listen.
    pub listen: Vec<ListenAddress>,
    /// Take the sockets that systemd opened instead.
    pub systemd_socket: bool,
    /// The file of exporter-toolkit with TLS and users.
    pub web_config_file: Option<PathBuf>,
    /// Where the metrics are.
    pub telemetry_path: String,
    /// Which metrics to show.
    pub selection: Selection,
    /// Leave out what changes something.
    pub dry_run: bool,
    /// Run on a simulated host.
    pub simulate: Option<PathBuf>,
}

/// It was called in a way that cannot work; the exit code is that of wrong usage.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(pub String);

/// Reads the config; without one nothing may grow. It, the secrets and the programs that it names must be such that
/// nobody else could have changed them; on a simulated host, which nobody can harm, that is only a warning.
pub fn load_config(named: Option<&Path>, simulate: Option<&Path>) -> anyhow::Result<Config> {
    let trust = if simulate.is_some() { Trust::Advised } else { Trust::Required };
    let mut config = match named {
        Some(file) => config::load(file, trust)?,
        None if Path::new(DEFAULT_CONFIG).exists() => config::load(Path::new(DEFAULT_CONFIG), trust)?,
        None => {
            tracing::info!("there is no {DEFAULT_CONFIG}: metrics only, nothing may grow");
            Config { trust, ..Config::default() }
        }
    };
    config.files().iter().try_for_each(|file| trust.judge(files::doubt(file)))?;
    if simulate.is_some() {
        // In the real journal a simulated growth would hold back the real one, and one that was interrupted be gone on
        // with.
        config.witness = config::beside(&config.state_directory, "simulated.witness");
        config.state_directory.push("simulated");
        if let Some(audit) = &mut config.audit {
            audit.file.as_mut_os_string().push(".simulated");
        }
        config.report.directory.iter_mut().for_each(|directory| directory.push("simulated"));
    }
    Ok(config)
}
