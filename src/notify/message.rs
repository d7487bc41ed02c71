//! What is told: a record of the journal in words for a person, and with the numbers for a program.

use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;

use crate::config::notify::Occasion;
use crate::config::{Config, Mode};
use crate::journal::{Event, Record};
use crate::name::{LvRef, MountPoint, OperationId};
use crate::plan::{Code, Outcome, Plan, Step, Unusable};
use crate::units::Bytes;

/// One notification; docs/notification.schema.json. Templates see the same.
#[derive(Debug, Clone, Serialize)]
pub struct Message {
    /// Of this form.
    pub version: u32,
    /// The same for all attempts and receivers, so that what came twice can be told.
    pub id: String,
    /// What happened.
    pub event: Occasion,
    /// When.
    pub at: Timestamp,
    /// Where.
    pub host: String,
    /// The volume group, as far as a target is known.
    pub vg: Option<String>,
    /// The volume.
    pub lv: Option<String>,
    /// Where its file system is mounted.
    pub mount_point: Option<MountPoint>,
    /// The operation.
    pub operation: Option<OperationId>,
    /// The request, if it was written down.
    pub request: Option<u64>,
    /// In a line.
    pub title: String,
    /// In a sentence, with the numbers.
    pub sentence: String,
    /// Why it was done.
    pub reason: Option<String>,
    /// The code of a refusal.
    pub code: Option<Code>,
    /// `act`, `recommend` or `dry_run`.
    pub mode: Option<&'static str>,
    /// The size of the volume before, for people.
    pub before: Option<String>,
    /// And as planned.
    pub after: Option<String>,
    /// The same for programs.
    pub before_bytes: Option<Bytes>,
    /// The same for programs.
    pub after_bytes: Option<Bytes>,
    /// The commands that were run.
    pub commands: Vec<String>,
    /// What a person runs next.
    pub next: Vec<String>,
    /// The status page.
    pub link: Option<String>,
    /// By how much more the group would have to have free.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub needed_bytes: Option<Bytes>,
    /// Disks that the config lets supply it, and why each cannot.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub disks: Vec<Unusable>,
}

impl Message {
    /// As it is for a receiver that wants to be told of these.
    pub(super) fn told_of(self: &Arc<Message>, on: &[Occasion]) -> Option<Arc<Message>> {
        if on.contains(&self.event) {
            return Some(Arc::clone(self));
        }
        let as_refusal = self.event == Occasion::SupplyNeeded && on.contains(&Occasion::Refused);
        as_refusal.then(|| Arc::new(Message { event: Occasion::Refused, ..(**self).clone() }))
    }
}

/// What a record is worth telling, if it is.
pub(super) fn message(record: &Record<'_>, host: &str, config: &Config) -> Option<Message> {
    let blank = || blank(record, host, config);
    match &record.entry.event {
        Event::Planned { id, request, plan, dry_run, recommend } => {
            let (mode, verb) = match (recommend, dry_run) {
                (true, _) => (Mode::Recommend.as_str(), "should grow"),
                (false, true) => ("dry_run", "would grow"),
                (false, false) => (Mode::Act.as_str(), "is going to grow"),
            };
            let (before, after) = sizes(plan);
            Some(Message {
                request: *request,
                title: format!("{} {verb} from {before} to {after}", plan.lv),
                sentence: plan.reason.clone(),
                next: if *recommend { plan.steps.iter().filter_map(command).collect() } else { vec![] },
                ..about(blank(), *id, plan, Occasion::Planned, mode)
            })
        }
        Event::Refused { request, lv, refusal, .. } if !Code::EVERYDAY.contains(&refusal.code) => {
            let target = lv.as_ref().and_then(|lv| config.target(lv));
            let name = lv.as_ref().map_or_else(|| "what an alert names".to_owned(), LvRef::to_string);
            let lack = refusal.lack.as_deref();
            Some(Message {
                event: if lack.is_some() { Occasion::SupplyNeeded } else { Occasion::Refused },
                needed_bytes: lack.map(|lack| lack.bytes),
                disks: lack.map_or(vec![], |lack| lack.disks.clone()),
                vg: lv.as_ref().map(|lv| lv.vg.to_string()),
                lv: lv.as_ref().map(|lv| lv.lv.to_string()),
                mount_point: target.and_then(|target| target.mount_point()).cloned(),
                request: *request,
                title: match lack {
                    Some(lack) => format!("{name} is not grown: {} needs {} more", lack.vg, lack.bytes),
                    None => format!("{name} is not grown: {}", refusal.code),
                },
                sentence: refusal.sentence.clone(),
                code: Some(refusal.code),
                next: target.map(|target| format!("lvm-autoscaler plan {}", target.lv)).into_iter().collect(),
                ..blank()
            })
        }
        Event::Finished { id, outcome, account } => {
            let running = record.before.running.get(id).filter(|running| !running.dry_run)?;
            let plan = &running.plan;
            let (before, after) = sizes(plan);
            let (event, title, next) = match outcome {
                Outcome::Grown => (Occasion::Grown, format!("{} grew from {before} to {after}", plan.lv), vec![]),
                Outcome::Failed => {
                    let title = format!("{} could not be grown, nothing was changed", plan.lv);
                    (Occasion::Failed, title, after_failure(record, &plan.lv, config))
                }
                Outcome::NeedsAttention => {
                    let title = format!("{} needs attention: growing it stopped half-way", plan.lv);
                    (Occasion::NeedsAttention, title, account.commands.clone())
                }
                // What is recommended was told when it was planned.
                Outcome::DryRun | Outcome::Recommended => return None,
            };
            let ran = running.started.iter().filter_map(|step| plan.steps.get(*step)).filter_map(command).collect();
            let sentence = account.to_string();
            Some(Message { title, sentence, commands: ran, next, ..about(blank(), *id, plan, event, "act") })
        }
        Event::Overdue { id, step } => {
            let plan = &record.before.running.get(id)?.plan;
            let tool = plan.steps.get(*step)?.command()?.tool.as_str();
            let command = plan.steps.get(*step).and_then(command)?;
            let (lv, sentence) = (
                &plan.lv,
                format!(
                    "{command} takes longer than expected; it is left to run, and must not be killed: see what it waits for"
                ),
            );
            Some(Message {
                title: format!("a command that grows {lv} takes longer than expected"),
                sentence,
                next: vec![format!("ps -eo pid,stat,wchan:20,etime,args | grep {tool}"), "dmesg | tail".to_owned()],
                commands: vec![command],
                ..about(blank(), *id, plan, Occasion::Overdue, "act")
            })
        }
        _ => None,
    }
}

/// To try a receiver, or a template, with.
pub(super) fn samples(host: &str, link: Option<&str>, at: Timestamp) -> Vec<Message> {
    let sample = |event: Occasion| Message {
        version: 1,
        id: format!("0-{}", at.as_millisecond()),
        event,
        at,
        host: host.to_owned(),
        vg: Some("storage_vg".to_owned()),
        lv: Some("data_lv".to_owned()),
        mount_point: "/data".parse().ok(),
        operation: Some(OperationId(0)),
        request: Some(0),
        title: format!("a test of notifications, as for {}", event.as_str()),
        sentence: "nothing happened: somebody asked for a notification to see whether it arrives".to_owned(),
        reason: Some("/data is 84.1 % full, above 80.0 %".to_owned()),
        code: [Occasion::Refused, Occasion::SupplyNeeded].contains(&event).then_some(Code::InsufficientSpace),
        mode: Some("act"),
        before: Some("4 GiB".to_owned()),
        after: Some("6 GiB".to_owned()),
        before_bytes: Some(Bytes(4 << 30)),
        after_bytes: Some(Bytes(6 << 30)),
        commands: vec!["lvm lvextend -l 1536 -- storage_vg/data_lv".to_owned()],
        next: vec!["lvm-autoscaler plan storage_vg/data_lv".to_owned()],
        link: link.map(str::to_owned),
        needed_bytes: (event == Occasion::SupplyNeeded).then_some(Bytes(2 << 30)),
        disks: vec![],
    };
    Occasion::ALL.map(sample).to_vec()
}

fn blank(record: &Record<'_>, host: &str, config: &Config) -> Message {
    let at = record.entry.at.at;
    Message {
        version: 1,
        // The number alone begins anew with a new journal.
        id: format!("{}-{}", record.number, at.as_millisecond()),
        event: Occasion::Refused,
        at,
        host: host.to_owned(),
        vg: None,
        lv: None,
        mount_point: None,
        operation: None,
        request: None,
        title: String::new(),
        sentence: String::new(),
        reason: None,
        code: None,
        mode: None,
        before: None,
        after: None,
        before_bytes: None,
        after_bytes: None,
        commands: vec![],
        next: vec![],
        link: config.external_url.clone(),
        needed_bytes: None,
        disks: vec![],
    }
}

/// The same with what is known of an operation.
fn about(blank: Message, id: OperationId, plan: &Plan, event: Occasion, mode: &'static str) -> Message {
    let (before, after) = sizes(plan);
    Message {
        event,
        vg: Some(plan.lv.vg.to_string()),
        lv: Some(plan.lv.lv.to_string()),
        mount_point: plan.fs.as_ref().map(|fs| fs.mount_point.clone()),
        operation: Some(id),
        reason: Some(plan.reason.clone()),
        mode: Some(mode),
        before: Some(before.to_string()),
        after: Some(after.to_string()),
        before_bytes: Some(before),
        after_bytes: Some(after),
        ..blank
    }
}

fn sizes(plan: &Plan) -> (Bytes, Bytes) {
    (plan.before.bytes(plan.extent_size), plan.after.bytes(plan.extent_size))
}

fn command(step: &Step) -> Option<String> {
    step.command().map(|command| command.to_string())
}

/// Nothing was changed, so there is nothing to finish; but after so many in a row the target is closed.
fn after_failure(record: &Record<'_>, lv: &LvRef, config: &Config) -> Vec<String> {
    let failures = record.before.failures.get(lv).map_or(1, |failures| failures + 1);
    let opens = config.target(lv).is_some_and(|target| failures >= target.breaker_failures);
    let reset = opens.then(|| format!("lvm-autoscaler reset {lv}"));
    [Some(format!("lvm-autoscaler plan {lv}")), reset].into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::notify::VARIABLES;

    #[test]
    fn the_variables_of_templates_are_what_a_message_has() {
        let sample = samples("host", None, Timestamp::UNIX_EPOCH).into_iter().next().expect("a sample");
        let message = serde_json::to_value(sample).expect("JSON");
        let mut names: Vec<&str> = message.as_object().expect("an object").keys().map(String::as_str).collect();
        let mut known = VARIABLES;
        names.sort_unstable();
        known.sort_unstable();
        assert_eq!(names, known);
    }
}
