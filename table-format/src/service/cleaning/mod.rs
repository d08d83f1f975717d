//! Cleaning: deletes the files that no query needs which the policy promises.
//!
//! A plan names the files; it stands on the timeline as `<time>.clean.requested`, which any engine may execute. Executing it
//! deletes them and completes the instant with a record of what went. Pending cleans come first, whoever planned them. When
//! there is nothing to delete there is no instant.
//!
//! options → retention (the earliest commit to retain) → scope (which partitions) → group, protection, selection (which
//! files) → plan → execute. Spec: Hudi 1.2.0, "Clean"; Java: CleanPlanner, CleanActionExecutor.

mod execute;
mod group;
mod options;
mod partition;
mod plan;
mod protection;
mod retention;
mod scope;
mod selection;
mod summary;
#[cfg(test)]
mod tests;

pub(in crate::service) use execute::planned_files;
pub(in crate::service) use group::{PendingCompactions, Version, Versions, groups_of};
pub(in crate::service) use protection::file_name;
pub(in crate::service) use scope::Memory;
pub(in crate::service) use selection::{Replaced, load_replaced};
pub use summary::CleanSummary;

use crate::config::TableConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::service::Services;
use crate::service::cleaning::options::CleanOptions;
use crate::service::cleaning::plan::Planned;
use crate::service::cleaning::protection::Protection;
use crate::service::cleaning::scope::last_clean;
use crate::timeline::metadata::{CleanerPlan, Payload};
use crate::timeline::{Action, ActiveTimeline, Instant, InstantTime, State};
use crate::transaction::ServiceAction;

impl Services {
    /// Cleans the table: finishes pending cleans, then plans and executes a new one. Returns what was deleted, by instant.
    ///
    /// # Errors
    /// `Invalid` for settings that make no sense; `Corrupt` when plans or timeline cannot be read; `Unavailable` when the
    /// store gives up: what is pending then is finished by the next clean.
    pub async fn clean(&self) -> Result<Vec<CleanSummary>> {
        let options = CleanOptions::from_properties(&self.properties)?;
        let (config, timeline) = self.load().await?;
        let mut done = self.finish_pending_cleans(&config, &timeline).await?;
        // Deleting took the metadata table out of use, so that the settings may be others.
        let (config, timeline) = self.load().await?;
        let planned = self.plan_clean(&options, &config, &timeline).await?;
        if let Some(plan) = &planned.plan {
            let requested = self.request_clean(&config, plan).await?;
            let timeline = ActiveTimeline::load(&self.storage, &config).await?;
            done.push(self.finish_clean(&config, &timeline, &requested).await?);
        }
        self.clean_memory.keep(planned.baseline);
        Ok(done)
    }

    /// Cleans as a writer does after a commit: if `hoodie.clean.automatic` allows it, and so many commits have completed
    /// since the last clean as `hoodie.clean.trigger.max.commits` says. Pending cleans are finished in any case.
    ///
    /// # Errors
    /// As [`Services::clean`].
    pub async fn clean_if_due(&self) -> Result<Vec<CleanSummary>> {
        let options = CleanOptions::from_properties(&self.properties)?;
        if !options.is_automatic {
            return Ok(Vec::new());
        }
        let (config, timeline) = self.load().await?;
        if is_due(&options, &timeline).await? {
            return self.clean().await;
        }
        self.finish_pending_cleans(&config, &timeline).await
    }

    /// What [`Services::clean`] would delete; nothing is changed.
    ///
    /// # Errors
    /// As [`Services::clean`].
    pub async fn preview_clean(&self) -> Result<Vec<CleanSummary>> {
        let options = CleanOptions::from_properties(&self.properties)?;
        let (config, timeline) = self.load().await?;
        let mut previews = Vec::new();
        for pending in pending_cleans(&timeline) {
            let plan = timeline.read_plan(pending).await?;
            previews.push(CleanSummary::of_plan(&plan, Some(&pending.time)));
        }
        let Planned { plan, bytes, .. } = self.plan_clean(&options, &config, &timeline).await?;
        if let Some(plan) = plan {
            let mut preview = CleanSummary::of_plan(&plan, None);
            preview.bytes = bytes;
            for earlier in &previews {
                preview.without(earlier);
            }
            if preview.files_count() > 0 {
                previews.push(preview);
            }
        }
        Ok(previews)
    }

    /// Plans a clean without executing it; `None` when there is nothing to delete. While a clean is pending, that is the one.
    ///
    /// # Errors
    /// As [`Services::clean`].
    pub async fn schedule_clean(&self) -> Result<Option<CleanSummary>> {
        let options = CleanOptions::from_properties(&self.properties)?;
        let (config, timeline) = self.load().await?;
        if let Some(pending) = pending_cleans(&timeline).next() {
            let plan = timeline.read_plan(pending).await?;
            return Ok(Some(CleanSummary::of_plan(&plan, Some(&pending.time))));
        }
        let planned = self.plan_clean(&options, &config, &timeline).await?;
        let Some(plan) = planned.plan else {
            self.clean_memory.keep(planned.baseline);
            return Ok(None);
        };
        let requested = self.request_clean(&config, &plan).await?;
        let mut summary = CleanSummary::of_plan(&plan, Some(&requested.time));
        summary.bytes = planned.bytes;
        Ok(Some(summary))
    }

    /// Executes a clean that was planned, here or by another engine.
    ///
    /// # Errors
    /// `NotFound` when no clean of this time is pending; else as [`Services::clean`].
    pub async fn execute_clean(&self, instant: &InstantTime) -> Result<CleanSummary> {
        let (config, timeline) = self.load().await?;
        let pending = pending_cleans(&timeline).find(|pending| pending.time == *instant);
        let Some(pending) = pending else {
            let known = timeline.find(instant, Action::Clean);
            let state = known.map_or("there is no such clean", |_| "it is completed");
            let message = format!("table {}: clean {instant}: {state}", config.name());
            return Err(Error::new(ErrorKind::NotFound, message));
        };
        self.finish_clean(&config, &timeline, pending).await
    }

    /// Executes what is planned, oldest first.
    async fn finish_pending_cleans(
        &self,
        config: &TableConfig,
        timeline: &ActiveTimeline,
    ) -> Result<Vec<CleanSummary>> {
        let mut done = Vec::new();
        for pending in pending_cleans(timeline) {
            done.push(self.finish_clean(config, timeline, pending).await?);
        }
        Ok(done)
    }

    async fn request_clean(&self, config: &TableConfig, plan: &CleanerPlan) -> Result<Instant> {
        let plan = plan.encode_avro()?;
        let action =
            ServiceAction::request(&self.storage, &self.env, config, Action::Clean, plan).await?;
        Ok(action.instant().clone())
    }
}

/// Cleans that were planned and not completed, oldest first.
fn pending_cleans(timeline: &ActiveTimeline) -> impl Iterator<Item = &Instant> {
    timeline
        .pending()
        .filter(|instant| instant.action == Action::Clean && instant.state != State::Completed)
}

/// Java: CleanPlanActionExecutor#needsCleaning.
async fn is_due(options: &CleanOptions, timeline: &ActiveTimeline) -> Result<bool> {
    let last = last_clean(timeline).await?;
    let last = last.map(|(_, metadata)| metadata.last_completed_commit_timestamp);
    let since = timeline
        .completed_writes()
        .filter(|instant| {
            last.as_deref()
                .is_none_or(|last| instant.time.as_str() > last)
        })
        .count();
    Ok(since >= options.trigger_commits)
}

/// The compactions that are pending, by file group.
pub(in crate::service) async fn pending_compactions(
    timeline: &ActiveTimeline,
) -> Result<PendingCompactions> {
    Ok(Protection::load(timeline).await?.compactions().clone())
}
