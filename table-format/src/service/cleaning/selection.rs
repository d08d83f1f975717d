//! Which files of a partition go, by the policy.
//!
//! Java: CleanPlanner#getFilesToCleanKeepingCommits, #getFilesToCleanKeepingLatestVersions,
//! #getReplacedFilesEligibleToClean.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::config::TableVersion;
use crate::error::Result;
use crate::file_group::view::PartitionFiles;
use crate::file_group::{BaseFile, LogFile, Visibility};
use crate::service::cleaning::group::{Version, Versions, groups_of};
use crate::service::cleaning::options::CleanPolicy;
use crate::service::cleaning::protection::Protection;
use crate::timeline::{Action, ActiveTimeline, InstantTime};

/// File groups put out of sight by completed replace commits, `(partition path, file id)`, with the begin time of the first
/// one that did.
pub(in crate::service) type Replaced = HashMap<(String, String), InstantTime>;

/// Reads the completed replace commits.
pub(in crate::service) async fn load_replaced(timeline: &ActiveTimeline) -> Result<Replaced> {
    let mut replaced = Replaced::new();
    for instant in timeline
        .completed()
        .filter(|instant| instant.action == Action::ReplaceCommit)
    {
        let metadata = timeline.read_metadata(instant).await?;
        for (partition, file_ids) in metadata.partition_to_replace_file_ids {
            for file_id in file_ids {
                replaced
                    .entry((partition.clone(), file_id))
                    .or_insert_with(|| instant.time.clone());
            }
        }
    }
    Ok(replaced)
}

/// What goes of one partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct PartitionSelection {
    /// Names of files.
    pub(super) files: BTreeSet<String>,
    /// Their length.
    pub(super) bytes: u64,
    /// Whether nothing is left then, so that the partition goes too.
    pub(super) is_emptied: bool,
}

/// Decides for one partition after the other.
#[derive(Debug)]
pub(super) struct Selector {
    pub(super) version: TableVersion,
    pub(super) policy: CleanPolicy,
    /// Begin time of the earliest commit to retain; `None` when the policy counts versions.
    pub(super) earliest: Option<InstantTime>,
    pub(super) visibility: Visibility,
    pub(super) replaced: Replaced,
    pub(super) protection: Protection,
}

impl Selector {
    /// What goes of a partition.
    pub(super) fn select(&self, partition: &PartitionFiles) -> PartitionSelection {
        let compactions = self.protection.compactions();
        let groups = groups_of(partition, self.version, &self.visibility, compactions);
        let mut files = BTreeSet::new();
        for (file_id, versions) in &groups {
            let key = (partition.partition_path.clone(), file_id.clone());
            let gone = match self.replaced.get(&key) {
                Some(replaced_at) => self.of_replaced(&key, versions, replaced_at),
                None => self.of_active(&key, versions),
            };
            files.extend(gone.into_iter().flat_map(Version::files).map(str::to_owned));
        }
        let sizes: BTreeMap<&str, u64> = partition
            .files
            .iter()
            .map(|file| (file.name.as_str(), file.size_bytes))
            .collect();
        let bytes = files
            .iter()
            .filter_map(|name| sizes.get(name.as_str()))
            .sum();
        // Also not when a file is there that no commit knows: a writer may be about to commit it.
        let is_emptied = !partition.partition_path.is_empty()
            && !files.is_empty()
            && sizes
                .keys()
                .all(|name| !is_data_file(name) || files.contains(*name));
        PartitionSelection {
            files,
            bytes,
            is_emptied,
        }
    }

    /// Of a group that was replaced everything goes, as soon as no commit to retain shows it any more.
    fn of_replaced<'a>(
        &self,
        key: &(String, String),
        versions: &'a Versions,
        replaced_at: &InstantTime,
    ) -> Vec<&'a Version> {
        if self
            .earliest
            .as_ref()
            .is_some_and(|earliest| replaced_at >= earliest)
        {
            return Vec::new();
        }
        versions
            .iter()
            .filter(|(instant, version)| {
                !self.protection.is_savepointed(version)
                    && !self.protection.is_compacted(key, instant)
            })
            .map(|(_, version)| version)
            .collect()
    }

    fn of_active<'a>(&self, key: &(String, String), versions: &'a Versions) -> Vec<&'a Version> {
        let candidates: Vec<(&InstantTime, &Version)> = match (&self.earliest, self.policy) {
            (Some(earliest), _) => older_than(versions, earliest),
            (None, CleanPolicy::FileVersions(kept)) => self.beyond(key, versions, kept),
            (None, CleanPolicy::Commits(_) | CleanPolicy::Hours(_)) => Vec::new(),
        };
        candidates
            .into_iter()
            .filter(|(instant, version)| {
                !self.protection.is_savepointed(version)
                    && !self.protection.is_clustered(version)
                    && !self.protection.is_compacted(key, instant)
            })
            .map(|(_, version)| version)
            .collect()
    }

    /// All but the newest `kept`. What a pending compaction reads stays anyway, and counts as one of them.
    fn beyond<'a>(
        &self,
        key: &(String, String),
        versions: &'a Versions,
        kept: usize,
    ) -> Vec<(&'a InstantTime, &'a Version)> {
        let kept = kept - usize::from(self.protection.is_in_compaction(key)).min(kept);
        versions
            .iter()
            .rev()
            .filter(|(instant, _)| !self.protection.is_compacted(key, instant))
            .skip(kept)
            .collect()
    }
}

/// The versions before `earliest` but for the newest of them, which shows the table as of `earliest`; and never the last
/// one of a group.
fn older_than<'a>(
    versions: &'a Versions,
    earliest: &InstantTime,
) -> Vec<(&'a InstantTime, &'a Version)> {
    let mut older: Vec<_> = versions.range(..earliest.clone()).collect();
    older.pop();
    older
}

/// Whether a file holds rows, or changes of rows.
pub(super) fn is_data_file(name: &str) -> bool {
    BaseFile::parse(name, 0).is_some() || LogFile::parse(name, 0).is_some()
}
