//! The plan: which slices are rewritten together, and that nobody has changed them before it stands on the timeline.

use std::collections::{BTreeMap, HashSet};

use crate::config::TableConfig;
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::file_group::view::latest_slices;
use crate::file_group::{FileSlice, Horizon, Visibility};
use crate::index::bucket_id::looks_like_bucket;
use crate::service::compaction::{Due, metrics_of};
use crate::service::planned_groups::groups_in_plans;
use crate::storage::Storage;
use crate::timeline::metadata::{
    ClusteringGroup, ClusteringPlan, ClusteringStrategy, Payload, RequestedReplaceMetadata,
    SliceInfo, WriteOperation,
};
use crate::timeline::{Action, ActiveTimeline, InstantTime};
use crate::transaction::ServiceAction;

use super::PlannedClustering;
use super::options::{ClusteringOptions, LAYOUT, SORT_COLUMNS};
use super::packing::PlannedGroup;
use super::sort::Layout;
use super::trigger::is_planned_or_done;

/// How often a plan is made anew because a writer completed while it was made.
const ATTEMPTS: usize = 5;
/// Spark takes the class that it is set to, whatever stands here.
const EXECUTION_CLASS: &str =
    "org.apache.hudi.client.clustering.run.strategy.SparkSortAndSizeExecutionStrategy";
const RECORD_VERSION: i32 = 1;
/// Java: HoodieTableMetaClient#getHashingMetadataPath.
const BUCKET_RECORDS: &str = ".hoodie/.bucket_index/consistent_hashing_metadata";

/// Puts a plan on the timeline, if one is due and there is something to gain.
pub(super) async fn schedule(
    storage: &Storage,
    env: &Env,
    config: &TableConfig,
    mut timeline: ActiveTimeline,
    options: &ClusteringOptions,
    due: Due,
) -> Result<Option<PlannedClustering>> {
    for _ in 0..ATTEMPTS {
        if due == Due::WhenTriggered && !options.trigger.is_due(config, &timeline).await? {
            return Ok(None);
        }
        let groups = choose(storage, config, &timeline, options).await?;
        if groups.is_empty() {
            return Ok(None);
        }
        let plan = plan_of(storage, &groups, options).encode_avro()?;
        let action = Action::of_clustering(config.version());
        let requested =
            ServiceAction::request_if_unchanged(storage, env, config, &timeline, action, plan);
        if let Some(requested) = requested.await? {
            let slices = || groups.iter().flat_map(|group| &group.slices);
            let planned = PlannedClustering {
                instant: requested.instant().clone(),
                file_groups: slices().count() as u64,
                bytes: slices().map(slice_bytes).sum(),
                output_file_groups: groups.iter().map(|group| group.output_file_groups).sum(),
            };
            tracing::info!(table = config.name(), instant = %planned.instant.time, file_groups = planned.file_groups, "planned a clustering");
            return Ok(Some(planned));
        }
        timeline = ActiveTimeline::load(storage, config).await?;
    }
    let message = format!(
        "table {}: writers complete faster than a clustering can be planned; try again",
        config.name()
    );
    Err(Error::new(ErrorKind::Conflict, message))
}

/// The groups of a plan: small slices that stand in no other plan (hazards 19 and 20).
async fn choose(
    storage: &Storage,
    config: &TableConfig,
    timeline: &ActiveTimeline,
    options: &ClusteringOptions,
) -> Result<Vec<PlannedGroup>> {
    let planned = groups_in_plans(timeline).await?;
    let visibility = Visibility::new(timeline, Horizon::Latest);
    let mut slices = latest_slices(storage, config, timeline, &visibility).await?;
    refuse_buckets(storage, config, &slices).await?;
    slices.retain(|slice| {
        options.packing.is_small(slice)
            && options.partitions.takes(&slice.partition_path)
            && !planned.contains(&(slice.partition_path.clone(), slice.file_id.clone()))
    });
    let clusterings = clusterings_among(config, timeline).await?;
    let is_sorted =
        |slice: &FileSlice| slice.log_files.is_empty() && clusterings.contains(&slice.base_instant);
    Ok(options.packing.pack(slices, is_sorted))
}

/// A bucket index would lose file groups that got other ids. Nothing in a table's properties tells of one: consistent hashing
/// keeps records of its own, and plain buckets show in the ids.
async fn refuse_buckets(
    storage: &Storage,
    config: &TableConfig,
    slices: &[FileSlice],
) -> Result<()> {
    let is_bucket = |slice: &FileSlice| looks_like_bucket(&slice.file_id);
    let has_buckets = !slices.is_empty() && slices.iter().all(is_bucket);
    if !has_buckets && storage.list(BUCKET_RECORDS).await?.dirs.is_empty() {
        return Ok(());
    }
    Err(Error::unsupported(format!(
        "table {}: it has a bucket index, which would lose the file groups; cluster it with the engine that wrote it",
        config.name()
    )))
}

/// The completed clusterings of the active timeline.
async fn clusterings_among(
    config: &TableConfig,
    timeline: &ActiveTimeline,
) -> Result<HashSet<InstantTime>> {
    let mut clusterings = HashSet::new();
    for instant in timeline.completed_writes() {
        if is_planned_or_done(config, timeline, instant).await? {
            clusterings.insert(instant.time.clone());
        }
    }
    Ok(clusterings)
}

fn plan_of(
    storage: &Storage,
    groups: &[PlannedGroup],
    options: &ClusteringOptions,
) -> RequestedReplaceMetadata {
    let mut params = BTreeMap::new();
    if !options.sort_columns.is_empty() {
        params.insert(SORT_COLUMNS.to_owned(), options.sort_columns.join(","));
        if options.layout != Layout::Linear {
            // Spark takes its own setting, which the plan does not tell it; this one is for us.
            params.insert(LAYOUT.to_owned(), options.layout.as_str().to_owned());
        }
    }
    let groups = groups
        .iter()
        .map(|group| group_of(storage, group, options.packing.base_file_bytes));
    RequestedReplaceMetadata {
        operation_type: Some(WriteOperation::Cluster.as_str().to_owned()),
        clustering_plan: Some(ClusteringPlan {
            input_groups: Some(groups.collect()),
            strategy: Some(ClusteringStrategy {
                strategy_class_name: Some(EXECUTION_CLASS.to_owned()),
                strategy_params: Some(params),
                version: Some(RECORD_VERSION),
            }),
            extra_metadata: Some(BTreeMap::new()),
            version: Some(RECORD_VERSION),
            preserve_hoodie_metadata: Some(true),
            missing_schedule_partitions: Some(Vec::new()),
        }),
        extra_metadata: Some(BTreeMap::new()),
        version: Some(RECORD_VERSION),
    }
}

/// Java: ClusteringPlanStrategy#getFileSliceInfo, #buildMetrics.
fn group_of(storage: &Storage, group: &PlannedGroup, base_file_bytes: u64) -> ClusteringGroup {
    let mut metrics: BTreeMap<String, f64> = BTreeMap::new();
    for slice in &group.slices {
        for (name, value) in metrics_of(slice, base_file_bytes) {
            *metrics.entry(name).or_default() += value;
        }
    }
    let slices = group.slices.iter().map(|slice| {
        let place = |name: String| storage.location_of(&slice.path_of(&name));
        let logs = slice.log_files.iter().rev();
        let base = slice.base_file.as_ref().map(ToString::to_string);
        SliceInfo {
            data_file_path: Some(base.map_or_else(String::new, place)),
            delta_file_paths: Some(logs.map(|log| place(log.to_string())).collect()),
            file_id: Some(slice.file_id.clone()),
            partition_path: Some(slice.partition_path.clone()),
            bootstrap_file_path: Some(String::new()),
            version: Some(RECORD_VERSION),
        }
    });
    ClusteringGroup {
        slices: Some(slices.collect()),
        metrics: Some(metrics),
        num_output_file_groups: i32::try_from(group.output_file_groups).ok(),
        extra_metadata: Some(BTreeMap::new()),
        version: Some(RECORD_VERSION),
    }
}

/// Length of a slice, logs included.
pub(super) fn slice_bytes(slice: &FileSlice) -> u64 {
    let base = slice.base_file.as_ref().map_or(0, |file| file.size_bytes);
    base + slice
        .log_files
        .iter()
        .map(|log| log.size_bytes)
        .sum::<u64>()
}
