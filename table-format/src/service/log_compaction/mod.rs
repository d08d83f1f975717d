//! Log compaction: the logs of a file slice are folded into one log, whose blocks name those that they take the place of.
//!
//! The base file stays what it is, so much less is written than by a compaction, and readers meet one record a key instead of
//! one a change. The folded logs stay beside the new one until a compaction of the slice is cleaned: whoever does not know of log
//! compactions reads them all, in their order. Writers go on meanwhile; what they log counts behind what was folded. Java:
//! ScheduleCompactionActionExecutor, HoodieLogCompactionPlanGenerator, LogCompactionExecutionHelper.

mod execute;
mod fold;
mod plan;

use crate::config::{TableConfig, TableType};
use crate::error::{Error, ErrorKind, Result};
use crate::service::Services;
use crate::service::compaction::{Due, ExecutedCompaction, PlannedCompaction};
use crate::timeline::{Action, Instant, InstantTime};

use plan::LogCompactionOptions;

impl Services {
    /// Whether `hoodie.log.compaction.inline` asks for log compactions beside the writer; they are off by default, as Hudi's are.
    ///
    /// # Errors
    /// `Invalid` for a bad setting.
    pub fn compacts_logs_beside_writers(&self) -> Result<bool> {
        Ok(LogCompactionOptions::from_properties(&self.properties)?.is_inline)
    }

    /// Plans the folding of logs: of slices with at least `hoodie.log.compaction.blocks.threshold` logs that are not folded yet,
    /// or, when it is due [`Due::Now`], with more than one. `None` when there are none.
    ///
    /// # Errors
    /// As [`Services::schedule_compaction`]; `Unsupported` on version 6, whose logs other writers append to.
    pub async fn schedule_log_compaction(&self, due: Due) -> Result<Option<PlannedCompaction>> {
        let (config, timeline) = self.load().await?;
        check_can_fold(&config)?;
        let options = LogCompactionOptions::from_properties(&self.properties)?;
        plan::schedule(&self.storage, &self.env, &config, timeline, &options, due).await
    }

    /// The log compactions that are planned and not completed, oldest first, whoever planned them.
    ///
    /// # Errors
    /// What the store says.
    pub async fn pending_log_compactions(&self) -> Result<Vec<Instant>> {
        let (_, timeline) = self.load().await?;
        let pending = timeline.pending();
        let pending = pending.filter(|instant| instant.action == Action::LogCompaction);
        Ok(pending.cloned().collect())
    }

    /// Executes a planned log compaction, or begins again where an earlier attempt failed.
    ///
    /// # Errors
    /// As [`Services::execute_compaction`]; `Conflict` also when a base file of the plan's groups was written meanwhile.
    pub async fn execute_log_compaction(&self, time: &InstantTime) -> Result<ExecutedCompaction> {
        let (config, timeline) = self.load().await?;
        check_can_fold(&config)?;
        let options = LogCompactionOptions::from_properties(&self.properties)?;
        let pending = timeline
            .find(time, Action::LogCompaction)
            .filter(|instant| instant.action == Action::LogCompaction)
            .cloned()
            .ok_or_else(|| {
                let message = format!(
                    "table {}: no log compaction {time} is pending; `lakebed table timeline` lists those that are",
                    config.name()
                );
                Error::new(ErrorKind::NotFound, message)
            })?;
        let executed = execute::execute(
            &self.storage,
            &self.env,
            &config,
            &timeline,
            &pending,
            &options,
        );
        executed.await.map_err(|error| {
            error.context(format!("log compaction {time} of table {}", config.name()))
        })
    }

    /// Executes all planned log compactions, oldest first. One that fails does not hold up the others.
    ///
    /// # Errors
    /// The first of those of [`Services::execute_log_compaction`]; all other plans are executed then.
    pub async fn execute_pending_log_compactions(&self) -> Result<Vec<ExecutedCompaction>> {
        let mut executed = Vec::new();
        let mut failed = None;
        for pending in self.pending_log_compactions().await? {
            match self.execute_log_compaction(&pending.time).await {
                Ok(done) => executed.push(done),
                Err(error) => {
                    tracing::warn!(instant = %pending.time, %error, "a log compaction failed; its plan stays");
                    failed.get_or_insert(error);
                }
            }
        }
        failed.map_or(Ok(executed), Err)
    }

    /// Plans a log compaction when it is due, and executes all plans.
    ///
    /// # Errors
    /// As [`Services::schedule_log_compaction`] and [`Services::execute_log_compaction`].
    pub async fn compact_logs_if_due(&self) -> Result<Vec<ExecutedCompaction>> {
        self.schedule_log_compaction(Due::WhenTriggered).await?;
        self.execute_pending_log_compactions().await
    }
}

fn check_can_fold(config: &TableConfig) -> Result<()> {
    let refuse = |what: &str| {
        Err(Error::unsupported(format!(
            "table {}: {what}",
            config.name()
        )))
    };
    if config.table_type() != TableType::MergeOnRead {
        return refuse("it is copy-on-write and has no logs to compact");
    }
    if config.version().shares_logs() {
        return refuse(
            "log compactions of version 6 can be read only; `lakebed table upgrade` brings the table to version 9",
        );
    }
    if config.column_merge()?.is_some() {
        return refuse(
            "its records are merged column by column; compact it with the engine that wrote it",
        );
    }
    Ok(())
}
