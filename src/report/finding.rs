//! What somebody should do something about: one function per kind, the most urgent kinds first. Each finding says what
//! is, what it means and what to do, with the commands; none of them is ever run by this tool.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::Serialize;

use super::growth::Comparison;
use super::snapshot;
use super::{FileSystemRow, LvRow, Material, VgRow};
use crate::command::{Tool, shell_word};
use crate::config::Mode;
use crate::inventory::{FileSystem, Lv};
use crate::journal::Conclusion;
use crate::plan::{Code, Outcome, fill};
use crate::units::{Bytes, MIB};

/// How soon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Urgency {
    /// Data or service are at risk, or nothing grows any more.
    Now,
    /// It will be, at this rate.
    Soon,
    /// Worth knowing.
    Note,
}

/// Something to do something about.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Finding {
    /// How soon.
    pub urgency: Urgency,
    /// Which kind; never changes.
    pub code: &'static str,
    /// What it is about: a volume, a group, a mount point.
    pub subject: String,
    /// What is, with the numbers.
    pub sentence: String,
    /// What to do.
    pub advice: String,
    /// How; each can be pasted into a root shell.
    pub commands: Vec<String>,
}

/// As `LvmInventoryStale` has it.
const STALE: Duration = Duration::from_secs(300);
/// As `LvmThinPoolNearlyFull`.
const POOL_NEARLY_FULL: f64 = 90.0;
/// As `LvmSnapshotNearlyFull`.
const SNAPSHOT_NEARLY_FULL: f64 = 80.0;
/// A file system this full fails writers at any moment.
const NEARLY_FULL: f64 = 95.0;
/// As `LvmFileSystemNearlyFull`.
const REFUSED_NOW: f64 = 90.0;
/// Until disks are ordered, delivered and built in.
const SOON_DAYS: f64 = 30.0;
/// What lasts less than a week is not for the next meeting.
const NOW_DAYS: f64 = 7.0;

/// What the findings look at.
pub(super) struct FindingFacts<'a> {
    pub facts: &'a Material<'a>,
    pub since: Option<&'a Comparison<'a>>,
    pub filesystems: &'a [FileSystemRow],
    pub vgs: &'a [VgRow],
    pub lvs: &'a [LvRow],
}

/// All findings and those of other files, in order of urgency, and within one urgency as the kinds stand here.
pub(super) fn all(ground: &FindingFacts<'_>, more: Vec<Finding>) -> Vec<Finding> {
    const KINDS: &[fn(&FindingFacts<'_>) -> Vec<Finding>] = &[
        missing_pvs,
        sick_filesystems,
        raids,
        thin_pools,
        snapshots,
        needs_attention,
        breakers,
        the_daemon,
        nearly_full,
        refused,
        out_of_room,
        groups,
        larger_than_filesystem,
        paused_and_recommended,
    ];
    let mut found: Vec<Finding> = KINDS.iter().flat_map(|kind| kind(ground)).chain(more).collect();
    found.sort_by_key(|finding| finding.urgency);
    found
}

pub(super) fn finding(
    urgency: Urgency,
    code: &'static str,
    subject: impl ToString,
    sentence: String,
    advice: &str,
) -> Finding {
    let (subject, advice) = (subject.to_string(), advice.to_owned());
    Finding { urgency, code, subject, sentence, advice, commands: vec![] }
}

impl Finding {
    pub(super) fn with(mut self, commands: impl IntoIterator<Item = String>) -> Finding {
        self.commands.extend(commands);
        self
    }
}

fn missing_pvs(g: &FindingFacts<'_>) -> Vec<Finding> {
    let missing =
        g.facts.inventory.vgs.iter().filter(|vg| vg.missing_pv_count.unwrap_or(0) > 0 || vg.partial == Some(true));
    missing
        .map(|vg| {
            let count = vg.missing_pv_count.unwrap_or(1).max(1);
            let sentence = format!("{count} of the physical volumes of {} cannot be found; volumes on it are lost or without redundancy, and nothing in the group grows.", vg.name);
            let advice = "Reconnect or replace the disk. If it came back as it was, restore it; if not, repair the RAIDs from a new one.";
            finding(Urgency::Now, "missing_pv", &vg.name, sentence, advice)
                .with(["pvs -o +pv_missing,pv_uuid".to_owned(), format!("vgextend --restoremissing {} DEVICE", vg.name)])
        })
        .collect()
}

fn sick_filesystems(g: &FindingFacts<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for (lv, fs) in snapshot::one_per_volume(g.facts.inventory) {
        let point = fs.mount.mount_point.as_str();
        let path = g.facts.inventory.path_of_file_system(&lv.name);
        let device = shell_word(&path.to_string_lossy());
        let place = shell_word(point);
        if let Some(errors) = fs.errors.filter(|errors| *errors > 0) {
            let sentence = format!("The kernel has counted errors on {point} since its last check: {errors}.");
            let advice = "Look into the kernel's log for the disk behind it, make a backup, then check the file system unmounted. It is not grown until then.";
            let check = fs.kind().and_then(|kind| kind.about().check.as_ref());
            let check = check.map(|check| (check.by_hand)(&path.to_string_lossy()).to_string());
            let remount = [Some(format!("umount {place}")), check, Some(format!("mount {device} {place}"))];
            found.push(finding(Urgency::Now, "fs_errors", point, sentence, advice).with(remount.into_iter().flatten()));
        }
        if fs.mount.read_only && (is_target(g, lv) || was_writable(g, lv, fs)) {
            let sentence = format!("{point} is mounted read-only.");
            let advice = "If nobody wanted that, the kernel has done it after an error: look into its log before anything is written again.";
            found.push(
                finding(Urgency::Now, "fs_read_only", point, sentence, advice)
                    .with(["journalctl -k -g 'error|remount' -n 50".to_owned()]),
            );
        }
        if fs.usage.is_none() {
            let sentence = format!("{point} does not say how full it is; the mount hangs, or is hidden by another.");
            found.push(
                finding(
                    Urgency::Now,
                    "fs_no_answer",
                    point,
                    sentence,
                    "Look at the device behind it and at the kernel's log.",
                )
                .with([format!("stat -f {place}")]),
            );
        }
    }
    found
}

fn is_target(g: &FindingFacts<'_>, lv: &Lv) -> bool {
    g.facts.config.target(&lv.name).is_some_and(|target| target.mode != Mode::Off)
}

fn was_writable(g: &FindingFacts<'_>, lv: &Lv, fs: &FileSystem) -> bool {
    g.since.and_then(|since| since.then.filesystem(&lv.uuid, &fs.mount.fs_type)).is_some_and(|then| !then.read_only)
}

/// Whatever LVM says about the health of a volume that is no pool.
fn raids(g: &FindingFacts<'_>) -> Vec<Finding> {
    // A RAID under a pool or a cache is hidden, and what is on it shows nothing of its health.
    let lvs = || g.facts.inventory.lvs.iter().filter(|lv| !lv.hidden || lv.is_layout("raid"));
    let sick = lvs().filter(|lv| !lv.health.is_empty() && !lv.is_layout("pool")).map(|lv| {
        let name = &lv.name;
        let sentence = format!("LVM says of {name}: {}.", lv.health);
        let (advice, command) = match lv.health.as_str() {
            // What mends it is run on the volume that it is a part of.
            _ if lv.hidden => ("Look at it with LVM.", format!("lvs -a -o +lv_health_status,devices {name}")),
            "partial" => (
                "Replace the disk that is missing, then repair: until then another failure loses data.",
                format!("lvconvert --repair {name}"),
            ),
            "refresh needed" => {
                ("A disk was away for a while. Let LVM bring its leg up to date.", format!("lvchange --refresh {name}"))
            }
            "mismatches exist" => (
                "The legs differ. Find out which disk is wrong, then repair.",
                format!("lvchange --syncaction repair {name}"),
            ),
            _ => ("Look at it with LVM.", format!("lvs -a -o +lv_health_status,devices {name}")),
        };
        finding(Urgency::Now, "raid_degraded", name, sentence, advice).with([command])
    });
    let syncing = lvs().filter(|lv| lv.is_layout("raid") && lv.health.is_empty()).filter_map(|lv| {
        let percent = lv.sync_percent.filter(|percent| percent.value() < 100.0)?;
        let sentence = format!(
            "{} is synchronised to {percent}; until it is done it has less redundancy and does not grow.",
            lv.name
        );
        Some(finding(Urgency::Note, "raid_syncing", &lv.name, sentence, "Wait."))
    });
    sick.chain(syncing).collect()
}

fn thin_pools(g: &FindingFacts<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    let pools = g.facts.inventory.lvs.iter().filter(|lv| !lv.hidden && lv.is_layout("thin") && lv.is_layout("pool"));
    for pool in pools {
        let name = &pool.name;
        let nearly =
            |percent: Option<crate::units::Percent>| percent.filter(|percent| percent.value() > POOL_NEARLY_FULL);
        if let Some(percent) = nearly(pool.metadata_percent) {
            let sentence = format!(
                "The metadata of the thin pool {name} is {percent} full; when it is full the pool and all its volumes become read-only and need a repair."
            );
            let advice = match g.facts.config.target(name).map(|target| target.mode) {
                Some(Mode::Act) => "See why it does not grow by itself, or extend the metadata now.",
                Some(Mode::Recommend) => {
                    "Extend the metadata now; with mode: act instead of recommend it grows by itself."
                }
                Some(Mode::Off) | None => {
                    "Extend the metadata now, and make the pool a target so that it grows by itself."
                }
            };
            let more = pool.metadata_size.map_or("1g".to_owned(), lvm_size);
            found.push(
                finding(Urgency::Now, "thin_metadata", name, sentence, advice)
                    .with([format!("lvextend --poolmetadatasize +{more} {name}")]),
            );
        }
        if let Some(percent) = nearly(pool.data_percent) {
            let sentence = format!(
                "The data of the thin pool {name} is {percent} full; when it is full its volumes stall or lose writes."
            );
            found.push(
                finding(
                    Urgency::Now,
                    "thin_data",
                    name,
                    sentence,
                    "Delete snapshots or data and trim, or extend the pool.",
                )
                .with([format!("lvs -o +data_percent,origin -S pool_lv={}", name.lv), "fstrim -av".to_owned()]),
            );
        }
        if !pool.health.is_empty() || pool.check_needed == Some(true) {
            let said = if pool.health.is_empty() { "its metadata needs a check" } else { pool.health.as_str() };
            let sentence = format!("LVM says of the thin pool {name}: {said}.");
            found.push(
                finding(
                    Urgency::Now,
                    "thin_pool_sick",
                    name,
                    sentence,
                    "Unmount its volumes, deactivate the pool and repair it; make a backup first.",
                )
                .with([format!("lvconvert --repair {name}")]),
            );
        }
    }
    found
}

/// As LVM's commands read it.
fn lvm_size(size: Bytes) -> String {
    if size.0.is_multiple_of(MIB) { format!("{}m", size.0 / MIB) } else { format!("{}b", size.0) }
}

fn snapshots(g: &FindingFacts<'_>) -> Vec<Finding> {
    let snapshots = g.facts.inventory.lvs.iter().filter(|lv| lv.is_role("thicksnapshot"));
    snapshots
        .filter_map(|lv| {
            let name = &lv.name;
            if lv.snapshot_invalid == Some(true) {
                let sentence = format!("The snapshot {name} was full and is lost; it only takes space and slows its origin.");
                return Some(finding(Urgency::Soon, "snapshot_lost", name, sentence, "Remove it.").with([format!("lvremove {name}")]));
            }
            let percent = lv.data_percent.filter(|percent| percent.value() > SNAPSHOT_NEARLY_FULL)?;
            let sentence = format!("The snapshot {name} is {percent} full; at 100 % it is lost. Its origin is not, and cannot grow while it exists.");
            let more = lv.size.map_or(Bytes(1 << 30), |size| size);
            Some(finding(Urgency::Now, "snapshot_full", name, sentence, "Extend it, or finish what it was made for and remove it.")
                .with([format!("lvextend -L +{} {name}", lvm_size(more))]))
        })
        .collect()
}

fn needs_attention(g: &FindingFacts<'_>) -> Vec<Finding> {
    let parked = g.facts.state.parked.iter().map(|(lv, parked)| {
        let advice = "Run the commands that are left. The target is blocked until volume and file system are as planned, and unblocked by itself then.";
        // What is left now stands below it.
        let what = parked.account.without_commands();
        let since = parked.since.strftime("%Y-%m-%d %H:%M UTC");
        let fs = g.filesystems.iter().find(|fs| &fs.lv == lv);
        let lasts = fs.and_then(|fs| Some((fs, fs.usage?))).map_or(String::new(), |(fs, usage)| {
            let full = fs.until_full.days.map_or(String::new(), |_| format!(", and full in {} as it is", fs.until_full.text));
            format!(" {} is {usage} full{full}.", fs.mount_point)
        });
        let sentence = format!("Operation {} on {lv} stopped half-way at {since}: {what}.{lasts}", parked.id);
        // What keeps it parked may be something that only a look at the one volume shows.
        let named_then = parked.plan.is_reached(g.facts.inventory) || !parked.plan.are_its_own(&parked.account.commands);
        let left = match named_then {
            true => parked.account.commands.clone(),
            false => parked.plan.left_for_a_person(Some(g.facts.inventory)),
        };
        finding(Urgency::Now, "needs_attention", lv, sentence, advice).with(left)
    });
    parked.collect()
}

fn breakers(g: &FindingFacts<'_>) -> Vec<Finding> {
    let history = g.facts.state.history(false);
    let open = g.facts.config.targets.iter().filter(|target| history.breaker_is_open(target));
    open.map(|target| {
        let bad = [Outcome::Failed, Outcome::NeedsAttention].map(Conclusion::Ended);
        let last = g
            .facts
            .state
            .past
            .iter()
            .rev()
            .find(|past| past.lv.as_ref() == Some(&target.lv) && bad.contains(&past.result));
        let why = last.map_or(String::new(), |last| format!(" The last time: {}.", last.sentence));
        let sentence = format!(
            "{} failed {} times in a row and is not tried any more.{why}",
            target.lv,
            history.failures.get(&target.lv).unwrap_or(&0)
        );
        finding(Urgency::Now, "breaker_open", &target.lv, sentence, "Mend the cause, then close the breaker.")
            .with([format!("lvm-autoscaler reset {}", target.lv)])
    })
    .collect()
}

fn the_daemon(g: &FindingFacts<'_>) -> Vec<Finding> {
    let facts = g.facts;
    let mut found = Vec::new();
    if facts.journal_writable == Some(false) {
        let folder = shell_word(&facts.config.state_directory.to_string_lossy());
        let sentence = "The journal cannot be written, so nothing is accepted and nothing grows.".to_owned();
        found.push(
            finding(
                Urgency::Now,
                "journal_not_writable",
                facts.config.state_directory.display(),
                sentence,
                "Look at the file system and the disk that hold the state directory.",
            )
            .with([format!("findmnt -T {folder}"), format!("touch {folder}/test && rm {folder}/test")]),
        );
    }
    let age = Duration::try_from(facts.now.at.duration_since(facts.inventory.taken_at)).unwrap_or_default();
    if !facts.looked || age > STALE {
        let sentence = format!(
            "LVM was last read at {}; all that this report shows of volumes and groups is from then.",
            facts.inventory.taken_at.strftime("%Y-%m-%d %H:%M UTC")
        );
        found.push(
            finding(
                Urgency::Now,
                "inventory_stale",
                "LVM",
                sentence,
                "See whether LVM answers; a process that holds its lock, or a disk that hangs, stops it.",
            )
            .with([
                "lvm fullreport >/dev/null; echo $?".to_owned(),
                "ps -eo pid,etime,stat,args | grep '[l]vm'".to_owned(),
            ]),
        );
    }
    let missing: Vec<Tool> =
        facts.inventory.missing_tools.iter().copied().filter(|tool| facts.config.may_need(*tool)).collect();
    if !facts.config.grows_nothing() && !missing.is_empty() {
        let tools = missing.iter().map(|tool| tool.as_str()).collect::<Vec<_>>().join(", ");
        let packages: BTreeSet<&str> = missing.iter().map(|tool| tool.package()).collect();
        let packages = packages.into_iter().collect::<Vec<_>>().join(", ");
        let sentence = format!("Not installed: {tools}. What needs it is refused.");
        found.push(finding(
            Urgency::Soon,
            "tools_missing",
            tools,
            sentence,
            &format!("Install {packages}, or set tools in the config if they are elsewhere."),
        ));
    }
    found
}

/// Full now: over its threshold without room, or so full that writers fail.
fn nearly_full(g: &FindingFacts<'_>) -> Vec<Finding> {
    g.filesystems
        .iter()
        .filter_map(|fs| {
            let usage = fs.usage?;
            let left = fs.avail.unwrap_or_default();
            let point = &fs.mount_point;
            if is_without_headroom(fs) {
                let (threshold, headroom) = (fs.threshold?, fs.headroom?);
                let last = fs.until_full.days.map_or(String::new(), |_| format!(" At its present rate they last {}.", fs.until_full.text));
                let may = if headroom == Bytes::ZERO { "not grow any more".to_owned() } else { format!("grow by only {headroom}") };
                let sentence = format!("{point} is {usage} full, above its threshold of {threshold}, and its volume may {may}. {left} are left.{last}");
                let group = g.vgs.iter().find(|vg| vg.name == fs.lv.vg.as_str());
                let handed_out = group.and_then(|vg| vg.available).unwrap_or_default();
                let limit = g.facts.config.target(&fs.lv).and_then(|target| target.max_size);
                let advice = match limit.filter(|_| handed_out > headroom) {
                    Some(limit) => format!("Raise its max_size, which is {limit}, or delete data; {} has {handed_out} to hand out.", fs.lv.vg),
                    None => "Add a disk to the volume group, or delete data.".to_owned(),
                };
                return Some(finding(Urgency::Now, "no_headroom", point, sentence, &advice)
                    .with([format!("lvm-autoscaler plan {}", fs.lv)]));
            }
            // What is mounted read-only fills no further; if that is nobody's wish it is a finding of its own.
            if is_read_only(g, fs) {
                return None;
            }
            if usage.value() > NEARLY_FULL {
                let sentence = format!("{point} is {usage} full; {left} are left.");
                let advice = if fs.threshold.is_some() { "See why it does not grow." } else { "It is not a target, so it does not grow by itself: add it to monitor.targets, or grow it by hand." };
                let command = if fs.threshold.is_some() { format!("lvm-autoscaler plan {}", fs.lv) } else { format!("lvextend -r -L +SIZE {}", fs.lv) };
                return Some(finding(Urgency::Now, "nearly_full", point, sentence, advice).with([command]));
            }
            let inodes = fs.inode_usage.filter(|inodes| inodes.value() > NEARLY_FULL)?;
            let sentence = format!("{inodes} of the inodes of {point} are used; without one no file can be made, however much space is free.");
            Some(finding(Urgency::Now, "inodes_nearly_full", point, sentence, "Delete small files, or grow it: an ext4 gets inodes with each block group.")
                .with([format!("df -i {}", shell_word(point))]))
        })
        .collect()
}

fn is_read_only(g: &FindingFacts<'_>, row: &FileSystemRow) -> bool {
    let mounts = &g.facts.inventory.mounts;
    mounts.iter().rev().find(|mount| mount.mount_point.as_str() == row.mount_point).is_some_and(|mount| mount.read_only)
}

/// Over its threshold, and something stands in the way of its growth. A missing physical volume is a finding of its
/// own.
fn refused(g: &FindingFacts<'_>) -> Vec<Finding> {
    let over = g.filesystems.iter().filter(|fs| is_over(fs) && !is_without_headroom(fs));
    let is_told = |code| !Code::EVERYDAY.contains(&code) && code != Code::VgPartial;
    over.filter_map(|fs| {
        let refusal = g.facts.state.last_refusal.get(&fs.lv).filter(|refusal| is_told(refusal.code))?;
        let (point, usage) = (&fs.mount_point, fs.usage?);
        let sentence = format!("{point} is {usage} full and does not grow ({}): {}.", refusal.code, refusal.sentence);
        let urgency = if usage.value() > REFUSED_NOW { Urgency::Now } else { Urgency::Soon };
        let advice = "Clear what is in the way; it grows with the next alert or look.";
        Some(finding(urgency, "refused", point, sentence, advice).with([format!("lvm-autoscaler plan {}", fs.lv)]))
    })
    .collect()
}

fn is_over(fs: &FileSystemRow) -> bool {
    fs.usage.zip(fs.threshold).is_some_and(|(usage, threshold)| usage.value() > threshold.value())
}

/// As `LvmAutoscalerOutOfHeadroom` has it: over its threshold, and less than a twentieth of it left to grow by.
fn is_without_headroom(fs: &FileSystemRow) -> bool {
    is_over(fs) && fs.headroom.zip(fs.size).is_some_and(|(headroom, size)| headroom < Bytes(size.0 / 20))
}

/// Full before long: with all the growth that is allowed, or without any where it is no target.
fn out_of_room(g: &FindingFacts<'_>) -> Vec<Finding> {
    let urgency = |days: f64| if days < NOW_DAYS { Urgency::Now } else { Urgency::Soon };
    let filesystems = g.filesystems.iter().filter(|fs| !is_without_headroom(fs)).filter_map(|fs| {
        let until = fs.until_out_of_room.as_ref().unwrap_or(&fs.until_full);
        let days = until.days.filter(|days| *days > 0.0 && *days < SOON_DAYS)?;
        let (point, rate) = (&fs.mount_point, Bytes(fs.per_day?.unsigned_abs()));
        let is_target = fs.until_out_of_room.is_some();
        let (what, advice) = if is_target {
            (
                format!("even when it is grown by all of the {} it may", fs.headroom.unwrap_or_default()),
                "Add a disk to the volume group or raise max_size before that, or delete data.",
            )
        } else {
            ("and nothing grows it by itself".to_owned(), "Add it to monitor.targets, grow it by hand, or delete data.")
        };
        let sentence = format!("{point} fills by {rate} a day and is full in {}, {what}.", until.text);
        Some(finding(urgency(days), "full_before_long", point, sentence, advice))
    });
    let pools = g.lvs.iter().filter_map(|lv| {
        let until = lv.until_full.as_ref()?;
        let days = until.days.filter(|days| *days > 0.0 && *days < SOON_DAYS)?;
        let sentence = format!("{}, a {}, is full in {} at the rate at which it fills.", lv.name, lv.kind, until.text);
        Some(finding(
            urgency(days),
            "full_before_long",
            &lv.name,
            sentence,
            "Extend it before that, or delete what it holds.",
        ))
    });
    filesystems.chain(pools).collect()
}

fn groups(g: &FindingFacts<'_>) -> Vec<Finding> {
    g.vgs
        .iter()
        .filter_map(|vg| {
            let free = vg.free?;
            if vg.reserve > Bytes::ZERO && free < vg.reserve {
                let sentence = format!(
                    "{} has {free} free, less than its reserve of {}: nothing in it grows any more.",
                    vg.name, vg.reserve
                );
                return Some(
                    finding(Urgency::Now, "below_reserve", &vg.name, sentence, "Add a disk, or lower the reserve.")
                        .with([format!("vgextend {} DEVICE", vg.name)]),
                );
            }
            let days = vg.until_handed_out.days.filter(|days| *days < SOON_DAYS)?;
            let rate = Bytes(vg.per_day?.unsigned_abs());
            let sentence = format!(
                "{} has {} to hand out, and what is on it fills by {rate} a day: that lasts {}.",
                vg.name,
                vg.available.unwrap_or_default(),
                vg.until_handed_out.text
            );
            let sentence = if days <= 0.0 {
                format!("{} has nothing left to hand out, and what is on it fills by {rate} a day.", vg.name)
            } else {
                sentence
            };
            Some(
                finding(
                    if days < NOW_DAYS { Urgency::Now } else { Urgency::Soon },
                    "group_before_long",
                    &vg.name,
                    sentence,
                    "Add a disk before that.",
                )
                .with([format!("vgextend {} DEVICE", vg.name)]),
            )
        })
        .collect()
}

fn larger_than_filesystem(g: &FindingFacts<'_>) -> Vec<Finding> {
    let state = g.facts.state;
    let busy = |lv: &Lv| {
        state.parked.contains_key(&lv.name) || state.running.values().any(|running| running.plan.lv == lv.name)
    };
    let found =
        snapshot::one_per_volume(g.facts.inventory).into_iter().filter(|(lv, _)| !busy(lv)).filter_map(|(lv, fs)| {
            let size = g.facts.inventory.room_on(lv)?;
            let rest = size.saturating_sub(fs.size()?);
            if fs.fills(size) != Some(false) {
                return None;
            }
            let commands = fill(g.facts.inventory, lv, fs, g.facts.config.target(&lv.name))?;
            let sentence = format!(
                "{} is {rest} larger than the {} on it: it was extended and the file system was not grown.",
                lv.name, fs.mount.fs_type
            );
            Some(
                finding(
                    Urgency::Soon,
                    "larger_than_filesystem",
                    &lv.name,
                    sentence,
                    "Grow the file system; that is safe while it is mounted.",
                )
                .with(commands),
            )
        });
    found.collect()
}

fn paused_and_recommended(g: &FindingFacts<'_>) -> Vec<Finding> {
    let state = g.facts.state;
    let paused = g.facts.config.targets.iter().filter_map(|target| {
        let (since, _) = state.paused.since(&target.lv)?;
        let sentence =
            format!("{} is paused since {}; it does not grow.", target.lv, since.strftime("%Y-%m-%d %H:%M UTC"));
        Some(
            finding(Urgency::Note, "paused", &target.lv, sentence, "Resume it when the reason is gone.")
                .with([format!("lvm-autoscaler resume {}", target.lv)]),
        )
    });
    let recommended = state.last_recommended.iter().filter_map(|(lv, last)| {
        let target = g.facts.config.target(lv).filter(|target| g.facts.config.recommends(target))?;
        let fs = g.filesystems.iter().find(|fs| &fs.lv == lv)?;
        fs.usage.filter(|usage| usage.value() > target.threshold.value())?;
        let (what, instead) = match target.mode {
            Mode::Recommend => ("its mode", "mode: act"),
            Mode::Act | Mode::Off => ("grown_disks of its group", "grown_disks: resize"),
        };
        let at = last.at.at.strftime("%Y-%m-%d %H:%M UTC");
        let sentence = format!("{lv} would have been grown at {at}, and {what} is recommend.");
        let advice = format!("Decide, and grow it by hand or set {instead}.");
        Some(finding(Urgency::Soon, "recommended", lv, sentence, &advice).with([format!("lvm-autoscaler plan {lv}")]))
    });
    paused.chain(recommended).collect()
}
