//! `alertmanager-config`: a receiver and a route for each host, for Alertmanagers whose `url` is no template yet.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;

use super::exit::Exit;
use super::fleet::Reach;
use crate::relay::hosts::{Hosts, RelayedHost};

#[derive(Debug, Args)]
#[command(
    after_help = "Example: lvm-autoscaler alertmanager-config --hosts=hosts.json\n\nThe output is a whole file; copy its \
                  routes and receivers into yours."
)]
pub(super) struct AlertmanagerConfig {
    /// The hosts, in the format of Prometheus' file_sd, or one per line.
    #[arg(long, value_name = "FILE")]
    hosts: PathBuf,
    #[command(flatten)]
    reach: Reach,
    /// A file that Alertmanager reads the daemons' token from.
    #[arg(long, value_name = "FILE")]
    credentials_file: Option<PathBuf>,
    /// A file with the certificates that Alertmanager trusts for the daemons.
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Which alerts are for daemons, as Alertmanager's `matchers`.
    #[arg(long, value_name = "MATCHER", default_value = "lvm_autoscaler=\"extend\"")]
    r#match: String,
    /// The label that names the host of an alert.
    #[arg(long, value_name = "LABEL", default_value = "instance", value_parser = label)]
    instance_label: String,
}

fn label(text: &str) -> Result<String, String> {
    let first = text.chars().next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
    let is_label = first && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    is_label.then(|| text.to_owned()).ok_or_else(|| "expected the name of a label such as instance".to_owned())
}

impl AlertmanagerConfig {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let hosts = Hosts::load(&self.hosts, &self.reach.defaults())?;
        std::io::stdout().lock().write_all(self.print(&hosts).as_bytes())?;
        Ok(Exit::Done)
    }

    fn print(&self, hosts: &Hosts) -> String {
        let mut text = format!(
            "# A receiver and a route for each of {} hosts, made by `lvm-autoscaler alertmanager-config`. Make it again when\n\
             # the hosts change. Alertmanager 0.22 or newer; from 0.31 on a templated url does the same with one receiver.\n\
             route:\n  receiver: nobody\n  routes:\n    - receiver: nobody\n      matchers: [{}]\n      \
             # A group per volume: none waits for another one's group_interval.\n      \
             group_by: [cluster, {}, vg, lv, device, mountpoint]\n      group_wait: 10s\n      group_interval: 1m\n      \
             repeat_interval: 5m\n      routes:\n",
            hosts.len(),
            quoted(&self.r#match),
            self.instance_label
        );
        if hosts.is_empty() {
            text.truncate(text.len() - "      routes:\n".len());
        }
        for host in hosts.iter() {
            let matcher = format!("{}=~{}", self.instance_label, quoted(&pattern(host)));
            text.push_str(&format!(
                "        - receiver: {}\n          matchers: [{}]\n",
                quoted(&receiver(host)),
                quoted(&matcher)
            ));
        }
        text.push_str("\nreceivers:\n  - name: nobody\n");
        for host in hosts.iter() {
            text.push_str(&format!(
                "  - name: {}\n    webhook_configs:\n      - url: {}\n        send_resolved: false\n",
                quoted(&receiver(host)),
                quoted(&host.url())
            ));
            text.push_str(&self.http_config());
        }
        text
    }

    fn http_config(&self) -> String {
        let mut text = String::new();
        let shown = |path: &PathBuf| quoted(&path.to_string_lossy());
        if self.credentials_file.is_some() || self.ca_file.is_some() {
            text.push_str("        http_config:\n");
        }
        if let Some(file) = &self.credentials_file {
            text.push_str(&format!("          authorization: {{ credentials_file: {} }}\n", shown(file)));
        }
        if let Some(file) = &self.ca_file {
            text.push_str(&format!("          tls_config: {{ ca_file: {} }}\n", shown(file)));
        }
        text
    }
}

fn receiver(host: &RelayedHost) -> String {
    format!("lvm-autoscaler on {}", host.name)
}

/// Matches what the label may say of this host, with and without a port, in any case.
fn pattern(host: &RelayedHost) -> String {
    let names: Vec<String> = host.names().map(name_pattern).collect();
    format!("(?i)(?:{})(?::[0-9]+)?", names.join("|"))
}

fn name_pattern(name: &str) -> String {
    let escaped = regex::escape(name);
    // An IPv6 address with a port has brackets; a name may end in a dot.
    if name.contains(':') { format!("\\[?{escaped}\\]?") } else { format!("{escaped}\\.?") }
}

/// As JSON writes a text, which YAML reads the same: nothing in it can end it.
fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::http::uri::Scheme;
    use serde_yaml::Value;

    fn made(list: &str) -> Value {
        let command = AlertmanagerConfig {
            hosts: PathBuf::new(),
            reach: crate::cli::fleet::Reach::usual(),
            credentials_file: Some("/etc/alertmanager/\"token\": x".into()),
            ca_file: None,
            r#match: "lvm_autoscaler=\"extend\"".to_owned(),
            instance_label: "instance".to_owned(),
        };
        let hosts = Hosts::parse(list, &crate::relay::hosts::Defaults { scheme: Scheme::HTTPS, port: None });
        serde_yaml::from_str(&command.print(&hosts.expect("a list"))).expect("YAML")
    }

    #[test]
    fn whatever_hosts_are_called_it_is_yaml_and_each_has_its_own() {
        let list = "- { targets: ['db1.example.com:1'], labels: { instance: \"a: [b]\\n- #\\\"'{{x}}\" } }\n\
            - targets: ['[2001:db8::7]:9']\n";
        let yaml = made(list);
        let receivers = yaml["receivers"].as_sequence().expect("a list");
        assert_eq!(receivers.len(), 3);
        assert_eq!(receivers[1]["webhook_configs"][0]["url"], "https://db1.example.com:1/webhook/alertmanager");
        assert_eq!(receivers[2]["webhook_configs"][0]["url"], "https://[2001:db8::7]:9/webhook/alertmanager");
        let credentials = &receivers[1]["webhook_configs"][0]["http_config"]["authorization"]["credentials_file"];
        assert_eq!(credentials, "/etc/alertmanager/\"token\": x");
        assert_eq!(yaml["route"]["routes"][0]["group_by"][0], "cluster");
        assert_eq!(yaml["route"]["routes"][0]["group_by"][1], "instance");
        let routes = yaml["route"]["routes"][0]["routes"].as_sequence().expect("a list");
        assert_eq!(routes.len(), 2);
        assert_eq!(routes[0]["receiver"], receivers[1]["name"]);
    }

    #[test]
    fn no_hosts_are_no_routes() {
        assert!(made("")["route"]["routes"][0].get("routes").is_none());
    }

    #[test]
    fn the_pattern_means_this_host_and_no_other() {
        let hosts = Hosts::parse(
            "db1.example.com:1\n[2001:db8::7]:9\n",
            &crate::relay::hosts::Defaults { scheme: Scheme::HTTP, port: None },
        )
        .expect("a list");
        let patterns: Vec<_> =
            hosts.iter().map(|host| regex::Regex::new(&format!("^(?:{})$", pattern(host))).expect("valid")).collect();
        for instance in ["db1.example.com", "DB1.example.com.:9100", "db1.example.com:1"] {
            assert!(patterns[0].is_match(instance) && !patterns[1].is_match(instance), "{instance}");
        }
        for instance in ["[2001:db8::7]:9100", "2001:db8::7"] {
            assert!(patterns[1].is_match(instance) && !patterns[0].is_match(instance), "{instance}");
        }
        for instance in ["db1xexample.com", "db1.example.com.evil.org", "xdb1.example.com", "db1.example.com:x"] {
            assert!(!patterns.iter().any(|pattern| pattern.is_match(instance)), "{instance}");
        }
    }
}
