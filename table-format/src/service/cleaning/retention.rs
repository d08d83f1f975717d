//! The earliest commit to retain: queries as of it and of every later commit go on to work.
//!
//! Java: CleanerUtils#getEarliestCommitToRetain.

use chrono::TimeDelta;

use crate::config::{TableConfig, TimelineZone};
use crate::env::Env;
use crate::error::Result;
use crate::service::cleaning::options::{CleanOptions, CleanPolicy};
use crate::timeline::{ActiveTimeline, Instant, InstantTime};
use crate::transaction::instant_time_at;

/// The earliest commit to retain; `None` when everything stays, or when versions are counted instead.
///
/// `previous` is that of the last clean, from which a clean of limited size goes on.
pub(super) fn earliest_to_retain(
    options: &CleanOptions,
    config: &TableConfig,
    env: &Env,
    timeline: &ActiveTimeline,
    previous: Option<&InstantTime>,
) -> Result<Option<Instant>> {
    let completed: Vec<&Instant> = timeline.completed_writes().collect();
    let earliest = match options.policy {
        CleanPolicy::FileVersions(_) => None,
        CleanPolicy::Commits(commits) => by_commits(&completed, timeline, commits),
        CleanPolicy::Hours(hours) => {
            let is_utc = config.timeline_zone()? == TimelineZone::Utc;
            let limit = env.clock.now() - TimeDelta::hours(i64::from(hours));
            let limit = instant_time_at(limit, is_utc)?;
            let first = completed.iter().find(|instant| instant.time >= limit);
            first.copied()
        }
    };
    Ok(earliest
        .map(|earliest| capped(earliest, &completed, previous, options.commits_at_once).clone()))
}

/// Of 15 completed commits the 6th, if 10 are to stay; but none after a pending one: who finishes or undoes that needs what
/// was there when it began.
fn by_commits<'a>(
    completed: &[&'a Instant],
    timeline: &'a ActiveTimeline,
    commits: usize,
) -> Option<&'a Instant> {
    let nth = completed
        .len()
        .checked_sub(commits)
        .filter(|&nth| nth > 0)?;
    let earliest = *completed.get(nth)?;
    let pending = timeline.pending().find(|instant| instant.action.is_write());
    match pending {
        Some(pending) if earliest.time > pending.time => completed
            .iter()
            .rfind(|instant| instant.time < pending.time)
            .copied(),
        _ => Some(earliest),
    }
}

/// At most `commits_at_once` commits after the previous clean's.
fn capped<'a>(
    earliest: &'a Instant,
    completed: &[&'a Instant],
    previous: Option<&InstantTime>,
    commits_at_once: usize,
) -> &'a Instant {
    let Some(previous) = previous else {
        return earliest;
    };
    let mut later = completed.iter().filter(|instant| instant.time >= *previous);
    match later.nth(commits_at_once) {
        Some(limit) if limit.time < earliest.time => limit,
        _ => earliest,
    }
}
