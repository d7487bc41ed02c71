//! Colour, only where a person sees it: standard output is a terminal and `NO_COLOR` is not set.

use std::io::IsTerminal;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_is_no_terminal_and_sees_no_colour() {
        assert_eq!(paint("grown", Mood::Good), "grown");
        assert_eq!(painted("grown", Mood::Good), "\x1b[32mgrown\x1b[0m");
    }
}
