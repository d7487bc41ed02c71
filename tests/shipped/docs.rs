//! Documents that are written from the code are what the code writes now. `UPDATE_DOCS=1` writes them.

use crate::common::is_up_to_date;
use lvm_autoscaler::plan::{Code, guard};
use lvm_autoscaler::{config, metrics};

const UPDATE: &str = "UPDATE_DOCS=1 cargo test --test shipped docs::";

#[test]
fn the_metrics_reference_is_up_to_date() {
    is_up_to_date("docs/metrics.md", &metrics::reference::page(), UPDATE);
}

#[test]
fn the_config_reference_is_up_to_date() {
    is_up_to_date("docs/configuration.md", &config::reference::page(), UPDATE);
}

#[test]
fn the_guards_reference_is_up_to_date_and_has_every_code_once_and_in_order() {
    let page = guard::reference::page();
    is_up_to_date("docs/guards.md", &page, UPDATE);
    let listed: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    assert_eq!(listed, Code::ALL.iter().map(|code| code.as_str()).collect::<Vec<_>>());
    let asked: Vec<Code> = Code::ALL.iter().copied().filter(|code| code.guard().is_some()).collect();
    assert!(asked.is_sorted(), "the guards are asked in the order of the codes");
}

const TESTS: &str = "# Tests

<!-- Written from the first words of each file by `UPDATE_DOCS=1 cargo test --test shipped docs::`; edit those. -->

`make test` does its own set-up and runs all of these, except those that only `make soak` runs; CONTRIBUTING.md describes how to run some of them. LVM (in
the virtual machine), Prometheus, Alertmanager, promtool, amtool and browsers are the real programs. The simulated host (`src/host/sim`) is for breadth and
faults.

| script | |
|---|---|
| `all.sh` | `make test`: runs and counts everything below |
| `engine/`, `edge/`, `shipped/`, `attack/` | four programs of `cargo test`, with a module for each subject, below |
| `soak.sh` | `make soak`: the long proofs, one section each, with a table of figures |
| `shipped.sh`, `shipped/check.py` | rules, configs and dashboards, checked by their own tools and in use ([README](shipped/README.md)) |
| `vm/run.sh`, `vm/cuts.sh`, `vm/install.sh`, `vm/demo.sh` | in the virtual machine ([README](vm/README.md)) |
| `scenes/run.sh` | the commands of docs/drills.md and docs/lvm/troubleshooting.md, in the virtual machine |
| `split.sh` | stands for `serve` in tests: the same daemon as two processes; with `LVM_AUTOSCALER_SPLIT=1` the edge and the virtual-machine suite use it |
| `unit.sh` | stands for `serve` under systemd: the two services of the packages, with their units; with `LVM_AUTOSCALER_UNIT=1` the virtual-machine suite uses it |
| `tell.sh`, `browser.sh`, `fleet.sh` | real mail servers, a real Chromium, five hosts in network namespaces |
| `mutants.sh` | changes of the code, one at a time: which of them no test notices |
| `bench/` | `make bench` and `make tuning`: measurements |
";

/// Each file of tests says in its first words what it is about.
#[test]
fn the_list_of_tests_is_up_to_date() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let mut page = TESTS.to_owned();
    for (title, folder) in [
        ("Decisions and operations", "engine"),
        ("The program as it is called", "edge"),
        ("What is shipped", "shipped"),
        ("Attacks", "attack"),
        ("In the virtual machine", "vm"),
    ] {
        page.push_str(&format!("\n## {title}\n\n| file | |\n|---|---|\n"));
        let entries = std::fs::read_dir(root.join(folder)).expect("a folder");
        let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
        paths.sort();
        let is_test = |path: &&std::path::PathBuf| path.extension().is_some_and(|end| end == "rs");
        for path in paths.iter().filter(is_test) {
            let text = std::fs::read_to_string(path).expect("readable");
            let words: Vec<&str> = text.lines().map_while(|line| line.strip_prefix("//! ")).collect();
            let words = words.join(" ");
            let first = words.split_once(". ").map_or(words.as_str(), |(first, _)| first).trim_end_matches('.');
            let name = path.strip_prefix(&root).expect("below").display();
            page.push_str(&format!("| `{name}` | {} |\n", first.replace('|', "\\|")));
        }
    }
    is_up_to_date("tests/README.md", &page, UPDATE);
}

/// Three places leave out the everyday no: notifications and findings of the report by the constant, the alert by its
/// expression.
#[test]
fn the_alert_about_refusals_leaves_out_the_everyday_ones() {
    let file = format!("{}/alerts/people.yml", env!("CARGO_MANIFEST_DIR"));
    let rules = std::fs::read_to_string(file).expect("readable");
    let left_out_of = |metric: &str| -> Vec<String> {
        let (_, rest) = rules.split_once(&format!("{metric}{{")).expect(metric);
        let (_, codes) = rest.split_once("code!~\"").expect("codes");
        codes.split('"').next().expect("an end").split('|').map(str::to_owned).collect()
    };
    assert_eq!(left_out_of("lvm_autoscaler_refusals_total"), Code::EVERYDAY.map(Code::as_str));
    // And the one about headroom speaks only of what bounds a growth.
    let bounds = left_out_of("lvm_autoscaler_target_held_back");
    let is_code = |name: &String| Code::ALL.iter().any(|code| code.as_str() == name);
    assert!(bounds.iter().all(is_code), "{bounds:?}");
}

/// Every rule file, the one for node_exporter too. Who is woken at night finds the same answers on each page, in this
/// order.
#[test]
fn every_alert_has_a_complete_runbook() {
    const ASKED: [&str; 5] = [
        "What it means",
        "How to see it",
        "What to do",
        "What the daemon does itself, and when it ends",
        "Where this tool shows it",
    ];
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut alerts = std::collections::BTreeSet::new();
    for entry in std::fs::read_dir(root.join("alerts")).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|extension| extension != "yml") {
            continue;
        }
        let rules = std::fs::read_to_string(&path).expect("readable");
        let file: serde_yaml::Value = serde_yaml::from_str(&rules).expect("YAML");
        let groups = file["groups"].as_sequence().expect("groups");
        let rules = groups.iter().flat_map(|group| group["rules"].as_sequence().expect("rules"));
        alerts.extend(rules.filter_map(|rule| rule["alert"].as_str().map(str::to_owned)));
    }
    assert!(alerts.len() > 25, "{alerts:?}");
    let mut wrong = Vec::new();
    for alert in alerts {
        let page = std::fs::read_to_string(root.join(format!("docs/runbooks/{alert}.md"))).unwrap_or_default();
        let sections: Vec<(&str, &str)> =
            page.split("\n## ").skip(1).filter_map(|part| part.split_once('\n')).collect();
        if sections.iter().map(|(title, _)| *title).ne(ASKED) {
            wrong.push(format!("{alert}: has {:?}", sections.iter().map(|(title, _)| title).collect::<Vec<_>>()));
        }
        wrong.extend(
            sections
                .iter()
                .filter(|(_, text)| text.trim().is_empty())
                .map(|(title, _)| format!("{alert}: {title}: empty")),
        );
        if !sections.iter().any(|(title, text)| *title == "How to see it" && text.contains("```sh\n")) {
            wrong.push(format!("{alert}: no command that shows it"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A block after `<!-- run: NAME -->` is promised to be run as it stands: some script that follows the document names
/// it.
#[test]
fn every_block_that_is_said_to_be_run_is_run() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let scripts: Vec<String> =
        files(&root.join("tests")).iter().filter_map(|path| std::fs::read_to_string(path).ok()).collect();
    let (mut blocks, mut wrong) = (0, Vec::new());
    for path in files(&root.join("docs")).iter().filter(|path| path.extension().is_some_and(|end| end == "md")) {
        let name = path.file_name().and_then(|name| name.to_str()).expect("a name");
        let page = std::fs::read_to_string(path).expect("readable");
        for block in page.lines().filter_map(|line| line.strip_prefix("<!-- run: ")?.strip_suffix(" -->")) {
            blocks += 1;
            let is_word = |word: &str| word == block;
            let follows = |script: &&String| {
                script.contains("follow")
                    && script.contains(name)
                    && script.split([' ', '\n', '"', ';', ')']).any(is_word)
            };
            if scripts.iter().find(follows).is_none() {
                wrong.push(format!("{name}: {block}"));
            }
        }
    }
    assert!(blocks > 60, "only {blocks} blocks were found");
    assert!(wrong.is_empty(), "run by nobody: {}", wrong.join(", "));
}

/// The README's first command, with the one that needs no port and no state.
#[test]
#[expect(clippy::disallowed_methods, reason = "runs the program")]
fn what_the_readme_has_a_newcomer_try_works() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = std::fs::read_to_string(root.join("README.md")).expect("readable");
    let line = readme.lines().find_map(|line| line.strip_prefix("cargo run --locked -- serve ")).expect("the command");
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_lvm-autoscaler"))
        .arg("plan")
        .args(line.split(' '))
        .current_dir(root)
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("storage_vg/data_lv at /data") && said.contains("storage_vg/xfs_lv at /srv/media"), "{said}");
}

fn files(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push(path),
        }
    }
    found
}
