//! Strangers have alerts refused, as fast as they can, so that what was done can no longer be found: in the log, in the
//! audit log, in the journal, in the API.

use std::io::{BufReader, Read, Write};
use std::time::Duration;

use lvm_autoscaler::journal::Journal;
use serde_json::{Value, json};

use crate::common::place::{Place, Served, out};
use crate::common::server::{Answer, kept};
use crate::common::{CONFIG, eventually};
use crate::state::{Daemon, alerts, firing, post};

/// In one flood; on the machine of the first report it was a second of them.
const FLOOD: usize = 3000;

/// Sends requests one after the other on one connection; how many were answered with each of these.
fn flood(daemon: &Daemon, count: usize, request: impl Fn(usize) -> String, statuses: [u16; 2]) -> [usize; 2] {
    let mut found = [0, 0];
    let mut stream = kept(daemon.address).expect("it listens");
    for number in 0..count {
        stream.get_mut().write_all(request(number).as_bytes()).expect("sent");
        let status = Answer::next(&mut stream).expect("an answer").status;
        let place = statuses.iter().position(|known| *known == status).expect("a known status");
        found[place] += 1;
    }
    found
}

/// The log, while the daemon writes it, and at its end. A pipe that nobody reads would hold the daemon up.
pub(crate) fn read_log(served: &mut Served) -> std::thread::JoinHandle<String> {
    let stderr = std::mem::replace(&mut served.log, BufReader::new(piped()));
    let mut begun = served.begun.clone();
    std::thread::spawn(move || {
        let mut stderr = stderr;
        stderr.read_to_string(&mut begun).expect("text");
        begun
    })
}

/// A pipe that is at its end.
#[expect(clippy::disallowed_methods, reason = "only for its standard error")]
fn piped() -> std::process::ChildStderr {
    let child = std::process::Command::new("true").stderr(std::process::Stdio::piped()).spawn();
    let mut child = child.expect("it runs");
    child.wait().expect("a child");
    child.stderr.take().expect("piped")
}

fn audited(place: &Place) -> Vec<Value> {
    let mut lines = Vec::new();
    for name in ["audit.jsonl.simulated.2", "audit.jsonl.simulated.1", "audit.jsonl.simulated"] {
        let text = std::fs::read_to_string(place.path(name)).unwrap_or_default();
        lines.extend(text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON")));
    }
    lines
}

/// A host on which one operation was done, and the evidence of it is looked for after a flood.
fn assert_survives(count: usize, request: impl Fn(usize) -> String, statuses: [u16; 2]) -> (Vec<Value>, String, Place) {
    let place = Place::new("");
    let audit = format!("audit: {{ file: {}, max_size: 1MiB, keep: 2 }}", place.path("audit.jsonl").display());
    let state = format!("state: {{ directory: {} }}", place.path("state").display());
    place.write("config.yaml", &format!("{CONFIG}\n{audit}\n{state}\n"));
    let mut daemon = Daemon::start(&place);
    let log = read_log(&mut daemon.served);
    daemon.grows_data();
    let records = || Journal::peek(&place.path("state/simulated")).expect("a journal").records;
    let before = records();
    flood(&daemon, count, request, statuses);
    // The others are still served.
    assert_eq!(daemon.alert("vg", "media"), 202);
    eventually("it has grown", || daemon.extents("media") == 1536);

    let recent = daemon.json("/api/v1/operations")["recent"].as_array().expect("a list").clone();
    let grown = recent.iter().filter(|each| each["result"] == "grown").count();
    assert_eq!(grown, 2, "the API shows what was done");
    let written = records() - before;
    assert!(written < 300, "{written} records of {count} requests");
    let metrics = daemon.get("/metrics").1;
    let counter = |name: &str| {
        let line = metrics.lines().find_map(|line| line.strip_prefix(name)).expect("a metric");
        line.trim().parse::<f64>().expect("a number") as usize
    };
    assert!(counter("lvm_autoscaler_log_lines_left_out_total") > count / 2);
    daemon.served.signal(nix::sys::signal::Signal::SIGTERM);
    let log = log.join().expect("no panic");
    drop(daemon);
    let lines = log.lines().count();
    assert!(lines < 300, "{lines} lines of {count} requests");
    let left_out: usize = log
        .lines()
        .filter(|line| line.contains("more like this"))
        .filter_map(|line| line.split("more=").nth(1)?.split(' ').next()?.parse::<usize>().ok())
        .sum();
    assert!(left_out > count / 2, "the log says how much it left out: {left_out}");
    assert!(log.contains("vg/data grew from"), "{log}");
    let history = out(&place.run(&["history", &place.config(), &place.host()]));
    assert_eq!(history.lines().filter(|line| line.contains(" grew from ")).count(), 2, "{history}");
    let audited = audited(&place);
    let results = audited.iter().filter(|line| line["event"] == "result").count();
    assert_eq!(results, 2, "the audit log has what was done");
    (audited, log, place)
}

/// Each names no target of this host, in one of three ways.
fn nameless(number: usize) -> String {
    let labels = match number % 3 {
        0 => json!({ "instance": "db1", "vg": "vg", "lv": format!("none{number}") }),
        1 => json!({ "instance": format!("elsewhere{number}"), "vg": "vg", "lv": "data" }),
        _ => json!({ "instance": "db1", "alertname": "Filling" }),
    };
    post(&alerts(json!([firing(labels)])), "keep-alive")
}

#[test]
fn alerts_that_name_no_target_wash_nothing_out() {
    let (audited, ..) = assert_survives(FLOOD, nameless, [202, 202]);
    // Each refusal is counted, written down or not.
    let refused = |line: &&Value| line["decision"] == "refused" && line["vg"].is_null();
    let counted: u64 = audited.iter().filter(refused).map(|line| 1 + line["more"].as_u64().unwrap_or(0)).sum();
    assert_eq!(counted, FLOOD as u64);
    let lines = audited.iter().filter(refused).count();
    assert!((40..150).contains(&lines), "{lines} lines");
}

/// One request with as many as it can hold.
#[test]
fn nor_do_requests_full_of_them() {
    let many: Vec<Value> =
        (0..500).map(|n| firing(json!({ "instance": "db1", "vg": "vg", "lv": format!("none{n}") }))).collect();
    let body = post(&alerts(Value::from(many)), "keep-alive");
    assert_survives(60, |_| body.clone(), [202, 202]);
}

#[test]
fn an_alert_for_a_target_that_is_refused_again_and_again_washes_nothing_out() {
    let labels = json!({ "instance": "db1", "vg": "vg", "lv": "data" });
    let body = post(&alerts(json!([firing(labels)])), "keep-alive");
    // Slow enough that each of them was looked at.
    let request = |_| {
        std::thread::sleep(Duration::from_millis(2));
        body.clone()
    };
    let place = Place::new("");
    let audit = format!("audit: {{ file: {} }}", place.path("audit.jsonl").display());
    let state = format!("state: {{ directory: {} }}", place.path("state").display());
    place.write("config.yaml", &format!("{CONFIG}\n{audit}\n{state}\n"));
    let mut daemon = Daemon::start(&place);
    let log = read_log(&mut daemon.served);
    daemon.grows_data();
    flood(&daemon, 1000, request, [202, 202]);
    assert_eq!(daemon.alert("vg", "media"), 202);
    eventually("the others of its group are not held up", || daemon.extents("media") == 1536);
    let records = Journal::peek(&place.path("state/simulated")).expect("a journal").records;
    assert!(records < 150, "{records} records");
    daemon.served.signal(nix::sys::signal::Signal::SIGTERM);
    let log = log.join().expect("no panic");
    assert!(log.lines().count() < 150, "{} lines", log.lines().count());
    drop(daemon);
    // What waits is not lost: it is looked at after the next start.
    let waiting = Journal::peek(&place.path("state/simulated")).expect("a journal").pending.len();
    assert_eq!(waiting, 1);
    let daemon = Daemon::start(&place);
    daemon.becomes_ready();
    eventually("it was looked at", || {
        Journal::peek(&place.path("state/simulated")).expect("a journal").pending.is_empty()
    });
}

/// While the journal cannot be written each alert is an error.
#[test]
fn a_journal_that_cannot_be_written_does_not_fill_the_log() {
    let place = Place::new(CONFIG);
    let mut daemon = Daemon::start(&place);
    let log = read_log(&mut daemon.served);
    // Where something was written down no journal is begun anew.
    daemon.grows_data();
    let body = post(&alerts(json!([firing(json!({ "instance": "db1", "vg": "vg", "lv": "data" }))])), "keep-alive");
    crate::state::rename(&place.path("state"), &place.path("aside"));
    let answered = flood(&daemon, FLOOD, |_| body.clone(), [503, 202]);
    assert_eq!(answered, [FLOOD, 0]);
    daemon.served.signal(nix::sys::signal::Signal::SIGTERM);
    let log = log.join().expect("no panic");
    assert!(log.lines().count() < 100, "{} lines", log.lines().count());
    assert!(log.contains("more like this"), "{log}");
}

/// Before anybody asked for a credential.
#[test]
fn unsigned_requests_do_not_fill_the_log() {
    let place = Place::new("");
    place.write("key", "k");
    let webhook = format!("webhook: {{ grafana_hmac_secret_file: {} }}", place.path("key").display());
    let state = format!("state: {{ directory: {} }}", place.path("state").display());
    place.write("config.yaml", &format!("{CONFIG}\n{webhook}\n{state}\n"));
    let mut daemon = Daemon::start(&place);
    let log = read_log(&mut daemon.served);
    let unsigned = post("{}", "keep-alive").replace("/webhook/alertmanager", "/webhook/grafana");
    assert_eq!(flood(&daemon, FLOOD, |_| unsigned.clone(), [401, 202]), [FLOOD, 0]);
    daemon.served.signal(nix::sys::signal::Signal::SIGTERM);
    let log = log.join().expect("no panic");
    assert!(log.lines().count() < 100, "{} lines", log.lines().count());
}
