//! Reading and writing the integers and strings that the client protocol is made of.
//!
//! Every read is bounds-checked: a packet is foreign bytes, and a short one is an error with the offset.

use crate::{Error, ErrorKind, Result};

/// A cursor over one packet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, offset: 0 }
    }

    /// Everything that is left.
    pub(super) fn rest(&mut self) -> &'a [u8] {
        let rest = self.bytes.get(self.offset..).unwrap_or(&[]);
        self.offset = self.bytes.len();
        rest
    }

    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8]> {
        let end = self.offset.checked_add(len);
        let taken = end
            .and_then(|end| self.bytes.get(self.offset..end))
            .ok_or_else(|| {
                Error::new(
                    ErrorKind::Corrupt,
                    format!(
                        "packet of {} bytes ends early: expected {len} bytes at offset {}",
                        self.bytes.len(),
                        self.offset
                    ),
                )
            })?;
        self.offset += len;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    pub(super) fn u8(&mut self) -> Result<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(super) fn u16(&mut self) -> Result<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32> {
        self.array().map(u32::from_le_bytes)
    }

    /// A length-encoded integer; `None` is the text protocol's NULL (0xfb).
    pub(super) fn lenenc(&mut self) -> Result<Option<u64>> {
        let corrupt = || Error::new(ErrorKind::Corrupt, "0xff is no length-encoded integer");
        Ok(Some(match self.u8()? {
            0xfb => return Ok(None),
            0xfc => u64::from(self.u16()?),
            0xfd => {
                let [a, b, c] = self.array()?;
                u64::from(u32::from_le_bytes([a, b, c, 0]))
            }
            0xfe => u64::from_le_bytes(self.array()?),
            0xff => return Err(corrupt()),
            small => u64::from(small),
        }))
    }

    /// A length-encoded string; `None` is NULL.
    pub(super) fn lenenc_bytes(&mut self) -> Result<Option<&'a [u8]>> {
        match self.lenenc()? {
            None => Ok(None),
            // A length beyond usize cannot be in memory: `take` reports it as an early end.
            Some(len) => self
                .take(usize::try_from(len).unwrap_or(usize::MAX))
                .map(Some),
        }
    }

    /// A string up to a zero byte, or up to the end when there is none.
    pub(super) fn until_zero(&mut self) -> &'a [u8] {
        let rest = self.bytes.get(self.offset..).unwrap_or(&[]);
        let len = rest
            .iter()
            .position(|byte| *byte == 0)
            .unwrap_or(rest.len());
        self.offset = (self.offset + len + 1).min(self.bytes.len());
        rest.get(..len).unwrap_or(rest)
    }
}

/// Appends a length-encoded string.
pub(super) fn put_lenenc_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    let len = bytes.len() as u64;
    match len {
        0..=0xfa => out.push(bytes.len().to_le_bytes()[0]),
        0xfb..=0xffff => {
            out.push(0xfc);
            out.extend_from_slice(&len.to_le_bytes()[..2]);
        }
        0x1_0000..=0xff_ffff => {
            out.push(0xfd);
            out.extend_from_slice(&len.to_le_bytes()[..3]);
        }
        _ => {
            out.push(0xfe);
            out.extend_from_slice(&len.to_le_bytes());
        }
    }
    out.extend_from_slice(bytes);
}

/// Appends a string and its closing zero byte.
pub(super) fn put_zero_terminated(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(bytes);
    out.push(0);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn short_packets_are_errors_that_name_the_offset() {
        let mut cursor = Cursor::new(&[1, 2, 3]);
        cursor.u16().unwrap();
        let error = cursor.u32().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.to_string().contains("offset 2"), "{error}");
        assert!(
            Cursor::new(&[0xfe, 255, 255, 255, 255, 255, 255, 255, 255])
                .lenenc_bytes()
                .is_err()
        );
    }

    #[test]
    fn strings_end_at_zero_or_at_the_end() {
        let mut cursor = Cursor::new(b"ab\0cd");
        assert_eq!(cursor.until_zero(), b"ab");
        assert_eq!(cursor.until_zero(), b"cd");
        assert_eq!(cursor.until_zero(), b"");
    }

    proptest! {
        #[test]
        fn length_encoded_strings_come_back(len in prop_oneof![0usize..300, 65_530..65_540usize, 16_777_210..16_777_220usize]) {
            let bytes = vec![7u8; len];
            let mut out = Vec::new();
            put_lenenc_bytes(&mut out, &bytes);
            let mut cursor = Cursor::new(&out);
            prop_assert_eq!(cursor.lenenc_bytes().unwrap().map(<[u8]>::len), Some(len));
            prop_assert!(cursor.rest().is_empty());
        }
    }
}
