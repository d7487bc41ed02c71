//! Volume groups on loop devices, volumes and file systems in them, and how they look to `lvs`, `df` and `statvfs`.
//!
//! Everything a test makes carries its name and lies in a folder of that name on a tmpfs; dropping the [`Group`] takes
//! it away again, after a panic too.

use std::fs::{self, File};
use std::io::Write;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Command;

use lvm_autoscaler::inventory::mounts;
use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};
use nix::mount::{MntFlags, umount2};
use nix::sys::statvfs::statvfs;

/// The size of an extent in every group made here, LVM's own default.
pub(crate) const EXTENT: u64 = 4 << 20;
pub(crate) const MIB: u64 = 1 << 20;

/// Refuses to go on anywhere but in the virtual machine: what these tests do would harm a real one.
pub(crate) fn only_in_the_guest() {
    let guest = std::env::var_os("LVM_AUTOSCALER_VM").is_some_and(|value| value == "1");
    assert!(guest && nix::unistd::geteuid().is_root(), "runs only in the virtual machine: make vm-test");
}

/// Runs a program that must succeed; its standard output without the last newline.
pub(crate) fn sh(program: &str, arguments: &[&str]) -> String {
    let (ok, out, err) = try_sh(program, arguments);
    assert!(ok, "{program} {} failed: {err}{out}", arguments.join(" "));
    out.trim_end().to_owned()
}

/// Runs a program; whether it succeeded, what it said and what it complained about.
pub(crate) fn try_sh(program: &str, arguments: &[&str]) -> (bool, String, String) {
    let output = Command::new(program).args(arguments).env("LC_ALL", "C").env("LVM_SUPPRESS_FD_WARNINGS", "1").output();
    let output = output.unwrap_or_else(|error| panic!("{program} cannot be run: {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.success(), text(&output.stdout), text(&output.stderr))
}

/// A volume group of its own, with a folder for whatever else the test needs.
pub(crate) struct Group {
    pub(crate) name: String,
    pub(crate) dir: PathBuf,
    pub(crate) loops: Vec<String>,
    mounts: std::sync::Mutex<Vec<PathBuf>>,
}

impl Group {
    /// Makes a group of sparse disks of these sizes, which may be larger than the machine's memory.
    pub(crate) fn new(name: &str, disks: &[&str]) -> Group {
        let group = Group::without_vg(name, disks);
        let disks: Vec<&str> = group.loops.iter().map(String::as_str).collect();
        sh("vgcreate", &[&["-qq", name], &disks[..]].concat());
        group
    }

    /// Only the disks.
    pub(crate) fn without_vg(name: &str, disks: &[&str]) -> Group {
        only_in_the_guest();
        let dir = Path::new("/tmp").join(name);
        fs::create_dir(&dir).expect("a folder of its own");
        let mut group = Group { name: name.to_owned(), dir, loops: vec![], mounts: Default::default() };
        for (number, size) in disks.iter().enumerate() {
            let file = group.dir.join(format!("disk{number}"));
            sh("truncate", &["-s", size, path(&file)]);
            group.loops.push(sh("losetup", &["-f", "--show", path(&file)]));
        }
        group
    }

    /// Adds a disk with logical blocks of 4096 bytes, the others having 512; LVM wants to be told that this is meant.
    pub(crate) fn add_coarse_disk(&mut self, size: &str) -> String {
        let file = self.dir.join("coarse");
        sh("truncate", &["-s", size, path(&file)]);
        let disk = sh("losetup", &["-f", "--show", "--sector-size", "4096", path(&file)]);
        self.loops.push(disk.clone());
        sh("vgextend", &["-qq", "--config", "devices/allow_mixed_block_sizes=1", &self.name, &disk]);
        disk
    }

    /// Takes what is left on a disk.
    pub(crate) fn fill_disk(&self, disk: &str) {
        let name = format!("rest_{}", disk.rsplit('/').next().expect("a name"));
        sh("lvcreate", &["-qq", "-y", "-Wn", "-Zn", "-l", "100%PVS", "-n", &name, &self.name, disk]);
    }

    /// Makes a linear volume.
    pub(crate) fn lv(&self, name: &str, size: &str) -> Volume {
        self.lv_as(name, &["-L", size])
    }

    /// Makes a volume as these arguments of `lvcreate` say.
    pub(crate) fn lv_as(&self, name: &str, arguments: &[&str]) -> Volume {
        sh("lvcreate", &[&["-qq", "-y", "-n", name], arguments, &[&self.name]].concat());
        self.volume(name)
    }

    /// A volume that is there already.
    pub(crate) fn volume(&self, name: &str) -> Volume {
        Volume { vg: self.name.clone(), lv: name.to_owned(), mount_point: self.dir.join(name) }
    }

    /// Makes a linear volume with a file system, mounted at its [`Volume::mount_point`].
    pub(crate) fn filesystem(&self, kind: &str, name: &str, size: &str) -> Volume {
        let volume = self.lv(name, size);
        volume.mkfs(kind);
        self.mount(&volume, &[]);
        volume
    }

    /// Mounts a volume at its mount point.
    pub(crate) fn mount(&self, volume: &Volume, options: &[&str]) {
        fs::create_dir_all(&volume.mount_point).expect("a mount point");
        sh("mount", &[options, &[&volume.path(), path(&volume.mount_point)]].concat());
        self.mounts.lock().expect("no panic").push(volume.mount_point.clone());
    }

    /// All that LVM and device-mapper know about the group, and what is mounted: equal before and after means that
    /// nothing was changed. LVM counts every change of a group's metadata in `vg_seqno`.
    pub(crate) fn fingerprint(&self) -> String {
        let vg = try_sh("vgs", &["--noheadings", "-o", "vg_seqno,vg_free_count,vg_attr", "--", &self.name]).1;
        let lvs = try_sh("lvs", &["-a", "--noheadings", "-o", "lv_name,lv_size,lv_attr,devices", "--", &self.name]).1;
        let table = sh("dmsetup", &["table"]);
        let prefix = self.name.replace('-', "--") + "-";
        let table: Vec<&str> = table.lines().filter(|line| line.starts_with(&prefix)).collect();
        let mounts = fs::read("/proc/self/mounts").expect("mounts");
        let mounts = String::from_utf8_lossy(&mounts);
        let dir = format!(" {}/", path(&self.dir));
        let mounts: Vec<&str> = mounts.lines().filter(|line| line.contains(&dir)).collect();
        let sizes: Vec<String> =
            self.mounts.lock().expect("no panic").iter().map(|at| format!("{at:?} {}", size_of(at))).collect();
        [vg, lvs, table.join("\n"), mounts.join("\n"), sizes.join("\n")].join("\n")
    }

    /// Keeps udev from making volumes active again whenever a command has written to one of the disks. LVM 2.03.11 has
    /// neither this option nor that rule.
    pub(crate) fn no_autoactivation(&self) {
        try_sh("vgchange", &["-qq", "--setautoactivation", "n", &self.name]);
        sh("udevadm", &["settle"]);
    }

    /// Removes what daemons remembered here, so that the next one knows of no refusal and no cooldown.
    pub(crate) fn forget(&self) {
        fs::remove_dir_all(self.dir.join("state")).expect("a state directory");
        fs::remove_file(self.dir.join("state.witness")).expect("a witness");
    }

    /// Detaches a disk, as if it had been pulled out.
    pub(crate) fn lose_disk(&self, number: usize) {
        sh("losetup", &["-d", &self.loops[number]]);
        sh("udevadm", &["settle"]);
    }
}

impl Drop for Group {
    /// Takes away what can be taken away; on the way out of a panic there is nobody to tell about the rest.
    fn drop(&mut self) {
        let (mounts, _) = mounts::parse(&fs::read("/proc/self/mountinfo").unwrap_or_default());
        for place in mounts.iter().rev().map(|mount| mount.mount_point.as_path()) {
            if place.starts_with(&self.dir) || self.mounts.lock().expect("no panic").iter().any(|own| own == place) {
                let _ = umount2(place, MntFlags::MNT_DETACH);
            }
        }
        try_sh("vgchange", &["-qq", "-an", "--", &self.name]);
        // What LVM does not let go of (a lost disk, a suspended volume), device-mapper does; the topmost layer first.
        let prefix = self.name.replace('-', "--") + "-";
        for _ in 0..4 {
            let names = try_sh("dmsetup", &["ls"]).1;
            let ours: Vec<&str> = names
                .lines()
                .filter_map(|line| line.split_whitespace().next())
                .filter(|n| n.starts_with(&prefix))
                .collect();
            if ours.is_empty() {
                break;
            }
            for name in ours {
                try_sh("dmsetup", &["resume", name]);
                try_sh("dmsetup", &["remove", name]);
            }
        }
        for device in &self.loops {
            try_sh("losetup", &["-d", device]);
        }
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Settings added to LVM's own; dropping this takes them away again.
pub(crate) struct LocalConf(String);

const LOCAL_CONF: &str = "/etc/lvm/lvmlocal.conf";

impl LocalConf {
    pub(crate) fn with(settings: &str) -> LocalConf {
        let kept = fs::read_to_string(LOCAL_CONF).unwrap_or_default();
        fs::write(LOCAL_CONF, format!("{kept}\n{settings}\n")).expect("a config file");
        LocalConf(kept)
    }
}

impl Drop for LocalConf {
    fn drop(&mut self) {
        let _ = fs::write(LOCAL_CONF, &self.0);
    }
}

/// A logical volume and where it is to be mounted.
#[derive(Clone)]
pub(crate) struct Volume {
    pub(crate) vg: String,
    pub(crate) lv: String,
    pub(crate) mount_point: PathBuf,
}

impl Volume {
    /// `/dev/vg/lv`
    pub(crate) fn path(&self) -> String {
        format!("/dev/{}/{}", self.vg, self.lv)
    }

    /// `vg/lv`
    pub(crate) fn name(&self) -> String {
        format!("{}/{}", self.vg, self.lv)
    }

    /// Makes a file system, the quick way.
    pub(crate) fn mkfs(&self, kind: &str) {
        sh(&format!("mkfs.{kind}"), &["-q", &self.path()]);
    }

    /// A field of `lvs`, sizes in bytes.
    pub(crate) fn lvs(&self, field: &str) -> String {
        sh("lvs", &["--noheadings", "--units", "b", "--nosuffix", "-o", field, "--", &self.name()]).trim().to_owned()
    }

    /// Its size in extents, as LVM has it.
    pub(crate) fn extents(&self) -> u64 {
        let bytes: u64 = self.lvs("lv_size").parse().expect("a number");
        assert_eq!(bytes % EXTENT, 0);
        bytes / EXTENT
    }

    /// The size of the file system, as `df` shows it.
    pub(crate) fn df_size(&self) -> u64 {
        size_of(&self.mount_point)
    }

    /// Its usage in percent, as `df` counts it.
    pub(crate) fn df_percent(&self) -> f64 {
        let vfs = statvfs(&self.mount_point).expect("statvfs");
        let used = (vfs.blocks() - vfs.blocks_free()) as f64;
        100.0 * used / (used + vfs.blocks_available() as f64)
    }

    /// Allocates blocks until the usage is at least this; blocks that are only allocated need no memory here.
    pub(crate) fn fill(&self, percent: f64) {
        let vfs = statvfs(&self.mount_point).expect("statvfs");
        let used = (vfs.blocks() - vfs.blocks_free()) as f64;
        let whole = used + vfs.blocks_available() as f64;
        let missing = ((whole * percent / 100.0 - used) * vfs.fragment_size() as f64) as i64;
        let already = fs::metadata(self.mount_point.join("fill")).map_or(0, |meta| meta.len() as i64);
        let file = File::options().create(true).append(true).open(self.mount_point.join("fill")).expect("a file");
        if missing > 0 {
            match fallocate(file.as_fd(), FallocateFlags::empty(), already, missing) {
                // An ext without extents has no such call.
                Err(Errno::EOPNOTSUPP) => {
                    (&file).write_all(&vec![0; missing as usize]).expect("room for it");
                    file.sync_all().expect("on disk");
                }
                done => done.expect("room for it"),
            }
        }
        assert!(self.df_percent() > percent - 1.0, "{} is only {} % full", self.name(), self.df_percent());
    }

    /// Every file but what only fills, and what is in it, read from the device.
    pub(crate) fn files(&self) -> String {
        sh("sync", &["-f", path(&self.mount_point)]);
        fs::write("/proc/sys/vm/drop_caches", "3").expect("root may");
        let list =
            format!("cd '{}' && find . -type f ! -name 'fill*' -exec sha256sum {{}} + | sort", path(&self.mount_point));
        sh("sh", &["-c", &list])
    }

    /// Unmounts it and runs the checker of its file system, which must find nothing and changes nothing.
    pub(crate) fn unmount_and_check(&self, kind: &str) {
        self.unmount_and_check_on(kind, &self.path());
    }

    /// The same where the file system is not on the volume itself.
    pub(crate) fn unmount_and_check_on(&self, kind: &str, device: &str) {
        sh("umount", &[path(&self.mount_point)]);
        match kind {
            "xfs" => sh("xfs_repair", &["-n", device]),
            "btrfs" => sh("btrfs", &["check", device]),
            _ => sh("e2fsck", &["-f", "-n", device]),
        };
    }

    /// Writes a few megabytes that are no pattern, and remembers their checksum.
    pub(crate) fn write_data(&self) -> Data {
        let file = self.mount_point.join("data");
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        let bytes: Vec<u8> = (0..MIB / 2)
            .flat_map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state.to_le_bytes()
            })
            .collect();
        let mut out = File::create(&file).expect("a file");
        out.write_all(&bytes).expect("room for it");
        out.sync_all().expect("on disk");
        Data { checksum: crc32fast::hash(&bytes), file }
    }
}

/// A file with known contents.
pub(crate) struct Data {
    file: PathBuf,
    checksum: u32,
}

impl Data {
    /// It still holds what was written, read from the device and not from the page cache.
    pub(crate) fn assert_intact(&self) {
        fs::write("/proc/sys/vm/drop_caches", "1").expect("root may");
        let bytes = fs::read(&self.file).expect("the file is there");
        assert_eq!(crc32fast::hash(&bytes), self.checksum, "{} has other contents now", self.file.display());
    }
}

fn size_of(mount_point: &Path) -> u64 {
    statvfs(mount_point).map_or(0, |vfs| vfs.blocks() * vfs.fragment_size())
}

pub(crate) fn path(path: &Path) -> &str {
    path.to_str().expect("text")
}
