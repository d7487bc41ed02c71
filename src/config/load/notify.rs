//! `notify`, `audit` and `external_url`.

use std::path::PathBuf;
use std::time::Duration;

use lettre::message::Mailbox;

use crate::config::check::{at_least_a_second, check_absolute};
use crate::config::file::{Wrong, missing, wrong};
use crate::config::locate::PathPart;
use crate::config::near::{listed, near};
use crate::config::notify::{
    AuditSettings, EmailReceiver, Encryption, Occasion, Receiver, Template, Url, VARIABLES, Way, WebhookFormat,
    WebhookReceiver, is_loopback, parse_url, protects_secrets, template_error,
};
use crate::config::raw;
use crate::units::{Bytes, MIB};

/// A mail server is asked several things, each of which may take a while: greylisting, look-ups.
const MAIL_TIMEOUT: Duration = Duration::from_secs(30);
const WEBHOOK_TIMEOUT: Duration = Duration::from_secs(10);

/// About a hundred thousand lines, ten years of an ordinary host; six of them stay below half a GiB.
const AUDIT_SIZE: Bytes = Bytes(64 * MIB);
const AUDIT_KEEP: u32 = 5;

pub(super) fn receivers(raw: Vec<raw::Notify>) -> Result<Vec<Receiver>, Wrong> {
    raw.into_iter().enumerate().map(|(index, raw)| receiver(raw, index)).collect()
}

fn receiver(raw: raw::Notify, index: usize) -> Result<Receiver, Wrong> {
    let at = vec![PathPart::Key("notify"), PathPart::Item(index)];
    match (raw.webhook, raw.email) {
        (Some(raw), None) => webhook(raw, &[at, vec![PathPart::Key("webhook")]].concat()),
        (None, Some(raw)) => email(raw, &[at, vec![PathPart::Key("email")]].concat()),
        (None, None) => missing(at, &["webhook", "email"], "a receiver is missing, expected webhook or email"),
        (Some(_), Some(_)) => {
            let message = "webhook is given too: each receiver is an item of its own";
            wrong([at, vec![PathPart::Key("email")]].concat(), message)
        }
    }
}

fn webhook(raw: raw::NotifyWebhook, at: &[PathPart]) -> Result<Receiver, Wrong> {
    let key = |key| [at, &[PathPart::Key(key)]].concat();
    let url = match (raw.url, raw.url_file) {
        (Some(url), None) => Url::Plain(parse_url(&url).or_else(|message| wrong(key("url"), message))?),
        (None, Some(file)) => Url::File(absolute(file, &key("url_file"))?),
        (None, None) => return missing(at, &["url", "url_file"], "url is missing, expected url or url_file"),
        (Some(_), Some(_)) => return wrong(key("url_file"), "url is given too, expected only one of them"),
    };
    let authorization = match raw.authorization {
        None => None,
        Some(raw::Authorization { r#type: scheme, credentials_file }) => {
            let at = [at, &[PathPart::Key("authorization")]].concat();
            if let Url::Plain(url) = &url
                && !protects_secrets(url)
            {
                return wrong(at, "would be sent in the clear: expected url to begin with https://");
            }
            let scheme = scheme.unwrap_or_else(|| "Bearer".to_owned());
            if scheme.is_empty() || !scheme.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
                return wrong([at, vec![PathPart::Key("type")]].concat(), "is not a word such as Bearer");
            }
            Some((scheme, absolute(credentials_file, &[at, vec![PathPart::Key("credentials_file")]].concat())?))
        }
    };
    let template = template((raw.template, "template"), (raw.template_file, "template_file"), at)?;
    if template.is_some() && raw.format != WebhookFormat::Json {
        return wrong(key("format"), "template says what the body is, expected only one of them");
    }
    Ok(Receiver {
        on: occasions(raw.on, &key("on"))?,
        timeout: at_least_a_second(raw.timeout, WEBHOOK_TIMEOUT, &key("timeout"))?,
        ca_file: raw.ca_file.map(|file| absolute(file, &key("ca_file"))).transpose()?,
        way: Way::Webhook(WebhookReceiver { url, format: raw.format, authorization, template }),
    })
}

fn email(raw: raw::Email, at: &[PathPart]) -> Result<Receiver, Wrong> {
    let key = |key| [at, &[PathPart::Key(key)]].concat();
    let Some((host, port)) = raw.smarthost.as_deref().and_then(host_and_port) else {
        // People who know URLs put user and password in front of the host, and errors end up in logs and tickets.
        let found = match raw.smarthost {
            None => "is missing".to_owned(),
            Some(found) if found.contains('@') => {
                let belongs = "a user and a password belong in auth_username and auth_password_file";
                return wrong(key("smarthost"), format!("expected HOST:PORT such as mail.example.com:587; {belongs}"));
            }
            Some(found) => format!("{found:?} is not a server"),
        };
        return wrong(key("smarthost"), format!("{found}, expected HOST:PORT such as mail.example.com:587"));
    };
    let Some(from) = raw.from else {
        return missing(at, &["from"], "from is missing, expected an address such as lvm@example.com");
    };
    let from = mailbox(&from).or_else(|message| wrong(key("from"), message))?;
    if raw.to.is_empty() {
        return missing(key("to"), &["to"], "is empty, expected one address or more");
    }
    let recipient = |(index, text): (usize, &String)| {
        mailbox(text).or_else(|message| wrong([key("to"), vec![PathPart::Item(index)]].concat(), message))
    };
    let to = raw.to.iter().enumerate().map(recipient).collect::<Result<_, Wrong>>()?;
    let auth = match (raw.auth_username, raw.auth_password_file) {
        (None, None) => None,
        (Some(username), Some(file)) => Some((username, absolute(file, &key("auth_password_file"))?)),
        (Some(_), None) => {
            let message = "auth_password_file is missing, which auth_username needs";
            return missing(at, &["auth_password_file"], message);
        }
        (None, Some(_)) => {
            return missing(at, &["auth_username"], "auth_username is missing, which auth_password_file needs");
        }
    };
    if auth.is_some() && raw.tls == Encryption::None && !is_loopback(&host) {
        return wrong(key("tls"), "the password would be sent in the clear: expected starttls or tls");
    }
    let subject = raw.subject.map(Template::Inline);
    if let Some(subject) = &subject {
        check_syntax(subject, &key("subject"))?;
    }
    Ok(Receiver {
        on: occasions(raw.on, &key("on"))?,
        timeout: at_least_a_second(raw.timeout, MAIL_TIMEOUT, &key("timeout"))?,
        ca_file: raw.ca_file.map(|file| absolute(file, &key("ca_file"))).transpose()?,
        way: Way::Email(Box::new(EmailReceiver {
            host,
            port,
            tls: raw.tls,
            from,
            to,
            auth,
            subject,
            text: template((raw.text, "text"), (raw.text_file, "text_file"), at)?,
            html: template((raw.html, "html"), (raw.html_file, "html_file"), at)?,
        })),
    })
}

pub(super) fn external_url(raw: Option<String>) -> Result<Option<String>, Wrong> {
    let Some(url) = raw else { return Ok(None) };
    match parse_url(&url) {
        Ok(_) => Ok(Some(url)),
        Err(message) => wrong([PathPart::Key("external_url")], message),
    }
}

pub(super) fn audit(raw: Option<raw::Audit>) -> Result<Option<AuditSettings>, Wrong> {
    let Some(raw) = raw else { return Ok(None) };
    let at = |key| [PathPart::Key("audit"), PathPart::Key(key)];
    let max_size = raw.max_size.unwrap_or(AUDIT_SIZE);
    if max_size < Bytes(MIB) {
        return wrong(at("max_size"), format!("{max_size} is not at least 1 MiB"));
    }
    Ok(Some(AuditSettings { file: absolute(raw.file, &at("file"))?, max_size, keep: raw.keep.unwrap_or(AUDIT_KEEP) }))
}

fn host_and_port(text: &str) -> Option<(String, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let plain = !bare.is_empty() && bare.chars().all(|c| c.is_ascii_alphanumeric() || ".-:_".contains(c));
    let bracketed = bare != host;
    (plain && bracketed == bare.contains(':')).then_some((bare.to_owned(), port.parse().ok().filter(|port| *port > 0)?))
}

fn mailbox(text: &str) -> Result<Mailbox, String> {
    text.parse().map_err(|error| format!("{text:?}: {error}, expected an address such as ops@example.com"))
}

fn absolute(file: PathBuf, at: &[PathPart]) -> Result<PathBuf, Wrong> {
    check_absolute(&file, at)?;
    Ok(file)
}

fn occasions(raw: Option<Vec<Occasion>>, at: &[PathPart]) -> Result<Vec<Occasion>, Wrong> {
    let mut on = raw.unwrap_or_else(|| Occasion::USUAL.to_vec());
    if on.is_empty() {
        return wrong(
            at,
            "is empty, nothing would ever be told: expected planned, grown, refused, failed, needs_attention or overdue",
        );
    }
    on.sort_unstable();
    on.dedup();
    Ok(on)
}

fn template(
    (inline, inline_key): (Option<String>, &'static str),
    (file, file_key): (Option<PathBuf>, &'static str),
    at: &[PathPart],
) -> Result<Option<Template>, Wrong> {
    let key = |key| [at, &[PathPart::Key(key)]].concat();
    match (inline, file) {
        (None, None) => Ok(None),
        (Some(_), Some(_)) => wrong(key(file_key), format!("{inline_key} is given too, expected only one of them")),
        (Some(text), None) => {
            let template = Template::Inline(text);
            check_syntax(&template, &key(inline_key))?;
            Ok(Some(template))
        }
        (None, Some(file)) => Ok(Some(Template::File(absolute(file, &key(file_key))?))),
    }
}

/// What can be said of a template before there is anything to fill in.
fn check_syntax(template: &Template, at: &[PathPart]) -> Result<(), Wrong> {
    let Template::Inline(text) = template else { return Ok(()) };
    let environment = minijinja::Environment::new();
    let parsed = match environment.template_from_str(text) {
        Ok(parsed) => parsed,
        Err(error) => return wrong(at, template_error(&error)),
    };
    let is_known = |name: &str| VARIABLES.contains(&name) || environment.globals().any(|(global, _)| global == name);
    let mut unknown: Vec<String> =
        parsed.undeclared_variables(false).into_iter().filter(|name| !is_known(name)).collect();
    unknown.sort_unstable();
    let Some(name) = unknown.first() else { return Ok(()) };
    let line = text.lines().position(|line| has_word(line, name)).map_or(1, |index| index + 1);
    let meant = near(name, VARIABLES.into_iter());
    let hint = match meant.is_empty() {
        true => format!("expected {}", listed(&VARIABLES)),
        false => format!("did you mean {}?", listed(&meant)),
    };
    wrong(at, format!("line {line} of the template: {name:?} is an unknown variable, {hint}"))
}

fn has_word(line: &str, word: &str) -> bool {
    line.split(|c: char| !c.is_alphanumeric() && c != '_').any(|part| part == word)
}
