//! Power cuts of disks that lose their cache. dm-log-writes below the PVs records every write and every flush while
//! volumes grow; then images are made as the disks may look after a cut at some record: what was flushed before is
//! there, of the rest nothing, or a random part, or a random part of each write. On each image the host comes up again
//! as after a boot.
//!
//! All PVs are slices of one recorded device, so that the record has one order, and each has a cache of its own: a
//! flush belongs to the slice whose first sector it names. LVM itself never flushes (2.03.16: `pvcreate` to `lvextend`
//! write with O_DIRECT and leave it at that), so its metadata are as durable as what is flushed to the same PV
//! afterwards.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use lvm_autoscaler::journal::{Journal, Past};
use lvm_autoscaler::name::LvRef;
use nix::fcntl::{FallocateFlags, fallocate};

use crate::daemon::{Daemon, PATIENCE, config, labels, payload};
use crate::grow::small;
use crate::http;
use crate::kills::position;
use crate::load::{block, compare};
use crate::part::{self, Dice};
use crate::storage::{Group, MIB, Volume, path, sh, try_sh};

const NAME: &str = "vmt_caches";
/// What lies below the slices: the recorder, or later the image alone.
const BELOW: &str = "vmt_cachesbelow";
const SECTOR: u64 = 512;
const SLICES: u64 = 3;
/// In sectors; the first begins 1 MiB into the device, so that nobody takes the whole device for a PV.
const SLICE: u64 = 2048 * 2048;
const FIRST: u64 = 2048;
const FULL: f64 = 81.0;
const SETTINGS: &str = "defaults: { cooldown: 0s, budget: { extensions: 100, bytes: 1TiB, per: 24h } }";
/// How much each growth adds, in extents.
const STEP: u64 = 8;
/// In blocks of 4 KiB.
const FILE: usize = 8;

/// Where LVM keeps the group's metadata.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Layout {
    /// On every PV, as LVM does it if nobody says otherwise; the journal on the first PV.
    Everywhere,
    /// On the first PV alone, on which nothing else is that would have it flushed.
    FirstOnly,
}

/// A volume that grows.
struct Target {
    volume: Volume,
    kind: &'static str,
    /// Extents and size of the file system, at first and after each growth.
    sizes: Vec<(u64, u64)>,
}

/// The group, and what lies below it.
struct Bench {
    // Dropped in this order.
    group: Group,
    below: Option<Below>,
}

/// Slices of a device, made by device-mapper.
struct Below;

impl Below {
    /// `table` is that of the device below the slices.
    fn new(table: &str) -> Below {
        sh("dmsetup", &["create", BELOW, "--table", table]);
        for slice in 0..SLICES {
            let table = format!("0 {SLICE} linear /dev/mapper/{BELOW} {}", FIRST + slice * SLICE);
            sh("dmsetup", &["create", &slice_name(slice), "--table", &table]);
        }
        sh("udevadm", &["settle"]);
        Below
    }
}

impl Below {
    /// Whether they are gone; not so while a volume is on one.
    fn remove(&self) -> bool {
        try_sh("udevadm", &["settle"]);
        for slice in 0..SLICES {
            try_sh("dmsetup", &["remove", &slice_name(slice)]);
        }
        try_sh("dmsetup", &["remove", BELOW]);
        !try_sh("dmsetup", &["info", BELOW]).0
    }
}

impl Drop for Below {
    fn drop(&mut self) {
        self.remove();
    }
}

fn slice_name(slice: u64) -> String {
    format!("{NAME}slice{slice}")
}

fn whole() -> u64 {
    FIRST + SLICES * SLICE
}

/// Puts a mark, a word, into the record: what had happened when it was put there had happened before every later
/// record.
fn mark(text: &str) {
    sh("dmsetup", &["message", BELOW, "0", "mark", text]);
}

/// A record of dm-log-writes (Documentation/admin-guide/device-mapper/log-writes.rst).
struct Record {
    sector: u64,
    sectors: u64,
    flags: u64,
    /// Where its data are in the file.
    data: u64,
    mark: String,
}

const FLUSH: u64 = 1;
const FUA: u64 = 2;
const DISCARD: u64 = 4;
const MARK: u64 = 8;

impl Record {
    fn slice(&self) -> usize {
        (self.sector.saturating_sub(FIRST) / SLICE) as usize
    }

    fn is(&self, flag: u64) -> bool {
        self.flags & flag != 0
    }
}

fn read_log(file: &Path) -> Vec<Record> {
    let mut log = File::open(file).expect("the log");
    let mut sector = [0; SECTOR as usize];
    let word = |sector: &[u8], at: usize| u64::from_le_bytes(sector[at * 8..at * 8 + 8].try_into().expect("8 bytes"));
    log.read_exact(&mut sector).expect("a header");
    assert_eq!((word(&sector, 0), word(&sector, 1)), (0x006a_7366_7773_6872, 1), "the log of dm-log-writes, version 1");
    assert_eq!(word(&sector, 3) & 0xFFFF_FFFF, SECTOR);
    let count = word(&sector, 2);
    let mut at = SECTOR;
    (0..count)
        .map(|_| {
            log.seek(SeekFrom::Start(at)).and_then(|_| log.read_exact(&mut sector)).expect("a record");
            let (flags, sectors) = (word(&sector, 2), word(&sector, 1));
            let length = if flags & MARK == 0 { 0 } else { word(&sector, 3) as usize };
            let mark = String::from_utf8_lossy(&sector[32..32 + length]).trim_end_matches('\0').to_owned();
            let data = at + SECTOR;
            at = data + if flags & (DISCARD | MARK) == 0 { sectors * SECTOR } else { 0 };
            Record { sector: word(&sector, 0), sectors, flags, data, mark }
        })
        .collect()
}

/// What becomes of writes that were not flushed.
#[derive(Debug, Clone, Copy)]
enum Loss {
    /// All are lost.
    All,
    /// Each is there or not, with this chance in a hundred of being there.
    Some(u64),
    /// The same for each 4 KiB of each write.
    Torn,
}

/// What an image was made of.
#[derive(Debug, Default)]
struct Lost {
    unflushed: usize,
    lost: usize,
}

/// Makes the image `to` from the state before the recording and the records before `cut`.
fn replay(base: &Path, log: &Path, records: &[Record], cut: usize, loss: Loss, dice: &mut Dice, to: &Path) -> Lost {
    sh("cp", &["--sparse=always", path(base), path(to)]);
    let (log, image) = (File::open(log).expect("the log"), File::options().write(true).open(to).expect("an image"));
    let mut flushed = [0; SLICES as usize];
    for (number, record) in records[..cut].iter().enumerate().filter(|(_, record)| record.is(FLUSH)) {
        flushed[record.slice()] = number;
    }
    let mut lost = Lost::default();
    for (number, record) in records[..cut].iter().enumerate() {
        if record.is(MARK) || record.sectors == 0 {
            continue;
        }
        let durable = record.is(FUA) || number < flushed[record.slice()];
        let put = |first: u64, sectors: u64| {
            let (from, at) = (record.data + first * SECTOR, (record.sector + first) * SECTOR);
            if record.is(DISCARD) {
                let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
                fallocate(&image, flags, at as i64, (sectors * SECTOR) as i64).expect("a hole");
            } else {
                let mut bytes = vec![0; (sectors * SECTOR) as usize];
                log.read_exact_at(&mut bytes, from).expect("as long as it says");
                image.write_all_at(&bytes, at).expect("room for it");
            }
        };
        if durable {
            put(0, record.sectors);
            continue;
        }
        lost.unflushed += 1;
        match loss {
            Loss::All => lost.lost += 1,
            Loss::Some(percent) if dice.roll(100) < percent => put(0, record.sectors),
            Loss::Some(_) => lost.lost += 1,
            Loss::Torn => {
                let parts: Vec<u64> = (0..record.sectors).step_by(8).filter(|_| dice.roll(2) == 0).collect();
                lost.lost += usize::from((parts.len() as u64) < record.sectors.div_ceil(8));
                parts.iter().for_each(|first| put(*first, 8.min(record.sectors - first)));
            }
        }
    }
    lost
}

impl Bench {
    /// Makes the group on the bare disk, records while everything grows `growths` times, and takes it down again.
    fn record(layout: Layout, growths: usize, seed: u64) -> (Bench, Vec<Target>, Vec<Record>) {
        let size = whole() * SECTOR / MIB;
        let group = Group::without_vg(NAME, &[&format!("{size}M"), "4G"]);
        let bare = format!("0 {} linear {} 0", whole(), group.loops[0]);
        let mut bench = Bench { group, below: Some(Below::new(&bare)) };
        let slices: Vec<String> = (0..SLICES).map(|slice| format!("/dev/mapper/{}", slice_name(slice))).collect();
        let copies = if layout == Layout::FirstOnly { "0" } else { "1" };
        sh("pvcreate", &["-qq", &slices[0]]);
        sh("pvcreate", &["-qq", "--pvmetadatacopies", copies, &slices[1], &slices[2]]);
        sh("vgcreate", &["-qq", NAME, &slices[0], &slices[1], &slices[2]]);
        // Or udev makes volumes active again as soon as a disk was written to.
        bench.group.no_autoactivation();
        let (state, rest) = if layout == Layout::FirstOnly { (1, 2) } else { (0, 0) };
        let on = |name: &str, arguments: &[&str], disks: &[usize]| {
            let disks: Vec<&str> = disks.iter().map(|disk| slices[*disk].as_str()).collect();
            sh("lvcreate", &[&["-qq", "-y", "-n", name], arguments, &[NAME], &disks[..]].concat());
        };
        // Which file system is on what is the seed's choice.
        let (one, other) = if seed.is_multiple_of(2) { ("ext4", "xfs") } else { ("xfs", "ext4") };
        on("state", &["-L", "64M"], &[state]);
        on("raid1", &["--type", "raid1", "-m", "1", "--nosync", "-L", small(one)], &[1, 2]);
        on("linear", &["-L", small(one)], &[2]);
        on("pool", &["--type", "thin-pool", "-L", "600M"], &[rest]);
        sh("lvcreate", &["-qq", "-y", "-n", "thin", "-V", small(other), "--thinpool", &format!("{NAME}/pool")]);
        bench.group.volume("state").mkfs("ext4");
        let mut targets: Vec<Target> = [("raid1", one), ("thin", other), ("linear", one)]
            .map(|(name, kind)| Target { volume: bench.group.volume(name), kind, sizes: vec![] })
            .into();
        targets.iter().for_each(|target| target.volume.mkfs(target.kind));
        bench.take_down(&[]);
        sh("cp", &["--sparse=always", path(&bench.disk()), path(&bench.base())]);

        let recorder = format!("0 {} log-writes {} {}", whole(), bench.group.loops[0], bench.group.loops[1]);
        bench.below = Some(Below::new(&recorder));
        bench.bring_up(&targets);
        let over = AtomicBool::new(false);
        let daemon = Daemon::start(&bench.group, &bench.config(&targets));
        thread::scope(|scope| {
            let mut demand = vec![];
            for target in &mut targets {
                let (volume, over) = (target.volume.clone(), &over);
                scope.spawn(move || write_files(&volume, over));
                let daemon = &daemon;
                demand.push(scope.spawn(move || grow(target, growths, daemon)));
            }
            demand.into_iter().for_each(|thread| thread.join().expect("every growth comes"));
            over.store(true, Relaxed);
        });
        daemon.kill();
        bench.take_down(&targets);
        let records = read_log(&bench.group.dir.join("disk1"));
        (bench, targets, records)
    }

    fn disk(&self) -> PathBuf {
        self.group.dir.join("disk0")
    }

    fn base(&self) -> PathBuf {
        self.group.dir.join("base")
    }

    fn config(&self, targets: &[Target]) -> String {
        config(&self.group, &targets.iter().map(|target| &target.volume).collect::<Vec<_>>(), SETTINGS)
    }

    /// What a host does when it boots.
    fn bring_up(&self, targets: &[Target]) {
        sh("vgchange", &["-qq", "-ay", NAME]);
        sh("udevadm", &["settle"]);
        self.group.mount(&self.group.volume("state"), &[]);
        targets.iter().for_each(|target| self.group.mount(&target.volume, &[]));
    }

    /// Unmounts what is mounted and takes the group and the slices away.
    fn take_down(&mut self, targets: &[Target]) {
        let points = targets.iter().map(|target| target.volume.mount_point.clone());
        for point in points.chain([self.group.dir.join("state")]) {
            try_sh("umount", &[path(&point)]);
        }
        let below = self.below.take().expect("it is up");
        // udev opens what was written to for a moment.
        for _ in 0..20 {
            try_sh("vgchange", &["-qq", "-an", NAME]);
            if below.remove() {
                return;
            }
            thread::sleep(Duration::from_millis(200));
        }
        panic!("{BELOW} is in use: {}", try_sh("dmsetup", &["ls", "--tree"]).1);
    }

    /// Cuts the power at a record, comes up again, and asserts that all that was promised before is kept. What became
    /// of it.
    fn cut(&mut self, targets: &[Target], records: &[Record], cut: usize, loss: Loss, dice: &mut Dice) -> Kept {
        let image = self.group.dir.join("image");
        let lost = replay(&self.base(), &self.group.dir.join("disk1"), records, cut, loss, dice, &image);
        let device = sh("losetup", &["-f", "--show", path(&image)]);
        self.below = Some(Below::new(&format!("0 {} linear {device} 0", whole())));
        self.bring_up(targets);

        let marks: Vec<&str> = records[..cut].iter().map(|record| record.mark.as_str()).collect();
        let marked = |target: &Target, what: &str| {
            let head = format!("{what}:{}", target.volume.lv);
            marks.iter().filter(|mark| mark.starts_with(&head)).count()
        };
        let state = Journal::peek(&self.group.dir.join("state")).expect("the journal can be read");
        let mut kept = Kept { lost, ..Kept::default() };
        for target in targets {
            let name: LvRef = target.volume.name().parse().expect("a name");
            let ended = |past: &&Past| past.lv.as_ref() == Some(&name) && past.result.as_str() == "grown";
            let grown = state.past.iter().filter(ended).count();
            let running = state.running.values().filter(|running| running.plan.lv == name).count();
            let pending = state.pending.values().filter(|pending| pending.lv == name).count();
            let refused = state.refused.iter().filter(|past| past.lv.as_ref() == Some(&name)).count();
            assert!(!state.parked.contains_key(&name), "nothing needed attention");
            assert!(grown >= marked(target, "grown"), "what the journal had as grown it still has: {state:?}");
            assert!(grown + running + pending + refused >= marked(target, "accepted"), "a 202 is on disk: {state:?}");
            kept.hits.push(format!("{} {}", target.volume.lv, position(&state, &target.volume)));
        }

        // It lies beside the state directory, on a disk that was not cut, and knows of what came after the cut.
        fs::remove_file(self.group.dir.join("state.witness")).expect("a daemon ran before");
        let daemon = Daemon::start(&self.group, &self.config(targets));
        daemon.wait_for("the end of what was interrupted", |daemon| {
            let state = daemon.journal();
            (state.running.is_empty() && state.pending.is_empty()).then_some(())
        });
        let log = daemon.log();
        let ended = daemon.journal();
        assert_eq!(daemon.metric("lvm_autoscaler_target_needs_attention", &[]), 0.0, "{log}");
        assert!(daemon.stop().success());
        kept.mended = log.contains("command=\"xfs_io ");

        for target in targets {
            let volume = &target.volume;
            // Those that were refused asked for nothing; there are none unless the machine is too busy to be looked at.
            let refused =
                ended.refused.iter().filter(|past| past.lv.as_ref().map(ToString::to_string) == Some(volume.name()));
            let accepted = marked(target, "accepted").saturating_sub(refused.count()).max(marked(target, "grown"));
            let (extents, df_size) = (volume.extents(), volume.df_size());
            // What df shows of an ext4 is without its own tables, which the kernel may count anew at a mount.
            let growths = target.sizes.iter().position(|size| size.0 == extents && size.1.abs_diff(df_size) < 2 * MIB);
            let growths = growths.unwrap_or_else(|| {
                panic!(
                    "{} has {extents} extents and {df_size} bytes, of {:?}; then:\n{log}",
                    volume.name(),
                    target.sizes
                )
            });
            assert!(
                (accepted..=marked(target, "grown") + 1).contains(&growths),
                "{}: {accepted} growths were accepted and {growths} are there; then:\n{log}",
                volume.name()
            );
            kept.grown += growths - marked(target, "grown").min(growths);
            for number in 0..marked(target, "file") as u64 {
                let file = volume.mount_point.join(format!("w/{number}"));
                compare(&file, number_of(volume) + number, 0, &[0; FILE]);
                kept.files += 1;
            }
            sh("umount", &[path(&volume.mount_point)]);
            let check: &[&str] = if target.kind == "xfs" { &["xfs_repair", "-n"] } else { &["e2fsck", "-f", "-n"] };
            sh(check[0], &[&check[1..], &[&volume.path()]].concat());
            if volume.lv == "raid1" {
                assert_legs_agree(volume);
            }
        }
        self.take_down(&[]);
        sh("losetup", &["-d", &device]);
        fs::remove_file(image).expect("ours");
        kept
    }
}

/// What a cut left.
#[derive(Default)]
struct Kept {
    lost: Lost,
    /// Where the cut hit each volume's operation, as far as the journal knows.
    hits: Vec<String>,
    /// Growths that ended after the cut.
    grown: usize,
    files: usize,
    /// The copies of an XFS's superblock were written anew.
    mended: bool,
}

/// Lets a volume grow so often, and marks in the record what was promised to whom.
fn grow(target: &mut Target, growths: usize, daemon: &Daemon) {
    let volume = &target.volume;
    target.sizes.push((volume.extents(), volume.df_size()));
    let body = payload(&labels(volume));
    for number in 1..=growths {
        volume.fill(FULL);
        // What is not on disk does not have to make it grow.
        sh("sync", &["-f", path(&volume.mount_point)]);
        // On a machine that is busy a look may fail, and the request is refused: Alertmanager would come again.
        let results =
            |result: &dyn Fn(&Past) -> bool| daemon.results(volume).iter().filter(|past| result(past)).count();
        let refused = |past: &Past| past.result.as_str() != "grown";
        while results(&|past| past.result.as_str() == "grown") < number {
            let before = results(&refused);
            let answer = http::post(daemon.address, "/webhook/alertmanager", &body).expect("an answer");
            assert_eq!(answer.status, 202, "{answer:?}");
            mark(&format!("accepted:{}", volume.lv));
            daemon.wait_for("an end", |_| {
                (results(&|past| past.result.as_str() == "grown") >= number || results(&refused) > before).then_some(())
            });
        }
        mark(&format!("grown:{}", volume.lv));
        target.sizes.push((volume.extents(), volume.df_size()));
    }
    let whole: Vec<u64> = target.sizes.iter().map(|size| size.0).collect();
    assert!(whole.windows(2).all(|pair| pair[1] == pair[0] + STEP), "{}: {whole:?}", volume.name());
}

/// Writes files, syncs each with its folder, and marks that in the record.
fn write_files(volume: &Volume, over: &AtomicBool) {
    let folder = volume.mount_point.join("w");
    fs::create_dir(&folder).expect("a folder");
    let sync = |at: &Path| File::open(at).and_then(|open| open.sync_all()).expect("on disk");
    sync(&volume.mount_point);
    // As many as fit beside what fills the smallest.
    for number in 0..80 {
        if over.load(Relaxed) {
            return;
        }
        let mut file = File::create(folder.join(number.to_string())).expect("a file");
        (0..FILE as u64).for_each(|at| file.write_all(&block(number_of(volume) + number, at, 0)).expect("room for it"));
        file.sync_all().expect("on disk");
        sync(&folder);
        mark(&format!("file:{}:{number}", volume.lv));
        thread::sleep(Duration::from_millis(100));
    }
}

/// Of the first of its files.
fn number_of(volume: &Volume) -> u64 {
    u64::from(crc32fast::hash(volume.lv.as_bytes()) & 0xFF) << 8
}

/// Asserts that both legs of a RAID1 hold the same, once they are in sync.
pub(crate) fn assert_legs_agree(volume: &Volume) {
    let wait_for = |field: &str, wanted: &str| {
        let began = Instant::now();
        while volume.lvs(field) != wanted {
            assert!(began.elapsed() < PATIENCE, "{} of {} is {}", field, volume.name(), volume.lvs(field));
            thread::sleep(Duration::from_millis(200));
        }
    };
    wait_for("sync_percent", "100.00");
    wait_for("raid_sync_action", "idle");
    sh("lvchange", &["-qq", "--syncaction", "check", &volume.name()]);
    thread::sleep(Duration::from_millis(300));
    wait_for("raid_sync_action", "idle");
    assert_eq!(volume.lvs("raid_mismatch_count"), "0", "the legs of {} differ", volume.name());
}

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn what_was_promised_outlives_disks_that_lose_their_cache() {
    let seed = part::seed("CACHES_SEED");
    let mut dice = Dice(seed);
    let (layouts, cuts, growths): (&[Layout], _, _) =
        if part::is_soak() { (&[Layout::FirstOnly, Layout::Everywhere], 25, 3) } else { (&[Layout::FirstOnly], 3, 1) };
    let (mut hits, mut total, mut unflushed, mut lost) = (BTreeMap::<String, usize>::new(), Kept::default(), 0, 0);
    let mut mended = 0;
    for layout in layouts {
        let (mut bench, targets, records) = Bench::record(*layout, growths, seed);
        let marks: Vec<(usize, &str)> = records
            .iter()
            .enumerate()
            .filter(|(_, record)| record.is(MARK))
            .map(|(at, record)| (at, record.mark.as_str()))
            .collect();
        part::say(&format!(
            "{layout:?}: {} records, {} marks, {} flushes",
            records.len(),
            marks.len(),
            records.iter().filter(|record| record.is(FLUSH)).count()
        ));
        let at = |what: &str| -> Vec<usize> {
            marks.iter().filter(|(_, mark)| mark.starts_with(what)).map(|(at, _)| *at).collect()
        };
        let (accepted, grown) = (at("accepted"), at("grown"));
        for number in 0..cuts {
            // The first when somebody has just seen that a growth was over; the rest in the middle of one.
            let cut = if number == 0 {
                dice.one_of(&grown) + 1
            } else {
                let begin = dice.one_of(&accepted);
                let end = *grown.iter().find(|end| **end > begin).expect("each ends");
                (begin.saturating_sub(20) + dice.roll((end + 40 - begin) as u64) as usize).min(records.len())
            };
            let loss = match dice.roll(5) {
                _ if number == 0 => Loss::All,
                0 => Loss::All,
                1 => Loss::Some(10),
                2 => Loss::Some(50),
                3 => Loss::Some(90),
                _ => Loss::Torn,
            };
            part::say(&format!("cut {number} at record {cut} of {}, {loss:?}", records.len()));
            let kept = bench.cut(&targets, &records, cut, loss, &mut dice);
            part::say(&format!(
                "  {}; {} of {} unflushed writes lost, {} files, {} growths ended after it",
                kept.hits.join(", "),
                kept.lost.lost,
                kept.lost.unflushed,
                kept.files,
                kept.grown
            ));
            kept.hits.into_iter().for_each(|hit| *hits.entry(hit).or_default() += 1);
            (total.files, total.grown) = (total.files + kept.files, total.grown + kept.grown);
            (unflushed, lost, mended) =
                (unflushed + kept.lost.unflushed, lost + kept.lost.lost, mended + usize::from(kept.mended));
        }
    }
    hits.iter().for_each(|(hit, count)| part::say(&format!("  {hit:30} {count:4}")));
    part::say(&format!(
        "figures: {} power cuts with caches lost, {lost} of {unflushed} unflushed writes lost, {} synced files intact, {} growths ended after a cut, copies of an XFS superblock written anew after {mended} (CACHES_SEED={seed})",
        layouts.len() * cuts,
        total.files,
        total.grown
    ));
}
