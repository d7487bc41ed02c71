//! What the two processes of a daemon open, as strace(1) sees it: the engine no socket that leads to a network, the web
//! process no file but those of docs/security.md.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use crate::daemon::{Daemon, config, labels, script};
use crate::grow::{assert_grown_once, small};
use crate::storage::{Group, path};

/// The web process as nobody, who has no capabilities. strace(1) follows what the engine starts as well; told to end it
/// would leave them alone, so that they are told.
const BOTH: &str = r#"
cd "$FOLDER"
engine() { exec setpriv --pdeathsig KILL strace -f -qq -o engine.strace -e trace=socket \
    setpriv --pdeathsig KILL "$PROGRAM" engine --engine.socket=/run/vmt_privileges.sock --web.user=nobody "$@"; }
web() { exec setpriv --pdeathsig KILL strace -f -qq -o web.strace -e trace=%file,socket,seccomp \
    setpriv --reuid nobody --regid nogroup --clear-groups --bounding-set -all --inh-caps -all --pdeathsig KILL \
    "$PROGRAM" web --engine.socket=/run/vmt_privileges.sock "$@"; }
trap 'pkill -TERM -x lvm-autoscaler' TERM
engine "$@" &
web "$@" &
wait
wait
"#;

/// What comes after it confined itself, if it was done.
fn confined(trace: &str) -> Vec<&str> {
    let calls = trace.lines().skip_while(|line| !line.contains("SECCOMP_SET_MODE_FILTER")).skip(1);
    calls.filter(|line| !line.contains(" = -1 ")).collect()
}

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn the_engine_has_no_network_and_the_web_process_no_files() {
    let group = Group::new("vmt_privileges", &["2G"]);
    let volume = group.filesystem("ext4", "data", small("ext4"));
    volume.fill(88.0);
    let (extents, df_size) = (volume.extents(), volume.df_size());
    let both = script(&group.dir, "both", BOTH);
    let file = group.dir.join("config.yaml");
    fs::write(&file, config(&group, &[&volume], "")).expect("a config file");
    let program = std::env::current_exe().expect("a path").with_file_name("lvm-autoscaler");
    let mut command = Command::new(both);
    command.env("FOLDER", &group.dir).env("PROGRAM", program);
    command.args([&format!("--config.file={}", path(&file)), "--web.listen-address=127.0.0.1:0"]);
    let daemon = Daemon::run(command, group.dir.join("state"));
    assert_eq!(daemon.alert(&labels(&volume))["verdict"], "accepted");
    daemon.wait_for_outcome(&volume, "grown");
    for page in ["/metrics", "/", "/report", "/-/healthy"] {
        assert_eq!(daemon.get(page).status, 200, "{page}");
    }
    assert_grown_once(&volume, extents, df_size);
    let log = daemon.log();
    assert!(log.contains("seccomp=yes") && !log.contains("landlock=no"), "{log}");
    assert!(daemon.stop().success());

    let read = |name: &str| fs::read_to_string(group.dir.join(name)).expect("a trace");
    let engine = read("engine.strace");
    assert!(engine.contains("AF_UNIX"), "strace sees nothing: {engine}");
    let network: Vec<&str> =
        engine.lines().filter(|line| line.contains("AF_INET") || line.contains("AF_PACKET")).collect();
    assert!(network.is_empty(), "{network:#?}");
    let web = read("web.strace");
    let calls = confined(&web);
    let written = ["O_WRONLY", "O_RDWR", "O_CREAT", "unlink", "rename", "mkdir", "chmod", "symlink", "exec"];
    let changes: Vec<&&str> = calls.iter().filter(|call| written.iter().any(|word| call.contains(word))).collect();
    assert!(changes.is_empty(), "{changes:#?}");
    let opened: BTreeSet<&str> = calls.iter().filter_map(|call| call.split('"').nth(1)).collect();
    assert!(opened.iter().any(|path| path.starts_with("/proc/self")), "strace sees nothing: {web}");
    // Those without a folder are looked up in that of the process itself, or are what is open.
    let known = [
        "/etc/localtime",
        "/etc/ssl/",
        "/proc/self",
        "/proc/stat",
        "/proc/sys/kernel/osrelease",
        "/usr/share/zoneinfo",
    ];
    let of_itself = ["", ".", "fd", "limits", "stat", "status"];
    let is_known = |path: &&&str| known.iter().any(|known| path.starts_with(known)) || of_itself.contains(*path);
    let others: Vec<&&str> = opened.iter().filter(|path| !is_known(path)).collect();
    assert!(others.is_empty(), "{others:?}");
}
