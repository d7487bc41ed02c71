//! Policies: targets by pattern instead of by name, so that one config serves hosts with other volumes.

use std::fmt;
use std::path::PathBuf;

use super::glob::Glob;
use super::group::GroupName;
use super::{Target, What};
use crate::name::{LvRef, MountPoint};

/// A policy: what it selects, and what holds for all of that. The first that selects a volume decides about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// Its name.
    pub name: String,
    /// What it selects.
    pub selects: Selector,
    /// The keys. What names a volume in there is of none; see [`Policy::target`].
    pub(super) keys: Target,
}

/// What a policy selects: all that is given must match.
#[derive(Debug, Clone, PartialEq)]
pub struct Selector {
    /// In which groups.
    pub vg: GroupName,
    /// Which volumes of these.
    pub what: Selected,
    /// Only those with this tag.
    pub tag: Option<String>,
}

/// Which volumes.
#[derive(Debug, Clone, PartialEq)]
pub enum Selected {
    /// Volumes with a mounted file system.
    FileSystems {
        /// By their names.
        lv: Option<Glob>,
        /// By the places where they are mounted.
        mount_point: Option<Glob>,
        /// By the names of their file systems, as mount(8) has them; empty: any that can grow.
        fs: Vec<String>,
    },
    /// Thin pools, by their names.
    ThinPools(Glob),
}

/// Why something is a target.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Origin {
    /// The policy that selects it; `None`: an entry of `monitor.targets`.
    pub policy: Option<String>,
    /// Where that stands: file and line, if it was read from a file.
    pub place: Option<(PathBuf, usize)>,
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "vg {}", self.vg)?;
        match &self.what {
            Selected::ThinPools(pool) => write!(f, ", thin_pool {pool}")?,
            Selected::FileSystems { lv, mount_point, fs } => {
                lv.iter().try_for_each(|lv| write!(f, ", lv {lv}"))?;
                mount_point.iter().try_for_each(|point| write!(f, ", mount_point {point}"))?;
                if !fs.is_empty() {
                    write!(f, ", fs {}", fs.join(" or "))?;
                }
            }
        }
        self.tag.iter().try_for_each(|tag| write!(f, ", tag {tag}"))
    }
}

impl Origin {
    /// For people: `config.yaml:12` or `the policy databases, config.yaml:12`; `None` where there is nothing to say.
    pub fn shown(&self) -> Option<String> {
        let place = self.place.as_ref().map(|(file, line)| format!("{}:{line}", file.display()));
        let policy = self.policy.as_ref().map(|policy| format!("the policy {policy}"));
        let parts: Vec<String> = policy.into_iter().chain(place).collect();
        (!parts.is_empty()).then(|| parts.join(", "))
    }
}

impl Policy {
    /// The target that a volume is by it; a pool has no mount point.
    pub fn target(&self, lv: &LvRef, mount_point: Option<&MountPoint>) -> Target {
        let mut target = Target { lv: lv.clone(), ..self.keys.clone() };
        if let (What::FileSystem(fs), Some(point)) = (&mut target.what, mount_point) {
            fs.mount_point = point.clone();
        }
        target
    }

    /// What holds for all that it selects.
    pub fn keys(&self) -> &Target {
        &self.keys
    }
}
