//! Takes an inventory in the background, so that no scrape ever waits for LVM.

use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

use super::{Focus, Host, look};
use crate::inventory::Latest;

/// Asks for a look at once. Dropping the last one ends the thread.
#[derive(Clone)]
pub struct Sampler(SyncSender<()>);

impl Sampler {
    /// Starts the thread; it looks at once and then once per interval, which is asked for anew each time.
    pub fn start(
        host: Arc<dyn Host>,
        latest: Arc<Latest>,
        interval: impl Fn() -> Duration + Send + 'static,
    ) -> Sampler {
        // One waiting wish is enough: it is answered by a look that begins after it was made.
        let (sender, wishes) = mpsc::sync_channel(1);
        std::thread::spawn(move || {
            let mut failing = false;
            loop {
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
                latest.set(looked.ok(), started.elapsed());
                if wishes.recv_timeout(interval()) == Err(RecvTimeoutError::Disconnected) {
                    return;
                }
            }
        });
        Sampler(sender)
    }

    /// Looks again now.
    pub fn refresh(&self) {
        let _ = self.0.try_send(());
    }
}
