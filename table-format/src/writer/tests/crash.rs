//! A process that dies at any write: whoever opens the table next finds the rows from before or after the commit.

use std::collections::BTreeMap;
use std::sync::Arc;

use object_store::path::Path;
use rstest::rstest;

use crate::config::{TableType, TableVersion};
use crate::error::Result;
use crate::storage::Storage;
use crate::table::Table;
use crate::testing::{Fault, FaultyStore, read_table};
use crate::timeline::State;
use crate::writer::tests::model::{
    Change, Key, Model, Shape, batch, create_version, env, local, small_writer,
};
use crate::writer::{WriteOperation, WriterOptions};

pub(super) fn rows(ids: std::ops::Range<i64>, price: i64) -> Vec<Change> {
    ids.map(|id| Change {
        id,
        region: ["eu", "us"][(id % 2) as usize],
        price: Some(price),
        ts: price,
    })
    .collect()
}

fn changes() -> Vec<Change> {
    let mut changes = rows(20..90, 2);
    changes.extend(
        rows(0..10, 0)
            .into_iter()
            .map(|row| Change { price: None, ..row }),
    );
    changes
}

/// What the dying process does: an instant with a bulk insert and two batches of changes.
async fn write(storage: Storage) -> Result<()> {
    let table = Table::open_storage(storage).await?;
    let mut writer = table.writer(env(), WriterOptions::default()).await?;
    let mut transaction = writer.begin(WriteOperation::Upsert).await?;
    let mut bulk = transaction.bulk_insert();
    bulk.write(&batch(&rows(1_000..1_020, 7)).records).await?;
    transaction.add(bulk.finish().await?);
    let changes = changes();
    let (first, second) = changes.split_at(30);
    transaction.upsert(batch(first)).await?;
    transaction.upsert(batch(second)).await?;
    transaction.commit(BTreeMap::new()).await?;
    Ok(())
}

#[rstest]
#[tokio::test]
async fn a_crash_at_any_write_loses_and_doubles_nothing(
    #[values(TableType::CopyOnWrite, TableType::MergeOnRead)] table_type: TableType,
    #[values(Fault::Fail, Fault::ApplyThenFail)] fault: Fault,
    #[values(TableVersion::Six, TableVersion::Nine)] version: TableVersion,
) {
    let shape = Shape {
        table_type,
        is_partitioned: true,
        key: Key::Int,
        is_event_time: false,
    };
    let mut outcomes = [0, 0];
    for crash_at in 0.. {
        let dir = tempfile::tempdir().unwrap();
        let storage = local(&dir);
        let table = create_version(&storage, shape, version).await;
        let mut writer = small_writer(&table).await;
        let mut before = Model::default();
        let mut transaction = writer.begin(WriteOperation::Upsert).await.unwrap();
        transaction.upsert(batch(&rows(0..60, 1))).await.unwrap();
        before.apply(shape, &rows(0..60, 1));
        transaction.commit(BTreeMap::new()).await.unwrap();
        let mut after = before.clone();
        after.apply(shape, &rows(1_000..1_020, 7));
        after.apply(shape, &changes());

        let faulty = FaultyStore::new(Arc::clone(storage.object_store()), crash_at, fault);
        let root: Path = storage.object_path("").unwrap();
        let died = write(Storage::with_store(
            Arc::new(faulty),
            root,
            storage.location(),
        ))
        .await;

        // The next process may die as well, in the middle of the rollback.
        let faulty = FaultyStore::new(Arc::clone(storage.object_store()), crash_at % 7, fault);
        let root: Path = storage.object_path("").unwrap();
        let second = Storage::with_store(Arc::new(faulty), root, storage.location());
        if let Ok(table) = Table::open_storage(second).await {
            drop(table.writer(env(), WriterOptions::default()).await);
        }

        let table = Table::open_storage(storage.clone()).await.unwrap();
        let mut writer = table.writer(env(), WriterOptions::default()).await.unwrap();
        let is_after = read_table(&storage).await.unwrap() == after.expected();
        if died.is_ok() {
            assert!(
                is_after,
                "a commit that was acknowledged is lost (crash at {crash_at})"
            );
        }
        let mut model = if is_after { after } else { before };
        model.check(&storage).await;
        outcomes[usize::from(is_after)] += 1;
        let timeline = table.timeline().await.unwrap();
        assert!(
            timeline
                .instants()
                .iter()
                .all(|instant| instant.state == State::Completed)
        );
        check_debris(&storage, &table).await;

        let mut transaction = writer.begin(WriteOperation::Upsert).await.unwrap();
        transaction.upsert(batch(&rows(50..70, 9))).await.unwrap();
        transaction.commit(BTreeMap::new()).await.unwrap();
        model.apply(shape, &rows(50..70, 9));
        model.check(&storage).await;
        if died.is_ok() {
            break;
        }
    }
    assert!(outcomes[0] > 10 && outcomes[1] > 0, "{outcomes:?}");
}

/// What the dying process does: it overwrites one partition.
async fn overwrite(storage: Storage) -> Result<()> {
    let table = Table::open_storage(storage).await?;
    let mut writer = table.writer(env(), WriterOptions::default()).await?;
    let mut transaction = writer.begin(WriteOperation::InsertOverwrite).await?;
    let rows: Vec<Change> = rows(500..520, 7)
        .into_iter()
        .map(|row| Change {
            region: "eu",
            ..row
        })
        .collect();
    transaction.write(batch(&rows).records).await?;
    transaction.commit(BTreeMap::new()).await?;
    Ok(())
}

#[rstest]
#[tokio::test]
async fn a_crash_while_overwriting_keeps_the_old_rows_or_has_the_new_ones(
    #[values(TableType::CopyOnWrite, TableType::MergeOnRead)] table_type: TableType,
    #[values(Fault::Fail, Fault::ApplyThenFail)] fault: Fault,
    #[values(TableVersion::Six, TableVersion::Nine)] version: TableVersion,
) {
    let shape = Shape {
        table_type,
        is_partitioned: true,
        key: Key::Int,
        is_event_time: true,
    };
    let mut outcomes = [0, 0];
    for crash_at in 0.. {
        let dir = tempfile::tempdir().unwrap();
        let storage = local(&dir);
        let table = create_version(&storage, shape, version).await;
        let mut writer = small_writer(&table).await;
        let mut before = Model::default();
        let mut transaction = writer.begin(WriteOperation::Upsert).await.unwrap();
        transaction.upsert(batch(&rows(0..20, 1))).await.unwrap();
        before.apply(shape, &rows(0..20, 1));
        transaction.commit(BTreeMap::new()).await.unwrap();
        let mut after = before.clone();
        after.drop_partitions(|path| path == "region=eu");
        let new = rows(500..520, 7).into_iter().map(|row| Change {
            region: "eu",
            ..row
        });
        after.apply(shape, &new.collect::<Vec<_>>());

        let faulty = FaultyStore::new(Arc::clone(storage.object_store()), crash_at, fault);
        let root: Path = storage.object_path("").unwrap();
        let faulty = Storage::with_store(Arc::new(faulty), root, storage.location());
        let died = overwrite(faulty).await;

        let table = Table::open_storage(storage.clone()).await.unwrap();
        let mut writer = table.writer(env(), WriterOptions::default()).await.unwrap();
        let is_after = read_table(&storage).await.unwrap() == after.expected();
        assert!(is_after || died.is_err(), "lost at {crash_at}");
        let mut model = if is_after { after } else { before };
        model.check(&storage).await;
        outcomes[usize::from(is_after)] += 1;
        check_debris(&storage, &table).await;
        let mut transaction = writer.begin(WriteOperation::Upsert).await.unwrap();
        transaction.upsert(batch(&rows(10..30, 9))).await.unwrap();
        transaction.commit(BTreeMap::new()).await.unwrap();
        model.apply(shape, &rows(10..30, 9));
        model.check(&storage).await;
        if died.is_ok() {
            break;
        }
    }
    assert!(outcomes[0] > 3 && outcomes[1] > 0, "{outcomes:?}");
}

/// No data file of an instant that is not on the timeline: after archival it would count as committed.
pub(super) async fn check_debris(storage: &Storage, table: &Table) {
    let timeline = table.timeline().await.unwrap();
    for (path, file) in storage.list_recursive("").await.unwrap() {
        let instant = crate::file_group::BaseFile::parse(&file.name, 0)
            .map(|file| file.instant)
            .or_else(|| crate::file_group::LogFile::parse(&file.name, 0).map(|file| file.instant));
        if let Some(instant) = instant {
            assert!(
                timeline
                    .completed_writes()
                    .any(|write| write.time == instant),
                "{path} is debris"
            );
        }
    }
}
