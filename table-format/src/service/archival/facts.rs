//! What the archiver has to look up beside the timeline: the last clean, the metadata table, logs that completed late.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::plan::{LastClean, Limit, Reason};
use crate::config::{TableConfig, TableType};
use crate::error::{ErrorKind, Result};
use crate::file_group::view::{
    PartitionFiles, ReplacedGroups, file_groups, with_archived_completions,
};
use crate::file_group::{Horizon, LogFile, Visibility};
use crate::storage::Storage;
use crate::table::Table;
use crate::timeline::metadata::{CleanMetadata, CommitMetadata, decode_avro};
use crate::timeline::{Action, ActiveTimeline, Instant, InstantTime, State};

/// The metadata table's folder in that of its table.
const METADATA_TABLE: &str = ".hoodie/metadata";
/// Key of a clean plan's extra metadata. Java: CleanerUtils#SAVEPOINTED_TIMESTAMPS.
const SAVEPOINTED: &str = "savepointed_timestamps";

/// What is taken of a HoodieCleanerPlan.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct CleanPlan {
    earliest_instant_to_retain: Option<RetainedInstant>,
    extra_metadata: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RetainedInstant {
    timestamp: String,
}

/// The last completed clean of the active timeline. It is read only when there is a replace commit, which may wait for it, or
/// when it is asked for.
pub(super) async fn last_clean(timeline: &ActiveTimeline, is_wanted: bool) -> Result<LastClean> {
    let is_needed = is_wanted
        || timeline
            .instants()
            .iter()
            .any(|instant| instant.action.comparable() == Action::ReplaceCommit);
    let clean = timeline
        .completed()
        .rfind(|instant| instant.action == Action::Clean);
    let Some(clean) = clean.filter(|_| is_needed) else {
        return Ok(LastClean::default());
    };
    let requested = Instant {
        state: State::Requested,
        completion: None,
        ..clean.clone()
    };
    let (earliest, savepoints) = match timeline.read(&requested).await {
        Ok(bytes) if !bytes.is_empty() => {
            let plan: CleanPlan =
                decode_avro(&bytes).map_err(|error| error.context(timeline.path_of(&requested)))?;
            let earliest = plan.earliest_instant_to_retain;
            let extra = plan.extra_metadata.unwrap_or_default();
            let savepoints = extra.get(SAVEPOINTED).cloned();
            (earliest.map(|instant| instant.timestamp), savepoints)
        }
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        // A clean without a plan: its record says the same.
        _ => {
            let metadata: CleanMetadata = timeline.read_payload(clean).await?;
            let extra = metadata.extra_metadata.unwrap_or_default();
            (
                Some(metadata.earliest_commit_to_retain),
                extra.get(SAVEPOINTED).cloned(),
            )
        }
    };
    let parse = |text: &str| text.trim().parse::<InstantTime>();
    Ok(LastClean {
        time: Some(clean.time.clone()),
        earliest_to_retain: earliest
            .filter(|text| !text.is_empty())
            .map(|text| parse(&text))
            .transpose()?,
        savepoints: savepoints
            .iter()
            .flat_map(|list| list.split(','))
            .filter(|text| !text.trim().is_empty())
            .map(parse)
            .collect::<Result<_>>()?,
    })
}

/// With a metadata table only what its last compaction has taken in may go; without a compaction, nothing.
pub(super) async fn metadata_table(
    storage: &Storage,
    config: &TableConfig,
    timeline: &ActiveTimeline,
) -> Result<Option<Limit>> {
    if config.metadata_partitions().is_empty() {
        return Ok(None);
    }
    let compacted = match Table::open_storage(storage.at(METADATA_TABLE)?).await {
        Ok(table) => {
            let metadata = table.timeline().await?;
            let mut commits = metadata.completed();
            commits
                .rfind(|instant| instant.action == Action::Commit)
                .map(|instant| instant.time.clone())
        }
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    let mut commits = timeline.completed_writes();
    let first = match compacted {
        None => commits.next(),
        Some(compacted) => commits.find(|commit| *commit.end_time() > compacted),
    };
    Ok(first.map(|commit| Limit {
        time: commit.time.clone(),
        reason: Reason::MetadataTable,
    }))
}

/// The oldest of these instants with a log file on a base file that began later. hudi-rs 0.5 looks for the completion time of
/// a log file on the active timeline only, and takes one without for a part of the slice before: its rows are lost, in
/// silence. (Other logs it places by their begin times, and rightly.) Only the partitions that these instants wrote to are
/// listed.
pub(super) async fn first_late_log(
    storage: &Storage,
    config: &TableConfig,
    timeline: &ActiveTimeline,
    instants: &[Instant],
) -> Result<Option<Limit>> {
    if config.table_type() != TableType::MergeOnRead || !config.keeps_completion_times() {
        return Ok(None);
    }
    let mut partitions: BTreeSet<String> = BTreeSet::new();
    for instant in instants
        .iter()
        .filter(|instant| instant.action == Action::DeltaCommit)
    {
        partitions.extend(partitions_with_logs(
            &timeline.read_metadata(instant).await?,
        ));
    }
    let visibility = Visibility::new(timeline, Horizon::Latest);
    let replaced = ReplacedGroups::load(timeline, &visibility).await?;
    let mut late: BTreeSet<InstantTime> = BTreeSet::new();
    for partition_path in partitions {
        let files = storage.list(&partition_path).await?.files;
        let partition = [PartitionFiles {
            partition_path,
            files,
        }];
        let visibility =
            with_archived_completions(storage, config, &partition, &visibility).await?;
        for partition in &partition {
            let groups = file_groups(partition, config.version(), &visibility);
            let latest = groups
                .into_iter()
                .filter(|(file_id, _)| !replaced.contains(&partition.partition_path, file_id))
                .filter_map(|(_, slices)| slices.into_iter().next_back());
            for slice in latest.filter(|slice| slice.base_file.is_some()) {
                let logs = slice.log_files.into_iter().map(|log| log.instant);
                late.extend(logs.filter(|instant| *instant < slice.base_instant));
            }
        }
    }
    let first = instants
        .iter()
        .find(|instant| instant.action == Action::DeltaCommit && late.contains(&instant.time));
    Ok(first.map(|instant| Limit {
        time: instant.time.clone(),
        reason: Reason::LateLog,
    }))
}

fn partitions_with_logs(commit: &CommitMetadata) -> impl Iterator<Item = String> + '_ {
    let stats = commit.partition_to_write_stats.iter().filter(|(_, stats)| {
        stats.iter().any(|stat| {
            let name = stat.path.as_deref().unwrap_or_default();
            let name = name.rsplit('/').next().unwrap_or(name);
            stat.log_files.is_some() || LogFile::parse(name, 0).is_some()
        })
    });
    stats.map(|(partition, _)| partition.clone())
}
