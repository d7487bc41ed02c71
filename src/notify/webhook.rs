//! A POST to a URL. Redirects are not followed, and what the receiver says is not shown to anybody: neither is ours to
//! trust.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, USER_AGENT};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::runtime::Runtime;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::message::Message;
use super::send::{SendError, secret};
use super::template::{Template, body};
use crate::config::notify::{self, Url, parse_url, protects_secrets};
use crate::duration::Shown;

/// How to send to one URL.
pub(super) struct Webhook {
    settings: notify::Webhook,
    template: Option<Template>,
    ca_file: Option<std::path::PathBuf>,
    timeout: Duration,
}

impl Webhook {
    pub(super) fn new(
        settings: &notify::Webhook,
        ca_file: Option<&Path>,
        timeout: Duration,
    ) -> Result<Webhook, (&'static str, String)> {
        let template = match &settings.template {
            None => None,
            Some(template) => {
                let source = Template::source(template).map_err(|error| ("template_file", error))?;
                Some(Template::json(&source).map_err(|error| ("template", error))?)
            }
        };
        Ok(Webhook { settings: settings.clone(), template, ca_file: ca_file.map(Path::to_owned), timeout })
    }

    /// What would be sent.
    pub(super) fn render(&self, message: &Message) -> Result<String, String> {
        body(self.settings.format, self.template.as_ref(), message)
    }

    /// Tries once. Files are read now, so that a secret that was replaced needs no reload.
    pub(super) fn send(&self, message: &Message) -> Result<(), SendError> {
        let body = self.render(message).map_err(SendError::Never)?;
        let url = self.url()?;
        let mut request = Request::new(Full::new(Bytes::from(body)));
        *request.method_mut() = Method::POST;
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("lvm-autoscaler/", env!("CARGO_PKG_VERSION"))));
        if let Some((scheme, file)) = &self.settings.authorization {
            if !protects_secrets(&url) {
                return Err(SendError::Never(
                    "the credentials would be sent in the clear: url must begin with https://".to_owned(),
                ));
            }
            let secret = secret(file)?;
            let mut value = HeaderValue::from_str(&format!("{scheme} {secret}"))
                .map_err(|_| SendError::Later(format!("{}: holds what cannot be in a header", file.display())))?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        *request.uri_mut() = url;
        let connector = self.connector().map_err(SendError::Later)?;
        // A runtime for one request: a look-up of a name that hangs is then left behind, and holds up nothing.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| SendError::Later(error.to_string()))?;
        let answer = runtime.block_on(async {
            let client = Client::builder(TokioExecutor::new()).timer(TokioTimer::new()).build(connector);
            match tokio::time::timeout(self.timeout, client.request(request)).await {
                Ok(Ok(answer)) => judge(answer.status()),
                Ok(Err(error)) => Err(SendError::Later(crate::chain(&error))),
                Err(_) => Err(SendError::Later(format!("no answer within {}", Shown(self.timeout)))),
            }
        });
        Runtime::shutdown_background(runtime);
        answer
    }

    fn url(&self) -> Result<Uri, SendError> {
        match &self.settings.url {
            Url::Plain(url) => Ok(url.clone()),
            Url::File(file) => {
                parse_url(&secret(file)?).map_err(|error| SendError::Later(format!("{}: {error}", file.display())))
            }
        }
    }

    fn connector(&self) -> Result<HttpsConnector<HttpConnector>, String> {
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let config = match &self.ca_file {
            Some(file) => config.with_root_certificates(roots(file)?),
            None => config.with_native_roots().map_err(|error| format!("the system's certificates: {error}"))?,
        };
        let connector = HttpsConnectorBuilder::new().with_tls_config(config.with_no_client_auth());
        Ok(connector.https_or_http().enable_http1().build())
    }
}

/// The certificates in a file.
fn roots(file: &Path) -> Result<RootCertStore, String> {
    let shown = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file).map_err(|error| shown(&error))? {
        let certificate = certificate.map_err(|error| shown(&error))?;
        roots.add(certificate).map_err(|error| shown(&error))?;
    }
    if roots.is_empty() { Err(shown(&"holds no certificate")) } else { Ok(roots) }
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
