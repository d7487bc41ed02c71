//! Whether LVM must be told its settings on the command line, or the host's own configuration says the same.
//!
//! Every command line of ours brings the settings with it that its output or its success depends on (`--config`). That
//! has a price: LVM reads its configuration, and makes all that depends on it, a second time, a fifth to a third of
//! what a command takes. So where lvm.conf says the same anyway, `--config` is left out when the command is run.
//!
//! LVM itself is asked what it would use; this never reads lvm.conf. What it said holds as long as not one of the files
//! is another or was changed, which is looked at before each command. In any doubt `--config` stays.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use super::Output;
use crate::command::{Command, Tool};
use crate::inventory::lvm;
use crate::plan::WAIT;

/// Where LVM reads its configuration, unless its environment says otherwise, and ours does not.
const FOLDER: &str = "/etc/lvm";
/// The files that may be there. Further ones (`lvm_TAG.conf`) are read or not depending on the host's name and tags,
/// which no look at files shows.
const FILES: [&str; 2] = ["lvm.conf", "lvmlocal.conf"];

/// What is known of the host's configuration of LVM.
pub(super) struct Settings {
    folder: PathBuf,
    known: Mutex<Option<Known>>,
}

struct Known {
    files: Files,
    /// It says all that we would.
    agrees: bool,
}

/// Each file, and what changes when it does.
type Files = [Option<[i64; 7]>; FILES.len()];

impl Settings {
    pub(super) fn new() -> Settings {
        Settings { folder: FOLDER.into(), known: Mutex::new(None) }
    }

    /// The command without settings that are in force anyway.
    pub(super) fn shortened(&self, command: &Command) -> Command {
        if self.agree() { without_settings(command) } else { command.clone() }
    }

    /// Asks LVM what it would use if that is not known of the files as they are now. `ask` runs a report; `None`: it
    /// did not end.
    pub(super) fn learn(&self, ask: impl FnOnce(&Command) -> Option<Output>) {
        let Some(files) = files(&self.folder) else { return };
        if self.known().as_ref().is_some_and(|known| known.files == files) {
            return;
        }
        let names = lvm::SETTINGS.map(|(name, _)| name);
        let arguments = [&["lvmconfig", "--typeconfig", "full"], &names[..]].concat();
        let Some(output) = ask(&Command::report(Tool::Lvm, arguments)) else { return };
        let wanted =
            lvm::SETTINGS.map(|(name, value)| format!("{}={value}", name.split('/').next_back().unwrap_or(name)));
        // A version that lacks one of them fails.
        let agrees = output.succeeded() && String::from_utf8_lossy(&output.stdout).lines().map(str::trim).eq(wanted);
        *self.known() = Some(Known { files, agrees });
    }

    fn agree(&self) -> bool {
        let files = files(&self.folder);
        self.known().as_ref().is_some_and(|known| known.agrees && Some(known.files) == files)
    }

    fn known(&self) -> MutexGuard<'_, Option<Known>> {
        crate::locked(&self.known)
    }
}

/// A command without `--config`; as it is if that is not one of the two that say what [`lvm::SETTINGS`] say.
pub(super) fn without_settings(command: &Command) -> Command {
    let settings = lvm::settings();
    let is_ours = |value: &str| value == settings || value == WAIT;
    let at = command.arguments.windows(2).position(|pair| pair[0] == "--config" && is_ours(&pair[1]));
    let mut short = command.clone();
    if let Some(at) = at.filter(|_| command.tool == Tool::Lvm) {
        short.arguments.drain(at..at + 2);
    }
    short
}

/// The files as they are; `None` if what LVM reads cannot be told from them.
fn files(folder: &Path) -> Option<Files> {
    for entry in fs::read_dir(folder).ok()? {
        let name = entry.ok()?.file_name();
        if name.as_encoded_bytes().ends_with(b".conf") && !FILES.iter().any(|known| name == *known) {
            return None;
        }
    }
    let stamp = |of: Metadata| {
        let (device, inode, size) = (of.dev() as i64, of.ino() as i64, of.size() as i64);
        [device, inode, size, of.mtime(), of.mtime_nsec(), of.ctime(), of.ctime_nsec()]
    };
    let files = FILES.map(|name| fs::metadata(folder.join(name)).ok().map(stamp));
    // Without the first, LVM was built to look elsewhere, or what it uses is nobody's decision.
    files[0].is_some().then_some(files)
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test writes files to find")]
mod tests {
    use super::*;

    const DEFAULTS: &str = "wait_for_locks=1\nprefix=\"  \"\ncommand_names=0\nsilent=0\nverbose=0\nreport_command_log=0\n\
        compact_output=0\ncompact_output_cols=\"\"\nprefixes=0\nquoted=1\ncolumns_as_rows=0\nheadings=1\nlist_item_separator=\",\"\n\
        mark_hidden_devices=1\ntwo_word_unknown_device=0\n";

    fn said(text: &str) -> Option<Output> {
        Some(Output { code: Some(0), stdout: text.as_bytes().to_vec(), stderr: String::new() })
    }

    fn command() -> Command {
        Command::mutating(Tool::Lvm, ["lvextend", "-A", "n", "--config", WAIT, "-l", "9", "--", "vg/lv"])
    }

    fn is_shortened(settings: &Settings) -> bool {
        match settings.shortened(&command()).arguments.join(" ").as_str() {
            "lvextend -A n -l 9 -- vg/lv" => true,
            "lvextend -A n --config global/wait_for_locks=1 -l 9 -- vg/lv" => false,
            other => panic!("{other}"),
        }
    }

    fn folder() -> (tempfile::TempDir, Settings) {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("lvm.conf"), "a").expect("a file");
        let settings = Settings { folder: folder.path().to_owned(), known: Mutex::new(None) };
        (folder, settings)
    }

    #[test]
    fn settings_are_left_out_only_while_the_files_are_those_that_lvm_was_asked_about() {
        let (folder, settings) = folder();
        let says = |text: &str| settings.learn(|_| said(text));
        assert!(!is_shortened(&settings), "nobody asked yet");
        says(DEFAULTS);
        assert!(is_shortened(&settings));
        settings.learn(|_| panic!("it is known"));
        let changes: [(&str, &dyn Fn()); 4] = [
            ("longer", &|| fs::write(folder.path().join("lvm.conf"), "ab").expect("a file")),
            ("another of the same length", &|| {
                fs::write(folder.path().join("new"), "xy").expect("a file");
                fs::rename(folder.path().join("new"), folder.path().join("lvm.conf")).expect("a name");
            }),
            ("a second file", &|| fs::write(folder.path().join("lvmlocal.conf"), "").expect("a file")),
            ("none", &|| fs::remove_file(folder.path().join("lvmlocal.conf")).expect("a file")),
        ];
        for (what, change) in changes {
            change();
            assert!(!is_shortened(&settings), "{what}");
            says(DEFAULTS);
            assert!(is_shortened(&settings), "{what}");
        }
        fs::write(folder.path().join("lvm_db1.conf"), "").expect("a file");
        assert!(!is_shortened(&settings), "who knows whether that is read");
    }

    #[test]
    fn one_setting_that_differs_or_is_not_known_keeps_all() {
        for line in DEFAULTS.lines() {
            let (_folder, settings) = folder();
            let other = DEFAULTS.replace(line, &format!("{}=2", line.split('=').next().expect("a name")));
            settings.learn(|_| said(&other));
            assert!(!is_shortened(&settings), "{line}");
            // Nor is it asked again and again.
            settings.learn(|_| panic!("it is known"));
            let (_folder, settings) = folder();
            settings.learn(|_| said(&DEFAULTS.replace(&format!("{line}\n"), "")));
            assert!(!is_shortened(&settings), "without {line}");
        }
        let (_folder, settings) = folder();
        settings.learn(|_| Some(Output { code: Some(5), ..said(DEFAULTS).expect("one") }));
        assert!(!is_shortened(&settings), "it failed");
        let (_folder, settings) = folder();
        settings.learn(|_| None);
        assert!(!is_shortened(&settings));
        settings.learn(|_| said(DEFAULTS));
        assert!(is_shortened(&settings), "asked again");
    }

    #[test]
    fn only_what_is_ours_is_left_out() {
        let other = Command::report(Tool::Lvm, ["lvs", "--config", "global/umask=1", "--", "vg"]);
        assert_eq!(without_settings(&other), other);
        let settings = lvm::settings();
        let report = Command::report(Tool::Lvm, ["systemid", "--config", &settings]);
        assert_eq!(without_settings(&report).arguments, ["systemid"]);
    }
}
