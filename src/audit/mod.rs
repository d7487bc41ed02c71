//! The audit log: what was checked, decided and done, a JSON line for each record of the journal.
//!
//! It is a projection: the journal is the truth, and what the log misses (after a crash, while its disk is full, when
//! it comes too fast) is read again from the journal by its number. So nothing here ever delays or fails an operation:
//! the engine only puts a line into a bounded queue, and a thread of its own writes.

mod file;
mod line;

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::config::Config;
use crate::config::notify::AuditSettings;
use crate::journal::{Journal, Mark, Record};
use crate::metrics::autoscaler::Metrics;
pub use file::AuditError;
use file::LogFile;

/// So many lines wait in memory for a slow disk; those before them are read again from the journal.
const MOST_WAITING: usize = 1000;

/// How long to wait before a log that could not be written is tried again.
const AGAIN: Duration = Duration::from_secs(5);

/// Lines are written this many bytes at a time when much is to be caught up with.
const BATCH: usize = 256 << 10;

/// The audit log of this daemon.
#[derive(Clone)]
pub struct Audit(Arc<Inner>);

struct Inner {
    host: String,
    folder: PathBuf,
    metrics: Arc<Metrics>,
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    settings: Option<AuditSettings>,
    lines: VecDeque<(u64, String)>,
    /// The file is to be opened anew, and what it misses read from the journal.
    reopen: bool,
    writing: bool,
}

/// Whether the file of a config can be an audit log, before anything is written to it: one of another program is
/// refused.
pub fn verify(config: &Config) -> Result<(), AuditError> {
    config.audit.as_ref().map_or(Ok(()), |audit| file::verify(&audit.file))
}

impl Audit {
    /// Starts the thread that writes; the first that it does is to catch up with the journal in that folder.
    pub fn start(config: &Config, host: String, metrics: Arc<Metrics>) -> Audit {
        let waiting = Waiting { settings: config.audit.clone(), reopen: true, ..Waiting::default() };
        let folder = config.state_directory.clone();
        let audit = Audit(Arc::new(Inner { host, folder, metrics, waiting: waiting.into(), changed: Condvar::new() }));
        let writer = audit.clone();
        std::thread::spawn(move || Writer { audit: writer, open: None, mark: None }.run());
        audit
    }

    /// A record is on disk. Called with the journal locked: it neither waits nor fails.
    pub fn hear(&self, record: Record<'_>) {
        let line = line::line(&record, &self.0.host);
        let mut waiting = self.waiting();
        if waiting.settings.is_none() {
            return;
        }
        waiting.lines.push_back((record.number, line));
        if waiting.lines.len() > MOST_WAITING {
            waiting.lines.pop_front();
        }
        drop(waiting);
        self.0.changed.notify_all();
    }

    /// Another config is in force, or the file was moved away: it is opened anew by its name.
    pub fn reopen(&self, config: &Config) {
        let mut waiting = self.waiting();
        waiting.settings = config.audit.clone();
        waiting.reopen = true;
        drop(waiting);
        self.0.changed.notify_all();
    }

    /// Waits until all is written, but no longer than this: what is not is written after the next start.
    pub fn drain(&self, most: Duration) {
        let waiting = self.waiting();
        let busy = |waiting: &mut Waiting| waiting.writing || waiting.reopen || !waiting.lines.is_empty();
        drop(self.0.changed.wait_timeout_while(waiting, most, busy));
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        crate::locked(&self.0.waiting)
    }
}

/// The thread's own.
struct Writer {
    audit: Audit,
    open: Option<Open>,
    mark: Option<Mark>,
}

struct Open {
    file: LogFile,
    /// The number of the last record in it; `None`: it has none and begins with what there is.
    last: Option<u64>,
}

impl Writer {
    fn run(mut self) {
        let mut failed = false;
        loop {
            let (settings, lines) = self.next(failed);
            let written = match &settings {
                Some(settings) => self.write(settings, lines),
                None => Ok(()),
            };
            self.audit.waiting().writing = false;
            self.audit.0.changed.notify_all();
            self.audit.0.metrics.audit_writable.set(i64::from(written.is_ok()));
            if let Err(error) = &written {
                self.open = None;
                if !failed {
                    let file = settings.as_ref().map(|settings| settings.file.display().to_string());
                    tracing::error!(
                        file,
                        "the audit log cannot be written; the missing lines are in the journal: {error}"
                    );
                }
            } else if failed {
                tracing::info!("the audit log can be written again");
            }
            failed = written.is_err();
        }
    }

    /// Waits for something to write; after a failure only for a while.
    fn next(&mut self, failed: bool) -> (Option<AuditSettings>, VecDeque<(u64, String)>) {
        let mut waiting = self.audit.waiting();
        if failed {
            let (again, _) = self
                .audit
                .0
                .changed
                .wait_timeout_while(waiting, AGAIN, |waiting| !waiting.reopen)
                .unwrap_or_else(PoisonError::into_inner);
            waiting = again;
        } else {
            let idle = |waiting: &mut Waiting| !waiting.reopen && waiting.lines.is_empty();
            waiting = self.audit.0.changed.wait_while(waiting, idle).unwrap_or_else(PoisonError::into_inner);
        }
        if std::mem::take(&mut waiting.reopen) {
            self.open = None;
        }
        waiting.writing = true;
        (waiting.settings.clone(), std::mem::take(&mut waiting.lines))
    }

    fn write(&mut self, settings: &AuditSettings, lines: VecDeque<(u64, String)>) -> io::Result<()> {
        let folder = self.audit.0.folder.clone();
        let in_place = self.open.as_ref().is_some_and(|open| open.file.is_in_place());
        if !in_place {
            let open = self.opened(settings, &folder)?;
            self.open = Some(open);
            self.catch_up(&folder)?;
        }
        let mut batch = String::new();
        let mut last = self.open.as_ref().and_then(|open| open.last);
        for (number, line) in lines {
            match last {
                Some(last) if number <= last => continue,
                Some(before) if number > before + 1 => {
                    // Some before it were pushed out of the queue. The journal has them, and this one and all behind
                    // it.
                    self.append(&std::mem::take(&mut batch), last)?;
                    return self.catch_up(&folder);
                }
                _ => {}
            }
            batch.push_str(&line);
            last = Some(number);
        }
        self.append(&batch, last)
    }

    /// The file, and how far it is. If it has no line the mark says it: somebody may have taken the file away.
    fn opened(&mut self, settings: &AuditSettings, folder: &Path) -> io::Result<Open> {
        let (mark, marked) = Mark::open(folder, "audited")?;
        self.mark = Some(mark);
        let (file, found) = LogFile::open(settings)?;
        let Some(number) = found.map(|found| found.seq).or(marked) else { return Ok(Open { file, last: None }) };
        // Somebody who moved the journal away began a new one, with new numbers.
        let mut same = false;
        let tell = &mut |record: Record<'_>| {
            same |= record.number >= number
                && found.is_none_or(|found| record.number > number || record.entry.at.at == found.at);
        };
        Journal::read_since(folder, number.saturating_sub(1), tell).map_err(io::Error::other)?;
        if !same {
            tracing::warn!("the journal is not the one that the audit log ends with: appending all of it");
        }
        Ok(Open { file, last: same.then_some(number) })
    }

    /// Writes what the journal has beyond the last line.
    fn catch_up(&mut self, folder: &Path) -> io::Result<()> {
        let mut last = self.open.as_ref().and_then(|open| open.last);
        let (mut batch, mut result) = (String::new(), Ok(()));
        let (host, metrics) = (self.audit.0.host.clone(), Arc::clone(&self.audit.0.metrics));
        let read = Journal::read_since(folder, last.unwrap_or(0), &mut |record| {
            if result.is_err() {
                return;
            }
            if let Some(before) = last
                && record.number > before + 1
            {
                metrics.audit_lost_records.inc_by(record.number - 1 - before);
                batch.push_str(&line::gap(before + 1, record.number - 1, record.entry.at.at, &host));
            }
            batch.push_str(&line::line(&record, &host));
            last = Some(record.number);
            if batch.len() > BATCH {
                result = self.append(&std::mem::take(&mut batch), last);
            }
        });
        result?;
        read.map_err(io::Error::other)?;
        self.append(&batch, last)
    }

    fn append(&mut self, lines: &str, last: Option<u64>) -> io::Result<()> {
        let Some(open) = &mut self.open else { return Ok(()) };
        if lines.is_empty() {
            return Ok(());
        }
        open.file.append(lines)?;
        open.last = last;
        match (&self.mark, last) {
            (Some(mark), Some(last)) => mark.set(last),
            _ => Ok(()),
        }
    }
}
