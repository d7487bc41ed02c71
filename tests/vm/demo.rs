//! The whole story on real LVM: a writer fills an ext4 and an XFS, the alerts fire in Prometheus, Alertmanager delivers
//! them, and volumes and file systems grow. Nobody helps; this program only writes, watches and prints what happens
//! when.
//!
//! Configs and rules are the shipped ones, unchanged. `tests/vm/demo.sh` runs it in the virtual machine.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::panic,
    reason = "a demonstration runs programs and prints"
)]

#[expect(dead_code, reason = "shared with the tests, which use all of it")]
#[path = "http.rs"]
mod http;
#[expect(dead_code, reason = "shared with the tests, which use all of it")]
#[path = "storage.rs"]
mod storage;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use storage::{Group, MIB, Volume, sh};

/// After this the demo has failed. The shipped intervals add up to about 80 seconds.
const LIMIT: Duration = Duration::from_secs(240);
const AUTOSCALER: ([u8; 4], u16) = ([127, 0, 0, 1], 19845);
const PROMETHEUS: ([u8; 4], u16) = ([127, 0, 0, 1], 9090);
const ALERTMANAGER: ([u8; 4], u16) = ([127, 0, 0, 1], 9093);

/// What happens to a file system, in this order.
const EVENTS: [&str; 9] = [
    "usage crosses 80 %",
    "alert pending in Prometheus",
    "alert firing in Prometheus",
    "webhook accepted",
    "planned",
    "LVM metadata backed up",
    "lvextend done",
    "file system grown",
    "alert resolved in Prometheus",
];

/// When what happened, by volume and event.
#[derive(Clone)]
struct Timeline {
    began: Instant,
    seen: Arc<Mutex<BTreeMap<(String, &'static str), Duration>>>,
}

impl Timeline {
    /// Notes an event the first time it is seen, and says so.
    fn note(&self, lv: &str, event: &'static str) {
        let now = self.began.elapsed();
        let mut seen = self.seen.lock().expect("no panic");
        seen.entry((lv.to_owned(), event)).or_insert_with(|| {
            println!("{:7.1} s  {lv:<10} {event}", now.as_secs_f64());
            now
        });
    }

    fn at(&self, lv: &str, event: &'static str) -> Option<Duration> {
        self.seen.lock().expect("no panic").get(&(lv.to_owned(), event)).copied()
    }

    fn print(&self, volumes: &[Volume]) {
        println!("\nseconds after the usage crossed 80 %{:>18}{:>18}", "data_lv (ext4)", "media_lv (xfs)");
        for event in EVENTS {
            let since = |volume: &Volume| {
                let crossed = self.at(&volume.lv, EVENTS[0])?;
                Some(format!("{:.1}", self.at(&volume.lv, event)?.saturating_sub(crossed).as_secs_f64()))
            };
            let column = |volume| since(volume).unwrap_or_else(|| "-".to_owned());
            println!("  {event:<34}{:>17}{:>18}", column(&volumes[0]), column(&volumes[1]));
        }
    }
}

/// A program that ends with the demo.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn main() -> ExitCode {
    storage::only_in_the_guest();
    let keep = std::env::args().nth(1).as_deref() == Some("keep");
    let group = Group::new("storage_vg", &["20G"]);
    let volumes = [("data_lv", "ext4", "/data"), ("media_lv", "xfs", "/srv/media")].map(|(name, kind, place)| {
        let volume = Volume { mount_point: place.into(), ..group.lv(name, "2G") };
        volume.mkfs(kind);
        group.mount(&volume, &[]);
        volume.fill(70.0);
        volume
    });
    if is_under_systemd() {
        // Those that the guest has started by itself have other configs.
        sh("systemctl", &["stop", "prometheus", "prometheus-alertmanager"]);
    }
    let timeline = Timeline { began: Instant::now(), seen: Arc::default() };
    println!("starting lvm-autoscaler, Prometheus and Alertmanager with the configs that are shipped");
    let _servers = [autoscaler(&volumes, &timeline), prometheus(&group), alertmanager(&group)];
    wait("Alertmanager to be ready", || Some(http::get(ALERTMANAGER.into(), "/-/ready").ok()?.status == 200));
    wait("Prometheus to scrape", || Some(query("/api/v1/query?query=up")?["data"]["result"][0]["value"][1] == "1"));

    let before = show("before", &volumes);
    let writers: Vec<_> = volumes
        .iter()
        .cloned()
        .map(|volume| {
            let timeline = timeline.clone();
            thread::spawn(move || write(&volume, &timeline))
        })
        .collect();
    let ended = watch(&volumes, &timeline);
    writers.into_iter().for_each(|writer| writer.join().expect("it writes"));
    timeline.print(&volumes);
    let after = show("after", &volumes);

    let verdict = ended.and_then(|()| check(&volumes, &before, &after));
    match &verdict {
        Ok(()) => println!("\nBoth volumes and their file systems grew by exactly what was planned."),
        Err(why) => println!("\nFAILED: {why}"),
    }
    if keep && verdict.is_ok() {
        stay();
    }
    if verdict.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// 2 GiB for the one; 10 % of the other, but at least 1 GiB: as configs/config.yaml says.
fn check(volumes: &[Volume], before: &[u64], after: &[u64]) -> Result<(), String> {
    for ((volume, planned), (before, after)) in volumes.iter().zip([512, 256]).zip(before.iter().zip(after)) {
        if *after != before + planned {
            return Err(format!("{} has {after} extents, expected {before} + {planned}", volume.name()));
        }
        if volume.df_percent() > 80.0 {
            return Err(format!("{:?} is still {:.1} % full", volume.mount_point, volume.df_percent()));
        }
    }
    Ok(())
}

/// Prints what an operator would look at; the sizes in extents.
fn show(when: &str, volumes: &[Volume]) -> Vec<u64> {
    println!("\n{when}:\n{}", sh("df", &["-h", "/data", "/srv/media"]));
    println!("{}\n", sh("lvs", &["-o", "vg_name,lv_name,lv_size,seg_count,vg_free", "storage_vg"]));
    volumes.iter().map(Volume::extents).collect()
}

/// Writes 16 MiB four times a second until the file system is 83 % full.
fn write(volume: &Volume, timeline: &Timeline) {
    let chunk = vec![0x5A; 16 * MIB as usize];
    let mut file = File::create(volume.mount_point.join("written")).expect("a file");
    while volume.df_percent() < 83.0 {
        file.write_all(&chunk).and_then(|()| file.sync_data()).expect("room for it");
        if volume.df_percent() > 80.0 {
            timeline.note(&volume.lv, EVENTS[0]);
        }
        thread::sleep(Duration::from_millis(250));
    }
}

/// Follows the alerts in Prometheus until all are resolved again; the rest is read off the daemon's log meanwhile.
fn watch(volumes: &[Volume], timeline: &Timeline) -> Result<(), String> {
    let deadline = Instant::now() + LIMIT;
    while Instant::now() < deadline {
        thread::sleep(Duration::from_millis(200));
        let Some(answer) = query("/api/v1/alerts") else { continue };
        let alerts = answer["data"]["alerts"].as_array().cloned().unwrap_or_default();
        for volume in volumes {
            // Only the triggers: those for people and those that hold others back last longer.
            let of = |alert: &&serde_json::Value| {
                alert["labels"]["lv"] == *volume.lv && alert["labels"]["lvm_autoscaler"] == "extend"
            };
            let states: Vec<_> = alerts.iter().filter(of).collect();
            for alert in &states {
                timeline.note(&volume.lv, if alert["state"] == "firing" { EVENTS[2] } else { EVENTS[1] });
            }
            if states.is_empty() && timeline.at(&volume.lv, EVENTS[7]).is_some() {
                timeline.note(&volume.lv, EVENTS[8]);
            }
        }
        if volumes.iter().all(|volume| timeline.at(&volume.lv, EVENTS[8]).is_some()) {
            return Ok(());
        }
    }
    Err(format!("not everything happened within {} seconds", LIMIT.as_secs()))
}

fn autoscaler(volumes: &[Volume], timeline: &Timeline) -> Running {
    // As it is installed: two processes, and with systemd the services of the packages.
    let script = if is_under_systemd() { "unit.sh" } else { "split.sh" };
    let program = std::env::current_exe().expect("a path").with_file_name(script);
    let config = std::env::current_dir().expect("a folder").join("configs/config.yaml");
    let mut child = Command::new(program)
        .arg("serve")
        .arg(format!("--config.file={}", config.display()))
        .stderr(Stdio::piped())
        .spawn()
        .expect("lvm-autoscaler starts");
    let lines = BufReader::new(child.stderr.take().expect("a pipe")).lines();
    let (volumes, timeline) = (volumes.to_vec(), timeline.clone());
    thread::spawn(move || lines.map_while(Result::ok).for_each(|line| read_log(&line, &volumes, &timeline)));
    Running(child)
}

fn is_under_systemd() -> bool {
    std::env::var_os("LVM_AUTOSCALER_UNIT").is_some()
}

/// The daemon's log says what it does.
fn read_log(line: &str, volumes: &[Volume], timeline: &Timeline) {
    if line.contains("level=error") {
        println!("           lvm-autoscaler: {line}");
    }
    // A backup names only the group; groups do one thing at a time, so it is the volume planned last.
    let of = |volume: &&Volume| {
        line.contains(&volume.name()) || line.contains(&format!(" {} ", storage::path(&volume.mount_point)))
    };
    let planned =
        |volume: &&Volume| timeline.at(&volume.lv, EVENTS[4]).is_some() && timeline.at(&volume.lv, EVENTS[6]).is_none();
    let event = [
        ("an alert was accepted", EVENTS[3]),
        ("message=planned", EVENTS[4]),
        ("done: back up", EVENTS[5]),
        ("done: extend", EVENTS[6]),
        ("done: grow", EVENTS[7]),
    ];
    let Some((_, event)) = event.into_iter().find(|(text, _)| line.contains(text)) else { return };
    let volume = if event == EVENTS[5] { volumes.iter().find(planned) } else { volumes.iter().find(of) };
    if let Some(volume) = volume {
        timeline.note(&volume.lv, event);
    }
}

fn prometheus(group: &Group) -> Running {
    start(
        "prometheus",
        &[
            "--config.file=configs/prometheus.yml",
            "--web.listen-address=0.0.0.0:9090",
            &format!("--storage.tsdb.path={}", storage::path(&group.dir.join("prometheus"))),
        ],
    )
}

fn alertmanager(group: &Group) -> Running {
    start(
        "alertmanager",
        &[
            "--config.file=configs/alertmanager.yml",
            "--web.listen-address=0.0.0.0:9093",
            // One of them needs no peers.
            "--cluster.listen-address=",
            &format!("--storage.path={}", storage::path(&group.dir.join("alertmanager"))),
        ],
    )
}

fn start(program: &str, arguments: &[&str]) -> Running {
    let log = File::create(format!("/tmp/{program}.log")).expect("a log");
    Running(Command::new(program).args(arguments).stderr(log).spawn().unwrap_or_else(|e| panic!("{program}: {e}")))
}

fn query(path: &str) -> Option<serde_json::Value> {
    serde_json::from_str(&http::get(PROMETHEUS.into(), path).ok()?.body).ok()
}

fn wait(what: &str, mut is_so: impl FnMut() -> Option<bool>) {
    let deadline = Instant::now() + Duration::from_secs(90);
    while is_so() != Some(true) {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(200));
    }
}

/// Keeps everything running until the machine is switched off from outside.
fn stay() {
    // The daemon listens on the loopback only, because whoever reaches its webhook can make volumes grow. The machine
    // is reached through this relay, and only from its host's own loopback.
    let listener = TcpListener::bind(("0.0.0.0", 19846)).expect("a free port");
    thread::spawn(move || listener.incoming().flatten().for_each(|client| drop(thread::spawn(|| relay(client)))));
    println!("\nStaying up until Ctrl-C. Open");
    println!("  http://127.0.0.1:19845                 lvm-autoscaler");
    println!("  http://127.0.0.1:19090/classic/alerts  Prometheus");
    println!("  http://127.0.0.1:19093/api/v2/alerts   Alertmanager, which Debian packages without its pages");
    loop {
        thread::park();
    }
}

fn relay(client: TcpStream) {
    let Ok(server) = TcpStream::connect(SocketAddr::from(AUTOSCALER)) else { return };
    let copy = |from: &TcpStream, to: &TcpStream| {
        if let (Ok(mut from), Ok(mut to)) = (from.try_clone(), to.try_clone()) {
            let _ = std::io::copy(&mut from, &mut to);
            let _ = to.shutdown(std::net::Shutdown::Write);
        }
    };
    thread::scope(|scope| {
        scope.spawn(|| copy(&client, &server));
        copy(&server, &client);
    });
}
