//! A target: what it leaves open comes from `defaults`, and its values are checked against one another.

use std::time::Duration;

use crate::config::file::{Wrong, wrong};
use crate::config::limits::{Budget, LONGEST_BUDGET, PoolLimits, Window};
use crate::config::locate::Step;
use crate::config::{FileSystem, Target, What, raw};
use crate::name::LvRef;
use crate::units::{Amount, Bytes, Percent};

pub(super) fn check_defaults(defaults: &raw::Target) -> Result<(), Wrong> {
    let names = [
        ("lv_path", defaults.lv_path.is_some()),
        ("mount_point", defaults.mount_point.is_some()),
        ("thin_pool", defaults.thin_pool.is_some()),
    ];
    for (key, given) in names {
        if given {
            return wrong([Step::Key("defaults"), Step::Key(key)], "names a target, it cannot be a default");
        }
    }
    check_sizes(defaults, None, &[Step::Key("defaults")])
}

pub(super) fn target(raw: raw::Target, defaults: &raw::Target, at: &[Step]) -> Result<Target, Wrong> {
    check_sizes(&raw, Some(defaults), at)?;
    let (lv, what) = named(&raw, defaults, at)?;
    // A target's own increment, in either spelling, replaces the default's, in either spelling.
    let own = raw.increment.or(raw.increment_gb.map(Amount::Size));
    let default = defaults.increment.or(defaults.increment_gb.map(Amount::Size));
    let increment = own.or(default).unwrap_or_else(|| Amount::Share(Percent::of(10, 100)));
    // Nobody who asks for steps of 300 GiB means that none of them is ever made.
    let unset = match increment {
        Amount::Size(step) => Budget { bytes: Budget::TARGET.bytes.max(Some(step)), ..Budget::TARGET },
        Amount::Share(_) => Budget::TARGET,
    };
    let key = |key| [at, &[Step::Key(key)]].concat();
    let of_data = raw.data_threshold_percent.or(defaults.data_threshold_percent);
    let of_space = raw.threshold_percent.or(defaults.threshold_percent);
    let threshold = if matches!(what, What::ThinPool { .. }) { of_data } else { of_space };
    let (own_window, of_defaults) = (raw.window.clone(), || defaults.window.clone());
    let hours = match own_window {
        Some(own) => Some(window(own, &key("window"))?),
        None => of_defaults().map(|unset| window(unset, &[Step::Key("defaults"), Step::Key("window")])).transpose()?,
    };
    Ok(Target {
        lv,
        what,
        threshold: threshold.unwrap_or_else(|| Percent::of(80, 100)),
        increment,
        min_increment: raw.min_increment.or(defaults.min_increment),
        max_increment: raw.max_increment.or(defaults.max_increment),
        max_size: raw.max_size.or(defaults.max_size),
        cooldown: raw.cooldown.or(defaults.cooldown).unwrap_or(Duration::from_secs(600)),
        budget: budget(raw.budget, defaults.budget, unset, &key("budget"))?,
        breaker_failures: raw.breaker_failures.or(defaults.breaker_failures).unwrap_or(3),
        window: hours,
        mode: raw.mode.or(defaults.mode).unwrap_or_default(),
    })
}

/// Which volume a target is about, and what of it grows.
fn named(raw: &raw::Target, defaults: &raw::Target, at: &[Step]) -> Result<(LvRef, What), Wrong> {
    let key = |key| [at, &[Step::Key(key)]].concat();
    let of_pool = [
        ("data_threshold_percent", raw.data_threshold_percent.is_some()),
        ("metadata_threshold_percent", raw.metadata_threshold_percent.is_some()),
    ];
    let of_file_system = [
        ("lv_path", raw.lv_path.is_some()),
        ("mount_point", raw.mount_point.is_some()),
        ("threshold_percent", raw.threshold_percent.is_some()),
        ("inode_threshold_percent", raw.inode_threshold_percent.is_some()),
        ("offline", raw.offline.is_some()),
        ("filesystem_check", raw.filesystem_check.is_some()),
        ("allow_large_xfs_growth", raw.allow_large_xfs_growth.is_some()),
        ("max_overprovision", raw.max_overprovision.is_some()),
        ("min_pool_free_data", raw.min_pool_free_data.is_some()),
        ("min_pool_free_metadata", raw.min_pool_free_metadata.is_some()),
    ];
    let out_of_place: &[(&'static str, bool)] = if raw.thin_pool.is_some() { &of_file_system } else { &of_pool };
    if let Some((name, _)) = out_of_place.iter().find(|(_, given)| *given) {
        let other = if raw.thin_pool.is_some() { "file systems" } else { "thin pools" };
        return wrong(key(name), format!("is for {other}, this target is none"));
    }
    let eighty = || Percent::of(80, 100);
    if let Some(pool) = &raw.thin_pool {
        let threshold = raw.metadata_threshold_percent.or(defaults.metadata_threshold_percent);
        return Ok((pool.clone(), What::ThinPool { metadata_threshold: threshold.unwrap_or_else(eighty) }));
    }
    let Some(lv) = raw.lv_path.clone() else {
        return wrong(at, "lv_path is missing, expected a path such as /dev/storage_vg/data_lv, or thin_pool");
    };
    let Some(mount_point) = raw.mount_point.clone() else {
        return wrong(at, "mount_point is missing, expected an absolute path such as /data");
    };
    let unset = PoolLimits::default();
    let pool = PoolLimits {
        max_overprovision: raw.max_overprovision.or(defaults.max_overprovision).unwrap_or(unset.max_overprovision),
        min_free_data: raw.min_pool_free_data.or(defaults.min_pool_free_data).unwrap_or(unset.min_free_data),
        min_free_metadata: raw
            .min_pool_free_metadata
            .or(defaults.min_pool_free_metadata)
            .unwrap_or(unset.min_free_metadata),
    };
    let inodes = raw.inode_threshold_percent.or(defaults.inode_threshold_percent);
    let large = raw.allow_large_xfs_growth.or(defaults.allow_large_xfs_growth);
    let fs = FileSystem {
        mount_point,
        inode_threshold: inodes.unwrap_or_else(|| Percent::of(90, 100)),
        offline: raw.offline.or(defaults.offline).unwrap_or_default(),
        check: raw.filesystem_check.or(defaults.filesystem_check).unwrap_or_default(),
        allow_large_xfs_growth: large.unwrap_or(false),
        pool,
    };
    Ok((lv, What::FileSystem(fs)))
}

/// What a budget leaves open is taken from the defaults, key by key.
pub(super) fn budget(
    own: Option<raw::Budget>,
    defaults: Option<raw::Budget>,
    unset: Budget,
    at: &[Step],
) -> Result<Budget, Wrong> {
    let (own, defaults) = (own.unwrap_or_default(), defaults.unwrap_or_default());
    let budget = Budget {
        extensions: own.extensions.or(defaults.extensions).unwrap_or(unset.extensions),
        bytes: own.bytes.or(defaults.bytes).or(unset.bytes),
        per: own.per.or(defaults.per).unwrap_or(unset.per),
    };
    let key = |key| [at, &[Step::Key(key)]].concat();
    if budget.bytes == Some(Bytes::ZERO) {
        return wrong(key("bytes"), "is 0, expected more");
    }
    if budget.per < Duration::from_secs(1) || budget.per > LONGEST_BUDGET {
        return wrong(key("per"), "is not between 1s and 31d");
    }
    Ok(budget)
}

fn window(raw: raw::Window, at: &[Step]) -> Result<Window, Wrong> {
    let raw::Window { days, from, to } = raw;
    if from == to {
        let message = "is the same as `from`, so it would never be open: leave out the window to allow any time";
        return wrong([at, &[Step::Key("to")]].concat(), message);
    }
    Ok(Window { days: days.into_iter().map(|day| day.0).collect(), from, to })
}

/// Sizes that contradict one another; what the target leaves open is taken from the defaults.
fn check_sizes(raw: &raw::Target, defaults: Option<&raw::Target>, at: &[Step]) -> Result<(), Wrong> {
    let key = |key| [at, &[Step::Key(key)]].concat();
    if raw.increment.is_some() && raw.increment_gb.is_some() {
        return wrong(key("increment_gb"), "increment is given too, expected only one of them");
    }
    let none = raw::Target::default();
    let defaults = defaults.unwrap_or(&none);
    let min = raw.min_increment.or(defaults.min_increment);
    let max = raw.max_increment.or(defaults.max_increment);
    for (name, size) in
        [("min_increment", raw.min_increment), ("max_increment", raw.max_increment), ("max_size", raw.max_size)]
    {
        if size == Some(Bytes::ZERO) {
            return wrong(key(name), "is 0, expected more");
        }
    }
    if let (Some(min), Some(max)) = (min, max)
        && min > max
    {
        let name = if raw.min_increment.is_some() { "min_increment" } else { "max_increment" };
        return wrong(key(name), format!("the smallest step, {min}, is larger than the largest, {max}"));
    }
    // The step that holds may be that of the defaults; then what does not fit it is the target's own limit.
    let own = raw.increment.or(raw.increment_gb.map(Amount::Size));
    let default = defaults.increment.or(defaults.increment_gb.map(Amount::Size));
    let name = match (raw.increment_gb, own, raw.min_increment) {
        (Some(_), ..) => "increment_gb",
        (_, Some(_), _) => "increment",
        (_, None, Some(_)) => "min_increment",
        (_, None, None) => "max_increment",
    };
    match own.or(default) {
        Some(Amount::Size(step)) if step == Bytes::ZERO => wrong(key(name), "is 0, expected more"),
        Some(Amount::Share(share)) if share.value() == 0.0 => wrong(key(name), "is 0 %, expected more"),
        Some(Amount::Size(step)) if min.is_some_and(|min| step < min) || max.is_some_and(|max| step > max) => {
            wrong(key(name), format!("{step} is not between min_increment and max_increment"))
        }
        _ => Ok(()),
    }
}
