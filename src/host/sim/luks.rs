//! Mappings of dm-crypt, and the commands for them, as cryptsetup 2.6 answers.

use std::path::{Path, PathBuf};

use super::model::{Model, SimLuks, SimLv};
use super::output::{fails, succeeds};
use crate::host::Output;
use crate::inventory::mapping::path_of;
use crate::inventory::{DeviceNumber, luks};
use crate::units::Bytes;

/// Of all LUKS volumes here.
const UUID: &str = "51a1b2c3-4e5f-6071-8293-a4b5c6d7e8f9";
/// Behind all volumes.
const FIRST_MINOR: u32 = 1000;

impl SimLuks {
    /// LUKS2 as cryptsetup makes it, with the volume key in the keyring; `file` opens it.
    pub fn luks2(name: &str, volume: Bytes, file: &str) -> SimLuks {
        let offset = Bytes(16 << 20);
        SimLuks {
            name: name.to_owned(),
            kind: "LUKS2".to_owned(),
            size: volume.saturating_sub(offset),
            offset,
            segments: 1,
            integrity: false,
            keyring: true,
            opened_by: Some(PathBuf::from(file)),
            suspended: false,
            detached: false,
            open: true,
        }
    }

    /// Opened from LUKS1, whose volume key is in dm-crypt alone.
    pub fn luks1(name: &str, volume: Bytes) -> SimLuks {
        let offset = Bytes(2 << 20);
        let (kind, size) = ("LUKS1".to_owned(), volume.saturating_sub(offset));
        SimLuks { kind, size, offset, keyring: false, opened_by: None, ..SimLuks::luks2(name, volume, "") }
    }

    pub(super) fn uuid(&self) -> String {
        format!("CRYPT-{}-{}-{}", self.kind, UUID.replace('-', ""), self.name)
    }

    /// The first bytes of its volume.
    pub(super) fn head(&self) -> Vec<u8> {
        match self.kind.as_str() {
            _ if self.detached => vec![0; 4096],
            "LUKS1" => luks::render(1, UUID, self.offset),
            "LUKS2" => luks::render(2, UUID, self.offset),
            _ => vec![0; 4096],
        }
    }
}

impl SimLv {
    /// Its mapping, while that is open.
    pub fn mapping(&self) -> Option<&SimLuks> {
        self.luks.as_ref().filter(|luks| luks.open && self.active)
    }

    /// The device of its file system.
    pub(super) fn upper_device(&self) -> DeviceNumber {
        let own = self.device();
        self.mapping().map_or(own, |_| DeviceNumber { minor: own.minor + FIRST_MINOR, ..own })
    }

    /// The path of that device.
    pub(super) fn upper_path(&self) -> PathBuf {
        self.mapping().map_or_else(|| self.name.dm_path(), |luks| path_of(&luks.name))
    }

    /// How large the device of its file system is.
    pub fn room(&self) -> Bytes {
        self.mapping().map_or_else(|| self.size(), |luks| luks.size)
    }
}

/// `dmsetup table --target crypt`.
pub(super) fn tables(model: &Model) -> Output {
    let mut said = String::new();
    for (lv, luks) in model.lvs.iter().filter_map(|lv| Some((lv, lv.mapping()?))) {
        let (length, offset) = (luks.size.0 / 512, luks.offset.0 / 512);
        let key = if luks.keyring { ":64:logon:cryptsetup:sim-d0" } else { "0000" };
        let options = if luks.integrity { " 1 integrity:32:aead" } else { "" };
        for segment in 0..luks.segments {
            let start = segment * 8;
            let (name, device) = (&luks.name, lv.device());
            said.push_str(&format!(
                "{name}: {start} {length} crypt aes-xts-plain64 {key} 0 {device} {offset}{options}\n"
            ));
        }
    }
    succeeds(if said.is_empty() { "No devices found\n".to_owned() } else { said })
}

/// `cryptsetup open --test-passphrase --key-file FILE -- DEVICE`.
pub(super) fn test_key(model: &Model, file: &str, device: &str) -> Output {
    let found = model.lvs.iter().find(|lv| lv.name.dm_path() == Path::new(device));
    match found.and_then(|lv| lv.luks.as_ref()) {
        Some(luks) => tried(model, luks, file),
        None => fails(4, format!("Device {device} is not a valid LUKS device.")),
    }
}

fn tried(model: &Model, luks: &SimLuks, file: &str) -> Output {
    if !model.key_files.contains_key(Path::new(file)) {
        return fails(1, "Failed to open key file.");
    }
    match luks.opened_by.as_deref() == Some(Path::new(file)) {
        true => succeeds(""),
        false => fails(2, "No key available with this passphrase."),
    }
}

/// `cryptsetup resize [--key-file FILE] -- NAME`; a person types the passphrase.
pub(super) fn resize(model: &mut Model, name: &str, file: Option<&str>, is_typed: bool) -> Output {
    let Some(at) = model.lvs.iter().position(|lv| lv.mapping().is_some_and(|luks| luks.name == name)) else {
        return fails(4, format!("Device {name} is not active."));
    };
    let Some(luks) = model.lvs[at].luks.clone() else { return fails(4, "") };
    if luks.keyring && !is_typed {
        let said = file.map_or_else(|| fails(1, "Nothing to read on input."), |file| tried(model, &luks, file));
        if !said.succeeded() {
            return said;
        }
    }
    let lv = &mut model.lvs[at];
    // What the kernel has, where LVM's metadata say something else.
    let volume = lv.mapped.unwrap_or(lv.size());
    lv.luks.iter_mut().for_each(|luks| luks.size = volume.saturating_sub(luks.offset));
    succeeds("")
}

/// `cryptsetup open DEVICE NAME` and `cryptsetup close NAME`, by a person.
pub(super) fn open(model: &mut Model, device: &str, name: &str) -> Output {
    let found = model.lvs.iter_mut().find(|lv| lv.active && lv.name.dm_path() == Path::new(device));
    let Some(lv) = found else { return fails(4, format!("Device {device} does not exist or access denied.")) };
    let volume = lv.size();
    let Some(luks) = lv.luks.as_mut() else { return fails(4, "") };
    (luks.open, luks.name) = (true, name.to_owned());
    luks.size = volume.saturating_sub(luks.offset);
    succeeds("")
}

pub(super) fn close(model: &mut Model, name: &str) -> Output {
    let found = model.lvs.iter_mut().find(|lv| lv.mapping().is_some_and(|luks| luks.name == name));
    match found {
        Some(lv) if lv.fs.as_ref().is_some_and(|fs| fs.mounted) => fails(5, format!("Device {name} is still in use.")),
        Some(lv) => {
            lv.luks.iter_mut().for_each(|luks| luks.open = false);
            succeeds("")
        }
        None => fails(4, format!("Device {name} is not active.")),
    }
}
