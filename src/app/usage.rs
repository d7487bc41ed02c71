//! The usage of file systems at the moment of a scrape or a report.

use std::sync::Arc;

use crate::engine::ReadUsage;
use crate::host::Host;
use crate::inventory::FileSystem;

/// The same as a function, of that host.
pub fn read_usage(host: Arc<dyn Host>) -> ReadUsage {
    Arc::new(move |filesystems| with_usage(host.as_ref(), filesystems))
}

/// The file systems with the usage and errors they have now.
pub(super) fn with_usage(host: &dyn Host, filesystems: Vec<FileSystem>) -> Vec<FileSystem> {
    let places: Vec<_> = filesystems.iter().map(|fs| fs.mount.mount_point.clone()).collect();
    let usages = host.usages(&places);
    let with_usage = |(fs, usage): (FileSystem, std::io::Result<_>)| {
        // A mount that hides the volume's by now has another device.
        let usage = usage.ok().filter(|(_, device)| *device == fs.mount.number).map(|(usage, _)| usage);
        // Here too, because when a disk dies LVM may not answer any more.
        let counted = || host.errors(fs.kind()?, fs.mount.device);
        let errors = fs.errors.map(|before| counted().unwrap_or(before));
        FileSystem { usage, errors, ..fs }
    };
    filesystems.into_iter().zip(usages).map(with_usage).collect()
}
