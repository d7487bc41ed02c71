//! The program on real LVM, ext4 and XFS: the daemon as a process, real commands, and then a look at what `lvs`, `df`
//! and the journal say. `tests/vm/run.sh` runs this in the virtual machine; everywhere else the tests are named and
//! ignored.
#![expect(
    clippy::disallowed_methods,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test runs programs, writes files and fails by a panic"
)]

#[expect(dead_code, reason = "shared with the tests outside of the virtual machine")]
#[path = "../common/part.rs"]
mod part;

mod daemon;
mod decisions;
mod http;
mod storage;

mod beneath;
mod caches;
mod cases;
mod commands;
mod crash;
mod endings;
mod errors;
mod exporter;
mod exposition;
mod failure;
mod grow;
mod init;
mod journal;
mod kills;
mod load;
mod luks;
mod matrix;
mod policies;
mod privileges;
mod record;
mod refuse;
mod root;
mod supply;
mod supply_more;
mod surroundings;
mod troubles;
mod troubles_more;
