//! Documents that are written from the code are what the code writes now. `UPDATE_DOCS=1` writes them.

use lvm_autoscaler::metrics;
use lvm_autoscaler::plan::{Code, guard};

#[expect(clippy::disallowed_methods, reason = "writes the document when asked to")]
fn is_up_to_date(name: &str, wanted: &str) {
    let file = format!("{}/{name}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&file, wanted).expect("writable");
    }
    let written = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(written == wanted, "{name} is not what the code says: UPDATE_DOCS=1 cargo test --test docs");
}

#[test]
fn the_metrics_reference_is_up_to_date() {
    is_up_to_date("docs/metrics.md", &metrics::reference::page());
}

#[test]
fn the_guards_reference_is_up_to_date_and_has_every_code_once_and_in_order() {
    let page = guard::reference::page();
    is_up_to_date("docs/guards.md", &page);
    let listed: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    assert_eq!(listed, Code::ALL.iter().map(|code| code.as_str()).collect::<Vec<_>>());
    let asked: Vec<Code> = guard::GUARDS.iter().map(|(code, _)| *code).collect();
    assert!(asked.is_sorted(), "the guards are asked in the order of the codes");
}
