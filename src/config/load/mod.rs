//! File -> [`Config`]: reads, checks what one value alone cannot show, and says where it is wrong.

mod credentials;
mod notify;
mod policy;
mod target;
mod webhook;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::check::{at_least_a_second, check_absolute};
use super::file::{self, ConfigError, Form, Wrong, twice, wrong};
use super::limits::{Budget, GrownDisks, MOST_EXTENSIONS, Partitions};
use super::locate::PathPart;
use super::places::Places;
use super::reference::sections;
use super::tools::Tools;
use super::tree::{Problem, Tree};
use super::{Config, ReportSettings, Target, ToolPaths, VolumeGroup, beside, raw};
use crate::files::Trust;
use crate::name::PvUuid;
use policy::policies;
use target::{For, budget, check_defaults, target};

/// Reports are about days; one each minute is for who tries it out.
const SHORTEST_REPORT: Duration = Duration::from_secs(60);

/// A file of a config, as it was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Text {
    /// Its name, for errors.
    pub file: PathBuf,
    /// What it holds.
    pub text: String,
}

const FORM: Form = Form { has_extensions: true, known: Some(known) };

fn known() -> Vec<String> {
    sections().into_iter().flat_map(|section| section.keys).map(|key| key.path.into_owned()).collect()
}

/// Reads and checks a file, and those of the folder beside it (`config.d/*.yaml`).
pub fn load(file: &Path, trust: Trust) -> Result<Config, ConfigError> {
    load_with_places(file, trust).map(|(config, _)| config)
}

/// The same, with the places of what it says.
pub fn load_with_places(file: &Path, trust: Trust) -> Result<(Config, Places), ConfigError> {
    read_texts(&texts(file, trust)?, trust)
}

/// The text of a file, and of those of the folder beside it.
pub fn texts(file: &Path, trust: Trust) -> Result<Vec<Text>, ConfigError> {
    let all = std::iter::once(file.to_owned()).chain(file::beside(file)?);
    all.map(|file| Ok(Text { text: file::text(&file, trust)?, file })).collect()
}

/// Checks these texts, of which the first is the config file and the others those beside it.
pub fn read_texts(texts: &[Text], trust: Trust) -> Result<(Config, Places), ConfigError> {
    let mut parts = texts.iter().map(|Text { file, text }| file::tree(text, file, FORM));
    // Without any file it is as if there were an empty one.
    let (mut tree, mut problems) = parts.next().unwrap_or_else(|| file::tree("", Path::new(""), FORM))?;
    for part in parts {
        let (other, found) = part?;
        problems.extend(found);
        tree.append(other, &mut problems);
    }
    checked(tree, problems, trust)
}

/// The same for standard input; `file` only names it in errors.
pub fn load_from(input: impl Read, file: &Path, trust: Trust) -> Result<(Config, Places), ConfigError> {
    let (tree, problems) = file::tree(&file::bounded(input, 0, file)?, file, FORM)?;
    checked(tree, problems, trust)
}

fn checked(tree: Tree, problems: Vec<Problem>, trust: Trust) -> Result<(Config, Places), ConfigError> {
    let (mut config, tree) = file::check(tree, problems, FORM, validate)?;
    let places = Places(tree);
    for (target, place) in config.targets.iter_mut().zip(places.of_targets()) {
        target.origin.place = place;
    }
    for (policy, place) in config.policies.iter_mut().zip(places.of_policies()) {
        policy.keys.origin.place = place;
    }
    Ok((Config { trust, ..config }, places))
}

/// Checks a text; `file` only names it in errors.
pub fn parse(yaml: &str, file: &Path) -> Result<Config, ConfigError> {
    file::read_yaml(yaml, file, FORM, validate)
}

fn validate(mut file: raw::File) -> Result<Config, Wrong> {
    let unset = Config::default();
    let credentials = credentials::validate(&mut file.webhook)?;
    check_defaults(&file.defaults.target)?;
    let mut targets: Vec<Target> = Vec::new();
    for (index, raw) in file.monitor.targets.into_iter().enumerate() {
        let at = vec![PathPart::Key("monitor"), PathPart::Key("targets"), PathPart::Item(index)];
        let target = target(raw, &file.defaults.target, &at, &For::One)?;
        let of = |index, key| {
            vec![PathPart::Key("monitor"), PathPart::Key("targets"), PathPart::Item(index), PathPart::Key(key)]
        };
        let key = |target: &Target| if target.file_system().is_some() { "lv_path" } else { "thin_pool" };
        if let Some(first) = targets.iter().position(|other| other.lv == target.lv) {
            let (at, first) = (of(index, key(&target)), of(first, key(&targets[first])));
            return twice(at, first, format!("{} is named twice", target.lv));
        }
        if let Some(point) = target.mount_point()
            && let Some(first) = targets.iter().position(|other| other.mount_point() == Some(point))
        {
            let (at, first) = (of(index, "mount_point"), of(first, "mount_point"));
            return twice(at, first, format!("{point} is named twice"));
        }
        targets.push(target);
    }
    let default_reserve = file.defaults.reserve.unwrap_or(unset.default_reserve);
    let mut volume_groups: Vec<VolumeGroup> = Vec::new();
    for (index, raw) in file.volume_groups.into_iter().enumerate() {
        let at = |key| [PathPart::Key("volume_groups"), PathPart::Item(index), PathPart::Key(key)];
        if let Some(first) = volume_groups.iter().position(|other| other.name == raw.name) {
            let first = vec![PathPart::Key("volume_groups"), PathPart::Item(first), PathPart::Key("name")];
            return twice(at("name").to_vec(), first, format!("{} is named twice", raw.name));
        }
        let reserve = raw.reserve.unwrap_or(default_reserve);
        let unset = Budget { extensions: MOST_EXTENSIONS, bytes: None, ..Budget::TARGET };
        let place = |key: &'static str| {
            let group = [PathPart::Key("volume_groups"), PathPart::Item(index)];
            group.into_iter().chain(key.split('.').map(PathPart::Key)).collect()
        };
        let budget = raw.budget.map(|own| budget(own, unset, place)).transpose()?;
        let raw::VolumeGroup { grown_disks, partitions, rescan, spares, .. } = raw;
        let is_others = |spare: &PvUuid| volume_groups.iter().any(|other| other.spares.contains(spare));
        let mut numbered = spares.iter().enumerate();
        if let Some((n, spare)) = numbered.find(|(n, spare)| spares[..*n].contains(spare) || is_others(spare)) {
            let at =
                [PathPart::Key("volume_groups"), PathPart::Item(index), PathPart::Key("spares"), PathPart::Item(n)];
            return wrong(at, format!("{spare} is named twice"));
        }
        if !spares.is_empty() && raw.name.one().is_none() {
            let message =
                format!("are disks for one group, and {} may be several: give the group an entry of its own", raw.name);
            return wrong(at("spares"), message);
        }
        if partitions == Partitions::Growpart && grown_disks == GrownDisks::Off {
            return wrong(
                at("partitions"),
                "has no effect while grown_disks is off: set grown_disks to resize or recommend",
            );
        }
        volume_groups.push(VolumeGroup { name: raw.name, reserve, budget, grown_disks, partitions, rescan, spares });
    }
    let state_directory = file.state.directory.unwrap_or(unset.state_directory);
    check_absolute(&state_directory, &[PathPart::Key("state"), PathPart::Key("directory")])?;
    let at = |key| [PathPart::Key("inventory"), PathPart::Key(key)];
    Ok(Config {
        interval: file.monitor.interval_seconds,
        targets,
        policies: policies(file.policies, &file.defaults.target)?,
        volume_groups,
        default_reserve,
        credentials,
        webhook: webhook::validate(&file.webhook)?,
        instances: instances(file.webhook.instances)?,
        external_url: notify::external_url(file.external_url)?,
        receivers: notify::receivers(file.notify)?,
        audit: notify::audit(file.audit)?,
        witness: beside(&state_directory, "witness"),
        state_directory,
        backups_kept: file.backup.keep.unwrap_or(unset.backups_kept),
        report: reports(file.report, unset.report)?,
        inventory_interval: at_least_a_second(file.inventory.interval, unset.inventory_interval, &at("interval"))?,
        inventory_timeout: at_least_a_second(file.inventory.timeout, unset.inventory_timeout, &at("timeout"))?,
        tools: tools(file.tools)?,
        time_zone: unset.time_zone,
        trust: unset.trust,
    })
}

/// Names that name nobody would make every alert another host's, which is answered 2xx.
fn instances(given: Option<Vec<String>>) -> Result<Option<Vec<String>>, Wrong> {
    let at = vec![PathPart::Key("webhook"), PathPart::Key("instances")];
    let names = given.as_deref().unwrap_or_default();
    if given.is_some() && names.is_empty() {
        return wrong(
            at,
            "is empty, every alert would be another host's: expected the names of this one, or no such key",
        );
    }
    match names.iter().position(|name| name.trim().is_empty() || name.starts_with(':')) {
        Some(index) => {
            let message = format!("{:?} is no name, expected one such as db1.example.com", names[index]);
            wrong([at, vec![PathPart::Item(index)]].concat(), message)
        }
        None => Ok(given),
    }
}

fn reports(raw: raw::Report, unset: ReportSettings) -> Result<ReportSettings, Wrong> {
    let at = |key| [PathPart::Key("report"), PathPart::Key(key)];
    if raw.interval.is_some_and(|interval| interval < SHORTEST_REPORT) {
        return wrong(at("interval"), "is too short, expected at least 1m");
    }
    if let Some(directory) = &raw.directory {
        check_absolute(directory, &at("directory"))?;
    }
    let formats = raw.formats.unwrap_or(unset.formats);
    if formats.is_empty() {
        return wrong(at("formats"), "is empty, expected some of html, markdown and json");
    }
    let keep = raw.keep.unwrap_or(unset.keep);
    Ok(ReportSettings { interval: raw.interval, directory: raw.directory, formats, keep })
}

fn tools(Tools(paths): Tools) -> Result<ToolPaths, Wrong> {
    for (tool, path) in &paths {
        check_absolute(path, &[PathPart::Key("tools"), PathPart::Key(tool.as_str())])?;
    }
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Mode, What};
    use crate::units::{Amount, Bytes, GIB, Percent};

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
        assert_eq!(target.mount_point().map(|point| point.as_str()), Some("/data"));
        assert_eq!(target.threshold.value(), 80.0);
        assert_eq!(target.increment, Amount::Size(Bytes(2 * GIB)));
        assert_eq!(target.max_size, None);
        assert_eq!((target.budget, target.breaker_failures), (Budget::TARGET, 3));
        assert_eq!((target.window.clone(), target.mode), (None, Mode::Act));
    }

    #[test]
    fn a_step_of_the_defaults_keeps_to_the_limits_of_the_target() {
        let yaml = |defaults: &str, own: &str| {
            format!(
                "defaults: {{ {defaults} }}\nmonitor: {{ targets: [{{ lv_path: a/b, mount_point: /b, {own} }}] }}\n"
            )
        };
        for (defaults, own, key) in [
            ("increment: 50GiB", "max_increment: 10GiB", "max_increment"),
            ("increment_gb: 50", "max_increment: 10GiB", "max_increment"),
            ("increment: 1GiB", "min_increment: 2GiB", "min_increment"),
        ] {
            let error = error(&yaml(defaults, own));
            assert!(error.contains(&format!("monitor.targets[0].{key}: ")), "{error}");
        }
        let fits = yaml("increment: 50GiB", "max_increment: 10GiB, increment: 5GiB");
        assert_eq!(parse(&fits, Path::new("c.yaml")).expect("valid").targets[0].step(Bytes(GIB)), Bytes(5 * GIB));
    }

    #[test]
    fn what_is_wrong_in_the_defaults_is_reported_where_it_stands() {
        let target = "monitor: { targets: [{ lv_path: a/b, mount_point: /b, budget: { extensions: 3 } }] }";
        for (defaults, place) in [
            ("budget: { per: 90days }", "c.yaml:2:28: defaults.budget.per: is not between 1s and 31d"),
            ("budget: { bytes: 0GiB }", "c.yaml:2:30: defaults.budget.bytes: is 0, expected more"),
            ("window: { from: \"08:00\", to: \"08:00\" }", "c.yaml:2:42: defaults.window.to: is the same as `from`"),
        ] {
            let error = error(&format!("{target}\ndefaults: {{ {defaults} }}\n"));
            assert!(error.starts_with(place), "{error}");
        }
    }

    #[test]
    fn what_a_target_leaves_open_comes_from_the_defaults() {
        let yaml = "
defaults: { budget: { extensions: 2, per: 1h }, mode: recommend, window: { from: \"22:00\", to: \"04:00\" }, increment: 300GiB }
monitor:
  targets:
    - { lv_path: /dev/a/b, mount_point: /b, budget: { extensions: 9 }, mode: act }
    - { thin_pool: a/p, metadata_threshold_percent: 50, increment: 20%, window: { days: [sat, sun], from: \"08:00\", to: \"20:00\" } }
volume_groups: [{ name: a, budget: { extensions: 12, per: 24h } }]
";
        let config = parse(yaml, Path::new("c.yaml")).expect("valid");
        let [fs, pool] = config.targets.as_slice() else { panic!("two targets") };
        assert_eq!(fs.budget, Budget { extensions: 9, bytes: Some(Bytes(300 * GIB)), per: Duration::from_secs(3600) });
        assert_eq!((fs.mode, pool.mode), (Mode::Act, Mode::Recommend));
        assert_eq!(fs.window.as_ref().map(ToString::to_string).as_deref(), Some("every day from 22:00 to 04:00"));
        assert_eq!(pool.window.as_ref().map(ToString::to_string).as_deref(), Some("sat, sun from 08:00 to 20:00"));
        assert_eq!(pool.what, What::ThinPool { metadata_threshold: Percent::of(50, 100) });
        assert_eq!(
            config.volume_groups[0].budget.map(|budget| budget.to_string()).as_deref(),
            Some("12 extensions in 1d")
        );
    }

    #[test]
    fn the_reserve_of_a_group_is_its_own_or_that_of_a_pattern_or_the_default() {
        let yaml = "
defaults: { reserve: 10%, cooldown: 1h }
volume_groups:
  - { name: data*, reserve: 20GiB }
  - { name: data_own, reserve: 0 }
  - { name: d*, reserve: 30GiB }
  - { name: budgeted, budget: { extensions: 3 } }
monitor: { targets: [{ lv_path: a/b, mount_point: /b }] }
";
        let config = parse(yaml, Path::new("c.yaml")).expect("valid");
        let reserve = |name: &str| config.reserve(&name.parse().expect("a name"), Bytes(100 * GIB)).0 / GIB;
        for (name, gib) in [("data_1", 20), ("data_own", 0), ("disk", 30), ("other", 10), ("budgeted", 10)] {
            assert_eq!(reserve(name), gib, "{name}");
        }
        assert_eq!(config.targets[0].cooldown, Duration::from_secs(3600));
        for (yaml, wants) in [
            ("defaults: { reserve: 10 }", "c.yaml:1:22: defaults.reserve: 10 has no unit, expected a size"),
            ("defaults: { reserv: 10% }", "c.yaml:1:13: defaults.reserv: unknown key"),
            (
                "monitor: { targets: [{ reserve: 1GiB, lv_path: a/b, mount_point: /b }] }",
                "targets[0].reserve: unknown key",
            ),
            ("volume_groups: [{ name: 'a/*' }]", "volume_groups[0].name: \"a/*\" is not a pattern for names of groups"),
        ] {
            let error = error(yaml);
            assert!(error.contains(wants), "{error}");
        }
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
            ("monitr: {}", "c.yaml:1:1: monitr: unknown key, did you mean `monitor`?"),
            (
                "monitor:\n  interval_seconds: 0",
                "c.yaml:2:21: monitor.interval_seconds: 0 is not a whole number of seconds",
            ),
            (
                "monitor:\n  interval_seconds: 60s",
                "c.yaml:2:21: monitor.interval_seconds: \"60s\" has a unit, and this key takes seconds: write 60",
            ),
            (
                &format!("{target}threshold_percent: 180"),
                "c.yaml:5:26: monitor.targets[0].threshold_percent: 180 is not a percentage from 1 to below 100",
            ),
            (
                &format!("{target}threshold_percent: eighty"),
                "c.yaml:5:26: monitor.targets[0].threshold_percent: \"eighty\" is not a percentage",
            ),
            (
                &format!("{target}threshold_percent: [80]"),
                "c.yaml:5:26: monitor.targets[0].threshold_percent: is a list, expected a percentage from 1",
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
            (
                &format!("{target}cooldown: soon"),
                "c.yaml:5:17: monitor.targets[0].cooldown: \"soon\" is not a length of time",
            ),
            (
                &format!("{target}cooldown: 5m\n      cooldown: 6m"),
                "c.yaml:6:7: monitor.targets[0].cooldown: duplicate key, it is already on line 5",
            ),
            (
                &format!("{target}min_increment: 9GiB\n      max_increment: 3GiB"),
                "c.yaml:5:22: monitor.targets[0].min_increment: 9 GiB is more than max_increment, 3 GiB",
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
                &format!("{target}mode: auto"),
                "c.yaml:5:13: monitor.targets[0].mode: \"auto\" is unknown, expected `act`, `recommend` or `off`",
            ),
            (
                &format!("{target}budget: {{ extensions: 0 }}"),
                "c.yaml:5:29: monitor.targets[0].budget.extensions: 0 is not a whole number from 1 to 100",
            ),
            (
                &format!("{target}budget: {{ per: 90days }}"),
                "c.yaml:5:22: monitor.targets[0].budget.per: is not between",
            ),
            (
                &format!("{target}breaker_failures: 1.5"),
                "monitor.targets[0].breaker_failures: 1.5 is not a whole number",
            ),
            (
                &format!("{target}window: {{ from: \"8\", to: \"20:00\" }}"),
                "monitor.targets[0].window.from: \"8\" is not a time such as \"08:00\", in quotes",
            ),
            (
                &format!("{target}window: {{ days: [monday], from: \"08:00\", to: \"20:00\" }}"),
                "\"monday\" is not a day, write mon",
            ),
            (
                &format!("{target}window: {{ from: \"08:00\", to: \"08:00\" }}"),
                "c.yaml:5:36: monitor.targets[0].window.to: is the same as `from`",
            ),
            (&format!("{target}max_overprovision: 0.5"), "max_overprovision: 0.5 is not a number from 1 to 1000"),
            (
                &format!("{target}min_pool_free_data: 100%"),
                "min_pool_free_data: 100 is not a percentage from 0% to 99%",
            ),
            (
                &format!("{target}data_threshold_percent: 80"),
                "c.yaml:5:31: monitor.targets[0].data_threshold_percent: is for thin pools, this target is none",
            ),
            (
                "monitor:\n  targets:\n    - { thin_pool: a/p, mount_point: /b }",
                "c.yaml:3:38: monitor.targets[0].mount_point: is for file systems, this target is none",
            ),
            (
                "monitor:\n  targets:\n    - { thin_pool: a/p }\n    - { thin_pool: a/p }",
                "c.yaml:4:20: monitor.targets[1].thin_pool: a/p is named twice",
            ),
            (
                "webhook: { authorization: s3cr3t }",
                "c.yaml:1:27: webhook.authorization: is text, expected a mapping; secrets stand in files",
            ),
            (
                "webhook: { authorization: { credentials: s3cr3t } }",
                "webhook.authorization.credentials: unknown key, did you mean `credentials_file`?",
            ),
            (
                "webhook: { authorization: { type: Basic, credentials_file: /t } }",
                "c.yaml:1:35: webhook.authorization.type: is basic, which webhook.basic_auth is for",
            ),
            (
                "webhook: { authorization: { credentials_file: t } }",
                "c.yaml:1:47: webhook.authorization.credentials_file: \"t\" is not absolute",
            ),
            ("webhook: { authorization: {} }", "webhook.authorization: credentials_file is missing"),
            (
                "webhook: { authorization: { credentials_file: /t }, basic_auth: { username: a, password_file: /p } }",
                "c.yaml:1:65: webhook.basic_auth: authorization is given too, and a request has one",
            ),
            ("webhook: { basic_auth: { username: 'a:b', password_file: /p } }", "username is missing or holds a colon"),
            ("webhook: { basic_auth: { username: a } }", "webhook.basic_auth: password_file is missing"),
            (
                "webhook: { client_certificate: { allowed_sans: [] } }",
                "c.yaml:1:32: webhook.client_certificate: allowed_sans is missing",
            ),
            (
                "volume_groups:\n  - { name: a, budget: { per: 0s } }",
                "c.yaml:2:31: volume_groups[0].budget.per: is not between",
            ),
            ("defaults:\n  thin_pool: a/p", "c.yaml:2:14: defaults.thin_pool: names a target"),
            (
                &format!("{target}threshold_percent: 80\n    - lv_path: a/b\n      mount_point: /c"),
                "c.yaml:6:16: monitor.targets[1].lv_path: a/b is named twice",
            ),
            ("defaults:\n  mount_point: /x", "c.yaml:2:16: defaults.mount_point: names a target"),
            ("volume_groups:\n  - name: a b", "c.yaml:2:11: volume_groups[0].name: \"a b\" is not a valid LVM name"),
            (
                "webhook:\n  match:\n    - severity=\"x\"\n    - team=~\"(\"\n",
                "c.yaml:4:7: webhook.match[1]: \"team=~\\\"(\\\"\": \"(\" is not a regular expression: unclosed group",
            ),
            (
                "webhook: { instances: [] }",
                "c.yaml:1:23: webhook.instances: is empty, every alert would be another host's",
            ),
            ("webhook: { instances: [db1, \"\"] }", "c.yaml:1:29: webhook.instances[1]: \"\" is no name"),
            ("webhook: { instances: [\":9100\"] }", "webhook.instances[0]: \":9100\" is no name"),
            ("webhook: { queue: 0 }", "c.yaml:1:19: webhook.queue: 0 is not a whole number from 1 to 10000"),
            ("webhook: { labels: { vg: lv } }", "webhook.labels.lv: is \"lv\" like that of vg"),
            (
                "webhook: { labels: { vg: \"\" } }",
                "c.yaml:1:26: webhook.labels.vg: is empty, expected the name of a label",
            ),
            ("webhook: { grafana_hmac_timestamp_header: X-T }", "needs grafana_hmac_secret_file"),
            ("webhook: { grafana_hmac_secret_file: key }", "grafana_hmac_secret_file: \"key\" is not absolute"),
            ("state: { directory: state }", "c.yaml:1:21: state.directory: \"state\" is not absolute"),
            ("report: { interval: 5s }", "c.yaml:1:21: report.interval: is too short, expected at least 1m"),
            ("report: { directory: here }", "c.yaml:1:22: report.directory: \"here\" is not absolute"),
            ("report: { formats: [] }", "c.yaml:1:20: report.formats: is empty, expected some of"),
            ("report: { formats: [pdf] }", "\"pdf\" is unknown, expected `html`, `markdown` or `json`"),
            ("report: { keep: 0 }", "c.yaml:1:17: report.keep: 0 is not a whole number from 1 to 100"),
            ("tools: { lvm: lvm }", "c.yaml:1:15: tools.lvm: \"lvm\" is not absolute, expected a path from /"),
            ("tools: { vgs: /vgs }", "c.yaml:1:10: tools.vgs: unknown key, expected `lvm`, `blkid`, `resize2fs`"),
            ("tools: { rmdir: /a, rmdir: /b }", "tools.rmdir: duplicate key"),
            ("tools: /usr/sbin", "tools: is text, expected a mapping of programs to paths"),
            ("monitor: [", "c.yaml:"),
            ("a: 1\n---\nb: 2", "c.yaml:"),
        ];
        for (yaml, wants) in cases {
            let error = error(yaml);
            assert!(error.contains(wants), "{yaml}\n  gave   {error}\n  wanted {wants}");
            assert!(!error.contains("s3cr3t"), "{error}");
        }
    }

    #[test]
    fn large_files_and_deep_nesting_are_refused_quickly() {
        assert!(error(&" ".repeat(300 << 10)).contains("expected at most"));
        error(&format!("monitor: {}", "[".repeat(3_000)));
    }
}
