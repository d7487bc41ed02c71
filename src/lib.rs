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
//! A scrape: [`routes`] takes the current [`inventory::Inventory`], which is refreshed in the background, reads the
//! usage of the mounts and lets [`metrics`] write it out. It never waits for LVM.
//!
//! An alert: [`server`] bounds and checks the request, [`alert`] says which target it names,
//! [`engine::Handle::submit`] has the [`journal`] write it down before the answer is sent. A worker takes a fresh look,
//! [`plan::plan`] decides, and the engine carries the plan out step by step; after a crash the same code goes on where
//! it stopped.
//!
//! # What keeps data safe
//!
//! Steps carry absolute goals and growth is the only direction. Whether a step succeeded is seen on the host. A command
//! that changes something is never killed. No shell. One operation per volume group at a time. Only configured targets
//! grow. What is not known is not safe: a guard that lacks a value refuses.

use std::sync::{Mutex, MutexGuard, PoisonError};

pub mod alert;
pub mod app;
pub mod audit;
pub mod cli;
pub mod client;
pub mod command;
pub mod config;
pub mod confine;
pub mod control;
pub mod duration;
pub mod engine;
pub mod files;
pub mod filesystem;
pub mod host;
pub mod inventory;
pub mod journal;
pub mod log;
pub mod metrics;
pub mod name;
pub mod notify;
pub mod plan;
pub mod rate;
pub mod relay;
pub mod report;
pub mod routes;
pub mod server;
pub mod units;
pub mod wire;

/// Text that may quote strangers, as it is shown: one line, in which nothing is hidden. What a terminal, a log or a
/// browser would obey and not show stands there as its escape, `\n`, `\u{202e}`. Nothing else in this program decides
/// that.
pub(crate) fn plain(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    text.chars().for_each(|c| if hides(c) { shown.extend(c.escape_default()) } else { shown.push(c) });
    shown
}

/// The same for text of several lines.
pub fn plain_lines(text: &str) -> String {
    text.split('\n').map(plain).collect::<Vec<_>>().join("\n")
}

/// The same for JSON that was written already, which means the same afterwards: only texts in it can hold such a
/// character.
pub(crate) fn visible_json(json: String) -> String {
    // Line ends are the writer's own, for they are escaped in texts.
    let hides = |c: char| hides(c) && c != '\n';
    if !json.contains(hides) {
        return json;
    }
    let mut shown = String::with_capacity(json.len() + 64);
    for c in json.chars() {
        match hides(c) {
            true => c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| shown.push_str(&format!("\\u{unit:04x}"))),
            false => shown.push(c),
        }
    }
    shown
}

/// JSON on one line, as it is shown.
pub(crate) fn json(value: &impl serde::Serialize) -> String {
    visible_json(serde_json::to_string(value).unwrap_or_default())
}

/// Whether a character is obeyed and not seen: control characters, ends of lines and paragraphs, signs without width,
/// and those that turn the direction of the text behind them round.
pub(crate) fn hides(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
        // Tags: letters that nobody sees.
        || matches!(c, '\u{e0000}'..='\u{e007f}')
}

/// What a mutex guards, also after a thread panicked that held it: whatever is guarded here is whole between two
/// statements, and a daemon that has to go on must not fall over what another thread fell over.
pub(crate) fn locked<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Escape sequences, ends of lines that are none in a log, letters turned round, and letters that nobody sees.
    #[test]
    fn what_is_obeyed_and_not_seen_is_shown() {
        for (text, shown) in [
            ("/srv/data äß 中 🙂", "/srv/data äß 中 🙂"),
            ("a\u{1b}[31mb\n\t\u{9b}1m", "a\\u{1b}[31mb\\n\\t\\u{9b}1m"),
            ("a\u{202e}b\u{2066}\u{2028}\u{2029}", "a\\u{202e}b\\u{2066}\\u{2028}\\u{2029}"),
            ("\u{200b}\u{feff}\u{61c}\u{e0041}", "\\u{200b}\\u{feff}\\u{61c}\\u{e0041}"),
        ] {
            assert_eq!(plain(text), shown);
            let written = serde_json::to_string_pretty(&[text]).expect("JSON");
            let visible = visible_json(written.clone());
            assert!(!visible.contains(|c| hides(c) && c != '\n'), "{visible}");
            assert_eq!(serde_json::from_str::<Vec<String>>(&visible).expect("JSON"), [text]);
            assert_eq!(json(&[text]).lines().count(), 1);
        }
        assert_eq!(plain_lines("a\r\nb\n"), "a\\r\nb\n");
    }
}
