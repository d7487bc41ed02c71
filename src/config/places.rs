//! Where a valid config says what it says, for those who find it wrong later, such as on a certain host.

use std::path::{Path, PathBuf};

use super::locate::PathPart;
use super::tree::{Problem, Tree};

/// The places of a config.
#[derive(Debug)]
pub struct Places(pub(super) Tree);

impl Places {
    /// The files that the config was read from, in this order.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.0.files()
    }

    /// File and line of each entry of `monitor.targets`.
    pub(super) fn of_targets(&self) -> Vec<Option<(PathBuf, usize)>> {
        self.0.lines_of(&[PathPart::Key("monitor"), PathPart::Key("targets")])
    }

    /// File and line of each policy.
    pub(super) fn of_policies(&self) -> Vec<Option<(PathBuf, usize)>> {
        self.0.lines_of(&[PathPart::Key("policies")])
    }

    /// Something wrong with a key of `monitor.targets`; where it has no such key, with the target as a whole.
    pub fn target(&self, index: usize, key: &'static str, message: String) -> Problem {
        self.problem(&["monitor", "targets"], index, key, message)
    }

    /// The same for `policies`.
    pub fn policy(&self, index: usize, key: &'static str, message: String) -> Problem {
        self.problem(&["policies"], index, key, message)
    }

    /// The same for `volume_groups`.
    pub fn group(&self, index: usize, key: &'static str, message: String) -> Problem {
        self.problem(&["volume_groups"], index, key, message)
    }

    fn problem(&self, list: &[&'static str], index: usize, key: &'static str, message: String) -> Problem {
        let list = list.iter().map(|key| PathPart::Key(key));
        let path: Vec<PathPart> = list.chain([PathPart::Item(index), PathPart::Key(key)]).collect();
        let at = self.0.fault(&path, &[], None, message.clone());
        let whole = Problem { file: Default::default(), place: None, message };
        self.0.report(&at, &[]).unwrap_or(whole)
    }
}
