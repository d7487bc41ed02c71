//! Message -> text. Ours, or a user's template; a name with quotes, markup or newlines in it never breaks out of its
//! place.

use minijinja::{AutoEscape, Environment, UndefinedBehavior};
use serde_json::{Value, json};

use super::message::Message;
use crate::config::notify::{self, Occasion, WebhookFormat, template_error};
use crate::files;

const SUBJECT: &str = "[lvm-autoscaler] {{ host }}: {{ title }}";

const TEXT: &str = "\
{{ title }}

{{ sentence }}
{% if reason and reason != sentence %}
Why: {{ reason }}
{% endif %}
Host:    {{ host }}
{% if lv %}Volume:  {{ vg }}/{{ lv }}{% if mount_point %} at {{ mount_point }}{% endif %}
{% endif %}{% if before %}Size:    {{ before }} before, {{ after }} {% if event == 'grown' %}now{% else %}planned{% endif %}
{% endif %}{% if code %}Code:    {{ code }}
{% endif %}Time:    {{ at }}
{% if commands %}
{% if event == 'overdue' %}Still running{% else %}Commands that were run{% endif %}:
{% for command in commands %}  {{ command }}
{% endfor %}{% endif %}{% if next %}
To do:
{% for command in next %}  {{ command }}
{% endfor %}{% endif %}{% if link %}
{{ link }}
{% endif %}";

/// A subject longer than this is cut by most who show it.
const LONGEST_SUBJECT: usize = 200;

/// A template, or what is wrong with it.
#[derive(Debug)]
pub(super) struct Template {
    environment: Environment<'static>,
}

impl Template {
    /// Of a text that values are put into as they are.
    pub(super) fn text(source: &str) -> Result<Template, String> {
        Template::new(source, AutoEscape::None)
    }

    /// Of a text that values are put into as HTML.
    pub(super) fn html(source: &str) -> Result<Template, String> {
        Template::new(source, AutoEscape::Html)
    }

    /// Of a text that values are put into as JSON, with their quotes.
    pub(super) fn json(source: &str) -> Result<Template, String> {
        Template::new(source, AutoEscape::Json)
    }

    pub(super) fn default_text() -> Result<Template, String> {
        Template::text(TEXT)
    }

    pub(super) fn default_subject() -> Result<Template, String> {
        Template::text(SUBJECT)
    }

    /// Reads it, from its file if it is in one.
    pub(super) fn source(template: &notify::Template) -> Result<String, String> {
        match template {
            notify::Template::Inline(text) => Ok(text.clone()),
            notify::Template::File(file) => {
                let text = files::read(file).and_then(|bytes| String::from_utf8(bytes).map_err(std::io::Error::other));
                text.map_err(|error| format!("{}: {error}", file.display()))
            }
        }
    }

    fn new(source: &str, escape: AutoEscape) -> Result<Template, String> {
        let mut environment = Environment::new();
        environment.set_auto_escape_callback(move |_| escape.clone());
        // A word that is misspelt is an error, not nothing.
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        // A template that never ends must not keep its receiver's thread.
        environment.set_fuel(Some(1_000_000));
        environment.add_template_owned("it", source.to_owned()).map_err(|error| template_error(&error))?;
        Ok(Template { environment })
    }

    /// With the values of a message.
    pub(super) fn render(&self, message: &Message) -> Result<String, String> {
        let template = self.environment.get_template("it").map_err(|error| template_error(&error))?;
        template
            .render(minijinja::Value::from(minijinja::value::Serde(message)))
            .map_err(|error| template_error(&error))
    }
}

/// One line, for a header.
pub(super) fn subject(template: &Template, message: &Message) -> Result<String, String> {
    let text = template.render(message)?;
    let text: String = text.chars().map(|c| if crate::hides(c) { ' ' } else { c }).collect();
    Ok(text.trim().chars().take(LONGEST_SUBJECT).collect())
}

/// The body of a webhook.
pub(super) fn body(format: WebhookFormat, template: Option<&Template>, message: &Message) -> Result<String, String> {
    match (template, format) {
        (Some(template), _) => {
            let body = template.render(message)?;
            match serde_json::from_str::<Value>(&body) {
                Ok(_) => Ok(body),
                Err(error) => Err(format!(
                    "is no JSON when it is filled in: {error}; values bring their quotes, write {{\"text\": {{{{ title }}}}}}"
                )),
            }
        }
        (None, WebhookFormat::Json) => serde_json::to_string(message).map_err(|error| error.to_string()),
        (None, WebhookFormat::Slack) => Ok(slack(message).to_string()),
    }
}

/// `text` alone: all that take Slack's form understand it.
fn slack(message: &Message) -> Value {
    let icon = match message.event.as_str() {
        "grown" => ":white_check_mark:",
        "failed" | "needs_attention" => ":rotating_light:",
        "overdue" | "refused" | "supply_needed" => ":warning:",
        _ => ":information_source:",
    };
    let mut text =
        format!("{icon} *{}: {}*\n{}", escaped(&message.host), escaped(&message.title), escaped(&message.sentence));
    // What is done must not read like something to do.
    let ran = if message.event == Occasion::Overdue { "Still running" } else { "Commands that were run" };
    for (what, commands) in [(ran, &message.commands), ("To do", &message.next)] {
        if !commands.is_empty() {
            text.push_str(&format!("\n{what}:\n```\n{}\n```", escaped(&commands.join("\n").replace("```", "'''"))));
        }
    }
    if let Some(link) = &message.link {
        text.push_str(&format!("\n<{}|Status page>", escaped(link)));
    }
    json!({ "text": text })
}

/// Slack's own three, so that no name can mention a channel or make a link.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::message::samples;
    use jiff::Timestamp;

    /// What was done is in the past tense; only what is left to do is an instruction.
    #[test]
    fn commands_that_were_run_do_not_read_like_something_to_run() {
        for sample in samples("db1", None, Timestamp::UNIX_EPOCH) {
            let text = Template::default_text().expect("valid").render(&sample).expect("a text");
            let slack = slack(&sample)["text"].as_str().expect("text").to_owned();
            let title = if sample.event == Occasion::Overdue { "Still running:" } else { "Commands that were run:" };
            for shown in [text, slack] {
                let (before, commands) = shown.split_once(title).expect(&shown);
                assert!(commands.contains("lvextend") && !before.contains("lvextend"), "{shown}");
                assert!(!shown.contains("Run:") && shown.contains("To do:"), "{shown}");
            }
        }
    }
}
