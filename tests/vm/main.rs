//! The program on real LVM, ext4 and XFS: the daemon as a process, real commands, and then a look at what `lvs`, `df` and
//! the journal say. `tests/vm/run.sh` runs this in the virtual machine; everywhere else the tests are named and ignored.
#![expect(
    clippy::disallowed_methods,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test runs programs, writes files and fails by a panic"
)]

mod daemon;
mod decisions;
mod http;
mod storage;

mod crash;
mod exporter;
mod exposition;
mod failure;
mod grow;
mod record;
mod refuse;
