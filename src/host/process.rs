//! This process: what it uses, and what it was left with by whoever started it.

use std::os::fd::RawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::OnceLock;

use procfs::WithCurrentSystemInfo;
use procfs::process::Process;
use rustix::process::{Resource, getrlimit};

use crate::inventory::ProcessUsage;

/// Closes what the starter left open beside standard input, output and error; the programs that this one starts would
/// inherit it (LVM complains, and a lock or a pipe of somebody else's would stay held). Called first of all, when
/// nothing that is open is ours. What systemd passes on purpose (`LISTEN_FDS`, from 3 on) stays: server::Listeners
/// marks it close-on-exec. So does what the command line names (`check-config <(cat FILE)`): whoever names it there
/// means it to be used.
pub fn close_inherited() {
    let is_ours = std::env::var("LISTEN_PID").is_ok_and(|pid| pid == std::process::id().to_string());
    let passed = std::env::var("LISTEN_FDS").ok().filter(|_| is_ours).and_then(|count| count.parse().ok());
    let first = 3 + passed.unwrap_or(0).max(0);
    let named: Vec<RawFd> = std::env::args_os().filter_map(|argument| number_in(&argument.to_string_lossy())).collect();
    let Ok(entries) = std::fs::read_dir("/proc/self/fd") else { return };
    let numbers = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let open: Vec<RawFd> = numbers.filter(|number: &RawFd| *number >= first && !named.contains(number)).collect();
    for number in open {
        // One of them was the folder's own and is closed by now; nothing can be done about one that cannot be closed.
        let _ = nix::unistd::close(number);
    }
}

/// The number in `/dev/fd/63`, `/proc/self/fd/63` or `--config.file=/dev/fd/63`, as shells write `<(...)`.
fn number_in(argument: &str) -> Option<RawFd> {
    let path = argument.split_once('=').map_or(argument, |(_, path)| path);
    path.strip_prefix("/dev/fd/").or_else(|| path.strip_prefix("/proc/self/fd/"))?.parse().ok()
}

/// Whether any process is this program with these arguments, by whatever path and interpreter it was started; or with
/// those, where the same is said in several ways.
pub(super) fn runs(program: &Path, variants: &[Vec<String>]) -> bool {
    let is_it = |line: &[String]| {
        let names = variants.iter().filter_map(|arguments| line.strip_suffix(&arguments[..])?.last().map(Path::new));
        names.into_iter().any(|name| name.file_name() == program.file_name())
    };
    // Who ended while we look, or may not be looked at, is none that this daemon left behind. The arguments of a
    // process that hangs in a page fault cannot be read either, without hanging; the kernel's own name of it can.
    let processes = procfs::process::all_processes().into_iter().flatten().flatten();
    let called_so = processes.filter(|process| is_called(process.pid, program));
    called_so.filter_map(|process| process.cmdline().ok()).any(|line| is_it(&line))
}

/// The file name that was executed, a script's too, cut to TASK_COMM_LEN.
fn is_called(pid: i32, program: &Path) -> bool {
    let Ok(name) = std::fs::read(format!("/proc/{pid}/comm")) else { return false };
    let name = name.strip_suffix(b"\n").unwrap_or(&name);
    let whole = program.file_name().map_or(&b""[..], |file| file.as_bytes());
    name == &whole[..whole.len().min(15)]
}

/// When the host booted, in seconds since the epoch. Asked once: the kernel counts all interrupts for an answer.
fn booted() -> Option<u64> {
    static BOOTED: OnceLock<Option<u64>> = OnceLock::new();
    *BOOTED.get_or_init(|| procfs::boot_time_secs().ok())
}

/// Reads it; `None` where /proc does not say.
pub fn read() -> Option<ProcessUsage> {
    let process = Process::myself().ok()?;
    let stat = process.stat().ok()?;
    let ticks = procfs::ticks_per_second() as f64;
    Some(ProcessUsage {
        cpu_seconds: (stat.utime + stat.stime) as f64 / ticks,
        open_fds: process.fd_count().ok()? as u64,
        max_fds: getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX),
        virtual_memory_bytes: stat.vsize,
        resident_memory_bytes: stat.rss_bytes().get(),
        start_time_seconds: booted()? as f64 + stat.starttime as f64 / ticks,
        threads: u64::try_from(stat.num_threads).unwrap_or(0),
    })
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test starts a process to find")]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_found_by_its_name_and_all_of_its_arguments() {
        let arguments = |last: &str| vec!["-f".to_owned(), "/dev/null".to_owned(), last.to_owned()];
        let mut child = std::process::Command::new("tail")
            .args(arguments("/dev/zero-of-this-test"))
            .stderr(std::process::Stdio::null())
            .spawn()
            .expect("tail");
        let (tail, last) = (Path::new("/usr/bin/tail"), "/dev/zero-of-this-test");
        // Between fork and exec it is still us.
        let found = (0..200).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            runs(tail, &[arguments("another"), arguments(last)])
        });
        assert!(found);
        assert!(!runs(Path::new("/usr/bin/head"), &[arguments(last)]) && !runs(tail, &[arguments("another")]));
        child.kill().expect("ours");
        child.wait().expect("ours");
        assert!(!runs(tail, &[arguments("another"), arguments(last)]));
    }
}
