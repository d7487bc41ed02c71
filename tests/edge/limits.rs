//! Those who take places, descriptors and time, and ask for nothing: others are served as before, or as soon as the
//! places are free again.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use crate::common::place::{Place, Served};
use crate::common::server::{DEADLINE, Server, firing, limits};
use crate::common::*;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lvm_autoscaler::config::Config;
use lvm_autoscaler::engine;
use lvm_autoscaler::server::{Access, Limits};
use nix::sys::socket::{setsockopt, sockopt};
use serde_json::json;

const HEALTHY: &[u8] = b"GET /-/healthy HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
const SHORT: Duration = Duration::from_millis(300);

fn patient(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(Duration::from_secs(120))).expect("a deadline");
    stream.set_write_timeout(Some(Duration::from_secs(120))).expect("a deadline");
    stream
}

/// Everything that comes until the other end closes; a reset is an end too, silence is none.
fn rest(stream: &mut impl Read) -> String {
    let mut got = Vec::new();
    if let Err(error) = stream.read_to_end(&mut got) {
        assert_ne!(error.kind(), ErrorKind::WouldBlock, "neither answered nor closed");
    }
    String::from_utf8_lossy(&got).into_owned()
}

fn is_healthy(address: SocketAddr) -> bool {
    let mut stream = patient(TcpStream::connect(address).expect("it listens"));
    let _ = stream.write_all(HEALTHY);
    rest(&mut stream).starts_with("HTTP/1.1 200")
}

fn server(world: &World, limits: Limits) -> Server {
    Server::with(world, Some(engine::start(world.shared(false))), limits, Access::default())
}

#[test]
fn who_says_nothing_or_only_half_of_it_loses_the_place() {
    let world = World::usual();
    let server = server(&world, Limits { connections: 1, first: SHORT, header: SHORT, ..limits() });
    // Nothing; half of a head; a head that comes in single bytes; and an answered one that then holds its place.
    let alive = b"GET /-/healthy HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for begun in [&b""[..], b"POST /webhook/alertmanager HTTP/1.1\r\nHos", alive] {
        let mut stream = patient(server.connect());
        stream.write_all(begun).expect("sent");
        let got = rest(&mut stream);
        assert_eq!(got.starts_with("HTTP/1.1 200"), begun == alive, "{got}");
        assert!(is_healthy(server.address));
    }
    let mut stream = patient(server.connect());
    for byte in b"POST /webhook/alertmanager HTTP/1.1\r\nX: ".iter().chain([b'x'; 10_000].iter()) {
        if stream.write_all(&[*byte]).is_err() {
            break;
        }
        thread::sleep(Duration::from_millis(20));
    }
    assert!(stream.write_all(b"x").is_err(), "it was cut off");
    assert!(is_healthy(server.address));
}

#[test]
fn a_body_that_comes_in_single_bytes_is_cut_off() {
    let world = World::usual();
    let server = server(&world, Limits { connections: 1, ..limits() });
    let head = "POST /webhook/alertmanager HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n";
    let mut stream = patient(server.connect());
    stream.write_all(head.as_bytes()).expect("sent");
    let mut writing = stream.try_clone().expect("a second handle");
    let writer = thread::spawn(move || {
        while writing.write_all(b" ").is_ok() {
            thread::sleep(Duration::from_millis(20));
        }
    });
    let got = rest(&mut stream);
    assert!(got.starts_with("HTTP/1.1 408"), "{got}");
    drop(stream);
    assert!(is_healthy(server.address));
    writer.join().expect("it ended");
    assert_eq!(world.state().last_number, 0);
}

#[test]
fn who_connects_for_tls_and_says_nothing_loses_the_place() {
    let world = World::usual();
    let folder = tempfile::tempdir().expect("a folder");
    let key = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let web = folder.path().join("web.yml");
    #[expect(clippy::disallowed_methods, reason = "a test writes its input")]
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("written");
    write("server.pem", &key.cert.pem());
    write("server.key", &key.signing_key.serialize_pem());
    write("web.yml", "tls_server_config: { cert_file: server.pem, key_file: server.key }\n");
    let access = Access::load(Some(&web), vec![], &Config::default()).expect("usable");
    let limits = Limits { connections: 1, handshake: SHORT, ..limits() };
    let server = Server::with(&world, Some(engine::start(world.shared(false))), limits, access);
    // Nothing, the beginning of a handshake, and plain text: there is one place, so each got it only after the one
    // before.
    for begun in [&b""[..], b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", HEALTHY, b""] {
        let mut stream = patient(server.connect());
        stream.write_all(begun).expect("sent");
        let got = rest(&mut stream);
        assert!(!got.contains("HTTP/1.1"), "{got}");
    }
}

#[test]
fn who_never_reads_loses_the_place() {
    let world = World::usual();
    let server = server(&world, Limits { connections: 1, taking: SHORT, ..limits() });
    let stream = server.connect();
    setsockopt(&stream, sockopt::RcvBuf, &4096).expect("a small buffer");
    // More answers than the kernel's buffers on both sides hold.
    let mut writing = stream.try_clone().expect("a second handle");
    let asking = thread::spawn(move || {
        let ask = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(10_000);
        writing.write_all(&ask).err()
    });
    assert!(is_healthy(server.address), "its place is free again");
    let _ = asking.join().expect("it ended");
    drop(stream);
}

/// A daemon, and where each of its listeners is.
fn listening(place: &Place, more: &[&str], shell: Option<&str>) -> (Served, Vec<SocketAddr>) {
    let (config, host) = (place.config(), place.host());
    let mut arguments = vec!["serve", &config, &host];
    arguments.extend(more);
    let wanted = more.iter().filter(|argument| argument.starts_with("--web.listen-address")).count();
    let plain = place.start(&arguments);
    let mut command = match shell {
        None => plain,
        Some(limit) => {
            let mut shell = program("sh");
            shell.args(["-c", &format!("{limit}; exec \"$@\""), "sh"]).arg(plain.get_program()).args(plain.get_args());
            shell.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
            shell.env_remove("RUST_LOG").current_dir(place.0.path()).stdin(Stdio::null());
            shell
        }
    };
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let mut log = BufReader::new(child.stderr.take().expect("piped"));
    let mut begun = String::new();
    while begun.matches("listening").count() < wanted {
        assert!(log.read_line(&mut begun).expect("text") > 0, "it ended: {begun}");
    }
    let addresses = begun.split("address=").skip(1);
    let addresses =
        addresses.filter_map(|rest| rest.split_whitespace().next()?.trim_matches('"').parse().ok()).collect();
    (Served { child, log, begun }, addresses)
}

#[expect(clippy::disallowed_methods, reason = "the program under test is started")]
fn program(name: &str) -> std::process::Command {
    std::process::Command::new(name)
}

/// 127.0.0.1, [::1] and a Unix socket in one daemon. All places of one are taken by those who say nothing: the others
///   are served at once, and the first again when the silent ones are cut off.
#[test]
fn a_flood_on_one_listener_leaves_the_others_and_passes() {
    let place = Place::new(CONFIG);
    let socket = place.path("web.sock");
    let unix = format!("--web.listen-address=unix:{}", socket.display());
    let (served, addresses) =
        listening(&place, &["--web.listen-address=127.0.0.1:0", "--web.listen-address=[::1]:0", &unix], None);
    let (flooded, other) = (addresses[0], addresses[1]);
    assert!(flooded.is_ipv4() && other.is_ipv6());
    assert!(is_healthy(flooded) && is_healthy(other));
    let mut idle: Vec<TcpStream> =
        (0..256).map(|_| patient(TcpStream::connect(flooded).expect("it listens"))).collect();
    assert!(is_healthy(other));
    let mut through_file = UnixStream::connect(&socket).expect("it listens");
    through_file.set_read_timeout(Some(DEADLINE)).expect("a deadline");
    through_file.write_all(HEALTHY).expect("sent");
    assert!(rest(&mut through_file).starts_with("HTTP/1.1 200"));
    assert!(is_healthy(flooded), "once the idle ones are cut off");
    for stream in &mut idle {
        assert_eq!(rest(stream), "", "cut off, and nothing was said to it");
    }
    let (code, _, log) = served.end();
    assert_eq!(code, Some(0), "{log}");
    assert!(!socket.exists() || UnixStream::connect(&socket).is_err());
}

/// With as good as no descriptors left it still lives, and serves as soon as there are some.
#[test]
fn no_descriptors_left_is_survived() {
    let place = Place::new(CONFIG);
    let (mut served, addresses) = listening(&place, &["--web.listen-address=127.0.0.1:0"], Some("ulimit -n 40"));
    assert!(is_healthy(addresses[0]));
    let idle: Vec<TcpStream> =
        (0..100).map(|_| patient(TcpStream::connect(addresses[0]).expect("the kernel takes it"))).collect();
    let mut said = String::new();
    while !said.contains("a connection cannot be accepted") {
        assert!(served.log.read_line(&mut said).expect("text") > 0, "it ended: {said}");
    }
    assert!(served.child.try_wait().expect("a child").is_none(), "it lives");
    drop(idle);
    assert!(is_healthy(addresses[0]));
    let body = json!({ "version": "4", "alerts": [firing(json!({ "instance": "db1", "vg": "vg", "lv": "data" }))] })
        .to_string();
    let mut stream = patient(TcpStream::connect(addresses[0]).expect("it listens"));
    let length = body.len();
    let head = format!(
        "POST /webhook/alertmanager HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    );
    stream.write_all(&[head.as_bytes(), body.as_bytes()].concat()).expect("sent");
    assert!(rest(&mut stream).starts_with("HTTP/1.1 202"));
    let grown = "lvm_autoscaler_operations_total{vg=\"vg\",lv=\"data\",outcome=\"grown\"} 1";
    eventually("the volume has grown", || {
        let mut stream = patient(TcpStream::connect(addresses[0]).expect("it listens"));
        let _ = stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        rest(&mut stream).contains(grown)
    });
    let (code, _, log) = served.end();
    assert_eq!(code, Some(0), "{log}");
}

/// A flood of wrong passwords: one is checked at a time, sixteen wait, the rest is told to come again; who was right
/// before waits for none of them.
#[test]
fn wrong_passwords_delay_only_other_passwords() {
    let place = Place::new(CONFIG);
    let hash = bcrypt::hash("right", 8).expect("a hash");
    place.write(
        "web.yml",
        &format!("basic_auth_users: {{ alice: '{hash}', dear: '{}' }}\n", hash.replace("$08$", "$12$")),
    );
    let web = format!("--web.config.file={}", place.path("web.yml").display());
    let (served, addresses) = listening(&place, &["--web.listen-address=127.0.0.1:0", &web], None);
    let address = addresses[0];
    let ask = move |user: &str, password: &str| -> u16 {
        let mut stream = patient(TcpStream::connect(address).expect("it listens"));
        let basic = STANDARD.encode(format!("{user}:{password}"));
        let ask = format!(
            "GET /-/healthy HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Basic {basic}\r\n\r\n"
        );
        stream.write_all(ask.as_bytes()).expect("sent");
        rest(&mut stream)[9..12].parse().expect("a status")
    };
    assert_eq!(ask("alice", "right"), 200);
    let flood: Vec<_> = (0..60).map(|n| thread::spawn(move || ask("dear", &n.to_string()))).collect();
    let mut meanwhile = 0;
    while flood.iter().any(|one| !one.is_finished()) {
        assert_eq!(ask("alice", "right"), 200);
        meanwhile += 1;
    }
    let told: Vec<u16> = flood.into_iter().map(|one| one.join().expect("it ended")).collect();
    let count = |status: u16| told.iter().filter(|told| **told == status).count();
    assert_eq!(count(401) + count(503), 60, "{told:?}");
    assert!(count(503) > 0 && count(401) > 0, "{told:?}");
    assert!(meanwhile > 0);
    assert_eq!((ask("alice", "wrong"), ask("alice", "right")), (401, 200), "a wrong one is never remembered as right");
    assert_eq!(served.end().0, Some(0));
}

fn payload(labels: &serde_json::Value, size: usize) -> Vec<u8> {
    let mut body =
        json!({ "version": "4", "groupKey": "{}", "alerts": [firing(labels.clone())] }).to_string().into_bytes();
    body.resize(size, b' ');
    body
}

/// What was not parsed in time was blamed on the journal's disk. A key that cannot be read for a while stands for a
/// processor that others have.
#[test]
fn a_payload_that_is_not_parsed_in_time_is_not_blamed_on_the_disk() {
    let place = Place::new("");
    let key = place.path("key");
    nix::unistd::mkfifo(&key, nix::sys::stat::Mode::S_IRUSR).expect("a pipe");
    let state = format!("state: {{ directory: {} }}", place.path("state").display());
    let webhook = format!("webhook: {{ grafana_hmac_secret_file: {} }}", key.display());
    place.write("config.yaml", &format!("{CONFIG}\n{state}\n{webhook}\n"));
    let (served, addresses) = listening(&place, &["--web.listen-address=127.0.0.1:0"], None);
    let post = |path: &str, body: &[u8]| {
        let mut stream = patient(TcpStream::connect(addresses[0]).expect("it listens"));
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(&[head.as_bytes(), body].concat()).expect("sent");
        rest(&mut stream)
    };
    let labels = json!({ "instance": "db1", "vg": "vg", "lv": "data" });
    let late = post("/webhook/grafana", &payload(&labels, 1000));
    assert!(late.starts_with("HTTP/1.1 503 ") && late.contains("too busy"), "{late}");
    assert!(!late.contains("disk") && !late.contains("journal"), "{late}");
    // The others are answered meanwhile, and nothing of the late one is accepted when it can go on.
    let others = post("/webhook/alertmanager", &payload(&json!({ "instance": "db2" }), 1000));
    assert!(others.starts_with("HTTP/1.1 202 "), "{others}");
    // It is read, so this does not wait.
    place.write("key", "key");
    thread::sleep(SHORT);
    let (code, _, log) = served.end();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("too busy") && !log.contains("was accepted") && !log.contains("grew from"), "{log}");
}

/// The writer waits for the disk as long as that hangs. It must not have all the room for payloads so long.
#[test]
fn a_payload_that_waits_for_a_disk_that_hangs_leaves_room_for_others() {
    let world = World::usual();
    let server = server(&world, Limits::default());
    let (go_on, waits) = std::sync::mpsc::channel::<()>();
    // Told with the journal locked, as if its disk did not answer.
    let waits = std::sync::Mutex::new(waits);
    server.engine().shared().journal().subscribe(Box::new(move |_| drop(waits.lock().map(|waits| waits.recv()))));
    let labels = json!({ "instance": "db1", "vg": "vg", "lv": "data" });
    let written = server.post(&payload(&labels, 1 << 20));
    assert_eq!(written.status, 503, "{}", written.body);
    assert!(written.body.contains("the journal's disk has not answered"), "{}", written.body);
    let begun = std::time::Instant::now();
    let others = server.post(&payload(&json!({ "instance": "db2" }), 1 << 19));
    assert_eq!(others.status, 503, "{}", others.body);
    assert!(others.body.contains("the journal's disk has not answered"), "{}", others.body);
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    drop(go_on);
    eventually("what the disk got after all is looked at", || world.extents("vg/data") == AFTER);
    server.idle();
}
