//! Rows into files: everything that one instant writes, up to the commit.
//!
//! `WriteBatch` → keys and partitions → last change per key → the file group of each key (index) → base or log files →
//! `WriteStat`. Nothing here is visible to readers before [`Transaction::commit`].

mod bucket_load;
mod bulk_insert;
mod change_log;
mod combine;
mod context;
mod copy_on_write;
mod current_rows;
mod data_files;
mod early_conflict;
mod global;
mod key_table;
mod log_names;
mod merge_on_read;
mod options;
mod ordering;
mod partial_update;
mod prepare;
mod route;
mod sorted_insert;
mod stamp;
mod upsert;

pub use bulk_insert::{BulkInsertFactory, BulkInsertWriter};
pub use options::WriterOptions;

pub(crate) use bucket_load::BucketLoad;
pub(crate) use bulk_insert::{base_file_stat, to_i64, zero_stat};
pub(crate) use change_log::ChangeLogFormat;
pub(crate) use context::WriteContext;
pub(crate) use data_files::{DataFiles, MARKER_ROOT, MarkerKind, PARTITION_METADATA};
pub(crate) use early_conflict::EarlyDetection;
pub(crate) use key_table::KeyTable;
pub(crate) use log_names::LogNames;
pub(crate) use ordering::OrderingColumns;
pub(crate) use sorted_insert::sorted_new_rows;
pub(crate) use stamp::constant_column;
pub(crate) use upsert::Upserter;

pub use crate::timeline::metadata::WriteOperation;
pub use crate::transaction::{TableWriter, Transaction, WriterLease};

#[cfg(test)]
mod tests;
