//! How much of a long proof to run: `make soak` all of it, `make test` a part chosen at random, and whoever looks for
//! the cause of a failure the seed that it printed. Of the proofs on the simulated host only the schedules are long
//! enough for that: crashes, faults, recovery and the journal run whole each time.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::Write;

/// SplitMix64: what a seed leads to must be the same on every machine and with every version of every crate.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % sides
    }

    pub(crate) fn one_of<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.roll(items.len() as u64) as usize]
    }
}

/// Whether `make soak` runs.
pub(crate) fn is_soak() -> bool {
    std::env::var_os("SOAK").is_some_and(|value| !value.is_empty())
}

/// A number from the environment.
pub(crate) fn given(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().and_then(|value| value.parse().ok())
}

/// The seed of what is random in a test: from the variable, or any; it is printed.
pub(crate) fn seed(variable: &str) -> u64 {
    // Small enough to be typed.
    let seed = given(variable).unwrap_or_else(|| RandomState::new().build_hasher().finish() % 1_000_000_000);
    say(&format!("{variable}={seed}"));
    seed
}

/// Keeps of many cases a random part of about `most`, all of them for `make soak` and for a given seed.
pub(crate) fn part<T>(variable: &str, cases: Vec<T>, most: usize) -> Vec<T> {
    if is_soak() || cases.len() <= most {
        return cases;
    }
    let mut dice = Dice(seed(variable));
    let all = cases.len() as u64;
    cases.into_iter().filter(|_| dice.roll(all) < most as u64).collect()
}

/// Shown although the test succeeds: what libtest captures are the macros.
pub(crate) fn say(line: &str) {
    // One write, so that lines of tests beside one another do not mix.
    let _ = std::io::stderr().write_all(format!("{line}\n").as_bytes());
}
