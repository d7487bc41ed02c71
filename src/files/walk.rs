//! The way to a file, one name at a time.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, PROC_SUPER_MAGIC, Stat, fstat, fstatfs, mkdirat, openat, readlinkat};
use rustix::io::Errno;

use super::trust::{self, Doubt, Why};

/// As many as the kernel follows, path_resolution(7).
const MOST_LINKS: usize = 40;

/// What the way is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Goal {
    /// A file that is read: every link is followed, and those that others could have placed are a doubt.
    Read,
    /// A file that is written: a link that others could have placed is an error.
    Write,
    /// A folder that is written in: the same, and what is missing is made with this mode.
    Folder(u32),
}

/// Where a path leads.
#[derive(Debug)]
pub(super) struct Place {
    /// The folders from the root on; the last one has the name.
    folders: Vec<(OwnedFd, Stat)>,
    /// In that folder; `.` if the path leads to the folder itself.
    pub(super) name: OsString,
    /// All of it, without links.
    pub(super) path: PathBuf,
    /// What has the name now.
    pub(super) entry: Option<Stat>,
    /// Whether it is an open file that whoever started this process passed on (`/dev/fd/63`), or that is its own.
    pub(super) passed: bool,
    /// The first thing on the way that others could change; the file itself is not looked at.
    pub(super) doubt: Option<Doubt>,
}

impl Place {
    pub(super) fn folder(&self) -> BorrowedFd<'_> {
        self.last().0.as_fd()
    }

    pub(super) fn folder_stat(&self) -> &Stat {
        &self.last().1
    }

    fn last(&self) -> &(OwnedFd, Stat) {
        // The root is never taken off.
        &self.folders[self.folders.len() - 1]
    }
}

/// Follows a path.
pub(super) fn walk(file: &Path, goal: Goal) -> io::Result<Place> {
    let mut place = Place {
        folders: vec![],
        name: OsString::from("."),
        path: PathBuf::from("/"),
        entry: None,
        passed: false,
        doubt: None,
    };
    place.enter(file, openat(CWD, "/", FOLDER, Mode::empty())?)?;
    let mut rest = VecDeque::new();
    prepend(&mut rest, &std::path::absolute(file)?);
    let mut links = 0;
    while let Some(name) = rest.pop_front() {
        if name == ".." {
            if place.folders.len() > 1 {
                place.folders.pop();
                place.path.pop();
            }
            continue;
        }
        let last = rest.is_empty() && !matches!(goal, Goal::Folder(_));
        let found = match (openat(place.folder(), &name, FOUND, Mode::empty()), goal) {
            (Err(Errno::NOENT), Goal::Folder(mode)) => {
                match mkdirat(place.folder(), &name, Mode::from_raw_mode(mode)) {
                    Ok(()) | Err(Errno::EXIST) => openat(place.folder(), &name, FOUND, Mode::empty())?,
                    Err(error) => return Err(error.into()),
                }
            }
            (Err(Errno::NOENT), _) if last => {
                place.path.push(&name);
                place.name = name;
                return Ok(place);
            }
            (found, _) => found?,
        };
        let stat = fstat(&found)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Symlink => {
                links += 1;
                if links > MOST_LINKS {
                    return Err(Errno::LOOP.into());
                }
                place.judge_link(file, &name, &stat, goal)?;
                if fstatfs(place.folder())?.f_type == PROC_SUPER_MAGIC {
                    // What it says is no path. Its owner was looked at: it is a process of ours.
                    if last {
                        (place.name, place.passed) = (name, true);
                        return Ok(place);
                    }
                    place.path.push(&name);
                    let there = openat(place.folder(), &name, FOLDER, Mode::empty())?;
                    place.enter(file, there)?;
                    continue;
                }
                let target = PathBuf::from(OsString::from_vec(readlinkat(&found, "", vec![])?.into_bytes()));
                if target.is_absolute() {
                    place.folders.truncate(1);
                    place.path = PathBuf::from("/");
                }
                prepend(&mut rest, &target);
            }
            _ if last => {
                place.path.push(&name);
                (place.name, place.entry) = (name, Some(stat));
                return Ok(place);
            }
            FileType::Directory => {
                place.path.push(&name);
                place.enter(file, found)?;
            }
            _ => return Err(Errno::NOTDIR.into()),
        }
    }
    place.entry = Some(*place.folder_stat());
    Ok(place)
}

/// A folder that is only passed through: who may not read it may still know a name in it.
const FOLDER: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
/// Whatever it is, a link itself too.
const FOUND: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

impl Place {
    fn enter(&mut self, file: &Path, folder: OwnedFd) -> io::Result<()> {
        let stat = fstat(&folder)?;
        if self.doubt.is_none() {
            self.doubt = trust::on_the_way(file, &self.path, trust::of_way(&stat));
        }
        self.folders.push((folder, stat));
        Ok(())
    }

    fn judge_link(&mut self, file: &Path, name: &OsStr, link: &Stat, goal: Goal) -> io::Result<()> {
        let why = match goal {
            // Where others could replace it the folder is a doubt already.
            Goal::Read => (!trust::is_ours(link)).then_some(Why::Link(link.st_uid)),
            Goal::Write | Goal::Folder(_) => match trust::of_folder(self.folder_stat()) {
                Some(Why::Owner(uid)) => Some(Why::Link(uid)),
                // The link may be root's own and have been linked here, link(2).
                Some(_) => Some(Why::Link(link.st_uid)),
                None => (!trust::is_ours(link)).then_some(Why::Link(link.st_uid)),
            },
        };
        let doubt = trust::on_the_way(file, &self.path.join(name), why);
        match (doubt, goal) {
            (Some(doubt), Goal::Write | Goal::Folder(_)) => Err(io::Error::new(io::ErrorKind::PermissionDenied, doubt)),
            (doubt, _) => {
                self.doubt = self.doubt.take().or(doubt);
                Ok(())
            }
        }
    }
}

/// Puts the names of a path before those that are left.
fn prepend(rest: &mut VecDeque<OsString>, path: &Path) {
    let names = path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    });
    for name in names.collect::<Vec<_>>().into_iter().rev() {
        rest.push_front(name);
    }
}
