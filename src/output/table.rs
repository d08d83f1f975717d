//! Aligned columns for people. The only format that holds its rows, to know their widths; the caller limits them.

use std::io::Write;

use anyhow::Result;
use arrow::array::{Array, RecordBatch};
use arrow::datatypes::SchemaRef;

use super::cell::{Style, encoder};
use super::{Sink, Target};

/// Longer cells are cut.
const CELL_CHARS_MAX: usize = 60;

pub(super) struct TextTable {
    target: Target,
    rows: Vec<Vec<String>>,
    is_right: Vec<bool>,
}

impl TextTable {
    pub(super) fn new(target: Target, schema: &SchemaRef) -> Self {
        let header = schema.fields().iter().map(|field| shorten(field.name())).collect();
        let is_right = schema.fields().iter().map(|field| field.data_type().is_numeric()).collect();
        Self { target, rows: vec![header], is_right }
    }

    fn put_row(&mut self, row: &[String], widths: &[usize]) -> Result<()> {
        let mut line = String::new();
        for ((cell, width), is_right) in row.iter().zip(widths).zip(&self.is_right) {
            let padding = " ".repeat(width.saturating_sub(cell.chars().count()));
            if !line.is_empty() {
                line.push_str("  ");
            }
            if *is_right {
                line.push_str(&padding);
            }
            line.push_str(cell);
            if !is_right {
                line.push_str(&padding);
            }
        }
        writeln!(self.target, "{}", line.trim_end())?;
        Ok(())
    }
}

impl Sink for TextTable {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let mut columns = Vec::with_capacity(batch.num_columns());
        for column in batch.columns() {
            columns.push((encoder(column.as_ref(), Style::Plain)?, column.logical_nulls()));
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
        let mut widths = vec![0; self.is_right.len()];
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = cell.chars().count().max(*width);
            }
        }
        let rows = std::mem::take(&mut self.rows);
        for (position, row) in rows.iter().enumerate() {
            self.put_row(row, &widths)?;
            if position == 0 {
                let rules: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
                self.put_row(&rules, &widths)?;
            }
        }
        Ok(self.target.flush()?)
    }
}

/// One line of at most [`CELL_CHARS_MAX`] characters.
fn shorten(text: &str) -> String {
    let mut short: String = text
        .chars()
        .take(CELL_CHARS_MAX)
        .map(|character| if character.is_control() { ' ' } else { character })
        .collect();
    if text.chars().nth(CELL_CHARS_MAX).is_some() {
        short.pop();
        short.push('…');
    }
    short
}
