//! Whether a request to `/webhook/grafana` is signed by who knows the key: HMAC-SHA256, in hexadecimal digits.
//!
//! Grafana signs the body, or time and body if it was told a header for the time. The key is read for each request, so
//! a new one holds at once. What is compared is compared in constant time, by `ring`.

use std::path::Path;
use std::time::Duration;

use hyper::StatusCode;
use hyper::header::HeaderMap;
use jiff::Timestamp;
use ring::hmac;

use crate::config::{Secret, WebhookSettings};
use crate::server::{Answer, text};

/// Where Grafana puts the signature unless it is told otherwise.
const SIGNATURE: &str = "X-Grafana-Alerting-Signature";
/// A signed request that is older was kept by somebody. Clocks differ, and a delivery is tried again for a while.
const OLDEST: Duration = Duration::from_secs(300);

/// Why a request is not taken for Grafana's.
#[derive(Debug, PartialEq, Eq)]
enum Wrong {
    Missing,
    Signature,
    Time,
    Key(String),
}

/// What is answered instead where a signature is asked for and is not right.
pub(super) fn refused(config: &WebhookSettings, headers: &HeaderMap, body: &[u8]) -> Option<Answer> {
    let file = config.grafana_hmac_secret_file.as_ref()?;
    let time_header = config.grafana_hmac_timestamp_header.as_deref();
    let answer = |status, says: String| {
        tracing::warn!("a request to the webhook for Grafana was refused: {says}");
        Some(text(status, format!("{says}\n")))
    };
    match key(file).and_then(|key| verify(&key, time_header, headers, body, now())) {
        Ok(()) => None,
        Err(Wrong::Missing) => {
            let expected = [Some(SIGNATURE), time_header].into_iter().flatten().collect::<Vec<_>>().join(" and ");
            answer(StatusCode::UNAUTHORIZED, format!("not signed, expected {expected}"))
        }
        Err(Wrong::Signature) => answer(StatusCode::UNAUTHORIZED, "the signature is wrong".to_owned()),
        Err(Wrong::Time) => {
            answer(StatusCode::UNAUTHORIZED, "it was signed more than five minutes ago, or in the future".to_owned())
        }
        Err(Wrong::Key(why)) => {
            tracing::error!("the key in {} cannot be used: {why}", file.display());
            Some(text(StatusCode::SERVICE_UNAVAILABLE, "the key for signatures cannot be read\n"))
        }
    }
}

fn key(file: &Path) -> Result<hmac::Key, Wrong> {
    let secret = Secret::read(file).map_err(|error| Wrong::Key(crate::chain(&error)))?;
    Ok(hmac::Key::new(hmac::HMAC_SHA256, secret.expose().as_bytes()))
}

fn verify(
    key: &hmac::Key,
    time_header: Option<&str>,
    headers: &HeaderMap,
    body: &[u8],
    now: Timestamp,
) -> Result<(), Wrong> {
    let value = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).ok_or(Wrong::Missing);
    let signature = from_hex(value(SIGNATURE)?.trim()).ok_or(Wrong::Signature)?;
    let Some(name) = time_header else {
        return hmac::verify(key, body, &signature).map_err(|_| Wrong::Signature);
    };
    let time = value(name)?;
    let signed = [time.as_bytes(), b":", body].concat();
    hmac::verify(key, &signed, &signature).map_err(|_| Wrong::Signature)?;
    let at = time.trim().parse().ok().and_then(|seconds| Timestamp::from_second(seconds).ok()).ok_or(Wrong::Time)?;
    if now.duration_since(at).unsigned_abs() > OLDEST { Err(Wrong::Time) } else { Ok(()) }
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(2) || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok()).collect()
}

#[expect(clippy::disallowed_methods, reason = "whether a signature is recent is a question to the wall clock")]
fn now() -> Timestamp {
    Timestamp::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = br#"{"version":"1","alerts":[]}"#;
    // printf '%s' '{"version":"1","alerts":[]}' | openssl dgst -sha256 -hmac 'the key'
    const SIGNED: &str = "1658ac17824a15e4a6a3f11084ba161009a5741dbc35051c50d8a6a191fe5b60";
    // printf '%s' '1735689600:{"version":"1","alerts":[]}' | openssl dgst -sha256 -hmac 'the key'
    const SIGNED_WITH_TIME: &str = "3d2fdecb9812e8d9d39251f6ee3b2fc54cb32adab81d72a907e9e478b363c240";

    fn ask(time_header: Option<&str>, headers: &[(&str, &str)], body: &[u8], later: i64) -> Result<(), Wrong> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name = hyper::header::HeaderName::from_bytes(name.as_bytes()).expect("a name");
            map.insert(name, value.parse().expect("a value"));
        }
        let now = Timestamp::from_second(1_735_689_600 + later).expect("a time");
        verify(&hmac::Key::new(hmac::HMAC_SHA256, b"the key"), time_header, &map, body, now)
    }

    #[test]
    fn only_who_knows_the_key_can_sign() {
        assert_eq!(ask(None, &[(SIGNATURE, SIGNED)], BODY, 0), Ok(()));
        assert_eq!(ask(None, &[(SIGNATURE, &SIGNED.to_uppercase())], BODY, 0), Ok(()));
        assert_eq!(ask(None, &[], BODY, 0), Err(Wrong::Missing));
        for wrong in
            ["", "00", &SIGNED[2..], &SIGNED[1..], &format!("{SIGNED}00"), "zz", &SIGNED.replace('a', "b"), "+f"]
        {
            assert_eq!(ask(None, &[(SIGNATURE, wrong)], BODY, 0), Err(Wrong::Signature), "{wrong}");
        }
        assert_eq!(ask(None, &[(SIGNATURE, SIGNED)], b"{}", 0), Err(Wrong::Signature));
    }

    #[test]
    fn with_a_time_it_must_be_signed_too_and_recent() {
        let time = ("x-time", "1735689600");
        let signed = (SIGNATURE, SIGNED_WITH_TIME);
        for later in [0, 299, -299] {
            assert_eq!(ask(Some("X-Time"), &[signed, time], BODY, later), Ok(()), "{later}");
        }
        for later in [301, -301, 1 << 30] {
            assert_eq!(ask(Some("X-Time"), &[signed, time], BODY, later), Err(Wrong::Time), "{later}");
        }
        assert_eq!(ask(Some("X-Time"), &[signed], BODY, 0), Err(Wrong::Missing));
        assert_eq!(ask(Some("X-Time"), &[(SIGNATURE, SIGNED), time], BODY, 0), Err(Wrong::Signature));
        assert_eq!(ask(Some("X-Time"), &[signed, ("x-time", "1735689601")], BODY, 0), Err(Wrong::Signature));
        // Where no time is asked for, one that was signed with it is not a body.
        assert_eq!(ask(None, &[signed, time], BODY, 0), Err(Wrong::Signature));
    }
}
