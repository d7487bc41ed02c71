//! `serve`, and its two halves, `engine` and `web`.

use std::path::PathBuf;

use clap::Args;

use super::exit::Exit;
use super::selection::Collectors;
use crate::app::{self, Options};
use crate::server::ListenAddress;

/// Where the two halves of a daemon meet.
const SOCKET: &str = "/run/lvm-autoscaler-engine.sock";

#[derive(Debug, Args)]
#[command(after_help = "Example: lvm-autoscaler serve --config.file=/etc/lvm-autoscaler/config.yaml --dry-run")]
pub(super) struct Serve {
    #[command(flatten)]
    daemon: Daemon,
}

#[derive(Debug, Args)]
#[command(after_help = "Example: lvm-autoscaler engine --web.user=lvm-autoscaler")]
pub(super) struct EngineHalf {
    /// Socket on which the web process connects; one that systemd opened comes first.
    #[arg(long = "engine.socket", value_name = "FILE", default_value = SOCKET)]
    socket: PathBuf,
    /// User of the web process; without one only root and the user of this process may connect.
    #[arg(long = "web.user", value_name = "NAME")]
    user: Option<String>,
    /// Do not confine this process by Landlock and seccomp.
    #[arg(long)]
    unconfined: bool,
    #[command(flatten)]
    daemon: Daemon,
}

#[derive(Debug, Args)]
#[command(after_help = "Example: lvm-autoscaler web --web.listen-address=:19845 \
    --web.config.file=/etc/lvm-autoscaler/web.yaml")]
pub(super) struct WebHalf {
    /// Socket on which the engine listens.
    #[arg(long = "engine.socket", value_name = "FILE", default_value = SOCKET)]
    socket: PathBuf,
    /// Do not confine this process by Landlock and seccomp.
    #[arg(long)]
    unconfined: bool,
    #[command(flatten)]
    daemon: Daemon,
}

/// Both halves take all of these, so that both can be given the same; each uses its own.
#[derive(Debug, Args)]
struct Daemon {
    /// Config file; without one, and without /etc/lvm-autoscaler/config.yaml, nothing may grow.
    #[arg(long = "config.file", value_name = "FILE")]
    config_file: Option<PathBuf>,
    /// Address to listen on, IP:PORT, :PORT or unix:/PATH; may be given several times.
    #[arg(long = "web.listen-address", value_name = "ADDRESS", default_value = "127.0.0.1:19845")]
    listen: Vec<ListenAddress>,
    /// Use the sockets that systemd opened, instead of opening its own.
    #[arg(long = "web.systemd-socket", conflicts_with = "listen")]
    systemd_socket: bool,
    /// TLS, client certificates, users and headers, in the format of Prometheus' exporter-toolkit.
    #[arg(long = "web.config.file", value_name = "FILE")]
    web_config_file: Option<PathBuf>,
    /// Path of the metrics.
    #[arg(long = "web.telemetry-path", value_name = "PATH", default_value = "/metrics", value_parser = path)]
    telemetry_path: String,
    /// Log the commands that change something instead of running them.
    #[arg(long)]
    dry_run: bool,
    /// Run on the simulated host described in this file.
    #[arg(long, value_name = "FILE")]
    simulate: Option<PathBuf>,
    #[command(flatten)]
    collectors: Collectors,
}

fn path(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/-_.".contains(c);
    if text.len() > 1 && text.starts_with('/') && text.chars().all(plain) {
        Ok(text.to_owned())
    } else {
        Err("expected a path such as /metrics".to_owned())
    }
}

impl Serve {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        app::serve(&self.daemon.options(false))?;
        Ok(Exit::Done)
    }
}

impl EngineHalf {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        app::engine(&self.daemon.options(!self.unconfined), &self.socket, self.user.as_deref())?;
        Ok(Exit::Done)
    }
}

impl WebHalf {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        app::web(&self.daemon.options(!self.unconfined), &self.socket)?;
        Ok(Exit::Done)
    }
}

impl Daemon {
    fn options(self, confined: bool) -> Options {
        let Daemon {
            config_file,
            listen,
            systemd_socket,
            web_config_file,
            telemetry_path,
            dry_run,
            simulate,
            collectors,
        } = self;
        let selection = collectors.selection();
        Options {
            config_file,
            listen,
            systemd_socket,
            web_config_file,
            telemetry_path,
            selection,
            dry_run,
            confined,
            simulate,
        }
    }
}
