//! What the kernel shows of the block device below a PV, or of a volume itself. LVM's metadata say what a PV should be;
//! only the kernel knows what the disk is now.

use serde::Serialize;

use crate::units::Bytes;

/// A block device, from sysfs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Disk {
    /// Its size; of a multipath device that of its shortest path, because an I/O may take any of them.
    pub size: Bytes,
    /// Its smallest I/O: the logical block size, which people call the sector size.
    pub block_size: Bytes,
    /// It takes no writes.
    pub read_only: bool,
    /// Whoever uses it waits: device-mapper has suspended it.
    pub suspended: bool,
    /// It is a logical volume of this host, by its device-mapper name.
    pub volume: Option<String>,
}
