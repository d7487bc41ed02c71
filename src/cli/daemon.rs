//! What the commands that speak to a running daemon have in common.

use std::io::Write as _;

use anyhow::anyhow;

use crate::app::UsageError;
use crate::config::Config;
use crate::control::client::{self, ClientError};

/// Says so if a running daemon has another config in force than the one a plan was made with. One that cannot be asked,
/// by this user or because it is of another version, is left alone: a plan needs none.
pub(super) fn compare_config(config: &Config) -> std::io::Result<()> {
    let mut in_force = None;
    let asked = client::call(&config.control_socket(), "/-/config", String::new(), &mut |line| {
        in_force = Some(line.to_owned());
    });
    match (asked, in_force) {
        (Ok(Some(())), Some(fingerprint)) if fingerprint != config.fingerprint() => writeln!(
            std::io::stderr(),
            "lvm-autoscaler: the running daemon has another config in force; it does as is said here after `lvm-autoscaler \
             reload`, or a restart if it has another --config.file"
        ),
        _ => Ok(()),
    }
}

/// Says something to the daemon that runs with this state directory; false if none runs.
pub(super) fn tell(config: &Config, path: &str, body: String, line: &mut dyn FnMut(&str)) -> anyhow::Result<bool> {
    match client::call(&config.control_socket(), path, body, line) {
        Ok(answered) => Ok(answered.is_some()),
        // A wrong name or a wrong config is the caller's to mend.
        Err(ClientError::Refused { status, sentence }) if status.is_client_error() => Err(UsageError(sentence).into()),
        Err(error @ ClientError::Refused { .. }) => Err(anyhow!("the daemon says: {error}")),
        Err(error) => Err(error.into()),
    }
}
