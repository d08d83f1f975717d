//! Compaction: the logs of file slices are merged into new base files.
//!
//! A plan names slices, each with its base file and every log that was completed before it. Its execution writes one base
//! file per slice, under the instant of the plan; the rows stay what they were, with the commit times that they had. Writers
//! go on meanwhile: what completes after the plan was made lies on top of the new base file. Plans and executions may be
//! ours or Spark's or Flink's. Java: ScheduleCompactionActionExecutor, RunCompactionActionExecutor, HoodieCompactor.

mod execute;
mod inputs;
mod merge;
mod options;
mod plan;
mod strategy;
mod trigger;

use crate::config::{TableConfig, TableType};
use crate::error::{Error, ErrorKind, Result};
use crate::service::Services;
use crate::timeline::{Action, Instant, InstantTime};

pub(in crate::service) use execute::{begin, check_still_ours};
use options::CompactionOptions;
pub(in crate::service) use plan::{Planner, plan_of};
pub(in crate::service) use strategy::metrics_of;
pub(in crate::service) use trigger::delta_commits_since_compaction;

/// Whether a compaction is planned whatever has happened since the last one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Only when `hoodie.compact.inline.trigger.strategy` says so.
    WhenTriggered,
    /// At once, if there is any log to merge.
    Now,
}

/// A compaction that stands on the timeline, to be executed by anyone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedCompaction {
    /// The requested instant.
    pub instant: Instant,
    /// Slices that it takes.
    pub groups: u64,
    /// Log files that it merges.
    pub log_files: u64,
    /// Their length.
    pub log_bytes: u64,
}

/// What a compaction did, or a log compaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecutedCompaction {
    /// The completed instant: a commit, of a log compaction a delta commit.
    pub instant: Instant,
    /// Slices that were merged.
    pub groups: u64,
    /// Log files that were merged.
    pub log_files: u64,
    /// Rows in the new base files; of a log compaction the rows and deletes in the new logs.
    pub rows: u64,
    /// Length of the base and log files that were read.
    pub bytes_in: u64,
    /// Length of the new files.
    pub bytes_out: u64,
}

impl Services {
    /// Plans a compaction of the slices that `hoodie.compaction.strategy` chooses: those with logs whose file groups stand
    /// in no other plan. `None` when it is not due or there is nothing to merge; nothing is written then. On version 6 none is
    /// due while a write is pending: its logs would be lost to the plan.
    ///
    /// # Errors
    /// `Unsupported` for a table that is not merge-on-read; `Invalid` for a bad setting; `Conflict` when writers complete so
    /// quickly one after the other that no plan can be complete, or, on version 6, a write is pending and the plan is to be
    /// made at once; what the store says.
    pub async fn schedule_compaction(&self, due: Due) -> Result<Option<PlannedCompaction>> {
        let (config, timeline) = self.load().await?;
        check_has_logs(&config)?;
        let options = CompactionOptions::from_properties(&self.properties)?;
        plan::schedule(&self.storage, &self.env, &config, timeline, &options, due).await
    }

    /// The compactions that are planned and not completed, oldest first, whoever planned them.
    ///
    /// # Errors
    /// What the store says.
    pub async fn pending_compactions(&self) -> Result<Vec<Instant>> {
        let (_, timeline) = self.load().await?;
        let pending = timeline
            .pending()
            .filter(|instant| instant.action == Action::Compaction);
        Ok(pending.cloned().collect())
    }

    /// Executes a planned compaction, or begins again where an earlier attempt failed.
    ///
    /// # Errors
    /// `NotFound` when no such plan is pending; `Unsupported` for a table that can only be read; `Corrupt` when files of the
    /// plan are gone or are not those of the slice; `Conflict` when somebody else executed the plan meanwhile; what the
    /// store says. The plan stays, and may be executed again.
    pub async fn execute_compaction(&self, time: &InstantTime) -> Result<ExecutedCompaction> {
        let (config, timeline) = self.load().await?;
        check_can_merge(&config)?;
        let options = CompactionOptions::from_properties(&self.properties)?;
        let pending = timeline
            .find(time, Action::Compaction)
            .filter(|instant| instant.action == Action::Compaction)
            .cloned()
            .ok_or_else(|| {
                let message = format!(
                    "table {}: no compaction {time} is pending; `lakebed table timeline` lists those that are",
                    config.name()
                );
                Error::new(ErrorKind::NotFound, message)
            })?;
        execute::execute(
            &self.storage,
            &self.env,
            &config,
            &timeline,
            &pending,
            &options,
        )
        .await
        .map_err(|error| error.context(format!("compaction {time} of table {}", config.name())))
    }

    /// Executes all planned compactions, oldest first. One that fails does not hold up the others.
    ///
    /// # Errors
    /// The first of those of [`Services::execute_compaction`]; all other plans are executed then.
    pub async fn execute_pending_compactions(&self) -> Result<Vec<ExecutedCompaction>> {
        let mut executed = Vec::new();
        let mut failed = None;
        for pending in self.pending_compactions().await? {
            match self.execute_compaction(&pending.time).await {
                Ok(done) => executed.push(done),
                Err(error) => {
                    tracing::warn!(instant = %pending.time, %error, "a compaction failed; its plan stays");
                    failed.get_or_insert(error);
                }
            }
        }
        failed.map_or(Ok(executed), Err)
    }

    /// Plans a compaction when it is due, and executes all plans: that one, and those that others have left. What a service
    /// beside a writer calls after each commit; most of the time it reads the timeline and is done.
    ///
    /// # Errors
    /// As [`Services::schedule_compaction`] and [`Services::execute_compaction`].
    pub async fn compact_if_due(&self) -> Result<Vec<ExecutedCompaction>> {
        self.schedule_compaction(Due::WhenTriggered).await?;
        self.execute_pending_compactions().await
    }
}

fn check_has_logs(config: &TableConfig) -> Result<()> {
    let refuse = |what: &str| {
        Err(Error::unsupported(format!(
            "table {}: {what}",
            config.name()
        )))
    };
    if config.table_type() != TableType::MergeOnRead {
        return refuse("it is copy-on-write and has no logs to compact");
    }
    Ok(())
}

/// What the merge rules of a table forbid, the reader says itself.
fn check_can_merge(config: &TableConfig) -> Result<()> {
    check_has_logs(config)?;
    let refuse = |what: String| {
        let message = format!(
            "table {}: {what}; compact it with the engine that wrote it",
            config.name()
        );
        Err(Error::unsupported(message))
    };
    if config.drops_partition_columns() {
        return refuse("its base files lack the partition columns".to_owned());
    }
    if config.column_merge()?.is_some() {
        return refuse("its records are merged column by column".to_owned());
    }
    if config.base_file_format() != "PARQUET" {
        return refuse(format!(
            "its base files are of format {}",
            config.base_file_format()
        ));
    }
    Ok(())
}
