//! The file that describes a simulated host.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::model::{Model, SimFs, SimLv, SimPool, SimPv, SimVg};
use crate::name::{LvName, LvRef, MountPoint, VgName};
use crate::units::{Amount, Bytes, Extents, MIB};

/// What is wrong with the file.
#[derive(Debug, thiserror::Error)]
pub enum SimError {
    /// It cannot be read.
    #[error("{}: cannot be read", .0.display())]
    Read(PathBuf, #[source] std::io::Error),
    /// It is not what it should be.
    #[error("{path}: {message}", path = .0.display(), message = .1)]
    Invalid(PathBuf, String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default = "default_names")]
    names: Vec<String>,
    #[serde(default = "default_speed")]
    speed: f64,
    volume_groups: Vec<Vg>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Vg {
    name: VgName,
    #[serde(default = "default_extent")]
    extent_size: Bytes,
    physical_volumes: Vec<Pv>,
    #[serde(default)]
    logical_volumes: Vec<Lv>,
    #[serde(default)]
    read_only: bool,
    #[serde(default)]
    exported: bool,
    #[serde(default)]
    partial: bool,
    #[serde(default = "default_policy")]
    allocation_policy: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Pv {
    name: String,
    size: Bytes,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Lv {
    name: LvName,
    size: Bytes,
    /// `linear`, `striped`, `raid1`, `raid5`, `raid6`, `raid10`, `thin-pool`, `thin`.
    #[serde(default, rename = "type")]
    kind: Option<String>,
    /// Of a RAID all its legs.
    #[serde(default = "default_stripes")]
    stripes: u64,
    /// The thin pool it lies in.
    #[serde(default)]
    pool: Option<LvName>,
    /// Of a thin pool: the size of its metadata, and how full both are.
    #[serde(default = "default_metadata")]
    metadata_size: Bytes,
    #[serde(default = "default_used")]
    data_used: Amount,
    #[serde(default = "default_used")]
    metadata_used: Amount,
    #[serde(default)]
    snapshot_of: Option<LvName>,
    #[serde(default)]
    tags: Vec<String>,
    #[serde(default)]
    filesystem: Option<Fs>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fs {
    #[serde(rename = "type")]
    kind: String,
    mount_point: MountPoint,
    #[serde(default = "default_used")]
    used: Amount,
    /// Bytes a second.
    #[serde(default)]
    fill: Bytes,
    #[serde(default)]
    read_only: bool,
    /// Of its inodes.
    #[serde(default = "default_inodes")]
    inodes_used: u64,
}

fn default_policy() -> String {
    "normal".to_owned()
}
fn default_metadata() -> Bytes {
    Bytes(8 * MIB)
}
fn default_inodes() -> u64 {
    10
}
fn default_names() -> Vec<String> {
    vec!["localhost".to_owned()]
}
fn default_speed() -> f64 {
    1.0
}
fn default_extent() -> Bytes {
    Bytes(4 * MIB)
}
fn default_stripes() -> u64 {
    1
}
fn default_used() -> Amount {
    Amount::Size(Bytes::ZERO)
}

/// Reads a file.
pub fn load(path: &Path) -> Result<Model, SimError> {
    let text = std::fs::read_to_string(path).map_err(|error| SimError::Read(path.to_owned(), error))?;
    parse(&text).map_err(|message| SimError::Invalid(path.to_owned(), message))
}

/// Reads a text.
pub fn parse(yaml: &str) -> Result<Model, String> {
    let file: File = serde_yaml::from_str(yaml).map_err(|error| error.to_string())?;
    let mut model = Model { names: file.names, speed: file.speed, ..Model::empty("") };
    for vg in file.volume_groups {
        add(&mut model, vg)?;
    }
    Ok(model)
}

fn add(model: &mut Model, vg: Vg) -> Result<(), String> {
    let extent_size = vg.extent_size;
    let pvs = vg.physical_volumes.into_iter().map(|pv| SimPv::new(pv.name, pv.size.to_extents_down(extent_size)));
    let (read_only, exported, partial) = (vg.read_only, vg.exported, vg.partial);
    let mut group = SimVg {
        name: vg.name.clone(),
        extent_size,
        pvs: pvs.collect(),
        read_only,
        exported,
        partial,
        policy: vg.allocation_policy,
        system_id: String::new(),
    };
    for lv in vg.logical_volumes {
        let minor = u32::try_from(model.lvs.len()).unwrap_or(u32::MAX);
        model.lvs.push(volume(&mut group, lv, minor)?);
    }
    model.vgs.push(group);
    Ok(())
}

fn volume(group: &mut SimVg, lv: Lv, minor: u32) -> Result<SimLv, String> {
    let extent_size = group.extent_size;
    let name = LvRef { vg: group.name.clone(), lv: lv.name };
    let extents = lv.size.to_extents_up(extent_size);
    let size = extents.bytes(extent_size);
    let plain = if lv.stripes > 1 { "striped" } else { "linear" };
    let kind = lv.kind.unwrap_or_else(|| if lv.pool.is_some() { "thin" } else { plain }.to_owned());
    let metadata = lv.metadata_size.to_extents_up(extent_size);
    let thin_pool = (kind == "thin-pool").then(|| SimPool {
        metadata,
        data_used: lv.data_used.resolve(size),
        metadata_used: lv.metadata_used.resolve(metadata.bytes(extent_size)),
    });
    let mut made = SimLv {
        uuid_salt: 0,
        made_as: None,
        stale_minor: None,
        mapped: None,
        block_size: Bytes(512),
        minor,
        extents,
        extent_size,
        stripes: lv.stripes,
        kind,
        active: true,
        suspended: false,
        read_only: false,
        health: String::new(),
        policy: "inherit".to_owned(),
        home: vec![],
        origin: lv.snapshot_of.map(|origin| origin.to_string()),
        pool: lv.pool.map(|pool| pool.to_string()),
        thin_pool,
        holders: vec![],
        is_swap: false,
        is_open: false,
        luks: None,
        tags: lv.tags.join(","),
        fs: lv.filesystem.map(|fs| filesystem(fs, size)),
        name,
    };
    // A pool's metadata and the spare for them, both linear.
    let extra = if made.thin_pool.is_some() { metadata.0 * 2 } else { 0 };
    let rows = extents.0.div_ceil(made.data_legs().max(1));
    let needs = if made.pool.is_some() { 0 } else { rows * made.stripes.max(1) + extra };
    let too_much = format!("{} needs {}, {} has only {} free", made.name, Extents(needs), group.name, group.free());
    if Extents(needs) > group.free() {
        return Err(too_much);
    }
    if made.pool.is_none() && made.stripes > 1 {
        made.home = group.allocate_legs(&[], made.stripes as usize, rows).ok_or(too_much)?;
    } else if made.pool.is_none() {
        group.allocate(rows);
    }
    group.allocate(extra);
    Ok(made)
}

fn filesystem(fs: Fs, size: Bytes) -> SimFs {
    let bears = if fs.kind == "xfs" { Bytes(512) } else { Bytes(4096) };
    let mut made = SimFs {
        frozen: false,
        bears,
        error_flag: false,
        sparse_super2: false,
        exclusive_operation: None,
        by_backup: false,
        kind: fs.kind,
        signature: None,
        mount_point: fs.mount_point,
        mounted: true,
        mounted_as: None,
        size,
        first_size: size,
        inodes_used: fs.inodes_used,
        used: Bytes::ZERO,
        fill: fs.fill,
        read_only: fs.read_only,
        errors: 0,
        hangs: false,
        slow: false,
        checked: false,
        broken: false,
        devices: 1,
        label: String::new(),
        size_in_copies: None,
    };
    // A percentage is meant as df shows it: of what is used and available together.
    let usage = made.usage();
    let visible = Bytes(usage.used().0 + usage.avail.0);
    made.used = fs.used.resolve(visible).min(made.capacity());
    made
}
