//! What overwrites and dropped partitions put out of sight, and the plans of services that stand against it.
//!
//! Spec: Hudi 1.2.0, "Replace commit"; Java: SparkInsertOverwriteCommitActionExecutor, DeletePartitionUtils.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::{Error, ErrorKind, Result};
use crate::timeline::metadata::{
    CompactionPlan, Payload, RequestedReplaceMetadata, WriteOperation,
};
use crate::timeline::{Action, ActiveTimeline};
use crate::transaction::commit::Transaction;

/// File ids by partition path.
pub(crate) type Replaced = BTreeMap<String, Vec<String>>;

impl Transaction {
    /// The groups that this instant replaces: those of the partitions that it overwrites or drops, except its own.
    pub(super) fn replaced(&self) -> Replaced {
        let known = self.upserter.groups();
        let paths: BTreeSet<&str> = match self.operation {
            WriteOperation::InsertOverwriteTable => {
                known.partitions().map(|(path, _)| path).collect()
            }
            WriteOperation::InsertOverwrite => self
                .upserter
                .written()
                .filter_map(|stat| stat.partition_path.as_deref())
                .collect(),
            WriteOperation::DeletePartition => {
                self.incoming.dropped.iter().map(String::as_str).collect()
            }
            _ => BTreeSet::new(),
        };
        let of_partition = |path: &str| {
            let groups = known.partition(path).into_iter();
            let groups = groups.flat_map(|partition| partition.groups().iter());
            let old = groups.filter(|group| group.slice.base_instant != self.context.instant);
            old.map(|group| group.slice.file_id.clone()).collect()
        };
        paths
            .into_iter()
            .map(|path| (path.to_owned(), of_partition(path)))
            .collect()
    }
}

/// What the requested file of an instant says: nothing for a commit, a record for a replace commit.
pub(super) fn requested_content(operation: WriteOperation) -> Result<Vec<u8>> {
    if !operation.is_replace() {
        return Ok(Vec::new());
    }
    let content = if operation == WriteOperation::DeletePartition {
        RequestedReplaceMetadata {
            operation_type: Some(operation.as_str().to_owned()),
            extra_metadata: Some(BTreeMap::new()),
            version: Some(1),
            ..RequestedReplaceMetadata::default()
        }
    } else {
        RequestedReplaceMetadata::default()
    };
    content.encode_avro()
}

/// Refuses to drop partitions that a compaction is planned for, as Hudi does. Plans of a clustering stand against every
/// write to its groups and are looked at elsewhere (hazard 19).
///
/// # Errors
/// `Conflict`, naming the plan.
pub(super) async fn refuse_planned_compactions(
    timeline: &ActiveTimeline,
    operation: WriteOperation,
    replaced: &Replaced,
) -> Result<()> {
    if operation != WriteOperation::DeletePartition {
        return Ok(());
    }
    let plans = timeline
        .pending()
        .filter(|instant| matches!(instant.action, Action::Compaction | Action::LogCompaction));
    for instant in plans {
        let plan: CompactionPlan = timeline.read_plan(instant).await?;
        let mut operations = plan.operations.iter().flatten();
        let planned = operations.find_map(|operation| {
            operation
                .partition_path
                .as_ref()
                .filter(|path| replaced.contains_key(*path))
        });
        if let Some(path) = planned {
            return Err(Error::new(
                ErrorKind::Conflict,
                format!(
                    "partition `{path}` has a planned compaction ({}); execute it before the partition is dropped",
                    timeline.path_of(instant)
                ),
            ));
        }
    }
    Ok(())
}
