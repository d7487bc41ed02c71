//! Too much of something, from an address that others share with the attacker: connections, passwords, payloads,
//! reports.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use assert_cmd::cargo::cargo_bin;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nix::time::ClockId;
use nix::unistd::Pid;

use crate::common::server::connect;
use crate::edge::{Daemon, HOST, Place, TARGETS, program};

/// What a page of metrics may take while somebody attacks, on a machine that has time.
const SOON: Duration = Duration::from_secs(1);

/// How pages of metrics came while somebody attacked, beside those of a daemon that nobody attacks: on a busy machine
/// these are slow too.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Pages {
    pub(crate) count: usize,
    pub(crate) slowest: Duration,
    unharmed: Duration,
}

impl Pages {
    pub(crate) fn came_soon(&self) -> bool {
        self.slowest < SOON.max(4 * self.unharmed)
    }
}

/// Attacks of this kind one after the other: what each of them does to the machine must not count for another.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The daemon as it is usually started, which logs what a person would read.
pub(crate) fn serve(place: &Place, config: &str, web: &str) -> Daemon {
    let state = place.path("state");
    place.write("config.yaml", &format!("{config}\nstate: {{ directory: {} }}\n", state.display()));
    start(place, "serve", &["--config.file=config.yaml", "--simulate=host.yaml"], web)
}

fn start(place: &Place, command: &str, arguments: &[&str], web: &str) -> Daemon {
    let mut daemon = program(cargo_bin("lvm-autoscaler"));
    // As in the unit. `cargo test` builds with glibc, see docs/security.md, "Memory".
    daemon.env("MALLOC_ARENA_MAX", "1");
    daemon.arg(command).arg("--web.listen-address=127.0.0.1:0").args(arguments);
    if !web.is_empty() {
        place.write("web.yml", web);
        daemon.arg(format!("--web.config.file={}", place.path("web.yml").display()));
    }
    daemon.current_dir(place.folder.path()).stdin(Stdio::null());
    Daemon::watch(daemon)
}

pub(crate) fn address(daemon: &Daemon) -> SocketAddr {
    daemon.address.expect("it listens on TCP")
}

pub(crate) fn basic(user: &str, password: &str) -> String {
    format!("Authorization: Basic {}\r\n", STANDARD.encode(format!("{user}:{password}")))
}

/// One request on a connection of its own, and the whole answer; status 0 if there is none.
pub(crate) fn ask(to: SocketAddr, method: &str, path: &str, headers: &str, body: &[u8]) -> (u16, String) {
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n{headers}\r\n",
        body.len()
    );
    let Ok(mut stream) = connect(to) else { return (0, String::new()) };
    // A server that refuses early may close before everything is sent.
    let _ = stream.write_all(&[head.as_bytes(), body].concat());
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let text = String::from_utf8_lossy(&answer).into_owned();
    (text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0), text)
}

pub(crate) fn metric(page: &str, series: &str) -> f64 {
    let found = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok());
    assert!(found.is_some(), "no {series} in {page}");
    found.unwrap_or(f64::NAN)
}

/// The memory it has now, in MiB.
pub(crate) fn resident(daemon: &Daemon) -> u64 {
    let status = Path::new("/proc").join(daemon.process.id().to_string()).join("status");
    let status = std::fs::read_to_string(status).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("the kernel says so");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") / 1024
}

/// Processor time that all its threads used so far.
fn processor(daemon: &Daemon) -> Duration {
    let clock = ClockId::pid_cpu_clock_id(Pid::from_raw(daemon.process.id().cast_signed())).expect("it runs");
    Duration::from(clock.now().expect("a clock"))
}

/// Pages of metrics, each on a connection of its own, until told to stop: how many came and the slowest.
pub(crate) fn probe(to: SocketAddr, headers: &str, go_on: impl Fn() -> bool) -> Pages {
    probe_by(|| ask(to, "GET", "/metrics", headers, b""), go_on)
}

fn probe_by(page: impl Fn() -> (u16, String), go_on: impl Fn() -> bool) -> Pages {
    let place = Place::new();
    let unharmed = serve(&place, TARGETS, "");
    let mut pages = Pages::default();
    while go_on() {
        let asked = Instant::now();
        let (status, text) = page();
        pages.slowest = pages.slowest.max(asked.elapsed());
        assert_eq!(status, 200, "page {}, after {:?}: {text}", pages.count, asked.elapsed());
        pages.count += 1;
        let asked = Instant::now();
        assert_eq!(ask(address(&unharmed), "GET", "/metrics", "", b"").0, 200);
        pages.unharmed = pages.unharmed.max(asked.elapsed());
        std::thread::sleep(Duration::from_millis(100));
    }
    pages
}

/// Keeps so many connections on each of which this was sent and nothing else comes, and opens a new one for each that
/// is closed.
pub(crate) fn hold(to: SocketAddr, count: usize, bytes: &[u8], go_on: impl Fn() -> bool) {
    let mut kept: Vec<TcpStream> = Vec::new();
    while go_on() {
        while kept.len() < count {
            let Ok(mut stream) = TcpStream::connect_timeout(&to, Duration::from_millis(200)) else { break };
            let _ = stream.write_all(bytes);
            stream.set_nonblocking(true).expect("a socket");
            kept.push(stream);
        }
        kept.retain_mut(|stream| match stream.read(&mut [0; 512]) {
            Ok(read) => read > 0,
            Err(error) => error.kind() == ErrorKind::WouldBlock,
        });
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// 257 idle connections kept everybody else out, and nothing said so.
#[test]
fn connections_that_ask_nothing_silence_no_listener() {
    let _alone = alone();
    let place = Place::new();
    let body = b"POST /webhook/alertmanager HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
        Content-Length: 1000\r\n\r\n{";
    let answered = b"GET /-/healthy HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for (what, bytes) in
        [("nothing", &b""[..]), ("half a header", b"GET / HT"), ("half a body", body), ("one request", answered)]
    {
        let daemon = serve(&place, TARGETS, "");
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| hold(address(&daemon), 384, bytes, || !over.load(Ordering::Relaxed)));
            std::thread::sleep(Duration::from_millis(500));
            let until = Instant::now() + Duration::from_secs(4);
            let probed = std::panic::catch_unwind(|| probe(address(&daemon), "", || Instant::now() < until));
            let (_, page) = ask(address(&daemon), "GET", "/metrics", "", b"");
            over.store(true, Ordering::Relaxed);
            let pages = probed.expect("each page came");
            assert!(pages.count > 10 && pages.came_soon(), "{what}: {pages:?}");
            let listener = address(&daemon);
            let open = metric(&page, &format!("lvm_autoscaler_connections{{listener=\"{listener}\"}}"));
            // Those that got an answer are not kept when places become few, so that hardly one has to be dropped.
            let (least, dropped) = if bytes == answered { (150.0, 0.0) } else { (200.0, 100.0) };
            assert!((least..=256.0).contains(&open), "{what}: {open}");
            let hits = metric(&page, "lvm_autoscaler_limit_hits_total{limit=\"connections\"}");
            assert!(hits >= dropped, "{what}: {hits}");
        });
        let said = daemon.log().matches("too many connections").count();
        assert!(said == 1 || bytes == answered, "{what}: {}", daemon.log());
    }
}

#[test]
fn handshakes_that_do_not_go_on_silence_no_listener() {
    let _alone = alone();
    let place = Place::new();
    let daemon = serve(&place, TARGETS, &place.tls(""));
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let half_a_hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
        scope.spawn(|| hold(address(&daemon), 384, half_a_hello, || !over.load(Ordering::Relaxed)));
        std::thread::sleep(Duration::from_millis(500));
        let asked = AtomicUsize::new(0);
        let page = || (place.status(&daemon, "/metrics", &[]), String::new());
        let probed = std::panic::catch_unwind(AssertUnwindSafe(|| {
            probe_by(page, || asked.fetch_add(1, Ordering::Relaxed) < 10)
        }));
        over.store(true, Ordering::Relaxed);
        let pages = probed.expect("each page came");
        assert!(pages.came_soon(), "{pages:?}");
    });
}

/// With any interval of up to five minutes a scrape finds the connection of the one before.
#[test]
fn idle_connections_are_kept_for_as_long_as_prometheus_keeps_them() {
    assert!(lvm_autoscaler::server::Limits::default().header > Duration::from_secs(300));
}

/// Sends a wrong password, and waits for the answer until told to stop.
pub(crate) fn guess_once(to: SocketAddr, password: &str, go_on: &dyn Fn() -> bool) {
    let Ok(mut stream) = connect(to) else { return };
    let headers = basic("alice", password);
    let request = format!("GET /-/healthy HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n");
    let _ = stream.write_all(request.as_bytes());
    let _ = stream.set_read_timeout(Some(Duration::from_millis(200)));
    let mut answer = [0; 512];
    while go_on() && stream.read(&mut answer).is_err_and(|error| error.kind() == ErrorKind::WouldBlock) {}
}

/// 18 senders of wrong passwords kept the right one out, for as long as they liked, and nothing counted it.
#[test]
fn wrong_passwords_do_not_keep_the_right_one_out() {
    let _alone = alone();
    let place = Place::new();
    // As dear as it can be without the test taking minutes: about a tenth of a second.
    let hash = bcrypt::hash("right", 7).expect("a hash");
    let daemon = serve(&place, TARGETS, &format!("basic_auth_users: {{ alice: '{hash}' }}\n"));
    let (to, over) = (address(&daemon), AtomicBool::new(false));
    let right = basic("alice", "right");
    let took = std::thread::scope(|scope| {
        for from in 0..40 {
            let over = &over;
            scope.spawn(move || {
                let go_on = || !over.load(Ordering::Relaxed);
                let mut n = 0;
                while go_on() {
                    n += 1;
                    guess_once(to, &format!("guess-{from}-{n}"), &go_on);
                }
            });
        }
        std::thread::sleep(Duration::from_secs(3));
        let asked = Instant::now();
        let (status, text) = ask(to, "GET", "/metrics", &right, b"");
        let took = asked.elapsed();
        let posted = ask(to, "POST", "/webhook/alertmanager", &right, br#"{"version":"4","alerts":[]}"#);
        let probed = std::panic::catch_unwind(|| {
            let until = Instant::now() + Duration::from_secs(2);
            probe(to, &right, || Instant::now() < until)
        });
        over.store(true, Ordering::Relaxed);
        assert_eq!((status, posted.0), (200, 202), "after {took:?}: {text}");
        let pages = probed.expect("each page came");
        assert!(pages.count > 5 && pages.came_soon(), "what was right is known: {pages:?}");
        took
    });
    assert!(took < Duration::from_secs(5), "the right password waited for {took:?}");
    let (_, page) = ask(to, "GET", "/metrics", &right, b"");
    let failures = metric(&page, &format!("lvm_autoscaler_login_failures_total{{listener=\"{to}\"}}"));
    assert!(failures > 10.0, "{failures}");
    let said = daemon.log().matches("wrong credentials").count();
    assert_eq!(said, 1, "{}", daemon.log());
    assert!(!daemon.log().contains("guess-") && !daemon.log().contains("alice"), "{}", daemon.log());
}

/// Users whose passwords cost less are not told from those that do not exist.
#[test]
fn a_wrong_password_takes_as_long_for_every_user_and_for_none() {
    let _alone = alone();
    let place = Place::new();
    let cheap = bcrypt::hash("right", 4).expect("a hash");
    let dear = bcrypt::hash("right", 8).expect("a hash");
    let daemon = serve(&place, TARGETS, &format!("basic_auth_users: {{ cheap: '{cheap}', dear: '{dear}' }}\n"));
    // The quickest of a few: what else runs on this machine only adds.
    let quickest = |user: &str| {
        let asked = (0..6).map(|_| {
            let asked = Instant::now();
            assert_eq!(ask(address(&daemon), "GET", "/", &basic(user, "wrong"), b"").0, 401);
            asked.elapsed()
        });
        asked.min().expect("some")
    };
    // Costs that differ sixteenfold are never alike; those that do not are, as soon as the machine is quiet for a
    // moment.
    let mut seen = Vec::new();
    for _ in 0..10 {
        let (cheap, dear, nobody) = (quickest("cheap"), quickest("dear"), quickest("nobody"));
        let alike = |took: Duration| (0.7..1.4).contains(&(took.as_secs_f64() / nobody.as_secs_f64()));
        if alike(cheap) && alike(dear) {
            return;
        }
        seen.push((cheap, dear, nobody));
    }
    assert!(seen.is_empty(), "cheap, dear and unknown users: {seen:?}");
}

#[test]
fn who_may_not_ask_does_not_use_up_the_rate_limit_of_those_who_may() {
    let _alone = alone();
    let place = Place::new();
    let web = format!("{}rate_limit: {{ interval: 1h, burst: 2 }}\n", place.users());
    let daemon = serve(&place, TARGETS, &web);
    let to = address(&daemon);
    for _ in 0..3 {
        assert_eq!(ask(to, "GET", "/metrics", "", b"").0, 401);
        assert_eq!(ask(to, "GET", "/metrics", &basic("alice", "wrong"), b"").0, 401);
    }
    let right = basic("alice", crate::edge::PASSWORD);
    let statuses: Vec<u16> = (0..3).map(|_| ask(to, "GET", "/metrics", &right, b"").0).collect();
    assert_eq!(statuses, [200, 200, 429]);
    // What brings none is how every browser begins.
    let failures = format!("lvm_autoscaler_login_failures_total{{listener=\"{to}\"}}");
    drop(daemon);
    let daemon = serve(&place, TARGETS, &place.users());
    let failures = failures.replace(&to.to_string(), &address(&daemon).to_string());
    assert_eq!(ask(address(&daemon), "GET", "/metrics", "", b"").0, 401);
    assert_eq!(metric(&ask(address(&daemon), "GET", "/metrics", &right, b"").1, &failures), 0.0);
}

/// Bodies of a megabyte that cost the most.
pub(crate) fn costly() -> Vec<(&'static str, Vec<u8>)> {
    let alerts = |alert: &str| {
        let count = ((1 << 20) - 100) / (alert.len() + 1);
        format!("{{\"version\":\"4\",\"alerts\":[{}]}}", vec![alert; count].join(",")).into_bytes()
    };
    let labels = (0..100_000).map(|n| format!("\"{n}\":\"\"")).collect::<Vec<_>>().join(",");
    vec![
        ("empty alerts", alerts(r#"{"status":"firing"}"#)),
        ("resolved alerts", alerts(r#"{"status":"resolved"}"#)),
        ("alerts of others", alerts(r#"{"status":"firing","labels":{"instance":"x"}}"#)),
        (
            "a long label",
            alerts(&format!(r#"{{"status":"firing","labels":{{"instance":"{}"}}}}"#, "\\n".repeat(500_000))),
        ),
        (
            "many labels",
            alerts(&format!(r#"{{"status":"firing","labels":{{{}}}}}"#, &labels[..labels.len().min(1_000_000)])),
        ),
        ("trees", format!("{{\"version\":\"4\",\"x\":[{}0],\"alerts\":[]}}", "{\"\":0},".repeat(120_000)).into_bytes()),
        ("empty alerts, small", {
            let alerts = vec![r#"{"status":"firing"}"#; 3000].join(",");
            format!("{{\"version\":\"4\",\"alerts\":[{alerts}]}}").into_bytes()
        }),
    ]
}

/// Posts the body on so many connections and reads no answer until told to stop; again where the connection is closed.
pub(crate) fn post_and_not_read(
    to: SocketAddr,
    body: &[u8],
    headers: &str,
    count: usize,
    go_on: &(dyn Fn() -> bool + Sync),
) {
    let request = format!(
        "POST /webhook/alertmanager HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{headers}\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    let request = &[request.as_bytes(), body].concat();
    std::thread::scope(|scope| {
        for _ in 0..count {
            scope.spawn(move || {
                while go_on() {
                    let Ok(mut stream) = connect(to) else { continue };
                    let _ = stream.set_write_timeout(Some(Duration::from_secs(5)));
                    if stream.write_all(request).is_err() {
                        continue;
                    }
                    let closed = |stream: &TcpStream| {
                        let _ = stream.set_read_timeout(Some(Duration::from_millis(200)));
                        stream.peek(&mut [0]).is_ok_and(|read| read == 0)
                    };
                    while go_on() && !closed(&stream) {
                        std::thread::sleep(Duration::from_millis(200));
                    }
                }
            });
        }
    });
}

/// The most memory while a hundred of these bodies are posted at a time, and how pages of metrics came meanwhile.
fn cost(daemon: &Daemon, body: &[u8]) -> (u64, Pages) {
    let (to, over, most) = (address(daemon), AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| post_and_not_read(to, body, "", 100, &|| !over.load(Ordering::Relaxed)));
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                most.fetch_max(resident(daemon) as usize, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        let pages = AtomicUsize::new(0);
        let probed = std::panic::catch_unwind(|| probe(to, "", || pages.fetch_add(1, Ordering::Relaxed) < 30));
        over.store(true, Ordering::Relaxed);
        (most.load(Ordering::Relaxed) as u64, probed.expect("each page came"))
    })
}

/// 28 MiB of memory for each MiB that was posted, not given back, and a third of the scrapes timed out.
#[test]
fn payloads_cost_a_bounded_amount_of_memory_and_pages_come_meanwhile() {
    let _alone = alone();
    let place = Place::new();
    let mut said = vec![];
    for (what, body) in costly() {
        let daemon = serve(&place, TARGETS, "");
        let (most, pages) = cost(&daemon, &body);
        said.push(format!("{what}: {most} MiB, slowest page {:?}", pages.slowest));
        assert!(most < 128 && pages.count == 30 && pages.came_soon(), "{said:#?} {pages:?}");
        let over = ask(address(&daemon), "POST", "/webhook/alertmanager", "", br#"{"version":"4","alerts":[]}"#);
        assert_eq!(over.0, 202, "{what}: {}", over.1);
    }
    crate::part::say(&format!("figures: {}", said.join("; ")));
}

#[test]
fn a_relay_is_under_the_same_bounds() {
    let _alone = alone();
    let place = Place::new();
    place.write("hosts.json", "127.0.0.1:9\n");
    for (what, body) in costly() {
        let relay = start(&place, "relay", &["--targets-file=hosts.json"], "");
        let (most, pages) = cost(&relay, &body);
        assert!(most < 128 && pages.count == 30 && pages.came_soon(), "{what}: {most} MiB, {pages:?}");
    }
}

/// The answer to a payload is bounded, and what it does not list was judged all the same.
#[test]
fn alerts_beyond_those_that_are_answered_are_judged_too() {
    let _alone = alone();
    let place = Place::new();
    let daemon = serve(&place, TARGETS, "");
    let others = vec![r#"{"status":"firing","labels":{"instance":"db2","vg":"v","lv":"l"}}"#; 1100].join(",");
    let last = r#"{"status":"firing","labels":{"instance":"db1","vg":"vg","lv":"data"}}"#;
    let body = format!("{{\"version\":\"4\",\"status\":\"firing\",\"alerts\":[{others},{last}]}}");
    let (status, answer) = ask(address(&daemon), "POST", "/webhook/alertmanager", "", body.as_bytes());
    assert_eq!(status, 202, "{answer}");
    assert!(answer.contains("\"more\":77") && answer.len() < 256 << 10, "{} bytes: {answer}", answer.len());
    let (_, page) = ask(address(&daemon), "GET", "/metrics", "", b"");
    assert_eq!(metric(&page, "lvm_autoscaler_alerts_total{verdict=\"accepted\"}"), 1.0);
    assert_eq!(metric(&page, "lvm_autoscaler_alerts_total{verdict=\"refused\"}"), 1100.0);
    assert_eq!(metric(&page, "lvm_autoscaler_limit_hits_total{limit=\"alerts_per_payload\"}"), 1.0);
}

/// A host of so many volumes more, so that a report is dear.
fn has_volumes(place: &Place, count: usize) {
    let lv = |n| {
        format!("      - {{ name: l{n}, size: 16MiB, filesystem: {{ type: ext4, mount_point: /m{n}, used: 50% }} }}\n")
    };
    place.write("host.yaml", &format!("{HOST}{}", (0..count).map(lv).collect::<String>()));
}

/// A report cost 75 ms of a processor for each request.
#[test]
fn a_report_that_is_asked_for_again_is_not_made_again() {
    let _alone = alone();
    let place = Place::new();
    has_volumes(&place, 200);
    let daemon = serve(&place, TARGETS, "");
    let cost = |path: &str, count: usize| {
        let before = processor(&daemon);
        for _ in 0..count {
            assert_eq!(ask(address(&daemon), "GET", path, "", b"").0, 200, "{path}");
        }
        processor(&daemon) - before
    };
    // What only the first request of all costs is over.
    cost("/report?format=json", 1);
    let (first, others, beside) = (cost("/report", 1), cost("/report", 50), cost("/-/healthy", 50));
    crate::part::say(&format!("figures: a report {first:?}, fifty more {others:?}, fifty of another page {beside:?}"));
    // On a busy machine some of the fifty are asked for after ten seconds and made again; without a cache it is fifty
    // times as much.
    assert!(
        others.saturating_sub(beside) < first * 5,
        "{first:?} for one, {others:?} for fifty more, {beside:?} beside"
    );
}

#[test]
fn reports_cost_a_tenth_of_a_processor_however_many_are_asked_for() {
    let _alone = alone();
    let place = Place::new();
    has_volumes(&place, 300);
    let daemon = serve(&place, TARGETS, "");
    let to = address(&daemon);
    assert_eq!(ask(to, "GET", "/report", "", b"").0, 200);
    let (begun, before, over) = (Instant::now(), processor(&daemon), AtomicBool::new(false));
    let statuses = Mutex::new(vec![]);
    std::thread::scope(|scope| {
        for from in 0..20 {
            let (over, statuses) = (&over, &statuses);
            scope.spawn(move || {
                let mut n = 0;
                while !over.load(Ordering::Relaxed) {
                    n += 1;
                    let path = if from % 2 == 0 { "/report".to_owned() } else { format!("/report?since={from}{n}s") };
                    statuses.lock().expect("not poisoned").push(ask(to, "GET", &path, "", b"").0);
                    std::thread::sleep(Duration::from_millis(10));
                }
            });
        }
        std::thread::sleep(Duration::from_secs(5));
        over.store(true, Ordering::Relaxed);
    });
    let share = (processor(&daemon) - before).as_secs_f64() / begun.elapsed().as_secs_f64();
    let statuses = statuses.into_inner().expect("not poisoned");
    let count = |wanted: u16| statuses.iter().filter(|status| **status == wanted).count();
    assert_eq!(count(200) + count(503), statuses.len(), "{statuses:?}");
    assert!(count(200) > 0 && share < 0.3, "{} of {} answered, {share:.2} of a processor", count(200), statuses.len());
}
