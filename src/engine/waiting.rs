//! Targets that were refused because their group had no room: as soon as it has more, they are decided about again, for
//! the alert that asked for them may not come again for hours.

use std::collections::BTreeMap;

use super::door::Request;
use super::queue::Handle;
use crate::config::{Config, Target};
use crate::inventory::Inventory;
use crate::journal::Source;
use crate::name::VgName;
use crate::plan::{Code, is_over, supplied};
use crate::units::Bytes;

/// What more room can change.
const WAITS: [Code; 4] = [Code::VgReserve, Code::BlockSize, Code::InsufficientSpace, Code::SupplyRefused];

impl Handle {
    /// To be told of each look at the whole host.
    pub fn seen(&self, inventory: &Inventory) {
        let shared = self.shared();
        let config = shared.config();
        let now = rooms(&config, inventory);
        let state = shared.state();
        let waits = |lv| state.last_refusal.get(lv).is_some_and(|refusal| WAITS.contains(&refusal.code));
        let mut before = crate::locked(&self.0.rooms);
        // The first look after a start may be the first since the disk grew.
        let grew = |vg: &VgName| now.get(vg).is_some_and(|room| before.get(vg).is_none_or(|before| room > before));
        // What a person asked for and did not get is nobody's who waits, nor is what was emptied meanwhile.
        let moment = shared.host.moment();
        let is_over = |target: &Target| is_over(target, inventory, &config, moment) != Some(false);
        let targets = config.targets.iter();
        let targets = targets.filter(|target| grew(&target.lv.vg) && waits(&target.lv) && is_over(target));
        let requests: Vec<Request> = targets
            .map(|target| Request { lv: target.lv.clone(), source: Source::Monitor, fingerprint: String::new() })
            .collect();
        *before = now;
        drop(before);
        for request in &requests {
            tracing::info!(lv = %request.lv, "its group has more room than when it was refused: deciding again");
        }
        if !requests.is_empty()
            && let Err(error) = self.submit(requests)
        {
            tracing::warn!("targets that waited for room are not looked at now: {}", crate::chain(&error));
        }
    }
}

/// How much the groups of targets have, free or to be supplied.
fn rooms(config: &Config, inventory: &Inventory) -> BTreeMap<VgName, Bytes> {
    let inventory = supplied(config, inventory);
    let groups = config.targets.iter().filter_map(|target| inventory.vg(&target.lv.vg));
    groups.filter_map(|vg| Some((vg.name.clone(), vg.free?))).collect()
}
