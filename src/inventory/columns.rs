//! What LVM is asked for: the columns of its reports, and the settings under which their output is what is expected
//! here.

use crate::name::VgName;

/// The columns that decisions need; all of them exist from LVM 2.02.158 on.
const NEEDED: [(&str, &str); 5] = [
    (
        "vg",
        "vg_uuid,vg_name,vg_permissions,vg_exported,vg_partial,vg_allocation_policy,vg_shared,vg_size,vg_free,vg_systemid,\
         vg_extent_size,vg_extent_count,vg_free_count,pv_count,vg_missing_pv_count,lv_count,snap_count",
    ),
    (
        "lv",
        "lv_uuid,lv_name,lv_path,lv_dm_path,lv_layout,lv_role,lv_size,lv_active_locally,lv_suspended,lv_permissions,\
         lv_device_open,lv_health_status,lv_kernel_major,lv_kernel_minor,lv_merging,lv_converting,origin,pool_lv,move_pv,\
         data_percent,metadata_percent,sync_percent,lv_allocation_policy,lv_metadata_size,lv_check_needed,lv_tags",
    ),
    (
        "pv",
        "pv_uuid,pv_name,pv_size,pv_free,pv_pe_count,pv_pe_alloc_count,pv_allocatable,pv_missing,dev_size,pe_start,pv_tags,\
         pv_mda_count,pv_in_use",
    ),
    ("seg", "lv_uuid,segtype,stripes,stripe_size,seg_start_pe,seg_size_pe,seg_pe_ranges"),
    // Not read, but `fullreport` has the section in any case, and this is its cheapest column.
    ("pvseg", "pvseg_start"),
];

/// Further columns that only metrics show. A version that lacks one refuses the whole report; it is then asked without.
const SHOWN: [(&str, &str); 3] = [
    ("vg", "vg_extendable,vg_seqno,vg_tags,vg_mda_free,vg_mda_size"),
    (
        "lv",
        "origin_size,lv_snapshot_invalid,raid_mismatch_count,raid_sync_action,\
         cache_total_blocks,cache_used_blocks,cache_dirty_blocks,cache_read_hits,cache_read_misses,cache_write_hits,\
         cache_write_misses,vdo_used_size,vdo_saving_percent,vdo_operating_mode",
    ),
    ("pv", "pv_used,pv_exported,pv_duplicate"),
];

/// Which columns to ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Columns {
    /// What decisions need.
    Needed,
    /// Also what is only shown.
    All,
}

/// Settings for everything that is read from LVM. An administrator's lvm.conf may change each of them, and a changed
/// one makes the report something else: `log/command_names` puts a word in front of each line, `report/prefixes` breaks
/// the quotes of the JSON, `report/compact_output` leaves fields out, and without `global/wait_for_locks` a report
/// fails while another command works on the group. These are LVM's own defaults, which most hosts have.
pub const SETTINGS: [(&str, &str); 15] = [
    ("global/wait_for_locks", "1"),
    ("log/prefix", "\"  \""),
    ("log/command_names", "0"),
    ("log/silent", "0"),
    ("log/verbose", "0"),
    ("log/report_command_log", "0"),
    ("report/compact_output", "0"),
    ("report/compact_output_cols", "\"\""),
    ("report/prefixes", "0"),
    ("report/quoted", "1"),
    ("report/columns_as_rows", "0"),
    ("report/headings", "1"),
    ("report/list_item_separator", "\",\""),
    ("report/mark_hidden_devices", "1"),
    ("report/two_word_unknown_device", "0"),
];

/// [`SETTINGS`] as LVM's option `--config` takes them.
pub fn settings() -> String {
    SETTINGS.map(|(name, value)| format!("{name}={value}")).join(" ")
}

/// The arguments of the one report that everything is read from. Settings of the host's lvm.conf that would change the
/// output are overridden: units, list separator, marks around hidden names and how yes and no are written.
pub fn report_arguments(vg: Option<&VgName>, columns: Columns) -> Vec<String> {
    let mut arguments: Vec<String> =
        ["fullreport", "--all", "--binary", "--reportformat", "json", "--units", "b", "--nosuffix"]
            .map(str::to_owned)
            .to_vec();
    arguments.extend(["--config".to_owned(), settings()]);
    for (report, needed) in NEEDED {
        let shown = SHOWN.iter().find(|(name, _)| *name == report && columns == Columns::All);
        let fields = shown.map_or(needed.to_owned(), |(_, shown)| format!("{needed},{shown}"));
        arguments.extend(["--configreport", report, "-o", &fields].map(str::to_owned));
    }
    if let Some(vg) = vg {
        // A group of another host is left out otherwise, and would look as if it were not there.
        arguments.extend(["--foreign".to_owned(), "--".to_owned(), vg.to_string()]);
    }
    arguments
}

/// The arguments of a report of the PVs that LVM found on a further device, which no other report shows (measured with
/// 2.03.11,
/// 2.03.16 and 2.03.31). It is read like the report of everything.
pub fn duplicates_arguments() -> Vec<String> {
    let fields =
        ["pvs", "-a", "--binary", "--reportformat", "json", "--units", "b", "--nosuffix", "-S", "pv_duplicate=1"];
    let settings = settings();
    let rest = ["--config", &settings, "-o", "pv_name,pv_uuid,pv_duplicate"];
    fields.into_iter().chain(rest).map(str::to_owned).collect()
}

pub(super) fn is_known(field: &str) -> bool {
    let lists = NEEDED.iter().map(|(_, fields)| fields).chain(SHOWN.iter().map(|(_, fields)| fields));
    lists.into_iter().any(|fields| fields.split(',').any(|known| known == field))
}
