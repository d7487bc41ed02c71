//! Documents that are written from the code are what the code writes now. `UPDATE_DOCS=1` writes them.

use lvm_autoscaler::metrics::reference;

#[test]
#[expect(clippy::disallowed_methods, reason = "writes the document when asked to")]
fn the_metrics_reference_is_up_to_date() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md");
    let wanted = reference::page();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(file, &wanted).expect("writable");
    }
    let written = std::fs::read_to_string(file).unwrap_or_default();
    assert!(written == wanted, "docs/metrics.md is not what src/metrics says: UPDATE_DOCS=1 cargo test --test docs");
}
