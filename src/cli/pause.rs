//! `pause`, `resume` and `reset`: what a person says to the decisions, through the running daemon or, when none runs,
//! straight into its journal.

use super::decision::config_for;
use std::io::Write;
use std::path::PathBuf;

use clap::Args;

use super::daemon::tell;
use super::exit::Exit;
use super::plan::select;
use crate::app;
use crate::journal::{Event, Journal};
use crate::name::LvRef;

/// Of all three commands.
#[derive(Debug, Args)]
pub(super) struct Word {
    /// VG/LV, the path of the volume, or its mount point; all targets if none is given.
    target: Option<String>,
    /// Config file.
    #[arg(long = "config.file", value_name = "FILE")]
    config_file: Option<PathBuf>,
    /// Use the simulated host described in this file.
    #[arg(long, value_name = "FILE")]
    simulate: Option<PathBuf>,
}

impl Word {
    pub(super) fn pause(self) -> anyhow::Result<Exit> {
        self.tell_or_record(
            "/-/pause",
            |lv| Event::Paused { lv },
            |lv| match lv {
                Some(lv) => format!("paused: it does not grow until `lvm-autoscaler resume {lv}`"),
                None => "paused: nothing grows until `lvm-autoscaler resume`".to_owned(),
            },
        )
    }

    pub(super) fn resume(self) -> anyhow::Result<Exit> {
        self.tell_or_record("/-/resume", |lv| Event::Resumed { lv }, |_| "not paused any more".to_owned())
    }

    pub(super) fn reset(self) -> anyhow::Result<Exit> {
        let done = "failures are forgotten, the breaker is closed";
        self.tell_or_record("/-/reset", |lv| Event::Reset { lv }, |_| done.to_owned())
    }

    /// To the daemon that runs; if none does, into its journal.
    fn tell_or_record(
        self,
        path: &str,
        event: impl Fn(Option<LvRef>) -> Event,
        done: impl Fn(Option<&LvRef>) -> String,
    ) -> anyhow::Result<Exit> {
        let config = config_for(self.target.as_deref(), self.config_file.as_deref(), self.simulate.as_deref())?;
        let targets = select(&config, self.target.as_deref())?;
        let lv = self.target.as_ref().and_then(|_| targets.first()).map(|target| target.lv.clone());
        let whom = lv.as_ref().map_or("all targets".to_owned(), ToString::to_string);
        let name = lv.as_ref().map_or(String::new(), ToString::to_string);
        let done = done(lv.as_ref());
        if !tell(&config, path, name, &mut |_| ())? {
            let host = app::open_host(&config, self.simulate.as_deref())?;
            Journal::own(&config.state_directory, &config.witness)?.append(host.moment(), vec![event(lv)])?;
        }
        writeln!(std::io::stdout().lock(), "{whom}: {done}")?;
        Ok(Exit::Done)
    }
}
