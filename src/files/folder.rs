//! A folder that is open, and the files in it: made, opened, replaced and removed by their names in it, which no link
//! and no rename can lead astray.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, RenameFlags, Stat, chmod, chown, fstat, openat, renameat, renameat_with,
    statat, unlinkat,
};
use rustix::io::Errno;

use super::trust::{self, Doubt, Why};
use super::walk::{Goal, Place, walk};

/// The end of the name of a file that is being written.
pub const UNFINISHED: &str = ".unfinished";

/// A folder that is open.
#[derive(Debug)]
pub struct Folder {
    fd: OwnedFd,
    path: PathBuf,
    /// Who else could change what is in it.
    doubt: Option<Doubt>,
    /// Whether it is /proc/self/fd, whose links are the open files of this process.
    is_of_open_files: bool,
}

impl Folder {
    /// The folder, made with that mode if it is not there, as are those above it.
    pub fn make(path: &Path, mode: u32) -> io::Result<Folder> {
        Folder::at(&walk(path, Goal::Folder(mode))?, path)
    }

    /// The same for a folder that others must not be able to change or to replace: what is in it is believed.
    pub fn own(path: &Path) -> io::Result<Folder> {
        let folder = Folder::make(path, 0o700)?;
        match folder.doubt {
            Some(doubt) => Err(io::Error::new(io::ErrorKind::PermissionDenied, doubt)),
            None => Ok(folder),
        }
    }

    /// The folder that a file is in, or that a link leads to which is there in its place, and the name in it.
    pub fn of(file: &Path) -> io::Result<(Folder, OsString)> {
        let place = walk(file, Goal::Write)?;
        Ok((Folder::at(&place, file)?, place.name))
    }

    fn at(place: &Place, asked: &Path) -> io::Result<Folder> {
        // What is only passed through cannot be synced.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = openat(place.folder(), ".", flags, Mode::empty())?;
        let path = if place.name == "." { &place.path } else { place.path.parent().unwrap_or(&place.path) };
        let doubt = place.doubt.clone().or_else(|| trust::itself(asked, path, trust::of_folder(place.folder_stat())));
        Ok(Folder { fd, path: path.to_owned(), doubt, is_of_open_files: place.passed })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens a regular file of ours; with `OFlags::CREATE` it is made with this mode if it is not there. No link is
    /// followed, a pipe is not waited for, and where others may write it must have no second name: they could have
    /// linked any file there.
    pub fn open(&self, name: impl AsRef<OsStr>, flags: OFlags, mode: u32) -> io::Result<File> {
        let name = name.as_ref();
        // Nothing is lost before it is known whose file it is.
        let truncate = flags.contains(OFlags::TRUNC);
        let follow = if self.is_of_open_files { OFlags::empty() } else { OFlags::NOFOLLOW };
        let flags = flags.difference(OFlags::TRUNC) | follow | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened = openat(&self.fd, name, flags, Mode::from_raw_mode(mode)).map_err(|error| match error {
            // What O_NOFOLLOW answers is nothing that a person could guess.
            Errno::LOOP => io::Error::other("is a symbolic link, expected a regular file"),
            error => error.into(),
        })?;
        let found = fstat(&opened)?;
        let path = self.path.join(name);
        if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile {
            return Err(io::Error::other("is no regular file"));
        }
        if !trust::is_ours(&found) {
            let doubt = Doubt { file: path.clone(), at: path, on_the_way: false, why: Why::Owner(found.st_uid) };
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, doubt));
        }
        if found.st_nlink > 1 && self.doubt.is_some() {
            return Err(io::Error::other("has a second name (a hard link), and others may write in its folder"));
        }
        let file = File::from(opened);
        if truncate {
            file.set_len(0)?;
        }
        Ok(file)
    }

    /// Gives a file another name, in place of what had it.
    pub fn rename(&self, from: impl AsRef<OsStr>, to: impl AsRef<OsStr>) -> io::Result<()> {
        Ok(renameat(&self.fd, from.as_ref(), &self.fd, to.as_ref())?)
    }

    /// Removes a file, or a link and not what it leads to.
    pub fn remove(&self, name: impl AsRef<OsStr>) -> io::Result<()> {
        Ok(unlinkat(&self.fd, name.as_ref(), AtFlags::empty())?)
    }

    /// Brings its names to the disk.
    pub fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::fsync(&self.fd)?)
    }

    /// What has a name, itself and not what it leads to.
    fn stat(&self, name: &OsStr) -> io::Result<Option<Stat>> {
        match statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => Ok(None),
            found => Ok(Some(found?)),
        }
    }

    /// Writes a file so that whoever opens it sees the old or the new content, and nothing in between: beside it, to
    /// the disk, then into its place. What was readable by few is not readable by more afterwards.
    pub fn replace(&self, name: impl AsRef<OsStr>, content: &[u8]) -> io::Result<()> {
        let name = name.as_ref();
        let before = self.stat(name)?;
        if before.is_some_and(|found| FileType::from_raw_mode(found.st_mode) == FileType::Symlink) {
            return Err(io::Error::other("is a symbolic link, expected a regular file"));
        }
        let mode = before.map_or(0o666, |found| found.st_mode & 0o666);
        let beside = beside(name);
        // Nobody can have guessed the name; O_EXCL would refuse whatever were there.
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
        let mut file = self.open(&beside, flags, mode)?;
        let written = file.write_all(content).and_then(|()| file.sync_all()).and_then(|()| self.rename(&beside, name));
        match written {
            Ok(()) => self.sync(),
            Err(error) => {
                // The error is about the file itself, and a rest of it helps nobody.
                let _ = self.remove(&beside);
                Err(error)
            }
        }
    }

    /// A socket of ours in place of one that was left behind, which its caller knows; for a group, by its number.
    pub fn bind_anew(&self, name: &OsStr, mode: u32, group: Option<u32>) -> io::Result<UnixListener> {
        match self.remove(name) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        self.bind(name, mode, group)
    }

    /// A socket of ours with this name and mode; for a group, by its number.
    pub fn bind(&self, name: impl AsRef<OsStr>, mode: u32, group: Option<u32>) -> io::Result<UnixListener> {
        let name = name.as_ref();
        // A socket is bound by a path, and this one begins at the folder that is open.
        let listener = UnixListener::bind(open_file(&self.fd).join(name))?;
        let bound = openat(&self.fd, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
        let found = fstat(&bound)?;
        if FileType::from_raw_mode(found.st_mode) != FileType::Socket || !trust::is_ours(&found) {
            return Err(io::Error::other("was replaced while it was made: others may write in its folder"));
        }
        if let Some(group) = group {
            chown(open_file(&bound), None, Some(Gid::from_raw(group)))?;
        }
        chmod(open_file(&bound), Mode::from_raw_mode(mode))?;
        Ok(listener)
    }
}

/// An open file by a path; chmod(2) and bind(2) take no descriptor of a file that is open with `O_PATH`.
fn open_file(fd: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd()))
}

/// A name that nobody can foresee.
fn beside(name: &OsStr) -> OsString {
    let mut beside = name.to_owned();
    beside.push(format!(".{:016x}{UNFINISHED}", RandomState::new().build_hasher().finish()));
    beside
}

/// Opens a regular file of ours by its path, see [`Folder::open`].
pub fn open_own(path: &Path, flags: OFlags, mode: u32) -> io::Result<File> {
    let (folder, name) = Folder::of(path)?;
    folder.open(name, flags, mode)
}

/// Writes a file that is not there yet, completely or not at all; `AlreadyExists` if its name is taken. Its folder is
/// made if it is not there.
pub fn create(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty() && !parent.exists()) {
        Folder::make(parent, 0o755)?;
    }
    let (folder, name) = Folder::of(path)?;
    let beside = beside(&name);
    let mut file = folder.open(&beside, OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL, mode)?;
    let taken = || renameat_with(&folder.fd, &beside, &folder.fd, &name, RenameFlags::NOREPLACE);
    match file.write_all(content).and_then(|()| file.sync_all()).and_then(|()| Ok(taken()?)) {
        Ok(()) => folder.sync(),
        Err(error) => {
            // The error is about the file itself, and a rest of it helps nobody.
            let _ = folder.remove(&beside);
            Err(error)
        }
    }
}

/// Replaces the content of a file, see [`Folder::replace`]. Through a symbolic link of ours: the link stays, what it
/// leads to is replaced. What is no regular file (`/dev/stdout`, a pipe of ours) is written to as it is.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let place = walk(path, Goal::Write)?;
    let regular = place.entry.is_none_or(|found| FileType::from_raw_mode(found.st_mode) == FileType::RegularFile);
    if regular && !place.passed {
        return Folder::at(&place, path)?.replace(&place.name, content);
    }
    let follow = if place.passed { OFlags::empty() } else { OFlags::NOFOLLOW };
    let flags = OFlags::WRONLY | OFlags::CLOEXEC | follow;
    if place.entry.is_some_and(|found| !trust::is_ours(&found)) {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "is no regular file and belongs to somebody else"));
    }
    File::from(openat(place.folder(), &place.name, flags, Mode::empty())?).write_all(content)
}
