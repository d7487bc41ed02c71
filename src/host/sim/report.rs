//! The reports of LVM on the simulated host, as 2.03.16 prints them.

use serde_json::{Value, json};

use super::model::{FIRST_EXTENT, Model, ORPHANS_EXTENT, SimLv, SimPv, SimVg};
use super::output::{fails, succeeds};
use crate::host::Output;
use crate::units::{Bytes, Extents};

pub(super) fn fullreport(model: &Model, arguments: &[&str]) -> Output {
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
    let twins =
        twins(model).map(|(pv, other)| format!("  WARNING: Not using device {other} for PV {}.\n", pv_uuid(pv)));
    let gone = model.pvs().filter(|(_, pv)| pv.missing);
    let gone = gone.map(|(_, pv)| format!("  WARNING: Couldn't find device with uuid {}.\n", pv_uuid(pv)));
    let warnings: String = twins.chain(gone).collect();
    Output { stderr: warnings, ..succeeds(json!({ "report": sections }).to_string()) }
}

/// PVs that are there twice, with their second device.
fn twins(model: &Model) -> impl Iterator<Item = (&SimPv, &String)> {
    model.pvs().filter_map(|(_, pv)| Some((pv, pv.duplicate.as_ref()?)))
}

pub(super) fn duplicates(model: &Model) -> Output {
    let row = |(pv, other): (&SimPv, &String)| json!({ "pv_name": other, "pv_uuid": pv_uuid(pv), "pv_duplicate": "1" });
    succeeds(json!({ "report": [{ "pv": twins(model).map(row).collect::<Vec<_>>() }] }).to_string())
}

fn pv_row(pv: &SimPv, extent_size: Bytes, missing: bool) -> Value {
    let flag = |value: bool| if value { "1" } else { "0" };
    let bytes = |extents: Extents| extents.bytes(extent_size).0.to_string();
    json!({
        "pv_uuid": pv_uuid(pv), "pv_name": pv.shown(), "pv_size": bytes(pv.extents),
        "pv_free": bytes(Extents(pv.extents.0 - pv.allocated.0)), "pv_pe_count": pv.extents.0.to_string(),
        "pv_pe_alloc_count": pv.allocated.0.to_string(), "pv_allocatable": flag(pv.allocatable),
        "pv_missing": flag(missing || pv.missing), "pv_tags": pv.tags, "pe_start": FIRST_EXTENT.0.to_string(),
        "dev_size": if pv.missing { "0".to_owned() } else { pv.device_size(extent_size).to_string() }, "pv_mda_count": pv.metadata_areas.to_string(),
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
            "vg_exported": flag(vg.exported), "vg_partial": flag(vg.missing_pvs() > 0), "vg_allocation_policy": vg.policy, "vg_shared": "0",
            "vg_size": bytes(vg.extents()), "vg_free": bytes(vg.free()), "vg_systemid": vg.system_id,
            "vg_extent_size": vg.extent_size.0.to_string(), "vg_extent_count": vg.extents().0.to_string(),
            "vg_free_count": vg.free().0.to_string(), "pv_count": vg.pvs.len().to_string(),
            "vg_missing_pv_count": vg.missing_pvs().to_string(), "lv_count": lvs.len().to_string(), "snap_count": snapshots.to_string(),
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
    let shown =
        |name: &str| vg.pvs.iter().find(|pv| pv.name == name).map_or(name.to_owned(), |pv| pv.shown().to_owned());
    let run = |pv: &str, extents: u64| format!("{}:0-{}", shown(pv), extents.saturating_sub(1));
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
