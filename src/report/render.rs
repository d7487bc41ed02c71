//! A report as HTML, Markdown or JSON. Names come from whoever could make a volume or a mount, so every value that a
//! template shows is escaped for its form, unless it is a number that was formatted here.

use std::fmt::Write as _;

use jiff::Timestamp;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, Value, ValueKind};
use minijinja::{AutoEscape, Environment, Error, Output, State, UndefinedBehavior};

use super::Report;
use crate::config::ReportFormat;
use crate::units::{Bytes, Percent};

/// What the HTML looks like; `routes` allows exactly this style and nothing else.
pub const STYLE: &str = include_str!("style.css");

const HTML: &str = include_str!("report.html");
const MARKDOWN: &str = include_str!("report.md");

/// A report could not be written in some form; a test shows all of it, so this is a bug.
#[derive(Debug, thiserror::Error)]
#[error("the report cannot be shown as {format}")]
pub struct RenderError {
    format: ReportFormat,
    #[source]
    source: Box<dyn std::error::Error + Send + Sync>,
}

/// The report in that form.
pub fn render(report: &Report, format: ReportFormat) -> Result<String, RenderError> {
    let result = match format {
        ReportFormat::Json => {
            serde_json::to_string_pretty(report).map(|text| crate::visible_json(text + "\n")).map_err(Into::into)
        }
        ReportFormat::Html => fill("report.html", HTML, report).map_err(Into::into),
        ReportFormat::Markdown => fill("report.md", MARKDOWN, report).map_err(Into::into),
    };
    result.map_err(|source| RenderError { format, source })
}

fn fill(name: &'static str, template: &'static str, report: &Report) -> Result<String, Error> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment
        .set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).keep_trailing_newline(true).build()?);
    environment.set_auto_escape_callback(|name| match name {
        "report.html" => AutoEscape::Html,
        _ => AutoEscape::Custom("markdown".into()),
    });
    environment.set_formatter(escaped);
    environment.add_filter("size", size);
    environment.add_filter("change", change);
    environment.add_filter("percent", percent);
    environment.add_filter("when", when);
    environment.add_filter("days", days);
    environment.add_filter("fence", fence);
    environment.add_filter("spark", spark);
    environment.add_global("style", Value::from_safe_string(STYLE.to_owned()));
    environment.add_template(name, template)?;
    environment.get_template(name)?.render(Serde(report))
}

/// The formatter of minijinja through which every value goes that is shown to people, here and on the status page.
pub fn escaped(out: &mut Output<'_>, state: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    if value.is_safe() || value.kind() != ValueKind::String {
        return match state.auto_escape() {
            AutoEscape::Custom(_) => write!(out, "{value}").map_err(Error::from),
            _ => minijinja::escape_formatter(out, state, value),
        };
    }
    let text = crate::plain(value.as_str().unwrap_or_default());
    match state.auto_escape() {
        AutoEscape::Custom(_) => out.write_str(&markdown(&text)).map_err(Error::from),
        _ => minijinja::escape_formatter(out, state, &Value::from(text)),
    }
}

/// CommonMark lets a backslash stand before any ASCII punctuation. Only what could mean something is escaped, so that
/// the text stays readable as it is: an underscore within a word means nothing, and `:` and `.` only in addresses.
fn markdown(text: &str) -> String {
    let word = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    let mut escaped = String::with_capacity(text.len());
    let mut before = None;
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        let after = rest.peek().copied();
        let means = match c {
            '\\' | '`' | '*' | '<' | '>' | '[' | ']' | '|' | '~' | '&' | '!' | '#' | '@' | '$' => true,
            '_' => !(word(before) && word(after)),
            '+' | '-' | '=' => before.is_none(),
            ':' => after == Some('/'),
            '.' => before == Some('w'),
            _ => false,
        };
        if means {
            escaped.push('\\');
        }
        escaped.push(c);
        before = Some(c);
    }
    escaped
}

/// Formatted here of nothing but numbers.
fn plain(text: impl Into<String>) -> Value {
    Value::from_safe_string(text.into())
}

const NOTHING: &str = "–";

fn size(value: Value) -> Value {
    plain(u64::try_from(value).map_or(NOTHING.to_owned(), |bytes| Bytes(bytes).to_string()))
}

fn change(value: Value) -> Value {
    plain(match i64::try_from(value) {
        Err(_) => NOTHING.to_owned(),
        Ok(0) => "0".to_owned(),
        Ok(change) => format!("{}{}", if change < 0 { "−" } else { "+" }, Bytes(change.unsigned_abs())),
    })
}

fn percent(value: Value) -> Value {
    let percent = f64::try_from(value).ok().and_then(Percent::new);
    plain(percent.map_or(NOTHING.to_owned(), |percent| percent.to_string()))
}

fn when(value: Value) -> Value {
    let at = value.as_str().and_then(|text| text.parse::<Timestamp>().ok());
    plain(at.map_or(NOTHING.to_owned(), |at| at.strftime("%Y-%m-%d %H:%M").to_string()))
}

/// Of seconds: how long the period is.
fn days(value: Value) -> Value {
    let hours = u64::try_from(value).unwrap_or(0) / 3600;
    plain(match hours {
        0 => "less than an hour".to_owned(),
        1 => "1 hour".to_owned(),
        2..48 => format!("{hours} hours"),
        _ => format!("{} days", hours / 24),
    })
}

/// Commands as an indented code block, in which nothing means anything; a newline in one would end it.
fn fence(value: Value) -> Result<Value, Error> {
    let mut block = String::new();
    for command in value.try_iter()? {
        let _ = writeln!(block, "      {}", crate::plain(command.as_str().unwrap_or_default()));
    }
    Ok(plain(block.trim_end()))
}

/// What was used over time below what there was, as a picture of 100 by 24.
fn spark(value: Value) -> Result<Value, Error> {
    let mut points: Vec<(f64, f64, f64)> = Vec::new();
    for point in value.try_iter()? {
        let at = point.get_attr("at")?.as_str().and_then(|text| text.parse::<Timestamp>().ok());
        let used = f64::try_from(point.get_attr("used")?)?;
        let size = f64::try_from(point.get_attr("size")?)?;
        points.extend(at.map(|at| (at.as_second() as f64, used, size)));
    }
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (Some(first), Some(last)) = (points.first().map(|p| p.0), points.last().map(|p| p.0)) else {
        return Ok(plain(""));
    };
    let most = points.iter().map(|p| p.2).fold(1.0, f64::max);
    if points.len() < 3 || last <= first {
        return Ok(plain(""));
    }
    let x = |at: f64| (at - first) / (last - first) * 100.0;
    let y = |bytes: f64| 23.0 - bytes / most * 22.0;
    let (mut used, mut size) = (String::from("M0 24"), String::new());
    for (index, point) in points.iter().enumerate() {
        let _ = write!(used, "L{:.1} {:.1}", x(point.0), y(point.1));
        let step =
            if index == 0 { format!("M0 {:.1}", y(point.2)) } else { format!("H{:.1}V{:.1}", x(point.0), y(point.2)) };
        size.push_str(&step);
    }
    Ok(plain(format!(
        "<svg class=\"spark\" viewBox=\"0 0 100 24\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"used and size over time\">\
         <path class=\"used\" d=\"{used}L100 24Z\"/><path class=\"size\" d=\"{size}\"/></svg>"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_mean_nothing_in_markdown() {
        for (name, shown) in [
            ("data_lv", "data_lv"),
            ("_it_", "\\_it\\_"),
            ("a|b", "a\\|b"),
            ("`rm -rf`", "\\`rm -rf\\`"),
            ("<b>&amp;[x](y)", "\\<b\\>\\&amp;\\[x\\](y)"),
            ("- item", "\\- item"),
            ("# x", "\\# x"),
            ("http://evil", "http\\://evil"),
            ("www.evil", "www\\.evil"),
            ("/srv/a b", "/srv/a b"),
            ("/dev/mapper/a--b", "/dev/mapper/a--b"),
        ] {
            assert_eq!(markdown(&crate::plain(name)), shown);
        }
        assert_eq!(markdown(&crate::plain("a\nb\u{202e}")), "a\\\\nb\\\\u{202e}");
    }

    proptest! {
        #[test]
        fn no_name_ends_a_line_or_a_cell(name in "\\PC*|[\\x00-\\x7f]*") {
            let shown = markdown(&crate::plain(&name));
            prop_assert!(!shown.chars().any(char::is_control));
            let mut bare = shown.replace("\\\\", "");
            bare = ["|", "`", "<", "[", "*"].iter().fold(bare, |text, c| text.replace(&format!("\\{c}"), ""));
            prop_assert!(!bare.contains(['|', '`', '<', '[', '*']), "{shown:?}");
        }
    }
}
