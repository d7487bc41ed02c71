//! The only place that touches the machine. Everything above speaks to a [`Host`]: a real one ([`linux`]) or the
//! simulated one that is shipped with the program ([`sim`]), and cannot tell them apart.

mod bounded;
mod disk;
mod exec;
pub mod key;
pub mod linux;
pub mod look;
mod mapping;
mod mounted;
pub mod process;
mod sampler;
mod settings;
pub mod sim;
pub mod uevent;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;

use crate::command::{Command, Tool};
use crate::duration::Shown;
use crate::filesystem::FsKind;
use crate::inventory::{Capability, DeviceNumber, DeviceUsers, Disk, Mapped, Usage};
use crate::name::MountPoint;
use crate::plan::Moment;
pub use key::KeyFileFacts;
pub use linux::own_names;
pub use look::{Focus, LookError, glance, look};
pub use sampler::{Hold, Sampler};

/// A machine. Synchronous, because the engine is; a call may take long, but a call that only reads always ends.
pub trait Host: Send + Sync {
    /// The time.
    fn now(&self) -> Timestamp;

    /// The time, with what a clock that is set cannot falsify.
    fn moment(&self) -> Moment;

    /// Waits. The simulated host's time passes faster.
    fn sleep(&self, duration: Duration);

    /// The names and addresses of this host, for the label `instance`.
    fn own_names(&self) -> Vec<String>;

    /// The host itself, if it is only a simulated one, for commands beside the daemon that simulates it.
    fn simulation(&self) -> Option<String> {
        None
    }

    /// The command as it will be run: settings of LVM that are in force anyway are left out.
    fn resolved(&self, command: &Command) -> Command {
        command.clone()
    }

    /// Runs a command to its end. A report is killed at its deadline; a command that changes something never is, and
    /// `overdue` is called once when it takes longer than it should.
    fn run(&self, command: &Command, overdue: &dyn Fn()) -> Result<Output, RunError>;

    /// Runs two reports, at the same time if it can. They must not be able to see one another.
    fn run_both(&self, one: &Command, other: &Command) -> (Result<Output, RunError>, Result<Output, RunError>) {
        (self.run(one, &|| ()), self.run(other, &|| ()))
    }

    /// Finds out what makes later commands faster. It may run one itself, so it is called when nobody waits.
    fn prepare(&self) {}

    /// Whether a process that this one did not start runs this command: a daemon that was killed leaves the one behind
    /// that it waited for.
    fn is_running(&self, command: &Command) -> bool;

    /// `/proc/self/mountinfo`; paths in it need not be UTF-8.
    fn mountinfo(&self) -> io::Result<Vec<u8>>;

    /// `statvfs`, and the device that the path leads to. Ends within a deadline even if the mount hangs.
    fn usage(&self, mount_point: &MountPoint) -> io::Result<(Usage, DeviceNumber)>;

    /// The same for many, with one deadline for all of them together.
    fn usages(&self, mount_points: &[MountPoint]) -> Vec<io::Result<(Usage, DeviceNumber)>> {
        mount_points.iter().map(|mount_point| self.usage(mount_point)).collect()
    }

    /// A path that leads to a block device, for programs that are given one.
    fn device_path(&self, device: DeviceNumber) -> PathBuf;

    /// The first bytes of a block device. Ends within a deadline even if the device hangs.
    fn superblock(&self, device: DeviceNumber) -> io::Result<Vec<u8>>;

    /// The same where something is decided by them: waits longer, for a disk that is busy does not hang.
    fn awaited_superblock(&self, device: DeviceNumber) -> io::Result<Vec<u8>>;

    /// What stands at these places of a block device, a block each, read past the kernel's caches: XFS writes past that
    /// of the device. What is behind its end is empty. Ends within a deadline even if the device hangs.
    fn on_disk(&self, device: DeviceNumber, places: Vec<u64>) -> io::Result<Vec<Vec<u8>>>;

    /// Has a block device write down what is in its own cache.
    fn flush(&self, device: DeviceNumber) -> io::Result<()>;

    /// The block device of that name, such as a mount's source.
    fn block_device(&self, path: &Path) -> Option<DeviceNumber>;

    /// The number of errors that the kernel has counted; `None` if there is no counter.
    fn errors(&self, kind: FsKind, device: DeviceNumber) -> Option<u64>;

    /// Who uses a block device, beside file systems.
    fn users(&self, device: DeviceNumber) -> io::Result<DeviceUsers>;

    /// What device-mapper has behind a device number, as the kernel shows it.
    fn mapped(&self, device: DeviceNumber) -> io::Result<Mapped>;

    /// What the kernel shows of a block device. Nothing is read from the device itself, so this never hangs.
    fn disk(&self, device: DeviceNumber) -> io::Result<Disk>;

    /// Has a SCSI disk, or all paths to one, asked how large it is; of any other nothing is asked.
    fn rescan(&self, device: DeviceNumber) -> io::Result<()>;

    /// The devices that a device-mapper device lies on; none for any other.
    fn below(&self, device: DeviceNumber) -> Vec<DeviceNumber>;

    /// The devices that lie on a device, as far as device-mapper and the kernel know.
    fn holders(&self, device: DeviceNumber) -> Vec<DeviceNumber>;

    /// What a key file is like; nothing is read from it. Ends within a deadline even if the file system hangs.
    fn key_file(&self, file: &Path) -> io::Result<KeyFileFacts>;

    /// What a file system does that excludes a resize, `none` for nothing, by the name that the kernel shows it under.
    fn exclusive_operation(&self, kind: FsKind, shown_as: &str) -> io::Result<String>;

    /// Capabilities that this process lacks, and with it the programs it runs.
    fn missing_capabilities(&self) -> Vec<Capability>;

    /// How full the file system is on which the daemon keeps its state; `None` if it does not answer.
    fn state_usage(&self) -> Option<Usage>;

    /// Makes a folder that only root can look into, if it is not there.
    fn make_private_folder(&self, folder: &Path) -> io::Result<()>;

    /// The files in a folder of ours; none if it is not there.
    fn files_in(&self, folder: &Path) -> Vec<PathBuf>;

    /// Deletes a file of ours.
    fn remove_file(&self, file: &Path) -> io::Result<()>;

    /// The size of a file of ours, `None` if it is not there.
    fn file_size(&self, file: &Path) -> Option<u64>;

    /// The programs that were not found.
    fn missing_tools(&self) -> Vec<Tool>;
}

/// What a program that ended said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Its exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// Its standard error, cut to a few lines.
    pub stderr: String,
}

impl Output {
    /// Exit code 0.
    pub fn succeeded(&self) -> bool {
        self.code == Some(0)
    }

    /// How it ended and what it said last, for people.
    pub fn complaint(&self) -> String {
        let code = self.code.map_or("was ended by a signal".to_owned(), |code| format!("exited with {code}"));
        let said = self.stderr.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ");
        if said.is_empty() { code } else { format!("{code}: {said}") }
    }
}

/// A program did not run to its end.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// It is not installed.
    #[error("{} is not installed: install it, or set tools.{}", tool.as_str(), tool.as_str())]
    Missing {
        /// Which.
        tool: Tool,
    },
    /// It could not be started, or not waited for.
    #[error("{} cannot be run", tool.as_str())]
    Io {
        /// Which.
        tool: Tool,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A report was given up at its deadline.
    #[error("{command} did not answer within {}", Shown(*after))]
    TimedOut {
        /// Which.
        command: String,
        /// The deadline.
        after: Duration,
    },
    /// Reports that were killed have not ended, so no more are started.
    #[error(
        "{command} is not run: {count} reports that were killed have not ended, a device hangs (see dmesg, dmsetup info)"
    )]
    Stuck {
        /// Which.
        command: String,
        /// How many.
        count: usize,
    },
    /// A report printed more than anybody can use.
    #[error("{command} printed more than {limit} bytes")]
    TooMuch {
        /// Which.
        command: String,
        /// The limit.
        limit: u64,
    },
}
