//! The model: a map of rows, changed by the same batches as the table.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Decimal128Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use futures::TryStreamExt;

use crate::config::{TableType, TableVersion};
use crate::env::{Env, MemoryBudget};
use crate::reader::ReadOptions;
use crate::record::{RowKind, WriteBatch};
use crate::storage::Storage;
use crate::table::{Table, TableSpec};
use crate::testing::{Row, cell, read_table};
use crate::writer::{TableWriter, WriterOptions};

/// What a table looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) table_type: TableType,
    pub(super) is_partitioned: bool,
    pub(super) key: Key,
    /// Rows are compared by `ts`; otherwise the later write wins.
    pub(super) is_event_time: bool,
}

/// The record key of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    Int,
    Text,
    /// A field with few values, and an integer: ranges of the first overlap.
    Composite,
}

impl Shape {
    pub(super) fn all() -> impl Iterator<Item = Self> {
        let mut shapes = Vec::new();
        for table_type in [TableType::CopyOnWrite, TableType::MergeOnRead] {
            for is_partitioned in [false, true] {
                for is_event_time in [false, true] {
                    for key in [Key::Int, Key::Text, Key::Composite] {
                        shapes.push(Self {
                            table_type,
                            is_partitioned,
                            key,
                            is_event_time,
                        });
                    }
                }
            }
        }
        shapes.into_iter()
    }

    fn key_fields(self) -> Vec<String> {
        match self.key {
            Key::Int => vec!["id".to_owned()],
            Key::Text => vec!["code".to_owned()],
            Key::Composite => vec!["kind".to_owned(), "id".to_owned()],
        }
    }

    /// The record key as the table writes it.
    fn record_key(self, change: &Change) -> String {
        match self.key {
            Key::Int => change.id.to_string(),
            Key::Text => code(change.id),
            Key::Composite => format!("kind:{},id:{}", kind(change.id), change.id),
        }
    }

    pub(super) fn partition_path(self, change: &Change) -> String {
        if self.is_partitioned {
            format!("region={}", change.region)
        } else {
            String::new()
        }
    }
}

/// One change: a new version of a row, or its end.
#[derive(Debug, Clone)]
pub(super) struct Change {
    pub(super) id: i64,
    pub(super) region: &'static str,
    /// `None` deletes.
    pub(super) price: Option<i64>,
    pub(super) ts: i64,
}

/// A string whose order is not that of the numbers.
fn code(id: i64) -> String {
    format!("c{}-{id}", (id * 7_919).rem_euclid(97))
}

fn kind(id: i64) -> &'static str {
    ["a", "b", "c"][usize::try_from(id.rem_euclid(3)).unwrap()]
}

pub(super) fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("code", DataType::Utf8, true),
        Field::new("kind", DataType::Utf8, true),
        Field::new("region", DataType::Utf8, true),
        Field::new("price", DataType::Decimal128(10, 2), true),
        Field::new(
            "at",
            DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            true,
        ),
        Field::new("ts", DataType::Int64, true),
    ]))
}

/// The rows of `changes`; rows to delete hold only their keys and partition.
pub(super) fn batch(changes: &[Change]) -> WriteBatch {
    let text = |of: &dyn Fn(&Change) -> String| -> ArrayRef {
        Arc::new(
            changes
                .iter()
                .map(|change| Some(of(change)))
                .collect::<StringArray>(),
        )
    };
    let price = changes
        .iter()
        .map(|change| change.price.map(i128::from))
        .collect::<Decimal128Array>();
    let at = changes
        .iter()
        .map(|change| change.price)
        .collect::<TimestampMicrosecondArray>();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(
            changes.iter().map(|change| change.id),
        )),
        text(&|change| code(change.id)),
        text(&|change| kind(change.id).to_owned()),
        text(&|change| change.region.to_owned()),
        Arc::new(price.with_precision_and_scale(10, 2).unwrap()),
        Arc::new(at.with_timezone("UTC")),
        Arc::new(Int64Array::from_iter_values(
            changes.iter().map(|change| change.ts),
        )),
    ];
    let kinds = changes
        .iter()
        .map(|change| {
            if change.price.is_some() {
                RowKind::UpdateAfter
            } else {
                RowKind::Delete
            }
        })
        .collect();
    WriteBatch {
        records: RecordBatch::try_new(schema(), columns).unwrap(),
        kinds,
    }
}

/// What the table is to hold, by partition path and record key.
#[derive(Debug, Clone, Default)]
pub(super) struct Model {
    rows: BTreeMap<(String, String), Change>,
    /// Ordering values of deletes that logs remember.
    tombstones: BTreeMap<(String, String), i64>,
    reads_merged: bool,
}

impl Model {
    /// One instant with one batch of changes.
    pub(super) fn apply(&mut self, shape: Shape, changes: &[Change]) {
        self.apply_instant(shape, &[changes.to_vec()]);
    }

    /// One instant with several batches of changes.
    pub(super) fn apply_instant(&mut self, shape: Shape, batches: &[Vec<Change>]) {
        self.reads_merged = shape.is_event_time;
        let mut deleted: BTreeMap<(String, String), i64> = BTreeMap::new();
        for changes in batches {
            let mut combined: BTreeMap<(String, String), Change> = BTreeMap::new();
            for change in changes {
                let key = (shape.partition_path(change), shape.record_key(change));
                match combined.get(&key) {
                    Some(older) if shape.is_event_time && older.ts > change.ts => {}
                    _ => drop(combined.insert(key, change.clone())),
                }
            }
            for (key, change) in combined {
                // Within an instant a delete counts for what comes later, whether it found a row or not.
                if shape.is_event_time && deleted.get(&key).is_some_and(|ts| *ts > change.ts) {
                    continue;
                }
                if change.price.is_none() {
                    deleted.insert(key.clone(), change.ts);
                }
                self.change(shape, key, change);
            }
        }
    }

    fn change(&mut self, shape: Shape, key: (String, String), change: Change) {
        let row = self.rows.get(&key).map(|row| row.ts);
        let tombstone = self.tombstones.get(&key).copied();
        if shape.is_event_time && row.max(tombstone) > Some(change.ts) {
            return;
        }
        if change.price.is_some() {
            self.tombstones.remove(&key);
            self.rows.insert(key, change);
            return;
        }
        let was_known = self.rows.remove(&key).is_some() || tombstone.is_some();
        if was_known && shape.is_event_time && shape.table_type == TableType::MergeOnRead {
            self.tombstones.insert(key, change.ts);
        }
    }

    /// Rows go by key, whatever their ordering values.
    pub(super) fn delete(&mut self, shape: Shape, changes: &[Change]) {
        for change in changes {
            let key = (shape.partition_path(change), shape.record_key(change));
            let row = self.rows.remove(&key);
            if let Some(row) = row
                && shape.is_event_time
                && shape.table_type == TableType::MergeOnRead
            {
                self.tombstones.insert(key, row.ts);
            }
        }
    }

    /// Partitions are emptied.
    pub(super) fn drop_partitions(&mut self, is_dropped: impl Fn(&str) -> bool) {
        self.rows.retain(|(path, _), _| !is_dropped(path));
        self.tombstones.retain(|(path, _), _| !is_dropped(path));
    }

    /// The rows as [`read_table`] gives them.
    pub(super) fn expected(&self) -> BTreeMap<(String, String), Row> {
        let mut expected = BTreeMap::new();
        for (key, change) in &self.rows {
            let records = batch(std::slice::from_ref(change)).records;
            let schema = records.schema();
            let cells = schema.fields().iter().zip(records.columns());
            let row = cells.map(|(field, column)| (field.name().clone(), cell(column, 0).unwrap()));
            expected.insert(key.clone(), row.collect());
        }
        expected
    }

    pub(super) async fn check(&self, storage: &Storage) {
        let found = if self.reads_merged {
            read_merged(storage).await
        } else {
            read_table(storage).await.unwrap()
        };
        let expected = self.expected();
        for (key, row) in &expected {
            assert_eq!(found.get(key), Some(row), "{key:?}");
        }
        for key in found.keys() {
            assert!(expected.contains_key(key), "{key:?} should not be there");
        }
    }
}

/// The rows as queries see them: logs are merged by their ordering values. They are the same with memory and without.
pub(super) async fn read_merged(storage: &Storage) -> BTreeMap<(String, String), Row> {
    let rows = read_within(storage, 64 << 20).await;
    assert!(
        rows == read_within(storage, 1).await,
        "spilled logs give other rows"
    );
    rows
}

async fn read_within(storage: &Storage, memory_bytes: u64) -> BTreeMap<(String, String), Row> {
    let table = Table::open_storage(storage.clone()).await.unwrap();
    let snapshot = table.snapshot(None).await.unwrap();
    let options = ReadOptions::new(MemoryBudget::new(memory_bytes));
    let mut rows = BTreeMap::new();
    for slice in snapshot.slices() {
        let batches = snapshot.read_slice(slice, &options).await.unwrap();
        let batches: Vec<RecordBatch> = batches.try_collect().await.unwrap();
        for batch in &batches {
            for row in 0..batch.num_rows() {
                let text = |name: &str| cell(batch.column_by_name(name).unwrap(), row).unwrap();
                let key = (slice.partition_path.clone(), text("_hoodie_record_key"));
                let cells = schema()
                    .fields()
                    .iter()
                    .map(|field| {
                        let name = field.name();
                        (name.clone(), text(name))
                    })
                    .collect();
                assert!(
                    rows.insert(key.clone(), cells).is_none(),
                    "{key:?} is there twice"
                );
            }
        }
    }
    rows
}

pub(super) fn env() -> Env {
    Env::system(MemoryBudget::new(64 << 20))
}

pub(super) async fn create(storage: &Storage, shape: Shape) -> Table {
    create_version(storage, shape, TableVersion::Nine).await
}

/// A table of a version of the format.
pub(super) async fn create_version(
    storage: &Storage,
    shape: Shape,
    version: TableVersion,
) -> Table {
    let version = ("hoodie.write.table.version".to_owned(), version.to_string());
    let spec = TableSpec {
        name: "trips".to_owned(),
        database: "shop".to_owned(),
        table_type: shape.table_type,
        schema: schema(),
        record_key: shape.key_fields(),
        partition_by: if shape.is_partitioned {
            vec!["region".to_owned()]
        } else {
            Vec::new()
        },
        ordering: if shape.is_event_time {
            vec!["ts".to_owned()]
        } else {
            Vec::new()
        },
        merge_mode: None,
        properties: BTreeMap::from([version]),
    };
    Table::create(storage.clone(), env(), spec).await.unwrap()
}

/// A writer whose groups are full at a few thousand bytes, so that there are many.
pub(super) async fn small_writer(table: &Table) -> TableWriter {
    let properties = [
        ("hoodie.parquet.max.file.size", "6000"),
        ("hoodie.parquet.small.file.limit", "5200"),
    ];
    let properties = properties
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
    table
        .writer(env(), WriterOptions::from_properties(&properties).unwrap())
        .await
        .unwrap()
}

pub(super) fn local(dir: &tempfile::TempDir) -> Storage {
    Storage::open(dir.path().join("t").to_str().unwrap()).unwrap()
}
