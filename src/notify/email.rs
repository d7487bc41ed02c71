//! An e-mail through a mail server. Encrypted before anything is said, unless the config says that it must not be.

use std::path::{Path, PathBuf};
use std::time::Duration;

use lettre::message::header::{Header, HeaderName, HeaderValue};
use lettre::message::{MultiPart, SinglePart};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::{SmtpTransport, Transport};

use super::message::Message;
use super::send::{SendError, secret};
use super::template::{Template, subject};
use crate::config::notify::{self, Encryption};
use crate::files;

/// How to send to one list of recipients.
pub(super) struct EmailSender {
    settings: notify::EmailReceiver,
    subject: Template,
    text: Template,
    html: Option<Template>,
    ca_file: Option<PathBuf>,
    timeout: Duration,
}

/// Says that no person wrote it, so that no machine answers it (RFC 3834).
#[derive(Debug, Clone)]
struct AutoSubmitted;

impl Header for AutoSubmitted {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("Auto-Submitted")
    }
    fn parse(_: &str) -> Result<AutoSubmitted, Box<dyn std::error::Error + Send + Sync>> {
        Ok(AutoSubmitted)
    }
    fn display(&self) -> HeaderValue {
        HeaderValue::new(AutoSubmitted::name(), "auto-generated".to_owned())
    }
}

impl EmailSender {
    pub(super) fn new(
        settings: &notify::EmailReceiver,
        ca_file: Option<&Path>,
        timeout: Duration,
    ) -> Result<EmailSender, (&'static str, String)> {
        let read = |key, template: &notify::Template| Template::source(template).map_err(|error| (key, error));
        let subject = match &settings.subject {
            Some(template) => Template::text(&read("subject", template)?),
            None => Template::default_subject(),
        };
        let text = match &settings.text {
            Some(template) => Template::text(&read("text_file", template)?),
            None => Template::default_text(),
        };
        let html = match &settings.html {
            Some(template) => Some(Template::html(&read("html_file", template)?).map_err(|error| ("html", error))?),
            None => None,
        };
        Ok(EmailSender {
            settings: settings.clone(),
            subject: subject.map_err(|error| ("subject", error))?,
            text: text.map_err(|error| ("text", error))?,
            html,
            ca_file: ca_file.map(Path::to_owned),
            timeout,
        })
    }

    /// What would be sent, whole.
    pub(super) fn render(&self, message: &Message) -> Result<lettre::Message, String> {
        let named = |what: &'static str| move |error| format!("{what}: {error}");
        let subject = subject(&self.subject, message).map_err(named("subject"))?;
        let text = self.text.render(message).map_err(named("text"))?;
        let html = self.html.as_ref().map(|html| html.render(message)).transpose().map_err(named("html"))?;
        // Whatever stands in a host's name: a message id is of few characters.
        let plain = |c: &char| c.is_ascii_alphanumeric() || ".-".contains(*c);
        let host: String = message.host.chars().filter(plain).collect();
        let mut mail = lettre::Message::builder()
            .from(self.settings.from.clone())
            .subject(subject)
            .message_id(Some(format!(
                "<lvm-autoscaler.{}@{}>",
                message.id,
                if host.is_empty() { "localhost" } else { &host }
            )))
            .header(AutoSubmitted)
            .date_now();
        for to in &self.settings.to {
            mail = mail.to(to.clone());
        }
        let text = SinglePart::plain(text);
        let mail = match html {
            None => mail.singlepart(text),
            Some(html) => mail.multipart(MultiPart::alternative().singlepart(text).singlepart(SinglePart::html(html))),
        };
        mail.map_err(|error| error.to_string())
    }

    /// Tries once. The password is read now, so that one that was replaced needs no reload.
    pub(super) fn send(&self, message: &Message) -> Result<(), SendError> {
        let mail = self.render(message).map_err(SendError::Never)?;
        let transport = self.transport()?;
        match transport.send(&mail) {
            Ok(_) => Ok(()),
            Err(error) if error.is_permanent() => Err(SendError::Never(crate::chain(&error))),
            Err(error) => Err(SendError::Later(crate::chain(&error))),
        }
    }

    fn transport(&self) -> Result<SmtpTransport, SendError> {
        let settings = &self.settings;
        let tls = match settings.tls {
            Encryption::Starttls => Tls::Required(self.parameters()?),
            Encryption::Tls => Tls::Wrapper(self.parameters()?),
            Encryption::None => Tls::None,
        };
        let mut transport =
            SmtpTransport::builder_dangerous(&settings.host).port(settings.port).timeout(Some(self.timeout)).tls(tls);
        if let Some((username, file)) = &settings.auth {
            transport = transport.credentials(Credentials::new(username.clone(), secret(file)?.expose().to_owned()));
        }
        Ok(transport.build())
    }

    fn parameters(&self) -> Result<TlsParameters, SendError> {
        let mut parameters = TlsParameters::builder(self.settings.host.clone());
        if let Some(file) = &self.ca_file {
            let shown = |error: &dyn std::fmt::Display| SendError::Later(format!("{}: {error}", file.display()));
            let pem = files::read(file).map_err(|error| shown(&error))?;
            let certificate = Certificate::from_pem(&pem).map_err(|error| shown(&error))?;
            parameters = parameters.certificate_store(CertificateStore::None).add_root_certificate(certificate);
        }
        parameters.build().map_err(|error| SendError::Later(crate::chain(&error)))
    }
}
