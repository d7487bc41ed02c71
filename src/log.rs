//! The log on standard error, and how much of it one kind of line may be.
//!
//! Strangers decide how many requests are refused, and a disk that hangs how many fail: each would be a line, and the
//! lines that matter would be rotated away. So each kind of line, which is a place in the program and, for a refusal,
//! its code, has a limit of its own; what is beyond it is counted, and said once a minute. Lines of an operation are
//! never left out: the guards bound how many operations there are.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Filter};

use crate::rate::{Rate, RateLimit};

/// A line for each of a group of alerts; then six a minute, which no log rotation minds: of the dozen kinds that
/// strangers can cause a hundred thousand lines a day.
pub const LINES: RateLimit = RateLimit { burst: 20, each: Duration::from_secs(10) };

/// How often it is said what was left out.
const SUMMARY: Duration = Duration::from_secs(60);

/// More kinds than there are places in the program with the codes of all refusals. Beyond that a place is one kind.
const MOST_KINDS: usize = 1000;

/// Of the first line that was left out so much is repeated.
const SHOWN: usize = 200;

/// Lines that were left out since the start.
static LEFT_OUT: AtomicU64 = AtomicU64::new(0);

static KINDS: Mutex<BTreeMap<Key, Kind>> = Mutex::new(BTreeMap::new());

/// File, line and code.
type Key = (&'static str, u32, String);

struct Kind {
    rate: Rate,
    level: Level,
    /// The first line that was left out since the last summary.
    like: String,
}

/// Lets so many lines of each kind through.
pub struct Limited;

impl<S: Subscriber> Filter<S> for Limited {
    fn enabled(&self, _: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        true
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        lets_through(event)
    }
}

/// Has the summaries written, as long as the process lives.
pub fn summarise_by_and_by() {
    std::thread::spawn(|| {
        loop {
            std::thread::sleep(SUMMARY);
            summarise();
        }
    });
}

/// Says now what was left out since the last time.
pub fn summarise() {
    let now = Instant::now();
    let mut found = Vec::new();
    kinds().retain(|(_, _, code), kind| {
        match kind.rate.settle() {
            0 => {}
            more => found.push((more, code.clone(), kind.level, std::mem::take(&mut kind.like))),
        }
        !kind.rate.is_unused(now)
    });
    for (more, code, level, like) in found {
        let code = (!code.is_empty()).then_some(code);
        // As severe as what it stands for.
        match level {
            Level::ERROR => tracing::error!(more, code, like, "more like this"),
            Level::WARN => tracing::warn!(more, code, like, "more like this"),
            _ => tracing::info!(more, code, like, "more like this"),
        }
    }
}

/// How many lines were left out since the start.
pub fn left_out() -> u64 {
    LEFT_OUT.load(Ordering::Relaxed)
}

fn lets_through(event: &Event<'_>) -> bool {
    let of = event.metadata();
    // Lines below `info` are only there if an operator asked for them, so they have no bound.
    let is_unlimited = *of.level() > Level::INFO || of.fields().field("operation").is_some();
    if is_unlimited || of.module_path() == Some(module_path!()) {
        return true;
    }
    let mut read = Read::default();
    if of.fields().field("code").is_some() {
        event.record(&mut read);
    }
    let now = Instant::now();
    let mut kinds = kinds();
    let mut key = (of.file().unwrap_or(of.target()), of.line().unwrap_or(0), read.code);
    if kinds.len() >= MOST_KINDS && !kinds.contains_key(&key) {
        key.2 = String::new();
    }
    let new = || Kind { rate: Rate::new(LINES, now), level: *of.level(), like: String::new() };
    let kind = kinds.entry(key).or_insert_with(new);
    if kind.rate.take(now) {
        return true;
    }
    if kind.like.is_empty() {
        let mut read = Read::default();
        event.record(&mut read);
        kind.like = crate::plain(&read.message).chars().take(SHOWN).collect();
    }
    LEFT_OUT.fetch_add(1, Ordering::Relaxed);
    false
}

fn kinds() -> MutexGuard<'static, BTreeMap<Key, Kind>> {
    crate::locked(&KINDS)
}

/// Of a line what makes its kind, and its text.
#[derive(Default)]
struct Read {
    code: String,
    message: String,
}

impl Visit for Read {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "code" => self.code = format!("{value:?}"),
            "message" => self.message = format!("{value:?}"),
            _ => {}
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "code" {
            value.clone_into(&mut self.code);
        }
    }
}
