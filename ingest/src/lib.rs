//! Turns a source's snapshot and change log into committed batches, exactly once per table.

pub mod batch;
pub mod checkpoint;
pub mod config;
mod error;
pub mod pipeline;
pub mod position;
pub mod schema;
mod sink;
mod snapshot;
pub mod source;
pub mod transform;

pub use error::{Error, ErrorKind, Result};
