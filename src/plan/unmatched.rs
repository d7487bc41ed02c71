//! What the config names and the host does not have. One config may serve many hosts, so that is no error; but a limit
//! that is misspelt must not be a limit that is missing.

use std::collections::{BTreeSet, HashMap};

use crate::config::near::{listed, slips};
use crate::config::{Config, Policy};
use crate::inventory::Inventory;
use crate::name::{LvRef, VgName};
use crate::plan::policies::{Choice, Misspelt, choices, misspelt};

/// So many names are said; whoever wants all asks for the targets.
const SHOWN: usize = 3;

/// Names of the config that are not on a host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unmatched {
    /// Targets whose volume is not there, or not the only one of its name; in the order of the config.
    pub targets: Vec<LvRef>,
    /// Groups of `volume_groups` that are not there, unless they are suspects.
    pub groups: Vec<VgName>,
    /// A group of `volume_groups` that is not there, and the one that is there and was perhaps meant. Nothing in the
    /// latter grows.
    pub suspects: Vec<(VgName, VgName)>,
    /// Policies that select nothing.
    pub policies: Vec<String>,
    /// Volumes that a policy would select if it said which of their places counts: a sentence each.
    pub unclear: Vec<String>,
    /// Names in policies that are perhaps misspelt.
    pub(crate) misspelt: Vec<Misspelt>,
    /// How many targets and policies the config has.
    of: (usize, usize),
}

impl Unmatched {
    /// Of a look at everything, and a config with what policies select on it ([`super::applied`]).
    pub fn of(config: &Config, inventory: &Inventory) -> Unmatched {
        let mut volumes: HashMap<&LvRef, usize> = HashMap::new();
        for lv in &inventory.lvs {
            *volumes.entry(&lv.name).or_default() += 1;
        }
        let targets: Vec<LvRef> = config.named().map(|target| &target.lv).cloned().collect();
        let targets: Vec<LvRef> = targets.into_iter().filter(|lv| volumes.get(lv) != Some(&1)).collect();
        let absent = |name: &VgName| !inventory.has_group(name);
        let suspects: Vec<(VgName, VgName)> = inventory
            .vgs
            .iter()
            .flat_map(|vg| config.near_misses(&vg.name).into_iter().map(|named| (named.clone(), vg.name.clone())))
            .filter(|(named, _)| absent(named))
            .collect();
        let groups = config.volume_groups.iter().filter_map(|group| group.name.one()).filter(|name| absent(name));
        let groups = groups.filter(|name| suspects.iter().all(|(named, _)| named != *name)).cloned().collect();
        let selects =
            |policy: &&Policy| config.targets.iter().any(|target| target.origin.policy.as_ref() == Some(&policy.name));
        let policies = config.policies.iter().filter(|policy| !selects(policy)).map(|policy| policy.name.clone());
        let unclear = choices(config, inventory).into_iter().filter_map(|choice| match choice {
            Choice::Target(_) => None,
            Choice::Unclear { lv, policy, points } => Some(format!(
                "{lv} is mounted at {} with different options, and the policy {policy}, which would select it, does not say which of \
                 them counts: add mount_point to its match",
                points.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ")
            )),
        });
        let doubts = config.targets.iter().filter_map(|target| misspelt(target, config, inventory));
        // Each once, in the order of the policies.
        let doubts: BTreeSet<Misspelt> = doubts.collect();
        Unmatched {
            targets,
            groups,
            suspects,
            policies: policies.collect(),
            unclear: unclear.collect(),
            misspelt: doubts.into_iter().collect(),
            of: (config.named().count(), config.policies.len()),
        }
    }

    /// Whether the host has all that the config names.
    pub fn is_empty(&self) -> bool {
        let names = self.targets.len() + self.groups.len() + self.suspects.len() + self.policies.len();
        names + self.unclear.len() + self.misspelt.len() == 0
    }

    /// The volume that a target that is not there may have meant; none that is a target itself.
    pub fn meant(lv: &LvRef, config: &Config, inventory: &Inventory) -> Option<LvRef> {
        let others = inventory.lvs.iter().filter(|other| !other.hidden && config.target(&other.name).is_none());
        let others: Vec<String> = others.map(|other| other.name.to_string()).collect();
        slips(&lv.to_string(), others.iter().map(String::as_str)).first()?.parse().ok()
    }

    /// What is only not there, a sentence each; nothing if everything is.
    pub fn sentences(&self, config: &Config, inventory: &Inventory) -> Vec<String> {
        let mut sentences = Vec::new();
        if !self.targets.is_empty() {
            let (verb, count) = (if self.targets.len() == 1 { "is" } else { "are" }, self.targets.len());
            let of = self.of.0;
            let plural = if of == 1 { "target" } else { "targets" };
            sentences.push(format!("{count} of {of} {plural} {verb} not on this host: {}", named(&self.targets)));
        }
        for lv in self.targets.iter().take(SHOWN) {
            let Some(meant) = Unmatched::meant(lv, config, inventory) else { continue };
            sentences
                .push(format!("the target {lv} is not on this host, and {meant} is: correct lv_path if it was meant"));
        }
        if !self.groups.is_empty() {
            let verb = if self.groups.len() == 1 { "is" } else { "are" };
            sentences.push(format!("volume_groups names {}, which {verb} not on this host", named(&self.groups)));
        }
        if !self.policies.is_empty() {
            let (verb, count) = (if self.policies.len() == 1 { "selects" } else { "select" }, self.policies.len());
            let of = self.of.1;
            let plural = if of == 1 { "policy" } else { "policies" };
            sentences.push(format!("{count} of {of} {plural} {verb} nothing on this host: {}", named(&self.policies)));
        }
        sentences.extend(self.unclear.iter().take(SHOWN).cloned());
        sentences
    }

    /// What closes groups or volumes until somebody corrects it, a sentence each.
    pub fn suspicions(&self) -> Vec<String> {
        let groups = self.suspects.iter().map(|(named, meant)| suspicion(named, meant));
        groups.chain(self.misspelt.iter().map(|doubt| doubt.sentence.clone())).collect()
    }
}

/// Why nothing in `meant` grows.
pub(crate) fn suspicion(named: &VgName, meant: &VgName) -> String {
    format!(
        "{named} in volume_groups is not on this host and looks like {meant}, which has no entry there: correct the name, or give \
         {meant} an entry of its own, such as {{ name: {meant}, reserve: 0 }}"
    )
}

fn named(names: &[impl ToString]) -> String {
    let mut shown: Vec<String> = names.iter().take(SHOWN).map(ToString::to_string).collect();
    match names.len() - shown.len() {
        0 => listed(&shown).replace(" or ", " and ").replace('`', ""),
        more => {
            shown.push(format!("and {more} more"));
            shown.join(", ").replace(", and", " and")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::lvm;
    use jiff::Timestamp;
    use std::path::Path;

    fn host(volumes: &[&str]) -> Inventory {
        let mut groups: Vec<&str> = volumes.iter().filter_map(|name| Some(name.split_once('/')?.0)).collect();
        groups.dedup();
        let report: Vec<serde_json::Value> = groups
            .iter()
            .map(|vg| {
                let of_group = volumes.iter().filter_map(|name| name.strip_prefix(vg)?.strip_prefix('/'));
                let lvs: Vec<serde_json::Value> = of_group
                    .map(|lv| serde_json::json!({ "lv_name": lv, "lv_full_name": format!("{vg}/{lv}") }))
                    .collect();
                serde_json::json!({ "vg": [{ "vg_name": vg }], "lv": lvs })
            })
            .collect();
        let json = serde_json::json!({ "report": report }).to_string();
        lvm::parse(json.as_bytes(), Timestamp::UNIX_EPOCH).expect("a report")
    }

    /// What is said of a config on a host with these volumes: suspicions, and the rest.
    fn unmatched(yaml: &str, volumes: &[&str]) -> (Vec<String>, Vec<String>) {
        let (config, host) = (crate::config::parse(yaml, Path::new("c.yaml")).expect("valid"), host(volumes));
        let unmatched = Unmatched::of(&config, &host);
        (unmatched.suspicions(), unmatched.sentences(&config, &host))
    }

    #[test]
    fn what_is_not_there_is_said_in_one_line() {
        let targets: Vec<String> = (0..50).map(|n| format!("{{ lv_path: vg/lv{n}, mount_point: /{n} }}")).collect();
        let yaml = format!("monitor: {{ targets: [{}] }}", targets.join(", "));
        let there: Vec<String> = (0..12).map(|n| format!("vg/lv{n}")).collect();
        let there: Vec<&str> = there.iter().map(String::as_str).collect();
        let found = unmatched(&yaml, &there);
        assert_eq!(found.1, ["38 of 50 targets are not on this host: vg/lv12, vg/lv13, vg/lv14 and 35 more"]);
        assert!(unmatched("monitor: { targets: [{ lv_path: vg/a, mount_point: /a }] }", &["vg/a"]).1.is_empty());
    }

    #[test]
    fn a_near_miss_of_a_group_is_a_suspect_and_others_are_not() {
        let groups = |names: &str| format!("volume_groups: [{names}]");
        let named = |name: &str| unmatched(&groups(&format!("{{ name: {name}, reserve: 50% }}")), &["storage_vg/data"]);
        for name in ["storage-vg", "Storage_VG", "storagevg", "storge_vg", "sotrage_vg"] {
            assert_eq!(named(name).0.len(), 1, "{name}");
            assert!(named(name).1.is_empty(), "{name}");
        }
        for name in ["root_vg", "storage_vg2", "other"] {
            assert!(named(name).0.is_empty(), "{name}");
            assert_eq!(named(name).1, [format!("volume_groups names {name}, which is not on this host")]);
        }
        // The group has an entry of its own, or the other name is a group too.
        let both = groups("{ name: storage-vg }, { name: storage_vg }");
        assert!(unmatched(&both, &["storage_vg/data"]).0.is_empty());
        let one = groups("{ name: storage-vg }");
        assert!(unmatched(&one, &["storage_vg/data", "storage-vg/data"]).0.is_empty());
    }

    #[test]
    fn a_misspelt_target_is_said_with_what_was_perhaps_meant() {
        let yaml = "monitor: { targets: [{ lv_path: storage_vg/data-lv, mount_point: /data }] }";
        assert_eq!(
            unmatched(yaml, &["storage_vg/data_lv"]).1,
            [
                "1 of 1 target is not on this host: storage_vg/data-lv",
                "the target storage_vg/data-lv is not on this host, and storage_vg/data_lv is: correct lv_path if it was meant"
            ]
        );
    }
}
