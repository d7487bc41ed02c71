//! What this process uses.

use serde::{Deserialize, Serialize};

/// The numbers behind the usual `process_*` metrics.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct ProcessUsage {
    pub cpu_seconds: f64,
    pub open_fds: u64,
    pub max_fds: u64,
    pub virtual_memory_bytes: u64,
    pub resident_memory_bytes: u64,
    pub start_time_seconds: f64,
    pub threads: u64,
}
