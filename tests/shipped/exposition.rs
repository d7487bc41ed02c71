//! Recorded reports of LVM -> the exposition, as golden files. `UPDATE_GOLDEN=1` writes them.
//!
//! `tests/data/*.json` were recorded in the virtual machine (tests/vm/record.rs), `tests/data/odd/*.json` hold what was
//! seen in the wild or is allowed and unusual. `tests/shipped.sh` has the real promtool look at every golden file.

#![expect(clippy::panic, reason = "that is how a test fails")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::common::is_up_to_date;
use jiff::Timestamp;
use lvm_autoscaler::host::sim::{self, Sim};
use lvm_autoscaler::host::{Focus, Host, look};
use lvm_autoscaler::inventory::{Inventory, Latest, lvm};
use lvm_autoscaler::metrics::exposition::{Exposition, Shape};
use lvm_autoscaler::metrics::selection::Selection;
use lvm_autoscaler::metrics::text::Format;

fn root(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(folder)
}

fn reports(folder: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root(folder)).expect("a folder").map(|entry| entry.expect("an entry").path());
    let mut files: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|kind| kind == "json")).collect();
    files.sort();
    assert!(!files.is_empty(), "tests/{folder} holds no reports");
    files
}

fn read(file: &Path) -> Inventory {
    let json = std::fs::read(file).expect("readable");
    lvm::parse(&json, Timestamp::UNIX_EPOCH).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// The LVM part of the page; the rest depends on the machine.
fn exposition(inventory: Inventory, selection: Selection) -> String {
    let latest = Arc::new(Latest::default());
    latest.set(Some(inventory), std::time::Duration::ZERO);
    let selection = Selection { filesystem: false, ..selection };
    let exposition = Exposition::new(selection, latest, || None);
    let page = exposition.page(Shape { format: Format::Text, gzip: false }, |seen| seen, None, "").expect("encodes");
    without_age(page)
}

/// How long ago the inventory was taken is another value each time.
fn without_age(page: Vec<u8>) -> String {
    let page = String::from_utf8(page).expect("text");
    let age = |line: &&str| !line.starts_with("lvm_inventory_age_seconds ");
    page.split_inclusive('\n').filter(age).collect()
}

fn compare(name: &str, page: &str) {
    let update = "UPDATE_GOLDEN=1 cargo test --test shipped exposition::";
    is_up_to_date(&format!("tests/golden/{name}"), page, update);
}

#[test]
fn every_report_gives_its_golden_page() {
    for file in reports("data").into_iter().chain(reports("data/odd")) {
        let stem = file.file_stem().expect("a name").to_string_lossy().into_owned();
        let everything = Selection { lv_details: true, uuid_labels: true, ..Selection::default() };
        compare(&format!("{stem}.prom"), &exposition(read(&file), everything));
    }
}

#[test]
fn real_reports_hold_nothing_odd() {
    for file in reports("data") {
        let inventory = read(&file);
        assert!(inventory.oddities.is_empty(), "{}: {:#?}", file.display(), inventory.oddities);
        assert!(inventory.unknown_fields.is_empty(), "{}: {:#?}", file.display(), inventory.unknown_fields);
    }
}

#[test]
fn no_series_comes_twice() {
    for file in reports("data").into_iter().chain(reports("data/odd")) {
        for details in [false, true] {
            let page = exposition(read(&file), Selection { lv_details: details, ..Selection::default() });
            let mut seen = std::collections::BTreeSet::new();
            for series in page.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.rsplit_once(' ')) {
                assert!(seen.insert(series.0.to_owned()), "{}: {} comes twice", file.display(), series.0);
            }
        }
    }
}

#[test]
fn about_fifteen_series_for_a_volume_by_default() {
    for file in reports("data") {
        let inventory = read(&file);
        let page = exposition(inventory.clone(), Selection::default());
        for lv in inventory.lvs.iter().filter(|lv| !lv.hidden) {
            let labels = format!("{{vg=\"{}\",lv=\"{}\"", lv.name.vg, lv.name.lv);
            let series = page.lines().filter(|line| line.contains(&labels)).count();
            // Six, and nine more for a mounted file system; pools, snapshots and RAID have a few of their own, a cached
            // volume eleven.
            let plain = lv.layout == ["linear"] && lv.role == ["public"];
            let most = if plain { 6 } else { 17 };
            assert!(series <= most, "{}: {series} series for {}", file.display(), lv.name);
        }
    }
}

/// LVM shows the health of a RAID under a pool or a cache in the RAID's own row alone, and `LvmRaidDegraded` must see
/// it.
#[test]
fn a_raid_is_shown_although_it_is_hidden_and_its_legs_are_not() {
    let mut inventory = read(&root("data").join("fullreport-2.03.31.json"));
    let data = inventory.lvs.iter_mut().find(|lv| lv.name.lv.as_str() == "pool_tdata").expect("a pool");
    let of_data = format!("lvm_lv_healthy{{vg=\"{}\",lv=\"pool_tdata\"}} 0.0\n", data.name.vg);
    (data.layout, data.health) = (vec!["raid".to_owned(), "raid1".to_owned()], "refresh needed".to_owned());
    let page = exposition(inventory, Selection::default());
    assert!(page.contains(&of_data), "{page}");
    for part in ["pool_tmeta", "raid1_rimage_0", "mirror_mimage_0"] {
        assert!(!page.contains(&format!("lv=\"{part}\"")), "{part}");
    }
}

#[test]
fn filters_leave_out_what_they_name() {
    let file = root("data").join("fullreport-2.03.16.json");
    let all = exposition(read(&file), Selection::default());
    assert!(all.contains("vg=\"rec_linear\"") && all.contains("lvm_lv_info"), "{all}");
    let whole = |pattern| Some(lvm_autoscaler::metrics::selection::whole(pattern).expect("valid"));
    let mut selection = Selection::default();
    selection.vgs.exclude = whole("rec_lin.*");
    assert!(!exposition(read(&file), selection).contains("vg=\"rec_linear\""));
    let mut selection = Selection::default();
    selection.lvs.include = whole("rec_linear/plain");
    let page = exposition(read(&file), selection);
    let volumes: Vec<&str> = page.lines().filter(|line| line.starts_with("lvm_lv_size_bytes")).collect();
    assert_eq!(volumes.len(), 1, "{volumes:?}");
    let none = Selection { lvm: false, ..Selection::default() };
    assert!(!exposition(read(&file), none).contains("lvm_lv_"));
}

/// When a disk dies LVM may not answer any more: what the kernel says of a file system is read at the scrape.
#[test]
fn errors_and_the_read_only_state_are_those_of_the_scrape() {
    let host = "
volume_groups:
  - name: vg
    physical_volumes: [{ name: /dev/sdb, size: 20GiB }]
    logical_volumes: [{ name: data, size: 4GiB, filesystem: { type: ext4, mount_point: /data, used: 50% } }]
";
    let sim = Arc::new(Sim::stepped(sim::parse(host).expect("a host"), Timestamp::UNIX_EPOCH));
    let latest = Arc::new(Latest::default());
    let looked = look(sim.as_ref(), Focus::Everything).expect("LVM answers");
    latest.set(Some(looked), std::time::Duration::ZERO);
    let exposition = Exposition::new(Selection::default(), latest, || None);
    let usage = lvm_autoscaler::app::read_usage(Arc::clone(&sim) as Arc<dyn Host>);
    let value = |name: &str| {
        let page = exposition
            .page(Shape { format: Format::Text, gzip: false }, |seen| usage(seen), None, "")
            .expect("encodes");
        let page = String::from_utf8(page).expect("text");
        let line = page.lines().find(|line| line.starts_with(&format!("{name}{{"))).expect("there").to_owned();
        line.rsplit_once(' ').expect("a value").1.to_owned()
    };
    assert_eq!((value("lvm_filesystem_errors"), value("lvm_filesystem_readonly")), ("0.0".into(), "0.0".into()));
    sim.with(|model| {
        let fs = model.lv("vg/data").and_then(|lv| lv.fs.as_mut()).expect("there");
        (fs.errors, fs.read_only) = (3, true);
    });
    assert_eq!((value("lvm_filesystem_errors"), value("lvm_filesystem_readonly")), ("3.0".into(), "1.0".into()));
}

#[test]
fn a_look_that_finds_a_change_is_shown_and_one_that_does_not_changes_nothing() {
    let file = root("data").join("fullreport-2.03.16.json");
    let latest = Arc::new(Latest::default());
    let selection = Selection { filesystem: false, ..Selection::default() };
    let exposition = Exposition::new(selection, Arc::clone(&latest), || None);
    let page = |inventory| {
        latest.set(Some(inventory), std::time::Duration::ZERO);
        without_age(
            exposition.page(Shape { format: Format::Text, gzip: false }, |seen| seen, None, "").expect("encodes"),
        )
    };
    let first = page(read(&file));
    assert_eq!(page(read(&file)), first);
    let mut changed = read(&file);
    changed.vgs[0].free = Some(lvm_autoscaler::units::Bytes(12345));
    assert!(page(changed).contains("} 12345.0"));
    assert_eq!(page(read(&file)), first);
}
