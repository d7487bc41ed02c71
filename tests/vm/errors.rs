//! The disk under a volume group fails in the middle: a person is told what to do, and nothing else is touched.
//!
//! Between the loop device and the PV lies a device of device-mapper, a part of which can be made to fail (dm-error)
//! and to work again.

use std::path::Path;

use crate::daemon::{Daemon, config, labels, script};
use crate::grow::{assert_grown_once, small};
use crate::storage::{Data, Group, MIB, Volume, path, sh};

/// 512 bytes each.
const SECTORS_PER_MIB: u64 = 2048;
const DISK: u64 = 1024;

/// A group on a disk that can be broken, with another volume in it, and another group beside it.
struct Bench {
    group: Group,
    other: Group,
    volume: Volume,
    /// What must stay as it is.
    bystanders: Vec<(Volume, Data)>,
}

impl Bench {
    fn new(name: &str, kind: &str) -> Bench {
        let group = Group::without_vg(name, &[&format!("{}M", DISK + 1)]);
        sh("dmsetup", &["create", &under(&group), "--table", &linear(&group, 0, DISK)]);
        sh("vgcreate", &["-qq", name, &format!("/dev/mapper/{}", under(&group))]);
        let other = Group::new(&format!("{name}_other"), &["256M"]);
        let beside = group.filesystem("ext4", "beside", "64M");
        let volume = group.filesystem(kind, "data", small(kind));
        let elsewhere = other.filesystem("ext4", "data", "64M");
        volume.fill(82.0);
        let bystanders = [beside, elsewhere].map(|volume| (volume.clone(), volume.write_data())).into();
        Bench { group, other, volume, bystanders }
    }

    /// A script that breaks the disk from `from` MiB on and then runs the program.
    fn breaking(&self, tool: &str, pattern: &str, from: u64, program: &str) -> String {
        let table = self.group.dir.join("broken");
        let sound = linear(&self.group, 0, from);
        let rest = format!("{} {} error\n", from * SECTORS_PER_MIB, (DISK - from) * SECTORS_PER_MIB);
        std::fs::write(&table, if from == 0 { rest } else { format!("{sound}\n{rest}") }).expect("a table");
        let under = under(&self.group);
        let text = format!(
            "case $1 in {pattern}) dmsetup suspend --nolockfs {under}; dmsetup reload {under} {}; dmsetup resume {under} ;; esac\n\
             exec {program} \"$@\"\n",
            path(&table)
        );
        script(&self.group.dir, tool, &text)
    }

    fn heal(&self) {
        let under = under(&self.group);
        sh("dmsetup", &["suspend", "--nolockfs", &under]);
        sh("dmsetup", &["reload", &under, "--table", &linear(&self.group, 0, DISK)]);
        sh("dmsetup", &["resume", &under]);
    }

    /// Where the volume that grows ends on the disk, in MiB.
    fn end(&self) -> u64 {
        // The first extent begins 1 MiB into the disk.
        let used = sh(
            "pvs",
            &[
                "--noheadings",
                "--units",
                "m",
                "--nosuffix",
                "-o",
                "pv_used",
                &format!("/dev/mapper/{}", under(&self.group)),
            ],
        );
        used.trim().parse::<f64>().expect("a number") as u64 + 1
    }

    fn assert_bystanders(&self) {
        for (volume, data) in &self.bystanders {
            assert_eq!(volume.df_size() / MIB, self.bystanders[0].0.df_size() / MIB, "{}", volume.name());
            assert_eq!(volume.extents(), 16, "{}", volume.name());
            data.assert_intact();
        }
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        for group in [&self.group, &self.other] {
            let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
            for at in mounts
                .lines()
                .filter_map(|line| line.split(' ').nth(1))
                .filter(|at| Path::new(at).starts_with(&group.dir))
            {
                let _ = crate::storage::try_sh("umount", &["-l", at]);
            }
        }
        crate::storage::try_sh("vgchange", &["-qq", "-an", &self.group.name]);
        crate::storage::try_sh("dmsetup", &["remove", "--retry", &under(&self.group)]);
    }
}

/// Not `NAME-...`: that prefix means the volumes of the group.
fn under(group: &Group) -> String {
    format!("under_{}", group.name)
}

/// A table that leads `from` up to `to` MiB to the loop device.
fn linear(group: &Group, from: u64, to: u64) -> String {
    let [from, length] = [from, to - from].map(|mib| mib * SECTORS_PER_MIB);
    // One further: else LVM would see the PV twice.
    format!("{from} {length} linear {} {}", group.loops[0], from + SECTORS_PER_MIB)
}

/// The part of the disk that the volume was extended by cannot be written.
fn the_new_part_fails(kind: &str, tool: &str, name: &str) {
    let bench = Bench::new(name, kind);
    let (group, volume) = (&bench.group, &bench.volume);
    let (extents, df_size) = (volume.extents(), volume.df_size());
    let breaking = bench.breaking(tool, "*", bench.end(), &format!("/sbin/{tool}"));
    let settings = |tools: &str| format!("defaults: {{ cooldown: 0s }}\n{tools}");
    let daemon =
        Daemon::start(group, &config(group, &[volume], &settings(&format!("tools: {{ {tool}: {breaking} }}"))));
    daemon.alert(&labels(volume));
    let past = daemon.wait_for_outcome(volume, "needs_attention");
    for part in [tool, "run: "] {
        assert!(past.sentence.contains(part), "{}", past.sentence);
    }
    let next = past.sentence.split("run: ").nth(1).expect("a command").to_owned();
    assert!(next.contains(tool), "{next}");
    assert_eq!(volume.extents(), extents + 8, "extended, and nothing is taken back");
    bench.assert_bystanders();
    let seqno = volume.lvs("vg_seqno");

    // The daemon is there, says so, and does not pile on.
    assert_eq!(daemon.get("/-/healthy").status, 200);
    daemon.wait_for("the metric", |daemon| {
        let parked = daemon.metric("lvm_autoscaler_target_needs_attention", &[("vg", name)]);
        (parked == 1.0).then_some(())
    });
    daemon.alert(&labels(volume));
    let refused = daemon.wait_for_outcome(volume, "operation_in_progress");
    assert!(refused.sentence.contains(&next), "{}", refused.sentence);
    assert_eq!(volume.lvs("vg_seqno"), seqno);
    assert!(daemon.stop().success());

    // The disk is mended. What a file system does with the errors is its own affair: it may have to be checked first.
    bench.heal();
    sh("umount", &[path(&volume.mount_point)]);
    match kind {
        "ext4" => {
            // 1: it mended something.
            let (_, out, complaint) = crate::storage::try_sh("e2fsck", &["-f", "-y", &volume.path()]);
            assert!(crate::storage::try_sh("e2fsck", &["-f", "-n", &volume.path()]).0, "{out}{complaint}");
        }
        _ => drop(sh("xfs_repair", &["-n", &volume.path()])),
    }
    sh("mount", &[&volume.path(), path(&volume.mount_point)]);
    let daemon = Daemon::start(group, &config(group, &[volume], &settings("")));
    // The person does what the sentence says.
    let growth = next.split("; ").find(|command| command.starts_with(tool)).expect("the growth");
    sh("sh", &["-c", growth]);
    assert_grown_once(volume, extents, df_size);
    daemon.alert(&labels(volume));
    daemon.wait_for_outcome(volume, "below_threshold");
    assert!(daemon.journal().parked.is_empty());
    bench.assert_bystanders();
    assert!(daemon.stop().success());
}

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn errors_of_the_disk_while_ext4_grows_need_attention() {
    the_new_part_fails("ext4", "resize2fs", "vmt_err_ext4");
}

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn errors_of_the_disk_while_xfs_grows_need_attention() {
    the_new_part_fails("xfs", "xfs_growfs", "vmt_err_xfs");
}

/// The whole disk is gone when `lvextend` begins, and comes back.
#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn a_disk_that_fails_before_lvextend_leaves_everything_as_it_was() {
    let bench = Bench::new("vmt_err_all", "ext4");
    let (group, volume) = (&bench.group, &bench.volume);
    let (extents, df_size, seqno) = (volume.extents(), volume.df_size(), volume.lvs("vg_seqno"));
    let breaking = bench.breaking("lvm", "lvextend", 0, "/sbin/lvm");
    let settings = format!("defaults: {{ cooldown: 0s }}\ntools: {{ lvm: {breaking} }}");
    let daemon = Daemon::start(group, &config(group, &[volume], &settings));
    daemon.alert(&labels(volume));
    let past = daemon.wait_for("an end", |daemon| {
        let ended =
            |past: &lvm_autoscaler::journal::Past| ["failed", "needs_attention"].contains(&past.result.as_str());
        daemon.results(volume).into_iter().find(ended)
    });
    assert_eq!(daemon.get("/-/healthy").status, 200);
    assert!(daemon.stop().success());
    bench.heal();
    assert_eq!(
        (volume.extents(), volume.df_size(), volume.lvs("vg_seqno")),
        (extents, df_size, seqno),
        "{}",
        past.sentence
    );
    bench.assert_bystanders();

    // What the kernel had to write meanwhile, if anything, failed too: then growth is refused until the file system was
    // checked.
    sh("umount", &[path(&volume.mount_point)]);
    crate::storage::try_sh("e2fsck", &["-f", "-y", &volume.path()]);
    sh("mount", &[&volume.path(), path(&volume.mount_point)]);
    if past.result.as_str() == "needs_attention" {
        // LVM could not be asked whether it had extended: a person does what the sentence says.
        past.commands.iter().for_each(|command| drop(sh("sh", &["-c", command])));
        assert_eq!(volume.extents(), extents + 8, "{} {:?}", past.sentence, past.commands);
        return assert_grown_once(volume, extents, df_size);
    }
    let daemon = Daemon::start(group, &config(group, &[volume], "defaults: { cooldown: 0s }"));
    daemon.alert(&labels(volume));
    daemon.wait_for_outcome(volume, "grown");
    assert_grown_once(volume, extents, df_size);
    assert!(daemon.stop().success());
}
