//! `/proc/self/mountinfo`, see proc_pid_mountinfo(5): what is mounted where, by device number.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::DeviceNumber;
use crate::name::{MountPoint, sanitised};

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// The block device, or an anonymous number for file systems without one.
    pub device: DeviceNumber,
    /// The number that the kernel shows for the mount. That of a btrfs is anonymous, and its device is found by its
    /// source.
    pub number: DeviceNumber,
    /// The path within the file system that is mounted; `/` unless it is a bind mount of a folder.
    pub root: String,
    /// Where.
    pub mount_point: MountPoint,
    /// The kernel's name of the file-system type.
    pub fs_type: String,
    /// What was mounted, as the kernel shows it: `/dev/mapper/storage_vg-data_lv`.
    pub source: String,
    /// Read-only, either this mount or the whole file system.
    pub read_only: bool,
    /// The options of the file system itself, as the kernel shows them: `rw,errors=remount-ro`.
    pub options: String,
}

/// Reads all lines that can be understood; the second value counts the others.
pub fn parse(mountinfo: &[u8]) -> (Vec<Mount>, usize) {
    let lines = mountinfo.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let mut mounts = Vec::new();
    let mut odd = 0;
    for line in lines {
        match parse_line(line) {
            Some(mount) => mounts.push(mount),
            None => odd += 1,
        }
    }
    (mounts, odd)
}

/// `36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue`; zero or more optional fields stand
/// before the hyphen.
fn parse_line(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|byte| *byte == b' ');
    let number = std::str::from_utf8(fields.nth(2)?).ok()?.parse().ok()?;
    let root = text(fields.next()?);
    let mount_point = MountPoint::from_bytes(unescape(fields.next()?)).ok()?;
    let options = fields.next()?;
    let mut fields = fields.skip_while(|field| *field != b"-").skip(1);
    let fs_type = text(fields.next()?);
    let source = text(fields.next()?);
    let super_options = fields.next().unwrap_or(b"");
    // `emergency_ro`: ext4 after an error, on kernels that no longer say `ro` then. Some of 6.1 say neither, and only
    // the error counter tells.
    let stops_writing = |option: &[u8]| option == b"ro" || option == b"emergency_ro";
    let read_only = [options, super_options].iter().any(|list| list.split(|byte| *byte == b',').any(stops_writing));
    let options = String::from_utf8_lossy(super_options).into_owned();
    Some(Mount { device: number, number, root, mount_point, fs_type, source, read_only, options })
}

/// The numbers of all mounts by their IDs, which are the first field.
pub fn numbers(mountinfo: &[u8]) -> HashMap<u64, DeviceNumber> {
    let read = |line: &[u8]| {
        let mut fields = line.split(|byte| *byte == b' ').map(|field| std::str::from_utf8(field).ok());
        Some((fields.next()??.parse().ok()?, fields.nth(1)??.parse().ok()?))
    };
    mountinfo.split(|byte| *byte == b'\n').filter_map(read).collect()
}

fn text(field: &[u8]) -> String {
    sanitised(&unescape(field))
}

/// The kernel writes space, tab, newline, backslash and, in some fields, `#` as three octal digits.
fn unescape(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while i < bytes.len() {
        let octal = bytes[i..].strip_prefix(b"\\").and_then(|rest| rest.get(..3)).and_then(|digits| {
            digits.iter().try_fold(0u32, |value, d| (b'0'..=b'7').contains(d).then(|| value * 8 + u32::from(d - b'0')))
        });
        match octal.and_then(|value| u8::try_from(value).ok()) {
            Some(byte) => {
                out.push(byte);
                i += 4;
            }
            None => {
                out.push(bytes[i]);
                i += 1;
            }
        }
    }
    out
}

/// The inverse of the kernel's escaping; the simulated host writes its mount table with it.
pub fn escape(field: &str) -> String {
    field.replace('\\', "\\134").replace(' ', "\\040").replace('\t', "\\011").replace('\n', "\\012")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_ext4_that_stopped_writing_is_read_only() {
        let text = "22 1 254:0 / /data rw,relatime - ext4 /dev/mapper/vg-data rw,emergency_ro,errors=remount-ro\n";
        assert!(parse(text.as_bytes()).0[0].read_only);
    }

    #[test]
    fn a_path_that_is_no_text_is_read_with_its_bytes() {
        let line = b"22 1 254:0 /r\xFF /mnt/a\\040\xE9\\377 rw - ext4 /dev/mapper/vg-\xFFd rw\n";
        let (mounts, odd) = parse(line);
        assert_eq!((mounts[0].mount_point.as_str(), odd), ("/mnt/a \u{FFFD}", 0));
        assert_eq!(mounts[0].mount_point.as_path().as_os_str().as_encoded_bytes(), b"/mnt/a \xE9\xFF");
        assert_eq!((&*mounts[0].root, &*mounts[0].source), ("/r\u{FFFD}", "/dev/mapper/vg-\u{FFFD}d"));
    }

    #[test]
    fn one_odd_line_does_not_lose_the_rest() {
        let text = "21 1 254:0 / / rw,relatime shared:1 master:2 - ext4 /dev/mapper/vg-root rw,errors=remount-ro\n\
            nonsense\n\
            23 21 0:5 / /proc rw - proc proc rw\n\
            24 21 254:1 /sub /mnt/a\\040b\\134c rw shared:9 - xfs /dev/mapper/vg-a ro\n";
        let (mounts, odd) = parse(text.as_bytes());
        assert_eq!(odd, 1);
        let seen: Vec<_> = mounts.iter().map(|m| (m.mount_point.as_str(), m.fs_type.as_str(), m.read_only)).collect();
        assert_eq!(seen, [("/", "ext4", false), ("/proc", "proc", false), ("/mnt/a b\\c", "xfs", true)]);
        assert_eq!(mounts[2].root, "/sub");
        assert_eq!(mounts[0].device, DeviceNumber { major: 254, minor: 0 });
    }

    proptest! {
        #[test]
        fn never_panics(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            parse(&text);
        }

        #[test]
        fn escaping_leads_back(path in "[a-z \t\n\\\\#é]{0,20}") {
            prop_assert_eq!(unescape(escape(&path).as_bytes()), path.as_bytes());
        }
    }
}
