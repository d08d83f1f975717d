//! MySQL's binary JSON to text, as the server prints it but without blanks between tokens.
//!
//! Source: MySQL, `json_binary.h`.

use std::fmt::{Display, Write as _};

use super::jsonb_scalar::{push_double, push_opaque, push_string, variable_length};
use crate::batch::{ByteReader, DecodeError};

/// Deepest nesting that the server allows.
const DEPTH_MAX: usize = 100;

const SMALL_OBJECT: u8 = 0x00;
const LARGE_OBJECT: u8 = 0x01;
const SMALL_ARRAY: u8 = 0x02;
const LARGE_ARRAY: u8 = 0x03;
const LITERAL: u8 = 0x04;
const INT16: u8 = 0x05;
const UINT16: u8 = 0x06;
const INT32: u8 = 0x07;
const UINT32: u8 = 0x08;
const INT64: u8 = 0x09;
const UINT64: u8 = 0x0a;
const DOUBLE: u8 = 0x0b;
const STRING: u8 = 0x0c;
const OPAQUE: u8 = 0x0f;

/// Appends the text of a binary document to `out`.
pub(super) fn jsonb_to_text(document: &[u8], out: &mut String) -> Result<(), DecodeError> {
    // A column that became NOT NULL holds no bytes where there was no document: the server reads null.
    let Some((value_type, value)) = document.split_first() else {
        out.push_str("null");
        return Ok(());
    };
    // Offsets of broken documents may share values, so that the text grows without bound; true ones do not.
    let limit = out.len() + 8 * document.len() + 64;
    Printer { out, limit }.value(*value_type, value, 0)
}

struct Printer<'a> {
    out: &'a mut String,
    limit: usize,
}

/// How an object or array lays its entries out.
#[derive(Clone, Copy)]
struct Layout {
    is_object: bool,
    /// Bytes of counts, sizes and offsets.
    width: usize,
}

impl Printer<'_> {
    fn value(&mut self, value_type: u8, bytes: &[u8], depth: usize) -> Result<(), DecodeError> {
        if depth > DEPTH_MAX || self.out.len() > self.limit {
            return Err(DecodeError::Invalid(
                "a JSON document nests too deep or refers to itself",
            ));
        }
        let mut reader = ByteReader::new(bytes);
        match value_type {
            SMALL_OBJECT => self.container(
                Layout {
                    is_object: true,
                    width: 2,
                },
                bytes,
                depth,
            ),
            LARGE_OBJECT => self.container(
                Layout {
                    is_object: true,
                    width: 4,
                },
                bytes,
                depth,
            ),
            SMALL_ARRAY => self.container(
                Layout {
                    is_object: false,
                    width: 2,
                },
                bytes,
                depth,
            ),
            LARGE_ARRAY => self.container(
                Layout {
                    is_object: false,
                    width: 4,
                },
                bytes,
                depth,
            ),
            LITERAL => self.literal(reader.u8()?),
            INT16 => self.number(i16::from_le_bytes(reader.array()?)),
            UINT16 => self.number(reader.u16()?),
            INT32 => self.number(i32::from_le_bytes(reader.array()?)),
            UINT32 => self.number(reader.u32()?),
            INT64 => self.number(i64::from_le_bytes(reader.array()?)),
            UINT64 => self.number(reader.u64()?),
            DOUBLE => {
                push_double(f64::from_le_bytes(reader.array()?), self.out);
                Ok(())
            }
            STRING => {
                let length = variable_length(&mut reader)?;
                push_string(reader.take(length)?, self.out)
            }
            OPAQUE => push_opaque(&mut reader, self.out),
            _ => Err(DecodeError::Invalid(
                "a JSON document holds an unknown type",
            )),
        }
    }

    fn number(&mut self, number: impl Display) -> Result<(), DecodeError> {
        write!(self.out, "{number}").map_err(|_| DecodeError::Invalid("a number does not print"))
    }

    fn literal(&mut self, literal: u8) -> Result<(), DecodeError> {
        self.out.push_str(match literal {
            0 => "null",
            1 => "true",
            2 => "false",
            _ => {
                return Err(DecodeError::Invalid(
                    "a JSON document holds an unknown literal",
                ));
            }
        });
        Ok(())
    }

    /// An object or array: count, size, entries of keys (offset, length), entries of values (type, offset or value).
    fn container(&mut self, layout: Layout, bytes: &[u8], depth: usize) -> Result<(), DecodeError> {
        let mut reader = ByteReader::new(bytes);
        let count = size(reader.uint(layout.width)?);
        let total = size(reader.uint(layout.width)?);
        let bytes = bytes.get(..total).ok_or(OUTSIDE)?;
        let key_entry = layout.width + 2;
        let keys = if layout.is_object {
            count.checked_mul(key_entry).ok_or(OUTSIDE)?
        } else {
            0
        };
        let mut keys = ByteReader::new(reader.take(keys)?);
        let (open, close) = if layout.is_object {
            ('{', '}')
        } else {
            ('[', ']')
        };
        self.out.push(open);
        for index in 0..count {
            if index > 0 {
                self.out.push(',');
            }
            if layout.is_object {
                let (offset, length) = (size(keys.uint(layout.width)?), usize::from(keys.u16()?));
                let key = bytes
                    .get(offset..)
                    .and_then(|key| key.get(..length))
                    .ok_or(OUTSIDE)?;
                push_string(key, self.out)?;
                self.out.push(':');
            }
            let value_type = reader.u8()?;
            let entry = reader.take(layout.width)?;
            if is_inline(value_type, layout.width) {
                self.value(value_type, entry, depth + 1)?;
            } else {
                let offset = size(ByteReader::new(entry).uint(layout.width)?);
                self.value(value_type, bytes.get(offset..).ok_or(OUTSIDE)?, depth + 1)?;
            }
        }
        self.out.push(close);
        Ok(())
    }
}

const OUTSIDE: DecodeError = DecodeError::Invalid("a JSON document refers past its end");

fn size(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// Whether a value lies in its entry.
fn is_inline(value_type: u8, width: usize) -> bool {
    matches!(value_type, LITERAL | INT16 | UINT16)
        || width == 4 && matches!(value_type, INT32 | UINT32)
}
