//! Who is told of what, and where it is written down for auditors: `notify` and `audit` of the config file.
//!
//! Secrets stand in files that are named here and read when they are needed; a password never goes over the network in
//! the clear.

use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper::Uri;
use lettre::message::Mailbox;
use serde::{Deserialize, Serialize};

use crate::units::Bytes;

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
    /// A target is over its threshold and its group has no room. Who asked only for `refused` is told it as that.
    SupplyNeeded,
    /// An operation stopped before anything was changed.
    Failed,
    /// An operation stopped half-way, a person must look.
    NeedsAttention,
    /// A command that changes something takes longer than expected.
    Overdue,
}

impl Occasion {
    /// All of them.
    pub const ALL: [Occasion; 7] = [
        Occasion::Planned,
        Occasion::Grown,
        Occasion::Refused,
        Occasion::SupplyNeeded,
        Occasion::Failed,
        Occasion::NeedsAttention,
        Occasion::Overdue,
    ];
    /// What receivers are told that do not say: what happened to a volume, but not each time that nothing did.
    pub(super) const USUAL: [Occasion; 4] =
        [Occasion::Grown, Occasion::Failed, Occasion::NeedsAttention, Occasion::Overdue];

    /// As it stands in the config and in notifications.
    pub fn as_str(self) -> &'static str {
        match self {
            Occasion::Planned => "planned",
            Occasion::Grown => "grown",
            Occasion::Refused => "refused",
            Occasion::SupplyNeeded => "supply_needed",
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
    Webhook(WebhookReceiver),
    /// An e-mail.
    Email(Box<EmailReceiver>),
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
pub struct WebhookReceiver {
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
pub enum Encryption {
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
pub struct EmailReceiver {
    /// The server.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the connection is protected.
    pub tls: Encryption,
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
pub struct AuditSettings {
    /// Where.
    pub file: PathBuf,
    /// It is put aside when it is this large.
    pub max_size: Bytes,
    /// So many that were put aside are kept.
    pub keep: u32,
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

pub(super) fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// What templates can fill in; docs/notification.schema.json describes each.
pub const VARIABLES: [&str; 22] = [
    "version",
    "id",
    "event",
    "at",
    "host",
    "vg",
    "lv",
    "mount_point",
    "operation",
    "request",
    "title",
    "sentence",
    "reason",
    "code",
    "mode",
    "before",
    "after",
    "before_bytes",
    "after_bytes",
    "commands",
    "next",
    "link",
];

/// A template's error: `line 3: what is wrong`.
pub fn template_error(error: &minijinja::Error) -> String {
    let what = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    let what = match what.as_str() {
        "unexpected end of input, expected end of variable block" => "a `{{` is not closed, expected `}}`".to_owned(),
        "unexpected end of input, expected end of block" => "a `{%` is not closed, expected `%}`".to_owned(),
        _ => what.replace("end of variable block", "`}}`").replace("end of block", "`%}`"),
    };
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
