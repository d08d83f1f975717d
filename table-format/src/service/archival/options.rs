//! When and how much is archived, from `hoodie.*` properties.

use std::collections::BTreeMap;
use std::str::FromStr;

use crate::error::{Error, Result};

/// What the cleaner keeps: commits that it still has to look at are not archived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CleanerPolicy {
    /// The files of this many latest commits.
    Commits(usize),
    /// Some versions of each file, whatever their age.
    FileVersions,
    /// The files of the last hours.
    Hours(u32),
}

/// Settings of the archiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ArchivalOptions {
    /// Writers archive after their commits (`hoodie.archive.automatic`).
    pub(super) is_automatic: bool,
    /// Archive only when more commits than these are active (`hoodie.keep.max.commits`).
    pub(super) commits_max: usize,
    /// As many commits stay (`hoodie.keep.min.commits`).
    pub(super) commits_min: usize,
    /// Instants whose files are read at a time (`hoodie.commits.archival.batch`).
    pub(super) batch: usize,
    /// Pass by savepointed commits instead of stopping there (`hoodie.archive.beyond.savepoint`).
    pub(super) is_beyond_savepoint: bool,
    /// Files of a level that are merged into one of the next (`hoodie.timeline.compaction.batch.size`).
    pub(super) merge_files: usize,
    /// A merge takes about this many bytes at most (`hoodie.timeline.compaction.target.file.max.bytes`).
    pub(super) merge_bytes_max: u64,
    /// Manifests that stay for readers which hold an older one (`hoodie.timeline.manifest.retained.versions`).
    pub(super) manifests_kept: usize,
    /// Stop at the earliest commit that the last clean retained (`hoodie.archive.block.on.latest.clean.ectr`).
    pub(super) stops_at_clean: bool,
    /// The cleaner's policy (`hoodie.clean.policy` and its limits).
    pub(super) cleaner: CleanerPolicy,
    /// Delta commits after which a compaction is due, when their number decides (`hoodie.compact.inline.max.delta.commits`).
    pub(super) compaction_delta_commits: Option<usize>,
}

impl ArchivalOptions {
    /// The options that `properties` set; keys that mean nothing here are left to others.
    ///
    /// # Errors
    /// `Invalid` for a value that does not parse or is out of range.
    pub(super) fn from_properties(properties: &BTreeMap<String, String>) -> Result<Self> {
        let values = Values(properties);
        let options = Self {
            is_automatic: values.get(&["hoodie.archive.automatic"], true, "true or false")?,
            commits_max: values.get(&["hoodie.keep.max.commits"], 30, NUMBER)?,
            commits_min: values.get(&["hoodie.keep.min.commits"], 20, NUMBER)?,
            batch: values.get(&["hoodie.commits.archival.batch"], 10, NUMBER)?,
            is_beyond_savepoint: values.get(
                &["hoodie.archive.beyond.savepoint"],
                false,
                "true or false",
            )?,
            merge_files: values.get(&["hoodie.timeline.compaction.batch.size"], 10, NUMBER)?,
            merge_bytes_max: values.get(
                &["hoodie.timeline.compaction.target.file.max.bytes"],
                1000 << 20,
                NUMBER,
            )?,
            manifests_kept: values.get(
                &["hoodie.timeline.manifest.retained.versions"],
                3,
                NUMBER,
            )?,
            stops_at_clean: values.get(
                &["hoodie.archive.block.on.latest.clean.ectr"],
                false,
                "true or false",
            )?,
            cleaner: cleaner_policy(&values)?,
            compaction_delta_commits: compaction_delta_commits(&values)?,
        };
        if options.commits_max <= options.commits_min {
            return Err(Error::invalid(format!(
                "hoodie.keep.max.commits={} must be larger than hoodie.keep.min.commits={}",
                options.commits_max, options.commits_min
            )));
        }
        for (key, value, least) in [
            ("hoodie.keep.min.commits", options.commits_min, 1),
            ("hoodie.commits.archival.batch", options.batch, 1),
            (
                "hoodie.timeline.compaction.batch.size",
                options.merge_files,
                2,
            ),
            (
                "hoodie.timeline.manifest.retained.versions",
                options.manifests_kept,
                1,
            ),
        ] {
            if value < least {
                return Err(Error::invalid(format!("{key}={value}: at least {least}")));
            }
        }
        Ok(options)
    }
}

const NUMBER: &str = "a number";

/// Properties, each under its key or an older one.
struct Values<'a>(&'a BTreeMap<String, String>);

impl Values<'_> {
    fn text(&self, keys: &[&str]) -> Option<(String, &str)> {
        let found = keys
            .iter()
            .find_map(|key| Some((*key, self.0.get(*key)?)))?;
        Some((found.0.to_owned(), found.1.trim()))
    }

    fn get<T: FromStr>(&self, keys: &[&str], default: T, expected: &str) -> Result<T> {
        match self.text(keys) {
            None => Ok(default),
            Some((key, text)) => text
                .to_ascii_lowercase()
                .parse()
                .map_err(|_| Error::invalid(format!("{key}={text}: expected {expected}"))),
        }
    }
}

fn cleaner_policy(values: &Values<'_>) -> Result<CleanerPolicy> {
    let policy = values.text(&["hoodie.clean.policy", "hoodie.cleaner.policy"]);
    let name = policy
        .as_ref()
        .map_or("KEEP_LATEST_COMMITS", |(_, name)| *name);
    Ok(match name.to_ascii_uppercase().as_str() {
        "KEEP_LATEST_COMMITS" => CleanerPolicy::Commits(values.get(
            &[
                "hoodie.clean.commits.retained",
                "hoodie.cleaner.commits.retained",
            ],
            10,
            NUMBER,
        )?),
        "KEEP_LATEST_FILE_VERSIONS" => CleanerPolicy::FileVersions,
        "KEEP_LATEST_BY_HOURS" => CleanerPolicy::Hours(values.get(
            &[
                "hoodie.clean.hours.retained",
                "hoodie.cleaner.hours.retained",
            ],
            24,
            NUMBER,
        )?),
        _ => {
            return Err(Error::invalid(format!(
                "hoodie.clean.policy={name}: expected KEEP_LATEST_COMMITS, KEEP_LATEST_FILE_VERSIONS or KEEP_LATEST_BY_HOURS"
            )));
        }
    })
}

fn compaction_delta_commits(values: &Values<'_>) -> Result<Option<usize>> {
    let strategy = values.text(&["hoodie.compact.inline.trigger.strategy"]);
    let name = strategy.as_ref().map_or("NUM_COMMITS", |(_, name)| *name);
    let counts = matches!(
        name.to_ascii_uppercase().as_str(),
        "NUM_COMMITS" | "NUM_AND_TIME"
    );
    let commits = values.get(&["hoodie.compact.inline.max.delta.commits"], 5, NUMBER)?;
    Ok(counts.then_some(commits))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn options(pairs: &[(&str, &str)]) -> Result<ArchivalOptions> {
        let properties = pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        ArchivalOptions::from_properties(&properties)
    }

    #[test]
    fn defaults_are_those_of_hudi() {
        let options = options(&[]).unwrap();
        assert!(options.is_automatic && !options.is_beyond_savepoint);
        assert_eq!((options.commits_max, options.commits_min), (30, 20));
        assert_eq!((options.batch, options.merge_files), (10, 10));
        assert_eq!(options.cleaner, CleanerPolicy::Commits(10));
        assert_eq!(options.compaction_delta_commits, Some(5));
    }

    #[test]
    fn older_keys_count_and_bad_values_are_refused() {
        let set = options(&[
            ("hoodie.cleaner.policy", "KEEP_LATEST_BY_HOURS"),
            ("hoodie.cleaner.hours.retained", "3"),
            ("hoodie.compact.inline.trigger.strategy", "TIME_ELAPSED"),
            ("hoodie.archive.automatic", "FALSE"),
        ])
        .unwrap();
        assert_eq!(set.cleaner, CleanerPolicy::Hours(3));
        assert_eq!(set.compaction_delta_commits, None);
        assert!(!set.is_automatic);
        for (key, value) in [
            ("hoodie.keep.max.commits", "20"),
            ("hoodie.keep.min.commits", "-1"),
            ("hoodie.keep.min.commits", "0"),
            ("hoodie.commits.archival.batch", "0"),
            ("hoodie.archive.automatic", "perhaps"),
            ("hoodie.clean.policy", "KEEP_ALL"),
        ] {
            let error = options(&[(key, value)]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid, "{key}={value}");
            assert!(error.to_string().contains(key), "{error}");
        }
    }
}
