//! The daemon is killed or told to stop again and again, wherever it happens to be, and what was accepted is finished
//! once. `make soak` does it 50 times.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use lvm_autoscaler::journal::State;
use lvm_autoscaler::name::LvRef;

use crate::daemon::{Daemon, config, labels};
use crate::grow::{assert_grown_once, small};
use crate::part::{self, Dice};
use crate::storage::{Group, Volume, path, sh};

/// So little over the threshold that one increment leads below it, however large the volume is by then.
const FULL: f64 = 81.0;
const SETTINGS: &str = "defaults: { cooldown: 0s, budget: { extensions: 100, bytes: 1TiB, per: 24h } }";

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn killed_or_terminated_at_any_moment_it_finishes_at_the_next_start_and_once() {
    let times = if part::is_soak() { 50 } else { 4 };
    let mut dice = Dice(part::seed("KILLS_SEED"));
    let groups = ["ext4", "xfs"].map(|kind| Group::new(&format!("vmt_kills_{kind}"), &["8G"]));
    let volumes = [groups[0].filesystem("ext4", "data", "64M"), groups[1].filesystem("xfs", "data", small("xfs"))];
    let data = volumes.each_ref().map(Volume::write_data);
    let config = config(&groups[0], &volumes.iter().collect::<Vec<_>>(), SETTINGS);
    let alert = |daemon: &Daemon| volumes.iter().for_each(|volume| drop(daemon.alert(&labels(volume))));
    let finished = |daemon: &Daemon| {
        daemon.wait_for("the end of everything", |daemon| {
            let state = daemon.journal();
            (state.running.is_empty() && state.pending.is_empty()).then_some(())
        });
    };

    // How long it takes undisturbed: the moments are spread over that, and a little beyond.
    volumes.iter().for_each(|volume| volume.fill(FULL));
    let daemon = Daemon::start(&groups[0], &config);
    let began = Instant::now();
    alert(&daemon);
    finished(&daemon);
    let span = began.elapsed() + Duration::from_millis(200);
    assert!(daemon.stop().success());

    let mut hits: BTreeMap<String, usize> = BTreeMap::new();
    for number in 0..times {
        volumes.iter().for_each(|volume| volume.fill(FULL));
        let before = volumes.each_ref().map(|volume| (volume.extents(), volume.df_size()));
        let daemon = Daemon::start(&groups[0], &config);
        alert(&daemon);
        std::thread::sleep(Duration::from_micros(dice.roll(span.as_micros() as u64)));
        for volume in &volumes {
            *hits.entry(position(&daemon.journal(), volume)).or_default() += 1;
        }
        if dice.roll(2) == 0 {
            daemon.kill();
        } else {
            assert!(daemon.stop().success(), "SIGTERM number {number}");
        }
        let daemon = Daemon::start(&groups[0], &config);
        finished(&daemon);
        for (volume, (extents, df_size)) in volumes.iter().zip(before) {
            assert_grown_once(volume, extents, df_size);
            assert_eq!(
                daemon.results(volume).last().map(|past| past.result.as_str().to_owned()).as_deref(),
                Some("grown")
            );
            assert_eq!(daemon.metric("lvm_autoscaler_target_needs_attention", &[("vg", &volume.vg)]), 0.0);
        }
        assert!(daemon.stop().success());
    }
    data.iter().for_each(crate::storage::Data::assert_intact);
    for (volume, check) in volumes.iter().zip([&["e2fsck", "-f", "-n"][..], &["xfs_repair", "-n"]]) {
        sh("umount", &[path(&volume.mount_point)]);
        sh(check[0], &[&check[1..], &[&volume.path()]].concat());
    }
    let hits: Vec<String> = hits.iter().map(|(step, count)| format!("{step} {count}")).collect();
    part::say(&format!("figures: {times} times SIGKILL or SIGTERM, volumes hit: {}", hits.join(", ")));
}

/// Where the operation on the volume is, as far as the journal knows.
pub(crate) fn position(state: &State, volume: &Volume) -> String {
    let name: LvRef = volume.name().parse().expect("a name");
    if let Some(running) = state.running.values().find(|running| running.plan.lv == name) {
        let step = |number: &usize| running.plan.steps[*number].as_str();
        return match (running.started.last(), running.done.last()) {
            (Some(started), done) if done.is_none_or(|done| done < started) => step(started).to_owned(),
            (_, Some(done)) => format!("after {}", step(done)),
            (_, None) => "planned".to_owned(),
        };
    }
    let received = state.pending.values().any(|pending| pending.lv == name);
    if received { "received" } else { "finished" }.to_owned()
}
