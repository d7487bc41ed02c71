//! For every code a case that just passes and one that just refuses, and what an operator reads in the second.
//!
//! `tests/golden/refusals.txt` holds the sentences; `UPDATE_GOLDEN=1 cargo test --test engine guards::` writes it anew.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use crate::common::*;
use jiff::SignedDuration;
use lvm_autoscaler::alert::instance::OwnNames;
use lvm_autoscaler::alert::target::resolve;
use lvm_autoscaler::config::{self, Config};
use lvm_autoscaler::host::sim::{self, Model, Sim, SimFs, SimKeyFile, SimLuks, SimLv, SimPool, SimVg};
use lvm_autoscaler::host::{Focus, key, look};
use lvm_autoscaler::inventory::{Capability, Inventory, Superblock};
use lvm_autoscaler::name::OperationId;
use lvm_autoscaler::plan::history::{Extension, Last, Open};
use lvm_autoscaler::plan::{Code, History, Outcome, Plan, Refusal, plan};
use lvm_autoscaler::units::{Bytes, Extents};

const HOST: &str = "
names: [db1]
volume_groups:
  - name: vg
    physical_volumes: [{ name: /dev/sdb, size: 10GiB }, { name: /dev/sdc, size: 2GiB }]
    logical_volumes:
      - { name: data, size: 4GiB, filesystem: { type: ext4, mount_point: /data, used: 85% } }
      - { name: other, size: 1GiB, filesystem: { type: xfs, mount_point: /other, used: 10% } }
";
const CONFIG: &str = "monitor:\n  targets:\n    - { lv_path: /dev/vg/data, mount_point: /data, increment: 2GiB }\n";

/// A world as a decision sees it. Each case changes one thing of it.
struct Case {
    model: Model,
    config: Config,
    history: History,
    labels: BTreeMap<String, String>,
    /// What LVM's report would have said, where the simulated host cannot say it.
    report: fn(&mut Inventory),
}

impl Case {
    fn new() -> Case {
        Case {
            model: sim::parse(HOST).expect("a host"),
            config: read(CONFIG),
            history: History::default(),
            labels: labels(&[("instance", "db1:9100"), ("vg", "vg"), ("lv", "data")]),
            report: |_| (),
        }
    }

    fn vg(&mut self) -> &mut SimVg {
        self.model.vg("vg").expect("there")
    }

    fn lv(&mut self) -> &mut SimLv {
        self.model.lv("vg/data").expect("there")
    }

    fn fs(&mut self) -> &mut SimFs {
        self.lv().fs.as_mut().expect("there")
    }

    fn target(&mut self) -> &mut config::Target {
        &mut self.config.targets[0]
    }

    fn decide(self) -> Result<Plan, Refusal> {
        let host = Sim::stepped(self.model, epoch());
        let mut inventory = look(&host, Focus::to_decide(&lv("vg/data"), &self.config)).expect("LVM answers");
        (self.report)(&mut inventory);
        let named = resolve(&self.labels, &self.config, &OwnNames::new(["db1"]), &inventory)?;
        let target = self.config.target(&named).expect("resolve gives only targets");
        let decide = |inventory: &Inventory| plan(target, inventory, &self.config, &self.history, epoch());
        key::decide(&host, target, &self.config, &inventory, decide).decision
    }
}

fn read(config: &str) -> Config {
    let config = config::parse(config, Path::new("config.yaml")).expect("a config");
    Config { time_zone: jiff::tz::TimeZone::UTC, ..config }
}

/// LUKS2 lies below the file system, and a key file opens it.
fn on_luks(case: &mut Case, change: impl Fn(&mut SimLuks)) {
    encrypt(&mut case.model, "vg/data", |volume| {
        let mut luks = luks2(volume);
        change(&mut luks);
        luks
    });
    fs_target(case).luks_key_file = Some(KEY_FILE.into());
}

fn key_file(case: &mut Case) -> &mut SimKeyFile {
    case.model.key_files.get_mut(Path::new(KEY_FILE)).expect("there")
}

fn fs_target(case: &mut Case) -> &mut config::FileSystemTarget {
    match &mut case.target().what {
        config::What::FileSystem(fs) => fs,
        config::What::ThinPool { .. } => unreachable!("it is a file system"),
    }
}

/// Next to nothing is free, and a disk that may be used became larger; its PV has so many copies of LVM's metadata.
fn grown(case: &mut Case, copies: u64) {
    case.config.volume_groups = read("volume_groups: [{ name: vg, grown_disks: resize }]").volume_groups;
    let pvs = &mut case.vg().pvs;
    pvs[0].allocatable = false;
    pvs[1].allocated.0 += 400;
    (pvs[1].device_exceeds, pvs[1].metadata_areas) = (5 << 30, copies);
}

/// So many extensions of 2 GiB, the oldest a day ago but for a second.
fn extended(case: &mut Case, name: &str, times: u64) {
    let at = |number: u64| epoch() - SignedDuration::from_secs(86399 - number as i64 * 60);
    let all = (0..times).map(|number| Extension { at: at(number).into(), bytes: gib(2) });
    case.history.extensions.insert(lv(name), all.collect());
}

fn window(case: &mut Case, window: &str) {
    let config = CONFIG.replace("increment", &format!("window: {window}, increment"));
    case.config = read(&config);
}

fn group_budget(case: &mut Case, budget: &str) {
    case.config.volume_groups = read(&format!("volume_groups: [{{ name: vg, budget: {budget} }}]")).volume_groups;
}

/// The volume lies in a thin pool of 8 GiB, a quarter of it and of its metadata used.
fn thin(case: &mut Case) -> &mut SimLv {
    let mut pool = case.lv().clone();
    (pool.name, pool.minor, pool.kind, pool.fs) = (lv("vg/pool"), 8, "thin-pool".into(), None);
    pool.extents.0 = 2048;
    pool.thin_pool = Some(SimPool { metadata: Extents(2), data_used: gib(2), metadata_used: Bytes(2 << 20) });
    let data = case.lv();
    (data.kind, data.pool) = ("thin".into(), Some("pool".into()));
    case.model.lvs.push(pool);
    case.model.lvs.last_mut().expect("just pushed")
}

/// Another volume of the pool, of so many GiB.
fn promised(case: &mut Case, size: u64) {
    thin(case);
    let mut other = case.lv().clone();
    (other.name, other.minor, other.fs, other.extents.0) = (lv("vg/promised"), 9, None, size * 256);
    case.model.lvs.push(other);
}

/// A btrfs on so many devices.
fn btrfs(case: &mut Case, devices: u64) {
    let fs = case.fs();
    (fs.kind, fs.devices, fs.used.0) = ("btrfs".into(), devices, fs.size.0 / 100 * 85);
}

fn superblock(inventory: &mut Inventory) -> &mut Superblock {
    inventory.filesystems[0].superblock.as_mut().expect("there")
}

/// One of so many MiB, which is to grow by 64 MiB.
fn small_btrfs(case: &mut Case, size: u64) {
    btrfs(case, 1);
    case.lv().extents.0 = size / 4;
    let fs = case.fs();
    (fs.size, fs.used) = (Bytes(size << 20), Bytes((size << 20) / 100 * 85));
    case.target().increment = read_amount("64MiB");
    case.target().min_increment = Some(Bytes(4 << 20));
}

/// All that is free is on disks with a logical block size of 4 KiB, and the file system bears so much.
fn coarse(case: &mut Case, bears: u64) {
    case.vg().pvs.iter_mut().for_each(|pv| pv.block_size = Bytes(4096));
    case.fs().bears = Bytes(bears);
}

/// The disk on which the volume ends is full, and another has the same tag.
fn cling(case: &mut Case) {
    case.vg().policy = "cling".into();
    case.vg().pvs.iter_mut().for_each(|pv| pv.tags = "ssd".into());
    case.vg().pvs[0].allocated = case.vg().pvs[0].extents;
}

fn near_miss(case: &mut Case, groups: &str) {
    case.config.volume_groups = read(&format!("volume_groups: {groups}")).volume_groups;
}

/// Another group, whose disks are none of ours.
fn other_group(case: &mut Case) -> &mut SimVg {
    let mut other = case.vg().clone();
    other.name = "vg2".parse().expect("a name");
    other.pvs.iter_mut().for_each(|pv| pv.name.push('2'));
    case.model.vgs.push(other);
    case.model.vgs.last_mut().expect("just pushed")
}

/// As mkfs made it without 64bit, on a volume of this many GiB.
fn old_ext4(inventory: &mut Inventory, gib_: u64) {
    if let Superblock::Ext(ext) = superblock(inventory) {
        (ext.has_64bit, ext.has_resize_inode, ext.reserved_gdt_blocks, ext.block_size) = (false, false, 0, 1024);
        // What is used stays what it was, so how much is usable must not be known.
        (ext.blocks, ext.at_rest.overhead) = (gib_ << 20, 0);
    }
    lvs(inventory).size = Some(gib(gib_));
}

fn xfs(case: &mut Case, first: Bytes) {
    let fs = case.fs();
    (fs.kind, fs.first_size) = ("xfs".into(), first);
    fs.used.0 = fs.capacity().0 / 100 * 90;
}

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

fn lvs(inventory: &mut Inventory) -> &mut lvm_autoscaler::inventory::Lv {
    inventory.lvs.iter_mut().find(|lv| lv.name.to_string() == "vg/data").expect("there")
}

fn full_xfs(case: &mut Case) {
    case.fs().kind = "xfs".into();
    use_percent(case, 90);
}

/// What `statvfs` says.
fn shown(inventory: &mut Inventory) -> &mut lvm_autoscaler::inventory::Usage {
    let of = inventory.filesystems.iter_mut().find(|fs| fs.mount.mount_point.as_str() == "/data").expect("there");
    of.usage.as_mut().expect("it answers")
}

fn snapshot(case: &mut Case, origin: &str) {
    let mut snapshot = case.lv().clone();
    snapshot.name = lv("vg/snap");
    (snapshot.minor, snapshot.origin, snapshot.fs) = (9, Some(origin.to_owned()), None);
    case.model.lvs.push(snapshot);
}

fn open(attention: Option<&str>) -> Open {
    let attention = attention.map(str::to_owned);
    Open { id: OperationId(7), since: epoch(), attention, lv_uuid: "another".to_owned(), mount_point: None }
}

fn last(ago: u64) -> Last {
    let at = epoch() - SignedDuration::from_secs(ago as i64);
    Last { id: OperationId(7), at: at.into(), outcome: Outcome::Grown }
}

/// The threshold is exactly what is in use, or this many bytes are in use beyond it.
fn use_threshold(case: &mut Case, beyond: u64) {
    let usage = case.fs().usage();
    let (used, visible) = (usage.used().0, usage.used().0 + usage.avail.0);
    case.target().threshold = lvm_autoscaler::units::Percent::of(used, visible);
    case.fs().used.0 += beyond;
}

/// About so many percent are in use.
fn use_percent(case: &mut Case, percent: u64) {
    case.fs().used.0 = case.fs().capacity().0 / 100 * percent;
}

type Change = fn(&mut Case);

/// Code, what just passes, what just refuses.
#[rustfmt::skip]
const CASES: &[(Code, Change, Change)] = &[
    (Code::UnknownTarget, |_| (), |c| c.labels = labels(&[("instance", "db1"), ("vg", "vg"), ("lv", "other")])),
    (Code::UnknownTarget, |_| (), |c| c.labels = labels(&[("instance", "db1"), ("alertname", "DiskFull")])),
    (Code::UnknownTarget, |_| (), |c| c.labels = labels(&[("instance", "db1"), ("vg", "vg")])),
    (Code::UnknownTarget, |c| c.labels = labels(&[("instance", "db1"), ("mountpoint", "/data/")]), |c| c.labels = labels(&[("instance", "db1"), ("mountpoint", "/nowhere")])),
    (Code::UnknownTarget, |_| (), |c| { c.model.lvs.retain(|lv| lv.name.to_string() != "vg/data"); c.labels = labels(&[("instance", "db1"), ("mountpoint", "/data")]) }),
    (Code::OtherHost, |c| { c.labels.insert("instance".into(), "DB1.:9100".into()); }, |c| { c.labels.insert("instance".into(), "db10:9100".into()); }),
    (Code::OtherHost, |_| (), |c| { c.labels.remove("instance"); }),
    (Code::AmbiguousAlert, |c| { c.labels.insert("mountpoint".into(), "/data".into()); }, |c| { c.labels.insert("mountpoint".into(), "/other".into()); }),
    (Code::ModeOff, |c| c.target().mode = config::Mode::Recommend, |c| c.target().mode = config::Mode::Off),
    (Code::Paused, |c| { c.history.paused.targets.insert(lv("vg/other"), epoch()); }, |c| { c.history.paused.targets.insert(lv("vg/data"), epoch()); }),
    (Code::Paused, |_| (), |c| c.history.paused.all = Some(epoch())),
    // A Thursday at midnight.
    (Code::OutsideWindow, |c| window(c, "{ from: \"00:00\", to: \"04:00\" }"), |c| window(c, "{ from: \"00:01\", to: \"04:00\" }")),
    (Code::OutsideWindow, |c| window(c, "{ days: [wed], from: \"22:00\", to: \"00:01\" }"), |c| window(c, "{ days: [thu], from: \"22:00\", to: \"04:00\" }")),
    (Code::OperationInProgress, |_| (), |c| { c.history.open.insert(lv("vg/data"), open(None)); }),
    (Code::OperationInProgress, |c| { c.history.open.insert(lv("vg/other"), open(None)); },
        |c| { c.history.open.insert(lv("vg/data"), open(Some("resize2fs exited with 1; when that is mended, run: resize2fs /dev/mapper/vg-data"))); }),
    (Code::BreakerOpen, |c| { c.history.failures.insert(lv("vg/data"), 2); }, |c| { c.history.failures.insert(lv("vg/data"), 3); }),
    (Code::Cooldown, |c| { c.history.last.insert(lv("vg/data"), last(600)); }, |c| { c.history.last.insert(lv("vg/data"), last(599)); }),
    (Code::Cooldown, |c| { c.history.recommended.insert(lv("vg/data"), last(1)); }, |c| { c.target().mode = config::Mode::Recommend; c.history.recommended.insert(lv("vg/data"), last(1)); }),
    (Code::BudgetExhausted, |c| extended(c, "vg/data", 5), |c| extended(c, "vg/data", 6)),
    (Code::BudgetExhausted, |c| { c.target().budget.bytes = Some(gib(5)); extended(c, "vg/data", 2) }, |c| { c.target().budget.bytes = Some(Bytes((5 << 30) - 1)); extended(c, "vg/data", 2) }),
    (Code::BudgetExhausted, |c| { group_budget(c, "{ extensions: 5 }"); extended(c, "vg/other", 4) }, |c| { group_budget(c, "{ extensions: 5 }"); extended(c, "vg/other", 5) }),
    (Code::BudgetExhausted, |c| group_budget(c, "{ bytes: 1GiB }"), |c| group_budget(c, "{ bytes: 1020MiB }")),
    (Code::ConfigSuspect, |c| near_miss(c, "[{ name: v-g, reserve: 50% }, { name: vg, reserve: 0 }]"), |c| near_miss(c, "[{ name: VG, reserve: 50% }]")),
    (Code::ConfigSuspect, |c| { near_miss(c, "[{ name: v-g }]"); other_group(c).name = "v-g".parse().expect("a name"); }, |c| { near_miss(c, "[{ name: v-g }]"); other_group(c); }),
    (Code::VgPartial, |_| (), |c| c.vg().partial = true),
    (Code::VgPartial, |_| (), |c| c.report = |i| i.vgs[0].partial = None),
    (Code::VgExported, |_| (), |c| c.vg().exported = true),
    (Code::VgForeign, |c| { c.vg().system_id = "db1".into(); c.model.system_id = "db1".into(); }, |c| { c.vg().system_id = "db2".into(); c.model.system_id = "db1".into(); }),
    (Code::VgForeign, |_| (), |c| c.vg().system_id = "db2".into()),
    (Code::VgShared, |_| (), |c| c.report = |i| i.vgs[0].shared = Some(true)),
    (Code::VgReadOnly, |_| (), |c| c.vg().read_only = true),
    (Code::DuplicatePv, |c| other_group(c).pvs[0].duplicate = Some("/dev/sdx".into()), |c| c.vg().pvs[1].duplicate = Some("/dev/sdx".into())),
    (Code::DiskShrunk, |c| c.vg().pvs[1].device_exceeds = 0, |c| c.vg().pvs[1].device_exceeds = -1),
    (Code::DiskShrunk, |_| (), |c| c.report = |i| i.pvs[1].disk = None),
    (Code::DiskShrunk, |_| (), |c| c.report = |i| i.pvs[1].first_extent_at = None),
    (Code::DiskShrunk, |_| (), |c| c.report = |i| i.pvs[0].device_size = Some(Bytes(1 << 30))),
    (Code::PvUnusable, |c| other_group(c).pvs[0].suspended = true, |c| c.vg().pvs[1].suspended = true),
    (Code::PvUnusable, |_| (), |c| c.vg().pvs[0].read_only = true),
    (Code::PvUnusable, |_| (), |c| c.vg().pvs[0].volume = Some("vg0-guest".into())),
    (Code::LvInactive, |_| (), |c| c.lv().active = false),
    (Code::LvSuspended, |_| (), |c| c.lv().suspended = true),
    (Code::LvSuspended, |_| (), |c| on_luks(c, |luks| luks.suspended = true)),
    (Code::LvReadOnly, |_| (), |c| c.lv().read_only = true),
    (Code::LvBusy, |_| (), |c| c.report = |i| lvs(i).merging = Some(true)),
    (Code::LvBusy, |_| (), |c| c.report = |i| lvs(i).move_pv = Some("/dev/sdb".into())),
    (Code::LvBusy, |_| (), |c| c.report = |i| lvs(i).converting = None),
    (Code::LvBusy, |c| c.report = |i| lvs(i).sync_percent = "7.5".parse().ok(), |c| c.report = |i| { lvs(i).layout.push("raid".into()); lvs(i).sync_percent = "99.9".parse().ok(); }),
    (Code::LvBusy, |c| c.report = |i| { lvs(i).layout = vec!["raid".into(), "raid1".into()]; lvs(i).sync_percent = "100".parse().ok(); }, |c| c.report = |i| lvs(i).layout = vec!["raid".into(), "raid1".into()]),
    (Code::LvUnhealthy, |_| (), |c| c.lv().health = "refresh needed".into()),
    (Code::LvUnhealthy, |c| { thin(c); }, |c| thin(c).health = "out_of_data".into()),
    (Code::SnapshotOrigin, |c| snapshot(c, "other"), |c| snapshot(c, "data")),
    (Code::LuksUnsupported, |c| on_luks(c, |_| ()), |c| on_luks(c, |luks| luks.integrity = true)),
    (Code::LuksUnsupported, |c| on_luks(c, |luks| *luks = luks1(gib(4))), |c| on_luks(c, |luks| luks.kind = "PLAIN".into())),
    (Code::LuksUnsupported, |_| (), |c| on_luks(c, |luks| luks.segments = 2)),
    (Code::LuksUnsupported, |_| (), |c| on_luks(c, |luks| luks.detached = true)),
    (Code::LuksUnsupported, |_| (), |c| { on_luks(c, |_| ()); c.report = |i| i.mappings[0].alone = false; }),
    (Code::LuksUnsupported, |c| c.model.missing_tools = vec![lvm_autoscaler::command::Tool::Cryptsetup], |c| { on_luks(c, |_| ()); c.model.missing_tools = vec![lvm_autoscaler::command::Tool::Cryptsetup]; }),
    (Code::LuksUnsupported, |_| (), |c| { on_luks(c, |_| ()); c.model.missing_tools = vec![lvm_autoscaler::command::Tool::Dmsetup]; }),
    (Code::LayeredDevice, |c| c.lv().kind = "striped".into(), |c| c.lv().kind = "cache".into()),
    (Code::LayeredDevice, |_| (), |c| { c.fs().mounted = false; c.lv().holders = vec!["luks-data (dm-crypt)".into()]; }),
    (Code::LayeredDevice, |_| (), |c| { c.lv().fs = None; c.lv().is_swap = true; }),
    (Code::LayeredDevice, |c| c.lv().is_open = true, |c| { c.fs().mounted = false; c.lv().is_open = true; }),
    (Code::LayeredDevice, |_| (), |c| c.report = |i| i.users = None),
    (Code::LayeredDevice, |c| c.vg().policy = "anywhere".into(), |c| c.vg().policy = "unheard_of".into()),
    (Code::LayeredDevice, |c| { let lv = c.lv(); (lv.kind, lv.stripes) = ("raid0".into(), 2); lv.home = vec!["/dev/sdb".into(), "/dev/sdc".into()]; }, |c| c.report = |i| { let lv = lvs(i); lv.role.push("thicksnapshot".into()); lv.origin = Some("other".into()); }),
    (Code::LayeredDevice, |_| (), |c| c.report = |i| lvs(i).layout = vec!["writecache".into()]),
    (Code::LayeredDevice, |c| { let lv = c.lv(); (lv.kind, lv.stripes) = ("raid0_meta".into(), 2); lv.home = vec!["/dev/sdb".into(), "/dev/sdc".into()]; }, |c| c.lv().kind = "vdo".into()),
    (Code::NotMounted, |_| (), |c| c.fs().mounted = false),
    (Code::NotMounted, |_| (), |c| { on_luks(c, |_| ()); c.fs().mounted = false; }),
    (Code::NotMounted, |_| (), |c| { on_luks(c, |_| ()); c.fs().mounted = false; fs_target(c).offline = config::Offline::Allow; }),
    (Code::DeviceMismatch, |_| (), |c| { c.fs().mount_point = "/old".parse().expect("a path"); c.model.lv("vg/other").and_then(|lv| lv.fs.as_mut()).expect("there").mount_point = "/data".parse().expect("a path"); }),
    (Code::DeviceMismatch, |_| (), |c| c.fs().hangs = true),
    (Code::DeviceMismatch, |c| c.fs().mounted_as = Some(lv("vg/data")), |c| c.fs().mounted_as = Some(lv("vg/other"))),
    (Code::FsUnsupported, |_| (), |c| c.fs().kind = "f2fs".into()),
    (Code::FsUnsupported, |c| btrfs(c, 1), |c| btrfs(c, 2)),
    (Code::FsUnsupported, |_| (), |c| c.fs().signature = Some("xfs".into())),
    (Code::FsUnsupported, |_| (), |c| c.fs().signature = Some(String::new())),
    (Code::FsUnsupported, |c| c.model.missing_tools = vec![lvm_autoscaler::command::Tool::XfsGrowfs], |c| c.model.missing_tools = vec![lvm_autoscaler::command::Tool::Resize2fs]),
    (Code::FsUnsupported, full_xfs, |c| { full_xfs(c); c.report = |i| shown(i).size.0 /= 2; }),
    (Code::FsUnsupported, full_xfs, |c| { full_xfs(c); c.report = |i| shown(i).size.0 *= 2; }),
    (Code::FsUnsupported, |_| (), |c| c.report = |i| shown(i).size.0 /= 2),
    (Code::FsUnsupported, |c| c.fs().slow = true, |c| c.report = |i| i.filesystems[0].superblock = None),
    (Code::FsReadOnly, |_| (), |c| c.fs().read_only = true),
    (Code::FsErrors, |_| (), |c| c.fs().errors = 1),
    (Code::FsErrors, |c| c.fs().kind = "ext3".into(), |c| { c.fs().kind = "ext2".into(); c.report = |i| i.filesystems[0].errors = None; }),
    (Code::FsNeedsCheck, |_| (), |c| c.fs().error_flag = true),
    (Code::FsNeedsCheck, |_| (), |c| c.report = |i| if let Superblock::Ext(ext) = superblock(i) { ext.has_resize_inode = false }),
    (Code::FsNoOnlineGrowth, |_| (), |c| c.fs().sparse_super2 = true),
    (Code::FsNoOnlineGrowth, |_| (), |c| c.fs().by_backup = true),
    (Code::FsNoOnlineGrowth, |c| c.model.missing_capabilities = vec![Capability::CapSysAdmin], |c| c.model.missing_capabilities = vec![Capability::CapSysResource]),
    (Code::FsNoOnlineGrowth, |c| { full_xfs(c); c.model.missing_capabilities = vec![Capability::CapSysResource]; }, |c| { full_xfs(c); c.model.missing_capabilities = vec![Capability::CapSysAdmin]; }),
    (Code::FsNoOnlineGrowth, |_| (), |c| c.fs().frozen = true),
    (Code::FsNoOnlineGrowth, |_| (), |c| c.model.missing_tools = vec![lvm_autoscaler::command::Tool::Rmdir]),
    (Code::FsNoOnlineGrowth, |c| btrfs(c, 1), |c| { btrfs(c, 1); c.fs().exclusive_operation = Some("balance paused".into()); }),
    (Code::FsNoOnlineGrowth, |_| (), |c| { btrfs(c, 1); c.report = |i| if let Superblock::Btrfs(btrfs) = superblock(i) { btrfs.is_seed = true } }),
    (Code::FsNoOnlineGrowth, |c| small_btrfs(c, 192), |c| small_btrfs(c, 188)),
    (Code::LuksKey, |c| { on_luks(c, |luks| luks.keyring = false); fs_target(c).luks_key_file = None; }, |c| { on_luks(c, |_| ()); fs_target(c).luks_key_file = None; }),
    (Code::LuksKey, |_| (), |c| { on_luks(c, |_| ()); c.model.key_files.clear(); }),
    (Code::LuksKey, |_| (), |c| { on_luks(c, |_| ()); key_file(c).exposed = Some("/etc/lvm-autoscaler/data.key is open to others (mode 0644): chmod 600 /etc/lvm-autoscaler/data.key".into()); }),
    (Code::LuksKey, |c| { on_luks(c, |_| ()); key_file(c).on = Some("vg/other".into()); }, |c| { on_luks(c, |_| ()); key_file(c).on = Some("vg/data".into()); }),
    (Code::LuksKey, |_| (), |c| on_luks(c, |luks| luks.opened_by = Some("/etc/other.key".into()))),
    (Code::BelowThreshold, |c| use_threshold(c, 4096), |c| use_threshold(c, 0)),
    (Code::BelowThreshold, |c| { use_percent(c, 50); c.fs().inodes_used = 91; }, |c| { use_percent(c, 50); c.fs().inodes_used = 90; }),
    (Code::BelowThreshold, |c| xfs(c, gib(4)), |c| { xfs(c, gib(4)); use_percent(c, 50); c.fs().inodes_used = 99; }),
    (Code::AtMaxSize, |c| c.target().max_size = Some(gib(5)), |c| c.target().max_size = Some(lvm_autoscaler::units::Bytes((5 << 30) - 1))),
    // 2^32 blocks of 1 KiB are 4 TiB.
    (Code::FsLimit, |c| c.report = |i| old_ext4(i, 4094), |c| c.report = |i| old_ext4(i, 4095)),
    (Code::FsLimit, |c| c.report = |i| if let Superblock::Ext(ext) = superblock(i) { ext.reserved_gdt_blocks = 1 },
        |c| c.report = |i| if let Superblock::Ext(ext) = superblock(i) { (ext.reserved_gdt_blocks, ext.desc_size) = (0, 4096) }),
    // 4,000 groups of a quarter of its first size.
    (Code::FsLimit, |c| xfs(c, Bytes(5500 << 10)), |c| xfs(c, Bytes(5 << 20))),
    (Code::FsLimit, |c| { xfs(c, Bytes(5 << 20)); if let config::What::FileSystem(fs) = &mut c.target().what { fs.allow_large_xfs_growth = true } }, |c| xfs(c, Bytes(1 << 20))),
    // Its volume was made larger by hand, than it can be as well.
    (Code::FsLimit, |c| { xfs(c, Bytes(9 << 20)); c.lv().extents.0 += 1024; }, |c| { xfs(c, Bytes(5 << 20)); c.lv().extents.0 += 1024; }),
    (Code::VgReserve, |c| c.config.volume_groups = read("volume_groups: [{ name: vg, reserve: 6GiB }]").volume_groups, |c| c.config.volume_groups = read("volume_groups: [{ name: vg, reserve: 55% }]").volume_groups),
    (Code::BlockSize, |c| coarse(c, 4096), |c| coarse(c, 1024)),
    (Code::BlockSize, |c| { coarse(c, 1024); c.vg().pvs[1].block_size = Bytes(512); }, |c| { full_xfs(c); coarse(c, 512); }),
    (Code::InsufficientSpace, |c| c.vg().pvs[0].allocatable = false, |c| { c.vg().pvs[0].allocatable = false; c.vg().pvs[1].allocated.0 += 257; }),
    (Code::InsufficientSpace, |c| c.lv().stripes = 2, |c| { c.lv().stripes = 2; c.vg().pvs[1].allocated.0 += 400; }),
    (Code::InsufficientSpace, |c| { cling(c); c.model.cling_tag_list = vec!["ssd".into()]; }, cling),
    (Code::InsufficientSpace, |_| (), |c| { c.vg().pvs[0].allocatable = false; c.vg().pvs[1].allocated.0 += 400; c.vg().pvs[1].device_exceeds = 5 << 30; }),
    (Code::SupplyRefused, |c| grown(c, 1), |c| grown(c, 2)),
    (Code::PoolSpace, |c| promised(c, 3), |c| promised(c, 4)),
    (Code::PoolSpace, |c| thin(c).thin_pool.as_mut().expect("a pool").data_used = Bytes(5500 << 20), |c| thin(c).thin_pool.as_mut().expect("a pool").data_used = Bytes(5900 << 20)),
    (Code::PoolSpace, |c| thin(c).thin_pool.as_mut().expect("a pool").metadata_used = Bytes(6710886), |c| thin(c).thin_pool.as_mut().expect("a pool").metadata_used = Bytes(6720000)),
];

#[test]
fn every_code_has_a_case_and_the_cases_stand_in_the_order_of_the_codes() {
    let codes: Vec<Code> = CASES.iter().map(|(code, ..)| *code).collect();
    assert!(codes.is_sorted());
    assert_eq!(codes.into_iter().collect::<BTreeSet<_>>(), Code::ALL.iter().copied().collect());
}

#[test]
fn what_just_passes_passes_and_what_just_refuses_refuses() {
    for (number, (code, passes, refuses)) in CASES.iter().enumerate() {
        let mut case = Case::new();
        passes(&mut case);
        let passed = case.decide();
        assert!(passed.is_ok(), "case {number} of {code} that should pass: {passed:?}");
        let mut case = Case::new();
        refuses(&mut case);
        let refused = case.decide();
        assert_eq!(refused.as_ref().map_err(|refusal| refusal.code), Err(*code), "case {number}: {refused:?}");
    }
}

#[test]
fn the_refusals_read_as_an_operator_knows_them() {
    let mut text = String::from("# Every refusal as an operator reads it. Written by tests/engine/guards.rs.\n\n");
    for (_, _, refuses) in CASES {
        let mut case = Case::new();
        refuses(&mut case);
        text.push_str(&format!("{}\n", case.decide().expect_err("refuses")));
    }
    is_up_to_date("tests/golden/refusals.txt", &text, "UPDATE_GOLDEN=1 cargo test --test engine guards::");
}

/// A volume that may not grow and of which only the inodes are used up.
#[test]
fn a_limit_that_keeps_inodes_from_growing_says_inodes() {
    let mut case = Case::new();
    use_percent(&mut case, 50);
    case.fs().inodes_used = 96;
    case.target().max_size = Some(gib(4));
    let refused = case.decide().expect_err("it is as large as it may be");
    assert_eq!(refused.code, Code::AtMaxSize);
    assert!(
        refused.sentence.ends_with("; 96 % of the inodes of /data are used, remove files or let it grow"),
        "{refused}"
    );
}

/// The size is the last of the guards: what it leaves room for is never more than each limit allows.
#[test]
fn sizes_at_their_limits() {
    let sized = |change: Change| {
        let mut case = Case::new();
        change(&mut case);
        case.decide().map(|plan| plan.after.0).map_err(|refusal| refusal.code)
    };
    assert_eq!(sized(|_| ()), Ok(1536));
    // A max_size between two extents is rounded down, one below the volume leaves nothing.
    assert_eq!(sized(|c| c.target().max_size = Some(lvm_autoscaler::units::Bytes((5 << 30) + (3 << 20)))), Ok(1280));
    assert_eq!(sized(|c| c.target().max_size = Some(gib(3))), Err(Code::AtMaxSize));
    // 100 % full: as many increments as bring it below the threshold.
    assert_eq!(
        sized(|c| {
            c.fs().used = c.fs().capacity();
            c.target().increment = read_amount("512MiB")
        }),
        Ok(1024 + 256)
    );
    // Stripes take the same from each of their PVs.
    assert_eq!(
        sized(|c| {
            c.lv().stripes = 2;
            c.target().increment = read_amount("1028MiB")
        }),
        Ok(1024 + 258)
    );
    assert_eq!(sized(|c| { c.lv().stripes = 3 }), Err(Code::LayeredDevice));
    // A threshold of almost nothing asks for more than there is, and gets what there is.
    assert_eq!(
        sized(|c| { c.target().threshold = lvm_autoscaler::units::Percent::new(0.000_001).expect("valid") }),
        Ok(1024 + 1792)
    );
    // A share of a share: 10 % of 4 GiB is below the smallest step of 1 GiB.
    assert_eq!(sized(|c| { c.target().increment = read_amount("10%") }), Ok(1280));
}

/// Up to 4,000 allocation groups it grows, from 1,000 on with a warning, however many it was made with.
#[test]
fn an_xfs_of_many_allocation_groups_is_warned_about() {
    let warnings = |first| {
        let mut case = Case::new();
        xfs(&mut case, first);
        case.decide().expect("it grows").warnings
    };
    assert_eq!(warnings(gib(1)), [""; 0]);
    assert_eq!(warnings(Bytes(25 << 20)), [""; 0]);
    let warned = warnings(Bytes(24 << 20));
    let wanted =
        "the XFS at /data will have 1024 allocation groups of 6 MiB (it has 683), and more than 1000 make it slow";
    assert_eq!(warned, [wanted]);
}

fn read_amount(text: &str) -> lvm_autoscaler::units::Amount {
    text.parse().expect("an amount")
}

#[test]
fn a_cooldown_longer_than_time_itself_is_still_a_cooldown() {
    let mut case = Case::new();
    case.target().cooldown = Duration::MAX;
    case.history.last.insert(lv("vg/data"), last(1 << 30));
    assert_eq!(case.decide().map_err(|refusal| refusal.code).expect_err("refuses"), Code::Cooldown);
}
