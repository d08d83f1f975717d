//! Which instants a reader sees: the answer to "is what this instant wrote committed, and when was it?".
//!
//! Java: HoodieTimeline#containsOrBeforeTimelineStarts, CompletionTimeQueryView. The archiver moves only completed
//! instants away, so an instant older than the active timeline counts as committed. When it completed is asked of the
//! archive, and only where the answer matters: see [`Visibility::with_archived`].

use std::collections::{HashMap, HashSet};

use crate::timeline::{ActiveTimeline, Instant, InstantTime, State};

/// Up to where a reader looks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Horizon {
    /// Everything that is committed.
    #[default]
    Latest,
    /// Instants that began no later (time travel).
    BegunBy(InstantTime),
    /// Instants that completed no later (incremental reads).
    CompletedBy(InstantTime),
}

impl Horizon {
    /// Whether a completed instant lies within.
    pub fn includes(&self, instant: &Instant) -> bool {
        match self {
            Self::Latest => true,
            Self::BegunBy(limit) => instant.time <= *limit,
            Self::CompletedBy(limit) => instant.end_time() <= limit,
        }
    }

    /// Whether an instant of which only the begin time is known lies within.
    fn includes_time(&self, time: &InstantTime) -> bool {
        match self {
            Self::Latest => true,
            Self::BegunBy(limit) | Self::CompletedBy(limit) => time <= limit,
        }
    }
}

/// The instants that a reader sees.
#[derive(Debug, Clone, Default)]
pub struct Visibility {
    /// Completed instants within the horizon, with their completion times (begin times on layout 1).
    completed: HashMap<InstantTime, InstantTime>,
    /// Instants on the timeline that are pending or beyond the horizon.
    hidden: HashSet<InstantTime>,
    /// Completion times of archived instants, as far as they were asked for.
    archived: HashMap<InstantTime, InstantTime>,
    first_active: Option<InstantTime>,
    horizon: Horizon,
}

impl Visibility {
    /// What is to be seen of a timeline.
    pub fn new(timeline: &ActiveTimeline, horizon: Horizon) -> Self {
        let mut completed = HashMap::new();
        let mut hidden = HashSet::new();
        // Other actions write no rows; a savepoint bears the time of its commit, and must not pass for it.
        for instant in timeline
            .instants()
            .iter()
            .filter(|instant| instant.action.is_write())
        {
            if instant.state == State::Completed && horizon.includes(instant) {
                completed.insert(instant.time.clone(), instant.end_time().clone());
            } else {
                hidden.insert(instant.time.clone());
            }
        }
        Self {
            completed,
            hidden,
            archived: HashMap::new(),
            first_active: timeline.first_time().cloned(),
            horizon,
        }
    }

    /// Whether what this instant wrote is to be seen.
    pub fn is_committed(&self, time: &InstantTime) -> bool {
        self.completed.contains_key(time) || self.is_archived(time)
    }

    /// Whether an instant is known to be pending or beyond the horizon.
    pub fn is_hidden(&self, time: &InstantTime) -> bool {
        self.hidden.contains(time)
    }

    /// When an instant completed, if it is to be seen. Of an archived one whose completion was not looked up the begin time
    /// stands in.
    pub fn completion_of<'a>(&'a self, time: &'a InstantTime) -> Option<&'a InstantTime> {
        self.completed.get(time).or_else(|| {
            self.is_archived(time)
                .then(|| self.archived.get(time).unwrap_or(time))
        })
    }

    /// Adds what the archive says of some instants; those that completed beyond the horizon are hidden.
    #[must_use]
    pub fn with_archived<'a>(mut self, instants: impl IntoIterator<Item = &'a Instant>) -> Self {
        for instant in instants
            .into_iter()
            .filter(|instant| instant.action.is_write())
        {
            if !self.horizon.includes(instant) {
                self.hidden.insert(instant.time.clone());
            } else if let Some(completion) = &instant.completion {
                self.archived
                    .insert(instant.time.clone(), completion.clone());
            }
        }
        self
    }

    /// The same for the writer of this instant, who reads what it has written so far. Where log files are shared each block
    /// is judged by its instant.
    #[must_use]
    pub(crate) fn with_own(mut self, instant: &InstantTime) -> Self {
        self.hidden.remove(instant);
        self.completed.insert(instant.clone(), instant.clone());
        self
    }

    /// Whether an instant is older than the active timeline, and to be seen.
    pub(crate) fn is_archived(&self, time: &InstantTime) -> bool {
        let before_start = self.first_active.as_ref().is_some_and(|first| time < first);
        before_start
            && !self.completed.contains_key(time)
            && !self.hidden.contains(time)
            && self.horizon.includes_time(time)
    }
}
