//! Names of volume groups, logical volumes and mount points: parsed once, valid from then on.
//!
//! The character rules are those of lvm(8), "VALID NAMES". A name that passed can stand in a command line, because it
//! cannot begin with a hyphen, and in a path, because it holds no slash and is neither `.` nor `..`.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Why a text is not the name it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Not allowed by lvm(8).
    #[error("{text:?} is not a valid LVM name: {reason}")]
    Lvm {
        /// What was given.
        text: String,
        /// Which rule it broke.
        reason: &'static str,
    },
    /// Not any of the ways to write a logical volume.
    #[error("{0:?} does not name a logical volume, expected VG/LV, /dev/VG/LV or /dev/mapper/VG-LV")]
    Volume(String),
    /// The kernel's number of a device, which another volume may have after the next boot.
    #[error(
        "{0:?} is a device number of the kernel, which can change, expected /dev/VG/LV: `lsblk {0}` shows the name"
    )]
    Number(String),
    /// Not in the form in which LVM writes the UUID of a physical volume.
    #[error(
        "{0:?} is not the UUID of a physical volume, expected 32 letters and digits with hyphens, as pvs -o+pv_uuid shows it"
    )]
    PvUuid(String),
    /// Not an absolute path.
    #[error("{0:?} is not a mount point, expected an absolute path such as /data")]
    MountPoint(String),
}

macro_rules! lvm_name {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(String);

        impl $type {
            /// The name as LVM prints it.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                check_lvm_name(text)?;
                Ok($type(text.to_owned()))
            }
        }

        impl TryFrom<String> for $type {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                text.parse()
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> String {
                name.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

lvm_name!(
    /// The name of a volume group.
    VgName
);
lvm_name!(
    /// The name of a logical volume within its volume group.
    LvName
);

fn check_lvm_name(text: &str) -> Result<(), NameError> {
    let reason = if text.is_empty() {
        "it is empty"
    } else if text.len() > 127 {
        "it is longer than 127 characters"
    } else if text.starts_with('-') {
        "it begins with a hyphen"
    } else if text == "." || text == ".." {
        "it is a directory"
    } else if !text.bytes().all(|b| b.is_ascii_alphanumeric() || b"+_.-".contains(&b)) {
        "only letters, digits and + _ . - are allowed"
    } else {
        return Ok(());
    };
    Err(NameError::Lvm { text: text.to_owned(), reason })
}

/// The UUID of a physical volume, as LVM writes it: 32 letters and digits in groups. It can stand in a path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PvUuid(String);

impl PvUuid {
    /// As LVM writes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name that udev gives the device with this PV.
    pub fn path(&self) -> PathBuf {
        Path::new("/dev/disk/by-id").join(format!("lvm-pv-uuid-{}", self.0))
    }
}

impl FromStr for PvUuid {
    type Err = NameError;

    fn from_str(text: &str) -> Result<PvUuid, NameError> {
        let groups: Vec<usize> = text.split('-').map(str::len).collect();
        let is_plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if is_plain && groups == [6, 4, 4, 4, 4, 4, 6] {
            return Ok(PvUuid(text.to_owned()));
        }
        Err(NameError::PvUuid(text.to_owned()))
    }
}

impl TryFrom<String> for PvUuid {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<PvUuid> for String {
    fn from(uuid: PvUuid) -> String {
        uuid.0
    }
}

impl fmt::Display for PvUuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A logical volume by its two names, `vg/lv`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LvRef {
    /// The volume group.
    pub vg: VgName,
    /// The logical volume in it.
    pub lv: LvName,
}

impl LvRef {
    /// The path LVM's udev rules link: `/dev/vg/lv`.
    pub fn path(&self) -> PathBuf {
        Path::new("/dev").join(self.vg.as_str()).join(self.lv.as_str())
    }

    /// The device-mapper path: `/dev/mapper/a--b-c`, hyphens within a name doubled.
    pub fn dm_path(&self) -> PathBuf {
        let doubled = |name: &str| name.replace('-', "--");
        Path::new("/dev/mapper").join(format!("{}-{}", doubled(self.vg.as_str()), doubled(self.lv.as_str())))
    }
}

impl FromStr for LvRef {
    type Err = NameError;

    fn from_str(text: &str) -> Result<LvRef, NameError> {
        let wrong = || NameError::Volume(text.to_owned());
        if text.strip_prefix("/dev/dm-").is_some_and(|number| number.bytes().all(|b| b.is_ascii_digit())) {
            return Err(NameError::Number(text.to_owned()));
        }
        if let Some(mapper) = text.strip_prefix("/dev/mapper/") {
            let (vg, lv) = split_dm_name(mapper).ok_or_else(wrong)?;
            return Ok(LvRef { vg: vg.parse()?, lv: lv.parse()? });
        }
        let plain = text.strip_prefix("/dev/").unwrap_or(text);
        let (vg, lv) = plain.split_once('/').ok_or_else(wrong)?;
        if lv.contains('/') || vg.is_empty() {
            return Err(wrong());
        }
        Ok(LvRef { vg: vg.parse()?, lv: lv.parse()? })
    }
}

/// `a--b-c` is `("a-b", "c")`; `None` where the one single hyphen is missing, or there are more.
fn split_dm_name(name: &str) -> Option<(String, String)> {
    let marked = name.replace("--", "\0");
    let (vg, lv) = marked.split_once('-')?;
    if lv.contains('-') {
        return None;
    }
    Some((vg.replace('\0', "-"), lv.replace('\0', "-")))
}

impl TryFrom<String> for LvRef {
    type Error = NameError;
    fn try_from(text: String) -> Result<LvRef, NameError> {
        text.parse()
    }
}

impl From<LvRef> for String {
    fn from(name: LvRef) -> String {
        name.to_string()
    }
}

impl fmt::Display for LvRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.vg, self.lv)
    }
}

/// An absolute path where a file system is, or should be, mounted. Trailing slashes are cut: `/data/` is `/data`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MountPoint {
    text: String,
    /// Its bytes where they are not UTF-8. No name that is given as text equals it, so no target does.
    bytes: Option<Vec<u8>>,
}

impl MountPoint {
    /// The path as text. What is not UTF-8 is shown as node_exporter shows it: one replacement character for each run
    /// of such bytes.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The path.
    pub fn as_path(&self) -> &Path {
        self.bytes.as_ref().map_or(Path::new(&self.text), |bytes| Path::new(OsStr::from_bytes(bytes)))
    }

    /// A mount point as the kernel gives it, any bytes.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<MountPoint, NameError> {
        let text = sanitised(&bytes);
        let is_text = text.as_bytes() == bytes;
        Ok(MountPoint { bytes: (!is_text).then_some(bytes), ..text.parse()? })
    }

    /// What it is for whoever sees that folder as the root: `/rootfs/data` below `/rootfs` is `/data`, and `/rootfs` is
    /// `/`.
    pub fn below(&self, folder: &str) -> Option<MountPoint> {
        let rest = self.text.strip_prefix(folder).filter(|_| self.bytes.is_none())?;
        if rest.is_empty() { "/" } else { rest }.parse().ok()
    }
}

/// Go's `strings.ToValidUTF8`, by which Prometheus' exporters show bytes that are no text.
pub fn sanitised(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    let mut in_run = false;
    for chunk in bytes.utf8_chunks() {
        in_run &= chunk.valid().is_empty();
        text.push_str(chunk.valid());
        if !chunk.invalid().is_empty() && !in_run {
            text.push(char::REPLACEMENT_CHARACTER);
            in_run = true;
        }
    }
    text
}

impl FromStr for MountPoint {
    type Err = NameError;

    fn from_str(text: &str) -> Result<MountPoint, NameError> {
        let wrong = || NameError::MountPoint(text.to_owned());
        if !text.starts_with('/') || text.contains('\0') || text.split('/').any(|part| part == "." || part == "..") {
            return Err(wrong());
        }
        let trimmed = text.trim_end_matches('/');
        let text = if trimmed.is_empty() { "/" } else { trimmed };
        Ok(MountPoint { text: text.to_owned(), bytes: None })
    }
}

impl TryFrom<String> for MountPoint {
    type Error = NameError;
    fn try_from(text: String) -> Result<MountPoint, NameError> {
        text.parse()
    }
}

impl From<MountPoint> for String {
    fn from(name: MountPoint) -> String {
        name.text
    }
}

impl fmt::Display for MountPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// One run of the pipeline, numbered by the journal of its host. Shown as `op-17`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OperationId(pub u64);

impl fmt::Display for OperationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "op-{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lv(text: &str) -> Result<String, NameError> {
        text.parse::<LvRef>().map(|lv| lv.to_string())
    }

    #[test]
    fn every_way_to_write_a_volume() {
        for text in ["a-b/c", "/dev/a-b/c", "/dev/mapper/a--b-c"] {
            assert_eq!(lv(text).as_deref(), Ok("a-b/c"));
        }
        assert_eq!(lv("/dev/mapper/vg-lv--1").as_deref(), Ok("vg/lv-1"));
    }

    #[test]
    fn what_is_no_volume_is_refused() {
        for text in [
            "",
            "/",
            "vg",
            "vg/",
            "/lv",
            "/dev/sda",
            "/dev/mapper/plain",
            "/dev/mapper/a-b-c",
            "vg/lv/x",
            "../../etc",
            "vg/..",
            "-vg/lv",
            "vg/-lv",
            "vg/l v",
            "vg/l\nv",
            "vg/$(reboot)",
            "/dev/dm-3",
        ] {
            assert!(lv(text).is_err(), "{text:?} was taken for a volume");
        }
        assert!(lv(&format!("vg/{}", "x".repeat(128))).is_err());
    }

    #[test]
    fn mount_points_are_absolute_and_normal() {
        assert_eq!("/data/".parse::<MountPoint>().map(|m| m.to_string()), Ok("/data".to_owned()));
        assert_eq!("/".parse::<MountPoint>().map(|m| m.to_string()), Ok("/".to_owned()));
        for text in ["data", "", "/a/../b", "/a\0"] {
            assert!(text.parse::<MountPoint>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_mount_point_that_is_no_text_is_shown_and_is_no_text() {
        for (bytes, shown) in [
            (&b"/mnt/cass\xE9"[..], "/mnt/cass\u{FFFD}"),
            (b"/\xFF\xFE\x80/a\xC3", "/\u{FFFD}/a\u{FFFD}"),
            (b"/\xFF/\xE2\x82x", "/\u{FFFD}/\u{FFFD}x"),
        ] {
            let point = MountPoint::from_bytes(bytes.to_vec()).expect("a path");
            assert_eq!((point.as_str(), point.as_path().as_os_str().as_bytes()), (shown, bytes));
            assert_ne!(Ok(point), shown.parse());
        }
        let text = MountPoint::from_bytes("/é\u{FFFD}".into()).expect("a path");
        assert_eq!(Ok(text), "/é\u{FFFD}".parse());
        assert!(MountPoint::from_bytes(b"\xFF".to_vec()).is_err());
    }

    proptest! {
        #[test]
        fn dm_paths_lead_back(vg in "[a-z+_.][a-z0-9+_.-]{0,20}", lv in "[a-z+_.][a-z0-9+_.-]{0,20}") {
            prop_assume!(![".", ".."].contains(&vg.as_str()) && ![".", ".."].contains(&lv.as_str()));
            let name: LvRef = format!("{vg}/{lv}").parse().expect("valid by construction");
            let back: LvRef = name.dm_path().to_str().expect("ASCII").parse().expect("its own path");
            prop_assert_eq!(back, name);
        }
    }
}
