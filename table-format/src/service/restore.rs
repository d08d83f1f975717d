//! Restore: takes a table back to a savepoint.
//!
//! Every write after the savepointed commit is undone, the newest first, and with it the rows and the positions that it
//! carries; cleans and the savepoint stay. Since version 8 "after" goes by completion, except for compactions, which go by
//! their plan: one that was planned before the savepointed commit holds none of its successors' rows, whenever it
//! completes. Java: RestorePlanActionExecutor, RestoreInstantComparatorFactory.

use std::cmp::Reverse;

use crate::config::{TableConfig, TableType, TableVersion, key};
use crate::error::{Error, ErrorKind, Result};
use crate::file_group::join_path;
use crate::service::Services;
use crate::timeline::metadata::{CommitMetadata, Payload, RestorePlan, SavepointMetadata};
use crate::timeline::{Action, ActiveTimeline, Instant, InstantTime, State};
use crate::transaction::{
    Debris, Purpose, ServiceAction, finish_pending, finish_restore, info_of, is_clustering,
};

/// What a restore undoes, or has undone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoreReport {
    /// The commit that the table goes back to.
    pub savepoint: InstantTime,
    /// The instant of the restore; `None` for a dry run, and when there was nothing to undo.
    pub restore: Option<InstantTime>,
    /// The instants, in the order in which they are undone.
    pub instants: Vec<UndoneInstant>,
}

/// One instant that a restore undoes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UndoneInstant {
    /// The instant.
    pub instant: Instant,
    /// Its operation, if its commit names one.
    pub operation: Option<String>,
    /// Table-relative paths of its files.
    pub files: Vec<String>,
    /// Rows that it inserted, by the statistics of its commit.
    pub inserts: i64,
    /// Rows that it changed.
    pub updates: i64,
    /// Rows that it deleted.
    pub deletes: i64,
}

impl Services {
    /// What [`Services::restore`] would undo.
    ///
    /// # Errors
    /// As [`Services::restore`].
    pub async fn plan_restore(&self, savepoint: &InstantTime) -> Result<RestoreReport> {
        let (config, timeline) = self.load().await?;
        let instants = self.instants_to_undo(&config, &timeline, savepoint).await?;
        let mut undone = Vec::new();
        for instant in instants {
            undone.push(self.describe(&config, &timeline, &instant).await?);
        }
        Ok(RestoreReport {
            savepoint: savepoint.clone(),
            restore: None,
            instants: undone,
        })
    }

    /// Takes the table back to the savepoint of the commit that began at `savepoint`. A restore that was cut short is
    /// finished first.
    ///
    /// # Errors
    /// `Invalid` when there is no such savepoint; `Conflict` when a later savepoint or a live writer stands in the way, or
    /// later commits are archived; `Corrupt` when files of the savepoint are missing; what the store says, after which the
    /// same call finishes the job.
    pub async fn restore(&self, savepoint: &InstantTime) -> Result<RestoreReport> {
        let (config, timeline) = self.load().await?;
        finish_pending(&self.storage, &self.env, &config, &timeline).await?;
        let mut report = self.plan_restore(savepoint).await?;
        if report.instants.is_empty() {
            return Ok(report);
        }
        let infos = report
            .instants
            .iter()
            .map(|undone| info_of(&undone.instant));
        let plan = RestorePlan {
            instants_to_rollback: infos.collect(),
            savepoint_to_restore_timestamp: Some(savepoint.to_string()),
            ..RestorePlan::default()
        };
        let (storage, env) = (&self.storage, &self.env);
        let plan = plan.encode_avro()?;
        let action = ServiceAction::request(storage, env, &config, Action::Restore, plan).await?;
        report.restore = Some(action.instant().time.clone());
        finish_restore(storage, env, &config, action).await?;
        Ok(report)
    }

    /// The instants after the savepoint, in the order in which they are undone.
    async fn instants_to_undo(
        &self,
        config: &TableConfig,
        timeline: &ActiveTimeline,
        savepoint: &InstantTime,
    ) -> Result<Vec<Instant>> {
        let target = self.check_savepoint(config, timeline, savepoint).await?;
        let is_six = config.version() == TableVersion::Six;
        let mut clusterings = Vec::new();
        let mut others = Vec::new();
        for instant in timeline.instants() {
            if !instant.action.is_write() || instant.time == target.time {
                continue;
            }
            let is_pending = instant.state != State::Completed;
            if is_pending && is_clustering(config, timeline, instant).await? {
                // Hudi undoes those that began earlier as well, since version 8.
                if !is_six || instant.time > target.time {
                    clusterings.push(instant.clone());
                }
            } else if is_after(config, instant, &target) {
                others.push(instant.clone());
            }
        }
        clusterings.sort_by_key(|instant| Reverse(instant.time.clone()));
        others.sort_by_key(|instant| {
            let end = if is_six {
                instant.time.clone()
            } else {
                instant.end_time().clone()
            };
            let is_pending = instant.completion.is_none() && !is_six;
            Reverse((is_pending, end, instant.time.clone()))
        });
        let undone: Vec<Instant> = clusterings.into_iter().chain(others).collect();
        for instant in &undone {
            let is_kept =
                |other: &&Instant| other.action == Action::Savepoint && other.time == instant.time;
            if let Some(later) = timeline.completed().find(is_kept) {
                return Err(Error::new(
                    ErrorKind::Conflict,
                    format!(
                        "the later savepoint {} stands in the way; delete it first, or restore to it",
                        later.time
                    ),
                ));
            }
        }
        let pending = undone.iter().filter(|it| it.state != State::Completed);
        self.check_dead(pending).await?;
        Ok(undone)
    }

    /// The savepointed commit, when the table can go back to it.
    async fn check_savepoint(
        &self,
        config: &TableConfig,
        timeline: &ActiveTimeline,
        savepoint: &InstantTime,
    ) -> Result<Instant> {
        let savepoints = timeline
            .completed()
            .filter(|instant| instant.action == Action::Savepoint);
        let known: Vec<&Instant> = savepoints.collect();
        let Some(found) = known.iter().find(|instant| instant.time == *savepoint) else {
            let known: Vec<&str> = known.iter().map(|it| it.time.as_str()).collect();
            let known = if known.is_empty() {
                "it has none".to_owned()
            } else {
                format!("it has {}", known.join(", "))
            };
            return Err(Error::invalid(format!(
                "table {} has no savepoint {savepoint}; {known}",
                config.name()
            )));
        };
        let target = timeline
            .completed_writes()
            .find(|instant| instant.time == *savepoint)
            .ok_or_else(|| {
                let path = timeline.path_of(found);
                Error::corrupt(path, "the savepointed commit is not on the timeline")
            })?;
        let metadata: SavepointMetadata = timeline.read_payload(found).await?;
        for (partition, files) in &metadata.partition_metadata {
            let listing = self.storage.list(partition).await?;
            for name in &files.savepoint_data_file {
                let is_there = |file: &crate::storage::ListedFile| file.name == *name;
                if !listing.files.iter().any(is_there) {
                    return Err(Error::corrupt(
                        join_path(partition, name),
                        format!("a file of savepoint {savepoint} is missing: rows would be lost"),
                    ));
                }
            }
        }
        self.check_archive(config, savepoint).await?;
        Ok(target.clone())
    }

    /// Instants that are archived cannot be undone; the names of archive files say how far they reach. (Archival beyond
    /// savepoints is an option of Hudi's, which then refuses to restore, too.)
    async fn check_archive(&self, config: &TableConfig, savepoint: &InstantTime) -> Result<()> {
        if config.version() == TableVersion::Six {
            return Ok(());
        }
        let folder = config
            .properties()
            .get_non_blank(key::HISTORY_PATH)
            .unwrap_or("history");
        let folder = join_path(&config.timeline_dir(), folder);
        for file in self.storage.list(&folder).await?.files {
            let newest = file.name.split('_').nth(1);
            let is_data = file.name.ends_with(".parquet");
            if is_data && newest.is_some_and(|newest| newest > savepoint.as_str()) {
                return Err(Error::new(
                    ErrorKind::Conflict,
                    format!(
                        "instants after {savepoint} are archived ({}), and cannot be undone any more",
                        join_path(&folder, &file.name)
                    ),
                ));
            }
        }
        Ok(())
    }

    async fn describe(
        &self,
        config: &TableConfig,
        timeline: &ActiveTimeline,
        instant: &Instant,
    ) -> Result<UndoneInstant> {
        let mut undone = UndoneInstant {
            instant: instant.clone(),
            operation: None,
            files: Vec::new(),
            inserts: 0,
            updates: 0,
            deletes: 0,
        };
        if instant.state != State::Completed {
            let purpose = Purpose::Restore;
            let debris = Debris::find(&self.storage, config, timeline, instant, purpose).await?;
            undone.files = debris.files.into_iter().collect();
            return Ok(undone);
        }
        let metadata: CommitMetadata = timeline.read_metadata(instant).await?;
        for stat in metadata.write_stats() {
            undone.files.extend(stat.path.clone());
            undone.inserts += stat.num_inserts.unwrap_or(0);
            undone.updates += stat.num_update_writes.unwrap_or(0);
            undone.deletes += stat.num_deletes.unwrap_or(0);
        }
        undone.operation = metadata.operation_type;
        Ok(undone)
    }
}

/// Whether a write came after the savepointed commit.
fn is_after(config: &TableConfig, instant: &Instant, target: &Instant) -> bool {
    let is_compaction = config.table_type() == TableType::MergeOnRead
        && instant.action.comparable() == Action::Commit;
    if config.version() == TableVersion::Six || is_compaction {
        return instant.time > target.time;
    }
    instant
        .completion
        .as_ref()
        .is_none_or(|completion| completion > target.end_time())
}
