//! From facts to a report: rows with their trends, then the findings, then the figures on top.

use std::collections::{BTreeMap, VecDeque};

use super::finding::{self, FindingFacts};
use super::growth::{self, Comparison, Until};
use super::snapshot;
use super::stranded;
use super::{
    Compared, FileSystemRow, FirstFull, LvRow, Material, Operation, Point, PvRow, Refused, Report, Summary, Urgency,
    VgRow,
};
use crate::config::Mode;
use crate::inventory::{FileSystem, Inventory, Lv, Pv, Vg};
use crate::journal::{Conclusion, Past, REMEMBERED};
use crate::name::LvRef;
use crate::plan::{Outcome, headroom, supplied};
use crate::units::Bytes;

/// The form of the JSON.
const VERSION: u32 = 1;

impl Report {
    /// Makes a report.
    pub fn new(facts: &Material<'_>) -> Report {
        let since = Comparison::choose(facts.earlier, &facts.now, facts.since);
        let since = since.as_ref();
        let supplied = supplied(facts.config, facts.inventory);
        let mut filesystems: Vec<FileSystemRow> = snapshot::one_per_volume(facts.inventory)
            .into_iter()
            .map(|(lv, fs)| filesystem(facts, &supplied, since, lv, fs))
            .collect();
        filesystems.sort_by(|a, b| last_day(a).total_cmp(&last_day(b)).then(share(b).total_cmp(&share(a))));
        let lvs: Vec<LvRow> =
            facts.inventory.lvs.iter().filter(|lv| !lv.hidden).map(|lv| volume(facts, since, lv)).collect();
        let vgs: Vec<VgRow> = facts.inventory.vgs.iter().map(|vg| group(facts, since, &filesystems, vg)).collect();
        let ground = FindingFacts { facts, since, filesystems: &filesystems, vgs: &vgs, lvs: &lvs };
        let findings = finding::all(&ground, stranded::all(&ground));
        let mut report = Report {
            version: VERSION,
            program_version: env!("CARGO_PKG_VERSION"),
            host: facts.host.to_owned(),
            at: facts.now.at,
            inventory_at: facts.inventory.taken_at,
            compared: since.map(|since| Compared {
                at: since.then.at.at,
                elapsed_seconds: since.elapsed.as_secs(),
                doubt: since.doubt.clone(),
            }),
            summary: Summary::default(),
            findings,
            filesystems,
            volume_groups: vgs,
            logical_volumes: lvs,
            physical_volumes: facts.inventory.pvs.iter().map(physical).collect(),
            operations: operations(facts, since),
            refusals: refusals(facts, since),
            operations_are_cut: is_cut(&facts.state.past, since),
            refusals_are_cut: is_cut(&facts.state.refused, since),
        };
        report.summary = summary(&report);
        report
    }
}

fn last_day(fs: &FileSystemRow) -> f64 {
    fs.until_out_of_room.as_ref().unwrap_or(&fs.until_full).order()
}

fn share(fs: &FileSystemRow) -> f64 {
    fs.usage.map_or(0.0, |usage| usage.value())
}

/// A rate is whole bytes; what is less than one a day is none.
fn whole(rate: &Result<f64, String>) -> Option<i64> {
    rate.as_ref().ok().map(|rate| *rate as i64)
}

fn why_not<T>(known: Option<T>, since: Option<&Comparison<'_>>) -> Result<T, String> {
    known.ok_or_else(|| if since.is_some() { "new".to_owned() } else { "no earlier report".to_owned() })
}

fn filesystem(
    facts: &Material<'_>,
    supplied: &Inventory,
    since: Option<&Comparison<'_>>,
    lv: &Lv,
    fs: &FileSystem,
) -> FileSystemRow {
    let target = facts.config.target(&lv.name).filter(|target| target.mount_point() == Some(&fs.mount.mount_point));
    let used = fs.usage.map(|usage| usage.used());
    let then = since.and_then(|since| since.then.filesystem(&lv.uuid, &fs.mount.fs_type));
    let filled = used.zip(then).map(|(used, then)| growth::change(used, then.used));
    let rate = why_not(since.zip(filled), since).and_then(|(since, filled)| since.per_day(filled));
    let avail = fs.usage.map(|usage| usage.avail);
    let headroom = target.and_then(|target| headroom(target, supplied, facts.config));
    let room = avail.zip(headroom).map(|(avail, headroom)| Bytes(avail.0.saturating_add(headroom.0)));
    let grows = target.is_some_and(|target| target.mode == Mode::Act);
    let mut history: Vec<Point> = facts
        .earlier
        .iter()
        .filter_map(|then| {
            let fs = then.filesystem(&lv.uuid, &fs.mount.fs_type)?;
            Some(Point { at: then.at.at, used: fs.used, size: fs.size })
        })
        .collect();
    history.extend(fs.usage.map(|usage| Point { at: facts.now.at, used: usage.used(), size: usage.size }));
    FileSystemRow {
        mount_point: fs.mount.mount_point.to_string(),
        lv: lv.name.clone(),
        fs_type: fs.mount.fs_type.clone(),
        size: fs.usage.map(|usage| usage.size),
        used,
        avail,
        usage: fs.usage.map(|usage| usage.percent()),
        inode_usage: fs
            .usage
            .and_then(|usage| usage.inode_percent())
            .filter(|_| fs.kind().is_some_and(|kind| kind.about().has_fixed_inodes)),
        threshold: target.map(|target| target.threshold),
        mode: target.map(|target| target.mode),
        headroom,
        filled,
        per_day: whole(&rate),
        until_full: Until::at_rate(avail, &rate),
        until_out_of_room: grows.then(|| Until::at_rate(room, &rate)),
        health: filesystem_health(fs, facts.inventory.room_on(lv)),
        history,
    }
}

fn filesystem_health(fs: &FileSystem, room: Option<Bytes>) -> String {
    let mut said = Vec::new();
    if let Some(errors) = fs.errors.filter(|errors| *errors > 0) {
        said.push(format!("{errors} errors"));
    }
    if fs.mount.read_only {
        said.push("read-only".to_owned());
    }
    if fs.usage.is_none() {
        said.push("does not answer".to_owned());
    }
    if room.is_some_and(|room| fs.fills(room) == Some(false)) {
        said.push("smaller than its volume".to_owned());
    }
    in_order(said)
}

fn in_order(said: Vec<String>) -> String {
    if said.is_empty() { "ok".to_owned() } else { said.join(", ") }
}

fn group(facts: &Material<'_>, since: Option<&Comparison<'_>>, filesystems: &[FileSystemRow], vg: &Vg) -> VgRow {
    let reserve = vg.size.map_or(Bytes::ZERO, |size| facts.config.reserve(&vg.name, size));
    let available = vg.free.map(|free| free.saturating_sub(reserve));
    let then = since.and_then(|since| since.then.vg(&vg.uuid)).and_then(|then| then.free);
    // What was deleted elsewhere does not come back to the group, so only what fills counts.
    let mut rates: Vec<Result<f64, String>> = Vec::new();
    for lv in facts.inventory.lvs.iter().filter(|lv| lv.vg_uuid == vg.uuid && !lv.hidden && !lv.is_layout("thin")) {
        let fs = filesystems.iter().find(|fs| fs.lv == lv.name).and_then(|fs| fs.per_day);
        rates.extend(fs.map(|rate| Ok(rate.max(0) as f64 * growth::cost(facts.inventory, lv))));
    }
    for pool in facts.inventory.lvs.iter().filter(|lv| lv.vg_uuid == vg.uuid && !lv.hidden && lv.is_layout("pool")) {
        rates.extend(pool_rate(since, pool).ok().map(|rate| Ok(rate.max(0.0) * growth::cost(facts.inventory, pool))));
    }
    let rate = match (rates.is_empty(), since) {
        (_, None) => Err("no earlier report".to_owned()),
        (_, Some(Comparison { doubt: Some(why), .. })) => Err(why.clone()),
        (true, _) => Ok(0.0),
        (false, _) => rates.into_iter().sum(),
    };
    let mut said = Vec::new();
    if let Some(missing) = vg.missing_pv_count.filter(|missing| *missing > 0) {
        said.push(format!("{missing} PV missing"));
    }
    let flags = [(vg.partial, "partial"), (vg.exported, "exported"), (vg.read_only, "read-only")];
    said.extend(flags.iter().filter(|(flag, _)| *flag == Some(true)).map(|(_, name)| (*name).to_owned()));
    VgRow {
        name: vg.name.to_string(),
        size: vg.size,
        free: vg.free,
        reserve,
        available,
        pv_count: vg.pv_count,
        lv_count: vg.lv_count,
        handed_out: vg.free.zip(then).map(|(free, then)| growth::change(then, free)),
        per_day: whole(&rate),
        until_handed_out: match &rate {
            Ok(rate) if *rate <= 0.0 => Until::unknown("not filling"),
            rate => Until::at_rate(available, rate),
        },
        health: in_order(said),
    }
}

fn pool_rate(since: Option<&Comparison<'_>>, lv: &Lv) -> Result<f64, String> {
    let then = since.and_then(|since| Some((since, since.then.lv(&lv.uuid)?.used?)));
    let (since, then) = why_not(then, since)?;
    let used = snapshot::data_used(lv).ok_or("size not known")?;
    since.per_day(growth::change(used, then))
}

fn volume(facts: &Material<'_>, since: Option<&Comparison<'_>>, lv: &Lv) -> LvRow {
    let then = since.and_then(|since| since.then.lv(&lv.uuid)).and_then(|then| then.size);
    let used = snapshot::data_used(lv);
    let free = lv.size.zip(used).map(|(size, used)| size.saturating_sub(used));
    LvRow {
        name: lv.name.clone(),
        kind: kind(lv),
        size: lv.size,
        grown: lv.size.zip(then).map(|(size, then)| growth::change(size, then)),
        mount_point: facts.inventory.filesystems_on(lv).next().map(|fs| fs.mount.mount_point.to_string()),
        data_usage: lv.data_percent.filter(|_| used.is_some()),
        metadata_usage: lv.metadata_percent.filter(|_| lv.is_layout("pool")),
        until_full: used.map(|_| Until::at_rate(free, &pool_rate(since, lv))),
        health: volume_health(lv),
    }
}

fn kind(lv: &Lv) -> String {
    let origin = lv.origin.as_deref().map(|origin| format!("snapshot of {origin}"));
    let pool = lv
        .pool
        .as_deref()
        .filter(|_| lv.is_layout("thin") && !lv.is_layout("pool"))
        .map(|pool| format!("thin in {pool}"));
    let layout = || {
        if lv.is_layout("thin") && lv.is_layout("pool") {
            "thin pool".to_owned()
        } else {
            lv.layout.last().cloned().unwrap_or_default()
        }
    };
    origin.filter(|_| lv.is_role("snapshot")).or(pool).unwrap_or_else(layout)
}

fn volume_health(lv: &Lv) -> String {
    let mut said = Vec::new();
    if !lv.health.is_empty() {
        said.push(lv.health.clone());
    }
    let flags = [
        (lv.active == Some(false), "inactive"),
        (lv.suspended == Some(true), "suspended"),
        (lv.read_only == Some(true), "read-only"),
        (lv.snapshot_invalid == Some(true), "lost"),
        (lv.check_needed == Some(true), "needs a check"),
        (lv.move_pv.is_some(), "being moved"),
        (lv.converting == Some(true), "being converted"),
        (lv.merging == Some(true), "being merged"),
    ];
    said.extend(flags.iter().filter(|(flag, _)| *flag).map(|(_, name)| (*name).to_owned()));
    if let Some(percent) = lv.sync_percent.filter(|percent| lv.is_layout("raid") && percent.value() < 100.0) {
        said.push(format!("synchronised to {percent}"));
    }
    in_order(said)
}

fn physical(pv: &Pv) -> PvRow {
    let flags = [
        (pv.missing == Some(true), "missing"),
        (pv.duplicate == Some(true), "duplicate"),
        (pv.allocatable == Some(false), "not allocatable"),
        (pv.exported == Some(true), "exported"),
    ];
    let said = flags.iter().filter(|(flag, _)| *flag).map(|(_, name)| (*name).to_owned()).collect();
    PvRow {
        name: pv.name.clone(),
        vg: pv.vg.as_ref().map(ToString::to_string),
        size: pv.size,
        free: pv.free,
        health: in_order(said),
    }
}

/// What was recommended again and again is one row, with the last of them.
fn operations(facts: &Material<'_>, since: Option<&Comparison<'_>>) -> Vec<Operation> {
    let acts = [Outcome::Grown, Outcome::Failed, Outcome::NeedsAttention].map(Conclusion::Ended);
    let mut operations: Vec<Operation> = Vec::new();
    for past in facts.state.past.iter().rev().filter(|past| is_in_period(past, since)) {
        let is_act = acts.contains(&past.result);
        let again = |row: &&mut Operation| row.lv == past.lv && row.outcome == past.result && !is_act;
        if let Some(row) = operations.iter_mut().find(again) {
            row.count += 1;
            continue;
        }
        operations.push(Operation {
            at: past.at,
            lv: past.lv.clone(),
            outcome: past.result,
            count: 1,
            sentence: past.sentence.clone(),
            commands: past.commands.clone(),
        });
    }
    operations
}

fn refusals(facts: &Material<'_>, since: Option<&Comparison<'_>>) -> Vec<Refused> {
    let mut found: BTreeMap<(Option<LvRef>, Conclusion), Refused> = BTreeMap::new();
    for past in facts.state.refused.iter().filter(|past| is_in_period(past, since)) {
        let (lv, code) = (past.lv.clone(), past.result);
        let row = found.entry((past.lv.clone(), past.result));
        let row = row.or_insert_with(|| Refused { lv, code, count: 0, last_at: past.at, sentence: String::new() });
        (row.count, row.last_at, row.sentence) = (row.count + 1 + past.more as usize, past.at, past.sentence.clone());
    }
    let mut found: Vec<Refused> = found.into_values().collect();
    found.sort_by_key(|refused| std::cmp::Reverse((refused.count, refused.last_at)));
    found
}

fn is_in_period(past: &Past, since: Option<&Comparison<'_>>) -> bool {
    since.is_none_or(|since| past.at >= since.then.at.at)
}

/// When all that the journal remembers of a kind is of the period there was perhaps more.
fn is_cut(remembered: &VecDeque<Past>, since: Option<&Comparison<'_>>) -> bool {
    let is_cut = |names_one: bool| {
        let mut kind = remembered.iter().filter(|past| past.lv.is_some() == names_one);
        let first = kind.next();
        first.is_some_and(|past| is_in_period(past, since)) && kind.count() + 1 >= REMEMBERED
    };
    since.is_some() && [true, false].into_iter().any(is_cut)
}

fn summary(report: &Report) -> Summary {
    let sum = |values: &mut dyn Iterator<Item = Option<Bytes>>| Bytes(values.flatten().map(|bytes| bytes.0).sum());
    let (vgs, filesystems) = (&report.volume_groups, &report.filesystems);
    let first = filesystems.iter().map(|fs| (&fs.mount_point, fs.until_out_of_room.as_ref().unwrap_or(&fs.until_full)));
    let first = first.min_by(|(_, a), (_, b)| a.order().total_cmp(&b.order()));
    Summary {
        vg_size: sum(&mut vgs.iter().map(|vg| vg.size)),
        vg_free: sum(&mut vgs.iter().map(|vg| vg.free)),
        vg_available: sum(&mut vgs.iter().map(|vg| vg.available)),
        filesystem_size: sum(&mut filesystems.iter().map(|fs| fs.size)),
        filesystem_used: sum(&mut filesystems.iter().map(|fs| fs.used)),
        filled: filesystems.iter().filter_map(|fs| fs.filled).reduce(i64::saturating_add),
        grown: report
            .operations
            .iter()
            .filter(|operation| operation.outcome == Conclusion::Ended(Outcome::Grown))
            .count(),
        refused: report.refusals.iter().map(|refused| refused.count).sum(),
        findings_now: report.findings.iter().filter(|finding| finding.urgency == Urgency::Now).count(),
        findings_soon: report.findings.iter().filter(|finding| finding.urgency == Urgency::Soon).count(),
        first_full: first.and_then(|(name, until)| {
            Some(FirstFull { name: name.clone(), days: until.days?, text: until.text.clone() })
        }),
    }
}
