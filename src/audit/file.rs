//! The file of the audit log: lines behind one another, put aside when it is large, mended when a crash tore its end.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rustix::fs::OFlags;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::config::notify::AuditSettings;
use crate::files::{self, Folder};

/// More than the lines of one batch, the last of which a crash may have torn.
const TAIL: u64 = 4 << 20;

/// How each of our lines begins, as its keys are in the order of the alphabet.
const BEGINNINGS: [&[u8]; 2] = [b"{\"after_bytes\":", b"{\"at\":\""];

/// Why a file is not used as an audit log. Nothing was written to it.
#[derive(Debug, thiserror::Error)]
#[error("audit.file: {} is not used", file.display())]
pub struct AuditError {
    file: PathBuf,
    #[source]
    why: io::Error,
}

/// What a file has that is somebody else's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "its last line is not a line of an audit log, so it may be another program's file: move it away, or name another file"
)]
struct Foreign;

/// The record that a line is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Last {
    pub(super) seq: u64,
    pub(super) at: Timestamp,
}

/// A line of ours has these, whatever else it has.
#[derive(Deserialize)]
struct Line {
    seq: u64,
    at: Timestamp,
    #[serde(rename = "host")]
    _host: IgnoredAny,
    #[serde(rename = "event")]
    _event: IgnoredAny,
}

/// The file, open at its end.
#[derive(Debug)]
pub(super) struct LogFile {
    settings: AuditSettings,
    folder: Folder,
    name: OsString,
    file: File,
    size: u64,
}

impl LogFile {
    /// Opens the file or makes it; and what its last whole line is of.
    pub(super) fn open(settings: &AuditSettings) -> io::Result<(LogFile, Option<Last>)> {
        if let Some(folder) = settings.file.parent() {
            Folder::make(folder, 0o750)?;
        }
        let (folder, name) = Folder::of(&settings.file)?;
        let mut file = open(&folder, &name)?;
        let Found { whole, last, odd } = read(&mut file)?;
        let size = file.metadata()?.len();
        if odd > 0 {
            let file = settings.file.display();
            tracing::warn!(%file, lines = odd, "lines of the audit log cannot be read: they are kept and passed over");
        }
        if whole < size {
            tracing::warn!(bytes = size - whole, "the end of the audit log was torn, rewriting it");
            file.set_len(whole)?;
        }
        Ok((LogFile { settings: settings.clone(), folder, name, file, size: whole }, last))
    }

    /// Whether the name still leads to this file: somebody may have moved or removed it.
    pub(super) fn is_in_place(&self) -> bool {
        match (self.file.metadata(), std::fs::metadata(&self.settings.file)) {
            (Ok(ours), Ok(named)) => (ours.dev(), ours.ino()) == (named.dev(), named.ino()),
            _ => false,
        }
    }

    /// Puts whole lines behind what is there, and returns when the disk has them. After an error nothing was appended.
    pub(super) fn append(&mut self, lines: &str) -> io::Result<()> {
        if self.size > 0 && self.size + lines.len() as u64 > self.settings.max_size.0 {
            self.put_aside()?;
        }
        let written = self.file.write_all(lines.as_bytes()).and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            // Half a line must not stay before the next one. Should this fail as well, the next open mends it.
            let _ = self.file.set_len(self.size);
            return Err(error);
        }
        self.size += lines.len() as u64;
        Ok(())
    }

    fn put_aside(&mut self) -> io::Result<()> {
        for number in (1..self.settings.keep).rev() {
            match self.folder.rename(self.aside(number), self.aside(number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        self.folder.rename(&self.name, self.aside(1))?;
        self.file = open(&self.folder, &self.name)?;
        self.size = self.file.metadata()?.len();
        Ok(())
    }

    fn aside(&self, number: u32) -> OsString {
        let mut name = self.name.clone();
        name.push(format!(".{number}"));
        name
    }
}

/// Whether a file can be an audit log, as far as that can be seen without writing. What may pass (a disk that is full,
/// a folder that is not there) is no error here.
pub(super) fn verify(file: &Path) -> Result<(), AuditError> {
    let found = files::open_own(file, OFlags::RDONLY, 0).and_then(|mut file| read(&mut file));
    match found {
        // What the system says has a number, what we say of the file has none.
        Err(why) if why.raw_os_error().is_none() => Err(AuditError { file: file.to_owned(), why }),
        _ => Ok(()),
    }
}

fn open(folder: &Folder, name: &OsString) -> io::Result<File> {
    folder.open(name, OFlags::RDWR | OFlags::APPEND | OFlags::CREATE, 0o640)
}

/// What a file has.
struct Found {
    /// The bytes up to the end of the last whole line.
    whole: u64,
    /// What that line is of.
    last: Option<Last>,
    /// How many lines before it cannot be read, of the last [`TAIL`] bytes.
    odd: usize,
}

fn read(file: &mut File) -> io::Result<Found> {
    let begin = file.metadata()?.len().saturating_sub(TAIL);
    file.seek(SeekFrom::Start(begin))?;
    let mut tail = Vec::new();
    file.take(TAIL).read_to_end(&mut tail)?;
    let Some(end) = tail.iter().rposition(|byte| *byte == b'\n').map(|at| at + 1) else {
        let torn = begin == 0 && may_begin_a_line(&tail);
        return if torn { Ok(Found { whole: 0, last: None, odd: 0 }) } else { Err(io::Error::other(Foreign)) };
    };
    let mut lines = tail[..end].split_inclusive(|byte| *byte == b'\n').collect::<Vec<_>>();
    if begin > 0 {
        // The tail may begin in the middle of a line.
        lines.remove(0);
    }
    let mut odd = 0;
    // After a power cut zeros may be where the disk was not reached; nobody writes such a line.
    while lines.pop_if(|line| line.contains(&0)).is_some() {
        odd += 1;
    }
    let ours = |line: &[u8]| serde_json::from_slice::<Line>(line).ok();
    let Some(Line { seq, at, .. }) = lines.pop().and_then(ours) else { return Err(io::Error::other(Foreign)) };
    odd += lines.into_iter().filter(|line| ours(line).is_none()).count();
    Ok(Found { whole: begin + end as u64, last: Some(Last { seq, at }), odd })
}

/// Whether this can be all that a crash left of the first line.
fn may_begin_a_line(torn: &[u8]) -> bool {
    let text = &torn[..torn.iter().position(|byte| *byte == 0).unwrap_or(torn.len())];
    let zeros = torn[text.len()..].iter().all(|byte| *byte == 0);
    zeros && BEGINNINGS.iter().any(|beginning| text.starts_with(beginning) || beginning.starts_with(text))
}
