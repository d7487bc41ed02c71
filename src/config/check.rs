//! Checks that several sections share.

use std::path::Path;
use std::time::Duration;

use super::file::{Wrong, wrong};
use super::locate::PathPart;

pub(super) fn at_least_a_second(given: Option<Duration>, unset: Duration, at: &[PathPart]) -> Result<Duration, Wrong> {
    match given {
        Some(short) if short < Duration::from_secs(1) => wrong(at, "is too short, expected at least 1s"),
        given => Ok(given.unwrap_or(unset)),
    }
}

pub(super) fn check_absolute(path: &Path, at: &[PathPart]) -> Result<(), Wrong> {
    if path.is_absolute() { Ok(()) } else { wrong(at, format!("{path:?} is not absolute, expected a path from /")) }
}
