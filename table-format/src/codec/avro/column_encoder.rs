//! One column of values to encode: an array downcast to its own type, and the branch of its null.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Decimal128Array, FixedSizeBinaryArray,
    Float32Array, Float64Array, Int32Array, Int64Array, StringArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Decimal128Type, Float32Type, Float64Type, Int32Type, Int64Type};

use super::arrow_type::arrow_type;
use super::cursor::{put_bytes, put_length, put_long};
use super::decimal::{put_decimal_fixed, put_decimal_shortest};
use super::schema::AvroType;
use crate::error::{Error, Result};

/// Why a value cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum EncodeError {
    #[error("a null in a field that is not nullable")]
    Null,
    #[error("a decimal with more digits than its field")]
    Decimal,
    #[error("a text that is not a symbol of its enum")]
    Symbol,
}

/// A column of one field, element or value.
#[derive(Debug)]
pub(super) struct ColumnEncoder {
    null_branch: Option<u8>,
    nulls: Option<NullBuffer>,
    values: Values,
}

#[derive(Debug)]
enum Values {
    Null,
    Boolean(BooleanArray),
    Int(Int32Array),
    Long(Int64Array),
    Float(Float32Array),
    Double(Float64Array),
    Bytes(BinaryArray),
    String(StringArray),
    Enum(StringArray, Arc<[String]>),
    Fixed(FixedSizeBinaryArray),
    Decimal {
        array: Decimal128Array,
        limit: u128,
        fixed_size: Option<usize>,
    },
    Record(Vec<ColumnEncoder>),
    Array(OffsetBuffer<i32>, Box<ColumnEncoder>),
    Map(OffsetBuffer<i32>, StringArray, Box<ColumnEncoder>),
}

impl ColumnEncoder {
    /// `path` names the column in errors.
    pub(super) fn try_new(array: &ArrayRef, data_type: &AvroType, path: &str) -> Result<Self> {
        let (inner, null_branch) = data_type.unwrap_nullable();
        let values = Values::try_new(array, inner, path)?;
        let nulls = match inner {
            AvroType::Null => None,
            _ => array.logical_nulls().filter(|nulls| nulls.null_count() > 0),
        };
        Ok(Self {
            null_branch,
            nulls,
            values,
        })
    }

    /// Appends the value of one row, which is within the array.
    pub(super) fn encode(&self, row: usize, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let is_null = self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row));
        match (self.null_branch, is_null) {
            (Some(null_branch), true) => {
                put_long(i64::from(null_branch), out);
                return Ok(());
            }
            (Some(null_branch), false) => put_long(i64::from(1 - null_branch), out),
            (None, true) => return Err(EncodeError::Null),
            (None, false) => {}
        }
        self.values.encode(row, out)
    }
}

impl Values {
    fn try_new(array: &ArrayRef, data_type: &AvroType, path: &str) -> Result<Self> {
        Ok(match data_type {
            AvroType::Null => Self::Null,
            AvroType::Record(_) | AvroType::Array(_) | AvroType::Map(_) => {
                return Self::nested(array, data_type, path);
            }
            AvroType::Nullable { inner, .. } => return Self::try_new(array, inner, path),
            _ => {
                let array = physical(array, data_type, path)?;
                match data_type {
                    AvroType::Boolean => Self::Boolean(array.as_boolean().clone()),
                    AvroType::Float => Self::Float(array.as_primitive::<Float32Type>().clone()),
                    AvroType::Double => Self::Double(array.as_primitive::<Float64Type>().clone()),
                    AvroType::Bytes => Self::Bytes(array.as_binary().clone()),
                    AvroType::String => Self::String(array.as_string().clone()),
                    AvroType::Enum(symbols) => {
                        Self::Enum(array.as_string().clone(), Arc::clone(symbols))
                    }
                    AvroType::Fixed(_) => Self::Fixed(array.as_fixed_size_binary().clone()),
                    AvroType::Decimal {
                        precision,
                        fixed_size,
                        ..
                    } => Self::Decimal {
                        array: array.as_primitive::<Decimal128Type>().clone(),
                        limit: 10_u128.pow(u32::from(*precision)),
                        fixed_size: *fixed_size,
                    },
                    _ if array.data_type() == &DataType::Int32 => {
                        Self::Int(array.as_primitive::<Int32Type>().clone())
                    }
                    _ => Self::Long(array.as_primitive::<Int64Type>().clone()),
                }
            }
        })
    }

    fn nested(array: &ArrayRef, data_type: &AvroType, path: &str) -> Result<Self> {
        match (data_type, array.data_type()) {
            (AvroType::Record(record), DataType::Struct(_)) => {
                let array = array.as_struct();
                let fields = record.fields.iter().map(|field| {
                    let path = format!("{path}.{}", field.name);
                    let column = array.column_by_name(&field.name);
                    let column = column.ok_or_else(|| {
                        Error::invalid(format!("column `{path}` is missing in the rows"))
                    })?;
                    ColumnEncoder::try_new(column, &field.data_type, &path)
                });
                Ok(Self::Record(fields.collect::<Result<Vec<_>>>()?))
            }
            (AvroType::Array(items), DataType::List(_)) => {
                let array = array.as_list::<i32>();
                let items =
                    ColumnEncoder::try_new(array.values(), items, &format!("{path}.element"))?;
                Ok(Self::Array(array.offsets().clone(), Box::new(items)))
            }
            (AvroType::Map(values), DataType::Map(_, _)) => {
                let array = array.as_map();
                let keys = physical(array.keys(), &AvroType::String, &format!("{path}.key"))?;
                let values =
                    ColumnEncoder::try_new(array.values(), values, &format!("{path}.value"))?;
                Ok(Self::Map(
                    array.offsets().clone(),
                    keys.as_string().clone(),
                    Box::new(values),
                ))
            }
            (_, found) => Err(mismatch(path, found, data_type)),
        }
    }

    fn encode(&self, row: usize, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        match self {
            Self::Null => {}
            Self::Boolean(array) => out.push(u8::from(array.value(row))),
            Self::Int(array) => put_long(i64::from(array.value(row)), out),
            Self::Long(array) => put_long(array.value(row), out),
            Self::Float(array) => out.extend_from_slice(&array.value(row).to_le_bytes()),
            Self::Double(array) => out.extend_from_slice(&array.value(row).to_le_bytes()),
            Self::Bytes(array) => put_bytes(array.value(row), out),
            Self::String(array) => put_bytes(array.value(row).as_bytes(), out),
            Self::Enum(array, symbols) => {
                let value = array.value(row);
                let symbol = symbols.iter().position(|symbol| symbol == value);
                put_length(symbol.ok_or(EncodeError::Symbol)?, out);
            }
            Self::Fixed(array) => out.extend_from_slice(array.value(row)),
            Self::Decimal {
                array,
                limit,
                fixed_size,
            } => {
                let value = array.value(row);
                if value.unsigned_abs() >= *limit {
                    return Err(EncodeError::Decimal);
                }
                match fixed_size {
                    Some(size) if !put_decimal_fixed(value, *size, out) => {
                        return Err(EncodeError::Decimal);
                    }
                    Some(_) => {}
                    None => put_decimal_shortest(value, out),
                }
            }
            Self::Record(fields) => fields.iter().try_for_each(|field| field.encode(row, out))?,
            Self::Array(offsets, items) => {
                put_list(offsets, row, out, |item, out| items.encode(item, out))?;
            }
            Self::Map(offsets, keys, values) => put_list(offsets, row, out, |entry, out| {
                put_bytes(keys.value(entry).as_bytes(), out);
                values.encode(entry, out)
            })?,
        }
        Ok(())
    }
}

/// Writes the items of one list as one block.
fn put_list(
    offsets: &OffsetBuffer<i32>,
    row: usize,
    out: &mut Vec<u8>,
    mut item: impl FnMut(usize, &mut Vec<u8>) -> Result<(), EncodeError>,
) -> Result<(), EncodeError> {
    // Offsets of an Arrow list start at 0 and never fall; `row` is within the array.
    let at = |index: usize| {
        offsets
            .get(index)
            .map_or(0, |offset| offset.unsigned_abs() as usize)
    };
    let (start, end) = (at(row), at(row + 1));
    if end > start {
        put_length(end - start, out);
        (start..end).try_for_each(|index| item(index, out))?;
    }
    put_length(0, out);
    Ok(())
}

/// The array in the type that the encoder writes from; only conversions that lose nothing are made.
fn physical(array: &ArrayRef, data_type: &AvroType, path: &str) -> Result<ArrayRef> {
    let (expected, found) = (arrow_type(data_type), array.data_type());
    if !is_lossless(found, &expected) {
        return Err(mismatch(path, found, data_type));
    }
    let target = match expected {
        DataType::Date32 | DataType::Time32(_) => DataType::Int32,
        DataType::Time64(_) | DataType::Timestamp(_, _) => DataType::Int64,
        other => other,
    };
    if *found == target {
        return Ok(Arc::clone(array));
    }
    let strict = CastOptions {
        safe: false,
        ..CastOptions::default()
    };
    cast_with_options(array, &target, &strict).map_err(|error| {
        Error::invalid(format!(
            "column `{path}`: cannot be written as {target}: {error}"
        ))
        .with_source(error)
    })
}

fn is_lossless(found: &DataType, expected: &DataType) -> bool {
    use DataType as T;
    match (found, expected) {
        (T::Timestamp(unit, zone), T::Timestamp(expected_unit, expected_zone)) => {
            unit == expected_unit && zone.is_some() == expected_zone.is_some()
        }
        (T::Int8 | T::Int16 | T::UInt8 | T::UInt16, T::Int32 | T::Int64)
        | (T::Int32 | T::UInt32, T::Int64)
        | (T::Float32, T::Float64)
        | (T::LargeUtf8 | T::Utf8View, T::Utf8)
        | (T::LargeBinary | T::BinaryView, T::Binary) => true,
        (T::Dictionary(_, values), expected) => is_lossless(values, expected),
        (found, expected) => found == expected,
    }
}

fn mismatch(path: &str, found: &DataType, data_type: &AvroType) -> Error {
    let expected = arrow_type(data_type);
    Error::invalid(format!(
        "column `{path}`: {found} cannot be written as {expected}"
    ))
}
