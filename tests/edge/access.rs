//! Who is let in: the daemon as it is shipped, asked by curl with wrong, missing and right credentials on every path.

use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use crate::common::split::is_split;
use crate::edge::*;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const PATHS: &[&str] = &[
    "/",
    "/metrics",
    "/-/healthy",
    "/-/ready",
    "/webhook/alertmanager",
    "/webhook/grafana",
    "/webhook/other",
    "/report",
    "/api/v1/inventory",
    "/api/v1/targets",
    "/api/v1/operations",
    "/nothing",
];

/// Let in: whatever the path answers then, it is no question of credentials.
fn is_in(status: u16) -> bool {
    status != 0 && status != 401 && status != 403 && status != 503
}

#[test]
fn users_of_the_web_config_are_asked_for_on_every_path() {
    let place = Place::new();
    let headers = "http_server_config: { http2: true, headers: { X-Frame-Options: deny } }\n";
    let daemon = place.serve("", &format!("{}{headers}", place.users()), "0.0.0.0:0");
    let right = format!("alice:{PASSWORD}");
    let bearer = format!("Authorization: Bearer {PASSWORD}");
    let twice = ["-H", "Authorization: Basic x", "-H", &bearer];
    eventually("the host was looked at", || place.status(&daemon, "/-/ready", &["-u", &right]) == 200);
    for path in PATHS {
        for wrong in [
            &[][..],
            &["-u", "alice:wrong"],
            &["-u", "bob:wrong"],
            &["-u", &format!("Alice:{PASSWORD}")],
            &["-u", "alice:"],
            &["-u", &format!(":{PASSWORD}")],
            &["-H", &bearer],
            &["-H", "Authorization: Basic"],
            &["-H", "Authorization: Basic !!!"],
            &["-H", "Authorization: Basic YWxpY2U="],
            &twice,
        ] {
            let (status, answer) = place.curl(&daemon, path, wrong);
            assert_eq!(status, 401, "{path} {wrong:?}");
            let answer = answer.to_ascii_lowercase();
            assert!(answer.contains("www-authenticate: basic") && answer.contains("x-frame-options: deny"), "{answer}");
        }
        let (status, answer) = place.curl(&daemon, path, &["-u", &right]);
        assert!(is_in(status) && answer.to_ascii_lowercase().contains("x-frame-options: deny"), "{path} {status}");
    }
}

#[test]
fn the_webhooks_token_opens_the_webhook_and_nothing_else() {
    let place = Place::new();
    let webhook = format!("webhook: {{ authorization: {{ credentials_file: {} }} }}\n", place.path("token").display());
    let daemon = place.serve(&webhook, &place.users(), "0.0.0.0:0");
    let (user, bearer) = (format!("alice:{PASSWORD}"), format!("Authorization: Bearer {TOKEN}"));
    for path in PATHS {
        let of_webhook = path.starts_with("/webhook/");
        let (right, wrong) =
            if of_webhook { (["-H", &bearer], ["-u", &user]) } else { (["-u", &user], ["-H", &bearer]) };
        eventually("the right ones are let in", || is_in(place.status(&daemon, path, &right)));
        assert_eq!(place.status(&daemon, path, &wrong), 401, "{path}");
        assert_eq!(place.status(&daemon, path, &[]), 401, "{path}");
        if of_webhook {
            for header in [
                format!("Authorization: {TOKEN}"),
                format!("Authorization: Bearer {TOKEN}x"),
                format!("Authorization: Basic {TOKEN}"),
                "Authorization: Bearer".to_owned(),
                "Authorization: Bearer ".to_owned(),
            ] {
                assert_eq!(place.status(&daemon, path, &["-H", &header]), 401, "{path} {header}");
            }
            assert!(is_in(place.status(&daemon, path, &["-H", &format!("Authorization: bearer   {TOKEN}")])));
        }
    }
    // What is not the webhook is not opened by a path that only looks like it.
    for path in ["/webhook/../metrics", "//webhook/alertmanager", "/webhook", "/metrics?/webhook/", "/webhook%2f"] {
        assert_eq!(
            place.status(&daemon, path, &["--path-as-is", "-H", &bearer]),
            if path.contains("..") { 404 } else { 401 },
            "{path}"
        );
    }
    // Replaced and taken back.
    place.write("token", "another-t0ken\n");
    eventually("the old token is refused", || place.status(&daemon, "/webhook/alertmanager", &["-H", &bearer]) == 401);
    assert!(is_in(place.status(&daemon, "/webhook/alertmanager", &["-H", "Authorization: Bearer another-t0ken"])));
    place.write("token", "\n");
    eventually("nobody is let in", || place.status(&daemon, "/webhook/alertmanager", &["-H", &bearer]) == 503);
    assert_eq!(place.status(&daemon, "/webhook/alertmanager", &["-H", "Authorization: Bearer "]), 503);
    place.write("token", TOKEN);
    eventually("it is let in again", || is_in(place.status(&daemon, "/webhook/alertmanager", &["-H", &bearer])));
}

#[test]
fn the_webhooks_own_user_is_another_than_those_of_the_web_config() {
    let place = Place::new();
    let webhook = format!(
        "webhook: {{ basic_auth: {{ username: alertmanager, password_file: {} }} }}\n",
        place.path("password").display()
    );
    let daemon = place.serve(&webhook, &place.users(), "127.0.0.1:0");
    let (user, own) = (format!("alice:{PASSWORD}"), format!("alertmanager:{HOOK_PASSWORD}"));
    for path in PATHS {
        let (right, wrong) = if path.starts_with("/webhook/") { (&own, &user) } else { (&user, &own) };
        eventually("the right ones are let in", || is_in(place.status(&daemon, path, &["-u", right])));
        assert_eq!(place.status(&daemon, path, &["-u", wrong]), 401, "{path}");
        assert_eq!(place.status(&daemon, path, &["-u", &format!("alertmanager:{PASSWORD}")]), 401, "{path}");
    }
}

#[test]
fn certificates_of_clients_are_checked_in_each_of_the_five_ways() {
    let place = Place::new();
    let stranger = Place::new();
    for name in ["alertmanager.pem", "alertmanager.key"] {
        let text = std::fs::read_to_string(stranger.path(name)).expect("readable");
        place.write(&format!("stranger.{}", &name[name.len() - 3..]), &text);
    }
    let with = |name: &str| ["--cert".to_owned(), format!("{name}.pem"), "--key".to_owned(), format!("{name}.key")];
    // Without a certificate, with one of the CA, with a stranger's: 0 is a handshake that fails.
    for (auth, none, ours, strangers) in [
        ("NoClientCert", 200, 200, 200),
        ("RequestClientCert", 200, 200, 200),
        ("RequireAnyClientCert", 0, 200, 200),
        ("RequireClientCert", 0, 200, 200),
        ("VerifyClientCertIfGiven", 200, 200, 0),
        ("RequireAndVerifyClientCert", 0, 200, 0),
    ] {
        let ca = if auth == "NoClientCert" { "" } else { "  client_ca_file: ca.pem\n" };
        let daemon = place.start(
            "",
            &place.tls(&format!("  client_auth_type: {auth}\n{ca}")),
            &["--web.listen-address=127.0.0.1:0"],
        );
        assert_eq!(place.status(&daemon, "/-/healthy", &[]), none, "{auth}");
        for (name, wanted) in [("prometheus", ours), ("stranger", strangers)] {
            let with = with(name);
            let arguments: Vec<&str> = with.iter().map(String::as_str).collect();
            assert_eq!(place.status(&daemon, "/-/healthy", &arguments), wanted, "{auth} {name}");
        }
    }
}

#[test]
fn the_webhook_can_be_for_certificates_with_a_name() {
    let place = Place::new();
    let sans = "webhook: { client_certificate: { allowed_sans: [alertmanager.example.com] } }\n";
    let tls = place.tls("  client_auth_type: VerifyClientCertIfGiven\n  client_ca_file: ca.pem\n");
    let daemon = place.serve(sans, &tls, "0.0.0.0:0");
    let with = |name: &'static str| match name {
        "alertmanager" => vec!["--cert", "alertmanager.pem", "--key", "alertmanager.key"],
        "prometheus" => vec!["--cert", "prometheus.pem", "--key", "prometheus.key"],
        _ => vec![],
    };
    for path in PATHS {
        let of_webhook = path.starts_with("/webhook/");
        for name in ["alertmanager", "prometheus", ""] {
            let status = place.status(&daemon, path, &with(name));
            if of_webhook && name != "alertmanager" {
                assert_eq!(status, 403, "{path} {name}");
            } else {
                assert!(status != 0 && status != 401 && status != 403, "{path} {name}: {status}");
            }
        }
    }
    // With a name that the web config asks for, others do not get as far as a request.
    let tls = place.tls(
        "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.pem\n  \
         client_allowed_sans: [prometheus.example.com]\n",
    );
    let daemon = place.start("", &tls, &["--web.listen-address=127.0.0.1:0"]);
    assert_eq!(place.status(&daemon, "/-/healthy", &with("prometheus")), 200);
    assert_eq!(place.status(&daemon, "/-/healthy", &with("alertmanager")), 0);
}

#[test]
fn versions_of_tls_are_as_the_web_config_says() {
    let place = Place::new();
    for (versions, old, new) in [("", 200, 200), ("  min_version: TLS13\n", 0, 200), ("  max_version: TLS12\n", 200, 0)]
    {
        let suites =
            "  cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256]\n  curve_preferences: [CurveP256, X25519]\n";
        let daemon = place.start("", &place.tls(&format!("{versions}{suites}")), &["--web.listen-address=127.0.0.1:0"]);
        assert_eq!(place.status(&daemon, "/-/healthy", &["--tls-max", "1.2"]), old, "{versions}");
        assert_eq!(place.status(&daemon, "/-/healthy", &["--tlsv1.3"]), new, "{versions}");
        assert_eq!(
            place.status(&daemon, "/-/healthy", &["--tls-max", "1.2", "--ciphers", "ECDHE-ECDSA-AES256-GCM-SHA384"]),
            0
        );
    }
}

#[test]
fn a_changed_certificate_or_web_config_is_in_use_at_once_and_a_bad_one_never() {
    let place = Place::new();
    let daemon = place.serve("", &format!("{}{}", place.tls(""), place.users()), "0.0.0.0:0");
    let user = format!("alice:{PASSWORD}");
    let healthy = |arguments: &[&str]| place.status(&daemon, "/-/healthy", arguments);
    let serial = || {
        let (_, text) =
            place.curl(&daemon, "/-/healthy", &["-u", &user, "-v", "--stderr", "-", "-w", "%{certs}\n%{http_code}"]);
        text.lines()
            .find_map(|line| line.split_once("Serial Number:").map(|(_, serial)| serial.to_owned()))
            .unwrap_or(text)
    };
    assert_eq!(healthy(&["-u", &user]), 200);
    let old = serial();
    place.certificate("server", &["127.0.0.1"]);
    eventually("the new certificate is shown", || healthy(&["-u", &user]) == 200 && serial() != old);

    let accepted = || {
        let (_, page) = place.curl(&daemon, "/metrics", &["-u", &user]);
        page.contains("lvm_autoscaler_web_config_last_reload_successful 1")
    };
    assert!(accepted());
    // A broken certificate, a broken file, one without TLS, and one that would leave the webhook open to everybody.
    let good = std::fs::read_to_string(place.path("server.pem")).expect("readable");
    place.write("server.pem", "rubbish");
    eventually("it is said", || !accepted() && daemon.log().contains("holds no certificate"));
    assert_eq!(healthy(&["-u", &user]), 200);
    place.write("server.pem", &good);
    eventually("it is good again", accepted);
    for (web, said) in [
        ("rubbish: {}".to_owned(), "rubbish: unknown key"),
        (place.users(), "TLS can be turned on or off only by a restart"),
        (place.tls(""), "can be reached from the network and the webhook asks for no credentials"),
    ] {
        place.write("web.yml", &web);
        eventually(said, || {
            let _ = accepted();
            daemon.log().contains(said)
        });
        assert_eq!((healthy(&["-u", &user]), healthy(&[])), (200, 401), "{web}");
    }
    // Users come and go.
    let other = place.users().replace("alice", "carol");
    place.write("web.yml", &format!("{}{other}", place.tls("")));
    eventually("alice is gone", || healthy(&["-u", &user]) == 401);
    assert_eq!(healthy(&["-u", &format!("carol:{PASSWORD}")]), 200);
}

#[test]
fn the_rate_limit_is_never_on_the_webhook() {
    let place = Place::new();
    let daemon = place.serve("", "rate_limit: { interval: 1h, burst: 2 }\n", "127.0.0.1:0");
    let statuses: Vec<u16> = (0..4).map(|_| place.status(&daemon, "/-/healthy", &[])).collect();
    assert_eq!(statuses, [200, 200, 429, 429]);
    for _ in 0..4 {
        assert_eq!(place.status(&daemon, "/webhook/alertmanager", &["--json", "{"]), 400);
    }
}

#[test]
fn what_is_open_to_the_network_and_asks_for_nothing_does_not_start() {
    let place = Place::new();
    let token = format!("webhook: {{ authorization: {{ credentials_file: {} }} }}\n", place.path("token").display());
    let open = ["--web.listen-address=127.0.0.1:0", "--web.listen-address=[::]:0"];
    for (config, web) in [
        (TARGETS, String::new()),
        (TARGETS, place.tls("")),
        (TARGETS, place.tls("  client_auth_type: RequireAnyClientCert\n")),
        (TARGETS, place.tls("  client_auth_type: VerifyClientCertIfGiven\n  client_ca_file: ca.pem\n")),
    ] {
        let said = place.refuses(config, &web, &open);
        assert!(said.contains("[::]:") && said.contains("set webhook.authorization"), "{said}");
    }
    for (config, web) in [
        ("", String::new()),
        (&format!("{TARGETS}{token}"), String::new()),
        (TARGETS, place.users()),
        (TARGETS, place.tls("  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.pem\n")),
    ] {
        drop(place.start(config, &web, &open));
    }
    // Others that cannot work say so.
    let sans = format!("{TARGETS}webhook: {{ client_certificate: {{ allowed_sans: [a] }} }}\n");
    let local = ["--web.listen-address=127.0.0.1:0"];
    assert!(place.refuses(&sans, &place.users(), &local).contains("needs TLS that verifies certificates"));
    place.write("token", " \n");
    assert!(place.refuses(&format!("{TARGETS}{token}"), "", &local).contains("token: is empty, expected a secret"));
    assert!(
        place.refuses("", &place.tls("").replace("server.pem", "none.pem"), &local).contains("none.pem cannot be read")
    );
    assert!(
        place
            .refuses("", &place.tls("").replace("server.key", "prometheus.key"), &local)
            .contains("certificate and key")
    );
}

#[test]
fn a_unix_socket_is_served_without_tls_and_replaced_after_a_kill() {
    let place = Place::new();
    let socket = format!("--web.listen-address=unix:{}", place.path("web.sock").display());
    for _ in 0..2 {
        let mut daemon = place.start(TARGETS, &place.users(), &[&socket]);
        daemon.speaks_tls = false;
        let (user, path) = (format!("alice:{PASSWORD}"), place.path("web.sock").display().to_string());
        assert_eq!(place.status(&daemon, "/-/healthy", &["--unix-socket", &path, "-u", &user]), 200);
        assert_eq!(place.status(&daemon, "/-/healthy", &["--unix-socket", &path]), 401);
        let mode = std::fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o660);
        kill(Pid::from_raw(daemon.process.id() as i32), Signal::SIGKILL).expect("ours");
    }
    // What is no socket is not removed.
    place.write("file", "precious");
    let file = format!("--web.listen-address=unix:{}", place.path("file").display());
    let output = place.command("", "", &[&file]).output().expect("it runs");
    assert!(!output.status.success() && place.path("file").exists());
}

#[test]
fn secrets_are_nowhere_to_be_seen() {
    let place = Place::new();
    let webhook = format!("webhook: {{ authorization: {{ credentials_file: {} }} }}\n", place.path("token").display());
    let daemon = place.serve(&webhook, &format!("{}{}", place.tls(""), place.users()), "0.0.0.0:0");
    let (user, bearer) = (format!("alice:{PASSWORD}"), format!("Authorization: Bearer {TOKEN}"));
    let mut seen = String::new();
    for path in PATHS {
        for credentials in
            [&[][..], &["-u", &user], &["-H", &bearer], &["-u", "alice:wr0ng"], &["-H", "Authorization: Bearer wr0ng"]]
        {
            seen += &place.curl(&daemon, path, credentials).1;
        }
    }
    place.write("token", "");
    place.write("web.yml", &place.users().replace("alice: ", "alice: x"));
    eventually("both are said to be wrong", || {
        place.status(&daemon, "/webhook/alertmanager", &["-H", &bearer]);
        daemon.log().contains("webhook refuses all requests") && daemon.log().contains("is not a bcrypt hash")
    });
    seen += &daemon.log();
    for name in ["journal.0", "journal.1"] {
        seen += &String::from_utf8_lossy(&std::fs::read(place.path("state/simulated").join(name)).expect("a journal"));
    }
    let key = std::fs::read_to_string(place.path("server.key")).expect("readable");
    let key = key.lines().nth(1).expect("a line of it").to_owned();
    for secret in [TOKEN, PASSWORD, &place.hash[..20], "wr0ng", &key, &place.hash[30..]] {
        assert!(
            !seen.contains(secret),
            "a secret is seen: {}",
            seen.lines().find(|line| line.contains(secret)).unwrap_or("")
        );
    }
}

#[test]
fn sockets_of_systemd_are_served_and_held_to_the_same_rule() {
    // They are passed to one process, and a shell is another.
    if is_split() {
        return;
    }
    let place = Place::new();
    let pass = |place: &Place, config: &str, address: &str| {
        let socket = std::net::TcpListener::bind(address).expect("a port");
        let address = socket.local_addr().expect("an address");
        // As systemd does: descriptor 3, and its environment.
        let command = place.command(config, "", &["--web.systemd-socket"]);
        let mut shell = program("sh");
        shell.args(["-c", "exec 3<&0 </dev/null; export LISTEN_PID=$$ LISTEN_FDS=1; exec \"$@\"", "sh"]);
        shell.arg(command.get_program()).args(command.get_args()).current_dir(place.folder.path());
        shell.stdin(Stdio::from(std::os::fd::OwnedFd::from(socket)));
        (shell, address)
    };
    let (shell, address) = pass(&place, TARGETS, "127.0.0.1:0");
    let daemon = Daemon::watch(shell);
    assert_eq!(daemon.address, Some(address));
    assert_eq!(place.status(&daemon, "/-/healthy", &[]), 200);
    drop(daemon);
    // Without a target anybody may read; the reload that brings one is refused, for the socket is open to the network.
    let place = Place::new();
    let (shell, _) = pass(&place, "", "0.0.0.0:0");
    let daemon = Daemon::watch(shell);
    drop(place.command(TARGETS, "", &[]));
    kill(Pid::from_raw(daemon.process.id().cast_signed()), Signal::SIGHUP).expect("it runs");
    eventually("it is refused", || {
        place.curl(&daemon, "/metrics", &[]).1.contains("lvm_autoscaler_config_last_reload_successful 0")
    });
    assert!(daemon.log().contains("can be reached from the network"), "{}", daemon.log());
    assert!(!place.path("state/simulated/lock").exists(), "nothing may grow");
    // With credentials for the webhook it is accepted.
    let token =
        format!("{TARGETS}webhook: {{ authorization: {{ credentials_file: {} }} }}", place.path("token").display());
    drop(place.command(&token, "", &[]));
    kill(Pid::from_raw(daemon.process.id().cast_signed()), Signal::SIGHUP).expect("it runs");
    eventually("it is in force", || {
        place.curl(&daemon, "/metrics", &[]).1.contains("lvm_autoscaler_config_last_reload_successful 1")
    });
    drop(daemon);
    let place = Place::new();
    let (mut shell, _) = pass(&place, TARGETS, "0.0.0.0:0");
    let output = shell.output().expect("it runs");
    assert!(String::from_utf8_lossy(&output.stderr).contains("can be reached from the network"));
    let said = place.command("", "", &["--web.systemd-socket"]).output().expect("it runs").stderr;
    assert!(String::from_utf8_lossy(&said).contains("no socket was passed"));
}
