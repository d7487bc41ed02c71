//! A daemon of two processes, one of which is killed, hangs, or does not accept what the other accepts: what still
//! answers, within which time, and that a config is in force in both of them or in neither.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::Stdio;
use std::time::{Duration, Instant};

use assert_cmd::cargo::cargo_bin;
use nix::sys::signal::Signal;
use nix::unistd::{User, geteuid};
use serde_json::{Value, json};

use crate::common::eventually;
use crate::common::part::say;
use crate::common::place::{Place, err, out};
use crate::common::server::{Answer, connect};
use crate::edge::program;
use crate::half::Half;
use crate::wire::{CONFIG as BOTH, HOST};

const ONE: &str = "
monitor:
  targets:
    - { lv_path: vg/data, mount_point: /data }
";
const LOCAL: &str = "--web.listen-address=127.0.0.1:0";
/// Of an answer while the other half is gone or hangs. A question has 5 s, and this machine may be busy.
const BOUND: Duration = Duration::from_secs(9);

/// Of an alert that waits for the journal 8 s, and for the reason 2 s.
const WRITTEN: Duration = Duration::from_secs(12);

/// Both, and what is asked of them.
struct Halves {
    place: Place,
    engine: Half,
    web: Half,
}

fn engine(place: &Place) -> Half {
    Half::that_says("the web process may connect", place, &["engine"])
}

impl Halves {
    fn start(place: Place, listen: &str) -> Halves {
        place.write("host.yaml", HOST);
        let engine = engine(&place);
        let web = Half::that_says("message=listening", &place, &["web", listen]);
        let halves = Halves { place, engine, web };
        eventually("the host was looked at", || halves.get("/-/ready").status == 200);
        halves
    }

    fn address(&self) -> SocketAddr {
        let log = self.web.log();
        let address = log.split("address=").nth(1).and_then(|rest| rest.split_whitespace().next());
        let address: SocketAddr = address.expect("an address").trim_matches('"').parse().expect("an address");
        SocketAddr::from(([127, 0, 0, 1], address.port()))
    }

    fn ask(&self, request: &str) -> Answer {
        let mut stream = connect(self.address()).expect("it listens");
        let _ = stream.write_all(request.as_bytes());
        Answer::read(&mut stream)
    }

    fn get(&self, path: &str) -> Answer {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"))
    }

    /// The status that an alert for the file system there is answered with.
    fn alert(&self, mount_point: &str, headers: &str) -> u16 {
        self.alerted(mount_point, headers).status
    }

    fn alerted(&self, mount_point: &str, headers: &str) -> Answer {
        let labels = json!({ "instance": "db1:9100", "mountpoint": mount_point });
        let alerts = json!([{ "status": "firing", "labels": labels, "fingerprint": "1" }]);
        let body = json!({ "version": "4", "groupKey": "{}", "alerts": alerts }).to_string();
        let head = "POST /webhook/alertmanager HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
                    Content-Type: application/json";
        self.ask(&format!("{head}\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len()))
    }

    fn metric(&self, series: &str) -> Option<String> {
        let page = self.get("/metrics").body;
        page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ').map(str::to_owned))
    }

    /// What it is answered and how long that took.
    fn timed<T>(&self, ask: impl FnOnce(&Halves) -> T) -> (T, Duration) {
        let begun = Instant::now();
        let answer = ask(self);
        (answer, begun.elapsed())
    }

    /// The targets that the web process shows.
    fn targets(&self) -> Vec<String> {
        let page: Value = serde_json::from_str(&self.get("/api/v1/targets").body).expect("JSON");
        let targets = page["targets"].as_array().expect("a list");
        targets.iter().map(|target| target["lv"].as_str().expect("a name").to_owned()).collect()
    }

    fn size_of_full(&self) -> Option<u64> {
        let page: Value = serde_json::from_str(&self.get("/api/v1/targets").body).ok()?;
        let targets = page["targets"].as_array()?;
        targets.iter().find(|target| target["lv"] == "full")?["volume_bytes"].as_u64()
    }

    fn rewrite(&self, config: &str) {
        let state = self.place.path("state");
        self.place.write("config.yaml", &format!("{config}\nstate: {{ directory: {} }}\n", state.display()));
    }

    /// Exit code and all that a command printed.
    fn command(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let output = self.place.run(&[arguments, &[&self.place.config(), &self.place.host()]].concat());
        (output.status.code(), out(&output) + &err(&output))
    }

    /// What the operations grew, by the journal.
    fn grown(&self) -> Vec<String> {
        let rows: Value = serde_json::from_str(&self.command(&["history", "--format=json"]).1).expect("JSON");
        let rows = rows.as_array().expect("rows").iter().filter(|row| row["result"] == "grown");
        rows.map(|row| row["lv"].as_str().expect("a volume").to_owned()).collect()
    }
}

const SUCCESSFUL: &str = "lvm_autoscaler_config_last_reload_successful";

#[test]
fn alerts_wait_for_an_engine_that_was_killed_and_pages_do_not() {
    let mut halves = Halves::start(Place::new(BOTH), LOCAL);
    assert_eq!(halves.metric(SUCCESSFUL).as_deref(), Some("1"));
    halves.engine.kill();
    let (status, took) = halves.timed(|halves| halves.alert("/full", ""));
    assert!(status == 503 && took < BOUND, "{status} after {took:?}");
    for path in ["/metrics", "/", "/api/v1/inventory", "/api/v1/targets"] {
        let (answer, took) = halves.timed(|halves| halves.get(path));
        assert!(answer.status == 200 && took < BOUND, "{path}: {} after {took:?}", answer.status);
        assert!(answer.body.contains("full"), "what was seen last is shown: {path}");
    }
    assert_eq!(halves.metric(SUCCESSFUL), None, "what the engine counts is not made up");
    assert!(halves.get("/-/ready").status == 503 && halves.get("/-/healthy").status == 200);
    halves.engine = engine(&halves.place);
    eventually("the alert is accepted", || halves.alert("/full", "") == 202);
    eventually("it grows", || halves.size_of_full() == Some(5 << 30));
    assert_eq!(halves.grown(), ["vg/full"]);
}

#[test]
fn an_engine_that_hangs_holds_up_no_answer_for_long() {
    let halves = Halves::start(Place::new(BOTH), LOCAL);
    halves.engine.signal(Signal::SIGSTOP);
    let (status, took) = halves.timed(|halves| halves.alert("/full", ""));
    assert!(status == 503 && took < WRITTEN, "{status} after {took:?}");
    let until = Instant::now() + Duration::from_secs(12);
    // Long enough that the engine is tried again in between.
    while Instant::now() < until {
        let (answer, took) = halves.timed(|halves| halves.get("/metrics"));
        assert!(answer.status == 200 && took < BOUND, "{} after {took:?}", answer.status);
        let (status, took) = halves.timed(|halves| halves.alert("/full", ""));
        assert!(status == 503 && took < WRITTEN, "{status} after {took:?}");
    }
    halves.engine.signal(Signal::SIGCONT);
    eventually("the alert is accepted", || halves.alert("/full", "") == 202);
    eventually("it grows", || halves.size_of_full() == Some(5 << 30));
    assert_eq!(halves.grown(), ["vg/full"]);
}

#[test]
fn an_engine_without_its_web_process_answers_people_and_grows_by_its_own_look() {
    let place = Place::new(&BOTH.replace("monitor:", "monitor:\n  interval_seconds: 1"));
    place.write("host.yaml", HOST);
    let output = place.run(&["pause", "vg/full", &place.config(), &place.host()]);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    let mut halves = Halves::start(place, LOCAL);
    halves.web.kill();
    let (code, said) = halves.command(&["extend", "/data", "--by=1GiB"]);
    assert!(code == Some(0) && said.contains("grown (op-"), "{said}");
    assert!(halves.engine.says("extend requested on the control socket"));
    assert_eq!(halves.command(&["pause", "vg/data"]).0, Some(0));
    assert_eq!(halves.grown(), ["vg/data"]);
    assert_eq!(halves.command(&["resume", "vg/full"]).0, Some(0));
    eventually("its own look grows it", || halves.grown().contains(&"vg/full".to_owned()));
    // As if it had never been gone.
    halves.web = Half::that_says("message=listening", &halves.place, &["web", LOCAL]);
    eventually("it shows what was done", || halves.size_of_full() == Some(5 << 30));
}

#[test]
fn a_process_of_another_user_is_turned_away_whatever_the_sockets_mode_is() {
    let Ok(Some(nobody)) = User::from_name("nobody") else { return say("SKIPPED: there is no user nobody") };
    if !geteuid().is_root() {
        return say("SKIPPED: only root can start a process of another user");
    }
    let place = Place::new(BOTH);
    // Nobody must be able to reach the program and the socket, so that it is the user alone who decides.
    let mode = |path: &std::path::Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("ours");
    };
    mode(place.0.path(), 0o755);
    let own = place.path("lvm-autoscaler");
    std::fs::copy(cargo_bin("lvm-autoscaler"), &own).expect("a copy");
    let web = |place: &Place| {
        mode(&place.path("engine.sock"), 0o666);
        let socket = format!("--engine.socket={}", place.path("engine.sock").display());
        let mut command = program(&own);
        command.args(["web", LOCAL, &socket]).current_dir("/").stdin(Stdio::null());
        Half::spawn({
            command.uid(nobody.uid.as_raw()).gid(nobody.gid.as_raw());
            command
        })
    };
    let mut refusing = engine(&place);
    let stranger = web(&place);
    let refused = format!("uid={}", nobody.uid);
    eventually("it is refused", || refusing.log().lines().any(|line| line.contains(&refused)));
    eventually("it waits", || stranger.says("waiting for the engine"));
    std::thread::sleep(Duration::from_secs(1));
    assert!(!stranger.says("message=listening"), "{}", stranger.log());
    refusing.kill();
    // The same process, if it is the user that the engine was given.
    let _admitting = Half::that_says("the web process may connect", &place, &["engine", "--web.user=nobody"]);
    mode(&place.path("engine.sock"), 0o666);
    eventually("it is let in", || stranger.says("message=listening"));
}

/// Somebody who is notified.
struct Hook(TcpListener);

impl Hook {
    fn new() -> Hook {
        Hook(TcpListener::bind("127.0.0.1:0").expect("a port"))
    }

    fn entry(&self) -> String {
        let address = self.0.local_addr().expect("an address");
        format!("notify: [{{ webhook: {{ url: 'http://{address}/', on: [grown] }} }}]\n")
    }

    /// Whether somebody told it something, within that time.
    fn is_told(&self, within: Duration) -> bool {
        self.0.set_nonblocking(true).expect("a socket");
        let until = Instant::now() + within;
        while Instant::now() < until {
            if let Ok((stream, _)) = self.0.accept() {
                answer(stream);
                return true;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        false
    }
}

fn answer(mut stream: TcpStream) {
    stream.set_nonblocking(false).expect("a socket");
    stream.set_read_timeout(Some(Duration::from_secs(1))).expect("a timeout");
    let _ = stream.read(&mut [0; 4096]);
    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
}

const TOKEN: &str = "Authorization: Bearer t0ken\r\n";

/// On all addresses, so that a config without credentials is one to which the web process objects.
fn guarded(config: &str) -> (Halves, String) {
    let place = Place::new("");
    place.write("token", "t0ken\n");
    let credentials =
        format!("webhook: {{ authorization: {{ credentials_file: {} }} }}\n", place.path("token").display());
    let state = format!("state: {{ directory: {} }}\n", place.path("state").display());
    place.write("config.yaml", &format!("{config}{credentials}{state}"));
    (Halves::start(place, "--web.listen-address=0.0.0.0:0"), credentials)
}

#[test]
fn a_config_that_one_half_objects_to_is_in_force_in_neither() {
    let (before, after) = (Hook::new(), Hook::new());
    let (halves, credentials) = guarded(&format!("{ONE}{}", before.entry()));
    let stays = |said: &str| {
        let refused = [("refused".to_owned(), "unknown_target".to_owned())];
        assert_eq!(halves.alerted("/full", TOKEN).verdicts(), refused, "{said}");
        assert_eq!(halves.alert("/full", ""), 401, "{said}");
        assert_eq!(halves.metric(SUCCESSFUL).as_deref(), Some("0"), "{said}");
        let (code, extended) = halves.command(&["extend", "vg/full"]);
        assert!(code == Some(2) && extended.contains("vg/full is not among the targets"), "{extended}");
    };
    // The web process objects: everybody could reach the webhook.
    halves.rewrite(&format!("{BOTH}{}", after.entry()));
    let (code, said) = halves.command(&["reload"]);
    assert!(code == Some(2) && said.contains("webhook") && said.contains("0.0.0.0"), "{code:?}: {said}");
    stays(&said);
    // The engine objects: the programs are looked for at the start.
    let full = format!("{BOTH}{credentials}{}", after.entry());
    halves.rewrite(&format!("{full}tools: {{ lvm: /usr/bin/true }}\n"));
    let (code, said) = halves.command(&["reload"]);
    assert!(code == Some(2) && said.contains("tools changed, which only a start can do"), "{code:?}: {said}");
    stays(&said);
    // The credentials are the same as then: those in the file have no target of that name.
    halves.rewrite(&format!("{ONE}{credentials}{}", before.entry()));
    let (code, said) = halves.command(&["extend", "vg/data", "--by=1GiB"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(before.is_told(Duration::from_secs(30)) && !after.is_told(Duration::from_millis(500)));
    // Nobody objects.
    halves.rewrite(&full);
    let (code, said) = halves.command(&["reload"]);
    assert_eq!(code, Some(0), "{said}");
    let accepted = [("accepted".to_owned(), String::new())];
    assert_eq!(halves.alerted("/full", TOKEN).verdicts(), accepted);
    assert!(after.is_told(Duration::from_secs(30)) && !before.is_told(Duration::from_millis(500)));
    assert_eq!(halves.metric(SUCCESSFUL).as_deref(), Some("1"));
}

#[test]
fn a_web_process_that_hangs_holds_up_a_reload_for_seconds_only() {
    let halves = Halves::start(Place::new(ONE), LOCAL);
    // It was heard of a moment ago, so it is waited for.
    eventually("a reload is accepted", || halves.command(&["reload"]).0 == Some(0));
    halves.web.signal(Signal::SIGSTOP);
    halves.rewrite(BOTH);
    let ((code, said), took) = halves.timed(|halves| halves.command(&["reload"]));
    assert!(code == Some(2) && said.contains("the web process did not say within 5 s"), "{code:?}: {said}");
    assert!(took < BOUND, "{took:?}");
    assert!(halves.command(&["extend", "vg/full"]).1.contains("is not among the targets"));
    halves.web.signal(Signal::SIGCONT);
    eventually("the web process shows it", || halves.metric(SUCCESSFUL).as_deref() == Some("0"));
    let late = halves.alerted("/full", "").verdicts();
    assert_eq!(late[0].0, "refused", "a vote that comes too late puts nothing in force");
    halves.web.signal(Signal::SIGSTOP);
    // Nobody waits for one that was not heard of for 15 s.
    std::thread::sleep(Duration::from_secs(27));
    let ((code, said), took) = halves.timed(|halves| halves.command(&["reload"]));
    assert!(code == Some(0) && took < BOUND, "{code:?} after {took:?}: {said}");
    halves.web.signal(Signal::SIGCONT);
    eventually("the web process has it, too", || halves.targets().len() == 2);
}

#[test]
fn a_web_process_that_cannot_use_the_config_of_a_new_engine_keeps_its_own() {
    let (mut halves, credentials) = guarded(BOTH);
    halves.engine.kill();
    halves.rewrite(BOTH);
    halves.engine = engine(&halves.place);
    eventually("the web process reports it", || {
        halves.web.says("config cannot be used here, the one before stays: 0.0.0.0:")
    });
    // It would open the webhook to everybody. The token of the one before is not handed over any more.
    assert_eq!((halves.alert("/full", ""), halves.alert("/full", TOKEN)), (503, 503));
    assert_eq!(halves.get("/metrics").status, 200);
    let with_data = format!("{ONE}{credentials}");
    halves.rewrite(&with_data);
    eventually("one that it can use is in force", || {
        halves.command(&["reload"]).0 == Some(0) && halves.targets() == ["data"]
    });
}
