//! Calls that may never return (a `statvfs` on a dead NFS server or a frozen device cannot be interrupted), made on a
//! thread that is left behind if they do not.
//!
//! There is one such thread. When a call on it misses its deadline, the thread is given up and a new one takes over; what
//! hung is not asked again until it answers. So there are never more threads than things that hang, plus one.

use std::collections::HashSet;
use std::io;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

type Job = Box<dyn FnOnce() + Send>;

pub(super) struct Bounded {
    deadline: Duration,
    worker: Mutex<Option<Sender<Job>>>,
    hanging: Arc<Mutex<HashSet<String>>>,
}

impl Bounded {
    pub(super) fn new(deadline: Duration) -> Bounded {
        Bounded { deadline, worker: Mutex::new(None), hanging: Arc::default() }
    }

    /// Makes a call. `key` names what may hang: while one call for it hangs, further ones fail at once.
    pub(super) fn call<T: Send + 'static>(
        &self,
        key: &str,
        call: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        // Held to the end: one call at a time, so that a second one never waits behind one that hangs.
        let mut worker = self.worker.lock().unwrap_or_else(PoisonError::into_inner);
        if self.hanging().contains(key) {
            return Err(hangs(key));
        }
        let (answer, answered) = mpsc::channel();
        let hanging = Arc::clone(&self.hanging);
        let name = key.to_owned();
        let job: Job = Box::new(move || {
            let _ = answer.send(call());
            // After the answer: whoever gives up in between has made the mark already, or finds the answer.
            hanging.lock().unwrap_or_else(PoisonError::into_inner).remove(&name);
        });
        worker.get_or_insert_with(start).send(job).map_err(|_| io::Error::other("the worker thread ended"))?;
        match answered.recv_timeout(self.deadline) {
            Ok(result) => result,
            Err(RecvTimeoutError::Timeout) => {
                self.hanging().insert(key.to_owned());
                *worker = None;
                // It may have answered just before the mark was made.
                if let Ok(result) = answered.try_recv() {
                    self.hanging().remove(key);
                    return result;
                }
                Err(hangs(key))
            }
            Err(RecvTimeoutError::Disconnected) => {
                *worker = None;
                Err(io::Error::other("the worker thread ended"))
            }
        }
    }

    fn hanging(&self) -> std::sync::MutexGuard<'_, HashSet<String>> {
        self.hanging.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A thread that does jobs until it is given up.
fn start() -> Sender<Job> {
    let (sender, jobs) = mpsc::channel::<Job>();
    std::thread::spawn(move || jobs.into_iter().for_each(|job| job()));
    sender
}

fn hangs(key: &str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("{key} does not answer"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hangs_costs_itself_only_and_comes_back() {
        let bounded = Bounded::new(Duration::from_millis(20));
        let (release, gate) = mpsc::channel::<()>();
        let hung = bounded.call("a", move || gate.recv().map_err(io::Error::other));
        assert_eq!(hung.expect_err("hangs").kind(), io::ErrorKind::TimedOut);
        // Nothing is asked twice while it hangs, and others are not held up.
        let again: io::Result<()> = bounded.call("a", || panic!("must not be called"));
        assert_eq!(again.expect_err("still hangs").kind(), io::ErrorKind::TimedOut);
        assert_eq!(bounded.call("b", || Ok(7)).expect("answers"), 7);
        release.send(()).expect("the call waits");
        let back = (0..500).any(|_| {
            std::thread::sleep(Duration::from_millis(2));
            bounded.call("a", || Ok(())).is_ok()
        });
        assert!(back, "what answered again must be asked again");
    }
}
