//! `history`: what was done and refused, and why, from the journal alone.

use super::decision::{config_for, is_called};
use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;

use super::exit::Exit;
use super::style::{Format, mood, paint, print_json};
use crate::app::{self, UsageError};
use crate::config::Config;
use crate::duration::Since;
use crate::journal::{Event, Journal, Past, Record};
use crate::name::{LvRef, OperationId};
use crate::plan::Outcome;
use crate::units::Bytes;

#[derive(Debug, Args)]
#[command(after_help = "Example: lvm-autoscaler history /data --since=7d\n\n\
    The history is that of the journal: about ten thousand records, and the last hundred operations before those.")]
pub(super) struct History {
    /// VG/LV, the path of the volume, or its mount point; all volumes if none is given.
    target: Option<String>,
    /// Only what happened since: a time span such as 24h or 7d, or a time such as 2026-01-31T08:00:00Z.
    #[arg(long, value_name = "TIME")]
    since: Option<Since>,
    /// Config file.
    #[arg(long = "config.file", value_name = "FILE")]
    config_file: Option<PathBuf>,
    /// The history of the simulated host described in this file.
    #[arg(long, value_name = "FILE")]
    simulate: Option<PathBuf>,
    /// Output format.
    #[arg(long, id = "output_format", value_name = "FORMAT", default_value = "text")]
    format: Format,
}

/// One line of it.
#[derive(Debug, Serialize)]
struct Row {
    at: Timestamp,
    lv: Option<LvRef>,
    result: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<OperationId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    grown_bytes: Option<Bytes>,
    sentence: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    commands: Vec<String>,
    #[serde(skip_serializing_if = "is_zero")]
    more: u64,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl History {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let config = config_for(self.target.as_deref(), self.config_file.as_deref(), self.simulate.as_deref())?;
        let lv = self.target.as_deref().map(|name| volume(&config, name)).transpose()?;
        let from = match self.since {
            None => Timestamp::MIN,
            Some(since) => since.from(app::open_host(&config, self.simulate.as_deref())?.now()),
        };
        let mut rows = rows(&config)?;
        rows.retain(|row| row.at >= from && (lv.is_none() || row.lv.is_none() || row.lv == lv));
        let mut out = std::io::stdout().lock();
        match self.format {
            Format::Text => print(&mut out, &rows)?,
            Format::Json => {
                print_json(&mut out, &rows)?;
            }
        }
        Ok(Exit::Done)
    }
}

/// A volume that is no target any more has a history all the same, so only a mount point must be one of a target.
fn volume(config: &Config, name: &str) -> anyhow::Result<LvRef> {
    let of_target = || config.targets.iter().find(|target| is_called(target, name));
    let found = name.parse().ok().or_else(|| of_target().map(|target| target.lv.clone()));
    let unknown = || UsageError(format!("{name:?} is neither a volume (VG/LV) nor the mount point of a target"));
    Ok(found.ok_or_else(unknown)?)
}

/// All that the journal still has, the oldest first.
fn rows(config: &Config) -> anyhow::Result<Vec<Row>> {
    let mut rows: Vec<Row> = Vec::new();
    let mut is_first = true;
    Journal::read_since(&config.state_directory, 0, &mut |record| {
        if std::mem::take(&mut is_first) {
            rows.extend(record.before.lately().into_iter().map(row_of_past));
        }
        rows.extend(row(record));
    })?;
    // A journal that was just switched has a checkpoint and no records.
    if is_first {
        rows.extend(Journal::peek(&config.state_directory)?.lately().into_iter().map(row_of_past));
    }
    Ok(rows)
}

fn row_of_past(past: &Past) -> Row {
    let Past { at, lv, result, sentence, commands, more } = past.clone();
    Row { at, lv, result: result.to_string(), id: None, grown_bytes: None, sentence, commands, more }
}

fn row(record: Record<'_>) -> Option<Row> {
    let at = record.entry.at.at;
    let plain = |lv: &Option<LvRef>, result: &str, sentence: &str| Row {
        at,
        lv: lv.clone(),
        result: result.to_owned(),
        id: None,
        grown_bytes: None,
        sentence: sentence.to_owned(),
        commands: vec![],
        more: 0,
    };
    let row = match &record.entry.event {
        Event::Refused { lv, refusal, more, .. } => {
            Row { more: *more, ..plain(lv, refusal.code.as_str(), &refusal.sentence) }
        }
        Event::Finished { id, outcome, account } => {
            let running = record.before.running.get(id)?;
            let grown = (*outcome == Outcome::Grown).then(|| running.plan.growth());
            let lv = Some(running.plan.lv.clone());
            let row = plain(&lv, outcome.as_str(), &account.to_string());
            Row { id: Some(*id), grown_bytes: grown, commands: account.commands.clone(), ..row }
        }
        Event::Cleared { lv } => plain(&Some(lv.clone()), "cleared", "a person completed the operation"),
        Event::Paused { lv } => plain(lv, "paused", "a person paused it"),
        Event::Resumed { lv } => plain(lv, "resumed", "a person resumed it"),
        Event::Reset { lv } => plain(lv, "reset", "a person closed the breaker"),
        _ => return None,
    };
    Some(row)
}

fn print(out: &mut impl Write, rows: &[Row]) -> std::io::Result<()> {
    if rows.is_empty() {
        return writeln!(out, "nothing was done or refused in that time");
    }
    let volume = |row: &Row| row.lv.as_ref().map_or("-".to_owned(), ToString::to_string);
    let widest = |text: &dyn Fn(&Row) -> usize, least: usize| rows.iter().map(text).max().unwrap_or(0).max(least);
    let (lvs, results) = (widest(&|row| volume(row).len(), 6), widest(&|row| row.result.len(), 6));
    writeln!(out, "{:<19}  {:<lvs$}  {:<results$}  WHAT", "TIME (UTC)", "VOLUME", "RESULT")?;
    for row in rows {
        let (at, lv) = (row.at.strftime("%Y-%m-%d %H:%M:%S").to_string(), volume(row));
        let padded = format!("{:<results$}", row.result);
        let more = if row.more > 0 { format!(" (and {} more like this)", row.more) } else { String::new() };
        let sentence = crate::plain(&row.sentence.replace(['\n', '\r'], " ")) + &more;
        writeln!(out, "{at:<19}  {lv:<lvs$}  {}  {sentence}", paint(&padded, mood(&row.result)))?;
        for command in &row.commands {
            let command = crate::plain(command);
            writeln!(out, "{:<19}  {:<lvs$}  {:<results$}  left to run: {command}", "", "", "")?;
        }
    }
    Ok(())
}
