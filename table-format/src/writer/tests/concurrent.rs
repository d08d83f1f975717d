//! Several writers on one table at the same time, under optimistic concurrency control: nothing is lost, nothing is doubled.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rstest::rstest;

use crate::config::{LockSettings, TableType, TableVersion};
use crate::env::Env;
use crate::error::{ErrorKind, Result};
use crate::storage::Storage;
use crate::table::Table;
use crate::timeline::{Instant, State};
use crate::transaction::WriterLease;
use crate::writer::tests::model::{
    Change, Key, Model, Shape, batch, create, create_version, env, local,
};
use crate::writer::{TableWriter, WriteOperation, WriterOptions};

const LOCKS: &str = "org.apache.hudi.client.transaction.lock";

pub(super) fn optimistic(provider: &str) -> Env {
    let pairs = [
        (
            "hoodie.write.concurrency.mode",
            "OPTIMISTIC_CONCURRENCY_CONTROL".to_owned(),
        ),
        ("hoodie.write.lock.provider", format!("{LOCKS}.{provider}")),
    ];
    let properties: BTreeMap<String, String> = pairs
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect();
    env().with_locks(LockSettings::from_properties(&properties).unwrap())
}

fn change(id: i64, price: impl Into<Option<i64>>) -> Change {
    Change {
        id,
        region: ["eu", "us"][usize::try_from(id % 2).unwrap()],
        price: price.into(),
        ts: 0,
    }
}

fn shape(table_type: TableType) -> Shape {
    Shape {
        table_type,
        is_partitioned: true,
        key: Key::Int,
        is_event_time: false,
    }
}

/// A writer whose groups are full at a few thousand bytes, so that there are many.
async fn writer(storage: &Storage, env: Env) -> TableWriter {
    let pairs = [
        ("hoodie.parquet.max.file.size", "6000"),
        ("hoodie.parquet.small.file.limit", "5200"),
    ];
    let pairs = pairs
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()));
    let options = WriterOptions::from_properties(&pairs.collect()).unwrap();
    let table = Table::open_storage(storage.clone()).await.unwrap();
    table.writer(env, options).await.unwrap()
}

async fn write(writer: &mut TableWriter, changes: &[Change]) -> Result<Instant> {
    let mut transaction = writer.begin(WriteOperation::Upsert).await?;
    transaction.upsert(batch(changes)).await?;
    transaction.commit(BTreeMap::new()).await
}

/// A small generator, so that every writer has a sequence of its own.
fn next(state: &mut u64) -> u64 {
    *state = state
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}

/// Writes rounds of random changes, each until it succeeds; returns them by completion time, and how often it had to begin anew.
async fn work(storage: Storage, env: Env, number: u64) -> (Vec<(String, Vec<Change>)>, usize) {
    let mut random = 77 + number;
    let mut writer = writer(&storage, env).await;
    let (mut done, mut conflicts) = (Vec::new(), 0);
    for round in 0..12 {
        let first = i64::try_from(next(&mut random) % 400).unwrap();
        let changes: Vec<Change> = (first..first + 25)
            .map(|id| {
                let price = (!next(&mut random).is_multiple_of(5))
                    .then_some(id * 1000 + round * 10 + i64::try_from(number).unwrap());
                change(id, price)
            })
            .collect();
        loop {
            match write(&mut writer, &changes).await {
                Ok(instant) => {
                    done.push((instant.end_time().to_string(), changes));
                    break;
                }
                Err(error) if error.kind() == ErrorKind::Conflict => conflicts += 1,
                Err(error) => panic!("{error}"),
            }
        }
    }
    (done, conflicts)
}

#[rstest]
#[case(
    TableType::CopyOnWrite,
    "FileSystemBasedLockProvider",
    TableVersion::Nine
)]
#[case(
    TableType::MergeOnRead,
    "FileSystemBasedLockProvider",
    TableVersion::Nine
)]
#[case(TableType::CopyOnWrite, "StorageBasedLockProvider", TableVersion::Nine)]
#[case(TableType::MergeOnRead, "InProcessLockProvider", TableVersion::Nine)]
#[case(
    TableType::CopyOnWrite,
    "FileSystemBasedLockProvider",
    TableVersion::Six
)]
#[case(
    TableType::MergeOnRead,
    "FileSystemBasedLockProvider",
    TableVersion::Six
)]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_writers_lose_and_double_nothing(
    #[case] table_type: TableType,
    #[case] lock: &str,
    #[case] version: TableVersion,
) {
    let dir = tempfile::tempdir().unwrap();
    let storage = local(&dir);
    let shape = shape(table_type);
    create_version(&storage, shape, version).await;
    // Each in a thread and runtime of its own, as two processes would be.
    let works = [1, 2].map(|number| {
        let (storage, env) = (storage.clone(), optimistic(lock));
        tokio::task::spawn_blocking(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(work(storage, env, number))
        })
    });
    let (mut done, mut conflicts) = (Vec::new(), 0);
    for work in works {
        let (commits, begun_anew) = work.await.unwrap();
        done.extend(commits);
        conflicts += begun_anew;
    }
    assert_eq!(done.len(), 24);
    assert!(conflicts > 0, "the writers never met: nothing is tested");
    done.sort_by(|left, right| left.0.cmp(&right.0));
    let mut model = Model::default();
    for (_, changes) in &done {
        model.apply(shape, changes);
    }
    model.check(&storage).await;
    let timeline = Table::open_storage(storage.clone())
        .await
        .unwrap()
        .timeline()
        .await
        .unwrap();
    let pending = timeline.pending().count();
    assert_eq!(pending, 0, "who loses undoes its instant: {timeline:?}");
    assert_eq!(
        timeline
            .instants()
            .iter()
            .filter(|instant| instant.state == State::Completed)
            .count(),
        24 + conflicts
    );
}

#[rstest]
#[case(TableType::CopyOnWrite)]
#[case(TableType::MergeOnRead)]
#[tokio::test]
async fn writers_of_different_file_groups_do_not_conflict_and_those_of_one_do(
    #[case] table_type: TableType,
) {
    let dir = tempfile::tempdir().unwrap();
    let (storage, shape) = (local(&dir), shape(table_type));
    create(&storage, shape).await;
    let env = optimistic("FileSystemBasedLockProvider");
    let mut first = writer(&storage, env.clone()).await;
    let mut model = Model::default();
    for ids in [0..200, 10_000..10_200] {
        let rows: Vec<Change> = ids.map(|id| change(id, 1)).collect();
        write(&mut first, &rows).await.unwrap();
        model.apply(shape, &rows);
    }
    let mut second = writer(&storage, env).await;
    // Odd and even ids lie in partitions of their own.
    let (low, high) = ([change(3, 7), change(5, None)], [change(10_002, 8)]);
    let mut ours = first.begin(WriteOperation::Upsert).await.unwrap();
    ours.upsert(batch(&low)).await.unwrap();
    write(&mut second, &high).await.unwrap();
    ours.commit(BTreeMap::new()).await.unwrap();
    model.apply(shape, &low);
    model.apply(shape, &high);
    model.check(&storage).await;

    // Begun before, completed before: only the pending state of the other's instant was seen at the beginning.
    let theirs = second.begin(WriteOperation::Upsert).await.unwrap();
    let mut ours = first.begin(WriteOperation::Upsert).await.unwrap();
    ours.upsert(batch(&[change(3, 70)])).await.unwrap();
    let mut theirs = theirs;
    theirs.upsert(batch(&[change(3, 71)])).await.unwrap();
    theirs.commit(BTreeMap::new()).await.unwrap();
    let error = ours.commit(BTreeMap::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    model.apply(shape, &[change(3, 71)]);
    model.check(&storage).await;
    write(&mut first, &[change(3, 72)]).await.unwrap();
    model.apply(shape, &[change(3, 72)]);
    model.check(&storage).await;
}

#[tokio::test]
async fn a_key_that_two_writers_insert_at_once_is_there_once() {
    let dir = tempfile::tempdir().unwrap();
    let (storage, shape) = (local(&dir), shape(TableType::CopyOnWrite));
    create(&storage, shape).await;
    let env = optimistic("InProcessLockProvider");
    let mut first = writer(&storage, env.clone()).await;
    let mut second = writer(&storage, env).await;
    let mut ours = first.begin(WriteOperation::Upsert).await.unwrap();
    ours.upsert(batch(&[change(2, 1), change(20, 1)]))
        .await
        .unwrap();
    write(&mut second, &[change(20, 2)]).await.unwrap();
    let error = ours.commit(BTreeMap::new()).await.unwrap_err();
    assert_eq!(
        error.kind(),
        ErrorKind::Conflict,
        "both made a new group for key 20"
    );
    let mut ours = first.begin(WriteOperation::Upsert).await.unwrap();
    ours.upsert(batch(&[change(1, 1), change(3, 1)]))
        .await
        .unwrap();
    write(&mut second, &[change(101, 2), change(103, 2)])
        .await
        .unwrap();
    ours.commit(BTreeMap::new()).await.unwrap();
    let mut model = Model::default();
    model.apply(
        shape,
        &[
            change(20, 2),
            change(1, 1),
            change(3, 1),
            change(101, 2),
            change(103, 2),
        ],
    );
    model.check(&storage).await;
}

#[tokio::test]
async fn a_living_writers_markers_are_seen_before_the_work_is_done() {
    let dir = tempfile::tempdir().unwrap();
    let (storage, shape) = (local(&dir), shape(TableType::CopyOnWrite));
    create(&storage, shape).await;
    let pairs = [
        (
            "hoodie.write.concurrency.mode",
            "OPTIMISTIC_CONCURRENCY_CONTROL".to_owned(),
        ),
        (
            "hoodie.write.lock.provider",
            format!("{LOCKS}.InProcessLockProvider"),
        ),
        (
            "hoodie.write.concurrency.early.conflict.detection.enable",
            "true".to_owned(),
        ),
    ];
    let pairs = pairs
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value));
    let env = env().with_locks(LockSettings::from_properties(&pairs.collect()).unwrap());
    let mut first = writer(&storage, env.clone()).await;
    write(&mut first, &[change(1, 1), change(2, 1)])
        .await
        .unwrap();
    let mut second = writer(&storage, env).await;
    let mut ours = first.begin(WriteOperation::Upsert).await.unwrap();
    ours.upsert(batch(&[change(1, 2)])).await.unwrap();
    let heartbeat = format!(".hoodie/.heartbeat/{}", ours.instant_time());
    let mut later = second.begin(WriteOperation::Upsert).await.unwrap();
    later.upsert(batch(&[change(2, 3)])).await.unwrap();
    let error = later.upsert(batch(&[change(1, 3)])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.to_string().contains("which began earlier"), "{error}");
    later.abort().await.unwrap();
    // As soon as it is silent, it is no more in the way, and is taken for dead.
    storage.delete(&heartbeat).await.unwrap();
    write(&mut second, &[change(1, 3)]).await.unwrap();
    let error = ours.commit(BTreeMap::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
}

#[tokio::test]
async fn pending_writes_of_others_are_left_alone_and_our_own_undone() {
    let dir = tempfile::tempdir().unwrap();
    let (storage, shape) = (local(&dir), shape(TableType::MergeOnRead));
    create(&storage, shape).await;
    let env = optimistic("FileSystemBasedLockProvider");
    let mut first = writer(&storage, env.clone()).await;
    let mut second = writer(&storage, env).await;
    let mut slow = first.begin(WriteOperation::Upsert).await.unwrap();
    slow.upsert(batch(&[change(1, 1)])).await.unwrap();
    let mut dropped = second.begin(WriteOperation::Upsert).await.unwrap();
    dropped.upsert(batch(&[change(500, 1)])).await.unwrap();
    drop(dropped);
    write(&mut second, &[change(1000, 1)]).await.unwrap();
    slow.commit(BTreeMap::new()).await.unwrap();
    let mut model = Model::default();
    model.apply(shape, &[change(1, 1), change(1000, 1)]);
    model.check(&storage).await;
    let timeline = Table::open_storage(storage.clone())
        .await
        .unwrap()
        .timeline()
        .await
        .unwrap();
    assert_eq!(timeline.pending().count(), 0, "{timeline:?}");
}

/// Hudi's writers choose their time before they read the table. What began later and is completed before they read would be
/// the newest slice afterwards, without their rows.
#[tokio::test]
async fn a_write_begins_when_announced_ones_have_read_the_table() {
    let dir = tempfile::tempdir().unwrap();
    let (storage, shape) = (local(&dir), shape(TableType::CopyOnWrite));
    let table = create(&storage, shape).await;
    let env = optimistic("InProcessLockProvider");
    let mut ours = writer(&storage, env.clone()).await;
    write(&mut ours, &[change(1, 1)]).await.unwrap();
    let theirs = env.clock.now().format("%Y%m%d%H%M%S%3f").to_string();
    let announced = format!(
        "{}/{theirs}.commit.requested",
        table.config().timeline_dir()
    );
    storage
        .create(&format!(".hoodie/.heartbeat/{theirs}"), Bytes::new())
        .await
        .unwrap();
    storage.create(&announced, Bytes::new()).await.unwrap();
    let patience = Duration::from_millis(300);
    let waiting = tokio::time::timeout(patience, ours.begin(WriteOperation::Upsert)).await;
    assert!(waiting.is_err(), "it began beside {announced}");
    // Its inflight file says that it has read the table; from then on it looks for our commit itself.
    let inflight = format!("{}/{theirs}.inflight", table.config().timeline_dir());
    storage.create(&inflight, Bytes::new()).await.unwrap();
    write(&mut ours, &[change(1, 2)]).await.unwrap();
    storage.delete(&inflight).await.unwrap();
    // One without a heartbeat is dead, and undone.
    storage
        .delete(&format!(".hoodie/.heartbeat/{theirs}"))
        .await
        .unwrap();
    write(&mut ours, &[change(1, 3)]).await.unwrap();
    assert!(!storage.exists(&announced).await.unwrap());
}

#[tokio::test]
async fn a_writer_whose_lease_is_lost_completes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (storage, shape) = (local(&dir), shape(TableType::CopyOnWrite));
    let table = create(&storage, shape).await;
    let lease = WriterLease::acquire(&storage, &env(), "first", Duration::from_millis(300))
        .await
        .unwrap();
    let lease = Arc::new(lease);
    let mut first = table
        .leased_writer(env(), WriterOptions::default(), Arc::clone(&lease))
        .await
        .unwrap();
    let refused = table
        .writer(env(), WriterOptions::default())
        .await
        .unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Fenced);
    write(&mut first, &[change(1, 1)]).await.unwrap();
    let mut pending = first.begin(WriteOperation::Upsert).await.unwrap();
    pending.upsert(batch(&[change(1, 2)])).await.unwrap();
    // What another process would leave that took over.
    let path = ".hoodie/.locks/lakebed_writer.json";
    let until = env().clock.now().timestamp_millis() + 60_000;
    let taken =
        format!(r#"{{"expired":false,"validUntil":{until},"owner":"other","holder":"second"}}"#);
    storage.overwrite(path, taken.into()).await.unwrap();
    assert_eq!(lease.lost().await.kind(), ErrorKind::Fenced);
    let error = pending.commit(BTreeMap::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fenced);
    assert!(
        error.to_string().contains("second has taken over"),
        "{error}"
    );
    let error = first.begin(WriteOperation::Upsert).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fenced);
    let mut model = Model::default();
    model.apply(shape, &[change(1, 1)]);
    model.check(&storage).await;
}
