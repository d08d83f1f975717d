//! When a clustering is due beside a writer.
//!
//! Java: ClusteringPlanActionExecutor#createClusteringPlan, BaseHoodieTimeline#getLastClusteringInstant.

use crate::config::TableConfig;
use crate::error::Result;
use crate::timeline::metadata::WriteOperation;
use crate::timeline::{Action, ActiveTimeline, Instant, State};
use crate::transaction::is_clustering;

/// After how many commits a clustering is due.
#[derive(Debug, Clone, Copy)]
pub(super) struct Trigger {
    /// `hoodie.clustering.inline.max.commits`, if `hoodie.clustering.inline` is set.
    pub(super) inline_commits: Option<usize>,
    /// `hoodie.clustering.async.max.commits`, if `hoodie.clustering.async.enabled` is set.
    pub(super) async_commits: Option<usize>,
}

impl Trigger {
    /// Whether a clustering is ever due.
    pub(super) fn is_asked_for(&self) -> bool {
        self.inline_commits.is_some() || self.async_commits.is_some()
    }

    /// Whether enough writes have completed since the last clustering, planned or done.
    pub(super) async fn is_due(
        &self,
        config: &TableConfig,
        timeline: &ActiveTimeline,
    ) -> Result<bool> {
        let Some(commits_min) = self.inline_commits.max(self.async_commits) else {
            return Ok(false);
        };
        let mut commits = 0;
        for instant in timeline.instants().iter().rev() {
            let is_write = instant.action.is_write() && instant.state == State::Completed;
            if is_planned_or_done(config, timeline, instant).await? {
                break;
            }
            commits += usize::from(is_write);
            if commits >= commits_min {
                return Ok(true);
            }
        }
        Ok(commits >= commits_min && commits > 0)
    }
}

/// Whether an instant is a clustering, planned or done.
pub(super) async fn is_planned_or_done(
    config: &TableConfig,
    timeline: &ActiveTimeline,
    instant: &Instant,
) -> Result<bool> {
    if instant.state != State::Completed {
        return is_clustering(config, timeline, instant).await;
    }
    if instant.action != Action::ReplaceCommit {
        return Ok(false);
    }
    let metadata = timeline.read_metadata(instant).await?;
    Ok(metadata.operation()? == Some(WriteOperation::Cluster))
}
