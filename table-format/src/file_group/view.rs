//! The file system view: timeline and listing to file slices.
//!
//! Spec: Hudi 1.2.0, "File Layouts"; Java: HoodieFileGroup, AbstractTableFileSystemView. Files of instants that are not
//! committed are hidden. A log file of version 6 belongs to the slice whose base instant it bears; since version 8 it
//! bears its own instant, and belongs to the newest slice whose base instant is no later than its completion. The logs
//! written after a compaction was scheduled form a slice without a base file until that compaction completes; readers
//! merge it with the slice before, so here those logs go to the newest slice that has a base file.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use futures::{StreamExt, TryStreamExt};

use crate::config::{TableConfig, TableVersion};
use crate::error::Result;
use crate::file_group::visibility::Visibility;
use crate::file_group::{BaseFile, FileSlice, LogFile, join_path};
use crate::storage::{ListedFile, Storage};
use crate::timeline::{Action, ActiveTimeline, ArchivedTimeline, InstantTime};

/// Directories listed at a time.
const LISTINGS_AT_ONCE: usize = 16;
/// A directory is a partition when it holds a file of this name (with any extension).
const PARTITION_METADATA: &str = ".hoodie_partition_metadata";

/// The files of one partition.
#[derive(Debug, Clone)]
pub struct PartitionFiles {
    /// Relative path; empty for a non-partitioned table.
    pub partition_path: String,
    /// What lies in it.
    pub files: Vec<ListedFile>,
}

/// File groups that completed replace commits have put out of sight.
#[derive(Debug, Clone, Default)]
pub struct ReplacedGroups(HashSet<(String, String)>);

impl ReplacedGroups {
    /// Reads the replace commits that are visible.
    ///
    /// # Errors
    /// `Corrupt` when one cannot be read; `Unavailable` when the store gives up.
    pub async fn load(timeline: &ActiveTimeline, visibility: &Visibility) -> Result<Self> {
        let mut groups = HashSet::new();
        let replaces = timeline.completed().filter(|instant| {
            instant.action.comparable() == Action::ReplaceCommit
                && visibility.is_committed(&instant.time)
        });
        for instant in replaces {
            let metadata = timeline.read_metadata(instant).await?;
            for (partition, file_ids) in metadata.partition_to_replace_file_ids {
                groups.extend(
                    file_ids
                        .into_iter()
                        .map(|file_id| (partition.clone(), file_id)),
                );
            }
        }
        Ok(Self(groups))
    }

    /// Whether a group is among them.
    pub fn contains(&self, partition_path: &str, file_id: &str) -> bool {
        !self.0.is_empty()
            && self
                .0
                .contains(&(partition_path.to_owned(), file_id.to_owned()))
    }
}

/// The latest slice of every file group that is to be seen, in the order of partitions and file ids.
///
/// # Errors
/// `Corrupt` when the timeline cannot be read; `Unavailable` when the store gives up.
pub async fn latest_slices(
    storage: &Storage,
    config: &TableConfig,
    timeline: &ActiveTimeline,
    visibility: &Visibility,
) -> Result<Vec<FileSlice>> {
    let replaced = ReplacedGroups::load(timeline, visibility).await?;
    let partitions = list_partitions(storage).await?;
    let visibility = with_archived_completions(storage, config, &partitions, visibility).await?;
    let mut slices = Vec::new();
    for partition in partitions {
        for (file_id, group) in file_groups(&partition, config.version(), &visibility) {
            if !replaced.contains(&partition.partition_path, &file_id) {
                slices.extend(group.into_iter().next_back());
            }
        }
    }
    Ok(slices)
}

/// Looks up when archived instants completed, as far as the slices of `partitions` depend on it: a log that began before a
/// base file of its group belongs to the slice of that base file if it completed later. Such a log is rarely older than the
/// active timeline; without one the archive is not touched.
///
/// # Errors
/// `Corrupt` when the archive breaks its format; `Conflict` when it was merged meanwhile; `Unavailable` when the store
/// gives up.
pub async fn with_archived_completions<'a>(
    storage: &Storage,
    config: &TableConfig,
    partitions: &[PartitionFiles],
    visibility: &'a Visibility,
) -> Result<Cow<'a, Visibility>> {
    if !config.keeps_completion_times() {
        return Ok(Cow::Borrowed(visibility));
    }
    let doubtful: BTreeSet<InstantTime> = partitions
        .iter()
        .flat_map(|partition| doubtful_logs(partition, visibility))
        .collect();
    if doubtful.is_empty() {
        return Ok(Cow::Borrowed(visibility));
    }
    let archive = ArchivedTimeline::load(storage, config).await?;
    let instants = archive.instants_at(&doubtful).await?;
    Ok(Cow::Owned(visibility.clone().with_archived(&instants)))
}

/// The archived instants of logs that have a younger base file beside them.
fn doubtful_logs(partition: &PartitionFiles, visibility: &Visibility) -> Vec<InstantTime> {
    let mut newest_bases: HashMap<String, InstantTime> = HashMap::new();
    let mut logs = Vec::new();
    for file in &partition.files {
        if let Some(log) = LogFile::parse(&file.name, file.size_bytes) {
            if visibility.is_archived(&log.instant) {
                logs.push(log);
            }
        } else if let Some(base) = BaseFile::parse(&file.name, file.size_bytes) {
            let newest = newest_bases
                .entry(base.file_id)
                .or_insert_with(|| base.instant.clone());
            if *newest < base.instant {
                *newest = base.instant;
            }
        }
    }
    logs.into_iter()
        .filter(|log| {
            newest_bases
                .get(&log.file_id)
                .is_some_and(|base| log.instant < *base)
        })
        .map(|log| log.instant)
        .collect()
}

/// Lists every partition of a table. A directory without partition metadata is none, as for Hudi.
///
/// # Errors
/// `Unavailable` when the store gives up.
pub async fn list_partitions(storage: &Storage) -> Result<Vec<PartitionFiles>> {
    let mut partitions = Vec::new();
    let mut level = vec![String::new()];
    while !level.is_empty() {
        let listings: Vec<_> = futures::stream::iter(level)
            .map(|dir| async move {
                let listing = storage.list(&dir).await?;
                Ok::<_, crate::Error>((dir, listing))
            })
            .buffered(LISTINGS_AT_ONCE)
            .try_collect()
            .await?;
        level = Vec::new();
        for (dir, listing) in listings {
            if listing
                .files
                .iter()
                .any(|file| file.name.starts_with(PARTITION_METADATA))
            {
                partitions.push(PartitionFiles {
                    partition_path: dir,
                    files: listing.files,
                });
            } else {
                let below = listing.dirs.into_iter().filter(|name| name != ".hoodie");
                level.extend(below.map(|name| join_path(&dir, &name)));
            }
        }
    }
    partitions.sort_unstable_by(|left, right| left.partition_path.cmp(&right.partition_path));
    Ok(partitions)
}

#[derive(Default)]
struct GroupFiles {
    bases: BTreeMap<InstantTime, BaseFile>,
    logs: Vec<LogFile>,
}

/// The file groups of one partition by file id, each with its slices from oldest to newest.
pub fn file_groups(
    partition: &PartitionFiles,
    version: TableVersion,
    visibility: &Visibility,
) -> BTreeMap<String, Vec<FileSlice>> {
    let mut groups: BTreeMap<String, GroupFiles> = BTreeMap::new();
    for file in &partition.files {
        if let Some(base) = BaseFile::parse(&file.name, file.size_bytes) {
            if visibility.is_committed(&base.instant) {
                let group = groups.entry(base.file_id.clone()).or_default();
                group.bases.insert(base.instant.clone(), base);
            }
        } else if let Some(log) = LogFile::parse(&file.name, file.size_bytes) {
            // The instant of a version 6 log says nothing about who wrote its blocks: these are judged one by one.
            let is_visible = version == TableVersion::Six || visibility.is_committed(&log.instant);
            if is_visible && !log.is_cdc {
                groups
                    .entry(log.file_id.clone())
                    .or_default()
                    .logs
                    .push(log);
            }
        }
    }
    groups
        .into_iter()
        .map(|(file_id, files)| {
            let slices = slices_of(
                &file_id,
                &partition.partition_path,
                files,
                version,
                visibility,
            );
            (file_id, slices)
        })
        .collect()
}

fn slices_of(
    file_id: &str,
    partition_path: &str,
    files: GroupFiles,
    version: TableVersion,
    visibility: &Visibility,
) -> Vec<FileSlice> {
    let slice = |base_instant: InstantTime, base_file| FileSlice {
        partition_path: partition_path.to_owned(),
        file_id: file_id.to_owned(),
        base_instant,
        base_file,
        log_files: Vec::new(),
    };
    let place = |log: &LogFile| match version {
        TableVersion::Six => log.instant.clone(),
        TableVersion::Eight | TableVersion::Nine => visibility
            .completion_of(&log.instant)
            .unwrap_or(&log.instant)
            .clone(),
    };
    let mut logs: Vec<(InstantTime, LogFile)> = files
        .logs
        .into_iter()
        .map(|log| (place(&log), log))
        .collect();
    logs.sort_by(|(left_place, left), (right_place, right)| {
        (left_place, &left.instant, left.version, &left.write_token).cmp(&(
            right_place,
            &right.instant,
            right.version,
            &right.write_token,
        ))
    });
    let mut slices: Vec<FileSlice> = files
        .bases
        .into_iter()
        .map(|(instant, base)| slice(instant, Some(base)))
        .collect();
    let mut without_base: Option<FileSlice> = None;
    for (placed, log) in logs {
        match slices
            .iter_mut()
            .rev()
            .find(|candidate| candidate.base_instant <= placed)
        {
            Some(found) => found.log_files.push(log),
            None => {
                let own = without_base.get_or_insert_with(|| slice(log.instant.clone(), None));
                own.base_instant = own.base_instant.clone().min(log.instant.clone());
                own.log_files.push(log);
            }
        }
    }
    if let Some(own) = without_base {
        slices.insert(0, own);
    }
    slices
}

#[cfg(test)]
mod tests;
