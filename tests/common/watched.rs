//! A simulated host that tells a test of each command before it runs.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use lvm_autoscaler::command::{Command, Tool};
use lvm_autoscaler::filesystem::FsKind;
use lvm_autoscaler::host::sim::Sim;
use lvm_autoscaler::host::{Host, KeyFileFacts, Output, RunError};
use lvm_autoscaler::inventory::{Capability, DeviceNumber, Disk, Usage};
use lvm_autoscaler::name::MountPoint;

pub(super) struct Watched {
    pub(super) sim: Arc<Sim>,
    pub(super) before: Box<dyn Fn(&Command) + Send + Sync>,
}

impl Host for Watched {
    fn resolved(&self, command: &Command) -> Command {
        self.sim.resolved(command)
    }
    fn is_running(&self, command: &Command) -> bool {
        self.sim.is_running(command)
    }
    fn run(&self, command: &Command, overdue: &dyn Fn()) -> Result<Output, RunError> {
        (self.before)(command);
        self.sim.run(command, overdue)
    }
    fn now(&self) -> Timestamp {
        self.sim.now()
    }
    fn moment(&self) -> lvm_autoscaler::plan::Moment {
        self.sim.moment()
    }

    fn users(&self, device: DeviceNumber) -> io::Result<lvm_autoscaler::inventory::DeviceUsers> {
        self.sim.users(device)
    }

    fn mapped(&self, device: DeviceNumber) -> io::Result<lvm_autoscaler::inventory::Mapped> {
        self.sim.mapped(device)
    }

    fn sleep(&self, duration: Duration) {
        self.sim.sleep(duration);
    }
    fn own_names(&self) -> Vec<String> {
        self.sim.own_names()
    }
    fn device_path(&self, device: DeviceNumber) -> std::path::PathBuf {
        self.sim.device_path(device)
    }
    fn mountinfo(&self) -> io::Result<Vec<u8>> {
        self.sim.mountinfo()
    }
    fn usage(&self, mount_point: &MountPoint) -> io::Result<(Usage, DeviceNumber)> {
        self.sim.usage(mount_point)
    }
    fn superblock(&self, device: DeviceNumber) -> io::Result<Vec<u8>> {
        self.sim.superblock(device)
    }
    fn awaited_superblock(&self, device: DeviceNumber) -> io::Result<Vec<u8>> {
        self.sim.awaited_superblock(device)
    }
    fn errors(&self, kind: FsKind, device: DeviceNumber) -> Option<u64> {
        self.sim.errors(kind, device)
    }
    fn on_disk(&self, device: DeviceNumber, places: Vec<u64>) -> std::io::Result<Vec<Vec<u8>>> {
        self.sim.on_disk(device, places)
    }
    fn flush(&self, device: DeviceNumber) -> std::io::Result<()> {
        self.sim.flush(device)
    }
    fn block_device(&self, path: &Path) -> Option<DeviceNumber> {
        self.sim.block_device(path)
    }

    fn disk(&self, device: DeviceNumber) -> io::Result<Disk> {
        self.sim.disk(device)
    }
    fn rescan(&self, device: DeviceNumber) -> io::Result<()> {
        self.sim.rescan(device)
    }

    fn below(&self, device: DeviceNumber) -> Vec<DeviceNumber> {
        self.sim.below(device)
    }
    fn holders(&self, device: DeviceNumber) -> Vec<DeviceNumber> {
        self.sim.holders(device)
    }
    fn key_file(&self, file: &Path) -> io::Result<KeyFileFacts> {
        self.sim.key_file(file)
    }
    fn exclusive_operation(&self, kind: FsKind, shown_as: &str) -> io::Result<String> {
        self.sim.exclusive_operation(kind, shown_as)
    }
    fn missing_capabilities(&self) -> Vec<Capability> {
        self.sim.missing_capabilities()
    }
    fn state_usage(&self) -> Option<Usage> {
        self.sim.state_usage()
    }
    fn make_private_folder(&self, folder: &Path) -> std::io::Result<()> {
        self.sim.make_private_folder(folder)
    }
    fn files_in(&self, folder: &Path) -> Vec<std::path::PathBuf> {
        self.sim.files_in(folder)
    }
    fn remove_file(&self, file: &Path) -> std::io::Result<()> {
        self.sim.remove_file(file)
    }
    fn file_size(&self, file: &Path) -> Option<u64> {
        self.sim.file_size(file)
    }
    fn missing_tools(&self) -> Vec<Tool> {
        self.sim.missing_tools()
    }
}
