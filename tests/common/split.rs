//! The program under test, or what stands for it.

use std::process::Command;

use assert_cmd::cargo::cargo_bin;

/// The program; with `LVM_AUTOSCALER_SPLIT` in the environment its daemon is two processes, see tests/split.sh.
#[expect(clippy::disallowed_methods, reason = "the program under test is started")]
pub(crate) fn daemon() -> Command {
    let own = cargo_bin("lvm-autoscaler");
    if !is_split() {
        return Command::new(own);
    }
    let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/split.sh"));
    command.env("PROGRAM", own);
    command
}

/// Whether the daemon is two processes.
pub(crate) fn is_split() -> bool {
    std::env::var_os("LVM_AUTOSCALER_SPLIT").is_some()
}
