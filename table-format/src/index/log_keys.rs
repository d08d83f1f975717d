//! The keys in a log file, in the order in which they were logged.

use arrow::array::RecordBatch;

use crate::codec::avro::RecordDecoder;
use crate::codec::log_block::{LogBlock, LogBlockReader};
use crate::error::Result;
use crate::storage::Storage;

/// What a log says of keys.
#[derive(Debug)]
pub(crate) enum LogEntry<'a> {
    /// Rows with their meta columns.
    Records(&'a RecordBatch),
    /// A key that was deleted.
    Delete(&'a str),
}

/// Reads the log file at the table-relative `path` and passes on what it holds.
pub(crate) async fn read_log_keys<F>(storage: &Storage, path: &str, mut visit: F) -> Result<()>
where
    F: FnMut(LogEntry<'_>),
{
    let bytes = storage.read(path).await?;
    Ok(())
}
