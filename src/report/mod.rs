//! Reports for people: what there is, how fast it fills, what was done, and what somebody should do about it.
//!
//! [`Report::new`] is pure: one look at the host, the journal's state and what earlier reports remembered become one
//! value, which `html`, `markdown` and JSON show. Nothing here decides what is done to a volume. [`store`] keeps the
//! reports that are written by themselves. Called by `app` on a schedule, for `GET /report` and for the command.

mod build;
pub mod finding;
pub mod growth;
mod render;
pub mod snapshot;
pub mod store;
mod stranded;

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::config::{Config, Mode, ReportFormat};
use crate::duration::Since;
use crate::inventory::Inventory;
use crate::journal::{Conclusion, State};
use crate::name::LvRef;
use crate::plan::Moment;
use crate::units::{Bytes, Percent};
pub use finding::{Finding, Urgency};
pub use growth::Until;
pub use render::{RenderError, STYLE, escaped, render};
pub use snapshot::Snapshot;

/// What a report is made of.
pub struct Material<'a> {
    /// What people call this host.
    pub host: &'a str,
    /// When.
    pub now: Moment,
    /// What is wanted.
    pub config: &'a Config,
    /// The last good look; the usage of its file systems should be of now.
    pub inventory: &'a Inventory,
    /// Whether the last attempt to look succeeded; if not, the inventory is an older one.
    pub looked: bool,
    /// What was done.
    pub state: &'a State,
    /// Whether the journal can be written; `None` where nobody writes one.
    pub journal_writable: Option<bool>,
    /// What earlier reports remembered, the oldest first.
    pub earlier: &'a [Snapshot],
    /// Compare with the last one that is not younger than this; `None`: with the last that is old enough to tell a
    /// rate.
    pub since: Option<Timestamp>,
}

/// What somebody asks for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReportRequest {
    /// In which form.
    pub format: ReportFormat,
    /// Compare with the last report that is not younger: a time span such as 7d, or a time such as
    /// 2026-01-31T08:00:00Z.
    #[serde(default)]
    pub since: Option<Since>,
}

/// Makes what somebody asks for, or says why not.
pub type Make = Arc<dyn Fn(&ReportRequest) -> Result<String, String> + Send + Sync>;

/// A report. The fields are its JSON form: what is there is not renamed, and what is not known is null.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Of this form.
    pub version: u32,
    /// The program's.
    pub program_version: &'static str,
    /// What people call the host.
    pub host: String,
    /// When it was made.
    pub at: Timestamp,
    /// When LVM was last read.
    pub inventory_at: Timestamp,
    /// The earlier report that growth is counted since.
    pub compared: Option<Compared>,
    /// The figures for a first glance.
    pub summary: Summary,
    /// What somebody should do something about, the most urgent first.
    pub findings: Vec<Finding>,
    /// File systems on logical volumes, those that are full first come first.
    pub filesystems: Vec<FileSystemRow>,
    /// Volume groups.
    pub volume_groups: Vec<VgRow>,
    /// Logical volumes, without hidden ones.
    pub logical_volumes: Vec<LvRow>,
    /// Physical volumes.
    pub physical_volumes: Vec<PvRow>,
    /// Operations that ended in the period, the latest first.
    pub operations: Vec<Operation>,
    /// What was refused in the period, by volume and code, the most frequent first.
    pub refusals: Vec<Refused>,
    /// The journal remembers no operations of the beginning of the period.
    pub operations_are_cut: bool,
    /// The journal remembers no refusals of the beginning of the period.
    pub refusals_are_cut: bool,
}

/// The earlier report that this one is compared with.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Compared {
    /// When it was made.
    pub at: Timestamp,
    /// How much time has passed since, by a clock that nobody sets.
    pub elapsed_seconds: u64,
    /// Why no rate can be told although there is an earlier report.
    pub doubt: Option<String>,
}

/// The figures for a first glance.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Summary {
    pub vg_size: Bytes,
    pub vg_free: Bytes,
    /// Free and not reserved.
    pub vg_available: Bytes,
    pub filesystem_size: Bytes,
    pub filesystem_used: Bytes,
    /// By how much all file systems together filled in the period.
    pub filled: Option<i64>,
    /// How many operations ended as `grown` in the period.
    pub grown: usize,
    pub refused: usize,
    pub findings_now: usize,
    pub findings_soon: usize,
    /// The file system that is full first, grown as far as it can.
    pub first_full: Option<FirstFull>,
}

/// What is full first.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct FirstFull {
    pub name: String,
    pub days: f64,
    pub text: String,
}

/// What an earlier report remembered, for a small picture.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Point {
    pub at: Timestamp,
    pub used: Bytes,
    pub size: Bytes,
}

/// A file system on a logical volume.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct FileSystemRow {
    pub mount_point: String,
    pub lv: LvRef,
    pub fs_type: String,
    pub size: Option<Bytes>,
    pub used: Option<Bytes>,
    pub avail: Option<Bytes>,
    /// As `df` counts it.
    pub usage: Option<Percent>,
    pub inode_usage: Option<Percent>,
    /// Above this it grows; none: it is no target.
    pub threshold: Option<Percent>,
    pub mode: Option<Mode>,
    /// By how much its volume may still grow.
    pub headroom: Option<Bytes>,
    /// By how much more is used than at the earlier report.
    pub filled: Option<i64>,
    /// The same for a day.
    pub per_day: Option<i64>,
    /// Until it is full at its present size.
    pub until_full: Until,
    /// Until it is full although it was grown as far as it may; for targets.
    pub until_out_of_room: Option<Until>,
    pub health: String,
    /// What earlier reports saw, the oldest first, and now.
    pub history: Vec<Point>,
}

/// A volume group.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct VgRow {
    pub name: String,
    pub size: Option<Bytes>,
    pub free: Option<Bytes>,
    pub reserve: Bytes,
    /// Free and not reserved.
    pub available: Option<Bytes>,
    pub pv_count: Option<u64>,
    pub lv_count: Option<u64>,
    /// By how much less is free than at the earlier report.
    pub handed_out: Option<i64>,
    /// What its file systems and pools fill by in a day.
    pub per_day: Option<i64>,
    /// Until all but the reserve is handed out at that rate.
    pub until_handed_out: Until,
    pub health: String,
}

/// A logical volume.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct LvRow {
    pub name: LvRef,
    /// `linear`, `raid1`, `snapshot of data`, ...
    pub kind: String,
    pub size: Option<Bytes>,
    /// By how much it is larger than at the earlier report.
    pub grown: Option<i64>,
    pub mount_point: Option<String>,
    /// Of pools and snapshots.
    pub data_usage: Option<Percent>,
    pub metadata_usage: Option<Percent>,
    /// Until its data are full; of pools and snapshots.
    pub until_full: Option<Until>,
    pub health: String,
}

/// A physical volume.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct PvRow {
    pub name: String,
    pub vg: Option<String>,
    pub size: Option<Bytes>,
    pub free: Option<Bytes>,
    pub health: String,
}

/// An operation that ended.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Operation {
    pub at: Timestamp,
    pub lv: Option<LvRef>,
    pub outcome: Conclusion,
    /// More than one only for recommendations and dry runs; the rest is of the last of them.
    pub count: usize,
    pub sentence: String,
    pub commands: Vec<String>,
}

/// One or more refusals of one volume with one code.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Refused {
    pub lv: Option<LvRef>,
    pub code: Conclusion,
    pub count: usize,
    pub last_at: Timestamp,
    /// Of the last one.
    pub sentence: String,
}
