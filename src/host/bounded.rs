//! Calls that may never return (a `statvfs` on a dead NFS server or a frozen device cannot be interrupted), made on a
//! thread that is left behind if they do not.
//!
//! One thread makes the calls. When a call misses its deadline, that thread is given up, a new one takes over, and what
//! hung gets a mark: it is not asked again until its call returns, which removes the mark, or until the mark is due for
//! another try. A call that hangs in the kernel may outlive what made it hang: after `umount -l` and a new mount the
//! same path answers, and the old call still waits. So there are never more threads than things that hang, plus
//! [`SPARE`].

use std::collections::HashMap;
use std::io;
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a row of calls may take when several hang. With the deadline of one this stays below a second, within which
/// a scrape must be answered.
const TOGETHER: Duration = Duration::from_millis(500);
/// How often to see whether a call has begun. Being woken for it would cost more than most calls do.
const GLANCE: Duration = Duration::from_millis(1);

/// The age at which a mark is tried again while no other try hangs; it doubles with each thread beyond one per mark.
const TRY_AGAIN: Duration = Duration::from_secs(60);
/// Threads beyond one per mark. With the doubling the last of them is started after 45 days in which no try returned.
const SPARE: u32 = 16;

type Job = Box<dyn FnOnce() + Send>;

pub(super) struct Bounded {
    deadline: Duration,
    try_again: Duration,
    worker: Mutex<Option<Sender<Job>>>,
    hanging: Arc<Mutex<Hanging>>,
}

/// The calls that were given up and have not returned.
#[derive(Default)]
struct Hanging {
    /// By what is asked, the last call for it.
    marks: HashMap<String, Mark>,
    /// How many such calls there are, those included that a later one for the same thing replaced.
    calls: usize,
    /// Counts rows, so that a mark can name the row whose call it belongs to.
    rows: u64,
}

struct Mark {
    row: u64,
    since: Instant,
}

impl Hanging {
    /// Whether it would be in vain to ask now.
    fn spares(&self, key: &str, try_again: Duration) -> bool {
        let spare = u32::try_from(self.calls.saturating_sub(self.marks.len())).unwrap_or(u32::MAX);
        let wait = 2_u32.checked_pow(spare).and_then(|times| try_again.checked_mul(times));
        let is_due = |mark: &Mark| spare < SPARE && wait.is_some_and(|wait| mark.since.elapsed() >= wait);
        self.marks.get(key).is_some_and(|mark| !is_due(mark))
    }

    fn next_row(&mut self) -> u64 {
        self.rows += 1;
        self.rows
    }

    fn given_up(&mut self, key: &str, row: u64) {
        self.calls += 1;
        self.marks.insert(key.to_owned(), Mark { row, since: Instant::now() });
    }

    /// A call that was given up returned after all. The mark of a later call stays.
    fn returned(&mut self, key: &str, row: u64) {
        self.calls = self.calls.saturating_sub(1);
        if self.marks.get(key).is_some_and(|mark| mark.row == row) {
            self.marks.remove(key);
        }
    }
}

impl Bounded {
    pub(super) fn new(deadline: Duration) -> Bounded {
        Bounded { deadline, try_again: TRY_AGAIN, worker: Mutex::new(None), hanging: Arc::default() }
    }

    /// Makes a call. `key` names what may hang: while one call for it hangs, further ones fail at once.
    pub(super) fn call<T: Send + 'static>(
        &self,
        key: &str,
        call: impl Fn() -> io::Result<T> + Send + Sync + 'static,
    ) -> io::Result<T> {
        let mut results = self.call_all(vec![(key.to_owned(), ())], move |()| call());
        results.pop().unwrap_or_else(|| Err(hangs(key)))
    }

    /// Makes a call for each key, in order. One that hangs is waited for until its deadline; when several do, those
    /// that were not reached within [`TOGETHER`] fail this time.
    pub(super) fn call_all<A: Clone + Send + 'static, T: Send + 'static>(
        &self,
        asked: Vec<(String, A)>,
        call: impl Fn(A) -> io::Result<T> + Send + Sync + 'static,
    ) -> Vec<io::Result<T>> {
        // Held to the end: one at a time, so that a second caller never waits behind a call that hangs.
        let mut worker = crate::locked(&self.worker);
        let call = Arc::new(call);
        let mut results: Vec<Option<io::Result<T>>> = asked.iter().map(|_| None).collect();
        let latest = Instant::now() + TOGETHER;
        loop {
            let rest = self.rest(&asked, &mut results);
            if rest.is_empty() || Instant::now() >= latest {
                break;
            }
            self.try_all(&mut worker, &asked, &rest, &call, &mut results);
        }
        let unreached = |(result, (key, _)): (Option<_>, &(String, A))| result.unwrap_or_else(|| Err(hangs(key)));
        results.into_iter().zip(&asked).map(unreached).collect()
    }

    /// What has no answer yet and is to be asked. Only a caller makes marks, and there is one caller at a time.
    fn rest<A, T>(&self, asked: &[(String, A)], results: &mut [Option<io::Result<T>>]) -> Vec<usize> {
        let hanging = self.hanging();
        for ((key, _), result) in asked.iter().zip(&mut *results) {
            if result.is_none() && hanging.spares(key, self.try_again) {
                *result = Some(Err(hangs(key)));
            }
        }
        (0..results.len()).filter(|index| results[*index].is_none()).collect()
    }

    /// Has the worker make these calls until one hangs; that one gets its error, the rest is left.
    fn try_all<A: Clone + Send + 'static, T: Send + 'static>(
        &self,
        worker: &mut Option<Sender<Job>>,
        asked: &[(String, A)],
        rest: &[usize],
        call: &Arc<impl Fn(A) -> io::Result<T> + Send + Sync + 'static>,
        results: &mut [Option<io::Result<T>>],
    ) {
        let row = Arc::new(Row::new(self.hanging().next_row()));
        let filled = Filled { row: Arc::clone(&row), hanging: Arc::clone(&self.hanging) };
        let (call, arguments) =
            (Arc::clone(call), rest.iter().map(|index| asked[*index].1.clone()).collect::<Vec<_>>());
        let job: Job = Box::new(move || {
            for argument in arguments {
                if !filled.begin() || !filled.push(call(argument)) {
                    return;
                }
            }
        });
        if worker.get_or_insert_with(start).send(job).is_err() {
            *worker = None;
            return;
        }
        let mut state = row.wait(self.deadline);
        let mut rest = rest.iter();
        for (result, index) in state.results.drain(..).zip(&mut rest) {
            // It answers, whatever an earlier call for it does.
            self.hanging().marks.remove(&asked[*index].0);
            results[*index] = Some(result);
        }
        let Some(index) = rest.next() else { return };
        let key = &asked[*index].0;
        if state.ended {
            *worker = None;
            results[*index] = Some(Err(io::Error::other("the call ended unexpectedly")));
        } else if state.begun.is_some() {
            // Under the row's lock: the worker takes the mark away only when it sees that it was given up.
            *worker = None;
            self.hanging().given_up(key, row.number);
            state.given_up = Some(key.clone());
            results[*index] = Some(Err(hangs(key)));
        } else {
            state.unwanted = true;
            let busy = || Err(io::Error::new(io::ErrorKind::TimedOut, "this host is too busy to ask"));
            std::iter::once(index).chain(rest).for_each(|index| results[*index] = Some(busy()));
        }
    }

    fn hanging(&self) -> MutexGuard<'_, Hanging> {
        crate::locked(&self.hanging)
    }
}

/// The results of a row of calls. Whoever waits for them is woken once, at the end: a wake-up for each would cost more
/// than most calls do.
struct Row<T> {
    number: u64,
    sent: Instant,
    state: Mutex<State<T>>,
    over: Condvar,
}

struct State<T> {
    results: Vec<io::Result<T>>,
    /// When the call that runs began; `None` before the first.
    begun: Option<Instant>,
    /// The worker makes no more of these calls.
    ended: bool,
    /// What the call was about that nobody waits for any more.
    given_up: Option<String>,
    /// Nobody waited until the first call began, so it is not made.
    unwanted: bool,
}

impl<T> Row<T> {
    fn new(number: u64) -> Row<T> {
        let state = State { results: Vec::new(), begun: None, ended: false, given_up: None, unwanted: false };
        Row { number, sent: Instant::now(), state: Mutex::new(state), over: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        crate::locked(&self.state)
    }

    /// Waits until the worker is through, a call takes longer than the deadline, or none begins.
    fn wait(&self, deadline: Duration) -> MutexGuard<'_, State<T>> {
        let mut state = self.state();
        loop {
            let left = match state.begun {
                Some(begun) => deadline.saturating_sub(begun.elapsed()),
                // The thread only has to be scheduled for that. On a host that does not manage it the caller goes
                // without an answer, but nothing gets a mark, for nothing was asked.
                None => deadline.max(GLANCE).saturating_sub(self.sent.elapsed()),
            };
            if state.ended || left.is_zero() {
                return state;
            }
            state = self.over.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// The worker's end of a row; it ends also when a call panics.
struct Filled<T> {
    row: Arc<Row<T>>,
    hanging: Arc<Mutex<Hanging>>,
}

impl<T> Filled<T> {
    /// A call begins, and with it its deadline. Whether anybody waits for it.
    fn begin(&self) -> bool {
        let mut state = self.row.state();
        state.begun = Some(Instant::now());
        !state.unwanted && state.given_up.is_none()
    }

    /// A call returned. Whether anybody waits for the next.
    fn push(&self, result: io::Result<T>) -> bool {
        let mut state = self.row.state();
        if state.given_up.is_some() {
            return false;
        }
        state.results.push(result);
        // The thread goes straight on to the next; if it is held up in between, that one is not made.
        state.begun = Some(Instant::now());
        true
    }
}

impl<T> Drop for Filled<T> {
    fn drop(&mut self) {
        let mut state = self.row.state();
        state.ended = true;
        if let Some(key) = &state.given_up {
            let mut hanging = crate::locked(&self.hanging);
            hanging.returned(key, self.row.number);
        }
        drop(state);
        self.row.over.notify_all();
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

    fn keys<const N: usize>(keys: [&str; N]) -> Vec<(String, String)> {
        keys.map(|key| (key.to_owned(), key.to_owned())).to_vec()
    }

    /// Marks, and calls that were given up.
    fn counted(bounded: &Bounded) -> (usize, usize) {
        let hanging = bounded.hanging();
        (hanging.marks.len(), hanging.calls)
    }

    /// Waits until what the worker threads do shows; they need not be scheduled at once.
    fn soon(what: impl Fn() -> bool) -> bool {
        (0..2500).any(|_| {
            std::thread::sleep(Duration::from_millis(2));
            what()
        })
    }

    #[test]
    fn in_a_row_only_the_one_that_hangs_fails() {
        let bounded = Bounded::new(Duration::from_millis(50));
        let ask = |name: String| match &*name {
            "hangs" => {
                std::thread::sleep(Duration::from_secs(3600));
                Ok(String::new())
            }
            _ => Ok(name),
        };
        for _ in 0..3 {
            let results = bounded.call_all(keys(["a", "hangs", "b", "hangs", "c"]), ask);
            let answers: Vec<_> = results.into_iter().map(|result| result.unwrap_or("-".to_owned())).collect();
            assert_eq!(answers, ["a", "-", "b", "-", "c"]);
        }
        assert_eq!(counted(&bounded), (1, 1));
    }

    /// The deadline is over before a call can begin, and nothing hangs: whatever is given up gets no mark that stays.
    #[test]
    fn no_mark_outlives_its_call() {
        let bounded = Bounded::new(Duration::ZERO);
        for round in 0..300 {
            let several = keys(["a", "b", "c", "a"]);
            bounded.call_all(several, move |key| {
                if round % 3 == 0 {
                    std::thread::sleep(Duration::from_micros(200));
                }
                Ok(key)
            });
        }
        let panics = bounded.call("panics", || -> io::Result<()> {
            std::thread::sleep(Duration::from_millis(20));
            panic!("on purpose");
        });
        assert!(panics.is_err());
        assert!(soon(|| counted(&bounded) == (0, 0)), "{:?}", counted(&bounded));
        let patient = Bounded { deadline: Duration::from_secs(5), ..bounded };
        assert!(patient.call("a", || Ok(())).is_ok());
    }

    /// A worker that is held up before the call begins, here by a job that nobody waits for.
    #[test]
    fn a_call_that_did_not_begin_gets_no_mark_and_is_not_made() {
        let bounded = Bounded::new(Duration::from_millis(1));
        let (release, gate) = mpsc::channel::<()>();
        let worker = start();
        worker.send(Box::new(move || assert!(gate.recv().is_ok()))).expect("a thread");
        *bounded.worker.lock().expect("not poisoned") = Some(worker);
        let late: io::Result<()> = bounded.call("a", || panic!("must not be called"));
        assert!(late.expect_err("nobody asked").to_string().contains("too busy"));
        assert!(bounded.hanging().marks.is_empty());
        release.send(()).expect("the job waits");
        assert!(soon(|| bounded.call("a", || Ok(())).is_ok()));
    }

    /// It is tried again after a while, and not by one thread more each time.
    #[test]
    fn what_hangs_for_ever_is_not_asked_by_a_new_thread_every_time() {
        use std::sync::atomic::{AtomicUsize, Ordering};
        let asked = Arc::new(AtomicUsize::new(0));
        let ask = |bounded: &Bounded| {
            let asked = Arc::clone(&asked);
            let several = keys(["a", "b", "c"]);
            let results = bounded.call_all(several, move |_| -> io::Result<()> {
                asked.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(Duration::from_secs(3600));
                Ok(())
            });
            assert!(results.iter().all(Result::is_err));
        };
        let bounded = Bounded::new(Duration::from_millis(1));
        (0..50).for_each(|_| ask(&bounded));
        assert_eq!(asked.load(Ordering::Relaxed), 3, "one thread for each that hangs");
        let bounded = Bounded { try_again: Duration::ZERO, ..bounded };
        (0..50).for_each(|_| ask(&bounded));
        assert_eq!(asked.load(Ordering::Relaxed), 3 + SPARE as usize);
        assert_eq!(counted(&bounded), (3, 3 + SPARE as usize));
    }

    #[test]
    fn each_try_that_hangs_doubles_the_time_until_the_next() {
        let mut hanging = Hanging::default();
        hanging.given_up("a", 1);
        let age = |hanging: &mut Hanging, age| {
            let since = Instant::now().checked_sub(Duration::from_secs(age)).expect("up that long");
            hanging.marks.insert("a".to_owned(), Mark { row: 1, since });
        };
        let second = Duration::from_secs(1);
        for (spare, wait) in [(0, 1), (1, 2), (2, 4), (4, 16)] {
            hanging.calls = 1 + spare;
            age(&mut hanging, wait - 1);
            assert!(hanging.spares("a", second), "{spare}");
            age(&mut hanging, wait);
            assert!(!hanging.spares("a", second), "{spare}");
        }
        assert!(!hanging.spares("b", second));
    }

    /// A new mount at the same path answers although the call that the old one swallowed never returns.
    #[test]
    fn a_mark_is_tried_again_while_its_call_still_hangs() {
        let bounded = Bounded { try_again: Duration::from_millis(50), ..Bounded::new(Duration::from_millis(20)) };
        let (release, gate) = mpsc::channel::<()>();
        let gate = Mutex::new(gate);
        assert!(bounded.call("a", move || gate.lock().expect("one call").recv().map_err(io::Error::other)).is_err());
        assert!(bounded.call("a", || Ok(())).is_err(), "it is spared for a while");
        assert!(soon(|| bounded.call("a", || Ok(())).is_ok()));
        assert!(bounded.call("a", || Ok(())).is_ok(), "it answered, so nothing is spared any more");
        assert_eq!(counted(&bounded), (0, 1));
        release.send(()).expect("the call waits");
        assert!(soon(|| counted(&bounded) == (0, 0)));
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
