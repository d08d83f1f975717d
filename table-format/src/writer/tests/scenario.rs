//! The life of a table, step by step.

use std::collections::BTreeMap;

use crate::config::{TableType, TableVersion};
use crate::error::ErrorKind;
use crate::table::Table;
use crate::timeline::State;
use crate::writer::tests::model::{
    Change, Key, Model, Shape, batch, create, create_version, env, local, small_writer,
};
use crate::writer::{WriteOperation, WriterOptions};

fn change(id: i64, region: &'static str, price: impl Into<Option<i64>>) -> Change {
    Change {
        id,
        region,
        price: price.into(),
        ts: 0,
    }
}

fn region(id: i64) -> &'static str {
    ["eu", "us", "a/b"][usize::try_from(id % 3).unwrap()]
}

#[tokio::test]
async fn every_shape_holds_what_was_written() {
    let versions = [TableVersion::Six, TableVersion::Eight, TableVersion::Nine];
    for (shape, version) in Shape::all().flat_map(|shape| versions.map(|it| (shape, it))) {
        let dir = tempfile::tempdir().unwrap();
        let storage = local(&dir);
        let table = create_version(&storage, shape, version).await;
        assert_eq!(table.config().version(), version);
        let mut writer = table.writer(env(), WriterOptions::default()).await.unwrap();
        let mut model = Model::default();

        let load: Vec<Change> = (0..500).map(|id| change(id, region(id), id * 3)).collect();
        let mut transaction = writer.begin(WriteOperation::BulkInsert).await.unwrap();
        let mut bulk = transaction.bulk_insert();
        for part in load.chunks(170) {
            bulk.write(&batch(part).records).await.unwrap();
        }
        transaction.add(bulk.finish().await.unwrap());
        transaction.commit(BTreeMap::new()).await.unwrap();
        model.apply(shape, &load);
        model.check(&storage).await;

        let mut transaction = writer.begin(WriteOperation::Upsert).await.unwrap();
        let rounds: Vec<Vec<Change>> = (0..3)
            .map(|round| {
                let ids = (0..60).map(|n| n * 11 + round);
                ids.map(|id| change(id, region(id), (id % 4 != 0).then_some(-id - round)))
                    .collect()
            })
            .collect();
        for changes in &rounds {
            transaction.upsert(batch(changes)).await.unwrap();
        }
        model.apply_instant(shape, &rounds);
        let position = BTreeMap::from([("lakebed.position".to_owned(), "7".to_owned())]);
        let instant = transaction.commit(position).await.unwrap();
        model.check(&storage).await;

        let mut transaction = writer.begin(WriteOperation::Upsert).await.unwrap();
        let changes = [
            change(3, region(3), 1),
            change(3, region(3), None),
            change(9_999, region(0), None),
        ];
        transaction.upsert(batch(&changes)).await.unwrap();
        model.apply(shape, &changes);
        transaction.commit(BTreeMap::new()).await.unwrap();
        model.check(&storage).await;

        let (at, extra) = table
            .last_extra_metadata("lakebed.position")
            .await
            .unwrap()
            .unwrap();
        assert_eq!((at, extra["lakebed.position"].as_str()), (instant, "7"));
        assert_eq!(
            storage.list(".hoodie/.temp").await.unwrap().dirs,
            [] as [&str; 0],
            "markers remain"
        );
    }
}

#[tokio::test]
async fn stats_tell_exact_sizes_and_counts() {
    let shape = Shape {
        table_type: TableType::CopyOnWrite,
        is_partitioned: false,
        key: Key::Int,
        is_event_time: false,
    };
    let dir = tempfile::tempdir().unwrap();
    let storage = local(&dir);
    let table = create(&storage, shape).await;
    let mut writer = table.writer(env(), WriterOptions::default()).await.unwrap();
    let mut transaction = writer.begin(WriteOperation::Upsert).await.unwrap();
    let rows: Vec<Change> = (0..10).map(|id| change(id, "eu", id)).collect();
    transaction.upsert(batch(&rows)).await.unwrap();
    transaction.commit(BTreeMap::new()).await.unwrap();
    let mut transaction = writer.begin(WriteOperation::Upsert).await.unwrap();
    transaction
        .upsert(batch(&[change(1, "eu", 5), change(2, "eu", None)]))
        .await
        .unwrap();
    transaction
        .upsert(batch(&[change(10, "eu", 5)]))
        .await
        .unwrap();
    let instant = transaction.commit(BTreeMap::new()).await.unwrap();
    let metadata = table
        .timeline()
        .await
        .unwrap()
        .read_metadata(&instant)
        .await
        .unwrap();
    let stats: Vec<_> = metadata.write_stats().collect();
    let [stat] = stats.as_slice() else {
        panic!("one file, found {stats:?}")
    };
    let counts = (
        stat.num_writes,
        stat.num_inserts,
        stat.num_update_writes,
        stat.num_deletes,
    );
    assert_eq!(counts, (Some(10), Some(1), Some(1), Some(1)));
    let size = storage.size(stat.path.as_deref().unwrap()).await.unwrap();
    assert_eq!(stat.file_size_in_bytes, i64::try_from(size).ok());
    assert_ne!(stat.prev_commit.as_deref(), Some(instant.time.as_str()));
    let bases = storage.list("").await.unwrap().files;
    let bases = bases
        .iter()
        .filter(|file| file.name.ends_with(".parquet"))
        .count();
    assert_eq!(bases, 2, "the intermediate file is gone");
}

#[tokio::test]
async fn an_aborted_instant_leaves_nothing() {
    let shape = Shape {
        table_type: TableType::MergeOnRead,
        is_partitioned: true,
        key: Key::Int,
        is_event_time: false,
    };
    let dir = tempfile::tempdir().unwrap();
    let storage = local(&dir);
    let table = create(&storage, shape).await;
    let mut writer = small_writer(&table).await;
    let mut transaction = writer.begin(WriteOperation::Upsert).await.unwrap();
    transaction
        .upsert(batch(&[change(1, "eu", 5)]))
        .await
        .unwrap();
    transaction.abort().await.unwrap();
    Model::default().check(&storage).await;
    let dropped = writer.begin(WriteOperation::Upsert).await.unwrap();
    drop(dropped);
    drop(writer.begin(WriteOperation::Upsert).await.unwrap());
    let reopened = Table::open_storage(storage.clone()).await.unwrap();
    reopened
        .writer(env(), WriterOptions::default())
        .await
        .unwrap();
    let timeline = reopened.timeline().await.unwrap();
    assert!(
        timeline
            .instants()
            .iter()
            .all(|instant| instant.state == State::Completed),
        "{timeline:?}"
    );
}

#[tokio::test]
async fn hazard_17_an_instant_that_was_rolled_back_cannot_be_completed() {
    let shape = Shape {
        table_type: TableType::CopyOnWrite,
        is_partitioned: false,
        key: Key::Int,
        is_event_time: false,
    };
    let dir = tempfile::tempdir().unwrap();
    let storage = local(&dir);
    let table = create(&storage, shape).await;
    let mut writer = table.writer(env(), WriterOptions::default()).await.unwrap();
    let mut transaction = writer.begin(WriteOperation::Upsert).await.unwrap();
    transaction
        .upsert(batch(&[change(1, "eu", 5)]))
        .await
        .unwrap();
    // A second writer takes the first one for dead.
    table.writer(env(), WriterOptions::default()).await.unwrap();
    let error = transaction.commit(BTreeMap::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    Model::default().check(&storage).await;
}

#[tokio::test]
async fn hazard_1_the_metadata_table_is_taken_out_of_use() {
    let shape = Shape {
        table_type: TableType::CopyOnWrite,
        is_partitioned: false,
        key: Key::Int,
        is_event_time: false,
    };
    let dir = tempfile::tempdir().unwrap();
    let storage = local(&dir);
    create(&storage, shape).await;
    let path = ".hoodie/hoodie.properties";
    let mut text = storage.read(path).await.unwrap().to_vec();
    text.extend_from_slice(b"hoodie.table.metadata.partitions=column_stats,files\n");
    storage.overwrite(path, text.into()).await.unwrap();
    storage
        .create(".hoodie/.hoodie.properties.crc", "stale".into())
        .await
        .unwrap();
    let table = Table::open_storage(storage.clone()).await.unwrap();
    assert_eq!(table.config().metadata_partitions().len(), 2);
    let mut writer = table.writer(env(), WriterOptions::default()).await.unwrap();
    let mut transaction = writer.begin(WriteOperation::Upsert).await.unwrap();
    transaction
        .upsert(batch(&[change(1, "eu", 5)]))
        .await
        .unwrap();
    transaction.commit(BTreeMap::new()).await.unwrap();
    let table = Table::open_storage(storage.clone()).await.unwrap();
    assert_eq!(table.config().metadata_partitions(), [] as [&str; 0]);
    assert!(
        !storage
            .exists(".hoodie/.hoodie.properties.crc")
            .await
            .unwrap()
    );
    assert!(
        !storage
            .exists(".hoodie/hoodie.properties.backup")
            .await
            .unwrap()
    );
}
