//! Thin pools: volumes that are promised space, and pools that grow themselves.

use std::collections::BTreeMap;

use crate::common::*;
use lvm_autoscaler::alert::instance::OwnNames;
use lvm_autoscaler::alert::target::resolve;
use lvm_autoscaler::engine;
use lvm_autoscaler::host::sim::{Harm, SimPool};
use lvm_autoscaler::host::{Focus, look};
use lvm_autoscaler::inventory::Lv;
use lvm_autoscaler::plan::{Code, History, Outcome, plan};
use lvm_autoscaler::units::Bytes;

/// A pool of 4 GiB with 8 MiB of metadata, and a file system of 2 GiB in it.
const HOST: &str = "
names: [db1]
volume_groups:
  - name: vg
    physical_volumes: [{ name: /dev/sdb, size: 20GiB }]
    logical_volumes:
      - { name: pool, type: thin-pool, size: 4GiB, data_used: 50%, metadata_used: 30% }
      - { name: data, size: 2GiB, pool: pool, filesystem: { type: ext4, mount_point: /data, used: 85% } }
";
const CONFIG: &str = "
defaults: { increment: 1GiB }
monitor:
  targets:
    - { lv_path: /dev/vg/data, mount_point: /data }
    - { thin_pool: vg/pool, data_threshold_percent: 80, metadata_threshold_percent: 70 }
";

fn world() -> World {
    World::new(HOST, CONFIG)
}

/// Data and metadata that are used, in MiB.
fn used(world: &World, data: u64, metadata: u64) {
    pool(world, |pool| (pool.data_used, pool.metadata_used) = (Bytes(data << 20), Bytes(metadata << 20)));
}

fn pool<T>(world: &World, look: impl FnOnce(&mut SimPool) -> T) -> T {
    world.sim.with(|model| look(model.lv("vg/pool").and_then(|lv| lv.thin_pool.as_mut()).expect("a pool")))
}

#[test]
fn a_thin_volume_grows_what_it_is_promised_and_takes_nothing_from_the_group() {
    let world = world();
    let free = |world: &World| world.sim.with(|model| model.vg("vg").expect("there").free());
    let before = free(&world);
    assert!(ended_as(&world.daemon().alert("vg/data"), Outcome::Grown));
    assert_eq!((world.extents("vg/data"), world.fills("vg/data")), (768, true));
    assert_eq!(free(&world), before);
    assert_eq!(world.names_of_changes(), ["vgcfgbackup", "lvextend", "resize2fs"]);
}

#[test]
fn nothing_is_promised_that_the_pool_does_not_have_unless_the_config_says_so() {
    // The pool itself may not grow.
    let config = CONFIG.replace("thin_pool: vg/pool,", "thin_pool: vg/pool, mode: \"off\",");
    // 2 GiB are promised already; the pool of 4 GiB has 1.2 GiB to spare above its fifth.
    let world = World::new(HOST, &config.replace("increment: 1GiB", "increment: 3GiB, min_increment: 3GiB"));
    assert!(refused(&world.daemon().alert("vg/data"), Code::PoolSpace));
    let generous = "increment: 3GiB, min_increment: 3GiB, max_overprovision: 1.5";
    let world = world.with_config(&config.replace("increment: 1GiB", generous));
    assert!(refused(&world.daemon().alert("vg/data"), Code::PoolSpace), "what is free cannot carry it");
    used(&world, 100, 1);
    assert!(ended_as(&world.daemon().alert("vg/data"), Outcome::Grown));
}

#[test]
fn a_pool_whose_metadata_fill_first_grows_only_those() {
    let world = world();
    used(&world, 2048, 7);
    let daemon = world.daemon();
    assert!(ended_as(&daemon.alert("vg/pool"), Outcome::Grown));
    assert_eq!(
        world.sim.changes()[1..],
        ["lvm lvextend -A n --config global/wait_for_locks=1 --poolmetadatasize 12582912b -- vg/pool"]
    );
    assert_eq!((world.extents("vg/pool"), pool(&world, |pool| pool.metadata.0)), (1024, 3));
    let told = world.state().past[0].sentence.clone();
    assert_eq!(told, "vg/pool grew from 4 GiB to 4 GiB, its metadata from 8 MiB to 12 MiB");
    world.minutes(11);
    assert!(refused(&daemon.alert("vg/pool"), Code::BelowThreshold));
}

#[test]
fn when_both_are_full_the_metadata_come_first() {
    let world = world();
    used(&world, 3900, 7);
    assert!(ended_as(&world.daemon().alert("vg/pool"), Outcome::Grown));
    assert_eq!(
        world.sim.changes()[1..],
        [
            "lvm lvextend -A n --config global/wait_for_locks=1 --poolmetadatasize 12582912b -- vg/pool",
            "lvm lvextend -A n --config global/wait_for_locks=1 -l 1280 -- vg/pool"
        ]
    );
}

#[test]
fn a_pool_that_is_interrupted_anywhere_is_finished_once() {
    for command in ["vgcfgbackup", "lvextend"] {
        for after in 0..2 {
            for harm in [Harm::CrashBefore, Harm::CrashAfter] {
                let world = world();
                used(&world, 3900, 7);
                world.inject(command, after, harm);
                let crashed = until_crash(|| world.daemon().alert("vg/pool")).is_err();
                assert_eq!(crashed, command == "lvextend" || after == 0);
                world.daemon().recover().expect("writable");
                assert_eq!(
                    (world.extents("vg/pool"), pool(&world, |pool| pool.metadata.0)),
                    (1280, 3),
                    "{command} {harm:?}"
                );
                assert_eq!(world.state().past[0].result.as_str(), "grown");
            }
        }
    }
}

#[test]
fn a_failure_before_anything_was_extended_fails_and_one_in_between_needs_attention() {
    for (after, outcome) in [(0, Outcome::Failed), (1, Outcome::NeedsAttention)] {
        let world = world();
        used(&world, 3900, 7);
        world.inject("lvextend", after, Harm::Fails);
        let daemon = world.daemon();
        assert!(ended_as(&daemon.alert("vg/pool"), outcome), "{after}");
        // Data and metadata do not depend on one another: nothing is half-done, what is missing comes with the next
        // alert.
        assert!(refused(&daemon.alert("vg/pool"), Code::Cooldown));
        world.minutes(11);
        assert!(ended_as(&daemon.alert("vg/pool"), Outcome::Grown));
        assert_eq!((world.extents("vg/pool"), pool(&world, |pool| pool.metadata.0)), (1280, 3));
    }
}

#[test]
fn two_who_extend_one_pool_are_refused() {
    let world = world();
    used(&world, 3900, 1);
    world.sim.with(|model| model.autoextend_threshold = 70);
    let ended = world.daemon().alert("vg/pool");
    assert!(refused(&ended, Code::LvBusy), "{ended:?}");
    let told = world.state().refused[0].sentence.clone();
    assert!(
        told.contains("set activation/thin_pool_autoextend_threshold to 100 in lvm.conf, or remove the target vg/pool"),
        "{told}"
    );
    // A file system in the pool is none of dmeventd's business.
    used(&world, 1000, 1);
    assert!(ended_as(&world.daemon().alert("vg/data"), Outcome::Grown));
}

#[test]
fn a_pool_is_named_by_vg_and_lv_and_a_target_that_is_no_pool_is_refused() {
    let world = world();
    let inventory = look(world.sim.as_ref(), Focus::Everything).expect("LVM answers");
    let labels: BTreeMap<String, String> =
        [("instance", "db1"), ("vg", "vg"), ("lv", "pool")].map(|(k, v)| (k.to_owned(), v.to_owned())).into();
    assert_eq!(resolve(&labels, &world.config, &OwnNames::new(["db1"]), &inventory), Ok(lv("vg/pool")));
    let world = world.with_config("monitor: { targets: [{ thin_pool: vg/data }] }");
    assert!(refused(&world.daemon().alert("vg/data"), Code::LayeredDevice));
}

/// A pool on a RAID shows nothing of it in its own row.
#[test]
fn a_pool_grows_only_if_the_volumes_it_is_made_of_are_sound() {
    let world = world();
    used(&world, 3500, 1);
    let inventory = look(world.sim.as_ref(), Focus::Everything).expect("LVM answers");
    let (target, history) = (world.config.target(&lv("vg/pool")).expect("there"), History::default());
    let decide = |part: &str, change: fn(&mut Lv)| {
        let mut inventory = inventory.clone();
        change(inventory.lvs.iter_mut().find(|lv| lv.name.lv.as_str() == part).expect("there"));
        plan(target, &inventory, &world.config, &history, epoch()).decision.map_err(|refusal| refusal.code)
    };
    assert!(decide("pool_tdata", |_| ()).is_ok());
    for part in ["pool_tdata", "pool_tmeta"] {
        let refused = [
            decide(part, |lv| lv.health = "refresh needed".to_owned()),
            decide(part, |lv| {
                lv.layout = vec!["raid".to_owned(), "raid1".to_owned()];
                lv.sync_percent = "7.5".parse().ok();
            }),
            decide(part, |lv| lv.layout = vec!["raid".to_owned(), "raid1".to_owned()]),
            decide(part, |lv| lv.converting = Some(true)),
        ];
        let codes = refused.map(|decision| decision.expect_err(part));
        assert_eq!(codes, [Code::LvUnhealthy, Code::LvBusy, Code::LvBusy, Code::LvBusy], "{part}");
    }
}

#[test]
fn the_own_look_sees_a_pool_that_fills() {
    let world = World::new(
        HOST,
        &CONFIG
            .replace("monitor:", "monitor:\n  interval_seconds: 60")
            .replace("    - { lv_path: /dev/vg/data, mount_point: /data }\n", ""),
    );
    used(&world, 1000, 7);
    let engine = engine::start(world.shared(false));
    eventually("it grew", || pool(&world, |pool| pool.metadata.0) == 3);
    engine.drain();
    assert_eq!(world.count("lvextend"), 1);
}

/// The pool of 4 GiB has 1.2 GiB to spare above its fifth, and the volume wants 3.
fn more_than_the_pool_has(pool: &str) -> World {
    let config = CONFIG.replace("increment: 1GiB", "increment: 3GiB, min_increment: 3GiB, max_overprovision: 2.0");
    World::new(HOST, &config.replace("{ thin_pool: vg/pool,", &format!("{{ thin_pool: vg/pool, {pool}")))
}

#[test]
fn a_pool_that_may_grow_grows_first_when_a_volume_needs_it() {
    let world = more_than_the_pool_has("min_increment: 256MiB, increment: 256MiB,");
    assert!(ended_as(&world.daemon().alert("vg/data"), Outcome::Grown));
    assert_eq!(world.names_of_changes(), ["vgcfgbackup", "lvextend", "vgcfgbackup", "lvextend", "resize2fs"]);
    assert_eq!((world.extents("vg/data"), world.fills("vg/data")), (1280, true));
    // 1.8 GiB are missing and a fifth of what is added stays free: 2.25 GiB, and a little, for extents are rounded up.
    assert_eq!(world.extents("vg/pool"), 1024 + 10 * 64);
    let state = world.state();
    let grown = state.past.iter().map(|past| past.lv.as_ref().expect("a volume").to_string());
    assert_eq!(grown.collect::<Vec<_>>(), ["vg/pool", "vg/data"]);
}

#[test]
fn a_pool_that_may_not_grow_is_only_named() {
    for (pool, said) in
        [("mode: recommend,", "pool_space"), ("max_size: 4GiB,", "vg/pool is a target too, and refused: at_max_size")]
    {
        let world = more_than_the_pool_has(pool);
        match world.daemon().alert("vg/data") {
            engine::Ended::Refused(refusal) => assert!(refusal.to_string().contains(said), "{refusal}"),
            other => panic!("{other:?}"),
        }
        assert_eq!(world.names_of_changes(), [""; 0], "{pool}");
    }
}
