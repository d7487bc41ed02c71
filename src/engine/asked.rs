//! The wish of a person, as it waits in the queue.

use std::sync::Weak;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;

use super::Ended;
use crate::units::Bytes;

/// A wish in the queue. Whoever asked holds the other end of both.
pub(super) struct Asked {
    pub(super) by: Option<Bytes>,
    pub(super) begun: Weak<AtomicBool>,
    pub(super) answer: mpsc::Sender<Result<Ended, String>>,
}

impl Asked {
    /// Whether somebody still waits for it; it then counts as begun.
    pub(super) fn begin(&self) -> bool {
        self.begun.upgrade().inspect(|begun| begun.store(true, Ordering::Release)).is_some()
    }

    pub(super) fn answer(&self, ended: Result<Ended, String>) {
        // Who went away does not hear it; it is in the journal.
        let _ = self.answer.send(ended);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn a_wish_that_nobody_waits_for_any_more_is_not_begun() {
        let (answer, ended) = mpsc::channel();
        let begun = Arc::new(AtomicBool::new(false));
        let asked = Asked { by: None, begun: Arc::downgrade(&begun), answer };
        assert!(asked.begin() && begun.load(Ordering::Acquire));
        drop((begun, ended));
        assert!(!asked.begin());
        asked.answer(Ok(Ended::Interrupted));
    }
}
