//! A person at the simulated host, who pastes the commands that are named to people into a root shell.

use super::commands::{e2fsck, on_volume, run};
use super::model::{Model, SimFs};
use super::output::{fails, succeeds};
use crate::command::{Command, Tool};
use crate::host::Output;

/// What a person does at the machine.
pub(super) fn paste(model: &mut Model, line: &str) -> Output {
    let words = shell_words(line);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["umount", point] => match file_systems(model).find(|fs| fs.mounted && fs.mount_point.as_str() == *point) {
            Some(fs) => {
                (fs.mounted, fs.by_backup) = (false, false);
                succeeds("")
            }
            None => fails(32, format!("umount: {point}: not mounted.")),
        },
        ["mount", "-o", "remount,rw", point] => {
            file_systems(model).filter(|fs| fs.mount_point.as_str() == *point).for_each(|fs| fs.read_only = false);
            succeeds("")
        }
        ["mount", device, point] => {
            let found = model.lvs.iter_mut().find(|lv| lv.active && lv.name.dm_path().to_string_lossy() == *device);
            match (found.and_then(|lv| lv.fs.as_mut()), point.parse()) {
                (Some(fs), Ok(point)) => {
                    (fs.mounted, fs.mount_point, fs.checked, fs.mounted_as) = (true, point, false, None);
                    succeeds("")
                }
                _ => fails(32, format!("mount: {point}: {device} cannot be mounted")),
            }
        }
        ["fsfreeze", "-u", point] => {
            file_systems(model).filter(|fs| fs.mount_point.as_str() == *point).for_each(|fs| fs.frozen = false);
            succeeds("")
        }
        ["dmsetup", "resume", device] => {
            let found = model.lvs.iter().find(|lv| lv.name.dm_path().to_string_lossy() == *device);
            let name = found.map_or(String::new(), |lv| lv.name.to_string());
            on_volume(model, &name, |lv| lv.suspended = false)
        }
        // Without -p it mends all, and a person says yes.
        ["e2fsck", "-f", device] => {
            let found = model.lvs.iter_mut().find(|lv| lv.name.dm_path().to_string_lossy() == *device);
            found.and_then(|lv| lv.fs.as_mut()).into_iter().for_each(|fs| fs.broken = false);
            e2fsck(model, device)
        }
        [program, arguments @ ..] => match Tool::ALL.iter().copied().find(|tool| tool.as_str() == *program) {
            Some(tool) => run(model, &Command::mutating(tool, arguments.iter().copied())),
            None => fails(127, format!("{program}: command not found")),
        },
        [] => succeeds(""),
    }
}

fn file_systems(model: &mut Model) -> impl Iterator<Item = &mut SimFs> {
    model.lvs.iter_mut().filter_map(|lv| lv.fs.as_mut())
}

/// What `command::shell_word` wrote.
fn shell_words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted) = (Vec::new(), None::<String>, false);
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            '\'' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            '\\' if !quoted => word.get_or_insert_default().extend(chars.next()),
            ' ' if !quoted => words.extend(word.take()),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}
