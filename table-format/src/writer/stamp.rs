//! The five meta columns of rows that are written for the first time or changed.
//!
//! Spec: Hudi 1.2.0, "Meta columns"; Java: HoodieRecord#generateSequenceId.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::SchemaRef;

use crate::error::{Error, Result};
use crate::record::key_generator::{TextColumn, push_padded};
use crate::timeline::InstantTime;

/// Digits of each number in a sequence number.
const SEQUENCE_DIGITS: usize = 10;

/// What the meta columns of one file's new rows have in common.
#[derive(Debug, Clone)]
pub(crate) struct MetaStamp {
    /// The write that changes the rows.
    pub(crate) instant: InstantTime,
    /// Distinguishes sequence numbers of writers that work side by side.
    pub(crate) task: u64,
    /// Relative path of the partition.
    pub(crate) partition_path: String,
    /// Base files: their whole name; log files: the file id.
    pub(crate) file_name: String,
}

impl MetaStamp {
    /// `batch` behind its meta columns, as `schema` names them; rows are numbered from `first_row`.
    pub(crate) fn apply(
        &self,
        batch: &RecordBatch,
        keys: &StringArray,
        first_row: u64,
        schema: &SchemaRef,
    ) -> Result<RecordBatch> {
        let rows = batch.num_rows();
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(batch.num_columns() + 5);
        columns.push(Arc::new(constant_column(self.instant.as_str(), rows)?));
        columns.push(Arc::new(self.sequence_numbers(first_row, rows)?));
        columns.push(Arc::new(keys.clone()));
        columns.push(Arc::new(constant_column(&self.partition_path, rows)?));
        columns.push(Arc::new(constant_column(&self.file_name, rows)?));
        columns.extend(batch.columns().iter().map(Arc::clone));
        Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
    }

    /// Of fixed width, because hudi-rs takes the greatest as text for the newest.
    fn sequence_numbers(&self, first_row: u64, rows: usize) -> Result<StringArray> {
        let mut prefix = format!("{}_", self.instant);
        push_padded(&mut prefix, self.task, SEQUENCE_DIGITS);
        prefix.push('_');
        let mut numbers = TextColumn::with_capacity(rows, prefix.len() + SEQUENCE_DIGITS);
        for row in 0..rows as u64 {
            numbers.text.push_str(&prefix);
            push_padded(&mut numbers.text, first_row + row, SEQUENCE_DIGITS);
            numbers.end_row()?;
        }
        numbers.finish()
    }
}

/// A column of `rows` times `value`.
pub(crate) fn constant_column(value: &str, rows: usize) -> Result<StringArray> {
    let too_long = |_| Error::invalid("the text of one batch exceeds 2 GiB; write smaller batches");
    let rows_i32 = i32::try_from(rows).map_err(too_long)?;
    i32::try_from(value.len() * rows).map_err(too_long)?;
    let step = i32::try_from(value.len()).map_err(too_long)?;
    let offsets: Vec<i32> = (0..=rows_i32).map(|row| row * step).collect();
    let values = Buffer::from_vec(value.repeat(rows).into_bytes());
    Ok(StringArray::try_new(
        OffsetBuffer::new(ScalarBuffer::from(offsets)),
        values,
        None,
    )?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constant_columns_repeat_their_value() {
        assert_eq!(
            constant_column("ab", 3).unwrap(),
            StringArray::from(vec!["ab", "ab", "ab"])
        );
        assert_eq!(
            constant_column("", 2).unwrap(),
            StringArray::from(vec!["", ""])
        );
        assert_eq!(
            constant_column("x", 0).unwrap(),
            StringArray::from(Vec::<&str>::new())
        );
    }
}
