//! What Prometheus sees of a real host: the numbers that `vgs`, `lvs`, `pvs` and `statvfs` say, in formats that the
//! real promtool and the real Prometheus accept.

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use nix::sys::statvfs::statvfs;

use crate::daemon::{Daemon, config, labels};
use crate::http;
use crate::storage::{Group, Volume, path, sh};

/// One row of a report, sizes in bytes.
fn report(program: &str, fields: &str, name: &str) -> Vec<String> {
    let arguments = ["--noheadings", "--units", "b", "--nosuffix", "--separator", "|", "-o", fields, name];
    sh(program, &arguments).trim().split('|').map(str::to_owned).collect()
}

fn number(text: &str) -> f64 {
    text.parse().unwrap_or_else(|_| panic!("{text:?} is not a number"))
}

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn the_numbers_are_those_of_vgs_lvs_pvs_and_df() {
    let group = Group::new("vmt_metrics", &["1G", "512M"]);
    let volumes = [group.filesystem("ext4", "small", "64M"), group.filesystem("xfs", "large", "320M")];
    volumes.iter().for_each(|volume| volume.fill(40.0));
    sh("lvcreate", &["-qq", "-y", "--type", "thin-pool", "-L", "100M", "-n", "pool", &group.name]);
    sh("lvcreate", &["-qq", "-y", "-V", "1G", "--thinpool", "pool", "-n", "thin", &group.name]);
    sh("dd", &["if=/dev/zero", "of=/dev/vmt_metrics/thin", "bs=1M", "count=10", "oflag=direct", "status=none"]);
    let daemon = Daemon::start(&group, &config(&group, &[&volumes[0]], "inventory: { interval: 1s }"));
    let vg = ("vg", group.name.as_str());

    let said = report("vgs", "vg_size,vg_free,vg_extent_size,lv_count,pv_count,vg_mda_size,vg_mda_free", &group.name);
    let names = [
        "size_bytes",
        "free_bytes",
        "extent_size_bytes",
        "lv_count",
        "pv_count",
        "metadata_size_bytes",
        "metadata_free_bytes",
    ];
    for (name, value) in names.iter().zip(&said) {
        assert_eq!(daemon.metric(&format!("lvm_vg_{name}"), &[vg]), number(value), "lvm_vg_{name}");
    }
    for device in &group.loops {
        let said = report("pvs", "pv_size,pv_free", device);
        for (name, value) in ["lvm_pv_size_bytes", "lvm_pv_free_bytes"].iter().zip(&said) {
            assert_eq!(daemon.metric(name, &[("pv", device)]), number(value), "{name} {device}");
        }
    }
    for lv in ["small", "large", "pool", "thin"] {
        let said = report("lvs", "lv_size,lv_uuid", &format!("{}/{lv}", group.name));
        assert_eq!(daemon.metric("lvm_lv_size_bytes", &[vg, ("lv", lv)]), number(&said[0]), "{lv}");
        assert_eq!(daemon.metric("lvm_lv_info", &[vg, ("lv", lv), ("lv_uuid", &said[1])]), 1.0, "{lv}");
        assert_eq!(daemon.metric("lvm_lv_active", &[vg, ("lv", lv)]), 1.0, "{lv}");
        // The pool writes its metadata down a moment later, so both are asked until they agree.
        for (name, field) in [("lvm_lv_data_percent", "data_percent"), ("lvm_lv_metadata_percent", "metadata_percent")]
        {
            daemon.wait_for(&format!("{name} of {lv} as lvs says"), |daemon| {
                let said = report("lvs", field, &format!("{}/{lv}", group.name))
                    .first()
                    .map_or(0.0, |value| value.parse().unwrap_or(0.0));
                ((daemon.metric(name, &[vg, ("lv", lv)]) - said).abs() < 0.01).then_some(())
            });
        }
    }
    assert!(number(&report("lvs", "data_percent", "vmt_metrics/thin")[0]) > 0.0, "the thin volume has data to compare");
    for volume in &volumes {
        let vfs = statvfs(&volume.mount_point).expect("statvfs");
        let of = [("lv", volume.lv.as_str()), ("mountpoint", path(&volume.mount_point))];
        let blocks = |blocks: u64| (blocks * vfs.fragment_size()) as f64;
        for (name, value) in [
            ("size_bytes", blocks(vfs.blocks())),
            ("free_bytes", blocks(vfs.blocks_free())),
            ("avail_bytes", blocks(vfs.blocks_available())),
            ("files", vfs.files() as f64),
            ("files_free", vfs.files_free() as f64),
        ] {
            assert_eq!(daemon.metric(&format!("lvm_filesystem_{name}"), &of), value, "{name} of {}", volume.lv);
        }
        // A full file system of today must not stand there with yesterday's numbers: usage is read at the scrape.
        volume.fill(60.0);
        let free = statvfs(&volume.mount_point).expect("statvfs");
        let free = (free.blocks_available() * free.fragment_size()) as f64;
        assert_eq!(daemon.metric("lvm_filesystem_avail_bytes", &of), free);
    }
    assert_eq!(daemon.metric("lvm_up", &[]), 1.0);
    assert_eq!(daemon.metric("lvm_unknown_report_fields", &[]), 0.0);
}

/// Insists that promtool has nothing to say.
fn lint(exposition: &str) {
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut promtool = promtool.spawn().expect("promtool");
    promtool.stdin.take().expect("a pipe").write_all(exposition.as_bytes()).expect("it reads");
    let output = promtool.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success() && said.is_empty(), "{said} about\n{exposition}");
}

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn promtool_accepts_the_text_format() {
    let group = Group::new("vmt_promtool", &["1G"]);
    let volume = group.filesystem("ext4", "data", "64M");
    volume.fill(88.0);
    let daemon = Daemon::start(&group, &config(&group, &[&volume], ""));
    daemon.alert(&labels(&volume));
    daemon.wait_for_outcome(&volume, "grown");
    let url = format!("http://{}/metrics", daemon.address);
    for accept in ["*/*", "text/plain;version=0.0.4"] {
        lint(&(sh("curl", &["-fsS", "-H", &format!("Accept: {accept}"), &url]) + "\n"));
    }
}

/// A Prometheus that scrapes the daemon every second.
pub(crate) struct Prometheus(Child, SocketAddr);

impl Prometheus {
    pub(crate) fn start(group: &Group, daemon: &Daemon) -> Prometheus {
        Prometheus::scraping(group, daemon.address)
    }

    /// One that scrapes this address.
    pub(crate) fn scraping(group: &Group, scraped: SocketAddr) -> Prometheus {
        let file = group.dir.join("prometheus.yml");
        let text = format!(
            "global: {{ scrape_interval: 1s }}\nscrape_configs:\n  - job_name: lvm\n    static_configs: [{{ targets: ['{}'] }}]\n",
            scraped
        );
        fs::write(&file, text).expect("a config file");
        let address: SocketAddr = "127.0.0.1:19090".parse().expect("an address");
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", path(&file)))
            .arg(format!("--storage.tsdb.path={}", path(&group.dir.join("tsdb"))))
            .arg(format!("--web.listen-address={address}"))
            .stderr(Stdio::null())
            .spawn();
        Prometheus(child.expect("prometheus"), address)
    }

    pub(crate) fn query(&self, path: &str) -> Option<serde_json::Value> {
        serde_json::from_str(&http::get(self.1, path).ok()?.body).ok()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn prometheus_scrapes_open_metrics() {
    let group = Group::new("vmt_scrape", &["1G"]);
    let volume = group.filesystem("ext4", "data", "64M");
    let daemon = Daemon::start(&group, &config(&group, &[&volume], ""));
    let prometheus = Prometheus::start(&group, &daemon);
    daemon.wait_for("up to be 1", |_| {
        let answer = prometheus.query("/api/v1/query?query=up")?;
        (answer["data"]["result"][0]["value"][1] == "1").then_some(())
    });
    let size = prometheus.query("/api/v1/query?query=lvm_lv_size_bytes").expect("an answer");
    assert_eq!(size["data"]["result"][0]["value"][1], volume.lvs("lv_size"), "{size}");
    assert_eq!(size["data"]["result"][0]["metric"]["lv"], "data");
    // Only OpenMetrics calls the family of a counter so; in the text format, which the Prometheus 2.24 of Debian 11
    // gets because it knows no OpenMetrics 1.0, its name ends in _total.
    let build = prometheus.query("/api/v1/status/buildinfo").expect("an answer");
    let is_old = build["data"]["version"].as_str().expect("a version").starts_with("2.24.");
    let name = if is_old { "lvm_autoscaler_operations_total" } else { "lvm_autoscaler_operations" };
    let family = daemon.wait_for("metadata", |_| {
        let answer = prometheus.query(&format!("/api/v1/metadata?metric={name}"))?;
        answer["data"][name][0]["type"].as_str().map(str::to_owned)
    });
    assert_eq!(family, "counter");
    let targets = prometheus.query("/api/v1/targets").expect("an answer");
    assert_eq!(targets["data"]["activeTargets"][0]["lastError"], "", "{targets}");
}

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn without_a_config_there_are_metrics_and_nothing_grows() {
    let group = Group::new("vmt_exporter", &["1G"]);
    let volume: Volume = group.filesystem("ext4", "data", "64M");
    volume.fill(95.0);
    let before = group.fingerprint();
    // On all addresses, because there is nothing a stranger could start.
    let daemon = Daemon::spawn(&["--web.listen-address=0.0.0.0:0"], group.dir.join("state"));
    assert!(daemon.log().contains("nothing may grow"), "{}", daemon.log());
    assert_eq!(daemon.metric("lvm_lv_size_bytes", &[("lv", "data")]), number(&volume.lvs("lv_size")));
    let verdict = daemon.alert(&labels(&volume));
    assert_eq!((&verdict["verdict"], &verdict["code"]), (&"refused".into(), &"unknown_target".into()));
    assert_eq!(daemon.metric("lvm_autoscaler_refusals_total", &[("code", "unknown_target")]), 1.0);
    assert!(daemon.stop().success());
    assert_eq!(group.fingerprint(), before);
    assert!(!std::path::Path::new("/var/lib/lvm-autoscaler").exists(), "an exporter leaves nothing behind");
}
