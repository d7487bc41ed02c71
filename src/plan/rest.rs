//! What is left of a plan for a person: the exact commands, in order, to be pasted into a root shell.
//!
//! Nothing here is ever run by this tool. Nothing is named that a look does not justify: for a volume that is gone, or is
//! another one by now, there is no command, because it would hit the wrong thing.

use super::step::{FsKind, Step, shell_word};
use super::{Plan, PlannedFs};
use crate::inventory::Inventory;
use crate::units::Bytes;

impl Plan {
    /// The commands that are still to be run, seen from this look at the host; none: it could not be looked at, so all that
    /// may be left are named (each does nothing where its goal is reached).
    pub fn left_for_a_person(&self, inventory: Option<&Inventory>) -> Vec<String> {
        let mut commands = match inventory {
            None => vec![],
            Some(inventory) if !self.is_its_volume(inventory) => return vec![],
            Some(inventory) if self.fs.as_ref().is_some_and(|fs| fs.offline) => {
                let unchecked = self.unchecked(inventory);
                // Nothing was extended: once it is sound the next request goes on by itself.
                if self.growth() > Bytes::ZERO && self.has_not_begun(inventory) {
                    return unchecked.into_iter().collect();
                }
                unchecked.into_iter().collect()
            }
            Some(inventory) => self.first_aid(inventory),
        };
        let is_left = |step: &&Step| !matches!(step, Step::BackupMetadata { .. } | Step::CheckUnmounted { .. });
        let left = self.steps.iter().filter(is_left);
        let left = left.filter(|step| inventory.is_none_or(|inventory| !step.is_verified(inventory)));
        commands.extend(left.filter_map(Step::command).map(|command| command.to_string()));
        commands
    }

    /// What `e2fsck -p` could not mend it leaves to a person: without -p it asks. While it is mounted there is nothing to do.
    fn unchecked(&self, inventory: &Inventory) -> Option<String> {
        let check = self.steps.iter().find(|step| matches!(step, Step::CheckUnmounted { .. }))?;
        let mounted = inventory.unmounted.is_none();
        let device = shell_word(&self.lv.dm_path().to_string_lossy());
        (!mounted && !check.is_verified(inventory)).then(|| format!("e2fsck -f {device}"))
    }

    /// What must be done before the file system can grow at all.
    fn first_aid(&self, inventory: &Inventory) -> Vec<String> {
        let Some(PlannedFs { mount_point, kind, .. }) = &self.fs else { return vec![] };
        let (device, point) = (shell_word(&self.lv.dm_path().to_string_lossy()), shell_word(mount_point.as_str()));
        let mount = format!("mount {device} {point}");
        let device_number = inventory.lv(&self.lv).and_then(|lv| lv.device);
        let fs = inventory.filesystem_at(mount_point).filter(|fs| Some(fs.mount.device) == device_number);
        let Some(fs) = fs else { return vec![mount] };
        let sick = *kind == FsKind::Ext4 && fs.errors.is_some_and(|errors| errors > 0);
        if sick && mount_point.as_str() != "/" {
            return vec![format!("umount {point}"), format!("e2fsck -f -p {device}"), mount];
        }
        if fs.mount.read_only { vec![format!("mount -o remount,rw {point}")] } else { vec![] }
    }

    fn is_its_volume(&self, inventory: &Inventory) -> bool {
        inventory.lv(&self.lv).is_some_and(|lv| lv.uuid == self.lv_uuid)
    }
}
