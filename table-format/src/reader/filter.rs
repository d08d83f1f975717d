//! Leaves out the parts of base files that cannot hold a wanted row.

use std::fmt::Debug;

use arrow::datatypes::Schema;
use parquet::file::metadata::ParquetMetaData;

use crate::config::MergeMode;

use super::ReadContext;
use super::merge::LogRecords;

/// Judges base files by their footers, for a query that wants some rows only.
pub trait BaseFileFilter: Debug + Send + Sync {
    /// The row groups that may hold a wanted row, by position, ascending. `columns` are those of the file.
    fn row_groups(&self, footer: &ParquetMetaData, columns: &Schema) -> Vec<usize>;
}

/// Whether base rows that are not wanted may be left out before merging. With the later record winning, a log record
/// needs nothing of the row under it; by event time an older record might win then that has to lose.
pub(super) fn may_skip_base_rows(context: &ReadContext, logs: Option<&LogRecords>) -> bool {
    let is_independent = logs.is_none_or(|logs| {
        context.config.merge_mode() == MergeMode::CommitTime && !logs.has_partial()
    });
    // The footer of a file without its partition columns says nothing about them.
    is_independent && !context.config.drops_partition_columns()
}
