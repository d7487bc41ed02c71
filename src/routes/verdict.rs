//! What becomes of each alert of a payload at the door, and the answer that says so.
//!
//! Whether anything grows is not decided here: a verdict is about whether the alert names a target of this host, and
//! whether a look at it is written down to be made.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::context::Context;
use crate::alert::instance::OwnNames;
use crate::alert::{Alert, Payload, Sender, Status, target};
use crate::config::Config;
use crate::engine::{Accepted, Delivery, Request, SubmitError};
use crate::inventory::Inventory;
use crate::journal::{Event, Source};
use crate::metrics::edge::Limit;
use crate::metrics::words::AlertVerdict;
use crate::name::LvRef;
use crate::plan::{Code, Refusal};

/// Refusals of one request that are written down and logged; the others are counted. More are not remembered anyway,
/// and a request can hold so many alerts that they would not fit into the journal.
const MOST_WRITTEN_DOWN: usize = 100;

/// Alerts of which an answer says what became of each; the others are counted. A group of a thousand is a megabyte.
const MOST_ANSWERED: usize = 1024;
/// Sentences of one answer about alerts that were not accepted; the others of the answer have only their code. An
/// answer that nobody reads is kept for a while, and the first hundred say what there is to say.
const MOST_SENTENCES: usize = 100;

const NO_ROOM: &str = "too many requests wait; what was accepted stays so, send this again";
const NOT_LOOKED: &str = "this host was not looked at yet, send this again";
const NO_ANSWER: &str =
    "LVM does not answer, so it is not known what policies select on this host now, send this again";
const TRUNCATED: &str = "alerts are missing from the payload, so every target is looked at";

/// The answer.
#[derive(Debug, Serialize)]
pub(super) struct AlertAnswers {
    alerts: Vec<AlertAnswer>,
    /// So many alerts more were judged like those before.
    #[serde(skip_serializing_if = "is_zero")]
    more: usize,
    /// Whether one of those must come again.
    #[serde(skip)]
    more_left: bool,
    /// Targets that are looked at because alerts are missing from the payload.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    truncated: Vec<AlertAnswer>,
}

/// What became of one alert, for the sender's log.
#[derive(Debug, Serialize)]
struct AlertAnswer {
    fingerprint: String,
    target: Option<LvRef>,
    verdict: AlertVerdict,
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
    Unclear(&'static str),
    /// It names this target.
    Target(LvRef),
    /// It names none, or another host's.
    Refused(Refusal),
}

impl AlertAnswers {
    /// Whether nothing of it needs to come again.
    pub(super) fn all_accepted(&self) -> bool {
        !self.more_left
            && !self.alerts.iter().chain(&self.truncated).any(|verdict| verdict.verdict == AlertVerdict::NotAccepted)
    }
}

/// A payload of which it is known what each alert means, and of which nothing is accepted yet.
pub(super) struct Judged {
    delivery: Delivery,
    /// Fingerprint and meaning.
    alerts: Vec<(String, Meaning)>,
    unseen: Vec<LvRef>,
    /// Why there may be more of these than are known.
    more_unseen: Option<&'static str>,
}

/// Finds the targets.
pub(super) fn judge(context: &Context, sender: Sender, payload: Payload, digest: Option<[u8; 32]>) -> Judged {
    // Before the config: what policies select on a look is in force before that look is shown.
    let sample = context.latest.get();
    let config = context.config();
    let names = context.names_for(&config);
    let unclear = match () {
        () if !context.front.may_grow() => None,
        () if !sample.taken => Some(NOT_LOOKED),
        () if !sample.succeeded && !config.policies.is_empty() => Some(NO_ANSWER),
        () => None,
    };
    let meaning = |alert| meaning(&payload, alert, &config, &names, &sample.inventory, unclear);
    // Of fifty thousand alerts for others the sentences would be most of the memory.
    let mut refused = 0;
    let brief = |mut meaning: Meaning| {
        if let Meaning::Refused(refusal) = &mut meaning {
            refused += 1;
            if refused > MOST_WRITTEN_DOWN {
                refusal.sentence = String::new();
            }
        }
        meaning
    };
    let meanings: Vec<Meaning> = payload.alerts.iter().map(meaning).map(brief).collect();
    let is_cut = is_cut(&payload, &config, &names);
    let unseen = if is_cut { unseen_targets(&meanings, &config) } else { vec![] };
    let more_unseen = unclear.filter(|_| is_cut && !config.policies.is_empty());
    let source = match sender {
        Sender::Alertmanager => Source::Alertmanager,
        Sender::Grafana => Source::Grafana,
    };
    let wish = |lv: &LvRef, fingerprint| Request { lv: lv.clone(), source, fingerprint };
    let named = payload.alerts.iter().zip(&meanings).filter_map(|(alert, meaning)| match meaning {
        Meaning::Target(lv) => Some(wish(lv, shortened(&alert.fingerprint))),
        _ => None,
    });
    let requests = named.chain(unseen.iter().map(|lv| wish(lv, String::new()))).collect();
    let mut refused = BTreeMap::new();
    for meaning in &meanings {
        if let Meaning::Refused(refusal) = meaning {
            *refused.entry(refusal.code).or_default() += 1;
        }
    }
    let delivery = Delivery { requests, refusals: refusals(&meanings, source), refused, digest };
    let fingerprints = payload.alerts.iter().map(|alert| shortened(&alert.fingerprint));
    Judged { delivery, alerts: fingerprints.zip(meanings).collect(), unseen, more_unseen }
}

impl Judged {
    /// Hands the targets over. What was accepted is on disk.
    pub(super) fn receive(self, context: &Context) -> Result<AlertAnswers, SubmitError> {
        let mut accepted = context.front.receive(self.delivery)?.into_iter();
        let (mut sentences, mut alerts, mut more, mut more_left) = (0, vec![], 0, false);
        for (fingerprint, meaning) in self.alerts {
            let mut verdict = AlertAnswer::of(fingerprint, meaning, &mut accepted);
            verdict.count(context);
            if alerts.len() == MOST_ANSWERED {
                more += 1;
                more_left |= verdict.verdict == AlertVerdict::NotAccepted;
                continue;
            }
            sentences += usize::from(verdict.sentence.is_some());
            verdict.sentence.take_if(|_| sentences > MOST_SENTENCES);
            alerts.push(verdict);
        }
        if more > 0 {
            context.metrics.edge.hit(Limit::Alerts);
        }
        let truncated = self.unseen.into_iter().map(|lv| {
            let verdict = AlertAnswer::of(String::new(), Meaning::Target(lv), &mut accepted);
            AlertAnswer { sentence: verdict.sentence.or(Some(TRUNCATED.to_owned())), ..verdict }
        });
        let others =
            self.more_unseen.map(|why| AlertAnswer::of(String::new(), Meaning::Unclear(why), &mut [].into_iter()));
        let truncated: Vec<AlertAnswer> = truncated.collect::<Vec<_>>().into_iter().chain(others).collect();
        truncated.iter().for_each(|verdict| verdict.count(context));
        let verdicts = AlertAnswers { truncated, alerts, more, more_left };
        let listed = verdicts.alerts.iter().chain(&verdicts.truncated);
        let left = listed.filter(|verdict| verdict.verdict == AlertVerdict::NotAccepted).count();
        if left > 0 || more_left {
            tracing::warn!(left, "alerts were not accepted, their sender must send them again");
        }
        Ok(verdicts)
    }
}

fn meaning(
    payload: &Payload,
    alert: &Alert,
    config: &Config,
    names: &OwnNames,
    inventory: &Inventory,
    unclear: Option<&'static str>,
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
        Err(refusal) => match (unclear, refusal.code) {
            (Some(why), Code::UnknownTarget | Code::AmbiguousAlert) => Meaning::Unclear(why),
            _ => Meaning::Refused(refusal),
        },
    }
}

/// Whether alerts are missing from the payload that could be about this host: not if the whole group is another's.
fn is_cut(payload: &Payload, config: &Config, names: &OwnNames) -> bool {
    let group_of = payload.group.0.get(&config.webhook.labels.instance);
    payload.truncated() > 0 && group_of.is_none_or(|instance| names.contains(instance))
}

/// The targets that no alert of such a payload names. The look at each says whether anything is to be done.
fn unseen_targets(meanings: &[Meaning], config: &Config) -> Vec<LvRef> {
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
        Event::Refused { request: None, lv: None, source, refusal: refusal.clone(), more: 0 }
    });
    let events = events.collect();
    let more = refused.count();
    if more > 0 {
        tracing::warn!(more, "alerts were refused that are only counted");
    }
    events
}

impl AlertAnswer {
    fn of(fingerprint: String, meaning: Meaning, accepted: &mut impl Iterator<Item = Accepted>) -> AlertAnswer {
        let (target, verdict, code, sentence) = match meaning {
            Meaning::Resolved => (None, AlertVerdict::Resolved, None, None),
            Meaning::Ignored(why) => (None, AlertVerdict::Ignored, None, Some(why)),
            Meaning::Unclear(why) => (None, AlertVerdict::NotAccepted, None, Some(why.to_owned())),
            Meaning::Refused(Refusal { code, sentence, .. }) => {
                (None, AlertVerdict::Refused, Some(code), Some(sentence))
            }
            Meaning::Target(lv) => match accepted.next() {
                Some(Accepted::Queued) => (Some(lv), AlertVerdict::Accepted, None, None),
                Some(Accepted::Coalesced) => (Some(lv), AlertVerdict::Coalesced, None, None),
                Some(Accepted::NoRoom) | None => (Some(lv), AlertVerdict::NotAccepted, None, Some(NO_ROOM.to_owned())),
            },
        };
        AlertAnswer { fingerprint, target, verdict, code, sentence }
    }
}

impl AlertAnswer {
    fn count(&self, context: &Context) {
        context.metrics.alert(self.verdict);
        if let (Some(lv), AlertVerdict::Accepted) = (&self.target, self.verdict) {
            tracing::info!(%lv, fingerprint = self.fingerprint, "an alert was accepted");
        }
    }
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// Alertmanager's are 16 characters; a longer one is somebody else's and is not written down whole.
fn shortened(fingerprint: &str) -> String {
    crate::plain(&fingerprint.chars().take(32).collect::<String>())
}
