//! Pages, proxies and names that are not what they seem, and a certificate that was taken back.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use assert_cmd::cargo::cargo_bin;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::common::server::connect;
use crate::edge::{Daemon, HOST, Place, TARGETS, eventually, program};
use crate::flood::{address, ask, metric, serve};

const NO_ALERTS: &[u8] = br#"{"version":"4","alerts":[]}"#;

/// The answer to a request that has this header and no other `Host`.
fn with_host(daemon: &Daemon, start: &str, host: &str) -> u16 {
    let mut stream = connect(address(daemon)).expect("it listens");
    let request = format!("{start} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("sent");
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
}

/// A page whose name is made to mean 127.0.0.1 grew a volume and read everything.
#[test]
fn a_page_that_calls_itself_by_this_hosts_address_gets_nothing() {
    let place = Place::new();
    let daemon =
        serve(&place, &format!("{TARGETS}webhook: {{ instances: [storage.example.com, '192.0.2.9:9100'] }}\n"), "");
    for host in [
        "evil.example",
        "evil.example:19845",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "db1.evil.example",
        "db2",
    ] {
        for path in ["/", "/metrics", "/report", "/-/healthy", "/api/v1/targets", "/webhook/alertmanager", "/nothing"] {
            assert_eq!(with_host(&daemon, &format!("GET {path}"), host), 421, "{host} {path}");
        }
    }
    for host in [
        "127.0.0.1",
        "127.0.0.1:19845",
        "[::1]:19845",
        "192.0.2.1",
        "localhost",
        "LOCALHOST:1",
        "db1",
        "DB1.:19845",
        "storage.example.com:443",
        "",
    ] {
        assert_eq!(with_host(&daemon, "GET /metrics", host), 200, "{host}");
    }
    // Whoever reaches another address of this host is asked for credentials, and may know it by any name.
    let token =
        format!("{TARGETS}webhook: {{ authorization: {{ credentials_file: {} }} }}\n", place.path("token").display());
    place.write("open.yaml", &format!("{token}\nstate: {{ directory: {} }}\n", place.path("open").display()));
    let mut open = program(cargo_bin("lvm-autoscaler"));
    open.args(["serve", "--config.file=open.yaml", "--simulate=host.yaml", "--web.listen-address=0.0.0.0:0"]);
    let open = Daemon::watch({
        open.current_dir(place.folder.path());
        open
    });
    let port = address(&open).port();
    let mut stream = connect(("127.0.0.1", port)).expect("it listens");
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: storage\r\nConnection: close\r\n\r\n").expect("sent");
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[test]
fn no_browser_posts_to_the_webhook_whatever_it_says_it_is() {
    let place = Place::new();
    let daemon = serve(&place, TARGETS, "");
    for header in [
        "Origin: http://evil.example",
        "Origin: null",
        "Origin: http://localhost",
        "sec-fetch-site: same-origin",
        "Sec-Fetch-Mode: cors",
    ] {
        for path in ["/webhook/alertmanager", "/webhook/grafana", "/webhook/other"] {
            assert_eq!(
                ask(address(&daemon), "POST", path, &format!("{header}\r\n"), NO_ALERTS).0,
                403,
                "{header} {path}"
            );
        }
        // The status page asks for its data from a browser.
        assert_eq!(ask(address(&daemon), "GET", "/api/v1/targets", &format!("{header}\r\n"), b"").0, 200, "{header}");
    }
    assert_eq!(ask(address(&daemon), "POST", "/webhook/alertmanager", "", NO_ALERTS).0, 202);
}

#[test]
fn every_answer_says_that_it_is_what_it_is_and_is_not_kept() {
    let place = Place::new();
    let daemon = serve(&place, TARGETS, "");
    let paths = [
        "/",
        "/metrics",
        "/report",
        "/-/healthy",
        "/-/ready",
        "/api/v1/operations",
        "/nothing",
        "/webhook/alertmanager",
    ];
    for path in paths {
        for (method, headers) in [("GET", ""), ("HEAD", ""), ("POST", ""), ("GET", "Transfer-Encoding: gzip\r\n")] {
            let (status, answer) = ask(address(&daemon), method, path, headers, b"");
            // What is no HTTP the library answers, without a body.
            if status == 400 && answer.ends_with("\r\n\r\n") {
                continue;
            }
            let answer = answer.to_ascii_lowercase();
            assert!(answer.contains("x-content-type-options: nosniff"), "{method} {path}: {answer}");
            assert!(answer.contains("cache-control: no-store"), "{method} {path}: {answer}");
        }
    }
}

/// Where such a request ends is something else for each reader: what came behind it was answered as another one.
#[test]
fn nothing_is_read_behind_a_request_that_is_refused_as_malformed() {
    let place = Place::new();
    let daemon = serve(&place, TARGETS, "");
    for header in
        ["Transfer-Encoding: gzip, chunked", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "Host: again"]
    {
        let mut stream = connect(address(&daemon)).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket");
        let request = format!("POST /webhook/alertmanager HTTP/1.1\r\nHost: localhost\r\n{header}\r\n\r\n0\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it is closed");
        assert!(answer.starts_with("HTTP/1.1 400 ") && answer.matches("HTTP/1.1").count() == 1, "{header}: {answer}");
    }
}

/// A kept connection, over which one request after the other is sent.
struct Kept(StreamOwned<ClientConnection, TcpStream>);

impl Kept {
    fn open(place: &Place, daemon: &Daemon, name: &str) -> Kept {
        let pem = |file: &str| std::fs::read(place.path(file)).expect("readable");
        let certificates = |file: &str| -> Vec<CertificateDer<'static>> {
            CertificateDer::pem_slice_iter(&pem(file)).collect::<Result<_, _>>().expect("certificates")
        };
        let mut roots = RootCertStore::empty();
        for certificate in certificates("ca.pem") {
            roots.add(certificate).expect("a CA");
        }
        let key = PrivateKeyDer::from_pem_slice(&pem(&format!("{name}.key"))).expect("a key");
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_client_auth_cert(certificates(&format!("{name}.pem")), key)
            .expect("a certificate");
        let server = ServerName::try_from("localhost").expect("a name");
        let connection = ClientConnection::new(Arc::new(config), server).expect("a client");
        let stream = connect(address(daemon)).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket");
        Kept(StreamOwned::new(connection, stream))
    }

    /// The status, 0 if the connection is gone.
    fn ask(&mut self) -> u16 {
        let request = b"GET /-/healthy HTTP/1.1\r\nHost: localhost\r\n\r\n";
        let mut answer = vec![0; 4096];
        match self.0.write_all(request).and_then(|()| self.0.read(&mut answer)) {
            Ok(read) => String::from_utf8_lossy(&answer[..read])
                .split(' ')
                .nth(1)
                .and_then(|code| code.parse().ok())
                .unwrap_or(0),
            Err(_) => 0,
        }
    }
}

/// docs/security.md promised a second, and it was for as long as the client liked to keep its connection.
#[test]
fn a_client_ca_that_is_taken_back_ends_the_connections_that_are_kept() {
    let place = Place::new();
    let other = Place::new();
    let tls =
        |ca: &str| place.tls(&format!("  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: {ca}\n"));
    place.write("other-ca.pem", &other.ca.pem());
    let daemon = serve(&place, TARGETS, &tls("ca.pem"));
    let mut kept = Kept::open(&place, &daemon, "prometheus");
    assert_eq!((kept.ask(), kept.ask()), (200, 200));
    // Another one that is accepted changes nothing.
    place.write("ca.pem", &format!("{}{}", other.ca.pem(), place.ca.pem()));
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!((kept.ask(), kept.ask()), (200, 200));
    place.write("ca.pem", &other.ca.pem());
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!((kept.ask(), kept.ask()), (403, 0), "refused, and closed");
    assert!(daemon.log().contains("was read again"), "{}", daemon.log());
}

/// What is obeyed by a terminal and not seen: an escape sequence, the end of a line, and what turns text round.
const ODD: &str = "/srv/\u{1b}[31mred\u{7}\u{202e}txt.exe\u{2028}next\u{200b}";

fn has_hidden(text: &str) -> Option<char> {
    text.chars().find(|c| c.is_control() && *c != '\n' && *c != '\r' || "\u{202e}\u{2028}\u{200b}".contains(*c))
}

/// Two functions decided what is escaped, and the one that counted more knew only control characters.
#[test]
fn what_strangers_say_is_shown_and_not_obeyed_wherever_it_is_seen() {
    let place = Place::new();
    let quoted = serde_json::to_string(ODD).expect("JSON");
    place.write(
        "host.yaml",
        &HOST.replace("mount_point: /data, used: 50%", &format!("mount_point: {quoted}, used: 95%")),
    );
    let audit = place.path("audit.log");
    let config = format!(
        "monitor: {{ targets: [{{ lv_path: /dev/vg/data, mount_point: {quoted}, increment: 1GiB }}] }}\naudit: {{ file: {} }}\n",
        audit.display()
    );
    let daemon = serve(&place, &config, "");
    let to = address(&daemon);
    let alert = |labels: serde_json::Value| {
        let alert = serde_json::json!({ "status": "firing", "labels": labels, "fingerprint": ODD });
        let body = serde_json::json!({ "version": "4", "alerts": [alert] }).to_string();
        ask(to, "POST", "/webhook/alertmanager", "", body.as_bytes())
    };
    let (refused, stranger) = alert(serde_json::json!({ "instance": "db1", "mountpoint": format!("{ODD}/other") }));
    assert_eq!(refused, 202, "{stranger}");
    let (accepted, own) = alert(serde_json::json!({ "instance": "db1", "vg": "vg", "lv": "data" }));
    assert_eq!(accepted, 202, "{own}");
    eventually("it grew", || {
        let (_, page) = ask(to, "GET", "/metrics", "", b"");
        metric(&page, "lvm_autoscaler_operations_total{vg=\"vg\",lv=\"data\",outcome=\"grown\"}") == 1.0
    });
    let wrong = serde_json::json!({ "version": format!("4{ODD}"), "alerts": [] }).to_string();
    let mut seen =
        vec![("answers", stranger + &own + &ask(to, "POST", "/webhook/alertmanager", "", wrong.as_bytes()).1)];
    for path in [
        "/",
        "/api/v1/targets",
        "/api/v1/operations",
        "/api/v1/inventory",
        "/report",
        "/report?format=markdown",
        "/report?format=json",
    ] {
        seen.push((path, ask(to, "GET", path, "", b"").1));
    }
    eventually("it is in the audit log", || {
        std::fs::read_to_string(path_of(&audit)).is_ok_and(|log| log.contains("grown"))
    });
    seen.push(("audit", std::fs::read_to_string(path_of(&audit)).expect("readable")));
    let run = |arguments: &[&str]| {
        let mut command = program(cargo_bin("lvm-autoscaler"));
        command.args(arguments).args(["--config.file=config.yaml", "--simulate=host.yaml"]);
        let output = command.current_dir(place.folder.path()).output().expect("it runs");
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    };
    seen.push(("history", run(&["history"])));
    seen.push(("history, json", run(&["history", "--format=json"])));
    seen.push(("plan", run(&["plan"])));
    seen.push(("plan, json", run(&["plan", "--format=json"])));
    seen.push(("plan of no target", run(&["plan", ODD.trim_start_matches('/')])));
    seen.push(("log", daemon.log()));
    for (what, text) in &seen {
        assert_eq!(has_hidden(text), None, "{what}: {text:?}");
        let is_shown = text.contains("u{202e}") || text.contains("u202e");
        assert!(
            is_shown || ["/api/v1/operations", "log", "plan of no target"].contains(what),
            "{what}: it is not shown at all: {text}"
        );
    }
    // For programs it is what it was.
    let (_, targets) = ask(to, "GET", "/api/v1/targets", "", b"");
    let body = targets.split_once("\r\n\r\n").expect("a body").1;
    let targets: serde_json::Value = serde_json::from_str(body).expect("JSON");
    assert_eq!(targets["targets"][0]["mount_point"], ODD);
}

fn path_of(audit: &std::path::Path) -> std::path::PathBuf {
    audit.with_extension("log.simulated")
}

#[test]
fn a_password_in_the_wrong_place_is_not_quoted() {
    let place = Place::new();
    for smarthost in
        ["alice:s3cret-word@mail.example.com:587", "smtp://alice:s3cret-word@mail.example.com", "alice:s3cret-word@"]
    {
        place.write(
            "mail.yaml",
            &format!(
                "notify: [{{ email: {{ smarthost: '{smarthost}', from: a@example.com, to: [b@example.com] }} }}]\n"
            ),
        );
        let mut command = program(cargo_bin("lvm-autoscaler"));
        command.args(["check-config", "mail.yaml"]).current_dir(place.folder.path());
        let output = command.output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains("smarthost"), "{said}");
        assert!(said.contains("auth_password_file") && !said.contains("s3cret"), "{said}");
    }
}
