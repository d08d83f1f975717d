//! The Avro schema as the column codecs need it: names resolved, unions reduced to "may be null", logical types told
//! apart.
//!
//! Spec: Avro 1.12, "Schema Declaration", "Logical Types". Attributes that Java adds (`avro.java.string`) are ignored.

use std::sync::Arc;

use super::schema_parser::parse_record;
use crate::error::Result;

/// A record schema, ready for the column codecs.
#[derive(Debug, Clone, PartialEq)]
pub struct AvroSchema {
    /// The top-level record.
    pub record: AvroRecord,
}

/// A record: its fields in writing order.
#[derive(Debug, Clone, PartialEq)]
pub struct AvroRecord {
    /// Name with namespace.
    pub full_name: String,
    /// The fields in the order in which they are written.
    pub fields: Vec<AvroField>,
}

/// A field of a record.
#[derive(Debug, Clone, PartialEq)]
pub struct AvroField {
    /// The name.
    pub name: String,
    /// The type.
    pub data_type: AvroType,
}

/// Unit of a time or timestamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeUnit {
    /// Thousandths of a second.
    Millis,
    /// Millionths of a second.
    Micros,
    /// Billionths of a second.
    Nanos,
}

/// A type with its logical type resolved.
#[derive(Debug, Clone, PartialEq)]
pub enum AvroType {
    /// Nothing, in no bytes.
    Null,
    /// `boolean`.
    Boolean,
    /// `int`.
    Int,
    /// `long`.
    Long,
    /// `float`.
    Float,
    /// `double`.
    Double,
    /// `bytes`.
    Bytes,
    /// `string`, with or without logical type `uuid`.
    String,
    /// `int` with logical type `date`.
    Date,
    /// `int` or `long` with logical type `time-millis` or `time-micros`.
    Time(TimeUnit),
    /// `long` with logical type `[local-]timestamp-*`.
    Timestamp {
        /// Unit of the value.
        unit: TimeUnit,
        /// Whether it counts from the epoch in UTC; else it is a local time.
        utc: bool,
    },
    /// `bytes` or `fixed` with logical type `decimal`.
    Decimal {
        /// Digits in all.
        precision: u8,
        /// Digits behind the point.
        scale: i8,
        /// Length of the `fixed`; `None` for `bytes`.
        fixed_size: Option<usize>,
    },
    /// `fixed` of so many bytes.
    Fixed(usize),
    /// `enum` with its symbols.
    Enum(Arc<[String]>),
    /// `array` of items.
    Array(Arc<Self>),
    /// `map` from string to values.
    Map(Arc<Self>),
    /// A nested record.
    Record(Arc<AvroRecord>),
    /// A union of null and one other type.
    Nullable {
        /// Which branch, 0 or 1, is the null.
        null_branch: u8,
        /// The other branch.
        inner: Arc<Self>,
    },
}

impl AvroType {
    /// The type without its nullability, and the branch of the null if there is one.
    pub fn unwrap_nullable(&self) -> (&Self, Option<u8>) {
        match self {
            Self::Nullable { null_branch, inner } => (inner, Some(*null_branch)),
            other => (other, None),
        }
    }
}

impl AvroSchema {
    /// Reads the JSON text of a record schema.
    ///
    /// # Errors
    /// `Corrupt` when the text is not an Avro record schema; `Unsupported` for recursive types, unions of several
    /// types and decimals of more than 38 digits. The message names the field.
    pub fn parse(json: &str) -> Result<Self> {
        Ok(Self {
            record: parse_record(json)?,
        })
    }
}

/// The bytes of the `fixed` that holds a decimal of this precision: the least n with 2^(8n-1) > 10^precision.
///
/// Spec: data files of Spark and Flink; Java: Decimal.minBytesForPrecision of Spark.
pub fn decimal_fixed_size(precision: u8) -> usize {
    let bits = f64::from(precision) * std::f64::consts::LOG2_10 + 1.0;
    // The logarithm is irrational for every precision above 0, so that rounding up never meets a tie.
    let bytes = (bits / 8.0).ceil();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a precision of 8 bits gives between 1 and 107 bytes"
    )]
    let bytes = bytes as usize;
    bytes.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_decimals_as_spark_does() {
        let table = [
            (1..=2, 1),
            (3..=4, 2),
            (5..=6, 3),
            (7..=9, 4),
            (10..=11, 5),
            (12..=14, 6),
            (15..=16, 7),
            (17..=18, 8),
            (19..=21, 9),
            (22..=23, 10),
            (24..=26, 11),
            (27..=28, 12),
            (29..=31, 13),
            (32..=33, 14),
            (34..=35, 15),
            (36..=38, 16),
        ];
        for (precisions, bytes) in table {
            for precision in precisions {
                assert_eq!(
                    decimal_fixed_size(precision),
                    bytes,
                    "precision {precision}"
                );
            }
        }
    }
}
