//! What was done before decides about what is done next: modes, pauses, breakers, budgets, and clocks that somebody
//! sets.

use crate::common::*;
use jiff::SignedDuration;
use lvm_autoscaler::config::Config;
use lvm_autoscaler::engine::Pipeline;
use lvm_autoscaler::host::Host as _;
use lvm_autoscaler::host::sim::{Harm, Model};
use lvm_autoscaler::inventory::Latest;
use lvm_autoscaler::journal::{Entry, Event, State};
use lvm_autoscaler::metrics::target::{Knowledge, Targets};
use lvm_autoscaler::name::LvRef;
use lvm_autoscaler::plan::{Code, Outcome};

fn config(more: &str) -> String {
    CONFIG.replace("cooldown: 10m", &format!("cooldown: 10m, {more}"))
}

fn say(daemon: &Daemon, event: Event) {
    let now = daemon.0.host.moment();
    daemon.0.journal().append(now, vec![event]).expect("writable");
}

/// 85 % full again, whatever its size is now.
fn fill(world: &World, name: &str) {
    world.sim.with(|model| {
        let fs = model.lv(name).and_then(|lv| lv.fs.as_mut()).expect("there");
        fs.used.0 = fs.capacity().0 / 100 * 90;
    });
}

#[test]
fn recommend_does_everything_but_act_and_does_not_hold_back_the_real_one() {
    let world = World::new(HOST, &config("mode: recommend"));
    let daemon = world.daemon();
    assert!(ended_as(&daemon.alert("vg/data"), Outcome::Recommended));
    assert!(world.sim.changes().is_empty());
    let told = world.state().past[0].sentence.clone();
    assert!(told.starts_with("would grow by 2 GiB, because /data is 85 % full, above 80 %"), "{told}");
    assert!(
        told.contains(
            "lvm lvextend -A n --config global/wait_for_locks=1 -l 1536 -- vg/data; resize2fs /dev/mapper/vg-data"
        ),
        "{told}"
    );
    // It is not said again and again, but it costs no budget and no real growth.
    assert!(refused(&daemon.alert("vg/data"), Code::Cooldown));
    drop(daemon);
    let world = world.with_config(CONFIG);
    assert!(ended_as(&world.daemon().alert("vg/data"), Outcome::Grown));
}

#[test]
fn a_recommendation_that_was_interrupted_is_made_and_a_plan_that_may_only_be_recommended_now_is_not_carried_out() {
    let world = World::usual();
    world.inject("lvextend", 0, Harm::CrashBefore);
    assert!(until_crash(|| world.daemon().alert("vg/data")).is_err());
    let world = world.with_config(&config("mode: recommend"));
    world.daemon().recover().expect("writable");
    assert_eq!(world.extents("vg/data"), BEFORE);
    let told = world.state().past[0].sentence.clone();
    assert!(told.contains("the mode of vg/data is recommend now; nothing was changed"), "{told}");
}

#[test]
fn off_is_refused_and_not_looked_at() {
    let world = World::new(HOST, &config("mode: off"));
    assert!(refused(&world.daemon().alert("vg/data"), Code::ModeOff));
}

#[test]
fn pauses_hold_across_restarts_until_a_person_resumes() {
    let world = World::usual();
    let daemon = world.daemon();
    say(&daemon, Event::Paused { lv: Some(lv("vg/data")) });
    assert!(refused(&daemon.alert("vg/data"), Code::Paused));
    assert!(ended_as(&daemon.alert("vg/media"), Outcome::Grown));
    say(&daemon, Event::Paused { lv: None });
    drop(daemon);
    let daemon = world.daemon();
    assert!(refused(&daemon.alert("vg-2/logs"), Code::Paused));
    // One target goes on only when nobody paused it and nobody paused all.
    say(&daemon, Event::Resumed { lv: Some(lv("vg/data")) });
    assert!(refused(&daemon.alert("vg/data"), Code::Paused));
    say(&daemon, Event::Resumed { lv: None });
    assert!(ended_as(&daemon.alert("vg/data"), Outcome::Grown));
    assert!(ended_as(&daemon.alert("vg-2/logs"), Outcome::Grown));
}

#[test]
fn the_breaker_opens_after_failures_in_a_row_and_only_a_person_closes_it() {
    let world = World::usual();
    let mut daemon = world.daemon();
    let fail = |daemon: &Daemon, world: &World| {
        world.inject("vgcfgbackup", 0, Harm::Fails);
        world.minutes(11);
        word(&daemon.alert("vg/data")).to_owned()
    };
    for _ in 0..2 {
        assert_eq!(fail(&daemon, &world), "failed");
    }
    world.minutes(11);
    assert_eq!(word(&daemon.alert("vg/data")), "grown");
    fill(&world, "vg/data");
    for _ in 0..3 {
        assert_eq!(fail(&daemon, &world), "failed", "a success in between, so they are counted anew");
    }
    for _ in 0..3 {
        drop(daemon);
        world.minutes(60 * 24 * 7);
        daemon = world.daemon();
        assert!(refused(&daemon.alert("vg/data"), Code::BreakerOpen));
    }
    assert!(ended_as(&daemon.alert("vg/media"), Outcome::Grown), "each target has its own");
    say(&daemon, Event::Reset { lv: Some(lv("vg/data")) });
    assert!(ended_as(&daemon.alert("vg/data"), Outcome::Grown));
}

#[test]
fn budgets_roll_and_survive_restarts() {
    let world = World::new(
        HOST,
        &config("budget: { extensions: 2, per: 2h }, increment: 1GiB").replace("increment: 2GiB, ", ""),
    );
    let grow = || {
        world.minutes(11);
        fill(&world, "vg/data");
        word(&world.daemon().alert("vg/data")).to_owned()
    };
    assert_eq!((grow(), grow(), grow()), ("grown".into(), "grown".into(), "budget_exhausted".into()));
    world.minutes(60);
    assert_eq!(grow(), "budget_exhausted");
    // The first of the two is two hours old, the second is not.
    world.minutes(20);
    assert_eq!(grow(), "grown");
    let state = world.state();
    let now = world.sim.moment();
    assert_eq!(state.history(false).extensions_left(&world.config.targets[0], &world.config, &now), 0);
}

#[test]
fn a_budget_in_bytes_makes_the_last_step_smaller_and_the_groups_budget_counts_all_its_targets() {
    let group = "volume_groups: [{ name: vg, budget: { extensions: 3, per: 24h } }]\n";
    let world = World::new(HOST, &format!("{group}{}", config("budget: { bytes: 3GiB }")));
    let daemon = world.daemon();
    assert!(ended_as(&daemon.alert("vg/data"), Outcome::Grown));
    world.minutes(11);
    fill(&world, "vg/data");
    assert!(ended_as(&daemon.alert("vg/data"), Outcome::Grown));
    assert_eq!(world.extents("vg/data"), AFTER + 256, "1 GiB was left");
    assert!(ended_as(&daemon.alert("vg/media"), Outcome::Grown));
    world.minutes(11);
    fill(&world, "vg/media");
    let ended = daemon.alert("vg/media");
    assert!(refused(&ended, Code::BudgetExhausted), "{ended:?}");
    assert!(ended_as(&daemon.alert("vg-2/logs"), Outcome::Grown), "another group");
}

/// The cooldown is 10 minutes, and the clock is set by years in either direction: it ends after 10 minutes of time.
#[test]
fn no_clock_that_is_set_ends_a_cooldown_or_a_budget() {
    for years in [-30, 30] {
        let world = World::new(HOST, &config("budget: { extensions: 1, per: 2h }"));
        assert!(ended_as(&world.daemon().alert("vg/data"), Outcome::Grown));
        fill(&world, "vg/data");
        world.sim.set_clock(SignedDuration::from_hours(years * 8766));
        world.minutes(9);
        assert!(refused(&world.daemon().alert("vg/data"), Code::Cooldown), "{years} years");
        world.minutes(2);
        assert!(refused(&world.daemon().alert("vg/data"), Code::BudgetExhausted), "{years} years");
        world.minutes(110);
        assert!(ended_as(&world.daemon().alert("vg/data"), Outcome::Grown), "{years} years: time passes all the same");
    }
}

/// A host whose clock went wrong in one boot and is right in the next is neither open at once nor closed for years.
#[test]
fn a_clock_that_was_wrong_before_a_reboot_closes_nothing_for_long() {
    let world = World::usual();
    world.sim.set_clock(SignedDuration::from_hours(30 * 8766));
    assert!(ended_as(&world.daemon().alert("vg/data"), Outcome::Grown));
    fill(&world, "vg/data");
    world.sim.reboot();
    world.sim.set_clock(SignedDuration::from_hours(-30 * 8766));
    world.minutes(9);
    assert!(refused(&world.daemon().alert("vg/data"), Code::Cooldown));
    world.minutes(2);
    assert!(ended_as(&world.daemon().alert("vg/data"), Outcome::Grown));
}

/// Somebody's clock is set back after an operation was parked, as on a host that booted with a wrong one.
#[test]
fn no_clock_that_is_set_keeps_a_target_closed() {
    for years in [-30, 30] {
        let world = World::usual();
        world.inject("resize2fs", 0, Harm::Fails);
        let daemon = world.daemon();
        assert!(ended_as(&daemon.alert("vg/data"), Outcome::NeedsAttention));
        world.sim.set_clock(SignedDuration::from_hours(years * 8766));
        let pipeline = Pipeline(std::sync::Arc::clone(&daemon.0));
        pipeline.clear_what_is_mended().expect("writable");
        assert_eq!(world.state().parked.len(), 1, "{years} years: nothing is mended yet");
        world.sim.with(|model| grow_by_hand(model, "vg/data"));
        pipeline.clear_what_is_mended().expect("writable");
        assert!(world.state().parked.is_empty(), "{years} years");
    }
}

#[test]
fn a_window_is_in_local_time() {
    let world = World::new(HOST, &config("window: { from: \"08:00\", to: \"20:00\" }"));
    let mut config = (*world.config).clone();
    config.time_zone = jiff::tz::TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").expect("a zone");
    let world = World { config: std::sync::Arc::new(config), ..world };
    // Midnight UTC; eight in the morning there is seven.
    world.minutes(7 * 60 - 1);
    let ended = world.daemon().alert("vg/data");
    assert!(refused(&ended, Code::OutsideWindow), "{ended:?}");
    world.minutes(1);
    assert!(ended_as(&world.daemon().alert("vg/data"), Outcome::Grown));
}

/// The page's part about targets, with what they were refused lately.
fn metrics(world: &World, config: &Config, dry_run: bool, refused: Option<(&str, Code)>) -> String {
    let inventory =
        lvm_autoscaler::host::look(world.sim.as_ref(), lvm_autoscaler::host::Focus::Everything).expect("LVM answers");
    let latest = Latest::default();
    latest.set(Some(inventory), std::time::Duration::ZERO);
    let history = world.state().history(dry_run);
    let refused = |name: &LvRef| refused.filter(|(lv, _)| name.to_string() == *lv).map(|(_, code)| code);
    let known = Knowledge { history: &history, dry_run, refused: &refused, now: world.sim.moment() };
    let mut registry = prometheus_client::registry::Registry::default();
    registry.register_collector(Box::new(Targets::new(config, &latest.get(), &known)));
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).expect("encodes");
    text
}

fn assert_lines(text: &str, lines: &[&str]) {
    for line in lines {
        assert!(text.contains(&format!("{line}\n")), "{line}\n{text}");
    }
}

#[test]
fn the_metrics_of_a_target_say_what_holds_it_back() {
    let world = World::new(HOST, &config("budget: { extensions: 2, per: 2h }, breaker_failures: 1"));
    let daemon = world.daemon();
    daemon.alert("vg/data");
    world.inject("lvextend", 0, Harm::Fails);
    daemon.alert("vg/media");
    say(&daemon, Event::Paused { lv: Some(lv("vg-2/logs")) });
    assert_lines(
        &metrics(&world, &world.config, false, None),
        &[
            "lvm_autoscaler_target_budget_remaining_extensions{vg=\"vg\",lv=\"data\",mountpoint=\"/data\"} 1.0",
            "lvm_autoscaler_target_budget_remaining_extensions{vg=\"vg\",lv=\"media\",mountpoint=\"/media\"} 2.0",
            "lvm_autoscaler_target_breaker_open{vg=\"vg\",lv=\"data\",mountpoint=\"/data\"} 0.0",
            "lvm_autoscaler_target_breaker_open{vg=\"vg\",lv=\"media\",mountpoint=\"/media\"} 1.0",
            "lvm_autoscaler_target_acts{vg=\"vg\",lv=\"data\",mountpoint=\"/data\"} 1.0",
            "lvm_autoscaler_target_paused{vg=\"vg\",lv=\"data\",mountpoint=\"/data\"} 0.0",
            "lvm_autoscaler_target_paused{vg=\"vg-2\",lv=\"logs\",mountpoint=\"/logs\"} 1.0",
            "lvm_autoscaler_target_inode_threshold_ratio{vg=\"vg\",lv=\"data\",mountpoint=\"/data\"} 0.9",
            // It has grown, and its cooldown is not over: it would grow once that is.
            "lvm_autoscaler_target_can_act{vg=\"vg\",lv=\"data\",mountpoint=\"/data\"} 1.0",
            "lvm_autoscaler_target_can_act{vg=\"vg\",lv=\"media\",mountpoint=\"/media\"} 0.0",
            "lvm_autoscaler_target_held_back{vg=\"vg\",lv=\"media\",mountpoint=\"/media\",code=\"breaker_open\"} 1.0",
            "lvm_autoscaler_target_held_back{vg=\"vg-2\",lv=\"logs\",mountpoint=\"/logs\",code=\"paused\"} 1.0",
            "lvm_autoscaler_config_unmatched{kind=\"target\"} 0.0",
        ],
    );
    // An XFS makes inodes as it needs them.
    assert!(!metrics(&world, &world.config, false, None).contains("inode_threshold_ratio{vg=\"vg\",lv=\"media\""));
}

/// What would be decided if it were full, and nothing that is concluded from single metrics.
#[test]
fn whether_a_target_can_act_is_what_would_be_decided() {
    let held = |world: &World, config: &Config, dry_run, refused| -> Option<String> {
        let text = metrics(world, config, dry_run, refused);
        let start = "lvm_autoscaler_target_held_back{vg=\"vg\",lv=\"data\",mountpoint=\"/data\",code=\"";
        let code = text.lines().find_map(|line| Some(line.strip_prefix(start)?.split_once('"')?.0.to_owned()));
        let can = "lvm_autoscaler_target_can_act{vg=\"vg\",lv=\"data\",mountpoint=\"/data\"} 1.0\n";
        assert_eq!(text.contains(can), code.is_none(), "{text}");
        code
    };
    let quiet = || {
        let world = World::usual();
        // Below its threshold: only the question, not the usage, decides.
        world.sim.with(|model| model.lv("vg/data").and_then(|lv| lv.fs.as_mut()).expect("there").used.0 /= 2);
        world
    };
    let world = quiet();
    assert_eq!(held(&world, &world.config, false, None), None);
    assert_eq!(held(&world, &world.config, true, None).as_deref(), Some("dry_run"));
    let refused = Some(("vg/data", Code::FsNoOnlineGrowth));
    assert_eq!(held(&world, &world.config, false, refused).as_deref(), Some("fs_no_online_growth"));

    let with = |settings: &str| World::new(HOST, &config(settings));
    let spent = with("budget: { extensions: 1, per: 2h }");
    spent.daemon().alert("vg/data");
    for (world, code) in [
        (with("mode: recommend"), "recommended"),
        (with("mode: off"), "mode_off"),
        (with("max_size: 4GiB"), "at_max_size"),
        (spent, "budget_exhausted"),
        // The simulated clock begins at noon.
        (with("window: { from: \"02:00\", to: \"03:00\" }"), "outside_window"),
    ] {
        assert_eq!(held(&world, &world.config, false, None).as_deref(), Some(code));
    }
    for (harm, code) in [
        ((|model: &mut Model| model.lv("vg/data").expect("there").suspended = true) as fn(&mut Model), "lv_suspended"),
        (|model| model.lv("vg/data").and_then(|lv| lv.fs.as_mut()).expect("there").errors = 3, "fs_errors"),
        (|model| model.lv("vg/data").and_then(|lv| lv.fs.as_mut()).expect("there").read_only = true, "fs_read_only"),
    ] {
        let world = quiet();
        world.sim.with(harm);
        assert_eq!(held(&world, &world.config, false, None).as_deref(), Some(code));
    }
}

/// What the host does not have is one number, not series that go on.
#[test]
fn targets_that_are_not_on_the_host_are_counted() {
    let world = World::usual();
    let mut config = Config::clone(&world.config);
    config.targets[0].lv = lv("vg/gone");
    let text = metrics(&world, &config, false, None);
    assert_lines(&text, &["lvm_autoscaler_config_unmatched{kind=\"target\"} 1.0"]);
    assert!(!text.contains("lv=\"gone\""), "{text}");
}

/// Records and a checkpoint as the first version wrote them.
#[test]
fn an_old_journal_means_what_it_meant() {
    let plan = r#"{"lv":"vg/data","lv_uuid":"u","mount_point":"/data","kind":"ext4","reason":"r","before":1024,"after":1536,
        "extent_size":4194304,"usable_before":4000000000,"steps":[{"step":"extend_lv","lv":"vg/data","extents":1536,"extent_size":4194304}]}"#;
    let records = [
        format!(
            r#"{{"at":"2026-01-01T00:00:00Z","event":"planned","id":3,"request":null,"plan":{plan},"dry_run":false}}"#
        ),
        r#"{"at":"2026-01-01T00:00:09Z","event":"finished","id":3,"outcome":"grown","sentence":"s"}"#.to_owned(),
    ];
    let checkpoint = r#"{"last_number":2,"pending":{},"running":{},"parked":{},"last":{"vg/media":{"id":2,"at":"2025-12-31T00:00:00Z",
        "outcome":"grown"}},"last_dry_run":{},"last_refusal":{},"past":[]}"#;
    let mut state: State = serde_json::from_str(checkpoint).expect("an old checkpoint");
    for record in &records {
        state.apply(&serde_json::from_str::<Entry>(record).expect("an old record"));
    }
    let history = state.history(false);
    assert_eq!(history.last[&lv("vg/data")].at.to_string(), "2026-01-01T00:00:09Z");
    assert_eq!(history.last[&lv("vg/media")].at.to_string(), "2025-12-31T00:00:00Z");
    assert_eq!(history.extensions[&lv("vg/data")][0].bytes, gib(2));
    // And what is written now is read back.
    let text = serde_json::to_string(&state).expect("writes");
    assert_eq!(serde_json::from_str::<State>(&text).expect("reads"), state);
}

/// Each threshold of a pool is a metric, with which the shipped rules compare.
#[test]
fn the_thresholds_of_a_pool_are_metrics() {
    const HOST: &str = "
names: [db1]
volume_groups:
  - name: vg
    physical_volumes: [{ name: /dev/sdb, size: 20GiB }]
    logical_volumes: [{ name: pool, type: thin-pool, size: 4GiB, data_used: 50%, metadata_used: 30% }]
";
    let pool = "{ thin_pool: vg/pool, data_threshold_percent: 85, metadata_threshold_percent: 70 }";
    let world = World::new(HOST, &format!("monitor: {{ targets: [{pool}] }}"));
    let text = metrics(&world, &world.config, false, None);
    assert_lines(
        &text,
        &[
            "lvm_autoscaler_target_data_threshold_ratio{vg=\"vg\",lv=\"pool\",mountpoint=\"\"} 0.85",
            "lvm_autoscaler_target_metadata_threshold_ratio{vg=\"vg\",lv=\"pool\",mountpoint=\"\"} 0.7",
            "lvm_autoscaler_target_threshold_ratio{vg=\"vg\",lv=\"pool\",mountpoint=\"\"} 0.85",
        ],
    );
    assert!(!text.contains("inode_threshold_ratio{"), "{text}");
}
