//! Policies at the program as it is shipped: alerts find what they select, pages say which of them it was, and a reload
//! puts others in force at once.

use std::time::{Duration, Instant};

use crate::common::place::{Place, Served, err, out};
use crate::common::server::Server;
use crate::common::{HOST, World};
use lvm_autoscaler::engine;
use lvm_autoscaler::host::sim::Harm;
use lvm_autoscaler::host::{Focus, look};
use lvm_autoscaler::plan::applied;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

const POLICIES: &str = "
defaults: { increment: 2GiB, max_size: 20GiB }
policies:
  - { name: xfs, match: { vg: 'vg*', fs: [xfs] }, increment: 1GiB }
  - { name: rest, match: { vg: vg, mount_point: /** } }
  - { name: elsewhere, match: { vg: other } }
";

/// Asks now and then: each answer costs the daemon as much as it costs the test.
fn eventually(what: &str, condition: impl Fn() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < Duration::from_secs(60), "did not happen: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn targets(served: &Served) -> Vec<Value> {
    let page: Value = serde_json::from_str(&served.get("/api/v1/targets")).expect("JSON");
    page["targets"].as_array().expect("a list").clone()
}

fn is_looked_at(served: &Served) {
    eventually("a first look", || served.get("/metrics").contains("lvm_autoscaler_operations_total{vg="));
}

#[test]
fn alerts_find_what_policies_select_and_pages_say_why() {
    let place = Place::new(POLICIES);
    let served = place.serve(&[]);
    is_looked_at(&served);
    let of: Vec<String> = targets(&served)
        .iter()
        .map(|target| format!("{}/{}: {}", target["vg"], target["lv"], target["origin"]["policy"]).replace('"', ""))
        .collect();
    assert_eq!(of, ["vg/data: rest", "vg/media: xfs"]);
    let place_of = &targets(&served)[1]["origin"];
    assert_eq!(place_of["line"], 4, "{place_of}");
    assert!(place_of["file"].as_str().is_some_and(|file| file.ends_with("config.yaml")), "{place_of}");
    let page = served.get("/");
    assert!(page.contains("policy <span title=") && page.contains(">xfs</span>"), "{page}");
    assert!(page.contains("1 of 3 policies selects nothing on this host: elsewhere"), "{page}");
    let metrics = served.get("/metrics");
    assert!(metrics.contains("lvm_autoscaler_config_unmatched{kind=\"policy\"} 1"), "{metrics}");
    // By the mount point, as node_exporter's rules name a volume.
    for (point, verdict) in [("/media", "accepted"), ("/data", "accepted"), ("/logs", "refused")] {
        let answer = served.alert(&[("instance", "db1:9100"), ("mountpoint", point)]);
        assert_eq!(answer["verdict"], verdict, "{answer}");
    }
    let has_grown = |lv: &str| {
        let series = format!("lvm_autoscaler_operations_total{{vg=\"vg\",lv=\"{lv}\",outcome=\"grown\"}} 1");
        served.get("/metrics").lines().any(|line| line == series)
    };
    eventually("both grew", || has_grown("data") && has_grown("media"));
    let size = |target: &Value| target["volume_bytes"].as_u64().expect("a size") >> 30;
    eventually("both are shown so", || targets(&served).iter().map(size).collect::<Vec<_>>() == [6, 5]);
    // A command takes the names that policies select, too.
    let output = place.run(&["pause", "/media", &place.config(), &place.host()]);
    assert_eq!(
        (output.status.code(), out(&output).as_str()),
        (Some(0), "vg/media: paused: it does not grow until `lvm-autoscaler resume vg/media`\n"),
        "{}",
        err(&output)
    );
    let (_, _, log) = served.end();
    assert_eq!(log.matches("a policy selects it, so it is a target").count(), 2, "{log}");
}

#[test]
fn a_reload_puts_other_policies_in_force_at_once() {
    let place = Place::new(POLICIES);
    let served = place.serve(&[]);
    is_looked_at(&served);
    let text = std::fs::read_to_string(place.path("config.yaml")).expect("a config");
    place.write("config.yaml", &text.replace("name: rest, match: { vg: vg,", "name: rest, match: { vg: '*',"));
    let output = place.run(&["reload", &place.config(), &place.host()]);
    assert_eq!(
        out(&output),
        "the config was read again and is in force: 0 targets and 3 policies, new: vg-2/logs\n",
        "{}",
        err(&output)
    );
    let answer = served.alert(&[("instance", "db1:9100"), ("mountpoint", "/logs")]);
    assert_eq!((&answer["verdict"], &answer["target"]), (&"accepted".into(), &"vg-2/logs".into()), "{answer}");
    // From policies to none and back: the daemon stays one that may grow things.
    place.write("config.yaml", &text.replace(POLICIES, ""));
    served.signal(Signal::SIGHUP);
    eventually("no target is left", || targets(&served).is_empty());
    place.write("config.yaml", &text);
    served.signal(Signal::SIGHUP);
    eventually("they are back", || targets(&served).len() == 2);
    let (_, _, log) = served.end();
    assert!(log.contains("no policy selects it any more, so it is no longer a target; its history is kept"), "{log}");
}

#[test]
fn check_config_shows_what_policies_select_on_a_host() {
    let place = Place::new("");
    let check = |config: &str| {
        place.write("config.yaml", config);
        let output = place.run(&["check-config", "--ignore-ownership", "--live", &place.host(), "config.yaml"]);
        (output.status.code(), out(&output) + &err(&output))
    };
    let (code, told) = check(POLICIES);
    assert_eq!(code, Some(0), "{told}");
    for line in [
        "config.yaml: valid, 0 targets and 3 policies\n",
        "  policy xfs (act) for vg vg*, fs xfs: above 80 % by 1 GiB, at most 20 GiB\n",
        "  note: the policy rest selects vg/data at /data (act)\n",
        "  note: 1 of 3 policies selects nothing on this host: elsewhere\n",
    ] {
        assert!(told.contains(line), "{line} is not in\n{told}");
    }
    // An exception that stands behind the rule, as from a file of config.d.
    let (code, told) = check(&format!("{POLICIES}  - {{ name: late, match: {{ vg: vg, lv: data }}, mode: 'off' }}\n"));
    assert_eq!(code, Some(0), "{told}");
    let note = "  note: the policy late decides about nothing here: rest, which stands before it, selects vg/data and all else \
                that it would select\n";
    assert!(told.contains(note), "{told}");
    let (code, told) = check(
        "policies: [{ name: a, match: { vg: vg, lv: dtaa }, mode: 'off' }, { name: b, match: { vg: vg }, max_size: 9GiB }]",
    );
    assert_eq!(code, Some(2), "{told}");
    assert!(
        told.contains(
            "config.yaml:1:30: policies[0].match: `lv: dtaa` of the policy a is not on this host and looks like data"
        ),
        "{told}"
    );
}

/// A look at the host, as the daemon's sampler does it.
fn sees(world: &World, server: &Server) {
    let inventory = look(world.sim.as_ref(), Focus::Everything).ok();
    inventory.iter().for_each(|inventory| server.context.in_force.change(|config| applied(config, inventory)));
    server.context.latest.set(inventory, Duration::from_millis(3));
}

/// What policies select is known after a look; what is missing from the payload would be lost for hours before one.
#[test]
fn alerts_that_are_missing_from_a_payload_come_again_after_the_first_look() {
    let world = World::new(HOST, POLICIES);
    let server = Server::without_inventory(&world, Some(engine::start(world.shared(false))));
    let labels = json!({ "instance": "db2", "vg": "vg", "lv": "data" });
    let alert = json!({ "status": "firing", "labels": labels, "fingerprint": "1" });
    let body = json!({ "version": "4", "truncatedAlerts": 7, "groupLabels": {}, "alerts": [alert] }).to_string();
    let answer = server.post(body.as_bytes());
    assert_eq!(answer.status, 503, "{}", answer.body);
    sees(&world, &server);
    let answer = server.post(body.as_bytes());
    assert_eq!(answer.status, 202, "{}", answer.body);
    let body: Value = serde_json::from_str(&answer.body).expect("JSON");
    assert_eq!(body["truncated"].as_array().map(Vec::len), Some(2), "{body}");
}

/// A volume that was made or mounted since the last look that succeeded may be a target by now.
#[test]
fn while_lvm_does_not_answer_an_alert_for_what_no_policy_selects_is_not_refused_for_good() {
    let world = World::new(HOST, POLICIES);
    let server = Server::without_inventory(&world, Some(engine::start(world.shared(false))));
    let is_mounted = |mounted: bool| {
        let set = |model: &mut lvm_autoscaler::host::sim::Model| {
            model.lv("vg/data").and_then(|lv| lv.fs.as_mut()).expect("a file system").mounted = mounted;
        };
        world.sim.with(set);
    };
    let alerts = |vg: &str, lv: &str| {
        let labels = json!({ "instance": "db1", "vg": vg, "lv": lv });
        let answer = server.alerts(json!([{ "status": "firing", "labels": labels, "fingerprint": "1" }]));
        (answer.status, answer.verdicts()[0].0.clone())
    };
    is_mounted(false);
    sees(&world, &server);
    assert_eq!(alerts("vg", "data"), (202, "refused".to_owned()));
    is_mounted(true);
    world.inject("fullreport", 0, Harm::TimesOut);
    sees(&world, &server);
    assert_eq!(alerts("vg", "data"), (503, "not_accepted".to_owned()));
    assert_eq!(alerts("vg", "media"), (202, "accepted".to_owned()));
    sees(&world, &server);
    assert_eq!(alerts("vg", "data"), (202, "accepted".to_owned()));
}

/// It is unmounted to be repaired, and that must not end the alert that says that it has to be.
#[test]
fn what_stopped_half_way_is_seen_while_it_is_unmounted() {
    let world = World::new(HOST, POLICIES);
    let server = Server::start(&world);
    world.inject("resize2fs", 0, Harm::Fails);
    let labels = json!({ "instance": "db1", "vg": "vg", "lv": "data" });
    server.alerts(json!([{ "status": "firing", "labels": labels, "fingerprint": "1" }]));
    server.idle();
    let attention =
        || server.metric("lvm_autoscaler_target_needs_attention{vg=\"vg\",lv=\"data\",mountpoint=\"/data\"}");
    assert_eq!(attention().as_deref(), Some("1.0"));
    world.sim.with(|model| model.lv("vg/data").and_then(|lv| lv.fs.as_mut()).expect("a file system").mounted = false);
    sees(&world, &server);
    assert_eq!(attention().as_deref(), Some("1.0"));
    let page = server.get("/metrics").body;
    assert!(!page.contains("lvm_autoscaler_target_can_act{vg=\"vg\",lv=\"data\""), "it is no target");
}
