//! Colour, only where a person sees it: standard output is a terminal and `NO_COLOR` is not set.

use std::io::{IsTerminal, Write};

use clap::ValueEnum;
use serde::Serialize;

/// What is printed on standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    Text,
    Json,
}

/// What a word is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mood {
    /// As it should be.
    Good,
    /// Nothing was done.
    Held,
    /// Somebody must look.
    Bad,
}

/// The word, in colour where that is seen.
pub(super) fn paint(word: &str, mood: Mood) -> String {
    let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    match wanted && std::io::stdout().is_terminal() {
        true => painted(word, mood),
        false => word.to_owned(),
    }
}

fn painted(word: &str, mood: Mood) -> String {
    let colour = match mood {
        Mood::Good => 32,
        Mood::Held => 33,
        Mood::Bad => 31,
    };
    format!("\x1b[{colour}m{word}\x1b[0m")
}

/// How an operation or a refusal of that result is to be taken.
pub(super) fn mood(result: &str) -> Mood {
    match result {
        "grown" | "resumed" | "reset" | "cleared" => Mood::Good,
        "failed" | "needs_attention" | "error" | "interrupted" => Mood::Bad,
        _ => Mood::Held,
    }
}

/// For programs, and for whoever looks at it on a terminal.
pub(super) fn print_json(out: &mut impl Write, value: &impl Serialize) -> anyhow::Result<()> {
    writeln!(out, "{}", crate::visible_json(serde_json::to_string_pretty(value)?))?;
    Ok(())
}

/// What is written to the log, on one line. What others say is escaped by the formats already, each in its own way;
/// what is obeyed and not seen they let through.
pub(super) struct Visible {
    /// JSON has escapes of its own.
    pub(super) json: bool,
}

impl Write for Visible {
    /// All of a line comes at once.
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        let shown = if self.json { crate::visible_json(text.into_owned()) } else { crate::plain_lines(&text) };
        std::io::stderr().lock().write_all(shown.as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        std::io::stderr().flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_is_no_terminal_and_sees_no_colour() {
        assert_eq!(paint("grown", Mood::Good), "grown");
        assert_eq!(painted("grown", Mood::Good), "\x1b[32mgrown\x1b[0m");
    }
}
