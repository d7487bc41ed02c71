//! Each half of a daemon of two processes has given up what it does not need before strangers can say anything to it.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::common::place::Place;

/// Killed at the end.
struct Half {
    process: Child,
    log: BufReader<std::process::ChildStderr>,
    begun: String,
}

impl Drop for Half {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Half {
    fn start(place: &Place, arguments: &[&str], until: &str) -> Half {
        let socket = format!("--engine.socket={}", place.path("engine.sock").display());
        let mut command = crate::edge::program(assert_cmd::cargo::cargo_bin("lvm-autoscaler"));
        command.args(arguments).args([&socket, &place.config(), &place.host()]);
        let mut process = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts");
        let log = BufReader::new(process.stderr.take().expect("piped"));
        let mut half = Half { process, log, begun: String::new() };
        half.read(until);
        half
    }

    /// Its log up to a line with this; that line.
    fn read(&mut self, until: &str) -> String {
        loop {
            let mut line = String::new();
            assert!(self.log.read_line(&mut line).expect("text") > 0, "it ended: {}", self.begun);
            self.begun.push_str(&line);
            if line.contains(until) {
                return line;
            }
        }
    }

    /// What the kernel says of each of its threads.
    fn threads(&self, key: &str) -> Vec<String> {
        let tasks = Path::new("/proc").join(self.process.id().to_string()).join("task");
        let tasks = std::fs::read_dir(tasks).expect("it runs");
        // A thread may end meanwhile.
        let read = |path: &Path| std::fs::read_to_string(path.join("status")).ok();
        let of = |status: String| {
            let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':')).expect("a key");
            line.trim().to_owned()
        };
        tasks.filter_map(|task| read(&task.expect("an entry").path()).map(of)).collect()
    }
}

const CONFIG: &str = "monitor: { targets: [{ lv_path: data/pg, mount_point: /srv/pg }] }\n";
/// `listening` in the log of the web process, after which all of its threads are there.
const READY: &str = "message=listening";

#[test]
fn no_thread_of_the_web_process_may_do_more_than_a_server() {
    let place = Place::new(CONFIG);
    let _engine = Half::start(&place, &["engine"], "the web process may connect");
    let web = Half::start(&place, &["web", "--web.listen-address=127.0.0.1:0"], READY);
    assert!(web.begun.contains("message=confined") && web.begun.contains("seccomp=yes"), "{}", web.begun);
    let filters = web.threads("Seccomp");
    assert!(filters.len() > 3 && filters.iter().all(|mode| mode == "2"), "{filters:?}");
    assert!(web.threads("NoNewPrivs").iter().all(|held| held == "1"));
    drop(web);
    let free = Half::start(&place, &["web", "--unconfined", "--web.listen-address=127.0.0.1:0"], READY);
    assert!(!free.begun.contains("message=confined"), "{}", free.begun);
    // This machine may hold all of its processes to something.
    let own = std::fs::read_to_string("/proc/self/status").expect("it is there");
    if own.contains("NoNewPrivs:\t0") {
        assert!(free.threads("NoNewPrivs").iter().all(|held| held == "0"));
    }
}

#[test]
fn a_config_that_has_the_engine_write_elsewhere_waits_for_a_restart() {
    let place = Place::new(CONFIG);
    let mut engine = Half::start(&place, &["engine"], "the web process may connect");
    if engine.begun.contains("landlock=no") {
        return;
    }
    let elsewhere = tempfile::Builder::new().tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let state = place.path("state");
    let config = |folder: &Path| {
        format!("{CONFIG}state: {{ directory: {} }}\nreport: {{ directory: {} }}\n", state.display(), folder.display())
    };
    let reload = |engine: &mut Half, folder: &Path, until: &str| {
        place.write("config.yaml", &config(folder));
        kill(Pid::from_raw(engine.process.id().cast_signed()), Signal::SIGHUP).expect("it runs");
        engine.read(until)
    };
    let said = reload(&mut engine, elsewhere.path(), "was not accepted");
    let expected = format!("report.directory: {}", elsewhere.path().join("simulated").display());
    assert!(said.contains(&expected) && said.contains("restart the daemon"), "{said}");
    reload(&mut engine, &place.path("reports"), "was read again and is in force");
}
