//! Formats of one line a row: JSON objects and CSV.

use std::io::Write;

use anyhow::Result;
use arrow::array::{Array, RecordBatch};
use arrow::datatypes::SchemaRef;

use super::cell::{Encoder, Style, encoder};
use super::{Sink, Target};

/// One JSON object a line, keys in schema order.
pub(super) struct Json {
    target: Target,
    /// What stands before each value: the comma, the key, the colon.
    keys: Vec<Vec<u8>>,
    line: Vec<u8>,
}

impl Json {
    pub(super) fn new(target: Target, schema: &SchemaRef) -> Result<Self> {
        let mut keys = Vec::with_capacity(schema.fields().len());
        for (position, field) in schema.fields().iter().enumerate() {
            let mut key = vec![if position == 0 { b'{' } else { b',' }];
            serde_json::to_writer(&mut key, field.name())?;
            key.push(b':');
            keys.push(key);
        }
        Ok(Self { target, keys, line: Vec::new() })
    }
}

impl Sink for Json {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let cells = encoders(batch, Style::Json)?;
        for row in 0..batch.num_rows() {
            self.line.clear();
            for (key, cell) in self.keys.iter().zip(&cells) {
                self.line.extend_from_slice(key);
                cell(row, &mut self.line);
            }
            self.line.extend_from_slice(if cells.is_empty() { b"{}\n" } else { b"}\n" });
            self.target.write_all(&self.line)?;
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        Ok(self.target.flush()?)
    }
}

/// A header, then a line a row; null is an empty field, empty text is `""`.
pub(super) struct Csv {
    target: Target,
    line: Vec<u8>,
    field: Vec<u8>,
}

impl Csv {
    pub(super) fn start(target: Target, schema: &SchemaRef) -> Result<Self> {
        let mut csv = Self { target, line: Vec::new(), field: Vec::new() };
        for (position, field) in schema.fields().iter().enumerate() {
            csv.push(position, field.name().as_bytes());
        }
        csv.end_line()?;
        Ok(csv)
    }

    fn push(&mut self, position: usize, field: &[u8]) {
        if position > 0 {
            self.line.push(b',');
        }
        let needs_quotes = field.is_empty() || field.iter().any(|byte| matches!(byte, b',' | b'"' | b'\n' | b'\r'));
        if !needs_quotes {
            self.line.extend_from_slice(field);
            return;
        }
        self.line.push(b'"');
        for byte in field {
            if *byte == b'"' {
                self.line.push(b'"');
            }
            self.line.push(*byte);
        }
        self.line.push(b'"');
    }

    fn end_line(&mut self) -> Result<()> {
        self.line.push(b'\n');
        self.target.write_all(&self.line)?;
        self.line.clear();
        Ok(())
    }
}

impl Sink for Csv {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let cells = encoders(batch, Style::Plain)?;
        let nulls: Vec<_> = batch.columns().iter().map(|column| column.logical_nulls()).collect();
        for row in 0..batch.num_rows() {
            for (position, (cell, nulls)) in cells.iter().zip(&nulls).enumerate() {
                if nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
                    if position > 0 {
                        self.line.push(b',');
                    }
                    continue;
                }
                let mut field = std::mem::take(&mut self.field);
                field.clear();
                cell(row, &mut field);
                self.push(position, &field);
                self.field = field;
            }
            self.end_line()?;
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        Ok(self.target.flush()?)
    }
}

fn encoders(batch: &RecordBatch, style: Style) -> Result<Vec<Encoder>> {
    batch.columns().iter().map(|column| encoder(column.as_ref(), style)).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use arrow::array::{ArrayRef, Int64Array, StringArray};

    use super::*;

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn rows() -> RecordBatch {
        RecordBatch::try_from_iter([
            ("id", Arc::new(Int64Array::from(vec![Some(1), None])) as ArrayRef),
            ("na\"me", Arc::new(StringArray::from(vec!["a,\"b\"\n", ""]))),
        ])
        .unwrap()
    }

    #[test]
    fn json_escapes_names_and_values() {
        let out = Shared::default();
        let mut json = Json::new(Box::new(out.clone()), &rows().schema()).unwrap();
        json.write(&rows()).unwrap();
        let expected = "{\"id\":1,\"na\\\"me\":\"a,\\\"b\\\"\\n\"}\n{\"id\":null,\"na\\\"me\":\"\"}\n";
        assert_eq!(String::from_utf8(out.0.lock().unwrap().clone()).unwrap(), expected);
    }

    #[test]
    fn csv_tells_null_from_empty_text() {
        let out = Shared::default();
        let mut csv = Csv::start(Box::new(out.clone()), &rows().schema()).unwrap();
        csv.write(&rows()).unwrap();
        let expected = "id,\"na\"\"me\"\n1,\"a,\"\"b\"\"\n\"\n,\"\"\n";
        assert_eq!(String::from_utf8(out.0.lock().unwrap().clone()).unwrap(), expected);
    }
}
