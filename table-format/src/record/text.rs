//! The text of a cell as Hudi puts it into record keys and partition paths.
//!
//! Spec: Hudi 1.2.0 with Spark's upsert path: integers and booleans plain, dates ISO, decimals with their full scale,
//! binary as lower-case hex, timestamps as the raw epoch value.

use arrow::array::types::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, TimestampMicrosecondType, TimestampMillisecondType, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use arrow::array::{Array, ArrayRef, AsArray};
use arrow::array::{
    BinaryArray, BooleanArray, Decimal128Array, LargeBinaryArray, LargeStringArray, PrimitiveArray,
    StringArray,
};
use arrow::datatypes::{DataType, TimeUnit};

use crate::error::{Error, Result};

/// One column whose cells can be appended to a text buffer.
#[derive(Debug)]
pub(super) enum CellText<'a> {
    Utf8(&'a StringArray),
    LargeUtf8(&'a LargeStringArray),
    Binary(&'a BinaryArray),
    LargeBinary(&'a LargeBinaryArray),
    Boolean(&'a BooleanArray),
    Int8(&'a PrimitiveArray<Int8Type>),
    Int16(&'a PrimitiveArray<Int16Type>),
    Int32(&'a PrimitiveArray<Int32Type>),
    Int64(&'a PrimitiveArray<Int64Type>),
    UInt8(&'a PrimitiveArray<UInt8Type>),
    UInt16(&'a PrimitiveArray<UInt16Type>),
    UInt32(&'a PrimitiveArray<UInt32Type>),
    UInt64(&'a PrimitiveArray<UInt64Type>),
    Float32(&'a PrimitiveArray<Float32Type>),
    Float64(&'a PrimitiveArray<Float64Type>),
    Date(&'a PrimitiveArray<Date32Type>),
    Millis(&'a PrimitiveArray<TimestampMillisecondType>),
    Micros(&'a PrimitiveArray<TimestampMicrosecondType>),
    Decimal(&'a Decimal128Array, u32),
}

impl<'a> CellText<'a> {
    /// The cells of `column`; `name` is only for the error of a type that cannot be a key.
    pub(super) fn try_new(name: &str, column: &'a ArrayRef) -> Result<Self> {
        Ok(match column.data_type() {
            DataType::Utf8 => Self::Utf8(column.as_string()),
            DataType::LargeUtf8 => Self::LargeUtf8(column.as_string()),
            DataType::Binary => Self::Binary(column.as_binary()),
            DataType::LargeBinary => Self::LargeBinary(column.as_binary()),
            DataType::Boolean => Self::Boolean(column.as_boolean()),
            DataType::Int8 => Self::Int8(column.as_primitive()),
            DataType::Int16 => Self::Int16(column.as_primitive()),
            DataType::Int32 => Self::Int32(column.as_primitive()),
            DataType::Int64 => Self::Int64(column.as_primitive()),
            DataType::UInt8 => Self::UInt8(column.as_primitive()),
            DataType::UInt16 => Self::UInt16(column.as_primitive()),
            DataType::UInt32 => Self::UInt32(column.as_primitive()),
            DataType::UInt64 => Self::UInt64(column.as_primitive()),
            DataType::Float32 => Self::Float32(column.as_primitive()),
            DataType::Float64 => Self::Float64(column.as_primitive()),
            DataType::Date32 => Self::Date(column.as_primitive()),
            DataType::Timestamp(TimeUnit::Millisecond, _) => Self::Millis(column.as_primitive()),
            DataType::Timestamp(TimeUnit::Microsecond, _) => Self::Micros(column.as_primitive()),
            DataType::Decimal128(_, scale) if *scale >= 0 => Self::Decimal(
                column.as_primitive::<Decimal128Type>(),
                u32::from(scale.unsigned_abs()),
            ),
            other => {
                return Err(Error::unsupported(format!(
                    "column `{name}` of type {other} cannot be a record key or partition column; \
                     use an integer, string, date or decimal column"
                )));
            }
        })
    }

    fn array(&self) -> &dyn Array {
        match self {
            Self::Utf8(a) => *a,
            Self::LargeUtf8(a) => *a,
            Self::Binary(a) => *a,
            Self::LargeBinary(a) => *a,
            Self::Boolean(a) => *a,
            Self::Int8(a) => *a,
            Self::Int16(a) => *a,
            Self::Int32(a) => *a,
            Self::Int64(a) => *a,
            Self::UInt8(a) => *a,
            Self::UInt16(a) => *a,
            Self::UInt32(a) => *a,
            Self::UInt64(a) => *a,
            Self::Float32(a) => *a,
            Self::Float64(a) => *a,
            Self::Date(a) => *a,
            Self::Millis(a) => *a,
            Self::Micros(a) => *a,
            Self::Decimal(a, _) => *a,
        }
    }

    /// Whether any cell is null.
    pub(super) fn has_nulls(&self) -> bool {
        self.array().null_count() > 0
    }

    /// Whether the cell of `row` is null.
    pub(super) fn is_null(&self, row: usize) -> bool {
        self.array().is_null(row)
    }

    /// Appends the text of a cell that is not null.
    pub(super) fn append(&self, row: usize, out: &mut String) {
        match self {
            Self::Utf8(a) => out.push_str(a.value(row)),
            Self::LargeUtf8(a) => out.push_str(a.value(row)),
            Self::Binary(a) => push_hex(out, a.value(row)),
            Self::LargeBinary(a) => push_hex(out, a.value(row)),
            Self::Boolean(a) => out.push_str(if a.value(row) { "true" } else { "false" }),
            Self::Int8(a) => push_i64(out, i64::from(a.value(row))),
            Self::Int16(a) => push_i64(out, i64::from(a.value(row))),
            Self::Int32(a) => push_i64(out, i64::from(a.value(row))),
            Self::Int64(a) => push_i64(out, a.value(row)),
            Self::UInt8(a) => push_u64(out, u64::from(a.value(row))),
            Self::UInt16(a) => push_u64(out, u64::from(a.value(row))),
            Self::UInt32(a) => push_u64(out, u64::from(a.value(row))),
            Self::UInt64(a) => push_u64(out, a.value(row)),
            Self::Float32(a) => {
                push_float(out, f64::from(a.value(row)), &format!("{:e}", a.value(row)))
            }
            Self::Float64(a) => push_float(out, a.value(row), &format!("{:e}", a.value(row))),
            Self::Date(a) => push_date(out, a.value(row)),
            Self::Millis(a) => push_i64(out, a.value(row)),
            Self::Micros(a) => push_i64(out, a.value(row)),
            Self::Decimal(a, scale) => push_decimal(out, a.value(row), *scale),
        }
    }
}

/// The cells as text, null where they are null.
///
/// # Errors
/// `Unsupported` for a type whose values Hudi does not put into words.
pub(crate) fn text_of(column: &ArrayRef) -> Result<StringArray> {
    let cells = CellText::try_new("text", column)?;
    let texts = (0..column.len()).map(|row| {
        (!cells.is_null(row)).then(|| {
            let mut text = String::new();
            cells.append(row, &mut text);
            text
        })
    });
    Ok(texts.collect())
}

/// Appends `value` in decimal.
pub(crate) fn push_u64(out: &mut String, value: u64) {
    push_digits(out, u128::from(value), 1);
}

/// Appends `value` with at least `width` digits.
pub(crate) fn push_padded(out: &mut String, value: u64, width: usize) {
    push_digits(out, u128::from(value), width);
}

fn push_i64(out: &mut String, value: i64) {
    if value < 0 {
        out.push('-');
    }
    push_digits(out, u128::from(value.unsigned_abs()), 1);
}

/// Appends the digits of `value`, at least `width` of them.
fn push_digits(out: &mut String, value: u128, width: usize) {
    let mut digits = [b'0'; 40];
    let mut start = digits.len();
    match u64::try_from(value) {
        Ok(mut rest) => {
            while rest > 0 {
                start -= 1;
                digits[start] = b'0' + (rest % 10) as u8;
                rest /= 10;
            }
        }
        Err(_) => {
            let mut rest = value;
            while rest > 0 {
                start -= 1;
                digits[start] = b'0' + (rest % 10) as u8;
                rest /= 10;
            }
        }
    }
    start = start.min(digits.len() - width.min(digits.len()));
    out.extend(digits[start..].iter().map(|&digit| char::from(digit)));
}

fn push_hex(out: &mut String, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        out.push(char::from(DIGITS[usize::from(byte >> 4)]));
        out.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
}

/// Civil date of a day count since 1970-01-01 (proleptic Gregorian calendar), as `java.time.LocalDate` prints it.
fn push_date(out: &mut String, days: i32) {
    // Eras of 400 years that begin on 1 March, so that the leap day is the last of its year.
    let shifted = i64::from(days) + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    if year < 0 {
        out.push('-');
    } else if year > 9_999 {
        out.push('+');
    }
    push_digits(out, u128::from(year.unsigned_abs()), 4);
    out.push('-');
    push_digits(out, u128::from(month.unsigned_abs()), 2);
    out.push('-');
    push_digits(out, u128::from(day.unsigned_abs()), 2);
}

fn push_decimal(out: &mut String, unscaled: i128, scale: u32) {
    if unscaled < 0 {
        out.push('-');
    }
    let magnitude = unscaled.unsigned_abs();
    // A scale beyond the largest power of ten of 128 bits leaves no whole digits.
    let (whole, fraction) = match 10_u128.checked_pow(scale) {
        Some(unit) => (magnitude / unit, magnitude % unit),
        None => (0, magnitude),
    };
    push_digits(out, whole, 1);
    if scale > 0 {
        out.push('.');
        push_digits(out, fraction, scale as usize);
    }
}

/// Java: Double#toString and Float#toString; `shortest` is the value in Rust's `{:e}` form.
fn push_float(out: &mut String, value: f64, shortest: &str) {
    if value.is_nan() {
        out.push_str("NaN");
        return;
    }
    if value.is_infinite() {
        out.push_str(if value > 0.0 { "Infinity" } else { "-Infinity" });
        return;
    }
    let magnitude = value.abs();
    if magnitude == 0.0 || (1e-3..1e7).contains(&magnitude) {
        let (mantissa, exponent) = shortest.split_once('e').unwrap_or((shortest, "0"));
        let digits = mantissa.chars().filter(char::is_ascii_digit).count() as i64;
        let exponent: i64 = exponent.parse().unwrap_or(0);
        let fraction = usize::try_from(digits - 1 - exponent).unwrap_or(0).max(1);
        out.push_str(&format!("{value:.fraction$}"));
    } else {
        let (mantissa, exponent) = shortest.split_once('e').unwrap_or((shortest, "0"));
        out.push_str(mantissa);
        if !mantissa.contains('.') {
            out.push_str(".0");
        }
        out.push('E');
        out.push_str(exponent);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rstest::rstest;

    use super::*;

    fn text(column: ArrayRef) -> String {
        let (mut out, columns) = (String::new(), [column]);
        CellText::try_new("k", &columns[0])
            .unwrap()
            .append(0, &mut out);
        out
    }

    #[rstest]
    #[case(0, "1970-01-01")]
    #[case(-1, "1969-12-31")]
    #[case(19_782, "2024-02-29")]
    #[case(-719_528, "0000-01-01")]
    #[case(2_932_897, "+10000-01-01")]
    fn dates_are_iso(#[case] days: i32, #[case] expected: &str) {
        assert_eq!(
            text(Arc::new(PrimitiveArray::<Date32Type>::from(vec![days]))),
            expected
        );
    }

    #[rstest]
    #[case(150, 2, "1.50")]
    #[case(-5, 2, "-0.05")]
    #[case(7, 0, "7")]
    #[case(i128::MAX, 0, "170141183460469231731687303715884105727")]
    fn decimals_keep_their_scale(
        #[case] unscaled: i128,
        #[case] scale: i8,
        #[case] expected: &str,
    ) {
        let array =
            Decimal128Array::from(vec![unscaled]).with_data_type(DataType::Decimal128(38, scale));
        assert_eq!(text(Arc::new(array)), expected);
    }

    #[rstest]
    #[case(1.5, "1.5")]
    #[case(100.0, "100.0")]
    #[case(1e10, "1.0E10")]
    #[case(1.25e-7, "1.25E-7")]
    #[case(0.0, "0.0")]
    fn doubles_are_printed_as_java_does(#[case] value: f64, #[case] expected: &str) {
        assert_eq!(
            text(Arc::new(PrimitiveArray::<Float64Type>::from(vec![value]))),
            expected
        );
    }

    #[test]
    fn integers_and_bytes() {
        assert_eq!(
            text(Arc::new(PrimitiveArray::<Int64Type>::from(vec![i64::MIN]))),
            i64::MIN.to_string()
        );
        assert_eq!(
            text(Arc::new(PrimitiveArray::<Int32Type>::from(vec![0]))),
            "0"
        );
        assert_eq!(
            text(Arc::new(BinaryArray::from_vec(vec![b"a\xfe"]))),
            "61fe"
        );
    }
}
