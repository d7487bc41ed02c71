//! What the kernel shows of the block device below a PV, or of a volume itself. LVM's metadata say what a PV should be;
//! only the kernel knows what the disk is now.

use serde::{Deserialize, Serialize};

use crate::units::{Bytes, MIB};

/// A block device, from sysfs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disk {
    /// Its size, or how much of it something is below: its shortest path of a multipath device, because an I/O may take
    /// any of them; what is left of a disk that became smaller, of its partition.
    pub size: Bytes,
    /// Its smallest I/O: the logical block size, which people call the sector size.
    pub block_size: Bytes,
    /// It takes no writes.
    pub read_only: bool,
    /// Whoever uses it waits: device-mapper has suspended it.
    pub suspended: bool,
    /// It is a logical volume of this host, by its device-mapper name.
    pub volume: Option<String>,
    /// What it is.
    pub kind: DiskKind,
}

/// What a block device is, as far as it matters for whether it can have become larger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum DiskKind {
    /// A disk, or what is as good as one.
    Whole {
        /// The kernel has found partitions on it.
        has_partitions: bool,
    },
    /// A part of a disk.
    Partition(Partition),
    /// Several paths to a disk.
    Multipath {
        /// They are all as large as this device.
        agree: bool,
    },
    /// It is made of other devices, by what it is called: an MD array, a device of device-mapper.
    Layered(String),
}

/// A partition, from sysfs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partition {
    /// The disk's name, `/dev/sda`.
    pub disk: String,
    /// The disk's size.
    pub disk_size: Bytes,
    /// Its number on the disk.
    pub number: u32,
    /// Where it begins.
    pub start: Bytes,
    /// Where the last of the partitions ends that begin behind it; `None` if it is the last itself.
    pub followed_until: Option<Bytes>,
}

impl Partition {
    /// What `growpart` leaves at the end of a disk: the second copy of a GPT, and the rest of a MiB.
    const LEFT: Bytes = Bytes(2 * MIB);

    /// How much of the disk no partition has, at the least, behind the last of them; this one ends there.
    fn unused(&self, end: Bytes) -> Bytes {
        let last = self.followed_until.map_or(end, |last| last.max(end));
        self.disk_size.saturating_sub(Self::LEFT).saturating_sub(last)
    }
}

impl Disk {
    /// Of a partition, how much larger it can become on its disk.
    pub fn grows_into(&self) -> Bytes {
        let is_followed = |partition: &Partition| partition.followed_until.is_some();
        let is_last = !matches!(&self.kind, DiskKind::Partition(partition) if is_followed(partition));
        if is_last { self.unused_behind() } else { Bytes::ZERO }
    }

    /// Of a partition, how much of its disk no partition has, whether or not another one is before that.
    pub fn unused_behind(&self) -> Bytes {
        let DiskKind::Partition(partition) = &self.kind else { return Bytes::ZERO };
        partition.unused(Bytes(partition.start.0.saturating_add(self.size.0)))
    }
}

/// A partition table, by its form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PartitionTable {
    /// Of UEFI.
    Gpt,
    /// Of a PC's BIOS: it ends at 2^32 sectors, and partitions from the fifth on lie in another one.
    Mbr,
}

impl PartitionTable {
    /// From the first bytes of a disk. A GPT is known by its header in the second block (UEFI 2.10, 5.3.2), an MBR by
    /// its mark and a partition in it; a boot sector without partitions has the mark too.
    pub fn parse(head: &[u8]) -> Option<PartitionTable> {
        const GPT: &[u8] = b"EFI PART";
        if [512, 4096].iter().any(|block| head.get(*block..block + GPT.len()) == Some(GPT)) {
            return Some(PartitionTable::Gpt);
        }
        let has_mark = head.get(510..512) == Some(&[0x55, 0xaa]);
        let mut entries = head.get(446..510)?.chunks(16);
        // The fifth byte is the type, 0 for none; the first is 0 or 0x80.
        let is_one = |entry: &[u8]| entry[4] != 0 && entry[0] & 0x7f == 0;
        (has_mark && entries.any(is_one)).then_some(PartitionTable::Mbr)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_known_by_its_marks() {
        let mut head = vec![0; 8192];
        assert_eq!(PartitionTable::parse(&head), None);
        assert_eq!(PartitionTable::parse(&[]), None);
        head[510..512].copy_from_slice(&[0x55, 0xaa]);
        assert_eq!(PartitionTable::parse(&head), None, "a boot sector of no disk");
        head[446 + 16 + 4] = 0x8e;
        assert_eq!(PartitionTable::parse(&head), Some(PartitionTable::Mbr));
        head[4096..4104].copy_from_slice(b"EFI PART");
        assert_eq!(PartitionTable::parse(&head), Some(PartitionTable::Gpt));
    }

    #[test]
    fn what_is_behind_a_partition_is_less_than_the_rest_of_the_disk() {
        let partition = |followed_until| Partition {
            disk: "/dev/sda".to_owned(),
            disk_size: Bytes(100 * MIB),
            number: 1,
            start: Bytes(MIB),
            followed_until,
        };
        let disk = |kind| Disk {
            size: Bytes(50 * MIB),
            block_size: Bytes(512),
            read_only: false,
            suspended: false,
            volume: None,
            kind,
        };
        assert_eq!(disk(DiskKind::Partition(partition(None))).unused_behind(), Bytes(47 * MIB));
        assert_eq!(disk(DiskKind::Partition(partition(Some(Bytes(90 * MIB))))).unused_behind(), Bytes(8 * MIB));
        assert_eq!(disk(DiskKind::Partition(partition(Some(Bytes(99 * MIB))))).unused_behind(), Bytes::ZERO);
        assert_eq!(disk(DiskKind::Whole { has_partitions: false }).unused_behind(), Bytes::ZERO);
    }
}
