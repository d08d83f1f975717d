//! Result rows of the binary protocol (prepared statements), column by column.
//!
//! Strings have been converted to utf8mb4 by the server, TIMESTAMPs to the session's time zone, which is UTC.

use crate::schema::MySqlType;
use crate::source::mysql::result_set::ResultColumn;

use super::column_builder::ColumnBuilder;
use super::decimal::{normalise_decimal, parse_decimal};
use super::json_text::compact_json;
use super::temporal::{TimeOfDay, TimeText, date_days, timestamp_micros};
use super::{ByteReader, DecodeError};

/// Bits of the null bitmap that come before the first column's.
const NULL_BITMAP_OFFSET: usize = 2;

/// How one column of a result row is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BinaryColumn {
    Int8,
    UInt8,
    Int16,
    UInt16,
    Int32,
    UInt32,
    Int64,
    UInt64,
    Float,
    Double,
    Decimal {
        scale: u8,
    },
    WideDecimal,
    Boolean,
    Bytes,
    Date,
    Time {
        fsp: u8,
    },
    DateTime,
    /// CHAR comes without the blanks at its end unless the session pads it.
    Char,
    Text,
    Json,
}

impl BinaryColumn {
    pub(super) fn new(mysql_type: &MySqlType) -> Self {
        match mysql_type {
            MySqlType::TinyInt { unsigned: false } => Self::Int8,
            MySqlType::TinyInt { unsigned: true } => Self::UInt8,
            MySqlType::SmallInt { unsigned: false } => Self::Int16,
            MySqlType::SmallInt { unsigned: true } | MySqlType::Year => Self::UInt16,
            MySqlType::MediumInt { .. } | MySqlType::Int { unsigned: false } => Self::Int32,
            MySqlType::Int { unsigned: true } => Self::UInt32,
            MySqlType::BigInt { unsigned: false } => Self::Int64,
            MySqlType::BigInt { unsigned: true } => Self::UInt64,
            MySqlType::Float => Self::Float,
            MySqlType::Double => Self::Double,
            MySqlType::Decimal {
                precision: 0..=38,
                scale,
            } => Self::Decimal { scale: *scale },
            MySqlType::Decimal { .. } => Self::WideDecimal,
            MySqlType::Bit { bits: 1 } => Self::Boolean,
            MySqlType::Bit { .. }
            | MySqlType::Binary { .. }
            | MySqlType::VarBinary
            | MySqlType::Blob
            | MySqlType::Geometry
            | MySqlType::Vector => Self::Bytes,
            MySqlType::Date => Self::Date,
            MySqlType::Time { fsp } => Self::Time { fsp: *fsp },
            MySqlType::DateTime { .. } | MySqlType::Timestamp { .. } => Self::DateTime,
            MySqlType::Char => Self::Char,
            MySqlType::VarChar
            | MySqlType::Text
            | MySqlType::Enum(_)
            | MySqlType::Set(_)
            | MySqlType::Uuid
            | MySqlType::Inet4
            | MySqlType::Inet6 => Self::Text,
            MySqlType::Json => Self::Json,
        }
    }

    /// Whether a server that describes a column so sends values of this kind.
    ///
    /// Spec: MySQL protocol, "Binary Protocol Resultset Row" (the length of each type's values).
    pub(super) fn accepts(self, column: &ResultColumn) -> bool {
        let is_text = matches!(column.type_code, 15 | 242 | 245 | 247..=255);
        match self {
            Self::Int8 => (column.type_code, column.unsigned) == (1, false),
            Self::UInt8 => (column.type_code, column.unsigned) == (1, true),
            Self::Int16 => (column.type_code, column.unsigned) == (2, false),
            Self::UInt16 => {
                column.type_code == 13 || (column.type_code, column.unsigned) == (2, true)
            }
            Self::Int32 => {
                column.type_code == 9 || (column.type_code, column.unsigned) == (3, false)
            }
            Self::UInt32 => (column.type_code, column.unsigned) == (3, true),
            Self::Int64 => (column.type_code, column.unsigned) == (8, false),
            Self::UInt64 => (column.type_code, column.unsigned) == (8, true),
            Self::Float => column.type_code == 4,
            Self::Double => column.type_code == 5,
            Self::Decimal { scale } => column.type_code == 246 && column.decimals == scale,
            Self::WideDecimal => column.type_code == 246,
            Self::Boolean => column.type_code == 16,
            Self::Bytes => is_text || column.type_code == 16,
            Self::Date => matches!(column.type_code, 10 | 14),
            Self::Time { fsp } => column.type_code == 11 && column.decimals == fsp,
            Self::DateTime => matches!(column.type_code, 7 | 12),
            Self::Char | Self::Text | Self::Json => is_text,
        }
    }

    #[inline]
    pub(super) fn append(
        self,
        reader: &mut ByteReader<'_>,
        column: &mut ColumnBuilder,
        scratch: &mut String,
    ) -> Result<(), DecodeError> {
        match self {
            Self::Int8 => column.append_i32(i32::from(i8::from_le_bytes(reader.array()?))),
            Self::UInt8 => column.append_i32(i32::from(reader.u8()?)),
            Self::Int16 => column.append_i32(i32::from(i16::from_le_bytes(reader.array()?))),
            Self::UInt16 => column.append_i32(i32::from(reader.u16()?)),
            Self::Int32 => column.append_i32(i32::from_le_bytes(reader.array()?)),
            Self::UInt32 => column.append_i64(i64::from(reader.u32()?)),
            Self::Int64 => column.append_i64(i64::from_le_bytes(reader.array()?)),
            Self::UInt64 => column.append_decimal(i128::from(reader.u64()?)),
            Self::Float => column.append_f32(f32::from_le_bytes(reader.array()?)),
            Self::Double => column.append_f64(f64::from_le_bytes(reader.array()?)),
            Self::Decimal { scale } => {
                column.append_decimal(parse_decimal(reader.lenenc_bytes()?, scale)?)
            }
            Self::WideDecimal => {
                scratch.clear();
                normalise_decimal(text(reader.lenenc_bytes()?)?, scratch);
                column.append_text(scratch)
            }
            Self::Boolean => {
                column.append_bool(reader.lenenc_bytes()?.iter().any(|byte| *byte != 0))
            }
            Self::Bytes => column.append_bytes(reader.lenenc_bytes()?),
            Self::Date => column.append_date(date_time(reader)?.0),
            Self::DateTime => {
                let (days, time) = date_time(reader)?;
                column.append_timestamp(timestamp_micros(days, time))
            }
            Self::Time { fsp } => {
                let (negative, time) = time_span(reader)?;
                column.append_text(TimeText::new(negative, time, fsp).as_str())
            }
            Self::Char => column.append_text(text(reader.lenenc_bytes()?)?.trim_end_matches(' ')),
            Self::Text => column.append_text(text(reader.lenenc_bytes()?)?),
            Self::Json => {
                scratch.clear();
                compact_json(text(reader.lenenc_bytes()?)?, scratch)?;
                column.append_text(scratch)
            }
        }
    }
}

fn text(bytes: &[u8]) -> Result<&str, DecodeError> {
    std::str::from_utf8(bytes).map_err(|_| DecodeError::InvalidText)
}

/// A date of 0, 4, 7 or 11 bytes.
///
/// Source: MySQL, "Binary Protocol Value", `MYSQL_TYPE_DATETIME`.
#[inline]
fn date_time(reader: &mut ByteReader<'_>) -> Result<(Option<i32>, TimeOfDay), DecodeError> {
    let mut time = TimeOfDay {
        hours: 0,
        minutes: 0,
        seconds: 0,
        micros: 0,
    };
    let length = reader.u8()?;
    if length == 0 {
        return Ok((None, time));
    }
    if !matches!(length, 4 | 7 | 11) {
        return Err(DecodeError::Invalid("a date has an unknown length"));
    }
    let year = u32::from(reader.u16()?);
    let (month, day) = (u32::from(reader.u8()?), u32::from(reader.u8()?));
    if length >= 7 {
        time.hours = u32::from(reader.u8()?);
        time.minutes = u32::from(reader.u8()?);
        time.seconds = u32::from(reader.u8()?);
    }
    if length == 11 {
        time.micros = reader.u32()?;
    }
    Ok((date_days(year, month, day), time))
}

/// A TIME of 0, 8 or 12 bytes: whether it is negative, and its amount.
///
/// Source: MySQL, "Binary Protocol Value", `MYSQL_TYPE_TIME`.
#[inline]
fn time_span(reader: &mut ByteReader<'_>) -> Result<(bool, TimeOfDay), DecodeError> {
    let mut time = TimeOfDay {
        hours: 0,
        minutes: 0,
        seconds: 0,
        micros: 0,
    };
    let length = reader.u8()?;
    if length == 0 {
        return Ok((false, time));
    }
    if !matches!(length, 8 | 12) {
        return Err(DecodeError::Invalid("a time has an unknown length"));
    }
    let negative = reader.u8()? != 0;
    let days = reader.u32()?;
    time.hours = days
        .saturating_mul(24)
        .saturating_add(u32::from(reader.u8()?));
    time.minutes = u32::from(reader.u8()?);
    time.seconds = u32::from(reader.u8()?);
    if length == 12 {
        time.micros = reader.u32()?;
    }
    Ok((negative, time))
}

/// Cuts the packet of a result row into its null bitmap and its values.
///
/// Source: MySQL, "Binary Protocol Resultset Row".
pub(super) fn split_row(
    packet: &[u8],
    columns: usize,
) -> Result<(NullBitmap<'_>, ByteReader<'_>), DecodeError> {
    let mut reader = ByteReader::new(packet);
    if reader.u8()? != 0 {
        return Err(DecodeError::Invalid(
            "a result row has an unknown first byte",
        ));
    }
    let bitmap = reader.take((columns + NULL_BITMAP_OFFSET).div_ceil(8))?;
    Ok((NullBitmap(bitmap), reader))
}

/// The null bits of a result row.
#[derive(Debug, Clone, Copy)]
pub(super) struct NullBitmap<'a>(&'a [u8]);

impl NullBitmap<'_> {
    #[inline]
    pub(super) fn is_null(self, column: usize) -> bool {
        let bit = column + NULL_BITMAP_OFFSET;
        self.0
            .get(bit / 8)
            .is_some_and(|byte| byte >> (bit % 8) & 1 == 1)
    }
}
