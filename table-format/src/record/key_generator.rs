//! Record keys: the text by which Hudi tells rows apart, made from the key columns of a batch at once.
//!
//! Java: SimpleKeyGenerator, NonpartitionedKeyGenerator, ComplexKeyGenerator.

use arrow::array::{RecordBatch, StringArray};
use arrow::buffer::{Buffer, OffsetBuffer, ScalarBuffer};

use crate::error::{Error, Result};
use crate::record::text::CellText;
pub(crate) use crate::record::text::push_padded;

const NULL_PART: &str = "__null__";
const EMPTY_PART: &str = "__empty__";

/// Makes the record key of every row of a batch.
#[derive(Debug, Clone)]
pub struct KeyGenerator {
    fields: Vec<String>,
    with_names: bool,
}

impl KeyGenerator {
    /// A generator over `fields`. One field gives the bare value, several give `f1:v1,f2:v2`.
    ///
    /// # Errors
    /// `Invalid` when `fields` is empty.
    pub fn try_new(fields: &[String]) -> Result<Self> {
        Self::build(fields, fields.len() > 1)
    }

    /// A generator that writes `field:value` for a single field too, as version 9 does under a COMPLEX generator.
    ///
    /// # Errors
    /// `Invalid` when `fields` is empty.
    pub fn try_new_complex(fields: &[String]) -> Result<Self> {
        Self::build(fields, true)
    }

    fn build(fields: &[String], with_names: bool) -> Result<Self> {
        if fields.is_empty() {
            return Err(Error::invalid(
                "the table names no record key; set hoodie.table.recordkey.fields",
            ));
        }
        Ok(Self {
            fields: fields.to_vec(),
            with_names,
        })
    }

    /// The key columns, in order.
    pub fn fields(&self) -> &[String] {
        &self.fields
    }

    /// The keys of all rows.
    ///
    /// # Errors
    /// `Invalid` when a key column is missing, or a key is null or empty as a whole; `Unsupported` for a type that cannot
    /// be a key.
    pub fn keys(&self, batch: &RecordBatch) -> Result<StringArray> {
        let columns = self
            .fields
            .iter()
            .map(|name| {
                let column = batch.column_by_name(name).ok_or_else(|| {
                    Error::invalid(format!("record key column `{name}` is not in the batch"))
                })?;
                CellText::try_new(name, column)
            })
            .collect::<Result<Vec<_>>>()?;
        match columns.as_slice() {
            [column] if !self.with_names => self.simple_keys(column, batch.num_rows()),
            _ => self.complex_keys(&columns, batch.num_rows()),
        }
    }

    fn simple_keys(&self, column: &CellText<'_>, rows: usize) -> Result<StringArray> {
        let mut keys = TextColumn::with_capacity(rows, 12);
        let has_nulls = column.has_nulls();
        for row in 0..rows {
            let start = keys.text.len();
            if !(has_nulls && column.is_null(row)) {
                column.append(row, &mut keys.text);
            }
            if keys.text.len() == start {
                return Err(Error::invalid(format!(
                    "record key column `{}` is null or empty in row {row} of the batch",
                    self.fields[0]
                )));
            }
            keys.end_row()?;
        }
        keys.finish()
    }

    fn complex_keys(&self, columns: &[CellText<'_>], rows: usize) -> Result<StringArray> {
        let mut keys = TextColumn::with_capacity(rows, 24 * columns.len());
        for row in 0..rows {
            let mut has_value = false;
            for (part, (field, column)) in self.fields.iter().zip(columns).enumerate() {
                if part > 0 {
                    keys.text.push(',');
                }
                keys.text.push_str(field);
                keys.text.push(':');
                if column.is_null(row) {
                    keys.text.push_str(NULL_PART);
                    continue;
                }
                let start = keys.text.len();
                column.append(row, &mut keys.text);
                if keys.text.len() == start {
                    keys.text.push_str(EMPTY_PART);
                } else {
                    has_value = true;
                }
            }
            if !has_value {
                return Err(Error::invalid(format!(
                    "all record key columns ({}) are null or empty in row {row} of the batch",
                    self.fields.join(", ")
                )));
            }
            keys.end_row()?;
        }
        keys.finish()
    }
}

/// A string column under construction in one buffer.
#[derive(Debug)]
pub(crate) struct TextColumn {
    /// The text of the row under way; [`TextColumn::end_row`] closes it.
    pub(crate) text: String,
    offsets: Vec<i32>,
}

impl TextColumn {
    /// Room for `rows` rows of about `row_bytes` bytes.
    pub(crate) fn with_capacity(rows: usize, row_bytes: usize) -> Self {
        let mut offsets = Vec::with_capacity(rows + 1);
        offsets.push(0);
        Self {
            text: String::with_capacity(rows * row_bytes),
            offsets,
        }
    }

    /// Ends the current row.
    pub(crate) fn end_row(&mut self) -> Result<()> {
        let end = i32::try_from(self.text.len()).map_err(|_| {
            Error::invalid("the text of one batch exceeds 2 GiB; write smaller batches")
        })?;
        self.offsets.push(end);
        Ok(())
    }

    /// The finished column, without nulls.
    pub(crate) fn finish(self) -> Result<StringArray> {
        let offsets = OffsetBuffer::new(ScalarBuffer::from(self.offsets));
        Ok(StringArray::try_new(
            offsets,
            Buffer::from_vec(self.text.into_bytes()),
            None,
        )?)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array};

    use super::*;
    use crate::error::ErrorKind;

    fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
        RecordBatch::try_from_iter_with_nullable(
            columns.into_iter().map(|(name, array)| (name, array, true)),
        )
        .unwrap()
    }

    fn generator(fields: &[&str]) -> KeyGenerator {
        KeyGenerator::try_new(&fields.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn hazard_23_one_field_gives_the_bare_value_unless_complex_is_asked_for() {
        let batch = batch(vec![("id", Arc::new(Int64Array::from(vec![5, -70])))]);
        let keys = generator(&["id"]).keys(&batch).unwrap();
        assert_eq!(keys, StringArray::from(vec!["5", "-70"]));
        let complex = KeyGenerator::try_new_complex(&["id".to_owned()]).unwrap();
        assert_eq!(
            complex.keys(&batch).unwrap(),
            StringArray::from(vec!["id:5", "id:-70"])
        );
    }

    #[test]
    fn several_fields_name_their_values() {
        let batch = batch(vec![
            (
                "i",
                Arc::new(Int64Array::from(vec![Some(5), None, Some(1)])),
            ),
            (
                "s",
                Arc::new(StringArray::from(vec![None, Some("x"), Some("")])),
            ),
        ]);
        assert_eq!(
            generator(&["i", "s"]).keys(&batch).unwrap(),
            StringArray::from(vec!["i:5,s:__null__", "i:__null__,s:x", "i:1,s:__empty__"])
        );
    }

    #[test]
    fn keys_without_any_value_are_refused() {
        let nulls = batch(vec![
            ("i", Arc::new(Int64Array::from(vec![None]))),
            ("s", Arc::new(StringArray::from(vec![""]))),
        ]);
        for fields in [&["i"][..], &["s"], &["i", "s"], &["absent"]] {
            assert_eq!(
                generator(fields).keys(&nulls).unwrap_err().kind(),
                ErrorKind::Invalid
            );
        }
    }
}
