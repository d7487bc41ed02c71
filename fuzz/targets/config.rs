//! The config file: what loads holds together and keeps its own limits, and what does not says where, on one line.

use std::time::Duration;

use lvm_autoscaler::config::{self, Config, ConfigError, LONGEST_BUDGET, MOST_EXTENSIONS, Target};
use lvm_autoscaler::units::{Amount, Bytes, GIB, MIB, TIB};

pub fn run(data: &[u8]) {
    let yaml = String::from_utf8_lossy(data);
    match config::parse(&yaml, "c.yaml".as_ref()) {
        Ok(config) => check(&config),
        Err(error) => check_error(&error, &yaml),
    }
}

pub(crate) fn check_error(error: &ConfigError, yaml: &str) {
    error.to_string().lines().for_each(super::assert_plain);
    let ConfigError::Invalid(problems) = error else { return };
    // YAML counts the end of the text as a line, and knows more line breaks than the newline.
    let lines = yaml.split(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}']).count() + 1;
    for problem in problems {
        let Some((line, column)) = problem.place else { continue };
        assert!((1..=lines).contains(&line) && column >= 1, "{problem} is at no place of {lines} lines");
    }
    assert!(!problems.is_empty(), "nothing is wrong, and it is an error");
}

fn check(config: &Config) {
    for (index, target) in config.targets.iter().enumerate() {
        check_target(target);
        assert_eq!(config.target(&target.lv), Some(target), "another target has its volume");
        let earlier = &config.targets[..index];
        assert!(
            target.mount_point().is_none() || earlier.iter().all(|other| other.mount_point() != target.mount_point())
        );
    }
    for group in &config.volume_groups {
        let Some(name) = group.name.one() else { continue };
        assert_eq!(config.volume_group(name), Some(group), "another one has its name");
    }
    for (index, (_, name)) in config.webhook.labels.all().iter().enumerate() {
        assert!(config.webhook.labels.all()[..index].iter().all(|(_, other)| other != name));
    }
    assert!(config.webhook.queue > 0);
    let second = Duration::from_secs(1);
    assert!(config.inventory_interval >= second && config.inventory_timeout >= second);
    assert!(config.report.interval.is_none_or(|interval| interval >= 60 * second) && !config.report.formats.is_empty());
    assert!(config.state_directory.is_absolute() && config.report_directory().is_absolute());
    serde_json::to_string(config).expect("the API can show it");
}

fn check_target(target: &Target) {
    let zero = Bytes::ZERO;
    assert!(target.max_size.is_none_or(|size| size > zero));
    for volume in [Bytes(MIB), Bytes(10 * GIB), Bytes(64 * TIB), Bytes(8 << 60)] {
        let (step, least) = (target.step(volume), target.least_step(volume));
        assert!(zero < step && zero < least && least <= step, "{step} and at least {least} for {volume}");
        assert!(target.min_increment.is_none_or(|min| step >= min), "{step} is less than min_increment");
        assert!(target.max_increment.is_none_or(|max| step <= max), "{step} is more than max_increment");
    }
    if let Amount::Share(share) = target.increment {
        assert!(share.value() > 0.0);
    }
    let budget = &target.budget;
    assert!(
        budget.extensions <= MOST_EXTENSIONS && budget.per <= LONGEST_BUDGET && budget.per >= Duration::from_secs(1)
    );
    assert!(budget.bytes != Some(zero));
    assert!(target.window.as_ref().is_none_or(|window| window.from != window.to));
}
