//! Rows of an Avro container file of the user's, batch by batch.
//!
//! Such a file may be compressed and hold any number of records, unlike those of a timeline, which
//! [`super::object_container`] reads.

use std::fmt;
use std::io::Read;

use apache_avro::Reader;
use apache_avro::writer::datum::GenericDatumWriter;
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use crate::codec::avro::RecordDecoder;
use crate::error::{Error, Result};

/// Reads the records of a container file as columns.
pub struct ContainerRows<R: Read> {
    reader: Reader<'static, R>,
    decoder: RecordDecoder,
    batch_rows_max: usize,
    rows_before: u64,
}

impl<R: Read> ContainerRows<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// `Invalid` when it is none, or names a codec that is not known; `Unsupported` for a schema that is no table's.
    pub fn try_new(source: R, batch_rows_max: usize) -> Result<Self> {
        let reader = Reader::new(source).map_err(|error| {
            Error::invalid(format!(
                "not an avro container file that can be read: {error}"
            ))
        })?;
        let schema = serde_json::to_string(reader.writer_schema())
            .map_err(|error| Error::internal("an avro schema has no json").with_source(error))?;
        let decoder = RecordDecoder::try_new(&schema)?;
        Ok(Self {
            reader,
            decoder,
            batch_rows_max,
            rows_before: 0,
        })
    }

    /// The columns.
    pub fn schema(&self) -> &SchemaRef {
        self.decoder.schema()
    }

    fn read_batch(&mut self) -> Result<Option<RecordBatch>> {
        while self.decoder.rows() < self.batch_rows_max {
            let Some(value) = self.reader.next() else {
                break;
            };
            let row = self.rows_before + self.decoder.rows() as u64 + 1;
            let broken =
                |error: apache_avro::Error| Error::invalid(format!("record {row}: {error}"));
            let value = value.map_err(broken)?;
            let writer = GenericDatumWriter::builder(self.reader.writer_schema())
                .build()
                .map_err(broken)?;
            let record = writer.write_value_to_vec(value).map_err(broken)?;
            let decoded = self.decoder.decode(&record);
            decoded.map_err(|error| error.context(format!("record {row}")))?;
        }
        if self.decoder.rows() == 0 {
            return Ok(None);
        }
        self.rows_before += self.decoder.rows() as u64;
        self.decoder.finish().map(Some)
    }
}

impl<R: Read> Iterator for ContainerRows<R> {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read_batch().transpose()
    }
}

impl<R: Read> fmt::Debug for ContainerRows<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContainerRows")
            .field("rows_before", &self.rows_before)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use apache_avro::types::Record;
    use apache_avro::{Codec, DeflateSettings, Schema, Writer, ZstandardSettings};
    use arrow::array::{AsArray, Int64Array};
    use arrow::datatypes::Int64Type;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::plain(Codec::Null)]
    #[case::deflate(Codec::Deflate(DeflateSettings::default()))]
    #[case::snappy(Codec::Snappy)]
    #[case::zstandard(Codec::Zstandard(ZstandardSettings::default()))]
    fn files_of_every_codec_come_in_batches(#[case] codec: Codec) {
        let schema = Schema::parse_str(
            r#"{"type":"record","name":"r","fields":[{"name":"id","type":"long"},
               {"name":"at","type":["null",{"type":"long","logicalType":"timestamp-micros"}]}]}"#,
        )
        .unwrap();
        let mut writer = Writer::with_codec(&schema, Vec::new(), codec).unwrap();
        for id in 0..25_i64 {
            let mut record = Record::new(&schema).unwrap();
            record.put("id", id);
            record.put(
                "at",
                apache_avro::types::Value::Union(0, Box::new(apache_avro::types::Value::Null)),
            );
            writer.append_value(record).unwrap();
        }
        let bytes = writer.into_inner().unwrap();
        let rows = ContainerRows::try_new(&bytes[..], 10).unwrap();
        let batches: Vec<RecordBatch> = rows.collect::<Result<_>>().unwrap();
        assert_eq!(batches.len(), 3);
        let last = batches[2].column(0).as_primitive::<Int64Type>();
        assert_eq!(*last, Int64Array::from_iter_values(20..25));
        assert!(ContainerRows::try_new(&b"id,name"[..], 10).is_err());
    }
}
