//! Any file of ours: read within bounds, turned into its form, and checked; what is wrong is said with line and column.

use std::io::Read;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use super::locate::{PathPart, locate, show};
use crate::files::{self, Doubt, Trust};

/// Larger files are refused: a config is a page or two, and YAML's nesting is quadratic to read.
const MAX_FILE: u64 = 256 << 10;

/// What is wrong with a config file, in the form `file:line:column: path: what is wrong, what was expected`.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("{}: cannot be read", file.display())]
    Read {
        /// Which.
        file: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Others could have changed it.
    #[error("a file is not used")]
    Untrusted(#[from] Doubt),
    /// The file is too large.
    #[error("{}: is {size} bytes, expected at most {MAX_FILE}", file.display())]
    TooLarge {
        /// Which.
        file: PathBuf,
        /// Its size.
        size: u64,
    },
    /// A value or key is wrong.
    #[error("{}", shown(file, *place, message))]
    Invalid {
        /// Which file.
        file: PathBuf,
        /// Line and column, from 1.
        place: Option<(usize, usize)>,
        /// `path: what is wrong, what was expected`.
        message: String,
    },
}

fn shown(file: &Path, place: Option<(usize, usize)>, message: &str) -> String {
    match place {
        Some((line, column)) => format!("{}:{line}:{column}: {message}", file.display()),
        None => format!("{}: {message}", file.display()),
    }
}

/// Reads and checks any file of ours, also one that can be read only once (`<(...)`).
pub(super) fn read<R: Default + DeserializeOwned, T>(
    file: &Path,
    trust: Trust,
    validate: impl FnOnce(R) -> Result<T, Wrong>,
) -> Result<T, ConfigError> {
    let read = |source| ConfigError::Read { file: file.to_owned(), source };
    let (open, doubt) = files::open(file).map_err(read)?;
    trust.judge(doubt)?;
    let size = open.metadata().map_err(read)?.len();
    let mut text = String::new();
    open.take(MAX_FILE + 1).read_to_string(&mut text).map_err(read)?;
    match size.max(text.len() as u64) {
        size if size > MAX_FILE => Err(ConfigError::TooLarge { file: file.to_owned(), size }),
        _ => read_yaml(&text, file, validate),
    }
}

/// Text to the form as it is written, and that to what it means.
pub(super) fn read_yaml<R: Default + DeserializeOwned, T>(
    yaml: &str,
    file: &Path,
    validate: impl FnOnce(R) -> Result<T, Wrong>,
) -> Result<T, ConfigError> {
    let invalid =
        |place, message: String| ConfigError::Invalid { file: file.to_owned(), place, message: crate::plain(&message) };
    if yaml.len() as u64 > MAX_FILE {
        return Err(ConfigError::TooLarge { file: file.to_owned(), size: yaml.len() as u64 });
    }
    // A file with nothing but comments is an empty config, not a null that is no mapping.
    let is_blank = |line: &str| line.trim().is_empty() || line.trim_start().starts_with('#') || line.trim() == "---";
    let file_form: R = if yaml.lines().all(is_blank) {
        R::default()
    } else {
        serde_yaml::from_str(yaml).map_err(|error| {
            let place = error.location().map(|at| (at.line(), at.column()));
            invalid(place, without_place(&error.to_string()))
        })?
    };
    validate(file_form).map_err(|wrong| {
        let place = locate(yaml, &wrong.path);
        invalid(place, format!("{}: {}", show(&wrong.path), wrong.message))
    })
}

/// The library puts the place behind its message, we put it in front.
fn without_place(message: &str) -> String {
    match message.rfind(" at line ") {
        Some(at) => message[..at].to_owned(),
        None => message.to_owned(),
    }
}

/// Something wrong between values, and where.
pub(super) struct Wrong {
    path: Vec<PathPart>,
    message: String,
}

pub(super) fn wrong<T>(path: impl Into<Vec<PathPart>>, message: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong { path: path.into(), message: message.into() })
}
