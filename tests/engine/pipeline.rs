//! The engine on the simulated host, with a real journal: what is done, in which order, and what is not done twice.

use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use crate::common::*;
use lvm_autoscaler::engine::{self, Accepted, Pipeline, Request};
use lvm_autoscaler::host::Sampler;
use lvm_autoscaler::host::sim::{Harm, Model, SimFs};
use lvm_autoscaler::inventory::Latest;
use lvm_autoscaler::journal::Source;
use lvm_autoscaler::plan::{Code, Outcome};

#[test]
fn ext4_grows_by_the_planned_extents_and_nothing_else_happens() {
    let world = World::usual();
    assert!(ended_as(&world.daemon().alert("vg/data"), Outcome::Grown));
    let backup = world.folder.path().join("backup/vg-20260101T000000.000Z.vg");
    let expected = [
        format!("lvm vgcfgbackup --config global/wait_for_locks=1 -f {} -- vg", backup.display()),
        "lvm lvextend -A n --config global/wait_for_locks=1 -l 1536 -- vg/data".to_owned(),
        "resize2fs /dev/mapper/vg-data".to_owned(),
    ];
    assert_eq!(world.sim.changes(), expected);
    assert_eq!((world.extents("vg/data"), world.fills("vg/data")), (AFTER, true));
    assert_eq!((world.extents("vg/media"), world.extents("vg-2/logs")), (BEFORE, BEFORE));
}

#[test]
fn xfs_grows_by_the_planned_extents() {
    let world = World::usual();
    assert!(ended_as(&world.daemon().alert("vg/media"), Outcome::Grown));
    assert_eq!(world.names_of_changes(), ["vgcfgbackup", "lvextend", "xfs_growfs"]);
    assert_eq!(world.sim.changes()[2], "xfs_growfs -d /media");
    assert_eq!((world.extents("vg/media"), world.fills("vg/media")), (AFTER, true));
}

#[test]
fn every_step_is_on_disk_before_it_runs_and_after_it_ended() {
    let world = World::usual();
    world.daemon().alert("vg/data");
    let state = world.state();
    assert!(state.running.is_empty() && state.pending.is_empty() && state.parked.is_empty());
    assert_eq!(state.last[&lv("vg/data")].outcome, Outcome::Grown);
    let past: Vec<_> = state.past.iter().map(|past| past.sentence.as_str()).collect();
    assert_eq!(past, ["vg/data grew from 4 GiB to 6 GiB, /data from 3.92 GiB to 5.88 GiB, now 56.7 % full"]);
}

#[test]
fn an_alert_that_is_repeated_grows_once() {
    let world = World::usual();
    let daemon = world.daemon();
    daemon.alert("vg/data");
    for _ in 0..20 {
        assert!(refused(&daemon.alert("vg/data"), Code::Cooldown));
    }
    world.minutes(11);
    assert!(refused(&daemon.alert("vg/data"), Code::BelowThreshold));
    assert_eq!(world.count("lvextend"), 1);
}

#[test]
fn twenty_alerts_at_once_and_two_groups_beside_one_another_grow_once_each() {
    let world = World::usual();
    let engine = engine::start(world.shared(false));
    let submit = |name: &str| {
        let (lv, source) = (lv(name), Source::Alertmanager);
        engine.submit(vec![Request { lv, source, fingerprint: String::new() }]).expect("accepted")
    };
    std::thread::scope(|threads| {
        for _ in 0..10 {
            threads.spawn(|| submit("vg/data"));
            threads.spawn(|| submit("vg-2/logs"));
        }
    });
    let idle = || {
        let state = engine.shared().state();
        state.pending.is_empty() && state.running.is_empty()
    };
    eventually("all are decided about", idle);
    engine.drain();
    assert_eq!((world.extents("vg/data"), world.extents("vg-2/logs")), (AFTER, AFTER));
    assert_eq!((world.count("lvextend"), world.count("resize2fs")), (2, 2));
}

#[test]
fn requests_for_one_volume_coalesce_while_one_waits() {
    let world = World::usual();
    let engine = engine::start(world.shared(false));
    let wish = |name: &str| Request { lv: lv(name), source: Source::Alertmanager, fingerprint: String::new() };
    let accepted = engine.submit(vec![wish("vg/data"), wish("vg/data"), wish("vg-2/logs")]).expect("accepted");
    assert_eq!(accepted, [Accepted::Queued, Accepted::Coalesced, Accepted::Queued]);
    engine.drain();
    assert!(engine.submit(vec![wish("vg/data")]).is_err(), "a daemon that stops accepts nothing");
}

/// The daemon's own look is not written down. An alert that comes while one waits must be, for its sender is told so.
#[test]
fn an_alert_is_on_disk_although_our_own_look_at_the_volume_waits() {
    let world = World::usual();
    let (release, gate) = std::sync::mpsc::channel::<()>();
    let gate = Mutex::new(gate);
    // The group's worker is busy until it is released.
    let host = world.watched(move |command| {
        if command.name() == "lvextend" {
            let _ = gate.lock().expect("one worker").recv();
        }
    });
    let engine = engine::start(world.shared_on(host, false));
    let submit = |name: &str, source| {
        let wish = Request { lv: lv(name), source, fingerprint: String::new() };
        engine.submit(vec![wish]).expect("accepted")
    };
    submit("vg/media", Source::Alertmanager);
    eventually("the worker is busy", || world.count("vgcfgbackup") == 1);
    assert_eq!(submit("vg/data", Source::Monitor), [Accepted::Queued]);
    assert_eq!(submit("vg/data", Source::Monitor), [Accepted::Coalesced]);
    assert_eq!(submit("vg/data", Source::Alertmanager), [Accepted::Queued]);
    assert_eq!(submit("vg/data", Source::Grafana), [Accepted::Coalesced]);
    assert_eq!(submit("vg/data", Source::Monitor), [Accepted::Coalesced]);
    let pending: Vec<_> = world.state().pending.into_values().collect();
    assert_eq!(pending.iter().map(|pending| pending.lv.clone()).collect::<Vec<_>>(), [lv("vg/data")]);
    assert_eq!(engine.waiting_count(), 1);
    drop(release);
    eventually("both grew", || world.fills("vg/data") && engine.shared().state().last.len() == 2);
    engine.drain();
    // The look adds nothing to the alert.
    assert_eq!((world.count("lvextend"), world.state().refused.len()), (2, 0));
}

#[test]
fn what_waits_when_the_daemon_stops_is_done_by_the_next_one() {
    let world = World::usual();
    let engine = engine::start(world.shared(false));
    let wish = |name: &str| Request { lv: lv(name), source: Source::Alertmanager, fingerprint: String::new() };
    engine.submit(["vg/data", "vg/media", "vg-2/logs"].map(wish).to_vec()).expect("accepted");
    engine.drain();
    let engine = engine::start(world.shared(false));
    eventually("all grew", || engine.shared().state().last.len() == 3);
    engine.drain();
    assert_eq!(world.count("lvextend"), 3);
    assert!(world.fills("vg/data") && world.fills("vg/media") && world.fills("vg-2/logs"));
}

#[test]
fn a_volume_larger_than_its_file_system_is_not_extended() {
    for name in ["vg/data", "vg/media"] {
        let world = World::usual();
        world.sim.with(|model| extend_by_hand(model, name, 256));
        assert!(ended_as(&world.daemon().alert(name), Outcome::Grown));
        assert_eq!(world.count("lvextend"), 0);
        assert_eq!((world.extents(name), world.fills(name)), (BEFORE + 256, true));
    }
}

#[test]
fn a_dry_run_changes_nothing_and_holds_nothing_back() {
    let world = World::usual();
    let daemon = world.dry_daemon();
    assert!(ended_as(&daemon.alert("vg/data"), Outcome::DryRun));
    let told = world.state().past.back().map(|past| past.sentence.clone()).expect("it is remembered");
    assert!(refused(&daemon.alert("vg/data"), Code::Cooldown), "a dry run has its own cooldown");
    assert!(world.sim.changes().is_empty());
    assert!(
        told.contains("would have run: lvm vgcfgbackup")
            && told.contains("lvm lvextend -A n --config global/wait_for_locks=1 -l 1536"),
        "{told}"
    );
    drop(daemon);
    assert!(ended_as(&world.daemon().alert("vg/data"), Outcome::Grown));
}

#[test]
fn a_dry_run_leaves_an_operation_alone_that_a_real_one_left_open() {
    let world = World::usual();
    world.inject("lvextend", 0, Harm::CrashBefore);
    assert!(until_crash(|| world.daemon().alert("vg/data")).is_err());
    let before = world.sim.changes();
    let engine = engine::start(world.shared(true));
    std::thread::sleep(std::time::Duration::from_millis(50));
    engine.drain();
    assert_eq!(world.sim.changes(), before, "a dry run changed something");
    assert_eq!(world.state().running.len(), 1, "the next real start goes on with it");
    // The same for those that call the pipeline themselves.
    world.dry_daemon().recover().expect("the journal can be written");
    assert_eq!(world.sim.changes(), before);
}

/// The guards that passed when it was planned are asked again if nothing was changed yet.
#[test]
fn an_interrupted_operation_that_would_be_refused_now_is_given_up() {
    let without = CONFIG.replace("    - { lv_path: /dev/vg/data, mount_point: /data }\n", "");
    let smaller = CONFIG.replace("mount_point: /data", "mount_point: /data, max_size: 5GiB");
    let reserved = format!("{CONFIG}\nvolume_groups: [{{ name: vg, reserve: 12GiB }}]");
    for (config, harm, why) in [
        (without, Harm::CrashBefore, "vg/data is not among monitor.targets any more"),
        (smaller, Harm::CrashBefore, "1280 extents at /data would be decided now"),
        (reserved, Harm::CrashBefore, "vg_reserve: vg has 12 GiB free, 12 GiB are reserved"),
    ] {
        let world = World::usual();
        world.inject("lvextend", 0, harm);
        assert!(until_crash(|| world.daemon().alert("vg/data")).is_err());
        let world = world.with_config(&config);
        world.daemon().recover().expect("the journal can be written");
        assert_eq!(world.extents("vg/data"), BEFORE, "{why}");
        let past = world.state().past.back().cloned().expect("it ended");
        assert_eq!(past.result.as_str(), "failed");
        assert!(past.sentence.contains(why), "{}", past.sentence);
        assert!(world.state().running.is_empty());
    }
}

#[test]
fn an_interrupted_operation_that_extended_the_volume_is_finished_whatever_the_config_says() {
    let world = World::usual();
    world.inject("lvextend", 0, Harm::CrashAfter);
    assert!(until_crash(|| world.daemon().alert("vg/data")).is_err());
    let world = world.with_config(&CONFIG.replace("mount_point: /data", "mount_point: /data, max_size: 5GiB"));
    world.daemon().recover().expect("the journal can be written");
    assert_eq!((world.extents("vg/data"), world.fills("vg/data")), (AFTER, true));
}

#[test]
fn the_own_look_grows_without_any_alert() {
    let config = CONFIG.replace("monitor:", "monitor:\n  interval_seconds: 60");
    let world = World::new(HOST, &config);
    // Only this target is over; time passes while the watcher sleeps.
    world.sim.with(|model| {
        for name in ["vg/media", "vg-2/logs"] {
            model.lv(name).and_then(|lv| lv.fs.as_mut()).expect("there").used.0 = 0;
        }
    });
    let engine = engine::start(world.shared(false));
    eventually("it grew", || world.extents("vg/data") == AFTER && world.fills("vg/data"));
    engine.drain();
    assert_eq!(world.names_of_changes(), ["vgcfgbackup", "lvextend", "resize2fs"]);
    assert!(world.state().pending.is_empty(), "an own look is not written down as received");
}

#[test]
fn the_own_look_writes_a_refusal_down_once() {
    let world = World::usual();
    world.sim.with(|model| model.vg("vg").expect("there").exported = true);
    let daemon = world.daemon();
    for _ in 0..5 {
        assert!(refused(&daemon.own_look("vg/data"), Code::VgExported));
    }
    assert_eq!(world.state().refused.len(), 1);
    // Another reason is news, and so is an alert.
    world.sim.with(|model| model.vg("vg").expect("there").partial = true);
    assert!(refused(&daemon.own_look("vg/data"), Code::VgPartial));
    assert!(refused(&daemon.alert("vg/data"), Code::VgPartial));
    assert_eq!(world.state().refused.len(), 3);
    // What was written down last counts after a restart too.
    drop(daemon);
    assert!(refused(&world.daemon().own_look("vg/data"), Code::VgPartial));
    assert_eq!(world.state().refused.len(), 3);
}

#[test]
fn a_target_that_left_the_config_is_refused_although_its_alert_was_accepted() {
    let world = World::usual();
    let engine = engine::start(world.shared(false));
    let wish = Request { lv: lv("vg/data"), source: Source::Alertmanager, fingerprint: String::new() };
    engine.drain();
    drop(engine);
    let daemon = world.daemon();
    let now = daemon.0.host.now();
    let received = lvm_autoscaler::journal::Event::Received {
        request: 1,
        lv: wish.lv,
        source: wish.source,
        fingerprint: wish.fingerprint,
    };
    daemon.0.journal().append(now, vec![received]).expect("the journal can be written");
    drop(daemon);
    let world = world.with_config(&CONFIG.replace("    - { lv_path: /dev/vg/data, mount_point: /data }\n", ""));
    world.daemon().recover().expect("the journal can be written");
    assert!(world.sim.changes().is_empty() && world.state().pending.is_empty());
    assert_eq!(world.state().last_refusal[&lv("vg/data")].code, Code::UnknownTarget);
}

#[test]
fn what_is_mounted_at_the_place_now_is_not_grown_if_it_is_another_volume() {
    let world = World::usual();
    world.inject("lvextend", 0, Harm::CrashAfter);
    assert!(until_crash(|| world.daemon().alert("vg/data")).is_err());
    // The volume's file system moved to another volume, and the old one is mounted elsewhere.
    world.sim.with(|model| {
        let other: lvm_autoscaler::name::MountPoint = "/old".parse().expect("a path");
        model.lv("vg/data").and_then(|lv| lv.fs.as_mut()).expect("there").mount_point = other;
        let point = "/data".parse().expect("a path");
        model.lv("vg/media").and_then(|lv| lv.fs.as_mut()).expect("there").mount_point = point;
    });
    world.daemon().recover().expect("the journal can be written");
    assert_eq!((world.extents("vg/data"), world.extents("vg/media")), (AFTER, BEFORE));
    assert_eq!(world.count("resize2fs") + world.count("xfs_growfs"), 0);
    let past = world.state().past.back().cloned().expect("it ended");
    assert_eq!(past.result.as_str(), "needs_attention");
    assert!(past.sentence.contains("/dev/mapper/vg-media is mounted at /data now, not vg/data"), "{}", past.sentence);
}

/// The kernel shows the name by which a volume was mounted, `xfs_growfs` takes the size of what has that name now, and
/// of two mounts at one place that of the lower one. On real machines it made the file system smaller.
#[test]
fn a_volume_whose_mount_has_the_name_of_another_is_not_grown() {
    type Change = fn(&mut SimFs, &mut SimFs);
    let ways: [(&str, Change); 3] = [
        ("renamed", |own, _| own.mounted_as = Some(lv("vg/gone"))),
        ("renamed, and another has its name", |own, _| own.mounted_as = Some(lv("vg/data"))),
        ("mounted over another", |own, under| {
            (under.kind, under.mount_point) = ("xfs".to_owned(), own.mount_point.clone());
        }),
    ];
    for (way, change) in ways {
        let world = World::usual();
        world.sim.with(|model| {
            let under = model.lv("vg/data").expect("there").fs.take().expect("there");
            let mut changed = (model.lv("vg/media").expect("there").fs.take().expect("there"), under);
            change(&mut changed.0, &mut changed.1);
            model.lv("vg/media").expect("there").fs = Some(changed.0);
            model.lv("vg/data").expect("there").fs = Some(changed.1);
        });
        let ended = world.daemon().alert("vg/media");
        assert!(refused(&ended, Code::DeviceMismatch), "{way}: {ended:?}");
        assert!(world.sim.changes().is_empty(), "{way}");
    }
}

/// The backup is there so that a person can go back to what was before; made again after the extension it would hold
/// what came after.
#[test]
fn the_backup_from_before_the_extension_is_not_overwritten_after_it() {
    let world = World::usual();
    world.inject("lvextend", 0, Harm::CrashAfter);
    assert!(until_crash(|| world.daemon().alert("vg/data")).is_err());
    world.daemon().recover().expect("the journal can be written");
    assert_eq!(world.names_of_changes(), ["vgcfgbackup", "lvextend", "resize2fs"]);
}

/// One operation per group, groups side by side: a long growth in one does not delay the other.
#[test]
fn a_long_growth_in_one_group_does_not_delay_another() {
    let world = World::usual();
    let gate = std::sync::Arc::new(std::sync::Barrier::new(2));
    let held = std::sync::Arc::clone(&gate);
    let host = world.watched(move |command| {
        if command.to_string() == "resize2fs /dev/mapper/vg-data" {
            held.wait();
        }
    });
    let engine = engine::start(world.shared_on(host, false));
    let wish = |name: &str| Request { lv: lv(name), source: Source::Alertmanager, fingerprint: String::new() };
    let submit = |name: &str| engine.submit(vec![wish(name)]).expect("accepted");
    submit("vg/data");
    eventually("the growth runs", || world.extents("vg/data") == AFTER);
    submit("vg/media");
    submit("vg-2/logs");
    let state = || engine.shared().state();
    eventually("the other group's is through", || state().last.contains_key(&lv("vg-2/logs")));
    assert!(!world.fills("vg/data") && world.extents("vg/media") == BEFORE, "the first group still waits");
    gate.wait();
    eventually("all are through", || state().last.len() == 3);
    engine.drain();
    assert!(world.fills("vg/data") && world.fills("vg/media") && world.fills("vg-2/logs"));
}

#[test]
fn nobody_looks_in_the_background_while_an_operation_is_carried_out_but_afterwards() {
    let world = World::usual();
    let latest = Arc::new(Latest::default());
    // As a uevent of the operation's own commands does.
    let wished: Arc<OnceLock<Sampler>> = Arc::default();
    let wishes = Arc::clone(&wished);
    let ran: Arc<Mutex<Vec<String>>> = Arc::default();
    let log = Arc::clone(&ran);
    let host = world.watched(move |command| {
        log.lock().expect("no panic").push(command.to_string());
        if let Some(sampler) = wishes.get().filter(|_| command.mutates) {
            sampler.refresh();
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    let sampler = Sampler::start(Arc::clone(&host), Arc::clone(&latest), || Duration::from_secs(3600), |_| ());
    eventually("a first look", || latest.get().taken);
    let _ = wished.set(sampler.clone());
    let mut shared = world.shared_on(host, false);
    Arc::get_mut(&mut shared).expect("nobody else has it").sampler = Some(sampler);
    let began = Instant::now();
    let pipeline = Pipeline(shared);
    let ended = pipeline.request(None, &lv("vg/data"), Source::Person).expect("the journal can be written");
    let took = began.elapsed();
    assert!(ended_as(&ended, Outcome::Grown));
    let size = |latest: &Latest| latest.get().inventory.lv(&lv("vg/data")).and_then(|lv| lv.size);
    eventually("a look afterwards", || size(&latest) == Some(gib(6)));
    let ran = ran.lock().expect("no panic").clone();
    let at = |name: &str| ran.iter().position(|ran| ran.contains(name)).expect("it ran");
    // The engine's own are about one group. One that takes very long, as on a machine that stands still, does not keep
    // the others from looking.
    let is_beside = |ran: &&String| ran.contains("fullreport") && !ran.contains("--foreign");
    let beside = ran[at("vgcfgbackup")..at("resize2fs")].iter().filter(is_beside).count();
    assert!(beside == 0 || took > Duration::from_secs(5), "{ran:?}");
}

#[test]
fn a_file_system_that_is_silent_for_a_moment_does_not_cost_the_alert() {
    let world = World::usual();
    let hangs = |model: &mut Model, hangs: bool| {
        let lv = model.lvs.iter_mut().find(|lv| lv.name.to_string() == "vg/data");
        lv.and_then(|lv| lv.fs.as_mut()).expect("there").hangs = hangs;
    };
    world.sim.with(|model| hangs(model, true));
    let (sim, looks) = (Arc::clone(&world.sim), Mutex::new(0));
    let host = world.watched(move |command| {
        let mut looks = looks.lock().expect("no panic");
        *looks += usize::from(command.name() == "fullreport");
        if *looks == 3 {
            sim.with(|model| hangs(model, false));
        }
    });
    let ended = Pipeline(world.shared_on(host, false)).request(None, &lv("vg/data"), Source::Alertmanager);
    assert!(ended_as(&ended.expect("the journal can be written"), Outcome::Grown));
}

/// How large an XFS is only `statvfs` tells: one that hangs for a while after the growth is waited for, and one that
/// hangs on is for a person.
#[test]
fn an_xfs_that_is_silent_after_its_growth_is_waited_for_before_anybody_judges() {
    for (looks_until_it_answers, outcome) in [(12, Outcome::Grown), (usize::MAX, Outcome::NeedsAttention)] {
        let world = World::usual();
        let hangs = |model: &mut Model, hangs: bool| {
            let lv = model.lvs.iter_mut().find(|lv| lv.name.to_string() == "vg/media");
            lv.and_then(|lv| lv.fs.as_mut()).expect("there").hangs = hangs;
        };
        let (sim, looks) = (Arc::clone(&world.sim), Mutex::new(None));
        let host = world.watched(move |command| {
            let mut looks = looks.lock().expect("no panic");
            match command.name() {
                "xfs_growfs" => {
                    *looks = Some(0);
                    sim.with(|model| hangs(model, true));
                }
                "fullreport" => *looks = looks.map(|looks| looks + 1),
                _ => {}
            }
            if looks.is_some_and(|looks| looks >= looks_until_it_answers) {
                sim.with(|model| hangs(model, false));
            }
        });
        let ended = Pipeline(world.shared_on(host, false)).request(None, &lv("vg/media"), Source::Alertmanager);
        assert!(ended_as(&ended.expect("the journal can be written"), outcome), "{looks_until_it_answers}");
        assert_eq!((world.extents("vg/media"), world.count("xfs_growfs")), (AFTER, 1));
    }
}
