//! The format of the journal: what older versions wrote is read, what newer ones wrote is refused, and what is damaged
//! is not acted upon.

use std::path::{Path, PathBuf};

use crate::common::*;
use lvm_autoscaler::journal::{Entry, Journal, State};
use lvm_autoscaler::plan::{Code, Outcome};

/// Recorded by the program that wrote format 1: both segments in use, a target that needs attention, a pause, failures,
/// an operation that was interrupted before `resize2fs`, and an alert that waits.
fn recorded() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/journal-1")
}

fn on_the_recorded_journal() -> World {
    let world = World::usual();
    for name in ["journal.0", "journal.1"] {
        std::fs::copy(recorded().join(name), world.folder.path().join(name)).expect("a copy");
    }
    world
}

fn assert_is_what_was_recorded(state: &State) {
    assert_eq!(state.last_number, 82);
    let (id, running) = state.running.first_key_value().expect("an interrupted operation");
    assert_eq!((id.0, running.plan.lv.to_string().as_str(), running.plan.after.0), (81, "vg/data", AFTER));
    assert_eq!((running.started.as_slice(), running.done.as_slice()), ([0, 1, 3].as_slice(), [0, 1, 2].as_slice()));
    assert_eq!(state.pending.keys().copied().collect::<Vec<_>>(), [82]);
    assert!(
        state.parked[&lv("vg/media")].account.to_string().ends_with("when that is mended, run: xfs_growfs -d /media")
    );
    assert_eq!((state.failures[&lv("vg/data")], state.failures[&lv("vg/media")]), (1, 1));
    assert_eq!(state.last[&lv("vg-2/logs")].outcome, Outcome::Grown);
    assert_eq!(state.extensions[&lv("vg-2/logs")].len(), 1);
    assert_eq!(state.last_refusal[&lv("vg-2/logs")].code, Code::Paused);
    assert_eq!(state.paused.targets.keys().map(ToString::to_string).collect::<Vec<_>>(), ["vg-2/logs"]);
}

#[test]
fn a_journal_of_format_1_is_read_and_gone_on_with_in_format_2() {
    let world = on_the_recorded_journal();
    assert_is_what_was_recorded(&world.state());
    assert_is_what_was_recorded(&Journal::open(world.folder.path()).expect("opens").state());
    // As the host was when it was recorded.
    world.minutes(24);
    world.sim.with(|model| {
        extend_by_hand(model, "vg/data", AFTER - BEFORE);
        extend_by_hand(model, "vg/media", AFTER - BEFORE);
    });
    let daemon = world.daemon();
    daemon.recover().expect("writable");
    assert_eq!((world.extents("vg/data"), world.fills("vg/data"), world.count("lvextend")), (AFTER, true, 0));
    let state = world.state();
    assert_eq!(state, *daemon.0.state());
    assert!(state.running.is_empty() && state.pending.is_empty());
    assert_eq!(state.last_refusal[&lv("vg-2/logs")].code, Code::Paused, "the alert that waited was decided about");
    assert_eq!(state.parked.len(), 1, "what needed attention still does");
    let versions =
        ["journal.0", "journal.1"].map(|name| std::fs::read(world.folder.path().join(name)).expect("there")[8]);
    assert!(versions.contains(&2) && !versions.contains(&1), "{versions:?}");
}

/// The matrix in CONTRIBUTING.md: an older program ignores a field that it does not know, and cannot read a kind of
/// record or a code that it does not know.
#[test]
fn an_older_program_ignores_a_new_field_and_refuses_a_new_kind() {
    let refused = |code: &str, more: &str| {
        let refusal = format!(r#"{{"code":"{code}","sentence":"no"}}"#);
        let rest = format!(r#""request":null,"lv":null,"source":"grafana","refusal":{refusal}{more}"#);
        format!(r#"{{"at":"2026-01-31T08:00:00Z 1f3a@86400.5","event":"refused",{rest}}}"#)
    };
    let read = |text: &str| serde_json::from_str::<Entry>(text);
    let known = read(&refused("other_host", "")).expect("a record of today");
    assert_eq!(read(&refused("other_host", r#","of_tomorrow":{"a":[1]}"#)).expect("a record of tomorrow"), known);
    assert!(read(&refused("code_of_tomorrow", "")).is_err());
    assert!(read(&refused("other_host", "").replace("\"refused\"", "\"kind_of_tomorrow\"")).is_err());
    let state =
        serde_json::to_string(&State::default()).expect("a checkpoint").replacen('{', r#"{"of_tomorrow":1,"#, 1);
    assert_eq!(serde_json::from_str::<State>(&state).expect("a checkpoint of tomorrow"), State::default());
}

/// Format 1 kept both headers, so the older segment must not be taken for the journal when the newer one is damaged.
#[test]
#[expect(clippy::disallowed_methods, reason = "a test damages the journal")]
fn damage_to_a_journal_of_format_1_is_noticed() {
    let newest = ["journal.0", "journal.1"].into_iter().max_by_key(|name| {
        let bytes = std::fs::read(recorded().join(name)).expect("there");
        u64::from_le_bytes(bytes[12..20].try_into().expect("eight"))
    });
    let newest = newest.expect("one of two");
    for byte in [0, 8, 12, 20, 512, 516, 530] {
        let world = on_the_recorded_journal();
        let file = world.folder.path().join(newest);
        let mut bytes = std::fs::read(&file).expect("there");
        bytes[byte] ^= 1;
        std::fs::write(&file, bytes).expect("writable");
        let error = Journal::open(world.folder.path()).err().expect("damaged");
        let said = std::error::Error::source(&error).map(ToString::to_string).expect("a cause");
        assert!(said.contains(&format!("{newest}: damaged, its ")), "byte {byte}: {said}");
    }
}
