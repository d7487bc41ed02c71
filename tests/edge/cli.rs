//! The program as it is called: exit codes, what goes to which stream, and how it starts and stops.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;

use crate::common::CONFIG;
use crate::common::place::{Place, Served, err, out};
use crate::common::split::is_split;
use assert_cmd::cargo::cargo_bin;
use nix::sys::signal::Signal;

#[test]
fn a_valid_config_is_told_on_standard_output() {
    let place = Place::new(CONFIG);
    let output = place.run(&["check-config", "config.yaml"]);
    assert_eq!((output.status.code(), err(&output)), (Some(0), String::new()));
    assert!(out(&output).starts_with("config.yaml: valid, 3 targets\n"), "{}", out(&output));
}

#[test]
fn a_wrong_config_is_exit_code_2_and_file_line_and_column_on_standard_error() {
    let place = Place::new("monitor:\n  interval_seconds: soon");
    for arguments in [
        &["check-config", "config.yaml"][..],
        &["plan", "--config.file=config.yaml"],
        &["serve", "--config.file=config.yaml"],
    ] {
        let output = place.run(arguments);
        assert_eq!((output.status.code(), out(&output)), (Some(2), String::new()));
        let told = err(&output);
        assert!(told.contains("config.yaml:2:21: monitor.interval_seconds: \"soon\" is not a whole number"), "{told}");
    }
    let output = place.run(&["check-config", "nowhere.yaml"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(err(&output), "lvm-autoscaler: nowhere.yaml: cannot be read: No such file or directory (os error 2)\n");
    // A folder can be opened and not be read.
    assert_eq!(place.run(&["check-config", "/"]).status.code(), Some(2));
}

#[test]
fn a_plan_shows_guards_size_and_commands_and_runs_nothing() {
    let place = Place::new(CONFIG);
    for target in ["/data", "vg/data", "/dev/vg/data", "/dev/mapper/vg-data"] {
        let output = place.run(&["plan", target, &place.config(), &place.host()]);
        assert_eq!(output.status.code(), Some(0), "{}", err(&output));
        let told = out(&output);
        for part in [
            "vg/data at /data",
            "pass    below_threshold",
            "1024 extents + 512 extents = 1536 extents (6 GiB)",
            "lvm lvextend -A n --config global/wait_for_locks=1 -l 1536 -- vg/data\n",
            "resize2fs /dev/mapper/vg-data\n",
        ] {
            assert!(told.contains(part), "{part} is not in\n{told}");
        }
        assert!(!told.contains("vg/media"));
    }
    let all = out(&place.run(&["plan", &place.config(), &place.host()]));
    assert!(all.contains("vg/data at") && all.contains("vg/media at") && all.contains("vg-2/logs at"));
    assert!(!place.path("state").exists(), "a plan leaves nothing behind");
}

#[test]
fn a_plan_for_programs_has_guards_size_and_commands() {
    let place = Place::new(CONFIG);
    let output = place.run(&["plan", "--format=json", &place.config(), &place.host()]);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    let plans: serde_json::Value = serde_json::from_str(&out(&output)).expect("JSON");
    let plan = &plans[0];
    assert_eq!((&plan["vg"], &plan["lv"], &plan["mode"]), (&"vg".into(), &"data".into(), &"act".into()));
    assert_eq!(plan["guards"][0]["code"], "unknown_target");
    assert_eq!(plan["guards"][0]["verdict"], "pass");
    let words = "lvm lvextend -A n --config global/wait_for_locks=1 -l 1536 -- vg/data".split(' ');
    assert_eq!(plan["commands"][1], serde_json::json!(words.collect::<Vec<_>>()));
    assert_eq!((&plan["plan"]["before"], &plan["plan"]["after"]), (&1024.into(), &1536.into()));
    assert!(plan["size"].as_array().is_some_and(|lines| lines.len() >= 3) && plan["refusal"].is_null(), "{plan}");
    assert_eq!(plans.as_array().map(Vec::len), Some(3));
}

/// What whoever started the program left open is not passed on to the programs that it starts.
#[test]
#[expect(clippy::disallowed_methods, reason = "a test prepares files and starts the program through a shell")]
fn inherited_descriptors_do_not_reach_the_programs_that_are_started() {
    let folder = tempfile::tempdir().expect("a folder");
    let [program, seen, config, secret] =
        ["lvm", "seen", "config.yaml", "secret"].map(|name| folder.path().join(name).to_string_lossy().into_owned());
    let script = format!("#!/bin/sh\nls -l /proc/self/fd >{seen}\nenv >>{seen}\nexit 1\n");
    std::fs::write(&program, script).expect("a script");
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("ours");
    std::fs::write(&config, format!("tools: {{ lvm: {program} }}\n")).expect("a config");
    std::fs::write(&secret, "").expect("a file");
    let daemon = format!(
        "exec 5<{secret} 7>>{secret}; LISTEN_PID=1 LISTEN_FDS=40 SECRET=x exec {} metrics --config.file={config}",
        cargo_bin("lvm-autoscaler").display()
    );
    std::process::Command::new("sh").args(["-c", &daemon]).output().expect("runs");
    let seen = std::fs::read_to_string(seen).expect("the script ran");
    assert!(!seen.contains("secret") && !seen.contains("SECRET"), "{seen}");
    assert!(seen.contains("LC_ALL=C"), "{seen}");
}

/// Into the journal when no daemon runs, through its control socket when one does: the words and what follows are the
/// same.
#[test]
fn a_person_pauses_resumes_and_resets() {
    for daemon in [false, true] {
        let place = Place::new(CONFIG);
        let (config, host) = (place.config(), place.host());
        let served = daemon.then(|| place.serve(&[]));
        let say = |word: &str, target: &[&str]| {
            let output = place.run(&[&[word], target, &[config.as_str(), host.as_str()][..]].concat());
            assert_eq!(output.status.code(), Some(0), "daemon {daemon}: {}", err(&output));
            out(&output)
        };
        let plan = || out(&place.run(&["plan", "/data", &config, &host]));
        assert!(say("pause", &["/data"]).starts_with("vg/data: paused"));
        assert!(plan().contains("would do nothing: paused: vg/data has been paused since"), "{}", plan());
        assert_eq!(say("resume", &["vg/data"]), "vg/data: not paused any more\n");
        assert!(plan().contains("would run"), "{}", plan());
        assert!(say("pause", &[]).starts_with("all targets: paused"));
        assert!(plan().contains("all targets have been paused since"));
        say("resume", &[]);
        assert!(say("reset", &["/data"]).contains("the breaker is closed"));
        let output = place.run(&["pause", "/nothing", &config, &host]);
        assert_eq!(output.status.code(), Some(2), "{}", err(&output));
        if let Some(served) = served {
            let (code, _, log) = served.end();
            assert_eq!(code, Some(0));
            assert!(log.contains("pause requested on the control socket"), "{log}");
        }
        // Whether it ended or was killed, a socket that nobody listens on is no daemon.
        assert!(say("pause", &[]).starts_with("all targets: paused"));
    }
}

#[test]
fn wrong_usage_is_exit_code_2_and_says_what_to_do() {
    let place = Place::new(CONFIG);
    let (config, host) = (place.config(), place.host());
    for (arguments, says) in [
        (
            &["plan", "/nothing", &config, &host][..],
            "\"/nothing\" is not among the targets: vg/data, vg/media, vg-2/logs",
        ),
        (&["plan", &host], "there are no targets: add some to monitor.targets"),
        (
            &["serve", &config, &host, "--web.listen-address=0.0.0.0:0"],
            "listen on 127.0.0.1 or unix:/PATH, or remove monitor.targets",
        ),
        (
            &["serve", &config, &host, "--web.listen-address=:0"],
            "listen on 127.0.0.1 or unix:/PATH, or remove monitor.targets",
        ),
        (&["serve", &config, "--simulate=nowhere.yaml"], "nowhere.yaml: cannot be read: No such file"),
        (&["serve", "--web.listen-address=everywhere"], "expected IP:PORT such as 127.0.0.1:19845"),
        (&["serve", "--web.telemetry-path=metrics"], "expected a path such as /metrics"),
        (&["fly"], "unrecognized subcommand"),
        (&[], "Usage: lvm-autoscaler"),
    ] {
        let output = place.run(arguments);
        assert_eq!((output.status.code(), out(&output)), (Some(2), String::new()), "{arguments:?}: {}", err(&output));
        assert!(err(&output).contains(says), "{arguments:?}: {}", err(&output));
    }
}

#[test]
fn what_is_taken_already_ends_the_start_and_names_it() {
    let place = Place::new(CONFIG);
    let first = place.serve(&[]);
    let output = place.run(&["serve", &place.config(), &place.host(), "--web.listen-address=127.0.0.1:0"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        err(&output).contains("lock is locked: another lvm-autoscaler runs on this state directory"),
        "{}",
        err(&output)
    );
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let other = Place::new(CONFIG);
    let listen = format!("--web.listen-address={address}");
    let output = other.run(&["serve", &other.config(), &other.host(), &listen]);
    assert_eq!(output.status.code(), Some(1));
    assert!(err(&output).contains(&format!("cannot listen on {address}: Address already in use")), "{}", err(&output));
    assert!(is_split() || !other.path("state").exists(), "nothing was begun");
    assert_eq!(first.end().0, Some(0));
}

#[test]
fn a_lock_goes_with_its_process_however_that_ends() {
    let place = Place::new(CONFIG);
    let first = place.serve(&[]);
    first.signal(Signal::SIGKILL);
    drop(first);
    assert_eq!(place.serve(&[]).end().0, Some(0));
}

#[test]
fn both_logs_can_be_read_by_machines_and_standard_output_stays_empty() {
    let place = Place::new(CONFIG);
    let (code, printed, log) = place.serve(&["--log.format=json", "--log.level=debug"]).end();
    assert_eq!((code, printed), (Some(0), String::new()));
    for line in log.lines() {
        let entry: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(entry["level"].is_string() && entry["message"].is_string() && entry["timestamp"].is_string(), "{line}");
    }
    assert!(log.contains("\"message\":\"stopped\""));
    let (code, printed, log) = place.serve(&["--dry-run"]).end();
    assert_eq!((code, printed), (Some(0), String::new()));
    for line in log.lines() {
        assert!(is_logfmt(line), "{line}");
    }
    assert!(log.contains("message=stopped"), "{log}");
}

/// `key=value` or `key="value"`, separated by one space.
fn is_logfmt(line: &str) -> bool {
    let mut rest = line;
    while !rest.is_empty() {
        let Some((key, value)) = rest.split_once('=') else { return false };
        if key.is_empty() || key.contains([' ', '"']) {
            return false;
        }
        rest = match value.strip_prefix('"') {
            None => value.split_once(' ').map_or("", |(_, rest)| rest),
            Some(quoted) => {
                let mut escaped = false;
                let end = quoted.char_indices().find(|(_, c)| {
                    let ends = *c == '"' && !escaped;
                    escaped = *c == '\\' && !escaped;
                    ends
                });
                match end.map(|(at, _)| &quoted[at + 1..]) {
                    Some("") => "",
                    Some(after) if after.starts_with(' ') => &after[1..],
                    _ => return false,
                }
            }
        };
    }
    true
}

#[test]
fn without_a_config_it_is_an_exporter_and_may_listen_anywhere() {
    let place = Place::new("");
    place.write("empty.yaml", "# nothing\n");
    let config = format!("--config.file={}", place.path("empty.yaml").display());
    let arguments = ["serve", &config, &place.host(), "--web.listen-address=0.0.0.0:0"];
    let mut child = place.start(&arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let mut log = BufReader::new(child.stderr.take().expect("piped"));
    let mut begun = String::new();
    while !begun.contains("listening") {
        assert!(log.read_line(&mut begun).expect("text") > 0, "it ended: {begun}");
    }
    assert_eq!(Served { child, log, begun }.end().0, Some(0));
    assert!(!Path::new("/var/lib/lvm-autoscaler/journal.0").exists());
}

/// `lvm-autoscaler plan | head -1`: the reader goes away.
#[test]
fn a_closed_pipe_is_no_panic() {
    let place = Place::new(CONFIG);
    let (config, host) = (place.config(), place.host());
    for arguments in [
        &["plan", &config, &host][..],
        &["plan", "--format=json", &config, &host],
        &["check-config", "config.yaml"],
        &["--help"],
        &["metrics", &host],
    ] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let child = place.start(arguments).stdout(writer).stderr(Stdio::piped()).spawn().expect("it starts");
        let output = child.wait_with_output().expect("it ends");
        assert!(!err(&output).contains("panicked"), "{arguments:?}: {}", err(&output));
        assert!(output.status.success(), "{arguments:?}: {}: {}", output.status, err(&output));
    }
}

#[test]
fn a_log_that_nobody_reads_stops_nothing() {
    for format in ["--log.format=logfmt", "--log.format=json"] {
        let place = Place::new(&CONFIG.replace("monitor:", "monitor:\n  interval_seconds: 1"));
        let (config, host) = (place.config(), place.host());
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let arguments = ["serve", &config, &host, "--web.listen-address=127.0.0.1:0", format];
        let child = place.start(&arguments).stdout(Stdio::piped()).stderr(writer).spawn().expect("it starts");
        let (log, begun) = (empty_log(), String::new());
        let mut served = Served { child, log, begun };
        let state = place.path("state/simulated");
        crate::common::eventually("all three grew", || {
            lvm_autoscaler::journal::Journal::peek(&state).is_ok_and(|state| state.last.len() == 3)
        });
        assert_eq!(served.child.try_wait().expect("a child"), None, "it still runs");
        assert_eq!(served.end().0, Some(0), "{format}");
    }
}

/// The log of a process of which there is none to read.
#[expect(clippy::disallowed_methods, reason = "any process will do")]
fn empty_log() -> BufReader<std::process::ChildStderr> {
    let mut child = std::process::Command::new("true").stderr(Stdio::piped()).spawn().expect("it starts");
    let log = child.stderr.take().expect("piped");
    child.wait().expect("it ends");
    BufReader::new(log)
}

#[test]
fn a_simulation_leaves_the_journal_of_the_real_host_alone() {
    let place = Place::new(CONFIG);
    assert_eq!(place.serve(&[]).end().0, Some(0));
    assert!(!place.path("state/journal.0").exists(), "a real start would go on with what was only simulated");
}

/// What the daemon wrote last is not trusted when what came before it cannot be read: nothing is acted upon until a
/// person has looked, and everything else goes on.
#[test]
#[expect(clippy::disallowed_methods, reason = "a test damages the journal")]
fn a_daemon_started_on_a_damaged_journal_stays_up_and_does_nothing_until_a_person_moved_it_away() {
    let place = Place::new(CONFIG);
    // Its time passes faster, so that it tries again soon.
    place.write("host.yaml", &format!("{}\nspeed: 20\n", crate::common::HOST));
    let state = place.path("state/simulated");
    let alert = |address: &str| {
        let labels = r#"{"instance":"db1","vg":"vg","lv":"data"}"#;
        let body = format!(
            r#"{{"version":"4","groupKey":"{{}}","alerts":[{{"status":"firing","labels":{labels},"annotations":{{}},"startsAt":"2026-01-01T00:00:00Z","endsAt":"0001-01-01T00:00:00Z","generatorURL":"","fingerprint":"00aa"}}]}}"#
        );
        ask(address, "POST", "/webhook/alertmanager", &body)
    };
    let address = |served: &Served| {
        let text = served.begun.split("address=").nth(1).expect("an address");
        text.split_whitespace().next().expect("an address").to_owned()
    };
    let grown = || {
        lvm_autoscaler::journal::Journal::peek(&state)
            .is_ok_and(|state| state.last.len() == 1 && state.running.is_empty())
    };

    let served = place.serve(&[]);
    let at = address(&served);
    crate::common::eventually("ready", || ask(&at, "GET", "/-/ready", "").starts_with("HTTP/1.1 200"));
    assert!(alert(&at).starts_with("HTTP/1.1 202"));
    crate::common::eventually("grown", grown);
    assert_eq!(served.end().0, Some(0));

    // One bit in the middle, with records behind it.
    let journal = state.join("journal.0");
    let mut bytes = std::fs::read(&journal).expect("a segment");
    bytes[700] ^= 1;
    std::fs::write(&journal, &bytes).expect("writable");

    let served = place.serve(&[]);
    let at = address(&served);
    let ready = || ask(&at, "GET", "/-/ready", "");
    crate::common::eventually("it was looked at the host", || ready().contains("the journal"));
    let told = ready();
    assert!(told.starts_with("HTTP/1.1 503") && told.contains("journal.0: damaged"), "{told}");
    assert!(alert(&at).starts_with("HTTP/1.1 503"));
    let page = ask(&at, "GET", "/metrics", "");
    assert!(page.contains("\nlvm_autoscaler_journal_writable 0"), "{page}");
    assert!(page.contains("\nlvm_lv_size_bytes{vg=\"vg\",lv=\"data\"}"), "an exporter it still is");
    assert!(ask(&at, "GET", "/", "").starts_with("HTTP/1.1 200"));
    assert_eq!(std::fs::read(&journal).expect("a segment"), bytes, "left as it is, for whoever wants to look");

    for name in ["journal.0", "journal.1"] {
        std::fs::rename(state.join(name), state.join(format!("damaged-{name}"))).expect("there");
    }
    // The witness remembers that there were records: what the daemon then says accepts a new journal.
    crate::common::eventually("it says how to begin anew", || ready().contains("run: rm "));
    let told = ready();
    let witness = told.split("run: rm ").nth(1).and_then(|rest| rest.lines().next()).expect("a file").trim().to_owned();
    std::fs::remove_file(&witness).unwrap_or_else(|error| panic!("{witness}: {error}"));
    crate::common::eventually("ready by itself", || ready().starts_with("HTTP/1.1 200"));
    let page = ask(&at, "GET", "/metrics", "");
    assert!(page.contains("\nlvm_autoscaler_journal_writable 1"), "{page}");
    assert!(alert(&at).starts_with("HTTP/1.1 202"));
    crate::common::eventually("grown", grown);
    let (code, _, log) = served.end();
    assert_eq!(code, Some(0), "{log}");
    let said = log.lines().find(|line| line.contains("journal.0: damaged")).expect("it is in the log");
    assert!(said.contains("level=error") || said.contains("ERROR"), "{said}");
    assert!(said.contains("move"), "what to do: {said}");
}

/// What a daemon answers, head and body.
fn ask(address: &str, method: &str, path: &str, body: &str) -> String {
    use std::io::{Read, Write};
    let mut stream = crate::common::server::connect(address).expect("it listens");
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    );
    stream.write_all(format!("{head}{body}").as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("text");
    answer
}

#[test]
fn check_config_reads_the_web_config_too() {
    let place = Place::new(CONFIG);
    let check = || place.run(&["check-config", "config.yaml", "--web.config.file=web.yml"]);
    for (web, says) in [
        (
            "http_server_config:\n  headers: { X-Frame-Options: maybe }\n",
            "web.yml:2:31: http_server_config.headers.X-Frame-Options",
        ),
        ("rubbish: 1\n", "web.yml:1:1"),
        ("tls_server_config: { cert_file: none.pem, key_file: none.key }\n", "none.pem cannot be read"),
    ] {
        place.write("web.yml", web);
        let output = check();
        assert_eq!((output.status.code(), out(&output)), (Some(2), String::new()), "{web}: {}", err(&output));
        assert!(err(&output).contains(says), "{web}: {}", err(&output));
    }
    place.write("web.yml", "http_server_config: { headers: { X-Frame-Options: deny } }\n");
    let output = check();
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    assert!(out(&output).contains("web.yml: valid"), "{}", out(&output));
}

/// Why the state directory cannot be made, for the daemon and for a command that needs it.
#[test]
fn a_state_directory_that_cannot_be_made_is_told_with_its_reason() {
    let place = Place::new(CONFIG);
    place.write("file", "");
    let in_its_way = format!("{CONFIG}\nstate: {{ directory: {}/state }}\n", place.path("file").display());
    place.write("config.yaml", &in_its_way);
    let (config, host) = (place.config(), place.host());
    let output = place.run(&["extend", &config, &host, "/data"]);
    let told = err(&output);
    assert!(!output.status.success() && told.contains("something that is not a directory is in its way"), "{told}");
    assert!(told.contains("Not a directory") && !told.contains("run as root"), "{told}");
    let (_, _, log) = place.serve(&[]).end();
    assert!(log.contains("something that is not a directory is in its way"), "{log}");
}
