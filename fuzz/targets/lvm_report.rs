//! LVM's report: what is read holds together, and what is shown of it is well-formed whatever stands in it.

use std::sync::Arc;

use jiff::Timestamp;
use lvm_autoscaler::inventory::{Inventory, Latest, lvm};
use lvm_autoscaler::metrics::exposition::{Exposition, Shape};
use lvm_autoscaler::metrics::selection::Selection;
use lvm_autoscaler::metrics::text::Format;
use lvm_autoscaler::name::LvRef;

pub fn run(data: &[u8]) {
    let inventory = match lvm::parse(data, Timestamp::UNIX_EPOCH) {
        Ok(inventory) => inventory,
        Err(error) => return super::assert_plain(&error.to_string()),
    };
    assert!(inventory.oddities.len() <= 51 && inventory.unknown_fields.len() <= 50);
    inventory.oddities.iter().for_each(|oddity| super::assert_plain(oddity));
    assert!(inventory.vgs.is_sorted_by(|a, b| a.name <= b.name) && inventory.lvs.is_sorted_by(|a, b| a.name <= b.name));
    for lv in &inventory.lvs {
        assert_eq!(lv.name.to_string().parse::<LvRef>().as_ref(), Ok(&lv.name));
        assert!(inventory.vgs.iter().any(|vg| vg.name == lv.name.vg), "{} has no group", lv.name);
        // A name that two have is nobody's.
        let same = inventory.lvs.iter().filter(|other| other.name == lv.name).count();
        assert_eq!(inventory.lv(&lv.name).is_some(), same == 1);
        for percent in [lv.data_percent, lv.metadata_percent, lv.sync_percent].into_iter().flatten() {
            assert!((0.0..=100.0).contains(&percent.value()));
        }
    }
    show(inventory);
}

/// Each line of the page is a comment or one well-formed series.
fn show(inventory: Inventory) {
    let latest = Arc::new(Latest::default());
    latest.set(Some(inventory), std::time::Duration::ZERO);
    let selection = Selection { filesystem: false, lv_details: true, uuid_labels: true, ..Selection::default() };
    let exposition = Exposition::new(selection, latest, || None);
    for format in [Format::OpenMetrics, Format::Text] {
        let page = exposition.page(Shape { format, gzip: false }, |seen| seen, None, "").expect("it can be written");
        let page = String::from_utf8(page).expect("text");
        assert_eq!(page.ends_with("# EOF\n"), format == Format::OpenMetrics);
        for line in page.lines().filter(|line| !line.starts_with("# ")) {
            assert!(is_series(line), "{line:?} is no series");
        }
    }
}

/// `name{label="value",...} number`, the values with three escapes and no others.
fn is_series(line: &str) -> bool {
    let name = line.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '_');
    let Some(mut rest) = name.strip_prefix('{') else { return is_value(name) };
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '_');
        let Some(quoted) = rest.strip_prefix("=\"") else { return false };
        let mut chars = quoted.chars();
        loop {
            match chars.next() {
                None => return false,
                Some('"') => break,
                Some('\\') if !matches!(chars.next(), Some('\\' | '"' | 'n')) => return false,
                Some(_) => {}
            }
        }
        rest = chars.as_str();
        match rest.strip_prefix(',') {
            Some(next) => rest = next,
            None => return rest.strip_prefix('}').is_some_and(is_value),
        }
    }
}

fn is_value(text: &str) -> bool {
    text.strip_prefix(' ').is_some_and(|number| number.parse::<f64>().is_ok())
}
