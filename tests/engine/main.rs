//! What is decided and done, on the simulated host: a module for each subject.

#[path = "../common/mod.rs"]
mod common;

mod backups;
mod by_hand;
mod crash;
mod endings;
mod faults;
mod format;
mod guards;
mod history;
mod journal;
mod kinds;
mod luks;
mod outdated_copies;
mod pipeline;
mod policies;
mod pools;
mod promises;
mod recovery;
mod report;
mod schedules;
mod supply;
mod tell;
mod unmounted;
