//! Any file of ours: read within bounds, turned into its form, and checked; what is wrong is said with line and column.

use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use super::locate::PathPart;
use super::syntax;
use super::tree::{Place, Problem, Tree, build};
use crate::files::{self, Doubt, Trust};

/// Larger files are refused: a config is a page or two, and YAML's nesting is quadratic to read.
const MAX_FILE: u64 = 256 << 10;
/// A person mends some and checks again.
const MOST_PROBLEMS: usize = 50;

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
    /// Values or keys are wrong.
    #[error("{}", shown(.0))]
    Invalid(Vec<Problem>),
}

/// One is said in a line; several in a line each, below their number.
fn shown(problems: &[Problem]) -> String {
    match problems {
        [one] => one.to_string(),
        many => many.iter().fold(format!("{} errors", many.len()), |text, problem| format!("{text}\n{problem}")),
    }
}

/// How a file is read, beside its keys.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Form {
    /// Keys that begin with `x-` are the writer's own.
    pub has_extensions: bool,
    /// The paths of all keys, such as `monitor.targets[].mode`, if they are known.
    pub known: Option<fn() -> Vec<String>>,
}

/// Reads and checks any file of ours, also one that can be read only once (`<(...)`).
pub(super) fn read<R: DeserializeOwned, T>(
    file: &Path,
    trust: Trust,
    form: Form,
    validate: impl Fn(R) -> Result<T, Wrong>,
) -> Result<T, ConfigError> {
    read_yaml(&text(file, trust)?, file, form, validate)
}

/// The files of the folder beside a config file, in the order of their names: `config.d/*.yaml` for `config.yaml`.
pub(super) fn beside(file: &Path) -> Result<Vec<PathBuf>, ConfigError> {
    let folder = file.with_extension("d");
    let read = |source| ConfigError::Read { file: folder.clone(), source };
    let entries = match std::fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(vec![]),
        Err(error) => return Err(read(error)),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(read)?.path();
        // Not those that editors and package managers leave beside them.
        let is_hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !is_hidden && path.extension().is_some_and(|extension| extension == "yaml") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// The text of a file.
pub(super) fn text(file: &Path, trust: Trust) -> Result<String, ConfigError> {
    let read = |source| ConfigError::Read { file: file.to_owned(), source };
    if let Some(other) = files::elsewhere() {
        return bounded(other.read(file).map_err(read)?.as_slice(), 0, file);
    }
    let (open, doubt) = files::open(file).map_err(read)?;
    trust.judge(doubt)?;
    let size = open.metadata().map_err(read)?.len();
    bounded(open, size, file)
}

/// The text of anything that can be read; `size`: as far as it is known.
pub(super) fn bounded(from: impl Read, size: u64, file: &Path) -> Result<String, ConfigError> {
    let mut bytes = Vec::new();
    let read = from.take(MAX_FILE + 1).read_to_end(&mut bytes);
    read.map_err(|source| ConfigError::Read { file: file.to_owned(), source })?;
    match size.max(bytes.len() as u64) {
        size if size > MAX_FILE => Err(ConfigError::TooLarge { file: file.to_owned(), size }),
        _ => syntax::text(bytes).map_err(|(place, message)| invalid(file, place, &message)),
    }
}

/// Text to the form as it is written, and that to what it means.
pub(super) fn read_yaml<R: DeserializeOwned, T>(
    yaml: &str,
    file: &Path,
    form: Form,
    validate: impl Fn(R) -> Result<T, Wrong>,
) -> Result<T, ConfigError> {
    let (tree, problems) = tree(yaml, file, form)?;
    check(tree, problems, form, validate).map(|(valid, _)| valid)
}

/// A text as a tree, and what is wrong with its keys.
pub(super) fn tree(yaml: &str, file: &Path, form: Form) -> Result<(Tree, Vec<Problem>), ConfigError> {
    if yaml.len() as u64 > MAX_FILE {
        return Err(ConfigError::TooLarge { file: file.to_owned(), size: yaml.len() as u64 });
    }
    if let Some((place, message)) = syntax::forbidden(yaml) {
        return Err(invalid(file, Some(place), &message));
    }
    build(yaml, file, form.has_extensions).map_err(|error| {
        let (place, message) = syntax::explain(&error, yaml);
        invalid(file, place, &message)
    })
}

fn invalid(file: &Path, place: Option<Place>, message: &str) -> ConfigError {
    ConfigError::Invalid(vec![Problem { file: file.to_owned(), place, message: crate::plain(message) }])
}

/// Reads the tree again and again, each time without what was wrong before, until nothing is.
pub(super) fn check<R: DeserializeOwned, T>(
    mut tree: Tree,
    mut problems: Vec<Problem>,
    form: Form,
    validate: impl Fn(R) -> Result<T, Wrong>,
) -> Result<(T, Tree), ConfigError> {
    let known = form.known.map(|known| known()).unwrap_or_default();
    while problems.len() < MOST_PROBLEMS {
        let read = R::deserialize(tree.root());
        let valid = read.and_then(|raw| {
            validate(raw).map_err(|wrong| tree.fault(&wrong.path, wrong.missing, wrong.first.as_deref(), wrong.message))
        });
        let fault = match valid {
            Ok(valid) if problems.is_empty() => return Ok((valid, tree)),
            Ok(_) => break,
            Err(fault) => fault,
        };
        problems.extend(tree.report(&fault, &known));
        if !tree.cut(&fault) {
            break;
        }
    }
    let position = |problem: &Problem| tree.files().position(|file| file == problem.file);
    problems.sort_by_key(|problem| (position(problem), problem.place));
    Err(ConfigError::Invalid(problems))
}

/// Something wrong between values, and where.
#[derive(Debug)]
pub(super) struct Wrong {
    path: Vec<PathPart>,
    missing: &'static [&'static str],
    first: Option<Vec<PathPart>>,
    message: String,
}

pub(super) fn wrong<T>(path: impl Into<Vec<PathPart>>, message: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong { path: path.into(), missing: &[], first: None, message: message.into() })
}

/// One of these keys should be in the mapping at that path.
pub(super) fn missing<T>(
    path: impl Into<Vec<PathPart>>,
    keys: &'static [&'static str],
    message: impl Into<String>,
) -> Result<T, Wrong> {
    Err(Wrong { path: path.into(), missing: keys, first: None, message: message.into() })
}

/// What stands there says the same as what stands at `first`.
pub(super) fn twice<T>(path: Vec<PathPart>, first: Vec<PathPart>, message: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong { path, missing: &[], first: Some(first), message: message.into() })
}
