//! Tables whose columns are renamed, dropped, added and widened between writes and services, against a model that knows columns by
//! what they are and not by what they are called.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow::util::display::array_value_to_string;
use futures::TryStreamExt;
use object_store::ObjectStore;
use object_store::path::Path;
use proptest::prelude::*;
use rstest::rstest;

use crate::config::{TableType, TableVersion};
use crate::error::ErrorKind;
use crate::reader::ReadOptions;
use crate::record::{RowKind, WriteBatch};
use crate::schema::ColumnChange;
use crate::schema::evolution::SchemaHistory;
use crate::schema::meta::{RECORD_KEY, is_meta_column};
use crate::service::Services;
use crate::service::compaction::Due;
use crate::storage::Storage;
use crate::table::{Table, TableSpec};
use crate::testing::{Fault, FaultyStore};
use crate::timeline::metadata::LATEST_SCHEMA;
use crate::writer::tests::concurrent::optimistic;
use crate::writer::tests::model::{env, local, small_writer};
use crate::writer::{TableWriter, WriteOperation, WriterOptions};

const FOLDER: &str = ".hoodie/.schema";

/// A column of the model: its values stay with its place here.
#[derive(Debug, Clone)]
struct Column {
    name: String,
    data_type: DataType,
    is_dropped: bool,
}

/// A table and what it is to hold.
struct Evolving {
    storage: Storage,
    table: Table,
    writer: TableWriter,
    columns: Vec<Column>,
    /// By id: the values of the columns, by their places.
    rows: BTreeMap<i64, BTreeMap<usize, i64>>,
    names_given: usize,
    _dir: tempfile::TempDir,
}

impl Evolving {
    async fn begin(table_type: TableType, version: TableVersion) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let storage = local(&dir);
        let columns = ["a", "b"].map(|name| Column {
            name: name.to_owned(),
            data_type: DataType::Int32,
            is_dropped: false,
        });
        let spec = TableSpec {
            name: "t".to_owned(),
            database: String::new(),
            table_type,
            schema: schema_of(&columns),
            record_key: vec!["id".to_owned()],
            partition_by: vec!["region".to_owned()],
            ordering: Vec::new(),
            merge_mode: None,
            properties: BTreeMap::from([(
                "hoodie.write.table.version".to_owned(),
                version.number().to_string(),
            )]),
        };
        let table = Table::create(storage.clone(), env(), spec).await.unwrap();
        let writer = small_writer(&table).await;
        Self {
            storage,
            table,
            writer,
            columns: columns.to_vec(),
            rows: BTreeMap::new(),
            names_given: 0,
            _dir: dir,
        }
    }

    fn services(&self) -> Services {
        self.table.services(env(), BTreeMap::new())
    }

    fn live(&self) -> Vec<usize> {
        let places = 0..self.columns.len();
        places
            .filter(|place| !self.columns[*place].is_dropped)
            .collect()
    }

    async fn write(&mut self, ids: std::ops::Range<i64>, value: i64) {
        let batch = self.batch(ids.clone(), value);
        let mut transaction = self.writer.begin(WriteOperation::Upsert).await.unwrap();
        transaction.upsert(batch).await.unwrap();
        transaction.commit(BTreeMap::new()).await.unwrap();
        self.note(ids, value);
    }

    fn batch(&self, ids: std::ops::Range<i64>, value: i64) -> WriteBatch {
        let live = self.live();
        let live: Vec<Column> = live
            .iter()
            .map(|place| self.columns[*place].clone())
            .collect();
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from_iter_values(ids.clone())),
            Arc::new(StringArray::from_iter_values(ids.clone().map(region))),
        ];
        for (position, column) in live.iter().enumerate() {
            let values = ids.clone().map(|id| value + id + position as i64);
            let values: ArrayRef = Arc::new(Int64Array::from_iter_values(values));
            columns.push(cast(&values, &column.data_type).unwrap());
        }
        let batch = RecordBatch::try_new(schema_of(&live), columns).unwrap();
        let kinds = vec![RowKind::UpdateAfter; batch.num_rows()];
        WriteBatch {
            records: batch,
            kinds,
        }
    }

    /// What a write of such a batch leaves in the table.
    fn note(&mut self, ids: std::ops::Range<i64>, value: i64) {
        for id in ids {
            let values = self.live().into_iter().enumerate();
            let row = values.map(|(position, place)| (place, value + id + position as i64));
            self.rows.insert(id, row.collect());
        }
    }

    async fn delete(&mut self, ids: std::ops::Range<i64>) {
        let fields = vec![
            Field::new("id", DataType::Int64, false),
            Field::new("region", DataType::Utf8, true),
        ];
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from_iter_values(ids.clone())),
            Arc::new(StringArray::from_iter_values(ids.clone().map(region))),
        ];
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap();
        let mut transaction = self.writer.begin(WriteOperation::Delete).await.unwrap();
        transaction.write(batch).await.unwrap();
        transaction.commit(BTreeMap::new()).await.unwrap();
        for id in ids {
            self.rows.remove(&id);
        }
    }

    /// Renames, widens or drops one of the columns, or adds one, whose name may be that of a dropped one.
    async fn alter(&mut self, which: usize, how: usize) {
        let live = self.live();
        let place = live[which % live.len()];
        let column = self.columns[place].clone();
        self.names_given += 1;
        let free = |name: &str| live.iter().all(|place| self.columns[*place].name != name);
        let old_name = self
            .columns
            .iter()
            .map(|column| &column.name)
            .find(|name| free(name));
        let new_name = match old_name {
            Some(name) if how.is_multiple_of(2) => name.clone(),
            _ => format!("c{}", self.names_given),
        };
        let wider = match column.data_type {
            DataType::Int32 => Some(DataType::Int64),
            DataType::Int64 => Some(DataType::Utf8),
            _ => None,
        };
        let change = match (how % 4, wider) {
            (0, _) => {
                self.columns[place].name.clone_from(&new_name);
                ColumnChange::Rename {
                    column: column.name,
                    to: new_name,
                }
            }
            (1, Some(data_type)) => {
                self.columns[place].data_type = data_type.clone();
                ColumnChange::Widen {
                    column: column.name,
                    data_type,
                }
            }
            (2, _) if live.len() > 1 => {
                self.columns[place].is_dropped = true;
                ColumnChange::Drop {
                    column: column.name,
                }
            }
            _ => {
                self.columns.push(Column {
                    name: new_name.clone(),
                    data_type: DataType::Int32,
                    is_dropped: false,
                });
                ColumnChange::Add {
                    column: new_name,
                    data_type: DataType::Int32,
                }
            }
        };
        self.writer.alter(&[change], BTreeMap::new()).await.unwrap();
    }

    /// What is read, as text by id and column.
    async fn read(&self) -> BTreeMap<i64, BTreeMap<String, String>> {
        let snapshot = self.table.snapshot(None).await.unwrap();
        let options = ReadOptions::new(env().memory);
        let mut found = BTreeMap::new();
        for slice in snapshot.slices() {
            let batches = snapshot.read_slice(slice, &options).await.unwrap();
            for batch in batches.try_collect::<Vec<_>>().await.unwrap() {
                for row in 0..batch.num_rows() {
                    let (key, row) = row_of(&batch, row);
                    assert!(found.insert(key, row).is_none(), "{key} twice");
                }
            }
        }
        found
    }

    async fn check(&self) {
        let expected: BTreeMap<i64, BTreeMap<String, String>> = self
            .rows
            .iter()
            .map(|(id, row)| {
                let mut cells = BTreeMap::from([
                    ("id".to_owned(), id.to_string()),
                    ("region".to_owned(), region(*id)),
                ]);
                cells.extend(self.live().iter().filter_map(|place| {
                    let value = row.get(place)?.to_string();
                    Some((self.columns[*place].name.clone(), value))
                }));
                (*id, cells)
            })
            .collect();
        assert_eq!(self.read().await, expected);
        // A new look at the table says the same as the writer.
        let table = Table::open_storage(self.storage.clone()).await.unwrap();
        assert_eq!(*table.schema().await.unwrap(), *self.writer.schema().await);
    }

    async fn history(&self) -> Option<SchemaHistory> {
        let timeline = self.table.timeline().await.unwrap();
        SchemaHistory::load(&self.storage, &timeline).await.unwrap()
    }

    async fn compact_if_logged(&self) {
        if self.table.config().table_type() == TableType::MergeOnRead {
            self.compact().await;
        }
    }

    async fn compact(&self) {
        let planned = self.services().schedule_compaction(Due::Now).await.unwrap();
        if let Some(planned) = planned {
            let time = planned.instant.time;
            self.services().execute_compaction(&time).await.unwrap();
        }
    }

    async fn cluster(&self) {
        let planned = self.services().schedule_clustering(Due::Now).await.unwrap();
        if let Some(planned) = planned {
            let time = planned.instant.time;
            self.services().execute_clustering(&time).await.unwrap();
        }
    }
}

fn region(id: i64) -> String {
    ["eu", "us"][usize::try_from(id % 2).unwrap()].to_owned()
}

fn schema_of(columns: &[Column]) -> SchemaRef {
    let mut fields: Vec<FieldRef> = vec![
        Arc::new(Field::new("id", DataType::Int64, false)),
        Arc::new(Field::new("region", DataType::Utf8, true)),
    ];
    let columns = columns.iter();
    fields.extend(
        columns.map(|column| Arc::new(Field::new(&column.name, column.data_type.clone(), true))),
    );
    Arc::new(Schema::new(fields))
}

/// Key and cells of a row; nulls are left out.
fn row_of(batch: &RecordBatch, row: usize) -> (i64, BTreeMap<String, String>) {
    let key = batch.column_by_name(RECORD_KEY).unwrap();
    let key = key.as_string::<i32>().value(row).parse().unwrap();
    let schema = batch.schema();
    let cells = schema.fields().iter().zip(batch.columns());
    let cells =
        cells.filter(|(field, column)| !is_meta_column(field.name()) && column.is_valid(row));
    let cells = cells.map(|(field, column)| {
        (
            field.name().clone(),
            array_value_to_string(column, row).unwrap(),
        )
    });
    (key, cells.collect())
}

fn tables() -> impl Iterator<Item = (TableType, TableVersion)> {
    let types = [TableType::CopyOnWrite, TableType::MergeOnRead];
    let versions = [TableVersion::Six, TableVersion::Eight, TableVersion::Nine];
    types
        .into_iter()
        .flat_map(move |it| versions.map(|version| (it, version)))
}

#[derive(Debug, Clone)]
enum Step {
    Write(i64, i64),
    Delete(i64),
    Alter(usize, usize),
    Compact,
    FoldLogs,
    Cluster,
    /// A plan, a change of the columns, and then the execution.
    AlterWhilePlanned(usize, usize),
    Reopen,
    Fail,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0_i64..60, 0_i64..1000).prop_map(|(first, value)| Step::Write(first, value)),
        1 => (0_i64..60).prop_map(Step::Delete),
        4 => (0_usize..4, 0_usize..8).prop_map(|(which, how)| Step::Alter(which, how)),
        1 => Just(Step::Compact),
        1 => Just(Step::FoldLogs),
        1 => Just(Step::Cluster),
        1 => (0_usize..4, 0_usize..8).prop_map(|(which, how)| Step::AlterWhilePlanned(which, how)),
        1 => Just(Step::Reopen),
        1 => Just(Step::Fail),
    ];
    prop::collection::vec(step, 4..16)
}

async fn take(table: &mut Evolving, step: &Step) {
    let is_merge_on_read = table.table.config().table_type() == TableType::MergeOnRead;
    let is_six = table.table.config().version() == TableVersion::Six;
    match step {
        Step::Write(first, value) => table.write(*first..first + 20, *value).await,
        Step::Delete(first) => table.delete(*first..first + 5).await,
        Step::Alter(which, how) => table.alter(*which, *how).await,
        Step::Compact if is_merge_on_read => table.compact().await,
        Step::FoldLogs if is_merge_on_read && !is_six => {
            let services = table.services();
            let planned = services.schedule_log_compaction(Due::Now).await.unwrap();
            if let Some(planned) = planned {
                let time = planned.instant.time;
                services.execute_log_compaction(&time).await.unwrap();
            }
        }
        Step::Cluster => table.cluster().await,
        Step::AlterWhilePlanned(which, how) if is_merge_on_read => {
            let planned = table
                .services()
                .schedule_compaction(Due::Now)
                .await
                .unwrap();
            table.alter(*which, *how).await;
            table.write(10..30, 7).await;
            if let Some(planned) = planned {
                let time = planned.instant.time;
                table.services().execute_compaction(&time).await.unwrap();
            }
        }
        Step::Reopen => table.writer = small_writer(&table.table).await,
        Step::Fail => {
            drop(table.writer.begin(WriteOperation::Upsert).await.unwrap());
            table.check().await;
            table.writer = small_writer(&table.table).await;
        }
        Step::Compact | Step::FoldLogs | Step::AlterWhilePlanned(..) => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, max_shrink_iters: 60, ..ProptestConfig::default() })]

    #[test]
    fn rows_keep_their_values_under_whatever_names(steps in steps()) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        for (table_type, version) in tables() {
            runtime.block_on(async {
                let mut table = Evolving::begin(table_type, version).await;
                table.write(0..60, 1).await;
                for step in &steps {
                    take(&mut table, step).await;
                    table.check().await;
                }
            });
        }
    }
}

#[tokio::test]
async fn every_commit_carries_the_schema_and_its_history_on() {
    for (table_type, version) in tables() {
        let mut table = Evolving::begin(table_type, version).await;
        table.write(0..20, 1).await;
        assert!(table.history().await.is_none());
        table.alter(0, 4).await;
        let altered = table.history().await.unwrap().newest_version();
        table.write(5..10, 2).await;
        table.delete(0..2).await;
        table.check().await;
        assert_eq!(table.history().await.unwrap().newest_version(), altered);
        let timeline = table.table.timeline().await.unwrap();
        let writes: Vec<_> = timeline.completed_writes().collect();
        let files = table.storage.list(FOLDER).await.unwrap().files;
        for (position, instant) in writes.iter().enumerate() {
            let metadata = timeline.read_metadata(instant).await.unwrap();
            let has = metadata.extra_metadata.contains_key(LATEST_SCHEMA);
            assert_eq!(has, position > 0);
            let name = instant.file_name();
            let name = format!("{}.schemacommit", name.split('.').next().unwrap());
            assert_eq!(
                files.iter().any(|file| file.name == name),
                position > 0,
                "{name}"
            );
        }
        let operation = timeline.read_metadata(writes[1]).await.unwrap().operation();
        assert_eq!(operation.unwrap(), Some(WriteOperation::AlterSchema));
    }
}

#[tokio::test]
async fn a_column_that_a_write_brings_gets_an_id_of_its_own() {
    for (table_type, version) in tables() {
        let mut table = Evolving::begin(table_type, version).await;
        table.write(0..20, 1).await;
        table.alter(0, 4).await;
        // `a` is free again; a column of that name is another one.
        table.columns.push(Column {
            name: "a".to_owned(),
            data_type: DataType::Int32,
            is_dropped: false,
        });
        let live: Vec<Column> = table.columns.clone();
        table.writer.set_schema(schema_of(&live)).await.unwrap();
        table.write(10..15, 5).await;
        table.check().await;
        table.compact_if_logged().await;
        table.check().await;
    }
}

#[tokio::test]
async fn changes_of_another_writer_are_taken_in_by_their_ids() {
    for (table_type, version) in tables() {
        let mut table = Evolving::begin(table_type, version).await;
        table.write(0..20, 1).await;
        let mut other = small_writer(&table.table).await;
        table.alter(0, 4).await;
        std::mem::swap(&mut table.writer, &mut other);
        table.write(5..10, 3).await;
        table.check().await;
        // One that has columns of its own in mind cannot tell what they are now.
        let schema = table.writer.schema().await;
        let fewer = Schema::new(schema.fields().iter().take(3).cloned().collect::<Vec<_>>());
        table.writer.set_schema(Arc::new(fewer)).await.unwrap();
        std::mem::swap(&mut table.writer, &mut other);
        table.alter(1, 4).await;
        let refused = other.begin(WriteOperation::Upsert).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Conflict, "{refused}");
        table.check().await;
    }
}

#[tokio::test]
async fn columns_do_not_change_beneath_a_write() {
    let mut table = Evolving::begin(TableType::MergeOnRead, TableVersion::Nine).await;
    table.write(0..20, 1).await;
    table.alter(0, 4).await;
    let locked = optimistic("InProcessLockProvider");
    let options = WriterOptions::default;
    let mut early = table.table.writer(locked.clone(), options()).await.unwrap();
    let mut altering = table.table.writer(locked.clone(), options()).await.unwrap();
    let drop_b = [ColumnChange::Drop {
        column: "b".to_owned(),
    }];
    // A write that began before the change goes by the columns of its time, and so do its files.
    let mut write = early.begin(WriteOperation::Upsert).await.unwrap();
    write.upsert(table.batch(5..10, 3)).await.unwrap();
    altering.alter(&drop_b, BTreeMap::new()).await.unwrap();
    table.columns[1].is_dropped = true;
    write.commit(BTreeMap::new()).await.unwrap();
    table.note(5..10, 3);
    table.writer = table.table.writer(locked.clone(), options()).await.unwrap();
    table.check().await;
    // A change of columns that a later write has overtaken is none.
    let mut fields = altering.schema().await.fields().to_vec();
    fields.push(Arc::new(Field::new("late", DataType::Utf8, true)));
    altering
        .set_schema(Arc::new(Schema::new(fields)))
        .await
        .unwrap();
    let overtaken = altering.begin(WriteOperation::Upsert).await.unwrap();
    table.write(0..5, 4).await;
    let refused = overtaken.commit(BTreeMap::new()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Conflict, "{refused}");
    table.check().await;
}

/// Whatever call a change of columns fails at, the table is as before or as after it, and writers go on.
#[rstest]
#[tokio::test]
async fn a_crash_leaves_the_old_columns_or_the_new_ones(
    #[values(Fault::Fail, Fault::ApplyThenFail)] fault: Fault,
    #[values(TableVersion::Six, TableVersion::Nine)] version: TableVersion,
) {
    let mut seen = [false; 2];
    for at in 0_u64.. {
        let mut table = Evolving::begin(TableType::MergeOnRead, version).await;
        table.write(0..20, 1).await;
        let store = Arc::clone(table.storage.object_store());
        let faulty = Arc::new(FaultyStore::new(store, at, fault));
        let root: Path = table.storage.object_path("").unwrap();
        let store: Arc<dyn ObjectStore> = Arc::clone(&faulty) as _;
        let storage = Storage::with_store(store, root, table.storage.location());
        let rename = ColumnChange::Rename {
            column: "a".to_owned(),
            to: "z".to_owned(),
        };
        let done = async {
            let faulty = Table::open_storage(storage).await?;
            let mut writer = faulty.writer(env(), WriterOptions::default()).await?;
            writer.alter(&[rename], BTreeMap::new()).await
        };
        let is_done = done.await.is_ok();
        table.writer = small_writer(&table.table).await;
        let is_renamed = table.writer.schema().await.index_of("z").is_ok();
        assert!(is_renamed || !is_done);
        seen[usize::from(is_renamed)] = true;
        if is_renamed {
            table.columns[0].name = "z".to_owned();
        }
        table.check().await;
        table.write(5..10, 2).await;
        table.check().await;
        if is_done {
            break;
        }
    }
    assert_eq!(seen, [true; 2]);
}

#[rstest]
#[case("id", "a key")]
#[case("region", "a partition column")]
#[tokio::test]
async fn columns_that_place_rows_stay(#[case] column: &str, #[case] role: &str) {
    let mut table = Evolving::begin(TableType::CopyOnWrite, TableVersion::Nine).await;
    table.write(0..20, 1).await;
    let rename = ColumnChange::Rename {
        column: column.to_owned(),
        to: "x".to_owned(),
    };
    let refused = table.writer.alter(&[rename], BTreeMap::new()).await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Invalid);
    assert!(refused.to_string().contains(role), "{refused}");
    assert!(table.history().await.is_none());
    let timeline = table.table.timeline().await.unwrap();
    assert_eq!(timeline.instants().len(), 1, "nothing was begun");
    table.check().await;
}

#[tokio::test]
async fn a_restore_brings_the_columns_back() {
    for (table_type, version) in tables() {
        let mut table = Evolving::begin(table_type, version).await;
        table.write(0..20, 1).await;
        table.alter(0, 4).await;
        table.write(5..10, 2).await;
        let saved = table.table.timeline().await.unwrap();
        let saved = saved.completed_writes().next_back().unwrap().time.clone();
        let services = table.services();
        services.create_savepoint(Some(&saved), "").await.unwrap();
        let (columns, rows) = (table.columns.clone(), table.rows.clone());
        table.alter(1, 4).await;
        table.write(0..20, 9).await;
        services.restore(&saved).await.unwrap();
        (table.columns, table.rows) = (columns, rows);
        table.writer = small_writer(&table.table).await;
        table.check().await;
        table.write(0..10, 4).await;
        table.check().await;
    }
}
