//! The table of mounts: no line is lost without being counted, and what was read leads back to a line that says the
//! same.

use jiff::Timestamp;
use lvm_autoscaler::inventory::Inventory;
use lvm_autoscaler::inventory::mounts::{Mount, escape, parse};

pub fn run(data: &[u8]) {
    let (mounts, odd) = parse(data);
    assert_eq!(mounts.len() + odd, data.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count());
    for mount in &mounts {
        assert!(mount.mount_point.as_str().starts_with('/'));
        // What is not UTF-8 was replaced in all but the mount point, of which the bytes are kept.
        let (again, odd) = parse(line(mount).as_bytes());
        let shown = |mount: &Mount| (mount.mount_point.to_string(), mount.source.clone(), mount.root.clone());
        assert_eq!((again.iter().map(shown).collect::<Vec<_>>(), odd), (vec![shown(mount)], 0));
        if mount.mount_point.as_path().to_str().is_some() {
            assert_eq!(again, std::slice::from_ref(mount));
        }
    }
    let mut inventory = Inventory::empty(Timestamp::UNIX_EPOCH);
    inventory.mounts = mounts;
    for (index, mount) in inventory.mounts.iter().enumerate() {
        // What is mounted over a path hides what was there.
        let hidden = inventory.mounts[index + 1..].iter().any(|later| later.mount_point == mount.mount_point);
        let seen = inventory.mount_at(&mount.mount_point).expect("something is mounted there");
        assert_eq!(std::ptr::eq(seen, mount), !hidden);
    }
}

fn line(mount: &Mount) -> String {
    let Mount { device: _, number, root, mount_point, fs_type, source, read_only, options: own } = mount;
    let options = if *read_only { "ro,relatime" } else { "rw" };
    let [root, point, fs_type, source] = [root.as_str(), mount_point.as_str(), fs_type, source].map(escape);
    format!("21 1 {number} {root} {point} {options} shared:1 master:2 - {fs_type} {source} {own}\n")
}
