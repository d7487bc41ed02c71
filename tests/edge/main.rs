//! The program as it is called: over the network and from a shell, with the simulated host behind it.

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/edge.rs"]
mod edge;

mod access;
mod check_config;
mod cli;
mod commands;
mod confined;
mod fuzz_seeds;
mod half;
mod halves;
mod http;
mod init;
mod limits;
mod never_in_the_way;
mod policies;
mod relay;
mod report_command;
mod report_schedule;
mod requests;
mod stack;
mod storm;
mod unmatched;
mod wire;
