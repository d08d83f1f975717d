//! Compactions beside writers: no row changes, whoever planned and executed.

use std::collections::BTreeMap;

use arrow::array::AsArray;
use futures::TryStreamExt;
use parquet::arrow::async_reader::ParquetRecordBatchStreamBuilder;

use crate::config::{TableType, TableVersion};
use crate::error::ErrorKind;
use crate::reader::ReadOptions;
use crate::schema::meta::META_COLUMNS;
use crate::service::Services;
use crate::service::compaction::Due;
use crate::storage::Storage;
use crate::table::Table;
use crate::timeline::metadata::{
    ClusteringGroup, ClusteringPlan, CommitMetadata, CompactionPlan, Payload,
    RequestedReplaceMetadata, SliceInfo, WriteOperation,
};
use crate::timeline::{Action, Instant, State};
use crate::writer::TableWriter;
use crate::writer::tests::model::{
    Change, Key, Model, Shape, batch, create_version, env, local, small_writer,
};

/// A merge-on-read table, its writer and what it is to hold.
pub(super) struct Story {
    pub(super) shape: Shape,
    pub(super) storage: Storage,
    pub(super) table: Table,
    pub(super) writer: TableWriter,
    pub(super) model: Model,
    _dir: tempfile::TempDir,
}

impl Story {
    pub(super) async fn begin(shape: Shape) -> Self {
        Self::begin_version(shape, TableVersion::Nine).await
    }

    pub(super) async fn begin_version(shape: Shape, version: TableVersion) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let storage = local(&dir);
        let table = create_version(&storage, shape, version).await;
        let writer = small_writer(&table).await;
        let model = Model::default();
        Self {
            shape,
            storage,
            table,
            writer,
            model,
            _dir: dir,
        }
    }

    /// With rows 0..60 in base files, and changes to some of them in logs.
    pub(super) async fn with_logs(shape: Shape) -> Self {
        Self::with_logs_version(shape, TableVersion::Nine).await
    }

    /// The same of a version of the format.
    pub(super) async fn with_logs_version(shape: Shape, version: TableVersion) -> Self {
        let mut story = Self::begin_version(shape, version).await;
        story.write(&rows(0..60, Some(1))).await;
        story.write(&rows(5..30, Some(2))).await;
        story.write(&rows(20..25, None)).await;
        story
    }

    pub(super) async fn write(&mut self, changes: &[Change]) -> Instant {
        let mut transaction = self.writer.begin(WriteOperation::Upsert).await.unwrap();
        transaction.upsert(batch(changes)).await.unwrap();
        let instant = transaction.commit(BTreeMap::new()).await.unwrap();
        self.model.apply(self.shape, changes);
        instant
    }

    pub(super) fn services(&self) -> Services {
        self.table.services(env(), BTreeMap::new())
    }

    pub(super) async fn metadata(&self, instant: &Instant) -> CommitMetadata {
        let timeline = self.table.timeline().await.unwrap();
        timeline.read_metadata(instant).await.unwrap()
    }

    async fn plan(&self, instant: &Instant) -> CompactionPlan {
        let timeline = self.table.timeline().await.unwrap();
        timeline.read_plan(instant).await.unwrap()
    }

    /// Key to commit time, sequence number and partition path, of base files only or of everything.
    pub(super) async fn meta(&self, base_files_only: bool) -> BTreeMap<String, [String; 3]> {
        let snapshot = match base_files_only {
            true => self.table.read_optimized(None).await.unwrap(),
            false => self.table.snapshot(None).await.unwrap(),
        };
        let options = ReadOptions::new(env().memory);
        let mut rows = BTreeMap::new();
        for slice in snapshot.slices() {
            let batches = snapshot.read_slice(slice, &options).await.unwrap();
            for batch in batches.try_collect::<Vec<_>>().await.unwrap() {
                let text = |column: usize, row: usize| {
                    batch
                        .column(column)
                        .as_string::<i32>()
                        .value(row)
                        .to_owned()
                };
                rows.extend((0..batch.num_rows()).map(|row| {
                    let key = format!("{} {}", text(3, row), text(2, row));
                    (key, [0, 1, 3].map(|column| text(column, row)))
                }));
            }
        }
        rows
    }
}

pub(super) fn rows(ids: std::ops::Range<i64>, price: Option<i64>) -> Vec<Change> {
    let region = |id: i64| ["eu", "us"][usize::try_from(id % 2).unwrap()];
    ids.map(|id| Change {
        id,
        region: region(id),
        price,
        ts: 0,
    })
    .collect()
}

pub(super) fn merge_on_read() -> Shape {
    Shape {
        table_type: TableType::MergeOnRead,
        is_partitioned: true,
        key: Key::Int,
        is_event_time: false,
    }
}

#[tokio::test]
async fn compaction_changes_no_row_and_keeps_what_is_known_of_it() {
    let versions = [TableVersion::Six, TableVersion::Nine];
    let shapes = Shape::all().filter(|shape| shape.table_type == TableType::MergeOnRead);
    for (shape, version) in shapes.flat_map(|shape| versions.map(|it| (shape, it))) {
        let mut story = Story::with_logs_version(shape, version).await;
        let before = story.meta(false).await;
        let planned = story
            .services()
            .schedule_compaction(Due::Now)
            .await
            .unwrap()
            .unwrap();
        story.model.check(&story.storage).await;
        let executed = story
            .services()
            .execute_compaction(&planned.instant.time)
            .await
            .unwrap();
        assert_eq!(
            (executed.groups, executed.log_files),
            (planned.groups, planned.log_files)
        );
        story.model.check(&story.storage).await;
        assert_eq!(story.meta(false).await, before);
        assert_eq!(story.meta(true).await, before, "all rows are in base files");
        assert_eq!(
            story.storage.list(".hoodie/.temp").await.unwrap().dirs,
            [] as [&str; 0]
        );
        assert_eq!(
            story
                .services()
                .schedule_compaction(Due::Now)
                .await
                .unwrap(),
            None
        );
        story.write(&rows(0..60, Some(7))).await;
        story.writer.check_ranges(&story.storage).await;
        story.model.check(&story.storage).await;
    }
}

#[tokio::test]
async fn the_commit_tells_what_was_merged() {
    let shape = Shape {
        is_partitioned: false,
        ..merge_on_read()
    };
    let mut story = Story::begin(shape).await;
    let base = story.write(&rows(0..10, Some(1))).await;
    story.write(&rows(2..5, Some(2))).await;
    story
        .write(&[&rows(4..6, None)[..], &rows(10..12, Some(3))].concat())
        .await;
    let time = story
        .services()
        .schedule_compaction(Due::Now)
        .await
        .unwrap()
        .unwrap()
        .instant
        .time;
    let executed = story.services().execute_compaction(&time).await.unwrap();
    assert_eq!(
        (executed.groups, executed.log_files, executed.rows),
        (1, 2, 10)
    );
    let metadata = story.metadata(&executed.instant).await;
    assert_eq!(metadata.compacted, Some(true));
    assert_eq!(metadata.operation().unwrap(), Some(WriteOperation::Compact));
    assert!(metadata.schema().unwrap().contains("price"));
    let stats: Vec<_> = metadata.write_stats().collect();
    let [stat] = stats.as_slice() else {
        panic!("one file, found {stats:?}")
    };
    assert_eq!(stat.prev_commit.as_deref(), Some(base.time.as_str()));
    let old = format!("_{}.parquet", base.time);
    assert!(
        stat.prev_base_file.as_ref().unwrap().ends_with(&old),
        "{stat:?}"
    );
    let rows = (
        stat.num_writes,
        stat.num_inserts,
        stat.num_update_writes,
        stat.num_deletes,
    );
    assert_eq!(rows, (Some(10), Some(2), Some(2), Some(2)));
    // Two blocks in the second log: rows 10 and 11, and the deletes of 4 and 5.
    let logs = (
        stat.total_log_files_compacted,
        stat.total_log_blocks,
        stat.total_log_records,
    );
    assert_eq!(logs, (Some(2), Some(3), Some(7)));
    assert_eq!(stat.total_updated_records_compacted, Some(6));
    let size = story
        .storage
        .size(stat.path.as_deref().unwrap())
        .await
        .unwrap();
    assert_eq!(
        (stat.file_size_in_bytes, executed.bytes_out),
        (i64::try_from(size).ok(), size)
    );
    assert_eq!(stat.log_files, None);
}

#[tokio::test]
async fn base_files_bear_their_own_name_and_a_filter_of_their_keys() {
    let story = Story::with_logs(merge_on_read()).await;
    let time = story
        .services()
        .schedule_compaction(Due::Now)
        .await
        .unwrap()
        .unwrap()
        .instant
        .time;
    let executed = story.services().execute_compaction(&time).await.unwrap();
    for stat in story.metadata(&executed.instant).await.write_stats() {
        let path = stat.path.as_deref().unwrap();
        let bytes = story.storage.read(path).await.unwrap();
        let reader = ParquetRecordBatchStreamBuilder::new(std::io::Cursor::new(bytes))
            .await
            .unwrap();
        let entries = reader
            .metadata()
            .file_metadata()
            .key_value_metadata()
            .unwrap();
        for key in [
            "org.apache.hudi.bloomfilter",
            "hoodie_min_record_key",
            "hoodie_max_record_key",
        ] {
            assert!(
                entries.iter().any(|entry| entry.key == key),
                "{path} lacks {key}"
            );
        }
        for batch in reader
            .build()
            .unwrap()
            .try_collect::<Vec<_>>()
            .await
            .unwrap()
        {
            let names = batch
                .column_by_name(META_COLUMNS[4])
                .unwrap()
                .as_string::<i32>();
            assert!(names.iter().all(|name| path.ends_with(name.unwrap())));
        }
    }
}

#[tokio::test]
async fn writers_go_on_beside_a_compaction() {
    let mut story = Story::with_logs(merge_on_read()).await;
    let services = story.services();
    let early = story.writer.begin(WriteOperation::Upsert).await.unwrap();
    let time = services
        .schedule_compaction(Due::Now)
        .await
        .unwrap()
        .unwrap()
        .instant
        .time;
    // Began before the plan, and writes and completes after it: its logs lie on top of the new base files.
    let mut early = early;
    early.upsert(batch(&rows(8..12, Some(3)))).await.unwrap();
    early.commit(BTreeMap::new()).await.unwrap();
    story.model.apply(story.shape, &rows(8..12, Some(3)));
    story.model.check(&story.storage).await;
    story.write(&rows(10..14, Some(4))).await;
    story.write(&rows(13..16, None)).await;
    story.model.check(&story.storage).await;

    // Under way while the compaction completes.
    let mut across = story.writer.begin(WriteOperation::Upsert).await.unwrap();
    across.upsert(batch(&rows(14..18, Some(5)))).await.unwrap();
    let executed = services.execute_compaction(&time).await.unwrap();
    story.model.check(&story.storage).await;
    across.upsert(batch(&rows(17..70, Some(6)))).await.unwrap();
    across.commit(BTreeMap::new()).await.unwrap();
    story.model.apply(story.shape, &rows(14..18, Some(5)));
    story.model.apply(story.shape, &rows(17..70, Some(6)));
    story.model.check(&story.storage).await;
    assert!(executed.groups > 1);

    story.write(&rows(0..80, Some(8))).await;
    story.writer.check_ranges(&story.storage).await;
    story.model.check(&story.storage).await;
    let again = services
        .schedule_compaction(Due::Now)
        .await
        .unwrap()
        .unwrap();
    services
        .execute_compaction(&again.instant.time)
        .await
        .unwrap();
    story.model.check(&story.storage).await;
}

#[tokio::test]
async fn a_slice_whose_rows_are_all_deleted_becomes_a_base_file_without_rows() {
    let shape = Shape {
        is_partitioned: false,
        ..merge_on_read()
    };
    let mut story = Story::begin(shape).await;
    story.write(&rows(0..10, Some(1))).await;
    story.write(&rows(0..10, None)).await;
    let time = story
        .services()
        .schedule_compaction(Due::Now)
        .await
        .unwrap()
        .unwrap()
        .instant
        .time;
    let executed = story.services().execute_compaction(&time).await.unwrap();
    assert_eq!((executed.groups, executed.rows), (1, 0));
    story.model.check(&story.storage).await;
    story.write(&rows(0..3, Some(2))).await;
    story.writer.check_ranges(&story.storage).await;
    story.model.check(&story.storage).await;
}

#[tokio::test]
async fn hazard_18_a_plan_names_the_base_file_and_every_completed_log() {
    let mut story = Story::with_logs(merge_on_read()).await;
    let mut pending = story.writer.begin(WriteOperation::Upsert).await.unwrap();
    pending.upsert(batch(&rows(0..60, Some(9)))).await.unwrap();
    let snapshot = story.table.snapshot(None).await.unwrap();
    let planned = story
        .services()
        .schedule_compaction(Due::Now)
        .await
        .unwrap()
        .unwrap();
    let plan = story.plan(&planned.instant).await;
    let operations = plan.operations.unwrap();
    assert_eq!(plan.version, Some(2));
    let slices: Vec<_> = snapshot
        .slices()
        .iter()
        .filter(|slice| !slice.log_files.is_empty())
        .collect();
    assert_eq!(operations.len(), slices.len());
    for slice in slices {
        let of_slice = |operation: &&_| {
            let operation: &crate::timeline::metadata::CompactionOperation = operation;
            operation.file_id.as_ref() == Some(&slice.file_id)
        };
        let operation = operations.iter().find(of_slice).unwrap();
        let logs: Vec<String> = slice.log_files.iter().map(ToString::to_string).collect();
        assert_eq!(operation.delta_file_paths.as_ref(), Some(&logs));
        assert_eq!(
            operation.data_file_path,
            slice.base_file.as_ref().map(ToString::to_string)
        );
        assert_eq!(
            operation.partition_path.as_ref(),
            Some(&slice.partition_path)
        );
        assert_eq!(
            operation.base_instant_time,
            Some(slice.base_instant.to_string())
        );
        assert!(operation.metrics.as_ref().unwrap()["TOTAL_LOG_FILES_SIZE"] > 0.0);
    }
    pending.commit(BTreeMap::new()).await.unwrap();
    story.model.apply(story.shape, &rows(0..60, Some(9)));
    story
        .services()
        .execute_compaction(&planned.instant.time)
        .await
        .unwrap();
    story.model.check(&story.storage).await;
}

#[tokio::test]
async fn hazard_18_logs_that_a_plan_leaves_out_are_merged_and_a_foreign_base_file_is_refused() {
    let mut story = Story::with_logs(merge_on_read()).await;
    let planned = story
        .services()
        .schedule_compaction(Due::Now)
        .await
        .unwrap()
        .unwrap();
    let path = format!(".hoodie/timeline/{}", planned.instant.file_name());
    let mut plan = story.plan(&planned.instant).await;
    let whole = plan.clone();
    for operation in plan.operations.iter_mut().flatten() {
        operation.data_file_path = None;
    }
    story
        .storage
        .overwrite(&path, plan.encode_avro().unwrap().into())
        .await
        .unwrap();
    let error = story
        .services()
        .execute_compaction(&planned.instant.time)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert!(error.to_string().contains("rows would be lost"), "{error}");

    let mut plan = whole;
    for operation in plan.operations.iter_mut().flatten() {
        operation.delta_file_paths.as_mut().unwrap().truncate(1);
    }
    story
        .storage
        .overwrite(&path, plan.encode_avro().unwrap().into())
        .await
        .unwrap();
    story
        .services()
        .execute_compaction(&planned.instant.time)
        .await
        .unwrap();
    story.model.check(&story.storage).await;
    story.write(&rows(0..60, Some(3))).await;
    story.model.check(&story.storage).await;
}

#[tokio::test]
async fn hazard_20_a_group_stands_in_one_plan_only() {
    let mut story = Story::begin(merge_on_read()).await;
    story.write(&rows(0..60, Some(1))).await;
    let of_region = |region: &str, ids, price| {
        let mut changes = rows(ids, price);
        changes.retain(|change| change.region == region);
        changes
    };
    story.write(&of_region("eu", 0..60, Some(2))).await;
    let first = story
        .services()
        .schedule_compaction(Due::Now)
        .await
        .unwrap()
        .unwrap();
    story.write(&of_region("eu", 0..60, Some(3))).await;
    assert_eq!(
        story
            .services()
            .schedule_compaction(Due::Now)
            .await
            .unwrap(),
        None
    );
    story.write(&rows(0..60, Some(4))).await;
    let second = story
        .services()
        .schedule_compaction(Due::Now)
        .await
        .unwrap()
        .unwrap();
    for (planned, region) in [(&first, "region=eu"), (&second, "region=us")] {
        let operations = story.plan(&planned.instant).await.operations.unwrap();
        assert!(
            operations
                .iter()
                .all(|operation| operation.partition_path.as_deref() == Some(region))
        );
    }
    assert_eq!(
        story.services().pending_compactions().await.unwrap().len(),
        2
    );
    // The younger one first.
    story
        .services()
        .execute_compaction(&second.instant.time)
        .await
        .unwrap();
    story.model.check(&story.storage).await;
    let executed = story
        .services()
        .execute_pending_compactions()
        .await
        .unwrap();
    assert_eq!(executed.len(), 1);
    story.model.check(&story.storage).await;
}

#[tokio::test]
async fn hazard_19_groups_that_a_clustering_is_to_replace_are_left_alone() {
    let story = Story::with_logs(merge_on_read()).await;
    let snapshot = story.table.snapshot(None).await.unwrap();
    let (clustered, others): (Vec<_>, Vec<_>) = snapshot
        .slices()
        .iter()
        .filter(|slice| !slice.log_files.is_empty())
        .partition(|slice| slice.partition_path == "region=eu");
    let slices = clustered.iter().map(|slice| SliceInfo {
        partition_path: Some(slice.partition_path.clone()),
        file_id: Some(slice.file_id.clone()),
        ..SliceInfo::default()
    });
    let group = ClusteringGroup {
        slices: Some(slices.collect()),
        ..ClusteringGroup::default()
    };
    let plan = RequestedReplaceMetadata {
        clustering_plan: Some(ClusteringPlan {
            input_groups: Some(vec![group]),
            ..ClusteringPlan::default()
        }),
        ..RequestedReplaceMetadata::default()
    };
    let path = ".hoodie/timeline/20200101000000000.clustering.requested";
    story
        .storage
        .create(path, plan.encode_avro().unwrap().into())
        .await
        .unwrap();
    let planned = story
        .services()
        .schedule_compaction(Due::Now)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(planned.groups, others.len() as u64);
    let operations = story.plan(&planned.instant).await.operations.unwrap();
    assert!(
        operations
            .iter()
            .all(|operation| operation.partition_path.as_deref() == Some("region=us"))
    );
}

#[tokio::test]
async fn a_plan_whose_files_are_gone_or_that_is_not_pending_is_refused_and_nothing_is_written() {
    let story = Story::with_logs(merge_on_read()).await;
    let services = story.services();
    let never = services
        .execute_compaction(&"20200101000000000".parse().unwrap())
        .await
        .unwrap_err();
    assert_eq!(never.kind(), ErrorKind::NotFound);
    let planned = services
        .schedule_compaction(Due::Now)
        .await
        .unwrap()
        .unwrap();
    let operations = story.plan(&planned.instant).await.operations.unwrap();
    let lost = &operations.last().unwrap();
    let log = &lost.delta_file_paths.as_ref().unwrap()[0];
    let path = format!("{}/{log}", lost.partition_path.as_ref().unwrap());
    let bytes = story.storage.read(&path).await.unwrap();
    story.storage.delete(&path).await.unwrap();
    let before = story.storage.list_recursive("").await.unwrap();
    let error = services
        .execute_compaction(&planned.instant.time)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains(log.as_str()), "{error}");
    assert_eq!(story.storage.list_recursive("").await.unwrap(), before);
    story.storage.create(&path, bytes).await.unwrap();
    services
        .execute_compaction(&planned.instant.time)
        .await
        .unwrap();
    story.model.check(&story.storage).await;
    let done = services
        .execute_compaction(&planned.instant.time)
        .await
        .unwrap_err();
    assert_eq!(done.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn an_earlier_attempt_is_removed_and_begun_again() {
    let story = Story::with_logs(merge_on_read()).await;
    let planned = story
        .services()
        .schedule_compaction(Due::Now)
        .await
        .unwrap()
        .unwrap();
    let time = planned.instant.time.clone();
    let operations = story.plan(&planned.instant).await.operations.unwrap();
    let file_id = operations[0].file_id.as_ref().unwrap();
    let partition = operations[0].partition_path.as_ref().unwrap();
    // What an attempt of Spark leaves: an unmarked file, and a marker of a file that never came.
    let debris = format!("{partition}/{file_id}_7-1-1_{time}.parquet");
    story.storage.create(&debris, "half".into()).await.unwrap();
    let marker =
        format!(".hoodie/.temp/{time}/{partition}/{file_id}_8-1-1_{time}.parquet.marker.MERGE");
    story
        .storage
        .create(&marker, bytes::Bytes::new())
        .await
        .unwrap();
    let inflight = Instant {
        state: State::Inflight,
        ..planned.instant.clone()
    };
    let path = format!(".hoodie/timeline/{}", inflight.file_name());
    story
        .storage
        .create(&path, bytes::Bytes::new())
        .await
        .unwrap();
    story.model.check(&story.storage).await;
    story.services().execute_compaction(&time).await.unwrap();
    assert!(!story.storage.exists(&debris).await.unwrap());
    assert_eq!(
        story.storage.list(".hoodie/.temp").await.unwrap().dirs,
        [] as [&str; 0]
    );
    story.model.check(&story.storage).await;
}

#[tokio::test]
async fn what_is_due_is_planned_and_executed_and_what_others_left_too() {
    let mut story = Story::begin(merge_on_read()).await;
    let properties = [("hoodie.compact.inline.max.delta.commits", "3")];
    let properties = properties.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let services = story.table.services(env(), properties.into());
    let mut compactions = Vec::new();
    for price in 0..8 {
        story.write(&rows(0..20, Some(price))).await;
        compactions.push(services.compact_if_due().await.unwrap().len());
        story.model.check(&story.storage).await;
    }
    assert_eq!(compactions, [0, 0, 1, 0, 0, 1, 0, 0]);
    services
        .schedule_compaction(Due::Now)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        services.compact_if_due().await.unwrap().len(),
        1,
        "the plan of another"
    );
}

#[tokio::test]
async fn hazard_1_a_compaction_takes_the_metadata_table_out_of_use() {
    let story = Story::with_logs(merge_on_read()).await;
    let path = ".hoodie/hoodie.properties";
    let mut text = story.storage.read(path).await.unwrap().to_vec();
    text.extend_from_slice(b"hoodie.table.metadata.partitions=column_stats,files\n");
    story.storage.overwrite(path, text.into()).await.unwrap();
    let metadata_partitions = async || {
        let table = Table::open_storage(story.storage.clone()).await.unwrap();
        table.config().metadata_partitions().len()
    };
    let planned = story
        .services()
        .schedule_compaction(Due::Now)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(metadata_partitions().await, 2, "a plan leaves it right");
    story
        .services()
        .execute_compaction(&planned.instant.time)
        .await
        .unwrap();
    assert_eq!(metadata_partitions().await, 0);
}

#[tokio::test]
async fn copy_on_write_tables_are_refused() {
    let shape = Shape {
        table_type: TableType::CopyOnWrite,
        ..merge_on_read()
    };
    let story = Story::begin(shape).await;
    let error = story
        .services()
        .schedule_compaction(Due::Now)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}

#[tokio::test]
async fn two_executions_of_one_plan_do_not_spoil_each_other() {
    let mut story = Story::with_logs(merge_on_read()).await;
    let services = story.services();
    for round in 0..5 {
        let planned = services
            .schedule_compaction(Due::Now)
            .await
            .unwrap()
            .unwrap();
        let time = &planned.instant.time;
        let (left, right) = tokio::join!(
            services.execute_compaction(time),
            services.execute_compaction(time)
        );
        let completed = usize::from(left.is_ok()) + usize::from(right.is_ok());
        assert!(completed <= 1, "{left:?} {right:?}");
        if completed == 0 {
            services.execute_compaction(time).await.unwrap();
        }
        story.model.check(&story.storage).await;
        let timeline = story.table.timeline().await.unwrap();
        let completed = timeline.find(time, Action::Compaction).unwrap();
        for stat in story.metadata(completed).await.write_stats() {
            assert!(
                story
                    .storage
                    .exists(stat.path.as_deref().unwrap())
                    .await
                    .unwrap()
            );
        }
        story.write(&rows(0..60, Some(round))).await;
    }
}

#[tokio::test]
async fn slices_wait_for_each_other_when_memory_is_short() {
    let shape = Shape {
        is_partitioned: false,
        ..merge_on_read()
    };
    let mut story = Story::begin(shape).await;
    for first in 0..8 {
        story
            .write(&rows(first * 200..(first + 1) * 200, Some(1)))
            .await;
    }
    let mut peaks = Vec::new();
    for ceiling in [1 << 20, 1 << 30] {
        for price in 2..8 {
            story.write(&rows(0..1_600, Some(price))).await;
        }
        let env = crate::env::Env::system(crate::env::MemoryBudget::new(ceiling));
        let properties = [("lakebed.compaction.parallelism".to_owned(), "8".to_owned())];
        let services = story.table.services(env.clone(), properties.into());
        let Some(planned) = services.schedule_compaction(Due::Now).await.unwrap() else {
            panic!("there are logs")
        };
        assert!(planned.groups >= 8, "{planned:?}");
        services
            .execute_compaction(&planned.instant.time)
            .await
            .unwrap();
        assert_eq!(env.memory.used_bytes(), 0);
        story.model.check(&story.storage).await;
        peaks.push(env.memory.peak_bytes());
    }
    // The filter of one base file alone takes a megabyte.
    let [tight, roomy] = peaks.as_slice() else {
        panic!("{peaks:?}")
    };
    assert!(2 * tight < *roomy, "{tight} and {roomy} bytes");
}
