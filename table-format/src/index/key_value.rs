//! Typed values of the first record-key field: as they come in batches, and as they stand in Parquet statistics.
//!
//! Numbers, dates, timestamps and decimals compare as integers, text and binary as bytes (the order of Parquet statistics).
//! A type without a dependable order is *opaque*: all its values count as equal, so that every group is a candidate.

use std::cmp::Ordering;

use arrow::array::types::{
    Date32Type, Decimal128Type, Int8Type, Int16Type, Int32Type, Int64Type,
    TimestampMicrosecondType, TimestampMillisecondType,
};
use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, StringArray};
use arrow::datatypes::{ArrowPrimitiveType, DataType, TimeUnit};
use parquet::basic::{ConvertedType, LogicalType, TimeUnit as ParquetTimeUnit};
use parquet::file::metadata::ParquetMetaData;
use parquet::file::statistics::Statistics;
use parquet::schema::types::ColumnDescriptor;

const MICROS_PER_MILLI: i128 = 1_000;

/// One value of the first record-key field.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum KeyValue {
    /// Integers, days, microseconds, unscaled decimals; 0 for opaque values.
    Number(i128),
    /// Text in UTF-8, or binary.
    Bytes(Vec<u8>),
}

/// The values between two keys, both included; `None` is no bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeyRange {
    pub(crate) min: Option<KeyValue>,
    pub(crate) max: Option<KeyValue>,
}

impl KeyRange {
    /// Every value: what a file without usable statistics may hold.
    pub(crate) const EVERYTHING: Self = Self {
        min: None,
        max: None,
    };

    /// The smallest range that holds both.
    #[must_use]
    pub(crate) fn join(&self, other: &Self) -> Self {
        let min = match (&self.min, &other.min) {
            (Some(a), Some(b)) => Some(a.min(b).clone()),
            _ => None,
        };
        let max = match (&self.max, &other.max) {
            (Some(a), Some(b)) => Some(a.max(b).clone()),
            _ => None,
        };
        Self { min, max }
    }

    /// Whether some value may lie in both.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        let is_before =
            |a: &Self, b: &Self| matches!((&a.max, &b.min), (Some(max), Some(min)) if max < min);
        !is_before(self, other) && !is_before(other, self)
    }

    /// The smallest range that holds what either holds; `None` holds nothing.
    pub(crate) fn join_all(a: Option<Self>, b: Option<Self>) -> Option<Self> {
        match (a, b) {
            (Some(a), Some(b)) => Some(a.join(&b)),
            (a, b) => a.or(b),
        }
    }
}

/// The first record-key field of the rows of a batch.
#[derive(Debug)]
pub(crate) enum KeyColumn<'a> {
    Numbers(Vec<i128>),
    Text(&'a StringArray),
    Binary(&'a BinaryArray),
    Opaque,
}

impl<'a> KeyColumn<'a> {
    /// The values of `column`.
    pub(crate) fn new(column: &'a ArrayRef) -> Self {
        match column.data_type() {
            DataType::Int8 => Self::Numbers(numbers::<Int8Type>(column, 1)),
            DataType::Int16 => Self::Numbers(numbers::<Int16Type>(column, 1)),
            DataType::Int32 => Self::Numbers(numbers::<Int32Type>(column, 1)),
            DataType::Int64 => Self::Numbers(numbers::<Int64Type>(column, 1)),
            DataType::Date32 => Self::Numbers(numbers::<Date32Type>(column, 1)),
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                Self::Numbers(numbers::<TimestampMicrosecondType>(column, 1))
            }
            DataType::Timestamp(TimeUnit::Millisecond, _) => {
                Self::Numbers(numbers::<TimestampMillisecondType>(
                    column,
                    MICROS_PER_MILLI,
                ))
            }
            DataType::Decimal128(_, _) => Self::Numbers(numbers::<Decimal128Type>(column, 1)),
            DataType::Utf8 => Self::Text(column.as_string()),
            DataType::Binary => Self::Binary(column.as_binary()),
            _ => Self::Opaque,
        }
    }

    /// How the value of `row` stands to `bound`.
    pub(crate) fn compare(&self, row: usize, bound: &KeyValue) -> Ordering {
        match (self, bound) {
            (Self::Numbers(numbers), KeyValue::Number(bound)) => numbers[row].cmp(bound),
            (Self::Text(text), KeyValue::Bytes(bound)) => text.value(row).as_bytes().cmp(bound),
            (Self::Binary(binary), KeyValue::Bytes(bound)) => {
                binary.value(row).cmp(bound.as_slice())
            }
            // Opaque values equal everything; a bound of another kind cannot exclude a value either.
            _ => Ordering::Equal,
        }
    }

    /// How the values of two rows stand to each other.
    pub(crate) fn compare_rows(&self, a: usize, b: usize) -> Ordering {
        match self {
            Self::Numbers(numbers) => numbers[a].cmp(&numbers[b]),
            Self::Text(text) => text.value(a).cmp(text.value(b)),
            Self::Binary(binary) => binary.value(a).cmp(binary.value(b)),
            Self::Opaque => Ordering::Equal,
        }
    }

    /// The value of `row`.
    pub(crate) fn value(&self, row: usize) -> KeyValue {
        match self {
            Self::Numbers(numbers) => KeyValue::Number(numbers[row]),
            Self::Text(text) => KeyValue::Bytes(text.value(row).as_bytes().to_vec()),
            Self::Binary(binary) => KeyValue::Bytes(binary.value(row).to_vec()),
            Self::Opaque => KeyValue::Number(0),
        }
    }

    /// The range of the values of `rows`; `None` when there are none.
    pub(crate) fn range<I>(&self, rows: I) -> Option<KeyRange>
    where
        I: Iterator<Item = usize> + Clone,
    {
        let smallest = rows.clone().min_by(|&a, &b| self.compare_rows(a, b))?;
        let largest = rows.max_by(|&a, &b| self.compare_rows(a, b))?;
        Some(KeyRange {
            min: Some(self.value(smallest)),
            max: Some(self.value(largest)),
        })
    }
}

fn numbers<T>(column: &ArrayRef, factor: i128) -> Vec<i128>
where
    T: ArrowPrimitiveType,
    T::Native: Into<i128>,
{
    column
        .as_primitive::<T>()
        .values()
        .iter()
        .map(|&value| value.into() * factor)
        .collect()
}

/// The range of the keys in a base file, from the statistics of column `field`; `None` for a file without rows.
///
/// `data_type` is the column's type in the table. Whatever the statistics leave open makes the range wider, never narrower.
pub(crate) fn range_in_footer(
    footer: &ParquetMetaData,
    field: &str,
    data_type: &DataType,
) -> Option<KeyRange> {
    let schema = footer.file_metadata().schema_descr();
    let column = schema
        .columns()
        .iter()
        .position(|column| column.path().parts() == [field]);
    let mut range: Option<KeyRange> = None;
    for group in footer
        .row_groups()
        .iter()
        .filter(|group| group.num_rows() > 0)
    {
        let known = column.and_then(|column| {
            let chunk = group.columns().get(column)?;
            statistics_range(chunk.statistics()?, chunk.column_descr(), data_type)
        });
        let known = known.unwrap_or(KeyRange::EVERYTHING);
        range = Some(range.map_or_else(|| known.clone(), |range| range.join(&known)));
    }
    range
}

fn statistics_range(
    statistics: &Statistics,
    column: &ColumnDescriptor,
    data_type: &DataType,
) -> Option<KeyRange> {
    if statistics.null_count_opt().is_some_and(|nulls| nulls > 0) {
        return None;
    }
    let numbers = |min: i128, max: i128, factor: i128| {
        Some(KeyRange {
            min: Some(KeyValue::Number(min * factor)),
            max: Some(KeyValue::Number(max * factor)),
        })
    };
    match data_type {
        DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::Date32
        | DataType::Timestamp(TimeUnit::Microsecond | TimeUnit::Millisecond, _)
        | DataType::Decimal128(_, _) => {
            let (min, max) = match statistics {
                Statistics::Int32(s) => (i128::from(*s.min_opt()?), i128::from(*s.max_opt()?)),
                Statistics::Int64(s) => (i128::from(*s.min_opt()?), i128::from(*s.max_opt()?)),
                Statistics::FixedLenByteArray(_) | Statistics::ByteArray(_)
                    if matches!(data_type, DataType::Decimal128(_, _)) && is_exact(statistics) =>
                {
                    (
                        big_endian(statistics.min_bytes_opt()?)?,
                        big_endian(statistics.max_bytes_opt()?)?,
                    )
                }
                _ => return None,
            };
            numbers(min, max, unit_factor(column, data_type)?)
        }
        DataType::Utf8 | DataType::Binary => {
            let is_binary = matches!(
                statistics,
                Statistics::ByteArray(_) | Statistics::FixedLenByteArray(_)
            );
            // Old writers compared bytes as signed numbers.
            (is_binary && !statistics.is_min_max_deprecated()).then_some(())?;
            Some(KeyRange {
                min: Some(KeyValue::Bytes(statistics.min_bytes_opt()?.to_vec())),
                max: Some(KeyValue::Bytes(statistics.max_bytes_opt()?.to_vec())),
            })
        }
        _ => numbers(0, 0, 1),
    }
}

fn is_exact(statistics: &Statistics) -> bool {
    statistics.min_is_exact() && statistics.max_is_exact() && !statistics.is_min_max_deprecated()
}

/// What a number in the file is to be multiplied with to compare with numbers of the table; `None` if that is not known.
fn unit_factor(column: &ColumnDescriptor, data_type: &DataType) -> Option<i128> {
    match data_type {
        DataType::Timestamp(_, _) => match (column.logical_type_ref(), column.converted_type()) {
            (Some(LogicalType::Timestamp(timestamp)), _) => match timestamp.unit {
                ParquetTimeUnit::MILLIS => Some(MICROS_PER_MILLI),
                ParquetTimeUnit::MICROS => Some(1),
                ParquetTimeUnit::NANOS => None,
            },
            (_, ConvertedType::TIMESTAMP_MILLIS) => Some(MICROS_PER_MILLI),
            (_, ConvertedType::TIMESTAMP_MICROS) => Some(1),
            _ => None,
        },
        DataType::Decimal128(_, scale) => (column.type_scale() == i32::from(*scale)).then_some(1),
        _ => Some(1),
    }
}

fn big_endian(bytes: &[u8]) -> Option<i128> {
    let first = *bytes.first()?;
    if bytes.len() > 16 {
        return None;
    }
    let mut wide = [if first & 0x80 == 0 { 0 } else { 0xff }; 16];
    wide[16 - bytes.len()..].copy_from_slice(bytes);
    Some(i128::from_be_bytes(wide))
}
