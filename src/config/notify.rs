//! Who is told of what, and where it is written down for auditors: `notify` and `audit` of the config file.
//!
//! Secrets stand in files that are named here and read when they are needed; a password never goes over the network in
//! the clear.

use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper::Uri;
use lettre::message::Mailbox;
use serde::{Deserialize, Serialize};

use super::file::{Wrong, wrong};
use super::load::{at_least_a_second, check_absolute};
use super::locate::Step;
use super::raw;
use crate::units::{Bytes, MIB};

/// What may be worth telling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Occasion {
    /// An operation begins, or is recommended.
    Planned,
    /// Volume and file system are as large as planned.
    Grown,
    /// A guard said no.
    Refused,
    /// An operation stopped before anything was changed.
    Failed,
    /// An operation stopped half-way, a person must look.
    NeedsAttention,
    /// A command that changes something takes longer than expected.
    Overdue,
}

impl Occasion {
    /// All of them.
    pub const ALL: [Occasion; 6] = [
        Occasion::Planned,
        Occasion::Grown,
        Occasion::Refused,
        Occasion::Failed,
        Occasion::NeedsAttention,
        Occasion::Overdue,
    ];
    /// What receivers are told that do not say: what happened to a volume, but not each time that nothing did.
    const USUAL: [Occasion; 4] = [Occasion::Grown, Occasion::Failed, Occasion::NeedsAttention, Occasion::Overdue];

    /// As it stands in the config and in notifications.
    pub fn as_str(self) -> &'static str {
        match self {
            Occasion::Planned => "planned",
            Occasion::Grown => "grown",
            Occasion::Refused => "refused",
            Occasion::Failed => "failed",
            Occasion::NeedsAttention => "needs_attention",
            Occasion::Overdue => "overdue",
        }
    }
}

/// Somebody who is told.
#[derive(Debug, Clone, PartialEq)]
pub struct Receiver {
    /// Of what.
    pub on: Vec<Occasion>,
    /// How long one attempt may take.
    pub timeout: Duration,
    /// Certificates to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// How.
    pub way: Way,
}

impl Receiver {
    /// The files it needs.
    pub fn files(&self) -> Vec<&Path> {
        let mut files: Vec<&Path> = self.ca_file.iter().map(PathBuf::as_path).collect();
        let templates = match &self.way {
            Way::Webhook(webhook) => {
                if let Url::File(file) = &webhook.url {
                    files.push(file);
                }
                files.extend(webhook.authorization.iter().map(|(_, file)| file.as_path()));
                vec![&webhook.template]
            }
            Way::Email(email) => {
                files.extend(email.auth.iter().map(|(_, file)| file.as_path()));
                vec![&email.subject, &email.text, &email.html]
            }
        };
        files.extend(templates.into_iter().flatten().filter_map(Template::file));
        files
    }
}

/// How somebody is told.
#[derive(Debug, Clone, PartialEq)]
pub enum Way {
    /// A POST.
    Webhook(Webhook),
    /// An e-mail.
    Email(Box<Email>),
}

impl Way {
    /// The label `kind`.
    pub fn kind(&self) -> &'static str {
        match self {
            Way::Webhook(_) => "webhook",
            Way::Email(_) => "email",
        }
    }
}

/// A POST to a URL.
#[derive(Debug, Clone, PartialEq)]
pub struct Webhook {
    /// Where to.
    pub url: Url,
    /// What it looks like.
    pub format: WebhookFormat,
    /// The scheme, and the file with the secret behind it.
    pub authorization: Option<(String, PathBuf)>,
    /// The body, instead of the format's.
    pub template: Option<Template>,
}

/// A URL; one that is a secret itself stands in a file.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "the two ways to give it")]
pub enum Url {
    Plain(Uri),
    File(PathBuf),
}

/// The body of a webhook.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WebhookFormat {
    /// As docs/notification.schema.json says.
    #[default]
    Json,
    /// What Slack's incoming webhooks take, and Mattermost's and Rocket.Chat's.
    Slack,
}

/// A text with places to fill in.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the two ways to give it")]
pub enum Template {
    Inline(String),
    File(PathBuf),
}

/// How a connection to a mail server is protected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tls {
    /// It begins in the clear and must be encrypted before anything is said.
    #[default]
    Starttls,
    /// It is encrypted from the beginning.
    Tls,
    /// Not at all.
    None,
}

/// An e-mail through a mail server.
#[derive(Debug, Clone, PartialEq)]
pub struct Email {
    /// The server.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the connection is protected.
    pub tls: Tls,
    /// The sender.
    pub from: Mailbox,
    /// The recipients.
    pub to: Vec<Mailbox>,
    /// User name, and the file with the password.
    pub auth: Option<(String, PathBuf)>,
    /// The subject, instead of ours.
    pub subject: Option<Template>,
    /// The text, instead of ours.
    pub text: Option<Template>,
    /// An HTML part beside the text.
    pub html: Option<Template>,
}

/// The audit log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Audit {
    /// Where.
    pub file: PathBuf,
    /// It is put aside when it is this large.
    pub max_size: Bytes,
    /// So many that were put aside are kept.
    pub keep: u32,
}

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
    let at = vec![Step::Key("notify"), Step::Item(index)];
    match (raw.webhook, raw.email) {
        (Some(raw), None) => webhook(raw, &[at, vec![Step::Key("webhook")]].concat()),
        (None, Some(raw)) => email(raw, &[at, vec![Step::Key("email")]].concat()),
        _ => wrong(at, "expected one of webhook and email"),
    }
}

fn webhook(raw: raw::NotifyWebhook, at: &[Step]) -> Result<Receiver, Wrong> {
    let key = |key| [at, &[Step::Key(key)]].concat();
    let url = match (raw.url, raw.url_file) {
        (Some(url), None) => Url::Plain(parse_url(&url).or_else(|message| wrong(key("url"), message))?),
        (None, Some(file)) => Url::File(absolute(file, &key("url_file"))?),
        _ => return wrong(at, "expected one of url and url_file"),
    };
    let authorization = match raw.authorization {
        None => None,
        Some(raw::Authorization { r#type: scheme, credentials_file }) => {
            let at = [at, &[Step::Key("authorization")]].concat();
            if let Url::Plain(url) = &url
                && !protects_secrets(url)
            {
                return wrong(at, "would be sent in the clear: expected url to begin with https://");
            }
            let scheme = scheme.unwrap_or_else(|| "Bearer".to_owned());
            if scheme.is_empty() || !scheme.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
                return wrong([at, vec![Step::Key("type")]].concat(), "is not a word such as Bearer");
            }
            Some((scheme, absolute(credentials_file, &[at, vec![Step::Key("credentials_file")]].concat())?))
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
        way: Way::Webhook(Webhook { url, format: raw.format, authorization, template }),
    })
}

fn email(raw: raw::Email, at: &[Step]) -> Result<Receiver, Wrong> {
    let key = |key| [at, &[Step::Key(key)]].concat();
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
    let Some(from) = raw.from else { return wrong(at, "from is missing, expected an address such as lvm@example.com") };
    let from = mailbox(&from).or_else(|message| wrong(key("from"), message))?;
    if raw.to.is_empty() {
        return wrong(key("to"), "is empty, expected one address or more");
    }
    let recipient = |(index, text): (usize, &String)| {
        mailbox(text).or_else(|message| wrong([key("to"), vec![Step::Item(index)]].concat(), message))
    };
    let to = raw.to.iter().enumerate().map(recipient).collect::<Result<_, Wrong>>()?;
    let auth = match (raw.auth_username, raw.auth_password_file) {
        (None, None) => None,
        (Some(username), Some(file)) => Some((username, absolute(file, &key("auth_password_file"))?)),
        _ => return wrong(at, "expected both of auth_username and auth_password_file, or neither"),
    };
    if auth.is_some() && raw.tls == Tls::None && !is_loopback(&host) {
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
        way: Way::Email(Box::new(Email {
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
        Err(message) => wrong([Step::Key("external_url")], message),
    }
}

pub(super) fn audit(raw: Option<raw::Audit>) -> Result<Option<Audit>, Wrong> {
    let Some(raw) = raw else { return Ok(None) };
    let at = |key| [Step::Key("audit"), Step::Key(key)];
    let max_size = raw.max_size.unwrap_or(AUDIT_SIZE);
    if max_size < Bytes(MIB) {
        return wrong(at("max_size"), format!("{max_size} is not at least 1 MiB"));
    }
    Ok(Some(Audit { file: absolute(raw.file, &at("file"))?, max_size, keep: raw.keep.unwrap_or(AUDIT_KEEP) }))
}

/// A URL that can be posted to; what is wrong with it otherwise.
pub fn parse_url(text: &str) -> Result<Uri, String> {
    const EXPECTED: &str = "a URL such as https://hooks.example.com/path";
    // Neither the text nor the library's message: a URL may be a secret.
    let uri: Uri = text.parse().map_err(|_| format!("is no URL, expected {EXPECTED}"))?;
    match (uri.scheme_str(), uri.host()) {
        (Some("http" | "https"), Some(host)) if !host.is_empty() => Ok(uri),
        _ => Err(format!("is not {EXPECTED}")),
    }
}

/// Whether credentials may be sent there: encrypted, or without leaving this host.
pub fn protects_secrets(url: &Uri) -> bool {
    url.scheme_str() == Some("https") || url.host().is_some_and(is_loopback)
}

fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
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

fn absolute(file: PathBuf, at: &[Step]) -> Result<PathBuf, Wrong> {
    check_absolute(&file, at)?;
    Ok(file)
}

fn occasions(raw: Option<Vec<Occasion>>, at: &[Step]) -> Result<Vec<Occasion>, Wrong> {
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
    at: &[Step],
) -> Result<Option<Template>, Wrong> {
    let key = |key| [at, &[Step::Key(key)]].concat();
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
fn check_syntax(template: &Template, at: &[Step]) -> Result<(), Wrong> {
    let Template::Inline(text) = template else { return Ok(()) };
    match minijinja::Environment::new().template_from_str(text) {
        Ok(_) => Ok(()),
        Err(error) => wrong(at, template_error(&error)),
    }
}

/// A template's error: `line 3: what is wrong`.
pub fn template_error(error: &minijinja::Error) -> String {
    let what = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    error.line().map_or_else(|| what.clone(), |line| format!("line {line} of the template: {what}"))
}

impl Template {
    /// The file, if it is in one.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Template::Inline(_) => None,
            Template::File(file) => Some(file),
        }
    }
}
