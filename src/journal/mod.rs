//! What was done. Everything that is accepted, decided, begun and ended is on disk before the next thing happens, and
//! what the disk holds is enough to go on after a crash.

pub mod entry;
mod mark;
mod segment;

use std::path::Path;

use crate::plan::Moment;
pub use entry::{Entry, Event, Parked, Past, Pending, REMEMBERED, Running, Source, State};
pub use mark::Mark;
pub use segment::SegmentError;
use segment::Segments;

/// 4 MiB hold some ten thousand records, weeks of a busy host, and are read in a few milliseconds at start.
const SEGMENT_SIZE: u64 = 4 << 20;

/// The journal is not usable. Whoever gets this must not act.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The files are not usable.
    #[error("the journal cannot be used")]
    Segment(#[from] SegmentError),
    /// A record that checks is not one this program can read.
    #[error("record {number} of the journal cannot be read")]
    Record {
        /// Counted from the last checkpoint.
        number: usize,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

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
    segments: Segments,
    state: State,
    writable: bool,
    subscribers: Vec<Subscriber>,
}

impl Journal {
    /// Opens the journal in a folder, or makes one there.
    pub fn open(folder: &Path) -> Result<Journal, JournalError> {
        let (segments, payloads) = Segments::open(folder, SEGMENT_SIZE, &encode(&State::default()))?;
        Ok(Journal { segments, state: replay(&payloads)?, writable: true, subscribers: vec![] })
    }

    /// What the journal in a folder means, read beside a daemon that may be writing it; nothing if there is none.
    pub fn peek(folder: &Path) -> Result<State, JournalError> {
        replay(&segment::peek(folder)?.unwrap_or_default())
    }

    /// All records after that number which a folder still has: those of the current segment and of the one before it. They
    /// are read beside a daemon that may be writing.
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
    pub fn subscribe(&mut self, subscriber: Subscriber) {
        self.subscribers.push(subscriber);
    }

    /// What all entries so far mean.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Whether the last attempt to write succeeded.
    pub fn is_writable(&self) -> bool {
        self.writable
    }

    /// The next number for a request or an operation.
    pub fn next_number(&self) -> u64 {
        self.state.last_number + 1
    }

    /// Writes events down, all or none, and returns when the disk has them.
    pub fn append(&mut self, at: impl Into<Moment>, events: Vec<Event>) -> Result<(), JournalError> {
        let at = at.into();
        let entries: Vec<Entry> = events.into_iter().map(|event| Entry { at, event }).collect();
        let payloads: Vec<Vec<u8>> = entries.iter().map(encode).collect();
        let written = self.write(&payloads);
        self.writable = written.is_ok();
        written?;
        for entry in &entries {
            let record = Record { number: self.state.records + 1, entry, before: &self.state };
            self.subscribers.iter().for_each(|tell| tell(record));
            self.state.apply(entry);
        }
        Ok(())
    }

    fn write(&mut self, payloads: &[Vec<u8>]) -> Result<(), SegmentError> {
        if !self.segments.fits(payloads) {
            self.segments.switch(&encode(&self.state))?;
        }
        self.segments.append(payloads)
    }
}

fn replay(payloads: &[Vec<u8>]) -> Result<State, JournalError> {
    replay_each(payloads, &mut |_| ())
}

/// The first payload is the checkpoint, the others are entries.
fn replay_each(payloads: &[Vec<u8>], tell: &mut dyn FnMut(Record<'_>)) -> Result<State, JournalError> {
    let unreadable = |number| move |source| JournalError::Record { number, source };
    let mut payloads = payloads.iter().enumerate();
    let mut state: State = match payloads.next() {
        Some((number, checkpoint)) => serde_json::from_slice(checkpoint).map_err(unreadable(number))?,
        None => State::default(),
    };
    for (number, payload) in payloads {
        let entry: Entry = serde_json::from_slice(payload).map_err(unreadable(number))?;
        tell(Record { number: state.records + 1, entry: &entry, before: &state });
        state.apply(&entry);
    }
    Ok(state)
}

fn encode(value: &impl serde::Serialize) -> Vec<u8> {
    // Only maps with keys that are no text could fail, and there are none.
    serde_json::to_vec(value).unwrap_or_default()
}
