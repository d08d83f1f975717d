//! Avro records to Arrow columns.
//!
//! Every field has a column of its own type; a record is read field by field, each straight into its column.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use super::arrow_type::arrow_schema;
use super::column_decoder::ColumnDecoder;
use super::cursor::Cursor;
use super::schema::{AvroSchema, AvroType};
use super::skip::skip;
use crate::error::{Error, Result};

/// Collects records of one writer schema into a batch.
///
/// After an error the columns may have taken in a part of the record: the decoder refuses to go on.
#[derive(Debug)]
pub struct RecordDecoder {
    schema: SchemaRef,
    names: Vec<String>,
    fields: Vec<FieldDecoder>,
    rows: usize,
    encoded_bytes: u64,
    failed: bool,
}

/// What becomes of a field's values.
#[derive(Debug)]
enum FieldDecoder {
    Column(ColumnDecoder),
    Skipped(AvroType),
}

impl RecordDecoder {
    /// A decoder for records written with this schema (Avro JSON).
    ///
    /// # Errors
    /// See [`AvroSchema::parse`].
    pub fn try_new(avro_json: &str) -> Result<Self> {
        Self::projected(avro_json, |_| true)
    }

    /// The same for some of the columns, by name. The bytes of the others are passed over, and not looked into.
    ///
    /// # Errors
    /// See [`AvroSchema::parse`].
    pub fn projected(avro_json: &str, is_wanted: impl Fn(&str) -> bool) -> Result<Self> {
        let schema = AvroSchema::parse(avro_json)?;
        let (mut names, mut fields, mut wanted) = (Vec::new(), Vec::new(), Vec::new());
        for (position, field) in schema.record.fields.iter().enumerate() {
            names.push(field.name.clone());
            fields.push(if is_wanted(&field.name) {
                wanted.push(position);
                FieldDecoder::Column(ColumnDecoder::new(&field.data_type))
            } else {
                FieldDecoder::Skipped(field.data_type.clone())
            });
        }
        Ok(Self {
            schema: Arc::new(arrow_schema(&schema).project(&wanted)?),
            names,
            fields,
            rows: 0,
            encoded_bytes: 0,
            failed: false,
        })
    }

    /// The columns of the batches.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Records since the last [`RecordDecoder::finish`].
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Their length in Avro form: a measure of what the columns hold.
    pub fn encoded_bytes(&self) -> u64 {
        self.encoded_bytes
    }

    /// Takes in one record; the bytes must hold exactly one.
    ///
    /// # Errors
    /// `Corrupt` when they do not, naming the column and the offset.
    pub fn decode(&mut self, record: &[u8]) -> Result<()> {
        if self.failed {
            return Err(Error::internal(
                "avro data: a decoder was used after it had failed",
            ));
        }
        // Holds until the record is in.
        self.failed = true;
        let mut cursor = Cursor::new(record);
        for (field, name) in self.fields.iter_mut().zip(&self.names) {
            let decoded = match field {
                FieldDecoder::Column(column) => column.decode(&mut cursor),
                FieldDecoder::Skipped(data_type) => skip(data_type, &mut cursor),
            };
            decoded.map_err(|error| Error::from(error).context(format!("column `{name}`")))?;
        }
        cursor.finish()?;
        self.failed = false;
        self.rows += 1;
        self.encoded_bytes += record.len() as u64;
        Ok(())
    }

    /// The records so far as a batch; the decoder starts anew.
    ///
    /// # Errors
    /// `Internal` when the columns do not fit each other, or after a failure.
    pub fn finish(&mut self) -> Result<RecordBatch> {
        if self.failed {
            return Err(Error::internal(
                "avro data: a decoder was used after it had failed",
            ));
        }
        let columns = self.fields.iter_mut().filter_map(|field| match field {
            FieldDecoder::Column(column) => Some(column.finish()),
            FieldDecoder::Skipped(_) => None,
        });
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(self.rows));
        self.rows = 0;
        self.encoded_bytes = 0;
        Ok(RecordBatch::try_new_with_options(
            Arc::clone(&self.schema),
            columns,
            &options,
        )?)
    }
}
