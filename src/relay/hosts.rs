//! The hosts of a fleet: a list in the format of Prometheus' `file_sd`, JSON or YAML, or plainly one host per line.
//!
//! This list is also all that may be called. What a label says is compared with it and never becomes an address.

use std::collections::BTreeMap;
use std::net::Ipv6Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hyper::http::uri::{Authority, Scheme};
use serde::Deserialize;

use crate::alert::instance::HostName;
use crate::files::FileMark;

/// A list of ten thousand hosts is about a megabyte.
const MAX_FILE: u64 = 8 << 20;

/// How daemons are reached where the list does not say so.
#[derive(Debug, Clone)]
pub struct Defaults {
    /// `http` or `https`; a label `__scheme__` says otherwise.
    pub scheme: Scheme,
    /// The port; `None`: that of the list, or the usual one.
    pub port: Option<u16>,
}

/// The port of a daemon that was not told another.
const USUAL_PORT: u16 = 19845;

/// One host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelayedHost {
    /// As the list calls it.
    pub name: String,
    /// What a label `instance` may say that means it.
    names: Vec<HostName>,
    /// Where its daemon is.
    pub scheme: Scheme,
    /// Host and port.
    pub authority: Authority,
}

/// All hosts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hosts {
    hosts: Vec<Arc<RelayedHost>>,
    by_name: BTreeMap<HostName, usize>,
}

/// What is wrong with a list.
#[derive(Debug, thiserror::Error)]
pub enum HostsError {
    /// The file cannot be read.
    #[error("{}: cannot be read", file.display())]
    Read {
        /// Which.
        file: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// What it says is wrong.
    #[error("{}: {message}", file.display())]
    Invalid {
        /// Which.
        file: PathBuf,
        /// In words.
        message: String,
    },
}

#[derive(Debug, Deserialize)]
struct Group {
    targets: Vec<String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

impl RelayedHost {
    /// Where its webhook is.
    pub fn url(&self) -> String {
        format!("{}://{}/webhook/alertmanager", self.scheme, self.authority)
    }

    /// What a label `instance` may say that means it.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(HostName::as_str)
    }
}

impl Hosts {
    /// Reads a file.
    pub fn load(file: &Path, defaults: &Defaults) -> Result<Hosts, HostsError> {
        let read = |source| HostsError::Read { file: file.to_owned(), source };
        let invalid = |message| HostsError::Invalid { file: file.to_owned(), message };
        let size = std::fs::metadata(file).map_err(read)?.len();
        if size > MAX_FILE {
            return Err(invalid(format!("is {size} bytes, expected at most {MAX_FILE}")));
        }
        Hosts::parse(&std::fs::read_to_string(file).map_err(read)?, defaults).map_err(invalid)
    }

    /// Reads a text.
    pub fn parse(text: &str, defaults: &Defaults) -> Result<Hosts, String> {
        let is_said = |line: &&str| !line.is_empty() && !line.starts_with('#') && *line != "---";
        let groups: Vec<Group> = match text.lines().map(str::trim).find(is_said) {
            None => vec![],
            Some(first) if is_structured(first) => {
                serde_yaml::from_str(text).map_err(|error| crate::plain(&error.to_string()))?
            }
            Some(_) => {
                let targets = text.lines().map(str::trim).filter(is_said).map(str::to_owned).collect();
                vec![Group { targets, labels: BTreeMap::new() }]
            }
        };
        let mut found = Hosts::default();
        for Group { targets, labels } in groups {
            let instance = labels.get("instance");
            if let (Some(instance), true) = (instance, targets.len() > 1) {
                return Err(format!(
                    "the label instance {instance:?} stands for {} targets, expected one",
                    targets.len()
                ));
            }
            for target in targets {
                found.add(&target, instance, labels.get("__scheme__"), defaults)?;
            }
        }
        Ok(found)
    }

    fn add(
        &mut self,
        target: &str,
        instance: Option<&String>,
        scheme: Option<&String>,
        defaults: &Defaults,
    ) -> Result<(), String> {
        let scheme = match scheme.map(String::as_str) {
            None => defaults.scheme.clone(),
            Some("http") => Scheme::HTTP,
            Some("https") => Scheme::HTTPS,
            Some(other) => return Err(format!("__scheme__ {other:?} is neither http nor https")),
        };
        let authority = authority(target, defaults.port)?;
        // A label without a name in it names nobody, and least of all two hosts.
        let instance = instance.filter(|instance| HostName::of(instance).is_some());
        let mut names: Vec<HostName> =
            std::iter::once(target).chain(instance.map(String::as_str)).filter_map(HostName::of).collect();
        names.dedup();
        let mut place = None;
        for name in &names {
            let Some(known) = self.by_name.get(name) else { continue };
            let other = &self.hosts[*known];
            // Prometheus' own list may name a host twice, for two exporters.
            if (&other.scheme, &other.authority) != (&scheme, &authority) {
                return Err(format!(
                    "{} is named twice, with {} and {authority}: give each host one address, or one port to all",
                    crate::plain(name.as_str()),
                    other.authority
                ));
            }
            place = Some(*known);
        }
        let place = place.unwrap_or_else(|| {
            let name = instance.cloned().unwrap_or_else(|| target.to_owned());
            self.hosts.push(Arc::new(RelayedHost { name, names: vec![], scheme, authority }));
            self.hosts.len() - 1
        });
        // Also what only the second time says of it.
        names.retain(|name| !self.by_name.contains_key(name));
        self.by_name.extend(names.iter().map(|name| (name.clone(), place)));
        Arc::make_mut(&mut self.hosts[place]).names.extend(names);
        Ok(())
    }

    /// The host that a label `instance` means.
    pub fn find(&self, instance: &str) -> Option<&Arc<RelayedHost>> {
        self.hosts.get(*self.by_name.get(&HostName::of(instance)?)?)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<RelayedHost>> {
        self.hosts.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.hosts.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.hosts.is_empty()
    }
}

/// Whether a first line begins JSON or YAML. An IPv6 address has brackets too.
fn is_structured(first: &str) -> bool {
    let list = first.strip_prefix('[').map(str::trim_start);
    first.starts_with('-') || list.is_some_and(|rest| rest.is_empty() || rest.starts_with(['{', ']', '#']))
}

/// Host and port to connect to.
fn authority(target: &str, port: Option<u16>) -> Result<Authority, String> {
    let wrong = || format!("{target:?} is not a target, expected HOST:PORT such as db1.example.com:{USUAL_PORT}");
    // An IPv6 address without brackets has no port.
    let bracketed = if target.matches(':').count() > 1 && !target.starts_with('[') {
        format!("[{target}]")
    } else {
        target.to_owned()
    };
    let given: Authority = bracketed.parse().map_err(|_| wrong())?;
    if given.as_str().contains('@') || given.host().is_empty() || HostName::of(target).is_none() {
        return Err(wrong());
    }
    // The library takes anything with colons in brackets.
    if let Some(address) = given.host().strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        let without_zone = address.split_once('%').map_or(address, |(address, _)| address);
        without_zone.parse::<Ipv6Addr>().map_err(|_| wrong())?;
    }
    // What is no port is no part of the library's either: it must not be taken for a host without one.
    let said = given.as_str().strip_prefix(given.host()).ok_or_else(wrong)?;
    if !said.is_empty() && given.port_u16().is_none_or(|port| port == 0) {
        return Err(wrong());
    }
    let port = port.or(given.port_u16()).unwrap_or(USUAL_PORT);
    format!("{}:{port}", given.host()).parse().map_err(|_| wrong())
}

/// A list that is read again when its file changed. One that cannot be read leaves the last good one in force.
pub(super) struct Watched {
    file: PathBuf,
    defaults: Defaults,
    mark: Option<FileMark>,
    hosts: Arc<Hosts>,
    /// Whether the last attempt succeeded.
    pub(super) good: bool,
}

impl Watched {
    pub(super) fn open(file: &Path, defaults: Defaults) -> Result<Watched, HostsError> {
        let mark = FileMark::of(file);
        let hosts = Arc::new(Hosts::load(file, &defaults)?);
        Ok(Watched { file: file.to_owned(), defaults, mark, hosts, good: true })
    }

    pub(super) fn hosts(&mut self) -> Arc<Hosts> {
        let mark = FileMark::of(&self.file);
        if mark != self.mark || (mark.is_none() && self.good) {
            self.mark = mark;
            match Hosts::load(&self.file, &self.defaults) {
                Ok(hosts) => {
                    tracing::info!(hosts = hosts.len(), "the list of hosts was read again");
                    (self.hosts, self.good) = (Arc::new(hosts), true);
                }
                Err(error) => {
                    tracing::error!("the last good list of hosts stays in force: {}", crate::chain(&error));
                    self.good = false;
                }
            }
        }
        Arc::clone(&self.hosts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn defaults() -> Defaults {
        Defaults { scheme: Scheme::HTTP, port: None }
    }

    fn urls(text: &str) -> Result<Vec<String>, String> {
        Hosts::parse(text, &defaults()).map(|hosts| hosts.iter().map(|host| host.url()).collect())
    }

    #[test]
    fn json_yaml_and_plain_lines() {
        let expected =
            ["http://db1.example.com:19845/webhook/alertmanager", "http://[2001:db8::7]:1/webhook/alertmanager"];
        for text in [
            r#"[{"targets": ["db1.example.com:19845", "[2001:db8::7]:1"], "labels": {"job": "lvm"}}]"#,
            "- targets: [db1.example.com]\n- targets: ['[2001:db8::7]:1']\n  labels: { instance: db2 }\n",
            "# all hosts\n\ndb1.example.com\n[2001:db8::7]:1\n",
            "---\n[ # all hosts\n{targets: [db1.example.com]}, {targets: [\"[2001:db8::7]:1\"]}]",
        ] {
            assert_eq!(urls(text).as_deref(), Ok(&expected.map(str::to_owned)[..]), "{text}");
        }
        assert_eq!(urls("").as_deref(), Ok(&[][..]));
        assert_eq!(urls("[2001:db8::7]:1\ndb1.example.com").map(|urls| urls.len()), Ok(2));
        assert_eq!(urls("[]").as_deref(), Ok(&[][..]));
    }

    #[test]
    fn who_is_meant() {
        let text = "- targets: [db1.example.com:9100, db2.example.com:9100]\n\
            - { targets: ['192.0.2.7:9100'], labels: { instance: db3, __scheme__: https } }\n";
        let hosts = Hosts::parse(text, &Defaults { port: Some(7), ..defaults() }).expect("a list");
        let url = |instance: &str| hosts.find(instance).map(|host| host.url());
        assert_eq!(url("DB1.example.com.:19845").as_deref(), Some("http://db1.example.com:7/webhook/alertmanager"));
        for instance in ["db3", "db3:9100", "192.0.2.7:1", "[::ffff:192.0.2.7]"] {
            assert_eq!(url(instance).as_deref(), Some("https://192.0.2.7:7/webhook/alertmanager"), "{instance}");
        }
        for instance in
            ["", ":9100", "db1", "db4", "evil.example.com", "db1.example.com@evil.example.com", "192.0.2.70"]
        {
            assert_eq!(url(instance), None, "{instance}");
        }
    }

    /// As in a list for two exporters, of which only the second says what its `instance` is.
    #[test]
    fn what_is_said_later_of_a_host_counts_too() {
        let text = "- targets: ['192.0.2.7:9100']\n\
            - { targets: ['192.0.2.7:9187'], labels: { instance: db1 } }\n\
            - { targets: ['192.0.2.7:9200'], labels: { instance: db1.example.com } }\n";
        let hosts = Hosts::parse(text, &Defaults { port: Some(7), ..defaults() }).expect("a list");
        assert_eq!(hosts.len(), 1);
        for instance in ["192.0.2.7", "db1:9187", "db1.example.com"] {
            let url = hosts.find(instance).map(|host| host.url());
            assert_eq!(url.as_deref(), Some("http://192.0.2.7:7/webhook/alertmanager"), "{instance}");
        }
        let names = hosts.iter().flat_map(|host| host.names().map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(names.collect::<Vec<_>>(), ["192.0.2.7", "db1", "db1.example.com"]);
    }

    /// A label that is empty is a label that is not there, for Prometheus too.
    #[test]
    fn an_instance_that_names_nobody_is_no_name() {
        for nobody in ["", ":9100", "."] {
            let group = |target| format!("- {{ targets: ['{target}'], labels: {{ instance: \"{nobody}\" }} }}\n");
            let hosts = Hosts::parse(&(group("db1:1") + &group("db2:1")), &defaults()).expect("a list");
            assert_eq!(hosts.iter().map(|host| host.name.as_str()).collect::<Vec<_>>(), ["db1:1", "db2:1"], "{nobody}");
        }
    }

    #[test]
    fn what_is_no_list_or_no_host_is_refused() {
        for (text, says) in [
            ("- targets: [db1:1]\n- targets: [db1:2]", "db1 is named twice, with db1:1 and db1:2"),
            // The second name of a host is another host's.
            (
                "- targets: ['db1:1']\n- { targets: ['db2:1'], labels: { instance: x } }\n\
                 - { targets: ['db1:1'], labels: { instance: x } }",
                "x is named twice, with db2:1 and db1:1",
            ),
            ("- { targets: [a, b], labels: { instance: x } }", "stands for 2 targets"),
            ("- { targets: [a], labels: { __scheme__: ftp } }", "neither http nor https"),
            ("- db1", "invalid type"),
            ("http://db1:1", "is not a target"),
            ("user@db1:1", "is not a target"),
            ("db1:1/path", "is not a target"),
            ("db1:x", "is not a target"),
            ("db1:0", "is not a target"),
            ("db1:99999", "is not a target"),
            ("db1:", "is not a target"),
            ("- targets: [\"[:1]:9100\"]", "is not a target"),
            ("db1:9100:", "is not a target"),
            (":19845", "is not a target"),
            ("a b", "is not a target"),
        ] {
            let error = urls(text).expect_err(text);
            assert!(error.contains(says), "{text}: {error}");
        }
        // The same twice is said twice, no more.
        assert_eq!(urls("db1:1\ndb1:1").map(|urls| urls.len()), Ok(1));
    }
}
