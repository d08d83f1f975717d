//! How a table is cleaned, from `hoodie.clean.*` properties in either of their spellings.
//!
//! Java: HoodieCleanConfig.

use std::collections::BTreeMap;

use crate::error::{Error, Result};

const POLICY: [&str; 2] = ["hoodie.clean.policy", "hoodie.cleaner.policy"];
const COMMITS: [&str; 2] = [
    "hoodie.clean.commits.retained",
    "hoodie.cleaner.commits.retained",
];
const VERSIONS: [&str; 2] = [
    "hoodie.clean.fileversions.retained",
    "hoodie.cleaner.fileversions.retained",
];
const HOURS: [&str; 2] = [
    "hoodie.clean.hours.retained",
    "hoodie.cleaner.hours.retained",
];
const INCREMENTAL: [&str; 2] = [
    "hoodie.clean.incremental.enabled",
    "hoodie.cleaner.incremental.mode",
];
const TRIGGER_COMMITS: [&str; 2] = [
    "hoodie.clean.trigger.max.commits",
    "hoodie.clean.max.commits",
];
const COMMITS_AT_ONCE: [&str; 1] = ["hoodie.clean.max.commits.to.clean"];
const AUTOMATIC: [&str; 1] = ["hoodie.clean.automatic"];
/// Since Hudi 1.2.0. An incremental clean would never look at the other partitions again.
const PARTITION_FILTERS: [&str; 4] = [
    "hoodie.clean.partition.filter.selected",
    "hoodie.cleaner.partition.filter.selected",
    "hoodie.clean.partition.filter.regex",
    "hoodie.cleaner.partition.filter.regex",
];

/// 1141 years: whatever is taken off from now still leaves a year of four digits.
const HOURS_MAX: usize = 10_000_000;

/// What stays, whatever else is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CleanPolicy {
    /// What queries at the latest so many commits need.
    Commits(usize),
    /// So many versions of each file group.
    FileVersions(usize),
    /// What queries at the commits of the latest so many hours need.
    Hours(u32),
}

impl CleanPolicy {
    /// The name in plans.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Commits(_) => "KEEP_LATEST_COMMITS",
            Self::FileVersions(_) => "KEEP_LATEST_FILE_VERSIONS",
            Self::Hours(_) => "KEEP_LATEST_BY_HOURS",
        }
    }

    /// Whether versions of file groups are counted, not commits.
    pub(super) fn counts_versions(self) -> bool {
        matches!(self, Self::FileVersions(_))
    }
}

/// Settings of the cleaner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CleanOptions {
    /// What stays.
    pub(super) policy: CleanPolicy,
    /// Whether only what changed since the last clean is looked at.
    pub(super) is_incremental: bool,
    /// Whether a writer cleans without being asked.
    pub(super) is_automatic: bool,
    /// So many commits after a clean another one is due.
    pub(super) trigger_commits: usize,
    /// A clean moves the earliest commit to retain by so many commits at most.
    pub(super) commits_at_once: usize,
}

impl CleanOptions {
    /// The options that `properties` set; keys that mean nothing here are left to others.
    pub(super) fn from_properties(properties: &BTreeMap<String, String>) -> Result<Self> {
        let properties = Properties(properties);
        if let Some((key, _)) = properties.find(&PARTITION_FILTERS) {
            return Err(Error::unsupported(format!(
                "{key}: a clean of some partitions only is not supported; leave it out"
            )));
        }
        Ok(Self {
            policy: properties.policy()?,
            is_incremental: properties.flag(&INCREMENTAL, true)?,
            is_automatic: properties.flag(&AUTOMATIC, true)?,
            trigger_commits: properties.count(&TRIGGER_COMMITS, 1)?,
            commits_at_once: properties.count(&COMMITS_AT_ONCE, usize::MAX)?,
        })
    }
}

struct Properties<'a>(&'a BTreeMap<String, String>);

impl<'a> Properties<'a> {
    /// The value of the first key that is set, with that key.
    fn find<'k>(&self, keys: &[&'k str]) -> Option<(&'k str, &'a str)> {
        keys.iter().find_map(|key| {
            let value = self.0.get(*key)?.trim();
            (!value.is_empty()).then_some((*key, value))
        })
    }

    /// Java: HoodieCleanConfig.CLEANER_POLICY, whose value follows from the number that is given when no policy is named.
    fn policy(&self) -> Result<CleanPolicy> {
        let commits = CleanPolicy::Commits(self.count(&COMMITS, 10)?);
        let versions = CleanPolicy::FileVersions(self.count(&VERSIONS, 3)?);
        let hours = self.count(&HOURS, 24)?.min(HOURS_MAX);
        let hours = CleanPolicy::Hours(
            hours
                .try_into()
                .map_err(|_| Error::internal(format!("{hours} hours do not fit")))?,
        );
        let all = [commits, versions, hours];
        if let Some((key, name)) = self.find(&POLICY) {
            return all
                .into_iter()
                .find(|policy| policy.as_str().eq_ignore_ascii_case(name))
                .ok_or_else(|| {
                    let expected = all.map(CleanPolicy::as_str).join(", ");
                    Error::invalid(format!("{key}={name}: expected one of {expected}"))
                });
        }
        Ok(if self.find(&COMMITS).is_some() {
            commits
        } else if self.find(&HOURS).is_some() {
            hours
        } else if self.find(&VERSIONS).is_some() {
            versions
        } else {
            commits
        })
    }

    fn count(&self, keys: &[&str], default: usize) -> Result<usize> {
        let Some((key, value)) = self.find(keys) else {
            return Ok(default);
        };
        value
            .parse()
            .ok()
            .filter(|&count| count > 0)
            .ok_or_else(|| Error::invalid(format!("{key}={value}: expected a number from 1")))
    }

    fn flag(&self, keys: &[&str], default: bool) -> Result<bool> {
        match self.find(keys) {
            None => Ok(default),
            Some((_, value)) if value.eq_ignore_ascii_case("true") => Ok(true),
            Some((_, value)) if value.eq_ignore_ascii_case("false") => Ok(false),
            Some((key, value)) => Err(Error::invalid(format!(
                "{key}={value}: expected true or false"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn options(pairs: &[(&str, &str)]) -> Result<CleanOptions> {
        let properties = pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        CleanOptions::from_properties(&properties)
    }

    #[test]
    fn reads_both_spellings_and_infers_the_policy() {
        for (pairs, expected) in [
            (&[][..], CleanPolicy::Commits(10)),
            (
                &[("hoodie.cleaner.commits.retained", "4")],
                CleanPolicy::Commits(4),
            ),
            (
                &[("hoodie.clean.commits.retained", "5")],
                CleanPolicy::Commits(5),
            ),
            (
                &[("hoodie.cleaner.fileversions.retained", "1")],
                CleanPolicy::FileVersions(1),
            ),
            (
                &[("hoodie.clean.hours.retained", "2")],
                CleanPolicy::Hours(2),
            ),
            (
                &[
                    ("hoodie.cleaner.policy", "keep_latest_file_versions"),
                    ("hoodie.cleaner.commits.retained", "4"),
                ],
                CleanPolicy::FileVersions(3),
            ),
            (
                &[
                    ("hoodie.clean.commits.retained", "2"),
                    ("hoodie.cleaner.commits.retained", "7"),
                ],
                CleanPolicy::Commits(2),
            ),
        ] {
            assert_eq!(options(pairs).unwrap().policy, expected, "{pairs:?}");
        }
        let off = options(&[
            ("hoodie.cleaner.incremental.mode", "false"),
            ("hoodie.clean.automatic", "FALSE"),
            ("hoodie.clean.max.commits", "3"),
        ])
        .unwrap();
        assert!(!off.is_incremental && !off.is_automatic);
        assert_eq!(off.trigger_commits, 3);
    }

    #[test]
    fn refuses_what_it_would_have_to_ignore() {
        for (pairs, kind) in [
            (
                &[("hoodie.clean.policy", "KEEP_ALL")][..],
                ErrorKind::Invalid,
            ),
            (
                &[("hoodie.clean.commits.retained", "0")],
                ErrorKind::Invalid,
            ),
            (
                &[("hoodie.clean.hours.retained", "a day")],
                ErrorKind::Invalid,
            ),
            (&[("hoodie.clean.automatic", "yes")], ErrorKind::Invalid),
            (
                &[("hoodie.clean.partition.filter.selected", "a")],
                ErrorKind::Unsupported,
            ),
            (
                &[("hoodie.clean.partition.filter.regex", "a.*")],
                ErrorKind::Unsupported,
            ),
        ] {
            assert_eq!(options(pairs).unwrap_err().kind(), kind, "{pairs:?}");
        }
    }
}
