//! The JSON of `lvm fullreport`, lvmreport(7), as typed values.
//!
//! LVM's report is read row by row and value by value: a row is a list of strings by field name, a value that is not
//! what its field should hold becomes `None` and an entry in [`Inventory::oddities`]. Nothing here fails because of one
//! odd value; the whole is refused only when it is not JSON with a `report` array at all.

use std::borrow::Cow;
use std::fmt;

use jiff::Timestamp;
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use super::columns::is_known;
pub use super::columns::{Columns, SETTINGS, duplicates_arguments, report_arguments, settings};
use super::{Cache, DeviceNumber, Inventory, Lv, Pv, Segment, Vdo, Vg};
use crate::name::{LvName, LvRef, VgName};
use crate::units::{Bytes, Extents, Percent};

/// The output is not a report at all.
#[derive(Debug, thiserror::Error)]
#[error("lvm's report is not the JSON expected")]
pub struct ReportError(#[source] serde_json::Error);

/// Reads a report. The file systems are left empty, `host::look` adds them.
pub fn parse(json: &[u8], taken_at: Timestamp) -> Result<Inventory, ReportError> {
    let text = String::from_utf8_lossy(json);
    let document: Document<'_> = match serde_json::from_str(&text) {
        Ok(document) => document,
        // Some versions write bytes into strings that JSON does not allow there; mended they can still be read.
        Err(error) => return parse_mended(&text, taken_at).ok_or(ReportError(error)),
    };
    Ok(Reader::new(taken_at).read(&document))
}

fn parse_mended(text: &str, taken_at: Timestamp) -> Option<Inventory> {
    let mended = mend(text);
    let document: Document<'_> = serde_json::from_str(&mended).ok()?;
    let mut inventory = Reader::new(taken_at).read(&document);
    inventory.oddities.insert(0, "the report was not valid JSON and was mended".to_owned());
    Some(inventory)
}

/// Escapes that JSON does not know (`\0`) lose their backslash's meaning, raw control characters become spaces.
fn mend(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' if matches!(chars.peek(), Some('"' | '\\' | '/' | 'b' | 'f' | 'n' | 'r' | 't' | 'u')) => {
                out.push('\\');
                out.extend(chars.next());
            }
            '\\' => out.push_str("\\\\"),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

/// What stands in the JSON, keys other than `report` (a `log` in some versions) passed over.
#[derive(serde::Deserialize)]
struct Document<'a> {
    #[serde(borrow)]
    report: Vec<Section<'a>>,
}

/// One volume group, or the orphans: rows by kind.
struct Section<'a> {
    rows: Vec<(Cow<'a, str>, Vec<Row<'a>>)>,
}

/// One row: strings by field name, without the empty ones.
struct Row<'a>(Box<[(Cow<'a, str>, Cow<'a, str>)]>);

/// A text borrowed from the document where it holds no escapes; other JSON values become text or nothing.
struct Text<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Section<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SectionVisitor;
        impl<'de> Visitor<'de> for SectionVisitor {
            type Value = Section<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of arrays of rows")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Section<'de>, A::Error> {
                let mut rows = Vec::new();
                while let Some(key) = map.next_key::<Text<'de>>()? {
                    if ["vg", "lv", "pv", "seg"].contains(&key.0.as_ref()) {
                        rows.push((key.0, map.next_value::<Vec<Row<'de>>>()?));
                    } else {
                        map.next_value::<de::IgnoredAny>()?;
                    }
                }
                Ok(Section { rows })
            }
        }
        deserializer.deserialize_map(SectionVisitor)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Row<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct RowVisitor;
        impl<'de> Visitor<'de> for RowVisitor {
            type Value = Row<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of strings")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Row<'de>, A::Error> {
                let mut fields = Vec::with_capacity(24);
                while let Some(key) = map.next_key::<Text<'de>>()? {
                    let value = map.next_value::<Text<'de>>()?.0;
                    // Most are empty, which means the same as not being there, and there are thousands of rows.
                    if !value.is_empty() {
                        fields.push((key.0, value));
                    }
                }
                Ok(Row(fields.into_boxed_slice()))
            }
        }
        deserializer.deserialize_map(RowVisitor)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_borrowed_str<E>(self, v: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(v)))
            }
            fn visit_str<E>(self, v: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(v.to_owned())))
            }
            fn visit_u64<E>(self, v: u64) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(v.to_string())))
            }
            fn visit_i64<E>(self, v: i64) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(v.to_string())))
            }
            fn visit_f64<E>(self, v: f64) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(v.to_string())))
            }
            fn visit_bool<E>(self, v: bool) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(if v { "1" } else { "0" })))
            }
            fn visit_unit<E>(self) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed("")))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Text<'de>, A::Error> {
                // `report/output_format=json_std` (2.03.17) writes lists as arrays.
                let mut items = Vec::new();
                while let Some(item) = seq.next_element::<Text<'de>>()? {
                    items.push(item.0);
                }
                Ok(Text(Cow::Owned(items.join(","))))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Text<'de>, A::Error> {
                while map.next_entry::<de::IgnoredAny, de::IgnoredAny>()?.is_some() {}
                Ok(Text(Cow::Borrowed("")))
            }
        }
        deserializer.deserialize_any(TextVisitor)
    }
}

impl<'a> Section<'a> {
    fn rows(&self, kind: &'static str) -> impl Iterator<Item = &Row<'a>> {
        self.rows.iter().filter(move |(name, _)| name == kind).flat_map(|(_, rows)| rows)
    }
}

impl Row<'_> {
    fn text(&self, field: &str) -> &str {
        self.0.iter().find(|(name, _)| name == field).map_or("", |(_, value)| value.as_ref())
    }

    fn words(&self, field: &str) -> Vec<String> {
        self.text(field).split(',').filter(|word| !word.is_empty()).map(str::to_owned).collect()
    }

    /// A text that is empty when there is none, hidden names without their brackets.
    fn name(&self, field: &str) -> Option<String> {
        let text = self.text(field).trim_start_matches('[').trim_end_matches(']');
        (!text.is_empty()).then(|| text.to_owned())
    }
}

/// More oddities than this are counted only once more; a broken LVM must not fill the memory.
const MOST_ODDITIES: usize = 50;

struct Reader {
    inventory: Inventory,
}

impl Reader {
    fn new(taken_at: Timestamp) -> Reader {
        Reader { inventory: Inventory::empty(taken_at) }
    }

    fn read(mut self, document: &Document<'_>) -> Inventory {
        for section in &document.report {
            self.section(section);
        }
        self.inventory.vgs.sort_by(|a, b| a.name.cmp(&b.name));
        self.inventory.lvs.sort_by(|a, b| a.name.cmp(&b.name));
        self.inventory
    }

    fn section(&mut self, section: &Section<'_>) {
        self.count_unknown(section);
        let vg = section.rows("vg").next().and_then(|row| self.vg(row));
        for row in section.rows("pv") {
            let pv = self.pv(row, vg.as_ref());
            self.inventory.pvs.push(pv);
        }
        let Some(vg) = vg else { return };
        let first = self.inventory.lvs.len();
        for row in section.rows("lv") {
            if let Some(lv) = self.lv(row, &vg) {
                self.inventory.lvs.push(lv);
            }
        }
        // By index, for a group of thousands of volumes is walked once per segment otherwise.
        let by_uuid: std::collections::HashMap<String, usize> =
            self.inventory.lvs.iter().enumerate().skip(first).map(|(i, lv)| (lv.uuid.clone(), i)).collect();
        for row in section.rows("seg") {
            let segment = self.segment(row);
            if let Some(&i) = by_uuid.get(row.text("lv_uuid")) {
                self.inventory.lvs[i].segments.push(segment);
            }
        }
        self.inventory.vgs.push(vg);
    }

    /// Rows of one kind all have the same fields, so one row of each tells.
    fn count_unknown(&mut self, section: &Section<'_>) {
        for row in ["vg", "lv", "pv", "seg"].into_iter().filter_map(|kind| section.rows(kind).next()) {
            let unknown = row.0.iter().map(|(field, _)| field.as_ref()).filter(|field| !is_known(field));
            let room = MOST_ODDITIES.saturating_sub(self.inventory.unknown_fields.len());
            self.inventory.unknown_fields.extend(unknown.take(room).map(str::to_owned));
        }
    }

    fn vg(&mut self, row: &Row<'_>) -> Option<Vg> {
        let name: VgName = self.valid(row, "vg_name")?;
        Some(Vg {
            name,
            uuid: row.text("vg_uuid").to_owned(),
            size: self.number(row, "vg_size").map(Bytes),
            free: self.number(row, "vg_free").map(Bytes),
            extent_size: self.number(row, "vg_extent_size").map(Bytes),
            extent_count: self.number(row, "vg_extent_count").map(Extents),
            free_extents: self.number(row, "vg_free_count").map(Extents),
            read_only: self.one_of(row, "vg_permissions", &[("writeable", false), ("read-only", true)]),
            exported: self.flag(row, "vg_exported"),
            partial: self.flag(row, "vg_partial"),
            shared: self.flag(row, "vg_shared"),
            system_id: row.text("vg_systemid").to_owned(),
            allocation_policy: row.text("vg_allocation_policy").to_owned(),
            pv_count: self.number(row, "pv_count"),
            missing_pv_count: self.number(row, "vg_missing_pv_count"),
            lv_count: self.number(row, "lv_count"),
            snapshot_count: self.number(row, "snap_count"),
            metadata_size: self.number(row, "vg_mda_size").map(Bytes),
            metadata_free: self.number(row, "vg_mda_free").map(Bytes),
            extendable: self.flag(row, "vg_extendable"),
            seqno: self.number(row, "vg_seqno"),
            tags: row.text("vg_tags").to_owned(),
        })
    }

    fn lv(&mut self, row: &Row<'_>, vg: &Vg) -> Option<Lv> {
        let shown = row.text("lv_name");
        let hidden = shown.starts_with('[');
        let bare = shown.trim_start_matches('[').trim_end_matches(']');
        let name: LvName = self.checked(bare.parse(), "lv_name", shown)?;
        Some(Lv {
            name: LvRef { vg: vg.name.clone(), lv: name },
            vg_uuid: vg.uuid.clone(),
            uuid: row.text("lv_uuid").to_owned(),
            path: row.text("lv_path").to_owned(),
            dm_path: row.text("lv_dm_path").to_owned(),
            hidden,
            layout: row.words("lv_layout"),
            role: row.words("lv_role"),
            size: self.number(row, "lv_size").map(Bytes),
            active: self.flag(row, "lv_active_locally"),
            suspended: self.flag(row, "lv_suspended"),
            // `read-only-override` is a writeable volume activated read-only.
            read_only: self.one_of(
                row,
                "lv_permissions",
                &[("writeable", false), ("read-only", true), ("read-only-override", true)],
            ),
            open: self.flag(row, "lv_device_open"),
            health: row.text("lv_health_status").to_owned(),
            allocation_policy: row.text("lv_allocation_policy").to_owned(),
            device: self.device(row),
            origin: row.name("origin"),
            pool: row.name("pool_lv"),
            move_pv: row.name("move_pv"),
            converting: self.flag(row, "lv_converting"),
            merging: self.flag(row, "lv_merging"),
            data_percent: self.percent(row, "data_percent"),
            metadata_percent: self.percent(row, "metadata_percent"),
            sync_percent: self.percent(row, "sync_percent"),
            tags: row.text("lv_tags").to_owned(),
            metadata_size: self.number(row, "lv_metadata_size").map(Bytes),
            origin_size: self.number(row, "origin_size").map(Bytes),
            snapshot_invalid: self.flag(row, "lv_snapshot_invalid"),
            check_needed: self.flag(row, "lv_check_needed"),
            raid_mismatches: self.number(row, "raid_mismatch_count"),
            raid_sync_action: row.text("raid_sync_action").to_owned(),
            cache: Cache {
                total_blocks: self.number(row, "cache_total_blocks"),
                used_blocks: self.number(row, "cache_used_blocks"),
                dirty_blocks: self.number(row, "cache_dirty_blocks"),
                read_hits: self.number(row, "cache_read_hits"),
                read_misses: self.number(row, "cache_read_misses"),
                write_hits: self.number(row, "cache_write_hits"),
                write_misses: self.number(row, "cache_write_misses"),
            },
            vdo: Vdo {
                used_size: self.number(row, "vdo_used_size").map(Bytes),
                saving_percent: self.percent(row, "vdo_saving_percent"),
                operating_mode: row.text("vdo_operating_mode").to_owned(),
            },
            segments: Vec::new(),
        })
    }

    fn pv(&mut self, row: &Row<'_>, vg: Option<&Vg>) -> Pv {
        Pv {
            name: row.text("pv_name").to_owned(),
            uuid: row.text("pv_uuid").to_owned(),
            vg: vg.map(|vg| vg.name.clone()),
            vg_uuid: vg.map_or(String::new(), |vg| vg.uuid.clone()),
            size: self.number(row, "pv_size").map(Bytes),
            free: self.number(row, "pv_free").map(Bytes),
            extent_count: self.number(row, "pv_pe_count").map(Extents),
            allocated_extents: self.number(row, "pv_pe_alloc_count").map(Extents),
            allocatable: self.flag(row, "pv_allocatable"),
            missing: self.flag(row, "pv_missing"),
            used: self.number(row, "pv_used").map(Bytes),
            device_size: self.number(row, "dev_size").map(Bytes),
            exported: self.flag(row, "pv_exported"),
            duplicate: self.flag(row, "pv_duplicate"),
            tags: row.text("pv_tags").to_owned(),
            first_extent_at: self.number(row, "pe_start").map(Bytes),
            disk: None,
            metadata_areas: self.number(row, "pv_mda_count"),
            in_use: self.flag(row, "pv_in_use"),
            table: None,
            signature: None,
            is_linked: false,
        }
    }

    fn segment(&mut self, row: &Row<'_>) -> Segment {
        Segment {
            kind: row.text("segtype").to_owned(),
            stripes: self.number(row, "stripes"),
            stripe_size: self.number(row, "stripe_size").map(Bytes),
            start: self.number(row, "seg_start_pe").map(Extents),
            size: self.number(row, "seg_size_pe").map(Extents),
            pe_ranges: row.text("seg_pe_ranges").to_owned(),
        }
    }

    /// `-1:-1` stands for an inactive volume.
    fn device(&mut self, row: &Row<'_>) -> Option<DeviceNumber> {
        let (major, minor) = (row.text("lv_kernel_major"), row.text("lv_kernel_minor"));
        if [major, minor].iter().any(|n| n.is_empty() || *n == "-1") {
            return None;
        }
        let parsed = format!("{major}:{minor}").parse();
        self.checked(
            parsed.map_err(|()| "not a device number"),
            "lv_kernel_major:lv_kernel_minor",
            &format!("{major}:{minor}"),
        )
    }

    fn number(&mut self, row: &Row<'_>, field: &str) -> Option<u64> {
        let text = row.text(field);
        if text.is_empty() {
            return None;
        }
        // Sizes come without a fraction; a decimal point or comma would be a unit that was not asked for.
        self.checked(text.parse(), field, text)
    }

    /// Empty where the kind of volume has none; a locale may make the point a comma in spite of `LC_ALL=C`.
    fn percent(&mut self, row: &Row<'_>, field: &str) -> Option<Percent> {
        let text = row.text(field);
        if text.is_empty() || text == "-1" {
            return None;
        }
        let parsed = text.replace(',', ".").parse::<f64>().ok().and_then(Percent::new);
        self.checked(parsed.ok_or("not a percentage"), field, text)
    }

    fn flag(&mut self, row: &Row<'_>, field: &str) -> Option<bool> {
        // -1 is LVM's own "unknown".
        if row.text(field) == "-1" {
            return None;
        }
        self.one_of(row, field, &[("1", true), ("0", false)])
    }

    fn one_of(&mut self, row: &Row<'_>, field: &str, known: &[(&str, bool)]) -> Option<bool> {
        let text = row.text(field);
        if text.is_empty() || text == "unknown" {
            return None;
        }
        let found = known.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        self.checked(found.ok_or("not a value known here"), field, text)
    }

    fn valid<T: std::str::FromStr<Err: fmt::Display>>(&mut self, row: &Row<'_>, field: &str) -> Option<T> {
        let text = row.text(field);
        self.checked(text.parse(), field, text)
    }

    fn checked<T, E: fmt::Display>(&mut self, parsed: Result<T, E>, field: &str, text: &str) -> Option<T> {
        match parsed {
            Ok(value) => Some(value),
            Err(error) => {
                if self.inventory.oddities.len() < MOST_ODDITIES {
                    let shown: String = text.chars().take(80).collect();
                    self.inventory.oddities.push(format!("{field} is {shown:?}: {error}"));
                }
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(json: &str) -> Inventory {
        parse(json.as_bytes(), Timestamp::UNIX_EPOCH).expect("a report")
    }

    #[test]
    fn one_odd_value_loses_that_value_only() {
        let inventory = read(
            r#"{"log":[{"x":1}],"report":[{"vg":[{"vg_name":"a","vg_size":"12,5","vg_free":"1048576","vg_exported":"maybe",
                "vg_partial":"0","new_field":"?"}],"lv":[{"lv_name":"b","lv_size":"x","data_percent":"12,50","lv_uuid":"u"},
                {"lv_name":"-bad"},{"lv_name":"[c_tdata]","lv_kernel_major":"-1","lv_kernel_minor":"-1"}],
                "seg":[{"lv_uuid":"u","segtype":"linear"}]},{"pv":[{"pv_name":"/dev/sdx","pv_missing":"1"}]}]}"#,
        );
        assert_eq!(inventory.vgs[0].size, None);
        assert_eq!(inventory.vgs[0].free, Some(Bytes(1048576)));
        assert_eq!(inventory.vgs[0].exported, None);
        assert_eq!(inventory.vgs[0].partial, Some(false));
        assert_eq!(inventory.lvs.iter().map(|lv| lv.name.to_string()).collect::<Vec<_>>(), ["a/b", "a/c_tdata"]);
        assert_eq!(inventory.lvs[0].data_percent, Percent::new(12.5));
        assert_eq!(inventory.lvs[0].segments.len(), 1);
        assert!(inventory.lvs[1].hidden);
        assert_eq!(inventory.lvs[1].device, None);
        assert_eq!(inventory.pvs[0].vg, None);
        assert_eq!(inventory.oddities.len(), 4, "{:#?}", inventory.oddities);
        assert_eq!(inventory.unknown_fields.iter().collect::<Vec<_>>(), ["new_field"]);
    }

    #[test]
    fn text_that_is_almost_json_is_mended() {
        let inventory = read("{\"report\":[{\"vg\":[{\"vg_name\":\"a\",\"vg_systemid\":\"x\\0y\u{1}\"}]}]}");
        assert_eq!(inventory.vgs.len(), 1);
        assert!(inventory.oddities[0].contains("mended"));
    }

    #[test]
    fn what_is_no_report_is_an_error() {
        for text in ["", "garbage", "[]", "{}", "{\"report\":", "{\"report\":7}"] {
            assert!(parse(text.as_bytes(), Timestamp::UNIX_EPOCH).is_err(), "{text:?}");
        }
    }

    #[test]
    fn two_groups_of_one_name_are_nobody() {
        let inventory = read(r#"{"report":[{"vg":[{"vg_name":"a"}]},{"vg":[{"vg_name":"a"}]}]}"#);
        assert_eq!(inventory.vgs.len(), 2);
        assert!(inventory.vg(&"a".parse().expect("a name")).is_none());
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC*") {
            let _ = parse(text.as_bytes(), Timestamp::UNIX_EPOCH);
        }
    }
}
