//! The network edge, over a real socket: what is answered to Prometheus, to Alertmanager, and to those who are neither.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use crate::common::server::{Answer, DEADLINE, Server, firing};
use crate::common::*;
use lvm_autoscaler::control::{self, Control};
use lvm_autoscaler::engine;
use lvm_autoscaler::host::sim::Harm;
use lvm_autoscaler::host::{Focus, look};
use serde_json::{Value, json};

#[test]
fn metrics_come_in_the_format_that_was_asked_for() {
    let world = World::usual();
    let server = Server::start(&world);
    let text = server.get("/metrics");
    assert_eq!(text.status, 200);
    assert_eq!(text.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert!(text.body.contains("lvm_lv_size_bytes{vg=\"vg\",lv=\"data\"} 4294967296"), "{}", text.body);
    assert!(text.body.contains("lvm_up 1") && !text.body.contains("# EOF"));
    let open = server.ask("GET", "/metrics", "Accept: application/openmetrics-text; version=1.0.0\r\n");
    assert_eq!(open.header("content-type"), Some("application/openmetrics-text; version=1.0.0; charset=utf-8"));
    assert!(open.body.ends_with("# EOF\n"));
    assert_eq!(server.ask("HEAD", "/metrics", "").body, "");
}

#[test]
fn the_small_pages_answer() {
    let world = World::usual();
    let server = Server::start(&world);
    let landing = server.get("/");
    assert_eq!((landing.status, landing.header("content-type")), (200, Some("text/html; charset=utf-8")));
    assert!(
        landing.body.contains("3 targets may grow") && landing.body.contains("href=\"&#x2f;metrics\""),
        "{}",
        landing.body
    );
    assert_eq!(server.get("/-/healthy").status, 200);
    assert_eq!(server.get("/-/ready").body, "ready\n");
    assert_eq!(server.get("/nothing").status, 404);
    assert_eq!(server.get("/metrics/").status, 404);
}

#[test]
fn only_what_changes_nothing_is_a_get_and_only_the_webhook_a_post() {
    let world = World::usual();
    let server = Server::start(&world);
    for path in
        ["/", "/metrics", "/-/healthy", "/-/ready", "/api/v1/inventory", "/api/v1/targets", "/api/v1/operations"]
    {
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "MADEUP"] {
            let answer = server.ask(method, path, "Content-Length: 0\r\n");
            assert_eq!((answer.status, answer.header("allow")), (405, Some("get, head")), "{method} {path}");
        }
    }
    for method in ["GET", "HEAD", "PUT"] {
        let answer = server.ask(method, "/webhook/alertmanager", "");
        assert_eq!((answer.status, answer.header("allow")), (405, Some("post")), "{method}");
    }
    assert!(world.sim.changes().is_empty());
}

#[test]
fn before_the_first_inventory_it_is_healthy_and_not_ready() {
    let world = World::usual();
    let server = Server::without_inventory(&world, None);
    assert_eq!(server.get("/-/healthy").status, 200);
    let ready = server.get("/-/ready");
    assert_eq!(ready.status, 503);
    assert!(ready.body.contains("lvm fullreport"), "{}", ready.body);
    let metrics = server.get("/metrics");
    assert_eq!(metrics.status, 200);
    assert!(metrics.body.contains("lvm_up 0"));
}

#[test]
fn an_alert_is_on_disk_when_it_is_answered_and_grows_its_volume() {
    let world = World::usual();
    let server = Server::start(&world);
    let answer = server.alerts(json!([
        firing(json!({ "instance": "db1:9100", "device": "/dev/mapper/vg-data", "mountpoint": "/data", "fstype": "ext4" })),
        firing(json!({ "instance": "db1:9100", "vg": "vg", "lv": "data" })),
        firing(json!({ "instance": "db2:9100", "vg": "vg", "lv": "media" })),
        firing(json!({ "instance": "db1:9100", "vg": "vg", "lv": "nothing" })),
        firing(json!({ "instance": "db1:9100", "vg": "vg", "lv": "data", "mountpoint": "/media" })),
        { "status": "resolved", "labels": { "instance": "db1", "vg": "vg", "lv": "media" } },
    ]));
    assert_eq!((answer.status, answer.header("content-type")), (202, Some("application/json")));
    let verdicts = answer.verdicts();
    let expected = [
        ("accepted", ""),
        ("coalesced", ""),
        ("refused", "other_host"),
        ("refused", "unknown_target"),
        ("refused", "ambiguous_alert"),
        ("resolved", ""),
    ];
    assert_eq!(verdicts, expected.map(|(verdict, code)| (verdict.to_owned(), code.to_owned())));
    // 1 is the request; a worker that was quick has made it operation 2 by now.
    assert!(world.state().last_number >= 1, "written down before it was answered");
    server.idle();
    assert_eq!((world.extents("vg/data"), world.fills("vg/data")), (AFTER, true));
    assert_eq!(world.extents("vg/media"), BEFORE);
    assert_eq!(server.metric("lvm_autoscaler_alerts_total{verdict=\"refused\"}").as_deref(), Some("3"));
    assert_eq!(server.metric("lvm_autoscaler_webhook_requests_total{code=\"202\"}").as_deref(), Some("1"));
    let grown = "lvm_autoscaler_operations_total{vg=\"vg\",lv=\"data\",outcome=\"grown\"}";
    // Counted after it is on disk, so a moment later.
    eventually("it is counted", || server.metric(grown).as_deref() == Some("1"));
}

/// An address that comes after the start, as by DHCP, and one that moves to another host, as that of a cluster does.
#[test]
fn which_host_this_is_may_change_while_the_daemon_runs() {
    let world = World::usual();
    let server = Server::start(&world);
    let verdicts = || {
        let asked = |instance| firing(json!({ "instance": instance, "vg": "vg", "lv": "data" }));
        let answer = server.alerts(json!([asked("192.0.2.7:9100"), asked("192.0.2.100:9100")]));
        answer.verdicts().into_iter().map(|(_, code)| code).collect::<Vec<_>>()
    };
    world.sim.with(|model| model.names = vec!["db1".to_owned(), "192.0.2.100".to_owned()]);
    assert_eq!(verdicts(), ["other_host", ""]);
    world.sim.with(|model| model.names = vec!["db1".to_owned(), "192.0.2.7".to_owned()]);
    assert_eq!(verdicts(), ["", "other_host"]);
}

#[test]
fn what_is_resolved_does_nothing() {
    let world = World::usual();
    let server = Server::start(&world);
    let resolved = json!({ "status": "resolved", "labels": { "instance": "db1", "vg": "vg", "lv": "data" } });
    let answer = server.alerts(json!([resolved]));
    assert_eq!((answer.status, answer.verdicts()), (202, vec![("resolved".to_owned(), String::new())]));
    assert_eq!(server.alerts(json!([])).status, 202);
    assert_eq!(world.state().last_number, 0);
    assert!(world.sim.changes().is_empty());
}

/// A payload as Grafana sends it: what has a number grows its volume, what fires for want of one is passed over.
#[test]
fn grafana_is_understood_and_missing_data_alone_grow_nothing() {
    let world = World::usual();
    let server = Server::start(&world);
    let body = include_bytes!("../data/payloads/grafana.json");
    let answer = server.post_to("/webhook/grafana", "", body);
    assert_eq!(answer.status, 202, "{}", answer.body);
    let verdicts: Vec<String> = answer.verdicts().into_iter().map(|(verdict, _)| verdict).collect();
    // The fourth is one that Grafana keeps while there is no data: it fired because of a number.
    assert_eq!(verdicts, ["accepted", "ignored", "ignored", "accepted", "resolved"]);
    server.idle();
    assert_eq!((world.extents("vg/data"), world.extents("vg/media")), (AFTER, AFTER));
    // Each sender has its own path.
    assert_eq!(server.post(body).status, 400);
    assert_eq!(server.post_to("/webhook/grafana", "", br#"{"version":"4","alerts":[]}"#).status, 400);
}

#[test]
fn what_grafana_did_not_sign_is_a_401_and_a_new_key_holds_at_once() {
    let keys = tempfile::tempdir().expect("a folder");
    let file = keys.path().join("grafana.key");
    #[expect(clippy::disallowed_methods, reason = "a test")]
    let write = |key: &str| std::fs::write(&file, key).expect("written");
    let config = format!("{CONFIG}webhook: {{ grafana_hmac_secret_file: {} }}\n", file.display());
    let world = World::new(HOST, &config);
    let server = Server::start(&world);
    let body = include_bytes!("../data/payloads/grafana.json");
    let sign = |key: &str| {
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, key.as_bytes());
        let digits: String = ring::hmac::sign(&key, body).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        format!("X-Grafana-Alerting-Signature: {digits}\r\n")
    };
    let ask = |headers: &str| server.post_to("/webhook/grafana", headers, body).status;
    assert_eq!(ask(&sign("first")), 503, "there is no key to compare with");
    write("first\n");
    assert_eq!((ask(""), ask(&sign("second")), ask("X-Grafana-Alerting-Signature: first\r\n")), (401, 401, 401));
    write("second\n");
    assert_eq!(ask(&sign("first")), 401);
    assert_eq!(world.state().last_number, 0, "nothing of all that is in the journal");
    assert_eq!(ask(&sign("second")), 202);
    // The key is Grafana's; Alertmanager does not sign.
    assert_eq!(server.alerts(json!([])).status, 202);
}

/// What is not in the body could be about any target, so all are looked at; the look decides.
#[test]
fn alerts_that_are_missing_from_a_payload_make_all_targets_be_looked_at() {
    let world = World::usual();
    world.sim.with(|model| {
        let fs = model.lv("vg-2/logs").and_then(|lv| lv.fs.as_mut()).expect("there");
        fs.used = lvm_autoscaler::units::Bytes(1 << 20);
    });
    let server = Server::start(&world);
    let send = |group: Value, status: &str| {
        let alert = firing(json!({ "instance": "db1", "vg": "vg", "lv": "data" }));
        let body =
            json!({ "version": "4", "status": status, "truncatedAlerts": 7, "groupLabels": group, "alerts": [alert] });
        let answer = server.post(body.to_string().as_bytes());
        assert_eq!(answer.status, 202);
        let body: Value = serde_json::from_str(&answer.body).expect("JSON");
        body["truncated"].as_array().map_or(0, Vec::len)
    };
    assert_eq!(send(json!({ "instance": "db2:9100" }), "firing"), 0, "the group is another host's");
    assert_eq!(send(json!({}), "resolved"), 0, "nothing of the group fires");
    server.idle();
    assert_eq!((world.extents("vg/media"), world.extents("vg-2/logs")), (BEFORE, BEFORE));
    assert_eq!(send(json!({ "instance": "db1:9100" }), "firing"), 2);
    server.idle();
    assert_eq!(
        (world.extents("vg/media"), world.extents("vg-2/logs")),
        (AFTER, BEFORE),
        "only what is over its threshold"
    );
}

#[test]
fn alerts_that_do_not_match_are_passed_over() {
    let world =
        World::new(HOST, &format!("{CONFIG}webhook: {{ match: ['severity=~\"warning|critical\"', 'team!=web'] }}\n"));
    let server = Server::start(&world);
    let alert = |severity: &str, team: &str| {
        firing(json!({ "instance": "db1", "vg": "vg", "lv": "data", "severity": severity, "team": team }))
    };
    let answer = server.alerts(json!([alert("info", "db"), alert("warning", "web"), alert("critical", "db")]));
    let verdicts: Vec<String> = answer.verdicts().into_iter().map(|(verdict, _)| verdict).collect();
    assert_eq!(verdicts, ["ignored", "ignored", "accepted"]);
    assert!(answer.body.contains("do not match severity=~"), "{}", answer.body);
}

#[test]
fn what_is_no_payload_is_a_400_that_says_why() {
    let world = World::usual();
    let server = Server::start(&world);
    let deep = format!("{{\"version\":\"4\",\"x\":{}", "[".repeat(100_000));
    for (body, says) in [
        (&b""[..], "not an Alertmanager payload"),
        (b"{}", "missing field"),
        (b"\xff\xfe", "not an Alertmanager payload"),
        (br#"{"version":"1","alerts":[]}"#, "expected \"4\""),
        (br#"{"version":"4","alerts":[{"status":"firing","labels":{"a":["b"]}}]}"#, "expected a string"),
        (deep.as_bytes(), "not an Alertmanager payload"),
    ] {
        let answer = server.post(body);
        assert_eq!(answer.status, 400, "{}", String::from_utf8_lossy(&body[..body.len().min(60)]));
        assert!(answer.body.contains(says), "{}", answer.body);
    }
}

#[test]
fn large_and_slow_bodies_are_cut_off() {
    let world = World::usual();
    let server = Server::start(&world);
    assert_eq!(server.post(&vec![b' '; 1 << 20]).status, 400, "as large as may be, and no JSON");
    // The head alone tells; nothing of the body need be sent.
    let head = "POST /webhook/alertmanager HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n";
    let announced = server.raw(format!("{head}Content-Length: 1048577\r\n\r\n").as_bytes());
    assert_eq!(announced.status, 413, "{}", announced.head);
    let mut chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n").into_bytes();
    for _ in 0..17 {
        chunked.extend(b"10000\r\n");
        chunked.extend([b' '; 0x10000]);
        chunked.extend(b"\r\n");
    }
    assert_eq!(server.raw(&chunked).status, 413);
    let slow = server.raw(format!("{head}Content-Length: 100\r\n\r\n{{\"version\":").as_bytes());
    assert_eq!(slow.status, 408);
    // Who goes away in the middle is no error of ours.
    let mut gone = server.connect();
    gone.write_all(format!("{head}Content-Length: 100\r\n\r\n{{").as_bytes()).expect("sent");
    gone.shutdown(Shutdown::Write).expect("closed");
    assert_eq!(Answer::read(&mut gone).status, 400);
    assert_eq!(server.get("/-/healthy").status, 200);
}

#[test]
fn what_cannot_be_accepted_now_is_a_503_so_that_it_comes_again() {
    let alert = || json!([firing(json!({ "instance": "db1", "vg": "vg", "lv": "data" }))]);

    let world = World::usual();
    let server = Server::without_inventory(&world, Some(engine::start(world.shared(false))));
    let unclear = json!([firing(json!({ "instance": "db1", "device": "/dev/dm-0" }))]);
    assert_eq!(server.alerts(unclear).status, 503, "not looked at yet");
    assert_eq!(world.state().last_number, 0);
    assert_eq!(server.alerts(alert()).status, 202, "the names are enough");

    let world = World::usual();
    let server = Server::start(&world);
    server.engine().drain();
    assert_eq!(server.alerts(alert()).status, 503, "draining");

    let world = World::usual();
    let disk = Disk::under(&world);
    let server = Server::start(&world);
    disk.breaks();
    let answer = server.alerts(alert());
    assert_eq!((answer.status, answer.body.as_str()), (503, "the journal cannot be used\n"));
    let ready = server.get("/-/ready");
    assert!(
        ready.body.starts_with("not ready: the journal cannot be written: ") && ready.status == 503,
        "{}",
        ready.body
    );
    assert_eq!(server.metric("lvm_autoscaler_journal_writable").as_deref(), Some("0"));
    assert!(world.sim.changes().is_empty());
    // By itself, without a restart.
    disk.is_mended();
    eventually("it is ready again", || server.get("/-/ready").status == 200);
    assert_eq!(server.metric("lvm_autoscaler_journal_writable").as_deref(), Some("1"));
    assert_eq!(server.alerts(alert()).status, 202);
}

/// A disk that never answers a write: whoever only reads is answered, and so is whoever waits for it, with a 503. The
/// write is held where a record is told to others, with all that is locked while an `fsync` hangs.
#[test]
fn a_journal_that_hangs_holds_up_nobody_who_only_reads() {
    let alert = |lv: &str| json!([firing(json!({ "instance": "db1", "vg": "vg", "lv": lv }))]);
    let world = World::usual();
    let server = Server::start(&world);
    let (free, hangs) = std::sync::mpsc::channel::<()>();
    let hangs = std::sync::Mutex::new(hangs);
    server.engine().shared().journal().subscribe(Box::new(move |_| {
        // Until the test lets go of the other end.
        let _ = hangs.lock().map(|hangs| hangs.recv());
    }));
    let (socket, _folder) = control_socket(&server);
    std::thread::scope(|scope| {
        let first = scope.spawn(|| server.alerts(alert("data")));
        eventually("it hangs", || server.engine().shared().journal().answers().is_err());
        let second = scope.spawn(|| server.alerts(alert("media")));
        let paused = scope.spawn(|| at_control(&socket, "/-/pause", "vg/data"));
        for path in ["/metrics", "/", "/-/healthy", "/api/v1/targets", "/api/v1/inventory", "/api/v1/operations"] {
            let answer = server.get(path);
            assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        }
        let ready = server.get("/-/ready");
        assert_eq!(ready.status, 503);
        assert!(ready.body.contains("the journal's disk has not answered for 5 s"), "{}", ready.body);
        assert_eq!(server.metric("lvm_autoscaler_journal_writable").as_deref(), Some("0"));
        let report = at_control(&socket, "/-/report", r#"{"format":"json","since":null}"#);
        assert!(!report.is_empty() && !report.contains(" 503 "), "{report}");
        for waiting in [first, second] {
            let answer = waiting.join().expect("answered");
            assert_eq!(answer.status, 503, "{}", answer.body);
            assert!(answer.body.contains("the journal's disk"), "{}", answer.body);
        }
        let paused = paused.join().expect("answered");
        assert!(paused.contains(" 503 ") && paused.contains("the journal's disk"), "{paused}");
        assert!(world.sim.changes().is_empty(), "nothing is acted upon");
        drop(free);
    });
    // The write got there after all; what comes again adds nothing.
    eventually("it is ready again", || server.get("/-/ready").status == 200);
    assert_eq!(server.alerts(alert("data")).status, 202);
    server.idle();
    let extended = world.sim.changes().iter().filter(|command| command.ends_with("-- vg/data")).count();
    assert_eq!((world.extents("vg/data"), extended), (AFTER, 1));
}

/// The control socket of a server.
fn control_socket(server: &Server) -> (std::path::PathBuf, tempfile::TempDir) {
    let folder = folder();
    let path = folder.path().join("control.sock");
    let engine = Arc::clone(&server.handle);
    let report = Arc::clone(&server.context.report);
    let reload = Box::new(|| Ok("nothing changed".to_owned()));
    let in_force = Arc::clone(&server.context.in_force);
    let _inside = server._runtime.enter();
    let listener = control::bind(&path).expect("a socket");
    let control = Arc::new(Control { engine, reload, report, in_force, simulation: Box::new(|| None) });
    server._runtime.spawn(async move { control::serve(&listener, &control).await });
    (path, folder)
}

/// What it answers, head and body.
fn at_control(socket: &std::path::Path, path: &str, body: &str) -> String {
    let mut stream = std::os::unix::net::UnixStream::connect(socket).expect("it listens");
    stream.set_read_timeout(Some(DEADLINE)).expect("a deadline");
    stream.set_write_timeout(Some(DEADLINE)).expect("a deadline");
    let length = body.len();
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("text");
    answer
}

/// A queue that is smaller than a request must not make its sender repeat it for ever, nor may anything of it be lost.
#[test]
fn what_does_not_fit_is_a_503_and_accepted_when_it_comes_again() {
    for (targets, queue) in [(1001, None), (25, Some(10)), (25, Some(1))] {
        let lines: String =
            (0..targets).map(|n| format!("    - {{ lv_path: /dev/vg/l{n}, mount_point: /m{n} }}\n")).collect();
        let limit = queue.map_or(String::new(), |queue| format!("webhook: {{ queue: {queue} }}\n"));
        let world = World::new(HOST, &format!("{limit}monitor:\n  targets:\n{lines}"));
        make_segments(world.folder.path(), 4 << 20);
        let server = Server::start(&world);
        let alert = |n| firing(json!({ "instance": "db1", "vg": "vg", "lv": format!("l{n}") }));
        let alerts: Value = (0..targets).map(alert).collect();
        let first = server.alerts(alerts.clone());
        assert_eq!(first.status, 503);
        let verdicts = first.verdicts();
        let count = |verdict: &str| verdicts.iter().filter(|(is, _)| is == verdict).count();
        let fit = queue.unwrap_or(1000);
        assert_eq!((count("accepted"), count("not_accepted")), (fit, targets - fit));
        eventually("all of it is accepted", || {
            let answer = server.alerts(alerts.clone());
            assert!(server.engine().waiting_count() <= fit);
            answer.status == 202
        });
        server.idle();
        // None of these volumes exists, so each was looked at and refused, and nothing was looked at twice.
        let page = server.get("/metrics").body;
        let refusals: Vec<&str> =
            page.lines().filter(|line| line.starts_with("lvm_autoscaler_refusals_total{vg=\"vg\"")).collect();
        assert_eq!(refusals.len(), targets);
        assert!(refusals.iter().all(|line| line.ends_with(" 1")), "{refusals:?}");
        // What comes again after that is something new.
        assert_eq!(server.alerts(json!([alert(0)])).verdicts()[0].0, "accepted");
    }
}

#[test]
fn labels_of_strangers_are_quoted_cut_and_never_run() {
    let world = World::usual();
    let server = Server::start(&world);
    let long = "x".repeat(300_000);
    let hostile = [
        json!({ "instance": "db1", "vg": "/dev", "lv": "vg/data" }),
        json!({ "instance": "db1", "vg": "vg/data", "lv": "" }),
        json!({ "instance": "db1", "vg": "vg", "lv": "data; reboot" }),
        json!({ "instance": "db1", "vg": "-f", "lv": "data" }),
        json!({ "instance": "db1", "lv_path": "/dev/vg/../vg/data" }),
        json!({ "instance": "db1", "device": "/dev/mapper/vg-data\n" }),
        json!({ "instance": "db1", "mountpoint": "/data/../media" }),
        json!({ "instance": "db1", "mountpoint": "\u{202e}/data" }),
        json!({ "instance": "DB1\u{0}", "mountpoint": "/data" }),
        json!({ "instance": "\u{ff24}b1", "mountpoint": "/data" }),
        json!({ "instance": long, "mountpoint": "/data" }),
        json!({ "instance": "", "mountpoint": "/data" }),
        json!({ "instance": ":9100", "mountpoint": "/data" }),
    ];
    for labels in hostile {
        let shown: String = labels.to_string().chars().take(80).collect();
        let answer = server.alerts(json!([firing(labels)]));
        assert_eq!(answer.status, 202, "{shown}");
        assert_eq!(answer.verdicts()[0].0, "refused", "{shown}");
        assert!(answer.body.len() < 4_000, "{} bytes answer {shown}", answer.body.len());
    }
    server.idle();
    assert!(world.sim.changes().is_empty());
    let longest = world.state().refused.iter().map(|past| past.sentence.len()).max();
    assert!(longest < Some(2_000), "a stranger's text fills the journal: {longest:?}");
}

/// What an alert may write into the journal is bounded, or strangers could fill it so that nothing else fits.
#[test]
fn a_request_full_of_alerts_for_others_does_not_stop_the_journal() {
    let world = World::usual();
    make_segments(world.folder.path(), 4 << 20);
    let server = Server::start(&world);
    let many: Vec<Value> = vec![json!({ "status": "firing" }); 45_000];
    assert_eq!(server.alerts(Value::from(many)).status, 202);
    assert_eq!(server.get("/-/ready").status, 200);
    let answer = server.alerts(json!([firing(json!({ "instance": "db1", "vg": "vg", "lv": "data" }))]));
    assert_eq!(answer.verdicts()[0].0, "accepted");
    server.idle();
    assert_eq!(world.extents("vg/data"), AFTER);
}

#[test]
fn requests_that_are_no_http_end_the_connection_and_nothing_else() {
    let world = World::usual();
    let server = Server::start(&world);
    for junk in [&b"\x16\x03\x01\x02\x00\x01"[..], b"GET\r\n\r\n", b"GET / HTTP/9\r\n\r\n", b"\0\0\0\0\r\n\r\n"] {
        let answer = server.raw(junk);
        assert!(answer.status == 400 || answer.status == 0 || answer.status == 505, "{}", answer.status);
    }
    let long = format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "a".repeat(70_000));
    assert!([400, 414, 431].contains(&server.raw(long.as_bytes()).status));
    assert_eq!(server.get("/-/healthy").status, 200);
}

#[test]
fn a_server_that_stops_finishes_what_it_answers() {
    let world = World::usual();
    let server = Server::start(&world);
    let mut kept = server.connect();
    kept.write_all(b"GET /-/healthy HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("sent");
    let mut first = [0; 15];
    kept.read_exact(&mut first).expect("answered");
    assert_eq!(&first, b"HTTP/1.1 200 OK");
    server.stop.send(true).expect("it runs");
    eventually("it closes the idle connection", || {
        let mut rest = Vec::new();
        (&kept).read_to_end(&mut rest).is_ok()
    });
    eventually("it takes no new one", || TcpStream::connect(server.address).is_err());
}

/// The page brings all it needs, and its policy lets nothing else run.
#[test]
fn the_status_page_is_self_contained_and_shows_names_as_text() {
    const ODD: &str = "/srv/<script>alert(1)</script>&\"'";
    let host = HOST.replace("mount_point: /media", &format!("mount_point: '{}'", ODD.replace('\'', "''")));
    let config = CONFIG.replace("mount_point: /media", &format!("mount_point: '{}'", ODD.replace('\'', "''")));
    let world = World::new(&host, &config);
    let server = Server::start(&world);
    let page = server.get("/");
    let policy = page.header("content-security-policy").expect("a policy");
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-") && !policy.contains("unsafe"), "{policy}");
    assert!(!page.body.contains("<script>alert"), "markup in a name stays text");
    assert!(page.body.contains("&lt;script&gt;alert(1)&lt;&#x2f;script&gt;&amp;&quot;&#x27;"), "{}", page.body);
    for forbidden in [" style=", " onclick=", " onload=", "http://", "https://", "javascript:"] {
        assert!(!page.body.contains(forbidden), "{forbidden} is in the page");
    }
    let targets: Value = serde_json::from_str(&server.get("/api/v1/targets").body).expect("JSON");
    assert_eq!(targets["targets"][1]["mount_point"], ODD);
}

#[test]
fn the_api_says_what_would_happen_now_and_what_was_done() {
    let world = World::usual();
    let server = Server::start(&world);
    let get = |path: &str| -> Value { serde_json::from_str(&server.get(path).body).expect("JSON") };
    let targets = get("/api/v1/targets");
    let data = &targets["targets"][0];
    assert_eq!((&targets["host"], &targets["mode"]), (&"db1".into(), &"act".into()));
    assert_eq!((&data["state"], &data["now"]["verdict"]), (&"would_grow".into(), &"grow".into()), "{data}");
    assert_eq!(data["now"]["after_bytes"], 6u64 << 30);
    assert_eq!(data["threshold_percent"], 80.0);
    assert!(data["headroom_bytes"].as_u64() > Some(11 << 30), "{data}");
    let inventory = get("/api/v1/inventory");
    assert_eq!(inventory["volume_groups"][0]["name"], "vg");
    assert_eq!(inventory["file_systems"].as_array().map(Vec::len), Some(3));
    assert_eq!(inventory["logical_volumes"][0]["size_bytes"], 4u64 << 30);

    server.alerts(json!([firing(json!({ "instance": "db1", "vg": "vg", "lv": "data" }))]));
    server.idle();
    eventually("it is shown", || {
        let recent = &get("/api/v1/operations")["recent"];
        recent[0]["result"] == "grown" && recent[0]["lv"] == "data" && recent[0]["kind"] == "operation"
    });
    let after = get("/api/v1/targets");
    assert_eq!(after["targets"][0]["now"]["code"], "cooldown", "{after}");
    assert_eq!(after["targets"][0]["budget"]["extensions_left"], 5);
    let page = server.get("/").body;
    assert!(page.contains("grew from 4 GiB to 6 GiB"), "{page}");
}

#[test]
fn the_status_page_of_an_exporter_and_before_the_first_inventory() {
    let world = World::new(HOST, "");
    let server = Server::without_inventory(&world, None);
    let page = server.get("/").body;
    assert!(page.contains("exporter only: nothing may grow") && page.contains("LVM was not read yet"), "{page}");
    let inventory = look(world.sim.as_ref(), Focus::Everything).expect("LVM answers");
    server.context.latest.set(Some(inventory), Duration::from_millis(3));
    eventually("it is shown", || server.get("/").body.contains("data-mount=\"&#x2f;data\""));
    let operations: Value = serde_json::from_str(&server.get("/api/v1/operations").body).expect("JSON");
    assert_eq!((&operations["mode"], &operations["recent"]), (&"exporter".into(), &json!([])));
}

#[test]
fn the_report_comes_in_the_form_that_was_asked_for_and_may_load_nothing() {
    let world = World::usual();
    let server = Server::start(&world);
    let html = server.get("/report");
    assert_eq!((html.status, html.header("content-type")), (200, Some("text/html; charset=utf-8")));
    assert!(html.body.contains("<h1>Storage report:") && html.body.contains("&#x2f;data"), "{}", html.body);
    // The policy names the style that is in the page, and nothing else that may be loaded or run.
    let policy = html.header("content-security-policy").expect("a policy");
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-") && !policy.contains("unsafe"), "{policy}");
    let style = html.body.split("<style>").nth(1).and_then(|rest| rest.split("</style>").next()).expect("a style");
    assert_eq!(style, lvm_autoscaler::report::STYLE);
    assert!(!html.body.contains(" style=") && !html.body.contains("<script"));

    let markdown = server.ask("GET", "/report", "Accept: text/markdown\r\n");
    assert!(markdown.body.starts_with("# Storage report: "), "{}", markdown.body);
    let json = server.get("/report?format=json&since=7d");
    let json: Value = serde_json::from_str(&json.body).expect("JSON");
    let inventory = server.context.latest.get().inventory;
    assert_eq!(json["logical_volumes"].as_array().map(Vec::len), Some(inventory.lvs.len()));
    for wrong in ["/report?format=pdf", "/report?since=yesterday", "/report?colour=red"] {
        let answer = server.get(wrong);
        assert!(answer.status == 400 && answer.body.contains("expected"), "{wrong}: {}", answer.body);
    }
    assert_eq!(server.ask("POST", "/report", "").status, 405);
    assert_eq!(server.ask("HEAD", "/report", "").status, 200);
}

#[test]
fn without_an_inventory_the_report_says_so() {
    let world = World::usual();
    let server = Server::without_inventory(&world, None);
    let report = server.get("/report?format=markdown");
    assert_eq!(report.status, 200);
    assert!(report.body.contains("inventory_stale"), "{}", report.body);
}

#[test]
fn what_needs_a_person_is_on_top_of_the_page_with_the_commands_that_are_left() {
    let world = World::usual();
    world.inject("resize2fs", 0, Harm::Fails);
    let server = Server::start(&world);
    server.alerts(json!([firing(json!({ "instance": "db1", "vg": "vg", "lv": "data" }))]));
    server.idle();
    eventually("it is shown", || server.get("/").body.contains("vg&#x2f;data needs attention"));
    let targets: Value = serde_json::from_str(&server.get("/api/v1/targets").body).expect("JSON");
    let (state, attention) = (&targets["targets"][0]["state"], &targets["targets"][0]["attention"]);
    assert_eq!((state, &attention["lv"]), (&"attention".into(), &"data".into()), "{attention}");
    assert_eq!(attention["commands"], json!(["resize2fs /dev/mapper/vg-data"]), "{attention}");
    let operations: Value = serde_json::from_str(&server.get("/api/v1/operations").body).expect("JSON");
    assert_eq!(&operations["attention"][0]["commands"], &attention["commands"]);
    let page = server.get("/").body;
    assert!(page.contains("<li><code>resize2fs &#x2f;dev&#x2f;mapper&#x2f;vg-data</code></li>"), "{page}");
    assert!(page.contains(">needs attention</span>"), "{page}");
}

#[test]
fn what_runs_and_what_waits_for_it_is_shown_with_its_step_and_time() {
    let world = World::usual();
    let (gate, held) = std::sync::mpsc::channel::<()>();
    let held = std::sync::Mutex::new(held);
    let host = world.watched(move |command| {
        if command.to_string() == "resize2fs /dev/mapper/vg-data" {
            // Until the other end is gone, which a test that fails leaves before the server.
            let _ = held.lock().expect("not poisoned").recv();
        }
    });
    let server = Server::without_inventory(&world, Some(engine::start(world.shared_on(host, false))));
    server.context.latest.set(Some(look(world.sim.as_ref(), Focus::Everything).expect("LVM answers")), Duration::ZERO);
    let gate = gate;
    let get = |path: &str| -> Value { serde_json::from_str(&server.get(path).body).expect("JSON") };
    let alert = |lv: &str| server.alerts(json!([firing(json!({ "instance": "db1", "vg": "vg", "lv": lv }))]));
    alert("data");
    eventually("the growth runs", || world.extents("vg/data") == AFTER);
    alert("media");
    world.sim.pass(Duration::from_secs(125));
    eventually("the request waits", || world.state().pending.len() == 1);
    eventually("all is shown", || {
        let operations = get("/api/v1/operations");
        let steps = &operations["running"][0]["steps"];
        operations["running"][0]["running_seconds"].as_i64() >= Some(125)
            // The volume is that large a moment before its step is recorded as done.
            && steps.as_array().is_some_and(|steps| steps.iter().any(|step| {
                step["state"] == "running" && step["does"].as_str().is_some_and(|does| does.contains("grow the ext4"))
            }))
            && operations["waiting"]
                == json!([{ "vg": "vg", "lv": "media", "after": operations["running"][0]["operation"] }])
    });
    let running = &get("/api/v1/operations")["running"];
    let steps = running[0]["steps"].as_array().expect("steps");
    let states: Vec<&str> = steps.iter().filter_map(|step| step["state"].as_str()).collect();
    let at = states.iter().position(|state| *state == "running").expect("one runs");
    assert!(states[..at].iter().all(|state| *state == "done"), "{states:?}");
    assert!(states[at + 1..].iter().all(|state| *state == "waiting"), "{states:?}");
    let does = steps[at]["does"].as_str().expect("a sentence");
    assert!(does.contains("ext4 at /data"), "{does}");
    let page = server.get("/").body;
    let (shown, id) = (does.replace('/', "&#x2f;"), format!("op-{}", running[0]["operation"]));
    for part in [
        "vg/data grows from",
        &format!("<li class=\"running\">{shown}"),
        &format!("{id}, for 2\u{a0}min"),
        &format!("vg/media waits for {id}"),
        ">growing</span>",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert_eq!(get("/api/v1/targets")["targets"][0]["state"], "running");
    drop(gate);
    server.idle();
    eventually("it is over", || {
        let operations = get("/api/v1/operations");
        operations["running"] == json!([]) && operations["waiting"] == json!([])
    });
    assert!(!server.get("/").body.contains("waits for"));
}

#[test]
fn a_target_that_does_not_answer_or_stays_refused_is_a_problem() {
    let world = World::usual();
    let server = Server::start(&world);
    let problems = || -> Vec<String> {
        let status: Value = serde_json::from_str(&server.get("/api/v1/targets").body).expect("JSON");
        let list = status["health"]["problems"].as_array().expect("a list").iter();
        list.map(|problem| problem.as_str().expect("a sentence").to_owned()).collect()
    };
    let look_again = || {
        let inventory = look(world.sim.as_ref(), Focus::Everything).expect("LVM answers");
        server.context.latest.set(Some(inventory), Duration::from_millis(3));
    };
    let of_data = |change: fn(&mut lvm_autoscaler::host::sim::SimLv)| {
        world.sim.with(|model| change(model.lv("vg/data").expect("there")));
    };
    let hang = |lv: &mut lvm_autoscaler::host::sim::SimLv| lv.fs.as_mut().expect("there").hangs = true;
    let answer = |lv: &mut lvm_autoscaler::host::sim::SimLv| lv.fs.as_mut().expect("there").hangs = false;
    // What is shown is made anew once in a while.
    let becomes = |expected: &[&str]| {
        eventually(&format!("{expected:?}"), || {
            let told = problems();
            told.len() == expected.len() && told.iter().zip(expected).all(|(told, part)| told.contains(part))
        });
    };
    assert!(problems().is_empty(), "{:?}", problems());
    of_data(hang);
    look_again();
    becomes(&["vg/data: the file system at /data does not answer"]);
    of_data(answer);
    // What the sample shows.
    world.sim.with(|model| model.vg("vg-2").expect("there").exported = true);
    look_again();
    becomes(&["vg-2/logs would be refused (vg_exported): "]);
    world.sim.with(|model| model.vg("vg-2").expect("there").exported = false);
    // What only a look at one volume finds, and only if it is found again.
    of_data(|lv| lv.holders = vec!["luks-data (dm-crypt)".to_owned()]);
    look_again();
    let pipeline = lvm_autoscaler::engine::Pipeline(Arc::clone(server.engine().shared()));
    let own_look = || {
        let lv = "vg/data".parse().expect("a name");
        pipeline.request(None, &lv, lvm_autoscaler::journal::Source::Monitor).expect("the journal can be written")
    };
    own_look();
    becomes(&[]);
    own_look();
    becomes(&["vg/data was refused 2 times since 2026-01-01T00:00:00Z (layered_device): luks-data"]);
    // It is over when nothing was heard of it for an hour, and when the volume grew.
    world.sim.pass(Duration::from_secs(3601));
    becomes(&[]);
    own_look();
    becomes(&["vg/data was refused 3 times"]);
    of_data(|lv| lv.holders = vec![]);
    own_look();
    look_again();
    becomes(&[]);
    assert_eq!(world.extents("vg/data"), AFTER);
}

#[test]
fn a_body_of_the_other_sender_is_told_where_it_belongs() {
    let world = World::usual();
    let server = Server::start(&world);
    let alert = firing(json!({ "instance": "db1", "mountpoint": "/data" }));
    for (path, version, belongs) in [
        ("/webhook/alertmanager", "1", "it is Grafana's, which belongs at /webhook/grafana"),
        ("/webhook/grafana", "4", "it is Alertmanager's, which belongs at /webhook/alertmanager"),
    ] {
        let body = json!({ "version": version, "orgId": 1, "alerts": [alert] }).to_string();
        let answer = server.post_to(path, "", body.as_bytes());
        assert!(answer.status == 400 && answer.body.contains(belongs), "{path}: {} {}", answer.status, answer.body);
    }
    assert!(world.sim.changes().is_empty());
}

/// What Grafana sends while it keeps the last state of an alert whose query fails.
#[test]
fn an_alert_that_grafana_keeps_grows_its_volume() {
    let world = World::usual();
    let server = Server::start(&world);
    let labels = json!({ "alertname": "Full", "instance": "db1:9100", "mountpoint": "/data" });
    let body = |reason: &str| {
        let mut alert = firing(labels.clone());
        alert["annotations"] = json!({ "grafana_state_reason": reason });
        json!({ "version": "1", "state": "alerting", "alerts": [alert] }).to_string()
    };
    let told = |reason: &str| server.post_to("/webhook/grafana", "", body(reason).as_bytes()).verdicts()[0].0.clone();
    assert_eq!((&*told("NoData"), &*told("Error")), ("ignored", "ignored"));
    assert_eq!(told("NoData, KeepLast"), "accepted");
    server.idle();
    assert_eq!(world.extents("vg/data"), AFTER);
}
