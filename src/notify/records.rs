//! Where the records come from that people are told of, and where it is kept how far they were told.

use std::path::{Path, PathBuf};

use crate::journal::{Journal, Mark, Record};

/// The records, and how far they were told.
pub trait Records: Send + Sync {
    /// The number up to which all was told, if that is known.
    fn progress(&self) -> Option<u64>;

    /// All is told up to this number. That it cannot be remembered is no error: then something is told twice.
    fn told(&self, number: u64);

    /// The number of the last record.
    fn last(&self) -> u64;

    /// All that are still there, from the oldest on.
    ///
    /// # Errors
    ///
    /// Why they cannot be read, in words.
    fn all(&self, tell: &mut dyn FnMut(Record<'_>)) -> Result<(), String>;
}

/// Those of a journal in this host's state directory.
pub struct InFolder {
    folder: PathBuf,
    mark: Option<Mark>,
    told: Option<u64>,
}

impl InFolder {
    /// Of the journal in that folder.
    pub fn new(folder: &Path) -> InFolder {
        let (mark, told) = match Mark::open(folder, "notified") {
            Ok((mark, told)) => (Some(mark), told),
            Err(error) => {
                tracing::warn!("{}: cannot save notification progress: {error}", folder.display());
                (None, None)
            }
        };
        InFolder { folder: folder.to_owned(), mark, told }
    }
}

impl Records for InFolder {
    fn progress(&self) -> Option<u64> {
        self.told
    }

    fn told(&self, number: u64) {
        if let Some(mark) = &self.mark
            && let Err(error) = mark.set(number)
        {
            tracing::warn!("cannot save notification progress, some may be sent again after a restart: {error}");
        }
    }

    fn last(&self) -> u64 {
        Journal::peek(&self.folder).map_or(0, |state| state.records)
    }

    fn all(&self, tell: &mut dyn FnMut(Record<'_>)) -> Result<(), String> {
        Journal::read_since(&self.folder, 0, tell).map_err(|error| crate::chain(&error))
    }
}
