//! Arrow rows to Avro records.
//!
//! The encoder pairs columns and fields once, is bound to a batch once (each array downcast to its own type), and then
//! writes rows without looking anything up and without allocating.

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;

use super::column_encoder::ColumnEncoder;
use super::schema::AvroSchema;
use crate::error::{Error, Result};

/// Writes rows of one Arrow schema under one Avro schema; fields are paired by name.
#[derive(Debug, Clone)]
pub struct RecordEncoder {
    schema: AvroSchema,
    /// The column of each field.
    columns: Vec<usize>,
}

impl RecordEncoder {
    /// An encoder for batches of `schema` under the Avro JSON of the writer.
    ///
    /// # Errors
    /// See [`AvroSchema::parse`]; `Invalid` when a field has no column, or a column no field (its values would be lost).
    pub fn try_new(schema: &Schema, avro_json: &str) -> Result<Self> {
        let avro = AvroSchema::parse(avro_json)?;
        let fields = &avro.record.fields;
        let column = |name: &str| {
            schema.index_of(name).map_err(|_| {
                Error::invalid(format!(
                    "column `{name}` of the avro schema is missing in the rows"
                ))
            })
        };
        let columns = fields
            .iter()
            .map(|field| column(&field.name))
            .collect::<Result<Vec<_>>>()?;
        let homeless = schema.fields().iter().find(|column| {
            let name = column.name();
            !fields.iter().any(|field| field.name == *name)
        });
        if let Some(column) = homeless {
            let name = column.name();
            return Err(Error::invalid(format!(
                "column `{name}` is not in the avro schema"
            )));
        }
        Ok(Self {
            schema: avro,
            columns,
        })
    }

    /// Takes hold of the columns of a batch, which must have the schema of the encoder.
    ///
    /// # Errors
    /// `Invalid` when a column's type is not that of its field, naming the column and both types.
    pub fn bind(&self, batch: &RecordBatch) -> Result<BoundEncoder> {
        let pairs = self.schema.record.fields.iter().zip(&self.columns);
        let columns = pairs.map(|(field, index)| {
            let array = batch.columns().get(*index);
            let array = array.ok_or_else(|| {
                Error::invalid(format!("column `{}` is missing in the batch", field.name))
            })?;
            let encoder = ColumnEncoder::try_new(array, &field.data_type, &field.name)?;
            Ok((field.name.clone(), encoder))
        });
        Ok(BoundEncoder {
            columns: columns.collect::<Result<Vec<_>>>()?,
            rows: batch.num_rows(),
        })
    }
}

/// The columns of one batch, ready to be written row by row.
#[derive(Debug)]
pub struct BoundEncoder {
    columns: Vec<(String, ColumnEncoder)>,
    rows: usize,
}

impl BoundEncoder {
    /// Appends one row to `out`. After an error `out` holds a part of the row.
    ///
    /// # Errors
    /// `Invalid` for a null in a field that is not nullable or a value that does not fit its field, naming the column.
    pub fn encode(&self, row: usize, out: &mut Vec<u8>) -> Result<()> {
        if row >= self.rows {
            return Err(Error::internal(format!(
                "row {row} of a batch of {}",
                self.rows
            )));
        }
        for (name, column) in &self.columns {
            column.encode(row, out).map_err(|error| {
                Error::invalid(format!("column `{name}`, row {row}: {error}")).with_source(error)
            })?;
        }
        Ok(())
    }
}
