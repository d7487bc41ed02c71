//! What is fuzzed: bytes from strangers, and what must hold whatever they are. `run.sh` drives these with libFuzzer,
//! `tests/edge/fuzz_seeds.rs` with the seeds and random changes of them.

pub mod config;
pub mod frame;
pub mod journal;
pub mod labels;
pub mod luks;
pub mod lvm_report;
pub mod matchers;
pub mod mountinfo;
pub mod payload;
pub mod relay_hosts;
pub mod superblock;
pub mod web_config;

/// A target by its name, which is also that of its seeds.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: &[Target] = &[
    ("config", config::run),
    ("frame", frame::run),
    ("journal", journal::run),
    ("labels", labels::run),
    ("luks", luks::run),
    ("lvm_report", lvm_report::run),
    ("matchers", matchers::run),
    ("mountinfo", mountinfo::run),
    ("payload", payload::run),
    ("relay_hosts", relay_hosts::run),
    ("superblock", superblock::run),
    ("web_config", web_config::run),
];

/// What is said about input goes to logs, terminals and answers: no control character of it may get there as it is.
fn assert_plain(text: &str) {
    assert!(!text.chars().any(char::is_control), "a control character stands in {text:?}");
}
