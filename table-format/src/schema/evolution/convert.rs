//! Values of a column that got another type, beyond those promotions that every table knows.
//!
//! Java: SchemaChangeUtils#isTypeUpdateAllow, HoodieAvroUtils#rewritePrimaryTypeWithDiffSchemaType.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Date32Type};

use crate::error::{Error, Result};
use crate::record::text_of;
use crate::schema::adapt::is_promotion;

/// Whether a column may get this type by our hand: Hudi allows it, and every value has its equal.
pub(super) fn may_become(found: &DataType, target: &DataType) -> bool {
    use DataType as T;
    match (found, target) {
        (
            T::Int32 | T::Int64 | T::Float32 | T::Float64 | T::Decimal128(..) | T::Date32,
            T::Utf8,
        )
        | (T::Int32, T::Int64 | T::Float64)
        | (T::Float32, T::Float64)
        | (T::Utf8, T::Binary) => true,
        (T::Int32, T::Decimal128(precision, scale)) => has_digits(*precision, *scale, 10),
        (T::Int64, T::Decimal128(precision, scale)) => has_digits(*precision, *scale, 19),
        (T::Decimal128(..), T::Decimal128(..)) => is_promotion(found, target),
        _ => false,
    }
}

fn has_digits(precision: u8, scale: i8, digits: i16) -> bool {
    i16::from(precision) - i16::from(scale) >= digits
}

/// Whether values need more than a promotion to become `target`, which Hudi allows them.
pub(super) fn is_converted(found: &DataType, target: &DataType) -> bool {
    use DataType as T;
    found != target
        && !is_promotion(found, target)
        && (may_become(found, target)
            || matches!(
                (found, target),
                (
                    T::Int32 | T::Int64 | T::Float32 | T::Float64 | T::Utf8 | T::Decimal128(..),
                    T::Decimal128(..)
                ) | (T::Utf8, T::Date32)
            ))
}

/// The values as values of `target`.
///
/// # Errors
/// `Unsupported` for a value that has no equal; nulls are not made of them.
pub(super) fn convert(array: &ArrayRef, target: &DataType) -> Result<ArrayRef> {
    let found = array.data_type();
    if !is_converted(found, target) {
        return Ok(Arc::clone(array));
    }
    let strict = CastOptions {
        safe: false,
        ..CastOptions::default()
    };
    let cast = |array: &ArrayRef| {
        cast_with_options(array, target, &strict).map_err(|error| {
            Error::unsupported(format!("a value of {found} does not fit {target}: {error}"))
                .with_source(error)
        })
    };
    match (found, target) {
        (_, DataType::Utf8) => Ok(Arc::new(text_of(array)?)),
        // By their shortest digits, as Java's BigDecimal takes them.
        (DataType::Float32 | DataType::Float64, _) => {
            cast(&(Arc::new(text_of(array)?) as ArrayRef))
        }
        (DataType::Utf8, DataType::Date32) => dates(array),
        _ => cast(array),
    }
}

/// Java: Date#valueOf, which takes `yyyy-[m]m-[d]d` only.
fn dates(array: &ArrayRef) -> Result<ArrayRef> {
    let texts = array.as_string::<i32>();
    let days = texts.iter().map(|text| {
        let Some(text) = text else { return Ok(None) };
        let date = chrono::NaiveDate::parse_from_str(text, "%Y-%m-%d")
            .map_err(|error| Error::unsupported(format!("`{text}` is no date")).with_source(error));
        date.map(|date| Some(Date32Type::from_naive_date(date)))
    });
    let days = days.collect::<Result<arrow::array::Date32Array>>()?;
    Ok(Arc::new(days))
}
