//! The file of the audit log: lines behind one another, put aside when it is large, mended when a crash tore its end.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Deserialize;

use crate::config::notify::Audit;

/// More than the lines of one batch, the last of which a crash may have torn.
const TAIL: u64 = 4 << 20;

/// The record that a line is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(super) struct Last {
    pub(super) seq: u64,
    pub(super) at: Timestamp,
}

/// The file, open at its end.
#[derive(Debug)]
pub(super) struct LogFile {
    settings: Audit,
    file: File,
    size: u64,
}

impl LogFile {
    /// Opens the file or makes it; and what its last whole line is of.
    pub(super) fn open(settings: &Audit) -> io::Result<(LogFile, Option<Last>)> {
        let mut file = open(&settings.file)?;
        let (size, last) = mended(&mut file)?;
        Ok((LogFile { settings: settings.clone(), file, size }, last))
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

    #[expect(clippy::disallowed_methods, reason = "the audit log is put aside by renaming")]
    fn put_aside(&mut self) -> io::Result<()> {
        for number in (1..self.settings.keep).rev() {
            match std::fs::rename(aside(&self.settings.file, number), aside(&self.settings.file, number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        std::fs::rename(&self.settings.file, aside(&self.settings.file, 1))?;
        self.file = open(&self.settings.file)?;
        self.size = self.file.metadata()?.len();
        Ok(())
    }
}

fn aside(file: &Path, number: u32) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(format!(".{number}"));
    PathBuf::from(name)
}

#[expect(clippy::disallowed_methods, reason = "the audit log is made here, and nowhere else")]
fn open(path: &Path) -> io::Result<File> {
    if let Some(folder) = path.parent() {
        std::fs::DirBuilder::new().recursive(true).mode(0o750).create(folder)?;
    }
    let file = OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o640)
        // Root follows no link that somebody put in the place of a log, and does not wait for the reader of a pipe.
        .custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK)
        .open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::other("is no regular file")),
    }
}

/// Cuts off what is no whole line at the end; the size then, and the last line.
fn mended(file: &mut File) -> io::Result<(u64, Option<Last>)> {
    let size = file.metadata()?.len();
    let begin = size.saturating_sub(TAIL);
    file.seek(SeekFrom::Start(begin))?;
    let mut tail = Vec::new();
    file.read_to_end(&mut tail)?;
    let (mut whole, mut last, mut skip) = (begin, None, begin > 0);
    let mut at = begin;
    for line in tail.split_inclusive(|byte| *byte == b'\n') {
        at += line.len() as u64;
        // The tail may begin in the middle of a line.
        if std::mem::take(&mut skip) {
            whole = at;
            continue;
        }
        let read = line.ends_with(b"\n").then(|| serde_json::from_slice::<Last>(line).ok()).flatten();
        let Some(read) = read else { break };
        (whole, last) = (at, Some(read));
    }
    if whole < size {
        tracing::warn!(bytes = size - whole, "the end of the audit log was torn, it is written again");
        file.set_len(whole)?;
    }
    Ok((whole, last))
}
