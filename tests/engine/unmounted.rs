//! File systems that are mounted nowhere, and btrfs, on the simulated host: what is done, in which order, and what
//! stops it.

use crate::common::*;
use lvm_autoscaler::host::sim::{Harm, Model, SimFs};
use lvm_autoscaler::plan::{Code, Outcome};

const EXTEND: &str = "lvm lvextend -A n --config global/wait_for_locks=1 -l 1536 -- vg/data";
const CHECK: &str = "e2fsck -f -p /dev/mapper/vg-data";
const GROW: &str = "resize2fs /dev/mapper/vg-data";

fn fs<'a>(model: &'a mut Model, name: &str) -> &'a mut SimFs {
    model.lv(name).and_then(|lv| lv.fs.as_mut()).expect("there")
}

/// vg/data and vg/media are mounted nowhere; `settings` are defaults of targets.
fn world(settings: &str) -> World {
    let world = World::new(HOST, &CONFIG.replace("defaults: {", &format!("defaults: {{ {settings},")));
    world.sim.with(|model| ["vg/data", "vg/media"].map(|name| fs(model, name).mounted = false));
    world
}

/// The commands that change something but the backup.
fn changes(world: &World) -> Vec<String> {
    world.sim.changes().into_iter().filter(|command| !command.contains("vgcfgbackup")).collect()
}

#[test]
fn an_ext4_is_checked_extended_and_grown_and_an_xfs_is_refused() {
    let world = world("offline: allow");
    let daemon = world.daemon();
    assert!(ended_as(&daemon.alert("vg/data"), Outcome::Grown));
    assert_eq!(changes(&world), [CHECK, EXTEND, GROW]);
    assert_eq!((world.extents("vg/data"), world.fills("vg/data")), (AFTER, true));
    world.minutes(11);
    assert!(refused(&daemon.alert("vg/data"), Code::BelowThreshold), "its superblock says how full it is");
    assert!(refused(&daemon.alert("vg/media"), Code::NotMounted));
    let told = world.state().last_refusal[&lv("vg/media")].sentence.clone();
    assert_eq!(told, "xfs_growfs grows only an xfs that is mounted: mount vg/media at /media");
    assert!(ended_as(&daemon.alert("vg-2/logs"), Outcome::Grown), "one that is mounted grows as ever");
    assert_eq!(world.count("e2fsck"), 1);
}

#[test]
fn when_it_is_checked_is_for_the_config_to_say() {
    let cases = [
        ("refuse", "auto", false, Err(Code::NotMounted)),
        ("allow", "auto", true, Ok(0)),
        ("allow", "auto", false, Ok(1)),
        ("allow", "always", true, Ok(1)),
        ("allow", "never", true, Ok(0)),
        ("allow", "never", false, Err(Code::FsErrors)),
    ];
    for (offline, check, checked, expected) in cases {
        let world = world(&format!("offline: {offline}, filesystem_check: {check}"));
        world.sim.with(|model| fs(model, "vg/data").checked = checked);
        let ended = world.daemon().alert("vg/data");
        match expected {
            Err(code) => assert!(refused(&ended, code) && changes(&world).is_empty(), "{offline} {check}: {ended:?}"),
            Ok(checks) => {
                assert!(ended_as(&ended, Outcome::Grown), "{offline} {check}: {ended:?}");
                assert_eq!(world.count("e2fsck"), checks, "{offline} {check} {checked}");
            }
        }
    }
}

#[test]
fn what_is_in_use_or_unsound_is_not_touched() {
    type Change = fn(&mut Model);
    let cases: [(Code, Change, &str); 6] = [
        (Code::LayeredDevice, |m| m.lv("vg/data").expect("there").is_open = true, "another mount namespace"),
        (Code::LayeredDevice, |m| m.lv("vg/data").expect("there").is_swap = true, "swap space"),
        (
            Code::NotMounted,
            |m| {
                let fs = fs(m, "vg/data");
                (fs.mounted, fs.mount_point) = (true, "/elsewhere".parse().expect("a path"));
            },
            "is mounted at /elsewhere, not at /data",
        ),
        (Code::FsErrors, |m| fs(m, "vg/data").errors = 2, "(2 counted)"),
        (Code::FsUnsupported, |m| m.missing_tools = vec![lvm_autoscaler::command::Tool::E2fsck], "tools.e2fsck"),
        (Code::FsUnsupported, |m| fs(m, "vg/data").signature = Some(String::new()), "cannot be grown"),
    ];
    for (code, change, part) in cases {
        let world = world("offline: allow");
        world.sim.with(change);
        let ended = world.daemon().alert("vg/data");
        assert!(refused(&ended, code), "{part}: {ended:?}");
        let told = world.state().last_refusal[&lv("vg/data")].sentence.clone();
        assert!(told.contains(part), "{told}");
        assert!(world.sim.changes().is_empty(), "{part}");
    }
}

#[test]
fn what_e2fsck_cannot_mend_alone_is_a_persons_before_anything_is_extended() {
    let world = world("offline: allow");
    // The superblock does not know; the first that finds out is e2fsck.
    world.inject("e2fsck", 0, Harm::Fails);
    let daemon = world.daemon();
    assert!(ended_as(&daemon.alert("vg/data"), Outcome::NeedsAttention));
    assert_eq!(changes(&world), [CHECK]);
    let parked = world.state().parked[&lv("vg/data")].clone();
    assert_eq!(parked.account.commands, ["e2fsck -f /dev/mapper/vg-data"]);
    assert!(parked.account.to_string().contains("e2fsck exited with 5"), "{}", parked.account.to_string());
    assert!(refused(&daemon.alert("vg/data"), Code::OperationInProgress));
    world.sim.with(|model| fs(model, "vg/data").checked = true);
    world.minutes(11);
    assert!(ended_as(&daemon.alert("vg/data"), Outcome::Grown), "a person ran it");
    assert_eq!((world.extents("vg/data"), world.fills("vg/data")), (AFTER, true));
}

/// An exit code that says no is believed here even where the superblock says yes.
#[test]
fn a_check_that_says_no_stops_although_it_looks_done() {
    let world = world("offline: allow");
    world.inject("e2fsck", 0, Harm::FailsAfterwards);
    assert!(ended_as(&world.daemon().alert("vg/data"), Outcome::NeedsAttention));
    assert_eq!(changes(&world), [CHECK]);
}

#[test]
fn a_crash_anywhere_is_gone_on_with_and_what_somebody_mounted_meanwhile_is_left_alone() {
    for command in ["vgcfgbackup", "e2fsck", "lvextend", "resize2fs"] {
        for harm in [Harm::CrashBefore, Harm::CrashAfter] {
            for mounted in [false, true] {
                let world = world("offline: allow");
                world.inject(command, 0, harm);
                assert!(until_crash(|| world.daemon().alert("vg/data")).is_err());
                let begun = world.extents("vg/data") > BEFORE;
                world.sim.with(|model| fs(model, "vg/data").mounted = mounted);
                let daemon = world.daemon();
                daemon.recover().expect("the journal can be written");
                let past = world.state().past.back().cloned().expect("it ended");
                let what = format!("{command} {harm:?} mounted {mounted}: {}", past.sentence);
                let after_check = command == "e2fsck" && harm == Harm::CrashBefore;
                match (mounted, begun) {
                    (false, _) => assert_eq!((past.result.as_str(), world.fills("vg/data")), ("grown", true), "{what}"),
                    (true, false) => assert_ne!(past.result.as_str(), "grown", "{what} {after_check}"),
                    (true, true) => {
                        assert_eq!(past.result.as_str(), "needs_attention", "{what}");
                        let left = if world.fills("vg/data") { vec![] } else { vec![GROW.to_owned()] };
                        assert_eq!(past.commands, left, "{what}");
                        // Mounted resize2fs works just as well.
                        world.sim.with(|model| grow_by_hand(model, "vg/data"));
                        daemon.alert("vg/data");
                        assert!(world.state().parked.is_empty(), "{what}");
                    }
                }
                assert!(world.count("lvextend") <= 1 + usize::from(harm == Harm::CrashBefore), "{what}");
            }
        }
    }
}

/// A btrfs has a device number of its own; its volume is found by the mount's source.
#[test]
fn a_btrfs_grows_where_it_is_mounted() {
    let host = HOST.replace("type: xfs", "type: btrfs");
    let world = World::new(&host, CONFIG);
    assert!(ended_as(&world.daemon().alert("vg/media"), Outcome::Grown));
    assert_eq!((world.extents("vg/media"), world.fills("vg/media")), (AFTER, true));
    assert_eq!(changes(&world)[1], "btrfs filesystem resize --enqueue 1:max /media");

    let world = World::new(&host, CONFIG);
    world.inject("btrfs", 0, Harm::Fails);
    assert!(ended_as(&world.daemon().alert("vg/media"), Outcome::NeedsAttention));
    let commands = world.state().parked[&lv("vg/media")].account.commands.clone();
    assert_eq!(commands, ["btrfs filesystem resize --enqueue 1:max /media"]);

    let world = World::new(&host, CONFIG);
    world.sim.with(|model| fs(model, "vg/media").devices = 2);
    assert!(refused(&world.daemon().alert("vg/media"), Code::FsUnsupported));
    world.sim.with(|model| {
        fs(model, "vg/media").devices = 1;
        model.missing_tools = vec![lvm_autoscaler::command::Tool::Btrfs];
    });
    assert!(refused(&world.daemon().alert("vg/media"), Code::FsUnsupported));
    assert!(world.sim.changes().is_empty());
}
