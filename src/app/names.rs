//! What the config names and the host has, seen with each look.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::config::{Config, InForce, Target};
use crate::inventory::Inventory;
use crate::metrics::autoscaler::Metrics;
use crate::name::LvRef;
use crate::plan::{Code, Unmatched};

/// What policies selected at the last look.
#[derive(Default)]
struct ByPolicies(BTreeMap<LvRef, String>);

impl ByPolicies {
    /// What is selected now and was not by the same policy before, and what is selected no more, without a policy.
    fn news(&mut self, config: &Config) -> Vec<(LvRef, Option<String>)> {
        let of = |target: &Target| Some((target.lv.clone(), target.origin.policy.clone()?));
        let now: BTreeMap<LvRef, String> = config.targets.iter().filter_map(of).collect();
        let is_new = |(lv, policy): &(&LvRef, &String)| self.0.get(*lv) != Some(*policy);
        let new = now.iter().filter(is_new).map(|(lv, policy)| (lv.clone(), Some(policy.clone())));
        let gone = self.0.keys().filter(|lv| !now.contains_key(*lv)).map(|lv| (lv.clone(), None));
        let news = new.chain(gone).collect();
        self.0 = now;
        news
    }
}

/// What is done after each look at everything: the log has what the config names and the host does not have, once for
/// each config and whenever it changes, and only targets that are there have counters.
pub(super) fn watch_names(in_force: Arc<InForce>, metrics: Arc<Metrics>) -> impl FnMut(&Inventory) + Send + 'static {
    let (mut told, mut counted): (Option<(Arc<Config>, Unmatched)>, BTreeSet<LvRef>) = Default::default();
    let mut selected = ByPolicies::default();
    move |inventory| {
        let config = in_force.get();
        for (lv, policy) in selected.news(&config) {
            match policy {
                Some(policy) => tracing::info!(%lv, policy, "a policy selects it, so it is a target"),
                None => {
                    tracing::info!(
                        %lv,
                        "no policy selects it any more, so it is no longer a target; its history is kept"
                    )
                }
            }
        }
        let unmatched = Unmatched::of(&config, inventory);
        let absent: BTreeSet<&LvRef> = unmatched.targets.iter().collect();
        let there = config.targets.iter().map(|target| &target.lv).filter(|lv| !absent.contains(lv));
        let there: BTreeSet<LvRef> = there.cloned().collect();
        there.difference(&counted).for_each(|lv| metrics.expect_target(lv));
        counted.difference(&there).for_each(|lv| metrics.forget_target(lv));
        counted = there;
        let before = told.as_ref().filter(|(of, _)| Arc::ptr_eq(of, &config)).map(|(_, unmatched)| unmatched);
        if before == Some(&unmatched) {
            return;
        }
        for sentence in unmatched.suspicions() {
            tracing::error!(code = Code::ConfigSuspect.as_str(), "{sentence}");
        }
        let sentences = unmatched.sentences(&config, inventory);
        sentences.iter().for_each(|sentence| tracing::warn!("{sentence}"));
        if before.is_some_and(|before| !before.is_empty()) && unmatched.is_empty() {
            tracing::info!("all that the config names is on this host");
        }
        told = Some((config, unmatched));
    }
}
