//! Bytes that are no YAML: where, and what a person can do about it.
//!
//! The parser's own words are about its state ("could not find expected ':' while scanning a simple key"); ours are
//! about the text.

use std::sync::LazyLock;

use regex::Regex;

use super::tree::Place;

/// The text of a file, or where it is none.
pub(super) fn text(bytes: Vec<u8>) -> Result<String, (Option<Place>, String)> {
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err((None, "is UTF-16, expected UTF-8: save it in that encoding".to_owned()));
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let (before, rest) = error.as_bytes().split_at(valid);
        let byte = rest.first().copied().unwrap_or_default();
        let message = format!(
            "the byte 0x{byte:02X} is not UTF-8 (in Latin-1 it is {:?}): save the file as UTF-8",
            char::from(byte)
        );
        (Some(end_of(&String::from_utf8_lossy(before))), message)
    })
}

/// The first character that YAML does not allow, also not in comments.
pub(super) fn forbidden(yaml: &str) -> Option<(Place, String)> {
    let is_forbidden = |c: char| {
        (c.is_control() && !matches!(c, '\t' | '\n' | '\r' | '\u{85}')) || matches!(c, '\u{fffe}' | '\u{ffff}')
    };
    let (at, c) = yaml.char_indices().find(|(_, c)| is_forbidden(*c))?;
    let name = if c == '\0' { "a NUL byte".to_owned() } else { format!("the control character {c:?}") };
    Some((end_of(&yaml[..at]), format!("{name} is not allowed in YAML: delete it")))
}

/// The place behind a text.
fn end_of(text: &str) -> Place {
    let line = text.matches('\n').count() + 1;
    let last = text.rsplit('\n').next().unwrap_or_default();
    (line, last.trim_start_matches('\u{feff}').chars().count() + 1)
}

/// What the parser found, in words about the text.
pub(super) fn explain(error: &serde_yaml::Error, yaml: &str) -> (Option<Place>, String) {
    static MARKS: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"^(?s:(?<problem>.*?))(?: at line (?<line>\d+) column (?<column>\d+))?(?:, (?<context>while .*?)(?: at line (?<from>\d+) column (?<start>\d+))?)?$")
            .expect("a pattern that a test compiles")
    });
    let said = error.to_string();
    let place = error.location().map(|at| (at.line(), at.column()));
    let Some(parts) = MARKS.captures(&said) else { return (place, said) };
    let part = |name| parts.name(name).map_or("", |part| part.as_str());
    let mark = |line, column| Some((part(line).parse().ok()?, part(column).parse().ok()?));
    let (problem, context) = (part("problem"), part("context"));
    let began: Option<Place> = mark("from", "start");
    let line_of = |place: Option<Place>| place.and_then(|(line, _)| yaml.lines().nth(line.checked_sub(1)?));
    if let Some(line) = toml(yaml) {
        let place = Some((line, 1));
        let message = "looks like TOML, expected YAML: `monitor:`, and below it, indented, `interval_seconds: 60`";
        return (place, message.to_owned());
    }
    if context.contains("quoted scalar") {
        return (began.or(place), "the quote that begins here is not closed".to_owned());
    }
    if context.contains("flow sequence") || context.contains("flow mapping") {
        let bracket = if context.contains("sequence") { "[" } else { "{" };
        let close = if bracket == "[" { "]" } else { "}" };
        let message = format!("the `{bracket}` that begins here is not closed: expected a comma or `{close}`");
        return (began.or(place), message);
    }
    if context.contains("simple key") {
        let line = line_of(began).unwrap_or_default();
        let message = match line.contains('：') {
            true => "this line has a full-width colon (：): write `: `, a colon and a space",
            false => "this line is not `key: value`: a colon and a space are missing",
        };
        return (began.or(place), message.to_owned());
    }
    let has_tab = line_of(place).is_some_and(|line| line.trim_start_matches(' ').starts_with('\t'));
    let message = match problem {
        _ if has_tab => "a tab cannot indent YAML: use spaces",
        "found character that cannot start any token" => "text that begins with this character needs quotes",
        "mapping values are not allowed in this context" => {
            "a `: ` is not allowed here: the indentation differs from the lines before, or the text needs quotes"
        }
        problem if problem.starts_with("did not find expected key") => {
            "is neither a key of the mapping above nor its end: the indentation is wrong, or a quote is too many"
        }
        problem if problem.contains("expected '-' indicator") => {
            "is neither an item (`- `) of the list above nor its end: the indentation is wrong"
        }
        "unknown anchor" => "this alias (`*name`) has no anchor (`&name`) before it",
        problem if problem.contains("more than one document") => {
            let is_text = |line: &str| !line.trim().is_empty() && !line.trim_start().starts_with('#');
            let mut lines = yaml.lines().enumerate().skip_while(|(_, line)| !is_text(line)).skip(1);
            let second = lines.find(|(_, line)| line.starts_with("---")).map(|(index, _)| (index + 1, 1));
            return (second.or(place), "a second document begins here, expected one".to_owned());
        }
        "recursion limit exceeded" => "is nested too deeply",
        "repetition limit exceeded" => "its aliases repeat too much",
        problem if problem.contains("expected a key that is a word") => "a key must be a word",
        problem => {
            return (place, format!("is not YAML: {problem}{}{context}", if context.is_empty() { "" } else { ", " }));
        }
    };
    (place, message.to_owned())
}

/// The first line of `[monitor]` and `interval_seconds = 60`.
fn toml(yaml: &str) -> Option<usize> {
    let is_assignment = |line: &str| {
        line.split_once(" = ").is_some_and(|(key, _)| key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'))
    };
    let is_table = |line: &str| line.trim_start().starts_with('[') && line.trim_end().ends_with(']');
    let first = yaml.lines().position(|line| is_table(line) || is_assignment(line))?;
    (yaml.lines().any(is_assignment) && yaml.lines().any(is_table)).then_some(first + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_of_bytes() {
        assert_eq!(text(b"a: 1\n# caf\xe9".to_vec()).expect_err("Latin-1").0, Some((2, 6)));
        assert_eq!(text(b"\xff\xfea\0".to_vec()).expect_err("UTF-16").0, None);
        assert_eq!(forbidden("a: 1\nb: \u{1}").map(|(place, _)| place), Some((2, 4)));
        assert_eq!(forbidden("a: \"\t\u{85}\"\r\n"), None);
    }
}
