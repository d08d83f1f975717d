//! What others did to the table while an instant of ours was under way, and whether ours may still be completed.
//!
//! To be asked under the table's lock, right before the completed file. Conflicts are found by file group, as Hudi's writers
//! find them, and beyond that by key range: two writers that insert the same key into different groups touch no common file,
//! and yet the key would be there twice. Groups that are the same to the index, as two of one bucket, are the same here. Spec: Hudi 1.2.0, "Locks and concurrency control"; Java:
//! SimpleConcurrentFileWritesConflictResolutionStrategy, ConcurrentOperation.

use std::collections::BTreeSet;

use crate::config::IndexConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::index::groups::FileGroups;
use crate::index::{Index, index_of};
use crate::timeline::metadata::{
    CommitMetadata, CompactionPlan, RequestedReplaceMetadata, RollbackPlan, WriteOperation,
    WriteStat,
};
use crate::timeline::{Action, ActiveTimeline, Instant, InstantTime, State};
use crate::transaction::replace::Replaced;
use crate::transaction::rollback::is_clustering;
use crate::writer::WriteContext;

/// A file group: partition path, and file id or what of it counts for the index.
type GroupId = (String, String);

/// The file groups that an instant has changed.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// All of them.
    touched: BTreeSet<GroupId>,
    /// Those of which it has written base files, or which it replaces.
    rewritten: BTreeSet<GroupId>,
    /// Those that have got new keys.
    inserted: BTreeSet<GroupId>,
    /// Partitions of which it replaces all there is.
    replaced: BTreeSet<String>,
}

impl Changes {
    /// The changes that `stats` tell of.
    pub(crate) fn of<'a>(
        index: &dyn Index,
        stats: impl IntoIterator<Item = &'a WriteStat>,
    ) -> Self {
        let mut changes = Self::default();
        for stat in stats {
            let Some(id) = group_id(index, stat) else {
                continue;
            };
            if stat.log_files.is_none() {
                changes.rewritten.insert(id.clone());
            }
            if stat.num_inserts.is_none_or(|inserts| inserts > 0) {
                changes.inserted.insert(id.clone());
            }
            changes.touched.insert(id);
        }
        changes
    }

    /// The same, and file groups that are replaced.
    pub(crate) fn with_replaced(mut self, index: &dyn Index, replaced: &Replaced) -> Self {
        for (partition, file_ids) in replaced {
            self.replaced.insert(partition.clone());
            for file_id in file_ids {
                let id = (partition.clone(), index.group_name(file_id).to_owned());
                self.rewritten.insert(id.clone());
                self.touched.insert(id);
            }
        }
        self
    }

    /// Whether another instant has put rows where this one replaces all there is.
    fn replaces_any_of(&self, theirs: &Self) -> bool {
        let mut touched = theirs.touched.iter();
        touched.any(|(partition, _)| self.replaced.contains(partition))
    }

    /// Whether there are new keys.
    pub(crate) fn has_inserts(&self) -> bool {
        !self.inserted.is_empty()
    }

    /// What of these changes a compaction stands against, which changes no row itself: logs of ours lie on top of what it
    /// writes, unless their names say otherwise.
    fn beside_compaction(
        &self,
        context: &WriteContext,
        compaction: &Instant,
    ) -> &BTreeSet<GroupId> {
        if context.log_names.lie_on(&compaction.time) {
            &self.rewritten
        } else {
            &self.touched
        }
    }

    /// The changes of a completed instant.
    fn of_commit(index: &dyn Index, metadata: &CommitMetadata) -> Self {
        let mut changes = Self::of(index, metadata.write_stats());
        let replaced = &metadata.partition_to_replace_file_ids;
        if metadata.operation_type.as_deref() == Some(WriteOperation::Cluster.as_str()) {
            // The keys of its new groups are those of the groups that it replaces, and no partition loses a row.
            changes.inserted.clear();
            return Self {
                replaced: BTreeSet::new(),
                ..changes.with_replaced(index, replaced)
            };
        }
        changes.with_replaced(index, replaced)
    }
}

/// Refuses to complete `ours` when another writer has rolled it back, or has changed, is to replace or is to compact a file
/// group that it changes. Returns the groups that got new keys from others since it began.
///
/// # Errors
/// `Conflict`; what the store says.
pub(crate) async fn check_conflicts(
    context: &WriteContext,
    timeline: &ActiveTimeline,
    ours: &Instant,
    changes: &Changes,
    seen: &BTreeSet<InstantTime>,
) -> Result<BTreeSet<GroupId>> {
    let index = context.index.as_ref();
    let found = timeline.find(&ours.time, ours.action);
    // Hazard 17: a Spark writer with the EAGER policy rolls back what it finds pending, and a completed file written
    // afterwards is accepted though the data is gone.
    if found.is_none_or(|instant| instant.state != State::Inflight) {
        return Err(conflict(
            ours,
            "another writer has rolled it back; write its rows again",
        ));
    }
    check_plans(context, timeline, ours, changes).await?;
    let mut inserted = BTreeSet::new();
    let others = timeline
        .completed_writes()
        .filter(|instant| !seen.contains(&instant.time));
    for other in others {
        let metadata = timeline.read_metadata(other).await?;
        let theirs = Changes::of_commit(index, &metadata);
        let is_compaction = metadata.compacted == Some(true);
        let mine = if is_compaction {
            changes.beside_compaction(context, other)
        } else {
            &changes.touched
        };
        if !mine.is_disjoint(&theirs.touched) || changes.replaces_any_of(&theirs) {
            let what = format!("{other} has changed one of its file groups; write its rows again");
            return Err(conflict(ours, what));
        }
        if !is_compaction {
            inserted.extend(theirs.inserted);
        }
    }
    Ok(inserted)
}

/// Refuses to complete a clustering when a write that is not among those `seen` has changed a file group that it replaces:
/// the rows of that write would go out of sight.
///
/// # Errors
/// `Conflict`; what the store says.
pub(crate) async fn check_clustered(
    timeline: &ActiveTimeline,
    clustering: &Instant,
    replaced: &Replaced,
    seen: &BTreeSet<InstantTime>,
) -> Result<()> {
    // By file id: whichever index the writers use.
    let index = index_of(&IndexConfig::KeyRange);
    let mine = Changes::default()
        .with_replaced(index.as_ref(), replaced)
        .touched;
    let others = timeline
        .completed_writes()
        .filter(|instant| !seen.contains(&instant.time));
    for other in others {
        let theirs = Changes::of_commit(index.as_ref(), &timeline.read_metadata(other).await?);
        if !mine.is_disjoint(&theirs.touched) {
            let what = format!(
                "{other} has changed one of the file groups that it replaces; execute the plan again"
            );
            return Err(conflict(clustering, what));
        }
    }
    Ok(())
}

/// Pending plans that name file groups of ours.
async fn check_plans(
    context: &WriteContext,
    timeline: &ActiveTimeline,
    ours: &Instant,
    changes: &Changes,
) -> Result<()> {
    let index = context.index.as_ref();
    for plan in timeline.pending() {
        let (planned, mine, what) = if is_clustering(&context.config, timeline, plan).await? {
            let planned = clustered(timeline, plan).await?;
            (planned, &changes.touched, "replace")
        } else if plan.action == Action::Compaction {
            let planned = compacted(timeline, plan).await?;
            (planned, changes.beside_compaction(context, plan), "compact")
        } else {
            continue;
        };
        let planned = planned
            .into_iter()
            .map(|(partition, file_id)| (partition, index.group_name(&file_id).to_owned()));
        if !mine.is_disjoint(&planned.collect()) {
            let path = timeline.path_of(plan);
            let what = format!(
                "it changes file groups that {path} is to {what}; execute or cancel that plan first"
            );
            return Err(conflict(ours, what));
        }
    }
    Ok(())
}

async fn clustered(timeline: &ActiveTimeline, plan: &Instant) -> Result<BTreeSet<GroupId>> {
    let planned: RequestedReplaceMetadata = timeline.read_plan(plan).await?;
    let groups = planned.clustering_plan.and_then(|plan| plan.input_groups);
    let slices = groups
        .unwrap_or_default()
        .into_iter()
        .flat_map(|group| group.slices);
    let ids = slices
        .flatten()
        .filter_map(|slice| Some((slice.partition_path?, slice.file_id?)));
    Ok(ids.collect())
}

async fn compacted(timeline: &ActiveTimeline, plan: &Instant) -> Result<BTreeSet<GroupId>> {
    let planned: CompactionPlan = timeline.read_plan(plan).await?;
    let operations = planned.operations.unwrap_or_default().into_iter();
    let ids =
        operations.filter_map(|operation| Some((operation.partition_path?, operation.file_id?)));
    Ok(ids.collect())
}

/// Refuses to complete `ours` when keys that it inserts may have been inserted by others into other groups: when the ranges of
/// such groups overlap. `groups` are theirs, `own` are the table's with ours.
///
/// # Errors
/// `Conflict`.
pub(crate) fn check_inserts(
    ours: &Instant,
    changes: &Changes,
    own: &FileGroups,
    theirs: &BTreeSet<GroupId>,
    groups: &FileGroups,
) -> Result<()> {
    for (partition, file_id) in &changes.inserted {
        let Some(mine) = own.range_of(partition, file_id) else {
            continue;
        };
        let beside = theirs.iter().filter(|(other, _)| other == partition);
        let mut ranges = beside.filter_map(|(_, other)| groups.range_of(partition, other));
        if ranges.any(|range| range.overlaps(mine)) {
            let what = "another writer has inserted keys of the same range; write its rows again";
            return Err(conflict(ours, what));
        }
    }
    Ok(())
}

/// Whether a rollback on the timeline names `ours`.
///
/// # Errors
/// What the store says.
pub(crate) async fn is_rolled_back(timeline: &ActiveTimeline, ours: &Instant) -> Result<bool> {
    let rollbacks = timeline.instants().iter().rev();
    let rollbacks =
        rollbacks.filter(|instant| instant.action == Action::Rollback && instant.time > ours.time);
    for rollback in rollbacks {
        let plan: RollbackPlan = timeline.read_plan(rollback).await?;
        if plan
            .instant_to_rollback
            .is_some_and(|undone| undone.commit_time == ours.time.as_str())
        {
            return Ok(true);
        }
    }
    Ok(false)
}

pub(crate) fn conflict(ours: &Instant, what: impl std::fmt::Display) -> Error {
    Error::new(
        ErrorKind::Conflict,
        format!("instant {}: {what}", ours.time),
    )
}

fn group_id(index: &dyn Index, stat: &WriteStat) -> Option<GroupId> {
    Some((
        stat.partition_path.clone().unwrap_or_default(),
        index.group_name(stat.file_id.as_deref()?).to_owned(),
    ))
}
