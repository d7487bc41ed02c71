//! What do we decide? One pure function: no clock, no file, no program. The daemon, `plan`, `--dry-run`, the status page
//! and the simulator all ask the same one, so what is shown is what would be done.

pub mod guard;
pub mod history;
pub mod refusal;
pub mod size;
pub mod step;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::config::{Config, Target};
use crate::inventory::Inventory;
use crate::name::{LvRef, MountPoint};
use crate::units::{Bytes, Extents};
use guard::{Subject, Verdict};
pub use history::{History, Outcome};
pub use refusal::{Code, Refusal};
pub use size::headroom;
pub use step::{Command, FsKind, Step, Tool};

/// The folder in the state directory that holds what `vgcfgbackup` writes.
pub const BACKUP_FOLDER: &str = "backup";

/// What was decided: one volume, its size before and after, and the steps that lead there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The volume.
    pub lv: LvRef,
    /// Its UUID, so that a volume of the same name made later is never taken for it.
    pub lv_uuid: String,
    /// Where its file system is mounted.
    pub mount_point: MountPoint,
    /// Of which kind it is.
    pub kind: FsKind,
    /// Why, in a sentence.
    pub reason: String,
    /// The volume before.
    pub before: Extents,
    /// The volume afterwards.
    pub after: Extents,
    /// The group's extent size.
    pub extent_size: Bytes,
    /// The file system before, as `df` shows its size.
    pub usable_before: Bytes,
    /// What to do, in this order.
    pub steps: Vec<Step>,
}

impl Plan {
    /// By how much the volume grows.
    pub fn growth(&self) -> Bytes {
        Extents(self.after.0.saturating_sub(self.before.0)).bytes(self.extent_size)
    }

    /// Whether the volume is seen to be smaller than planned, so that the operation can still be left without a trace.
    pub fn has_not_begun(&self, inventory: &Inventory) -> bool {
        let size = inventory.lv(&self.lv).and_then(|lv| lv.size);
        self.after > self.before && size.is_some_and(|size| size < self.after.bytes(self.extent_size))
    }
}

/// A decision with everything that led to it.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    /// Each guard's answer, in order.
    pub verdicts: Vec<(Code, Verdict)>,
    /// The computation of the size, a line each; empty if a guard refused.
    pub size: Vec<String>,
    /// What is to be done, or why not.
    pub decision: Result<Plan, Refusal>,
}

/// Decides about one target.
pub fn plan(target: &Target, inventory: &Inventory, config: &Config, history: &History, now: Timestamp) -> Evaluation {
    let refused = |verdicts, refusal| Evaluation { verdicts, size: vec![], decision: Err(refusal) };
    let (Some(vg), Some(lv)) = (inventory.vg(&target.lv.vg), inventory.lv(&target.lv)) else {
        let sentence =
            format!("there is no volume {} on this host, or more than one: correct lv_path, see lvs", target.lv);
        let verdicts = vec![(Code::UnknownTarget, Verdict::Refuse(sentence.clone()))];
        return refused(verdicts, Refusal::new(Code::UnknownTarget, sentence));
    };
    let fs = inventory.filesystem_at(&target.mount_point);
    let subject = Subject { target, config, inventory, vg, lv, fs, history, now };
    let mut verdicts = vec![(Code::UnknownTarget, Verdict::Pass)];
    verdicts.extend(guard::ask_all(&subject));
    if let Some(refusal) = guard::first_refusal(&verdicts) {
        return refused(verdicts, refusal);
    }
    let Some((fs, usage, kind)) = fs.and_then(|fs| Some((fs, fs.usage?, FsKind::from_name(&fs.mount.fs_type)?))) else {
        // The guards let nothing through that lacks these; should one be changed so that it does, nothing is done.
        let sentence = format!("the file system at {} cannot be read", target.mount_point);
        return refused(verdicts, Refusal::new(Code::NotMounted, sentence));
    };
    let sized = size::size(&subject, fs, usage);
    for code in [Code::AtMaxSize, Code::VgReserve, Code::InsufficientSpace] {
        let verdict = match &sized {
            Err(refusal) if refusal.code == code => Verdict::Refuse(refusal.sentence.clone()),
            Err(refusal) if refusal.code < code => Verdict::NotAsked,
            _ => Verdict::Pass,
        };
        verdicts.push((code, verdict));
    }
    let size = match sized {
        Ok(size) => size,
        Err(refusal) => return refused(verdicts, refusal),
    };
    let plan = Plan {
        lv: target.lv.clone(),
        lv_uuid: lv.uuid.clone(),
        mount_point: target.mount_point.clone(),
        kind,
        reason: format!("{} is {} full, above {}", target.mount_point, usage.percent(), target.threshold),
        before: size.before,
        after: size.after,
        extent_size: size.extent_size,
        usable_before: usage.size,
        steps: steps(target, config, now, kind, &size),
    };
    Evaluation { verdicts, size: size.lines, decision: Ok(plan) }
}

fn steps(target: &Target, config: &Config, now: Timestamp, kind: FsKind, size: &size::Size) -> Vec<Step> {
    let (lv, mount_point) = (target.lv.clone(), target.mount_point.clone());
    let mut steps = Vec::new();
    if size.after > size.before {
        let file = format!("{}-{}.vg", lv.vg, now.strftime("%Y%m%dT%H%M%SZ"));
        let file = config.state_directory.join(BACKUP_FOLDER).join(file);
        steps.push(Step::BackupMetadata { vg: lv.vg.clone(), file });
        steps.push(Step::ExtendLv { lv: lv.clone(), extents: size.after, extent_size: size.extent_size });
    }
    steps.push(Step::CheckFilesystem { kind, mount_point: mount_point.clone() });
    steps.push(Step::GrowFilesystem { kind, lv, mount_point });
    steps
}
