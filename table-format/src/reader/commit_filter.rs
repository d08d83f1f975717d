//! Chooses rows by the commits that last changed them.

use std::collections::HashSet;

use crate::timeline::{ActiveTimeline, InstantTime};

/// The commits whose rows are wanted, by begin time, which is what rows bear.
#[derive(Debug, Clone, Default)]
pub(crate) struct CommitFilter {
    times: HashSet<String>,
    /// All archived commits are wanted that began after the first time and before the second.
    archived: Option<(Option<InstantTime>, InstantTime)>,
}

impl CommitFilter {
    /// The archived commits that began after `since`; when `since` lies on the active timeline these are none.
    pub(crate) fn archived(timeline: &ActiveTimeline, since: Option<&InstantTime>) -> Self {
        let first = timeline
            .first_time()
            .filter(|first| since.is_none_or(|since| since < first));
        Self {
            times: HashSet::new(),
            archived: first.map(|first| (since.cloned(), first.clone())),
        }
    }

    /// Adds a commit.
    pub(crate) fn add(&mut self, time: &InstantTime) {
        self.times.insert(time.to_string());
    }

    /// Whether commits are wanted of which no metadata is at hand.
    pub(crate) fn has_unread(&self) -> bool {
        self.archived.is_some()
    }

    /// Whether rows of this commit are wanted.
    pub(crate) fn includes(&self, commit_time: &str) -> bool {
        let is_archived = self.archived.as_ref().is_some_and(|(since, first)| {
            commit_time < first.as_str()
                && since
                    .as_ref()
                    .is_none_or(|since| commit_time > since.as_str())
        });
        is_archived || self.times.contains(commit_time)
    }
}
