//! Rollback by command: of a write that failed, of the latest write that completed, of a compaction or clustering that is
//! under way.
//!
//! A completed write goes first back to inflight, then as a failed one. With its rows goes everything that its commit
//! carries, the position of the source among it: a pipeline that writes the table reads those changes again. Java:
//! BaseRollbackActionExecutor; here the files that the table falls back to must be there as well.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::TableConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::file_group::{BaseFile, LogFile};
use crate::service::Services;
use crate::storage::ListedFile;
use crate::timeline::metadata::{
    CommitMetadata, CompactionPlan, NO_PREVIOUS_COMMIT, RequestedReplaceMetadata, RollbackMetadata,
    WriteOperation,
};
use crate::timeline::{Action, ActiveTimeline, Instant, InstantTime, State};
use crate::transaction::{
    FailedWrites, Heartbeats, finish_pending, is_clustering, roll_back, unpublish,
};

/// What a rollback did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RollbackReport {
    /// The instant that was undone.
    pub target: InstantTime,
    /// Its action.
    pub action: String,
    /// The instant of the rollback.
    pub rollback: InstantTime,
    /// Full locations of the files deleted.
    pub deleted: Vec<String>,
    /// Version 6: full locations of the log files that undo blocks of the instant.
    pub commands: Vec<String>,
}

impl Services {
    /// Rolls back the write, compaction or clustering that began at `time`.
    ///
    /// # Errors
    /// `NotFound` when there is no such instant; `Invalid` when it is of a kind that is not rolled back; `Conflict` when it
    /// is not the latest write, is savepointed, its writer is alive, or a later compaction, clustering or clean depends on
    /// it; what the store says, after which the same call finishes the job.
    pub async fn roll_back(&self, time: &InstantTime) -> Result<RollbackReport> {
        let (config, mut timeline) = self.load().await?;
        let finished = finish_pending(&self.storage, &self.env, &config, &timeline).await?;
        if !finished.is_empty() {
            timeline = ActiveTimeline::load(&self.storage, &config).await?;
        }
        if finished.contains(time)
            && let Some((rollback, metadata)) = rollback_of(&timeline, time).await?
        {
            return Ok(report(time, &rollback, metadata));
        }
        let target = find_target(&timeline, time).await?;
        let pending = if target.state == State::Completed {
            self.check_completed(&config, &timeline, &target).await?;
            unpublish(&self.storage, &config, &timeline, &target).await?
        } else {
            self.check_dead([&target]).await?;
            target
        };
        let done = roll_back(&self.storage, &self.env, &config, &pending).await?;
        Ok(report(&done.target, &done.rollback, done.metadata))
    }

    /// Refuses instants whose writers are alive.
    pub(super) async fn check_dead<'a>(
        &self,
        instants: impl IntoIterator<Item = &'a Instant>,
    ) -> Result<()> {
        let heartbeats = Heartbeats::load(&self.storage).await?;
        let settings = FailedWrites::from_properties(&self.properties)?;
        for instant in instants {
            if heartbeats.is_alive(&instant.time, self.env.clock.now(), &settings) {
                return Err(Error::new(
                    ErrorKind::Conflict,
                    format!(
                        "the writer of {instant} is alive (its heartbeat is fresh); stop it first"
                    ),
                ));
            }
        }
        Ok(())
    }

    /// A completed write may go when nothing has been built on it.
    async fn check_completed(
        &self,
        config: &TableConfig,
        timeline: &ActiveTimeline,
        target: &Instant,
    ) -> Result<()> {
        let refuse = |why: String| {
            let table = config.name();
            let message = format!("table {table}: {target} cannot be rolled back: {why}");
            Err(Error::new(ErrorKind::Conflict, message))
        };
        let metadata = timeline.read_metadata(target).await?;
        if let Some(
            operation @ (WriteOperation::Compact
            | WriteOperation::LogCompact
            | WriteOperation::Cluster
            | WriteOperation::Index),
        ) = metadata.operation()?
        {
            return refuse(format!("it is a {operation}, which has changed no rows"));
        }
        for other in timeline.instants() {
            if other.action == Action::Savepoint && other.time == target.time {
                return refuse("it is savepointed; delete the savepoint first".to_owned());
            }
            let is_later = other.time > target.time || other.end_time() > target.end_time();
            if other == target || !is_later {
                continue;
            }
            let is_pending = other.state != State::Completed;
            let is_plan = is_pending
                && (matches!(other.action, Action::Compaction | Action::LogCompaction)
                    || is_clustering(config, timeline, other).await?);
            if is_plan {
                if depends_on(timeline, other, &metadata).await? {
                    return refuse(format!(
                        "{other} is to rewrite files of it; execute that first"
                    ));
                }
            } else if is_pending && other.action == Action::Clean {
                return refuse(format!("{other} is under way; finish it first"));
            } else if other.action.is_write() {
                return refuse(format!("{other} came later; roll that back first"));
            }
        }
        if let Some(lost) = self.lost_predecessor(&metadata, &target.time).await? {
            return refuse(format!(
                "what it replaced is gone ({lost} has been cleaned); restore to a savepoint, if there is one"
            ));
        }
        Ok(())
    }

    /// A file group that the write changed or replaced, and of which nothing older is left.
    async fn lost_predecessor(
        &self,
        metadata: &CommitMetadata,
        time: &InstantTime,
    ) -> Result<Option<String>> {
        let mut groups: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (partition, file_ids) in &metadata.partition_to_replace_file_ids {
            let group = groups.entry(partition).or_default();
            group.extend(file_ids.iter().map(String::as_str));
        }
        for (partition, stats) in &metadata.partition_to_write_stats {
            let changed = stats.iter().filter(|stat| {
                let previous = stat.prev_commit.as_deref();
                stat.log_files.is_none()
                    && previous.is_some_and(|previous| previous != NO_PREVIOUS_COMMIT)
            });
            let group = groups.entry(partition).or_default();
            group.extend(changed.filter_map(|stat| stat.file_id.as_deref()));
        }
        for (partition, file_ids) in groups.into_iter().filter(|(_, ids)| !ids.is_empty()) {
            let listing = self.storage.list(partition).await?;
            let left: BTreeSet<String> = listing
                .files
                .iter()
                .filter_map(|file| older_group(file, time))
                .collect();
            if let Some(lost) = file_ids
                .into_iter()
                .find(|file_id| !left.contains(*file_id))
            {
                return Ok(Some(crate::file_group::join_path(partition, lost)));
            }
        }
        Ok(None)
    }
}

/// The file group of a data file that is older than `time`.
fn older_group(file: &ListedFile, time: &InstantTime) -> Option<String> {
    let (file_id, instant) = match BaseFile::parse(&file.name, file.size_bytes) {
        Some(base) => (base.file_id, base.instant),
        None => {
            let log = LogFile::parse(&file.name, file.size_bytes)?;
            (log.file_id, log.instant)
        }
    };
    (instant < *time).then_some(file_id)
}

/// The write that began at `time`.
async fn find_target(timeline: &ActiveTimeline, time: &InstantTime) -> Result<Instant> {
    let mut at_time = timeline
        .instants()
        .iter()
        .filter(|instant| instant.time == *time);
    if let Some(found) = at_time.clone().find(|instant| instant.action.is_write()) {
        return Ok(found.clone());
    }
    if let Some(other) = at_time.next() {
        return Err(Error::invalid(format!(
            "{other} is a {}; writes, compactions and clusterings can be rolled back",
            other.action
        )));
    }
    let message = match rollback_of(timeline, time).await? {
        Some((rollback, _)) => format!("instant {time} has been rolled back by {rollback} already"),
        None => format!("there is no instant {time}; `lakebed table timeline` lists them"),
    };
    Err(Error::new(ErrorKind::NotFound, message))
}

/// The completed rollback that undid the instant of `time`.
async fn rollback_of(
    timeline: &ActiveTimeline,
    time: &InstantTime,
) -> Result<Option<(Instant, RollbackMetadata)>> {
    let rollbacks = timeline
        .completed()
        .rev()
        .filter(|instant| instant.action == Action::Rollback && instant.time > *time);
    for rollback in rollbacks {
        let metadata: RollbackMetadata = timeline.read_payload(rollback).await?;
        if metadata
            .commits_rollback
            .iter()
            .any(|undone| undone == time.as_str())
        {
            return Ok(Some((rollback.clone(), metadata)));
        }
    }
    Ok(None)
}

/// Whether a pending plan reads files that the write made.
async fn depends_on(
    timeline: &ActiveTimeline,
    plan: &Instant,
    written: &CommitMetadata,
) -> Result<bool> {
    let names: BTreeSet<&str> = written
        .write_stats()
        .filter_map(|stat| stat.path.as_deref())
        .map(name_of)
        .collect();
    let mut read: Vec<String> = Vec::new();
    if plan.action.comparable() == Action::ReplaceCommit {
        let planned: RequestedReplaceMetadata = timeline.read_plan(plan).await?;
        let groups = planned.clustering_plan.and_then(|plan| plan.input_groups);
        let slices = groups
            .into_iter()
            .flatten()
            .flat_map(|group| group.slices.unwrap_or_default());
        for slice in slices {
            read.extend(slice.data_file_path);
            read.extend(slice.delta_file_paths.into_iter().flatten());
        }
    } else {
        let planned: CompactionPlan = timeline.read_plan(plan).await?;
        for operation in planned.operations.into_iter().flatten() {
            read.extend(operation.data_file_path);
            read.extend(operation.delta_file_paths.into_iter().flatten());
        }
    }
    Ok(read.iter().any(|path| names.contains(name_of(path))))
}

fn name_of(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn report(target: &InstantTime, rollback: &Instant, metadata: RollbackMetadata) -> RollbackReport {
    let action = metadata.instants_rollback.into_iter().next();
    let mut deleted = Vec::new();
    let mut commands = Vec::new();
    for partition in metadata.partition_metadata.into_values() {
        deleted.extend(partition.success_delete_files);
        let logs = partition.rollback_log_files.into_iter().flatten();
        commands.extend(logs.map(|(location, _)| location));
    }
    RollbackReport {
        target: target.clone(),
        action: action.map(|info| info.action).unwrap_or_default(),
        rollback: rollback.time.clone(),
        deleted,
        commands,
    }
}
