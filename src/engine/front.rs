//! All that the edge to the network may know of the engine and ask of it. It is little on purpose: who takes over the
//! edge can name targets and nothing else, and the edge can be another process.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::Stands;
use super::door::{Accepted, Delivery, SubmitError};
use super::queue::Handle;
use crate::journal::State;
use crate::name::LvRef;
use crate::plan::Moment;

/// The engine, as the edge sees it.
pub trait Front: Send + Sync {
    /// How things stand.
    fn view(&self) -> View;

    /// Accepts requests; see [`Handle::receive`].
    fn receive(&self, delivery: Delivery) -> Result<Vec<Accepted>, SubmitError>;

    /// Why something was not written to the journal within this time.
    fn not_written(&self, within: Duration) -> String;
}

/// How things stand at one moment.
#[derive(Debug, Clone)]
pub struct View {
    /// What the journal says.
    pub state: Arc<State>,
    /// The refusals that stand.
    pub standing: BTreeMap<LvRef, Stands>,
    /// Why nothing can be written down, if so.
    pub trouble: Option<String>,
    /// How many requests wait.
    pub waiting: usize,
    /// Nothing is carried out.
    pub dry_run: bool,
    /// When that is.
    pub now: Moment,
}

impl Front for Handle {
    fn view(&self) -> View {
        let shared = self.shared();
        View {
            state: shared.state(),
            standing: shared.standing.all(),
            trouble: shared.journal().trouble(),
            waiting: self.waiting_count(),
            dry_run: shared.dry_run,
            now: shared.host.moment(),
        }
    }

    fn receive(&self, delivery: Delivery) -> Result<Vec<Accepted>, SubmitError> {
        Handle::receive(self, delivery)
    }

    fn not_written(&self, within: Duration) -> String {
        Handle::not_written(self, within)
    }
}
