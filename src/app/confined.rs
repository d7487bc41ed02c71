//! What each half of a daemon of two processes gives up at its start. The log says what the kernel does not enforce.

use std::path::{Path, PathBuf};

use crate::config::Config;
use crate::confine::{self, Held};
use crate::server::ListenAddress;

/// Where LVM, cryptsetup, growpart and the C library write, and this program's own last resort.
const OF_TOOLS: &[&str] = &["/dev", "/etc/lvm", "/proc", "/run", "/sys", "/tmp"];

/// What the web process reads for itself: certificates that the host trusts, how names are looked up, what the C
/// library loads for that, the time zone, and itself, for its metrics.
const OF_WEB: &[&str] = &[
    "/dev/null",
    "/dev/urandom",
    "/etc/ca-certificates",
    "/etc/gai.conf",
    "/etc/host.conf",
    "/etc/hosts",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/etc/nsswitch.conf",
    "/etc/pki",
    "/etc/resolv.conf",
    "/etc/services",
    "/etc/ssl",
    "/lib",
    "/lib64",
    "/proc/self",
    "/proc/stat",
    "/proc/sys/kernel/osrelease",
    "/run/NetworkManager",
    "/run/resolvconf",
    "/run/systemd/resolve",
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/share/ca-certificates",
    "/usr/share/ca-certificates",
    "/usr/share/zoneinfo",
    "/var/lib/ca-certificates",
];

/// As `openssl` and the library that reads the host's certificates have it.
const CERTIFICATES: [&str; 2] = ["SSL_CERT_FILE", "SSL_CERT_DIR"];

/// The folders in which the engine may write from its start to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Folders(Vec<PathBuf>);

impl Folders {
    /// What stands in the config may be made, moved away and put back while the daemon runs, on another file system
    /// too: therefore the folders around them.
    fn of_engine(config: &Config, socket: &Path) -> Folders {
        let around = written(config).into_iter().map(|(_, path)| around_of(&path)).chain([around_of(socket)]);
        let mut folders: Vec<PathBuf> = OF_TOOLS.iter().map(PathBuf::from).chain(around).collect();
        folders.sort_unstable();
        folders.dedup();
        Folders(folders)
    }

    /// Why a new config cannot be in force without a new start.
    pub(super) fn objection(&self, config: &Config) -> Option<String> {
        let is_closed = |path: &Path| !self.0.iter().any(|folder| path.starts_with(folder));
        let (key, path) = written(config).into_iter().find(|(_, path)| is_closed(path))?;
        let path = path.display();
        Some(format!("{key}: {path} is where this process may not write since its start: restart the daemon"))
    }
}

/// What the engine writes, by the keys that say where.
fn written(config: &Config) -> Vec<(&'static str, PathBuf)> {
    let mut paths = vec![
        ("state.directory", config.state_directory.clone()),
        ("state.directory", config.witness.clone()),
        ("state.directory", config.control_socket()),
        ("report.directory", config.report_directory()),
    ];
    paths.extend(config.audit.iter().map(|audit| ("audit.file", audit.file.clone())));
    paths
}

fn around_of(path: &Path) -> PathBuf {
    path.parent().unwrap_or(path).to_owned()
}

/// The engine reads what it likes and starts programs; it writes only in these folders, and so do they.
pub(super) fn engine(config: &Config, socket: &Path) -> Option<Folders> {
    let folders = Folders::of_engine(config, socket);
    let writes: Vec<&Path> = folders.0.iter().map(PathBuf::as_path).collect();
    let held = landlocked(&[Path::new("/")], true, &writes);
    tracing::info!(landlock = held.as_str(), "confined");
    (held != Held::Nothing).then_some(folders)
}

/// The web process reads little, writes nothing but the names of its sockets, and starts nothing.
pub(super) fn web(listen: &[ListenAddress]) {
    let given: Vec<PathBuf> = CERTIFICATES.iter().filter_map(std::env::var_os).flat_map(|of| paths(&of)).collect();
    let reads: Vec<&Path> = OF_WEB.iter().map(Path::new).chain(given.iter().map(PathBuf::as_path)).collect();
    let writes: Vec<PathBuf> = listen.iter().filter_map(ListenAddress::path).map(around_of).collect();
    let writes: Vec<&Path> = writes.iter().map(PathBuf::as_path).collect();
    let landlock = landlocked(&reads, false, &writes);
    let seccomp = confine::calls_of_a_server().unwrap_or_else(|error| {
        tracing::warn!("system calls are not confined: {error}");
        Held::Nothing
    });
    tracing::info!(landlock = landlock.as_str(), seccomp = seccomp.as_str(), "confined");
}

fn paths(of: &std::ffi::OsString) -> Vec<PathBuf> {
    std::env::split_paths(of).collect()
}

fn landlocked(reads: &[&Path], runs: bool, writes: &[&Path]) -> Held {
    confine::files(reads, runs, writes).unwrap_or_else(|error| {
        tracing::warn!("files are not confined: {}", crate::chain(&error));
        Held::Nothing
    })
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::Folders;
    use crate::config::Config;

    #[test]
    fn a_config_that_writes_elsewhere_needs_a_start() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        let mut config = Config::default();
        config.report.directory = Some(at("reports/kept"));
        std::fs::create_dir(at("reports")).expect("a folder");
        let folders = Folders::of_engine(&config, Path::new("/run/engine.sock"));
        assert!(folders.0.contains(&at("reports")) && !folders.0.contains(&at("")), "{folders:?}");
        assert_eq!(folders.objection(&config), None);
        config.report.directory = Some(PathBuf::from("/srv/reports"));
        let said = folders.objection(&config).expect("an objection");
        assert!(said.starts_with("report.directory: /srv/reports is where"), "{said}");
    }
}
