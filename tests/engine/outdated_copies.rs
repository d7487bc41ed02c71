//! If power fails while an XFS grows, the copies of its superblock keep the old size, by which `xfs_repair` would go
//! later. The operation is not over before they are right again. `tests/engine/recovery.rs` has it for every state of
//! the journal.

use crate::common::*;
use lvm_autoscaler::command::Tool;
use lvm_autoscaler::engine::Pipeline;
use lvm_autoscaler::host::sim::{Harm, Model, SimFs};
use lvm_autoscaler::plan::Code;
use lvm_autoscaler::units::Bytes;

fn fs(model: &mut Model) -> &mut SimFs {
    model.lv("vg/media").and_then(|lv| lv.fs.as_mut()).expect("a file system")
}

/// Power failed at that moment of `xfs_growfs`, and the host is up again.
fn cut(change: impl FnOnce(&mut Model)) -> World {
    let world = World::usual();
    world.inject("xfs_growfs", 0, Harm::CrashAfter);
    world.sim.with(change);
    until_crash(|| world.daemon().alert("vg/media")).expect_err("it dies");
    world.sim.reboot();
    world.sim.with(|model| fs(model).size_in_copies = Some(Bytes(4 << 30)));
    world
}

fn recovered(world: &World) -> Daemon {
    let daemon = world.daemon();
    daemon.recover().expect("the journal can be written");
    daemon
}

fn last(world: &World) -> (String, String, Vec<String>) {
    let past = world.state().past.back().cloned().expect("it ended");
    (past.result.to_string(), past.sentence, past.commands)
}

#[test]
fn the_label_that_it_has_is_set_again() {
    for (label, set) in [("", "'label -c'"), ("data", "'label -s data'"), ("-x;$(id)'", "'label -s -x;$(id)'\\'''")] {
        let world = cut(|model| fs(model).label = label.to_owned());
        recovered(&world);
        assert_eq!(last(&world).0, "grown", "{label}");
        assert_eq!(world.sim.changes().last(), Some(&format!("xfs_io -c {set} /media")));
        assert_eq!(world.count("xfs_growfs"), 1, "it had grown");
        assert_eq!(
            world.sim.with(|model| (fs(model).label.clone(), fs(model).size_in_copies)),
            (label.to_owned(), None)
        );
    }
}

#[test]
fn a_label_that_outlives_the_daemon_is_waited_for() {
    let world = cut(|_| ());
    world.inject("xfs_io", 0, Harm::CrashDuring);
    until_crash(|| world.daemon().recover()).expect_err("it dies again");
    recovered(&world);
    assert_eq!(last(&world).0, "grown");
    assert_eq!((world.sim.beside_itself(), world.count("xfs_io")), (vec![], 1));
}

#[test]
fn what_xfs_io_cannot_be_given_is_a_persons() {
    let world = cut(|model| fs(model).label = "my data".to_owned());
    let daemon = recovered(&world);
    let (result, sentence, commands) = last(&world);
    assert_eq!((result.as_str(), commands.len()), ("needs_attention", 0), "{sentence}");
    assert!(sentence.contains("copies of its superblock still have the old size"), "{sentence}");
    assert!(sentence.contains("unmount /media and mount it once before it grows again"), "{sentence}");
    assert_eq!((world.count("xfs_io"), world.count("xfs_growfs")), (0, 1));
    // Any further growth writes them too.
    world.sim.with(|model| {
        assert!(extend_by_hand(model, "vg/media", 1));
        grow_by_hand(model, "vg/media");
    });
    Pipeline(std::sync::Arc::clone(&daemon.0)).clear_what_is_mended().expect("the journal can be written");
    assert!(world.state().parked.is_empty());
}

#[test]
fn without_the_tool_or_when_it_fails_the_command_is_left() {
    type Hinder = fn(&World);
    let hinder: [(Hinder, &str); 3] = [
        (|world| world.sim.with(|model| model.missing_tools = vec![Tool::XfsIo]), "xfs_io is not installed"),
        (|world| world.inject("xfs_io", 0, Harm::Fails), "xfs_io exited with 5"),
        (|world| world.inject("xfs_io", 0, Harm::Garbage), "xfs_io said it succeeded"),
    ];
    for (hinder, said) in hinder {
        let world = cut(|_| ());
        hinder(&world);
        let daemon = recovered(&world);
        let (result, sentence, commands) = last(&world);
        assert_eq!((result.as_str(), commands), ("needs_attention", vec!["xfs_io -c 'label -c' /media".to_owned()]));
        assert!(sentence.contains(said) && sentence.contains("docs/lvm/troubleshooting.md, 18"), "{sentence}");
        assert!(refused(&daemon.alert("vg/media"), Code::OperationInProgress));
        world.sim.with(|model| fs(model).size_in_copies = None);
        Pipeline(std::sync::Arc::clone(&daemon.0)).clear_what_is_mended().expect("the journal can be written");
        assert!(world.state().parked.is_empty(), "open again");
    }
}

/// From somebody else's accident. The growth writes them, and nothing else is run.
#[test]
fn copies_that_were_outdated_before_are_written_by_the_growth() {
    let world = World::usual();
    world.sim.with(|model| fs(model).size_in_copies = Some(Bytes(3 << 30)));
    assert_eq!(word(&world.daemon().alert("vg/media")), "grown");
    assert_eq!(world.names_of_changes(), ["vgcfgbackup", "lvextend", "xfs_growfs"]);
    assert_eq!(world.sim.with(|model| fs(model).size_in_copies), None);
}
