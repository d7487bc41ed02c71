//! Between the two processes of a daemon: the engine, which is root and has no network, and the web side, which has the
//! network and no rights.
//!
//! The web side asks, the engine answers, over a Unix socket. What goes down names targets, and what came of alerts; no
//! command, path or size ever does, so that who takes over the web side can do no more than that. What goes up is what
//! the web side shows: the last look, the journal's state, counters; and the files that it needs and may not open.

mod engine;
mod frame;
mod link;
mod turns;
mod within;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use engine::{Engine, Parts, bind, unbind};
pub use link::{Configured, Files, Link, LinkError, RecordsOverLink};

use crate::config::Text;
use crate::engine::{Accepted, Stands, Trouble};
use crate::files::FileMark;
use crate::inventory::{Inventory, Usage};
use crate::journal::{Entry, Source, State};
use crate::name::{LvRef, MountPoint};
use crate::plan::{Code, Moment, Refusal};
use crate::report;

/// How long a question for news waits for some.
const WAIT: Duration = Duration::from_secs(10);

/// What the web side may say: all of it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
enum Ask {
    /// What is new since what the web side knows.
    See(Known),
    /// The same at once, with what is counted on the engine's side and, if that is wanted, the usage of the file
    /// systems of the last look, now: what a page of metrics needs.
    Scrape { known: Known, usage: bool },
    /// Alerts that were judged; see [`crate::engine::Delivery`].
    Receive { requests: Vec<Submitted>, refusals: Vec<Refused>, refused: BTreeMap<Code, u64>, digest: Option<[u8; 32]> },
    /// Why something was not written within so many seconds.
    NotWritten { seconds: u64 },
    /// The records after that number, for who tells people of them.
    Records { after: u64, wait: bool },
    /// People were told of all records up to that number.
    Told { number: u64 },
    /// How far people were told.
    Progress,
    /// A file of the list, by its place in it.
    File { list: u32, place: usize },
    /// What such a file is like.
    Mark { list: u32, place: usize },
    /// The files that the web side may ask for.
    Files,
    /// A report.
    Report(report::ReportRequest),
    /// Whether the web side accepts a config that is proposed.
    Vote { proposal: u64, objection: Option<String> },
}

/// An alert that names a target.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Submitted {
    lv: LvRef,
    source: Source,
    fingerprint: String,
}

/// An alert that names none.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Refused {
    source: Source,
    refusal: Refusal,
}

/// What the web side knows already, by number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Known {
    /// Which process's numbers these are; another one's say nothing.
    engine: u64,
    /// Of the last look or record.
    news: u64,
    content: u64,
    records: u64,
    config: u64,
    proposal: u64,
    /// Wait for something new.
    wait: bool,
}

/// What the engine may answer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    Seen(Box<Seen>),
    Scraped(Box<Scraped>),
    Received(Result<Vec<Accepted>, String>),
    NotWritten(String),
    Records(Box<Told>),
    Progress(Option<u64>),
    File(Result<String, String>),
    Mark(Option<FileMark>),
    Files { list: u32, files: Vec<PathBuf> },
    Report(Result<String, String>),
    Done,
}

/// How things stand, without what the web side knows.
#[derive(Debug, Serialize, Deserialize)]
struct Seen {
    known: Known,
    now: Moment,
    /// The names of this host; `None`: they were not asked for, see [`Ask::Scrape`].
    names: Option<Vec<String>>,
    is_simulated: bool,
    look: Option<Looked>,
    /// `None`: nothing may grow.
    growing: Option<Growing>,
    config: Option<Vec<Text>>,
    proposal: Option<Vec<Text>>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Scraped {
    seen: Seen,
    counters: String,
    used: Vec<Used>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Looked {
    /// `None`: it found what the one before found.
    inventory: Option<Inventory>,
    taken_at: jiff::Timestamp,
    taken: bool,
    succeeded: bool,
    took: Duration,
    /// How long ago it was taken.
    age: Option<Duration>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Growing {
    state: Option<State>,
    standing: BTreeMap<LvRef, Stands>,
    trouble: Option<Trouble>,
    waiting: usize,
    dry_run: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Used {
    mount_point: MountPoint,
    device: crate::inventory::DeviceNumber,
    usage: Option<Usage>,
    errors: Option<u64>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Told {
    /// The state before the first of the entries, where that is not what the one asked after left.
    before: Option<State>,
    entries: Vec<Entry>,
    /// The number of the last record there is.
    last: u64,
}
