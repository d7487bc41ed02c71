//! What may lie between a volume and its file system: one mapping of dm-crypt.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::luks::Header;
use super::{DeviceNumber, FileSystem, Inventory, Lv, only};
use crate::command::{Command, Tool};
use crate::name::{LvRef, MountPoint};
use crate::units::Bytes;

/// What libcryptsetup puts before the UUIDs of its devices.
const PREFIX: &str = "CRYPT-";

/// A device of libcryptsetup that lies on a volume, and on nothing else lies on that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mapping {
    /// The volume.
    pub lv: LvRef,
    /// Its name in `/dev/mapper`.
    pub name: String,
    /// What device-mapper has as its UUID: `CRYPT-LUKS2-0a1b...-data_crypt`.
    pub uuid: String,
    /// Its number, which is that of the file system on it.
    pub device: DeviceNumber,
    /// How large it is.
    pub size: Bytes,
    /// Whether it is suspended, as after `cryptsetup luksSuspend`.
    pub suspended: bool,
    /// Whether it lies on the volume alone.
    pub alone: bool,
    /// Its table; `None` if that is not known.
    pub table: Option<Table>,
    /// The LUKS header at the start of the volume, if there is one.
    pub header: Option<Header>,
}

/// The table of a device of the target `crypt`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// How many segments it has.
    pub segments: usize,
    /// Where the data begin on the device below.
    pub offset: Bytes,
    /// Where the kernel has the volume key from.
    pub key: KeyLocation,
    /// Whether it has integrity tags.
    pub integrity: bool,
}

/// Where the volume key is. cryptsetup needs a passphrase or key file to load a new table with a key from the keyring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyLocation {
    /// In the kernel's keyring, as libcryptsetup does it for LUKS2.
    Keyring,
    /// In dm-crypt alone: LUKS1, and LUKS2 opened with `--disable-keyring`.
    DmCrypt,
}

/// What was found out about the key file of a mapping whose volume key is in the keyring.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyFile {
    /// Nothing yet: it is only tried for what is about to grow.
    Presumed,
    /// It opens the volume.
    Opens,
    /// It cannot be looked at: why.
    Unreadable(String),
    /// Others could have changed it, or can read it: how, and what to do.
    Exposed(String),
    /// It is on a file system that is a target itself.
    OnTarget(MountPoint),
    /// It opens nothing: what cryptsetup said.
    Wrong(String),
    /// cryptsetup was not run to its end: why.
    Untested(String),
}

impl Inventory {
    /// The logical volume behind a device number, or behind the mapping that has it.
    pub fn lv_by_device(&self, device: DeviceNumber) -> Option<&Lv> {
        let mapped = self.mappings.iter().find(|mapping| mapping.device == device);
        mapped.map_or_else(|| only(self.lvs.iter().filter(|lv| lv.device == Some(device))), |found| self.lv(&found.lv))
    }

    /// The same for all devices at once, for who would ask hundreds of times on a host with thousands of volumes.
    pub fn lvs_by_device(&self) -> HashMap<DeviceNumber, Option<&Lv>> {
        let mut found = HashMap::new();
        let volumes = self.lvs.iter().filter_map(|lv| Some((lv.device?, lv)));
        let mapped = self.mappings.iter().filter_map(|mapping| Some((mapping.device, self.lv(&mapping.lv)?)));
        for (device, lv) in volumes.chain(mapped) {
            found.entry(device).and_modify(|lv| *lv = None).or_insert(Some(lv));
        }
        found
    }

    /// The mapping between a volume and its file system, if there is one.
    pub fn mapping_on(&self, lv: &LvRef) -> Option<&Mapping> {
        self.mappings.iter().find(|mapping| &mapping.lv == lv)
    }

    /// The device that a file system on a volume is mounted from: the mapping's, or the volume's own.
    pub fn device_of_file_system(&self, lv: &Lv) -> Option<DeviceNumber> {
        self.mapping_on(&lv.name).map_or(lv.device, |mapping| Some(mapping.device))
    }

    /// A path of that device.
    pub fn path_of_file_system(&self, lv: &LvRef) -> PathBuf {
        self.mapping_on(lv).map_or_else(|| lv.dm_path(), Mapping::path)
    }

    /// How large a file system on a volume can be: as large as the volume, without what a mapping keeps for itself.
    pub fn room_for_file_system(&self, lv: &LvRef) -> Option<Bytes> {
        self.room_on(self.lv(lv)?)
    }

    /// The same of a volume that was found already.
    pub fn room_on(&self, lv: &Lv) -> Option<Bytes> {
        let volume = lv.size?;
        Some(self.mapping_on(&lv.name).map_or(volume, |mapping| mapping.room_on(volume)))
    }
}

impl FileSystem {
    /// How much of a volume of that size it does not use and could grow into: nothing if what is left is too small for
    /// it. `None` if its size is not known.
    pub fn unused_of(&self, volume: Bytes) -> Option<Bytes> {
        let rest = volume.saturating_sub(self.size()?);
        Some(if rest <= self.slack() { Bytes::ZERO } else { rest })
    }
}

impl Mapping {
    /// Whether device-mapper has a device of libcryptsetup under that UUID.
    pub fn is_its_uuid(uuid: &str) -> bool {
        uuid.starts_with(PREFIX)
    }

    /// `LUKS1`, `LUKS2`, or another type of cryptsetup.
    pub fn kind(&self) -> &str {
        self.uuid.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next()).unwrap_or("")
    }

    /// Its version of LUKS, `None` for another type.
    pub fn version(&self) -> Option<u16> {
        match self.kind() {
            "LUKS1" => Some(1),
            "LUKS2" => Some(2),
            _ => None,
        }
    }

    /// Its path.
    pub fn path(&self) -> PathBuf {
        path_of(&self.name)
    }

    /// Whether a change of its size takes a key.
    pub fn needs_key(&self) -> bool {
        self.table.as_ref().is_none_or(|table| table.key == KeyLocation::Keyring)
    }

    /// How large it can be on a volume of that size.
    pub fn room_on(&self, volume: Bytes) -> Bytes {
        self.table.as_ref().map_or(self.size, |table| volume.saturating_sub(table.offset))
    }

    /// Why it does not grow with its volume, as the end of a sentence; `None`: it does.
    pub fn objection(&self) -> Option<String> {
        const TAGGED: &str = "has integrity tags, and cryptsetup cannot resize such a mapping";
        let Some(version) = self.version() else {
            // With tags dm-integrity comes between the volume and dm-crypt.
            if self.kind() == "INTEGRITY" {
                return Some(TAGGED.to_owned());
            }
            return Some(format!("is of the type {}, not LUKS", self.kind()));
        };
        if !self.alone {
            return Some("lies on more than this volume".to_owned());
        }
        let Some(table) = &self.table else {
            return Some("is no device of dm-crypt, or its table cannot be read, see dmsetup table".to_owned());
        };
        if table.segments != 1 {
            return Some(format!("has {} segments in its table", table.segments));
        }
        if table.integrity {
            return Some(TAGGED.to_owned());
        }
        let Some(header) = &self.header else {
            return Some("has no LUKS header on the volume, so it is a detached one".to_owned());
        };
        // device-mapper has the UUID without hyphens.
        let of_header = format!("{PREFIX}{}-{}-", self.kind(), header.uuid.replace('-', ""));
        if header.version != version || !self.uuid.starts_with(&of_header) {
            return Some("was not opened with the LUKS header that is on the volume".to_owned());
        }
        if let Some(why) = &header.objection {
            return Some(why.clone());
        }
        (header.offset != Some(table.offset)).then(|| "has its data elsewhere than the header says".to_owned())
    }
}

/// The path of a mapping of that name.
pub fn path_of(name: &str) -> PathBuf {
    Path::new("/dev/mapper").join(name)
}

impl KeyLocation {
    /// As `cryptsetup status` shows it.
    pub fn as_str(self) -> &'static str {
        match self {
            KeyLocation::Keyring => "keyring",
            KeyLocation::DmCrypt => "dm-crypt",
        }
    }
}

/// Asks for the tables of all devices of the target `crypt`. Keys are shown as zeros.
pub fn tables_command() -> Command {
    Command::report(Tool::Dmsetup, ["table", "--target", "crypt"])
}

/// Tries a key file on the LUKS header of a device, and changes nothing.
pub fn test_command(device: &Path, key_file: &Path) -> Command {
    let (device, key_file) = (device.to_string_lossy(), key_file.to_string_lossy());
    Command::report(Tool::Cryptsetup, ["open", "--test-passphrase", "--key-file", &key_file, "--", &device])
}

/// Reads what `dmsetup table --target crypt` said, by the name of the device. A line is
/// `NAME: START LENGTH crypt CIPHER KEY IV_OFFSET DEVICE OFFSET [COUNT OPTION...]`, in sectors of 512 bytes
/// (the kernel's `dm-crypt.rst`). A device of which a line is not understood is left out.
pub fn parse_tables(said: &str) -> BTreeMap<String, Table> {
    let mut tables: BTreeMap<String, Option<Table>> = BTreeMap::new();
    for (name, line) in said.lines().filter_map(|line| line.split_once(": ")) {
        let segment = segment(line);
        tables
            .entry(name.to_owned())
            .and_modify(|known| {
                *known = known.take().zip(segment.clone()).map(|(mut known, other)| {
                    known.segments += 1;
                    known.integrity |= other.integrity;
                    known
                });
            })
            .or_insert(segment);
    }
    tables.into_iter().filter_map(|(name, table)| Some((name, table?))).collect()
}

fn segment(line: &str) -> Option<Table> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [_start, _length, "crypt", _cipher, key, _iv_offset, _device, offset, options @ ..] = words.as_slice() else {
        return None;
    };
    let offset = offset.parse::<u64>().ok()?.checked_mul(512)?;
    let key = if key.starts_with(':') { KeyLocation::Keyring } else { KeyLocation::DmCrypt };
    let integrity = options.iter().any(|option| option.starts_with("integrity:"));
    // What does not begin at the start of the mapping is a second segment, the first of which is of another target.
    let segments = if words.first() == Some(&"0") { 1 } else { 2 };
    Some(Table { segments, offset: Bytes(offset), key, integrity })
}

#[cfg(test)]
mod tests {
    use super::super::luks;
    use super::*;

    #[test]
    fn tables_say_where_the_key_and_the_data_are() {
        let said = "vg-l2: 0 98304 crypt aes-xts-plain64 :64:logon:cryptsetup:0a1b-d0 0 253:0 32768\n\
            l1: 0 126976 crypt aes-xts-plain64 00000000 0 253:1 4096 1 allow_discards\n\
            two: 0 8 crypt aes-xts-plain64 00 0 253:2 16\ntwo: 8 8 crypt aes-xts-plain64 00 0 253:2 64\n\
            tail: 8 8 crypt aes-xts-plain64 00 0 253:2 16\n\
            tag: 0 8 crypt capi:authenc(hmac(sha256),xts(aes))-plain64 :96:logon:x 0 253:3 0 1 integrity:32:aead\n\
            odd: 0 8 crypt aes\nNo devices found\n";
        let tables = parse_tables(said);
        let names: Vec<&str> = tables.keys().map(String::as_str).collect();
        assert_eq!(names, ["l1", "tag", "tail", "two", "vg-l2"]);
        let table = |segments, offset, key, integrity| Table { segments, offset: Bytes(offset), key, integrity };
        assert_eq!(tables["vg-l2"], table(1, 16 << 20, KeyLocation::Keyring, false));
        assert_eq!(tables["l1"], table(1, 2 << 20, KeyLocation::DmCrypt, false));
        assert_eq!((tables["two"].segments, tables["tail"].segments), (2, 2));
        assert!(tables["tag"].integrity);
    }

    #[test]
    fn what_does_not_grow_with_its_volume_says_why() {
        let (uuid, offset) = ("0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9", Bytes(16 << 20));
        let sound = Mapping {
            lv: "vg/data".parse().expect("a name"),
            name: "data_crypt".to_owned(),
            uuid: format!("CRYPT-LUKS2-{}-data_crypt", uuid.replace('-', "")),
            device: DeviceNumber { major: 253, minor: 7 },
            size: Bytes(1 << 30),
            suspended: false,
            alone: true,
            table: Some(Table { segments: 1, offset, key: KeyLocation::Keyring, integrity: false }),
            header: luks::parse(&luks::render(2, uuid, offset)),
        };
        assert_eq!((sound.objection(), sound.version()), (None, Some(2)));
        assert_eq!(sound.room_on(Bytes(1 << 30)), Bytes((1 << 30) - (16 << 20)));
        let table = sound.table.clone().expect("given");
        let header = sound.header.clone().expect("given");
        for (changed, why) in [
            (Mapping { uuid: "CRYPT-PLAIN-data_crypt".to_owned(), ..sound.clone() }, "type PLAIN"),
            (Mapping { uuid: "CRYPT-BITLK-0a1b-data_crypt".to_owned(), ..sound.clone() }, "type BITLK"),
            (Mapping { uuid: "CRYPT-INTEGRITY-0a1b-data_crypt_dif".to_owned(), ..sound.clone() }, "integrity tags"),
            (Mapping { alone: false, ..sound.clone() }, "more than this volume"),
            (Mapping { table: None, ..sound.clone() }, "table"),
            (Mapping { table: Some(Table { segments: 2, ..table.clone() }), ..sound.clone() }, "2 segments"),
            (Mapping { table: Some(Table { integrity: true, ..table.clone() }), ..sound.clone() }, "integrity"),
            (Mapping { table: Some(Table { offset: Bytes(0), ..table }), ..sound.clone() }, "elsewhere"),
            (Mapping { header: None, ..sound.clone() }, "detached"),
            (
                Mapping { header: Some(Header { uuid: "other".to_owned(), ..header.clone() }), ..sound.clone() },
                "opened",
            ),
            (Mapping { header: Some(Header { version: 1, ..header.clone() }), ..sound.clone() }, "opened"),
            (Mapping { header: Some(Header { objection: Some("is odd".to_owned()), ..header }), ..sound }, "is odd"),
        ] {
            let said = changed.objection();
            assert!(said.as_ref().is_some_and(|said| said.contains(why)), "{why}: {said:?}");
        }
    }
}
