//! A server on a world, over a real socket, and what is asked of it.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use lvm_autoscaler::alert::instance::OwnNames;
use lvm_autoscaler::app::{self, reports::Reporter};
use lvm_autoscaler::config::InForce;
use lvm_autoscaler::engine::{self, Handle, Inside};
use lvm_autoscaler::host::{Focus, Host, look};
use lvm_autoscaler::inventory::Latest;
use lvm_autoscaler::metrics::exposition::Exposition;
use lvm_autoscaler::metrics::selection::Selection;
use lvm_autoscaler::plan::applied;
use lvm_autoscaler::routes::{Context, Pages, StatusPages};
use lvm_autoscaler::server::{self, Access, Limits, Listeners};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::sync::watch;

use super::{World, eventually};

/// As they are, but nobody waits long for a body.
pub(crate) fn limits() -> Limits {
    Limits { body: Duration::from_millis(300), ..Limits::default() }
}

/// A server on a world, until it is dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) context: Arc<Context>,
    pub(crate) handle: Arc<OnceLock<Handle>>,
    pub(crate) stop: watch::Sender<bool>,
    pub(crate) _runtime: Runtime,
}

impl Server {
    pub(crate) fn start(world: &World) -> Server {
        let server = Server::without_inventory(world, Some(engine::start(world.shared(false))));
        let inventory = look(world.sim.as_ref(), Focus::Everything).expect("LVM answers");
        server.context.in_force.change(|config| applied(config, &inventory));
        server.context.latest.set(Some(inventory), Duration::from_millis(3));
        server
    }

    pub(crate) fn without_inventory(world: &World, engine: Option<Handle>) -> Server {
        Server::with(world, engine, limits(), Access::default())
    }

    pub(crate) fn with(world: &World, engine: Option<Handle>, limits: Limits, access: Access) -> Server {
        let runtime = Runtime::new().expect("a runtime");
        let latest = Arc::new(Latest::default());
        let host = Arc::clone(&world.sim) as Arc<dyn Host>;
        let metrics = engine.as_ref().map_or_else(Arc::default, |engine| Arc::clone(&engine.shared().metrics));
        let (clock, named) = (Arc::clone(&world.sim), Arc::clone(&world.sim));
        let in_force = engine
            .as_ref()
            .map_or_else(|| InForce::new(Arc::clone(&world.config)), |engine| Arc::clone(&engine.shared().in_force));
        let engine = Arc::new(engine.map_or_else(OnceLock::new, OnceLock::from));
        let reporter = Reporter {
            in_force: Arc::clone(&in_force),
            host: Arc::clone(&host),
            latest: Arc::clone(&latest),
            engine: Arc::clone(&engine),
            metrics: Arc::clone(&metrics),
        };
        let context = Arc::new(Context {
            telemetry_path: "/metrics".to_owned(),
            in_force,
            own_names: Box::new(move || OwnNames::new(named.own_names())),
            front: Arc::new(Inside { engine: Arc::clone(&engine), metrics, usage: app::read_usage(host) }),
            report: Arc::new(reporter).maker(),
            reporting: tokio::sync::Mutex::default(),
            exposition: Exposition::new(Selection::default(), Arc::clone(&latest), || None),
            pages: Pages::default(),
            status: StatusPages::new("db1", move || clock.moment()),
            latest,
            metrics: Arc::default(),
            limits,
            access: Arc::new(access),
            draining: AtomicBool::new(false),
        });
        let anywhere = "127.0.0.1:0".parse().expect("an address");
        let listeners = Listeners::bind(&[anywhere]).expect("a port");
        let address = listeners.addresses()[0].tcp().expect("a port");
        let (stop, stopped) = watch::channel(false);
        runtime.spawn(server::serve(listeners, Arc::clone(&context), stopped));
        Server { address, context, handle: engine, stop, _runtime: runtime }
    }

    pub(crate) fn connect(&self) -> TcpStream {
        connect(self.address).expect("it listens")
    }

    /// Sends these bytes as they are.
    pub(crate) fn raw(&self, request: &[u8]) -> Answer {
        let mut stream = self.connect();
        // A server that refuses early may close before everything is sent.
        let _ = stream.write_all(request);
        Answer::read(&mut stream)
    }

    pub(crate) fn ask(&self, method: &str, path: &str, headers: &str) -> Answer {
        self.raw(
            format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n").as_bytes(),
        )
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, "")
    }

    pub(crate) fn post(&self, body: &[u8]) -> Answer {
        self.post_to("/webhook/alertmanager", "", body)
    }

    pub(crate) fn post_to(&self, path: &str, headers: &str, body: &[u8]) -> Answer {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n{headers}\r\n",
            body.len()
        );
        self.raw(&[head.as_bytes(), body].concat())
    }

    pub(crate) fn alerts(&self, alerts: Value) -> Answer {
        self.post(json!({ "version": "4", "groupKey": "{}", "alerts": alerts }).to_string().as_bytes())
    }

    pub(crate) fn metric(&self, series: &str) -> Option<String> {
        let page = self.get("/metrics").body;
        page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ').map(str::to_owned))
    }

    pub(crate) fn engine(&self) -> &Handle {
        self.handle.get().expect("there is one")
    }

    pub(crate) fn idle(&self) {
        eventually("all are decided about", || {
            let state = self.engine().shared().state();
            state.pending.is_empty() && state.running.is_empty()
        });
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.stop.send(true);
        if let Some(engine) = self.handle.get() {
            engine.drain();
        }
    }
}

/// Longer than any answer takes; a test that waits for more fails and does not hang.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// A connection on which neither reading nor writing waits for ever.
pub(crate) fn connect(to: impl ToSocketAddrs) -> io::Result<TcpStream> {
    let to = to.to_socket_addrs()?.next().ok_or(ErrorKind::NotFound)?;
    let stream = TcpStream::connect_timeout(&to, DEADLINE)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.set_write_timeout(Some(DEADLINE))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// The same for several requests, see [`Answer::next`].
pub(crate) fn kept(to: SocketAddr) -> io::Result<BufReader<TcpStream>> {
    connect(to).map(BufReader::new)
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn read(stream: &mut TcpStream) -> Answer {
        let mut bytes = Vec::new();
        // A reset after the answer is how a server closes while the client still sends.
        let _ = stream.read_to_end(&mut bytes);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        Answer { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
    }

    /// One answer of a connection that is kept. It must announce its length.
    pub(crate) fn next(stream: &mut BufReader<TcpStream>) -> io::Result<Answer> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if stream.read_line(&mut head)? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        let head = head.trim_end().to_ascii_lowercase();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        let mut answer = Answer { status, head, body: String::new() };
        let length = answer.header("content-length").and_then(|length| length.parse().ok());
        let mut body = vec![0; length.ok_or(ErrorKind::InvalidData)?];
        stream.read_exact(&mut body)?;
        answer.body = String::from_utf8_lossy(&body).into_owned();
        Ok(answer)
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    pub(crate) fn verdicts(&self) -> Vec<(String, String)> {
        let body: Value = serde_json::from_str(&self.body).expect("JSON");
        let text = |value: &Value| value.as_str().unwrap_or("").to_owned();
        let alerts = body["alerts"].as_array().expect("a verdict per alert").iter();
        alerts.map(|alert| (text(&alert["verdict"]), text(&alert["code"]))).collect()
    }
}

pub(crate) fn firing(labels: Value) -> Value {
    json!({ "status": "firing", "labels": labels, "annotations": {}, "startsAt": "2026-01-01T00:00:00Z",
        "endsAt": "0001-01-01T00:00:00Z", "generatorURL": "", "fingerprint": "00aa00aa00aa00aa" })
}
