//! LUKS between a volume and its file system: grown with it, or refused before anything is changed.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::crash::{Gate, end};
use crate::daemon::{Daemon, config, labels};
use crate::grow::{assert_grown_once, small};
use crate::refuse::refused_by;
use crate::storage::{Group, MIB, Volume, path, sh};

/// A volume with LUKS on it and a full file system in that.
struct Encrypted {
    volume: Volume,
    /// In /dev/mapper; the group takes away what has its name in front.
    mapping: String,
    key: PathBuf,
}

impl Encrypted {
    fn new(group: &Group, kind: &str, name: &str, format: &[&str], open: &[&str]) -> Encrypted {
        let volume = group.lv(name, if kind == "xfs" { "352M" } else { "96M" });
        let (key, mapping) = (group.dir.join(format!("{name}.key")), format!("{}-{name}_crypt", group.name));
        write_key(&key, name);
        encrypt(&key, &volume.path(), format);
        sh("cryptsetup", &[&["open", "--key-file", path(&key)], open, &[&volume.path(), &mapping]].concat());
        let encrypted = Encrypted { volume, mapping, key };
        encrypted.fill(kind);
        encrypted
    }

    fn fill(&self, kind: &str) {
        let (volume, device) = (&self.volume, self.device());
        sh(&format!("mkfs.{kind}"), &["-q", &device]);
        fs::create_dir_all(&volume.mount_point).expect("a mount point");
        sh("mount", &[&device, path(&volume.mount_point)]);
        volume.write_data();
        volume.fill(85.0);
    }

    fn device(&self) -> String {
        format!("/dev/mapper/{}", self.mapping)
    }

    /// The size of the mapping, as the kernel has it.
    fn size(&self) -> u64 {
        sh("blockdev", &["--getsize64", &self.device()]).parse().expect("a number")
    }

    fn unmount_and_check(&self, kind: &str) {
        self.volume.unmount_and_check_on(kind, &self.device());
        sh("cryptsetup", &["close", &self.mapping]);
    }
}

/// A slot that opens at once.
const QUICK: &[&str] = &["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"];
pub(crate) const LUKS2: &[&str] = &["--type", "luks2"];

/// Makes a device LUKS of that format, which this key opens at once.
pub(crate) fn encrypt(key: &Path, device: &str, format: &[&str]) {
    sh("cryptsetup", &[&["luksFormat", "-q", "--key-file", path(key)], QUICK, format, &[device]].concat());
}

/// The same with a key of its own beside the group, opened; the key and the mapping's device.
pub(crate) fn encrypted(group: &Group, device: &str, format: &[&str]) -> (PathBuf, String) {
    let (key, mapping) = (group.dir.join("key"), format!("{}-data_crypt", group.name));
    write_key(&key, &group.name);
    encrypt(&key, device, format);
    sh("cryptsetup", &["open", "--key-file", path(&key), device, &mapping]);
    (key, format!("/dev/mapper/{mapping}"))
}

fn write_key(key: &Path, content: &str) {
    fs::write(key, format!("the key of {content:.<64}")).expect("a key");
    fs::set_permissions(key, fs::Permissions::from_mode(0o600)).expect("ours");
}

/// The config of volumes with their key files.
fn with_keys(group: &Group, volumes: &[(&Volume, Option<&str>)], more: &str) -> String {
    let mut text = config(group, &[], more);
    for (volume, key) in volumes {
        let one = config(group, &[volume], "");
        text.push_str(one.split_once("targets:\n").expect("a target").1);
        key.iter().for_each(|key| text.push_str(&format!("      luks_key_file: {key}\n")));
    }
    text
}

fn one_alert_grows(name: &str, kind: &str, format: &[&str], open: &[&str], header: u64, key_location: &str) {
    let group = Group::new(name, &["2G"]);
    let encrypted = Encrypted::new(&group, kind, "data", format, open);
    let volume = &encrypted.volume;
    let (extents, df_size, files) = (volume.extents(), volume.df_size(), volume.files());
    let key = (key_location == "keyring").then(|| path(&encrypted.key));
    let daemon = Daemon::start(&group, &with_keys(&group, &[(volume, key)], ""));
    let version = if format.contains(&"luks1") { "1" } else { "2" };
    let info = [("lv", "data"), ("version", version), ("key_location", key_location)];
    assert_eq!(daemon.metric("lvm_lv_luks_info", &info), 1.0, "{}", daemon.get("/metrics").body);
    assert_eq!(daemon.metric("lvm_filesystem_growable_bytes", &[("lv", "data")]), 0.0);

    let verdict = daemon.alert(&labels(volume));
    assert_eq!(verdict["verdict"], "accepted", "{verdict}");
    daemon.wait_for_outcome(volume, "grown");
    if kind == "btrfs" {
        assert_eq!(volume.extents(), extents + 8);
        assert!(volume.df_size() > df_size);
    } else {
        assert_grown_once(volume, extents, df_size);
    }
    assert_eq!(encrypted.size(), (extents + 8) * 4 * MIB - header, "the mapping fills its volume");
    assert_eq!(volume.files(), files, "a file is another one now");
    // Mounted from the mapping, an alert of node_exporter has that as its device.
    let device = encrypted.device();
    let by_device = [("alertname", "x"), ("instance", "vm:19845"), ("device", device.as_str())];
    assert_eq!(daemon.alert(&by_device)["target"], volume.name());
    daemon.wait_for_outcome(volume, "cooldown");
    assert!(daemon.stop().success());
    encrypted.unmount_and_check(kind);
}

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn luks2_with_a_key_file_grows_with_an_ext4() {
    one_alert_grows("vmt_luks2_ext4", "ext4", LUKS2, &[], 16 * MIB, "keyring");
}

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn luks2_with_a_key_file_grows_with_an_xfs() {
    one_alert_grows("vmt_luks2_xfs", "xfs", LUKS2, &[], 16 * MIB, "keyring");
}

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn luks2_with_large_sectors_grows() {
    one_alert_grows("vmt_luks2_4k", "ext4", &["--type", "luks2", "--sector-size", "4096"], &[], 16 * MIB, "keyring");
}

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn luks2_without_the_keyring_grows_without_a_key() {
    one_alert_grows("vmt_luks2_dm", "ext4", LUKS2, &["--disable-keyring"], 16 * MIB, "dm-crypt");
}

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn luks1_grows_without_a_key() {
    one_alert_grows("vmt_luks1", "xfs", &["--type", "luks1"], &[], 2 * MIB, "dm-crypt");
}

/// What cannot be opened is refused, and the volume is as it was: `lvextend -r` would have extended it.
#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn without_a_key_that_opens_it_luks2_is_not_touched() {
    let group = Group::new("vmt_luks_key", &["2G"]);
    let encrypted = Encrypted::new(&group, "ext4", "data", LUKS2, &[]);
    let volume = &encrypted.volume;
    let other = group.filesystem("ext4", "other", small("ext4"));
    let in_group = |name: &str| path(&group.dir.join(name)).to_owned();
    let (wrong, open, on_target) =
        (in_group("wrong"), in_group("open"), path(&other.mount_point.join("key")).to_owned());
    write_key(wrong.as_ref(), "nothing");
    for copy in [&open, &on_target] {
        fs::copy(&encrypted.key, copy).expect("a copy");
    }
    fs::set_permissions(&open, fs::Permissions::from_mode(0o640)).expect("ours");
    let shared = group.dir.join("shared");
    fs::create_dir(&shared).expect("a folder");
    fs::set_permissions(&shared, fs::Permissions::from_mode(0o777)).expect("ours");
    fs::copy(&encrypted.key, shared.join("key")).expect("a copy");
    let (gone, shared) = (in_group("gone"), path(&shared.join("key")).to_owned());
    for (key, said) in [
        (None, "set luks_key_file"),
        (Some(gone.as_str()), "cannot be read"),
        (Some(wrong.as_str()), "cryptsetup exited with 2"),
        (Some(open.as_str()), "is open to others (mode 0640): chmod 600"),
        (Some(shared.as_str()), "can be changed by everybody"),
        (Some(on_target.as_str()), "which is a target itself"),
    ] {
        let before = (encrypted.size(), sh("dmsetup", &["table", &encrypted.mapping]));
        let daemon = Daemon::start(&group, &with_keys(&group, &[(volume, key), (&other, None)], ""));
        let sentence = refused_by(&group, &daemon, volume, "luks_key");
        assert!(sentence.contains(said), "{key:?}: {sentence}");
        assert_eq!((encrypted.size(), sh("dmsetup", &["table", &encrypted.mapping])), before);
        assert!(daemon.stop().success());
        group.forget();
    }
    // The one that is as it should be opens it, whatever was tried before.
    let daemon = Daemon::start(&group, &with_keys(&group, &[(volume, Some(path(&encrypted.key)))], ""));
    daemon.alert(&labels(volume));
    daemon.wait_for_outcome(volume, "grown");
    drop(daemon);
    encrypted.unmount_and_check("ext4");
}

#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn what_cryptsetup_does_not_resize_is_refused() {
    let group = Group::new("vmt_luks_other", &["2G"]);
    let header = group.dir.join("header");
    let tagged = Encrypted::new(&group, "ext4", "tagged", &["--type", "luks2", "--integrity", "hmac-sha256"], &[]);
    // Opened by hand: cryptsetup is given another header, or none.
    let volume = |name: &str| (group.lv(name, "64M"), format!("vmt_luks_other-{name}_crypt"));
    let key = path(&tagged.key);
    let (detached, mapping) = volume("detached");
    let with_header = ["--header", path(&header), "--key-file", key];
    sh("cryptsetup", &[&["luksFormat", "-q"], &with_header[..], QUICK, LUKS2, &[&detached.path()]].concat());
    sh("cryptsetup", &[&["open"], &with_header[..], &[&detached.path(), &mapping]].concat());
    let detached = Encrypted { volume: detached, mapping, key: tagged.key.clone() };
    detached.fill("ext4");
    let (plain, mapping) = volume("plain");
    let cipher = ["--type", "plain", "--cipher", "aes-xts-plain64", "--key-size", "256", "--key-file", key];
    sh("cryptsetup", &[&["open"], &cipher[..], &[&plain.path(), &mapping]].concat());
    let plain = Encrypted { volume: plain, mapping, key: tagged.key.clone() };
    plain.fill("ext4");
    let targets = [&tagged, &detached, &plain].map(|encrypted| (&encrypted.volume, Some(key)));
    let text = with_keys(&group, &targets, "");
    for (encrypted, said) in [(&tagged, "integrity tags"), (&detached, "detached"), (&plain, "type PLAIN")] {
        let daemon = Daemon::start(&group, &text);
        let sentence = refused_by(&group, &daemon, &encrypted.volume, "luks_unsupported");
        assert!(sentence.contains(said), "{sentence}");
        assert!(daemon.stop().success());
        group.forget();
    }
}

/// The daemon dies while cryptsetup waits to run: the volume is extended, the mapping is not.
#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn killed_between_lvextend_and_cryptsetup_resize() {
    let group = Group::new("vmt_luks_kill", &["2G"]);
    let encrypted = Encrypted::new(&group, "ext4", "data", LUKS2, &[]);
    let volume = &encrypted.volume;
    let (extents, df_size, files, size) = (volume.extents(), volume.df_size(), volume.files(), encrypted.size());
    let gate = Gate::new(&group, "cryptsetup", "resize", "/sbin/cryptsetup");
    let key = Some(path(&encrypted.key));
    let tools = format!("tools: {{ cryptsetup: {} }}", gate.script);
    let daemon = Daemon::start(&group, &with_keys(&group, &[(volume, key)], &tools));
    daemon.alert(&labels(volume));
    let script = gate.reached(&daemon);
    daemon.kill();
    end(script);
    assert_eq!((volume.extents(), encrypted.size(), volume.df_size()), (extents + 8, size, df_size));
    let daemon = Daemon::start(&group, &with_keys(&group, &[(volume, key)], ""));
    daemon.wait_for_outcome(volume, "grown");
    assert_grown_once(volume, extents, df_size);
    assert_eq!(volume.files(), files, "a file is another one now");
    drop(daemon);
    encrypted.unmount_and_check("ext4");
}

/// The key is lost between the decision and the step: what is left is named, and works.
#[test]
#[ignore = "runs in the virtual machine: make vm-test"]
fn what_is_left_when_cryptsetup_fails_can_be_pasted() {
    let group = Group::new("vmt_luks_left", &["2G"]);
    let encrypted = Encrypted::new(&group, "ext4", "data", LUKS2, &[]);
    let volume = &encrypted.volume;
    let (extents, df_size) = (volume.extents(), volume.df_size());
    let tool =
        crate::daemon::script(&group.dir, "cryptsetup", "[ $1 = resize ] && exit 1\nexec /sbin/cryptsetup \"$@\"\n");
    let text = with_keys(&group, &[(volume, Some(path(&encrypted.key)))], &format!("tools: {{ cryptsetup: {tool} }}"));
    let daemon = Daemon::start(&group, &text);
    daemon.alert(&labels(volume));
    daemon.wait_for_outcome(volume, "needs_attention");
    assert_eq!((volume.extents(), volume.df_size()), (extents + 8, df_size));
    let commands = daemon.journal().parked.values().next().expect("it waits").account.commands.clone();
    assert_eq!(commands.len(), 2, "{commands:?}");
    commands.iter().for_each(|command| drop(sh("sh", &["-c", command])));
    assert_grown_once(volume, extents, df_size);
    daemon.alert(&labels(volume));
    daemon.wait_for("the end of that", |daemon| daemon.journal().parked.is_empty().then_some(()));
    drop(daemon);
    encrypted.unmount_and_check("ext4");
}
