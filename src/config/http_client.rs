//! How to call others, as Prometheus' `http_config` says it: credentials and TLS.

use std::path::{Path, PathBuf};

use super::check::check_absolute;
use super::credentials::Authorization;
use super::file::{self, ConfigError, Form, Wrong, wrong};
use super::locate::PathPart;
use crate::files::Trust;

/// What is shown to the other side, and how it is recognised.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HttpClient {
    /// What the header `Authorization` says.
    pub authorization: Option<Authorization>,
    /// The certificates that are trusted; `None`: the system's.
    pub ca_file: Option<PathBuf>,
    /// Our own certificate and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// Reads and checks a file.
pub fn load_http_client(path: &Path) -> Result<HttpClient, ConfigError> {
    file::read(path, Trust::Required, Form::default(), validate)
}

impl HttpClient {
    /// The files it needs.
    pub fn files(&self) -> Vec<&Path> {
        let identity = self.identity.iter().flat_map(|(certificate, key)| [certificate, key]);
        let files = identity.chain(&self.ca_file).map(PathBuf::as_path);
        files.chain(self.authorization.iter().map(Authorization::file)).collect()
    }
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Raw {
    authorization: Option<RawAuthorization>,
    basic_auth: Option<RawBasic>,
    tls_config: RawTls,
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAuthorization {
    r#type: Option<String>,
    credentials_file: PathBuf,
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct RawBasic {
    username: String,
    password_file: PathBuf,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawTls {
    ca_file: Option<PathBuf>,
    cert_file: Option<PathBuf>,
    key_file: Option<PathBuf>,
}

fn validate(raw: Raw) -> Result<HttpClient, Wrong> {
    let authorization = match (raw.authorization, raw.basic_auth) {
        (Some(_), Some(_)) => {
            return wrong([PathPart::Key("basic_auth")], "authorization is given too, expected only one of them");
        }
        (Some(RawAuthorization { r#type, credentials_file: file }), None) => {
            let scheme = r#type.unwrap_or_else(|| "Bearer".to_owned());
            if scheme.is_empty() || !scheme.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)) {
                let at = [PathPart::Key("authorization"), PathPart::Key("type")];
                return wrong(at, "is not the name of a scheme such as Bearer");
            }
            check_absolute(&file, &[PathPart::Key("authorization"), PathPart::Key("credentials_file")])?;
            Some(Authorization::Token { scheme, file })
        }
        (None, Some(RawBasic { username, password_file: file })) => {
            check_absolute(&file, &[PathPart::Key("basic_auth"), PathPart::Key("password_file")])?;
            Some(Authorization::Basic { username, file })
        }
        (None, None) => None,
    };
    let RawTls { ca_file, cert_file, key_file } = raw.tls_config;
    for (key, path) in [("ca_file", &ca_file), ("cert_file", &cert_file), ("key_file", &key_file)] {
        if let Some(path) = path {
            check_absolute(path, &[PathPart::Key("tls_config"), PathPart::Key(key)])?;
        }
    }
    let identity = match (cert_file, key_file) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        _ => return wrong([PathPart::Key("tls_config")], "cert_file and key_file belong together, only one is given"),
    };
    Ok(HttpClient { authorization, ca_file, identity })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(yaml: &str) -> Result<HttpClient, String> {
        file::read_yaml(yaml, Path::new("c.yaml"), Form::default(), validate).map_err(|error| error.to_string())
    }

    #[test]
    fn as_prometheus_writes_it() {
        let token = Authorization::Token { scheme: "Bearer".to_owned(), file: "/t".into() };
        let client = HttpClient { authorization: Some(token), ..HttpClient::default() };
        assert_eq!(parse("authorization: { credentials_file: /t }"), Ok(client));
        let tls = parse("tls_config: { ca_file: /ca, cert_file: /c, key_file: /k }").expect("valid");
        assert_eq!((tls.ca_file, tls.identity), (Some("/ca".into()), Some(("/c".into(), "/k".into()))));
        assert_eq!(parse(""), Ok(HttpClient::default()));
    }

    #[test]
    fn errors_say_where() {
        for (yaml, says) in [
            ("authorization: { credentials: x }", "c.yaml:1:18: authorization.credentials: unknown key"),
            (
                "authorization: { credentials_file: t }",
                "c.yaml:1:36: authorization.credentials_file: \"t\" is not absolute",
            ),
            ("tls_config: { cert_file: /c }", "belong together"),
            ("tls_config: { insecure_skip_verify: true }", "insecure_skip_verify: unknown key"),
            (
                "authorization: { credentials_file: /t }\nbasic_auth: { username: u, password_file: /p }",
                "c.yaml:2:13: basic_auth: authorization is given too",
            ),
        ] {
            let error = parse(yaml).expect_err(yaml);
            assert!(error.contains(says), "{yaml}: {error}");
        }
    }
}
