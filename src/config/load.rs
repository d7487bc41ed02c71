//! File -> [`Config`]: reads, checks what one value alone cannot show, and says where it is wrong.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::locate::{Step, locate, show};
use super::{Config, Target, ToolPaths, VolumeGroup, raw};
use crate::units::{Amount, Bytes, Percent};

/// Larger files are refused: a config is a page or two, and YAML's nesting is quadratic to read.
const MAX_FILE: u64 = 256 << 10;

/// What is wrong with a config file, in the form `file:line:column: path: what is wrong, what was expected`.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("{}: cannot be read", file.display())]
    Read {
        /// Which.
        file: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is too large.
    #[error("{}: is {size} bytes, expected at most {MAX_FILE}", file.display())]
    TooLarge {
        /// Which.
        file: PathBuf,
        /// Its size.
        size: u64,
    },
    /// A value or key is wrong.
    #[error("{}", shown(file, *place, message))]
    Invalid {
        /// Which file.
        file: PathBuf,
        /// Line and column, from 1.
        place: Option<(usize, usize)>,
        /// `path: what is wrong, what was expected`.
        message: String,
    },
}

fn shown(file: &Path, place: Option<(usize, usize)>, message: &str) -> String {
    match place {
        Some((line, column)) => format!("{}:{line}:{column}: {message}", file.display()),
        None => format!("{}: {message}", file.display()),
    }
}

/// Reads and checks a file.
pub fn load(file: &Path) -> Result<Config, ConfigError> {
    let read = |source| ConfigError::Read { file: file.to_owned(), source };
    let size = std::fs::metadata(file).map_err(read)?.len();
    if size > MAX_FILE {
        return Err(ConfigError::TooLarge { file: file.to_owned(), size });
    }
    parse(&std::fs::read_to_string(file).map_err(read)?, file)
}

/// Checks a text; `file` only names it in errors.
pub fn parse(yaml: &str, file: &Path) -> Result<Config, ConfigError> {
    let invalid = |place, message| ConfigError::Invalid { file: file.to_owned(), place, message };
    if yaml.len() as u64 > MAX_FILE {
        return Err(ConfigError::TooLarge { file: file.to_owned(), size: yaml.len() as u64 });
    }
    // A file with nothing but comments is an empty config, not a null that is no mapping.
    let is_blank = |line: &str| line.trim().is_empty() || line.trim_start().starts_with('#') || line.trim() == "---";
    let file_form: raw::File = if yaml.lines().all(is_blank) {
        raw::File::default()
    } else {
        serde_yaml::from_str(yaml).map_err(|error| {
            let place = error.location().map(|at| (at.line(), at.column()));
            invalid(place, without_place(&error.to_string()))
        })?
    };
    validate(file_form).map_err(|wrong| {
        let place = locate(yaml, &wrong.path);
        invalid(place, format!("{}: {}", show(&wrong.path), wrong.message))
    })
}

/// The library puts the place behind its message, we put it in front.
fn without_place(message: &str) -> String {
    match message.rfind(" at line ") {
        Some(at) => message[..at].to_owned(),
        None => message.to_owned(),
    }
}

/// Something wrong between values, and where.
struct Wrong {
    path: Vec<Step>,
    message: String,
}

fn wrong<T>(path: impl Into<Vec<Step>>, message: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong { path: path.into(), message: message.into() })
}

fn validate(file: raw::File) -> Result<Config, Wrong> {
    let unset = Config::default();
    check_defaults(&file.defaults)?;
    let mut targets: Vec<Target> = Vec::new();
    for (index, raw) in file.monitor.targets.into_iter().enumerate() {
        let at = vec![Step::Key("monitor"), Step::Key("targets"), Step::Item(index)];
        let target = target(raw, &file.defaults, &at)?;
        if targets.iter().any(|other| other.lv == target.lv) {
            return wrong([at, vec![Step::Key("lv_path")]].concat(), format!("{} is named twice", target.lv));
        }
        if targets.iter().any(|other| other.mount_point == target.mount_point) {
            let at = [at, vec![Step::Key("mount_point")]].concat();
            return wrong(at, format!("{} is named twice", target.mount_point));
        }
        targets.push(target);
    }
    let mut volume_groups: Vec<VolumeGroup> = Vec::new();
    for (index, raw) in file.volume_groups.into_iter().enumerate() {
        let at = [Step::Key("volume_groups"), Step::Item(index), Step::Key("name")];
        if volume_groups.iter().any(|other| other.name == raw.name) {
            return wrong(at, format!("{} is named twice", raw.name));
        }
        let reserve = raw.reserve.unwrap_or(Amount::Size(Bytes::ZERO));
        volume_groups.push(VolumeGroup { name: raw.name, reserve });
    }
    let state_directory = file.state.directory.unwrap_or(unset.state_directory);
    check_absolute(&state_directory, &[Step::Key("state"), Step::Key("directory")])?;
    let at = |key| [Step::Key("inventory"), Step::Key(key)];
    Ok(Config {
        interval: file.monitor.interval_seconds,
        targets,
        volume_groups,
        instances: file.webhook.instances,
        state_directory,
        inventory_interval: at_least_a_second(file.inventory.interval, unset.inventory_interval, &at("interval"))?,
        inventory_timeout: at_least_a_second(file.inventory.timeout, unset.inventory_timeout, &at("timeout"))?,
        tools: tools(file.tools)?,
    })
}

fn check_defaults(defaults: &raw::Target) -> Result<(), Wrong> {
    let names = [("lv_path", defaults.lv_path.is_some()), ("mount_point", defaults.mount_point.is_some())];
    for (key, given) in names {
        if given {
            return wrong([Step::Key("defaults"), Step::Key(key)], "names a target, it cannot be a default");
        }
    }
    check_sizes(defaults, None, &[Step::Key("defaults")])
}

fn target(raw: raw::Target, defaults: &raw::Target, at: &[Step]) -> Result<Target, Wrong> {
    check_sizes(&raw, Some(defaults), at)?;
    let Some(lv) = raw.lv_path else {
        return wrong(at, "lv_path is missing, expected a path such as /dev/storage_vg/data_lv");
    };
    let Some(mount_point) = raw.mount_point else {
        return wrong(at, "mount_point is missing, expected an absolute path such as /data");
    };
    // A target's own increment, in either spelling, replaces the default's, in either spelling.
    let own = raw.increment.or(raw.increment_gb.map(Amount::Size));
    let default = defaults.increment.or(defaults.increment_gb.map(Amount::Size));
    Ok(Target {
        lv,
        mount_point,
        threshold: raw.threshold_percent.or(defaults.threshold_percent).unwrap_or_else(|| Percent::of(80, 100)),
        increment: own.or(default).unwrap_or_else(|| Amount::Share(Percent::of(10, 100))),
        min_increment: raw.min_increment.or(defaults.min_increment),
        max_increment: raw.max_increment.or(defaults.max_increment),
        max_size: raw.max_size.or(defaults.max_size),
        cooldown: raw.cooldown.or(defaults.cooldown).unwrap_or(Duration::from_secs(600)),
    })
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
    let own = raw.increment.or(raw.increment_gb.map(Amount::Size));
    let name = if raw.increment_gb.is_some() { "increment_gb" } else { "increment" };
    match own {
        Some(Amount::Size(step)) if step == Bytes::ZERO => wrong(key(name), "is 0, expected more"),
        Some(Amount::Share(share)) if share.value() == 0.0 => wrong(key(name), "is 0 %, expected more"),
        Some(Amount::Size(step)) if min.is_some_and(|min| step < min) || max.is_some_and(|max| step > max) => {
            wrong(key(name), format!("{step} is not between min_increment and max_increment"))
        }
        _ => Ok(()),
    }
}

fn at_least_a_second(given: Option<Duration>, unset: Duration, at: &[Step]) -> Result<Duration, Wrong> {
    match given {
        Some(short) if short < Duration::from_secs(1) => wrong(at, "is too short, expected at least 1s"),
        given => Ok(given.unwrap_or(unset)),
    }
}

fn check_absolute(path: &Path, at: &[Step]) -> Result<(), Wrong> {
    if path.is_absolute() { Ok(()) } else { wrong(at, format!("{path:?} is not absolute, expected a path from /")) }
}

fn tools(raw: raw::Tools) -> Result<ToolPaths, Wrong> {
    let raw::Tools { lvm, blkid, resize2fs, xfs_growfs } = raw;
    for (key, path) in [("lvm", &lvm), ("blkid", &blkid), ("resize2fs", &resize2fs), ("xfs_growfs", &xfs_growfs)] {
        if let Some(path) = path {
            check_absolute(path, &[Step::Key("tools"), Step::Key(key)])?;
        }
    }
    Ok(ToolPaths { lvm, blkid, resize2fs, xfs_growfs })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::GIB;

    fn error(yaml: &str) -> String {
        parse(yaml, Path::new("c.yaml")).expect_err("must be refused").to_string()
    }

    #[test]
    fn the_course_configuration_means_what_it_meant() {
        let yaml = "monitor:\n  interval_seconds: 60\n  targets:\n    - lv_path: \"/dev/storage_vg/data_lv\"\n      \
            mount_point: \"/data\"\n      threshold_percent: 80\n      increment_gb: 2\n";
        let config = parse(yaml, Path::new("c.yaml")).expect("valid");
        assert_eq!(config.interval, Some(Duration::from_secs(60)));
        let target = &config.targets[0];
        assert_eq!(target.lv.to_string(), "storage_vg/data_lv");
        assert_eq!(target.mount_point.as_str(), "/data");
        assert_eq!(target.threshold.value(), 80.0);
        assert_eq!(target.increment, Amount::Size(Bytes(2 * GIB)));
        assert_eq!(target.max_size, None);
    }

    #[test]
    fn nothing_is_a_config_that_grows_nothing() {
        for yaml in ["", "# only a comment\n", "---\n", "{}"] {
            assert_eq!(parse(yaml, Path::new("c.yaml")).expect("valid"), Config::default());
        }
    }

    #[test]
    fn errors_say_where_and_what_was_expected() {
        let target = "monitor:\n  targets:\n    - lv_path: /dev/a/b\n      mount_point: /b\n      ";
        let cases = [
            ("monitr: {}", "c.yaml:1:1: unknown field `monitr`, expected one of"),
            (
                "monitor:\n  interval_seconds: 0",
                "c.yaml:2:21: monitor.interval_seconds: 0 is not a whole number of seconds",
            ),
            ("monitor:\n  interval_seconds: 60s", "c.yaml:2:21: monitor.interval_seconds: \"60s\" is not a whole"),
            (
                &format!("{target}threshold_percent: 180"),
                "c.yaml:5:26: monitor.targets[0].threshold_percent: 180 is not a number above 0 and below 100",
            ),
            (
                &format!("{target}threshold_percent: eighty"),
                "c.yaml:5:26: monitor.targets[0].threshold_percent: \"eighty\" is not a percentage",
            ),
            (
                &format!("{target}threshold_percent: [80]"),
                "c.yaml:5:26: monitor.targets[0].threshold_percent: invalid type: sequence, expected a number above 0",
            ),
            (
                &format!("{target}increment: 2G"),
                "c.yaml:5:18: monitor.targets[0].increment: \"2G\" could mean powers of 1000 or of 1024, write 2GiB",
            ),
            (&format!("{target}increment: 2"), "c.yaml:5:18: monitor.targets[0].increment: 2 has no unit"),
            (
                &format!("{target}increment: 2GiB\n      increment_gb: 2"),
                "c.yaml:6:21: monitor.targets[0].increment_gb: increment is given too",
            ),
            (&format!("{target}cooldown: soon"), "c.yaml:5:17: monitor.targets[0].cooldown: \"soon\": expected number"),
            (&format!("{target}cooldown: 5m\n      cooldown: 6m"), "duplicate field `cooldown`"),
            (
                &format!("{target}min_increment: 9GiB\n      max_increment: 3GiB"),
                "c.yaml:5:22: monitor.targets[0].min_increment: the smallest step, 9 GiB, is larger than the largest, 3 GiB",
            ),
            (&format!("{target}max_size: 0GiB"), "c.yaml:5:17: monitor.targets[0].max_size: is 0, expected more"),
            ("monitor:\n  targets:\n    - mount_point: /b\n", "c.yaml:3:7: monitor.targets[0]: lv_path is missing"),
            (
                "monitor:\n  targets:\n    - lv_path: /dev/sda\n",
                "c.yaml:3:16: monitor.targets[0].lv_path: \"/dev/sda\" does not name a logical volume",
            ),
            (
                "monitor:\n  targets:\n    - lv_path: /dev/a/b\n      mount_point: data\n",
                "c.yaml:4:20: monitor.targets[0].mount_point: \"data\" is not a mount point",
            ),
            (
                &format!("{target}threshold_percent: 80\n    - lv_path: a/b\n      mount_point: /c"),
                "c.yaml:6:16: monitor.targets[1].lv_path: a/b is named twice",
            ),
            ("defaults:\n  mount_point: /x", "c.yaml:2:16: defaults.mount_point: names a target"),
            ("volume_groups:\n  - name: a b", "c.yaml:2:11: volume_groups[0].name: \"a b\" is not a valid LVM name"),
            ("state: { directory: state }", "c.yaml:1:21: state.directory: \"state\" is not absolute"),
            ("monitor: [", "c.yaml:"),
            ("a: 1\n---\nb: 2", "c.yaml:"),
        ];
        for (yaml, wants) in cases {
            let error = error(yaml);
            assert!(error.contains(wants), "{yaml}\n  gave   {error}\n  wanted {wants}");
        }
    }

    #[test]
    fn large_files_and_deep_nesting_are_refused_quickly() {
        assert!(error(&" ".repeat(300 << 10)).contains("expected at most"));
        error(&format!("monitor: {}", "[".repeat(3_000)));
    }
}
