//! Which instants may leave the active timeline.
//!
//! Java: TimelineArchiverV2#getCommitInstantsToArchive, ArchivalUtils, ClusteringUtils#getEarliestInstantToRetainForClustering,
//! CompactionUtils#getEarliestInstantToRetainForCompaction. Whatever somebody still needs to find on the active timeline is a
//! [`Limit`]: nothing that began at it or later is archived.

use std::collections::BTreeSet;
use std::fmt;

use chrono::{NaiveDateTime, TimeDelta};

use super::options::{ArchivalOptions, CleanerPolicy};
use crate::timeline::{Action, ActiveTimeline, Instant, InstantTime};

/// Why instants have to stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// A write is under way, or died and is not rolled back yet.
    PendingWrite,
    /// A savepoint needs its commit and all later ones.
    Savepoint,
    /// The last clean retained the files of this commit, and the settings say to stop there.
    Clean,
    /// File groups were replaced, and their files are still there.
    ReplacedFiles,
    /// The delta commits are counted to tell when a compaction is due.
    Compaction,
    /// The metadata table was not compacted since.
    MetadataTable,
    /// A log file of this delta commit began before the base file that it lies on, and completed after it. Without the
    /// instant some readers cannot tell.
    LateLog,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PendingWrite => "a write is pending",
            Self::Savepoint => "a savepoint needs it",
            Self::Clean => "the last clean retained its files",
            Self::ReplacedFiles => "the files of the groups it replaced are not cleaned yet",
            Self::Compaction => "delta commits are counted from here to the next compaction",
            Self::MetadataTable => "the metadata table was not compacted since",
            Self::LateLog => "a log file of it is older than its base file and not compacted yet",
        })
    }
}

/// Where archival has to stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limit {
    /// The oldest instant that stays.
    pub time: InstantTime,
    /// Why.
    pub reason: Reason,
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} stays: {}", self.time, self.reason)
    }
}

/// What the last completed clean says, as far as archival depends on it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct LastClean {
    /// Begin time of the clean.
    pub(super) time: Option<InstantTime>,
    /// The oldest commit whose files it left alone; none when it counts versions.
    pub(super) earliest_to_retain: Option<InstantTime>,
    /// Savepoints when it was planned.
    pub(super) savepoints: Vec<InstantTime>,
}

/// The instants to archive, and what keeps others from it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Choice {
    /// Completed instants by begin time.
    pub(super) instants: Vec<Instant>,
    /// The limit that made it fewer than they could be.
    pub(super) held_back_by: Option<Limit>,
}

/// Least and greatest number of commits to keep: the commits that the cleaner still has to look at, and two more, stay.
pub(super) fn commits_to_keep(
    timeline: &ActiveTimeline,
    options: &ArchivalOptions,
) -> (usize, usize) {
    let commits: Vec<&Instant> = timeline.completed_writes().collect();
    let earliest = match options.cleaner {
        CleanerPolicy::FileVersions => None,
        CleanerPolicy::Commits(retained) => commits
            .len()
            .checked_sub(retained)
            .filter(|&position| position > 0)
            .and_then(|position| commits.get(position))
            .map(|nth| before_pending(timeline, &nth.time)),
        CleanerPolicy::Hours(hours) => commits
            .last()
            .and_then(|last| hours_before(&last.time, hours))
            .and_then(|limit| {
                commits
                    .iter()
                    .find(|commit| commit.time.as_str() >= limit.as_str())
            })
            .map(|first| before_pending(timeline, &first.time)),
    };
    let needed = earliest.map_or(0, |earliest| {
        commits
            .iter()
            .filter(|commit| commit.time > earliest)
            .count()
            + 2
    });
    let least = options.commits_min.max(needed);
    (least, least + options.commits_max - options.commits_min)
}

/// The cleaner never goes past the completed commit before the oldest pending write.
fn before_pending(timeline: &ActiveTimeline, commit: &InstantTime) -> InstantTime {
    let pending = oldest_pending_write(timeline).filter(|pending| pending.time < *commit);
    pending
        .and_then(|pending| {
            let mut before = timeline.completed_writes();
            before.rfind(|write| write.time < pending.time)
        })
        .map_or_else(|| commit.clone(), |before| before.time.clone())
}

/// `None` for times that are no dates.
fn hours_before(time: &InstantTime, hours: u32) -> Option<String> {
    let seconds = time.as_str().get(..14)?;
    let date = NaiveDateTime::parse_from_str(seconds, "%Y%m%d%H%M%S").ok()?;
    let limit = date.checked_sub_signed(TimeDelta::hours(i64::from(hours)))?;
    Some(limit.format("%Y%m%d%H%M%S").to_string())
}

fn oldest_pending_write(timeline: &ActiveTimeline) -> Option<&Instant> {
    timeline.pending().find(|instant| instant.action.is_write())
}

/// The limits that the timeline itself sets.
pub(super) fn limits(
    timeline: &ActiveTimeline,
    options: &ArchivalOptions,
    is_merge_on_read: bool,
    last_clean: &LastClean,
) -> Vec<Limit> {
    let mut limits = Vec::new();
    let mut add = |time: Option<&InstantTime>, reason| {
        limits.extend(time.map(|time| Limit {
            time: time.clone(),
            reason,
        }));
    };
    if let Some(pending) = oldest_pending_write(timeline) {
        // The commit before it stays: by it readers tell that the pending one is not an archived one.
        let before = timeline
            .completed_writes()
            .rfind(|write| write.time < pending.time);
        add(Some(&before.unwrap_or(pending).time), Reason::PendingWrite);
    }
    if !options.is_beyond_savepoint {
        add(savepoints(timeline).first().copied(), Reason::Savepoint);
    }
    if options.stops_at_clean {
        add(last_clean.earliest_to_retain.as_ref(), Reason::Clean);
    }
    add(
        first_uncleaned_replace(timeline, options, last_clean),
        Reason::ReplacedFiles,
    );
    if let Some(delta_commits) = options
        .compaction_delta_commits
        .filter(|_| is_merge_on_read)
    {
        add(
            first_for_compaction(timeline, delta_commits),
            Reason::Compaction,
        );
    }
    limits
}

fn savepoints(timeline: &ActiveTimeline) -> BTreeSet<&InstantTime> {
    timeline
        .completed()
        .filter(|instant| instant.action == Action::Savepoint)
        .map(|instant| &instant.time)
        .collect()
}

/// The first replace commit or clustering whose replaced files may still be there.
fn first_uncleaned_replace<'a>(
    timeline: &'a ActiveTimeline,
    options: &ArchivalOptions,
    last_clean: &LastClean,
) -> Option<&'a InstantTime> {
    let mut replaces = timeline
        .instants()
        .iter()
        .filter(|instant| instant.action.comparable() == Action::ReplaceCommit)
        .map(|instant| &instant.time);
    let Some(clean) = &last_clean.time else {
        return replaces.next();
    };
    // Files that a savepoint protected are left by the clean, though it went past their replacement.
    let by_savepoint = last_clean.savepoints.iter().min().filter(|savepoint| {
        options.cleaner != CleanerPolicy::FileVersions
            && last_clean
                .earliest_to_retain
                .as_ref()
                .is_some_and(|earliest| {
                    timeline.completed().any(|instant| {
                        instant.action.comparable() == Action::ReplaceCommit
                            && instant.time >= **savepoint
                            && instant.time <= *earliest
                    })
                })
    });
    let bound = by_savepoint
        .or(last_clean.earliest_to_retain.as_ref())
        .unwrap_or(clean);
    replaces.find(|time| *time >= bound)
}

/// The last compaction, or as many delta commits as trigger one.
fn first_for_compaction(timeline: &ActiveTimeline, delta_commits: usize) -> Option<&InstantTime> {
    let last_compaction = timeline
        .completed()
        .rfind(|instant| instant.action == Action::Commit)
        .map(|instant| &instant.time);
    let deltas: Vec<&InstantTime> = timeline
        .instants()
        .iter()
        .filter(|instant| instant.action.comparable() == Action::DeltaCommit)
        .map(|instant| &instant.time)
        .filter(|time| last_compaction.is_none_or(|compaction| *time > compaction))
        .collect();
    match deltas.len().checked_sub(delta_commits) {
        Some(position) => deltas.get(position).copied(),
        None => last_compaction.or_else(|| deltas.first().copied()),
    }
}

/// Chooses the oldest commits, down to the number that stays and up to the limits; cleans and rollbacks among them go along.
pub(super) fn choose(
    timeline: &ActiveTimeline,
    options: &ArchivalOptions,
    limits: &[Limit],
) -> Choice {
    let (least, greatest) = commits_to_keep(timeline, options);
    let commits: Vec<&Instant> = timeline.completed_writes().collect();
    if commits.len() <= greatest {
        return Choice::default();
    }
    let surplus = commits.len() - least;
    let limit = limits
        .iter()
        .min_by(|left, right| left.time.cmp(&right.time));
    let protected = savepoints(timeline);
    let mut instants: Vec<Instant> = commits
        .into_iter()
        .filter(|commit| !protected.contains(&commit.time))
        .filter(|commit| limit.is_none_or(|limit| commit.time < limit.time))
        .take(surplus)
        .cloned()
        .collect();
    let held_back_by = limit.filter(|_| instants.len() < surplus).cloned();
    if let Some(last) = instants.last().map(|instant| instant.time.clone()) {
        let along = timeline.completed().filter(|instant| {
            matches!(instant.action, Action::Clean | Action::Rollback) && instant.time < last
        });
        instants.extend(along.cloned());
        instants.sort_unstable();
    }
    Choice {
        instants,
        held_back_by,
    }
}

#[cfg(test)]
mod tests;
