//! Exit codes. Scripts rely on them; they never change.

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It did what it was asked.
    Done = 0,
    /// Something unexpected.
    Unexpected = 1,
    /// Wrong usage, or a wrong config.
    Usage = 2,
    /// A guard refused.
    Refused = 3,
    /// An operation needs attention.
    NeedsAttention = 4,
}

/// For `--help`.
pub const HELP: &str = "Exit codes: 0 done, 1 unexpected, 2 usage or config, 3 refused by a guard, 4 needs attention";

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> std::process::ExitCode {
        std::process::ExitCode::from(exit as u8)
    }
}
