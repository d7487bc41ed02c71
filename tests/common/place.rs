//! The program as it is called: a folder with a config and a simulated host, and daemons in it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use super::{HOST, folder};

/// A folder with a config and a simulated host.
pub(crate) struct Place(pub(crate) TempDir);

impl Place {
    pub(crate) fn new(config: &str) -> Place {
        let place = Place(folder());
        place.write("config.yaml", &format!("{config}\nstate: {{ directory: {} }}\n", place.path("state").display()));
        place.write("host.yaml", HOST);
        place
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    #[expect(clippy::disallowed_methods, reason = "a test writes its input")]
    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).expect("writable");
    }

    pub(crate) fn config(&self) -> String {
        format!("--config.file={}", self.path("config.yaml").display())
    }

    pub(crate) fn host(&self) -> String {
        format!("--simulate={}", self.path("host.yaml").display())
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        let child = self.start(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        child.wait_with_output().expect("it ends")
    }

    pub(crate) fn start(&self, arguments: &[&str]) -> std::process::Command {
        let mut command = super::split::daemon();
        command.args(arguments).env_remove("RUST_LOG").current_dir(self.0.path()).stdin(Stdio::null());
        command
    }

    /// `serve` on the simulated host, with whatever else is asked for.
    pub(crate) fn serve(&self, more: &[&str]) -> Served {
        let (config, host) = (self.config(), self.host());
        let mut arguments = vec!["serve", &config, &host, "--web.listen-address=127.0.0.1:0"];
        arguments.extend(more);
        let mut child =
            self.start(&arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        let mut log = BufReader::new(child.stderr.take().expect("piped"));
        let mut begun = String::new();
        while !begun.contains("listening") {
            assert!(log.read_line(&mut begun).expect("text") > 0, "it ended: {begun}");
        }
        Served { child, log, begun }
    }
}

/// A daemon that listens; killed if a test fails.
pub(crate) struct Served {
    pub(crate) child: Child,
    pub(crate) log: BufReader<std::process::ChildStderr>,
    pub(crate) begun: String,
}

impl Served {
    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).expect("it runs");
    }

    /// The body of an answer.
    pub(crate) fn get(&self, path: &str) -> String {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"))
    }

    /// What became of one alert with these labels.
    pub(crate) fn alert(&self, labels: &[(&str, &str)]) -> serde_json::Value {
        let labels: serde_json::Map<String, serde_json::Value> =
            labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect();
        let alerts = serde_json::json!([{ "status": "firing", "labels": labels, "fingerprint": "1" }]);
        let body = serde_json::json!({ "version": "4", "groupKey": "{}", "alerts": alerts }).to_string();
        let head = "POST /webhook/alertmanager HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json";
        let answer = self.ask(&format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
        let answer: serde_json::Value = serde_json::from_str(&answer).expect("JSON");
        answer["alerts"][0].clone()
    }

    fn ask(&self, request: &str) -> String {
        let address = self.begun.rsplit("address=").next().and_then(|rest| rest.split_whitespace().next());
        let mut stream = TcpStream::connect(address.expect("an address").trim_matches('"')).expect("it listens");
        stream.write_all(request.as_bytes()).expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer.split_once("\r\n\r\n").expect("a body").1.to_owned()
    }

    /// Exit code, standard output, the whole log.
    pub(crate) fn end(mut self) -> (Option<i32>, String, String) {
        self.signal(Signal::SIGTERM);
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                break status;
            }
            assert!(begun.elapsed() < Duration::from_secs(10), "it does not stop");
            std::thread::sleep(Duration::from_millis(5));
        };
        let (mut out, mut log) = (String::new(), std::mem::take(&mut self.begun));
        self.child.stdout.take().expect("piped").read_to_string(&mut out).expect("text");
        self.log.read_to_string(&mut log).expect("text");
        (status.code(), out, log)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

pub(crate) fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("text")
}
