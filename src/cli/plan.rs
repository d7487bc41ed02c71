//! `plan`: every guard with its verdict, the size, the exact commands.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;

use anyhow::bail;
use clap::Args;
use serde_json::json;

use super::daemon::compare_config;
use super::decision::{Decided, Decider, Names, config_here, is_called};
use super::exit::Exit;
use super::style::{Format, Mood, paint, print_json};
use crate::app::{self, UsageError};
use crate::config::{Config, Target};
use crate::plan::Step;
use crate::plan::guard::Verdict;

/// So many names help to find the one that was meant.
const SHOWN: usize = 20;

#[derive(Debug, Args)]
#[command(after_help = "Example: lvm-autoscaler plan /data\n\n\
    The exit code is 3 if targets are named and each of them would be refused.")]
pub(super) struct Plan {
    /// VG/LV, the path of the volume, or its mount point; all targets on this host if none is given.
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,
    /// Config file.
    #[arg(long = "config.file", value_name = "FILE")]
    config_file: Option<PathBuf>,
    /// Plan for the simulated host described in this file.
    #[arg(long, value_name = "FILE")]
    simulate: Option<PathBuf>,
    /// Output format.
    #[arg(long, id = "output_format", value_name = "FORMAT", default_value = "text")]
    format: Format,
}

impl Plan {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let config = config_here(self.config_file.as_deref(), self.simulate.as_deref())?;
        let targets = self.selected(&config)?;
        let decider = Decider::new(&config, self.simulate.as_deref())?;
        let names = Names::of(&decider)?;
        let mut out = std::io::stdout().lock();
        let (mut documents, mut refused) = (Vec::new(), 0);
        for target in &targets {
            // One line says it of all that are not there, below.
            if !names.has(target) && self.targets.is_empty() && self.format == Format::Text {
                continue;
            }
            let decided = decider.about_usage(target, &names)?;
            let pool = decider.about_pool(&decided)?;
            refused += usize::from(decided.evaluation.decision.is_err() && pool.is_none());
            match self.format {
                Format::Text => {
                    writeln!(out, "{}", render(&decided))?;
                    if let Some(pool) = pool {
                        writeln!(out, "its pool would grow first, and then this is decided again:\n")?;
                        writeln!(out, "{}", render(&pool))?;
                    }
                }
                Format::Json => documents.push(document(&decided)),
            }
        }
        if self.format == Format::Json {
            print_json(&mut out, &documents)?;
        }
        names.say(&config, self.format, &mut out)?;
        compare_config(&config)?;
        let all_refused = !self.targets.is_empty() && refused == targets.len();
        Ok(if all_refused { Exit::Refused } else { Exit::Done })
    }

    fn selected<'a>(&self, config: &'a Config) -> anyhow::Result<Vec<&'a Target>> {
        if self.targets.is_empty() {
            return select(config, None);
        }
        let mut selected = Vec::new();
        for name in &self.targets {
            selected.extend(select(config, Some(name))?);
        }
        Ok(selected)
    }
}

pub(super) fn select<'a>(config: &'a Config, wanted: Option<&str>) -> anyhow::Result<Vec<&'a Target>> {
    if config.grows_nothing() {
        let where_from = format!("{}, or in the file that --config.file names", app::DEFAULT_CONFIG);
        bail!(UsageError(format!(
            "there are no targets: add some to monitor.targets in {where_from}, or have `lvm-autoscaler init` propose them"
        )));
    }
    let Some(wanted) = wanted else { return Ok(config.targets.iter().collect()) };
    match config.targets.iter().find(|target| is_called(target, wanted)) {
        Some(target) => Ok(vec![target]),
        None => {
            let mut known: Vec<String> =
                config.targets.iter().map(|target| target.lv.to_string()).take(SHOWN).collect();
            let more = config.targets.len() - known.len();
            known.extend((more > 0).then(|| format!("and {more} more")));
            let known = if known.is_empty() { "there are none on this host".to_owned() } else { known.join(", ") };
            bail!(UsageError(format!(
                "{wanted:?} is not among the targets: {known}; to have it grow, add it to monitor.targets"
            )))
        }
    }
}

/// The same as the text, for programs.
pub(super) fn document(decided: &Decided<'_>) -> serde_json::Value {
    let Decided { target, evaluation, .. } = decided;
    let guards = evaluation.verdicts.iter().map(|(code, verdict)| {
        let (verdict, sentence) = match verdict {
            Verdict::Pass => ("pass", None),
            Verdict::Refuse(sentence) => ("refuse", Some(sentence)),
            Verdict::NotAsked => ("not_asked", None),
        };
        json!({ "code": code, "verdict": verdict, "sentence": sentence })
    });
    let guards: Vec<serde_json::Value> = guards.collect();
    let (plan, refusal) = (evaluation.decision.as_ref().ok(), evaluation.decision.as_ref().err());
    let commands: Vec<Vec<String>> = plan.map_or(vec![], |plan| {
        let words =
            |command: crate::command::Command| [vec![command.tool.as_str().to_owned()], command.arguments].concat();
        plan.steps.iter().filter_map(Step::command).map(words).collect()
    });
    json!({
        "vg": target.lv.vg, "lv": target.lv.lv, "mount_point": target.mount_point(), "mode": target.mode,
        "guards": guards, "size": evaluation.size, "refusal": refusal, "plan": plan, "commands": commands,
    })
}

/// What an operator reads before trusting the tool.
pub(super) fn render(decided: &Decided<'_>) -> String {
    let Decided { target, evaluation, is_recommended } = decided;
    let mut text = match target.mount_point() {
        Some(point) => format!("{} at {}\n", target.lv, crate::plain(point.as_str())),
        None => format!("{}, a thin pool\n", target.lv),
    };
    for (code, verdict) in &evaluation.verdicts {
        let line = match verdict {
            Verdict::Pass => format!("  pass    {code}"),
            Verdict::Refuse(sentence) => {
                format!("  {}  {code:<22}{}", paint("REFUSE", Mood::Held), crate::plain(sentence))
            }
            Verdict::NotAsked => format!("  -       {code}"),
        };
        let _ = writeln!(text, "{line}");
    }
    if !evaluation.size.is_empty() {
        text.push_str("  size\n");
        evaluation.size.iter().for_each(|line| text.push_str(&format!("    {}\n", crate::plain(line))));
    }
    match &evaluation.decision {
        Err(refusal) => text.push_str(&format!("  would do nothing: {refusal}\n")),
        Ok(plan) => {
            let verb = if *is_recommended { "would recommend" } else { "would run" };
            text.push_str(&format!("  {verb}, because {}\n", crate::plain(&plan.reason)));
            for step in &plan.steps {
                let command = step.command().map_or_else(|| format!("({step})"), |command| command.to_string());
                text.push_str(&format!("    {}\n", crate::plain(&command)));
            }
        }
    }
    text
}
