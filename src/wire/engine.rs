//! The engine's end: answers the web side, and believes nothing it says.
//!
//! A connection is a thread. Whoever connects must be root, this user, or the web side's user. A message that breaks a
//! rule ends its connection. No answer holds up the engine: what is asked of it here it is asked by others too.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use nix::unistd::{User, geteuid};

use super::frame::{self, MOST_ANSWERED, MOST_ASKED};
use super::turns::{Turn, Turns};
use super::within::Within;
use super::{Answer, Ask, Growing, Known, Looked, Scraped, Seen, Told, Used, WAIT};
use crate::config::{InForce, Text};
use crate::engine::{Delivery, Front, ReadUsage, Request, Scrape, View};
use crate::files::{self, FileMark, Folder, MOST_READ};
use crate::inventory::{FileSystem, Inventory, Latest, ProcessUsage};
use crate::journal::{Entry, Event, Record, Source, State};
use crate::metrics::process::engine_text;
use crate::notify;
use crate::plan::Moment;
use crate::report::Make;

/// Connections at a time. The web side keeps a few.
const MOST_CONNECTIONS: usize = 64;
/// A message that was begun is there within this time, and an answer is taken.
const DEADLINE: Duration = Duration::from_secs(5);
/// Records that are kept in memory for who tells people of them; those before are read from the journal.
const KEPT: usize = 512;
/// Of an answer.
const MOST_RECORDS: usize = 64;
/// What Alertmanager calls an alert is 16 characters.
const LONGEST_FINGERPRINT: usize = 200;
/// A sentence about an alert quotes its labels.
const LONGEST_SENTENCE: usize = 16 << 10;
/// Those that the web side has said it has within this time are asked before a config is put in force.
const IS_THERE: Duration = Duration::from_secs(15);
/// So long it has for an answer to that.
const VOTE: Duration = Duration::from_secs(5);

/// What the engine's end needs of the engine.
pub struct Parts {
    /// The engine.
    pub front: Arc<dyn Front>,
    /// What is wanted.
    pub in_force: Arc<InForce>,
    /// The last look.
    pub latest: Arc<Latest>,
    /// The names of this host.
    pub names: Box<dyn Fn() -> Vec<String> + Send + Sync>,
    /// Its time.
    pub clock: Box<dyn Fn() -> Moment + Send + Sync>,
    /// It is only a simulated one.
    pub is_simulated: bool,
    /// What this process uses.
    pub process: fn() -> Option<ProcessUsage>,
    /// Makes reports.
    pub report: Make,
    /// The files that the web side needs.
    pub files: Box<dyn Fn() -> Vec<PathBuf> + Send + Sync>,
}

/// The engine's end.
pub struct Engine {
    parts: Parts,
    /// Tells this process from the one before.
    id: u64,
    /// How many looks ended and records were written. Who waits looks at this alone: the engine is not asked while the
    /// lock on the news is held, because a thread that writes takes that lock last.
    number: AtomicU64,
    connections: AtomicUsize,
    news: Mutex<News>,
    changed: Condvar,
    /// Those of late, with their numbers.
    records: Mutex<VecDeque<(u64, Entry)>>,
    told: OnceLock<Arc<dyn notify::Records>>,
    /// For reports, which take long; for the usage, which asks every file system; and for all else that may be large.
    making: Turns,
    reading: Turns,
    sending: Turns,
}

#[derive(Default)]
struct News {
    /// What the last look found, and how often it found something else than the one before.
    inventory: Option<Arc<Inventory>>,
    content: u64,
    /// The config in force.
    config: u64,
    texts: Vec<Text>,
    proposal: Option<(u64, Vec<Text>)>,
    vote: Option<(u64, Option<String>)>,
    /// What the web side needs to say whether it accepts it.
    proposed_files: Vec<PathBuf>,
    /// The config that the web side has.
    config_there: u64,
    /// When it waited for news last.
    followed: Option<Instant>,
}

impl News {
    fn is_followed(&self) -> bool {
        self.followed.is_some_and(|at| at.elapsed() <= IS_THERE)
    }
}

/// Makes the socket in a folder of ours: for this user, root, and the group of the web side's user.
///
/// # Errors
///
/// Why it cannot be made.
pub fn bind(path: &Path, user: Option<&User>) -> io::Result<UnixListener> {
    let (folder, name) = Folder::of(path)?;
    let mode = if user.is_some() { 0o660 } else { 0o600 };
    folder.bind_anew(&name, mode, user.map(|user| user.gid.as_raw()))
}

/// Takes the socket's name away, at the end.
///
/// # Errors
///
/// Why it is still there.
pub fn unbind(path: &Path) -> io::Result<()> {
    let (folder, name) = Folder::of(path)?;
    folder.remove(&name)
}

impl Engine {
    /// With the config that is in force at the start.
    pub fn new(parts: Parts, texts: Vec<Text>) -> Arc<Engine> {
        let news = News { texts, config: 1, ..News::default() };
        let id = identity();
        let engine = Arc::new(Engine {
            parts,
            id,
            number: AtomicU64::new(1),
            connections: AtomicUsize::new(0),
            news: news.into(),
            changed: Condvar::new(),
            records: Mutex::default(),
            told: OnceLock::new(),
            making: Turns::default(),
            reading: Turns::default(),
            sending: Turns::default(),
        });
        let rung = Arc::downgrade(&engine);
        engine.parts.latest.watch(Box::new(move || {
            if let Some(engine) = rung.upgrade() {
                engine.ring();
            }
        }));
        engine
    }

    /// A record is on disk. Called with the journal locked: it neither waits nor fails.
    pub fn hear(&self, record: Record<'_>) {
        let mut records = crate::locked(&self.records);
        records.push_back((record.number, record.entry.clone()));
        if records.len() > KEPT {
            records.pop_front();
        }
        drop(records);
        self.ring();
    }

    /// Where the records are that this process did not write, and where it is kept how far people were told. The first
    /// counts.
    pub fn keeps(&self, records: Arc<dyn notify::Records>) {
        let _ = self.told.set(records);
    }

    /// Asks the web side, if there is one, whether it accepts a config, for which it needs these files.
    ///
    /// # Errors
    ///
    /// Why it does not.
    pub fn propose(&self, texts: Vec<Text>, files: Vec<PathBuf>) -> Result<(), String> {
        let mut news = crate::locked(&self.news);
        let number = news.config + 1;
        let number = news.proposal.as_ref().map_or(number, |(last, _)| number.max(last + 1));
        news.proposal = Some((number, texts));
        (news.vote, news.proposed_files) = (None, files);
        if !news.is_followed() {
            return Ok(());
        }
        self.changed.notify_all();
        let open = |news: &mut News| news.vote.as_ref().is_none_or(|(of, _)| *of != number);
        let waited = self.changed.wait_timeout_while(news, VOTE, open);
        let mut news = waited.unwrap_or_else(PoisonError::into_inner).0;
        let said = match &news.vote {
            Some((of, None)) if *of == number => Ok(()),
            Some((of, Some(objection))) if *of == number => Err(objection.clone()),
            _ => Err(format!("the web process did not say within {} s whether it accepts it", VOTE.as_secs())),
        };
        if said.is_err() {
            // Nobody needs them any more.
            news.proposed_files.clear();
        }
        said
    }

    /// What was proposed last is in force. Until the web side has it too, for a while: whoever had the config reloaded
    /// may send an alert that it names the next moment.
    pub fn is_in_force(&self) {
        let mut news = crate::locked(&self.news);
        let Some((number, texts)) = news.proposal.clone() else { return };
        (news.config, news.texts) = (number, texts);
        news.proposed_files.clear();
        self.changed.notify_all();
        if news.is_followed() {
            let open = |news: &mut News| news.config_there < number;
            drop(self.changed.wait_timeout_while(news, VOTE, open));
        }
    }

    /// A look ended, or a record was written.
    fn ring(&self) {
        self.number.fetch_add(1, Ordering::Relaxed);
        // Whoever looks whether there is news holds the lock until it waits.
        drop(crate::locked(&self.news));
        self.changed.notify_all();
    }

    /// Serves who connects, for as long as the process lives.
    pub fn serve(self: &Arc<Engine>, listener: UnixListener, user: Option<User>) {
        let engine = Arc::clone(self);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                match stream {
                    Ok(stream) => engine.meet(stream, user.as_ref()),
                    Err(error) => {
                        tracing::error!("cannot accept on the engine's socket: {error}");
                        std::thread::sleep(Duration::from_secs(1));
                    }
                }
            }
        });
    }

    fn meet(self: &Arc<Engine>, stream: UnixStream, user: Option<&User>) {
        let Ok(peer) = getsockopt(&stream, PeerCredentials) else { return };
        let allowed = [0, geteuid().as_raw()].into_iter().chain(user.map(|user| user.uid.as_raw()));
        if !allowed.into_iter().any(|uid| uid == peer.uid()) {
            tracing::warn!(
                uid = peer.uid(),
                "a process of another user than the web side's was refused on the engine's socket"
            );
            return;
        }
        if self.connections.fetch_add(1, Ordering::Relaxed) >= MOST_CONNECTIONS {
            self.connections.fetch_sub(1, Ordering::Relaxed);
            tracing::warn!("a connection of the web side was refused: {MOST_CONNECTIONS} are open");
            return;
        }
        let engine = Arc::clone(self);
        std::thread::spawn(move || {
            if let Err(error) = engine.talk(&stream)
                && error.kind() == io::ErrorKind::InvalidData
            {
                tracing::error!("invalid message from the web process; connection closed: {error}");
            }
            engine.connections.fetch_sub(1, Ordering::Relaxed);
        });
    }

    fn talk(&self, stream: &UnixStream) -> io::Result<()> {
        loop {
            stream.set_read_timeout(None)?;
            let mut first = [0];
            if (&*stream).read(&mut first)? == 0 {
                return Ok(());
            }
            let mut rest = (&first[..]).chain(Within::new(stream, DEADLINE));
            let Some(ask) = frame::read::<Ask>(&mut rest, MOST_ASKED)? else { return Ok(()) };
            self.wait_for(&ask);
            // Until it is sent: whoever asks on all connections and takes no answer has one of them in memory.
            let Ok(_turn) = self.turn(&ask) else {
                if matches!(ask, Ask::Report(_)) {
                    let busy = Answer::Report(Err("another report is being made, ask again later".to_owned()));
                    frame::write(&mut Within::new(stream, DEADLINE), &busy, MOST_ANSWERED)?;
                    continue;
                }
                return Err(io::ErrorKind::TimedOut.into());
            };
            let answer = self.answer(ask)?;
            let mut to = Within::new(stream, DEADLINE);
            frame::write(&mut to, &answer, MOST_ANSWERED)?;
            to.flush()?;
        }
    }

    /// Waits for something new, if that is what is asked for. Nobody has a turn meanwhile.
    fn wait_for(&self, ask: &Ask) {
        match ask {
            Ask::See(known) if known.wait => self.await_news(known),
            Ask::Records { after, wait: true } => self.await_records(*after),
            _ => {}
        }
    }

    /// What is small, and an alert, needs no turn.
    fn turn(&self, ask: &Ask) -> Result<Option<Turn<'_>>, ()> {
        let turns = match ask {
            Ask::Report(_) => &self.making,
            Ask::Scrape { .. } => &self.reading,
            Ask::See(_) | Ask::Records { .. } | Ask::File { .. } | Ask::Files => &self.sending,
            _ => return Ok(None),
        };
        turns.take(DEADLINE).map(Some).ok_or(())
    }

    fn answer(&self, ask: Ask) -> io::Result<Answer> {
        Ok(match ask {
            Ask::See(known) => {
                let seen = self.see(known, self.parts.front.view());
                Answer::Seen(Box::new(Seen { names: Some((self.parts.names)()), ..seen }))
            }
            Ask::Scrape { known, usage } => Answer::Scraped(Box::new(self.scrape(known, usage))),
            Ask::Receive { requests, refusals, refused, digest } => {
                let mut delivery = Delivery { refused, digest, ..Delivery::default() };
                for wish in requests {
                    let super::Submitted { lv, source, fingerprint } = wish;
                    is_a_senders(source)?;
                    if fingerprint.len() > LONGEST_FINGERPRINT {
                        return Err(broken("the fingerprint of an alert is too long"));
                    }
                    delivery.requests.push(Request { lv, source, fingerprint });
                }
                for super::Refused { source, refusal } in refusals {
                    is_a_senders(source)?;
                    if refusal.sentence.len() > LONGEST_SENTENCE || refusal.lack.is_some() {
                        return Err(broken("a refusal says more than it may"));
                    }
                    delivery.refusals.push(Event::Refused { request: None, lv: None, source, refusal, more: 0 });
                }
                Answer::Received(self.receive(delivery))
            }
            Ask::NotWritten { seconds } => {
                Answer::NotWritten(self.parts.front.not_written(Duration::from_secs(seconds)))
            }
            Ask::Records { after, .. } => Answer::Records(Box::new(self.records(after))),
            Ask::Told { number } => {
                // More than there is was told to nobody.
                let last = self.last();
                self.told.get().filter(|_| number <= last).into_iter().for_each(|told| told.told(number));
                Answer::Done
            }
            Ask::Progress => Answer::Progress(self.told.get().and_then(|told| told.progress())),
            Ask::Files => {
                let files = self.files();
                Answer::Files { list: list(&files), files }
            }
            Ask::File { list, place } => Answer::File(self.file(list, place).and_then(|file| self.content(&file))),
            Ask::Mark { list, place } => {
                Answer::Mark(self.file(list, place).ok().and_then(|file| FileMark::here(&file)))
            }
            Ask::Report(wish) => Answer::Report((self.parts.report)(&wish)),
            Ask::Vote { proposal, objection } => {
                let objection = objection.map(|why| why.chars().take(LONGEST_SENTENCE).collect());
                crate::locked(&self.news).vote = Some((proposal, objection));
                self.changed.notify_all();
                Answer::Done
            }
        })
    }

    /// What may grow is what the config names, whatever the web side says.
    fn receive(&self, delivery: Delivery) -> Result<Vec<crate::engine::Accepted>, String> {
        let config = self.parts.in_force.get();
        if let Some(other) = delivery.requests.iter().find(|request| config.target(&request.lv).is_none()) {
            return Err(format!("{} is no target of this host any more, send this again", other.lv));
        }
        self.parts.front.receive(delivery).map_err(|error| crate::chain(&error))
    }

    /// The number of the last record.
    fn last(&self) -> u64 {
        self.parts.front.view().map_or(0, |view| view.state.records)
    }

    fn await_news(&self, known: &Known) {
        let mut news = crate::locked(&self.news);
        news.followed = Some(Instant::now());
        if known.engine == self.id && known.config > news.config_there {
            news.config_there = known.config;
            self.changed.notify_all();
        }
        let is_old = |news: &mut News| {
            known.engine == self.id
                && known.news == self.number.load(Ordering::Relaxed)
                && known.config == news.config
                && known.proposal == news.proposal.as_ref().map_or(0, |(number, _)| *number)
        };
        let waited = self.changed.wait_timeout_while(news, WAIT, is_old);
        waited.unwrap_or_else(PoisonError::into_inner).0.followed = Some(Instant::now());
    }

    fn see(&self, known: Known, view: Option<View>) -> Seen {
        let mut news = crate::locked(&self.news);
        let is_ours = known.engine == self.id;
        // Before what it counts is read: what comes in between is news once more.
        let number = self.number.load(Ordering::Relaxed);
        let sample = self.parts.latest.get();
        let is_new = news
            .inventory
            .as_ref()
            .is_none_or(|last| !Arc::ptr_eq(last, &sample.inventory) && !last.found_the_same(&sample.inventory));
        news.content += u64::from(is_new);
        news.inventory = Some(Arc::clone(&sample.inventory));
        let content = news.content;
        let (in_force, texts, proposed) = (news.config, news.texts.clone(), news.proposal.clone());
        drop(news);
        let proposal = proposed.as_ref().map_or(0, |(number, _)| *number);
        let records = view.as_ref().map_or(0, |view| view.state.records);
        let now_known =
            Known { engine: self.id, news: number, content, records, config: in_force, proposal, wait: false };
        let looked = (!is_ours || known.news != number || known.content != content).then(|| Looked {
            inventory: (!is_ours || known.content != content).then(|| (*sample.inventory).clone()),
            taken_at: sample.inventory.taken_at,
            taken: sample.taken,
            succeeded: sample.succeeded,
            took: sample.took,
            age: sample.since.map(|since| since.elapsed()),
        });
        let config = (!is_ours || known.config != in_force).then_some(texts);
        let proposed = proposed.filter(|_| !is_ours || known.proposal != proposal);
        let proposal = proposed.map(|(_, texts)| texts);
        Seen {
            known: now_known,
            now: (self.parts.clock)(),
            names: None,
            is_simulated: self.parts.is_simulated,
            look: looked,
            growing: view.map(|view| Growing {
                state: (!is_ours || known.records != records).then(|| State::clone(&view.state)),
                standing: view.standing,
                trouble: view.trouble,
                waiting: view.waiting,
                dry_run: view.dry_run,
            }),
            config,
            proposal,
        }
    }

    fn scrape(&self, known: Known, with_usage: bool) -> Scraped {
        let Scrape { view, counters, usage } = self.parts.front.scrape(with_usage);
        let process = (self.parts.process)().map(engine_text);
        Scraped {
            seen: self.see(known, view),
            counters: [counters, process.unwrap_or_default()].concat(),
            used: if with_usage { self.usage(&usage) } else { vec![] },
        }
    }

    fn usage(&self, read: &ReadUsage) -> Vec<Used> {
        let inventory = self.parts.latest.get().inventory;
        let above = inventory.above.iter().map(|(_, fs)| fs);
        let all = inventory.filesystems.iter().chain(above).cloned().collect();
        let used = |fs: FileSystem| Used {
            mount_point: fs.mount.mount_point,
            device: fs.mount.device,
            usage: fs.usage,
            errors: fs.errors,
        };
        read(all).into_iter().map(used).collect()
    }

    fn await_records(&self, after: u64) {
        let number = self.number.load(Ordering::Relaxed);
        if self.last() <= after {
            let is_old = |_: &mut News| self.number.load(Ordering::Relaxed) == number;
            drop(self.changed.wait_timeout_while(crate::locked(&self.news), WAIT, is_old));
        }
    }

    fn records(&self, after: u64) -> Told {
        let last = self.last();
        let kept: Vec<(u64, Entry)> = {
            let records = crate::locked(&self.records);
            records.iter().filter(|(number, _)| *number > after).take(MOST_RECORDS).cloned().collect()
        };
        // Without a gap the web side needs no more than the entries.
        if after > 0 && (kept.first().is_some_and(|(number, _)| *number == after + 1) || last <= after) {
            return Told { before: None, entries: kept.into_iter().map(|(_, entry)| entry).collect(), last };
        }
        let (mut before, mut entries) = (None, vec![]);
        if let Some(told) = self.told.get() {
            let read = told.all(&mut |record| {
                if record.number > after && entries.len() < MOST_RECORDS {
                    before.get_or_insert_with(|| record.before.clone());
                    entries.push(record.entry.clone());
                }
            });
            if let Err(error) = read {
                tracing::warn!("cannot read records for notifications: {error}");
            }
        }
        Told { before, entries, last }
    }

    fn files(&self) -> Vec<PathBuf> {
        let proposed = crate::locked(&self.news).proposed_files.clone();
        (self.parts.files)().into_iter().chain(proposed).collect()
    }

    fn file(&self, of: u32, place: usize) -> Result<PathBuf, String> {
        let files = self.files();
        let is_it = list(&files) == of;
        files.into_iter().nth(place).filter(|_| is_it).ok_or_else(|| "there is no such file".to_owned())
    }

    fn content(&self, file: &Path) -> Result<String, String> {
        self.parts.in_force.get().trust.judge(files::doubt(file)).map_err(|doubt| crate::chain(&doubt))?;
        let bytes = files::read_here(file).map_err(|error| error.to_string())?;
        match bytes.len() as u64 > MOST_READ {
            true => Err(format!("is larger than {MOST_READ} bytes")),
            false => Ok(BASE64_STANDARD.encode(bytes)),
        }
    }
}

/// Another number for each process.
fn identity() -> u64 {
    let mut bytes = [0; 8];
    let random = ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut bytes);
    // Without any randomness at least not that of the one before.
    random.map_or_else(|_| u64::from(std::process::id()), |()| u64::from_le_bytes(bytes) >> 1)
}

/// Files are asked for by their place in a list: of another list it would be another file.
fn list(files: &[PathBuf]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    for file in files {
        hasher.update(file.as_os_str().as_encoded_bytes());
        hasher.update(b"\0");
    }
    hasher.finalize()
}

/// A person does not come by the network, and neither does our own look.
fn is_a_senders(source: Source) -> io::Result<()> {
    match source {
        Source::Alertmanager | Source::Grafana => Ok(()),
        Source::Monitor | Source::Person => Err(broken("an alert came from nobody who sends alerts")),
    }
}

fn broken(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}
