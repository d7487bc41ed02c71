//! Writes the man pages, one per command, and the shell completions from the program's own arguments:
//! `cargo run --example packaging -- DIR`. Run by packaging/build.sh; no part of the daemon.

use std::path::PathBuf;

use clap::CommandFactory;
use clap_complete::Shell;
use lvm_autoscaler::cli::Cli;

#[expect(clippy::disallowed_methods, reason = "writes what packages ship; it is no part of the daemon")]
fn main() -> anyhow::Result<()> {
    let Some(folder) = std::env::args_os().nth(1).map(PathBuf::from) else {
        anyhow::bail!("expected the folder to write to");
    };
    std::fs::create_dir_all(folder.join("man"))?;
    std::fs::create_dir_all(folder.join("completions"))?;
    clap_mangen::generate_to(Cli::command(), folder.join("man"))?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut Cli::command(), "lvm-autoscaler", folder.join("completions"))?;
    }
    Ok(())
}
