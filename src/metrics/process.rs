//! The usual `process_*` metrics.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::registry::Registry;

use super::families::written;
use super::{Column, column, family};
use crate::inventory::ProcessUsage;

/// Of this process.
pub const PROCESS: &[Column<ProcessUsage>] = &[
    column("process_cpu_seconds", "User and system CPU time of this process, in seconds.", |p: &ProcessUsage| {
        Some(p.cpu_seconds)
    })
    .counter(),
    column("process_open_fds", "Open file descriptors of this process.", |p| Some(p.open_fds as f64)),
    column("process_max_fds", "Most file descriptors this process may open.", |p| Some(p.max_fds as f64)),
    column("process_virtual_memory_bytes", "Virtual memory of this process.", |p| Some(p.virtual_memory_bytes as f64)),
    column("process_resident_memory_bytes", "Resident memory of this process.", |p| {
        Some(p.resident_memory_bytes as f64)
    }),
    column("process_start_time_seconds", "When this process began, in seconds since the epoch.", |p| {
        Some(p.start_time_seconds)
    }),
    column("process_threads", "Threads of this process.", |p| Some(p.threads as f64)),
];

/// Of the engine, where it is a process of its own.
pub const ENGINE: &[Column<ProcessUsage>] = &[
    column(
        "lvm_autoscaler_engine_cpu_seconds",
        "User and system CPU time of the engine's process, in seconds; only where it is not this one.",
        |p: &ProcessUsage| Some(p.cpu_seconds),
    )
    .counter(),
    column(
        "lvm_autoscaler_engine_resident_memory_bytes",
        "Resident memory of the engine's process; only where it is not this one.",
        |p| Some(p.resident_memory_bytes as f64),
    ),
    column(
        "lvm_autoscaler_engine_start_time_seconds",
        "When the engine's process began, in seconds since the epoch; only where it is not this one.",
        |p| Some(p.start_time_seconds),
    ),
];

/// The engine's process as it stands on a page of metrics, without the mark at its end.
pub fn engine_text(usage: ProcessUsage) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(EngineProcess(usage)));
    written(&registry)
}

#[derive(Debug)]
struct EngineProcess(ProcessUsage);

impl Collector for EngineProcess {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        ENGINE.iter().try_for_each(|column| family(&mut encoder, column, &[(&self.0, vec![])]))
    }
}

/// The process as series.
#[derive(Debug)]
pub struct Process(pub ProcessUsage);

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        PROCESS.iter().try_for_each(|column| family(&mut encoder, column, &[(&self.0, vec![])]))
    }
}
