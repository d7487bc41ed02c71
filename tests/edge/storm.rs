//! A storm: 10,000 alerts in 200 requests over 20 connections, to a daemon whose journal is on a real disk. All are
//! answered, what was accepted is decided about, and memory stays bounded. `make bench` runs it too and prints how long
//! answers took.

#![expect(clippy::disallowed_methods, reason = "a test starts a daemon")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::common::part::{is_soak, say};
use crate::common::place::Place;
use crate::common::server::{Answer, kept};
use crate::common::split::{self, is_split};
use crate::half::Half;
use lvm_autoscaler::journal::{Event, Journal};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

const REQUESTS: usize = 200;
const ALERTS: usize = 50;
const CONNECTIONS: usize = 20;
/// Targets in so many groups; what grows is decided by one worker each.
const GROUPS: usize = 10;
const VOLUMES: usize = 100;

struct Daemon {
    process: Child,
    address: SocketAddr,
    folder: tempfile::TempDir,
}

impl Daemon {
    fn start(queue: usize) -> Daemon {
        let folder = Daemon::folder(queue);
        let (process, address) = Daemon::run(folder.path());
        let daemon = Daemon { process, address, folder };
        daemon.gets_ready();
        daemon
    }

    /// A config and a host.
    fn folder(queue: usize) -> tempfile::TempDir {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder on a disk");
        // One volume of each group exists and is over its threshold; the others are decided about and refused.
        let (mut host, mut config) = ("names: [db1]\nspeed: 1\nvolume_groups:\n".to_owned(), String::new());
        for vg in 0..GROUPS {
            host += &format!(
                "  - name: vg{vg}\n    physical_volumes: [{{ name: /dev/sd{vg}, size: 20GiB }}]\n    logical_volumes:\n      \
                 - {{ name: l0, size: 4GiB, filesystem: {{ type: ext4, mount_point: /m{vg}/0, used: 90% }} }}\n"
            );
            for lv in 0..VOLUMES {
                config += &format!("    - {{ lv_path: vg{vg}/l{lv}, mount_point: /m{vg}/{lv}, increment: 2GiB }}\n");
            }
        }
        let write = |name: &str, text: String| std::fs::write(folder.path().join(name), text).expect("written");
        write("host.yaml", host);
        let state = folder.path().join("state");
        write(
            "config.yaml",
            format!(
                "state: {{ directory: {} }}\nwebhook: {{ queue: {queue} }}\nmonitor:\n  targets:\n{config}",
                state.display()
            ),
        );
        folder
    }

    fn run(folder: &Path) -> (Child, SocketAddr) {
        let address = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
        let process = split::daemon()
            .args(["serve", "--log.level=error"])
            .arg(format!("--config.file={}", folder.join("config.yaml").display()))
            .arg(format!("--simulate={}", folder.join("host.yaml").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdout(Stdio::null())
            .spawn()
            .expect("it starts");
        (process, address)
    }

    fn gets_ready(&self) {
        let until = Instant::now() + Duration::from_secs(120);
        while self.get("/-/ready").is_none_or(|(status, _)| status != 200) {
            assert!(Instant::now() < until, "it does not get ready");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// SIGKILL.
    fn kill(&mut self) {
        self.process.kill().expect("it runs");
        self.process.wait().expect("a child");
    }

    /// The requests in the journal: those that were written down, by volume, and those that were decided about.
    fn journal(&self) -> (BTreeMap<String, BTreeSet<u64>>, Vec<u64>) {
        let (mut received, mut decided, mut records) = (BTreeMap::<String, BTreeSet<u64>>::new(), vec![], 0);
        let read = Journal::read_since(&self.state(), 0, &mut |record| {
            records += 1;
            assert_eq!(record.number, records, "the journal still has all of them");
            match &record.entry.event {
                Event::Received { request, lv, .. } => {
                    received.entry(lv.to_string()).or_default().insert(*request);
                }
                Event::Refused { request, .. } | Event::Planned { request, .. } => decided.extend(request),
                _ => {}
            }
        });
        read.expect("a journal");
        (received, decided)
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join("state").join("simulated")
    }

    fn get(&self, path: &str) -> Option<(u16, String)> {
        let mut stream = kept(self.address).ok()?;
        stream.get_mut().write_all(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes()).ok()?;
        let answer = Answer::next(&mut stream).ok()?;
        Some((answer.status, answer.body))
    }

    /// The sum over all series that begin so, by volume.
    fn decided(&self) -> BTreeMap<String, u64> {
        let (_, page) = self.get("/metrics").expect("it answers");
        let mut found = BTreeMap::new();
        for line in page.lines() {
            let counted = line.starts_with("lvm_autoscaler_refusals_total{vg=\"vg")
                || line.starts_with("lvm_autoscaler_operations_total{vg=\"vg");
            if let (true, Some((series, count))) = (counted, line.rsplit_once(' ')) {
                let part =
                    |name: &str| series.split_once(name).and_then(|(_, rest)| rest.split('"').next()).unwrap_or("");
                let lv = format!("{}/{}", part("vg=\""), part("lv=\""));
                *found.entry(lv).or_default() += count.parse::<f64>().expect("a number") as u64;
            }
        }
        found.retain(|_, count| *count > 0);
        found
    }

    /// The most memory it ever had, in MiB.
    fn peak(&self) -> u64 {
        let status = std::fs::read_to_string(Path::new("/proc").join(self.process.id().to_string()).join("status"));
        let status = status.expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("the kernel says so");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") / 1024
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The alerts of one request: each volume comes ten times in the whole storm.
fn request(number: usize) -> Vec<u8> {
    let alert = |n: usize| {
        let index = (number * ALERTS + n) % (GROUPS * VOLUMES);
        let (vg, lv) = (index % GROUPS, index / GROUPS);
        json!({ "status": "firing", "labels": { "alertname": "Filling", "instance": "db1:9100", "vg": format!("vg{vg}"),
            "lv": format!("l{lv}"), "mountpoint": format!("/m{vg}/{lv}") }, "annotations": {},
            "fingerprint": format!("{index:016x}") })
    };
    let alerts: Vec<Value> = (0..ALERTS).map(alert).collect();
    let body =
        json!({ "version": "4", "status": "firing", "groupKey": number.to_string(), "alerts": alerts }).to_string();
    let head = format!(
        "POST /webhook/alertmanager HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.into_bytes(), body.into_bytes()].concat()
}

fn storm(queue: usize) {
    let daemon = Daemon::start(queue);
    let before = daemon.peak();
    let results = Mutex::new((vec![], BTreeMap::<String, u64>::new(), 0));
    let began = Instant::now();
    std::thread::scope(|scope| {
        for connection in 0..CONNECTIONS {
            let (daemon, results) = (&daemon, &results);
            scope.spawn(move || {
                let mut stream = kept(daemon.address).expect("it listens");
                for number in (connection..REQUESTS).step_by(CONNECTIONS) {
                    let bytes = request(number);
                    loop {
                        let asked = Instant::now();
                        stream.get_mut().write_all(&bytes).expect("sent");
                        let Answer { status, body, .. } = Answer::next(&mut stream).expect("answered");
                        let took = asked.elapsed();
                        // On a busy machine the journal may take longer than a request waits for it: nothing is
                        // accepted then.
                        let Ok(body) = serde_json::from_str::<Value>(&body) else {
                            assert_eq!(status, 503, "{body}");
                            results.lock().expect("no panic").2 += 1;
                            std::thread::sleep(Duration::from_millis(100));
                            continue;
                        };
                        let alerts = body["alerts"].as_array().expect("a verdict each");
                        assert_eq!(alerts.len(), ALERTS);
                        let mut results = results.lock().expect("no panic");
                        results.0.push(took);
                        for alert in alerts {
                            match alert["verdict"].as_str() {
                                Some("accepted") => {
                                    let lv = alert["target"].as_str().expect("a target").to_owned();
                                    *results.1.entry(lv).or_default() += 1;
                                }
                                Some("coalesced") => {}
                                other => assert_eq!((other, status), (Some("not_accepted"), 503)),
                            }
                        }
                        if status == 202 {
                            break;
                        }
                        assert_eq!(status, 503);
                        results.2 += 1;
                        drop(results);
                        // Alertmanager waits half a second at first.
                        std::thread::sleep(Duration::from_millis(100));
                    }
                }
            });
        }
    });
    let took = began.elapsed();
    let (mut times, accepted, again) = results.into_inner().expect("no panic");
    let until = Instant::now() + Duration::from_secs(300);
    while daemon.decided() != accepted {
        assert!(Instant::now() < until, "accepted and decided differ: {accepted:?} {:?}", daemon.decided());
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(accepted.len(), GROUPS * VOLUMES, "each was asked for, so each was accepted at least once");
    let grown = daemon.get("/metrics").expect("it answers").1;
    let grown = grown.lines().filter(|line| line.contains("outcome=\"grown\"} 1") && line.contains("operations_total"));
    assert_eq!(grown.count(), GROUPS, "the volumes that exist grew once each");
    times.sort();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1000.0;
    let peak = daemon.peak();
    // A request is 13 KB and there are 20 at a time: far more would mean that something is kept.
    assert!(peak < before + 64, "{before} MiB before, {peak} MiB at the most");
    // A row of docs/performance.md.
    say(&format!(
        "figures: | {queue} | {:.2} s | {again} | {:.1} ms | {:.1} ms | {:.1} ms | {before} MiB | {peak} MiB |",
        took.as_secs_f64(),
        at(0.5),
        at(0.99),
        at(1.0),
    ));
}

#[test]
fn ten_thousand_alerts_are_answered_and_none_is_lost() {
    storm(1000);
}

#[test]
fn with_a_short_queue_the_rest_comes_again_and_is_accepted() {
    storm(100);
}

/// The alerts of one kill.
struct Killed {
    /// By the answers that the senders read.
    accepted: usize,
    /// By the journal that was left behind.
    written: usize,
    /// Those of them that only the next daemon decided about.
    pending: usize,
}

/// SIGKILL after so many answers. Whoever was answered 202 does not come again, so what that said is on disk, and the
/// next daemon decides about it; nothing is decided about twice.
fn killed_after(answers: usize) -> Killed {
    let mut daemon = Daemon::start(1000);
    let answered = Mutex::new((0, BTreeMap::<String, usize>::new()));
    let (address, process) = (daemon.address, Pid::from_raw(daemon.process.id().cast_signed()));
    std::thread::scope(|scope| {
        for connection in 0..CONNECTIONS {
            let answered = &answered;
            scope.spawn(move || {
                let Ok(mut stream) = kept(address) else { return };
                for number in (connection..REQUESTS).step_by(CONNECTIONS) {
                    if stream.get_mut().write_all(&request(number)).is_err() {
                        return;
                    }
                    let Ok(Answer { status, body, .. }) = Answer::next(&mut stream) else { return };
                    let body: Value = match serde_json::from_str(&body) {
                        Ok(body) => body,
                        // The half that is reached may live a moment longer than the one that acts.
                        Err(_) if is_split() && status == 503 => return,
                        Err(_) => unreachable!("{body:?}"),
                    };
                    let mut answered = answered.lock().expect("no panic");
                    answered.0 += 1;
                    for alert in body["alerts"].as_array().expect("a verdict each") {
                        let lv = alert["target"].as_str().expect("a target").to_owned();
                        match alert["verdict"].as_str() {
                            Some("accepted") => *answered.1.entry(lv).or_default() += 1,
                            Some("coalesced") => drop(answered.1.entry(lv).or_default()),
                            other => assert_eq!((other, status), (Some("not_accepted"), 503)),
                        }
                    }
                    if answered.0 == answers {
                        kill(process, Signal::SIGKILL).expect("ours");
                    }
                }
            });
        }
    });
    daemon.kill();
    let (count, promised) = answered.into_inner().expect("no panic");
    assert!((answers..REQUESTS).contains(&count), "it was meant to die in the middle, after {count} answers");

    let witness = std::fs::read_to_string(daemon.folder.path().join("state.simulated.witness")).expect("there is one");
    let known: u64 = witness.trim().parse().expect("a number");
    let written = Journal::peek(&daemon.state()).expect("a journal").records;
    assert!(known <= written, "the witness knows of {known} records, there are {written}");
    let (received, decided) = daemon.journal();
    for (lv, times) in &promised {
        let found = received.get(lv).map_or(0, BTreeSet::len);
        assert!(found >= (*times).max(1), "{lv} was accepted {times} times and is {found} times in the journal");
    }
    let pending = Journal::peek(&daemon.state()).expect("a journal").pending;
    let all: BTreeSet<u64> = received.values().flatten().copied().collect();
    let known: BTreeSet<u64> = decided.iter().chain(pending.keys()).copied().collect();
    assert_eq!(known, all, "each is decided about or waits");

    (daemon.process, daemon.address) = Daemon::run(daemon.folder.path());
    daemon.gets_ready();
    let until = Instant::now() + Duration::from_secs(300);
    let is_done = |daemon: &Daemon| {
        let state = Journal::peek(&daemon.state()).expect("a journal");
        state.pending.is_empty() && state.running.is_empty()
    };
    while !is_done(&daemon) {
        assert!(Instant::now() < until, "it is not decided about");
        std::thread::sleep(Duration::from_millis(100));
    }
    let (_, mut decided) = daemon.journal();
    decided.sort_unstable();
    assert_eq!(decided, Vec::from_iter(all), "each once");
    Killed { accepted: promised.values().sum(), written: decided.len(), pending: pending.len() }
}

/// The web process dies again and again in a storm of alerts whose senders come again until they are answered, as
/// Alertmanager does. The engine knows nothing of it: what was answered 202 is in its journal, each request is decided
/// about once, and each target grows once. Five kills in `make test`, a hundred in `make soak`.
#[test]
fn a_web_process_that_dies_in_a_storm_loses_nothing_and_repeats_nothing() {
    let kills = if is_soak() { 100 } else { 5 };
    let place = Place(Daemon::folder(1000));
    let _engine = Half::of(&place, &["engine", "--log.level=error"]);
    let address = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let listen = format!("--web.listen-address={address}");
    let web = || Half::of(&place, &["web", "--log.level=error", &listen]);
    let promised = Mutex::new(BTreeMap::<String, usize>::new());
    let (left, killed) = (AtomicUsize::new(CONNECTIONS), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for connection in 0..CONNECTIONS {
            let (promised, left, killed) = (&promised, &left, &killed);
            scope.spawn(move || {
                // As long as there are kills to come the storm goes on.
                for number in (connection..).step_by(CONNECTIONS) {
                    if number >= REQUESTS && killed.load(Ordering::Relaxed) == kills {
                        break;
                    }
                    let body = sent_until_answered(address, number % REQUESTS);
                    let mut promised = promised.lock().expect("no panic");
                    for alert in body["alerts"].as_array().expect("a verdict each") {
                        if alert["verdict"] == "accepted" {
                            let lv = alert["target"].as_str().expect("a target").to_owned();
                            *promised.entry(lv).or_default() += 1;
                        }
                    }
                }
                left.fetch_sub(1, Ordering::Relaxed);
            });
        }
        let mut running = web();
        while left.load(Ordering::Relaxed) > 0 {
            let is_up = kept(address).is_ok();
            if is_up && killed.load(Ordering::Relaxed) < kills {
                std::thread::sleep(Duration::from_millis(20 + 37 * killed.load(Ordering::Relaxed) as u64 % 200));
                drop(std::mem::replace(&mut running, web()));
                killed.fetch_add(1, Ordering::Relaxed);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    });
    let state = place.path("state").join("simulated");
    let until = Instant::now() + Duration::from_secs(300);
    loop {
        let now = Journal::peek(&state).expect("a journal");
        if now.pending.is_empty() && now.running.is_empty() {
            break;
        }
        assert!(Instant::now() < until, "it is not decided about");
        std::thread::sleep(Duration::from_millis(100));
    }
    let (received, decided, grown) = in_journal(&state);
    for (lv, times) in &promised.into_inner().expect("no panic") {
        let found = received.get(lv).map_or(0, BTreeSet::len);
        assert!(found >= *times, "{lv} was accepted {times} times and is {found} times in the journal");
    }
    let all: BTreeSet<u64> = received.values().flatten().copied().collect();
    assert_eq!(decided.len(), all.len(), "each once");
    assert_eq!(grown.len(), GROUPS, "{grown:?}");
    assert!(grown.values().all(|times| *times == 1), "{grown:?}");
    let alerts = all.len();
    say(&format!(
        "figures: the web process was killed {kills} times under load: {alerts} requests, each decided about once"
    ));
}

/// Sends a request until somebody accepts it.
fn sent_until_answered(address: SocketAddr, number: usize) -> Value {
    let until = Instant::now() + Duration::from_secs(300);
    loop {
        assert!(Instant::now() < until, "nobody answers");
        if let Ok(mut stream) = kept(address)
            && stream.get_mut().write_all(&request(number)).is_ok()
            && let Ok(Answer { status: 202, body, .. }) = Answer::next(&mut stream)
        {
            return serde_json::from_str(&body).expect("JSON");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// How often each volume grew.
type Growths = BTreeMap<String, usize>;

/// The requests in a journal: those that were written down, by volume, and those that were decided about; and how often
/// each volume grew.
fn in_journal(state: &Path) -> (BTreeMap<String, BTreeSet<u64>>, BTreeSet<u64>, Growths) {
    let (mut received, mut decided) = (BTreeMap::<String, BTreeSet<u64>>::new(), BTreeSet::new());
    let mut grown = Growths::new();
    let read = Journal::read_since(state, 0, &mut |record| match &record.entry.event {
        Event::Received { request, lv, .. } => {
            received.entry(lv.to_string()).or_default().insert(*request);
        }
        Event::Refused { request: Some(request), .. } => {
            assert!(decided.insert(*request), "{request} was decided twice")
        }
        Event::Planned { request, plan, .. } => {
            *grown.entry(plan.lv.to_string()).or_default() += 1;
            assert!(request.is_none_or(|request| decided.insert(request)), "{request:?} was decided twice");
        }
        _ => {}
    });
    read.expect("a journal");
    (received, decided, grown)
}

/// Three kills in `make test`, a hundred in `make soak`, each after another number of answers.
#[test]
fn what_was_answered_202_is_decided_about_after_a_kill_in_the_middle_of_a_storm() {
    let moments: Vec<usize> = if is_soak() { (1..=100).collect() } else { vec![1, 10, 40] };
    let (mut accepted, mut written, mut pending) = (0, 0, 0);
    for answers in &moments {
        let killed = killed_after(*answers);
        accepted += killed.accepted;
        written += killed.written;
        pending += killed.pending;
    }
    say(&format!(
        "figures: {} kills under load: {accepted} alerts were accepted, {written} were in the journal, {pending} of these were \
         pending; each was decided about once",
        moments.len()
    ));
}
