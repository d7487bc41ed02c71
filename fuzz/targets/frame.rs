//! What a web process may say to the engine: whatever it is, the engine is asked for nothing but targets of its config,
//! within the bounds of the protocol, and what is answered is a whole frame or the end of the connection.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use lvm_autoscaler::config::{self, Config, InForce};
use lvm_autoscaler::engine::{Accepted, Delivery, Front, Scrape, SubmitError, View};
use lvm_autoscaler::inventory::Latest;
use lvm_autoscaler::journal::{Event, Source, State};
use lvm_autoscaler::plan::Moment;
use lvm_autoscaler::wire::{Engine, Parts};

const CONFIG: &str = "monitor: { targets: [{ lv_path: vg/full, mount_point: /full }] }";
/// As docs/security.md has it.
const LONGEST: usize = 64 << 10;
/// What was asked of the engine and may not be; a thread of its own saw it.
static WRONG: Mutex<Option<String>> = Mutex::new(None);

pub fn run(data: &[u8]) {
    static SOCKET: OnceLock<PathBuf> = OnceLock::new();
    let socket = SOCKET.get_or_init(start);
    // A question that waits for news would have to be waited for.
    if data.windows(6).any(|bytes| bytes == b"\"wait\"") && data.windows(4).any(|bytes| bytes == b"true") {
        return;
    }
    say(socket, data);
    let length = u32::try_from(data.len()).expect("an input is short");
    say(socket, &[&1_u32.to_le_bytes()[..], &length.to_le_bytes(), data].concat());
    assert_eq!(*WRONG.lock().expect("no panic"), None);
}

fn say(socket: &PathBuf, bytes: &[u8]) {
    let mut stream = UnixStream::connect(socket).expect("the engine listens");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
    // It may be closed before all is said.
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(Shutdown::Write);
    let mut answers = Vec::new();
    match stream.read_to_end(&mut answers) {
        Ok(_) => {}
        // Closed while there was more to be read.
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return,
        Err(error) => unreachable!("no end of the connection: {error}"),
    }
    let mut rest = answers.as_slice();
    while !rest.is_empty() {
        let length = u32::from_le_bytes(rest[4..8].try_into().expect("four bytes")) as usize;
        serde_json::from_slice::<serde_json::Value>(&rest[8..8 + length]).expect("an answer is JSON");
        rest = &rest[8 + length..];
    }
}

fn start() -> PathBuf {
    let socket = tempfile::tempdir().expect("a folder").keep().join("engine.sock");
    let config = config::parse(CONFIG, "config.yaml".as_ref()).expect("it is valid");
    let front = Arc::new(Watched(config.clone()));
    let parts = Parts {
        front,
        in_force: InForce::new(config),
        latest: Arc::new(Latest::default()),
        names: Box::new(|| vec!["db1".to_owned()]),
        clock: Box::new(|| jiff::Timestamp::UNIX_EPOCH.into()),
        is_simulated: true,
        process: || None,
        report: Arc::new(|_| Ok("a report".to_owned())),
        files: Box::new(Vec::new),
    };
    Engine::new(parts, vec![]).serve(UnixListener::bind(&socket).expect("a socket"), None);
    socket
}

/// An engine that believes that whatever is asked of it may be asked.
struct Watched(Config);

impl Front for Watched {
    fn view(&self) -> Option<View> {
        let now: Moment = jiff::Timestamp::UNIX_EPOCH.into();
        let state = Arc::new(State::default());
        Some(View { state, standing: Default::default(), trouble: None, waiting: 0, dry_run: false, now })
    }

    fn may_grow(&self) -> bool {
        true
    }

    fn receive(&self, delivery: Delivery) -> Result<Vec<Accepted>, SubmitError> {
        let is_a_senders = |source: &Source| matches!(source, Source::Alertmanager | Source::Grafana);
        let may_be_asked = delivery.requests.iter().all(|request| {
            self.0.target(&request.lv).is_some() && is_a_senders(&request.source) && request.fingerprint.len() < LONGEST
        });
        let may_be_told = delivery.refusals.iter().all(|event| match event {
            Event::Refused { request: None, lv: None, source, refusal, .. } => {
                is_a_senders(source) && refusal.sentence.len() < LONGEST && refusal.lack.is_none()
            }
            _ => false,
        });
        if !may_be_asked || !may_be_told {
            *WRONG.lock().expect("no panic") = Some(format!("{delivery:?}"));
        }
        Ok(vec![])
    }

    fn not_written(&self, within: Duration) -> String {
        format!("{within:?}")
    }

    fn scrape(&self, _with_usage: bool) -> Scrape {
        Scrape { view: self.view(), counters: String::new(), usage: Arc::new(|seen| seen) }
    }
}
