//! One of the two processes of a daemon, started by itself.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::common::eventually;
use crate::common::place::Place;

/// Killed at the end.
pub(crate) struct Half {
    pub(crate) process: Child,
    log: Arc<Mutex<String>>,
}

impl Drop for Half {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Half {
    /// On the place's config, simulated host and socket.
    pub(crate) fn of(place: &Place, arguments: &[&str]) -> Half {
        let socket = format!("--engine.socket={}", place.path("engine.sock").display());
        Half::spawn(place.start(&[arguments, &[&socket, &place.config(), &place.host()]].concat()))
    }

    /// And it has said so much.
    pub(crate) fn that_says(until: &str, place: &Place, arguments: &[&str]) -> Half {
        let half = Half::of(place, arguments);
        half.line(until);
        half
    }

    pub(crate) fn spawn(mut command: Command) -> Half {
        let mut process = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts");
        let lines = BufReader::new(process.stderr.take().expect("piped")).lines();
        let log = Arc::new(Mutex::new(String::new()));
        let writes = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                *writes.lock().expect("not poisoned") += &format!("{line}\n");
            }
        });
        Half { process, log }
    }

    /// All that it has said.
    pub(crate) fn log(&self) -> String {
        self.log.lock().expect("not poisoned").clone()
    }

    pub(crate) fn says(&self, what: &str) -> bool {
        self.log().contains(what)
    }

    /// The first line of its log with this, which is waited for.
    pub(crate) fn line(&self, part: &str) -> String {
        eventually(part, || self.says(part));
        self.log().lines().find(|line| line.contains(part)).expect("it says so").to_owned()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.process.id().cast_signed()), signal).expect("it runs");
    }

    pub(crate) fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
