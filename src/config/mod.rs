//! What is wanted: the config file, validated.
//!
//! The rest of the program sees only [`Config`], in which everything holds together; `raw` and `load` know what the
//! file looks like. Without a file the config is [`Config::default`]: the exporter, and nothing that may grow.

mod aside;
mod check;
mod credentials;
mod file;
mod glob;
mod group;
mod hidden;
mod http_client;
mod in_force;
mod limits;
mod load;
mod locate;
mod matcher;
pub(crate) mod near;
pub mod notify;
mod places;
mod policy;
mod raw;
pub mod reference;
mod report;
mod scalar;
mod secret;
mod section;
mod syntax;
mod tools;
mod tree;
pub mod web;
mod webhook;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::tz::TimeZone;
use serde::Serialize;

use crate::command::Tool;
use crate::files::Trust;
use crate::name::{LvRef, MountPoint, PvUuid, VgName};
use crate::units::{Amount, Bytes, GIB, Percent};
pub use credentials::{Authorization, Credentials};
pub use file::ConfigError;
pub use glob::Glob;
pub use group::GroupName;
pub use http_client::{HttpClient, load_http_client};
pub use in_force::InForce;
pub use limits::{
    Budget, FilesystemCheck, GrownDisks, LONGEST_BUDGET, MOST_EXTENSIONS, Mode, Offline, Partitions, PoolLimits,
    Rescan, Window,
};
pub use load::{Text, load, load_from, load_with_places, parse, read_texts, texts};
pub use matcher::Matcher;
pub use places::Places;
pub use policy::{Origin, Policy, Selected, Selector};
pub use report::{ReportFormat, ReportSettings};
pub use secret::{Secret, SecretError};
pub use tree::Problem;
pub use webhook::{LabelNames, WebhookSettings};

/// The whole configuration.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Config {
    /// How often to look by ourselves; `None`: only alerts start anything.
    pub interval: Option<Duration>,
    /// What may grow. Everything else may not. First those of `monitor.targets`; then those that policies select, as
    /// far as the host was looked at, see `plan::applied`.
    pub targets: Vec<Target>,
    /// What selects further targets on the host, in this order.
    #[serde(skip)]
    pub policies: Vec<Policy>,
    /// Settings of volume groups.
    pub volume_groups: Vec<VolumeGroup>,
    /// How much of a group is never handed out, if `volume_groups` has nothing for it.
    pub default_reserve: Amount,
    /// What counts as this host in the label `instance`; `None`: its own names and addresses.
    pub instances: Option<Vec<String>>,
    /// Where people reach the status page, for links in notifications.
    pub external_url: Option<String>,
    /// Who is told of what.
    #[serde(skip)]
    pub receivers: Vec<notify::Receiver>,
    /// The audit log; `None`: there is none.
    pub audit: Option<notify::AuditSettings>,
    /// What the webhook asks of those who call it.
    pub credentials: Credentials,
    /// How alerts are read.
    pub webhook: WebhookSettings,
    /// Where journal, lock and metadata backups live.
    pub state_directory: PathBuf,
    /// Where the number of the journal's last record is: beside the state directory, so that it is not lost with it.
    pub witness: PathBuf,
    /// How many metadata backups of a volume group are kept.
    pub backups_kept: u32,
    /// Reports that are written by themselves.
    pub report: ReportSettings,
    /// How often LVM is asked in the background.
    pub inventory_interval: Duration,
    /// How long LVM may take to answer before the report is given up.
    pub inventory_timeout: Duration,
    /// Programs to use instead of those found.
    pub tools: ToolPaths,
    /// Windows are in this zone's time: the host's.
    #[serde(skip)]
    pub time_zone: TimeZone,
    /// What is done where others could change its files.
    #[serde(skip)]
    pub trust: Trust,
}

/// One file system on one logical volume, or one thin pool, that may grow.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Target {
    /// The volume, or the pool.
    pub lv: LvRef,
    /// Which of the two.
    #[serde(flatten)]
    pub what: What,
    /// Grow when usage is above this: of a file system as `df` counts it, of a pool that of its data.
    pub threshold: Percent,
    /// By how much.
    pub increment: Amount,
    /// The least a step may be.
    pub min_increment: Option<Bytes>,
    /// The most a step may be.
    pub max_increment: Option<Bytes>,
    /// The volume never grows beyond this.
    pub max_size: Option<Bytes>,
    /// How long to wait after an operation before the next.
    pub cooldown: Duration,
    /// How much it may grow in a span of time.
    pub budget: Budget,
    /// So many failures in a row close the target until a person resets it.
    pub breaker_failures: u32,
    /// When it may grow; `None`: at any time.
    pub window: Option<Window>,
    /// What is done with a decision to grow.
    pub mode: Mode,
    /// Why it is one.
    #[serde(skip)]
    pub origin: Origin,
}

/// What of a volume grows.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum What {
    /// The volume and the file system on it.
    FileSystem(FileSystemTarget),
    /// A thin pool: its data and its metadata.
    ThinPool {
        /// Grow the metadata when they are fuller than this.
        metadata_threshold: Percent,
    },
}

/// Of a target that is a file system.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FileSystemTarget {
    /// Where it must be mounted.
    pub mount_point: MountPoint,
    /// Grow when a larger share of the inodes of an ext4 is used.
    pub inode_threshold: Percent,
    /// What is done while it is mounted nowhere.
    pub offline: Offline,
    /// Whether `e2fsck` runs before an ext4 grows that is mounted nowhere.
    pub check: FilesystemCheck,
    /// Let an XFS grow to more than 4,000 allocation groups.
    pub allow_large_xfs_growth: bool,
    /// What opens the LUKS volume below it, where the kernel has the volume key in its keyring.
    pub luks_key_file: Option<PathBuf>,
    /// If the volume is thin: what its pool must be able to carry.
    pub pool: PoolLimits,
}

/// Settings of one volume group.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct VolumeGroup {
    /// Which.
    pub name: GroupName,
    /// How much of it is never handed out; a percentage is of the group's size.
    pub reserve: Amount,
    /// How much all its targets together may grow in a span of time; `None`: each has only its own.
    pub budget: Option<Budget>,
    /// What is done with a disk that became larger than its PV.
    pub grown_disks: GrownDisks,
    /// What is done with the partition that such a PV is in.
    pub partitions: Partitions,
    /// Whether SCSI disks are asked for their size.
    pub rescan: Rescan,
    /// PVs of no group that may be added to this one, in this order.
    pub spares: Vec<PvUuid>,
}

impl VolumeGroup {
    /// Whether anything but its free extents may give it room.
    pub fn has_supply(&self) -> bool {
        self.grown_disks != GrownDisks::Off || !self.spares.is_empty()
    }
}

/// Absolute paths that override the search.
pub type ToolPaths = BTreeMap<Tool, PathBuf>;

/// Unless the config says otherwise a percentage step is at least this large: smaller ones cost an LVM transaction each
/// and win minutes.
const MIN_INCREMENT: Bytes = Bytes(GIB);
/// Unless the config says otherwise a percentage step is at most this large, so that one alert never takes a whole
/// volume group.
const MAX_INCREMENT: Bytes = Bytes(100 * GIB);

impl Target {
    /// Of a target that is a file system.
    pub fn file_system(&self) -> Option<&FileSystemTarget> {
        match &self.what {
            What::FileSystem(fs) => Some(fs),
            What::ThinPool { .. } => None,
        }
    }

    /// Where the file system must be mounted; a pool is mounted nowhere.
    pub fn mount_point(&self) -> Option<&MountPoint> {
        self.file_system().map(|fs| &fs.mount_point)
    }

    /// What people call it: `/data`, or `the data of vg/pool`.
    pub fn usage_name(&self) -> String {
        self.mount_point().map_or_else(|| format!("the data of {}", self.lv), ToString::to_string)
    }

    /// The least and the most that a step may be if the increment is a percentage.
    pub fn increment_limits(&self) -> (Bytes, Bytes) {
        let min = self.min_increment.unwrap_or(MIN_INCREMENT.min(self.max_increment.unwrap_or(MIN_INCREMENT)));
        (min, self.max_increment.unwrap_or(MAX_INCREMENT.max(min)))
    }

    /// The size of one step for a volume of that size, before it is rounded to extents.
    pub fn step(&self, volume: Bytes) -> Bytes {
        match self.increment {
            Amount::Size(size) => size,
            Amount::Share(share) => {
                let (min, max) = self.increment_limits();
                share.share_of(volume).clamp(min, max)
            }
        }
    }

    /// The least a step may be where the whole does not fit.
    pub fn least_step(&self, volume: Bytes) -> Bytes {
        self.min_increment.unwrap_or(MIN_INCREMENT).min(self.step(volume))
    }
}

/// The path of what stands beside a folder: its name with something behind it.
pub(crate) fn beside(folder: &Path, what: &str) -> PathBuf {
    // Without the slash that may be at the end.
    let mut name = folder.components().as_path().as_os_str().to_owned();
    name.push(format!(".{what}"));
    PathBuf::from(name)
}

impl Default for Config {
    fn default() -> Config {
        Config {
            interval: None,
            targets: Vec::new(),
            policies: Vec::new(),
            volume_groups: Vec::new(),
            default_reserve: Amount::Size(Bytes::ZERO),
            instances: None,
            external_url: None,
            receivers: Vec::new(),
            audit: None,
            credentials: Credentials::default(),
            webhook: WebhookSettings::default(),
            state_directory: PathBuf::from("/var/lib/lvm-autoscaler"),
            witness: beside(Path::new("/var/lib/lvm-autoscaler"), "witness"),
            backups_kept: 10,
            report: ReportSettings::default(),
            inventory_interval: Duration::from_secs(15),
            inventory_timeout: Duration::from_secs(30),
            tools: ToolPaths::default(),
            time_zone: TimeZone::system(),
            trust: Trust::default(),
        }
    }
}

impl Config {
    /// The files that it names and that must not be others' to change: secrets, what comes with them, and programs.
    pub fn files(&self) -> Vec<&Path> {
        self.tools.values().map(PathBuf::as_path).chain(self.files_of_web()).collect()
    }

    /// Those of them that only who is reached and who tells people need.
    pub fn files_of_web(&self) -> Vec<&Path> {
        let secrets = self.webhook.grafana_hmac_secret_file.iter().map(PathBuf::as_path);
        let secrets = secrets.chain(self.credentials.authorization.iter().map(Authorization::file));
        secrets.chain(self.receivers.iter().flat_map(notify::Receiver::files)).collect()
    }

    /// Whether what is configured may need a program: some are for what few hosts have, and are not missed elsewhere.
    pub fn may_need(&self, tool: Tool) -> bool {
        match tool {
            Tool::Growpart => self.volume_groups.iter().any(|group| group.partitions == Partitions::Growpart),
            Tool::Cryptsetup => {
                let has_key = |target: &Target| target.file_system().is_some_and(|fs| fs.luks_key_file.is_some());
                self.targets.iter().chain(self.policies.iter().map(Policy::keys)).any(has_key)
            }
            _ => true,
        }
    }

    /// How many targets and policies are written in it, in words.
    pub fn counted(&self) -> String {
        let targets = match self.named().count() {
            1 => "1 target".to_owned(),
            many => format!("{many} targets"),
        };
        match self.policies.len() {
            0 => targets,
            1 => format!("{targets} and 1 policy"),
            many => format!("{targets} and {many} policies"),
        }
    }

    /// Whether nothing can ever grow by it.
    pub fn grows_nothing(&self) -> bool {
        self.targets.is_empty() && self.policies.is_empty()
    }

    /// The targets that it names itself.
    pub fn named(&self) -> impl Iterator<Item = &Target> {
        self.targets.iter().filter(|target| target.origin.policy.is_none())
    }

    /// Why a volume that is no target does not grow.
    pub fn not_a_target(&self, lv: &LvRef) -> String {
        match self.policies.is_empty() {
            true => format!("{lv} is not among monitor.targets"),
            false => format!("{lv} is not among monitor.targets and no policy selects it"),
        }
    }

    /// Where metadata backups go, and where they go when there is no room: in memory, so that a full disk stops
    /// nothing.
    pub fn backup_folders(&self) -> [PathBuf; 2] {
        [self.state_directory.join("backup"), PathBuf::from("/run/lvm-autoscaler/backup")]
    }

    /// Tells two configs apart, whatever their files look like and whatever policies select on a host.
    pub fn fingerprint(&self) -> String {
        let mut written = Config { targets: self.named().cloned().collect(), ..self.clone() };
        let keys = written.policies.iter_mut().map(|policy| &mut policy.keys);
        written.targets.iter_mut().chain(keys).for_each(|target| target.origin.place = None);
        format!("{:08x}", crc32fast::hash(format!("{written:?}").as_bytes()))
    }

    /// Where a running daemon is told things: in /run, or beside a state directory that is not the usual one.
    pub fn control_socket(&self) -> PathBuf {
        let usual = self.state_directory == Config::default().state_directory;
        let folder = if usual { Path::new("/run/lvm-autoscaler") } else { self.state_directory.as_path() };
        folder.join("control.sock")
    }

    /// Where reports are kept.
    pub fn report_directory(&self) -> PathBuf {
        self.report.directory.clone().unwrap_or_else(|| self.state_directory.join("reports"))
    }

    /// The target that grows this volume, if any.
    pub fn target(&self, lv: &LvRef) -> Option<&Target> {
        self.targets.iter().find(|target| &target.lv == lv)
    }

    /// What of a volume group of that size is never handed out.
    pub fn reserve(&self, vg: &VgName, size: Bytes) -> Bytes {
        self.volume_group(vg).map_or(self.default_reserve, |settings| settings.reserve).resolve(size)
    }

    /// Whether what is decided about a target may be left to a person: always, or where a disk has to grow for it.
    pub fn recommends(&self, target: &Target) -> bool {
        target.mode == Mode::Recommend || self.recommends_disks(&target.lv.vg)
    }

    /// Whether a growth that needs the room of a disk is left to a person.
    pub fn recommends_disks(&self, vg: &VgName) -> bool {
        self.volume_group(vg).is_some_and(|group| group.grown_disks == GrownDisks::Recommend)
    }

    /// The groups of `volume_groups` whose names differ from that of a group without settings by a slip: perhaps it was
    /// meant.
    pub fn near_misses(&self, vg: &VgName) -> Vec<&VgName> {
        if self.volume_groups.iter().any(|group| group.name.one() == Some(vg)) {
            return vec![];
        }
        let names = self.volume_groups.iter().filter_map(|group| group.name.one());
        names.filter(|name| !near::slips(name.as_str(), [vg.as_str()].into_iter()).is_empty()).collect()
    }

    /// Whether a policy, or a target beside policies, names a group that differs from that one by a slip.
    pub fn has_near_policy(&self, vg: &VgName) -> bool {
        if self.policies.is_empty() {
            return false;
        }
        let named = self.policies.iter().filter_map(|policy| policy.selects.vg.one());
        let mut named = named.chain(self.named().map(|target| &target.lv.vg));
        named.any(|name| !near::slips(name.as_str(), [vg.as_str()].into_iter()).is_empty())
    }

    /// The settings of a volume group, if it has any: those of its name, or else of the first pattern that it matches.
    pub fn volume_group(&self, vg: &VgName) -> Option<&VolumeGroup> {
        let named = self.volume_groups.iter().find(|settings| settings.name.one() == Some(vg));
        named.or_else(|| self.volume_groups.iter().find(|settings| settings.name.matches(vg)))
    }
}
