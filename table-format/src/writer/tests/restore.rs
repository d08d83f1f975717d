//! Restores: the table is what it was at the savepoint, and a killed restore is finished by whoever comes next.

use std::collections::BTreeMap;

use rstest::rstest;

use crate::config::TableType;
use crate::error::{ErrorKind, Result};
use crate::file_group::view::latest_slices;
use crate::file_group::{Horizon, Visibility};
use crate::storage::Storage;
use crate::table::Table;
use crate::testing::Fault;
use crate::timeline::metadata::{Payload, SavepointMetadata};
use crate::timeline::{Action, Instant, InstantTime, State};
use crate::writer::WriteOperation;
use crate::writer::tests::crash::{check_debris, rows};
use crate::writer::tests::failed_writes::{SHAPES, dying, services, shape, write};
use crate::writer::tests::model::{Change, Model, Shape, batch, create, env, local, small_writer};

/// Savepoints the table as it is, at the commit of `time`; returns the savepoint's file.
pub(super) async fn savepoint(storage: &Storage, time: &InstantTime) -> String {
    let table = Table::open_storage(storage.clone()).await.unwrap();
    let timeline = table.timeline().await.unwrap();
    let visibility = Visibility::new(&timeline, Horizon::Latest);
    let slices = latest_slices(storage, table.config(), &timeline, &visibility);
    let mut metadata = SavepointMetadata::default();
    for slice in slices.await.unwrap() {
        let entry = metadata
            .partition_metadata
            .entry(slice.partition_path.clone());
        let files = &mut entry.or_default().savepoint_data_file;
        files.extend(slice.base_file.iter().map(ToString::to_string));
        files.extend(slice.log_files.iter().map(ToString::to_string));
    }
    let completion = timeline.latest_time().unwrap().clone();
    let instant = Instant {
        time: time.clone(),
        action: Action::Savepoint,
        state: State::Completed,
        completion: Some(completion),
    };
    let path = timeline.path_of(&instant);
    let bytes = metadata.encode_avro().unwrap();
    storage.create(&path, bytes.into()).await.unwrap();
    path
}

/// Two writes, a savepoint on the second, two more writes and a failed one.
async fn saved_table(shape: Shape, storage: &Storage) -> (Model, InstantTime) {
    let table = create(storage, shape).await;
    let mut writer = small_writer(&table).await;
    let mut saved = Model::default();
    let mut time = None;
    for changes in [rows(0..60, 1), rows(40..80, 2)] {
        time = Some(write(&mut writer, &changes).await);
        saved.apply(shape, &changes);
    }
    let time = time.unwrap();
    savepoint(storage, &time).await;
    let mut changes = rows(20..120, 3);
    changes.extend(
        rows(0..10, 0)
            .into_iter()
            .map(|row| Change { price: None, ..row }),
    );
    write(&mut writer, &changes).await;
    write(&mut writer, &rows(100..140, 4)).await;
    let mut failed = writer.begin(WriteOperation::Upsert).await.unwrap();
    failed.upsert(batch(&rows(50..70, 5))).await.unwrap();
    (saved, time)
}

async fn restore(storage: &Storage, time: &InstantTime) -> Result<()> {
    let table = Table::open_storage(storage.clone()).await?;
    let services = table.services(env(), BTreeMap::new());
    services.restore(time).await.map(drop)
}

#[rstest]
#[case(TableType::CopyOnWrite, Fault::Fail)]
#[case(TableType::CopyOnWrite, Fault::ApplyThenFail)]
#[case(TableType::MergeOnRead, Fault::Fail)]
#[case(TableType::MergeOnRead, Fault::ApplyThenFail)]
#[tokio::test]
async fn a_killed_restore_is_finished_by_the_next_restore_or_writer(
    #[case] table_type: TableType,
    #[case] fault: Fault,
) {
    let shape = shape(table_type);
    for crash_at in 0.. {
        let dir = tempfile::tempdir().unwrap();
        let storage = local(&dir);
        let (mut model, time) = saved_table(shape, &storage).await;
        let died = restore(&dying(&storage, crash_at, fault), &time).await;
        let table = Table::open_storage(storage.clone()).await.unwrap();
        let timeline = table.timeline().await.unwrap();
        let is_planned = timeline
            .instants()
            .iter()
            .any(|instant| instant.action == Action::Restore);
        // The next may die as well.
        drop(restore(&dying(&storage, crash_at % 5, fault), &time).await);
        if !(is_planned && crash_at % 2 == 0) {
            restore(&storage, &time).await.unwrap();
            model.check(&storage).await;
        }
        let mut writer = small_writer(&table).await;
        model.check(&storage).await;
        write(&mut writer, &rows(10..30, 8)).await;
        model.apply(shape, &rows(10..30, 8));
        model.check(&storage).await;
        let timeline = table.timeline().await.unwrap();
        assert_eq!(timeline.pending().count(), 0);
        check_debris(&storage, &table).await;
        if died.is_ok() {
            assert!(crash_at > 20, "the restore made {crash_at} changes");
            break;
        }
    }
}

#[tokio::test]
async fn a_dry_run_lists_what_would_go_and_changes_nothing() {
    for shape in SHAPES {
        let dir = tempfile::tempdir().unwrap();
        let storage = local(&dir);
        let (saved, time) = saved_table(shape, &storage).await;
        let services = services(&storage).await;
        let before = storage.list_recursive("").await.unwrap();
        let report = services.plan_restore(&time).await.unwrap();
        assert_eq!(storage.list_recursive("").await.unwrap(), before);
        assert_eq!(report.restore, None);
        let states: Vec<State> = report.instants.iter().map(|it| it.instant.state).collect();
        assert_eq!(
            states,
            [State::Inflight, State::Completed, State::Completed]
        );
        let [failed, newest, older] = &report.instants[..] else {
            panic!("{report:?}");
        };
        assert!(newest.instant.time > older.instant.time);
        assert!(!failed.files.is_empty());
        assert_eq!((newest.inserts + newest.updates, newest.deletes), (40, 0));
        assert_eq!((older.inserts + older.updates, older.deletes), (100, 10));
        let done = services.restore(&time).await.unwrap();
        assert_eq!(done.instants, report.instants);
        saved.check(&storage).await;
        let again = services.restore(&time).await.unwrap();
        assert!(again.restore.is_none() && again.instants.is_empty());
    }
}

#[tokio::test]
async fn rollbacks_after_the_savepoint_go_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let storage = local(&dir);
    let shape = shape(TableType::CopyOnWrite);
    let (saved, time) = saved_table(shape, &storage).await;
    let table = Table::open_storage(storage.clone()).await.unwrap();
    drop(small_writer(&table).await);
    let count = async |action| {
        let timeline = table.timeline().await.unwrap();
        let of_action = timeline.instants().iter().filter(|it| it.action == action);
        of_action.count()
    };
    assert_eq!(count(Action::Rollback).await, 1);
    services(&storage).await.restore(&time).await.unwrap();
    assert_eq!(count(Action::Rollback).await, 0);
    assert_eq!(count(Action::Restore).await, 1);
    assert_eq!(count(Action::Savepoint).await, 1);
    saved.check(&storage).await;
}

#[tokio::test]
async fn what_cannot_be_restored_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let storage = local(&dir);
    let shape = shape(TableType::MergeOnRead);
    let (_, time) = saved_table(shape, &storage).await;
    let services = services(&storage).await;
    let table = Table::open_storage(storage.clone()).await.unwrap();
    let timeline = table.timeline().await.unwrap();
    let last = timeline
        .completed_writes()
        .next_back()
        .unwrap()
        .time
        .clone();

    let unknown = services.restore(&last).await.unwrap_err();
    assert_eq!(unknown.kind(), ErrorKind::Invalid);
    assert!(unknown.to_string().contains(time.as_str()), "{unknown}");

    let later = savepoint(&storage, &last).await;
    let refused = services.plan_restore(&time).await.unwrap_err();
    assert!(refused.to_string().contains("later savepoint"), "{refused}");
    storage.delete(&later).await.unwrap();

    let archive = format!(".hoodie/timeline/history/{time}_{last}_0.parquet");
    storage.create(&archive, "x".into()).await.unwrap();
    let refused = services.plan_restore(&time).await.unwrap_err();
    assert!(refused.to_string().contains("archived"), "{refused}");
    storage.delete(&archive).await.unwrap();

    let files = storage.list("region=eu").await.unwrap().files;
    let saved = files
        .iter()
        .find(|file| file.name.ends_with(&format!("{time}.parquet")));
    let saved = saved.or_else(|| files.iter().find(|file| file.name.contains(time.as_str())));
    let lost = format!("region=eu/{}", saved.unwrap().name);
    storage.delete(&lost).await.unwrap();
    let refused = services.plan_restore(&time).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Corrupt);
    assert!(refused.to_string().contains(&lost), "{refused}");
}
