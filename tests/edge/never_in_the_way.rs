//! With an LVM that does not do what it should, `/metrics` answers as if nothing were: at once, with the last good
//! inventory and its age, and without using more of the host each time. On this machine, with a program of ours as
//! `lvm`.

#![expect(clippy::disallowed_methods, reason = "starts the daemon and writes its config")]

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::common::split;
use lvm_autoscaler::alert::instance::OwnNames;
use lvm_autoscaler::config::{Config, InForce};
use lvm_autoscaler::engine::{Inside, ReadUsage};
use lvm_autoscaler::inventory::Latest;
use lvm_autoscaler::metrics::exposition::Exposition;
use lvm_autoscaler::metrics::selection::Selection;
use lvm_autoscaler::metrics::web::WebMetrics;
use lvm_autoscaler::routes::{Context, Pages, StatusPages};
use lvm_autoscaler::server::{self, Access, Limits, Listeners};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A scrape is answered within this; usually it takes a hundredth.
const AT_MOST: Duration = Duration::from_secs(1);
/// Of threads and descriptors: a look, and a thread for pages that ends when idle, come and go.
const SLACK: usize = 4;
const REPORT: &str = r#"{"report":[{"vg":[{"vg_name":"kept","vg_size":"1048576"}],"lv":[],"pv":[],"seg":[]}]}"#;

#[test]
fn an_lvm_that_hangs() {
    // What hangs is started by what was started, and its arguments tell whose it is.
    let daemon = Daemon::start("tail -f \"$0\"; exit 0");
    daemon.answers_a_hundred_times();
    // A look gives up after a second, and a second later there is the next. Two processes hang, two may be ending.
    let hanging = daemon.processes();
    assert!(hanging.len() <= 4, "what hung was not killed at its deadline: {hanging:?}");
}

#[test]
fn an_lvm_that_prints_garbage() {
    Daemon::start("exec head -c 100000 /dev/urandom").answers_a_hundred_times();
}

#[test]
fn an_lvm_that_exits_with_5() {
    Daemon::start("echo '  Volume group \"x\" not found' >&2; exit 5").answers_a_hundred_times();
}

#[test]
fn an_lvm_that_never_stops_printing() {
    Daemon::start("exec cat /dev/zero").answers_a_hundred_times();
}

#[test]
fn fifty_scrapes_at_once_share_the_work() {
    let made = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&made);
    let read_usage = move |filesystems| {
        counted.fetch_add(1, Ordering::Relaxed);
        sleep(Duration::from_millis(100));
        filesystems
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let address = serve(&runtime, Arc::new(read_usage));
    let together = Barrier::new(50);
    std::thread::scope(|scope| {
        for _ in 0..50 {
            scope.spawn(|| {
                together.wait();
                let (_, took) = scrape(address);
                assert!(took < AT_MOST, "{took:?}");
            });
        }
    });
    // One for the first, one for those that came while it was made; more if the machine is slow to start all of them.
    let made = made.load(Ordering::Relaxed);
    assert!(made <= 5, "{made} pages were made for 50 scrapes");
}

fn serve(runtime: &tokio::runtime::Runtime, usage: ReadUsage) -> SocketAddr {
    let context = Context {
        report: Arc::new(|_| Err("no reports here".to_owned())),
        reporting: tokio::sync::Mutex::default(),
        telemetry_path: "/metrics".to_owned(),
        in_force: InForce::new(Config::default()),
        own_names: Box::new(|| OwnNames::new(["db1"])),
        front: Arc::new(Inside { engine: Arc::default(), metrics: Arc::default(), usage }),
        exposition: Exposition::new(Selection::default(), Arc::default(), || None),
        pages: Pages::default(),
        status: StatusPages::new("db1", || jiff::Timestamp::UNIX_EPOCH.into()),
        latest: Arc::new(Latest::default()),
        metrics: Arc::new(WebMetrics::default()),
        limits: Limits::default(),
        access: Arc::new(Access::default()),
        draining: AtomicBool::new(false),
    };
    let anywhere = "127.0.0.1:0".parse().expect("an address");
    let listeners = Listeners::bind(&[anywhere]).expect("a port");
    let address = listeners.addresses()[0].tcp().expect("a port");
    let (stop, stopped) = tokio::sync::watch::channel(false);
    runtime.spawn(async move {
        let _until_the_end = stop;
        server::serve(listeners, Arc::new(context), stopped).await;
    });
    address
}

struct Daemon {
    process: Child,
    address: SocketAddr,
    folder: tempfile::TempDir,
}

impl Daemon {
    /// A daemon that has seen one good report; from then on its `lvm` is this script.
    fn start(script: &str) -> Daemon {
        let folder = tempfile::tempdir().expect("a folder");
        let lvm = folder.path().join("lvm");
        program(&lvm, &format!("echo '{REPORT}'"));
        let config = folder.path().join("config.yaml");
        let text = format!("inventory: {{interval: 1s, timeout: 1s}}\ntools: {{lvm: '{}'}}\n", lvm.display());
        fs::write(&config, text).expect("writable");
        let address = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port");
        let process = split::daemon()
            .args(["serve", &format!("--web.listen-address={address}")])
            .arg(format!("--config.file={}", config.display()))
            .stderr(Stdio::null())
            .spawn()
            .expect("starts");
        let daemon = Daemon { process, address, folder };
        daemon.wait_for("lvm_up", 1.0);
        program(&lvm, script);
        daemon.wait_for("lvm_up", 0.0);
        daemon
    }

    fn wait_for(&self, series: &str, wanted: f64) {
        let until = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(self.address).is_err() || value(&scrape(self.address).0, series) != Some(wanted) {
            assert!(Instant::now() < until, "{series} does not become {wanted}");
            sleep(Duration::from_millis(20));
        }
    }

    /// For more than six seconds, so that three looks or more fail meanwhile.
    fn answers_a_hundred_times(&self) {
        let taken = value(&scrape(self.address).0, "lvm_inventory_timestamp_seconds").expect("there is one");
        let (mut most_threads, mut most_descriptors) = (0, 0);
        for number in 0..100 {
            let (page, took) = scrape(self.address);
            assert!(took < AT_MOST, "scrape {number} took {took:?}");
            assert_eq!(value(&page, "lvm_up"), Some(0.0));
            assert_eq!(value(&page, "lvm_vg_size_bytes{vg=\"kept\"}"), Some(1048576.0));
            assert_eq!(value(&page, "lvm_inventory_timestamp_seconds"), Some(taken), "its age must show");
            let (threads, descriptors) = (self.count("task"), self.count("fd"));
            if number < 50 {
                (most_threads, most_descriptors) = (most_threads.max(threads), most_descriptors.max(descriptors));
            }
            assert!(threads <= most_threads + SLACK, "scrape {number}: {threads} threads after {most_threads}");
            assert!(descriptors <= most_descriptors + SLACK, "scrape {number}: {descriptors} after {most_descriptors}");
            sleep(Duration::from_millis(60));
        }
        let zombies = self.zombies();
        assert!(zombies <= 1, "{zombies} children ended and were not waited for");
    }

    /// Entries of one of its folders in /proc.
    fn count(&self, folder: &str) -> usize {
        fs::read_dir(format!("/proc/{}/{folder}", self.process.id())).expect("it runs").count()
    }

    /// Children that ended and were not waited for.
    fn zombies(&self) -> usize {
        let zombie = format!("Z {} ", self.process.id());
        let is_ours = |pid: &u32| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            stat.rsplit_once(") ").is_some_and(|(_, state)| state.starts_with(&zombie))
        };
        pids().filter(is_ours).count()
    }

    /// What was started as `lvm` and still runs, and what that started.
    fn processes(&self) -> Vec<u32> {
        let lvm = self.folder.path().join("lvm").display().to_string();
        let names_it = |pid: &u32| {
            let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            arguments.split(|byte| *byte == 0).any(|argument| argument == lvm.as_bytes())
        };
        pids().filter(names_it).collect()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        // A report that hangs outlives a daemon that is killed.
        for pid in self.processes() {
            let _ = kill(Pid::from_raw(pid as i32), Signal::SIGKILL);
        }
    }
}

fn pids() -> impl Iterator<Item = u32> {
    fs::read_dir("/proc").expect("Linux").filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

fn scrape(address: SocketAddr) -> (String, Duration) {
    let started = Instant::now();
    let mut stream = TcpStream::connect(address).expect("accepts");
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a deadline");
    stream.set_write_timeout(Some(Duration::from_secs(60))).expect("a deadline");
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").expect("reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answers");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    (answer, started.elapsed())
}

/// Puts a script into place in one step, for the one before may be running.
fn program(path: &Path, script: &str) {
    let new = path.with_extension("new");
    fs::write(&new, format!("#!/bin/sh\n{script}\n")).expect("writable");
    fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).expect("ours");
    fs::rename(&new, path).expect("writable");
}

/// The value of a series, if the page has it.
fn value(page: &str, series: &str) -> Option<f64> {
    page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
}
