//! When the journal cannot be written, nothing is acted upon.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::common::*;
use lvm_autoscaler::engine::{self, Request, SubmitError};
use lvm_autoscaler::host::Host;
use lvm_autoscaler::host::sim::{Fault, Harm};
use lvm_autoscaler::journal::{Entry, Event, Journal, Source};
use lvm_autoscaler::plan::{Code, Outcome};

fn resize_segment(folder: &Path, name: &str, size: u64) {
    let file = std::fs::File::options().write(true).open(folder.join(name)).expect("there");
    file.set_len(size).expect("room");
}

/// A host on which the journal's disk breaks when a certain command runs.
fn breaking(world: &World, disk: &Arc<Disk>, command: &'static str) -> Arc<dyn Host> {
    let disk = Arc::clone(disk);
    world.watched(move |next| {
        if next.name() == command {
            disk.breaks();
        }
    })
}

/// The command that runs when the disk breaks was begun with its record on disk; the next one is not begun.
#[test]
fn no_command_runs_that_is_not_on_disk() {
    let commands = ["vgcfgbackup", "lvextend", "resize2fs"];
    for (before, command) in commands.iter().enumerate() {
        let world = World::usual();
        let disk = Arc::new(Disk::under(&world));
        let daemon = Daemon(world.shared_on(breaking(&world, &disk, command), false));
        daemon.try_alert("vg/data").expect_err("what cannot be written down stops everything");
        assert!(!daemon.0.journal().is_writable());
        assert_eq!(world.names_of_changes(), commands[..=before]);
        daemon.try_alert("vg/media").expect_err("nothing else begins either");
        assert_eq!(world.names_of_changes(), commands[..=before]);
        // With a sound disk the next start goes on and repeats nothing.
        drop(daemon);
        disk.is_mended();
        world.daemon().recover().expect("the journal can be written");
        assert_eq!((world.extents("vg/data"), world.fills("vg/data")), (AFTER, true), "broke at {command}");
        let repeated = usize::from(*command == "vgcfgbackup");
        assert_eq!(world.names_of_changes().len(), 3 + repeated, "only a backup is made again");
        assert_eq!(world.extents("vg/media"), BEFORE);
    }
}

/// A disk that comes back: the daemon goes on by itself, without a restart.
#[test]
fn what_a_broken_journal_stopped_goes_on_when_it_can_be_written_again() {
    let world = World::usual();
    let disk = Arc::new(Disk::under(&world));
    let shared = world.shared_on(breaking(&world, &disk, "lvextend"), false);
    let engine = engine::start(Arc::clone(&shared));
    let wish = |name| vec![Request { lv: lv(name), source: Source::Alertmanager, fingerprint: String::new() }];
    engine.submit(wish("vg/data")).expect("accepted");
    eventually("the journal breaks", || !shared.journal().is_writable());
    assert!(!world.fills("vg/data"), "nothing more is done");
    engine.submit(wish("vg/media")).expect_err("nor accepted");

    disk.is_mended();
    eventually("the rest is done", || shared.state().running.is_empty());
    assert_eq!((world.extents("vg/data"), world.fills("vg/data")), (AFTER, true));
    assert_eq!(world.count("lvextend"), 1);
    engine.drain();
}

/// A bug in one operation: the next request of the group still finds a worker.
#[test]
fn a_panic_in_a_worker_costs_one_operation() {
    let world = World::usual();
    let shared = world.shared(false);
    let engine = engine::start(Arc::clone(&shared));
    let wish = |name| vec![Request { lv: lv(name), source: Source::Alertmanager, fingerprint: String::new() }];
    world.sim.inject(Fault::once("lvextend", Harm::CrashBefore));
    engine.submit(wish("vg/data")).expect("accepted");
    engine.submit(wish("vg/media")).expect("accepted");
    eventually("the other is grown", || shared.state().last.contains_key(&lv("vg/media")));
    assert_eq!((world.extents("vg/data"), shared.state().running.len()), (BEFORE, 1), "left for the next start");
    engine.drain();
}

/// Small segments run full at every possible record: the checkpoint that would make room does not fit either.
#[test]
fn a_full_journal_stops_before_what_it_cannot_hold() {
    let mut stopped = 0;
    for size in (520..6_000).step_by(40) {
        let world = World::usual();
        make_segments(world.folder.path(), size);
        let Ok(journal) = Journal::open(world.folder.path()) else { continue };
        drop(journal);
        match world.daemon().try_alert("vg/data") {
            Ok(ended) => assert!(ended_as(&ended, Outcome::Grown), "{size}: {ended:?}"),
            Err(_) => {
                stopped += 1;
                let begun = world.state().running.values().map(|running| running.started.len()).sum::<usize>();
                assert_eq!(world.sim.changes().len(), begun, "{size}: what ran is on disk");
            }
        }
    }
    assert!(stopped > 10);
}

#[test]
fn what_a_full_journal_interrupted_is_finished_when_there_is_room_again() {
    for size in (1_000..6_000).step_by(200) {
        let world = World::usual();
        make_segments(world.folder.path(), size);
        let Ok(_) = Journal::open(world.folder.path()) else { continue };
        if world.daemon().try_alert("vg/data").is_ok() {
            continue;
        }
        // Larger files with the same beginning.
        resize_segment(world.folder.path(), "journal.0", SEGMENT);
        resize_segment(world.folder.path(), "journal.1", SEGMENT);
        let daemon = world.daemon();
        daemon.recover().expect("the journal can be written");
        daemon.alert("vg/data");
        assert_eq!((world.extents("vg/data"), world.fills("vg/data")), (AFTER, true), "{size}");
        assert!(world.state().running.is_empty() && world.state().parked.is_empty());
    }
}

#[test]
fn an_alert_that_cannot_be_written_down_is_not_accepted() {
    let world = World::usual();
    make_segments(world.folder.path(), 720);
    let engine = engine::start(world.shared(false));
    let wish = Request { lv: lv("vg/data"), source: Source::Alertmanager, fingerprint: "f".repeat(32) };
    let refused = engine.submit(vec![wish.clone()]).expect_err("there is no room");
    assert!(matches!(refused, SubmitError::Journal(_)), "{refused}");
    assert_eq!(engine.waiting_count(), 0);
    assert!(engine.submit(vec![wish]).is_err(), "and again: it is not taken for one that waits");
    engine.drain();
    assert!(world.sim.changes().is_empty());
}

/// Weeks of alerts: the segments are switched hundreds of times, and each time nothing is forgotten.
#[test]
fn switching_segments_forgets_nothing() {
    let world = World::usual();
    let daemon = world.daemon();
    for round in 0..400 {
        daemon.alert(["vg/data", "vg/media", "vg-2/logs"][round % 3]);
        world.minutes(7);
        if round % 50 == 0 {
            assert_eq!(world.state(), *daemon.0.state(), "what is on disk is what is in memory, round {round}");
        }
    }
    assert_eq!(world.state(), *daemon.0.state());
    assert_eq!((world.count("lvextend"), world.state().last.len()), (3, 3));
}

/// A storm of alerts that are refused must not push out of memory what was done.
#[test]
fn refusals_do_not_push_out_operations() {
    let world = World::usual();
    let daemon = world.daemon();
    assert!(ended_as(&daemon.alert("vg/data"), Outcome::Grown));
    for _ in 0..150 {
        assert!(refused(&daemon.alert("vg/data"), Code::Cooldown));
    }
    let state = world.state();
    assert_eq!((state.past.len(), state.refused.len()), (1, 100));
    let lately = state.lately();
    assert_eq!((lately.len(), lately[0].result.as_str()), (101, "grown"));
}

/// What the audit log and the notifications are made from: each record once, numbered without gaps, while it is written
/// and when it is read again, over the border of a segment too.
#[test]
fn every_record_is_told_once_and_can_be_read_again_after_a_restart() {
    let world = World::usual();
    let told: Arc<std::sync::Mutex<Vec<(u64, String)>>> = Arc::default();
    let line = |number, entry: &Entry| (number, serde_json::to_string(entry).expect("JSON"));
    let daemon = world.daemon();
    let into = Arc::clone(&told);
    daemon.0.journal().subscribe(Box::new(move |record| {
        into.lock().expect("sound").push(line(record.number, record.entry));
    }));
    for _ in 0..30 {
        daemon.alert("vg/data");
    }
    let told = told.lock().expect("sound").clone();
    assert_eq!(told.iter().map(|(number, _)| *number).collect::<Vec<_>>(), (1..=told.len() as u64).collect::<Vec<_>>());
    let read = |after| {
        let mut read = Vec::new();
        Journal::read_since(world.folder.path(), after, &mut |record| read.push(line(record.number, record.entry)))
            .expect("readable");
        read
    };
    assert_eq!(read(0), told);
    assert_eq!(read(17), told[17..]);
    assert_eq!(world.state().records, told.len() as u64);
    // Until the segment is full; then the one before it still has its part.
    drop(daemon);
    let daemon = world.daemon();
    let mut switched = false;
    for _ in 0..100 {
        daemon.alert("vg/data");
        let found = read(0);
        let (first, last) = (found[0].0, found[found.len() - 1].0);
        assert_eq!(found.len() as u64, last + 1 - first, "a gap between {first} and {last}");
        assert_eq!(last, daemon.0.state().records);
        switched |= first > 1;
    }
    assert!(switched, "the journal never went around");
}

/// What each guard said stands before each decision, and the two are told apart from all others.
#[test]
fn each_decision_stands_behind_the_verdicts_that_led_to_it() {
    let world = World::usual();
    let daemon = world.daemon();
    assert!(ended_as(&daemon.alert("vg/data"), Outcome::Grown));
    assert_eq!(word(&daemon.alert("vg/data")), "cooldown");
    let mut decisions = 0;
    let mut before: Option<Event> = None;
    Journal::read_since(world.folder.path(), 0, &mut |record| {
        let checked = before.replace(record.entry.event.clone());
        let refused = match &record.entry.event {
            Event::Planned { .. } => None,
            Event::Refused { refusal, .. } => Some(refusal.clone()),
            _ => return,
        };
        decisions += 1;
        assert_eq!(record.before.last_check, Some(record.number - 1));
        let Some(Event::Checked { guards, .. }) = checked else { panic!("no check before {:?}", record.entry) };
        assert_eq!(guards.refused.first().cloned(), refused);
        let all = guards.passed.len() + guards.refused.len() + guards.not_asked.len();
        assert!(all > 25 && guards.passed.len() > 20, "{guards:?}");
    })
    .expect("readable");
    assert_eq!(decisions, 2);
}

/// As a daemon does it, with a witness beside the state directory.
fn own(folder: &Path) -> Journal {
    Journal::own(folder, &witness(folder)).expect("nobody else has it")
}

fn witness(folder: &Path) -> PathBuf {
    folder.parent().expect("a parent").join("witness")
}

fn witnessed(folder: &Path) -> Option<u64> {
    std::fs::read_to_string(witness(folder)).ok()?.trim().parse().ok()
}

fn paused() -> Vec<Event> {
    vec![Event::Paused { lv: None }]
}

/// The state directory after each of so many records, and how many it then has.
fn lives(root: &Path, records: u64) -> Vec<(PathBuf, u64)> {
    let folder = root.join("state");
    let mut lives = Vec::new();
    for number in 0..=records {
        let journal = own(&folder);
        assert_eq!((journal.trouble(), journal.state().records), (None, number));
        eventually("the witness knows", || witnessed(&folder) == Some(number));
        // While it is open: as a kill or a power cut leaves it, and as a backup of a running host has it.
        let copy = root.join(format!("copy-{number}/state"));
        std::fs::DirBuilder::new().recursive(true).create(&copy).expect("a folder");
        for name in ["journal.0", "journal.1"] {
            std::fs::copy(folder.join(name), copy.join(name)).expect("a copy");
        }
        lives.push((copy, number));
        journal.append(epoch(), paused()).expect("written");
    }
    lives
}

/// Killed, or cut from power, at any point between a record and its witness, the journal is believed; set back behind
/// what the witness knows it is not, and then nothing is written to it.
#[test]
#[expect(clippy::disallowed_methods, reason = "a test sets the witness")]
fn the_witness_may_lag_behind_the_journal_and_never_lead_it() {
    let root = folder();
    for (folder, records) in lives(root.path(), 4) {
        for known in 0..=5 {
            std::fs::write(witness(&folder), format!("{known:020}\n")).expect("written");
            let before = ["journal.0", "journal.1"].map(|name| std::fs::read(folder.join(name)).expect("there"));
            let journal = own(&folder);
            let is_behind = known > records;
            assert_eq!(journal.trouble().is_some(), is_behind, "{records} records, the witness knows of {known}");
            assert_eq!(journal.append(epoch(), paused()).is_err(), is_behind);
            if is_behind {
                drop(journal);
                let after = ["journal.0", "journal.1"].map(|name| std::fs::read(folder.join(name)).expect("there"));
                assert!(before == after, "it is left alone");
                assert_eq!(witnessed(&folder), Some(known), "and so is the witness");
                continue;
            }
            eventually("the witness knows", || witnessed(&folder) == Some(records + 1));
            drop(journal);
            for (name, bytes) in ["journal.0", "journal.1"].iter().zip(before) {
                std::fs::write(folder.join(name), bytes).expect("set back");
            }
        }
    }
}

/// Whenever somebody looks, what the witness knows is in the journal on disk; also while the journal is written as fast
/// as can be.
#[test]
fn what_the_witness_knows_is_always_on_disk() {
    let root = folder();
    let state = root.path().join("state");
    let journal = own(&state);
    let seen = std::thread::scope(|scope| {
        let writer = scope.spawn(|| (0..2000).for_each(|_| journal.append(epoch(), paused()).expect("written")));
        let mut seen = BTreeSet::new();
        while !writer.is_finished() {
            let known = witnessed(&state).unwrap_or(0);
            let records = Journal::peek(&state).expect("a journal").records;
            assert!(known <= records, "the witness knows of {known}, the journal has {records}");
            seen.insert(known);
        }
        seen.len()
    });
    assert!(seen > 3, "the witness was written while the journal was: {seen}");
    eventually("the witness knows", || witnessed(&state) == Some(2000));
}

/// What stands in the way of the witness stands in the way of nothing else.
#[test]
#[expect(clippy::disallowed_methods, reason = "a test prepares the place of the witness")]
fn a_witness_that_cannot_be_written_holds_nothing_up() {
    let root = folder();
    // On a disk that has no room, or is read-only, it is neither made nor written.
    let nowhere = root.path().join("nowhere/witness");
    let journal = Journal::own(&root.path().join("one"), &nowhere).expect("nobody else has it");
    for _ in 0..100 {
        journal.append(epoch(), paused()).expect("written");
    }
    assert_eq!(journal.state().records, 100);
    // One that a crash left half made is made anew, and links are not followed.
    let state = root.path().join("state");
    let victim = root.path().join("victim");
    std::fs::write(&victim, "victim").expect("written");
    std::os::unix::fs::symlink(&victim, root.path().join("witness.new")).expect("a link");
    let journal = own(&state);
    journal.append(epoch(), paused()).expect("written");
    eventually("the witness knows", || witnessed(&state) == Some(1));
    std::fs::remove_file(witness(&state)).expect("there");
    std::os::unix::fs::symlink(&victim, witness(&state)).expect("a link");
    journal.append(epoch(), paused()).expect("written");
    drop(journal);
    assert!(own(&state).trouble().is_some_and(|trouble| trouble.contains("cannot be read")), "it may say anything");
    assert_eq!(std::fs::read_to_string(&victim).expect("there"), "victim");
}
