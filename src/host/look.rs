//! A fresh look at a host: asks it everything and puts the answers into one [`Inventory`].

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::{Host, Output, RunError, mapping};
use crate::command::{Command, Tool};
use crate::config::Config;
use crate::filesystem::{self, FsKind};
use crate::inventory::lvm::{self, Columns, ReportError};
use crate::inventory::{
    DeviceNumber, DiskKind, FileSystem, Inventory, Lv, Mount, PV_SIGNATURE, PartitionTable, Pv, Unmounted, mounts,
};
use crate::name::{LvRef, PvUuid};
use crate::plan::{Plan, Step};
use crate::units::Bytes;

/// `EINVALID_CMD_LINE` of lvm(8).
const INVALID_COMMAND_LINE: i32 = 3;

/// blkid(8): "if the specified device [...] could not be identified".
const NOTHING_FOUND: i32 = 2;

/// So many layers of device-mapper are looked through; more than a few nobody has, and a circle the kernel does not
/// allow.
const DEEPEST: usize = 8;

/// How much to look at.
#[derive(Debug, Clone, Copy)]
pub enum Focus<'a> {
    /// The whole host; `blkid` is not asked.
    Everything,
    /// One volume with its volume group, and what `blkid` finds on it.
    Volume(&'a LvRef),
    /// The same from a report of all groups, which has the PVs that belong to none, and what is found on these.
    AllGroups(&'a LvRef),
}

impl<'a> Focus<'a> {
    /// What a look must show to decide about a target: spare PVs, and whether a group exists that the config names and
    /// that differs from the volume's by a slip. Nearly no config has either.
    pub fn to_decide(lv: &'a LvRef, config: &Config) -> Focus<'a> {
        let has_spares = config.volume_group(&lv.vg).is_some_and(|group| !group.spares.is_empty());
        let has_near = !config.near_misses(&lv.vg).is_empty() || config.has_near_policy(&lv.vg);
        if has_spares || has_near { Focus::AllGroups(lv) } else { Focus::Volume(lv) }
    }

    /// What a look must show while a plan is carried out.
    pub fn of(plan: &'a Plan) -> Focus<'a> {
        let takes_spare = plan.steps.iter().any(|step| matches!(step, Step::ExtendGroup { .. }));
        if takes_spare { Focus::AllGroups(&plan.lv) } else { Focus::Volume(&plan.lv) }
    }

    /// The volume that it is about.
    pub fn volume(self) -> Option<&'a LvRef> {
        match self {
            Focus::Everything => None,
            Focus::Volume(lv) | Focus::AllGroups(lv) => Some(lv),
        }
    }
}

/// So many PVs without a group are looked at; spares are a handful.
const MOST_ORPHANS: usize = 64;

/// The host could not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    /// LVM's report did not run.
    #[error("lvm fullreport failed")]
    Run(#[from] RunError),
    /// It ran and failed.
    #[error("lvm fullreport {0}")]
    Failed(String),
    /// It succeeded and made no sense.
    #[error("lvm fullreport: {0}")]
    Report(#[from] ReportError),
    /// The mount table could not be read.
    #[error("/proc/self/mountinfo cannot be read")]
    Mountinfo(#[source] std::io::Error),
}

/// Looks.
pub fn look(host: &dyn Host, focus: Focus<'_>) -> Result<Inventory, LookError> {
    let (mut inventory, probed) = report(host, focus)?;
    for pv in &mut inventory.pvs {
        pv.disk = host.block_device(Path::new(&pv.name)).and_then(|device| host.disk(device).ok());
    }
    let (all, odd) = mounts::parse(&host.mountinfo().map_err(LookError::Mountinfo)?);
    if odd > 0 {
        inventory.oddities.push(format!("{odd} lines of mountinfo were not understood"));
    }
    inventory.mappings = match focus.volume() {
        None => mapping::below_mounts(host, &inventory, &all),
        Some(lv) => mapping::on_volume(host, &inventory, lv),
    };
    inventory.mounts = on_devices(host, all, |device| inventory.lv_by_device(device).is_some());
    inventory.missing_tools = host.missing_tools();
    match focus {
        Focus::Everything => {
            inventory.filesystems = filesystems(host, &inventory, None, |_| None);
            inventory.above = above(host, &inventory);
        }
        Focus::Volume(lv) | Focus::AllGroups(lv) => {
            // Whoever reads from a suspended device waits, and cannot even be killed.
            let suspended = inventory.lv(lv).is_some_and(|lv| lv.suspended == Some(true))
                || inventory.mapping_on(lv).is_some_and(|mapping| mapping.suspended);
            // What was probed is of the very device that LVM says is the volume's, or it is probed now.
            let signature = |device| match &probed {
                Some(probed) if probed.device == device => probed.signature.clone(),
                _ if suspended => None,
                _ => signature(host.run(&blkid(host, device), &|| ())),
            };
            inventory.filesystems = filesystems(host, &inventory, Some(lv), |mount| signature(mount.device));
            inventory.unmounted = unmounted(host, &inventory, lv, signature);
            let frozen = is_frozen(host, &inventory, suspended);
            for fs in &mut inventory.filesystems {
                fs.frozen = frozen;
                fs.exclusive_operation = fs.superblock.as_ref().and_then(|superblock| {
                    host.exclusive_operation(superblock.kind(), superblock.facts().shows_operations_as()?).ok()
                });
            }
            // They all are of one device. A project quota makes it look smaller through a bind mount.
            let whole = inventory.filesystems.iter().max_by_key(|fs| fs.size()).filter(|_| !suspended);
            let outdated = whole.and_then(|fs| outdated_copies(host, fs));
            inventory.filesystems.iter_mut().for_each(|fs| fs.outdated_copies.clone_from(&outdated));
            around(host, &mut inventory, lv);
            disks(host, &mut inventory, lv);
        }
    }
    inventory.taken_at = host.now();
    Ok(inventory)
}

/// A quick look at one volume after `last`: what the kernel shows of its device, the mounts, and its file systems; all
/// else as it was. LVM, which takes longer to answer than most steps take, is not asked. When that is enough is decided
/// in `engine::execute`. `None`: the kernel has something else there, and only a whole look can tell.
pub fn glance(host: &dyn Host, last: &Inventory, name: &LvRef) -> Option<Inventory> {
    let device = last.lv(name)?.device?;
    let mapped = host.mapped(device).ok()?;
    let mut inventory = last.clone();
    let lv = inventory.lvs.iter_mut().find(|lv| &lv.name == name)?;
    if mapped.uuid != lv.mapped_uuid() || mapped.suspended {
        return None;
    }
    (lv.size, lv.read_only) = (Some(mapped.size), Some(mapped.read_only));
    if let Some(mapping) = inventory.mappings.iter_mut().find(|mapping| &mapping.lv == name) {
        let now = host.mapped(mapping.device).ok()?;
        if now.uuid != mapping.uuid || now.suspended {
            return None;
        }
        mapping.size = now.size;
    }
    inventory.mapped = Some(mapped);
    let mounts = mounts::parse(&host.mountinfo().ok()?).0;
    inventory.mounts = on_devices(host, mounts, |device| inventory.lv_by_device(device).is_some());
    let known = |mount: &Mount| last.filesystems.iter().find(|fs| &fs.mount == mount);
    inventory.filesystems = filesystems(host, &inventory, Some(name), |mount| known(mount)?.signature.clone());
    for fs in &mut inventory.filesystems {
        let Some(known) = known(&fs.mount) else { continue };
        fs.outdated_copies.clone_from(&known.outdated_copies);
        fs.exclusive_operation.clone_from(&known.exclusive_operation);
        fs.frozen = known.frozen;
    }
    let known = |_| last.unmounted.as_ref().filter(|found| &found.lv == name)?.signature.clone();
    inventory.unmounted = unmounted(host, &inventory, name, known);
    inventory.taken_at = host.now();
    Some(inventory)
}

/// A btrfs is mounted under a number of its own: the device of its source is put in the place of that, if it is a
/// volume's.
fn on_devices(host: &dyn Host, mut mounts: Vec<Mount>, is_volume: impl Fn(DeviceNumber) -> bool) -> Vec<Mount> {
    let has_own =
        |mount: &&mut Mount| FsKind::from_name(&mount.fs_type).is_some_and(|kind| kind.about().has_own_numbers);
    for mount in mounts.iter_mut().filter(has_own) {
        let device = host.block_device(Path::new(&mount.source));
        mount.device = device.filter(|device| is_volume(*device)).unwrap_or(mount.number);
    }
    mounts
}

/// What is on a volume that no mount is of; a pool has no file system.
fn unmounted(
    host: &dyn Host,
    inventory: &Inventory,
    name: &LvRef,
    signature: impl Fn(DeviceNumber) -> Option<String>,
) -> Option<Unmounted> {
    let lv = inventory.lv(name).filter(|lv| !lv.is_layout("pool"))?;
    let (device, of_file_system) = (lv.device?, inventory.device_of_file_system(lv)?);
    if inventory.mounts.iter().any(|mount| mount.device == of_file_system) {
        return None;
    }
    let superblock = host.awaited_superblock(device).ok().and_then(|head| filesystem::parse(&head));
    let stray_name = stray(host, device, name.dm_path());
    Some(Unmounted { lv: name.clone(), superblock, signature: signature(device), stray_name })
}

/// LVM's report, and what `blkid` found on the volume's device if that was asked at the same time.
fn report(host: &dyn Host, focus: Focus<'_>) -> Result<(Inventory, Option<Probed>), LookError> {
    let command = |vg, columns| Command::report(Tool::Lvm, lvm::report_arguments(vg, columns));
    let ask = |vg, columns| host.run(&command(vg, columns), &|| ());
    let mut probed = None;
    let output = match focus {
        Focus::Volume(lv) => {
            let needed = command(Some(&lv.vg), Columns::Needed);
            let output = match mounted_device(host, lv) {
                Some(device) => {
                    let (output, found) = host.run_both(&needed, &blkid(host, device));
                    probed = Some(Probed { device, signature: signature(found) });
                    output?
                }
                None => host.run(&needed, &|| ())?,
            };
            // A group that is not there makes the report fail, like much else; the report of all groups tells them
            // apart.
            if output.succeeded() { output } else { ask(None, Columns::Needed)? }
        }
        Focus::AllGroups(_) => {
            let mut all = command(None, Columns::Needed);
            // As in a report of one group: the target's may be another host's.
            all.arguments.push("--foreign".to_owned());
            host.run(&all, &|| ())?
        }
        // A version that lacks a column refuses the command line.
        Focus::Everything => match ask(None, Columns::All)? {
            output if output.code == Some(INVALID_COMMAND_LINE) => ask(None, Columns::Needed)?,
            output => output,
        },
    };
    if !output.succeeded() {
        return Err(LookError::Failed(output.complaint()));
    }
    let mut inventory = lvm::parse(&output.stdout, host.now())?;
    inventory.pvs.extend(duplicates(host, &output));
    Ok((inventory, probed))
}

/// The PVs that LVM found on a further device. It reports them only if it is asked for them alone, which would double
/// the cost of each look; but it warns about them in any report, newer versions among what they print.
fn duplicates(host: &dyn Host, output: &Output) -> Vec<Pv> {
    const WARNING: &[u8] = b"Not using device";
    if output.stderr.is_empty() && !output.stdout.windows(WARNING.len()).any(|part| part == WARNING) {
        return vec![];
    }
    let asked = host.run(&Command::report(Tool::Lvm, lvm::duplicates_arguments()), &|| ());
    let report = asked.ok().filter(Output::succeeded).and_then(|said| lvm::parse(&said.stdout, host.now()).ok());
    report.map_or(vec![], |report| report.pvs)
}

/// Whether the file systems of the volume that was looked at take no writes; all of its mounts are of one. `None`: not
/// known.
fn is_frozen(host: &dyn Host, inventory: &Inventory, suspended: bool) -> Option<bool> {
    // Not one that another file system is mounted over.
    let is_seen = |fs: &&FileSystem| !fs.mount.read_only && fs.usage_device == Some(fs.mount.number);
    let mount = &inventory.filesystems.iter().find(is_seen)?.mount;
    // What waits for a suspended device, or for one that never answers, would be left behind.
    if suspended {
        return None;
    }
    match host.run(&Command::asks_whether_frozen(&mount.mount_point)?, &|| ()) {
        // It says "File name too long", with the C library musl "Filename too long". Anything else, as "Permission
        // denied", it says before it would have waited.
        Ok(output) => output.stderr.trim_end().ends_with("name too long").then_some(false),
        Err(RunError::TimedOut { .. } | RunError::Stuck { .. }) => Some(true),
        Err(_) => None,
    }
}

/// What `blkid` found on a device.
struct Probed {
    device: DeviceNumber,
    signature: Option<String>,
}

/// The device that has a volume's name, if it is mounted and can be read. One that is not is probed after LVM's report,
/// which would count `blkid` among those who have it open.
fn mounted_device(host: &dyn Host, lv: &LvRef) -> Option<DeviceNumber> {
    let device = host.block_device(&lv.dm_path())?;
    if host.mapped(device).is_ok_and(|mapped| mapped.suspended) {
        return None;
    }
    let mounts = on_devices(host, mounts::parse(&host.mountinfo().ok()?).0, |volume| volume == device);
    mounts.iter().any(|mount| mount.device == device).then_some(device)
}

/// What beside LVM and the mounts decides about one volume. What cannot be read stays unknown, which the guards refuse.
fn around(host: &dyn Host, inventory: &mut Inventory, name: &LvRef) {
    let Some(lv) = inventory.lv(name) else { return };
    let (device, used, is_pool) = (lv.device, inventory.device_of_file_system(lv), lv.is_layout("pool"));
    let has_owner = inventory.vg(&name.vg).is_some_and(|vg| !vg.system_id.is_empty());
    let clings = inventory.vg(&name.vg).is_some_and(|vg| vg.policy_of(lv) == "cling");
    inventory.state_usage = host.state_usage();
    inventory.users = used.and_then(|device| host.users(device).ok());
    inventory.mapped = device.filter(|_| !is_pool).and_then(|device| host.mapped(device).ok());
    inventory.missing_capabilities = host.missing_capabilities();
    inventory.bears_otherwise = if is_pool {
        bears_of_pool(host, inventory, name)
    } else {
        inventory.mapped.as_ref().map(|mapped| mapped.block_size)
    };
    inventory.cling_tags = if clings { cling_tags(host) } else { vec![] };
    inventory.system_id = has_owner.then(|| system_id(host)).flatten();
    inventory.autoextends = is_pool.then(|| autoextends(host, name)).flatten();
}

/// What decides whether a disk can give its group more room.
fn disks(host: &dyn Host, inventory: &mut Inventory, name: &LvRef) {
    let Some(extent_size) = inventory.vg(&name.vg).and_then(|vg| vg.extent_size) else { return };
    for pv in inventory.pvs.iter_mut().filter(|pv| pv.vg.as_ref() == Some(&name.vg)) {
        if pv.growable(extent_size) > Bytes::ZERO {
            pv.table = table(host, pv);
        }
    }
    let orphans = inventory.pvs.iter_mut().filter(|pv| pv.vg.is_none() && pv.duplicate != Some(true));
    for pv in orphans.take(MOST_ORPHANS) {
        let Some(device) = host.block_device(Path::new(&pv.name)) else { continue };
        // Whoever reads from a suspended device waits.
        if pv.disk.as_ref().is_none_or(|disk| disk.suspended) {
            continue;
        }
        pv.table = table(host, pv);
        pv.signature = signature_of_pv(host, device);
        let uuid: Result<PvUuid, _> = pv.uuid.parse();
        pv.is_linked = uuid.is_ok_and(|uuid| host.block_device(&uuid.path()) == Some(device));
    }
}

/// What `blkid` finds on the device of a PV. It looks for nothing more once it has found one, while `vgextend` finds
/// all and asks whether to wipe it; so it is asked again for anything else.
fn signature_of_pv(host: &dyn Host, device: DeviceNumber) -> Option<String> {
    let own = signature(host.run(&blkid(host, device), &|| ()))?;
    if own != PV_SIGNATURE {
        return Some(own);
    }
    let path = host.device_path(device);
    let no_pv = format!("no{PV_SIGNATURE}");
    let arguments = ["-p", "-n", &no_pv, "-o", "value", "-s", "TYPE", "--", &path.to_string_lossy()];
    let said = host.run(&Command::report(Tool::Blkid, arguments), &|| ()).ok()?;
    let other = String::from_utf8_lossy(&said.stdout).trim().to_owned();
    match said.code {
        Some(NOTHING_FOUND) if other.is_empty() => Some(own),
        _ if other.is_empty() => Some("several or unknown signatures".to_owned()),
        _ => Some(other),
    }
}

/// The partition table on the disk that a PV is on, or on which its partition is.
fn table(host: &dyn Host, pv: &Pv) -> Option<PartitionTable> {
    let disk = match &pv.disk.as_ref()?.kind {
        DiskKind::Partition(partition) => partition.disk.clone(),
        _ => pv.name.clone(),
    };
    PartitionTable::parse(&host.superblock(host.block_device(Path::new(&disk))?).ok()?)
}

/// A pool has the block size of its data, and so has each of its volumes.
fn bears_of_pool(host: &dyn Host, inventory: &Inventory, name: &LvRef) -> Option<Bytes> {
    let pool = inventory.lv(name)?;
    let disks = inventory.pvs.iter().filter(|pv| pv.vg.as_ref() == Some(&name.vg)).filter_map(|pv| pv.disk.as_ref());
    let sizes: BTreeSet<Bytes> = disks.map(|disk| disk.block_size).collect();
    // Where all disks are alike nothing can change, and a pool may have hundreds of volumes.
    if sizes.len() <= 1 {
        return sizes.first().copied();
    }
    let own = host.mapped(pool.device?).ok()?.block_size;
    let of = |lv: &Lv| {
        let head = lv.device.and_then(|device| host.superblock(device).ok());
        head.and_then(|head| filesystem::parse(&head)).map_or(own, |superblock| superblock.facts().bears())
    };
    Some(inventory.volumes_of(pool).map(of).min().unwrap_or(own))
}

/// `cling_tag_list=["@fast","@slow"]`; `"@*"` is any tag. What cannot be read allows nothing.
fn cling_tags(host: &dyn Host) -> Vec<String> {
    let setting = ask_lvm(host, "lvmconfig", &["--typeconfig", "full", "allocation/cling_tag_list"]);
    let list = setting.as_deref().and_then(|text| text.split_once('=')).map_or("", |(_, list)| list);
    list.split('"').skip(1).step_by(2).filter_map(|tag| tag.strip_prefix('@')).map(str::to_owned).collect()
}

fn ask_lvm(host: &dyn Host, command: &str, arguments: &[&str]) -> Option<String> {
    let settings = lvm::settings();
    let arguments = [&[command, "--config", &settings], arguments].concat();
    let output = host.run(&Command::report(Tool::Lvm, arguments), &|| ()).ok()?;
    output.succeeded().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// `  system ID: db1`, nothing behind the colon where the host has none.
fn system_id(host: &dyn Host) -> Option<String> {
    let said = ask_lvm(host, "systemid", &[])?;
    said.split_once(':').map(|(_, id)| id.trim().to_owned())
}

/// Above how many percent dmeventd extends pools; 100 is off, and so is a pool that it does not watch. What cannot be
/// read is taken for the most eager setting there is.
fn autoextends(host: &dyn Host, pool: &LvRef) -> Option<u64> {
    const MOST_EAGER: u64 = 50;
    let setting = ask_lvm(host, "lvmconfig", &["--typeconfig", "full", "activation/thin_pool_autoextend_threshold"]);
    let threshold = setting.and_then(|text| text.split_once('=')?.1.trim().parse().ok()).unwrap_or(MOST_EAGER);
    // Only now, for this question can make LVM start its dmeventd.
    let watched = || ask_lvm(host, "lvs", &["--noheadings", "-o", "seg_monitor", "--", &pool.to_string()]);
    (threshold < 100 && watched().is_none_or(|said| said != "not monitored")).then_some(threshold)
}

fn filesystems(
    host: &dyn Host,
    inventory: &Inventory,
    wanted: Option<&LvRef>,
    signature: impl Fn(&Mount) -> Option<String>,
) -> Vec<FileSystem> {
    let mut superblocks = BTreeMap::new();
    let mut found = Vec::new();
    for mount in &inventory.mounts {
        let Some(lv) = inventory.lv_by_device(mount.device) else { continue };
        if wanted.is_some_and(|wanted| wanted != &lv.name) {
            continue;
        }
        let superblock = superblocks.entry(mount.device).or_insert_with(|| {
            let head = match wanted {
                Some(_) => host.awaited_superblock(mount.device),
                None => host.superblock(mount.device),
            };
            head.ok().and_then(|head| filesystem::parse(&head))
        });
        found.push(FileSystem {
            superblock: superblock.clone(),
            signature: signature(mount),
            stray_name: wanted.and_then(|name| stray_name(host, inventory, mount, name)),
            ..file_system(host, mount)
        });
    }
    found
}

/// What everybody can see of a mounted file system.
fn file_system(host: &dyn Host, mount: &Mount) -> FileSystem {
    let usage = host.usage(&mount.mount_point).ok();
    FileSystem {
        mount: mount.clone(),
        usage: usage.map(|(usage, _)| usage),
        usage_device: usage.map(|(_, device)| device),
        superblock: None,
        errors: FsKind::from_name(&mount.fs_type).and_then(|kind| host.errors(kind, mount.device)),
        signature: None,
        outdated_copies: None,
        frozen: None,
        exclusive_operation: None,
        stray_name: None,
    }
}

/// File systems on what lies on a volume and is no mapping that may grow: a partition, another target of device-mapper.
fn above(host: &dyn Host, inventory: &Inventory) -> Vec<(LvRef, FileSystem)> {
    let volumes = inventory.lvs_by_device();
    let below = |device: DeviceNumber| {
        let mut device = device;
        for _ in 0..DEEPEST {
            // What is on several devices is on none of them.
            let Ok([next]) = <[DeviceNumber; 1]>::try_from(host.below(device)) else { return None };
            if let Some(lv) = volumes.get(&next).copied().flatten() {
                return Some(lv.name.clone());
            }
            device = next;
        }
        None
    };
    let mut known = BTreeMap::new();
    let mut on = |mount: &Mount| {
        if volumes.contains_key(&mount.device) {
            return None;
        }
        // A btrfs has a number of its own.
        let device = host.block_device(Path::new(&mount.source)).unwrap_or(mount.device);
        known.entry(device).or_insert_with(|| below(device)).clone()
    };
    inventory.mounts.iter().filter_map(|mount| Some((on(mount)?, file_system(host, mount)))).collect()
}

/// The kernel goes on showing the name by which a volume was mounted when it is renamed, and `xfs_growfs` takes the
/// size of whatever has that name now, or, of several mounts at one place, of the first: it can make a file system
/// smaller that way. `resize2fs`, which is given the volume's own name, looks for the mount by the other and else finds
/// the device busy.
fn stray_name(host: &dyn Host, inventory: &Inventory, mount: &Mount, name: &LvRef) -> Option<String> {
    let first = |other: &&Mount| other.mount_point == mount.mount_point && other.fs_type == mount.fs_type;
    let first = inventory.mounts.iter().find(first).unwrap_or(mount);
    let is_given = FsKind::from_name(&mount.fs_type).is_some_and(|kind| kind.about().is_given_device);
    let own = is_given.then(|| inventory.path_of_file_system(name));
    let names = [PathBuf::from(&first.source)].into_iter().chain(own);
    names.into_iter().find_map(|name| stray(host, mount.device, name))
}

fn stray(host: &dyn Host, device: DeviceNumber, name: PathBuf) -> Option<String> {
    (host.block_device(&name) != Some(device)).then(|| name.to_string_lossy().into_owned())
}

/// See [`FileSystem::outdated_copies`]. How large it is `statvfs` says; its first superblock on disk may be older than
/// the copies.
fn outdated_copies(host: &dyn Host, fs: &FileSystem) -> Option<String> {
    let (Some(superblock), Some(size)) = (&fs.superblock, fs.size()) else { return None };
    superblock.kind().about().copies.as_ref()?;
    let read = host.on_disk(fs.mount.device, [vec![0], superblock.facts().copies()].concat());
    let failed = |error: &std::io::Error| {
        let point = &fs.mount.mount_point;
        tracing::warn!(
            mount_point = %point,
            "the copies of the superblock cannot be read and are assumed current: {error}"
        );
    };
    let heads = read.inspect_err(failed).ok()?;
    let mut said = heads.iter().map(|head| {
        let copy = filesystem::parse(head).filter(|copy| copy.kind() == superblock.kind())?;
        copy.facts().says().map(|(size, label)| (size, label.to_owned()))
    });
    let (_, label) = said.next()??;
    let outdated = said.flatten().any(|(copy, _)| copy.0.saturating_add(fs.slack().0) < size.0);
    outdated.then_some(label)
}

/// Has `blkid` look at the device, by probing it (`-p`), not from its cache.
fn blkid(host: &dyn Host, device: DeviceNumber) -> Command {
    let device = host.device_path(device);
    Command::report(Tool::Blkid, ["-p", "-o", "value", "-s", "TYPE", "--", &device.to_string_lossy()])
}

fn signature(said: Result<Output, RunError>) -> Option<String> {
    let output = said.ok()?;
    // 8 means that it found several; whatever they are, that is nothing to grow on.
    let text = String::from_utf8_lossy(&output.stdout);
    output.succeeded().then(|| text.trim().to_owned()).filter(|text| !text.is_empty())
}
