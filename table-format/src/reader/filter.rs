//! Leaves out the parts of base files that cannot hold a wanted row.

use std::fmt::Debug;
use std::sync::Arc;

use arrow::datatypes::Schema;
use parquet::arrow::arrow_reader::RowSelection;
use parquet::file::metadata::ParquetMetaData;

use crate::config::MergeMode;

use super::ReadContext;
use super::log_fold::FoldedLogs;

/// Judges base files by their footers, for a query that wants some rows only.
pub trait BaseFileFilter: Debug + Send + Sync {
    /// The row groups that may hold a wanted row, by position, ascending. `columns` are those of the file.
    fn row_groups(&self, footer: &ParquetMetaData, columns: &Schema) -> Vec<usize>;

    /// The rows of these row groups that may be wanted, going by the page indexes in `footer`; `None` for all.
    fn rows(
        &self,
        footer: &ParquetMetaData,
        columns: &Schema,
        row_groups: &[usize],
    ) -> Option<RowSelection>;

    /// A filter by the record key alone; `None` when the query says nothing about it.
    fn by_key(&self) -> Option<Arc<dyn BaseFileFilter>>;
}

/// The part of a filter by which base rows may be left out before merging. With the later record winning, a log record
/// needs nothing of the row under it; by event time an older record might win then that has to lose, so that only rows
/// whose keys are not wanted can go. Partial records need all rows that they lie over.
pub(super) fn before_merging(
    filter: &Arc<dyn BaseFileFilter>,
    context: &ReadContext,
    logs: Option<&FoldedLogs>,
) -> Option<Arc<dyn BaseFileFilter>> {
    // The footer of a file without its partition columns says nothing about them.
    if context.config.drops_partition_columns() {
        return None;
    }
    match logs {
        None => Some(Arc::clone(filter)),
        Some(logs) if logs.has_partial() => None,
        Some(_) if context.config.merge_mode() == MergeMode::CommitTime => Some(Arc::clone(filter)),
        Some(_) => filter.by_key(),
    }
}
