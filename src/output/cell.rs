//! One cell as text: the rules of the JSON output, and the plain spelling for CSV and tables.
//!
//! Decimals keep their full scale, floats are the shortest that read back, times of day have six digits of a second when
//! they need them, timestamps always, binary is base64. An encoder is made once per column and batch.

use std::io::Write as _;

use anyhow::{Result, bail};
use arrow::array::{
    Array, AsArray, Date32Array, GenericListArray, MapArray, OffsetSizeTrait, PrimitiveArray,
    StructArray,
};
use arrow::compute::cast;
use arrow::datatypes::{
    ArrowNativeType, ArrowPrimitiveType, DataType, Decimal128Type, Float32Type, Float64Type,
    Int8Type, Int16Type, Int32Type, Int64Type, Time32MillisecondType, Time32SecondType,
    Time64MicrosecondType, Time64NanosecondType, TimeUnit, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// How text stands in the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// JSON values: text in quotes, null as `null`.
    Json,
    /// Bare text, null as nothing; nested values as JSON.
    Plain,
}

/// Appends the text of a row's cell.
pub(super) type Encoder = Box<dyn Fn(usize, &mut Vec<u8>)>;

/// An encoder for the cells of `array`.
///
/// # Errors
/// When the type has no spelling.
pub(super) fn encoder(array: &dyn Array, style: Style) -> Result<Encoder> {
    let encode = value_encoder(array, style)?;
    let nulls = array.logical_nulls();
    Ok(match nulls.filter(|nulls| nulls.null_count() > 0) {
        None => encode,
        Some(nulls) => Box::new(move |row, out| {
            if nulls.is_valid(row) {
                encode(row, out);
            } else if style == Style::Json {
                out.extend_from_slice(b"null");
            }
        }),
    })
}

fn value_encoder(array: &dyn Array, style: Style) -> Result<Encoder> {
    Ok(match array.data_type() {
        DataType::Null => Box::new(|_, _| {}),
        DataType::Boolean => {
            let values = array.as_boolean().clone();
            Box::new(move |row, out| put(out, format_args!("{}", values.value(row))))
        }
        DataType::Int8 => integers::<Int8Type>(array),
        DataType::Int16 => integers::<Int16Type>(array),
        DataType::Int32 => integers::<Int32Type>(array),
        DataType::Int64 => integers::<Int64Type>(array),
        DataType::UInt8 => integers::<UInt8Type>(array),
        DataType::UInt16 => integers::<UInt16Type>(array),
        DataType::UInt32 => integers::<UInt32Type>(array),
        DataType::UInt64 => integers::<UInt64Type>(array),
        DataType::Float32 => {
            let values = array.as_primitive::<Float32Type>().clone();
            Box::new(move |row, out| {
                let value = values.value(row);
                put_float(out, f64::from(value), format_args!("{value:?}"), style);
            })
        }
        DataType::Float64 => {
            let values = array.as_primitive::<Float64Type>().clone();
            Box::new(move |row, out| {
                let value = values.value(row);
                put_float(out, value, format_args!("{value:?}"), style);
            })
        }
        DataType::Decimal128(_, _) => {
            let values = array.as_primitive::<Decimal128Type>().clone();
            Box::new(move |row, out| put_text(out, &values.value_as_string(row), style))
        }
        DataType::Utf8 => {
            let values = array.as_string::<i32>().clone();
            Box::new(move |row, out| put_text(out, values.value(row), style))
        }
        DataType::Binary => {
            let values = array.as_binary::<i32>().clone();
            Box::new(move |row, out| put_text(out, &STANDARD.encode(values.value(row)), style))
        }
        DataType::FixedSizeBinary(_) => {
            let values = array.as_fixed_size_binary().clone();
            Box::new(move |row, out| put_text(out, &STANDARD.encode(values.value(row)), style))
        }
        DataType::Date32 => {
            let values: Date32Array = array.as_primitive().clone();
            Box::new(move |row, out| put_text(out, &date(i64::from(values.value(row))), style))
        }
        DataType::Time32(_) | DataType::Time64(_) => times(array, style)?,
        DataType::Timestamp(_, _) => timestamps(array, style)?,
        DataType::Struct(_) => structs(array.as_struct())?,
        DataType::List(_) => lists(array.as_list::<i32>())?,
        DataType::LargeList(_) => lists(array.as_list::<i64>())?,
        DataType::Map(_, _) => maps(array.as_map())?,
        DataType::LargeUtf8 | DataType::Utf8View => encoder(&cast(array, &DataType::Utf8)?, style)?,
        DataType::LargeBinary | DataType::BinaryView => {
            encoder(&cast(array, &DataType::Binary)?, style)?
        }
        DataType::Dictionary(_, values) => encoder(&cast(array, values)?, style)?,
        DataType::Date64 => encoder(&cast(array, &DataType::Date32)?, style)?,
        other => bail!("a column of type {other} has no text form; cast it in the query"),
    })
}

fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    // Writing to a vector does not fail.
    let _ = out.write_fmt(text);
}

fn put_text(out: &mut Vec<u8>, text: &str, style: Style) {
    match style {
        Style::Plain => out.extend_from_slice(text.as_bytes()),
        Style::Json => {
            // Neither does writing text as JSON.
            let _ = serde_json::to_writer(out, text);
        }
    }
}

fn put_float(out: &mut Vec<u8>, value: f64, shortest: std::fmt::Arguments<'_>, style: Style) {
    if value.is_finite() {
        put(out, shortest);
    } else if value.is_nan() {
        put_text(out, "NaN", style);
    } else {
        put_text(
            out,
            if value > 0.0 { "Infinity" } else { "-Infinity" },
            style,
        );
    }
}

fn integers<T>(array: &dyn Array) -> Encoder
where
    T: ArrowPrimitiveType,
    T::Native: std::fmt::Display,
{
    let values: PrimitiveArray<T> = array.as_primitive().clone();
    Box::new(move |row, out| put(out, format_args!("{}", values.value(row))))
}

/// The values of a column of 32 or 64 bits as counts of its unit.
fn counts(array: &dyn Array) -> Result<Box<dyn Fn(usize) -> i64>> {
    macro_rules! counts {
        ($kind:ty) => {{
            let values: PrimitiveArray<$kind> = array.as_primitive().clone();
            Box::new(move |row| i64::from(values.value(row)))
        }};
    }
    Ok(match array.data_type() {
        DataType::Time32(TimeUnit::Second) => counts!(Time32SecondType),
        DataType::Time32(TimeUnit::Millisecond) => counts!(Time32MillisecondType),
        DataType::Time64(TimeUnit::Microsecond) => counts!(Time64MicrosecondType),
        DataType::Time64(TimeUnit::Nanosecond) => counts!(Time64NanosecondType),
        DataType::Timestamp(TimeUnit::Second, _) => counts!(TimestampSecondType),
        DataType::Timestamp(TimeUnit::Millisecond, _) => counts!(TimestampMillisecondType),
        DataType::Timestamp(TimeUnit::Microsecond, _) => counts!(TimestampMicrosecondType),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => counts!(TimestampNanosecondType),
        other => bail!("{other} is no type of times"),
    })
}

fn per_second(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    }
}

fn times(array: &dyn Array, style: Style) -> Result<Encoder> {
    let (DataType::Time32(unit) | DataType::Time64(unit)) = *array.data_type() else {
        bail!("{} is no time of day", array.data_type());
    };
    let value = counts(array)?;
    Ok(Box::new(move |row, out| {
        put_text(out, &time(value(row), per_second(unit), false), style)
    }))
}

fn timestamps(array: &dyn Array, style: Style) -> Result<Encoder> {
    let DataType::Timestamp(unit, zone) = array.data_type() else {
        bail!("{} is no timestamp", array.data_type());
    };
    let (per_day, per_second) = (86_400 * per_second(*unit), per_second(*unit));
    let suffix = if zone.is_some() { "Z" } else { "" };
    let value = counts(array)?;
    Ok(Box::new(move |row, out| {
        let count = value(row);
        let day = date(count.div_euclid(per_day));
        let time = time(count.rem_euclid(per_day), per_second, true);
        put_text(out, &format!("{day}T{time}{suffix}"), style);
    }))
}

/// `YYYY-MM-DD` in the proleptic Gregorian calendar, for any year.
fn date(days: i64) -> String {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    format!("{year:04}-{month:02}-{day:02}")
}

fn time(count: i64, per_second: i64, is_full: bool) -> String {
    let (seconds, fraction) = (count.div_euclid(per_second), count.rem_euclid(per_second));
    let (hours, minutes, rest) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    let digits: usize = if per_second == 1_000_000_000 { 9 } else { 6 };
    let scaled = fraction * (10_i64.pow(digits as u32) / per_second);
    if is_full || fraction != 0 {
        format!("{hours:02}:{minutes:02}:{rest:02}.{scaled:0digits$}")
    } else {
        format!("{hours:02}:{minutes:02}:{rest:02}")
    }
}

fn structs(array: &StructArray) -> Result<Encoder> {
    let mut fields = Vec::with_capacity(array.num_columns());
    for (field, column) in array.fields().iter().zip(array.columns()) {
        fields.push((
            serde_json::to_vec(field.name())?,
            encoder(column.as_ref(), Style::Json)?,
        ));
    }
    Ok(Box::new(move |row, out| {
        out.push(b'{');
        for (position, (name, encode)) in fields.iter().enumerate() {
            if position > 0 {
                out.push(b',');
            }
            out.extend_from_slice(name);
            out.push(b':');
            encode(row, out);
        }
        out.push(b'}');
    }))
}

fn lists<O: OffsetSizeTrait>(array: &GenericListArray<O>) -> Result<Encoder> {
    let items = encoder(array.values().as_ref(), Style::Json)?;
    let offsets: Vec<usize> = array
        .offsets()
        .iter()
        .map(|offset| offset.as_usize())
        .collect();
    Ok(Box::new(move |row, out| {
        out.push(b'[');
        if let [start, end] = offsets.get(row..row + 2).unwrap_or_default() {
            for item in *start..*end {
                if item > *start {
                    out.push(b',');
                }
                items(item, out);
            }
        }
        out.push(b']');
    }))
}

/// Maps become objects with sorted keys.
fn maps(array: &MapArray) -> Result<Encoder> {
    let keys = encoder(array.keys().as_ref(), Style::Plain)?;
    let values = encoder(array.values().as_ref(), Style::Json)?;
    let offsets: Vec<usize> = array
        .offsets()
        .iter()
        .map(|offset| offset.as_usize())
        .collect();
    Ok(Box::new(move |row, out| {
        let mut entries: Vec<(Vec<u8>, usize)> = Vec::new();
        if let [start, end] = offsets.get(row..row + 2).unwrap_or_default() {
            entries.extend((*start..*end).map(|item| {
                let mut key = Vec::new();
                keys(item, &mut key);
                (key, item)
            }));
        }
        entries.sort();
        out.push(b'{');
        for (position, (key, item)) in entries.iter().enumerate() {
            if position > 0 {
                out.push(b',');
            }
            put_text(out, &String::from_utf8_lossy(key), Style::Json);
            out.push(b':');
            values(*item, out);
        }
        out.push(b'}');
    }))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        ArrayRef, BinaryArray, Decimal128Array, Float32Array, Float64Array, Int64Array,
        Time64MicrosecondArray, TimestampMicrosecondArray,
    };

    use super::*;

    fn text(array: impl Array + 'static, style: Style) -> Vec<String> {
        let array: ArrayRef = Arc::new(array);
        let encode = encoder(array.as_ref(), style).unwrap();
        let cell = |row| {
            let mut out = Vec::new();
            encode(row, &mut out);
            String::from_utf8(out).unwrap()
        };
        (0..array.len()).map(cell).collect()
    }

    #[test]
    fn values_are_spelled_as_the_contract_says() {
        let json = Style::Json;
        assert_eq!(
            text(Int64Array::from(vec![Some(-5), None]), json),
            ["-5", "null"]
        );
        assert_eq!(
            text(Int64Array::from(vec![None, Some(1)]), Style::Plain),
            ["", "1"]
        );
        assert_eq!(
            text(Float32Array::from(vec![0.1, 1e20]), json),
            ["0.1", "1e20"]
        );
        assert_eq!(
            text(Float64Array::from(vec![f64::NAN, f64::NEG_INFINITY]), json),
            ["\"NaN\"", "\"-Infinity\""]
        );
        let decimals = Decimal128Array::from(vec![-150, 5])
            .with_precision_and_scale(10, 2)
            .unwrap();
        assert_eq!(text(decimals, json), ["\"-1.50\"", "\"0.05\""]);
        assert_eq!(
            text(BinaryArray::from(vec![b"ab\xff".as_slice()]), json),
            ["\"YWL/\""]
        );
        assert_eq!(
            text(Date32Array::from(vec![0, -1, 19_782]), Style::Plain),
            ["1970-01-01", "1969-12-31", "2024-02-29"]
        );
        let times = Time64MicrosecondArray::from(vec![3_661_000_000, 1_500_000]);
        assert_eq!(text(times, Style::Plain), ["01:01:01", "00:00:01.500000"]);
        let utc = TimestampMicrosecondArray::from(vec![-1]).with_timezone("UTC");
        assert_eq!(text(utc, Style::Plain), ["1969-12-31T23:59:59.999999Z"]);
        let local = TimestampMicrosecondArray::from(vec![0]);
        assert_eq!(text(local, Style::Plain), ["1970-01-01T00:00:00.000000"]);
    }
}
