//! The folder in which reports are kept: written so that a reader never sees half of one, and pruned without touching
//! what is not ours.
//!
//! A report is `report-NUMBER-TIME` with an ending for each form, and its `.snapshot` for the next ones. The number
//! counts up, so that a clock which was set back does not make an old report the newest.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::snapshot::{Snapshot, VERSION};
use super::{RenderError, Report, render};
use crate::config::ReportFormat;
use crate::files::{self, Folder, UNFINISHED};
use crate::plan::Moment;

/// A snapshot of a thousand volumes has some 200 KB.
const LARGEST_SNAPSHOT: u64 = 4 << 20;

/// The folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file or the folder.
    #[error("{}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The report itself.
    #[error(transparent)]
    Render(#[from] RenderError),
}

/// The folder.
#[derive(Debug, Clone)]
pub struct Store(PathBuf);

impl Store {
    /// In that folder, which need not be there.
    pub fn new(folder: impl Into<PathBuf>) -> Store {
        Store(folder.into())
    }

    /// What earlier reports remembered, the oldest first. What cannot be read is left out: a report with less is better
    /// than none.
    pub fn snapshots(&self) -> Vec<Snapshot> {
        let files = self.files().unwrap_or_default();
        let names = files.values().flatten().filter(|name| name.ends_with(".snapshot"));
        names
            .filter_map(|name| {
                let read = read_snapshot(&self.0.join(name));
                read.map_err(|why| tracing::warn!(name, "this snapshot of a report is passed over: {why}")).ok()
            })
            .collect()
    }

    /// When the last report was made that can still be read.
    pub fn last(&self) -> Option<Moment> {
        let files = self.files().unwrap_or_default();
        let mut names = files.values().rev().flatten().filter(|name| name.ends_with(".snapshot"));
        names.find_map(|name| read_snapshot(&self.0.join(name)).ok()).map(|snapshot| snapshot.at)
    }

    /// Keeps a report in these forms, and so many of them.
    pub fn keep(
        &self,
        report: &Report,
        snapshot: &Snapshot,
        formats: &[ReportFormat],
        most: u32,
    ) -> Result<(), StoreError> {
        let folder = self.open()?;
        let number = self.files()?.last_key_value().map_or(1, |(number, _)| number.saturating_add(1));
        let name = format!("report-{number:06}-{}", report.at.strftime("%Y%m%dT%H%M%SZ"));
        for format in formats {
            let text = render(report, *format)?;
            self.write(&folder, &format!("{name}.{}", format.extension()), text.as_bytes())?;
        }
        // Last, so that a report counts as made only when all of it is there.
        self.write(&folder, &format!("{name}.snapshot"), &serde_json::to_vec(snapshot).unwrap_or_default())?;
        self.prune(&folder, most)
    }

    fn open(&self) -> Result<Folder, StoreError> {
        Folder::make(&self.0, 0o700).map_err(|source| StoreError::Io { path: self.0.clone(), source })
    }

    fn write(&self, folder: &Folder, name: &str, content: &[u8]) -> Result<(), StoreError> {
        folder.replace(name, content).map_err(|source| StoreError::Io { path: self.0.join(name), source })
    }

    /// Our files by the number of their report.
    fn files(&self) -> Result<BTreeMap<u64, Vec<String>>, StoreError> {
        let io = |source| StoreError::Io { path: self.0.clone(), source };
        let entries = match fs::read_dir(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
            entries => entries.map_err(io)?,
        };
        let mut found: BTreeMap<u64, Vec<String>> = BTreeMap::new();
        for entry in entries {
            let entry = entry.map_err(io)?;
            let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
            let name = entry.file_name().into_string().unwrap_or_default();
            if let Some(number) = number_of(&name).filter(|_| is_file) {
                found.entry(number).or_default().push(name);
            }
        }
        Ok(found)
    }

    fn prune(&self, folder: &Folder, most: u32) -> Result<(), StoreError> {
        let files = self.files()?;
        let old = files.len().saturating_sub(most as usize);
        for name in files.into_values().take(old).flatten() {
            folder.remove(&name).map_err(|source| StoreError::Io { path: self.0.join(&name), source })?;
        }
        Ok(())
    }
}

/// The number in `report-000001-20260101T000000Z.html`; `None` for a name that is not ours. What a crash left of a file
/// that was being written counts too, so that it goes with its report.
fn number_of(name: &str) -> Option<u64> {
    let (stem, ending) = name.strip_prefix("report-")?.split_once('.')?;
    let (number, time) = stem.split_once('-')?;
    let endings = ["html", "md", "json", "snapshot"];
    // What comes between is different each time.
    let unfinished = ending.strip_suffix(UNFINISHED).map(|ending| ending.split('.').next().unwrap_or_default());
    let ending = unfinished.unwrap_or(ending);
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let (day, time) = time.strip_suffix('Z')?.split_once('T')?;
    let ours = endings.contains(&ending) && digits(number) && number.len() >= 6 && digits(day) && day.len() == 8;
    number.parse().ok().filter(|_| ours && digits(time) && time.len() == 6)
}

fn read_snapshot(path: &Path) -> Result<Snapshot, String> {
    let mut text = Vec::new();
    let file = files::open_own(path, OFlags::RDONLY, 0).map_err(|error| error.to_string())?;
    file.take(LARGEST_SNAPSHOT + 1).read_to_end(&mut text).map_err(|error| error.to_string())?;
    if text.len() as u64 > LARGEST_SNAPSHOT {
        return Err(format!("it has more than {LARGEST_SNAPSHOT} bytes"));
    }
    let snapshot: Snapshot = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
    (snapshot.version == VERSION).then_some(snapshot).ok_or_else(|| "it is of another version".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_names_are_ours() {
        for (name, number) in [
            ("report-000001-20260101T000000Z.html", Some(1)),
            ("report-1000000-20260101T000000Z.snapshot", Some(1_000_000)),
            ("report-000002-20260101T000000Z.md.unfinished", Some(2)),
            ("report-000002-20260101T000000Z.md.0123456789abcdef.unfinished", Some(2)),
            ("report-000002-20260101T000000Z.txt.0123456789abcdef.unfinished", None),
            ("report-000001-20260101T000000Z.txt", None),
            ("report-000001-20260101T000000Z", None),
            ("report-1-20260101T000000Z.html", None),
            ("report-000001-yesterday.html", None),
            ("report-000001-20260101T0000é0Z.html", None),
            ("my-report-000001-20260101T000000Z.html", None),
            ("report-000001-20260101T000000Z.html.bak", None),
            ("", None),
        ] {
            assert_eq!(number_of(name), number, "{name}");
        }
    }
}
