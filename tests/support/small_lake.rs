//! A lake of small tables that `lakebed table write` makes of JSON rows.

use std::path::PathBuf;

use serde_json::Value;
use tempfile::TempDir;

use super::lakebed;

/// A directory with tables; gone when dropped.
#[derive(Debug)]
pub(crate) struct SmallLake(TempDir);

impl SmallLake {
    /// An empty one.
    pub(crate) fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    /// Where a table or file lies.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The same as text; the lake itself for an empty name.
    pub(crate) fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// Writes rows in one instant, which is returned.
    pub(crate) fn write(&self, table: &str, op: &str, rows: &[Value], words: &[&str]) -> String {
        let rows: String = rows.iter().map(|row| format!("{row}\n")).collect();
        let input = TempDir::new().unwrap();
        let file = input.path().join("rows.json");
        std::fs::write(&file, rows).unwrap();
        let (table, file) = (self.text(table), file.to_str().unwrap());
        let write = ["table", "write", &table, "--op", op, "--input", file];
        let instant = lakebed(&[&write, words].concat()).success();
        instant.trim().to_owned()
    }

    /// The JSON objects that `lakebed query` prints, with the whole lake known.
    pub(crate) fn query(&self, sql: &str) -> Vec<Value> {
        let lake = self.text("");
        objects(&lakebed(&["query", sql, "--lake", &lake, "--format", "json"]).success())
    }

    /// The JSON objects that `lakebed table COMMAND PATH --json` prints.
    pub(crate) fn inspect(&self, command: &str, table: &str, words: &[&str]) -> Vec<Value> {
        let inspect = ["table", command, &self.text(table)].map(str::to_owned);
        let inspect: Vec<&str> = inspect.iter().map(String::as_str).collect();
        objects(&lakebed(&[&inspect, words, &["--json"]].concat()).success())
    }
}

/// One JSON value a line.
pub(crate) fn objects(lines: &str) -> Vec<Value> {
    lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}
