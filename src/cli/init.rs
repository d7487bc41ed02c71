//! `init`: looks at this host and writes a config to begin with.

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;

use super::draft::Draft;
use super::exit::Exit;
use crate::app::{self, DEFAULT_CONFIG, UsageError};
use crate::config::Config;
use crate::files;

/// What packages install. It names nothing, so it may be replaced as long as nobody has written in it.
const INSTALLED: &str = include_str!("../../packaging/config.yaml");

/// For root alone: it may come to name addresses and receivers.
const FILE_MODE: u32 = 0o600;

#[derive(Debug, Args)]
#[command(after_help = "Example: lvm-autoscaler init --output=-\n\n\
    Each mounted file system on a logical volume and each thin pool that can grow becomes a target with `mode: recommend`: \
    nothing grows until you write `mode: act`. A file that exists is not overwritten, except the empty config of the package.")]
pub(super) struct Init {
    /// Write the config to this file; `-`: to standard output.
    #[arg(long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    output: PathBuf,
    /// Write a policy for each volume group instead of a target for each volume: volumes that are made later are then
    /// targets too.
    #[arg(long)]
    policy: bool,
    /// Look at the simulated host described in this file.
    #[arg(long, value_name = "FILE")]
    simulate: Option<PathBuf>,
}

impl Init {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let is_stdout = self.output.as_os_str() == "-";
        let is_installed = !is_stdout && may_replace(&self.output)?;
        let host = app::open_host(&Config::default(), self.simulate.as_deref())?;
        let name = host.own_names().into_iter().next().unwrap_or_else(app::host_name);
        let draft = Draft::of(host.as_ref(), name, self.policy)?;
        let (text, mut out) = (draft.render(), std::io::stdout().lock());
        if is_stdout {
            out.write_all(text.as_bytes())?;
            return Ok(Exit::Done);
        }
        let file = self.output.display();
        let written = match is_installed {
            true => files::replace(&self.output, text.as_bytes()),
            false => files::create(&self.output, text.as_bytes(), FILE_MODE),
        };
        match written {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => bail!(exists(&self.output)),
            written => written.with_context(|| format!("{file} cannot be written"))?,
        }
        match draft.targets() {
            0 => writeln!(out, "{file}: written; nothing on this host can grow, it has the reasons")?,
            count => {
                let targets = if count == 1 { "1 target".to_owned() } else { format!("{count} targets") };
                let what = if self.policy { format!("policies for {targets}") } else { targets };
                writeln!(out, "{file}: written, {what} with mode: recommend, so nothing grows yet")?;
                writeln!(out, "  read it, then: lvm-autoscaler check-config --live {file}")?;
            }
        }
        Ok(Exit::Done)
    }
}

/// Whether the file is the package's, as it was installed; if it is any other, that is an error.
fn may_replace(file: &Path) -> anyhow::Result<bool> {
    if file.symlink_metadata().is_err() {
        return Ok(false);
    }
    match std::fs::read(file).is_ok_and(|text| text == INSTALLED.as_bytes()) {
        true => Ok(true),
        false => bail!(exists(file)),
    }
}

fn exists(file: &Path) -> UsageError {
    let file = file.display();
    UsageError(format!("{file} exists and is not overwritten: --output=FILE writes another file, --output=- prints it"))
}
