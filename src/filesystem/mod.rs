//! The kinds of file system that can be grown: a file for each, and a row for each in the table below.
//!
//! The file has what is known of the kind: its names, its programs, the commands that grow and check it, the few fields
//! of its superblock that say how large it is, and what bounds it. Everybody else asks [`Kind`] and [`Facts`], and
//! matches on no kind.
//!
//! Sources: the kernel's `Documentation/filesystems/ext4/super.rst`, the XFS Algorithms & Data Structures,
//! "Superblocks", and the btrfs on-disk format; for what the kernel refuses, its source, function by function.

mod btrfs;
mod ext;
mod kind;
mod usage;
mod xfs;

use serde::{Deserialize, Serialize};

pub use btrfs::{Btrfs, LONG};
pub use ext::{Ext, ExtAtRest};
pub use kind::{AtRest, Capability, Check, Copies, Facts, Kind, LENGTH, Most, Operations, Place, Unfit, UnfitOption};
pub use usage::Usage;
pub use xfs::Xfs;

/// One row per kind: its documentation, its name in journal, metrics and sentences, and its file.
macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident $name:literal $file:ident,)*) => {
        /// The file systems that can be grown.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum FsKind {
            $($(#[$doc])* #[serde(rename = $name)] $kind,)*
        }

        /// What a superblock says.
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(tag = "kind", rename_all = "lowercase")]
        pub enum Superblock {
            $($(#[$doc])* $kind($file::$kind),)*
        }

        impl FsKind {
            /// All of them.
            pub const ALL: &[FsKind] = &[$(FsKind::$kind),*];

            /// The name of the kind in journal, metrics and sentences.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(FsKind::$kind => $name,)*
                }
            }

            /// What is known of the kind.
            pub fn about(self) -> &'static Kind {
                match self {
                    $(FsKind::$kind => &$file::KIND,)*
                }
            }
        }

        impl Superblock {
            /// Of which kind it is.
            pub fn kind(&self) -> FsKind {
                match self {
                    $(Superblock::$kind(_) => FsKind::$kind,)*
                }
            }

            /// What it says, in the words that all kinds share.
            pub fn facts(&self) -> &dyn Facts {
                match self {
                    $(Superblock::$kind(facts) => facts,)*
                }
            }
        }

        /// Reads the first bytes of a device; `None` if they are no superblock known here, or one with impossible
        /// numbers.
        pub fn parse(head: &[u8]) -> Option<Superblock> {
            None$(.or_else(|| $file::parse(head).map(Superblock::$kind)))*
        }
    };
}

kinds! {
    /// XFS, grown only mounted.
    Xfs "xfs" xfs,
    /// Ext2, ext3 and ext4, which are one format and one driver, grown mounted or not.
    Ext "ext4" ext,
    /// Btrfs, grown only mounted.
    Btrfs "btrfs" btrfs,
}

impl FsKind {
    /// The kind that the kernel or blkid calls by that name, if it is one that can be grown.
    pub fn from_name(name: &str) -> Option<FsKind> {
        FsKind::ALL.iter().copied().find(|kind| kind.about().names.contains(&name))
    }

    /// All names, for a sentence.
    pub fn names() -> String {
        let mut names: Vec<&str> = FsKind::ALL.iter().flat_map(|kind| kind.about().names).copied().collect();
        names.sort_unstable();
        match names.split_last() {
            Some((last, others)) => format!("{} and {last}", others.join(", ")),
            None => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Bytes;
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
            has_meta_bg: true,
            has_sparse_super2: true,
            cluster_size: 65536,
            has_error_flag: false,
            at_rest: ExtAtRest {
                clean: true,
                needs_recovery: false,
                checked: true,
                checked_since: true,
                errors: 3,
                free: 2 << 32,
                reserved: 77,
                overhead: 1232,
                inodes: 80000,
                free_inodes: 70000,
            },
        });
        let fsid = "0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9".to_owned();
        let btrfs =
            Btrfs { total_bytes: 5 << 40, num_devices: 2, sector_size: 4096, device_id: 7, fsid, is_seed: true };
        let btrfs = Superblock::Btrfs(btrfs);
        let xfs = Superblock::Xfs(xfs(4));
        for superblock in [ext, xfs, btrfs] {
            assert_eq!(parse(&superblock.facts().render()), Some(superblock));
        }
    }

    fn xfs(ag_count: u64) -> Xfs {
        let label = "twelve bytes".to_owned();
        let (sector_size, dblocks, ag_blocks, internal_log_blocks) = (512, 5 << 32 | 7, 65536, 16384);
        Xfs { block_size: 4096, sector_size, dblocks, ag_blocks, ag_count, label, internal_log_blocks }
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
            has_meta_bg: false,
            has_sparse_super2: false,
            cluster_size: 4096,
            has_error_flag: false,
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
        // 2^32 inodes, 8192 in a group.
        let many = Ext { has_64bit: true, ..ext };
        assert_eq!(many.most_blocks().map(|(blocks, _)| blocks), Some(524_287 * 32768));
        assert_eq!(Ext { inodes_per_group: 0, ..many }.most_blocks(), None);
    }

    #[test]
    fn what_keeps_a_mounted_one_from_growing() {
        let ext = Ext {
            block_size: 1024,
            blocks: 1 << 20,
            blocks_per_group: 8192,
            inodes_per_group: 2048,
            inode_size: 256,
            reserved_gdt_blocks: 256,
            desc_size: 32,
            has_64bit: false,
            has_resize_inode: true,
            has_meta_bg: false,
            has_sparse_super2: false,
            cluster_size: 1024,
            has_error_flag: false,
            at_rest: ExtAtRest::default(),
        };
        let unfit = |ext: Ext| Superblock::Ext(ext).facts().unfit();
        assert_eq!((unfit(ext.clone()), Superblock::Ext(ext.clone()).facts().bears()), (None, Bytes(1024)));
        assert_eq!(unfit(Ext { has_error_flag: true, ..ext.clone() }), Some(ext::ERROR_FLAG));
        assert_eq!(unfit(Ext { has_meta_bg: true, ..ext.clone() }), Some(ext::CONTRADICTION));
        assert_eq!(unfit(Ext { has_resize_inode: false, ..ext.clone() }), Some(ext::CONTRADICTION));
        assert_eq!(unfit(Ext { has_resize_inode: false, reserved_gdt_blocks: 0, ..ext.clone() }), None);
        assert_eq!(unfit(Ext { has_sparse_super2: true, ..ext }), Some(ext::SPARSE_SUPER2));
        assert_eq!((xfs(4).unfit(), xfs(4).bears()), (None, Bytes(512)));
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
            if let Some(superblock) = parse(&bytes) { superblock.facts().slack(); }
        }
    }
}
