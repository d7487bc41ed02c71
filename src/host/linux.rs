//! The real machine.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::net::IpAddr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use nix::fcntl::OFlag;
use nix::time::{ClockId, clock_gettime};
use nix::unistd::{AccessFlags, access};

use super::bounded::Bounded;
use super::disk::{self, logical_block_size, sectors};
use super::exec::{self, LeftBehind, MAX_OUTPUT, RunEnd};
use super::mounted::{self, Numbers};
use super::settings::{self, Settings};
use super::{Host, KeyFileFacts, Output, RunError};
use crate::command::{Command, Tool};
use crate::config::ToolPaths;
use crate::files;
use crate::filesystem::{self, FsKind};
use crate::inventory::{Capability, DeviceNumber, DeviceUsers, Disk, Mapped, Usage};
use crate::name::MountPoint;
use crate::plan::Moment;

/// Where programs are looked for, in this order; never in `PATH`, which is not ours.
const DIRECTORIES: [&str; 5] = ["/usr/sbin", "/sbin", "/usr/bin", "/bin", "/usr/local/sbin"];
/// A `statvfs` that takes longer hangs.
const STAT_DEADLINE: Duration = Duration::from_millis(300);
/// A file system that lets nothing be written for so long is frozen, or so busy that nothing should be added now.
const FROZEN_DEADLINE: Duration = Duration::from_secs(5);
/// And a few reads from a disk that is busy.
const READ_DEADLINE: Duration = Duration::from_secs(10);

/// This machine.
pub struct Linux {
    tools: BTreeMap<Tool, PathBuf>,
    /// `None`: whoever named LVM's program himself may have it read another configuration than the host's.
    settings: Option<Settings>,
    report_deadline: Duration,
    left_behind: LeftBehind,
    /// Those that were to tell whether a file system is frozen.
    frozen: LeftBehind,
    state_directory: PathBuf,
    bounded: Bounded,
    /// For what is read once in an operation, after a boot perhaps, when everything is slow. Nobody else waits for it.
    patient: Bounded,
}

impl Linux {
    /// Finds the programs. Those that are missing are no error here: what needs them is refused.
    pub fn new(paths: &ToolPaths, report_deadline: Duration, state_directory: &Path) -> Linux {
        let is_program = |path: &PathBuf| path.is_file() && access(path, AccessFlags::X_OK).is_ok();
        let is_ours = |path: &PathBuf| {
            is_program(path)
                && files::doubt(path)
                    .map(|doubt| tracing::warn!("ignoring a program that others could have changed: {doubt}"))
                    .is_none()
        };
        let find = |tool: Tool| match paths.get(&tool) {
            Some(path) => Some(path.clone()).filter(is_program),
            None => DIRECTORIES.iter().map(|dir| Path::new(dir).join(tool.as_str())).find(is_ours),
        };
        let tools = Tool::ALL.iter().copied().filter_map(|tool| Some((tool, find(tool)?))).collect();
        let (bounded, patient) = (Bounded::new(STAT_DEADLINE), Bounded::new(READ_DEADLINE));
        let settings = (!paths.contains_key(&Tool::Lvm)).then(Settings::new);
        let (left_behind, frozen) = (LeftBehind::default(), LeftBehind::default());
        let state_directory = state_directory.to_owned();
        Linux { tools, settings, report_deadline, left_behind, frozen, state_directory, bounded, patient }
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
        own_names()
    }

    fn resolved(&self, command: &Command) -> Command {
        match &self.settings {
            Some(settings) if command.tool == Tool::Lvm => settings.shortened(command),
            _ => command.clone(),
        }
    }

    fn run(&self, command: &Command, overdue: &dyn Fn()) -> Result<Output, RunError> {
        let tool = command.tool;
        let program = self.tools.get(&tool).ok_or(RunError::Missing { tool })?;
        let failed = |source| RunError::Io { tool, source };
        // What changes something was resolved by who logged it.
        if command.mutates {
            return exec::mutating(program, &command.arguments, tool.expected(), overdue).map_err(failed);
        }
        let arguments = self.resolved(command).arguments;
        // What waits for a frozen file system must not keep LVM's reports from being asked.
        let (deadline, left) = match tool {
            Tool::Rmdir => (FROZEN_DEADLINE, &self.frozen),
            _ => (self.report_deadline, &self.left_behind),
        };
        if let Some(count) = left.too_many() {
            return Err(RunError::Stuck { command: command.name().to_owned(), count });
        }
        match exec::report(program, &arguments, deadline, left).map_err(failed)? {
            RunEnd::Exited(output) => Ok(output),
            RunEnd::TimedOut => Err(RunError::TimedOut { command: command.name().to_owned(), after: deadline }),
            RunEnd::TooMuch => Err(RunError::TooMuch { command: command.name().to_owned(), limit: MAX_OUTPUT }),
        }
    }

    fn is_running(&self, command: &Command) -> bool {
        let variants = [command.arguments.clone(), settings::without_settings(command).arguments];
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

    fn mountinfo(&self) -> io::Result<Vec<u8>> {
        std::fs::read("/proc/self/mountinfo")
    }

    fn usage(&self, mount_point: &MountPoint) -> io::Result<(Usage, DeviceNumber)> {
        let place = mount_point.as_path().to_owned();
        self.bounded.call(&key(mount_point), move || mounted::usage(&place, &Numbers::default()))
    }

    fn usages(&self, mount_points: &[MountPoint]) -> Vec<io::Result<(Usage, DeviceNumber)>> {
        let asked = mount_points.iter().map(|point| (key(point), point.as_path().to_owned())).collect();
        let numbers = Numbers::default();
        self.bounded.call_all(asked, move |place: PathBuf| mounted::usage(&place, &numbers))
    }

    fn device_path(&self, device: DeviceNumber) -> PathBuf {
        names(device).into_iter().find(|name| leads_to(name, device)).unwrap_or_else(|| by_number(device))
    }

    fn superblock(&self, device: DeviceNumber) -> io::Result<Vec<u8>> {
        self.bounded.call(&format!("device {device}"), move || read_superblock(device))
    }

    fn awaited_superblock(&self, device: DeviceNumber) -> io::Result<Vec<u8>> {
        self.patient.call(&format!("device {device}"), move || read_superblock(device))
    }

    fn on_disk(&self, device: DeviceNumber, places: Vec<u64>) -> io::Result<Vec<Vec<u8>>> {
        self.patient.call(&format!("device {device}"), move || {
            let device = open_device(device, OFlag::O_DIRECT)?;
            let mut memory = vec![0; 2 * filesystem::LENGTH];
            let start = memory.as_ptr().align_offset(filesystem::LENGTH);
            let block = memory.get_mut(start..start + filesystem::LENGTH).ok_or(io::ErrorKind::OutOfMemory)?;
            let read = |place: &u64| device.read_at(block, *place).map(|length| block[..length].to_vec());
            places.iter().map(read).collect()
        })
    }

    fn flush(&self, device: DeviceNumber) -> io::Result<()> {
        self.patient.call(&format!("device {device}"), move || open_device(device, OFlag::empty())?.sync_all())
    }

    fn block_device(&self, path: &Path) -> Option<DeviceNumber> {
        // In devtmpfs, which never hangs.
        let meta = path.starts_with("/dev").then(|| std::fs::metadata(path).ok())??;
        (meta.rdev() != 0).then(|| device_number(meta.rdev()))
    }

    fn errors(&self, kind: FsKind, device: DeviceNumber) -> Option<u64> {
        let counter = kind.about().error_counter?;
        let link = std::fs::read_link(format!("/sys/dev/block/{device}")).ok()?;
        let name = link.file_name()?.to_str()?;
        std::fs::read_to_string(counter.replace('*', name)).ok()?.trim().parse().ok()
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
        let size = sectors(Path::new(&format!("/sys/dev/block/{device}")))?;
        let [name, uuid] = [read("dm/name")?, read("dm/uuid")?].map(|text| text.trim().to_owned());
        let block_size = logical_block_size(device)?;
        Ok(Mapped { name, uuid, size, suspended: is_set("dm/suspended")?, read_only: is_set("ro")?, block_size })
    }

    fn disk(&self, device: DeviceNumber) -> io::Result<Disk> {
        disk::disk(device)
    }

    fn rescan(&self, device: DeviceNumber) -> io::Result<()> {
        for file in disk::rescans(device) {
            // The disk answers before this returns, and one that does not answer must not be waited for.
            self.patient.call(&file.display().to_string(), move || disk::rescan(&file))?;
        }
        Ok(())
    }

    fn below(&self, device: DeviceNumber) -> Vec<DeviceNumber> {
        disk::below(device)
    }

    fn holders(&self, device: DeviceNumber) -> Vec<DeviceNumber> {
        disk::holders(device)
    }

    fn key_file(&self, file: &Path) -> io::Result<KeyFileFacts> {
        let path = file.to_owned();
        self.bounded.call(&format!("key file {}", file.display()), move || {
            let exposed = super::key::exposed(&path)?;
            Ok(KeyFileFacts { exposed, mount: mounted::usage(&path, &Numbers::default())?.1 })
        })
    }

    fn exclusive_operation(&self, kind: FsKind, shown_as: &str) -> io::Result<String> {
        let operations = kind.about().operations.as_ref().ok_or(io::ErrorKind::Unsupported)?;
        match std::fs::read_to_string(operations.shown_in.replace('*', shown_as)) {
            Ok(text) => Ok(text.trim().to_owned()),
            // Of btrfs, kernels before 5.10 do not show it; theirs is found out by `btrfs`, which waits.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok("none".to_owned()),
            Err(error) => Err(error),
        }
    }

    fn missing_capabilities(&self) -> Vec<Capability> {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let namespace = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
        missing_capabilities(&status, &namespace)
    }

    fn state_usage(&self) -> Option<Usage> {
        let folder = self.state_directory.clone();
        let usage = self.bounded.call("the state directory", move || {
            // Before the first start it is not there; what is above it has the same room.
            let there = folder.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("/"));
            mounted::usage(there, &Numbers::default())
        });
        usage.ok().map(|(usage, _)| usage)
    }

    fn make_private_folder(&self, folder: &Path) -> io::Result<()> {
        files::Folder::own(folder).map(drop)
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
        Tool::ALL.iter().copied().filter(|tool| !self.tools.contains_key(tool)).collect()
    }
}

/// The names and addresses of this host as they are now.
pub fn own_names() -> Vec<String> {
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

/// udev's name for a device, which is not there without udev.
fn by_number(device: DeviceNumber) -> PathBuf {
    PathBuf::from(format!("/dev/block/{device}"))
}

/// From `/proc/self/status` and `/proc/self/uid_map`. The kernel asks for these in the first user namespace, where all
/// user IDs are their own; in any other nobody has them.
fn missing_capabilities(status: &str, uid_map: &str) -> Vec<Capability> {
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = effective.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0);
    let is_first = uid_map.split_whitespace().eq(["0", "0", "4294967295"]);
    let has = |capability: &Capability| is_first && effective & (1 << capability.bit()) != 0;
    Capability::ALL.into_iter().filter(|capability| !has(capability)).collect()
}

/// The names under which a device may be found: udev's, the kernel's in devtmpfs, and device-mapper's, which LVM makes
/// itself where there is no udev. Each may lead to another device, so whoever uses one looks what it leads to.
fn names(device: DeviceNumber) -> Vec<PathBuf> {
    let read = |file: &str| std::fs::read_to_string(format!("/sys/dev/block/{device}/{file}")).ok();
    let kernel = read("uevent").and_then(|text| {
        let name = text.lines().find_map(|line| line.strip_prefix("DEVNAME="))?;
        (!name.split('/').any(|part| part == "..")).then(|| Path::new("/dev").join(name))
    });
    let mapper = read("dm/name").map(|name| Path::new("/dev/mapper").join(name.trim().replace('/', "!")));
    [Some(by_number(device)), kernel, mapper].into_iter().flatten().collect()
}

fn leads_to(name: &Path, device: DeviceNumber) -> bool {
    std::fs::metadata(name).is_ok_and(|meta| is_device(&meta, device))
}

fn is_device(meta: &std::fs::Metadata, device: DeviceNumber) -> bool {
    meta.file_type().is_block_device() && device_number(meta.rdev()) == device
}

fn read_superblock(device: DeviceNumber) -> io::Result<Vec<u8>> {
    let mut head = vec![0; filesystem::LENGTH];
    let device = open_device(device, OFlag::empty())?;
    device.read_exact_at(&mut head, 0)?;
    if filesystem::parse(&head).is_none() {
        // Perhaps a btrfs; a device too small for that is none.
        head.resize(filesystem::LONG, 0);
        if device.read_exact_at(&mut head, 0).is_err() {
            head.truncate(filesystem::LENGTH);
        }
    }
    Ok(head)
}

/// Opens a device to be read. A name that leads elsewhere by the time it is opened is none of it.
fn open_device(device: DeviceNumber, flags: OFlag) -> io::Result<File> {
    for name in names(device).iter().filter(|name| leads_to(name, device)) {
        let file = File::options().read(true).custom_flags(flags.bits()).open(name)?;
        if is_device(&file.metadata()?, device) {
            return Ok(file);
        }
    }
    let names: Vec<String> = names(device).iter().map(|name| name.display().to_string()).collect();
    Err(io::Error::new(io::ErrorKind::NotFound, format!("none of {} is the device {device}", names.join(", "))))
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

/// What [`Bounded`] knows a mount point by. Two that are not UTF-8 may look alike as text.
fn key(mount_point: &MountPoint) -> String {
    mount_point.as_path().as_os_str().as_bytes().escape_ascii().to_string()
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

/// Loopback, link-local addresses, and what container and machine runtimes give their bridges: many hosts have the
/// same.
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
    fn capabilities_count_in_the_first_user_namespace_only() {
        let first = "         0          0 4294967295\n";
        let status = |bits: &str| format!("Name:\tx\nCapPrm:\tffffffffffffffff\nCapEff:\t{bits}\n");
        let all = status("000001ffffffffff");
        assert_eq!(missing_capabilities(&all, first), []);
        assert_eq!(missing_capabilities(&all, "0 100000 65536\n"), Capability::ALL);
        assert_eq!(missing_capabilities(&status("000001fffeffffff"), first), [Capability::CapSysResource]);
        assert_eq!(missing_capabilities(&status("000001ffffdfffff"), first), [Capability::CapSysAdmin]);
        assert_eq!(missing_capabilities("", first), Capability::ALL);
    }

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
        assert!(host.mountinfo().expect("Linux").windows(3).any(|part| part == b" / "));
        let (usage, _) = host.usage(&"/".parse().expect("a path")).expect("the root");
        assert!(usage.size.0 > 0);
        assert!(!host.own_names().iter().any(|name| name.starts_with("127.")));
    }

    /// Whatever block devices this machine has, by the number that sysfs gives them: not every one has udev's link.
    #[test]
    fn a_device_is_found_by_its_number_with_and_without_udev() {
        let listed = std::fs::read_dir("/sys/dev/block").into_iter().flatten().flatten();
        let numbers = listed.filter_map(|entry| entry.file_name().to_str()?.parse::<DeviceNumber>().ok());
        for device in numbers {
            let without_udev = names(device).into_iter().skip(1).find(|name| leads_to(name, device));
            if let Some(name) = without_udev {
                assert!(name.starts_with("/dev") && !name.starts_with("/dev/block"), "{}", name.display());
                let host = Linux::new(&ToolPaths::default(), Duration::from_secs(5), Path::new("/"));
                assert!(leads_to(&host.device_path(device), device), "{device}");
            }
        }
        // Of none by that number no name is opened.
        let nothing = DeviceNumber { major: 4095, minor: 1_048_575 };
        let error = open_device(nothing, OFlag::empty()).expect_err("there is none");
        assert!(error.to_string().contains("/dev/block/4095:1048575 is the device"), "{error}");
        assert!(!leads_to(Path::new("/dev/null"), DeviceNumber { major: 1, minor: 3 }), "a character device");
    }

    #[test]
    fn a_configured_program_that_is_not_there_is_missing() {
        let paths = ToolPaths::from([(Tool::Lvm, "/nonexistent/lvm".into())]);
        assert!(Linux::new(&paths, Duration::from_secs(5), Path::new("/")).missing_tools().contains(&Tool::Lvm));
    }
}
