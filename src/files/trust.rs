//! Whether somebody else could change a file, a folder or a link. Only root and the user of this process may, judged by
//! owner and mode as sshd's `StrictModes` does.
//!
//! Others may write in a folder on the way only if it is sticky, as /tmp is: there they can remove and rename what
//! is their own, and what is not their own has an owner who is looked at. An access list that lets somebody write shows
//! in the group's bits (acl(5)).

use std::fmt;
use std::path::{Path, PathBuf};

use nix::unistd::{Gid, Group, Uid, User, geteuid};
use rustix::fs::{FileType, Stat};

/// What is done with a file that others could change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Trust {
    /// It is refused.
    #[default]
    Required,
    /// It is used all the same, on a host that is only simulated; whoever reads it reports it.
    Advised,
}

/// That others could change a file, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doubt {
    /// The file as it was asked for.
    pub file: PathBuf,
    /// What they could change.
    pub at: PathBuf,
    /// Whether that is only on the way to it: a folder, or a link.
    pub on_the_way: bool,
    /// How.
    pub why: Why,
}

/// How others could change something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// It belongs to this user.
    Owner(u32),
    /// Its mode lets others write: this group, or everybody.
    Mode {
        /// Its permissions.
        mode: u32,
        /// Its group.
        group: u32,
    },
    /// It is a link that this user could have placed.
    Link(u32),
}

impl Trust {
    /// An error where it is required that nobody else could have changed a file.
    pub fn judge(self, doubt: Option<Doubt>) -> Result<(), Doubt> {
        match (self, doubt) {
            (_, None) => Ok(()),
            (Trust::Required, Some(doubt)) => Err(doubt),
            (Trust::Advised, Some(doubt)) => {
                tracing::warn!("a daemon on a real host would refuse this file: {doubt}");
                Ok(())
            }
        }
    }
}

impl std::error::Error for Doubt {}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.at.display();
        let is_itself = std::path::absolute(&self.file).is_ok_and(|file| file == self.at);
        if self.on_the_way && !is_itself {
            write!(f, "{}: {at}, which leads to it, ", self.file.display())?;
        } else {
            write!(f, "{at} ")?;
        }
        match self.why {
            Why::Owner(uid) => {
                write!(f, "belongs to {}, expected {}: chown {} {at}", user(uid), expected(), user(geteuid().as_raw()))
            }
            Why::Mode { mode, group } if mode & 0o002 == 0 => {
                write!(f, "can be changed by the group {} (mode {mode:04o}): chmod g-w {at}", self::group(group))
            }
            Why::Mode { mode, .. } => write!(f, "can be changed by everybody (mode {mode:04o}): chmod go-w {at}"),
            Why::Link(uid) => write!(
                f,
                "is a symbolic link that {} could have placed: name the file itself, or have link and folder belong to {} \
                 with nobody else allowed to write there",
                user(uid),
                expected()
            ),
        }
    }
}

fn user(uid: u32) -> String {
    let known = User::from_uid(Uid::from_raw(uid)).ok().flatten();
    known.map_or_else(|| format!("user {uid}"), |user| user.name)
}

fn group(gid: u32) -> String {
    let known = Group::from_gid(Gid::from_raw(gid)).ok().flatten();
    known.map_or_else(|| gid.to_string(), |group| group.name)
}

fn expected() -> String {
    match geteuid() {
        root if root.is_root() => "root".to_owned(),
        own => format!("root or {}", user(own.as_raw())),
    }
}

/// Whether it belongs to somebody who may do all this process may do.
pub(super) fn is_ours(found: &Stat) -> bool {
    found.st_uid == 0 || found.st_uid == geteuid().as_raw()
}

/// What in it lets others write.
fn writable(found: &Stat) -> Option<Why> {
    let mode = found.st_mode & 0o7777;
    (mode & 0o022 != 0).then_some(Why::Mode { mode, group: found.st_gid })
}

fn owner(found: &Stat) -> Option<Why> {
    (!is_ours(found)).then_some(Why::Owner(found.st_uid))
}

/// How others could change which files a folder on the way has.
pub(super) fn of_way(folder: &Stat) -> Option<Why> {
    const STICKY: u32 = 0o1000;
    owner(folder).or_else(|| writable(folder).filter(|_| folder.st_mode & STICKY == 0))
}

/// How others could place something in a folder.
pub(super) fn of_folder(folder: &Stat) -> Option<Why> {
    owner(folder).or_else(|| writable(folder))
}

/// How others could change a file. Who may write to a device does not change what it is.
pub(super) fn of_file(found: &Stat) -> Option<Why> {
    let device = matches!(FileType::from_raw_mode(found.st_mode), FileType::CharacterDevice | FileType::BlockDevice);
    owner(found).or_else(|| writable(found).filter(|_| !device))
}

/// Of something on the way to a file.
pub(super) fn on_the_way(file: &Path, at: &Path, why: Option<Why>) -> Option<Doubt> {
    why.map(|why| Doubt { file: file.to_owned(), at: at.to_owned(), on_the_way: true, why })
}

/// Of the file itself, wherever it really is.
pub(super) fn itself(file: &Path, at: &Path, why: Option<Why>) -> Option<Doubt> {
    why.map(|why| Doubt { file: file.to_owned(), at: at.to_owned(), on_the_way: false, why })
}
