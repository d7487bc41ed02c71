//! What an attacker tries: a module for each kind of target, each test an attack that once succeeded, against the
//! program as it is shipped and on the simulated host.

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/edge.rs"]
mod edge;

#[allow(unused_imports, reason = "the edge looks for it here")]
use common::part;

mod evidence;
mod files;
mod flood;
mod state;
mod strangers;
mod together;
