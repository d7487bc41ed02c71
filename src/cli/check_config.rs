//! `check-config`

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::bail;
use clap::Args;

use super::exit::Exit;
use super::live::Live;
use crate::app::UsageError;
use crate::config::{Config, ConfigError, Target};
use crate::files::{self, Trust};
use crate::server::Access;
use crate::{app, audit, config, notify};

#[derive(Debug, Args)]
#[command(
    after_help = "Example: lvm-autoscaler check-config configs/config.yaml\n         lvm-autoscaler check-config --live"
)]
pub(super) struct CheckConfig {
    /// The file; - reads standard input.
    #[arg(default_value = app::DEFAULT_CONFIG)]
    file: PathBuf,
    /// Also check this web config, with the certificates that it names and together with the config.
    #[arg(long = "web.config.file", value_name = "FILE")]
    web_config_file: Option<PathBuf>,
    /// Only report files that others could change, for a config that is not in its final place or on its host yet.
    #[arg(long)]
    ignore_ownership: bool,
    /// Also compare it with this host: names that it does not have, limits that cannot bind, thresholds exceeded now.
    #[arg(long)]
    live: bool,
    /// Compare with the simulated host described in this file instead.
    #[arg(long, value_name = "FILE")]
    simulate: Option<PathBuf>,
    /// Also send a test to each receiver of notifications, and print the results.
    #[arg(long)]
    send_test: bool,
}

impl CheckConfig {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        // As a daemon would: it is root. For another user, who cannot own the files as root does, it is only reported.
        let strict = nix::unistd::geteuid().is_root() && !self.ignore_ownership;
        let trust = if strict { Trust::Required } else { Trust::Advised };
        let is_stdin = self.file.as_os_str() == "-";
        let file = if is_stdin { Path::new("<stdin>") } else { self.file.as_path() };
        let loaded = match is_stdin {
            true => config::load_from(std::io::stdin().lock(), file, trust),
            false => config::load_with_places(file, trust),
        };
        let (config, places) =
            loaded.map(|(config, places)| (Arc::new(config), places)).map_err(|error| match error {
                ConfigError::Untrusted(doubt) => {
                    UsageError(format!("{doubt}. If it is not in its place yet: check-config --ignore-ownership"))
                        .into()
                }
                error => anyhow::Error::new(error),
            })?;
        let unreadable = notify::check(&config)?;
        config.files().iter().try_for_each(|file| trust.judge(files::doubt(file)))?;
        audit::verify(&config)?;
        if let Some(web) = &self.web_config_file {
            // Where the daemon will listen is not known here.
            Access::load(Some(web), vec![], &config)?;
        }
        let live = match self.live || self.simulate.is_some() {
            true => Some(Live::compare(&config, &places, app::open_host(&config, self.simulate.as_deref())?.as_ref())?),
            false => None,
        };
        if let Some(Live { wrong, .. }) = &live
            && !wrong.is_empty()
        {
            return Err(ConfigError::Invalid(wrong.clone()).into());
        }
        let mut out = std::io::stdout().lock();
        writeln!(out, "{}: valid, {}", file.display(), config.counted())?;
        for more in places.files().skip(1) {
            writeln!(out, "  with {}", more.display())?;
        }
        for target in &config.targets {
            let lv = match target.mount_point() {
                Some(point) => format!("{} at {point}", target.lv),
                None => format!("thin pool {}", target.lv),
            };
            writeln!(out, "  {} ({}): {}", crate::plain(&lv), target.mode.as_str(), growth(target))?;
        }
        for policy in &config.policies {
            let (name, selects, keys) = (&policy.name, &policy.selects, policy.keys());
            writeln!(out, "  policy {name} ({}) for {selects}: {}", keys.mode.as_str(), growth(keys))?;
        }
        // The file may be for another host, so this is no error.
        let missing = if config.grows_nothing() { vec![] } else { app::open_host(&config, None)?.missing_tools() };
        for tool in missing.into_iter().filter(|tool| config.may_need(*tool)) {
            writeln!(out, "  on this host {}", app::missing(tool))?;
        }
        let named = places.files().filter(|_| !is_stdin).chain(self.web_config_file.as_deref());
        for doubt in named.chain(config.files()).filter_map(files::doubt) {
            writeln!(out, "  on this host a daemon would refuse a file: {doubt}")?;
        }
        for receiver in &config.receivers {
            let on: Vec<&str> = receiver.on.iter().map(|on| on.as_str()).collect();
            writeln!(out, "  notifies by {} of {}", receiver.way.kind(), on.join(", "))?;
        }
        for file in unreadable {
            writeln!(out, "  on this host {file}: nobody is notified by it as long as that is so")?;
        }
        if let Some(web) = &self.web_config_file {
            writeln!(out, "{}: valid", web.display())?;
        }
        for note in live.iter().flat_map(|live| &live.notes) {
            writeln!(out, "  note: {}", crate::plain(note))?;
        }
        if self.send_test { send_test(&config, &mut out) } else { Ok(Exit::Done) }
    }
}

/// When something grows, by how much, and how far.
fn growth(target: &Target) -> String {
    let limit = target.max_size.map_or("no max_size".to_owned(), |max| format!("at most {max}"));
    format!("above {} by {}, {limit}", target.threshold, target.increment)
}

fn send_test(config: &Config, out: &mut impl Write) -> anyhow::Result<Exit> {
    if config.receivers.is_empty() {
        bail!(UsageError("no receivers are configured: add some to notify".to_owned()));
    }
    let host = app::host_name();
    let mut failed = 0;
    for (receiver, result) in notify::send_test(config, &host, app::wall_clock())? {
        match result {
            Ok(()) => writeln!(out, "{receiver}: sent")?,
            Err(why) => {
                failed += 1;
                writeln!(out, "{receiver}: not sent: {why}")?;
            }
        }
    }
    if failed > 0 {
        bail!("{failed} of {} could not be notified", config.receivers.len());
    }
    Ok(Exit::Done)
}
