//! `lakebed table create` and `lakebed table write`: every input format, every operation, and Apache Hudi as the judge: the same writes by
//! Spark on another table give the same rows, and both may write one table in turn.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use rstest::rstest;
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use crate::support::{Spark, lakebed, query, query_rows, root};

const COLUMNS: &str =
    "id bigint, name string, price double, ts bigint, city string, _hoodie_is_deleted boolean";
const AVRO: &str = r#"{"type":"record","name":"trip","fields":[
    {"name":"id","type":["null","long"],"default":null},
    {"name":"name","type":["null","string"],"default":null},
    {"name":"price","type":["null","double"],"default":null},
    {"name":"ts","type":["null","long"],"default":null},
    {"name":"city","type":["null","string"],"default":null},
    {"name":"_hoodie_is_deleted","type":["null","boolean"],"default":null}]}"#;
const OVERWRITE: &str = "insert-overwrite";
const OVERWRITE_TABLE: &str = "insert-overwrite-table";

fn row(id: i64, city: &str, ts: i64, name: &str) -> Value {
    json!({"id": id, "name": name, "price": ts as f64 / 4.0, "ts": ts, "city": city, "_hoodie_is_deleted": false})
}

fn gone(id: i64, city: &str, ts: i64) -> Value {
    let mut row = row(id, city, ts, "gone");
    row["_hoodie_is_deleted"] = true.into();
    row
}

/// A directory with tables and the files that are written into them.
struct Lake(TempDir);

impl Lake {
    fn new() -> Self {
        let lake = Self(TempDir::new().unwrap());
        std::fs::write(lake.path("trip.avsc"), AVRO).unwrap();
        lake
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    fn create(&self, table: &str, words: &[&str]) {
        let (table, schema) = (self.text(table), self.text("trip.avsc"));
        let create = ["table", "create", &table, "--schema", &schema];
        lakebed(&[&create, words].concat()).success();
    }

    /// Writes rows as JSON lines.
    fn write(&self, table: &str, operation: &str, rows: &[Value], words: &[&str]) -> String {
        let mut file = std::fs::File::create(self.path("rows.json")).unwrap();
        for row in rows {
            writeln!(file, "{row}").unwrap();
        }
        self.write_file(table, operation, "rows.json", words)
    }

    fn write_file(&self, table: &str, operation: &str, file: &str, words: &[&str]) -> String {
        let (table, file) = (self.text(table), self.text(file));
        let write = [
            "table", "write", &table, "--op", operation, "--input", &file,
        ];
        lakebed(&[&write, words].concat()).success()
    }

    fn rows(&self, table: &str) -> Vec<String> {
        sorted(query(&self.path(table), &[]))
    }
}

fn sorted(mut rows: Vec<String>) -> Vec<String> {
    rows.sort_unstable();
    rows
}

/// Rows of whatever reader in one spelling, without the flag, which the harness takes for one of Hudi's own columns.
fn plain(rows: &[String]) -> Vec<String> {
    let rows = rows.iter().map(|row| {
        let mut row: Map<String, Value> = serde_json::from_str(row).unwrap();
        row.remove("_hoodie_is_deleted");
        let row: BTreeMap<String, Value> = row.into_iter().collect();
        serde_json::to_string(&row).unwrap()
    });
    sorted(rows.collect())
}

/// An Avro container file of two long columns, without any library.
fn avro_file(rows: &[(i64, i64)]) -> Vec<u8> {
    fn long(value: i64, out: &mut Vec<u8>) {
        let mut zigzag = ((value << 1) ^ (value >> 63)) as u64;
        while zigzag >= 0x80 {
            out.push((zigzag as u8 & 0x7f) | 0x80);
            zigzag >>= 7;
        }
        out.push(zigzag as u8);
    }
    fn bytes(value: &[u8], out: &mut Vec<u8>) {
        long(value.len() as i64, out);
        out.extend_from_slice(value);
    }
    let schema = br#"{"type":"record","name":"r","fields":[{"name":"id","type":"long"},{"name":"n","type":"long"}]}"#;
    let mut out = b"Obj\x01".to_vec();
    long(1, &mut out);
    bytes(b"avro.schema", &mut out);
    bytes(schema, &mut out);
    long(0, &mut out);
    let sync = [7_u8; 16];
    out.extend_from_slice(&sync);
    let mut block = Vec::new();
    for (id, n) in rows {
        long(*id, &mut block);
        long(*n, &mut block);
    }
    long(rows.len() as i64, &mut out);
    bytes(&block, &mut out);
    out.extend_from_slice(&sync);
    out
}

#[rstest]
#[case("csv")]
#[case("json")]
#[case("avro")]
#[case("parquet")]
#[case("arrow")]
fn rows_come_in_from_every_format(#[case] format: &str) {
    let lake = Lake::new();
    let file = lake.path(&format!("rows.{format}"));
    match format {
        "csv" => std::fs::write(&file, "id,n\n1,10\n2,20\n").unwrap(),
        "json" => std::fs::write(&file, "{\"id\":1,\"n\":10}\n{\"id\":2,\"n\":20}\n").unwrap(),
        "avro" => std::fs::write(&file, avro_file(&[(1, 10), (2, 20)])).unwrap(),
        _ => {
            lake.write(
                "source",
                "insert",
                &[json!({"id": 1, "n": 10}), json!({"id": 2, "n": 20})],
                &["--record-key", "id"],
            );
            let (source, file) = (lake.text("source"), file.to_str().unwrap());
            lakebed(&["query", "-t", &source, "--format", format, "-o", file]).success();
        }
    }
    let name = format!("rows.{format}");
    let key = ["--record-key", "id"];
    let instant = lake.write_file("t", "insert", &name, &key);
    assert_eq!(instant.trim().len(), 17, "not an instant: {instant}");
    let expected = ["{\"id\":1,\"n\":10}", "{\"id\":2,\"n\":20}"];
    assert_eq!(lake.rows("t"), expected);
    lake.write_file("t", "upsert", &name, &[]);
    assert_eq!(lake.rows("t"), expected);
    lake.write_file("t", "delete", &name, &[]);
    assert_eq!(lake.rows("t"), [] as [&str; 0]);
}

#[test]
fn an_instant_that_is_printed_is_the_one_on_the_timeline() {
    let lake = Lake::new();
    lake.create(
        "t",
        &[
            "--record-key",
            "id",
            "--table-type",
            "mor",
            "--table-version",
            "8",
        ],
    );
    let printed = lake.write("t", "insert", &[row(1, "x", 1, "a")], &["--json"]);
    let printed: Value = serde_json::from_str(&printed).unwrap();
    let timeline = lakebed(&["table", "timeline", &lake.text("t"), "--json"]).success();
    let instant: Value = serde_json::from_str(timeline.lines().next().unwrap()).unwrap();
    for key in ["instant", "completion", "action", "operation"] {
        assert_eq!(printed[key], instant[key]);
    }
    let shown = lakebed(&["table", "show", &lake.text("t"), "--json"]).success();
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["table"]["version"], 8);
}

#[test]
fn every_operation_has_its_effect() {
    let lake = Lake::new();
    lake.create(
        "t",
        &[
            "--record-key",
            "id",
            "--partition-by",
            "city",
            "--ordering",
            "ts",
        ],
    );
    let ids = |expected: &[i64]| {
        let rows = lake.rows("t");
        let found: Vec<i64> = rows
            .iter()
            .map(|row| {
                serde_json::from_str::<Value>(row).unwrap()["id"]
                    .as_i64()
                    .unwrap()
            })
            .collect();
        assert_eq!(found, expected, "{rows:?}");
    };
    lake.write(
        "t",
        "bulk-insert",
        &[row(1, "x", 5, "a"), row(2, "y", 5, "b")],
        &[],
    );
    lake.write("t", "insert", &[row(3, "x", 5, "c")], &[]);
    lake.write(
        "t",
        "upsert",
        &[row(1, "x", 4, "late"), row(4, "z", 1, "d"), gone(3, "x", 6)],
        &[],
    );
    ids(&[1, 2, 4]);
    assert!(lake.rows("t")[0].contains("\"a\""), "a late update won");
    lake.write("t", "delete", &[json!({"id": 2, "city": "y"})], &[]);
    ids(&[1, 4]);
    lake.write("t", OVERWRITE, &[row(7, "x", 1, "e")], &[]);
    ids(&[4, 7]);
    let table = lake.text("t");
    lakebed(&[
        "table",
        "write",
        &table,
        "--op",
        "delete-partition",
        "--partition",
        "city=z",
    ])
    .success();
    ids(&[7]);
    lake.write("t", OVERWRITE_TABLE, &[row(8, "q", 1, "f")], &[]);
    ids(&[8]);
}

#[test]
fn columns_are_added_when_asked_for() {
    let lake = Lake::new();
    let key = ["--record-key", "id"];
    lake.write("t", "insert", &[json!({"id": 1, "n": 10})], &key);
    let more = [json!({"id": 2, "n": 20, "extra": "x"})];
    lake.write("t", "upsert", &more, &["--add-columns"]);
    assert_eq!(
        lake.rows("t"),
        [
            "{\"id\":1,\"n\":10,\"extra\":null}",
            "{\"id\":2,\"n\":20,\"extra\":\"x\"}"
        ]
    );
}

#[rstest]
#[case::bad_value("id,n\n1,x\n", &["rows.csv", "`n`", "line 1"])]
#[case::unknown_column("id,m\n1,1\n", &["rows.csv", "`m`"])]
#[case::null_key("id,n\n,1\n", &["rows.csv", "`id`", "row 0"])]
#[case::no_header("", &["rows.csv"])]
fn bad_input_is_named_and_nothing_is_written(#[case] text: &str, #[case] words: &[&str]) {
    let lake = Lake::new();
    lake.write(
        "t",
        "insert",
        &[json!({"id": 1, "n": 10})],
        &["--record-key", "id"],
    );
    std::fs::write(lake.path("rows.csv"), text).unwrap();
    let (table, file) = (lake.text("t"), lake.text("rows.csv"));
    let failed = lakebed(&["table", "write", &table, "--op", "upsert", "--input", &file]);
    let failed = failed.expect_code(1);
    for word in words {
        assert!(
            failed.stderr.contains(word),
            "no {word} in: {}",
            failed.stderr
        );
    }
    assert_eq!(lake.rows("t"), ["{\"id\":1,\"n\":10}"]);
    let timeline = lakebed(&["table", "timeline", &table]).success();
    assert!(!timeline.contains("inflight"), "{timeline}");
}

#[rstest]
#[case(&["--table-version", "7", "--record-key", "id"], "6, 8 and 9")]
#[case(&["--record-key", "nothing"], "`nothing`")]
#[case(&[], "record key")]
#[case(&["--record-key", "id", "--partition-by", "ts", "--set", "hoodie.datasource.write.keygenerator.type=TIMESTAMP"], "timestamp.type")]
fn wrong_settings_end_with_78_and_make_no_table(#[case] words: &[&str], #[case] said: &str) {
    let lake = Lake::new();
    let (table, schema) = (lake.text("t"), lake.text("trip.avsc"));
    let create = ["table", "create", &table, "--schema", &schema];
    let failed = lakebed(&[&create, words].concat()).expect_code(78);
    assert!(failed.stderr.contains(said), "{}", failed.stderr);
    assert!(!lake.path("t").exists());
}

#[test]
fn an_option_that_is_none_of_hudis_is_wrong_usage() {
    let lake = Lake::new();
    let (table, schema) = (lake.text("t"), lake.text("trip.avsc"));
    let words = [
        "table", "create", &table, "--schema", &schema, "--set", "no=1",
    ];
    let failed = lakebed(&words).expect_code(2);
    assert!(
        failed.stderr.contains("hoodie.KEY=VALUE"),
        "{}",
        failed.stderr
    );
    assert!(!lake.path("t").exists());
}

/// What Hudi's writer made of rows, ours makes of them again: each row meets itself.
#[rstest]
#[case("v9_mor_timestamp_keygen")]
#[case("v9_cow_url_encoded")]
#[case("v9_mor_url_encoded_hive")]
#[case("v9_cow_null_partition")]
#[case("v9_cow_hive_style")]
#[case("v9_cow_many_partition_fields")]
#[case("v9_mor_composite_key")]
#[case("v9_mor_ordering_fields")]
#[case("v8_mor_basic")]
fn rows_of_hudis_own_tables_are_met_by_key_and_partition(#[case] name: &str) {
    let lake = Lake::new();
    let archive = root().join(format!("tests/golden/{name}.tar.gz"));
    let unpacked = Command::new("tar")
        .arg("xzpf")
        .arg(&archive)
        .arg("-C")
        .arg(lake.0.path())
        .status();
    assert!(
        unpacked.unwrap().success(),
        "cannot unpack {}",
        archive.display()
    );
    let table = lake.path("table");
    let keys = || {
        let sql = "SELECT _hoodie_partition_path AS path, _hoodie_record_key AS key FROM t ORDER BY path, key";
        query_rows(&table, sql)
    };
    let before = keys();
    let rows: Vec<Value> = query(&table, &[])
        .iter()
        .map(|row| serde_json::from_str(row).unwrap())
        .collect();
    let instant = lake.write("table", "upsert", &rows, &[]);
    assert_eq!(keys(), before);
    let sql = format!(
        "SELECT count(*) AS n FROM t WHERE _hoodie_commit_time = '{}'",
        instant.trim()
    );
    assert_eq!(query_rows(&table, &sql)[0]["n"], rows.len());
    lake.write("table", "delete", &rows, &[]);
    assert_eq!(keys(), [] as [Value; 0]);
}

/// One table of ours and one of Spark's, which are to hold the same.
struct Pair {
    lake: Lake,
    options: Value,
    version: u32,
}

impl Pair {
    fn new(table_type: &str, version: u32) -> Self {
        let lake = Lake::new();
        let number = version.to_string();
        let words = [
            "--record-key",
            "id",
            "--partition-by",
            "city",
            "--ordering",
            "ts",
        ];
        let more = ["--table-type", table_type, "--table-version", &number];
        lake.create("ours", &[&words[..], &more].concat());
        let kind = if table_type == "cow" {
            "COPY_ON_WRITE"
        } else {
            "MERGE_ON_READ"
        };
        let options = json!({
            "hoodie.datasource.write.recordkey.field": "id",
            "hoodie.datasource.write.partitionpath.field": "city",
            "hoodie.datasource.write.precombine.field": "ts",
            "hoodie.datasource.write.hive_style_partitioning": "true",
            "hoodie.datasource.write.table.type": kind,
            "hoodie.metadata.enable": "false",
            "hoodie.bloom.index.filter.type": "SIMPLE",
        });
        Self {
            lake,
            options,
            version,
        }
    }

    fn write(&self, spark: &mut Spark, operation: &str, rows: &[Value]) {
        self.lake.write("ours", operation, rows, &[]);
        let operation = operation.replace('-', "_");
        let theirs = self.lake.path("theirs");
        spark.write(
            &theirs,
            COLUMNS,
            rows,
            &operation,
            self.version,
            &self.options,
        );
        let ours = plain(&spark.snapshot(&self.lake.path("ours")));
        assert_eq!(ours, plain(&spark.snapshot(&theirs)), "after {operation}");
        assert_eq!(
            ours,
            plain(&self.lake.rows("ours")),
            "our own reading after {operation}"
        );
    }
}

#[rstest]
#[case("cow", 9)]
#[case("mor", 9)]
#[case("cow", 8)]
#[case("mor", 8)]
#[ignore = "needs Apache Hudi on Spark: make test-interop"]
fn spark_does_the_same_to_another_table(#[case] table_type: &str, #[case] version: u32) {
    let pair = Pair::new(table_type, version);
    let mut spark = Spark::shared();
    let spark = &mut *spark;
    let city = |id: i64| ["a", "b", "c"][usize::try_from(id % 3).unwrap()];
    let load: Vec<Value> = (0..30).map(|id| row(id, city(id), 10, "loaded")).collect();
    pair.write(spark, "bulk-insert", &load);
    pair.write(
        spark,
        "insert",
        &[row(40, "a", 1, "inserted"), row(41, "d", 1, "inserted")],
    );
    let changes = [
        row(0, city(0), 11, "newer"),
        row(1, city(1), 9, "older"),
        row(2, city(2), 10, "as new"),
        row(50, "b", 3, "first"),
        row(50, "b", 7, "highest"),
        row(50, "b", 5, "last"),
        gone(3, city(3), 11),
        gone(4, city(4), 9),
        gone(5, city(5), 10),
        gone(99, "a", 10),
    ];
    pair.write(spark, "upsert", &changes);
    pair.write(
        spark,
        "upsert",
        &[
            row(99, "a", 2, "after a delete of nothing"),
            row(6, city(6), 12, "x"),
        ],
    );
    pair.write(
        spark,
        "delete",
        &[
            row(7, city(7), 0, ""),
            row(8, city(8), 99, ""),
            row(77, "a", 1, ""),
        ],
    );
    pair.write(
        spark,
        "upsert",
        &[row(9, city(9), 30, "y"), gone(40, "a", 0)],
    );
    let ours = pair.lake.path("ours");
    spark.judge(&ours, false);
    pair.write(
        spark,
        OVERWRITE,
        &[row(60, "a", 1, "over"), row(61, "e", 1, "new")],
    );
    pair.write(
        spark,
        "upsert",
        &[row(0, "a", 1, "a key that was overwritten")],
    );
    pair.write(spark, "delete-partition", &[row(0, "b", 1, "")]);
    spark.judge(&ours, true);
    pair.write(spark, OVERWRITE_TABLE, &[row(70, "c", 1, "all")]);
    pair.write(
        spark,
        "upsert",
        &[row(70, "c", 2, "newer"), row(71, "b", 2, "again")],
    );
    spark.judge(&ours, true);
}

/// What a copy-on-write table by event time holds, by key.
fn apply(model: &mut BTreeMap<i64, Value>, rows: &[Value]) {
    let ts = |row: &Value| row["ts"].as_i64().unwrap();
    let mut combined: BTreeMap<i64, &Value> = BTreeMap::new();
    for row in rows {
        let id = row["id"].as_i64().unwrap();
        if combined.get(&id).is_none_or(|older| ts(row) >= ts(older)) {
            combined.insert(id, row);
        }
    }
    for (id, row) in combined {
        if model.get(&id).is_some_and(|older| ts(older) > ts(row)) {
            continue;
        }
        if row["_hoodie_is_deleted"] == true {
            model.remove(&id);
        } else {
            model.insert(id, row.clone());
        }
    }
}

#[test]
#[ignore = "needs Apache Hudi on Spark: make test-interop"]
fn spark_and_lakebed_take_turns_on_a_copy_on_write_table() {
    let pair = Pair::new("cow", 9);
    let table = pair.lake.path("ours");
    let mut spark = Spark::shared();
    let mut model = BTreeMap::new();
    let city = |id: i64| ["a", "b"][usize::try_from(id % 2).unwrap()];
    let mut seed = 12_345_u64;
    let mut random = |below: u64| {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        i64::try_from((seed >> 33) % below).unwrap()
    };
    for turn in 0..24 {
        let rows: Vec<Value> = (0..40)
            .map(|_| {
                let id = random(90);
                // Some come late: up to 15 turns.
                let ts = (turn * 10 + random(10) - random(2) * random(150)).max(1);
                if random(5) == 0 {
                    gone(id, city(id), ts)
                } else {
                    row(id, city(id), ts, &format!("turn {turn}"))
                }
            })
            .collect();
        if turn % 2 == 0 {
            pair.lake.write("ours", "upsert", &rows, &[]);
        } else {
            let mut options = pair.options.clone();
            let index = if turn % 4 == 1 { "BLOOM" } else { "SIMPLE" };
            options["hoodie.index.type"] = index.into();
            spark.write(&table, COLUMNS, &rows, "upsert", 9, &options);
        }
        apply(&mut model, &rows);
        let expected: Vec<String> = model.values().map(Value::to_string).collect();
        assert_eq!(
            plain(&pair.lake.rows("ours")),
            plain(&expected),
            "after turn {turn}"
        );
        assert_eq!(
            plain(&spark.snapshot(&table)),
            plain(&expected),
            "Spark after turn {turn}"
        );
    }
    spark.judge(&table, true);
}

#[rstest]
#[case("timestamp", json!({"hoodie.datasource.write.partitionpath.field": "ts",
    "hoodie.datasource.write.keygenerator.class": "org.apache.hudi.keygen.TimestampBasedKeyGenerator",
    "hoodie.keygen.timebased.timestamp.type": "UNIX_TIMESTAMP",
    "hoodie.keygen.timebased.output.dateformat": "yyyy/MM/dd/HH", "hoodie.keygen.timebased.timezone": "GMT+8:00"}))]
#[case("date text", json!({"hoodie.datasource.write.partitionpath.field": "name",
    "hoodie.datasource.write.keygenerator.class": "org.apache.hudi.keygen.TimestampBasedKeyGenerator",
    "hoodie.keygen.timebased.timestamp.type": "DATE_STRING",
    "hoodie.keygen.timebased.input.dateformat": "yyyy-MM-dd'T'HH:mm:ssZ,yyyy-MM-dd",
    "hoodie.keygen.timebased.input.timezone": "UTC", "hoodie.keygen.timebased.output.timezone": "UTC",
    "hoodie.keygen.timebased.output.dateformat": "EEE, d MMM yyyy hh a"}))]
#[case("custom", json!({"hoodie.datasource.write.partitionpath.field": "city:simple,ts:timestamp",
    "hoodie.datasource.write.keygenerator.class": "org.apache.hudi.keygen.CustomKeyGenerator",
    "hoodie.keygen.timebased.timestamp.type": "SCALAR", "hoodie.keygen.timebased.timestamp.scalar.time.unit": "HOURS",
    "hoodie.keygen.timebased.output.dateformat": "yyyyMM", "hoodie.keygen.timebased.timezone": "UTC"}))]
#[case("encoded", json!({"hoodie.datasource.write.partitionpath.field": "city",
    "hoodie.datasource.write.partitionpath.urlencode": "true"}))]
#[case("several", json!({"hoodie.datasource.write.recordkey.field": "id,ts",
    "hoodie.datasource.write.partitionpath.field": "city,price", "hoodie.datasource.write.hive_style_partitioning": "true"}))]
#[ignore = "needs Apache Hudi on Spark: make test-interop"]
fn keys_and_partitions_are_those_of_spark(#[case] name: &str, #[case] options: Value) {
    let mut all = json!({
        "hoodie.datasource.write.recordkey.field": "id", "hoodie.datasource.write.precombine.field": "ts",
        "hoodie.datasource.write.hive_style_partitioning": "false", "hoodie.metadata.enable": "false",
    });
    for (key, value) in options.as_object().unwrap() {
        all[key] = value.clone();
    }
    let dates = [
        "2024-02-29T23:30:00+0200",
        "1999-12-31",
        "2024-07-01T12:00:00Z",
    ];
    // With a colon and not encoded, Hadoop takes the first of several folders for the scheme of a URL.
    let odd = if name == "encoded" {
        ["ä:ö", "a/b:c"]
    } else {
        ["äö", "a-b"]
    };
    let cities = ["a b", "50%", "k=v", odd[0], odd[1], "", "x"];
    let rows: Vec<Value> = (1..14_i64)
        .map(|id| {
            let at = usize::try_from(id).unwrap();
            let mut row = row(id, cities[at % 7], 1_000_000 * id, dates[at % 3]);
            if id == 13 {
                row["city"] = Value::Null;
            }
            row
        })
        .collect();
    let lake = Lake::new();
    let set: Vec<String> = all
        .as_object()
        .unwrap()
        .iter()
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap()))
        .collect();
    let words: Vec<&str> = set.iter().flat_map(|set| ["--set", set.as_str()]).collect();
    lake.create("ours", &words);
    lake.write("ours", "upsert", &rows, &[]);
    let mut spark = Spark::shared();
    let theirs = lake.path("theirs");
    spark.write(&theirs, COLUMNS, &rows, "upsert", 9, &all);
    let keys = |table: &Path| {
        let shown = lakebed(&[
            "query",
            "SELECT id, _hoodie_record_key, _hoodie_partition_path FROM t",
            "-t",
            &format!("t={}", table.display()),
            "--meta",
            "--format",
            "json",
        ]);
        sorted(shown.success().lines().map(str::to_owned).collect())
    };
    assert_eq!(keys(&lake.path("ours")), keys(&theirs), "{name}");
    spark.judge(&lake.path("ours"), false);
    // Spark goes on with the table as it stands.
    let rows: Vec<Value> = rows
        .iter()
        .map(|row| {
            let mut row = row.clone();
            row["price"] = if name == "several" {
                row["price"].clone()
            } else {
                0.5.into()
            };
            row["_hoodie_is_deleted"] = false.into();
            row
        })
        .collect();
    spark.write(&lake.path("ours"), COLUMNS, &rows, "upsert", 9, &all);
    assert_eq!(
        lake.rows("ours").len(),
        rows.len(),
        "{name}: Spark did not meet our keys"
    );
}

#[test]
#[ignore = "needs Apache Hudi on Spark: make test-interop"]
fn hazard_11_spark_compacts_what_was_deleted_and_keeps_it_deleted() {
    let pair = Pair::new("mor", 9);
    let table = pair.lake.path("ours");
    let mut spark = Spark::shared();
    let load: Vec<Value> = (0..8).map(|id| row(id, "a", 10, "loaded")).collect();
    pair.lake.write("ours", "bulk-insert", &load, &[]);
    pair.lake
        .write("ours", "delete", &[json!({"id": 1, "city": "a"})], &[]);
    // From here on an incremental query shows the late row, in Hudi too: it looks at the records of its commits only.
    spark.judge(&table, true);
    pair.lake.write(
        "ours",
        "upsert",
        &[
            row(1, "a", 5, "late"),
            gone(2, "a", 20),
            row(3, "a", 30, "new"),
        ],
        &[],
    );
    pair.lake.write(
        "ours",
        "upsert",
        &[row(2, "a", 15, "late"), gone(3, "a", 20)],
        &[],
    );
    let before = plain(&pair.lake.rows("ours"));
    assert_eq!(before.len(), 6, "{before:?}");
    assert_eq!(plain(&spark.snapshot(&table)), before);
    spark.compact(&table);
    assert_eq!(plain(&spark.snapshot(&table)), before);
    assert_eq!(plain(&pair.lake.rows("ours")), before);
}
