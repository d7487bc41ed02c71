//! What a command was asked for, and the config that it works with.

use std::path::{Path, PathBuf};

use crate::config::{self, Config, Places, Text};
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
    /// Give up what a half of a daemon does not need.
    pub confined: bool,
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
    load_config_with_places(named, simulate).map(|(config, _)| config)
}

/// The same, with the places of what it says; `None` if there is no config file.
pub fn load_config_with_places(
    named: Option<&Path>,
    simulate: Option<&Path>,
) -> anyhow::Result<(Config, Option<Places>)> {
    let texts = load_texts(named, simulate)?;
    config_of(&texts, simulate.is_some())
}

/// The text of the config, and of the files beside it; none if there is no config file.
pub(super) fn load_texts(named: Option<&Path>, simulate: Option<&Path>) -> anyhow::Result<Vec<Text>> {
    let usual = Some(Path::new(DEFAULT_CONFIG)).filter(|file| file.exists());
    match named.or(usual) {
        Some(file) => Ok(config::texts(file, trust_of(simulate.is_some()))?),
        None => {
            tracing::info!("there is no {DEFAULT_CONFIG}: metrics only, nothing may grow");
            Ok(vec![])
        }
    }
}

/// What these texts say.
pub(super) fn config_of(texts: &[Text], is_simulated: bool) -> anyhow::Result<(Config, Option<Places>)> {
    let trust = trust_of(is_simulated);
    let (mut config, places) = match texts {
        [] => (Config { trust, ..Config::default() }, None),
        texts => {
            let (config, places) = config::read_texts(texts, trust)?;
            (config, Some(places))
        }
    };
    config.files().iter().try_for_each(|file| trust.judge(files::doubt(file)))?;
    if is_simulated {
        // In the real journal a simulated growth would hold back the real one, and one that was interrupted be gone on
        // with.
        config.witness = config::beside(&config.state_directory, "simulated.witness");
        config.state_directory.push("simulated");
        if let Some(audit) = &mut config.audit {
            audit.file.as_mut_os_string().push(".simulated");
        }
        config.report.directory.iter_mut().for_each(|directory| directory.push("simulated"));
    }
    Ok((config, places))
}

fn trust_of(is_simulated: bool) -> Trust {
    if is_simulated { Trust::Advised } else { Trust::Required }
}
