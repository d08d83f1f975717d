//! MariaDB's compressed parts of events (`log_bin_compress`).

use std::io::Read as _;

use crate::batch::{ByteReader, DecodeError};

/// Most bytes of a decompressed event: what `max_allowed_packet` can be at most, with some room.
const DECOMPRESSED_MAX: u64 = (1 << 30) + (1 << 20);

/// Decompresses `bytes` into `out`, which is cleared.
///
/// The first byte is `0x80 | algorithm << 4 | n`, n bytes of big-endian length follow, then the zlib stream.
/// Source: MariaDB, `binlog_buf_uncompress`.
pub(super) fn decompress(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), DecodeError> {
    let mut reader = ByteReader::new(bytes);
    let head = reader.u8()?;
    if head & 0x80 == 0 || (head >> 4) & 0x07 != 0 {
        return Err(DecodeError::Unsupported(
            "an event is compressed by an unknown algorithm",
        ));
    }
    let length = reader.uint_be(usize::from(head & 0x07))?;
    if length > DECOMPRESSED_MAX {
        return Err(DecodeError::Invalid(
            "a compressed event claims to be longer than 1 GiB",
        ));
    }
    out.clear();
    // One byte more than claimed is enough to see that the claim is wrong.
    let mut decoder = flate2::read::ZlibDecoder::new(reader.rest()).take(length + 1);
    let read = decoder.read_to_end(out);
    match read {
        Ok(read) if read as u64 == length => Ok(()),
        Ok(_) => Err(DecodeError::Invalid(
            "a compressed event has another length than it claims",
        )),
        Err(_) => Err(DecodeError::Invalid(
            "a compressed event is not a zlib stream",
        )),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn compressed(data: &[u8], claim: u16) -> Vec<u8> {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(data).unwrap();
        let [high, low] = claim.to_be_bytes();
        [&[0x82, high, low][..], &encoder.finish().unwrap()].concat()
    }

    #[test]
    fn restores_what_was_compressed() {
        let data = vec![7; 900];
        let mut out = vec![1];
        decompress(&compressed(&data, 900), &mut out).unwrap();
        assert_eq!(out, data);
    }

    #[test]
    fn a_wrong_length_is_an_error() {
        let data = vec![7; 900];
        assert!(decompress(&compressed(&data, 899), &mut Vec::new()).is_err());
        assert!(decompress(&compressed(&data, 901), &mut Vec::new()).is_err());
        assert!(decompress(&[0x92, 0, 1, 2], &mut Vec::new()).is_err());
        assert!(
            decompress(
                &[0x87, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
                &mut Vec::new()
            )
            .is_err()
        );
    }
}
