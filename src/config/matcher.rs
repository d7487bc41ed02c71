//! Matchers as Alertmanager writes them: `severity=~"warning|critical"`, also several with commas between, in braces or
//! not.
//!
//! Both of Alertmanager's parsers are followed where they agree, and the newer one where they differ: names may be
//! quoted and then hold any text. Regular expressions are anchored; a label that is missing is the empty text.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::str::Chars;

use regex::Regex;
use serde::{Serialize, Serializer};

/// How a label and a value are compared.
#[derive(Debug, Clone)]
enum Comparison {
    Equal(String),
    NotEqual(String),
    Matches(Regex),
    DoesNotMatch(Regex),
}

/// One matcher.
#[derive(Debug, Clone)]
pub struct Matcher {
    text: String,
    label: String,
    comparison: Comparison,
}

impl Matcher {
    /// Whether these labels match.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        let value = labels.get(&self.label).map_or("", String::as_str);
        match &self.comparison {
            Comparison::Equal(wanted) => value == wanted,
            Comparison::NotEqual(unwanted) => value != unwanted,
            Comparison::Matches(regex) => regex.is_match(value),
            Comparison::DoesNotMatch(regex) => !regex.is_match(value),
        }
    }

    /// As it stands in the config.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Matcher) -> bool {
        self.text == other.text
    }
}

impl Serialize for Matcher {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

/// Reads one item of `matchers`; what is wrong with it, if it is none.
pub(super) fn parse(text: &str) -> Result<Vec<Matcher>, String> {
    let bare = text.trim();
    let inside = match (bare.strip_prefix('{'), bare.ends_with('}')) {
        (Some(rest), true) => rest.trim_end_matches('}'),
        (None, false) => bare,
        _ => return Err(format!("{text:?} has only one of the two braces")),
    };
    let mut reader = Reader { rest: inside.chars().peekable(), of: text };
    let mut matchers = Vec::new();
    loop {
        reader.blanks();
        // A comma may stand behind the last one.
        if reader.rest.peek().is_none() && !matchers.is_empty() {
            return Ok(matchers);
        }
        matchers.push(reader.matcher()?);
        reader.blanks();
        match reader.rest.next() {
            None => return Ok(matchers),
            Some(',') => {}
            Some(other) => return Err(format!("{text:?}: expected a comma or the end, found {other:?}")),
        }
    }
}

struct Reader<'a> {
    rest: Peekable<Chars<'a>>,
    of: &'a str,
}

impl Reader<'_> {
    fn blanks(&mut self) {
        while self.rest.next_if(|c| c.is_whitespace()).is_some() {}
    }

    fn matcher(&mut self) -> Result<Matcher, String> {
        let of = self.of;
        let label = self.word()?.ok_or_else(|| format!("{of:?}: expected a label, as in severity=\"critical\""))?;
        if label.is_empty() {
            return Err(format!("{of:?}: the name of a label is empty"));
        }
        self.blanks();
        let operator = match (self.rest.next(), self.rest.peek()) {
            (Some('='), Some('~')) => "=~",
            (Some('!'), Some('~')) => "!~",
            (Some('!'), Some('=')) => "!=",
            (Some('='), _) => "=",
            _ => return Err(format!("{of:?}: expected =, !=, =~ or !~ behind the label {label:?}")),
        };
        if operator.len() == 2 {
            self.rest.next();
        }
        self.blanks();
        let value = self.word()?.ok_or_else(|| format!("{of:?}: expected a value, in quotes, behind {operator}"))?;
        let text = format!("{}{operator}{}", shown_label(&label), quoted(&value));
        let regex = || {
            // What a person means by `a|b` is one of the two, whole.
            Regex::new(&format!("^(?:{value})$")).map_err(|error| {
                let why = error.to_string();
                let last = why.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
                format!("{of:?}: {value:?} is not a regular expression: {last}")
            })
        };
        let comparison = match operator {
            "=~" => Comparison::Matches(regex()?),
            "!~" => Comparison::DoesNotMatch(regex()?),
            "!=" => Comparison::NotEqual(value),
            _ => Comparison::Equal(value),
        };
        Ok(Matcher { text, label, comparison })
    }

    /// A name or value, quoted or not; `None` where there is neither.
    fn word(&mut self) -> Result<Option<String>, String> {
        if self.rest.next_if_eq(&'"').is_some() {
            return self.quoted().map(Some);
        }
        let mut word = String::new();
        while let Some(c) = self.rest.next_if(|c| is_plain(*c)) {
            word.push(c);
        }
        Ok((!word.is_empty()).then_some(word))
    }

    fn quoted(&mut self) -> Result<String, String> {
        let of = self.of;
        let mut word = String::new();
        loop {
            match self.rest.next() {
                None => return Err(format!("{of:?}: a quote is not closed")),
                Some('"') => return Ok(word),
                Some('\\') => match self.rest.next() {
                    Some(c @ ('\\' | '"')) => word.push(c),
                    Some('n') => word.push('\n'),
                    Some('t') => word.push('\t'),
                    Some('r') => word.push('\r'),
                    other => {
                        let shown = other.map_or_else(|| "the end".to_owned(), |c| format!("\\{c}"));
                        return Err(format!(
                            "{of:?}: {shown} is no escape: use \\\\ for a backslash, \\\" for a quote"
                        ));
                    }
                },
                Some(c) => word.push(c),
            }
        }
    }
}

/// Whether it may stand in a word without quotes.
fn is_plain(c: char) -> bool {
    !c.is_whitespace() && !"{}!=~,\\\"'`".contains(c)
}

fn shown_label(label: &str) -> String {
    if label.chars().all(|c| is_plain(c) && !c.is_control()) { label.to_owned() } else { quoted(label) }
}

/// With the escapes that are read here, and no others.
fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            '\r' => quoted.push_str("\\r"),
            '"' | '\\' => quoted.extend(['\\', c]),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all_match(text: &str, labels: &[(&str, &str)]) -> bool {
        let labels = labels.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        parse(text).expect(text).iter().all(|matcher| matcher.matches(&labels))
    }

    #[test]
    fn as_alertmanager_matches() {
        let labels = &[("severity", "warning"), ("team", "db"), ("été", "a\"b"), ("path", "C:\\x")];
        for (text, expected) in [
            ("severity=\"warning\"", true),
            ("severity = warning", true),
            ("severity!=warning", false),
            ("severity=~\"warn|crit\"", false),
            ("severity=~\"warn.*|critical\"", true),
            ("severity!~\"warn\"", true),
            ("{severity=\"warning\",team=~\"db|web\"}", true),
            ("severity=\"warning\", team=\"web\"", false),
            ("severity=\"warning\",", true),
            // A label that is missing is empty.
            ("other=\"\"", true),
            ("other=~\".+\"", false),
            ("other!=\"x\"", true),
            ("\"été\"=\"a\\\"b\"", true),
            ("été=~\"a.b\"", true),
            ("path=\"C:\\\\x\"", true),
            ("path=~\"C:\\\\\\\\.\"", true),
        ] {
            assert_eq!(all_match(text, labels), expected, "{text}");
        }
        // Not even a newline at the end is let through by `$`.
        assert!(!all_match("a=\"b\"", &[("a", "b\n")]) && !all_match("a=~\"b\"", &[("a", "b\n")]));
    }

    #[test]
    fn what_is_shown_of_a_matcher_means_the_same() {
        for (text, shown) in [
            ("a = b", "a=\"b\""),
            ("\"a b\"!=\"\\t\\\"\\\\\"", "\"a b\"!=\"\\t\\\"\\\\\""),
            ("\"a=\"=~\"x\u{7f}\u{200b}'\"", "\"a=\"=~\"x\u{7f}\u{200b}'\""),
        ] {
            let matchers = parse(text).expect(text);
            assert_eq!(matchers[0].as_str(), shown);
            assert_eq!(parse(shown).expect(shown), matchers);
        }
    }

    #[test]
    fn what_is_no_matcher_says_why() {
        for (text, why) in [
            ("", "expected a label"),
            ("{}", "expected a label"),
            ("severity", "expected =, !=, =~ or !~"),
            ("severity==\"x\"", "expected a value"),
            ("=\"x\"", "expected a label"),
            ("severity=", "expected a value"),
            ("severity=\"x", "not closed"),
            ("severity=\"x\" team=\"y\"", "expected a comma"),
            ("{severity=\"x\"", "only one of the two braces"),
            ("severity=~\"(\"", "not a regular expression: unclosed group"),
            ("severity='x'", "expected a value"),
            ("a=\"\\d\"", "\\d is no escape"),
            ("\"\"=\"x\"", "is empty"),
            ("a=b}", "only one of the two braces"),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
