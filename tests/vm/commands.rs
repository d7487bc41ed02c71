//! What a person types, on real LVM: by each name a volume has, alone and through the daemon, with the exit codes.

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::daemon::{Daemon, config, program, script};
use crate::grow::{assert_grown_once, small};
use crate::storage::{EXTENT, Group, path, sh};

/// Exit code, standard output, standard error.
fn say(group: &Group, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(program());
    command.args(arguments).arg(format!("--config.file={}", path(&group.dir.join("config.yaml"))));
    let output = command.output().expect("it runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn json(group: &Group, command: &str) -> Value {
    let (code, printed, told) = say(group, &[command, "--format=json"]);
    assert_eq!((code, told.as_str()), (Some(0), ""), "{command}: {printed}");
    serde_json::from_str(&printed).expect("JSON")
}

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn a_person_extends_looks_back_and_reports() {
    let group = Group::new("vmt_person", &["1G"]);
    let ext4 = group.filesystem("ext4", "data", small("ext4"));
    let xfs = group.filesystem("xfs", "media", small("xfs"));
    let place = path(&ext4.mount_point);
    // Fails for as long as a file of that name is there.
    let broken = group.dir.join("broken");
    let tool =
        format!("[ ! -e {} ] || {{ echo 'Input/output error' >&2; exit 1; }}\nexec resize2fs \"$@\"\n", path(&broken));
    let tool = script(&group.dir, "resize2fs", &tool);
    let settings = format!("defaults: {{ cooldown: 0s }}\ntools: {{ resize2fs: {tool} }}");
    fs::write(group.dir.join("config.yaml"), config(&group, &[&ext4, &xfs], &settings)).expect("a config file");

    // No daemon runs.
    let (extents, df_size) = (ext4.extents(), ext4.df_size());
    let (code, printed, told) = say(&group, &["extend", &ext4.name()]);
    assert_eq!((code, told.as_str()), (Some(0), ""), "{printed}");
    assert!(printed.starts_with("vmt_person/data: grown (op-1): "), "{printed}");
    assert_grown_once(&ext4, extents, df_size);

    let before = group.fingerprint();
    let (code, printed, told) = say(&group, &["extend", place, "--by=16MiB", "--dry-run"]);
    assert_eq!((code, told.as_str()), (Some(0), ""), "{printed}");
    assert!(printed.contains(&format!(" -l {} -- vmt_person/data", ext4.extents() + 4)), "{printed}");
    let (code, printed, _) = say(&group, &["extend", &ext4.path(), "--by=4GiB"]);
    assert_eq!(code, Some(3), "{printed}");
    assert!(printed.starts_with("vmt_person/data: refused: insufficient_space: "), "{printed}");
    assert_eq!(group.fingerprint(), before, "neither changed anything");

    // Through the daemon: the other kind, by the name that df shows.
    let daemon = Daemon::start(&group, &fs::read_to_string(group.dir.join("config.yaml")).expect("a config"));
    let (extents, df_size) = (xfs.extents(), xfs.df_size());
    let (code, printed, told) = say(&group, &["extend", "/dev/mapper/vmt_person-media"]);
    assert_eq!((code, told.as_str()), (Some(0), ""), "{printed}\n{}", daemon.log());
    assert_grown_once(&xfs, extents, df_size);
    assert!(daemon.log().contains("extend requested on the control socket"), "the daemon has done it");
    assert_eq!(say(&group, &["pause", path(&xfs.mount_point)]).0, Some(0));
    let (code, printed, _) = say(&group, &["extend", path(&xfs.mount_point)]);
    assert_eq!((code, printed.starts_with("vmt_person/media: refused: paused: ")), (Some(3), true), "{printed}");
    assert_eq!(say(&group, &["resume"]).0, Some(0));

    // Half of it is done: what is left is said, and does it.
    fs::write(&broken, "").expect("a file");
    let (extents, df_size) = (ext4.extents(), ext4.df_size());
    let (code, printed, _) = say(&group, &["extend", place]);
    let left = "resize2fs /dev/mapper/vmt_person-data";
    assert_eq!(code, Some(4), "{printed}");
    assert!(printed.ends_with(&format!("what is left, in this order:\n  {left}\n")), "{printed}");
    fs::remove_file(&broken).expect("a file");
    let report = json(&group, "report");
    let findings = report["findings"].as_array().expect("findings");
    let parked = findings.iter().find(|finding| finding["code"] == "needs_attention").expect("it is in the report");
    assert_eq!(parked["commands"], serde_json::json!([left]), "{parked}");
    assert_eq!(say(&group, &["extend", place]).0, Some(3), "closed until then");
    sh("sh", &["-c", left]);
    assert_grown_once(&ext4, extents, df_size);
    let (code, printed, told) = say(&group, &["extend", place, "--by=16MiB"]);
    assert_eq!((code, told.as_str()), (Some(0), ""), "{printed}");
    assert_eq!(ext4.extents(), extents + 12);

    // What is told afterwards is what LVM says, with the daemon and without.
    let asked = json(&group, "report");
    assert!(daemon.stop().success());
    for report in [asked, json(&group, "report")] {
        let free = sh("vgs", &["--noheadings", "--units", "b", "--nosuffix", "-o", "vg_free", "vmt_person"]);
        let groups = report["volume_groups"].as_array().expect("groups");
        let row = groups.iter().find(|row| row["name"] == "vmt_person").expect("ours");
        assert_eq!(row["free"].to_string(), free.trim());
        for volume in [&ext4, &xfs] {
            let volumes = report["logical_volumes"].as_array().expect("volumes");
            let row = volumes.iter().find(|row| row["name"] == volume.name().as_str()).expect("ours");
            assert_eq!(row["size"], volume.extents() * EXTENT);
            let filesystems = report["filesystems"].as_array().expect("file systems");
            let row = filesystems.iter().find(|row| row["lv"] == volume.name().as_str()).expect("ours");
            assert_eq!(row["size"], volume.df_size());
        }
    }
    let rows = json(&group, "history");
    let results: Vec<&str> = rows.as_array().expect("rows").iter().filter_map(|row| row["result"].as_str()).collect();
    let expected = [
        "grown",
        "insufficient_space",
        "grown",
        "paused",
        "paused",
        "resumed",
        "needs_attention",
        "operation_in_progress",
        "cleared",
        "grown",
    ];
    assert_eq!(results, expected, "{rows}");
}
