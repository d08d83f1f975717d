//! The Arrow type that holds a column of each Avro type.
//!
//! Spec: the mapping of Hudi's Parquet writer; list items are named `element`, since a Spark upsert reads lists with any
//! other name as null.

use std::sync::Arc;

use arrow::datatypes::{
    DataType, Field, FieldRef, Fields, Schema, SchemaRef, TimeUnit as ArrowTimeUnit,
};

use super::schema::{AvroField, AvroRecord, AvroSchema, AvroType, TimeUnit};

/// The Arrow schema of rows of an Avro record.
pub fn arrow_schema(schema: &AvroSchema) -> SchemaRef {
    Arc::new(Schema::new(arrow_fields(&schema.record)))
}

pub(super) fn arrow_fields(record: &AvroRecord) -> Fields {
    record.fields.iter().map(arrow_field).collect()
}

fn arrow_field(field: &AvroField) -> Field {
    named_field(&field.name, &field.data_type)
}

fn named_field(name: &str, data_type: &AvroType) -> Field {
    let (inner, null_branch) = data_type.unwrap_nullable();
    Field::new(
        name,
        arrow_type(inner),
        null_branch.is_some() || matches!(inner, AvroType::Null),
    )
}

pub(super) fn element_field(items: &AvroType) -> FieldRef {
    Arc::new(named_field("element", items))
}

pub(super) fn entries_fields(values: &AvroType) -> Fields {
    Fields::from(vec![
        Field::new("key", DataType::Utf8, false),
        named_field("value", values),
    ])
}

pub(super) fn entries_field(values: &AvroType) -> FieldRef {
    Arc::new(Field::new(
        "key_value",
        DataType::Struct(entries_fields(values)),
        false,
    ))
}

pub(super) fn arrow_unit(unit: TimeUnit) -> ArrowTimeUnit {
    match unit {
        TimeUnit::Millis => ArrowTimeUnit::Millisecond,
        TimeUnit::Micros => ArrowTimeUnit::Microsecond,
        TimeUnit::Nanos => ArrowTimeUnit::Nanosecond,
    }
}

/// The Arrow type of a column; nullability is the field's.
pub(super) fn arrow_type(data_type: &AvroType) -> DataType {
    match data_type {
        AvroType::Null => DataType::Null,
        AvroType::Boolean => DataType::Boolean,
        AvroType::Int => DataType::Int32,
        AvroType::Long => DataType::Int64,
        AvroType::Float => DataType::Float32,
        AvroType::Double => DataType::Float64,
        AvroType::Bytes => DataType::Binary,
        AvroType::String | AvroType::Enum(_) => DataType::Utf8,
        AvroType::Date => DataType::Date32,
        AvroType::Time(TimeUnit::Millis) => DataType::Time32(ArrowTimeUnit::Millisecond),
        AvroType::Time(unit) => DataType::Time64(arrow_unit(*unit)),
        AvroType::Timestamp { unit, utc } => {
            DataType::Timestamp(arrow_unit(*unit), utc.then(|| Arc::from("UTC")))
        }
        AvroType::Decimal {
            precision, scale, ..
        } => DataType::Decimal128(*precision, *scale),
        AvroType::Fixed(size) => {
            DataType::FixedSizeBinary(i32::try_from(*size).unwrap_or(i32::MAX))
        }
        AvroType::Array(items) => DataType::List(element_field(items)),
        AvroType::Map(values) => DataType::Map(entries_field(values), false),
        AvroType::Record(record) => DataType::Struct(arrow_fields(record)),
        AvroType::Nullable { inner, .. } => arrow_type(inner),
    }
}
