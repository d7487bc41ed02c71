//! `extend`: a target grows because a person says so, through the same guards and pipeline.

use super::decision::config_for;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Args;
use nix::sys::signal::{SigSet, Signal};

use super::daemon::{compare_config, tell};
use super::decision::Decider;
use super::exit::Exit;
use super::plan::{document, render, select};
use super::style::{Format, mood, paint, print_json};
use crate::app;
use crate::config::{Config, InForce, Target};
use crate::control::Extend as Wanted;
use crate::engine::{self, Answered, Progress, Reply, Shared, Unanswered};
use crate::journal::Journal;
use crate::plan::{Outcome, Wish};
use crate::units::Bytes;

#[derive(Debug, Args)]
#[command(after_help = "Example: lvm-autoscaler extend /data --by=10GiB\n\n\
    The guards are those of an alert, with two exceptions: the target need not be over its threshold, and the request is \
    itself the approval that `mode: recommend` waits for. A running daemon does the work; Ctrl-C then ends only the waiting.")]
pub(super) struct Extend {
    /// VG/LV, the path of the volume, or its mount point.
    target: String,
    /// Grow by exactly this size, such as 10GiB, or not at all [default: as for an alert].
    #[arg(long, value_name = "SIZE", value_parser = size)]
    by: Option<Bytes>,
    /// Show what would be done, and change nothing.
    #[arg(long)]
    dry_run: bool,
    /// Config file.
    #[arg(long = "config.file", value_name = "FILE")]
    config_file: Option<PathBuf>,
    /// Run on the simulated host described in this file.
    #[arg(long, value_name = "FILE")]
    simulate: Option<PathBuf>,
    /// Output format.
    #[arg(long, id = "output_format", value_name = "FORMAT", default_value = "text")]
    format: Format,
}

fn size(text: &str) -> Result<Bytes, String> {
    text.parse()
        .and_then(|size: Bytes| if size.0 > 0 { Ok(size) } else { Err("expected more than nothing".to_owned()) })
}

impl Extend {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let config = config_for(Some(&self.target), self.config_file.as_deref(), self.simulate.as_deref())?;
        let target = select(&config, Some(&self.target))?.remove(0);
        if self.dry_run {
            return self.preview(&config, target);
        }
        let mut answer = None;
        let mut line = Line::default();
        let mut hear = |progress| match progress {
            Progress::Ended(ended) => answer = Some(ended),
            progress => line.show(&progress),
        };
        let wanted = Wanted { lv: target.lv.clone(), by: self.by.map(|by| by.0) };
        let through_daemon = tell(&config, "/-/extend", serde_json::to_string(&wanted)?, &mut |told| {
            // What an older or newer daemon tells beside is not for us.
            if let Ok(progress) = serde_json::from_str(told) {
                hear(progress);
            }
        });
        let through_daemon = match through_daemon {
            Ok(found) => found,
            Err(error) => {
                line.clear();
                return Err(error);
            }
        };
        if !through_daemon {
            self.alone(&config, target, &mut hear)?;
        }
        line.clear();
        let answer =
            answer.ok_or_else(|| anyhow::anyhow!("it is not known how it ended: see `lvm-autoscaler history`"))?;
        self.print(&answer)
    }

    /// What would be done, from the same function.
    fn preview(&self, config: &Config, target: &Target) -> anyhow::Result<Exit> {
        let decided = Decider::new(config, self.simulate.as_deref())?.about(Wish::Person { by: self.by }, target)?;
        let mut out = std::io::stdout().lock();
        match self.format {
            Format::Text => write!(out, "{}", render(&decided))?,
            Format::Json => print_json(&mut out, &document(&decided))?,
        }
        compare_config(config)?;
        Ok(if decided.evaluation.decision.is_ok() { Exit::Done } else { Exit::Refused })
    }

    /// No daemon runs: this process is one for as long as it takes, under the same lock and with the same journal.
    fn alone(&self, config: &Config, target: &Target, hear: &mut dyn FnMut(Progress)) -> anyhow::Result<()> {
        // Before any thread is there, so that all of them leave these to the one that waits for them.
        let signals = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]);
        signals.thread_block()?;
        let host = app::open_host(config, self.simulate.as_deref())?;
        let journal = Journal::own(&config.state_directory, &config.witness)?;
        if let Some(trouble) = journal.trouble() {
            anyhow::bail!("{trouble}");
        }
        let shared = Arc::new(Shared {
            host,
            in_force: InForce::new(config.clone()),
            journal,
            metrics: Arc::default(),
            dry_run: false,
            stopping: AtomicBool::new(false),
            sampler: None,
            standing: Default::default(),
        });
        let stopping = Arc::clone(&shared);
        std::thread::spawn(move || {
            if signals.wait().is_ok() {
                let _ = writeln!(
                    std::io::stderr(),
                    "\nthe step that runs is finished first; the rest is left to the next start"
                );
                stopping.stopping.store(true, Ordering::Relaxed);
            }
        });
        let engine = engine::start_for_one(shared);
        engine.ask(&target.lv, self.by, &mut |progress| {
            progress.into_iter().for_each(&mut *hear);
            true
        });
        engine.drain();
        Ok(())
    }

    fn print(&self, answer: &Reply) -> anyhow::Result<Exit> {
        let mut out = std::io::stdout().lock();
        if self.format == Format::Json {
            print_json(&mut out, answer)?;
            return Ok(exit(answer));
        }
        let code = answer.code.map_or(String::new(), |code| format!("{code}: "));
        let result = answer.result.as_str();
        let result = paint(&result.replace('_', " "), mood(result));
        let id = answer.id.map_or(String::new(), |id| format!(" ({id})"));
        writeln!(out, "{}: {result}{id}: {code}{}", answer.lv, crate::plain(&answer.sentence))?;
        if !answer.commands.is_empty() {
            writeln!(out, "what is left, in this order:")?;
        }
        answer.commands.iter().try_for_each(|command| writeln!(out, "  {}", crate::plain(command)))?;
        Ok(exit(answer))
    }
}

fn exit(answer: &Reply) -> Exit {
    match answer.result {
        Answered::Ended(Outcome::Grown | Outcome::DryRun) => Exit::Done,
        Answered::Ended(Outcome::NeedsAttention) => Exit::NeedsAttention,
        Answered::Not(Unanswered::Refused) => Exit::Refused,
        Answered::Ended(Outcome::Failed | Outcome::Recommended)
        | Answered::Not(Unanswered::Interrupted | Unanswered::Error) => Exit::Unexpected,
    }
}

/// One line on standard error that is written over, if that is a terminal.
struct Line {
    is_seen: bool,
    last: String,
}

impl Default for Line {
    fn default() -> Line {
        Line { is_seen: std::io::stderr().is_terminal(), last: String::new() }
    }
}

impl Line {
    fn show(&mut self, progress: &Progress) {
        let text = match progress {
            Progress::Waiting { id, lv } => format!("waiting for {id} on {lv}; Ctrl-C gives up"),
            Progress::Planned { id, plan } => format!("{id} begins; Ctrl-C does not stop it: {}", plan.reason),
            Progress::Step { number, of, does } => format!("[{number}/{of}] {does}"),
            Progress::Ended(_) => return,
        };
        self.write(&text);
    }

    fn clear(&mut self) {
        if !self.last.is_empty() {
            self.write("");
        }
    }

    fn write(&mut self, text: &str) {
        if self.is_seen {
            // A line that wraps could not be written over, and every terminal has 80 columns. If standard error is
            // closed nobody misses the line.
            let shown: String = text.chars().take(79).collect();
            let _ = write!(std::io::stderr(), "\r\x1b[2K{shown}");
            self.last = text.to_owned();
        }
    }
}
