//! How far all receivers have got, as one number: what comes after it is told again after a restart.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use super::records::Records;

/// The records that are still to be told to somebody.
pub(super) struct Untold {
    records: Arc<dyn Records>,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    /// How many receivers each record still waits for.
    receivers: BTreeMap<u64, usize>,
    latest: u64,
}

impl Untold {
    pub(super) fn new(records: Arc<dyn Records>) -> Untold {
        Untold { records, open: Mutex::default() }
    }

    /// A record that so many receivers are to be told of.
    pub(super) fn heard(&self, record: u64, receivers: usize) {
        let mut open = self.open();
        open.latest = open.latest.max(record);
        if receivers > 0 {
            open.receivers.insert(record, receivers);
        }
    }

    /// A receiver was told, or will not be. Not for the engine's threads: it writes a file.
    pub(super) fn done(&self, record: u64) {
        let number = self.forget(record);
        // Outside of the lock: a disk that hangs must not hold up who says what is new. Two that come in the wrong
        // order leave the smaller number, with which something is told twice.
        self.records.told(number);
    }

    /// The same without writing; the number up to which all are told.
    pub(super) fn forget(&self, record: u64) -> u64 {
        let mut open = self.open();
        if let Some(left) = open.receivers.get_mut(&record) {
            *left -= 1;
            if *left == 0 {
                open.receivers.remove(&record);
            }
        }
        open.receivers.keys().next().map_or(open.latest, |first| first - 1)
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        crate::locked(&self.open)
    }
}
