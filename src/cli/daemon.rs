//! What the commands that speak to a running daemon have in common.

use anyhow::anyhow;

use crate::app::UsageError;
use crate::config::Config;
use crate::http::client::{self, ClientError};

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
