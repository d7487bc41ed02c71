//! Notifications and the audit log say what happened, on the simulated host with a real journal. The tests that need a
//! real mail server are in tests/tell.sh.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::common::*;
use lvm_autoscaler::audit::Audit;
use lvm_autoscaler::config::{self, InForce};
use lvm_autoscaler::host::Host;
use lvm_autoscaler::host::sim::Harm;
use lvm_autoscaler::journal::{Event, Source};
use lvm_autoscaler::metrics::web::WebMetrics;
use lvm_autoscaler::notify::{self, InFolder, Notifier};
use lvm_autoscaler::plan::{Code, Outcome, Refusal};
use serde_json::Value;

/// An HTTP receiver that takes everything.
struct Receiver {
    url: String,
    seen: Arc<Mutex<Vec<Value>>>,
}

impl Receiver {
    fn start() -> Receiver {
        Receiver::on(TcpListener::bind("127.0.0.1:0").expect("a port"))
    }

    fn on(listener: TcpListener) -> Receiver {
        let url = format!("http://{}/", listener.local_addr().expect("an address"));
        let seen: Arc<Mutex<Vec<Value>>> = Arc::default();
        let into = Arc::clone(&seen);
        std::thread::spawn(move || {
            listener.incoming().flatten().for_each(|stream| into.lock().expect("sound").push(take(stream)))
        });
        Receiver { url, seen }
    }

    fn seen(&self) -> Vec<Value> {
        self.seen.lock().expect("sound").clone()
    }

    /// As many as that, whenever they come.
    fn has_seen(&self, many: usize) -> bool {
        (0..3000).any(|_| {
            std::thread::sleep(Duration::from_millis(10));
            self.seen().len() >= many
        })
    }

    fn field(&self, name: &str) -> Vec<String> {
        self.seen().iter().map(|body| body[name].as_str().unwrap_or("none").to_owned()).collect()
    }
}

fn take(stream: TcpStream) -> Value {
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).expect("a line");
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().expect("a number");
        }
        if line.trim().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).expect("a body");
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    reader.into_inner().write_all(answer).expect("somebody listens");
    serde_json::from_slice(&body).expect("JSON")
}

/// A daemon whose journal tells a notifier and an audit log.
struct Telling {
    daemon: Daemon,
    notifier: Arc<Notifier>,
    audit: Audit,
}

fn telling(world: &World) -> Telling {
    let daemon = world.daemon();
    let metrics = Arc::new(WebMetrics::default());
    let in_force = InForce::new(Arc::clone(&world.config));
    let audit = Audit::start(&world.config, "db1".to_owned(), Arc::default());
    let records = Arc::new(InFolder::new(&world.config.state_directory));
    let notifier = Notifier::start(in_force, "db1".to_owned(), metrics, records, &world.sim.moment());
    let notifier = notifier.expect("it can be told");
    let (to, log) = (Arc::clone(&notifier), audit.clone());
    daemon.0.journal().subscribe(Box::new(move |record| {
        to.hear(record);
        log.hear(record);
    }));
    Telling { daemon, notifier, audit }
}

impl Telling {
    /// All that was heard is told and written.
    fn settle(&self) {
        self.notifier.drain(Duration::from_secs(60));
        self.audit.drain(Duration::from_secs(60));
    }
}

fn world(receiver: &Receiver, on: &str) -> World {
    World::new(HOST, &format!("{CONFIG}\nnotify: [{{ webhook: {{ url: \"{}\", on: [{on}] }} }}]\n", receiver.url))
}

#[test]
fn an_operation_is_told_with_its_sizes_and_commands() {
    let receiver = Receiver::start();
    let world = world(&receiver, "planned, grown, refused, failed, needs_attention, overdue");
    let telling = telling(&world);
    assert!(ended_as(&telling.daemon.alert("vg/data"), Outcome::Grown));
    telling.settle();
    assert_eq!(receiver.field("event"), ["planned", "grown"]);
    let grown = &receiver.seen()[1];
    assert_eq!((&grown["before"], &grown["after"]), (&Value::from("4 GiB"), &Value::from("6 GiB")));
    assert_eq!(grown["commands"].as_array().map(Vec::len), Some(3));
    assert_eq!(grown["next"], Value::from(Vec::<String>::new()));
    // What is a part of every day is not told.
    assert_eq!(word(&telling.daemon.alert("vg/data")), "cooldown");
    telling.settle();
    assert_eq!(receiver.seen().len(), 2);
}

#[test]
fn what_needs_a_person_names_the_commands() {
    let receiver = Receiver::start();
    let world = world(&receiver, "failed, needs_attention");
    let telling = telling(&world);
    for _ in 0..10 {
        world.inject("resize2fs", 0, Harm::Fails);
    }
    assert!(ended_as(&telling.daemon.alert("vg/data"), Outcome::NeedsAttention));
    for _ in 0..10 {
        world.inject("lvextend", 0, Harm::Fails);
    }
    assert!(ended_as(&telling.daemon.alert("vg/media"), Outcome::Failed));
    telling.settle();
    assert_eq!(receiver.field("event"), ["needs_attention", "failed"]);
    assert_eq!(receiver.seen()[0]["next"], Value::from(vec!["resize2fs /dev/mapper/vg-data"]));
    assert_eq!(receiver.seen()[1]["next"], Value::from(vec!["lvm-autoscaler plan vg/media"]));
}

/// It is told before the operation ends, and the command is left to run.
#[test]
fn a_command_that_takes_too_long_is_told_with_what_to_look_at() {
    let receiver = Receiver::start();
    let logs = folder();
    let file = logs.path().join("audit.jsonl");
    let notify = format!("notify: [{{ webhook: {{ url: \"{}\" }} }}]", receiver.url);
    let world = World::new(HOST, &format!("{CONFIG}\n{notify}\naudit: {{ file: {} }}\n", file.display()));
    let telling = telling(&world);
    world.inject("resize2fs", 0, Harm::Overdue);
    assert!(ended_as(&telling.daemon.alert("vg/data"), Outcome::Grown));
    telling.settle();
    assert_eq!(receiver.field("event"), ["overdue", "grown"]);
    let overdue = &receiver.seen()[0];
    assert_eq!((&overdue["vg"], &overdue["lv"]), (&Value::from("vg"), &Value::from("data")));
    assert_eq!(overdue["commands"], Value::from(vec!["resize2fs /dev/mapper/vg-data"]));
    assert_eq!(overdue["operation"], receiver.seen()[1]["operation"]);
    assert!(overdue["sentence"].as_str().is_some_and(|said| said.contains("must not be killed")), "{overdue}");
    assert!(overdue["next"][0].as_str().is_some_and(|next| next.starts_with("ps ")), "{overdue}");
    let states: Vec<Value> = audited(&file)
        .into_iter()
        .filter(|line| line["event"] == "step" && line["name"] == "grow_filesystem")
        .map(|line| line["state"].clone())
        .collect();
    assert_eq!(states, ["started", "overdue", "done"]);
}

#[test]
fn the_same_refusal_is_told_once_an_hour_and_again_when_it_changed() {
    let receiver = Receiver::start();
    let world = world(&receiver, "refused");
    let telling = telling(&world);
    let refuse = |code| assert!(refused(&telling.daemon.alert("vg/data"), code));
    world.sim.with(|model| model.vg("vg").expect("there").exported = true);
    for _ in 0..5 {
        refuse(Code::VgExported);
    }
    telling.settle();
    assert_eq!(receiver.field("code"), ["vg_exported"]);
    world.sim.with(|model| model.vg("vg").expect("there").partial = true);
    refuse(Code::VgPartial);
    world.sim.with(|model| model.vg("vg").expect("there").partial = false);
    refuse(Code::VgExported);
    telling.settle();
    assert_eq!(receiver.field("code"), ["vg_exported", "vg_partial", "vg_exported"]);
    world.minutes(61);
    refuse(Code::VgExported);
    refuse(Code::VgExported);
    telling.settle();
    assert_eq!(receiver.seen().len(), 4);
}

#[test]
fn a_start_in_between_tells_the_same_refusal_no_sooner() {
    let receiver = Receiver::start();
    let world = world(&receiver, "refused");
    world.sim.with(|model| model.vg("vg").expect("there").exported = true);
    for _ in 0..3 {
        let telling = telling(&world);
        telling.settle();
        for _ in 0..2 {
            assert!(refused(&telling.daemon.alert("vg/data"), Code::VgExported));
        }
        telling.settle();
        assert_eq!(receiver.field("code"), ["vg_exported"]);
    }
    world.minutes(61);
    assert!(refused(&telling(&world).daemon.alert("vg/data"), Code::VgExported));
    assert!(receiver.has_seen(2), "after an hour it is news");
}

#[test]
fn a_group_that_lacks_space_is_told_with_the_bytes_and_to_who_asked_for_refusals_as_that() {
    let host = HOST.replace("/dev/sdb, size: 20GiB", "/dev/sdb, size: 8GiB");
    for (on, event) in
        [("refused", "refused"), ("supply_needed", "supply_needed"), ("refused, supply_needed", "supply_needed")]
    {
        let receiver = Receiver::start();
        let config = format!("{CONFIG}\nnotify: [{{ webhook: {{ url: \"{}\", on: [{on}] }} }}]\n", receiver.url);
        let groups = "volume_groups: [{ name: vg, spares: [AAAAAA-aaaa-aaaa-aaaa-aaaa-aaaa-aaaaaa] }]\n";
        let world = World::new(&host, &format!("{config}{groups}"));
        let telling = telling(&world);
        assert!(refused(&telling.daemon.alert("vg/data"), Code::SupplyRefused));
        telling.settle();
        let said = receiver.seen();
        assert_eq!((said.len(), &said[0]["event"]), (1, &Value::from(event)), "{on}");
        assert_eq!((&said[0]["vg"], &said[0]["needed_bytes"]), (&Value::from("vg"), &Value::from(2_u64 << 30)), "{on}");
        let why = said[0]["disks"][0]["why"].as_str().expect("a reason");
        assert!(why.contains("is not on this host"), "{why}");
    }
}

/// A group in which one alert names no target and another names two of them comes whole each time.
#[test]
fn alerts_that_name_no_target_are_told_once_an_hour_each_kind() {
    let receiver = Receiver::start();
    let world = world(&receiver, "refused");
    let telling = telling(&world);
    let refuse = |code| Event::Refused {
        request: None,
        lv: None,
        source: Source::Alertmanager,
        refusal: Refusal::new(code, "the labels say so".to_owned()),
        more: 0,
    };
    for _ in 0..3 {
        let both = [Code::UnknownTarget, Code::AmbiguousAlert].map(refuse).to_vec();
        telling.daemon.0.journal().append(world.sim.moment(), both).expect("written");
        world.minutes(5);
    }
    telling.settle();
    assert_eq!(receiver.field("code"), ["unknown_target", "ambiguous_alert"]);
}

/// The pipeline ends on this thread while the only attempt to tell is certainly under way and cannot end.
#[test]
fn a_receiver_that_hangs_delays_nothing_and_loses_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/", listener.local_addr().expect("an address"));
    let config = |url: &str| {
        format!("{CONFIG}\nnotify: [{{ webhook: {{ url: \"{url}\", timeout: 1h }} }}]\naudit: {{ file: /dev/full }}\n")
    };
    let world = World::new(HOST, &config(&url));
    let telling = telling(&world);
    assert!(ended_as(&telling.daemon.alert("vg/data"), Outcome::Grown));
    let hanging = listener.accept().expect("it is being told");
    assert!(ended_as(&telling.daemon.alert("vg/media"), Outcome::Grown));
    assert!(ended_as(&telling.daemon.alert("vg-2/logs"), Outcome::Grown));
    drop(telling);
    // The next daemon tells all three; the first may have come through, nobody can know.
    let receiver = Receiver::start();
    let world = world.with_config(&config(&receiver.url));
    let next = telling_of(&world);
    next.notifier.drain(Duration::from_secs(60));
    assert_eq!(receiver.field("lv"), ["data", "media", "logs"]);
    drop(next);
    let again = telling_of(&world);
    again.notifier.drain(Duration::from_secs(60));
    assert_eq!(receiver.seen().len(), 3, "what was told is not told once more");
    drop(hanging);
}

fn telling_of(world: &World) -> Telling {
    telling(world)
}

/// What is being sent while a reload replaces its receiver is not told twice, and not never.
#[test]
fn a_receiver_that_changed_takes_over_what_was_under_way() {
    let hanging = TcpListener::bind("127.0.0.1:0").expect("a port");
    let config = |url: &str| format!("{CONFIG}\nnotify: [{{ webhook: {{ url: \"{url}\", timeout: 1h }} }}]\n");
    let world = World::new(HOST, &config(&format!("http://{}/", hanging.local_addr().expect("an address"))));
    let telling = telling(&world);
    assert!(ended_as(&telling.daemon.alert("vg/data"), Outcome::Grown));
    let under_way = hanging.accept().expect("it is being told");
    let receiver = Receiver::start();
    let changed = world.with_config(&config(&receiver.url));
    telling.notifier.reconfigure(&changed.config).expect("it can be told");
    drop(under_way);
    assert!(receiver.has_seen(1), "what was under way was told to nobody");
    assert_eq!(receiver.field("lv"), ["data"]);
}

#[test]
fn a_receiver_that_moves_up_the_list_keeps_what_waits_for_it() {
    let (other, listener) = (Receiver::start(), TcpListener::bind("127.0.0.1:0").expect("a port"));
    let first = format!("{{ webhook: {{ url: \"{}\", on: [refused] }} }}, ", other.url);
    let address = listener.local_addr().expect("an address");
    let config = |first: &str| {
        format!(
            "{CONFIG}\nnotify: [{first}{{ webhook: {{ url: \"http://{address}/\", on: [grown], timeout: 1h }} }}]\n"
        )
    };
    let world = World::new(HOST, &config(&first));
    let telling = telling(&world);
    assert!(ended_as(&telling.daemon.alert("vg/data"), Outcome::Grown));
    let under_way = listener.accept().expect("it is being told");
    assert!(ended_as(&telling.daemon.alert("vg/media"), Outcome::Grown));
    telling.notifier.reconfigure(&world.with_config(&config("")).config).expect("it can be told");
    let receiver = Receiver::on(listener);
    drop(under_way);
    assert!(receiver.has_seen(2), "what waited was told to nobody: {:?}", receiver.field("lv"));
    let mut told = receiver.field("lv");
    told.sort();
    assert_eq!(told, ["data", "media"]);
    assert_eq!(other.seen().len(), 0);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a template that somebody changes")]
fn a_reload_reads_template_files_again_and_keeps_what_waits() {
    let (listener, folder) =
        (TcpListener::bind("127.0.0.1:0").expect("a port"), tempfile::tempdir().expect("a folder"));
    let file = folder.path().join("body.j2");
    let write = |text: &str| std::fs::write(&file, text).expect("written");
    write("{\"was\": \"old\"}");
    let address = listener.local_addr().expect("an address");
    let way = format!("url: \"http://{address}/\", timeout: 1h, template_file: {}", file.display());
    let world = World::new(HOST, &format!("{CONFIG}\nnotify: [{{ webhook: {{ {way} }} }}]\n"));
    let telling = telling(&world);
    assert!(ended_as(&telling.daemon.alert("vg/data"), Outcome::Grown));
    let under_way = listener.accept().expect("it is being told");
    write("{\"was\": \"new\"}");
    telling.notifier.reconfigure(&world.config).expect("it can be told");
    let receiver = Receiver::on(listener);
    drop(under_way);
    assert!(receiver.has_seen(1), "what was under way was told to nobody");
    assert_eq!(receiver.field("was"), ["new"]);
}

fn audited(file: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn numbers(lines: &[Value]) -> Vec<u64> {
    lines.iter().filter_map(|line| line["seq"].as_u64()).collect()
}

/// Every place where the file can be torn, and then a start.
#[test]
#[expect(clippy::disallowed_methods, reason = "the test tears a file")]
fn a_torn_audit_log_is_whole_again_after_a_start() {
    let logs = folder();
    let file = logs.path().join("logs/audit.jsonl");
    let world = World::new(HOST, &format!("{CONFIG}\naudit: {{ file: {} }}\n", file.display()));
    let first = telling(&world);
    assert!(ended_as(&first.daemon.alert("vg/data"), Outcome::Grown));
    first.settle();
    drop(first);
    let whole = std::fs::read(&file).expect("there");
    let all = numbers(&audited(&file));
    assert_eq!(all, (1..=world.state().records).collect::<Vec<_>>());
    for cut in (0..whole.len()).step_by(97) {
        // Zeros behind the cut are what some file systems leave after a power cut.
        for zeros in [0, 40] {
            std::fs::write(&file, [&whole[..cut], &vec![0; zeros]].concat()).expect("writable");
            // Without the mark only the file itself says how far it is.
            std::fs::write(world.folder.path().join("audited"), "").expect("writable");
            telling(&world).settle();
            assert!(std::fs::read(&file).expect("there") == whole, "cut at {cut}, {zeros} zeros behind it");
        }
    }
}

#[test]
fn the_audit_log_is_put_aside_by_size_and_so_many_are_kept() {
    let logs = folder();
    let file = logs.path().join("audit.jsonl");
    let world =
        World::new(HOST, &format!("{CONFIG}\naudit: {{ file: {}, max_size: 1MiB, keep: 2 }}\n", file.display()));
    let telling = telling(&world);
    // About 2.5 KB for each alert that is refused.
    for round in 0..30 {
        for _ in 0..60 {
            telling.daemon.alert(if round == 0 { "vg/data" } else { "vg/media" });
        }
        telling.audit.drain(Duration::from_secs(60));
    }
    let aside = |number: u32| logs.path().join(format!("audit.jsonl.{number}"));
    let size = |file: &Path| std::fs::metadata(file).expect("there").len();
    assert!(aside(1).exists() && aside(2).exists() && !aside(3).exists());
    assert!(size(&aside(1)) <= 1 << 20 && size(&aside(2)) <= 1 << 20 && size(&file) <= 1 << 20);
    let all = [numbers(&audited(&aside(2))), numbers(&audited(&aside(1))), numbers(&audited(&file))].concat();
    let last = world.state().records;
    assert_eq!(all, (all[0]..=last).collect::<Vec<_>>());
}

/// The journal is small here: what it had overwritten before the log could be written is named as missing.
#[test]
#[expect(clippy::disallowed_methods, reason = "the test takes a place away and gives it back")]
fn what_the_journal_no_longer_has_is_named_as_a_gap() {
    let logs = folder();
    let place = logs.path().join("logs");
    let file = place.join("audit.jsonl");
    let world = World::new(HOST, &format!("{CONFIG}\naudit: {{ file: {} }}\n", file.display()));
    let first = telling(&world);
    first.daemon.alert("vg/data");
    first.settle();
    drop(first);
    std::fs::rename(&place, logs.path().join("elsewhere")).expect("it can be moved");
    std::fs::write(&place, "no folder").expect("writable");
    let second = telling(&world);
    for _ in 0..200 {
        second.daemon.alert("vg/data");
    }
    drop(second);
    std::fs::remove_file(&place).expect("removable");
    std::fs::rename(logs.path().join("elsewhere"), &place).expect("it can be moved");
    telling(&world).settle();
    let lines = audited(&file);
    let gaps: Vec<&Value> = lines.iter().filter(|line| line["event"] == "gap").collect();
    assert_eq!(gaps.len(), 1);
    let (from, to) = (gaps[0]["first"].as_u64().expect("a number"), gaps[0]["seq"].as_u64().expect("a number"));
    let found = numbers(&lines);
    assert!(to > from && found.contains(&(from - 1)) && found.contains(&(to + 1)) && !found.contains(&(to - 1)));
    assert_eq!(found.last(), Some(&world.state().records));
}

#[test]
fn a_config_that_cannot_tell_is_wrong_at_its_line() {
    let wrong = |yaml: &str| config::parse(yaml, Path::new("c.yaml")).expect_err(yaml).to_string();
    for (yaml, said) in [
        ("notify: [{ webhook: { url: ftp://x/ } }]", "c.yaml:1:28: notify[0].webhook.url: is not a URL"),
        ("notify: [{ webhook: {} }]", "notify[0].webhook: url is missing, expected url or url_file"),
        ("notify: [{}]", "notify[0]: a receiver is missing, expected webhook or email"),
        ("notify: [{ webhook: { url: http://h/, on: [] } }]", "notify[0].webhook.on: is empty"),
        (
            "notify: [{ webhook: { url: http://h/, on: [gone] } }]",
            "notify[0].webhook.on[0]: \"gone\" is unknown, expected `planned`, `grown`",
        ),
        (
            "notify: [{ webhook: { url: http://h/, authorization: { credentials_file: /t } } }]",
            "would be sent in the clear",
        ),
        (
            "notify:\n  - webhook:\n      url: http://h/\n      template: |\n        {\n          {% if %}\n        }",
            "c.yaml:4:17: notify[0].webhook.template: line 2 of the template",
        ),
        (
            "notify: [{ webhook: { url: http://h/, template: '{\"a\": {{ nothing }}}' } }]",
            "template: line 1 of the template: \"nothing\" is an unknown variable, expected `version`",
        ),
        ("notify: [{ email: { from: a@b.c, to: [a@b.c] } }]", "smarthost: is missing"),
        ("notify: [{ email: { smarthost: h, from: a@b.c, to: [a@b.c] } }]", "\"h\" is not a server"),
        ("notify: [{ email: { smarthost: 'h:25', from: a, to: [a@b.c] } }]", "notify[0].email.from: \"a\""),
        ("notify: [{ email: { smarthost: 'h:25', from: a@b.c, to: [a@b.c, 'x\ny@b.c'] } }]", "notify[0].email.to[1]"),
        ("notify: [{ email: { smarthost: 'h:25', from: a@b.c, to: [] } }]", "notify[0].email.to: is empty"),
        (
            "notify: [{ email: { smarthost: 'h:25', from: a@b.c, to: [a@b.c], auth_username: u } }]",
            "auth_password_file is missing, which auth_username needs",
        ),
        (
            "notify: [{ email: { smarthost: 'h:25', from: a@b.c, to: [a@b.c], auth_username: u, auth_password_file: /p, tls: none } }]",
            "the password would be sent in the clear",
        ),
        ("audit: { file: audit.jsonl }", "audit.file"),
        ("audit: { file: /a, max_size: 1KiB }", "audit.max_size: 1 KiB is not at least 1 MiB"),
        ("external_url: nowhere", "external_url: "),
    ] {
        let found = wrong(yaml);
        assert!(found.contains(said), "{yaml}\n  {found}\n  {said}");
    }
    // What only shows when it is filled in.
    for (key, said) in [
        (r#"template: '{"a": {{ title.nothing }}}'"#, "notify[0].webhook.template: line 1 of the template"),
        (r#"template: '{"a": "{{ title }}"}'"#, "is no JSON when it is filled in"),
        (r#"template: '{{ range(100000000) | list | length }}'"#, "notify[0].webhook.template"),
    ] {
        let yaml = format!("notify:\n  - webhook:\n      url: http://h/\n      {key}\n");
        let parsed = config::parse(&yaml, Path::new("c.yaml")).expect("its form is right");
        let found = notify::verify(&parsed).expect_err(&yaml).to_string();
        assert!(found.contains(said), "{found}");
    }
}

/// The program itself: which certificates a host has is the environment's.
#[test]
#[expect(clippy::disallowed_methods, reason = "runs the program")]
fn a_host_without_certificates_is_told_over_plain_http() {
    let (receiver, folder) = (Receiver::start(), tempfile::tempdir().expect("a folder"));
    let file = folder.path().join("c.yaml");
    let send_test = |url: &str| {
        std::fs::write(&file, format!("notify: [{{ webhook: {{ url: {url} }} }}]")).expect("written");
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_lvm-autoscaler"))
            .args(["check-config", "--ignore-ownership", "--send-test"])
            .arg(&file)
            .env("SSL_CERT_FILE", folder.path().join("none"))
            .env("SSL_CERT_DIR", folder.path().join("none"))
            .output()
            .expect("it runs");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let said = send_test(&receiver.url);
    assert!(said.contains("notify[0].webhook: sent\n"), "{said}");
    assert_eq!(receiver.seen().len(), 1);
    // Encrypted it trusts nobody, and the reason is that there are no certificates.
    let said = send_test(&receiver.url.replace("http:", "https:"));
    assert!(said.contains("not sent: ") && said.contains("the system's certificates: "), "{said}");
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a test")]
fn a_secret_of_a_receiver_is_one_line_and_white_space_around_it_is_not_part_of_it() {
    let (receiver, folder) = (Receiver::start(), tempfile::tempdir().expect("a folder"));
    let file = folder.path().join("url");
    let send = |content: &str| {
        std::fs::write(&file, content).expect("written");
        let yaml = format!("notify: [{{ webhook: {{ url_file: {} }} }}]", file.display());
        let config = config::parse(&yaml, Path::new("c.yaml")).expect("valid");
        notify::send_test(&config, "host", jiff::Timestamp::UNIX_EPOCH).expect("its form is right").remove(0).1
    };
    assert_eq!(send(&format!(" \t{} \r\n\n", receiver.url)), Ok(()));
    assert_eq!(receiver.seen().len(), 1);
    for content in ["", " \n", "http://127.0.0.1/s3cr3t\nhttp://127.0.0.1/\n"] {
        let why = send(content).expect_err("no secret");
        assert!(why.contains("expected a secret on one line") && !why.contains("s3cr3t"), "{why}");
    }
}
