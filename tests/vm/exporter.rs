//! The exporter on real devices: changes made by hand are seen at once, and what hangs costs only itself.

use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, Instant};

use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::daemon::{Daemon, config};
use crate::exposition::Prometheus;
use crate::storage::{Group, path, sh};

/// A daemon that looks at LVM by itself once an hour: whatever it shows sooner, an event told it.
fn hourly(group: &Group) -> Daemon {
    Daemon::start(group, &config(group, &[], "inventory: { interval: 1h }"))
}

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn changes_made_by_hand_are_seen_without_waiting_for_the_interval() {
    let group = Group::new("vmt_uevent", &["1G"]);
    let spare = Group::without_vg("vmt_uevent_spare", &["1G"]);
    let daemon = hourly(&group);
    let in_group = [("vg", group.name.as_str())];
    let seen = |what: &str, is_there: &dyn Fn(&Daemon) -> bool| {
        let since = Instant::now();
        daemon.wait_for(what, |daemon| is_there(daemon).then_some(()));
        eprintln!("{what} is seen {:.1} s after the command ended", since.elapsed().as_secs_f64());
    };

    let volume = group.lv("data", "64M");
    seen("lvcreate", &|daemon| daemon.metric("lvm_lv_size_bytes", &in_group) == f64::from(64 << 20));
    sh("lvextend", &["-qq", "-L", "128M", &volume.name()]);
    seen("lvextend", &|daemon| daemon.metric("lvm_lv_size_bytes", &in_group) == f64::from(128 << 20));
    sh("pvcreate", &["-qq", &spare.loops[0]]);
    seen("pvcreate", &|daemon| daemon.metric("lvm_pv_size_bytes", &[("pv", &spare.loops[0])]) > 0.0);
    sh("lvremove", &["-qq", "-y", &volume.name()]);
    seen("lvremove", &|daemon| daemon.metric("lvm_lv_info", &in_group) == 0.0);
    sh("pvremove", &["-qq", &spare.loops[0]]);
}

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn looking_causes_no_events_that_lead_to_another_look() {
    let group = Group::new("vmt_quiet", &["1G"]);
    let volume = group.filesystem("ext4", "data", "64M");
    sh("udevadm", &["settle"]);
    let daemon = hourly(&group);
    let taken = |daemon: &Daemon| daemon.metric("lvm_inventory_timestamp_seconds", &[]);
    // What the set-up caused may still arrive; then it must be quiet, although each look opens devices.
    std::thread::sleep(Duration::from_secs(5));
    let before = taken(&daemon);
    std::thread::sleep(Duration::from_secs(6));
    assert_eq!(taken(&daemon), before, "a look is caused by the look before");
    sh("lvchange", &["-qq", "--addtag", "x", &volume.name()]);
}

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn a_file_system_that_never_answers_costs_only_its_own_series() {
    let group = Group::new("vmt_hang", &["1G"]);
    let good = group.filesystem("ext4", "good", "64M");
    let bad = group.lv("bad", "16M");
    sh("modprobe", &["fuse"]);
    fs::create_dir_all(&bad.mount_point).expect("a mount point");
    // A FUSE file system on a block device whose server never reads a request: every statfs waits for it.
    let server = OpenOptions::new().read(true).write(true).open("/dev/fuse").expect("FUSE");
    let options = format!("fd={},rootmode=40000,user_id=0,group_id=0", server.as_raw_fd());
    let device = bad.path();
    let none = MsFlags::empty();
    mount(Some(device.as_str()), &bad.mount_point, Some("fuseblk"), none, Some(options.as_str())).expect("mounts");
    // Whatever happens below, the machine must be able to take the group away.
    struct Unmount<'a>(&'a std::path::Path, Option<fs::File>);
    impl Drop for Unmount<'_> {
        fn drop(&mut self) {
            drop(self.1.take());
            let _ = umount2(self.0, MntFlags::MNT_DETACH);
        }
    }
    let _unmount = Unmount(&bad.mount_point, Some(server));

    let daemon = Daemon::start(&group, &config(&group, &[], ""));
    let process = format!("/proc/{}", daemon.id());
    let count = |folder: &str| fs::read_dir(format!("{process}/{folder}")).expect("it runs").count();
    let at = |volume: &str| [("vg", "vmt_hang"), ("lv", volume)].map(|(k, v)| (k.to_owned(), v.to_owned()));
    let metric = |name: &str, volume: &str| {
        let labels = at(volume);
        daemon.metric(name, &labels.each_ref().map(|(k, v)| (k.as_str(), v.as_str())))
    };
    daemon.wait_for("the hanging mount", |_| (metric("lvm_filesystem_device_error", "bad") == 1.0).then_some(()));
    let (threads, descriptors) = (count("task"), count("fd"));
    let mut slowest = Duration::ZERO;
    for _ in 0..100 {
        let asked = Instant::now();
        let page = daemon.get("/metrics");
        slowest = slowest.max(asked.elapsed());
        assert_eq!(page.status, 200);
    }
    eprintln!("the slowest of 100 scrapes took {} ms", slowest.as_millis());
    assert!(slowest < Duration::from_secs(1), "a scrape took {slowest:?}");
    assert!(count("task") <= threads + 2, "{threads} threads became {}", count("task"));
    assert!(count("fd") <= descriptors + 2, "{descriptors} descriptors became {}", count("fd"));
    assert_eq!(metric("lvm_filesystem_device_error", "bad"), 1.0);
    assert_eq!(metric("lvm_filesystem_size_bytes", "bad"), 0.0, "no series");
    assert_eq!(metric("lvm_filesystem_device_error", "good"), 0.0);
    assert_eq!(metric("lvm_filesystem_size_bytes", "good"), good.df_size() as f64);
    assert!(path(&bad.mount_point).starts_with("/tmp/"));
}

/// What a stranger may call a folder: a quote, a backslash, a newline, letters from anywhere.
const HOSTILE: &str = "a\"b\\c\nd {x=\"1\"} é漢";

/// Passes requests on and has them ask for the older format, which no Prometheus of this release can be told to prefer.
fn asking_for_text(daemon: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        for mut client in listener.incoming().map_while(Result::ok) {
            let mut request = vec![0; 4096];
            let Ok(length) = client.read(&mut request) else { continue };
            let path = String::from_utf8_lossy(&request[..length]).split(' ').nth(1).unwrap_or("/").to_owned();
            let mut server = TcpStream::connect(daemon).expect("the daemon listens");
            server.set_read_timeout(Some(Duration::from_secs(60))).expect("a deadline");
            server.set_write_timeout(Some(Duration::from_secs(60))).expect("a deadline");
            write!(
                server,
                "GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: text/plain;version=0.0.4\r\nConnection: close\r\n\r\n"
            )
            .expect("sends");
            let mut answer = Vec::new();
            let _ = server.read_to_end(&mut answer);
            let _ = client.write_all(&answer);
        }
    });
    address
}

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn a_hostile_mount_point_reaches_prometheus_unharmed_in_both_formats() {
    let group = Group::new("vmt_hostile", &["1G"]);
    let mut volume = group.lv("data", "64M");
    volume.mkfs("ext4");
    volume.mount_point = group.dir.join(HOSTILE);
    group.mount(&volume, &[]);
    let daemon = Daemon::start(&group, &config(&group, &[], ""));
    for scraped in [daemon.address, asking_for_text(daemon.address)] {
        let prometheus = Prometheus::scraping(&group, scraped);
        let found = daemon.wait_for("the file system in Prometheus", |_| {
            let answer = prometheus.query("/api/v1/query?query=lvm_filesystem_size_bytes")?;
            answer["data"]["result"][0].as_object().cloned()
        });
        assert_eq!(found["metric"]["mountpoint"], path(&volume.mount_point));
        assert_eq!(found["value"][1], volume.df_size().to_string());
    }
}

/// Paths are bytes to the kernel; the label is what node_exporter would show.
#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn a_mount_point_that_is_not_utf_8_has_its_usage_and_is_nobodys_target() {
    let group = Group::new("vmt_bytes", &["1G"]);
    let mut volume = group.lv("data", "64M");
    volume.mkfs("ext4");
    let real = group.dir.join(OsStr::from_bytes(b"cass\xE9\xFF"));
    fs::create_dir(&real).expect("a mount point");
    let none = MsFlags::empty();
    mount(Some(volume.path().as_str()), &real, Some("ext4"), none, None::<&str>).expect("mounts");
    volume.mount_point = group.dir.join("cass\u{FFFD}");
    let before = group.fingerprint();
    let daemon = Daemon::start(&group, &config(&group, &[&volume], ""));
    let labels = [("vg", "vmt_bytes"), ("lv", "data"), ("mountpoint", path(&volume.mount_point))];
    assert_eq!(daemon.metric("lvm_filesystem_device_error", &labels), 0.0);
    let size = daemon.metric("lvm_filesystem_size_bytes", &labels);
    assert!(size > f64::from(40 << 20) && size < f64::from(64 << 20), "{size}");
    daemon.alert(&crate::daemon::labels(&volume));
    let past = daemon.wait_for("a decision", |daemon| daemon.results(&volume).pop());
    assert_eq!(past.result.as_str(), "not_mounted", "{}", past.sentence);
    assert_eq!(group.fingerprint(), before);
}

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn queries_for_prometheus_lvm_exporter_give_the_same_answer() {
    let group = Group::new("vmt_join", &["1G"]);
    let (data, logs) = (group.lv("data", "64M"), group.lv("logs", "128M"));
    let daemon = Daemon::start_with(&group, &config(&group, &[], ""), &["--collector.uuid-labels"]);
    let prometheus = Prometheus::start(&group, &daemon);
    let query =
        "/api/v1/query?query=lvm_lv_size_bytes%7Bvg=%22vmt_join%22%7D*on(lv_uuid)group_left(lv_name)lvm_lv_info";
    let sizes = daemon.wait_for("both volumes", |_| {
        let answer = prometheus.query(query)?;
        let series = answer["data"]["result"].as_array()?.clone();
        (series.len() == 2).then_some(series)
    });
    for volume in [&data, &logs] {
        let of = |name: &str| {
            sizes.iter().find(|series| series["metric"]["lv_name"] == name).map(|series| &series["value"][1])
        };
        assert_eq!(of(&volume.lv), Some(&volume.lvs("lv_size").into()));
    }
    let groups = prometheus.query(
        "/api/v1/query?query=lvm_vg_free_bytes%7Bvg=%22vmt_join%22%7D*on(vg_uuid)group_left(vg_name)lvm_vg_info",
    );
    let groups = groups.expect("an answer");
    assert_eq!(groups["data"]["result"][0]["metric"]["vg_name"], group.name.as_str(), "{groups}");
}
