//! What can go wrong on purpose.

#![expect(clippy::panic, reason = "a crash of the daemon is a panic that the test catches")]

use std::fmt;

use crate::command::Command;
use crate::host::Output;

/// Something that goes wrong when a certain command runs.
#[derive(Debug, Clone)]
pub struct Fault {
    /// The name of the command: `lvextend`, `resize2fs`, `fullreport`, ...; or of what the kernel is asked: `mapped`,
    /// `mountinfo`.
    pub command: String,
    /// How many of them pass before it strikes.
    pub after: usize,
    /// How many it strikes.
    pub times: usize,
    /// What happens.
    pub harm: Harm,
}

/// What happens to a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Harm {
    /// It fails and does nothing.
    Fails,
    /// It does its work and then reports a failure.
    FailsAfterwards,
    /// It succeeds, prints nonsense and does nothing.
    Garbage,
    /// It does not answer; only reports are given up.
    TimesOut,
    /// It takes longer than it should.
    Overdue,
    /// The daemon dies just before it runs.
    CrashBefore,
    /// The daemon dies while it runs, and it goes on.
    CrashDuring,
    /// The daemon dies just after it ran.
    CrashAfter,
}

/// The payload of the panic that stands for a crash of the daemon.
#[derive(Debug)]
pub struct Crash(pub String);

impl Fault {
    /// It strikes the first such command, once.
    pub fn once(command: &str, harm: Harm) -> Fault {
        Fault { command: command.to_owned(), after: 0, times: 1, harm }
    }

    pub(super) fn strikes(&self, command: &str) -> bool {
        self.times > 0 && command == self.command
    }

    /// Counts one command down; the harm if it is this one's turn.
    pub(super) fn hit(&mut self) -> Option<Harm> {
        if self.after > 0 {
            self.after -= 1;
            return None;
        }
        self.times -= 1;
        Some(self.harm)
    }
}

impl Harm {
    pub(super) fn before(self, command: &dyn fmt::Display, overdue: &dyn Fn()) {
        match self {
            Harm::CrashBefore => std::panic::panic_any(Crash(format!("before {command}"))),
            Harm::Overdue => overdue(),
            _ => {}
        }
    }

    pub(super) fn after(self, command: &dyn fmt::Display) {
        if self == Harm::CrashAfter {
            std::panic::panic_any(Crash(format!("after {command}")));
        }
    }
}

pub(super) fn crash_during(command: &Command) {
    std::panic::panic_any(Crash(format!("during {command}")));
}

/// As the programs say it when the disk below fails.
pub(super) fn failure(command: &Command) -> Output {
    let about = command.arguments.last().map_or("", String::as_str);
    let vg = about.split('/').next().unwrap_or_default();
    let (code, said) = match command.name() {
        "lvextend" => (5, format!("  Error writing device /dev/sdb at 4096 length 512.\n  Failed to write VG {vg}.")),
        "vgcfgbackup" => (5, format!("  Backup of volume group {vg} failed: Input/output error")),
        "resize2fs" => (1, "resize2fs: Input/output error While checking for on-line resizing support".to_owned()),
        "xfs_growfs" => (1, "xfs_growfs: XFS_IOC_FSGROWFSDATA xfsctl failed: Input/output error".to_owned()),
        name => (5, format!("  {name}: Input/output error")),
    };
    super::output::fails(code, said)
}

pub(super) fn garbage() -> Output {
    Output { code: Some(0), stdout: b"\xff{garbage\0".to_vec(), stderr: String::new() }
}
