//! Calls a daemon's webhook. Redirects are not followed: they could lead to a stranger.

use std::path::Path;
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, USER_AGENT};
use hyper::{Method, Request, StatusCode};
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::hosts::Host;
use crate::config::{Authorization, FileMark, HttpClient, Secret};

/// What a daemon says about a thousand alerts.
const MAX_ANSWER: usize = 1 << 20;

type Pooled = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// Calls daemons with these credentials. Files are read again when they changed.
pub(super) struct Downstream {
    settings: HttpClient,
    built: Mutex<Option<(Vec<Option<FileMark>>, Pooled)>>,
}

impl Downstream {
    /// Certificates that cannot be used are found at start.
    pub(super) fn new(settings: HttpClient) -> Result<Downstream, String> {
        let downstream = Downstream { settings, built: Mutex::default() };
        downstream.client()?;
        downstream.authorization()?;
        Ok(downstream)
    }

    /// The status and what was said, or why there is none.
    pub(super) async fn post(&self, host: &Host, body: Vec<u8>) -> Result<(StatusCode, Bytes), String> {
        let request = Request::builder()
            .method(Method::POST)
            .uri(host.url())
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, concat!("lvm-autoscaler-relay/", env!("CARGO_PKG_VERSION")));
        let mut request = request.body(Full::new(Bytes::from(body))).map_err(|error| error.to_string())?;
        if let Some(value) = self.authorization()? {
            request.headers_mut().insert(AUTHORIZATION, value);
        }
        let answer = self.client()?.request(request).await.map_err(|error| crate::chain(&error))?;
        let status = answer.status();
        let said = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
        // The status is the answer; what is said about it is for people.
        Ok((status, said.map(|said| said.to_bytes()).unwrap_or_default()))
    }

    fn authorization(&self) -> Result<Option<HeaderValue>, String> {
        let secret = |file: &Path| Secret::read(file).map_err(|error| crate::chain(&error));
        let text = match &self.settings.authorization {
            None => return Ok(None),
            Some(Authorization::Token { scheme, file }) => format!("{scheme} {}", secret(file)?.expose()),
            Some(Authorization::Basic { username, file }) => {
                format!("Basic {}", STANDARD.encode(format!("{username}:{}", secret(file)?.expose())))
            }
        };
        let mut value = HeaderValue::from_str(&text).map_err(|_| "the credentials hold what cannot be in a header")?;
        value.set_sensitive(true);
        Ok(Some(value))
    }

    fn client(&self) -> Result<Pooled, String> {
        let HttpClient { ca_file, identity, .. } = &self.settings;
        let files = ca_file.iter().chain(identity.iter().flat_map(|(certificate, key)| [certificate, key]));
        let marks: Vec<_> = files.map(|file| FileMark::of(file)).collect();
        let mut built = crate::locked(&self.built);
        if let Some((of, client)) = &*built
            && *of == marks
        {
            return Ok(client.clone());
        }
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(self.tls()?).https_or_http().enable_http1().build();
        let client = Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector);
        *built = Some((marks, client.clone()));
        Ok(client)
    }

    fn tls(&self) -> Result<ClientConfig, String> {
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let builder = match &self.settings.ca_file {
            Some(file) => builder.with_root_certificates(roots(file)?),
            None => match builder.clone().with_native_roots() {
                Ok(builder) => builder,
                // A host without any certificates can still speak plain HTTP.
                Err(_) => builder.with_root_certificates(RootCertStore::empty()),
            },
        };
        let Some((certificate, key)) = &self.settings.identity else { return Ok(builder.with_no_client_auth()) };
        let chain = certificates(certificate)?;
        let key = PrivateKeyDer::from_pem_file(key).map_err(|error| format!("{}: {error}", key.display()))?;
        builder.with_client_auth_cert(chain, key).map_err(|error| format!("{}: {error}", certificate.display()))
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
    let read = CertificateDer::pem_file_iter(file).map_err(|error| shown(&error))?;
    let certificates = read.collect::<Result<Vec<_>, _>>().map_err(|error| shown(&error))?;
    if certificates.is_empty() { Err(shown(&"holds no certificate")) } else { Ok(certificates) }
}
