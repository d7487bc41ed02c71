//! The control socket, by which root reaches a running daemon: its server, and its client for the commands.

pub mod client;
mod socket;

pub use socket::{Control, ControlSocket, Extend, bind, serve};
