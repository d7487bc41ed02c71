//! The header at the start of a LUKS volume, as far as it decides whether the volume can grow.
//!
//! Sources: "LUKS1 On-Disk Format Specification" 1.2.3, "LUKS2 On-Disk Format Specification" 1.1.1. All numbers are
//! big-endian. Passphrases and keys are not read.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::units::Bytes;

const MAGIC: &[u8] = b"LUKS\xBA\xBE";
/// Where the JSON area of LUKS2 begins.
const BINARY: usize = 4096;

/// What a header says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// 1 or 2.
    pub version: u16,
    /// Which LUKS volume it is.
    pub uuid: String,
    /// Where the data begin on the volume; `None` if that is not one place.
    pub offset: Option<Bytes>,
    /// Why the mapping cannot grow with its volume, as the end of a sentence.
    pub objection: Option<String>,
}

/// Of the JSON area; what is not listed does not decide.
#[derive(Deserialize)]
struct Metadata {
    segments: BTreeMap<String, Segment>,
    #[serde(default)]
    config: Settings,
}

#[derive(Deserialize)]
struct Segment {
    #[serde(rename = "type")]
    kind: String,
    offset: String,
    size: String,
    integrity: Option<serde_json::Value>,
}

#[derive(Default, Deserialize)]
struct Settings {
    #[serde(default)]
    requirements: Requirements,
}

#[derive(Default, Deserialize)]
struct Requirements {
    #[serde(default)]
    mandatory: Vec<String>,
}

/// Reads the first bytes of a volume; `None` if they are no header of LUKS1 or LUKS2.
pub fn parse(head: &[u8]) -> Option<Header> {
    if !head.starts_with(MAGIC) {
        return None;
    }
    let version = u16::from_be_bytes(head.get(6..8)?.try_into().ok()?);
    let uuid = text(head.get(168..208)?)?;
    match version {
        1 => {
            let sectors = u32::from_be_bytes(head.get(104..108)?.try_into().ok()?);
            Some(Header { version, uuid, offset: Some(Bytes(u64::from(sectors) * 512)), objection: None })
        }
        2 => {
            let (offset, objection) = match metadata(head) {
                Ok(metadata) => judge(&metadata),
                Err(why) => (None, Some(why)),
            };
            Some(Header { version, uuid, offset, objection })
        }
        _ => None,
    }
}

fn text(field: &[u8]) -> Option<String> {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    String::from_utf8(field[..end].to_vec()).ok().filter(|text| text.chars().all(|c| c.is_ascii_graphic()))
}

fn metadata(head: &[u8]) -> Result<Metadata, String> {
    let size = head.get(8..16).and_then(|size| size.try_into().ok()).map_or(0, u64::from_be_bytes);
    let area = usize::try_from(size).ok().and_then(|size| head.get(BINARY..size));
    // The size is 16 KiB unless `--luks2-metadata-size` made it larger.
    let area = area.ok_or_else(|| format!("has LUKS2 metadata of {}, which is not read", Bytes(size)))?;
    let end = area.iter().position(|byte| *byte == 0).unwrap_or(area.len());
    serde_json::from_slice(&area[..end])
        .map_err(|_| "has LUKS2 metadata that cannot be read, see cryptsetup luksDump".to_owned())
}

fn judge(metadata: &Metadata) -> (Option<Bytes>, Option<String>) {
    let segments: Vec<&Segment> = metadata.segments.values().collect();
    let [segment] = segments.as_slice() else {
        let why = format!("has {} segments, as during a re-encryption", segments.len());
        return (None, Some(why));
    };
    let offset = segment.offset.parse().ok().map(Bytes);
    let objection = if let [first, ..] = metadata.config.requirements.mandatory.as_slice() {
        // The words are cryptsetup's.
        Some(format!("has the requirement {first:?}, as during a re-encryption"))
    } else if segment.kind != "crypt" {
        Some(format!("has a segment of type {:?}", segment.kind))
    } else if segment.integrity.is_some() {
        Some("has integrity tags, and cryptsetup cannot resize such a mapping".to_owned())
    } else if segment.size != "dynamic" {
        Some("has a fixed size in its header".to_owned())
    } else {
        None
    };
    (offset, objection)
}

/// A header as cryptsetup 2.6 writes it, for the simulated host and for tests: [`parse`] reads it back.
pub fn render(version: u16, uuid: &str, offset: Bytes) -> Vec<u8> {
    let mut head = vec![0; 4 * BINARY];
    head[..6].copy_from_slice(MAGIC);
    head[6..8].copy_from_slice(&version.to_be_bytes());
    head[168..168 + uuid.len()].copy_from_slice(uuid.as_bytes());
    if version == 1 {
        head[104..108].copy_from_slice(&u32::try_from(offset.0 / 512).unwrap_or(u32::MAX).to_be_bytes());
        return head;
    }
    let size = head.len() as u64;
    head[8..16].copy_from_slice(&size.to_be_bytes());
    let json = format!(
        r#"{{"keyslots":{{}},"tokens":{{}},"segments":{{"0":{{"type":"crypt","offset":"{}","size":"dynamic","iv_tweak":"0","encryption":"aes-xts-plain64","sector_size":4096}}}},"digests":{{}},"config":{{"json_size":"12288","keyslots_size":"16744448"}}}}"#,
        offset.0
    );
    head[BINARY..BINARY + json.len()].copy_from_slice(json.as_bytes());
    head
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: &str = "0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9";
    const OFFSET: Bytes = Bytes(16 << 20);

    fn changed(from: &str, to: &str) -> Option<String> {
        let mut head = render(2, UUID, OFFSET);
        let json = String::from_utf8(head[BINARY..].to_vec()).expect("JSON");
        assert!(json.contains(from), "{from}");
        let json = json.replacen(from, to, 1);
        head.truncate(BINARY);
        head.extend_from_slice(json.as_bytes());
        head.resize(4 * BINARY, 0);
        parse(&head).expect("a header").objection
    }

    #[test]
    fn both_versions_are_read() {
        for version in [1, 2] {
            let header = Header { version, uuid: UUID.to_owned(), offset: Some(OFFSET), objection: None };
            assert_eq!(parse(&render(version, UUID, OFFSET)), Some(header));
        }
        assert_eq!(parse(&render(3, UUID, OFFSET)), None);
        assert_eq!(parse(b"LUKS\xBA\xBE"), None);
        assert_eq!(parse(&[0; 4096]), None);
    }

    #[test]
    fn what_cryptsetup_does_not_resize_is_objected_to() {
        for (from, to, why) in [
            (r#""dynamic""#, r#""1048576""#, "fixed size"),
            (r#""sector_size""#, r#""integrity":{"type":"hmac(sha256)"},"sector_size""#, "integrity tags"),
            (r#""crypt""#, r#""hw-opal""#, "hw-opal"),
            (
                r#""json_size""#,
                r#""requirements":{"mandatory":["online-reencrypt-v2"]},"json_size""#,
                "online-reencrypt",
            ),
            (r#""0":{"#, r#""1":{"type":"crypt","offset":"0","size":"dynamic"},"0":{"#, "2 segments"),
            (r#"{"keyslots""#, r#"{keyslots"#, "cannot be read"),
        ] {
            let said = changed(from, to);
            assert!(said.as_ref().is_some_and(|said| said.contains(why)), "{why}: {said:?}");
        }
        assert_eq!(changed(r#""tokens":{}"#, r#""tokens":{"0":{"type":"clevis"}}"#), None);
        let large = parse(&render(2, UUID, OFFSET)[..2 * BINARY]).and_then(|header| header.objection);
        assert!(large.is_some_and(|why| why.contains("16 KiB")), "what is not there is not guessed");
    }
}
