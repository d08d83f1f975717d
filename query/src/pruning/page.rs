//! What the page indexes of a base file say: which rows of its row groups may be wanted.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, BooleanArray, UInt64Array};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::Schema;
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::{Column, ScalarValue};
use datafusion::parquet::arrow::arrow_reader::{RowSelection, RowSelector};
use datafusion::parquet::file::metadata::ParquetMetaData;
use datafusion::physical_optimizer::pruning::PruningPredicate;

use super::footer::bounded_column;
use super::prune;

/// A file whose row groups are looked into.
pub(super) struct PagePruner<'a> {
    pub(super) predicate: &'a PruningPredicate,
    pub(super) footer: &'a ParquetMetaData,
    /// The file's own columns.
    pub(super) file: &'a Schema,
    pub(super) row_groups: &'a [usize],
}

impl PagePruner<'_> {
    /// The rows that no column's pages rule out, counted over the row groups; `None` when the indexes say nothing.
    pub(super) fn rows(&self, columns: &[String]) -> Option<RowSelection> {
        let selections = columns.iter().filter_map(|column| self.rows_by(column));
        selections.reduce(|all, one| all.intersection(&one))
    }

    /// Pages of different columns do not end at the same rows, so each column is asked by itself.
    fn rows_by(&self, column: &str) -> Option<RowSelection> {
        let mut selectors = Vec::new();
        for group in self.row_groups {
            let pages = self.pages(column, *group)?;
            let keep = prune(self.predicate, &pages);
            let rows = pages.rows.values().iter();
            selectors.extend(keep.into_iter().zip(rows).map(|(keep, rows)| {
                let rows = usize::try_from(*rows).unwrap_or(usize::MAX);
                if keep {
                    RowSelector::select(rows)
                } else {
                    RowSelector::skip(rows)
                }
            }));
        }
        Some(RowSelection::from(selectors))
    }

    fn pages<'a>(&'a self, column: &'a str, group: usize) -> Option<PageStatistics<'a>> {
        let table = self.predicate.schema();
        let converter = bounded_column(self.footer, self.file, table, column)?;
        let (indexes, offsets) = (self.footer.column_index()?, self.footer.offset_index()?);
        let wanted = table.field_with_name(column).ok()?.data_type();
        let groups = self.footer.row_groups();
        let mins = converter.data_page_mins(indexes, offsets, [&group]);
        let maxes = converter.data_page_maxes(indexes, offsets, [&group]);
        let nulls = converter.data_page_null_counts(indexes, offsets, [&group]);
        let rows = converter.data_page_row_counts(offsets, groups, [&group]);
        Some(PageStatistics {
            column,
            mins: cast(&mins.ok()?, wanted).ok()?,
            maxes: cast(&maxes.ok()?, wanted).ok()?,
            nulls: nulls.ok()?,
            rows: rows.ok()??,
        })
    }
}

/// The pages of one column in one row group as containers.
struct PageStatistics<'a> {
    column: &'a str,
    mins: ArrayRef,
    maxes: ArrayRef,
    nulls: UInt64Array,
    rows: UInt64Array,
}

impl PageStatistics<'_> {
    fn of(&self, column: &Column, values: ArrayRef) -> Option<ArrayRef> {
        (column.name == self.column).then_some(values)
    }
}

impl PruningStatistics for PageStatistics<'_> {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        self.of(column, Arc::clone(&self.mins))
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        self.of(column, Arc::clone(&self.maxes))
    }

    fn num_containers(&self) -> usize {
        self.rows.values().len()
    }

    fn null_counts(&self, column: &Column) -> Option<ArrayRef> {
        self.of(column, Arc::new(self.nulls.clone()))
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        Some(Arc::new(self.rows.clone()))
    }

    fn contained(&self, _: &Column, _: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        None
    }
}
