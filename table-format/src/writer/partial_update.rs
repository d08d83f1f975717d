//! Upserts of rows with some of the columns: a row that is there keeps the others.
//!
//! Asked for with `hoodie.lakebed.partial.update`. What is written are whole rows, in base files and logs alike: log records
//! of parts of rows are read as garbage by Spark when nothing lies under them (hazard 13).

use arrow::array::{ArrayRef, RecordBatch, new_null_array};
use arrow::compute::interleave;

use crate::error::{Error, Result};
use crate::file_group::FileSlice;
use crate::schema::adapt::adapt_batch;
use crate::writer::context::WriteContext;
use crate::writer::copy_on_write::GroupChanges;
use crate::writer::current_rows::{current_rows, record_keys};
use crate::writer::key_table::KeyTable;

/// The changes with the columns `missing` taken from the rows that the slice holds; rows that are new have none.
pub(super) async fn fill_missing(
    context: &WriteContext,
    slice: &FileSlice,
    changes: GroupChanges,
    missing: &[String],
) -> Result<GroupChanges> {
    if missing.is_empty() || changes.upserts.num_rows() == 0 {
        return Ok(changes);
    }
    let wanted = KeyTable::of_all(changes.upsert_keys.clone());
    let current = current_rows(context, slice, &wanted, missing).await?;
    // Where each row takes its columns from: from the current rows, or from a single null.
    let mut picks = vec![(1, 0); changes.upserts.num_rows()];
    for (row, key) in record_keys(&current)?.iter().enumerate() {
        if let Some(change) = key.and_then(|key| wanted.find(key)) {
            picks[change as usize] = (0, row);
        }
    }
    let mut columns: Vec<ArrayRef> = changes.upserts.columns().to_vec();
    for name in missing {
        let known = current
            .column_by_name(name)
            .ok_or_else(|| Error::internal(format!("column `{name}` was not read")))?;
        let null = new_null_array(known.data_type(), 1);
        let position = changes.upserts.schema().index_of(name)?;
        columns[position] = interleave(&[known.as_ref(), null.as_ref()], &picks)?;
    }
    let filled = RecordBatch::try_new(changes.upserts.schema(), columns)?;
    Ok(GroupChanges {
        upserts: whole_rows(context, &filled)?,
        ..changes
    })
}

/// Rows as the table has them: what must not be null is not.
pub(super) fn whole_rows(context: &WriteContext, rows: &RecordBatch) -> Result<RecordBatch> {
    adapt_batch(rows, &context.schema).map_err(|error| {
        let table = &context.base_format.table_name;
        error.context(format!("table {table}: a new row needs all its columns"))
    })
}
