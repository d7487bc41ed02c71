//! How the daemons of a fleet are reached: what `relay` and `alertmanager-config` have in common.

use clap::{Args, ValueEnum};
use hyper::http::uri;

use crate::relay::hosts::Defaults;

#[derive(Debug, Args)]
pub(super) struct Reach {
    /// Scheme of the daemons' URLs, unless the label __scheme__ in the list sets one.
    #[arg(long, value_name = "SCHEME", default_value = "http")]
    scheme: Scheme,
    /// The daemons' port, in place of the ports in the list, which may be those of another exporter.
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Scheme {
    Http,
    Https,
}

impl Reach {
    #[cfg(test)]
    pub(super) fn usual() -> Reach {
        Reach { scheme: Scheme::Http, port: None }
    }

    pub(super) fn defaults(&self) -> Defaults {
        let scheme = match self.scheme {
            Scheme::Http => uri::Scheme::HTTP,
            Scheme::Https => uri::Scheme::HTTPS,
        };
        Defaults { scheme, port: self.port }
    }
}
