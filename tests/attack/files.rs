//! Another user of the host places links and files where the program writes, and changes what it reads.
//!
//! As root: the other user is `nobody`. Without root there is nobody to play, and these tests are skipped.

use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, lchown, symlink};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::common::CONFIG;
use crate::common::place::{Place, err, out};

/// `nobody` on every Linux.
const NOBODY: u32 = 65534;

/// Whether another user can be played.
#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
fn can_attack() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        eprintln!("skipped: needs root to play another user");
    }
    root
}

/// A folder that all may enter, as /tmp and /var/www are, with a config and a simulated host in it.
fn attacked(more: &str) -> Place {
    let place = Place::new("");
    configure(&place, more);
    set_mode(&place.path(""), 0o755);
    place
}

fn configure(place: &Place, more: &str) {
    let state = place.path("state");
    place.write("config.yaml", &format!("{CONFIG}\nstate: {{ directory: {} }}\n{more}\n", state.display()));
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, Permissions::from_mode(mode)).expect("root");
}

/// A link that `nobody` made.
fn foreign_link(target: &Path, link: &Path) {
    symlink(target, link).expect("a link");
    lchown(link, Some(NOBODY), Some(NOBODY)).expect("root");
}

/// A folder of `nobody`.
fn foreign_folder(folder: &Path) {
    std::fs::DirBuilder::new().recursive(true).create(folder).expect("a folder");
    chown(folder, Some(NOBODY), Some(NOBODY)).expect("root");
}

/// A file of root that nobody else may read, and that must stay as it is.
struct Victim(std::path::PathBuf);

impl Victim {
    fn new(place: &Place, name: &str) -> Victim {
        place.write(name, "victim\n");
        set_mode(&place.path(name), 0o600);
        Victim(place.path(name))
    }

    fn is_untouched(&self, said: &str) {
        let found = std::fs::metadata(&self.0).expect("there");
        let text = std::fs::read_to_string(&self.0).expect("readable");
        assert_eq!((text.as_str(), found.mode() & 0o7777, found.uid()), ("victim\n", 0o600, 0), "{said}");
    }
}

/// Runs `serve` until its log has this or it ends; its exit code if it ended by itself, and its log.
fn serve_until(place: &Place, more: &[&str], says: &str) -> (Option<i32>, String) {
    let log = place.path("log");
    let file = tempfile::NamedTempFile::new_in(place.path("")).expect("a file").persist(&log).expect("a file");
    let (config, host) = (place.config(), place.host());
    let mut arguments = vec!["serve", &config, &host];
    if !more.iter().any(|argument| argument.starts_with("--web.listen-address")) {
        arguments.push("--web.listen-address=127.0.0.1:0");
    }
    arguments.extend(more);
    let mut child = place.start(&arguments).stdout(Stdio::null()).stderr(file).spawn().expect("it starts");
    let text = || std::fs::read_to_string(&log).expect("readable");
    let until = Instant::now() + Duration::from_secs(20);
    let ended = loop {
        if let Some(status) = child.try_wait().expect("a child") {
            break Some(status);
        }
        if text().contains(says) || Instant::now() > until {
            kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM).expect("it runs");
            break None;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    child.wait().expect("a child");
    (ended.and_then(|status| status.code()), text())
}

#[test]
fn an_audit_log_that_is_a_link_is_not_written_through() {
    if !can_attack() {
        return;
    }
    let place = attacked("");
    let victim = Victim::new(&place, "victim");
    foreign_folder(&place.path("logs"));
    foreign_link(&victim.0, &place.path("logs/audit.jsonl.simulated"));
    configure(&place, &format!("audit: {{ file: {} }}\n", place.path("logs/audit.jsonl").display()));
    let (_, said) = serve_until(&place, &[], "audit.jsonl.simulated");
    victim.is_untouched(&said);
    assert!(said.contains("audit.jsonl.simulated"), "{said}");
}

/// What a command says on standard error, and its exit code.
fn says(place: &Place, arguments: &[&str]) -> (Option<i32>, String) {
    let output = place.run(arguments);
    (output.status.code(), err(&output))
}

/// Names in a folder that are no link.
fn files_in(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("a folder").flatten();
    let files = entries.filter(|entry| entry.file_type().expect("a type").is_file());
    files.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

fn writes_a_report(place: &Place, to: &Path) -> (Option<i32>, String) {
    let output = format!("--output={}", to.display());
    says(place, &["report", &place.config(), &place.host(), "--format=html", &output])
}

#[test]
fn a_report_is_not_written_through_the_link_of_another_user() {
    if !can_attack() {
        return;
    }
    let place = attacked("");
    let victim = Victim::new(&place, "victim");
    std::fs::create_dir(place.path("tmp")).expect("a folder");
    set_mode(&place.path("tmp"), 0o1777);
    foreign_folder(&place.path("www"));
    for folder in ["tmp", "www"] {
        foreign_link(&victim.0, &place.path(folder).join("report.html"));
        // The link may be on the way, or lead to another link.
        foreign_link(&place.path(""), &place.path(folder).join("way"));
        for name in ["report.html", "way/victim", "way/new.html"] {
            let (code, said) = writes_a_report(&place, &place.path(folder).join(name));
            victim.is_untouched(&said);
            assert!(code == Some(1) && said.contains("is a symbolic link that nobody could have placed"), "{said}");
        }
    }
    assert!(!place.path("new.html").exists());
    // root's own link in /tmp may have been linked there by somebody else.
    symlink(&victim.0, place.path("tmp/own.html")).expect("a link");
    assert_eq!(writes_a_report(&place, &place.path("tmp/own.html")).0, Some(1));
    victim.is_untouched("through a link in a sticky folder");
    // Where nobody else may write, a link is followed and stays.
    symlink("there.html", place.path("here.html")).expect("a link");
    assert_eq!(writes_a_report(&place, &place.path("here.html")), (Some(0), String::new()));
    assert!(place.path("here.html").is_symlink() && place.path("there.html").is_file());
}

#[test]
fn a_report_is_written_under_no_name_that_another_user_foresees() {
    if !can_attack() {
        return;
    }
    let place = attacked("");
    let victim = Victim::new(&place, "victim");
    foreign_folder(&place.path("www"));
    foreign_link(&victim.0, &place.path("www/storage.html.unfinished"));
    // In a folder of another user nothing of ours is at stake but the report itself.
    assert_eq!(writes_a_report(&place, &place.path("www/storage.html")), (Some(0), String::new()));
    victim.is_untouched("beside the report");
    assert_eq!(files_in(&place.path("www")), ["storage.html"]);
    // What few could read is not made readable by more, and what all could write is not left so.
    for (before, after) in [(0o600, 0o600), (0o666, 0o644)] {
        set_mode(&place.path("www/storage.html"), before);
        assert_eq!(writes_a_report(&place, &place.path("www/storage.html")).0, Some(0));
        let mode = std::fs::metadata(place.path("www/storage.html")).expect("there").mode() & 0o7777;
        assert_eq!(mode, after);
    }
    // A pipe of another user would get the report, and keep us until he reads it.
    nix::unistd::mkfifo(&place.path("www/pipe"), nix::sys::stat::Mode::from_bits_truncate(0o666)).expect("a pipe");
    chown(place.path("www/pipe"), Some(NOBODY), Some(NOBODY)).expect("root");
    let (code, said) = writes_a_report(&place, &place.path("www/pipe"));
    assert!(code == Some(1) && said.contains("belongs to somebody else"), "{said}");
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the attacker's clock")]
fn scheduled_reports_follow_no_links_in_a_folder_of_another_user() {
    if !can_attack() {
        return;
    }
    let place = attacked("");
    configure(&place, &format!("report: {{ interval: 1m, directory: {} }}\n", place.path("rep").display()));
    foreign_folder(&place.path("rep/simulated"));
    chown(place.path("rep"), Some(NOBODY), Some(NOBODY)).expect("root");
    let (victim, other) = (Victim::new(&place, "victim"), Victim::new(&place, "other"));
    let now = jiff::Timestamp::now();
    for second in -2..30 {
        let at = now + jiff::SignedDuration::from_secs(second);
        let name = format!("report-000001-{}", at.strftime("%Y%m%dT%H%M%SZ"));
        foreign_link(&victim.0, &place.path(&format!("rep/simulated/{name}.html.unfinished")));
        foreign_link(&other.0, &place.path(&format!("rep/simulated/{name}.md")));
    }
    let (_, said) = serve_until(&place, &[], "report");
    assert!(said.contains("report"), "it never came to the report: {said}");
    victim.is_untouched(&said);
    other.is_untouched(&said);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the test removes what the attacker made")]
fn a_state_directory_that_others_can_change_is_not_used() {
    if !can_attack() {
        return;
    }
    let place = attacked("");
    let state = place.path("state/simulated");
    let refused = |why: &str| {
        let (_, said) = serve_until(&place, &[], "until the journal can be used");
        assert!(said.contains("the state directory is not used") && said.contains(why), "{why}: {said}");
        assert_eq!(files_in(&state), [""; 0], "{said}");
    };
    foreign_folder(&state);
    refused("belongs to nobody, expected root: chown root");
    // Nor does it keep the metrics waiting.
    nix::unistd::mkfifo(&state.join("journal.0"), nix::sys::stat::Mode::from_bits_truncate(0o666)).expect("a pipe");
    chown(state.join("journal.0"), Some(NOBODY), Some(NOBODY)).expect("root");
    let (_, said) = serve_until(&place, &[], "listening");
    assert!(said.contains("msg=listening") || said.contains("message=listening"), "{said}");
    std::fs::remove_file(state.join("journal.0")).expect("there");
    // Another folder could be put in its place.
    chown(&state, Some(0), Some(0)).expect("root");
    chown(place.path("state"), Some(NOBODY), Some(NOBODY)).expect("root");
    refused("which leads to it, belongs to nobody");
    chown(place.path("state"), Some(0), Some(0)).expect("root");
    for mode in [0o777, 0o1777, 0o770] {
        set_mode(&state, mode);
        refused("can be changed by");
    }
    // Once it is as it should be, links that were placed meanwhile are not followed either.
    set_mode(&state, 0o700);
    let victim = Victim::new(&place, "victim");
    foreign_link(&victim.0, &state.join("journal.0"));
    foreign_link(&place.path("made"), &state.join("lock"));
    let (_, said) = serve_until(&place, &[], "until the journal can be used");
    victim.is_untouched(&said);
    assert!(!place.path("made").exists() && said.contains("is a symbolic link that nobody"), "{said}");
}

/// The daemon makes it, and gives it its mode, by a path that the owner of the folder could change in between.
#[test]
fn a_socket_is_made_in_the_folder_that_was_opened() {
    if !can_attack() {
        return;
    }
    let place = attacked("");
    let victim = Victim::new(&place, "victim");
    foreign_folder(&place.path("run"));
    foreign_link(&victim.0, &place.path("run/web.sock"));
    foreign_link(&place.path(""), &place.path("run/way"));
    for name in ["run/web.sock", "run/way/web.sock"] {
        let listen = format!("--web.listen-address=unix:{}", place.path(name).display());
        let (code, said) = serve_until(&place, &[&listen], "listening");
        victim.is_untouched(&said);
        assert!(code.is_some() && said.contains("is a symbolic link that nobody"), "{said}");
    }
    assert!(!place.path("web.sock").exists());
    let path = place.path("run/good.sock").display().to_string();
    let (_, said) = serve_until(&place, &[&format!("--web.listen-address=unix:{path}")], "listening");
    assert!(said.contains(&format!("unix:{path}")), "the log has the path that was asked for: {said}");
    assert_eq!(std::fs::symlink_metadata(&path).expect("made").mode() & 0o7777, 0o660);
}

/// A genuine log, and how it is written on.
fn audited(place: &Place) -> Vec<String> {
    let file = place.path("audit.jsonl.simulated");
    std::fs::read_to_string(file).expect("there").lines().map(str::to_owned).collect()
}

#[test]
fn a_file_of_another_program_is_never_cut_nor_written() {
    let place = attacked("");
    let file = place.path("app.log");
    configure(&place, &format!("audit: {{ file: {} }}\n", file.display()));
    let lines = |line: &str, many: usize| format!("{line}\n").repeat(many);
    let json = r#"{"time":"2026-01-01T00:00:00Z","msg":"an important line of another program, padded to a hundred"}"#;
    for text in [
        lines("an important line", 2000),
        lines(json, 70_000),
        "one line that never ends".to_owned(),
        "an important line\nand half of another".to_owned(),
        format!("{}\0\0\0\n", lines("an important line", 10)),
        "\n".to_owned(),
        "x".repeat(5 << 20),
    ] {
        for name in ["app.log", "app.log.simulated"] {
            place.write(name, &text);
        }
        let shown = &text[..text.len().min(40)];
        let (code, said) = says(&place, &["check-config", "config.yaml"]);
        assert!(
            code == Some(2) && said.contains("app.log is not used: its last line is not a line of"),
            "{shown}: {said}"
        );
        let (code, said) = serve_until(&place, &[], "listening");
        assert!(code == Some(2) && said.contains("app.log.simulated is not used: its last line is"), "{shown}: {said}");
        for name in ["app.log", "app.log.simulated"] {
            assert!(std::fs::read_to_string(place.path(name)).expect("there") == text, "{name} was changed: {shown}");
        }
    }
    // A second name is all that is needed to have somebody else's file written to.
    if can_attack() {
        let victim = Victim::new(&place, "victim");
        foreign_folder(&place.path("logs"));
        std::fs::hard_link(&victim.0, place.path("logs/audit.jsonl.simulated")).expect("a second name");
        configure(&place, &format!("audit: {{ file: {} }}\n", place.path("logs/audit.jsonl").display()));
        let (code, said) = serve_until(&place, &[], "listening");
        victim.is_untouched(&said);
        assert!(code == Some(2) && said.contains("has a second name"), "{said}");
    }
}

#[test]
fn a_line_of_the_audit_log_that_was_edited_costs_no_other_line() {
    let place = attacked("");
    configure(&place, &format!("audit: {{ file: {} }}\n", place.path("audit.jsonl").display()));
    let (config, host) = (place.config(), place.host());
    assert_eq!(says(&place, &["extend", "/data", &config, &host]).0, Some(0));
    serve_until(&place, &[], "listening");
    let whole = audited(&place);
    assert!(whole.len() > 5, "{whole:?}");
    // In the middle it is kept, passed over and reported; what a crash tore off at the end is written again.
    let mut edited = whole.clone();
    edited[2] = "edited by hand".to_owned();
    let file = "audit.jsonl.simulated";
    place.write(file, &format!("{}\n{{\"at\":\"2026", edited.join("\n")));
    let (_, said) = serve_until(&place, &[], "audit log was torn");
    assert!(said.contains("lines of the audit log cannot be read") && said.contains("lines=1"), "{said}");
    assert_eq!(audited(&place), edited);
    // At the end nobody could tell how far the log is.
    let last = edited.len() - 1;
    edited[last] = "edited by hand".to_owned();
    place.write(file, &format!("{}\n", edited.join("\n")));
    let (code, said) = serve_until(&place, &[], "listening");
    assert!(code == Some(2) && said.contains("its last line is not a line of an audit log"), "{said}");
    assert_eq!(audited(&place), edited);
    // Zeros that a power cut left in the place of lines are nobody's.
    edited[last] = "\0\0\0\0 half of a line".to_owned();
    place.write(file, &format!("{}\n", edited.join("\n")));
    let (_, said) = serve_until(&place, &[], "lines of the audit log cannot be read");
    assert!(said.contains("lines=2"), "{said}");
    let now = audited(&place);
    assert_eq!(now[..edited.len()], edited);
}

/// Starts on the machine itself, where it would grow something as root; what it says then. There is no volume here that
/// it could find.
fn on_this_host(place: &Place) -> (Option<i32>, String) {
    says(place, &["plan", &place.config()])
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the test moves and removes its own files")]
fn a_config_a_secret_and_a_program_that_others_could_change_are_refused() {
    if !can_attack() {
        return;
    }
    let place = attacked("");
    std::fs::create_dir(place.path("etc")).expect("a folder");
    let secret = place.path("etc/token");
    let tool = place.path("etc/lvm");
    let pwned = place.path("pwned");
    let written = format!(
        "webhook: {{ authorization: {{ credentials_file: {} }} }}\ntools: {{ lvm: {} }}\n",
        secret.display(),
        tool.display()
    );
    configure(&place, &written);
    place.write("etc/token", "a secret\n");
    place.write("etc/lvm", &format!("#!/bin/sh\n/usr/bin/id > {}\nexit 1\n", pwned.display()));
    set_mode(&tool, 0o755);
    let check = || says(&place, &["check-config", "config.yaml"]);
    assert_eq!(check(), (Some(0), String::new()));
    on_this_host(&place);
    assert!(std::fs::remove_file(&pwned).is_ok(), "the program is used where it is root's alone");

    let config = place.path("config.yaml");
    for file in [&config, &secret, &tool] {
        let mode = std::fs::metadata(file).expect("there").mode() & 0o777;
        let refused = |why: &str| {
            for (code, said) in [check(), on_this_host(&place)] {
                let named =
                    said.contains(&format!("{} {why}", file.display())) || said.contains(&format!("config.yaml {why}"));
                assert!(code == Some(2) && named, "{}: {why}: {said}", file.display());
            }
            assert!(!pwned.exists(), "{}: {why}", file.display());
        };
        chown(file, Some(NOBODY), None).expect("root");
        refused("belongs to nobody, expected root: chown root");
        chown(file, Some(0), None).expect("root");
        set_mode(file, mode | 0o002);
        refused("can be changed by everybody");
        set_mode(file, mode | 0o020);
        refused("can be changed by the group root");
        set_mode(file, mode);
    }
    // A file that is not in its place yet is only reported.
    chown(&config, Some(NOBODY), None).expect("root");
    assert!(check().1.contains("check-config --ignore-ownership"));
    let output = place.run(&["check-config", "--ignore-ownership", "config.yaml"]);
    let reported = format!("on this host a daemon would refuse a file: {} belongs to nobody", config.display());
    assert!(output.status.success() && out(&output).contains(&reported), "{}", out(&output));
    chown(&config, Some(0), None).expect("root");
    // Another could be put in its place.
    for (owner, mode) in [(NOBODY, 0o755), (0, 0o777), (0, 0o775)] {
        chown(place.path("etc"), Some(owner), None).expect("root");
        set_mode(&place.path("etc"), mode);
        let (code, said) = check();
        assert!(code == Some(2) && said.contains("etc, which leads to it, "), "{owner} {mode:o}: {said}");
    }
    // But not in a folder such as /tmp; and links of root are followed, as those of a Kubernetes secret.
    chown(place.path("etc"), Some(0), None).expect("root");
    set_mode(&place.path("etc"), 0o1777);
    std::fs::create_dir(place.path("etc/..data")).expect("a folder");
    std::fs::rename(&secret, place.path("etc/..data/token")).expect("moved");
    symlink("..data/token", &secret).expect("a link");
    assert_eq!(check(), (Some(0), String::new()));
    lchown(&secret, Some(NOBODY), None).expect("root");
    let (code, said) = check();
    assert!(code == Some(2) && said.contains("is a symbolic link that nobody could have placed"), "{said}");
    assert!(!pwned.exists());
}

#[test]
fn a_web_config_and_a_key_that_others_could_change_are_refused() {
    if !can_attack() {
        return;
    }
    let place = attacked("");
    place.write("web.yml", "http_server_config: { headers: { X-Frame-Options: deny } }\n");
    chown(place.path("web.yml"), Some(NOBODY), None).expect("root");
    let check = || says(&place, &["check-config", "config.yaml", "--web.config.file=web.yml"]);
    let (code, said) = check();
    assert!(code == Some(2) && said.contains("web.yml belongs to nobody, expected root"), "{said}");
    chown(place.path("web.yml"), Some(0), None).expect("root");
    assert_eq!(check().0, Some(0));
    place.write("web.yml", "tls_server_config: { cert_file: a.pem, key_file: a.key }\n");
    place.write("a.pem", "");
    place.write("a.key", "");
    set_mode(&place.path("a.key"), 0o666);
    let (code, said) = check();
    assert!(code == Some(2) && said.contains("a.key can be changed by everybody"), "{said}");
    // What a relay calls, and with what.
    place.write("hosts.json", "[]");
    set_mode(&place.path("hosts.json"), 0o666);
    let relay = ["relay", "--targets-file=hosts.json", "--web.listen-address=127.0.0.1:0"];
    let (code, said) = says(&place, &relay);
    assert!(code == Some(2) && said.contains("hosts.json can be changed by everybody"), "{said}");
}

/// A checkout of somebody with umask 002: nothing can be harmed, so it works, and says what a real host would do.
#[test]
fn on_a_simulated_host_it_is_a_warning() {
    let place = attacked("");
    set_mode(&place.path("config.yaml"), 0o664);
    let (code, said) = serve_until(&place, &[], "listening");
    assert!(code.is_none() && said.contains("listening"), "{said}");
    assert!(
        said.contains("level=warn") && said.contains("would refuse this file") && said.contains("chmod g-w"),
        "{said}"
    );
    // Somebody who is not root only looks at a file that may be on its way to another host.
    if can_attack() {
        set_mode(&place.path("config.yaml"), 0o666);
        let program = place.path("program");
        std::fs::copy(assert_cmd::cargo::cargo_bin("lvm-autoscaler"), &program).expect("a copy");
        let run = |arguments: &[&str]| {
            let mut command = program_in(&place, "/usr/bin/setpriv");
            command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&program).args(arguments);
            let output = command.output().expect("util-linux");
            (output.status.code(), out(&output), err(&output))
        };
        let (code, said, _) = run(&["check-config", "config.yaml"]);
        assert!(
            code == Some(0) && said.contains("a daemon would refuse a file") && said.contains("chmod go-w"),
            "{said}"
        );
        let text = format!("{CONFIG}\nstate: {{ directory: {} }}\n", place.path("other").display());
        place.write("config.yaml", &text);
        let (code, said, told) = run(&["plan", &place.config(), &place.host()]);
        assert!(code == Some(0) && said.contains("vg/data"), "{said}{told}");
        let (code, _, told) = run(&["plan", &place.config()]);
        assert!(code == Some(2) && told.contains("can be changed by everybody"), "{told}");
    }
}

#[expect(clippy::disallowed_methods, reason = "a shell, and a program that becomes another user")]
fn program_in(place: &Place, program: &str) -> std::process::Command {
    let mut command = std::process::Command::new(program);
    command.current_dir(place.path("")).stdin(Stdio::null());
    command
}

/// `check-config <(cat FILE)`: the shell passes an open file by its number.
#[test]
fn a_file_that_the_shell_passed_is_read() {
    let place = attacked("");
    let program = assert_cmd::cargo::cargo_bin("lvm-autoscaler");
    for command in ["check-config <(cat config.yaml)", "check-config /dev/stdin < config.yaml"] {
        let script = format!("{} {command}", program.display());
        let output = program_in(&place, "/bin/bash").args(["-c", &script]).output().expect("bash");
        assert!(output.status.success() && out(&output).contains("valid, 3 targets"), "{command}: {}", err(&output));
    }
}
