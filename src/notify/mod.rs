//! Who is told of what happened: webhooks and e-mail, made from the records of the journal.
//!
//! Nothing here ever delays or fails an operation: a record becomes a message in memory, and a thread for each receiver
//! does the rest. What was not told when the daemon ended is read again from the journal: at least once.

mod email;
mod message;
mod progress;
mod queue;
mod records;
mod send;
mod template;
mod webhook;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::config::notify::{Occasion, Receiver, Way};
use crate::config::{Config, InForce};
use crate::journal::{Event, Record};
use crate::metrics::web::WebMetrics;
use crate::name::LvRef;
use crate::plan::{Code, Moment};
use email::EmailSender;
pub use message::Message;
use progress::Untold;
use queue::{Job, MAX_AGE, PATIENCE, Patience, Queue};
pub use records::{InFolder, Records};
use send::SendError;
use webhook::WebhookSender;

/// The same refusal of the same target is told again after this.
const REFUSAL_AGAIN: Duration = Duration::from_secs(3600);

/// Refusals that are remembered; alerts of strangers cannot make it more.
const MOST_REFUSALS: usize = 1000;

/// A receiver cannot be told as the config says.
#[derive(Debug, thiserror::Error)]
#[error("notify[{index}].{kind}.{key}: {message}")]
pub struct NotifyError {
    index: usize,
    kind: &'static str,
    key: &'static str,
    message: String,
}

/// What tells, and what it remembers.
pub struct Notifier {
    host: String,
    in_force: Arc<InForce>,
    metrics: Arc<WebMetrics>,
    progress: Arc<Untold>,
    patience: Patience,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    receivers: Vec<(Receiver, Arc<Queue>)>,
    refusals: BTreeMap<(Option<LvRef>, Code), Moment>,
}

impl Notifier {
    /// Starts with the receivers of the config in force, and with what there is that was not told yet.
    pub fn start(
        in_force: Arc<InForce>,
        host: String,
        metrics: Arc<WebMetrics>,
        records: Arc<dyn Records>,
        now: &Moment,
    ) -> Result<Arc<Notifier>, NotifyError> {
        Notifier::with_patience(in_force, host, metrics, records, now, PATIENCE)
    }

    fn with_patience(
        in_force: Arc<InForce>,
        host: String,
        metrics: Arc<WebMetrics>,
        of: Arc<dyn Records>,
        now: &Moment,
        patience: Patience,
    ) -> Result<Arc<Notifier>, NotifyError> {
        let config = in_force.get();
        let records = of.last();
        // Without receivers nothing waits for one; and what was before the first is no news to it.
        let told = of.progress().filter(|_| !config.receivers.is_empty()).unwrap_or(records);
        of.told(told);
        let progress = Arc::new(Untold::new(Arc::clone(&of)));
        let notifier = Notifier { host, in_force, metrics, progress, patience, state: Mutex::default() };
        notifier.reconfigure(&config)?;
        // A journal that was begun anew counts from 1.
        let after = if told > records { 0 } else { told };
        let read = of.all(&mut |record| {
            let age = now.since(&record.entry.at);
            if record.number > after && age < MAX_AGE {
                notifier.hear(record);
            } else if record.number <= after && age < REFUSAL_AGAIN {
                // A refusal that was told lately is no news because the daemon was started in between.
                drop(notifier.news(&mut notifier.state(), &record));
            }
        });
        if let Err(error) = read {
            tracing::warn!("cannot read the notifications that are still to be sent: {error}");
        }
        Ok(Arc::new(notifier))
    }

    /// A record is on disk. Called with the journal locked: it neither waits nor fails.
    pub fn hear(&self, record: Record<'_>) {
        let mut state = self.state();
        let mut told = 0;
        if !state.receivers.is_empty()
            && let Some(message) = self.news(&mut state, &record)
        {
            let message = Arc::new(message);
            let told_to = state.receivers.iter().filter_map(|(to, queue)| Some((message.told_of(&to.on)?, queue)));
            let queues: Vec<_> = told_to.collect();
            told = queues.len();
            // Before any of them can be done with it.
            self.progress.heard(record.number, told);
            queues.into_iter().for_each(|(message, queue)| queue.push(Job::new(record.number, message)));
        }
        if told == 0 {
            self.progress.heard(record.number, 0);
        }
    }

    fn news(&self, state: &mut State, record: &Record<'_>) -> Option<Message> {
        let message = message::message(record, &self.host, &self.in_force.get())?;
        state.is_news(record).then_some(message)
    }

    /// Puts the receivers of another config in force. One that stays goes on, also at another place; one that changed
    /// takes over what was not told in its place.
    pub fn reconfigure(&self, config: &Config) -> Result<(), NotifyError> {
        let sends: Vec<_> = senders(config)?
            .into_iter()
            .map(|sender| Arc::new(move |message: &Message| sender.send(message)) as queue::Send)
            .collect();
        let mut state = self.state();
        let mut before: Vec<_> = std::mem::take(&mut state.receivers).into_iter().map(Some).collect();
        let mut stays = |receiver: &Receiver| {
            let is_same = |old: &&mut Option<(Receiver, _)>| old.as_ref().is_some_and(|(same, _)| same == receiver);
            before.iter_mut().find(is_same)?.take().map(|(_, queue)| queue)
        };
        let kept: Vec<Option<Arc<Queue>>> = config.receivers.iter().map(&mut stays).collect();
        for (place, (receiver, (send, kept))) in config.receivers.iter().zip(sends.into_iter().zip(kept)).enumerate() {
            let queue = match kept {
                Some(queue) => {
                    queue.send_with(send);
                    queue
                }
                None => {
                    let (metrics, progress) = (Arc::clone(&self.metrics), Arc::clone(&self.progress));
                    let queue = Queue::start(receiver.way.kind(), send, self.patience, metrics, progress);
                    if let Some((_, old)) = before.get_mut(place).and_then(Option::take) {
                        old.close(Some(&queue));
                    }
                    queue
                }
            };
            state.receivers.push((receiver.clone(), queue));
        }
        before.into_iter().flatten().for_each(|(_, removed)| removed.close(None));
        Ok(())
    }

    /// Waits until all is told, but no longer than this: what is not is told after the next start.
    pub fn drain(&self, most: Duration) {
        let until = Instant::now() + most;
        let queues: Vec<_> = self.state().receivers.iter().map(|(_, queue)| Arc::clone(queue)).collect();
        queues.iter().for_each(|queue| queue.drain(until));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        crate::locked(&self.state)
    }
}

impl State {
    /// A refusal is news if the last of its kind was long ago, or if the target was let through in between.
    fn is_news(&mut self, record: &Record<'_>) -> bool {
        match &record.entry.event {
            Event::Planned { plan, .. } => {
                self.refusals.retain(|(lv, _), _| lv.as_ref() != Some(&plan.lv));
                true
            }
            Event::Refused { lv, refusal, .. } => {
                let key = (lv.clone(), refusal.code);
                let last = self.refusals.get(&key);
                if last.is_some_and(|last| record.entry.at.since(last) < REFUSAL_AGAIN) {
                    return false;
                }
                if self.refusals.len() >= MOST_REFUSALS {
                    self.refusals.clear();
                }
                // Another reason than the one before: the one before will be news again. Alerts that name no target
                // have nothing in common, so there one kind says nothing about the other.
                self.refusals.retain(|(of, _), _| of.is_none() || *of != key.0);
                self.refusals.insert(key, record.entry.at);
                true
            }
            _ => true,
        }
    }
}

/// One way to one receiver.
enum Sender {
    Webhook(Box<WebhookSender>),
    Email(Box<EmailSender>),
}

impl Sender {
    fn send(&self, message: &Message) -> Result<(), SendError> {
        match self {
            Sender::Webhook(webhook) => webhook.send(message),
            Sender::Email(email) => email.send(message),
        }
    }

    fn try_render(&self, message: &Message) -> Result<(), String> {
        match self {
            Sender::Webhook(webhook) => webhook.render(message).map(drop),
            Sender::Email(email) => email.render(message).map(drop),
        }
    }
}

/// All of a config, with their templates read and tried.
fn senders(config: &Config) -> Result<Vec<Sender>, NotifyError> {
    config.receivers.iter().enumerate().map(|(index, receiver)| sender(config, index, receiver)).collect()
}

fn sender(config: &Config, index: usize, receiver: &Receiver) -> Result<Sender, NotifyError> {
    let kind = receiver.way.kind();
    let wrong = |(key, message)| NotifyError { index, kind, key, message };
    let (ca_file, timeout) = (receiver.ca_file.as_deref(), receiver.timeout);
    let sender = match &receiver.way {
        Way::Webhook(webhook) => {
            Sender::Webhook(Box::new(WebhookSender::new(webhook, ca_file, timeout).map_err(wrong)?))
        }
        Way::Email(email) => Sender::Email(Box::new(EmailSender::new(email, ca_file, timeout).map_err(wrong)?)),
    };
    for sample in message::samples("host", config.external_url.as_deref(), Timestamp::UNIX_EPOCH) {
        sender.try_render(&sample).map_err(|message| wrong(named(&receiver.way, message)))?;
    }
    Ok(sender)
}

/// The key of the template that cannot be filled in, and why; one in a file by its name.
fn named(way: &Way, message: String) -> (&'static str, String) {
    let of_email = |key| message.strip_prefix(key)?.strip_prefix(": ").map(str::to_owned);
    let (key, template, message) = match way {
        Way::Webhook(webhook) => ("template", &webhook.template, message),
        Way::Email(email) => {
            let templates = [("subject", &email.subject), ("text", &email.text), ("html", &email.html)];
            let found = templates.into_iter().find_map(|(key, template)| Some((key, template, of_email(key)?)));
            found.unwrap_or(("template", &None, message))
        }
    };
    match template.as_ref().and_then(|template| template.file()) {
        Some(file) => (key, format!("{}: {message}", file.display())),
        None => (key, message),
    }
}

/// Whether a start would accept this config.
pub fn verify(config: &Config) -> Result<(), NotifyError> {
    senders(config).map(drop)
}

/// The same where a config is only looked at, perhaps on another host: files that cannot be read are named, and are no
/// error.
pub fn check(config: &Config) -> Result<Vec<String>, NotifyError> {
    let mut unreadable = Vec::new();
    for (index, receiver) in config.receivers.iter().enumerate() {
        let before = unreadable.len();
        for file in receiver.files() {
            if let Err(error) = std::fs::File::open(file) {
                let kind = receiver.way.kind();
                unreadable.push(format!("notify[{index}].{kind}: {} cannot be read: {error}", file.display()));
            }
        }
        if unreadable.len() == before {
            sender(config, index, receiver)?;
        }
    }
    Ok(unreadable)
}

/// Who was told, and why not.
pub type Tested = Vec<(String, Result<(), String>)>;

/// Tells all receivers of a config, once and now, that this is a test; who, and how that ended.
pub fn send_test(config: &Config, host: &str, now: Timestamp) -> Result<Tested, NotifyError> {
    let samples = message::samples(host, config.external_url.as_deref(), now);
    let mut ended = Vec::new();
    for (index, (sender, receiver)) in senders(config)?.iter().zip(&config.receivers).enumerate() {
        // As the first that it would be told of, so that its template is seen at work.
        let first = receiver.on.iter().find(|on| **on != Occasion::Planned).or(receiver.on.first());
        let sample = samples.iter().find(|sample| Some(&sample.event) == first);
        let result = sample.map_or(Ok(()), |sample| sender.send(sample).map_err(|error| error.to_string()));
        ended.push((format!("notify[{index}].{}", receiver.way.kind()), result));
    }
    Ok(ended)
}
