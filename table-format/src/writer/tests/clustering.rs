//! Clusterings between writes: no row changes, whoever wrote meanwhile.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::AsArray;
use futures::TryStreamExt;

use crate::config::{TableType, TableVersion};
use crate::error::ErrorKind;
use crate::reader::ReadOptions;
use crate::service::Services;
use crate::service::clustering::ExecutedClustering;
use crate::service::compaction::Due;
use crate::timeline::metadata::{RequestedReplaceMetadata, WriteOperation};
use crate::timeline::{Action, State};
use crate::writer::WriterOptions;
use crate::writer::tests::compaction::{Story, merge_on_read, rows};
use crate::writer::tests::model::{Shape, batch, env};

const PLAN: &str = "hoodie.clustering.plan.strategy";

pub(super) fn copy_on_write() -> Shape {
    Shape {
        table_type: TableType::CopyOnWrite,
        ..merge_on_read()
    }
}

/// With rows 0..800 but 20..25, in several small file groups a partition, some of them changed since.
pub(super) async fn several_groups(shape: Shape) -> Story {
    several_groups_version(shape, TableVersion::Nine).await
}

/// The same of a version of the format.
async fn several_groups_version(shape: Shape, version: TableVersion) -> Story {
    let mut story = Story::begin_version(shape, version).await;
    for first in [0, 200, 400, 600] {
        story.write(&rows(first..first + 200, Some(1))).await;
    }
    story.write(&rows(5..30, Some(2))).await;
    story.write(&rows(20..25, None)).await;
    story
}

pub(super) fn services(story: &Story, pairs: &[(&str, &str)]) -> Services {
    let properties = pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    story.table.services(env(), properties.collect())
}

/// Plans and executes.
pub(super) async fn cluster(story: &Story, pairs: &[(&str, &str)]) -> ExecutedClustering {
    let services = services(story, pairs);
    let planned = services.schedule_clustering(Due::Now).await.unwrap();
    let time = planned.unwrap().instant.time;
    services.execute_clustering(&time).await.unwrap()
}

#[tokio::test]
async fn clustering_changes_no_row_and_keeps_what_is_known_of_it() {
    let mut clustered = 0;
    for shape in Shape::all() {
        let mut story = several_groups(shape).await;
        let (before, groups) = (story.meta(false).await, slices(&story).await);
        let services = services(&story, &[]);
        let planned = services.schedule_clustering(Due::Now).await.unwrap();
        // A key range cannot divide the rows of one value: such a partition is one group.
        let partitions: BTreeSet<&str> = groups.iter().map(|(path, _)| path.as_str()).collect();
        if partitions.len() == groups.len() {
            assert_eq!(planned, None);
            continue;
        }
        clustered += 1;
        let planned = planned.unwrap();
        assert_eq!(planned.file_groups, groups.len() as u64);
        story.model.check(&story.storage).await;
        let executed = services.execute_clustering(&planned.instant.time).await;
        let executed = executed.unwrap();
        assert_eq!(
            (executed.replaced_file_groups, executed.rows),
            (planned.file_groups, before.len() as u64)
        );
        assert_eq!(executed.new_file_groups, planned.output_file_groups);
        story.model.check(&story.storage).await;
        assert_eq!(story.meta(false).await, before);
        assert_eq!(story.meta(true).await, before, "all rows are in base files");
        let leftovers = story.storage.list(".hoodie/.temp").await.unwrap().dirs;
        assert_eq!(leftovers, [] as [&str; 0]);
        let again = services.schedule_clustering(Due::Now).await.unwrap();
        assert_eq!(again, None, "one group a partition is left");
        story.write(&rows(0..420, Some(7))).await;
        story.write(&rows(3..9, None)).await;
        story.writer.check_ranges(&story.storage).await;
        story.model.check(&story.storage).await;
    }
    assert!(
        clustered >= 16,
        "{clustered} shapes have something to cluster"
    );
}

/// Partition and file id of the groups that are seen.
async fn slices(story: &Story) -> Vec<(String, String)> {
    let snapshot = story.table.snapshot(None).await.unwrap();
    let slices = snapshot.slices().iter();
    slices
        .map(|slice| (slice.partition_path.clone(), slice.file_id.clone()))
        .collect()
}

#[tokio::test]
async fn plan_and_commit_say_what_hudi_wants_to_know() {
    let mut story = Story::with_logs(merge_on_read()).await;
    story.write(&rows(60..90, Some(1))).await;
    let services = services(
        &story,
        &[
            ("hoodie.clustering.plan.strategy.sort.columns", "price,id"),
            ("hoodie.layout.optimize.strategy", "z-order"),
        ],
    );
    let before = slices(&story).await;
    let planned = services.schedule_clustering(Due::Now).await.unwrap();
    let planned = planned.unwrap();
    let timeline = story.table.timeline().await.unwrap();
    assert_eq!(planned.instant.action, Action::Clustering);
    let payload: RequestedReplaceMetadata = timeline.read_plan(&planned.instant).await.unwrap();
    assert_eq!(payload.operation_type.as_deref(), Some("CLUSTER"));
    let plan = payload.clustering_plan.unwrap();
    assert_eq!(plan.preserve_hoodie_metadata, Some(true));
    let params = plan.strategy.unwrap().strategy_params.unwrap();
    assert_eq!(params[&format!("{PLAN}.sort.columns")], "price,id");
    let groups = plan.input_groups.unwrap();
    assert_eq!(groups.len(), 2, "one a partition");
    for slice in groups
        .iter()
        .flat_map(|group| group.slices.iter().flatten())
    {
        let base = slice.data_file_path.as_deref().unwrap();
        let name = base.strip_prefix(story.storage.location()).unwrap();
        assert!(
            story
                .storage
                .exists(name.trim_start_matches('/'))
                .await
                .unwrap()
        );
    }
    assert!(
        groups[0]
            .metrics
            .as_ref()
            .unwrap()
            .contains_key("TOTAL_LOG_FILES_SIZE")
    );

    let executed = services.execute_clustering(&planned.instant.time).await;
    let executed = executed.unwrap();
    assert_eq!(executed.instant.action.comparable(), Action::ReplaceCommit);
    let metadata = story.metadata(&executed.instant).await;
    assert_eq!(metadata.operation().unwrap(), Some(WriteOperation::Cluster));
    let replaced = metadata.partition_to_replace_file_ids.iter();
    let mut replaced: Vec<(String, String)> = replaced
        .flat_map(|(path, ids)| ids.iter().map(|id| (path.clone(), id.clone())))
        .collect();
    replaced.sort();
    assert_eq!(replaced, before);
    let rows: i64 = metadata
        .write_stats()
        .map(|stat| {
            assert_eq!(stat.num_writes, stat.num_inserts);
            assert_eq!(stat.prev_commit.as_deref(), Some("null"));
            stat.num_writes.unwrap()
        })
        .sum();
    assert_eq!(rows, 85);
    assert!(metadata.schema().unwrap().contains("price"));
    story.model.check(&story.storage).await;
}

/// Where nothing but its plan tells a clustering from an overwrite.
#[tokio::test]
async fn a_clustering_of_version_6_is_a_replace_commit() {
    for shape in [copy_on_write(), merge_on_read()] {
        let mut story = several_groups_version(shape, TableVersion::Six).await;
        let services = services(&story, &[("hoodie.clustering.inline", "true")]);
        let planned = services.schedule_clustering(Due::Now).await.unwrap();
        let planned = planned.unwrap().instant;
        assert_eq!(planned.action, Action::ReplaceCommit);
        let pending = services.pending_clusterings().await.unwrap();
        assert_eq!(pending, std::slice::from_ref(&planned));
        let again = services.schedule_clustering(Due::Now).await.unwrap();
        assert_eq!(again, None, "all groups stand in the plan");
        let mut refused = story.writer.begin(WriteOperation::Upsert).await.unwrap();
        refused.upsert(batch(&rows(0..5, Some(6)))).await.unwrap();
        let error = refused.commit(BTreeMap::new()).await.unwrap_err();
        assert!(error.to_string().contains(planned.time.as_str()), "{error}");
        story.model.check(&story.storage).await;
        let executed = services.execute_clustering(&planned.time).await.unwrap();
        assert!(executed.new_file_groups < executed.replaced_file_groups);
        let timeline = story.table.timeline().await.unwrap();
        let bytes = timeline.read(&executed.instant).await.unwrap();
        assert!(bytes.starts_with(b"{"));
        let metadata = timeline.read_metadata(&executed.instant).await.unwrap();
        assert_eq!(metadata.operation().unwrap(), Some(WriteOperation::Cluster));
        assert!(!metadata.partition_to_replace_file_ids.is_empty());
        story.model.check(&story.storage).await;
        story.write(&rows(0..500, Some(6))).await;
        story.write(&rows(900..950, Some(6))).await;
        story.writer.check_ranges(&story.storage).await;
        story.model.check(&story.storage).await;
    }
}

#[tokio::test]
async fn rows_are_in_order_across_the_new_files() {
    let shape = Shape {
        is_partitioned: false,
        ..copy_on_write()
    };
    let mut story = Story::begin(shape).await;
    let options = [("hoodie.parquet.small.file.limit", "1")];
    let options = options.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let options = WriterOptions::from_properties(&options.into()).unwrap();
    story.writer = story.table.writer(env(), options).await.unwrap();
    for part in 0..10 {
        let mut changes = rows(part * 2_000..(part + 1) * 2_000, Some(0));
        for change in &mut changes {
            change.price = Some(change.id * 7_919 % 20_011);
        }
        story.write(&changes).await;
    }
    let sort_columns = format!("{PLAN}.sort.columns");
    let target = format!("{PLAN}.target.file.max.bytes");
    let limit = format!("{PLAN}.small.file.limit");
    let executed = cluster(
        &story,
        &[
            (&sort_columns, "ts, price"),
            (&target, "100000"),
            (&limit, "100000000"),
        ],
    )
    .await;
    assert!(executed.new_file_groups >= 2, "{executed:?}");
    story.model.check(&story.storage).await;
    let snapshot = story.table.snapshot(None).await.unwrap();
    let mut ranges = Vec::new();
    for slice in snapshot.slices() {
        let read = ReadOptions::new(env().memory);
        let batches = snapshot.read_slice(slice, &read).await.unwrap();
        let batches: Vec<_> = batches.try_collect().await.unwrap();
        let prices = batches.iter().flat_map(|batch| {
            let column = batch.column_by_name("price").unwrap();
            let column = column.as_primitive::<arrow::datatypes::Decimal128Type>();
            column.values().to_vec()
        });
        let prices: Vec<i128> = prices.collect();
        if slice.base_instant == executed.instant.time {
            assert!(prices.is_sorted());
            ranges.push((prices[0], prices[prices.len() - 1]));
        }
    }
    ranges.sort_unstable();
    assert!(
        ranges.windows(2).all(|pair| pair[0].1 <= pair[1].0),
        "{ranges:?}"
    );
}

#[tokio::test]
async fn partitions_are_chosen_and_a_lone_group_is_sorted_once() {
    let mut story = several_groups(copy_on_write()).await;
    let regex = format!("{PLAN}.partition.regex.pattern");
    let executed = cluster(&story, &[(&regex, "region=e.")]).await;
    assert!(executed.replaced_file_groups > 1);
    let left = slices(&story).await;
    assert_eq!(
        left.iter().filter(|(path, _)| path == "region=eu").count(),
        1
    );
    assert!(left.iter().filter(|(path, _)| path == "region=us").count() > 1);
    story.model.check(&story.storage).await;

    let selected = format!("{PLAN}.partition.selected");
    let sort = format!("{PLAN}.sort.columns");
    let sorting = services(&story, &[(&selected, "region=eu"), (&sort, "price")]);
    let planned = sorting.schedule_clustering(Due::Now).await.unwrap();
    assert_eq!(planned, None, "a clustering has written it");
    story.write(&rows(0..10, Some(4))).await;
    let planned = sorting.schedule_clustering(Due::Now).await.unwrap();
    assert_eq!(planned.map(|planned| planned.file_groups), Some(1));
}

#[tokio::test]
async fn writes_to_groups_of_a_plan_are_refused_and_others_are_not() {
    for shape in [copy_on_write(), merge_on_read()] {
        let mut story = several_groups(shape).await;
        let selected = format!("{PLAN}.partition.selected");
        let services = services(&story, &[(&selected, "region=eu")]);
        let us = |ids: std::ops::Range<i64>, price| {
            let mut changes = rows(ids, price);
            changes.retain(|change| change.region == "us");
            changes
        };
        // Under way while the plan is made and executed: it inserts beside the new groups, and changes others.
        let mut across = story.writer.begin(WriteOperation::Upsert).await.unwrap();
        let changes = us(350..450, Some(5));
        across.upsert(batch(&changes)).await.unwrap();
        let planned = services.schedule_clustering(Due::Now).await.unwrap();
        let time = planned.unwrap().instant.time;
        services.execute_clustering(&time).await.unwrap();
        across.commit(BTreeMap::new()).await.unwrap();
        story.model.apply(shape, &changes);
        story.model.check(&story.storage).await;

        let services = super::clustering::services(&story, &[]);
        story.write(&rows(500..560, Some(1))).await;
        let planned = services.schedule_clustering(Due::Now).await.unwrap();
        let time = planned.unwrap().instant.time;
        let mut refused = story.writer.begin(WriteOperation::Upsert).await.unwrap();
        refused.upsert(batch(&rows(0..5, Some(6)))).await.unwrap();
        let error = refused.commit(BTreeMap::new()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
        assert!(error.to_string().contains(time.as_str()), "{error}");
        story.model.check(&story.storage).await;
        services.execute_clustering(&time).await.unwrap();
        story.model.check(&story.storage).await;
        story.write(&rows(0..5, Some(6))).await;
        story.writer.check_ranges(&story.storage).await;
        story.model.check(&story.storage).await;
    }
}

/// Somebody writes who does not know of the plan, which another engine may well do.
#[tokio::test]
async fn hazard_19_what_was_replaced_or_written_in_spite_of_a_plan_is_seen_when_it_is_executed() {
    for shape in [copy_on_write(), merge_on_read()] {
        let mut story = several_groups(shape).await;
        let services = services(&story, &[]);
        let planned = services.schedule_clustering(Due::Now).await.unwrap();
        let planned = planned.unwrap();
        let timeline = story.table.timeline().await.unwrap();
        let path = timeline.path_of(&planned.instant);
        let plan = story.storage.read(&path).await.unwrap();
        story.storage.delete(&path).await.unwrap();
        story.write(&rows(0..9, Some(8))).await;
        let mut overwrite = story
            .writer
            .begin(WriteOperation::InsertOverwrite)
            .await
            .unwrap();
        let mut changes = rows(100..110, Some(3));
        changes.retain(|change| change.region == "eu");
        overwrite.write(batch(&changes).records).await.unwrap();
        overwrite.commit(BTreeMap::new()).await.unwrap();
        story.model.drop_partitions(|path| path == "region=eu");
        story.model.apply(shape, &changes);
        story.storage.create(&path, plan).await.unwrap();
        story.model.check(&story.storage).await;
        let executed = services.execute_clustering(&planned.instant.time).await;
        assert!(executed.unwrap().replaced_file_groups < planned.file_groups);
        story.model.check(&story.storage).await;
    }
}

#[tokio::test]
async fn groups_of_pending_compactions_and_clusterings_are_left_alone() {
    let mut story = several_groups(merge_on_read()).await;
    let services = services(&story, &[]);
    services
        .schedule_compaction(Due::Now)
        .await
        .unwrap()
        .unwrap();
    let planned = services.schedule_clustering(Due::Now).await.unwrap();
    let compacted = slices(&story).await.len() as u64 - planned.map_or(0, |it| it.file_groups);
    assert!(compacted > 0);
    story.write(&rows(300..340, Some(1))).await;
    let second = services.schedule_clustering(Due::Now).await.unwrap();
    drop(second);
    services.execute_pending_compactions().await.unwrap();
    story.model.check(&story.storage).await;
    services.execute_pending_clusterings().await.unwrap();
    story.model.check(&story.storage).await;
    let timeline = story.table.timeline().await.unwrap();
    let done = |state| state == State::Completed;
    assert!(
        timeline
            .instants()
            .iter()
            .all(|instant| done(instant.state))
    );
}

#[tokio::test]
async fn incremental_windows_do_not_show_clustered_rows_again() {
    for shape in [copy_on_write(), merge_on_read()] {
        let mut story = Story::begin(shape).await;
        for first in [0, 200, 400] {
            story.write(&rows(first..first + 200, Some(1))).await;
        }
        let last = story.write(&rows(30..40, Some(2))).await;
        let executed = cluster(&story, &[]).await;
        let count = async |since, until| {
            let snapshot = story.table.incremental(since, until).await.unwrap();
            let mut rows = 0;
            for slice in snapshot.slices() {
                let read = ReadOptions::new(env().memory);
                let batches = snapshot.read_slice(slice, &read).await.unwrap();
                let batches: Vec<_> = batches.try_collect().await.unwrap();
                rows += batches.iter().map(|batch| batch.num_rows()).sum::<usize>();
            }
            rows
        };
        assert_eq!(count(last.completion.as_ref(), None).await, 0);
        assert_eq!(count(None, executed.instant.completion.as_ref()).await, 600);
        story.write(&rows(0..5, Some(3))).await;
        let story = &story;
        let snapshot = story
            .table
            .incremental(executed.instant.completion.as_ref(), None);
        assert!(!snapshot.await.unwrap().slices().is_empty());
    }
}

#[tokio::test]
async fn a_plan_is_due_after_so_many_commits() {
    let mut story = Story::begin(copy_on_write()).await;
    let inline = [
        ("hoodie.clustering.inline", "true"),
        ("hoodie.clustering.inline.max.commits", "3"),
    ];
    let services = services(&story, &inline);
    for part in 0..2 {
        story
            .write(&rows(part * 100..(part + 1) * 100, Some(1)))
            .await;
        assert_eq!(services.cluster_if_due().await.unwrap(), []);
    }
    story.write(&rows(150..160, Some(2))).await;
    assert_eq!(services.cluster_if_due().await.unwrap().len(), 1);
    story.write(&rows(200..300, Some(1))).await;
    assert_eq!(services.cluster_if_due().await.unwrap(), []);
    let off = super::clustering::services(&story, &[]);
    assert!(!off.clusters_beside_writers().unwrap());
    assert_eq!(
        off.schedule_clustering(Due::WhenTriggered).await.unwrap(),
        None
    );
    story.model.check(&story.storage).await;
}
