//! All that the edge to the network may know of the engine and ask of it. It is little on purpose: who takes over the
//! edge can name targets and nothing else, and the edge can be another process.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Stands;
use super::door::{Accepted, Delivery, SubmitError};
use super::queue::Handle;
use crate::inventory::FileSystem;
use crate::journal::State;
use crate::metrics::autoscaler::Metrics;
use crate::name::LvRef;
use crate::plan::Moment;

/// The engine, as the edge sees it.
pub trait Front: Send + Sync {
    /// How things stand; `None` as long as nothing may grow.
    fn view(&self) -> Option<View>;

    /// Whether anything may grow, as far as is known without asking.
    fn may_grow(&self) -> bool;

    /// Accepts requests; see [`Handle::receive`]. As long as nothing may grow there are none, and what was refused is
    /// only counted.
    fn receive(&self, delivery: Delivery) -> Result<Vec<Accepted>, SubmitError>;

    /// Why something was not written to the journal within this time.
    fn not_written(&self, within: Duration) -> String;

    /// All that a page of metrics needs of this side, asked for at once. With the usage of file systems only if that is
    /// wanted.
    fn scrape(&self, with_usage: bool) -> Scrape;
}

/// Reads the usage of file systems anew, all at once, in the order of those that it is given.
pub type ReadUsage = Arc<dyn Fn(Vec<FileSystem>) -> Vec<FileSystem> + Send + Sync>;

/// What a page of metrics needs of the engine.
pub struct Scrape {
    /// As [`Front::view`] has it.
    pub view: Option<View>,
    /// What is counted on this side, as it stands on the page, without the mark at its end.
    pub counters: String,
    /// The usage of file systems, at this moment.
    pub usage: ReadUsage,
}

/// How things stand at one moment.
#[derive(Debug, Clone)]
pub struct View {
    /// What the journal says.
    pub state: Arc<State>,
    /// The refusals that stand.
    pub standing: BTreeMap<LvRef, Stands>,
    /// Why nothing can be written down, if so.
    pub trouble: Option<Trouble>,
    /// How many requests wait.
    pub waiting: usize,
    /// Nothing is carried out.
    pub dry_run: bool,
    /// When that is.
    pub now: Moment,
}

/// Why nothing can be written down, each with its reason in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Trouble {
    /// The journal cannot be written.
    Unwritable(String),
    /// The engine is another process, and does not answer.
    NoEngine(String),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Unwritable(why) => write!(f, "the journal cannot be written: {why}"),
            Trouble::NoEngine(why) => f.write_str(why),
        }
    }
}

/// The front of the engine in this process.
pub struct Inside {
    /// Empty as long as nothing may grow. A reload that brings the first target starts it.
    pub engine: Arc<OnceLock<Handle>>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// How full file systems are.
    pub usage: ReadUsage,
}

impl Front for Inside {
    fn view(&self) -> Option<View> {
        let handle = self.engine.get()?;
        let shared = handle.shared();
        Some(View {
            state: shared.state(),
            standing: shared.standing.all(),
            trouble: shared.journal().trouble().map(Trouble::Unwritable),
            waiting: handle.waiting_count(),
            dry_run: shared.dry_run,
            now: shared.host.moment(),
        })
    }

    fn may_grow(&self) -> bool {
        self.engine.get().is_some()
    }

    fn receive(&self, mut delivery: Delivery) -> Result<Vec<Accepted>, SubmitError> {
        let refused = std::mem::take(&mut delivery.refused);
        let accepted = self.engine.get().map_or(Ok(vec![]), |engine| engine.receive(delivery))?;
        refused.into_iter().for_each(|(code, count)| self.metrics.refused_so_often(None, code, count));
        Ok(accepted)
    }

    fn not_written(&self, within: Duration) -> String {
        self.engine.get().map_or_else(String::new, |engine| engine.not_written(within))
    }

    fn scrape(&self, _with_usage: bool) -> Scrape {
        if let Some(engine) = self.engine.get() {
            self.metrics.journal_writable.set(i64::from(engine.shared().journal().is_writable()));
            self.metrics.queue_length.set(engine.waiting_count() as i64);
        }
        Scrape { view: self.view(), counters: self.metrics.text(), usage: Arc::clone(&self.usage) }
    }
}
