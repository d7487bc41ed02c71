//! One line of the audit log: a record of the journal in the words of docs/audit.schema.json.

use serde_json::{Map, Value, json};

use crate::journal::{Event, Record, Source, State};
use crate::name::{LvRef, OperationId};
use crate::plan::guard::Verdicts;
use crate::plan::{Plan, Refusal, Step};

/// The line, with its end.
pub(super) fn line(record: &Record<'_>, host: &str) -> String {
    let Value::Object(what) = what(record) else { return String::new() };
    let mut line = Map::new();
    line.insert("seq".to_owned(), json!(record.number));
    line.insert("at".to_owned(), json!(record.entry.at.at));
    line.insert("host".to_owned(), json!(host));
    // What is not known is left out.
    line.extend(what.into_iter().filter(|(_, value)| !value.is_null()));
    // People read it on terminals as well.
    crate::json(&line) + "\n"
}

/// Instead of records that the journal had overwritten before they could be read.
pub(super) fn gap(first: u64, last: u64, at: jiff::Timestamp, host: &str) -> String {
    format!("{}\n", json!({ "seq": last, "at": at, "host": host, "event": "gap", "first": first }))
}

fn what(record: &Record<'_>) -> Value {
    let before = record.before;
    match &record.entry.event {
        Event::Received { request, lv, source, fingerprint } => {
            let fingerprint = (!fingerprint.is_empty()).then_some(fingerprint);
            json!({
                "event": "request", "request": request, "vg": lv.vg, "lv": lv.lv, "source": source,
                "fingerprint": fingerprint,
            })
        }
        Event::Checked { request, lv, source, guards } => json!({
            "event": "check", "request": request, "vg": lv.vg, "lv": lv.lv, "source": source, "guards": verdicts(guards),
        }),
        Event::Refused { request, lv, source, refusal: Refusal { code, sentence, .. }, more } => json!({
            "event": "decision", "decision": "refused", "check": before.last_check, "request": request,
            "vg": lv.as_ref().map(|lv| &lv.vg), "lv": lv.as_ref().map(|lv| &lv.lv), "source": source,
            "code": code, "sentence": sentence, "more": (*more > 0).then_some(more),
        }),
        Event::Planned { id, request, plan, dry_run, recommend } => {
            planned(before, *id, *request, plan, *dry_run, *recommend)
        }
        Event::Started { id, step } => self::step(before, *id, *step, "started"),
        Event::Done { id, step } => {
            let ran = before.running.get(id).is_some_and(|running| running.started.contains(step));
            self::step(before, *id, *step, if ran { "done" } else { "already_done" })
        }
        Event::Overdue { id, step } => self::step(before, *id, *step, "overdue"),
        Event::Finished { id, outcome, account } => {
            let running = before.running.get(id);
            let lv = running.map(|running| &running.plan.lv);
            let took = running.map(|running| record.entry.at.at.duration_since(running.since).as_secs_f64());
            json!({
                "event": "result", "operation": id, "vg": lv.map(|lv| &lv.vg), "lv": lv.map(|lv| &lv.lv),
                "outcome": outcome, "sentence": account.to_string(),
                "next": (!account.commands.is_empty()).then_some(&account.commands),
                "seconds": took,
            })
        }
        Event::Cleared { lv } => control("cleared", Some(lv)),
        Event::Paused { lv } => control("paused", lv.as_ref()),
        Event::Resumed { lv } => control("resumed", lv.as_ref()),
        Event::Reset { lv } => control("reset", lv.as_ref()),
    }
}

fn verdicts(guards: &Verdicts) -> Vec<Value> {
    let refused =
        |refusal: &Refusal| json!({ "code": refusal.code, "verdict": "refuse", "sentence": refusal.sentence });
    let passed = guards.passed.iter().map(|code| (*code, json!({ "code": code, "verdict": "pass" })));
    let not_asked = guards.not_asked.iter().map(|code| (*code, json!({ "code": code, "verdict": "not_asked" })));
    let mut all: Vec<_> =
        passed.chain(not_asked).chain(guards.refused.iter().map(|no| (no.code, refused(no)))).collect();
    // In the order in which they are asked.
    all.sort_by_key(|(code, _)| *code);
    all.into_iter().map(|(_, value)| value).collect()
}

fn planned(
    before: &State,
    id: OperationId,
    request: Option<u64>,
    plan: &Plan,
    dry_run: bool,
    recommend: bool,
) -> Value {
    let pending = request.and_then(|request| before.pending.get(&request));
    let source = pending.map_or(Source::Monitor, |pending| pending.source);
    let steps: Vec<Value> = plan.steps.iter().map(named).collect();
    let mode = if recommend {
        "recommend"
    } else if dry_run {
        "dry_run"
    } else {
        "act"
    };
    json!({
        "event": "decision", "decision": "planned", "check": before.last_check, "request": request, "operation": id,
        "vg": plan.lv.vg, "lv": plan.lv.lv, "mount_point": plan.fs.as_ref().map(|fs| &fs.mount_point), "source": source,
        "mode": mode, "reason": plan.reason, "before_bytes": plan.before.bytes(plan.extent_size),
        "after_bytes": plan.after.bytes(plan.extent_size), "steps": steps,
    })
}

fn named(step: &Step) -> Value {
    match step.command() {
        Some(command) => json!({ "name": step.as_str(), "command": command.to_string() }),
        None => json!({ "name": step.as_str() }),
    }
}

fn step(before: &State, id: OperationId, number: usize, state: &str) -> Value {
    let plan = before.running.get(&id).map(|running| &running.plan);
    let step = plan.and_then(|plan| plan.steps.get(number));
    json!({
        "event": "step", "operation": id, "vg": plan.map(|plan| &plan.lv.vg), "lv": plan.map(|plan| &plan.lv.lv),
        "step": number, "name": step.map(Step::as_str), "state": state,
        "command": step.and_then(Step::command).map(|command| command.to_string()),
    })
}

fn control(action: &str, lv: Option<&LvRef>) -> Value {
    json!({ "event": "control", "action": action, "vg": lv.map(|lv| &lv.vg), "lv": lv.map(|lv| &lv.lv) })
}
