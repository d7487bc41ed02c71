//! Whether the volume group may be changed at all, by this host.

use super::{Subject, Verdict, require};

pub(super) fn vg_partial(s: &Subject<'_>) -> Verdict {
    let missing = s.vg.missing_pv_count.map_or("some".to_owned(), |count| count.to_string());
    require(s.vg.partial, false, "the volume group is partial", || {
        format!("{} misses {missing} of its PVs: bring them back, see pvs and vgextend --restoremissing", s.vg.name)
    })
}

pub(super) fn vg_exported(s: &Subject<'_>) -> Verdict {
    require(s.vg.exported, false, "the volume group is exported", || {
        format!("{} is exported: vgimport it if it belongs to this host", s.vg.name)
    })
}

/// A group that another host owns, by its system ID (lvmsystemid(7)).
pub(super) fn vg_foreign(s: &Subject<'_>) -> Verdict {
    let (owner, own) = (s.vg.system_id.as_str(), s.inventory.system_id.as_deref());
    if owner.is_empty() || own == Some(owner) {
        return Verdict::Pass;
    }
    let own = own.filter(|own| !own.is_empty()).map_or("none".to_owned(), |own| format!("{own:?}"));
    Verdict::Refuse(format!(
        "{} belongs to the host with the system ID {owner:?} and this one has {own}: grow it there, see lvmsystemid(7)",
        s.vg.name
    ))
}

pub(super) fn vg_shared(s: &Subject<'_>) -> Verdict {
    require(s.vg.shared, false, "the volume group is shared", || {
        format!("{} is shared between hosts (lvmlockd): this tool grows only local volume groups", s.vg.name)
    })
}

pub(super) fn vg_read_only(s: &Subject<'_>) -> Verdict {
    require(s.vg.read_only, false, "the volume group is read-only", || {
        format!(
            "{} is read-only in its metadata and no command lifts that: vgcfgrestore an edited vgcfgbackup if it should grow",
            s.vg.name
        )
    })
}
