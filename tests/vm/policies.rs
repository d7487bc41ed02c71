//! Policies on real LVM: a dozen volumes, tags that come and go, a group of another host that has the tag too.

use std::fs;

use crate::daemon::{Daemon, config, labels};
use crate::decisions::{answer, grown};
use crate::storage::{Group, Volume, path, sh, try_sh};

fn tag(volume: &Volume, change: &str) {
    sh("lvchange", &["-qq", change, "autoscale", &volume.name()]);
}

fn full(group: &Group, name: &str) -> Volume {
    let volume = group.filesystem("ext4", name, "24M");
    volume.fill(88.0);
    volume
}

/// An alert that names what is no target here.
fn is_no_target(daemon: &Daemon, volume: &Volume) {
    let extents = volume.extents();
    let verdict = daemon.alert(&labels(volume));
    assert_eq!((&verdict["verdict"], &verdict["code"]), (&"refused".into(), &"unknown_target".into()), "{verdict}");
    assert_eq!(volume.extents(), extents);
}

fn is_selected(daemon: &Daemon, volume: &Volume) -> bool {
    let page: serde_json::Value = serde_json::from_str(&daemon.get("/api/v1/targets").body).expect("JSON");
    let targets = page["targets"].as_array().expect("a list");
    targets.iter().any(|target| target["lv"] == *volume.lv && target["vg"] == *volume.vg)
}

fn comes_and_goes(daemon: &Daemon, volume: &Volume, selected: bool) {
    daemon.wait_for("the policies to be applied", |daemon| (is_selected(daemon, volume) == selected).then_some(()));
}

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn a_dozen_volumes_of_which_those_that_policies_select_grow() {
    let group = Group::new("vmt_policies", &["2G"]);
    let foreign = Group::new("vmt_policies_foreign", &["1G"]);
    let one = full(&foreign, "tagged");
    tag(&one, "--addtag");
    sh("umount", &[path(&one.mount_point)]);
    sh("vgchange", &["-qq", "-an", &foreign.name]);
    sh("vgchange", &["-qq", "-y", "--systemid", "db2", &foreign.name]);

    let tagged: Vec<Volume> = ["t1", "t2"].map(|name| full(&group, name)).into();
    tagged.iter().for_each(|volume| tag(volume, "--addtag"));
    let named: Vec<Volume> = ["pg_1", "pg_2", "pg_boot"].map(|name| full(&group, name)).into();
    let others: Vec<Volume> = ["web", "t3"].map(|name| full(&group, name)).into();
    sh("lvcreate", &["-qq", "-y", "-s", "-l", "4", "-n", "pg_snapshot", &tagged[0].name()]);
    let snapshot = group.volume("pg_snapshot");
    tag(&snapshot, "--addtag");
    fs::create_dir_all(&snapshot.mount_point).expect("a mount point");
    sh("mount", &["-o", "ro", &snapshot.path(), path(&snapshot.mount_point)]);

    let (name, boot) = (&group.name, path(&named[2].mount_point));
    let policies = format!(
        "policies:
  - {{ name: never, match: {{ vg: '*', mount_point: '{boot}' }}, mode: 'off' }}
  - {{ name: named, match: {{ vg: {name}, lv: 'pg_*', fs: [ext4] }}, max_size: 1GiB, increment: 32MiB, min_increment: 4MiB }}
  - {{ name: tagged, match: {{ vg: '{name}*', tag: '@autoscale' }}, max_size: 1GiB, increment: 32MiB, min_increment: 4MiB }}
"
    );
    let daemon =
        Daemon::start(&group, &(config(&group, &[], "").replace("  targets:\n", "  targets: []\n") + &policies));
    // The first two grow by their tags; the snapshot on one of them is not there any more when that grows.
    is_no_target(&daemon, &snapshot);
    sh("umount", &[path(&snapshot.mount_point)]);
    sh("lvremove", &["-qq", "-y", &snapshot.name()]);
    tagged.iter().chain(&named[..2]).for_each(|volume| grown(&daemon, volume));
    assert_eq!(answer(&daemon, &named[2], &labels(&named[2])).result.as_str(), "mode_off");
    others.iter().for_each(|volume| is_no_target(&daemon, volume));

    // Made while the daemon runs, tagged while it runs, and untagged.
    let new: Vec<Volume> = ["new", "pg_new"].map(|name| full(&group, name)).into();
    comes_and_goes(&daemon, &new[1], true);
    grown(&daemon, &new[1]);
    is_no_target(&daemon, &new[0]);
    tag(&new[0], "--addtag");
    comes_and_goes(&daemon, &new[0], true);
    grown(&daemon, &new[0]);
    tag(&others[1], "--addtag");
    comes_and_goes(&daemon, &others[1], true);
    tag(&others[1], "--deltag");
    comes_and_goes(&daemon, &others[1], false);
    is_no_target(&daemon, &others[1]);

    // Renamed it is another volume, which no policy selects, until its mount says so too.
    sh("lvrename", &["-qq", name, "pg_1", "my_1"]);
    comes_and_goes(&daemon, &named[0], false);
    let history = answer(&daemon, &named[1], &labels(&named[1]));
    assert_eq!(history.result.as_str(), "cooldown", "{}", history.sentence);

    // Nothing of the other host's group was touched, although it has the tag.
    let alert = [("alertname", "x"), ("instance", "vm:19845"), ("vg", foreign.name.as_str()), ("lv", "tagged")];
    assert_eq!(daemon.alert(&alert)["code"], "unknown_target");
    let size = sh("lvs", &["--foreign", "--noheadings", "--units", "m", "--nosuffix", "-o", "lv_size", &one.name()]);
    assert_eq!(size.trim(), "24.00");
    drop(daemon);
    try_sh("vgchange", &["-qq", "-y", "--config", "local/extra_system_ids=[\"db2\"]", "--systemid", "", &foreign.name]);
    for volume in tagged.iter().chain(&named[1..]).chain(&new) {
        volume.unmount_and_check("ext4");
    }
}
