//! What the tool is for: an alert comes and the file system grows, by what was planned, once.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::thread;

use crate::daemon::{Daemon, config, labels, payload, program, script};
use crate::storage::{Group, MIB, Volume, path, sh, try_sh};

/// XFS does not go below 300 MB; ext4 is quicker when it is small.
pub(crate) fn small(kind: &str) -> &'static str {
    if kind == "xfs" { "320M" } else { "64M" }
}

/// Asserts that a volume and its file system grew from `extents` by these 32 MiB, and by nothing else.
pub(crate) fn assert_grown_once(volume: &Volume, extents: u64, df_size: u64) {
    assert_eq!(volume.extents(), extents + 8, "the volume grew by what was planned");
    let grew = volume.df_size() - df_size;
    // What df shows is without ext4's own tables, which grow too.
    assert!((28 * MIB..=32 * MIB).contains(&grew), "the file system grew by {} MiB", grew / MIB);
    let lvm: u64 = volume.lvs("lv_size").parse().expect("a number");
    assert!(volume.df_size() < lvm, "the file system is not larger than its volume");
}

fn one_alert_grows(kind: &str, group: &str) {
    let group = Group::new(group, &["2G"]);
    let volume = group.filesystem(kind, "data", small(kind));
    let data = volume.write_data();
    volume.fill(88.0);
    let (extents, df_size) = (volume.extents(), volume.df_size());
    let daemon = Daemon::start(&group, &config(&group, &[&volume], ""));

    let verdict = daemon.alert(&labels(&volume));
    assert_eq!(verdict["verdict"], "accepted", "{verdict}");
    assert_eq!(verdict["target"], volume.name());
    let past = daemon.wait_for_outcome(&volume, "grown");

    assert_grown_once(&volume, extents, df_size);
    assert!(volume.df_percent() < 80.0, "{}", volume.df_percent());
    data.assert_intact();
    assert!(past.sentence.contains(&format!("{} grew from", volume.name())), "{}", past.sentence);
    let of = [("vg", volume.vg.as_str()), ("lv", "data")];
    daemon.wait_for("the counters", |daemon| {
        (daemon.metric("lvm_autoscaler_operations_total", &[&of[..], &[("outcome", "grown")]].concat()) == 1.0)
            .then_some(())
    });
    assert_eq!(daemon.metric("lvm_autoscaler_grown_bytes_total", &of), (32 * MIB) as f64);

    // LVM's metadata as it was before, for nobody but root.
    let folder = group.dir.join("state/backup");
    assert_eq!(fs::metadata(&folder).expect("there").permissions().mode() & 0o777, 0o700);
    let files: Vec<_> = fs::read_dir(&folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    assert_eq!(fs::metadata(&files[0]).expect("there").permissions().mode() & 0o777, 0o600);
    let backup = fs::read_to_string(&files[0]).expect("text");
    assert!(backup.contains(&format!("extent_count = {extents}")), "it holds the size before: {backup}");
    sh("vgcfgrestore", &["--test", "--yes", "-f", path(&files[0]), &group.name]);

    // And the kernel finds nothing wrong with it.
    assert!(daemon.stop().success());
    sh("umount", &[path(&volume.mount_point)]);
    match kind {
        "xfs" => sh("xfs_repair", &["-n", &volume.path()]),
        _ => sh("e2fsck", &["-f", "-n", &volume.path()]),
    };
}

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn one_alert_grows_ext4() {
    one_alert_grows("ext4", "vmt_grow_ext4");
}

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn one_alert_grows_xfs() {
    one_alert_grows("xfs", "vmt_grow_xfs");
}

/// The kernel leaves the copies of the superblock in the disk's cache, where a power cut would lose them.
#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn an_xfs_has_grown_when_the_cache_of_its_disk_is_flushed() {
    let group = Group::new("vmt_flush", &["2G"]);
    let volume = group.filesystem("xfs", "data", small("xfs"));
    volume.fill(88.0);
    let stat = group.loops[0].replace("/dev/", "/sys/block/") + "/stat";
    let then = group.dir.join("flushes");
    let text = format!("/sbin/xfs_growfs \"$@\" || exit\ncat {stat} >{}\n", path(&then));
    let program = script(&group.dir, "xfs_growfs", &text);
    let daemon = Daemon::start(&group, &config(&group, &[&volume], &format!("tools: {{ xfs_growfs: {program} }}")));
    daemon.alert(&labels(&volume));
    daemon.wait_for_outcome(&volume, "grown");
    // The sixteenth of block/stat.rst.
    let flushes = |file: &str| {
        let text = fs::read_to_string(file).expect("a statistic");
        text.split_whitespace().nth(15).and_then(|count| count.parse::<u64>().ok()).expect("a number")
    };
    assert!(flushes(&stat) > flushes(path(&then)), "nothing was flushed after the growth");
}

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn twenty_deliveries_at_once_and_one_later_grow_once() {
    let group = Group::new("vmt_twenty", &["2G"]);
    let volume = group.filesystem("ext4", "data", "64M");
    volume.fill(88.0);
    let (extents, df_size) = (volume.extents(), volume.df_size());
    let daemon = Daemon::start(&group, &config(&group, &[&volume], ""));
    let body = payload(&labels(&volume));
    thread::scope(|scope| {
        let sent: Vec<_> = (0..20).map(|_| scope.spawn(|| daemon.post(&body))).collect();
        for answer in sent {
            let answer = answer.join().expect("an answer");
            assert_eq!(answer.status, 202);
            assert!(answer.body.contains("accepted") || answer.body.contains("coalesced"), "{}", answer.body);
        }
    });
    daemon.wait_for_outcome(&volume, "grown");
    daemon.wait_for("an empty queue", |daemon| {
        let journal = daemon.journal();
        (journal.pending.is_empty() && journal.running.is_empty()).then_some(())
    });
    assert_grown_once(&volume, extents, df_size);

    // Full again at once: the alert that still fires must wait for the cooldown all the same.
    volume.fill(95.0);
    let refused = daemon.results(&volume).iter().filter(|past| past.result.as_str() == "cooldown").count();
    daemon.alert(&labels(&volume));
    let past = daemon.wait_for_count(&volume, "cooldown", refused + 1);
    assert!(past.sentence.contains("the cooldown is 10m"), "{}", past.sentence);
    assert_grown_once(&volume, extents, df_size);
    assert_eq!(daemon.metric("lvm_autoscaler_operations_total", &[("outcome", "grown")]), 1.0);
}

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn a_volume_that_was_extended_by_hand_has_only_its_file_system_grown() {
    let group = Group::new("vmt_larger", &["2G"]);
    for kind in ["ext4", "xfs"] {
        let volume = group.filesystem(kind, kind, small(kind));
        volume.fill(88.0);
        let (extents, df_size) = (volume.extents(), volume.df_size());
        sh("lvextend", &["-qq", "-l", "+8", &volume.path()]);
        let seqno = volume.lvs("vg_seqno");
        let daemon = Daemon::start(&group, &config(&group, &[&volume], ""));
        assert_eq!(
            daemon.metric("lvm_filesystem_growable_bytes", &[("lv", kind)]),
            (32 * MIB) as f64,
            "the exporter shows it"
        );
        daemon.alert(&labels(&volume));
        daemon.wait_for_outcome(&volume, "grown");
        assert_grown_once(&volume, extents, df_size);
        assert_eq!(volume.lvs("vg_seqno"), seqno, "LVM was not asked to change anything");
        assert!(!daemon.log().contains("lvextend"), "{}", daemon.log());
        daemon.wait_for("growable to be 0", |daemon| {
            let series = format!("lv=\"{kind}\"");
            let body = daemon.get("/metrics").body;
            let line = body
                .lines()
                .find(|line| line.starts_with("lvm_filesystem_growable_bytes{") && line.contains(&series))?;
            line.ends_with(" 0.0").then_some(())
        });
    }
}

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn a_dry_run_prints_what_plan_prints_and_changes_nothing() {
    let group = Group::new("vmt_dry", &["2G"]);
    let volume = group.filesystem("ext4", "data", "64M");
    volume.fill(88.0);
    let before = group.fingerprint();
    let daemon = Daemon::start_with(&group, &config(&group, &[&volume], ""), &["--dry-run"]);
    daemon.alert(&labels(&volume));
    let past = daemon.wait_for_outcome(&volume, "dry_run");
    assert_eq!(group.fingerprint(), before);
    let backup = group.dir.join("state/backup");
    assert_eq!(fs::read_dir(&backup).expect("a folder").count(), 0, "nor is a backup made");

    let file = format!("--config.file={}", path(&group.dir.join("config.yaml")));
    let planned = sh(path(&program()), &["plan", &file, path(&volume.mount_point)]);
    assert_eq!(group.fingerprint(), before);
    // The name of the backup has the time in it.
    let stable = |text: &str| text.split("/backup/").next().map(str::to_owned);
    let commands = [
        "lvm vgcfgbackup",
        "lvm lvextend -A n --config global/wait_for_locks=1 -l 24 -- vmt_dry/data",
        "resize2fs /dev/mapper/vmt_dry-data",
    ];
    for command in commands {
        assert!(planned.contains(command), "plan has {command}:\n{planned}");
        assert!(past.sentence.contains(command), "the dry run has {command}: {}", past.sentence);
        assert!(daemon.log().contains(command), "the log has {command}");
    }
    let line = planned.lines().find(|line| line.contains("vgcfgbackup")).expect("a line").trim();
    assert!(past.sentence.contains(&stable(line).expect("a text")), "{line}");

    // What a dry run did holds nothing back.
    assert!(daemon.stop().success());
    let daemon = Daemon::start(&group, &config(&group, &[&volume], ""));
    daemon.alert(&labels(&volume));
    daemon.wait_for_outcome(&volume, "grown");
    assert_eq!(volume.extents(), 24);
}

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn hyphens_in_names_and_a_space_in_the_mount_point() {
    let group = Group::new("vmt-a--b", &["2G"]);
    for kind in ["ext4", "xfs"] {
        let mut volume = group.lv(&format!("{kind}-lv--x"), small(kind));
        volume.mount_point = group.dir.join(format!("it's a {kind}"));
        volume.mkfs(kind);
        group.mount(&volume, &[]);
        volume.fill(88.0);
        let (extents, df_size) = (volume.extents(), volume.df_size());
        let daemon = Daemon::start(&group, &config(&group, &[&volume], ""));
        // As node_exporter names it.
        let device = format!("/dev/mapper/vmt--a----b-{kind}--lv----x");
        let of_node_exporter =
            [("instance", "VM:9100"), ("device", device.as_str()), ("mountpoint", path(&volume.mount_point))];
        let verdict = daemon.alert(&of_node_exporter);
        assert_eq!(verdict["target"], volume.name());
        daemon.wait_for_outcome(&volume, "grown");
        assert_grown_once(&volume, extents, df_size);
    }
}

/// The configuration of the course this tool grew from, word for word.
const COURSE: &str = r#"monitor:
  interval_seconds: 60          # also look by ourselves, even if no alert comes; leave out: alerts only
  targets:
    - lv_path: "/dev/storage_vg/data_lv"
      mount_point: "/data"
      threshold_percent: 80
      increment_gb: 2           # GiB, as lvextend reads G; the same as increment: 2GiB
"#;

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn the_course_configuration_grows_without_any_alert() {
    let group = Group::new("storage_vg", &["20G"]);
    let mut volume = group.lv("data_lv", "2G");
    volume.mount_point = "/data".into();
    volume.mkfs("ext4");
    group.mount(&volume, &[]);
    let data = volume.write_data();
    volume.fill(79.0);
    fs::write(group.dir.join("config.yaml"), COURSE).expect("a config file");
    let (extents, df_size) = (volume.extents(), volume.df_size());
    let file = format!("--config.file={}", path(&group.dir.join("config.yaml")));
    // Below its threshold nothing happens, and what is above it is seen when the daemon starts.
    let daemon = Daemon::spawn(&[&file], "/var/lib/lvm-autoscaler".into());
    thread::sleep(std::time::Duration::from_secs(1));
    assert!(daemon.stop().success());
    assert_eq!(volume.extents(), extents);
    volume.fill(81.5);
    let daemon = Daemon::spawn(&[&file], "/var/lib/lvm-autoscaler".into());
    daemon.wait_for_outcome(&volume, "grown");
    assert_eq!(volume.extents(), extents + 512, "2 GiB are 512 extents");
    assert!(volume.df_size() - df_size > 1900 * MIB, "{}", volume.df_size());
    data.assert_intact();
    drop(daemon);
    drop(group);
    try_sh("rm", &["-r", "/var/lib/lvm-autoscaler", "/var/lib/lvm-autoscaler.witness"]);
}
