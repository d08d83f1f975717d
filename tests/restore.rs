//! Failed writes, rollbacks, restores and fsck by command, on tables of Apache Hudi's and of ours.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use arrow::array::{Int32Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use serde_json::{Value, json};
use table_format::config::TableType;
use table_format::env::{Env, MemoryBudget};
use table_format::record::{RowKind, WriteBatch};
use table_format::storage::Storage;
use table_format::table::{Table, TableSpec};
use table_format::writer::{WriteOperation, WriterOptions};
use tempfile::TempDir;

use crate::support::{Spark, lakebed, query, root};

/// A golden table, unpacked.
fn golden(name: &str) -> (TempDir, PathBuf) {
    let dir = TempDir::new().unwrap();
    let archive = root().join(format!("tests/golden/{name}.tar.gz"));
    let mut tar = Command::new("tar");
    tar.arg("xzpf").arg(&archive).arg("-C").arg(dir.path());
    assert!(tar.status().unwrap().success(), "{}", archive.display());
    let table = dir.path().join("table");
    (dir, table)
}

/// The instants of a table: `(instant, action, state)`.
fn instants(table: &Path) -> Vec<(String, String, String)> {
    let words = ["table", "timeline", table.to_str().unwrap(), "--json"];
    let output = lakebed(&words).success();
    let lines = output.lines().map(|line| {
        let instant: Value = serde_json::from_str(line).unwrap();
        let text = |key: &str| instant[key].as_str().unwrap().to_owned();
        (text("instant"), text("action"), text("state"))
    });
    lines.collect()
}

/// The one write that is pending.
fn pending_write(table: &Path) -> String {
    let mut pending = instants(table);
    pending.retain(|(_, _, state)| state != "completed");
    assert_eq!(pending.len(), 1, "{pending:?}");
    pending.remove(0).0
}

/// The rows of a query, in the order of their text.
fn sorted_rows(table: &Path, words: &[&str]) -> Vec<String> {
    let mut rows = query(table, words);
    rows.sort_unstable();
    rows
}

fn roll_back(table: &Path, instant: &str) {
    let table = table.to_str().unwrap();
    lakebed(&["table", "rollback", table, "--instant", instant]).success();
}

fn fsck(table: &Path, words: &[&str]) -> Vec<Value> {
    let words = [&["table", "fsck", table.to_str().unwrap(), "--json"], words].concat();
    let output = lakebed(&words);
    let findings = output.stdout.lines();
    let findings = findings.map(|line| serde_json::from_str(line).unwrap());
    let findings: Vec<Value> = findings.collect();
    let is_left = findings.iter().any(|finding| finding["repaired"] == false);
    assert_eq!(
        output.status.code(),
        Some(i32::from(is_left)),
        "{}",
        output.stderr
    );
    findings
}

#[test]
fn failed_writes_of_hudi_are_rolled_back_by_command() {
    for name in [
        "v6_mor_inflight",
        "v8_mor_inflight",
        "v9_cow_inflight",
        "v9_mor_inflight",
    ] {
        let (_dir, table) = golden(name);
        let before = sorted_rows(&table, &[]);
        let failed = pending_write(&table);
        roll_back(&table, &failed);
        assert_eq!(sorted_rows(&table, &[]), before, "{name}");
        let left = instants(&table);
        assert!(
            left.iter()
                .all(|(time, _, state)| *time != failed && state == "completed")
        );
        assert_eq!(fsck(&table, &[]), [] as [Value; 0], "{name}");
        let again = lakebed(&[
            "table",
            "rollback",
            table.to_str().unwrap(),
            "--instant",
            &failed,
        ]);
        assert_eq!(again.status.code(), Some(1));
        assert!(again.stderr.contains("rolled back by"), "{}", again.stderr);
    }
}

#[test]
fn savepoints_of_hudi_are_restored_by_command() {
    for name in ["v6_cow_savepoint", "v8_cow_savepoint", "v9_cow_savepoint"] {
        let (_dir, table) = golden(name);
        let path = table.to_str().unwrap();
        let all = instants(&table);
        let saved = all.iter().find(|(_, action, _)| action == "savepoint");
        let saved = &saved.unwrap().0;
        let before = sorted_rows(&table, &["--as-of", saved]);
        let words = [
            "table",
            "restore",
            path,
            "--to",
            saved,
            "--dry-run",
            "--json",
        ];
        let plan: Value = serde_json::from_str(&lakebed(&words).success()).unwrap();
        assert_eq!(
            plan["instants"].as_array().unwrap().len(),
            2,
            "{name}: {plan}"
        );
        assert_eq!(instants(&table), all, "a dry run changes nothing");
        lakebed(&words[..5]).success();
        assert_eq!(sorted_rows(&table, &[]), before, "{name}");
        let left = instants(&table);
        let actions: Vec<&str> = left.iter().map(|(_, action, _)| action.as_str()).collect();
        assert_eq!(
            actions,
            ["commit", "commit", "savepoint", "restore"],
            "{name}"
        );
        assert_eq!(fsck(&table, &[]), [] as [Value; 0], "{name}");
    }
}

#[test]
fn fsck_finds_nothing_in_tables_of_hudi() {
    let golden_dir = std::fs::read_dir(root().join("tests/golden")).unwrap();
    let mut wrong = Vec::new();
    let mut count = 0;
    for entry in golden_dir {
        let file = entry.unwrap().file_name().into_string().unwrap();
        let Some(name) = file.strip_suffix(".tar.gz") else {
            continue;
        };
        let (_dir, table) = golden(name);
        count += 1;
        for finding in fsck(&table, &[]) {
            wrong.push(format!("{name}: {finding}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count > 50);
}

#[test]
fn fsck_repairs_and_tells_what_is_left() {
    let (_dir, table) = golden("v9_cow_basic");
    let before = sorted_rows(&table, &[]);
    let properties = table.join(".hoodie/hoodie.properties");
    let text = std::fs::read_to_string(&properties).unwrap();
    let changed = text.lines().map(|line| match line.split_once('=') {
        Some(("hoodie.table.checksum", _)) => "hoodie.table.checksum=1\n".to_owned(),
        _ => format!("{line}\n"),
    });
    std::fs::write(&properties, changed.collect::<String>()).unwrap();
    std::fs::remove_file(table.join("a/.hoodie_partition_metadata")).unwrap();
    let found = fsck(&table, &[]);
    assert_eq!(found.len(), 2, "{found:?}");
    let repaired = fsck(&table, &["--repair"]);
    assert!(repaired.iter().all(|finding| finding["repaired"] == true));
    assert_eq!(fsck(&table, &[]), [] as [Value; 0]);
    assert_eq!(sorted_rows(&table, &[]), before);
    let newest = std::fs::read_dir(table.join("a")).unwrap();
    let newest = newest.map(|entry| entry.unwrap().path());
    let name = |path: &PathBuf| path.file_stem().unwrap().to_str().unwrap().to_owned();
    let newest = newest.filter(|path| path.extension().is_some_and(|it| it == "parquet"));
    let newest = newest.max_by_key(|path| name(path).rsplit('_').next().unwrap().to_owned());
    std::fs::remove_file(newest.unwrap()).unwrap();
    let left = fsck(&table, &["--repair"]);
    assert_eq!((left.len(), &left[0]["check"]), (1, &json!("missing-file")));
}

/// A table in Spark's hands.
struct Hudi<'a> {
    spark: &'a mut Spark,
    table: PathBuf,
    name: String,
    /// `None` for a table of ours, which Spark takes as it is.
    made: Option<(u32, bool)>,
}

const SCHEMA: &str = "id int, name string, part string, ts bigint";

fn part(id: i32) -> &'static str {
    if id % 2 == 0 { "a" } else { "b" }
}

fn rows(ids: &[i32], ts: i64) -> Value {
    let row = |id: &i32| {
        let name = format!("n{id}-{ts}");
        json!({"id": id, "name": name, "part": part(*id), "ts": ts})
    };
    ids.iter().map(row).collect()
}

impl<'a> Hudi<'a> {
    /// A table that Spark makes, of a version and type.
    fn made_by_spark(spark: &'a mut Spark, dir: &Path, version: u32, is_mor: bool) -> Self {
        let name = format!("t{version}{is_mor}{}", unique(dir));
        Self {
            spark,
            table: dir.join(&name),
            name,
            made: Some((version, is_mor)),
        }
    }

    fn options(&self) -> BTreeMap<&'static str, String> {
        let mut options = BTreeMap::from(
            [
                ("hoodie.metadata.enable", "false"),
                ("hoodie.clean.automatic", "false"),
                ("hoodie.archive.automatic", "false"),
                ("hoodie.compact.inline", "false"),
                ("hoodie.compact.inline.max.delta.commits", "1"),
                ("hoodie.bloom.index.filter.type", "SIMPLE"),
                ("hoodie.index.bloom.num_entries", "50"),
                ("hoodie.datasource.write.recordkey.field", "id"),
                ("hoodie.datasource.write.partitionpath.field", "part"),
            ]
            .map(|(key, value)| (key, value.to_owned())),
        );
        options.insert("hoodie.table.name", self.name.clone());
        if let Some((version, is_mor)) = self.made {
            let kind = if is_mor {
                "MERGE_ON_READ"
            } else {
                "COPY_ON_WRITE"
            };
            options.insert("hoodie.datasource.write.table.type", kind.to_owned());
            let ordering = if version >= 9 {
                "hoodie.table.ordering.fields"
            } else {
                "hoodie.datasource.write.precombine.field"
            };
            options.insert(ordering, "ts".to_owned());
        }
        options
    }

    fn command(&self, operation: &str, rows: &Value) -> Value {
        let mut command = json!({
            "cmd": "write", "path": self.table, "rows": rows, "schema": SCHEMA, "operation": operation,
            "options": self.options(),
        });
        if let Some((version, _)) = self.made {
            command["table_version"] = json!(version);
        }
        command
    }

    fn write(&mut self, operation: &str, rows: &Value) {
        let command = self.command(operation, rows);
        self.spark.ask(command);
    }

    /// A write that leaves files, markers and its inflight instant.
    fn fails(&mut self, rows: &Value) {
        let mut command = self.command("upsert", rows);
        let validator = "org.apache.hudi.client.validator.SqlQuerySingleResultPreCommitValidator";
        command["options"]["hoodie.precommit.validators"] = json!(validator);
        command["options"]["hoodie.precommit.validators.single.value.sql.queries"] =
            json!("select count(*) from <TABLE_NAME>#-1");
        assert_eq!(self.spark.try_ask(&command)["ok"], false, "it was to fail");
    }

    fn sql(&mut self, statement: &str) {
        let version = self.made.map_or(9, |(version, _)| version);
        let mut set = self.options();
        set.insert("hoodie.write.auto.upgrade", "false".to_owned());
        set.insert("hoodie.write.table.version", version.to_string());
        let pairs: Vec<String> = set
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        let statement = statement
            .replace("$T", &format!("'{}'", self.name))
            .replace("$P", &format!("'{}'", self.table.display()))
            .replace("$O", &format!("options => '{}'", pairs.join(",")));
        let set = if statement.contains("run_") {
            json!({})
        } else {
            json!(set)
        };
        let tables = json!({ self.name.as_str(): self.table });
        self.spark
            .ask(json!({"cmd": "sql", "sql": statement, "tables": tables, "set": set}));
    }

    fn compact(&mut self) {
        self.sql("CALL run_compaction(op => 'schedule', path => $P, $O)");
        self.sql("CALL run_compaction(op => 'run', path => $P, $O)");
        let is_compaction = |(_, action, state): &(String, String, String)| {
            action == "commit" && state == "completed"
        };
        assert!(
            instants(&self.table).iter().any(is_compaction),
            "nothing was compacted"
        );
    }

    fn savepoint(&mut self) -> String {
        let mut writes = instants(&self.table);
        writes.retain(|(_, action, _)| action.ends_with("commit"));
        let at = writes.pop().unwrap().0;
        self.sql(&format!(
            "CALL create_savepoint(table => $T, commit_time => '{at}')"
        ));
        at
    }

    fn snapshot(&mut self) -> Vec<String> {
        self.spark.snapshot(&self.table)
    }

    /// Apache Hudi finds no fault, and reads `rows`; so do we.
    fn holds(&mut self, rows: &[String], when: &str) {
        assert_eq!(self.snapshot(), rows, "{}: {when}", self.table.display());
        self.spark.judge(&self.table, false);
        assert_eq!(
            fsck(&self.table, &[]),
            [] as [Value; 0],
            "{}: {when}",
            self.table.display()
        );
        let parse = |line: &String| serde_json::from_str::<Value>(line).unwrap()["id"].clone();
        let mut ours: Vec<String> = query(&self.table, &[])
            .iter()
            .map(|it| parse(it).to_string())
            .collect();
        let mut theirs: Vec<String> = rows.iter().map(|it| parse(it).to_string()).collect();
        ours.sort_unstable();
        theirs.sort_unstable();
        assert_eq!(ours, theirs, "{}: {when}", self.table.display());
    }
}

/// A name for a table in the session's catalogue.
fn unique(dir: &Path) -> String {
    let name = dir.file_name().unwrap().to_str().unwrap();
    name.chars()
        .filter(char::is_ascii_alphanumeric)
        .collect::<String>()
        .to_lowercase()
}

const MADE: [(u32, bool); 6] = [
    (6, false),
    (6, true),
    (8, false),
    (8, true),
    (9, false),
    (9, true),
];

#[test]
#[ignore = "needs Apache Hudi on Spark: make test-interop"]
fn hazard_15_failed_writes_of_spark_are_rolled_back_by_us() {
    let dir = TempDir::new().unwrap();
    let mut spark = Spark::shared();
    for (version, is_mor) in MADE {
        let mut hudi = Hudi::made_by_spark(&mut spark, dir.path(), version, is_mor);
        hudi.write("insert", &rows(&[1, 2, 3, 4], 1));
        hudi.write("upsert", &rows(&[2, 3, 5], 2));
        let before = hudi.snapshot();
        hudi.fails(&rows(&[1, 2, 9], 3));
        let failed = pending_write(&hudi.table);
        roll_back(&hudi.table, &failed);
        hudi.holds(&before, "after our rollback");
        hudi.write("upsert", &rows(&[1, 7], 4));
        let goes_on = hudi.snapshot();
        assert_eq!(goes_on.len(), before.len() + 1);
        hudi.holds(&goes_on, "after Spark's next write");
        if is_mor {
            hudi.compact();
            hudi.holds(&goes_on, "after a compaction");
        }
    }
}

#[test]
#[ignore = "needs Apache Hudi on Spark: make test-interop"]
fn completed_writes_of_spark_are_rolled_back_by_us() {
    let dir = TempDir::new().unwrap();
    let mut spark = Spark::shared();
    for (version, is_mor) in MADE {
        let mut hudi = Hudi::made_by_spark(&mut spark, dir.path(), version, is_mor);
        hudi.write("insert", &rows(&[1, 2, 3, 4], 1));
        let before = hudi.snapshot();
        hudi.write("upsert", &rows(&[2, 3, 5], 2));
        let last = instants(&hudi.table).pop().unwrap().0;
        roll_back(&hudi.table, &last);
        hudi.holds(&before, "after our rollback");
        hudi.write("upsert", &rows(&[1, 7], 4));
        let goes_on = hudi.snapshot();
        assert_eq!(goes_on.len(), before.len() + 1);
        hudi.holds(&goes_on, "after Spark's next write");
    }
}

#[test]
#[ignore = "needs Apache Hudi on Spark: make test-interop"]
fn savepoints_of_spark_are_restored_by_us() {
    let dir = TempDir::new().unwrap();
    let mut spark = Spark::shared();
    for (version, is_mor) in MADE {
        let mut hudi = Hudi::made_by_spark(&mut spark, dir.path(), version, is_mor);
        hudi.write("insert", &rows(&[1, 2, 3, 4], 1));
        hudi.write("upsert", &rows(&[2, 3, 5], 2));
        let saved = hudi.snapshot();
        let at = hudi.savepoint();
        hudi.write("upsert", &rows(&[1, 3, 6], 3));
        if is_mor {
            hudi.compact();
        }
        hudi.write("delete", &rows(&[2], 4));
        hudi.fails(&rows(&[1, 2, 9], 5));
        let table = hudi.table.to_str().unwrap().to_owned();
        lakebed(&["table", "restore", &table, "--to", &at]).success();
        hudi.holds(&saved, "after our restore");
        hudi.write("upsert", &rows(&[1, 7], 6));
        let goes_on = hudi.snapshot();
        assert_eq!(goes_on.len(), saved.len() + 1);
        hudi.holds(&goes_on, "after Spark's next write");
        if is_mor {
            hudi.compact();
            hudi.holds(&goes_on, "after a compaction");
        }
    }
}

/// A table of ours, and what writes into it.
struct Ours {
    table: PathBuf,
    runtime: tokio::runtime::Runtime,
}

fn our_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int32, false),
        Field::new("name", DataType::Utf8, true),
        Field::new("part", DataType::Utf8, true),
        Field::new("ts", DataType::Int64, true),
    ]))
}

fn env() -> Env {
    Env::system(MemoryBudget::new(64 << 20))
}

impl Ours {
    fn create(table: PathBuf, is_mor: bool) -> Self {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let spec = TableSpec {
            name: table.file_name().unwrap().to_str().unwrap().to_owned(),
            database: String::new(),
            table_type: if is_mor {
                TableType::MergeOnRead
            } else {
                TableType::CopyOnWrite
            },
            schema: our_schema(),
            record_key: vec!["id".to_owned()],
            partition_by: vec!["part".to_owned()],
            ordering: Vec::new(),
            merge_mode: None,
            properties: BTreeMap::new(),
        };
        let storage = Storage::open(table.to_str().unwrap()).unwrap();
        runtime.block_on(async { Table::create(storage, env(), spec).await.unwrap() });
        Self { table, runtime }
    }

    /// Writes rows; without a commit it leaves a failed write.
    fn write(&self, ids: &[i32], ts: i64, commits: bool) {
        let text = |of: &dyn Fn(i32) -> String| -> StringArray {
            ids.iter().map(|id| Some(of(*id))).collect()
        };
        let columns: Vec<arrow::array::ArrayRef> = vec![
            Arc::new(Int32Array::from(ids.to_vec())),
            Arc::new(text(&|id| format!("n{id}-{ts}"))),
            Arc::new(text(&|id| part(id).to_owned())),
            Arc::new(arrow::array::Int64Array::from(vec![ts; ids.len()])),
        ];
        let batch = WriteBatch {
            records: RecordBatch::try_new(our_schema(), columns).unwrap(),
            kinds: vec![RowKind::UpdateAfter; ids.len()],
        };
        self.runtime.block_on(async {
            let table = Table::open(self.table.to_str().unwrap()).await.unwrap();
            let mut writer = table.writer(env(), WriterOptions::default()).await.unwrap();
            let mut transaction = writer.begin(WriteOperation::Upsert).await.unwrap();
            transaction.upsert(batch).await.unwrap();
            if commits {
                transaction.commit(BTreeMap::new()).await.unwrap();
            }
        });
    }

    fn hudi<'a>(&self, spark: &'a mut Spark) -> Hudi<'a> {
        Hudi {
            spark,
            table: self.table.clone(),
            name: self.table.file_name().unwrap().to_str().unwrap().to_owned(),
            made: None,
        }
    }
}

#[test]
#[ignore = "needs Apache Hudi on Spark: make test-interop"]
fn hazard_15_failed_writes_of_ours_are_rolled_back_by_spark() {
    let dir = TempDir::new().unwrap();
    let mut spark = Spark::shared();
    for is_mor in [false, true] {
        let ours = Ours::create(
            dir.path()
                .join(format!("failed{is_mor}{}", unique(dir.path()))),
            is_mor,
        );
        ours.write(&[1, 2, 3, 4], 1, true);
        ours.write(&[2, 3, 9], 2, false);
        let failed = pending_write(&ours.table);
        let mut hudi = ours.hudi(&mut spark);
        // A copy-on-write table that Spark may update; of a merge-on-read table it would not find keys in logs.
        hudi.write("upsert", &rows(&[1, 5], 3));
        let all = instants(&ours.table);
        assert!(
            all.iter()
                .all(|(time, _, state)| *time != failed && state == "completed")
        );
        let after = hudi.snapshot();
        assert_eq!(after.len(), 5);
        hudi.holds(&after, "after Spark's rollback");
        ours.write(&[5, 6], 4, true);
        let after = hudi.snapshot();
        assert_eq!(after.len(), 6);
        hudi.holds(&after, "after our next write");
    }
}

fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status();
    assert!(status.unwrap().success());
}

#[test]
#[ignore = "needs Apache Hudi on Spark: make test-interop"]
fn savepointed_tables_of_ours_are_restored_by_us_and_by_spark() {
    let dir = TempDir::new().unwrap();
    let mut spark = Spark::shared();
    for (is_mor, compacts) in [(false, false), (true, false), (true, true)] {
        let name = format!("saved{is_mor}{compacts}{}", unique(dir.path()));
        let ours = Ours::create(dir.path().join(name), is_mor);
        ours.write(&[1, 2, 3, 4], 1, true);
        ours.write(&[2, 3, 5], 2, true);
        let mut hudi = ours.hudi(&mut spark);
        let saved = hudi.snapshot();
        assert_eq!(saved.len(), 5);
        let at = hudi.savepoint();
        ours.write(&[1, 3, 6], 3, true);
        if compacts {
            hudi.compact();
        }
        ours.write(&[1, 7, 8], 4, true);
        ours.write(&[2, 8], 5, false);
        let theirs = Ours {
            table: ours.table.with_file_name(format!(
                "{}spark",
                ours.table.file_name().unwrap().to_str().unwrap()
            )),
            runtime: tokio::runtime::Runtime::new().unwrap(),
        };
        copy(&ours.table, &theirs.table);

        let table = ours.table.to_str().unwrap();
        lakebed(&["table", "restore", table, "--to", &at]).success();
        hudi.holds(&saved, "after our restore");
        ours.write(&[4, 10], 6, true);
        let after = hudi.snapshot();
        assert_eq!(after.len(), 6);
        hudi.holds(&after, "after our next write");
        if !is_mor {
            hudi.write("upsert", &rows(&[4, 11], 7));
            let after = hudi.snapshot();
            assert_eq!(after.len(), 7);
            hudi.holds(&after, "after Spark's next write");
        }

        let mut hudi = theirs.hudi(&mut spark);
        hudi.sql(&format!(
            "CALL rollback_to_savepoint(table => $T, instant_time => '{at}')"
        ));
        hudi.holds(&saved, "after Spark's restore");
        theirs.write(&[4, 10], 6, true);
        let after = hudi.snapshot();
        assert_eq!(after.len(), 6);
        hudi.holds(&after, "after our write on Spark's restore");
    }
}
