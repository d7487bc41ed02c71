//! Prometheus exporter for LVM that grows file systems when Alertmanager says so, guarded.
//!
//! # The story in six words
//!
//! | word | question | module |
//! |---|---|---|
//! | Inventory | what is true on this host? | [`inventory`] |
//! | Config | what is wanted? | [`config`] |
//! | Alert | what was asked? | [`alert`] |
//! | Plan | what do we decide? | [`plan`] |
//! | Engine | doing it | [`engine`] on [`host`] |
//! | Journal | what was done | [`journal`] |
//!
//! # The two paths of data
//!
//! A scrape: [`http`] takes the current [`inventory::Inventory`], which is refreshed in the background, reads the usage
//! of the mounts and lets [`metrics`] write it out. It never waits for LVM.
//!
//! An alert: [`http`] checks and bounds the request, [`alert`] says which target it names, [`engine::Handle::submit`] has
//! the [`journal`] write it down before the answer is sent. A worker takes a fresh look, [`plan::plan`] decides, and the
//! engine carries the plan out step by step; after a crash the same code goes on where it stopped.
//!
//! # What keeps data safe
//!
//! Steps carry absolute goals and growth is the only direction. Whether a step succeeded is seen on the host. A command
//! that changes something is never killed. No shell. One operation per volume group at a time. Only configured targets
//! grow. What is not known is not safe: a guard that lacks a value refuses.

pub mod alert;
pub mod app;
pub mod audit;
pub mod cli;
pub mod config;
pub mod engine;
pub mod host;
pub mod http;
pub mod inventory;
pub mod journal;
pub mod metrics;
pub mod name;
pub mod notify;
pub mod plan;
pub mod relay;
pub mod report;
pub mod units;

/// Text that may quote strangers, on one line: a terminal or a log that shows it is told nothing by control characters.
pub(crate) fn plain(text: &str) -> String {
    let escaped = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    text.chars().map(escaped).collect()
}

/// An error with what caused it, `a: b: c`.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
