//! A YAML text as a tree in which every value keeps its place.
//!
//! serde stops at the first error and forgets where the others would have been. So a text becomes a tree first: `build`
//! makes it, `node::Node` is what serde reads it from (`read`), and what was found wrong can be cut out of it, so that
//! reading it again finds the next error.

mod append;
mod build;
mod lines;
mod node;
mod read;

pub(super) use build::build;
pub use node::Problem;
pub(super) use node::{Place, Tree};
