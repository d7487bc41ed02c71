//! Growth under load that is verified block by block, while another administrator works on the same groups and the
//! daemon is killed, stopped and deprived of its clock and its disk space. `make soak` grows five targets 20 times
//! each; the ordinary suite an ext4 and an XFS twice.
//!
//! The administrator only does what must not disturb a growth, or what the daemon has to wait for: nothing here touches
//! the size of a target. So at the end the sizes that the journal has must add up to those of `lvs`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Write;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use lvm_autoscaler::journal::{Event, Journal};
use lvm_autoscaler::plan::Outcome;
use nix::fcntl::{FallocateFlags, OFlag, fallocate};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::daemon::{Daemon, config, labels, payload};
use crate::grow::small;
use crate::http;
use crate::part::{self, Dice};
use crate::storage::{Group, Volume, path, sh, try_sh};

const BLOCK: usize = 4096;
/// So little over the threshold that one increment leads below it, however large the volume is by then.
const FULL: f64 = 81.0;
/// The administrator makes operations fail, some of them several times in a row: with the default the breaker would
/// close a target until somebody resets it, which is shown elsewhere.
const SETTINGS: &str =
    "defaults: { cooldown: 0s, breaker_failures: 100, budget: { extensions: 100, bytes: 1TiB, per: 24h } }";
/// For one growth, which waits for moves, frozen file systems and a daemon that is stopped most of the time.
const LONGEST: Duration = Duration::from_secs(600);

/// What a block holds: where it belongs, how often it was written before, and noise that follows from both.
pub(crate) fn block(file: u64, offset: u64, generation: u64) -> Vec<u8> {
    let mut dice = Dice(file << 48 ^ offset << 24 ^ generation);
    let mut bytes: Vec<u8> = [file, offset, generation].iter().flat_map(|number| number.to_le_bytes()).collect();
    while bytes.len() < BLOCK {
        bytes.extend(dice.roll(u64::MAX).to_le_bytes());
    }
    bytes
}

/// Compares what the disk holds of a file with the generations that its blocks should have; from `first` on. Read past
/// the page cache.
pub(crate) fn compare(file: &Path, number: u64, first: u64, generations: &[u64]) {
    let disk = File::options().read(true).custom_flags(OFlag::O_DIRECT.bits()).open(file);
    let disk = disk.unwrap_or_else(|error| panic!("{} was synced: {error}", file.display()));
    // O_DIRECT wants memory that is aligned like the disk.
    let mut memory = vec![0; (generations.len() + 1) * BLOCK];
    let start = memory.as_ptr().align_offset(BLOCK);
    let bytes = &mut memory[start..start + generations.len() * BLOCK];
    disk.read_exact_at(bytes, first * BLOCK as u64).expect("as long as it was written");
    for ((found, generation), at) in bytes.chunks(BLOCK).zip(generations).zip(first..) {
        let wanted = block(number, at, *generation);
        let differs = found.iter().zip(&wanted).position(|(found, wanted)| found != wanted);
        if let Some(byte) = differs {
            let head: Vec<u64> =
                found[..24].chunks(8).map(|word| u64::from_le_bytes(word.try_into().expect("8 bytes"))).collect();
            panic!(
                "{}, block {at}: differs from generation {generation} of file {number} from byte {byte} on; it begins with {head:?}",
                file.display()
            );
        }
    }
}

/// A file that is overwritten in place, again and again.
struct Blocks {
    path: PathBuf,
    number: u64,
    file: File,
    generations: Vec<u64>,
}

impl Blocks {
    fn new(volume: &Volume, number: u64) -> Blocks {
        let path = volume.mount_point.join(format!("blocks{number}"));
        let mut file = File::options().create_new(true).write(true).open(&path).expect("a file");
        for at in 0..64 {
            file.write_all(&block(number, at, 0)).expect("room for it");
        }
        file.sync_all().expect("on disk");
        Blocks { path, number, file, generations: vec![0; 64] }
    }

    /// Writes some blocks anew, syncs them and compares them; how many.
    fn rewrite(&mut self, dice: &mut Dice) -> u64 {
        let first = dice.roll(self.generations.len() as u64 - 1);
        let last = self.generations.len().min((first + 1 + dice.roll(16)) as usize) as u64;
        for at in first..last {
            self.generations[at as usize] += 1;
            let bytes = block(self.number, at, self.generations[at as usize]);
            self.file.write_all_at(&bytes, at * BLOCK as u64).expect("it is written in place");
        }
        self.file.sync_data().expect("on disk");
        compare(&self.path, self.number, first, &self.generations[first as usize..last as usize]);
        last - first
    }

    fn compare_all(&self) -> u64 {
        compare(&self.path, self.number, 0, &self.generations);
        self.generations.len() as u64
    }
}

/// A volume that grows, and all that is counted of it.
struct Target {
    volume: Volume,
    /// Of its file system.
    kind: &'static str,
    /// For the table.
    layout: &'static str,
    extents: u64,
    written: AtomicU64,
    compared: AtomicU64,
}

impl Target {
    fn new(group: &Group, layout: &'static str, kind: &'static str) -> Target {
        let size = if kind == "btrfs" { "512M" } else { small(kind) };
        let volume = match layout {
            "thin" => group.lv_as("thin", &["-V", size, "--thinpool", "pool"]),
            // Fresh disks are zeros on both legs, which is in sync.
            "raid1" => group.lv_as("raid1", &["--type", "raid1", "-m", "1", "--nosync", "-L", size]),
            _ => group.lv(kind, size),
        };
        volume.mkfs(kind);
        group.mount(&volume, &[]);
        let extents = volume.extents();
        Target { volume, kind, layout, extents, written: AtomicU64::new(0), compared: AtomicU64::new(0) }
    }

    /// The files that it will be written to. They stay open, so that the volume cannot be unmounted.
    fn files(&self) -> Vec<Blocks> {
        let number = u64::from(crc32fast::hash(self.volume.name().as_bytes())) << 8 & 0xFFFF;
        (0..8).map(|file| Blocks::new(&self.volume, number | file)).collect()
    }

    /// Writes and compares until told to stop; the files as they then are.
    fn load(&self, mut files: Vec<Blocks>, mut dice: Dice, over: &AtomicBool) -> Vec<Blocks> {
        while !over.load(Relaxed) {
            let file = dice.roll(files.len() as u64) as usize;
            let count = files[file].rewrite(&mut dice);
            self.written.fetch_add(count, Relaxed);
            self.compared.fetch_add(count, Relaxed);
            if dice.roll(50) == 0 {
                self.compared.fetch_add(files.iter().map(Blocks::compare_all).sum(), Relaxed);
            }
            thread::sleep(Duration::from_millis(20));
        }
        files
    }

    fn fill(&self) {
        if self.kind != "btrfs" {
            return self.volume.fill(FULL);
        }
        // What a btrfs has available goes down in its own steps.
        for _ in 0..400 {
            if self.volume.df_percent() > FULL {
                return;
            }
            let name =
                (0..).map(|number| self.volume.mount_point.join(format!("fill{number}"))).find(|at| !at.exists());
            let file = File::create(name.expect("one is free")).expect("a file");
            fallocate(file.as_fd(), FallocateFlags::empty(), 0, 4 << 20).expect("room for it");
            sh("sync", &["-f", path(&self.volume.mount_point)]);
        }
        panic!("{} is only {} % full", self.volume.name(), self.volume.df_percent());
    }

    /// Fills it and sends alerts until it has grown so often in all.
    fn grow(&self, wanted: usize, address: &Mutex<SocketAddr>, ledger: &Mutex<Ledger>) {
        self.fill();
        let body = payload(&labels(&self.volume));
        let began = Instant::now();
        let mut answers = BTreeMap::<String, usize>::new();
        while ledger.lock().expect("no panic").grown(&self.volume) < wanted {
            let about = ledger.lock().expect("no panic").about(&self.volume);
            let name = self.volume.name();
            assert!(began.elapsed() < LONGEST, "growth {wanted} of {name} does not come: {about}; {answers:#?}");
            // A daemon that is not there, or has no journal, does not take it; Alertmanager would come again as well.
            let now = *address.lock().expect("no panic");
            let answer = http::post(now, "/webhook/alertmanager", &body);
            let said =
                answer.map_or_else(|error| error.to_string(), |answer| format!("{} {}", answer.status, answer.body));
            *answers.entry(said).or_default() += 1;
            for _ in 0..10 {
                thread::sleep(Duration::from_millis(200));
                if ledger.lock().expect("no panic").grown(&self.volume) >= wanted {
                    break;
                }
            }
        }
    }

    fn check(&self) {
        sh("umount", &[path(&self.volume.mount_point)]);
        let check: &[&str] = match self.kind {
            "xfs" => &["xfs_repair", "-n"],
            "btrfs" => &["btrfs", "check", "--readonly"],
            _ => &["e2fsck", "-f", "-n"],
        };
        sh(check[0], &[&check[1..], &[&self.volume.path()]].concat());
    }
}

/// What the journal said so far, read record by record while the daemon writes it: it does not keep them for ever.
#[derive(Default)]
struct Ledger {
    read: u64,
    /// Volume, extents before and after, and the end of the operation.
    operations: Vec<(String, u64, u64, Outcome)>,
    refusals: BTreeMap<(String, String), usize>,
    last_words: BTreeMap<String, String>,
}

impl Ledger {
    fn read_on(&mut self, state: &Path) {
        let after = self.read;
        let result = Journal::read_since(state, after, &mut |record| {
            assert!(after == 0 || record.number == self.read + 1, "record {} is missing", self.read + 1);
            self.read = record.number;
            match &record.entry.event {
                Event::Finished { id, outcome, account } => {
                    let plan = &record.before.running[id].plan;
                    self.last_words.insert(plan.lv.to_string(), account.to_string());
                    self.operations.push((plan.lv.to_string(), plan.before.0, plan.after.0, *outcome));
                }
                Event::Refused { lv: Some(lv), refusal, .. } => {
                    self.last_words.insert(lv.to_string(), refusal.sentence.clone());
                    *self.refusals.entry((lv.to_string(), refusal.code.to_string())).or_default() += 1;
                }
                _ => {}
            }
        });
        result.expect("the journal can be read");
    }

    fn of(&self, volume: &Volume) -> impl Iterator<Item = &(String, u64, u64, Outcome)> {
        self.operations.iter().filter(|operation| operation.0 == volume.name())
    }

    fn grown(&self, volume: &Volume) -> usize {
        self.of(volume).filter(|operation| operation.3 == Outcome::Grown).count()
    }

    fn about(&self, volume: &Volume) -> String {
        self.last_words.get(&volume.name()).cloned().unwrap_or_default()
    }
}

/// How often something was done, and how often it succeeded.
#[derive(Default)]
struct Counts(Mutex<BTreeMap<&'static str, (usize, usize)>>);

impl Counts {
    fn add(&self, what: &'static str, succeeded: bool) {
        let mut counts = self.0.lock().expect("no panic");
        let count = counts.entry(what).or_default();
        count.0 += 1;
        count.1 += usize::from(succeeded);
    }

    fn table(&self) -> String {
        let counts = self.0.lock().expect("no panic");
        let lines = counts.iter().map(|(what, (tried, succeeded))| format!("{what} {succeeded} of {tried}"));
        lines.collect::<Vec<_>>().join(", ")
    }
}

/// The other administrator of a group: one thing at a time, as it comes.
fn administer(group: &Group, targets: &[&Target], mut dice: Dice, over: &AtomicBool, counts: &Counts) {
    let scratch = format!("{}/scratch", group.name);
    let lvcreate = |arguments: &[&str]| try_sh("lvcreate", &[&["-qq", "-y"], arguments].concat()).0;
    let remove = |name: &str| try_sh("lvremove", &["-qq", "-y", name]).0;
    lvcreate(&["-n", "scratch", "-L", "16M", &group.name]);
    while !over.load(Relaxed) {
        let target = targets[dice.roll(targets.len() as u64) as usize];
        let (point, name) = (path(&target.volume.mount_point), target.volume.name());
        match dice.roll(10) {
            0 => {
                let made = lvcreate(&["-n", "more", "-L", "8M", &group.name]);
                counts.add("lvcreate", made);
                thread::sleep(Duration::from_millis(dice.roll(500)));
                counts.add("lvremove", remove(&format!("{}/more", group.name)));
            }
            1 => counts.add("lvchange --refresh", try_sh("lvchange", &["-qq", "--refresh", &name]).0),
            2 => counts.add("pvmove", try_sh("pvmove", &["-qq", "-i", "1", "-n", "scratch", &home(&scratch)]).0),
            3 if target.layout == "linear" => {
                // A part, so that the group is not closed to the daemon for long.
                let part = format!("{}:{}-{}", home(&name), 2 + dice.roll(8), 12);
                counts.add("pvmove of a target", try_sh("pvmove", &["-qq", "-i", "1", "-n", &name, &part]).0);
            }
            3 => {
                // LVM takes old-style snapshots of the volume beside; of a target the daemon would have to refuse it.
                let thin = target.layout == "thin";
                let made = if thin {
                    lvcreate(&["-s", "-kn", "-n", "snapshot", &name])
                } else {
                    lvcreate(&["-s", "-L", "8M", "-n", "snapshot", &scratch])
                };
                counts.add(if thin { "thin snapshot" } else { "snapshot" }, made);
                thread::sleep(Duration::from_millis(dice.roll(1500)));
                remove(&format!("{}/snapshot", group.name));
            }
            4 => {
                let made = lvcreate(&["-s", "-L", "8M", "-n", "snapshot", &scratch]);
                counts.add("snapshot", made);
                thread::sleep(Duration::from_millis(dice.roll(1500)));
                remove(&format!("{}/snapshot", group.name));
            }
            5 => {
                let frozen = try_sh("fsfreeze", &["-f", point]).0;
                thread::sleep(Duration::from_millis(50 + dice.roll(800)));
                counts.add("fsfreeze", try_sh("fsfreeze", &["-u", point]).0 && frozen);
            }
            6 => {
                let unmounted = try_sh("umount", &[point]).0;
                assert!(!unmounted, "{point} is in use");
                counts.add("umount refused", true);
            }
            7 => counts.add("udevadm trigger", try_sh("udevadm", &["trigger", "--subsystem-match=block"]).0),
            8 if dice.roll(3) == 0 => counts.add("udev restart", restart_udev()),
            _ => {}
        }
        thread::sleep(Duration::from_millis(200 + dice.roll(1000)));
    }
    for name in ["snapshot", "more", "scratch"] {
        remove(&format!("{}/{name}", group.name));
    }
}

/// A disk on which the volume has extents.
fn home(name: &str) -> String {
    let (_, devices, _) = try_sh("lvs", &["--noheadings", "-o", "devices", "--", name]);
    devices.trim().split(['(', '\n']).next().unwrap_or_default().to_owned()
}

/// As a package upgrade does it. Of the events that come meanwhile, and of those that wait, nobody hears; a command of
/// LVM's that waits for one waits for ever, until somebody says that it is over, as an administrator then has to.
fn restart_udev() -> bool {
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().expect("no panic");
    let daemon =
        ["/usr/lib/systemd/systemd-udevd", "/lib/systemd/systemd-udevd"].into_iter().find(|at| Path::new(at).exists());
    let old = sh("pidof", &["systemd-udevd"]);
    let oldest = old.split(' ').filter_map(|pid| pid.parse::<i32>().ok()).min().expect("it runs");
    kill(Pid::from_raw(oldest), Signal::SIGTERM).expect("it runs");
    while fs::read_link(format!("/proc/{oldest}/exe")).is_ok() {
        thread::sleep(Duration::from_millis(20));
    }
    let started = Command::new(daemon.expect("one of these")).arg("--daemon").status().expect("it starts");
    try_sh("udevadm", &["trigger", "--subsystem-match=block"]);
    let waiting = || -> BTreeSet<String> {
        let (_, cookies, _) = try_sh("dmsetup", &["udevcookies"]);
        cookies
            .lines()
            .filter_map(|line| line.split_whitespace().next())
            .filter(|word| word.starts_with("0x"))
            .map(str::to_owned)
            .collect()
    };
    let before = waiting();
    if !before.is_empty() {
        thread::sleep(Duration::from_secs(5));
        for cookie in before.intersection(&waiting()) {
            try_sh("dmsetup", &["udevcomplete", cookie]);
        }
    }
    started.success()
}

/// What happens to the daemon.
fn torment(own: &Group, config: &str, mut dice: Dice, address: &Mutex<SocketAddr>, over: &AtomicBool, counts: &Counts) {
    let start = || {
        let daemon = Daemon::start(own, config);
        *address.lock().expect("no panic") = daemon.address;
        daemon
    };
    let full = own.dir.join("state/fill");
    let mut daemon = start();
    let began = (Instant::now(), now());
    while !over.load(Relaxed) {
        thread::sleep(Duration::from_millis(500 + dice.roll(6000)));
        let id = Pid::from_raw(daemon.id() as i32);
        match dice.roll(6) {
            0 | 1 => {
                daemon.kill();
                counts.add("kill -9", true);
                thread::sleep(Duration::from_millis(dice.roll(1000)));
                daemon = start();
            }
            2 => {
                kill(id, Signal::SIGSTOP).expect("it runs");
                thread::sleep(Duration::from_millis(100 + dice.roll(4000)));
                kill(id, Signal::SIGCONT).expect("it runs");
                counts.add("STOP and CONT", true);
            }
            3 => {
                kill(id, Signal::SIGHUP).expect("it runs");
                counts.add("SIGHUP", true);
            }
            4 => {
                let hours = dice.one_of(&[-24 * 30, -24, -1, 0, 1, 24, 24 * 30]);
                set_clock(began.1 + began.0.elapsed().as_secs() as i64 + hours * 3600);
                counts.add("clock jump", true);
            }
            _ if full.exists() => fs::remove_file(&full).expect("ours"),
            _ => {
                try_sh("sh", &["-c", &format!("cat /dev/zero >{}", path(&full))]);
                counts.add("full state directory", true);
            }
        }
    }
    set_clock(began.1 + began.0.elapsed().as_secs() as i64);
    let _ = fs::remove_file(&full);
    assert!(daemon.stop().success());
}

fn now() -> i64 {
    sh("date", &["+%s"]).parse().expect("a number")
}

fn set_clock(to: i64) {
    sh("date", &["-s", &format!("@{to}")]);
}

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn growth_under_verified_load_beside_another_administrator() {
    let (growths, linear, layered): (_, &[&'static str], &[(&'static str, &'static str)]) = if part::is_soak() {
        (20, &["ext4", "xfs", "btrfs"], &[("thin", "ext4"), ("raid1", "xfs")])
    } else {
        (2, &["ext4", "xfs"], &[])
    };
    let only = std::env::var("LOAD_ONLY").ok();
    let wanted = |name: &str| only.as_ref().is_none_or(|only| only.split(',').any(|one| one == name));
    let linear: Vec<&'static str> = linear.iter().copied().filter(|kind| wanted(kind)).collect();
    let layered: Vec<(&'static str, &'static str)> =
        layered.iter().copied().filter(|(layout, _)| wanted(layout)).collect();
    assert!(!linear.is_empty() || !layered.is_empty(), "LOAD_ONLY names none of the targets");
    let seed = part::seed("LOAD_SEED");
    let own = Group::new("vmt_load_own", &["256M"]);
    own.filesystem("ext4", "state", "128M");
    let (mut groups, mut targets) = (vec![], vec![]);
    if !linear.is_empty() {
        let group = Group::new("vmt_load", &["4G", "4G", "4G"]);
        targets.extend(linear.iter().map(|kind| Target::new(&group, "linear", kind)));
        groups.push(group);
    }
    if !layered.is_empty() {
        let group = Group::new("vmt_load_layers", &["4G", "4G", "4G"]);
        group.lv_as("pool", &["--type", "thin-pool", "-L", "2G"]);
        targets.extend(layered.iter().map(|(layout, kind)| Target::new(&group, layout, kind)));
        groups.push(group);
    }
    let config = config(&own, &targets.iter().map(|target| &target.volume).collect::<Vec<_>>(), SETTINGS)
        .replace("increment: 32MiB", "increment: 16MiB");
    let state = own.dir.join("state");
    let (ledger, counts) = (Mutex::new(Ledger::default()), Counts::default());
    let address = Mutex::new(SocketAddr::from(([127, 0, 0, 1], 9)));
    // In the order in which they end.
    let (demand_over, load_over, ledger_over) =
        (AtomicBool::new(false), AtomicBool::new(false), AtomicBool::new(false));
    let began = Instant::now();
    thread::scope(|scope| {
        // Whoever panics must not leave the others running for ever.
        let _end = Flags([&demand_over, &load_over, &ledger_over]);
        let dice = |number: u64| Dice(seed << 8 | number);
        let reader = scope.spawn(|| {
            while !ledger_over.load(Relaxed) {
                let began = Instant::now();
                ledger.lock().expect("no panic").read_on(&state);
                // Not more than a third of its time.
                thread::sleep(began.elapsed() * 2 + Duration::from_millis(200));
            }
        });
        let load: Vec<_> = targets
            .iter()
            .zip(0..)
            .map(|(target, number)| {
                let (files, dice, over) = (target.files(), dice(number), &load_over);
                scope.spawn(move || target.load(files, dice, over))
            })
            .collect();
        let tormentor = {
            let dice = dice(100);
            scope.spawn(|| torment(&own, &config, dice, &address, &demand_over, &counts))
        };
        let administrators: Vec<_> = groups
            .iter()
            .zip(200..)
            .map(|(group, number)| {
                let targets: Vec<&Target> = targets.iter().filter(|target| target.volume.vg == group.name).collect();
                let (over, counts) = (&demand_over, &counts);
                scope.spawn(move || administer(group, &targets, dice(number), over, counts))
            })
            .collect();
        let demand: Vec<_> = targets
            .iter()
            .map(|target| {
                let (address, ledger) = (&address, &ledger);
                scope.spawn(move || (1..=growths).for_each(|wanted| target.grow(wanted, address, ledger)))
            })
            .collect();
        demand.into_iter().for_each(|thread| thread.join().expect("every growth comes"));
        demand_over.store(true, Relaxed);
        tormentor.join().expect("the daemon lives through everything");
        administrators.into_iter().for_each(|thread| thread.join().expect("the administrator goes home"));

        // Undisturbed every target grows once more.
        let daemon = Daemon::start(&own, &config);
        *address.lock().expect("no panic") = daemon.address;
        targets.iter().for_each(|target| {
            let had = ledger.lock().expect("no panic").grown(&target.volume);
            target.grow(had + 1, &address, &ledger);
        });
        daemon.wait_for("the end of everything", |daemon| {
            let state = daemon.journal();
            (state.running.is_empty() && state.pending.is_empty()).then_some(())
        });
        assert!(daemon.journal().parked.is_empty(), "something needs attention: {:?}", daemon.journal().parked);
        assert!(daemon.stop().success());
        load_over.store(true, Relaxed);
        let files: Vec<Vec<Blocks>> =
            load.into_iter().map(|thread| thread.join().expect("every block is right")).collect();
        ledger_over.store(true, Relaxed);
        reader.join().expect("no record is missing");
        ledger.lock().expect("no panic").read_on(&state);

        for (target, files) in targets.iter().zip(files) {
            let list: Vec<(PathBuf, u64, Vec<u64>)> =
                files.into_iter().map(|file| (file.path, file.number, file.generations)).collect();
            target.check();
            sh("mount", &[&target.volume.path(), path(&target.volume.mount_point)]);
            for (file, number, generations) in list {
                compare(&file, number, 0, &generations);
                target.compared.fetch_add(generations.len() as u64, Relaxed);
            }
            target.check();
        }
    });
    report(&targets, &ledger.lock().expect("no panic"), &counts, began.elapsed());
}

/// Compares the journal with `lvs`, and prints what was done.
fn report(targets: &[Target], ledger: &Ledger, counts: &Counts, took: Duration) {
    part::say("target          extents  growths failed refused   written  compared");
    for target in targets {
        let volume = &target.volume;
        let mut extents = target.extents;
        for (_, before, after, _) in ledger.of(volume).filter(|operation| operation.3 == Outcome::Grown) {
            assert_eq!(*before, extents, "{} begins where the last growth ended", volume.name());
            extents = *after;
        }
        assert_eq!(volume.extents(), extents, "{} is as large as the journal says", volume.name());
        if target.layout == "raid1" {
            crate::caches::assert_legs_agree(volume);
        }
        let failed = ledger.of(volume).filter(|operation| operation.3 != Outcome::Grown).count();
        let refused: usize =
            ledger.refusals.iter().filter(|((name, _), _)| name == &volume.name()).map(|(_, count)| count).sum();
        part::say(&format!(
            "{:6} {:5} {:5} ->{:5} {:7} {failed:6} {refused:7} {:9} {:9}",
            target.layout,
            target.kind,
            target.extents,
            extents,
            ledger.grown(volume),
            target.written.load(Relaxed),
            target.compared.load(Relaxed),
        ));
    }
    let mut codes: BTreeMap<&str, usize> = BTreeMap::new();
    ledger.refusals.iter().for_each(|((_, code), count)| *codes.entry(code).or_default() += count);
    let codes: Vec<String> = codes.iter().map(|(code, count)| format!("{code} {count}")).collect();
    part::say(&format!("the administrator and the daemon's misfortunes: {}", counts.table()));
    part::say(&format!("refusals: {}", codes.join(", ")));
    let sum = |count: fn(&Target) -> &AtomicU64| targets.iter().map(|target| count(target).load(Relaxed)).sum::<u64>();
    part::say(&format!(
        "figures: {} growths of {} targets in {} s, {} operations failed, {} blocks written, {} compared, {} disturbances",
        targets.iter().map(|target| ledger.grown(&target.volume)).sum::<usize>(),
        targets.len(),
        took.as_secs(),
        ledger.operations.iter().filter(|operation| operation.3 != Outcome::Grown).count(),
        sum(|target| &target.written),
        sum(|target| &target.compared),
        counts.0.lock().expect("no panic").values().map(|(tried, _)| tried).sum::<usize>(),
    ));
}

/// Sets all of them when it is dropped.
struct Flags<'a>([&'a AtomicBool; 3]);

impl Drop for Flags<'_> {
    fn drop(&mut self) {
        self.0.iter().for_each(|flag| flag.store(true, Relaxed));
    }
}
