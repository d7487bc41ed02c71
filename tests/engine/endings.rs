//! Something goes wrong between the look and a command, in ways that no guard can foresee: what the operation then
//! says, and that its commands, pasted as they are, mend the host and open the target again.

use std::sync::Arc;

use crate::common::*;
use lvm_autoscaler::engine::{Pipeline, Shared};
use lvm_autoscaler::host::sim::{Harm, Model, Sim, SimFs};
use lvm_autoscaler::journal::Past;
use lvm_autoscaler::plan::Outcome;
use lvm_autoscaler::units::Bytes;

fn fs<'a>(model: &'a mut Model, name: &str) -> &'a mut SimFs {
    model.lv(name).and_then(|lv| lv.fs.as_mut()).expect("a file system")
}

/// A world in which this happens just before a command runs, and how the operation on the volume ended.
fn operation(name: &'static str, command: &'static str, happens: fn(&mut Model, &str)) -> (World, Arc<Shared>, Past) {
    let world = World::usual();
    let sim: Arc<Sim> = Arc::clone(&world.sim);
    let host = world.watched(move |ran| {
        if ran.name() == command {
            sim.with(|model| happens(model, name));
        }
    });
    let daemon = Daemon(world.shared_on(host, false));
    let ended = daemon.alert(name);
    assert!(ended_as(&ended, Outcome::NeedsAttention), "{ended:?}");
    let past = world.state().past.back().cloned().expect("it ended");
    (world, daemon.0, past)
}

/// The commands as they stand in the journal are all that a person needs; after them the next alert grows it.
fn are_enough(world: &World, shared: &Arc<Shared>, name: &str, past: &Past) {
    for command in &past.commands {
        let said = world.sim.paste(command);
        // 1 of e2fsck: it mended something.
        let is_fine = said.succeeded() || command.starts_with("e2fsck") && said.code == Some(1);
        assert!(is_fine, "{command}: {}", said.complaint());
    }
    assert!(past.sentence.ends_with(&past.commands.join("; ")), "the sentence has them too: {}", past.sentence);
    Pipeline(Arc::clone(shared)).clear_what_is_mended().expect("the journal can be written");
    assert!(world.state().parked.is_empty(), "open again: {}", past.sentence);
    assert!(world.fills(name), "volume and file system fit");
}

fn shrink(model: &mut Model, _: &str) {
    model.vg("vg").expect("a group").pvs[0].device_exceeds = -1;
}

#[test]
fn a_table_that_the_kernel_refused_is_taken_back() {
    for name in ["vg/data", "vg/media"] {
        let (world, shared, past) = operation(name, "lvextend", shrink);
        for part in ["lvextend exited with 5: device-mapper: resume ioctl", "the kernel did not take it"] {
            assert!(past.sentence.contains(part), "{}", past.sentence);
        }
        let device = lv(name).dm_path();
        assert_eq!(
            past.commands,
            [format!("dmsetup resume {}", device.display()), format!("lvm lvreduce -y -l {BEFORE} -- {name}")]
        );
        are_enough(&world, &shared, name, &past);
        assert_eq!((world.extents(name), world.sim.with(|m| m.lv(name).expect("there").suspended)), (BEFORE, false));
        // Nothing grows while the disk is too short, and everything when it is not any more.
        world.minutes(11);
        let daemon = world.daemon();
        assert!(refused(&daemon.alert(name), lvm_autoscaler::plan::Code::DiskShrunk));
        world.sim.with(|model| model.vg("vg").expect("a group").pvs[0].device_exceeds = 0);
        world.minutes(11);
        assert!(ended_as(&daemon.alert(name), Outcome::Grown));
    }
}

#[test]
fn a_volume_that_came_to_lie_on_too_coarse_a_disk_is_given_back() {
    let (world, shared, past) = operation("vg/data", "lvextend", |model, name| {
        fs(model, name).bears = Bytes(1024);
        model.vg("vg").expect("a group").pvs[0].block_size = Bytes(4096);
    });
    assert!(past.sentence.contains("the logical block size of vg/data is larger now"), "{}", past.sentence);
    let device = "/dev/mapper/vg-data";
    let expected = [
        "umount /data".to_owned(),
        format!("lvm lvreduce -y -l {BEFORE} -- vg/data"),
        format!("e2fsck -f -p {device}"),
        format!("mount {device} /data"),
    ];
    assert_eq!(past.commands, expected);
    are_enough(&world, &shared, "vg/data", &past);
    assert_eq!(world.extents("vg/data"), BEFORE);
}

#[test]
fn what_the_kernel_would_not_grow_mounted_is_checked_or_grown_unmounted() {
    let (world, shared, past) = operation("vg/data", "resize2fs", |model, name| fs(model, name).error_flag = true);
    assert!(past.sentence.contains("resize2fs exited with 1: resize2fs: Operation not permitted"), "{}", past.sentence);
    let check = ["umount /data", "e2fsck -f -p /dev/mapper/vg-data", "mount /dev/mapper/vg-data /data"];
    assert_eq!(past.commands, [&check[..], &["resize2fs /dev/mapper/vg-data"]].concat());
    are_enough(&world, &shared, "vg/data", &past);

    let (world, shared, past) = operation("vg/data", "resize2fs", |model, name| fs(model, name).sparse_super2 = true);
    assert!(past.sentence.contains("Operation not supported"), "{}", past.sentence);
    assert_eq!(past.commands, [check[0], check[1], "resize2fs /dev/mapper/vg-data", check[2]]);
    are_enough(&world, &shared, "vg/data", &past);
}

#[test]
fn what_became_read_only_is_remounted() {
    for (name, grower) in [("vg/data", "resize2fs"), ("vg/media", "xfs_growfs")] {
        let (world, shared, past) = operation(name, grower, |model, name| fs(model, name).read_only = true);
        assert!(past.sentence.contains("Read-only file system"), "{}", past.sentence);
        are_enough(&world, &shared, name, &past);
    }
}

/// A frozen one is refused before anything is changed; one that thaws meanwhile grows.
#[test]
fn a_freeze_is_waited_out_for_a_while() {
    let world = World::usual();
    let sim = Arc::clone(&world.sim);
    let asked = std::sync::atomic::AtomicUsize::new(0);
    let host = world.watched(move |ran| {
        if ran.name() == "rmdir" && asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 1 {
            sim.with(|model| fs(model, "vg/data").frozen = false);
        }
    });
    world.sim.with(|model| fs(model, "vg/data").frozen = true);
    assert!(ended_as(&Daemon(world.shared_on(host, false)).alert("vg/data"), Outcome::Grown));
    assert_eq!(world.extents("vg/data"), AFTER);

    world.sim.with(|model| fs(model, "vg/media").frozen = true);
    let refused = world.daemon().alert("vg/media");
    assert!(crate::common::refused(&refused, lvm_autoscaler::plan::Code::FsNoOnlineGrowth), "{refused:?}");
    assert_eq!(world.extents("vg/media"), BEFORE);
}

/// What asks whether it is frozen has to say that it came as far as the question.
#[test]
fn a_probe_that_fails_otherwise_does_not_say_that_nothing_is_frozen() {
    for harm in [Harm::Fails, Harm::Garbage] {
        let world = World::usual();
        world.inject("rmdir", 0, harm);
        let refused = world.daemon().alert("vg/data");
        assert!(crate::common::refused(&refused, lvm_autoscaler::plan::Code::FsNoOnlineGrowth), "{refused:?}");
        assert_eq!(world.extents("vg/data"), BEFORE);
    }
}
