//! The contract of every index, and tables written by each of them against the model.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::{RecordBatch, StringArray};
use futures::TryStreamExt;
use proptest::prelude::*;
use rstest::rstest;

use crate::config::{TableType, TableVersion};
use crate::error::{ErrorKind, Result};
use crate::file_group::FileSlice;
use crate::index::bucket_id::{bucket_in, bucket_of};
use crate::index::groups::PartitionGroups;
use crate::index::{Asked, Homes, Room, Target};
use crate::reader::{ReadOptions, read_slice};
use crate::schema::meta::RECORD_KEY;
use crate::service::compaction::Due;
use crate::storage::Storage;
use crate::table::Table;
use crate::writer::tests::model::{
    Change, Key, Model, Shape, batch, create, create_version, env, local,
};
use crate::writer::{TableWriter, Transaction, WriteContext, WriteOperation, WriterOptions};

const COW: TableType = TableType::CopyOnWrite;
const MOR: TableType = TableType::MergeOnRead;
const BUCKETS: u32 = 5;

/// Every index, local and global.
const INDEXES: [&str; 7] = [
    "KEY_RANGE",
    "GLOBAL_KEY_RANGE",
    "BUCKET",
    "BLOOM",
    "GLOBAL_BLOOM",
    "SIMPLE",
    "GLOBAL_SIMPLE",
];

async fn try_writer(table: &Table, settings: &[(&str, &str)]) -> Result<TableWriter> {
    let small = [
        ("hoodie.parquet.max.file.size", "6000"),
        ("hoodie.parquet.small.file.limit", "5200"),
    ];
    let properties = small.iter().chain(settings);
    let properties = properties.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let options = WriterOptions::from_properties(&properties.collect())?;
    table.writer(env(), options).await
}

/// A writer by `index`, whose groups are full at a few thousand bytes.
async fn writer(table: &Table, index: &str) -> TableWriter {
    let buckets = BUCKETS.to_string();
    let settings = [
        ("hoodie.index.type", index),
        ("hoodie.bucket.index.num.buckets", buckets.as_str()),
    ];
    try_writer(table, &settings).await.unwrap()
}

fn change(id: i64, region: &'static str, price: impl Into<Option<i64>>, ts: i64) -> Change {
    Change {
        id,
        region,
        price: price.into(),
        ts,
    }
}

async fn upsert(writer: &mut TableWriter, changes: &[Change]) {
    let mut transaction = writer.begin(WriteOperation::Upsert).await.unwrap();
    transaction.upsert(batch(changes)).await.unwrap();
    transaction.commit(BTreeMap::new()).await.unwrap();
}

/// The keys that a slice holds, deleted ones left out.
async fn keys_in(context: &WriteContext, slice: &FileSlice) -> BTreeSet<String> {
    let options = ReadOptions::new(env().memory);
    let rows = read_slice(context.read_context(), slice, &options)
        .await
        .unwrap();
    let batches: Vec<RecordBatch> = rows.try_collect().await.unwrap();
    let mut keys = BTreeSet::new();
    for batch in &batches {
        let column = batch.column_by_name(RECORD_KEY).unwrap();
        let column = column.as_any().downcast_ref::<StringArray>().unwrap();
        for key in column.iter().flatten() {
            assert!(
                keys.insert(key.to_owned()),
                "{key} is twice in {}",
                slice.file_id
            );
        }
    }
    keys
}

async fn locate(asked: Asked<'_>) -> Homes {
    let rows: Vec<u32> = (0..).take(asked.records.num_rows()).collect();
    let homes = asked.context.index.locate(asked, &rows).await.unwrap();
    let mut answered: BTreeSet<u32> = homes.found.iter().map(|(row, _)| *row).collect();
    for row in &homes.nowhere {
        assert!(answered.insert(*row), "row {row} is found and not found");
    }
    assert_eq!(answered.len(), rows.len(), "each row has an answer");
    let none = asked.context.index.locate(asked, &[]).await.unwrap();
    assert!(none.found.is_empty() && none.nowhere.is_empty());
    homes
}

/// What every index promises of the table as `transaction` sees it.
async fn check_contract(transaction: &Transaction, probes: &[Change]) {
    let (context, groups) = transaction.seen();
    let records = batch(probes).records;
    let keys = context.keys.keys(&records).unwrap();
    let nothing = PartitionGroups::default();
    let paths: BTreeSet<&str> = groups.partitions().map(|(path, _)| path).collect();
    for path in paths.into_iter().chain(["a new partition"]) {
        let asked = Asked {
            context,
            partition: groups.partition(path).unwrap_or(&nothing),
            records: &records,
            keys: &keys,
        };
        let homes = locate(asked).await;
        for (position, group) in asked.partition.groups().iter().enumerate() {
            for key in keys_in(context, &group.slice).await {
                let row = keys.iter().position(|probe| probe == Some(key.as_str()));
                let row = u32::try_from(row.expect("all keys are asked for")).unwrap();
                assert!(homes.found.contains(&(row, position)), "{key} in {path}");
                check_bucket(context, &group.slice, &key);
            }
        }
        check_places(asked, &homes.nowhere);
    }
}

fn check_bucket(context: &WriteContext, slice: &FileSlice, key: &str) {
    if context.index.fixes_groups() {
        let bucket = bucket_of(key, context.keys.fields(), BUCKETS);
        assert_eq!(bucket_in(&slice.file_id), Some(bucket), "{key}");
    }
}

/// New rows have one place each, in groups that may take them.
fn check_places(asked: Asked<'_>, new: &[u32]) {
    let index = &asked.context.index;
    let base_files_only = !index.finds_logged_keys();
    let closed = BTreeSet::from([0]);
    let room = Room {
        small_group_bytes: 5_200,
        group_bytes_max: 6_000,
        row_bytes: 100,
        base_files_only,
        closed: closed.clone(),
    };
    let placed = index.place(asked, new, &room).unwrap();
    let rows: BTreeSet<u32> = placed.iter().map(|(row, _)| *row).collect();
    assert_eq!((placed.len(), rows.len()), (new.len(), new.len()));
    assert!(new.iter().all(|row| rows.contains(row)));
    let mut ids: BTreeMap<usize, String> = BTreeMap::new();
    for (_, target) in placed {
        match target {
            Target::Group(position) => {
                let group = &asked.partition.groups().get(position).unwrap();
                assert!(group.bytes < room.small_group_bytes && !closed.contains(&position));
                assert!(!base_files_only || group.slice.log_files.is_empty());
            }
            Target::New(new) => {
                let id = || index.new_file_id(&asked.context.env, new);
                ids.entry(new).or_insert_with(id);
            }
        }
    }
    let distinct: BTreeSet<&String> = ids.values().collect();
    assert_eq!(distinct.len(), ids.len(), "each new group has its id");
    let fixed = index.fixes_groups();
    assert!(
        ids.iter().all(|(new, id)| {
            !fixed || bucket_in(id).map(|bucket| bucket as usize) == Some(*new)
        })
    );
}

#[rstest]
#[tokio::test]
async fn every_index_keeps_its_contract(
    #[values(COW, MOR)] table_type: TableType,
    #[values(Key::Int, Key::Text, Key::Composite)] key: Key,
    #[values(0, 1, 2, 3, 4, 5, 6)] index: usize,
    #[values(TableVersion::Six, TableVersion::Nine)] version: TableVersion,
) {
    let index = INDEXES[index];
    let shape = Shape {
        table_type,
        is_partitioned: true,
        key,
        is_event_time: false,
    };
    let dir = tempfile::tempdir().unwrap();
    let storage = local(&dir);
    let table = create_version(&storage, shape, version).await;
    let mut writing = writer(&table, index).await;
    let mut model = Model::default();
    let region = |id: i64| ["eu", "us"][usize::try_from(id % 2).unwrap()];
    let probes: Vec<Change> = (0..400).map(|id| change(id, region(id), 1, 0)).collect();
    for round in 0..4 {
        let mut transaction = writing.begin(WriteOperation::Upsert).await.unwrap();
        check_contract(&transaction, &probes).await;
        for part in 0..2 {
            let ids = (0..50).map(|n| (n * 7 + round * 60 + part * 23) % 400);
            let price = |id: i64| (id % 5 != round).then_some(id + round);
            let changes: Vec<Change> = ids.map(|id| change(id, region(id), price(id), 0)).collect();
            transaction.upsert(batch(&changes)).await.unwrap();
            check_contract(&transaction, &probes).await;
            model.apply(shape, &changes);
        }
        transaction.commit(BTreeMap::new()).await.unwrap();
        model.check(&storage).await;
        if round == 1 {
            writing = writer(&table, index).await;
        }
    }
    writing.check_ranges(&storage).await;
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let one = (
        0_i64..300,
        0_usize..2,
        prop::option::weighted(0.75, 0_i64..1_000),
        1_i64..40,
    );
    let one = one.prop_map(|(id, region, price, ts)| change(id, ["eu", "us"][region], price, ts));
    prop::collection::vec(one, 1..100)
}

/// One instant: its batches, and what comes before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Before {
    Nothing,
    Reopen,
    Compact,
}

fn instants() -> impl Strategy<Value = Vec<(Vec<Vec<Change>>, Before)>> {
    let before = prop_oneof![
        Just(Before::Nothing),
        Just(Before::Reopen),
        Just(Before::Compact)
    ];
    prop::collection::vec((prop::collection::vec(changes(), 1..3), before), 1..6)
}

async fn compact(storage: &Storage) {
    let table = Table::open_storage(storage.clone()).await.unwrap();
    let services = table.services(env(), BTreeMap::new());
    drop(services.schedule_compaction(Due::Now).await.unwrap());
    services.execute_pending_compactions().await.unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3, max_shrink_iters: 60, ..ProptestConfig::default() })]

    #[test]
    fn a_table_of_every_index_equals_its_model(instants in instants(), is_six in any::<bool>()) {
        let version = if is_six { TableVersion::Six } else { TableVersion::Nine };
        let runtime = tokio::runtime::Runtime::new().unwrap();
        for index in ["BUCKET", "BLOOM", "SIMPLE"] {
            for shape in Shape::all().filter(|shape| shape.key != Key::Text) {
                runtime.block_on(async {
                    let dir = tempfile::tempdir().unwrap();
                    let storage = local(&dir);
                    let table = create_version(&storage, shape, version).await;
                    let mut writing = writer(&table, index).await;
                    let mut model = Model::default();
                    for (batches, before) in &instants {
                        match before {
                            Before::Reopen => writing = writer(&table, index).await,
                            // A compaction forgets the ordering values of deletes.
                            Before::Compact if shape.table_type == MOR && !shape.is_event_time => {
                                compact(&storage).await;
                            }
                            _ => {}
                        }
                        let mut transaction = writing.begin(WriteOperation::Upsert).await.unwrap();
                        for changes in batches {
                            transaction.upsert(batch(changes)).await.unwrap();
                        }
                        model.apply_instant(shape, batches);
                        transaction.commit(BTreeMap::new()).await.unwrap();
                        model.check(&storage).await;
                    }
                    writing.check_ranges(&storage).await;
                });
            }
        }
    }
}

fn rows(ids: std::ops::Range<i64>) -> Vec<Change> {
    ids.map(|id| change(id, ["eu", "us"][usize::try_from(id % 2).unwrap()], id, 0))
        .collect()
}

/// One instant with two bulk inserts at the same time, and an upsert.
async fn load_side_by_side(writing: &mut TableWriter) {
    let mut transaction = writing.begin(WriteOperation::BulkInsert).await.unwrap();
    let factory = transaction.bulk_insert_factory();
    let load = |ids: std::ops::Range<i64>| {
        let mut bulk = factory.bulk_insert();
        async move {
            for part in rows(ids).chunks(30) {
                bulk.write(&batch(part).records).await.unwrap();
            }
            bulk.finish().await.unwrap()
        }
    };
    let (low, high) = tokio::join!(load(0..100), load(100..200));
    transaction.add(low);
    transaction.add(high);
    transaction.upsert(batch(&rows(150..220))).await.unwrap();
    transaction.commit(BTreeMap::new()).await.unwrap();
}

/// Rows go in by every operation, and side by side in bulk.
#[rstest]
#[tokio::test]
async fn every_operation_meets_the_groups_of_its_keys(
    #[values(COW, MOR)] table_type: TableType,
    #[values("BUCKET", "BLOOM", "SIMPLE")] index: &str,
) {
    use WriteOperation as O;
    let shape = Shape {
        table_type,
        is_partitioned: true,
        key: Key::Int,
        is_event_time: false,
    };
    let dir = tempfile::tempdir().unwrap();
    let storage = local(&dir);
    let table = create(&storage, shape).await;
    let mut writing = writer(&table, index).await;
    let mut model = Model::default();

    load_side_by_side(&mut writing).await;
    model.apply(shape, &rows(0..220));
    model.check(&storage).await;

    let mut next = 1_000;
    for operation in [
        O::Insert,
        O::BulkInsert,
        O::InsertOverwrite,
        O::Insert,
        O::InsertOverwriteTable,
        O::BulkInsert,
    ] {
        let new = rows(next..next + 90);
        next += 100;
        let mut transaction = writing.begin(operation).await.unwrap();
        for part in new.chunks(40) {
            transaction.write(batch(part).records).await.unwrap();
        }
        transaction.commit(BTreeMap::new()).await.unwrap();
        if operation.is_replace() {
            model.drop_partitions(|_| true);
        }
        model.apply(shape, &new);
        model.check(&storage).await;
        let again: Vec<Change> = new
            .iter()
            .map(|row| change(row.id, row.region, (row.id % 3 > 0).then_some(7), 0))
            .collect();
        upsert(&mut writing, &again).await;
        model.apply(shape, &again);
        model.check(&storage).await;
    }
    let probes: Vec<Change> = (0..2_000).map(|id| change(id, "eu", 1, 0)).collect();
    let transaction = writing.begin(O::Upsert).await.unwrap();
    check_contract(&transaction, &probes).await;
}

fn plain(table_type: TableType) -> Shape {
    Shape {
        table_type,
        is_partitioned: false,
        key: Key::Int,
        is_event_time: false,
    }
}

async fn refusal(table: &Table, settings: &[(&str, &str)]) -> crate::Error {
    let opened = try_writer(table, settings).await;
    opened.expect_err("the writer is refused")
}

#[tokio::test]
async fn a_table_is_written_with_its_own_buckets_only() {
    let dir = tempfile::tempdir().unwrap();
    let storage = local(&dir);
    let table = create(&storage, plain(MOR)).await;
    let mut writing = writer(&table, "BUCKET").await;
    let rows: Vec<Change> = (0..60).map(|id| change(id, "eu", id, 0)).collect();
    upsert(&mut writing, &rows).await;
    let bucket = |buckets| {
        [
            ("hoodie.index.type", "BUCKET"),
            ("hoodie.bucket.index.num.buckets", buckets),
        ]
    };
    // More buckets, fewer buckets, no word of buckets, another index.
    let error = refusal(&table, &bucket("50")).await;
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(
        error
            .to_string()
            .contains("what the table was written with"),
        "{error}"
    );
    let error = refusal(&table, &bucket("3")).await;
    assert!(error.to_string().contains("cannot be changed"), "{error}");
    for settings in [&[][..], &[("hoodie.index.type", "BLOOM")]] {
        let error = refusal(&table, settings).await;
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(
            error.to_string().contains("hoodie.index.type=BUCKET"),
            "{error}"
        );
    }
    let hashed = [
        bucket("5"),
        [
            ("hoodie.bucket.index.hash.field", "price"),
            ("hoodie.x", ""),
        ],
    ]
    .concat();
    let error = refusal(&table, &hashed).await;
    assert!(error.to_string().contains("no record key field"), "{error}");
    try_writer(&table, &bucket("5")).await.unwrap();
}

#[tokio::test]
async fn a_table_without_buckets_gets_none() {
    let dir = tempfile::tempdir().unwrap();
    let storage = local(&dir);
    let table = create(&storage, plain(COW)).await;
    let mut writing = writer(&table, "KEY_RANGE").await;
    upsert(&mut writing, &[change(1, "eu", 1, 0)]).await;
    let settings = [
        ("hoodie.index.type", "BUCKET"),
        ("hoodie.bucket.index.num.buckets", "5"),
    ];
    let error = refusal(&table, &settings).await;
    assert!(error.to_string().contains("is no bucket"), "{error}");
}

#[tokio::test]
async fn consistent_hashing_is_read_only() {
    let dir = tempfile::tempdir().unwrap();
    let storage = local(&dir);
    let table = create(&storage, plain(MOR)).await;
    let path = ".hoodie/.bucket_index/consistent_hashing_metadata/00000000000000.hashing_meta";
    storage.create(path, "{}".into()).await.unwrap();
    let error = refusal(&table, &[]).await;
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(
        error.to_string().contains("consistent_hashing_metadata"),
        "{error}"
    );
}

#[tokio::test]
async fn two_writers_do_not_make_one_bucket_twice() {
    let dir = tempfile::tempdir().unwrap();
    let storage = local(&dir);
    let table = create(&storage, plain(MOR)).await;
    let occ = [
        (
            "hoodie.write.concurrency.mode",
            "OPTIMISTIC_CONCURRENCY_CONTROL",
        ),
        (
            "hoodie.write.lock.provider",
            "org.apache.hudi.client.transaction.lock.InProcessLockProvider",
        ),
        ("hoodie.index.type", "BUCKET"),
        ("hoodie.bucket.index.num.buckets", "1"),
    ];
    let properties: BTreeMap<String, String> = occ
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    let locks = crate::config::LockSettings::from_properties(&properties).unwrap();
    let options = WriterOptions::from_properties(&properties).unwrap();
    let env = env().with_locks(locks);
    let mut first = table.writer(env.clone(), options.clone()).await.unwrap();
    let mut second = table.writer(env, options).await.unwrap();
    let mut ours = first.begin(WriteOperation::Upsert).await.unwrap();
    let mut theirs = second.begin(WriteOperation::Upsert).await.unwrap();
    ours.upsert(batch(&[change(1, "eu", 1, 0)])).await.unwrap();
    theirs
        .upsert(batch(&[change(2, "eu", 2, 0)]))
        .await
        .unwrap();
    ours.commit(BTreeMap::new()).await.unwrap();
    let error = theirs.commit(BTreeMap::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
}

/// Hazard 9: what is inserted by the bloom or simple index is found in base files, and what a key-range writer has left in
/// logs is found by them.
#[rstest]
#[tokio::test]
async fn hazard_9_inserts_go_to_base_files(#[values("BLOOM", "SIMPLE")] index: &str) {
    let shape = plain(MOR);
    let dir = tempfile::tempdir().unwrap();
    let storage = local(&dir);
    let table = create(&storage, shape).await;
    let mut model = Model::default();
    let roomy = |index| {
        [
            ("hoodie.index.type", index),
            ("hoodie.parquet.max.file.size", "1000000"),
            ("hoodie.parquet.small.file.limit", "1000000"),
        ]
    };
    let mut by_range = try_writer(&table, &roomy("KEY_RANGE")).await.unwrap();
    for ids in [0..10, 5..15_i64] {
        let rows: Vec<Change> = ids.map(|id| change(id, "eu", id, 0)).collect();
        upsert(&mut by_range, &rows).await;
        model.apply(shape, &rows);
    }
    let mut writing = try_writer(&table, &roomy(index)).await.unwrap();
    for ids in [8..20, 12..25_i64] {
        let rows: Vec<Change> = ids.map(|id| change(id, "eu", -id, 0)).collect();
        upsert(&mut writing, &rows).await;
        model.apply(shape, &rows);
        model.check(&storage).await;
    }
    let mut transaction = writing.begin(WriteOperation::Upsert).await.unwrap();
    let (context, groups) = transaction.seen();
    let mut in_base = BTreeSet::new();
    for group in groups.groups() {
        let slice = FileSlice {
            log_files: Vec::new(),
            ..group.slice.clone()
        };
        if slice.base_file.is_some() {
            in_base.extend(keys_in(context, &slice).await);
        }
    }
    // 10 to 14 were logged by the key-range writer.
    let expected: BTreeSet<String> = (0..10).chain(15..25).map(|id| id.to_string()).collect();
    assert_eq!(in_base, expected);
    transaction
        .upsert(batch(&[change(12, "eu", 0, 0)]))
        .await
        .unwrap();
    transaction.commit(BTreeMap::new()).await.unwrap();
    model.apply(shape, &[change(12, "eu", 0, 0)]);
    model.check(&storage).await;
}
