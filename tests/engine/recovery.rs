//! Whatever the journal holds of an operation when the daemon dies, and whatever people did to the host or the config
//! before it starts again: how it ends, and in which words. All of them are in `tests/golden/recovery.txt`, to be read
//! as the person who gets them at night; `UPDATE_GOLDEN=1 cargo test --test engine recovery::` writes it anew.

use std::collections::BTreeMap;

use crate::common::records::records;
use crate::common::*;
use lvm_autoscaler::engine::{Ended, Pipeline};
use lvm_autoscaler::host::Host as _;
use lvm_autoscaler::host::sim::{Harm, Model, SimLv};
use lvm_autoscaler::journal::Event;
use lvm_autoscaler::plan::{Code, Outcome};

/// The volume, where it is mounted, and what grows it.
type Target = (&'static str, &'static str, &'static str);
const TARGETS: [Target; 2] = [("vg/data", "/data", "resize2fs"), ("vg/media", "/media", "xfs_growfs")];

/// More than was planned.
const BEYOND: u64 = AFTER + 100;

/// What the journal's last record is, the command at which the daemon dies (`None`: it does not), and how many records
/// that were written by then are lost.
type Moment = (&'static str, Option<(&'static str, Harm)>, usize);
const MOMENTS: [Moment; 11] = [
    ("planned", Some(("vgcfgbackup", Harm::CrashBefore)), 1),
    ("backup started, not run", Some(("vgcfgbackup", Harm::CrashBefore)), 0),
    ("backup started, ran", Some(("vgcfgbackup", Harm::CrashAfter)), 0),
    ("backup done", Some(("lvextend", Harm::CrashBefore)), 1),
    ("extension started, not run", Some(("lvextend", Harm::CrashBefore)), 0),
    ("extension started, ran", Some(("lvextend", Harm::CrashAfter)), 0),
    ("extension done", Some((GROWER, Harm::CrashBefore)), 2),
    ("check done", Some((GROWER, Harm::CrashBefore)), 1),
    ("growth started, not run", Some((GROWER, Harm::CrashBefore)), 0),
    ("growth started, ran", Some((GROWER, Harm::CrashAfter)), 0),
    ("growth done", None, 1),
];
/// Stands for the program that grows the target's file system.
const GROWER: &str = "";

/// What somebody does before the daemon starts again.
enum Meanwhile {
    /// To the host.
    Host(fn(&mut Model, Target)),
    /// To the config: a text in it becomes another.
    Config(&'static str, &'static str),
    /// `pause`.
    Pause,
    /// The machine boots.
    Reboot,
}
use Meanwhile::{Config, Host as OnHost, Pause, Reboot};

const MEANWHILE: [(&str, Meanwhile); 28] = [
    ("nothing happened", OnHost(|_, _| ())),
    ("the machine booted", Reboot),
    ("power failed before the kernel wrote the copies of the superblock", OnHost(outdate_copies)),
    ("the volume was extended exactly as planned", OnHost(|m, t| extend_to(m, t, AFTER))),
    ("the volume was extended beyond the plan", OnHost(|m, t| extend_to(m, t, BEYOND))),
    ("volume and file system were grown exactly as planned", OnHost(|m, t| grow_to(m, t, AFTER))),
    ("volume and file system were grown beyond the plan", OnHost(|m, t| grow_to(m, t, BEYOND))),
    ("the volume was removed", OnHost(|m, t| m.lvs.retain(|lv| lv.name.to_string() != t.0))),
    ("the volume was renamed", OnHost(|m, t| volume(m, t).name = lv("vg/renamed"))),
    ("the volume was deactivated", OnHost(|m, t| off(volume(m, t)))),
    ("the volume was left suspended", OnHost(|m, t| volume(m, t).suspended = true)),
    ("the volume group was removed", OnHost(|m, _| remove_group(m))),
    ("the volume group was exported", OnHost(|m, _| export_group(m))),
    ("the file system was unmounted", OnHost(|m, t| fs(m, t).mounted = false)),
    ("the file system was mounted elsewhere", OnHost(|m, t| fs(m, t).mount_point = "/mnt".parse().expect("a path"))),
    (
        "another volume was mounted in its place",
        OnHost(|m, t| {
            fs(m, t).mounted = false;
            mount_another(m, t);
        }),
    ),
    ("another volume was mounted over it", OnHost(mount_another)),
    ("it was mounted over another volume", OnHost(|m, t| fs(m, t).mounted_as = Some(lv("vg-2/logs")))),
    (
        "another file system was made on the volume",
        OnHost(|m, t| {
            let size = volume(m, t).size();
            let fs = fs(m, t);
            (fs.kind, fs.size) = ("btrfs".to_owned(), size);
        }),
    ),
    ("the file system was remounted read-only", OnHost(|m, t| fs(m, t).read_only = true)),
    ("an error was flagged in its superblock", OnHost(|m, t| fs(m, t).error_flag = fs(m, t).is_ext())),
    ("a disk of the group became too short", OnHost(|m, _| m.vg("vg").expect("a group").pvs[0].device_exceeds = -1)),
    ("the volume was made anew under its name", OnHost(make_anew)),
    ("files were deleted", OnHost(|m, t| fs(m, t).used.0 /= 2)),
    ("the target was paused", Pause),
    ("the target was taken out of the config", Config("/TARGET", "/dev/vg/another")),
    ("the target's mode was set to off", Config("/TARGET,", "/TARGET, mode: off,")),
    ("the target's mode was set to recommend", Config("/TARGET,", "/TARGET, mode: recommend,")),
];

fn volume(model: &mut Model, (name, ..): Target) -> &mut SimLv {
    model.lv(name).expect("a volume")
}

fn fs(model: &mut Model, target: Target) -> &mut lvm_autoscaler::host::sim::SimFs {
    volume(model, target).fs.as_mut().expect("a file system")
}

/// As a power cut leaves those of an XFS that grew.
fn outdate_copies(model: &mut Model, target: Target) {
    let fs = fs(model, target);
    fs.size_in_copies = (fs.kind == "xfs" && fs.size > fs.first_size).then_some(fs.first_size);
}

fn extend_to(model: &mut Model, target: Target, extents: u64) {
    let more = extents.saturating_sub(volume(model, target).extents.0);
    assert!(extend_by_hand(model, target.0, more), "there is room");
}

fn grow_to(model: &mut Model, target: Target, extents: u64) {
    extend_to(model, target, extents);
    grow_by_hand(model, target.0);
}

fn off(lv: &mut SimLv) {
    lv.active = false;
    lv.fs.iter_mut().for_each(|fs| fs.mounted = false);
}

fn remove_group(model: &mut Model) {
    model.lvs.retain(|lv| lv.name.vg.as_str() != "vg");
    model.vgs.retain(|vg| vg.name.as_str() != "vg");
}

fn export_group(model: &mut Model) {
    model.lvs.iter_mut().filter(|lv| lv.name.vg.as_str() == "vg").for_each(off);
    model.vg("vg").expect("a group").exported = true;
}

fn mount_another(model: &mut Model, target: Target) {
    let point = fs(model, target).mount_point.clone();
    let other = model.lv("vg-2/logs").expect("a volume");
    other.fs.as_mut().expect("a file system").mount_point = point;
}

/// `lvremove`, `lvcreate`, `mkfs`, `mount`: as large as at first, and empty.
fn make_anew(model: &mut Model, target: Target) {
    let lv = volume(model, target);
    let freed = lv.extents.0 - BEFORE;
    (lv.uuid_salt, lv.extents.0) = (1, BEFORE);
    grow_by_hand(model, target.0);
    model.vg("vg").expect("a group").pvs[0].allocated.0 -= freed;
}

/// A world in which the daemon just died.
fn dead((name, _, grower): Target, (_, dies, lost): Moment) -> World {
    let world = World::new(HOST, &config(name, "", ""));
    if let Some((command, harm)) = dies {
        world.inject(if command == GROWER { grower } else { command }, 0, harm);
    }
    assert_eq!(until_crash(|| world.daemon().alert(name)).is_err(), dies.is_some());
    let all = records(&world);
    all.cut(all.frames[all.frames.len() - 1 - lost].end, &world);
    assert_eq!(world.state().running.len(), 1, "one operation is open");
    world
}

/// The usual one, in which the target is written with a text that can be changed.
fn config(name: &str, from: &str, to: &str) -> String {
    let path = format!("/dev/{name},");
    let changed = "/TARGET,".replace(from, to).replace("/TARGET", &format!("/dev/{name}"));
    CONFIG.replace(&path, if from.is_empty() { &path } else { &changed })
}

fn meddle(world: World, target: Target, meanwhile: &Meanwhile) -> World {
    match meanwhile {
        OnHost(change) => world.sim.with(|model| change(model, target)),
        Config(from, to) => return world.with_config(&config(target.0, from, to)),
        Pause => {
            let daemon = world.daemon();
            let paused = Event::Paused { lv: Some(lv(target.0)) };
            daemon.0.journal().append(world.sim.now(), vec![paused]).expect("the journal can be written");
        }
        Reboot => world.sim.reboot(),
    }
    world
}

/// What no command of ours may change: all but the target, if it still is what was planned for.
fn others(model: &Model, name: &str) -> String {
    let is_target = |lv: &SimLv| lv.name.to_string() == name && lv.uuid_salt == 0;
    let others: Vec<&SimLv> = model.lvs.iter().filter(|lv| !is_target(lv)).collect();
    format!("{others:#?}")
}

/// Recovers, checks what must always hold, and says how it ended.
fn outcome(target: Target, moment: Moment, what: &str, meanwhile: &Meanwhile) -> String {
    let name = target.0;
    let what = format!("{name}: {}, {what}", moment.0);
    let dead = dead(target, moment);
    let plan = dead.state().running.values().next().expect("it is open").plan.clone();
    let world = meddle(dead, target, meanwhile);
    let size = |world: &World| world.sim.with(|m| m.lv(name).filter(|lv| lv.uuid_salt == 0).map(|lv| lv.extents.0));
    let (size_before, others_before) = (size(&world), world.sim.with(|model| others(model, name)));
    let ran_before = world.sim.changes().len();
    let outdated = |model: &mut Model| model.lv(name).and_then(|lv| lv.fs.as_ref()?.size_in_copies).is_some();
    let mend = world.sim.with(outdated).then(|| format!("xfs_io -c 'label -c' {}", target.1));

    let daemon = world.daemon();
    daemon.recover().expect("the journal can be written");

    let state = world.state();
    assert!(state.running.is_empty() && state.pending.is_empty(), "{what}: nothing is left open");
    let past = state.past.back().cloned().expect("it ended");
    let what = format!("{what}: {}: {}", past.result, past.sentence);
    // Never beyond the plan by us, never smaller.
    assert_eq!(size(&world).is_some(), size_before.is_some(), "{what}");
    if let (Some(before), Some(after)) = (size_before, size(&world)) {
        assert!(after == before || after == AFTER && before < AFTER, "{before} became {after}: {what}");
    }
    // Nothing on anything else, and only what was planned, each at most once.
    assert_eq!(world.sim.with(|model| others(model, name)), others_before, "{what}");
    let planned = plan.steps.iter().filter_map(|step| step.command()).map(|command| command.to_string());
    let planned: Vec<String> = planned.chain(mend).collect();
    let ran = world.sim.changes().split_off(ran_before);
    let mut expected = planned.iter().filter(|command| ran.contains(command)).cloned().collect::<Vec<_>>();
    assert_eq!(ran, expected, "in the order of the plan: {what}");
    expected.dedup();
    assert_eq!(ran.len(), expected.len(), "none of them twice: {what}");
    let parked = state.parked.contains_key(&lv(name));
    assert_eq!(parked, past.result.as_str() == Outcome::NeedsAttention.as_str(), "{what}");
    match past.result.as_str() {
        // It was grown; what became of it since is not this operation's.
        "grown" if size(&world).is_none() => assert!(moment.0 == "growth done" && ran.is_empty(), "{what}"),
        "grown" => {
            assert!(size(&world) >= Some(AFTER) && world.fills(name), "{what}");
            assert!(!world.sim.with(outdated), "{what}");
        }
        "failed" => {
            assert!(past.sentence.contains("; nothing was changed"), "{what}");
            assert_eq!(size(&world), size_before, "{what}");
        }
        _ => is_closed_until_a_person_finished(&world, &daemon, target, &what),
    }
    assert!(!past.sentence.contains('\n') && past.sentence.len() < 400, "one line that can be read: {what}");
    let left = match past.commands.as_slice() {
        [] => String::new(),
        commands => format!("\n      left: {}", commands.join("; ")),
    };
    format!("{}: {}{left}", past.result, past.sentence)
}

/// The next alert changes nothing; when a person has put the volume back and finished, the target is open again without
/// anybody telling the daemon.
fn is_closed_until_a_person_finished(world: &World, daemon: &Daemon, target: Target, what: &str) {
    let name = target.0;
    let ran = world.sim.changes();
    world.minutes(24 * 60);
    let again = daemon.alert(name);
    let is_target = world.config.target(&lv(name)).is_some();
    let replaced = world.sim.with(|model| model.lv(name).is_some_and(|lv| lv.uuid_salt != 0));
    let overwritten = what.contains("nothing of this is left to do");
    // It had grown before somebody mounted it elsewhere: nothing is left to do.
    let finished = what.contains("is mounted at /mnt now") && world.fills(name) && world.extents(name) == AFTER;
    if is_target && !replaced && !overwritten && !finished {
        assert!(matches!(again, Ended::Refused(_)), "{what}: {again:?}");
        assert!(world.state().parked.contains_key(&lv(name)), "{what}");
        assert_eq!(world.sim.changes(), ran, "{what}");
    }
    // If commands are named, running them as they stand there is all that it needs.
    let past = world.state().past.back().cloned().expect("it ended");
    let only_when_it_is_back = what.contains("if it comes back, run: ");
    if is_target && !past.commands.is_empty() && !only_when_it_is_back {
        let other = world.copy();
        for command in &past.commands {
            let said = other.sim.paste(command);
            // 1 of e2fsck: it mended something.
            let is_fine = said.succeeded() || command.starts_with("e2fsck") && said.code == Some(1);
            assert!(is_fine, "{what}: {command}: {}", said.complaint());
        }
        let daemon = other.daemon();
        Pipeline(std::sync::Arc::clone(&daemon.0)).clear_what_is_mended().expect("the journal can be written");
        assert!(other.state().parked.is_empty(), "open again after {:?}: {what}", past.commands);
    }
    // As it was planned on: whatever was done to it is undone, and it is finished by hand.
    let usual = lvm_autoscaler::host::sim::parse(HOST).expect("a host");
    world.sim.with(|model| {
        *model = Model { speed: model.speed, ..usual };
        extend_to(model, target, AFTER);
        grow_by_hand(model, name);
    });
    Pipeline(std::sync::Arc::clone(&daemon.0)).clear_what_is_mended().expect("the journal can be written");
    assert!(world.state().parked.is_empty(), "open again: {what}");
    world.minutes(11);
    let again = daemon.alert(name);
    assert!(!refused(&again, Code::OperationInProgress), "{what}: {again:?}");
}

#[test]
fn every_state_of_the_journal_meets_everything_that_people_do() {
    let mut text = String::from(
        "How an interrupted operation ends: what happened while the daemon was down, the last record of the journal, the outcome.\n",
    );
    for (what, meanwhile) in &MEANWHILE {
        for target in TARGETS {
            text.push_str(&format!("\n{what} ({})\n", target.0));
            // Those that end alike stand together, in the order of the moments.
            let mut ends: Vec<(String, Vec<&str>)> = vec![];
            for moment in MOMENTS {
                let end = outcome(target, moment, what, meanwhile);
                match ends.iter_mut().find(|(known, _)| *known == end) {
                    Some((_, moments)) => moments.push(moment.0),
                    None => ends.push((end, vec![moment.0])),
                }
            }
            for (end, moments) in ends {
                text.push_str(&format!("  {}\n    {end}\n", moments.join("; ")));
            }
        }
    }
    is_up_to_date("tests/golden/recovery.txt", &text, "UPDATE_GOLDEN=1 cargo test --test engine recovery::");
}

/// Of the table: what must be so whatever the sentences are.
#[test]
fn an_undisturbed_operation_is_always_finished() {
    let mut results: BTreeMap<String, usize> = BTreeMap::new();
    for target in TARGETS {
        for moment in MOMENTS {
            let said = outcome(target, moment, "nothing happened", &OnHost(|_, _| ()));
            *results.entry(said.split(':').next().unwrap_or_default().to_owned()).or_default() += 1;
        }
    }
    assert_eq!(results, BTreeMap::from([("grown".to_owned(), TARGETS.len() * MOMENTS.len())]));
}

/// What a person must know of an XFS whose growth the kernel may have replayed; an ext4 is the control.
const REMOUNT: &str = "unmount /media and mount it once before it grows again";

#[test]
fn only_an_xfs_that_began_to_grow_in_another_boot_is_to_be_remounted() {
    for target in TARGETS {
        for moment in MOMENTS {
            for (what, meanwhile) in &MEANWHILE[..2] {
                let said = outcome(target, moment, what, meanwhile);
                let expected =
                    target.1 == "/media" && moment.0.starts_with("growth") && matches!(meanwhile, Meanwhile::Reboot);
                assert_eq!(said.contains(REMOUNT), expected, "{}: {}, {what}: {said}", target.0, moment.0);
            }
        }
    }
}

/// A person who has to mount it anyway is not asked for a second mount.
#[test]
fn an_xfs_that_is_not_mounted_after_the_boot_is_not_to_be_remounted() {
    let (target, moment) = (TARGETS[1], MOMENTS[9]);
    assert_eq!((target.1, moment.0), ("/media", "growth started, ran"));
    for is_mounted in [true, false] {
        let world = dead(target, moment);
        world.sim.reboot();
        world.sim.with(|model| fs(model, target).mounted = is_mounted);
        world.daemon().recover().expect("the journal can be written");
        let past = world.state().past.back().cloned().expect("it ended");
        assert_eq!(past.sentence.contains(REMOUNT), is_mounted, "{}", past.sentence);
    }
}
