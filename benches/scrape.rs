//! What a scrape costs, beside what it costs to ask LVM for everything: `make bench`.
//!
//! `tests/bench/run.sh` prepares the device, the mounts and the programs to be run as `lvm`; this restores a volume
//! group of each size on the device, starts the daemon as an exporter and is its Prometheus. The result is
//! docs/performance.md.

#![expect(clippy::disallowed_methods, reason = "a benchmark starts programs and writes files")]
#![expect(clippy::print_stdout, reason = "it prints its result")]

use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use lvm_autoscaler::inventory::lvm::{Columns, report_arguments};

/// Logical volumes in the group.
const SIZES: [usize; 4] = [10, 100, 1000, 5000];
/// At these sizes one process is compared with two.
const PARTED: [usize; 2] = [100, 1000];
/// As many as run.sh mounts.
const MOUNTS: usize = 200;
/// The size at which the idle daemon is watched, and for how long.
const IDLE: (usize, Duration) = (100, Duration::from_secs(60));
/// Other work on the machine comes and goes; the median of several rounds is less moved by it than one long round.
const ROUNDS: usize = 5;
const PARTED_ROUNDS: usize = 15;
const SCRAPES_PER_ROUND: usize = 200;
/// CPU time is counted in hundredths of a second, so many scrapes are needed to see the cost of one.
const SCRAPES_FOR_CPU: usize = 1000;
const LOOKS: usize = 10;
/// What Prometheus 3 sends.
const ACCEPT: &str = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
    application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,\
    text/plain;version=0.0.4;q=0.3,*/*;q=0.2";

fn main() {
    let (Some(folder), Some(device)) = (std::env::var_os("BENCH_FOLDER"), std::env::var("BENCH_DEVICE").ok()) else {
        println!("SKIPPED: start it with `make bench`");
        return;
    };
    let bench = Bench { folder: folder.into(), device };
    bench.make_physical_volume();
    let rows: Vec<Row> = SIZES.into_iter().map(|size| bench.measure(size)).collect();
    let parted: Vec<Parted> = PARTED.into_iter().map(|size| bench.compare(size)).collect();
    let page = page(&rows, &parted, bench.idle(), &bench.lvm_version());
    println!("\n{page}");
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/performance.md");
    // The rest of the page is of tests/bench/storm.sh and tests/bench/overhead.sh.
    let old = fs::read_to_string(file).unwrap_or_default();
    let rest = old.find("\n## A storm").map_or("", |at| &old[at..]);
    fs::write(file, page + rest).expect("docs/performance.md is writable");
}

struct Bench {
    folder: PathBuf,
    device: String,
}

/// Everything measured at one size.
struct Row {
    volumes: usize,
    series: usize,
    plain_bytes: usize,
    gzip_bytes: usize,
    gzip: Latency,
    plain: Latency,
    /// The first scrape after a look: the LVM part of the page is new.
    first: Duration,
    scrape_cpu: Duration,
    /// The daemon's own part of a look, and that of the first scrape after it.
    look_own: Duration,
    look_lvm: Cost,
    resident: u64,
    everything: Cost,
    everything_bytes: usize,
}

/// A daemon as one process and as two, beside one another.
struct Parted {
    volumes: usize,
    one: Share,
    two: Share,
}

/// What a scrape takes, and who has how much memory.
struct Share {
    p50: Duration,
    cpu: Duration,
    resident: Vec<u64>,
}

struct Latency {
    p50: Duration,
    p99: Duration,
}

struct Cost {
    wall: Duration,
    cpu: Duration,
}

impl Bench {
    fn make_physical_volume(&self) {
        let arguments = ["pvcreate", "-qq", "-y", "-ff", "--norestorefile", "--metadatasize", "32m"];
        self.lvm(&[&arguments[..], &["--dataalignment", "64m", "--uuid", &uuid(0), "--", &self.device]].concat());
    }

    fn lvm(&self, arguments: &[&str]) -> Vec<u8> {
        let output = Command::new(self.folder.join("lvm")).args(arguments).output().expect("lvm starts");
        assert!(output.status.success(), "lvm {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    fn lvm_version(&self) -> String {
        let text = String::from_utf8_lossy(&self.lvm(&["version"])).into_owned();
        text.lines().find_map(|line| line.trim().strip_prefix("LVM version:")).unwrap_or("unknown").trim().to_owned()
    }

    /// Makes it a group of so many volumes.
    fn restore(&self, volumes: usize) {
        let file = self.folder.join("vg.txt");
        fs::write(&file, metadata(volumes, &self.device)).expect("the folder is writable");
        self.lvm(&["vgcfgrestore", "-qq", "-f", &file.display().to_string(), VG]);
    }

    fn measure(&self, volumes: usize) -> Row {
        println!("{volumes} logical volumes");
        self.restore(volumes);

        let runs = if volumes > 1000 { 7 } else { 21 };
        let everything = everything_arguments();
        let everything_bytes = self.lvm(&everything.iter().map(String::as_str).collect::<Vec<_>>()).len();
        let everything = self.cost(&everything, runs);
        let look_lvm = self.cost(&report_arguments(None, Columns::All), runs);

        let daemon = self.start("1h", false);
        let mut prometheus = daemon.connect();
        let page = prometheus.scrape(false).page;
        let gzip_bytes = prometheus.scrape(true).page.len();
        let gzip = prometheus.latency(true);
        let plain = prometheus.latency(false);
        let before = daemon.cpu().own;
        for _ in 0..SCRAPES_FOR_CPU {
            prometheus.scrape(true);
        }
        let scrape_cpu = (daemon.cpu().own - before) / SCRAPES_FOR_CPU as u32;
        drop(daemon);

        let daemon = self.start("1s", false);
        let mut prometheus = daemon.connect();
        self.after_looks(2);
        let before = daemon.cpu().own;
        let mut firsts: Vec<Duration> = (0..LOOKS)
            .map(|_| {
                self.after_looks(1);
                prometheus.scrape(true).took
            })
            .collect();
        let look_own = (daemon.cpu().own - before) / LOOKS as u32;
        firsts.sort_unstable();
        Row {
            volumes,
            series: String::from_utf8_lossy(&page).lines().filter(|line| !line.starts_with('#')).count(),
            plain_bytes: page.len(),
            gzip_bytes,
            gzip,
            plain,
            first: firsts[firsts.len() / 2],
            scrape_cpu,
            look_own,
            look_lvm,
            resident: daemon.resident().iter().sum(),
            everything,
            everything_bytes,
        }
    }

    /// Both at the same time, and in turns, so that what else goes on meets both.
    fn compare(&self, volumes: usize) -> Parted {
        println!("{volumes} logical volumes, as one process and as two");
        self.restore(volumes);
        let daemons = [false, true].map(|parted| self.start("1h", parted));
        // A connection on which nothing is asked is closed after 10 s.
        let mut connections = daemons.each_ref().map(|daemon| {
            let mut prometheus = daemon.connect();
            prometheus.scrape(true);
            prometheus
        });
        let mut p50s: [Vec<Duration>; 2] = Default::default();
        let before = daemons.each_ref().map(|daemon| daemon.cpu().own);
        for _ in 0..PARTED_ROUNDS {
            for (prometheus, p50s) in connections.iter_mut().zip(&mut p50s) {
                p50s.push(prometheus.round(true)[SCRAPES_PER_ROUND / 2]);
            }
        }
        let shares: Vec<Share> = daemons
            .iter()
            .zip(p50s)
            .zip(before)
            .map(|((daemon, mut p50s), before)| {
                p50s.sort_unstable();
                let cpu = (daemon.cpu().own - before) / (PARTED_ROUNDS * SCRAPES_PER_ROUND) as u32;
                Share { p50: p50s[PARTED_ROUNDS / 2], cpu, resident: daemon.resident() }
            })
            .collect();
        let [one, two] = <[Share; 2]>::try_from(shares).unwrap_or_else(|_| unreachable!("two daemons"));
        Parted { volumes, one, two }
    }

    /// The daemon's share of a core with everything as it comes, what it starts included.
    fn idle(&self) -> f64 {
        let (volumes, time) = IDLE;
        println!("idle with {volumes} logical volumes");
        self.restore(volumes);
        let daemon = self.start("15s", false);
        let before = daemon.cpu();
        sleep(time);
        let after = daemon.cpu();
        ((after.own - before.own) + (after.children - before.children)).as_secs_f64() / time.as_secs_f64()
    }

    /// Time and CPU of one run, its output thrown away.
    fn cost(&self, arguments: &[String], runs: usize) -> Cost {
        let before = cpu("self").children;
        let mut walls: Vec<Duration> = (0..runs)
            .map(|_| {
                let started = Instant::now();
                let mut lvm = Command::new(self.folder.join("lvm"));
                let status = lvm.args(arguments).stdout(Stdio::null()).status().expect("lvm starts");
                assert!(status.success());
                started.elapsed()
            })
            .collect();
        walls.sort_unstable();
        Cost { wall: walls[runs / 2], cpu: (cpu("self").children - before) / runs as u32 }
    }

    fn start(&self, interval: &str, parted: bool) -> Daemon {
        let config = self.folder.join("config.yaml");
        let lvm = self.folder.join("lvm-mounted");
        let text = format!("inventory: {{interval: {interval}, timeout: 60s}}\ntools: {{lvm: '{}'}}\n", lvm.display());
        fs::write(&config, text).expect("the folder is writable");
        let port = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port").port();
        let address = format!("127.0.0.1:{port}");
        let halves: &[&str] = if parted { &["engine", "web"] } else { &["serve"] };
        let start = |half: &&str| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_lvm-autoscaler"));
            // As the units set it.
            command.env("MALLOC_ARENA_MAX", "1").env("MALLOC_TRIM_THRESHOLD_", "2097152");
            command.env("MALLOC_MMAP_THRESHOLD_", "4194304").env("MALLOC_TOP_PAD_", "1048576");
            command.args([half, "--log.level=warn"]).arg(format!("--web.listen-address={address}"));
            command.arg(format!("--config.file={}", config.display()));
            if parted {
                command.arg(format!("--engine.socket={}", self.folder.join("engine.sock").display()));
            }
            command.spawn().expect("the daemon starts")
        };
        let daemon = Daemon { processes: halves.iter().map(start).collect(), address };
        let mut prometheus = daemon.connect();
        while !String::from_utf8_lossy(&prometheus.scrape(false).page).contains("\nlvm_up 1") {
            sleep(Duration::from_millis(50));
        }
        prometheus.scrape(true);
        daemon
    }

    /// Waits until the daemon has looked that many times more.
    fn after_looks(&self, count: usize) {
        let looks = || fs::metadata(self.folder.join("looks")).map_or(0, |meta| meta.len());
        let wanted = looks() + count as u64;
        while looks() < wanted {
            sleep(Duration::from_millis(5));
        }
        // LVM has answered then; the answer is still to be read.
        sleep(Duration::from_millis(400));
    }
}

struct Daemon {
    processes: Vec<Child>,
    address: String,
}

impl Daemon {
    fn connect(&self) -> Prometheus {
        let until = Instant::now() + Duration::from_secs(10);
        loop {
            match TcpStream::connect(&self.address) {
                Ok(stream) => return Prometheus(stream),
                Err(error) => assert!(Instant::now() < until, "{}: {error}", self.address),
            }
            sleep(Duration::from_millis(20));
        }
    }

    fn cpu(&self) -> Cpu {
        let of = |process: &Child| cpu(&process.id().to_string());
        let add = |a: Cpu, b: Cpu| Cpu { own: a.own + b.own, children: a.children + b.children };
        self.processes.iter().map(of).reduce(add).expect("a process")
    }

    /// Bytes in memory, of each process. Of a page that several processes have each counts its share, so that the pages
    /// of the program are counted once.
    fn resident(&self) -> Vec<u64> {
        let of = |process: &Child| {
            let rollup = fs::read_to_string(format!("/proc/{}/smaps_rollup", process.id())).expect("it runs");
            let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:")).expect("its memory");
            line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") << 10
        };
        self.processes.iter().map(of).collect()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        for process in &mut self.processes {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// A connection that is kept, as Prometheus keeps its own.
struct Prometheus(TcpStream);

struct Scrape {
    page: Vec<u8>,
    took: Duration,
}

impl Prometheus {
    fn scrape(&mut self, gzip: bool) -> Scrape {
        let encoding = if gzip { "gzip" } else { "identity" };
        let request = format!(
            "GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept: {ACCEPT}\r\nAccept-Encoding: {encoding}\r\n\r\n"
        );
        let started = Instant::now();
        self.0.write_all(request.as_bytes()).expect("the daemon reads");
        let mut answer = Vec::with_capacity(1 << 16);
        let mut chunk = vec![0; 1 << 18];
        let head = loop {
            let count = self.0.read(&mut chunk).expect("the daemon answers");
            assert!(count > 0, "the daemon closed the connection");
            answer.extend_from_slice(&chunk[..count]);
            if let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
        };
        let header = String::from_utf8_lossy(&answer[..head]).to_ascii_lowercase();
        assert!(header.starts_with("http/1.1 200"), "{header}");
        let length = header.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
        let length: usize = length.parse().expect("a number");
        while answer.len() < head + length {
            let count = self.0.read(&mut chunk).expect("the daemon answers");
            assert!(count > 0, "the daemon closed the connection");
            answer.extend_from_slice(&chunk[..count]);
        }
        let took = started.elapsed();
        Scrape { page: answer.split_off(head), took }
    }

    /// How long each of a round took, the fastest first.
    fn round(&mut self, gzip: bool) -> Vec<Duration> {
        let mut took: Vec<Duration> = (0..SCRAPES_PER_ROUND).map(|_| self.scrape(gzip).took).collect();
        took.sort_unstable();
        took
    }

    fn latency(&mut self, gzip: bool) -> Latency {
        let (mut p50s, mut p99s) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let took = self.round(gzip);
            p50s.push(took[took.len() / 2]);
            p99s.push(took[took.len() * 99 / 100]);
        }
        p50s.sort_unstable();
        p99s.sort_unstable();
        Latency { p50: p50s[ROUNDS / 2], p99: p99s[ROUNDS / 2] }
    }
}

struct Cpu {
    own: Duration,
    children: Duration,
}

/// What /proc/PID/stat counts; children are those that ended and were waited for.
fn cpu(pid: &str) -> Cpu {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or("").split(' ').collect();
    // Fields 14 to 17 of proc_pid_stat(5); the first after the name is the third.
    let ticks = |index: usize| fields[index - 3].parse::<u64>().expect("a number");
    let time = |ticks: u64| Duration::from_secs_f64(ticks as f64 / procfs::ticks_per_second() as f64);
    Cpu { own: time(ticks(14) + ticks(15)), children: time(ticks(16) + ticks(17)) }
}

/// What other exporters ask LVM for at each scrape.
fn everything_arguments() -> Vec<String> {
    let mut arguments: Vec<String> =
        ["fullreport", "--all", "--reportformat", "json", "--units", "b", "--nosuffix"].map(str::to_owned).to_vec();
    for report in ["vg", "lv", "pv", "seg", "pvseg"] {
        arguments.extend(["--configreport", report, "-o", &format!("{report}_all")].map(str::to_owned));
    }
    arguments
}

const VG: &str = "lvm_autoscaler_bench";

/// A volume group in LVM's text format: linear volumes of one extent each.
fn metadata(volumes: usize, device: &str) -> String {
    let mut text = format!(
        "contents = \"Text Format Volume Group\"\nversion = 1\ncreation_host = \"bench\"\ncreation_time = 1700000000\n\
         {VG} {{\nid = \"{}\"\nseqno = 1\nformat = \"lvm2\"\nstatus = [\"RESIZEABLE\", \"READ\", \"WRITE\"]\nflags = []\n\
         extent_size = 8192\nmax_lv = 0\nmax_pv = 0\nmetadata_copies = 0\nphysical_volumes {{\npv0 {{\nid = \"{}\"\n\
         device = \"{device}\"\nstatus = [\"ALLOCATABLE\"]\nflags = []\ndev_size = 134217728\npe_start = 131072\n\
         pe_count = 16367\n}}\n}}\nlogical_volumes {{\n",
        uuid(1),
        uuid(0),
    );
    for number in 1..=volumes {
        let _ = write!(
            text,
            "lv{number:05} {{\nid = \"{}\"\nstatus = [\"READ\", \"WRITE\", \"VISIBLE\"]\nflags = []\n\
             creation_time = 1700000000\ncreation_host = \"bench\"\nsegment_count = 1\nsegment1 {{\nstart_extent = 0\n\
             extent_count = 1\ntype = \"striped\"\nstripe_count = 1\nstripes = [\"pv0\", {}]\n}}\n}}\n",
            uuid(number + 1),
            number - 1,
        );
    }
    text + "}\n}\n"
}

/// In LVM's grouping.
fn uuid(number: usize) -> String {
    format!("bench0-0000-0000-0000-0000-0000-{number:06}")
}

fn page(rows: &[Row], parted: &[Parted], idle: f64, lvm: &str) -> String {
    let mut text = format!(
        "# Performance\n\n\
         What a scrape costs, measured by `make bench` ({date}), compared with one complete report of LVM,\n\
         which an exporter that runs LVM in each scrape pays for each time.\n\n\
         ## A scrape\n\n\
         As Prometheus asks: OpenMetrics, gzip, on a kept connection. `first` is the first scrape after a look in the\n\
         background; the others copy the part of the page that comes from LVM.\n\n\
         | LVs | mounts | series | page | gzip | p50 | p99 | first | p50 plain | p99 plain | CPU |\n\
         |--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n",
        date = jiff::Zoned::now().date(),
    );
    for row in rows {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            grouped(row.volumes),
            row.volumes.min(MOUNTS),
            grouped(row.series),
            size(row.plain_bytes),
            size(row.gzip_bytes),
            ms(row.gzip.p50),
            ms(row.gzip.p99),
            ms(row.first),
            ms(row.plain.p50),
            ms(row.plain.p99),
            ms(row.scrape_cpu),
        );
    }
    text += "\n## Compared with LVM's own report\n\n\
        `everything` is one `lvm fullreport --all` with all fields of all five reports. `look` is what the daemon does once\n\
        per `inventory.interval` instead: its own, smaller `lvm fullreport`, and parsing it. The daemon's own part\n\
        includes the first scrape after it. `ratio` is the CPU of `everything` by that of a scrape.\n\n\
        | LVs | everything | its CPU | its output | ratio | look: lvm | its CPU | look: own CPU | resident |\n\
        |--:|--:|--:|--:|--:|--:|--:|--:|--:|\n";
    for row in rows {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {:.0} | {} | {} | {} | {:.1} MiB |",
            grouped(row.volumes),
            ms(row.everything.wall),
            ms(row.everything.cpu),
            size(row.everything_bytes),
            row.everything.cpu.as_secs_f64() / row.scrape_cpu.as_secs_f64(),
            ms(row.look_lvm.wall),
            ms(row.look_lvm.cpu),
            ms(row.look_own),
            row.resident as f64 / f64::from(1 << 20),
        );
    }
    text += "\n## As two processes\n\n\
        The packages run [two](security.md#two-processes), of which the web process answers scrapes and asks the engine for the\n\
        usage of file systems. Both daemons at the same time, in turns; CPU and memory are those of both processes together.\n\n\
        | LVs | p50 of one | of two | ratio | CPU of one | of two | ratio | memory of one | of engine + web |\n\
        |--:|--:|--:|--:|--:|--:|--:|--:|--:|\n";
    let mib = |bytes: &u64| format!("{:.1}", *bytes as f64 / f64::from(1 << 20));
    for Parted { volumes, one, two } in parted {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {:.2} | {} | {} | {:.2} | {} MiB | {} MiB |",
            grouped(*volumes),
            ms(one.p50),
            ms(two.p50),
            two.p50.as_secs_f64() / one.p50.as_secs_f64(),
            ms(one.cpu),
            ms(two.cpu),
            two.cpu.as_secs_f64() / one.cpu.as_secs_f64(),
            one.resident.iter().map(mib).collect::<Vec<_>>().join(" + "),
            two.resident.iter().map(mib).collect::<Vec<_>>().join(" + "),
        );
    }
    let (volumes, time) = IDLE;
    let _ = write!(
        text,
        "\nIdle with {volumes} LVs and as many mounts, the default interval, nobody scraping, LVM's part included: {:.2} % of\n\
         a core, over {} s.\n\n\
         The ratio counts the scrape alone. The look comes on top, once per interval, however many Prometheus servers scrape. If one\n\
         scrapes once per look, both together cost about as much CPU as `everything`, but no scrape waits for it.\n\n\
         ## How it was measured\n\n\
         - {machine}; LVM {lvm}.\n\
         - The volume group is real metadata on a loop device over a sparse file, not active, as there is no device mapper\n\
         \x20 without a virtual machine. On a host with active volumes `lvm` also asks the kernel about each, and takes longer;\n\
         \x20 a scrape does not.\n\
         - A program between daemon and LVM reports the volumes as active. The mounts are small tmpfs whose device\n\
         \x20 numbers it gives the first {MOUNTS}, so the daemon calls `statvfs` for each at each scrape.\n\
         \x20 That program's time is in the idle share, and in no other number.\n\
         - Latency: {ROUNDS} rounds of {SCRAPES_PER_ROUND} scrapes, the median of the rounds' percentiles. CPU: from\n\
         \x20 /proc/PID/stat over {SCRAPES_FOR_CPU} scrapes. `everything` and `lvm`: the median of at least 7 runs, CPU the\n\
         \x20 mean. `resident` and memory: PSS after a dozen looks and\n\
         \x20 scrapes, with the environment that the units set.\n\
         - The machine was not reserved: load average {load}. Times move by tens of percent between runs,\n\
         \x20 and p99 by more; the ratios move less.\n\
         - To repeat: `make bench`, as root on a Debian with a Rust toolchain. It writes this file.\n",
        idle * 100.0,
        time.as_secs(),
        machine = machine(),
        load = fs::read_to_string("/proc/loadavg").unwrap_or_default().split(' ').take(3).collect::<Vec<_>>().join(" "),
    );
    text
}

/// The machine in general terms.
fn machine() -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| cpu.lines().find(|line| line.starts_with(name)).and_then(|line| line.split(": ").nth(1));
    let cores = cpu.lines().filter(|line| line.starts_with("processor")).count();
    let model = field("model name").unwrap_or("unknown");
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let version: String = kernel.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
    let kind = match field("flags") {
        _ if model.contains("QEMU") => "a virtual machine, possibly emulated",
        Some(flags) if flags.split(' ').any(|flag| flag == "hypervisor") => {
            "a virtual machine on this CPU, not emulated"
        }
        _ => "no virtual machine",
    };
    format!("{cores} cores of {model}, {kind}; Linux {version}; {}", std::env::consts::ARCH)
}

fn ms(time: Duration) -> String {
    let ms = time.as_secs_f64() * 1000.0;
    if ms < 10.0 { format!("{ms:.2} ms") } else { format!("{ms:.0} ms") }
}

fn size(bytes: usize) -> String {
    if bytes < 1_000_000 { format!("{} kB", bytes.div_ceil(1000)) } else { format!("{:.1} MB", bytes as f64 / 1e6) }
}

fn grouped(number: usize) -> String {
    if number < 1000 { number.to_string() } else { format!("{},{:03}", number / 1000, number % 1000) }
}
