//! The optional part of TABLE_MAP events (`binlog_row_metadata`), used to check the schema in force.

use super::table_map::{ImageColumn, type_code};
use crate::batch::{ByteReader, DecodeError};

/// What a server says about columns beyond their layout; every part may be missing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TableMetadata {
    /// For numeric columns whether they are unsigned, by position.
    pub unsigned: Option<Vec<Option<bool>>>,
    /// Names of all columns.
    pub column_names: Option<Vec<String>>,
    /// How many labels each ENUM and SET column has, by position.
    pub label_counts: Vec<(usize, usize)>,
}

impl TableMetadata {
    /// Reads fields of type, length and value up to the end; fields that are not known are skipped.
    ///
    /// Source: MySQL, `Table_map_event::Optional_metadata_fields`; MariaDB, `Table_map_log_event::Optional_metadata_fields`.
    pub(super) fn read(
        mut reader: ByteReader<'_>,
        columns: &[ImageColumn],
    ) -> Result<Self, DecodeError> {
        let mut metadata = Self::default();
        while !reader.is_empty() {
            let field = reader.u8()?;
            let value = ByteReader::new(reader.lenenc_bytes()?);
            match field {
                1 => metadata.unsigned = Some(signedness(value.rest(), columns)),
                4 => metadata.column_names = Some(names(value)?),
                5 => metadata
                    .label_counts
                    .extend(labels(value, columns, type_code::SET)?),
                6 => metadata
                    .label_counts
                    .extend(labels(value, columns, type_code::ENUM)?),
                _ => {}
            }
        }
        Ok(metadata)
    }
}

/// One bit per numeric column, the highest first.
fn signedness(bits: &[u8], columns: &[ImageColumn]) -> Vec<Option<bool>> {
    let mut number = 0;
    let unsigned = |column: &ImageColumn| {
        if !is_numeric(column.type_code) {
            return None;
        }
        let bit = bits
            .get(number / 8)
            .map(|byte| byte >> (7 - number % 8) & 1 == 1);
        number += 1;
        bit
    };
    columns.iter().map(unsigned).collect()
}

fn is_numeric(code: u8) -> bool {
    use type_code as t;
    matches!(
        code,
        t::TINY
            | t::SHORT
            | t::INT24
            | t::LONG
            | t::LONGLONG
            | t::NEWDECIMAL
            | t::FLOAT
            | t::DOUBLE
            | t::YEAR
    )
}

fn names(mut reader: ByteReader<'_>) -> Result<Vec<String>, DecodeError> {
    let mut names = Vec::new();
    while !reader.is_empty() {
        names.push(String::from_utf8_lossy(reader.lenenc_bytes()?).into_owned());
    }
    Ok(names)
}

/// For each column of a kind, in order: the number of labels, then each behind its length.
fn labels(
    mut reader: ByteReader<'_>,
    columns: &[ImageColumn],
    kind: u8,
) -> Result<Vec<(usize, usize)>, DecodeError> {
    let of_kind = columns
        .iter()
        .enumerate()
        .filter(|(_, column)| column.type_code == kind);
    let mut counts = Vec::new();
    for (index, _) in of_kind {
        let count = reader.lenenc_uint()?;
        for _ in 0..count {
            reader.lenenc_bytes()?;
        }
        counts.push((index, usize::try_from(count).unwrap_or(usize::MAX)));
    }
    Ok(counts)
}
