//! Two files of fixed size, filled with zeros when they are made and written in place from then on.
//!
//! A full disk is when this tool is needed, so writing must not need space: on a full ext4 and XFS a write into blocks
//! that were written before succeeds where an append, a new file or even a write into `fallocate`d blocks may not.
//!
//! When a segment is full, a checkpoint is written into the other one, whose header is written last, and then the
//! header of the full one says that it is the journal no more. Nothing is appended before that: so whenever both can be
//! read nothing was appended to the newer one, and when only one is left and cannot be read, there is no older one that
//! could be taken for it.
//!
//! After a write that failed it is not known what the disk has. The next one then begins a new segment with a
//! checkpoint.

#![expect(clippy::disallowed_methods, reason = "it renames and removes in its own folder")]

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, OFlags, flock};

use super::frame::{self, Content, FRAME_HEAD, Found, HEADER, VERSION};
use crate::files;

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
    /// It was readable once. An older state could make the daemon forget or repeat an operation.
    #[error(
        "{}: damaged, {what}: nothing is acted upon. Stop the daemon, find out from its log and lvs what it did last, finish that \
         by hand, move journal.0 and journal.1 away and start it again: it then prints how to begin with an empty journal",
        file.display()
    )]
    Damaged {
        /// The file, or the folder of both.
        file: PathBuf,
        /// What cannot be read.
        what: String,
    },
    /// It was taken away, replaced or cut while it was open: what is written to it now is not found by the next start.
    #[error(
        "{}: {what} while the daemon runs: no alert is accepted and nothing is acted upon. Put it back as it was, and the \
         daemon resumes by itself",
        file.display()
    )]
    Lost {
        /// The file.
        file: PathBuf,
        /// What became of it.
        what: &'static str,
    },
    /// There are none, or only zeros, and none may be made.
    #[error("{}: there is no journal", folder.display())]
    Blank {
        /// Where they would be.
        folder: PathBuf,
    },
    /// A payload is larger than a segment.
    #[error("a record of {0} bytes does not fit into a segment")]
    TooLarge(usize),
    /// After a write that failed, before the switch that leads on.
    #[error("the last write failed")]
    Spoiled,
}

/// The two files, positioned at the end of what was written.
#[derive(Debug)]
pub(super) struct Segments {
    files: [(PathBuf, File); 2],
    current: usize,
    generation: u64,
    offset: usize,
    /// Of the frame written last: where it begins, and how.
    last: (usize, [u8; FRAME_HEAD]),
    /// Of each file when it was opened.
    sizes: [u64; 2],
    /// Nothing may be appended before the next switch.
    spoiled: bool,
}

/// What was found: the payloads of the newest segment, the first of them its checkpoint.
pub(super) type Payloads = Vec<Vec<u8>>;

const NAMES: [&str; 2] = ["journal.0", "journal.1"];

impl Segments {
    /// Opens the folder's segments. Those that are there are only read; where there are none they are made with `first`
    /// as the checkpoint, if there is one.
    pub(super) fn open(folder: &Path, size: u64, first: Option<&[u8]>) -> Result<(Segments, Payloads), SegmentError> {
        let paths = NAMES.map(|name| folder.join(name));
        // A file that was cut to nothing has as much in it as none.
        let exist = paths.each_ref().map(|path| std::fs::metadata(path).is_ok_and(|found| found.len() > 0));
        let blank = || SegmentError::Blank { folder: folder.to_owned() };
        let begin = |size| {
            let first = first.ok_or_else(blank)?;
            let beginning = [frame::header(1), frame::frame(1, HEADER, first)].concat();
            // It comes into being with its checkpoint, the other one before it.
            if beginning.len() as u64 <= size {
                make(&paths[0], size, &beginning)
            } else {
                Err(SegmentError::TooLarge(first.len()))
            }
        };
        match exist {
            [true, true] => {}
            [true, false] => make(&paths[1], size, &[])?,
            [false, true] => make(&paths[0], size, &[])?,
            [false, false] if first.is_none() => return Err(blank()),
            [false, false] => {
                make(&paths[1], size, &[])?;
                begin(size)?;
            }
        }
        if exist != [true, true] {
            sync_folder(folder)?;
        }
        let open_both = || -> Result<_, SegmentError> {
            let files = [(paths[0].clone(), open(&paths[0])?), (paths[1].clone(), open(&paths[1])?)];
            let bytes = [read(&files[0])?, read(&files[1])?];
            Ok((files, bytes))
        };
        let (mut files, mut bytes) = open_both()?;
        if bytes.iter().all(|bytes| frame::read(bytes) == Found::Blank) {
            begin(bytes[0].len() as u64)?;
            sync_folder(folder)?;
            (files, bytes) = open_both()?;
        }
        let sizes = bytes.each_ref().map(|bytes| bytes.len() as u64);
        let found = bytes.each_ref().map(|bytes| frame::read(bytes));
        let retired = found.each_ref().map(|found| matches!(found, Found::Blank | Found::Retired(_)));
        let (current, Content { version, generation, offset, payloads }) = newest(folder, found)?;
        let spoiled = version < VERSION || !retired[1 - current];
        let start = offset - payloads.last().map_or(0, |payload| FRAME_HEAD + payload.len());
        let last = (start, head(&bytes[current][start..]));
        Ok((Segments { files, current, generation, offset, last, sizes, spoiled }, payloads))
    }

    /// Keeps other processes from opening them too, for the lock file alone can be removed. False: another has them.
    pub(super) fn lock(&self) -> bool {
        self.files.iter().all(|(_, file)| flock(file, FlockOperation::NonBlockingLockExclusive).is_ok())
    }

    /// Before others of this process lock the same files.
    pub(super) fn unlock(&self) {
        for (_, file) in &self.files {
            let _ = flock(file, FlockOperation::Unlock);
        }
    }

    /// Whether the next start would find what was written: each name still leads to the file that is open, which has
    /// the size that it had, and in it are the header and the record that were written last.
    pub(super) fn attest(&self) -> Result<(), SegmentError> {
        for ((path, file), size) in self.files.iter().zip(self.sizes) {
            attest(path, file)?;
            let wrap = |source| SegmentError::Io { file: path.clone(), doing: "cannot be looked at", source };
            if file.metadata().map_err(wrap)?.len() != size {
                return Err(SegmentError::Lost { file: path.clone(), what: "it has another size" });
            }
        }
        // After a write that failed nobody knows what is there.
        if self.spoiled {
            return Ok(());
        }
        let header = frame::header(self.generation);
        self.attest_bytes(0, &header[..frame::HEADER_USED])?;
        self.attest_bytes(self.last.0, &self.last.1)
    }

    fn attest_bytes(&self, offset: usize, expected: &[u8]) -> Result<(), SegmentError> {
        let (path, file) = &self.files[self.current];
        let mut found = vec![0; expected.len()];
        let read = file.read_exact_at(&mut found, offset as u64);
        read.map_err(|source| SegmentError::Io { file: path.clone(), doing: "cannot be read", source })?;
        if found == expected {
            return Ok(());
        }
        Err(SegmentError::Lost { file: path.clone(), what: "somebody wrote to it" })
    }

    fn size(&self) -> usize {
        self.sizes[0].min(self.sizes[1]) as usize
    }

    /// Whether this payload can be appended to the current segment.
    pub(super) fn fits(&self, payload: &[u8]) -> bool {
        !self.spoiled && self.offset + FRAME_HEAD + payload.len() <= self.size()
    }

    /// Which segment this is, counted from the first.
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// Writes a payload behind what was written, and returns when the disk has it.
    pub(super) fn append(&mut self, payload: &[u8]) -> Result<(), SegmentError> {
        if self.spoiled {
            return Err(SegmentError::Spoiled);
        }
        if !self.fits(payload) {
            return Err(SegmentError::TooLarge(payload.len()));
        }
        let frame = frame::frame(self.generation, self.offset, payload);
        // Should it fail, some of it may be on disk all the same.
        self.spoiled = true;
        self.write(self.current, self.offset, &frame)?;
        self.spoiled = false;
        self.last = (self.offset, head(&frame));
        self.offset += frame.len();
        Ok(())
    }

    /// Goes on in the other segment, which then begins with this checkpoint.
    pub(super) fn switch(&mut self, checkpoint: &[u8]) -> Result<(), SegmentError> {
        let (before, other, retired) = (self.current, 1 - self.current, frame::retired_header(self.generation));
        let generation = self.generation + 1;
        let frame = frame::frame(generation, HEADER, checkpoint);
        if HEADER + frame.len() > self.size() {
            return Err(SegmentError::TooLarge(checkpoint.len()));
        }
        self.spoiled = true;
        // It may have a header of a switch that failed.
        self.write(other, 0, &[0; HEADER])?;
        self.write(other, HEADER, &frame)?;
        self.write(other, 0, &frame::header(generation))?;
        self.current = other;
        self.generation = generation;
        self.last = (HEADER, head(&frame));
        self.offset = HEADER + frame.len();
        self.write(before, 0, &retired)?;
        self.spoiled = false;
        Ok(())
    }

    fn write(&self, index: usize, offset: usize, bytes: &[u8]) -> Result<(), SegmentError> {
        let (path, file) = &self.files[index];
        let wrap = |doing| move |source| SegmentError::Io { file: path.clone(), doing, source };
        file.write_all_at(bytes, offset as u64).map_err(wrap("cannot be written"))?;
        file.sync_data().map_err(wrap("cannot be brought to disk"))
    }
}

/// Whether a name still leads to the file that is open: if so the file has a link, and is not below another mount.
pub(super) fn attest(path: &Path, file: &File) -> Result<(), SegmentError> {
    let lost = |what| SegmentError::Lost { file: path.to_owned(), what };
    let wrap = |source| SegmentError::Io { file: path.to_owned(), doing: "cannot be looked at", source };
    let ours = file.metadata().map_err(wrap)?;
    match std::fs::metadata(path) {
        Ok(named) if (named.dev(), named.ino()) == (ours.dev(), ours.ino()) => Ok(()),
        Ok(_) => Err(lost("it was replaced")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(lost("it was removed")),
        Err(source) => Err(wrap(source)),
    }
}

/// How a frame begins; its checksum depends on its place and all of its content.
fn head(frame: &[u8]) -> [u8; FRAME_HEAD] {
    let mut head = [0; FRAME_HEAD];
    head.iter_mut().zip(frame).for_each(|(to, from)| *to = *from);
    head
}

/// Reads a folder's newest segment without changing anything, for a second process beside the daemon; `None` if there
/// is none.
pub(super) fn peek(folder: &Path) -> Result<Option<Payloads>, SegmentError> {
    Ok(peek_all(folder)?.pop())
}

/// The same, and what the segment before it still holds, the older one first.
pub(super) fn peek_all(folder: &Path) -> Result<Vec<Payloads>, SegmentError> {
    // The daemon may go on in the other segment between our looks at the two.
    const LOOKS: usize = 3;
    let mut looks = 0;
    loop {
        looks += 1;
        let mut found = [Found::Blank, Found::Blank];
        for (found, name) in found.iter_mut().zip(NAMES) {
            let path = folder.join(name);
            match files::open(&path) {
                Ok((file, _)) => *found = frame::read(&read(&(path, file))?),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => {
                    // Whoever reads beside the daemon may be somebody else.
                    let denied = source.kind() == io::ErrorKind::PermissionDenied;
                    let doing = if denied { "cannot be opened, run this as root" } else { "cannot be opened" };
                    return Err(SegmentError::Io { file: path, doing, source });
                }
            }
        }
        if found == [Found::Blank, Found::Blank] {
            return Ok(vec![]);
        }
        let older = found.each_ref().map(|found| match found {
            Found::Retired(content) => content.clone(),
            // Format 1 did not say which one it is.
            Found::Sound(content) => Some(content.clone()),
            _ => None,
        });
        match newest(folder, found) {
            Ok((_, newest)) => {
                let before = |content: &Content| content.generation < newest.generation;
                let older = older.into_iter().flatten().filter(before).map(|content| content.payloads);
                return Ok(older.chain([newest.payloads.clone()]).collect());
            }
            Err(SegmentError::Damaged { .. }) if looks < LOOKS => {}
            Err(error) => return Err(error),
        }
    }
}

/// Which segment is the journal.
fn newest(folder: &Path, found: [Found; 2]) -> Result<(usize, Content), SegmentError> {
    let file = |index: usize| folder.join(NAMES[index]);
    let damaged = |index: usize, what: &str| SegmentError::Damaged { file: file(index), what: what.to_owned() };
    let mut newest: Option<(usize, Content)> = None;
    let mut torn = None;
    // Damage counts where it is in the newer one.
    let mut damage: Option<(u64, SegmentError)> = None;
    for (index, found) in found.into_iter().enumerate() {
        match found {
            Found::Blank | Found::Retired(_) => {}
            Found::Newer(found) => return Err(SegmentError::Newer { file: file(index), found }),
            Found::Torn => torn = Some(index),
            Found::Damaged { generation, what } => {
                damage = damage.filter(|(other, _)| *other > generation).or(Some((generation, damaged(index, &what))));
            }
            Found::Sound(content) => {
                newest = newest.filter(|(_, other)| other.generation > content.generation).or(Some((index, content)));
            }
        }
    }
    const NO_HEADER: &str = "its header cannot be read";
    match (newest, damage, torn) {
        // Format 1 kept both headers, so the one that cannot be read may be the newer.
        (Some((_, content)), _, Some(torn)) if content.version == 1 => Err(damaged(torn, NO_HEADER)),
        (Some((_, content)), Some((generation, error)), _) if generation > content.generation => Err(error),
        (Some(newest), ..) => Ok(newest),
        (None, Some((_, error)), _) => Err(error),
        (None, None, Some(torn)) => Err(damaged(torn, NO_HEADER)),
        (None, None, None) => {
            let what = "neither segment has a header".to_owned();
            Err(SegmentError::Damaged { file: folder.to_owned(), what })
        }
    }
}

fn read((path, file): &(PathBuf, File)) -> Result<Vec<u8>, SegmentError> {
    let mut bytes = Vec::new();
    let mut reader = file;
    let read = reader.read_to_end(&mut bytes);
    read.map_err(|source| SegmentError::Io { file: path.clone(), doing: "cannot be read", source })?;
    Ok(bytes)
}

/// A file of zeros that are really on disk, behind what it begins with; under its name only when it is whole.
fn make(path: &Path, size: u64, beginning: &[u8]) -> Result<(), SegmentError> {
    let new = path.with_extension("new");
    let wrap = |doing| {
        let file = path.to_owned();
        move |source| SegmentError::Io { file, doing, source }
    };
    let write = || -> io::Result<()> {
        let mut file = files::open_own(&new, OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC, 0o600)?;
        file.write_all(beginning)?;
        let zeros = vec![0; 64 << 10];
        let mut left = size.saturating_sub(beginning.len() as u64);
        while left > 0 {
            let part = left.min(zeros.len() as u64);
            file.write_all(&zeros[..part as usize])?;
            left -= part;
        }
        file.sync_all()
    };
    let written = write();
    if written.is_err() {
        // On a full disk half a file is in everybody's way.
        let _ = std::fs::remove_file(&new);
    }
    written.map_err(wrap("cannot be made"))?;
    std::fs::rename(&new, path).map_err(wrap("cannot be renamed into place"))
}

fn open(path: &Path) -> Result<File, SegmentError> {
    files::open_own(path, OFlags::RDWR, 0).map_err(|source| SegmentError::Io {
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

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: u64 = 4096;

    /// In memory where that is possible: these tests sync some ten thousand times.
    fn folder() -> tempfile::TempDir {
        tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a folder")
    }

    fn reopen(folder: &Path) -> (Segments, Vec<String>) {
        let (segments, payloads) = Segments::open(folder, SIZE, Some(b"{first}")).expect("opens");
        (segments, payloads.into_iter().map(|p| String::from_utf8(p).expect("text")).collect())
    }

    fn damage(folder: &Path) -> String {
        let error = Segments::open(folder, SIZE, Some(b"{first}")).expect_err("damaged");
        assert!(matches!(error, SegmentError::Damaged { .. }), "{error}");
        assert!(matches!(peek(folder), Err(SegmentError::Damaged { .. })));
        error.to_string()
    }

    fn file(folder: &Path, index: usize) -> PathBuf {
        folder.join(NAMES[index])
    }

    /// In the second use of the first file, both were used before.
    fn used() -> (tempfile::TempDir, Segments) {
        let folder = folder();
        let (mut segments, _) = reopen(folder.path());
        segments.append(b"{old}").expect("fits");
        segments.switch(b"{one}").expect("fits");
        segments.append(b"{one's}").expect("fits");
        (folder, segments)
    }

    #[test]
    fn what_was_appended_is_found_again() {
        let (folder, mut segments) = used();
        assert_eq!(reopen(folder.path()).1, ["{one}", "{one's}"]);
        segments.append(b"{a}").expect("fits");
        segments.switch(b"{two}").expect("fits");
        segments.append(b"{b}").expect("fits");
        assert_eq!(reopen(folder.path()).1, ["{two}", "{b}"]);
        assert_eq!(std::fs::metadata(file(folder.path(), 0)).expect("there").len(), SIZE);
    }

    #[test]
    fn a_write_torn_at_any_byte_loses_only_itself() {
        let (folder, mut segments) = used();
        let (from, file) = (segments.offset, file(folder.path(), 1));
        let before = std::fs::read(&file).expect("readable");
        segments.append(b"{torn record}").expect("fits");
        let after = std::fs::read(&file).expect("readable");
        for cut in from..segments.offset {
            std::fs::write(&file, [&after[..cut], &before[cut..]].concat()).expect("writable");
            let (mut segments, found) = reopen(folder.path());
            assert_eq!(found, ["{one}", "{one's}"], "torn at {cut}");
            segments.append(b"{next}").expect("goes on");
            assert_eq!(reopen(folder.path()).1, ["{one}", "{one's}", "{next}"], "torn at {cut}");
        }
        std::fs::write(&file, &after).expect("writable");
        assert_eq!(reopen(folder.path()).1, ["{one}", "{one's}", "{torn record}"]);
    }

    /// A power cut after any byte of any of its four writes.
    #[test]
    fn a_switch_torn_at_any_byte_forgets_nothing() {
        let (folder, mut segments) = used();
        let files = [0, 1].map(|index| file(folder.path(), index));
        let before = files.each_ref().map(|file| std::fs::read(file).expect("readable"));
        segments.switch(b"{a longer checkpoint}").expect("fits");
        let after = files.each_ref().map(|file| std::fs::read(file).expect("readable"));
        let mut disk = before.clone();
        let end = segments.offset;
        let look = |disk: &[Vec<u8>; 2], what: &str| {
            files.iter().zip(disk).for_each(|(file, bytes)| std::fs::write(file, bytes).expect("writable"));
            let (mut segments, found) = reopen(folder.path());
            let new = found == ["{a longer checkpoint}"];
            assert!(new || found == ["{one}", "{one's}"], "{what}: {found:?}");
            segments.switch(b"{next}").expect("goes on");
            segments.append(b"{more}").expect("goes on");
            assert_eq!(reopen(folder.path()).1, ["{next}", "{more}"], "{what}");
            new
        };
        // Even headers are torn here, although a sector is not.
        let writes = [(0, 0..HEADER, false), (0, HEADER..end, false), (0, 0..HEADER, true), (1, 0..HEADER, true)];
        for (number, (index, range, is_new)) in writes.into_iter().enumerate() {
            for cut in range.clone() {
                look(&disk, &format!("write {number} torn at {cut}"));
                disk[index][cut] = if number == 0 { 0 } else { after[index][cut] };
            }
            assert_eq!(look(&disk, &format!("after write {number}")), is_new);
        }
        assert_eq!(disk, after);
    }

    #[test]
    fn damage_is_noticed_wherever_an_older_state_would_come_back() {
        for (byte, what) in [
            (0, "its header cannot be read"),
            (HEADER + 9, "its checkpoint, at byte 512, cannot be read"),
            (HEADER + FRAME_HEAD + 5 + 9, "the record at byte 525 cannot be read, a later one at byte 540 can"),
        ] {
            let (folder, mut segments) = used();
            segments.append(b"{last}").expect("fits");
            let file = file(folder.path(), 1);
            let mut bytes = std::fs::read(&file).expect("readable");
            bytes[byte] ^= 1;
            std::fs::write(&file, &bytes).expect("writable");
            let said = damage(folder.path());
            assert!(said.contains(what) && said.contains("journal.1: damaged"), "{said}");
            assert_eq!(std::fs::read(&file).expect("readable"), bytes, "left alone");
        }
        // A file that is gone, or was overwritten with zeros.
        let (folder, _) = used();
        std::fs::remove_file(file(folder.path(), 1)).expect("there");
        assert!(damage(folder.path()).contains("neither segment has a header"));
        let (folder, _) = used();
        std::fs::write(file(folder.path(), 1), vec![0; SIZE as usize]).expect("writable");
        assert!(damage(folder.path()).contains("neither segment has a header"));
    }

    /// What a switch that failed left behind does not stand in the way of the next one.
    #[test]
    fn after_a_write_that_failed_only_a_new_segment_leads_on() {
        let (folder, mut segments) = used();
        for broken in [1, 0] {
            let read_only = File::open(file(folder.path(), broken)).expect("there");
            let sound = std::mem::replace(&mut segments.files[broken].1, read_only);
            if broken == segments.current {
                segments.append(b"{never}").expect_err("it cannot be written");
            }
            segments.switch(b"{never}").expect_err("it cannot be written");
            assert!(!segments.fits(b"{x}"), "only another switch leads on");
            assert!(matches!(segments.append(b"{x}"), Err(SegmentError::Spoiled)));
            assert_eq!(reopen(folder.path()).1.len(), if broken == 1 { 1 } else { 2 }, "all of it is there");
            segments.files[broken].1 = sound;
            segments.switch(b"{second}").expect("fits");
            segments.append(b"{x}").expect("fits");
            assert_eq!(reopen(folder.path()).1, ["{second}", "{x}"]);
        }
    }

    #[test]
    fn newer_formats_are_refused_and_left_alone() {
        let folder = folder();
        reopen(folder.path());
        let file = file(folder.path(), 0);
        let mut newer = std::fs::read(&file).expect("readable");
        newer[8] = VERSION as u8 + 1;
        let sum = crc32fast::hash(&newer[..20]);
        newer[20..24].copy_from_slice(&sum.to_le_bytes());
        std::fs::write(&file, &newer).expect("writable");
        let error = Segments::open(folder.path(), SIZE, Some(b"{x}")).expect_err("newer").to_string();
        let expected =
            format!("has format {}, this program knows up to {VERSION}: run the version that wrote it", VERSION + 1);
        assert!(error.contains(&expected), "{error}");
        assert_eq!(std::fs::read(&file).expect("readable"), newer);
    }

    #[test]
    fn a_record_larger_than_a_segment_is_refused() {
        let folder = folder();
        let (mut segments, _) = reopen(folder.path());
        assert!(matches!(segments.append(&[b'x'; SIZE as usize]), Err(SegmentError::TooLarge(_))));
        segments.append(b"{a}").expect("still works");
        assert_eq!(reopen(folder.path()).1, ["{first}", "{a}"]);
    }
}
