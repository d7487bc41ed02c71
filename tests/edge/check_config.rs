//! Wrong configs of the kinds that people write, and a few right ones: what `check-config` prints of each.
//!
//! `tests/data/config/` holds them and `tests/golden/check-config.txt` the answers;
//! `UPDATE_GOLDEN=1 cargo test --test edge check_config::` writes that anew. Read each answer as somebody who wrote that file.

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
