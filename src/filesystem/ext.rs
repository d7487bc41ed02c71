//! Ext2, ext3 and ext4. The superblock: the kernel's `Documentation/filesystems/ext4/super.rst`.

use serde::{Deserialize, Serialize};

use super::kind::{AtRest, Capability, Check, Facts, Kind, LENGTH, Most, Unfit, UnfitOption};
use super::usage::Usage;
use crate::command::{Command, Tool};
use crate::units::Bytes;

pub(super) const KIND: Kind = Kind {
    names: &["ext2", "ext3", "ext4"],
    grower: Tool::Resize2fs,
    // Without a size it grows to the end of the volume, and it shrinks none that is mounted.
    grow: |place| Command::mutating(Tool::Resize2fs, [place.device]),
    is_given_device: true,
    check: Some(Check {
        tool: Tool::E2fsck,
        command: |device| Command::mutating(Tool::E2fsck, ["-f", "-p", device]),
        by_hand: |device| Command::mutating(Tool::E2fsck, ["-f", device]),
    }),
    needs: Capability::CapSysResource,
    has_fixed_inodes: true,
    error_counter: Some("/sys/fs/ext4/*/errors_count"),
    unfit_option: Some(UnfitOption {
        prefix: "sb=",
        why: "it was mounted from a backup superblock (option sb=): unmount it, run e2fsck, and mount it without sb=",
    }),
    operations: None,
    has_own_numbers: false,
    copies: None,
    after_replay: None,
};

/// `ext4_resize_begin` refuses with EPERM.
pub(super) const ERROR_FLAG: Unfit = Unfit::NeedsCheck("its superblock has an error flagged");
/// The kernel takes it for a new error: blocks are reserved for descriptors and there is no `resize_inode`, or there
/// are both `resize_inode` and `meta_bg`.
pub(super) const CONTRADICTION: Unfit =
    Unfit::NeedsCheck("its features contradict one another (resize_inode, meta_bg)");
/// EOPNOTSUPP.
pub(super) const SPARSE_SUPER2: Unfit = Unfit::OnlyUnmounted(
    "the kernel grows none with the feature sparse_super2 while it is mounted: unmount it, and set offline: allow",
);

/// Of an ext superblock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
    pub has_meta_bg: bool,
    pub has_sparse_super2: bool,
    /// Of `bigalloc` the unit of allocation, else a block.
    pub cluster_size: u64,
    /// `s_state`: the kernel or `e2fsck` found an error that was not mended, whether any was counted or not.
    pub has_error_flag: bool,
    /// While it is mounted these are not current.
    pub at_rest: ExtAtRest,
}

/// What an ext superblock says of a file system that is mounted nowhere.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
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
    /// Blocks that hold the file system's own tables, counted here where nobody wrote it down, as after an offline
    /// `resize2fs`; 0 where that is not possible.
    pub overhead: u64,
    /// All of them.
    pub inodes: u64,
    /// Free ones.
    pub free_inodes: u64,
}

pub(super) fn parse(head: &[u8]) -> Option<Ext> {
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
        has_meta_bg: le32(0x60) & 0x10 != 0,
        has_sparse_super2: le32(0x5C) & 0x200 != 0,
        cluster_size: clusters(1024 << log_block_size),
        has_error_flag: le16(0x3A) & 0b10 != 0,
        at_rest: ExtAtRest {
            clean: le16(0x3A) & 0b11 == 1,
            needs_recovery: le32(0x60) & 0x4 != 0,
            checked: le16(0x3A) & 0b11 == 1 && time(0x40, 0x277) >= time(0x2C, 0x275),
            checked_since: le16(0x3A) & 0b11 == 1 && time(0x40, 0x277) > time(0x2C, 0x275),
            errors: le32(0x194),
            free: clusters(le32(0xC) | if has_64bit { le32(0x158) << 32 } else { 0 }),
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

/// What the kernel counts when it mounts a file system whose superblock does not say (`ext4_calculate_overhead`): in
/// each group two bitmaps and the inode table, and in those with a copy of the superblock that, the descriptors and
/// what is reserved for more of them; and the journal. `None` with features under which other groups have copies,
/// descriptors lie elsewhere or the journal does.
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

impl Ext {
    /// What `ext4_statfs` would say.
    fn usage_at_rest(&self) -> Option<Usage> {
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

    fn contradicts_itself(&self) -> bool {
        if self.has_resize_inode { self.has_meta_bg } else { self.reserved_gdt_blocks > 0 }
    }

    /// All blocks, metadata included.
    fn all_blocks(&self) -> Bytes {
        Bytes(self.blocks * self.block_size)
    }

    /// How many blocks it can have at most, and why; `None`: more than a volume can be.
    ///
    /// Without `64bit` a block number has 32 bits. With `resize_inode` there is room for so many group descriptors;
    /// newer kernels can go on behind that, in a way (`meta_bg`) in which errors were found until lately.
    pub(super) fn most_blocks(&self) -> Option<(u64, &'static str)> {
        let numbers =
            (!self.has_64bit).then_some((u64::from(u32::MAX), "because it was made without the feature 64bit"));
        let per_block = (self.block_size / self.desc_size.max(32)).max(1);
        let groups = self.blocks.div_ceil(self.blocks_per_group);
        let room = groups.div_ceil(per_block).saturating_add(self.reserved_gdt_blocks);
        let blocks = room.saturating_mul(per_block).saturating_mul(self.blocks_per_group);
        let why = "because no more blocks are reserved for its group descriptors";
        let descriptors = self.has_resize_inode.then_some((blocks, why));
        // `ext4_resize_fs`: an inode number has 32 bits.
        let groups = u64::from(u32::MAX).checked_div(self.inodes_per_group).map(|groups| {
            (groups.saturating_mul(self.blocks_per_group), "because more block groups would have too many inodes")
        });
        numbers.into_iter().chain(descriptors).chain(groups).min_by_key(|(blocks, _)| *blocks)
    }
}

impl Facts for Ext {
    /// Ext4 keeps its superblock in the block device's page cache, so the bytes read there are current.
    fn size(&self, _: Option<Bytes>) -> Option<Bytes> {
        Some(self.all_blocks())
    }

    /// e2fsprogs (`adjust_fs_info`) leaves out a last block group that could hold no more than its own metadata and 50
    /// blocks of data.
    fn slack(&self) -> Bytes {
        let inode_table = self.inodes_per_group.saturating_mul(self.inode_size).div_ceil(self.block_size);
        let groups = self.blocks.div_ceil(self.blocks_per_group);
        let descriptors = groups.saturating_mul(self.desc_size).div_ceil(self.block_size);
        let overhead = inode_table.saturating_add(descriptors).saturating_add(self.reserved_gdt_blocks + 3);
        let group = Bytes(overhead.saturating_add(50).min(self.blocks_per_group) * self.block_size);
        // What is less than a cluster is left out as well.
        group.max(Bytes(self.cluster_size))
    }

    /// With larger ones it fails at once.
    fn bears(&self) -> Bytes {
        Bytes(self.block_size)
    }

    fn unfit(&self) -> Option<Unfit> {
        match self {
            _ if self.has_error_flag => Some(ERROR_FLAG),
            _ if self.contradicts_itself() => Some(CONTRADICTION),
            _ if self.has_sparse_super2 => Some(SPARSE_SUPER2),
            _ => None,
        }
    }

    fn most(&self) -> Option<Most> {
        let (blocks, why) = self.most_blocks()?;
        let advice = "move the data to a file system made with -O 64bit and a larger -E resize=";
        let size = Bytes(blocks.saturating_mul(self.block_size));
        Some(Most { size, why: why.to_owned(), advice, is_soft: false })
    }

    /// It gets its inodes with whole block groups.
    fn bytes_for_inodes(&self, inodes: u64) -> Option<Bytes> {
        let groups = inodes.div_ceil(self.inodes_per_group.max(1));
        Some(Bytes(groups.saturating_mul(self.blocks_per_group).saturating_mul(self.block_size)))
    }

    /// A project quota (`ext4_statfs_project`). A quarter: kernels before 5.18 do not write the overhead down that
    /// grows with it, mostly tables of inodes.
    fn hidden_size(&self, shown: Bytes, _: Bytes) -> Option<Bytes> {
        let overhead = Some(self.at_rest.overhead).filter(|overhead| *overhead > 0)?;
        let own = Bytes(self.blocks.saturating_sub(overhead).saturating_mul(self.block_size));
        (shown.0 < own.0 / 4 * 3).then_some(own)
    }

    fn at_rest(&self) -> Option<AtRest> {
        let ExtAtRest { clean, needs_recovery, checked, checked_since, errors, .. } = self.at_rest;
        let is_sound = clean && !needs_recovery && errors == 0;
        Some(AtRest { usage: self.usage_at_rest(), is_sound, errors, checked, checked_since })
    }

    fn render(&self) -> Vec<u8> {
        let mut head = vec![0; LENGTH];
        let mut put = |at: usize, bytes: &[u8]| head[1024 + at..1024 + at + bytes.len()].copy_from_slice(bytes);
        put(0x4, &(self.blocks as u32).to_le_bytes());
        put(0x18, &(self.block_size / 1024).trailing_zeros().to_le_bytes());
        put(0x20, &(self.blocks_per_group as u32).to_le_bytes());
        put(0x28, &(self.inodes_per_group as u32).to_le_bytes());
        put(0x38, &0xEF53u16.to_le_bytes());
        put(0x58, &(self.inode_size as u16).to_le_bytes());
        let compatible =
            if self.has_resize_inode { 0x10u32 } else { 0 } | if self.has_sparse_super2 { 0x200 } else { 0 };
        put(0x5C, &compatible.to_le_bytes());
        put(0xCE, &(self.reserved_gdt_blocks as u16).to_le_bytes());
        put(0xFE, &(self.desc_size as u16).to_le_bytes());
        put(0x150, &((self.blocks >> 32) as u32).to_le_bytes());
        let (rest, ratio) = (&self.at_rest, self.cluster_size / self.block_size);
        put(0x1C, &(self.cluster_size / 1024).trailing_zeros().to_le_bytes());
        put(0x3A, &(u16::from(rest.clean) | u16::from(self.has_error_flag) << 1).to_le_bytes());
        let incompatible = if self.has_64bit { 0x80u32 } else { 0 }
            | if rest.needs_recovery { 4 } else { 0 }
            | if self.has_meta_bg { 0x10 } else { 0 };
        put(0x60, &incompatible.to_le_bytes());
        put(0x2C, &2u32.to_le_bytes());
        put(0x40, &(1 + u32::from(rest.checked) + u32::from(rest.checked_since)).to_le_bytes());
        put(0x194, &(rest.errors as u32).to_le_bytes());
        for (low, high, value) in [(0xC, 0x158, rest.free / ratio), (0x8, 0x154, rest.reserved)] {
            put(low, &(value as u32).to_le_bytes());
            put(high, &((value >> 32) as u32).to_le_bytes());
        }
        put(0x248, &((rest.overhead / ratio) as u32).to_le_bytes());
        put(0x0, &(rest.inodes as u32).to_le_bytes());
        put(0x10, &(rest.free_inodes as u32).to_le_bytes());
        head
    }
}
