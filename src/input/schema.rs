//! Columns of an input as columns of a table: in the types that every engine reads and writes.

use std::sync::Arc;

use anyhow::{Context, Result};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit};
use table_format::schema::avro::avro_to_arrow;
use table_format::schema::meta::without_meta_columns;

use super::{Input, InputFormat};

/// The columns that a file describes: an Avro schema (`.avsc`), or a data file, whose rows are left alone.
pub(crate) fn schema_of_file(path: &str) -> Result<SchemaRef> {
    if path.ends_with(".avsc") {
        let text = std::fs::read_to_string(path).with_context(|| path.to_owned())?;
        let schema = avro_to_arrow(&text).with_context(|| path.to_owned())?;
        return Ok(without_meta_columns(&schema));
    }
    let input = Input::open(path, InputFormat::of_name(path), None)?;
    Ok(storable(input.schema()))
}

/// The columns of a table that is to hold the rows of an input.
pub(crate) fn storable(schema: &Schema) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| storable_field(field));
    without_meta_columns(&Schema::new(fields.collect::<Vec<_>>()))
}

/// The same for text, which knows no zones: its times are in UTC.
pub(super) fn storable_text(schema: &Schema) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| {
        let field = storable_field(field);
        let data_type = match field.data_type() {
            DataType::Timestamp(_, _) => {
                DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
            }
            DataType::Null => DataType::Utf8,
            other => other.clone(),
        };
        Field::new(field.name(), data_type, true)
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn storable_field(field: &Field) -> FieldRef {
    Arc::new(Field::new(
        field.name(),
        storable_type(field.data_type()),
        field.is_nullable(),
    ))
}

fn storable_type(data_type: &DataType) -> DataType {
    let micros = TimeUnit::Microsecond;
    match data_type {
        DataType::Int8 | DataType::Int16 | DataType::UInt8 | DataType::UInt16 => DataType::Int32,
        DataType::UInt32 => DataType::Int64,
        DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
        DataType::LargeBinary | DataType::BinaryView => DataType::Binary,
        DataType::Dictionary(_, values) => storable_type(values),
        DataType::Timestamp(_, Some(_)) => DataType::Timestamp(micros, Some("UTC".into())),
        DataType::Timestamp(_, None) => DataType::Timestamp(micros, None),
        DataType::List(item) | DataType::LargeList(item) => {
            let item = storable_field(item).as_ref().clone().with_name("element");
            DataType::List(Arc::new(item))
        }
        DataType::Struct(fields) => {
            DataType::Struct(fields.iter().map(|field| storable_field(field)).collect())
        }
        other => other.clone(),
    }
}
