//! The checks that every request passes before a site answers it, whatever its path: that it is well-formed, for this
//! host, from a client that may ask, and, for a webhook, not from a browser.

use std::net::IpAddr;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HOST, HeaderName, HeaderValue, ORIGIN, TRANSFER_ENCODING};
use hyper::http::uri::Authority;
use hyper::{Method, Request, StatusCode, Version};

use super::access::Peer;
use super::answer::{Answer, last, text};
use super::site::Site;

/// Answers a request, whatever its path, from those who may ask.
pub(super) async fn answer<S: Site>(site: &Arc<S>, peer: &Peer, request: Request<Incoming>) -> Answer {
    let is_webhook = request.uri().path().starts_with("/webhook/");
    let refused =
        malformed(&request).or_else(|| of_a_page(&request, is_webhook)).or_else(|| misdirected(site, peer, &request));
    let mut answer = match refused {
        Some(refused) => refused,
        None => match site.access().check(&site.config(), peer, &request).await {
            Ok(()) => match is_webhook.then(|| no_json(&request)).flatten() {
                Some(refused) => refused,
                None => Arc::clone(site).answer(request).await,
            },
            Err(refused) => refused,
        },
    };
    if is_webhook {
        site.webhook_answered(answer.status().as_u16());
    }
    site.access().add_headers(answer.headers_mut());
    answer
}

/// What HTTP/1.1 says a server must refuse and the library lets pass: a proxy may read it another way than we do.
fn malformed<B>(request: &Request<B>) -> Option<Answer> {
    let is_host = |host: &HeaderValue| {
        let authority = || Authority::try_from(host.as_bytes()).ok();
        host.is_empty() || authority().is_some_and(|authority| !authority.as_str().contains('@'))
    };
    let hosts: Vec<_> = request.headers().get_all(HOST).iter().collect();
    let refusal = match hosts.as_slice() {
        [] if request.version() < Version::HTTP_11 => None,
        [host] if is_host(host) => None,
        _ => Some("expected one header Host, with the name and port of this server\n"),
    };
    let is_plain = match only_value(request, &TRANSFER_ENCODING) {
        Ok(coding) => coding.is_none_or(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked")),
        Err(()) => false,
    };
    let refusal = refusal.or((!is_plain).then_some("expected no transfer coding but chunked\n"));
    // Where this request ends is something else for each reader, so nothing that comes behind it is read.
    refusal.map(|why| last(text(StatusCode::BAD_REQUEST, why)))
}

/// A browser says of each request which page had it sent; Alertmanager and Grafana send no such header. A page can send
/// nothing to the webhook, whatever it calls itself.
fn of_a_page<B>(request: &Request<B>, is_webhook: bool) -> Option<Answer> {
    let is_of_browser = |name: &HeaderName| *name == ORIGIN || name.as_str().starts_with("sec-fetch-");
    (is_webhook && request.headers().keys().any(is_of_browser)).then(|| {
        let says = "a browser sends Origin and Sec-Fetch-*, and the webhook is for Alertmanager and Grafana only\n";
        text(StatusCode::FORBIDDEN, says)
    })
}

/// DNS rebinding: a page's own name is made to mean 127.0.0.1, and what is there becomes the page's own. At a listener
/// for this host alone only its own names are answered, which no page has.
fn misdirected<S: Site, B>(site: &Arc<S>, peer: &Peer, request: &Request<B>) -> Option<Answer> {
    if !peer.is_loopback {
        return None;
    }
    let header = request.headers().get(HOST).and_then(|host| Authority::try_from(host.as_bytes()).ok());
    let is_ours = |authority: &Authority| {
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let is_usual = host.parse::<IpAddr>().is_ok() || host.eq_ignore_ascii_case("localhost");
        is_usual || site.names().contains(host)
    };
    (!header.as_ref().is_none_or(is_ours)).then(|| {
        let says = "expected as Host an address, localhost, or a name of this host (webhook.instances adds one)\n";
        text(StatusCode::MISDIRECTED_REQUEST, says)
    })
}

/// The answer to a body that is not said to be plain JSON. That also keeps pages in a browser on this host out: they
/// can send other types anywhere without being asked first.
fn no_json<B>(request: &Request<B>) -> Option<Answer> {
    if request.method() != Method::POST {
        return None;
    }
    let is_json = |value: &HeaderValue| {
        let essence = value.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
        essence.trim_ascii().eq_ignore_ascii_case(b"application/json")
    };
    let typed = matches!(only_value(request, &CONTENT_TYPE), Ok(Some(value)) if is_json(value));
    if typed && !request.headers().contains_key(CONTENT_ENCODING) {
        return None;
    }
    let expected = "expected Content-Type: application/json and no Content-Encoding\n";
    Some(text(StatusCode::UNSUPPORTED_MEDIA_TYPE, expected))
}

/// The value of a header that may be there once.
fn only_value<'a, B>(request: &'a Request<B>, name: &HeaderName) -> Result<Option<&'a HeaderValue>, ()> {
    let mut values = request.headers().get_all(name).iter();
    let first = values.next();
    if values.next().is_some() { Err(()) } else { Ok(first) }
}
