//! The file groups that pending plans are to rewrite: no other plan may name them (hazards 19 and 20).

use std::collections::HashSet;

use crate::error::Result;
use crate::timeline::metadata::{CompactionPlan, RequestedReplaceMetadata};
use crate::timeline::{Action, ActiveTimeline};

/// Partition path and file id.
pub(super) type GroupId = (String, String);

/// The groups that pending compactions, log compactions and clusterings are to merge or replace.
pub(super) async fn groups_in_plans(timeline: &ActiveTimeline) -> Result<HashSet<GroupId>> {
    let mut groups = HashSet::new();
    for pending in timeline.pending() {
        match pending.action {
            Action::Compaction | Action::LogCompaction => {
                let plan: CompactionPlan = timeline.read_plan(pending).await?;
                let operations = plan.operations.unwrap_or_default().into_iter();
                groups.extend(operations.map(|operation| {
                    (
                        operation.partition_path.unwrap_or_default(),
                        operation.file_id.unwrap_or_default(),
                    )
                }));
            }
            Action::Clustering | Action::ReplaceCommit => {
                let plan: RequestedReplaceMetadata = timeline.read_plan(pending).await?;
                let inputs = plan.clustering_plan.and_then(|plan| plan.input_groups);
                let slices = inputs
                    .into_iter()
                    .flatten()
                    .filter_map(|group| group.slices);
                groups.extend(slices.flatten().map(|slice| {
                    (
                        slice.partition_path.unwrap_or_default(),
                        slice.file_id.unwrap_or_default(),
                    )
                }));
            }
            _ => {}
        }
    }
    Ok(groups)
}
