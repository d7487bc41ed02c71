//! The table of mounts: no line is lost without being counted, and what was read leads back to a line that says the same.

use jiff::Timestamp;
use lvm_autoscaler::inventory::Inventory;
use lvm_autoscaler::inventory::mounts::{Mount, escape, parse};

pub fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (mounts, odd) = parse(&text);
    assert_eq!(mounts.len() + odd, text.lines().filter(|line| !line.is_empty()).count());
    for mount in &mounts {
        assert!(mount.mount_point.as_str().starts_with('/'));
        assert_eq!(parse(&line(mount)), (vec![mount.clone()], 0));
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
    let Mount { device: _, number, root, mount_point, fs_type, source, read_only } = mount;
    let options = if *read_only { "ro,relatime" } else { "rw" };
    let [root, point, fs_type, source] = [root.as_str(), mount_point.as_str(), fs_type, source].map(escape);
    format!("21 1 {number} {root} {point} {options} shared:1 master:2 - {fs_type} {source} rw\n")
}
