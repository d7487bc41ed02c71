//! `webhook.authorization`, `webhook.basic_auth` and `webhook.client_certificate`: at most one header, and files.

use std::path::Path;

use crate::config::check::check_absolute;
use crate::config::credentials::{Authorization, Credentials};
use crate::config::file::{Wrong, missing, wrong};
use crate::config::locate::PathPart;
use crate::config::raw;
use crate::config::section::Section;

/// What the file says, checked.
pub(super) fn validate(raw: &mut raw::Webhook) -> Result<Credentials, Wrong> {
    let (authorization, basic_auth) = (raw.authorization.take(), raw.basic_auth.take());
    let key = |keys: &[&'static str]| {
        let keys = keys.iter().map(|key| PathPart::Key(key));
        std::iter::once(PathPart::Key("webhook")).chain(keys).collect::<Vec<_>>()
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
                let message = "username is missing or holds a colon, expected a name";
                return missing(key(&["basic_auth"]), &["username"], message);
            };
            let Some(file) = raw.password_file else {
                let message = "password_file is missing, expected a file with a password";
                return missing(key(&["basic_auth"]), &["password_file"], message);
            };
            absolute(&file, &["basic_auth", "password_file"])?;
            Some(Authorization::Basic { username, file })
        }
        (None, None) => None,
    };
    let allowed_sans = match raw.client_certificate.take() {
        Some(raw) if raw.allowed_sans.is_empty() => {
            let message = "allowed_sans is missing, expected the names that a client's certificate may carry";
            return missing(key(&["client_certificate"]), &["allowed_sans"], message);
        }
        Some(raw) => Some(raw.allowed_sans),
        None => None,
    };
    Ok(Credentials { authorization, allowed_sans })
}
