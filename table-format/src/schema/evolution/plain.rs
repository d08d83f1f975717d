//! The types of columns that hold no others, by the names that Hudi's history gives them.
//!
//! Java: Types, Type.TypeID, InternalSchemaConverter.

use std::sync::Arc;

use arrow::datatypes::{DataType, TimeUnit};

use crate::codec::avro::decimal_fixed_size;
use crate::error::{Error, Result};

/// The Arrow type by the name of Hudi's. Java: Types, Type.TypeID.
pub(super) fn plain_type(name: &str) -> Option<DataType> {
    let utc = || Some(Arc::from("UTC"));
    Some(match name {
        "boolean" => DataType::Boolean,
        "int" => DataType::Int32,
        "long" => DataType::Int64,
        "float" => DataType::Float32,
        "double" => DataType::Float64,
        "date" => DataType::Date32,
        "string" | "uuid" => DataType::Utf8,
        "binary" => DataType::Binary,
        "time" => DataType::Time64(TimeUnit::Microsecond),
        "time-millis" => DataType::Time32(TimeUnit::Millisecond),
        "timestamp" => DataType::Timestamp(TimeUnit::Microsecond, utc()),
        "timestamp-millis" => DataType::Timestamp(TimeUnit::Millisecond, utc()),
        "local-timestamp-micros" => DataType::Timestamp(TimeUnit::Microsecond, None),
        "local-timestamp-millis" => DataType::Timestamp(TimeUnit::Millisecond, None),
        _ => return sized_type(name),
    })
}

/// `fixed[n]`, `decimal(p, s)`, `decimal_bytes(p, s)` and `decimal_fixed(p, s)[n]`.
fn sized_type(name: &str) -> Option<DataType> {
    if let Some(size) = name.strip_prefix("fixed[") {
        let size: i32 = size.strip_suffix(']')?.parse().ok()?;
        return (size >= 0).then_some(DataType::FixedSizeBinary(size));
    }
    let (kind, digits) = name.split_once('(')?;
    let (digits, _) = digits.split_once(')')?;
    let (precision, scale) = digits.split_once(',')?;
    let (precision, scale) = (precision.trim().parse().ok()?, scale.trim().parse().ok()?);
    let is_decimal = matches!(kind, "decimal" | "decimal_bytes" | "decimal_fixed");
    let is_possible = is_decimal && (1..=38).contains(&precision) && (0..=38).contains(&scale);
    is_possible.then_some(DataType::Decimal128(precision, scale))
}

/// The name of an Arrow type, as it follows from the Avro type that is written for it. Types whose names Hudi writes, but does not
/// read, are refused: it could not open the table any more (Java: SerDeHelper#parserTypeFromJson, Type.TypeID#fromValue).
pub(super) fn plain_name(data_type: &DataType, path: &str) -> Result<String> {
    Ok(match data_type {
        DataType::Boolean => "boolean".to_owned(),
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::UInt8 | DataType::UInt16 => {
            "int".to_owned()
        }
        DataType::Int64 | DataType::UInt32 => "long".to_owned(),
        DataType::Float32 => "float".to_owned(),
        DataType::Float64 => "double".to_owned(),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "string".to_owned(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => "binary".to_owned(),
        DataType::Dictionary(_, values) => return plain_name(values, path),
        DataType::Date32 => "date".to_owned(),
        DataType::Time64(TimeUnit::Microsecond) => "time".to_owned(),
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => "timestamp".to_owned(),
        DataType::FixedSizeBinary(size) => format!("fixed[{size}]"),
        DataType::Decimal128(precision, scale) => {
            let size = decimal_fixed_size(*precision);
            format!("decimal_fixed({precision}, {scale})[{size}]")
        }
        other => {
            return Err(Error::unsupported(format!(
                "column `{path}`: Hudi does not read the type {other} back from a history of schemas; a table with schema on \
                 read cannot have it"
            )));
        }
    })
}
