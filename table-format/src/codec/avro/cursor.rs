//! Reading Avro's binary primitives from untrusted bytes: every step is checked against the end.
//!
//! Spec: Avro 1.12, "Binary Encoding".

use crate::error::{Error, ErrorKind};

/// What is wrong with the bytes, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The data ends inside a value.
    #[error("offset {offset}: {needed} bytes are needed, {left} are left")]
    EndOfData {
        /// Where the value starts.
        offset: usize,
        /// Its length.
        needed: u64,
        /// What is there.
        left: usize,
    },
    /// A variable-length number of more than 64 bits.
    #[error("offset {offset}: a number of more than 64 bits")]
    LongNumber {
        /// Where the number starts.
        offset: usize,
    },
    /// A number that its place cannot hold: a length below 0, an `int` of more than 32 bits, an unknown branch.
    #[error("offset {offset}: {value} is not {expected}")]
    OutOfRange {
        /// Where the number starts.
        offset: usize,
        /// The number.
        value: i64,
        /// What belongs here.
        expected: &'static str,
    },
    /// Text that is not UTF-8.
    #[error("offset {offset}: text that is not utf-8")]
    NotUtf8 {
        /// Where the text starts.
        offset: usize,
    },
    /// The value ends before its bytes do.
    #[error("offset {offset}: {left} bytes follow the end of the record")]
    TrailingBytes {
        /// Where the value ends.
        offset: usize,
        /// What follows.
        left: usize,
    },
    /// A column has reached what one Arrow array can hold.
    #[error("offset {offset}: the column holds 2 GiB already; decode fewer rows at a time")]
    ColumnFull {
        /// Where the value starts.
        offset: usize,
    },
}

impl From<DecodeError> for Error {
    fn from(error: DecodeError) -> Self {
        let kind = match error {
            DecodeError::ColumnFull { .. } => ErrorKind::Unsupported,
            DecodeError::EndOfData { .. }
            | DecodeError::LongNumber { .. }
            | DecodeError::OutOfRange { .. }
            | DecodeError::NotUtf8 { .. }
            | DecodeError::TrailingBytes { .. } => ErrorKind::Corrupt,
        };
        Self::new(kind, format!("avro data: {error}")).with_source(error)
    }
}

type Result<T> = std::result::Result<T, DecodeError>;

/// A position in bytes that hold Avro values.
#[derive(Debug, Clone)]
pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, offset: 0 }
    }

    pub(crate) fn offset(&self) -> usize {
        self.offset
    }

    pub(crate) fn left(&self) -> usize {
        self.bytes.len() - self.offset
    }

    pub(crate) fn finish(&self) -> Result<()> {
        match self.left() {
            0 => Ok(()),
            left => Err(DecodeError::TrailingBytes {
                offset: self.offset,
                left,
            }),
        }
    }

    pub(crate) fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let rest = self.bytes.get(self.offset..).unwrap_or_default();
        match rest.split_at_checked(length) {
            Some((taken, _)) => {
                self.offset += length;
                Ok(taken)
            }
            None => Err(DecodeError::EndOfData {
                offset: self.offset,
                needed: length as u64,
                left: rest.len(),
            }),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let offset = self.offset;
        let left = self.left();
        let short = DecodeError::EndOfData {
            offset,
            needed: N as u64,
            left,
        };
        self.take(N)?.try_into().map_err(|_| short)
    }

    pub(crate) fn long(&mut self) -> Result<i64> {
        let start = self.offset;
        let mut raw = 0_u64;
        for shift in (0..64).step_by(7) {
            let Some(&byte) = self.bytes.get(self.offset) else {
                let left = self.bytes.len() - start;
                return Err(DecodeError::EndOfData {
                    offset: start,
                    needed: left as u64 + 1,
                    left,
                });
            };
            self.offset += 1;
            if shift == 63 && byte > 1 {
                break;
            }
            raw |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed());
            }
        }
        Err(DecodeError::LongNumber { offset: start })
    }

    pub(crate) fn int(&mut self) -> Result<i32> {
        let offset = self.offset;
        let value = self.long()?;
        let wide = DecodeError::OutOfRange {
            offset,
            value,
            expected: "an int of 32 bits",
        };
        i32::try_from(value).map_err(|_| wide)
    }

    pub(crate) fn boolean(&mut self) -> Result<bool> {
        let offset = self.offset;
        match self.array::<1>()? {
            [0] => Ok(false),
            [1] => Ok(true),
            [other] => {
                let value = i64::from(other);
                Err(DecodeError::OutOfRange {
                    offset,
                    value,
                    expected: "a boolean (0 or 1)",
                })
            }
        }
    }

    pub(crate) fn float(&mut self) -> Result<f32> {
        Ok(f32::from_le_bytes(self.array()?))
    }

    pub(crate) fn double(&mut self) -> Result<f64> {
        Ok(f64::from_le_bytes(self.array()?))
    }

    /// Bytes with their length in front.
    pub(crate) fn bytes(&mut self) -> Result<&'a [u8]> {
        let offset = self.offset;
        let value = self.long()?;
        let negative = DecodeError::OutOfRange {
            offset,
            value,
            expected: "a length",
        };
        let length = u64::try_from(value).map_err(|_| negative)?;
        let left = self.left();
        let long = DecodeError::EndOfData {
            offset,
            needed: length,
            left,
        };
        self.take(usize::try_from(length).map_err(|_| long)?)
    }

    pub(crate) fn string(&mut self) -> Result<&'a str> {
        let offset = self.offset;
        std::str::from_utf8(self.bytes()?).map_err(|_| DecodeError::NotUtf8 { offset })
    }

    /// The branch of a union of `branches` types.
    pub(crate) fn branch(&mut self, branches: usize) -> Result<usize> {
        let offset = self.offset;
        let value = self.long()?;
        let branch = usize::try_from(value)
            .ok()
            .filter(|branch| *branch < branches);
        branch.ok_or(DecodeError::OutOfRange {
            offset,
            value,
            expected: "a branch of the union",
        })
    }

    /// The number of items in the next block of an array or map; 0 at its end. A negative count is followed by the
    /// block's length in bytes, which nobody here needs.
    pub(crate) fn block_count(&mut self) -> Result<u64> {
        let count = self.long()?;
        if count < 0 {
            self.long()?;
        }
        Ok(count.unsigned_abs())
    }
}

/// Appends a number in Avro's variable-length form.
pub(crate) fn put_long(value: i64, out: &mut Vec<u8>) {
    let mut raw = (value.cast_unsigned() << 1) ^ (value >> 63).cast_unsigned();
    loop {
        let [low, ..] = raw.to_le_bytes();
        raw >>= 7;
        if raw == 0 {
            out.push(low & 0x7f);
            break;
        }
        out.push(low | 0x80);
    }
}

/// Appends bytes with their length in front.
pub(crate) fn put_bytes(value: &[u8], out: &mut Vec<u8>) {
    put_length(value.len(), out);
    out.extend_from_slice(value);
}

/// Appends a length or count; no slice is longer than `isize::MAX`.
pub(crate) fn put_length(length: usize, out: &mut Vec<u8>) {
    put_long((length as u64).cast_signed(), out);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};

    use super::*;

    proptest! {
        #[test]
        fn longs_round_trip(value in any::<i64>()) {
            let mut bytes = Vec::new();
            put_long(value, &mut bytes);
            let mut cursor = Cursor::new(&bytes);
            assert_eq!(cursor.long(), Ok(value));
            assert_eq!(cursor.finish(), Ok(()));
        }
    }

    #[test]
    fn numbers_beyond_64_bits_are_refused() {
        let ones = [0xff; 11];
        assert_eq!(
            Cursor::new(&ones).long(),
            Err(DecodeError::LongNumber { offset: 0 })
        );
        let mut int = Vec::new();
        put_long(1 << 31, &mut int);
        assert!(matches!(
            Cursor::new(&int).int(),
            Err(DecodeError::OutOfRange { .. })
        ));
    }

    #[test]
    fn lengths_are_checked_before_anything_is_taken() {
        let mut bytes = Vec::new();
        put_long(i64::MAX, &mut bytes);
        assert!(matches!(
            Cursor::new(&bytes).bytes(),
            Err(DecodeError::EndOfData { .. })
        ));
        bytes.clear();
        put_long(-1, &mut bytes);
        assert!(matches!(
            Cursor::new(&bytes).bytes(),
            Err(DecodeError::OutOfRange { value: -1, .. })
        ));
        assert!(matches!(
            Cursor::new(&[]).double(),
            Err(DecodeError::EndOfData { .. })
        ));
    }
}
