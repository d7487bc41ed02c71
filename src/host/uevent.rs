//! The kernel's uevents: what was done to block devices by hand is seen at once, not at the next interval.
//!
//! They come over a netlink socket (`NETLINK_KOBJECT_UEVENT`, group 1) that anybody may open. Where none arrive, as in
//! a container, the interval is what is left.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use nix::sys::socket::{AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket};

use super::Sampler;

/// The group the kernel itself sends to; 2 is udev's.
const KERNEL: u32 = 1;
/// A kernel message is at most this long (`UEVENT_BUFFER_SIZE` is 2048, and the path before it).
const LONGEST: usize = 8192;
/// LVM makes several devices for one volume and udev's rules follow; one look shows them all.
const SETTLE: Duration = Duration::from_millis(400);
/// Then the next look waits at least this long, however many events come.
const REST: Duration = Duration::from_millis(600);

/// Starts a thread that has the sampler look whenever a block device changes.
pub fn watch(sampler: Sampler) -> io::Result<()> {
    let socket = open()?;
    std::thread::spawn(move || {
        let mut message = [0; LONGEST];
        loop {
            match receive(&socket, &mut message, MsgFlags::empty()) {
                Ok(true) => {
                    std::thread::sleep(SETTLE);
                    sampler.refresh();
                    std::thread::sleep(REST);
                    if drained(&socket, &mut message) {
                        sampler.refresh();
                    }
                }
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!("no more uevents, so LVM is read only once per interval: {error}");
                    return;
                }
            }
        }
    });
    Ok(())
}

fn open() -> io::Result<OwnedFd> {
    let kind = (AddressFamily::Netlink, SockType::Datagram, SockFlag::SOCK_CLOEXEC);
    let socket = socket(kind.0, kind.1, kind.2, SockProtocol::NetlinkKObjectUEvent)?;
    bind(socket.as_raw_fd(), &NetlinkAddr::new(0, KERNEL))?;
    Ok(socket)
}

/// Whether the next message is about a block device.
fn receive(socket: &OwnedFd, message: &mut [u8], flags: MsgFlags) -> io::Result<bool> {
    match recv(socket.as_raw_fd(), message, flags) {
        Ok(length) => Ok(is_block(&message[..length])),
        // More came than the buffer holds: something changed, that much is sure.
        Err(nix::errno::Errno::ENOBUFS) => Ok(true),
        Err(nix::errno::Errno::EINTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Takes what has come meanwhile; whether any of it was about a block device.
fn drained(socket: &OwnedFd, message: &mut [u8]) -> bool {
    let mut any = false;
    while let Ok(block) = receive(socket, message, MsgFlags::MSG_DONTWAIT) {
        any |= block;
    }
    any
}

/// `change@/devices/virtual/block/dm-0\0ACTION=change\0...\0SUBSYSTEM=block\0...`
fn is_block(message: &[u8]) -> bool {
    message.split(|byte| *byte == 0).any(|field| field == b"SUBSYSTEM=block")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_block_devices_matter() {
        assert!(is_block(b"change@/devices/virtual/block/dm-0\0ACTION=change\0SUBSYSTEM=block\0MAJOR=253\0"));
        assert!(!is_block(b"add@/devices/x\0ACTION=add\0SUBSYSTEM=net\0"));
        assert!(!is_block(b""));
    }
}
