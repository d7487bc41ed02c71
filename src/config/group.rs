//! Which volume groups an entry of the config is for: one, or all that match a pattern.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use super::glob::Glob;
use crate::name::VgName;

/// Which groups an entry is for.
#[derive(Debug, Clone)]
pub enum GroupName {
    /// This one.
    One(VgName),
    /// All whose names match.
    Pattern(Glob),
}

impl GroupName {
    /// Whether it is for that group.
    pub fn matches(&self, vg: &VgName) -> bool {
        match self {
            GroupName::One(name) => name == vg,
            GroupName::Pattern(glob) => glob.matches(vg.as_str()),
        }
    }

    /// Whether it is for any group.
    pub fn is_any(&self) -> bool {
        matches!(self, GroupName::Pattern(glob) if glob.is_any())
    }

    /// The group, if it is for one only.
    pub fn one(&self) -> Option<&VgName> {
        match self {
            GroupName::One(name) => Some(name),
            GroupName::Pattern(_) => None,
        }
    }
}

impl FromStr for GroupName {
    type Err = String;

    fn from_str(text: &str) -> Result<GroupName, String> {
        if !text.contains(['*', '?', '[', '{']) {
            return text.parse().map(GroupName::One).map_err(|error: crate::name::NameError| error.to_string());
        }
        let is_of_name = |c: char| c.is_ascii_alphanumeric() || "+_.-*?[]{},!".contains(c);
        let glob = text.parse().ok().filter(|_| text.chars().all(is_of_name));
        glob.map(GroupName::Pattern).ok_or_else(|| {
            format!(
                "{text:?} is not a pattern for names of groups, expected letters, digits and + _ . - with * ? and [..]"
            )
        })
    }
}

impl PartialEq for GroupName {
    fn eq(&self, other: &GroupName) -> bool {
        self.to_string() == other.to_string()
    }
}

impl fmt::Display for GroupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GroupName::One(name) => name.fmt(f),
            GroupName::Pattern(glob) => glob.fmt(f),
        }
    }
}

impl Serialize for GroupName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_names() {
        for (pattern, name, matches) in [
            ("data*", "data_vg", true),
            ("data*", "olddata", false),
            ("*", "any-thing.1", true),
            ("vg?", "vg1", true),
            ("vg?", "vg10", false),
            ("vg[0-3]", "vg2", true),
            ("vg[0-3]", "vg4", false),
            ("vg.1*", "vgx1", false),
            ("a+b*", "a+b1", true),
            ("vg", "vg", true),
        ] {
            let name: VgName = name.parse().expect("a name");
            assert_eq!(pattern.parse::<GroupName>().expect(pattern).matches(&name), matches, "{pattern} {name}");
        }
        for wrong in ["vg[", "v/g*", "vg *", "(*", "vg[]"] {
            wrong.parse::<GroupName>().expect_err(wrong);
        }
    }
}
