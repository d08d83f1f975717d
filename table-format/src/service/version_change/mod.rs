//! Takes a table from one version of the format to another.
//!
//! First everything is brought to rest, as Hudi does: failed writes are rolled back, and all logs are merged into base files,
//! since the versions place logs differently. Then, under the table's lock, timeline and archive are copied into the form and
//! the folder of the other version; the properties follow, and with them the table is of the other version; last the old
//! files go. A run that dies before the properties leaves the table as it was, and copies that the next run makes anew; one
//! that dies after them leaves old files, which the next run removes. (Hudi moves the files, and a table whose move was cut
//! short is of neither version.) Java: UpgradeDowngrade#run, UpgradeDowngradeUtils#rollbackFailedWritesAndCompact.

mod timeline_files;

use crate::config::{MergeMode, TableConfig, TableType, TableVersion};
use crate::error::{Error, ErrorKind, Result};
use crate::file_group::view::latest_slices;
use crate::file_group::{Horizon, Visibility};
use crate::schema::evolution::SchemaHistory;
use crate::service::Services;
use crate::service::compaction::{Due, ExecutedCompaction};
use crate::table::create::{remove_backup, replace_config};
use crate::timeline::{Action, ActiveTimeline};
use crate::transaction::{
    FailedWrites, TableLock, WritableTable, WriterLease, disable_metadata_table, is_clustering,
    roll_back_pending,
};

const STRATEGY_KEY: &str = "hoodie.compaction.strategy";
/// Takes every slice with logs, however many.
const ALL_SLICES: &str =
    "org.apache.hudi.table.action.compact.strategy.UnBoundedCompactionStrategy";

/// What a change of version did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionChange {
    /// The version that the table had.
    pub from: TableVersion,
    /// The version that it has.
    pub to: TableVersion,
    /// Which record of a key counts from now on; an upgrade from version 6 may change it, as Hudi's does.
    pub merge_mode: MergeMode,
    /// Compactions that merged what logs there were.
    pub compactions: Vec<ExecutedCompaction>,
    /// Files of the active timeline that were carried over.
    pub timeline_files: usize,
    /// Archived instants that were carried over.
    pub archived_instants: usize,
}

impl Services {
    /// Takes the table to version `target`. When it has that version already, what a run that died left is removed.
    ///
    /// # Errors
    /// `Unsupported` for a table that can only be read, or that the other version cannot express; `Fenced` or `Conflict`
    /// while somebody writes it, or when a plan stands in the way; what the store says, after which the same call begins
    /// again.
    pub async fn change_version(&self, target: TableVersion) -> Result<VersionChange> {
        let (config, _) = self.load().await?;
        let from = config.version();
        let mut compactions = Vec::new();
        if from != target {
            // The versions name the files of a schema history differently, too.
            SchemaHistory::require_none(&self.storage, config.name()).await?;
            WritableTable::try_new(config.clone(), &self.properties)?;
            config.with_version(target)?;
            compactions = self.bring_to_rest(&config).await?;
        }
        let guard = TableLock::try_new(&self.storage, &self.env)?
            .acquire()
            .await?;
        let changed = self.change_at_rest(target).await;
        guard.release().await;
        let changed = VersionChange {
            compactions,
            ..changed?
        };
        if changed.from != target {
            tracing::info!(table = config.name(), from = %changed.from, to = %target, "changed the version of the table");
        }
        Ok(changed)
    }

    /// Rolls back failed writes and merges all logs.
    async fn bring_to_rest(&self, config: &TableConfig) -> Result<Vec<ExecutedCompaction>> {
        let (storage, env) = (&self.storage, &self.env);
        if !env.locks.is_optimistic() {
            WriterLease::require_none(storage, env).await?;
        }
        let timeline = ActiveTimeline::load(storage, config).await?;
        let failed_writes = FailedWrites::at_rest(env, &self.properties)?;
        roll_back_pending(storage, env, config, &timeline, &failed_writes).await?;
        if config.table_type() != TableType::MergeOnRead {
            return Ok(Vec::new());
        }
        let mut services = self.clone();
        let strategy = (STRATEGY_KEY.to_owned(), ALL_SLICES.to_owned());
        services.properties.extend([strategy]);
        let mut executed = services.execute_pending_compactions().await?;
        while let Some(planned) = services.schedule_compaction(Due::Now).await? {
            let time = &planned.instant.time;
            executed.push(services.execute_compaction(time).await?);
        }
        Ok(executed)
    }

    /// The change itself; the caller holds the table's lock.
    async fn change_at_rest(&self, target: TableVersion) -> Result<VersionChange> {
        let (storage, env) = (&self.storage, &self.env);
        let (config, timeline) = self.load().await?;
        let from = config.version();
        if from == target {
            remove_backup(storage).await?;
            self.remove_other_timeline(&config).await?;
            return Ok(VersionChange {
                from,
                to: target,
                merge_mode: config.merge_mode(),
                compactions: Vec::new(),
                timeline_files: 0,
                archived_instants: 0,
            });
        }
        self.check_is_at_rest(&config, &timeline).await?;
        // Another version of it would be needed too; engines that want one build it anew.
        let config = disable_metadata_table(storage, env, &config).await?;
        let changed = config.with_version(target)?;
        let (mut timeline_files, mut archived_instants) = (0, 0);
        if from.timeline_layout() != target.timeline_layout() {
            timeline_files = timeline_files::copy(storage, &config, &changed).await?;
            archived_instants = self.copy_archive(&config, &changed).await?;
        }
        replace_config(storage, env, &config, &changed).await?;
        self.remove_other_timeline(&changed).await?;
        Ok(VersionChange {
            from,
            to: target,
            merge_mode: changed.merge_mode(),
            compactions: Vec::new(),
            timeline_files,
            archived_instants,
        })
    }

    /// No write is pending, and no log is left that the other version would place differently.
    async fn check_is_at_rest(
        &self,
        config: &TableConfig,
        timeline: &ActiveTimeline,
    ) -> Result<()> {
        let conflict = |what: String| {
            let message = format!("table {}: {what}", config.name());
            Err(Error::new(ErrorKind::Conflict, message))
        };
        for pending in timeline.pending() {
            let stays = match pending.action {
                Action::Clean | Action::Savepoint | Action::Indexing => true,
                _ => is_clustering(config, timeline, pending).await?,
            };
            if !stays {
                return conflict(format!(
                    "{pending} is pending; finish it or roll it back first"
                ));
            }
        }
        if config.table_type() != TableType::MergeOnRead {
            return Ok(());
        }
        let visibility = Visibility::new(timeline, Horizon::Latest);
        let slices = latest_slices(&self.storage, config, timeline, &visibility).await?;
        match slices.iter().find(|slice| !slice.log_files.is_empty()) {
            Some(slice) => conflict(format!(
                "file group {} of partition `{}` has logs that could not be merged, because a plan names it or somebody writes \
                 it; execute or roll back that plan, stop all writers, and try again",
                slice.file_id, slice.partition_path
            )),
            None => Ok(()),
        }
    }

    /// Removes timeline and archive of the layout that the table does not have.
    async fn remove_other_timeline(&self, config: &TableConfig) -> Result<()> {
        let other = timeline_files::other_layout(config)?;
        timeline_files::delete(&self.storage, &other).await?;
        self.delete_archive(&other).await
    }
}
