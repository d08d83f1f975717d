//! TABLE_MAP events: which table an id means, and how its row images are laid out.

use super::TableMetadata;
use crate::batch::{ByteReader, DecodeError};

/// Type codes of columns in row images.
///
/// Source: MySQL, `enum_field_types`; MariaDB adds 140 and 141.
pub(super) mod type_code {
    pub(crate) const TINY: u8 = 1;
    pub(crate) const SHORT: u8 = 2;
    pub(crate) const LONG: u8 = 3;
    pub(crate) const FLOAT: u8 = 4;
    pub(crate) const DOUBLE: u8 = 5;
    pub(crate) const OLD_TIMESTAMP: u8 = 7;
    pub(crate) const LONGLONG: u8 = 8;
    pub(crate) const INT24: u8 = 9;
    pub(crate) const DATE: u8 = 10;
    pub(crate) const OLD_TIME: u8 = 11;
    pub(crate) const OLD_DATETIME: u8 = 12;
    pub(crate) const YEAR: u8 = 13;
    pub(crate) const NEWDATE: u8 = 14;
    pub(crate) const VARCHAR: u8 = 15;
    pub(crate) const BIT: u8 = 16;
    pub(crate) const TIMESTAMP2: u8 = 17;
    pub(crate) const DATETIME2: u8 = 18;
    pub(crate) const TIME2: u8 = 19;
    pub(crate) const BLOB_COMPRESSED: u8 = 140;
    pub(crate) const VARCHAR_COMPRESSED: u8 = 141;
    pub(crate) const VECTOR: u8 = 242;
    pub(crate) const JSON: u8 = 245;
    pub(crate) const NEWDECIMAL: u8 = 246;
    pub(crate) const ENUM: u8 = 247;
    pub(crate) const SET: u8 = 248;
    pub(crate) const TINY_BLOB: u8 = 249;
    pub(crate) const MEDIUM_BLOB: u8 = 250;
    pub(crate) const LONG_BLOB: u8 = 251;
    pub(crate) const BLOB: u8 = 252;
    pub(crate) const VAR_STRING: u8 = 253;
    pub(crate) const STRING: u8 = 254;
    pub(crate) const GEOMETRY: u8 = 255;
}

/// How one column lies in row images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageColumn {
    /// The type code; ENUM and SET are resolved.
    pub type_code: u8,
    /// What the type needs: a length in bytes, the width of a length, a fsp; precision and scale, or bytes and bits,
    /// as high and low byte.
    pub metadata: u16,
}

/// A TABLE_MAP event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableMap {
    /// Stands for the table in rows events until the id is reused.
    pub table_id: u64,
    /// The table's database.
    pub database: String,
    /// The table's name.
    pub table: String,
    /// All columns, in ordinal order.
    pub columns: Vec<ImageColumn>,
    /// What `binlog_row_metadata` adds.
    pub metadata: TableMetadata,
    /// The bytes behind the table id: two maps with the same bytes mean the same.
    pub(super) layout: Vec<u8>,
}

impl TableMap {
    /// Reads the body of a TABLE_MAP event behind its table id.
    ///
    /// Source: MySQL, `Table_map_event`.
    pub(super) fn read(table_id: u64, body: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = ByteReader::new(body);
        let _flags = reader.u16()?;
        let database = name(&mut reader)?;
        let table = name(&mut reader)?;
        let count = usize::try_from(reader.lenenc_uint()?).unwrap_or(usize::MAX);
        let types = reader.take(count)?;
        let mut metadata = ByteReader::new(reader.lenenc_bytes()?);
        let columns = types
            .iter()
            .map(|code| ImageColumn::read(*code, &mut metadata));
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        if !metadata.is_empty() {
            return Err(DecodeError::Invalid(
                "a table map has metadata for more columns than it has",
            ));
        }
        let _nullable = reader.take(count.div_ceil(8))?;
        let metadata = TableMetadata::read(reader, &columns)?;
        Ok(Self {
            table_id,
            database,
            table,
            columns,
            metadata,
            layout: body.to_vec(),
        })
    }
}

/// A name behind its length and in front of a zero byte.
fn name(reader: &mut ByteReader<'_>) -> Result<String, DecodeError> {
    let length = usize::from(reader.u8()?);
    let name = std::str::from_utf8(reader.take(length)?);
    let name =
        name.map_err(|_| DecodeError::Invalid("a table map has a name that is not utf-8"))?;
    reader.u8()?;
    Ok(name.to_owned())
}

impl ImageColumn {
    fn read(code: u8, metadata: &mut ByteReader<'_>) -> Result<Self, DecodeError> {
        use type_code as t;
        let plain = |metadata: u16| Self {
            type_code: code,
            metadata,
        };
        let column = match code {
            t::FLOAT
            | t::DOUBLE
            | t::TIMESTAMP2
            | t::DATETIME2
            | t::TIME2
            | t::BLOB_COMPRESSED
            | t::VECTOR
            | t::JSON
            | t::BLOB
            | t::TINY_BLOB
            | t::MEDIUM_BLOB
            | t::LONG_BLOB
            | t::GEOMETRY => plain(u16::from(metadata.u8()?)),
            t::VARCHAR | t::VAR_STRING | t::VARCHAR_COMPRESSED | t::BIT => plain(metadata.u16()?),
            t::NEWDECIMAL => {
                let [precision, scale] = metadata.array()?;
                plain(u16::from_be_bytes([precision, scale]))
            }
            t::STRING | t::ENUM | t::SET => {
                let [first, second] = metadata.array()?;
                Self::string(first, second)
            }
            _ => plain(0),
        };
        Ok(column)
    }

    /// CHAR, BINARY, ENUM and SET share a code: the first byte is the real one, with two bits of a length past 255
    /// folded in.
    ///
    /// Source: MySQL, `Field_string::do_save_field_metadata`.
    fn string(first: u8, second: u8) -> Self {
        if first & 0x30 == 0x30 {
            Self {
                type_code: first,
                metadata: u16::from(second),
            }
        } else {
            let high = u16::from((first & 0x30) ^ 0x30) << 4;
            Self {
                type_code: first | 0x30,
                metadata: high | u16::from(second),
            }
        }
    }

    /// High and low byte of the metadata.
    pub(super) fn pair(self) -> (u8, u8) {
        let [high, low] = self.metadata.to_be_bytes();
        (high, low)
    }
}
