//! Takes an inventory in the background, so that no scrape ever waits for LVM.

use std::sync::mpsc::{self, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::{Focus, Host, look};
use crate::inventory::{Inventory, Latest};

/// So long a look waits while an operation is carried out: longer than most take, and no longer than a reader of
/// metrics would notice.
const MOST_PATIENCE: Duration = Duration::from_secs(5);

/// Asks for a look at once. Dropping the last one ends the thread.
#[derive(Clone)]
pub struct Sampler {
    wishes: SyncSender<()>,
    held: Arc<Held>,
}

/// While one of these is there no look begins, for a while: LVM's lock and a processor are left to who has it, whose
/// own uevents would otherwise set off a report in the middle of an operation.
pub struct Hold(Arc<Held>);

#[derive(Default)]
struct Held {
    count: Mutex<usize>,
    released: Condvar,
}

impl Sampler {
    /// Starts the thread; it looks at once and then once per interval, which is asked for anew each time. `seen` is
    /// told of each inventory.
    pub fn start(
        host: Arc<dyn Host>,
        latest: Arc<Latest>,
        interval: impl Fn() -> Duration + Send + 'static,
        mut seen: impl FnMut(&Inventory) + Send + 'static,
    ) -> Sampler {
        // One waiting wish is enough: it is answered by a look that begins after it was made.
        let (sender, wishes) = mpsc::sync_channel(1);
        let held = Arc::<Held>::default();
        let sampler = Sampler { wishes: sender, held: Arc::clone(&held) };
        std::thread::spawn(move || {
            let mut failing = false;
            loop {
                held.wait();
                let started = Instant::now();
                let looked = look(host.as_ref(), Focus::Everything);
                match &looked {
                    Err(error) if !failing => {
                        tracing::error!("no inventory, the last one is shown: {}", crate::chain(error))
                    }
                    Ok(_) if failing => tracing::info!("the inventory can be taken again"),
                    _ => {}
                }
                failing = looked.is_err();
                looked.iter().for_each(&mut seen);
                latest.set(looked.ok(), started.elapsed());
                host.prepare();
                if wishes.recv_timeout(interval()) == Err(RecvTimeoutError::Disconnected) {
                    return;
                }
            }
        });
        sampler
    }

    /// Looks again now.
    pub fn refresh(&self) {
        let _ = self.wishes.try_send(());
    }

    /// Until this is dropped no look begins, for a while.
    pub fn hold(&self) -> Hold {
        *self.held.count() += 1;
        Hold(Arc::clone(&self.held))
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        *self.0.count() -= 1;
        self.0.released.notify_all();
    }
}

impl Held {
    fn count(&self) -> MutexGuard<'_, usize> {
        crate::locked(&self.count)
    }

    fn wait(&self) {
        let waited = self.released.wait_timeout_while(self.count(), MOST_PATIENCE, |count| *count > 0);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }
}
