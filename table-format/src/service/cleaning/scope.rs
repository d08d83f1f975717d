//! Which partitions a clean looks at: all of them, or those that have changed since the last look.
//!
//! A slice becomes superfluous by a later write into its partition. So after a clean that kept everything from commit A on,
//! the next one, which keeps everything from B on, finds something only where commits from A to B wrote or replaced. A clean
//! that finds nothing leaves no instant behind; this process remembers it, so that a table that only grows is not listed
//! again and again. Java: CleanPlanner#getPartitionPathsForIncrementalCleaning.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use crate::config::TableVersion;
use crate::error::Result;
use crate::service::cleaning::protection::savepoints;
use crate::timeline::metadata::{CleanMetadata, SAVEPOINTED_TIMESTAMPS_KEY};
use crate::timeline::{Action, ActiveTimeline, Instant, InstantTime};

/// The partitions to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Scope {
    /// Every partition of the table.
    All,
    /// These.
    Some(BTreeSet<String>),
}

/// What an earlier look at the table has settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Baseline {
    /// What no commit from here on needs is gone; `None` when the policy counts versions.
    pub(super) earliest: Option<InstantTime>,
    /// Every commit that had completed by then was looked at.
    pub(super) seen: InstantTime,
    /// The savepoints that were there.
    pub(super) savepoints: BTreeSet<InstantTime>,
}

/// The last look of this process. Clones share it.
#[derive(Debug, Clone, Default)]
pub(in crate::service) struct Memory(Arc<Mutex<Option<Baseline>>>);

impl Memory {
    pub(super) fn recall(&self) -> Option<Baseline> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(super) fn keep(&self, baseline: Option<Baseline>) {
        if baseline.is_some() {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = baseline;
        }
    }
}

impl Baseline {
    /// The table as it is now, for a later look.
    pub(super) fn now(timeline: &ActiveTimeline, earliest: Option<InstantTime>) -> Option<Self> {
        Some(Self {
            earliest,
            seen: timeline.latest_time()?.clone(),
            savepoints: savepoint_times(timeline),
        })
    }

    /// What the last completed clean settled, if it retained commits.
    pub(super) fn of_clean(clean: &Instant, metadata: &CleanMetadata) -> Result<Option<Self>> {
        if metadata.earliest_commit_to_retain.is_empty() {
            return Ok(None);
        }
        Ok(Some(Self {
            earliest: Some(metadata.earliest_commit_to_retain.parse()?),
            seen: clean.time.clone(),
            savepoints: savepoints_of(metadata)?,
        }))
    }

    /// Where something may have become superfluous since, if everything before `earliest` is to go.
    pub(super) async fn scope(
        &self,
        timeline: &ActiveTimeline,
        version: TableVersion,
        earliest: Option<&InstantTime>,
    ) -> Result<Scope> {
        let is_archived =
            |time: &InstantTime| timeline.first_time().is_none_or(|first| time < first);
        // What a savepoint protected may lie anywhere.
        let is_unprotected = !self.savepoints.is_subset(&savepoint_times(timeline));
        // Version 6 does not tell when a commit completed.
        let is_unknown = version == TableVersion::Six && self.earliest.is_none();
        let from = self.earliest.as_ref();
        if is_unprotected || is_unknown || is_archived(from.unwrap_or(&self.seen)) {
            return Ok(Scope::All);
        }
        let mut partitions = BTreeSet::new();
        for instant in timeline.completed_writes() {
            let is_settled = earliest.is_some_and(|earliest| instant.time >= *earliest);
            let is_new = from.is_some_and(|from| instant.time >= *from)
                || (version != TableVersion::Six && *instant.end_time() > self.seen);
            if is_new && !is_settled {
                let metadata = timeline.read_metadata(instant).await?;
                partitions.extend(metadata.partition_to_write_stats.into_keys());
                partitions.extend(metadata.partition_to_replace_file_ids.into_keys());
            }
        }
        Ok(Scope::Some(partitions))
    }
}

/// The savepoints that were there when a clean was planned.
pub(super) fn savepoints_of(metadata: &CleanMetadata) -> Result<BTreeSet<InstantTime>> {
    let extra = metadata.extra_metadata.as_ref();
    let times = extra.and_then(|extra| extra.get(SAVEPOINTED_TIMESTAMPS_KEY));
    let times = times.map_or("", String::as_str).split(',');
    times
        .filter(|time| !time.is_empty())
        .map(str::parse)
        .collect()
}

/// The last completed clean and what it did.
pub(super) async fn last_clean(
    timeline: &ActiveTimeline,
) -> Result<Option<(Instant, CleanMetadata)>> {
    let last = timeline
        .completed()
        .rfind(|instant| instant.action == Action::Clean);
    match last {
        None => Ok(None),
        Some(clean) => Ok(Some((clean.clone(), timeline.read_payload(clean).await?))),
    }
}

/// The completed savepoints.
pub(super) fn savepoint_times(timeline: &ActiveTimeline) -> BTreeSet<InstantTime> {
    savepoints(timeline)
        .map(|savepoint| savepoint.time.clone())
        .collect()
}
