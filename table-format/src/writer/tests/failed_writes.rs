//! Failed writes: what finding them costs, which count as failed, and completed writes that are taken back.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use object_store::path::Path;
use rstest::rstest;

use crate::config::TableType;
use crate::error::{ErrorKind, Result};
use crate::service::Services;
use crate::storage::Storage;
use crate::table::Table;
use crate::testing::{Fault, FaultyStore, ListingLog, read_table};
use crate::timeline::{Action, InstantTime, State};
use crate::transaction::Transaction;
use crate::writer::tests::crash::{check_debris, rows};
use crate::writer::tests::model::{
    Change, Key, Model, Shape, batch, create, env, local, small_writer,
};
use crate::writer::{TableWriter, WriteOperation, WriterOptions};

pub(super) const SHAPES: [Shape; 2] =
    [shape(TableType::CopyOnWrite), shape(TableType::MergeOnRead)];

pub(super) const fn shape(table_type: TableType) -> Shape {
    Shape {
        table_type,
        is_partitioned: true,
        key: Key::Int,
        is_event_time: false,
    }
}

/// One committed write.
pub(super) async fn write(writer: &mut TableWriter, changes: &[Change]) -> InstantTime {
    let transaction = begun(writer, changes).await;
    transaction.commit(BTreeMap::new()).await.unwrap().time
}

async fn begun(writer: &mut TableWriter, changes: &[Change]) -> Transaction {
    let mut transaction = writer.begin(WriteOperation::Upsert).await.unwrap();
    transaction.upsert(batch(changes)).await.unwrap();
    transaction
}

/// The same place behind a store that dies at the `n`-th change.
pub(super) fn dying(storage: &Storage, n: u64, fault: Fault) -> Storage {
    let faulty = FaultyStore::new(Arc::clone(storage.object_store()), n, fault);
    let root: Path = storage.object_path("").unwrap();
    Storage::with_store(Arc::new(faulty), root, storage.location())
}

pub(super) async fn services(storage: &Storage) -> Services {
    let table = Table::open_storage(storage.clone()).await.unwrap();
    table.services(env(), BTreeMap::new())
}

async fn lazy_writer(table: &Table, interval_ms: u64) -> TableWriter {
    let interval = interval_ms.to_string();
    let properties = [
        ("hoodie.clean.failed.writes.policy", "LAZY"),
        ("hoodie.client.heartbeat.interval_in_ms", interval.as_str()),
    ];
    let properties = properties
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
    let options = WriterOptions::from_properties(&properties).unwrap();
    table.writer(env(), options).await.unwrap()
}

async fn pending_writes(table: &Table) -> usize {
    let timeline = table.timeline().await.unwrap();
    timeline.pending().count()
}

#[tokio::test]
async fn a_rollback_lists_only_the_partitions_that_the_markers_name() {
    let dir = tempfile::tempdir().unwrap();
    let storage = local(&dir);
    let log = ListingLog::new(Arc::clone(storage.object_store()));
    let root = storage.object_path("").unwrap();
    let storage = Storage::with_store(Arc::new(log.clone()), root.clone(), storage.location());
    let shape = shape(TableType::CopyOnWrite);
    let table = create(&storage, shape).await;
    let mut writer = table.writer(env(), WriterOptions::default()).await.unwrap();
    let change = |id, region| Change {
        id,
        region,
        price: Some(1),
        ts: 0,
    };
    let everywhere: Vec<Change> = ["a", "b", "c", "d", "e"]
        .into_iter()
        .enumerate()
        .map(|(id, region)| change(i64::try_from(id).unwrap(), region))
        .collect();
    write(&mut writer, &everywhere).await;
    let failed = begun(&mut writer, &[change(2, "c")]).await;
    let time = failed.instant_time().clone();
    drop(failed);
    log.take();
    services(&storage).await.roll_back(&time).await.unwrap();
    let listed = log.take();
    let data: Vec<&String> = listed
        .iter()
        .filter(|folder| !folder.contains("/.hoodie"))
        .collect();
    let partition = format!("{root}/region=c");
    assert!(data.iter().all(|folder| **folder == partition), "{data:?}");
    assert!(data.len() <= 2, "{data:?}");
    check_debris(&storage, &table).await;
}

#[tokio::test]
async fn hazard_15_files_of_a_write_without_markers_are_found_by_listing() {
    for shape in SHAPES {
        let dir = tempfile::tempdir().unwrap();
        let storage = local(&dir);
        let table = create(&storage, shape).await;
        let mut writer = small_writer(&table).await;
        write(&mut writer, &rows(0..60, 1)).await;
        let mut model = Model::default();
        model.apply(shape, &rows(0..60, 1));
        drop(begun(&mut writer, &rows(30..90, 2)).await);
        for (path, _) in storage.list_recursive(".hoodie/.temp").await.unwrap() {
            storage.delete(&path).await.unwrap();
        }
        write(&mut writer, &rows(200..210, 3)).await;
        model.apply(shape, &rows(200..210, 3));
        model.check(&storage).await;
        check_debris(&storage, &table).await;
    }
}

#[tokio::test]
async fn under_lazy_a_live_writer_is_left_alone_and_a_dead_one_rolled_back() {
    let dir = tempfile::tempdir().unwrap();
    let storage = local(&dir);
    let shape = shape(TableType::CopyOnWrite);
    let table = create(&storage, shape).await;
    let mut slow = lazy_writer(&table, 150).await;
    let mut quick = lazy_writer(&table, 150).await;
    let eu = |ids, price| {
        rows(ids, price)
            .into_iter()
            .map(|row| Change {
                region: "eu",
                ..row
            })
            .collect::<Vec<_>>()
    };
    let us = |ids, price| {
        rows(ids, price)
            .into_iter()
            .map(|row| Change {
                region: "us",
                ..row
            })
            .collect::<Vec<_>>()
    };
    let pending = begun(&mut slow, &eu(0..10, 1)).await;
    let heartbeat = format!(".hoodie/.heartbeat/{}", pending.instant_time());
    assert!(storage.exists(&heartbeat).await.unwrap());
    // Longer than the tolerance: only the beats keep it alive.
    tokio::time::sleep(Duration::from_millis(600)).await;
    write(&mut quick, &us(10..20, 2)).await;
    let refused = services(&storage)
        .await
        .roll_back(pending.instant_time())
        .await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Conflict);
    pending.commit(BTreeMap::new()).await.unwrap();
    assert!(!storage.exists(&heartbeat).await.unwrap());

    let dead = begun(&mut slow, &eu(0..30, 3)).await;
    let heartbeat = format!(".hoodie/.heartbeat/{}", dead.instant_time());
    drop(dead);
    assert!(storage.exists(&heartbeat).await.unwrap());
    write(&mut quick, &us(20..30, 4)).await;
    assert_eq!(pending_writes(&table).await, 1, "it may be alive still");
    tokio::time::sleep(Duration::from_millis(400)).await;
    write(&mut quick, &us(30..40, 5)).await;
    assert_eq!(pending_writes(&table).await, 0);
    assert!(!storage.exists(&heartbeat).await.unwrap());
    let mut model = Model::default();
    for changes in [eu(0..10, 1), us(10..20, 2), us(20..30, 4), us(30..40, 5)] {
        model.apply(shape, &changes);
    }
    model.check(&storage).await;
    check_debris(&storage, &table).await;
}

/// A plan to roll a write back, of somebody who took its writer for dead, and who saw it pending still.
#[tokio::test]
async fn a_rollback_of_a_write_that_completed_after_all_is_withdrawn() {
    for shape in SHAPES {
        let dir = tempfile::tempdir().unwrap();
        let storage = local(&dir);
        let table = create(&storage, shape).await;
        let mut writer = lazy_writer(&table, 60_000).await;
        let change = |id| Change {
            id,
            region: "eu",
            price: Some(1),
            ts: 0,
        };
        let before = pending_times(&storage).await;
        let pending = begun(&mut writer, &[change(1)]).await;
        let time = pending.instant_time().to_string();
        // Ours, made as long as it looked dead: rolled back in a copy of the table, whose plan is brought over.
        let copy = tempfile::tempdir().unwrap();
        copy_all(dir.path(), copy.path());
        std::fs::remove_dir_all(copy.path().join("t/.hoodie/.heartbeat")).unwrap();
        services(&local(&copy))
            .await
            .roll_back(pending.instant_time())
            .await
            .unwrap();
        pending.commit(BTreeMap::new()).await.unwrap();
        let plan = requested_rollback(copy.path());
        std::fs::copy(copy.path().join(&plan), dir.path().join(&plan)).unwrap();
        let mut model = Model::default();
        model.apply(shape, &[change(1)]);
        write(&mut lazy_writer(&table, 60_000).await, &[change(2)]).await;
        model.apply(shape, &[change(2)]);
        model.check(&storage).await;
        assert_eq!(pending_times(&storage).await, before, "{time}");
    }
}

#[tokio::test]
async fn hazard_17_a_writer_whose_heartbeat_lapsed_does_not_complete() {
    let dir = tempfile::tempdir().unwrap();
    let storage = local(&dir);
    let shape = shape(TableType::MergeOnRead);
    let table = create(&storage, shape).await;
    let mut writer = lazy_writer(&table, 100).await;
    let mut transaction = writer.begin(WriteOperation::Upsert).await.unwrap();
    transaction.upsert(batch(&rows(0..5, 1))).await.unwrap();
    // The process stands still: no beat happens meanwhile, as this test runs on one thread.
    #[expect(
        clippy::disallowed_methods,
        reason = "the whole runtime is to stand still"
    )]
    std::thread::sleep(Duration::from_millis(400));
    let lapsed = transaction.commit(BTreeMap::new()).await.unwrap_err();
    assert_eq!(lapsed.kind(), ErrorKind::Conflict);
    assert!(lapsed.to_string().contains("heartbeat"), "{lapsed}");
    write(&mut writer, &rows(5..9, 2)).await;
    let mut model = Model::default();
    model.apply(shape, &rows(5..9, 2));
    model.check(&storage).await;
}

#[tokio::test]
async fn under_never_nothing_is_rolled_back() {
    let dir = tempfile::tempdir().unwrap();
    let storage = local(&dir);
    let table = create(&storage, shape(TableType::MergeOnRead)).await;
    let key = "hoodie.cleaner.policy.failed.writes".to_owned();
    let properties = BTreeMap::from([(key, "NEVER".to_owned())]);
    let options = WriterOptions::from_properties(&properties).unwrap();
    let mut writer = table.writer(env(), options).await.unwrap();
    drop(begun(&mut writer, &rows(0..5, 1)).await);
    write(&mut writer, &rows(5..9, 1)).await;
    assert_eq!(pending_writes(&table).await, 1);
}

/// Three writes; returns the table's rows before the last, the rows after it, and its instant.
async fn three_writes(shape: Shape, storage: &Storage) -> (Model, Model, InstantTime) {
    let table = create(storage, shape).await;
    let mut writer = small_writer(&table).await;
    let mut before = Model::default();
    for changes in [rows(0..60, 1), rows(40..80, 2)] {
        write(&mut writer, &changes).await;
        before.apply(shape, &changes);
    }
    let mut last = rows(20..100, 3);
    last.extend(
        rows(0..10, 0)
            .into_iter()
            .map(|row| Change { price: None, ..row }),
    );
    let time = write(&mut writer, &last).await;
    let mut after = before.clone();
    after.apply(shape, &last);
    (before, after, time)
}

async fn roll_back(storage: &Storage, time: &InstantTime) -> Result<()> {
    let table = Table::open_storage(storage.clone()).await?;
    let services = table.services(env(), BTreeMap::new());
    services.roll_back(time).await.map(drop)
}

#[rstest]
#[case(TableType::CopyOnWrite, Fault::Fail)]
#[case(TableType::CopyOnWrite, Fault::ApplyThenFail)]
#[case(TableType::MergeOnRead, Fault::Fail)]
#[case(TableType::MergeOnRead, Fault::ApplyThenFail)]
#[tokio::test]
async fn a_killed_rollback_of_a_completed_write_is_finished_by_the_next(
    #[case] table_type: TableType,
    #[case] fault: Fault,
) {
    let shape = shape(table_type);
    let mut outcomes = [0, 0];
    for crash_at in 0.. {
        let dir = tempfile::tempdir().unwrap();
        let storage = local(&dir);
        let (mut before, after, time) = three_writes(shape, &storage).await;
        let died = roll_back(&dying(&storage, crash_at, fault), &time).await;
        // Whoever comes next: a writer, or the same command again.
        let table = Table::open_storage(storage.clone()).await.unwrap();
        if crash_at % 2 == 0 {
            let mut writer = small_writer(&table).await;
            let is_undone = read_table(&storage).await.unwrap() == before.expected();
            outcomes[usize::from(is_undone)] += 1;
            let mut model = if is_undone { before } else { after };
            model.check(&storage).await;
            write(&mut writer, &rows(10..30, 8)).await;
            model.apply(shape, &rows(10..30, 8));
            model.check(&storage).await;
        } else {
            match roll_back(&storage, &time).await {
                Ok(()) => {}
                Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound, "{error}"),
            }
            before.check(&storage).await;
            let mut writer = small_writer(&table).await;
            write(&mut writer, &rows(10..30, 8)).await;
            before.apply(shape, &rows(10..30, 8));
            before.check(&storage).await;
        }
        let timeline = table.timeline().await.unwrap();
        assert_eq!(timeline.pending().count(), 0);
        check_debris(&storage, &table).await;
        if died.is_ok() {
            break;
        }
    }
    assert!(outcomes.iter().all(|count| *count > 0), "{outcomes:?}");
}

#[tokio::test]
async fn only_the_latest_write_is_rolled_back_and_no_savepointed_one() {
    for shape in SHAPES {
        let dir = tempfile::tempdir().unwrap();
        let storage = local(&dir);
        let (before, _, time) = three_writes(shape, &storage).await;
        let services = services(&storage).await;
        let table = Table::open_storage(storage.clone()).await.unwrap();
        let timeline = table.timeline().await.unwrap();
        let first = timeline.completed_writes().next().unwrap().time.clone();
        let refused = services.roll_back(&first).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Conflict);
        assert!(refused.to_string().contains("came later"), "{refused}");
        let savepoint = super::restore::savepoint(&storage, &time).await;
        let refused = services.roll_back(&time).await.unwrap_err();
        assert!(refused.to_string().contains("savepointed"), "{refused}");
        storage.delete(&savepoint).await.unwrap();
        let report = services.roll_back(&time).await.unwrap();
        assert!(!report.deleted.is_empty());
        before.check(&storage).await;
        let again = services.roll_back(&time).await.unwrap_err();
        assert_eq!(again.kind(), ErrorKind::NotFound);
        assert!(
            again.to_string().contains(report.rollback.as_str()),
            "{again}"
        );
        let timeline = table.timeline().await.unwrap();
        let rollback = timeline.find(&report.rollback, Action::Rollback).unwrap();
        assert_eq!(rollback.state, State::Completed);
    }
}

#[tokio::test]
async fn a_write_whose_predecessor_was_cleaned_is_not_rolled_back() {
    let dir = tempfile::tempdir().unwrap();
    let storage = local(&dir);
    let shape = shape(TableType::CopyOnWrite);
    let (_, after, time) = three_writes(shape, &storage).await;
    for (path, file) in storage.list_recursive("").await.unwrap() {
        if file.name.ends_with(".parquet") && !file.name.contains(time.as_str()) {
            storage.delete(&path).await.unwrap();
        }
    }
    let refused = services(&storage).await.roll_back(&time).await.unwrap_err();
    assert!(refused.to_string().contains("cleaned"), "{refused}");
    assert_eq!(
        read_table(&storage).await.unwrap().len(),
        after.expected().len()
    );
}

async fn pending_times(storage: &Storage) -> Vec<String> {
    let table = Table::open_storage(storage.clone()).await.unwrap();
    let timeline = table.timeline().await.unwrap();
    timeline.pending().map(ToString::to_string).collect()
}

fn copy_all(from: &std::path::Path, to: &std::path::Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => {
                std::fs::create_dir_all(&target).unwrap();
                copy_all(&entry.path(), &target);
            }
            false => drop(std::fs::copy(entry.path(), target).unwrap()),
        }
    }
}

/// The plan of the only rollback in a table's timeline, below its folder.
fn requested_rollback(table: &std::path::Path) -> PathBuf {
    let timeline = std::path::Path::new("t/.hoodie/timeline");
    let mut names = std::fs::read_dir(table.join(timeline))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap());
    timeline.join(
        names
            .find(|name| name.ends_with(".rollback.requested"))
            .unwrap(),
    )
}
