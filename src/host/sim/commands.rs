//! The commands the simulated host understands, with the exit codes and messages that LVM 2.03.16, e2fsprogs 1.47 and
//! xfsprogs 6.1 give.

use serde_json::{Value, json};

use super::luks;
use super::model::{FIRST_EXTENT, Model, ORPHANS_EXTENT, SimFs, SimLv, SimPv, SimVg};
use super::output::{fails, succeeds};
use super::supply;
use crate::command::{Command, Tool};
use crate::host::Output;
use crate::inventory::{DeviceNumber, PV_SIGNATURE};
use crate::units::{Bytes, Extents};

/// Runs a command on the model.
pub(super) fn run(model: &mut Model, command: &Command) -> Output {
    let arguments: Vec<&str> = command.arguments.iter().map(String::as_str).collect();
    match (command.tool, arguments.as_slice()) {
        (Tool::Lvm, ["fullreport", rest @ ..]) => fullreport(model, rest),
        (Tool::Lvm, ["vgcfgbackup", "--config", _, "-f", file, "--", vg]) => vgcfgbackup(model, file, vg),
        (Tool::Lvm, ["pvs", .., "-S", "pv_duplicate=1", "--config", _, "-o", _]) => duplicates(model),
        (Tool::Lvm, ["lvextend", "-A", "n", "--config", _, "--poolmetadatasize", size, "--", pool]) => {
            extend_metadata(model, size, pool)
        }
        (Tool::Lvm, ["lvextend", "-A", "n", "--config", _, rest @ ..]) => {
            let (options, names) = rest.split_at(rest.iter().position(|word| *word == "--").unwrap_or(rest.len()));
            match (options, names) {
                ([.., "-l", extents], ["--", lv, pvs @ ..]) => lvextend(model, extents, lv, pvs),
                _ => fails(3, "  Invalid command line"),
            }
        }
        (Tool::Lvm, ["pvresize", "--config", _, "--", pv]) => supply::pvresize(model, pv),
        (Tool::Lvm, ["vgextend", "-A", "n", "--config", _, "--", vg, path]) => supply::vgextend(model, vg, path),
        (Tool::Lvm, ["vgreduce", vg, pv]) => supply::vgreduce(model, vg, pv),
        (Tool::Growpart, [disk, number]) => supply::growpart(model, disk, number),
        (Tool::Lvm, ["lvreduce", "-y", "-l", extents, "--", lv]) => lvreduce(model, extents, lv),
        (Tool::Lvm, ["lvchange", "--refresh", lv]) => refresh(model, lv),
        (Tool::Lvm, ["lvchange", "-ay", lv]) => on_volume(model, lv, |lv| lv.active = true),
        (Tool::Lvm, ["vgimport", vg]) => match model.vg(vg) {
            Some(vg) => {
                vg.exported = false;
                succeeds("")
            }
            None => fails(5, format!("  Volume group \"{vg}\" not found")),
        },
        (Tool::Lvm, ["lvmconfig", .., "allocation/cling_tag_list"]) => {
            let tags: Vec<String> = model.cling_tag_list.iter().map(|tag| format!("\"@{tag}\"")).collect();
            succeeds(format!("cling_tag_list=[{}]\n", tags.join(",")))
        }
        (Tool::Dmsetup, ["table", "--target", "crypt"]) => luks::tables(model),
        (Tool::Cryptsetup, ["open", "--test-passphrase", "--key-file", file, "--", device]) => {
            luks::test_key(model, file, device)
        }
        (Tool::Cryptsetup, ["resize", "--key-file", file, "--", name]) => luks::resize(model, name, Some(file), false),
        (Tool::Cryptsetup, ["resize", "--", name]) => luks::resize(model, name, None, false),
        (Tool::Rmdir, ["--", path]) => fails(1, format!("rmdir: failed to remove '{path}': File name too long")),
        (Tool::Lvm, ["systemid", ..]) => succeeds(format!("  system ID: {}\n", model.system_id)),
        (Tool::Lvm, ["lvmconfig", .., "activation/thin_pool_autoextend_threshold"]) => {
            succeeds(format!("thin_pool_autoextend_threshold={}\n", model.autoextend_threshold))
        }
        (Tool::Lvm, ["lvs", .., "-o", "seg_monitor", "--", _]) => succeeds("  monitored\n"),
        (Tool::Blkid, ["-p", "-n", _, .., device]) => others_than_pv(model, device),
        (Tool::Blkid, [.., device]) => blkid(model, device),
        (Tool::Resize2fs, [device]) => resize2fs(model, device),
        (Tool::XfsGrowfs, ["-d", mount_point]) => xfs_growfs(model, mount_point),
        (Tool::XfsIo, ["-c", label, mount_point]) => xfs_label(model, label, mount_point),
        (Tool::E2fsck, ["-f", "-p", device]) => e2fsck(model, device),
        (Tool::Btrfs, ["filesystem", "resize", "--enqueue", "1:max", point]) => btrfs_resize(model, point),
        _ => fails(3, format!("  the simulated host does not know: {command}")),
    }
}

fn fullreport(model: &Model, arguments: &[&str]) -> Output {
    let only = arguments.iter().position(|argument| *argument == "--").and_then(|at| arguments.get(at + 1));
    if let Some(name) = only
        && !model.vgs.iter().any(|vg| vg.name.as_str() == *name)
    {
        return fails(5, format!("  Volume group \"{name}\" not found\n  Cannot process volume group {name}"));
    }
    let is_own = |vg: &&SimVg| {
        let is_foreign = !vg.system_id.is_empty() && vg.system_id != model.system_id;
        !is_foreign || arguments.contains(&"--foreign")
    };
    let wanted = model.vgs.iter().filter(|vg| only.is_none_or(|only| vg.name.as_str() == *only)).filter(is_own);
    let mut sections: Vec<Value> = wanted.map(|vg| section(model, vg)).collect();
    if only.is_none() && !model.orphans.is_empty() {
        let rows: Vec<Value> = model.orphans.iter().map(|pv| pv_row(pv, ORPHANS_EXTENT, false)).collect();
        sections.push(json!({ "vg": [], "pv": rows, "lv": [], "pvseg": [], "seg": [] }));
    }
    let warnings: String = twins(model)
        .map(|(pv, other)| format!("  WARNING: Not using device {other} for PV {}.\n", pv_uuid(pv)))
        .collect();
    Output { stderr: warnings, ..succeeds(json!({ "report": sections }).to_string()) }
}

/// PVs that are there twice, with their second device.
fn twins(model: &Model) -> impl Iterator<Item = (&SimPv, &String)> {
    model.pvs().filter_map(|(_, pv)| Some((pv, pv.duplicate.as_ref()?)))
}

fn duplicates(model: &Model) -> Output {
    let row = |(pv, other): (&SimPv, &String)| json!({ "pv_name": other, "pv_uuid": pv_uuid(pv), "pv_duplicate": "1" });
    succeeds(json!({ "report": [{ "pv": twins(model).map(row).collect::<Vec<_>>() }] }).to_string())
}

/// Whether a command waits because the file system that it writes to is frozen.
pub(super) fn waits(model: &Model, command: &Command) -> bool {
    let path = command.arguments.last().map_or("", String::as_str);
    let is_below = |fs: &SimFs| path.strip_prefix(fs.mount_point.as_str()).is_some_and(|rest| rest.starts_with('/'));
    model.mounted().any(|(_, fs)| fs.frozen && is_below(fs))
}

pub(super) fn on_volume(model: &mut Model, name: &str, change: impl FnOnce(&mut SimLv)) -> Output {
    match model.lv(name) {
        Some(lv) => {
            change(lv);
            succeeds("")
        }
        None => fails(5, format!("  Failed to find logical volume \"{name}\"")),
    }
}

/// The kernel takes the table that LVM's metadata say, unless a disk is too short for it.
fn refresh(model: &mut Model, name: &str) -> Output {
    let short = model.lv(name).map(|lv| lv.name.vg.clone()).is_some_and(|vg| is_short(model, vg.as_str()));
    let refused = short && model.lv(name).is_some_and(|lv| lv.mapped.is_some());
    if refused {
        return fails(5, "  device-mapper: reload ioctl on  (253:0) failed: Invalid argument");
    }
    on_volume(model, name, |lv| (lv.suspended, lv.mapped) = (false, None))
}

fn is_short(model: &mut Model, vg: &str) -> bool {
    model.vg(vg).is_some_and(|vg| vg.pvs.iter().any(|pv| pv.device_exceeds < 0))
}

fn lvreduce(model: &mut Model, extents: &str, name: &str) -> Output {
    let Ok(wanted) = extents.parse::<u64>() else { return fails(3, "  Invalid argument for --extents") };
    let Some(found) = model.lv(name).map(|lv| lv.clone()) else {
        return fails(5, format!("  Failed to find logical volume \"{name}\""));
    };
    if wanted >= found.extents.0 {
        return fails(5, "  New size given is not less than existing size");
    }
    // Somebody who makes a volume smaller than its file system loses data.
    if found.fs.as_ref().is_some_and(|fs| fs.size > Extents(wanted).bytes(found.extent_size)) {
        return fails(5, "  the simulated host makes no volume smaller than its file system");
    }
    let each = (found.extents.0 - wanted) / found.data_legs().max(1);
    if let Some(vg) = model.vg(found.name.vg.as_str()) {
        let homes: Vec<String> = found.home.clone();
        let mut left = if homes.is_empty() { each } else { 0 };
        for pv in vg.pvs.iter_mut().rev() {
            let back = if homes.contains(&pv.name) { each } else { left.min(pv.allocated.0) };
            pv.allocated.0 = pv.allocated.0.saturating_sub(back);
            left = left.saturating_sub(back);
        }
    }
    on_volume(model, name, |lv| {
        (lv.extents, lv.mapped, lv.suspended, lv.block_size) = (Extents(wanted), None, false, Bytes(512))
    })
}

fn pv_row(pv: &SimPv, extent_size: Bytes, missing: bool) -> Value {
    let flag = |value: bool| if value { "1" } else { "0" };
    let bytes = |extents: Extents| extents.bytes(extent_size).0.to_string();
    json!({
        "pv_uuid": pv_uuid(pv), "pv_name": pv.name, "pv_size": bytes(pv.extents),
        "pv_free": bytes(Extents(pv.extents.0 - pv.allocated.0)), "pv_pe_count": pv.extents.0.to_string(),
        "pv_pe_alloc_count": pv.allocated.0.to_string(), "pv_allocatable": flag(pv.allocatable),
        "pv_missing": flag(missing), "pv_tags": pv.tags, "pe_start": FIRST_EXTENT.0.to_string(),
        "dev_size": pv.device_size(extent_size).to_string(), "pv_mda_count": pv.metadata_areas.to_string(),
        "pv_in_use": flag(pv.in_use),
    })
}

fn pv_uuid(pv: &SimPv) -> String {
    pv.uuid.as_ref().map_or_else(|| uuid(&pv.name), ToString::to_string)
}

fn section(model: &Model, vg: &SimVg) -> Value {
    let lvs: Vec<&SimLv> = model.lvs.iter().filter(|lv| lv.name.vg == vg.name).collect();
    let flag = |value: bool| if value { "1" } else { "0" };
    let bytes = |extents: Extents| extents.bytes(vg.extent_size).0.to_string();
    let hidden = hidden(vg, &lvs);
    let segments = segments(vg, &lvs, &hidden);
    let snapshots = lvs.iter().filter(|lv| lv.origin.is_some()).count();
    json!({
        "vg": [{
            "vg_uuid": uuid(vg.name.as_str()), "vg_name": vg.name, "vg_permissions": if vg.read_only { "read-only" } else { "writeable" },
            "vg_exported": flag(vg.exported), "vg_partial": flag(vg.partial), "vg_allocation_policy": vg.policy, "vg_shared": "0",
            "vg_size": bytes(vg.extents()), "vg_free": bytes(vg.free()), "vg_systemid": vg.system_id,
            "vg_extent_size": vg.extent_size.0.to_string(), "vg_extent_count": vg.extents().0.to_string(),
            "vg_free_count": vg.free().0.to_string(), "pv_count": vg.pvs.len().to_string(),
            "vg_missing_pv_count": flag(vg.partial), "lv_count": lvs.len().to_string(), "snap_count": snapshots.to_string(),
            "vg_mda_free": "520192", "vg_mda_size": "1044480",
        }],
        "pv": vg.pvs.iter().enumerate().map(|(index, pv)| pv_row(pv, vg.extent_size, vg.partial && index == 0)).collect::<Vec<_>>(),
        "lv": lvs.iter().map(|lv| lv_row(lv, &lvs)).chain(hidden.iter().map(hidden_row)).collect::<Vec<_>>(),
        "pvseg": [],
        "seg": segments,
    })
}

/// A part of a volume that LVM shows in brackets.
struct Hidden {
    name: String,
    role: &'static str,
    extents: u64,
    extent_size: u64,
    vg: String,
    /// On which PV it lies.
    pv: String,
}

/// The legs of RAIDs, and the parts of thin pools.
fn hidden(vg: &SimVg, lvs: &[&SimLv]) -> Vec<Hidden> {
    let first = vg.pvs.first().map_or(String::new(), |pv| pv.name.clone());
    let part = |name: String, role, extents, pv: &str| Hidden {
        name,
        role,
        extents,
        extent_size: vg.extent_size.0,
        vg: vg.name.to_string(),
        pv: pv.to_owned(),
    };
    let mut parts = Vec::new();
    for lv in lvs {
        let name = lv.name.lv.as_str();
        if lv.kind.starts_with("raid") {
            let extents = lv.extents.0 / lv.data_legs().max(1);
            let images = lv.home.iter().enumerate();
            parts.extend(images.map(|(i, pv)| part(format!("{name}_rimage_{i}"), "private,raid,image", extents, pv)));
        }
        if let Some(pool) = &lv.thin_pool {
            parts.push(part(format!("{name}_tdata"), "private,thin,pool,data", lv.extents.0, &first));
            parts.push(part(format!("{name}_tmeta"), "private,thin,pool,metadata", pool.metadata.0, &first));
        }
    }
    let largest = lvs.iter().filter_map(|lv| lv.thin_pool.as_ref()).map(|pool| pool.metadata.0).max();
    parts.extend(largest.map(|extents| part("lvol0_pmspare".to_owned(), "private,pool,spare", extents, &first)));
    parts
}

fn hidden_row(part: &Hidden) -> Value {
    json!({
        "lv_uuid": uuid(&format!("{}/{}", part.vg, part.name)), "lv_name": format!("[{}]", part.name), "lv_layout": "linear",
        "lv_role": part.role, "lv_size": (part.extents * part.extent_size).to_string(), "lv_allocation_policy": "inherit",
        "lv_kernel_major": "-1", "lv_kernel_minor": "-1", "lv_converting": "0", "lv_merging": "0",
    })
}

/// As if each volume were one run of extents at the beginning of its PVs.
fn segments(vg: &SimVg, lvs: &[&SimLv], hidden: &[Hidden]) -> Vec<Value> {
    let first = vg.pvs.first().map_or("", |pv| pv.name.as_str());
    let run = |pv: &str, extents: u64| format!("{pv}:0-{}", extents.saturating_sub(1));
    let visible = lvs.iter().map(|lv| {
        let name = lv.name.lv.as_str();
        let each = lv.extents.0 / lv.data_legs().max(1);
        let ranges: Vec<String> = match lv.kind.as_str() {
            "thin" => vec![],
            "thin-pool" => vec![run(&format!("{name}_tdata"), each)],
            kind if kind.starts_with("raid") => {
                (0..lv.home.len()).map(|leg| run(&format!("{name}_rimage_{leg}"), each)).collect()
            }
            _ if lv.home.len() as u64 == lv.stripes => lv.home.iter().map(|pv| run(pv, each)).collect(),
            // Made striped by a test: on the PVs in their order.
            _ => vg.pvs.iter().take(lv.stripes as usize).map(|pv| run(&pv.name, each)).collect(),
        };
        json!({
            "lv_uuid": lv_uuid(lv), "segtype": lv.kind, "stripes": lv.stripes.to_string(),
            "stripe_size": if lv.stripes > 1 { "65536" } else { "0" },
            "seg_start_pe": "0", "seg_size_pe": lv.extents.0.to_string(), "seg_pe_ranges": ranges.join(" "),
        })
    });
    let parts = hidden.iter().map(|part| {
        json!({
            "lv_uuid": uuid(&format!("{}/{}", part.vg, part.name)), "segtype": "linear", "stripes": "1",
            "seg_start_pe": "0", "seg_size_pe": part.extents.to_string(),
            "seg_pe_ranges": run(if part.pv.is_empty() { first } else { &part.pv }, part.extents),
        })
    });
    visible.chain(parts).collect()
}

fn lv_row(lv: &SimLv, lvs: &[&SimLv]) -> Value {
    let if_active = |value: &str| if lv.active { value.to_owned() } else { "-1".to_owned() };
    let flag = |value: bool| if value { "1" } else { "0" };
    let is_origin = lvs.iter().any(|other| other.origin.as_deref() == Some(lv.name.lv.as_str()));
    let layout = match lv.kind.as_str() {
        "thin" => "thin,sparse".to_owned(),
        "thin-pool" => "thin,pool".to_owned(),
        "raid0_meta" => "raid".to_owned(),
        raid if raid.starts_with("raid") => format!("raid,{raid}"),
        other => other.to_owned(),
    };
    let percent = |used: u64, size: u64| format!("{:.2}", used as f64 * 100.0 / size.max(1) as f64);
    let pool = lv.thin_pool.as_ref();
    let metadata_size = pool.map(|pool| pool.metadata.bytes(lv.extent_size).0);
    let data_percent = match pool {
        Some(pool) => percent(pool.data_used.0, lv.size().0),
        None if lv.origin.is_some() => "1.50".to_owned(),
        None => String::new(),
    };
    let metadata_percent = pool.map_or(String::new(), |pool| percent(pool.metadata_used.0, metadata_size.unwrap_or(1)));
    let open = lv.is_open
        || lv.mapping().is_some()
        || lv.is_swap
        || !lv.holders.is_empty()
        || lv.fs.as_ref().is_some_and(|fs| fs.mounted);
    let role = match (&lv.origin, is_origin) {
        _ if pool.is_some() => "private",
        (Some(_), _) => "public,snapshot,thicksnapshot",
        (None, true) => "public,origin,thickorigin",
        (None, false) => "public",
    };
    let permissions = match (lv.active, lv.read_only) {
        (false, _) => "unknown",
        (true, true) => "read-only",
        (true, false) => "writeable",
    };
    json!({
        "lv_uuid": lv_uuid(lv), "lv_name": lv.name.lv, "lv_path": lv.name.path(), "lv_dm_path": lv.name.dm_path(),
        "lv_layout": layout, "lv_role": role, "lv_size": lv.size().0.to_string(), "lv_active_locally": flag(lv.active),
        "lv_suspended": if_active(flag(lv.suspended)), "lv_permissions": permissions,
        "lv_device_open": if_active(flag(open)), "lv_allocation_policy": lv.policy, "lv_check_needed": if pool.is_some() { "0" } else { "-1" }, "lv_health_status": lv.health,
        "lv_kernel_major": if_active("253"), "lv_kernel_minor": if_active(&lv.minor.to_string()), "lv_merging": "0",
        "lv_converting": "0", "origin": lv.origin.as_deref().unwrap_or(""), "pool_lv": lv.pool.as_deref().unwrap_or(""), "move_pv": "", "lv_metadata_size": metadata_size.map_or(String::new(), |size| size.to_string()),
        "data_percent": data_percent, "metadata_percent": metadata_percent, "lv_tags": lv.tags,
        "sync_percent": if lv.kind.starts_with("raid") && !lv.kind.starts_with("raid0") { "100.00" } else { "" },
    })
}

/// The UUID of a volume's device. A pool's own is another one, which is not in LVM's report.
pub(super) fn mapped_uuid(lv: &SimLv) -> String {
    let suffix = if lv.thin_pool.is_some() { "-tpool" } else { "" };
    let plain = |uuid: String| uuid.replace('-', "");
    format!("LVM-{}{}{suffix}", plain(uuid(lv.name.vg.as_str())), plain(uuid(&lv.first_name().to_string())))
}

/// LVM's UUIDs are 32 characters in groups; here they are made of the name, so that they are the same in each run.
fn uuid(name: &str) -> String {
    let hash = crc32fast::hash(name.as_bytes());
    format!("sim{:03}-{hash:08}-0000-0000-0000-{:010}", hash % 1000, u64::from(hash) * 7)
}

fn lv_uuid(lv: &SimLv) -> String {
    let salt = if lv.uuid_salt == 0 { String::new() } else { format!("#{}", lv.uuid_salt) };
    uuid(&format!("{}{salt}", lv.first_name()))
}

fn vgcfgbackup(model: &mut Model, file: &str, vg: &str) -> Output {
    if model.vg(vg).is_none() {
        return fails(5, format!("  Volume group \"{vg}\" not found"));
    }
    model.files.insert(file.into(), 2048);
    succeeds(format!("  Volume group \"{vg}\" successfully backed up.\n"))
}

fn lvextend(model: &mut Model, extents: &str, lv: &str, pvs: &[&str]) -> Output {
    let Ok(wanted) = extents.parse::<u64>() else { return fails(3, "  Invalid argument for --extents") };
    let Some(found) = model.lv(lv).map(|lv| lv.clone()) else {
        return fails(5, format!("  Failed to find logical volume \"{lv}\""));
    };
    let is_origin = model.lvs.iter().any(|other| other.origin.as_deref() == Some(found.name.lv.as_str()));
    let short = is_short(model, found.name.vg.as_str());
    let Some(vg) = model.vg(found.name.vg.as_str()) else { return fails(5, "  Volume group not found") };
    if vg.pvs.iter().any(|pv| pv.duplicate.is_some()) {
        return fails(5, format!("  Cannot update volume group {} with duplicate PV devices.", vg.name));
    }
    if vg.exported {
        return fails(5, format!("  Volume group \"{}\" is exported", vg.name));
    }
    if vg.partial {
        return fails(5, format!("  Cannot change VG {} while PVs are missing.", vg.name));
    }
    if vg.read_only {
        return fails(5, format!("  Cannot process volume group {}: it is read-only", vg.name));
    }
    if is_origin && found.active {
        return fails(5, "  Snapshot origin volumes can be resized only while inactive: try lvchange -an.");
    }
    let before = found.extents.0;
    if wanted == before {
        return fails(5, format!("  New size ({before} extents) matches existing size ({before} extents)."));
    }
    if wanted < before {
        return fails(
            5,
            format!("  New size given ({wanted} extents) not larger than existing size ({before} extents)"),
        );
    }
    let data = found.data_legs().max(1);
    let wanted = before + (wanted - before).next_multiple_of(data);
    let mut home = found.home.clone();
    // Only what is named may be taken.
    let hidden: Vec<bool> =
        vg.pvs.iter().map(|pv| pv.allocatable && !pvs.is_empty() && !pvs.contains(&&*pv.name)).collect();
    let before_it: Vec<Extents> = vg.pvs.iter().map(|pv| pv.allocated).collect();
    let hide = |vg: &mut SimVg, allocatable: bool| {
        vg.pvs.iter_mut().zip(&hidden).filter(|(_, hidden)| **hidden).for_each(|(pv, _)| pv.allocatable = allocatable);
    };
    hide(vg, false);
    if found.kind == "thin" {
        // Only a promise.
    } else if found.stripes > 1 {
        let rows = (wanted - before) / data;
        let Some(ends) = vg.allocate_legs(&home, found.stripes as usize, rows) else {
            hide(vg, true);
            let more = wanted - before;
            return fails(
                5,
                format!("  Insufficient suitable allocatable extents for logical volume {lv}: {more} more required"),
            );
        };
        home = ends;
    } else {
        let available: u64 = vg.pvs.iter().filter(|pv| pv.allocatable).map(|pv| pv.extents.0 - pv.allocated.0).sum();
        if wanted - before > available {
            let needed = wanted - before;
            hide(vg, true);
            return fails(
                5,
                format!("  Insufficient free space: {needed} extents needed, but only {available} available"),
            );
        }
        vg.allocate(wanted - before);
    }
    hide(vg, true);
    let taken = vg.pvs.iter().zip(&before_it).filter(|(pv, before)| pv.allocated > **before);
    let coarsest = taken.map(|(pv, _)| pv.block_size).max();
    if let Some(found) = model.lv(lv) {
        (found.extents, found.home) = (Extents(wanted), home);
        found.block_size = found.block_size.max(coarsest.unwrap_or(found.block_size));
        let is_too_coarse =
            found.fs.as_ref().is_some_and(|fs| fs.mounted && fs.is_ext() && fs.bears < found.block_size);
        // The journal is aborted at once.
        found.fs.iter_mut().filter(|_| is_too_coarse).for_each(|fs| (fs.read_only, fs.error_flag) = (true, true));
        if short && found.kind != "thin" {
            // LVM has committed the new size, and the kernel does not take it.
            found.mapped = Some(Extents(before).bytes(found.extent_size));
            found.suspended = true;
            let refused = "  device-mapper: resume ioctl on  (253:0) failed: Invalid argument\n  Unable to resume";
            return fails(5, format!("{refused} {lv}."));
        }
    }
    succeeds(format!("  Logical volume {lv} successfully resized.\n"))
}

/// The spare for repairs grows with the metadata.
fn extend_metadata(model: &mut Model, size: &str, pool: &str) -> Output {
    let Ok(wanted) = size.trim_end_matches('b').parse::<u64>() else {
        return fails(3, "  Invalid argument for --poolmetadatasize");
    };
    let Some(found) = model.lv(pool).map(|lv| lv.clone()) else {
        return fails(5, format!("  Failed to find logical volume \"{pool}\""));
    };
    let Some(before) = found.thin_pool.as_ref().map(|pool| pool.metadata.0) else {
        return fails(5, "  --poolmetadatasize can be used only with cache or thin pools.");
    };
    let Some(vg) = model.vg(found.name.vg.as_str()) else { return fails(5, "  Volume group not found") };
    let wanted = wanted.div_ceil(vg.extent_size.0);
    if wanted <= before {
        return fails(5, format!("  New size ({wanted} extents) matches existing size ({before} extents)."));
    }
    if vg.free().0 < (wanted - before) * 2 {
        return fails(5, "  Insufficient free space for metadata and their spare");
    }
    vg.allocate((wanted - before) * 2);
    if let Some(pool) = model.lv(pool).and_then(|lv| lv.thin_pool.as_mut()) {
        pool.metadata = Extents(wanted);
    }
    succeeds(format!("  Logical volume {pool} successfully resized.\n"))
}

/// Anything else on the device of a PV.
fn others_than_pv(model: &Model, device: &str) -> Output {
    let disk = device.strip_prefix("/dev/block/").and_then(|number| number.parse().ok());
    let other = disk.and_then(|disk| model.pv_on(disk)).and_then(|(_, pv)| pv.signature.clone());
    other.map_or_else(|| fails(2, ""), |other| succeeds(format!("{other}\n")))
}

fn blkid(model: &Model, device: &str) -> Output {
    let disk = device.strip_prefix("/dev/block/").and_then(|number| number.parse().ok());
    if disk.and_then(|disk| model.pv_on(disk)).is_some() {
        return succeeds(format!("{PV_SIGNATURE}\n"));
    }
    let is = |number: DeviceNumber| device.strip_prefix("/dev/block/") == Some(number.to_string().as_str());
    if model.lvs.iter().any(|lv| lv.luks.as_ref().is_some_and(|luks| !luks.detached) && is(lv.device())) {
        return succeeds("crypto_LUKS\n");
    }
    let fs = model.lvs.iter().find(|lv| is(lv.upper_device())).and_then(|lv| lv.fs.as_ref());
    match fs.map(|fs| fs.signature.as_ref().unwrap_or(&fs.kind)).filter(|signature| !signature.is_empty()) {
        Some(signature) => succeeds(format!("{signature}\n")),
        None => fails(2, ""),
    }
}

fn resize2fs(model: &mut Model, device: &str) -> Output {
    let found = model.lvs.iter_mut().find(|lv| lv.upper_path().to_string_lossy() == device);
    let Some(lv) = found else { return fails(1, format!("open: No such file or directory while opening {device}")) };
    let size = lv.room();
    let Some(fs) = lv.fs.as_mut() else { return fails(1, "resize2fs: Bad magic number in super-block") };
    if !fs.is_ext() {
        return fails(1, "resize2fs: Bad magic number in super-block while trying to open the device");
    }
    if fs.size >= size {
        return succeeds(format!("The filesystem is already {} (4k) blocks long.  Nothing to do!\n", fs.size.0 / 4096));
    }
    if !fs.mounted && (!fs.checked || fs.broken || fs.errors > 0) {
        return fails(1, format!("Please run 'e2fsck -f {device}' first."));
    }
    if fs.mounted && fs.mounted_as.is_some() {
        return fails(1, format!("resize2fs: Device or resource busy while trying to open {device}"));
    }
    if let Err(why) = fs.grows_online()
        && fs.mounted
    {
        return fails(1, format!("resize2fs: {why} While checking for on-line resizing support"));
    }
    fs.size = size;
    succeeds(format!("The filesystem on {device} is now {} (4k) blocks long.\n", size.0 / 4096))
}

pub(super) fn e2fsck(model: &mut Model, device: &str) -> Output {
    let found = model.lvs.iter_mut().find(|lv| lv.upper_path().to_string_lossy() == device);
    let Some(lv) = found else {
        return fails(8, format!("e2fsck: No such file or directory while trying to open {device}"));
    };
    let is_open = lv.is_open;
    match lv.fs.as_mut().filter(|fs| fs.is_ext()) {
        None => fails(8, "e2fsck: Bad magic number in super-block"),
        Some(fs) if fs.mounted || is_open => {
            fails(8, format!("{device} is in use.\ne2fsck: Cannot continue, aborting."))
        }
        Some(fs) if fs.broken => fails(4, format!("{device}: UNEXPECTED INCONSISTENCY; RUN fsck MANUALLY.")),
        Some(fs) => {
            fs.checked = true;
            let mended = std::mem::take(&mut fs.errors) > 0 || std::mem::take(&mut fs.error_flag);
            (fs.error_flag, fs.read_only) = (false, false);
            Output { code: Some(i32::from(mended)), ..succeeds(format!("{device}: 11/65536 files\n")) }
        }
    }
}

fn btrfs_resize(model: &mut Model, mount_point: &str) -> Output {
    let mounted =
        |lv: &&mut SimLv| lv.fs.as_ref().is_some_and(|fs| fs.mounted && fs.mount_point.as_str() == mount_point);
    let found = model.lvs.iter_mut().find(mounted);
    let Some((size, fs)) = found.and_then(|lv| Some((lv.room(), lv.fs.as_mut().filter(|fs| fs.kind == "btrfs")?)))
    else {
        return fails(1, format!("ERROR: not a btrfs filesystem: {mount_point}"));
    };
    if fs.read_only {
        return fails(1, format!("ERROR: unable to resize '{mount_point}': Read-only file system"));
    }
    fs.size = size;
    succeeds(format!("Resize device id 1 from {} to max\n", fs.size))
}

fn xfs_growfs(model: &mut Model, mount_point: &str) -> Output {
    let not_mounted = || fails(1, format!("xfs_growfs: {mount_point} is not a mounted XFS filesystem"));
    let is_mounted = |fs: &SimFs| fs.mounted && fs.mount_point.as_str() == mount_point;
    // The last one mounted there grows to the size of whatever has the name now by which the first was mounted.
    let found = model.lvs.iter().find_map(|lv| Some((lv, lv.fs.as_ref().filter(|fs| is_mounted(fs))?)));
    let source = found.map(|(lv, fs)| fs.mounted_as.as_ref().unwrap_or(&lv.name));
    let size = source.and_then(|source| Some(model.lvs.iter().find(|lv| lv.name == *source)?.room()));
    let Some(size) = size else { return not_mounted() };
    match model.lvs.iter_mut().filter_map(|lv| lv.fs.as_mut()).rfind(|fs| is_mounted(fs)) {
        Some(fs) if fs.kind == "xfs" && fs.read_only => {
            fails(1, "xfs_growfs: XFS_IOC_FSGROWFSDATA xfsctl failed: Read-only file system")
        }
        Some(fs) if fs.kind == "xfs" => {
            let before = std::mem::replace(&mut fs.size, size);
            // With nothing to grow the kernel is not asked at all.
            fs.size_in_copies = fs.size_in_copies.filter(|_| before >= size);
            let changed = format!("data blocks changed from {} to {}\n", before.0 / 4096, size.0 / 4096);
            succeeds(if before < size { changed } else { String::new() })
        }
        _ => not_mounted(),
    }
}

/// The label, and with it all copies of the superblock.
fn xfs_label(model: &mut Model, set: &str, mount_point: &str) -> Output {
    let mounted = |fs: &&mut SimFs| fs.mounted && fs.mount_point.as_str() == mount_point && fs.kind == "xfs";
    let Some(fs) = model.lvs.iter_mut().filter_map(|lv| lv.fs.as_mut()).find(mounted) else {
        return fails(1, format!("{mount_point}: No such file or directory"));
    };
    match set.split(' ').collect::<Vec<_>>().as_slice() {
        _ if fs.read_only => return fails(1, "label: Read-only file system"),
        ["label", "-c"] => fs.label.clear(),
        ["label", "-s", label] => fs.label = (*label).to_owned(),
        _ => return fails(1, format!("bad command: {set}")),
    }
    fs.size_in_copies = None;
    succeeds(format!("label = \"{}\"\n", fs.label))
}
