//! All attacks at once, while Alertmanager and Prometheus go on as ever. `make test` runs a few seconds of it, `make
//! soak` minutes.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::edge::{Place, TOKEN, eventually};
use crate::flood::{address, alone, ask, basic, costly, hold, metric, post_and_not_read, probe, resident, serve};
use crate::part::{is_soak, say};

const HONEST: usize = 10;
const VOLUMES: usize = 100;

fn payload(from: usize, number: usize) -> Vec<u8> {
    let alert = |n: usize| {
        let lv = (from * 10 + number + n) % VOLUMES;
        json!({ "status": "firing", "labels": { "alertname": "Filling", "instance": "db1:9100", "vg": "vg", "lv": format!("l{lv}") },
            "annotations": { "summary": "it is filling" }, "fingerprint": format!("{lv:016x}") })
    };
    let alerts: Vec<_> = (0..50).map(alert).collect();
    json!({ "version": "4", "status": "firing", "groupKey": "{}", "alerts": alerts }).to_string().into_bytes()
}

#[test]
fn honest_alerts_are_all_accepted_and_pages_come_while_everything_is_attacked() {
    let _alone = alone();
    let long = if is_soak() { Duration::from_secs(120) } else { Duration::from_secs(10) };
    let place = Place::new();
    let targets: String =
        (0..VOLUMES).map(|n| format!("    - {{ lv_path: /dev/vg/l{n}, mount_point: /m{n} }}\n")).collect();
    let config = format!(
        "monitor:\n  targets:\n{targets}webhook: {{ authorization: {{ credentials_file: {} }} }}\n",
        place.path("token").display()
    );
    let hash = bcrypt::hash("right", 7).expect("a hash");
    let daemon = serve(&place, &config, &format!("basic_auth_users: {{ alice: '{hash}' }}\n"));
    let (to, over) = (address(&daemon), AtomicBool::new(false));
    let (right, token) = (basic("alice", "right"), format!("Authorization: Bearer {TOKEN}\r\n"));
    eventually("it is ready", || ask(to, "GET", "/-/ready", &right, b"").0 == 200);
    let go_on = || !over.load(Ordering::Relaxed);
    let (accepted, sent, again, most) = Default::default();
    let (accepted, sent, again, most): (AtomicUsize, AtomicUsize, AtomicUsize, AtomicUsize) =
        (accepted, sent, again, most);
    let bodies = costly();
    let pages = std::thread::scope(|scope| {
        let half_a_body = format!(
            "POST /webhook/alertmanager HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{token}\
             Content-Length: 1000000\r\n\r\n{}",
            " ".repeat(100_000)
        );
        scope.spawn(|| hold(to, 150, b"", go_on));
        scope.spawn(|| hold(to, 100, b"POST /webhook/alertmanager HTTP/1.1\r\nHo", go_on));
        scope.spawn(move || hold(to, 8, half_a_body.as_bytes(), go_on));
        for (_, body) in &bodies {
            let token = &token;
            scope.spawn(move || post_and_not_read(to, body, token, 4, &go_on));
        }
        for from in 0..20 {
            scope.spawn(move || {
                let mut n = 0;
                while go_on() {
                    n += 1;
                    crate::flood::guess_once(to, &format!("guess-{from}-{n}"), &go_on);
                }
            });
        }
        let right = &right;
        scope.spawn(move || {
            while go_on() {
                ask(to, "POST", "/webhook/alertmanager", "Origin: http://evil.example\r\n", b"{}");
                ask(to, "GET", "/report", right, b"");
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        scope.spawn(|| {
            while go_on() {
                most.fetch_max(resident(&daemon) as usize, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        for from in 0..HONEST {
            let (token, accepted, sent, again) = (&token, &accepted, &sent, &again);
            scope.spawn(move || {
                let mut number = 0;
                while go_on() {
                    number += 1;
                    let body = payload(from, number);
                    sent.fetch_add(50, Ordering::Relaxed);
                    // As Alertmanager does: again after anything but a 2xx, until its next flush ten seconds later.
                    let until = Instant::now() + Duration::from_secs(10);
                    loop {
                        let (status, answer) = ask(to, "POST", "/webhook/alertmanager", token, &body);
                        if status == 202 {
                            let body = answer.split_once("\r\n\r\n").expect("a body").1;
                            let verdicts = body.matches("\"accepted\"").count() + body.matches("\"coalesced\"").count();
                            assert_eq!(verdicts, 50, "{body}");
                            accepted.fetch_add(verdicts, Ordering::Relaxed);
                            break;
                        }
                        again.fetch_add(1, Ordering::Relaxed);
                        assert!([0, 408, 503].contains(&status) && Instant::now() < until, "{status}: {answer}");
                        std::thread::sleep(Duration::from_millis(500));
                    }
                    std::thread::sleep(Duration::from_millis(200));
                }
            });
        }
        let until = Instant::now() + long;
        let probed = std::panic::catch_unwind(|| probe(to, right, || Instant::now() < until));
        over.store(true, Ordering::Relaxed);
        probed.expect("each page came")
    });
    let (accepted, sent, again) = (accepted.into_inner(), sent.into_inner(), again.into_inner());
    let (_, page) = ask(to, "GET", "/metrics", &right, b"");
    let dropped = metric(&page, "lvm_autoscaler_limit_hits_total{limit=\"connections\"}");
    say(&format!(
        "figures: {accepted} of {sent} honest alerts accepted ({again} deliveries again), {} pages, the slowest {} ms, at most {} MiB, \
         {dropped} connections dropped",
        pages.count,
        pages.slowest.as_millis(),
        most.load(Ordering::Relaxed)
    ));
    assert_eq!(accepted, sent);
    assert!(pages.came_soon(), "{pages:?}");
    assert!(most.into_inner() < 128);
}
