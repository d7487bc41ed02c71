//! The relay's list of hosts: each is found by its name, and what is called is a host of the list and nothing else of
//! it.

use hyper::http::uri::{Scheme, Uri};
use lvm_autoscaler::alert::instance::HostName;
use lvm_autoscaler::relay::hosts::{Defaults, Hosts};

pub fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let hosts = match Hosts::parse(&text, &Defaults { scheme: Scheme::HTTP, port: None }) {
        Ok(hosts) => hosts,
        Err(error) => return super::assert_plain(&error),
    };
    for host in hosts.iter() {
        if HostName::of(&host.name).is_some() {
            assert_eq!(hosts.find(&host.name), Some(host), "{:?} is not found", host.name);
        }
        let url: Uri = host.url().parse().expect("an address");
        assert_eq!((url.path(), url.query()), ("/webhook/alertmanager", None), "{url}");
        assert_eq!((url.scheme(), url.authority()), (Some(&host.scheme), Some(&host.authority)));
        assert!(!host.authority.as_str().contains('@'), "{url} has a user");
        assert!(url.port_u16().is_some_and(|port| port > 0), "{url} has no port");
    }
    for stranger in ["", "stranger.invalid", "stranger.invalid:9100", "stranger.invalid/@"] {
        assert!(hosts.find(stranger).is_none() || text.to_lowercase().contains("stranger"));
    }
}
