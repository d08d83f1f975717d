//! When a compaction is due.
//!
//! Java: ScheduleCompactionActionExecutor#needCompact, CompactionUtils#getCompletedDeltaCommitsSinceLatestCompaction.

use std::str::FromStr;

use crate::error::{Error, Result};
use crate::timeline::{Action, ActiveTimeline, Instant, InstantTime, State};
use crate::transaction::seconds_between;

/// What has to have happened since the last compaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TriggerStrategy {
    /// Enough delta commits since the last one that completed.
    NumCommits,
    /// Enough delta commits since the last one that was planned.
    NumCommitsAfterLastRequest,
    /// Enough time.
    TimeElapsed,
    /// Both delta commits and time.
    NumAndTime,
    /// Either of them.
    NumOrTime,
}

impl FromStr for TriggerStrategy {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Ok(match text.to_ascii_uppercase().as_str() {
            "NUM_COMMITS" => Self::NumCommits,
            "NUM_COMMITS_AFTER_LAST_REQUEST" => Self::NumCommitsAfterLastRequest,
            "TIME_ELAPSED" => Self::TimeElapsed,
            "NUM_AND_TIME" => Self::NumAndTime,
            "NUM_OR_TIME" => Self::NumOrTime,
            _ => {
                return Err(Error::invalid(format!(
                    "`{text}` is none of NUM_COMMITS, NUM_COMMITS_AFTER_LAST_REQUEST, TIME_ELAPSED, NUM_AND_TIME, NUM_OR_TIME"
                )));
            }
        })
    }
}

/// Decides whether a compaction is due.
#[derive(Debug, Clone, Copy)]
pub(super) struct Trigger {
    pub(super) strategy: TriggerStrategy,
    /// Delta commits that make one due.
    pub(super) delta_commits: usize,
    /// Seconds that make one due.
    pub(super) delta_seconds: i64,
}

impl Trigger {
    /// Whether a compaction is due at `now`. Without a delta commit none ever is.
    pub(super) fn is_due(&self, timeline: &ActiveTimeline, now: &InstantTime) -> bool {
        let last_completed = last_compaction(timeline);
        let last_planned = timeline
            .pending()
            .rfind(|instant| instant.action == Action::Compaction)
            .map(|instant| &instant.time);
        let has_enough = |since: Option<&InstantTime>| {
            let commits = delta_commits(timeline);
            let later = commits.filter(|commit| since.is_none_or(|since| commit.time > *since));
            later.count() >= self.delta_commits
        };
        let is_long_ago = || {
            let first = delta_commits(timeline).next().map(|commit| &commit.time);
            let since = last_completed.or(first);
            let seconds = since.and_then(|since| seconds_between(since, now));
            seconds.is_some_and(|seconds| seconds >= self.delta_seconds)
        };
        if delta_commits(timeline).next().is_none() {
            return false;
        }
        match self.strategy {
            TriggerStrategy::NumCommits => has_enough(last_completed),
            TriggerStrategy::NumCommitsAfterLastRequest => {
                has_enough(last_planned.or(last_completed))
            }
            TriggerStrategy::TimeElapsed => is_long_ago(),
            TriggerStrategy::NumAndTime => has_enough(last_completed) && is_long_ago(),
            TriggerStrategy::NumOrTime => has_enough(last_completed) || is_long_ago(),
        }
    }
}

/// How many delta commits have begun since the last compaction that completed.
pub(in crate::service) fn delta_commits_since_compaction(timeline: &ActiveTimeline) -> usize {
    let last = last_compaction(timeline);
    delta_commits(timeline)
        .filter(|commit| last.is_none_or(|last| commit.time > *last))
        .count()
}

fn last_compaction(timeline: &ActiveTimeline) -> Option<&InstantTime> {
    let mut completed = timeline.completed();
    let last = completed.rfind(|instant| instant.action == Action::Commit);
    last.map(|instant| &instant.time)
}

fn delta_commits(timeline: &ActiveTimeline) -> impl Iterator<Item = &Instant> {
    let instants = timeline.instants().iter();
    instants.filter(|instant| {
        instant.action == Action::DeltaCommit && instant.state == State::Completed
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::config::TableConfig;
    use crate::storage::Storage;

    const PROPERTIES: &str =
        "hoodie.table.name=t\nhoodie.table.version=9\nhoodie.timeline.layout.version=2\n";

    /// Whether a compaction is due at 10:00:30 on a timeline of these files, of instants of 10:00.
    async fn is_due(strategy: &str, files: &[&str]) -> bool {
        let dir = tempfile::tempdir().unwrap();
        let storage = Storage::open(dir.path().to_str().unwrap()).unwrap();
        let config = TableConfig::parse(PROPERTIES.as_bytes()).unwrap();
        for file in files {
            let at = |second: &str| format!("202611211000{second}000");
            let (times, action) = file.split_once('.').unwrap();
            let times: Vec<String> = times.split('_').map(at).collect();
            let path = format!("{}/{}.{action}", config.timeline_dir(), times.join("_"));
            storage.create(&path, Bytes::new()).await.unwrap();
        }
        let timeline = ActiveTimeline::load(&storage, &config).await.unwrap();
        let trigger = Trigger {
            strategy: strategy.parse().unwrap(),
            delta_commits: 2,
            delta_seconds: 20,
        };
        trigger.is_due(&timeline, &"20261121100030000".parse().unwrap())
    }

    #[tokio::test]
    async fn strategies_count_commits_and_seconds_since_the_last_compaction() {
        let two = [
            "01_02.deltacommit",
            "20_21.deltacommit",
            "22.deltacommit.inflight",
        ];
        let compacted = ["01_02.deltacommit", "03_04.commit", "12_13.deltacommit"];
        let planned = [
            "01_02.deltacommit",
            "03_04.deltacommit",
            "05.compaction.requested",
            "06_07.deltacommit",
        ];
        let planned_twice = [&planned[..], &["08_09.deltacommit"]].concat();
        for (strategy, files, expected) in [
            ("NUM_COMMITS", &two[..], true),
            ("NUM_COMMITS", &compacted, false),
            ("NUM_COMMITS", &planned, true),
            ("NUM_COMMITS_AFTER_LAST_REQUEST", &planned, false),
            ("NUM_COMMITS_AFTER_LAST_REQUEST", &planned_twice, true),
            ("TIME_ELAPSED", &two, true),
            ("TIME_ELAPSED", &two[1..], false),
            ("NUM_AND_TIME", &two, true),
            ("NUM_AND_TIME", &compacted, false),
            ("NUM_OR_TIME", &compacted, true),
            ("NUM_OR_TIME", &[], false),
        ] {
            assert_eq!(
                is_due(strategy, files).await,
                expected,
                "{strategy} {files:?}"
            );
        }
    }
}
