//! Access control. Every request passes through [`Access::check`], whatever its path and listener.
//!
//! Two layers. The web config is that of exporter-toolkit and covers every path alike. The webhook, which alone can
//! make something grow, may ask for credentials of its own: as a request has one `Authorization` header, what the
//! config says for the webhook stands there in place of the web config's users. Certificates of clients count in both
//! layers.
//!
//! Files are read again when they changed. A web config that is wrong, or would leave the webhook open, leaves the one
//! before in force; a token that cannot be read lets nobody in, and is asked for again.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use hyper::header::{
    AUTHORIZATION, CACHE_CONTROL, HeaderMap, HeaderName, HeaderValue, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Request, StatusCode};
use tokio_rustls::rustls::ServerConnection;
use tokio_rustls::rustls::pki_types::{CertificateDer, UnixTime};

use super::answer::{Answer, last, text};
use super::basic::{self, Answered, RightPasswords};
use super::gate::Gate;
use super::listen::ListenAddress;
use super::places::{Doing, Seat, Seldom};

use super::tls::{self, TlsError};
use super::turns::Source;
use crate::config::web::{self, BcryptHash, ClientAuth};
use crate::config::{Authorization, Config, ConfigError, Secret, SecretError};
use crate::files::{self, Doubt, FileMark, Trust};
use crate::metrics::edge::Limit;

/// Files are looked at this often at most: a certificate or token that was replaced is in use a second later.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Why the credentials cannot be used.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum AccessError {
    #[error(transparent)]
    Web(#[from] ConfigError),
    #[error("a file is not used")]
    Untrusted(#[from] Doubt),
    #[error("{}: tls_server_config", file.display())]
    Tls {
        file: PathBuf,
        #[source]
        source: TlsError,
    },
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error("{0}")]
    Open(String),
}

/// Who is at the other end of a connection.
pub(crate) struct Peer {
    /// From where.
    pub(super) source: Source,
    /// Through a listener that only this host can reach over TCP: a browser on this host can, whatever page it shows.
    pub(super) is_loopback: bool,
    /// The place of the connection.
    pub(super) seat: Arc<Seat>,
    /// What all connections share.
    pub(crate) gate: Arc<Gate>,
    /// The certificates that were shown, its own first.
    chain: Vec<CertificateDer<'static>>,
    /// When they were last verified, and by which web config.
    verified: Mutex<Option<(Instant, Weak<Web>)>>,
}

impl Peer {
    pub(super) fn new(source: Source, is_loopback: bool, seat: Arc<Seat>, gate: Arc<Gate>) -> Peer {
        Peer { source, is_loopback, seat, gate, chain: vec![], verified: Mutex::default() }
    }

    pub(super) fn has_shown(&mut self, connection: &ServerConnection) {
        let shown = connection.peer_certificates().unwrap_or_default();
        self.chain = shown.iter().map(|certificate| certificate.clone().into_owned()).collect();
    }

    /// Whether a connection that is kept could be made anew: a CA that was taken back, or a certificate that expired,
    /// ends with the next request.
    fn is_still_verified(&self, web: &Arc<Web>) -> bool {
        let Some(tls) = &web.tls else { return true };
        let mut verified = crate::locked(&self.verified);
        let is_known = verified
            .as_ref()
            .is_some_and(|(at, by)| at.elapsed() < LOOK_AGAIN && std::ptr::eq(by.as_ptr(), Arc::as_ptr(web)));
        if is_known || !tls.verifier.offer_client_auth() {
            return true;
        }
        let holds = match self.chain.split_first() {
            Some((own, others)) => tls.verifier.verify_client_cert(own, others, UnixTime::now()).is_ok(),
            None => !tls.verifier.client_auth_mandatory(),
        };
        *verified = holds.then(|| (Instant::now(), Arc::downgrade(web)));
        holds
    }

    /// A certificate that nobody verified has no name.
    fn has_one_of(&self, web: &Web, allowed: &[String]) -> bool {
        let own = self.chain.first().filter(|_| web.client_auth.verifies());
        own.is_some_and(|own| tls::names(own).iter().any(|name| allowed.contains(name)))
    }
}

/// What is asked of those who connect; by default nothing.
#[derive(Default)]
pub struct Access {
    file: Option<PathBuf>,
    listeners: Vec<ListenAddress>,
    of: Of,
    web: Mutex<Seen<Arc<Web>>>,
    secret: Mutex<Seen<Option<(PathBuf, Secret)>>>,
    verdicts: RightPasswords,
    failures: Seldom,
    bucket: Mutex<Option<(Instant, f64)>>,
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access").field("file", &self.file).finish_non_exhaustive()
    }
}

/// What the credentials stand before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Of {
    #[default]
    Daemon,
    /// It has no config of its own, and no targets: what it passes on it vouches for with its own credentials.
    Relay,
}

type Mark = (PathBuf, Option<FileMark>);

/// Something that was made from files, and how those were then.
#[derive(Default)]
struct Seen<T> {
    made: T,
    files: Vec<Mark>,
    looked: Option<Instant>,
    /// Why the last attempt to make it again failed.
    failed: Option<String>,
}

impl<T> Seen<T> {
    /// Whether it is time to look at the files. Says so once, so that of many requests one looks.
    fn is_due(&mut self) -> bool {
        let due = self.looked.is_none_or(|looked| looked.elapsed() >= LOOK_AGAIN);
        if due {
            self.looked = Some(Instant::now());
        }
        due
    }
}

fn changed(files: &[Mark]) -> bool {
    files.iter().any(|(file, mark)| FileMark::of(file) != *mark)
}

fn marks(files: impl IntoIterator<Item = PathBuf>) -> Vec<Mark> {
    files.into_iter().map(|file| (file.clone(), FileMark::of(&file))).collect()
}

/// The web config, ready to be used.
#[derive(Default)]
pub(super) struct Web {
    pub(super) tls: Option<tls::Speaks>,
    pub(super) client_auth: ClientAuth,
    headers: Vec<(HeaderName, HeaderValue)>,
    users: Vec<(String, BcryptHash)>,
    rate_limit: Option<(Duration, u32)>,
}

impl Access {
    /// Reads the web config, and says whether it may be used on these listeners.
    pub fn load(file: Option<&Path>, listeners: Vec<ListenAddress>, config: &Config) -> Result<Access, AccessError> {
        Access::of(Of::Daemon, file, listeners, config)
    }

    /// The same for a relay: whoever reaches its webhook reaches those of all its hosts.
    pub fn of_relay(file: Option<&Path>, listeners: Vec<ListenAddress>) -> Result<Access, AccessError> {
        Access::of(Of::Relay, file, listeners, &Config::default())
    }

    fn of(of: Of, file: Option<&Path>, listeners: Vec<ListenAddress>, config: &Config) -> Result<Access, AccessError> {
        let access = Access { file: file.map(Path::to_owned), listeners, of, ..Access::default() };
        if let Some(file) = file {
            *crate::locked(&access.web) = read_web(file, config.trust)?;
        }
        access.admits(config)?;
        Ok(access)
    }

    /// Whether a config may be in force here. Who can reach the webhook can make volumes grow, so where another host
    /// can, credentials must be asked for.
    pub fn admits(&self, config: &Config) -> Result<(), AccessError> {
        let web = Arc::clone(&crate::locked(&self.web).made);
        self.rule(&web, config)?;
        if let Some(authorization) = &config.credentials.authorization {
            Secret::read(authorization.file())?;
            if FileMark::of(authorization.file()).is_some_and(|found| found.is_world_readable()) {
                let file = authorization.file().display();
                tracing::warn!("{file} can be read by everybody on this host: chmod 640, and own it to root");
            }
        }
        let asks = config.credentials.authorization.is_some() || !web.users.is_empty();
        let open = self.listeners.iter().find(|address| !address.is_local());
        if let (Some(open), None, true) = (open, &web.tls, asks) {
            tracing::warn!("{open} is plain text: credentials can be read on the way, see docs/security.md");
        }
        Ok(())
    }

    /// Whether a config and a web config may be in force together on these listeners.
    fn rule(&self, web: &Web, config: &Config) -> Result<(), AccessError> {
        let credentials = &config.credentials;
        if credentials.allowed_sans.is_some() && !(web.tls.is_some() && web.client_auth.verifies()) {
            return Err(AccessError::Open(
                "webhook.client_certificate needs TLS that verifies certificates: set client_auth_type to \
                 VerifyClientCertIfGiven or RequireAndVerifyClientCert in the file of --web.config.file"
                    .to_owned(),
            ));
        }
        let asks = credentials.ask()
            || !web.users.is_empty()
            || web.tls.is_some() && web.client_auth == ClientAuth::RequireAndVerifyClientCert;
        let Some(open) = self.listeners.iter().find(|address| !address.is_local()).filter(|_| !asks) else {
            return Ok(());
        };
        let what_to_do = match self.of {
            Of::Daemon if config.grows_nothing() => return Ok(()),
            Of::Daemon => {
                "set webhook.authorization in the config (or basic_auth_users or client certificates in the file of \
                 --web.config.file), listen on 127.0.0.1 or unix:/PATH, or remove monitor.targets to have only metrics"
            }
            Of::Relay => {
                "set basic_auth_users, or client_auth_type: RequireAndVerifyClientCert, in the file of \
                 --web.config.file, or listen on 127.0.0.1 or unix:/PATH"
            }
        };
        Err(AccessError::Open(format!(
            "{open} can be reached from the network and the webhook asks for no credentials: {what_to_do}"
        )))
    }

    /// The web config as it is now.
    pub(super) async fn web(self: &Arc<Self>, config: &Arc<Config>) -> Arc<Web> {
        let (file, is_due) = {
            let mut seen = crate::locked(&self.web);
            (self.file.clone(), self.file.is_some() && seen.is_due())
        };
        if let (Some(file), true) = (file, is_due) {
            let (access, config) = (Arc::clone(self), Arc::clone(config));
            // Files may be on a disk that is busy.
            let _ = tokio::task::spawn_blocking(move || access.read_web_again(&file, &config)).await;
        }
        Arc::clone(&crate::locked(&self.web).made)
    }

    fn read_web_again(&self, file: &Path, config: &Config) {
        // No lock is held while a disk is waited for.
        let (files, failed, had_tls) = {
            let seen = crate::locked(&self.web);
            (seen.files.clone(), seen.failed.clone(), seen.made.tls.is_some())
        };
        if failed.is_none() && !changed(&files) {
            return;
        }
        let read = read_web(file, config.trust).and_then(|new| {
            if new.made.tls.is_some() != had_tls {
                return Err(AccessError::Open("TLS can be turned on or off only by a restart".to_owned()));
            }
            self.rule(&new.made, config)?;
            Ok(new)
        });
        let mut seen = crate::locked(&self.web);
        match read {
            Ok(new) => {
                tracing::info!(file = %file.display(), "the web config or a certificate changed and was read again");
                *seen = new;
            }
            Err(error) => {
                let why = crate::chain(&error);
                // It is tried again each time, as what is missing may come, and said once.
                if failed.as_ref() != Some(&why) {
                    tracing::error!("the web config was not accepted, the one before stays in force: {why}");
                }
                seen.failed = Some(why);
            }
        }
    }

    /// Whether the web config in force is the one on disk, as far as is known.
    pub fn is_current(&self) -> bool {
        crate::locked(&self.web).failed.is_none()
    }

    /// Whether this request may be looked at, or what it is answered instead.
    pub(super) async fn check<B>(
        self: &Arc<Self>,
        config: &Arc<Config>,
        peer: &Peer,
        request: &Request<B>,
    ) -> Result<(), Answer> {
        let web = self.web(config).await;
        if !peer.is_still_verified(&web) {
            let says = "the certificate that this connection began with is not accepted any more, connect again\n";
            return Err(last(text(StatusCode::FORBIDDEN, says)));
        }
        let is_webhook = is_webhook(request.uri().path());
        // More than one is for whoever wants the next proxy to read another one than we do.
        let mut headers = request.headers().get_all(AUTHORIZATION).iter();
        let header = headers.next().filter(|_| headers.next().is_none());
        let own = config.credentials.authorization.as_ref().filter(|_| is_webhook);
        let checked = match own {
            Some(authorization) => self.check_webhook(authorization, header).await,
            None => self.check_user(&web, peer, header).await,
        };
        if let Err(answer) = checked {
            // Without any, a browser asks before it asks its user.
            if answer.status() == StatusCode::UNAUTHORIZED && request.headers().contains_key(AUTHORIZATION) {
                self.has_failed(peer);
            }
            return Err(answer);
        }
        // Only those who may ask use it up. Alertmanager does not come again after a 429.
        if !is_webhook && !self.takes_one(web.rate_limit) {
            return Err(text(StatusCode::TOO_MANY_REQUESTS, "too many requests\n"));
        }
        match &config.credentials.allowed_sans {
            Some(allowed) if is_webhook && !peer.has_one_of(&web, allowed) => Err(text(
                StatusCode::FORBIDDEN,
                "the webhook is for clients with a certificate that webhook.client_certificate names\n",
            )),
            _ => Ok(()),
        }
    }

    /// Neither user nor password is logged: people type one where the other belongs.
    fn has_failed(&self, peer: &Peer) {
        peer.gate.edge.login_failed(peer.seat.listener());
        if let Some(failures) = self.failures.due() {
            let (listener, source) = (peer.seat.listener(), peer.source);
            tracing::warn!(listener, %source, failures, "requests with wrong credentials were refused");
        }
    }

    async fn check_user(&self, web: &Web, peer: &Peer, header: Option<&HeaderValue>) -> Result<(), Answer> {
        if web.users.is_empty() {
            return Ok(());
        }
        let Some((user, password)) = header.and_then(basic::read) else { return Err(unauthorized("Basic")) };
        if self.verdicts.are_known(&web.users, &user, &password) {
            return Ok(());
        }
        // Others may have its place meanwhile.
        peer.seat.does(Doing::Asking);
        match self.verdicts.check(&web.users, peer.source, &user, &password).await {
            Answered::Right => {
                peer.seat.does(Doing::Working);
                Ok(())
            }
            Answered::Wrong => Err(unauthorized("Basic")),
            Answered::Busy => {
                peer.gate.edge.hit(Limit::Passwords);
                Err(text(StatusCode::SERVICE_UNAVAILABLE, "too many passwords are being checked, try again\n"))
            }
        }
    }

    async fn check_webhook(
        self: &Arc<Self>,
        authorization: &Authorization,
        header: Option<&HeaderValue>,
    ) -> Result<(), Answer> {
        let (access, file) = (Arc::clone(self), authorization.file().to_owned());
        let secret = match self.known_secret(&file) {
            Some(secret) => Some(secret),
            None => tokio::task::spawn_blocking(move || access.secret_of(&file)).await.ok().flatten(),
        };
        let Some(secret) = secret else {
            return Err(text(StatusCode::SERVICE_UNAVAILABLE, "the webhook's credentials cannot be read, try again\n"));
        };
        let (scheme, is_right) = match authorization {
            Authorization::Token { scheme, .. } => {
                let offered = header.and_then(|header| basic::scheme(header, scheme));
                (scheme.as_str(), offered.is_some_and(|offered| secret.is(offered)))
            }
            Authorization::Basic { username, .. } => {
                let offered = header.and_then(basic::read);
                // Both are compared, whatever the first says.
                let right = offered.is_some_and(|(user, password)| {
                    Secret::new(username.as_str()).is(user.as_bytes()) & secret.is(password.as_bytes())
                });
                ("Basic", right)
            }
        };
        if is_right { Ok(()) } else { Err(unauthorized(scheme)) }
    }

    /// The secret, if it need not be read again.
    fn known_secret(&self, file: &Path) -> Option<Secret> {
        let mut seen = crate::locked(&self.secret);
        match &seen.made {
            Some((of, secret)) if of == file => {
                let secret = secret.clone();
                (!seen.is_due()).then_some(secret)
            }
            _ => None,
        }
    }

    fn secret_of(&self, file: &Path) -> Option<Secret> {
        let (known, files, failed) = {
            let seen = crate::locked(&self.secret);
            let known = seen.made.as_ref().filter(|(of, _)| of == file).map(|(_, secret)| secret.clone());
            (known, seen.files.clone(), seen.failed.clone())
        };
        if known.is_some() && !changed(&files) {
            return known;
        }
        let files = marks([file.to_owned()]);
        let read = Secret::read(file);
        let mut seen = crate::locked(&self.secret);
        match read {
            Ok(secret) => {
                let made = Some((file.to_owned(), secret.clone()));
                *seen = Seen { made, files, looked: Some(Instant::now()), failed: None };
                Some(secret)
            }
            Err(error) => {
                let why = crate::chain(&error);
                // What was right before may have been taken back: nobody gets in until it can be read.
                if failed.as_ref() != Some(&why) {
                    tracing::error!("webhook refuses all requests: {why}");
                }
                *seen = Seen { made: None, files, looked: None, failed: Some(why) };
                None
            }
        }
    }

    fn takes_one(&self, limit: Option<(Duration, u32)>) -> bool {
        let Some((interval, burst)) = limit else { return true };
        let now = Instant::now();
        let mut bucket = crate::locked(&self.bucket);
        let full = f64::from(burst);
        let tokens = bucket.map_or(full, |(since, tokens)| {
            (tokens + now.duration_since(since).as_secs_f64() / interval.as_secs_f64()).min(full)
        });
        let takes = tokens >= 1.0;
        *bucket = Some((now, if takes { tokens - 1.0 } else { tokens }));
        takes
    }

    /// Adds the headers that every answer has; the web config may say otherwise.
    pub(super) fn add_headers(&self, headers: &mut HeaderMap) {
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        let web = Arc::clone(&crate::locked(&self.web).made);
        web.headers.iter().for_each(|(name, value)| drop(headers.insert(name, value.clone())));
    }
}

/// All paths that can make something grow.
fn is_webhook(path: &str) -> bool {
    path.starts_with("/webhook/")
}

fn unauthorized(scheme: &str) -> Answer {
    let mut answer = text(StatusCode::UNAUTHORIZED, "wrong or missing credentials\n");
    if let Ok(value) = HeaderValue::from_str(scheme) {
        answer.headers_mut().insert(WWW_AUTHENTICATE, value);
    }
    answer
}

fn read_web(file: &Path, trust: Trust) -> Result<Seen<Arc<Web>>, AccessError> {
    let mut named = marks([file.to_owned()]);
    let read = web::load(file, trust)?;
    let (mut tls, mut client_auth) = (None, ClientAuth::NoClientCert);
    if let Some(wanted) = &read.tls {
        named.extend(marks(wanted.files()));
        named.iter().try_for_each(|(file, _)| trust.judge(files::doubt(file)))?;
        if wanted.allowed_sans.is_some() && wanted.client_auth == ClientAuth::NoClientCert {
            tracing::warn!("client_allowed_sans has no effect without a client_auth_type that asks for certificates");
        }
        client_auth = wanted.client_auth;
        tls = Some(tls::server(wanted).map_err(|source| AccessError::Tls { file: file.to_owned(), source })?);
    }
    let header =
        |(name, value): (String, String)| Some((HeaderName::try_from(name).ok()?, HeaderValue::try_from(value).ok()?));
    let headers = read.headers.into_iter().filter_map(header).collect();
    let made = Web { tls, client_auth, headers, users: read.users, rate_limit: read.rate_limit };
    Ok(Seen { made: Arc::new(made), files: named, looked: Some(Instant::now()), failed: None })
}
