//! A file outside of the state directory with the number of the last record, so that a journal that went missing, or an
//! older one that came back, is not taken for the truth.
//!
//! The witness may lag behind the journal, but never leads it: a number is written only after its record is on disk. So
//! it needs no fsync, and a thread of its own writes it in place: neither a full nor a read-only nor a hanging disk
//! under it delays or fails a record. After a power cut it may be as far behind as the kernel keeps pages back, half a
//! minute.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use rustix::fs::OFlags;

use crate::files::{self, Folder};

/// How long to wait before a witness that could not be written is tried again: as long as the journal itself waits.
const AGAIN: Duration = Duration::from_secs(10);

/// A number of 20 digits, all that 64 bits hold, and the end of the line. It stays in one sector and so is never torn.
const LENGTH: u64 = 21;

/// The witness of one journal.
#[derive(Debug)]
pub(super) struct Witness {
    path: PathBuf,
    news: Arc<(Mutex<News>, Condvar)>,
}

#[derive(Debug, Default)]
struct News {
    /// The last record that is on disk; `None`: nothing is known yet.
    number: Option<u64>,
    /// The journal is gone, and with it the thread's work.
    closed: bool,
}

impl Witness {
    /// Starts the thread that writes; nothing is written before [`Witness::tell`].
    pub(super) fn start(path: &Path) -> Witness {
        let witness = Witness { path: path.to_owned(), news: Arc::default() };
        let (path, news) = (path.to_owned(), Arc::clone(&witness.news));
        std::thread::spawn(move || keep(&path, &news));
        witness
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The number in the file; `None`: there is no file. One that cannot be read is an error, for it may have said
    /// anything.
    pub(super) fn read(&self) -> io::Result<Option<u64>> {
        let mut file = match open(&self.path, OFlags::RDONLY) {
            // What is no directory is not one for the journal either, which says so.
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            opened => opened?,
        };
        let mut text = String::new();
        (&mut file).take(LENGTH + 1).read_to_string(&mut text)?;
        text.trim().parse().map(Some).map_err(|_| io::Error::other("it does not have a number in it"))
    }

    /// Has the thread write this number. Neither waits nor fails.
    pub(super) fn tell(&self, number: u64) {
        crate::locked(&self.news.0).number = Some(number);
        self.news.1.notify_all();
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        crate::locked(&self.news.0).closed = true;
        self.news.1.notify_all();
    }
}

/// The thread. What came while it wrote is one number, the last.
fn keep(path: &Path, (news, changed): &(Mutex<News>, Condvar)) {
    let (mut written, mut failed) = (None, false);
    loop {
        let nothing_new = |news: &mut News| !news.closed && news.number == written;
        let told = changed.wait_while(crate::locked(news), nothing_new).unwrap_or_else(PoisonError::into_inner);
        let Some(number) = told.number.filter(|number| Some(*number) != written) else { return };
        drop(told);
        match write(path, number) {
            Ok(()) => (written, failed) = (Some(number), false),
            Err(error) => {
                if !std::mem::replace(&mut failed, true) {
                    let path = path.display();
                    tracing::warn!("{path}: a journal that goes missing may not be noticed at the next start: {error}");
                }
                let open = |news: &mut News| !news.closed;
                let waited = changed.wait_timeout_while(crate::locked(news), AGAIN, open);
                if waited.unwrap_or_else(PoisonError::into_inner).0.closed {
                    return;
                }
            }
        }
    }
}

/// Opened by its name each time: somebody may have removed it.
fn write(path: &Path, number: u64) -> io::Result<()> {
    let text = format!("{number:020}\n");
    match open(path, OFlags::WRONLY) {
        Ok(file) => file.write_all_at(text.as_bytes(), 0),
        // Under its name only when its content is on disk: one without a number would stop the daemon.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let (folder, name) = Folder::of(path)?;
            folder.replace(name, text.as_bytes())
        }
        Err(error) => Err(error),
    }
}

/// Not even through a link of our own: this file is made by nobody but this program.
fn open(path: &Path, flags: OFlags) -> io::Result<File> {
    if path.is_symlink() { Err(io::Error::other("it is a symbolic link")) } else { files::open_own(path, flags, 0) }
}
