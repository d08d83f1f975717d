//! A cursor over foreign bytes: every read is checked against the end, nothing is allocated.

use super::DecodeError;

/// Reads forward through a slice.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ByteReader<'a> {
    bytes: &'a [u8],
}

impl<'a> ByteReader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// What has not been read yet.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.bytes
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    #[inline]
    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        match self.bytes.split_at_checked(count) {
            Some((taken, rest)) => {
                self.bytes = rest;
                Ok(taken)
            }
            None => Err(DecodeError::Truncated {
                expected: count,
                found: self.bytes.len(),
            }),
        }
    }

    #[inline]
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        match self.bytes.split_first_chunk::<N>() {
            Some((taken, rest)) => {
                self.bytes = rest;
                Ok(*taken)
            }
            None => Err(DecodeError::Truncated {
                expected: N,
                found: self.bytes.len(),
            }),
        }
    }

    #[inline]
    pub(crate) fn u8(&mut self) -> Result<u8, DecodeError> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    #[inline]
    pub(crate) fn u16(&mut self) -> Result<u16, DecodeError> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    #[inline]
    pub(crate) fn u24(&mut self) -> Result<u32, DecodeError> {
        let [a, b, c] = self.array()?;
        Ok(u32::from_le_bytes([a, b, c, 0]))
    }

    #[inline]
    pub(crate) fn u32(&mut self) -> Result<u32, DecodeError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    #[inline]
    pub(crate) fn u48(&mut self) -> Result<u64, DecodeError> {
        let [a, b, c, d, e, f] = self.array()?;
        Ok(u64::from_le_bytes([a, b, c, d, e, f, 0, 0]))
    }

    #[inline]
    pub(crate) fn u64(&mut self) -> Result<u64, DecodeError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// An unsigned little-endian integer of `width` bytes, at most 8.
    #[inline]
    pub(crate) fn uint(&mut self, width: usize) -> Result<u64, DecodeError> {
        let mut word = [0; 8];
        let bytes = self.take(width)?;
        let Some(low) = word.get_mut(..width) else {
            return Err(DecodeError::Invalid("an integer is wider than 8 bytes"));
        };
        low.copy_from_slice(bytes);
        Ok(u64::from_le_bytes(word))
    }

    /// An unsigned big-endian integer of `width` bytes, at most 8.
    #[inline]
    pub(crate) fn uint_be(&mut self, width: usize) -> Result<u64, DecodeError> {
        let bytes = self.take(width)?;
        if width > 8 {
            return Err(DecodeError::Invalid("an integer is wider than 8 bytes"));
        }
        Ok(bytes
            .iter()
            .fold(0, |number, byte| (number << 8) | u64::from(*byte)))
    }

    /// A length-encoded integer of the client/server protocol.
    #[inline]
    pub(crate) fn lenenc_uint(&mut self) -> Result<u64, DecodeError> {
        match self.u8()? {
            small @ 0..=0xfa => Ok(u64::from(small)),
            0xfc => Ok(u64::from(self.u16()?)),
            0xfd => Ok(u64::from(self.u24()?)),
            0xfe => self.u64(),
            _ => Err(DecodeError::Invalid("a length has no valid first byte")),
        }
    }

    /// Bytes behind their length-encoded length.
    #[inline]
    pub(crate) fn lenenc_bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        let length = self.lenenc_uint()?;
        self.take(usize::try_from(length).unwrap_or(usize::MAX))
    }

    /// Bytes behind their length of `width` bytes.
    #[inline]
    pub(crate) fn sized_bytes(&mut self, width: u8) -> Result<&'a [u8], DecodeError> {
        let length = match width {
            1 => u64::from(self.u8()?),
            2 => u64::from(self.u16()?),
            other => self.uint(usize::from(other))?,
        };
        self.take(usize::try_from(length).unwrap_or(usize::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_numbers_of_every_width() {
        let mut reader = ByteReader::new(&[1, 2, 0, 3, 0, 0, 0xff, 0xfe, 1, 2, 3]);
        assert_eq!(reader.u8(), Ok(1));
        assert_eq!(reader.u16(), Ok(2));
        assert_eq!(reader.u24(), Ok(3));
        assert_eq!(reader.uint_be(2), Ok(0xfffe));
        assert_eq!(reader.uint(3), Ok(0x03_0201));
        assert_eq!(
            reader.u8(),
            Err(DecodeError::Truncated {
                expected: 1,
                found: 0
            })
        );
    }

    #[test]
    fn a_length_past_the_end_is_an_error() {
        let mut reader =
            ByteReader::new(&[0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 7]);
        assert!(matches!(
            reader.lenenc_bytes(),
            Err(DecodeError::Truncated { found: 1, .. })
        ));
    }
}
