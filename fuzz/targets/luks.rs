//! The first bytes of a LUKS volume, and what `dmsetup table` says: whatever they are, what is said about them is
//! plain, and what is written anew is read as the same. The JSON of LUKS2 is 4 KiB further on; in an input `{` stands
//! for all before it.

use lvm_autoscaler::inventory::luks::{parse, render};
use lvm_autoscaler::inventory::mapping::parse_tables;
use lvm_autoscaler::units::Bytes;

pub fn run(data: &[u8]) {
    for table in parse_tables(&String::from_utf8_lossy(data)).values() {
        assert!(table.segments > 0 && table.offset.0.is_multiple_of(512));
    }
    let head = match data.first() {
        Some(b'{') => {
            let mut head = render(2, "0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9", Bytes(0));
            let json = &data[..data.len().min(head.len() - 4096)];
            head[4096..].fill(0);
            head[4096..4096 + json.len()].copy_from_slice(json);
            head
        }
        _ => data.to_vec(),
    };
    let Some(header) = parse(&head) else { return };
    super::assert_plain(&header.uuid);
    header.objection.iter().for_each(|why| super::assert_plain(why));
    if let (None, Some(offset)) = (&header.objection, header.offset) {
        assert_eq!(parse(&render(header.version, &header.uuid, offset)), Some(header));
    }
}
