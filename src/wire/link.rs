//! The web side's end: asks the engine, and shows what it said last when it does not answer.

use std::collections::HashMap;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ring::digest::{Context, SHA256};
use serde::Serialize;

use super::frame::{self, MOST_ANSWERED, MOST_ASKED};
use super::within::Within;
use super::{Answer, Ask, Growing, Known, Refused, Seen, Submitted, Told, Used, WAIT};
use crate::config::Text;
use crate::engine::{Accepted, Delivery, Front, Request, Scrape, SubmitError, Trouble, View};
use crate::files::{Elsewhere, FileMark};
use crate::inventory::{DeviceNumber, FileSystem, Inventory, Latest, Sample};
use crate::journal::{Event, Record, State};
use crate::name::MountPoint;
use crate::notify;
use crate::plan::Moment;
use crate::report;

/// Most answers are there at once.
const SOON: Duration = Duration::from_secs(5);
/// An fsync on a disk that is busy; the engine gives up before.
const WRITTEN: Duration = Duration::from_secs(15);
/// Why it was not written, for somebody who has waited for that already.
const WHY: Duration = Duration::from_secs(2);
/// A report of many volumes.
const REPORT: Duration = Duration::from_secs(60);
/// How long to wait before the engine is asked again.
const AGAIN: Duration = Duration::from_secs(1);
/// Questions at a time: fewer than the engine has room for, and enough that many alerts share an fsync.
const MOST_ASKING: usize = 48;
const MOST_IDLE: usize = 8;
/// Of one question less than it may be long, for what stands around its parts.
const PART: usize = MOST_ASKED as usize - (16 << 10);

/// The engine did not answer.
#[derive(Debug, thiserror::Error)]
#[error("the engine does not answer on {}", socket.display())]
pub struct LinkError {
    socket: PathBuf,
    #[source]
    source: io::Error,
}

/// What the web side does with a config.
pub trait Configured: Send + Sync {
    /// Why a config that is proposed cannot be in force here.
    fn objection(&self, texts: &[Text], is_simulated: bool) -> Option<String>;

    /// It is in force.
    fn put_in_force(&self, texts: &[Text], is_simulated: bool);

    /// A look ended: what policies select on it is to be in force before it is shown.
    fn looked(&self, inventory: &Inventory);
}

/// The way to the engine.
pub struct Link {
    socket: PathBuf,
    latest: Arc<Latest>,
    configured: OnceLock<Arc<dyn Configured>>,
    idle: Mutex<Vec<UnixStream>>,
    now: Mutex<Now>,
    /// Of the answers that came one after the other is taken.
    taking: Mutex<()>,
    /// When it last did not answer in time.
    hung: Mutex<Option<Instant>>,
    /// How many questions are open.
    asking: Mutex<usize>,
    answered: Condvar,
}

/// The right to ask, until it is dropped.
struct Turn<'a>(&'a Link);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        *crate::locked(&self.0.asking) -= 1;
        self.0.answered.notify_one();
    }
}

/// What the engine said last.
#[derive(Default)]
struct Now {
    known: Known,
    moment: Option<Moment>,
    names: Vec<String>,
    growing: Option<Growing>,
    state: Arc<State>,
}

impl Link {
    /// To the engine behind that socket; `latest` is what it saw last.
    pub fn new(socket: &Path, latest: Arc<Latest>) -> Arc<Link> {
        let (configured, idle, now, taking, hung, asking, answered) = Default::default();
        Arc::new(Link { socket: socket.to_owned(), latest, configured, idle, now, taking, hung, asking, answered })
    }

    /// Asks for news once.
    ///
    /// # Errors
    ///
    /// If there is no engine.
    pub fn meet(&self) -> Result<(), LinkError> {
        self.news(false)
    }

    /// Gives each config to this one. Only the first call has an effect.
    pub fn configures(&self, configured: Arc<dyn Configured>) {
        let _ = self.configured.set(configured);
    }

    /// Keeps what is known up to date, for as long as the process lives.
    pub fn follow(self: &Arc<Link>) {
        let link = Arc::clone(self);
        std::thread::spawn(move || {
            let mut failing = false;
            loop {
                match link.news(true) {
                    Ok(()) if failing => tracing::info!("the engine answers again"),
                    Ok(()) => {}
                    Err(error) => {
                        if !failing {
                            tracing::error!("what is shown is old and no alert is accepted: {}", crate::chain(&error));
                        }
                        std::thread::sleep(AGAIN);
                        failing = true;
                        continue;
                    }
                }
                failing = false;
            }
        });
    }

    fn news(&self, wait: bool) -> Result<(), LinkError> {
        let known = Known { wait, ..crate::locked(&self.now).known };
        let time = if wait { WAIT + SOON } else { SOON };
        let Answer::Seen(seen) = self.ask(&Ask::See(known), time)? else { return Err(self.odd()) };
        let _one = crate::locked(&self.taking);
        self.take(*seen);
        Ok(())
    }

    fn take(&self, seen: Seen) {
        let Seen { known, now: moment, names, is_simulated, look, mut growing, config, proposal } = seen;
        let mut now = crate::locked(&self.now);
        let before = now.known;
        let is_another = before.engine != known.engine;
        // Answers may come in another order than they were given.
        let is_older = !is_another && known.news < before.news;
        if !is_older {
            if let Some(state) = growing.as_mut().and_then(|growing| growing.state.take()) {
                now.state = Arc::new(state);
            }
            (now.moment, now.growing) = (Some(moment), growing);
            now.names = names.unwrap_or_else(|| std::mem::take(&mut now.names));
            now.known = Known { wait: false, config: before.config, proposal: before.proposal, ..known };
        }
        let is_new = |number: u64, before: u64| is_another || number > before;
        let config = config.filter(|_| is_new(known.config, before.config));
        let proposal = proposal.filter(|_| is_new(known.proposal, before.proposal) && known.proposal > known.config);
        if is_new(known.config, before.config) {
            now.known.config = known.config;
        }
        if is_new(known.proposal, before.proposal) {
            now.known.proposal = known.proposal;
        }
        drop(now);
        let Some(configured) = self.configured.get() else { return };
        if let Some(texts) = &config {
            configured.put_in_force(texts, is_simulated);
        }
        if let Some(looked) = look.filter(|_| !is_older) {
            let inventory = match looked.inventory {
                Some(inventory) => inventory,
                None => Inventory { taken_at: looked.taken_at, ..(*self.latest.get().inventory).clone() },
            };
            if looked.taken {
                configured.looked(&inventory);
            }
            let since = looked.age.and_then(|age| Instant::now().checked_sub(age));
            let mut sample = Sample::new(inventory, looked.took);
            (sample.taken, sample.succeeded, sample.since) = (looked.taken, looked.succeeded, since);
            self.latest.put(sample);
        }
        if let Some(texts) = proposal {
            let objection = configured.objection(&texts, is_simulated);
            // Without an answer the engine does without this config.
            let _ = self.ask(&Ask::Vote { proposal: known.proposal, objection }, SOON);
        }
    }

    /// The engine's counters, and how full its file systems are.
    fn scraped(&self, usage: bool) -> Result<(String, Vec<Used>), LinkError> {
        let known = crate::locked(&self.now).known;
        let answer = self.ask(&Ask::Scrape { known, usage }, SOON)?;
        let Answer::Scraped(scraped) = answer else { return Err(self.odd()) };
        let super::Scraped { seen, counters, used } = *scraped;
        let _one = crate::locked(&self.taking);
        self.take(seen);
        Ok((counters, used))
    }

    /// How things stand, after a question for that.
    fn view_after(&self, asked: Result<(), LinkError>) -> Option<View> {
        let trouble = asked.err().map(|error| Trouble::NoEngine(crate::chain(&error)));
        let now = crate::locked(&self.now);
        // As long as no engine was heard nothing is known, and an alert must come again.
        let growing = now.growing.as_ref();
        if growing.is_none() && trouble.is_none() {
            return None;
        }
        let growing_trouble = growing.and_then(|growing| growing.trouble.clone());
        Some(View {
            state: Arc::clone(&now.state),
            standing: growing.map(|growing| growing.standing.clone()).unwrap_or_default(),
            trouble: trouble.or(growing_trouble),
            waiting: growing.map_or(0, |growing| growing.waiting),
            dry_run: growing.is_some_and(|growing| growing.dry_run),
            now: now.moment.unwrap_or_else(|| jiff::Timestamp::UNIX_EPOCH.into()),
        })
    }

    /// The names of this host, as the engine knows them.
    pub fn names(&self) -> Vec<String> {
        crate::locked(&self.now).names.clone()
    }

    /// The host's time.
    pub fn moment(&self) -> Option<Moment> {
        let _ = self.news(false);
        crate::locked(&self.now).moment
    }

    /// Has a report made.
    ///
    /// # Errors
    ///
    /// Why there is none, in words.
    pub fn report(&self, wish: &report::ReportRequest) -> Result<String, String> {
        match self.ask(&Ask::Report(wish.clone()), REPORT) {
            Ok(Answer::Report(report)) => report,
            Ok(_) => Err(crate::chain(&self.odd())),
            Err(error) => Err(crate::chain(&error)),
        }
    }

    fn ask(&self, ask: &Ask, time: Duration) -> Result<Answer, LinkError> {
        let failed = |source| LinkError { socket: self.socket.clone(), source };
        // Of a process that hangs one question finds out, and the others need not wait for that.
        let hangs = crate::locked(&self.hung).is_some_and(|at| at.elapsed() < SOON);
        if hangs && !matches!(ask, Ask::See(Known { wait: true, .. })) {
            return Err(failed(io::ErrorKind::TimedOut.into()));
        }
        let answer = self.asked(ask, time);
        *crate::locked(&self.hung) = match &answer {
            Err(error) if is_late(error) => Some(Instant::now()),
            _ => None,
        };
        answer.map_err(failed)
    }

    fn asked(&self, ask: &Ask, time: Duration) -> io::Result<Answer> {
        let _turn = self.turn(time).ok_or(io::ErrorKind::TimedOut)?;
        // A connection that was idle may have been closed since; then a new one is tried.
        let idle = crate::locked(&self.idle).pop();
        if let Some(stream) = idle {
            match exchange(&stream, ask, time) {
                Ok(answer) => {
                    self.keep(stream);
                    return Ok(answer);
                }
                Err(error) if is_late(&error) => return Err(error),
                Err(_) => {}
            }
        }
        let stream = UnixStream::connect(&self.socket)?;
        let answer = exchange(&stream, ask, time)?;
        self.keep(stream);
        Ok(answer)
    }

    /// Of more questions than the engine has room for some wait.
    fn turn(&self, time: Duration) -> Option<Turn<'_>> {
        let full = |asking: &mut usize| *asking >= MOST_ASKING;
        let waited = self.answered.wait_timeout_while(crate::locked(&self.asking), time, full);
        let (mut asking, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        if waited.timed_out() {
            return None;
        }
        *asking += 1;
        Some(Turn(self))
    }

    fn keep(&self, stream: UnixStream) {
        let mut idle = crate::locked(&self.idle);
        if idle.len() < MOST_IDLE {
            idle.push(stream);
        }
    }

    fn odd(&self) -> LinkError {
        let source = io::Error::new(io::ErrorKind::InvalidData, "it answered something else than was asked");
        LinkError { socket: self.socket.clone(), source }
    }
}

/// A stream that has waited long enough says the one or the other.
fn is_late(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock)
}

fn exchange(stream: &UnixStream, ask: &Ask, time: Duration) -> io::Result<Answer> {
    let mut within = Within::new(stream, time);
    frame::write(&mut within, ask, MOST_ASKED)?;
    let answer = frame::read(&mut within, MOST_ANSWERED)?;
    answer.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

impl Front for Link {
    fn view(&self) -> Option<View> {
        self.view_after(self.news(false))
    }

    fn scrape(&self, with_usage: bool) -> Scrape {
        let (counters, used, asked) = match self.scraped(with_usage) {
            Ok((counters, used)) => (counters, used, Ok(())),
            Err(error) => (String::new(), vec![], Err(error)),
        };
        Scrape { view: self.view_after(asked), counters, usage: Arc::new(move |seen| with_used(seen, &used)) }
    }

    fn may_grow(&self) -> bool {
        let now = crate::locked(&self.now);
        now.growing.is_some() || now.known == Known::default()
    }

    fn receive(&self, delivery: Delivery) -> Result<Vec<Accepted>, SubmitError> {
        let mut accepted = vec![];
        for part in parts(delivery) {
            match self.ask(&part, WRITTEN) {
                Ok(Answer::Received(Ok(some))) => accepted.extend(some),
                Ok(Answer::Received(Err(why))) => return Err(SubmitError::Elsewhere(why)),
                Ok(_) => return Err(SubmitError::Elsewhere(crate::chain(&self.odd()))),
                Err(error) => return Err(SubmitError::Elsewhere(crate::chain(&error))),
            }
        }
        Ok(accepted)
    }

    fn not_written(&self, within: Duration) -> String {
        match self.ask(&Ask::NotWritten { seconds: within.as_secs() }, WHY) {
            Ok(Answer::NotWritten(why)) => why,
            Ok(_) => crate::chain(&self.odd()),
            Err(error) => format!("{}; this may still be written later", crate::chain(&error)),
        }
    }
}

/// The file systems with what the engine says of them; one of which it says nothing does not answer.
fn with_used(seen: Vec<FileSystem>, used: &[Used]) -> Vec<FileSystem> {
    let used: HashMap<(&MountPoint, DeviceNumber), &Used> =
        used.iter().map(|used| ((&used.mount_point, used.device), used)).collect();
    let now = |fs: FileSystem| {
        let found = used.get(&(&fs.mount.mount_point, fs.mount.device));
        let (usage, errors) = found.map_or((None, fs.errors), |used| (used.usage, used.errors));
        FileSystem { usage, errors, ..fs }
    };
    seen.into_iter().map(now).collect()
}

/// A delivery in pieces none of which is too long for a question. Each is known again by itself when all of it comes
/// again.
fn parts(delivery: Delivery) -> Vec<Ask> {
    let Delivery { requests, refusals, mut refused, digest: whole } = delivery;
    let wish = |request: Request| {
        let Request { lv, source, fingerprint } = request;
        Submitted { lv, source, fingerprint }
    };
    let mut wishes = in_pieces(requests.into_iter().map(wish)).into_iter();
    let refusal = |event| match event {
        Event::Refused { source, refusal, .. } => Some(Refused { source, refusal }),
        _ => None,
    };
    let mut refusals = in_pieces(refusals.into_iter().filter_map(refusal)).into_iter();
    let mut asks = vec![];
    loop {
        // The refusals come behind all that is to be accepted.
        let requests = wishes.next().unwrap_or_default();
        let refusals = if requests.is_empty() { refusals.next().unwrap_or_default() } else { vec![] };
        if !asks.is_empty() && requests.is_empty() && refusals.is_empty() {
            return asks;
        }
        let digest = whole.map(|whole| of_piece(&whole, asks.len()));
        asks.push(Ask::Receive { requests, refusals, refused: std::mem::take(&mut refused), digest });
    }
}

fn of_piece(whole: &[u8; 32], number: usize) -> [u8; 32] {
    let mut hashed = Context::new(&SHA256);
    hashed.update(whole);
    hashed.update(&number.to_le_bytes());
    hashed.finish().as_ref().try_into().unwrap_or(*whole)
}

fn in_pieces<T: Serialize>(all: impl Iterator<Item = T>) -> Vec<Vec<T>> {
    let (mut pieces, mut size): (Vec<Vec<T>>, usize) = (vec![], 0);
    for one in all {
        let own = serde_json::to_vec(&one).map_or(0, |json| json.len() + 1);
        match pieces.last_mut() {
            Some(piece) if size + own <= PART => {
                piece.push(one);
                size += own;
            }
            _ => {
                pieces.push(vec![one]);
                size = own;
            }
        }
    }
    pieces
}

/// Files that the engine opens for the web side.
pub struct Files(pub Arc<Link>);

impl Files {
    fn place(&self, file: &Path) -> io::Result<(u32, usize)> {
        match self.0.ask(&Ask::Files, SOON).map_err(io::Error::other)? {
            Answer::Files { list, files } => {
                let place = files.iter().position(|named| named == file);
                let none = || {
                    io::Error::new(io::ErrorKind::NotFound, "the engine does not hand it over, for nothing names it")
                };
                place.map(|place| (list, place)).ok_or_else(none)
            }
            _ => Err(io::Error::other(self.0.odd())),
        }
    }
}

impl Elsewhere for Files {
    fn read(&self, file: &Path) -> io::Result<Vec<u8>> {
        let (list, place) = self.place(file)?;
        match self.0.ask(&Ask::File { list, place }, SOON).map_err(io::Error::other)? {
            Answer::File(Ok(content)) => BASE64_STANDARD.decode(content).map_err(io::Error::other),
            Answer::File(Err(why)) => Err(io::Error::other(why)),
            _ => Err(io::Error::other(self.0.odd())),
        }
    }

    fn mark(&self, file: &Path) -> Option<FileMark> {
        let (list, place) = self.place(file).ok()?;
        match self.0.ask(&Ask::Mark { list, place }, SOON) {
            Ok(Answer::Mark(mark)) => mark,
            _ => None,
        }
    }
}

/// The records, read from the engine.
pub struct RecordsOverLink {
    link: Arc<Link>,
    /// What those so far mean, and the number of the last of them.
    read: Mutex<(State, u64)>,
}

impl RecordsOverLink {
    /// From that engine.
    pub fn new(link: Arc<Link>) -> RecordsOverLink {
        RecordsOverLink { link, read: Mutex::default() }
    }

    /// Hands over what there is behind the last that was handed over; it waits for something if that is wished.
    ///
    /// # Errors
    ///
    /// If there is no engine.
    pub fn read(&self, wait: bool, tell: &mut dyn FnMut(Record<'_>)) -> Result<u64, LinkError> {
        let mut read = crate::locked(&self.read);
        let time = if wait { WAIT + SOON } else { SOON };
        let Answer::Records(told) = self.link.ask(&Ask::Records { after: read.1, wait }, time)? else {
            return Err(self.link.odd());
        };
        let Told { before, entries, last } = *told;
        if let Some(before) = before {
            read.1 = before.records;
            read.0 = before;
        }
        if last < read.1 {
            // The journal was begun anew.
            *read = Default::default();
        }
        for entry in entries {
            let (state, number) = &mut *read;
            *number += 1;
            tell(Record { number: *number, entry: &entry, before: state });
            state.apply(&entry);
        }
        Ok(last)
    }

    /// Hands over each record as it comes, for as long as the process lives.
    pub fn follow(self: Arc<RecordsOverLink>, mut tell: impl FnMut(Record<'_>) + Send + 'static) {
        std::thread::spawn(move || {
            loop {
                if self.read(true, &mut tell).is_err() {
                    std::thread::sleep(AGAIN);
                }
            }
        });
    }
}

impl notify::Records for RecordsOverLink {
    fn progress(&self) -> Option<u64> {
        match self.link.ask(&Ask::Progress, SOON) {
            Ok(Answer::Progress(number)) => number,
            _ => None,
        }
    }

    fn told(&self, number: u64) {
        // What is not kept is told twice.
        let _ = self.link.ask(&Ask::Told { number }, SOON);
    }

    fn last(&self) -> u64 {
        crate::locked(&self.link.now).known.records
    }

    fn all(&self, tell: &mut dyn FnMut(Record<'_>)) -> Result<(), String> {
        loop {
            let last = self.read(false, tell).map_err(|error| crate::chain(&error))?;
            if crate::locked(&self.read).1 >= last {
                return Ok(());
            }
        }
    }
}
