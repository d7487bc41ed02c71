//! What the daemon costs beside the bare commands: the same growth of the same volume in the same machine, by turns
//! from an alert and by hand (`vgcfgbackup; lvextend; resize2fs`). `tests/bench/overhead.sh` runs it in the virtual
//! machine.
#![expect(
    clippy::disallowed_methods,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark runs programs and prints"
)]
#![allow(dead_code, reason = "shared with the tests, which use all of it")]

#[path = "daemon.rs"]
mod daemon;
#[path = "http.rs"]
mod http;
#[path = "storage.rs"]
mod storage;

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use daemon::{Daemon, labels};
use lvm_autoscaler::inventory::lvm::{Columns, report_arguments};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use storage::{Group, Volume, path, sh};

/// Enough for a median that one slow run does not move.
const TURNS: usize = 12;
/// So little over the threshold that one increment leads below it, however large the volume is by then.
const FULL: f64 = 81.0;
/// How much slower than by hand the whole may be.
const LIMIT: f64 = 1.5;
/// On the machine's disk, where fsync is one.
const STATE: &str = "/var/lib/lvm-autoscaler";
const STEPS: [&str; 4] = ["backup_metadata", "extend_lv", "check_filesystem", "grow_filesystem"];

fn main() -> ExitCode {
    storage::only_in_the_guest();
    let mut worst = 0_f64;
    println!("| | ext4 | XFS |\n|---|--:|--:|");
    let columns = [("ext4", "256M"), ("xfs", "320M")].map(|(kind, size)| measure(kind, size));
    for (row, (what, first)) in columns[0].rows.iter().enumerate() {
        println!("| {what} | {first} | {} |", columns[1].rows[row].1);
    }
    for column in &columns {
        worst = worst.max(column.ratio);
    }
    println!(
        "figures: the pipeline takes {worst:.2} times as long as the bare commands, {TURNS} turns each, limit {LIMIT}"
    );
    if worst <= LIMIT { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

struct Column {
    rows: Vec<(&'static str, String)>,
    ratio: f64,
}

fn measure(kind: &str, size: &str) -> Column {
    let group = Group::new(&format!("bench_{kind}"), &["16G"]);
    let [alerted, by_hand] = ["alerted", "hand"].map(|name| group.filesystem(kind, name, size));
    let config = format!(
        "defaults: {{ cooldown: 0s, budget: {{ extensions: 100, bytes: 1TiB, per: 24h }} }}\n\
         inventory: {{ interval: 1h }}\nstate: {{ directory: {STATE}/{kind} }}\nmonitor:\n  targets:\n    \
         - {{ lv_path: {}, mount_point: {}, increment: 32MiB }}\n",
        alerted.path(),
        path(&alerted.mount_point)
    );
    fs::create_dir_all(STATE).expect("a folder");
    let daemon = Daemon::start(&group, &config);
    let mut turns = Vec::new();
    for number in 0..=TURNS {
        for volume in [&alerted, &by_hand] {
            volume.fill(FULL);
            sh("sync", &["-f", path(&volume.mount_point)]);
        }
        // The daemon looks at everything after each operation; that is not part of either.
        idle(&daemon);
        // Its look at what is done by hand would slow that down.
        signal(&daemon, Signal::SIGSTOP);
        let hand = hand(kind, &group, &by_hand);
        signal(&daemon, Signal::SIGCONT);
        let mut turn = Turn { hand, ..Turn::default() };
        idle(&daemon);
        let said = daemon.log().lines().count();
        let before = STEPS.map(|step| step_seconds(&daemon, step));
        turn.total = alert(&daemon, &alerted, said);
        turn.steps = [0, 1, 2, 3].map(|step| step_seconds(&daemon, STEPS[step]) - before[step]);
        // The look in the background that follows would slow this one down.
        idle(&daemon);
        turn.look = look(&group, &alerted);
        turn.sync = sync();
        turns.push(turn);
        if number == TURNS {
            daemon.log().lines().skip(said).for_each(|line| println!("{line}"));
        }
    }
    // The first turn reads the programs from disk.
    turns.remove(0);
    assert!(daemon.stop().success());
    column(&turns)
}

/// Seconds.
#[derive(Default)]
struct Turn {
    hand: [f64; 3],
    total: f64,
    steps: [f64; 4],
    look: f64,
    sync: f64,
}

fn column(turns: &[Turn]) -> Column {
    let of = |value: &dyn Fn(&Turn) -> f64| median(turns.iter().map(value).collect());
    let ms = |value: &dyn Fn(&Turn) -> f64| format!("{:.0} ms", of(value) * 1000.0);
    let whole = |turn: &Turn| turn.hand.iter().sum::<f64>();
    let ratio = of(&|turn| turn.total / whole(turn));
    let rows = vec![
        ("by hand: `vgcfgbackup`", ms(&|turn| turn.hand[0])),
        ("by hand: `lvextend`", ms(&|turn| turn.hand[1])),
        ("by hand: `resize2fs`, `xfs_growfs`", ms(&|turn| turn.hand[2])),
        ("**by hand, together**", ms(&whole)),
        ("step `backup_metadata`", ms(&|turn| turn.steps[0])),
        ("step `extend_lv`", ms(&|turn| turn.steps[1])),
        ("step `check_filesystem`", ms(&|turn| turn.steps[2])),
        ("step `grow_filesystem`", ms(&|turn| turn.steps[3])),
        ("the rest: webhook, look, decision, journal", ms(&|turn| turn.total - turn.steps.iter().sum::<f64>())),
        ("of it the look's programs, run by hand: `lvm fullreport`, `blkid`", ms(&|turn| turn.look)),
        ("one write and fsync in the state directory", format!("{:.1} ms", of(&|turn| turn.sync) * 1000.0)),
        ("**from alert to grown**", ms(&|turn| turn.total)),
        ("**ratio, median of turns**", format!("{ratio:.2}")),
    ];
    Column { rows, ratio }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    (values[(values.len() - 1) / 2] + values[values.len() / 2]) / 2.0
}

fn timed(program: &str, arguments: &[&str]) -> f64 {
    let began = Instant::now();
    sh(program, arguments);
    began.elapsed().as_secs_f64()
}

fn hand(kind: &str, group: &Group, volume: &Volume) -> [f64; 3] {
    let backup = group.dir.join("by-hand.vg");
    let extents = (volume.extents() + 8).to_string();
    [
        timed("vgcfgbackup", &["-f", path(&backup), &group.name]),
        timed("lvextend", &["-l", &extents, &volume.name()]),
        match kind {
            "xfs" => timed("xfs_growfs", &["-d", path(&volume.mount_point)]),
            _ => timed("resize2fs", &[&volume.path()]),
        },
    ]
}

/// Waits until the daemon has run nothing for longer than it ever waits after a uevent, however slow the machine is:
/// its look at what was done by hand would otherwise run beside the operation that is measured.
fn idle(daemon: &Daemon) {
    let mut quiet = 0;
    while quiet < 20 {
        thread::sleep(Duration::from_millis(100));
        let tasks = fs::read_dir(format!("/proc/{}/task", daemon.id())).expect("it runs").flatten();
        let children = |task: fs::DirEntry| fs::read_to_string(task.path().join("children")).unwrap_or_default();
        let runs_something = tasks.map(children).any(|children| !children.trim().is_empty());
        quiet = if runs_something { 0 } else { quiet + 1 };
    }
}

fn signal(daemon: &Daemon, signal: Signal) {
    kill(Pid::from_raw(daemon.id() as i32), signal).expect("it runs");
}

/// From the first byte of the webhook to the last record of the journal.
/// `said` is how many lines its log has.
fn alert(daemon: &Daemon, volume: &Volume, said: usize) -> f64 {
    let payload = daemon::payload(&labels(volume));
    let began = Instant::now();
    assert_eq!(daemon.post(&payload).status, 202);
    daemon.wait_until_said(said, " grew from ");
    began.elapsed().as_secs_f64()
}

fn step_seconds(daemon: &Daemon, step: &str) -> f64 {
    daemon.metric("lvm_autoscaler_step_duration_seconds_sum", &[("step", step)])
}

fn look(group: &Group, volume: &Volume) -> f64 {
    let vg = group.name.parse().expect("a name");
    let mut arguments = report_arguments(Some(&vg), Columns::Needed);
    // The machine's lvm.conf is the distribution's, so the daemon leaves the settings out.
    let settings = arguments.iter().position(|argument| argument == "--config").expect("it has them");
    arguments.drain(settings..settings + 2);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    timed("lvm", &arguments) + timed("blkid", &["-p", "-o", "value", "-s", "TYPE", "--", &volume.path()])
}

/// What a record of the journal costs: a write in place, and its way to the disk.
fn sync() -> f64 {
    let file = Path::new(STATE).join("probe");
    if !file.exists() {
        fs::write(&file, vec![0; 65536]).and_then(|()| File::open(&file)?.sync_all()).expect("room");
    }
    let file = File::options().write(true).open(&file).expect("ours");
    let began = Instant::now();
    file.write_all_at(&[1; 2048], 0).and_then(|()| file.sync_data()).expect("room");
    began.elapsed().as_secs_f64()
}
