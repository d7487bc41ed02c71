//! The relay as it is shipped, between curl and real daemons on simulated hosts.

#[path = "common/edge.rs"]
mod edge;

use edge::*;

const PATHS: &[&str] =
    &["/", "/metrics", "/-/healthy", "/-/ready", "/webhook/alertmanager", "/webhook/other", "/nothing"];

/// A list with these hosts: name, port, scheme.
fn list(place: &Place, hosts: &[(&str, u16, &str)]) {
    let group = |(name, port, scheme): &(&str, u16, &str)| {
        format!(r#"{{"targets":["127.0.0.1:{port}"],"labels":{{"instance":"{name}","__scheme__":"{scheme}"}}}}"#)
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
    let webhook = ["-u", &right, "-d", r#"{"version":"4","status":"firing","alerts":[]}"#];
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
    assert!(said.contains("relay-web.yml") && said.contains("unknown field `rubbish`"), "{said}");
    // What only this host reaches may ask for nothing.
    for address in ["127.0.0.1:0".to_owned(), format!("unix:{}", place.path("relay.sock").display())] {
        drop(Daemon::watch(place.relay("", &[&format!("--web.listen-address={address}")])));
    }
    let plain = Daemon::watch(place.relay(&place.users(), &open));
    assert!(plain.log().contains("is plain text: credentials can be read on the way"), "{}", plain.log());
}
