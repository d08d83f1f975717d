//! Avro object container files with one record, the form of every file on a timeline of layout 2.
//!
//! Spec: Avro 1.12, "Object Container Files"; Java: DataFileWriter. Hudi's files hold the single metadata key
//! `avro.schema`, no `avro.codec`, and one block with one record; ours do too.

use crate::codec::avro::cursor::{Cursor, put_bytes, put_length};
use crate::error::{Error, Result};

const MAGIC: &[u8; 4] = b"Obj\x01";
const SCHEMA_KEY: &str = "avro.schema";
const CODEC_KEY: &str = "avro.codec";
const SYNC_LENGTH: usize = 16;

/// The one record of a container file, with the schema under which it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SingleRecord<'a> {
    /// Avro JSON of the writer.
    pub schema: &'a str,
    /// The record in binary form.
    pub datum: &'a [u8],
}

/// Whether the bytes start like a container file.
pub fn is_object_container(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}

/// Reads a container file that holds exactly one record.
///
/// # Errors
/// `Corrupt` when the bytes break the format or hold another number of records; `Unsupported` for a compressed file.
pub fn decode_single(bytes: &[u8]) -> Result<SingleRecord<'_>> {
    let Some(body) = bytes.strip_prefix(MAGIC) else {
        return Err(corrupt("the magic `Obj1` is missing"));
    };
    let mut cursor = Cursor::new(body);
    let schema = read_schema(&mut cursor)?;
    let sync = cursor.take(SYNC_LENGTH)?;
    let count = cursor.long()?;
    let datum = cursor.bytes()?;
    if cursor.take(SYNC_LENGTH)? != sync {
        return Err(corrupt("the block does not end with the sync marker"));
    }
    cursor.finish()?;
    if count != 1 {
        return Err(corrupt(format!("{count} records, where 1 is expected")));
    }
    Ok(SingleRecord { schema, datum })
}

fn read_schema<'a>(cursor: &mut Cursor<'a>) -> Result<&'a str> {
    let mut schema = None;
    loop {
        let entries = cursor.block_count()?;
        if entries == 0 {
            break;
        }
        for _ in 0..entries {
            let (key, value) = (cursor.string()?, cursor.bytes()?);
            match key {
                SCHEMA_KEY => {
                    let text = std::str::from_utf8(value);
                    schema = Some(text.map_err(|_| corrupt("a schema that is not utf-8"))?);
                }
                CODEC_KEY if value != b"null" => {
                    let codec = String::from_utf8_lossy(value);
                    return Err(Error::unsupported(format!(
                        "avro container file: codec `{codec}`"
                    )));
                }
                _ => {}
            }
        }
    }
    schema.ok_or_else(|| corrupt("no `avro.schema`"))
}

/// Writes a container file around one record.
///
/// The sync marker is drawn from the record: the same record gives the same bytes, so that a create whose reply was
/// lost can be recognised.
pub fn encode_single(record: SingleRecord<'_>) -> Vec<u8> {
    let sync = sync_marker(record.datum);
    let mut out = Vec::with_capacity(record.schema.len() + record.datum.len() + 80);
    out.extend_from_slice(MAGIC);
    put_length(1, &mut out);
    put_bytes(SCHEMA_KEY.as_bytes(), &mut out);
    put_bytes(record.schema.as_bytes(), &mut out);
    put_length(0, &mut out);
    out.extend_from_slice(&sync);
    put_length(1, &mut out);
    put_bytes(record.datum, &mut out);
    out.extend_from_slice(&sync);
    out
}

fn sync_marker(datum: &[u8]) -> [u8; SYNC_LENGTH] {
    let mut marker = [0; SYNC_LENGTH];
    for (part, chunk) in (0_u32..).zip(marker.chunks_exact_mut(4)) {
        let mut hasher = crc32fast::Hasher::new_with_initial(part);
        hasher.update(datum);
        chunk.copy_from_slice(&hasher.finalize().to_be_bytes());
    }
    marker
}

fn corrupt(message: impl std::fmt::Display) -> Error {
    Error::corrupt("avro container file", message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    const RECORD: SingleRecord<'_> = SingleRecord {
        schema: "\"long\"",
        datum: &[0x54],
    };

    #[test]
    fn another_implementation_reads_what_is_written() {
        let bytes = encode_single(RECORD);
        let values: Vec<_> = apache_avro::Reader::new(&bytes[..])
            .unwrap()
            .map(Result::unwrap)
            .collect();
        assert_eq!(values, [apache_avro::types::Value::Long(42)]);
        assert_eq!(decode_single(&bytes).unwrap(), RECORD);
    }

    #[test]
    fn every_truncation_is_an_error() {
        let bytes = encode_single(RECORD);
        for length in 0..bytes.len() {
            let error = decode_single(&bytes[..length]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{length} bytes");
        }
    }

    #[test]
    fn a_compressed_file_is_refused_by_name() {
        let mut bytes = MAGIC.to_vec();
        put_length(1, &mut bytes);
        put_bytes(CODEC_KEY.as_bytes(), &mut bytes);
        put_bytes(b"snappy", &mut bytes);
        let error = decode_single(&bytes).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains("snappy"));
    }
}
