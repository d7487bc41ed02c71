//! The real machine.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::net::IpAddr;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use nix::sys::statvfs::{FsFlags, statvfs};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::{AccessFlags, access};

use super::bounded::Bounded;
use super::exec::{self, Ended, LeftBehind, MAX_OUTPUT};
use super::settings::{self, Settings};
use super::{Host, Output, RunError};
use crate::config::ToolPaths;
use crate::inventory::{DeviceNumber, DeviceUsers, Mapped, Usage, mounts, superblock};
use crate::name::MountPoint;
use crate::plan::{Command, Moment, Tool};
use crate::units::Bytes;

/// Where programs are looked for, in this order; never in `PATH`, which is not ours.
const DIRECTORIES: [&str; 5] = ["/usr/sbin", "/sbin", "/usr/bin", "/bin", "/usr/local/sbin"];
/// A `statvfs` that takes longer hangs.
const STAT_DEADLINE: Duration = Duration::from_millis(300);
/// And a few reads from a disk that is busy.
const READ_DEADLINE: Duration = Duration::from_secs(10);

/// A change that takes longer is worth a warning. What only writes metadata takes seconds, unless another LVM command holds
/// the group; `resize2fs` writes the tables of each new block group, terabytes take minutes; `e2fsck` reads all of them.
fn expected(tool: Tool) -> Duration {
    let minutes = match tool {
        Tool::Lvm | Tool::Blkid | Tool::XfsGrowfs | Tool::Btrfs | Tool::XfsIo => 1,
        Tool::Resize2fs => 5,
        Tool::E2fsck => 30,
    };
    Duration::from_secs(minutes * 60)
}

/// This machine.
pub struct Linux {
    tools: BTreeMap<Tool, PathBuf>,
    /// `None`: whoever named LVM's program himself may have it read another configuration than the host's.
    settings: Option<Settings>,
    report_deadline: Duration,
    left_behind: LeftBehind,
    state_directory: PathBuf,
    bounded: Bounded,
    /// For what is read once in an operation, after a boot perhaps, when everything is slow. Nobody else waits for it.
    patient: Bounded,
}

impl Linux {
    /// Finds the programs. Those that are missing are no error here: what needs them is refused.
    pub fn new(paths: &ToolPaths, report_deadline: Duration, state_directory: &Path) -> Linux {
        let configured = |tool| match tool {
            Tool::Lvm => paths.lvm.as_ref(),
            Tool::Blkid => paths.blkid.as_ref(),
            Tool::Resize2fs => paths.resize2fs.as_ref(),
            Tool::XfsGrowfs => paths.xfs_growfs.as_ref(),
            Tool::E2fsck => paths.e2fsck.as_ref(),
            Tool::Btrfs => paths.btrfs.as_ref(),
            Tool::XfsIo => paths.xfs_io.as_ref(),
        };
        let is_program = |path: &PathBuf| path.is_file() && access(path, AccessFlags::X_OK).is_ok();
        let find = |tool: Tool| match configured(tool) {
            Some(path) => Some(path.clone()).filter(is_program),
            None => DIRECTORIES.iter().map(|dir| Path::new(dir).join(tool.as_str())).find(is_program),
        };
        let tools = Tool::ALL.into_iter().filter_map(|tool| Some((tool, find(tool)?))).collect();
        let (bounded, patient) = (Bounded::new(STAT_DEADLINE), Bounded::new(READ_DEADLINE));
        let settings = paths.lvm.is_none().then(Settings::new);
        let (left_behind, state_directory) = (LeftBehind::default(), state_directory.to_owned());
        Linux { tools, settings, report_deadline, left_behind, state_directory, bounded, patient }
    }
}

impl Host for Linux {
    #[expect(clippy::disallowed_methods, reason = "the one source of time")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn moment(&self) -> Moment {
        let up = clock_gettime(ClockId::CLOCK_BOOTTIME).ok().map(Duration::from);
        let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        // The first 64 bits of a random number tell the boots of one host apart.
        let id: String = id.chars().filter(char::is_ascii_hexdigit).take(16).collect();
        Moment { at: self.now(), boot: u64::from_str_radix(&id, 16).ok().zip(up) }
    }

    fn sleep(&self, duration: Duration) {
        std::thread::sleep(duration);
    }

    fn own_names(&self) -> Vec<String> {
        let mut names = Vec::new();
        if let Ok(host) = nix::unistd::gethostname() {
            let host = host.to_string_lossy().into_owned();
            names.extend(qualified(&host, &std::fs::read_to_string("/etc/hosts").unwrap_or_default()));
            names.push(host);
        }
        // A host that was never given a name has the one that all of them have.
        names.retain(|name| name != "localhost" && !name.starts_with("localhost."));
        names.extend(addresses());
        names
    }

    fn run(&self, command: &Command, overdue: &dyn Fn()) -> Result<Output, RunError> {
        let tool = command.tool;
        let program = self.tools.get(&tool).ok_or(RunError::Missing { tool })?;
        let failed = |source| RunError::Io { tool, source };
        let arguments = match &self.settings {
            Some(settings) if tool == Tool::Lvm => settings.shortened(command),
            _ => command.arguments.clone(),
        };
        if command.mutates {
            return exec::mutating(program, &arguments, expected(tool), overdue).map_err(failed);
        }
        if let Some(count) = self.left_behind.too_many() {
            return Err(RunError::Stuck { command: command.name().to_owned(), count });
        }
        let (deadline, left) = (self.report_deadline, &self.left_behind);
        match exec::report(program, &arguments, deadline, left).map_err(failed)? {
            Ended::Exited(output) => Ok(output),
            Ended::TimedOut => Err(RunError::TimedOut { command: command.name().to_owned(), after: deadline }),
            Ended::TooMuch => Err(RunError::TooMuch { command: command.name().to_owned(), limit: MAX_OUTPUT }),
        }
    }

    fn is_running(&self, command: &Command) -> bool {
        let variants = [command.arguments.clone(), settings::without_settings(command)];
        self.tools.get(&command.tool).is_some_and(|program| super::process::runs(program, &variants))
    }

    fn run_both(&self, one: &Command, other: &Command) -> (Result<Output, RunError>, Result<Output, RunError>) {
        let run = |command| self.run(command, &|| ());
        std::thread::scope(|scope| {
            let beside = std::thread::Builder::new().spawn_scoped(scope, || run(other));
            let first = run(one);
            // If there was no thread to be had, one after the other.
            let second = beside.ok().and_then(|thread| thread.join().ok());
            (first, second.unwrap_or_else(|| run(other)))
        })
    }

    fn prepare(&self) {
        if let Some(settings) = &self.settings {
            settings.learn(|command| self.run(command, &|| ()).ok());
        }
    }

    fn mountinfo(&self) -> io::Result<String> {
        Ok(String::from_utf8_lossy(&std::fs::read("/proc/self/mountinfo")?).into_owned())
    }

    fn usage(&self, mount_point: &MountPoint) -> io::Result<(Usage, DeviceNumber)> {
        self.bounded.call_all(vec![mount_point.to_string()], statvfs_of).remove(0)
    }

    fn usages(&self, mount_points: &[MountPoint]) -> Vec<io::Result<(Usage, DeviceNumber)>> {
        self.bounded.call_all(mount_points.iter().map(ToString::to_string).collect(), statvfs_of)
    }

    fn superblock(&self, device: DeviceNumber) -> io::Result<Vec<u8>> {
        let path = node(device);
        self.bounded.call(&format!("device {device}"), move || {
            let mut head = vec![0; superblock::LENGTH];
            let device = File::open(&path)?;
            device.read_exact_at(&mut head, 0)?;
            if superblock::parse(&head).is_none() {
                // Perhaps a btrfs; a device too small for that is none.
                head.resize(superblock::LONG, 0);
                if device.read_exact_at(&mut head, 0).is_err() {
                    head.truncate(superblock::LENGTH);
                }
            }
            Ok(head)
        })
    }

    fn on_disk(&self, device: DeviceNumber, places: Vec<u64>) -> io::Result<Vec<Vec<u8>>> {
        let path = node(device);
        self.patient.call(&format!("device {device}"), move || {
            let device = File::options().read(true).custom_flags(OFlag::O_DIRECT.bits()).open(&path)?;
            let mut memory = vec![0; 2 * superblock::LENGTH];
            let start = memory.as_ptr().align_offset(superblock::LENGTH);
            let block = memory.get_mut(start..start + superblock::LENGTH).ok_or(io::ErrorKind::OutOfMemory)?;
            let read = |place: &u64| device.read_at(block, *place).map(|length| block[..length].to_vec());
            places.iter().map(read).collect()
        })
    }

    fn flush(&self, device: DeviceNumber) -> io::Result<()> {
        let path = node(device);
        self.patient.call(&format!("device {device}"), move || File::open(&path)?.sync_all())
    }

    fn block_device(&self, path: &Path) -> Option<DeviceNumber> {
        // In devtmpfs, which never hangs.
        let meta = path.starts_with("/dev").then(|| std::fs::metadata(path).ok())??;
        (meta.rdev() != 0).then(|| device_number(meta.rdev()))
    }

    fn ext4_errors(&self, device: DeviceNumber) -> Option<u64> {
        let link = std::fs::read_link(format!("/sys/dev/block/{device}")).ok()?;
        let name = link.file_name()?.to_str()?;
        std::fs::read_to_string(format!("/sys/fs/ext4/{name}/errors_count")).ok()?.trim().parse().ok()
    }

    fn users(&self, device: DeviceNumber) -> io::Result<DeviceUsers> {
        let mut holders = Vec::new();
        for entry in std::fs::read_dir(format!("/sys/dev/block/{device}/holders"))? {
            holders.push(holder(&entry?.path()));
        }
        holders.sort();
        Ok(DeviceUsers { holders, is_swap: is_swap(&std::fs::read_to_string("/proc/swaps")?, device) })
    }

    fn mapped(&self, device: DeviceNumber) -> io::Result<Mapped> {
        let read = |file: &str| std::fs::read_to_string(format!("/sys/dev/block/{device}/{file}"));
        let is_set = |file: &str| read(file).map(|text| text.trim() != "0");
        // In sectors of 512 bytes whatever the device's own are.
        let sectors: u64 = read("size")?.trim().parse().map_err(io::Error::other)?;
        let size = Bytes(sectors.saturating_mul(512));
        let uuid = read("dm/uuid")?.trim().to_owned();
        Ok(Mapped { uuid, size, suspended: is_set("dm/suspended")?, read_only: is_set("ro")? })
    }

    fn state_usage(&self) -> Option<Usage> {
        let folder = self.state_directory.clone();
        let usage = self.bounded.call("the state directory", move || {
            // Before the first start it is not there; what is above it has the same room.
            let there = folder.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("/"));
            statvfs_of(&there.to_string_lossy())
        });
        usage.ok().map(|(usage, _)| usage)
    }

    fn make_private_folder(&self, folder: &Path) -> io::Result<()> {
        use std::os::unix::fs::DirBuilderExt;
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
    }

    fn files_in(&self, folder: &Path) -> Vec<PathBuf> {
        std::fs::read_dir(folder).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path())).collect()
    }

    #[expect(clippy::disallowed_methods, reason = "old metadata backups are deleted here")]
    fn remove_file(&self, file: &Path) -> io::Result<()> {
        std::fs::remove_file(file)
    }

    fn file_size(&self, file: &Path) -> Option<u64> {
        std::fs::metadata(file).ok().map(|meta| meta.len())
    }

    fn missing_tools(&self) -> Vec<Tool> {
        Tool::ALL.into_iter().filter(|tool| !self.tools.contains_key(tool)).collect()
    }
}

/// /dev/block/MAJOR:MINOR is udev's; it cannot point to another device as a name in /dev/mapper could.
fn node(device: DeviceNumber) -> PathBuf {
    PathBuf::from(format!("/dev/block/{device}"))
}

/// What device-mapper or the driver calls it, and what it is where that is known.
fn holder(path: &Path) -> String {
    let kernel = path.file_name().map_or(String::new(), |name| name.to_string_lossy().into_owned());
    let read = |file: &str| std::fs::read_to_string(path.join("dm").join(file)).ok().map(|text| text.trim().to_owned());
    let Some(name) = read("name") else { return kernel };
    match read("uuid").unwrap_or_default().split('-').next() {
        Some("CRYPT") => format!("{name} (dm-crypt)"),
        Some("LVM") => format!("{name} (LVM)"),
        Some("mpath") => format!("{name} (multipath)"),
        _ => format!("{name} (device-mapper)"),
    }
}

/// The first column names a device or a file; a path with blanks is no device of ours.
fn is_swap(proc_swaps: &str, device: DeviceNumber) -> bool {
    let paths = proc_swaps.lines().skip(1).filter_map(|line| line.split_whitespace().next());
    paths
        .filter_map(|path| std::fs::metadata(path).ok())
        .any(|meta| meta.rdev() != 0 && device_number(meta.rdev()) == device)
}

fn statvfs_of(path: &str) -> io::Result<(Usage, DeviceNumber)> {
    let vfs = statvfs(path)?;
    let seen = device_number(std::fs::metadata(path)?.dev());
    // Each subvolume of a btrfs has an anonymous number of its own; only its mount says which file system it is.
    let device = if seen.major == 0 { number_of_mount(path).unwrap_or(seen) } else { seen };
    // `f_bsize` is only a hint; counts are in fragments, statvfs(3).
    let bytes = |blocks: u64| Bytes(blocks.saturating_mul(vfs.fragment_size()));
    let usage = Usage {
        size: bytes(vfs.blocks()),
        free: bytes(vfs.blocks_free()),
        avail: bytes(vfs.blocks_available()),
        files: vfs.files(),
        files_free: vfs.files_free(),
        read_only: vfs.flags().contains(FsFlags::ST_RDONLY),
    };
    Ok((usage, device))
}

/// The number in mountinfo of the mount that a path leads to.
fn number_of_mount(path: &str) -> Option<DeviceNumber> {
    let opened = open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()).ok()?;
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", opened.as_raw_fd())).ok()?;
    let id = info.lines().find_map(|line| line.strip_prefix("mnt_id:"))?.trim().to_owned();
    mounts::number_of(&String::from_utf8_lossy(&std::fs::read("/proc/self/mountinfo").ok()?), &id)
}

fn device_number(dev: u64) -> DeviceNumber {
    let (major, minor) = (nix::sys::stat::major(dev), nix::sys::stat::minor(dev));
    DeviceNumber { major: u32::try_from(major).unwrap_or(u32::MAX), minor: u32::try_from(minor).unwrap_or(u32::MAX) }
}

/// The host's name with its domain, as /etc/hosts has it beside the bare one.
fn qualified(host: &str, etc_hosts: &str) -> Vec<String> {
    let lines = etc_hosts.lines().map(|line| line.split('#').next().unwrap_or("").split_whitespace().skip(1));
    let prefix = format!("{host}.");
    lines
        .filter(|names| names.clone().any(|name| name == host))
        .flat_map(|names| names.filter(|name| name.starts_with(&prefix)).map(str::to_owned).collect::<Vec<_>>())
        .collect()
}

/// The addresses of this host's interfaces that name this host and no other.
fn addresses() -> Vec<String> {
    let interfaces = nix::ifaddrs::getifaddrs().into_iter().flatten();
    let ips = interfaces.filter_map(|interface| {
        let address = interface.address?;
        let v4 = address.as_sockaddr_in().map(|v4| IpAddr::from(v4.ip()));
        let ip = v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::from(v6.ip())))?;
        (!is_everywhere(&interface.interface_name, ip)).then_some(ip)
    });
    ips.map(|ip| ip.to_string()).collect()
}

/// Loopback, link-local addresses, and what container and machine runtimes give their bridges: many hosts have the same.
fn is_everywhere(interface: &str, ip: IpAddr) -> bool {
    let link_local = match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    let bridges = ["docker", "br-", "virbr", "lxcbr", "lxdbr", "incusbr", "podman", "cni"];
    ip.is_loopback() || link_local || bridges.iter().any(|name| interface.starts_with(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_domain_comes_from_etc_hosts() {
        let hosts = "127.0.0.1 localhost\n127.0.1.1 db1.example.com db1 # here\n192.0.2.1 db10.example.com db10\n";
        assert_eq!(qualified("db1", hosts), ["db1.example.com"]);
        assert_eq!(qualified("db", hosts), [""; 0]);
    }

    #[test]
    fn an_address_that_other_hosts_have_too_names_none() {
        for (interface, ip) in [
            ("lo", "127.0.0.1"),
            ("lo", "::1"),
            ("docker0", "172.17.0.1"),
            ("br-1f2e3d4c5b6a", "172.18.0.1"),
            ("virbr0", "192.168.122.1"),
            ("eth0", "fe80::1"),
            ("eth0", "169.254.7.7"),
        ] {
            assert!(is_everywhere(interface, ip.parse().expect("an address")), "{interface} {ip}");
        }
        for (interface, ip) in
            [("eth0", "192.0.2.7"), ("br0", "192.0.2.7"), ("enp1s0", "2001:db8::7"), ("bond0", "10.0.0.7")]
        {
            assert!(!is_everywhere(interface, ip.parse().expect("an address")), "{interface} {ip}");
        }
    }

    #[test]
    fn this_machine_answers() {
        let host = Linux::new(&ToolPaths::default(), Duration::from_secs(5), Path::new("/"));
        assert!(host.mountinfo().expect("Linux").contains(" / "));
        let (usage, _) = host.usage(&"/".parse().expect("a path")).expect("the root");
        assert!(usage.size.0 > 0);
        assert!(!host.own_names().iter().any(|name| name.starts_with("127.")));
    }

    #[test]
    fn a_configured_program_that_is_not_there_is_missing() {
        let paths = ToolPaths { lvm: Some("/nonexistent/lvm".into()), ..ToolPaths::default() };
        assert!(Linux::new(&paths, Duration::from_secs(5), Path::new("/")).missing_tools().contains(&Tool::Lvm));
    }
}
