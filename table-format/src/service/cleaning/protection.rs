//! What must not be deleted, whatever the policy says: savepointed files, and what pending compactions and clusterings read.
//!
//! Java: CleanPlanner#isFileSliceExistInSavepointedFiles, #isFileSliceNeededForPendingMajorOrMinorCompaction. Hudi keeps the
//! inputs of a pending clustering by the earliest commit to retain only, which not every policy has; here they are named.

use std::collections::{HashMap, HashSet};

use crate::error::{ErrorKind, Result};
use crate::service::cleaning::group::{PendingCompactions, Version};
use crate::timeline::metadata::{
    CompactionPlan, RequestedReplaceMetadata, SavepointMetadata, SliceInfo,
};
use crate::timeline::{Action, ActiveTimeline, Instant, InstantTime, State};

type GroupKey = (String, String);

/// Files and slices that stay.
#[derive(Debug, Default)]
pub(super) struct Protection {
    savepointed: HashSet<String>,
    clustered: HashSet<String>,
    /// Base instant of the oldest slice that a pending compaction reads; `None`: all of them.
    compacted: HashMap<GroupKey, Option<InstantTime>>,
    compactions: PendingCompactions,
}

impl Protection {
    /// Reads savepoints and pending plans.
    pub(super) async fn load(timeline: &ActiveTimeline) -> Result<Self> {
        let mut protection = Self {
            savepointed: savepointed_files(timeline).await?,
            ..Self::default()
        };
        for instant in timeline.pending() {
            match instant.action {
                Action::Compaction | Action::LogCompaction => {
                    let plan = timeline.read_plan(instant).await?;
                    protection.add_compaction(instant, plan)?;
                }
                Action::Clustering | Action::ReplaceCommit => {
                    protection
                        .clustered
                        .extend(clustered_files(timeline, instant).await?);
                }
                Action::Commit
                | Action::DeltaCommit
                | Action::Clean
                | Action::Rollback
                | Action::Restore
                | Action::Savepoint
                | Action::Indexing => {}
            }
        }
        Ok(protection)
    }

    /// The file groups that a pending compaction has opened a slice in.
    pub(super) fn compactions(&self) -> &PendingCompactions {
        &self.compactions
    }

    /// Whether a savepoint names one of the files: its slice stays as a whole.
    pub(super) fn is_savepointed(&self, version: &Version) -> bool {
        version.files().any(|name| self.savepointed.contains(name))
    }

    /// Whether a pending clustering reads one of the files.
    pub(super) fn is_clustered(&self, version: &Version) -> bool {
        version.files().any(|name| self.clustered.contains(name))
    }

    /// Whether a file group is part of a pending compaction or log compaction.
    pub(super) fn is_in_compaction(&self, group: &GroupKey) -> bool {
        self.compacted.contains_key(group)
    }

    /// Whether a pending compaction reads the slice, or later ones of its group.
    pub(super) fn is_compacted(&self, group: &GroupKey, base_instant: &InstantTime) -> bool {
        self.compacted
            .get(group)
            .is_some_and(|oldest| oldest.as_ref().is_none_or(|oldest| base_instant >= oldest))
    }

    fn add_compaction(&mut self, instant: &Instant, plan: CompactionPlan) -> Result<()> {
        for operation in plan.operations.into_iter().flatten() {
            let Some(file_id) = operation.file_id else {
                continue;
            };
            let group = (operation.partition_path.unwrap_or_default(), file_id);
            let base = operation.base_instant_time;
            let base = base.as_deref().map(str::parse).transpose()?;
            if instant.action == Action::Compaction {
                self.compactions.insert(group.clone(), instant.time.clone());
            }
            // `None` is the least.
            let oldest = self.compacted.entry(group).or_insert_with(|| base.clone());
            *oldest = oldest.take().min(base);
        }
        Ok(())
    }
}

/// Names of all files that completed savepoints list.
pub(super) async fn savepointed_files(timeline: &ActiveTimeline) -> Result<HashSet<String>> {
    let mut files = HashSet::new();
    for savepoint in savepoints(timeline) {
        let metadata: SavepointMetadata = timeline.read_payload(savepoint).await?;
        let partitions = metadata.partition_metadata.into_values();
        files.extend(partitions.flat_map(|partition| partition.savepoint_data_file));
    }
    Ok(files)
}

/// The completed savepoints.
pub(super) fn savepoints(timeline: &ActiveTimeline) -> impl Iterator<Item = &Instant> {
    timeline
        .completed()
        .filter(|instant| instant.action == Action::Savepoint)
}

/// Names of the files that a pending clustering reads. On version 6 a clustering is a replace commit; one without a plan is
/// an overwrite.
async fn clustered_files(timeline: &ActiveTimeline, instant: &Instant) -> Result<Vec<String>> {
    let requested = Instant {
        state: State::Requested,
        ..instant.clone()
    };
    let plan: RequestedReplaceMetadata = match timeline.read_payload(&requested).await {
        Ok(plan) => plan,
        Err(error)
            if error.kind() == ErrorKind::NotFound && instant.action == Action::ReplaceCommit =>
        {
            return Ok(Vec::new());
        }
        Err(error) => return Err(error),
    };
    let groups = plan
        .clustering_plan
        .and_then(|plan| plan.input_groups)
        .unwrap_or_default();
    let slices = groups
        .into_iter()
        .flat_map(|group| group.slices.unwrap_or_default());
    Ok(slices.flat_map(files_of).collect())
}

fn files_of(slice: SliceInfo) -> impl Iterator<Item = String> {
    let logs = slice.delta_file_paths.into_iter().flatten();
    logs.chain(slice.data_file_path)
        .map(|path| file_name(&path).to_owned())
}

/// The last segment of a path or location.
pub(in crate::service) fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}
