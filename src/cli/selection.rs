//! The flags that choose metrics, for `serve` and `metrics`.

use clap::Args;
use regex::Regex;

use crate::metrics::selection::{Filter, Selection, whole};

#[derive(Debug, Args)]
#[command(next_help_heading = "Metrics")]
pub(super) struct Collectors {
    /// Leave out volume groups, logical and physical volumes.
    #[arg(long = "no-collector.lvm")]
    no_lvm: bool,
    /// Leave out file systems.
    #[arg(long = "no-collector.filesystem")]
    no_filesystem: bool,
    /// Show further series per logical volume, and hidden volumes.
    #[arg(long = "collector.lv-details")]
    lv_details: bool,
    /// Put UUIDs on every series of LVM, for queries written for prometheus-lvm-exporter.
    #[arg(long = "collector.uuid-labels")]
    uuid_labels: bool,
    /// Only volume groups whose whole name matches.
    #[arg(long = "collector.vg-include", value_name = "REGEX", value_parser = whole)]
    vg_include: Option<Regex>,
    /// No volume groups whose whole name matches.
    #[arg(long = "collector.vg-exclude", value_name = "REGEX", value_parser = whole)]
    vg_exclude: Option<Regex>,
    /// Only logical volumes whose VG/LV matches.
    #[arg(long = "collector.lv-include", value_name = "REGEX", value_parser = whole)]
    lv_include: Option<Regex>,
    /// No logical volumes whose VG/LV matches.
    #[arg(long = "collector.lv-exclude", value_name = "REGEX", value_parser = whole)]
    lv_exclude: Option<Regex>,
    /// Only file systems whose mount point matches.
    #[arg(long = "collector.filesystem.mount-points-include", value_name = "REGEX", value_parser = whole)]
    mount_points_include: Option<Regex>,
    /// No file systems whose mount point matches.
    #[arg(long = "collector.filesystem.mount-points-exclude", value_name = "REGEX", value_parser = whole)]
    mount_points_exclude: Option<Regex>,
}

impl Collectors {
    pub(super) fn selection(self) -> Selection {
        Selection {
            lvm: !self.no_lvm,
            filesystem: !self.no_filesystem,
            lv_details: self.lv_details,
            uuid_labels: self.uuid_labels,
            vgs: Filter { include: self.vg_include, exclude: self.vg_exclude },
            lvs: Filter { include: self.lv_include, exclude: self.lv_exclude },
            mount_points: Filter { include: self.mount_points_include, exclude: self.mount_points_exclude },
        }
    }
}
