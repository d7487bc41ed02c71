//! What becomes of each alert of a payload at the door, and the answer that says so.
//!
//! Whether anything grows is not decided here: a verdict is about whether the alert names a target of this host, and
//! whether a look at it is written down to be made.

use std::collections::BTreeSet;

use serde::Serialize;

use super::Context;
use crate::alert::instance::OwnNames;
use crate::alert::{Alert, Payload, Sender, Status, target};
use crate::config::Config;
use crate::engine::{Accepted, Delivery, Request as Wish, SubmitError};
use crate::inventory::Inventory;
use crate::journal::{Event, Source};
use crate::name::LvRef;
use crate::plan::{Code, Refusal};

/// Refusals of one request that are written down and logged; the others are counted. More are not remembered anyway, and
/// a request can hold so many alerts that they would not fit into the journal.
const MOST_WRITTEN_DOWN: usize = 100;

const NO_ROOM: &str = "too many requests wait; what was accepted stays so, send this again";
const NOT_LOOKED: &str = "this host was not looked at yet, send this again";
const TRUNCATED: &str = "alerts are missing from the payload, so every target is looked at";

/// The answer.
#[derive(Debug, Serialize)]
pub(super) struct Verdicts {
    alerts: Vec<Verdict>,
    /// Targets that are looked at because alerts are missing from the payload.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    truncated: Vec<Verdict>,
}

/// What became of one alert, for the sender's log.
#[derive(Debug, Serialize)]
struct Verdict {
    fingerprint: String,
    target: Option<LvRef>,
    verdict: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<Code>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sentence: Option<String>,
}

/// What an alert means, before anything is accepted.
enum Meaning {
    /// It never starts or stops anything.
    Resolved,
    /// It is not for us, or says nothing about a volume.
    Ignored(String),
    /// It cannot be told before this host was looked at, and a refusal would be final.
    Unclear,
    /// It names this target.
    Target(LvRef),
    /// It names none, or another host's.
    Refused(Refusal),
}

impl Verdicts {
    /// Whether nothing of it needs to come again.
    pub(super) fn all_accepted(&self) -> bool {
        !self.alerts.iter().chain(&self.truncated).any(|verdict| verdict.verdict == "not_accepted")
    }
}

/// Finds the targets and hands them over. What was accepted is on disk.
pub(super) fn receive(
    context: &Context,
    sender: Sender,
    payload: Payload,
    digest: Option<[u8; 32]>,
) -> Result<Verdicts, SubmitError> {
    let config = context.config();
    let names = context.names(&config);
    let sample = context.latest.get();
    let clear = sample.taken || context.engine().is_none();
    let meaning = |alert| meaning(&payload, alert, &config, &names, &sample.inventory, clear);
    let meanings: Vec<Meaning> = payload.alerts.iter().map(meaning).collect();
    let unseen = unseen_targets(&payload, &meanings, &config, &names);
    let source = match sender {
        Sender::Alertmanager => Source::Alertmanager,
        Sender::Grafana => Source::Grafana,
    };
    let wish = |lv: &LvRef, fingerprint| Wish { lv: lv.clone(), source, fingerprint };
    let named = payload.alerts.iter().zip(&meanings).filter_map(|(alert, meaning)| match meaning {
        Meaning::Target(lv) => Some(wish(lv, shortened(&alert.fingerprint))),
        _ => None,
    });
    let requests = named.chain(unseen.iter().map(|lv| wish(lv, String::new()))).collect();
    let delivery = Delivery { requests, refusals: refusals(&meanings, source), digest };
    let accepted = match context.engine() {
        Some(engine) => engine.receive(delivery)?,
        None => vec![],
    };
    let mut accepted = accepted.into_iter();
    let mut verdicts = |(alert, meaning): (&Alert, Meaning)| Verdict::of(&alert.fingerprint, meaning, &mut accepted);
    let alerts: Vec<Verdict> = payload.alerts.iter().zip(meanings).map(&mut verdicts).collect();
    let truncated = unseen.into_iter().map(|lv| {
        let verdict = Verdict::of("", Meaning::Target(lv), &mut accepted);
        Verdict { sentence: verdict.sentence.or(Some(TRUNCATED.to_owned())), ..verdict }
    });
    let verdicts = Verdicts { truncated: truncated.collect(), alerts };
    verdicts.count(context);
    Ok(verdicts)
}

fn meaning(
    payload: &Payload,
    alert: &Alert,
    config: &Config,
    names: &OwnNames,
    inventory: &Inventory,
    clear: bool,
) -> Meaning {
    if alert.status == Status::Resolved {
        return Meaning::Resolved;
    }
    let labels = &alert.labels.0;
    if let Some(matcher) = config.webhook.matchers.iter().find(|matcher| !matcher.matches(labels)) {
        return Meaning::Ignored(format!("its labels do not match {}, see webhook.match", matcher.as_str()));
    }
    if let Some(why) = payload.says_nothing(alert) {
        return Meaning::Ignored(why.to_owned());
    }
    match target::resolve(labels, config, names, inventory) {
        Ok(lv) => Meaning::Target(lv),
        // `/dev/dm-3` or a second mount point says something only to who has seen the host.
        Err(refusal) if !clear && matches!(refusal.code, Code::UnknownTarget | Code::AmbiguousAlert) => {
            Meaning::Unclear
        }
        Err(refusal) => Meaning::Refused(refusal),
    }
}

/// The targets that no alert of the payload names although alerts are missing that could: all, unless the whole group is
/// about another host. The look at each says whether anything is to be done.
fn unseen_targets(payload: &Payload, meanings: &[Meaning], config: &Config, names: &OwnNames) -> Vec<LvRef> {
    let group_of = payload.group.0.get(&config.webhook.labels.instance);
    if payload.truncated() == 0 || group_of.is_some_and(|instance| !names.contains(instance)) {
        return vec![];
    }
    let named = |meaning: &Meaning| if let Meaning::Target(lv) = meaning { Some(lv.clone()) } else { None };
    let named: BTreeSet<LvRef> = meanings.iter().filter_map(named).collect();
    config.targets.iter().map(|target| &target.lv).filter(|lv| !named.contains(lv)).cloned().collect()
}

/// What is written down of refusals.
fn refusals(meanings: &[Meaning], source: Source) -> Vec<Event> {
    let mut refused = meanings.iter().filter_map(|meaning| match meaning {
        Meaning::Refused(refusal) => Some(refusal),
        _ => None,
    });
    let events = refused.by_ref().take(MOST_WRITTEN_DOWN).map(|refusal| {
        tracing::warn!(code = refusal.code.as_str(), "an alert was refused: {}", refusal.sentence);
        Event::Refused { request: None, lv: None, source, refusal: refusal.clone() }
    });
    let events = events.collect();
    let more = refused.count();
    if more > 0 {
        tracing::warn!(more, "alerts were refused that are only counted");
    }
    events
}

impl Verdict {
    fn of(fingerprint: &str, meaning: Meaning, accepted: &mut impl Iterator<Item = Accepted>) -> Verdict {
        let (target, verdict, code, sentence) = match meaning {
            Meaning::Resolved => (None, "resolved", None, None),
            Meaning::Ignored(why) => (None, "ignored", None, Some(why)),
            Meaning::Unclear => (None, "not_accepted", None, Some(NOT_LOOKED.to_owned())),
            Meaning::Refused(Refusal { code, sentence }) => (None, "refused", Some(code), Some(sentence)),
            Meaning::Target(lv) => match accepted.next() {
                Some(Accepted::Queued) => (Some(lv), "accepted", None, None),
                Some(Accepted::Coalesced) => (Some(lv), "coalesced", None, None),
                Some(Accepted::NoRoom) | None => (Some(lv), "not_accepted", None, Some(NO_ROOM.to_owned())),
            },
        };
        Verdict { fingerprint: shortened(fingerprint), target, verdict, code, sentence }
    }
}

impl Verdicts {
    fn count(&self, context: &Context) {
        for verdict in self.alerts.iter().chain(&self.truncated) {
            context.metrics.alert(verdict.verdict);
            if let (Some(lv), "accepted") = (&verdict.target, verdict.verdict) {
                tracing::info!(%lv, fingerprint = verdict.fingerprint, "an alert was accepted");
            }
            if let Some(code) = verdict.code {
                context.metrics.refused(None, code);
            }
        }
        let left = self.alerts.iter().chain(&self.truncated).filter(|verdict| verdict.verdict == "not_accepted");
        let left = left.count();
        if left > 0 {
            tracing::warn!(left, "alerts were not accepted, they must come again");
        }
    }
}

/// Alertmanager's are 16 characters; a longer one is somebody else's and is not written down whole.
fn shortened(fingerprint: &str) -> String {
    fingerprint.chars().take(32).collect()
}
