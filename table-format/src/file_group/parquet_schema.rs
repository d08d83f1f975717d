//! The Parquet schema of base files, spelled out column by column.
//!
//! The default conversion would store small decimals as integers and call list items `item`; Spark's upsert onto such a
//! file multiplies the decimals by 10^scale and nulls the lists without a word. Spec: Hudi 1.2.0 with Spark 3.5,
//! "Physical and logical type mapping".

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use parquet::basic::{
    ConvertedType, LogicalType, Repetition, TimeUnit as ParquetTimeUnit, Type as PhysicalType,
};
use parquet::schema::types::{SchemaDescriptor, Type, TypePtr};

use crate::codec::avro::decimal_fixed_size;
use crate::error::{Error, Result};

/// The Parquet schema for rows of `schema`; `root` is the name of the message.
///
/// # Errors
/// `Unsupported` for a column type that some Hudi reader or writer mishandles.
pub(crate) fn parquet_schema(schema: &Schema, root: &str) -> Result<SchemaDescriptor> {
    let fields = schema
        .fields()
        .iter()
        .map(|field| parquet_type(field, field.name()))
        .collect::<Result<_>>()?;
    let message = Type::group_type_builder(root).with_fields(fields).build()?;
    Ok(SchemaDescriptor::new(Arc::new(message)))
}

fn parquet_type(field: &Field, name: &str) -> Result<TypePtr> {
    let repetition = if field.is_nullable() {
        Repetition::OPTIONAL
    } else {
        Repetition::REQUIRED
    };
    match field.data_type() {
        DataType::List(item) | DataType::LargeList(item) => list_type(item, name, repetition),
        DataType::Map(entries, _) => map_type(entries, name, repetition),
        DataType::Struct(fields) => {
            let fields = fields
                .iter()
                .map(|child| parquet_type(child, child.name()))
                .collect::<Result<_>>()?;
            let group = Type::group_type_builder(name)
                .with_repetition(repetition)
                .with_fields(fields);
            Ok(Arc::new(group.build()?))
        }
        leaf => leaf_type(leaf, name, repetition),
    }
}

fn list_type(item: &Field, name: &str, repetition: Repetition) -> Result<TypePtr> {
    let element = parquet_type(item, "element")?;
    let repeated = Type::group_type_builder("list")
        .with_repetition(Repetition::REPEATED)
        .with_fields(vec![element])
        .build()?;
    let list = Type::group_type_builder(name)
        .with_repetition(repetition)
        .with_logical_type(Some(LogicalType::List))
        .with_converted_type(ConvertedType::LIST)
        .with_fields(vec![Arc::new(repeated)]);
    Ok(Arc::new(list.build()?))
}

fn map_type(entries: &Field, name: &str, repetition: Repetition) -> Result<TypePtr> {
    let DataType::Struct(entry) = entries.data_type() else {
        return Err(Error::invalid(format!(
            "map column `{name}` has entries that are no struct"
        )));
    };
    let [key, value] = entry.as_ref() else {
        return Err(Error::invalid(format!(
            "map column `{name}` has entries without key and value"
        )));
    };
    let key = parquet_type(&key.as_ref().clone().with_nullable(false), "key")?;
    let repeated = Type::group_type_builder("key_value")
        .with_repetition(Repetition::REPEATED)
        .with_fields(vec![key, parquet_type(value, "value")?])
        .build()?;
    let map = Type::group_type_builder(name)
        .with_repetition(repetition)
        .with_logical_type(Some(LogicalType::Map))
        .with_converted_type(ConvertedType::MAP)
        .with_fields(vec![Arc::new(repeated)]);
    Ok(Arc::new(map.build()?))
}

fn leaf_type(data_type: &DataType, name: &str, repetition: Repetition) -> Result<TypePtr> {
    let timestamp = |unit: ParquetTimeUnit, zone: &Option<Arc<str>>| {
        Some(LogicalType::timestamp(zone.is_some(), unit))
    };
    let (physical, logical) = match data_type {
        DataType::Boolean => (PhysicalType::BOOLEAN, None),
        DataType::Int8 | DataType::Int16 | DataType::Int32 => (PhysicalType::INT32, None),
        DataType::Int64 => (PhysicalType::INT64, None),
        DataType::Float32 => (PhysicalType::FLOAT, None),
        DataType::Float64 => (PhysicalType::DOUBLE, None),
        DataType::Utf8 | DataType::LargeUtf8 => {
            (PhysicalType::BYTE_ARRAY, Some(LogicalType::String))
        }
        DataType::Binary | DataType::LargeBinary => (PhysicalType::BYTE_ARRAY, None),
        DataType::Date32 => (PhysicalType::INT32, Some(LogicalType::Date)),
        DataType::Timestamp(TimeUnit::Microsecond, zone) => (
            PhysicalType::INT64,
            timestamp(ParquetTimeUnit::MICROS, zone),
        ),
        DataType::Timestamp(TimeUnit::Millisecond, zone) => (
            PhysicalType::INT64,
            timestamp(ParquetTimeUnit::MILLIS, zone),
        ),
        DataType::FixedSizeBinary(length) => {
            let leaf = Type::primitive_type_builder(name, PhysicalType::FIXED_LEN_BYTE_ARRAY)
                .with_repetition(repetition)
                .with_length(*length);
            return Ok(Arc::new(leaf.build()?));
        }
        DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale) => {
            return decimal_type(*precision, *scale, name, repetition);
        }
        other => {
            return Err(Error::unsupported(format!(
                "column `{name}` has type {other}, which Hudi tables cannot hold safely; \
                 convert it to a string, integer, decimal or timestamp in microseconds"
            )));
        }
    };
    let leaf = Type::primitive_type_builder(name, physical)
        .with_repetition(repetition)
        .with_logical_type(logical);
    Ok(Arc::new(leaf.build()?))
}

fn decimal_type(precision: u8, scale: i8, name: &str, repetition: Repetition) -> Result<TypePtr> {
    let length = i32::try_from(decimal_fixed_size(precision))
        .map_err(|_| Error::internal(format!("decimal column `{name}` is too wide")))?;
    let logical = LogicalType::decimal(i32::from(scale), i32::from(precision));
    let leaf = Type::primitive_type_builder(name, PhysicalType::FIXED_LEN_BYTE_ARRAY)
        .with_repetition(repetition)
        .with_length(length)
        .with_logical_type(Some(logical))
        .with_precision(i32::from(precision))
        .with_scale(i32::from(scale));
    Ok(Arc::new(leaf.build()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hazard_6_and_hazard_7_decimals_are_fixed_and_items_are_called_element() {
        let schema = Schema::new(vec![
            Field::new("d", DataType::Decimal128(9, 2), true),
            Field::new(
                "l",
                DataType::List(Arc::new(Field::new("item", DataType::Int64, true))),
                true,
            ),
        ]);
        let parquet = parquet_schema(&schema, "t").unwrap();
        assert_eq!(
            parquet.column(0).physical_type(),
            PhysicalType::FIXED_LEN_BYTE_ARRAY
        );
        assert_eq!(parquet.column(0).type_length(), 4);
        assert_eq!(parquet.column(1).path().string(), "l.list.element");
    }

    #[test]
    fn hazard_24_types_that_some_reader_mishandles_are_refused() {
        for data_type in [
            DataType::Time64(TimeUnit::Microsecond),
            DataType::UInt64,
            DataType::Date64,
        ] {
            let schema = Schema::new(vec![Field::new("c", data_type, true)]);
            assert!(parquet_schema(&schema, "t").is_err());
        }
    }
}
