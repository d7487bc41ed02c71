//! Values that must never be shown. They come from files only, and leave this module only to be compared or sent.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use subtle::ConstantTimeEq;

use crate::files;

/// Tokens and passwords are a line; a larger file was named by mistake.
const MAX_FILE: u64 = 64 << 10;

/// A token or a password. It has no `Display`, its `Debug` says nothing, and it is compared only by [`Secret::is`].
#[derive(Clone)]
pub struct Secret(String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// Why a file holds no secret. None of it says what the file holds.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum SecretError {
    #[error("{}: cannot be read", file.display())]
    Read {
        file: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{}: is empty, expected a secret on one line", file.display())]
    Empty { file: PathBuf },
    #[error("{}: is not one line of text, expected a secret on one line", file.display())]
    Odd { file: PathBuf },
}

impl Secret {
    /// For what does not come from a file of its own.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// Reads a file; white space around the secret is not part of it.
    pub fn read(file: &Path) -> Result<Secret, SecretError> {
        let failed = |source| SecretError::Read { file: file.to_owned(), source };
        let bytes = files::read(file).map_err(failed)?;
        let odd = || SecretError::Odd { file: file.to_owned() };
        let text = std::str::from_utf8(&bytes).map_err(|_| odd())?.trim();
        if text.is_empty() {
            return Err(SecretError::Empty { file: file.to_owned() });
        }
        if bytes.len() as u64 > MAX_FILE || text.contains(char::is_control) {
            return Err(odd());
        }
        Ok(Secret(text.to_owned()))
    }

    /// Whether it is this; how long that takes says nothing about where the two differ.
    pub fn is(&self, offered: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(offered).into()
    }

    /// The secret itself, for whom it is meant.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test")]
    fn a_secret_is_one_line_and_is_not_shown() {
        let folder = tempfile::tempdir().expect("a folder");
        let read = |content: &[u8]| {
            let file = folder.path().join("token");
            std::fs::write(&file, content).expect("written");
            Secret::read(&file)
        };
        let secret = read(b"  s3cr3t\n").expect("a secret");
        assert!(secret.is(b"s3cr3t") && !secret.is(b"s3cr3T") && !secret.is(b"s3cr3t2") && !secret.is(b""));
        assert_eq!(format!("{secret:?}"), "(secret)");
        for (content, wants) in [
            (&b""[..], "is empty"),
            (b" \n\n", "is empty"),
            (b"one\ntwo\n", "is not one line"),
            (b"\xff\xfe", "is not one line"),
            (b"a\0b", "is not one line"),
            (&[b'x'; 70_000], "is not one line"),
        ] {
            let error = read(content).expect_err("no secret").to_string();
            assert!(error.contains(wants) && !error.contains("one\n"), "{error}");
        }
        assert!(Secret::read(&folder.path().join("none")).is_err());
    }
}
