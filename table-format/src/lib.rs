//! Apache Hudi tables: format, timeline, reading and writing, with no idea of any source.
//!
//! Bottom up: a module uses only the ones above it in this list.

mod error;

pub mod config;
pub mod env;

pub mod codec;
pub mod schema;

pub mod file_group;
pub mod record;
pub mod storage;
pub mod timeline;

mod index;
pub mod reader;
pub mod table;
mod transaction;
pub mod writer;

pub mod service;

#[cfg(any(test, feature = "test-util"))]
pub mod testing;

pub use error::{Error, ErrorKind, Result};
