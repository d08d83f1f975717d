//! From the table as it is to the plan of a clean.
//!
//! Java: CleanPlanActionExecutor#requestClean.

use std::collections::BTreeMap;

use futures::{StreamExt, TryStreamExt};

use crate::config::{TableConfig, TableType};
use crate::error::Result;
use crate::file_group::view::{PartitionFiles, list_partitions, with_archived_completions};
use crate::file_group::{Horizon, Visibility, join_path};
use crate::service::Services;
use crate::service::cleaning::options::CleanOptions;
use crate::service::cleaning::protection::Protection;
use crate::service::cleaning::retention::earliest_to_retain;
use crate::service::cleaning::scope::{
    Baseline, Scope, last_clean, savepoint_times, savepoints_of,
};
use crate::service::cleaning::selection::{PartitionSelection, Selector, load_replaced};
use crate::timeline::metadata::{
    ActionInstant, CleanFileInfo, CleanMetadata, CleanerPlan, SAVEPOINTED_TIMESTAMPS_KEY,
};
use crate::timeline::{Action, ActiveTimeline, Instant, InstantTime};

/// Partitions listed at a time.
const LISTINGS_AT_ONCE: usize = 16;

/// A plan, and what it leaves settled once it is executed.
#[derive(Debug)]
pub(super) struct Planned {
    /// `None` when there is nothing to delete.
    pub(super) plan: Option<CleanerPlan>,
    /// Length of the files to delete.
    pub(super) bytes: u64,
    pub(super) baseline: Option<Baseline>,
}

impl Services {
    /// What a clean would delete now.
    pub(super) async fn plan_clean(
        &self,
        options: &CleanOptions,
        config: &TableConfig,
        timeline: &ActiveTimeline,
    ) -> Result<Planned> {
        let clean = last_clean(timeline).await?;
        if let Some((clean, metadata)) = &clean
            && options.policy.counts_versions()
            && has_only_appended(config, timeline, clean, metadata)?
        {
            return Ok(Planned::nothing(None));
        }
        let last = match &clean {
            Some((clean, metadata)) => Baseline::of_clean(clean, metadata)?,
            None => None,
        };
        let previous = last.as_ref().and_then(|last| last.earliest.as_ref());
        let retained = earliest_to_retain(options, config, &self.env, timeline, previous)?;
        let earliest = retained.as_ref().map(|retained| retained.time.clone());
        if earliest.is_none() && !options.policy.counts_versions() {
            return Ok(Planned::nothing(None));
        }
        let scope = self.scope(options, config, timeline, last, earliest.as_ref());
        let scope = scope.await?;
        let baseline = Baseline::now(timeline, earliest.clone());
        if matches!(&scope, Scope::Some(partitions) if partitions.is_empty()) {
            return Ok(Planned::nothing(baseline));
        }
        let partitions = self.listed(scope).await?;
        let visibility = Visibility::new(timeline, Horizon::Latest);
        let visibility =
            with_archived_completions(&self.storage, config, &partitions, &visibility).await?;
        let selector = Selector {
            version: config.version(),
            policy: options.policy,
            earliest,
            visibility: visibility.into_owned(),
            replaced: load_replaced(timeline).await?,
            protection: Protection::load(timeline).await?,
        };
        let mut selected = BTreeMap::new();
        for partition in partitions {
            let selection = selector.select(&partition);
            if !selection.files.is_empty() {
                selected.insert(partition.partition_path, selection);
            }
        }
        let bytes = selected.values().map(|selection| selection.bytes).sum();
        let plan = (!selected.is_empty()).then(|| {
            let retained = retained.as_ref();
            self.cleaner_plan(options, timeline, retained, selected)
        });
        Ok(Planned {
            plan,
            bytes,
            baseline,
        })
    }

    /// Where to look: where something has changed since the last clean, or since this process last looked.
    async fn scope(
        &self,
        options: &CleanOptions,
        config: &TableConfig,
        timeline: &ActiveTimeline,
        last: Option<Baseline>,
        earliest: Option<&InstantTime>,
    ) -> Result<Scope> {
        if !options.is_incremental {
            return Ok(Scope::All);
        }
        // A clean by versions may have kept more or fewer of them than this one: only our own look counts.
        let last = last.filter(|_| !options.policy.counts_versions());
        let looked = self.clean_memory.recall();
        let latest = [last, looked].into_iter().flatten().max_by(|left, right| {
            (&left.earliest, &left.seen).cmp(&(&right.earliest, &right.seen))
        });
        match latest {
            Some(latest) => latest.scope(timeline, config.version(), earliest).await,
            None => Ok(Scope::All),
        }
    }

    /// What lies in the partitions of a scope.
    async fn listed(&self, scope: Scope) -> Result<Vec<PartitionFiles>> {
        let storage = &self.storage;
        let partitions = match scope {
            Scope::All => return list_partitions(storage).await,
            Scope::Some(partitions) => partitions,
        };
        futures::stream::iter(partitions)
            .map(|partition_path| async move {
                let files = storage.list(&partition_path).await?.files;
                Ok(PartitionFiles {
                    partition_path,
                    files,
                })
            })
            .buffered(LISTINGS_AT_ONCE)
            .try_collect()
            .await
    }

    fn cleaner_plan(
        &self,
        options: &CleanOptions,
        timeline: &ActiveTimeline,
        retained: Option<&Instant>,
        selected: BTreeMap<String, PartitionSelection>,
    ) -> CleanerPlan {
        let mut plan = CleanerPlan {
            earliest_instant_to_retain: retained.map(|retained| ActionInstant {
                timestamp: retained.time.to_string(),
                action: retained.action.comparable().to_string(),
                state: "COMPLETED".to_owned(),
            }),
            last_completed_commit_timestamp: timeline
                .completed_writes()
                .next_back()
                .map_or_else(String::new, |last| last.time.to_string()),
            policy: options.policy.as_str().to_owned(),
            extra_metadata: savepoint_metadata(timeline),
            ..CleanerPlan::default()
        };
        for (partition, selection) in selected {
            if selection.is_emptied {
                plan.partitions_to_be_deleted.push(partition.clone());
            }
            let files = selection.files.into_iter().map(|name| CleanFileInfo {
                file_path: Some(self.storage.location_of(&join_path(&partition, &name))),
                is_bootstrap_base_file: Some(false),
            });
            let files = files.collect();
            plan.file_paths_to_be_deleted_per_partition
                .insert(partition, files);
        }
        plan
    }
}

impl Planned {
    fn nothing(baseline: Option<Baseline>) -> Self {
        Self {
            plan: None,
            bytes: 0,
            baseline,
        }
    }
}

/// Whether a merge-on-read table has only seen delta commits since the last clean. They add to the newest versions.
///
/// Java: CleanPlanner#canSkipClean.
fn has_only_appended(
    config: &TableConfig,
    timeline: &ActiveTimeline,
    clean: &Instant,
    metadata: &CleanMetadata,
) -> Result<bool> {
    let has_rewritten = || {
        timeline.completed_writes().any(|instant| {
            instant.action != Action::DeltaCommit && *instant.end_time() > clean.time
        })
    };
    Ok(config.table_type() == TableType::MergeOnRead
        && config.keeps_completion_times()
        && !has_rewritten()
        && savepoints_of(metadata)?.is_subset(&savepoint_times(timeline)))
}

/// By this the next incremental clean knows that a savepoint was removed.
pub(super) fn savepoint_metadata(timeline: &ActiveTimeline) -> BTreeMap<String, String> {
    let times = savepoint_times(timeline);
    if times.is_empty() {
        return BTreeMap::new();
    }
    let times: Vec<&str> = times.iter().map(InstantTime::as_str).collect();
    BTreeMap::from([(SAVEPOINTED_TIMESTAMPS_KEY.to_owned(), times.join(","))])
}
