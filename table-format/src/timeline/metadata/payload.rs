//! From the bytes of a timeline file to its payload and back.

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::writer::datum::GenericDatumWriter;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};

use crate::codec::object_container::{
    SingleRecord, decode_single, encode_single, is_object_container,
};
use crate::error::{Error, Result};

/// The payload of an instant's file.
pub trait Payload: Serialize + DeserializeOwned + Default {
    /// Avro JSON of the record.
    const SCHEMA: &'static str;

    /// The bytes of the file on a timeline of layout 2.
    ///
    /// # Errors
    /// `Internal` when the payload does not fit its schema.
    fn encode_avro(&self) -> Result<Vec<u8>> {
        encode(Self::SCHEMA, self)
    }

    /// Reads a file of either layout. No bytes at all are an empty payload.
    ///
    /// # Errors
    /// `Corrupt` when the bytes are neither Avro nor JSON of this payload.
    fn decode(bytes: &[u8]) -> Result<Self> {
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        if is_object_container(bytes) {
            return decode_avro(bytes);
        }
        serde_json::from_slice(bytes).map_err(|error| {
            Error::corrupt(
                "timeline metadata",
                format!("neither avro nor json: {error}"),
            )
            .with_source(error)
        })
    }
}

pub(super) fn encode<T: Serialize>(schema: &str, payload: &T) -> Result<Vec<u8>> {
    // Errors of this library print the whole schema: they are the source, not the message.
    let internal = |error: apache_avro::Error| {
        Error::internal("timeline metadata: the payload does not fit its schema").with_source(error)
    };
    let parsed = Schema::parse_str(schema).map_err(internal)?;
    let writer = GenericDatumWriter::builder(&parsed)
        .build()
        .map_err(internal)?;
    let datum = writer.write_ser_to_vec(payload).map_err(internal)?;
    Ok(encode_single(SingleRecord {
        schema: schema.trim_end(),
        datum: &datum,
    }))
}

/// The bytes of a commit of layout 1. Java: CommitMetadataSerDeV1 (pretty-printed Jackson).
pub(super) fn encode_json<T: Serialize>(payload: &T) -> Result<Vec<u8>> {
    serde_json::to_vec_pretty(payload).map_err(|error| {
        Error::internal("timeline metadata: the payload does not fit JSON").with_source(error)
    })
}

/// Reads the record of a container file into whatever takes some of its fields.
pub(crate) fn decode_avro<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    let record = decode_single(bytes)?;
    let corrupt = |error: apache_avro::Error| {
        Error::corrupt(
            "timeline metadata",
            "the avro record does not fit its schema",
        )
        .with_source(error)
    };
    let schema = Schema::parse_str(record.schema).map_err(corrupt)?;
    let reader = GenericDatumReader::builder(&schema)
        .build()
        .map_err(corrupt)?;
    // By value, not straight into the type: that would insist on the record names of Hudi, which are free.
    let value = reader.read_value(&mut &record.datum[..]).map_err(corrupt)?;
    apache_avro::from_value(&value).map_err(corrupt)
}

/// Reads null as the empty value: Hudi's containers may be null, and mean nothing by it.
pub(super) fn null_as_default<'de, D, T>(deserializer: D) -> std::result::Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
