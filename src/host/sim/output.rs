//! How a simulated command ends.

use crate::host::Output;

pub(super) fn fails(code: i32, message: impl Into<String>) -> Output {
    Output { code: Some(code), stdout: vec![], stderr: message.into() }
}

pub(super) fn succeeds(text: impl Into<String>) -> Output {
    Output { code: Some(0), stdout: text.into().into_bytes(), stderr: String::new() }
}
