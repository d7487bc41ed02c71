//! What a person types: through a running daemon and without one, and what is said when that cannot be.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;

use crate::common::place::{Place, Served, err, out};
use crate::common::{CONFIG, eventually};
use lvm_autoscaler::journal::Journal;
use nix::sys::signal::Signal;
use serde_json::Value;

impl Place {
    /// Exit code, standard output, standard error.
    fn say(&self, arguments: &[&str]) -> (i32, String, String) {
        let (config, host) = (self.config(), self.host());
        let output = self.run(&[arguments, &[&config, &host]].concat());
        (output.status.code().expect("it ends by itself"), out(&output), err(&output))
    }

    fn rewrite(&self, config: &str) {
        self.write("config.yaml", &format!("{config}\nstate: {{ directory: {} }}\n", self.path("state").display()));
    }
}

/// A page of metrics of the daemon, over its own socket.
fn metric(served: &Served, series: &str) -> Option<String> {
    let begun = &served.begun;
    let address = begun.split("address=").nth(1)?.split_whitespace().next()?.trim_matches('"').to_owned();
    let mut stream = crate::common::server::connect(address).ok()?;
    std::io::Write::write_all(&mut stream, b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .ok()?;
    let mut page = String::new();
    stream.read_to_string(&mut page).ok()?;
    page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ').map(str::to_owned))
}

#[test]
fn extend_does_the_same_alone_and_through_the_daemon() {
    for daemon in [false, true] {
        let place = Place::new(CONFIG);
        let served = daemon.then(|| place.serve(&[]));
        let (code, printed, told) = place.say(&["extend", "/data", "--by=1GiB"]);
        assert_eq!((code, told.as_str()), (0, ""), "daemon {daemon}: {printed}");
        assert!(
            printed.starts_with("vg/data: grown (op-1): vg/data grew from 4 GiB to 5 GiB, /data from"),
            "{printed}"
        );
        let (code, printed, told) = place.say(&["extend", "vg/data"]);
        assert_eq!((code, told.as_str()), (3, ""), "daemon {daemon}: {printed}");
        assert!(printed.starts_with("vg/data: refused: cooldown: op-1 ended at "), "{printed}");
        let (code, printed, _) = place.say(&["extend", "/dev/mapper/vg-media", "--format=json"]);
        let answer: Value = serde_json::from_str(&printed).expect("JSON");
        assert_eq!((code, &answer["result"], &answer["lv"]), (0, &"grown".into(), &"vg/media".into()), "{printed}");

        let (code, printed, _) = place.say(&["history", "/data", "--format=json", "--since=1h"]);
        let rows: Value = serde_json::from_str(&printed).expect("JSON");
        let results: Vec<&str> =
            rows.as_array().expect("rows").iter().filter_map(|row| row["result"].as_str()).collect();
        assert_eq!((code, results), (0, vec!["grown", "cooldown"]), "{printed}");
        assert_eq!(rows[0]["grown_bytes"], 1u64 << 30);
        let (_, printed, _) = place.say(&["history"]);
        let header = "TIME (UTC)           VOLUME    RESULT    WHAT\n";
        assert!(printed.starts_with(header) && printed.lines().count() == 4, "{printed}");
        assert_eq!(
            place.say(&["history", "--since=2100-01-01T00:00:00Z"]).1,
            "nothing was done or refused in that time\n"
        );
        if let Some(served) = served {
            let (code, _, log) = served.end();
            assert_eq!(code, Some(0));
            assert!(log.contains("extend requested on the control socket"), "{log}");
        }
    }
}

#[test]
fn a_dry_run_shows_the_commands_and_leaves_nothing_behind() {
    let place = Place::new(&CONFIG.replace("increment: 2GiB", "increment: 2GiB, mode: recommend"));
    let (code, printed, _) = place.say(&["extend", "/data", "--by=1GiB", "--dry-run"]);
    assert_eq!(code, 0, "{printed}");
    assert!(printed.contains("  -       below_threshold\n"), "{printed}");
    assert!(printed.contains("would run, because a person asked for it, /data is 8"), "{printed}");
    assert!(
        printed.contains("    lvm lvextend -A n --config global/wait_for_locks=1 -l 1280 -- vg/data\n"),
        "{printed}"
    );
    let (code, printed, _) = place.say(&["extend", "/data", "--by=1TiB", "--dry-run", "--format=json"]);
    let document: Value = serde_json::from_str(&printed).expect("JSON");
    assert_eq!((code, &document["refusal"]["code"]), (3, &"budget_exhausted".into()), "{printed}");
    assert!(!place.path("state").exists());
}

#[test]
fn what_a_crash_left_is_finished_before_a_person_is_served() {
    let place = Place::new(CONFIG);
    let (config, host) = (place.config(), place.host());
    // A daemon is killed in the middle; what it began is in the journal.
    let served = place.serve(&[]);
    let mut child = place.start(&["extend", "/data", &config, &host]).spawn().expect("it starts");
    let state = place.path("state/simulated");
    eventually("it was begun", || Journal::peek(&state).is_ok_and(|state| state.last_number > 0));
    served.signal(Signal::SIGKILL);
    drop(served);
    let _ = child.wait();
    let (code, printed, told) = place.say(&["extend", "/media"]);
    assert_eq!(code, 0, "{printed}{told}");
    let state = Journal::peek(&state).expect("a journal");
    assert!(state.running.is_empty() && state.last.len() == 2, "{:?}", state.past);
}

#[test]
fn a_reload_is_in_force_whole_or_not_at_all() {
    let place = Place::new(CONFIG);
    let served = place.serve(&[]);
    let successful = "lvm_autoscaler_config_last_reload_successful";
    let data = "lvm_autoscaler_target_threshold_ratio{vg=\"vg\",lv=\"data\",mountpoint=\"/data\"}";
    let counted = "lvm_autoscaler_operations_total{vg=\"vg\",lv=\"data\",outcome=\"grown\"}";
    assert_eq!(metric(&served, successful).as_deref(), Some("1"));
    assert_eq!(metric(&served, data).as_deref(), Some("0.8"));
    assert_eq!(metric(&served, counted).as_deref(), Some("0"));
    let begun: f64 = metric(&served, "lvm_autoscaler_config_last_reload_success_timestamp_seconds")
        .and_then(|value| value.parse().ok())
        .expect("a time");

    // A wrong file: the old config stays, and the answer says where it is wrong.
    place.rewrite(&CONFIG.replace("threshold_percent: 80", "threshold_percent: 800"));
    let config = place.path("config.yaml");
    let (config, host) = (config.display(), place.host());
    // The command itself reads the file too, so the daemon is told by signal and another file names its state
    // directory.
    served.signal(Signal::SIGHUP);
    eventually("it was refused", || metric(&served, successful).as_deref() == Some("0"));
    assert_eq!(metric(&served, data).as_deref(), Some("0.8"));
    place.write("other.yaml", &format!("state: {{ directory: {} }}\n", place.path("state").display()));
    let output = place.run(&["reload", "--config.file=other.yaml", &host]);
    assert_eq!(output.status.code(), Some(2), "{}", err(&output));
    assert!(err(&output).starts_with(&format!("lvm-autoscaler: {config}:2:")), "{}", err(&output));
    assert!(err(&output).contains("defaults.threshold_percent"), "{}", err(&output));

    // What only a start can change is refused whole.
    place.write("config.yaml", &format!("{CONFIG}\nstate: {{ directory: {} }}\n", place.path("elsewhere").display()));
    let output = place.run(&["reload", "--config.file=other.yaml", &host]);
    assert_eq!(output.status.code(), Some(2));
    assert!(err(&output).contains("state.directory changed, which only a start can do"), "{}", err(&output));

    // One target goes, one changes.
    let (without, _) = CONFIG.split_once("    - { lv_path: /dev/vg/data").expect("the first target");
    place
        .rewrite(&format!("{without}    - {{ lv_path: /dev/vg/media, mount_point: /media, threshold_percent: 70 }}\n"));
    let (code, printed, told) = place.say(&["reload"]);
    assert_eq!((code, told.as_str()), (0, ""));
    assert_eq!(printed, "the config was read again and is in force: 1 target, no longer: vg/data, vg-2/logs\n");
    assert_eq!(metric(&served, successful).as_deref(), Some("1"));
    assert_eq!((metric(&served, data), metric(&served, counted)), (None, None), "gone with their target");
    let media = "lvm_autoscaler_target_threshold_ratio{vg=\"vg\",lv=\"media\",mountpoint=\"/media\"}";
    assert_eq!(metric(&served, media).as_deref(), Some("0.7"));
    let after: f64 = metric(&served, "lvm_autoscaler_config_last_reload_success_timestamp_seconds")
        .and_then(|value| value.parse().ok())
        .expect("a time");
    assert!(after > begun);
    place.rewrite(CONFIG);
    assert!(place.say(&["reload"]).1.contains("3 targets, new: vg/data, vg-2/logs"));
    let (code, _, log) = served.end();
    assert_eq!(code, Some(0));
    assert!(log.contains("the config was not accepted, the one before stays in force"), "{log}");
    assert!(log.contains("config.yaml:2:"), "{log}");
}

#[test]
fn an_exporter_that_is_given_its_first_target_grows_it() {
    let place = Place::new("# nothing");
    let served = place.serve(&[]);
    let (code, _, told) = place.say(&["pause"]);
    assert_eq!(code, 2, "{told}");
    place.rewrite(&CONFIG.replace("monitor:", "monitor:\n  interval_seconds: 1"));
    let (code, _, told) = place.say(&["extend", "/data"]);
    assert_eq!(code, 2);
    assert!(
        told.contains("the running daemon has no targets: add some to monitor.targets, then `lvm-autoscaler reload`"),
        "{told}"
    );
    assert_eq!(place.say(&["reload"]).0, 0);
    let state = place.path("state/simulated");
    eventually("all three grew", || Journal::peek(&state).is_ok_and(|state| state.last.len() == 3));
    assert_eq!(served.end().0, Some(0));
}

#[test]
fn what_cannot_be_says_what_to_do_next() {
    let place = Place::new(CONFIG);
    let (code, _, told) = place.say(&["reload"]);
    assert_eq!(code, 1);
    assert!(told.contains("no daemon listens on ") && told.contains("a start reads the config anyway"), "{told}");
    for (arguments, says) in [
        (&["extend", "/nothing"][..], "\"/nothing\" is not among the targets: vg/data, vg/media, vg-2/logs"),
        (&["extend", "/data", "--by=10G"], "write 10GiB"),
        (&["extend", "/data", "--by=0GiB"], "expected more than nothing"),
        (&["extend"], "<TARGET>"),
        (&["history", "--since=soon"], "\"soon\" is not a time, expected 24h, 7d or 2026-01-31T08:00:00Z"),
        (&["history", "nothing"], "\"nothing\" is neither a volume (VG/LV) nor the mount point of a target"),
    ] {
        let (code, printed, told) = place.say(arguments);
        assert_eq!((code, printed.as_str()), (2, ""), "{arguments:?}");
        assert!(told.contains(says), "{arguments:?}: {told}");
    }
    // The daemon has an older config.
    let served = place.serve(&[]);
    place.rewrite(&format!("{CONFIG}    - {{ lv_path: /dev/vg/new, mount_point: /new }}\n"));
    let (code, _, told) = place.say(&["extend", "/new"]);
    assert_eq!(code, 2);
    assert!(
        told.contains(
            "vg/new is not among the targets of the running daemon: if it was added, `lvm-autoscaler reload` first"
        ),
        "{told}"
    );
    drop(served);

    // Another process works on the state directory and does not listen.
    let lock = std::fs::File::open(place.path("state/simulated/lock")).expect("there");
    let _held = nix::fcntl::Flock::lock(lock, nix::fcntl::FlockArg::LockExclusive).expect("free");
    let (code, _, told) = place.say(&["extend", "/data"]);
    assert_eq!(code, 1);
    assert!(told.contains("lock is locked: another lvm-autoscaler runs on this state directory"), "{told}");
}

/// A plan is made from the file, so that a change can be tried before it is in force; beside a daemon that has another
/// config this is said, and what the daemon did counts.
#[test]
fn a_plan_says_when_the_daemon_has_another_config() {
    let place = Place::new(CONFIG);
    let served = place.serve(&[]);
    assert_eq!(place.say(&["extend", "/data"]).0, 0);
    let (code, printed, told) = place.say(&["plan", "/data"]);
    assert_eq!((code, told.as_str()), (3, ""));
    assert!(printed.contains("cooldown") && printed.contains("op-1 ended at"), "{printed}");
    // Without a name a plan is only looked at, and of two names one is not refused.
    assert_eq!((place.say(&["plan"]).0, place.say(&["plan", "/data", "/media"]).0), (0, 0));
    place.rewrite(&CONFIG.replace("threshold_percent: 80", "threshold_percent: 81"));
    for arguments in [&["plan", "/media"][..], &["extend", "/media", "--dry-run"]] {
        let (code, _, told) = place.say(arguments);
        assert_eq!(code, 0, "{told}");
        assert!(
            told.contains("the running daemon has another config in force") && told.contains("lvm-autoscaler reload"),
            "{told}"
        );
    }
    assert_eq!(place.say(&["reload"]).0, 0);
    assert_eq!(place.say(&["plan", "/media"]).2, "");
    drop(served);
}

/// Root connects whatever the mode says, so this only holds something for others.
#[test]
fn the_socket_is_for_its_owner_alone() {
    let place = Place::new(CONFIG);
    let served = place.serve(&[]);
    let socket = std::fs::metadata(place.path("state/simulated/control.sock")).expect("there");
    assert_eq!(socket.permissions().mode() & 0o777, 0o600);
    let folder = std::fs::metadata(place.path("state/simulated")).expect("there");
    assert_eq!(folder.permissions().mode() & 0o777, 0o700);
    drop(served);
}

/// The simulated host is the daemon's: what it grew has grown, and its time passes.
#[test]
fn a_plan_beside_a_simulating_daemon_is_about_that_daemons_host() {
    let place = Place::new(&CONFIG.replace("cooldown: 10m", "cooldown: 2s"));
    let served = place.serve(&[]);
    assert_eq!(place.say(&["extend", "/data"]).0, 0);
    let (_, printed, _) = place.say(&["plan", "/data"]);
    assert!(printed.contains("REFUSE  cooldown") && printed.contains("is 56.7 % full"), "{printed}");
    std::thread::sleep(std::time::Duration::from_secs(2));
    let (code, printed, _) = place.say(&["plan", "/data"]);
    assert!(
        code == 3 && printed.contains("pass    cooldown") && printed.contains("REFUSE  below_threshold"),
        "{printed}"
    );
    drop(served);
    // Without it the file counts again. No clock was lost: the cooldown has ended, also for a host that began anew.
    let (code, printed, _) = place.say(&["plan", "/data"]);
    assert!(code == 0 && printed.contains("pass    cooldown") && printed.contains("85 % full"), "{printed}");
}
