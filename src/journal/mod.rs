//! What was done. Everything that is accepted, decided, begun and ended is on disk before the next thing happens, and
//! what the disk holds is enough to go on after a crash.
//!
//! One thread writes at a time, and waits for the disk. Who only reads never waits for a write: pages answer even when
//! the disk hangs. When the journal cannot be written nothing is acted upon; [`Journal::retry`] finds out when that is
//! over.
//!
//! What is written must also be found again. Before and after each record the names of the files are compared with what
//! is open ([`Journal::attest`]), and at the start the number of the last record with what a witness outside of the
//! state directory knows.

mod account;
pub mod entry;
mod error;
mod folder;
mod frame;
mod mark;
mod segment;
mod witness;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use nix::fcntl::Flock;

use crate::plan::Moment;
pub use account::{Account, Conclusion, Next, Replayed};
pub use entry::{Entry, Event, Parked, Past, Pending, REMEMBERED, Running, Source, State};
use error::HANGS;
pub use error::{JournalError, why_not_made};
pub use mark::Mark;
pub use segment::SegmentError;
use segment::Segments;
use witness::Witness;

/// 4 MiB hold some ten thousand records, weeks of a busy host, and are read in a few milliseconds at start.
const SEGMENT_SIZE: u64 = 4 << 20;

/// A record as those see it who are told of all of them.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// Its number, from 1, without gaps.
    pub number: u64,
    /// What happened.
    pub entry: &'a Entry,
    /// What all records before it mean: of an operation that ends it still has the plan.
    pub before: &'a State,
}

/// Told of each record after it is on disk, with the journal locked: it must neither wait nor fail.
pub type Subscriber = Box<dyn Fn(Record<'_>) + Send>;

/// The journal of this host.
pub struct Journal {
    folder: PathBuf,
    /// None: nobody remembers how far it got.
    witness: Option<Witness>,
    files: Mutex<Files>,
    /// What is on disk. Locked for moments only, as are all below.
    state: RwLock<Arc<State>>,
    health: Mutex<Health>,
    /// A write ended, or went wrong.
    changed: Condvar,
}

/// What is locked while the disk writes.
struct Files {
    /// None: they could not be opened.
    segments: Option<Segments>,
    lock: Option<Flock<File>>,
    /// Whether the lock and the folder are this journal's to take.
    owns: bool,
    /// What is open was not what the names led to.
    lost: bool,
    subscribers: Vec<Subscriber>,
}

#[derive(Debug, Default)]
struct Health {
    /// Since when somebody writes.
    busy: Option<Instant>,
    /// Why it cannot be written.
    trouble: Option<String>,
}

impl Journal {
    /// Opens the journal in a folder that is there, or makes one in it. The caller sees to it that nobody else does.
    pub fn open(folder: &Path) -> Result<Journal, JournalError> {
        let (segments, state) = read(folder, Some(&State::default()))?;
        Ok(Journal::of(folder, None, Some(segments), state))
    }

    /// The journal in a folder, made if need be, for this process alone; how far it got is remembered in another file,
    /// the witness. The one error is that another process has it; whatever else is wrong is a trouble that
    /// [`Journal::retry`] may find to be over.
    pub fn own(folder: &Path, witness: &Path) -> Result<Journal, JournalError> {
        let journal = Journal::of(folder, Some(Witness::start(witness)), None, State::default());
        match journal.retry() {
            Err(error @ JournalError::Locked { .. }) => Err(error),
            Ok(()) | Err(_) => Ok(journal),
        }
    }

    fn of(folder: &Path, witness: Option<Witness>, segments: Option<Segments>, state: State) -> Journal {
        let trouble = segments.is_none().then(|| "it is not open yet".to_owned());
        Journal {
            folder: folder.to_owned(),
            files: Mutex::new(Files {
                segments,
                lock: None,
                owns: witness.is_some(),
                lost: false,
                subscribers: vec![],
            }),
            witness,
            state: RwLock::new(Arc::new(state)),
            health: Mutex::new(Health { busy: None, trouble }),
            changed: Condvar::new(),
        }
    }

    /// What the journal in a folder means, read beside a daemon that may be writing it; nothing if there is none.
    pub fn peek(folder: &Path) -> Result<State, JournalError> {
        replay(&segment::peek(folder)?.unwrap_or_default())
    }

    /// All records after that number which a folder still has: those of the current segment and of the one before it.
    /// They are read beside a daemon that may be writing.
    pub fn read_since(folder: &Path, after: u64, tell: &mut dyn FnMut(Record<'_>)) -> Result<(), JournalError> {
        let mut told = after;
        for payloads in segment::peek_all(folder)? {
            replay_each(&payloads, &mut |record| {
                if record.number > told {
                    told = record.number;
                    tell(record);
                }
            })?;
        }
        Ok(())
    }

    /// From now on this is told of each record.
    pub fn subscribe(&self, subscriber: Subscriber) {
        self.writer().files.subscribers.push(subscriber);
    }

    /// What all entries so far mean.
    pub fn state(&self) -> Arc<State> {
        Arc::clone(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether the last attempt to write succeeded, and none hangs.
    pub fn is_writable(&self) -> bool {
        self.trouble().is_none()
    }

    /// Why it cannot be written.
    pub fn trouble(&self) -> Option<String> {
        let trouble = self.health().trouble.clone();
        trouble.or_else(|| self.answers().err().map(|error| error.to_string()))
    }

    /// An error if a write hangs.
    pub fn answers(&self) -> Result<(), JournalError> {
        let hangs = self.health().busy.is_some_and(|since| since.elapsed() >= HANGS);
        if hangs { Err(JournalError::Hangs) } else { Ok(()) }
    }

    /// Waits until it cannot be written, but only for so long; whether it cannot.
    pub fn wait_for_trouble(&self, longest: Duration) -> bool {
        let fine = |health: &mut Health| health.trouble.is_none();
        let waited = self.changed.wait_timeout_while(self.health(), longest, fine);
        waited.unwrap_or_else(PoisonError::into_inner).0.trouble.is_some()
    }

    /// The next number for a request or an operation; who takes it must be the [`Writer`].
    pub fn next_number(&self) -> u64 {
        self.state().last_number.saturating_add(1)
    }

    /// Writes events down, all or none, and returns when the disk has them, however long that takes.
    pub fn append(&self, at: impl Into<Moment>, events: Vec<Event>) -> Result<(), JournalError> {
        self.writer().append(at, events)
    }

    /// The right to write, until it is dropped; it waits for who has it.
    pub fn writer(&self) -> Writer<'_> {
        let health = self.health();
        let busy = |health: &mut Health| health.busy.is_some();
        self.begin(self.changed.wait_while(health, busy).unwrap_or_else(PoisonError::into_inner))
    }

    /// The same for somebody who has to answer soon: a disk that hangs is an error.
    pub fn writer_soon(&self) -> Result<Writer<'_>, JournalError> {
        let mut health = self.health();
        while let Some(since) = health.busy {
            let left = HANGS.saturating_sub(since.elapsed());
            if left.is_zero() {
                return Err(JournalError::Hangs);
            }
            health = self.changed.wait_timeout(health, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(self.begin(health))
    }

    fn begin(&self, mut health: MutexGuard<'_, Health>) -> Writer<'_> {
        health.busy = Some(Instant::now());
        drop(health);
        // Nobody has it who is not the writer.
        Writer { journal: self, files: crate::locked(&self.files) }
    }

    /// An error if the next start would not find what was written: the files, or the lock, were taken away, replaced or
    /// cut. From then on nothing can be written, as after a write that failed.
    pub fn attest(&self) -> Result<(), JournalError> {
        self.writer_soon()?.attest()
    }

    /// If it cannot be written: opens it again and writes all of it anew, which shows whether it can be now.
    pub fn retry(&self) -> Result<(), JournalError> {
        let mut writer = self.writer();
        if self.health().trouble.is_none() {
            return Ok(());
        }
        let opened = writer.reopen();
        self.note(&opened);
        opened
    }

    /// The number of the last record by the witness; 0 if there was none.
    fn known(&self) -> Result<u64, JournalError> {
        let Some(witness) = &self.witness else { return Ok(0) };
        let unreadable =
            |why: std::io::Error| JournalError::Witness { witness: witness.path().to_owned(), why: why.to_string() };
        Ok(witness.read().map_err(unreadable)?.unwrap_or(0))
    }

    fn forgotten(&self, found: String, known: u64) -> JournalError {
        let witness = self.witness.as_ref().map(|witness| witness.path().to_owned()).unwrap_or_default();
        JournalError::Forgotten { found, known, witness }
    }

    fn tell_witness(&self, records: u64) {
        self.witness.iter().for_each(|witness| witness.tell(records));
    }

    fn publish(&self, state: State) {
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(state);
    }

    fn note<T, E: std::error::Error>(&self, result: &Result<T, E>) {
        self.health().trouble = result.as_ref().err().map(|error| crate::chain(error));
        self.changed.notify_all();
    }

    fn health(&self) -> MutexGuard<'_, Health> {
        crate::locked(&self.health)
    }
}

/// Who may write now.
pub struct Writer<'a> {
    journal: &'a Journal,
    files: MutexGuard<'a, Files>,
}

impl Writer<'_> {
    /// The next number for a request or an operation.
    pub fn next_number(&self) -> u64 {
        self.journal.next_number()
    }

    /// Writes events down, all or none, and returns when the disk has them. After an error nothing can be written
    /// before [`Journal::retry`], so that whoever goes on with what the error interrupted misses none.
    pub fn append(&mut self, at: impl Into<Moment>, events: Vec<Event>) -> Result<(), JournalError> {
        let at = at.into();
        let entries: Vec<Entry> = events.into_iter().map(|event| Entry { at, event }).collect();
        if entries.is_empty() {
            return Ok(());
        }
        let written = self.write(&lines(&entries));
        self.journal.note(&written);
        written?;
        let mut state = (*self.journal.state()).clone();
        for entry in &entries {
            let record = Record { number: state.records.saturating_add(1), entry, before: &state };
            self.files.subscribers.iter().for_each(|tell| tell(record));
            state.apply(entry);
        }
        let records = state.records;
        self.journal.publish(state);
        self.journal.tell_witness(records);
        Ok(())
    }

    /// As [`Journal::attest`].
    pub fn attest(&mut self) -> Result<(), JournalError> {
        let Files { segments, lock, owns, lost, .. } = &mut *self.files;
        // One that was never open has promised nothing.
        let Some(segments) = segments else { return Ok(()) };
        let attested = segments.attest().and_then(|()| match lock {
            Some(lock) if *owns => segment::attest(&folder::lock_file(&self.journal.folder), lock),
            _ => Ok(()),
        });
        attested.map_err(|error| {
            *lost = true;
            let error = JournalError::from(error);
            // What keeps it from being opened again says more than this, over and over.
            if self.journal.health().trouble.is_none() {
                self.journal.note::<(), _>(&Err(&error));
            }
            error
        })
    }

    fn write(&mut self, payload: &[u8]) -> Result<(), JournalError> {
        let trouble = self.journal.health().trouble.clone();
        if let Some(trouble) = trouble {
            return Err(JournalError::Closed(trouble));
        }
        // Before it, for what is in the place of the journal now must not be written over; after it, for an answer says
        // that it is there.
        self.attest()?;
        let Some(segments) = &mut self.files.segments else { return Err(JournalError::Closed(String::new())) };
        if !segments.fits(payload) {
            segments.switch(&encode(&*self.journal.state()))?;
        }
        segments.append(payload)?;
        self.attest()
    }

    fn reopen(&mut self) -> Result<(), JournalError> {
        let folder = &self.journal.folder;
        let known = self.journal.known()?;
        // Where a journal was, none is begun unasked. A daemon that has it in memory loses nothing by that, but
        // somebody took it away.
        let first = (known == 0).then(|| self.journal.state());
        if self.files.owns {
            self.take_lock(first.is_some())?;
        }
        let (segments, state) = match read(folder, first.as_deref()) {
            Err(JournalError::Segment(SegmentError::Blank { .. })) => {
                return Err(self.journal.forgotten(format!("there is no journal in {}", folder.display()), known));
            }
            read => read?,
        };
        if self.files.owns {
            self.files.segments.iter().for_each(Segments::unlock);
            if !segments.lock() {
                return Err(JournalError::Locked { lock: folder.join("journal.0") });
            }
        }
        let memory = self.journal.state();
        match &self.files.segments {
            None if state.records < known => {
                let found = format!("the journal in {} ends with record {}", folder.display(), state.records);
                return Err(self.journal.forgotten(found, known));
            }
            None => {
                self.journal.tell_witness(state.records);
                self.journal.publish(state);
                self.files.segments = Some(segments);
                return Ok(());
            }
            // Just begun with what is in memory.
            Some(_) if state == *memory => {}
            // What is in memory is what was acted upon; the disk may have less, or what was never accepted. Where it
            // was lost, more can only be somebody else's.
            Some(ours)
                if segments.generation().abs_diff(ours.generation()) <= 1
                    && (!self.files.lost || state.records <= memory.records) => {}
            Some(_) => {
                let why = format!("{} has another journal than at the start: restart the daemon", folder.display());
                return Err(JournalError::Closed(why));
            }
        }
        let ours = self.files.segments.insert(segments);
        ours.switch(&encode(&*memory))?;
        self.files.lost = false;
        self.journal.tell_witness(memory.records);
        Ok(())
    }

    /// Takes the lock, if this process does not have the one that the name leads to.
    fn take_lock(&mut self, may_make: bool) -> Result<(), JournalError> {
        let folder = &self.journal.folder;
        let path = folder::lock_file(folder);
        if self.files.lock.as_ref().is_some_and(|lock| segment::attest(&path, lock).is_ok()) {
            return Ok(());
        }
        // A folder that is made where a journal was would look as if somebody had put it back.
        if may_make || folder.exists() {
            folder::make(folder)?;
            folder::make(&folder.join("backup"))?;
        } else {
            let known = self.journal.known()?;
            return Err(self.journal.forgotten(format!("{} is gone", folder.display()), known));
        }
        self.files.lock = Some(folder::lock(folder)?);
        if let Err(error) = folder::keep_in_place(folder) {
            tracing::warn!("{}: on this btrfs a full disk may stop the journal, chattr +C: {error}", folder.display());
        }
        Ok(())
    }
}

impl Drop for Writer<'_> {
    fn drop(&mut self) {
        self.journal.health().busy = None;
        self.journal.changed.notify_all();
    }
}

/// What a folder has; if it has nothing and may have something, that.
fn read(folder: &Path, first: Option<&State>) -> Result<(Segments, State), JournalError> {
    let (segments, payloads) = Segments::open(folder, SEGMENT_SIZE, first.map(encode).as_deref())?;
    Ok((segments, replay(&payloads)?))
}

fn replay(payloads: &[Vec<u8>]) -> Result<State, JournalError> {
    replay_each(payloads, &mut |_| ())
}

/// The first payload is the checkpoint, the others are entries.
fn replay_each(payloads: &[Vec<u8>], tell: &mut dyn FnMut(Record<'_>)) -> Result<State, JournalError> {
    let unreadable = |number| move |source| JournalError::Record { number, source };
    let Some((checkpoint, appended)) = payloads.split_first() else { return Ok(State::default()) };
    let mut state: State = serde_json::from_slice(checkpoint).map_err(unreadable(0))?;
    for (number, payload) in appended.iter().enumerate() {
        // What was appended at once: an entry per line.
        for line in payload.split(|byte| *byte == b'\n') {
            let entry: Entry = serde_json::from_slice(line).map_err(unreadable(number + 1))?;
            tell(Record { number: state.records.saturating_add(1), entry: &entry, before: &state });
            state.apply(&entry);
        }
    }
    Ok(state)
}

fn lines(entries: &[Entry]) -> Vec<u8> {
    entries.iter().map(encode).collect::<Vec<_>>().join(&b'\n')
}

fn encode(value: &impl serde::Serialize) -> Vec<u8> {
    // Only maps with keys that are no text could fail, and there are none.
    serde_json::to_vec(value).unwrap_or_default()
}
