//! The daemon dies before and after every command and at every byte it writes; the next one makes the volume exactly as
//! large as planned, its file system as large as the volume, and nothing twice.

use crate::common::records::records;
use crate::common::*;
use lvm_autoscaler::engine;
use lvm_autoscaler::host::sim::Harm;
use lvm_autoscaler::plan::Outcome;

const TARGETS: [(&str, &str); 2] = [("vg/data", "resize2fs"), ("vg/media", "xfs_growfs")];

/// A world in which LUKS lies between volume and file system, on one volume with the key in the keyring.
fn encrypted() -> World {
    let world = World::new(HOST, &with_key(CONFIG));
    world.sim.with(|model| {
        encrypt(model, "vg/data", luks2);
        encrypt(model, "vg/media", luks1);
    });
    world
}

fn with_key(config: &str) -> String {
    config.replace("defaults: {", &format!("defaults: {{ luks_key_file: {KEY_FILE},"))
}

/// Every moment at which the daemon can die while it grows a volume, and those around LUKS where that lies on it: a
/// world each, in which it just did.
fn crashes(name: &str, grower: &str) -> Vec<(String, World)> {
    let commands = ["fullreport", "blkid", "mapped", "mountinfo", "vgcfgbackup", "lvextend", grower];
    let mut found = crashes_at(World::usual, "", name, &commands);
    found.extend(crashes_at(encrypted, "encrypted ", name, &["cryptsetup open", "cryptsetup"]));
    assert!(found.len() > 20, "{}", found.len());
    found
}

fn crashes_at(make: fn() -> World, kind: &str, name: &str, commands: &[&str]) -> Vec<(String, World)> {
    let mut found = Vec::new();
    for command in commands {
        for harm in [Harm::CrashBefore, Harm::CrashAfter] {
            for after in 0.. {
                let world = make();
                world.inject(command, after, harm);
                match until_crash(|| world.daemon().alert(name)) {
                    Err(_) => found.push((format!("{kind}{name}: {command} {after} {harm:?}"), world)),
                    Ok(ended) => {
                        assert!(ended_as(&ended, Outcome::Grown), "there were only {after} of {command}");
                        break;
                    }
                }
            }
        }
    }
    found
}

/// Grown exactly once, nothing left open.
fn assert_grown(world: &World, name: &str, what: &str) {
    assert_eq!((world.extents(name), world.fills(name)), (AFTER, true), "{what}");
    let state = world.state();
    assert!(state.running.is_empty() && state.pending.is_empty() && state.parked.is_empty(), "{what}: {state:?}");
    assert_eq!(state.last.get(&lv(name)).map(|last| last.outcome), Some(Outcome::Grown), "{what}");
    // An alert that keeps firing finds nothing to do.
    world.minutes(11);
    assert_eq!(word(&world.daemon().alert(name)), "below_threshold", "{what}");
}

#[test]
fn a_crash_at_any_command_is_recovered_from_at_the_next_start() {
    for (name, grower) in TARGETS {
        let others = ["fullreport", "dmsetup", "blkid", "mapped", "mountinfo", "vgcfgbackup", "lvextend", grower];
        let encrypted = crashes_at(encrypted, "encrypted ", name, &others);
        for (what, world) in crashes(name, grower).into_iter().chain(encrypted) {
            let engine = engine::start(world.shared(false));
            let state = || engine.shared().state();
            eventually(&what, || state().last.len() == 1 && state().running.is_empty() && state().pending.is_empty());
            engine.drain();
            assert_grown(&world, name, &what);
        }
    }
}

#[test]
fn a_second_crash_during_the_recovery_changes_nothing_about_that() {
    for (what, world) in crashes("vg/data", "resize2fs") {
        for command in ["fullreport", "mapped", "vgcfgbackup", "lvextend", "cryptsetup", "resize2fs"] {
            for harm in [Harm::CrashBefore, Harm::CrashAfter] {
                let world = world.copy();
                world.inject(command, 0, harm);
                let _ = until_crash(|| world.daemon().recover());
                // A fault that the second life did not meet strikes the third.
                let _ = until_crash(|| world.daemon().recover());
                world.daemon().recover().expect("the journal can be written");
                assert_grown(&world, "vg/data", &format!("{what}, then {command} {harm:?}"));
            }
        }
    }
}

#[test]
fn an_alert_that_comes_after_the_crash_and_before_the_recovery_does_no_harm() {
    for (what, world) in crashes("vg/data", "resize2fs") {
        let engine = engine::start(world.shared(false));
        let wish = engine::Request {
            lv: lv("vg/data"),
            source: lvm_autoscaler::journal::Source::Alertmanager,
            fingerprint: String::new(),
        };
        engine.submit(vec![wish]).expect("accepted");
        let state = || engine.shared().state();
        eventually(&what, || state().last.len() == 1 && state().running.is_empty() && state().pending.is_empty());
        engine.drain();
        assert_grown(&world, "vg/data", &what);
    }
}

/// SIGKILL leaves the command behind that the daemon waited for. The next one neither looks before it ended nor starts
/// it again, also where nobody wants the operation any more.
#[test]
fn a_command_that_outlives_the_daemon_is_waited_for() {
    for (name, grower) in TARGETS {
        for command in ["vgcfgbackup", "lvextend", "cryptsetup", grower] {
            for unwanted in [false, true] {
                let world = if command == "cryptsetup" { encrypted() } else { World::usual() };
                world.inject(command, 0, Harm::CrashDuring);
                assert!(until_crash(|| world.daemon().alert(name)).is_err());
                let world =
                    if unwanted { world.with_config(&with_key(&CONFIG.replace("2GiB", "1GiB"))) } else { world };
                world.daemon().recover().expect("the journal can be written");
                let what = format!("{name}: {command}, unwanted: {unwanted}");
                assert_eq!(world.sim.beside_itself(), [""; 0], "{what}");
                let again = usize::from(command == "vgcfgbackup" && !unwanted);
                assert_eq!(world.count(command), 1 + again, "{what}: only a backup is made again");
                match unwanted && command == "vgcfgbackup" {
                    true => assert_eq!((world.extents(name), world.fills(name)), (BEFORE, true), "{what}"),
                    false => assert_grown(&world, name, &what),
                }
            }
        }
    }
}

/// A power cut may lose what was written last. What happened on the host stays; whatever is lost after `Planned`, the
/// operation ends as it was planned.
#[test]
fn losing_any_records_behind_the_plan_changes_nothing() {
    for (name, grower) in TARGETS {
        for (what, world) in crashes(name, grower) {
            let all = records(&world);
            let Some(planned) = (0..all.frames.len()).find(|frame| all.holds(*frame, r#""event":"planned""#)) else {
                continue;
            };
            for frame in planned..all.frames.len() {
                let world = world.copy();
                all.cut(all.frames[frame].end, &world);
                world.daemon().recover().expect("the journal can be written");
                assert_grown(&world, name, &format!("{what}, cut behind record {frame}"));
            }
        }
    }
}

/// The record that was being written when the daemon died: the command it announces had not run.
#[test]
fn the_last_record_torn_at_any_byte_loses_only_itself() {
    for (name, grower) in TARGETS {
        for command in ["vgcfgbackup", "lvextend", "cryptsetup", grower] {
            let world = if command == "cryptsetup" { encrypted() } else { World::usual() };
            world.inject(command, 0, Harm::CrashBefore);
            assert!(until_crash(|| world.daemon().alert(name)).is_err());
            let all = records(&world);
            let last = all.frames.last().expect("a record");
            for at in last.clone() {
                let world = world.copy();
                all.cut(at, &world);
                world.daemon().recover().expect("the journal can be written");
                assert_grown(&world, name, &format!("{name} before {command}, torn at {at}"));
            }
        }
    }
}

#[test]
fn the_plan_torn_at_any_byte_is_decided_about_again() {
    let world = World::usual();
    world.inject("vgcfgbackup", 0, Harm::CrashBefore);
    assert!(until_crash(|| world.daemon().alert("vg/data")).is_err());
    let all = records(&world);
    let planned = (0..all.frames.len()).find(|frame| all.holds(*frame, r#""event":"planned""#)).expect("a plan");
    for at in all.frames[planned].clone().step_by(7) {
        let world = world.copy();
        all.cut(at, &world);
        world.daemon().recover().expect("the journal can be written");
        assert_grown(&world, "vg/data", &format!("torn at {at}"));
    }
}

#[test]
fn the_end_torn_at_any_byte_is_written_again() {
    let world = World::usual();
    world.daemon().alert("vg/data");
    let all = records(&world);
    let changes = world.sim.changes();
    for at in all.frames.last().expect("a record").clone() {
        let world = world.copy();
        all.cut(at, &world);
        world.daemon().recover().expect("the journal can be written");
        assert!(world.sim.changes().is_empty(), "nothing runs again");
        assert_grown(&world, "vg/data", &format!("torn at {at}"));
    }
    assert_eq!(changes.len(), 3);
}
