//! The first bytes of a volume: what is taken for a superblock can be calculated with, and is the same when it was written
//! anew. Those of btrfs stand 64 KiB further on; in an input the word `btrfs` stands for the bytes before them.

use lvm_autoscaler::inventory::Superblock;
use lvm_autoscaler::inventory::superblock::{Ext, ExtAtRest, parse, render};

pub fn run(data: &[u8]) {
    let found = match data.strip_prefix(b"btrfs") {
        Some(behind) => parse(&[&[0; 64 << 10], behind].concat()),
        None => parse(data),
    };
    let Some(superblock) = found else { return };
    let again = parse(&render(&superblock)).expect("what was rendered is a superblock");
    assert_eq!(shape(again), shape(superblock.clone()));
    superblock.slack();
    match superblock {
        Superblock::Ext(ext) => {
            assert!(ext.size().0 >= ext.block_size);
            ext.most_blocks();
            if let Some(usage) = ext.usage_at_rest() {
                assert!(usage.size <= ext.size() && usage.avail <= usage.free);
            }
        }
        Superblock::Xfs(xfs) => {
            xfs.first_size();
            xfs.log_bytes();
        }
        Superblock::Btrfs(btrfs) => assert!(btrfs.num_devices > 0 && btrfs.sector_size > 0),
    }
}

/// What is not only of use while it is mounted nowhere: times and clusters are rendered in one way of several.
fn shape(superblock: Superblock) -> Superblock {
    match superblock {
        Superblock::Ext(ext) => Superblock::Ext(Ext { at_rest: ExtAtRest::default(), ..ext }),
        other => other,
    }
}
