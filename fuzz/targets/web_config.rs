//! The web config: what loads is what TLS here can do, and nothing of a secret stands in an error.

use lvm_autoscaler::config::web::{ClientAuth, Web, parse};
use serde_json::json;

pub fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    match parse(&text, "/etc/x/web.yml".as_ref()) {
        Ok(web) => check(&web),
        Err(error) => super::config::check_error(&error, &text),
    }
    secret(&text);
}

fn check(web: &Web) {
    for (index, (user, hash)) in web.users.iter().enumerate() {
        assert!(hash.cost <= 18, "a hash of cost {} takes too long", hash.cost);
        assert!(web.users[..index].iter().all(|(other, _)| other != user), "{user:?} stands there twice");
    }
    for (_, value) in &web.headers {
        assert!(value.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{value:?} breaks out of its header");
    }
    assert!(web.rate_limit.is_none_or(|(interval, _)| !interval.is_zero()));
    let Some(tls) = &web.tls else { return };
    assert!(tls.versions.0 || tls.versions.1, "no version is left");
    assert!(tls.client_ca.is_some() || !tls.client_auth.verifies(), "anybody's certificate would do");
    assert!(tls.client_ca.is_none() || tls.client_auth != ClientAuth::NoClientCert);
}

/// Text that stands where a secret belongs is never repeated, neither in an error nor in what a log would show.
fn secret(text: &str) {
    const MARK: &str = "hunter2";
    let secret = format!("{text}{MARK}");
    let tls = |key: &str| json!({"tls_server_config": {"client_auth_type": "RequestClientCert", key: secret}});
    for yaml in [tls("cert"), tls("key"), tls("client_ca"), json!({"basic_auth_users": {"alice": secret}})] {
        let shown = match parse(&yaml.to_string(), "/w.yml".as_ref()) {
            Ok(web) => format!("{web:?}"),
            Err(error) => error.to_string(),
        };
        assert!(!shown.contains(MARK), "a secret stands in {shown:?}");
    }
}
