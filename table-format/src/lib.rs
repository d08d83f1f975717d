//! Apache Hudi tables: format, timeline, reading and writing, with no idea of any source.
//!
//! Bottom up: a module uses only the ones above it in this list.

pub mod config;
pub mod env;
mod error;
pub mod file_group;
pub mod record;
pub mod storage;
pub mod timeline;

pub use error::{Error, ErrorKind, Result};
