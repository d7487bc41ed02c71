//! What the webhook asks of those who call it. On its paths this stands in place of the web config's basic auth.

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};

use super::file::{Wrong, wrong};
use super::load::check_absolute;
use super::locate::Step;
use super::raw;

/// The credentials of `/webhook/*`; by default none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Credentials {
    /// What the header `Authorization` must say.
    pub authorization: Option<Authorization>,
    /// Names of which the client's certificate must carry one.
    pub allowed_sans: Option<Vec<String>>,
}

/// One of the two ways to use the header; there is only one header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Authorization {
    /// `Bearer TOKEN`, or another scheme.
    Token {
        /// The scheme; case does not matter.
        scheme: String,
        /// Where the token stands.
        file: PathBuf,
    },
    /// `Basic`, with one user.
    Basic {
        /// Who.
        username: String,
        /// Where the password stands.
        file: PathBuf,
    },
}

impl Authorization {
    /// Where the secret stands.
    pub fn file(&self) -> &Path {
        match self {
            Authorization::Token { file, .. } | Authorization::Basic { file, .. } => file,
        }
    }
}

impl Credentials {
    /// Whether anything is asked.
    pub fn ask(&self) -> bool {
        *self != Credentials::default()
    }
}

/// What the file says, checked.
pub(super) fn validate(raw: &mut raw::Webhook) -> Result<Credentials, Wrong> {
    let (authorization, basic_auth) = (raw.authorization.take(), raw.basic_auth.take());
    let key = |keys: &[&'static str]| {
        let keys = keys.iter().map(|key| Step::Key(key));
        std::iter::once(Step::Key("webhook")).chain(keys).collect::<Vec<_>>()
    };
    let absolute = |path: &Path, keys: &[&'static str]| check_absolute(path, &key(keys));
    let authorization = match (authorization, basic_auth) {
        (Some(_), Some(_)) => {
            return wrong(
                key(&["basic_auth"]),
                "authorization is given too, and a request has one Authorization header",
            );
        }
        (Some(Section(raw)), None) => {
            let scheme = raw.r#type.unwrap_or_else(|| "Bearer".to_owned());
            if scheme.eq_ignore_ascii_case("basic") {
                return wrong(key(&["authorization", "type"]), "is basic, which webhook.basic_auth is for");
            }
            if scheme.is_empty() || !scheme.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)) {
                return wrong(key(&["authorization", "type"]), "is not the name of a scheme such as Bearer");
            }
            let file = raw.credentials_file;
            absolute(&file, &["authorization", "credentials_file"])?;
            Some(Authorization::Token { scheme, file })
        }
        (None, Some(Section(raw))) => {
            let Some(username) = raw.username.filter(|name| !name.is_empty() && !name.contains(':')) else {
                return wrong(key(&["basic_auth"]), "username is missing or holds a colon, expected a name");
            };
            let Some(file) = raw.password_file else {
                return wrong(key(&["basic_auth"]), "password_file is missing, expected a file with a password");
            };
            absolute(&file, &["basic_auth", "password_file"])?;
            Some(Authorization::Basic { username, file })
        }
        (None, None) => None,
    };
    let allowed_sans = match raw.client_certificate.take() {
        Some(raw) if raw.allowed_sans.is_empty() => {
            let message = "allowed_sans is missing, expected the names that a client's certificate may carry";
            return wrong(key(&["client_certificate"]), message);
        }
        Some(raw) => Some(raw.allowed_sans),
        None => None,
    };
    Ok(Credentials { authorization, allowed_sans })
}

/// A mapping where somebody may write a secret by mistake: the error does not repeat it.
#[derive(Debug)]
pub(super) struct Section<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Section<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Section<T>, D::Error> {
        struct Keys<T>(std::marker::PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Keys<T> {
            type Value = T;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a mapping; secrets stand in files of their own")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
                T::deserialize(de::value::MapAccessDeserializer::new(map))
            }

            fn visit_str<E: de::Error>(self, _: &str) -> Result<T, E> {
                Err(E::invalid_type(de::Unexpected::Other("text"), &self))
            }

            fn visit_u64<E: de::Error>(self, _: u64) -> Result<T, E> {
                Err(E::invalid_type(de::Unexpected::Other("a number"), &self))
            }

            fn visit_i64<E: de::Error>(self, _: i64) -> Result<T, E> {
                Err(E::invalid_type(de::Unexpected::Other("a number"), &self))
            }

            fn visit_f64<E: de::Error>(self, _: f64) -> Result<T, E> {
                Err(E::invalid_type(de::Unexpected::Other("a number"), &self))
            }
        }

        deserializer.deserialize_any(Keys(std::marker::PhantomData)).map(Section)
    }
}
