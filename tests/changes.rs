//! Change data: the changes that Hudi tells of its tables are told here too, and Spark tells those of ours.

use std::path::Path;

use arrow::array::RecordBatch;
use arrow::json::LineDelimitedWriter;
use futures::TryStreamExt;
use serde_json::{Map, Value, json};
use table_format::env::MemoryBudget;
use table_format::reader::ReadOptions;
use table_format::table::Table;
use tokio::runtime::Runtime;

use crate::golden::{catalogue, unpack};
use crate::support::{Spark, lakebed};

/// All changes of a table, as lines of JSON with the meta columns and nulls left out.
fn changes(table: &Path) -> Vec<String> {
    let batches: Vec<RecordBatch> = Runtime::new().unwrap().block_on(async {
        let table = Table::open(table.to_str().unwrap()).await.unwrap();
        let window = table.change_window(None, None).await.unwrap();
        let options = ReadOptions::new(MemoryBudget::new(64 << 20));
        let mut all = Vec::new();
        for position in 0..window.commits() {
            let commit = window.commit(position).await.unwrap();
            for group in &commit.groups {
                let batches = commit.read(group, &options).await.unwrap();
                all.extend(batches.try_collect::<Vec<_>>().await.unwrap());
            }
        }
        all
    });
    let mut writer = LineDelimitedWriter::new(Vec::new());
    writer
        .write_batches(&batches.iter().collect::<Vec<_>>())
        .unwrap();
    writer.finish().unwrap();
    let text = String::from_utf8(writer.into_inner()).unwrap();
    normalized(text.lines())
}

fn normalized<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut rows: Vec<String> = lines
        .map(|line| plain(serde_json::from_str(line).unwrap()).to_string())
        .collect();
    rows.sort();
    rows
}

/// Without meta columns and nulls. Spark gives images as text, and absent ones of logs as the word.
fn plain(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.into_iter().filter(|(name, value)| {
                !name.starts_with("_hoodie_") && !value.is_null() && *value != json!("null")
            });
            let fields: Map<String, Value> = fields
                .map(|(name, value)| match (name.as_str(), value) {
                    ("before" | "after", Value::String(image)) => {
                        (name, plain(serde_json::from_str(&image).unwrap()))
                    }
                    (_, value) => (name, plain(value)),
                })
                .collect();
            Value::Object(fields)
        }
        other => other,
    }
}

#[test]
fn hudis_change_data_is_told_as_hudi_tells_it() {
    let mut compared = 0;
    for table in catalogue() {
        let dir = unpack(&table);
        let Ok(expected) = std::fs::read_to_string(dir.path().join("expected/cdc.jsonl")) else {
            continue;
        };
        assert_eq!(
            changes(&dir.path().join("table")),
            normalized(expected.lines()),
            "{}",
            table.name
        );
        compared += 1;
    }
    assert!(compared >= 5, "{compared}");
}

/// Rows of one write, of which those with `"_hoodie_is_deleted": true` go.
fn write(dir: &Path, table: &Path, operation: &str, rows: &[Value]) {
    let input = dir.join("rows.json");
    let lines: Vec<String> = rows.iter().map(Value::to_string).collect();
    std::fs::write(&input, lines.join("\n")).unwrap();
    let (table, input) = (table.to_str().unwrap(), input.to_str().unwrap());
    lakebed(&["table", "write", table, "--input", input, "--op", operation]).success();
}

/// A table that logs changes, after upserts, deletes and an overwrite.
fn table_with_history(dir: &Path, kind: &str, mode: &str) -> std::path::PathBuf {
    let table = dir.join("t");
    let schema = dir.join("schema.avsc");
    let fields = json!({"type": "record", "name": "t", "fields": [
        {"name": "id", "type": "long"}, {"name": "name", "type": ["null", "string"], "default": null},
        {"name": "part", "type": ["null", "string"], "default": null}
    ]});
    std::fs::write(&schema, fields.to_string()).unwrap();
    let (table_text, schema) = (table.to_str().unwrap(), schema.to_str().unwrap());
    let create = [
        "table",
        "create",
        table_text,
        "--schema",
        schema,
        "--table-type",
        kind,
    ];
    let mode = format!("hoodie.table.cdc.supplemental.logging.mode={mode}");
    let more = [
        "--record-key",
        "id",
        "--partition-by",
        "part",
        "--set",
        "hoodie.table.cdc.enabled=true",
        "--set",
        &mode,
    ];
    lakebed(&[&create[..], &more].concat()).success();
    let row = |id: i64, version: i64| {
        let part = ["a", "b"][usize::try_from(id % 2).unwrap()];
        json!({"id": id, "name": format!("n{id} v{version}"), "part": part})
    };
    let rows = |ids: std::ops::Range<i64>, version: i64| {
        ids.map(|id| row(id, version)).collect::<Vec<_>>()
    };
    write(dir, &table, "upsert", &rows(0..10, 1));
    write(dir, &table, "upsert", &rows(5..13, 2));
    write(dir, &table, "delete", &rows(3..6, 0));
    write(dir, &table, "insert", &rows(20..24, 3));
    write(dir, &table, "upsert", &rows(4..6, 4));
    table
}

#[test]
#[ignore = "needs Apache Hudi on Spark: make test-interop"]
fn spark_tells_the_changes_of_our_tables() {
    let mut spark = Spark::shared();
    for (kind, mode) in [
        ("cow", "OP_KEY_ONLY"),
        ("cow", "DATA_BEFORE"),
        ("cow", "DATA_BEFORE_AFTER"),
        ("mor", "DATA_BEFORE_AFTER"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let table = table_with_history(dir.path(), kind, mode);
        let theirs = spark.ask(json!({"cmd": "read", "path": table, "query": "cdc"}));
        let theirs: Vec<String> = theirs["rows"]
            .as_array()
            .unwrap()
            .iter()
            .map(Value::to_string)
            .collect();
        let ours = changes(&table);
        assert_eq!(
            ours,
            normalized(theirs.iter().map(String::as_str)),
            "{kind} {mode}"
        );
        spark.judge(&table, false);
    }
}
