//! What the tests on the simulated host share: a world (host, config, state directory) that outlives the daemon, and
//! daemons that are started on it.

#![allow(dead_code, reason = "each test file uses a part of it")]

pub(crate) mod part;

pub(crate) mod place;
pub(crate) mod records;
pub(crate) mod server;
pub(crate) mod split;
mod watched;

use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Once};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use lvm_autoscaler::command::Command;
use lvm_autoscaler::config::{self, Config};
use lvm_autoscaler::engine::{Ended, Pipeline, Shared};
use lvm_autoscaler::host::Host;
use lvm_autoscaler::host::sim::{self, Crash, Fault, Harm, Model, Sim, SimKeyFile, SimLuks};
use lvm_autoscaler::journal::{Event, Journal, JournalError, Source, State};
use lvm_autoscaler::metrics::autoscaler::Metrics;
use lvm_autoscaler::name::LvRef;
use lvm_autoscaler::plan::{Code, Outcome};
use lvm_autoscaler::units::Bytes;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use tempfile::TempDir;

/// A file of this repository holds what the code writes now. `update` is the command that writes it, after a look at
/// what that changes: a variable, `UPDATE_DOCS` or `UPDATE_GOLDEN`, and the tests.
#[expect(clippy::disallowed_methods, reason = "writes the file when asked to")]
pub(crate) fn is_up_to_date(name: &str, wanted: &str, update: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    let variable = update.split('=').next().expect("a variable");
    if std::env::var_os(variable).is_some() {
        std::fs::write(&file, wanted).expect("writable");
    }
    let written = std::fs::read_to_string(&file).unwrap_or_default();
    let differs = written.lines().zip(wanted.lines()).find(|(written, wanted)| written != wanted);
    assert!(
        written == wanted,
        "{name} is not what the code says, look at what {update} changes; the first line that differs, written and wanted: {differs:?}"
    );
}

/// Two groups, both kinds of file system, all of them over 80 %; extents of 4 MiB.
pub(crate) const HOST: &str = "
names: [db1]
volume_groups:
  - name: vg
    physical_volumes: [{ name: /dev/sdb, size: 20GiB }]
    logical_volumes:
      - { name: data, size: 4GiB, filesystem: { type: ext4, mount_point: /data, used: 85% } }
      - { name: media, size: 4GiB, filesystem: { type: xfs, mount_point: /media, used: 85% } }
  - name: vg-2
    physical_volumes: [{ name: /dev/sdc, size: 20GiB }]
    logical_volumes:
      - { name: logs, size: 4GiB, filesystem: { type: ext4, mount_point: /logs, used: 85% } }
";

pub(crate) const CONFIG: &str = "
defaults: { threshold_percent: 80, increment: 2GiB, cooldown: 10m }
monitor:
  targets:
    - { lv_path: /dev/vg/data, mount_point: /data }
    - { lv_path: /dev/vg/media, mount_point: /media }
    - { lv_path: /dev/vg-2/logs, mount_point: /logs }
";

/// 4 GiB, and 4 GiB with one increment, in extents.
pub(crate) const BEFORE: u64 = 1024;
pub(crate) const AFTER: u64 = 1536;

/// The state directory's segments in most tests: large enough for all of them, small enough to copy a thousand times.
pub(crate) const SEGMENT: u64 = 64 << 10;

pub(crate) fn lv(name: &str) -> LvRef {
    name.parse().expect("a volume")
}

pub(crate) fn epoch() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().expect("a time")
}

/// A host and a state directory; daemons come and go.
pub(crate) struct World {
    pub(crate) sim: Arc<Sim>,
    pub(crate) config: Arc<Config>,
    pub(crate) folder: TempDir,
}

impl World {
    pub(crate) fn new(host: &str, config: &str) -> World {
        World::of(sim::parse(host).expect("a host"), config)
    }

    pub(crate) fn of(model: Model, config: &str) -> World {
        let folder = folder();
        make_segments(folder.path(), SEGMENT);
        let config = read_config(config, folder.path());
        World { sim: Arc::new(Sim::stepped(model, epoch())), config: Arc::new(config), folder }
    }

    /// The usual one.
    pub(crate) fn usual() -> World {
        World::new(HOST, CONFIG)
    }

    /// A second world with the same host and journal, to try two futures of one past.
    pub(crate) fn copy(&self) -> World {
        let other = World::of(self.sim.with(|model| model.clone()), "");
        let since = self.sim.now().duration_since(epoch());
        other.sim.pass(Duration::try_from(since).expect("time goes forward"));
        for name in ["journal.0", "journal.1"] {
            std::fs::copy(self.folder.path().join(name), other.folder.path().join(name)).expect("a copy");
        }
        let config = Config { state_directory: other.folder.path().to_owned(), ..(*self.config).clone() };
        World { config: Arc::new(config), ..other }
    }

    /// The same, as it is after the config file was changed.
    pub(crate) fn with_config(self, config: &str) -> World {
        World { config: Arc::new(read_config(config, self.folder.path())), ..self }
    }

    /// Starts a daemon; nothing is recovered yet.
    pub(crate) fn daemon(&self) -> Daemon {
        Daemon(self.shared(false))
    }

    pub(crate) fn dry_daemon(&self) -> Daemon {
        Daemon(self.shared(true))
    }

    pub(crate) fn shared(&self, dry_run: bool) -> Arc<Shared> {
        self.shared_on(Arc::clone(&self.sim) as Arc<dyn Host>, dry_run)
    }

    pub(crate) fn shared_on(&self, host: Arc<dyn Host>, dry_run: bool) -> Arc<Shared> {
        Arc::new(Shared {
            host,
            in_force: config::InForce::new(Arc::clone(&self.config)),
            journal: Journal::open(self.folder.path()).expect("a journal"),
            metrics: Arc::new(Metrics::default()),
            dry_run,
            stopping: AtomicBool::new(false),
            sampler: None,
            standing: Default::default(),
        })
    }

    /// This world's host, and before each command that it runs something else happens.
    pub(crate) fn watched(&self, before: impl Fn(&Command) + Send + Sync + 'static) -> Arc<dyn Host> {
        Arc::new(watched::Watched { sim: Arc::clone(&self.sim), before: Box::new(before) })
    }

    /// What the journal on disk means.
    pub(crate) fn state(&self) -> State {
        Journal::peek(self.folder.path()).expect("a journal")
    }

    pub(crate) fn inject(&self, command: &str, after: usize, harm: Harm) {
        self.sim.inject(Fault { command: command.to_owned(), after, times: 1, harm });
    }

    pub(crate) fn minutes(&self, minutes: u64) {
        self.sim.pass(Duration::from_secs(60 * minutes));
    }

    pub(crate) fn extents(&self, name: &str) -> u64 {
        self.sim.with(|model| model.lv(name).expect("a volume").extents.0)
    }

    /// Whether the file system is as large as its volume.
    pub(crate) fn fills(&self, name: &str) -> bool {
        self.sim.with(|model| {
            let lv = model.lv(name).expect("a volume");
            let mapping = lv.luks.as_ref().map(|luks| luks.offset.0 + luks.size.0);
            lv.fs.as_ref().expect("a file system").size == lv.room() && mapping.is_none_or(|end| end == lv.size().0)
        })
    }

    /// The mutating commands so far, by name.
    pub(crate) fn names_of_changes(&self) -> Vec<String> {
        let name = |command: String| command.trim_start_matches("lvm ").split(' ').next().unwrap_or("").to_owned();
        self.sim.changes().into_iter().map(name).collect()
    }

    pub(crate) fn count(&self, command: &str) -> usize {
        self.names_of_changes().iter().filter(|name| *name == command).count()
    }
}

/// The key file of what [`encrypt`] encrypts.
pub(crate) const KEY_FILE: &str = "/etc/lvm-autoscaler/data.key";

/// Puts LUKS between a volume and its file system.
pub(crate) fn encrypt(model: &mut Model, name: &str, make: impl Fn(Bytes) -> SimLuks) {
    model.key_files.insert(KEY_FILE.into(), SimKeyFile::default());
    let lv = model.lv(name).expect("a volume");
    let luks = make(lv.size());
    let fs = lv.fs.as_mut().expect("a file system");
    (fs.size, fs.first_size) = (luks.size, luks.size);
    lv.luks = Some(luks);
}

/// LUKS2, with the volume key in the keyring.
pub(crate) fn luks2(volume: Bytes) -> SimLuks {
    SimLuks::luks2("data_crypt", volume, KEY_FILE)
}

/// LUKS1, which needs no key.
pub(crate) fn luks1(volume: Bytes) -> SimLuks {
    SimLuks::luks1("old crypt", volume)
}

/// What a person does at the machine.
pub(crate) fn grow_by_hand(model: &mut Model, name: &str) {
    let lv = model.lv(name).expect("a volume");
    let size = lv.size();
    lv.luks.iter_mut().for_each(|luks| luks.size = size.saturating_sub(luks.offset));
    let size = lv.room();
    let fs = lv.fs.as_mut().expect("a file system");
    (fs.size, fs.size_in_copies) = (size, None);
}

pub(crate) fn extend_by_hand(model: &mut Model, name: &str, extents: u64) -> bool {
    let volume = model.lv(name).expect("a volume").clone();
    let vg = model.vg(volume.name.vg.as_str()).expect("a group");
    if vg.free().0 < extents {
        return false;
    }
    let mut left = extents;
    for pv in &mut vg.pvs {
        let taken = left.min(pv.extents.0 - pv.allocated.0);
        pv.allocated.0 += taken;
        left -= taken;
    }
    model.lv(name).expect("a volume").extents.0 += extents;
    true
}

/// The journal's disk: its segments are files in memory that can be made to refuse every write.
pub(crate) struct Disk {
    folder: PathBuf,
    files: [std::fs::File; 2],
}

const SEGMENTS: [&str; 2] = ["journal.0", "journal.1"];

#[expect(clippy::disallowed_methods, reason = "a test prepares the state directory")]
impl Disk {
    /// Puts what the journal holds on such a disk, before a daemon is started.
    pub(crate) fn under(world: &World) -> Disk {
        let folder = world.folder.path().to_owned();
        drop(Journal::open(&folder).expect("a journal"));
        let files = SEGMENTS.map(|name| {
            let path = folder.join(name);
            let bytes = std::fs::read(&path).expect("a segment");
            let memory = memfd_create(c"segment", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING).expect("memory");
            let mut file = std::fs::File::from(memory);
            file.write_all(&bytes).expect("memory");
            std::fs::remove_file(&path).expect("there");
            let open = format!("/proc/self/fd/{}", file.as_raw_fd());
            std::os::unix::fs::symlink(open, &path).expect("a link");
            file
        });
        Disk { folder, files }
    }

    /// From now on what it has can be read and nothing written.
    pub(crate) fn breaks(&self) {
        for file in &self.files {
            fcntl(file, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_WRITE)).expect("sealed");
        }
    }

    /// It can be written again, and has what it had.
    pub(crate) fn is_mended(&self) {
        for name in SEGMENTS {
            let path = self.folder.join(name);
            let bytes = std::fs::read(&path).expect("readable");
            let whole = self.folder.join("mended");
            std::fs::write(&whole, bytes).expect("writable");
            std::fs::rename(&whole, &path).expect("there");
        }
    }
}

fn read_config(config: &str, folder: &Path) -> Config {
    let parsed = config::parse(config, Path::new("config.yaml")).expect("a config");
    Config { state_directory: folder.to_owned(), ..parsed }
}

/// In memory where that is possible: the tests sync some ten thousand times.
pub(crate) fn folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a folder")
}

/// Files of zeros are what a new journal begins with; their size is kept.
#[expect(clippy::disallowed_methods, reason = "a test prepares the state directory")]
pub(crate) fn make_segments(folder: &Path, size: u64) {
    for name in ["journal.0", "journal.1"] {
        std::fs::write(folder.join(name), vec![0; size as usize]).expect("a segment");
    }
}

/// One life of the daemon, on the caller's thread.
pub(crate) struct Daemon(pub(crate) Arc<Shared>);

impl Daemon {
    /// As an alert comes in: on disk first, then decided about.
    pub(crate) fn try_alert(&self, name: &str) -> Result<Ended, JournalError> {
        let (number, now) = (self.0.journal().next_number(), self.0.host.now());
        let (lv, source) = (lv(name), Source::Alertmanager);
        let received = Event::Received { request: number, lv: lv.clone(), source, fingerprint: String::new() };
        self.0.journal().append(now, vec![received])?;
        Pipeline(Arc::clone(&self.0)).request(Some(number), &lv, source)
    }

    pub(crate) fn alert(&self, name: &str) -> Ended {
        self.try_alert(name).expect("the journal can be written")
    }

    /// As the daemon's own look brings it in.
    pub(crate) fn own_look(&self, name: &str) -> Ended {
        Pipeline(Arc::clone(&self.0)).request(None, &lv(name), Source::Monitor).expect("the journal can be written")
    }

    /// What `engine::start` has its workers do first, in the same order, on this thread.
    pub(crate) fn recover(&self) -> Result<(), JournalError> {
        let pipeline = Pipeline(Arc::clone(&self.0));
        let state = self.0.state();
        for id in state.running.keys() {
            pipeline.resume(*id)?;
        }
        for (number, pending) in &state.pending {
            pipeline.request(Some(*number), &pending.lv, pending.source)?;
        }
        Ok(())
    }
}

/// How a request ended, in a word: `grown`, `failed`, ..., or the code of a refusal.
pub(crate) fn word(ended: &Ended) -> &'static str {
    match ended {
        Ended::Refused(refusal) => refusal.code.as_str(),
        Ended::Operation(_, outcome) => outcome.as_str(),
        Ended::Interrupted => "interrupted",
    }
}

pub(crate) fn refused(ended: &Ended, code: Code) -> bool {
    matches!(ended, Ended::Refused(refusal) if refusal.code == code)
}

pub(crate) fn ended_as(ended: &Ended, outcome: Outcome) -> bool {
    matches!(ended, Ended::Operation(_, found) if *found == outcome)
}

/// Runs something during which the daemon may crash; what it gave, or where it crashed. Other panics go through.
pub(crate) fn until_crash<T>(run: impl FnOnce() -> T) -> Result<T, String> {
    silence_crashes();
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).map_err(|payload| match payload.downcast::<Crash>() {
        Ok(crash) => crash.0,
        Err(payload) => std::panic::resume_unwind(payload),
    })
}

/// A crash on purpose is not worth a message.
fn silence_crashes() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !info.payload().is::<Crash>() {
                usual(info);
            }
        }));
    });
}

/// Waits for something that happens on another thread.
pub(crate) fn eventually(what: &str, condition: impl Fn() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < Duration::from_secs(20), "did not happen: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

pub(crate) fn gib(gib: u64) -> Bytes {
    Bytes(gib << 30)
}
