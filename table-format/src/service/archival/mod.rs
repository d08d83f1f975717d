//! Archival: completed instants move from the active timeline into the archive, so that opening a table stays as cheap as it
//! was on its first day.
//!
//! In this order, so that a crash at any point leaves every instant in one place or in both, and never in none: the file with
//! the instants, the manifest that names it, `_version_` (version 6 has neither), and only then the instants' own files. A run
//! that finds instants in both places deletes them from the timeline before it does anything else. Java: TimelineArchiverV1
//! and V2, LSMTimelineWriter.

mod active_files;
mod archive;
mod convert;
mod facts;
mod legacy_writer;
mod lsm_writer;
mod options;
mod plan;
mod tree;

use std::collections::BTreeSet;

use crate::config::{TableConfig, TableType};
use crate::error::{Error, Result};
use crate::service::Services;
use crate::timeline::archived::ArchivedTimeline;
use crate::timeline::{Action, ActiveTimeline, Instant, InstantTime};
use crate::transaction::{TableLock, delete_markers};
use crate::writer::MARKER_ROOT;

use active_files::TimelineFolder;
use archive::Archive;
use options::ArchivalOptions;

pub use plan::{Limit, Reason};

/// What is to be archived.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ArchivalPlan {
    /// Completed instants by begin time: the oldest commits, and the cleans and rollbacks among them.
    pub instants: Vec<Instant>,
    /// Instants that are archived already: their files were left by a run that died.
    pub left_over: Vec<Instant>,
    /// What keeps further instants from being archived that the settings would archive.
    pub held_back_by: Option<Limit>,
}

/// What was archived.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ArchivalReport {
    /// The plan, carried out.
    pub plan: ArchivalPlan,
    /// Levels of the archive whose files were merged.
    pub merges: usize,
}

impl Services {
    /// What [`Services::archive`] would do now.
    ///
    /// # Errors
    /// `Invalid` for settings that make no sense; `Unsupported` for metadata tables; `Corrupt` when the timeline cannot be
    /// read; what the store says.
    pub async fn plan_archival(&self) -> Result<ArchivalPlan> {
        let options = ArchivalOptions::from_properties(&self.properties)?;
        let (config, timeline) = self.load().await?;
        self.plan_archival_of(&config, &timeline, &options).await
    }

    /// Archives what the settings ask for (`hoodie.keep.max.commits` and the like), and finishes what a run that died left. The
    /// table's lock is held meanwhile.
    ///
    /// # Errors
    /// As [`Services::plan_archival`]; `Conflict` when another process archives at the same time. Whatever the error, no
    /// instant is lost, and archiving again goes on from there.
    pub async fn archive(&self) -> Result<ArchivalReport> {
        let options = ArchivalOptions::from_properties(&self.properties)?;
        self.archive_locked(&options).await
    }

    /// Two archivers at once would lose instants: the timeline is read, and changed, under the table's lock.
    async fn archive_locked(&self, options: &ArchivalOptions) -> Result<ArchivalReport> {
        let guard = TableLock::try_new(&self.storage, &self.env)?
            .acquire()
            .await?;
        let archived = async {
            let (config, timeline) = self.load().await?;
            self.archive_instants(&config, &timeline, options).await
        };
        let archived = archived.await;
        guard.release().await;
        archived
    }

    /// The same if it is due: cheap enough to be called after every commit. `None` when nothing was to be done, or when
    /// `hoodie.archive.automatic` says that somebody else does it.
    ///
    /// # Errors
    /// As [`Services::archive`].
    pub async fn archive_if_due(&self) -> Result<Option<ArchivalReport>> {
        let options = ArchivalOptions::from_properties(&self.properties)?;
        if !options.is_automatic {
            return Ok(None);
        }
        let (_, timeline) = self.load().await?;
        let (_, greatest) = plan::commits_to_keep(&timeline, &options);
        if timeline.completed_writes().count() <= greatest {
            return Ok(None);
        }
        self.archive_locked(&options).await.map(Some)
    }

    async fn plan_archival_of(
        &self,
        config: &TableConfig,
        timeline: &ActiveTimeline,
        options: &ArchivalOptions,
    ) -> Result<ArchivalPlan> {
        check_supported(self.storage.location())?;
        let left_over = self.left_over(config, timeline).await?;
        let last_clean = facts::last_clean(timeline, options.stops_at_clean).await?;
        let is_merge_on_read = config.table_type() == TableType::MergeOnRead;
        let mut limits = plan::limits(timeline, options, is_merge_on_read, &last_clean);
        limits.extend(facts::metadata_table(&self.storage, config, timeline).await?);
        let mut choice = plan::choose(timeline, options, &limits);
        let late_log = facts::first_late_log(&self.storage, config, timeline, &choice.instants);
        if let Some(limit) = late_log.await? {
            limits.push(limit);
            choice = plan::choose(timeline, options, &limits);
        }
        let is_left_over: BTreeSet<&Instant> = left_over.iter().collect();
        choice
            .instants
            .retain(|instant| !is_left_over.contains(instant));
        Ok(ArchivalPlan {
            instants: choice.instants,
            left_over,
            held_back_by: choice.held_back_by,
        })
    }

    /// Active instants that the archive holds already.
    async fn left_over(
        &self,
        config: &TableConfig,
        timeline: &ActiveTimeline,
    ) -> Result<Vec<Instant>> {
        let may_be_archived = |instant: &&Instant| {
            instant.action.is_write() || matches!(instant.action, Action::Clean | Action::Rollback)
        };
        let active: BTreeSet<Instant> = timeline
            .completed()
            .filter(may_be_archived)
            .cloned()
            .collect();
        let times: BTreeSet<InstantTime> =
            active.iter().map(|instant| instant.time.clone()).collect();
        let archive = ArchivedTimeline::load(&self.storage, config).await?;
        let archived = archive.last_run().instants_at(&times).await?;
        Ok(archived
            .into_iter()
            .filter(|instant| active.contains(instant))
            .collect())
    }

    async fn archive_instants(
        &self,
        config: &TableConfig,
        timeline: &ActiveTimeline,
        options: &ArchivalOptions,
    ) -> Result<ArchivalReport> {
        let plan = self.plan_archival_of(config, timeline, options).await?;
        let folder = TimelineFolder::load(&self.storage, config).await?;
        if !plan.left_over.is_empty() {
            let files = folder.files_of(&plan.left_over);
            folder.delete(&self.storage, &files).await?;
        }
        let mut archive = Archive::load(&self.storage, &self.env, config).await?;
        if !plan.instants.is_empty() {
            let files = folder.files_of(&plan.instants);
            let (storage, env) = (&self.storage, &self.env);
            archive
                .store(storage, env, &folder, &files, options.batch)
                .await?;
            self.delete_left_markers(&plan.instants).await?;
            folder.delete(&self.storage, &files).await?;
            tracing::info!(table = config.name(), instants = files.len(), "archived");
        }
        let merges = archive.merge(options).await?;
        Ok(ArchivalReport { plan, merges })
    }

    /// Markers of an archived instant tell nobody anything any more.
    async fn delete_left_markers(&self, instants: &[Instant]) -> Result<()> {
        let folders: BTreeSet<String> = self
            .storage
            .list(MARKER_ROOT)
            .await?
            .dirs
            .into_iter()
            .collect();
        for instant in instants {
            if folders.contains(instant.time.as_str()) {
                delete_markers(&self.storage, &instant.time).await?;
            }
        }
        Ok(())
    }
}

fn check_supported(location: &str) -> Result<()> {
    if location.ends_with("/.hoodie/metadata") {
        return Err(Error::unsupported(format!(
            "{location} is a metadata table; it is archived by the engine that writes it"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
