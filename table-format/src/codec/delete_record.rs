//! The records of a delete block: which key goes, and how late the delete is.
//!
//! Java: HoodieDeleteRecordList, HoodieDeleteRecord, OrderingValueWrappers. Content version 3 is one Avro record;
//! versions 1 and 2 are serialised by a Java library (Kryo) and can be read by Java only.

use crate::codec::avro::cursor::{Cursor, DecodeError, put_bytes, put_length, put_long};
use crate::codec::avro::decimal::{decimal_from_bytes, put_decimal_shortest};
use crate::error::{Error, Result};

/// Branches of both unions: null, eleven wrappers, and `ArrayWrapper` (inside an array: `LocalDateWrapper`).
const BRANCHES: usize = 13;

/// A key that is deleted.
#[derive(Debug, Clone, PartialEq)]
pub struct DeleteRecord {
    /// The record key.
    pub record_key: String,
    /// Its partition path; readers go by the key alone.
    pub partition_path: Option<String>,
    /// What the delete is compared by when the table orders by event time.
    pub ordering_value: OrderingValue,
}

/// A value of the ordering field, in the wrapper in which Java compares it.
///
/// Spark compares by the very type of the column: `Int` for int, `Long` for long and every timestamp, `Decimal` at
/// scale 15. Another wrapper fails with a `ClassCastException`.
#[derive(Debug, Clone, PartialEq)]
pub enum OrderingValue {
    /// No value: deletes whatever is older in commit order.
    Null,
    /// `BooleanWrapper`.
    Boolean(bool),
    /// `IntWrapper`; 0 means the same as null.
    Int(i32),
    /// `LongWrapper`.
    Long(i64),
    /// `FloatWrapper`.
    Float(f32),
    /// `DoubleWrapper`.
    Double(f64),
    /// `BytesWrapper`.
    Bytes(Vec<u8>),
    /// `StringWrapper`.
    String(String),
    /// `DateWrapper`: days since the epoch.
    Date(i32),
    /// `DecimalWrapper`: unscaled at scale 15.
    Decimal(i128),
    /// `TimeMicrosWrapper`.
    TimeMicros(i64),
    /// `TimestampMicrosWrapper`.
    TimestampMicros(i64),
    /// `ArrayWrapper`: one value per ordering field.
    Array(Vec<Self>),
    /// `LocalDateWrapper`: days since the epoch; only inside an array.
    LocalDate(i32),
}

impl OrderingValue {
    /// Digits behind the point of [`OrderingValue::Decimal`].
    pub const DECIMAL_SCALE: i8 = 15;

    /// Whether the value means "no ordering": such a delete wins over everything before it.
    pub fn is_default(&self) -> bool {
        matches!(self, Self::Null | Self::Int(0))
    }
}

/// The payload of version 3 for these records.
///
/// # Errors
/// `Invalid` for an array inside an array, or a local date outside of one.
pub fn encode_delete_records(records: &[DeleteRecord]) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(records.len() * 48 + 8);
    if !records.is_empty() {
        put_length(records.len(), &mut out);
        for record in records {
            put_long(1, &mut out);
            put_bytes(record.record_key.as_bytes(), &mut out);
            match &record.partition_path {
                Some(path) => {
                    put_long(1, &mut out);
                    put_bytes(path.as_bytes(), &mut out);
                }
                None => put_long(0, &mut out),
            }
            put_ordering(&record.ordering_value, false, &mut out)?;
        }
    }
    put_length(0, &mut out);
    Ok(out)
}

fn put_ordering(value: &OrderingValue, in_array: bool, out: &mut Vec<u8>) -> Result<()> {
    let misplaced = |what| {
        Err(Error::invalid(format!(
            "delete record: {what} as ordering value"
        )))
    };
    match value {
        OrderingValue::Null => put_long(0, out),
        OrderingValue::Boolean(value) => {
            put_long(1, out);
            out.push(u8::from(*value));
        }
        OrderingValue::Int(value) => put_number(2, i64::from(*value), out),
        OrderingValue::Long(value) => put_number(3, *value, out),
        OrderingValue::Float(value) => {
            put_long(4, out);
            out.extend_from_slice(&value.to_le_bytes());
        }
        OrderingValue::Double(value) => {
            put_long(5, out);
            out.extend_from_slice(&value.to_le_bytes());
        }
        OrderingValue::Bytes(value) => {
            put_long(6, out);
            put_bytes(value, out);
        }
        OrderingValue::String(value) => {
            put_long(7, out);
            put_bytes(value.as_bytes(), out);
        }
        OrderingValue::Date(value) => put_number(8, i64::from(*value), out),
        OrderingValue::Decimal(value) => {
            put_long(9, out);
            put_decimal_shortest(*value, out);
        }
        OrderingValue::TimeMicros(value) => put_number(10, *value, out),
        OrderingValue::TimestampMicros(value) => put_number(11, *value, out),
        OrderingValue::Array(_) if in_array => return misplaced("an array inside an array"),
        OrderingValue::Array(values) => {
            put_long(12, out);
            put_long(1, out);
            if !values.is_empty() {
                put_length(values.len(), out);
                values
                    .iter()
                    .try_for_each(|value| put_ordering(value, true, out))?;
            }
            put_length(0, out);
        }
        OrderingValue::LocalDate(value) if in_array => put_number(12, i64::from(*value), out),
        OrderingValue::LocalDate(_) => return misplaced("a local date outside of an array"),
    }
    Ok(())
}

fn put_number(branch: i64, value: i64, out: &mut Vec<u8>) {
    put_long(branch, out);
    put_long(value, out);
}

/// Reads a payload of version 3.
///
/// # Errors
/// `Corrupt` when the bytes break the format or a record has no key.
pub fn decode_delete_records(payload: &[u8]) -> Result<Vec<DeleteRecord>> {
    let mut cursor = Cursor::new(payload);
    let mut records = Vec::new();
    loop {
        let count = cursor.block_count()?;
        if count == 0 {
            break;
        }
        for _ in 0..count {
            let offset = cursor.offset();
            let record_key = optional_string(&mut cursor)?.ok_or_else(|| {
                Error::corrupt(
                    "delete block",
                    format!("offset {offset}: a record without key"),
                )
            })?;
            let partition_path = optional_string(&mut cursor)?;
            let ordering_value = read_ordering(&mut cursor)?;
            records.push(DeleteRecord {
                record_key,
                partition_path,
                ordering_value,
            });
        }
    }
    cursor.finish()?;
    Ok(records)
}

fn optional_string(cursor: &mut Cursor<'_>) -> Result<Option<String>, DecodeError> {
    match cursor.branch(2)? {
        0 => Ok(None),
        _ => Ok(Some(cursor.string()?.to_owned())),
    }
}

fn read_ordering(cursor: &mut Cursor<'_>) -> Result<OrderingValue> {
    match cursor.branch(BRANCHES)? {
        12 => {
            let mut values = Vec::new();
            if cursor.branch(2)? == 1 {
                loop {
                    let count = cursor.block_count()?;
                    if count == 0 {
                        break;
                    }
                    for _ in 0..count {
                        values.push(read_element(cursor)?);
                    }
                }
            }
            Ok(OrderingValue::Array(values))
        }
        branch => read_plain(cursor, branch),
    }
}

fn read_element(cursor: &mut Cursor<'_>) -> Result<OrderingValue> {
    match cursor.branch(BRANCHES)? {
        12 => Ok(OrderingValue::LocalDate(cursor.int()?)),
        branch => read_plain(cursor, branch),
    }
}

/// The branches that both unions have in common.
fn read_plain(cursor: &mut Cursor<'_>, branch: usize) -> Result<OrderingValue> {
    let offset = cursor.offset();
    Ok(match branch {
        0 => OrderingValue::Null,
        1 => OrderingValue::Boolean(cursor.boolean()?),
        2 => OrderingValue::Int(cursor.int()?),
        3 => OrderingValue::Long(cursor.long()?),
        4 => OrderingValue::Float(cursor.float()?),
        5 => OrderingValue::Double(cursor.double()?),
        6 => OrderingValue::Bytes(cursor.bytes()?.to_vec()),
        7 => OrderingValue::String(cursor.string()?.to_owned()),
        8 => OrderingValue::Date(cursor.int()?),
        9 => {
            let value = decimal_from_bytes(cursor.bytes()?);
            OrderingValue::Decimal(value.ok_or_else(|| {
                Error::corrupt(
                    "delete block",
                    format!("offset {offset}: not a decimal(30,15)"),
                )
            })?)
        }
        10 => OrderingValue::TimeMicros(cursor.long()?),
        11 => OrderingValue::TimestampMicros(cursor.long()?),
        other => {
            return Err(Error::internal(format!(
                "delete block: ordering branch {other}"
            )));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn delete(key: &str, ordering_value: OrderingValue) -> DeleteRecord {
        DeleteRecord {
            record_key: key.to_owned(),
            partition_path: Some("part=a".to_owned()),
            ordering_value,
        }
    }

    #[test]
    fn has_the_bytes_that_hudi_writes() {
        let record = DeleteRecord {
            record_key: "TXN-005".to_owned(),
            partition_path: Some("region=eu".to_owned()),
            ordering_value: OrderingValue::Int(0),
        };
        let bytes = encode_delete_records(std::slice::from_ref(&record)).unwrap();
        let mut expected = vec![0x02, 0x02, 0x0e];
        expected.extend(b"TXN-005\x02\x12region=eu\x04\x00\x00");
        assert_eq!(bytes, expected);
        assert_eq!(decode_delete_records(&bytes).unwrap(), [record]);
        assert_eq!(encode_delete_records(&[]).unwrap(), [0]);
    }

    #[test]
    fn ordered_deletes_have_the_bytes_that_hudi_writes() {
        let bytes = b"\x04\x02\x04k3\x02\x0cpart=a\x06\x80\x80\x89\x82\xe2\xf5\x86\x06\
            \x02\x04k2\x02\x0cpart=a\x06\x80\x80\xff\xbc\xe9\xff\x86\x06\x00";
        let records = decode_delete_records(bytes).unwrap();
        assert_eq!(records.len(), 2);
        assert!(matches!(records[0].ordering_value, OrderingValue::Long(_)));
        assert_eq!(encode_delete_records(&records).unwrap(), bytes);
    }

    #[test]
    fn every_ordering_value_round_trips() {
        let plain = vec![
            OrderingValue::Null,
            OrderingValue::Boolean(true),
            OrderingValue::Int(-3),
            OrderingValue::Long(i64::MIN),
            OrderingValue::Float(1.5),
            OrderingValue::Double(-2.25),
            OrderingValue::Bytes(vec![0, 255]),
            OrderingValue::String("ü".to_owned()),
            OrderingValue::Date(-1),
            OrderingValue::Decimal(-(10_i128.pow(29))),
            OrderingValue::TimeMicros(1),
            OrderingValue::TimestampMicros(i64::MAX),
        ];
        let mut elements = plain.clone();
        elements.push(OrderingValue::LocalDate(19_000));
        let values = plain
            .into_iter()
            .chain([OrderingValue::Array(elements), OrderingValue::Array(vec![])]);
        let records: Vec<_> = values.map(|value| delete("k", value)).collect();
        let bytes = encode_delete_records(&records).unwrap();
        assert_eq!(decode_delete_records(&bytes).unwrap(), records);
        for length in 0..bytes.len() {
            assert!(
                decode_delete_records(&bytes[..length]).is_err(),
                "{length} bytes"
            );
        }
    }

    #[test]
    fn misplaced_values_are_refused() {
        let local = OrderingValue::LocalDate(1);
        let nested = OrderingValue::Array(vec![OrderingValue::Array(vec![])]);
        for value in [local, nested] {
            let error = encode_delete_records(&[delete("k", value)]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
        }
        assert_eq!(
            decode_delete_records(&[2, 0, 0, 0, 0]).unwrap_err().kind(),
            ErrorKind::Corrupt
        );
    }

    #[test]
    fn only_null_and_int_zero_mean_no_ordering() {
        assert!(OrderingValue::Null.is_default() && OrderingValue::Int(0).is_default());
        assert!(!OrderingValue::Long(0).is_default() && !OrderingValue::Int(1).is_default());
    }
}
