//! Aligned columns for people. The only format that holds its rows, to know their widths; the caller limits them.

use std::io::Write;

use anyhow::Result;
use arrow::array::{Array, RecordBatch};
use arrow::datatypes::SchemaRef;

use super::cell::{Style, encoder};
use super::grid::grid;
use super::{Sink, Target};

/// Longer cells are cut.
const CELL_CHARS_MAX: usize = 60;

pub(super) struct TextTable {
    target: Target,
    header: Vec<String>,
    rows: Vec<Vec<String>>,
    is_right: Vec<bool>,
}

impl TextTable {
    pub(super) fn new(target: Target, schema: &SchemaRef) -> Self {
        let fields = schema.fields().iter();
        Self {
            target,
            header: fields.clone().map(|field| shorten(field.name())).collect(),
            rows: Vec::new(),
            is_right: fields.map(|field| field.data_type().is_numeric()).collect(),
        }
    }
}

impl Sink for TextTable {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let mut columns = Vec::with_capacity(batch.num_columns());
        for column in batch.columns() {
            columns.push((
                encoder(column.as_ref(), Style::Plain)?,
                column.logical_nulls(),
            ));
        }
        let mut bytes = Vec::new();
        for row in 0..batch.num_rows() {
            let cells = columns.iter().map(|(encode, nulls)| {
                if nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
                    return "NULL".to_owned();
                }
                bytes.clear();
                encode(row, &mut bytes);
                shorten(&String::from_utf8_lossy(&bytes))
            });
            let cells = cells.collect();
            self.rows.push(cells);
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        let header: Vec<&str> = self.header.iter().map(String::as_str).collect();
        for line in grid(&header, &self.is_right, &self.rows) {
            writeln!(self.target, "{line}")?;
        }
        Ok(self.target.flush()?)
    }
}

/// One line of at most [`CELL_CHARS_MAX`] characters.
fn shorten(text: &str) -> String {
    let mut short: String = text
        .chars()
        .take(CELL_CHARS_MAX)
        .map(|character| {
            if character.is_control() {
                ' '
            } else {
                character
            }
        })
        .collect();
    if text.chars().nth(CELL_CHARS_MAX).is_some() {
        short.pop();
        short.push('…');
    }
    short
}
