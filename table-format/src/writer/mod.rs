//! Rows into files: everything that one instant writes, up to the commit.
//!
//! `WriteBatch` → keys and partitions → last change per key → the file group of each key (index) → base or log files →
//! `WriteStat`. Nothing here is visible to readers before [`Transaction::commit`].

mod bulk_insert;
mod context;
mod copy_on_write;
mod data_files;
mod early_conflict;
mod key_table;
mod merge_on_read;
mod options;
mod stamp;
mod upsert;

pub use bulk_insert::{BulkInsertFactory, BulkInsertWriter};
pub use options::WriterOptions;

pub(crate) use context::WriteContext;
pub(crate) use data_files::{DataFiles, MARKER_ROOT};
pub(crate) use early_conflict::EarlyDetection;
pub(crate) use upsert::Upserter;

pub use crate::timeline::metadata::WriteOperation;
pub use crate::transaction::{TableWriter, Transaction, WriterLease};

#[cfg(test)]
mod tests;
