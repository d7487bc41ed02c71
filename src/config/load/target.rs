//! A target: what it leaves open comes from `defaults`, and its values are checked against one another.

use std::time::Duration;

use crate::config::check::check_absolute;
use crate::config::file::{Wrong, missing, wrong};
use crate::config::limits::{Budget, LONGEST_BUDGET, PoolLimits, Window};
use crate::config::locate::PathPart;
use crate::config::{FileSystemTarget, Mode, Offline, Origin, Target, What, raw};
use crate::name::{LvRef, MountPoint};
use crate::units::{Amount, Bytes, Percent};

/// Where a value stands: below the target itself, or below `defaults`, from which it was taken.
struct Places<'a> {
    target: &'a [PathPart],
    inherited: Vec<&'static str>,
}

impl Places<'_> {
    fn is_own(&self, key: &str) -> bool {
        !self.inherited.contains(&key)
    }

    /// The key may be that of a mapping, such as `budget.per`.
    fn of(&self, key: &'static str) -> Vec<PathPart> {
        let above = if self.is_own(key) { self.target } else { &[PathPart::Key("defaults")] };
        above.iter().cloned().chain(key.split('.').map(PathPart::Key)).collect()
    }
}

/// What a target leaves open is taken from the defaults, key by key, and noted in `inherited`.
fn merge(own: raw::Target, defaults: &raw::Target, inherited: &mut Vec<&'static str>) -> raw::Target {
    let mut note = |is_taken: bool, key| {
        if is_taken {
            inherited.push(key)
        }
    };
    // A target's own increment, in either spelling, replaces the default's, in either spelling.
    let has_increment = own.increment.is_some() || own.increment_gb.is_some();
    let (increment, increment_gb) = match has_increment {
        true => (own.increment, own.increment_gb),
        false => (defaults.increment, defaults.increment_gb),
    };
    note(!has_increment, "increment");
    note(!has_increment, "increment_gb");
    let (mine, theirs) = (own.budget.unwrap_or_default(), defaults.budget.unwrap_or_default());
    macro_rules! first {
        ($own:expr, $default:expr, $key:expr) => {{
            note($own.is_none() && $default.is_some(), $key);
            $own.or_else(|| $default.clone())
        }};
    }
    let budget = raw::Budget {
        extensions: first!(mine.extensions, theirs.extensions, "budget.extensions"),
        bytes: first!(mine.bytes, theirs.bytes, "budget.bytes"),
        per: first!(mine.per, theirs.per, "budget.per"),
    };
    macro_rules! merged {
        ($($key:ident)*) => {
            raw::Target {
                lv_path: own.lv_path,
                mount_point: own.mount_point,
                thin_pool: own.thin_pool,
                increment,
                increment_gb,
                budget: Some(budget),
                $($key: first!(own.$key, defaults.$key, stringify!($key)),)*
            }
        };
    }
    merged! {
        threshold_percent inode_threshold_percent data_threshold_percent metadata_threshold_percent
        min_increment max_increment max_size cooldown breaker_failures window mode offline filesystem_check
        allow_large_xfs_growth luks_key_file max_overprovision min_pool_free_data min_pool_free_metadata
    }
}

pub(super) fn check_defaults(defaults: &raw::Target) -> Result<(), Wrong> {
    let names = [
        ("lv_path", defaults.lv_path.is_some()),
        ("mount_point", defaults.mount_point.is_some()),
        ("thin_pool", defaults.thin_pool.is_some()),
    ];
    for (key, given) in names {
        if given {
            return wrong([PathPart::Key("defaults"), PathPart::Key(key)], "names a target, it cannot be a default");
        }
    }
    check_sizes(defaults, &Places { target: &[PathPart::Key("defaults")], inherited: vec![] })
}

/// Who the keys of a target are for.
pub(super) enum For {
    /// The volume that they name.
    One,
    /// What a policy selects; `pools`: thin pools.
    Policy { name: String, pools: bool },
}

pub(super) fn target(
    mut own: raw::Target,
    defaults: &raw::Target,
    at: &[PathPart],
    whose: &For,
) -> Result<Target, Wrong> {
    if let For::Policy { pools, .. } = whose {
        check_of_policy(&own, at)?;
        // What stands for the volumes until there are some.
        let (group, volume): (LvRef, MountPoint) = placeholder();
        match pools {
            true => own.thin_pool = Some(group),
            false => (own.lv_path, own.mount_point) = (Some(group), Some(volume)),
        }
    }
    let mut inherited = Vec::new();
    let raw = merge(own, defaults, &mut inherited);
    let places = Places { target: at, inherited };
    check_sizes(&raw, &places)?;
    let (lv, what) = named(&raw, &places, whose)?;
    let policy = match whose {
        For::One => None,
        For::Policy { name, .. } => Some(name.clone()),
    };
    let has_limit = raw.max_size.is_some() || raw.budget.is_some_and(|budget| budget.bytes.is_some());
    if policy.is_some() && !has_limit && raw.mode != Some(Mode::Off) {
        let message =
            "has no max_size and no budget.bytes, expected one of them: what a policy selects must have a limit";
        return missing(at, &["max_size", "budget"], message);
    }
    let increment = step(&raw).unwrap_or_else(|| Amount::Share(Percent::of(10, 100)));
    // Nobody who asks for steps of 300 GiB means that none of them is ever made.
    let unset = match increment {
        Amount::Size(step) => Budget { bytes: Budget::TARGET.bytes.max(Some(step)), ..Budget::TARGET },
        Amount::Share(_) => Budget::TARGET,
    };
    let is_pool = matches!(what, What::ThinPool { .. });
    let threshold = if is_pool { raw.data_threshold_percent } else { raw.threshold_percent };
    Ok(Target {
        lv,
        what,
        threshold: threshold.unwrap_or_else(|| Percent::of(80, 100)),
        increment,
        min_increment: raw.min_increment,
        max_increment: raw.max_increment,
        max_size: raw.max_size,
        cooldown: raw.cooldown.unwrap_or(Duration::from_secs(600)),
        budget: budget(raw.budget.unwrap_or_default(), unset, |key| places.of(key))?,
        breaker_failures: raw.breaker_failures.unwrap_or(3),
        window: raw.window.map(|hours| window(hours, &places.of("window"))).transpose()?,
        mode: raw.mode.unwrap_or_default(),
        origin: Origin { policy, place: None },
    })
}

fn placeholder() -> (LvRef, MountPoint) {
    let (lv, point) = ("policy/policy".parse(), "/".parse());
    (lv.expect("a name"), point.expect("a path"))
}

/// A policy selects by `match`, and only what is mounted.
fn check_of_policy(own: &raw::Target, at: &[PathPart]) -> Result<(), Wrong> {
    let of = |key| [at, &[PathPart::Key(key)]].concat();
    let names = [
        ("lv_path", "match.lv", own.lv_path.is_some()),
        ("mount_point", "match.mount_point", own.mount_point.is_some()),
        ("thin_pool", "match.thin_pool", own.thin_pool.is_some()),
    ];
    if let Some((key, instead, _)) = names.into_iter().find(|(.., given)| *given) {
        return wrong(of(key), format!("is for a target, a policy selects with `{instead}`"));
    }
    if own.offline == Some(Offline::Allow) {
        let message = "is for monitor.targets: a policy selects what is mounted";
        return wrong(of("offline"), message);
    }
    Ok(())
}

/// The step, in either spelling.
fn step(raw: &raw::Target) -> Option<Amount> {
    raw.increment.or(raw.increment_gb.map(Amount::Size))
}

/// Which volume a target is about, and what of it grows.
fn named(raw: &raw::Target, places: &Places<'_>, whose: &For) -> Result<(LvRef, What), Wrong> {
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
        ("luks_key_file", raw.luks_key_file.is_some()),
        ("max_overprovision", raw.max_overprovision.is_some()),
        ("min_pool_free_data", raw.min_pool_free_data.is_some()),
        ("min_pool_free_metadata", raw.min_pool_free_metadata.is_some()),
    ];
    if raw.lv_path.is_some() && raw.thin_pool.is_some() {
        let message =
            "lv_path is given too: a target is a file system (lv_path, mount_point) or a thin pool (thin_pool)";
        return wrong(places.of("thin_pool"), message);
    }
    let out_of_place: &[(&'static str, bool)] = if raw.thin_pool.is_some() { &of_file_system } else { &of_pool };
    // The defaults are for both.
    if let Some((name, _)) = out_of_place.iter().find(|(name, given)| *given && places.is_own(name)) {
        let other = if raw.thin_pool.is_some() { "file systems" } else { "thin pools" };
        let this = if matches!(whose, For::One) { "this target is none" } else { "this policy selects none" };
        return wrong(places.of(name), format!("is for {other}, {this}"));
    }
    let eighty = || Percent::of(80, 100);
    if let Some(pool) = &raw.thin_pool {
        let metadata_threshold = raw.metadata_threshold_percent.unwrap_or_else(eighty);
        return Ok((pool.clone(), What::ThinPool { metadata_threshold }));
    }
    let Some(lv) = raw.lv_path.clone() else {
        let expected = "lv_path is missing, expected a path such as /dev/storage_vg/data_lv, or thin_pool";
        return missing(places.target, &["lv_path", "thin_pool"], expected);
    };
    let Some(mount_point) = raw.mount_point.clone() else {
        let expected = "mount_point is missing, expected an absolute path such as /data";
        return missing(places.target, &["mount_point"], expected);
    };
    if let Some(file) = &raw.luks_key_file {
        check_absolute(file, &places.of("luks_key_file"))?;
    }
    let unset = PoolLimits::default();
    let fs = FileSystemTarget {
        mount_point,
        inode_threshold: raw.inode_threshold_percent.unwrap_or_else(|| Percent::of(90, 100)),
        offline: raw.offline.unwrap_or_default(),
        check: raw.filesystem_check.unwrap_or_default(),
        allow_large_xfs_growth: raw.allow_large_xfs_growth.unwrap_or(false),
        luks_key_file: raw.luks_key_file.clone(),
        pool: PoolLimits {
            max_overprovision: raw.max_overprovision.unwrap_or(unset.max_overprovision),
            min_free_data: raw.min_pool_free_data.unwrap_or(unset.min_free_data),
            min_free_metadata: raw.min_pool_free_metadata.unwrap_or(unset.min_free_metadata),
        },
    };
    Ok((lv, What::FileSystem(fs)))
}

/// What a budget leaves open is as `unset`; `place` says where its keys stand.
pub(super) fn budget(
    raw: raw::Budget,
    unset: Budget,
    place: impl Fn(&'static str) -> Vec<PathPart>,
) -> Result<Budget, Wrong> {
    let budget = Budget {
        extensions: raw.extensions.unwrap_or(unset.extensions),
        bytes: raw.bytes.or(unset.bytes),
        per: raw.per.unwrap_or(unset.per),
    };
    if budget.bytes == Some(Bytes::ZERO) {
        return wrong(place("budget.bytes"), "is 0, expected more");
    }
    if budget.per < Duration::from_secs(1) || budget.per > LONGEST_BUDGET {
        return wrong(place("budget.per"), "is not between 1s and 31d");
    }
    Ok(budget)
}

fn window(raw: raw::Window, at: &[PathPart]) -> Result<Window, Wrong> {
    let raw::Window { days, from, to } = raw;
    if from == to {
        let message = "is the same as `from`, so it would never be open: leave out the window to allow any time";
        return wrong([at, &[PathPart::Key("to")]].concat(), message);
    }
    Ok(Window { days: days.into_iter().map(|day| day.0).collect(), from, to })
}

/// Sizes that contradict one another. What is reported is the target's own key, if there is one: the defaults were
/// checked before.
fn check_sizes(raw: &raw::Target, places: &Places<'_>) -> Result<(), Wrong> {
    if raw.increment.is_some() && raw.increment_gb.is_some() {
        return wrong(places.of("increment_gb"), "increment is given too, expected only one of them");
    }
    let (min, max) = (raw.min_increment, raw.max_increment);
    for (name, size) in [("min_increment", min), ("max_increment", max), ("max_size", raw.max_size)] {
        if size == Some(Bytes::ZERO) {
            return wrong(places.of(name), "is 0, expected more");
        }
    }
    if let (Some(min), Some(max)) = (min, max)
        && min > max
    {
        return match places.is_own("min_increment") {
            true => wrong(places.of("min_increment"), format!("{min} is more than max_increment, {max}")),
            false => wrong(places.of("max_increment"), format!("{max} is less than min_increment, {min}")),
        };
    }
    let given = [
        ("increment_gb", raw.increment_gb.is_some()),
        ("increment", raw.increment.is_some()),
        ("min_increment", min.is_some()),
    ];
    let own = given.iter().find(|(name, given)| *given && places.is_own(name));
    let at = places.of(own.map_or("max_increment", |(name, _)| name));
    match step(raw) {
        Some(Amount::Size(step)) if step == Bytes::ZERO => wrong(at, "is 0, expected more"),
        Some(Amount::Share(share)) if share.value() == 0.0 => wrong(at, "is 0 %, expected more"),
        Some(Amount::Size(step)) if min.is_some_and(|min| step < min) || max.is_some_and(|max| step > max) => {
            wrong(at, format!("{step} is not between min_increment and max_increment"))
        }
        _ => Ok(()),
    }
}
