//! Which of all series to show.

use regex::Regex;

/// Names that are shown: those that match `include`, if there is one, and not `exclude`.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only these.
    pub include: Option<Regex>,
    /// Not these.
    pub exclude: Option<Regex>,
}

impl Filter {
    /// Whether a name is shown.
    pub fn shows(&self, name: &str) -> bool {
        self.include.as_ref().is_none_or(|include| include.is_match(name))
            && !self.exclude.as_ref().is_some_and(|exclude| exclude.is_match(name))
    }
}

/// A pattern that must match the whole name, as Prometheus' own do.
pub fn whole(pattern: &str) -> Result<Regex, String> {
    Regex::new(&format!("^(?:{pattern})$")).map_err(|error| error.to_string())
}

/// What is shown.
#[derive(Debug, Clone)]
pub struct Selection {
    /// Volume groups, logical and physical volumes.
    pub lvm: bool,
    /// File systems.
    pub filesystem: bool,
    /// Further series per logical volume, and the hidden ones.
    pub lv_details: bool,
    /// UUIDs on every series, for queries written for prometheus-lvm-exporter.
    pub uuid_labels: bool,
    /// By the name of the volume group; holds for everything in it.
    pub vgs: Filter,
    /// By `VG/LV`; holds for file systems on it too.
    pub lvs: Filter,
    /// By mount point.
    pub mount_points: Filter,
}

impl Default for Selection {
    fn default() -> Selection {
        Selection {
            lvm: true,
            filesystem: true,
            lv_details: false,
            uuid_labels: false,
            vgs: Filter::default(),
            lvs: Filter::default(),
            mount_points: Filter::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_names() {
        let filter =
            Filter { include: Some(whole("a|b.*").expect("valid")), exclude: Some(whole("bad").expect("valid")) };
        let shown: Vec<_> = ["a", "ab", "b", "bc", "bad", "cb"].into_iter().filter(|name| filter.shows(name)).collect();
        assert_eq!(shown, ["a", "b", "bc"]);
        assert!(Filter::default().shows("anything"));
        assert!(whole("(").is_err());
    }
}
