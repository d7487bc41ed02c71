//! How messages stand on the wire: version, length, JSON.
//!
//! A frame is eight bytes, the version of the protocol and the length of what follows (both u32, little-endian), and
//! that many bytes of JSON. What breaks a rule ends the connection; nothing is guessed.

use std::io::{self, Read, Write};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Both sides are one program, so there is one version, and another one means that only one side was upgraded.
pub(super) const VERSION: u32 = 1;

/// What the web side may say at once. What is more is said in several pieces.
pub(super) const MOST_ASKED: u32 = 64 << 10;
/// What the engine may say at once: 10,000 volumes are 15 MiB.
pub(super) const MOST_ANSWERED: u32 = 128 << 20;

/// Reads a frame; `None` if the other side hung up between two.
///
/// # Errors
///
/// Also where the other side broke a rule: `InvalidData`.
pub(super) fn read<T: DeserializeOwned>(from: &mut impl Read, most: u32) -> io::Result<Option<T>> {
    let mut head = [0; 8];
    let begun = from.read(&mut head)?;
    if begun == 0 {
        return Ok(None);
    }
    from.read_exact(&mut head[begun..])?;
    let [a, b, c, d, e, f, g, h] = head;
    let (version, length) = (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]));
    if version != VERSION {
        return Err(invalid(format!(
            "the other side speaks version {version} of the protocol and this one {VERSION}: restart both after an \
             upgrade"
        )));
    }
    if length > most {
        return Err(invalid(format!("a message of {length} bytes, expected at most {most}")));
    }
    // Grown as it comes, so that a length alone costs little.
    let mut body = Vec::with_capacity(length.min(MOST_ASKED) as usize);
    from.take(u64::from(length)).read_to_end(&mut body)?;
    if body.len() < length as usize {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    serde_json::from_slice(&body).map(Some).map_err(|error| invalid(format!("a message that is none: {error}")))
}

/// Writes one.
///
/// # Errors
///
/// Also if it is too large.
pub(super) fn write(to: &mut impl Write, message: &impl Serialize, most: u32) -> io::Result<()> {
    let mut frame = vec![0; 8];
    serde_json::to_writer(&mut frame, message)?;
    let length = u32::try_from(frame.len() - 8).ok().filter(|length| *length <= most);
    let length = length.ok_or_else(|| invalid(format!("a message of more than {most} bytes")))?;
    frame[..4].copy_from_slice(&VERSION.to_le_bytes());
    frame[4..8].copy_from_slice(&length.to_le_bytes());
    to.write_all(&frame)
}

fn invalid(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(version: u32, length: u32, body: &[u8]) -> Vec<u8> {
        [&version.to_le_bytes()[..], &length.to_le_bytes(), body].concat()
    }

    #[test]
    fn what_is_written_is_read_and_what_breaks_a_rule_is_not() {
        let mut bytes = vec![];
        write(&mut bytes, &["a", "b"], MOST_ASKED).expect("it fits");
        write(&mut bytes, &["c"], MOST_ASKED).expect("it fits");
        let mut from = bytes.as_slice();
        assert_eq!(read::<Vec<String>>(&mut from, MOST_ASKED).expect("a frame"), Some(vec!["a".into(), "b".into()]));
        assert_eq!(read::<Vec<String>>(&mut from, MOST_ASKED).expect("a frame"), Some(vec!["c".into()]));
        assert_eq!(read::<Vec<String>>(&mut from, MOST_ASKED).expect("the end"), None);
        for (bytes, wants) in [
            (frame(2, 2, b"[]"), "version 2"),
            (frame(1, MOST_ASKED + 1, b"[]"), "expected at most 65536"),
            (frame(1, u32::MAX, b""), "expected at most 65536"),
            (frame(1, 2, b"[}"), "that is none"),
            (frame(1, 2, b"7 "), "that is none"),
            (frame(1, 3, b"[]"), "end of file"),
            (frame(1, 0, b""), "that is none"),
            (vec![1, 0, 0], "fill whole buffer"),
        ] {
            let error = read::<Vec<String>>(&mut bytes.as_slice(), MOST_ASKED).expect_err("broken").to_string();
            assert!(error.contains(wants), "{error} for {bytes:?}");
        }
        assert!(write(&mut vec![], &"x".repeat(70_000), MOST_ASKED).is_err());
    }
}
