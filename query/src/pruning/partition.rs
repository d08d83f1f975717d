//! What the path of a partition says about the rows in it.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, BooleanArray, StringArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::{Column, ScalarValue};
use table_format::config::{KeyGeneratorType, TableConfig};
use table_format::file_group::{FileSlice, PartitionValues};

/// The partition columns of slices, as statistics with one container a slice.
#[derive(Debug)]
pub(super) struct PartitionStatistics {
    slices: usize,
    /// Name and values; null where a value is not known.
    columns: Vec<(String, ArrayRef)>,
}

impl PartitionStatistics {
    pub(super) fn new(config: &TableConfig, schema: &SchemaRef, slices: &[FileSlice]) -> Self {
        let columns = match config.key_generator() {
            KeyGeneratorType::Simple | KeyGeneratorType::Complex => columns(config, schema, slices),
            // Other generators put something else than the value into the path.
            _ => None,
        };
        Self {
            slices: slices.len(),
            columns: columns.unwrap_or_default(),
        }
    }
}

/// `None` when a path does not have the form that the table's settings say.
fn columns(
    config: &TableConfig,
    schema: &SchemaRef,
    slices: &[FileSlice],
) -> Option<Vec<(String, ArrayRef)>> {
    let paths: Option<Vec<PartitionValues>> = slices
        .iter()
        .map(|slice| PartitionValues::parse(config, &slice.partition_path).ok())
        .collect();
    let paths = paths?;
    let column = |(position, name): (usize, String)| {
        let data_type = schema.field_with_name(&name).ok()?.data_type();
        if !is_plain(data_type) {
            return None;
        }
        let values = paths.iter().map(|values| values.iter().nth(position)?.1);
        let texts: ArrayRef = Arc::new(values.collect::<StringArray>());
        // A text that is no value of the type becomes null: not known.
        Some((name, cast(&texts, data_type).ok()?))
    };
    let names = config.partition_fields().into_iter().enumerate();
    Some(names.filter_map(column).collect())
}

/// Types whose values stand in paths as the engine would write them.
fn is_plain(data_type: &DataType) -> bool {
    data_type.is_integer()
        || matches!(
            data_type,
            DataType::Utf8 | DataType::Date32 | DataType::Boolean
        )
}

impl PruningStatistics for PartitionStatistics {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        let mut columns = self.columns.iter();
        let found = columns.find(|(name, _)| *name == column.name)?;
        Some(Arc::clone(&found.1))
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        self.min_values(column)
    }

    fn num_containers(&self) -> usize {
        self.slices
    }

    fn null_counts(&self, _column: &Column) -> Option<ArrayRef> {
        None
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        None
    }

    fn contained(&self, _: &Column, _: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        None
    }
}
