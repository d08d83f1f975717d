//! Collects the rows of one table until a batch is due.

use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::SchemaRef;
use table_format::record::{RowKind, WriteBatch};

use super::DecodeError;
use super::binary_row::{BinaryColumn, split_row};
use super::column_builder::ColumnBuilder;
use super::origin::{RowOrigin, RowOrigins, with_origin_columns};
use crate::error::{Error, ErrorKind, Result};
use crate::schema::SourceTable;
use crate::source::mysql::result_set::ResultColumn;

/// Builds [`WriteBatch`]es of one source table.
///
/// Result rows and row images of the same row give the same values, whichever way they came. After an error the rows
/// collected so far are not usable: the builder must be dropped.
pub struct BatchBuilder {
    table: Arc<SourceTable>,
    schema: SchemaRef,
    result_row: Vec<BinaryColumn>,
    columns: Vec<ColumnBuilder>,
    kinds: Vec<RowKind>,
    scratch: String,
    row_bytes: u64,
    bytes: u64,
    /// Where the rows come from, if that is asked for.
    origins: Option<RowOrigins>,
}

impl fmt::Debug for BatchBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let table = self.table.to_string();
        f.debug_struct("BatchBuilder")
            .field("table", &table)
            .field("rows", &self.rows())
            .finish_non_exhaustive()
    }
}

impl BatchBuilder {
    /// An empty builder for `table`.
    ///
    /// # Errors
    /// `Unsupported` for a column type that is not known.
    pub fn new(table: Arc<SourceTable>) -> Result<Self> {
        let schema = table.arrow_schema()?;
        let columns = schema
            .fields()
            .iter()
            .map(|field| ColumnBuilder::try_new(field.data_type()));
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let result_row = table
            .columns
            .iter()
            .map(|column| Ok(BinaryColumn::new(&column.mysql_type()?)));
        let result_row = result_row.collect::<Result<Vec<_>>>()?;
        let row_bytes = 1 + columns.iter().map(ColumnBuilder::fixed_bytes).sum::<u64>();
        let (kinds, scratch) = (Vec::new(), String::new());
        Ok(Self {
            table,
            schema,
            result_row,
            columns,
            kinds,
            scratch,
            row_bytes,
            bytes: 0,
            origins: None,
        })
    }

    /// The same; its batches tell where their rows come from, in columns behind those of the table.
    #[must_use]
    pub(crate) fn with_origins(mut self, is_wanted: bool) -> Self {
        if is_wanted {
            self.origins = Some(RowOrigins::default());
            self.row_bytes += RowOrigins::row_bytes(&self.table);
        }
        self
    }

    /// Says where the rows come from that were appended since the last call.
    pub(crate) fn note_origin(&mut self, origin: impl FnOnce() -> RowOrigin) {
        if let Some(origins) = &mut self.origins {
            origins.note(self.kinds.len(), origin());
        }
    }

    /// The table whose rows this takes.
    pub fn table(&self) -> &Arc<SourceTable> {
        &self.table
    }

    /// The schema of the batches.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Rows collected so far.
    pub fn rows(&self) -> usize {
        self.kinds.len()
    }

    /// What the rows collected so far take in memory, estimated from above.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Checks that a result set has this table's columns, in [`SourceTable::select_list`]'s order.
    ///
    /// # Errors
    /// `Conflict` when the table has been altered since its columns were looked at.
    pub fn check_result(&self, columns: &[ResultColumn]) -> Result<()> {
        let expected = self.table.columns.iter().zip(&self.result_row);
        let differs = expected
            .zip(columns)
            .find(|((_, kind), column)| !kind.accepts(column));
        let differs = match differs {
            Some(((column, _), _)) => column.name.as_str(),
            None if columns.len() != self.result_row.len() => "*",
            None => return Ok(()),
        };
        Err(Error::new(
            ErrorKind::Conflict,
            format!(
                "{}.{differs} was altered while the table is being read",
                self.table
            ),
        ))
    }

    /// Appends a row of a result set in the binary protocol, the columns as in [`SourceTable::select_list`]: a packet
    /// without its header of four bytes.
    ///
    /// # Errors
    /// `Corrupt` when the bytes are not such a row.
    pub fn append_binary_row(&mut self, packet: &[u8], kind: RowKind) -> Result<()> {
        let (nulls, mut reader) = split_row(packet, self.columns.len())?;
        for (index, (decoder, column)) in self.result_row.iter().zip(&mut self.columns).enumerate()
        {
            if nulls.is_null(index) {
                column.append_null();
            } else if let Err(error) = decoder.append(&mut reader, column, &mut self.scratch) {
                return Err(column_error(&self.table, index, error));
            }
        }
        if !reader.is_empty() {
            return Err(
                DecodeError::Invalid("a result row has more columns than its table").into(),
            );
        }
        self.finish_row(kind, packet.len());
        Ok(())
    }

    /// Where a decoder of row images puts its values, one per column, before it calls [`Self::finish_row`].
    pub(crate) fn columns_mut(&mut self) -> (&mut [ColumnBuilder], &mut String) {
        (&mut self.columns, &mut self.scratch)
    }

    /// Notes a row whose values have been appended; `image_bytes` is its size in the source.
    #[inline]
    pub(crate) fn finish_row(&mut self, kind: RowKind, image_bytes: usize) {
        self.kinds.push(kind);
        self.bytes += self.row_bytes + image_bytes as u64;
    }

    /// Hands over the rows collected so far and starts anew.
    ///
    /// # Errors
    /// `Invalid` when a key column holds null, as zero dates do; `Internal` when rows were left half appended.
    pub fn finish(&mut self) -> Result<WriteBatch> {
        let mut arrays: Vec<_> = self.columns.iter_mut().map(ColumnBuilder::finish).collect();
        let kinds = std::mem::take(&mut self.kinds);
        self.bytes = 0;
        for (array, field) in arrays.iter().zip(self.schema.fields()) {
            if !field.is_nullable() && array.null_count() > 0 {
                return Err(Error::invalid(format!(
                    "{}: key column {} holds a zero or partial date, which the lake cannot key by",
                    self.table,
                    field.name()
                )));
            }
        }
        let mut schema = Arc::clone(&self.schema);
        if let Some(origins) = &mut self.origins {
            arrays.extend(origins.finish(&self.table, &kinds));
            schema = with_origin_columns(&schema);
        }
        let records = RecordBatch::try_new(schema, arrays)?;
        if records.num_rows() != kinds.len() {
            return Err(Error::internal(format!(
                "{}: a batch holds half a row",
                self.table
            )));
        }
        Ok(WriteBatch { records, kinds })
    }
}

/// The error of one column's value, with the names that lead to it.
#[cold]
pub(crate) fn column_error(table: &SourceTable, column: usize, error: DecodeError) -> Error {
    let name = table
        .columns
        .get(column)
        .map_or("?", |column| column.name.as_str());
    let advice = match error {
        DecodeError::InvalidText => "; mend the row in the source",
        _ => "",
    };
    let kind = Error::from(error).kind();
    let kind = if error == DecodeError::InvalidText {
        ErrorKind::Invalid
    } else {
        kind
    };
    Error::new(kind, format!("{table}.{name}: {error}{advice}")).with_source(error)
}

#[cfg(test)]
mod tests;
