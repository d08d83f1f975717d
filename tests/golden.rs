//! Tables that Apache Hudi wrote: `lakebed query` gives the answers that Hudi on Spark gave, row for row.
//!
//! `golden/catalogue.json` lists the tables and the queries; each archive holds a table and the expected rows. Where we
//! differ on purpose, [`DEVIATIONS`] says how, and `golden/README.md` why.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;
use serde_json::{Map, Value};
use tempfile::TempDir;

use super::support::{interpreter, lakebed, root};

/// Kinds of tables that we read otherwise than Spark: `(kind, query or "" for all, column that differs)`.
const DEVIATIONS: [(&str, &str, &str); 4] = [
    ("null_partition", "", "part"),
    ("timestamp_keygen", "", "ts"),
    ("url_encoded", "incremental", "part"),
    ("url_encoded_hive", "incremental", "part"),
];

#[derive(Debug, Deserialize)]
pub(crate) struct GoldenTable {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) version: u32,
    queries: Vec<GoldenQuery>,
}

#[derive(Debug, Deserialize)]
struct GoldenQuery {
    query: String,
    file: String,
    as_of: Option<String>,
    begin: Option<String>,
    end: Option<String>,
}

impl GoldenQuery {
    fn words(&self) -> Vec<&str> {
        let mut words = Vec::new();
        match self.query.as_str() {
            "read_optimized" => words.push("--read-optimized"),
            "incremental" => {
                words.extend(["--since", self.begin.as_deref().unwrap_or("earliest")]);
                words.extend(self.end.iter().flat_map(|end| ["--until", end.as_str()]));
            }
            "cdc" => words.extend(["--since", "earliest", "--changes"]),
            _ => words.extend(
                self.as_of
                    .iter()
                    .flat_map(|time| ["--as-of", time.as_str()]),
            ),
        }
        words
    }
}

fn golden() -> PathBuf {
    root().join("tests/golden")
}

/// The tables in `golden/`.
pub(crate) fn catalogue() -> Vec<GoldenTable> {
    let catalogue = std::fs::read_to_string(golden().join("catalogue.json")).unwrap();
    serde_json::from_str(&catalogue).unwrap()
}

/// A copy of a table and of the answers to queries of it; the table is in `table`.
pub(crate) fn unpack(table: &GoldenTable) -> TempDir {
    unpack_from(&golden(), table)
}

fn unpack_from(archives: &Path, table: &GoldenTable) -> TempDir {
    let dir = TempDir::new().unwrap();
    let archive = archives.join(format!("{}.tar.gz", table.name));
    let mut command = Command::new("tar");
    command.arg("xzpf").arg(&archive).arg("-C").arg(dir.path());
    let unpacked = command.status().unwrap();
    assert!(unpacked.success(), "cannot unpack {}", archive.display());
    dir
}

/// A change as Spark shows it: other names, and images with the meta columns where they are taken from base and log files.
fn as_change(row: Map<String, Value>) -> Map<String, Value> {
    let renamed = row.into_iter().map(|(name, mut value)| {
        if let Value::Object(image) = &mut value {
            // Spark leaves nulls out of the text of an image.
            image.retain(|column, value| !column.starts_with("_hoodie_") && !value.is_null());
        }
        let name = match name.as_str() {
            "op" => "_change_operation".to_owned(),
            "ts_ms" => "_change_instant".to_owned(),
            _ => name,
        };
        (name, value)
    });
    renamed.collect()
}

/// Rows as a multiset, each without the columns that differ on purpose.
fn multiset(lines: &str, without: &[&str]) -> BTreeMap<String, usize> {
    let mut rows = BTreeMap::new();
    for line in lines.lines() {
        let mut row: Map<String, Value> = as_change(serde_json::from_str(line).unwrap());
        for column in without {
            row.remove(*column);
        }
        let sorted: BTreeMap<String, Value> = row.into_iter().collect();
        *rows
            .entry(serde_json::to_string(&sorted).unwrap())
            .or_default() += 1;
    }
    rows
}

/// What is wrong with the answer to one query, if anything.
fn difference(dir: &Path, table: &GoldenTable, query: &GoldenQuery) -> Option<String> {
    let path = dir.join("table");
    let words = [
        &[
            "query",
            "-t",
            path.to_str().unwrap(),
            "--meta",
            "--format",
            "json",
        ],
        &query.words()[..],
    ];
    let answer = lakebed(&words.concat());
    if !answer.status.success() {
        return Some(answer.stderr);
    }
    let without: Vec<&str> = DEVIATIONS
        .iter()
        .filter(|(kind, of, _)| *kind == table.kind && (of.is_empty() || *of == query.query))
        .map(|(_, _, column)| *column)
        .collect();
    let expected = std::fs::read_to_string(dir.join(&query.file)).unwrap();
    let (ours, hudis) = (
        multiset(&answer.stdout, &without),
        multiset(&expected, &without),
    );
    let first_not_in = |left: &BTreeMap<String, usize>, right: &BTreeMap<String, usize>| {
        left.iter()
            .find(|(row, count)| right.get(*row) != Some(count))
            .map(|(row, _)| row.clone())
    };
    (ours != hudis).then(|| {
        format!(
            "only ours: {:?}; only Hudi's: {:?}",
            first_not_in(&ours, &hudis),
            first_not_in(&hudis, &ours)
        )
    })
}

/// Compares every answer for the tables whose name starts with `prefix`; returns how many.
fn compare(prefix: &str) -> usize {
    let mut tables = catalogue();
    tables.retain(|table| table.name.starts_with(prefix));
    compare_all(&golden(), &tables)
}

fn compare_all(archives: &Path, tables: &[GoldenTable]) -> usize {
    let (mut compared, mut failures) = (0, Vec::new());
    for table in tables {
        let dir = unpack_from(archives, table);
        for query in &table.queries {
            compared += 1;
            if let Some(difference) = difference(dir.path(), table, query) {
                failures.push(format!("{} {query:?}: {difference}", table.name));
            }
        }
    }
    assert!(
        failures.is_empty(),
        "{} of {compared} answers differ:\n{}",
        failures.len(),
        failures.join("\n")
    );
    compared
}

#[test]
fn tables_of_version_6_read_as_hudi_reads_them() {
    assert!(compare("v6_") > 100);
}

#[test]
fn tables_of_version_8_read_as_hudi_reads_them() {
    assert!(compare("v8_") > 80);
}

#[test]
fn tables_of_version_9_read_as_hudi_reads_them() {
    assert!(compare("v9_") > 300);
}

/// `LAKEBED_HISTORIES="17 18"` takes other seeds.
#[test]
#[ignore = "needs Apache Hudi on Spark: make test-interop"]
fn random_histories_read_as_hudi_reads_them() {
    #[derive(Deserialize)]
    struct Catalogue {
        tables: Vec<GoldenTable>,
        failed: BTreeMap<String, String>,
    }
    let seeds = std::env::var("LAKEBED_HISTORIES").unwrap_or_else(|_| "3 6 9 14 16 19".to_owned());
    let made = TempDir::new().unwrap();
    let mut command = interpreter("scripts/setup interop");
    command
        .arg("histories.py")
        .arg(made.path())
        .args(seeds.split_whitespace());
    let output = command.output().unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{log}");
    let catalogue = std::fs::read_to_string(made.path().join("catalogue.json")).unwrap();
    let catalogue: Catalogue = serde_json::from_str(&catalogue).unwrap();
    assert!(catalogue.failed.is_empty(), "{:?}", catalogue.failed);
    assert_eq!(catalogue.tables.len(), seeds.split_whitespace().count());
    let compared = compare_all(made.path(), &catalogue.tables);
    assert!(compared >= catalogue.tables.len());
}
