//! Why the journal cannot be used, in words that help.

use std::path::PathBuf;
use std::time::Duration;

use super::segment::SegmentError;
use crate::command::shell_word;
use crate::files::Doubt;

/// A disk that does not write a record within this time hangs, or as good as.
pub(super) const HANGS: Duration = Duration::from_secs(5);

/// The journal is not usable. Whoever gets this must not act.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The files are not usable.
    #[error("the journal cannot be used")]
    Segment(#[from] SegmentError),
    /// A record that checks is not one this program can read.
    #[error(
        "record {number} of the journal cannot be read: run the version of this program that wrote it, or a newer one"
    )]
    Record {
        /// Counted from the last checkpoint.
        number: usize,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The folder or the lock in it is not usable.
    #[error("{} cannot be made, {}", folder.display(), why_not_made(source))]
    Folder {
        /// Which.
        folder: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// Others could change what is in the folder.
    #[error("the state directory is not used")]
    Untrusted(#[source] Doubt),
    /// Another process has it.
    #[error("{} is locked: another lvm-autoscaler runs on this state directory", lock.display())]
    Locked {
        /// The file.
        lock: PathBuf,
    },
    /// The journal is missing, or older than what was acted upon.
    #[error(
        "{found}, but {} says that {known} records were written: accepted alerts, cooldowns and budgets would be \
         forgotten. Put the newest journal back; or, to continue without the missing records, run: rm {}",
        witness.display(), shell_word(&witness.to_string_lossy())
    )]
    Forgotten {
        /// What there is instead, in words.
        found: String,
        /// The number of the last record.
        known: u64,
        /// The file that knows.
        witness: PathBuf,
    },
    /// The witness may know of a later record than the journal.
    #[error(
        "{} cannot be read ({why}), so it is not known whether the journal is the newest one. To accept it as the \
         newest, run: rm {}",
        witness.display(), shell_word(&witness.to_string_lossy())
    )]
    Witness {
        /// The file.
        witness: PathBuf,
        /// Why not. Not behind the command, which is pasted.
        why: String,
    },
    /// The last write failed, or it could not be opened; why, in a sentence. Only [`super::Journal::retry`] leads on.
    #[error("{0}")]
    Closed(String),
    /// The disk does not answer.
    #[error("the journal's disk has not answered for {} s", HANGS.as_secs())]
    Hangs,
}

/// Why a file or folder of the state directory cannot be made, and what to do about it; the error itself follows.
pub fn why_not_made(error: &std::io::Error) -> &'static str {
    use std::io::ErrorKind;
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            "its file system has no space or no inodes left: free some, or set state.directory to a folder elsewhere"
        }
        ErrorKind::ReadOnlyFilesystem => {
            "its file system is read-only: mount it writable, or set state.directory to a folder elsewhere"
        }
        ErrorKind::NotADirectory | ErrorKind::AlreadyExists => {
            "something that is not a directory is in its way: remove it, or set state.directory to another folder"
        }
        ErrorKind::PermissionDenied if nix::unistd::geteuid().is_root() => {
            "not even root may: see lsattr -d, SELinux or AppArmor, and the export if it is NFS, or set state.directory"
        }
        ErrorKind::PermissionDenied => "run as root, or set state.directory",
        _ => "see whether its file system is in order (dmesg), or set state.directory",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::errno::Errno;

    #[test]
    fn why_a_folder_cannot_be_made_comes_from_the_error() {
        for (errno, part) in [
            (Errno::ENOSPC, "no space or no inodes"),
            (Errno::EDQUOT, "no space or no inodes"),
            (Errno::EROFS, "read-only"),
            (Errno::ENOTDIR, "not a directory"),
            (Errno::EEXIST, "not a directory"),
            (Errno::EIO, "in order"),
        ] {
            let told = why_not_made(&errno.into());
            assert!(
                told.contains(part) && told.contains("state.directory") && !told.contains("root"),
                "{errno}: {told}"
            );
        }
        let is_root = nix::unistd::geteuid().is_root();
        for errno in [Errno::EACCES, Errno::EPERM] {
            assert_eq!(why_not_made(&errno.into()).starts_with("run as root"), !is_root, "{errno}");
        }
    }
}
