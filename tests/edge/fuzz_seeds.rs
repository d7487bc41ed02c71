//! The fuzz targets without a fuzzer: the seeds as they are, and random changes of them. Needs no second build; `make
//! soak` has libFuzzer look for longer (fuzz/run.sh).

#[allow(unreachable_pub, reason = "public where they are fuzzed from")]
#[expect(clippy::disallowed_methods, clippy::panic, reason = "a test writes its input, and panics")]
#[path = "../../fuzz/targets/mod.rs"]
mod targets;

use std::path::Path;

use crate::common::part::{Dice, given, seed};

/// Enough to come by every seed a dozen times, in seconds.
const CHANGES: u64 = 400;

/// What means something to one of the readers.
const WORDS: &[&[u8]] = &[
    b"\n",
    b"\r",
    b"\t",
    b"\0",
    b"\x1b[31m",
    b"\\n",
    b"\\u0000",
    b"\\",
    b"\"",
    b"'",
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b",",
    b"-",
    b"--",
    b"=",
    b"!~",
    b"/",
    b"..",
    b"/dev/",
    b" - ",
    b"\xFF",
    b"\xC3\xA9",
    b"\xE2\x80\xAE",
    b"-1",
    b"0",
    b"1e999",
    b"18446744073709551615",
    b"18446744073709551616",
    b"4294967296",
    b"100%",
    b"0%",
    b"1GiB",
    b"16777216TiB",
    b"null",
    b"true",
    b"&a ",
    b"*a",
    b"!!binary ",
    b"<<: ",
    b"| \n",
    b"\xEF\xBB\xBF",
];

macro_rules! targets {
    ($($name:ident),+) => {
        $(#[test]
        fn $name() {
            run(stringify!($name));
        })+

        #[test]
        fn each_target_runs_and_each_has_a_binary() {
            let names: Vec<&str> = targets::TARGETS.iter().map(|(name, _)| *name).collect();
            assert_eq!(names, [$(stringify!($name)),+]);
            let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
            let manifest = std::fs::read_to_string(root.join("Cargo.toml")).expect("readable");
            for name in names {
                let main = std::fs::read_to_string(root.join(format!("fuzz_targets/{name}.rs"))).expect("a binary");
                assert!(main.contains(&format!("{name}::run(data)")), "{main}");
                assert!(manifest.contains(&format!("name = \"{name}\"\npath = \"fuzz_targets/{name}.rs\"")), "{name}");
            }
        }
    };
}

targets!(
    config,
    frame,
    journal,
    labels,
    luks,
    lvm_report,
    matchers,
    mountinfo,
    payload,
    relay_hosts,
    superblock,
    web_config
);

fn run(name: &str) {
    let (_, target) = targets::TARGETS.iter().find(|(known, _)| *known == name).expect("a target");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let entries = std::fs::read_dir(&folder).expect("seeds").map(|entry| entry.expect("an entry").path());
    let mut files: Vec<_> = entries.collect();
    files.sort();
    let seeds: Vec<Vec<u8>> = files.iter().map(|file| std::fs::read(file).expect("readable")).collect();
    seeds.iter().for_each(|seed| target(seed));

    let mut dice = Dice(seed("FUZZ_SEED"));
    for _ in 0..given("FUZZ_CHANGES").unwrap_or(CHANGES) {
        let mut input = pick(&seeds, &mut dice).to_vec();
        for _ in 0..1 + dice.roll(4) {
            change(&mut input, &seeds, &mut dice);
        }
        target(&input);
    }
}

fn pick<'a>(seeds: &'a [Vec<u8>], dice: &mut Dice) -> &'a [u8] {
    &seeds[dice.roll(seeds.len() as u64) as usize]
}

fn change(input: &mut Vec<u8>, seeds: &[Vec<u8>], dice: &mut Dice) {
    let at = dice.roll(input.len() as u64 + 1) as usize;
    let end = (at + 1 + dice.roll(16) as usize).min(input.len());
    match dice.roll(6) {
        0 if at < input.len() => input[at] ^= 1 << dice.roll(8),
        1 => drop(input.drain(at..end)),
        2 => {
            let piece = input[at..end].to_vec();
            input.splice(at..at, piece);
        }
        3 => {
            let other = pick(seeds, dice);
            let from = dice.roll(other.len() as u64 + 1) as usize;
            let to = (from + dice.roll(64) as usize).min(other.len());
            input.splice(at..end, other[from..to].iter().copied());
        }
        4 => input.truncate(at),
        _ => {
            let word = dice.one_of(WORDS);
            input.splice(at..at, word.iter().copied());
        }
    }
}
