//! The journal's two files. A disk that lost or changed what was written leads to a state that was written once, and
//! never to one that forgets a record the disk still has: else the journal reports damage. Bytes that nobody wrote may
//! lead to any state, but that state can be read, written on, and read again.

use std::cell::RefCell;
use std::ops::Range;
use std::path::Path;

use jiff::Timestamp;
use lvm_autoscaler::journal::{Event, Journal, JournalError, SegmentError, Source, State};
use lvm_autoscaler::name::LvRef;
use lvm_autoscaler::plan::{Code, Refusal};

/// Small, so that a few records fill a segment.
const SIZE: usize = 4096;
const HEADER: usize = 512;
const FRAME_HEAD: usize = 8;
const FILES: [&str; 2] = ["journal.0", "journal.1"];

type Disk = [Vec<u8>; 2];

pub fn run(data: &[u8]) {
    thread_local! {
        static FOLDER: RefCell<tempfile::TempDir> = RefCell::new(
            // In memory where that is possible: each record is brought to disk.
            tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a folder"),
        );
    }
    let Some((kind, rest)) = data.split_first() else { return };
    FOLDER.with_borrow(|folder| match kind % 4 {
        0 | 1 => written(folder.path(), &mut Bytes(rest)),
        2 => any(folder.path(), &forged(rest)),
        _ => {
            let (first, second) = rest.split_at(rest.len() / 2);
            any(folder.path(), &[first.to_vec(), second.to_vec()]);
        }
    });
}

/// The input, a byte after the other; zeros when it is used up.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn next(&mut self) -> usize {
        match self.0.split_first() {
            Some((first, rest)) => {
                self.0 = rest;
                usize::from(*first)
            }
            None => 0,
        }
    }

    fn next_u16(&mut self) -> usize {
        self.next() << 8 | self.next()
    }
}

/// Writes as the daemon does, has something happen to the disk, and looks at what is left.
fn written(folder: &Path, input: &mut Bytes<'_>) {
    put(folder, &[vec![0; SIZE], vec![0; SIZE]]);
    let journal = Journal::open(folder).expect("zeros are an empty journal");
    let mut states = vec![(*journal.state()).clone()];
    let mut disks = vec![disk(folder)];
    for _ in 0..1 + input.next() % 48 {
        let events = (0..1 + input.next() % 2).map(|_| event(&journal, input)).collect();
        match journal.append(Timestamp::UNIX_EPOCH, events) {
            Ok(()) => {}
            // All of it or nothing; these segments are small.
            Err(JournalError::Segment(SegmentError::TooLarge(_))) => break,
            Err(error) => panic!("{error:?}"),
        }
        states.push((*journal.state()).clone());
        disks.push(disk(folder));
    }
    drop(journal);
    let sound = disk(folder);
    assert_eq!(&Journal::peek(folder).expect("it is sound"), states.last().expect("one"));

    let damaged = damage(&sound, &disks, input);
    put(folder, &damaged);
    let found = look(folder, Some(&damaged));
    match found {
        Err(JournalError::Segment(SegmentError::Damaged { .. } | SegmentError::Newer { .. })) => {}
        Err(error) => panic!("{error:?} is no word for damage"),
        Ok(found) => {
            let newest = states.len() - 1;
            let Some(index) = states.iter().position(|state| *state == found) else {
                panic!("this was never written: {found:?}");
            };
            let (file, frames) = frames(&sound);
            // The checkpoint, and then a frame for each of the last appends.
            let kept = newest + 1 - (frames.len() - 1);
            let changed = |range: &Range<usize>| sound[file][range.clone()] != damaged[file][range.clone()];
            for lost in index + 1..=newest {
                let frame = &frames[lost.saturating_sub(kept - 1)];
                assert!(changed(frame), "the record of append {lost} is there and was forgotten, {index} came back");
            }
        }
    }
}

fn event(journal: &Journal, input: &mut Bytes<'_>) -> Event {
    let volume = |n: usize| -> LvRef { ["vg/a", "vg/b", "v-g/c"][n % 3].parse().expect("a name") };
    let kind = input.next();
    let lv = volume(kind / 8);
    let state = journal.state();
    match kind % 8 {
        0 => Event::Paused { lv: None },
        1 => Event::Paused { lv: Some(lv) },
        2 => Event::Resumed { lv: Some(lv) },
        3 => Event::Reset { lv: Some(lv) },
        4 => Event::Refused {
            request: state.pending.keys().next().copied(),
            lv: Some(lv),
            source: Source::Monitor,
            refusal: Refusal::new(Code::Cooldown, ""),
            more: 0,
        },
        // Does not stay in the state, and fills the segment.
        _ => {
            if state.pending.len() > 3 {
                return Event::Cleared { lv };
            }
            let fingerprint = "f".repeat(4 * input.next());
            Event::Received { request: journal.next_number(), lv, source: Source::Alertmanager, fingerprint }
        }
    }
}

/// One range of one file as it was before (writes that the disk lost), or up to four ranges with other bytes.
fn damage(sound: &Disk, before: &[Disk], input: &mut Bytes<'_>) -> Disk {
    let mut disk = sound.clone();
    let kind = input.next();
    let range = |input: &mut Bytes<'_>| {
        let from = input.next_u16() % SIZE;
        // Short ones and long ones.
        let length = if input.next().is_multiple_of(2) { input.next() } else { input.next_u16() };
        from..(from + length).min(SIZE)
    };
    if kind.is_multiple_of(3) {
        let (file, old) = (input.next() % 2, &before[input.next() % before.len()]);
        let range = range(input);
        disk[file][range.clone()].copy_from_slice(&old[file][range]);
        return disk;
    }
    for _ in 0..1 + input.next() % 4 {
        let (file, value) = (input.next() % 2, input.next() as u8);
        let fills = kind % 3 == 1;
        for byte in &mut disk[file][range(input)] {
            *byte = if fills { value } else { *byte ^ value };
        }
    }
    disk
}

/// Which file is the journal, and where its frames stand.
fn frames(disk: &Disk) -> (usize, Vec<Range<usize>>) {
    let file = usize::from(!disk[0].starts_with(b"LVMASJNL"));
    let (mut frames, mut at) = (vec![], HEADER);
    while let Some(length) = disk[file].get(at..at + 4).and_then(|b| b.try_into().ok()).map(u32::from_le_bytes) {
        // Behind the last frame there may be one of an earlier use of the file.
        let end = at + FRAME_HEAD + length as usize;
        if length == 0 || end > SIZE || !is_frame(&disk[file], at..end) {
            break;
        }
        frames.push(at..end);
        at = end;
    }
    (file, frames)
}

fn is_frame(bytes: &[u8], range: Range<usize>) -> bool {
    let payload = &bytes[range.start + FRAME_HEAD..range.end];
    bytes[range.start + 4..range.start + 8] == checksum(&bytes[12..20], range.start, payload).to_le_bytes()
}

fn checksum(generation: &[u8], offset: usize, payload: &[u8]) -> u32 {
    crc32fast::hash(&[generation, &(offset as u64).to_le_bytes(), &[0; 4], payload].concat())
}

/// Files with right checksums around any payloads: for each a byte about its header, then lines.
fn forged(input: &[u8]) -> Disk {
    let mut disk = [vec![], vec![]];
    // No JSON has this byte.
    for (file, text) in disk.iter_mut().zip(input.splitn(2, |byte| *byte == 0)) {
        let mut input = Bytes(text);
        let about = input.next();
        let magic: &[u8] = [b"LVMASJNL", b"LVMASOLD"][about % 2];
        let version = 1 + (about / 2 % 3) as u32;
        let generation = (about / 8) as u64;
        *file = [magic, &version.to_le_bytes(), &generation.to_le_bytes()].concat();
        file.extend(crc32fast::hash(file).to_le_bytes());
        file.resize(HEADER, 0);
        let mut before = [0; 4];
        for payload in input.0.split(|byte| *byte == b'\n') {
            let offset = (file.len() as u64).to_le_bytes();
            let sum = crc32fast::hash(&[&generation.to_le_bytes()[..], &offset, &before, payload].concat());
            file.extend((payload.len() as u32).to_le_bytes());
            file.extend(sum.to_le_bytes());
            file.extend(payload);
            if version == 1 {
                before = sum.to_le_bytes();
            }
        }
        file.resize(file.len() + 1024, 0);
    }
    disk
}

fn any(folder: &Path, disk: &Disk) {
    put(folder, disk);
    if let Ok(state) = look(folder, Some(disk)) {
        let json = serde_json::to_string(&state).expect("a state");
        assert_eq!(serde_json::from_str::<State>(&json).expect("the same"), state);
        state.history(true);
        state.lately();
    }
}

/// What the journal means. Who only reads and who is going to write see the same, and what is written then is there.
fn look(folder: &Path, before: Option<&Disk>) -> Result<State, JournalError> {
    let peeked = Journal::peek(folder);
    let mut told = 0;
    let _ = Journal::read_since(folder, 0, &mut |record| {
        assert!(record.number > told, "each record once, in order");
        told = record.number;
    });
    assert_eq!(Some(&disk(folder)), before, "who reads changes nothing");
    let journal = match (Journal::open(folder), &peeked) {
        (Ok(journal), Ok(state)) => {
            assert_eq!(*journal.state(), *state);
            journal
        }
        (Err(_), Err(_)) => return peeked,
        // Nothing at all begins anew.
        (Ok(journal), Err(_)) => panic!("it opens, to {:?}", journal.state()),
        (Err(error), Ok(_)) => return Err(error),
    };
    let state = journal.state();
    // A state may be too large for a segment; then nothing is written and it is said.
    if journal.append(Timestamp::UNIX_EPOCH, vec![Event::Paused { lv: None }]).is_ok() {
        let expected = journal.state();
        assert_eq!(expected.records, state.records.saturating_add(1));
        drop(journal);
        assert_eq!(Journal::peek(folder).expect("what was just written"), *expected);
    }
    peeked
}

fn disk(folder: &Path) -> Disk {
    FILES.map(|name| std::fs::read(folder.join(name)).expect("readable"))
}

fn put(folder: &Path, disk: &Disk) {
    for (name, bytes) in FILES.iter().zip(disk) {
        std::fs::write(folder.join(name), bytes).expect("writable");
    }
}
