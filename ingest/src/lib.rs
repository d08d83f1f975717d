//! Turns a source's snapshot and change log into committed batches, exactly once per table.

pub mod batch;
pub mod config;
mod error;
pub mod position;
pub mod schema;
pub mod source;

pub use error::{Error, ErrorKind, Result};
