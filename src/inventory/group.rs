//! Volume groups by their names.

use super::{Inventory, Vg, only};
use crate::name::VgName;

impl Inventory {
    /// The volume group of that name. Two groups can share a name after a disk was moved between hosts; then neither is
    /// returned, because LVM itself would pick one of them by chance.
    pub fn vg(&self, name: &VgName) -> Option<&Vg> {
        only(self.vgs.iter().filter(|vg| &vg.name == name))
    }

    /// Whether there is a group of that name, or several.
    pub fn has_group(&self, name: &VgName) -> bool {
        self.vgs.iter().any(|vg| &vg.name == name)
    }
}
