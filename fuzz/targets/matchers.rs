//! Matchers as they stand in the config: what is shown of one means what it means, and says the opposite of its
//! opposite. The first line is the matcher, the second a label's value.

use std::collections::BTreeMap;

use lvm_autoscaler::config::{self, Matcher};

pub fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (text, value) = text.split_once('\n').unwrap_or((&text, ""));
    let Some(matchers) = parse(text) else { return };
    assert!(!matchers.is_empty(), "{text:?} means nothing");
    for matcher in matchers {
        let shown = matcher.as_str();
        let again = parse(shown).unwrap_or_default();
        assert!(again.len() == 1 && again[0].as_str() == shown, "{shown:?} cannot be read again");
        let (label, operator, opposite) = parts(shown);
        let opposite = format!("{label}{opposite}");
        let opposite = parse(&opposite).expect("the opposite of a matcher");
        for labels in [BTreeMap::new(), BTreeMap::from([(name(label), value.to_owned())])] {
            assert_eq!(matcher.matches(&labels), again[0].matches(&labels), "{shown:?}");
            assert_ne!(matcher.matches(&labels), opposite[0].matches(&labels), "{shown:?} {operator}");
        }
    }
}

fn parse(text: &str) -> Option<Vec<Matcher>> {
    // JSON's strings are YAML's.
    let yaml = format!("webhook: {{ match: [{}] }}", serde_json::Value::from(text));
    match config::parse(&yaml, "c.yaml".as_ref()) {
        Ok(config) => Some(config.webhook.matchers),
        Err(error) => {
            super::assert_plain(&error.to_string());
            None
        }
    }
}

/// Label, operator, and what stands behind the label in the opposite.
fn parts(shown: &str) -> (&str, &str, String) {
    let end = match shown.strip_prefix('"') {
        Some(rest) => {
            let mut escaped = false;
            let close = rest.find(|c| {
                let closes = c == '"' && !escaped;
                escaped = c == '\\' && !escaped;
                closes
            });
            close.expect("a closed quote") + 2
        }
        None => shown.find(['=', '!']).expect("an operator"),
    };
    let (label, rest) = shown.split_at(end);
    for (operator, opposite) in [("=~", "!~"), ("!~", "=~"), ("!=", "="), ("=", "!=")] {
        if let Some(value) = rest.strip_prefix(operator) {
            return (label, operator, format!("{opposite}{value}"));
        }
    }
    panic!("{shown:?} has no operator");
}

/// A label without its quotes and escapes.
fn name(label: &str) -> String {
    let Some(quoted) = label.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else { return label.to_owned() };
    let (mut name, mut chars) = (String::new(), quoted.chars());
    while let Some(c) = chars.next() {
        name.push(match c {
            '\\' => match chars.next() {
                Some('n') => '\n',
                Some('t') => '\t',
                Some('r') => '\r',
                Some(c) => c,
                None => panic!("{label:?} ends with a backslash"),
            },
            c => c,
        });
    }
    name
}
