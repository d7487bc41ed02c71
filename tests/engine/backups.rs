//! The metadata backups: how many are kept, which are never deleted, and where they go when there is no room.

use std::path::{Path, PathBuf};

use crate::common::*;
use lvm_autoscaler::host::sim::Harm;
use lvm_autoscaler::inventory::Usage;
use lvm_autoscaler::plan::Outcome;
use lvm_autoscaler::units::{Bytes, MIB};

/// Two groups of which one's name begins like the other's; each request finds its volume full again.
const CONFIG: &str = "
backup: { keep: 3 }
defaults: { threshold_percent: 80, increment: 256MiB, cooldown: 0s, budget: { extensions: 100 } }
monitor:
  targets:
    - { lv_path: /dev/vg/data, mount_point: /data }
    - { lv_path: /dev/vg/media, mount_point: /media }
    - { lv_path: /dev/vg-2/logs, mount_point: /logs }
";

fn fill(world: &World, name: &str) {
    world.sim.with(|model| {
        let fs = model.lv(name).and_then(|lv| lv.fs.as_mut()).expect("there");
        fs.used = Bytes(fs.capacity().0 / 10 * 9);
    });
    world.minutes(1);
}

/// The backups that are there, by name.
fn backups(world: &World) -> Vec<String> {
    let name = |file: &PathBuf| file.to_string_lossy().into_owned();
    world.sim.with(|model| model.files.keys().map(name).collect())
}

#[test]
fn so_many_are_kept_of_each_group_and_none_that_is_still_needed() {
    let world = World::new(HOST, CONFIG);
    let daemon = world.daemon();
    // The first ends half-way, and its backup is what a person may need.
    world.inject("xfs_growfs", 0, Harm::Fails);
    assert!(ended_as(&daemon.alert("vg/media"), Outcome::NeedsAttention));
    let first = backups(&world);
    assert_eq!(first.len(), 1);
    for _ in 0..6 {
        fill(&world, "vg/data");
        assert!(ended_as(&daemon.alert("vg/data"), Outcome::Grown));
    }
    fill(&world, "vg-2/logs");
    assert!(ended_as(&daemon.alert("vg-2/logs"), Outcome::Grown));
    let kept = backups(&world);
    let of = |prefix: &str| kept.iter().filter(|name| name.contains(prefix)).count();
    assert_eq!((of("/vg-2026"), of("/vg-2-2026")), (4, 1), "{kept:?}");
    assert!(kept.contains(&first[0]), "it belongs to what needs attention: {kept:?}");
    // Once a person finished that it is one among others.
    world.sim.with(|model| grow_by_hand(model, "vg/media"));
    fill(&world, "vg/media");
    assert!(ended_as(&daemon.alert("vg/media"), Outcome::Grown));
    let kept = backups(&world);
    assert!(!kept.contains(&first[0]) && kept.len() == 4, "{kept:?}");
}

#[test]
fn a_backup_that_fails_deletes_none() {
    let world = World::new(HOST, CONFIG);
    let daemon = world.daemon();
    for _ in 0..3 {
        fill(&world, "vg/data");
        assert!(ended_as(&daemon.alert("vg/data"), Outcome::Grown));
    }
    let before = backups(&world);
    fill(&world, "vg/data");
    world.inject("vgcfgbackup", 0, Harm::Fails);
    assert!(ended_as(&daemon.alert("vg/data"), Outcome::Failed));
    assert_eq!((backups(&world), before.len()), (before, 3));
}

/// Space or inodes: the backup goes to memory, and everybody is told: plan, log, sentence.
#[test]
fn where_the_state_directory_has_no_room_the_backup_goes_to_memory() {
    let usage = |free: u64, files_free: u64| Usage {
        size: gib(10),
        free: Bytes(free * MIB),
        avail: Bytes::ZERO,
        files: 1000,
        files_free,
        read_only: false,
    };
    let cases = [
        (Some(usage(0, 500)), Some("has only 0 B left")),
        (Some(usage(31, 500)), Some("has only 31 MiB left")),
        (Some(usage(32, 500)), None),
        (Some(usage(100, 15)), Some("has only 15 inodes left")),
        (Some(Usage { files: 0, files_free: 0, ..usage(100, 0) }), None),
        (None, Some("does not say how much room it has")),
    ];
    for (state_usage, left) in cases {
        let world = World::new(HOST, CONFIG);
        world.sim.with(|model| model.state_usage = state_usage);
        assert!(ended_as(&world.daemon().alert("vg/data"), Outcome::Grown));
        let command = world.sim.changes().remove(0);
        let in_memory = Path::new("/run/lvm-autoscaler/backup/vg-20260101T000000.000Z.vg").display().to_string();
        assert_eq!(command.contains(&in_memory), left.is_some(), "{command}");
        assert_eq!(
            backups(&world),
            [command.split(' ').nth(5).expect("the file").to_owned()],
            "where the command says"
        );
        let told = world.state().past[0].sentence.clone();
        assert_eq!(told.contains(&format!("{in_memory} is gone after a reboot, copy it")), left.is_some(), "{told}");
        if let Some(left) = left {
            world.inject("resize2fs", 0, Harm::Fails);
            fill(&world, "vg/data");
            assert!(ended_as(&world.daemon().alert("vg/data"), Outcome::NeedsAttention));
            let parked = world.state().parked[&lv("vg/data")].clone();
            let warning = format!("{left}, so the metadata backup goes to /run/lvm-autoscaler/backup");
            assert!(parked.plan.warnings.iter().any(|told| told.contains(&warning)), "{:?}", parked.plan.warnings);
            assert!(parked.account.to_string().contains("is gone after a reboot"), "{}", parked.account.to_string());
        }
    }
}
