//! Small tables whose every answer is compared before and after.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use futures::TryStreamExt;

use crate::config::{TableType, TableVersion};
use crate::env::{Env, MemoryBudget};
use crate::reader::ReadOptions;
use crate::record::{RowKind, WriteBatch};
use crate::service::Services;
use crate::storage::Storage;
use crate::table::{Snapshot, Table, TableSpec};
use crate::testing::cell;
use crate::timeline::archived::Selection;
use crate::timeline::{Instant, InstantTime};
use crate::writer::{WriteOperation, WriterOptions};

pub(super) const CHECKPOINT: &str = "lakebed.checkpoint";

pub(super) fn env() -> Env {
    Env::system(MemoryBudget::new(64 << 20))
}

/// An empty table of `id` and `v`.
pub(super) async fn create(storage: &Storage, table_type: TableType) -> Table {
    create_version(storage, table_type, TableVersion::Nine).await
}

/// The same of a version of the format.
pub(super) async fn create_version(
    storage: &Storage,
    table_type: TableType,
    version: TableVersion,
) -> Table {
    let version = ("hoodie.write.table.version".to_owned(), version.to_string());
    let spec = TableSpec {
        name: "t".to_owned(),
        database: String::new(),
        table_type,
        schema: Arc::new(Schema::new(vec![
            Field::new("id", DataType::Int64, false),
            Field::new("v", DataType::Utf8, true),
        ])),
        record_key: vec!["id".to_owned()],
        partition_by: Vec::new(),
        ordering: Vec::new(),
        merge_mode: None,
        properties: BTreeMap::from([version]),
    };
    Table::create(storage.clone(), env(), spec).await.unwrap()
}

/// Commits new versions of these rows, one commit for each of `values`; a value that begins with `@` is a checkpoint as well.
pub(super) async fn commit(table: &Table, ids: std::ops::Range<i64>, values: &[&str]) {
    let mut writer = table.writer(env(), WriterOptions::default()).await.unwrap();
    let schema = writer.schema().await;
    for value in values {
        let keys: Int64Array = ids.clone().map(Some).collect();
        let texts: StringArray = ids.clone().map(|id| Some(format!("{value}{id}"))).collect();
        let records =
            RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(keys), Arc::new(texts)])
                .unwrap();
        let kinds = vec![RowKind::UpdateAfter; records.num_rows()];
        let mut transaction = writer.begin(WriteOperation::Upsert).await.unwrap();
        transaction
            .upsert(WriteBatch { records, kinds })
            .await
            .unwrap();
        let extra = value
            .strip_prefix('@')
            .map(|position| (CHECKPOINT.to_owned(), position.to_owned()));
        transaction
            .commit(extra.into_iter().collect())
            .await
            .unwrap();
    }
}

/// The services of a table that archives early: more than four commits go down to two, three files of a level are merged.
pub(super) fn services(table: &Table, more: &[(&str, &str)]) -> Services {
    let properties = [
        ("hoodie.keep.max.commits", "4"),
        ("hoodie.keep.min.commits", "2"),
        ("hoodie.clean.policy", "KEEP_LATEST_FILE_VERSIONS"),
        ("hoodie.timeline.compaction.batch.size", "3"),
        ("hoodie.commits.archival.batch", "2"),
    ];
    let properties = properties
        .iter()
        .chain(more)
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    table.services(env(), properties.collect())
}

/// The instants of both timelines, and how many are active. Fails when one is twice in the archive.
pub(super) async fn instants(table: &Table) -> (BTreeSet<Instant>, usize) {
    let timeline = table.timeline().await.unwrap();
    let active: BTreeSet<Instant> = timeline.completed().cloned().collect();
    let mut all = active.clone();
    let mut archived = BTreeSet::new();
    table
        .archived()
        .await
        .unwrap()
        .visit(&Selection::default(), |entry| {
            assert!(
                archived.insert(entry.instant.clone()),
                "{} is twice in the archive",
                entry.instant
            );
            Ok(())
        })
        .await
        .unwrap();
    all.extend(archived);
    (all, active.len())
}

/// Everything that a reader may ask a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answers {
    rows: Vec<String>,
    windows: Vec<Vec<String>>,
    travels: Vec<(Option<InstantTime>, Vec<String>)>,
    checkpoint: Option<String>,
    schema: String,
}

/// Asks for the snapshot, the window after and up to each of `times`, and the table as of each of them.
pub(super) async fn answers(table: &Table, times: &[InstantTime]) -> Answers {
    let table = Table::open_storage(table.storage().clone()).await.unwrap();
    let mut windows = Vec::new();
    let mut travels = Vec::new();
    for time in times {
        for (since, until) in [(Some(time), None), (None, Some(time))] {
            let window = table.incremental(since, until).await.unwrap();
            windows.push(rows(&window).await);
        }
        let travel = table.snapshot(Some(time)).await.unwrap();
        travels.push((travel.instant().cloned(), rows(&travel).await));
    }
    for pair in times.windows(2) {
        let window = table
            .incremental(Some(&pair[0]), Some(&pair[1]))
            .await
            .unwrap();
        windows.push(rows(&window).await);
    }
    let checkpoint = table.last_extra_metadata(CHECKPOINT).await.unwrap();
    Answers {
        rows: rows(&table.snapshot(None).await.unwrap()).await,
        windows,
        travels,
        checkpoint: checkpoint.map(|(_, extra)| extra[CHECKPOINT].clone()),
        schema: format!("{:?}", table.schema().await.unwrap()),
    }
}

async fn rows(snapshot: &Snapshot) -> Vec<String> {
    let options = ReadOptions::new(MemoryBudget::new(64 << 20));
    let mut rows = Vec::new();
    for slice in snapshot.slices() {
        let stream = snapshot.read_slice(slice, &options).await.unwrap();
        let batches: Vec<RecordBatch> = stream.try_collect().await.unwrap();
        for batch in batches {
            for row in 0..batch.num_rows() {
                let cells: Vec<String> = batch
                    .columns()
                    .iter()
                    .map(|column| cell(column, row).unwrap())
                    .collect();
                rows.push(cells.join(" "));
            }
        }
    }
    rows.sort_unstable();
    rows
}

/// Times to ask for: begin and completion of the oldest and the newest writes.
pub(super) fn times(instants: &BTreeSet<Instant>) -> Vec<InstantTime> {
    let writes = instants.iter().filter(|instant| instant.action.is_write());
    let times: BTreeSet<InstantTime> = writes
        .flat_map(|instant| [instant.time.clone(), instant.end_time().clone()])
        .collect();
    let times: Vec<InstantTime> = times.into_iter().collect();
    let split = times.len().saturating_sub(16);
    let (old, new) = times.split_at(split);
    old.iter().take(3).chain(new).cloned().collect()
}
