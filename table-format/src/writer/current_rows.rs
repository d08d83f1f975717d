//! What a slice holds of some keys now, for writes that depend on it.
//!
//! Deletes by key on merge-on-read tables that order by event time take the ordering values of the rows they delete. A delete
//! block without ordering value is forgotten as soon as a later log record of its key arrives, and if that has a lower
//! ordering value than the base row, the base row is back (hazard 11). With the row's own value the delete wins over the row,
//! and only rows that are no older come after it.

use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch, StringArray, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use futures::TryStreamExt;

use crate::error::{Error, Result};
use crate::file_group::FileSlice;
use crate::reader::{ReadOptions, read_slice};
use crate::schema::meta::RECORD_KEY;
use crate::writer::context::WriteContext;
use crate::writer::copy_on_write::GroupChanges;
use crate::writer::key_table::KeyTable;

/// The changes with deletes of those keys that are in the slice, each with the ordering value of its row; as they are when
/// the table does not order by event time.
pub(super) async fn with_current_order(
    context: &WriteContext,
    slice: &FileSlice,
    changes: GroupChanges,
) -> Result<GroupChanges> {
    let Some(ordering) = &context.ordering else {
        return Ok(changes);
    };
    if changes.deletes.is_empty() {
        return Ok(changes);
    }
    let deletes = KeyTable::of_all(changes.deletes.clone());
    let found = current_rows(context, slice, &deletes, ordering.names()).await?;
    Ok(GroupChanges {
        deletes: record_keys(&found)?.clone(),
        delete_order: Some(ordering.of(&found)?),
        ..changes
    })
}

/// Record keys and some columns of those rows of a slice whose keys are wanted.
pub(super) async fn current_rows(
    context: &WriteContext,
    slice: &FileSlice,
    wanted: &KeyTable,
    columns: &[String],
) -> Result<RecordBatch> {
    let schema = &context.base_format.schema;
    let names = std::iter::once(RECORD_KEY).chain(columns.iter().map(String::as_str));
    let positions = names.map(|name| schema.index_of(name));
    let positions: Vec<usize> = positions.collect::<Result<_, _>>()?;
    let projected = Arc::new(schema.project(&positions)?);
    let options = ReadOptions {
        projection: Some(positions),
        ..ReadOptions::new(context.env.memory.clone())
    };
    let mut rows = read_slice(context.read_context(), slice, &options).await?;
    let mut found: Vec<RecordBatch> = Vec::new();
    while let Some(batch) = rows.try_next().await? {
        let hits: UInt32Array = (0_u32..)
            .zip(record_keys(&batch)?)
            .filter(|(_, key)| key.is_some_and(|key| wanted.find(key).is_some()))
            .map(|(row, _)| row)
            .collect();
        if !hits.is_empty() {
            found.push(take_record_batch(&batch, &hits)?);
        }
    }
    Ok(concat_batches(&projected, &found)?)
}

pub(super) fn record_keys(batch: &RecordBatch) -> Result<&StringArray> {
    let column = batch.column_by_name(RECORD_KEY);
    column
        .and_then(|column| column.as_string_opt::<i32>())
        .ok_or_else(|| Error::internal("the record keys of a slice were not read"))
}
