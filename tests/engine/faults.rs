//! Every command of the pipeline goes wrong in every way: what comes of it is right, a person is told what to do, and
//! nothing is extended a second time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::common::*;
use lvm_autoscaler::command::Tool;
use lvm_autoscaler::engine::{Ended, Pipeline, Shared};
use lvm_autoscaler::host::sim::{Fault, Harm, Model};
use lvm_autoscaler::host::{Focus, look};
use lvm_autoscaler::plan::{Code, Outcome};
use lvm_autoscaler::units::Extents;

const HARMS: [Harm; 5] = [Harm::Fails, Harm::FailsAfterwards, Harm::Garbage, Harm::TimesOut, Harm::Overdue];

/// Volume, the command that grows it, and how a person would type that.
const TARGETS: [(&str, &str, &str); 2] =
    [("vg/data", "resize2fs", "resize2fs /dev/mapper/vg-data"), ("vg/media", "xfs_growfs", "xfs_growfs -d /media")];

#[test]
fn a_command_that_fails_before_anything_was_changed_fails_the_operation() {
    for (name, ..) in TARGETS {
        for command in ["vgcfgbackup", "lvextend"] {
            for harm in HARMS {
                let world = World::usual();
                world.inject(command, 0, harm);
                let daemon = world.daemon();
                let ended = daemon.alert(name);
                // What did its work is a success, whatever it said.
                let works = matches!(harm, Harm::FailsAfterwards | Harm::Overdue);
                let expected = if works { "grown" } else { "failed" };
                assert_eq!(word(&ended), expected, "{name}: {command} {harm:?}");
                if !works {
                    assert_eq!((world.extents(name), world.fills(name)), (BEFORE, true));
                    let told = world.state().past[0].sentence.clone();
                    assert!(told.ends_with("; nothing was changed"), "{told}");
                    assert!(refused(&daemon.alert(name), Code::Cooldown), "a failure has a cooldown too");
                    world.minutes(11);
                    assert!(ended_as(&daemon.alert(name), Outcome::Grown), "{name}: {command} {harm:?}");
                }
                assert_eq!((world.extents(name), world.fills(name)), (AFTER, true), "{name}: {command} {harm:?}");
                world.minutes(11);
                assert!(refused(&daemon.alert(name), Code::BelowThreshold));
            }
        }
    }
}

/// LVM does not flush what it writes: before a file system relies on the extension, the disks of the group are asked
/// to.
#[test]
fn no_file_system_grows_before_the_caches_of_the_disks_are_flushed() {
    for (name, command, typed) in TARGETS {
        // A disk that is only slow is asked again.
        for (failures, expected) in [(2, Outcome::Grown), (1000, Outcome::NeedsAttention)] {
            let world = World::usual();
            let pv = world.sim.with(|model| {
                let pv = &mut model.vgs[0].pvs[0];
                pv.flushes_that_fail = failures;
                pv.name.clone()
            });
            let daemon = world.daemon();
            assert!(ended_as(&daemon.alert(name), expected), "{name} {failures}");
            assert_eq!((world.extents(name), world.count("lvextend")), (AFTER, 1));
            let grew = expected == Outcome::Grown;
            assert_eq!((world.fills(name), world.count(command)), (grew, usize::from(grew)));
            if !grew {
                let told = world.state().past[0].sentence.clone();
                assert!(
                    told.contains(&format!("the cache of {pv} cannot be flushed")) && told.contains(typed),
                    "{told}"
                );
            }
        }
    }
}

#[test]
fn a_growth_that_fails_after_the_extension_needs_attention_and_names_the_next_command() {
    for (name, command, typed) in TARGETS {
        for harm in HARMS {
            let world = World::usual();
            world.inject(command, 0, harm);
            let daemon = world.daemon();
            let ended = daemon.alert(name);
            assert_eq!(world.extents(name), AFTER);
            if matches!(harm, Harm::FailsAfterwards | Harm::Overdue) {
                assert!(ended_as(&ended, Outcome::Grown), "{command} {harm:?}");
                continue;
            }
            assert!(ended_as(&ended, Outcome::NeedsAttention), "{command} {harm:?}");
            let parked = world.state().parked[&lv(name)].clone();
            let told = parked.account.to_string();
            assert!(told.ends_with(&format!("when that is mended, run: {typed}")), "{told}");
            assert_eq!(parked.account.commands, [typed], "apart from the sentence too");
            assert_eq!(world.state().past[0].commands, [typed]);
            // Closed until a person did that, across restarts and cooldowns.
            drop(daemon);
            world.minutes(24 * 60);
            let daemon = world.daemon();
            let again = daemon.alert(name);
            assert!(refused(&again, Code::OperationInProgress), "{again:?}");
            assert_eq!((world.count("lvextend"), world.count(command)), (1, 1));
            world.sim.with(|model| grow_by_hand(model, name));
            assert!(refused(&daemon.alert(name), Code::BelowThreshold), "open again");
            assert!(world.state().parked.is_empty());
        }
    }
}

/// What a person is told to run is what is left: not what was done already, nor what would hit another volume.
#[test]
fn a_size_that_only_the_kernel_has_is_no_success_of_an_lvextend_that_failed() {
    for (name, grower, _) in TARGETS {
        let world = World::usual();
        // Its commit failed, or somebody resumed the device that it left suspended.
        world.sim.with(|model| {
            let lv = model.lvs.iter_mut().find(|lv| lv.name.to_string() == name).expect("there");
            lv.mapped = Some(Extents(AFTER).bytes(lv.extent_size));
        });
        world.inject("lvextend", 0, Harm::Fails);
        assert!(ended_as(&world.daemon().alert(name), Outcome::Failed), "{name}");
        assert_eq!((world.extents(name), world.count(grower)), (BEFORE, 0));
    }
}

#[test]
fn the_commands_that_are_left_are_exactly_those_still_to_be_done() {
    type Change = fn(&mut lvm_autoscaler::host::sim::Model);
    fn fs(model: &mut lvm_autoscaler::host::sim::Model) -> &mut lvm_autoscaler::host::sim::SimFs {
        model.lv("vg/media").and_then(|lv| lv.fs.as_mut()).expect("there")
    }
    let cases: [(&str, Change, &[&str]); 5] = [
        ("nothing", |_| (), &["xfs_growfs -d '/it'\\''s media'"]),
        (
            "unmounted it",
            |model| fs(model).mounted = false,
            &["mount /dev/mapper/vg-media '/it'\\''s media'", "xfs_growfs -d '/it'\\''s media'"],
        ),
        (
            "remounted it read-only",
            |model| fs(model).read_only = true,
            &["mount -o remount,rw '/it'\\''s media'", "xfs_growfs -d '/it'\\''s media'"],
        ),
        ("finished it", |model| grow_by_hand(model, "vg/media"), &[]),
        ("removed the volume", |model| model.lvs.retain(|lv| lv.name.to_string() != "vg/media"), &[]),
    ];
    for (what, by_hand, left) in cases {
        let [host, config] =
            [HOST, CONFIG].map(|text| text.replace("mount_point: /media", "mount_point: \"/it's media\""));
        let world = World::new(&host, &config);
        world.inject("xfs_growfs", 0, Harm::CrashBefore);
        assert!(until_crash(|| world.daemon().alert("vg/media")).is_err());
        world.sim.with(by_hand);
        world.sim.inject(Fault { command: "xfs_growfs".to_owned(), after: 0, times: 9, harm: Harm::Fails });
        world.daemon().recover().expect("the journal can be written");
        let commands = world.state().parked.get(&lv("vg/media")).map(|parked| parked.account.commands.clone());
        let finished = what == "finished it";
        assert_eq!(commands.as_deref().unwrap_or_default(), left, "somebody {what}");
        assert_eq!(
            world.state().past[0].result.as_str(),
            if finished { "grown" } else { "needs_attention" },
            "somebody {what}"
        );
    }
    // When LVM does not say, all that may be left is named; each does nothing where its goal is reached.
    let world = World::usual();
    world.sim.inject(Fault::once("lvextend", Harm::Fails));
    world.sim.inject(Fault { command: "fullreport".to_owned(), after: 1, times: 12, harm: Harm::TimesOut });
    assert!(ended_as(&world.daemon().alert("vg/data"), Outcome::NeedsAttention));
    let expected =
        ["lvm lvextend -A n --config global/wait_for_locks=1 -l 1536 -- vg/data", "resize2fs /dev/mapper/vg-data"];
    assert_eq!(world.state().parked[&lv("vg/data")].account.commands, expected);
}

/// LVM says nothing from before the extension on: nothing was begun, and that is certain.
#[test]
fn a_silence_before_anything_was_begun_is_a_failure_and_nothing_more() {
    let world = World::usual();
    world.inject("vgcfgbackup", 0, Harm::Fails);
    world.sim.inject(Fault { command: "fullreport".to_owned(), after: 1, times: 12, harm: Harm::TimesOut });
    assert!(ended_as(&world.daemon().alert("vg/data"), Outcome::Failed));
    assert_eq!(world.names_of_changes(), ["vgcfgbackup"]);
    assert!(world.state().past[0].sentence.ends_with("did not answer within 30s; nothing was changed"));
}

/// No second alert is needed for a target to be open again.
#[test]
fn what_a_person_finished_is_noticed_without_another_alert() {
    let parked = || {
        let world = World::usual();
        world.inject("resize2fs", 0, Harm::Fails);
        assert!(ended_as(&world.daemon().alert("vg/data"), Outcome::NeedsAttention));
        world
    };
    let look = |world: &World| {
        Pipeline(world.shared(false)).clear_what_is_mended().expect("the journal can be written");
        world.state().parked.len()
    };
    let world = parked();
    assert_eq!(look(&world), 1, "nothing was done yet");
    world.sim.with(|model| model.lv("vg/data").and_then(|lv| lv.fs.as_mut()).expect("there").mounted = false);
    assert_eq!(look(&world), 1, "nor is it finished where nothing is mounted");
    world.sim.with(|model| {
        grow_by_hand(model, "vg/data");
        model.lv("vg/data").and_then(|lv| lv.fs.as_mut()).expect("there").mounted = true;
    });
    assert_eq!(look(&world), 0);
    // A volume that is gone may come back; where there is another one in its place nothing is left to finish.
    let world = parked();
    let volume = world.sim.with(|model| model.lvs.remove(0));
    assert_eq!(look(&world), 1);
    world.sim.with(|model| model.lvs.push(lvm_autoscaler::host::sim::SimLv { uuid_salt: 1, ..volume }));
    assert_eq!(look(&world), 0);
}

#[test]
fn without_lvm_a_request_is_refused_and_names_it() {
    for (tool, name) in [(Tool::Lvm, "lvm"), (Tool::Blkid, "blkid"), (Tool::Resize2fs, "resize2fs")] {
        let world = World::usual();
        world.sim.with(|model| model.missing_tools = vec![tool]);
        let ended = world.daemon().alert("vg/data");
        assert!(refused(&ended, Code::FsUnsupported), "{ended:?}");
        let told = world.state().last_refusal[&lv("vg/data")].sentence.clone();
        assert!(
            told.contains(&format!("{name} is not installed")) && told.contains(&format!("tools.{name}")),
            "{told}"
        );
        let others = world.daemon().alert("vg/media");
        assert_eq!(word(&others), if tool == Tool::Resize2fs { "grown" } else { "fs_unsupported" });
    }
}

#[test]
fn a_command_that_takes_too_long_is_written_down_and_counted_until_it_ends() {
    let world = World::usual();
    world.inject("resize2fs", 0, Harm::Overdue);
    let daemon = world.daemon();
    assert!(ended_as(&daemon.alert("vg/data"), Outcome::Grown));
    let written = std::fs::read(world.folder.path().join("journal.0")).expect("a segment");
    let written = String::from_utf8_lossy(&written);
    assert_eq!(written.matches("\"event\":\"overdue\"").count(), 1);
    let mut page = String::new();
    page.push_str(&daemon.0.metrics.text());
    assert!(page.contains("lvm_autoscaler_command_overdue{command=\"resize2fs\"} 0"), "{page}");
}

/// The host is looked at before, between and after the steps.
#[test]
fn a_report_that_fails_once_is_asked_again() {
    for (name, ..) in TARGETS {
        for harm in HARMS {
            for (question, after) in
                ["fullreport", "mapped", "mountinfo"].into_iter().flat_map(|q| (0..8).map(move |n| (q, n)))
            {
                let world = World::usual();
                world.inject(question, after, harm);
                assert!(ended_as(&world.daemon().alert(name), Outcome::Grown), "{name}: {question} {after} {harm:?}");
                assert_eq!((world.extents(name), world.fills(name)), (AFTER, true));
                assert_eq!(world.count("lvextend"), 1);
            }
        }
    }
}

#[test]
fn without_blkids_word_nothing_begins_and_what_began_goes_on() {
    for harm in HARMS {
        for after in 0..6 {
            let world = World::usual();
            world.inject("blkid", after, harm);
            let ended = world.daemon().alert("vg/data");
            if after == 0 && harm != Harm::Overdue {
                assert!(refused(&ended, Code::FsUnsupported), "{harm:?}: {ended:?}");
                assert!(world.sim.changes().is_empty());
            } else {
                assert!(ended_as(&ended, Outcome::Grown), "{after} {harm:?}: {ended:?}");
            }
        }
    }
}

/// The name in /dev may lead elsewhere. What `blkid` found there while LVM answered says nothing about the volume.
#[test]
fn what_counts_is_probed_on_the_device_that_lvm_names() {
    let world = World::usual();
    assert!(ended_as(&world.daemon().alert("vg/data"), Outcome::Grown));
    // And LVM is asked once, beside backup and extension.
    assert_eq!((world.sim.runs(Tool::Blkid), world.sim.runs(Tool::Lvm)), (1, 3));
    let led_to = |other: &str, own: Option<&str>| {
        let world = World::usual();
        world.sim.with(|model| {
            let minor = model.lv(other).expect("there").minor;
            let lv = model.lv("vg/data").expect("there");
            lv.stale_minor = Some(minor);
            lv.fs.as_mut().expect("there").signature = own.map(str::to_owned);
        });
        let ended = world.daemon().alert("vg/data");
        assert_eq!(world.sim.runs(Tool::Blkid), 2);
        (world, ended)
    };
    let (world, ended) = led_to("vg/media", None);
    let seen = look(world.sim.as_ref(), Focus::Volume(&lv("vg/data"))).expect("LVM answers");
    let fs = seen.filesystem_at(&"/data".parse().expect("a path")).cloned().expect("mounted");
    assert_eq!(fs.signature.as_deref(), Some("ext4"), "an XFS is there, it is itself an ext4");
    // But resize2fs is given that name.
    assert!(refused(&ended, Code::DeviceMismatch), "{ended:?}");
    let (world, ended) = led_to("vg-2/logs", Some("crypto_LUKS"));
    assert!(matches!(&ended, lvm_autoscaler::engine::Ended::Refused(_)), "an ext4 is there: {ended:?}");
    assert!(world.sim.changes().is_empty());
}

/// A step whose goal is not seen yet when the daemon is told to stop: that is no failure, the next start looks again.
#[test]
fn a_stop_while_a_goal_is_waited_for_leaves_the_operation_to_the_next_start() {
    for command in ["lvextend", "resize2fs"] {
        let world = World::usual();
        world.inject(command, 0, Harm::Fails);
        let daemon: Arc<OnceLock<Arc<Shared>>> = Arc::default();
        let (stopped, failed) = (Arc::clone(&daemon), AtomicBool::new(false));
        let host = world.watched(move |ran| match ran.name() {
            name if name == command => failed.store(true, Ordering::Relaxed),
            "fullreport" if failed.load(Ordering::Relaxed) => {
                stopped.get().expect("it runs").stopping.store(true, Ordering::Relaxed);
            }
            _ => {}
        });
        let shared = daemon.get_or_init(|| world.shared_on(host, false));
        assert_eq!(Daemon(Arc::clone(shared)).alert("vg/data"), Ended::Interrupted, "{command}");
        assert_eq!(world.state().running.len(), 1, "{command}: it stays open");
        world.daemon().recover().expect("the journal can be written");
        let state = world.state();
        assert!(state.running.is_empty() && state.parked.is_empty(), "{command}: {:?}", state.past);
        assert_eq!((world.extents("vg/data"), world.fills("vg/data")), (AFTER, true), "{command}");
    }
}

/// A person mounts it elsewhere for good, finishes it there, and corrects the config.
#[test]
fn what_was_finished_at_another_place_is_open_again() {
    for (name, command, _) in TARGETS {
        let world = World::usual();
        world.inject(command, 0, Harm::Fails);
        assert!(ended_as(&world.daemon().alert(name), Outcome::NeedsAttention));
        let place = format!("mount_point: /{}", &name[3..]);
        let world = world.with_config(&CONFIG.replace(&place, "mount_point: /srv"));
        let move_it = |model: &mut Model| {
            let fs = model.lv(name).and_then(|lv| lv.fs.as_mut()).expect("there");
            fs.mount_point = "/srv".parse().expect("a path");
        };
        world.sim.with(move_it);
        let daemon = world.daemon();
        let pipeline = Pipeline(Arc::clone(&daemon.0));
        pipeline.clear_what_is_mended().expect("the journal can be written");
        assert_eq!(world.state().parked.len(), 1, "{name}: it is mounted there, and not grown");
        world.sim.with(|model| grow_by_hand(model, name));
        pipeline.clear_what_is_mended().expect("the journal can be written");
        assert!(world.state().parked.is_empty(), "{name}");
        world.minutes(11);
        assert!(refused(&daemon.alert(name), Code::BelowThreshold), "{name}: it is looked at again");
    }
}

/// LVM answers nothing for half a minute, wherever the operation is: it may end as failed or as needing attention, but
/// when LVM is back and a person did what the sentence says, the target is open again.
#[test]
fn a_long_silence_of_lvm_closes_a_target_only_until_it_is_over() {
    for after in 1..8 {
        let world = World::usual();
        // Where a glance is not enough, it is LVM that is asked.
        world.sim.inject(Fault { command: "mapped".to_owned(), after: 0, times: 99, harm: Harm::Fails });
        world.sim.inject(Fault { command: "fullreport".to_owned(), after, times: 12, harm: Harm::TimesOut });
        let daemon = world.daemon();
        let ended = daemon.alert("vg/data");
        // Those that are left of the silence.
        while daemon.own_look("vg/data") == lvm_autoscaler::engine::Ended::Interrupted {}
        let extended = world.extents("vg/data");
        assert!(extended == BEFORE || extended == AFTER);
        if let Some(parked) = world.state().parked.get(&lv("vg/data")) {
            assert!(ended_as(&ended, Outcome::NeedsAttention));
            let told = &parked.account.to_string();
            assert!(told.ends_with("resize2fs /dev/mapper/vg-data"), "{told}");
        }
        world.sim.with(|model| grow_by_hand(model, "vg/data"));
        world.minutes(11);
        let again = daemon.alert("vg/data");
        let expected = if extended == BEFORE { "grown" } else { "below_threshold" };
        assert_eq!(word(&again), expected, "silence after report {after}: {again:?}");
        assert_eq!((world.extents("vg/data"), world.fills("vg/data")), (AFTER, true));
    }
}

#[test]
fn errors_that_the_kernel_counts_after_the_extension_stop_the_growth() {
    let world = World::usual();
    world.inject("lvextend", 0, Harm::CrashAfter);
    assert!(until_crash(|| world.daemon().alert("vg/data")).is_err());
    world.sim.with(|model| model.lv("vg/data").and_then(|lv| lv.fs.as_mut()).expect("there").errors = 2);
    let daemon = world.daemon();
    daemon.recover().expect("the journal can be written");
    assert_eq!((world.count("lvextend"), world.count("resize2fs")), (1, 0));
    assert_eq!(world.state().parked.len(), 1);
    world.sim.with(|model| {
        grow_by_hand(model, "vg/data");
        model.lv("vg/data").and_then(|lv| lv.fs.as_mut()).expect("there").errors = 0;
    });
    assert!(refused(&daemon.alert("vg/data"), Code::Cooldown));
    assert!(world.state().parked.is_empty());
}

#[test]
fn what_a_person_does_in_between_is_not_undone_and_not_done_twice() {
    type ByHand = fn(&World);
    let cases: [(&str, ByHand, &str, u64); 5] = [
        (
            "extends and grows further",
            |w| {
                w.sim.with(|m| {
                    extend_by_hand(m, "vg/data", 600);
                    grow_by_hand(m, "vg/data");
                })
            },
            "grown",
            1624,
        ),
        (
            "unmounts",
            |w| w.sim.with(|m| m.lv("vg/data").and_then(|lv| lv.fs.as_mut()).expect("there").mounted = false),
            "failed",
            BEFORE,
        ),
        (
            "remounts read-only",
            |w| w.sim.with(|m| m.lv("vg/data").and_then(|lv| lv.fs.as_mut()).expect("there").read_only = true),
            "failed",
            BEFORE,
        ),
        (
            "removes the volume",
            |w| w.sim.with(|m| m.lvs.retain(|lv| lv.name.to_string() != "vg/data")),
            "needs_attention",
            0,
        ),
        (
            "deletes files",
            |w| w.sim.with(|m| m.lv("vg/data").and_then(|lv| lv.fs.as_mut()).expect("there").used.0 /= 2),
            "failed",
            BEFORE,
        ),
    ];
    for (what, by_hand, expected, extents) in cases {
        let world = World::usual();
        world.inject("lvextend", 0, Harm::CrashBefore);
        assert!(until_crash(|| world.daemon().alert("vg/data")).is_err());
        by_hand(&world);
        world.sim.pass(Duration::from_secs(60));
        world.daemon().recover().expect("the journal can be written");
        let past = world.state().past.back().cloned().expect("it ended");
        assert_eq!(past.result.as_str(), expected, "somebody {what}: {}", past.sentence);
        assert_eq!(world.sim.with(|model| model.lv("vg/data").map_or(0, |lv| lv.extents.0)), extents, "{what}");
        assert_eq!(world.count("lvextend"), 1, "{what}: only the one that crashed");
    }
}
