//! docs/commands.md is what the program prints: its examples are run on a simulated host. `UPDATE_DOCS=1` writes them.

use std::process::Stdio;

use crate::common::place::{Place, Served};
use regex::Regex;

const HOST: &str = "
names: [db1]
volume_groups:
  - name: storage_vg
    physical_volumes: [{ name: /dev/sdb, size: 20GiB }]
    logical_volumes:
      - { name: data_lv, size: 4GiB, filesystem: { type: ext4, mount_point: /data, used: 71% } }
      - { name: media_lv, size: 4GiB, filesystem: { type: xfs, mount_point: /srv/media, used: 85% } }
";

const CONFIG: &str = "
monitor:
  targets:
    - { lv_path: /dev/storage_vg/data_lv, mount_point: /data, increment: 2GiB, max_size: 100GiB }
    - { lv_path: /dev/storage_vg/media_lv, mount_point: /srv/media, increment: 2GiB }
";

#[test]
fn the_documented_commands_print_what_is_documented() {
    let file = format!("{}/docs/commands.md", env!("CARGO_MANIFEST_DIR"));
    let document = std::fs::read_to_string(&file).expect("the document");
    let place = Place::new(CONFIG);
    place.write("host.yaml", HOST);
    let mut daemon = None;
    let (mut written, mut inside) = (String::new(), false);
    for line in document.lines() {
        match line {
            "```console" => inside = true,
            "```" => inside = false,
            _ => {}
        }
        if !inside || line == "```console" {
            written.push_str(&format!("{line}\n"));
        } else if let Some(command) = line.strip_prefix("$ ") {
            written.push_str(&format!("{line}\n{}", run(&place, command, &mut daemon)));
        }
    }
    if std::env::var_os("UPDATE_DOCS").is_some() {
        place.write(&file, &written);
        return;
    }
    assert!(
        document == written,
        "docs/commands.md is not what is printed: UPDATE_DOCS=1 cargo test --test shipped transcript::\n{written}"
    );
}

/// What one command prints, and its exit code if that is not 0.
fn run(place: &Place, command: &str, daemon: &mut Option<Served>) -> String {
    let (command, last) = match command.split_once(" | tail -") {
        Some((command, lines)) => (command, lines.parse().expect("a number")),
        None => (command, usize::MAX),
    };
    let words = command.strip_prefix("lvm-autoscaler ").expect("this program");
    if words == "serve &" {
        *daemon = Some(place.serve(&[]));
        return String::new();
    }
    let (config, host) = (place.config(), place.host());
    let mut arguments: Vec<&str> = words.split(' ').collect();
    match arguments[0] {
        "check-config" => arguments.push("config.yaml"),
        "init" => arguments.push(&host),
        _ => arguments.extend([config.as_str(), host.as_str()]),
    }
    let child = place.start(&arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let output = child.wait_with_output().expect("it ends");
    let text = String::from_utf8([output.stdout, output.stderr].concat()).expect("text");
    let code = output.status.code().expect("it ends by itself");
    // Which programs are installed differs from machine to machine.
    let is_shown = |line: &&str| !line.is_empty() && !line.starts_with("  on this host ");
    let mut lines: Vec<&str> = text.lines().filter(is_shown).collect();
    lines.drain(..lines.len().saturating_sub(last));
    let mut shown: String = lines.iter().map(|line| format!("{}\n", timeless(place, line))).collect();
    if code != 0 {
        shown.push_str(&format!("[exit code {code}]\n"));
    }
    shown
}

/// What differs from run to run: times, and where the test's folder is.
fn timeless(place: &Place, line: &str) -> String {
    let line = line.replace(&place.path("state/simulated").display().to_string(), "/var/lib/lvm-autoscaler");
    let line = line.replace(&place.path("config.yaml").display().to_string(), "/etc/lvm-autoscaler/config.yaml");
    let line = line.replace("config.yaml: valid", "/etc/lvm-autoscaler/config.yaml: valid");
    [
        (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "2026-01-31 08:00:00"),
        (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "2026-01-31T08:00:00Z"),
        (r"\d{8}T\d{6}(\.\d+)?Z", "20260131T080000.000Z"),
        (r"wait (\d+[ms] ?)+", "wait 9m 59s"),
    ]
    .iter()
    .fold(line, |line, (pattern, plain)| {
        Regex::new(pattern).expect("a pattern").replace_all(&line, *plain).into_owned()
    })
}
