//! What is left of a plan for a person: the exact commands, in order, to be pasted into a root shell.
//!
//! Nothing here is ever run by this tool. Nothing is named that a look does not justify: for a volume that is gone, or is
//! another one by now, or where something else is mounted in its place, there is no command, because it would hit the wrong thing.

use super::step::{FsKind, Step, shell_word};
use super::{Plan, PlannedFs};
use crate::inventory::{Inventory, Mount};
use crate::units::Bytes;

impl Plan {
    /// The commands that are still to be run, seen from this look at the host; none: it could not be looked at, so all that
    /// may be left are named (each does nothing where its goal is reached).
    pub fn left_for_a_person(&self, inventory: Option<&Inventory>) -> Vec<String> {
        let mut commands = match inventory {
            None => vec![],
            Some(inventory) if !self.is_its_volume(inventory) || self.is_displaced(inventory) => return vec![],
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
        let command = |step: &Step| inventory.map_or_else(|| step.command(), |inventory| step.command_for(inventory));
        commands.extend(left.filter_map(command).map(|command| command.to_string()));
        commands
    }

    /// Where nothing is to be run now: what comes when the volume has its place again.
    pub fn after_it_is_back(&self, inventory: &Inventory) -> Option<String> {
        if !self.is_its_volume(inventory) || !self.is_displaced(inventory) {
            return None;
        }
        if self.is_overwritten(inventory) {
            return Some("nothing of this is left to do".to_owned());
        }
        let grow = self.steps.iter().find(|step| matches!(step, Step::GrowFilesystem { .. }))?.command()?;
        Some(format!("when {} is mounted there again, run: {grow}", self.lv))
    }

    /// Another file system was made on the volume: the one planned for is no more.
    pub fn is_overwritten(&self, inventory: &Inventory) -> bool {
        let Some(fs) = self.fs.as_ref().filter(|_| self.is_its_volume(inventory)) else { return false };
        let device = inventory.lv(&self.lv).and_then(|lv| lv.device);
        let mount = inventory.mount_at(&fs.mount_point).filter(|mount| Some(mount.device) == device);
        mount.is_some_and(|mount| mount.fs_type != fs.kind.as_str())
    }

    /// Every step but the backup has reached its goal.
    pub fn is_reached(&self, inventory: &Inventory) -> bool {
        let goals = self.steps.iter().filter(|step| !matches!(step, Step::BackupMetadata { .. }));
        goals.into_iter().all(|step| step.is_verified(inventory))
    }

    /// Something else is at the file system's place, or has the name by which the command would look for it.
    fn is_displaced(&self, inventory: &Inventory) -> bool {
        let Some(fs) = &self.fs else { return false };
        let device = inventory.lv(&self.lv).and_then(|lv| lv.device);
        let another = |mount: &Mount| Some(mount.device) != device || mount.fs_type != fs.kind.as_str();
        let stray = inventory.filesystem_of(&self.lv, &fs.mount_point).is_some_and(|fs| fs.stray_name.is_some());
        stray || inventory.mount_at(&fs.mount_point).is_some_and(another)
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
        if let Some(resume) = self.resumption(inventory) {
            return vec![resume];
        }
        let (device, point) = (shell_word(&self.lv.dm_path().to_string_lossy()), shell_word(mount_point.as_str()));
        let mount = format!("mount {device} {point}");
        let device_number = inventory.lv(&self.lv).and_then(|lv| lv.device);
        let fs = inventory.filesystem_at(mount_point).filter(|fs| Some(fs.mount.device) == device_number);
        let Some(fs) = fs else { return self.activation(inventory).into_iter().chain([mount]).collect() };
        let sick = *kind == FsKind::Ext4 && fs.errors.is_some_and(|errors| errors > 0);
        if sick && mount_point.as_str() != "/" {
            return vec![format!("umount {point}"), format!("e2fsck -f -p {device}"), mount];
        }
        if fs.mount.read_only { vec![format!("mount -o remount,rw {point}")] } else { vec![] }
    }

    /// LVM resumes it with the table that its metadata on disk say; `dmsetup resume` could put one in force that was never committed.
    fn resumption(&self, inventory: &Inventory) -> Option<String> {
        let suspended = inventory.lv(&self.lv).is_some_and(|lv| lv.suspended == Some(true));
        suspended.then(|| format!("lvm lvchange --refresh {}", shell_word(&self.lv.to_string())))
    }

    /// Without its device nothing can be mounted.
    fn activation(&self, inventory: &Inventory) -> Vec<String> {
        let (vg, lv) = (shell_word(self.lv.vg.as_str()), shell_word(&self.lv.to_string()));
        let exported = inventory.vg(&self.lv.vg).is_some_and(|vg| vg.exported == Some(true));
        let inactive = inventory.lv(&self.lv).is_some_and(|lv| lv.active == Some(false));
        let import = exported.then(|| format!("lvm vgimport {vg}"));
        import.into_iter().chain(inactive.then(|| format!("lvm lvchange -ay {lv}"))).collect()
    }

    fn is_its_volume(&self, inventory: &Inventory) -> bool {
        inventory.lv(&self.lv).is_some_and(|lv| lv.uuid == self.lv_uuid)
    }
}
