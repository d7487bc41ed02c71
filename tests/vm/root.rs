//! The root file system itself is on LVM and has no byte left, and all that the daemon writes lies on it.
//!
//! A small root with the programs and libraries that are needed is made on a volume; in a mount namespace of its own
//! the daemon has it as `/`, like every program it runs.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::Command;

use crate::daemon::{Daemon, labels, program, script};
use crate::grow::small;
use crate::storage::{Group, Volume, path, sh, try_sh};

const PROGRAMS: [&str; 13] = [
    "/sbin/lvm",
    "/sbin/blkid",
    "/sbin/resize2fs",
    "/sbin/e2fsck",
    "/usr/sbin/xfs_growfs",
    "/sbin/dmsetup",
    "/bin/umount",
    "/bin/rmdir",
    "/bin/sh",
    // For tests/split.sh.
    "/bin/bash",
    "/bin/rm",
    "/usr/bin/mktemp",
    "/usr/bin/setpriv",
];
const STATE: &str = "var/lib/lvm-autoscaler";

/// Copies the programs with what they are linked to.
fn furnish(root: &Path) {
    for folder in
        ["proc", "sys", "dev", "run", "tmp", "old", "usr/sbin", "usr/bin", "usr/lib", "usr/lib64", "etc", "var/lib"]
    {
        fs::create_dir_all(root.join(folder)).expect("a folder");
    }
    for (link, to) in [("bin", "usr/bin"), ("sbin", "usr/sbin"), ("lib", "usr/lib"), ("lib64", "usr/lib64")] {
        std::os::unix::fs::symlink(to, root.join(link)).expect("a link");
    }
    let mut files: Vec<String> = PROGRAMS.map(str::to_owned).into();
    for program in PROGRAMS {
        let linked = sh("ldd", &[program]);
        files.extend(linked.split_whitespace().filter(|word| word.starts_with('/')).map(str::to_owned));
    }
    for file in files {
        let to = root.join(file.trim_start_matches('/'));
        fs::create_dir_all(to.parent().expect("a folder")).expect("a folder");
        fs::copy(&file, &to).expect("a file");
    }
    sh("cp", &["-a", "/etc/lvm", path(&root.join("etc/lvm"))]);
    fs::copy(program(), root.join("usr/bin/started")).expect("a file");
    let own = program().with_file_name("lvm-autoscaler");
    if program() != own {
        fs::copy(own, root.join("usr/bin/lvm-autoscaler")).expect("a file");
    }
}

/// Starts the daemon with the volume as its root.
fn start(group: &Group, volume: &Volume) -> Daemon {
    let root = path(&volume.mount_point);
    let enter = script(
        &group.dir,
        "enter",
        &format!(
            "set -e\nmount --make-rprivate /\nmount --bind {root} {root}\ncd {root}\n\
             for at in proc sys dev run; do mount --rbind /$at $at; done\npivot_root . old\ncd /\numount -l /old\n\
             export PROGRAM=/usr/bin/lvm-autoscaler TMPDIR=/run\nexec /usr/bin/started \"$@\"\n"
        ),
    );
    let mut command = Command::new("unshare");
    command.args(["--mount", &enter, "serve", "--web.listen-address=127.0.0.1:0", "--config.file=/etc/config.yaml"]);
    Daemon::run(command, volume.mount_point.join(STATE))
}

/// Writes until nothing fits any more, first in large pieces and then in bytes.
fn fill_to_the_last_byte(root: &Path) {
    for (number, size) in ["64M", "8M", "1M", "64K", "4K", "1K"].into_iter().enumerate() {
        for again in 0..2000 {
            let file = root.join(format!("fill{number}.{again}"));
            if !try_sh("fallocate", &["-l", size, path(&file)]).0 {
                break;
            }
        }
    }
    let mut file = File::create(root.join("fill"))
        .unwrap_or_else(|_| File::options().append(true).open(root.join("fill0.0")).expect("a file"));
    while file.write_all(&[b'x'; 512]).is_ok() && file.sync_data().is_ok() {}
    let left =
        fs::write(root.join("one-more"), [b'x'; 4096]).and_then(|()| File::open(root.join("one-more"))?.sync_all());
    assert!(left.is_err(), "root could still write");
}

fn a_full_root_grows(kind: &str, name: &str) {
    let group = Group::new(name, &["2G"]);
    let size = if kind == "xfs" { small(kind) } else { "160M" };
    let mut volume = group.filesystem(kind, "root", size);
    furnish(&volume.mount_point);
    let targets = format!(
        "defaults: {{ cooldown: 0s }}\nstate: {{ directory: /{STATE} }}\nmonitor:\n  targets:\n    - lv_path: {}\n      mount_point: /\n      increment: 32MiB\n",
        volume.path()
    );
    fs::write(volume.mount_point.join("etc/config.yaml"), targets).expect("a file");
    let data = volume.write_data();

    // It was running when there was room, and is running when there is none; and starts as well.
    let daemon = start(&group, &volume);
    fill_to_the_last_byte(&volume.mount_point);
    assert_eq!(daemon.get("/-/ready").status, 200);
    assert!(daemon.stop().success());
    let (extents, df_size) = (volume.extents(), volume.df_size());
    let daemon = start(&group, &volume);
    fill_to_the_last_byte(&volume.mount_point);
    let outside = std::mem::replace(&mut volume.mount_point, "/".into());
    daemon.alert(&labels(&volume));
    let past = daemon.wait_for_outcome(&volume, "grown");
    volume.mount_point = outside;
    // As many increments as it takes to be below the threshold again.
    let grew = volume.extents() - extents;
    assert!(grew > 0 && grew.is_multiple_of(8) && grew <= 24, "{grew}: {}", past.sentence);
    assert!(past.sentence.contains(&format!("to {} MiB", volume.extents() * 4)), "{}", past.sentence);
    assert!(volume.df_size() > df_size, "{} is more than {df_size}", volume.df_size());
    fs::write(volume.mount_point.join("room"), [b'x'; 1 << 20]).expect("there is room again");
    data.assert_intact();
    assert!(daemon.stop().success());
    sh("umount", &[path(&volume.mount_point)]);
    // The daemon's own view of the mounts ends a moment after it, and with that the last mount: only then is all
    // written.
    for _ in 0..300 {
        if volume.lvs("lv_device_open").is_empty() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    match kind {
        "xfs" => sh("xfs_repair", &["-n", &volume.path()]),
        _ => sh("e2fsck", &["-f", "-n", &volume.path()]),
    };
}

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn an_ext4_root_without_a_free_byte_grows() {
    a_full_root_grows("ext4", "vmt_root_ext4");
}

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn an_xfs_root_without_a_free_byte_grows() {
    a_full_root_grows("xfs", "vmt_root_xfs");
}
