//! Reports recorded on real LVM (`tests/vm/record.rs`), read and shown as an operator would look at them. A change of
//! the parser that changes what a recorded host looks like shows up here as a change of text.
#![expect(clippy::panic, reason = "a test panics")]

use std::fmt::Write;
use std::path::Path;

use jiff::Timestamp;
use lvm_autoscaler::inventory::lvm::parse;
use lvm_autoscaler::inventory::{Inventory, Lv, Pv, Vg};
use lvm_autoscaler::units::Extents;

fn read(version: &str) -> Inventory {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/data/fullreport-{version}.json"));
    let json = std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    parse(&json, Timestamp::UNIX_EPOCH).expect("a report")
}

fn or_unknown<T: ToString>(value: Option<T>) -> String {
    value.map_or("?".to_owned(), |value| value.to_string())
}

/// The words for flags that are set; one that LVM left out shows with a question mark.
fn flags(flags: &[(&str, Option<bool>)]) -> String {
    let shown = flags.iter().filter_map(|(word, value)| match value {
        Some(true) => Some((*word).to_owned()),
        Some(false) => None,
        None => Some(format!("{word}?")),
    });
    shown.collect::<Vec<_>>().join(" ")
}

fn vg_line(vg: &Vg) -> String {
    let state = flags(&[
        ("read-only", vg.read_only),
        ("exported", vg.exported),
        ("partial", vg.partial),
        ("shared", vg.shared),
    ]);
    format!(
        "{}: {} of {}, {} free, {} PVs ({} missing), {} LVs, {} snapshots {state}",
        vg.name,
        or_unknown(vg.extent_count),
        or_unknown(vg.extent_size),
        or_unknown(vg.free_extents.map(|Extents(count)| count)),
        or_unknown(vg.pv_count),
        or_unknown(vg.missing_pv_count),
        or_unknown(vg.lv_count),
        or_unknown(vg.snapshot_count),
    )
}

fn lv_line(lv: &Lv) -> String {
    let name = if lv.hidden { format!("[{}]", lv.name.lv) } else { lv.name.lv.to_string() };
    let segments: Vec<String> = lv
        .segments
        .iter()
        .map(|segment| format!("{}x{} {}", segment.kind, or_unknown(segment.stripes), or_unknown(segment.size)))
        .collect();
    let mut line = format!(
        "  {name:<26} {:>8}  {}  <{}>  {{{}}}",
        or_unknown(lv.size),
        segments.join(" + "),
        lv.layout.join(","),
        lv.role.join(",")
    );
    for (word, value) in [("origin", &lv.origin), ("pool", &lv.pool), ("moving", &lv.move_pv)] {
        if let Some(value) = value {
            let _ = write!(line, " {word} {value}");
        }
    }
    for (word, value) in [("data", lv.data_percent), ("metadata", lv.metadata_percent), ("sync", lv.sync_percent)] {
        if let Some(value) = value {
            let _ = write!(line, " {word} {value}");
        }
    }
    let state = flags(&[("suspended", lv.suspended), ("read-only", lv.read_only), ("converting", lv.converting)]);
    let active = match lv.active {
        Some(true) => "",
        Some(false) => " inactive",
        None => " active?",
    };
    let health = if lv.health.is_empty() { String::new() } else { format!(" health {:?}", lv.health) };
    format!("{line}{active} {state}{health}")
}

fn pv_line(pv: &Pv) -> String {
    let free = match (pv.extent_count, pv.allocated_extents) {
        (Some(Extents(all)), Some(Extents(used))) => format!("{} of {all} extents free", all - used),
        _ => "?".to_owned(),
    };
    let size = or_unknown(pv.size);
    let not = if pv.allocatable == Some(true) { "" } else { "not " };
    format!("  pv {size}, {free}, {not}allocatable {}", flags(&[("missing", pv.missing)]))
}

fn shown(inventory: &Inventory) -> String {
    let mut text = String::new();
    for vg in &inventory.vgs {
        let _ = writeln!(text, "{}", vg_line(vg).trim_end());
        for pv in inventory.pvs.iter().filter(|pv| pv.vg.as_ref() == Some(&vg.name)) {
            let _ = writeln!(text, "{}", pv_line(pv).trim_end());
        }
        for lv in inventory.lvs.iter().filter(|lv| lv.name.vg == vg.name) {
            let _ = writeln!(text, "{}", lv_line(lv).trim_end());
        }
    }
    for pv in inventory.pvs.iter().filter(|pv| pv.vg.is_none()) {
        let _ = writeln!(text, "in no group\n{}", pv_line(pv).trim_end());
    }
    for oddity in &inventory.oddities {
        let _ = writeln!(text, "ODD: {oddity}");
    }
    text
}

#[test]
fn debian_11_lvm_2_03_11() {
    insta::assert_snapshot!(shown(&read("2.03.11")));
}

#[test]
fn debian_12_lvm_2_03_16() {
    insta::assert_snapshot!(shown(&read("2.03.16")));
}

#[test]
fn debian_13_lvm_2_03_31() {
    insta::assert_snapshot!(shown(&read("2.03.31")));
}
