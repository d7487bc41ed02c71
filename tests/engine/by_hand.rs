//! What a person asks for: the same guards and steps, but nobody waits for a threshold.

use crate::common::*;
use lvm_autoscaler::engine::{self, Ended, Pipeline, Progress, Reply};
use lvm_autoscaler::host::sim::Harm;
use lvm_autoscaler::plan::{Code, Outcome};
use lvm_autoscaler::units::Bytes;

const EMPTY: &str = "
volume_groups:
  - name: vg
    physical_volumes: [{ name: /dev/sdb, size: 20GiB }]
    logical_volumes:
      - { name: data, size: 4GiB, filesystem: { type: ext4, mount_point: /data, used: 10% } }
      - { name: media, size: 4GiB, filesystem: { type: xfs, mount_point: /media, used: 10% } }
";

fn config(more: &str) -> String {
    format!("monitor: {{ targets: [{{ lv_path: /dev/vg/data, mount_point: /data, increment: 2GiB, {more} }}] }}\n")
}

fn ask(world: &World, by: Option<u64>) -> Ended {
    Pipeline(world.shared(false)).ask(&lv("vg/data"), by.map(Bytes)).expect("the journal can be written")
}

#[test]
fn a_person_need_not_wait_for_the_threshold() {
    let world = World::new(EMPTY, &config(""));
    assert!(refused(&world.daemon().alert("vg/data"), Code::BelowThreshold));
    assert!(ended_as(&ask(&world, None), Outcome::Grown));
    assert_eq!((world.extents("vg/data"), world.fills("vg/data")), (AFTER, true));
    let state = world.state();
    assert!(state.past[0].sentence.starts_with("vg/data grew from 4 GiB to 6 GiB"), "{:?}", state.past);
}

#[test]
fn a_size_is_taken_whole_rounded_up_to_extents_or_not_at_all() {
    let world = World::new(EMPTY, &config(""));
    assert!(ended_as(&ask(&world, Some((1 << 30) + 1)), Outcome::Grown));
    assert_eq!(world.extents("vg/data"), BEFORE + 257);

    for (more, by, code) in [
        ("max_size: 5GiB", 2 << 30, Code::AtMaxSize),
        ("budget: { extensions: 3, bytes: 1GiB, per: 24h }", 2 << 30, Code::BudgetExhausted),
        ("", 13 << 30, Code::InsufficientSpace),
        ("", u64::MAX, Code::BudgetExhausted),
    ] {
        let world = World::new(EMPTY, &config(more));
        let ended = ask(&world, Some(by));
        assert!(refused(&ended, code), "{more}: {ended:?}");
        assert!(world.sim.changes().is_empty());
    }
}

#[test]
fn every_other_guard_holds_for_a_person_too() {
    for (more, code) in
        [("mode: off", Code::ModeOff), ("window: { days: [mon], from: \"08:00\", to: \"08:01\" }", Code::OutsideWindow)]
    {
        // The world begins on a Thursday, in any zone.
        let world = World::new(EMPTY, &config(more));
        let ended = ask(&world, None);
        assert!(refused(&ended, code), "{more}: {ended:?}");
    }
    let world = World::new(EMPTY, &config("cooldown: 10m"));
    assert!(ended_as(&ask(&world, None), Outcome::Grown));
    assert!(refused(&ask(&world, None), Code::Cooldown));
    assert!(world.state().refused.iter().any(|past| past.result.as_str() == "cooldown"), "written down like any");
    world.minutes(11);
    world.inject("resize2fs", 0, Harm::Fails);
    assert!(ended_as(&ask(&world, None), Outcome::NeedsAttention));
    assert!(refused(&ask(&world, None), Code::OperationInProgress));
}

#[test]
fn a_recommendation_waits_for_a_person_and_here_it_is() {
    let world = World::new(&HOST.replace("used: 85%", "used: 90%"), &config("mode: recommend"));
    assert!(ended_as(&world.daemon().alert("vg/data"), Outcome::Recommended));
    // Neither the mode nor the recommendation's own cooldown is in the way.
    assert!(ended_as(&ask(&world, None), Outcome::Grown));
    assert!(refused(&ask(&world, None), Code::Cooldown), "but that of what was done");
}

#[test]
fn a_volume_that_somebody_extended_without_its_file_system_catches_up() {
    let world = World::new(EMPTY, &config(""));
    world.sim.with(|model| assert!(extend_by_hand(model, "vg/data", 256)));
    assert!(ended_as(&ask(&world, None), Outcome::Grown));
    assert_eq!((world.extents("vg/data"), world.fills("vg/data")), (BEFORE + 256, true));
    assert_eq!(world.names_of_changes(), ["resize2fs"]);
}

#[test]
fn a_pool_grows_by_what_a_person_says() {
    const POOL: &str = "
volume_groups:
  - name: vg
    physical_volumes: [{ name: /dev/sdb, size: 20GiB }]
    logical_volumes: [{ name: pool, type: thin-pool, size: 4GiB, data_used: 10%, metadata_used: 10% }]
";
    let world = World::new(POOL, "monitor: { targets: [{ thin_pool: vg/pool }] }");
    let ended = Pipeline(world.shared(false)).ask(&lv("vg/pool"), Some(gib(1))).expect("the journal can be written");
    assert!(ended_as(&ended, Outcome::Grown), "{ended:?}");
}

/// Through the queue, with what is told on the way.
#[test]
fn progress_is_told_until_the_end_and_a_listener_that_leaves_stops_nothing_that_was_begun() {
    let world = World::new(EMPTY, &config("cooldown: 1s"));
    let engine = engine::start(world.shared(false));
    let mut told = Vec::new();
    engine.ask(&lv("vg/data"), None, &mut |progress| {
        told.extend(progress);
        true
    });
    let Some(Progress::Ended(Reply { result, id: Some(_), .. })) = told.last() else { panic!("{told:?}") };
    assert_eq!(result.as_str(), "grown");

    world.minutes(1);
    let mut asked = 0;
    engine.ask(&lv("vg/data"), None, &mut |_| {
        asked += 1;
        false
    });
    // Whether it was begun by then is chance; what was begun is finished, what was not is dropped.
    engine.drain();
    assert!([AFTER, AFTER + 512].contains(&world.extents("vg/data")) && world.fills("vg/data"));
    assert!(world.state().running.is_empty());

    let mut told = Vec::new();
    engine.ask(&lv("vg/data"), None, &mut |progress| {
        told.extend(progress);
        true
    });
    assert!(
        matches!(&told[..], [Progress::Ended(Reply { result, .. })] if result.as_str() == "interrupted"),
        "{told:?}"
    );
}
