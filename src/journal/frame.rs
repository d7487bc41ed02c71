//! The format of a segment, as pure functions over bytes: what a header and a record look like, and what of a segment
//! can be read again.
//!
//! A segment is a header of one sector (magic, version, generation, checksum) and frames behind it: length, checksum,
//! payload. The checksum covers generation and offset too, so that a frame left over from an earlier use of the file is
//! not taken for one of this. What is appended at once is one frame, and the next is written only when it is on disk.
//! So a frame that does not check is the torn end of the segment, unless one behind it does: then it was on disk once,
//! and the segment is damaged. That is told apart, never guessed: a journal that silently forgets makes the daemon act
//! twice.

/// The version of the format this program writes; it reads this and all older ones.
///
/// 1: a frame per entry, its checksum covers the frame before it too. 2: a frame per append, entries in lines.
pub(super) const VERSION: u32 = 2;

const MAGIC: &[u8; 8] = b"LVMASJNL";
/// Of a segment that is full: the journal goes on in the other one.
const RETIRED: &[u8; 8] = b"LVMASOLD";
/// A disk sector: a header is written whole or not at all.
pub(super) const HEADER: usize = 512;
/// Of it magic, version, generation and checksum; zeros behind that.
pub(super) const HEADER_USED: usize = 24;
pub(super) const FRAME_HEAD: usize = 8;

/// What a segment turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Nothing but zeros: made, and never written to.
    Blank,
    /// The journal goes on in the other segment; what this one holds, if that can still be read.
    Retired(Option<Content>),
    /// Its header is torn.
    Torn,
    /// Written by a later version of this program.
    Newer(u32),
    /// It was whole once.
    Damaged {
        /// Of its header.
        generation: u64,
        /// What cannot be read.
        what: String,
    },
    /// It can be read.
    Sound(Content),
}

/// What a segment holds, and where it ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) version: u32,
    pub(super) generation: u64,
    pub(super) offset: usize,
    /// The checkpoint, then what was appended.
    pub(super) payloads: Vec<Vec<u8>>,
}

/// The header of the segment that is the journal.
pub(super) fn header(generation: u64) -> Vec<u8> {
    header_with(MAGIC, generation)
}

/// The header of the segment that was it before.
pub(super) fn retired_header(generation: u64) -> Vec<u8> {
    header_with(RETIRED, generation)
}

fn header_with(magic: &[u8; 8], generation: u64) -> Vec<u8> {
    let mut header = Vec::with_capacity(HEADER);
    header.extend(magic);
    header.extend(VERSION.to_le_bytes());
    header.extend(generation.to_le_bytes());
    header.extend(crc32fast::hash(&header).to_le_bytes());
    header.resize(HEADER, 0);
    header
}

/// A frame as it stands at that offset of a segment.
pub(super) fn frame(generation: u64, offset: usize, payload: &[u8]) -> Vec<u8> {
    let length = payload.len() as u32;
    let mut frame = Vec::with_capacity(FRAME_HEAD + payload.len());
    frame.extend(length.to_le_bytes());
    frame.extend(checksum(generation, offset, 0, payload).to_le_bytes());
    frame.extend(payload);
    frame
}

fn checksum(generation: u64, offset: usize, before: u32, payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&generation.to_le_bytes());
    hasher.update(&(offset as u64).to_le_bytes());
    hasher.update(&before.to_le_bytes());
    hasher.update(payload);
    hasher.finalize()
}

/// Reads a segment.
pub(super) fn read(bytes: &[u8]) -> Found {
    let head = bytes.get(..HEADER).unwrap_or(bytes);
    if is_zero(head) {
        return if is_zero(bytes) { Found::Blank } else { Found::Retired(None) };
    }
    let (Some(version), Some(sum)) = (u32_at(bytes, 8), u32_at(bytes, 20)) else { return Found::Torn };
    let retired = bytes.get(..8) == Some(RETIRED);
    if !retired && bytes.get(..8) != Some(MAGIC) || bytes.get(..20).map(crc32fast::hash) != Some(sum) {
        return Found::Torn;
    }
    if version > VERSION {
        return Found::Newer(version);
    }
    let generation = bytes.get(12..20).and_then(|b| b.try_into().ok()).map_or(0, u64::from_le_bytes);
    let (mut payloads, mut offset, mut before) = (Vec::new(), HEADER, 0);
    while let Some((payload, sum)) = payload_at(bytes, generation, offset, before) {
        payloads.push(payload.to_owned());
        offset += FRAME_HEAD + payload.len();
        before = if version == 1 { sum } else { 0 };
    }
    let damaged = |what| if retired { Found::Retired(None) } else { Found::Damaged { generation, what } };
    if payloads.is_empty() {
        // The header is written when the checkpoint is on disk.
        return damaged(format!("its checkpoint, at byte {HEADER}, cannot be read"));
    }
    if version > 1
        && let Some(later) = frame_behind(bytes, generation, offset)
    {
        return damaged(format!("the record at byte {offset} cannot be read, a later one at byte {later} can"));
    }
    let content = Content { version, generation, offset, payloads };
    if retired { Found::Retired(Some(content)) } else { Found::Sound(content) }
}

/// Where a frame that checks begins, at this offset or later.
fn frame_behind(bytes: &[u8], generation: u64, offset: usize) -> Option<usize> {
    // Most of a segment is zeros, in which there is none.
    let starts = (offset..bytes.len()).step_by(HEADER);
    let written =
        starts.filter(|start| bytes.get(*start..*start + HEADER + FRAME_HEAD).is_none_or(|part| !is_zero(part)));
    written.flat_map(|start| start..start + HEADER).find(|at| payload_at(bytes, generation, *at, 0).is_some())
}

/// Compared at once: byte for byte takes long for megabytes in a build that is not optimised.
fn is_zero(bytes: &[u8]) -> bool {
    bytes.chunks(HEADER + FRAME_HEAD).all(|part| part == &[0; HEADER + FRAME_HEAD][..part.len()])
}

/// The payload of the frame at that place and its checksum, if it checks.
fn payload_at(bytes: &[u8], generation: u64, offset: usize, before: u32) -> Option<(&[u8], u32)> {
    let begin = offset + FRAME_HEAD;
    // All payloads are JSON objects. Looking for one spares most of the work when frames are searched for.
    if bytes.get(begin) != Some(&b'{') {
        return None;
    }
    let (length, sum) = (u32_at(bytes, offset)?, u32_at(bytes, offset + 4)?);
    let payload = bytes.get(begin..begin.checked_add(length as usize)?)?;
    (length > 0 && checksum(generation, offset, before, payload) == sum).then_some((payload, sum))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(payloads: &[&str]) -> (Vec<u8>, Vec<std::ops::Range<usize>>) {
        let (mut bytes, mut places) = (header(7), vec![]);
        for payload in payloads {
            let from = bytes.len();
            bytes.extend(frame(7, from, payload.as_bytes()));
            places.push(from..bytes.len());
        }
        bytes.resize(2048, 0);
        (bytes, places)
    }

    fn count(bytes: &[u8]) -> Option<usize> {
        match read(bytes) {
            Found::Sound(content) => Some(content.payloads.len()),
            _ => None,
        }
    }

    #[test]
    fn any_byte_that_is_wrong_is_noticed_unless_it_is_in_the_last_record() {
        let (good, places) = segment(&["{checkpoint}", "{one}", "{two}", "{three}"]);
        assert_eq!(count(&good), Some(4));
        for at in 0..places[3].end {
            let mut bytes = good.clone();
            bytes[at] ^= 0x10;
            let found = read(&bytes);
            match at {
                0..24 => assert!(matches!(found, Found::Torn | Found::Newer(_)), "{at}: {found:?}"),
                // Nothing is there.
                24..HEADER => assert_eq!(count(&bytes), Some(4)),
                _ if at < places[3].start => assert!(matches!(found, Found::Damaged { .. }), "{at}: {found:?}"),
                // As if it had been torn.
                _ => assert_eq!(count(&bytes), Some(3), "{at}"),
            }
        }
    }

    #[test]
    fn several_records_in_a_row_that_are_lost_are_noticed_too() {
        let (good, places) = segment(&["{checkpoint}", "{one}", "{two}", "{three}"]);
        let mut bytes = good;
        bytes[places[1].start..places[2].end].fill(0);
        let what = format!(
            "the record at byte {} cannot be read, a later one at byte {} can",
            places[1].start, places[3].start
        );
        assert_eq!(read(&bytes), Found::Damaged { generation: 7, what });
    }

    #[test]
    fn frames_of_an_earlier_use_are_not_taken_for_damage() {
        let (good, places) = segment(&["{checkpoint}", "{one}"]);
        let mut bytes = good;
        for (generation, at) in [(6, places[1].end), (6, places[1].end + 40), (5, 1000)] {
            let old = frame(generation, at, b"{of an older generation}");
            bytes[at..at + old.len()].copy_from_slice(&old);
        }
        assert_eq!(count(&bytes), Some(2));
    }

    #[test]
    fn a_file_cut_short_at_any_byte_is_no_reason_to_panic() {
        let (good, places) = segment(&["{checkpoint}", "{one}"]);
        for length in 0..good.len() {
            let found = read(&good[..length]);
            assert_eq!(matches!(found, Found::Sound(_)), length >= places[0].end, "{length}: {found:?}");
        }
    }
}
