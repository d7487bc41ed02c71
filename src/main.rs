//! Parses the arguments, starts the log, calls the command and maps its result to an exit code.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use lvm_autoscaler::app::UsageError;
use lvm_autoscaler::audit::AuditError;
use lvm_autoscaler::cli::Cli;
use lvm_autoscaler::cli::exit::Exit;
use lvm_autoscaler::config::ConfigError;
use lvm_autoscaler::files::Doubt;
use lvm_autoscaler::host::process;
use lvm_autoscaler::host::sim::SimError;
use lvm_autoscaler::notify::NotifyError;
use lvm_autoscaler::relay::RelayError;
use lvm_autoscaler::relay::hosts::HostsError;
use lvm_autoscaler::server::AccessError;

fn main() -> ExitCode {
    process::close_inherited();
    let cli = Cli::parse();
    cli.start_log();
    match cli.run() {
        Ok(exit) => exit.into(),
        // `plan | head`: the reader has what it wanted.
        Err(error) if is_closed_pipe(&error) => Exit::Done.into(),
        Err(error) => {
            // Standard error may be closed; there is nobody left to tell then.
            let said = lvm_autoscaler::plain_lines(&format!("{error:#}"));
            let _ = writeln!(std::io::stderr(), "lvm-autoscaler: {said}");
            let usage = error.is::<ConfigError>()
                || error.is::<NotifyError>()
                || error.is::<UsageError>()
                || error.is::<AccessError>()
                || error.is::<SimError>()
                || error.is::<AuditError>()
                || error.is::<Doubt>()
                || error.is::<RelayError>()
                || error.is::<HostsError>();
            if usage { Exit::Usage.into() } else { Exit::Unexpected.into() }
        }
    }
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let io = error.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
    let json = error.downcast_ref::<serde_json::Error>().and_then(serde_json::Error::io_error_kind);
    io.or(json) == Some(std::io::ErrorKind::BrokenPipe)
}
