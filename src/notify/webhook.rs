//! A POST to a URL. Redirects are not followed, and what the receiver says is not shown to anybody: neither is ours to
//! trust.

use std::path::Path;
use std::time::Duration;

use hyper::{StatusCode, Uri};

use super::message::Message;
use super::send::{SendError, secret};
use super::template::{Template, body};
use crate::client::Client;
use crate::config::notify::{self, Url, parse_url, protects_secrets};
use crate::config::{Authorization, HttpClient};

/// How to send to one URL.
pub(super) struct WebhookSender {
    settings: notify::WebhookReceiver,
    template: Option<Template>,
    client: Client,
}

impl WebhookSender {
    pub(super) fn new(
        settings: &notify::WebhookReceiver,
        ca_file: Option<&Path>,
        timeout: Duration,
    ) -> Result<WebhookSender, (&'static str, String)> {
        let template = match &settings.template {
            None => None,
            Some(template) => {
                let source = Template::source(template).map_err(|error| ("template_file", error))?;
                Some(Template::json(&source).map_err(|error| ("template", error))?)
            }
        };
        let token = |(scheme, file): (String, _)| Authorization::Token { scheme, file };
        let authorization = settings.authorization.clone().map(token);
        let http = HttpClient { authorization, ca_file: ca_file.map(Path::to_owned), identity: None };
        let client = Client::new(http, concat!("lvm-autoscaler/", env!("CARGO_PKG_VERSION")), timeout);
        Ok(WebhookSender { settings: settings.clone(), template, client })
    }

    /// What would be sent.
    pub(super) fn render(&self, message: &Message) -> Result<String, String> {
        body(self.settings.format, self.template.as_ref(), message)
    }

    /// Tries once. Files are read now, so that a secret that was replaced needs no reload.
    pub(super) fn send(&self, message: &Message) -> Result<(), SendError> {
        let body = self.render(message).map_err(SendError::Never)?;
        let url = self.url()?;
        if self.settings.authorization.is_some() && !protects_secrets(&url) {
            return Err(SendError::Never(
                "the credentials would be sent in the clear: url must begin with https://".to_owned(),
            ));
        }
        judge(self.client.post_alone(url, body).map_err(SendError::Later)?)
    }

    fn url(&self) -> Result<Uri, SendError> {
        match &self.settings.url {
            Url::Plain(url) => Ok(url.clone()),
            Url::File(file) => parse_url(secret(file)?.expose())
                .map_err(|error| SendError::Later(format!("{}: {error}", file.display()))),
        }
    }
}

/// What says that the request itself is wrong is not changed by repeating it.
fn judge(status: StatusCode) -> Result<(), SendError> {
    let again = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_EARLY, StatusCode::TOO_MANY_REQUESTS];
    match status {
        status if status.is_success() => Ok(()),
        status if status.is_redirection() => Err(SendError::Never(format!(
            "the answer was {status}; redirects are not followed: name the URL it leads to"
        ))),
        status if status.is_client_error() && !again.contains(&status) => {
            Err(SendError::Never(format!("the answer was {status}")))
        }
        status => Err(SendError::Later(format!("the answer was {status}"))),
    }
}
