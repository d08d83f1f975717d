//! Columns that are renamed, dropped, added and widened in place, by us and by Spark in turn: both read the same rows as a model that
//! knows columns by what they are and not by what they are called.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::Range;
use std::path::PathBuf;

use rstest::rstest;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::golden::{catalogue, unpack};
use crate::support::{Spark, lakebed, query};

const ON_READ: &str = "hoodie.schema.on.read.enable";

/// A column of the model; its values stay with its place there.
#[derive(Debug, Clone)]
struct Column {
    name: String,
    /// The name of its type in Spark SQL.
    kind: &'static str,
    is_dropped: bool,
}

/// A table and what it is to hold.
struct Lake {
    dir: TempDir,
    table: PathBuf,
    is_merge_on_read: bool,
    version: u32,
    columns: Vec<Column>,
    /// By id: values by the places of their columns.
    rows: BTreeMap<i64, BTreeMap<usize, i64>>,
    /// New names for columns, and for the table in Spark's catalogue.
    names_given: usize,
}

fn region(id: i64) -> &'static str {
    if id % 2 == 0 { "eu" } else { "us" }
}

impl Lake {
    fn new(table_type: &str, version: u32) -> Self {
        let dir = TempDir::new().unwrap();
        let column = |name: &str, kind| Column {
            name: name.to_owned(),
            kind,
            is_dropped: false,
        };
        Self {
            table: dir.path().join("t"),
            dir,
            is_merge_on_read: table_type == "mor",
            version,
            columns: vec![
                column("a", "int"),
                column("b", "int"),
                column("c", "string"),
            ],
            rows: BTreeMap::new(),
            names_given: 0,
        }
    }

    fn made_by_us(table_type: &str, version: u32) -> Self {
        let lake = Self::new(table_type, version);
        let nullable =
            |name: &str, kind: &str| json!({"name": name, "type": ["null", kind], "default": null});
        let schema = json!({"type": "record", "name": "r", "fields": [
            {"name": "id", "type": "long"}, nullable("region", "string"), nullable("a", "int"), nullable("b", "int"),
            nullable("c", "string")]});
        let file = lake.file("t.avsc", &schema.to_string());
        let version = version.to_string();
        let words = [
            "create",
            lake.path(),
            "--schema",
            &file,
            "--record-key",
            "id",
            "--partition-by",
            "region",
            "--table-type",
            table_type,
            "--table-version",
            &version,
        ];
        lake.command(&words);
        lake
    }

    fn made_by_spark(spark: &mut Spark, table_type: &str, version: u32) -> Self {
        let mut lake = Self::new(table_type, version);
        let rows: Vec<Value> = (0..40).map(|id| lake.row(id, 1)).collect();
        let options = json!({
            "hoodie.datasource.write.recordkey.field": "id",
            "hoodie.datasource.write.partitionpath.field": "region",
            "hoodie.datasource.write.hive_style_partitioning": "true",
            "hoodie.datasource.write.table.type": if lake.is_merge_on_read { "MERGE_ON_READ" } else { "COPY_ON_WRITE" },
            "hoodie.metadata.enable": "false",
        });
        spark.write(
            &lake.table,
            &lake.schema(),
            &rows,
            "insert",
            version,
            &options,
        );
        lake.note(0..40, 1);
        lake
    }

    fn path(&self) -> &str {
        self.table.to_str().unwrap()
    }

    fn file(&self, name: &str, content: &str) -> String {
        let path = self.dir.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn command(&self, words: &[&str]) -> String {
        lakebed(&[&["table"][..], words].concat()).success()
    }

    fn live(&self) -> Vec<usize> {
        let places = 0..self.columns.len();
        places
            .filter(|place| !self.columns[*place].is_dropped)
            .collect()
    }

    /// The columns in Spark's words, in the order of the table.
    fn schema(&self) -> String {
        let mut schema = "id bigint, region string".to_owned();
        for place in self.live() {
            let Column { name, kind, .. } = &self.columns[place];
            write!(schema, ", {name} {kind}").unwrap();
        }
        schema
    }

    fn row(&self, id: i64, value: i64) -> Value {
        let mut row = json!({"id": id, "region": region(id)});
        for (position, place) in self.live().into_iter().enumerate() {
            let Column { name, kind, .. } = &self.columns[place];
            let value = value + id + position as i64;
            row[name] = match *kind {
                "string" => json!(value.to_string()),
                _ => json!(value),
            };
        }
        row
    }

    fn note(&mut self, ids: Range<i64>, value: i64) {
        for id in ids {
            let values = self.live().into_iter().enumerate();
            let row = values.map(|(position, place)| (place, value + id + position as i64));
            self.rows.insert(id, row.collect());
        }
    }

    /// Writes rows with an operation of ours.
    fn write(&mut self, operation: &str, ids: Range<i64>, value: i64) {
        let rows: Vec<String> = ids
            .clone()
            .map(|id| self.row(id, value).to_string())
            .collect();
        let file = self.file("rows.json", &rows.join("\n"));
        self.command(&["write", self.path(), "--op", operation, "--input", &file]);
        match operation {
            "delete" => ids.for_each(|id| drop(self.rows.remove(&id))),
            _ => self.note(ids, value),
        }
    }

    /// Lets Spark upsert rows that are new: its index does not see keys that live in logs only.
    fn spark_inserts(&mut self, spark: &mut Spark, value: i64) {
        let first = self.rows.keys().next_back().unwrap() + 1;
        let ids = first..first + 10;
        let rows: Vec<Value> = ids.clone().map(|id| self.row(id, value)).collect();
        let options = json!({ON_READ: "true", "hoodie.metadata.enable": "false"});
        spark.upsert_with(
            &self.table,
            self.version,
            &self.schema(),
            &json!(rows),
            &options,
        );
        self.note(ids, value);
    }

    /// A statement of Spark's, over a table that its catalogue has not seen yet.
    fn spark_says(&mut self, spark: &mut Spark, statement: &str) {
        self.names_given += 1;
        let name = format!(
            "{}_{}",
            self.dir.path().file_name().unwrap().to_str().unwrap(),
            self.names_given
        );
        let name = name.replace('.', "t").to_lowercase();
        spark.sql_on_read(&self.table, &name, &statement.replace("$T", &name));
    }

    fn spark_updates(&mut self, spark: &mut Spark, which: usize, ids: Range<i64>, value: i64) {
        let live = self.live();
        let place = live[which % live.len()];
        let column = self.columns[place].name.clone();
        let (from, to) = (ids.start, ids.end);
        let statement =
            format!("UPDATE $T SET {column} = {value} WHERE id >= {from} AND id < {to}");
        self.spark_says(spark, &statement);
        for (_, row) in self.rows.range_mut(ids) {
            row.insert(place, value);
        }
    }

    /// Changes a column, by our command or by Spark's.
    fn alter(&mut self, spark: Option<&mut Spark>, which: usize, how: usize) {
        let live = self.live();
        let place = live[which % live.len()];
        let column = self.columns[place].clone();
        self.names_given += 1;
        // Every other time the name of a column that is gone, or was called otherwise before.
        let freed = ["a", "b", "c", "gone"].into_iter();
        let mut freed =
            freed.filter(|name| live.iter().all(|place| self.columns[*place].name != *name));
        let to = match freed.next_back() {
            Some(name) if how.is_multiple_of(2) => name.to_owned(),
            _ => format!("n{}", self.names_given),
        };
        let name = &column.name;
        let wider = match column.kind {
            "int" => Some("bigint"),
            "bigint" => Some("string"),
            _ => None,
        };
        let (words, statement) = match (how % 4, wider) {
            (0, _) => {
                self.columns[place].name.clone_from(&to);
                (
                    ["--rename".to_owned(), format!("{name}={to}")],
                    format!("RENAME COLUMN {name} TO {to}"),
                )
            }
            (1, Some(kind)) => {
                self.columns[place].kind = kind;
                (
                    ["--widen".to_owned(), format!("{name}:{kind}")],
                    format!("ALTER COLUMN {name} TYPE {kind}"),
                )
            }
            (2, _) if live.len() > 1 => {
                self.columns[place].is_dropped = true;
                (
                    ["--drop".to_owned(), name.clone()],
                    format!("DROP COLUMN {name}"),
                )
            }
            _ => {
                self.columns.push(Column {
                    name: to.clone(),
                    kind: "int",
                    is_dropped: false,
                });
                (
                    ["--add".to_owned(), format!("{to}:int")],
                    format!("ADD COLUMNS ({to} int)"),
                )
            }
        };
        match spark {
            Some(spark) => self.spark_says(spark, &format!("ALTER TABLE $T {statement}")),
            None => {
                let [option, value] = &words;
                self.command(&["alter", self.path(), option, value]);
            }
        }
    }

    fn assert_rows(&self, what: &str, found: &[String]) {
        let text = |value: &Value| match value {
            Value::Null => None,
            Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        };
        let found: BTreeMap<i64, BTreeMap<String, String>> = found
            .iter()
            .map(|line| serde_json::from_str::<Value>(line).unwrap())
            .map(|row| {
                let cells = row.as_object().unwrap().iter();
                let cells = cells.filter_map(|(name, value)| Some((name.clone(), text(value)?)));
                (row["id"].as_i64().unwrap(), cells.collect())
            })
            .collect();
        let expected: BTreeMap<i64, BTreeMap<String, String>> = self
            .rows
            .iter()
            .map(|(id, row)| {
                let mut cells = BTreeMap::from([
                    ("id".to_owned(), id.to_string()),
                    ("region".to_owned(), region(*id).to_owned()),
                ]);
                cells.extend(self.live().iter().filter_map(|place| {
                    Some((
                        self.columns[*place].name.clone(),
                        row.get(place)?.to_string(),
                    ))
                }));
                (*id, cells)
            })
            .collect();
        assert_eq!(found, expected, "{what}");
    }

    fn assert_ours(&self, what: &str) {
        self.assert_rows(what, &query(&self.table, &[]));
    }

    fn assert_both(&self, spark: &mut Spark, what: &str) {
        self.assert_ours(what);
        self.assert_rows(
            &format!("{what}, by Spark"),
            &spark.snapshot_on_read(&self.table),
        );
    }

    /// One of the things that may happen to a table; says what it was.
    fn turn(&mut self, spark: &mut Spark, dice: &mut Dice) -> String {
        let (which, how, value) = (dice.below(5), dice.below(8), dice.below(1000) as i64);
        let first = dice.below(30) as i64;
        let what = dice.below(10);
        match what {
            0 | 1 => self.alter(Some(spark), which, how),
            2 | 3 => self.alter(None, which, how),
            4 => self.write("upsert", first..first + 12, value),
            5 => self.write("delete", first..first + 3, 0),
            6 => self.spark_updates(spark, which, first..first + 8, value),
            7 => self.spark_inserts(spark, value),
            8 if self.is_merge_on_read && how < 4 => {
                spark.compact_on_read(self.version, &self.table)
            }
            8 if self.is_merge_on_read => drop(self.command(&["compact", self.path()])),
            _ => drop(self.command(&["cluster", self.path()])),
        }
        format!("{what} {which} {how} {first} {value}")
    }
}

/// The same throws in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: u64) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((self.0 >> 33) % sides).unwrap()
    }
}

#[test]
fn columns_are_changed_by_the_command_and_keep_their_values() {
    for (table_type, version) in [("cow", 9), ("mor", 9), ("mor", 6), ("cow", 8)] {
        let mut lake = Lake::made_by_us(table_type, version);
        lake.write("bulk-insert", 0..40, 1);
        for (which, how) in [(0, 0), (1, 1), (1, 1), (2, 2), (0, 3), (0, 4), (1, 0)] {
            lake.alter(None, which, how);
            lake.assert_ours("changed");
            lake.write("upsert", 10..20, 7);
            lake.assert_ours("written after the change");
        }
        lake.write("delete", 0..5, 0);
        if lake.is_merge_on_read {
            lake.command(&["compact", lake.path()]);
        }
        lake.command(&["cluster", lake.path()]);
        lake.assert_ours("compacted and clustered");
        lake.write("insert-overwrite", 0..2, 9);
        lake.rows.retain(|id, _| *id < 2);
        lake.assert_ours("overwritten");
        lake.command(&["fsck", lake.path()]);
    }
}

#[rstest]
#[case(&["--rename", "id=key"], "column `id` is a key of the table")]
#[case(&["--drop", "region"], "column `region` is a partition column of the table")]
#[case(&["--rename", "nope=x"], "no column `nope`; there are id, region, a, b, c")]
#[case(&["--rename", "a=B"], "a column `b` already; choose another name")]
#[case(&["--widen", "c:int"], "not every Utf8 is a Int32; add another column instead")]
#[case(&["--add", "d:number"], "`number` is no type; there are boolean, int")]
#[case(&[], "nothing to change")]
fn what_cannot_be_changed_is_said_by_column(#[case] words: &[&str], #[case] message: &str) {
    let mut lake = Lake::made_by_us("cow", 9);
    lake.write("insert", 0..4, 1);
    let refused = lakebed(&[&["table", "alter", lake.path()][..], words].concat());
    assert!(!refused.status.success());
    assert!(refused.stderr.contains(message), "{}", refused.stderr);
    lake.assert_ours("as it was");
}

#[test]
fn a_table_of_hudis_with_a_history_is_written_and_clustered() {
    let golden = catalogue()
        .into_iter()
        .find(|table| table.kind == "schema_on_read")
        .unwrap();
    let dir = unpack(&golden);
    let path = dir.path().join("table");
    let before = query(&path, &[]);
    let text = path.to_str().unwrap();
    lakebed(&["table", "cluster", text]).success();
    assert_eq!(query(&path, &[]).len(), before.len());
    let shown = |words: &[&str]| {
        let mut rows = query(&path, words);
        rows.sort();
        rows
    };
    let mut sorted = before.clone();
    sorted.sort();
    assert_eq!(shown(&[]), sorted);
    let mut row: Value = serde_json::from_str(&before[0]).unwrap();
    row["title"] = json!("ours");
    let file = dir.path().join("rows.json");
    std::fs::write(&file, row.to_string()).unwrap();
    let words = [
        "table",
        "write",
        text,
        "--op",
        "upsert",
        "--input",
        file.to_str().unwrap(),
    ];
    lakebed(&words).success();
    assert!(shown(&[]).iter().any(|row| row.contains("\"ours\"")));
}

#[rstest]
#[case("cow", 9, 11)]
#[case("mor", 9, 12)]
#[case("mor", 6, 13)]
#[ignore = "needs Apache Hudi on Spark"]
fn spark_and_we_change_columns_in_turn(
    #[case] table_type: &str,
    #[case] version: u32,
    #[case] seed: u64,
) {
    let mut spark = Spark::shared();
    let mut dice = Dice(seed);
    let mut lake = Lake::made_by_spark(&mut spark, table_type, version);
    lake.alter(Some(&mut spark), 0, 0);
    let mut turns = String::new();
    for turn in 0..26 {
        writeln!(turns, "{turn}: {}", lake.turn(&mut spark, &mut dice)).unwrap();
        lake.assert_both(&mut spark, &turns);
    }
}

#[rstest]
#[case("cow", 9)]
#[case("mor", 9)]
#[case("mor", 6)]
#[ignore = "needs Apache Hudi on Spark"]
fn spark_goes_on_with_a_history_that_we_began(#[case] table_type: &str, #[case] version: u32) {
    let mut spark = Spark::shared();
    let mut lake = Lake::made_by_us(table_type, version);
    lake.write("bulk-insert", 0..40, 1);
    for how in [0, 1, 2, 3] {
        lake.alter(None, how, how);
        lake.assert_both(&mut spark, "changed by us");
    }
    lake.spark_updates(&mut spark, 1, 5..15, 77);
    lake.assert_both(&mut spark, "updated by Spark");
    lake.alter(Some(&mut spark), 1, 0);
    lake.assert_both(&mut spark, "renamed by Spark");
    lake.write("upsert", 10..20, 5);
    lake.spark_inserts(&mut spark, 6);
    lake.assert_both(&mut spark, "written by both");
}
