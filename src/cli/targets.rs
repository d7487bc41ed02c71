//! `targets`: what may grow on this host and why: where the config allows it, with which keys, and what would be done
//! now.

use std::io::Write as _;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use serde_json::json;

use super::daemon::compare_config;
use super::decision::{Decided, Decider, Names, config_here};
use super::exit::Exit;
use super::style::{Format, Mood, paint, print_json};
use crate::config::{Config, Target, What};
use crate::duration::Shown;
use crate::name::LvRef;
use crate::units::Amount;

/// Lines of keys are broken there.
const WIDTH: usize = 110;

#[derive(Debug, Args)]
#[command(after_help = "Example: lvm-autoscaler targets\n\n\
    `plan` shows every guard and the commands of a target; `init` proposes targets for this host.")]
pub(super) struct Targets {
    /// Config file.
    #[arg(long = "config.file", value_name = "FILE")]
    config_file: Option<PathBuf>,
    /// Show the targets on the simulated host described in this file.
    #[arg(long, value_name = "FILE")]
    simulate: Option<PathBuf>,
    /// Output format.
    #[arg(long, id = "output_format", value_name = "FORMAT", default_value = "text")]
    format: Format,
}

/// What an evaluation comes to.
struct Standing {
    /// `would grow`, `would recommend` or `would do nothing`.
    word: &'static str,
    mood: Mood,
    /// The code of the refusal, if it is one.
    code: Option<&'static str>,
    sentence: String,
}

impl Targets {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let config = config_here(self.config_file.as_deref(), self.simulate.as_deref())?;
        let mut out = std::io::stdout().lock();
        if config.grows_nothing() && self.format == Format::Text {
            writeln!(out, "there are no targets, nothing may grow: `lvm-autoscaler init` proposes some")?;
            return Ok(Exit::Done);
        }
        let decider = Decider::new(&config, self.simulate.as_deref())?;
        let names = Names::of(&decider)?;
        let mut documents = Vec::new();
        for target in &config.targets {
            let is_there = names.has(target);
            // One line says it of all that are not there, below.
            if !is_there && self.format == Format::Text {
                continue;
            }
            let decided = decider.about_usage(target, &names)?;
            let pool = decider.about_pool(&decided)?.filter(|pool| pool.evaluation.decision.is_ok());
            let verdict = verdict(&decided, pool.map(|pool| &pool.target.lv));
            let (keys, origin) = (keys(target), &target.origin);
            match self.format {
                Format::Text => {
                    let lv = match target.mount_point() {
                        Some(point) => format!("{} at {point}", target.lv),
                        None => format!("{}, a thin pool", target.lv),
                    };
                    writeln!(out, "{} ({})", crate::plain(&lv), target.mode.as_str())?;
                    if let Some(origin) = origin.shown() {
                        writeln!(out, "  from   {}", crate::plain(&origin))?;
                    }
                    let keys = keys.into_iter().map(|(key, value)| format!("{key}: {value}"));
                    writeln!(out, "  keys   {}", broken(keys).join("\n         "))?;
                    writeln!(out, "  group  {}", of_group(target, &config))?;
                    let word = paint(verdict.word, verdict.mood);
                    writeln!(out, "  now    {word}: {}\n", crate::plain(&verdict.sentence))?;
                }
                Format::Json => {
                    let keys: serde_json::Map<String, serde_json::Value> =
                        keys.into_iter().map(|(key, value)| (key.to_owned(), value.into())).collect();
                    documents.push(json!({
                        "vg": target.lv.vg, "lv": target.lv.lv, "mount_point": target.mount_point(),
                        "mode": target.mode, "policy": origin.policy, "file": origin.place.as_ref().map(|(file, _)| file),
                        "line": origin.place.as_ref().map(|(_, line)| line),
                        "is_on_this_host": is_there, "keys": keys, "group": of_group(target, &config),
                        "would": verdict.word.trim_start_matches("would ").trim_start_matches("do "), "code": verdict.code,
                        "sentence": verdict.sentence,
                    }));
                }
            }
        }
        if self.format == Format::Json {
            print_json(&mut out, &documents)?;
        }
        names.say(&config, self.format, &mut out)?;
        compare_config(&config)?;
        Ok(Exit::Done)
    }
}

fn verdict(decided: &Decided<'_>, pool: Option<&LvRef>) -> Standing {
    match &decided.evaluation.decision {
        Ok(plan) => {
            let word = if decided.is_recommended { "would recommend" } else { "would grow" };
            let (before, after) = (plan.before.bytes(plan.extent_size), plan.after.bytes(plan.extent_size));
            let sizes = if before == after {
                "the same size for the volume".to_owned()
            } else {
                format!("from {before} to {after}")
            };
            Standing { word, mood: Mood::Good, code: None, sentence: format!("{sizes}, because {}", plan.reason) }
        }
        Err(refusal) => {
            let more =
                pool.map_or(String::new(), |pool| format!("; {pool} would grow first, and then this is decided again"));
            let (code, sentence) = (Some(refusal.code.as_str()), format!("{refusal}{more}"));
            Standing { word: "would do nothing", mood: Mood::Held, code, sentence }
        }
    }
}

/// The keys that hold for a target, its own and those of the defaults, as they would be written in the config.
fn keys(target: &Target) -> Vec<(&'static str, String)> {
    let mut keys = Vec::new();
    match &target.what {
        What::FileSystem(fs) => {
            keys.push(("threshold_percent", target.threshold.value().to_string()));
            keys.push(("inode_threshold_percent", fs.inode_threshold.value().to_string()));
        }
        What::ThinPool { metadata_threshold } => {
            keys.push(("data_threshold_percent", target.threshold.value().to_string()));
            keys.push(("metadata_threshold_percent", metadata_threshold.value().to_string()));
        }
    }
    keys.push(("increment", target.increment.in_config()));
    let (min, max) = match target.increment {
        Amount::Size(_) => (target.min_increment, target.max_increment),
        Amount::Share(_) => (Some(target.increment_limits().0), Some(target.increment_limits().1)),
    };
    keys.extend(min.map(|min| ("min_increment", min.in_config())));
    keys.extend(max.map(|max| ("max_increment", max.in_config())));
    keys.push(("max_size", target.max_size.map_or("none".to_owned(), |max| max.in_config())));
    keys.push(("cooldown", Shown(target.cooldown).to_string()));
    let budget = target.budget;
    let bytes = budget.bytes.map_or(String::new(), |bytes| format!("bytes: {}, ", bytes.in_config()));
    keys.push(("budget", format!("{{ extensions: {}, {bytes}per: {} }}", budget.extensions, Shown(budget.per))));
    keys.push(("breaker_failures", target.breaker_failures.to_string()));
    keys.push(("window", target.window.as_ref().map_or("always".to_owned(), ToString::to_string)));
    keys.push(("mode", target.mode.as_str().to_owned()));
    if let What::FileSystem(fs) = &target.what {
        keys.push(("offline", word(&fs.offline)));
        keys.push(("filesystem_check", word(&fs.check)));
        keys.push(("allow_large_xfs_growth", fs.allow_large_xfs_growth.to_string()));
        keys.extend(fs.luks_key_file.as_ref().map(|file| ("luks_key_file", crate::plain(&file.display().to_string()))));
        keys.push(("max_overprovision", fs.pool.max_overprovision.to_string()));
        keys.push(("min_pool_free_data", fs.pool.min_free_data.in_config()));
        keys.push(("min_pool_free_metadata", fs.pool.min_free_metadata.in_config()));
    }
    keys
}

/// A word of the config.
fn word(value: &impl Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

/// What holds for all targets of its group.
fn of_group(target: &Target, config: &Config) -> String {
    let vg = &target.lv.vg;
    let settings = config.volume_group(vg);
    let reserve = settings.map_or(config.default_reserve, |settings| settings.reserve).in_config();
    let budget = settings.and_then(|settings| settings.budget);
    let budget = budget.map_or(String::new(), |budget| format!(", at most {budget}"));
    format!("{vg}, reserve: {}{budget}", if reserve == "0B" { "0" } else { &reserve })
}

/// Parts of a list in lines.
fn broken(parts: impl Iterator<Item = String>) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for part in parts {
        match lines.last_mut() {
            Some(line) if line.len() + part.len() < WIDTH => line.push_str(&format!(", {part}")),
            Some(line) => {
                line.push(',');
                lines.push(part);
            }
            None => lines.push(part),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::reference::sections;
    use std::collections::BTreeSet;
    use std::path::Path;

    #[test]
    fn all_keys_of_targets_are_shown() {
        let yaml = "monitor: { targets: [{ lv_path: vg/a, mount_point: /a, luks_key_file: /k }, { thin_pool: vg/p }] }";
        let config = crate::config::parse(yaml, Path::new("c.yaml")).expect("valid");
        let shown = config.targets.iter().flat_map(keys).map(|(key, _)| key.to_owned());
        let named = ["lv_path", "mount_point", "thin_pool", "increment_gb"].map(str::to_owned);
        let keys = sections()
            .into_iter()
            .flat_map(|section| section.keys)
            .filter_map(|key| Some(key.path.strip_prefix("monitor.targets[].")?.split('.').next()?.to_owned()));
        let (shown, keys) = (shown.chain(named).collect::<BTreeSet<_>>(), keys.collect::<BTreeSet<_>>());
        assert_eq!(shown, keys);
    }

    #[test]
    fn keys_can_be_pasted_into_a_config() {
        let yaml = "monitor: { targets: [{ lv_path: vg/a, mount_point: /a, max_size: 1536MiB, increment: 12.5% }] }";
        let config = crate::config::parse(yaml, Path::new("c.yaml")).expect("valid");
        let is_value = |(_, value): &(&str, String)| !["none", "always"].contains(&value.as_str());
        let pasted: Vec<String> = keys(&config.targets[0])
            .iter()
            .filter(|key| is_value(key))
            .map(|(key, value)| format!("{key}: {value}"))
            .collect();
        let yaml = format!("monitor: {{ targets: [{{ lv_path: vg/a, mount_point: /a, {} }}] }}", pasted.join(", "));
        let again = crate::config::parse(&yaml, Path::new("c.yaml")).expect("valid");
        let effective = |target: &Target| (target.step(crate::units::Bytes(1 << 40)), keys(target));
        assert_eq!(effective(&again.targets[0]), effective(&config.targets[0]));
    }
}
