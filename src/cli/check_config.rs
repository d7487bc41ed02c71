//! `check-config`

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;

use super::exit::Exit;
use crate::{app, config};

#[derive(Debug, Args)]
#[command(after_help = "Example: lvm-autoscaler check-config configs/config.yaml")]
pub(super) struct CheckConfig {
    /// The file.
    #[arg(default_value = app::DEFAULT_CONFIG)]
    file: PathBuf,
}

impl CheckConfig {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let config = config::load(Path::new(&self.file))?;
        let mut out = std::io::stdout().lock();
        writeln!(out, "{}: valid, {} targets", self.file.display(), config.targets.len())?;
        for target in &config.targets {
            let limit = target.max_size.map_or("no max_size".to_owned(), |max| format!("at most {max}"));
            let lv = match target.mount_point() {
                Some(point) => format!("{} at {point}", target.lv),
                None => format!("thin pool {}", target.lv),
            };
            let mode = target.mode.as_str();
            writeln!(out, "  {lv} ({mode}): above {} by {}, {limit}", target.threshold, target.increment)?;
        }
        // The file may be for another host, so this is no error.
        let missing = if config.targets.is_empty() { vec![] } else { app::open_host(&config, None)?.missing_tools() };
        for tool in missing {
            writeln!(out, "  on this host {}", app::missing(tool))?;
        }
        Ok(Exit::Done)
    }
}
