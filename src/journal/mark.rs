//! The number of the last record that somebody who is told of records has dealt with. What comes after it is told again
//! after a restart.
//!
//! Written in place like the journal itself, so that a full disk does not stop it; a few bytes in one sector, so that
//! it is there whole or as it was before.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::OFlags;

use crate::files::Folder;

/// One number in a file.
#[derive(Debug)]
pub struct Mark(File);

impl Mark {
    /// Opens the file, or makes it; and the number in it, if there is one.
    pub fn open(folder: &Path, name: &str) -> io::Result<(Mark, Option<u64>)> {
        let mut file = Folder::own(folder)?.open(name, OFlags::RDWR | OFlags::CREATE, 0o600)?;
        let mut text = String::new();
        // What is no text is no number either.
        let _ = file.read_to_string(&mut text);
        Ok((Mark(file), text.trim().parse().ok()))
    }

    /// Replaces the number.
    pub fn set(&self, number: u64) -> io::Result<()> {
        self.0.write_all_at(format!("{number:020}\n").as_bytes(), 0)
    }
}
