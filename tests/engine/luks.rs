//! LUKS between volume and file system: when its key is tried, what is done about what somebody did in between, and
//! that the commands that are left work when they are pasted.

use std::sync::Arc;

use crate::common::*;
use lvm_autoscaler::command::Tool;
use lvm_autoscaler::engine::{Pipeline, Shared};
use lvm_autoscaler::host::sim::{Harm, Model, Sim, SimLuks};
use lvm_autoscaler::host::{Focus, look};
use lvm_autoscaler::journal::Past;
use lvm_autoscaler::plan::{Code, Outcome};
use lvm_autoscaler::units::Bytes;

const STEPS: [&str; 4] = ["vgcfgbackup", "lvextend", "cryptsetup", "resize2fs"];

fn encrypted() -> World {
    let config = CONFIG.replace("defaults: {", &format!("defaults: {{ luks_key_file: {KEY_FILE},"));
    let world = World::new(HOST, &config);
    world.sim.with(|model| {
        encrypt(model, "vg/data", luks2);
        encrypt(model, "vg/media", luks1);
    });
    world
}

fn luks(model: &mut Model) -> &mut SimLuks {
    model.lv("vg/data").and_then(|lv| lv.luks.as_mut()).expect("it is encrypted")
}

fn last(world: &World) -> Past {
    world.state().past.back().cloned().expect("it ended")
}

/// A world in which this happens just before a command runs, and what became of the operation.
fn disturbed(command: &'static str, happens: fn(&mut Model)) -> (World, Arc<Shared>, Past) {
    let world = encrypted();
    let sim: Arc<Sim> = Arc::clone(&world.sim);
    let host = world.watched(move |ran| {
        if ran.name() == command {
            sim.with(happens);
        }
    });
    let daemon = Daemon(world.shared_on(host, false));
    let ended = daemon.alert("vg/data");
    assert!(ended_as(&ended, Outcome::NeedsAttention), "{ended:?}");
    let past = last(&world);
    (world, daemon.0, past)
}

/// Pasted, they are all that a person needs.
fn are_enough(world: &World, shared: &Arc<Shared>, commands: &[String]) {
    for command in commands {
        let said = world.sim.paste(command);
        // 1 of e2fsck: it mended something.
        let is_fine = said.succeeded() || command.starts_with("e2fsck") && said.code == Some(1);
        assert!(is_fine, "{command}: {}", said.complaint());
    }
    Pipeline(Arc::clone(shared)).clear_what_is_mended().expect("the journal can be written");
    assert!(world.state().parked.is_empty(), "open again after {commands:?}");
    assert!(world.fills("vg/data"), "volume, mapping and file system fit");
}

#[test]
fn it_grows_between_the_volume_and_the_file_system() {
    let world = encrypted();
    assert_eq!(word(&world.daemon().alert("vg/data")), "grown");
    assert_eq!(world.names_of_changes(), STEPS);
    let changes = world.sim.changes();
    assert_eq!(changes[2], format!("cryptsetup resize --key-file {KEY_FILE} -- data_crypt"));
    assert_eq!(changes[3], "resize2fs /dev/mapper/data_crypt");
    assert_eq!(word(&world.daemon().alert("vg/media")), "grown");
    assert_eq!(world.sim.changes()[6..], ["cryptsetup resize -- 'old crypt'", "xfs_growfs -d /media"]);
    assert!(world.fills("vg/data") && world.fills("vg/media"));
}

/// A key slot may take seconds and a gigabyte.
#[test]
fn the_key_is_tried_only_for_what_would_grow() {
    let world = encrypted();
    world.sim.with(|model| model.lv("vg/data").and_then(|lv| lv.fs.as_mut()).expect("there").used = gib(1));
    assert!(refused(&world.daemon().alert("vg/data"), Code::BelowThreshold));
    assert_eq!(world.sim.runs(Tool::Cryptsetup), 0);
    world.sim.with(|model| model.lv("vg/data").and_then(|lv| lv.fs.as_mut()).expect("there").used = Bytes(7 << 29));
    assert_eq!(word(&world.daemon().alert("vg/data")), "grown");
    assert_eq!(world.sim.runs(Tool::Cryptsetup), 2, "tried once, and resized");
    let verdicts = look(world.sim.as_ref(), Focus::Everything).expect("LVM answers").presumed().key_file;
    assert_eq!(verdicts, Some(lvm_autoscaler::inventory::KeyFile::Presumed), "a page tries none");
}

#[test]
fn what_does_not_open_it_changes_nothing() {
    let world = encrypted();
    world.sim.with(|model| luks(model).opened_by = None);
    let before = world.sim.with(|model| format!("{:?}", model.lvs));
    assert!(refused(&world.daemon().alert("vg/data"), Code::LuksKey));
    assert_eq!(world.sim.with(|model| format!("{:?}", model.lvs)), before);
    assert!(world.sim.changes().is_empty());
}

/// Somebody ran `lvextend` without anything else.
#[test]
fn a_mapping_that_was_left_behind_catches_up() {
    let world = encrypted();
    assert!(world.sim.with(|model| extend_by_hand(model, "vg/data", 512)));
    assert_eq!(word(&world.daemon().alert("vg/data")), "grown");
    assert_eq!(world.names_of_changes(), ["cryptsetup", "resize2fs"]);
    assert!(world.fills("vg/data"));
    assert!(last(&world).sentence.starts_with("the file system on vg/data (6 GiB) grew"), "{}", last(&world).sentence);
}

#[test]
fn what_is_left_is_the_mapping_and_the_file_system() {
    let (world, shared, past) = disturbed("cryptsetup", |model| luks(model).opened_by = None);
    assert!(past.sentence.contains("cryptsetup exited with 2: No key available"), "{}", past.sentence);
    let resize = format!("cryptsetup resize --key-file {KEY_FILE} -- data_crypt");
    assert_eq!(past.commands, [resize.as_str(), "resize2fs /dev/mapper/data_crypt"]);
    world.sim.with(|model| luks(model).opened_by = Some(KEY_FILE.into()));
    are_enough(&world, &shared, &past.commands);
}

/// The host went down before anybody read that, and its mapping waits for a passphrase.
#[test]
fn after_a_boot_the_mapping_is_opened_first() {
    let (world, shared, _) = disturbed("lvextend", |model| luks(model).suspended = true);
    world.sim.with(|model| {
        model.lv("vg/data").and_then(|lv| lv.fs.as_mut()).expect("there").mounted = false;
        let luks = luks(model);
        (luks.open, luks.suspended) = (false, false);
    });
    let parked = world.state().parked.get(&lv("vg/data")).cloned().expect("it waits");
    let seen = look(world.sim.as_ref(), Focus::Volume(&lv("vg/data"))).expect("LVM answers");
    let commands = parked.plan.left_for_a_person(Some(&seen));
    let open = ["cryptsetup open /dev/mapper/vg-data data_crypt", "mount /dev/mapper/data_crypt /data"];
    assert_eq!(commands[..2], open, "{commands:?}");
    assert_eq!(commands.last().map(String::as_str), Some("resize2fs /dev/mapper/data_crypt"));
    are_enough(&world, &shared, &commands);
}

#[test]
fn a_mapping_that_is_suspended_or_another_one_meanwhile_stops_it() {
    let (_, _, past) = disturbed("lvextend", |model| luks(model).suspended = true);
    assert!(past.sentence.contains("the mapping data_crypt on vg/data is suspended"), "{}", past.sentence);
    let (world, _, past) = disturbed("lvextend", |model| luks(model).name = "other".to_owned());
    assert!(past.sentence.contains("the mapping data_crypt is not on vg/data any more"), "{}", past.sentence);
    assert_eq!(world.count("cryptsetup") + world.count("resize2fs"), 0);
}

/// It comes to lie on sectors that the file system does not bear, which no guard can foresee.
#[test]
fn a_volume_on_too_coarse_a_disk_is_closed_before_it_is_given_back() {
    let (world, shared, past) = disturbed("lvextend", |model| {
        model.vg("vg").expect("a group").pvs[0].block_size = Bytes(8192);
    });
    let wanted = [
        "umount /data",
        "cryptsetup close data_crypt",
        "lvm lvreduce -y -l 1024 -- vg/data",
        "cryptsetup open /dev/mapper/vg-data data_crypt",
        "e2fsck -f -p /dev/mapper/data_crypt",
        "mount /dev/mapper/data_crypt /data",
    ];
    assert_eq!(past.commands, wanted, "{}", past.sentence);
    are_enough(&world, &shared, &past.commands);
    assert_eq!(world.extents("vg/data"), BEFORE);
}

/// The key is gone at the next start: before the extension the operation is left, after it a person finishes it.
#[test]
fn a_key_that_is_gone_after_a_crash_leaves_it_or_parks_it() {
    for (command, result) in [("lvextend", "failed"), ("cryptsetup", "needs_attention")] {
        let world = encrypted();
        world.inject(command, 0, Harm::CrashBefore);
        assert!(until_crash(|| world.daemon().alert("vg/data")).is_err());
        world.sim.with(|model| model.key_files.clear());
        world.daemon().recover().expect("the journal can be written");
        let past = last(&world);
        assert_eq!(past.result.as_str(), result, "{}", past.sentence);
        assert_eq!(world.extents("vg/data"), if command == "cryptsetup" { AFTER } else { BEFORE });
    }
}

/// A full pool grows first, for a volume that then grows.
#[test]
fn no_pool_grows_for_a_volume_whose_key_opens_nothing() {
    const POOL_HOST: &str = "
names: [db1]
volume_groups:
  - name: vg
    physical_volumes: [{ name: /dev/sdb, size: 20GiB }]
    logical_volumes:
      - { name: pool, type: thin-pool, size: 4GiB, data_used: 70%, metadata_used: 10% }
      - { name: data, size: 2GiB, pool: pool, filesystem: { type: ext4, mount_point: /data, used: 85% } }
";
    let config = format!(
        "defaults: {{ increment: 4GiB, luks_key_file: {KEY_FILE} }}\nmonitor:\n  targets:\n    \
         - {{ lv_path: /dev/vg/data, mount_point: /data }}\n    - {{ thin_pool: vg/pool }}\n"
    );
    let world = World::new(POOL_HOST, &config);
    world.sim.with(|model| {
        encrypt(model, "vg/data", luks2);
        luks(model).opened_by = None;
    });
    assert!(refused(&world.daemon().alert("vg/data"), Code::LuksKey));
    assert!(world.sim.changes().is_empty());
    world.sim.with(|model| luks(model).opened_by = Some(KEY_FILE.into()));
    let ended = world.daemon().alert("vg/data");
    assert!(ended_as(&ended, Outcome::Grown), "{ended:?}");
    assert_eq!(world.names_of_changes(), [&["vgcfgbackup", "lvextend"], &STEPS[..]].concat());
}
