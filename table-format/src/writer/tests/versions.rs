//! Tables that change their version between writes, and processes that die while they do.

use std::collections::BTreeMap;

use futures::TryStreamExt;
use rstest::rstest;

use crate::config::{MergeMode, TableType, TableVersion, key};
use crate::error::{ErrorKind, Result};
use crate::reader::ReadOptions;
use crate::service::Services;
use crate::storage::Storage;
use crate::table::Table;
use crate::testing::{Fault, Row, cell};
use crate::timeline::{InstantTime, State};
use crate::writer::WriteOperation;
use crate::writer::tests::failed_writes::dying;
use crate::writer::tests::model::{
    Change, Key, Model, Shape, batch, create_version, env, local, small_writer,
};

const EARLY_ARCHIVAL: [(&str, &str); 4] = [
    ("hoodie.keep.max.commits", "4"),
    ("hoodie.keep.min.commits", "3"),
    ("hoodie.clean.policy", "KEEP_LATEST_FILE_VERSIONS"),
    ("hoodie.compact.inline.max.delta.commits", "1"),
];

fn services(table: &Table) -> Services {
    let properties = EARLY_ARCHIVAL.map(|(key, value)| (key.to_owned(), value.to_owned()));
    table.services(env(), properties.into())
}

fn shape(table_type: TableType) -> Shape {
    Shape {
        table_type,
        is_partitioned: true,
        key: Key::Int,
        is_event_time: false,
    }
}

fn rows(ids: std::ops::Range<i64>, price: impl Into<Option<i64>>) -> Vec<Change> {
    let price = price.into();
    ids.map(|id| Change {
        id,
        region: ["eu", "us"][usize::from(id % 2 == 0)],
        price,
        ts: 0,
    })
    .collect()
}

/// One commit by a new writer.
async fn write(storage: &Storage, model: &mut Model, shape: Shape, changes: &[Change]) {
    let table = Table::open_storage(storage.clone()).await.unwrap();
    let mut writer = small_writer(&table).await;
    let mut transaction = writer.begin(WriteOperation::Upsert).await.unwrap();
    transaction.upsert(batch(changes)).await.unwrap();
    let extra = BTreeMap::from([("lakebed.position".to_owned(), changes.len().to_string())]);
    transaction.commit(extra).await.unwrap();
    model.apply(shape, changes);
    writer.check_ranges(storage).await;
    model.check(storage).await;
}

/// A table with rows, changes to them, an archive and a commit that died.
async fn lived_in(storage: &Storage, shape: Shape, version: TableVersion) -> Model {
    let table = create_version(storage, shape, version).await;
    let mut model = Model::default();
    write(storage, &mut model, shape, &rows(0..60, 1)).await;
    for round in 0..4 {
        write(
            storage,
            &mut model,
            shape,
            &rows(round * 7..round * 7 + 20, 2 + round),
        )
        .await;
    }
    if shape.table_type == TableType::MergeOnRead {
        services(&table).compact_if_due().await.unwrap();
    }
    services(&table).archive().await.unwrap();
    write(storage, &mut model, shape, &rows(20..25, None)).await;
    write(storage, &mut model, shape, &rows(50..70, 9)).await;
    let mut writer = small_writer(&table).await;
    let mut dead = writer.begin(WriteOperation::Upsert).await.unwrap();
    dead.upsert(batch(&rows(0..10, 77))).await.unwrap();
    drop(dead);
    model.check(storage).await;
    model
}

/// Rows as of the commits that are on the active timeline.
async fn travels(storage: &Storage) -> BTreeMap<InstantTime, Vec<Row>> {
    let table = Table::open_storage(storage.clone()).await.unwrap();
    let timeline = table.timeline().await.unwrap();
    let mut travels = BTreeMap::new();
    for instant in timeline.completed_writes() {
        let snapshot = table.snapshot(Some(&instant.time)).await.unwrap();
        let options = ReadOptions::new(env().memory);
        let mut rows: Vec<Row> = Vec::new();
        for slice in snapshot.slices() {
            let batches = snapshot.read_slice(slice, &options).await.unwrap();
            for batch in batches.try_collect::<Vec<_>>().await.unwrap() {
                for row in 0..batch.num_rows() {
                    let text = |name: &str| {
                        let column = batch.column_by_name(name).unwrap();
                        (name.to_owned(), cell(column, row).unwrap())
                    };
                    rows.push(["id", "price", "_hoodie_commit_time"].map(text).into());
                }
            }
        }
        rows.sort();
        travels.insert(instant.time.clone(), rows);
    }
    travels
}

/// Begin times of all instants that are completed, archived ones too.
async fn history(storage: &Storage) -> Vec<InstantTime> {
    let table = Table::open_storage(storage.clone()).await.unwrap();
    let archived = table.archived().await.unwrap();
    let mut times: Vec<InstantTime> = archived
        .instants(&crate::timeline::archived::Selection::default())
        .await
        .unwrap()
        .into_iter()
        .map(|instant| instant.time)
        .collect();
    let timeline = table.timeline().await.unwrap();
    times.extend(timeline.completed().map(|instant| instant.time.clone()));
    times
}

/// Nothing of another layout is left, and the files of the timeline are what the version has.
async fn check_place(storage: &Storage, version: TableVersion) {
    let table = Table::open_storage(storage.clone()).await.unwrap();
    let config = table.config();
    assert_eq!(config.version(), version);
    let folders = [
        ".hoodie",
        ".hoodie/timeline",
        ".hoodie/timeline/history",
        ".hoodie/archived",
    ];
    for folder in folders {
        let is_ours = folder == config.timeline_dir() || folder == config.archive_dir();
        for file in storage.list(folder).await.unwrap().files {
            let is_properties = file.name.starts_with("hoodie.properties");
            assert!(is_ours || is_properties, "{folder}/{} is left", file.name);
        }
    }
    assert!(
        !storage
            .exists(".hoodie/hoodie.properties.backup")
            .await
            .unwrap()
    );
    let timeline = table.timeline().await.unwrap();
    for instant in timeline.instants() {
        assert_eq!(instant.state, State::Completed, "{instant}");
        let is_told = version.keeps_completion_times();
        assert_eq!(instant.completion.is_some(), is_told, "{instant}");
    }
    for instant in timeline.completed_writes() {
        let bytes = timeline.read(instant).await.unwrap();
        assert_eq!(bytes.starts_with(b"{"), !is_avro(version), "{instant}");
    }
}

fn is_avro(version: TableVersion) -> bool {
    version != TableVersion::Six
}

#[rstest]
#[tokio::test]
async fn a_table_keeps_its_rows_and_history_through_all_versions(
    #[values(TableType::CopyOnWrite, TableType::MergeOnRead)] table_type: TableType,
) {
    use TableVersion::{Eight, Nine, Six};
    let shape = shape(table_type);
    let dir = tempfile::tempdir().unwrap();
    let storage = local(&dir);
    let mut model = lived_in(&storage, shape, Six).await;
    let mut from = Six;
    for to in [Eight, Nine, Eight, Six, Nine, Six] {
        let before = (travels(&storage).await, history(&storage).await);
        let table = Table::open_storage(storage.clone()).await.unwrap();
        let changed = services(&table).change_version(to).await.unwrap();
        assert_eq!((changed.from, changed.to), (from, to));
        assert_eq!(changed.merge_mode, MergeMode::CommitTime);
        check_place(&storage, to).await;
        model.check(&storage).await;
        let (travels, history) = (travels(&storage).await, history(&storage).await);
        for (time, rows) in &before.0 {
            assert_eq!(&travels[time], rows, "{from} to {to}: as of {time}");
        }
        let kept = before
            .1
            .iter()
            .filter(|time| history.contains(time))
            .count();
        assert_eq!(kept, before.1.len(), "{from} to {to}");
        let price = i64::from(to.number());
        write(&storage, &mut model, shape, &rows(30..40, price)).await;
        let table = Table::open_storage(storage.clone()).await.unwrap();
        if table_type == TableType::MergeOnRead {
            services(&table).compact_if_due().await.unwrap();
            model.check(&storage).await;
        }
        write(&storage, &mut model, shape, &rows(35..45, 100)).await;
        services(&table).archive().await.unwrap();
        model.check(&storage).await;
        from = to;
    }
    let table = Table::open_storage(storage.clone()).await.unwrap();
    assert_eq!(table.config().properties().get(key::INITIAL_VERSION), None);
    let (_, extra) = table
        .last_extra_metadata("lakebed.position")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(extra["lakebed.position"], "10");
}

async fn change(storage: Storage, to: TableVersion) -> Result<()> {
    let table = Table::open_storage(storage).await?;
    services(&table).change_version(to).await.map(drop)
}

#[rstest]
#[case(TableVersion::Six, TableVersion::Nine)]
#[case(TableVersion::Nine, TableVersion::Six)]
#[case(TableVersion::Nine, TableVersion::Eight)]
#[tokio::test]
async fn a_crash_at_any_call_of_a_change_loses_nothing(
    #[case] from: TableVersion,
    #[case] to: TableVersion,
    #[values(TableType::CopyOnWrite, TableType::MergeOnRead)] table_type: TableType,
    #[values(Fault::Fail, Fault::ApplyThenFail)] fault: Fault,
) {
    let shape = shape(table_type);
    let mut crashes = 0;
    // A table is much work: every third call, from another one in each case.
    for crash_at in (first_crash(from, fault)..).step_by(3) {
        let dir = tempfile::tempdir().unwrap();
        let storage = local(&dir);
        let mut model = lived_in(&storage, shape, from).await;
        let times = history(&storage).await;
        let died = change(dying(&storage, crash_at, fault), to).await;
        model.check(&storage).await;
        // The table is of one version or the other, and can be written.
        write(&storage, &mut model, shape, &rows(1..5, 500)).await;
        if died.is_err() {
            drop(change(dying(&storage, crash_at % 17, fault), to).await);
            model.check(&storage).await;
        }
        change(storage.clone(), to).await.unwrap();
        check_place(&storage, to).await;
        model.check(&storage).await;
        let after = history(&storage).await;
        assert!(
            times.iter().all(|time| after.contains(time)),
            "crash at {crash_at}"
        );
        write(&storage, &mut model, shape, &rows(3..9, 600)).await;
        if died.is_ok() {
            break;
        }
        crashes += 1;
    }
    assert!(crashes >= 3, "{crashes}");
}

/// Where the calls of a case begin.
fn first_crash(from: TableVersion, fault: Fault) -> u64 {
    u64::from(from.number() % 2) + u64::from(fault == Fault::Fail)
}

#[tokio::test]
async fn a_table_with_a_living_plan_is_left_alone() {
    let shape = shape(TableType::MergeOnRead);
    let dir = tempfile::tempdir().unwrap();
    let storage = local(&dir);
    let mut model = Model::default();
    let table = create_version(&storage, shape, TableVersion::Nine).await;
    write(&storage, &mut model, shape, &rows(0..10, 1)).await;
    let plan = ".hoodie/timeline/20260101000000000.logcompaction.requested";
    storage.create(plan, bytes::Bytes::new()).await.unwrap();
    let error = services(&table).change_version(TableVersion::Six).await;
    let error = error.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.to_string().contains("logcompaction"), "{error}");
    let table = Table::open_storage(storage.clone()).await.unwrap();
    assert_eq!(table.config().version(), TableVersion::Nine);
    model.check(&storage).await;
}
