//! Operations by their names, one promise each.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use rstest::rstest;

use crate::config::TableType;
use crate::error::{ErrorKind, Result};
use crate::record::{RowKind, WriteBatch};
use crate::storage::Storage;
use crate::table::{Table, TableSpec};
use crate::testing::read_table;
use crate::timeline::metadata::{
    CommitMetadata, CompactionOperation, CompactionPlan, Payload, RequestedReplaceMetadata,
    SliceInfo,
};
use crate::timeline::{Action, Instant, State};
use crate::writer::tests::model::{
    Change, Key, Model, Shape, batch, create, env, local, small_writer,
};
use crate::writer::{TableWriter, WriteOperation, WriterOptions};

const COW: TableType = TableType::CopyOnWrite;
const MOR: TableType = TableType::MergeOnRead;

fn shape(table_type: TableType, is_event_time: bool) -> Shape {
    Shape {
        table_type,
        is_partitioned: true,
        key: Key::Int,
        is_event_time,
    }
}

fn row(id: i64, region: &'static str, price: i64, ts: i64) -> Change {
    Change {
        id,
        region,
        price: Some(price),
        ts,
    }
}

async fn commit(writer: &mut TableWriter, operation: WriteOperation, rows: &[Change]) -> Instant {
    let mut transaction = writer.begin(operation).await.unwrap();
    if operation == WriteOperation::Upsert {
        transaction.upsert(batch(rows)).await.unwrap();
    } else {
        transaction.write(batch(rows).records).await.unwrap();
    }
    transaction.commit(BTreeMap::new()).await.unwrap()
}

async fn writer_with(table: &Table, properties: &[(&str, &str)]) -> TableWriter {
    let properties = properties
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    let options = WriterOptions::from_properties(&properties).unwrap();
    table.writer(env(), options).await.unwrap()
}

async fn metadata(table: &Table, instant: &Instant) -> CommitMetadata {
    let timeline = table.timeline().await.unwrap();
    timeline.read_metadata(instant).await.unwrap()
}

#[rstest]
#[tokio::test]
async fn hazard_11_a_row_deleted_by_key_does_not_come_back_with_older_data(
    #[values(COW, MOR)] table_type: TableType,
) {
    let shape = shape(table_type, true);
    let dir = tempfile::tempdir().unwrap();
    let storage = local(&dir);
    let table = create(&storage, shape).await;
    let mut writer = small_writer(&table).await;
    let mut model = Model::default();
    let rows = [
        row(1, "eu", 1, 10),
        row(2, "eu", 2, 10),
        row(3, "eu", 3, 10),
    ];
    commit(&mut writer, WriteOperation::Insert, &rows).await;
    model.apply(shape, &rows);
    commit(&mut writer, WriteOperation::Delete, &[row(2, "eu", 0, 0)]).await;
    model.delete(shape, &[row(2, "eu", 0, 0)]);
    model.check(&storage).await;
    let late = [row(2, "eu", 9, 5)];
    commit(&mut writer, WriteOperation::Upsert, &late).await;
    model.apply(shape, &late);
    model.check(&storage).await;
    let later = [row(2, "eu", 7, 11)];
    commit(&mut writer, WriteOperation::Upsert, &later).await;
    model.apply(shape, &later);
    model.check(&storage).await;
}

#[rstest]
#[tokio::test]
async fn within_an_instant_the_highest_ordering_value_wins(
    #[values(COW, MOR)] table_type: TableType,
) {
    let shape = shape(table_type, true);
    let dir = tempfile::tempdir().unwrap();
    let storage = local(&dir);
    let table = create(&storage, shape).await;
    let mut writer = small_writer(&table).await;
    let mut model = Model::default();
    let delete = |id, ts| Change {
        price: None,
        ..row(id, "eu", 0, ts)
    };
    let batches = [
        vec![
            row(1, "eu", 1, 5),
            row(1, "eu", 2, 4),
            row(1, "eu", 3, 5),
            delete(2, 20),
        ],
        vec![
            row(2, "eu", 1, 15),
            row(3, "eu", 1, 9),
            delete(1, 4),
            delete(3, 9),
        ],
        vec![row(3, "eu", 8, 9), row(4, "eu", 1, 1)],
    ];
    let mut transaction = writer.begin(WriteOperation::Upsert).await.unwrap();
    for changes in &batches {
        transaction.upsert(batch(changes)).await.unwrap();
    }
    transaction.commit(BTreeMap::new()).await.unwrap();
    model.apply_instant(shape, &batches);
    let expected = model.expected();
    assert_eq!(expected.len(), 3, "{expected:?}");
    model.check(&storage).await;
}

#[tokio::test]
async fn hazard_12_a_null_ordering_value_is_refused_by_its_key() {
    let dir = tempfile::tempdir().unwrap();
    let storage = local(&dir);
    let table = create(&storage, shape(COW, true)).await;
    let mut writer = small_writer(&table).await;
    let rows = batch(&[row(41, "eu", 1, 1), row(42, "eu", 1, 1)]);
    let mut columns = rows.records.columns().to_vec();
    columns[6] = Arc::new(Int64Array::from(vec![Some(1), None]));
    let records = RecordBatch::try_new(rows.records.schema(), columns).unwrap();
    for operation in [
        WriteOperation::Upsert,
        WriteOperation::Insert,
        WriteOperation::BulkInsert,
    ] {
        let mut transaction = writer.begin(operation).await.unwrap();
        transaction.write(records.clone()).await.unwrap();
        let error = transaction.flush().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(
            error.to_string().contains("`ts`") && error.to_string().contains("42"),
            "{error}"
        );
        transaction.abort().await.unwrap();
    }
}

async fn marked_table(storage: &Storage, table_type: TableType) -> Table {
    let spec = TableSpec {
        name: "marked".to_owned(),
        database: String::new(),
        table_type,
        schema: Arc::new(Schema::new(vec![
            Field::new("id", DataType::Int64, false),
            Field::new("op", DataType::Utf8, true),
            Field::new("_hoodie_is_deleted", DataType::Boolean, true),
        ])),
        record_key: vec!["id".to_owned()],
        partition_by: Vec::new(),
        ordering: Vec::new(),
        merge_mode: None,
        properties: BTreeMap::from([
            ("hoodie.payload.delete.field".to_owned(), "op".to_owned()),
            ("hoodie.payload.delete.marker".to_owned(), "D".to_owned()),
            ("hoodie.write.table.version".to_owned(), "8".to_owned()),
        ]),
    };
    Table::create(storage.clone(), env(), spec).await.unwrap()
}

fn marked(rows: &[(i64, &str, bool)]) -> RecordBatch {
    let ids: ArrayRef = Arc::new(rows.iter().map(|row| row.0).collect::<Int64Array>());
    let ops: ArrayRef = Arc::new(rows.iter().map(|row| Some(row.1)).collect::<StringArray>());
    let flags: ArrayRef = Arc::new(rows.iter().map(|row| Some(row.2)).collect::<BooleanArray>());
    RecordBatch::try_from_iter([("id", ids), ("op", ops), ("_hoodie_is_deleted", flags)]).unwrap()
}

#[rstest]
#[tokio::test]
async fn rows_that_mark_deletes_are_deletes(
    #[values(COW, MOR)] table_type: TableType,
    #[values(WriteOperation::Insert, WriteOperation::BulkInsert)] load: WriteOperation,
) {
    let dir = tempfile::tempdir().unwrap();
    let storage = local(&dir);
    let table = marked_table(&storage, table_type).await;
    assert_eq!(table.config().version().number(), 8);
    let mut writer = small_writer(&table).await;
    let mut transaction = writer.begin(load).await.unwrap();
    let rows = [
        (1, "I", false),
        (2, "I", false),
        (3, "I", false),
        (4, "D", false),
        (5, "I", true),
    ];
    transaction.write(marked(&rows)).await.unwrap();
    transaction.commit(BTreeMap::new()).await.unwrap();
    let mut transaction = writer.begin(WriteOperation::Upsert).await.unwrap();
    transaction
        .write(marked(&[(1, "D", false), (2, "U", true), (9, "D", false)]))
        .await
        .unwrap();
    transaction.commit(BTreeMap::new()).await.unwrap();
    let left: Vec<String> = read_table(&storage)
        .await
        .unwrap()
        .into_keys()
        .map(|key| key.1)
        .collect();
    assert_eq!(left, ["3"]);
}

#[rstest]
#[tokio::test]
async fn inserts_fill_small_groups_and_never_go_to_logs(#[values(COW, MOR)] table_type: TableType) {
    let shape = shape(table_type, false);
    let dir = tempfile::tempdir().unwrap();
    let storage = local(&dir);
    let table = create(&storage, shape).await;
    let mut writer = table.writer(env(), WriterOptions::default()).await.unwrap();
    let mut model = Model::default();
    for ids in [0..20, 20..30] {
        let rows: Vec<Change> = ids.map(|id| row(id, "eu", id, 0)).collect();
        let instant = commit(&mut writer, WriteOperation::Insert, &rows).await;
        model.apply(shape, &rows);
        let metadata = metadata(&table, &instant).await;
        assert_eq!(metadata.operation_type.as_deref(), Some("INSERT"));
        let stats: Vec<_> = metadata.write_stats().collect();
        assert_eq!(stats.len(), 1);
        assert_eq!(stats[0].num_inserts, Some(rows.len() as i64));
        assert_eq!(stats[0].log_files, None);
    }
    model.check(&storage).await;
    let files = storage.list("region=eu").await.unwrap().files;
    let bases = files.iter().filter(|file| file.name.ends_with(".parquet"));
    assert_eq!(bases.count(), 2, "one group, written anew");
}

#[tokio::test]
async fn a_key_that_was_inserted_twice_is_changed_and_deleted_in_both_places() {
    let shape = shape(COW, false);
    let dir = tempfile::tempdir().unwrap();
    let storage = local(&dir);
    let table = create(&storage, shape).await;
    let mut writer = small_writer(&table).await;
    let many: Vec<Change> = (0..300).map(|id| row(id, "eu", 1, 0)).collect();
    commit(&mut writer, WriteOperation::Insert, &many).await;
    commit(&mut writer, WriteOperation::BulkInsert, &many).await;
    commit(&mut writer, WriteOperation::Upsert, &[row(7, "eu", 99, 0)]).await;
    let snapshot = table.snapshot(None).await.unwrap();
    assert!(snapshot.slices().len() >= 2);
    commit(&mut writer, WriteOperation::Delete, &many).await;
    let left = read_table(&storage).await.unwrap();
    assert!(left.is_empty(), "{} rows are left", left.len());
}

#[rstest]
#[tokio::test]
async fn hoodie_combine_before_insert_keeps_one_row_of_a_key(
    #[values(WriteOperation::Insert, WriteOperation::BulkInsert)] operation: WriteOperation,
) {
    let shape = shape(COW, true);
    let dir = tempfile::tempdir().unwrap();
    let storage = local(&dir);
    let table = create(&storage, shape).await;
    let mut writer = writer_with(&table, &[("hoodie.combine.before.insert", "true")]).await;
    let rows = [row(1, "eu", 1, 3), row(1, "eu", 2, 2), row(1, "eu", 3, 3)];
    commit(&mut writer, operation, &rows).await;
    let mut model = Model::default();
    model.apply(shape, &rows);
    model.check(&storage).await;
}

#[rstest]
#[case("GLOBAL_SIMPLE", true)]
#[case("GLOBAL_BLOOM", false)]
#[tokio::test]
async fn a_row_that_changes_partition_moves_or_stays(
    #[values(COW, MOR)] table_type: TableType,
    #[case] index: &str,
    #[case] moves: bool,
) {
    let shape = shape(table_type, true);
    let dir = tempfile::tempdir().unwrap();
    let storage = local(&dir);
    let table = create(&storage, shape).await;
    let update = if moves { "true" } else { "false" };
    let properties = [
        ("hoodie.index.type", index),
        ("hoodie.simple.index.update.partition.path", update),
        ("hoodie.bloom.index.update.partition.path", update),
    ];
    let mut writer = writer_with(&table, &properties).await;
    let rows = [row(1, "eu", 1, 5), row(2, "eu", 1, 5), row(3, "us", 1, 5)];
    commit(&mut writer, WriteOperation::Upsert, &rows).await;
    // The second one comes too late to move.
    let changes = [row(1, "us", 2, 6), row(2, "us", 2, 4), row(4, "us", 2, 1)];
    commit(&mut writer, WriteOperation::Upsert, &changes).await;
    let table = Table::open_storage(storage.clone()).await.unwrap();
    let keys = |rows: &BTreeMap<(String, String), _>| -> Vec<String> {
        rows.keys()
            .map(|(path, key)| format!("{path}/{key}"))
            .collect()
    };
    let expected = if moves {
        vec!["region=eu/2", "region=us/1", "region=us/3", "region=us/4"]
    } else {
        vec!["region=eu/1", "region=eu/2", "region=us/3", "region=us/4"]
    };
    assert_eq!(keys(&super::model::read_merged(&storage).await), expected);
    commit(
        &mut writer,
        WriteOperation::Delete,
        &[row(1, "xx", 0, 9), row(3, "xx", 0, 9)],
    )
    .await;
    let left = keys(&super::model::read_merged(&storage).await);
    assert_eq!(left, ["region=eu/2", "region=us/4"]);
    drop(table);
}

#[rstest]
#[case(WriteOperation::InsertOverwrite, "region=eu", None)]
#[case(WriteOperation::InsertOverwriteTable, "region=eu,region=us", None)]
#[case(WriteOperation::DeletePartition, "region=eu", Some("DELETE_PARTITION"))]
#[tokio::test]
async fn replacing_is_told_as_hudi_tells_it(
    #[values(COW, MOR)] table_type: TableType,
    #[case] operation: WriteOperation,
    #[case] paths: &str,
    #[case] requested_operation: Option<&str>,
) {
    let dir = tempfile::tempdir().unwrap();
    let storage = local(&dir);
    let table = create(&storage, shape(table_type, false)).await;
    let mut writer = small_writer(&table).await;
    let old = [row(1, "eu", 1, 0), row(2, "us", 1, 0)];
    commit(&mut writer, WriteOperation::Upsert, &old).await;
    let instant = commit(&mut writer, operation, &[row(3, "eu", 1, 0)]).await;
    assert_eq!(instant.action, Action::ReplaceCommit);
    let metadata = metadata(&table, &instant).await;
    let replaced = &metadata.partition_to_replace_file_ids;
    assert_eq!(
        replaced.keys().cloned().collect::<Vec<_>>().join(","),
        paths
    );
    assert!(replaced.values().all(|ids| ids.len() == 1));
    assert_eq!(metadata.operation_type.as_deref(), Some(operation.as_str()));
    let timeline = table.timeline().await.unwrap();
    let requested: RequestedReplaceMetadata = timeline.read_plan(&instant).await.unwrap();
    assert_eq!(requested.operation_type.as_deref(), requested_operation);
    assert_eq!(requested.version, requested_operation.map(|_| 1));
    // The writer knows that the keys are gone.
    commit(&mut writer, WriteOperation::Upsert, &[row(1, "eu", 5, 0)]).await;
    let rows = read_table(&storage).await.unwrap();
    assert!(rows.contains_key(&("region=eu".to_owned(), "1".to_owned())));
}

/// Puts a plan on the timeline that changes the group of partition `region=eu`.
async fn plan(storage: &Storage, table: &Table, action: Action) -> Result<()> {
    let snapshot = table.snapshot(None).await?;
    let slice = snapshot
        .slices()
        .iter()
        .find(|slice| slice.partition_path == "region=eu");
    let file_id = slice.map(|slice| slice.file_id.clone());
    let partition_path = Some("region=eu".to_owned());
    let content = if action == Action::Clustering {
        let group = crate::timeline::metadata::ClusteringGroup {
            slices: Some(vec![SliceInfo {
                file_id,
                partition_path,
                ..SliceInfo::default()
            }]),
            ..Default::default()
        };
        let plan = crate::timeline::metadata::ClusteringPlan {
            input_groups: Some(vec![group]),
            ..Default::default()
        };
        RequestedReplaceMetadata {
            operation_type: Some("CLUSTER".to_owned()),
            clustering_plan: Some(plan),
            ..RequestedReplaceMetadata::default()
        }
        .encode_avro()?
    } else {
        CompactionPlan {
            operations: Some(vec![CompactionOperation {
                file_id,
                partition_path,
                ..CompactionOperation::default()
            }]),
            ..CompactionPlan::default()
        }
        .encode_avro()?
    };
    let timeline = table.timeline().await?;
    let newest: u64 = timeline.latest_time().unwrap().as_str().parse().unwrap();
    let requested = Instant {
        time: (newest + 1).to_string().parse()?,
        action,
        state: State::Requested,
        completion: None,
    };
    storage
        .create(&timeline.path_of(&requested), content.into())
        .await
}

#[rstest]
#[case(COW, Action::Clustering, WriteOperation::InsertOverwrite)]
#[case(COW, Action::Clustering, WriteOperation::DeletePartition)]
#[case(MOR, Action::Compaction, WriteOperation::DeletePartition)]
#[tokio::test]
async fn hazard_19_groups_that_a_plan_needs_are_not_replaced(
    #[case] table_type: TableType,
    #[case] action: Action,
    #[case] operation: WriteOperation,
) {
    let dir = tempfile::tempdir().unwrap();
    let storage = local(&dir);
    let table = create(&storage, shape(table_type, false)).await;
    let mut writer = small_writer(&table).await;
    let old = [row(1, "eu", 1, 0), row(2, "us", 1, 0)];
    commit(&mut writer, WriteOperation::Upsert, &old).await;
    plan(&storage, &table, action).await.unwrap();
    let mut transaction = writer.begin(operation).await.unwrap();
    transaction
        .write(batch(&[row(3, "eu", 1, 0)]).records)
        .await
        .unwrap();
    let error = transaction.commit(BTreeMap::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    assert!(error.to_string().contains(action.as_str()), "{error}");
    let mut transaction = writer.begin(operation).await.unwrap();
    transaction
        .write(batch(&[row(3, "us", 1, 0)]).records)
        .await
        .unwrap();
    transaction.commit(BTreeMap::new()).await.unwrap();
}

#[tokio::test]
async fn partitions_are_dropped_by_path() {
    let dir = tempfile::tempdir().unwrap();
    let storage = local(&dir);
    let table = create(&storage, shape(COW, false)).await;
    let mut writer = small_writer(&table).await;
    let old = [row(1, "eu", 1, 0), row(2, "us", 1, 0), row(3, "ua", 1, 0)];
    commit(&mut writer, WriteOperation::Upsert, &old).await;
    let mut transaction = writer.begin(WriteOperation::DeletePartition).await.unwrap();
    let missing = transaction.drop_partitions(&["region=xx".to_owned()]);
    assert!(missing.unwrap_err().to_string().contains("region=xx"));
    transaction
        .drop_partitions(&["region=u*".to_owned()])
        .unwrap();
    transaction.commit(BTreeMap::new()).await.unwrap();
    let left: Vec<String> = read_table(&storage)
        .await
        .unwrap()
        .into_keys()
        .map(|key| key.1)
        .collect();
    assert_eq!(left, ["1"]);
}

#[tokio::test]
async fn sorted_bulk_inserts_make_narrow_ranges() {
    let shape = shape(COW, false);
    let dir = tempfile::tempdir().unwrap();
    let storage = local(&dir);
    let table = create(&storage, shape).await;
    let mut writer = small_writer(&table).await;
    let rows: Vec<Change> = (0..600).map(|n| row(n * 7 % 600, "eu", n, 0)).collect();
    commit(&mut writer, WriteOperation::BulkInsert, &rows).await;
    let mut model = Model::default();
    model.apply(shape, &rows);
    model.check(&storage).await;
    writer.check_ranges(&storage).await;
    let change = [row(300, "eu", -1, 0)];
    let instant = commit(&mut writer, WriteOperation::Upsert, &change).await;
    assert_eq!(metadata(&table, &instant).await.write_stats().count(), 1);
}

#[tokio::test]
async fn deletes_need_only_keys_and_partitions() {
    let shape = shape(MOR, true);
    let dir = tempfile::tempdir().unwrap();
    let storage = local(&dir);
    let table = create(&storage, shape).await;
    let mut writer = small_writer(&table).await;
    commit(
        &mut writer,
        WriteOperation::Upsert,
        &[row(1, "eu", 1, 7), row(2, "eu", 1, 7)],
    )
    .await;
    let keys = batch(&[row(1, "eu", 0, 0)])
        .records
        .project(&[0, 3])
        .unwrap();
    let mut transaction = writer.begin(WriteOperation::Delete).await.unwrap();
    transaction.write(keys.clone()).await.unwrap();
    transaction.commit(BTreeMap::new()).await.unwrap();
    assert_eq!(super::model::read_merged(&storage).await.len(), 1);
    let mut transaction = writer.begin(WriteOperation::Delete).await.unwrap();
    transaction
        .write(keys.project(&[0]).unwrap())
        .await
        .unwrap();
    let error = transaction.flush().await.unwrap_err();
    assert!(error.to_string().contains("`region`"), "{error}");
    // As changes they would need their ordering values.
    let kinds = vec![RowKind::Delete; 1];
    let mut transaction = writer.begin(WriteOperation::Upsert).await.unwrap();
    let changes = WriteBatch {
        records: keys,
        kinds,
    };
    assert!(transaction.upsert(changes).await.is_err());
}

#[rstest]
#[tokio::test]
async fn hazard_13_partial_updates_keep_what_they_do_not_say_in_whole_rows(
    #[values(COW, MOR)] table_type: TableType,
    #[values(false, true)] is_event_time: bool,
) {
    let shape = shape(table_type, is_event_time);
    let dir = tempfile::tempdir().unwrap();
    let storage = local(&dir);
    let table = create(&storage, shape).await;
    let mut writer = writer_with(&table, &[("hoodie.lakebed.partial.update", "true")]).await;
    let mut model = Model::default();
    let rows = [row(1, "eu", 10, 5), row(2, "eu", 20, 5)];
    commit(&mut writer, WriteOperation::Upsert, &rows).await;
    model.apply(shape, &rows);
    // Without `at`, which was made of the price; twice in one instant, so that the second sees what the first has written.
    let mut transaction = writer.begin(WriteOperation::Upsert).await.unwrap();
    for (price, ts) in [(11, 6), (12, 7)] {
        let changes = batch(&[row(1, "eu", price, ts)]).records;
        let part = changes.project(&[0, 1, 2, 3, 4, 6]).unwrap();
        transaction.write(part).await.unwrap();
        transaction.flush().await.unwrap();
    }
    transaction.commit(BTreeMap::new()).await.unwrap();
    model.apply(shape, &[row(1, "eu", 12, 7)]);
    let mut expected = model.expected();
    let changed = expected
        .get_mut(&("region=eu".to_owned(), "1".to_owned()))
        .unwrap();
    changed.insert("at".to_owned(), "1970-01-01T00:00:00.000010".to_owned());
    assert_eq!(super::model::read_merged(&storage).await, expected);
    let conflict = BTreeMap::from([
        (
            "hoodie.lakebed.partial.update".to_owned(),
            "true".to_owned(),
        ),
        ("hoodie.index.type".to_owned(), "GLOBAL_BLOOM".to_owned()),
    ]);
    assert!(WriterOptions::from_properties(&conflict).is_err());
}
