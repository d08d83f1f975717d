//! Passing over values that nobody wants: no column, no copy, no check of text.

use super::cursor::{Cursor, DecodeError};
use super::schema::{AvroType, TimeUnit};

type Result<T> = std::result::Result<T, DecodeError>;

/// Moves past one value.
pub(super) fn skip(data_type: &AvroType, cursor: &mut Cursor<'_>) -> Result<()> {
    match data_type {
        AvroType::Null => {}
        AvroType::Boolean => {
            cursor.take(1)?;
        }
        AvroType::Int | AvroType::Date | AvroType::Time(TimeUnit::Millis) => {
            cursor.int()?;
        }
        AvroType::Long | AvroType::Time(_) | AvroType::Timestamp { .. } => {
            cursor.long()?;
        }
        AvroType::Float => {
            cursor.take(4)?;
        }
        AvroType::Double => {
            cursor.take(8)?;
        }
        AvroType::Bytes | AvroType::String => {
            cursor.bytes()?;
        }
        AvroType::Enum(symbols) => {
            cursor.branch(symbols.len())?;
        }
        AvroType::Fixed(size) => {
            cursor.take(*size)?;
        }
        AvroType::Decimal { fixed_size, .. } => {
            match fixed_size {
                Some(size) => cursor.take(*size)?,
                None => cursor.bytes()?,
            };
        }
        AvroType::Record(record) => record
            .fields
            .iter()
            .try_for_each(|field| skip(&field.data_type, cursor))?,
        AvroType::Array(items) => skip_blocks(cursor, |cursor| skip(items, cursor))?,
        AvroType::Map(values) => skip_blocks(cursor, |cursor| {
            cursor.bytes()?;
            skip(values, cursor)
        })?,
        AvroType::Nullable { null_branch, inner } => {
            if cursor.branch(2)? != usize::from(*null_branch) {
                skip(inner, cursor)?;
            }
        }
    }
    Ok(())
}

/// Items must take up bytes, lest a few bytes keep the reader busy for billions of rounds.
fn skip_blocks(
    cursor: &mut Cursor<'_>,
    mut item: impl FnMut(&mut Cursor<'_>) -> Result<()>,
) -> Result<()> {
    loop {
        let count = cursor.block_count()?;
        if count == 0 {
            return Ok(());
        }
        for _ in 0..count {
            let offset = cursor.offset();
            item(cursor)?;
            if cursor.offset() == offset {
                return Err(DecodeError::OutOfRange {
                    offset,
                    value: 0,
                    expected: "an item of at least one byte",
                });
            }
        }
    }
}
