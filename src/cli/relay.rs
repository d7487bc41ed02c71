//! `relay`

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::exit::Exit;
use super::fleet::Reach;
use crate::app;
use crate::config::{HttpClient, load_http_client};
use crate::duration;
use crate::relay;
use crate::server::ListenAddress;

#[derive(Debug, Args)]
#[command(after_help = "Example: lvm-autoscaler relay --targets-file=/etc/lvm-autoscaler/hosts.json")]
pub(super) struct Relay {
    /// The hosts, in the format of Prometheus' file_sd; read again when it changes. No other host is ever called.
    #[arg(long, value_name = "FILE")]
    targets_file: PathBuf,
    #[command(flatten)]
    reach: Reach,
    /// Credentials and TLS for calling the daemons, in the format of Prometheus' http_config.
    #[arg(long = "http.config.file", value_name = "FILE")]
    http_config_file: Option<PathBuf>,
    /// The label that names the host of an alert.
    #[arg(long, value_name = "LABEL", default_value = "instance")]
    instance_label: String,
    /// How long to wait for a daemon's answer. Alertmanager gives up after 10 s at the earliest.
    #[arg(long, value_name = "DURATION", default_value = "8s", value_parser = duration::parse)]
    timeout: Duration,
    /// Address to listen on, IP:PORT, :PORT or unix:/PATH; may be given several times.
    #[arg(long = "web.listen-address", value_name = "ADDRESS", default_value = "127.0.0.1:19846")]
    listen: Vec<ListenAddress>,
    /// TLS, client certificates, users and headers, in the format of Prometheus' exporter-toolkit. To listen on other
    /// addresses than those of this host it must require users or client certificates.
    #[arg(long = "web.config.file", value_name = "FILE")]
    web_config_file: Option<PathBuf>,
}

impl Relay {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let client = self.http_config_file.as_deref().map(load_http_client).transpose()?;
        let options = relay::RelayOptions {
            targets_file: self.targets_file,
            defaults: self.reach.defaults(),
            client: client.unwrap_or_else(HttpClient::default),
            label: self.instance_label,
            timeout: self.timeout,
        };
        app::relay(&options, &self.listen, self.web_config_file.as_deref())?;
        Ok(Exit::Done)
    }
}
