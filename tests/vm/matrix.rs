//! Kinds of file systems on kinds of volumes: each grown by the program and, on a twin, by hand with plain `lvextend`
//! and the file system's own tool. Either both end alike, or the program refuses what by hand fails, harms, or is one
//! of [`LIMITS`]. `make soak` does all of them, `make test` some.
//!
//! A cell alone: `SOAK=1 MATRIX_ROW="bigalloc" tests/vm/run.sh matrix::`

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use crate::daemon::program;
use crate::part::{Dice, given, is_soak, say, seed};
use crate::storage::{Group, Volume, path, sh, try_sh};

/// Large enough for the log of an XFS, 64 MiB, to fit into one of the sixteen allocation groups that mkfs.xfs makes on
/// stripes.
const SIZE: &str = "1536M";
const EXTENTS: u64 = 384;
const MORE: u64 = 48;
/// So many cells take less than three minutes, emulated.
const SAMPLE: usize = 12;

/// Refused although it works by hand, each with its reason in docs/what-grows.md.
const LIMITS: &[(&str, &str)] = &[];

/// A way to make a file system. `AUX` stands for a further volume.
struct Made {
    name: &'static str,
    kind: &'static str,
    mkfs: &'static str,
    mount: &'static str,
    /// What is done to it before it is mounted; `DEV` is its volume.
    spoil: &'static str,
}

const fn ext(name: &'static str, mkfs: &'static str) -> Made {
    Made { name, kind: "ext4", mkfs, mount: "", spoil: "" }
}

const fn xfs(name: &'static str, mkfs: &'static str, mount: &'static str) -> Made {
    Made { name, kind: "xfs", mkfs, mount, spoil: "" }
}

const fn btrfs(name: &'static str, mkfs: &'static str) -> Made {
    Made { name, kind: "btrfs", mkfs, mount: "", spoil: "" }
}

const FILE_SYSTEMS: &[Made] = &[
    ext("ext4", "-t ext4 -b 4096"),
    ext("ext4, 1 KiB blocks", "-t ext4 -b 1024"),
    ext("ext4, 2 KiB blocks", "-t ext4 -b 2048"),
    ext("ext4 ^resize_inode", "-t ext4 -b 4096 -O ^resize_inode"),
    ext("ext4 ^resize_inode,^64bit", "-t ext4 -b 4096 -O ^resize_inode,^64bit"),
    ext("ext4 sparse_super2", "-t ext4 -b 4096 -O sparse_super2"),
    ext("ext4 sparse_super2,^resize_inode", "-t ext4 -b 4096 -O sparse_super2,^resize_inode"),
    ext("ext4 bigalloc", "-t ext4 -b 4096 -O bigalloc -C 65536"),
    ext("ext4 meta_bg,^resize_inode", "-t ext4 -b 4096 -O meta_bg,^resize_inode"),
    ext("ext4 mmp", "-t ext4 -b 4096 -O mmp"),
    ext("ext4 ^has_journal", "-t ext4 -b 4096 -O ^has_journal"),
    ext("ext4 stable_inodes,encrypt,casefold", "-t ext4 -b 4096 -O stable_inodes,encrypt,casefold"),
    Made {
        mount: "usrquota,grpquota,prjquota",
        ..ext("ext4 quota,project", "-t ext4 -b 4096 -O quota,project -E quotatype=usrquota:grpquota:prjquota")
    },
    ext("ext4 orphan_file,fast_commit", "-t ext4 -b 4096 -O orphan_file,fast_commit"),
    ext("ext4 ^flex_bg,^metadata_csum,uninit_bg", "-t ext4 -b 4096 -O ^flex_bg,^metadata_csum,uninit_bg"),
    ext("ext4 ^sparse_super,^resize_inode", "-t ext4 -b 4096 -O ^sparse_super,^resize_inode"),
    ext("ext4 inline_data,large_dir,ea_inode", "-t ext4 -b 4096 -I 512 -O inline_data,large_dir,ea_inode"),
    ext("ext4, 128-byte inodes, ^extent", "-t ext4 -b 4096 -I 128 -O ^extent,^64bit,^metadata_csum"),
    ext("ext4, journal on another device", "-t ext4 -b 4096 -J device=AUX"),
    Made { spoil: "debugfs -w -R 'ssv state 3' DEV", ..ext("ext4, error flagged", "-t ext4 -b 4096") },
    Made { mount: "-text3", ..ext("ext3", "-t ext3 -b 4096") },
    ext("ext3 as ext4", "-t ext3 -b 4096"),
    Made { mount: "-text2", ..ext("ext2", "-t ext2 -b 4096") },
    ext("ext2 as ext4, 1 KiB blocks", "-t ext2 -b 1024"),
    xfs("xfs", "", ""),
    xfs("xfs, 4096-byte sectors", "-s size=4096", ""),
    xfs("xfs, 20 allocation groups", "-d agcount=20", ""),
    xfs("xfs, 16 MiB groups, quotas", "-d agsize=16m -l logdev=AUX", "logdev=AUX,uquota,pquota"),
    xfs("xfs, log on another device", "-l logdev=AUX", "logdev=AUX"),
    xfs("xfs, realtime device", "-r rtdev=AUX", "rtdev=AUX"),
    xfs("xfs rmapbt, stripes", "-m rmapbt=1 -d su=64k,sw=2", ""),
    xfs("xfs, version 4", "-m crc=0", ""),
    btrfs("btrfs", "-m single -d single"),
    btrfs("btrfs, dup metadata", "-m dup"),
    btrfs("btrfs, mixed", "--mixed"),
];

const LAYOUTS: [&str; 5] = ["linear", "striped", "raid1", "thin", "mixed sectors"];

/// A group in which volumes of a layout are made, two at a time.
struct Ground {
    layout: &'static str,
    group: Group,
}

impl Ground {
    fn new(layout: &'static str) -> Ground {
        let name = format!("vmm_{}", layout.replace(' ', "_"));
        let mut group = match layout {
            // Both volumes and what is beside them, and nothing more.
            "mixed sectors" => Group::new(&name, &["3236M"]),
            _ => Group::new(&name, &["8G", "8G"]),
        };
        for name in ["aux0", "aux1"] {
            group.lv(name, "80M");
        }
        match layout {
            "thin" => {
                let pool = ["-qq", "-y", "--type", "thin-pool", "-L", "6G", "-n", "pool", &group.name];
                sh("lvcreate", &pool);
            }
            "mixed sectors" => {
                group.add_coarse_disk("8G");
            }
            _ => {}
        }
        Ground { layout, group }
    }

    fn volume(&self, name: &str) -> Volume {
        match self.layout {
            "linear" => self.group.lv(name, SIZE),
            "striped" => self.group.lv_as(name, &["-i", "2", "-L", SIZE]),
            // Two of such a size would have to be copied first; what counts is that LVM takes them for being in sync.
            "raid1" => self.group.lv_as(name, &["--type", "raid1", "-m", "1", "--nosync", "-L", SIZE]),
            "thin" => self.group.lv_as(name, &["-V", SIZE, "--thinpool", "pool"]),
            _ => {
                sh("lvcreate", &["-qq", "-y", "-L", SIZE, "-n", name, &self.group.name, &self.group.loops[0]]);
                self.group.volume(name)
            }
        }
    }
}

/// A volume with a mounted file system and a file on it.
struct Side<'a> {
    ground: &'a Ground,
    made: &'a Made,
    volume: Volume,
    aux: String,
}

/// What became of a file system: why it is not as it should be.
type Fate = Result<(), String>;

/// Runs a command line with a bound; what it complains about is cut to a line.
fn attempt(line: &str) -> Fate {
    let (ok, out, err) = try_sh("timeout", &["60", "sh", "-c", line]);
    let said = format!("{err}\n{out}");
    let mut said = said.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("resize2fs 1."));
    let first = said.next().unwrap_or("no word").chars().take(100).collect::<String>();
    if ok { Ok(()) } else { Err(format!("{}: {first}", line.split(' ').next().unwrap_or(line))) }
}

impl<'a> Side<'a> {
    fn new(ground: &'a Ground, made: &'a Made, number: usize) -> Side<'a> {
        let volume = ground.volume(["ours", "twin"][number]);
        let side = Side { ground, made, volume, aux: ground.group.volume(&format!("aux{number}")).path() };
        let mkfs = match made.kind {
            "xfs" => "mkfs.xfs -q -f",
            "btrfs" => "mkfs.btrfs -q -f",
            _ => "mke2fs -q -F",
        };
        if made.mkfs.contains("-J device") {
            sh("mke2fs", &["-q", "-F", "-b", "4096", "-O", "journal_dev", &side.aux]);
        }
        side.must(&format!("{mkfs} {} DEV", made.mkfs));
        if !made.spoil.is_empty() {
            side.must(made.spoil);
        }
        fs::create_dir_all(&side.volume.mount_point).expect("a mount point");
        side.mount().unwrap_or_else(|why| panic!("{}: {why}", made.name));
        fs::write(side.volume.mount_point.join("file"), side.contents()).expect("room for it");
        side
    }

    fn contents(&self) -> String {
        "what must not be lost\n".repeat(10_000)
    }

    fn line(&self, line: &str) -> String {
        line.replace("DEV", &self.volume.path()).replace("AUX", &self.aux)
    }

    fn must(&self, line: &str) {
        attempt(&self.line(line)).unwrap_or_else(|why| panic!("{} on {}: {why}", self.made.name, self.ground.layout));
    }

    fn mount(&self) -> Fate {
        let options = match self.made.mount {
            "" => String::new(),
            kind if kind.starts_with("-t") => kind.to_owned(),
            options => format!("-o {options}"),
        };
        attempt(&self.line(&format!("mount {options} DEV {}", path(&self.volume.mount_point))))
    }

    /// Extents of the volume, size of the file system.
    fn sizes(&self) -> (u64, u64) {
        (self.volume.extents(), self.volume.df_size())
    }

    /// By hand, as every handbook has it.
    fn grow(&self) -> Fate {
        attempt(&self.line(&format!("lvextend -qq -l +{MORE} DEV")))?;
        let point = path(&self.volume.mount_point);
        attempt(&self.line(&match self.made.kind {
            "xfs" => format!("xfs_growfs {point}"),
            "btrfs" => format!("btrfs filesystem resize max {point}"),
            _ => "resize2fs DEV".to_owned(),
        }))
    }

    /// Unmounted, checked, mounted again and read.
    fn proof(&self) -> Fate {
        attempt(&format!("umount {}", path(&self.volume.mount_point)))?;
        attempt(&self.line(&match self.made.kind {
            "xfs" if self.made.mkfs.contains("logdev") => "xfs_repair -n -l AUX DEV".to_owned(),
            "xfs" if self.made.mkfs.contains("rtdev") => "xfs_repair -n -r AUX DEV".to_owned(),
            "xfs" => "xfs_repair -n DEV".to_owned(),
            "btrfs" => "btrfs check DEV".to_owned(),
            // It clears the flag and exits with 1.
            _ if !self.made.spoil.is_empty() => "e2fsck -f -p DEV || test $? = 1".to_owned(),
            _ => "e2fsck -f -n DEV".to_owned(),
        }))?;
        self.mount()?;
        match fs::read_to_string(self.volume.mount_point.join("file")) {
            Ok(text) if text == self.contents() => Ok(()),
            Ok(_) => Err("other contents".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }
}

impl Drop for Side<'_> {
    fn drop(&mut self) {
        try_sh("umount", &[path(&self.volume.mount_point)]);
    }
}

/// Exit code, result or code of the refusal, and the line that was printed.
fn ours(side: &Side<'_>) -> (Option<i32>, String, String) {
    let group = &side.ground.group;
    let _ = fs::remove_dir_all(group.dir.join("state"));
    // And what remembers that there was one.
    let _ = fs::remove_file(group.dir.join("state.witness"));
    let config = format!(
        "defaults: {{ cooldown: 0s }}\nstate: {{ directory: {} }}\nmonitor:\n  targets:\n    - lv_path: {}\n      mount_point: {:?}\n",
        path(&group.dir.join("state")),
        side.volume.path(),
        path(&side.volume.mount_point)
    );
    let file = group.dir.join("config.yaml");
    fs::write(&file, config).expect("a config file");
    let by = format!("--by={}MiB", MORE * 4);
    let file = format!("--config.file={}", path(&file));
    let output =
        Command::new(program()).args(["--log.level=error", "extend", &side.volume.name(), &by, &file]).output();
    let output = output.expect("it runs");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    let result = said.strip_prefix(&format!("{}: ", side.volume.name())).unwrap_or(&said);
    let result = result.strip_prefix("refused: ").unwrap_or(result).split([':', ' ']).next().unwrap_or("").to_owned();
    (output.status.code(), result, said.trim().to_owned())
}

/// What stands in the table, or what is wrong.
fn cell(ground: &Ground, made: &Made) -> Result<String, String> {
    let (own, twin) = (Side::new(ground, made, 0), Side::new(ground, made, 1));
    let before = own.sizes();
    assert_eq!((before.0, twin.sizes()), (EXTENTS, before), "twins");
    let (code, result, said) = ours(&own);
    let after = own.sizes();
    let by_hand = twin.grow().map(|()| twin.sizes());
    // What is harmed only shows when it is mounted again.
    let by_hand = by_hand.and_then(|sizes| twin.proof().map(|()| sizes));
    let proof = own.proof();
    let verdict = match (code, &by_hand) {
        _ if proof.is_err() => Err(format!("harmed: {proof:?}")),
        (Some(0), Ok(sizes)) if *sizes == after && after.0 == EXTENTS + MORE && after.1 > before.1 => {
            Ok("grows".to_owned())
        }
        (Some(0), _) => Err(format!("grew from {before:?} to {after:?}")),
        (Some(3), _) if after != before => Err(format!("refused, and is {after:?} and not {before:?}")),
        (Some(3), Err(why)) => Ok(format!("{result} ({why})")),
        (Some(3), Ok(_)) if LIMITS.contains(&(made.name, &result)) => Ok(format!("{result} (a limit)")),
        _ => Err("neither grown nor rightly refused".to_owned()),
    };
    drop((own, twin));
    let (ours, twin) = (ground.group.volume("ours"), ground.group.volume("twin"));
    // The disks are files in the memory of the machine, which must not hold what all cells have written.
    for volume in [&ours, &twin] {
        sh("blkdiscard", &["-f", &volume.path()]);
    }
    sh("lvremove", &["-qq", "-f", &ours.name(), &twin.name()]);
    verdict.map_err(|wrong| {
        format!("{} on {}: {wrong}; by hand {by_hand:?}; ours {code:?} {said}", made.name, ground.layout)
    })
}

/// The cells to do, by layout.
fn chosen() -> BTreeMap<usize, Vec<&'static Made>> {
    let row = std::env::var("MATRIX_ROW").unwrap_or_default();
    let mut rows: Vec<&Made> = FILE_SYSTEMS.iter().filter(|made| made.name.contains(&row)).collect();
    if is_soak() && given("MATRIX_SEED").is_none() {
        return (0..LAYOUTS.len()).map(|layout| (layout, rows.clone())).collect();
    }
    let mut dice = Dice(seed("MATRIX_SEED"));
    let mut cells = BTreeMap::<usize, Vec<&Made>>::new();
    for number in 0..SAMPLE.min(rows.len()) {
        let row = rows.swap_remove(dice.roll(rows.len() as u64) as usize);
        cells.entry(number % LAYOUTS.len()).or_default().push(row);
    }
    cells
}

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn what_grows_by_hand_grows_alike_and_what_is_refused_fails_by_hand() {
    let (mut done, mut wrong, mut refused) = (0, vec![], 0);
    for (layout, rows) in chosen() {
        let ground = Ground::new(LAYOUTS[layout]);
        for made in rows {
            let verdict = cell(&ground, made);
            let text = verdict.as_ref().map_or_else(|wrong| format!("WRONG: {wrong}"), String::clone);
            say(&format!("matrix: {:38} {:14} {text}", made.name, ground.layout));
            refused += usize::from(verdict.as_ref().is_ok_and(|text| text != "grows"));
            wrong.extend(verdict.err());
            done += 1;
        }
    }
    say(&format!("figures: {done} cells, {} grow, {refused} are rightly refused", done - refused - wrong.len()));
    assert_eq!(wrong, Vec::<String>::new());
}
