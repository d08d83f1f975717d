//! Rows of changes: operation, instant, and the row before and after.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray, StructArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};

use super::{ChangeContext, Operation};
use crate::error::{Error, Result};
use crate::schema::adapt::adapt_batch;
use crate::schema::meta::is_meta_column;

/// The columns of changes, as Hudi names them: `op` (`i`, `u`, `d`), `ts_ms` (begin time of the commit, as text), `before` and
/// `after` (structs of the table's columns without the meta columns; null where there is no row). Java:
/// HoodieCDCUtils.CDC_COLUMNS; in Spark the images are JSON.
pub(crate) fn changes_schema(table: &Schema) -> SchemaRef {
    let image = DataType::Struct(image_fields(table));
    Arc::new(Schema::new(vec![
        Field::new("op", DataType::Utf8, false),
        Field::new("ts_ms", DataType::Utf8, false),
        Field::new("before", image.clone(), true),
        Field::new("after", image, true),
    ]))
}

/// The columns of an image: those of the table without the meta columns. Null where the image is.
pub(crate) fn image_fields(table: &Schema) -> Fields {
    let fields = table
        .fields()
        .iter()
        .filter(|field| !is_meta_column(field.name()));
    fields
        .map(|field| Arc::new(field.as_ref().clone().with_nullable(true)))
        .collect()
}

/// All rows, as new ones.
pub(super) fn inserts(context: &ChangeContext, rows: &RecordBatch) -> Result<RecordBatch> {
    changes(context, Operation::Insert, None, Some(rows))
}

/// All rows, as deleted ones.
pub(super) fn deletes(context: &ChangeContext, rows: &RecordBatch) -> Result<RecordBatch> {
    changes(context, Operation::Delete, Some(rows), None)
}

/// Rows before and after, in the same order.
pub(super) fn updates(
    context: &ChangeContext,
    before: &RecordBatch,
    after: &RecordBatch,
) -> Result<RecordBatch> {
    changes(context, Operation::Update, Some(before), Some(after))
}

fn changes(
    context: &ChangeContext,
    operation: Operation,
    before: Option<&RecordBatch>,
    after: Option<&RecordBatch>,
) -> Result<RecordBatch> {
    let rows = before.or(after).map_or(0, RecordBatch::num_rows);
    let fields = fields_of_images(&context.schema)?;
    let text = |value: &str| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(std::iter::repeat_n(
            value, rows,
        )))
    };
    let columns = vec![
        text(operation.as_str()),
        text(context.instant.as_str()),
        change_image(before, &fields, rows)?,
        change_image(after, &fields, rows)?,
    ];
    Ok(RecordBatch::try_new(Arc::clone(&context.schema), columns)?)
}

/// The columns of the images in changes.
fn fields_of_images(changes: &Schema) -> Result<Fields> {
    match changes.field_with_name("after")?.data_type() {
        DataType::Struct(fields) => Ok(fields.clone()),
        other => Err(Error::internal(format!("images of type {other}"))),
    }
}

/// Rows as structs; nulls where there are none.
pub(crate) fn change_image(
    rows: Option<&RecordBatch>,
    fields: &Fields,
    length: usize,
) -> Result<ArrayRef> {
    let Some(rows) = rows else {
        return Ok(arrow::array::new_null_array(
            &DataType::Struct(fields.clone()),
            length,
        ));
    };
    let rows = adapt_batch(rows, &Arc::new(Schema::new(fields.clone())))?;
    let all_valid: Option<NullBuffer> = None;
    let image = if fields.is_empty() {
        StructArray::new_empty_fields(length, all_valid)
    } else {
        StructArray::try_new(fields.clone(), rows.columns().to_vec(), all_valid)?
    };
    Ok(Arc::new(image))
}
