//! Runs a program: absolute path, no shell, an environment of three variables, nothing inherited.
//!
//! Output goes into memory files, not pipes: a reader that dies with a pipe would take the writer with it (`SIGPIPE`),
//! and `lvextend` must not die between suspending and resuming a device because this daemon was killed. For the same
//! reason a program gets a process group of its own, out of reach of a Ctrl-C at our terminal.

#![expect(clippy::disallowed_methods, reason = "the one place that starts programs")]

use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{PidfdFlags, pidfd_open};

/// A full report of 5,000 volumes is 20 MB; what prints more is broken.
pub(super) const MAX_OUTPUT: u64 = 64 << 20;
/// A warning for each of thousands of devices fits; beyond it writing fails, as above.
const MAX_ERRORS: u64 = 4 << 20;
/// Enough of an error for a person.
const MAX_COMPLAINT: usize = 2048;

/// So many reports that do not die may be left behind. A process that waits for a device in the kernel outlives
/// SIGKILL, and each further one that asks the same device would hang beside it until the host has no processes left.
const MOST_LEFT: usize = 4;

/// The reports that were killed and have not ended.
#[derive(Clone, Default)]
pub(super) struct LeftBehind(Arc<AtomicUsize>);

impl LeftBehind {
    /// How many, if that is too many to start another.
    pub(super) fn too_many(&self) -> Option<usize> {
        Some(self.0.load(Ordering::Relaxed)).filter(|left| *left >= MOST_LEFT)
    }

    fn wait_for(&self, mut child: Child) {
        self.0.fetch_add(1, Ordering::Relaxed);
        let left = self.clone();
        std::thread::spawn(move || {
            // The wait fails only for a child that is not ours; it is not there then.
            let _ = child.wait();
            left.0.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

/// How a run ended.
pub(super) enum RunEnd {
    /// By itself.
    Exited(super::Output),
    /// It was killed at its deadline.
    TimedOut,
    /// It was killed because it printed too much.
    TooMuch,
}

/// Runs a program that only reads, and kills it at the deadline.
pub(super) fn report(
    program: &Path,
    arguments: &[String],
    deadline: Duration,
    left: &LeftBehind,
) -> io::Result<RunEnd> {
    let mut run = Run::start(program, arguments)?;
    loop {
        if let Some(output) = run.poll()? {
            // Who cannot write more may end by itself, with whatever code.
            let is_whole = (output.stdout.len() as u64) < MAX_OUTPUT;
            return Ok(if is_whole { RunEnd::Exited(output) } else { RunEnd::TooMuch });
        }
        let ended = if run.started.elapsed() >= deadline {
            RunEnd::TimedOut
        } else if run.stdout.stream_position()? >= MAX_OUTPUT {
            RunEnd::TooMuch
        } else {
            continue;
        };
        run.kill_and_leave(left);
        return Ok(ended);
    }
}

/// Runs a program that changes something, and waits for it however long it takes.
pub(super) fn mutating(
    program: &Path,
    arguments: &[String],
    expected: Duration,
    overdue: &dyn Fn(),
) -> io::Result<super::Output> {
    let mut run = Run::start(program, arguments)?;
    let mut told = false;
    loop {
        if let Some(output) = run.poll()? {
            return Ok(output);
        }
        if !told && run.started.elapsed() >= expected {
            told = true;
            overdue();
        }
    }
}

/// The longest a wait is before somebody looks at the clock and at how much was written.
const SLICE: Duration = Duration::from_millis(100);

struct Run {
    child: Child,
    /// Becomes readable when the child ends. The kernels before 5.3 have none.
    end: Option<OwnedFd>,
    started: Instant,
    stdout: File,
    stderr: File,
}

impl Run {
    fn start(program: &Path, arguments: &[String]) -> io::Result<Run> {
        let (stdout, stderr) = (memory(MAX_OUTPUT)?, memory(MAX_ERRORS)?);
        // No `current_dir`: linked statically the program would then be forked, page tables and all, instead of
        // spawned. All paths are absolute, and the service's folder is / anyway.
        let child = std::process::Command::new(program)
            .args(arguments)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("LC_ALL", "C")
            .env("LVM_SUPPRESS_FD_WARNINGS", "1")
            .stdin(Stdio::null())
            .stdout(stdout.try_clone()?)
            .stderr(stderr.try_clone()?)
            .process_group(0)
            .spawn()?;
        let end = pidfd_open(rustix::process::Pid::from_child(&child), PidfdFlags::empty()).ok();
        Ok(Run { child, end, started: Instant::now(), stdout, stderr })
    }

    /// Waits until it ends, but only for a moment.
    fn poll(&mut self) -> io::Result<Option<super::Output>> {
        self.pause();
        let Some(status) = self.child.try_wait()? else { return Ok(None) };
        let mut stderr = read(&mut self.stderr)?;
        stderr.truncate(MAX_COMPLAINT);
        let stderr = String::from_utf8_lossy(&stderr).into_owned();
        let stderr = match status.signal() {
            Some(signal) => format!("signal {signal}\n{stderr}"),
            None => stderr,
        };
        Ok(Some(super::Output { code: status.code(), stdout: read(&mut self.stdout)?, stderr }))
    }

    fn pause(&self) {
        let slice = Timespec { tv_sec: 0, tv_nsec: SLICE.subsec_nanos().into() };
        let waited = self.end.as_ref().map(|end| poll(&mut [PollFd::new(end, PollFlags::IN)], Some(&slice)));
        if !matches!(waited, Some(Ok(_) | Err(Errno::INTR))) {
            // From 1 to 20 ms, and in between a 32nd of what it took so far.
            let moment = self.started.elapsed() / 32;
            std::thread::sleep(moment.clamp(Duration::from_millis(1), Duration::from_millis(20)));
        }
    }

    /// With all that it started: `lvm` may be somebody's script. A process in an uninterruptible sleep outlives SIGKILL
    /// for a while; nobody waits for it here.
    fn kill_and_leave(self, left: &LeftBehind) {
        // The group is its own and still there, for its leader was not waited for. If it cannot be killed it is there
        // still.
        if let Ok(group) = i32::try_from(self.child.id()).map(Pid::from_raw) {
            let _ = killpg(group, Signal::SIGKILL);
        }
        left.wait_for(self.child);
    }
}

/// A file in memory that cannot grow beyond its limit: a write beyond it fails, however fast the writer and however
/// late we look. Without that a program gone wild fills the host's memory, which nobody is charged for and nobody
/// frees.
fn memory(limit: u64) -> io::Result<File> {
    let file = File::from(memfd_create(c"output", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?);
    file.set_len(limit)?;
    fcntl(&file, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_GROW))?;
    Ok(file)
}

/// What was written: the program writes through the same open file, so the position is where it stopped.
fn read(file: &mut File) -> io::Result<Vec<u8>> {
    let length = file.stream_position()?;
    file.rewind()?;
    // All at once: a vector that doubles while megabytes are read leaves as much behind as it holds.
    let mut bytes = Vec::with_capacity(length as usize);
    file.take(length).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Vec<String> {
        vec!["-c".to_owned(), script.to_owned()]
    }

    #[test]
    fn output_code_and_a_bare_environment() {
        let run = |script: &str| mutating(Path::new("/bin/sh"), &sh(script), Duration::MAX, &|| ()).expect("runs");
        let output = run("env | cut -d= -f1 | sort; echo oops >&2; exit 5");
        assert_eq!(output.complaint(), "exited with 5: oops");
        let names = String::from_utf8(output.stdout).expect("text");
        assert_eq!(names, "LC_ALL\nLVM_SUPPRESS_FD_WARNINGS\nPATH\nPWD\n");
        // What the test itself was given may be passed on, what it opens is not; standard input is empty.
        let ours = tempfile::NamedTempFile::new().expect("a file");
        let passed = String::from_utf8(run("cat; ls -l /proc/self/fd").stdout).expect("text");
        assert!(!passed.contains(&*ours.path().to_string_lossy()), "{passed}");
        assert_eq!(run("kill -9 $$").code, None);
    }

    #[test]
    fn a_report_is_killed_at_its_deadline_or_when_it_floods() {
        let left = LeftBehind::default();
        let report = |script: &str, ms| {
            report(Path::new("/bin/sh"), &sh(script), Duration::from_millis(ms), &left).expect("runs")
        };
        assert!(matches!(report("exec sleep 60", 50), RunEnd::TimedOut));
        assert!(matches!(report("exec cat /dev/zero", 60_000), RunEnd::TooMuch));
        // However late we look, no more than the limit was ever in memory.
        let late = mutating(Path::new("/bin/sh"), &sh("cat /dev/zero 2>/dev/null; echo $? >&2"), Duration::MAX, &|| ());
        let late = late.expect("runs");
        assert_eq!(
            (late.stdout.len() as u64, late.stderr.trim()),
            (MAX_OUTPUT, "1"),
            "its writes fail and it is not killed"
        );
        assert!(matches!(report("exit 3", 60_000), RunEnd::Exited(output) if output.code == Some(3)));
        // Those that were killed have ended soon, and are not counted any more.
        assert!((0..1000).any(|_| {
            std::thread::sleep(Duration::from_millis(10));
            left.0.load(Ordering::Relaxed) == 0
        }));
    }

    #[test]
    fn what_does_not_die_is_counted_until_it_ends() {
        let left = LeftBehind::default();
        let mut hung: Vec<Child> = (0..MOST_LEFT)
            .map(|_| std::process::Command::new("/bin/cat").stdin(Stdio::piped()).spawn().expect("runs"))
            .collect();
        let inputs: Vec<_> = hung.iter_mut().map(|child| child.stdin.take().expect("a pipe")).collect();
        for child in hung {
            assert_eq!(left.too_many(), None);
            left.wait_for(child);
        }
        assert_eq!(left.too_many(), Some(MOST_LEFT));
        drop(inputs);
        assert!((0..1000).any(|_| {
            std::thread::sleep(Duration::from_millis(10));
            left.too_many().is_none()
        }));
    }

    #[test]
    fn a_change_is_waited_for_and_reported_overdue_once() {
        let told = std::cell::Cell::new(0);
        let output =
            mutating(Path::new("/bin/sh"), &sh("sleep 0.2"), Duration::from_millis(20), &|| told.set(told.get() + 1));
        assert!(output.expect("runs").succeeded());
        assert_eq!(told.get(), 1);
    }
}
