//! Requests that are wrong in every way we could think of, at the daemon as it is shipped: each is answered as it
//! should be (or its connection closed where HTTP says so), nothing of it is in the journal, and the daemon lives on in
//! the same memory.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::Shutdown;

use crate::common::CONFIG;
use crate::common::part::say;
use crate::common::place::{Place, Served};
use crate::common::server::connect;

/// What the rounds after the first may add to the resident memory: a few of the largest bodies, which allocators keep.
/// They send more than that, so a daemon that kept what it read would be seen.
const AT_MOST_KIB: u64 = 8 << 10;
const ROUNDS: usize = 4;
const HOOK: &str = "/webhook/alertmanager";
/// What would grow a volume if anything of the request around it were right.
const FIRING: &str = r#"{"status":"firing","labels":{"instance":"db1","vg":"vg","lv":"data"}}"#;

/// A request, and the statuses of all answers that come until the connection is closed; none: closed without a word.
struct Case {
    name: String,
    bytes: Vec<u8>,
    wanted: Vec<u16>,
    /// The client sends no more after this.
    ends: bool,
}

fn case(name: &str, bytes: impl Into<Vec<u8>>, wanted: &[u16]) -> Case {
    Case { name: name.to_owned(), bytes: bytes.into(), wanted: wanted.to_vec(), ends: false }
}

/// The client goes away in the middle.
fn cut(name: &str, bytes: impl Into<Vec<u8>>, wanted: &[u16]) -> Case {
    Case { ends: true, ..case(name, bytes, wanted) }
}

fn request(line: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("{line}\r\n{headers}Connection: close\r\n\r\n");
    [head.as_bytes(), body].concat()
}

fn post_to(path: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    request(
        &format!("POST {path} HTTP/1.1"),
        &format!("Host: localhost\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n{headers}"),
        body,
    )
}

fn post(body: &[u8]) -> Vec<u8> {
    post_to(HOOK, "", body)
}

/// A whole and right payload.
fn payload() -> String {
    format!(r#"{{"version":"4","status":"firing","alerts":[{FIRING}]}}"#)
}

/// Bodies that are no payload of Alertmanager's.
fn bodies() -> Vec<Case> {
    let right = payload();
    let alert = |alert: &str| format!(r#"{{"version":"4","alerts":[{FIRING},{alert}]}}"#).into_bytes();
    let labels = |labels: &str| alert(&format!(r#"{{"status":"firing","labels":{labels}}}"#));
    let with = |field: &str| format!(r#"{{"version":"4",{field},"alerts":[{FIRING}]}}"#).into_bytes();
    let alerts = |alerts: &str| format!(r#"{{"version":"4","alerts":{alerts}}}"#).into_bytes();
    let utf16: Vec<u8> = right.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let gzip = [&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3], &[0xab; 200][..]].concat();
    let mut found: Vec<(&str, Vec<u8>)> = vec![
        ("empty", vec![]),
        ("blanks", vec![b' '; 1000]),
        ("null", b"null".to_vec()),
        ("true", b"true".to_vec()),
        ("a number", b"4".to_vec()),
        ("a text", b"\"4\"".to_vec()),
        ("a list", b"[]".to_vec()),
        ("a payload in a list", format!("[{right}]").into_bytes()),
        ("a payload as a list", format!(r#"["4","firing",null,[{FIRING}],0,{{}}]"#).into_bytes()),
        ("an empty object", b"{}".to_vec()),
        ("cut in half", right.as_bytes()[..right.len() / 2].to_vec()),
        ("without the last byte", right.as_bytes()[..right.len() - 1].to_vec()),
        ("a bracket", b"{".to_vec()),
        ("the version a number", right.replace("\"4\"", "4").into_bytes()),
        ("version 3", right.replace("\"4\"", "\"3\"").into_bytes()),
        ("no version", format!(r#"{{"alerts":[{FIRING}]}}"#).into_bytes()),
        ("the version null", right.replace("\"4\"", "null").into_bytes()),
        ("two versions", with(r#""version":"4""#)),
        ("alerts missing", br#"{"version":"4"}"#.to_vec()),
        ("alerts an object", alerts(FIRING)),
        ("alerts a text", alerts("\"x\"")),
        ("alerts null", alerts("null")),
        ("alerts a number", alerts("1")),
        ("alerts twice", format!(r#"{{"version":"4","alerts":[{FIRING}],"alerts":[]}}"#).into_bytes()),
        ("an alert a number", alert("1")),
        ("an alert null", alert("null")),
        ("an alert a text", alert("\"firing\"")),
        ("an alert as a list", alert(r#"["firing",{"instance":"db1","vg":"vg","lv":"data"},"",{}]"#)),
        ("an alert without status", alert("{}")),
        ("an odd status", alert(r#"{"status":"burning"}"#)),
        ("the status in capitals", alert(r#"{"status":"FIRING"}"#)),
        ("the status an object", alert(r#"{"status":{"firing":null}}"#)),
        ("the status twice", alert(r#"{"status":"firing","status":"firing"}"#)),
        ("labels a list", labels("[]")),
        ("labels a text", labels("\"vg\"")),
        ("labels null", labels("null")),
        ("a label a number", labels(r#"{"vg":1}"#)),
        ("a label null", labels(r#"{"vg":null}"#)),
        ("a label true", labels(r#"{"vg":true}"#)),
        ("a label an object", labels(r#"{"vg":{"a":"b"}}"#)),
        ("a label a list", labels(r#"{"vg":["vg"]}"#)),
        ("a label twice", labels(r#"{"instance":"db1","vg":"vg","vg":"vg","lv":"data"}"#)),
        ("half a surrogate", labels(r#"{"vg":"\ud800"}"#)),
        ("a raw newline in a label", labels("{\"vg\":\"a\nb\"}")),
        ("a NUL in a label", labels("{\"vg\":\"a\0b\"}")),
        ("a fingerprint of digits", alert(r#"{"status":"firing","fingerprint":7}"#)),
        ("annotations a list", alert(r#"{"status":"firing","annotations":["NoData"]}"#)),
        ("fewer than none cut off", with(r#""truncatedAlerts":-1"#)),
        ("a fraction cut off", with(r#""truncatedAlerts":1.5"#)),
        ("2^64 cut off", with(r#""truncatedAlerts":18446744073709551616"#)),
        ("1e400 cut off", with(r#""truncatedAlerts":1e400"#)),
        ("100,000 digits", with(&format!(r#""truncatedAlerts":{}"#, "9".repeat(100_000)))),
        ("NaN", with(r#""truncatedAlerts":NaN"#)),
        ("group labels a list", with(r#""groupLabels":[]"#)),
        ("group labels numbers", with(r#""groupLabels":{"instance":1}"#)),
        ("deep lists", alerts(&format!("{}{}", "[".repeat(200_000), "]".repeat(200_000)))),
        ("deep objects", labels(&format!("{}1{}", r#"{"a":"#.repeat(100_000), "}".repeat(100_000)))),
        ("deeper than a stack", with(&format!(r#""x":{}"#, "[".repeat(500_000)))),
        ("100,000 keys and no alerts", {
            let keys: Vec<String> = (0..80_000).map(|n| format!("\"{n}\":1")).collect();
            format!("{{{}}}", keys.join(",")).into_bytes()
        }),
        ("100,000 alerts in 1 MiB", alerts(&format!("[{FIRING}{}]", ",{}".repeat(300_000)))),
        ("a label of nearly 1 MiB, not closed", labels(&format!("{{\"vg\":\"{}", "x".repeat(1_000_000)))),
        ("no UTF-8", labels("{\"vg\":\"~\"}").into_iter().map(|byte| if byte == b'~' { 0xff } else { byte }).collect()),
        ("a byte-order mark", [b"\xef\xbb\xbf", right.as_bytes()].concat()),
        ("UTF-16", utf16),
        ("something behind it", format!("{right}x").into_bytes()),
        ("two payloads", format!("{right}{right}").into_bytes()),
        ("a NUL behind it", format!("{right}\0").into_bytes()),
        ("a comma too many", right.replace("}]}", "},]}").into_bytes()),
        ("a comment", format!("/* */{right}").into_bytes()),
        ("single quotes", right.replace('"', "'").into_bytes()),
        ("YAML", b"version: '4'\nalerts: []\n".to_vec()),
        ("a form", b"version=4&alerts=".to_vec()),
        ("gzip that is not said to be", gzip),
    ];
    let mut cases: Vec<Case> = found.drain(..).map(|(name, body)| case(name, post(&body), &[400])).collect();
    cases.push(case("Grafana's path", post_to("/webhook/grafana", "", payload().as_bytes()), &[400]));
    cases.push(case("a byte too many", post(&vec![b' '; (1 << 20) + 1]), &[413]));
    let large =
        format!(r#"{{"version":"4","alerts":[{{"status":"firing","labels":{{"vg":"{}"}}}}]}}"#, "x".repeat(1 << 20));
    cases.push(case("a label of 1 MiB", post(large.as_bytes()), &[413]));
    cases
}

/// Paths, methods and types.
fn addressed() -> Vec<Case> {
    let body = payload();
    let mut cases = vec![];
    for path in [
        "/webhook",
        "/webhook/",
        "/webhook/alertmanager/",
        "/Webhook/alertmanager",
        "//webhook/alertmanager",
        "/webhook//alertmanager",
        "/webhook/./alertmanager",
        "/x/../webhook/alertmanager",
        "/webhook%2falertmanager",
        "/webhook/alertmanager%00",
        "/webhook/slack",
    ] {
        cases.push(case(path, post_to(path, "", body.as_bytes()), &[404]));
    }
    for method in ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "post", "P0ST", "MADEUP"] {
        let bytes = request(&format!("{method} {HOOK} HTTP/1.1"), "Host: localhost\r\n", b"");
        cases.push(case(method, bytes, &[405]));
    }
    for path in ["/", "/metrics", "/-/healthy", "/-/ready", "/report", "/api/v1/targets"] {
        cases.push(case(&format!("POST {path}"), post_to(path, "", body.as_bytes()), &[405]));
    }
    let typed = |headers: &str| {
        let headers = format!("Host: localhost\r\nContent-Length: {}\r\n{headers}", body.len());
        request(&format!("POST {HOOK} HTTP/1.1"), &headers, body.as_bytes())
    };
    for headers in [
        "",
        "Content-Type: text/plain\r\n",
        "Content-Type: application/x-www-form-urlencoded\r\n",
        "Content-Type: multipart/form-data; boundary=x\r\n",
        "Content-Type: application/jsonp\r\n",
        "Content-Type: application/json\r\nContent-Type: text/plain\r\n",
        "Content-Type: application/json\r\nContent-Encoding: gzip\r\n",
        "Content-Type: \r\n",
    ] {
        cases.push(case(&format!("typed {headers:?}"), typed(headers), &[415]));
    }
    for host in [
        "",
        "Host: localhost\r\nHost: localhost\r\n",
        "Host: localhost\r\nHost: y\r\n",
        "Host: a b\r\n",
        "Host: x/y\r\n",
        "Host: u@x\r\n",
        "Host: x:y:z\r\n",
    ] {
        let headers = format!("{host}Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
        let bytes = request(&format!("POST {HOOK} HTTP/1.1"), &headers, body.as_bytes());
        cases.push(case(&format!("host {host:?}"), bytes, &[400]));
    }
    cases.push(case("CONNECT", request("CONNECT x:443 HTTP/1.1", "Host: localhost:443\r\n", b""), &[404]));
    cases.push(case("OPTIONS *", request("OPTIONS * HTTP/1.1", "Host: localhost\r\n", b""), &[404]));
    // The absolute form must be understood, so it is the body that is wrong.
    cases.push(case("an absolute URI", post_to(&format!("http://x{HOOK}"), "", b"{}"), &[400]));
    cases
}

/// Where a request ends, said in ways that two readers could understand differently.
fn framed() -> Vec<Case> {
    let body = payload();
    let length = body.len();
    let head = |headers: &str| {
        format!("POST {HOOK} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{headers}\r\n")
    };
    let mut cases = vec![];
    for said in [
        "-1".to_owned(),
        format!("+{length}"),
        format!("{length} {length}"),
        format!("{length},1"),
        format!("{length:#x}"),
        "1e3".to_owned(),
        "18446744073709551616".to_owned(),
        "9".repeat(1000),
        "x".to_owned(),
        String::new(),
    ] {
        let bytes = head(&format!("Content-Length: {said}\r\n")) + &body;
        cases.push(case(&format!("Content-Length: {}", &said[..said.len().min(30)]), bytes, &[400]));
    }
    for said in ["1048577", "18446744073709551613"] {
        cases.push(case(&format!("{said} bytes are announced"), head(&format!("Content-Length: {said}\r\n")), &[413]));
        let headers = format!("Content-Length: {said}\r\nExpect: 100-continue\r\n");
        cases.push(case(&format!("{said} bytes are offered"), head(&headers), &[413]));
    }
    let two = format!("Content-Length: {length}\r\nContent-Length: {}\r\n", length - 1);
    cases.push(case("two lengths", head(&two) + &body, &[400]));
    for coding in [
        "gzip",
        "chunked, gzip",
        "gzip, chunked",
        "identity",
        "chunked, chunked",
        "xchunked",
        "\"chunked\"",
        "chunked\r\nTransfer-Encoding: chunked",
    ] {
        let bytes = head(&format!("Transfer-Encoding: {coding}\r\nConnection: close\r\n"))
            + &format!("{length:x}\r\n{body}\r\n0\r\n\r\n");
        cases.push(case(&format!("Transfer-Encoding: {coding}"), bytes, &[400]));
    }
    let old = format!(
        "POST {HOOK} HTTP/1.0\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n{length:x}\r\n{body}\r\n0\r\n\r\n"
    );
    cases.push(case("chunks in HTTP/1.0", old, &[400]));
    // What one reader takes for the body of the first is a second request to another one. Never answered.
    let smuggled = format!("0\r\n\r\n{}", head(&format!("Content-Length: {length}\r\n")) + &body);
    for headers in [
        format!("Content-Length: {}\r\nTransfer-Encoding: chunked\r\n", smuggled.len()),
        format!("Transfer-Encoding: chunked\r\nContent-Length: {}\r\n", smuggled.len()),
        "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n".to_owned(),
    ] {
        cases.push(case(&format!("smuggled {headers:?}"), head(&headers) + &smuggled, &[400]));
    }
    for (name, chunks) in [
        ("a chunk larger than 64 bits", format!("10000000000000001\r\n{body}\r\n0\r\n\r\n")),
        ("a chunk of -1", format!("-1\r\n{body}\r\n0\r\n\r\n")),
        ("a chunk of zz", format!("zz\r\n{body}\r\n0\r\n\r\n")),
        ("a chunk of 0x", format!("0x{length:x}\r\n{body}\r\n0\r\n\r\n")),
        ("a chunk without a size", format!("\r\n{body}\r\n0\r\n\r\n")),
        ("a chunk that is longer than it says", format!("{:x}\r\n{body}\r\n0\r\n\r\n", length - 1)),
        ("an extension of 100 KB", format!("{length:x};{}\r\n{body}\r\n0\r\n\r\n", "x".repeat(100_000))),
        ("trailers of 100 KB", format!("{length:x}\r\n{body}\r\n0\r\nX: {}\r\n\r\n", "x".repeat(100_000))),
        ("2,000 trailers", format!("{length:x}\r\n{body}\r\n0\r\n{}\r\n", "X: y\r\n".repeat(2000))),
        ("20,000 chunks of a byte", format!("{}0\r\n\r\n", "1\r\n \r\n".repeat(20_000))),
    ] {
        cases.push(case(name, head("Transfer-Encoding: chunked\r\nConnection: close\r\n") + &chunks, &[400]));
    }
    let many = format!("10000\r\n{}\r\n", " ".repeat(1 << 16)).repeat(17);
    cases.push(case("more than 1 MiB in chunks", head("Transfer-Encoding: chunked\r\n") + &many, &[413]));
    cases.push(cut("gone in the body", head(&format!("Content-Length: {length}\r\n")) + &body[..20], &[400]));
    cases.push(cut(
        "gone in a chunk of 2^64-1",
        head("Transfer-Encoding: chunked\r\n") + "ffffffffffffffff\r\n" + &body,
        &[400],
    ));
    cases.push(cut(
        "gone in a chunk",
        head("Transfer-Encoding: chunked\r\n") + &format!("{length:x}\r\n{}", &body[..20]),
        &[400],
    ));
    cases.push(cut(
        "gone before the last chunk",
        head("Transfer-Encoding: chunked\r\n") + &format!("{length:x}\r\n{body}\r\n"),
        &[400],
    ));
    // One connection, two requests: each has its own answer, and after one that was not read to its end comes nothing.
    let wrong = head("Content-Length: 2\r\n") + "{}";
    cases.push(case("two behind one another", [wrong.as_bytes(), &post(b"[]")].concat(), &[400, 400]));
    let unread = head("Content-Length: 1048577\r\n") + &head(&format!("Content-Length: {length}\r\n")) + &body;
    cases.push(case("one behind another that is too large", unread, &[413]));
    cases
}

/// Heads that are no HTTP/1.1.
fn heads() -> Vec<Case> {
    let get = |line: &str, headers: &str| request(line, &format!("Host: localhost\r\n{headers}"), b"");
    let many: String = (0..101).map(|n| format!("X-{n}: y\r\n")).collect();
    let flood: String = (0..5000).map(|n| format!("X-{n}: y\r\n")).collect();
    let long = "x".repeat(70_000);
    // The bound of 64 KiB is looked at after each read, which may bring as much again.
    let longer = "x".repeat(140_000);
    vec![
        case("HTTP/0.9", "GET /\r\n\r\n", &[400]),
        case("HTTP/2's preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &[]),
        case("HTTP/3.0", get("GET / HTTP/3.0", ""), &[400]),
        case("HTTP/1.7", get("GET / HTTP/1.7", ""), &[400]),
        case("no version", get("GET /", ""), &[400]),
        case("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".as_slice(), &[400]),
        case("SSH", "SSH-2.0-OpenSSH_9.2\r\n\r\n", &[400]),
        case("SMTP", "EHLO x\r\n\r\n", &[400]),
        case("NULs", [0; 100].as_slice(), &[400]),
        case("0xff", [0xff; 100].as_slice(), &[400]),
        case("a NUL in the path", get("GET /metrics\0 HTTP/1.1", ""), &[400]),
        case("a blank in the path", get("GET /met rics HTTP/1.1", ""), &[400]),
        case("no path", get("GET  HTTP/1.1", ""), &[400]),
        case("a path without /", get("GET metrics HTTP/1.1", ""), &[404]),
        case("a tab for a blank", get("GET\t/metrics\tHTTP/1.1", ""), &[400]),
        case("a NUL in a header", get("GET /metrics HTTP/1.1", "X: a\0b\r\n"), &[400]),
        case("a NUL in a name", get("GET /metrics HTTP/1.1", "X\0: b\r\n"), &[400]),
        case("a blank before the colon", get("GET /metrics HTTP/1.1", "X : b\r\n"), &[400]),
        case("no colon", get("GET /metrics HTTP/1.1", "X\r\n"), &[400]),
        case("no name", get("GET /metrics HTTP/1.1", ": x\r\n"), &[400]),
        case("a folded header", get("GET /metrics HTTP/1.1", "X: a\r\n b\r\n"), &[400]),
        case("a lone carriage return", get("GET /metrics HTTP/1.1", "X: a\rb\r\n"), &[400]),
        case("101 headers", get("GET /metrics HTTP/1.1", &many), &[431]),
        case("5,000 headers", get("GET /metrics HTTP/1.1", &flood), &[431]),
        case("a header of 140 KB", get("GET /metrics HTTP/1.1", &format!("X: {longer}\r\n")), &[431]),
        case("a name of 70 KB", get("GET /metrics HTTP/1.1", &format!("{long}: x\r\n")), &[431]),
        case("a path of 70 KB", get(&format!("GET /{long} HTTP/1.1"), ""), &[414]),
        case("a method of 140 KB", get(&format!("{} / HTTP/1.1", longer.to_uppercase()), ""), &[431]),
        cut("nothing", "", &[]),
        cut("gone in the head", format!("POST {HOOK} HTTP/1.1\r\nHost: localhost\r\nContent-"), &[]),
        cut("gone in the method", "PO", &[]),
    ]
}

fn address(served: &Served) -> String {
    let at = served.begun.split("address=").nth(1).expect("where it listens");
    at.split_whitespace().next().expect("an address").trim_matches('"').to_owned()
}

/// The statuses of everything that is answered until the connection ends.
fn answers(address: &str, case: &Case) -> Vec<u16> {
    let mut stream = connect(address).expect("it listens");
    // Who is refused early may not get rid of all of it.
    let _ = stream.write_all(&case.bytes);
    if case.ends {
        let _ = stream.shutdown(Shutdown::Write);
    }
    let mut got = Vec::new();
    // A reset behind the answer is how a server closes while the client still sends.
    if let Err(error) = stream.read_to_end(&mut got) {
        assert_ne!(
            error.kind(),
            std::io::ErrorKind::WouldBlock,
            "{}: neither answered nor closed: {}",
            case.name,
            String::from_utf8_lossy(&got)
        );
    }
    let text = String::from_utf8_lossy(&got).into_owned();
    text.split("HTTP/1.1 ").skip(1).map(|answer| answer[..3].parse().expect("a status")).collect()
}

fn journal(place: &Place) -> BTreeMap<String, Vec<u8>> {
    let folder = std::fs::read_dir(place.path("state/simulated")).expect("a state directory");
    let files = folder.map(|file| file.expect("a file").path()).filter(|file| file.is_file());
    files.map(|file| (file.display().to_string(), std::fs::read(&file).expect("readable"))).collect()
}

fn resident_kib(served: &Served) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", served.child.id())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a size");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[test]
fn wrong_requests_are_refused_and_leave_nothing_behind() {
    let place = Place::new(CONFIG);
    let served = place.serve(&[]);
    let address = address(&served);
    let healthy = case("healthy", request("GET /-/healthy HTTP/1.1", "Host: localhost\r\n", b""), &[200]);
    assert_eq!(answers(&address, &healthy), [200]);
    let cases: Vec<Case> = [bodies(), addressed(), framed(), heads()].into_iter().flatten().collect();
    assert!(cases.len() >= 60);
    let sent: usize = cases.iter().map(|case| case.bytes.len()).sum();
    let later = sent as u64 * (ROUNDS as u64 - 1);
    assert!(later > (AT_MOST_KIB << 10) * 3 / 2, "{later} bytes are too few to see what is kept");
    let mut before = journal(&place);
    assert!(!before.is_empty());
    let mut wrong = vec![];
    let mut resident = vec![];
    for _ in 0..ROUNDS {
        for case in &cases {
            let got = answers(&address, case);
            if got != case.wanted {
                wrong.push(format!("{}: answered {got:?}, expected {:?}", case.name, case.wanted));
            }
            if journal(&place) != before {
                wrong.push(format!("{}: something of it is in the journal", case.name));
                before = journal(&place);
            }
            assert_eq!(answers(&address, &healthy), [200], "after {}", case.name);
        }
        assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
        resident.push(resident_kib(&served));
    }
    say(&format!(
        "{} wrong requests of {sent} bytes, resident memory after each round in KiB: {resident:?}",
        cases.len()
    ));
    // The first round fills buffers and starts threads.
    let grown = resident[ROUNDS - 1].saturating_sub(resident[0]);
    assert!(grown <= AT_MOST_KIB, "{resident:?}");
    // The payload that was wrapped in all of this is a right one.
    let right = case("right", post(payload().as_bytes()), &[202]);
    assert_eq!(answers(&address, &right), [202]);
    assert_ne!(journal(&place), before);
}

/// As many alerts as fit, and as long a label: no mistake, so they are read, and they name nothing of ours.
#[test]
fn large_payloads_for_others_are_answered_and_grow_nothing() {
    let place = Place::new(CONFIG);
    let served = place.serve(&[]);
    let address = address(&served);
    let many = format!(r#"{{"version":"4","alerts":[{}]}}"#, vec![r#"{"status":"firing"}"#; 50_000].join(","));
    let long =
        format!(r#"{{"version":"4","alerts":[{{"status":"firing","labels":{{"vg":"{}"}}}}]}}"#, "x".repeat(1_000_000));
    for (name, body) in [("many alerts", many), ("a long label", long)] {
        for _ in 0..2 {
            assert_eq!(answers(&address, &case(name, post(body.as_bytes()), &[])), [202], "{name}");
        }
        let first = resident_kib(&served);
        assert_eq!(answers(&address, &case(name, post(body.as_bytes()), &[])), [202], "{name}");
        let second = resident_kib(&served);
        assert!(second.saturating_sub(first) <= 64 << 10, "{name}: {first} KiB, {second} KiB");
    }
    let (code, _, log) = served.end();
    assert_eq!(code, Some(0), "{log}");
    assert!(!log.contains("grew from"), "{log}");
}
