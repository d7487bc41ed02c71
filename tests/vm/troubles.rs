//! Troubles made on real LVM, and what people get of them: a real Prometheus with the shipped rules, a real
//! Alertmanager with the shipped config, and a receiver that stands for the people. The ten gravest are here, the
//! others in `troubles_more`.
//!
//! Of each trouble is asserted: the alert that people get, that it is the only one, what it says, that the commands of
//! its runbook mend the trouble, and that it then resolves. Each prints its row of the table in docs/alerts.md.
//!
//! Time is [`FASTER`]: every duration in the shipped rules and configs is divided, the range selectors and offsets in
//! their expressions too, and there the numbers that are seconds (see [`faster_expr`]). Not divided is what the daemon
//! does by its own clock: its deadlines, and the time that LVM takes in an emulated machine. So the minutes printed are
//! upper bounds.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::sys::statvfs::statvfs;
use regex::{Captures, Regex};
use serde_yaml::Value;

use crate::daemon::{Daemon, config, labels, program, script};
use crate::http;
use crate::part;
use crate::storage::{Group, LocalConf, Volume, path, sh, try_sh};

// Time

/// The longest `for` of what people must see soon, 5 minutes, is 10 seconds so.
pub(crate) const FASTER: u64 = 30;

/// Of scrapes and evaluations. 15 s / 30 would be half a second, which a scrape may need when a file system does not
/// answer: the daemon's deadlines are not divided. So rules see half as many samples as usual.
const INTERVAL: &str = "1s";

/// So many minutes.
pub(crate) fn minutes(real: f64) -> Duration {
    Duration::from_secs_f64(real * 60.0 / FASTER as f64)
}

fn in_minutes(scaled: Duration) -> f64 {
    scaled.as_secs_f64() * FASTER as f64 / 60.0
}

fn shorter(number: &str, unit: &str) -> String {
    let number: u64 = number.parse().expect("a number");
    let milliseconds = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => panic!("{unit} is no unit"),
    };
    format!("{}ms", (number * milliseconds / FASTER).max(1))
}

/// Keys of rules and configs whose values are durations.
const DURATIONS: [&str; 7] = [
    "for",
    "keep_firing_for",
    "group_wait",
    "group_interval",
    "repeat_interval",
    "scrape_interval",
    "evaluation_interval",
];

/// A shipped file with every duration divided; YAML as it is shipped, so nothing else is touched.
fn faster(value: &mut Value) {
    match value {
        Value::Mapping(entries) => {
            for (key, value) in entries.iter_mut() {
                let key = key.as_str().unwrap_or_default();
                match value.as_str() {
                    Some(text) if DURATIONS.contains(&key) => {
                        let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).expect("a unit"));
                        *value = shorter(number, unit).into();
                    }
                    Some(text) if key == "expr" => *value = faster_expr(text).into(),
                    _ => faster(value),
                }
            }
        }
        Value::Sequence(items) => items.iter_mut().for_each(faster),
        _ => (),
    }
}

/// The numbers that are seconds: 3600, the hours of the forecast, and what the age of the inventory is compared with.
fn faster_expr(expr: &str) -> String {
    let regex = |text| Regex::new(text).expect("an expression");
    let durations = regex(r"(\[|\boffset )(\d+)(ms|[smhd])\b");
    let expr =
        durations.replace_all(expr, |found: &Captures<'_>| format!("{}{}", &found[1], shorter(&found[2], &found[3])));
    let expr = regex(r"\b3600\b").replace_all(&expr, (3600 / FASTER).to_string());
    let age = regex(r"(lvm_inventory_(?:age|timestamp)_seconds(?:\[\w+\])?\)?\s*>\s*)(\d+)");
    let divided = |found: &Captures<'_>| {
        format!("{}{}", &found[1], found[2].parse::<u64>().expect("a number") as f64 / FASTER as f64)
    };
    age.replace_all(&expr, divided).into_owned()
}

#[test]
fn every_duration_and_every_number_of_seconds_is_divided() {
    let mut rule: Value = serde_yaml::from_str(
        "{ for: 5m, keep_firing_for: 30s, expr: 'deriv(a[1h]) * 3600 > 0.01 and b offset 15m and max_over_time(c[1d])' }",
    )
    .expect("YAML");
    faster(&mut rule);
    assert_eq!(rule["for"], Value::from("10000ms"));
    assert_eq!(rule["keep_firing_for"], Value::from("1000ms"));
    assert_eq!(
        rule["expr"],
        Value::from("deriv(a[120000ms]) * 120 > 0.01 and b offset 30000ms and max_over_time(c[2880000ms])")
    );
    for (of, becomes) in [
        (
            "time() - lvm_inventory_timestamp_seconds > 300 or lvm_up == 0",
            "time() - lvm_inventory_timestamp_seconds > 10 or lvm_up == 0",
        ),
        ("lvm_inventory_age_seconds > 300", "lvm_inventory_age_seconds > 10"),
        (
            "last_over_time(lvm_inventory_age_seconds[2m]) > 300",
            "last_over_time(lvm_inventory_age_seconds[4000ms]) > 10",
        ),
    ] {
        assert_eq!(faster_expr(of), becomes);
    }
}

// People

/// One alert of one message to people.
#[derive(Clone, Debug)]
struct Told {
    at: Instant,
    firing: bool,
    labels: BTreeMap<String, String>,
    summary: String,
    description: String,
}

impl Told {
    fn alert(&self) -> &str {
        &self.labels["alertname"]
    }
}

/// A receiver of Alertmanager's that writes down what it gets.
#[derive(Default)]
struct People(Mutex<Vec<Told>>);

impl People {
    /// They listen for as long as the test program runs.
    fn listen() -> (Arc<People>, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        let people = Arc::<People>::default();
        let listening = Arc::clone(&people);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                // One message after the other; Alertmanager keeps connections, so each has a thread.
                let people = Arc::clone(&listening);
                std::thread::spawn(move || while people.take(&stream).is_some() {});
            }
        });
        (people, address)
    }

    /// One request of a connection; `None` when that ends.
    fn take(&self, stream: &TcpStream) -> Option<()> {
        let mut reader = BufReader::new(stream);
        let mut length = 0;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            if line.trim().is_empty() {
                break;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().ok()?;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let message: serde_json::Value = serde_json::from_slice(&body).ok()?;
        let at = Instant::now();
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        let told = message["alerts"].as_array()?.iter().map(|alert| Told {
            at,
            firing: alert["status"] == "firing",
            labels: alert["labels"].as_object().into_iter().flatten().map(|(k, v)| (k.clone(), text(v))).collect(),
            summary: text(&alert["annotations"]["summary"]),
            description: text(&alert["annotations"]["description"]),
        });
        self.0.lock().expect("no panic").extend(told);
        let mut writer = stream;
        writer.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").ok()
    }

    /// The first message of each alert; an alert is what its labels are.
    fn pages(&self) -> Vec<Told> {
        let mut seen = BTreeSet::new();
        let told = self.0.lock().expect("no panic").clone();
        told.into_iter().filter(|told| told.firing && seen.insert(told.labels.clone())).collect()
    }

    /// When people got to know that it is over; `None` while it fires for all that they know.
    fn resolved(&self, page: &Told) -> Option<Instant> {
        let told = self.0.lock().expect("no panic");
        told.iter().rfind(|told| told.labels == page.labels).filter(|last| !last.firing).map(|last| last.at)
    }
}

// The stand

/// A program that ends with this.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The daemon, Prometheus, Alertmanager, and the people at the end.
pub(crate) struct Stand<'a> {
    group: &'a Group,
    pub(crate) daemon: Daemon,
    people: Arc<People>,
    prometheus: SocketAddr,
    _programs: [Program; 2],
}

/// What people got of a trouble.
pub(crate) struct Pages {
    trouble: String,
    pages: Vec<Told>,
    after: Vec<Duration>,
}

impl Pages {
    /// All that one of them says.
    pub(crate) fn text(&self, number: usize) -> String {
        format!("{} {}", self.pages[number].summary, self.pages[number].description)
    }
}

/// As the shipped labels are, see [`labels`].
const INSTANCE: &str = "vm:19845";

fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port")
}

/// A file of the repository, put beside the test program by tests/vm/build.sh.
fn shipped(name: &str) -> String {
    let file = program().with_file_name("shipped").join(name);
    fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

fn shipped_faster(name: &str) -> Value {
    let mut value: Value = serde_yaml::from_str(&shipped(name)).expect("YAML");
    faster(&mut value);
    value
}

fn write_yaml(group: &Group, name: &str, value: &Value) -> String {
    let file = group.dir.join(name);
    fs::write(&file, serde_yaml::to_string(value).expect("YAML")).expect("a file");
    path(&file).to_owned()
}

fn yaml(text: &str) -> Value {
    serde_yaml::from_str(text).expect("YAML")
}

/// 15 seconds, divided by [`FASTER`], are less than LVM takes here.
pub(crate) const OFTEN: &str = "inventory: { interval: 2s, timeout: 15s }";

impl Stand<'_> {
    /// With these targets; `more` is put before them in the config.
    pub(crate) fn start<'a>(group: &'a Group, targets: &[&Volume], more: &str) -> Stand<'a> {
        Stand::with(group, &config(group, targets, &format!("{OFTEN}\n{more}")), |daemon| daemon)
    }

    /// With a config of its own, and something between the daemon and Prometheus.
    pub(crate) fn with<'a>(group: &'a Group, config: &str, scraped: impl Fn(SocketAddr) -> SocketAddr) -> Stand<'a> {
        let listen = free_port();
        let daemon = start_daemon(group, config, listen);
        let (people, receiver) = People::listen();
        let (alertmanager, prometheus) = (free_port(), free_port());
        let programs = [
            start_alertmanager(group, alertmanager, receiver, listen),
            start_prometheus(group, prometheus, alertmanager, scraped(listen)),
        ];
        let stand = Stand { group, daemon, people, prometheus, _programs: programs };
        stand.wait("Alertmanager", || {
            http::get(alertmanager, "/-/ready").is_ok_and(|answer| answer.status == 200).then_some(())
        });
        stand.wait("a first scrape", || (!stand.query("lvm_up == 1").is_empty()).then_some(()));
        // Rules that compare with what was before need something before.
        std::thread::sleep(Duration::from_secs(3));
        assert!(stand.people.pages().is_empty(), "a sound host: {}", stand.state());
        stand
    }

    /// Ends the daemon, as `systemctl restart` does, and starts it again.
    pub(crate) fn restart(&mut self) {
        let config = fs::read_to_string(self.group.dir.join("config.yaml")).expect("a config");
        let listen = self.daemon.address;
        self.daemon.terminate();
        let deadline = Instant::now() + Duration::from_secs(30);
        while self.daemon.ended().is_none() {
            assert!(Instant::now() < deadline, "the daemon does not end");
            std::thread::sleep(Duration::from_millis(50));
        }
        self.daemon = start_daemon(self.group, &config, listen);
    }

    /// Another config, which is in force afterwards.
    pub(crate) fn reload(&self, targets: &[&Volume], more: &str) {
        let text = config(self.group, targets, &format!("{OFTEN}\n{more}"));
        fs::write(self.group.dir.join("config.yaml"), text).expect("a config file");
        run_by_hand(self.group, "lvm-autoscaler reload");
    }

    fn query(&self, expr: &str) -> Vec<serde_json::Value> {
        let encoded: String = expr.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let answer = http::get(self.prometheus, &format!("/api/v1/query?query={encoded}")).ok();
        let answer = answer.and_then(|answer| serde_json::from_str::<serde_json::Value>(&answer.body).ok());
        answer.and_then(|answer| answer["data"]["result"].as_array().cloned()).unwrap_or_default()
    }

    fn wait<T>(&self, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        let deadline = Instant::now() + Duration::from_secs(180);
        loop {
            if let Some(found) = look() {
                return found;
            }
            assert!(Instant::now() < deadline, "waited in vain for {what}; {}", self.state());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// For a person who looks for the cause of a failure.
    fn state(&self) -> String {
        let mut text = "people got:\n".to_owned();
        for told in self.people.0.lock().expect("no panic").iter() {
            let resolved = if told.firing { "" } else { "resolved: " };
            text += &format!("  {resolved}{}: {}\n    {}\n", told.alert(), told.summary, told.description);
        }
        text += "alerts in Prometheus:\n";
        for alert in self.query("ALERTS") {
            text += &format!("  {}\n", alert["metric"]);
        }
        text += "metrics that are not as usual:\n";
        let about = format!(r#"vg=~".*{}.*""#, self.group.name);
        for expr in [
            "lvm_up".to_owned(),
            format!("lvm_filesystem:usage:ratio{{{about}}}"),
            format!(
                r#"{{__name__=~"lvm_filesystem_(device_error|readonly|errors)|lvm_lv_(suspended|snapshot_invalid|check_needed|raid_mismatch_count|health_problem|data_percent|metadata_percent)|lvm_autoscaler_target_.*|lvm_pv_missing", {about}}} != 0"#
            ),
            format!("lvm_lv_healthy{{{about}}} == 0"),
            "lvm_autoscaler_refusals_total".to_owned(),
        ] {
            for series in self.query(&expr) {
                text += &format!("  {} {}\n", series["metric"], series["value"][1]);
            }
        }
        text
    }

    /// Makes a trouble and waits for what people get: these alerts, each with these words in it, and nothing else.
    pub(crate) fn page(&self, trouble: &str, expected: &[(&str, &[&str])], make: impl FnOnce()) -> Pages {
        let before = self.people.pages().len();
        make();
        let made = Instant::now();
        let new = || self.people.pages().split_off(before);
        let names = |pages: &[Told]| pages.iter().map(|page| page.alert().to_owned()).collect::<Vec<_>>();
        self.wait(&format!("what people get of: {trouble}"), || {
            let got = names(&new());
            expected.iter().all(|(alert, _)| got.iter().any(|name| name == alert)).then_some(())
        });
        // Others come later, if at all: longer than the longest `for` of those that say that something is wrong now.
        std::thread::sleep(minutes(6.0));
        let pages = new();
        let (mut got, mut wanted) =
            (names(&pages), expected.iter().map(|(name, _)| (*name).to_owned()).collect::<Vec<_>>());
        got.sort();
        wanted.sort();
        assert_eq!(got, wanted, "{trouble}: what people got; {}", self.state());
        for page in &pages {
            let (_, words) = expected.iter().find(|(alert, _)| *alert == page.alert()).expect("expected");
            let text = format!("{} {}", page.summary, page.description);
            for word in *words {
                assert!(
                    text.to_lowercase().contains(&word.to_lowercase()),
                    "{trouble}: not a word of {word:?} in: {text}"
                );
            }
            part::say(&format!("  {trouble}: {}: {text}", page.alert()));
        }
        let after = pages.iter().map(|page| page.at.saturating_duration_since(made)).collect();
        Pages { trouble: trouble.to_owned(), pages, after }
    }

    /// Waits until people got to know that all of it is over, and prints the rows of the table.
    pub(crate) fn resolved(&self, pages: &Pages) {
        let mended = Instant::now();
        for (page, after) in pages.pages.iter().zip(&pages.after) {
            let over = self.wait(&format!("{} to resolve", page.alert()), || self.people.resolved(page));
            part::say(&format!(
                "| {} | {}, {} | {:.1} min | {:.1} min | {} |",
                pages.trouble,
                page.alert(),
                page.labels["severity"],
                in_minutes(*after),
                in_minutes(over.saturating_duration_since(mended)),
                page.summary,
            ));
        }
    }

    /// For so long people get nothing.
    pub(crate) fn silent(&self, trouble: &str, for_minutes: f64) {
        let before = self.people.pages().len();
        std::thread::sleep(minutes(for_minutes));
        assert_eq!(self.people.pages().len(), before, "{trouble}: nobody must hear of it; {}", self.state());
        part::say(&format!("| {trouble} | none | | | |"));
    }

    /// Nobody ever got anything.
    pub(crate) fn assert_nobody_was_told(&self) {
        assert!(self.people.pages().is_empty(), "{}", self.state());
    }
}

fn start_daemon(group: &Group, config: &str, listen: SocketAddr) -> Daemon {
    let file = group.dir.join("config.yaml");
    fs::write(&file, config).expect("a config file");
    let mut command = Command::new(program());
    command.arg("serve").arg(format!("--config.file={}", path(&file))).arg(format!("--web.listen-address={listen}"));
    Daemon::run(command, group.dir.join("state"))
}

fn start_program(group: &Group, name: &str, arguments: &[String]) -> Program {
    let log = fs::File::create(group.dir.join(format!("{name}.log"))).expect("a file");
    let child = Command::new(name).args(arguments).stdout(Stdio::null()).stderr(log).spawn();
    Program(child.unwrap_or_else(|error| panic!("{name}: {error}")))
}

fn start_alertmanager(group: &Group, listen: SocketAddr, people: SocketAddr, daemon: SocketAddr) -> Program {
    let mut config = shipped_faster("configs/alertmanager.yml");
    for receiver in config["receivers"].as_sequence_mut().expect("receivers") {
        match receiver["name"].as_str() {
            Some("people") => receiver["webhook_configs"] = yaml(&format!("[{{ url: 'http://{people}/' }}]")),
            Some("lvm-autoscaler") => {
                receiver["webhook_configs"][0]["url"] = format!("http://{daemon}/webhook/alertmanager").into();
            }
            _ => (),
        }
    }
    let file = write_yaml(group, "alertmanager.yml", &config);
    let arguments = [
        format!("--config.file={file}"),
        format!("--web.listen-address={listen}"),
        "--cluster.listen-address=".to_owned(),
        format!("--storage.path={}", path(&group.dir.join("alertmanager"))),
    ];
    start_program(group, "alertmanager", &arguments)
}

fn start_prometheus(group: &Group, listen: SocketAddr, alertmanager: SocketAddr, scraped: SocketAddr) -> Program {
    let mut config = shipped_faster("configs/prometheus.yml");
    let files: Vec<String> = config["rule_files"]
        .as_sequence()
        .expect("files")
        .iter()
        .map(|file| {
            let name = file.as_str().expect("a name").trim_start_matches("../");
            write_yaml(group, &name.replace('/', "-"), &shipped_faster(name))
        })
        .collect();
    config["rule_files"] = serde_yaml::to_value(files).expect("YAML");
    config["global"]["scrape_interval"] = INTERVAL.into();
    config["global"]["evaluation_interval"] = INTERVAL.into();
    config["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"] = yaml(&format!("['{alertmanager}']"));
    config["scrape_configs"][0]["static_configs"] =
        yaml(&format!("[{{ targets: ['{scraped}'], labels: {{ instance: '{INSTANCE}' }} }}]"));
    let file = write_yaml(group, "prometheus.yml", &config);
    let arguments = [
        format!("--config.file={file}"),
        format!("--web.listen-address={listen}"),
        format!("--storage.tsdb.path={}", path(&group.dir.join("tsdb"))),
        // By default an alert that fires is sent again once a minute.
        "--rules.alert.resend-delay=1s".to_owned(),
    ];
    start_program(group, "prometheus", &arguments)
}

// Runbooks

/// The names that stand for a volume in the runbooks.
pub(crate) fn names(volume: &Volume) -> Vec<(&str, &str)> {
    vec![("MOUNTPOINT", path(&volume.mount_point)), ("POOL", &volume.lv), ("VG", &volume.vg), ("LV", &volume.lv)]
}

/// Does what a runbook says: of the commands under "What to do", those that begin with these words, in this order.
pub(crate) fn follow(group: &Group, alert: &str, wanted: &[&str], names: &[(&str, &str)]) -> String {
    let page = shipped(&format!("runbooks/{alert}.md"));
    let part = page.split("\n## What to do\n").nth(1).and_then(|rest| rest.split("\n## ").next()).expect("What to do");
    let blocks = part.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    let commands: Vec<&str> =
        blocks.flat_map(str::lines).map(|line| line.split(" # ").next().unwrap_or(line).trim()).collect();
    // As on a host whose file systems are mounted at boot; the guest is thrown away.
    let named = |wanted: &str| names.iter().find(|(name, _)| *name == wanted).map(|(_, is)| *is);
    if let (Some(vg), Some(lv), Some(place)) = (named("VG"), named("LV"), named("MOUNTPOINT")) {
        let mut fstab = fs::File::options().append(true).create(true).open("/etc/fstab").expect("a file");
        writeln!(fstab, "/dev/{vg}/{lv} {place} auto noauto 0 0").expect("root may");
    }
    let word = Regex::new(r"[A-Z]{2,}").expect("an expression");
    let mut said = String::new();
    for begins in wanted {
        let command = commands.iter().find(|command| command.starts_with(begins));
        let command = command.unwrap_or_else(|| panic!("the runbook of {alert} has no {begins:?}, but {commands:?}"));
        let command = word.replace_all(command, |found: &Captures<'_>| {
            named(&found[0]).map_or_else(|| found[0].to_owned(), str::to_owned)
        });
        said.push_str(&run_by_hand(group, &command));
    }
    said
}

/// As a person would type it at a terminal, with a yes to every question. What was printed.
pub(crate) fn run_by_hand(group: &Group, command: &str) -> String {
    part::say(&format!("  $ {command}"));
    let ours = command
        .strip_prefix("lvm-autoscaler")
        .map(|rest| format!("{}{rest} --config.file={}", path(&program()), path(&group.dir.join("config.yaml"))));
    let command = ours.as_deref().unwrap_or(command);
    // A few, for script keeps in memory what a command that asks nothing does not read.
    let answered = format!("yes | head -n 20 | script -qec '{command}' /dev/null");
    let (ok, out, err) = try_sh("sh", &["-c", &answered]);
    // e2fsck's 1: it mended something.
    let mended =
        command.starts_with("e2fsck") && !try_sh("sh", &["-c", &format!("{command} -n")]).1.contains("UNEXPECTED");
    // As the runbook says: LVM marks a disk as missing with the first change of the group, and may not have made one.
    let not_marked = command.starts_with("vgextend --restoremissing") && out.contains("was not missing");
    let said: Vec<&str> = out.lines().filter(|line| line.trim() != "y").collect();
    let said = said.join("\n");
    assert!(ok || mended || not_marked, "{command}: {said}{err}");
    said
}

// What troubles are made of

/// Makes empty files until so many percent of the inodes are used.
pub(crate) fn use_inodes(volume: &Volume, percent: u64) {
    let folder = volume.mount_point.join("many");
    fs::create_dir_all(&folder).expect("a folder");
    for number in 0.. {
        let vfs = statvfs(&volume.mount_point).expect("statvfs");
        if (vfs.files() - vfs.files_free()) * 100 >= percent * vfs.files() {
            return;
        }
        fs::write(folder.join(number.to_string()), "").expect("an inode");
    }
}

/// The kernel finds an error in an ext.
pub(crate) fn ext_error(volume: &Volume) {
    let device = fs::canonicalize(volume.path()).expect("a device");
    let name = device.file_name().and_then(|name| name.to_str()).expect("a name");
    fs::write(format!("/sys/fs/ext4/{name}/trigger_fs_error"), "a test").expect("the kernel has it");
}

/// A `resize2fs` that waits for as long as the file `stay` is there.
fn waiting_resize2fs(group: &Group) -> String {
    let (stay, here) = (group.dir.join("stay"), group.dir.join("here"));
    let text = format!(
        "[ -e {stay} ] && touch {here}\nwhile [ -e {stay} ]; do sleep 0.2; done\nexec /sbin/resize2fs \"$@\"\n",
        stay = path(&stay),
        here = path(&here)
    );
    fs::write(&stay, "").expect("a file");
    script(&group.dir, "resize2fs", &text)
}

/// `window:` with an hour in it that is not now.
fn another_hour() -> String {
    let now = jiff::Zoned::now().hour();
    format!("window: {{ from: \"{:02}:00\", to: \"{:02}:00\" }}", (now + 3) % 24, (now + 4) % 24)
}

/// A PV on a device of device-mapper over the loop device, so that it can fail or hang while that does not. LVM sees
/// only the upper one.
pub(crate) struct Under {
    pub(crate) name: String,
    sectors: u64,
    disk: String,
    _hidden: LocalConf,
}

impl Under {
    /// Over the disk `number` of a group without a VG.
    pub(crate) fn over(group: &Group, number: usize) -> Under {
        let disk = group.loops[number].clone();
        let _hidden = LocalConf::with(&format!("devices {{ filter = [ \"r|^{disk}$|\" ] }}"));
        let sectors = sh("blockdev", &["--getsz", &disk]).parse().expect("a number");
        let under = Under { name: format!("under_{}", group.name), sectors, disk, _hidden };
        sh("dmsetup", &["create", &under.name, "--table", &format!("0 {sectors} linear {} 0", under.disk)]);
        under
    }

    pub(crate) fn path(&self) -> String {
        format!("/dev/mapper/{}", self.name)
    }

    /// Behind LVM's own metadata it takes and gives nothing any more.
    pub(crate) fn fail(&self) {
        let [sound, sectors] = [2048, self.sectors];
        self.set(&format!("0 {sound} linear {} 0\n{sound} {} error\n", self.disk, sectors - sound));
    }

    /// Nothing of it can be read, so LVM does not find it.
    pub(crate) fn lose(&self) {
        self.set(&format!("0 {} error\n", self.sectors));
    }

    pub(crate) fn heal(&self) {
        self.set(&format!("0 {} linear {} 0\n", self.sectors, self.disk));
    }

    fn set(&self, table: &str) {
        sh("dmsetup", &["suspend", "--nolockfs", &self.name]);
        sh("sh", &["-c", &format!("printf '{table}' | dmsetup reload {}", self.name)]);
        sh("dmsetup", &["resume", &self.name]);
    }
}

impl Drop for Under {
    fn drop(&mut self) {
        try_sh("dmsetup", &["resume", &self.name]);
        let volumes = try_sh("dmsetup", &["ls"]).1;
        let group = format!("{}-", self.name.trim_start_matches("under_"));
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        for line in mounts.lines().filter(|line| line.starts_with(&format!("/dev/mapper/{group}"))) {
            try_sh("umount", &["-l", line.split(' ').nth(1).unwrap_or_default()]);
        }
        for name in
            volumes.lines().filter_map(|line| line.split_whitespace().next()).filter(|name| name.starts_with(&group))
        {
            try_sh("dmsetup", &["remove", "--force", "--retry", name]);
        }
        try_sh("dmsetup", &["remove", "--force", "--retry", &self.name]);
    }
}

// The ten gravest

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn an_xfs_that_was_shut_down() {
    let group = Group::new("vmt_tr_xfs", &["1G"]);
    let volume = group.filesystem("xfs", "data", "320M");
    let stand = Stand::start(&group, &[], "");
    let page = stand.page("XFS shut down", &[("LvmFileSystemNotAnswering", &["vmt_tr_xfs/data"])], || {
        sh("xfs_io", &["-x", "-c", "shutdown", path(&volume.mount_point)]);
    });
    follow(&group, "LvmFileSystemNotAnswering", &["umount", "mount"], &names(&volume));
    stand.resolved(&page);
}

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn an_ext4_without_inodes() {
    let group = Group::new("vmt_tr_inodes", &["1G"]);
    let volume = group.lv("data", "64M");
    sh("mke2fs", &["-q", "-t", "ext4", "-N", "512", &volume.path()]);
    group.mount(&volume, &[]);
    let stand = Stand::start(&group, &[], "");
    let page = stand.page("inodes used up, no target", &[("LvmFileSystemInodesNearlyFull", &["inodes", "98"])], || {
        use_inodes(&volume, 98);
    });
    fs::remove_dir_all(volume.mount_point.join("many")).expect("they are there");
    stand.resolved(&page);
}

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn nearly_full_while_the_window_is_closed() {
    let group = Group::new("vmt_tr_window", &["1G"]);
    let volume = group.filesystem("ext4", "data", "64M");
    let stand = Stand::start(&group, &[&volume], &format!("defaults: {{ {} }}", another_hour()));
    let page =
        stand.page("nearly full, window closed", &[("LvmFileSystemNearlyFull", &["93", "full"])], || volume.fill(93.0));
    // What `plan` says: wait, or change the window.
    stand.reload(&[&volume], "");
    stand.resolved(&page);
}

/// `operation_in_progress` holds nothing back over 97 %.
#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn a_growth_that_hangs_until_the_file_system_is_full() {
    let group = Group::new("vmt_tr_hang", &["1G"]);
    let volume = group.filesystem("ext4", "data", "64M");
    let tool = waiting_resize2fs(&group);
    let stand = Stand::start(&group, &[&volume], &format!("tools: {{ resize2fs: {tool} }}"));
    let page = stand.page("full while its growth hangs", &[("LvmFileSystemNearlyFull", &["full"])], || {
        volume.fill(85.0);
        stand.wait("the growth", || group.dir.join("here").exists().then_some(()));
        volume.fill(99.5);
    });
    fs::remove_file(group.dir.join("stay")).expect("it is there");
    stand.daemon.wait_for_outcome(&volume, "grown");
    stand.resolved(&page);
}

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn a_thin_pool_that_is_full() {
    let group = Group::new("vmt_tr_pool", &["1G"]);
    let pool = ["-qq", "-y", "--type", "thin-pool", "-L", "64M", "-n", "pool", &group.name];
    sh("lvcreate", &pool);
    let thin = group.lv_as("thin", &["-V", "128M", "--thinpool", "pool"]);
    // Else the writer would wait for a minute.
    sh("lvchange", &["-qq", "--errorwhenfull", "y", &format!("{}/pool", group.name)]);
    let stand = Stand::start(&group, &[], "");
    let page = stand.page("thin pool full", &[("LvmThinPoolFull", &["data", "vmt_tr_pool/pool"])], || {
        // Ends with an error: that is the trouble.
        try_sh(
            "dd",
            &["if=/dev/zero", &format!("of={}", thin.path()), "bs=1M", "count=100", "oflag=direct", "status=none"],
        );
    });
    let pool = group.volume("pool");
    follow(&group, "LvmThinPoolFull", &["lvextend -L"], &[&names(&pool)[..], &[("SIZE", "64M")]].concat());
    stand.resolved(&page);
}

/// The mount table goes on saying `rw`, and every write fails.
#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn an_ext4_with_an_error() {
    let group = Group::new("vmt_tr_errors", &["1G"]);
    let volume = group.lv("data", "64M");
    sh("mkfs.ext4", &["-q", "-e", "remount-ro", &volume.path()]);
    group.mount(&volume, &[]);
    let stand = Stand::start(&group, &[], "");
    let page = stand.page("error of an ext4", &[("LvmFileSystemErrors", &["write", "vmt_tr_errors/data"])], || {
        ext_error(&volume);
    });
    assert!(fs::write(volume.mount_point.join("new"), "").is_err(), "writes fail");
    let text = page.text(0);
    assert!(!text.contains("1 errors"), "{text}");
    follow(&group, "LvmFileSystemErrors", &["umount", "e2fsck", "mount"], &names(&volume));
    fs::write(volume.mount_point.join("new"), "").expect("writes are possible again");
    stand.resolved(&page);
}

/// A disk that dies makes LVM hang and file systems fail: the one must not hide the other.
#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn an_ext4_with_an_error_while_lvm_hangs() {
    let group = Group::new("vmt_tr_dying", &["1G"]);
    let volume = group.filesystem("ext4", "data", "64M");
    let other = Group::without_vg("vmt_tr_stuck", &["512M"]);
    let under = Under::over(&other, 0);
    sh("vgcreate", &["-qq", &other.name, &under.path()]);
    let stand = Stand::start(&group, &[], "");
    let expected: [(&str, &[&str]); 2] = [("LvmFileSystemErrors", &["write"]), ("LvmInventoryStale", &["LVM"])];
    let page = stand.page("error of an ext4 while LVM hangs", &expected, || {
        sh("dmsetup", &["suspend", "--nolockfs", &under.name]);
        // Two looks that do not end.
        std::thread::sleep(Duration::from_secs(3));
        ext_error(&volume);
    });
    sh("dmsetup", &["resume", &under.name]);
    follow(&group, "LvmFileSystemErrors", &["umount", "e2fsck", "mount"], &names(&volume));
    stand.resolved(&page);
}

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn a_volume_suspended_under_its_mount() {
    let group = Group::new("vmt_tr_asleep", &["1G"]);
    let volume = group.filesystem("ext4", "data", "64M");
    let stand = Stand::start(&group, &[], "");
    let page = stand.page("volume suspended", &[("LvmVolumeSuspended", &["suspended", "vmt_tr_asleep/data"])], || {
        sh("dmsetup", &["suspend", "vmt_tr_asleep-data"]);
    });
    follow(&group, "LvmVolumeSuspended", &["lvchange --refresh"], &names(&volume));
    stand.resolved(&page);
}

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn a_disk_that_is_gone() {
    let group = Group::new("vmt_tr_gone", &["512M", "512M"]);
    group.no_autoactivation();
    let (lost, file) = (group.loops[1].clone(), group.dir.join("disk1"));
    sh("lvcreate", &["-qq", "-y", "-n", "other", "-L", "16M", &group.name, &group.loops[0]]);
    let other = group.volume("other");
    let uuid = sh("pvs", &["--noheadings", "-o", "pv_uuid", &lost]).trim().to_owned();
    let stand = Stand::start(&group, &[], "");
    let page = stand.page("physical volume missing", &[("LvmPhysicalVolumeMissing", &["vmt_tr_gone"])], || {
        group.lose_disk(1);
    });
    let text = page.text(0);
    assert!(text.contains(&lost) || text.contains(&uuid), "neither {lost} nor {uuid}: {text}");
    // With the first change LVM writes down that the disk is missing, and does not use it again by itself.
    sh("lvremove", &["-qq", "-y", &other.name()]);
    // The disk comes back.
    sh("losetup", &[&lost, path(&file)]);
    sh("udevadm", &["settle"]);
    let names = [("VG", group.name.as_str()), ("DEVICE", lost.trim_start_matches("/dev/"))];
    let said = follow(&group, "LvmPhysicalVolumeMissing", &["vgextend --restoremissing"], &names);
    assert!(!said.contains("was not missing"), "LVM has marked it: {said}");
    stand.resolved(&page);
}

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn a_growth_that_stopped_half_way() {
    let group = Group::new("vmt_tr_half", &["1G"]);
    let volume = group.filesystem("ext4", "data", "64M");
    let tool = script(&group.dir, "resize2fs", "echo 'Input/output error' >&2\nexit 1\n");
    let stand = Stand::start(&group, &[&volume], &format!("tools: {{ resize2fs: {tool} }}"));
    let page = stand.page("growth stopped half-way", &[("LvmAutoscalerNeedsAttention", &["vmt_tr_half/data"])], || {
        volume.fill(85.0);
    });
    // The runbook: the commands that the sentence names.
    for command in stand.daemon.wait_for_outcome(&volume, "needs_attention").commands {
        run_by_hand(&group, &command);
    }
    // The daemon looks every half minute by its own clock, or when it is asked.
    stand.daemon.alert(&labels(&volume));
    stand.resolved(&page);
}
