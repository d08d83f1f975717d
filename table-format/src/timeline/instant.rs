//! Instants: one action of the timeline in one state, and the names of their files.
//!
//! Spec: Hudi 1.2.0, "Timeline"; Java: InstantFileNameGeneratorV1/V2. A completed instant of layout 2 is
//! `<begin>_<completion>.<action>`; `commit` alone has an inflight file without its action (`<begin>.inflight`).

use std::fmt;
use std::str::FromStr;

use crate::config::TableVersion;
use crate::error::Error;

/// A begin or completion time, `yyyyMMddHHmmssSSS`; compares as text, as Hudi does.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstantTime(String);

impl InstantTime {
    /// The digits, as they stand in file names.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for InstantTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for InstantTime {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if digits && text.len() <= 32 {
            Ok(Self(text.to_owned()))
        } else {
            Err(Error::invalid(format!(
                "`{text}` is not an instant time (digits, yyyyMMddHHmmssSSS)"
            )))
        }
    }
}

/// What an instant does to the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// A write into base files, or (completed, on merge-on-read) a compaction.
    Commit,
    /// A write into a merge-on-read table.
    DeltaCommit,
    /// A pending compaction; completes as [`Action::Commit`].
    Compaction,
    /// A pending log compaction; completes as [`Action::DeltaCommit`].
    LogCompaction,
    /// Replaces file groups; also a completed clustering.
    ReplaceCommit,
    /// A pending clustering; completes as [`Action::ReplaceCommit`].
    Clustering,
    /// Deletes files that no query needs.
    Clean,
    /// Undoes a failed write.
    Rollback,
    /// Takes the table back to a savepoint.
    Restore,
    /// Protects the files of a commit.
    Savepoint,
    /// Builds a part of the metadata table.
    Indexing,
}

impl Action {
    const ALL: [(Self, &'static str); 11] = [
        (Self::Commit, "commit"),
        (Self::DeltaCommit, "deltacommit"),
        (Self::Compaction, "compaction"),
        (Self::LogCompaction, "logcompaction"),
        (Self::ReplaceCommit, "replacecommit"),
        (Self::Clustering, "clustering"),
        (Self::Clean, "clean"),
        (Self::Rollback, "rollback"),
        (Self::Restore, "restore"),
        (Self::Savepoint, "savepoint"),
        (Self::Indexing, "indexing"),
    ];

    /// The name in file names.
    pub fn as_str(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(action, _)| *action == self)
            .map_or("", |(_, name)| name)
    }

    /// The action under which the completed instant is filed: a compaction completes as a commit.
    #[must_use]
    pub fn comparable(self) -> Self {
        match self {
            Self::Compaction => Self::Commit,
            Self::LogCompaction => Self::DeltaCommit,
            Self::Clustering => Self::ReplaceCommit,
            Self::Commit
            | Self::DeltaCommit
            | Self::ReplaceCommit
            | Self::Clean
            | Self::Rollback
            | Self::Restore
            | Self::Savepoint
            | Self::Indexing => self,
        }
    }

    /// Under which action a clustering is pending: on version 6 it looks like any replace commit, and only its plan tells.
    pub(crate) fn of_clustering(version: TableVersion) -> Self {
        if version.has_clustering_action() {
            Self::Clustering
        } else {
            Self::ReplaceCommit
        }
    }

    /// Whether a completed instant of this action may carry data files.
    pub fn is_write(self) -> bool {
        matches!(
            self.comparable(),
            Self::Commit | Self::DeltaCommit | Self::ReplaceCommit
        )
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Action {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::ALL
            .iter()
            .find(|(_, name)| *name == text)
            .map(|(action, _)| *action)
            .ok_or_else(|| Error::invalid(format!("`{text}` is not an action of the timeline")))
    }
}

/// How far an instant has come; ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Planned.
    Requested,
    /// Under way.
    Inflight,
    /// Done and visible.
    Completed,
}

/// One action of the timeline in one state.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant {
    /// Begin (requested) time.
    pub time: InstantTime,
    /// What it does.
    pub action: Action,
    /// How far it has come.
    pub state: State,
    /// Completion time; `None` until completed, and on layout 1.
    pub completion: Option<InstantTime>,
}

impl Instant {
    /// The name of the file that records this state. Layout 1 (table version 6) stores no completion time.
    pub fn file_name(&self) -> String {
        let (time, action) = (&self.time, self.action);
        match (self.state, action) {
            (State::Requested, _) => format!("{time}.{action}.requested"),
            (State::Inflight, Action::Commit) => format!("{time}.inflight"),
            (State::Inflight, _) => format!("{time}.{action}.inflight"),
            (State::Completed, _) => match &self.completion {
                Some(completion) => format!("{time}_{completion}.{}", action.comparable()),
                None => format!("{time}.{}", action.comparable()),
            },
        }
    }

    /// Completion time, or the begin time where none is known.
    pub fn end_time(&self) -> &InstantTime {
        self.completion.as_ref().unwrap_or(&self.time)
    }

    /// Reads a timeline file name; `None` for names that are not instants, which Hudi ignores too.
    pub fn parse_file_name(name: &str) -> Option<Self> {
        let (times, rest) = name.split_once('.')?;
        let (time, completion) = match times.split_once('_') {
            Some((time, completion)) => (time, Some(completion.parse().ok()?)),
            None => (times, None),
        };
        let time = time.parse().ok()?;
        let (action, state) = match rest.rsplit_once('.') {
            None if rest == "inflight" => (Action::Commit, State::Inflight),
            None => (rest.parse().ok()?, State::Completed),
            Some((action, "requested")) => (action.parse().ok()?, State::Requested),
            Some((action, "inflight")) => (action.parse().ok()?, State::Inflight),
            Some(_) => return None,
        };
        if completion.is_some() && state != State::Completed {
            return None;
        }
        Some(Self {
            time,
            action,
            state,
            completion,
        })
    }
}

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file_name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for name in [
            "20260307162618152_20260307162619230.commit",
            "20260307162618152.commit.requested",
            "20260307162618152.inflight",
            "20260307162618152.deltacommit.inflight",
            "20260307162618152.clustering.requested",
            "20260307162618152.commit",
            "20260307162618152_20260307162619230.rollback",
        ] {
            let instant = Instant::parse_file_name(name).unwrap();
            assert_eq!(instant.file_name(), name);
        }
    }

    #[test]
    fn foreign_names_are_ignored() {
        for name in [
            "foo.commit",
            "hoodie.properties",
            "2026.commit.done",
            "1_2.commit.inflight",
            "1.x",
        ] {
            assert_eq!(Instant::parse_file_name(name), None, "{name}");
        }
    }
}
