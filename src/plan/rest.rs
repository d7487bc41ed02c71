//! What is left of a plan for a person: the exact commands, in order, to be pasted into a root shell.
//!
//! Nothing here is ever run by this tool. Nothing is named that a look does not justify: for a volume that is gone, or
//! is another one by now, or where something else is mounted in its place, there is no command, because it would hit
//! the wrong thing.

use std::path::PathBuf;

use super::decided::{Plan, PlannedFs};
use super::step::Step;
use crate::command::shell_word;
use crate::filesystem::{FsKind, Place, Unfit};
use crate::inventory::mapping::path_of;
use crate::inventory::{DeviceNumber, Inventory, Mount};
use crate::units::Bytes;

/// What helps a file system that cannot grow as it is.
enum Aid {
    /// Run these, then what is left of the plan.
    First(Vec<String>),
    /// Run only these.
    Instead(Vec<String>),
}

impl Plan {
    /// The commands that are still to be run, seen from this look at the host; none: it could not be looked at, so all
    /// that may be left are named (each does nothing where its goal is reached).
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
            Some(inventory) => match self.first_aid(inventory) {
                Aid::First(commands) => commands,
                Aid::Instead(commands) => return commands,
            },
        };
        let is_left = |step: &&Step| !matches!(step, Step::BackupMetadata { .. } | Step::CheckUnmounted { .. });
        let left = self.steps.iter().filter(is_left);
        let left = left.filter(|step| inventory.is_none_or(|inventory| !step.is_verified(inventory)));
        let command = |step: &Step| inventory.map_or_else(|| step.command(), |inventory| step.command_for(inventory));
        commands.extend(left.filter_map(command).map(|command| command.to_string()));
        commands
    }

    /// Whether these are commands of its steps alone, and none comes first because it mends what is in the way.
    pub fn are_its_own(&self, commands: &[String]) -> bool {
        let own: Vec<String> = self.steps.iter().filter_map(Step::command).map(|command| command.to_string()).collect();
        commands.iter().all(|command| own.contains(command))
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
        let device = self.device(inventory);
        let mount = inventory.mount_at(&fs.mount_point).filter(|mount| Some(mount.device) == device);
        mount.is_some_and(|mount| FsKind::from_name(&mount.fs_type) != Some(fs.kind))
    }

    /// Every step but the backup has reached its goal.
    pub fn is_reached(&self, inventory: &Inventory) -> bool {
        let goals = self.steps.iter().filter(|step| !matches!(step, Step::BackupMetadata { .. }));
        goals.into_iter().all(|step| step.is_verified(inventory))
    }

    /// Something else is at the file system's place, or has the name by which the command would look for it.
    fn is_displaced(&self, inventory: &Inventory) -> bool {
        let Some(fs) = &self.fs else { return false };
        let device = self.device(inventory);
        let another =
            |mount: &Mount| Some(mount.device) != device || FsKind::from_name(&mount.fs_type) != Some(fs.kind);
        let stray = inventory.filesystem_of(&self.lv, &fs.mount_point).is_some_and(|fs| fs.stray_name.is_some());
        stray || inventory.mount_at(&fs.mount_point).is_some_and(another)
    }

    /// What the check could not mend by itself it leaves to a person. While it is mounted there is nothing to do.
    fn unchecked(&self, inventory: &Inventory) -> Option<String> {
        let is_check = |step: &&Step| matches!(step, Step::CheckUnmounted { .. });
        self.steps.iter().find(is_check).filter(|check| !check.is_verified(inventory))?;
        let kind = inventory.unmounted.as_ref().and(self.fs.as_ref())?.kind;
        let by_hand = kind.about().check.as_ref()?.by_hand;
        Some(by_hand(&self.lv.dm_path().to_string_lossy()).to_string())
    }

    /// What must be done before the file system can grow at all, or instead of that.
    fn first_aid(&self, inventory: &Inventory) -> Aid {
        let Some(PlannedFs { mount_point, kind, device_id, .. }) = &self.fs else { return Aid::First(vec![]) };
        if let Some(aid) = self.new_table(inventory) {
            return aid;
        }
        let path = self.path();
        let path = path.to_string_lossy();
        let (device, point) = (shell_word(&path), shell_word(mount_point.as_str()));
        let (umount, mount) = (format!("umount {point}"), format!("mount {device} {point}"));
        let check = kind.about().check.as_ref().map(|check| (check.command)(&path).to_string());
        let device_number = self.device(inventory);
        let fs = inventory.filesystem_at(mount_point).filter(|fs| Some(fs.mount.device) == device_number);
        let Some(fs) = fs else {
            let opening = self.opening().filter(|_| inventory.mapping_on(&self.lv).is_none());
            return Aid::First(self.activation(inventory).into_iter().chain(opening).chain([mount]).collect());
        };
        let is_root = mount_point.as_str() == "/";
        if self.is_too_coarse(inventory) {
            let Some(reduce) = self.reduction(inventory) else { return Aid::Instead(vec![]) };
            // What cannot be unmounted is at least no larger on disk than it was.
            if is_root {
                return Aid::Instead(vec![reduce]);
            }
            let open = self.opening();
            let close = open.as_ref().and_then(|_| self.closing());
            let around = [umount].into_iter().chain(close).chain([reduce]).chain(open);
            return Aid::Instead(around.chain(check).chain([mount]).collect());
        }
        let unfit = fs.superblock.as_ref().and_then(|superblock| superblock.facts().unfit());
        let has_errors = kind.about().error_counter.is_some() && fs.errors.is_some_and(|errors| errors > 0);
        if let Some(check) = check.filter(|_| !is_root) {
            if has_errors || matches!(unfit, Some(Unfit::NeedsCheck(_))) {
                return Aid::First(vec![umount, check, mount]);
            }
            if matches!(unfit, Some(Unfit::OnlyUnmounted(_))) {
                let grow = (kind.about().grow)(Place { device: &path, mount_point, device_id: *device_id });
                return Aid::Instead(vec![umount, check, grow.to_string(), mount]);
            }
        }
        Aid::First(if fs.mount.read_only { vec![format!("mount -o remount,rw {point}")] } else { vec![] })
    }

    /// Where the kernel has not the table that LVM's metadata say.
    ///
    /// It refused the new one, for a disk that is too short: it goes on with the old one, as large as the volume was,
    /// so nothing can be in the new extents, and LVM is told so. Without -f, so that a newer LVM, which looks at the
    /// file system, can still refuse when the command is run long after it was named. `lvchange --refresh` would fail
    /// and leave it suspended. In any other case LVM resumes it with the table of its metadata on disk; `dmsetup
    /// resume` could put one in force that was never committed.
    fn new_table(&self, inventory: &Inventory) -> Option<Aid> {
        let lv = inventory.lv(&self.lv)?;
        let name = shell_word(&self.lv.to_string());
        let is_suspended = lv.suspended == Some(true);
        let refresh = Aid::First(vec![format!("lvm lvchange --refresh {name}")]);
        if !self.is_refused_by_kernel(inventory) {
            return is_suspended.then_some(refresh);
        }
        let is_short = inventory.pvs.iter().any(|pv| pv.vg.as_ref() == Some(&self.lv.vg) && pv.lacks().is_some());
        // Without a disk that is too short the new table was loaded and not put in force, as by a command that was
        // killed.
        let fs = self.fs.as_ref().and_then(|fs| inventory.filesystem_at(&fs.mount_point)?.size());
        if !is_short || fs.is_some_and(|size| size > self.before.bytes(self.extent_size)) {
            return Some(refresh);
        }
        let resume =
            is_suspended.then(|| format!("dmsetup resume {}", shell_word(&self.lv.dm_path().to_string_lossy())));
        let reduce = format!("lvm lvreduce -y -l {} -- {name}", self.before.0);
        Some(Aid::Instead(resume.into_iter().chain([reduce]).collect()))
    }

    /// LVM has recorded the new size, and the kernel has the old one.
    pub fn is_refused_by_kernel(&self, inventory: &Inventory) -> bool {
        let before = self.before.bytes(self.extent_size);
        let recorded = inventory.lv(&self.lv).and_then(|lv| lv.size);
        let mapped = inventory.mapped.as_ref().map(|mapped| mapped.size);
        recorded.is_some_and(|size| size > before) && mapped.is_some_and(|size| size <= before)
    }

    /// The volume has a larger logical block size than its file system bears.
    pub fn is_too_coarse(&self, inventory: &Inventory) -> bool {
        let bears = inventory.lv(&self.lv).and_then(|lv| inventory.bears(lv));
        let now = inventory.mapped.as_ref().map(|mapped| mapped.block_size);
        matches!((bears, now), (Some(bears), Some(now)) if now > bears)
    }

    /// The device that its file system is mounted from.
    fn device(&self, inventory: &Inventory) -> Option<DeviceNumber> {
        inventory.lv(&self.lv).and_then(|lv| inventory.device_of_file_system(lv))
    }

    /// The path of that device, also while it is not there.
    fn path(&self) -> PathBuf {
        self.mapping().map_or_else(|| self.lv.dm_path(), path_of)
    }

    fn mapping(&self) -> Option<&str> {
        self.fs.as_ref()?.mapping.as_deref()
    }

    fn opening(&self) -> Option<String> {
        let device = self.lv.dm_path();
        Some(format!("cryptsetup open {} {}", shell_word(&device.to_string_lossy()), shell_word(self.mapping()?)))
    }

    fn closing(&self) -> Option<String> {
        Some(format!("cryptsetup close {}", shell_word(self.mapping()?)))
    }

    /// Back to the size before, if the file system does not reach further.
    fn reduction(&self, inventory: &Inventory) -> Option<String> {
        let before = self.before.bytes(self.extent_size);
        let size = inventory.filesystem_at(&self.fs.as_ref()?.mount_point)?.size()?;
        let room = inventory.mapping_on(&self.lv).map_or(before, |mapping| mapping.room_on(before));
        // What cannot be closed first must not be larger than its volume.
        let is_larger = inventory.mapping_on(&self.lv).is_some_and(|mapping| mapping.size > room);
        let is_root = self.fs.as_ref()?.mount_point.as_str() == "/";
        (size <= room && !(is_root && is_larger))
            .then(|| format!("lvm lvreduce -y -l {} -- {}", self.before.0, shell_word(&self.lv.to_string())))
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
