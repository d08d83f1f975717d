//! What is known of the rows of a batch before it is decided where they go: keys, partitions, order, deletes.

use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch, StringArray, UInt32Array};
use arrow::compute::{take, take_record_batch};

use crate::env::run_on_cpu;
use crate::error::{Error, Result};
use crate::record::{RowKind, WriteBatch};
use crate::writer::combine::Rows;
use crate::writer::context::WriteContext;
use crate::writer::copy_on_write::GroupChanges;
use crate::writer::ordering::BatchOrder;

/// A batch in the columns of the table.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) records: RecordBatch,
    pub(super) kinds: Vec<RowKind>,
    pub(super) keys: StringArray,
    /// `None` when the later row wins.
    pub(super) order: Option<BatchOrder>,
    /// Columns of the table that the batch lacks and rows that are there keep; empty unless partial updates are asked for.
    pub(super) missing: Vec<String>,
    /// The rows of each partition, in the order of their first appearance.
    pub(super) partitions: Vec<(String, Vec<u32>)>,
}

/// The rows of one partition in a batch.
#[derive(Debug, Clone, Copy)]
pub(super) struct PartitionRows<'a> {
    pub(super) path: &'a str,
    pub(super) batch: &'a Prepared,
}

impl Prepared {
    /// Prepares changes; rows that say of themselves that they are deletes become such.
    ///
    /// # Errors
    /// `Invalid` for rows that do not fit the table, and for null ordering values.
    pub(super) async fn changes(context: &Arc<WriteContext>, batch: WriteBatch) -> Result<Self> {
        let WriteBatch { records, kinds } = batch;
        if kinds.len() != records.num_rows() {
            return Err(Error::invalid(format!(
                "a write batch has {} rows and {} row kinds",
                records.num_rows(),
                kinds.len()
            )));
        }
        let context = Arc::clone(context);
        run_on_cpu(move || Self::prepare(&context, &records, kinds, true)).await
    }

    /// Prepares keys whose rows are to go, whatever their ordering values.
    ///
    /// # Errors
    /// `Invalid` for rows without key or partition columns.
    pub(super) async fn deletes(context: &Arc<WriteContext>, records: RecordBatch) -> Result<Self> {
        let context = Arc::clone(context);
        run_on_cpu(move || {
            let kinds = vec![RowKind::Delete; records.num_rows()];
            Self::prepare(&context, &records, kinds, false)
        })
        .await
    }

    /// Those of `rows` that are not deletes.
    pub(super) fn inserts_among(&self, rows: &[u32]) -> Vec<u32> {
        let is_row = |row: &&u32| {
            !matches!(
                self.kinds[**row as usize],
                RowKind::Delete | RowKind::UpdateBefore
            )
        };
        rows.iter().filter(is_row).copied().collect()
    }

    fn prepare(
        context: &WriteContext,
        records: &RecordBatch,
        mut kinds: Vec<RowKind>,
        is_ordered: bool,
    ) -> Result<Self> {
        let has_rows = kinds.iter().any(|kind| *kind != RowKind::Delete);
        let missing = if has_rows && context.options.updates_partially {
            context.missing_columns(records)
        } else {
            Vec::new()
        };
        let records = if has_rows && missing.is_empty() {
            context.conform(records)?
        } else {
            context.conform_keys(records, is_ordered)?
        };
        let marked = match &context.delete_marks {
            Some(marks) if has_rows => marks.find(&records)?,
            _ => None,
        };
        if let Some(marked) = marked {
            for (kind, is_deleted) in kinds.iter_mut().zip(marked.values().iter()) {
                if is_deleted && *kind != RowKind::UpdateBefore {
                    *kind = RowKind::Delete;
                }
            }
        }
        let keys = context.keys.keys(&records)?;
        let order = match &context.ordering {
            Some(ordering) if is_ordered => {
                ordering.check(&records, &keys)?;
                Some(ordering.of(&records)?)
            }
            _ => None,
        };
        let partitions = context.partitions.group(&records)?;
        Ok(Self {
            records,
            kinds,
            keys,
            order,
            missing,
            partitions,
        })
    }
}

impl PartitionRows<'_> {
    /// The changes of one file group.
    pub(super) fn changes(&self, context: &WriteContext, rows: &Rows) -> Result<GroupChanges> {
        let keys = |rows: &[u32]| -> Result<StringArray> {
            let taken = take(&self.batch.keys, &UInt32Array::from(rows.to_vec()), None)?;
            Ok(taken.as_string().clone())
        };
        let delete_order = match (&context.ordering, &self.batch.order) {
            (Some(ordering), Some(_)) => {
                let deleted = self.take(&rows.deletes)?;
                Some(ordering.of(&deleted)?)
            }
            _ => None,
        };
        Ok(GroupChanges {
            upserts: self.take(&rows.upserts)?,
            upsert_keys: keys(&rows.upserts)?,
            deletes: keys(&rows.deletes)?,
            delete_order,
            replaces: true,
        })
    }

    /// Rows of the batch.
    pub(super) fn take(&self, rows: &[u32]) -> Result<RecordBatch> {
        let rows = UInt32Array::from(rows.to_vec());
        Ok(take_record_batch(&self.batch.records, &rows)?)
    }
}
