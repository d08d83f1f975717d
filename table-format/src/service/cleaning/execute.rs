//! Executes the plan of a pending clean, whoever made it, from wherever an earlier attempt got to.
//!
//! Java: CleanActionExecutor. Deleting is idempotent, and the plan stays until the completed file is there: a clean that
//! died is simply executed again. It is never rolled back.

use std::collections::{BTreeMap, HashMap, HashSet};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};

use crate::config::TableConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::file_group::join_path;
use crate::service::Services;
use crate::service::cleaning::CleanSummary;
use crate::service::cleaning::plan::savepoint_metadata;
use crate::service::cleaning::protection::{file_name, savepointed_files};
use crate::timeline::metadata::{CleanMetadata, CleanPartitionMetadata, CleanerPlan, Payload};
use crate::timeline::{Action, ActiveTimeline, Instant, State};
use crate::transaction::{ServiceAction, disable_metadata_table};

/// Files deleted at a time.
const DELETES_AT_ONCE: usize = 16;

impl Services {
    /// Executes a pending clean and completes it.
    pub(super) async fn finish_clean(
        &self,
        config: &TableConfig,
        timeline: &ActiveTimeline,
        pending: &Instant,
    ) -> Result<CleanSummary> {
        let began = self.env.clock.now();
        let plan: CleanerPlan = timeline.read_plan(pending).await?;
        let planned =
            planned_files(&plan).map_err(|error| error.context(timeline.path_of(pending)))?;
        // Before the first file goes: readers that list by a metadata table would look for files that are gone.
        let config = disable_metadata_table(&self.storage, &self.env, config).await?;
        let mut action = ServiceAction::resume(&self.storage, &self.env, &config, pending);
        action.start(Bytes::new()).await?;
        // A savepoint may have been made since the plan was.
        let timeline = ActiveTimeline::load(&self.storage, &config).await?;
        let savepointed = savepointed_files(&timeline).await?;
        let mut summary = CleanSummary::of_plan(&plan, Some(&pending.time));
        summary.files.clear();
        summary.deleted_partitions.clear();
        let mut partition_metadata = BTreeMap::new();
        for (partition, names) in planned {
            let (kept, gone): (Vec<_>, Vec<_>) = names
                .into_iter()
                .partition(|name| savepointed.contains(name));
            summary.bytes += self.delete_files(&partition, &gone).await?;
            let is_deleted = plan.partitions_to_be_deleted.contains(&partition)
                && config.is_partitioned()
                && self
                    .delete_partition(&config, &partition, &pending.time)
                    .await?;
            if is_deleted {
                summary.deleted_partitions.push(partition.clone());
            }
            let mut metadata = partition_metadata_of(&plan, &partition, &gone, kept);
            metadata.is_partition_deleted = Some(is_deleted);
            partition_metadata.insert(partition.clone(), metadata);
            summary.files.insert(partition, gone);
        }
        let mut extra_metadata = plan.extra_metadata;
        extra_metadata.extend(savepoint_metadata(&timeline));
        let metadata = CleanMetadata {
            start_clean_time: pending.time.to_string(),
            time_taken_in_millis: (self.env.clock.now() - began).num_milliseconds(),
            total_files_deleted: i32::try_from(summary.files_count()).unwrap_or(i32::MAX),
            earliest_commit_to_retain: plan
                .earliest_instant_to_retain
                .map_or_else(String::new, |instant| instant.timestamp),
            last_completed_commit_timestamp: plan.last_completed_commit_timestamp,
            partition_metadata,
            extra_metadata: Some(extra_metadata),
            ..CleanMetadata::default()
        };
        self.complete_clean(&config, action, &metadata).await?;
        tracing::info!(
            table = config.name(),
            instant = %pending.time,
            files = summary.files_count(),
            bytes = summary.bytes,
            "cleaned"
        );
        Ok(summary)
    }

    /// Another engine may have executed the same plan meanwhile; its record stands then.
    async fn complete_clean(
        &self,
        config: &TableConfig,
        action: ServiceAction,
        metadata: &CleanMetadata,
    ) -> Result<()> {
        let timeline = ActiveTimeline::load(&self.storage, config).await?;
        let now = timeline.find(&action.instant().time, Action::Clean);
        match now.map(|instant| instant.state) {
            Some(State::Completed) => Ok(()),
            Some(State::Requested | State::Inflight) => {
                action.complete(metadata.encode_avro()?).await.map(drop)
            }
            None => Err(Error::new(
                ErrorKind::Conflict,
                format!(
                    "table {}: the plan of clean {} was removed while it was executed; clean again",
                    config.name(),
                    action.instant().time
                ),
            )),
        }
    }

    /// Deletes files of a partition; returns how long those were that were still there.
    async fn delete_files(&self, partition: &str, names: &[String]) -> Result<u64> {
        let listing = self.storage.list(partition).await?;
        let found: HashMap<&str, u64> = listing
            .files
            .iter()
            .map(|file| (file.name.as_str(), file.size_bytes))
            .collect();
        let bytes = names
            .iter()
            .filter_map(|name| found.get(name.as_str()))
            .sum();
        // Hadoop's checksum of a file on a local disk goes with it.
        let checksums = names.iter().map(|name| format!(".{name}.crc"));
        let checksums = checksums.filter(|name| found.contains_key(name.as_str()));
        let there = names
            .iter()
            .filter(|name| found.contains_key(name.as_str()));
        let paths: Vec<String> = there
            .cloned()
            .chain(checksums)
            .map(|name| join_path(partition, &name))
            .collect();
        futures::stream::iter(paths.iter().map(|path| self.storage.delete(path)))
            .buffer_unordered(DELETES_AT_ONCE)
            .try_collect::<()>()
            .await?;
        Ok(bytes)
    }
}

fn partition_metadata_of(
    plan: &CleanerPlan,
    partition: &str,
    gone: &[String],
    kept: Vec<String>,
) -> CleanPartitionMetadata {
    CleanPartitionMetadata {
        partition_path: partition.to_owned(),
        policy: plan.policy.clone(),
        delete_path_patterns: gone.iter().chain(&kept).cloned().collect(),
        success_delete_files: gone.to_vec(),
        failed_delete_files: kept,
        is_partition_deleted: None,
    }
}

/// Names of the files to delete, by partition path.
///
/// Locations are those of whoever planned, and the table may have moved since: what counts is the partition and the name.
pub(in crate::service) fn planned_files(
    plan: &CleanerPlan,
) -> Result<BTreeMap<String, Vec<String>>> {
    let mut planned: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let names = plan.files_to_be_deleted_per_partition.iter().flatten();
    for (partition, names) in names {
        let files = planned.entry(partition.clone()).or_default();
        files.extend(names.iter().map(|name| file_name(name).to_owned()));
    }
    for (partition, files) in &plan.file_paths_to_be_deleted_per_partition {
        let planned = planned.entry(partition.clone()).or_default();
        for file in files {
            let path = file.file_path.as_deref().unwrap_or_default();
            if file.is_bootstrap_base_file == Some(true) {
                return Err(Error::unsupported(format!(
                    "{path} was there before the table (bootstrap); let Spark execute this clean"
                )));
            }
            let name = file_name(path);
            let inside = format!("/{}", join_path(partition, name));
            if name.is_empty() || !path.ends_with(&inside) {
                return Err(Error::corrupt(
                    "the clean's plan",
                    format!("`{path}` is not in partition `{partition}`"),
                ));
            }
            planned.push(name.to_owned());
        }
    }
    for partition in &plan.partitions_to_be_deleted {
        planned.entry(partition.clone()).or_default();
    }
    for names in planned.values_mut() {
        let mut seen = HashSet::new();
        names.retain(|name| seen.insert(name.clone()));
    }
    Ok(planned)
}
