//! Ordering values of records, in a form that compares as bytes across batches.
//!
//! Spec: Hudi 1.2.0, "Record Mergers": values compare by the type of the column, several fields from left to right. Null
//! is lowest here; Spark refuses to compare it with a value at all.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Decimal128Array, Float64Array, Int64Array, StringArray,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::row::{RowConverter, Rows, SortField};

use crate::codec::delete_record::{DeleteRecord, OrderingValue};
use crate::error::{Error, Result};

/// Makes comparable ordering values for one table.
#[derive(Debug)]
pub(crate) struct Ordering {
    types: Vec<DataType>,
    converter: RowConverter,
}

impl Ordering {
    /// For the columns at `positions` of `schema`.
    pub(crate) fn try_new(schema: &SchemaRef, positions: &[usize]) -> Result<Self> {
        let types: Vec<DataType> = positions
            .iter()
            .map(|position| schema.field(*position).data_type().clone())
            .collect();
        let converter = RowConverter::new(types.iter().cloned().map(SortField::new).collect())?;
        Ok(Self { types, converter })
    }

    /// The values of rows.
    pub(crate) fn of_columns(&self, columns: &[ArrayRef]) -> Result<Rows> {
        Ok(self.converter.convert_columns(columns)?)
    }

    /// The columns that the values were made of.
    pub(super) fn columns_of(&self, values: &Rows) -> Result<Vec<ArrayRef>> {
        Ok(self.converter.convert_rows(values)?)
    }

    /// Room for values to be copied into.
    pub(super) fn empty_rows(&self, rows: usize) -> Rows {
        self.converter.empty_rows(rows, 0)
    }

    /// The values of deletes; those without one stand as nulls.
    pub(super) fn of_deletes(&self, records: &[DeleteRecord]) -> Result<Rows> {
        let columns = self
            .types
            .iter()
            .enumerate()
            .map(|(field, data_type)| {
                let values: Vec<&OrderingValue> = records
                    .iter()
                    .map(|record| field_value(&record.ordering_value, field))
                    .collect();
                column_of(&values, data_type)
            })
            .collect::<Result<Vec<_>>>()?;
        self.of_columns(&columns)
    }
}

/// The value of the n-th ordering field.
fn field_value(value: &OrderingValue, field: usize) -> &OrderingValue {
    match value {
        OrderingValue::Array(values) => values.get(field).unwrap_or(&OrderingValue::Null),
        single if field == 0 && !single.is_default() => single,
        _ => &OrderingValue::Null,
    }
}

fn column_of(values: &[&OrderingValue], data_type: &DataType) -> Result<ArrayRef> {
    let mismatch = |value: &OrderingValue| {
        Error::corrupt(
            "delete block",
            format!("ordering value {value:?} for a column of type {data_type}"),
        )
    };
    let column: ArrayRef = match data_type {
        DataType::Utf8 => Arc::new(
            collect(values, mismatch, |value| match value {
                OrderingValue::String(text) => Some(text.as_str()),
                _ => None,
            })?
            .into_iter()
            .collect::<StringArray>(),
        ),
        DataType::Binary => Arc::new(
            collect(values, mismatch, |value| match value {
                OrderingValue::Bytes(bytes) => Some(bytes.as_slice()),
                _ => None,
            })?
            .into_iter()
            .collect::<BinaryArray>(),
        ),
        DataType::Boolean => Arc::new(
            collect(values, mismatch, |value| match value {
                OrderingValue::Boolean(flag) => Some(*flag),
                _ => None,
            })?
            .into_iter()
            .collect::<BooleanArray>(),
        ),
        DataType::Float32 | DataType::Float64 => {
            let floats: Float64Array = collect(values, mismatch, float_of)?.into_iter().collect();
            cast(&floats, data_type)?
        }
        DataType::Decimal128(precision, scale) => {
            let unscaled: Decimal128Array =
                collect(values, mismatch, |value| decimal_of(value, *scale))?
                    .into_iter()
                    .collect();
            Arc::new(unscaled.with_precision_and_scale(*precision, *scale)?)
        }
        _ => {
            let integers: Int64Array = collect(values, mismatch, integer_of)?.into_iter().collect();
            match data_type {
                DataType::Date32 | DataType::Time32(_) => {
                    cast(&cast(&integers, &DataType::Int32)?, data_type)?
                }
                _ => cast(&integers, data_type)?,
            }
        }
    };
    Ok(column)
}

/// Reads every value that is not null; one of another type is an error.
fn collect<'a, T>(
    values: &[&'a OrderingValue],
    mismatch: impl Fn(&OrderingValue) -> Error,
    read: impl Fn(&'a OrderingValue) -> Option<T>,
) -> Result<Vec<Option<T>>> {
    values
        .iter()
        .map(|value| match value {
            OrderingValue::Null => Ok(None),
            value => read(value).map(Some).ok_or_else(|| mismatch(value)),
        })
        .collect()
}

fn integer_of(value: &OrderingValue) -> Option<i64> {
    match value {
        OrderingValue::Int(value)
        | OrderingValue::Date(value)
        | OrderingValue::LocalDate(value) => Some(i64::from(*value)),
        OrderingValue::Long(value)
        | OrderingValue::TimeMicros(value)
        | OrderingValue::TimestampMicros(value) => Some(*value),
        _ => None,
    }
}

fn float_of(value: &OrderingValue) -> Option<f64> {
    match value {
        OrderingValue::Float(value) => Some(f64::from(*value)),
        OrderingValue::Double(value) => Some(*value),
        _ => None,
    }
}

fn decimal_of(value: &OrderingValue, scale: i8) -> Option<i128> {
    let OrderingValue::Decimal(unscaled) = value else {
        return None;
    };
    let places = OrderingValue::DECIMAL_SCALE - scale;
    let factor = 10_i128.checked_pow(u32::from(places.unsigned_abs()))?;
    if places >= 0 {
        unscaled.checked_div(factor)
    } else {
        unscaled.checked_mul(factor)
    }
}
