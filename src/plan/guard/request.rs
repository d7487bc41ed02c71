//! Whether now is the time: modes, pauses, windows, what is under way, what failed, what was done lately.

use std::time::Duration;

use jiff::Timestamp;

use super::subject::{Subject, Verdict, refuse_if};
use crate::config::{Budget, Mode};
use crate::duration::Shown;
use crate::name::LvRef;
use crate::plan::history::{Open, Spent};
use crate::units::Bytes;

pub(super) fn mode_off(s: &Subject<'_>) -> Verdict {
    refuse_if(s.target.mode == Mode::Off, || {
        format!("the mode of {} is off: set it to act, or to recommend if it should only be proposed", s.lv.name)
    })
}

pub(super) fn paused(s: &Subject<'_>) -> Verdict {
    match s.history.paused.since(&s.lv.name) {
        None => Verdict::Pass,
        Some((since, true)) => {
            Verdict::Refuse(format!("all targets have been paused since {}: lvm-autoscaler resume", shown(since)))
        }
        Some((since, false)) => Verdict::Refuse(format!(
            "{0} has been paused since {1}: lvm-autoscaler resume {0}",
            s.lv.name,
            shown(since)
        )),
    }
}

/// A window is the one thing that only the wall clock can tell.
pub(super) fn outside_window(s: &Subject<'_>) -> Verdict {
    let Some(window) = &s.target.window else { return Verdict::Pass };
    let local = s.now.at.to_zoned(s.config.time_zone.clone());
    refuse_if(!window.is_open(local.datetime()), || {
        format!(
            "it is {} and the window of {} is {window}: wait until then, or change window",
            local.strftime("%a %H:%M %Z"),
            s.lv.name
        )
    })
}

pub(super) fn operation_in_progress(s: &Subject<'_>) -> Verdict {
    let open = s.history.open.get_key_value(&s.lv.name);
    // A name is changed in a moment, and what was begun is still about that volume.
    let is_same = |(_, open): &(&LvRef, &Open)| !open.lv_uuid.is_empty() && open.lv_uuid == s.lv.uuid;
    match open.or_else(|| s.history.open.iter().find(is_same)) {
        None => Verdict::Pass,
        Some((name, open)) => Verdict::Refuse(match &open.attention {
            None => format!("{} on {name} has been running since {}: wait until it ends", open.id, shown(open.since)),
            Some(what) => format!("{} on {name} needs attention since {}: {what}", open.id, shown(open.since)),
        }),
    }
}

pub(super) fn breaker_open(s: &Subject<'_>) -> Verdict {
    let failures = s.history.failures.get(&s.lv.name).copied().unwrap_or(0);
    refuse_if(s.history.breaker_is_open(s.target), || {
        format!(
            "{0} failed {failures} times in a row and breaker_failures is {1}: find out why, then lvm-autoscaler reset {0}",
            s.lv.name, s.target.breaker_failures
        )
    })
}

pub(super) fn cooldown(s: &Subject<'_>) -> Verdict {
    let recommends = !s.wish.is_a_persons() && s.config.recommends(s.target);
    let Some(last) = s.history.last_of(s.target, recommends) else { return Verdict::Pass };
    let (cooldown, elapsed) = (s.target.cooldown, s.now.since(&last.at));
    refuse_if(elapsed < cooldown, || {
        format!(
            "{} ended at {} and the cooldown is {}: wait {}, or lower cooldown",
            last.id,
            shown(last.at.at),
            Shown(cooldown),
            seconds(cooldown - elapsed),
        )
    })
}

pub(super) fn budget_exhausted(s: &Subject<'_>) -> Verdict {
    let own = s.target.budget;
    let group = s.config.volume_group(&s.lv.name.vg).and_then(|group| group.budget);
    let least = s.target.least_step(s.lv.size.unwrap_or(Bytes::ZERO));
    let of_target = over(&s.history.spent(&s.lv.name, &own, &s.now), &own, least);
    let of_group = group.and_then(|budget| over(&s.history.spent_in(&s.lv.name.vg, &budget, &s.now), &budget, least));
    match (of_target, of_group) {
        (None, None) => Verdict::Pass,
        (Some(why), _) => Verdict::Refuse(format!("{} {why}, or raise its budget", s.lv.name)),
        (None, Some(why)) => {
            Verdict::Refuse(format!("the targets in {0} {why}, or raise volume_groups[{0}].budget", s.lv.name.vg))
        }
    }
}

/// What is used of a budget, if nothing of use is left of it.
fn over(spent: &Spent, budget: &Budget, least: Bytes) -> Option<String> {
    // A budget that nothing was taken of yet lets the first step be as large as it allows.
    let no_bytes = spent.extensions > 0 && spent.bytes_left(budget).is_some_and(|left| left < least);
    (spent.extensions_left(budget) == 0 || no_bytes).then(|| {
        format!(
            "took {} extensions and {} of a budget of {budget}: wait {}",
            spent.extensions,
            spent.bytes.exact(),
            seconds(spent.free_again)
        )
    })
}

/// For people: whole seconds, and never none at all.
fn seconds(duration: Duration) -> String {
    Shown(Duration::from_secs(duration.as_secs().max(1))).to_string()
}

/// To the second: people compare it with their watch.
fn shown(at: Timestamp) -> impl std::fmt::Display {
    at.strftime("%Y-%m-%dT%H:%M:%SZ")
}
