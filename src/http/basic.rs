//! Users and passwords. bcrypt is dear on purpose, so it runs off the async threads, one at a time, and what was right once
//! is remembered; who waits behind too many others is told to come again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::header::HeaderValue;
use ring::hmac;
use ring::rand::SystemRandom;
use tokio::sync::Semaphore;

use crate::config::web::BcryptHash;

/// With the usual cost that is a second of waiting.
const MOST_WAITING: usize = 16;
/// What is compared for a user that does not exist; the cost is put in, so that it takes as long as for one that does.
const NOBODY: &str = "QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi";

/// Whether user and password are right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answered {
    Right,
    Wrong,
    /// Too many are being checked.
    Busy,
}

/// What was found right. Only that is remembered: who tries many passwords pushes nothing out.
pub(super) struct Verdicts {
    /// Of this process alone, so that what is remembered cannot be computed by others.
    key: Option<hmac::Key>,
    right: Mutex<HashMap<String, hmac::Tag>>,
    one: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

impl Default for Verdicts {
    fn default() -> Verdicts {
        Verdicts {
            // Without random numbers nothing is remembered.
            key: hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()).ok(),
            right: Mutex::default(),
            one: Arc::new(Semaphore::new(1)),
            waiting: Arc::new(Semaphore::new(MOST_WAITING)),
        }
    }
}

impl Verdicts {
    /// Compares with the users of the web config.
    pub(super) async fn check(&self, users: &[(String, BcryptHash)], user: &str, password: &str) -> Answered {
        let dearest = users.iter().map(|(_, hash)| hash.cost).max().unwrap_or(10);
        let known = users.iter().find(|(name, _)| name == user).map(|(_, hash)| hash.hash.clone());
        let is_known = known.is_some();
        let hash = known.map_or_else(|| format!("$2y${dearest:02}${NOBODY}"), |hash| hash.expose().to_owned());
        let tag = self.key.as_ref().map(|key| {
            let mut context = hmac::Context::with_key(key);
            for part in [user, &hash, password] {
                context.update(&(part.len() as u64).to_le_bytes());
                context.update(part.as_bytes());
            }
            context.sign()
        });
        let seen = is_known
            && {
                let right = self.right.lock().unwrap_or_else(PoisonError::into_inner);
                matches!((right.get(user), &tag), (Some(seen), Some(tag)) if bool::from(subtle::ConstantTimeEq::ct_eq(seen.as_ref(), tag.as_ref())))
            };
        if seen {
            return Answered::Right;
        }
        let Ok(_place) = self.waiting.try_acquire() else { return Answered::Busy };
        let Ok(turn) = Arc::clone(&self.one).acquire_owned().await else { return Answered::Busy };
        let password = password.to_owned();
        let checked = tokio::task::spawn_blocking(move || {
            // Who asked may be gone; the next one still waits for this one.
            let _turn = turn;
            bcrypt::verify(password, &hash).unwrap_or(false)
        });
        if !checked.await.unwrap_or(false) || !is_known {
            return Answered::Wrong;
        }
        if let Some(tag) = tag {
            let mut right = self.right.lock().unwrap_or_else(PoisonError::into_inner);
            right.retain(|name, _| users.iter().any(|(user, _)| user == name));
            right.insert(user.to_owned(), tag);
        }
        Answered::Right
    }
}

/// User and password of a header `Authorization: Basic ...`.
pub(super) fn read(header: &HeaderValue) -> Option<(String, String)> {
    let decoded = STANDARD.decode(scheme(header, "Basic")?).ok()?;
    let text = String::from_utf8(decoded).ok()?;
    let (user, password) = text.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

/// What stands behind the scheme, whose case does not matter.
pub(super) fn scheme<'a>(header: &'a HeaderValue, wanted: &str) -> Option<&'a [u8]> {
    let bytes = header.as_bytes();
    let (scheme, rest) = bytes.split_at_checked(wanted.len())?;
    let rest = rest.strip_prefix(b" ")?;
    scheme.eq_ignore_ascii_case(wanted.as_bytes()).then(|| rest.trim_ascii())
}
