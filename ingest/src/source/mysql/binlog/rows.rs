//! Rows events: what happened to rows of one table, and their images.

use super::compression::decompress;
use super::event::EventType;
use crate::batch::{ByteReader, DecodeError};

/// The last rows event of a statement: table ids lose their meaning.
const STATEMENT_END: u16 = 1;

/// What happened to the rows of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowsKind {
    /// Each row has an after image.
    Write,
    /// Each row has a before and an after image.
    Update,
    /// Each row has a before image.
    Delete,
}

/// How a kind of rows event is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RowsFormat {
    kind: RowsKind,
    /// Extra data stands behind the flags.
    has_extra: bool,
    compressed: bool,
}

impl RowsFormat {
    /// The format of a type of event, if it is a rows event that can be read.
    pub(super) fn of(event_type: EventType) -> Option<Self> {
        let (has_extra, compressed, first) = match event_type.0 {
            first @ 23..=25 => (false, false, first - 23),
            first @ 30..=32 => (true, false, first - 30),
            // MariaDB's compressed forms of both.
            first @ 166..=168 => (false, true, first - 166),
            first @ 169..=171 => (true, true, first - 169),
            _ => return None,
        };
        let kind = match first {
            0 => RowsKind::Write,
            1 => RowsKind::Update,
            _ => RowsKind::Delete,
        };
        Some(Self {
            kind,
            has_extra,
            compressed,
        })
    }
}

/// A rows event.
#[derive(Debug, Clone, Copy)]
pub struct RowsEvent<'a> {
    /// The table, by its newest TABLE_MAP.
    pub table_id: u64,
    /// What happened to the rows.
    pub kind: RowsKind,
    /// Whether the statement ends with this event.
    pub ends_statement: bool,
    /// Columns of the table.
    pub column_count: usize,
    /// Which columns the first image of a row holds, one bit each, the lowest first.
    pub first_columns: &'a [u8],
    /// Which columns the after image of an update holds; empty for writes and deletes.
    pub after_columns: &'a [u8],
    /// The images, one after the other.
    pub rows: &'a [u8],
}

impl<'a> RowsEvent<'a> {
    /// Reads the body of a rows event; `scratch` takes the images if they are compressed.
    ///
    /// Source: MySQL, `Rows_event`; MariaDB, `Rows_log_event`.
    pub(super) fn read(
        format: RowsFormat,
        reader: &mut ByteReader<'a>,
        scratch: &'a mut Vec<u8>,
    ) -> Result<Self, DecodeError> {
        let table_id = reader.u48()?;
        let flags = reader.u16()?;
        if format.has_extra {
            // The length counts itself.
            let length = usize::from(reader.u16()?);
            reader.take(length.saturating_sub(2))?;
        }
        let column_count = usize::try_from(reader.lenenc_uint()?).unwrap_or(usize::MAX);
        let bitmap = column_count.div_ceil(8);
        let first_columns = reader.take(bitmap)?;
        let after = if format.kind == RowsKind::Update {
            bitmap
        } else {
            0
        };
        let after_columns = reader.take(after)?;
        let rows = if format.compressed && !reader.is_empty() {
            decompress(reader.rest(), scratch)?;
            scratch.as_slice()
        } else {
            reader.rest()
        };
        let (kind, ends_statement) = (format.kind, flags & STATEMENT_END != 0);
        Ok(Self {
            table_id,
            kind,
            ends_statement,
            column_count,
            first_columns,
            after_columns,
            rows,
        })
    }
}
