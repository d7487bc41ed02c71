//! The state directory is taken away, replaced, cut or set back, while the daemon runs and before it starts. An alert
//! that is answered with 202 is then either found by the next start or was not answered so.

use std::fs;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use lvm_autoscaler::journal::Journal;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::common::place::{Place, Served, err};
use crate::common::server::connect;
use crate::common::{CONFIG, eventually};

/// An attack on a folder.
type Harm = fn(&Path);

/// A daemon of a place, and how it is asked.
pub(crate) struct Daemon {
    pub(crate) served: Served,
    pub(crate) address: SocketAddr,
}

impl Daemon {
    pub(crate) fn start(place: &Place) -> Daemon {
        let served = place.serve(&[]);
        let address = served.begun.split("address=").nth(1).and_then(|rest| rest.split_whitespace().next());
        let address = address.and_then(|address| address.trim_matches('"').parse().ok()).expect("an address");
        Daemon { served, address }
    }

    /// Status and body.
    pub(crate) fn ask(&self, request: &str) -> (u16, String) {
        let mut stream = connect(self.address).expect("it listens");
        stream.write_all(request.as_bytes()).expect("sent");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("text");
        let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        (status, text.split_once("\r\n\r\n").map_or("", |(_, body)| body).to_owned())
    }

    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"))
    }

    pub(crate) fn json(&self, path: &str) -> Value {
        serde_json::from_str(&self.get(path).1).expect("JSON")
    }

    pub(crate) fn alert(&self, vg: &str, lv: &str) -> u16 {
        self.ask(&post(&alerts(json!([firing(json!({ "instance": "db1", "vg": vg, "lv": lv }))])), "close")).0
    }

    pub(crate) fn extents(&self, lv: &str) -> u64 {
        let targets = self.json("/api/v1/targets");
        let found = targets["targets"].as_array().expect("a list").iter().find(|target| target["lv"] == lv);
        found.expect("a target")["volume_bytes"].as_u64().expect("a size") >> 22
    }

    pub(crate) fn becomes_ready(&self) {
        eventually("it is ready", || self.get("/-/ready").0 == 200);
    }

    /// A first operation, so that there is something to forget.
    pub(crate) fn grows_data(&self) {
        self.becomes_ready();
        assert_eq!(self.alert("vg", "data"), 202);
        eventually("it has grown", || self.json("/api/v1/operations")["recent"][0]["result"] == "grown");
    }
}

pub(crate) fn firing(labels: Value) -> Value {
    json!({ "status": "firing", "labels": labels, "fingerprint": "00aa00aa00aa00aa" })
}

pub(crate) fn alerts(alerts: Value) -> String {
    json!({ "version": "4", "groupKey": "{}", "alerts": alerts }).to_string()
}

pub(crate) fn post(body: &str, connection: &str) -> String {
    format!(
        "POST /webhook/alertmanager HTTP/1.1\r\nHost: localhost\r\nConnection: {connection}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// A simulated host has its state in a folder of its own.
fn state(place: &Place) -> PathBuf {
    place.path("state/simulated")
}

fn witness(place: &Place) -> PathBuf {
    place.path("state.simulated.witness")
}

/// With owners and times, as a backup is restored.
fn copy(from: &Path, to: &Path) {
    run("cp", &["-a", &from.display().to_string(), &to.display().to_string()]);
}

#[expect(clippy::disallowed_methods, reason = "what a person types")]
fn run(program: &str, arguments: &[&str]) -> Output {
    let output = std::process::Command::new(program).args(arguments).output().expect("it runs");
    assert!(output.status.success(), "{program} {arguments:?}: {}", err(&output));
    output
}

/// The program as it ended by itself, or was ended when it took longer.
fn run_for(place: &Place, most: Duration, arguments: &[&str]) -> Output {
    let mut child = place.start(arguments).stderr(Stdio::piped()).spawn().expect("it starts");
    let begun = Instant::now();
    while child.try_wait().expect("a child").is_none() && begun.elapsed() < most {
        std::thread::sleep(Duration::from_millis(20));
    }
    let _ = child.kill();
    child.wait_with_output().expect("it ended")
}

pub(crate) fn rename(from: &Path, to: &Path) {
    run("mv", &["-T", &from.display().to_string(), &to.display().to_string()]);
}

fn remove(path: &Path) {
    run("rm", &["-r", &path.display().to_string()]);
}

fn aside(folder: &Path) -> PathBuf {
    folder.with_file_name("aside")
}

fn cut(file: &Path, size: u64) {
    fs::File::options().write(true).open(file).expect("there").set_len(size).expect("cut");
}

fn segments(folder: &Path) -> [PathBuf; 2] {
    ["journal.0", "journal.1"].map(|name| folder.join(name))
}

const HARMS: &[(&str, Harm)] = &[
    ("the folder is removed", |folder| remove(folder)),
    ("its parent is removed", |folder| remove(folder.parent().expect("a parent"))),
    ("the folder is replaced by an empty one", |folder| {
        rename(folder, &aside(folder));
        fs::DirBuilder::new().create(folder).expect("made");
    }),
    ("the folder is replaced by a copy", |folder| {
        copy(folder, &aside(folder));
        remove(folder);
        rename(&aside(folder), folder);
    }),
    ("the journal is removed", |folder| segments(folder).iter().for_each(|file| remove(file))),
    ("one segment is removed", |folder| remove(&segments(folder)[0])),
    ("the lock is removed", |folder| remove(&folder.join("lock"))),
    ("the lock is replaced", |folder| {
        remove(&folder.join("lock"));
        copy(&folder.join("journal.1"), &folder.join("lock"));
    }),
    ("the journal is cut to nothing", |folder| segments(folder).iter().for_each(|file| cut(file, 0))),
    ("the journal is cut a little", |folder| cut(&segments(folder)[0], 4 << 20 >> 1)),
    ("the journal is overwritten with zeros", |folder| {
        for file in segments(folder) {
            cut(&file, 0);
            cut(&file, 4 << 20);
        }
    }),
    ("the last record is overwritten", |folder| {
        let file = fs::File::options().read(true).write(true).open(&segments(folder)[0]).expect("there");
        let bytes = fs::read(&segments(folder)[0]).expect("readable");
        let last =
            String::from_utf8_lossy(&bytes).rfind("{\"at\"").map(|_| bytes.windows(5).rposition(|w| w == b"{\"at\""));
        let last = last.flatten().expect("a record");
        // A frame may hold several records: its head is before the first of them.
        let frame = (512..=last - 8).rev().find(|at| {
            let length = u32::from_le_bytes(bytes[*at..at + 4].try_into().expect("four")) as usize;
            bytes[at + 8] == b'{' && bytes.get(at + 8 + length) == Some(&0) && length < 4 << 20
        });
        file.write_all_at(&[0; 64], frame.expect("a frame") as u64).expect("written");
    }),
];

#[test]
fn no_alert_is_accepted_into_a_journal_that_the_next_start_would_not_find() {
    std::thread::scope(|scope| {
        for (what, harm) in HARMS {
            scope.spawn(move || {
                let place = Place::new(CONFIG);
                let daemon = Daemon::start(&place);
                daemon.grows_data();
                harm(&state(&place));
                assert_eq!(daemon.alert("vg", "media"), 503, "{what}: an alert is accepted");
                assert_eq!(daemon.get("/-/ready").0, 503, "{what}: it is ready");
                assert_eq!(daemon.extents("media"), 1024, "{what}: it grows");
            });
        }
    });
}

#[test]
fn what_became_of_the_journal_is_seen_without_an_alert() {
    let place = Place::new(CONFIG);
    let daemon = Daemon::start(&place);
    daemon.grows_data();
    rename(&state(&place), &place.path("aside"));
    eventually("it is not ready", || daemon.get("/-/ready").0 == 503);
    assert!(daemon.get("/metrics").1.contains("\nlvm_autoscaler_journal_writable 0"));
    // Put back as it was, it goes on with it.
    rename(&place.path("aside"), &state(&place));
    daemon.becomes_ready();
    assert_eq!(daemon.alert("vg", "media"), 202);
    eventually("it has grown", || daemon.extents("media") == 1536);
}

#[test]
fn a_mount_over_the_state_directory_is_not_taken_for_it() {
    let place = Place::new(CONFIG);
    let daemon = Daemon::start(&place);
    daemon.grows_data();
    // Without root nothing can be mounted, and nobody could do this.
    if mount(Some("none"), &state(&place), Some("tmpfs"), MsFlags::empty(), None::<&str>).is_err() {
        assert!(!nix::unistd::geteuid().is_root() || std::env::var_os("CI").is_none(), "root can mount");
        return;
    }
    let (accepted, ready) = (daemon.alert("vg", "media"), daemon.get("/-/ready"));
    umount2(&state(&place), MntFlags::MNT_DETACH).expect("mounted");
    assert_eq!((accepted, ready.0), (503, 503), "{ready:?}");
    daemon.becomes_ready();
    assert_eq!(daemon.alert("vg", "media"), 202);
}

/// "One for the same volume waits already" is a promise too.
#[test]
fn an_alert_that_adds_nothing_is_not_accepted_either() {
    let place = Place::new(CONFIG);
    let daemon = Daemon::start(&place);
    daemon.grows_data();
    // After so many that came in vain the next one waits.
    eventually("one waits", || {
        daemon.alert("vg", "data");
        daemon.json("/api/v1/operations")["waiting"].as_array().is_some_and(|waiting| !waiting.is_empty())
    });
    let body = alerts(json!([firing(json!({ "instance": "db1", "vg": "vg", "lv": "data" }))]));
    let (status, said) = daemon.ask(&post(&body, "close"));
    assert!(status == 202 && said.contains("coalesced"), "{status} {said}");
    remove(&state(&place));
    assert_eq!(daemon.alert("vg", "data"), 503);
}

#[test]
fn a_second_daemon_does_not_run_beside_the_first_when_the_lock_is_removed() {
    let place = Place::new(CONFIG);
    let daemon = Daemon::start(&place);
    daemon.grows_data();
    remove(&state(&place).join("lock"));
    let (config, host) = (place.config(), place.host());
    // One that would run does not end by itself.
    let second =
        run_for(&place, Duration::from_secs(10), &["serve", &config, &host, "--web.listen-address=127.0.0.1:0"]);
    assert!(second.status.code() == Some(1), "{}", err(&second));
    assert!(err(&second).contains("another lvm-autoscaler runs"), "{}", err(&second));
    assert_eq!(daemon.alert("vg", "media"), 503, "until the first has the lock again");
    daemon.becomes_ready();
    assert_eq!(daemon.alert("vg", "media"), 202);
    assert!(state(&place).join("lock").exists(), "the lock is taken again");
}

/// A daemon without its control socket could not be paused, reloaded or asked to extend until it was restarted.
#[test]
fn the_control_socket_is_made_again_when_its_name_is_lost() {
    let place = Place::new(CONFIG);
    let mut daemon = Daemon::start(&place);
    daemon.grows_data();
    let log = crate::evidence::read_log(&mut daemon.served);
    let socket = state(&place).join("control.sock");
    let listens = || UnixStream::connect(&socket).is_ok();
    assert!(listens());
    remove(&socket);
    eventually("it is made again where only its name was removed", listens);
    let pause = || place.run(&["pause", "/data", &place.config(), &place.host()]);
    assert!(pause().status.success(), "{}", err(&pause()));

    // The whole folder: as long as the journal is missed nothing is made that would be in the way of putting it back.
    remove(&state(&place));
    eventually("it is not ready", || daemon.get("/-/ready").0 == 503);
    std::thread::sleep(Duration::from_secs(11));
    assert!(!state(&place).exists());
    remove(&witness(&place));
    daemon.becomes_ready();
    eventually("it is made again with the folder", listens);
    assert!(pause().status.success(), "{}", err(&pause()));
    daemon.served.signal(Signal::SIGTERM);
    let log = log.join().expect("no panic");
    assert_eq!(log.matches("control socket ready").count(), 2, "{log}");
    assert_eq!(log.matches("control socket lost").count(), 1, "{log}");
    assert_eq!(log.matches("pause requested on the control socket").count(), 2, "{log}");
}

/// What the sentence tells to run, as a person pastes it.
fn command(sentence: &str) -> String {
    let command = sentence.trim_end().split_once("run: ").map(|(_, command)| command);
    command.expect("a command in it").to_owned()
}

#[test]
fn a_journal_that_is_blank_or_older_is_not_taken_for_the_truth_at_the_start() {
    let harms: &[(&str, Harm)] = &[
        ("the folder is removed", |folder| remove(folder)),
        ("all of the state directory is removed", |folder| remove(folder.parent().expect("a parent"))),
        ("the journal is removed", |folder| segments(folder).iter().for_each(|file| remove(file))),
        ("the journal is overwritten with zeros", |folder| {
            for file in segments(folder) {
                cut(&file, 0);
                cut(&file, 4 << 20);
            }
        }),
        ("the journal is cut to nothing", |folder| segments(folder).iter().for_each(|file| cut(file, 0))),
        ("a backup is restored", |folder| {
            remove(folder);
            rename(&aside(folder), folder);
        }),
    ];
    std::thread::scope(|scope| {
        for (what, harm) in harms {
            scope.spawn(move || {
                let place = Place::new(CONFIG);
                let daemon = Daemon::start(&place);
                daemon.becomes_ready();
                copy(&state(&place), &aside(&state(&place)));
                daemon.grows_data();
                let records = || Journal::peek(&state(&place)).expect("a journal").records;
                let is_told = || fs::read_to_string(witness(&place)).ok().and_then(|text| text.trim().parse().ok());
                eventually("the witness knows it", || is_told() == Some(records()));
                daemon.served.signal(Signal::SIGKILL);
                drop(daemon);
                harm(&state(&place));

                let daemon = Daemon::start(&place);
                let refused = || {
                    let (status, said) = daemon.get("/-/ready");
                    (status == 503 && said.contains("would be forgotten")).then_some(said)
                };
                eventually(what, || refused().is_some());
                let said = refused().expect("it was");
                assert_eq!(daemon.alert("vg", "media"), 503, "{what}: {said}");
                assert_eq!(daemon.extents("media"), 1024, "{what}");
                let page = daemon.get("/").1;
                assert!(page.contains("would be forgotten"), "{what}: the page says why");
                // By hand neither.
                let (config, host) = (place.config(), place.host());
                drop(daemon);
                let by_hand = place.run(&["extend", "/media", &config, &host]);
                assert!(!by_hand.status.success(), "{what}: {}", err(&by_hand));
                let daemon = Daemon::start(&place);
                // Accepted deliberately, it is what counts.
                run("sh", &["-c", &command(&said)]);
                daemon.becomes_ready();
                assert_eq!(daemon.alert("vg", "media"), 202, "{what}");
                eventually("it has grown", || daemon.extents("media") == 1536);
                eventually("there is a witness again", || witness(&place).exists());
            });
        }
    });
}

/// Nothing is lost while the daemon that lost its journal still runs: told to go on, it writes all that it knows into a
/// new one.
#[test]
fn a_daemon_whose_journal_is_gone_writes_a_new_one_when_it_is_told_to() {
    let place = Place::new(CONFIG);
    let daemon = Daemon::start(&place);
    daemon.grows_data();
    remove(&place.path("state"));
    eventually("it says what to do", || daemon.get("/-/ready").1.contains("run: rm"));
    run("sh", &["-c", &command(&daemon.get("/-/ready").1)]);
    daemon.becomes_ready();
    assert_eq!(daemon.alert("vg", "data"), 202);
    daemon.served.signal(Signal::SIGKILL);
    drop(daemon);
    let past = Journal::peek(&state(&place)).expect("a journal").past;
    assert_eq!(
        past.iter().map(|past| past.result.as_str()).collect::<Vec<_>>(),
        ["grown"],
        "the budget still counts it"
    );
    let daemon = Daemon::start(&place);
    daemon.becomes_ready();
}

/// Neither the first start nor an upgrade has one, and it is made where it can be.
#[test]
fn without_a_witness_the_journal_is_believed_and_a_new_one_is_made() {
    let place = Place::new(CONFIG);
    let daemon = Daemon::start(&place);
    daemon.grows_data();
    drop(daemon);
    remove(&witness(&place));
    let daemon = Daemon::start(&place);
    daemon.becomes_ready();
    assert_eq!(daemon.json("/api/v1/operations")["recent"][0]["result"], "grown");
    eventually("there is a witness", || witness(&place).exists());
    drop(daemon);
    // A file that says nothing may have said anything.
    place.write("state.simulated.witness", "");
    let daemon = Daemon::start(&place);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(1) {
        assert_eq!(daemon.get("/-/ready").0, 503);
    }
    run("sh", &["-c", &command(&daemon.get("/-/ready").1)]);
    daemon.becomes_ready();
}
