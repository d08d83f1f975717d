//! Which instants of the archive are wanted, and which files may hold them.

use chrono::{NaiveDateTime, TimeDelta};

use super::lsm_file::LsmFile;
use crate::timeline::{Instant, InstantTime};

/// An action is taken to complete within this time: files whose instants all began longer before the wanted completions
/// are left out by name. Java: CompletionTimeQueryView, GET_INSTANT_ONE_DAY_BEFORE.
const LONGEST_ACTION: TimeDelta = TimeDelta::days(1);

/// A span of begin times and of completion times; by default everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    begun_from: Option<InstantTime>,
    begun_by: Option<InstantTime>,
    completed_after: Option<InstantTime>,
    completed_by: Option<InstantTime>,
}

impl Selection {
    /// Instants that began at `time` or later.
    #[must_use]
    pub fn begun_from(mut self, time: Option<&InstantTime>) -> Self {
        self.begun_from = time.cloned();
        self
    }

    /// Instants that began at `time` or earlier.
    #[must_use]
    pub fn begun_by(mut self, time: Option<&InstantTime>) -> Self {
        self.begun_by = time.cloned();
        self
    }

    /// Instants that completed later than `time`.
    #[must_use]
    pub fn completed_after(mut self, time: Option<&InstantTime>) -> Self {
        self.completed_after = time.cloned();
        self
    }

    /// Instants that completed at `time` or earlier.
    #[must_use]
    pub fn completed_by(mut self, time: Option<&InstantTime>) -> Self {
        self.completed_by = time.cloned();
        self
    }

    /// Whether this instant is wanted.
    pub fn includes(&self, instant: &Instant) -> bool {
        self.includes_times(
            instant.time.as_str(),
            instant.completion.as_ref().map(InstantTime::as_str),
        )
    }

    /// The same by the digits; where no completion time is known the begin time stands in.
    pub(super) fn includes_times(&self, begun: &str, completed: Option<&str>) -> bool {
        let completed = completed.unwrap_or(begun);
        let is_from = |limit: &Option<InstantTime>| {
            limit.as_ref().is_none_or(|limit| begun >= limit.as_str())
        };
        let is_by = |limit: &Option<InstantTime>, time: &str| {
            limit.as_ref().is_none_or(|limit| time <= limit.as_str())
        };
        is_from(&self.begun_from)
            && is_by(&self.begun_by, begun)
            && is_by(&self.completed_by, completed)
            && self.is_late_enough(completed)
    }

    /// Whether a file may hold wanted instants, going by its name. An action never completes before it begins.
    pub(super) fn may_hold(&self, file: &LsmFile) -> bool {
        let begins_too_late = [&self.begun_by, &self.completed_by]
            .into_iter()
            .flatten()
            .any(|limit| file.min > *limit);
        let ends_too_early = self
            .begun_from
            .as_ref()
            .is_some_and(|limit| file.max < *limit);
        let completed_too_early = self
            .completed_after
            .as_ref()
            .and_then(|limit| a_day_before(limit.as_str()))
            .is_some_and(|limit| file.max.as_str() < limit.as_str());
        !begins_too_late && !ends_too_early && !completed_too_early
    }

    /// Whether anything that completed by `newest` may be wanted.
    pub(super) fn is_late_enough(&self, newest: &str) -> bool {
        self.completed_after
            .as_ref()
            .is_none_or(|limit| newest > limit.as_str())
    }
}

/// `None` for times that are no dates, such as the counters of a metadata table's first instants.
fn a_day_before(time: &str) -> Option<String> {
    let seconds = time.get(..14)?;
    let date = NaiveDateTime::parse_from_str(seconds, "%Y%m%d%H%M%S").ok()?;
    Some((date - LONGEST_ACTION).format("%Y%m%d%H%M%S").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> InstantTime {
        text.parse().unwrap()
    }

    #[test]
    fn files_are_left_out_by_their_names() {
        let file: LsmFile = "20261120000000000_20261121000000000_0.parquet"
            .parse()
            .unwrap();
        let (early, within, late) = (
            time("20261119000000000"),
            time("20261120120000000"),
            time("20261122000001000"),
        );
        let all = Selection::default();
        assert!(all.may_hold(&file));
        for (selection, expected) in [
            (all.clone().begun_by(Some(&early)), false),
            (all.clone().begun_by(Some(&within)), true),
            (all.clone().begun_from(Some(&within)), true),
            (all.clone().begun_from(Some(&late)), false),
            (all.clone().completed_by(Some(&early)), false),
            (all.clone().completed_by(Some(&late)), true),
            // What began within a day before may complete later.
            (
                all.clone()
                    .completed_after(Some(&time("20261121235959999"))),
                true,
            ),
            (all.clone().completed_after(Some(&late)), false),
            (all.clone().completed_after(Some(&time("7"))), true),
        ] {
            assert_eq!(selection.may_hold(&file), expected, "{selection:?}");
        }
    }

    #[test]
    fn instants_are_chosen_by_both_times() {
        let instant = Instant::parse_file_name("5_9.commit").unwrap();
        let all = Selection::default;
        assert!(all().includes(&instant));
        assert!(all().completed_after(Some(&time("8"))).includes(&instant));
        assert!(!all().completed_after(Some(&time("9"))).includes(&instant));
        assert!(all().completed_by(Some(&time("9"))).includes(&instant));
        assert!(!all().completed_by(Some(&time("8"))).includes(&instant));
        assert!(all().begun_by(Some(&time("5"))).includes(&instant));
        assert!(!all().begun_by(Some(&time("4"))).includes(&instant));
        assert!(!all().begun_from(Some(&time("6"))).includes(&instant));
    }
}
