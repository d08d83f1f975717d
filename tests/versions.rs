//! Table versions 6, 8 and 9: made, written, upgraded and downgraded by the commands, and read by Hudi in between.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;

use rstest::rstest;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::golden::{GoldenTable, catalogue, unpack};
use crate::support::{Spark, lakebed, query};

const SPARK_SCHEMA: &str = "id bigint, name string, amount bigint, region string";
const AVRO_SCHEMA: &str = r#"{"type": "record", "name": "account", "fields": [
    {"name": "id", "type": "long"}, {"name": "name", "type": ["null", "string"], "default": null},
    {"name": "amount", "type": ["null", "long"], "default": null}, {"name": "region", "type": "string"}]}"#;

/// A table that the commands have made, and what it is to hold.
struct Lake {
    dir: TempDir,
    table: PathBuf,
    rows: BTreeMap<i64, Value>,
}

impl Lake {
    fn create(version: u32, table_type: &str) -> Self {
        let dir = TempDir::new().unwrap();
        std::fs::write(dir.path().join("account.avsc"), AVRO_SCHEMA).unwrap();
        let lake = Self {
            table: dir.path().join("accounts"),
            dir,
            rows: BTreeMap::new(),
        };
        let (schema, version) = (lake.file("account.avsc"), version.to_string());
        let words = [
            "create",
            lake.path(),
            "--schema",
            &schema,
            "--record-key",
            "id",
            "--partition-by",
            "region",
            "--table-type",
            table_type,
            "--table-version",
            &version,
        ];
        lake.table_command(&words);
        lake
    }

    fn path(&self) -> &str {
        self.table.to_str().unwrap()
    }

    fn file(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().unwrap().to_owned()
    }

    fn table_command(&self, words: &[&str]) -> String {
        lakebed(&[&["table"][..], words].concat()).success()
    }

    fn write(&mut self, operation: &str, ids: Range<i64>, amount: i64) {
        let rows: Vec<Value> = ids.map(|id| row(id, amount)).collect();
        let lines: Vec<String> = rows.iter().map(Value::to_string).collect();
        let file = self.file("rows.json");
        std::fs::write(&file, lines.join("\n")).unwrap();
        let small = "hoodie.parquet.small.file.limit=0";
        let words = [
            "write",
            self.path(),
            "--op",
            operation,
            "--input",
            &file,
            "--set",
            small,
        ];
        self.table_command(&words);
        for row in rows {
            let id = row["id"].as_i64().unwrap();
            if operation == "delete" {
                self.rows.remove(&id);
            } else {
                self.rows.insert(id, row);
            }
        }
    }

    fn spark_upserts(&mut self, spark: &mut Spark, ids: Range<i64>, amount: i64) {
        let rows: Vec<Value> = ids.map(|id| row(id, amount)).collect();
        spark.upsert(&self.table, SPARK_SCHEMA, &json!(rows));
        let rows = rows
            .into_iter()
            .map(|row| (row["id"].as_i64().unwrap(), row));
        self.rows.extend(rows);
    }

    fn assert_rows(&self, what: &str, found: &[String]) {
        let found: BTreeMap<i64, Value> = found
            .iter()
            .map(|line| serde_json::from_str(line).unwrap())
            .map(|row: Value| (row["id"].as_i64().unwrap(), row))
            .collect();
        assert_eq!(found.len(), self.rows.len(), "{what}");
        for (id, row) in &self.rows {
            for column in ["name", "amount", "region"] {
                assert_eq!(found[id][column], row[column], "{what}: {column} of {id}");
            }
        }
    }

    fn assert_ours(&self, what: &str) {
        self.assert_rows(what, &query(&self.table, &[]));
    }

    fn assert_spark(&self, spark: &mut Spark, what: &str) {
        self.assert_ours(what);
        spark.judge(&self.table, false);
        self.assert_rows(what, &spark.snapshot(&self.table));
    }
}

fn row(id: i64, amount: i64) -> Value {
    let region = ["eu", "us"][usize::from(id % 2 == 0)];
    json!({"id": id, "name": format!("n{id}"), "amount": amount, "region": region})
}

#[rstest]
fn a_table_goes_through_the_versions(#[values("cow", "mor")] table_type: &str) {
    let mut lake = Lake::create(6, table_type);
    lake.write("upsert", 0..40, 1);
    lake.write("upsert", 10..50, 2);
    lake.write("delete", 20..24, 0);
    lake.assert_ours("version 6");
    assert!(!lake.table.join(".hoodie/timeline").exists());
    let upgraded = lake.table_command(&["upgrade", lake.path(), "--json"]);
    let upgraded: Value = serde_json::from_str(&upgraded).unwrap();
    assert_eq!((&upgraded["from"], &upgraded["to"]), (&json!(6), &json!(9)));
    let merged = u64::from(table_type == "mor");
    assert_eq!(upgraded["compactions"], merged);
    assert_eq!(upgraded["timeline_files"], 9 + 3 * merged);
    lake.assert_ours("upgraded");
    let again = lake.table_command(&["upgrade", lake.path()]);
    assert!(again.contains("of version 9 already"), "{again}");
    lake.write("upsert", 5..15, 3);
    lake.assert_ours("written as version 9");
    let wrong = lakebed(&["table", "upgrade", lake.path(), "--to", "8"]);
    let wrong = wrong.expect_code(1);
    assert!(wrong.stderr.contains("table downgrade"), "{}", wrong.stderr);
    for version in ["8", "6"] {
        lake.table_command(&["downgrade", lake.path(), "--to", version]);
        lake.assert_ours("downgraded");
        lake.write("upsert", 12..18, 4);
        lake.assert_ours("written after the downgrade");
    }
    let shown = lake.table_command(&["timeline", lake.path()]);
    assert!(shown.contains("commit"), "{shown}");
    let checked = lake.table_command(&["fsck", lake.path()]);
    assert!(!checked.contains("missing"), "{checked}");
}

/// What other versions cannot say, or we cannot write.
const REFUSED: [&str; 6] = [
    "schema on read",
    "names no record key",
    "without meta columns",
    "lack the partition columns",
    "several ordering fields",
    "one key field",
];

fn sorted(mut lines: Vec<String>) -> Vec<String> {
    lines.sort();
    lines
}

/// Takes a table of Hudi's to a version; `false` when that is refused for a known reason.
fn change(table: &GoldenTable, path: &str, direction: &str, version: &str) -> bool {
    let changed = lakebed(&["table", direction, path, "--to", version]);
    if changed.status.success() {
        return true;
    }
    let is_known = REFUSED.iter().any(|why| changed.stderr.contains(why));
    assert!(is_known, "{}: {}", table.name, changed.stderr);
    false
}

#[test]
fn hudis_tables_hold_the_same_rows_in_other_versions() {
    let (mut changed, mut refused) = (0, Vec::new());
    for table in catalogue() {
        let dir = unpack(&table);
        let path = dir.path().join("table");
        let text = path.to_str().unwrap();
        let before = sorted(query(&path, &[]));
        let steps = if table.version == 9 {
            [("downgrade", "6"), ("upgrade", "9")]
        } else {
            [("upgrade", "9"), ("downgrade", "6")]
        };
        for (direction, version) in steps {
            if !change(&table, text, direction, version) {
                refused.push(table.name.clone());
                break;
            }
            assert_eq!(
                sorted(query(&path, &[])),
                before,
                "{} {direction}",
                table.name
            );
            changed += 1;
        }
    }
    assert!(
        changed > 200 && refused.len() < 10,
        "{changed}; refused: {refused:?}"
    );
}

#[rstest]
#[case("cow")]
#[case("mor")]
#[ignore = "needs Apache Hudi on Spark: make test-interop"]
fn spark_reads_and_writes_what_we_write_as_version_6_and_change(#[case] table_type: &str) {
    let mut spark = Spark::shared();
    let mut lake = Lake::create(6, table_type);
    lake.write("upsert", 0..40, 1);
    lake.write("upsert", 10..50, 2);
    lake.write("delete", 20..24, 0);
    lake.assert_spark(&mut spark, "version 6 of ours");
    lake.spark_upserts(&mut spark, 15..60, 3);
    lake.assert_spark(&mut spark, "version 6 after Spark's upsert");
    assert_eq!(spark.info(&lake.table)["version"], 6);
    lake.write("upsert", 30..70, 4);
    if table_type == "mor" {
        lake.table_command(&["compact", lake.path(), "--schedule-only"]);
        lake.write("upsert", 35..45, 5);
        lake.assert_spark(&mut spark, "over a planned compaction");
        lake.table_command(&["compact", lake.path()]);
    }
    lake.assert_spark(&mut spark, "version 6, we have gone on");
    for (direction, version) in [("upgrade", 9), ("downgrade", 6)] {
        let number = version.to_string();
        lake.table_command(&[direction, lake.path(), "--to", &number]);
        lake.assert_spark(&mut spark, direction);
        assert_eq!(spark.info(&lake.table)["version"], version);
        lake.spark_upserts(&mut spark, 0..12, i64::from(version));
        lake.write("upsert", 8..20, 7);
        lake.assert_spark(&mut spark, &format!("{direction}, written by both"));
    }
}

impl Lake {
    /// Takes the newest write back to where it was before it completed: its files are there, and their markers.
    fn fail_newest_write(&self) {
        let timeline = self.table.join(".hoodie");
        let names = std::fs::read_dir(&timeline).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let newest = names
            .filter(|name| name.ends_with(".deltacommit"))
            .max()
            .unwrap();
        let completed = timeline.join(&newest);
        let commit: Value = serde_json::from_slice(&std::fs::read(&completed).unwrap()).unwrap();
        let instant = newest.strip_suffix(".deltacommit").unwrap();
        let stats = commit["partitionToWriteStats"].as_object().unwrap();
        for stat in stats.values().flat_map(|stats| stats.as_array().unwrap()) {
            let path = stat["path"].as_str().unwrap();
            assert!(path.contains(".log."), "{path}: an update");
            let marker = timeline.join(format!(".temp/{instant}/{path}.marker.APPEND"));
            std::fs::create_dir_all(marker.parent().unwrap()).unwrap();
            std::fs::write(marker, "").unwrap();
        }
        std::fs::remove_file(completed).unwrap();
    }
}

#[rstest]
#[case("cow")]
#[case("mor")]
#[ignore = "needs Apache Hudi on Spark: make test-interop"]
fn services_of_version_6_are_shared_with_spark(#[case] table_type: &str) {
    let mut spark = Spark::shared();
    let mut lake = Lake::create(6, table_type);
    for first in [0, 30, 60] {
        lake.write("upsert", first..first + 30, 1);
    }
    lake.write("upsert", 0..20, 2);
    lake.table_command(&["cluster", lake.path(), "--schedule-only"]);
    lake.assert_spark(&mut spark, "our clustering is planned");
    spark.clustering_of(6, &lake.table, "execute");
    lake.assert_spark(&mut spark, "Spark has executed it");
    for first in [100, 130] {
        lake.write("upsert", first..first + 30, 1);
    }
    lake.write("upsert", 110..120, 2);
    spark.clustering_of(6, &lake.table, "schedule");
    lake.assert_spark(&mut spark, "Spark's clustering is planned");
    let executed = lake.table_command(&["cluster", lake.path(), "--execute", "--json"]);
    assert_eq!(executed.lines().count(), 1, "{executed}");
    lake.assert_spark(&mut spark, "we have executed it");
    lake.write("upsert", 0..10, 3);
    lake.spark_upserts(&mut spark, 5..15, 4);
    lake.assert_spark(&mut spark, "both have written on");
    if table_type == "mor" {
        let rows = lake.rows.clone();
        lake.write("upsert", 0..30, 99);
        lake.fail_newest_write();
        lake.rows = rows;
        lake.assert_spark(&mut spark, "a write of ours has failed");
        lake.spark_upserts(&mut spark, 20..24, 5);
        lake.assert_spark(&mut spark, "Spark has undone it");
        spark.compaction_of(6, &lake.table, "schedule");
        lake.write("upsert", 0..12, 6);
        lake.assert_spark(&mut spark, "over a compaction that Spark has planned");
        lake.table_command(&["compact", lake.path()]);
        lake.assert_spark(&mut spark, "we have executed it");
        lake.write("upsert", 0..40, 7);
        lake.table_command(&["compact", lake.path(), "--schedule-only"]);
        lake.spark_upserts(&mut spark, 10..20, 8);
        lake.write("upsert", 15..25, 9);
        spark.compaction_of(6, &lake.table, "run");
        lake.assert_spark(&mut spark, "Spark has executed our compaction");
    }
    for round in 0..8 {
        lake.write("upsert", 0..5, 10 + round);
    }
    let few = [
        "hoodie.clean.commits.retained=2",
        "hoodie.keep.min.commits=3",
        "hoodie.keep.max.commits=4",
    ];
    for service in ["clean", "archive"] {
        let set = few.iter().flat_map(|pair| ["--set", pair]);
        let words: Vec<&str> = [service, lake.path()].into_iter().chain(set).collect();
        lake.table_command(&words);
        lake.assert_spark(&mut spark, service);
    }
    let archive = std::fs::read_dir(lake.table.join(".hoodie/archived")).unwrap();
    assert!(archive.count() > 0);
    lake.spark_upserts(&mut spark, 0..9, 30);
    lake.assert_spark(&mut spark, "Spark has written behind our archive");
    spark.judge(&lake.table, true);
    lake.table_command(&["upgrade", lake.path()]);
    lake.assert_spark(&mut spark, "upgraded with its archive");
    spark.judge(&lake.table, true);
}
