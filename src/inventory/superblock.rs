//! The few fields of the ext4, XFS and btrfs superblocks that say how large the file system is, and of an ext4 how full
//! and how sound, for when it is mounted nowhere.
//!
//! `statvfs` leaves metadata out of an ext4's size, so it cannot tell whether the file system fills its volume. Sources:
//! the kernel's `Documentation/filesystems/ext4/super.rst` and the XFS Algorithms & Data Structures, "Superblocks".

use serde::Serialize;

use super::Usage;
use crate::units::Bytes;

/// How many bytes from the start of the device [`parse`] wants.
pub const LENGTH: usize = 4096;
/// And for a btrfs, whose superblock is further in.
pub const LONG: usize = BTRFS + LENGTH;
const BTRFS: usize = 65536;

/// What a superblock says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Superblock {
    /// Ext2, ext3 or ext4.
    Ext(Ext),
    /// XFS.
    Xfs(Xfs),
    /// Btrfs.
    Btrfs(Btrfs),
}

/// Of an ext superblock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the fields are those of the kernel's super.rst, without the prefix s_")]
pub struct Ext {
    pub block_size: u64,
    pub blocks: u64,
    pub blocks_per_group: u64,
    pub inodes_per_group: u64,
    pub inode_size: u64,
    pub reserved_gdt_blocks: u64,
    pub desc_size: u64,
    pub has_64bit: bool,
    pub has_resize_inode: bool,
    /// While it is mounted these are not current.
    pub at_rest: ExtAtRest,
}

/// What an ext superblock says of a file system that is mounted nowhere.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ExtAtRest {
    /// It was unmounted in order and has no known errors.
    pub clean: bool,
    /// Its journal holds what was not written to its place.
    pub needs_recovery: bool,
    /// `e2fsck` checked it when or after it was mounted the last time, which is what `resize2fs` asks for.
    pub checked: bool,
    /// Certainly after that: a file system that is made and mounted within one second looks checked too.
    pub checked_since: bool,
    /// Errors the kernel has counted.
    pub errors: u64,
    /// Blocks.
    pub free: u64,
    /// Blocks that only root may use.
    pub reserved: u64,
    /// Blocks that hold the file system's own tables, counted here where nobody wrote it down, as after an offline `resize2fs`; 0 where
    /// that is not possible.
    pub overhead: u64,
    /// All of them.
    pub inodes: u64,
    /// Free ones.
    pub free_inodes: u64,
}

/// Of a btrfs superblock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the fields are those of the btrfs on-disk format")]
pub struct Btrfs {
    pub total_bytes: u64,
    pub num_devices: u64,
    pub sector_size: u64,
    /// Of the device on which this superblock is.
    pub device_id: u64,
}

/// Of an XFS superblock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the fields are those of the XFS disk format, without the prefix sb_")]
pub struct Xfs {
    pub block_size: u64,
    /// Which in the first superblock on disk may be half a minute old, while it is mounted.
    pub dblocks: u64,
    pub ag_blocks: u64,
    pub ag_count: u64,
    /// The label, `sb_fname`.
    pub label: String,
    /// 0 where the log is on a device of its own.
    pub internal_log_blocks: u64,
}

/// Reads the first bytes of a device; `None` if they are no superblock known here, or one with impossible numbers.
pub fn parse(head: &[u8]) -> Option<Superblock> {
    let ext = || parse_ext(head).map(Superblock::Ext);
    parse_xfs(head).map(Superblock::Xfs).or_else(ext).or_else(|| parse_btrfs(head).map(Superblock::Btrfs))
}

fn parse_btrfs(head: &[u8]) -> Option<Btrfs> {
    let sb = head.get(BTRFS..BTRFS + 512)?;
    let le64 = |at: usize| sb.get(at..at + 8)?.try_into().ok().map(u64::from_le_bytes);
    if sb.get(0x40..0x48) != Some(b"_BHRfS_M") {
        return None;
    }
    let btrfs = Btrfs {
        total_bytes: le64(0x70)?,
        num_devices: le64(0x88)?,
        sector_size: le64(0x90)? & 0xFFFF_FFFF,
        device_id: le64(0xC9)?,
    };
    ((512..=65536).contains(&btrfs.sector_size) && btrfs.num_devices > 0).then_some(btrfs)
}

fn parse_ext(head: &[u8]) -> Option<Ext> {
    let sb = head.get(1024..2048)?;
    let le16 = |at: usize| u64::from(u16::from_le_bytes([sb[at], sb[at + 1]]));
    let le32 = |at: usize| le16(at) | le16(at + 2) << 16;
    if le16(0x38) != 0xEF53 {
        return None;
    }
    let log_block_size = le32(0x18);
    // 64 KiB is the largest block the format knows.
    if log_block_size > 6 {
        return None;
    }
    let has_64bit = le32(0x60) & 0x80 != 0;
    let high = if has_64bit { le32(0x150) << 32 } else { 0 };
    // Seconds in 40 bits, the highest elsewhere.
    let time = |low: usize, high: usize| le32(low) | u64::from(sb[high]) << 32;
    let ratio = le32(0x1C).saturating_sub(log_block_size).min(32);
    let clusters = |count: u64| count.saturating_mul(1 << ratio);
    let ext = Ext {
        block_size: 1024 << log_block_size,
        blocks: le32(0x4) | high,
        blocks_per_group: le32(0x20),
        inodes_per_group: le32(0x28),
        inode_size: le16(0x58),
        reserved_gdt_blocks: le16(0xCE),
        desc_size: if has_64bit { le16(0xFE).max(32) } else { 32 },
        has_64bit,
        has_resize_inode: le32(0x5C) & 0x10 != 0,
        at_rest: ExtAtRest {
            clean: le16(0x3A) & 0b11 == 1,
            needs_recovery: le32(0x60) & 0x4 != 0,
            checked: le16(0x3A) & 0b11 == 1 && time(0x40, 0x277) >= time(0x2C, 0x275),
            checked_since: le16(0x3A) & 0b11 == 1 && time(0x40, 0x277) > time(0x2C, 0x275),
            errors: le32(0x194),
            free: le32(0xC) | if has_64bit { le32(0x158) << 32 } else { 0 },
            reserved: le32(0x8) | if has_64bit { le32(0x154) << 32 } else { 0 },
            overhead: match clusters(le32(0x248)) {
                0 => counted_overhead(sb).unwrap_or(0),
                written => written,
            },
            inodes: le32(0x0),
            free_inodes: le32(0x10),
        },
    };
    (ext.blocks > 0 && ext.blocks_per_group > 0 && ext.blocks < u64::MAX / ext.block_size).then_some(ext)
}

/// What the kernel counts when it mounts a file system whose superblock does not say (`ext4_calculate_overhead`): in each group two
/// bitmaps and the inode table, and in those with a copy of the superblock that, the descriptors and what is reserved for more of
/// them; and the journal. `None` with features under which other groups have copies, descriptors lie elsewhere or the journal does.
fn counted_overhead(sb: &[u8]) -> Option<u64> {
    const HAS_JOURNAL: u64 = 0x4;
    const SPARSE_SUPER2: u64 = 0x200;
    const META_BG: u64 = 0x10;
    const IS_64BIT: u64 = 0x80;
    const SPARSE_SUPER: u64 = 0x1;
    const BIGALLOC: u64 = 0x200;
    let le16 = |at: usize| u64::from(u16::from_le_bytes([sb[at], sb[at + 1]]));
    let le32 = |at: usize| le16(at) | le16(at + 2) << 16;
    let (compatible, incompatible, read_only) = (le32(0x5C), le32(0x60), le32(0x64));
    let has_journal = compatible & HAS_JOURNAL != 0;
    // The journal's inode number, and whether its size is kept in the superblock.
    let journal_is_known = le32(0xE0) != 0 && sb[0xFD] == 1;
    let is_plain = compatible & SPARSE_SUPER2 == 0 && incompatible & META_BG == 0 && read_only & BIGALLOC == 0;
    if !is_plain || read_only & SPARSE_SUPER == 0 || (has_journal && !journal_is_known) {
        return None;
    }
    let block_size = 1024u64.checked_shl(le32(0x18) as u32)?;
    let is_64bit = incompatible & IS_64BIT != 0;
    let first = le32(0x14);
    let blocks = le32(0x4) | if is_64bit { le32(0x150) << 32 } else { 0 };
    let groups = blocks.checked_sub(first)?.div_ceil(le32(0x20).max(1));
    let descriptor = if is_64bit { le16(0xFE).max(32) } else { 32 };
    let per_block = (block_size / descriptor).max(1);
    let inode_table = le32(0x28).checked_mul(le16(0x58))?.div_ceil(block_size);
    // Groups 0 and 1, and all whose number is a power of 3, 5 or 7.
    let powers =
        |of: u64| std::iter::successors(Some(of), move |power| power.checked_mul(of)).take_while(move |p| *p < groups);
    let copies = groups.min(2) + [3, 5, 7].map(|of| powers(of).count() as u64).iter().sum::<u64>();
    let of_copy = 1 + groups.div_ceil(per_block) + le16(0xCE);
    let journal = if has_journal { (le32(0x148) << 32 | le32(0x14C)).div_ceil(block_size) } else { 0 };
    let tables = groups.checked_mul(inode_table + 2)?.checked_add(copies.checked_mul(of_copy)?)?;
    tables.checked_add(first)?.checked_add(journal).filter(|overhead| *overhead < blocks)
}

fn parse_xfs(head: &[u8]) -> Option<Xfs> {
    let sb = head.get(..512)?;
    let be32 = |at: usize| u64::from(u32::from_be_bytes([sb[at], sb[at + 1], sb[at + 2], sb[at + 3]]));
    if &sb[..4] != b"XFSB" {
        return None;
    }
    let log_is_internal = be32(48) != 0 || be32(52) != 0;
    let xfs = Xfs {
        block_size: be32(4),
        dblocks: be32(8) << 32 | be32(12),
        ag_blocks: be32(84),
        ag_count: be32(88),
        label: String::from_utf8_lossy(sb[108..120].split(|byte| *byte == 0).next().unwrap_or_default()).into_owned(),
        internal_log_blocks: if log_is_internal { be32(96) } else { 0 },
    };
    ((512..=65536).contains(&xfs.block_size) && xfs.ag_blocks > 0).then_some(xfs)
}

impl Superblock {
    /// How much smaller than its device the file system stays at most because the rest is too small to use.
    pub fn slack(&self) -> Bytes {
        match self {
            Superblock::Ext(ext) => ext.slack(),
            // XFS_MIN_AG_BLOCKS: a last allocation group of fewer than 64 blocks is not made.
            Superblock::Xfs(xfs) => Bytes(64 * xfs.block_size),
            Superblock::Btrfs(btrfs) => Bytes(btrfs.sector_size),
        }
    }
}

impl Ext {
    /// What `statvfs` would say if it were mounted (`ext4_statfs`); `None` if the superblock does not have the numbers.
    pub fn usage_at_rest(&self) -> Option<Usage> {
        let rest = &self.at_rest;
        if rest.overhead == 0 || rest.needs_recovery {
            return None;
        }
        // Beside what is root's the kernel keeps a fiftieth, at most 4096 blocks, for what it has promised.
        let kept = rest.reserved.saturating_add((self.blocks / 50).min(4096));
        let bytes = |blocks: u64| Bytes(blocks.saturating_mul(self.block_size));
        Some(Usage {
            size: bytes(self.blocks.saturating_sub(rest.overhead)),
            free: bytes(rest.free),
            avail: bytes(rest.free.saturating_sub(kept)),
            files: rest.inodes,
            files_free: rest.free_inodes,
            read_only: false,
        })
    }

    /// All blocks, metadata included.
    pub fn size(&self) -> Bytes {
        Bytes(self.blocks * self.block_size)
    }

    /// How many blocks it can have at most, and why; `None`: more than a volume can be.
    ///
    /// Without `64bit` a block number has 32 bits. With `resize_inode` there is room for so many group descriptors; newer
    /// kernels can go on behind that, in a way (`meta_bg`) in which errors were found until lately.
    pub fn most_blocks(&self) -> Option<(u64, &'static str)> {
        let numbers =
            (!self.has_64bit).then_some((u64::from(u32::MAX), "because it was made without the feature 64bit"));
        let per_block = (self.block_size / self.desc_size.max(32)).max(1);
        let groups = self.blocks.div_ceil(self.blocks_per_group);
        let room = groups.div_ceil(per_block).saturating_add(self.reserved_gdt_blocks);
        let blocks = room.saturating_mul(per_block).saturating_mul(self.blocks_per_group);
        let why = "because no more blocks are reserved for its group descriptors";
        let descriptors = self.has_resize_inode.then_some((blocks, why));
        numbers.into_iter().chain(descriptors).min_by_key(|(blocks, _)| *blocks)
    }

    /// e2fsprogs (`adjust_fs_info`) leaves out a last block group that could hold no more than its own metadata and 50
    /// blocks of data.
    fn slack(&self) -> Bytes {
        let inode_table = self.inodes_per_group.saturating_mul(self.inode_size).div_ceil(self.block_size);
        let groups = self.blocks.div_ceil(self.blocks_per_group);
        let descriptors = groups.saturating_mul(self.desc_size).div_ceil(self.block_size);
        let overhead = inode_table.saturating_add(descriptors).saturating_add(self.reserved_gdt_blocks + 3);
        Bytes(overhead.saturating_add(50).min(self.blocks_per_group) * self.block_size)
    }
}

/// The most an allocation group can be (`XFS_AG_MAX_BYTES`).
const LARGEST_GROUP: u64 = 1 << 40;

/// As many copies as one write of the kernel holds (`xfs_update_secondary_sbs`), which it does in order.
const COPIES: u64 = 16;

impl Xfs {
    /// Where the copies of the superblock are, at the beginning of each allocation group but the first; of many some, the last
    /// among them.
    pub fn copies(&self) -> Vec<u64> {
        let (last, step) = (self.ag_count.saturating_sub(1), self.ag_count.div_ceil(COPIES).max(1));
        let groups = (0..COPIES).map_while(|n| last.checked_sub(n * step)).filter(|group| *group > 0);
        groups.map(|group| group.saturating_mul(self.ag_blocks).saturating_mul(self.block_size)).collect()
    }

    /// As large as this superblock says.
    pub fn size(&self) -> Bytes {
        Bytes(self.dblocks.saturating_mul(self.block_size))
    }

    /// About how large it was made: mkfs.xfs makes four allocation groups, and their size stays. `None` where they are as
    /// large as can be, so that their number says nothing.
    pub fn first_size(&self) -> Option<Bytes> {
        let group = self.ag_blocks.saturating_mul(self.block_size);
        // The largest is a few blocks short of the power of two.
        (group < LARGEST_GROUP - LARGEST_GROUP / 1024).then_some(Bytes(group.saturating_mul(4)))
    }

    /// The size of the internal log, which `statvfs` does not count.
    pub fn log_bytes(&self) -> Bytes {
        Bytes(self.internal_log_blocks * self.block_size)
    }
}

/// A superblock as it would stand on disk, for the simulated host: [`parse`] reads it back.
pub fn render(superblock: &Superblock) -> Vec<u8> {
    let mut head = vec![0; LENGTH];
    match superblock {
        Superblock::Ext(ext) => {
            let mut put = |at: usize, bytes: &[u8]| head[1024 + at..1024 + at + bytes.len()].copy_from_slice(bytes);
            put(0x4, &(ext.blocks as u32).to_le_bytes());
            put(0x18, &(ext.block_size / 1024).trailing_zeros().to_le_bytes());
            put(0x20, &(ext.blocks_per_group as u32).to_le_bytes());
            put(0x28, &(ext.inodes_per_group as u32).to_le_bytes());
            put(0x38, &0xEF53u16.to_le_bytes());
            put(0x58, &(ext.inode_size as u16).to_le_bytes());
            put(0x5C, &(if ext.has_resize_inode { 0x10u32 } else { 0 }).to_le_bytes());
            put(0x60, &(if ext.has_64bit { 0x80u32 } else { 0 }).to_le_bytes());
            put(0xCE, &(ext.reserved_gdt_blocks as u16).to_le_bytes());
            put(0xFE, &(ext.desc_size as u16).to_le_bytes());
            put(0x150, &((ext.blocks >> 32) as u32).to_le_bytes());
            let rest = &ext.at_rest;
            put(0x1C, &(ext.block_size / 1024).trailing_zeros().to_le_bytes());
            put(0x3A, &(u16::from(rest.clean)).to_le_bytes());
            put(
                0x60,
                &(if ext.has_64bit { 0x80u32 } else { 0 } | if rest.needs_recovery { 4 } else { 0 }).to_le_bytes(),
            );
            put(0x2C, &2u32.to_le_bytes());
            put(0x40, &(1 + u32::from(rest.checked) + u32::from(rest.checked_since)).to_le_bytes());
            put(0x194, &(rest.errors as u32).to_le_bytes());
            for (low, high, value) in [(0xC, 0x158, rest.free), (0x8, 0x154, rest.reserved)] {
                put(low, &(value as u32).to_le_bytes());
                put(high, &((value >> 32) as u32).to_le_bytes());
            }
            put(0x248, &(rest.overhead as u32).to_le_bytes());
            put(0x0, &(rest.inodes as u32).to_le_bytes());
            put(0x10, &(rest.free_inodes as u32).to_le_bytes());
        }
        Superblock::Btrfs(btrfs) => {
            head.resize(LONG, 0);
            let mut put = |at: usize, bytes: &[u8]| head[BTRFS + at..BTRFS + at + bytes.len()].copy_from_slice(bytes);
            put(0x40, b"_BHRfS_M");
            put(0x70, &btrfs.total_bytes.to_le_bytes());
            put(0x88, &btrfs.num_devices.to_le_bytes());
            put(0x90, &btrfs.sector_size.to_le_bytes());
            put(0xC9, &btrfs.device_id.to_le_bytes());
        }
        Superblock::Xfs(xfs) => {
            let mut put = |at: usize, value: u64| head[at..at + 4].copy_from_slice(&(value as u32).to_be_bytes());
            put(4, xfs.block_size);
            put(8, xfs.dblocks >> 32);
            put(12, xfs.dblocks & 0xFFFF_FFFF);
            put(52, u64::from(xfs.internal_log_blocks > 0));
            put(84, xfs.ag_blocks);
            put(88, xfs.ag_count);
            put(96, xfs.internal_log_blocks);
            let label = &xfs.label.as_bytes()[..xfs.label.len().min(12)];
            head[108..108 + label.len()].copy_from_slice(label);
            head[..4].copy_from_slice(b"XFSB");
        }
    }
    head
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_rendered_is_read_back() {
        let ext = Superblock::Ext(Ext {
            block_size: 4096,
            blocks: 5 << 32,
            blocks_per_group: 32768,
            inodes_per_group: 8192,
            inode_size: 256,
            reserved_gdt_blocks: 1024,
            desc_size: 64,
            has_64bit: true,
            has_resize_inode: true,
            at_rest: ExtAtRest {
                clean: true,
                needs_recovery: false,
                checked: true,
                checked_since: true,
                errors: 3,
                free: 2 << 32,
                reserved: 77,
                overhead: 1234,
                inodes: 80000,
                free_inodes: 70000,
            },
        });
        let btrfs = Superblock::Btrfs(Btrfs { total_bytes: 5 << 40, num_devices: 2, sector_size: 4096, device_id: 7 });
        let xfs = Superblock::Xfs(xfs(4));
        for superblock in [ext, xfs, btrfs] {
            assert_eq!(parse(&render(&superblock)), Some(superblock));
        }
    }

    fn xfs(ag_count: u64) -> Xfs {
        let label = "twelve bytes".to_owned();
        Xfs { block_size: 4096, dblocks: 5 << 32 | 7, ag_blocks: 65536, ag_count, label, internal_log_blocks: 16384 }
    }

    #[test]
    fn the_copies_of_an_xfs_superblock_begin_its_allocation_groups() {
        let groups = |count| xfs(count).copies().iter().map(|at| at / 4096 / 65536).collect::<Vec<_>>();
        assert_eq!(groups(4), [3, 2, 1]);
        assert_eq!(groups(1), [] as [u64; 0]);
        assert_eq!(groups(0), [] as [u64; 0]);
        assert_eq!((groups(1000).len(), groups(1000)[0], groups(1000)[15]), (16, 999, 54));
        assert_eq!(groups(u64::from(u32::MAX)).len(), 16);
    }

    #[test]
    fn zeros_and_short_reads_are_no_superblock() {
        assert_eq!(parse(&[0; LENGTH]), None);
        assert_eq!(parse(b"XFSB"), None);
        assert_eq!(parse(&[]), None);
    }

    #[test]
    fn the_most_blocks_an_ext_can_have() {
        let ext = Ext {
            block_size: 4096,
            blocks: 1 << 20,
            blocks_per_group: 32768,
            inodes_per_group: 8192,
            inode_size: 256,
            reserved_gdt_blocks: 0,
            desc_size: 32,
            has_64bit: false,
            has_resize_inode: false,
            at_rest: ExtAtRest::default(),
        };
        // 16 TiB at 4 KiB, 4 TiB at 1 KiB.
        assert_eq!(ext.most_blocks().map(|(blocks, _)| blocks), Some(u64::from(u32::MAX)));
        // 32 groups need a quarter of a block of descriptors, one block holds 128 of them, and three more are reserved.
        let reserved = Ext { has_resize_inode: true, reserved_gdt_blocks: 3, ..ext.clone() };
        assert_eq!(reserved.most_blocks().map(|(blocks, _)| blocks), Some(4 * 128 * 32768));
        assert_eq!(
            Ext { has_64bit: true, desc_size: 64, ..reserved }.most_blocks().map(|(blocks, _)| blocks),
            Some(4 * 64 * 32768)
        );
        assert_eq!(Ext { has_64bit: true, ..ext }.most_blocks(), None);
    }

    /// As `mke2fs -t ext4` makes one of 5 GiB, which itself writes 42072 down; VM tests compare more of them.
    #[test]
    fn the_overhead_is_counted_where_nobody_wrote_it_down() {
        let with = |changes: &[(usize, u32)]| {
            let mut head = vec![0; LENGTH];
            let fields = [
                (0x4, 1_310_720),
                (0x18, 2),
                (0x1C, 2),
                (0x20, 32768),
                (0x28, 8192),
                (0x38, 0xEF53 | 1 << 16),
                (0x58, 256),
                (0x5C, 60),
                (0x60, 706),
                (0x64, 1131),
                (0xCC, 639 << 16),
                (0xE0, 8),
                (0xFC, 1 << 8 | 64 << 16),
                (0x14C, 64 << 20),
            ];
            for (at, value) in fields.iter().chain(changes) {
                head[1024 + at..1024 + at + 4].copy_from_slice(&value.to_le_bytes());
            }
            match parse(&head) {
                Some(Superblock::Ext(ext)) => ext.at_rest.overhead,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(with(&[]), 42072);
        assert_eq!(with(&[(0x248, 1234)]), 1234, "what is written counts");
        assert_eq!(with(&[(0x5C, 60 & !4), (0xE0, 0), (0x14C, 0)]), 42072 - (64 << 20 >> 12), "without a journal");
        // Backups elsewhere, descriptors elsewhere, clusters, an external journal, and sizes that cannot be.
        for odd in [
            (0x5C, 60 | 0x200),
            (0x60, 706 | 0x10),
            (0x64, 1131 | 0x200),
            (0xE0, 0),
            (0x14C, u32::MAX),
            (0x28, u32::MAX),
        ] {
            assert_eq!(with(&[odd, (0x148, u32::from(odd.0 == 0x14C))]), 0, "{odd:?}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..4096), kind in 0..3) {
            let mut bytes = bytes;
            if kind == 1 && bytes.len() > 4 { bytes[..4].copy_from_slice(b"XFSB"); }
            if kind == 2 && bytes.len() > 1100 { bytes[1024 + 0x38..1024 + 0x3A].copy_from_slice(&[0x53, 0xEF]); }
            if let Some(superblock) = parse(&bytes) { superblock.slack(); }
        }
    }
}
