//! What the footer of a base file says about its row groups: statistics of columns, and the bloom filter of record keys.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, BooleanArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Schema};
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::{Column, ScalarValue};
use datafusion::parquet::arrow::arrow_reader::RowSelection;
use datafusion::parquet::arrow::arrow_reader::statistics::StatisticsConverter;
use datafusion::parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use datafusion::physical_optimizer::pruning::PruningPredicate;
use table_format::config::{KeyGeneratorType, TableConfig};
use table_format::file_group::key_filter;
use table_format::reader::BaseFileFilter;
use table_format::schema::meta::RECORD_KEY;

use super::page::PagePruner;
use super::{is_ordered, key_text, prune};

/// Picks row groups and pages by a predicate.
#[derive(Debug)]
pub(super) struct RowGroupPruner {
    predicate: Arc<PruningPredicate>,
    /// The columns that it looks at.
    columns: Vec<String>,
    /// The same for the part of the filters that looks at the record key alone.
    by_key: Option<Arc<Self>>,
    /// The column whose text is the record key, if there is one.
    key_column: Option<String>,
}

impl RowGroupPruner {
    pub(super) fn new(
        predicate: Arc<PruningPredicate>,
        columns: Vec<String>,
        config: &TableConfig,
    ) -> Self {
        let is_bare = matches!(
            config.key_generator(),
            KeyGeneratorType::Simple | KeyGeneratorType::NonPartition
        );
        let mut fields = config.record_key_fields();
        let key_column = if is_bare && fields.len() == 1 {
            fields.pop()
        } else {
            None
        };
        Self {
            predicate,
            columns,
            by_key: None,
            key_column,
        }
    }

    /// Adds what the record key alone rules out.
    pub(super) fn with_keys(mut self, by_key: Option<Self>) -> Self {
        self.by_key = by_key.map(Arc::new);
        self
    }
}

impl BaseFileFilter for RowGroupPruner {
    fn row_groups(&self, footer: &ParquetMetaData, columns: &Schema) -> Vec<usize> {
        let statistics = FooterStatistics {
            footer,
            columns,
            table: self.predicate.schema(),
            key_column: self.key_column.as_deref(),
        };
        let keep = prune(&self.predicate, &statistics);
        let kept = keep.into_iter().enumerate().filter(|(_, keep)| *keep);
        kept.map(|(position, _)| position).collect()
    }

    fn rows(
        &self,
        footer: &ParquetMetaData,
        columns: &Schema,
        row_groups: &[usize],
    ) -> Option<RowSelection> {
        let pruner = PagePruner {
            predicate: &self.predicate,
            footer,
            file: columns,
            row_groups,
        };
        pruner.rows(&self.columns)
    }

    fn by_key(&self) -> Option<Arc<dyn BaseFileFilter>> {
        let by_key = self.by_key.as_ref()?;
        Some(Arc::clone(by_key) as Arc<dyn BaseFileFilter>)
    }
}

/// One file's row groups as containers.
struct FooterStatistics<'a> {
    footer: &'a ParquetMetaData,
    /// The file's own columns.
    columns: &'a Schema,
    table: &'a Schema,
    key_column: Option<&'a str>,
}

impl FooterStatistics<'_> {
    /// Smallest or largest values of a column in the type of the table.
    fn bounds(
        &self,
        column: &Column,
        of: impl Fn(&StatisticsConverter<'_>, &[RowGroupMetaData]) -> Option<ArrayRef>,
    ) -> Option<ArrayRef> {
        let converter = bounded_column(self.footer, self.columns, self.table, &column.name)?;
        let wanted = self.table.field_with_name(&column.name).ok()?.data_type();
        cast(&of(&converter, self.footer.row_groups())?, wanted).ok()
    }
}

/// Statistics of a column, if they can be told apart from those of another type.
fn known_column<'a>(
    footer: &'a ParquetMetaData,
    file: &'a Schema,
    table: &Schema,
    name: &'a str,
) -> Option<StatisticsConverter<'a>> {
    let wanted = table.field_with_name(name).ok()?.data_type();
    let stored = file.field_with_name(name).ok()?.data_type();
    if !is_same_kind(stored, wanted) {
        return None;
    }
    let schema = footer.file_metadata().schema_descr();
    StatisticsConverter::try_new(name, file, schema).ok()
}

/// The same if its smallest and largest values are in the order of the engine.
pub(super) fn bounded_column<'a>(
    footer: &'a ParquetMetaData,
    file: &'a Schema,
    table: &Schema,
    name: &'a str,
) -> Option<StatisticsConverter<'a>> {
    let converter = known_column(footer, file, table, name)?;
    let position = converter.parquet_column_index()?;
    // Statistics of old writers may be in the wrong order.
    let is_doubtful = footer.row_groups().iter().any(|group| {
        let statistics = group.columns().get(position).and_then(|c| c.statistics());
        statistics.is_some_and(|statistics| statistics.is_min_max_deprecated())
    });
    let is_ordered = is_ordered(table.field_with_name(name).ok()?.data_type());
    (is_ordered && !is_doubtful).then_some(converter)
}

/// Whether statistics of the stored type bound values of the wanted one.
fn is_same_kind(stored: &DataType, wanted: &DataType) -> bool {
    match (stored, wanted) {
        (DataType::Timestamp(stored, Some(_)), DataType::Timestamp(wanted, Some(_))) => {
            stored == wanted
        }
        _ => stored == wanted,
    }
}

impl PruningStatistics for FooterStatistics<'_> {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        self.bounds(column, |converter, groups| {
            converter.row_group_mins(groups).ok()
        })
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        self.bounds(column, |converter, groups| {
            converter.row_group_maxes(groups).ok()
        })
    }

    fn num_containers(&self) -> usize {
        self.footer.num_row_groups()
    }

    fn null_counts(&self, column: &Column) -> Option<ArrayRef> {
        let column = known_column(self.footer, self.columns, self.table, &column.name)?;
        let counts = column.row_group_null_counts(self.footer.row_groups());
        Some(Arc::new(counts.ok()?))
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        None
    }

    /// The filter is of the whole file, and tells only that none of the keys is in it.
    fn contained(&self, column: &Column, values: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        let is_key = Some(column.name.as_str()) == self.key_column || column.name == RECORD_KEY;
        if !is_key {
            return None;
        }
        let keys: Option<Vec<String>> = values.iter().map(key_text).collect();
        let (keys, filter) = (keys?, key_filter(self.footer)?);
        if keys.iter().any(|key| filter.might_contain(key)) {
            return None;
        }
        Some(BooleanArray::from(vec![false; self.num_containers()]))
    }
}
