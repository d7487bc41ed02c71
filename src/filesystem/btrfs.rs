//! Btrfs. The superblock: its on-disk format, `btrfs_super_block`.

use serde::{Deserialize, Serialize};

use super::kind::{Capability, Facts, Kind, LENGTH, Operations, Unfit};
use crate::command::{Command, Tool};
use crate::units::{Bytes, MIB};

pub(super) const KIND: Kind = Kind {
    names: &["btrfs"],
    grower: Tool::Btrfs,
    // `max` is the end of the volume. With `--enqueue` it waits for a balance instead of failing.
    grow: |place| {
        let size = format!("{}:max", place.device_id.unwrap_or(1));
        Command::mutating(Tool::Btrfs, ["filesystem", "resize", "--enqueue", &size, place.mount_point.as_str()])
    },
    is_given_device: false,
    check: None,
    needs: Capability::CapSysAdmin,
    has_fixed_inodes: false,
    error_counter: None,
    unfit_option: None,
    operations: Some(Operations {
        shown_in: "/sys/fs/btrfs/*/exclusive_operation",
        status: |point| Command::report(Tool::Btrfs, ["balance", "status", point.as_str()]),
    }),
    has_own_numbers: true,
    copies: None,
    after_replay: None,
};

/// How many bytes from the start of the device [`super::parse`] wants where it may be a btrfs, whose superblock is
/// further in.
pub const LONG: usize = OFFSET + LENGTH;
/// Where the superblock is.
const OFFSET: usize = 65536;

/// Of a btrfs superblock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the fields are those of the btrfs on-disk format")]
pub struct Btrfs {
    pub total_bytes: u64,
    pub num_devices: u64,
    pub sector_size: u64,
    /// Of the device on which this superblock is.
    pub device_id: u64,
    /// As `/sys/fs/btrfs` spells it.
    pub fsid: String,
    /// It is the read-only ground of other file systems.
    pub is_seed: bool,
}

/// `BTRFS_SUPER_FLAG_SEEDING`.
const BTRFS_SEEDING: u64 = 1 << 32;

/// 16 bytes in the usual form.
fn uuid(bytes: &[u8]) -> String {
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

pub(super) fn parse(head: &[u8]) -> Option<Btrfs> {
    let sb = head.get(OFFSET..OFFSET + 512)?;
    let le64 = |at: usize| sb.get(at..at + 8)?.try_into().ok().map(u64::from_le_bytes);
    if sb.get(0x40..0x48) != Some(b"_BHRfS_M") {
        return None;
    }
    let btrfs = Btrfs {
        total_bytes: le64(0x70)?,
        num_devices: le64(0x88)?,
        sector_size: le64(0x90)? & 0xFFFF_FFFF,
        device_id: le64(0xC9)?,
        fsid: uuid(sb.get(0x20..0x30)?),
        is_seed: le64(0x38)? & BTRFS_SEEDING != 0,
    };
    ((512..=65536).contains(&btrfs.sector_size) && btrfs.num_devices > 0).then_some(btrfs)
}

impl Facts for Btrfs {
    /// `btrfs_statfs` counts all bytes of all devices.
    fn size(&self, shown: Option<Bytes>) -> Option<Bytes> {
        shown
    }

    fn slack(&self) -> Bytes {
        Bytes(self.sector_size)
    }

    fn bears(&self) -> Bytes {
        Bytes(self.sector_size)
    }

    fn unfit(&self) -> Option<Unfit> {
        let why = "it is a seed of other file systems, see btrfs inspect-internal dump-super";
        self.is_seed.then_some(Unfit::Never(why))
    }

    fn unsupported(&self) -> Option<String> {
        let devices = self.num_devices;
        (devices > 1).then(|| {
            format!("is on {devices} devices: only one that is on one volume is grown, see btrfs filesystem usage")
        })
    }

    /// `btrfs_ioctl_resize`, even if it is smaller now.
    fn least(&self) -> Bytes {
        Bytes(256 * MIB)
    }

    fn device_id(&self) -> Option<u64> {
        Some(self.device_id)
    }

    fn shows_operations_as(&self) -> Option<&str> {
        Some(&self.fsid)
    }

    fn render(&self) -> Vec<u8> {
        let mut head = vec![0; LONG];
        let mut put = |at: usize, bytes: &[u8]| head[OFFSET + at..OFFSET + at + bytes.len()].copy_from_slice(bytes);
        put(0x40, b"_BHRfS_M");
        put(0x70, &self.total_bytes.to_le_bytes());
        put(0x88, &self.num_devices.to_le_bytes());
        put(0x90, &self.sector_size.to_le_bytes());
        put(0xC9, &self.device_id.to_le_bytes());
        put(0x38, &(if self.is_seed { BTRFS_SEEDING } else { 0 }).to_le_bytes());
        let digits: String = self.fsid.chars().filter(char::is_ascii_hexdigit).collect();
        let fsid = u128::from_str_radix(&digits, 16).unwrap_or_default();
        put(0x20, &fsid.to_be_bytes());
        head
    }
}
