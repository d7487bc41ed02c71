//! A group that is full and gets more room: from disks that became larger, and from spare PVs.

use std::sync::Arc;

use crate::common::*;
use lvm_autoscaler::config::{Config, Mode};
use lvm_autoscaler::engine::{self, Ended, Pipeline, Request};
use lvm_autoscaler::host::Host as _;
use lvm_autoscaler::host::sim::{Harm, Model, SimPv};
use lvm_autoscaler::host::{Focus, look};
use lvm_autoscaler::inventory::{DiskKind, Latest, Partition, PartitionTable};
use lvm_autoscaler::journal::{Event, Source};
use lvm_autoscaler::metrics::exposition::{Exposition, Shape};
use lvm_autoscaler::metrics::selection::Selection;
use lvm_autoscaler::metrics::target::{Knowledge, Targets};
use lvm_autoscaler::metrics::text::Format;
use lvm_autoscaler::name::PvUuid;
use lvm_autoscaler::plan::{self, Code, Evaluation, Lack, Outcome};
use lvm_autoscaler::units::{Bytes, Extents, GIB, MIB};

/// 4 GiB of 4: nothing is free.
const HOST: &str = "
names: [db1]
volume_groups:
  - name: vg
    physical_volumes: [{ name: /dev/sdb, size: 4GiB }]
    logical_volumes:
      - { name: data, size: 4GiB, filesystem: { type: ext4, mount_point: /data, used: 85% } }
";
const TARGET: &str = "
defaults: { threshold_percent: 80, increment: 2GiB, cooldown: 10m }
monitor: { targets: [{ lv_path: /dev/vg/data, mount_point: /data }] }
";
const SPARES: [&str; 2] = ["AAAAAA-aaaa-aaaa-aaaa-aaaa-aaaa-aaaaaa", "BBBBBB-bbbb-bbbb-bbbb-bbbb-bbbb-bbbbbb"];

type Change = Box<dyn FnOnce(&mut Model)>;
type ChangePv = fn(&mut SimPv);
type ChangeHost = fn(&mut Model);

/// With these keys of the group.
fn config(keys: &str) -> String {
    format!("{TARGET}volume_groups: [{{ name: vg, {keys} }}]\n")
}

fn with_spares() -> String {
    config(&format!("spares: [{}]", SPARES.join(", ")))
}

fn world(keys: &str, change: impl FnOnce(&mut Model)) -> World {
    let world = World::new(HOST, &config(keys));
    world.sim.with(change);
    world
}

fn pv(model: &mut Model) -> &mut SimPv {
    &mut model.vg("vg").expect("there").pvs[0]
}

/// The disk under the PV becomes larger.
fn grows(model: &mut Model, by: u64) {
    pv(model).device_exceeds += by as i64;
}

/// The PV is in a partition of a disk that became larger.
fn in_partition(model: &mut Model, more: u64) {
    let pv = pv(model);
    let size = MIB + pv.extents.bytes(Bytes(4 * MIB)).0;
    pv.name = "/dev/sdb2".to_owned();
    pv.table = Some(PartitionTable::Gpt);
    pv.disk = DiskKind::Partition(Partition {
        disk: "/dev/sdb".to_owned(),
        disk_size: Bytes(GIB + size + more),
        number: 2,
        start: Bytes(GIB),
        followed_until: None,
    });
}

fn partition(model: &mut Model) -> &mut Partition {
    match &mut pv(model).disk {
        DiskKind::Partition(partition) => partition,
        other => unreachable!("{other:?}"),
    }
}

/// A PV of no group.
fn spare(n: usize, size: u64) -> SimPv {
    let mut spare = SimPv::new(format!("/dev/sd{}", ['x', 'y'][n]), Extents(size / (4 * MIB)));
    spare.uuid = Some(SPARES[n].parse().expect("a UUID"));
    spare
}

fn evaluated(world: &World) -> Evaluation {
    let name = lv("vg/data");
    let inventory = look(world.sim.as_ref(), Focus::AllGroups(&name)).expect("LVM answers");
    let target = world.config.target(&name).expect("configured");
    plan::plan(target, &inventory, &world.config, &world.state().history(false), world.sim.moment())
}

fn lack(world: &World) -> Option<Lack> {
    evaluated(world).decision.err()?.lack.map(|lack| *lack)
}

fn sentence(ended: &Ended) -> String {
    match ended {
        Ended::Refused(refusal) => refusal.to_string(),
        other => format!("not refused: {other:?}"),
    }
}

#[test]
fn a_disk_that_grew_is_used_when_the_group_is_full() {
    let world = world("grown_disks: resize", |model| grows(model, 3 * GIB));
    let ended = world.daemon().alert("vg/data");
    assert!(ended_as(&ended, Outcome::Grown), "{ended:?}");
    assert_eq!(world.names_of_changes(), ["vgcfgbackup", "pvresize", "lvextend", "resize2fs"]);
    assert_eq!((world.extents("vg/data"), world.fills("vg/data")), (AFTER, true));
    let said = world.state().past.back().expect("an operation").sentence.clone();
    assert!(said.contains("the disk under /dev/sdb had become larger"), "{said}");
}

#[test]
fn free_extents_come_first_and_nothing_is_resized_that_is_not_needed() {
    let host = HOST.replace("[{ name: /dev/sdb, size: 4GiB }]", "[{ name: /dev/sdb, size: 9GiB }]");
    let world = World::new(&host, &config("grown_disks: resize"));
    world.sim.with(|model| grows(model, 3 * GIB));
    assert!(ended_as(&world.daemon().alert("vg/data"), Outcome::Grown));
    assert_eq!(world.count("pvresize"), 0);
}

#[test]
fn what_the_config_does_not_allow_is_only_named() {
    let world = world("reserve: 0GiB", |model| grows(model, 3 * GIB));
    let said = sentence(&world.daemon().alert("vg/data"));
    assert!(said.starts_with("insufficient_space: ") && said.contains("pvresize /dev/sdb"), "{said}");
    let lack = lack(&world).expect("the group lacks space");
    assert_eq!((lack.vg.as_str(), lack.bytes, lack.disks.len()), ("vg", Bytes(2 * GIB), 0));
    assert_eq!(world.names_of_changes(), [""; 0]);
}

#[test]
fn a_recommended_resize_is_left_to_a_person() {
    let world = world("grown_disks: recommend", |model| grows(model, 3 * GIB));
    assert!(ended_as(&world.daemon().alert("vg/data"), Outcome::Recommended));
    assert_eq!(world.names_of_changes(), [""; 0]);
    let said = world.state().past.back().expect("an operation").sentence.clone();
    for line in said.split(": ").last().expect("commands").split("; ") {
        assert_eq!(world.sim.paste(line).code, Some(0), "{line}");
    }
    assert_eq!((world.extents("vg/data"), world.fills("vg/data")), (AFTER, true), "{said}");
}

#[test]
fn a_partition_grows_first_if_that_is_allowed() {
    let world = world("grown_disks: resize, partitions: growpart", |model| in_partition(model, 3 * GIB));
    let ended = world.daemon().alert("vg/data");
    assert!(ended_as(&ended, Outcome::Grown), "{ended:?}");
    // `growpart` tells LVM by itself: the PV was larger already.
    assert_eq!(world.names_of_changes(), ["vgcfgbackup", "growpart", "lvextend", "resize2fs"]);
    assert_eq!((world.extents("vg/data"), world.fills("vg/data")), (AFTER, true));
}

#[test]
fn a_scsi_disk_is_asked_how_large_it_is_before_a_refusal() {
    for (rescan, grown) in [("off", false), ("on", true)] {
        let world = world(&format!("grown_disks: resize, rescan: {rescan}"), |model| pv(model).unseen = 3 << 30);
        assert_eq!(ended_as(&world.daemon().alert("vg/data"), Outcome::Grown), grown, "{rescan}");
    }
}

#[test]
fn what_cannot_be_resized_is_refused_with_the_reason_and_nothing_changed() {
    let whole = |change: fn(&mut SimPv)| {
        move |model: &mut Model| {
            grows(model, 3 * GIB);
            change(pv(model))
        }
    };
    let part = |change: fn(&mut Model)| {
        move |model: &mut Model| {
            in_partition(model, 3 * GIB);
            change(model)
        }
    };
    let growpart = "grown_disks: resize, partitions: growpart";
    let cases: Vec<(&str, &str, Change)> = vec![
        ("a second copy of its metadata", growpart, Box::new(whole(|pv| pv.metadata_areas = 2))),
        ("a partition table on it", growpart, Box::new(whole(|pv| pv.disk = DiskKind::Whole { has_partitions: true }))),
        ("a partition table on it", growpart, Box::new(whole(|pv| pv.table = Some(PartitionTable::Mbr)))),
        ("its paths differ", growpart, Box::new(whole(|pv| pv.disk = DiskKind::Multipath { agree: false }))),
        ("it is an MD array", growpart, Box::new(whole(|pv| pv.disk = DiskKind::Layered("an MD array".to_owned())))),
        ("set volume_groups[].partitions", "grown_disks: resize", Box::new(part(|_| ()))),
        (
            "is not the last",
            growpart,
            Box::new(part(|model| {
                let end = Bytes(6 * GIB);
                partition(model).followed_until = Some(end);
            })),
        ),
        (
            "is a logical one",
            growpart,
            Box::new(part(|model| {
                pv(model).table = Some(PartitionTable::Mbr);
                partition(model).number = 5;
            })),
        ),
        (
            "ends at 2 TiB",
            growpart,
            Box::new(part(|model| {
                pv(model).table = Some(PartitionTable::Mbr);
                partition(model).disk_size = Bytes(3 << 40);
            })),
        ),
        ("cannot be read", growpart, Box::new(part(|model| pv(model).table = None))),
        (
            "growpart is not installed",
            growpart,
            Box::new(part(|model| {
                model.missing_tools.push(lvm_autoscaler::command::Tool::Growpart);
            })),
        ),
    ];
    for (why, keys, change) in cases {
        let world = world(keys, change);
        let said = sentence(&world.daemon().alert("vg/data"));
        assert!(said.starts_with("supply_refused: ") && said.contains(why), "{why}: {said}");
        assert_eq!(world.names_of_changes(), [""; 0], "{why}");
        let lack = lack(&world).expect("the group lacks space");
        assert_eq!(lack.disks.len(), 1, "{why}");
    }
}

#[test]
fn a_spare_is_added_when_nothing_else_is_left_and_only_as_many_as_are_needed() {
    let world = World::new(HOST, &with_spares());
    world.sim.with(|model| model.orphans = vec![spare(0, 10 * GIB), spare(1, 10 * GIB)]);
    let ended = world.daemon().alert("vg/data");
    assert!(ended_as(&ended, Outcome::Grown), "{ended:?}");
    assert_eq!(world.names_of_changes(), ["vgcfgbackup", "vgextend", "lvextend", "resize2fs"]);
    assert_eq!((world.extents("vg/data"), world.fills("vg/data")), (AFTER, true));
    assert_eq!(world.sim.with(|model| model.orphans.len()), 1);
    let said = world.state().past.back().expect("an operation").sentence.clone();
    assert!(said.contains("the spare /dev/sdx, which is part of vg now"), "{said}");
    // Disks that grew come before spares.
    let world = World::new(HOST, &config(&format!("grown_disks: resize, spares: [{}]", SPARES[0])));
    world.sim.with(|model| {
        grows(model, 3 * GIB);
        model.orphans = vec![spare(0, 10 * GIB)];
    });
    assert!(ended_as(&world.daemon().alert("vg/data"), Outcome::Grown));
    assert_eq!((world.count("pvresize"), world.count("vgextend")), (1, 0));
}

#[test]
fn a_spare_that_is_not_what_it_should_be_is_refused_with_the_reason_and_not_touched() {
    let cases: [(&str, ChangePv); 10] = [
        ("is not on this host", |pv| pv.uuid = None),
        ("blkid finds ext4", |pv| pv.signature = Some("ext4".to_owned())),
        ("a partition table is on it", |pv| pv.table = Some(PartitionTable::Gpt)),
        ("beside the PV", |pv| pv.disk = DiskKind::Whole { has_partitions: true }),
        ("a logical block size of 4 KiB", |pv| pv.block_size = Bytes(4096)),
        ("is on /dev/sdx and on /dev/sdz", |pv| pv.duplicate = Some("/dev/sdz".to_owned())),
        ("takes no writes", |pv| pv.read_only = true),
        ("takes no writes", |pv| pv.suspended = true),
        ("is smaller than an extent", |pv| pv.extents = Extents(0)),
        ("LVM finds no metadata", |pv| pv.in_use = true),
    ];
    for (why, change) in cases {
        let world = World::new(HOST, &config(&format!("spares: [{}]", SPARES[0])));
        world.sim.with(|model| {
            let mut bad = spare(0, 10 * GIB);
            change(&mut bad);
            model.orphans = vec![bad];
        });
        let said = sentence(&world.daemon().alert("vg/data"));
        assert!(said.starts_with("supply_refused: ") && said.contains(why), "{why}: {said}");
        assert_eq!(world.names_of_changes(), [""; 0], "{why}");
    }
    // One that is in another group, and one that nobody listed.
    let host = format!("{HOST}  - name: other\n    physical_volumes: [{{ name: /dev/sdx, size: 9GiB }}]\n");
    let in_another = World::new(&host, &config(&format!("spares: [{}]", SPARES[0])));
    in_another
        .sim
        .with(|model| model.vg("other").expect("there").pvs[0].uuid = Some(SPARES[0].parse().expect("a UUID")));
    let said = sentence(&in_another.daemon().alert("vg/data"));
    assert!(said.contains("belongs to the group other"), "{said}");
    let unlisted = World::new(HOST, &config(&format!("spares: [{}]", SPARES[0])));
    unlisted.sim.with(|model| model.orphans = vec![spare(1, 10 * GIB)]);
    assert!(sentence(&unlisted.daemon().alert("vg/data")).contains("is not on this host"));
    assert_eq!(unlisted.names_of_changes(), [""; 0]);
}

/// The three kinds of supply: how the host is made, and the commands.
fn kinds() -> [(World, &'static [&'static str]); 3] {
    let spares = World::new(HOST, &with_spares());
    spares.sim.with(|model| model.orphans = vec![spare(0, 10 * GIB)]);
    [
        (world("grown_disks: resize", |model| grows(model, 3 * GIB)), &["pvresize"]),
        (world("grown_disks: resize, partitions: growpart", |model| in_partition(model, 3 * GIB)), &["growpart"]),
        (spares, &["vgextend"]),
    ]
}

#[test]
fn a_daemon_that_dies_at_any_moment_of_it_goes_on_where_it_was_and_does_nothing_twice() {
    let mut deaths = 0;
    for (kind, steps) in kinds() {
        for command in [&["fullreport", "vgcfgbackup", "lvextend", "resize2fs"], steps].concat() {
            for harm in [Harm::CrashBefore, Harm::CrashDuring, Harm::CrashAfter] {
                if harm == Harm::CrashDuring && command == "fullreport" {
                    continue;
                }
                for after in 0.. {
                    let what = format!("{steps:?}: {command} {after} {harm:?}");
                    let world = kind.copy();
                    world.inject(command, after, harm);
                    if until_crash(|| world.daemon().alert("vg/data")).is_ok() {
                        break;
                    }
                    deaths += 1;
                    world.daemon().recover().expect("the journal can be written");
                    assert_eq!((world.extents("vg/data"), world.fills("vg/data")), (AFTER, true), "{what}");
                    assert_eq!(world.sim.beside_itself(), [""; 0], "{what}");
                    let state = world.state();
                    assert!(state.running.is_empty() && state.parked.is_empty(), "{what}");
                    for step in steps {
                        assert!(world.count(step) <= 2, "{what}: {step}");
                    }
                    world.minutes(11);
                    assert_eq!(word(&world.daemon().alert("vg/data")), "below_threshold", "{what}");
                }
            }
        }
    }
    assert!(deaths > 50, "{deaths}");
}

#[test]
fn a_supply_that_fails_leaves_the_volume_as_it_was_and_says_what_it_gave() {
    for (kind, steps) in kinds() {
        let world = kind.copy();
        world.inject("lvextend", 0, Harm::Fails);
        assert!(ended_as(&world.daemon().alert("vg/data"), Outcome::Failed));
        let said = world.state().past.back().expect("an operation").sentence.clone();
        assert!(said.contains("no volume was changed, and vg keeps the room that it was given"), "{said}");
        assert_eq!(world.extents("vg/data"), BEFORE);
        if steps == ["vgextend"] {
            let undo =
                said.split("taken back with: ").nth(1).and_then(|rest| rest.strip_suffix(')')).expect("the undo");
            assert_eq!(world.sim.paste(&format!("lvm {undo}")).code, Some(0), "{undo}");
            assert_eq!(world.sim.with(|model| model.orphans.len()), 1);
        }
        let world = kind.copy();
        world.inject(steps[0], 0, Harm::Fails);
        assert!(ended_as(&world.daemon().alert("vg/data"), Outcome::Failed));
        let said = world.state().past.back().expect("an operation").sentence.clone();
        assert!(said.ends_with("nothing was changed"), "{said}");
    }
}

#[test]
fn a_disk_that_is_smaller_again_when_its_turn_comes_is_left_alone() {
    let world = world("grown_disks: resize", |model| grows(model, 3 * GIB));
    let sim = Arc::clone(&world.sim);
    let host = world.watched(move |command| {
        if command.name() == "vgcfgbackup" {
            sim.with(|model| pv(model).device_exceeds = 0);
        }
    });
    let ended = Daemon(world.shared_on(host, false)).alert("vg/data");
    assert!(ended_as(&ended, Outcome::Failed), "{ended:?}");
    assert_eq!(world.names_of_changes(), ["vgcfgbackup"]);
    let said = world.state().past.back().expect("an operation").sentence.clone();
    assert!(said.contains("is not begun") && said.ends_with("nothing was changed"), "{said}");
}

#[test]
fn a_spare_that_became_something_else_meanwhile_is_not_made_a_pv() {
    let world = World::new(HOST, &with_spares());
    world.sim.with(|model| model.orphans = vec![spare(0, 10 * GIB)]);
    let sim = Arc::clone(&world.sim);
    let host = world.watched(move |command| {
        if command.name() == "vgcfgbackup" {
            sim.with(|model| model.orphans[0].signature = Some("ext4".to_owned()));
        }
    });
    assert!(ended_as(&Daemon(world.shared_on(host, false)).alert("vg/data"), Outcome::Failed));
    assert_eq!(world.names_of_changes(), ["vgcfgbackup"]);
}

#[test]
fn a_uuid_of_a_spare_is_checked_where_it_is_written() {
    for wrong in ["", "abc", "AAAAAA-aaaa-aaaa-aaaa-aaaa-aaaa-aaaaa/", "../../sda"] {
        assert!(wrong.parse::<PvUuid>().is_err(), "{wrong:?}");
    }
    let uuid: PvUuid = SPARES[0].parse().expect("a UUID");
    assert_eq!(uuid.path().to_string_lossy(), format!("/dev/disk/by-id/lvm-pv-uuid-{}", SPARES[0]));
}

#[test]
fn a_supply_has_no_part_in_a_refusal_for_another_reason() {
    let world = World::new(
        HOST,
        &config("grown_disks: resize").replace("mount_point: /data }", "mount_point: /data, max_size: 4GiB }"),
    );
    world.sim.with(|model| grows(model, 3 * GIB));
    assert!(refused(&world.daemon().alert("vg/data"), Code::AtMaxSize));
    assert!(lack(&world).is_none());
}

/// Looks as the daemon's background does, and tells the engine.
fn look_around(world: &World, engine: &engine::Handle) {
    engine.seen(&look(world.sim.as_ref(), Focus::Everything).expect("LVM answers"));
}

#[test]
fn a_target_that_waits_for_room_grows_without_another_alert_when_there_is_some() {
    let ways: [(&str, ChangeHost); 3] = [
        ("a disk grew", |model| grows(model, 3 * GIB)),
        ("a spare was made", |model| model.orphans = vec![spare(0, 10 * GIB)]),
        ("a person added a disk", |model| {
            let pv = SimPv::new("/dev/sdc", Extents(1024));
            model.vg("vg").expect("there").pvs.push(pv);
        }),
    ];
    for (what, happens) in ways {
        let keys = format!("grown_disks: resize, spares: [{}]", SPARES[0]);
        let world = World::new(HOST, &config(&keys));
        let engine = engine::start(world.shared(false));
        look_around(&world, &engine);
        let alert = Request { lv: lv("vg/data"), source: Source::Alertmanager, fingerprint: String::new() };
        engine.submit(vec![alert]).expect("accepted");
        let state = || engine.shared().state();
        eventually(what, || state().last_refusal.contains_key(&lv("vg/data")));
        look_around(&world, &engine);
        // Nothing has changed, so it is not asked again.
        assert_eq!(engine.waiting_count(), 0, "{what}");
        world.sim.with(happens);
        look_around(&world, &engine);
        eventually(what, || state().last.get(&lv("vg/data")).is_some_and(|last| last.outcome == Outcome::Grown));
        assert_eq!((world.extents("vg/data"), world.fills("vg/data")), (AFTER, true), "{what}");
        engine.drain();
    }
}

#[test]
fn the_first_look_after_a_start_finds_what_waits() {
    let world = world("grown_disks: resize", |_| ());
    sentence(&world.daemon().alert("vg/data"));
    world.sim.with(|model| grows(model, 3 * GIB));
    let engine = engine::start(world.shared(false));
    look_around(&world, &engine);
    let state = || engine.shared().state();
    eventually("it grows", || state().last.get(&lv("vg/data")).is_some_and(|last| last.outcome == Outcome::Grown));
    engine.drain();
}

#[test]
fn what_a_group_lacks_is_a_number_while_a_target_is_over_its_threshold() {
    let world = world("reserve: 0GiB", |_| ());
    let name = lv("vg/data");
    let lacks = |world: &World| {
        let inventory = look(world.sim.as_ref(), Focus::Everything).expect("LVM answers").presumed();
        let target = world.config.target(&name).expect("configured");
        plan::lack(target, &inventory, &world.config, world.sim.moment()).map(|lack| lack.bytes)
    };
    assert_eq!(lacks(&world), Some(Bytes(2 * GIB)));
    world.sim.with(|model| model.lv("vg/data").and_then(|lv| lv.fs.as_mut()).expect("there").used = Bytes(GIB));
    assert_eq!(lacks(&world), None, "it is below its threshold");
}

#[test]
fn data_of_a_pool_grow_while_its_metadata_cannot_and_are_not_near_their_end() {
    for (metadata_used, grown) in [("85%", true), ("95%", false)] {
        // The data need 1 GiB and there is that and no more, and the metadata with their spare would be more extents.
        let host = format!(
            "
names: [db1]
volume_groups:
  - name: vg
    physical_volumes: [{{ name: /dev/sdb, size: 5GiB }}]
    logical_volumes:
      - {{ name: pool, type: thin-pool, size: 4GiB, metadata_size: 8MiB, data_used: 85%, metadata_used: {metadata_used} }}
      - {{ name: rest, size: 752MiB }}
"
        );
        let config = "
defaults: { increment: 256MiB, min_increment: 4MiB }
monitor: { targets: [{ thin_pool: vg/pool, data_threshold_percent: 80, metadata_threshold_percent: 70 }] }
volume_groups: [{ name: vg, reserve: 252MiB }]
";
        let world = World::new(&host, config);
        let ended = world.daemon().alert("vg/pool");
        assert_eq!(ended_as(&ended, Outcome::Grown), grown, "{metadata_used}: {ended:?}");
    }
}

#[test]
fn who_is_below_the_threshold_does_not_wait() {
    let world = World::new(&HOST.replace("used: 85%", "used: 50%"), &config("grown_disks: resize"));
    let daemon = world.daemon();
    let ended = Pipeline(Arc::clone(&daemon.0)).ask(&lv("vg/data"), None).expect("the journal can be written");
    assert!(refused(&ended, Code::InsufficientSpace), "{ended:?}");
    drop(daemon);
    world.sim.with(|model| grows(model, 3 * GIB));
    let engine = engine::start(world.shared(false));
    look_around(&world, &engine);
    assert_eq!(engine.waiting_count(), 0, "a person asked, and can ask again");
    engine.drain();
    assert_eq!(world.state().lately().len(), 1);
}

#[test]
fn what_is_recommended_of_a_disk_is_not_recommended_again_before_the_cooldown_is_over_and_held_by_no_person() {
    let world = world("grown_disks: recommend", |model| grows(model, 3 * GIB));
    let daemon = world.daemon();
    assert!(ended_as(&daemon.alert("vg/data"), Outcome::Recommended));
    assert!(refused(&daemon.alert("vg/data"), Code::Cooldown));
    let asked = Pipeline(Arc::clone(&daemon.0)).ask(&lv("vg/data"), None).expect("the journal can be written");
    assert!(ended_as(&asked, Outcome::Grown), "{asked:?}");
}

#[test]
fn an_interrupted_resize_is_not_gone_on_with_once_it_would_only_be_recommended() {
    let world = world("grown_disks: resize", |model| grows(model, 3 * GIB));
    world.inject("pvresize", 0, Harm::CrashBefore);
    assert!(until_crash(|| world.daemon().alert("vg/data")).is_err());
    let world = world.with_config(&config("grown_disks: recommend"));
    world.daemon().recover().expect("the journal can be written");
    assert_eq!((world.count("pvresize"), world.extents("vg/data")), (1, BEFORE));
    let said = world.state().past.back().expect("an operation").sentence.clone();
    assert!(said.contains("it would only be recommended now"), "{said}");
}

#[test]
fn a_pool_that_grows_for_a_volume_takes_no_disk_that_a_person_must_approve() {
    let host = "
names: [db1]
volume_groups:
  - name: vg
    physical_volumes: [{ name: /dev/sdb, size: 4112MiB }]
    logical_volumes:
      - { name: pool, type: thin-pool, size: 4GiB, data_used: 50%, metadata_used: 30% }
      - { name: data, size: 2GiB, pool: pool, filesystem: { type: ext4, mount_point: /data, used: 85% } }
";
    let config = |grown| {
        format!(
            "
defaults: {{ increment: 3GiB, min_increment: 3GiB, max_overprovision: 2.0 }}
monitor:
  targets:
    - {{ lv_path: /dev/vg/data, mount_point: /data }}
    - {{ thin_pool: vg/pool, increment: 1GiB, min_increment: 1GiB }}
volume_groups: [{{ name: vg, grown_disks: {grown} }}]
"
        )
    };
    for (grown, resized) in [("resize", 1), ("recommend", 0)] {
        let world = World::new(host, &config(grown));
        world.sim.with(|model| grows(model, 8 * GIB));
        let ended = world.daemon().alert("vg/data");
        assert_eq!(ended_as(&ended, Outcome::Grown), resized == 1, "{grown}: {ended:?}");
        assert_eq!(world.count("pvresize"), resized, "{grown}");
    }
}

#[test]
fn headroom_counts_what_may_supply_the_group_wherever_it_is_shown() {
    let world = World::new(HOST, &with_spares());
    world.sim.with(|model| model.orphans = vec![spare(0, 10 * GIB)]);
    let inventory = look(world.sim.as_ref(), Focus::Everything).expect("LVM answers");
    let target = world.config.target(&lv("vg/data")).expect("configured");
    let headroom = |inventory: &_| plan::headroom(target, inventory, &world.config);
    assert_eq!(headroom(&inventory), Some(Bytes(0)));
    assert_eq!(headroom(&plan::supplied(&world.config, &inventory)), Some(Bytes(10 * GIB)));
}

/// The values of a metric on the page that Prometheus scrapes, each with the first two labels of its series.
fn series(world: &World, metric: &str) -> Vec<(String, f64)> {
    let latest = Arc::new(Latest::default());
    let inventory = look(world.sim.as_ref(), Focus::Everything).expect("LVM answers");
    latest.set(Some(inventory), std::time::Duration::ZERO);
    let (history, now) = (world.state().history(false), world.sim.moment());
    let known = Knowledge { history: &history, dry_run: false, refused: &|_| None, now };
    let targets = Targets::new(&world.config, &latest.get(), &known);
    let exposition = Exposition::new(Selection::default(), latest, || None);
    let page =
        exposition.page(Shape { format: Format::Text, gzip: false }, |seen| seen, Some(targets), "").expect("encodes");
    let page = String::from_utf8(page).expect("text");
    let lines = page.lines().filter_map(|line| line.strip_prefix(metric)?.strip_prefix('{')?.split_once("} "));
    let names = |labels: &str| labels.split(',').take(2).collect::<Vec<_>>().join(",");
    lines.map(|(labels, value)| (names(labels), value.parse().expect("a number"))).collect()
}

/// The only value of a metric, in bytes.
fn value(world: &World, metric: &str) -> (String, u64) {
    let found = series(world, metric);
    assert_eq!(found.len(), 1, "{metric}: {found:?}");
    (found[0].0.clone(), found[0].1 as u64)
}

fn named(labels: &str, value: u64) -> (String, u64) {
    (labels.to_owned(), value)
}

#[test]
fn what_a_group_waits_for_is_a_metric_that_goes_back_to_zero_when_it_has_room() {
    let needed = |world: &World| value(world, "lvm_autoscaler_supply_needed_bytes");
    let spare_keys = format!("grown_disks: resize, spares: [{}]", SPARES[0]);
    let ways: [(&str, &str, ChangeHost); 3] = [
        ("a disk grew", "grown_disks: resize", |model| grows(model, 3 * GIB)),
        ("a spare was made", &spare_keys, |model| model.orphans = vec![spare(0, 10 * GIB)]),
        ("a person added a disk", "reserve: 0GiB", |model| {
            model.vg("vg").expect("there").pvs.push(SimPv::new("/dev/sdc", Extents(1024)));
        }),
    ];
    for (what, keys, happens) in ways {
        let world = world(keys, |_| ());
        assert_eq!(needed(&world), named("vg=\"vg\"", 2 * GIB), "{what}");
        assert!(matches!(world.daemon().alert("vg/data"), Ended::Refused(_)), "{what}");
        assert_eq!(needed(&world), named("vg=\"vg\"", 2 * GIB), "{what}: a refusal does not end it");
        world.sim.with(happens);
        assert_eq!(needed(&world), named("vg=\"vg\"", 0), "{what}: there is room");
        assert!(ended_as(&world.daemon().alert("vg/data"), Outcome::Grown), "{what}");
        assert_eq!(needed(&world), named("vg=\"vg\"", 0), "{what}: it has grown");
    }
    // A disk that may not be used is no room.
    let world = world("reserve: 0GiB", |model| grows(model, 3 * GIB));
    assert_eq!(needed(&world), named("vg=\"vg\"", 2 * GIB));
}

#[test]
fn what_the_targets_of_a_group_lack_is_added_up() {
    let second = "      - { name: media, size: 1GiB, filesystem: { type: xfs, mount_point: /media, used: 85% } }\n";
    let host = HOST.replace("size: 4GiB }]", "size: 5GiB }]") + second;
    let target = TARGET.replace("/data }]", "/data }, { lv_path: /dev/vg/media, mount_point: /media }]");
    let world = World::new(&host, &target);
    assert_eq!(value(&world, "lvm_autoscaler_supply_needed_bytes"), named("vg=\"vg\"", 4 * GIB));
    world.sim.with(|model| model.lv("vg/media").and_then(|lv| lv.fs.as_mut()).expect("there").used = Bytes(0));
    assert_eq!(value(&world, "lvm_autoscaler_supply_needed_bytes"), named("vg=\"vg\"", 2 * GIB));
    // Without targets nothing is needed, and there is no such series.
    let bare = World::new(&host, "volume_groups: [{ name: vg, reserve: 0GiB }]");
    assert_eq!(series(&bare, "lvm_autoscaler_supply_needed_bytes"), []);
}

#[test]
fn what_a_disk_has_beyond_its_pv_is_a_metric() {
    let labels = |pv: &str| format!("vg=\"vg\",pv=\"{pv}\"");
    // What is left is less than an extent of 4 MiB.
    let disks: [(&str, u64, u64, ChangeHost); 5] = [
        ("/dev/sdb", 0, 0, |_| ()),
        ("/dev/sdb", 3 * GIB, 0, |model| grows(model, 3 * GIB)),
        ("/dev/sdb", 0, 0, |model| pv(model).device_exceeds = -(4 << 20)),
        // `growpart` may leave 2 MiB at the end of the disk.
        ("/dev/sdb2", 3 * GIB - 2 * MIB, 3 * MIB, |model| in_partition(model, 3 * GIB)),
        ("/dev/sdb2", 0, 0, |model| {
            in_partition(model, 3 * GIB);
            partition(model).followed_until = Some(Bytes(7 * GIB));
        }),
    ];
    for (number, (pv, room, rest, change)) in disks.into_iter().enumerate() {
        let world = world("grown_disks: resize, partitions: growpart", change);
        assert_eq!(value(&world, "lvm_pv_growable_bytes"), named(&labels(pv), room), "{number}");
        if room > 0 {
            assert!(ended_as(&world.daemon().alert("vg/data"), Outcome::Grown), "{number}");
            assert_eq!(value(&world, "lvm_pv_growable_bytes"), named(&labels(pv), rest), "{number}: it was used");
        }
    }
}

#[test]
fn what_no_target_takes_of_a_group_is_a_metric() {
    let free = HOST.replace("[{ name: /dev/sdb, size: 4GiB }]", "[{ name: /dev/sdb, size: 9GiB }]");
    let off = TARGET.replace("/data }]", "/data, mode: off }]");
    let recommended = TARGET.replace("/data }]", "/data, mode: recommend }]");
    let nothing = "volume_groups: [{ name: vg, reserve: 0GiB }]";
    let configs = [(TARGET, 0), (&off, 5 * GIB), (&recommended, 5 * GIB), (nothing, 5 * GIB)];
    for (config, stranded) in configs {
        let world = World::new(&free, config);
        assert_eq!(value(&world, "lvm_vg_stranded_bytes"), named("vg=\"vg\"", stranded), "{config}");
    }
    let full = World::new(HOST, &recommended);
    assert_eq!(value(&full, "lvm_vg_stranded_bytes"), named("vg=\"vg\"", 0));
}

#[test]
fn what_a_volume_has_beyond_its_file_system_is_a_metric() {
    let host = HOST.replace("size: 4GiB }]", "size: 9GiB }]");
    for encrypted in [false, true] {
        let world = World::new(&host, TARGET);
        if encrypted {
            world.sim.with(|model| encrypt(model, "vg/data", luks1));
        }
        let growable = || value(&world, "lvm_filesystem_growable_bytes");
        assert_eq!(growable(), named("vg=\"vg\",lv=\"data\"", 0), "{encrypted}");
        assert!(world.sim.with(|model| extend_by_hand(model, "vg/data", 256)));
        assert_eq!(growable(), named("vg=\"vg\",lv=\"data\"", GIB), "{encrypted}");
        world.sim.with(|model| grow_by_hand(model, "vg/data"));
        assert_eq!(growable(), named("vg=\"vg\",lv=\"data\"", 0), "{encrypted}");
    }
}

/// One reason for which nothing may be done now, and how it passes.
struct Closed {
    what: &'static str,
    /// Keys of the target, and of the group.
    target: &'static str,
    group: &'static str,
    close: fn(&World),
    dry_run: bool,
    word: &'static str,
    open: fn(World) -> World,
}

const CLOSED: &[Closed] = &[
    Closed {
        what: "a window",
        target: "window: { from: \"02:00\", to: \"03:00\" }, ",
        group: "",
        close: |_| (),
        dry_run: false,
        word: "outside_window",
        // It is midnight.
        open: |world| later(world, 150),
    },
    Closed {
        what: "the budget of the target",
        target: "budget: { extensions: 1, per: 2h }, ",
        group: "",
        close: spend,
        dry_run: false,
        word: "budget_exhausted",
        open: |world| later(world, 111),
    },
    Closed {
        what: "the budget of the group",
        target: "",
        group: ", budget: { bytes: 2GiB, per: 2h }",
        close: spend,
        dry_run: false,
        word: "budget_exhausted",
        open: |world| later(world, 111),
    },
    Closed {
        what: "a pause of the target",
        target: "",
        group: "",
        close: |world| write(world, Event::Paused { lv: Some(lv("vg/data")) }),
        dry_run: false,
        word: "paused",
        open: |world| {
            write(&world, Event::Resumed { lv: Some(lv("vg/data")) });
            world
        },
    },
    Closed {
        what: "a pause of everything",
        target: "",
        group: "",
        close: |world| write(world, Event::Paused { lv: None }),
        dry_run: false,
        word: "paused",
        open: |world| {
            write(&world, Event::Resumed { lv: None });
            world
        },
    },
    Closed {
        what: "a dry run",
        target: "",
        group: "",
        close: |_| (),
        dry_run: true,
        word: "dry_run",
        open: |world| world,
    },
    Closed {
        what: "a recommendation",
        target: "mode: recommend, ",
        group: "",
        close: |_| (),
        dry_run: false,
        word: "recommended",
        open: |world| with_settings(world, |config| config.targets[0].mode = Mode::Act),
    },
];

fn later(world: World, minutes: u64) -> World {
    world.minutes(minutes);
    world
}

fn write(world: &World, event: Event) {
    let daemon = world.daemon();
    daemon.0.journal().append(world.sim.moment(), vec![event]).expect("writable");
}

/// Grows the target once, onto a disk that is full then.
fn spend(world: &World) {
    world.sim.with(|model| model.vg("vg").expect("there").pvs.push(SimPv::new("/dev/sdc", Extents(512))));
    assert!(ended_as(&world.daemon().alert("vg/data"), Outcome::Grown));
    world.minutes(10);
    world.sim.with(|model| {
        let fs = model.lv("vg/data").and_then(|lv| lv.fs.as_mut()).expect("there");
        fs.used.0 = fs.size.0 / 100 * 88;
    });
}

fn with_settings(world: World, change: fn(&mut Config)) -> World {
    let mut config = (*world.config).clone();
    change(&mut config);
    World { config: Arc::new(config), ..world }
}

/// All that there is on the host, the time aside.
fn everything(world: &World) -> serde_json::Value {
    let model = world.sim.with(|model| Model { filled_until: None, ..model.clone() });
    serde_json::to_value(model).expect("can be written")
}

#[test]
fn a_supply_waits_like_any_other_step_while_nothing_may_be_done_and_is_used_afterwards() {
    let spares = format!("spares: [{}]", SPARES[0]);
    let supplies: [(&str, ChangeHost, &str); 3] = [
        ("grown_disks: resize", |model| grows(model, 3 * GIB), "pvresize"),
        ("grown_disks: resize, partitions: growpart", |model| in_partition(model, 3 * GIB), "growpart"),
        (&spares, |model| model.orphans = vec![spare(0, 10 * GIB)], "vgextend"),
    ];
    for Closed { what, target, group, close, dry_run, word: expected, open } in CLOSED {
        for (keys, happens, step) in supplies {
            let what = format!("{what}: {step}");
            let text = config(&format!("{keys}{group}")).replace("cooldown", &format!("{target}cooldown"));
            let in_utc = |config: &mut Config| config.time_zone = jiff::tz::TimeZone::UTC;
            let world = with_settings(World::new(HOST, &text), in_utc);
            close(&world);
            world.sim.with(happens);
            let (before, commands, size) = (everything(&world), world.sim.changes(), world.extents("vg/data"));
            let daemon = if *dry_run { world.dry_daemon() } else { world.daemon() };
            assert_eq!(word(&daemon.alert("vg/data")), *expected, "{what}");
            daemon.own_look("vg/data");
            drop(daemon);
            world.daemon().recover().expect("the journal can be written");
            assert_eq!(everything(&world), before, "{what}: the host was changed");
            assert_eq!(world.sim.changes(), commands, "{what}");
            let world = open(world);
            let ended = world.daemon().alert("vg/data");
            assert!(ended_as(&ended, Outcome::Grown), "{what}: {ended:?}");
            assert_eq!((world.extents("vg/data"), world.fills("vg/data")), (size + 512, true), "{what}");
            assert_eq!(world.count(step), 1, "{what}");
        }
    }
}
