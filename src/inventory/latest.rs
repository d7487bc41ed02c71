//! The last good inventory, shared between the thread that takes it and everybody who shows it.

use std::fmt;
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
    /// Of a look that ended just now.
    pub fn new(inventory: Inventory, took: Duration) -> Sample {
        let (inventory, since) = (Arc::new(inventory), Some(Instant::now()));
        Sample { inventory, presumed: Arc::default(), taken: true, succeeded: true, took, since }
    }

    /// [`Inventory::presumed`], made once for each look and only if somebody asks.
    pub fn presumed(&self) -> &Inventory {
        self.presumed.get_or_init(|| self.inventory.presumed())
    }
}

/// The cell it is kept in.
pub struct Latest {
    sample: RwLock<Sample>,
    watcher: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

impl fmt::Debug for Latest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Latest").field("sample", &self.get()).finish_non_exhaustive()
    }
}

impl Default for Latest {
    fn default() -> Latest {
        let inventory = Arc::new(Inventory::empty(Timestamp::UNIX_EPOCH));
        let (presumed, watcher) = Default::default();
        let (took, since) = (Duration::ZERO, None);
        let sample = Sample { inventory, presumed, taken: false, succeeded: false, took, since };
        Latest { sample: RwLock::new(sample), watcher }
    }
}

impl Latest {
    /// What was seen last.
    pub fn get(&self) -> Sample {
        self.sample.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A look ended; `None` if it failed.
    pub fn set(&self, inventory: Option<Inventory>, took: Duration) {
        let before = self.get();
        self.put(match inventory {
            None => Sample { took, succeeded: false, ..before },
            Some(inventory) => Sample::new(inventory, took),
        });
    }

    /// What is shown from now on.
    pub fn put(&self, sample: Sample) {
        *self.sample.write().unwrap_or_else(PoisonError::into_inner) = sample;
        self.watcher.get().into_iter().for_each(|watcher| watcher());
    }

    /// From now on this is called after each look. The first counts.
    pub fn watch(&self, watcher: Box<dyn Fn() + Send + Sync>) {
        let _ = self.watcher.set(watcher);
    }
}
impl Inventory {
    /// Whether another look found what this one found.
    pub fn found_the_same(&self, other: &Inventory) -> bool {
        let Inventory {
            taken_at: _,
            vgs,
            lvs,
            pvs,
            mounts,
            filesystems,
            mappings,
            key_file,
            above,
            unmounted,
            missing_tools,
            users,
            mapped,
            bears_otherwise,
            cling_tags,
            missing_capabilities,
            system_id,
            autoextends,
            state_usage,
            oddities,
            unknown_fields,
        } = self;
        vgs == &other.vgs
            && lvs == &other.lvs
            && pvs == &other.pvs
            && mounts == &other.mounts
            && filesystems == &other.filesystems
            && mappings == &other.mappings
            && key_file == &other.key_file
            && above == &other.above
            && unmounted == &other.unmounted
            && missing_tools == &other.missing_tools
            && users == &other.users
            && mapped == &other.mapped
            && bears_otherwise == &other.bears_otherwise
            && cling_tags == &other.cling_tags
            && missing_capabilities == &other.missing_capabilities
            && system_id == &other.system_id
            && autoextends == &other.autoextends
            && state_usage == &other.state_usage
            && oddities == &other.oddities
            && unknown_fields == &other.unknown_fields
    }
}
