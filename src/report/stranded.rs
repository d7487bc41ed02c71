//! Space that is there and that nobody uses: disks that are larger than their PVs, and groups with much free space that
//! no target may take.

use super::finding::{Finding, FindingFacts, Urgency, finding};
use crate::command::shell_word;
use crate::config::Mode;
use crate::inventory::{DiskKind, Pv, Vg};
use crate::units::GIB;

/// Less is a rest of some partition table, or not worth a line.
const WORTH_A_LINE: u64 = GIB;
/// A group that is this empty was made by an installer that left the rest to somebody.
const UNUSED_SHARE: f64 = 0.3;

pub(super) fn all(g: &FindingFacts<'_>) -> Vec<Finding> {
    let inventory = g.facts.inventory;
    let in_groups = inventory.pvs.iter().filter(|pv| pv.vg.is_some() && pv.duplicate != Some(true));
    in_groups.filter_map(larger_than_pv).chain(inventory.vgs.iter().filter_map(|vg| unused(g, vg))).collect()
}

fn larger_than_pv(pv: &Pv) -> Option<Finding> {
    let room = pv.growable_bytes().filter(|room| room.0 >= WORTH_A_LINE)?;
    let (name, vg) = (shell_word(&pv.name), pv.vg.as_ref()?);
    let partition = match &pv.disk.as_ref()?.kind {
        DiskKind::Partition(partition) if pv.exceeded_by().0 < WORTH_A_LINE => {
            Some(format!("growpart {} {}", shell_word(&partition.disk), partition.number))
        }
        _ => None,
    };
    let sentence = format!("The disk under {} has {room} that its physical volume in {vg} does not use.", pv.name);
    let advice =
        "Make the physical volume as large as its disk, or set grown_disks: resize, which does it when it is needed.";
    let commands = partition.into_iter().chain([format!("pvresize {name}")]);
    Some(finding(Urgency::Note, "disk_larger_than_pv", &pv.name, sentence, advice).with(commands))
}

fn unused(g: &FindingFacts<'_>, vg: &Vg) -> Option<Finding> {
    let (free, size) = (vg.free?, vg.size?);
    // Where nothing may grow at all that is no news.
    let targets = &g.facts.config.targets;
    let is_taken =
        targets.is_empty() || targets.iter().any(|target| target.lv.vg == vg.name && target.mode != Mode::Off);
    let is_much = free.0 >= WORTH_A_LINE && free.0 as f64 >= UNUSED_SHARE * size.0 as f64;
    if is_taken || !is_much {
        return None;
    }
    let sentence = format!("{} has {free} of {size} free, and nothing in it is a target that may take it.", vg.name);
    let advice = "If a file system in it should grow, make it a target.";
    Some(finding(Urgency::Note, "group_unused", &vg.name, sentence, advice))
}
