//! `plan`: every guard with its verdict, the size, the exact commands.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;

use anyhow::bail;
use clap::Args;

use super::exit::Exit;
use crate::app::{self, UsageError};
use crate::config::{Config, Target};
use crate::host::{Focus, look};
use crate::journal::Journal;
use crate::plan::guard::Verdict;
use crate::plan::{Evaluation, plan};

#[derive(Debug, Args)]
#[command(after_help = "Example: lvm-autoscaler plan /data")]
pub(super) struct Plan {
    /// VG/LV, the path of the volume, or its mount point; all targets if none is given.
    target: Option<String>,
    /// Config file.
    #[arg(long = "config.file", value_name = "FILE")]
    config_file: Option<PathBuf>,
    /// Plan for the simulated host described in this file.
    #[arg(long, value_name = "FILE")]
    simulate: Option<PathBuf>,
}

impl Plan {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let config = app::load_config(self.config_file.as_deref(), self.simulate.as_deref())?;
        let targets = select(&config, self.target.as_deref())?;
        let host = app::open_host(&config, self.simulate.as_deref())?;
        let history = Journal::peek(&config.state_directory)?.history(false);
        let mut out = std::io::stdout().lock();
        for target in targets {
            let inventory = look(host.as_ref(), Focus::Volume(&target.lv))?;
            let evaluation = plan(target, &inventory, &config, &history, host.now());
            writeln!(out, "{}", render(target, &evaluation))?;
        }
        Ok(Exit::Done)
    }
}

fn select<'a>(config: &'a Config, wanted: Option<&str>) -> anyhow::Result<Vec<&'a Target>> {
    let Some(wanted) = wanted else {
        if config.targets.is_empty() {
            bail!(UsageError("there are no targets: add some to monitor.targets".to_owned()));
        }
        return Ok(config.targets.iter().collect());
    };
    let volume = wanted.parse().ok();
    let point = wanted.parse().ok();
    let found = config
        .targets
        .iter()
        .find(|target| Some(&target.lv) == volume.as_ref() || Some(&target.mount_point) == point.as_ref());
    match found {
        Some(target) => Ok(vec![target]),
        None => {
            let known: Vec<String> = config.targets.iter().map(|target| target.lv.to_string()).collect();
            bail!(UsageError(format!("{wanted:?} is not among the targets: {}", known.join(", "))))
        }
    }
}

/// What an operator reads before trusting the tool.
fn render(target: &Target, evaluation: &Evaluation) -> String {
    let mut text = format!("{} at {}\n", target.lv, target.mount_point);
    for (code, verdict) in &evaluation.verdicts {
        let line = match verdict {
            Verdict::Pass => format!("  pass    {code}"),
            Verdict::Refuse(sentence) => format!("  REFUSE  {code:<22}{sentence}"),
            Verdict::NotAsked => format!("  -       {code}"),
        };
        let _ = writeln!(text, "{line}");
    }
    if !evaluation.size.is_empty() {
        text.push_str("  size\n");
        evaluation.size.iter().for_each(|line| text.push_str(&format!("    {line}\n")));
    }
    match &evaluation.decision {
        Err(refusal) => text.push_str(&format!("  would do nothing: {refusal}\n")),
        Ok(plan) => {
            text.push_str(&format!("  would run, because {}\n", plan.reason));
            for step in &plan.steps {
                let command = step.command().map_or_else(|| format!("({step})"), |command| command.to_string());
                text.push_str(&format!("    {command}\n"));
            }
        }
    }
    text
}
