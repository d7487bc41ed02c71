//! The config that is in force. A reload replaces it whole; who began something with the old one ends it with the old
//! one.

use std::sync::{Arc, PoisonError, RwLock};

use super::Config;

/// The cell it is kept in, shared by all who read it.
#[derive(Debug)]
pub struct InForce(RwLock<Arc<Config>>);

impl InForce {
    /// The one that is in force first.
    pub fn new(config: impl Into<Arc<Config>>) -> Arc<InForce> {
        Arc::new(InForce(RwLock::new(config.into())))
    }

    /// The config as it is now. Take it once for one piece of work, so that this is not done half by one and half by
    /// another.
    pub fn get(&self) -> Arc<Config> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes it, as by what its policies select on the host now. Nobody replaces it in between.
    pub fn change(&self, changed: impl FnOnce(&Arc<Config>) -> Arc<Config>) {
        let mut config = self.0.write().unwrap_or_else(PoisonError::into_inner);
        *config = changed(&config);
    }

    /// Puts another one in force; the one before.
    pub fn replace(&self, config: Arc<Config>) -> Arc<Config> {
        std::mem::replace(&mut self.0.write().unwrap_or_else(PoisonError::into_inner), config)
    }
}
