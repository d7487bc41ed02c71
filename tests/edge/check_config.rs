//! Wrong configs of the kinds that people write, and a few right ones: what `check-config` prints of each.
//!
//! `tests/data/config/` holds them and `tests/golden/check-config.txt` the answers;
//! `UPDATE_GOLDEN=1 cargo test --test edge check_config::` writes that anew. Read each answer as somebody who wrote
//! that file.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use assert_cmd::cargo::cargo_bin;

use crate::common::is_up_to_date;
use crate::common::place::{err, out};

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/config")
}

#[expect(clippy::disallowed_methods, reason = "runs the program")]
fn check(file: &str) -> Command {
    let mut command = Command::new(cargo_bin("lvm-autoscaler"));
    command.args(["check-config", "--ignore-ownership", file]).current_dir(folder());
    command
}

/// What it printed that does not depend on the host it runs on.
fn printed(output: &Output) -> String {
    let text = out(output) + &err(output);
    text.lines().filter(|line| !line.starts_with("  on this host ")).map(|line| format!("{line}\n")).collect()
}

#[test]
fn for_each_wrong_config_what_a_person_needs() {
    let entries = std::fs::read_dir(folder()).expect("a folder");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("a name")).collect();
    names.sort();
    assert!(names.len() >= 80, "only {} configs", names.len());
    let mut text = String::new();
    for name in &names {
        let output = check(name).output().expect("the program");
        let printed = printed(&output);
        let is_valid = printed.starts_with(&format!("{name}: valid, "));
        assert_eq!(output.status.code(), Some(if is_valid { 0 } else { 2 }), "{name}: {printed}");
        for words in
            ["struct ", "field", "variant", "invalid type", "serde", "unit value", "Some(", "sequence", "scalar"]
        {
            assert!(!printed.contains(words), "{name}: {words:?} is a word of Rust's or of the parser's: {printed}");
        }
        // A place, for each, that the text has.
        let lines = std::fs::read(folder().join(name)).expect("a file").split(|byte| *byte == b'\n').count();
        for line in printed.lines().filter(|line| !is_valid && !line.ends_with(" errors") && !name.starts_with("aa-")) {
            let place = line.trim_start_matches("lvm-autoscaler: ").strip_prefix(&format!("{name}:")).expect(line);
            let (at, rest) = place.split_once(':').expect(line);
            let (column, _) = rest.split_once(": ").expect(line);
            let (at, column): (usize, usize) = (at.parse().expect(line), column.parse().expect(line));
            assert!((1..=lines).contains(&at) && column >= 1, "{line}");
        }
        text.push_str(&format!("## {name}\n{printed}\n"));
    }
    is_up_to_date("tests/golden/check-config.txt", &text, "UPDATE_GOLDEN=1 cargo test --test edge check_config::");
}

#[test]
fn standard_input_is_checked_like_a_file() {
    for (yaml, code, wants) in [
        ("monitor: {}\n", 0, "<stdin>: valid, 0 targets\n"),
        (
            "monitor:\n  targts: []\n",
            2,
            "lvm-autoscaler: <stdin>:2:3: monitor.targts: unknown key, did you mean `targets`?\n",
        ),
        (
            "a: \u{1}\n",
            2,
            "lvm-autoscaler: <stdin>:1:4: the control character '\\u{1}' is not allowed in YAML: delete it\n",
        ),
    ] {
        let mut child = check("-")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program");
        child.stdin.take().expect("standard input").write_all(yaml.as_bytes()).expect("written");
        let output = child.wait_with_output().expect("an end");
        assert_eq!((output.status.code(), printed(&output)), (Some(code), wants.to_owned()));
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a test writes its input")]
fn the_files_of_config_d_add_up() {
    let place = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| std::fs::write(place.path().join(name), text).expect("writable");
    std::fs::create_dir(place.path().join("config.d")).expect("a folder");
    let check = || {
        let output = check("config.yaml").current_dir(place.path()).output().expect("the program");
        (output.status.code(), printed(&output))
    };
    write("config.yaml", "defaults: { reserve: 5% }\nmonitor:\n  targets:\n    - { lv_path: vg/a, mount_point: /a }\n");
    write("config.d/20-c.yaml", "monitor:\n  targets:\n    - { lv_path: vg/c, mount_point: /c }\n");
    write(
        "config.d/10-b.yaml",
        "monitor: { interval_seconds: 60, targets: [{ lv_path: vg/b, mount_point: /b }] }\nreport:\n",
    );
    // What editors, package managers and people leave there is not read.
    for name in ["10-b.yaml~", ".10-b.yaml", "old.yaml.dpkg-old", "README"] {
        write(&format!("config.d/{name}"), "nonsense: [");
    }
    let (code, told) = check();
    let wanted = "config.yaml: valid, 3 targets
  with config.d/10-b.yaml
  with config.d/20-c.yaml
  vg/a at /a (act): above 80 % by 10 %, no max_size
  vg/b at /b (act): above 80 % by 10 %, no max_size
  vg/c at /c (act): above 80 % by 10 %, no max_size
";
    assert_eq!((code, told.as_str()), (Some(0), wanted));

    write(
        "config.d/30.yaml",
        "monitor:\n  interval_seconds: 30\n  targets: [{ lv_path: vg/b, mount_point: /d }]\ndefaults: [1]\n",
    );
    write("config.d/40.yaml", "x-mine: 1\nmonitor:\n  targets:\n    - lv_path: vg/e\n      mount_pint: /e\n");
    let (code, told) = check();
    let wanted = "lvm-autoscaler: 4 errors
config.d/30.yaml:2:3: monitor.interval_seconds: is set in config.d/10-b.yaml:1 too, and only lists add up: keep one of them
config.d/30.yaml:3:24: monitor.targets[0].lv_path: vg/b is named twice, the first is on line 1 of config.d/10-b.yaml: remove one of them
config.d/30.yaml:4:1: defaults: is set in config.yaml:1 too, and only lists add up: keep one of them
config.d/40.yaml:5:7: monitor.targets[0].mount_pint: unknown key, did you mean `mount_point`?
";
    assert_eq!((code, told.as_str()), (Some(2), wanted));
}
