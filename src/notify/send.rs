//! What all ways of sending share: how an attempt fails, and how a secret is read.

use std::fmt;
use std::path::Path;

use crate::config::Secret;

/// An attempt did not succeed.
#[derive(Debug)]
pub(super) enum SendError {
    /// The next may.
    Later(String),
    /// No other will.
    Never(String),
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SendError::Later(why) | SendError::Never(why) => f.write_str(why),
        }
    }
}

/// A secret is read when it is needed, and goes nowhere but to where it is needed.
pub(super) fn secret(file: &Path) -> Result<Secret, SendError> {
    Secret::read(file).map_err(|error| SendError::Later(crate::chain(&error)))
}
