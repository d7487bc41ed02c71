//! The troubles that are less grave than those of `troubles`, and days without any. A section of `make soak`.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use crate::daemon::{Daemon, config, script};
use crate::decisions::in_sync;
use crate::http;
use crate::part;
use crate::storage::{Group, MIB, Volume, path, sh, try_sh};
use crate::troubles::{FASTER, OFTEN, Stand, Under, ext_error, follow, minutes, names, run_by_hand, use_inodes};

// Nearly full, and something stands in the way

const NEARLY_FULL: (&str, &[&str]) = ("LvmFileSystemNearlyFull", &["full"]);

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn inodes_used_up_of_a_target_at_its_max_size() {
    let group = Group::new("vmt_tr_inodes_max", &["1G"]);
    let volume = group.lv("data", "64M");
    sh("mke2fs", &["-q", "-t", "ext4", "-N", "512", &volume.path()]);
    group.mount(&volume, &[]);
    let limit = |size| format!("defaults: {{ cooldown: 0s, max_size: {size} }}");
    let stand = Stand::start(&group, &[&volume], &limit("64MiB"));
    let page = stand.page("inodes used up, target at max_size", &[("LvmAutoscalerOutOfHeadroom", &["inodes"])], || {
        use_inodes(&volume, 98);
    });
    stand.reload(&[&volume], &limit("1GiB"));
    stand.daemon.wait_for_outcome(&volume, "grown");
    stand.resolved(&page);
}

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn out_of_headroom_is_one_message_and_a_new_disk_mends_it() {
    let group = Group::new("vmt_tr_headroom", &["76M"]);
    let spare = Group::without_vg("vmt_tr_new_disk", &["512M"]);
    let volume = group.lv("data", "72M");
    volume.mkfs("ext4");
    group.mount(&volume, &[]);
    let stand = Stand::start(&group, &[&volume], "defaults: { cooldown: 0s }");
    let page =
        stand.page("no space left in the group", &[("LvmAutoscalerOutOfHeadroom", &["vmt_tr_headroom"])], || {
            volume.fill(95.0);
        });
    // Refused again and again, for which there is an alert too: longer than it needs to come.
    stand.silent("no space left, refused ten times", 50.0);
    let new = [("VG", group.name.as_str()), ("NEW", spare.loops[0].trim_start_matches("/dev/"))];
    follow(&group, "LvmAutoscalerOutOfHeadroom", &["pvcreate", "vgextend"], &new);
    stand.daemon.wait_for_outcome(&volume, "grown");
    stand.resolved(&page);
}

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn nearly_full_with_the_budget_spent() {
    let group = Group::new("vmt_tr_budget", &["1G"]);
    let volume = group.filesystem("ext4", "data", "64M");
    let budget = |extensions| format!("defaults: {{ cooldown: 0s, budget: {{ extensions: {extensions} }} }}");
    let stand = Stand::start(&group, &[&volume], &budget(1));
    let spent = stand.page("budget spent", &[("LvmAutoscalerBudgetNearlySpent", &["0 more"])], || volume.fill(88.0));
    let full = stand.page("nearly full, budget spent", &[NEARLY_FULL], || volume.fill(94.0));
    stand.reload(&[&volume], &budget(6));
    stand.daemon.wait_for_count(&volume, "grown", 2);
    stand.resolved(&full);
    stand.resolved(&spent);
}

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn nearly_full_with_errors_of_the_file_system() {
    let group = Group::new("vmt_tr_full_errors", &["1G"]);
    let volume = group.filesystem("ext4", "data", "64M");
    let stand = Stand::start(&group, &[&volume], "");
    let errors = stand.page("error of an ext4 that is a target", &[("LvmFileSystemErrors", &["write"])], || {
        ext_error(&volume);
    });
    let full = stand.page("nearly full, fs_errors", &[NEARLY_FULL], || volume.fill(94.0));
    follow(&group, "LvmFileSystemErrors", &["umount", "e2fsck", "mount"], &names(&volume));
    stand.daemon.wait_for_outcome(&volume, "grown");
    stand.resolved(&full);
    stand.resolved(&errors);
}

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn nearly_full_in_a_group_that_misses_a_disk() {
    let group = Group::new("vmt_tr_full_gone", &["512M", "512M"]);
    group.no_autoactivation();
    sh("lvcreate", &["-qq", "-y", "-n", "data", "-L", "64M", &group.name, &group.loops[0]]);
    let volume = group.volume("data");
    volume.mkfs("ext4");
    group.mount(&volume, &[]);
    let stand = Stand::start(&group, &[&volume], "");
    let gone =
        stand.page("disk of a target's group missing", &[("LvmPhysicalVolumeMissing", &[])], || group.lose_disk(1));
    let full = stand.page("nearly full, vg_partial", &[NEARLY_FULL], || volume.fill(94.0));
    // Nothing was on it: the group does without.
    run_by_hand(&group, &format!("vgreduce --removemissing {}", group.name));
    stand.daemon.wait_for_outcome(&volume, "grown");
    stand.resolved(&full);
    stand.resolved(&gone);
}

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn nearly_full_in_a_pool_without_space() {
    let group = Group::new("vmt_tr_full_pool", &["1G"]);
    sh("lvcreate", &["-qq", "-y", "--type", "thin-pool", "-L", "200M", "-n", "pool", &group.name]);
    let volume = group.lv_as("data", &["-V", "128M", "--thinpool", "pool"]);
    volume.mkfs("ext4");
    group.mount(&volume, &[]);
    let stand = Stand::start(&group, &[&volume], "defaults: { max_overprovision: 4, min_pool_free_data: 60% }");
    // Blocks that are only allocated take nothing from the pool.
    let write = |mib: u64| fs::write(volume.mount_point.join(format!("fill{mib}")), vec![1; (mib * MIB) as usize]);
    let page = stand.page("nearly full, pool_space", &[NEARLY_FULL], || {
        write(100).expect("room for it");
        volume.fill(94.0);
    });
    run_by_hand(&group, &format!("lvextend -L +200M {}/pool", group.name));
    stand.daemon.wait_for_outcome(&volume, "grown");
    stand.resolved(&page);
}

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn refused_three_times() {
    let group = Group::new("vmt_tr_refused", &["1G"]);
    let volume = group.filesystem("ext4", "data", "64M");
    sh("lvcreate", &["-qq", "-y", "-s", "-n", "snap", "-L", "200M", &volume.name()]);
    let stand = Stand::start(&group, &[&volume], "");
    let page =
        stand.page("refused again and again", &[("LvmAutoscalerRefusing", &["snapshot_origin", "3 times"])], || {
            volume.fill(85.0);
        });
    run_by_hand(&group, &format!("lvremove {}/snap", group.name));
    stand.daemon.wait_for_outcome(&volume, "grown");
    stand.resolved(&page);
}

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn nearly_full_and_no_target() {
    let group = Group::new("vmt_tr_no_target", &["1G"]);
    let volume = group.filesystem("ext4", "data", "64M");
    let stand = Stand::start(&group, &[], "");
    let page = stand.page("nearly full, no target", &[NEARLY_FULL], || volume.fill(93.0));
    run_by_hand(&group, &format!("lvextend -r -L +64M {}", volume.name()));
    stand.resolved(&page);
}

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn nearly_full_on_luks() {
    let group = Group::new("vmt_tr_luks", &["1G"]);
    let volume = group.lv("data", "96M");
    let key = group.dir.join("key");
    fs::write(&key, "a test").expect("a key");
    let (key, device) = (path(&key).to_owned(), volume.path());
    let quick = ["--type", "luks2", "--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000", "--key-file", &key];
    sh("cryptsetup", &[&["luksFormat", "-q"], &quick[..], &[&device]].concat());
    sh("cryptsetup", &["open", "--key-file", &key, &device, "vmt_tr_luks-data-crypt"]);
    sh("mkfs.ext4", &["-q", "/dev/mapper/vmt_tr_luks-data-crypt"]);
    fs::create_dir_all(&volume.mount_point).expect("a mount point");
    sh("mount", &["/dev/mapper/vmt_tr_luks-data-crypt", path(&volume.mount_point)]);
    let stand = Stand::start(&group, &[], "");
    let page = stand.page("nearly full on LUKS on LVM", &[("LvmFileSystemNearlyFull", &["vmt_tr_luks/data"])], || {
        volume.fill(93.0);
    });
    sh("lvextend", &["-qq", "-L", "+64M", &volume.name()]);
    sh("cryptsetup", &["resize", "--key-file", &key, "vmt_tr_luks-data-crypt"]);
    sh("resize2fs", &["/dev/mapper/vmt_tr_luks-data-crypt"]);
    stand.resolved(&page);
    drop(stand);
    sh("umount", &[path(&volume.mount_point)]);
    sh("cryptsetup", &["close", "vmt_tr_luks-data-crypt"]);
}

// Pools, snapshots, RAIDs

/// Writes a little into each chunk of a thin volume, so that its pool needs metadata for it; how far it came.
fn map(thin: &Volume, from: u64, until: impl Fn() -> bool) -> u64 {
    const CHUNK: u64 = 64 << 10;
    let device = fs::File::options().write(true).open(thin.path()).expect("a device");
    for chunk in from.. {
        if device.write_all_at(&[1; 4096], chunk * CHUNK).is_err() {
            return chunk;
        }
        if chunk % 1000 == 999 && (device.sync_all().is_err() || until()) {
            return chunk;
        }
    }
    unreachable!("until it is full")
}

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn metadata_of_a_thin_pool_that_fill() {
    let group = Group::new("vmt_tr_meta", &["20G"]);
    let pool = ["-qq", "-y", "--type", "thin-pool", "-Zn", "-c", "64k", "-L", "16G"];
    sh("lvcreate", &[&pool[..], &["--poolmetadatasize", "2M", "-n", "pool", &group.name]].concat());
    let thin = group.lv_as("thin", &["-V", "16G", "--thinpool", "pool"]);
    let pool = group.volume("pool");
    sh("lvchange", &["-qq", "--errorwhenfull", "y", &pool.name()]);
    let percent = || pool.lvs("metadata_percent").parse::<f64>().unwrap_or(100.0);
    let stand = Stand::start(&group, &[], "");
    let mut mapped = 0;
    let nearly = stand.page(
        "thin pool: metadata nearly full",
        &[("LvmThinPoolNearlyFull", &["metadata", "vmt_tr_meta/pool"])],
        || {
            mapped = map(&thin, 0, || percent() > 92.0);
        },
    );
    let full =
        stand.page("thin pool: metadata full", &[("LvmThinPoolFull", &["metadata", "vmt_tr_meta/pool"])], || {
            map(&thin, mapped, || percent() > 99.9);
        });
    let names = [&names(&pool)[..], &[("SIZE", "4M"), ("THIN", "thin")]].concat();
    // LVM calls the pool failed now, or its metadata in need of a check: extending them is not enough.
    let mends = ["lvextend --poolmetadatasize", "lvchange -an", "lvconvert --repair", "lvchange -ay"];
    follow(&group, "LvmThinPoolFull", &mends, &names);
    assert_eq!(pool.lvs("lv_health_status,lv_check_needed"), "", "it is healthy again");
    assert_eq!(map(&thin, 0, || true), 999, "it can be written to");
    stand.resolved(&full);
    stand.resolved(&nearly);
}

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn data_of_a_thin_pool_that_fill() {
    let group = Group::new("vmt_tr_pool_data", &["1G"]);
    sh("lvcreate", &["-qq", "-y", "--type", "thin-pool", "-L", "64M", "-n", "pool", &group.name]);
    let thin = group.lv_as("thin", &["-V", "128M", "--thinpool", "pool"]);
    let stand = Stand::start(&group, &[], "");
    let page = stand.page("thin pool: data nearly full", &[("LvmThinPoolNearlyFull", &["data", "93.8"])], || {
        sh("dd", &["if=/dev/zero", &format!("of={}", thin.path()), "bs=1M", "count=60", "oflag=direct", "status=none"]);
    });
    let pool = group.volume("pool");
    follow(&group, "LvmThinPoolNearlyFull", &["lvextend -L"], &[&names(&pool)[..], &[("SIZE", "64M")]].concat());
    stand.resolved(&page);
}

/// A group with a snapshot of 16 MiB; `write` changes its origin.
fn snapshot(name: &str) -> (Group, Volume, impl Fn(u64)) {
    let group = Group::new(name, &["1G"]);
    let origin = group.lv("data", "128M");
    sh("lvcreate", &["-qq", "-y", "-s", "-n", "snap", "-L", "16M", &origin.name()]);
    let device = format!("of={}", origin.path());
    let write = move |mib: u64| {
        sh("dd", &["if=/dev/zero", &device, "bs=1M", &format!("count={mib}"), "oflag=direct", "status=none"]);
    };
    let snapshot = group.volume("snap");
    (group, snapshot, write)
}

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn a_snapshot_that_overflowed() {
    let (group, snapshot, write) = snapshot("vmt_tr_snap_over");
    let stand = Stand::start(&group, &[], "");
    let page =
        stand.page("snapshot overflowed", &[("LvmSnapshotInvalid", &["vmt_tr_snap_over/snap", "lost"])], || write(32));
    follow(&group, "LvmSnapshotInvalid", &["lvremove"], &[&names(&snapshot)[..], &[("SNAPSHOT", "snap")]].concat());
    stand.resolved(&page);
}

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn a_snapshot_that_fills() {
    let (group, snapshot, write) = snapshot("vmt_tr_snap");
    let stand = Stand::start(&group, &[], "");
    let page = stand.page("snapshot nearly full", &[("LvmSnapshotNearlyFull", &["vmt_tr_snap/snap"])], || write(14));
    let names = [&names(&snapshot)[..], &[("SNAPSHOT", "snap"), ("SIZE", "16M")]].concat();
    follow(&group, "LvmSnapshotNearlyFull", &["lvextend"], &names);
    stand.resolved(&page);
}

/// A RAID finds out that a leg has failed when it writes to it.
fn write_a_little(volume: &Volume) {
    let device = format!("of={}", volume.path());
    try_sh("dd", &["if=/dev/zero", &device, "bs=1M", "count=4", "oflag=direct", "status=none"]);
}

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn a_raid_whose_leg_failed_for_a_moment() {
    let group = Group::without_vg("vmt_tr_leg", &["512M", "512M"]);
    let under = Under::over(&group, 1);
    sh("vgcreate", &["-qq", &group.name, &group.loops[0], &under.path()]);
    let volume = group.lv_as("data", &["--type", "raid1", "-m1", "-L", "32M"]);
    in_sync(&volume);
    let stand = Stand::start(&group, &[], "");
    let page = stand.page("RAID: leg failed", &[("LvmRaidDegraded", &["refresh", "vmt_tr_leg/data"])], || {
        under.fail();
        write_a_little(&volume);
        under.heal();
    });
    assert!(!page.text(0).contains("mismatch"), "{}", page.text(0));
    follow(&group, "LvmRaidDegraded", &["lvchange --refresh"], &names(&volume));
    stand.resolved(&page);
}

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn a_raid_whose_legs_differ() {
    let group = Group::new("vmt_tr_differ", &["512M", "512M"]);
    let volume = group.lv_as("data", &["--type", "raid1", "-m1", "-L", "32M"]);
    in_sync(&volume);
    let stand = Stand::start(&group, &[], "");
    let page = stand.page("RAID: mismatches", &[("LvmRaidDegraded", &["mismatch", "vmt_tr_differ/data"])], || {
        // Behind the RAID's back.
        let leg = "of=/dev/mapper/vmt_tr_differ-data_rimage_1";
        sh(
            "dd",
            &["if=/dev/urandom", leg, "bs=1M", "count=1", "seek=4", "oflag=direct", "conv=notrunc", "status=none"],
        );
        sh("lvchange", &["-qq", "--syncaction", "check", &volume.name()]);
    });
    assert!(!page.text(0).contains("A leg is missing"), "{}", page.text(0));
    follow(&group, "LvmRaidDegraded", &["lvchange --syncaction repair"], &names(&volume));
    in_sync(&volume);
    part::say(&format!("  after the repair LVM says: {:?}", volume.lvs("lv_health_status,raid_mismatch_count")));
    // LVM calls it healthy only when a scrub after that has found nothing.
    follow(&group, "LvmRaidDegraded", &["lvchange --syncaction check"], &names(&volume));
    stand.resolved(&page);
}

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn a_raid_that_lost_a_disk_is_one_message() {
    let group = Group::without_vg("vmt_tr_raid_gone", &["512M", "512M"]);
    let under = Under::over(&group, 1);
    sh("vgcreate", &["-qq", &group.name, &group.loops[0], &under.path()]);
    group.no_autoactivation();
    let volume = group.lv_as("data", &["--type", "raid1", "-m1", "-L", "32M"]);
    in_sync(&volume);
    let stand = Stand::start(&group, &[], "");
    let page = stand.page("RAID: disk gone", &[("LvmPhysicalVolumeMissing", &["vmt_tr_raid_gone"])], || {
        under.lose();
        write_a_little(&volume);
    });
    under.heal();
    let device = under.path();
    let names = [&names(&volume)[..], &[("DEVICE", device.trim_start_matches("/dev/"))]].concat();
    follow(&group, "LvmPhysicalVolumeMissing", &["vgextend --restoremissing"], &names);
    follow(&group, "LvmRaidDegraded", &["lvchange --refresh"], &names);
    stand.resolved(&page);
}

// File systems

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn a_file_system_that_became_read_only() {
    let group = Group::new("vmt_tr_ro", &["1G"]);
    let volume = group.filesystem("ext4", "data", "64M");
    let stand = Stand::start(&group, &[], "");
    let page = stand.page("became read-only", &[("LvmFileSystemReadOnly", &["read-only"])], || {
        sh("mount", &["-o", "remount,ro", path(&volume.mount_point)]);
    });
    follow(&group, "LvmFileSystemReadOnly", &["mount -o remount,rw"], &names(&volume));
    stand.resolved(&page);
}

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn a_volume_that_is_larger_than_its_file_system() {
    let group = Group::new("vmt_tr_larger", &["1G"]);
    let volume = group.filesystem("ext4", "data", "64M");
    let stand = Stand::start(&group, &[], "");
    let page =
        stand.page("volume larger than its file system", &[("LvmVolumeLargerThanFileSystem", &["32MiB"])], || {
            sh("lvextend", &["-qq", "-L", "+32M", &volume.name()]);
        });
    follow(&group, "LvmVolumeLargerThanFileSystem", &["resize2fs"], &names(&volume));
    stand.resolved(&page);
}

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn a_target_that_was_renamed() {
    let group = Group::new("vmt_tr_renamed", &["1G"]);
    let volume = group.filesystem("ext4", "data", "64M");
    let stand = Stand::start(&group, &[&volume], "");
    let page = stand.page("target renamed", &[("LvmAutoscalerTargetMissing", &["not on the host"])], || {
        sh("lvrename", &["-qq", &group.name, "data", "other"]);
    });
    let said = stand
        .daemon
        .log()
        .lines()
        .filter(|line| line.contains("level=warn") && line.contains("vmt_tr_renamed/data"))
        .count();
    assert_eq!(said, 1, "one line of the log: {}", stand.daemon.log());
    sh("lvrename", &["-qq", &group.name, "other", "data"]);
    stand.resolved(&page);
}

// The daemon

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn a_target_whose_breaker_is_open() {
    let group = Group::new("vmt_tr_breaker", &["1G"]);
    let volume = group.filesystem("ext4", "data", "64M");
    let broken = group.dir.join("broken");
    fs::write(&broken, "").expect("a file");
    let fails = format!(
        "case $1 in lvextend) [ ! -e {} ] || {{ echo 'no locking' >&2; exit 5; }} ;; esac\nexec /sbin/lvm \"$@\"\n",
        path(&broken)
    );
    let settings = format!(
        "defaults: {{ cooldown: 0s, breaker_failures: 2 }}\ntools: {{ lvm: {} }}",
        script(&group.dir, "lvm", &fails)
    );
    let stand = Stand::start(&group, &[&volume], &settings);
    let page =
        stand.page("breaker open", &[("LvmAutoscalerBreakerOpen", &["vmt_tr_breaker/data"])], || volume.fill(85.0));
    fs::remove_file(&broken).expect("it is there");
    follow(&group, "LvmAutoscalerBreakerOpen", &["lvm-autoscaler reset"], &names(&volume));
    stand.resolved(&page);
    stand.daemon.wait_for_outcome(&volume, "grown");
}

/// Growing an XFS is expected to take a minute at most, by the daemon's own clock.
#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn a_command_that_takes_too_long() {
    let group = Group::new("vmt_tr_overdue", &["1G"]);
    let volume = group.filesystem("xfs", "data", "320M");
    let stay = group.dir.join("stay");
    fs::write(&stay, "").expect("a file");
    let waits = format!("while [ -e {} ]; do sleep 0.2; done\nexec /sbin/xfs_growfs \"$@\"\n", path(&stay));
    let settings = format!("tools: {{ xfs_growfs: {} }}", script(&group.dir, "xfs_growfs", &waits));
    let stand = Stand::start(&group, &[&volume], &settings);
    let page = stand.page("command overdue", &[("LvmAutoscalerCommandOverdue", &["xfs_growfs"])], || volume.fill(85.0));
    fs::remove_file(&stay).expect("it is there");
    stand.daemon.wait_for_outcome(&volume, "grown");
    stand.resolved(&page);
}

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn an_audit_log_that_cannot_be_written() {
    let group = Group::new("vmt_tr_audit", &["1G"]);
    let volume = group.filesystem("ext4", "data", "64M");
    let audit = group.dir.join("audit");
    fs::create_dir(&audit).expect("a folder");
    sh("mount", &["-t", "tmpfs", "-o", "size=64k,mode=700", "tmpfs", path(&audit)]);
    let stand = Stand::start(&group, &[&volume], &format!("audit: {{ file: {}/audit.jsonl }}", path(&audit)));
    let page = stand.page("audit log not writable", &[("LvmAutoscalerAuditLogNotWritable", &["audit"])], || {
        try_sh("dd", &["if=/dev/zero", &format!("of={}/full", path(&audit)), "bs=4k", "status=none"]);
        volume.fill(85.0);
        stand.daemon.wait_for_outcome(&volume, "grown");
    });
    fs::remove_file(audit.join("full")).expect("it is there");
    stand.resolved(&page);
    let written = fs::read_to_string(audit.join("audit.jsonl")).expect("a log");
    assert!(written.contains("\"grown\""), "what was missed is written later: {written}");
}

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn a_config_that_cannot_be_read() {
    let group = Group::new("vmt_tr_config", &["1G"]);
    let volume = group.filesystem("ext4", "data", "64M");
    let stand = Stand::start(&group, &[&volume], "");
    let page = stand.page("config is wrong", &[("LvmAutoscalerConfigReloadFailed", &["config"])], || {
        fs::write(group.dir.join("config.yaml"), "monitor: { tragets: [] }").expect("a file");
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(stand.daemon.id() as i32), nix::sys::signal::Signal::SIGHUP)
            .expect("it runs");
    });
    stand.reload(&[&volume], "");
    stand.resolved(&page);
}

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn lvm_that_hangs() {
    let group = Group::without_vg("vmt_tr_stale", &["512M"]);
    let under = Under::over(&group, 0);
    sh("vgcreate", &["-qq", &group.name, &under.path()]);
    let stand = Stand::start(&group, &[], "");
    let page = stand.page("LVM hangs", &[("LvmInventoryStale", &["LVM"])], || {
        sh("dmsetup", &["suspend", "--nolockfs", &under.name]);
    });
    sh("dmsetup", &["resume", &under.name]);
    stand.resolved(&page);
}

/// Hands on what the daemon says as a host would say it whose clock is an hour slow.
fn an_hour_slow(daemon: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        for mut client in listener.incoming().map_while(Result::ok) {
            let mut request = vec![0; 4096];
            let _ = client.read(&mut request);
            let page = http::get(daemon, "/metrics").map(|answer| answer.body).unwrap_or_default();
            let slow = |line: &str| {
                let (series, value) = line.rsplit_once(' ')?;
                let shown = series.contains("_timestamp_seconds") && !line.starts_with('#');
                shown.then(|| Some(format!("{series} {}", value.parse::<f64>().ok()? - 3600.0)))?
            };
            let body: String = page.lines().map(|line| slow(line).unwrap_or_else(|| line.to_owned()) + "\n").collect();
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nConnection: close\r\n";
            let _ = write!(client, "{head}Content-Length: {}\r\n\r\n{body}", body.len());
        }
    });
    address
}

/// Of two clocks that disagree nothing follows about LVM.
#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn a_clock_that_is_an_hour_slow() {
    let group = Group::new("vmt_tr_clock", &["1G"]);
    let volume = group.filesystem("ext4", "data", "64M");
    let stand = Stand::with(&group, &config(&group, &[&volume], OFTEN), an_hour_slow);
    stand.silent("the host's clock is an hour slow", 15.0);
    drop(stand);
    // And while the daemon runs, by its own account of the age; Prometheus, which has the same clock here, would take
    // no sample for an hour.
    let daemon = Daemon::start(&group, &config(&group, &[&volume], OFTEN));
    for hour in ["-1 hour", "+2 hours", "-1 hour"] {
        sh("date", &["-s", hour]);
        std::thread::sleep(Duration::from_secs(2));
        let age = daemon.metric("lvm_inventory_age_seconds", &[]);
        assert!((0.0..60.0).contains(&age), "{hour}: {age}");
    }
    assert!(daemon.get("/metrics").body.contains("\nlvm_inventory_age_seconds "));
}

// Normal life

/// Everything that happens on a normal day, within one hour. People get no alert for it.
fn an_hour(stand: &mut Stand<'_>, group: &Group, round: u64) {
    let begun = Instant::now();
    let [data, media, thin, raid] = ["data", "media", "thin", "raid"].map(|name| group.volume(name));
    // Files come, and a target grows.
    let before = stand.daemon.results(&data).iter().filter(|past| past.result.as_str() == "grown").count();
    data.fill(85.0);
    stand.daemon.wait_for_count(&data, "grown", before + 1);
    // Files go.
    fs::remove_file(data.mount_point.join("fill")).expect("it is there");
    media.fill(70.0);
    fs::remove_file(media.mount_point.join("fill")).expect("it is there");
    // A backup: a snapshot that stays far from full, and a thin one.
    sh("lvcreate", &["-qq", "-y", "-s", "-n", "backup", "-L", "64M", &media.name()]);
    sh("lvcreate", &["-qq", "-y", "-s", "-n", "backup_thin", &thin.name()]);
    fs::write(thin.mount_point.join("file"), vec![round as u8; 4 << 20]).expect("room for it");
    std::thread::sleep(minutes(5.0));
    sh("lvremove", &["-qq", "-y", &format!("{}/backup", group.name), &format!("{}/backup_thin", group.name)]);
    // Care for disks.
    sh("lvchange", &["-qq", "--syncaction", "check", &raid.name()]);
    in_sync(&raid);
    let (from, to) = if round.is_multiple_of(2) { (2, 3) } else { (3, 2) };
    sh("pvmove", &["-qq", "-i", "1", "-n", "media", &group.loops[from], &group.loops[to]]);
    // A volume for a while, an upgrade, another config.
    let short = group.filesystem("ext4", "short", "32M");
    sh("umount", &[path(&short.mount_point)]);
    sh("lvremove", &["-qq", "-y", &short.name()]);
    stand.restart();
    std::thread::sleep(minutes(3.0));
    stand.reload(&[&data, &media], DAY);
    part::say(&format!("  round {round}: {:.0} minutes", begun.elapsed().as_secs_f64() * FASTER as f64 / 60.0));
    stand.assert_nobody_was_told();
}

/// A growth each round must neither run out of its budget nor of the disk.
const DAY: &str = "defaults: { cooldown: 0s, budget: { extensions: 100, bytes: 1TiB } }";

/// `make soak` runs it for a whole day, everybody else for one round.
#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn a_day_on_which_nothing_is_wrong() {
    let group = Group::new("vmt_tr_day", &["8G", "1G", "2G", "2G"]);
    let on = |name: &str, arguments: &[&str], disks: &[usize]| {
        let disks: Vec<&str> = disks.iter().map(|disk| group.loops[*disk].as_str()).collect();
        sh("lvcreate", &[&["-qq", "-y", "-n", name], arguments, &[&group.name], &disks[..]].concat());
        group.volume(name)
    };
    let data = on("data", &["-L", "64M"], &[0]);
    data.mkfs("ext4");
    let media = on("media", &["-L", "320M"], &[2]);
    media.mkfs("xfs");
    on("raid", &["--type", "raid1", "-m1", "-L", "32M"], &[0, 1]);
    sh("lvcreate", &["-qq", "-y", "--type", "thin-pool", "-L", "256M", "-n", "pool", &group.name, &group.loops[0]]);
    let thin = group.lv_as("thin", &["-V", "256M", "--thinpool", "pool"]);
    thin.mkfs("ext4");
    [&data, &media, &thin].iter().for_each(|volume| group.mount(volume, &[]));
    in_sync(&group.volume("raid"));
    let mut stand = Stand::start(&group, &[&data, &media], DAY);
    let day = if part::is_soak() { minutes(24.0 * 60.0) } else { Duration::ZERO };
    let begun = Instant::now();
    let mut rounds = 0;
    while rounds == 0 || begun.elapsed() < day {
        an_hour(&mut stand, &group, rounds);
        rounds += 1;
    }
    // What is late comes still.
    std::thread::sleep(minutes(15.0));
    stand.assert_nobody_was_told();
    let hours = begun.elapsed().as_secs_f64() * FASTER as f64 / 3600.0;
    part::say(&format!("figures: {rounds} rounds of normal life in {hours:.1} h, nobody was told of anything"));
}
