//! What a process gives up at its start, so that whoever takes it over later has no more: files by Landlock, system
//! calls by seccomp. Both hold for the calling thread and all that begin in it, programs too, and cannot be taken
//! back.
//!
//! Sources: landlock(7), seccomp(2), syscalls(2).

use std::path::Path;

use landlock::{
    ABI, Access, AccessFs, BitFlags, RestrictionStatus, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError,
    RulesetStatus, path_beneath_rules,
};

/// The newest rights that are asked for; a kernel that knows fewer holds those that it knows.
const KNOWN: ABI = ABI::V3;

/// Whether the kernel enforces what it was asked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// All of it.
    Whole,
    /// What this kernel knows.
    Partly,
    /// Nothing: it has no Landlock, or no filters.
    Nothing,
}

impl Held {
    /// For the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Held::Whole => "yes",
            Held::Partly => "in part",
            Held::Nothing => "no",
        }
    }
}

/// From here on only what is in one of these is read, and only what is in one of those is written, made or removed.
/// What does not exist is left out. With `runs`, programs may be started from what is read.
pub fn files(reads: &[&Path], runs: bool, writes: &[&Path]) -> Result<Held, RulesetError> {
    let mut reading: BitFlags<AccessFs> = AccessFs::ReadFile | AccessFs::ReadDir;
    if runs {
        reading |= AccessFs::Execute;
    }
    let status = Ruleset::default()
        .handle_access(AccessFs::from_all(KNOWN))?
        .create()?
        .add_rules(path_beneath_rules(reads, reading))?
        .add_rules(path_beneath_rules(writes, reading | AccessFs::from_write(KNOWN)))?
        .restrict_self()?;
    Ok(held(&status))
}

fn held(status: &RestrictionStatus) -> Held {
    match status.ruleset {
        RulesetStatus::FullyEnforced => Held::Whole,
        RulesetStatus::PartiallyEnforced => Held::Partly,
        RulesetStatus::NotEnforced => Held::Nothing,
    }
}

pub use calls::calls_of_a_server;

/// seccompiler knows these processors.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod calls {
    use std::collections::BTreeMap;

    use nix::libc;
    use seccompiler::{
        BpfProgram, Error, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    };

    use super::Held;

    /// What a server on tokio needs, which reads certificates, looks up names and starts threads, with the C library
    /// of GNU or musl. What is not in it is answered as by a kernel that does not have it, and both libraries know
    /// what to do then.
    const ANY: &[libc::c_long] = &[
        // Memory, and the processor.
        libc::SYS_brk,
        libc::SYS_mmap,
        libc::SYS_munmap,
        libc::SYS_mremap,
        libc::SYS_mprotect,
        libc::SYS_madvise,
        libc::SYS_membarrier,
        libc::SYS_sched_yield,
        libc::SYS_sched_getaffinity,
        libc::SYS_rseq,
        libc::SYS_getrandom,
        libc::SYS_sysinfo,
        // Time.
        libc::SYS_clock_gettime,
        libc::SYS_clock_getres,
        libc::SYS_clock_nanosleep,
        libc::SYS_nanosleep,
        libc::SYS_gettimeofday,
        // Threads, signals and the end.
        libc::SYS_futex,
        libc::SYS_set_robust_list,
        libc::SYS_set_tid_address,
        libc::SYS_restart_syscall,
        libc::SYS_rt_sigaction,
        libc::SYS_rt_sigprocmask,
        libc::SYS_rt_sigreturn,
        libc::SYS_sigaltstack,
        libc::SYS_gettid,
        libc::SYS_getpid,
        libc::SYS_tgkill,
        libc::SYS_tkill,
        libc::SYS_exit,
        libc::SYS_exit_group,
        // Who it is, and where.
        libc::SYS_getuid,
        libc::SYS_geteuid,
        libc::SYS_getgid,
        libc::SYS_getegid,
        libc::SYS_uname,
        libc::SYS_getcwd,
        // Files.
        libc::SYS_openat,
        libc::SYS_close,
        libc::SYS_read,
        libc::SYS_readv,
        libc::SYS_pread64,
        libc::SYS_write,
        libc::SYS_writev,
        libc::SYS_lseek,
        libc::SYS_fstat,
        libc::SYS_newfstatat,
        libc::SYS_statx,
        libc::SYS_fstatfs,
        libc::SYS_readlinkat,
        libc::SYS_faccessat,
        libc::SYS_faccessat2,
        libc::SYS_getdents64,
        libc::SYS_fcntl,
        libc::SYS_ioctl,
        libc::SYS_dup,
        libc::SYS_dup3,
        libc::SYS_pipe2,
        // A socket with a name, and the one that was there before it.
        libc::SYS_unlinkat,
        libc::SYS_fchmodat,
        // Waiting for several.
        libc::SYS_epoll_create1,
        libc::SYS_epoll_ctl,
        libc::SYS_epoll_pwait,
        libc::SYS_epoll_pwait2,
        libc::SYS_eventfd2,
        libc::SYS_ppoll,
        libc::SYS_pselect6,
        // Sockets.
        libc::SYS_bind,
        libc::SYS_listen,
        libc::SYS_accept4,
        libc::SYS_connect,
        libc::SYS_shutdown,
        libc::SYS_getsockname,
        libc::SYS_getpeername,
        libc::SYS_getsockopt,
        libc::SYS_setsockopt,
        libc::SYS_sendto,
        libc::SYS_sendmsg,
        libc::SYS_sendmmsg,
        libc::SYS_recvfrom,
        libc::SYS_recvmsg,
        libc::SYS_recvmmsg,
    ];

    /// The old forms of some of them.
    #[cfg(target_arch = "x86_64")]
    const OLD: &[libc::c_long] = &[
        libc::SYS_open,
        libc::SYS_stat,
        libc::SYS_lstat,
        libc::SYS_readlink,
        libc::SYS_access,
        libc::SYS_unlink,
        libc::SYS_chmod,
        libc::SYS_dup2,
        libc::SYS_pipe,
        libc::SYS_poll,
        libc::SYS_select,
        libc::SYS_epoll_wait,
        libc::SYS_accept,
        libc::SYS_time,
        libc::SYS_arch_prctl,
    ];
    #[cfg(not(target_arch = "x86_64"))]
    const OLD: &[libc::c_long] = &[libc::SYS_accept];

    /// From here on the kernel does for this process what a server needs and nothing else: it starts no program,
    /// traces and signals nobody, changes no user, and has no sockets but Unix', TCP's and UDP's.
    pub fn calls_of_a_server() -> Result<Held, Error> {
        match seccompiler::apply_filter(&program()?) {
            Ok(()) => Ok(Held::Whole),
            // EINVAL: a kernel without filters.
            Err(Error::Seccomp(error) | Error::Prctl(error)) if error.raw_os_error() == Some(libc::EINVAL) => {
                Ok(Held::Nothing)
            }
            Err(error) => Err(error),
        }
    }

    fn program() -> Result<BpfProgram, Error> {
        let mut rules: BTreeMap<i64, Vec<SeccompRule>> = ANY.iter().chain(OLD).map(|call| (*call, vec![])).collect();
        let families = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6];
        let families = families.iter().map(|family| only(0, SeccompCmpOp::Eq, *family as u64));
        rules.insert(libc::SYS_socket, families.collect::<Result<_, _>>()?);
        // Between its own threads: tokio's for signals.
        rules.insert(libc::SYS_socketpair, vec![only(0, SeccompCmpOp::Eq, libc::AF_UNIX as u64)?]);
        // Threads and not processes. clone3 hides its flags, so that the C library has to fall back on this one.
        let thread = libc::CLONE_THREAD as u64;
        rules.insert(libc::SYS_clone, vec![only(0, SeccompCmpOp::MaskedEq(thread), thread)?]);
        // A thread's name.
        rules.insert(libc::SYS_prctl, vec![only(0, SeccompCmpOp::Eq, libc::PR_SET_NAME as u64)?]);
        // Limits are read, of this process, and not set.
        rules.insert(
            libc::SYS_prlimit64,
            vec![SeccompRule::new(vec![
                SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, 0)?,
                SeccompCondition::new(2, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, 0)?,
            ])?],
        );
        let denied = SeccompAction::Errno(libc::ENOSYS as u32);
        let filter = SeccompFilter::new(rules, denied, SeccompAction::Allow, std::env::consts::ARCH.try_into()?)?;
        Ok(filter.try_into()?)
    }

    /// If that argument is so.
    fn only(argument: u8, is: SeccompCmpOp, value: u64) -> Result<SeccompRule, seccompiler::BackendError> {
        SeccompRule::new(vec![SeccompCondition::new(argument, SeccompCmpArgLen::Dword, is, value)?])
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
mod calls {
    use super::Held;

    /// There are no filters for this processor.
    pub fn calls_of_a_server() -> Result<Held, std::convert::Infallible> {
        Ok(Held::Nothing)
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "what is denied has to be tried, in a folder of our own")]
mod tests {
    use std::io::ErrorKind;
    use std::net::{Ipv4Addr, TcpListener, TcpStream};
    use std::os::unix::net::{UnixDatagram, UnixStream};
    use std::path::Path;
    use std::process::Command;

    use super::{Held, calls_of_a_server, files};

    /// What holds for a thread holds for those that it starts, and ends with them.
    fn in_a_thread(check: impl FnOnce() + Send + 'static) {
        std::thread::spawn(check).join().expect("nothing of it fails");
    }

    fn has_landlock() -> bool {
        std::fs::read_to_string("/sys/kernel/security/lsm").is_ok_and(|names| names.contains("landlock"))
    }

    #[test]
    fn a_thread_reads_and_writes_only_what_it_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let named = |name: &str| {
            let path = folder.path().join(name);
            std::fs::create_dir(&path).expect("a folder");
            std::fs::write(path.join("old"), "x").expect("a file");
            path
        };
        let (read, written, neither) = (named("read"), named("written"), named("neither"));
        in_a_thread(move || {
            let gone = Path::new("/is/not/there");
            let held = files(&[&read, gone], false, &[&written, gone]).expect("it is held or not known");
            if held == Held::Nothing && !has_landlock() {
                return;
            }
            std::thread::spawn(move || {
                let denied = |result: std::io::Result<()>| {
                    assert_eq!(result.map_err(|error| error.kind()), Err(ErrorKind::PermissionDenied));
                };
                std::fs::read(read.join("old")).expect("it may be read");
                std::fs::read(written.join("old")).expect("it may be read");
                std::fs::write(written.join("new"), "").expect("it may be written");
                std::fs::rename(written.join("new"), written.join("newer")).expect("it may have another name");
                std::fs::remove_file(written.join("old")).expect("it may be removed");
                denied(std::fs::write(read.join("new"), ""));
                denied(std::fs::write(read.join("old"), ""));
                denied(std::fs::remove_file(read.join("old")));
                denied(std::fs::read(neither.join("old")).map(drop));
                denied(std::fs::read_dir(&neither).map(drop));
                denied(std::fs::write(neither.join("new"), ""));
                denied(Command::new("/bin/true").status().map(drop));
            })
            .join()
            .expect("nothing of it fails");
        });
    }

    #[test]
    fn a_server_has_its_sockets_and_threads_and_starts_no_program() {
        in_a_thread(|| {
            assert_eq!(calls_of_a_server().expect("filters are known"), Held::Whole);
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
            let address = listener.local_addr().expect("an address");
            let stream = std::thread::spawn(move || TcpStream::connect(address).map(drop));
            listener.accept().expect("a stream");
            stream.join().expect("a thread").expect("a connection");
            UnixStream::pair().expect("a pair");
            UnixDatagram::unbound().expect("a socket for systemd");
            std::fs::read("/etc/passwd").expect("files are another matter");
            let started = Command::new("/bin/true").status().expect_err("a program");
            assert_eq!(started.raw_os_error(), Some(nix::libc::ENOSYS));
            let nobody = nix::sys::signal::kill(nix::unistd::getppid(), None);
            assert_eq!(nobody, Err(nix::errno::Errno::ENOSYS));
            let netlink = nix::sys::socket::socket(
                nix::sys::socket::AddressFamily::Netlink,
                nix::sys::socket::SockType::Raw,
                nix::sys::socket::SockFlag::empty(),
                None,
            );
            assert_eq!(netlink.map(drop), Err(nix::errno::Errno::ENOSYS));
        });
    }
}
