//! How one column of row images is read, worked out once per table map.

use super::jsonb::jsonb_to_text;
use super::network_text::{push_inet6, push_uuid};
use super::row_value::{date, date_time, fraction_bytes, time, timestamp};
use super::table_map::{ImageColumn, type_code as t};
use crate::batch::{ByteReader, ColumnBuilder, DecodeError, PackedDecimal, TimeText};
use crate::error::{Error, ErrorKind, Result};
use crate::schema::{Charset, MySqlType, SourceColumn};

/// Reads one column of row images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ColumnDecoder {
    Int8,
    UInt8,
    Int16,
    UInt16,
    Int24,
    UInt24,
    Int32,
    UInt32,
    Int64,
    UInt64,
    Float,
    Double,
    Year,
    Date,
    Time {
        fsp: u8,
    },
    DateTime {
        fsp: u8,
    },
    Timestamp {
        fsp: u8,
    },
    Decimal(PackedDecimal),
    WideDecimal(PackedDecimal),
    Boolean,
    Bits {
        bytes: u8,
    },
    Text {
        length_width: u8,
        charset: Charset,
    },
    /// As text; blanks at the end do not count.
    Char {
        length_width: u8,
        charset: Charset,
    },
    Bytes {
        length_width: u8,
    },
    /// As bytes; zeros at the end were cut off.
    Padded {
        length_width: u8,
        length: u8,
    },
    Enum {
        width: u8,
        labels: Vec<String>,
    },
    Set {
        width: u8,
        labels: Vec<String>,
    },
    Json {
        length_width: u8,
    },
    Uuid {
        length_width: u8,
    },
    Inet4 {
        length_width: u8,
    },
    Inet6 {
        length_width: u8,
    },
}

impl ColumnDecoder {
    /// The decoder of a column that has the type `column` says and lies in images as `image` says.
    ///
    /// # Errors
    /// `Conflict` when both do not go together: the schema is not the one in force at this place of the log.
    /// `Unsupported` for old forms of types and for character sets without a decoder.
    pub(super) fn try_new(column: &SourceColumn, image: ImageColumn) -> Result<Self> {
        let mysql_type = column.mysql_type()?;
        match image.type_code {
            t::OLD_TIMESTAMP | t::OLD_TIME | t::OLD_DATETIME => {
                return Err(Error::unsupported(
                    "the column has the date format of before MySQL 5.6; rebuild the table: ALTER TABLE … FORCE",
                ));
            }
            t::BLOB_COMPRESSED | t::VARCHAR_COMPRESSED => {
                return Err(Error::unsupported(
                    "COMPRESSED columns are not supported; ALTER TABLE … MODIFY without COMPRESSED",
                ));
            }
            _ => {}
        }
        let charset = column
            .charset
            .as_deref()
            .map_or(Ok(Charset::Utf8), Charset::from_name)?;
        let decoder = Self::number(&mysql_type, image)
            .or_else(|| Self::calendar(&mysql_type, image))
            .or_else(|| Self::string(mysql_type, image, charset));
        decoder.ok_or_else(|| {
            Error::new(
                ErrorKind::Conflict,
                format!(
                    "rows hold a column of type code {} ({:#06x}) where the schema says {}",
                    image.type_code, image.metadata, column.column_type
                ),
            )
        })
    }

    fn number(mysql_type: &MySqlType, image: ImageColumn) -> Option<Self> {
        let decoder = match (mysql_type, image.type_code) {
            (MySqlType::TinyInt { unsigned: false }, t::TINY) => Self::Int8,
            (MySqlType::TinyInt { unsigned: true }, t::TINY) => Self::UInt8,
            (MySqlType::SmallInt { unsigned: false }, t::SHORT) => Self::Int16,
            (MySqlType::SmallInt { unsigned: true }, t::SHORT) => Self::UInt16,
            (MySqlType::MediumInt { unsigned: false }, t::INT24) => Self::Int24,
            (MySqlType::MediumInt { unsigned: true }, t::INT24) => Self::UInt24,
            (MySqlType::Int { unsigned: false }, t::LONG) => Self::Int32,
            (MySqlType::Int { unsigned: true }, t::LONG) => Self::UInt32,
            (MySqlType::BigInt { unsigned: false }, t::LONGLONG) => Self::Int64,
            (MySqlType::BigInt { unsigned: true }, t::LONGLONG) => Self::UInt64,
            (MySqlType::Float, t::FLOAT) => Self::Float,
            (MySqlType::Double, t::DOUBLE) => Self::Double,
            (MySqlType::Decimal { precision, scale }, t::NEWDECIMAL)
                if image.pair() == (*precision, *scale) =>
            {
                let shape = PackedDecimal::new(*precision, *scale);
                if *precision <= 38 {
                    Self::Decimal(shape)
                } else {
                    Self::WideDecimal(shape)
                }
            }
            // Whole bytes and odd bits.
            (MySqlType::Bit { bits }, t::BIT) if image.pair() == (bits / 8, bits % 8) => {
                if *bits == 1 {
                    Self::Boolean
                } else {
                    Self::Bits {
                        bytes: bits.div_ceil(8),
                    }
                }
            }
            (MySqlType::Year, t::YEAR) => Self::Year,
            _ => return None,
        };
        Some(decoder)
    }

    fn calendar(mysql_type: &MySqlType, image: ImageColumn) -> Option<Self> {
        let decoder = match (mysql_type, image.type_code) {
            (MySqlType::Date, t::DATE | t::NEWDATE) => Self::Date,
            (MySqlType::Time { fsp }, t::TIME2) => Self::Time { fsp: *fsp },
            (MySqlType::DateTime { fsp }, t::DATETIME2) => Self::DateTime { fsp: *fsp },
            (MySqlType::Timestamp { fsp }, t::TIMESTAMP2) => Self::Timestamp { fsp: *fsp },
            _ => return None,
        };
        let fsp = match &decoder {
            Self::Time { fsp } | Self::DateTime { fsp } | Self::Timestamp { fsp } => *fsp,
            _ => 0,
        };
        (image.metadata == u16::from(fsp)).then_some(decoder)
    }

    fn string(mysql_type: MySqlType, image: ImageColumn, charset: Charset) -> Option<Self> {
        // The width of a length is given for blobs and follows from the longest value for strings.
        let blob_width = u8::try_from(image.metadata)
            .ok()
            .filter(|width| (1..=4).contains(width));
        let length_width = if image.metadata > 255 { 2 } else { 1 };
        let label_width = |most| {
            u8::try_from(image.metadata)
                .ok()
                .filter(|width| (1..=most).contains(width))
        };
        let decoder = match (mysql_type, image.type_code) {
            (MySqlType::Char, t::STRING) => Self::Char {
                length_width,
                charset,
            },
            (MySqlType::VarChar, t::VARCHAR | t::VAR_STRING) => Self::Text {
                length_width,
                charset,
            },
            (MySqlType::Text, t::BLOB) => Self::Text {
                length_width: blob_width?,
                charset,
            },
            (MySqlType::Binary { length }, t::STRING) => Self::Padded {
                length_width,
                length,
            },
            (MySqlType::VarBinary | MySqlType::Vector, t::VARCHAR | t::VAR_STRING) => {
                Self::Bytes { length_width }
            }
            (MySqlType::Blob | MySqlType::Vector, t::BLOB | t::VECTOR)
            | (MySqlType::Geometry, t::GEOMETRY | t::BLOB) => Self::Bytes {
                length_width: blob_width?,
            },
            (MySqlType::Json, t::JSON) => Self::Json {
                length_width: blob_width?,
            },
            (MySqlType::Enum(labels), t::ENUM) => Self::Enum {
                width: label_width(2)?,
                labels,
            },
            (MySqlType::Set(labels), t::SET) => Self::Set {
                width: label_width(8)?,
                labels,
            },
            (MySqlType::Uuid, t::STRING) => Self::Uuid { length_width },
            (MySqlType::Inet4, t::STRING) => Self::Inet4 { length_width },
            (MySqlType::Inet6, t::STRING) => Self::Inet6 { length_width },
            _ => return None,
        };
        Some(decoder)
    }

    /// Steps over a value.
    #[inline]
    pub(super) fn skip(&self, reader: &mut ByteReader<'_>) -> Result<(), DecodeError> {
        let fixed = match self {
            Self::Int8 | Self::UInt8 | Self::Year | Self::Boolean => 1,
            Self::Int16 | Self::UInt16 => 2,
            Self::Int24 | Self::UInt24 | Self::Date => 3,
            Self::Int32 | Self::UInt32 | Self::Float => 4,
            Self::Int64 | Self::UInt64 | Self::Double => 8,
            Self::Time { fsp } => 3 + fraction_bytes(*fsp),
            Self::DateTime { fsp } => 5 + fraction_bytes(*fsp),
            Self::Timestamp { fsp } => 4 + fraction_bytes(*fsp),
            Self::Decimal(shape) | Self::WideDecimal(shape) => shape.length(),
            Self::Bits { bytes } => usize::from(*bytes),
            Self::Enum { width, .. } | Self::Set { width, .. } => usize::from(*width),
            Self::Text { length_width, .. }
            | Self::Char { length_width, .. }
            | Self::Bytes { length_width }
            | Self::Padded { length_width, .. }
            | Self::Json { length_width }
            | Self::Uuid { length_width }
            | Self::Inet4 { length_width }
            | Self::Inet6 { length_width } => {
                reader.sized_bytes(*length_width)?;
                return Ok(());
            }
        };
        reader.take(fixed)?;
        Ok(())
    }

    /// Reads a value into its column.
    #[inline]
    pub(super) fn append(
        &self,
        reader: &mut ByteReader<'_>,
        column: &mut ColumnBuilder,
        scratch: &mut String,
    ) -> Result<(), DecodeError> {
        match self {
            Self::Int8 => column.append_i32(i32::from(i8::from_le_bytes(reader.array()?))),
            Self::UInt8 => column.append_i32(i32::from(reader.u8()?)),
            Self::Int16 => column.append_i32(i32::from(i16::from_le_bytes(reader.array()?))),
            Self::UInt16 => column.append_i32(i32::from(reader.u16()?)),
            Self::Int24 => {
                let [a, b, c] = reader.array()?;
                // The sign bit is the highest of three bytes.
                column.append_i32(i32::from_le_bytes([0, a, b, c]) >> 8)
            }
            Self::UInt24 => {
                let [a, b, c] = reader.array()?;
                column.append_i32(i32::from_le_bytes([a, b, c, 0]))
            }
            Self::Int32 => column.append_i32(i32::from_le_bytes(reader.array()?)),
            Self::UInt32 => column.append_i64(i64::from(reader.u32()?)),
            Self::Int64 => column.append_i64(i64::from_le_bytes(reader.array()?)),
            Self::UInt64 => column.append_decimal(i128::from(reader.u64()?)),
            Self::Float => column.append_f32(f32::from_le_bytes(reader.array()?)),
            Self::Double => column.append_f64(f64::from_le_bytes(reader.array()?)),
            Self::Year => {
                // 0 is the year 0000.
                let year = i32::from(reader.u8()?);
                column.append_i32(if year == 0 { 0 } else { year + 1900 })
            }
            Self::Date => column.append_date(date(reader)?),
            Self::DateTime { fsp } => column.append_timestamp(date_time(reader, *fsp)?),
            Self::Timestamp { fsp } => column.append_timestamp(timestamp(reader, *fsp)?),
            Self::Decimal(shape) => column.append_decimal(shape.read(reader)?),
            Self::Boolean => column.append_bool(reader.u8()? != 0),
            Self::Bits { bytes } => column.append_bytes(reader.take(usize::from(*bytes))?),
            Self::Bytes { length_width } => column.append_bytes(reader.sized_bytes(*length_width)?),
            Self::Text {
                length_width,
                charset,
            } => {
                let bytes = reader.sized_bytes(*length_width)?;
                column.append_text(
                    charset
                        .decode(bytes, scratch)
                        .ok_or(DecodeError::InvalidText)?,
                )
            }
            Self::Char {
                length_width,
                charset,
            } => {
                let bytes = reader.sized_bytes(*length_width)?;
                let text = charset
                    .decode(bytes, scratch)
                    .ok_or(DecodeError::InvalidText)?;
                column.append_text(text.trim_end_matches(' '))
            }
            _ => self.append_rare(reader, column, scratch),
        }
    }

    /// The types that go through a text on the way.
    fn append_rare(
        &self,
        reader: &mut ByteReader<'_>,
        column: &mut ColumnBuilder,
        scratch: &mut String,
    ) -> Result<(), DecodeError> {
        scratch.clear();
        match self {
            Self::Time { fsp } => {
                let (negative, time) = time(reader, *fsp)?;
                return column.append_text(TimeText::new(negative, time, *fsp).as_str());
            }
            Self::Padded {
                length_width,
                length,
            } => {
                let bytes: [u8; 255] = padded(reader.sized_bytes(*length_width)?)?;
                return column.append_bytes(bytes.get(..usize::from(*length)).unwrap_or(&bytes));
            }
            Self::WideDecimal(shape) => shape.read_text(reader, scratch)?,
            Self::Enum { width, labels } => {
                scratch.push_str(label(reader.uint(usize::from(*width))?, labels)?);
            }
            Self::Set { width, labels } => {
                push_set(reader.uint(usize::from(*width))?, labels, scratch)?;
            }
            Self::Json { length_width } => {
                jsonb_to_text(reader.sized_bytes(*length_width)?, scratch)?;
            }
            Self::Uuid { length_width } => {
                push_uuid(padded(reader.sized_bytes(*length_width)?)?, scratch);
            }
            Self::Inet4 { length_width } => {
                let address: [u8; 4] = padded(reader.sized_bytes(*length_width)?)?;
                scratch.push_str(&std::net::Ipv4Addr::from(address).to_string());
            }
            Self::Inet6 { length_width } => {
                push_inet6(padded(reader.sized_bytes(*length_width)?)?, scratch);
            }
            _ => return Err(DecodeError::WrongColumn),
        }
        column.append_text(scratch)
    }
}

/// `bytes` with the zeros that were cut off at the end.
fn padded<const N: usize>(bytes: &[u8]) -> Result<[u8; N], DecodeError> {
    let mut whole = [0; N];
    let Some(head) = whole.get_mut(..bytes.len()) else {
        return Err(DecodeError::Invalid("a value is longer than its column"));
    };
    head.copy_from_slice(bytes);
    Ok(whole)
}

/// The label of an ENUM's number; 0 is the empty text of a value that was not valid.
fn label(number: u64, labels: &[String]) -> Result<&str, DecodeError> {
    let Some(index) = number.checked_sub(1) else {
        return Ok("");
    };
    let label = usize::try_from(index)
        .ok()
        .and_then(|index| labels.get(index));
    label
        .map(String::as_str)
        .ok_or(DecodeError::Invalid("an ENUM value has no label"))
}

/// Appends the labels of a SET's bits, separated by commas.
fn push_set(mut bits: u64, labels: &[String], out: &mut String) -> Result<(), DecodeError> {
    while bits != 0 {
        let lowest = usize::try_from(bits.trailing_zeros()).unwrap_or(usize::MAX);
        let label = labels
            .get(lowest)
            .ok_or(DecodeError::Invalid("a SET value has no label"))?;
        if !out.is_empty() {
            out.push(',');
        }
        out.push_str(label);
        bits &= bits - 1;
    }
    Ok(())
}
