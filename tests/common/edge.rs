//! The program as the network sees it: a folder with certificates, tokens and passwords, daemons and relays that are
//! started in it, and curl.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use assert_cmd::cargo::cargo_bin;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use tempfile::TempDir;

pub(crate) const HOST: &str = "
names: [db1]
volume_groups:
  - name: vg
    physical_volumes: [{ name: /dev/sdb, size: 20GiB }]
    logical_volumes:
      - { name: data, size: 4GiB, filesystem: { type: ext4, mount_point: /data, used: 50% } }
";
pub(crate) const TARGETS: &str = "monitor: { targets: [{ lv_path: /dev/vg/data, mount_point: /data }] }\n";
/// Everything that must never be seen in a log or on a page.
pub(crate) const TOKEN: &str = "t0ken-of-the-webhook";
pub(crate) const PASSWORD: &str = "passw0rd-of-alice";
pub(crate) const HOOK_PASSWORD: &str = "passw0rd-of-the-webhook";

/// Files, and what the daemon is started with.
pub(crate) struct Place {
    pub(crate) folder: TempDir,
    pub(crate) ca: CertifiedIssuer<'static, KeyPair>,
    pub(crate) hash: String,
}

impl Place {
    pub(crate) fn new() -> Place {
        let mut params = CertificateParams::new(vec![]).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "ca");
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a CA");
        // The least cost there is: the tests are about who is let in.
        let hash = bcrypt::hash(PASSWORD, 4).expect("a hash");
        let place = Place { folder: tempfile::tempdir().expect("a folder"), ca, hash };
        place.write("host.yaml", HOST);
        place.write("token", &format!("{TOKEN}\n"));
        place.write("password", HOOK_PASSWORD);
        place.write("ca.pem", &place.ca.pem());
        place.certificate("server", &["127.0.0.1", "localhost"]);
        place.certificate("alertmanager", &["alertmanager.example.com"]);
        place.certificate("prometheus", &["prometheus.example.com"]);
        place
    }

    pub(crate) fn certificate(&self, name: &str, names: &[&str]) {
        let mut params =
            CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).expect("names");
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().expect("a key");
        let signed = params.signed_by(&key, &self.ca).expect("signed");
        self.write(&format!("{name}.pem"), &signed.pem());
        self.write(&format!("{name}.key"), &key.serialize_pem());
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// In one step, as careful people replace such files.
    #[expect(clippy::disallowed_methods, reason = "a test writes its input")]
    pub(crate) fn write(&self, name: &str, text: &str) {
        let new = self.path(&format!("{name}.new"));
        std::fs::write(&new, text).expect("written");
        std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o600)).expect("ours");
        std::fs::rename(new, self.path(name)).expect("in place");
    }

    pub(crate) fn users(&self) -> String {
        format!("basic_auth_users: {{ alice: '{}' }}\n", self.hash)
    }

    /// A daemon; `webhook` is that section of its config.
    pub(crate) fn serve(&self, webhook: &str, web: &str, listen: &str) -> Daemon {
        self.start(&format!("{TARGETS}{webhook}"), web, &[&format!("--web.listen-address={listen}")])
    }

    pub(crate) fn command(&self, config: &str, web: &str, more: &[&str]) -> Command {
        let state = self.path("state");
        self.write("config.yaml", &format!("{config}\nstate: {{ directory: {} }}\n", state.display()));
        let mut command = crate::common::split::daemon();
        command.arg("serve").arg("--log.level=trace");
        command.arg(format!("--config.file={}", self.path("config.yaml").display()));
        command.arg(format!("--simulate={}", self.path("host.yaml").display()));
        if !web.is_empty() {
            self.write("web.yml", web);
            command.arg(format!("--web.config.file={}", self.path("web.yml").display()));
        }
        command.args(more).current_dir(self.folder.path()).stdin(Stdio::null());
        command
    }

    /// A relay in front of the hosts of `hosts.json`.
    pub(crate) fn relay(&self, web: &str, more: &[&str]) -> Command {
        let mut command = program(cargo_bin("lvm-autoscaler"));
        command.arg("relay").arg("--log.level=trace");
        command.arg(format!("--targets-file={}", self.path("hosts.json").display()));
        if !web.is_empty() {
            self.write("relay-web.yml", web);
            command.arg(format!("--web.config.file={}", self.path("relay-web.yml").display()));
        }
        command.args(more).current_dir(self.folder.path()).stdin(Stdio::null());
        command
    }

    pub(crate) fn start(&self, config: &str, web: &str, more: &[&str]) -> Daemon {
        Daemon::watch(self.command(config, web, more))
    }

    /// Starts one that must refuse; what it says.
    pub(crate) fn refuses(&self, config: &str, web: &str, more: &[&str]) -> String {
        refused(self.command(config, web, more))
    }

    /// The status of an answer, 0 if there was none; and everything that came.
    pub(crate) fn curl(&self, daemon: &Daemon, path: &str, arguments: &[&str]) -> (u16, String) {
        let scheme = if daemon.speaks_tls { "https" } else { "http" };
        let address = daemon.address.map_or("localhost".to_owned(), |address| format!("127.0.0.1:{}", address.port()));
        let mut command = program("curl");
        command.args(["-s", "-i", "--max-time", "30", "-w", "\n%{http_code}", "--cacert", "ca.pem"]).args(arguments);
        command.arg(format!("{scheme}://{address}{path}"));
        let output = command.current_dir(self.folder.path()).output().expect("curl is installed");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let status = text.lines().last().and_then(|line| line.parse().ok()).expect("a status");
        (status, text)
    }

    pub(crate) fn status(&self, daemon: &Daemon, path: &str, arguments: &[&str]) -> u16 {
        self.curl(daemon, path, arguments).0
    }

    pub(crate) fn tls(&self, more: &str) -> String {
        format!("tls_server_config:\n  cert_file: server.pem\n  key_file: server.key\n{more}")
    }
}

#[expect(clippy::disallowed_methods, reason = "the program under test, and curl, are started")]
pub(crate) fn program(path: impl AsRef<std::ffi::OsStr>) -> Command {
    Command::new(path)
}

pub(crate) struct Daemon {
    pub(crate) process: Child,
    pub(crate) address: Option<SocketAddr>,
    pub(crate) speaks_tls: bool,
    pub(crate) said: Arc<Mutex<String>>,
}

impl Daemon {
    pub(crate) fn watch(mut command: Command) -> Daemon {
        let web = |argument: &std::ffi::OsStr| argument.to_str()?.strip_prefix("--web.config.file=").map(PathBuf::from);
        let speaks_tls = command
            .get_args()
            .find_map(web)
            .is_some_and(|file| std::fs::read_to_string(file).is_ok_and(|web| web.contains("cert_file")));
        let mut process = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts");
        let mut log = BufReader::new(process.stderr.take().expect("piped"));
        let mut begun = String::new();
        while !begun.contains("msg=listening") && !begun.contains("message=listening") {
            assert!(log.read_line(&mut begun).expect("text") > 0, "it ended: {begun}");
        }
        let said = Arc::new(Mutex::new(begun));
        let saying = Arc::clone(&said);
        std::thread::spawn(move || {
            for line in log.lines().map_while(Result::ok) {
                let mut said = saying.lock().expect("not poisoned");
                said.push_str(&line);
                said.push('\n');
            }
        });
        let mut daemon = Daemon { process, address: None, speaks_tls, said };
        daemon.address = daemon
            .log()
            .split("address=")
            .nth(1)
            .and_then(|rest| rest.split_whitespace().next()?.trim_matches('"').parse().ok());
        daemon
    }

    pub(crate) fn log(&self) -> String {
        self.said.lock().expect("not poisoned").clone()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub(crate) fn eventually(what: &str, holds: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < until, "{what}: not in time");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// What a program says that must refuse to start.
pub(crate) fn refused(mut command: Command) -> String {
    let output = command.output().expect("it runs");
    assert_eq!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    // The other half of a daemon that is two processes may say more.
    let why = said.lines().rfind(|line| line.starts_with("lvm-autoscaler: "));
    why.or(said.lines().last()).unwrap_or_default().to_owned()
}
