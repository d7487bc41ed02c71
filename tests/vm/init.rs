//! `init` on real LVM: what it writes is accepted as it is, recommends and changes nothing, and grows what one word is
//! changed for.

use std::fs;
use std::process::Command;

use crate::daemon::{Daemon, labels, program};
use crate::decisions::answer;
use crate::grow::small;
use crate::storage::{Group, Volume, path, sh};

/// Exit code, and all that was printed.
fn say(group: &Group, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(program());
    let output = command.args(arguments).current_dir(&group.dir).output().expect("it runs");
    (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

/// Writes a config, and what only this test needs beside it.
fn init(group: &Group, arguments: &[&str]) -> String {
    let file = group.dir.join("config.yaml");
    let _ = fs::remove_file(&file);
    let (code, told) = say(group, &[&["init", "--output=config.yaml"], arguments].concat());
    assert_eq!(code, Some(0), "{told}");
    fs::create_dir_all(group.dir.join("config.d")).expect("a folder");
    let state = format!("state: {{ directory: {} }}\n", path(&group.dir.join("state")));
    fs::write(group.dir.join("config.d/state.yaml"), state).expect("a file");
    let (code, told) = say(group, &["check-config", "--live", "config.yaml"]);
    assert_eq!(code, Some(0), "{told}");
    fs::read_to_string(file).expect("it was written")
}

fn is_only_recommended(group: &Group, daemon: &Daemon, volume: &Volume) {
    let before = group.fingerprint();
    let past = answer(daemon, volume, &labels(volume));
    assert_eq!(past.result.as_str(), "recommended", "{}", past.sentence);
    assert_eq!(group.fingerprint(), before, "something was changed");
}

/// The daemon puts what stands in the file in force.
fn acts(group: &Group, daemon: &Daemon, text: &str, volume: &Volume) {
    fs::write(group.dir.join("config.yaml"), text).expect("a file");
    let (code, told) = say(group, &["reload", "--config.file=config.yaml"]);
    assert_eq!(code, Some(0), "{told}");
    let extents = volume.extents();
    let past = answer(daemon, volume, &labels(volume));
    assert_eq!(past.result.as_str(), "grown", "{}", past.sentence);
    assert_eq!(volume.extents(), extents + 256, "1 GiB, the least that is proposed");
}

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn what_init_writes_for_data_on_lvm_grows_it_once_a_word_is_changed() {
    let group = Group::new("vmt_init", &["8G"]);
    let (data, media) = (group.filesystem("ext4", "data", "64M"), group.filesystem("xfs", "media", small("xfs")));
    data.fill(88.0);
    let swap = group.lv("swap", "16M");
    sh("mkswap", &["-q", &swap.path()]);
    let text = init(&group, &[]);
    for volume in [&data, &media] {
        assert!(text.contains(&format!("lv_path: {}\n", volume.path())), "{text}");
    }
    assert!(text.contains("# - vmt_init/swap: no file system on it is mounted"), "{text}");
    let (code, told) = say(&group, &["init", "--output=config.yaml"]);
    assert!(code == Some(2) && told.contains("exists and is not overwritten"), "{told}");

    let daemon = Daemon::start(&group, &text);
    is_only_recommended(&group, &daemon, &data);
    let (before, entry) = text.split_at(text.find(&data.path()).expect("the target"));
    acts(&group, &daemon, &format!("{before}{}", entry.replacen("mode: recommend", "mode: act", 1)), &data);
    // The other target's word was not changed.
    media.fill(90.0);
    is_only_recommended(&group, &daemon, &media);
}

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn what_init_writes_for_a_thin_pool_as_policies_grows_what_is_made_later() {
    let group = Group::new("vmt_init_thin", &["8G"]);
    sh("lvcreate", &["-qq", "-y", "-T", "-L", "128M", "--poolmetadatasize", "4M", "vmt_init_thin/pool"]);
    let thin = group.lv_as("thin", &["-V", "64M", "--thinpool", "pool"]);
    thin.mkfs("ext4");
    group.mount(&thin, &[]);
    let text = init(&group, &["--policy"]);
    for line in ["    match: { vg: vmt_init_thin }\n", "    match: { vg: vmt_init_thin, thin_pool: \"*\" }\n"] {
        assert!(text.contains(line), "{text}");
    }
    let daemon = Daemon::start(&group, &text);
    let later = group.filesystem("ext4", "later", "64M");
    later.fill(88.0);
    daemon.wait_for("the policy to select it", |daemon| {
        daemon.get("/api/v1/targets").body.contains("later").then_some(())
    });
    is_only_recommended(&group, &daemon, &later);
    acts(&group, &daemon, &text.replace("mode: recommend", "mode: act"), &later);
}
