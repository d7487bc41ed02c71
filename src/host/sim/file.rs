//! The file that describes a simulated host.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::model::{Model, SimFs, SimLv, SimPv, SimVg};
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
    #[serde(default = "default_stripes")]
    stripes: u64,
    #[serde(default)]
    snapshot_of: Option<LvName>,
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
    let pvs = vg.physical_volumes.into_iter().map(|pv| SimPv {
        name: pv.name,
        extents: pv.size.to_extents_down(extent_size),
        allocated: Extents(0),
        allocatable: true,
    });
    let (read_only, exported, partial) = (vg.read_only, vg.exported, vg.partial);
    let mut group = SimVg { name: vg.name.clone(), extent_size, pvs: pvs.collect(), read_only, exported, partial };
    for lv in vg.logical_volumes {
        let name = LvRef { vg: vg.name.clone(), lv: lv.name };
        let extents = lv.size.to_extents_up(extent_size);
        if extents > group.free() {
            return Err(format!("{name} needs {extents}, {} has only {} free", vg.name, group.free()));
        }
        group.allocate(extents.0);
        let size = extents.bytes(extent_size);
        model.lvs.push(SimLv {
            minor: u32::try_from(model.lvs.len()).unwrap_or(u32::MAX),
            extents,
            extent_size,
            stripes: lv.stripes,
            kind: if lv.stripes > 1 { "striped" } else { "linear" }.to_owned(),
            active: true,
            suspended: false,
            read_only: false,
            health: String::new(),
            origin: lv.snapshot_of.map(|origin| origin.to_string()),
            fs: lv.filesystem.map(|fs| filesystem(fs, size)),
            name,
        });
    }
    model.vgs.push(group);
    Ok(())
}

fn filesystem(fs: Fs, size: Bytes) -> SimFs {
    let mut made = SimFs {
        kind: fs.kind,
        signature: None,
        mount_point: fs.mount_point,
        mounted: true,
        size,
        used: Bytes::ZERO,
        fill: fs.fill,
        read_only: fs.read_only,
        errors: 0,
        hangs: false,
    };
    // A percentage is meant as df shows it: of what is used and available together.
    let usage = made.usage();
    let visible = Bytes(usage.used().0 + usage.avail.0);
    made.used = fs.used.resolve(visible).min(made.capacity());
    made
}
