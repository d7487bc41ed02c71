//! The programs this tool runs, and their command lines as data: what is planned, written down, run and shown to people
//! is one value.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::name::MountPoint;

/// The longest path the kernel takes, with the zero at its end (`PATH_MAX` of linux/limits.h).
const LONGEST_PATH: usize = 4096;

/// One row per program: its documentation, its name, the package that has it, how many minutes it may take before
/// that is worth a warning, and what cannot be done without it.
macro_rules! tools {
    ($($(#[$doc:meta])* $tool:ident $name:literal $package:literal $minutes:literal $disables:literal,)*) => {
        /// The programs this tool runs. There is no other way to start one.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Tool {
            $($(#[$doc])* #[serde(rename = $name)] $tool,)*
        }

        impl Tool {
            /// All of them.
            pub const ALL: &[Tool] = &[$(Tool::$tool),*];

            /// Their names.
            pub const NAMES: &[&str] = &[$($name),*];

            /// The program's name, which is that of its key under `tools` too.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Tool::$tool => $name,)*
                }
            }

            /// The package that has it, as most distributions call that.
            pub fn package(self) -> &'static str {
                match self {
                    $(Tool::$tool => $package,)*
                }
            }

            /// A change that takes longer is worth a warning.
            pub fn expected(self) -> Duration {
                match self {
                    $(Tool::$tool => Duration::from_secs($minutes * 60),)*
                }
            }

            /// What cannot be done without it.
            pub fn disables(self) -> &'static str {
                match self {
                    $(Tool::$tool => $disables,)*
                }
            }
        }
    };
}

// What only writes metadata takes seconds, unless another LVM command holds the group; `resize2fs` writes the tables of
// each new block group, terabytes take minutes; `e2fsck` reads all of them.
tools! {
    /// lvm(8); its first argument is the command.
    Lvm "lvm" "lvm2" 1 "nothing can be shown and nothing can grow",
    /// blkid(8).
    Blkid "blkid" "util-linux" 1 "no file system can grow",
    /// resize2fs(8).
    Resize2fs "resize2fs" "e2fsprogs" 5 "no ext4 can grow",
    /// xfs_growfs(8).
    XfsGrowfs "xfs_growfs" "xfsprogs" 1 "no XFS can grow",
    /// e2fsck(8).
    E2fsck "e2fsck" "e2fsprogs" 30 "no ext4 can grow while it is mounted nowhere",
    /// btrfs(8).
    Btrfs "btrfs" "btrfs-progs" 1 "no btrfs can grow",
    /// growpart(1).
    Growpart "growpart" "cloud-guest-utils" 5 "no partition can grow with its disk",
    /// xfs_io(8).
    XfsIo "xfs_io" "xfsprogs" 1 "an XFS that lost power while it grew cannot be repaired",
    /// rmdir(1), which is asked to remove what cannot be there: see [`Command::asks_whether_frozen`].
    Rmdir "rmdir" "coreutils" 1 "a frozen file system cannot be recognised, so no mounted one can grow",
}

/// A program and its arguments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// The program.
    pub tool: Tool,
    /// Its arguments, never seen by a shell.
    pub arguments: Vec<String>,
    /// It changes the host: it is then never killed, and a dry run leaves it out.
    pub mutates: bool,
}

impl Command {
    /// A command that only reads. It may be killed at its deadline.
    pub fn report(tool: Tool, arguments: impl IntoIterator<Item = impl Into<String>>) -> Command {
        Command { tool, arguments: arguments.into_iter().map(Into::into).collect(), mutates: false }
    }

    /// A command that changes the host. Nothing ever kills it.
    pub fn mutating(tool: Tool, arguments: impl IntoIterator<Item = impl Into<String>>) -> Command {
        Command { tool, arguments: arguments.into_iter().map(Into::into).collect(), mutates: true }
    }

    /// A command that changes nothing and waits as long as the file system at this place is frozen. The kernel waits
    /// for a frozen file system before it looks for what is to be removed (`mnt_want_write` in `do_rmdir`), and a name
    /// of 300 characters cannot be there: none of ext, XFS and btrfs allows more than 255. A process of its own,
    /// because nothing ends what waits there but the end of the freeze.
    ///
    /// `None` at a place whose own name leaves no room for such a name in a path.
    pub fn asks_whether_frozen(mount_point: &MountPoint) -> Option<Command> {
        let never_there = format!("{}/{}", mount_point.as_str(), "x".repeat(300));
        (never_there.len() < LONGEST_PATH).then(|| Command::report(Tool::Rmdir, ["--", &never_there]))
    }

    /// What people call it: `lvextend` for `lvm lvextend`.
    pub fn name(&self) -> &str {
        match (self.tool, self.arguments.first()) {
            (Tool::Lvm, Some(command)) => command,
            (tool, _) => tool.as_str(),
        }
    }
}

/// As it could be pasted into a shell.
impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.tool.as_str())?;
        self.arguments.iter().try_for_each(|argument| write!(f, " {}", shell_word(argument)))
    }
}

/// One argument as a shell must be given it.
pub fn shell_word(argument: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "+_.-/:=,@%".contains(c);
    if !argument.is_empty() && argument.chars().all(plain) {
        return argument.to_owned();
    }
    if argument.chars().any(crate::hides) {
        return spelt(argument);
    }
    format!("'{}'", argument.replace('\'', "'\\''"))
}

/// A word with characters that nobody sees, byte by byte: whoever pastes it sees what it is, and the shell gets it all
/// the same.
fn spelt(argument: &str) -> String {
    let mut word = String::from("$'");
    for c in argument.chars() {
        match c {
            '\'' | '\\' => word.extend(['\\', c]),
            c if crate::hides(c) => {
                c.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| word.push_str(&format!("\\x{byte:02x}")));
            }
            c => word.push(c),
        }
    }
    word + "'"
}

#[cfg(test)]
mod tests {
    use super::*;

    /// bash and dash of the year 2024 and later give it the bytes; whoever reads it sees them.
    #[test]
    fn a_word_with_hidden_characters_is_spelt_and_can_still_be_pasted() {
        assert_eq!(shell_word("/srv/\u{202e}it's\\\n"), "$'/srv/\\xe2\\x80\\xaeit\\'s\\\\\\x0a'");
        assert_eq!(shell_word("/srv/it's"), "'/srv/it'\\''s'");
    }
}
