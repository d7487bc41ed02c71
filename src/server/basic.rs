//! Users and passwords. bcrypt is dear on purpose, so it runs off the async threads and one at a time, for which the
//! addresses that ask take turns, and what was right once is remembered. A wrong password is answered at once only
//! while nobody waits: so those who try many wait for most of the time, and a right one that is not known yet waits for
//! a few of theirs.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::header::HeaderValue;
use ring::hmac;
use ring::rand::SystemRandom;
use tokio::time::timeout;

use super::turns::{Source, Turns};
use crate::config::web::BcryptHash;

/// A request that waits longer for its turn is answered 503: Prometheus gives scrapes up after ten seconds, by default.
const WAITS: Duration = Duration::from_secs(10);
/// How long a wrong password is not answered while others wait. With the usual cost that is the time of a hundred
/// others, and about what clients wait for an answer.
const HELD_BACK: Duration = Duration::from_secs(30);
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
pub(super) struct RightPasswords {
    /// Of this process alone, so that what is remembered cannot be computed by others.
    key: Option<hmac::Key>,
    right: Mutex<HashMap<String, hmac::Tag>>,
    turns: Turns,
}

impl Default for RightPasswords {
    fn default() -> RightPasswords {
        RightPasswords {
            // Without random numbers nothing is remembered.
            key: hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()).ok(),
            right: Mutex::default(),
            turns: Turns::new(1),
        }
    }
}

impl RightPasswords {
    /// Whether they were right before, and still are.
    pub(super) fn are_known(&self, users: &[(String, BcryptHash)], user: &str, password: &str) -> bool {
        let known = users.iter().find(|(name, _)| name == user);
        let Some(tag) = known.and_then(|(_, hash)| self.tag(user, hash.hash.expose(), password)) else { return false };
        let right = crate::locked(&self.right);
        right.get(user).is_some_and(|seen| bool::from(subtle::ConstantTimeEq::ct_eq(seen.as_ref(), tag.as_ref())))
    }

    /// Compares with the users of the web config, when it is this address's turn.
    pub(super) async fn check(
        &self,
        users: &[(String, BcryptHash)],
        source: Source,
        user: &str,
        password: &str,
    ) -> Answered {
        let dearest = users.iter().map(|(_, hash)| hash.cost).max().unwrap_or(10);
        let known = users.iter().find(|(name, _)| name == user).map(|(_, hash)| hash);
        let cost = known.map_or(dearest, |hash| hash.cost);
        let hash = known.map_or_else(|| nobody(dearest), |hash| hash.hash.expose().to_owned());
        let tag = known.and_then(|_| self.tag(user, &hash, password));
        let Ok(turn) = timeout(WAITS, self.turns.take(source)).await else { return Answered::Busy };
        let password = password.to_owned();
        let checked = tokio::task::spawn_blocking(move || {
            // Who asked may be gone; the next one still waits for this one.
            let _turn = turn;
            let is_right = bcrypt::verify(&password, &hash).unwrap_or(false);
            if !is_right {
                // Costs are powers of two: with all those between, a wrong password takes as long for each user, and
                // for none.
                (cost..dearest).for_each(|cost| drop(bcrypt::verify(&password, &nobody(cost))));
            }
            is_right
        });
        if !checked.await.unwrap_or(false) || known.is_none() {
            if self.turns.is_wanted() {
                tokio::time::sleep(HELD_BACK).await;
            }
            return Answered::Wrong;
        }
        if let Some(tag) = tag {
            let mut right = crate::locked(&self.right);
            right.retain(|name, _| users.iter().any(|(user, _)| user == name));
            right.insert(user.to_owned(), tag);
        }
        Answered::Right
    }

    fn tag(&self, user: &str, hash: &str, password: &str) -> Option<hmac::Tag> {
        let mut context = hmac::Context::with_key(self.key.as_ref()?);
        for part in [user, hash, password] {
            context.update(&(part.len() as u64).to_le_bytes());
            context.update(part.as_bytes());
        }
        Some(context.sign())
    }
}

fn nobody(cost: u32) -> String {
    format!("$2y${cost:02}${NOBODY}")
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
