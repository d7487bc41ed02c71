//! The last good inventory, shared between the thread that takes it and everybody who shows it.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use jiff::Timestamp;

use super::Inventory;

/// The last look, and how it went.
#[derive(Debug, Clone)]
pub struct Sample {
    /// The last inventory that could be taken; empty before the first.
    pub inventory: Arc<Inventory>,
    /// Whether there was one at all.
    pub taken: bool,
    /// Whether the last look succeeded; if not, the inventory is an older one.
    pub succeeded: bool,
    /// How long the last look took.
    pub took: Duration,
}

/// The cell it is kept in.
#[derive(Debug)]
pub struct Latest(RwLock<Sample>);

impl Default for Latest {
    fn default() -> Latest {
        let inventory = Arc::new(Inventory::empty(Timestamp::UNIX_EPOCH));
        Latest(RwLock::new(Sample { inventory, taken: false, succeeded: false, took: Duration::ZERO }))
    }
}

impl Latest {
    /// What was seen last.
    pub fn get(&self) -> Sample {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A look ended; `None` if it failed.
    pub fn set(&self, inventory: Option<Inventory>, took: Duration) {
        let mut sample = self.0.write().unwrap_or_else(PoisonError::into_inner);
        sample.took = took;
        sample.succeeded = inventory.is_some();
        if let Some(inventory) = inventory {
            sample.inventory = Arc::new(inventory);
            sample.taken = true;
        }
    }
}
