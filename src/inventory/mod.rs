//! What is true on this host: volume groups, logical volumes, physical volumes and the file systems on them.
//!
//! Data and parsers only. Nothing here touches the machine; `host::look` fills an [`Inventory`] from what the machine
//! said, and everybody else reads it. A value the machine did not give, or gave in a form nobody knows, is `None`; who
//! needs it to decide must then refuse.

mod columns;
mod device;
mod disk;
mod group;
mod latest;
pub mod luks;
pub mod lvm;
pub mod mapping;
pub mod mounts;
mod process;

use std::borrow::Cow;
use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::command::Tool;
pub use crate::filesystem::{Capability, FsKind, Superblock, Usage};
use crate::name::{LvRef, MountPoint, VgName};
use crate::units::{Bytes, Extents, MIB, Percent};
pub use device::DeviceNumber;
pub use disk::{Disk, DiskKind, Partition, PartitionTable};
pub use latest::{Latest, Sample};
pub use mapping::{KeyFile, KeyLocation, Mapping};
pub use mounts::Mount;
pub use process::ProcessUsage;

/// What `blkid` calls a PV.
pub const PV_SIGNATURE: &str = "LVM2_member";

/// One look at the host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Inventory {
    /// When the look ended.
    pub taken_at: Timestamp,
    /// Volume groups, by name.
    pub vgs: Vec<Vg>,
    /// Logical volumes, hidden ones (`[pool0_tdata]`) too.
    pub lvs: Vec<Lv>,
    /// Physical volumes, orphans and missing ones too.
    pub pvs: Vec<Pv>,
    /// All mounts with a block device, in the kernel's order: the last at a path is the one seen there.
    pub mounts: Vec<Mount>,
    /// File systems mounted from a logical volume of this host, or from a mapping of dm-crypt on one; a bind mount is a
    /// second entry with the same device.
    pub filesystems: Vec<FileSystem>,
    /// Mappings of dm-crypt on logical volumes: of the volume that was looked at, or those from which something is
    /// mounted.
    pub mappings: Vec<Mapping>,
    /// What is known of the key file of the volume that was looked at; `None`: nothing, so it is not grown if it needs
    /// one.
    pub key_file: Option<KeyFile>,
    /// File systems that are not mounted from a logical volume but from what else lies on one, as a partition does,
    /// with that volume. Only shown: nothing here grows them. Asked only of everything.
    pub above: Vec<(LvRef, FileSystem)>,
    /// What is on the volume that was looked at, if it is mounted nowhere.
    pub unmounted: Option<Unmounted>,
    /// Programs that were not found.
    pub missing_tools: Vec<Tool>,
    /// Who uses the volume that was looked at, or the mapping on it, beside file systems; `None` if that cannot be
    /// read, or all were looked at.
    pub users: Option<DeviceUsers>,
    /// What the kernel shows of the volume that was looked at; `None` where it has no device of its own, as a pool.
    pub mapped: Option<Mapped>,
    /// The largest logical block size that the disks below the volume may have, where the volume has no file system
    /// that is known here. A pool has the smallest that any of its volumes bears, any other volume the block size it
    /// has now. See [`Inventory::bears`].
    pub bears_otherwise: Option<Bytes>,
    /// The tags of LVM's `allocation/cling_tag_list`; asked only where the policy of the volume that was looked at is
    /// `cling`.
    pub cling_tags: Vec<String>,
    /// Capabilities of Linux that this process lacks, and with it the programs it runs; asked for one volume only.
    pub missing_capabilities: Vec<Capability>,
    /// This host's LVM system ID; asked only where a group has one.
    pub system_id: Option<String>,
    /// Above how many percent dmeventd extends the pool that was looked at by itself, if it does.
    pub autoextends: Option<u64>,
    /// How full the file system is on which the daemon keeps its state; asked for one volume only.
    pub state_usage: Option<Usage>,
    /// Values of LVM's report that were not understood, one sentence each.
    pub oddities: Vec<String>,
    /// Fields of LVM's report that were not asked for and are not known here, each counted once.
    pub unknown_fields: BTreeSet<String>,
}

/// A volume group, as `vgs` shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the fields are those of lvmreport(7), without the prefix")]
pub struct Vg {
    pub name: VgName,
    pub uuid: String,
    pub size: Option<Bytes>,
    pub free: Option<Bytes>,
    pub extent_size: Option<Bytes>,
    pub extent_count: Option<Extents>,
    pub free_extents: Option<Extents>,
    pub read_only: Option<bool>,
    pub exported: Option<bool>,
    pub partial: Option<bool>,
    pub shared: Option<bool>,
    pub system_id: String,
    pub allocation_policy: String,
    pub pv_count: Option<u64>,
    pub missing_pv_count: Option<u64>,
    pub lv_count: Option<u64>,
    pub snapshot_count: Option<u64>,
    pub metadata_size: Option<Bytes>,
    pub metadata_free: Option<Bytes>,
    pub extendable: Option<bool>,
    pub seqno: Option<u64>,
    pub tags: String,
}

/// A logical volume, as `lvs -a` shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the fields are those of lvmreport(7), without the prefix")]
pub struct Lv {
    pub name: LvRef,
    pub uuid: String,
    pub vg_uuid: String,
    pub path: String,
    pub dm_path: String,
    pub hidden: bool,
    pub layout: Vec<String>,
    pub role: Vec<String>,
    pub size: Option<Bytes>,
    pub active: Option<bool>,
    pub suspended: Option<bool>,
    pub read_only: Option<bool>,
    pub open: Option<bool>,
    pub health: String,
    pub allocation_policy: String,
    pub device: Option<DeviceNumber>,
    pub origin: Option<String>,
    pub pool: Option<String>,
    pub move_pv: Option<String>,
    pub converting: Option<bool>,
    pub merging: Option<bool>,
    pub data_percent: Option<Percent>,
    pub metadata_percent: Option<Percent>,
    pub sync_percent: Option<Percent>,
    pub tags: String,
    pub metadata_size: Option<Bytes>,
    pub origin_size: Option<Bytes>,
    pub snapshot_invalid: Option<bool>,
    pub check_needed: Option<bool>,
    pub raid_mismatches: Option<u64>,
    pub raid_sync_action: String,
    pub cache: Cache,
    pub vdo: Vdo,
    pub segments: Vec<Segment>,
}

/// The counters of a cached volume; all `None` for others.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the fields are those of lvmreport(7), without the prefix")]
pub struct Cache {
    pub total_blocks: Option<u64>,
    pub used_blocks: Option<u64>,
    pub dirty_blocks: Option<u64>,
    pub read_hits: Option<u64>,
    pub read_misses: Option<u64>,
    pub write_hits: Option<u64>,
    pub write_misses: Option<u64>,
}

/// What is special to a VDO pool; all `None` for others.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the fields are those of lvmreport(7), without the prefix")]
pub struct Vdo {
    pub used_size: Option<Bytes>,
    pub saving_percent: Option<Percent>,
    pub operating_mode: String,
}

/// A run of extents of one logical volume with one mapping.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the fields are those of lvmreport(7)")]
pub struct Segment {
    pub kind: String,
    pub stripes: Option<u64>,
    pub stripe_size: Option<Bytes>,
    pub start: Option<Extents>,
    pub size: Option<Extents>,
    pub pe_ranges: String,
}

/// A physical volume, as `pvs -a` shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the fields are those of lvmreport(7), without the prefix")]
pub struct Pv {
    pub name: String,
    pub uuid: String,
    pub vg: Option<VgName>,
    pub vg_uuid: String,
    pub size: Option<Bytes>,
    pub free: Option<Bytes>,
    pub extent_count: Option<Extents>,
    pub allocated_extents: Option<Extents>,
    pub allocatable: Option<bool>,
    pub missing: Option<bool>,
    pub used: Option<Bytes>,
    pub device_size: Option<Bytes>,
    pub exported: Option<bool>,
    /// LVM found this PV on a further device and does not use it there.
    pub duplicate: Option<bool>,
    pub tags: String,
    /// Where its first extent begins.
    pub first_extent_at: Option<Bytes>,
    /// The device it is on, as the kernel shows it; `None` if that cannot be read.
    pub disk: Option<Disk>,
    /// How many copies of LVM's metadata it has room for: with two, one is at its end.
    pub metadata_areas: Option<u64>,
    /// Its label says that it belongs to a group; one of which the metadata are missing is in no group all the same.
    pub in_use: Option<bool>,
    /// The partition table on its device, or on the disk that its partition is of. Asked only where its device is
    /// larger than it, and of a PV without a group.
    pub table: Option<PartitionTable>,
    /// The type `blkid` found on its device. Asked only of a PV without a group.
    pub signature: Option<String>,
    /// The name that udev gives a PV by its UUID leads to its device. Asked only of a PV without a group.
    pub is_linked: bool,
}

/// A file system mounted from a logical volume.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FileSystem {
    /// Where and how it is mounted.
    pub mount: Mount,
    /// What `statvfs` said; `None` if it failed or did not answer in time.
    pub usage: Option<Usage>,
    /// The device that `stat` names for the mount point: which file system `usage` is about.
    pub usage_device: Option<DeviceNumber>,
    /// What its superblock says; `None` if it could not be read or is of no kind known here.
    pub superblock: Option<Superblock>,
    /// Errors the kernel has counted on it since the last check (ext4 only).
    pub errors: Option<u64>,
    /// The type `blkid` found on the device; asked only for the target of an operation.
    pub signature: Option<String>,
    /// Of an XFS whose copies of the superblock say that it is smaller than it is: its label. If power fails while one
    /// grows, the kernel may have committed the new size and not yet written the copies. Setting a label writes them
    /// all. Asked only for the target of an operation.
    pub outdated_copies: Option<String>,
    /// Nothing can be written to it until somebody lifts that, as `fsfreeze` and backup programs do it. `None`: not
    /// known. Asked only for the target of an operation.
    pub frozen: Option<bool>,
    /// Of a btrfs, what it is doing that excludes a resize (`/sys/fs/btrfs/UUID/exclusive_operation`), `none` for
    /// nothing. Asked only for the target of an operation.
    pub exclusive_operation: Option<String>,
    /// A name by which the program that grows it would look for its device, and which leads to another one or to none.
    /// Asked only for the target of an operation.
    pub stray_name: Option<String>,
}

/// A file system on a volume that is mounted nowhere that this process can see.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Unmounted {
    /// The volume.
    pub lv: LvRef,
    /// What its superblock says.
    pub superblock: Option<Superblock>,
    /// The type `blkid` found.
    pub signature: Option<String>,
    /// Its name, if that leads to another device or to none.
    pub stray_name: Option<String>,
}

/// Who uses a block device, beside file systems.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceUsers {
    /// Devices that lie on it, in a few words each: `luks-data (dm-crypt)`.
    pub holders: Vec<String>,
    /// It is swap space in use.
    pub is_swap: bool,
}

/// What device-mapper has behind a device number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mapped {
    /// Its name in `/dev/mapper`.
    pub name: String,
    /// Its name for programs: LVM puts its own UUIDs there.
    pub uuid: String,
    /// How large it is.
    pub size: Bytes,
    /// Whether it is suspended.
    pub suspended: bool,
    /// Whether it takes no writes.
    pub read_only: bool,
    /// Its logical block size.
    pub block_size: Bytes,
}

impl Inventory {
    /// An inventory with nothing in it.
    pub fn empty(taken_at: Timestamp) -> Inventory {
        Inventory {
            taken_at,
            vgs: vec![],
            lvs: vec![],
            pvs: vec![],
            mounts: vec![],
            filesystems: vec![],
            mappings: vec![],
            key_file: None,
            above: vec![],
            missing_tools: vec![],
            users: None,
            mapped: None,
            bears_otherwise: None,
            cling_tags: vec![],
            missing_capabilities: vec![],
            system_id: None,
            autoextends: None,
            state_usage: None,
            unmounted: None,
            oddities: vec![],
            unknown_fields: BTreeSet::new(),
        }
    }

    /// This look at everything with what is only asked about one volume when it is about to grow: the signature on it,
    /// who else has it open, whether it is frozen. A plan from it says what would be done if these are in order.
    pub fn presumed(&self) -> Inventory {
        let mut inventory = self.clone();
        (inventory.users, inventory.key_file) = (Some(DeviceUsers::default()), Some(KeyFile::Presumed));
        for fs in &mut inventory.filesystems {
            fs.signature = Some(fs.mount.fs_type.clone());
            (fs.frozen, fs.exclusive_operation) = (Some(false), Some("none".to_owned()));
        }
        inventory.presume_disks();
        inventory
    }

    /// The same for PVs alone: what is on their devices.
    pub fn presume_disks(&mut self) {
        for pv in &mut self.pvs {
            let kind = pv.disk.as_ref().map(|disk| &disk.kind);
            pv.table = matches!(kind, Some(DiskKind::Partition(_))).then_some(PartitionTable::Gpt);
            (pv.signature, pv.is_linked) = (Some(PV_SIGNATURE.to_owned()), true);
        }
    }

    /// The same for the question whose group it is, which only LVM can answer.
    pub fn presumed_owner(&self, vg: &VgName) -> Cow<'_, Inventory> {
        let owner = self.vg(vg).map(|vg| vg.system_id.clone()).filter(|id| !id.is_empty());
        owner.map_or(Cow::Borrowed(self), |owner| Cow::Owned(Inventory { system_id: Some(owner), ..self.clone() }))
    }

    /// The logical volume of that name; none if the name is not unique.
    pub fn lv(&self, name: &LvRef) -> Option<&Lv> {
        only(self.lvs.iter().filter(|lv| &lv.name == name))
    }

    /// The largest logical block size that what is on a volume bears; `None`: not known.
    pub fn bears(&self, lv: &Lv) -> Option<Bytes> {
        let unmounted = self.unmounted.iter().filter(|found| found.lv == lv.name).map(|found| &found.superblock);
        let on_it = self.filesystems_on(lv).map(|fs| &fs.superblock).chain(unmounted);
        on_it.flatten().map(|superblock| superblock.facts().bears()).min().or(self.bears_otherwise)
    }

    /// What is mounted at that path. Mounts stack: the last one mounted over a path is the one that is seen there.
    pub fn mount_at(&self, mount_point: &MountPoint) -> Option<&Mount> {
        self.mounts.iter().rev().find(|mount| &mount.mount_point == mount_point)
    }

    /// The file system seen at that path, if it is on a logical volume.
    pub fn filesystem_at(&self, mount_point: &MountPoint) -> Option<&FileSystem> {
        let seen = self.mount_at(mount_point)?;
        self.filesystems.iter().rev().find(|fs| &fs.mount == seen)
    }

    /// The file system of a volume that is mounted nowhere, as if it were mounted there; none while something else is.
    pub fn unmounted_at(&self, lv: &LvRef, mount_point: &MountPoint) -> Option<FileSystem> {
        let found = self.unmounted.as_ref().filter(|found| &found.lv == lv && self.mount_at(mount_point).is_none())?;
        let volume = self.lv(lv)?;
        let device = volume.device?;
        let mount = Mount {
            device,
            number: device,
            root: "/".to_owned(),
            mount_point: mount_point.clone(),
            fs_type: found.signature.clone().unwrap_or_default(),
            source: volume.dm_path.clone(),
            read_only: false,
            options: String::new(),
        };
        let at_rest = found.superblock.as_ref().and_then(|superblock| superblock.facts().at_rest());
        Some(FileSystem {
            mount,
            usage: at_rest.and_then(|at_rest| at_rest.usage),
            usage_device: Some(device),
            superblock: found.superblock.clone(),
            errors: at_rest.map(|at_rest| at_rest.errors),
            signature: found.signature.clone(),
            outdated_copies: None,
            frozen: Some(false),
            exclusive_operation: None,
            stray_name: found.stray_name.clone(),
        })
    }

    /// The file system that a target is about: what is mounted at its place, or what is on its volume if that is
    /// mounted nowhere.
    pub fn filesystem_of(&self, lv: &LvRef, mount_point: &MountPoint) -> Option<FileSystem> {
        self.filesystem_at(mount_point).cloned().or_else(|| self.unmounted_at(lv, mount_point))
    }

    /// The mounts of one logical volume.
    pub fn filesystems_on<'a>(&'a self, lv: &'a Lv) -> impl Iterator<Item = &'a FileSystem> {
        let device = self.device_of_file_system(lv);
        self.filesystems.iter().filter(move |fs| device == Some(fs.mount.device))
    }

    /// The pool of a thin volume.
    pub fn pool_of(&self, lv: &Lv) -> Option<&Lv> {
        let name = lv.pool.as_deref().filter(|_| lv.is_layout("thin"))?;
        self.lvs.iter().find(|pool| pool.name.vg == lv.name.vg && pool.name.lv.as_str() == name)
    }

    /// The volumes of a thin pool.
    pub fn volumes_of<'a>(&'a self, pool: &'a Lv) -> impl Iterator<Item = &'a Lv> {
        self.lvs.iter().filter(|lv| {
            lv.name.vg == pool.name.vg && lv.is_layout("thin") && lv.pool.as_deref() == Some(pool.name.lv.as_str())
        })
    }

    /// The hidden volume that holds the data of a thin pool.
    pub fn pool_data(&self, pool: &Lv) -> Option<&Lv> {
        self.part_of_pool(pool, "_tdata", "data")
    }

    /// The hidden volume that holds the metadata of a thin pool.
    pub fn pool_metadata(&self, pool: &Lv) -> Option<&Lv> {
        self.part_of_pool(pool, "_tmeta", "metadata")
    }

    /// LVM names them after their pool, and renames them with it.
    fn part_of_pool(&self, pool: &Lv, suffix: &str, role: &str) -> Option<&Lv> {
        let name = format!("{}{suffix}", pool.name.lv);
        let is_part = |lv: &&Lv| lv.name.vg == pool.name.vg && lv.name.lv.as_str() == name;
        self.lvs.iter().find(is_part).filter(|lv| lv.is_role("pool") && lv.is_role(role))
    }

    /// Snapshots, old-style ("thick") ones, that have this volume as their origin. A thin snapshot does not hold its
    /// origin.
    pub fn snapshots_of<'a>(&'a self, lv: &'a Lv) -> impl Iterator<Item = &'a Lv> {
        self.lvs.iter().filter(|other| {
            other.name.vg == lv.name.vg
                && other.origin.as_deref() == Some(lv.name.lv.as_str())
                && other.is_role("thicksnapshot")
        })
    }
}

fn only<T>(mut items: impl Iterator<Item = T>) -> Option<T> {
    let first = items.next();
    if items.next().is_some() { None } else { first }
}

impl Vg {
    /// The allocation policy that counts for a volume: its own, or the group's if it inherits that.
    pub fn policy_of<'a>(&'a self, lv: &'a Lv) -> &'a str {
        match lv.allocation_policy.as_str() {
            "inherit" => &self.allocation_policy,
            own => own,
        }
    }
}

impl Pv {
    /// By how much its device is too small for it.
    pub fn lacks(&self) -> Option<Bytes> {
        let (end, disk) = (self.end()?, self.disk.as_ref()?.size);
        // LVM's own view counts as well: it is of the device that LVM uses, should the name lead to another one.
        let size = self.device_size.map_or(disk, |device| device.min(disk));
        Some(end.saturating_sub(size)).filter(|lacks| lacks.0 > 0)
    }

    /// Nothing is on its device but the PV, as far as `blkid` and the kernel see.
    pub fn has_only_its_label(&self) -> bool {
        let has_partitions = |disk: &Disk| disk.kind == DiskKind::Whole { has_partitions: true };
        let is_partition = |disk: &Disk| matches!(disk.kind, DiskKind::Partition(_));
        let is_alone = |disk: &Disk| !has_partitions(disk) && (is_partition(disk) || self.table.is_none());
        self.signature.as_deref() == Some(PV_SIGNATURE) && self.disk.as_ref().is_some_and(is_alone)
    }

    /// By how much its device is larger than it.
    pub fn exceeded_by(&self) -> Bytes {
        let Some((end, disk)) = self.end().zip(self.disk.as_ref()) else { return Bytes::ZERO };
        disk.size.saturating_sub(end)
    }

    /// By how much it could grow, a partition first that no other one follows; in whole MiB, for less is left by any
    /// program that makes partitions. `None`: its device cannot be seen.
    pub fn growable_bytes(&self) -> Option<Bytes> {
        let room = self.exceeded_by().0.saturating_add(self.disk.as_ref()?.grows_into().0);
        // What LVM cannot use of a device is less than an extent, which is not known here.
        Some(Bytes(room / MIB * MIB))
    }

    /// What its device, and the disk that its partition is of, have that it does not; nothing if that is less than an
    /// extent.
    pub fn growable(&self, extent_size: Bytes) -> Bytes {
        let behind = self.disk.as_ref().map_or(Bytes::ZERO, Disk::unused_behind);
        let room = Bytes(self.exceeded_by().0.saturating_add(behind.0));
        if room < extent_size { Bytes::ZERO } else { room }
    }

    /// Where its last extent ends; `None` if LVM did not say.
    pub fn end(&self) -> Option<Bytes> {
        Some(Bytes(self.first_extent_at?.0.checked_add(self.size?.0)?))
    }
}

impl Lv {
    /// The UUID that LVM gives the device of a volume that is not only a part of others.
    pub fn mapped_uuid(&self) -> String {
        format!("LVM-{}{}", self.vg_uuid.replace('-', ""), self.uuid.replace('-', ""))
    }

    /// Whether LVM counts this word among the volume's layouts (`linear`, `striped`, `thin`, ...).
    pub fn is_layout(&self, word: &str) -> bool {
        self.layout.iter().any(|l| l == word)
    }

    /// Whether LVM counts this word among the volume's roles (`public`, `origin`, `snapshot`, ...).
    pub fn is_role(&self, word: &str) -> bool {
        self.role.iter().any(|r| r == word)
    }
}

impl FileSystem {
    /// How large the file system itself is, including its own metadata: what a growth makes larger.
    pub fn size(&self) -> Option<Bytes> {
        self.superblock.as_ref()?.facts().size(self.usage.map(|usage| usage.size))
    }

    /// How much smaller than its volume the file system may be although it filled it as far as it can: the rest is too
    /// small for one more allocation or block group.
    pub fn slack(&self) -> Bytes {
        self.superblock.as_ref().map_or(Bytes::ZERO, |superblock| superblock.facts().slack())
    }

    /// Of which kind it is, if that can be grown.
    pub fn kind(&self) -> Option<FsKind> {
        FsKind::from_name(&self.mount.fs_type)
    }

    /// The number that it has given its device, as only a btrfs does.
    pub fn device_id(&self) -> Option<u64> {
        self.superblock.as_ref()?.facts().device_id()
    }

    /// Whether the file system fills a volume of that size; `None` if its size is not known.
    pub fn fills(&self, volume: Bytes) -> Option<bool> {
        Some(self.size()?.0.saturating_add(self.slack().0) > volume.0)
    }
}
