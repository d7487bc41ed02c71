//! Random schedules of alerts, faults, crashes, restarts, passing time and people: whatever happens, the promises hold.
//!
//! Each schedule is made from its seed alone, which a failure names; `SCHEDULE_SEED=17` runs that one. `make test` runs
//! some, from a random seed on, `make soak` ten thousand; `SCHEDULES=100` and `SCHEDULES_FROM=17` say how many and
//! which.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use crate::common::part::{self, Dice};
use crate::common::*;
use lvm_autoscaler::engine::Ended;
use lvm_autoscaler::host::Host;
use lvm_autoscaler::host::sim::{Fault, Harm, Model, SimPv};
use lvm_autoscaler::inventory::{DiskKind, Partition, PartitionTable};
use lvm_autoscaler::journal::{Event, Journal};
use lvm_autoscaler::plan::Outcome;
use lvm_autoscaler::units::{Bytes, Extents, GIB, MIB};

/// Those of `make test` take some ten seconds on two cores.
const SCHEDULES: u64 = 300;
const SCHEDULES_OF_SOAK: u64 = 10_000;
const EVENTS: usize = 36;

const HOST: &str = "
names: [db1]
volume_groups:
  - name: vg
    physical_volumes: [{ name: /dev/sdb, size: 14GiB }, { name: /dev/sdc, size: 6GiB }]
    logical_volumes:
      - { name: data, size: 4GiB, filesystem: { type: ext4, mount_point: /data, used: 70%, fill: 400KiB } }
      - { name: media, size: 3GiB, filesystem: { type: xfs, mount_point: /media, used: 75%, fill: 300KiB } }
      - { name: other, size: 1GiB, filesystem: { type: ext4, mount_point: /other, used: 99% } }
";
const CONFIG: &str = "
defaults: { luks_key_file: /etc/lvm-autoscaler/data.key, cooldown: 10m, increment: 1GiB, min_increment: 256MiB }
monitor:
  targets:
    - { lv_path: /dev/vg/data, mount_point: /data, max_size: 9GiB }
    - { lv_path: /dev/vg/media, mount_point: /media, increment: 20% }
volume_groups:
  - name: vg
    reserve: 2GiB
    grown_disks: resize
    partitions: growpart
    spares: [AAAAAA-aaaa-aaaa-aaaa-aaaa-aaaa-aaaaaa]
";
const SPARE: &str = "AAAAAA-aaaa-aaaa-aaaa-aaaa-aaaa-aaaaaa";
const TARGETS: [&str; 2] = ["vg/data", "vg/media"];
const MAX_OF_DATA: u64 = 9 * 256;
const RESERVE: u64 = 2 * 256;

/// One schedule, and what it must keep true.
struct Run {
    seed: u64,
    world: World,
    dice: Dice,
    /// The daemon, unless it is down.
    daemon: Option<Daemon>,
    /// Just before which command of the daemon which of the PVs vanishes.
    vanishes: Arc<Mutex<Option<(&'static str, usize)>>>,
    log: Vec<String>,
}

/// The first PV is in the last partition of a disk that is full.
fn in_partition(model: &mut Model) {
    let pv = &mut model.vg("vg").expect("there").pvs[0];
    let (start, size) = (Bytes(GIB), MIB + pv.extents.bytes(Bytes(4 * MIB)).0);
    let disk = "/dev/sdb".to_owned();
    let disk_size = Bytes(start.0 + size + 2 * MIB);
    pv.name = format!("{disk}2");
    pv.table = Some(PartitionTable::Gpt);
    pv.disk = DiskKind::Partition(Partition { disk, disk_size, number: 2, start, followed_until: None });
}

fn vanish(model: &mut Model, number: usize) {
    let pvs = &mut model.vg("vg").expect("there").pvs;
    let number = number % pvs.len();
    pvs[number].missing = true;
}

fn come_back(model: &mut Model) {
    model.vg("vg").expect("there").pvs.iter_mut().for_each(|pv| pv.missing = false);
}

impl Run {
    fn new(seed: u64) -> Run {
        // Most groups have no more than their reserve, so that they grow on what supplies them.
        let is_full = !seed.is_multiple_of(4);
        let full = HOST.replace("14GiB", "8GiB").replace("6GiB", "2GiB");
        let world = World::new(if is_full { &full } else { HOST }, CONFIG);
        // Every third host is encrypted.
        if seed.is_multiple_of(3) {
            world.sim.with(|model| {
                encrypt(model, "vg/data", luks2);
                encrypt(model, "vg/media", luks1);
            });
        }
        if seed.is_multiple_of(2) {
            world.sim.with(in_partition);
        }
        Run { seed, world, dice: Dice(seed), daemon: None, vanishes: Arc::default(), log: vec![] }
    }

    fn event(&mut self) {
        // Soon, because until then there is nothing but refusals.
        if self.lacks_pv() && self.dice.roll(4) == 0 {
            self.world.sim.with(come_back);
            self.log.push("the disk comes back".to_owned());
        }
        let name = self.dice.one_of(&TARGETS);
        let what = match self.dice.roll(20) {
            0..=6 => return self.request(name),
            7..=9 => {
                let minutes = self.dice.one_of(&[1, 5, 11, 60, 240]);
                self.world.minutes(minutes);
                format!("{minutes} minutes pass")
            }
            10..=12 => self.fault(),
            13 => {
                self.daemon = None;
                "the daemon is stopped".to_owned()
            }
            _ => self.person(name),
        };
        self.log.push(what);
    }

    fn lacks_pv(&self) -> bool {
        self.world.sim.with(|model| model.vg("vg").expect("there").pvs.iter().any(|pv| pv.missing))
    }

    fn fault(&mut self) -> String {
        if self.dice.roll(8) == 0 {
            let steps = ["vgcfgbackup", "growpart", "pvresize", "vgextend", "lvextend", "cryptsetup", "resize2fs"];
            let (command, pv) = (self.dice.one_of(&steps), self.dice.roll(3) as usize);
            *self.vanishes.lock().expect("no thread died") = Some((command, pv));
            return format!("the PV {pv} will vanish before {command}");
        }
        let of_lvm = ["fullreport", "vgcfgbackup", "lvextend", "growpart", "pvresize", "vgextend"];
        let of_file_systems = ["blkid", "resize2fs", "xfs_growfs", "xfs_io"];
        let of_luks: &[&str] =
            if self.seed.is_multiple_of(3) { &["dmsetup", "cryptsetup open", "cryptsetup"] } else { &[] };
        let commands = [&of_lvm[..], &["mapped", "mountinfo"], &of_file_systems, of_luks].concat();
        let harms = [
            Harm::Fails,
            Harm::FailsAfterwards,
            Harm::Garbage,
            Harm::TimesOut,
            Harm::Overdue,
            Harm::CrashBefore,
            Harm::CrashDuring,
            Harm::CrashAfter,
        ];
        let (mut command, mut harm) = (self.dice.one_of(&commands).to_owned(), self.dice.one_of(&harms));
        // The one moment that leaves something behind which no later look at sizes shows; by chance alone it is rare.
        if self.dice.roll(6) == 0 {
            (command, harm) = ("xfs_growfs".to_owned(), Harm::CrashAfter);
        }
        let (after, times) = (self.dice.roll(6) as usize, self.dice.one_of(&[1, 1, 1, 2, 7]));
        let what = format!("{times} x {harm:?} at {command} {after}");
        self.world.sim.inject(Fault { command, after, times, harm });
        what
    }

    /// What people do at the machine, whether the daemon runs or not.
    fn person(&mut self, name: &str) -> String {
        let kinds = if self.seed.is_multiple_of(3) { 19 } else { 16 };
        let (kind, extents) = (self.dice.roll(kinds + 4), self.dice.one_of(&[1, 64, 256]));
        // Disks grow more often than the rest happens: most of the growths need one.
        let kind = if kind < kinds { kind } else { 10 };
        let which = self.dice.roll(3) as usize;
        self.world.sim.with(|model| {
            let fs = |model: &mut Model, change: &dyn Fn(&mut lvm_autoscaler::host::sim::SimFs)| {
                change(model.lv(name).and_then(|lv| lv.fs.as_mut()).expect("there"));
            };
            let luks = |model: &mut Model, change: &dyn Fn(&mut lvm_autoscaler::host::sim::SimLuks)| {
                change(model.lv(name).and_then(|lv| lv.luks.as_mut()).expect("it is encrypted"));
            };
            match kind {
                0 => {
                    let done = extend_by_hand(model, name, extents);
                    return format!("somebody extends {name} by {extents}: {done}");
                }
                1 => {
                    let done = extend_by_hand(model, "vg/other", extents);
                    return format!("somebody extends vg/other by {extents}: {done}");
                }
                2 | 3 => grow_by_hand(model, name),
                4 => fs(model, &|fs| fs.mounted = !fs.mounted),
                5 => fs(model, &|fs| fs.read_only = !fs.read_only),
                6 => fs(model, &|fs| fs.errors = u64::from(fs.errors == 0)),
                7 => fs(model, &|fs| fs.used.0 = fs.used.0 / 4 * 3),
                8 => fs(model, &|fs| {
                    let (here, there) = (format!("/{}", &name[3..]), "/elsewhere");
                    let next = if fs.mount_point.as_str() == here { there } else { &here };
                    fs.mount_point = next.parse().expect("a path");
                }),
                16 => luks(model, &|luks| luks.suspended = !luks.suspended),
                17 => luks(model, &|luks| luks.opened_by = luks.opened_by.is_none().then(|| KEY_FILE.into())),
                18 => {
                    let file = model.key_files.get_mut(std::path::Path::new(KEY_FILE)).expect("there");
                    file.exposed = file.exposed.is_none().then(|| "others can read it".to_owned());
                }
                9 => {
                    let vg = model.vg("vg").expect("there");
                    vg.read_only = !vg.read_only;
                }
                // Disks grow, and are small again, vanish and come back.
                10 | 11 => {
                    let pv = &mut model.vg("vg").expect("there").pvs[0];
                    match &mut pv.disk {
                        DiskKind::Partition(partition) => partition.disk_size.0 += GIB,
                        _ => pv.device_exceeds += GIB as i64,
                    }
                }
                14 => vanish(model, which),
                // Another partition takes the rest of the disk, and is removed.
                15 => match &mut model.vg("vg").expect("there").pvs[0].disk {
                    DiskKind::Partition(partition) => {
                        partition.followed_until = partition.followed_until.is_none().then_some(partition.disk_size);
                    }
                    _ => return "somebody looks for partitions where there are none".to_owned(),
                },
                12 => {
                    let pv = &mut model.vg("vg").expect("there").pvs[0];
                    pv.device_exceeds = if pv.device_exceeds < 0 { 0 } else { -(4 << 20) };
                }
                _ if model.orphans.is_empty() => {
                    let in_group = model.vg("vg").expect("there").pvs.iter().any(|pv| pv.uuid.is_some());
                    let mut spare = SimPv::new("/dev/sdx", Extents(512));
                    spare.uuid = SPARE.parse().ok();
                    model.orphans.extend((!in_group).then_some(spare));
                }
                _ => model.orphans.clear(),
            }
            format!("somebody does {kind} to {name}")
        })
    }

    /// An alert or the daemon's own look, after a start if the daemon is down.
    fn request(&mut self, name: &str) {
        let own = self.dice.roll(3) == 0;
        let (before, disks, lacks_pv) = (self.sizes(), self.disks(), self.lacks_pv());
        let daemon = self.daemon.take();
        let started = daemon.is_none();
        let (world, sim, vanishes) = (&self.world, Arc::clone(&self.world.sim), Arc::clone(&self.vanishes));
        let ended = until_crash(|| {
            let daemon = daemon.unwrap_or_else(|| {
                let host = world.watched(move |command| {
                    let mut vanishes = vanishes.lock().expect("no thread died");
                    if let Some((_, pv)) = vanishes.take_if(|(name, _)| *name == command.name()) {
                        sim.with(|model| vanish(model, pv));
                    }
                });
                let daemon = Daemon(world.shared_on(host, false));
                daemon.recover().expect("the journal can be written");
                daemon
            });
            let ended = if own { daemon.own_look(name) } else { daemon.alert(name) };
            (daemon, ended)
        });
        let told = match ended {
            Ok((daemon, ended)) => {
                let begun = lacks_pv && !matches!(ended, Ended::Refused(_));
                assert!(!begun, "{}", self.tell(&format!("{ended:?} while a PV is missing")));
                self.daemon = Some(daemon);
                word(&ended).to_owned()
            }
            Err(crash) => format!("crash {crash}{}", self.cut_power(&crash)),
        };
        self.log.push(format!("{name} own={own} started={started}: {told}"));
        self.check(&before);
        let now = self.disks();
        for (name, extents) in &disks {
            assert!(now.get(name).is_some_and(|now| now >= extents), "{}", self.tell("a PV is smaller or gone"));
        }
    }

    /// The PVs of the group and their sizes.
    fn disks(&self) -> BTreeMap<String, u64> {
        let pvs = |model: &mut Model| model.vg("vg").expect("there").pvs.clone();
        self.world.sim.with(pvs).into_iter().map(|pv| (pv.name, pv.extents.0)).collect()
    }

    /// What died in the growth of an XFS may have been the whole machine, before the copies of the superblock were
    /// written.
    fn cut_power(&mut self, crash: &str) -> &'static str {
        if !crash.contains("after xfs_growfs") || self.dice.roll(4) == 0 {
            return "";
        }
        self.world.sim.reboot();
        self.world.sim.with(|model| {
            let fs = model.lv("vg/media").and_then(|lv| lv.fs.as_mut()).expect("there");
            fs.size_in_copies = (fs.size > fs.first_size).then_some(fs.first_size);
        });
        ", of the whole machine"
    }

    fn sizes(&self) -> BTreeMap<String, u64> {
        self.world.sim.with(|model| model.lvs.iter().map(|lv| (lv.name.to_string(), lv.extents.0)).collect())
    }

    /// What the daemon did in one request, recovery included.
    fn check(&self, before: &BTreeMap<String, u64>) {
        let now = self.sizes();
        // Also those of a daemon that died: what it started goes on.
        let commands = self.world.sim.changes();
        let free = self.world.sim.with(|model| model.vg("vg").expect("there").free().0);
        for (name, &size) in &now {
            let grew = size != before[name];
            assert!(size >= before[name], "{}", self.tell("smaller"));
            assert!(!grew || TARGETS.contains(&name.as_str()), "{}", self.tell("not a target"));
            let planned = format!("lvm lvextend -A n --config global/wait_for_locks=1 -l {size} -- {name}");
            assert!(!grew || commands.contains(&planned), "{}", self.tell("not the planned size"));
            assert!(!grew || name != "vg/data" || size <= MAX_OF_DATA, "{}", self.tell("beyond max_size"));
            assert!(!grew || free >= RESERVE || self.was_outrun(&planned), "{}", self.tell("below the reserve"));
        }
        let mounted_elsewhere = self.world.sim.with(|model| {
            let fs = model.lv("vg/other").and_then(|lv| lv.fs.clone()).expect("there");
            fs.size.0 > 1 << 30
        });
        assert!(self.world.sim.beside_itself().is_empty(), "{}", self.tell("a command ran beside itself"));
        assert!(!mounted_elsewhere, "{}", self.tell("a file system that is no target was grown"));
    }

    /// Whether somebody took the room for a command that a daemon which died had left behind, before the command ended.
    fn was_outrun(&self, command: &str) -> bool {
        let died = self.log.iter().rposition(|line| line.contains(&format!("crash during {command}")));
        let is_taken = |line: &String| line.starts_with("somebody extends") && line.ends_with("true");
        died.is_some_and(|at| self.log[at..].iter().any(is_taken))
    }

    /// Ends of operations on one target are at least a cooldown apart, except for those that a crash had left open.
    fn check_cooldown(&self) {
        let past = self.world.state().past;
        for name in TARGETS {
            let ends: Vec<_> = past
                .iter()
                .filter(|past| past.lv.as_ref() == Some(&lv(name)))
                .filter(|past| Outcome::ALL.iter().any(|outcome| outcome.as_str() == past.result.as_str()))
                .map(|past| past.at)
                .collect();
            for pair in ends.windows(2) {
                let apart = pair[1].duration_since(pair[0]).as_secs();
                assert!(apart >= 600, "{}", self.tell(&format!("{name}: two operations end {apart} s apart")));
            }
        }
    }

    /// Faults off, everything mounted as it should be, time passes: below the threshold, or a reason why not.
    fn end(mut self) {
        self.daemon = None;
        let model = self.world.sim.with(|model| {
            let vg = model.vg("vg").expect("there");
            vg.read_only = false;
            vg.pvs.iter_mut().for_each(|pv| (pv.device_exceeds, pv.missing) = (pv.device_exceeds.max(0), false));
            for name in TARGETS {
                let fs = model.lv(name).and_then(|lv| lv.fs.as_mut()).expect("there");
                (fs.mounted, fs.read_only, fs.errors, fs.fill.0) = (true, false, 0, 0);
                fs.mount_point = format!("/{}", &name[3..]).parse().expect("a path");
                let luks = model.lv(name).and_then(|lv| lv.luks.as_mut());
                luks.into_iter().for_each(|luks| (luks.suspended, luks.opened_by) = (false, Some(KEY_FILE.into())));
            }
            model.key_files.values_mut().for_each(|file| file.exposed = None);
            model.clone()
        });
        // A new host with the same model: the faults that were not met are gone.
        let world = World::of(model, CONFIG);
        world.sim.pass(self.world.sim.now().duration_since(epoch()).unsigned_abs());
        for name in ["journal.0", "journal.1"] {
            std::fs::copy(self.world.folder.path().join(name), world.folder.path().join(name)).expect("a copy");
        }
        let daemon = world.daemon();
        daemon.recover().expect("the journal can be written");
        for name in TARGETS {
            let limits = ["budget_exhausted", "at_max_size", "vg_reserve", "insufficient_space", "supply_refused"];
            let fine = [&limits[..], &["below_threshold"]].concat();
            let mut last = String::new();
            for _ in 0..12 {
                world.minutes(11);
                last = word(&daemon.alert(name)).to_owned();
                if fine.contains(&last.as_str()) {
                    break;
                }
                if last == "breaker_open" {
                    let reset = Event::Reset { lv: Some(lv(name)) };
                    daemon.0.journal().append(world.sim.moment(), vec![reset]).expect("writable");
                }
                if last == "operation_in_progress" {
                    world.sim.with(|model| grow_by_hand(model, name));
                }
            }
            assert!(fine.contains(&last.as_str()), "{}", self.tell(&format!("{name} ends with {last}")));
            let outdated = world.sim.with(|model| model.lv(name).and_then(|lv| lv.fs.as_ref()?.size_in_copies));
            assert_eq!(outdated, None, "{}", self.tell("copies of a superblock that were left behind"));
            // Who extends a volume by hand may leave its file system as it is.
            let by_hand = self.log.iter().any(|line| line.starts_with(&format!("somebody extends {name}")));
            assert!(
                by_hand || world.fills(name),
                "{}",
                self.tell(&format!("{name}: a file system that was left behind"))
            );
        }
        let state = world.state();
        assert!(
            state.running.is_empty() && state.pending.is_empty() && state.parked.is_empty(),
            "{}",
            self.tell("open")
        );
        assert_eq!(state, *daemon.0.state(), "{}", self.tell("memory and disk differ"));
    }

    fn tell(&self, wrong: &str) -> String {
        format!("{wrong}; SCHEDULE_SEED={}:\n  {}", self.seed, self.log.join("\n  "))
    }
}

/// How often what must happen did.
type Counts = [(&'static str, usize); 6];

fn run(seed: u64) -> Counts {
    let mut run = Run::new(seed);
    for _ in 0..EVENTS {
        run.event();
    }
    run.check_cooldown();
    let grown = run.world.state().past.iter().filter(|past| past.result.as_str() == "grown").count();
    let logged = |what: &str| run.log.iter().filter(|line| line.contains(what)).count();
    let counts = [
        ("growths", grown),
        ("crashes", logged(": crash")),
        ("refusals without a PV", logged(": vg_partial")),
        ("growpart", run.world.count("growpart")),
        ("pvresize", run.world.count("pvresize")),
        ("vgextend", run.world.count("vgextend")),
    ];
    run.end();
    counts
}

#[test]
fn whatever_happens_the_promises_hold() {
    if let Some(seed) = part::given("SCHEDULE_SEED") {
        run(seed);
        return;
    }
    let usual = if part::is_soak() { SCHEDULES_OF_SOAK } else { SCHEDULES };
    let (count, from) = (part::given("SCHEDULES").unwrap_or(usual), part::seed("SCHEDULES_FROM"));
    // On all processors: each schedule has a world of its own.
    let threads = std::thread::available_parallelism().map_or(2, usize::from) as u64;
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    std::thread::scope(|scope| {
        let one = |first| move || (first..from + count).step_by(threads as usize).map(run).collect::<Vec<_>>();
        let runs: Vec<_> = (from..from + threads).map(|first| scope.spawn(one(first))).collect();
        let ended = runs.into_iter().flat_map(|run| run.join().expect("a schedule failed, see above"));
        ended.flatten().for_each(|(what, more)| *counts.entry(what).or_default() += more as u64);
    });
    let figures: Vec<String> = counts.iter().map(|(what, times)| format!("{times} {what}")).collect();
    part::say(&format!("figures: {count} schedules of {EVENTS} events from seed {from}: {}", figures.join(", ")));
    // Schedules in which nothing happens prove nothing.
    for (what, times) in &counts {
        let least = if ["growths", "crashes"].contains(what) { count / 3 } else { count / 100 };
        assert!(*times >= least, "{times} {what}");
    }
}

#[test]
fn a_clock_that_is_set_back_does_not_shorten_the_wait() {
    let world = World::usual();
    world.minutes(60);
    assert!(ended_as(&world.daemon().alert("vg/data"), Outcome::Grown));
    // The same journal an hour earlier.
    let earlier = World::of(world.sim.with(|model| model.clone()), crate::common::CONFIG);
    for name in ["journal.0", "journal.1"] {
        std::fs::copy(world.folder.path().join(name), earlier.folder.path().join(name)).expect("a copy");
    }
    earlier.sim.with(|model| model.lv("vg/data").and_then(|lv| lv.fs.as_mut()).expect("there").used.0 = 6 << 30);
    assert!(Journal::peek(earlier.folder.path()).is_ok());
    let daemon = earlier.daemon();
    assert_eq!(word(&daemon.alert("vg/data")), "cooldown");
    earlier.minutes(60);
    assert_eq!(word(&daemon.alert("vg/data")), "cooldown");
    earlier.minutes(10);
    assert_eq!(word(&daemon.alert("vg/data")), "grown");
}
