//! What is shipped is as the code says: documents, configs, golden expositions, and the order of the modules.

#[path = "../common/mod.rs"]
mod common;

mod architecture;
mod configs;
mod docs;
mod exposition;
mod fixtures;
mod links;
mod older;
mod transcript;
