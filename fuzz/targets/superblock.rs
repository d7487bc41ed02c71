//! The first bytes of a volume: what is taken for a superblock can be calculated with, and is the same when it was
//! written anew. Those of btrfs stand 64 KiB further on; in an input the word `btrfs` stands for the bytes before them.

use lvm_autoscaler::filesystem::{Ext, ExtAtRest, Superblock, parse};
use lvm_autoscaler::name::MountPoint;
use lvm_autoscaler::units::Bytes;

pub fn run(data: &[u8]) {
    let found = match data.strip_prefix(b"btrfs") {
        Some(behind) => parse(&[&[0; 64 << 10], behind].concat()),
        None => parse(data),
    };
    let Some(superblock) = found else { return };
    let facts = superblock.facts();
    let again = parse(&facts.render()).expect("what was rendered is a superblock");
    assert_eq!(shape(again), shape(superblock.clone()));
    let root: MountPoint = "/".parse().expect("a path");
    for size in [0, 1, 1 << 40, u64::MAX].map(Bytes) {
        facts.size(Some(size));
        facts.slow_at(size, &root);
        facts.bytes_for_inodes(size.0);
        facts.hidden_size(size, Bytes(1 << 40));
    }
    let _ = (facts.slack(), facts.unfit(), facts.unsupported(), facts.most(), facts.copies(), facts.says());
    assert!(facts.bears().0 > 0 || matches!(superblock, Superblock::Xfs(_)));
    if let Some(usage) = facts.at_rest().and_then(|at_rest| at_rest.usage) {
        assert!(facts.size(None).is_some_and(|size| usage.size <= size) && usage.avail <= usage.free);
    }
}

/// What is not only of use while it is mounted nowhere: times and clusters are rendered in one way of several.
fn shape(superblock: Superblock) -> Superblock {
    match superblock {
        Superblock::Ext(ext) => Superblock::Ext(Ext { at_rest: ExtAtRest::default(), ..ext }),
        other => other,
    }
}
