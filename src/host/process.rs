//! What this process uses, from /proc/self.

use procfs::WithCurrentSystemInfo;
use procfs::process::{LimitValue, Process};

use crate::inventory::ProcessUsage;

/// Reads it; `None` where /proc does not say.
pub fn read() -> Option<ProcessUsage> {
    let process = Process::myself().ok()?;
    let stat = process.stat().ok()?;
    let ticks = procfs::ticks_per_second() as f64;
    let max_fds = match process.limits().ok()?.max_open_files.soft_limit {
        LimitValue::Unlimited => u64::MAX,
        LimitValue::Value(limit) => limit,
    };
    Some(ProcessUsage {
        cpu_seconds: (stat.utime + stat.stime) as f64 / ticks,
        open_fds: process.fd_count().ok()? as u64,
        max_fds,
        virtual_memory_bytes: stat.vsize,
        resident_memory_bytes: stat.rss_bytes().get(),
        start_time_seconds: procfs::boot_time_secs().ok()? as f64 + stat.starttime as f64 / ticks,
        threads: u64::try_from(stat.num_threads).unwrap_or(0),
    })
}
