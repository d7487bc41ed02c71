//! Each half of a daemon of two processes has given up what it does not need before strangers can say anything to it.

use std::path::Path;

use nix::sys::signal::Signal;

use crate::common::place::Place;
use crate::half::Half;

/// What the kernel says of each thread of a process.
fn threads(half: &Half, key: &str) -> Vec<String> {
    let tasks = Path::new("/proc").join(half.process.id().to_string()).join("task");
    let tasks = std::fs::read_dir(tasks).expect("it runs");
    // A thread may end meanwhile.
    let read = |path: &Path| std::fs::read_to_string(path.join("status")).ok();
    let of = |status: String| {
        let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':')).expect("a key");
        line.trim().to_owned()
    };
    tasks.filter_map(|task| read(&task.expect("an entry").path()).map(of)).collect()
}

const CONFIG: &str = "monitor: { targets: [{ lv_path: data/pg, mount_point: /srv/pg }] }\n";
/// `listening` in the log of the web process, after which all of its threads are there.
const READY: &str = "message=listening";

#[test]
fn no_thread_of_the_web_process_may_do_more_than_a_server() {
    let place = Place::new(CONFIG);
    let _engine = Half::that_says("the web process may connect", &place, &["engine"]);
    let web = Half::that_says(READY, &place, &["web", "--web.listen-address=127.0.0.1:0"]);
    assert!(web.says("message=confined") && web.says("seccomp=yes"), "{}", web.log());
    let filters = threads(&web, "Seccomp");
    assert!(filters.len() > 3 && filters.iter().all(|mode| mode == "2"), "{filters:?}");
    assert!(threads(&web, "NoNewPrivs").iter().all(|held| held == "1"));
    drop(web);
    let free = Half::that_says(READY, &place, &["web", "--unconfined", "--web.listen-address=127.0.0.1:0"]);
    assert!(!free.says("message=confined"), "{}", free.log());
    // This machine may hold all of its processes to something.
    let own = std::fs::read_to_string("/proc/self/status").expect("it is there");
    if own.contains("NoNewPrivs:\t0") {
        assert!(threads(&free, "NoNewPrivs").iter().all(|held| held == "0"));
    }
}

#[test]
fn a_config_that_has_the_engine_write_elsewhere_waits_for_a_restart() {
    let place = Place::new(CONFIG);
    let engine = Half::that_says("the web process may connect", &place, &["engine"]);
    if engine.says("landlock=no") {
        return;
    }
    let elsewhere = tempfile::Builder::new().tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let state = place.path("state");
    let config = |folder: &Path| {
        format!("{CONFIG}state: {{ directory: {} }}\nreport: {{ directory: {} }}\n", state.display(), folder.display())
    };
    let reload = |folder: &Path, until: &str| {
        place.write("config.yaml", &config(folder));
        engine.signal(Signal::SIGHUP);
        engine.line(until)
    };
    let said = reload(elsewhere.path(), "was not accepted");
    let expected = format!("report.directory: {}", elsewhere.path().join("simulated").display());
    assert!(said.contains(&expected) && said.contains("restart the daemon"), "{said}");
    reload(&place.path("reports"), "was read again and is in force");
}
