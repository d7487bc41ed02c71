//! Two files of fixed size, filled with zeros when they are made and written in place from then on.
//!
//! A full disk is when this tool is needed, so writing must not need space: on a full ext4 and XFS a write into blocks
//! that were written before succeeds where an append, a new file or even a write into `fallocate`d blocks may not.
//!
//! A segment is a header of one sector (magic, version, generation, checksum) and frames behind it: length, checksum,
//! payload. The checksum covers generation, offset and the frame before it too, so that a frame left over from an earlier
//! use of the file, or from a write that failed, is not taken for one of this. The first frame that does not check is the end. When a segment is full, a checkpoint is
//! written into the other one, whose header is written last: until then the old one is the newer.

#![expect(clippy::disallowed_methods, reason = "the journal is one of the two places that write files")]

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The version of the format this program writes; it reads this and all older ones.
pub(super) const VERSION: u32 = 1;

const MAGIC: &[u8; 8] = b"LVMASJNL";
/// A disk sector: a header is written whole or not at all.
const HEADER: u64 = 512;
const FRAME_HEAD: usize = 8;

/// Why the segments cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SegmentError {
    /// The system refused.
    #[error("{}: {doing}", file.display())]
    Io {
        /// The file or folder.
        file: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Written by a later version of this program.
    #[error("{}: has format {found}, this program knows up to {VERSION}: run the version that wrote it, or a newer one", file.display())]
    Newer {
        /// The file.
        file: PathBuf,
        /// Its version.
        found: u32,
    },
    /// Neither file holds a readable journal although at least one exists.
    #[error("{}: neither segment can be read: move the folder away to start with an empty journal, after a look at what ran last", folder.display())]
    Damaged {
        /// The folder.
        folder: PathBuf,
    },
    /// A payload is larger than a segment.
    #[error("a record of {0} bytes does not fit into a segment")]
    TooLarge(usize),
}

/// The two files, positioned at the end of what was written.
#[derive(Debug)]
pub(super) struct Segments {
    files: [(PathBuf, File); 2],
    current: usize,
    generation: u64,
    offset: u64,
    /// The checksum of the last frame.
    chain: u32,
    size: u64,
}

/// What was found: the payloads of the newest segment, the first of them its checkpoint.
pub(super) type Payloads = Vec<Vec<u8>>;

impl Segments {
    /// Opens the folder's segments, or makes them with `first` as the checkpoint.
    pub(super) fn open(folder: &Path, size: u64, first: &[u8]) -> Result<(Segments, Payloads), SegmentError> {
        let paths = [folder.join("journal.0"), folder.join("journal.1")];
        let existed = paths.iter().any(|path| path.exists());
        for path in &paths {
            if !path.exists() {
                make(path, size)?;
            }
        }
        sync_folder(folder)?;
        let [a, b] = paths;
        let files = [(a.clone(), open(&a)?), (b.clone(), open(&b)?)];
        let size = files.iter().map(|(_, file)| file.metadata().map_or(0, |meta| meta.len())).min().unwrap_or(0);
        let found = [read(&files[0].0, &files[0].1)?, read(&files[1].0, &files[1].1)?];
        if let Some((current, Content { generation, offset, chain, payloads })) = newest(found) {
            return Ok((Segments { files, current, generation, offset, chain, size }, payloads));
        }
        if existed && !all_zero(&files) {
            return Err(SegmentError::Damaged { folder: folder.to_owned() });
        }
        let mut segments = Segments { files, current: 1, generation: 0, offset: 0, chain: 0, size };
        segments.switch(first)?;
        Ok((segments, vec![first.to_owned()]))
    }

    /// Whether these payloads still fit into the current segment.
    pub(super) fn fits(&self, payloads: &[Vec<u8>]) -> bool {
        let needed: usize = payloads.iter().map(|payload| payload.len() + FRAME_HEAD).sum();
        self.offset + needed as u64 <= self.size
    }

    /// Writes payloads behind what was written, and returns when the disk has them. After an error nothing was
    /// appended: the next call writes to the same place.
    pub(super) fn append(&mut self, payloads: &[Vec<u8>]) -> Result<(), SegmentError> {
        let (mut frames, mut chain) = (Vec::new(), self.chain);
        for payload in payloads {
            let offset = self.offset + frames.len() as u64;
            chain = checksum(self.generation, offset, chain, payload);
            frames.extend(frame(chain, payload));
        }
        if self.offset + frames.len() as u64 > self.size {
            return Err(SegmentError::TooLarge(frames.len()));
        }
        self.write(self.current, self.offset, &frames)?;
        self.offset += frames.len() as u64;
        self.chain = chain;
        Ok(())
    }

    /// Goes on in the other segment, which then begins with this checkpoint.
    pub(super) fn switch(&mut self, checkpoint: &[u8]) -> Result<(), SegmentError> {
        let other = 1 - self.current;
        let generation = self.generation + 1;
        let chain = checksum(generation, HEADER, 0, checkpoint);
        let frame = frame(chain, checkpoint);
        if HEADER + frame.len() as u64 > self.size {
            return Err(SegmentError::TooLarge(checkpoint.len()));
        }
        // Should it fail, the new header may be on disk all the same, and what then went into the old segment would not be
        // found again. So nothing fits there any more.
        self.offset = self.size;
        self.write(other, HEADER, &frame)?;
        self.write(other, 0, &header(generation))?;
        self.current = other;
        self.generation = generation;
        self.chain = chain;
        self.offset = HEADER + frame.len() as u64;
        Ok(())
    }

    fn write(&self, index: usize, offset: u64, bytes: &[u8]) -> Result<(), SegmentError> {
        let (path, file) = &self.files[index];
        let wrap = |doing| move |source| SegmentError::Io { file: path.clone(), doing, source };
        file.write_all_at(bytes, offset).map_err(wrap("cannot be written"))?;
        file.sync_data().map_err(wrap("cannot be brought to disk"))
    }
}

/// Reads a folder's newest segment without changing anything, for a second process beside the daemon; `None` if there is none.
pub(super) fn peek(folder: &Path) -> Result<Option<Payloads>, SegmentError> {
    Ok(peek_all(folder)?.pop())
}

/// The same for both segments, the older one first.
pub(super) fn peek_all(folder: &Path) -> Result<Vec<Payloads>, SegmentError> {
    let mut found = [None, None];
    for (index, name) in ["journal.0", "journal.1"].iter().enumerate() {
        let path = folder.join(name);
        match File::open(&path) {
            Ok(file) => found[index] = read(&path, &file)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(SegmentError::Io { file: path, doing: "cannot be opened", source }),
        }
    }
    let mut whole: Vec<Content> = found.into_iter().flatten().collect();
    whole.sort_by_key(|content| content.generation);
    Ok(whole.into_iter().map(|content| content.payloads).collect())
}

/// What a segment holds, and where and with which checksum it ends.
struct Content {
    generation: u64,
    offset: u64,
    chain: u32,
    payloads: Payloads,
}

fn newest(found: [Option<Content>; 2]) -> Option<(usize, Content)> {
    let whole = found.into_iter().enumerate().filter_map(|(index, content)| Some((index, content?)));
    whole.max_by_key(|(_, content)| content.generation)
}

fn header(generation: u64) -> Vec<u8> {
    let mut header = Vec::with_capacity(HEADER as usize);
    header.extend(MAGIC);
    header.extend(VERSION.to_le_bytes());
    header.extend(generation.to_le_bytes());
    header.extend(crc32fast::hash(&header).to_le_bytes());
    header.resize(HEADER as usize, 0);
    header
}

fn frame(sum: u32, payload: &[u8]) -> Vec<u8> {
    let length = payload.len() as u32;
    let mut frame = Vec::with_capacity(FRAME_HEAD + payload.len());
    frame.extend(length.to_le_bytes());
    frame.extend(sum.to_le_bytes());
    frame.extend(payload);
    frame
}

fn checksum(generation: u64, offset: u64, before: u32, payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&generation.to_le_bytes());
    hasher.update(&offset.to_le_bytes());
    hasher.update(&before.to_le_bytes());
    hasher.update(payload);
    hasher.finalize()
}

/// Generation, end and payloads of a segment; `None` if it holds none.
fn read(path: &Path, file: &File) -> Result<Option<Content>, SegmentError> {
    let mut bytes = Vec::new();
    let mut reader = file;
    reader.read_to_end(&mut bytes).map_err(|source| SegmentError::Io {
        file: path.to_owned(),
        doing: "cannot be read",
        source,
    })?;
    let u32_at = |at: usize| bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map(u32::from_le_bytes);
    if bytes.get(..8) != Some(MAGIC) || u32_at(20) != bytes.get(..20).map(crc32fast::hash) {
        return Ok(None);
    }
    let version = u32_at(8).unwrap_or(0);
    if version > VERSION {
        return Err(SegmentError::Newer { file: path.to_owned(), found: version });
    }
    let generation = bytes.get(12..20).and_then(|b| b.try_into().ok()).map_or(0, u64::from_le_bytes);
    let (mut payloads, mut chain) = (Vec::new(), 0);
    let mut offset = HEADER as usize;
    while let (Some(length), Some(sum)) = (u32_at(offset), u32_at(offset + 4)) {
        let begin = offset + FRAME_HEAD;
        let Some(payload) = bytes.get(begin..begin.saturating_add(length as usize)) else { break };
        if length == 0 || checksum(generation, offset as u64, chain, payload) != sum {
            break;
        }
        payloads.push(payload.to_owned());
        chain = sum;
        offset = begin + payload.len();
    }
    // Without its checkpoint a segment means nothing.
    let offset = offset as u64;
    Ok((!payloads.is_empty()).then_some(Content { generation, offset, chain, payloads }))
}

/// A file of zeros that are really on disk, under its name only when it is whole.
fn make(path: &Path, size: u64) -> Result<(), SegmentError> {
    let new = path.with_extension("new");
    let wrap = |doing| {
        let file = path.to_owned();
        move |source| SegmentError::Io { file, doing, source }
    };
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        let zeros = vec![0; 64 << 10];
        let mut left = size;
        while left > 0 {
            let part = left.min(zeros.len() as u64);
            file.write_all(&zeros[..part as usize])?;
            left -= part;
        }
        file.sync_all()
    };
    write().map_err(wrap("cannot be made"))?;
    std::fs::rename(&new, path).map_err(wrap("cannot be renamed into place"))
}

fn open(path: &Path) -> Result<File, SegmentError> {
    OpenOptions::new().read(true).write(true).open(path).map_err(|source| SegmentError::Io {
        file: path.to_owned(),
        doing: "cannot be opened",
        source,
    })
}

fn sync_folder(folder: &Path) -> Result<(), SegmentError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|source| SegmentError::Io {
        file: folder.to_owned(),
        doing: "cannot be brought to disk",
        source,
    })
}

/// Only files that were made and never written to are all zeros: a crash before the first header.
fn all_zero(files: &[(PathBuf, File); 2]) -> bool {
    let mut head = vec![0; HEADER as usize];
    files.iter().all(|(_, file)| file.read_exact_at(&mut head, 0).is_ok() && head.iter().all(|byte| *byte == 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: u64 = 4096;

    fn reopen(folder: &Path) -> (Segments, Vec<String>) {
        let (segments, payloads) = Segments::open(folder, SIZE, b"first").expect("opens");
        (segments, payloads.into_iter().map(|p| String::from_utf8(p).expect("text")).collect())
    }

    #[test]
    fn what_was_appended_is_found_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let (mut segments, found) = reopen(folder.path());
        assert_eq!(found, ["first"]);
        segments.append(&[b"a".to_vec(), b"b".to_vec()]).expect("fits");
        assert_eq!(reopen(folder.path()).1, ["first", "a", "b"]);
        segments.switch(b"second").expect("fits");
        segments.append(&[b"c".to_vec()]).expect("fits");
        assert_eq!(reopen(folder.path()).1, ["second", "c"]);
        assert_eq!(std::fs::metadata(folder.path().join("journal.0")).expect("there").len(), SIZE);
    }

    #[test]
    fn a_write_torn_at_any_byte_loses_only_itself() {
        let folder = tempfile::tempdir().expect("a folder");
        let (mut segments, _) = reopen(folder.path());
        segments.append(&[b"kept".to_vec()]).expect("fits");
        let (from, file) = (segments.offset as usize, folder.path().join("journal.0"));
        let before = std::fs::read(&file).expect("readable");
        segments.append(&[b"torn record".to_vec()]).expect("fits");
        let after = std::fs::read(&file).expect("readable");
        for cut in from..segments.offset as usize {
            std::fs::write(&file, [&after[..cut], &before[cut..]].concat()).expect("writable");
            assert_eq!(reopen(folder.path()).1, ["first", "kept"], "torn at {cut}");
        }
        std::fs::write(&file, &after).expect("writable");
        assert_eq!(reopen(folder.path()).1, ["first", "kept", "torn record"]);
    }

    #[test]
    fn a_switch_torn_at_any_byte_keeps_the_old_segment() {
        let folder = tempfile::tempdir().expect("a folder");
        let (mut segments, _) = reopen(folder.path());
        segments.append(&[b"old".to_vec()]).expect("fits");
        segments.switch(b"one").expect("fits");
        segments.append(&[b"one's".to_vec()]).expect("fits");
        // The third switch overwrites the first segment, which holds an older generation.
        let file = folder.path().join("journal.0");
        let before = std::fs::read(&file).expect("readable");
        segments.switch(b"a longer checkpoint").expect("fits");
        let after = std::fs::read(&file).expect("readable");
        let end = segments.offset as usize;
        for cut in HEADER as usize..end {
            // The frame is written first, so only it is torn and the header is the old one.
            let torn = [&before[..HEADER as usize], &after[HEADER as usize..cut], &before[cut..]].concat();
            std::fs::write(&file, torn).expect("writable");
            assert_eq!(reopen(folder.path()).1, ["one", "one's"], "torn at {cut}");
        }
        std::fs::write(&file, &after).expect("writable");
        assert_eq!(reopen(folder.path()).1, ["a longer checkpoint"]);
    }

    /// Frames of a write that failed, or was torn, may be whole on disk behind the place where the next one is written.
    #[test]
    fn what_a_failed_write_left_behind_does_not_come_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let ((mut failing, _), (mut segments, _)) = (reopen(folder.path()), reopen(folder.path()));
        failing.append(&[b"first try".to_vec(), b"never accepted".to_vec()]).expect("fits");
        // As if that had failed: the next write goes to the same place.
        segments.append(&[b"secondtry".to_vec()]).expect("fits");
        assert_eq!(reopen(folder.path()).1, ["first", "secondtry"]);
    }

    /// Its header may be on disk although the switch was reported as failed. What is written into the old segment after
    /// that would be lost at the next start.
    #[test]
    fn after_a_switch_that_failed_nothing_is_written_to_the_old_segment() {
        let folder = tempfile::tempdir().expect("a folder");
        let (mut segments, _) = reopen(folder.path());
        segments.append(&[b"old".to_vec()]).expect("fits");
        let sound =
            std::mem::replace(&mut segments.files[1].1, File::open(folder.path().join("journal.1")).expect("there"));
        segments.switch(b"second").expect_err("it cannot be written");
        assert!(!segments.fits(&[b"x".to_vec()]), "only another switch leads on");
        assert!(segments.append(&[b"x".to_vec()]).is_err());
        segments.files[1].1 = sound;
        segments.switch(b"second").expect("fits");
        segments.append(&[b"x".to_vec()]).expect("fits");
        assert_eq!(reopen(folder.path()).1, ["second", "x"]);
    }

    #[test]
    fn newer_formats_and_damage_are_refused_and_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        reopen(folder.path());
        let file = folder.path().join("journal.0");
        let good = std::fs::read(&file).expect("readable");
        let mut newer = good.clone();
        newer[8] = 2;
        let sum = crc32fast::hash(&newer[..20]);
        newer[20..24].copy_from_slice(&sum.to_le_bytes());
        std::fs::write(&file, &newer).expect("writable");
        let error = Segments::open(folder.path(), SIZE, b"x").expect_err("newer").to_string();
        assert!(error.contains("has format 2, this program knows up to 1"), "{error}");
        assert_eq!(std::fs::read(&file).expect("readable"), newer);

        let mut damaged = good;
        damaged[HEADER as usize + 9] ^= 1;
        std::fs::write(&file, damaged).expect("writable");
        assert!(matches!(Segments::open(folder.path(), SIZE, b"x"), Err(SegmentError::Damaged { .. })));
    }

    #[test]
    fn a_record_larger_than_a_segment_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let (mut segments, _) = reopen(folder.path());
        assert!(matches!(segments.append(&[vec![b'x'; SIZE as usize]]), Err(SegmentError::TooLarge(_))));
        segments.append(&[b"a".to_vec()]).expect("still works");
        assert_eq!(reopen(folder.path()).1, ["first", "a"]);
    }
}
