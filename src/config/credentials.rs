//! What the webhook asks of those who call it. On its paths this stands in place of the web config's basic auth.

use std::path::{Path, PathBuf};

use serde::Serialize;

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
