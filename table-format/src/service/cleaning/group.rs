//! File groups as the cleaner counts their versions.
//!
//! A reader merges what a pending compaction has parted; here each slice stands for itself, as in Hudi's own view: a
//! pending compaction has opened a slice, and the logs of change data belong to the slice of their commit. Files of pending
//! instants are no part of any slice. Java: HoodieFileGroup, AbstractTableFileSystemView#buildFileGroups.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;

use crate::config::TableVersion;
use crate::file_group::view::PartitionFiles;
use crate::file_group::{BaseFile, LogFile, Visibility};
use crate::timeline::InstantTime;

/// One version of a file group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::service) struct Version {
    /// Names of base files: one, but for what repeated attempts left.
    pub(in crate::service) base_files: Vec<String>,
    /// Names of log files.
    pub(in crate::service) log_files: Vec<String>,
}

impl Version {
    /// Names of all files.
    pub(in crate::service) fn files(&self) -> impl Iterator<Item = &str> {
        self.base_files
            .iter()
            .chain(&self.log_files)
            .map(String::as_str)
    }
}

/// The versions of a file group by their base instants.
pub(in crate::service) type Versions = BTreeMap<InstantTime, Version>;

/// Which compaction, of those pending, a file group is part of: `(partition path, file id)` to its instant.
pub(in crate::service) type PendingCompactions = HashMap<(String, String), InstantTime>;

#[derive(Default)]
struct Files {
    bases: Vec<(BaseFile, String)>,
    logs: Vec<(LogFile, String)>,
}

/// The file groups of a partition by file id.
pub(in crate::service) fn groups_of(
    partition: &PartitionFiles,
    version: TableVersion,
    visibility: &Visibility,
    compactions: &PendingCompactions,
) -> BTreeMap<String, Versions> {
    let mut groups: BTreeMap<String, Files> = BTreeMap::new();
    for file in &partition.files {
        let name = file.name.clone();
        if let Some(base) = BaseFile::parse(&name, file.size_bytes) {
            if visibility.is_committed(&base.instant) {
                let group = groups.entry(base.file_id.clone()).or_default();
                group.bases.push((base, name));
            }
        } else if let Some(log) = LogFile::parse(&name, file.size_bytes) {
            // A log of version 6 bears the base instant of its slice, not that of its writer.
            if version == TableVersion::Six || visibility.is_committed(&log.instant) {
                let group = groups.entry(log.file_id.clone()).or_default();
                group.logs.push((log, name));
            }
        }
    }
    groups
        .into_iter()
        .map(|(file_id, files)| {
            let key = (partition.partition_path.clone(), file_id);
            let compaction = compactions.get(&key);
            let mut versions = versions_of(files, version, visibility, compaction);
            versions.retain(|instant, _| {
                visibility.is_committed(instant) || compaction == Some(instant)
            });
            (key.1, versions)
        })
        .collect()
}

fn versions_of(
    mut files: Files,
    version: TableVersion,
    visibility: &Visibility,
    compaction: Option<&InstantTime>,
) -> Versions {
    let mut versions = Versions::new();
    for (base, name) in files.bases {
        let version = versions.entry(base.instant).or_default();
        version.base_files.push(name);
    }
    if let Some(instant) = compaction {
        versions.entry(instant.clone()).or_default();
    }
    files.logs.sort_by(|(left, _), (right, _)| {
        let order = |log: &LogFile| (log.instant.clone(), log.version, log.write_token.clone());
        order(left).cmp(&order(right))
    });
    for (log, name) in files.logs {
        let slice = match version {
            TableVersion::Six => log.instant,
            TableVersion::Eight | TableVersion::Nine => slice_of(&log, &versions, visibility),
        };
        versions.entry(slice).or_default().log_files.push(name);
    }
    versions
}

/// The newest slice that is no younger than the log's completion. Where only its begin time is known (it is archived, and
/// nobody has looked it up) the slice after that one may be meant: the log stays as long as that does.
fn slice_of(log: &LogFile, versions: &Versions, visibility: &Visibility) -> InstantTime {
    let known = visibility
        .completion_of(&log.instant)
        .filter(|completion| **completion != log.instant);
    let later = (Bound::Excluded(&log.instant), Bound::Unbounded);
    let found = match known {
        Some(completion) => versions.range(..=completion).next_back(),
        None => versions
            .range::<InstantTime, _>(later)
            .next()
            .or_else(|| versions.range(..=&log.instant).next_back()),
    };
    found.map_or_else(|| log.instant.clone(), |(instant, _)| instant.clone())
}
