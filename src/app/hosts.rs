//! The machine: this one, or a simulated one.

use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;

use crate::command::Tool;
use crate::config::Config;
use crate::host::Host;
use crate::host::linux::Linux;
use crate::host::sim::{self, Sim};

/// The machine to work on: this one, or a simulated one.
pub fn open_host(config: &Config, simulate: Option<&Path>) -> anyhow::Result<Arc<dyn Host>> {
    Ok(match simulate {
        Some(file) => Arc::new(Sim::running(sim::load(file)?, wall_clock())),
        None => Arc::new(Linux::new(&config.tools, config.inventory_timeout, &config.state_directory)),
    })
}

/// The same for a command that only looks: beside a daemon that simulates a host, that one.
pub fn open_host_of_daemon(config: &Config, simulate: Option<&Path>) -> anyhow::Result<Arc<dyn Host>> {
    if simulate.is_some() {
        let mut answer = String::new();
        let asked =
            crate::control::client::call(&config.control_socket(), "/-/simulation", String::new(), &mut |line| {
                answer.push_str(line);
            });
        if let (Ok(Some(())), Ok(sim)) = (asked, Sim::of_daemon(&answer)) {
            return Ok(Arc::new(sim));
        }
    }
    open_host(config, simulate)
}

/// What a missing program means, and what to do about it.
pub fn missing(tool: Tool) -> String {
    let (name, without) = (tool.as_str(), tool.disables());
    format!("{name} is not installed, {without}: install it, or set tools.{name} if it is elsewhere")
}

/// What people call this host.
pub(crate) fn host_name() -> String {
    let name = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    name.unwrap_or_else(|| "this host".to_owned())
}

/// The time, where there is no host to ask.
#[expect(clippy::disallowed_methods, reason = "a simulated host needs a time to begin at")]
pub(crate) fn wall_clock() -> Timestamp {
    Timestamp::now()
}

/// The name of the host for whoever is told of something by name.
pub(super) fn told_as(names: &[String], is_simulated: bool) -> String {
    let name = names.first().map_or("this host", String::as_str);
    if is_simulated { format!("{name} (simulated)") } else { name.to_owned() }
}
