//! The last good inventory, shared between the thread that takes it and everybody who shows it.

use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::Inventory;

/// The last look, and how it went.
#[derive(Debug, Clone)]
pub struct Sample {
    /// The last inventory that could be taken; empty before the first.
    pub inventory: Arc<Inventory>,
    presumed: Arc<OnceLock<Inventory>>,
    /// Whether there was one at all.
    pub taken: bool,
    /// Whether the last look succeeded; if not, the inventory is an older one.
    pub succeeded: bool,
    /// How long the last look took.
    pub took: Duration,
    /// When that inventory was taken, by a clock that nobody sets.
    pub since: Option<Instant>,
}

impl Sample {
    /// [`Inventory::presumed`], made once for each look and only if somebody asks.
    pub fn presumed(&self) -> &Inventory {
        self.presumed.get_or_init(|| self.inventory.presumed())
    }
}

/// The cell it is kept in.
#[derive(Debug)]
pub struct Latest(RwLock<Sample>);

impl Default for Latest {
    fn default() -> Latest {
        let inventory = Arc::new(Inventory::empty(Timestamp::UNIX_EPOCH));
        Latest(RwLock::new(Sample {
            inventory,
            presumed: Arc::default(),
            taken: false,
            succeeded: false,
            took: Duration::ZERO,
            since: None,
        }))
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
            sample.presumed = Arc::default();
            sample.taken = true;
            sample.since = Some(Instant::now());
        }
    }
}
