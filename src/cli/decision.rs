//! What would be decided about targets now, for the commands that show it: by the functions that the daemon decides
//! with.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use super::style::Format;
use crate::app;
use crate::config::{Config, Mode, Target};
use crate::host::{Focus, Host, key, look};
use crate::inventory::Inventory;
use crate::journal::Journal;
use crate::plan::{Evaluation, History, Unmatched, Wish, applied, plan_for};

/// The config that a command works with: with what its policies select on the host, if it has any.
pub(super) fn config_here(file: Option<&Path>, simulate: Option<&Path>) -> anyhow::Result<Arc<Config>> {
    on_host(app::load_config(file, simulate)?, simulate)
}

/// The same for a command about one target: where the config names that itself, no host has to be looked at.
pub(super) fn config_for(
    name: Option<&str>,
    file: Option<&Path>,
    simulate: Option<&Path>,
) -> anyhow::Result<Arc<Config>> {
    let config = app::load_config(file, simulate)?;
    match name {
        Some(name) if !config.targets.iter().any(|target| is_called(target, name)) => on_host(config, simulate),
        _ => Ok(Arc::new(config)),
    }
}

fn on_host(config: Config, simulate: Option<&Path>) -> anyhow::Result<Arc<Config>> {
    let config = Arc::new(config);
    if config.policies.is_empty() {
        return Ok(config);
    }
    let everything = look(app::open_host_of_daemon(&config, simulate)?.as_ref(), Focus::Everything)?;
    Ok(applied(&config, &everything))
}

/// Whether a target is called so by a person: VG/LV, the path of its volume, or its mount point.
pub(super) fn is_called(target: &Target, name: &str) -> bool {
    let (volume, point) = (name.parse().ok(), name.parse().ok());
    Some(&target.lv) == volume.as_ref() || point.is_some() && target.mount_point() == point.as_ref()
}

/// Decides about the targets of a config.
pub(super) struct Decider<'a> {
    config: &'a Config,
    host: Arc<dyn Host>,
    history: History,
}

/// What was decided about a target.
pub(super) struct Decided<'a> {
    pub target: &'a Target,
    pub evaluation: Evaluation,
    /// It would only be recommended.
    pub is_recommended: bool,
}

impl<'a> Decider<'a> {
    /// On this host, or on the simulated one of this file, with what the journal knows of the past.
    pub(super) fn new(config: &'a Config, simulate: Option<&Path>) -> anyhow::Result<Decider<'a>> {
        let host = app::open_host_of_daemon(config, simulate)?;
        let history = Journal::peek(&config.state_directory)?.history(false);
        Ok(Decider { config, host, history })
    }

    /// About one target, which is looked at.
    pub(super) fn about(&self, wish: Wish, target: &'a Target) -> anyhow::Result<Decided<'a>> {
        let inventory = look(self.host.as_ref(), Focus::to_decide(&target.lv, self.config))?;
        Ok(self.seen(wish, target, &inventory))
    }

    /// The same because of its usage, where it is known whether it is there.
    pub(super) fn about_usage(&self, target: &'a Target, names: &Names) -> anyhow::Result<Decided<'a>> {
        match names.has(target) {
            true => self.about(Wish::Usage, target),
            false => Ok(self.seen(Wish::Usage, target, &names.everything)),
        }
    }

    /// About the pool of a thin volume that only its pool keeps from growing, if the pool may grow.
    pub(super) fn about_pool(&self, decided: &Decided<'_>) -> anyhow::Result<Option<Decided<'a>>> {
        let Some((pool, by)) = &decided.evaluation.pool else { return Ok(None) };
        let Some(target) = self.config.target(pool).filter(|target| target.mode == Mode::Act) else { return Ok(None) };
        self.about(Wish::Volume { by: *by }, target).map(Some)
    }

    fn seen(&self, wish: Wish, target: &'a Target, inventory: &Inventory) -> Decided<'a> {
        let Decider { config, host, history } = self;
        let evaluation = key::decide(host.as_ref(), target, config, inventory, |inventory| {
            plan_for(wish, target, inventory, config, history, host.moment())
        });
        let plan = evaluation.decision.as_ref().ok().filter(|_| !wish.is_a_persons());
        let is_recommended = plan.is_some_and(|plan| plan.is_recommended(target, config));
        Decided { target, evaluation, is_recommended }
    }
}

/// Which names of the config are on the host.
pub(super) struct Names {
    everything: Inventory,
    unmatched: Unmatched,
}

impl Names {
    /// From a look at everything.
    pub(super) fn of(decider: &Decider<'_>) -> anyhow::Result<Names> {
        let everything = look(decider.host.as_ref(), Focus::Everything)?;
        let unmatched = Unmatched::of(decider.config, &everything);
        Ok(Names { everything, unmatched })
    }

    /// Whether the host has this target.
    pub(super) fn has(&self, target: &Target) -> bool {
        !self.unmatched.targets.contains(&target.lv)
    }

    /// Says which are not there: behind the text, and beside the JSON, which is a list of targets.
    pub(super) fn say(&self, config: &Config, format: Format, out: &mut impl Write) -> std::io::Result<()> {
        let sentences =
            self.unmatched.suspicions().into_iter().chain(self.unmatched.sentences(config, &self.everything));
        for sentence in sentences {
            let line = crate::plain(&sentence);
            match format {
                Format::Text => writeln!(out, "{line}")?,
                Format::Json => writeln!(std::io::stderr(), "{line}").unwrap_or_default(),
            }
        }
        Ok(())
    }
}
