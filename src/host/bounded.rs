//! Calls that may never return (a `statvfs` on a dead NFS server or a frozen device cannot be interrupted), made on a
//! thread that is left behind if they do not.
//!
//! There is one such thread. When a call on it misses its deadline, the thread is given up and a new one takes over; what
//! hung is not asked again until it answers. So there are never more threads than things that hang, plus one.

use std::collections::HashSet;
use std::io;
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a row of calls may take when several hang. With the deadline of one this stays below a second, within which
/// a scrape must be answered.
const TOGETHER: Duration = Duration::from_millis(500);

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
        call: impl Fn() -> io::Result<T> + Send + Sync + 'static,
    ) -> io::Result<T> {
        let mut results = self.call_all(vec![key.to_owned()], move |_| call());
        results.pop().unwrap_or_else(|| Err(hangs(key)))
    }

    /// Makes a call for each key, in order. One that hangs is waited for until its deadline; when several do, those that
    /// were not reached within [`TOGETHER`] fail this time.
    pub(super) fn call_all<T: Send + 'static>(
        &self,
        keys: Vec<String>,
        call: impl Fn(&str) -> io::Result<T> + Send + Sync + 'static,
    ) -> Vec<io::Result<T>> {
        // Held to the end: one at a time, so that a second caller never waits behind a call that hangs.
        let mut worker = self.worker.lock().unwrap_or_else(PoisonError::into_inner);
        let call = Arc::new(call);
        let mut results: Vec<io::Result<T>> = Vec::with_capacity(keys.len());
        let latest = Instant::now() + TOGETHER;
        while results.len() < keys.len() && Instant::now() < latest {
            let rest = &keys[results.len()..];
            self.try_all(&mut worker, rest, &call, &mut results);
        }
        let unreached = &keys[results.len()..];
        results.extend(unreached.iter().map(|key| Err(hangs(key))));
        results
    }

    /// Has the worker make the calls until one hangs; that one gets its error, the rest is left.
    fn try_all<T: Send + 'static>(
        &self,
        worker: &mut Option<Sender<Job>>,
        keys: &[String],
        call: &Arc<impl Fn(&str) -> io::Result<T> + Send + Sync + 'static>,
        results: &mut Vec<io::Result<T>>,
    ) {
        let row = Arc::new(Row::new());
        let (hanging, call, names, filled) =
            (Arc::clone(&self.hanging), Arc::clone(call), keys.to_vec(), Filled(Arc::clone(&row)));
        let job: Job = Box::new(move || {
            for name in names {
                let known = hanging.lock().unwrap_or_else(PoisonError::into_inner).contains(&name);
                let result = if known { Err(hangs(&name)) } else { call(&name) };
                let wanted = filled.push(result);
                if !wanted && !known {
                    // It was given up and answered after all.
                    hanging.lock().unwrap_or_else(PoisonError::into_inner).remove(&name);
                }
                if !wanted {
                    return;
                }
            }
        });
        if worker.get_or_insert_with(start).send(job).is_err() {
            *worker = None;
            return;
        }
        let mut state = row.wait(self.deadline);
        let count = state.results.len();
        results.append(&mut state.results);
        let Some(key) = keys.get(count) else { return };
        *worker = None;
        if state.ended {
            results.push(Err(io::Error::other("the call ended unexpectedly")));
        } else {
            // Under the row's lock: the worker takes the mark away only when it sees that it was given up.
            self.hanging().insert(key.clone());
            state.given_up = true;
            results.push(Err(hangs(key)));
        }
    }

    fn hanging(&self) -> MutexGuard<'_, HashSet<String>> {
        self.hanging.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The results of a row of calls. Whoever waits for them is woken once, at the end: a wake-up for each would cost more
/// than most calls do.
struct Row<T> {
    state: Mutex<State<T>>,
    over: Condvar,
}

struct State<T> {
    results: Vec<io::Result<T>>,
    /// When the call that runs began.
    begun: Instant,
    /// The worker makes no more of these calls.
    ended: bool,
    /// Nobody wants the results any more.
    given_up: bool,
}

impl<T> Row<T> {
    fn new() -> Row<T> {
        let state = State { results: Vec::new(), begun: Instant::now(), ended: false, given_up: false };
        Row { state: Mutex::new(state), over: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the worker is through or a call takes longer than the deadline.
    fn wait(&self, deadline: Duration) -> MutexGuard<'_, State<T>> {
        let mut state = self.state();
        loop {
            let left = deadline.saturating_sub(state.begun.elapsed());
            if state.ended || left.is_zero() {
                return state;
            }
            state = self.over.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// The worker's end of a row; it ends also when a call panics.
struct Filled<T>(Arc<Row<T>>);

impl<T> Filled<T> {
    /// Whether it is still wanted.
    fn push(&self, result: io::Result<T>) -> bool {
        let mut state = self.0.state();
        state.results.push(result);
        state.begun = Instant::now();
        !state.given_up
    }
}

impl<T> Drop for Filled<T> {
    fn drop(&mut self) {
        self.0.state().ended = true;
        self.0.over.notify_all();
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
    fn in_a_row_only_the_one_that_hangs_fails() {
        let bounded = Bounded::new(Duration::from_millis(50));
        let keys = || ["a", "hangs", "b", "c"].map(str::to_owned).to_vec();
        let ask = |name: &str| match name {
            "hangs" => {
                std::thread::sleep(Duration::from_secs(3600));
                Ok(String::new())
            }
            name => Ok(name.to_owned()),
        };
        for _ in 0..3 {
            let results = bounded.call_all(keys(), ask);
            let answers: Vec<_> = results.into_iter().map(|result| result.unwrap_or("-".to_owned())).collect();
            assert_eq!(answers, ["a", "-", "b", "c"]);
        }
    }

    #[test]
    fn what_hangs_costs_itself_only_and_comes_back() {
        let bounded = Bounded::new(Duration::from_millis(20));
        let (release, gate) = mpsc::channel::<()>();
        let gate = Mutex::new(gate);
        let hung = bounded.call("a", move || gate.lock().expect("one call").recv().map_err(io::Error::other));
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
