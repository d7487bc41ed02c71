//! The HTTP client, for notifications and for the relay alike: whom it trusts, what it shows, and how long it waits.
//!
//! Redirects are not followed: they could lead to a stranger. No secret is in an error.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, USER_AGENT};
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::config::{Authorization, HttpClient, Secret};
use crate::duration::Shown;
use crate::files::{self, FileMark};

/// What a daemon says about a thousand alerts.
const MAX_ANSWER: usize = 1 << 20;

type Pooled = hyper_util::client::legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// Sends JSON with these credentials. Secrets are read for each request, certificates again when they changed.
pub struct Client {
    settings: HttpClient,
    agent: &'static str,
    timeout: Duration,
    built: Mutex<Option<(Vec<Option<FileMark>>, Built)>>,
}

/// Connections, and why the host's certificates are not among the trusted ones, if they are not.
#[derive(Clone)]
struct Built {
    connections: Pooled,
    without_roots: Option<String>,
}

impl Client {
    /// `agent` names the program to the other side; one request may take as long as `timeout`.
    pub fn new(settings: HttpClient, agent: &'static str, timeout: Duration) -> Client {
        Client { settings, agent, timeout, built: Mutex::default() }
    }

    /// Whether certificates and credentials can be used now.
    pub fn verify(&self) -> Result<(), String> {
        self.built()?;
        self.authorization()?;
        Ok(())
    }

    /// The status and what was said, or why there is none.
    pub async fn post(&self, url: Uri, body: impl Into<Bytes>) -> Result<(StatusCode, Bytes), String> {
        let built = self.built()?;
        self.in_time(async {
            let answer = self.send(&built, url, body.into()).await?;
            let status = answer.status();
            let said = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
            // The status is the answer; what is said about it is for people.
            Ok((status, said.map(|said| said.to_bytes()).unwrap_or_default()))
        })
        .await
    }

    /// The status alone, on the calling thread and with a connection of its own. A look-up of a name that hangs is left
    /// behind, and holds up nothing.
    pub fn post_alone(&self, url: Uri, body: impl Into<Bytes>) -> Result<StatusCode, String> {
        let built = self.build()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        let sending = async { self.send(&built, url, body.into()).await.map(|answer| answer.status()) };
        let status = runtime.block_on(self.in_time(sending));
        runtime.shutdown_background();
        status
    }

    async fn in_time<T>(&self, exchange: impl Future<Output = Result<T, String>>) -> Result<T, String> {
        let ended = tokio::time::timeout(self.timeout, exchange).await;
        ended.unwrap_or_else(|_| Err(format!("no answer within {}", Shown(self.timeout))))
    }

    async fn send(&self, built: &Built, url: Uri, body: Bytes) -> Result<Response<Incoming>, String> {
        let is_encrypted = url.scheme_str() == Some("https");
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = url;
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(USER_AGENT, HeaderValue::from_static(self.agent));
        if let Some(value) = self.authorization()? {
            headers.insert(AUTHORIZATION, value);
        }
        built.connections.request(request).await.map_err(|error| match &built.without_roots {
            Some(why) if is_encrypted => format!("{}; the system's certificates: {why}", crate::chain(&error)),
            _ => crate::chain(&error),
        })
    }

    fn authorization(&self) -> Result<Option<HeaderValue>, String> {
        let Some(authorization) = &self.settings.authorization else { return Ok(None) };
        let secret = Secret::read(authorization.file()).map_err(|error| crate::chain(&error))?;
        let text = match authorization {
            Authorization::Token { scheme, .. } => format!("{scheme} {}", secret.expose()),
            Authorization::Basic { username, .. } => {
                format!("Basic {}", STANDARD.encode(format!("{username}:{}", secret.expose())))
            }
        };
        let unfit = |_| format!("{}: holds what cannot be in a header", authorization.file().display());
        let mut value = HeaderValue::from_str(&text).map_err(unfit)?;
        value.set_sensitive(true);
        Ok(Some(value))
    }

    /// The connections that are kept, as long as no certificate changed.
    fn built(&self) -> Result<Built, String> {
        let HttpClient { ca_file, identity, .. } = &self.settings;
        let files = ca_file.iter().chain(identity.iter().flat_map(|(certificate, key)| [certificate, key]));
        let marks: Vec<_> = files.map(|file| FileMark::of(file)).collect();
        let mut built = crate::locked(&self.built);
        if let Some((of, known)) = &*built
            && *of == marks
        {
            return Ok(known.clone());
        }
        let new = self.build()?;
        *built = Some((marks, new.clone()));
        Ok(new)
    }

    fn build(&self) -> Result<Built, String> {
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let (builder, without_roots) = match &self.settings.ca_file {
            Some(file) => (builder.with_root_certificates(roots(file)?), None),
            None => match builder.clone().with_native_roots() {
                Ok(builder) => (builder, None),
                // A host without any certificates can still speak plain HTTP.
                Err(error) => (builder.with_root_certificates(RootCertStore::empty()), Some(error.to_string())),
            },
        };
        let tls = match &self.settings.identity {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain = certificates(certificate)?;
                let shown = |error: &dyn std::fmt::Display| format!("{}: {error}", key.display());
                let pem = files::read(key).map_err(|error| shown(&error))?;
                let key = PrivateKeyDer::from_pem_slice(&pem).map_err(|error| shown(&error))?;
                let unfit = |error| format!("{}: {error}", certificate.display());
                builder.with_client_auth_cert(chain, key).map_err(unfit)?
            }
        };
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().build();
        let mut pool = hyper_util::client::legacy::Client::builder(TokioExecutor::new());
        let connections = pool.timer(TokioTimer::new()).pool_timer(TokioTimer::new()).build(connector);
        Ok(Built { connections, without_roots })
    }
}

fn roots(file: &Path) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(file)? {
        roots.add(certificate).map_err(|error| format!("{}: {error}", file.display()))?;
    }
    Ok(roots)
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let shown = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
    let pem = files::read(file).map_err(|error| shown(&error))?;
    let read = CertificateDer::pem_slice_iter(&pem);
    let certificates = read.collect::<Result<Vec<_>, _>>().map_err(|error| shown(&error))?;
    if certificates.is_empty() { Err(shown(&"holds no certificate")) } else { Ok(certificates) }
}
