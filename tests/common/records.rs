//! The records of a journal as bytes on disk, to cut them off where a power cut could.

use std::path::PathBuf;

use super::World;

/// Where the newest segment's frames begin and end, and the file. The format is `journal/segment.rs`'s: a header of 512
/// bytes, then frames of length, checksum, payload.
pub(crate) struct Records {
    file: PathBuf,
    bytes: Vec<u8>,
    pub(crate) frames: Vec<std::ops::Range<usize>>,
}

pub(crate) fn records(world: &World) -> Records {
    let file = world.folder.path().join("journal.0");
    let bytes = std::fs::read(&file).expect("readable");
    let mut frames = Vec::new();
    let mut at = 512;
    while let Some(length) = bytes.get(at..at + 4).map(|b| u32::from_le_bytes(b.try_into().expect("four")))
        && length > 0
    {
        frames.push(at..at + 8 + length as usize);
        at += 8 + length as usize;
    }
    Records { file, bytes, frames }
}

impl Records {
    pub(crate) fn holds(&self, frame: usize, text: &str) -> bool {
        String::from_utf8_lossy(&self.bytes[self.frames[frame].clone()]).contains(text)
    }

    /// What would be on disk had the daemon died when it had written so many bytes.
    #[expect(clippy::disallowed_methods, reason = "a test damages the journal")]
    pub(crate) fn cut(&self, at: usize, world: &World) {
        let mut bytes = self.bytes.clone();
        bytes[at..].fill(0);
        let name = self.file.file_name().expect("a name");
        std::fs::write(world.folder.path().join(name), bytes).expect("writable");
    }
}
