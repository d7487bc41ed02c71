//! One boot between two power cuts: looks at what the last cut left, lets the daemon recover, checks everything, and
//! begins the next growth, in the middle of which the machine is to lose its power. `tests/vm/cuts.sh` boots, cuts and
//! counts.
//!
//! Everything that must survive lies on the machine's own disks: `/dev/vdb` has the daemon's state, the next ones an
//! ext4 and an XFS, a volume group each. What was written and fsynced is noted in the shared folder, which no cut
//! reaches.
//!
//! `cut [last]` is the scene of ordinary growths, again and again in the same groups. In the other one (`cut supply
//! make|begin|check`, `cut_supply.rs`) the groups are full and each growth needs all that can supply them.
#![expect(
    clippy::disallowed_methods,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test runs programs, writes files, talks to its driver and fails by a panic"
)]
#![allow(dead_code, reason = "shared with the tests, which use all of it")]

#[path = "cut_supply.rs"]
mod cut_supply;
#[path = "daemon.rs"]
mod daemon;
#[path = "http.rs"]
mod http;
#[path = "storage.rs"]
mod storage;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use daemon::{Daemon, config, labels, payload};
use lvm_autoscaler::journal::{Journal, State};
use lvm_autoscaler::name::LvRef;
use lvm_autoscaler::plan::Outcome;
use storage::{Group, MIB, Volume, path, sh, try_sh};

/// Kind of file system, its disk, and the size to begin with.
const VOLUMES: [(&str, &str, &str); 2] = [("ext4", "/dev/vdc", "64M"), ("xfs", "/dev/vdd", "320M")];
/// A group and an operation each.
const KINDS: [&str; 2] = ["ext4", "xfs"];
const STATE: &str = "/dev/vdb";
/// How much each operation adds, in extents.
const STEP: u64 = 8;

/// What grows, and what its file system is on: the volume itself, or a mapping.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) kind: &'static str,
    pub(crate) volume: Volume,
    pub(crate) device: String,
}

impl Target {
    /// Mounting is what replays a file system's own journal.
    pub(crate) fn mount(&self) {
        fs::create_dir_all(&self.volume.mount_point).expect("a mount point");
        sh("mount", &[&self.device, path(&self.volume.mount_point)]);
    }
}

fn main() {
    storage::only_in_the_guest();
    let share = std::env::current_dir().expect("the shared folder");
    let (expected, written) = (share.join("expected"), share.join("written"));
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (is_supply, what) = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => (false, "check and begin"),
        ["last"] => (false, "check"),
        ["supply", what] => (true, what),
        ref other => panic!("cut [last], or cut supply make|begin|check, not {other:?}"),
    };
    let groups = KINDS.map(|kind| Group::without_vg(&format!("cut_{kind}"), &[]));
    // The daemon's files have a folder with no group's name in it.
    let own = Group::without_vg("own", &[]);
    sh("mount", &[STATE, path(&own.dir)]);
    if (is_supply, what) == (true, "make") {
        return cut_supply::make(&own, &groups);
    }
    let (targets, config) = if is_supply {
        cut_supply::bring_up(&own, &groups)
    } else {
        let targets: Vec<Target> = VOLUMES.iter().zip(&groups).map(|(row, group)| bring_up(group, *row)).collect();
        let config = config(&own, &targets.iter().map(|target| &target.volume).collect::<Vec<_>>(), SETTINGS);
        (targets, config)
    };

    if what.contains("check") && expected.exists() {
        let before: BTreeMap<String, Before> = read(&expected);
        let left = Journal::peek(&own.dir.join("state")).expect("the journal can be read");
        let hits: Vec<String> =
            targets.iter().map(|target| hit(&left, &target.volume, &before[&target.volume.vg])).collect();
        // The power may be cut again from here on.
        for (target, hit) in targets.iter().zip(&hits) {
            println!("cut {} {hit}", target.kind);
        }
        let log = recover(&own, &config, &targets, &left);
        thread::scope(|scope| {
            for (target, hit) in targets.iter().zip(&hits) {
                let (before, written, log, left) = (&before[&target.volume.vg], &written, &log, &left);
                scope.spawn(move || {
                    let grew = check(target, hit, before, written, log);
                    nothing_twice(left, &target.volume, log);
                    if is_supply {
                        cut_supply::check(target, before.extents, grew);
                    }
                    println!("ended {} {}", target.kind, if grew { "finished" } else { "not begun" });
                });
            }
        });
        if !is_supply {
            for target in &targets {
                target.mount();
                fs::remove_dir_all(target.volume.mount_point.join("w")).expect("ours");
            }
            fs::remove_file(&written).expect("ours");
        }
    }
    if what.contains("begin") {
        begin(&own, &config, &targets, &expected, &written);
    }
}

/// So little over the threshold that one increment leads below it, however large the volume is by then.
const FULL: f64 = 81.0;
/// Growing again and again is what is asked for here.
const SETTINGS: &str = "defaults: { cooldown: 0s, budget: { extensions: 100, bytes: 1TiB, per: 24h } }";

/// What a volume was like when its operation began.
#[derive(Debug)]
struct Before {
    extents: u64,
    df_size: u64,
    last_operation: u64,
}

/// The volume active and mounted, made if this is the first boot.
fn bring_up(group: &Group, (kind, disk, size): (&'static str, &str, &str)) -> Target {
    if !try_sh("vgs", &[&group.name]).0 {
        sh("vgcreate", &["-qq", &group.name, disk]);
        group.lv("data", size).mkfs(kind);
    }
    sh("vgchange", &["-qq", "-aay", &group.name]);
    sh("udevadm", &["settle"]);
    let volume = group.volume("data");
    let target = Target { kind, device: volume.path(), volume };
    target.mount();
    target
}

/// Where the cut hit the operation, as far as the journal knows: between the record before and the one after that.
fn hit(state: &State, volume: &Volume, before: &Before) -> String {
    let name: LvRef = volume.name().parse().expect("a name");
    assert!(!state.parked.contains_key(&name), "nothing needed attention");
    let last = state.last.get(&name).filter(|last| last.id.0 > before.last_operation);
    if let Some(last) = last {
        assert_eq!(last.outcome, Outcome::Grown);
        return "finished".to_owned();
    }
    if let Some(running) = state.running.values().find(|running| running.plan.lv == name) {
        let step = |number: usize| running.plan.steps[number].as_str().to_owned();
        return match (running.started.last(), running.done.last()) {
            (Some(started), done) if done.is_none_or(|done| done < started) => step(*started),
            (_, Some(done)) if *done + 1 == running.plan.steps.len() => "verified".to_owned(),
            (_, Some(done)) => format!("after_{}", step(*done)),
            (_, None) => "planned".to_owned(),
        };
    }
    let received = state.pending.values().any(|pending| pending.lv == name);
    if received { "received" } else { "nothing" }.to_owned()
}

/// What a host does after a boot: the daemon starts and goes on by itself. What it said.
fn recover(group: &Group, config: &str, targets: &[Target], left: &State) -> String {
    let daemon = Daemon::start(group, config);
    let mut follower = Follower::default();
    for (id, running) in &left.running {
        let vg = running.plan.lv.vg.as_str();
        follower
            .kinds
            .extend(KINDS.into_iter().find(|kind| vg == format!("cut_{kind}")).map(|kind| (id.to_string(), kind)));
    }
    daemon.wait_for("the end of what was interrupted", |daemon| {
        follower.tell(&daemon.log());
        let state = daemon.journal();
        (state.running.is_empty() && state.pending.is_empty()).then_some(())
    });
    let mut sentences = String::new();
    for Target { volume, .. } in targets {
        assert_eq!(daemon.metric("lvm_autoscaler_target_needs_attention", &[("vg", &volume.vg)]), 0.0);
        for past in daemon.results(volume) {
            sentences.push_str(&format!("{} {}: {}\n", volume.name(), past.result.as_str(), past.sentence));
        }
    }
    let log = daemon.log();
    assert!(daemon.stop().success());
    log + "\n" + &sentences
}

/// What the journal had as done when the power was cut is not run again.
fn nothing_twice(left: &State, volume: &Volume, log: &str) {
    let own = left.running.values().filter(|running| running.plan.lv.to_string() == volume.name());
    for running in own {
        for step in running.done.iter().filter_map(|number| running.plan.steps.get(*number)) {
            let Some(command) = step.command() else { continue };
            assert!(
                !log.contains(&format!("command={:?}", command.to_string())),
                "{command} was done, and then:\n{log}"
            );
        }
    }
}

/// Asserts that the volume is as before or exactly as planned, its file system as large as it, everything that was
/// synced still there, and nothing wrong with the file system. Whether it grew.
fn check(target: &Target, hit: &str, before: &Before, written: &Path, log: &str) -> bool {
    let Target { kind, volume, device } = target;
    let extents = volume.extents();
    let grew = extents != before.extents;
    let name = volume.name();
    assert_eq!(
        grew,
        hit != "nothing",
        "{name}: what was accepted is finished, and nothing else; hit at {hit}, then:\n{log}"
    );
    if grew {
        assert_eq!(extents, before.extents + STEP, "{} grew by what was planned, once", volume.name());
        let grown = volume.df_size() - before.df_size;
        // What df shows is without ext4's own tables, which grow too.
        assert!((28 * MIB..=32 * MIB).contains(&grown), "the file system grew by {} MiB", grown / MIB);
    } else {
        assert_eq!(volume.df_size(), before.df_size);
    }
    let mut files = 0;
    for line in fs::read_to_string(written).expect("a list").lines() {
        let (file, checksum) = line.rsplit_once(' ').expect("a line");
        if Path::new(file).starts_with(&volume.mount_point) {
            let bytes = fs::read(file).unwrap_or_else(|error| panic!("{file} was synced: {error}"));
            assert_eq!(crc32fast::hash(&bytes).to_string(), checksum, "{file} holds something else");
            files += 1;
        }
    }
    assert!(files > 0, "something was written before the cut");
    println!("files {kind} {files}");
    sh("umount", &[path(&volume.mount_point)]);
    match *kind {
        "xfs" => {
            if log.contains("command=\"xfs_io ") {
                println!("mended");
            }
            sh("xfs_repair", &["-n", device]);
        }
        _ => drop(sh("e2fsck", &["-f", "-n", device])),
    }
    grew
}

/// Fills the file systems, sends the alerts, writes and syncs files all the while, and says where the daemon is. Does
/// not come back: the power is cut.
fn begin(group: &Group, config: &str, targets: &[Target], expected: &Path, written: &Path) {
    let daemon = Daemon::start(group, config);
    let last = daemon.journal().last_number;
    let mut lines = String::new();
    File::create(written).expect("a list");
    for Target { volume, .. } in targets {
        fs::create_dir_all(volume.mount_point.join("w")).expect("a folder");
        write(volume, "first", written);
        volume.fill(FULL);
        sh("sync", &["-f", path(&volume.mount_point)]);
        lines.push_str(&format!("{} {} {} {last}\n", volume.vg, volume.extents(), volume.df_size()));
    }
    fs::write(expected.with_extension("new"), lines).expect("a file");
    fs::rename(expected.with_extension("new"), expected).expect("a file");
    for Target { volume, .. } in targets {
        let (volume, written) = (volume.clone(), written.to_owned());
        thread::spawn(move || {
            // As much as fits beside what fills them.
            for number in 0..40 {
                write(&volume, &number.to_string(), &written);
                thread::sleep(Duration::from_millis(30));
            }
        });
    }
    for Target { kind, volume, .. } in targets {
        let (kind, address, body) = (*kind, daemon.address, payload(&labels(volume)));
        thread::spawn(move || {
            // Told before it is answered: what is not accepted yet must be cut off as well.
            println!("at {kind} received");
            let answer = http::post(address, "/webhook/alertmanager", &body).expect("an answer");
            assert_eq!(answer.status, 202, "{answer:?}");
        });
    }
    follow(&daemon);
}

fn follow(daemon: &Daemon) {
    let mut follower = Follower::default();
    loop {
        let log = daemon.log();
        follower.tell(&log);
        // Nothing would be cut then.
        assert!(follower.finished > 0 || !log.contains("message=\"refused: "), "{log}");
        thread::sleep(Duration::from_millis(15));
        if follower.finished == KINDS.len() {
            // Whatever was waited for does not come any more.
            thread::sleep(Duration::from_secs(2));
            println!("idle");
        }
    }
}

/// Translates the daemon's log into `at KIND STEP` lines.
#[derive(Default)]
struct Follower {
    /// Of operations, by their number.
    kinds: BTreeMap<String, &'static str>,
    seen: usize,
    finished: usize,
}

impl Follower {
    fn tell(&mut self, log: &str) {
        for line in log.lines().skip(self.seen) {
            self.seen += 1;
            let kind = KINDS.into_iter().find(|kind| line.contains(&format!("cut_{kind}")));
            let operation = line.split("operation=").nth(1).and_then(|rest| rest.split(' ').next()).map(str::to_owned);
            if let (Some(kind), Some(operation)) = (kind, &operation) {
                self.kinds.insert(operation.clone(), kind);
            }
            let known = || self.kinds.get(operation.as_ref()?).copied();
            let Some(kind) = kind.or_else(known) else { continue };
            let step = line.split("step=").nth(1).and_then(|rest| rest.split(' ').next()).unwrap_or_default();
            if line.contains("message=planned") {
                println!("at {kind} planned");
            } else if line.contains("message=running") {
                println!("at {kind} {step}");
            } else if line.contains("done: ") && step == "grow_filesystem" {
                println!("at {kind} verified");
            } else if line.contains("done: ") {
                println!("at {kind} after_{step}");
            } else if line.contains(" grew from ") {
                println!("at {kind} finished");
                self.finished += 1;
            }
        }
    }
}

/// Writes a file whose contents are no pattern, syncs it and its folder, and notes that where no cut reaches.
fn write(volume: &Volume, name: &str, written: &Path) {
    let file: PathBuf = volume.mount_point.join("w").join(name);
    let mut state = u64::from(crc32fast::hash(path(&file).as_bytes())) | 1 << 40;
    let bytes: Vec<u8> = (0..8192)
        .flat_map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        })
        .collect();
    let mut out = File::create(&file).expect("a file");
    out.write_all(&bytes).expect("room for it");
    out.sync_all().expect("on disk");
    File::open(file.parent().expect("a folder")).and_then(|folder| folder.sync_all()).expect("on disk");
    let line = format!("{} {}\n", path(&file), crc32fast::hash(&bytes));
    File::options().append(true).open(written).and_then(|mut list| list.write_all(line.as_bytes())).expect("noted");
}

fn read(expected: &Path) -> BTreeMap<String, Before> {
    let text = fs::read_to_string(expected).expect("a file");
    let line = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |at: usize| words[at].parse().expect("a number");
        (words[0].to_owned(), Before { extents: number(1), df_size: number(2), last_operation: number(3) })
    };
    text.lines().map(line).collect()
}
