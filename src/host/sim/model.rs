//! What the simulated host consists of.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::command::Tool;
use crate::filesystem::{Btrfs, Ext, ExtAtRest, Superblock, Xfs};
use crate::inventory::{Capability, DeviceNumber, Disk, DiskKind, FsKind, PartitionTable, Usage};
use crate::name::{LvRef, MountPoint, PvUuid, VgName};
use crate::units::{Bytes, Extents, MIB};

/// A host.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Model {
    /// Its names and addresses.
    pub names: Vec<String>,
    /// How much faster its time passes.
    pub speed: f64,
    /// Its volume groups.
    pub vgs: Vec<SimVg>,
    /// PVs that belong to no group; of a size in extents of 4 MiB.
    pub orphans: Vec<SimPv>,
    /// Its logical volumes.
    pub lvs: Vec<SimLv>,
    /// Files that commands wrote, and their sizes.
    pub files: BTreeMap<PathBuf, u64>,
    /// Key files.
    pub key_files: BTreeMap<PathBuf, SimKeyFile>,
    /// Its LVM system ID, empty: none.
    pub system_id: String,
    /// `activation/thin_pool_autoextend_threshold` of its lvm.conf.
    pub autoextend_threshold: u64,
    /// `allocation/cling_tag_list` of it.
    pub cling_tag_list: Vec<String>,
    /// Capabilities that the daemon does not have.
    pub missing_capabilities: Vec<Capability>,
    /// How full the file system is on which the daemon keeps its state; `None`: it does not answer.
    pub state_usage: Option<Usage>,
    /// Programs that are not installed.
    pub missing_tools: Vec<Tool>,
    /// Until when the file systems were filled.
    pub filled_until: Option<Timestamp>,
}

/// A volume group.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are LVM's")]
pub struct SimVg {
    pub name: VgName,
    pub extent_size: Bytes,
    pub pvs: Vec<SimPv>,
    pub read_only: bool,
    pub exported: bool,
    pub partial: bool,
    /// Its allocation policy.
    pub policy: String,
    /// The host it belongs to, empty: any.
    pub system_id: String,
}

/// A physical volume.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are LVM's")]
pub struct SimPv {
    pub name: String,
    pub extents: Extents,
    pub allocated: Extents,
    pub allocatable: bool,
    /// By how many bytes its device is larger than it, or smaller.
    pub device_exceeds: i64,
    /// The logical block size of its device.
    pub block_size: Bytes,
    pub read_only: bool,
    pub suspended: bool,
    /// The logical volume of this host that it is on.
    pub volume: Option<String>,
    /// Another device on which LVM finds it.
    pub duplicate: Option<String>,
    pub tags: String,
    /// Its UUID, if that is not made of its name.
    pub uuid: Option<PvUuid>,
    /// What its device is.
    pub disk: DiskKind,
    /// How many copies of LVM's metadata it has room for.
    pub metadata_areas: u64,
    /// What is on it beside the PV.
    pub signature: Option<String>,
    /// A partition table on it, or on the disk of its partition.
    pub table: Option<PartitionTable>,
    /// It belongs to a group of which the metadata are missing.
    pub in_use: bool,
    /// By how much the disk grew without that the kernel has noticed.
    pub unseen: i64,
    /// The next so many flushes of its cache fail.
    pub flushes_that_fail: u32,
    /// Its device is gone.
    pub missing: bool,
}

impl SimPv {
    /// A PV of so many extents on a disk of that size.
    pub fn new(name: impl Into<String>, extents: Extents) -> SimPv {
        SimPv {
            name: name.into(),
            extents,
            allocated: Extents(0),
            allocatable: true,
            device_exceeds: 0,
            block_size: Bytes(512),
            read_only: false,
            suspended: false,
            volume: None,
            duplicate: None,
            tags: String::new(),
            uuid: None,
            disk: DiskKind::Whole { has_partitions: false },
            metadata_areas: 1,
            signature: None,
            table: None,
            in_use: false,
            unseen: 0,
            flushes_that_fail: 0,
            missing: false,
        }
    }
}

impl SimPv {
    /// The name by which LVM shows it.
    pub(super) fn shown(&self) -> &str {
        if self.missing { "[unknown]" } else { &self.name }
    }

    /// The first bytes of its disk, as far as they tell of a partition table.
    pub(super) fn head(&self) -> Vec<u8> {
        let mut head = vec![0; 8192];
        match self.table {
            None => {}
            Some(PartitionTable::Gpt) => head[512..520].copy_from_slice(b"EFI PART"),
            Some(PartitionTable::Mbr) => {
                head[450] = 0x8e;
                head[510..512].copy_from_slice(&[0x55, 0xaa]);
            }
        }
        head
    }

    pub(super) fn device_size(&self, extent_size: Bytes) -> u64 {
        (FIRST_EXTENT.0 + self.extents.bytes(extent_size).0).saturating_add_signed(self.device_exceeds)
    }
}

/// The driver of all disks.
pub(super) const DISKS: u32 = 8;
/// Where the first extent of a PV begins.
pub(super) const FIRST_EXTENT: Bytes = Bytes(MIB);
/// In which the size of a PV without a group is counted here.
pub(super) const ORPHANS_EXTENT: Bytes = Bytes(4 * MIB);

/// A logical volume.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are LVM's")]
pub struct SimLv {
    pub name: LvRef,
    /// Makes another UUID of the same name.
    pub uuid_salt: u32,
    /// Its first name, of which its UUID is made, if it was renamed.
    pub made_as: Option<LvRef>,
    pub minor: u32,
    /// Of the device that its name in /dev leads to, where that is another one.
    pub stale_minor: Option<u32>,
    pub extents: Extents,
    pub extent_size: Bytes,
    pub stripes: u64,
    pub kind: String,
    pub active: bool,
    pub suspended: bool,
    /// What the kernel shows as its size, where LVM's metadata have another.
    pub mapped: Option<Bytes>,
    /// Its logical block size, the largest of its PVs.
    pub block_size: Bytes,
    pub read_only: bool,
    pub health: String,
    /// `inherit`, or the volume's own allocation policy.
    pub policy: String,
    /// The PVs on which its stripes or legs end.
    pub home: Vec<String>,
    /// The volume that this one is an old-style snapshot of.
    pub origin: Option<String>,
    /// The thin pool it lies in.
    pub pool: Option<String>,
    /// If it is a thin pool: its metadata and what is used.
    pub thin_pool: Option<SimPool>,
    /// Devices that lie on it.
    pub holders: Vec<String>,
    /// It is swap space in use.
    pub is_swap: bool,
    /// Somebody has it open who did not mount it.
    pub is_open: bool,
    /// It is LUKS, and the file system is on the mapping.
    pub luks: Option<SimLuks>,
    /// Its tags, with commas between.
    pub tags: String,
    pub fs: Option<SimFs>,
}

/// LUKS on a volume.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SimLuks {
    /// The name of the mapping.
    pub name: String,
    /// `LUKS1`, `LUKS2`, `PLAIN`, ...
    pub kind: String,
    /// How large the mapping is.
    pub size: Bytes,
    /// Where the data begin.
    pub offset: Bytes,
    /// How many segments it has.
    pub segments: u64,
    /// It has integrity tags.
    pub integrity: bool,
    /// The volume key is in the keyring.
    pub keyring: bool,
    /// The key file that opens it.
    pub opened_by: Option<PathBuf>,
    /// Suspended, as after `cryptsetup luksSuspend`.
    pub suspended: bool,
    /// The header is not on the volume.
    pub detached: bool,
    /// Whether the mapping is there.
    pub open: bool,
}

/// A key file.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct SimKeyFile {
    /// Who else can read it.
    pub exposed: Option<String>,
    /// The volume whose file system it is on.
    pub on: Option<String>,
}

/// What is special to a thin pool.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are LVM's")]
pub struct SimPool {
    pub metadata: Extents,
    pub data_used: Bytes,
    pub metadata_used: Bytes,
}

/// A file system on a volume.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SimFs {
    /// The kernel's name of its type.
    pub kind: String,
    /// What blkid says, if that differs.
    pub signature: Option<String>,
    /// Where it is mounted.
    pub mount_point: MountPoint,
    /// Whether it is.
    pub mounted: bool,
    /// The name of the volume when it was mounted, if it was renamed since.
    pub mounted_as: Option<LvRef>,
    /// Its size.
    pub size: Bytes,
    /// What is in use.
    pub used: Bytes,
    /// The size it was made with.
    pub first_size: Bytes,
    /// What part of its inodes is in use, in percent.
    pub inodes_used: u64,
    /// By how many bytes a second it fills.
    pub fill: Bytes,
    /// Mounted read-only.
    pub read_only: bool,
    /// The kernel's error counter.
    pub errors: u64,
    /// `statvfs` does not answer.
    pub hangs: bool,
    /// Its superblock is read later than a look at the whole host waits for it.
    pub slow: bool,
    /// Nothing can be written to it, as after `fsfreeze`.
    pub frozen: bool,
    /// The block size of an ext, or the sector size of another: the largest logical block size that it bears.
    pub bears: Bytes,
    /// An error is flagged in its superblock, counted or not.
    pub error_flag: bool,
    /// An ext with the feature `sparse_super2`.
    pub sparse_super2: bool,
    /// What a btrfs does that excludes a resize.
    pub exclusive_operation: Option<String>,
    /// By a backup of its superblock (`sb=`).
    pub by_backup: bool,
    /// `e2fsck` checked it after it was mounted the last time.
    pub checked: bool,
    /// `e2fsck -p` cannot mend it.
    pub broken: bool,
    /// On how many devices it is, of a btrfs.
    pub devices: u64,
    /// Of an XFS, its label.
    pub label: String,
    /// Of an XFS, how large the copies of its superblock say that it is, if that is not its size.
    pub size_in_copies: Option<Bytes>,
}

/// The log of a small XFS, which statvfs does not count.
const XFS_LOG: u64 = 16 * MIB;
const BLOCK: u64 = 4096;
/// All btrfs here have the same.
const BTRFS_ID: &str = "00000000-0000-0000-0000-000000000001";
/// An own file system for the daemon's state, with room.
const ROOM: Usage = Usage {
    size: Bytes(1024 * MIB),
    free: Bytes(900 * MIB),
    avail: Bytes(850 * MIB),
    files: 65536,
    files_free: 65000,
    read_only: false,
};

impl Model {
    /// A host without volumes.
    pub fn empty(name: &str) -> Model {
        Model {
            names: vec![name.to_owned()],
            speed: 1.0,
            vgs: vec![],
            orphans: vec![],
            lvs: vec![],
            files: BTreeMap::new(),
            key_files: BTreeMap::new(),
            system_id: String::new(),
            autoextend_threshold: 100,
            cling_tag_list: vec![],
            missing_capabilities: vec![],
            state_usage: Some(ROOM),
            missing_tools: vec![],
            filled_until: None,
        }
    }

    /// The group of that name.
    pub fn vg(&mut self, name: &str) -> Option<&mut SimVg> {
        self.vgs.iter_mut().find(|vg| vg.name.as_str() == name)
    }

    /// The volume of that name, `vg/lv`.
    pub fn lv(&mut self, name: &str) -> Option<&mut SimLv> {
        self.lvs.iter_mut().find(|lv| lv.name.to_string() == name)
    }

    pub(super) fn lv_by_device(&self, device: DeviceNumber) -> Option<&SimLv> {
        self.lvs.iter().find(|lv| lv.active && (lv.device() == device || lv.upper_device() == device))
    }

    /// Disks are numbered as they are listed.
    pub(super) fn disk_number(&self, path: &str) -> Option<DeviceNumber> {
        let by_uuid = |pv: &SimPv| pv.uuid.as_ref().is_some_and(|uuid| uuid.path() == Path::new(path));
        // A disk has the number of its partition: no more is asked of it than what partition table it has.
        let is_parent = |pv: &SimPv| matches!(&pv.disk, DiskKind::Partition(partition) if partition.disk == path);
        let is_it = |pv: &SimPv| !pv.missing && (pv.name == path || by_uuid(pv) || is_parent(pv));
        let minor = self.pvs().position(|(_, pv)| is_it(pv))?;
        Some(DeviceNumber { major: DISKS, minor: u32::try_from(minor).ok()? })
    }

    /// All PVs with the extent size that counts for them, in the order of their disks' numbers.
    pub(super) fn pvs(&self) -> impl Iterator<Item = (Bytes, &SimPv)> {
        let in_groups = self.vgs.iter().flat_map(|vg| vg.pvs.iter().map(move |pv| (vg.extent_size, pv)));
        in_groups.chain(self.orphans.iter().map(|pv| (ORPHANS_EXTENT, pv)))
    }

    /// The PV on the disk of that number.
    pub(super) fn pv_on(&self, device: DeviceNumber) -> Option<(Bytes, &SimPv)> {
        self.pvs().nth(device.minor as usize).filter(|(_, pv)| device.major == DISKS && !pv.missing)
    }

    pub(super) fn pv_on_mut(&mut self, device: DeviceNumber) -> Option<&mut SimPv> {
        let all = self.vgs.iter_mut().flat_map(|vg| &mut vg.pvs).chain(&mut self.orphans);
        all.into_iter().nth(device.minor as usize).filter(|pv| device.major == DISKS && !pv.missing)
    }

    pub(super) fn disk(&self, device: DeviceNumber) -> Option<Disk> {
        let (extent_size, pv) = self.pv_on(device)?;
        Some(Disk {
            kind: pv.disk.clone(),
            size: Bytes(pv.device_size(extent_size)),
            block_size: pv.block_size,
            read_only: pv.read_only,
            suspended: pv.suspended,
            volume: pv.volume.clone(),
        })
    }

    pub(super) fn mounted(&self) -> impl Iterator<Item = (&SimLv, &SimFs)> {
        self.lvs.iter().filter_map(|lv| Some((lv, lv.fs.as_ref().filter(|fs| fs.mounted)?)))
    }

    /// Lets the writers write.
    pub(super) fn fill_until(&mut self, now: Timestamp) {
        let from = self.filled_until.replace(now).unwrap_or(now);
        let seconds = now.duration_since(from).as_secs_f64();
        if seconds <= 0.0 {
            return;
        }
        for fs in self.lvs.iter_mut().filter_map(|lv| lv.fs.as_mut()) {
            let room = fs.capacity().saturating_sub(fs.used);
            fs.used.0 += ((fs.fill.0 as f64 * seconds) as u64).min(room.0);
        }
    }
}

impl SimVg {
    /// Extents that no volume has.
    pub fn free(&self) -> Extents {
        Extents(self.pvs.iter().map(|pv| pv.extents.0 - pv.allocated.0).sum())
    }

    /// All extents.
    pub fn extents(&self) -> Extents {
        Extents(self.pvs.iter().map(|pv| pv.extents.0).sum())
    }

    /// How many of its PVs are missing.
    pub(super) fn missing_pvs(&self) -> usize {
        self.pvs.iter().filter(|pv| pv.missing).count().max(usize::from(self.partial))
    }

    /// Gives extents to a volume from wherever they are free; the caller has checked that there are enough.
    pub(super) fn allocate(&mut self, mut extents: u64) {
        for pv in self.pvs.iter_mut().filter(|pv| pv.allocatable) {
            let taken = extents.min(pv.extents.0 - pv.allocated.0);
            pv.allocated.0 += taken;
            extents -= taken;
        }
    }

    /// Gives the same number of extents to each leg, on different PVs, as LVM does it: first where the legs end, then
    /// on the PVs with the most free. `None`, and nothing is given, if that does not work out.
    pub(super) fn allocate_legs(&mut self, home: &[String], legs: usize, rows: u64) -> Option<Vec<String>> {
        let free = |pv: &SimPv| if pv.allocatable { pv.extents.0 - pv.allocated.0 } else { 0 };
        let at_home: Vec<usize> = home
            .iter()
            .filter_map(|name| self.pvs.iter().position(|pv| &pv.name == name && free(pv) >= rows))
            .collect();
        if at_home.len() == legs {
            at_home.iter().for_each(|pv| self.pvs[*pv].allocated.0 += rows);
            return Some(home.to_vec());
        }
        let (mut pvs, mut left, mut ends) = (self.pvs.clone(), rows, home.to_vec());
        while left > 0 {
            let mut order: Vec<usize> = (0..pvs.len()).filter(|pv| free(&pvs[*pv]) > 0).collect();
            order.sort_by_key(|pv| std::cmp::Reverse(free(&pvs[*pv])));
            order.truncate(legs);
            let taken = order.iter().map(|pv| free(&pvs[*pv])).min()?.min(left);
            if order.len() < legs {
                return None;
            }
            order.iter().for_each(|pv| pvs[*pv].allocated.0 += taken);
            ends = order.iter().map(|pv| pvs[*pv].name.clone()).collect();
            left -= taken;
        }
        self.pvs = pvs;
        Some(ends)
    }
}

impl SimLv {
    /// The name of which its UUID is made.
    pub(super) fn first_name(&self) -> &LvRef {
        self.made_as.as_ref().unwrap_or(&self.name)
    }

    /// Its size.
    pub fn size(&self) -> Bytes {
        self.extents.bytes(self.extent_size)
    }

    /// How many of its legs hold data; `stripes` counts all of them.
    pub fn data_legs(&self) -> u64 {
        match self.kind.as_str() {
            "raid1" | "mirror" => 1,
            "raid4" | "raid5" => self.stripes - 1,
            "raid6" => self.stripes - 2,
            "raid10" => self.stripes / 2,
            _ => self.stripes.max(1),
        }
    }

    /// Its device number.
    pub fn device(&self) -> DeviceNumber {
        DeviceNumber { major: 253, minor: self.minor }
    }
}

impl SimFs {
    /// What a user can store: the size without the file system's own data, about as much as a real one keeps.
    pub fn capacity(&self) -> Bytes {
        match self.kind.as_str() {
            "xfs" => self.size.saturating_sub(Bytes(XFS_LOG)),
            "btrfs" => self.size,
            _ => Bytes(self.size.0 / 100 * 98),
        }
    }

    /// It is an ext2, ext3 or ext4.
    pub fn is_ext(&self) -> bool {
        FsKind::from_name(&self.kind) == Some(FsKind::Ext)
    }

    /// The kernel grows it while it is mounted.
    pub(super) fn grows_online(&self) -> Result<(), &'static str> {
        if self.read_only {
            return Err("Read-only file system");
        }
        if self.is_ext() && (self.error_flag || self.errors > 0 || self.by_backup) {
            return Err("Operation not permitted");
        }
        if self.is_ext() && self.sparse_super2 { Err("Operation not supported") } else { Ok(()) }
    }

    /// The numbers of `statvfs`.
    pub fn usage(&self) -> Usage {
        let size = self.capacity();
        let free = size.saturating_sub(self.used);
        // Ext4 keeps 5 % for root; inodes are one per 16 KiB there, and XFS has no fixed number.
        let reserved = if self.is_ext() { Bytes(size.0 / 20) } else { Bytes::ZERO };
        let files = self.size.0 / 16384;
        Usage {
            size,
            free,
            avail: free.saturating_sub(reserved),
            files,
            files_free: files - files * self.inodes_used / 100,
            read_only: self.read_only,
        }
    }

    pub(super) fn superblock(&self) -> Option<Superblock> {
        let usage = self.usage();
        match self.kind.as_str() {
            "ext2" | "ext3" | "ext4" => Some(Superblock::Ext(Ext {
                block_size: self.bears.0,
                cluster_size: self.bears.0,
                blocks: self.size.0 / self.bears.0,
                has_meta_bg: false,
                has_sparse_super2: self.sparse_super2,
                has_error_flag: self.error_flag,
                blocks_per_group: 32768,
                inodes_per_group: 8192,
                inode_size: 256,
                // As mke2fs does it: for 1024 times the first size.
                reserved_gdt_blocks: (self.first_size.0 / BLOCK / 32768 / 64 * 1024).clamp(16, 1024),
                desc_size: 64,
                has_64bit: true,
                has_resize_inode: true,
                at_rest: ExtAtRest {
                    clean: !self.broken && self.errors == 0 && !self.error_flag,
                    needs_recovery: self.mounted,
                    checked: self.checked && !self.broken && !self.mounted,
                    checked_since: self.checked && !self.broken && !self.mounted,
                    errors: self.errors,
                    free: usage.free.0 / self.bears.0,
                    reserved: (usage.free.saturating_sub(usage.avail).0 / self.bears.0)
                        .saturating_sub((self.size.0 / self.bears.0 / 50).min(4096)),
                    overhead: (self.size.0 - usage.size.0) / self.bears.0,
                    inodes: usage.files,
                    free_inodes: usage.files_free,
                },
            })),
            "btrfs" => Some(Superblock::Btrfs(Btrfs {
                total_bytes: self.size.0,
                num_devices: self.devices,
                sector_size: self.bears.0,
                device_id: 1,
                fsid: BTRFS_ID.to_owned(),
                is_seed: false,
            })),
            "xfs" => Some(Superblock::Xfs(Xfs {
                block_size: BLOCK,
                sector_size: self.bears.0,
                dblocks: self.size.0 / BLOCK,
                label: self.label.clone(),
                ag_blocks: (self.first_size.0 / BLOCK / 4).max(1),
                ag_count: (self.size.0 * 4).div_ceil(self.first_size.0.max(1)),
                internal_log_blocks: XFS_LOG / BLOCK,
            })),
            _ => None,
        }
    }
}
