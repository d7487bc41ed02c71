//! Whoever takes over the web side may say what he likes to the engine: nothing grows but what the config and the
//! guards let grow, the engine goes on, and an honest web side connects again.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use lvm_autoscaler::host::sim::{self, Sim};
use lvm_autoscaler::host::{Focus, look};
use lvm_autoscaler::inventory::{Inventory, lvm};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use crate::common::part::{is_soak, say};
use crate::common::place::Place;

pub(crate) const HOST: &str = "
names: [db1]
volume_groups:
  - name: vg
    physical_volumes: [{ name: /dev/sdb, size: 50GiB }]
    logical_volumes:
      - { name: data, size: 4GiB, filesystem: { type: ext4, mount_point: /data, used: 50% } }
      - { name: full, size: 4GiB, filesystem: { type: ext4, mount_point: /full, used: 95% } }
      - { name: other, size: 4GiB, filesystem: { type: ext4, mount_point: /other, used: 95% } }
";
/// `full` may grow once within the cooldown; `other` is no target, and `data` is not full.
pub(crate) const CONFIG: &str = "
monitor:
  targets:
    - { lv_path: vg/data, mount_point: /data }
    - { lv_path: vg/full, mount_point: /full, increment: 1GiB, cooldown: 1h }
";
const GIB: u64 = 1 << 30;

struct Engine {
    process: Child,
    socket: PathBuf,
    _place: Place,
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Engine {
    fn start() -> Engine {
        let place = Place::new(CONFIG);
        place.write("host.yaml", HOST);
        Engine::on(place, &[])
    }

    fn on(place: Place, more: &[&str]) -> Engine {
        let socket = place.path("engine.sock");
        let named = format!("--engine.socket={}", socket.display());
        let mut command = place.start(&["engine", "--log.level=error", &place.config(), &place.host(), &named]);
        // As in the unit, so that what threads had once is given back.
        command.args(more).env("MALLOC_ARENA_MAX", "1");
        let process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
        let engine = Engine { process, socket, _place: place };
        let until = Instant::now() + Duration::from_secs(60);
        while UnixStream::connect(&engine.socket).is_err() || !engine.has_looked() {
            assert!(Instant::now() < until, "it does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        engine
    }

    fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(&self.socket).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
        stream
    }

    /// What is answered to these bytes; `None`: the connection was closed.
    fn answer(&self, bytes: &[u8]) -> Option<Value> {
        let mut stream = self.connect();
        // It may be closed before all is said.
        let _ = stream.write_all(bytes);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        answer(&mut stream)
    }

    fn ask(&self, ask: &Value) -> Option<Value> {
        self.answer(&frame(1, ask.to_string().as_bytes()))
    }

    fn see(&self) -> Value {
        let known =
            json!({ "engine": 0, "news": 0, "content": 0, "records": 0, "config": 0, "proposal": 0, "wait": false });
        self.ask(&json!({ "see": known })).expect("an honest question is answered")["seen"].clone()
    }

    /// In KiB, as the kernel counts them.
    fn memory(&self, key: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':')).expect("a key");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    fn has_looked(&self) -> bool {
        self.see()["look"]["taken"] == true
    }

    /// The sizes of all volumes.
    fn sizes(&self) -> Vec<(String, u64)> {
        let seen = self.see();
        let lvs = seen["look"]["inventory"]["lvs"].as_array().expect("volumes").clone();
        lvs.iter().map(|lv| (lv["name"].to_string(), lv["size"].as_u64().expect("a size"))).collect()
    }
}

fn frame(version: u32, body: &[u8]) -> Vec<u8> {
    [&version.to_le_bytes()[..], &u32::try_from(body.len()).expect("short").to_le_bytes(), body].concat()
}

fn answer(stream: &mut UnixStream) -> Option<Value> {
    let mut head = [0; 8];
    stream.read_exact(&mut head).ok()?;
    let length = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
    let mut body = vec![0; length as usize];
    stream.read_exact(&mut body).ok()?;
    serde_json::from_slice(&body).ok()
}

fn receive(requests: &Value, refusals: &Value) -> Value {
    json!({ "receive": { "requests": requests, "refusals": refusals, "refused": {}, "digest": null } })
}

fn wish(lv: &str, source: &str) -> Value {
    json!({ "lv": lv, "source": source, "fingerprint": "abc" })
}

/// What may not be said, and ends the connection.
fn forbidden() -> Vec<(&'static str, Vec<u8>)> {
    let text = |value: Value| frame(1, value.to_string().as_bytes());
    let refusal = |sentence: &str, lack: Value| json!([{ "source": "grafana", "refusal": { "code": "unknown_target", "sentence": sentence, "lack": lack } }]);
    let lack = json!({ "vg": "vg", "needed": 1, "has": 0, "reserve": 0, "supplies": [] });
    let deep = format!("{}{}", "[".repeat(20_000), "]".repeat(20_000));
    let many_wishes: Vec<Value> = (0..2_000).map(|_| wish("vg/full", "alertmanager")).collect();
    let oversized = json!({ "receive": { "requests": many_wishes, "refusals": [], "refused": {}, "digest": null } });
    vec![
        ("version 0", frame(0, b"\"usage\"")),
        ("a later version", frame(2, b"\"usage\"")),
        ("the last version", frame(u32::MAX, b"\"usage\"")),
        ("HTTP", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec()),
        ("a length and nothing more", [1u32.to_le_bytes(), 1000u32.to_le_bytes()].concat()),
        ("the longest length", [1u32.to_le_bytes(), u32::MAX.to_le_bytes()].concat()),
        ("a byte too long", [&1u32.to_le_bytes()[..], &65_537u32.to_le_bytes(), &[b' '; 65_537]].concat()),
        ("half a head", vec![1, 0, 0]),
        ("half a body", frame(1, b"\"usage\"")[..12].to_vec()),
        ("an empty body", frame(1, b"")),
        ("no JSON", frame(1, b"usage")),
        ("no UTF-8", frame(1, b"\"us\xffage\"")),
        ("two messages in one frame", frame(1, b"\"usage\"\"usage\"")),
        ("a bottomless list", frame(1, deep.as_bytes())),
        ("more requests than fit", text(oversized)),
        ("null", text(Value::Null)),
        ("a number", text(json!(7))),
        ("a question that is none", text(json!("grow"))),
        ("a command", text(json!({ "run": "lvextend" }))),
        ("an event", text(json!({ "event": { "event": "resumed", "lv": null } }))),
        ("a resume", text(json!({ "resume": "vg/full" }))),
        ("an extension by a person", text(json!({ "extend": { "lv": "vg/other", "by": 1 } }))),
        ("a person", text(receive(&json!([wish("vg/full", "person")]), &json!([])))),
        ("our own look", text(receive(&json!([wish("vg/full", "monitor")]), &json!([])))),
        ("nobody", text(receive(&json!([wish("vg/full", "")]), &json!([])))),
        (
            "a size",
            text(receive(&json!([{ "lv": "vg/full", "source": "grafana", "fingerprint": "", "by": 9 }]), &json!([]))),
        ),
        ("a volume with a path in it", text(receive(&json!([wish("../vg/full", "grafana")]), &json!([])))),
        ("a volume with an option in it", text(receive(&json!([wish("vg/-L9G", "grafana")]), &json!([])))),
        (
            "a volume that is a list",
            text(receive(&json!([{ "lv": ["vg", "full"], "source": "grafana", "fingerprint": "" }]), &json!([]))),
        ),
        (
            "an endless fingerprint",
            text(receive(
                &json!([{ "lv": "vg/full", "source": "grafana", "fingerprint": "x".repeat(5000) }]),
                &json!([]),
            )),
        ),
        ("an endless sentence", text(receive(&json!([]), &refusal(&"x".repeat(20_000), Value::Null)))),
        ("a refusal that has a group bought disks", text(receive(&json!([]), &refusal("x", lack)))),
        (
            "a code that is none",
            text(receive(&json!([]), &json!([{ "source": "grafana", "refusal": { "code": "fine", "sentence": "" } }]))),
        ),
        (
            "negative counts",
            text(
                json!({ "receive": { "requests": [], "refusals": [], "refused": { "unknown_target": -1 }, "digest": null } }),
            ),
        ),
        (
            "a short digest",
            text(json!({ "receive": { "requests": [], "refusals": [], "refused": {}, "digest": [1, 2] } })),
        ),
        ("a file by its path", text(json!({ "file": { "path": "/etc/shadow" } }))),
        ("a file at a negative place", text(json!({ "file": { "list": 0, "place": -1 } }))),
        ("a number that is too large", frame(1, br#"{"told":{"number":99999999999999999999}}"#)),
        ("a report as a program", text(json!({ "report": { "format": "sh" } }))),
        ("a report into a file", text(json!({ "report": { "format": "json", "file": "/etc/x" } }))),
    ]
}

/// What may be said and means nothing.
fn in_vain() -> Vec<(&'static str, Value)> {
    vec![
        ("another volume", receive(&json!([wish("vg/other", "grafana")]), &json!([]))),
        ("a volume that is not there", receive(&json!([wish("vg/none", "grafana")]), &json!([]))),
        ("another group", receive(&json!([wish("sys/full", "alertmanager")]), &json!([]))),
        (
            "one of us and another",
            receive(&json!([wish("vg/data", "grafana"), wish("vg/other", "grafana")]), &json!([])),
        ),
        ("a file of another list", json!({ "file": { "list": 7, "place": 0 } })),
        ("a file far behind the last", json!({ "file": { "list": 0, "place": u32::MAX } })),
        ("all was told", json!({ "told": { "number": u64::MAX } })),
        ("a vote for nothing", json!({ "vote": { "proposal": 99, "objection": null } })),
        ("an objection to nothing", json!({ "vote": { "proposal": 1, "objection": "x".repeat(60_000) } })),
        ("records of the future", json!({ "records": { "after": u64::MAX, "wait": false } })),
        (
            "what another process knew",
            json!({ "see": { "engine": 5, "news": u64::MAX, "content": u64::MAX, "records": u64::MAX, "config": u64::MAX, "proposal": u64::MAX, "wait": false } }),
        ),
        ("a wait without end", json!({ "not_written": { "seconds": u64::MAX } })),
        (
            "huge counts",
            json!({ "receive": { "requests": [], "refusals": [], "refused": { "unknown_target": u64::MAX }, "digest": null } }),
        ),
    ]
}

#[test]
fn a_hostile_web_side_grows_nothing_that_may_not_grow() {
    let engine = Engine::start();
    let before = engine.sizes();
    let (forbidden, in_vain) = (forbidden(), in_vain());
    assert!(forbidden.len() + in_vain.len() >= 50);
    for (what, bytes) in &forbidden {
        assert_eq!(engine.answer(bytes), None, "{what}");
    }
    for (what, ask) in &in_vain {
        assert!(engine.ask(ask).is_some(), "{what}");
    }
    assert_eq!(engine.sizes(), before);
    // Said a thousand times, in all ways, an alert of ours grows its target once.
    for round in 0..20 {
        let many: Vec<Value> = (0..50).map(|_| wish("vg/full", "alertmanager")).collect();
        let digest = vec![u8::try_from(round % 3).expect("small"); 32];
        let ask = json!({ "receive": { "requests": many, "refusals": [], "refused": {}, "digest": digest } });
        assert!(engine.ask(&ask).is_some());
    }
    let grown = || {
        let full =
            |sizes: Vec<(String, u64)>| sizes.into_iter().find(|(name, _)| name.contains("full")).map(|(_, size)| size);
        full(engine.sizes()) == Some(5 * GIB)
    };
    let until = Instant::now() + Duration::from_secs(30);
    while !grown() {
        assert!(Instant::now() < until, "the honest alert was not heard");
        std::thread::sleep(Duration::from_millis(50));
    }
    std::thread::sleep(Duration::from_millis(500));
    let changed: Vec<_> = engine.sizes().into_iter().filter(|size| !before.contains(size)).collect();
    assert!(grown() && changed.len() == 1, "{changed:?}");
}

#[test]
fn a_message_that_comes_in_drops_and_connections_without_end_keep_nobody_out() {
    let engine = Engine::start();
    let began = Instant::now();
    let mut slow = engine.connect();
    let message = frame(1, b"\"usage\"");
    let mut sent = 0;
    for byte in &message[..message.len() - 1] {
        if slow.write_all(&[*byte]).is_err() {
            break;
        }
        sent += 1;
        std::thread::sleep(Duration::from_millis(600));
    }
    assert!(sent < message.len() - 1 || answer(&mut slow).is_none(), "it waited for {:?}", began.elapsed());
    // More connections than there is room for, all silent. When they end, there is room again.
    let silent: Vec<UnixStream> = (0..100).map(|_| engine.connect()).collect();
    drop(silent);
    let until = Instant::now() + Duration::from_secs(10);
    let known = json!({ "see": { "engine": 0, "news": 0, "content": 0, "records": 0, "config": 0, "proposal": 0, "wait": false } });
    while engine.ask(&known).is_none() {
        assert!(Instant::now() < until, "no room again");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Random bytes, and honest messages with some of their bytes changed. 5,000 of them, with SOAK a million.
#[test]
fn random_messages_do_not_end_the_engine() {
    let engine = Engine::start();
    let before = engine.sizes();
    let honest = [
        json!({ "scrape": { "known": { "engine": 0, "news": 0, "content": 0, "records": 0, "config": 0, "proposal": 0, "wait": false }, "usage": true } }),
        json!("files"),
        receive(&json!([wish("vg/data", "grafana")]), &json!([])),
        receive(&json!([wish("vg/other", "grafana")]), &json!([])),
        json!({ "records": { "after": 1, "wait": false } }),
        json!({ "report": { "format": "json" } }),
        json!({ "vote": { "proposal": 1, "objection": null } }),
    ];
    let honest = proptest::sample::select(honest.map(|ask| frame(1, ask.to_string().as_bytes())).to_vec());
    let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4);
    let mutated = (honest, changes).prop_map(|(mut bytes, changes)| {
        changes.into_iter().for_each(|(at, byte)| {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        });
        bytes
    });
    let random = prop::collection::vec(any::<u8>(), 0..200);
    let framed = prop::collection::vec(any::<u8>(), 0..200).prop_map(|body| frame(1, &body));
    let cases = if is_soak() { 1_000_000 } else { 5_000 };
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let all = prop_oneof![mutated, random, framed];
    runner
        .run(&all, |bytes| {
            let mut stream = UnixStream::connect(&engine.socket).expect("it listens");
            let _ = stream.write_all(&bytes);
            let _ = stream.shutdown(std::net::Shutdown::Write);
            let mut answer = vec![];
            let _ = stream.read_to_end(&mut answer);
            Ok(())
        })
        .expect("the engine goes on");
    // `full` fills no further on this host, and `data` is not full.
    assert_eq!(engine.sizes(), before);
}

/// Of so many volumes the state is 1 MiB and more.
const MANY: usize = 1_500;
/// Connections that ask at once: almost as many as the engine takes.
const ASKING: usize = 60;

#[test]
fn all_that_is_asked_for_at_once_costs_the_engine_as_much_as_one_answer() {
    let place = Place::new(CONFIG);
    let volumes: String = (0..MANY).map(|lv| format!("      - {{ name: l{lv}, size: 8MiB }}\n")).collect();
    place.write("host.yaml", &format!("{HOST}{volumes}"));
    let engine = Engine::on(place, &[]);
    let known =
        json!({ "engine": 0, "news": 0, "content": 0, "records": 0, "config": 0, "proposal": 0, "wait": false });
    let see = frame(1, json!({ "see": known }).to_string().as_bytes());
    let report = frame(1, json!({ "report": { "format": "json" } }).to_string().as_bytes());
    let length = engine.see().to_string().len();
    assert!(length > 1 << 20, "{length}");
    assert!(engine.answer(&report).is_some());
    for (what, ask) in [("news", &see), ("a report", &report)] {
        let before = engine.memory("VmRSS");
        let mut connections: Vec<UnixStream> = (0..ASKING).map(|_| engine.connect()).collect();
        connections.iter_mut().for_each(|stream| stream.write_all(ask).expect("it is taken"));
        // Nobody takes his answer for a while.
        let (mut most, begun) = (0, Instant::now());
        while begun.elapsed() < Duration::from_secs(3) {
            most = most.max(engine.memory("VmRSS"));
            std::thread::sleep(Duration::from_millis(20));
        }
        let answers: Vec<_> = std::thread::scope(|scope| {
            let read = connections.iter_mut().map(|stream| scope.spawn(|| answer(stream)));
            let read: Vec<_> = read.collect();
            read.into_iter().map(|read| read.join().expect("it is read")).collect()
        });
        most = most.max(engine.memory("VmRSS"));
        let answered = answers.iter().flatten().filter(|answer| answer.to_string().len() > 1000).count();
        let refused = answers.iter().flatten().filter(|answer| answer.to_string().contains("another report")).count();
        let grown = most.saturating_sub(before) >> 10;
        say(&format!(
            "{what}: {answered} answered, {refused} refused, {before} KiB and {grown} MiB more, after {:?}",
            begun.elapsed()
        ));
        // One answer of each kind, as it is made and as it is sent.
        assert!(grown <= 30, "{what}: {grown} MiB");
        assert!(answered > 0 && begun.elapsed() < Duration::from_secs(25), "{what}: {answered}");
        drop(connections);
        let until = Instant::now() + Duration::from_secs(10);
        while engine.answer(ask).is_none_or(|answer| answer.to_string().len() < 1000) {
            assert!(Instant::now() < until, "{what}: nobody else is answered");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

#[test]
fn the_files_that_are_handed_over_are_those_of_the_web_process_alone() {
    let place = Place::new("");
    let at = |name: &str| place.path(name).display().to_string();
    for name in ["token", "grafana", "hook", "luks", "tls.pem", "tls.key"] {
        place.write(name, name);
    }
    place.write(
        "web.yml",
        &format!("tls_server_config: {{ cert_file: {}, key_file: {} }}\n", at("tls.pem"), at("tls.key")),
    );
    place.write("host.yaml", HOST);
    place.write(
        "config.yaml",
        &format!(
            "state: {{ directory: {state} }}
audit: {{ file: {audit} }}
report: {{ directory: {reports} }}
webhook: {{ authorization: {{ credentials_file: {token} }}, grafana_hmac_secret_file: {grafana} }}
notify: [{{ webhook: {{ url_file: {hook} }} }}]
monitor: {{ targets: [{{ lv_path: vg/full, mount_point: /full, luks_key_file: {luks} }}] }}
defaults: {{ max_size: 20GiB }}
policies: [{{ name: all, match: {{ vg: vg, mount_point: /other }}, luks_key_file: {luks} }}]
",
            state = at("state"),
            audit = at("audit.jsonl"),
            reports = at("reports"),
            token = at("token"),
            grafana = at("grafana"),
            hook = at("hook"),
            luks = at("luks"),
        ),
    );
    let web = format!("--web.config.file={}", at("web.yml"));
    let wanted = ["grafana", "hook", "tls.key", "tls.pem", "token", "web.yml"].map(at);
    let engine = Engine::on(place, &[&web]);
    let answer = engine.ask(&json!("files")).expect("an answer");
    let list = &answer["files"]["files"];
    let mut files: Vec<&str> = list.as_array().expect("files").iter().filter_map(Value::as_str).collect();
    files.sort_unstable();
    assert_eq!(files, wanted);
    // There is no other place in the list.
    let file = |place: usize| engine.ask(&json!({ "file": { "list": answer["files"]["list"], "place": place } }));
    let (inside, outside) = (file(0).expect("an answer"), file(files.len()).expect("an answer"));
    assert!(inside["file"]["Ok"].is_string() && outside["file"]["Err"].is_string(), "{inside} {outside}");
}

/// What the web side shows is what the engine saw: recorded reports of real LVMs, and a host with a file system of each
/// kind.
#[test]
fn an_inventory_comes_through_as_it_was() {
    let through = |inventory: &Inventory| {
        let json = serde_json::to_string(inventory).expect("JSON");
        serde_json::from_str::<Inventory>(&json).expect("an inventory")
    };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let mut reports = 0;
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let file = entry.expect("an entry").path();
        if file.file_name().is_some_and(|name| name.to_string_lossy().starts_with("fullreport")) {
            let report = std::fs::read(&file).expect("a report");
            let inventory = lvm::parse(&report, jiff::Timestamp::UNIX_EPOCH).expect("a report");
            assert_eq!(through(&inventory), inventory, "{}", file.display());
            reports += 1;
        }
    }
    assert!(reports >= 6);
    let host = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/simulated-host.yaml");
    let sim = Sim::running(sim::load(&host).expect("a host"), jiff::Timestamp::UNIX_EPOCH);
    let inventory = look(&sim, Focus::Everything).expect("a look");
    assert!(!inventory.filesystems.is_empty());
    assert_eq!(through(&inventory), inventory);
}
