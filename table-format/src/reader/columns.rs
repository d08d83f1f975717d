//! Which columns a slice is read with: those that are wanted, then those that merging needs besides.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Schema, SchemaRef};

use crate::config::MergeMode;
use crate::error::{Error, Result};
use crate::schema::meta::{COMMIT_TIME, RECORD_KEY};

use super::ReadContext;

/// A row of a log with this column true is a delete.
///
/// Java: HoodieRecord.HOODIE_IS_DELETED_FIELD.
const IS_DELETED: &str = "_hoodie_is_deleted";

/// The columns of rows on their way through the reader.
#[derive(Debug, Clone)]
pub(super) struct Columns {
    /// Schema of base and log rows; the wanted columns come first.
    pub(super) schema: SchemaRef,
    wanted: usize,
    /// Position of the record key; there when the slice has logs.
    pub(super) record_key: Option<usize>,
    /// Positions of the ordering columns; empty when the later record wins.
    pub(super) ordering: Vec<usize>,
    /// Position of the column that marks deletes.
    pub(super) is_deleted: Option<usize>,
    /// Position of the commit time; there when rows are chosen by it.
    pub(super) commit_time: Option<usize>,
}

impl Columns {
    pub(super) fn plan(
        context: &ReadContext,
        projection: Option<&[usize]>,
        has_logs: bool,
    ) -> Result<Self> {
        let table = &context.schema;
        let mut positions: Vec<usize> = match projection {
            Some(projection) => projection.to_vec(),
            None => (0..table.fields().len()).collect(),
        };
        if let Some(position) = positions
            .iter()
            .find(|position| **position >= table.fields().len())
        {
            return Err(Error::invalid(format!(
                "the table has no column {position}"
            )));
        }
        let wanted = positions.len();
        let mut position_of = |name: &str| {
            let in_table = table.index_of(name).ok()?;
            let found = positions.iter().position(|position| *position == in_table);
            Some(found.unwrap_or_else(|| {
                positions.push(in_table);
                positions.len() - 1
            }))
        };
        let mut columns = Self {
            schema: Arc::clone(table),
            wanted,
            record_key: None,
            ordering: Vec::new(),
            is_deleted: None,
            commit_time: None,
        };
        if context.commits.is_some() {
            columns.commit_time = position_of(COMMIT_TIME);
        }
        if has_logs {
            columns.record_key = position_of(RECORD_KEY);
            columns.is_deleted = position_of(IS_DELETED).filter(|_| {
                table
                    .field_with_name(IS_DELETED)
                    .is_ok_and(|field| *field.data_type() == DataType::Boolean)
            });
            if context.config.merge_mode() == MergeMode::EventTime {
                for name in context.config.ordering_fields() {
                    let position = position_of(&name).ok_or_else(|| {
                        Error::unsupported(format!(
                            "the ordering field `{name}` is no top-level column of the table"
                        ))
                    })?;
                    columns.ordering.push(position);
                }
            }
        }
        columns.schema = Arc::new(table.project(&positions)?);
        Ok(columns)
    }

    /// The wanted columns of a batch of [`Columns::schema`].
    pub(super) fn output(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        if self.wanted == batch.num_columns() {
            return Ok(batch.clone());
        }
        let wanted: Vec<usize> = (0..self.wanted).collect();
        Ok(batch.project(&wanted)?)
    }

    /// The part of the schema that a file or block with these columns can give.
    pub(super) fn present_in(&self, file: &Schema) -> SchemaRef {
        let fields: Vec<_> = self
            .schema
            .fields()
            .iter()
            .filter(|field| file.index_of(field.name()).is_ok())
            .cloned()
            .collect();
        Arc::new(Schema::new(fields))
    }
}

#[cfg(test)]
impl Columns {
    /// All columns of `schema`, with the key and the ordering columns at these positions.
    pub(super) fn for_tests(schema: Schema, record_key: usize, ordering: Vec<usize>) -> Self {
        let wanted = schema.fields().len();
        Self {
            schema: Arc::new(schema),
            wanted,
            record_key: Some(record_key),
            ordering,
            is_deleted: None,
            commit_time: None,
        }
    }
}
