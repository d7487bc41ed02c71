//! The daemon as a real process, and what can be seen of it from outside: its answers, its metrics, its journal, its
//! log.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use lvm_autoscaler::journal::{Journal, Past, State};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::http::{self, Answer};
use crate::storage::{Group, Volume, path};

/// Long enough for anything that is going to happen under emulation.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// The program under test; it lies beside the test. With `LVM_AUTOSCALER_SPLIT` in the environment its daemon is two
/// processes, see tests/split.sh, and with `LVM_AUTOSCALER_UNIT` the services of the packages, see tests/unit.sh.
pub(crate) fn program() -> PathBuf {
    let is_set = |name: &str| std::env::var_os(name).is_some();
    let name = match () {
        () if is_set("LVM_AUTOSCALER_UNIT") => "unit.sh",
        () if is_set("LVM_AUTOSCALER_SPLIT") => "split.sh",
        () => "lvm-autoscaler",
    };
    std::env::current_exe().expect("a path").with_file_name(name)
}

/// A config with these targets that grow by 32 MiB (8 extents); `more` is put in front.
pub(crate) fn config(group: &Group, targets: &[&Volume], more: &str) -> String {
    let mut text =
        format!("{more}\nstate: {{ directory: {} }}\nmonitor:\n  targets:\n", path(&group.dir.join("state")));
    for target in targets {
        text.push_str(&format!(
            "    - lv_path: {}\n      mount_point: {:?}\n      increment: 32MiB\n",
            target.path(),
            path(&target.mount_point)
        ));
    }
    text
}

/// The labels that our own rule's alerts carry.
pub(crate) fn labels(volume: &Volume) -> Vec<(&str, &str)> {
    vec![
        ("alertname", "LvmFileSystemFilling"),
        ("instance", "vm:19845"),
        ("vg", &volume.vg),
        ("lv", &volume.lv),
        ("mountpoint", path(&volume.mount_point)),
    ]
}

/// A running daemon.
pub(crate) struct Daemon {
    child: Child,
    pub(crate) address: SocketAddr,
    state: PathBuf,
    log: Arc<Log>,
}

/// What it said so far.
#[derive(Default)]
struct Log {
    lines: Mutex<Vec<String>>,
    longer: Condvar,
}

impl Daemon {
    /// Starts it with this config, and waits until it has looked at the host once.
    pub(crate) fn start(group: &Group, config: &str) -> Daemon {
        Daemon::start_with(group, config, &[])
    }

    /// The same with further arguments.
    pub(crate) fn start_with(group: &Group, config: &str, arguments: &[&str]) -> Daemon {
        let file = group.dir.join("config.yaml");
        fs::write(&file, config).expect("a config file");
        let file = format!("--config.file={}", path(&file));
        Daemon::spawn(&[&[file.as_str()], arguments].concat(), group.dir.join("state"))
    }

    /// Starts it with these arguments alone.
    pub(crate) fn spawn(arguments: &[&str], state: PathBuf) -> Daemon {
        let mut command = Command::new(program());
        command.args(["serve", "--web.listen-address=127.0.0.1:0"]).args(arguments);
        Daemon::run(command, state)
    }

    /// Starts it by a command of one's own.
    pub(crate) fn run(mut command: Command, state: PathBuf) -> Daemon {
        let mut child = command.stderr(Stdio::piped()).spawn().expect("the daemon starts");
        let log = Arc::<Log>::default();
        let lines = BufReader::new(child.stderr.take().expect("a pipe")).lines();
        let kept = Arc::clone(&log);
        std::thread::spawn(move || {
            lines.map_while(Result::ok).for_each(|line| {
                kept.lines.lock().expect("no panic").push(line);
                kept.longer.notify_all();
            })
        });
        let mut daemon = Daemon { child, address: SocketAddr::from(([127, 0, 0, 1], 0)), state, log };
        daemon.address = daemon.wait_for("the daemon to listen", |daemon| {
            let log = daemon.log();
            let line = log.lines().find(|line| line.contains("message=listening"))?;
            line.split("address=").nth(1)?.split(' ').next()?.parse().ok()
        });
        daemon.wait_for("a first inventory", |daemon| {
            let log = daemon.log();
            let ends = ["no inventory", "nothing is acted upon", "journal unusable"];
            let never = ends.iter().any(|said| log.contains(said));
            (never || daemon.get("/-/ready").status == 200).then_some(())
        });
        daemon
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        http::get(self.address, path).unwrap_or_else(|error| panic!("GET {path}: {error}\n{}", self.log()))
    }

    /// Sends one firing alert with these labels as Alertmanager would, and insists on a 202; the verdict on it.
    pub(crate) fn alert(&self, labels: &[(&str, &str)]) -> serde_json::Value {
        let answer = self.post(&payload(labels));
        assert_eq!(answer.status, 202, "{answer:?}");
        let verdicts: serde_json::Value = serde_json::from_str(&answer.body).expect("JSON");
        verdicts["alerts"][0].clone()
    }

    pub(crate) fn post(&self, payload: &str) -> Answer {
        let answer = http::post(self.address, "/webhook/alertmanager", payload);
        answer.unwrap_or_else(|error| panic!("no answer: {error}\n{}", self.log()))
    }

    /// The sum of the series of a metric that have all these labels.
    pub(crate) fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let body = self.get("/metrics").body;
        let series = body.lines().filter_map(|line| line.rsplit_once(' '));
        let wanted = series.filter(|(series, _)| {
            let (found, rest) = series.split_once('{').unwrap_or((series, ""));
            found == name && labels.iter().all(|(key, value)| rest.contains(&format!("{key}={value:?}")))
        });
        wanted.map(|(_, value)| value.parse::<f64>().expect("a number")).sum()
    }

    /// Waits until the journal says that an operation on the volume ended so.
    pub(crate) fn wait_for_outcome(&self, volume: &Volume, outcome: &str) -> Past {
        self.wait_for_count(volume, outcome, 1)
    }

    /// Waits until the journal has this result for the volume so often; the last of them.
    pub(crate) fn wait_for_count(&self, volume: &Volume, result: &str, count: usize) -> Past {
        self.wait_for(&format!("{result} x {count} of {}", volume.name()), |daemon| {
            let past = daemon.results(volume);
            let matching: Vec<&Past> = past.iter().filter(|past| past.result.as_str() == result).collect();
            (matching.len() >= count).then(|| (**matching.last().expect("one")).clone())
        })
    }

    /// What the journal remembers of the volume, the oldest first.
    pub(crate) fn results(&self, volume: &Volume) -> Vec<Past> {
        let state = self.journal();
        let past = state.lately().into_iter().cloned();
        past.filter(|past| past.lv.as_ref().is_some_and(|lv| lv.to_string() == volume.name())).collect()
    }

    /// What the journal means now.
    pub(crate) fn journal(&self) -> State {
        Journal::peek(&self.state).expect("a journal")
    }

    /// Waits for something to be so; panics with the daemon's log if it does not come.
    pub(crate) fn wait_for<T>(&self, what: &str, mut look: impl FnMut(&Daemon) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = look(self) {
                return found;
            }
            assert!(Instant::now() < deadline, "waited in vain for {what}; the daemon's log:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    pub(crate) fn log(&self) -> String {
        self.log.lines.lock().expect("no panic").join("\n")
    }

    /// Waits until a line of the log after so many contains this. It sleeps until there is a further line: who looks
    /// every few milliseconds keeps a processor from what is measured.
    pub(crate) fn wait_until_said(&self, lines: usize, what: &str) {
        let not_yet = |log: &mut Vec<String>| !log.iter().skip(lines).any(|line| line.contains(what));
        let log = self.log.lines.lock().expect("no panic");
        let waited = self.log.longer.wait_timeout_while(log, PATIENCE, not_yet).expect("no panic").1;
        assert!(!waited.timed_out(), "waited in vain for {what:?}; the daemon's log:\n{}", self.log());
    }

    /// `kill -9`
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }

    /// SIGTERM; it goes on as long as it needs.
    pub(crate) fn terminate(&self) {
        kill(Pid::from_raw(self.child.id() as i32), Signal::SIGTERM).expect("it runs");
    }

    /// Whether it has ended.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("our child")
    }

    /// SIGTERM, and waits for the end.
    pub(crate) fn stop(mut self) -> ExitStatus {
        self.terminate();
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.ended() {
                return status;
            }
            assert!(Instant::now() < deadline, "it does not stop; its log:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("the daemon's log:\n{}", self.log());
        }
    }
}

/// A body as Alertmanager 0.25 sends it.
pub(crate) fn payload(labels: &[(&str, &str)]) -> String {
    let labels: serde_json::Map<_, _> =
        labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).into())).collect();
    serde_json::json!({
        "receiver": "lvm-autoscaler", "status": "firing", "groupLabels": labels, "commonLabels": labels,
        "commonAnnotations": {}, "externalURL": "http://vm:9093", "version": "4",
        "groupKey": "{}:{instance=\"vm:19845\"}", "truncatedAlerts": 0,
        "alerts": [{
            "status": "firing", "labels": labels, "annotations": {"summary": "a file system fills up"},
            "startsAt": "2026-01-01T00:00:00.000Z", "endsAt": "0001-01-01T00:00:00Z",
            "generatorURL": "http://vm:9090/graph", "fingerprint": "f0e1d2c3b4a59687",
        }],
    })
    .to_string()
}

/// Writes an executable shell script and returns its path.
pub(crate) fn script(folder: &Path, name: &str, text: &str) -> String {
    use std::os::unix::fs::PermissionsExt;
    let file = folder.join(name);
    fs::write(&file, format!("#!/bin/sh\n{text}")).expect("a script");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("ours");
    path(&file).to_owned()
}
