//! `docs/metrics.md`, written from the tables that the metrics come from.

use super::Column;
use super::autoscaler::Metrics;
use super::edge::Edge;
use super::filesystem::FILESYSTEM;
use super::health::{COLLECTOR, HEALTH};
use super::lvm::{HEALTH_PROBLEM, LUKS, LV, PV, VG};
use super::process::{ENGINE, PROCESS};
use super::target::{GROUP, HELD_BACK, TARGET, UNMATCHED};
use super::web::WebMetrics;

/// How the metrics of prometheus-lvm-exporter are called here, where they are not called the same.
const ELSEWHERE: &[(&str, &str)] = &[
    ("lvm_vg_snap_count", "`lvm_vg_snapshot_count`"),
    ("lvm_vg_mda_size_bytes", "`lvm_vg_metadata_size_bytes`"),
    ("lvm_vg_mda_free_bytes", "`lvm_vg_metadata_free_bytes`"),
    ("lvm_vg_clustered", "`lvm_vg_shared`"),
    ("lvm_vg_permissions", "`lvm_vg_read_only`"),
    ("lvm_vg_allocation_policy, lvm_vg_systemid, lvm_vg_tags", "labels of `lvm_vg_info`"),
    ("lvm_lv_active_locally", "`lvm_lv_active`"),
    ("lvm_lv_permissions", "`lvm_lv_read_only`"),
    ("lvm_lv_health_status", "`lvm_lv_healthy`"),
    ("lvm_lv_copy_percent", "`lvm_lv_sync_percent`"),
    ("lvm_lv_snap_percent", "`lvm_lv_data_percent`"),
    ("lvm_lv_raid_sync_action", "`lvm_lv_raid_syncing`"),
    (
        "lvm_lv_path, lvm_lv_dm_path, lvm_lv_layout, lvm_lv_role, lvm_lv_origin, lvm_lv_pool_lv, lvm_lv_tags",
        "labels of `lvm_lv_info`",
    ),
    ("lvm_lv_kernel_major, lvm_lv_kernel_minor", "label `device` of `lvm_lv_info`"),
    ("lvm_pv_used", "`lvm_pv_used_bytes`"),
    ("lvm_pv_tags", "label of `lvm_pv_info`"),
    ("lvm_unknown_field_count", "`lvm_unknown_report_fields`"),
    ("lvm_vg_max_lv, lvm_vg_max_pv, lvm_vg_mda_copies, lvm_vg_mda_count, lvm_vg_mda_used_count", "not here"),
    (
        "lvm_lv_active_exclusively, lvm_lv_active_remotely, lvm_lv_allocation_locked, lvm_lv_fixed_minor, \
         lvm_lv_historical, lvm_lv_image_synced, lvm_lv_inactive_table, lvm_lv_initial_image_sync, \
         lvm_lv_integritymismatches, lvm_lv_live_table, lvm_lv_major, lvm_lv_merge_failed, lvm_lv_minor, \
         lvm_lv_profile, lvm_lv_raid_max_recovery_rate, lvm_lv_raid_min_recovery_rate, lvm_lv_raid_write_behind, \
         lvm_lv_raidintegrityblocksize, lvm_lv_read_ahead_bytes, lvm_lv_skip_activation, lvm_lv_time, \
         lvm_lv_time_removed, lvm_lv_writecache_error, lvm_lv_writecache_free_blocks, \
         lvm_lv_writecache_total_blocks, lvm_lv_writecache_writeback_blocks",
        "not here",
    ),
    (
        "lvm_pv_ba_size_bytes, lvm_pv_ba_start, lvm_pv_ext_vsn, lvm_pv_in_use, lvm_pv_major, lvm_pv_mda_count, \
         lvm_pv_mda_free_bytes, lvm_pv_mda_size_bytes, lvm_pv_mda_used_count, lvm_pv_minor, lvm_pv_pe_start",
        "not here",
    ),
    ("series of other texts (`lvm_lv_attr` and such)", "not here"),
];

/// The whole page.
pub fn page() -> String {
    let mut page = String::from(INTRODUCTION);
    section(
        &mut page,
        "Volume groups",
        "`vg`; `lvm_vg_info` also `vg_name`, `vg_uuid`, `allocation_policy`, `system_id`, `tags`",
        VG,
    );
    section(
        &mut page,
        "Logical volumes",
        "`vg`, `lv`; `lvm_lv_info` also `lv_name`, `lv_uuid`, `lv_path`, `dm_path`, `device`, `layout`, `role`, `pool`, `origin`, `tags`",
        LV,
    );
    section(&mut page, "Logical volumes that are not healthy", "`vg`, `lv`, `problem`", HEALTH_PROBLEM);
    section(
        &mut page,
        "LUKS on logical volumes",
        "`vg`, `lv`, `version` (`1`, `2`), `key_location` (`keyring`, `dm-crypt`)",
        LUKS,
    );
    section(&mut page, "Physical volumes", "`vg`, `pv`; `lvm_pv_info` also `pv_name`, `pv_uuid`, `device`, `tags`", PV);
    section(&mut page, "File systems on logical volumes", "`vg`, `lv`, `mountpoint`, `fstype`, `device`", FILESYSTEM);
    section(&mut page, "Targets", "`vg`, `lv`, `mountpoint`", TARGET);
    section(&mut page, "Targets that are held back", "`vg`, `lv`, `mountpoint`, `code`", HELD_BACK);
    section(&mut page, "Volume groups beside the config", "`vg`", GROUP);
    section(&mut page, "The config beside the host", "`kind`, which is `target` or `volume_group`", UNMATCHED);
    page.push_str("\n## What the autoscaler does\n\n| metric | kind | labels | |\n|---|---|---|---|\n");
    for family in Metrics::FAMILIES.iter().chain(WebMetrics::FAMILIES).chain(Edge::FAMILIES) {
        let kind = family.kind.as_str();
        let total = if kind == "counter" { "_total" } else { "" };
        let labels = family.labels.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(", ");
        page.push_str(&format!(
            "| `lvm_autoscaler_{}{total}` | {} | {labels} | {}. |\n",
            family.name, kind, family.help
        ));
    }
    section(&mut page, "The exporter itself", "none", HEALTH);
    section(&mut page, "Its collectors", "`collector`", COLLECTOR);
    section(&mut page, "The process", "none", PROCESS);
    section(&mut page, "The engine's process", "none", ENGINE);
    page.push_str(COMPARED);
    for (theirs, ours) in ELSEWHERE {
        let theirs =
            theirs.split(", ").map(|name| if name.starts_with("lvm_") { format!("`{name}`") } else { name.to_owned() });
        page.push_str(&format!("| {} | {ours} |\n", theirs.collect::<Vec<_>>().join(", ")));
    }
    page
}

fn section<T>(page: &mut String, title: &str, labels: &str, columns: &[Column<T>]) {
    page.push_str(&format!("\n## {title}\n\nLabels: {labels}.\n\n| metric | |\n|---|---|\n"));
    for column in columns {
        let total = if column.counter { "_total" } else { "" };
        let detail = if column.detail { " Only with `--collector.lv-details`." } else { "" };
        page.push_str(&format!("| `{}{total}` | {}{detail} |\n", column.name, column.help));
    }
}

const INTRODUCTION: &str = "# Metrics

<!-- Written from the tables in src/metrics by `UPDATE_DOCS=1 cargo test --test shipped docs::`; edit those. -->

`GET /metrics` returns OpenMetrics 1.0 or text 0.0.4, as the `Accept` header asks, compressed if `Accept-Encoding` allows
gzip. `lvm-autoscaler metrics` prints the same once. All metrics are gauges unless their name ends in `_total` or the table gives
another kind. Sizes are bytes, times are seconds since the epoch, percentages are 0 to 100 as LVM gives them, ratios 0 to 1.

A metric is missing if LVM has no value for it: only pools have a `lvm_lv_metadata_percent`. The series of volume groups,
logical and physical volumes and file systems have the labels below. UUIDs are only on the `_info` metrics, so that a series survives a
restore; with `--collector.uuid-labels` they are on all series of volume groups, logical and physical volumes. If two volume
groups have the same name, the label `vg` contains their UUID too, and for a missing physical volume `pv` contains its UUID.

Hidden logical volumes (RAID legs, the data and metadata volumes of pools) appear only with `--collector.lv-details`.

The metrics of `lvm-autoscaler relay` are in [fleets.md](fleets.md#metrics).
";

const COMPARED: &str = "
## Coming from prometheus-lvm-exporter

Metrics of the same meaning have the same name. Its series carry only UUIDs and are joined with the `_info` metrics to get names;
here every series already has the names. Queries that join, such as

```
lvm_lv_size_bytes * on (lv_uuid) group_left (lv_name) lvm_lv_info
```

give the same answer when this exporter runs with `--collector.uuid-labels`, and with `--collector.lv-details` also for hidden
volumes. Four things differ without a name that tells:

- `lvm_lv_active` is there 1 for every volume, with the state as a label; here it is 1 if the volume is active on this
  host, and 0 if it is not.
- `lvm_lv_info` has no `lv_full_name`; it is `vg` and `lv` with a slash between.
- Names of hidden volumes stand there in brackets, `[pool_tdata]`; here without.
- What LVM does not know is -1 there; here there is no series.

These names differ:

| there | here |
|---|---|
";

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use regex::Regex;

    use super::page;
    use crate::metrics::words::{AlertVerdict, Notified};
    use crate::plan::Outcome;

    /// What a help says that a label can be, it can be, and nothing else.
    #[test]
    fn helps_name_all_values_of_their_labels() {
        let page = page();
        let reason = Regex::new(r" \([^)]*\)").expect("an expression");
        for (name, before, values) in [
            ("operations", "by outcome: ", Outcome::ALL.map(Outcome::as_str).to_vec()),
            ("alerts", "by verdict: ", AlertVerdict::ALL.iter().map(|verdict| verdict.as_str()).collect()),
            ("notifications", "(webhook, email): ", Notified::ALL.iter().map(|outcome| outcome.as_str()).collect()),
        ] {
            let row = page.lines().find(|line| line.starts_with(&format!("| `lvm_autoscaler_{name}_total`")));
            let (_, said) = row.and_then(|row| row.split_once(before)).unwrap_or_else(|| panic!("no help of {name}"));
            let said = reason.replace_all(said.trim_end_matches(". |"), "");
            assert_eq!(said.split(", ").collect::<BTreeSet<_>>(), values.into_iter().collect(), "{name}");
        }
    }
}
