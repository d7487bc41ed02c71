//! What the config names and the host does not have: it costs a line, closes what it may have meant, and is told.

use std::time::{Duration, Instant};

use crate::common::CONFIG;
use crate::common::place::{Place, Served, out};
use nix::sys::signal::Signal;

/// Asks until the first look at LVM has been shown.
fn metrics(served: &Served) -> String {
    let begun = Instant::now();
    loop {
        let page = served.get("/metrics");
        if page.contains("lvm_autoscaler_target_threshold_ratio{")
            && page.contains("lvm_autoscaler_operations_total{vg=")
        {
            return page;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "{page}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn with_absent(count: usize) -> String {
    let absent: String = (0..count)
        .map(|n| format!("    - {{ lv_path: /dev/elsewhere/lv{n}, mount_point: /elsewhere/{n} }}\n"))
        .collect();
    CONFIG.replace("  targets:\n", &format!("  targets:\n{absent}"))
}

#[test]
fn five_hundred_targets_of_other_hosts_cost_a_line() {
    let page_of = |config: &str| {
        let place = Place::new(config);
        let served = place.serve(&[]);
        let (metrics, page) = (metrics(&served), served.get("/"));
        let targets = served.get("/api/v1/targets");
        let (_, _, log) = served.end();
        (metrics, page, targets, log)
    };
    let (without, with) = (page_of(CONFIG), page_of(&with_absent(500)));
    let series = |page: &str| page.lines().filter(|line| !line.starts_with('#')).count();
    assert_eq!(series(&without.0), series(&with.0));
    assert!(with.0.contains("lvm_autoscaler_config_unmatched{kind=\"target\"} 500"), "{}", with.0);
    assert!(!with.0.contains("elsewhere"));
    let line = "500 of 503 targets are not on this host: elsewhere/lv0, elsewhere/lv1, elsewhere/lv2 and 497 more";
    // The page escapes slashes.
    assert!(with.1.contains("500 of 503 targets are not on this host"), "{}", with.1);
    assert_eq!(
        (with.1.matches("card target").count(), with.1.matches("elsewhere").count()),
        (without.1.matches("card target").count(), 3)
    );
    assert!(with.2.contains(line) && with.2.matches("elsewhere").count() == 3, "{}", with.2);
    assert_eq!(with.3.lines().filter(|log| log.contains(line)).count(), 1, "{}", with.3);
    assert_eq!(with.3.matches("elsewhere").count(), 3, "{}", with.3);
}

#[test]
fn a_misspelt_group_closes_the_one_that_was_meant_and_is_told_everywhere() {
    let config = format!("{CONFIG}volume_groups: [{{ name: v-g, reserve: 50% }}, {{ name: other, reserve: 1GiB }}]\n");
    let place = Place::new(&config);
    let output = place.run(&["plan", "/data", &place.config(), &place.host()]);
    let suspicion =
        "v-g in volume_groups is not on this host and looks like vg, which has no entry there: correct the name";
    let told = out(&output);
    assert_eq!(output.status.code(), Some(3), "{told}");
    assert!(told.contains("REFUSE") && told.matches(suspicion).count() == 3, "{told}");
    assert!(told.ends_with("volume_groups names other, which is not on this host\n"), "{told}");

    let served = place.serve(&[]);
    let page = metrics(&served);
    for line in [
        "lvm_autoscaler_config_unmatched{kind=\"volume_group\"} 2",
        "lvm_autoscaler_target_held_back{vg=\"vg\",lv=\"data\",mountpoint=\"/data\",code=\"config_suspect\"} 1",
        "lvm_autoscaler_target_can_act{vg=\"vg\",lv=\"data\",mountpoint=\"/data\"} 0",
    ] {
        assert!(page.contains(line), "{line} is not in\n{page}");
    }
    assert!(served.get("/").contains("looks like vg, which has no entry there"));
    // A reload tells it again, one that corrects it does not.
    served.signal(Signal::SIGHUP);
    std::thread::sleep(Duration::from_secs(1));
    let text = std::fs::read_to_string(place.path("config.yaml")).expect("a config");
    place.write("config.yaml", &text.replace("v-g", "vg").replace("{ name: other, reserve: 1GiB }", ""));
    served.signal(Signal::SIGHUP);
    std::thread::sleep(Duration::from_secs(1));
    let corrected = metrics(&served);
    assert!(corrected.contains("lvm_autoscaler_config_unmatched{kind=\"volume_group\"} 0"), "{corrected}");
    assert!(!corrected.contains("code=\"config_suspect\"} 1"), "{corrected}");
    let (_, _, log) = served.end();
    assert_eq!(log.lines().filter(|line| line.contains(suspicion) && line.contains("level=error")).count(), 2, "{log}");
}

#[test]
fn a_config_is_compared_with_the_host() {
    let place = Place::new("");
    let check = |config: &str| {
        place.write("config.yaml", config);
        let output = place.run(&["check-config", "--ignore-ownership", "--live", &place.host(), "config.yaml"]);
        (output.status.code(), out(&output) + &crate::common::place::err(&output))
    };
    let (code, told) = check(
        "monitor:
  targets:
    - { lv_path: vg/data, mount_point: /dta, max_size: 1MiB }
    - { lv_path: vg/medai, mount_point: /media }
    - { lv_path: vg-2/logs, mount_point: /logs, max_size: 4GiB }
volume_groups:
  - { name: v-g, reserve: 50% }
  - { name: vg-2, reserve: 100% }
",
    );
    assert_eq!(code, Some(2));
    assert_eq!(
        told,
        "lvm-autoscaler: 5 errors
config.yaml:3:40: monitor.targets[0].mount_point: vg/data is mounted at /data, not at /dta
config.yaml:3:56: monitor.targets[0].max_size: 1 MiB is less than vg/data has now, 4 GiB: it could never grow
config.yaml:4:18: monitor.targets[1].lv_path: vg/medai is not on this host, did you mean vg/media?
config.yaml:7:13: volume_groups[0].name: v-g is not on this host and looks like vg, which has no entry: correct the name, or \
give vg an entry of its own, such as { name: vg, reserve: 0 }
config.yaml:8:28: volume_groups[1].reserve: 20 GiB is all of vg-2 (20 GiB): nothing in it could ever grow
"
    );
    let (code, told) = check(
        "monitor:
  targets:
    - { lv_path: vg/data, mount_point: /data, max_size: 1TiB }
    - { lv_path: vg-2/logs, mount_point: /logs, threshold_percent: 90, max_size: 8GiB }
    - { lv_path: other/lv, mount_point: /other }
volume_groups: [{ name: vg, reserve: 50%, budget: { bytes: 1TiB } }]
",
    );
    let notes: Vec<&str> = told.lines().filter_map(|line| line.strip_prefix("  note: ")).collect();
    assert_eq!(
        (code, notes),
        (
            Some(0),
            vec![
                "the budget of 1 TiB for vg cannot bind: vg has 20 GiB",
                "max_size 1 TiB of vg/data cannot bind: that is 1020 GiB more than it has, and vg has 2 GiB to give",
                "/data: 85 % full now, above 80 %: it would grow at once, see plan",
                "1 of 3 targets is not on this host: other/lv",
            ]
        ),
        "{told}"
    );
}
