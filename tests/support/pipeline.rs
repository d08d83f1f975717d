//! A pipeline file in a directory of its own, with the lake beside it.

use std::fmt::Write;
use std::path::PathBuf;

use tempfile::TempDir;

use super::database::{Database, USER};

/// The name of the environment variable that pipeline files take the password from.
pub(crate) const PASSWORD_VARIABLE: &str = "LAKEBED_TEST_PASSWORD";

/// A pipeline file from the shop's database to a lake.
#[derive(Debug)]
pub(crate) struct Pipeline {
    directory: TempDir,
    keys: Vec<(&'static str, &'static str, String)>,
    tail: String,
}

impl Pipeline {
    /// A pipeline of the tables that match `tables`, with small chunks and frequent commits, so that a test sees many of both.
    pub(crate) fn new(database: &Database, table_type: &str, tables: &str) -> Self {
        Self::at_port(database.port, table_type, tables)
    }

    /// A pipeline whose server does not exist.
    pub(crate) fn unreachable() -> Self {
        Self::at_port(1, "mor", r"shop\.orders")
    }

    fn at_port(port: u16, table_type: &str, tables: &str) -> Self {
        let directory = TempDir::with_prefix("lakebed-lake-").unwrap();
        let lake = directory.path().join("lake").display().to_string();
        let keys = vec![
            ("pipeline", "name", "shop".to_owned()),
            ("source", "type", "mysql".to_owned()),
            ("source", "hostname", "127.0.0.1".to_owned()),
            ("source", "port", port.to_string()),
            ("source", "username", USER.to_owned()),
            ("source", "password", format!("${{{PASSWORD_VARIABLE}}}")),
            ("source", "tables", tables.to_owned()),
            ("source", "server-id", "5400-5403".to_owned()),
            (
                "source",
                "scan.incremental.snapshot.chunk.size",
                "1000".to_owned(),
            ),
            ("sink", "type", "hudi".to_owned()),
            ("sink", "path", lake),
            ("sink", "table.type", table_type.to_owned()),
            ("sink", "commit.interval", "300ms".to_owned()),
        ];
        let pipeline = Self {
            directory,
            keys,
            tail: String::new(),
        };
        pipeline.save();
        pipeline
    }

    /// Sets, adds or (with an empty value) removes a key of a block.
    pub(crate) fn with(mut self, block: &'static str, key: &'static str, value: &str) -> Self {
        self.keys.retain(|(b, k, _)| (*b, *k) != (block, key));
        if !value.is_empty() {
            self.keys.push((block, key, value.to_owned()));
        }
        self.save();
        self
    }

    /// Adds further blocks, as YAML.
    pub(crate) fn with_blocks(mut self, yaml: &str) -> Self {
        self.tail.push_str(yaml);
        self.save();
        self
    }

    /// The pipeline file.
    pub(crate) fn file(&self) -> PathBuf {
        self.directory.path().join("pipeline.yaml")
    }

    /// The lake's directory, or its URL.
    pub(crate) fn lake(&self) -> PathBuf {
        let path = self
            .keys
            .iter()
            .find(|(block, key, _)| (*block, *key) == ("sink", "path"));
        PathBuf::from(&path.unwrap().2)
    }

    /// The directory of a table, `database.table`, in the lake.
    pub(crate) fn table(&self, name: &str) -> PathBuf {
        let (database, table) = name.split_once('.').unwrap();
        self.lake().join(database).join(table)
    }

    fn save(&self) {
        let mut yaml = String::new();
        for block in ["pipeline", "source", "sink"] {
            writeln!(yaml, "{block}:").unwrap();
            for (_, key, value) in self.keys.iter().filter(|(b, _, _)| *b == block) {
                writeln!(yaml, "  {key}: {value}").unwrap();
            }
        }
        yaml.push_str(&self.tail);
        std::fs::write(self.file(), yaml).unwrap();
    }
}
