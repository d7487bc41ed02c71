//! The web config: the file of Prometheus' exporter-toolkit as it is, for `--web.config.file`.
//!
//! What that file may say and TLS here cannot do (TLS 1.0 and 1.1, old ciphers, a curve) is an error that names what is
//! possible. Nothing of what stands in the file is repeated in an error where it could be a secret.

use std::collections::HashSet;
use std::fmt;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};

use super::file::{self, ConfigError, Form, Wrong, missing, wrong};
use super::hidden::{Hidden, HiddenText};
use super::locate::PathPart;
use super::secret::Secret;
use crate::duration;
use crate::files::Trust;

/// A dearer hash takes a minute and more to check, and who sends passwords could keep the host busy with it.
const DEAREST_BCRYPT: u32 = 18;

/// What the file says, checked.
#[derive(Debug, Default)]
pub struct Web {
    /// How to speak TLS; `None`: plain text.
    pub tls: Option<Tls>,
    /// Headers that every answer has.
    pub headers: Vec<(String, String)>,
    /// Who may ask, with the bcrypt hash of the password; empty: everybody.
    pub users: Vec<(String, BcryptHash)>,
    /// A token bucket for everything but the webhook: how often a token comes, and how many there may be.
    pub rate_limit: Option<(Duration, u32)>,
}

/// The section `tls_server_config`.
#[derive(Debug)]
pub struct Tls {
    /// The certificate and the chain behind it.
    pub certificate: Pem,
    /// Its key.
    pub key: Pem,
    /// What is asked of clients.
    pub client_auth: ClientAuth,
    /// Who signs the certificates of clients.
    pub client_ca: Option<Pem>,
    /// A client's certificate must carry one of these names.
    pub allowed_sans: Option<Vec<String>>,
    /// Whether TLS 1.2 and 1.3 are spoken.
    pub versions: (bool, bool),
    /// The suites of TLS 1.2; empty: all.
    pub cipher_suites: Vec<CipherSuite>,
    /// The curves in order of preference; empty: as the library has it.
    pub curves: Vec<Curve>,
    /// Whether our order of suites counts, and not the client's.
    pub prefer_own_order: bool,
}

/// Certificates or a key.
#[derive(Debug, Clone)]
pub enum Pem {
    /// In a file.
    File(PathBuf),
    /// In the config itself.
    Inline(Secret),
}

/// Go's names for what is asked of clients.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "each says it, and docs/security.md explains")]
pub enum ClientAuth {
    #[default]
    NoClientCert,
    RequestClientCert,
    RequireAnyClientCert,
    VerifyClientCertIfGiven,
    RequireAndVerifyClientCert,
}

impl ClientAuth {
    /// Whether a certificate that comes is one that `client_ca` signed.
    pub fn verifies(self) -> bool {
        matches!(self, ClientAuth::VerifyClientCertIfGiven | ClientAuth::RequireAndVerifyClientCert)
    }

    /// Whether a connection without a certificate is refused.
    pub fn requires(self) -> bool {
        matches!(self, ClientAuth::RequireAnyClientCert | ClientAuth::RequireAndVerifyClientCert)
    }
}

/// Go's names of the curves that there are here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "names of curves")]
pub enum Curve {
    X25519,
    P256,
    P384,
}

/// Go's names of the suites of TLS 1.2 that there are here; those of TLS 1.3 are always on, as in Go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "names of suites")]
pub enum CipherSuite {
    EcdheEcdsaAes128,
    EcdheEcdsaAes256,
    EcdheEcdsaChacha20,
    EcdheRsaAes128,
    EcdheRsaAes256,
    EcdheRsaChacha20,
    OfTls13,
}

/// The hash of a password.
#[derive(Debug, Clone)]
pub struct BcryptHash {
    /// As it stands in the file.
    pub hash: Secret,
    /// The power of two that checking it costs.
    pub cost: u32,
}

/// Reads and checks a file. Relative paths in it are relative to the file.
pub fn load(path: &Path, trust: Trust) -> Result<Web, ConfigError> {
    file::read(path, trust, Form::default(), |raw: File| validate(raw, path))
}

/// The files that it names; none if it cannot be read.
pub fn files_of(path: &Path, trust: Trust) -> Vec<PathBuf> {
    load(path, trust).ok().and_then(|web| web.tls).map(|tls| tls.files()).unwrap_or_default()
}

impl Tls {
    /// The files that it names.
    pub fn files(&self) -> Vec<PathBuf> {
        let pems = [Some(&self.certificate), Some(&self.key), self.client_ca.as_ref()];
        let named = pems.into_iter().flatten().filter_map(|pem| match pem {
            Pem::File(file) => Some(file.clone()),
            Pem::Inline(_) => None,
        });
        named.collect()
    }
}

/// Checks a text; `path` names it in errors, and relative paths begin there.
pub fn parse(yaml: &str, path: &Path) -> Result<Web, ConfigError> {
    file::read_yaml(yaml, path, Form::default(), |raw: File| validate(raw, path))
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    tls_server_config: Option<TlsServer>,
    http_server_config: HttpServer,
    basic_auth_users: Users,
    rate_limit: RateLimit,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
struct TlsServer {
    cert: Option<Hidden>,
    key: Option<Hidden>,
    client_ca: Option<Hidden>,
    cert_file: Option<PathBuf>,
    key_file: Option<PathBuf>,
    client_ca_file: Option<PathBuf>,
    client_auth_type: Option<Named<ClientAuth>>,
    client_allowed_sans: Option<Vec<String>>,
    min_version: Option<Named<Version>>,
    max_version: Option<Named<Version>>,
    cipher_suites: Vec<Named<CipherSuite>>,
    prefer_server_cipher_suites: Option<bool>,
    curve_preferences: Vec<Named<Curve>>,
}

/// `http2` has no effect: HTTP/1.1 is spoken, which all clients of exporters do as well.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
struct HttpServer {
    #[serde(rename = "http2")]
    _http2: Option<bool>,
    headers: Headers,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Headers {
    #[serde(rename = "Content-Security-Policy")]
    content_security_policy: Option<String>,
    #[serde(rename = "X-Frame-Options")]
    frame_options: Option<String>,
    #[serde(rename = "X-Content-Type-Options")]
    content_type_options: Option<String>,
    #[serde(rename = "X-XSS-Protection")]
    xss_protection: Option<String>,
    #[serde(rename = "Strict-Transport-Security")]
    strict_transport_security: Option<String>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RateLimit {
    #[serde(deserialize_with = "interval")]
    interval: Duration,
    burst: u32,
}

fn validate(raw: File, path: &Path) -> Result<Web, Wrong> {
    let folder = path.parent().unwrap_or(Path::new(""));
    let rate = raw.rate_limit;
    Ok(Web {
        tls: raw.tls_server_config.map(|tls| tls_server(tls, folder)).transpose()?.flatten(),
        headers: headers(raw.http_server_config.headers)?,
        users: raw.basic_auth_users.0,
        rate_limit: (!rate.interval.is_zero()).then_some((rate.interval, rate.burst)),
    })
}

fn tls_server(raw: TlsServer, folder: &Path) -> Result<Option<Tls>, Wrong> {
    let at = |key| vec![PathPart::Key("tls_server_config"), PathPart::Key(key)];
    let section = || vec![PathPart::Key("tls_server_config")];
    let is_used = [&raw.cert, &raw.key, &raw.client_ca].iter().any(|given| given.is_some())
        || [&raw.cert_file, &raw.key_file, &raw.client_ca_file].iter().any(|given| given.is_some())
        || raw.client_auth_type.is_some();
    if !is_used {
        return Ok(None);
    }
    let pem = |file: Option<PathBuf>, inline: Option<Hidden>| match (file, inline) {
        (Some(file), _) => Some(Pem::File(folder.join(file))),
        (None, inline) => inline.map(|inline| Pem::Inline(inline.0)),
    };
    for (file, inline, key) in [
        (&raw.cert_file, &raw.cert, "cert"),
        (&raw.key_file, &raw.key, "key"),
        (&raw.client_ca_file, &raw.client_ca, "client_ca"),
    ] {
        if file.is_some() && inline.is_some() {
            return wrong(at(key), format!("{key}_file is given too, expected only one of them"));
        }
    }
    let Some(certificate) = pem(raw.cert_file, raw.cert) else {
        return missing(
            section(),
            &["cert_file"],
            "cert_file is missing, expected a file with the server's certificate",
        );
    };
    let Some(key) = pem(raw.key_file, raw.key) else {
        return missing(
            section(),
            &["key_file"],
            "key_file is missing, expected a file with the key of the certificate",
        );
    };
    let client_auth = raw.client_auth_type.map(|auth| auth.0).unwrap_or_default();
    let client_ca = pem(raw.client_ca_file, raw.client_ca);
    if client_ca.is_some() && client_auth == ClientAuth::NoClientCert {
        let message = "says who signs the certificates of clients, but client_auth_type asks for none";
        let key = if matches!(client_ca, Some(Pem::File(_))) { "client_ca_file" } else { "client_ca" };
        return wrong(at(key), message);
    }
    if client_ca.is_none() && client_auth.verifies() {
        let message = "needs client_ca_file: without it every certificate that anybody ever signed would do";
        return wrong(at("client_auth_type"), message);
    }
    let (min, max) = (raw.min_version.map_or(Version::Tls12, |v| v.0), raw.max_version.map_or(Version::Tls13, |v| v.0));
    if (min, max) == (Version::Tls13, Version::Tls12) {
        return wrong(at("min_version"), "is above max_version");
    }
    Ok(Some(Tls {
        certificate,
        key,
        client_auth,
        client_ca,
        allowed_sans: raw.client_allowed_sans,
        versions: (min == Version::Tls12, max == Version::Tls13),
        cipher_suites: raw.cipher_suites.into_iter().map(|suite| suite.0).collect(),
        curves: raw.curve_preferences.into_iter().map(|curve| curve.0).collect(),
        prefer_own_order: raw.prefer_server_cipher_suites.unwrap_or(true),
    }))
}

fn headers(raw: Headers) -> Result<Vec<(String, String)>, Wrong> {
    let given: [(&'static str, Option<String>, &[&str]); 5] = [
        ("Content-Security-Policy", raw.content_security_policy, &[]),
        ("X-Frame-Options", raw.frame_options, &["deny", "sameorigin"]),
        ("X-Content-Type-Options", raw.content_type_options, &["nosniff"]),
        ("X-XSS-Protection", raw.xss_protection, &[]),
        ("Strict-Transport-Security", raw.strict_transport_security, &[]),
    ];
    let mut headers = Vec::new();
    for (name, value, allowed) in given {
        let Some(value) = value else { continue };
        let at = [PathPart::Key("http_server_config"), PathPart::Key("headers"), PathPart::Key(name)];
        if !allowed.is_empty() && !allowed.contains(&value.as_str()) {
            return wrong(at, format!("{value:?} is not one of {}", allowed.join(", ")));
        }
        if !value.chars().all(|c| c == ' ' || c.is_ascii_graphic()) {
            return wrong(at, "is not plain text on one line");
        }
        headers.push((name.to_owned(), value));
    }
    Ok(headers)
}

/// A word out of a list, read where it stands.
#[derive(Debug)]
struct Named<T>(T);

impl<'de, T: FromStr<Err = String>> Deserialize<'de> for Named<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Named<T>, D::Error> {
        struct Word<T>(PhantomData<T>);

        // Parsed inside of the visitor, where an error learns its place.
        impl<T: FromStr<Err = String>> Visitor<'_> for Word<T> {
            type Value = T;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
                text.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_any(Word(PhantomData)).map(Named)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    Tls12,
    Tls13,
}

impl FromStr for Version {
    type Err = String;

    fn from_str(text: &str) -> Result<Version, String> {
        match text {
            "TLS12" => Ok(Version::Tls12),
            "TLS13" => Ok(Version::Tls13),
            "TLS10" | "TLS11" => Err(format!("{text} is not safe and not spoken, expected TLS12 or TLS13")),
            _ => Err(format!("{text:?} is not a version, expected TLS12 or TLS13")),
        }
    }
}

impl FromStr for ClientAuth {
    type Err = String;

    fn from_str(text: &str) -> Result<ClientAuth, String> {
        Ok(match text {
            "" | "NoClientCert" => ClientAuth::NoClientCert,
            "RequestClientCert" => ClientAuth::RequestClientCert,
            // The second is what older versions of the toolkit called it.
            "RequireAnyClientCert" | "RequireClientCert" => ClientAuth::RequireAnyClientCert,
            "VerifyClientCertIfGiven" => ClientAuth::VerifyClientCertIfGiven,
            "RequireAndVerifyClientCert" => ClientAuth::RequireAndVerifyClientCert,
            _ => {
                return Err(format!(
                    "{text:?} is not one of NoClientCert, RequestClientCert, RequireAnyClientCert, VerifyClientCertIfGiven, \
                     RequireAndVerifyClientCert"
                ));
            }
        })
    }
}

impl FromStr for CipherSuite {
    type Err = String;

    fn from_str(text: &str) -> Result<CipherSuite, String> {
        Ok(match text {
            "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256" => CipherSuite::EcdheEcdsaAes128,
            "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384" => CipherSuite::EcdheEcdsaAes256,
            "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256" => CipherSuite::EcdheEcdsaChacha20,
            "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256" => CipherSuite::EcdheRsaAes128,
            "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384" => CipherSuite::EcdheRsaAes256,
            "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256" => CipherSuite::EcdheRsaChacha20,
            "TLS_AES_128_GCM_SHA256" | "TLS_AES_256_GCM_SHA384" | "TLS_CHACHA20_POLY1305_SHA256" => {
                CipherSuite::OfTls13
            }
            _ => {
                return Err(format!(
                    "{text:?} is not a suite that is spoken here, expected \
                     TLS_ECDHE_{{ECDSA,RSA}}_WITH_{{AES_128_GCM_SHA256,AES_256_GCM_SHA384,CHACHA20_POLY1305_SHA256}}"
                ));
            }
        })
    }
}

impl FromStr for Curve {
    type Err = String;

    fn from_str(text: &str) -> Result<Curve, String> {
        Ok(match text {
            "X25519" => Curve::X25519,
            "CurveP256" => Curve::P256,
            "CurveP384" => Curve::P384,
            _ => {
                return Err(format!(
                    "{text:?} is not a curve that is spoken here, expected X25519, CurveP256 or CurveP384"
                ));
            }
        })
    }
}

/// Users and their hashes. A user that stands twice is an error: which of the two passwords would hold?
#[derive(Debug, Default)]
struct Users(Vec<(String, BcryptHash)>);

impl<'de> Deserialize<'de> for Users {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Users, D::Error> {
        struct Keys;

        impl<'de> Visitor<'de> for Keys {
            type Value = Users;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("users, each with the bcrypt hash of a password")
            }

            fn visit_unit<E: de::Error>(self) -> Result<Users, E> {
                Ok(Users::default())
            }

            fn visit_str<E: de::Error>(self, _: &str) -> Result<Users, E> {
                Err(E::invalid_type(de::Unexpected::Other("text"), &self))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Users, A::Error> {
                let (mut users, mut known) = (Vec::new(), HashSet::new());
                while let Some(user) = map.next_key::<String>()? {
                    let hash = map.next_value::<BcryptHash>()?;
                    if !known.insert(user.clone()) {
                        return Err(de::Error::custom(format!("the user {user:?} stands there twice")));
                    }
                    users.push((user, hash));
                }
                Ok(Users(users))
            }
        }

        deserializer.deserialize_any(Keys)
    }
}

impl<'de> Deserialize<'de> for BcryptHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<BcryptHash, D::Error> {
        deserializer.deserialize_any(HiddenText(|text| {
            let Some(cost) = text.parse::<bcrypt::HashParts>().ok().map(|parts| parts.get_cost()) else {
                return Err(
                    "is not a bcrypt hash, expected what `htpasswd -nBC 10 \"\" | tr -d ':\\n'` prints".to_owned()
                );
            };
            if cost > DEAREST_BCRYPT {
                return Err(format!(
                    "has the cost {cost}, which takes minutes to check, expected at most {DEAREST_BCRYPT}; 10 is usual"
                ));
            }
            Ok(BcryptHash { hash: Secret::new(text), cost })
        }))
    }
}

/// Go's durations: text with units, or a number of nanoseconds.
fn interval<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    struct Interval;

    impl Visitor<'_> for Interval {
        type Value = Duration;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a duration such as 1s or 500ms, or 0")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<Duration, E> {
            duration::parse(text)
                .map_err(|error| E::custom(format!("{text:?} {error}, expected a duration such as 1s")))
        }

        fn visit_u64<E: de::Error>(self, nanoseconds: u64) -> Result<Duration, E> {
            Ok(Duration::from_nanos(nanoseconds))
        }
    }

    deserializer.deserialize_any(Interval)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "$2y$10$X0h1gDsPszWURQaxFh.zoubFi6DXncSjhoQNJgRrnGs7EsimhC7zG";

    fn web(yaml: &str) -> Web {
        parse(yaml, Path::new("/etc/x/web.yml")).unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn the_toolkits_own_example_loads() {
        let yaml = format!(
            "tls_server_config: {{ cert_file: server.crt, key_file: /k/server.key, client_auth_type: RequireClientCert }}\n\
             http_server_config: {{ http2: true, headers: {{ X-Frame-Options: deny }} }}\n\
             basic_auth_users:\n  alice: {HASH}\n  bob: {HASH}\nrate_limit: {{ interval: 1s, burst: 20 }}\n"
        );
        let web = web(&yaml);
        let tls = web.tls.expect("TLS");
        let is_file = |pem: &Pem, path: &str| matches!(pem, Pem::File(file) if file == Path::new(path));
        assert!(is_file(&tls.certificate, "/etc/x/server.crt"), "relative to the file: {:?}", tls.certificate);
        assert!(is_file(&tls.key, "/k/server.key"));
        assert_eq!(tls.client_auth, ClientAuth::RequireAnyClientCert, "its old name");
        assert_eq!(tls.versions, (true, true));
        assert_eq!(web.headers, [("X-Frame-Options".to_owned(), "deny".to_owned())]);
        assert_eq!(
            web.users.iter().map(|(name, hash)| (name.as_str(), hash.cost)).collect::<Vec<_>>(),
            [("alice", 10), ("bob", 10)]
        );
        assert_eq!(web.rate_limit, Some((Duration::from_secs(1), 20)));
    }

    #[test]
    fn nothing_is_no_tls_and_no_users() {
        for yaml in [
            "",
            "# nothing\n",
            "tls_server_config: {}",
            "tls_server_config: { min_version: TLS13 }",
            "basic_auth_users:",
        ] {
            let web = web(yaml);
            assert!(web.tls.is_none() && web.users.is_empty() && web.rate_limit.is_none(), "{yaml}");
        }
    }

    #[test]
    fn errors_say_where_and_what_is_possible_and_no_secret() {
        let tls = "tls_server_config:\n  cert_file: a\n  key_file: b\n  ";
        let cases = [
            ("tls: {}".to_owned(), "web.yml:1:1: tls: unknown key"),
            (format!("{tls}min_version: TLS10"), "web.yml:4:16: tls_server_config.min_version: TLS10 is not safe"),
            (format!("{tls}max_version: SSL3"), "expected TLS12 or TLS13"),
            (
                format!("{tls}min_version: TLS13\n  max_version: TLS12"),
                "web.yml:4:16: tls_server_config.min_version: is above",
            ),
            (format!("{tls}cert_file: c"), "web.yml:4:3: tls_server_config.cert_file: duplicate key"),
            (format!("{tls}cert: s3cr3t"), "tls_server_config.cert: cert_file is given too"),
            (format!("{tls}client_ca_file: c"), "web.yml:4:19: tls_server_config.client_ca_file: says who signs"),
            (
                format!("{tls}client_auth_type: RequireAndVerifyClientCert"),
                "web.yml:4:21: tls_server_config.client_auth_type: needs client_ca_file",
            ),
            (format!("{tls}client_auth_type: Please"), "is not one of NoClientCert, RequestClientCert"),
            (
                format!("{tls}cipher_suites: [TLS_RSA_WITH_AES_128_CBC_SHA]"),
                "\"TLS_RSA_WITH_AES_128_CBC_SHA\" is not a suite that is spoken here, expected TLS_ECDHE_",
            ),
            (format!("{tls}curve_preferences: [CurveP521]"), "expected X25519, CurveP256 or CurveP384"),
            ("tls_server_config: { key_file: b }".to_owned(), "tls_server_config: cert_file is missing"),
            ("tls_server_config: { cert_file: b }".to_owned(), "tls_server_config: key_file is missing"),
            ("tls_server_config: { key: [s3cr3t] }".to_owned(), "expected text"),
            (
                "http_server_config: { headers: { X-Frame-Options: allow } }".to_owned(),
                "is not one of deny, sameorigin",
            ),
            ("http_server_config: { headers: { Server: x } }".to_owned(), "headers.Server: unknown key"),
            (
                "basic_auth_users: { alice: s3cr3t }".to_owned(),
                "web.yml:1:28: basic_auth_users.alice: is not a bcrypt hash",
            ),
            ("basic_auth_users: { alice: 123 }".to_owned(), "basic_auth_users.alice: is a number, expected text"),
            ("basic_auth_users: 's3cr3t'".to_owned(), "is text, expected users"),
            (format!("basic_auth_users: {{ alice: {HASH}, alice: {HASH} }}"), "basic_auth_users.alice: duplicate key"),
            (
                format!("basic_auth_users: {{ alice: {} }}", HASH.replace("$10$", "$30$")),
                "has the cost 30, which takes minutes to check",
            ),
            ("rate_limit: { interval: soon }".to_owned(), "expected a duration such as 1s"),
        ];
        for (yaml, wants) in cases {
            let error = parse(&yaml, Path::new("web.yml")).expect_err("must be refused").to_string();
            assert!(error.contains(wants), "{yaml}\n  gave   {error}\n  wanted {wants}");
            assert!(!error.contains("s3cr3t") && !error.contains("X0h1gDs"), "{error}");
        }
    }
}
