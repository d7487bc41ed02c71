//! The relay as it is shipped, between curl and real daemons on simulated hosts.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::edge::*;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const PATHS: &[&str] =
    &["/", "/metrics", "/-/healthy", "/-/ready", "/webhook/alertmanager", "/webhook/other", "/nothing"];

/// A list with these hosts: name, address, scheme.
fn list(place: &Place, hosts: &[(&str, SocketAddr, &str)]) {
    let group = |(name, address, scheme): &(&str, SocketAddr, &str)| {
        format!(r#"{{"targets":["{address}"],"labels":{{"instance":"{name}","__scheme__":"{scheme}"}}}}"#)
    };
    place.write("hosts.json", &format!("[{}]", hosts.iter().map(group).collect::<Vec<_>>().join(",")));
}

#[test]
fn a_relay_asks_for_the_credentials_of_its_web_config_on_every_path() {
    let place = Place::new();
    list(&place, &[]);
    let web = format!("{}{}", place.tls(""), place.users());
    let relay = Daemon::watch(place.relay(&web, &["--web.listen-address=0.0.0.0:0"]));
    let right = format!("alice:{PASSWORD}");
    for path in PATHS {
        for wrong in [&[][..], &["-u", "alice:wrong"], &["-H", "Authorization: Bearer x"]] {
            assert_eq!(place.status(&relay, path, wrong), 401, "{path} {wrong:?}");
        }
        let status = place.status(&relay, path, &["-u", &right]);
        assert!(status != 0 && status != 401, "{path} {status}");
    }
    let webhook = ["-u", &right, "--json", r#"{"version":"4","status":"firing","alerts":[]}"#];
    assert_eq!(place.status(&relay, "/webhook/alertmanager", &webhook), 202);

    // A file that would open it to everybody is not taken.
    let is_current = |wanted: &str| {
        let (_, page) = place.curl(&relay, "/metrics", &["-u", &right]);
        page.contains(&format!("lvm_autoscaler_relay_web_config_last_reload_successful {wanted}"))
    };
    assert!(is_current("1"));
    place.write("relay-web.yml", &place.tls(""));
    eventually("it is said", || is_current("0"));
    assert!(relay.log().contains("asks for no credentials: set basic_auth_users"), "{}", relay.log());
    assert_eq!(place.status(&relay, "/webhook/alertmanager", &webhook[2..]), 401);
    assert!(!relay.log().contains(PASSWORD) && !relay.log().contains(&place.hash[..20]), "a secret is in the log");
}

#[test]
fn a_relay_can_ask_for_certificates() {
    let place = Place::new();
    list(&place, &[]);
    let tls = place.tls(
        "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.pem\n  \
         client_allowed_sans: [alertmanager.example.com]\n",
    );
    let relay = Daemon::watch(place.relay(&tls, &["--web.listen-address=0.0.0.0:0"]));
    let with = |name: &str, key: &str| {
        place.status(&relay, "/-/healthy", &["--cert", &format!("{name}.pem"), "--key", &format!("{key}.key")])
    };
    assert_eq!(with("alertmanager", "alertmanager"), 200);
    assert_eq!(with("prometheus", "prometheus"), 0);
    assert_eq!(place.status(&relay, "/-/healthy", &[]), 0);
}

#[test]
fn a_relay_that_is_open_to_the_network_and_asks_for_nothing_does_not_start() {
    let place = Place::new();
    list(&place, &[]);
    let open = ["--web.listen-address=127.0.0.1:0", "--web.listen-address=[::]:0"];
    for web in [
        String::new(),
        place.tls(""),
        place.tls("  client_auth_type: RequireAnyClientCert\n"),
        place.tls("  client_auth_type: VerifyClientCertIfGiven\n  client_ca_file: ca.pem\n"),
    ] {
        let said = refused(place.relay(&web, &open));
        assert!(said.contains("[::]:") && said.contains("set basic_auth_users, or client_auth_type"), "{said}");
    }
    let said = refused(place.relay("rubbish: {}", &open[..1]));
    assert!(said.contains("relay-web.yml") && said.contains("rubbish: unknown key"), "{said}");
    // What only this host reaches may ask for nothing.
    for address in ["127.0.0.1:0".to_owned(), format!("unix:{}", place.path("relay.sock").display())] {
        drop(Daemon::watch(place.relay("", &[&format!("--web.listen-address={address}")])));
    }
    let plain = Daemon::watch(place.relay(&place.users(), &open));
    assert!(plain.log().contains("is plain text: credentials can be read on the way"), "{}", plain.log());
}

/// A daemon on a host of that name whose volume is over its threshold.
fn full(place: &Place, name: &str, webhook: &str, web: &str) -> Daemon {
    place.write("host.yaml", &HOST.replace("[db1]", &format!("[{name}]")).replace("used: 50%", "used: 88%"));
    let config = format!("defaults: {{ increment: 2GiB }}\n{TARGETS}{webhook}");
    place.start(&config, web, &["--web.listen-address=127.0.0.1:0"])
}

fn grew_once(place: &Place, daemon: &Daemon, arguments: &[&str]) -> bool {
    let (_, page) = place.curl(daemon, "/metrics", arguments);
    page.contains("lvm_autoscaler_operations_total{vg=\"vg\",lv=\"data\",outcome=\"grown\"} 1\n")
}

/// An alert for the volume of each of these hosts.
fn alerts(hosts: &[&str]) -> String {
    let alert = |host: &&str| {
        format!(
            r#"{{"status":"firing","labels":{{"alertname":"Filling","instance":"{host}:9100","vg":"vg","lv":"data"}},"annotations":{{}},"fingerprint":"00000000000000aa"}}"#
        )
    };
    let alerts = hosts.iter().map(alert).collect::<Vec<_>>().join(",");
    format!(r#"{{"version":"4","status":"firing","groupKey":"g","truncatedAlerts":0,"alerts":[{alerts}]}}"#)
}

fn address(daemon: &Daemon) -> SocketAddr {
    daemon.address.expect("it listens on TCP")
}

#[test]
fn a_relay_shows_a_daemon_who_it_is_and_says_which_host_refused() {
    let (place, stranger) = (Place::new(), Place::new());
    place.certificate("relay", &["relay.example.com"]);
    let webhook = format!("webhook: {{ authorization: {{ credentials_file: {} }} }}\n", place.path("token").display());
    let tls = place.tls("  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.pem\n");
    let daemon = full(&place, "db1", &webhook, &tls);
    let ours = ["--cert", "prometheus.pem", "--key", "prometheus.key"];
    eventually("the host was looked at", || place.status(&daemon, "/-/ready", &ours) == 200);
    list(&place, &[("db1", address(&daemon), "https")]);

    const WRONG: &str = "wr0ng-t0ken";
    let payload = alerts(&["db1"]);
    let relay = |name: &str, ca: &Place, identity: &str| {
        place.write(
            name,
            &format!(
                "authorization: {{ credentials_file: {} }}\ntls_config:\n  ca_file: {}\n{identity}",
                place.path("relay.token").display(),
                ca.path("ca.pem").display(),
            ),
        );
        let http = format!("--http.config.file={}", place.path(name).display());
        Daemon::watch(place.relay("", &["--web.listen-address=127.0.0.1:0", &http, "--timeout=30s"]))
    };
    let identity = format!(
        "  cert_file: {}\n  key_file: {}\n",
        place.path("relay.pem").display(),
        place.path("relay.key").display()
    );
    let post = |relay: &Daemon| place.curl(relay, "/webhook/alertmanager", &["--json", &payload]);
    let mut seen = String::new();

    // Without a certificate, and to a daemon that somebody else vouches for, nothing is handed over.
    place.write("relay.token", TOKEN);
    for nobody in [relay("no-certificate.yaml", &place, ""), relay("other-ca.yaml", &stranger, &identity)] {
        let (status, answer) = post(&nobody);
        assert_eq!(status, 502, "{answer}");
        assert!(answer.contains(r#""host":"db1","alerts":1,"outcome":"unreachable""#), "{answer}");
        seen += &(answer + &nobody.log());
    }

    place.write("relay.token", WRONG);
    let relay = relay("relay-http.yaml", &place, &identity);
    let (status, answer) = post(&relay);
    assert_eq!(status, 502, "{answer}");
    assert!(answer.contains(r#""host":"db1","alerts":1,"outcome":"rejected","status":401"#), "{answer}");
    eventually("the log names host and status", || {
        relay.log().lines().any(|line| line.contains("host=db1") && line.contains("status=401"))
    });
    assert!(!grew_once(&place, &daemon, &ours));

    // The right one is used without a restart.
    place.write("relay.token", TOKEN);
    let (status, accepted) = post(&relay);
    assert_eq!(status, 202, "{accepted}");
    eventually("it grows", || grew_once(&place, &daemon, &ours));

    seen += &(answer + &accepted + &relay.log() + &daemon.log() + &place.curl(&relay, "/metrics", &[]).1);
    let key = std::fs::read_to_string(place.path("relay.key")).expect("readable");
    for secret in [TOKEN, WRONG, key.lines().nth(1).expect("a line of it")] {
        assert!(!seen.contains(secret), "a secret is seen: {:?}", seen.lines().find(|line| line.contains(secret)));
    }
}

/// A host that takes connections and then does nothing; opened, it passes them on.
struct Gate {
    address: SocketAddr,
    is_open: Arc<AtomicBool>,
}

impl Gate {
    fn before(daemon: SocketAddr) -> Gate {
        // Of its own: two hosts on one address would be one to the list.
        let listener = TcpListener::bind("127.0.0.2:0").expect("a port");
        let gate =
            Gate { address: listener.local_addr().expect("an address"), is_open: Arc::new(AtomicBool::new(false)) };
        let is_open = Arc::clone(&gate.is_open);
        std::thread::spawn(move || {
            let mut held = vec![];
            for client in listener.incoming().map_while(Result::ok) {
                if !is_open.load(Ordering::Relaxed) {
                    held.push(client);
                    continue;
                }
                let server = TcpStream::connect(daemon).expect("the daemon listens");
                let both =
                    |stream: &TcpStream| (stream.try_clone().expect("a socket"), stream.try_clone().expect("a socket"));
                let ((from, to), (back, there)) = (both(&client), both(&server));
                for (mut from, mut to) in [(from, there), (back, to)] {
                    std::thread::spawn(move || std::io::copy(&mut from, &mut to));
                }
            }
        });
        gate
    }
}

#[test]
fn a_host_that_hangs_delays_no_other_and_gets_its_alerts_when_it_is_back() {
    let (place, other) = (Place::new(), Place::new());
    let (one, two) = (full(&place, "db1", "", ""), full(&other, "db0", "", ""));
    for daemon in [&one, &two] {
        eventually("the host was looked at", || place.status(daemon, "/-/ready", &[]) == 200);
    }
    // Its name is the first, so that one after the other would show.
    let gate = Gate::before(address(&two));
    list(&place, &[("db1", address(&one), "http"), ("db0", gate.address, "http")]);
    let relay = |timeout: &str| {
        Daemon::watch(place.relay("", &["--web.listen-address=127.0.0.1:0", &format!("--timeout={timeout}")]))
    };
    let payload = alerts(&["db1", "db0"]);

    // Nobody gives up on the one that hangs, and the other grows all the same.
    let patient = relay("1h");
    let mut asking = program("curl")
        .args(["-s", "--json", &payload, &format!("http://{}/webhook/alertmanager", address(&patient))])
        .spawn()
        .expect("curl is installed");
    eventually("the other host grows", || grew_once(&place, &one, &[]));
    assert!(asking.try_wait().expect("a child").is_none(), "one has not answered yet");
    asking.kill().expect("ours");
    asking.wait().expect("ours");
    drop(patient);

    let relay = relay("3s");
    eventually("the deadline is one for each host", || {
        let (status, answer) = place.curl(&relay, "/webhook/alertmanager", &["--json", &payload]);
        assert_eq!(status, 502, "{answer}");
        let hangs = r#"{"host":"db0","alerts":1,"outcome":"unreachable","error":"no answer within 3s"}"#;
        assert!(answer.contains(hangs), "{answer}");
        answer.contains(r#"{"host":"db1","alerts":1,"outcome":"accepted","status":202"#)
    });
    assert!(!grew_once(&place, &two, &[]));

    // What Alertmanager does after a 502.
    gate.is_open.store(true, Ordering::Relaxed);
    eventually("both accept", || place.status(&relay, "/webhook/alertmanager", &["--json", &payload]) == 202);
    eventually("it grows when it is back", || grew_once(&place, &two, &[]));
    assert!(grew_once(&place, &one, &[]), "the other was not grown again");
}

/// Whoever reads its log as it runs by itself must find there what was passed over, and which host did not accept.
#[test]
#[expect(clippy::disallowed_methods, reason = "a log that the program under test writes")]
fn a_relay_says_what_it_passed_over_and_lives_on_after_a_hangup() {
    let place = Place::new();
    list(&place, &[]);
    let (socket, log) = (place.path("relay.sock"), place.path("relay.log"));
    let mut relay = program(env!("CARGO_BIN_EXE_lvm-autoscaler"))
        .arg("relay")
        .arg(format!("--targets-file={}", place.path("hosts.json").display()))
        .arg(format!("--web.listen-address=unix:{}", socket.display()))
        .stderr(std::fs::File::create(&log).expect("a log"))
        .spawn()
        .expect("it starts");
    let post = || {
        program("curl")
            .args(["-s", "--json", &alerts(&["db7"]), "http://relay/webhook/alertmanager", "--unix-socket"])
            .arg(&socket)
            .output()
            .is_ok_and(|said| String::from_utf8_lossy(&said.stdout).contains("db7:9100"))
    };
    let says = |words: &str| std::fs::read_to_string(&log).is_ok_and(|log| log.contains(words));
    eventually("it answers", post);
    let pid = Pid::from_raw(i32::try_from(relay.id()).expect("a process id"));
    kill(pid, Signal::SIGHUP).expect("ours");
    let said = (0..100).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(100));
        says("alerts for hosts that are not in the list were passed over") && says("listening")
    });
    let (ended, answers) = (relay.try_wait().expect("a child"), post());
    let _ = relay.kill();
    relay.wait().expect("ours");
    assert!(said, "the log says nothing of it: {}", std::fs::read_to_string(&log).unwrap_or_default());
    assert!(ended.is_none() && answers, "it ended: {ended:?}");
}
