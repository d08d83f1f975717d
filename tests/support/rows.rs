//! Rows of the source and of the lake in one spelling, and their comparison.

use std::path::Path;

use serde_json::{Map, Value};

use super::columns::{Column, columns_of, select_as_json};
use super::database::Database;
use super::lakebed::query;

/// The rows of a table as sorted JSON lines; doubled rows stay doubled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rows(pub(crate) Vec<String>);

/// What the source holds.
pub(crate) fn source_rows(database: &Database, table: &str) -> Rows {
    source_rows_where(database, table, "TRUE")
}

/// What the source holds, of the rows that meet an SQL condition.
pub(crate) fn source_rows_where(database: &Database, table: &str, condition: &str) -> Rows {
    let columns = columns_of(database, table);
    let output = database.sql(&select_as_json(table, &columns, condition));
    Rows::from_lines(output.lines(), &columns)
}

/// What `lakebed query` shows of a lake table, spelled like the source's rows; the columns have to be in the source's order.
pub(crate) fn lake_rows(database: &Database, source_table: &str, lake_table: &Path) -> Rows {
    let columns = columns_of(database, source_table);
    let lines = query(lake_table, &[]);
    if let Some(line) = lines.first() {
        let row: Map<String, Value> = serde_json::from_str(line).unwrap();
        let expected: Vec<_> = columns.iter().map(|column| &column.name).collect();
        assert_eq!(
            row.keys().collect::<Vec<_>>(),
            expected,
            "the columns of {source_table}"
        );
    }
    Rows::from_lines(lines.iter().map(String::as_str), &columns)
}

/// What some reader printed of a lake table, spelled like the source's rows.
pub(crate) fn rows_of_reader(database: &Database, source_table: &str, lines: &[String]) -> Rows {
    let columns = columns_of(database, source_table);
    Rows::from_lines(lines.iter().map(String::as_str), &columns)
}

/// Fails with the first rows that only one side has.
pub(crate) fn assert_same_rows(what: &str, source: &Rows, lake: &Rows) {
    if source == lake {
        return;
    }
    let (only_source, only_lake) = (source.without(lake), lake.without(source));
    let show = |rows: &[String]| {
        let shown: Vec<_> = rows
            .iter()
            .take(5)
            .map(|row| format!("    {row}\n"))
            .collect();
        format!("{} rows, of them\n{}", rows.len(), shown.concat())
    };
    panic!(
        "{what}: {} rows at the source, {} in the lake\n  only at the source: {}  only in the lake: {}",
        source.0.len(),
        lake.0.len(),
        show(&only_source),
        show(&only_lake)
    );
}

impl Rows {
    /// One spelling for equal rows: columns in the source's order, then those that the source does not have.
    fn from_lines<'a>(lines: impl Iterator<Item = &'a str>, columns: &[Column]) -> Self {
        let mut rows: Vec<String> = lines
            .map(|line| {
                let mut row: Map<String, Value> = serde_json::from_str(line)
                    .unwrap_or_else(|error| panic!("{error} in the row {line}"));
                let mut canonical = Map::new();
                for column in columns {
                    if let Some(value) = row.shift_remove(&column.name) {
                        canonical.insert(column.name.clone(), column.canonical(value));
                    }
                }
                canonical.append(&mut row);
                Value::Object(canonical).to_string()
            })
            .collect();
        rows.sort_unstable();
        Self(rows)
    }

    /// The rows that `other` lacks; both are sorted.
    fn without(&self, other: &Self) -> Vec<String> {
        let mut theirs = other.0.iter().peekable();
        let mut missing = Vec::new();
        for row in &self.0 {
            while theirs.next_if(|their| *their < row).is_some() {}
            if theirs.next_if(|their| *their == row).is_none() {
                missing.push(row.clone());
            }
        }
        missing
    }
}
