//! fsck: a sound table has no findings; each kind of damage is found, and mended where no rows are lost.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::config::TableType;
use crate::error::ErrorKind;
use crate::service::{Check, Finding, Services};
use crate::storage::Storage;
use crate::table::{PROPERTIES_PATH, Table};
use crate::testing::{Fault, read_table};
use crate::timeline::State;
use crate::timeline::metadata::Payload;
use crate::writer::tests::crash::rows;
use crate::writer::tests::failed_writes::{SHAPES, dying, shape, write};
use crate::writer::tests::model::{Model, Shape, batch, create, env, local, small_writer};
use crate::writer::{TableWriter, WriteOperation};

async fn fsck(storage: &Storage, repairs: bool) -> Vec<Finding> {
    let services = Services::unopened(storage.clone(), env(), BTreeMap::new());
    services.fsck(repairs).await.unwrap()
}

/// A table of two writes.
async fn sound_table(shape: Shape, storage: &Storage) -> (Model, TableWriter) {
    let table = create(storage, shape).await;
    let mut writer = small_writer(&table).await;
    let mut model = Model::default();
    for changes in [rows(0..60, 1), rows(40..90, 2)] {
        write(&mut writer, &changes).await;
        model.apply(shape, &changes);
    }
    assert_eq!(fsck(storage, false).await, []);
    (model, writer)
}

/// Expects one kind of finding, which a repair mends, and the rows to be as before.
async fn mends(storage: &Storage, check: Check, mut model: Model, shape: Shape) {
    let found = fsck(storage, false).await;
    assert!(!found.is_empty(), "{check} is not found");
    for finding in &found {
        assert_eq!(finding.check, check, "{finding:?}");
        assert!(
            finding.repair.is_some() && !finding.is_repaired,
            "{finding:?}"
        );
    }
    let repaired = fsck(storage, true).await;
    assert_eq!(repaired.len(), found.len());
    assert!(repaired.iter().all(|finding| finding.is_repaired));
    assert_eq!(
        fsck(storage, false).await,
        [],
        "after the repair of {check}"
    );
    model.check(storage).await;
    let table = Table::open_storage(storage.clone()).await.unwrap();
    let mut writer = small_writer(&table).await;
    write(&mut writer, &rows(30..40, 9)).await;
    model.apply(shape, &rows(30..40, 9));
    model.check(storage).await;
}

/// Expects one finding that is only reported.
async fn reports(storage: &Storage, check: Check, file: &str) {
    for repairs in [false, true] {
        let found = fsck(storage, repairs).await;
        let [finding] = &found[..] else {
            panic!("{found:?}");
        };
        assert_eq!((finding.check, finding.file.as_str()), (check, file));
        assert!(finding.repair.is_none() && !finding.is_repaired);
    }
}

async fn replace_property(storage: &Storage, key: &str, value: &str) {
    let bytes = storage.read(PROPERTIES_PATH).await.unwrap();
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    let mut lines: Vec<&str> = text.lines().filter(|line| !line.starts_with(key)).collect();
    let line = format!("{key}={value}");
    lines.push(&line);
    let text = lines.join("\n") + "\n";
    storage
        .overwrite(PROPERTIES_PATH, text.into())
        .await
        .unwrap();
}

#[tokio::test]
async fn broken_properties_are_mended() {
    let shape = shape(TableType::CopyOnWrite);
    let dir = tempfile::tempdir().unwrap();
    let storage = local(&dir);
    let (model, _) = sound_table(shape, &storage).await;
    replace_property(&storage, "hoodie.table.checksum", "1").await;
    assert!(Table::open_storage(storage.clone()).await.is_err());
    mends(&storage, Check::Properties, model.clone(), shape).await;

    // A change that died after the backup was made, and while the file was being written.
    let backup = ".hoodie/hoodie.properties.backup";
    let good = storage.read(PROPERTIES_PATH).await.unwrap();
    storage.create(backup, good.clone()).await.unwrap();
    let found = fsck(&storage, true).await;
    assert_eq!(found[0].file, backup);
    assert!(!storage.exists(backup).await.unwrap());
    storage.create(backup, good).await.unwrap();
    storage.delete(PROPERTIES_PATH).await.unwrap();
    let found = fsck(&storage, true).await;
    assert_eq!((found.len(), found[0].file.as_str()), (1, PROPERTIES_PATH));
    assert_eq!(fsck(&storage, false).await, []);
    storage.delete(PROPERTIES_PATH).await.unwrap();
    let services = Services::unopened(storage, env(), BTreeMap::new());
    let nothing = services.fsck(true).await.unwrap_err();
    assert_eq!(nothing.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn hazard_2_a_missing_partition_metafile_is_created() {
    for shape in SHAPES {
        let dir = tempfile::tempdir().unwrap();
        let storage = local(&dir);
        let (model, _) = sound_table(shape, &storage).await;
        let path = "region=eu/.hoodie_partition_metadata";
        let before = storage.read(path).await.unwrap();
        storage.delete(path).await.unwrap();
        let found = fsck(&storage, false).await;
        assert_eq!(found[0].file, path);
        mends(&storage, Check::Partition, model, shape).await;
        assert_eq!(storage.read(path).await.unwrap(), before);
    }
}

#[tokio::test]
async fn hazard_15_orphans_go_and_files_of_pending_writes_stay() {
    for shape in SHAPES {
        let dir = tempfile::tempdir().unwrap();
        let storage = local(&dir);
        let (model, mut writer) = sound_table(shape, &storage).await;
        let mut pending = writer.begin(WriteOperation::Upsert).await.unwrap();
        pending.upsert(batch(&rows(50..70, 5))).await.unwrap();
        let time = pending.instant_time().to_string();
        drop(pending);
        assert_eq!(
            fsck(&storage, false).await,
            [],
            "a pending write is left alone"
        );
        let timeline = ".hoodie/timeline";
        for file in storage.list(timeline).await.unwrap().files {
            if file.name.starts_with(&time) {
                storage
                    .delete(&format!("{timeline}/{}", file.name))
                    .await
                    .unwrap();
            }
        }
        let heartbeat = format!(".hoodie/.heartbeat/{time}");
        storage.create(&heartbeat, Bytes::new()).await.unwrap();
        let found = fsck(&storage, false).await;
        let of = |check| found.iter().filter(|it| it.check == check).count();
        assert_eq!(of(Check::Leftover), 2, "{found:?}");
        assert!(of(Check::Orphan) > 0 && found.len() == of(Check::Orphan) + 2);
        assert!(fsck(&storage, true).await.iter().all(|it| it.is_repaired));
        assert_eq!(fsck(&storage, false).await, []);
        model.check(&storage).await;
    }
}

#[tokio::test]
async fn missing_and_truncated_files_are_only_reported() {
    for shape in SHAPES {
        let dir = tempfile::tempdir().unwrap();
        let storage = local(&dir);
        let _table = sound_table(shape, &storage).await;
        let table = Table::open_storage(storage.clone()).await.unwrap();
        let snapshot = table.snapshot(None).await.unwrap();
        for slice in snapshot.slices().iter().take(3) {
            let base = slice.base_file.iter().map(ToString::to_string);
            let names = base.chain(slice.log_files.iter().map(ToString::to_string));
            for path in names.map(|name| slice.path_of(&name)) {
                let bytes = storage.read(&path).await.unwrap();
                let cut = bytes.slice(..bytes.len() - 7);
                storage.overwrite(&path, cut.clone()).await.unwrap();
                reports(&storage, Check::BrokenFile, &path).await;
                assert_eq!(storage.read(&path).await.unwrap(), cut);
                storage.delete(&path).await.unwrap();
                reports(&storage, Check::MissingFile, &path).await;
                storage.create(&path, bytes).await.unwrap();
                assert_eq!(fsck(&storage, false).await, []);
            }
        }
    }
}

#[tokio::test]
async fn hazard_4_wrong_statistics_are_measured_anew() {
    for shape in SHAPES {
        let dir = tempfile::tempdir().unwrap();
        let storage = local(&dir);
        let (model, _) = sound_table(shape, &storage).await;
        let table = Table::open_storage(storage.clone()).await.unwrap();
        let timeline = table.timeline().await.unwrap();
        let last = timeline.completed_writes().next_back().unwrap();
        let good = timeline.read_metadata(last).await.unwrap();
        let mut wrong = good.clone();
        for stats in wrong.partition_to_write_stats.values_mut() {
            stats[0].file_size_in_bytes = Some(1);
            stats[0].num_writes = Some(-1);
        }
        let path = timeline.path_of(last);
        let bytes = wrong.encode_avro().unwrap();
        storage.overwrite(&path, bytes.into()).await.unwrap();
        let found = fsck(&storage, false).await;
        assert_eq!(found.len(), 2, "one a partition: {found:?}");
        let repaired = fsck(&storage, true).await;
        assert!(
            repaired
                .iter()
                .all(|it| it.is_repaired && it.check == Check::Statistics)
        );
        assert_eq!(timeline.read_metadata(last).await.unwrap(), good);
        model.check(&storage).await;
    }
}

#[tokio::test]
async fn broken_instants_are_dropped_where_nothing_is_lost() {
    let shape = shape(TableType::MergeOnRead);
    let dir = tempfile::tempdir().unwrap();
    let storage = local(&dir);
    let (model, mut writer) = sound_table(shape, &storage).await;
    // A rollback, so that there is the record of one.
    let pending = writer.begin(WriteOperation::Upsert).await.unwrap();
    drop(pending);
    let table = Table::open_storage(storage.clone()).await.unwrap();
    drop(small_writer(&table).await);
    let timeline = table.timeline().await.unwrap();
    let rollback = timeline
        .instants()
        .iter()
        .find(|it| !it.action.is_write())
        .unwrap();
    let path = timeline.path_of(rollback);
    storage.overwrite(&path, Bytes::new()).await.unwrap();
    let plan = ".hoodie/timeline/29990101000000000.compaction.requested";
    storage.create(plan, "Obj\u{1}".into()).await.unwrap();
    let found = fsck(&storage, false).await;
    let files: Vec<&str> = found.iter().map(|it| it.file.as_str()).collect();
    assert_eq!(files, [path.as_str(), plan]);
    mends(&storage, Check::Instant, model, shape).await;
    assert!(!storage.exists(plan).await.unwrap());

    let timeline = table.timeline().await.unwrap();
    let last = timeline.completed_writes().next_back().unwrap();
    let path = timeline.path_of(last);
    storage.overwrite(&path, "x".into()).await.unwrap();
    reports(&storage, Check::Instant, &path).await;
}

#[tokio::test]
async fn hazard_1_a_stale_metadata_table_is_taken_out_of_use() {
    let shape = shape(TableType::CopyOnWrite);
    let dir = tempfile::tempdir().unwrap();
    let storage = local(&dir);
    let (model, _) = sound_table(shape, &storage).await;
    replace_property(&storage, "hoodie.table.metadata.partitions", "files").await;
    let found = fsck(&storage, false).await;
    assert_eq!(found[0].check, Check::MetadataTable, "there is none");
    let timeline = Table::open_storage(storage.clone()).await.unwrap();
    let timeline = timeline.timeline().await.unwrap();
    let mut names: Vec<String> = timeline
        .completed_writes()
        .map(|it| format!("{}_{}.deltacommit", it.time, it.end_time()))
        .collect();
    let late = names.pop().unwrap();
    let metadata = ".hoodie/metadata/.hoodie";
    let properties =
        "hoodie.table.name=m\nhoodie.table.version=9\nhoodie.timeline.layout.version=2\n";
    storage
        .create(&format!("{metadata}/hoodie.properties"), properties.into())
        .await
        .unwrap();
    for name in &names {
        let path = format!("{metadata}/timeline/{name}");
        storage.create(&path, "x".into()).await.unwrap();
    }
    let found = fsck(&storage, false).await;
    assert!(found[0].problem.contains(&late[..17]), "{found:?}");
    storage
        .create(&format!("{metadata}/timeline/{late}"), "x".into())
        .await
        .unwrap();
    assert_eq!(fsck(&storage, false).await, []);
    storage
        .delete(&format!("{metadata}/timeline/{late}"))
        .await
        .unwrap();
    mends(&storage, Check::MetadataTable, model, shape).await;
}

#[tokio::test]
async fn a_killed_repair_is_finished_by_the_next() {
    let shape = shape(TableType::MergeOnRead);
    for crash_at in 0.. {
        let dir = tempfile::tempdir().unwrap();
        let storage = local(&dir);
        let (model, mut writer) = sound_table(shape, &storage).await;
        let mut pending = writer.begin(WriteOperation::Upsert).await.unwrap();
        pending.upsert(batch(&rows(50..70, 5))).await.unwrap();
        let time = pending.instant_time().to_string();
        drop(pending);
        for name in ["deltacommit.inflight", "deltacommit.requested"] {
            let path = format!(".hoodie/timeline/{time}.{name}");
            storage.delete(&path).await.unwrap();
        }
        storage
            .delete("region=us/.hoodie_partition_metadata")
            .await
            .unwrap();
        replace_property(&storage, "hoodie.table.checksum", "1").await;
        let broken = dying(&storage, crash_at, Fault::ApplyThenFail);
        let died = Services::unopened(broken, env(), BTreeMap::new())
            .fsck(true)
            .await;
        fsck(&storage, true).await;
        assert_eq!(fsck(&storage, false).await, [], "crash at {crash_at}");
        assert_eq!(read_table(&storage).await.unwrap(), model.expected());
        let table = Table::open_storage(storage).await.unwrap();
        let timeline = table.timeline().await.unwrap();
        assert!(
            timeline
                .instants()
                .iter()
                .all(|it| it.state == State::Completed)
        );
        if died.is_ok() {
            assert!(crash_at > 5);
            break;
        }
    }
}
