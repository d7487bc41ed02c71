//! A simulated host: volume groups, volumes and file systems in memory that answer the same commands with the same
//! output and exit codes as the real programs (see the tests in `tests/vm`, which hold both against each other).
//!
//! Shipped with the program (`serve --simulate=FILE`), so that anybody can see the metrics and the pipeline without
//! LVM; and used by the tests for breadth, faults and crashes.

mod commands;
mod fault;
mod file;
mod luks;
mod model;
mod output;
mod person;
mod report;
mod supply;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

use super::{Host, KeyFileFacts, Output, RunError};
use crate::command::{Command, Tool};
use crate::filesystem::{self, FsKind};
use crate::inventory::{Capability, DeviceNumber, DeviceUsers, Disk, Mapped, Usage, mounts};
use crate::name::MountPoint;
use crate::plan::Moment;
pub use fault::{Crash, Fault, Harm};
pub use file::{SimError, load, parse};
pub use model::{Model, SimFs, SimKeyFile, SimLuks, SimLv, SimPool, SimPv, SimVg};

/// Longer than a look after a command is repeated.
const LEFT_BEHIND: u32 = 10;

/// A host that exists only in memory.
pub struct Sim {
    model: Mutex<Model>,
    faults: Mutex<Vec<Fault>>,
    /// Every command that was run, for tests and for people who watch.
    log: Mutex<Vec<Command>>,
    /// Commands that go on although the daemon that started them is dead, and how often it is asked before they end.
    left_behind: Mutex<Vec<(Command, u32)>>,
    /// Those that were started again before they ended.
    beside_itself: Mutex<Vec<String>>,
    clock: Clock,
}

/// Where the simulated time comes from.
enum Clock {
    /// It passes this many times faster than the real one; `boot` tells this start from others, and `up` is how long
    /// it had been up at `since`.
    Running { from: Timestamp, since: Instant, speed: f64, boot: u64, up: Duration },
    /// It passes only when somebody sleeps or [`Sim::pass`] is called.
    Stepped(Mutex<Stepped>),
}

/// A simulated host at a moment.
#[derive(serde::Serialize, serde::Deserialize)]
struct Simulation {
    model: Model,
    now: Moment,
}

/// A clock that stands still.
#[derive(Debug, Clone, Copy)]
struct Stepped {
    wall: Timestamp,
    boot: u64,
    up: Duration,
}

impl Sim {
    /// A host whose time passes by itself, `speed` times as fast as the real one.
    pub fn running(model: Model, from: Timestamp) -> Sim {
        let speed = model.speed;
        // Each start is a boot of its own: in the same one no time would have passed since what an earlier start did.
        let boot = from.as_microsecond().unsigned_abs();
        Sim::new(model, Clock::Running { from, since: Instant::now(), speed, boot, up: Duration::ZERO })
    }

    /// The host of a running daemon, as its [`Host::simulation`] gives it.
    pub fn of_daemon(json: &str) -> serde_json::Result<Sim> {
        let Simulation { model, now } = serde_json::from_str(json)?;
        let (boot, up) = now.boot.unwrap_or((0, Duration::ZERO));
        let (from, speed) = (now.at, model.speed);
        Ok(Sim::new(model, Clock::Running { from, since: Instant::now(), speed, boot, up }))
    }

    /// A host whose time stands still until it is moved.
    pub fn stepped(model: Model, from: Timestamp) -> Sim {
        Sim::new(model, Clock::Stepped(Mutex::new(Stepped { wall: from, boot: 1, up: Duration::ZERO })))
    }

    fn new(model: Model, clock: Clock) -> Sim {
        Sim {
            model: Mutex::new(model),
            faults: Mutex::default(),
            log: Mutex::default(),
            left_behind: Mutex::default(),
            beside_itself: Mutex::default(),
            clock,
        }
    }

    /// Lets time pass on a stepped host.
    pub fn pass(&self, duration: Duration) {
        self.set(SignedDuration::try_from(duration).unwrap_or_default(), duration, 0);
    }

    /// Somebody sets the clock of a stepped host; no time passes.
    pub fn set_clock(&self, by: SignedDuration) {
        self.set(by, Duration::ZERO, 0);
    }

    /// A stepped host boots anew.
    pub fn reboot(&self) {
        self.set(SignedDuration::ZERO, Duration::ZERO, 1);
    }

    fn set(&self, wall: SignedDuration, up: Duration, boots: u64) {
        if let Clock::Stepped(now) = &self.clock {
            let mut now = crate::locked(now);
            now.wall = now.wall.saturating_add(wall).unwrap_or(now.wall);
            now.boot += boots;
            now.up = if boots > 0 { Duration::ZERO } else { now.up.saturating_add(up) };
        }
    }

    /// Looks at or changes the model, as a person at the machine could.
    pub fn with<T>(&self, change: impl FnOnce(&mut Model) -> T) -> T {
        let now = self.now();
        let mut model = crate::locked(&self.model);
        model.fill_until(now);
        change(&mut model)
    }

    /// Has a person paste a line into a root shell: a command of this tool, or one of those that it names to people.
    pub fn paste(&self, line: &str) -> Output {
        self.with(|model| person::paste(model, line))
    }

    /// Makes something go wrong.
    pub fn inject(&self, fault: Fault) {
        crate::locked(&self.faults).push(fault);
    }

    /// The commands that were run so far, those that only read left out.
    pub fn changes(&self) -> Vec<String> {
        crate::locked(&self.log).iter().filter(|command| command.mutates).map(|command| command.to_string()).collect()
    }

    /// How often a program was run.
    pub fn runs(&self, tool: Tool) -> usize {
        crate::locked(&self.log).iter().filter(|command| command.tool == tool).count()
    }

    /// Asks the kernel, which can go wrong like a command.
    fn ask<T>(&self, what: &str, answer: impl FnOnce(&mut Model) -> io::Result<T>) -> io::Result<T> {
        let harm = self.harm(what);
        harm.iter().for_each(|harm| harm.before(&what, &|| ()));
        let answer = self.with(answer)?;
        harm.iter().for_each(|harm| harm.after(&what));
        match harm {
            None | Some(Harm::Overdue) => Ok(answer),
            Some(_) => Err(io::Error::from(nix::errno::Errno::EIO)),
        }
    }

    /// Commands that were started while the same one, left behind by a daemon that died, was still running.
    pub fn beside_itself(&self) -> Vec<String> {
        crate::locked(&self.beside_itself).clone()
    }

    fn harm(&self, command: &str) -> Option<Harm> {
        let mut faults = crate::locked(&self.faults);
        let fault = faults.iter_mut().find(|fault| fault.strikes(command))?;
        fault.hit()
    }
}

/// The number of a mount.
fn number(lv: &SimLv, fs: &SimFs) -> DeviceNumber {
    let own = lv.upper_device();
    if fs.kind == "btrfs" { DeviceNumber { major: 0, minor: 40 + own.minor } } else { own }
}

impl Host for Sim {
    fn now(&self) -> Timestamp {
        match &self.clock {
            Clock::Running { from, since, speed, .. } => {
                let passed = Duration::try_from_secs_f64(since.elapsed().as_secs_f64() * speed).unwrap_or_default();
                from.saturating_add(SignedDuration::try_from(passed).unwrap_or_default()).unwrap_or(*from)
            }
            Clock::Stepped(now) => crate::locked(now).wall,
        }
    }

    fn moment(&self) -> Moment {
        let boot = match &self.clock {
            Clock::Running { since, speed, boot, up, .. } => (*boot, *up + since.elapsed().mul_f64(*speed)),
            Clock::Stepped(now) => {
                let now = crate::locked(now);
                (now.boot, now.up)
            }
        };
        Moment { at: self.now(), boot: Some(boot) }
    }

    fn sleep(&self, duration: Duration) {
        match &self.clock {
            Clock::Running { speed, .. } => std::thread::sleep(duration.div_f64(speed.max(0.001))),
            Clock::Stepped(_) => self.pass(duration),
        }
    }

    fn own_names(&self) -> Vec<String> {
        crate::locked(&self.model).names.clone()
    }

    fn simulation(&self) -> Option<String> {
        let now = self.moment();
        serde_json::to_string(&Simulation { model: self.with(|model| model.clone()), now }).ok()
    }

    fn run(&self, command: &Command, overdue: &dyn Fn()) -> Result<Output, RunError> {
        crate::locked(&self.log).push(command.clone());
        if command.mutates && crate::locked(&self.left_behind).iter().any(|(running, _)| running == command) {
            crate::locked(&self.beside_itself).push(command.to_string());
        }
        if self.missing_tools().contains(&command.tool) {
            return Err(RunError::Missing { tool: command.tool });
        }
        let harm = self.harm(command.name());
        harm.iter().for_each(|harm| harm.before(command, overdue));
        match harm {
            Some(Harm::Fails) => return Ok(fault::failure(command)),
            Some(Harm::CrashDuring) => {
                crate::locked(&self.left_behind).push((command.clone(), LEFT_BEHIND));
                fault::crash_during(command);
            }
            Some(Harm::Garbage) => return Ok(fault::garbage()),
            Some(Harm::TimesOut) => {
                return Err(RunError::TimedOut { command: command.name().to_owned(), after: Duration::from_secs(30) });
            }
            _ => {}
        }
        if command.tool == Tool::Rmdir && self.with(|model| commands::waits(model, command)) {
            return Err(RunError::TimedOut { command: command.name().to_owned(), after: Duration::from_secs(5) });
        }
        let output = self.with(|model| commands::run(model, command));
        harm.iter().for_each(|harm| harm.after(command));
        // What a command reports as failed although it did its work.
        Ok(if harm == Some(Harm::FailsAfterwards) { fault::failure(command) } else { output })
    }

    fn is_running(&self, command: &Command) -> bool {
        let mut left = crate::locked(&self.left_behind);
        let Some((_, questions)) = left.iter_mut().find(|(running, _)| running == command) else { return false };
        *questions = questions.saturating_sub(1);
        if *questions > 0 {
            return true;
        }
        left.retain(|(running, _)| running != command);
        drop(left);
        self.with(|model| commands::run(model, command));
        false
    }

    fn mountinfo(&self) -> io::Result<Vec<u8>> {
        self.ask("mountinfo", |model| {
            let mut text = String::from("22 1 0:20 / /proc rw,relatime - proc proc rw\n");
            for (lv, fs) in model.mounted() {
                let options = if fs.read_only { "ro" } else { "rw" };
                let by = if fs.by_backup { ",sb=131072" } else { "" };
                let point = mounts::escape(&fs.mount_point.to_string());
                let device = number(lv, fs);
                let source = fs.mounted_as.as_ref().map_or_else(|| lv.upper_path(), |name| name.dm_path());
                let source = mounts::escape(&source.to_string_lossy());
                text.push_str(&format!(
                    "{} 1 {device} / {point} {options} - {} {source} {options}{by}\n",
                    100 + device.minor,
                    fs.kind
                ));
            }
            Ok(text.into_bytes())
        })
    }

    fn usage(&self, mount_point: &MountPoint) -> io::Result<(Usage, DeviceNumber)> {
        self.with(|model| {
            let found = model.mounted().filter(|(_, fs)| &fs.mount_point == mount_point).last();
            let (lv, fs) = found.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
            if fs.hangs {
                return Err(io::Error::from(io::ErrorKind::TimedOut));
            }
            Ok((fs.usage(), number(lv, fs)))
        })
    }

    fn device_path(&self, device: DeviceNumber) -> PathBuf {
        PathBuf::from(format!("/dev/block/{device}"))
    }

    fn superblock(&self, device: DeviceNumber) -> io::Result<Vec<u8>> {
        let is_slow =
            self.with(|model| model.lv_by_device(device).and_then(|lv| lv.fs.as_ref()).is_some_and(|fs| fs.slow));
        if is_slow { Err(io::ErrorKind::TimedOut.into()) } else { self.awaited_superblock(device) }
    }

    fn awaited_superblock(&self, device: DeviceNumber) -> io::Result<Vec<u8>> {
        self.with(|model| {
            if let Some((_, pv)) = model.pv_on(device) {
                return Ok(pv.head());
            }
            let lv = model.lv_by_device(device).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
            if let Some(luks) = lv.luks.as_ref().filter(|_| device == lv.device()) {
                return Ok(luks.head());
            }
            Ok(lv.fs.as_ref().and_then(SimFs::superblock).map_or(vec![0; filesystem::LENGTH], |sb| sb.facts().render()))
        })
    }

    fn on_disk(&self, device: DeviceNumber, places: Vec<u64>) -> io::Result<Vec<Vec<u8>>> {
        let copies = |fs: &SimFs| SimFs { size: fs.size_in_copies.unwrap_or(fs.size), ..fs.clone() };
        self.with(|model| {
            let lv = model.lv_by_device(device).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
            let head = |place: &u64| {
                let fs = lv.fs.as_ref().map(|fs| if *place == 0 { fs.clone() } else { copies(fs) });
                fs.and_then(|fs| fs.superblock()).map_or(vec![], |sb| sb.facts().render())
            };
            Ok(places.iter().map(head).collect())
        })
    }

    fn flush(&self, device: DeviceNumber) -> io::Result<()> {
        self.with(|model| {
            let mut pvs = model.vgs.iter_mut().flat_map(|vg| &mut vg.pvs);
            match pvs.nth(device.minor as usize).filter(|_| device.major == model::DISKS) {
                Some(pv) if pv.flushes_that_fail > 0 => {
                    pv.flushes_that_fail -= 1;
                    Err(io::Error::from_raw_os_error(nix::errno::Errno::EIO as i32))
                }
                _ => Ok(()),
            }
        })
    }

    fn block_device(&self, path: &Path) -> Option<DeviceNumber> {
        let node = |lv: &SimLv| DeviceNumber { minor: lv.stale_minor.unwrap_or(lv.minor), ..lv.device() };
        self.with(|model| {
            let volume = model.lvs.iter().find(|lv| lv.name.dm_path() == path).map(node);
            let mapped = model.lvs.iter().find(|lv| lv.mapping().is_some() && lv.upper_path() == path);
            volume.or_else(|| mapped.map(SimLv::upper_device)).or_else(|| model.disk_number(path.to_str()?))
        })
    }

    fn disk(&self, device: DeviceNumber) -> io::Result<Disk> {
        self.with(|model| model.disk(device).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound)))
    }

    fn rescan(&self, device: DeviceNumber) -> io::Result<()> {
        self.with(|model| {
            model.pv_on_mut(device).into_iter().for_each(|pv| pv.device_exceeds += std::mem::take(&mut pv.unseen));
            Ok(())
        })
    }

    /// Here nothing lies on a volume but its file system, or its mapping.
    fn below(&self, device: DeviceNumber) -> Vec<DeviceNumber> {
        let below = |lv: &SimLv| lv.mapping().filter(|_| device != lv.device()).map(|_| lv.device());
        self.with(|model| model.lv_by_device(device).and_then(below).into_iter().collect())
    }

    fn holders(&self, device: DeviceNumber) -> Vec<DeviceNumber> {
        let above = |lv: &SimLv| lv.mapping().filter(|_| device == lv.device()).map(|_| lv.upper_device());
        self.with(|model| model.lv_by_device(device).and_then(above).into_iter().collect())
    }

    fn key_file(&self, file: &Path) -> io::Result<KeyFileFacts> {
        self.with(|model| {
            let found = model.key_files.get(file).ok_or_else(|| io::Error::from(nix::errno::Errno::ENOENT))?;
            let on = model.mounted().find(|(lv, _)| Some(lv.name.to_string()) == found.on);
            // The root of a host is on no volume here.
            let mount = on.map_or(DeviceNumber { major: 0, minor: 1 }, |(lv, fs)| number(lv, fs));
            Ok(KeyFileFacts { exposed: found.exposed.clone(), mount })
        })
    }

    fn exclusive_operation(&self, _: FsKind, _: &str) -> io::Result<String> {
        let operation = |fs: &SimFs| fs.exclusive_operation.clone();
        self.with(|model| Ok(model.mounted().find_map(|(_, fs)| operation(fs)).unwrap_or_else(|| "none".to_owned())))
    }

    fn missing_capabilities(&self) -> Vec<Capability> {
        crate::locked(&self.model).missing_capabilities.clone()
    }

    fn errors(&self, _: FsKind, device: DeviceNumber) -> Option<u64> {
        self.with(|model| model.lv_by_device(device)?.fs.as_ref().filter(|fs| fs.is_ext()).map(|fs| fs.errors))
    }

    fn users(&self, device: DeviceNumber) -> io::Result<DeviceUsers> {
        self.with(|model| {
            let lv = model.lv_by_device(device).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
            Ok(DeviceUsers { holders: lv.holders.clone(), is_swap: lv.is_swap })
        })
    }

    fn mapped(&self, device: DeviceNumber) -> io::Result<Mapped> {
        self.ask("mapped", |model| {
            let lv = model.lv_by_device(device).filter(|lv| lv.active);
            let lv = lv.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
            let (read_only, block_size) = (lv.read_only, lv.block_size);
            if let Some(luks) = lv.mapping().filter(|_| device != lv.device()) {
                let (name, uuid, size, suspended) = (luks.name.clone(), luks.uuid(), luks.size, luks.suspended);
                return Ok(Mapped { name, uuid, size, suspended, read_only, block_size });
            }
            let (uuid, size) = (report::mapped_uuid(lv), lv.mapped.unwrap_or(lv.size()));
            let name = lv.name.dm_path().file_name().map_or(String::new(), |name| name.to_string_lossy().into_owned());
            Ok(Mapped { name, uuid, size, suspended: lv.suspended, read_only, block_size })
        })
    }

    fn state_usage(&self) -> Option<Usage> {
        crate::locked(&self.model).state_usage
    }

    fn make_private_folder(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn files_in(&self, folder: &Path) -> Vec<PathBuf> {
        let is_in = |file: &&PathBuf| file.parent() == Some(folder);
        crate::locked(&self.model).files.keys().filter(is_in).cloned().collect()
    }

    fn remove_file(&self, file: &Path) -> io::Result<()> {
        let removed = crate::locked(&self.model).files.remove(file);
        removed.map(drop).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }

    fn file_size(&self, file: &Path) -> Option<u64> {
        self.with(|model| model.files.get(file).copied())
    }

    fn missing_tools(&self) -> Vec<Tool> {
        crate::locked(&self.model).missing_tools.clone()
    }
}
