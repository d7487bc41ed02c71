//! Opens files where others may write too: follows a link only where nobody else could have placed it, never writes
//! through one, and reports who else could change what a path leads to.
//!
//! A path is walked one name at a time, each opened relative to the folder before it with `O_NOFOLLOW`, so that what
//! was checked is what is used, whatever is renamed meanwhile. `openat2` with `RESOLVE_NO_SYMLINKS` would not do: it
//! refuses the links of the system itself (/var/run), and does not show the owner of each folder on the way.

mod elsewhere;
mod folder;
mod trust;
mod walk;

pub use elsewhere::{Elsewhere, FileMark, MOST_READ, elsewhere, read, read_here, read_through};
pub use folder::{Folder, UNFINISHED, create, open_own, replace};
pub use trust::{Doubt, Trust, Why};

use std::fs::File;
use std::io;
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, Stat, fstat, openat};

use walk::{Goal, walk};

/// Opens a file for reading, and who else could have changed it: the file itself, a folder on the way, or a link.
pub fn open(path: &Path) -> io::Result<(File, Option<Doubt>)> {
    let place = walk(path, Goal::Read)?;
    let regular = |found: &Stat| FileType::from_raw_mode(found.st_mode) == FileType::RegularFile;
    if place.entry.is_some_and(|found| !regular(&found) && !trust::is_ours(&found)) {
        // A pipe would keep us waiting for whoever made it.
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "is no regular file and belongs to somebody else"));
    }
    // What was passed on has no name to be found by.
    let follow = if place.passed { OFlags::empty() } else { OFlags::NOFOLLOW };
    // Nor is a pipe waited for that took the place of a file meanwhile.
    let wait = if place.entry.as_ref().is_some_and(regular) { OFlags::NONBLOCK } else { OFlags::empty() };
    let opened = openat(place.folder(), &place.name, OFlags::RDONLY | OFlags::CLOEXEC | follow | wait, Mode::empty())?;
    let own = || trust::itself(path, &place.path, trust::of_file(&fstat(&opened).ok()?));
    let doubt = if place.passed { None } else { place.doubt.clone().or_else(own) };
    Ok((File::from(opened), doubt))
}

/// Who else could change what this path leads to. Nobody, as far as is known, if it cannot be looked at; of a file that
/// is not there it is who could make it.
pub fn doubt(path: &Path) -> Option<Doubt> {
    // Who opens it judges it.
    if elsewhere().is_some() {
        return None;
    }
    let place = walk(path, Goal::Read).ok()?;
    if place.passed {
        return None;
    }
    let own = || match (&place.entry, place.path.parent()) {
        (None, Some(folder)) => trust::on_the_way(path, folder, trust::of_folder(place.folder_stat())),
        (entry, _) => trust::itself(path, &place.path, entry.as_ref().and_then(trust::of_file)),
    };
    place.doubt.clone().or_else(own)
}
