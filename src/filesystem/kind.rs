//! What is asked of every kind of file system: what all of a kind have in common, and what a superblock says.

use serde::{Deserialize, Serialize};

use super::usage::Usage;
use crate::command::{Command, Tool};
use crate::name::MountPoint;
use crate::units::Bytes;

/// How many bytes from the start of the device [`super::parse`] wants.
pub const LENGTH: usize = 4096;

/// What all file systems of a kind have in common.
pub struct Kind {
    /// What the kernel and blkid call them.
    pub names: &'static [&'static str],
    /// The program that grows it.
    pub grower: Tool,
    /// The command that grows it to the size of its volume.
    pub grow: fn(Place<'_>) -> Command,
    /// Its command is given the volume's device, not the mount point.
    pub is_given_device: bool,
    /// How it is checked while it is mounted nowhere; `None` where it cannot be grown then.
    pub check: Option<Check>,
    /// What a program must be allowed that grows a mounted one.
    pub needs: Capability,
    /// It has a fixed number of inodes for its size, so that they can run out before the space does.
    pub has_fixed_inodes: bool,
    /// The file in which the kernel shows how many errors it counted, `*` being its name of the device; `None` where it
    /// counts none, for it shuts down at the first.
    pub error_counter: Option<&'static str>,
    /// With a mount option that begins so the kernel grows none.
    pub unfit_option: Option<UnfitOption>,
    /// What it may be doing that excludes a resize.
    pub operations: Option<Operations>,
    /// Its mounts have device numbers of their own, so that it is found by their source.
    pub has_own_numbers: bool,
    /// A growth may leave copies of its superblock with the old size after a power cut.
    pub copies: Option<Copies>,
    /// What a person must know of one that is mounted there if the host restarted while it grew, so that the kernel
    /// may have replayed the growth from its log; `None` where that leaves nothing to do.
    pub after_replay: Option<fn(&MountPoint) -> String>,
}

/// Of what is grown.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    /// The volume's device.
    pub device: &'a str,
    /// Where it is mounted.
    pub mount_point: &'a MountPoint,
    /// The number that it gave its device, see [`Facts::device_id`].
    pub device_id: Option<u64>,
}

/// How a file system is checked while it is mounted nowhere.
pub struct Check {
    /// The program.
    pub tool: Tool,
    /// The command that mends only what cannot be mended wrongly, and asks nothing.
    pub command: fn(&str) -> Command,
    /// What a person is told to run, whom it asks about the rest.
    pub by_hand: fn(&str) -> Command,
}

/// See [`Kind::unfit_option`].
pub struct UnfitOption {
    /// The option begins with it.
    pub prefix: &'static str,
    /// The end of a sentence: why, and what to do.
    pub why: &'static str,
}

/// What excludes a resize. Its name there is [`Facts::shows_operations_as`].
pub struct Operations {
    /// The file in which the kernel shows it, `*` being that name. Kernels that do not have the file are waited for by
    /// the program that grows.
    pub shown_in: &'static str,
    /// What tells a person more.
    pub status: fn(&MountPoint) -> Command,
}

/// See [`Kind::copies`].
pub struct Copies {
    /// The command that writes them anew, by setting the label that it has; `None` for a label that the command cannot
    /// be given.
    pub rewrite: fn(&str, &MountPoint) -> Option<Command>,
    /// The end of a sentence: what nobody may do before that.
    pub warning: &'static str,
}

/// What a program needs to be allowed to grow a mounted file system, capabilities(7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Capability {
    /// Ext (`ext4_resize_begin`).
    CapSysResource,
    /// XFS (`xfs_growfs_data`) and btrfs (`btrfs_ioctl_resize`).
    CapSysAdmin,
}

/// Why the kernel would refuse to grow a file system while it is mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfit {
    /// Until it was checked. What is wrong.
    NeedsCheck(&'static str),
    /// It grows only unmounted. Why, and what to do.
    OnlyUnmounted(&'static str),
    /// It grows never. Why.
    Never(&'static str),
}

/// The most that a file system can be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Most {
    /// So much.
    pub size: Bytes,
    /// The end of a sentence: why.
    pub why: String,
    /// What a person can do.
    pub advice: &'static str,
    /// More is possible and slow, so `allow_large_xfs_growth` does away with it.
    pub is_soft: bool,
}

/// What a superblock says of a file system that is mounted nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AtRest {
    /// What `statvfs` would say if it were mounted; `None` if the superblock does not have the numbers.
    pub usage: Option<Usage>,
    /// It was unmounted in order, and no error is known.
    pub is_sound: bool,
    /// Errors that were counted.
    pub errors: u64,
    /// It was checked when or after it was mounted the last time.
    pub checked: bool,
    /// Certainly after that: a file system that is made and mounted within one second looks checked too.
    pub checked_since: bool,
}

/// What a superblock says, in the words that all kinds share. What a kind does not know of has an answer here.
pub trait Facts {
    /// How large the file system itself is, its own metadata included: what a growth makes larger. `shown` is the size
    /// that `statvfs` has.
    fn size(&self, shown: Option<Bytes>) -> Option<Bytes>;

    /// How much smaller than its device the file system stays at most because the rest is too small to use.
    fn slack(&self) -> Bytes;

    /// The largest logical block size of a device on which it works.
    fn bears(&self) -> Bytes;

    /// As it would stand on disk, for the simulated host: [`super::parse`] reads it back.
    fn render(&self) -> Vec<u8>;

    /// Why the kernel would refuse to grow it while it is mounted.
    fn unfit(&self) -> Option<Unfit> {
        None
    }

    /// The end of a sentence: why it is not grown at all.
    fn unsupported(&self) -> Option<String> {
        None
    }

    /// The most it can be.
    fn most(&self) -> Option<Most> {
        None
    }

    /// The kernel resizes none to less than this.
    fn least(&self) -> Bytes {
        Bytes::ZERO
    }

    /// A warning: why it would be slow when it has that size.
    fn slow_at(&self, _size: Bytes, _point: &MountPoint) -> Option<String> {
        None
    }

    /// By how much it must grow for so many more inodes.
    fn bytes_for_inodes(&self, _inodes: u64) -> Option<Bytes> {
        None
    }

    /// Its own size, where what `statvfs` shows on a volume of that size is not that, but the limit of a quota or of
    /// another device.
    fn hidden_size(&self, _shown: Bytes, _volume: Bytes) -> Option<Bytes> {
        None
    }

    /// What is known while it is mounted nowhere.
    fn at_rest(&self) -> Option<AtRest> {
        None
    }

    /// The number that it has given its device.
    fn device_id(&self) -> Option<u64> {
        None
    }

    /// The name under which the kernel shows what it does that excludes a resize.
    fn shows_operations_as(&self) -> Option<&str> {
        None
    }

    /// Where the copies of the superblock are that a growth may leave outdated, in bytes from the start.
    fn copies(&self) -> Vec<u64> {
        vec![]
    }

    /// The size and the label that this superblock itself says; of use only where there are such copies.
    fn says(&self) -> Option<(Bytes, &str)> {
        None
    }
}

impl Capability {
    /// All of them.
    pub const ALL: [Capability; 2] = [Capability::CapSysResource, Capability::CapSysAdmin];

    /// Its name in capabilities(7).
    pub fn as_str(self) -> &'static str {
        match self {
            Capability::CapSysResource => "CAP_SYS_RESOURCE",
            Capability::CapSysAdmin => "CAP_SYS_ADMIN",
        }
    }

    /// Its bit in `/proc/self/status`.
    pub fn bit(self) -> u32 {
        match self {
            Capability::CapSysResource => 24,
            Capability::CapSysAdmin => 21,
        }
    }
}
